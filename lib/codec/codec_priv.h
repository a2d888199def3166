// SPDX-License-Identifier: BSD-3-Clause
//
// The inner loops of the codecs, one table for each instruction set. Each kernel has a scalar twin
// in codec_scalar.c that defines its result; the others give the same bytes.
#ifndef GP_CODEC_PRIV_H
#define GP_CODEC_PRIV_H

#include <gp_codec.h>

// Magnitude of a float as an integer that orders like it, with NaN above infinity.
#define CODEC_KEY_MASK 0x7fffffffu
#define CODEC_EXP_MASK 0x7f800000u
// The scale of a block that has none.
#define CODEC_NAN_BITS 0x7fc00000u
#define CODEC_LANES    16 // partial sums of the sign codec

// Elements to keep: every one with key > above, and the first `equals` ones with key == above.
struct codec_cut {
	int32_t above; // -1: all
	uint32_t equals;
};

// How the values of a sparse payload are written.
enum codec_form { CODEC_FORM_F32, CODEC_FORM_BF16, CODEC_FORM_F16, CODEC_FORMS };

typedef void (*codec_sparse)(
	float *dst, const uint8_t *index, const uint8_t *value, uint32_t count);

struct codec_kernels {
	void (*f32_add)(float *dst, const uint8_t *payload, uint32_t elems);
	bool (*f32_finite)(const uint8_t *payload, uint32_t count);
	void (*bf16_decode)(float *dst, const uint8_t *payload, uint32_t elems);
	void (*bf16_add)(float *dst, const uint8_t *payload, uint32_t elems);
	void (*bf16_encode)(uint8_t *payload, const float *grad, uint32_t elems);
	// residual = grad + residual - sent.
	void (*bf16_encode_ef)(
		uint8_t *payload, const float *grad, float *residual, uint32_t elems);
	void (*f16_decode)(float *dst, const uint8_t *payload, uint32_t elems);
	void (*f16_add)(float *dst, const uint8_t *payload, uint32_t elems);
	void (*f16_encode)(uint8_t *payload, const float *grad, uint32_t elems);
	void (*f16_encode_ef)(uint8_t *payload, const float *grad, float *residual, uint32_t elems);
	// No value has all the exponent bits of `mask` set: bf16 and f16.
	bool (*half_finite)(const uint8_t *payload, uint32_t count, uint16_t mask);
	// No q is -128.
	bool (*int8_legal)(const uint8_t *q, uint32_t elems);
	void (*int8_decode)(float *dst, const uint8_t *q, uint32_t elems, float scale);
	void (*int8_add)(float *dst, const uint8_t *q, uint32_t elems, float scale);
	// scale is finite and above 0; *residual == acc, or NULL.
	void (*int8_encode)(
		uint8_t *q, const float *acc, float *residual, uint32_t elems, float scale);
	void (*sign_decode)(float *dst, const uint8_t *bits, uint32_t elems, float scale);
	void (*sign_add)(float *dst, const uint8_t *bits, uint32_t elems, float scale);
	// Writes the bytes that have elements; scale is finite; *residual == acc, or NULL.
	void (*sign_encode)(
		uint8_t *bits, const float *acc, float *residual, uint32_t elems, float scale);
	// lane[j] = |acc[j]| + |acc[j + CODEC_LANES]| + ..., in that order.
	void (*abs_lanes)(float lane[CODEC_LANES], const float *acc, uint32_t elems);
	// residual = grad + residual.
	void (*accumulate)(float *residual, const float *grad, uint32_t elems);
	// Largest key, 0 for no elements.
	int32_t (*key_max)(const float *acc, uint32_t elems);
	// How many keys are > above.
	uint32_t (*count_above)(const float *acc, uint32_t elems, int32_t above);
	// Writes the u16 indices to keep, in order, and returns how many there are.
	uint32_t (*select)(uint8_t *out, const float *acc, uint32_t elems, struct codec_cut cut);
	// dst[index[i]] = value[i], and dst[index[i]] += value[i]; u16 indices that increase.
	codec_sparse sparse_set[CODEC_FORMS];
	codec_sparse sparse_add[CODEC_FORMS];
};

extern const struct codec_kernels codec_kernels_scalar;
extern const struct codec_kernels codec_kernels_avx2;
extern const struct codec_kernels codec_kernels_avx512;

// The table in use.
const struct codec_kernels *codec_kernels_get(void);

// Bytes of count and indices with their padding: where the values of a top-k payload start.
static inline uint32_t codec_topk_values_offset(uint32_t count)
{
	return (2 + 2 * count + 3) & ~3u;
}

// What lies behind the scale of int8 and sign.
#define CODEC_SCALE_SIZE 4

