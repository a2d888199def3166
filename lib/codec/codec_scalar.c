// SPDX-License-Identifier: BSD-3-Clause
//
// The kernels in plain C: what the SIMD ones are compared with, and what runs where there are none.
#include "codec_priv.h"

static void f32_add(float *dst, const uint8_t *payload, uint32_t elems)
{
	for (uint32_t i = 0; i < elems; i++)
		dst[i] = gp_fadd(dst[i], gp_loadf(payload + 4 * i));
}

static bool f32_finite(const uint8_t *payload, uint32_t count)
{
	uint32_t bad = 0;
	for (uint32_t i = 0; i < count; i++)
		bad |= (gp_load32(payload + 4 * i) & CODEC_EXP_MASK) == CODEC_EXP_MASK;
	return !bad;
}

static void bf16_decode(float *dst, const uint8_t *payload, uint32_t elems)
{
	for (uint32_t i = 0; i < elems; i++)
		gp_storef(&dst[i], codec_bf16_value(gp_load16(payload + 2 * i)));
}

static void bf16_add(float *dst, const uint8_t *payload, uint32_t elems)
{
	for (uint32_t i = 0; i < elems; i++)
		dst[i] = gp_fadd(dst[i], codec_bf16_value(gp_load16(payload + 2 * i)));
}

static void bf16_encode(uint8_t *payload, const float *grad, uint32_t elems)
{
	for (uint32_t i = 0; i < elems; i++)
		gp_store16(payload + 2 * i, codec_bf16_round(grad[i]));
}

static void bf16_encode_ef(uint8_t *payload, const float *grad, float *residual, uint32_t elems)
{
	for (uint32_t i = 0; i < elems; i++) {
		float acc = gp_fadd(grad[i], residual[i]);
		uint16_t half = codec_bf16_round(acc);
		gp_store16(payload + 2 * i, half);
		residual[i] = codec_bf16_rest(acc, half);
	}
}

static void accumulate(float *residual, const float *grad, uint32_t elems)
{
	for (uint32_t i = 0; i < elems; i++)
		residual[i] = gp_fadd(grad[i], residual[i]);
}

static int32_t key_max(const float *acc, uint32_t elems)
{
	int32_t max = 0;
	for (uint32_t i = 0; i < elems; i++)
		max = GP_MAX(max, codec_key(acc[i]));
	return max;
}

static uint32_t count_above(const float *acc, uint32_t elems, int32_t above)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < elems; i++)
		n += codec_key(acc[i]) > above;
	return n;
}

static uint32_t select_indices(uint8_t *out, const float *acc, uint32_t elems, struct codec_cut cut)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < elems; i++) {
		if (codec_kept(acc[i], &cut.equals, cut.above))
			gp_store16(out + 2 * n++, (uint16_t)i);
	}
	return n;
}

const struct codec_kernels codec_kernels_scalar = {
	.f32_add = f32_add,
	.f32_finite = f32_finite,
	.bf16_decode = bf16_decode,
	.bf16_add = bf16_add,
	.bf16_encode = bf16_encode,
	.bf16_encode_ef = bf16_encode_ef,
	.accumulate = accumulate,
	.key_max = key_max,
	.count_above = count_above,
	.select = select_indices,
};
