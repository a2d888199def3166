// SPDX-License-Identifier: BSD-3-Clause
//
// The updates for AVX2, eight elements at a time.
#include <gp_simd.h>

#define LANES 8u
typedef __m256 vec;

static inline vec vec_load(const float *p)
{
	return _mm256_loadu_ps(p);
}

static inline void vec_store(float *p, vec a)
{
	_mm256_storeu_ps(p, a);
}

static inline vec vec_set(float a)
{
	return _mm256_set1_ps(a);
}

static inline vec vec_add(vec a, vec b)
{
	return gp_fadd8(a, b);
}

static inline vec vec_sub(vec a, vec b)
{
	return _mm256_sub_ps(a, b);
}

static inline vec vec_mul(vec a, vec b)
{
	return gp_fmul8(a, b);
}

static inline vec vec_div(vec a, vec b)
{
	return _mm256_div_ps(a, b);
}

static inline vec vec_sqrt(vec a)
{
	return _mm256_sqrt_ps(a);
}

static inline vec vec_sign_of(vec a, vec sign)
{
	const vec bit = _mm256_set1_ps(-0.0f);
	return _mm256_or_ps(_mm256_andnot_ps(bit, a), _mm256_and_ps(bit, sign));
}

static inline vec vec_zero_within(vec a, vec limit, vec otherwise)
{
	vec size = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
	return _mm256_andnot_ps(_mm256_cmp_ps(size, limit, _CMP_LE_OQ), otherwise);
}

#include "optim_vec.h"

OPTIM_KERNELS(optim_kernels_avx2)
