// SPDX-License-Identifier: BSD-3-Clause
//
// Asynchronous jobs: each rank's pushes count by themselves, generations are cuts.
#include "async_rig.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

// ---- ssp

Test(async, each_push_counts_by_itself)
{
	for (uint32_t cores = 1; cores <= 3; cores++) {
		for (uint8_t atomicity = GP_ATOM_BLOCK; atomicity <= GP_ATOM_STEP; atomicity += 2) {
			struct rig *r = async_new(GP_CONSIST_SSP, atomicity, 2);
			r->cfg.cores_count = cores;
			async_up(r);
			cr_assert_eq(granted(&r->w[1], 1, 1), 0);
			EXPECT_MODEL(&r->w[1], 0, {0, 1, 0});
			push_step(&r->w[0], 1);
			uint32_t g = granted(&r->w[0], 1, 2);
			cr_assert_gt(g, 0, "it sees what it pushed");
			EXPECT_MODEL(&r->w[0], g, {0, 1, 1});
			push_step(&r->w[1], 1);
			cr_assert_eq(rig_job(r).clock_min, 1);
			g = granted(&r->w[1], 2, 2);
			EXPECT_MODEL(&r->w[1], g, {0, 1, 1}, {1, 1, 1});
			rig_free(r);
		}
	}
}

Test(async, a_read_waits_for_its_bound_and_is_answered_unasked)
{
	struct rig *r = async_new(GP_CONSIST_SSP, GP_ATOM_BLOCK, 2);
	async_up(r);
	for (uint32_t step = 1; step <= 2; step++)
		push_step(&r->w[0], step);
	// Clock 3 under bound 1 needs all of step 1; clock 2 needs nothing.
	cr_assert_eq(granted(&r->w[0], 1, 2) > 0, true);
	struct gp_read_reply x = read_now(&r->w[0], 2, 3, 0);
	cr_assert_eq(x.state, GP_READ_PARKED);
	cr_assert_eq(x.rank, 1, "that is whom it waits for");
	cr_assert_eq(x.bound, 1);
	cr_assert_eq(read_now(&r->w[0], 2, 3, 0).state, GP_READ_PARKED, "repeats are harmless");
	uint32_t before = seen_count(&r->w[0], GP_WIRE_READ_REPLY);
	push_step(&r->w[1], 1);
	cr_assert_eq(seen_count(&r->w[0], GP_WIRE_READ_REPLY), before + 1);
	x = read_reply(&r->w[0]);
	cr_assert_eq(x.state, GP_READ_GRANTED);
	EXPECT_MODEL(&r->w[0], x.generation, {0, 1, 1}, {0, 2, 1}, {1, 1, 1});
	cr_assert_gt(rig_verdicts(r, GP_VERDICT_READ_PARKED), 0);
	rig_free(r);
}

Test(async, copies_and_old_contributions_count_once)
{
	for (uint8_t atomicity = GP_ATOM_BLOCK; atomicity <= GP_ATOM_STEP; atomicity += 2) {
		struct rig *r = async_new(GP_CONSIST_ASP, atomicity, 2);
		r->jobs[0].slots = 2;
		async_up(r);
		struct worker *w = &r->w[0];
		worker_push_block(w, 1, 1, false); // before its neighbour
		worker_push_block(w, 1, 1, false);
		worker_push_block(w, 1, 0, false);
		rig_run(r);
		worker_push_block(w, 1, 1, false);
		if (atomicity == GP_ATOM_BLOCK) {
			uint64_t busy = rig_verdicts(r, GP_VERDICT_PUSH_BUSY);
			worker_push_block(w, 2, 0, false); // beyond two places
			rig_run(r);
			cr_assert_eq(rig_verdicts(r, GP_VERDICT_PUSH_BUSY), busy + 1);
		}
		worker_push_block(w, 1, 2, false);
		worker_push_block(w, 1, 3, false);
		rig_run(r);
		worker_push_all(w, 1, false);
		worker_push_all(w, 0, false);
		rig_run(r);
		cr_assert_eq(rig_verdicts(r, GP_VERDICT_PUSH_DUPLICATE), 2 + BLOCKS + BLOCKS);
		worker_push_block(w, 7, 0, false);
		rig_run(r);
		cr_assert_eq(rig_verdicts(r, GP_VERDICT_TOO_EARLY), 1);
		EXPECT_MODEL(w, granted(w, 1, 2), {0, 1, 1});
		rig_free(r);
	}
}

