// SPDX-License-Identifier: BSD-3-Clause
//
// Asynchronous jobs: ranks that pass, values that count as zero, and contributions scaled down.
#include "async_rig.h"

#include <math.h>

static void pass_push(struct worker *w, uint32_t step)
{
	const struct gp_section pass = {.block = 0, .run = BLOCKS};
	worker_push(w, step, &pass, NULL, false);
	rig_run(w->r);
	cr_assert(seen_commit(w, GP_DECISION_COMMIT, w->rank, step), "rank %u step %u", w->rank,
		step);
}

// Two ways to apply a push, in each of which a pass is a step that changes nothing.
static void passes(uint8_t consistency, uint8_t atomicity)
{
	struct rig *r = async_new(consistency, atomicity, 2);
	async_up(r);
	pass_push(&r->w[0], 1);
	pass_push(&r->w[1], 1);
	push_step(&r->w[1], 2);
	pass_push(&r->w[0], 2);
	EXPECT_MODEL(&r->w[0], granted(&r->w[0], 1, 3), {1, 2, 1});
	cr_assert_eq(rig_job(r).clock_min, 2);
	rig_free(r);
}

Test(async_pass, in_a_push_that_is_seen_whole)
{
	passes(GP_CONSIST_SSP, GP_ATOM_STEP);
}

Test(async_pass, in_a_push_that_is_seen_block_by_block)
{
	passes(GP_CONSIST_SSP, GP_ATOM_BLOCK);
}

Test(async_pass, in_a_job_without_a_bound)
{
	passes(GP_CONSIST_ASP, GP_ATOM_STEP);
}

// Who passes is there for the quorum, and in no mean.
Test(async_pass, a_quorum_of_which_some_pass)
{
	struct rig *r = async_new(GP_CONSIST_QUORUM, GP_ATOM_STEP, 2);
	r->jobs[0].mean = true;
	async_up(r);
	const struct gp_section pass = {.block = 0, .run = BLOCKS};
	worker_push(&r->w[0], 1, &pass, NULL, false);
	worker_push_all(&r->w[1], 1, false);
	rig_run(r);
	EXPECT_MODEL(&r->w[0], granted(&r->w[0], 1, 2), {1, 1, 1});
	for (uint32_t i = 0; i < 2; i++)
		worker_push(&r->w[i], 2, &pass, NULL, false);
	rig_run(r);
	cr_assert_eq(rig_job(r).clock_max, 2, "a step that all pass is closed too");
	EXPECT_MODEL(&r->w[1], granted(&r->w[1], 1, 3), {1, 1, 1});
	rig_free(r);
}

// The sum of nobody is zero, with the weight of nobody.
Test(async_pass, a_sum_that_all_pass)
{
	struct rig *r = async_new(GP_CONSIST_QUORUM, GP_ATOM_STEP, 2);
	r->jobs[0].kind = GP_KIND_REDUCE;
	r->jobs[0].mean = true;
	rig_up(r);
	const struct gp_section pass = {.block = 0, .run = BLOCKS};
	for (uint32_t i = 0; i < 2; i++)
		worker_push(&r->w[i], 1, &pass, NULL, false);
	rig_run(r);
	float got[BLOCK_ELEMS];
	struct gp_section sec;
	pull_block(&r->w[0], 0, granted(&r->w[0], 1, 2), got);
	for (uint32_t i = 0; i < BLOCK_ELEMS; i++)
		cr_assert_eq(got[i], 0);
	gp_wire_get_section(&seen_last(&r->w[0], GP_WIRE_RESULT, 0)->m, 0, &sec);
	cr_assert_eq(sec.weight, 0);
	rig_free(r);
}

// ---- what is not finite

// A push whose block 1 holds NaN in one element; the others are as ever.
static void poisoned_push(struct worker *w, uint32_t step)
{
	float values[BLOCK_ELEMS];
	for (uint32_t b = 0; b < BLOCKS; b++) {
		if (b != 1) {
			worker_push_block(w, step, b, false);
			continue;
		}
		for (uint32_t i = 0; i < BLOCK_ELEMS; i++)
			values[i] = rig_value(w->rank, step, b, i);
		values[17] = NAN;
		const struct gp_section s = {.block = b,
			.len = sizeof(values),
			.run = 1,
			.codec = GP_CODEC_F32,
			.weight = 1};
		worker_push(w, step, &s, values, false);
	}
	rig_run(w->r);
}

static void zeroed(uint8_t atomicity)
{
	struct rig *r = async_new(GP_CONSIST_SSP, atomicity, 2);
	r->jobs[0].nonfinite = GP_NONFINITE_IS_ZERO;
	async_up(r);
	poisoned_push(&r->w[0], 1);
	cr_assert(seen_commit(&r->w[0], GP_DECISION_COMMIT, 0, 1));
	cr_assert_eq(RIG_COUNT(r, blocks_zeroed), 1);
	uint32_t generation = granted(&r->w[0], 1, 2);
	float got[BLOCK_ELEMS];
	pull_block(&r->w[0], 1, generation, got);
	for (uint32_t i = 0; i < BLOCK_ELEMS; i++)
		cr_assert_eq(got[i], rig_value(0, 0, 1, i), "a block of zeros changes nothing");
	pull_block(&r->w[0], 0, generation, got);
	cr_assert_eq(got[5], rig_value(0, 0, 0, 5) - LR * rig_value(0, 1, 0, 5));
	rig_free(r);
}

