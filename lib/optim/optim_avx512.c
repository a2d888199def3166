// SPDX-License-Identifier: BSD-3-Clause
//
// The updates for AVX-512, sixteen elements at a time.
#include <gp_simd.h>

#define LANES 16u
typedef __m512 vec;

static inline vec vec_load(const float *p)
{
	return _mm512_loadu_ps(p);
}

static inline void vec_store(float *p, vec a)
{
	_mm512_storeu_ps(p, a);
}

static inline vec vec_set(float a)
{
	return _mm512_set1_ps(a);
}

static inline vec vec_add(vec a, vec b)
{
	return gp_fadd16(a, b);
}

static inline vec vec_sub(vec a, vec b)
{
	return _mm512_sub_ps(a, b);
}

static inline vec vec_mul(vec a, vec b)
{
	return gp_fmul16(a, b);
}

static inline vec vec_div(vec a, vec b)
{
	return _mm512_div_ps(a, b);
}

static inline vec vec_sqrt(vec a)
{
	return _mm512_sqrt_ps(a);
}

static inline vec vec_sign_of(vec a, vec sign)
{
	const __m512i bit = _mm512_set1_epi32(INT32_MIN);
	__m512i size = _mm512_andnot_si512(bit, _mm512_castps_si512(a));
	__m512i top = _mm512_and_si512(bit, _mm512_castps_si512(sign));
	return _mm512_castsi512_ps(_mm512_or_si512(size, top));
}

static inline vec vec_zero_within(vec a, vec limit, vec otherwise)
{
	__mmask16 within = _mm512_cmp_ps_mask(_mm512_abs_ps(a), limit, _CMP_LE_OQ);
	return _mm512_maskz_mov_ps((__mmask16)~within, otherwise);
}

#include "optim_vec.h"

OPTIM_KERNELS(optim_kernels_avx512)
