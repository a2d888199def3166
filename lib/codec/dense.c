// SPDX-License-Identifier: BSD-3-Clause
//
// Codecs that send every element on its own: nothing at all, f32, bf16, f16.
#include "codec_priv.h"

static size_t none_size_max(uint32_t elems, uint32_t k)
{
	(void)elems, (void)k;
	return 0;
}

static int none_check(const uint8_t *payload, size_t len, uint32_t elems)
{
	(void)payload, (void)elems;
	return len == 0 ? GP_CODEC_OK : GP_CODEC_BAD_LENGTH;
}

static bool none_finite(const uint8_t *payload, uint32_t elems)
{
	(void)payload, (void)elems;
	return true;
}

static void none_decode(float *dst, const uint8_t *payload, uint32_t elems)
{
	(void)payload;
	memset(dst, 0, (size_t)elems * sizeof(*dst));
}

static void none_add(float *dst, const uint8_t *payload, uint32_t elems)
{
	(void)dst, (void)payload, (void)elems;
}

static uint32_t none_encode(const struct gp_codec_src *src, uint8_t *payload)
{
	(void)src, (void)payload;
	return 0;
}

static size_t f32_size_max(uint32_t elems, uint32_t k)
{
	(void)k;
	return (size_t)elems * 4;
}

static int f32_check(const uint8_t *payload, size_t len, uint32_t elems)
{
	(void)payload;
	return len == f32_size_max(elems, 0) ? GP_CODEC_OK : GP_CODEC_BAD_LENGTH;
}

static bool f32_finite(const uint8_t *payload, uint32_t elems)
{
	return codec_kernels_get()->f32_finite(payload, elems);
}

static void f32_decode(float *dst, const uint8_t *payload, uint32_t elems)
{
	memcpy(dst, payload, (size_t)elems * sizeof(*dst));
}

static void f32_add(float *dst, const uint8_t *payload, uint32_t elems)
{
	codec_kernels_get()->f32_add(dst, payload, elems);
}

static uint32_t f32_encode(const struct gp_codec_src *src, uint8_t *payload)
{
	memcpy(payload, src->grad, (size_t)src->elems * sizeof(*src->grad));
	return 4 * src->elems;
}

static size_t half_size_max(uint32_t elems, uint32_t k)
{
	(void)k;
	return (size_t)elems * 2;
}

static int half_check(const uint8_t *payload, size_t len, uint32_t elems)
{
	(void)payload;
	return len == half_size_max(elems, 0) ? GP_CODEC_OK : GP_CODEC_BAD_LENGTH;
}

static bool bf16_finite(const uint8_t *payload, uint32_t elems)
{
	return codec_kernels_get()->half_finite(payload, elems, 0x7f80);
}

static void bf16_decode(float *dst, const uint8_t *payload, uint32_t elems)
{
	codec_kernels_get()->bf16_decode(dst, payload, elems);
}

static void bf16_add(float *dst, const uint8_t *payload, uint32_t elems)
{
	codec_kernels_get()->bf16_add(dst, payload, elems);
}

static uint32_t bf16_encode(const struct gp_codec_src *src, uint8_t *payload)
{
	const struct codec_kernels *kn = codec_kernels_get();
	if (src->residual)
		kn->bf16_encode_ef(payload, src->grad, src->residual, src->elems);
	else
		kn->bf16_encode(payload, src->grad, src->elems);
	return 2 * src->elems;
}

static bool f16_finite(const uint8_t *payload, uint32_t elems)
{
	return codec_kernels_get()->half_finite(payload, elems, 0x7c00);
}

static void f16_decode(float *dst, const uint8_t *payload, uint32_t elems)
{
	codec_kernels_get()->f16_decode(dst, payload, elems);
}

static void f16_add(float *dst, const uint8_t *payload, uint32_t elems)
{
	codec_kernels_get()->f16_add(dst, payload, elems);
}

static uint32_t f16_encode(const struct gp_codec_src *src, uint8_t *payload)
{
	const struct codec_kernels *kn = codec_kernels_get();
	if (src->residual)
		kn->f16_encode_ef(payload, src->grad, src->residual, src->elems);
	else
		kn->f16_encode(payload, src->grad, src->elems);
	return 2 * src->elems;
}

const struct codec_ops codec_none = {
	.name = "none",
	.size_max = none_size_max,
	.check = none_check,
	.finite = none_finite,
	.decode = none_decode,
	.add = none_add,
	.encode = none_encode,
};

const struct codec_ops codec_f32 = {
	.name = "f32",
	.size_max = f32_size_max,
	.check = f32_check,
	.finite = f32_finite,
	.decode = f32_decode,
	.add = f32_add,
	.encode = f32_encode,
};

const struct codec_ops codec_bf16 = {
	.name = "bf16",
	.size_max = half_size_max,
	.check = half_check,
	.finite = bf16_finite,
	.decode = bf16_decode,
	.add = bf16_add,
	.encode = bf16_encode,
};

const struct codec_ops codec_f16 = {
	.name = "f16",
	.size_max = half_size_max,
	.check = half_check,
	.finite = f16_finite,
	.decode = f16_decode,
	.add = f16_add,
	.encode = f16_encode,
};
