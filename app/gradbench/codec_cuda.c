// SPDX-License-Identifier: BSD-3-Clause
//
// gradbench codec on the first CUDA device; times are between events on its stream.
#include "gradbench.h"

#include <gp_codec_cuda.h>

#include <errno.h>
#include <stdlib.h>

struct cuda {
	struct gp_codec_cuda *ctx;
	uint64_t elems;
	float *grad, *residual, *result;
	uint8_t *payload;
	size_t payload_size;
	uint8_t encoded; // codec whose payloads lie there
};

static int complain(const struct cuda *cuda, int rc, const char *what)
{
	fprintf(stderr, "gradbench: %s: %s\n", what, gp_codec_cuda_error(cuda->ctx));
	return rc;
}

static void cuda_close(void *state)
{
	struct cuda *cuda = state;
	if (cuda->ctx) {
		gp_codec_cuda_free(cuda->ctx, cuda->grad);
		gp_codec_cuda_free(cuda->ctx, cuda->residual);
		gp_codec_cuda_free(cuda->ctx, cuda->result);
		gp_codec_cuda_free(cuda->ctx, cuda->payload);
	}
	gp_codec_cuda_destroy(cuda->ctx);
	free(cuda);
}

static bool cuda_has(enum codec_op op)
{
	return op != CODEC_ADD;
}

static int memory_take(struct cuda *cuda, const float *pattern, uint32_t pattern_elems)
{
	size_t size = cuda->elems * sizeof(float);
	cuda->payload_size = 2 * size + 4096;
	cuda->grad = gp_codec_cuda_alloc(cuda->ctx, size);
	cuda->residual = gp_codec_cuda_alloc(cuda->ctx, size);
	cuda->result = gp_codec_cuda_alloc(cuda->ctx, size);
	cuda->payload = gp_codec_cuda_alloc(cuda->ctx, cuda->payload_size);
	if (!cuda->grad || !cuda->residual || !cuda->result || !cuda->payload)
		return complain(cuda, -ENOMEM, "cuda");
	int rc = 0;
	for (uint64_t at = 0; at < cuda->elems && rc == 0; at += pattern_elems) {
		uint64_t n = GP_MIN(cuda->elems - at, (uint64_t)pattern_elems);
		rc = gp_codec_cuda_copy(cuda->ctx, cuda->grad + at, pattern, n * sizeof(float));
	}
	if (rc == 0)
		rc = gp_codec_cuda_sync(cuda->ctx);
	return rc ? complain(cuda, rc, "cuda") : 0;
}

static int cuda_open(void **state, uint64_t elems, const float *pattern, uint32_t pattern_elems)
{
	char why[256];
	struct gp_codec_cuda_opts opts = {0};
	struct cuda *cuda = calloc(1, sizeof(*cuda));
	if (!cuda) {
		fprintf(stderr, "gradbench: no memory\n");
		return -ENOMEM;
	}
	cuda->elems = elems;
	int rc = gp_codec_cuda_create(&cuda->ctx, &opts, why, sizeof(why));
	if (rc)
		fprintf(stderr, "gradbench: cuda: skipped, %s\n", why);
	else
		rc = memory_take(cuda, pattern, pattern_elems);
	if (rc)
		cuda_close(cuda);
	else
		*state = cuda;
	return rc;
}

static const char *cuda_model(void *state)
{
	struct cuda *cuda = state;
	return gp_codec_cuda_name(cuda->ctx);
}

static int queue(struct cuda *cuda, const struct gp_codec_cuda_job *job, enum codec_op op)
{
	if (op == CODEC_COPY)
		return gp_codec_cuda_copy(
			cuda->ctx, cuda->result, cuda->grad, job->elems * sizeof(float));
	if (op == CODEC_DECODE)
		return gp_codec_cuda_decode(cuda->ctx, job);
	cuda->encoded = job->codec;
	return gp_codec_cuda_encode(cuda->ctx, job, NULL);
}

// What the task reads that an earlier one has changed.
static int prepare(struct cuda *cuda, const struct gp_codec_cuda_job *job, enum codec_op op)
{
	if (op == CODEC_ENCODE_FEEDBACK)
		return gp_codec_cuda_copy(
			cuda->ctx, cuda->residual, cuda->grad, job->elems * sizeof(float));
	if (op == CODEC_DECODE && cuda->encoded != job->codec)
		return queue(cuda, job, CODEC_ENCODE);
	return 0;
}

static int cuda_time(void *state, const struct codec_task *t, double *us)
{
	struct cuda *cuda = state;
	struct gp_codec_cuda_job job = {.codec = t->codec,
		.block_elems = t->block_elems,
		.k = t->k,
		.k_last = t->k_last,
		.elems = t->elems,
		.grad = cuda->grad,
		.residual = t->op == CODEC_ENCODE_FEEDBACK ? cuda->residual : NULL,
		.result = cuda->result,
		.payload = cuda->payload};
	job.stride = gp_codec_cuda_stride(&job);
	if (job.stride * gp_codec_cuda_blocks(&job) > cuda->payload_size) {
		fprintf(stderr, "gradbench: cuda: blocks of %u are too small\n", t->block_elems);
		return -EINVAL;
	}
	int rc = prepare(cuda, &job, t->op);
	if (rc == 0)
		rc = gp_codec_cuda_mark(cuda->ctx, 0);
	if (rc == 0)
		rc = queue(cuda, &job, t->op);
	if (rc == 0)
		rc = gp_codec_cuda_mark(cuda->ctx, 1);
	if (rc == 0)
		rc = gp_codec_cuda_elapsed_us(cuda->ctx, 0, 1, us);
	return rc ? complain(cuda, rc, "cuda") : 0;
}

const struct codec_device codec_device_cuda = {
	.name = "cuda",
	.elems_default = 100000000,
	.has = cuda_has,
	.open = cuda_open,
	.model = cuda_model,
	.time = cuda_time,
	.close = cuda_close,
};
