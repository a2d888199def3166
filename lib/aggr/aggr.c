// SPDX-License-Identifier: BSD-3-Clause
#include "aggr_priv.h"

#include <errno.h>
#include <math.h>
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

// Asserts the order of ranks, the scales and the lengths of f32 payloads; true when every one is
// f32 and counts as it is.
static bool contribs_plain(const struct gp_contrib *c, uint32_t count, uint32_t elems)
{
	bool all = true;
	for (uint32_t r = 0; r < count; r++) {
		GP_ASSERT((r == 0 || c[r - 1].rank <= c[r].rank) && c[r].scale > 0);
		if (c[r].codec == GP_CODEC_F32)
			GP_ASSERT(c[r].len == 4 * elems);
		all = all && c[r].codec == GP_CODEC_F32 && c[r].scale == 1.0f;
	}
	return all;
}

// The values of one contribution as f32, in its payload or in `scratch`.
static const uint8_t *contrib_dense(const struct gp_contrib *c, uint32_t elems, float *scratch)
{
	if (c->codec == GP_CODEC_F32)
		return c->payload;
	GP_ASSERT(scratch && (uintptr_t)scratch % GP_CACHE_LINE == 0);
	gp_codec_decode(c->codec, scratch, c->payload, c->len, elems);
	return (const uint8_t *)scratch;
}

static void contrib_first(float *dst, const struct gp_contrib *c, uint32_t elems, float *scratch)
{
	if (c->scale == 1.0f)
		gp_codec_decode(c->codec, dst, c->payload, c->len, elems);
	else
		kernels_get()->scaled_copy(dst, contrib_dense(c, elems, scratch), elems, c->scale);
}

static void contrib_add(float *dst, const struct gp_contrib *c, uint32_t elems, float *scratch)
{
	if (c->scale == 1.0f)
		gp_codec_add(c->codec, dst, c->payload, c->len, elems);
	else
		kernels_get()->scaled_add(dst, contrib_dense(c, elems, scratch), elems, c->scale);
}

bool gp_aggr_sum(
	float *dst, const struct gp_contrib *c, uint32_t count, uint32_t elems, float *scratch)
{
	GP_ASSERT(count >= 1 && count <= 2 * GP_RANKS_MAX && elems <= GP_CODEC_ELEMS_MAX);
	GP_ASSERT((uintptr_t)dst % GP_CACHE_LINE == 0);
	if (contribs_plain(c, count, elems))
		return kernels_get()->sum_f32(dst, c, count, elems);
	contrib_first(dst, &c[0], elems, scratch);
	for (uint32_t r = 1; r < count; r++)
		contrib_add(dst, &c[r], elems, scratch);
	return false;
}

static double squares_sum(const uint8_t *values, uint32_t elems)
{
	double lane[AGGR_LANES];
	GP_ASSERT(elems <= GP_CODEC_ELEMS_MAX);
	kernels_get()->squares(lane, values, elems);
	for (uint32_t half = AGGR_LANES / 2; half > 0; half /= 2)
		for (uint32_t j = 0; j < half; j++)
			lane[j] += lane[j + half];
	return lane[0];
}

double gp_aggr_norm(const struct gp_contrib *c, uint32_t elems, float *scratch)
{
	return sqrt(squares_sum(contrib_dense(c, elems, scratch), elems));
}

double gp_aggr_squares(const float *values, uint32_t elems)
{
	return squares_sum((const uint8_t *)values, elems);
}

void gp_aggr_times(float *dst, const float *src, uint32_t elems, float factor)
{
	if (factor == 1.0f && dst == src)
		return;
	if (factor == 1.0f)
		memcpy(dst, src, sizeof(float) * elems);
	else
		kernels_get()->scaled_copy(dst, (const uint8_t *)src, elems, factor);
}

float gp_aggr_clamp(double norm, float norm_max)
{
	GP_ASSERT(norm_max > 0);
	if (!(norm > (double)norm_max))
		return 1.0f;
	float scale = (float)((double)norm_max / norm);
	return GP_MAX(scale, 0x1p-149f);
}

float gp_aggr_weights(const struct gp_contrib *c, uint32_t count)
{
	GP_ASSERT(count >= 1 && count <= 2 * GP_RANKS_MAX);
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