// One row of the table of codecs; payloads given to finite, decode and add have been checked.
struct codec_ops {
	const char *name;
	size_t (*size_max)(uint32_t elems, uint32_t k);
	int (*check)(const uint8_t *payload, size_t len, uint32_t elems);
	bool (*finite)(const uint8_t *payload, uint32_t elems);
	void (*decode)(float *dst, const uint8_t *payload, uint32_t elems);
	void (*add)(float *dst, const uint8_t *payload, uint32_t elems);
	uint32_t (*encode)(const struct gp_codec_src *src, uint8_t *payload);
};

extern const struct codec_ops codec_none, codec_f32, codec_bf16, codec_f16;
extern const struct codec_ops codec_int8, codec_sign;
extern const struct codec_ops codec_topk, codec_topk_bf16, codec_topk_f16;

static inline uint32_t codec_bits(float v)
{
	return gp_load32(&v);
}

static inline float codec_abs(float v)
{
	uint32_t bits = codec_bits(v) & CODEC_KEY_MASK;
	return gp_loadf(&bits);
}

static inline int32_t codec_key(float v)
{
	return (int32_t)(codec_bits(v) & CODEC_KEY_MASK);
}

static inline float codec_bf16_value(uint16_t half)
{
	uint32_t bits = (uint32_t)half << 16;
	return gp_loadf(&bits);
}

static inline uint16_t codec_bf16_round(float v)
{
	uint32_t bits = codec_bits(v);
	if ((bits & CODEC_KEY_MASK) > CODEC_EXP_MASK)
		return (uint16_t)(bits >> 16 |
				  0x40); // quiet; the rest of the NaN's payload that fits
	return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// What error feedback keeps of acc when `half` is sent.
static inline float codec_bf16_rest(float acc, uint16_t half)
{
	if (((uint32_t)half << 16 & CODEC_EXP_MASK) == CODEC_EXP_MASK)
		return 0;
	return acc - codec_bf16_value(half);
}

// binary16: subnormals are multiples of 2^-24, and 0.5 has that unit as its last place, so that one
// addition rounds to them; the others are rounded as integers.
static inline uint16_t codec_f16_round(float v)
{
	uint32_t bits = codec_bits(v), key = bits & CODEC_KEY_MASK;
	uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
	if (key > CODEC_EXP_MASK)
		return (uint16_t)(sign | 0x7e00 | (key >> 13 & 0x3ff));
	if (key >= 0x47800000) // 65536
		return sign | 0x7c00;
	if (key < 0x38800000) // 2^-14
		return (uint16_t)(sign | (codec_bits(gp_loadf(&key) + 0.5f) - 0x3f000000));
	// 112 = 127 - 15 between the exponents; a carry from 65520 on gives infinity.
	return (uint16_t)(sign | (key - 0x38000000 + 0xfff + (key >> 13 & 1)) >> 13);
}

static inline float codec_f16_value(uint16_t half)
{
	uint32_t sign = (uint32_t)(half & 0x8000) << 16, key = half & 0x7fffu, bits;
	if (key > 0x7c00)
		bits = CODEC_NAN_BITS | key << 13;
	else if (key == 0x7c00)
		bits = CODEC_EXP_MASK;
	else if (key < 0x400)
		bits = codec_bits((float)key * 0x1p-24f);
	else
		bits = (key << 13) + 0x38000000;
	bits |= sign;
	return gp_loadf(&bits);
}

static inline float codec_f16_rest(float acc, uint16_t half)
{
	if ((half & 0x7c00) == 0x7c00)
		return 0;
	return acc - codec_f16_value(half);
}

static inline bool codec_finite(float v)
{
	return (codec_bits(v) & CODEC_EXP_MASK) != CODEC_EXP_MASK;
}

// What error feedback keeps of acc when a quantiser has sent `sent`.
static inline float codec_rest(float acc, float sent)
{
	return codec_finite(sent) ? acc - sent : 0;
}

// |acc / scale| is below 2^8, so that adding 1.5 x 2^23 leaves the nearest integer, ties to even,
// in the lowest bits. scale is finite and above 0.
static inline int8_t codec_int8_round(float acc, float scale)
{
	int32_t q = (int32_t)(codec_bits(acc / scale + 0x1.8p23f) - 0x4b400000);
	return (int8_t)GP_MAX(-127, GP_MIN(127, q));
}

static inline float codec_int8_value(int8_t q, float scale)
{
	return gp_fmul((float)q, scale);
}

static inline float codec_sign_value(uint32_t negative, float scale)
{
	uint32_t bits = codec_bits(scale) ^ negative << 31;
	return gp_loadf(&bits);
}

static inline bool codec_kept(float v, uint32_t *equals, int32_t above)
{
	int32_t key = codec_key(v);
	if (key > above)
		return true;
	if (key < above || *equals == 0)
		return false;
	--*equals;
	return true;
}

#endif