Test(async, a_staged_push_is_seen_whole_or_not_at_all)
{
	struct rig *r = async_new(GP_CONSIST_ASP, GP_ATOM_STEP, 2);
	r->cfg.cores_count = 2;
	async_up(r);
	push_step(&r->w[1], 1);
	worker_push_block(&r->w[0], 1, 0, false);
	worker_push_block(&r->w[0], 1, 2, false);
	worker_push_block(&r->w[0], 1, 3, false);
	rig_run(r);
	uint32_t g = granted(&r->w[1], 1, 2);
	EXPECT_MODEL(&r->w[1], g, {1, 1, 1});
	worker_push_block(&r->w[0], 1, 1, false);
	rig_run(r);
	EXPECT_MODEL(&r->w[1], g, {1, 1, 1});
	EXPECT_MODEL(&r->w[1], granted(&r->w[1], 2, 2) + 0, {1, 1, 1}, {0, 1, 1});
	rig_free(r);
}

Test(async, a_direct_push_is_seen_block_by_block)
{
	struct rig *r = async_new(GP_CONSIST_ASP, GP_ATOM_BLOCK, 2);
	async_up(r);
	worker_push_block(&r->w[0], 1, 0, false);
	rig_run(r);
	push_step(&r->w[1], 1);
	uint32_t g = granted(&r->w[1], 1, 2);
	float got[BLOCK_ELEMS];
	pull_block(&r->w[1], 0, g, got);
	float x = rig_value(0, 0, 0, 5) - LR * rig_value(0, 1, 0, 5);
	cr_assert_eq(got[5], x - LR * rig_value(1, 1, 0, 5));
	pull_block(&r->w[1], 1, g, got);
	cr_assert_eq(got[5], rig_value(0, 0, 1, 5) - LR * rig_value(1, 1, 1, 5));
	rig_free_busy(r);
}

Test(async, a_rank_may_pass)
{
	struct rig *r = async_new(GP_CONSIST_SSP, GP_ATOM_BLOCK, 2);
	async_up(r);
	const struct gp_section s = {.block = 0, .run = BLOCKS};
	worker_push(&r->w[1], 1, &s, NULL, false);
	rig_run(r);
	cr_assert(seen_commit(&r->w[1], GP_DECISION_COMMIT, 1, 1));
	push_step(&r->w[0], 1);
	EXPECT_MODEL(&r->w[0], granted(&r->w[0], 1, 3), {0, 1, 1});
	rig_free(r);
}

// ---- staleness

Test(async, what_comes_too_late_is_refused_or_scaled)
{
	for (uint8_t policy = GP_STALE_SCALE; policy <= GP_STALE_REFUSE; policy++) {
		struct rig *r = async_new(GP_CONSIST_ASP, GP_ATOM_BLOCK, 2);
		r->jobs[0].stale = policy;
		r->jobs[0].stale_max = 1;
		async_up(r);
		for (uint32_t step = 1; step <= 3; step++)
			push_step(&r->w[0], step);
		push_step(&r->w[1], 1); // two behind: it counts as passed, or a third
		push_step(&r->w[1], 2); // one behind
		uint32_t g = granted(&r->w[1], 1, 3);
		if (policy == GP_STALE_REFUSE) {
			cr_assert_eq(rig_verdicts(r, GP_VERDICT_STALE), BLOCKS);
			struct gp_refuse x;
			gp_wire_get_refuse(&seen_last(&r->w[1], GP_WIRE_REFUSE, 0)->m, &x);
			cr_assert_eq(x.reason, GP_REFUSAL_TOO_STALE);
			EXPECT_MODEL(&r->w[1], g, {0, 1, 1}, {0, 2, 1}, {0, 3, 1}, {1, 2, 1});
		} else {
			EXPECT_MODEL(&r->w[1], g, {0, 1, 1}, {0, 2, 1}, {0, 3, 1},
				{1, 1, 1.0f / 3.0f}, {1, 2, 1});
		}
		rig_free(r);
	}
}

