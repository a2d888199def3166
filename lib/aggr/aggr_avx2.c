// SPDX-License-Identifier: BSD-3-Clause
//
// The sum for AVX2: tiles of 8, 4, 2 and 1 registers, so that several additions are under way at a
// time, then single elements.
#include "aggr_priv.h"

#include <math.h>

#define LANES	 8u
#define TILE_MAX 8u
#define ALL	 4u // registers that add up the sums

static inline __m256 src_load(const uint8_t *src, uint32_t at)
{
	return _mm256_loadu_ps((const float *)(const void *)(src + 4 * (size_t)at));
}

static inline bool is_finite(__m256 v)
{
	const __m256i exp = _mm256_set1_epi32(0x7f800000);
	__m256i of = _mm256_and_si256(_mm256_castps_si256(v), exp);
	return _mm256_testz_si256(_mm256_cmpeq_epi32(of, exp), _mm256_set1_epi32(-1));
}

// `regs` is constant at every call, so the loops over it unroll and the tile stays in registers
// (told so of the middle one too, gcc unrolls that over the contributions and copies the tile at
// each turn); they lie at constant distances from one place in each payload.
static inline __attribute__((always_inline)) uint32_t tile_sum(float *dst,
	const struct gp_contrib *c, uint32_t count, uint32_t at, __m256 all[ALL],
	const uint32_t regs)
{
	__m256 sum[TILE_MAX];
	const uint8_t *src = aggr_at(&c[0], at);
#pragma GCC unroll 8
	for (uint32_t i = 0; i < regs; i++)
		sum[i] = src_load(src, i * LANES);
	for (const struct gp_contrib *end = c + count; ++c < end;) {
		src = aggr_at(c, at);
		for (uint32_t i = 0; i < regs; i++)
			sum[i] = gp_fadd8_of(sum[i], src + 4 * (size_t)i * LANES);
	}
	dst += at;
#pragma GCC unroll 8
	for (uint32_t i = 0; i < regs; i++)
		_mm256_store_ps(dst + (size_t)i * LANES, sum[i]);
#pragma GCC unroll 8
	for (uint32_t i = 0; i < regs; i++)
		all[i % ALL] = gp_fadd8(all[i % ALL], sum[i]);
	return at + regs * LANES;
}

static bool sum_f32(float *dst, const struct gp_contrib *c, uint32_t count, uint32_t elems)
{
	__m256 all[ALL] = {
		_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
	uint32_t at = 0;
	while (at + 8 * LANES <= elems)
		at = tile_sum(dst, c, count, at, all, 8);
	if (at + 4 * LANES <= elems)
		at = tile_sum(dst, c, count, at, all, 4);
	if (at + 2 * LANES <= elems)
		at = tile_sum(dst, c, count, at, all, 2);
	if (at + LANES <= elems)
		at = tile_sum(dst, c, count, at, all, 1);
	float rest = aggr_sum_rest(dst, c, count, at, elems);
	all[0] = gp_fadd8(gp_fadd8(all[0], all[1]), gp_fadd8(all[2], all[3]));
	return is_finite(all[0]) && isfinite(rest);
}

static void scale(float *dst, uint32_t elems, float divisor)
{
	const __m256 d = _mm256_set1_ps(divisor);
	uint32_t i = 0;
	for (; i + LANES <= elems; i += LANES)
		_mm256_store_ps(dst + i, _mm256_div_ps(_mm256_load_ps(dst + i), d));
	for (; i < elems; i++)
		dst[i] = dst[i] / divisor;
}

static void scaled_copy(float *dst, const uint8_t *src, uint32_t elems, float factor)
{
	const __m256 f = _mm256_set1_ps(factor);
	uint32_t i = 0;
	for (; i + LANES <= elems; i += LANES)
		_mm256_store_ps(dst + i, gp_fmul8(src_load(src, i), f));
	aggr_scaled_copy_rest(dst, src, i, elems, factor);
}

static void scaled_add(float *dst, const uint8_t *src, uint32_t elems, float factor)
{
	const __m256 f = _mm256_set1_ps(factor);
	uint32_t i = 0;
	for (; i + LANES <= elems; i += LANES)
		_mm256_store_ps(
			dst + i, gp_fadd8(_mm256_load_ps(dst + i), gp_fmul8(src_load(src, i), f)));
	aggr_scaled_add_rest(dst, src, i, elems, factor);
}

#define WIDE 4u // doubles in a register

static void squares(double lane[AGGR_LANES], const uint8_t *src, uint32_t elems)
{
	const float *v = (const float *)(const void *)src;
	__m256d sum[AGGR_LANES / WIDE];
	uint32_t i = 0;
	for (uint32_t l = 0; l < AGGR_LANES / WIDE; l++)
		sum[l] = _mm256_setzero_pd();
	for (; i + AGGR_LANES <= elems; i += AGGR_LANES) {
#pragma GCC unroll 4
		for (uint32_t l = 0; l < AGGR_LANES / WIDE; l++) {
			__m256d x = _mm256_cvtps_pd(_mm_loadu_ps(v + i + l * WIDE));
			sum[l] = _mm256_add_pd(sum[l], _mm256_mul_pd(x, x));
		}
	}
	for (uint32_t l = 0; l < AGGR_LANES / WIDE; l++)
		_mm256_storeu_pd(lane + l * WIDE, sum[l]);
	aggr_squares_rest(lane, src, i, elems);
}

const struct aggr_kernels aggr_kernels_avx2 = {.sum_f32 = sum_f32,
	.scale = scale,
	.scaled_copy = scaled_copy,
	.scaled_add = scaled_add,
	.squares = squares};
