// SPDX-License-Identifier: BSD-3-Clause
//
// The sum in plain C: what the SIMD kernels are compared with, and what runs where there are none.
#include "aggr_priv.h"

static void sum_f32(float *dst, const struct gp_contrib *c, uint32_t count, uint32_t elems)
{
	aggr_sum_rest(dst, c, count, 0, elems);
}

static void scale(float *dst, uint32_t elems, float divisor)
{
	for (uint32_t i = 0; i < elems; i++)
		dst[i] = dst[i] / divisor;
}

const struct aggr_kernels aggr_kernels_scalar = {.sum_f32 = sum_f32, .scale = scale};