Test(async, the_learning_rate_follows_staleness)
{
	for (uint8_t atomicity = GP_ATOM_BLOCK; atomicity <= GP_ATOM_STEP; atomicity += 2) {
		struct rig *r = async_new(GP_CONSIST_ASP, atomicity, 2);
		r->jobs[0].staleness_lr = true;
		async_up(r);
		push_step(&r->w[0], 1);
		push_step(&r->w[0], 2);
		push_step(&r->w[1], 1);
		float got[BLOCK_ELEMS];
		pull_block(&r->w[1], 1, granted(&r->w[1], 1, 2), got);
		for (uint32_t i = 0; i < BLOCK_ELEMS; i++) {
			float x = rig_value(0, 0, 1, i) - LR * rig_value(0, 1, 1, i);
			x = x - LR * rig_value(0, 2, 1, i);
			x = x - (LR * 0.5f) * rig_value(1, 1, 1, i);
			cr_assert_eq(got[i], x);
		}
		rig_free(r);
	}
}

Test(async, delay_is_compensated_by_what_the_rank_had_read)
{
	struct rig *r = async_new(GP_CONSIST_ASP, GP_ATOM_BLOCK, 2);
	r->jobs[0].optim.delay_compensation = 0.25f;
	async_up(r);
	float read[BLOCK_ELEMS], got[BLOCK_ELEMS];
	pull_block(&r->w[1], 1, granted(&r->w[1], 1, 1), read);
	float own[BLOCK_ELEMS];
	pull_block(&r->w[0], 1, granted(&r->w[0], 1, 1), own);
	push_step(&r->w[0], 1);
	push_step(&r->w[1], 1);
	pull_block(&r->w[1], 1, granted(&r->w[1], 2, 2), got);
	for (uint32_t i = 0; i < BLOCK_ELEMS; i++) {
		float g = rig_value(0, 1, 1, i), h = rig_value(1, 1, 1, i);
		float x = rig_value(0, 0, 1, i) - LR * g;
		float d = h + 0.25f * h * h * (x - read[i]);
		cr_assert_float_eq(got[i], x - LR * d, 1e-3f * fabsf(d) + 1e-6f);
	}
	rig_free(r);
}

Test(async, who_has_read_nothing_is_not_compensated)
{
	struct rig *r = async_new(GP_CONSIST_ASP, GP_ATOM_BLOCK, 2);
	r->jobs[0].optim.delay_compensation = 0.25f;
	async_up(r);
	push_step(&r->w[0], 1);
	EXPECT_MODEL(&r->w[1], granted(&r->w[1], 1, 1), {0, 1, 1});
	rig_free(r);
}

// ---- cuts

Test(async, a_cut_stays_as_it_was_while_others_go_on)
{
	struct rig *r = async_new(GP_CONSIST_ASP, GP_ATOM_BLOCK, 2);
	async_up(r);
	push_step(&r->w[0], 1);
	push_step(&r->w[1], 1);
	uint32_t g = granted(&r->w[1], 1, 2);
	for (uint32_t step = 2; step < 8; step++)
		push_step(&r->w[0], step);
	EXPECT_MODEL(&r->w[1], g, {0, 1, 1}, {1, 1, 1});
	cr_assert_eq(granted(&r->w[1], 1, 2), g, "a repeated request gets the same answer");
	rig_free(r);
}

Test(async, an_old_cut_goes_and_a_reserved_one_stays)
{
	struct rig *r = async_new(GP_CONSIST_ASP, GP_ATOM_BLOCK, 2);
	async_up(r);
	push_step(&r->w[0], 1);
	push_step(&r->w[1], 1);
	uint32_t g = granted(&r->w[1], 1, 2);
	for (uint32_t step = 2; step < 8; step++) {
		push_step(&r->w[0], step);
		(void)granted(&r->w[0], step, step + 1);
	}
	worker_pull(&r->w[1], 0, 1, g, false);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_GONE), 1);
	struct gp_read_reply x = read_now(&r->w[1], 2, 2, GP_READ_RESERVE);
	cr_assert_eq(x.state, GP_READ_GRANTED);
	for (uint32_t step = 8; step < 16; step++) {
		push_step(&r->w[0], step);
		(void)granted(&r->w[0], step, step + 1);
	}
	// A second one has to wait for it.
	cr_assert_eq(read_now(&r->w[0], 99, 16, GP_READ_RESERVE).state, GP_READ_PARKED);
	EXPECT_MODEL(&r->w[1], x.generation, {0, 1, 1}, {1, 1, 1}, {0, 2, 1}, {0, 3, 1}, {0, 4, 1},
		{0, 5, 1}, {0, 6, 1}, {0, 7, 1});
	push_step(&r->w[1], 2);
	(void)granted(&r->w[1], 3, 3); // it is through
	rig_run(r);
	cr_assert_eq(read_reply(&r->w[0]).state, GP_READ_GRANTED);
	rig_free(r);
}

