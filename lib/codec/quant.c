// SPDX-License-Identifier: BSD-3-Clause
//
// Codecs that send one scale and a few bits an element: int8 and sign.
#include "codec_priv.h"

static float scale_get(const uint8_t *payload)
{
	return gp_loadf(payload);
}

// Finite with sign bit 0, or the one NaN.
static bool scale_legal(const uint8_t *payload)
{
	uint32_t bits = gp_load32(payload);
	return bits < CODEC_EXP_MASK || bits == CODEC_NAN_BITS;
}

static bool zeros(const uint8_t *p, const uint8_t *end)
{
	uint32_t any = 0;
	for (; p < end; p++)
		any |= *p;
	return any == 0;
}

// Takes the gradient into the residual, if there is one, and says where what is to be sent lies.
static const float *acc_make(const struct gp_codec_src *src)
{
	if (!src->residual)
		return src->grad;
	codec_kernels_get()->accumulate(src->residual, src->grad, src->elems);
	return src->residual;
}

// The payload of a block that has no scale: all of it is NaN, and nothing is kept.
static void nan_encode(const struct gp_codec_src *src, uint8_t *payload, size_t size)
{
	memset(payload, 0, size);
	gp_store32(payload, CODEC_NAN_BITS);
	if (src->residual)
		memset(src->residual, 0, src->elems * sizeof(*src->residual));
}

// ---- int8

static size_t int8_size_max(uint32_t elems, uint32_t k)
{
	(void)k;
	return CODEC_SCALE_SIZE + ((elems + 3) & ~(size_t)3);
}

static int int8_check(const uint8_t *payload, size_t len, uint32_t elems)
{
	if (len != int8_size_max(elems, 0))
		return GP_CODEC_BAD_LENGTH;
	const uint8_t *q = payload + CODEC_SCALE_SIZE;
	if (!zeros(q + elems, payload + len))
		return GP_CODEC_BAD_PAD;
	if (!scale_legal(payload))
		return GP_CODEC_BAD_SCALE;
	return codec_kernels_get()->int8_legal(q, elems) ? GP_CODEC_OK : GP_CODEC_BAD_VALUE;
}

// The largest scales make an infinity of the largest q only.
static bool int8_finite(const uint8_t *payload, uint32_t elems)
{
	float scale = scale_get(payload);
	if (!codec_finite(scale))
		return elems == 0;
	if (codec_finite(127 * scale))
		return true;
	uint32_t bad = 0;
	for (uint32_t i = 0; i < elems; i++)
		bad |= !codec_finite(
			codec_int8_value((int8_t)payload[CODEC_SCALE_SIZE + i], scale));
	return !bad;
}

static void int8_decode(float *dst, const uint8_t *payload, uint32_t elems)
{
	codec_kernels_get()->int8_decode(
		dst, payload + CODEC_SCALE_SIZE, elems, scale_get(payload));
}

static void int8_add(float *dst, const uint8_t *payload, uint32_t elems)
{
	codec_kernels_get()->int8_add(dst, payload + CODEC_SCALE_SIZE, elems, scale_get(payload));
}

static uint32_t int8_encode(const struct gp_codec_src *src, uint8_t *payload)
{
	const struct codec_kernels *kn = codec_kernels_get();
	size_t size = int8_size_max(src->elems, 0);
	const float *acc = acc_make(src);
	uint32_t m = (uint32_t)kn->key_max(acc, src->elems);
	if (m >= CODEC_EXP_MASK) {
		nan_encode(src, payload, size);
		return (uint32_t)size;
	}
	float scale = gp_loadf(&m) / 127;
	gp_storef(payload, scale);
	// The last word has the padding in it.
	memset(payload + size - 4, 0, src->elems ? 4 : 0);
	if (scale > 0)
		kn->int8_encode(payload + CODEC_SCALE_SIZE, acc, src->residual, src->elems, scale);
	else
		memset(payload + CODEC_SCALE_SIZE, 0, src->elems);
	return (uint32_t)size;
}

const struct codec_ops codec_int8 = {
	.name = "int8",
	.size_max = int8_size_max,
	.check = int8_check,
	.finite = int8_finite,
	.decode = int8_decode,
	.add = int8_add,
	.encode = int8_encode,
};

// ---- sign

static size_t sign_size_max(uint32_t elems, uint32_t k)
{
	(void)k;
	return CODEC_SCALE_SIZE + ((size_t)elems + 31) / 32 * 4;
}

static int sign_check(const uint8_t *payload, size_t len, uint32_t elems)
{
	if (len != sign_size_max(elems, 0))
		return GP_CODEC_BAD_LENGTH;
	const uint8_t *bits = payload + CODEC_SCALE_SIZE;
	if (elems % 8 && bits[elems / 8] >> elems % 8)
		return GP_CODEC_BAD_PAD;
	if (!zeros(bits + (elems + 7) / 8, payload + len))
		return GP_CODEC_BAD_PAD;
	return scale_legal(payload) ? GP_CODEC_OK : GP_CODEC_BAD_SCALE;
}

static bool sign_finite(const uint8_t *payload, uint32_t elems)
{
	return elems == 0 || codec_finite(scale_get(payload));
}

static void sign_decode(float *dst, const uint8_t *payload, uint32_t elems)
{
	codec_kernels_get()->sign_decode(
		dst, payload + CODEC_SCALE_SIZE, elems, scale_get(payload));
}

static void sign_add(float *dst, const uint8_t *payload, uint32_t elems)
{
	codec_kernels_get()->sign_add(dst, payload + CODEC_SCALE_SIZE, elems, scale_get(payload));
}

// The mean of |acc|, summed in the order that gp_codec.h gives.
static float mean_abs(const float *acc, uint32_t elems)
{
	float lane[CODEC_LANES];
	codec_kernels_get()->abs_lanes(lane, acc, elems);
	for (uint32_t half = CODEC_LANES / 2; half > 0; half /= 2)
		for (uint32_t j = 0; j < half; j++)
			lane[j] = gp_fadd(lane[j], lane[j + half]);
	return elems ? lane[0] / (float)elems : 0;
}

static uint32_t sign_encode(const struct gp_codec_src *src, uint8_t *payload)
{
	size_t size = sign_size_max(src->elems, 0);
	const float *acc = acc_make(src);
	float scale = mean_abs(acc, src->elems);
	if (!codec_finite(scale)) {
		nan_encode(src, payload, size);
		return (uint32_t)size;
	}
	gp_storef(payload, scale);
	memset(payload + size - 4, 0, src->elems ? 4 : 0);
	codec_kernels_get()->sign_encode(
		payload + CODEC_SCALE_SIZE, acc, src->residual, src->elems, scale);
	return (uint32_t)size;
}

const struct codec_ops codec_sign = {
	.name = "sign",
	.size_max = sign_size_max,
	.check = sign_check,
	.finite = sign_finite,
	.decode = sign_decode,
	.add = sign_add,
	.encode = sign_encode,
};
