// SPDX-License-Identifier: BSD-3-Clause
#include "bench.h"
#include "roof.h"

#include <gp_simd.h>

#include <errno.h>

const struct roof_loops *roof_loops_get(void)
{
#ifdef __x86_64__
	if (gp_simd_has(GP_SIMD_AVX512))
		return &roof_loops_avx512;
	if (gp_simd_has(GP_SIMD_AVX2))
		return &roof_loops_avx2;
#endif
	return &roof_loops_plain;
}

int roof_init(struct roof *r, size_t table_size, uint32_t tables_count)
{
	GP_ASSERT(tables_count >= 1 && tables_count <= GP_ARRAY_SIZE(r->table));
	*r = (struct roof){.loops = roof_loops_get(),
		.table_size = table_size,
		.tables_count = tables_count,
		.cached = bench_take(ROOF_CACHED_SIZE)};
	bool ok = r->cached != NULL;
	for (uint32_t i = 0; i < tables_count; i++) {
		r->table[i] = bench_take(table_size);
		ok = ok && r->table[i];
	}
	if (!ok) {
		roof_fini(r);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < ROOF_CACHED_SIZE / sizeof(float); i++)
		r->cached[i] = (float)(i % 1000) * 1e-3f;
	for (uint32_t i = 0; i < tables_count; i++)
		memset(r->table[i], 0, table_size);
	return 0;
}

void roof_fini(struct roof *r)
{
	bench_give(r->cached, ROOF_CACHED_SIZE);
	for (uint32_t i = 0; i < r->tables_count; i++)
		bench_give(r->table[i], r->table_size);
	*r = (struct roof){0};
}

// The next cached payload: they take turns, as arriving ones would.
static uint32_t cached_next(uint32_t at, uint32_t elems)
{
	at += elems;
	return at + elems <= ROOF_CACHED_SIZE / sizeof(float) ? at : 0;
}

double roof_add_ns(struct roof *r, uint32_t elems)
{
	uint32_t blocks = (uint32_t)(r->table_size / sizeof(float) / elems), at = 0;
	uint64_t from = bench_cpu_ns();
	for (uint32_t b = 0; b < blocks; b++) {
		r->loops->add(r->table[0] + (size_t)b * elems, r->cached + at, elems);
		at = cached_next(at, elems);
	}
	return (double)(bench_cpu_ns() - from) / blocks;
}

double roof_update_ns(struct roof *r, uint32_t elems, uint32_t grads)
{
	GP_ASSERT(r->tables_count == 4 && elems <= ROOF_SUM_ELEMS);
	uint32_t blocks = (uint32_t)(r->table_size / sizeof(float) / elems), at = 0;
	uint64_t from = bench_cpu_ns();
	for (uint32_t b = 0; b < blocks; b++) {
		size_t o = (size_t)b * elems;
		struct roof_update u = {.grad = r->cached + at,
			.w = r->table[0] + o,
			.m = r->table[1] + o,
			.w_out = r->table[2] + o,
			.m_out = r->table[3] + o};
		for (uint32_t g = 1; g < grads; g++) {
			at = cached_next(at, elems);
			r->loops->add(r->sum, r->cached + at, elems);
			u.grad = r->sum;
		}
		r->loops->update(&u, elems);
		at = cached_next(at, elems);
	}
	return (double)(bench_cpu_ns() - from) / blocks;
}
