// SPDX-License-Identifier: BSD-3-Clause
//
// What the files of AVX-512 kernels share.
#ifndef GP_CODEC_AVX512_H
#define GP_CODEC_AVX512_H

#include "codec_priv.h"

#ifdef __AVX512F__

// The first `left` lanes of 16 or 32, all from there on.
static inline __mmask16 tail16(uint32_t left)
{
	return (__mmask16)(left >= 16 ? 0xffff : (1u << left) - 1);
}

static inline __mmask32 tail32(uint32_t left)
{
	return (__mmask32)(left >= 32 ? UINT32_MAX : (UINT32_C(1) << left) - 1);
}

static inline __m512 load16(const void *p)
{
	return _mm512_castsi512_ps(_mm512_loadu_si512(p));
}

static inline __m512 load16_in(__mmask16 in, const void *p)
{
	return _mm512_castsi512_ps(_mm512_maskz_loadu_epi32(in, p));
}

static inline __m256i load16_half(const void *p)
{
	return _mm256_loadu_si256((const __m256i *)p);
}

static inline __m256i load16_half_in(__mmask16 in, const void *p)
{
	return _mm256_maskz_loadu_epi16(in, p);
}

// codec_rest.
static inline __m512 codec_rest16(__m512 acc, __m512 sent)
{
	const __m512i exp = _mm512_set1_epi32((int)CODEC_EXP_MASK);
	__m512i e = _mm512_and_si512(_mm512_castps_si512(sent), exp);
	return _mm512_maskz_sub_ps(_mm512_cmpneq_epi32_mask(e, exp), acc, sent);
}

#endif

bool codec_int8_legal_avx512(const uint8_t *q, uint32_t elems);
void codec_int8_decode_avx512(float *dst, const uint8_t *q, uint32_t elems, float scale);
void codec_int8_add_avx512(float *dst, const uint8_t *q, uint32_t elems, float scale);
void codec_int8_encode_avx512(
	uint8_t *q, const float *acc, float *residual, uint32_t elems, float scale);
void codec_sign_decode_avx512(float *dst, const uint8_t *bits, uint32_t elems, float scale);
void codec_sign_add_avx512(float *dst, const uint8_t *bits, uint32_t elems, float scale);
void codec_sign_encode_avx512(
	uint8_t *bits, const float *acc, float *residual, uint32_t elems, float scale);
void codec_abs_lanes_avx512(float lane[CODEC_LANES], const float *acc, uint32_t elems);

#endif
