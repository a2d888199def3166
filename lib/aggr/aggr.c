// SPDX-License-Identifier: BSD-3-Clause
#include "aggr_priv.h"

#include <errno.h>
#include <stdatomic.h>

static const struct aggr_kernels *const kernels_by_level[GP_SIMD_LEVELS] = {
	[GP_SIMD_SCALAR] = &aggr_kernels_scalar,
#ifdef __x86_64__
	[GP_SIMD_AVX2] = &aggr_kernels_avx2,
	[GP_SIMD_AVX512] = &aggr_kernels_avx512,
#endif
};

// Points into constant tables: any thread may set it, all set the same, so relaxed order is enough.
static _Atomic(const struct aggr_kernels *) kernels_active;

int gp_aggr_select(enum gp_simd_level level)
{
	if ((unsigned)level >= GP_SIMD_LEVELS || !kernels_by_level[level] || !gp_simd_has(level))
		return -ENOTSUP;
	atomic_store_explicit(&kernels_active, kernels_by_level[level], memory_order_relaxed);
	return 0;
}

static const struct aggr_kernels *kernels_get(void)
{
	const struct aggr_kernels *kn = atomic_load_explicit(&kernels_active, memory_order_relaxed);
	if (__builtin_expect(kn != NULL, 1))
		return kn;
	int level = GP_SIMD_LEVELS - 1;
	while (gp_aggr_select((enum gp_simd_level)level) != 0)
		level--;
	return kernels_by_level[level];
}

// Asserts the order of ranks and the lengths of f32 payloads; true when every one is f32.
static bool contribs_all_f32(const struct gp_contrib *c, uint32_t count, uint32_t elems)
{
	bool all = true;
	for (uint32_t r = 0; r < count; r++) {
		GP_ASSERT(r == 0 || c[r - 1].rank < c[r].rank);
		if (c[r].codec == GP_CODEC_F32)
			GP_ASSERT(c[r].len == 4 * elems);
		else
			all = false;
	}
	return all;
}

void gp_aggr_sum(float *dst, const struct gp_contrib *c, uint32_t count, uint32_t elems)
{
	GP_ASSERT(count >= 1 && count <= GP_RANKS_MAX && elems <= GP_CODEC_ELEMS_MAX);
	GP_ASSERT((uintptr_t)dst % GP_CACHE_LINE == 0);
	if (contribs_all_f32(c, count, elems)) {
		kernels_get()->sum_f32(dst, c, count, elems);
		return;
	}
	gp_codec_decode(c[0].codec, dst, c[0].payload, c[0].len, elems);
	for (uint32_t r = 1; r < count; r++)
		gp_codec_add(c[r].codec, dst, c[r].payload, c[r].len, elems);
}

float gp_aggr_weights(const struct gp_contrib *c, uint32_t count)
{
	GP_ASSERT(count >= 1 && count <= GP_RANKS_MAX);
	float sum = c[0].weight;
	for (uint32_t r = 1; r < count; r++)
		sum = gp_fadd(sum, c[r].weight);
	return sum;
}

void gp_aggr_scale(float *dst, uint32_t elems, float divisor)
{
	GP_ASSERT((uintptr_t)dst % GP_CACHE_LINE == 0);
	kernels_get()->scale(dst, elems, divisor);
}
