// SPDX-License-Identifier: BSD-3-Clause
#include "host_device.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <gp_codec.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool host_available(char *why, size_t size)
{
	(void)why, (void)size;
	return true;
}

static int host_open(void **dev, const struct gp_client_cuda_opts *opts, size_t staging_size,
	char *why, size_t size)
{
	struct host_device *d = opts->stream;
	if (opts->device != 0) {
		(void)snprintf(why, size, "no host device %d", opts->device);
		return -ENODEV;
	}
	for (uint32_t i = 0; i < CUDA_SLOTS; i++) {
		d->slots[i] = (struct host_slot){.staging = malloc(staging_size)};
		cr_assert(d->slots[i].staging);
	}
	*dev = d;
	return 0;
}

static void host_close(void *dev)
{
	struct host_device *d = dev;
	for (uint32_t i = 0; d && i < CUDA_SLOTS; i++)
		free(d->slots[i].staging);
}

static const char *host_error(const void *dev)
{
	const struct host_device *d = dev;
	return d->encodes_max == 0 ? "it does not encode any more" : "no memory";
}

static void *host_alloc(void *dev, size_t size, bool pinned)
{
	struct host_device *d = dev;
	(void)pinned;
	if (d->allocs_max == 0) {
		errno = ENOMEM;
		return NULL;
	}
	d->allocs_max--;
	d->memories++;
	return memset(malloc(size), 0xa5, size);
}

static void host_free(void *dev, void *memory, bool pinned)
{
	(void)pinned;
	((struct host_device *)dev)->memories -= memory != NULL;
	free(memory);
}

static void block_encode(struct host_slot *s, uint32_t i)
{
	const struct gp_client_blocks *b = &s->e.blocks;
	uint64_t at = (uint64_t)i * b->block_elems;
	bool last = i + 1 == b->count;
	const struct gp_codec_src src = {
		.grad = s->e.grad + at,
		.residual = s->e.residual ? s->e.residual + at : NULL,
		.elems = last ? (uint32_t)(b->elems - at) : b->block_elems,
		.k = last ? b->k_last : b->k,
	};
	uint32_t len =
		gp_codec_encode((uint8_t)b->codec, &src, s->staging + (size_t)i * s->e.stride);
	cr_assert_eq(len, s->lens[i], "lengths are known before");
	cr_assert_leq(len, s->e.stride);
}

static void slot_work(struct host_slot *s, uint32_t blocks)
{
	for (; blocks > 0 && s->done < s->e.blocks.count; blocks--)
		block_encode(s, s->done++);
}

static int host_sync(void *dev)
{
	struct host_device *d = dev;
	for (uint32_t i = 0; i < CUDA_SLOTS; i++)
		slot_work(&d->slots[i], UINT32_MAX);
	return 0;
}

static int host_copy(void *dev, void *dst, const void *src, size_t size)
{
	(void)dev;
	memcpy(dst, src, size);
	return 0;
}

static int host_zero(void *dev, float *values, uint64_t elems)
{
	(void)dev;
	memset(values, 0, elems * sizeof(float));
	return 0;
}

static int host_encode(void *dev, uint32_t slot, const struct cuda_encode *e, uint32_t *lens)
{
	struct host_device *d = dev;
	struct host_slot *s = &d->slots[slot];
	const struct gp_client_blocks *b = &e->blocks;
	if (d->encodes_max == 0)
		return -EIO;
	d->encodes_max--;
	cr_assert_eq(s->done, s->e.blocks.count, "the slot is free");
	s->e = *e;
	s->lens = lens;
	s->done = 0;
	for (uint32_t i = 0; i < b->count; i++) {
		bool last = i + 1 == b->count;
		uint32_t rest = (uint32_t)(b->elems - (uint64_t)i * b->block_elems);
		lens[i] = (uint32_t)gp_codec_size_max(
			(uint8_t)b->codec, last ? rest : b->block_elems, last ? b->k_last : b->k);
	}
	return 0;
}

static const uint8_t *host_staging(const void *dev, uint32_t slot)
{
	return ((const struct host_device *)dev)->slots[slot].staging;
}

static int host_ready(void *dev, uint32_t slot, uint32_t *blocks)
{
	struct host_device *d = dev;
	*blocks = d->slots[slot].done;
	slot_work(&d->slots[slot], d->pace);
	return 0;
}

const struct cuda_device_ops host_device = {
	.available = host_available,
	.open = host_open,
	.close = host_close,
	.error = host_error,
	.alloc = host_alloc,
	.free = host_free,
	.copy = host_copy,
	.zero = host_zero,
	.sync = host_sync,
	.encode = host_encode,
	.staging = host_staging,
	.ready = host_ready,
};
