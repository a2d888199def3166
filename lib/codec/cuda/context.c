// SPDX-License-Identifier: BSD-3-Clause
//
// The life of a context: device, streams, staging, errors, copies and marks.
#include "context_priv.h"

#include <cuda_runtime_api.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define CAPABILITY_MAJOR_MIN 8

static int errno_of(cudaError_t err)
{
	switch (err) {
	case cudaSuccess:
		return 0;
	case cudaErrorNotReady:
		return -EAGAIN;
	case cudaErrorMemoryAllocation:
		return -ENOMEM;
	case cudaErrorInvalidValue:
	case cudaErrorInvalidDevice:
		return -EINVAL;
	case cudaErrorInsufficientDriver:
	case cudaErrorNoDevice:
	case cudaErrorInitializationError:
	case cudaErrorNoKernelImageForDevice:
	case cudaErrorUnsupportedPtxVersion:
		return -ENODEV;
	default:
		return -EIO;
	}
}

int codec_cuda_check(struct gp_codec_cuda *ctx, int err, const char *what)
{
	if (err == cudaSuccess)
		return 0;
	snprintf(ctx->error, sizeof(ctx->error), "%s: %s", what,
		cudaGetErrorString((cudaError_t)err));
	return errno_of((cudaError_t)err);
}

int codec_cuda_enter(struct gp_codec_cuda *ctx)
{
	// The runtime keeps a thread's last failure, such as an allocation's, and a launch would be
	// blamed for it. What breaks the device is reported again and again.
	cudaGetLastError();
	return codec_cuda_check(ctx, cudaSetDevice(ctx->device), "choosing the device");
}

static int device_check(int device, char *why, size_t size)
{
	int count = 0, major = 0;
	cudaError_t err = cudaGetDeviceCount(&count);
	if (err == cudaSuccess && device >= count) {
		snprintf(why, size, "no CUDA device %d, there are %d", device, count);
		return -ENODEV;
	}
	if (err == cudaSuccess)
		err = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
	if (err != cudaSuccess) {
		snprintf(why, size, "no usable CUDA device: %s", cudaGetErrorString(err));
		return errno_of(err);
	}
	if (major < CAPABILITY_MAJOR_MIN) {
		snprintf(why, size, "CUDA device %d has compute capability %d, %d is needed",
			device, major, CAPABILITY_MAJOR_MIN);
		return -ENODEV;
	}
	return 0;
}

bool gp_codec_cuda_available(char *why, size_t size)
{
	return device_check(0, why, size) == 0;
}

static cudaError_t events_create(cudaEvent_t *events, uint32_t count, unsigned flags)
{
	cudaError_t err = cudaSuccess;
	for (uint32_t i = 0; i < count && err == cudaSuccess; i++)
		err = cudaEventCreateWithFlags(&events[i], flags);
	return err;
}

static void events_destroy(cudaEvent_t *events, uint32_t count)
{
	for (uint32_t i = 0; i < count && events[i]; i++)
		cudaEventDestroy(events[i]);
}

static int resources_take(struct gp_codec_cuda *ctx, const struct gp_codec_cuda_opts *opts)
{
	struct cudaDeviceProp prop;
	cudaError_t err = cudaGetDeviceProperties(&prop, ctx->device);
	if (err == cudaSuccess)
		snprintf(ctx->name, sizeof(ctx->name), "%s", prop.name);
	if (err == cudaSuccess && opts->stream)
		ctx->stream = (cudaStream_t)opts->stream;
	else if (err == cudaSuccess)
		err = cudaStreamCreateWithFlags(&ctx->stream, cudaStreamNonBlocking);
	if (err == cudaSuccess)
		err = cudaStreamCreateWithFlags(&ctx->copy_stream, cudaStreamNonBlocking);
	if (err == cudaSuccess)
		err = events_create(ctx->encoded, CUDA_PIECES_MAX, cudaEventDisableTiming);
	if (err == cudaSuccess)
		err = events_create(ctx->copied, CUDA_PIECES_MAX, cudaEventDisableTiming);
	if (err == cudaSuccess)
		err = events_create(ctx->marks, GP_CODEC_CUDA_MARKS_COUNT, cudaEventDefault);
	if (err != cudaSuccess)
		return codec_cuda_check(ctx, err, "taking streams and events");
	if (!ctx->staging_size)
		return 0;
	err = cudaMalloc((void **)&ctx->staging_device, ctx->staging_size);
	if (err == cudaSuccess)
		err = cudaMallocHost((void **)&ctx->staging_pinned, ctx->staging_size);
	return codec_cuda_check(ctx, err, "taking staging memory");
}

