// SPDX-License-Identifier: BSD-3-Clause
//
// The definition of the sum is written again here over dense values; all kernels are held to it.
#include <criterion/criterion.h>

#include <gp_aggr.h>

#include <math.h>
#include <signal.h>
#include <stdlib.h>

// splitmix64
static uint32_t next(uint64_t *seed)
{
	uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (uint32_t)(z ^ z >> 31);
}

// Values whose sum depends on its order; with `wild`, some NaN, infinities and denormals.
static void fill(float *v, uint32_t elems, uint64_t *seed, bool wild)
{
	static const uint32_t special[] = {0x7fc00001, 0xffc00002, 0x7f800003, 0x7f800000,
		0xff800000, 1, 0x80000000, 0x80000001, 0x7f7fffff};
	for (uint32_t i = 0; i < elems; i++) {
		uint32_t pick = next(seed), bits = (next(seed) & 0x83ffffff) + 0x3c000000;
		if (wild && pick % 4 == 0)
			bits = special[pick / 4 % GP_ARRAY_SIZE(special)];
		gp_store32(&v[i], bits);
	}
}

struct round {
	struct gp_contrib c[GP_RANKS_MAX];
	uint8_t *mem[GP_RANKS_MAX];
	float *dense[GP_RANKS_MAX]; // the same contributions decoded
	float *dst, *want;
	uint32_t count, elems;
};

static float *floats(uint32_t elems)
{
	float *v =
		aligned_alloc(GP_CACHE_LINE, gp_align_up(elems * sizeof(float) + 1, GP_CACHE_LINE));
	cr_assert_not_null(v);
	return v;
}

static void contrib_make(struct round *rd, uint32_t r, uint8_t codec, uint64_t *seed, bool wild)
{
	float *grad = floats(rd->elems);
	uint32_t shift = next(seed) % 64;
	fill(grad, rd->elems, seed, wild);
	const struct gp_codec_src src = {.grad = grad, .elems = rd->elems, .k = rd->elems / 4};
	size_t size = gp_codec_size_max(codec, rd->elems, src.k);
	rd->mem[r] = malloc(shift + size + 1);
	rd->c[r] = (struct gp_contrib){.payload = rd->mem[r] + shift,
		.len = gp_codec_encode(codec, &src, rd->mem[r] + shift),
		.codec = codec,
		.rank = (uint16_t)(3 * r),
		.weight = 1,
		.scale = 1};
	rd->dense[r] = grad;
	gp_codec_decode(codec, grad, rd->c[r].payload, rd->c[r].len, rd->elems);
}

static struct round *round_new(uint32_t count, uint32_t elems, uint64_t seed, bool wild, bool mixed)
{
	struct round *rd = calloc(1, sizeof(*rd));
	rd->count = count;
	rd->elems = elems;
	rd->dst = floats(elems);
	rd->want = floats(elems);
	for (uint32_t r = 0; r < count; r++)
		contrib_make(rd, r, mixed ? next(&seed) % 4 : GP_CODEC_F32, &seed, wild);
	for (uint32_t i = 0; i < elems; i++) {
		rd->want[i] = rd->dense[0][i];
		for (uint32_t r = 1; r < count; r++)
			rd->want[i] = gp_fadd(rd->want[i], rd->dense[r][i]);
	}
	return rd;
}

static void round_free(struct round *rd)
{
	for (uint32_t r = 0; r < rd->count; r++)
		free(rd->mem[r]), free(rd->dense[r]);
	free(rd->dst), free(rd->want), free(rd);
}

// An absent element adds nothing, where the dense definition adds +0: that makes -0 positive and a
// signalling NaN quiet. Sums with sparse contributions are compared as if it had.
static bool same(const float *got, const float *want, uint32_t elems, bool mixed)
{
	bool ok = true;
	for (uint32_t i = 0; i < elems; i++) {
		float value = mixed ? gp_fadd(got[i], 0.0f) : got[i];
		float other = mixed ? gp_fadd(want[i], 0.0f) : want[i];
		ok &= gp_load32(&value) == gp_load32(&other);
	}
	return ok;
}

static void sum_and_compare(uint32_t count, uint32_t elems, bool wild, bool mixed)
{
	struct round *rd = round_new(count, elems, (uint64_t)count << 20 | elems, wild, mixed);
	for (int level = 0; level < GP_SIMD_LEVELS; level++) {
		if (gp_aggr_select(level) != 0)
			continue;
		memset(rd->dst, 0x55, elems * sizeof(float));
		gp_aggr_sum(rd->dst, rd->c, count, elems, NULL);
		cr_assert(same(rd->dst, rd->want, elems, mixed),
			"level %d count %u elems %u wild %d mixed %d", level, count, elems, wild,
			mixed);
	}
	round_free(rd);
}

