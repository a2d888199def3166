// SPDX-License-Identifier: BSD-3-Clause
//
// int8 and sign for AVX-512, where a sign payload is a row of write masks.
#include "codec_avx512.h"

static inline __m512 int8_wide(__m128i q, __m512 scale)
{
	return gp_fmul16(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q)), scale);
}

static inline __m128i load16_q(const uint8_t *q)
{
	return _mm_loadu_si128((const __m128i *)q);
}

bool codec_int8_legal_avx512(const uint8_t *q, uint32_t elems)
{
	const __m512i least = _mm512_set1_epi8(-128);
	__mmask64 bad = 0;
	uint32_t i = 0;
	for (; i + 64 <= elems; i += 64)
		bad |= _mm512_cmpeq_epi8_mask(_mm512_loadu_si512(q + i), least);
	if (i < elems) {
		__mmask64 in = (UINT64_C(1) << (elems - i)) - 1;
		bad |= _mm512_cmpeq_epi8_mask(_mm512_maskz_loadu_epi8(in, q + i), least);
	}
	return bad == 0;
}

void codec_int8_decode_avx512(float *dst, const uint8_t *q, uint32_t elems, float scale)
{
	const __m512 scale16 = _mm512_set1_ps(scale);
	uint32_t i = 0;
	for (; i + 16 <= elems; i += 16)
		_mm512_storeu_ps(dst + i, int8_wide(load16_q(q + i), scale16));
	if (i == elems)
		return;
	__mmask16 in = tail16(elems - i);
	_mm512_mask_storeu_ps(dst + i, in, int8_wide(_mm_maskz_loadu_epi8(in, q + i), scale16));
}

void codec_int8_add_avx512(float *dst, const uint8_t *q, uint32_t elems, float scale)
{
	const __m512 scale16 = _mm512_set1_ps(scale);
	uint32_t i = 0;
	for (; i + 16 <= elems; i += 16) {
		__m512 value = int8_wide(load16_q(q + i), scale16);
		_mm512_storeu_ps(dst + i, gp_fadd16(load16(dst + i), value));
	}
	if (i == elems)
		return;
	__mmask16 in = tail16(elems - i);
	__m512 value = int8_wide(_mm_maskz_loadu_epi8(in, q + i), scale16);
	_mm512_mask_storeu_ps(dst + i, in, gp_fadd16(load16_in(in, dst + i), value));
}

// As codec_int8_round, by the same addition: no rounding mode has a say but that of all the rest.
static inline __m512i int8_round16(__m512 acc, __m512 scale)
{
	const __m512i zero = _mm512_set1_epi32(0x4b400000);
	__m512 shifted = _mm512_add_ps(_mm512_div_ps(acc, scale), _mm512_set1_ps(0x1.8p23f));
	__m512i q = _mm512_sub_epi32(_mm512_castps_si512(shifted), zero);
	q = _mm512_min_epi32(q, _mm512_set1_epi32(127));
	return _mm512_max_epi32(q, _mm512_set1_epi32(-127));
}

void codec_int8_encode_avx512(
	uint8_t *q, const float *acc, float *residual, uint32_t elems, float scale)
{
	const __m512 scale16 = _mm512_set1_ps(scale);
	for (uint32_t i = 0; i < elems; i += 16) {
		__mmask16 in = tail16(elems - i);
		__m512 a = load16_in(in, acc + i);
		__m512i v = int8_round16(a, scale16);
		_mm_mask_storeu_epi8(q + i, in, _mm512_cvtepi32_epi8(v));
		__m512 sent = gp_fmul16(_mm512_cvtepi32_ps(v), scale16);
		if (residual)
			_mm512_mask_storeu_ps(residual + i, in, codec_rest16(a, sent));
	}
}

static inline __m512 sign_wide(__mmask16 negative, __m512 scale)
{
	const __m512i sign = _mm512_set1_epi32(INT32_MIN);
	__m512i bits = _mm512_castps_si512(scale);
	return _mm512_castsi512_ps(_mm512_mask_xor_epi32(bits, negative, bits, sign));
}

// The bits of up to 16 elements from a multiple of 8 on; no byte beyond theirs is read.
static inline __mmask16 sign_bits(const uint8_t *bits, uint32_t left)
{
	return (__mmask16)(left > 8 ? gp_load16(bits) : bits[0]);
}

void codec_sign_decode_avx512(float *dst, const uint8_t *bits, uint32_t elems, float scale)
{
	const __m512 scale16 = _mm512_set1_ps(scale);
	uint32_t i = 0;
	for (; i + 16 <= elems; i += 16)
		_mm512_storeu_ps(dst + i, sign_wide(gp_load16(bits + i / 8), scale16));
	if (i == elems)
		return;
	__m512 value = sign_wide(sign_bits(bits + i / 8, elems - i), scale16);
	_mm512_mask_storeu_ps(dst + i, tail16(elems - i), value);
}

void codec_sign_add_avx512(float *dst, const uint8_t *bits, uint32_t elems, float scale)
{
	const __m512 scale16 = _mm512_set1_ps(scale);
	uint32_t i = 0;
	for (; i + 16 <= elems; i += 16) {
		__m512 value = sign_wide(gp_load16(bits + i / 8), scale16);
		_mm512_storeu_ps(dst + i, gp_fadd16(load16(dst + i), value));
	}
	if (i == elems)
		return;
	__mmask16 in = tail16(elems - i);
	__m512 value = sign_wide(sign_bits(bits + i / 8, elems - i), scale16);
	_mm512_mask_storeu_ps(dst + i, in, gp_fadd16(load16_in(in, dst + i), value));
}

static inline __mmask16 sign_mask(__m512 v)
{
	return _mm512_cmplt_epi32_mask(_mm512_castps_si512(v), _mm512_setzero_si512());
}

void codec_sign_encode_avx512(
	uint8_t *bits, const float *acc, float *residual, uint32_t elems, float scale)
{
	const __m512 scale16 = _mm512_set1_ps(scale);
	uint32_t i = 0;
	for (; i + 16 <= elems; i += 16) {
		__m512 a = load16(acc + i);
		__mmask16 negative = sign_mask(a);
		gp_store16(bits + i / 8, negative);
		if (residual)
			_mm512_storeu_ps(
				residual + i, _mm512_sub_ps(a, sign_wide(negative, scale16)));
	}
	if (i == elems)
		return;
	__mmask16 in = tail16(elems - i);
	__m512 a = load16_in(in, acc + i);
	__mmask16 negative = sign_mask(a);
	bits[i / 8] = (uint8_t)negative;
	if (elems - i > 8)
		bits[i / 8 + 1] = (uint8_t)(negative >> 8);
	if (residual)
		_mm512_mask_storeu_ps(
			residual + i, in, _mm512_sub_ps(a, sign_wide(negative, scale16)));
}

// One register has the sixteen lanes of the definition.
void codec_abs_lanes_avx512(float lane[CODEC_LANES], const float *acc, uint32_t elems)
{
	const __m512i mask = _mm512_set1_epi32((int)CODEC_KEY_MASK);
	__m512 sum = _mm512_setzero_ps();
	uint32_t i = 0;
	for (; i + 16 <= elems; i += 16) {
		__m512i bits = _mm512_and_si512(_mm512_castps_si512(load16(acc + i)), mask);
		sum = gp_fadd16(sum, _mm512_castsi512_ps(bits));
	}
	_mm512_storeu_ps(lane, sum);
	for (; i < elems; i++)
		lane[i % CODEC_LANES] = gp_fadd(lane[i % CODEC_LANES], codec_abs(acc[i]));
}
