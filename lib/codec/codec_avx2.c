// SPDX-License-Identifier: BSD-3-Clause
//
// The kernels for AVX2 and F16C. bf16 is rounded with integer operations, so the bytes are those of
// the scalar twin on every CPU. Elements beyond the last full vector go through the scalar helpers.
// What is quantised is in codec_avx2_quant.c.
#include "codec_avx2.h"
#include "codec_sparse.h"

static inline __m256 load8_bf16(const void *p)
{
	__m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
	return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}

static inline __m256i keys8(const float *p)
{
	return _mm256_and_si256(load8i(p), _mm256_set1_epi32((int)CODEC_KEY_MASK));
}

static inline uint32_t lanes(__m256i mask)
{
	return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(mask));
}

static void f32_add(float *dst, const uint8_t *payload, uint32_t elems)
{
	uint32_t i = 0;
	for (; i + 8 <= elems; i += 8)
		_mm256_storeu_ps(
			dst + i, gp_fadd8(_mm256_loadu_ps(dst + i), load8(payload + 4 * i)));
	for (; i < elems; i++)
		dst[i] = gp_fadd(dst[i], gp_loadf(payload + 4 * i));
}

static bool f32_finite(const uint8_t *payload, uint32_t count)
{
	const __m256i exp = _mm256_set1_epi32((int)CODEC_EXP_MASK);
	__m256i bad = _mm256_setzero_si256();
	uint32_t i = 0, rest = 0;
	for (; i + 8 <= count; i += 8) {
		__m256i e = _mm256_and_si256(load8i(payload + 4 * i), exp);
		bad = _mm256_or_si256(bad, _mm256_cmpeq_epi32(e, exp));
	}
	for (; i < count; i++)
		rest |= (gp_load32(payload + 4 * i) & CODEC_EXP_MASK) == CODEC_EXP_MASK;
	return !rest && _mm256_testz_si256(bad, bad);
}

static void bf16_decode(float *dst, const uint8_t *payload, uint32_t elems)
{
	uint32_t i = 0;
	for (; i + 8 <= elems; i += 8)
		_mm256_storeu_ps(dst + i, load8_bf16(payload + 2 * i));
	for (; i < elems; i++)
		gp_storef(&dst[i], codec_bf16_value(gp_load16(payload + 2 * i)));
}

static void bf16_add(float *dst, const uint8_t *payload, uint32_t elems)
{
	uint32_t i = 0;
	for (; i + 8 <= elems; i += 8) {
		__m256 sum = gp_fadd8(_mm256_loadu_ps(dst + i), load8_bf16(payload + 2 * i));
		_mm256_storeu_ps(dst + i, sum);
	}
	for (; i < elems; i++)
		dst[i] = gp_fadd(dst[i], codec_bf16_value(gp_load16(payload + 2 * i)));
}

// Eight bf16 in the low halves of eight lanes.
static inline __m256i round8(__m256 v)
{
	__m256i bits = _mm256_castps_si256(v);
	__m256i high = _mm256_srli_epi32(bits, 16);
	__m256i odd = _mm256_and_si256(high, _mm256_set1_epi32(1));
	__m256i biased = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
	__m256i quiet = _mm256_or_si256(high, _mm256_set1_epi32(0x40));
	__m256i key = _mm256_and_si256(bits, _mm256_set1_epi32((int)CODEC_KEY_MASK));
	__m256i nan = _mm256_cmpgt_epi32(key, _mm256_set1_epi32((int)CODEC_EXP_MASK));
	return _mm256_blendv_epi8(_mm256_srli_epi32(biased, 16), quiet, nan);
}

static inline void store16_bf16(uint8_t *payload, __m256i lo, __m256i hi)
{
	// The pack works within 128-bit halves; the permutation puts the quarters back in order.
	__m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(lo, hi), 0xd8);
	_mm256_storeu_si256((__m256i *)payload, packed);
}

static void bf16_encode(uint8_t *payload, const float *grad, uint32_t elems)
{
	uint32_t i = 0;
	for (; i + 16 <= elems; i += 16)
		store16_bf16(payload + 2 * i, round8(load8(grad + i)), round8(load8(grad + i + 8)));
	for (; i < elems; i++)
		gp_store16(payload + 2 * i, codec_bf16_round(grad[i]));
}

static inline __m256i round8_ef(const float *grad, float *residual)
{
	__m256 acc = gp_fadd8(load8(grad), load8(residual));
	__m256i half = round8(acc);
	__m256 sent = _mm256_castsi256_ps(_mm256_slli_epi32(half, 16));
	_mm256_storeu_ps(residual, codec_rest8(acc, sent));
	return half;
}

static void bf16_encode_ef(uint8_t *payload, const float *grad, float *residual, uint32_t elems)
{
	uint32_t i = 0;
	for (; i + 16 <= elems; i += 16) {
		__m256i lo = round8_ef(grad + i, residual + i);
		store16_bf16(payload + 2 * i, lo, round8_ef(grad + i + 8, residual + i + 8));
	}
	for (; i < elems; i++) {
		float acc = gp_fadd(grad[i], residual[i]);
		uint16_t half = codec_bf16_round(acc);
		gp_store16(payload + 2 * i, half);
		residual[i] = codec_bf16_rest(acc, half);
	}
}

static inline __m256 load8_f16(const void *p)
{
	return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}

static void f16_decode(float *dst, const uint8_t *payload, uint32_t elems)
{
	uint32_t i = 0;
	for (; i + 8 <= elems; i += 8)
		_mm256_storeu_ps(dst + i, load8_f16(payload + 2 * i));
	for (; i < elems; i++)
		gp_storef(&dst[i], codec_f16_value(gp_load16(payload + 2 * i)));
}

