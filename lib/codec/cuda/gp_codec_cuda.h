// SPDX-License-Identifier: BSD-3-Clause
//
// The codecs of gp_codec.h on an NVIDIA GPU: a gradient that lies in device memory is encoded
// there, so that the payloads cross the bus and not the gradient. A payload and a residual are the
// same bytes as from gp_codec_encode with its scalar kernels, NaN payloads included.
//
// A tensor is cut into blocks of block_elems elements, the last may be shorter; the payload of
// block b begins at payload + b * stride. A payload's length depends only on codec, elements and k,
// so lengths are known when a call returns, before the device has begun.
//
// Order: calls on one context are asynchronous on its stream, in the order they were made, and
// return 0 as soon as the work is queued; gp_codec_cuda_sync waits. A fault of the device shows in
// a later call, with the text in gp_codec_cuda_error. After -EIO a context is good for destroy
// only.
//
// Threads: a context belongs to one thread at a time. Memory: device and pinned staging buffers are
// taken at creation; encode and decode allocate nothing. Gradients, residuals and payloads must be
// device or pinned host memory and must live until the work on them is done.
//
// Limits: tensors of at most GP_CODEC_CUDA_ELEMS_MAX elements, blocks of at most
// GP_CODEC_ELEMS_MAX; blocks of up to 2304 elements are the fast ones (larger ones fit no datagram
// of 9000 bytes). Needs a device of compute capability 8.0 or later; nothing else of CUDA need be
// installed, and without driver or device a program starts and gp_codec_cuda_available says why
// there is none.
//
// Errors: 0 or -errno. -ENODEV no usable driver or device, -ENOMEM, -EINVAL a job that breaks the
// limits, -ENOSPC staging too small for the job, -EIO the device failed.
#ifndef GP_CODEC_CUDA_H
#define GP_CODEC_CUDA_H

#include <gp_codec.h>

#define GP_CODEC_CUDA_ELEMS_MAX	  (UINT64_C(1) << 34)
#define GP_CODEC_CUDA_STRIDE	  16 // strides are multiples of it, payloads are aligned to it
#define GP_CODEC_CUDA_MARKS_COUNT 16

struct gp_codec_cuda;

struct gp_codec_cuda_opts {
	int device;
	void *stream; // a cudaStream_t of the caller, such as the one that makes the gradients;
		      // NULL: one of its own
	size_t staging_size; // bytes of pinned and as many of device memory; 0: no staging
};

// One tensor. Encoding reads grad and reads and writes residual; decoding writes `result`.
struct gp_codec_cuda_job {
	uint8_t codec;
	uint32_t block_elems;
	uint32_t k, k_last; // top-k: kept of each block, and of the last one; at most its elements
	uint64_t elems;
	const float *grad;
	float *residual; // NULL: no error feedback; f32 and none ignore it
	float *result;
	uint8_t *payload; // to encode: written; to decode: read. Nothing beyond a block's length is
			  // touched
	size_t stride;	  // gp_codec_cuda_stride or more
};

// False and a reason in one line when device 0 cannot be used. Any thread, any time.
bool gp_codec_cuda_available(char *why, size_t size) GP_MUST_CHECK;

// On failure *ctx is NULL and `why` says what failed.
int gp_codec_cuda_create(struct gp_codec_cuda **ctx, const struct gp_codec_cuda_opts *opts,
	char *why, size_t size) GP_MUST_CHECK;
// Waits for what is queued. Takes NULL.
void gp_codec_cuda_destroy(struct gp_codec_cuda *ctx);
// The last failure of a call on this context; never NULL.
const char *gp_codec_cuda_error(const struct gp_codec_cuda *ctx);
// The device's name, as its maker writes it.
const char *gp_codec_cuda_name(const struct gp_codec_cuda *ctx);

uint32_t gp_codec_cuda_blocks(const struct gp_codec_cuda_job *job) GP_MUST_CHECK;
// The least stride that holds every payload of the job, a multiple of GP_CODEC_CUDA_STRIDE.
size_t gp_codec_cuda_stride(const struct gp_codec_cuda_job *job) GP_MUST_CHECK;

// Queues the encoding of all blocks into job->payload. lens, one for each block, host memory, is
// filled before the call returns; NULL: not wanted.
int gp_codec_cuda_encode(struct gp_codec_cuda *ctx, const struct gp_codec_cuda_job *job,
	uint32_t *lens) GP_MUST_CHECK;
// The same into the context's own staging, job->payload is ignored: pieces of the tensor are
// encoded while those before them are copied to pinned host memory, and may be sent while later
// ones are under way. The payloads stay until the next staged call.
int gp_codec_cuda_encode_staged(struct gp_codec_cuda *ctx, const struct gp_codec_cuda_job *job,
	uint32_t *lens) GP_MUST_CHECK;
const uint8_t *gp_codec_cuda_staging(const struct gp_codec_cuda *ctx);
// How many blocks of the last staged call, from the first, have reached pinned memory: does not
// wait.
int gp_codec_cuda_ready(struct gp_codec_cuda *ctx, uint32_t *blocks) GP_MUST_CHECK;

// Queues result[0..elems) = values, +0 where absent. Only checked payloads (gp_codec_check): others
// give wrong values, though no access outside the tensor and its payloads.
int gp_codec_cuda_decode(
	struct gp_codec_cuda *ctx, const struct gp_codec_cuda_job *job) GP_MUST_CHECK;

// Waits for all that is queued, copies of the staged calls too.
int gp_codec_cuda_sync(struct gp_codec_cuda *ctx) GP_MUST_CHECK;

// Memory for callers that have none from a framework. NULL and errno when there is none.
void *gp_codec_cuda_alloc(struct gp_codec_cuda *ctx, size_t size) GP_MUST_CHECK;
void gp_codec_cuda_free(struct gp_codec_cuda *ctx, void *memory);
// The same of pinned host memory, which copies are fastest from and to.
void *gp_codec_cuda_alloc_pinned(struct gp_codec_cuda *ctx, size_t size) GP_MUST_CHECK;
void gp_codec_cuda_free_pinned(struct gp_codec_cuda *ctx, void *memory);
// Queues a copy between any two of device, pinned and ordinary memory.
int gp_codec_cuda_copy(
	struct gp_codec_cuda *ctx, void *dst, const void *src, size_t size) GP_MUST_CHECK;

// Marks a point of the stream; mark < GP_CODEC_CUDA_MARKS_COUNT. elapsed waits for both points.
int gp_codec_cuda_mark(struct gp_codec_cuda *ctx, uint32_t mark) GP_MUST_CHECK;
int gp_codec_cuda_elapsed_us(
	struct gp_codec_cuda *ctx, uint32_t from, uint32_t to, double *us) GP_MUST_CHECK;

#endif