Test(async_pass, nan_counts_as_zero_in_a_staged_push)
{
	zeroed(GP_ATOM_STEP);
}

Test(async_pass, nan_counts_as_zero_in_a_direct_push)
{
	zeroed(GP_ATOM_BLOCK);
}

// Also where the policy would make zeros of it: nobody could train from those.
Test(async_pass, nan_in_the_initial_values_is_refused)
{
	for (uint32_t async = 0; async < 2; async++) {
		struct rig *r = async_new(async ? GP_CONSIST_ASP : GP_CONSIST_BSP, GP_ATOM_STEP, 2);
		r->jobs[0].nonfinite = GP_NONFINITE_IS_ZERO;
		rig_up(r);
		poisoned_push(&r->w[0], 0);
		struct gp_refuse x;
		const struct seen *s = seen_last(&r->w[0], GP_WIRE_REFUSE, 0);
		cr_assert(s);
		gp_wire_get_refuse(&s->m, &x);
		cr_assert(x.reason == GP_REFUSAL_NONFINITE && x.what == 1);
		cr_assert(strstr(x.text, "rank 0, tensor w, block 1 of it, step 0"), "%s", x.text);
		cr_assert_eq(rig_job(r).generation, UINT32_MAX);
		rig_free_busy(r);
	}
}

// Each codec that can hold one says so, and is taken without.
Test(async_pass, nan_in_each_codec)
{
	static const struct {
		uint8_t codec;
		uint16_t len;
		uint16_t at;	 // of a value
		uint32_t poison; // in its first bytes
		uint8_t bytes;
	} cases[] = {
		{GP_CODEC_F32, 40, 12, 0x7fc00000, 4},
		{GP_CODEC_BF16, 20, 6, 0x7f80, 2},
		{GP_CODEC_F16, 20, 6, 0x7c00, 2},
		{GP_CODEC_TOPK, 8, 4, 0xff800000, 4},
		{GP_CODEC_TOPK_BF16, 8, 4, 0x7fc0, 2},
		{GP_CODEC_TOPK_F16, 8, 4, 0x7e00, 2},
		{GP_CODEC_SIGN, 8, 0, 0x7fc00000, 4},
		{GP_CODEC_INT8, 16, 0, 0x7fc00000, 4},
	};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(cases); i++) {
		struct rig *r = rig_new();
		rig_up(r);
		uint8_t payload[64] = {0};
		const struct gp_section s = {.block = 3, // of 10 elements
			.len = cases[i].len,
			.run = 1,
			.codec = cases[i].codec,
			.weight = 1};
		payload[0] = gp_codec_is_topk(cases[i].codec);
		uint8_t *at = payload + cases[i].at;
		cases[i].bytes == 4 ? gp_store32(at, cases[i].poison)
				    : gp_store16(at, (uint16_t)cases[i].poison);
		worker_push(&r->w[0], 1, &s, payload, false);
		rig_run(r);
		cr_assert_eq(rig_verdicts(r, GP_VERDICT_NONFINITE), 1, "codec %u", s.codec);
		memset(at, 0, cases[i].bytes);
		worker_push(&r->w[0], 1, &s, payload, false);
		rig_run(r);
		cr_assert_eq(rig_verdicts(r, GP_VERDICT_PUSH), 1, "codec %u", s.codec);
		rig_free_busy(r);
	}
}

// ---- norms

static void clamped(uint8_t atomicity, float expected_scale)
{
	struct rig *r = async_new(GP_CONSIST_ASP, atomicity, 2);
	r->jobs[0].norm_max = 1;
	async_up(r);
	float values[B_ELEMS] = {3, 4}; // norm 5
	for (uint32_t b = 0; b < 3; b++) {
		const struct gp_section zeros = {.block = b, .run = 1, .weight = 1};
		worker_push(&r->w[0], 1, &zeros, NULL, false);
	}
	const struct gp_section s = {
		.block = 3, .len = sizeof(values), .run = 1, .codec = GP_CODEC_F32, .weight = 1};
	worker_push(&r->w[0], 1, &s, values, false);
	rig_run(r);
	cr_assert(seen_commit(&r->w[0], GP_DECISION_COMMIT, 0, 1));
	cr_assert_eq(RIG_COUNT(r, blocks_clamped), 1);
	float got[BLOCK_ELEMS];
	pull_block(&r->w[0], 3, granted(&r->w[0], 1, 2), got);
	for (uint32_t i = 0; i < B_ELEMS; i++)
		cr_assert_float_eq(got[i],
			rig_value(0, 0, 3, i) - LR * (values[i] * expected_scale), 1e-6,
			"element %u: %g", i, (double)got[i]);
	rig_free(r);
}

Test(async_pass, a_norm_above_the_limit_is_scaled_down)
{
	clamped(GP_ATOM_STEP, 0.2f);
	clamped(GP_ATOM_BLOCK, 0.2f);
}
