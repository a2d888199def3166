// SPDX-License-Identifier: BSD-3-Clause
//
// The life of a pairing: its memory, sized by the client's tensors.
#include "client_cuda_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int cuda_refuse(struct gp_client_error *err, int code, const char *fmt, ...)
{
	if (!err)
		return code;
	va_list args;
	va_start(args, fmt);
	err->code = code;
	(void)vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	return code;
}

int cuda_check(const struct gp_client_cuda *d, int rc, struct gp_client_error *err)
{
	return rc ? cuda_refuse(err, rc, "device: %s", d->ops->error(d->dev)) : 0;
}

bool gp_client_cuda_available(char *why, size_t size)
{
	return cuda_device.available(why, size);
}

static uint32_t tensors_count(const struct gp_client *c)
{
	struct gp_client_blocks b;
	uint32_t n = 0;
	while (gp_client_blocks(c, n, &b) == 0)
		n++;
	return n;
}

// What the largest tensor needs: bytes of payloads, and blocks.
static void sizes_find(
	const struct gp_client_cuda *d, size_t *staging, uint32_t *blocks, uint64_t *elems)
{
	for (uint32_t i = 0; i < d->tensors_count; i++) {
		struct gp_client_blocks b;
		(void)gp_client_blocks(d->c, i, &b);
		size_t stride = gp_align_up(b.payload_max, CUDA_STRIDE);
		*staging = GP_MAX(*staging, stride * b.count);
		*blocks = GP_MAX(*blocks, b.count);
		d->tensors[i].elems = b.elems;
		*elems += b.elems;
	}
}

static bool keeps_back(const struct gp_client *c, uint32_t tensor)
{
	struct gp_client_codec_state s;
	return gp_client_codec(c, tensor, &s) == 0 && (s.automatic || s.codec != GP_CLIENT_F32);
}

static int residuals_take(struct gp_client_cuda *d)
{
	for (uint32_t i = 0; i < d->tensors_count; i++) {
		struct cuda_tensor *t = &d->tensors[i];
		if (!keeps_back(d->c, i))
			continue;
		t->residual = d->ops->alloc(d->dev, t->elems * sizeof(float), false);
		if (!t->residual)
			return -ENOMEM;
		int rc = d->ops->zero(d->dev, t->residual, t->elems);
		if (rc)
			return rc;
	}
	return d->ops->sync(d->dev);
}

static int results_place(struct gp_client_cuda *d, uint64_t elems)
{
	d->pinned = d->ops->alloc(d->dev, elems * sizeof(float), true);
	float *at = d->pinned;
	if (!at)
		return -ENOMEM;
	for (uint32_t i = 0; i < d->tensors_count; i++) {
		d->tensors[i].host = d->hosts[i] = at;
		at += d->tensors[i].elems;
	}
	return 0;
}

static int lists_take(struct gp_client_cuda *d)
{
	d->tensors = calloc(d->tensors_count, sizeof(*d->tensors));
	d->hosts = calloc(d->tensors_count, sizeof(*d->hosts));
	return d->tensors && d->hosts ? 0 : -ENOMEM;
}

static int memory_take(struct gp_client_cuda *d, const struct gp_client_cuda_opts *opts,
	struct gp_client_error *err)
{
	char why[GP_ERROR_TEXT_SIZE] = "";
	size_t staging = 0;
	uint32_t blocks = 0;
	uint64_t elems = 0;
	if (lists_take(d))
		return cuda_refuse(err, -ENOMEM, "no memory for %u tensors", d->tensors_count);
	sizes_find(d, &staging, &blocks, &elems);
	for (uint32_t i = 0; i < CUDA_SLOTS; i++) {
		d->slots[i].lens = calloc(blocks, sizeof(*d->slots[i].lens));
		if (!d->slots[i].lens)
			return cuda_refuse(err, -ENOMEM, "no memory for %u blocks", blocks);
	}
	d->blocks_max = blocks;
	d->staging_size = staging;
	int rc = d->ops->open(&d->dev, opts, staging, why, sizeof(why));
	if (rc)
		return cuda_refuse(err, rc, "%s", why);
	rc = results_place(d, elems);
	if (!rc)
		rc = residuals_take(d);
	return cuda_check(d, rc, err);
}

int cuda_create_over(struct gp_client_cuda **out, struct gp_client *c,
	const struct cuda_device_ops *ops, const struct gp_client_cuda_opts *opts,
	struct gp_client_error *err)
{
	*out = NULL;
	struct gp_client_cuda *d = calloc(1, sizeof(*d));
	if (!d)
		return cuda_refuse(err, -ENOMEM, "no memory");
	*d = (struct gp_client_cuda){.c = c, .ops = ops, .tensors_count = tensors_count(c)};
	int rc = d->tensors_count ? memory_take(d, opts, err)
				  : cuda_refuse(err, -EINVAL,
					    "no dense tensors are registered; a device is paired "
					    "with a client after gp_client_register");
	if (rc) {
		gp_client_cuda_destroy(d);
		return rc;
	}
	*out = d;
	return 0;
}

int gp_client_cuda_create(struct gp_client_cuda **out, struct gp_client *c,
	const struct gp_client_cuda_opts *opts, struct gp_client_error *err)
{
	return cuda_create_over(out, c, &cuda_device, opts, err);
}

void gp_client_cuda_destroy(struct gp_client_cuda *d)
{
	if (!d)
		return;
	if (d->dev) {
		(void)!d->ops->sync(d->dev);
		for (uint32_t i = 0; i < d->tensors_count; i++)
			d->ops->free(d->dev, d->tensors[i].residual, false);
		d->ops->free(d->dev, d->pinned, true);
	}
	d->ops->close(d->dev);
	for (uint32_t i = 0; i < CUDA_SLOTS; i++)
		free(d->slots[i].lens);
	free(d->tensors);
	free(d->hosts);
	free(d);
}
