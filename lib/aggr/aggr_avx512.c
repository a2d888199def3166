// SPDX-License-Identifier: BSD-3-Clause
//
// The sum for AVX-512: tiles of 16, 8, 4, 2 and 1 registers, then single elements. A block of 336
// elements is 16 + 4 + 1 registers.
#include "aggr_priv.h"

#define LANES	 16u
#define TILE_MAX 16u

static inline __m512 load16(const struct gp_contrib *c, uint32_t at)
{
	return _mm512_loadu_ps(c->payload + 4 * (size_t)at);
}

// `regs` is constant at every call, so the loops over it unroll and the tile stays in registers.
static inline __attribute__((always_inline)) uint32_t tile_sum(
	float *dst, const struct gp_contrib *c, uint32_t count, uint32_t at, const uint32_t regs)
{
	__m512 sum[TILE_MAX];
#pragma GCC unroll 16
	for (uint32_t i = 0; i < regs; i++)
		sum[i] = load16(&c[0], at + i * LANES);
	for (uint32_t r = 1; r < count; r++) {
#pragma GCC unroll 16
		for (uint32_t i = 0; i < regs; i++)
			sum[i] = gp_fadd16(sum[i], load16(&c[r], at + i * LANES));
	}
#pragma GCC unroll 16
	for (uint32_t i = 0; i < regs; i++)
		_mm512_store_ps(dst + at + i * LANES, sum[i]);
	return at + regs * LANES;
}

static void sum_f32(float *dst, const struct gp_contrib *c, uint32_t count, uint32_t elems)
{
	uint32_t at = 0;
	while (at + 16 * LANES <= elems)
		at = tile_sum(dst, c, count, at, 16);
	if (at + 8 * LANES <= elems)
		at = tile_sum(dst, c, count, at, 8);
	if (at + 4 * LANES <= elems)
		at = tile_sum(dst, c, count, at, 4);
	if (at + 2 * LANES <= elems)
		at = tile_sum(dst, c, count, at, 2);
	if (at + LANES <= elems)
		at = tile_sum(dst, c, count, at, 1);
	aggr_sum_rest(dst, c, count, at, elems);
}

static void scale(float *dst, uint32_t elems, float divisor)
{
	const __m512 d = _mm512_set1_ps(divisor);
	uint32_t i = 0;
	for (; i + LANES <= elems; i += LANES)
		_mm512_store_ps(dst + i, _mm512_div_ps(_mm512_load_ps(dst + i), d));
	for (; i < elems; i++)
		dst[i] = dst[i] / divisor;
}

const struct aggr_kernels aggr_kernels_avx512 = {.sum_f32 = sum_f32, .scale = scale};
