// SPDX-License-Identifier: BSD-3-Clause
//
// A device of CUDA: a context of lib/codec/cuda for each slot. On a stream of the caller they share
// it; else each has its own, and slots are ordered by what the caller waits for.
#include "client_cuda_priv.h"

#include <assert.h>
#include <errno.h>
#include <gp_codec_cuda.h>
#include <stdlib.h>

static_assert(CUDA_STRIDE == GP_CODEC_CUDA_STRIDE, "the encoders want it");

struct device {
	struct gp_codec_cuda *slots[CUDA_SLOTS];
	struct gp_codec_cuda *last; // that was used
};

// What fails next, fails there.
static struct gp_codec_cuda *use(struct device *d, uint32_t slot)
{
	d->last = d->slots[slot];
	return d->last;
}

static void device_close(void *dev)
{
	struct device *d = dev;
	for (uint32_t i = 0; d && i < CUDA_SLOTS; i++)
		gp_codec_cuda_destroy(d->slots[i]);
	free(d);
}

static int device_open(void **dev, const struct gp_client_cuda_opts *opts, size_t staging_size,
	char *why, size_t size)
{
	const struct gp_codec_cuda_opts o = {
		.device = opts->device, .stream = opts->stream, .staging_size = staging_size};
	struct device *d = calloc(1, sizeof(*d));
	int rc = d ? 0 : -ENOMEM;
	for (uint32_t i = 0; i < CUDA_SLOTS && rc == 0; i++)
		rc = gp_codec_cuda_create(&d->slots[i], &o, why, size);
	if (rc) {
		device_close(d);
		return rc;
	}
	d->last = d->slots[0];
	*dev = d;
	return 0;
}

static const char *device_error(const void *dev)
{
	return gp_codec_cuda_error(((const struct device *)dev)->last);
}

static void *device_alloc(void *dev, size_t size, bool pinned)
{
	struct gp_codec_cuda *ctx = use(dev, 0);
	return pinned ? gp_codec_cuda_alloc_pinned(ctx, size) : gp_codec_cuda_alloc(ctx, size);
}

static void device_free(void *dev, void *memory, bool pinned)
{
	if (pinned)
		gp_codec_cuda_free_pinned(use(dev, 0), memory);
	else
		gp_codec_cuda_free(use(dev, 0), memory);
}

static int device_copy(void *dev, void *dst, const void *src, size_t size)
{
	return gp_codec_cuda_copy(use(dev, 0), dst, src, size);
}

// As many payloads of codec none, which hold nothing.
static int device_zero(void *dev, float *values, uint64_t elems)
{
	const struct gp_codec_cuda_job job = {.codec = GP_CODEC_NONE,
		.block_elems = GP_CODEC_ELEMS_MAX,
		.elems = elems,
		.result = values};
	return gp_codec_cuda_decode(use(dev, 0), &job);
}

static int device_sync(void *dev)
{
	int rc = 0;
	for (uint32_t i = 0; i < CUDA_SLOTS && rc == 0; i++)
		rc = gp_codec_cuda_sync(use(dev, i));
	return rc;
}

static int device_encode(void *dev, uint32_t slot, const struct cuda_encode *e, uint32_t *lens)
{
	const struct gp_codec_cuda_job job = {
		.codec = (uint8_t)e->blocks.codec,
		.block_elems = e->blocks.block_elems,
		.k = e->blocks.k,
		.k_last = e->blocks.k_last,
		.elems = e->blocks.elems,
		.grad = e->grad,
		.residual = e->residual,
		.stride = e->stride,
	};
	return gp_codec_cuda_encode_staged(use(dev, slot), &job, lens);
}

static const uint8_t *device_staging(const void *dev, uint32_t slot)
{
	return gp_codec_cuda_staging(((const struct device *)dev)->slots[slot]);
}

static int device_ready(void *dev, uint32_t slot, uint32_t *blocks)
{
	return gp_codec_cuda_ready(use(dev, slot), blocks);
}

const struct cuda_device_ops cuda_device = {
	.available = gp_codec_cuda_available,
	.open = device_open,
	.close = device_close,
	.error = device_error,
	.alloc = device_alloc,
	.free = device_free,
	.copy = device_copy,
	.zero = device_zero,
	.sync = device_sync,
	.encode = device_encode,
	.staging = device_staging,
	.ready = device_ready,
};