int gp_codec_cuda_create(
	struct gp_codec_cuda **out, const struct gp_codec_cuda_opts *opts, char *why, size_t size)
{
	*out = NULL;
	int rc = device_check(opts->device, why, size);
	if (rc)
		return rc;
	struct gp_codec_cuda *ctx = calloc(1, sizeof(*ctx));
	if (!ctx) {
		snprintf(why, size, "no memory for a context");
		return -ENOMEM;
	}
	ctx->device = opts->device;
	ctx->own_stream = !opts->stream;
	ctx->staging_size = opts->staging_size;
	rc = codec_cuda_enter(ctx);
	if (rc == 0)
		rc = resources_take(ctx, opts);
	if (rc) {
		snprintf(why, size, "%s", ctx->error);
		gp_codec_cuda_destroy(ctx);
		return rc;
	}
	*out = ctx;
	return 0;
}

void gp_codec_cuda_destroy(struct gp_codec_cuda *ctx)
{
	if (!ctx)
		return;
	if (gp_codec_cuda_sync(ctx) != 0)
		ctx->pieces = 0; // a device that has failed: nothing of it is used any more
	events_destroy(ctx->marks, GP_CODEC_CUDA_MARKS_COUNT);
	events_destroy(ctx->copied, CUDA_PIECES_MAX);
	events_destroy(ctx->encoded, CUDA_PIECES_MAX);
	cudaFreeHost(ctx->staging_pinned);
	cudaFree(ctx->staging_device);
	if (ctx->copy_stream)
		cudaStreamDestroy(ctx->copy_stream);
	if (ctx->own_stream && ctx->stream)
		cudaStreamDestroy(ctx->stream);
	free(ctx);
}

const char *gp_codec_cuda_error(const struct gp_codec_cuda *ctx)
{
	return ctx->error;
}

const char *gp_codec_cuda_name(const struct gp_codec_cuda *ctx)
{
	return ctx->name;
}

const uint8_t *gp_codec_cuda_staging(const struct gp_codec_cuda *ctx)
{
	return ctx->staging_pinned;
}

int gp_codec_cuda_sync(struct gp_codec_cuda *ctx)
{
	int rc = codec_cuda_enter(ctx);
	if (rc)
		return rc;
	cudaError_t err = ctx->stream ? cudaStreamSynchronize(ctx->stream) : cudaSuccess;
	if (err == cudaSuccess && ctx->copy_stream)
		err = cudaStreamSynchronize(ctx->copy_stream);
	return codec_cuda_check(ctx, err, "waiting for the device");
}

static void *memory_or_errno(int rc, void *memory)
{
	if (rc)
		errno = -rc;
	return rc ? NULL : memory;
}

void *gp_codec_cuda_alloc(struct gp_codec_cuda *ctx, size_t size)
{
	void *memory = NULL;
	int rc = codec_cuda_enter(ctx);
	if (rc == 0)
		rc = codec_cuda_check(ctx, cudaMalloc(&memory, size), "taking device memory");
	return memory_or_errno(rc, memory);
}

void *gp_codec_cuda_alloc_pinned(struct gp_codec_cuda *ctx, size_t size)
{
	void *memory = NULL;
	int rc = codec_cuda_enter(ctx);
	if (rc == 0)
		rc = codec_cuda_check(ctx, cudaMallocHost(&memory, size), "taking pinned memory");
	return memory_or_errno(rc, memory);
}

void gp_codec_cuda_free_pinned(struct gp_codec_cuda *ctx, void *memory)
{
	if (codec_cuda_enter(ctx) == 0)
		cudaFreeHost(memory);
}

void gp_codec_cuda_free(struct gp_codec_cuda *ctx, void *memory)
{
	if (codec_cuda_enter(ctx) == 0)
		cudaFree(memory);
}

int gp_codec_cuda_copy(struct gp_codec_cuda *ctx, void *dst, const void *src, size_t size)
{
	int rc = codec_cuda_enter(ctx);
	if (rc)
		return rc;
	cudaError_t err = cudaMemcpyAsync(dst, src, size, cudaMemcpyDefault, ctx->stream);
	return codec_cuda_check(ctx, err, "copying");
}

int gp_codec_cuda_mark(struct gp_codec_cuda *ctx, uint32_t mark)
{
	GP_ASSERT(mark < GP_CODEC_CUDA_MARKS_COUNT);
	int rc = codec_cuda_enter(ctx);
	if (rc)
		return rc;
	return codec_cuda_check(ctx, cudaEventRecord(ctx->marks[mark], ctx->stream), "marking");
}

int gp_codec_cuda_elapsed_us(struct gp_codec_cuda *ctx, uint32_t from, uint32_t to, double *us)
{
	GP_ASSERT(from < GP_CODEC_CUDA_MARKS_COUNT && to < GP_CODEC_CUDA_MARKS_COUNT);
	float ms = 0;
	int rc = codec_cuda_enter(ctx);
	if (rc)
		return rc;
	cudaError_t err = cudaEventSynchronize(ctx->marks[to]);
	if (err == cudaSuccess)
		err = cudaEventElapsedTime(&ms, ctx->marks[from], ctx->marks[to]);
	*us = (double)ms * 1000;
	return codec_cuda_check(ctx, err, "reading the time");
}
