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

// Elements to keep: every one with key > above, and the first `equals` ones with key == above.
struct codec_cut {
	int32_t above; // -1: all
	uint32_t equals;
};

struct codec_kernels {
	void (*f32_add)(float *dst, const uint8_t *payload, uint32_t elems);
	bool (*f32_finite)(const uint8_t *payload, uint32_t count);
	void (*bf16_decode)(float *dst, const uint8_t *payload, uint32_t elems);
	void (*bf16_add)(float *dst, const uint8_t *payload, uint32_t elems);
	void (*bf16_encode)(uint8_t *payload, const float *grad, uint32_t elems);
	// residual = grad + residual - sent.
	void (*bf16_encode_ef)(
		uint8_t *payload, const float *grad, float *residual, uint32_t elems);
	// residual = grad + residual.
	void (*accumulate)(float *residual, const float *grad, uint32_t elems);
	// Largest key, 0 for no elements.
	int32_t (*key_max)(const float *acc, uint32_t elems);
	// How many keys are > above.
	uint32_t (*count_above)(const float *acc, uint32_t elems, int32_t above);
	// Writes the u16 indices to keep, in order, and returns how many there are.
	uint32_t (*select)(uint8_t *out, const float *acc, uint32_t elems, struct codec_cut cut);
};

extern const struct codec_kernels codec_kernels_scalar;
extern const struct codec_kernels codec_kernels_avx2;

// The table in use.
const struct codec_kernels *codec_kernels_get(void);

// Bytes of count and indices with their padding: where the values of a top-k payload start.
static inline uint32_t codec_topk_values_offset(uint32_t count)
{
	return (2 + 2 * count + 3) & ~3u;
}

static inline uint32_t codec_topk_size(uint32_t count)
{
	return codec_topk_values_offset(count) + 4 * count;
}

int codec_topk_check(const uint8_t *payload, size_t len, uint32_t elems) GP_MUST_CHECK;
void codec_topk_decode(float *dst, const uint8_t *payload, uint32_t elems);
void codec_topk_add(float *dst, const uint8_t *payload, uint32_t elems);
uint32_t codec_topk_encode(const struct gp_codec_src *src, uint8_t *payload) GP_MUST_CHECK;

static inline uint32_t codec_bits(float v)
{
	return gp_load32(&v);
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
