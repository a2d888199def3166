// SPDX-License-Identifier: BSD-3-Clause
//
// From a job to launches: what is checked, how lengths follow, and how a staged call is cut.
#include "codec_cuda_priv.h"
#include "context_priv.h"

#include <cuda_runtime_api.h>
#include <errno.h>
#include <stdio.h>

_Static_assert(
	(int)CODEC_CUDA_NONE == GP_CODEC_NONE && (int)CODEC_CUDA_F32 == GP_CODEC_F32 &&
		(int)CODEC_CUDA_BF16 == GP_CODEC_BF16 && (int)CODEC_CUDA_TOPK == GP_CODEC_TOPK &&
		(int)CODEC_CUDA_F16 == GP_CODEC_F16 && (int)CODEC_CUDA_INT8 == GP_CODEC_INT8 &&
		(int)CODEC_CUDA_SIGN == GP_CODEC_SIGN &&
		(int)CODEC_CUDA_TOPK_BF16 == GP_CODEC_TOPK_BF16 &&
		(int)CODEC_CUDA_TOPK_F16 == GP_CODEC_TOPK_F16,
	"the kernels' ids are those of the wire");

struct codec_launch {
	int (*encode)(const struct codec_cuda_work *w, void *stream);
	int (*decode)(const struct codec_cuda_work *w, void *stream);
};

static int none_encode(const struct codec_cuda_work *w, void *stream)
{
	(void)w, (void)stream;
	return cudaSuccess;
}

static int none_decode(const struct codec_cuda_work *w, void *stream)
{
	return (int)cudaMemsetAsync(
		w->result, 0, w->elems * sizeof(*w->result), (cudaStream_t)stream);
}

static const struct codec_launch launches[] = {
	[GP_CODEC_NONE] = {none_encode, none_decode},
	[GP_CODEC_F32] = {codec_cuda_flat_encode, codec_cuda_flat_decode},
	[GP_CODEC_BF16] = {codec_cuda_flat_encode, codec_cuda_flat_decode},
	[GP_CODEC_TOPK] = {codec_cuda_topk_encode, codec_cuda_topk_decode},
	[GP_CODEC_F16] = {codec_cuda_flat_encode, codec_cuda_flat_decode},
	[GP_CODEC_INT8] = {codec_cuda_quant_encode, codec_cuda_flat_decode},
	[GP_CODEC_SIGN] = {codec_cuda_quant_encode, codec_cuda_flat_decode},
	[GP_CODEC_TOPK_BF16] = {codec_cuda_topk_encode, codec_cuda_topk_decode},
	[GP_CODEC_TOPK_F16] = {codec_cuda_topk_encode, codec_cuda_topk_decode},
};

uint32_t gp_codec_cuda_blocks(const struct gp_codec_cuda_job *job)
{
	return (uint32_t)gp_div_up(job->elems, job->block_elems);
}

static uint32_t last_elems(const struct gp_codec_cuda_job *job)
{
	uint32_t rest = (uint32_t)(job->elems % job->block_elems);
	return rest ? rest : job->block_elems;
}

size_t gp_codec_cuda_stride(const struct gp_codec_cuda_job *job)
{
	size_t whole = gp_codec_size_max(job->codec, job->block_elems, job->k);
	size_t last = gp_codec_size_max(job->codec, last_elems(job), job->k_last);
	return gp_align_up(GP_MAX(whole, last), GP_CODEC_CUDA_STRIDE);
}

static const char *job_fault(const struct gp_codec_cuda_job *job)
{
	if (!gp_codec_name(job->codec) || job->codec >= GP_ARRAY_SIZE(launches))
		return "no such codec";
	if (job->elems > GP_CODEC_CUDA_ELEMS_MAX)
		return "too many elements";
	if (job->block_elems < 1 || job->block_elems > GP_CODEC_ELEMS_MAX)
		return "a block has 1 to 16384 elements";
	bool one = job->elems <= job->block_elems;
	if ((!one && job->k > job->block_elems) || (job->elems && job->k_last > last_elems(job)))
		return "k is larger than the block";
	if (job->stride % GP_CODEC_CUDA_STRIDE || job->stride < gp_codec_cuda_stride(job))
		return "the stride holds no payload or is no multiple of 16";
	return NULL;
}

static int job_check(struct gp_codec_cuda *ctx, const struct gp_codec_cuda_job *job)
{
	const char *fault = job_fault(job);
	if (!fault)
		return codec_cuda_enter(ctx);
	snprintf(ctx->error, sizeof(ctx->error), "job: %s", fault);
	return -EINVAL;
}

static void lens_fill(const struct gp_codec_cuda_job *job, uint32_t *lens)
{
	uint32_t blocks = gp_codec_cuda_blocks(job);
	if (!lens || !blocks)
		return;
	uint32_t len = (uint32_t)gp_codec_size_max(job->codec, job->block_elems, job->k);
	for (uint32_t b = 0; b + 1 < blocks; b++)
		lens[b] = len;
	lens[blocks - 1] = (uint32_t)gp_codec_size_max(job->codec, last_elems(job), job->k_last);
}

static struct codec_cuda_work work_of(const struct gp_codec_cuda_job *job)
{
	return (struct codec_cuda_work){
		.elems = job->elems,
		.stride = job->stride,
		.grad = job->grad,
		.residual = job->residual,
		.result = job->result,
		.payload = job->payload,
		.block_elems = job->block_elems,
		.blocks = gp_codec_cuda_blocks(job),
		.k = job->k,
		.k_last = job->k_last,
		.codec = job->codec,
	};
}