static void f16_add(float *dst, const uint8_t *payload, uint32_t elems)
{
	uint32_t i = 0;
	for (; i + 8 <= elems; i += 8) {
		__m256 sum = gp_fadd8(_mm256_loadu_ps(dst + i), load8_f16(payload + 2 * i));
		_mm256_storeu_ps(dst + i, sum);
	}
	for (; i < elems; i++)
		dst[i] = gp_fadd(dst[i], codec_f16_value(gp_load16(payload + 2 * i)));
}

static void f16_encode(uint8_t *payload, const float *grad, uint32_t elems)
{
	uint32_t i = 0;
	for (; i + 8 <= elems; i += 8)
		_mm_storeu_si128((__m128i *)(payload + 2 * i),
			_mm256_cvtps_ph(load8(grad + i), _MM_FROUND_TO_NEAREST_INT));
	for (; i < elems; i++)
		gp_store16(payload + 2 * i, codec_f16_round(grad[i]));
}

static void f16_encode_ef(uint8_t *payload, const float *grad, float *residual, uint32_t elems)
{
	uint32_t i = 0;
	for (; i + 8 <= elems; i += 8) {
		__m256 acc = gp_fadd8(load8(grad + i), load8(residual + i));
		__m128i half = _mm256_cvtps_ph(acc, _MM_FROUND_TO_NEAREST_INT);
		_mm_storeu_si128((__m128i *)(payload + 2 * i), half);
		_mm256_storeu_ps(residual + i, codec_rest8(acc, _mm256_cvtph_ps(half)));
	}
	for (; i < elems; i++) {
		float acc = gp_fadd(grad[i], residual[i]);
		uint16_t half = codec_f16_round(acc);
		gp_store16(payload + 2 * i, half);
		residual[i] = codec_f16_rest(acc, half);
	}
}

static bool half_finite(const uint8_t *payload, uint32_t count, uint16_t mask)
{
	const __m256i exp = _mm256_set1_epi16((int16_t)mask);
	__m256i bad = _mm256_setzero_si256();
	uint32_t i = 0, rest = 0;
	for (; i + 16 <= count; i += 16) {
		__m256i e = _mm256_and_si256(load8i(payload + 2 * i), exp);
		bad = _mm256_or_si256(bad, _mm256_cmpeq_epi16(e, exp));
	}
	for (; i < count; i++)
		rest |= (gp_load16(payload + 2 * i) & mask) == mask;
	return !rest && _mm256_testz_si256(bad, bad);
}

static void accumulate(float *residual, const float *grad, uint32_t elems)
{
	uint32_t i = 0;
	for (; i + 8 <= elems; i += 8)
		_mm256_storeu_ps(residual + i, gp_fadd8(load8(grad + i), load8(residual + i)));
	for (; i < elems; i++)
		residual[i] = gp_fadd(grad[i], residual[i]);
}

static int32_t key_max(const float *acc, uint32_t elems)
{
	__m256i max8 = _mm256_setzero_si256();
	int32_t part[8], max = 0;
	uint32_t i = 0;
	for (; i + 8 <= elems; i += 8)
		max8 = _mm256_max_epi32(max8, keys8(acc + i));
	for (; i < elems; i++)
		max = GP_MAX(max, codec_key(acc[i]));
	_mm256_storeu_si256((__m256i *)part, max8);
	for (uint32_t j = 0; j < 8; j++)
		max = GP_MAX(max, part[j]);
	return max;
}

static uint32_t count_above(const float *acc, uint32_t elems, int32_t above)
{
	const __m256i limit = _mm256_set1_epi32(above);
	__m256i minus = _mm256_setzero_si256();
	uint32_t part[8], i = 0, n = 0;
	for (; i + 8 <= elems; i += 8)
		minus = _mm256_add_epi32(minus, _mm256_cmpgt_epi32(keys8(acc + i), limit));
	for (; i < elems; i++)
		n += codec_key(acc[i]) > above;
	_mm256_storeu_si256((__m256i *)part, minus);
	for (uint32_t j = 0; j < 8; j++)
		n -= part[j];
	return n;
}

static uint32_t select_indices(uint8_t *out, const float *acc, uint32_t elems, struct codec_cut cut)
{
	const __m256i below = _mm256_set1_epi32(cut.above - 1);
	uint32_t i = 0, n = 0;
	for (; i + 8 <= elems; i += 8) {
		uint32_t hits = lanes(_mm256_cmpgt_epi32(keys8(acc + i), below));
		for (; hits; hits &= hits - 1) {
			uint32_t at = i + (uint32_t)__builtin_ctz(hits);
			if (codec_kept(acc[at], &cut.equals, cut.above))
				gp_store16(out + 2 * n++, (uint16_t)at);
		}
	}
	for (; i < elems; i++) {
		if (codec_kept(acc[i], &cut.equals, cut.above))
			gp_store16(out + 2 * n++, (uint16_t)i);
	}
	return n;
}

CODEC_SPARSE_HALVES

const struct codec_kernels codec_kernels_avx2 = {
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
	.int8_legal = codec_int8_legal_avx2,
	.int8_decode = codec_int8_decode_avx2,
	.int8_add = codec_int8_add_avx2,
	.int8_encode = codec_int8_encode_avx2,
	.sign_decode = codec_sign_decode_avx2,
	.sign_add = codec_sign_add_avx2,
	.sign_encode = codec_sign_encode_avx2,
	.abs_lanes = codec_abs_lanes_avx2,
	.accumulate = accumulate,
	.key_max = key_max,
	.count_above = count_above,
	.select = select_indices,
	.sparse_set = {codec_sparse_set_f32, sparse_set_bf16, sparse_set_f16},
	.sparse_add = {codec_sparse_add_f32, sparse_add_bf16, sparse_add_f16},
};
