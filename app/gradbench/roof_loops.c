// SPDX-License-Identifier: BSD-3-Clause
//
// Built once for each instruction set; ROOF_LOOPS is the name of its table.
#include "roof.h"

static void add(float *restrict dst, const float *restrict src, uint32_t elems)
{
	for (uint32_t i = 0; i < elems; i++)
		dst[i] = dst[i] + src[i];
}

static uint64_t read_all(const uint64_t *p, size_t words)
{
	uint64_t all = 0;
	for (size_t i = 0; i < words; i++)
		all |= p[i];
	return all;
}

static void update(const struct roof_update *u, uint32_t elems)
{
	const float *restrict grad = u->grad, *restrict w = u->w, *restrict m = u->m;
	float *restrict w_out = u->w_out, *restrict m_out = u->m_out;
	for (uint32_t i = 0; i < elems; i++) {
		float v = 0.9f * m[i] + grad[i];
		m_out[i] = v;
		w_out[i] = w[i] - 0.01f * v;
	}
}

const struct roof_loops ROOF_LOOPS = {.add = add, .read = read_all, .update = update};
