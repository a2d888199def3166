// SPDX-License-Identifier: BSD-3-Clause
#include "kernels.h"

// Four terms in one pass over `out` save three of four loads and stores of it; the parentheses are
// the order of the additions, which is that of one term at a time.
static inline __attribute__((always_inline)) void accumulate_body(
	float *restrict out, size_t n, const struct gw_rows *rows, const struct gw_terms *terms)
{
	size_t k = 0;

	for (; k + 4 <= terms->count; k += 4) {
		const float *restrict a = rows->base + terms->row[k] * rows->stride;
		const float *restrict b = rows->base + terms->row[k + 1] * rows->stride;
		const float *restrict c = rows->base + terms->row[k + 2] * rows->stride;
		const float *restrict d = rows->base + terms->row[k + 3] * rows->stride;
		float va = terms->value[k], vb = terms->value[k + 1];
		float vc = terms->value[k + 2], vd = terms->value[k + 3];

		for (size_t j = 0; j < n; j++)
			out[j] = (((out[j] + va * a[j]) + vb * b[j]) + vc * c[j]) + vd * d[j];
	}
	for (; k < terms->count; k++) {
		const float *restrict a = rows->base + terms->row[k] * rows->stride;
		float va = terms->value[k];

		for (size_t j = 0; j < n; j++)
			out[j] += va * a[j];
	}
}

static void accumulate_scalar(
	float *out, size_t n, const struct gw_rows *rows, const struct gw_terms *terms)
{
	accumulate_body(out, n, rows, terms);
}

#ifdef __x86_64__
__attribute__((target("avx2"))) static void accumulate_avx2(
	float *out, size_t n, const struct gw_rows *rows, const struct gw_terms *terms)
{
	accumulate_body(out, n, rows, terms);
}

__attribute__((target("avx512f,avx512vl"))) static void accumulate_avx512(
	float *out, size_t n, const struct gw_rows *rows, const struct gw_terms *terms)
{
	accumulate_body(out, n, rows, terms);
}
#endif

static const struct gw_kernel KERNELS[] = {
	{"scalar", accumulate_scalar},
#ifdef __x86_64__
	{"avx2", accumulate_avx2},
	{"avx512", accumulate_avx512},
#endif
};

const struct gw_kernel *gw_kernels(size_t *count)
{
	*count = 1;
#ifdef __x86_64__
	if (__builtin_cpu_supports("avx2"))
		*count = 2;
	if (*count == 2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl"))
		*count = 3;
#endif
	return KERNELS;
}

gw_accumulate_fn *gw_accumulate_best(void)
{
	size_t count;
	const struct gw_kernel *kernels = gw_kernels(&count);

	return kernels[count - 1].accumulate;
}