Test(async, readers_share_a_cut_that_is_young_enough)
{
	struct rig *r = async_new(GP_CONSIST_ASP, GP_ATOM_BLOCK, 2);
	r->jobs[0].cut_age_ns = 1000 * RIG_MS;
	async_up(r);
	struct gp_join j = worker_join_of(&r->w[5], GP_WIRE_RANK_NONE);
	j.flags = GP_JOIN_READER;
	j.world = 0;
	cr_assert_eq(worker_enter_as(&r->w[5], &j), 0);
	cr_assert_eq(worker_bring(&r->w[5]), 0);
	push_step(&r->w[0], 1);
	uint32_t g = granted(&r->w[0], 1, 2);
	push_step(&r->w[0], 2);
	cr_assert_eq(granted(&r->w[5], 1, 0), g, "a reader takes the young one");
	cr_assert_eq(granted(&r->w[0], 2, 3), g + 1, "a rank wants its own in it");
	rig_wait(r, 1500 * RIG_MS, 3 | 1 << 5);
	push_step(&r->w[1], 1);
	cr_assert_eq(granted(&r->w[5], 2, 0), g + 2, "too old");
	rig_free(r);
}

Test(async, a_snapshot_reads_one_cut_and_tells_the_clocks)
{
	for (uint8_t atomicity = GP_ATOM_BLOCK; atomicity <= GP_ATOM_STEP; atomicity += 2) {
		struct rig *r = async_new(GP_CONSIST_ASP, atomicity, 2);
		r->cfg.cores_count = 2;
		async_up(r);
		for (uint32_t step = 1; step <= 3; step++)
			push_step(&r->w[0], step);
		push_step(&r->w[1], 1);
		worker_push_block(&r->w[1], 2, 1, false); // half a step
		rig_run(r);
		cr_assert_eq(gp_registrar_cut(r->reg, 1), 0);
		rig_run(r);
		cr_assert_eq(r->cuts_ready, 1);
		uint64_t before, after;
		cr_assert_eq(gp_engine_digest(r->e, 0, r->cut_step, &before), 0);
		// Block 1's contribution of step 2 may be in it: that step is not begun again.
		bool direct = atomicity == GP_ATOM_BLOCK;
		cr_assert_eq(gp_engine_clock(r->e, 0, 0), direct ? 4 : 3);
		cr_assert_eq(gp_engine_clock(r->e, 0, 1), direct ? 2 : 1);
		for (uint32_t step = 4; step <= 9; step++)
			push_step(&r->w[0], step);
		cr_assert_eq(gp_engine_digest(r->e, 0, r->cut_step, &after), 0);
		cr_assert_eq(before, after);
		gp_registrar_cut_release(r->reg, 1);
		rig_run(r);
		cr_assert_not(rig_job(r).cut_active);
		cr_assert_eq(gp_engine_digest(r->e, 0, r->cut_step, &after), -ENOENT);
		cr_assert_eq(gp_registrar_cut(r->reg, 1), 0);
		rig_run(r);
		cr_assert_eq(r->cuts_ready, 2);
		rig_free_busy(r);
	}
}

Test(async, a_snapshot_knows_how_far_a_rank_was_that_has_left)
{
	for (uint8_t atomicity = GP_ATOM_BLOCK; atomicity <= GP_ATOM_STEP; atomicity += 2) {
		struct rig *r = async_new(GP_CONSIST_ASP, atomicity, 2);
		r->cfg.cores_count = 2;
		async_up(r);
		for (uint32_t step = 1; step <= 3; step++)
			for (uint32_t i = 0; i < 2; i++)
				push_step(&r->w[i], step);
		worker_leave(&r->w[1]);
		rig_run(r);
		push_step(&r->w[0], 4);
		cr_assert_eq(gp_registrar_cut(r->reg, 1), 0);
		rig_run(r);
		cr_assert_eq(r->cuts_ready, 1);
		bool direct = atomicity == GP_ATOM_BLOCK; // as above: the next may be begun
		cr_assert_eq(gp_engine_clock(r->e, 0, 0), direct ? 5 : 4);
		cr_assert_eq(gp_engine_clock(r->e, 0, 1), direct ? 4 : 3);
		rig_free_busy(r);
	}
}

