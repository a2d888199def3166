// SPDX-License-Identifier: BSD-3-Clause
//
// The contribution that fills its slot is proved finite by the sum; what begins as its worker's
// last goes that way, so every worker has contributed before.
#include "driver.h"

#include <float.h>
#include <math.h>

#define STEPS_BEFORE 2

static void push_with(struct worker *w, uint32_t step, uint32_t block, float odd)
{
	float values[BLOCK_ELEMS];
	uint32_t elems = model_elems(block);
	for (uint32_t i = 0; i < elems; i++)
		values[i] = rig_value(w->rank, step, block, i);
	values[elems / 2] = odd;
	const struct gp_section s = {.block = block,
		.len = (uint16_t)(elems * sizeof(float)),
		.run = 1,
		.codec = GP_CODEC_F32,
		.weight = 1.0f};
	worker_push(w, step, &s, values, true);
}

static void step_all(struct rig *r, uint32_t step)
{
	for (uint32_t i = 0; i < r->jobs[0].workers; i++)
		worker_push_all(&r->w[i], step, true);
	rig_run(r);
	cr_assert_eq(rig_job(r).generation, step);
}

static void begin(struct rig *r)
{
	rig_up(r);
	if (r->jobs[0].kind == GP_KIND_TRAIN) {
		worker_push_all(&r->w[0], 0, true);
		rig_run(r);
	}
	for (uint32_t step = 1; step <= STEPS_BEFORE; step++)
		step_all(r, step);
}

// Step 3 but for what fills the slot of block 0.
static struct worker *all_but_last(struct rig *r)
{
	uint32_t last = r->jobs[0].workers - 1;
	for (uint32_t i = 0; i <= last; i++)
		for (uint32_t b = 0; b < BLOCKS; b++)
			if (i < last || b > 0)
				worker_push_block(&r->w[i], STEPS_BEFORE + 1, b, true);
	rig_run(r);
	return &r->w[last];
}

static void refused_once(struct rig *r, const struct worker *w)
{
	struct gp_refuse x;
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_NONFINITE), 1);
	gp_wire_get_refuse(&seen_last(w, GP_WIRE_REFUSE, 0)->m, &x);
	cr_assert_eq(x.reason, GP_REFUSAL_NONFINITE);
	cr_assert_eq(x.what, 0);
}

// What step 3 gives where somebody tries `odd` first, 0 for nobody; and step 4 after it.
static void course(uint8_t kind, uint32_t workers, float odd, float got[2][BLOCK_ELEMS])
{
	struct rig *r = rig_new();
	r->jobs[0].kind = kind;
	r->jobs[0].workers = workers;
	begin(r);
	struct worker *w = all_but_last(r);
	if (odd != 0) {
		push_with(w, STEPS_BEFORE + 1, 0, odd);
		rig_run(r);
		refused_once(r, w);
		cr_assert_eq(rig_job(r).generation, STEPS_BEFORE, "the step waits");
		rig_wait(r, 2 * RIG_MS, (1u << workers) - 1);
	}
	worker_push_block(w, STEPS_BEFORE + 1, 0, true);
	rig_run(r);
	cr_assert_eq(rig_job(r).generation, STEPS_BEFORE + 1);
	step_all(r, STEPS_BEFORE + 2);
	for (uint32_t i = 0; i < 2; i++)
		result_values(seen_result(w, 0, STEPS_BEFORE + 1 + i), got[i]);
	rig_free(r);
}

Test(fill, what_is_not_finite_is_refused_and_leaves_nothing_behind)
{
	static float want[2][BLOCK_ELEMS], got[2][BLOCK_ELEMS];
	const float odd[] = {NAN, INFINITY, -INFINITY};
	const uint8_t kinds[] = {GP_KIND_REDUCE, GP_KIND_TRAIN};
	for (uint32_t k = 0; k < GP_ARRAY_SIZE(kinds); k++) {
		for (uint32_t workers = 1; workers <= 3; workers++) {
			course(kinds[k], workers, 0, want);
			course(kinds[k], workers, odd[workers - 1], got);
			cr_assert_arr_eq(
				got, want, sizeof(want), "kind %u, %u workers", kinds[k], workers);
		}
	}
}

