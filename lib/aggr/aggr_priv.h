// SPDX-License-Identifier: BSD-3-Clause
//
// The inner loops of the sum, one table for each instruction set; aggr_scalar.c defines the result.
#ifndef GP_AGGR_PRIV_H
#define GP_AGGR_PRIV_H

#include <gp_aggr.h>

#define AGGR_LANES 16

struct aggr_kernels {
	// Every contribution is f32 of 4 * elems bytes. True: the sums are finite; they were added
	// up, one addition a vector, and what came out is.
	bool (*sum_f32)(float *dst, const struct gp_contrib *c, uint32_t count, uint32_t elems);
	void (*scale)(float *dst, uint32_t elems, float divisor);
	// dst[i] = src[i] * factor, or dst[i] + that. src at any alignment.
	void (*scaled_copy)(float *dst, const uint8_t *src, uint32_t elems, float factor);
	void (*scaled_add)(float *dst, const uint8_t *src, uint32_t elems, float factor);
	// lane[j] = the sum of squares of src[j], src[j + 16], ...
	void (*squares)(double lane[AGGR_LANES], const uint8_t *src, uint32_t elems);
};

extern const struct aggr_kernels aggr_kernels_scalar;
extern const struct aggr_kernels aggr_kernels_avx2;
extern const struct aggr_kernels aggr_kernels_avx512;

// Element `at` of a payload. The compiler does not know what it is made of: gcc would reckon every
// register's place in every payload beforehand, and keep them all on the stack.
static inline const uint8_t *aggr_at(const struct gp_contrib *c, uint32_t at)
{
	const uint8_t *p = c->payload + 4 * (size_t)at;
	__asm__("" : "+r"(p));
	return p;
}

// Elements [from, elems), one at a time: the scalar kernel, and what is left behind the last
// vector. Returns what they add up to.
static inline float aggr_sum_rest(
	float *dst, const struct gp_contrib *c, uint32_t count, uint32_t from, uint32_t elems)
{
	float all = 0;
	for (uint32_t i = from; i < elems; i++) {
		float sum = gp_loadf(c[0].payload + 4 * i);
		for (uint32_t r = 1; r < count; r++)
			sum = gp_fadd(sum, gp_loadf(c[r].payload + 4 * i));
		dst[i] = sum;
		all = gp_fadd(all, sum);
	}
	return all;
}

static inline void aggr_scaled_copy_rest(
	float *dst, const uint8_t *src, uint32_t from, uint32_t elems, float factor)
{
	for (uint32_t i = from; i < elems; i++)
		dst[i] = gp_fmul(gp_loadf(src + 4 * (size_t)i), factor);
}

static inline void aggr_scaled_add_rest(
	float *dst, const uint8_t *src, uint32_t from, uint32_t elems, float factor)
{
	for (uint32_t i = from; i < elems; i++)
		dst[i] = gp_fadd(dst[i], gp_fmul(gp_loadf(src + 4 * (size_t)i), factor));
}

// `from` is a multiple of AGGR_LANES.
static inline void aggr_squares_rest(
	double lane[AGGR_LANES], const uint8_t *src, uint32_t from, uint32_t elems)
{
	for (uint32_t i = from; i < elems; i++) {
		double v = (double)gp_loadf(src + 4 * (size_t)i);
		lane[i % AGGR_LANES] += v * v;
	}
}

#endif