// Reads make cuts without a change, and half a step changes blocks without a commit.
Test(async, what_has_changed_since_a_cut_is_known)
{
	for (uint8_t atomicity = GP_ATOM_BLOCK; atomicity <= GP_ATOM_STEP; atomicity += 2) {
		struct rig *r = async_new(GP_CONSIST_ASP, atomicity, 2);
		bool direct = atomicity == GP_ATOM_BLOCK;
		r->cfg.cores_count = 2;
		async_up(r);
		push_step(&r->w[0], 1);
		uint32_t generation = granted(&r->w[0], 1, 2), decision = rig_job(r).decision;
		cr_assert_not(gp_engine_has_changed(r->e, 0, generation, decision));
		granted(&r->w[0], 2, 2);
		worker_leave(&r->w[1]);
		rig_run(r);
		cr_assert_not(gp_engine_has_changed(r->e, 0, generation, decision));
		worker_push_block(&r->w[0], 2, 1, false);
		rig_run(r);
		cr_assert_eq(gp_engine_has_changed(r->e, 0, generation, decision), direct);
		worker_push_all(&r->w[0], 2, false);
		rig_run(r);
		cr_assert(gp_engine_has_changed(r->e, 0, generation, decision));
		rig_free_busy(r);
	}
}

Test(async, a_restored_job_begins_no_step_twice)
{
	struct rig *r = async_new(GP_CONSIST_SSP, GP_ATOM_BLOCK, 2);
	r->cfg.cores_count = 2;
	rig_start(r);
	float w[W_ELEMS], b[B_ELEMS];
	for (uint32_t i = 0; i < W_ELEMS; i++)
		w[i] = rig_value(0, 0, i / BLOCK_ELEMS, i % BLOCK_ELEMS);
	for (uint32_t i = 0; i < B_ELEMS; i++)
		b[i] = rig_value(0, 0, 3, i);
	const struct gp_restore_tensor t[TENSORS] = {{.name = model[0].name,
							     .dims_count = model[0].dims_count,
							     .dims = model[0].dims,
							     .values = w},
		{.name = model[1].name,
			.dims_count = model[1].dims_count,
			.dims = model[1].dims,
			.values = b}};
	const uint32_t clock[2] = {4, 2};
	const struct gp_restore x = {
		.step = 11, .decision = 40, .clock = clock, .tensors_count = TENSORS, .tensors = t};
	cr_assert_eq(gp_registrar_restore(r->reg, 1, &x), 0);
	for (uint32_t i = 0; i < 2; i++) {
		cr_assert_eq(worker_enter(&r->w[i], (uint16_t)i), 0);
		worker_attach(&r->w[i]);
	}
	for (uint32_t i = 0; i < 2; i++)
		cr_assert_eq(worker_bring(&r->w[i]), 0);
	rig_run(r);
	cr_assert(seen_commit(&r->w[1], GP_DECISION_VIEW, 0, 5), "all begin behind the furthest");
	cr_assert_eq(granted(&r->w[1], 1, 5), 11);
	EXPECT_MODEL(&r->w[1], 11, {0, 1, 0});
	worker_push_all(&r->w[1], 4, false);
	push_step(&r->w[1], 5);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_PUSH_DUPLICATE), BLOCKS);
	EXPECT_MODEL(&r->w[1], granted(&r->w[1], 2, 6), {1, 5, 1});
	rig_free(r);
}

// ---- members

