// SPDX-License-Identifier: BSD-3-Clause
//
// The kernels in plain C: what the SIMD ones are compared with, and what runs where there are none.
#include "codec_sparse.h"

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

static void f16_decode(float *dst, const uint8_t *payload, uint32_t elems)
{
	for (uint32_t i = 0; i < elems; i++)
		gp_storef(&dst[i], codec_f16_value(gp_load16(payload + 2 * i)));
}

static void f16_add(float *dst, const uint8_t *payload, uint32_t elems)
{
	for (uint32_t i = 0; i < elems; i++)
		dst[i] = gp_fadd(dst[i], codec_f16_value(gp_load16(payload + 2 * i)));
}

static void f16_encode(uint8_t *payload, const float *grad, uint32_t elems)
{
	for (uint32_t i = 0; i < elems; i++)
		gp_store16(payload + 2 * i, codec_f16_round(grad[i]));
}

static void f16_encode_ef(uint8_t *payload, const float *grad, float *residual, uint32_t elems)
{
	for (uint32_t i = 0; i < elems; i++) {
		float acc = gp_fadd(grad[i], residual[i]);
		uint16_t half = codec_f16_round(acc);
		gp_store16(payload + 2 * i, half);
		residual[i] = codec_f16_rest(acc, half);
	}
}

static bool half_finite(const uint8_t *payload, uint32_t count, uint16_t mask)
{
	uint32_t bad = 0;
	for (uint32_t i = 0; i < count; i++)
		bad |= (gp_load16(payload + 2 * i) & mask) == mask;
	return !bad;
}

static bool int8_legal(const uint8_t *q, uint32_t elems)
{
	uint32_t bad = 0;
	for (uint32_t i = 0; i < elems; i++)
		bad |= q[i] == 0x80;
	return !bad;
}

static void int8_decode(float *dst, const uint8_t *q, uint32_t elems, float scale)
{
	for (uint32_t i = 0; i < elems; i++)
		dst[i] = codec_int8_value((int8_t)q[i], scale);
}

static void int8_add(float *dst, const uint8_t *q, uint32_t elems, float scale)
{
	for (uint32_t i = 0; i < elems; i++)
		dst[i] = gp_fadd(dst[i], codec_int8_value((int8_t)q[i], scale));
}

static void int8_encode(uint8_t *q, const float *acc, float *residual, uint32_t elems, float scale)
{
	for (uint32_t i = 0; i < elems; i++) {
		int8_t v = codec_int8_round(acc[i], scale);
		q[i] = (uint8_t)v;
		if (residual)
			residual[i] = codec_rest(acc[i], codec_int8_value(v, scale));
	}
}

static void sign_decode(float *dst, const uint8_t *bits, uint32_t elems, float scale)
{
	for (uint32_t i = 0; i < elems; i++)
		dst[i] = codec_sign_value(bits[i / 8] >> i % 8 & 1u, scale);
}

static void sign_add(float *dst, const uint8_t *bits, uint32_t elems, float scale)
{
	for (uint32_t i = 0; i < elems; i++)
		dst[i] = gp_fadd(dst[i], codec_sign_value(bits[i / 8] >> i % 8 & 1u, scale));
}

static void sign_encode(
	uint8_t *bits, const float *acc, float *residual, uint32_t elems, float scale)
{
	for (uint32_t i = 0; i < elems; i++) {
		uint32_t negative = codec_bits(acc[i]) >> 31;
		if (i % 8 == 0)
			bits[i / 8] = 0;
		bits[i / 8] |= (uint8_t)(negative << i % 8);
		if (residual)
			residual[i] = acc[i] - codec_sign_value(negative, scale);
	}
}

static void abs_lanes(float lane[CODEC_LANES], const float *acc, uint32_t elems)
{
	memset(lane, 0, CODEC_LANES * sizeof(*lane));
	for (uint32_t i = 0; i < elems; i++)
		lane[i % CODEC_LANES] = gp_fadd(lane[i % CODEC_LANES], codec_abs(acc[i]));
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

CODEC_SPARSE_HALVES

const struct codec_kernels codec_kernels_scalar = {
	.f32_add = f32_add,
	.f32_finite = f32_finite,
	.bf16_decode = bf16_decode,
	.bf16_add = bf16_add,
	.bf16_encode = bf16_encode,
	.bf16_encode_ef = bf16_encode_ef,
	.f16_decode = f16_decode,
	.f16_add = f16_add,
	.f16_encode = f16_encode,
	.f16_encode_ef = f16_encode_ef,
	.half_finite = half_finite,
	.int8_legal = int8_legal,
	.int8_decode = int8_decode,
	.int8_add = int8_add,
	.int8_encode = int8_encode,
	.sign_decode = sign_decode,
	.sign_add = sign_add,
	.sign_encode = sign_encode,
	.abs_lanes = abs_lanes,
	.accumulate = accumulate,
	.key_max = key_max,
	.count_above = count_above,
	.select = select_indices,
	.sparse_set = {codec_sparse_set_f32, sparse_set_bf16, sparse_set_f16},
	.sparse_add = {codec_sparse_add_f32, sparse_add_bf16, sparse_add_f16},
};