Test(aggr, every_length)
{
	for (uint32_t elems = 0; elems <= 300; elems++)
		sum_and_compare(1 + elems % 5, elems, elems % 2, false);
}

Test(aggr, block_sizes_and_rank_counts)
{
	const uint32_t elems[] = {336, 352, 337, 1000, 2047, 2048, 2208};
	for (uint32_t e = 0; e < GP_ARRAY_SIZE(elems); e++) {
		for (uint32_t count = 1; count <= 9; count++)
			sum_and_compare(count, elems[e], count % 2, false);
	}
	sum_and_compare(GP_RANKS_MAX, 336, false, false);
	sum_and_compare(GP_RANKS_MAX, 75, true, false);
}

Test(aggr, mixed_codecs_meet_in_one_sum)
{
	for (uint32_t count = 1; count <= 24; count++) {
		sum_and_compare(count, 336, false, true);
		sum_and_compare(count, 41, true, true);
	}
	sum_and_compare(GP_RANKS_MAX, 336, false, true);
}

// One element of one contribution, anywhere: a sum that is said to be finite has none of them.
Test(aggr, a_sum_tells_what_is_not_finite)
{
	const float odd[] = {NAN, INFINITY, -INFINITY};
	const uint32_t lengths[] = {1, 7, 16, 41, 336, 337, 2208};
	for (uint32_t l = 0; l < GP_ARRAY_SIZE(lengths); l++) {
		uint32_t elems = lengths[l];
		struct round *rd = round_new(3, elems, elems, false, false);
		for (int level = 0; level < GP_SIMD_LEVELS; level++) {
			if (gp_aggr_select(level) != 0)
				continue;
			cr_assert(gp_aggr_sum(rd->dst, rd->c, 3, elems, NULL));
			for (uint32_t i = 0; i < elems; i++) {
				uint8_t *at = rd->mem[i % 3] +
					      (rd->c[i % 3].payload - rd->mem[i % 3]) + 4 * i;
				uint32_t was = gp_load32(at);
				memcpy(at, &odd[(i + l) % 3], sizeof(was));
				cr_assert_not(gp_aggr_sum(rd->dst, rd->c, 3, elems, NULL),
					"level %d, element %u of %u", level, i, elems);
				memcpy(at, &was, sizeof(was));
			}
		}
		round_free(rd);
	}
}

Test(aggr, rank_order_decides_the_bytes)
{
	const float a = 1e8f, b = -1e8f, one = 1.0f;
#define ONE(v, r)                                                                                  \
	{                                                                                          \
		.payload = (const uint8_t *)&(v), .len = 4, .codec = GP_CODEC_F32, .rank = (r),    \
		.scale = 1                                                                         \
	}
	const struct gp_contrib c[3] = {ONE(one, 0), ONE(a, 1), ONE(b, 2)};
	const struct gp_contrib d[3] = {ONE(a, 0), ONE(b, 1), ONE(one, 2)};
#undef ONE
	GP_ALIGNED(64) float dst[16];
	gp_aggr_sum(dst, c, 3, 1, NULL);
	cr_assert_eq(dst[0], 0.0f);
	gp_aggr_sum(dst, d, 3, 1, NULL);
	cr_assert_eq(dst[0], 1.0f);
}

Test(aggr, mean_divides_by_the_sum_of_weights)
{
	struct gp_contrib c[3] = {{.weight = 1}, {.weight = 1e8f}, {.weight = -1e8f}};
	cr_assert_eq(gp_aggr_weights(c, 3), 0.0f, "in rank order");
	c[1].weight = 2, c[2].weight = 0.5f;
	cr_assert_eq(gp_aggr_weights(c, 3), 3.5f);
	uint64_t seed = 7;
	for (int level = 0; level < GP_SIMD_LEVELS; level++) {
		if (gp_aggr_select(level) != 0)
			continue;
		for (uint32_t elems = 0; elems < 80; elems++) {
			float *dst = floats(elems), *was = floats(elems);
			fill(was, elems, &seed, true);
			memcpy(dst, was, elems * sizeof(float));
			gp_aggr_scale(dst, elems, 3.0f);
			for (uint32_t i = 0; i < elems; i++) {
				float want = was[i] / 3.0f;
				uint32_t bits = gp_load32(&want);
				cr_assert_eq(gp_load32(&dst[i]), bits, "level %d", level);
			}
			free(dst), free(was);
		}
	}
}