Test(fill, nan_can_count_as_zero)
{
	struct rig *r = rig_new();
	float got[BLOCK_ELEMS];
	r->jobs[0].nonfinite = GP_NONFINITE_IS_ZERO;
	begin(r);
	struct worker *w = all_but_last(r);
	push_with(w, STEPS_BEFORE + 1, 0, NAN);
	rig_run(r);
	cr_assert_eq(rig_job(r).generation, STEPS_BEFORE + 1);
	cr_assert_eq(RIG_COUNT(r, blocks_zeroed), 1);
	result_values(seen_result(w, 0, STEPS_BEFORE + 1), got);
	for (uint32_t i = 0; i < model_elems(0); i++)
		cr_assert_eq(got[i], rig_value(0, STEPS_BEFORE + 1, 0, i));
	rig_free(r);
}

Test(fill, sums_that_overflow_are_no_fault_of_a_contribution)
{
	struct rig *r = rig_new();
	float got[BLOCK_ELEMS];
	begin(r);
	struct worker *w = all_but_last(r);
	push_with(w, STEPS_BEFORE + 1, 0, FLT_MAX);
	rig_run(r);
	cr_assert_eq(rig_job(r).generation, STEPS_BEFORE + 1);
	for (uint32_t i = 0; i < 2; i++)
		push_with(&r->w[i], STEPS_BEFORE + 2, 0, FLT_MAX);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_NONFINITE), 0);
	result_values(seen_result(w, 0, STEPS_BEFORE + 2), got);
	cr_assert(isinf(got[model_elems(0) / 2]));
	rig_free_busy(r);
}

// Where the sum has to wait the payload is read: the step before is not whole yet.
Test(fill, what_comes_before_its_turn_is_looked_through)
{
	struct rig *r = rig_new();
	begin(r);
	struct worker *w = all_but_last(r);
	worker_push_block(&r->w[0], STEPS_BEFORE + 2, 1, true);
	push_with(w, STEPS_BEFORE + 2, 1, NAN);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_NONFINITE), 1);
	worker_push_block(w, STEPS_BEFORE + 1, 0, true);
	rig_run(r);
	cr_assert_eq(rig_job(r).generation, STEPS_BEFORE + 1);
	step_all(r, STEPS_BEFORE + 2);
	rig_free(r);
}

// No version is free while grace periods do not end.
Test(fill, what_waits_for_a_version_is_looked_through)
{
	struct rig *r = rig_new();
	begin(r);
	r->no_grace = true;
	uint32_t step = STEPS_BEFORE + 1;
	for (; step < 20 && RIG_COUNT(r, completions_deferred) == 0; step++)
		for (uint32_t i = 0; i < 2; i++) {
			worker_push_all(&r->w[i], step, true);
			rig_run(r);
		}
	step--;
	cr_assert_eq(rig_job(r).generation, step - 1);
	uint64_t deferred = RIG_COUNT(r, completions_deferred);
	for (uint32_t i = 0; i < 2; i++)
		push_with(&r->w[i], step + 1, 0, i == 1 ? NAN : 0);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_NONFINITE), 1);
	cr_assert_eq(RIG_COUNT(r, completions_deferred), deferred);
	r->no_grace = false;
	rig_run(r);
	cr_assert_eq(rig_job(r).generation, step);
	step_all(r, step + 1);
	rig_free(r);
}

// Its blocks are clamped, and counted, before they are summed.
Test(fill, norms_are_counted_once)
{
	struct rig *r = rig_new();
	r->jobs[0].norm_max = 1e-3f;
	begin(r);
	struct worker *w = all_but_last(r);
	uint64_t clamped = RIG_COUNT(r, blocks_clamped);
	push_with(w, STEPS_BEFORE + 1, 0, NAN);
	rig_run(r);
	refused_once(r, w);
	cr_assert_eq(RIG_COUNT(r, blocks_clamped), clamped);
	worker_push_block(w, STEPS_BEFORE + 1, 0, true);
	rig_run(r);
	cr_assert_eq(RIG_COUNT(r, blocks_clamped), clamped + 2);
	rig_free(r);
}