static int payload_check(struct gp_codec_cuda *ctx, const struct gp_codec_cuda_job *job)
{
	if ((uintptr_t)job->payload % GP_CODEC_CUDA_STRIDE == 0)
		return 0;
	snprintf(ctx->error, sizeof(ctx->error), "job: payload is not aligned to 16 bytes");
	return -EINVAL;
}

int gp_codec_cuda_encode(
	struct gp_codec_cuda *ctx, const struct gp_codec_cuda_job *job, uint32_t *lens)
{
	int rc = job_check(ctx, job);
	if (rc == 0)
		rc = payload_check(ctx, job);
	if (rc)
		return rc;
	lens_fill(job, lens);
	if (job->elems == 0)
		return 0;
	struct codec_cuda_work w = work_of(job);
	return codec_cuda_check(ctx, launches[job->codec].encode(&w, ctx->stream), "encoding");
}

int gp_codec_cuda_decode(struct gp_codec_cuda *ctx, const struct gp_codec_cuda_job *job)
{
	int rc = job_check(ctx, job);
	if (rc == 0)
		rc = payload_check(ctx, job);
	if (rc || job->elems == 0)
		return rc;
	struct codec_cuda_work w = work_of(job);
	return codec_cuda_check(ctx, launches[job->codec].decode(&w, ctx->stream), "decoding");
}

// The blocks from `first` on, at most ctx->piece_blocks, as a tensor of their own.
static struct codec_cuda_work piece_of(
	const struct gp_codec_cuda *ctx, const struct codec_cuda_work *whole, uint32_t first)
{
	uint64_t from = (uint64_t)first * whole->block_elems;
	struct codec_cuda_work w = *whole;
	w.blocks = GP_MIN(ctx->piece_blocks, whole->blocks - first);
	bool last = first + w.blocks == whole->blocks;
	w.elems = last ? whole->elems - from : (uint64_t)w.blocks * w.block_elems;
	w.k_last = last ? whole->k_last : whole->k;
	w.grad += from;
	if (w.residual)
		w.residual += from;
	w.payload = ctx->staging_device + first * w.stride;
	return w;
}

static int piece_queue(
	struct gp_codec_cuda *ctx, const struct codec_cuda_work *whole, uint32_t piece)
{
	struct codec_cuda_work w = piece_of(ctx, whole, piece * ctx->piece_blocks);
	size_t from = (size_t)piece * ctx->piece_blocks * w.stride;
	int err = launches[w.codec].encode(&w, ctx->stream);
	if (err == cudaSuccess)
		err = cudaEventRecord(ctx->encoded[piece], ctx->stream);
	if (err == cudaSuccess)
		err = cudaStreamWaitEvent(ctx->copy_stream, ctx->encoded[piece], 0);
	if (err == cudaSuccess)
		err = cudaMemcpyAsync(ctx->staging_pinned + from, w.payload, w.blocks * w.stride,
			cudaMemcpyDeviceToHost, ctx->copy_stream);
	if (err == cudaSuccess)
		err = cudaEventRecord(ctx->copied[piece], ctx->copy_stream);
	return codec_cuda_check(ctx, err, "encoding a piece");
}

int gp_codec_cuda_encode_staged(
	struct gp_codec_cuda *ctx, const struct gp_codec_cuda_job *job, uint32_t *lens)
{
	int rc = job_check(ctx, job);
	if (rc)
		return rc;
	struct codec_cuda_work whole = work_of(job);
	if (whole.blocks * whole.stride > ctx->staging_size) {
		snprintf(ctx->error, sizeof(ctx->error), "job: staging of %zu bytes, %zu needed",
			ctx->staging_size, (size_t)(whole.blocks * whole.stride));
		return -ENOSPC;
	}
	// The device may still be copying what the last call staged.
	if (ctx->pieces) {
		rc = codec_cuda_check(ctx,
			cudaStreamWaitEvent(ctx->stream, ctx->copied[ctx->pieces - 1], 0),
			"waiting for the last staged call");
		if (rc)
			return rc;
	}
	lens_fill(job, lens);
	uint64_t least = CUDA_PIECE_SIZE_MIN / GP_MAX(whole.stride, UINT64_C(1)) + 1;
	ctx->blocks = whole.blocks;
	ctx->piece_blocks = (uint32_t)GP_MAX(least, gp_div_up(whole.blocks, CUDA_PIECES_MAX));
	ctx->pieces = 0;
	ctx->pieces_copied = 0;
	uint32_t pieces = (uint32_t)gp_div_up(whole.blocks, ctx->piece_blocks);
	while (rc == 0 && ctx->pieces < pieces) {
		rc = piece_queue(ctx, &whole, ctx->pieces);
		ctx->pieces += rc == 0;
	}
	return rc;
}

int gp_codec_cuda_ready(struct gp_codec_cuda *ctx, uint32_t *blocks)
{
	int rc = codec_cuda_enter(ctx);
	while (rc == 0 && ctx->pieces_copied < ctx->pieces) {
		cudaError_t err = cudaEventQuery(ctx->copied[ctx->pieces_copied]);
		if (err == cudaErrorNotReady)
			break;
		rc = codec_cuda_check(ctx, err, "encoding");
		ctx->pieces_copied += rc == 0;
	}
	uint64_t done = (uint64_t)ctx->pieces_copied * ctx->piece_blocks;
	*blocks = (uint32_t)GP_MIN(done, (uint64_t)ctx->blocks);
	return rc;
}
