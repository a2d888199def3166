// SPDX-License-Identifier: BSD-3-Clause
//
// int8 and sign for AVX2. What is beyond the last full vector goes through the scalar helpers.
#include "codec_avx2.h"

static inline __m256 int8_value8(const uint8_t *q, __m256 scale)
{
	__m256i wide = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)q));
	return gp_fmul8(_mm256_cvtepi32_ps(wide), scale);
}

bool codec_int8_legal_avx2(const uint8_t *q, uint32_t elems)
{
	const __m256i least = _mm256_set1_epi8(-128);
	__m256i bad = _mm256_setzero_si256();
	uint32_t i = 0, rest = 0;
	for (; i + 32 <= elems; i += 32)
		bad = _mm256_or_si256(bad, _mm256_cmpeq_epi8(load8i(q + i), least));
	for (; i < elems; i++)
		rest |= q[i] == 0x80;
	return !rest && _mm256_testz_si256(bad, bad);
}

void codec_int8_decode_avx2(float *dst, const uint8_t *q, uint32_t elems, float scale)
{
	const __m256 scale8 = _mm256_set1_ps(scale);
	uint32_t i = 0;
	for (; i + 8 <= elems; i += 8)
		_mm256_storeu_ps(dst + i, int8_value8(q + i, scale8));
	for (; i < elems; i++)
		dst[i] = codec_int8_value((int8_t)q[i], scale);
}

void codec_int8_add_avx2(float *dst, const uint8_t *q, uint32_t elems, float scale)
{
	const __m256 scale8 = _mm256_set1_ps(scale);
	uint32_t i = 0;
	for (; i + 8 <= elems; i += 8) {
		__m256 sum = gp_fadd8(_mm256_loadu_ps(dst + i), int8_value8(q + i, scale8));
		_mm256_storeu_ps(dst + i, sum);
	}
	for (; i < elems; i++)
		dst[i] = gp_fadd(dst[i], codec_int8_value((int8_t)q[i], scale));
}

// As codec_int8_round, by the same addition: no rounding mode has a say but that of all the rest.
static inline __m256i int8_round8(__m256 acc, __m256 scale)
{
	const __m256i zero = _mm256_set1_epi32(0x4b400000), limit = _mm256_set1_epi32(127);
	__m256 shifted = _mm256_add_ps(_mm256_div_ps(acc, scale), _mm256_set1_ps(0x1.8p23f));
	__m256i q = _mm256_sub_epi32(_mm256_castps_si256(shifted), zero);
	q = _mm256_min_epi32(q, limit);
	return _mm256_max_epi32(q, _mm256_set1_epi32(-127));
}

static inline void int8_store8(uint8_t *q, __m256i v)
{
	__m128i words = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
	_mm_storel_epi64((__m128i *)q, _mm_packs_epi16(words, words));
}

void codec_int8_encode_avx2(
	uint8_t *q, const float *acc, float *residual, uint32_t elems, float scale)
{
	const __m256 scale8 = _mm256_set1_ps(scale);
	uint32_t i = 0;
	for (; i + 8 <= elems; i += 8) {
		__m256 a = load8(acc + i);
		__m256i v = int8_round8(a, scale8);
		int8_store8(q + i, v);
		__m256 sent = gp_fmul8(_mm256_cvtepi32_ps(v), scale8);
		if (residual)
			_mm256_storeu_ps(residual + i, codec_rest8(a, sent));
	}
	for (; i < elems; i++) {
		float a = acc[i];
		int8_t v = codec_int8_round(a, scale);
		q[i] = (uint8_t)v;
		if (residual)
			residual[i] = codec_rest(a, codec_int8_value(v, scale));
	}
}

// Bit j of the byte moves to the sign of lane j.
static inline __m256 sign_value8(uint8_t byte, __m256 scale)
{
	const __m256i up = _mm256_setr_epi32(31, 30, 29, 28, 27, 26, 25, 24);
	const __m256i sign = _mm256_set1_epi32(INT32_MIN);
	__m256i moved = _mm256_sllv_epi32(_mm256_set1_epi32(byte), up);
	__m256 flip = _mm256_castsi256_ps(_mm256_and_si256(moved, sign));
	return _mm256_xor_ps(scale, flip);
}

void codec_sign_decode_avx2(float *dst, const uint8_t *bits, uint32_t elems, float scale)
{
	const __m256 scale8 = _mm256_set1_ps(scale);
	uint32_t i = 0;
	for (; i + 8 <= elems; i += 8)
		_mm256_storeu_ps(dst + i, sign_value8(bits[i / 8], scale8));
	for (; i < elems; i++)
		dst[i] = codec_sign_value(bits[i / 8] >> i % 8 & 1u, scale);
}

void codec_sign_add_avx2(float *dst, const uint8_t *bits, uint32_t elems, float scale)
{
	const __m256 scale8 = _mm256_set1_ps(scale);
	uint32_t i = 0;
	for (; i + 8 <= elems; i += 8) {
		__m256 sum = gp_fadd8(_mm256_loadu_ps(dst + i), sign_value8(bits[i / 8], scale8));
		_mm256_storeu_ps(dst + i, sum);
	}
	for (; i < elems; i++)
		dst[i] = gp_fadd(dst[i], codec_sign_value(bits[i / 8] >> i % 8 & 1u, scale));
}

void codec_sign_encode_avx2(
	uint8_t *bits, const float *acc, float *residual, uint32_t elems, float scale)
{
	const __m256 scale8 = _mm256_set1_ps(scale);
	uint32_t i = 0;
	for (; i + 8 <= elems; i += 8) {
		__m256 a = load8(acc + i);
		uint8_t byte = (uint8_t)_mm256_movemask_ps(a);
		bits[i / 8] = byte;
		if (residual)
			_mm256_storeu_ps(residual + i, _mm256_sub_ps(a, sign_value8(byte, scale8)));
	}
	if (i < elems)
		bits[i / 8] = 0;
	for (; i < elems; i++) {
		uint32_t negative = codec_bits(acc[i]) >> 31;
		bits[i / 8] |= (uint8_t)(negative << i % 8);
		if (residual)
			residual[i] = acc[i] - codec_sign_value(negative, scale);
	}
}

void codec_abs_lanes_avx2(float lane[CODEC_LANES], const float *acc, uint32_t elems)
{
	const __m256 mask = _mm256_castsi256_ps(_mm256_set1_epi32((int)CODEC_KEY_MASK));
	__m256 low = _mm256_setzero_ps(), high = _mm256_setzero_ps();
	uint32_t i = 0;
	for (; i + 16 <= elems; i += 16) {
		low = gp_fadd8(low, _mm256_and_ps(load8(acc + i), mask));
		high = gp_fadd8(high, _mm256_and_ps(load8(acc + i + 8), mask));
	}
	_mm256_storeu_ps(lane, low);
	_mm256_storeu_ps(lane + 8, high);
	for (; i < elems; i++)
		lane[i % CODEC_LANES] = gp_fadd(lane[i % CODEC_LANES], codec_abs(acc[i]));
}