// The sum of contributions of which some are scaled, over dense values; `mixed` as above.
static void scaled_compare(uint32_t count, uint32_t elems, bool wild, bool mixed)
{
	struct round *rd = round_new(count, elems, (uint64_t)count << 20 | elems, wild, mixed);
	float *scratch = floats(elems);
	for (uint32_t r = 0; r < count; r++) {
		rd->c[r].scale = r % 3 == 1 ? 1 : 1.0f / (float)(r + 3);
		for (uint32_t i = 0; i < elems && r % 3 != 1; i++)
			rd->dense[r][i] = gp_fmul(rd->dense[r][i], rd->c[r].scale);
		for (uint32_t i = 0; i < elems; i++)
			rd->want[i] = r ? gp_fadd(rd->want[i], rd->dense[r][i]) : rd->dense[0][i];
	}
	for (int level = 0; level < GP_SIMD_LEVELS; level++) {
		if (gp_aggr_select(level) != 0)
			continue;
		gp_aggr_sum(rd->dst, rd->c, count, elems, scratch);
		cr_assert(same(rd->dst, rd->want, elems, mixed), "level %d count %u elems %u",
			level, count, elems);
	}
	free(scratch);
	round_free(rd);
}

Test(aggr, scaled_contributions_are_products_rounded_once)
{
	for (uint32_t elems = 0; elems < 70; elems++) {
		scaled_compare(1 + elems % 6, elems, elems % 2, false);
		scaled_compare(1 + elems % 6, elems, elems % 2, true);
	}
	scaled_compare(9, 336, false, true);
}

// Sixteen lanes in the order that the header defines, written again.
static double norm_of(const float *v, uint32_t elems)
{
	double lane[16] = {0};
	for (uint32_t i = 0; i < elems; i++)
		lane[i % 16] += (double)v[i] * (double)v[i];
	for (uint32_t half = 8; half; half /= 2)
		for (uint32_t j = 0; j < half; j++)
			lane[j] += lane[j + half];
	return sqrt(lane[0]);
}

Test(aggr, norms_have_one_value_whatever_computes_them)
{
	for (uint32_t elems = 0; elems < 400; elems += elems < 70 ? 1 : 11) {
		struct round *rd = round_new(4, elems, elems, false, elems % 2);
		float *scratch = floats(elems);
		for (int level = 0; level < GP_SIMD_LEVELS; level++) {
			if (gp_aggr_select(level) != 0)
				continue;
			for (uint32_t r = 0; r < 4; r++) {
				double norm = gp_aggr_norm(&rd->c[r], elems, scratch);
				cr_assert_eq(norm, norm_of(rd->dense[r], elems),
					"level %d elems %u", level, elems);
			}
		}
		free(scratch);
		round_free(rd);
	}
}

Test(aggr, a_clamp_scales_down_to_the_limit_and_never_to_nothing)
{
	const float huge[2] = {3e38f, -3e38f};
	const struct gp_contrib c = {
		.payload = (const uint8_t *)huge, .len = 8, .codec = GP_CODEC_F32, .scale = 1};
	GP_ALIGNED(64) float dst[16];
	double norm = gp_aggr_norm(&c, 2, NULL);
	cr_assert(norm > 4.2e38 && norm < 4.3e38, "no overflow: %g", norm);
	cr_assert_eq(gp_aggr_clamp(2, 2), 1.0f);
	cr_assert_eq(gp_aggr_clamp(0, 1e-30f), 1.0f);
	cr_assert_eq(gp_aggr_clamp(8, 2), 0.25f);
	cr_assert_gt(gp_aggr_clamp(1e40, 1e-30f), 0.0f);
	struct gp_contrib clamped = c;
	clamped.scale = gp_aggr_clamp(norm, 5);
	gp_aggr_sum(dst, &clamped, 1, 2, NULL);
	cr_assert_float_eq(dst[0], 3.5355339f, 1e-5);
}

static struct gp_contrib pair[2] = {{.payload = (const uint8_t *)"12345678",
					    .len = 8,
					    .codec = GP_CODEC_F32,
					    .rank = 1,
					    .scale = 1},
	{.payload = (const uint8_t *)"12345678",
		.len = 8,
		.codec = GP_CODEC_F32,
		.rank = 1,
		.scale = 1}};

Test(aggr, asserts_on_a_scale_that_was_forgotten, .signal = SIGABRT)
{
	GP_ALIGNED(64) float dst[16];
	pair[0].scale = 0;
	gp_aggr_sum(dst, pair, 1, 2, NULL);
}

Test(aggr, asserts_on_ranks_out_of_order, .signal = SIGABRT)
{
	GP_ALIGNED(64) float dst[16];
	pair[0].rank = 3;
	gp_aggr_sum(dst, pair, 2, 2, NULL);
}

Test(aggr, asserts_on_a_length_that_was_not_checked, .signal = SIGABRT)
{
	GP_ALIGNED(64) float dst[16];
	pair[1].rank = 2;
	gp_aggr_sum(dst, pair, 2, 3, NULL);
}

Test(aggr, asserts_on_an_empty_sum, .signal = SIGABRT)
{
	GP_ALIGNED(64) float dst[16];
	gp_aggr_sum(dst, pair, 0, 2, NULL);
}
