// SPDX-License-Identifier: BSD-3-Clause
//
// What the files of AVX2 kernels share.
#ifndef GP_CODEC_AVX2_H
#define GP_CODEC_AVX2_H

#include "codec_priv.h"

#ifdef __AVX2__

static inline __m256i load8i(const void *p)
{
	return _mm256_loadu_si256((const __m256i *)p);
}

static inline __m256 load8(const void *p)
{
	return _mm256_castsi256_ps(load8i(p));
}

// codec_rest.
static inline __m256 codec_rest8(__m256 acc, __m256 sent)
{
	const __m256i exp = _mm256_set1_epi32((int)CODEC_EXP_MASK);
	__m256i e = _mm256_and_si256(_mm256_castps_si256(sent), exp);
	__m256i infinite = _mm256_cmpeq_epi32(e, exp);
	return _mm256_andnot_ps(_mm256_castsi256_ps(infinite), _mm256_sub_ps(acc, sent));
}

#endif

bool codec_int8_legal_avx2(const uint8_t *q, uint32_t elems);
void codec_int8_decode_avx2(float *dst, const uint8_t *q, uint32_t elems, float scale);
void codec_int8_add_avx2(float *dst, const uint8_t *q, uint32_t elems, float scale);
void codec_int8_encode_avx2(
	uint8_t *q, const float *acc, float *residual, uint32_t elems, float scale);
void codec_sign_decode_avx2(float *dst, const uint8_t *bits, uint32_t elems, float scale);
void codec_sign_add_avx2(float *dst, const uint8_t *bits, uint32_t elems, float scale);
void codec_sign_encode_avx2(
	uint8_t *bits, const float *acc, float *residual, uint32_t elems, float scale);
void codec_abs_lanes_avx2(float lane[CODEC_LANES], const float *acc, uint32_t elems);

#endif