Test(async, a_lost_rank_leaves_the_minimum_and_comes_back_behind_nobody)
{
	struct rig *r = async_new(GP_CONSIST_SSP, GP_ATOM_BLOCK, 3);
	async_up(r);
	for (uint32_t step = 1; step <= 2; step++)
		for (uint32_t i = 0; i < 2; i++)
			push_step(&r->w[i], step);
	worker_push_block(&r->w[2], 1, 0, false); // a beginning
	cr_assert_eq(read_now(&r->w[0], 1, 3, 0).state, GP_READ_PARKED);
	rig_wait(r, 2 * RIG_TIMEOUT_NS, 3);
	cr_assert_eq(rig_job(r).members, 2);
	cr_assert_eq(read_reply(&r->w[0]).state, GP_READ_GRANTED, "nobody waits for the dead");
	for (uint32_t i = 0; i < 2; i++)
		push_step(&r->w[i], 3);

	struct worker *w = &r->w[7];
	cr_assert_eq(worker_enter(w, 2), 0);
	cr_assert_eq(worker_bring(w), 0);
	rig_run(r);
	cr_assert_eq(rig_job(r).members, 3);
	cr_assert(seen_commit(w, GP_DECISION_VIEW, 0, 4), "it is up with the slowest");
	worker_push_block(w, 3, 1, false);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_PUSH_DUPLICATE), 1, "those steps are over for it");
	push_step(w, 4);
	push_step(&r->w[0], 4);
	rig_free_busy(r);
}

Test(async, a_view_takes_nothing_from_those_who_stay)
{
	for (uint8_t atomicity = GP_ATOM_BLOCK; atomicity <= GP_ATOM_STEP; atomicity += 2) {
		struct rig *r = async_new(GP_CONSIST_ASP, atomicity, 3);
		async_up(r);
		for (uint32_t b = 0; b < 3; b++)
			worker_push_block(&r->w[0], 1, b, false);
		rig_wait(r, 2 * RIG_TIMEOUT_NS, 3);
		cr_assert_eq(rig_job(r).members, 2);
		worker_push_block(&r->w[0], 1, 3, false);
		rig_run(r);
		cr_assert(seen_commit(&r->w[0], GP_DECISION_COMMIT, 0, 1));
		EXPECT_MODEL(&r->w[0], granted(&r->w[0], 1, 2), {0, 1, 1});
		rig_free(r);
	}
}

Test(async, reads_wait_while_there_are_too_few_workers)
{
	struct rig *r = async_new(GP_CONSIST_ASP, GP_ATOM_BLOCK, 3);
	r->jobs[0].workers_min = 3;
	async_up(r);
	push_step(&r->w[0], 1);
	rig_wait(r, 2 * RIG_TIMEOUT_NS, 3);
	struct gp_read_reply x = read_now(&r->w[0], 1, 2, 0);
	cr_assert_eq(x.state, GP_READ_PARKED);
	cr_assert_eq(x.rank, GP_WIRE_RANK_NONE, "it waits for nobody who is there");
	struct gp_join j = worker_join_of(&r->w[5], GP_WIRE_RANK_NONE);
	j.flags = GP_JOIN_READER;
	j.world = 0;
	cr_assert_eq(worker_enter_as(&r->w[5], &j), 0);
	cr_assert_eq(worker_bring(&r->w[5]), 0);
	(void)granted(&r->w[5], 1, 0);
	cr_assert_eq(worker_enter(&r->w[7], 2), 0);
	cr_assert_eq(worker_bring(&r->w[7]), 0);
	rig_run(r);
	cr_assert_eq(read_reply(&r->w[0]).state, GP_READ_GRANTED);
	rig_free(r);
}

// ---- adaptive

Test(async, an_adaptive_bound_begins_narrow_and_follows_a_straggler)
{
	struct rig *r = async_new(GP_CONSIST_ADAPTIVE, GP_ATOM_BLOCK, 2);
	r->jobs[0].bound_min = 0;
	r->jobs[0].bound = 4;
	async_up(r);
	cr_assert_eq(rig_job(r).bound, 0);
	uint32_t request = 1;
	for (uint32_t step = 1; step <= 60 && rig_job(r).bound == 0; step++) {
		push_step(&r->w[0], step);
		worker_read(&r->w[0], request++, step + 1, 0);
		rig_wait(r, 100 * RIG_MS, 3); // the other one computes
		push_step(&r->w[1], step);
		cr_assert_eq(read_reply(&r->w[0]).state, GP_READ_GRANTED);
	}
	cr_assert_eq(rig_job(r).bound, 0, "both take as long: a wider bound would not help");
	rig_free(r);
}
