// SPDX-License-Identifier: BSD-3-Clause
//
// The sum in plain C: what the SIMD kernels are compared with, and what runs where there are none.
#include "aggr_priv.h"

#include <math.h>

static bool sum_f32(float *dst, const struct gp_contrib *c, uint32_t count, uint32_t elems)
{
	return isfinite(aggr_sum_rest(dst, c, count, 0, elems));
}

static void scale(float *dst, uint32_t elems, float divisor)
{
	for (uint32_t i = 0; i < elems; i++)
		dst[i] = dst[i] / divisor;
}

static void scaled_copy(float *dst, const uint8_t *src, uint32_t elems, float factor)
{
	aggr_scaled_copy_rest(dst, src, 0, elems, factor);
}

static void scaled_add(float *dst, const uint8_t *src, uint32_t elems, float factor)
{
	aggr_scaled_add_rest(dst, src, 0, elems, factor);
}

static void squares(double lane[AGGR_LANES], const uint8_t *src, uint32_t elems)
{
	for (uint32_t j = 0; j < AGGR_LANES; j++)
		lane[j] = 0;
	aggr_squares_rest(lane, src, 0, elems);
}

const struct aggr_kernels aggr_kernels_scalar = {.sum_f32 = sum_f32,
	.scale = scale,
	.scaled_copy = scaled_copy,
	.scaled_add = scaled_add,
	.squares = squares};
