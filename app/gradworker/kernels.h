// SPDX-License-Identifier: BSD-3-Clause
//
// The one loop in which the time goes: out += sum over k of value[k] * row[k].
//
// Lanes are independent outputs and the sum over k is taken in order, each product and each sum
// rounded by itself, so every instruction set gives the same bytes. That is what makes a worker on
// one machine and the local reference on another agree.
#ifndef GW_KERNELS_H
#define GW_KERNELS_H

#include <stddef.h>
#include <stdint.h>

// Row i starts at base + i * stride.
struct gw_rows {
	const float *base;
	size_t stride;
};

// Which rows, times what, in this order.
struct gw_terms {
	uint32_t *row;
	float *value;
	size_t count;
};

typedef void gw_accumulate_fn(
	float *out, size_t n, const struct gw_rows *rows, const struct gw_terms *terms);

struct gw_kernel {
	const char *name; // "scalar", "avx2", "avx512"
	gw_accumulate_fn *accumulate;
};

// The variants that this CPU can run, slowest first; *count >= 1. The last one is the one to use.
const struct gw_kernel *gw_kernels(size_t *count);
gw_accumulate_fn *gw_accumulate_best(void);

#endif
