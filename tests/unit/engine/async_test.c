// SPDX-License-Identifier: BSD-3-Clause
//
// Asynchronous jobs: each rank's pushes count by themselves, generations are cuts.
#include "driver.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define LR 0.5f

static struct rig *async_new(uint8_t consistency, uint8_t atomicity, uint32_t workers)
{
	struct rig *r = rig_new();
	struct gp_job_config *j = &r->jobs[0];
	j->kind = GP_KIND_TRAIN;
	j->consistency = consistency;
	j->atomicity = atomicity;
	j->workers = workers;
	j->bound = 1;
	j->stale_max = UINT32_MAX;
	j->quorum_min = workers;
	j->cuts_max = 4;
	j->memory_max = 8 << 20;
	j->optim = (struct gp_optim_params){.kind = GP_OPTIM_SGD, .lr = LR};
	return r;
}

// The initial parameters are those of rank 0 at step 0.
static void async_up(struct rig *r)
{
	rig_up(r);
	worker_push_all(&r->w[0], 0, false);
	rig_run(r);
	cr_assert(seen_commit(&r->w[1], GP_DECISION_COMMIT, 0, 0));
}

static void worker_read(struct worker *w, uint32_t request, uint32_t clock, uint32_t flags)
{
	uint8_t body[16];
	struct gp_header h = worker_header(w, w->welcome.home, GP_WIRE_READ);
	h.pad = 48;
	const struct gp_read x = {.request = request, .clock = clock, .flags = flags};
	worker_send(w, w->welcome.home, &h, NULL, body, gp_wire_put_read(body, &x));
}

static struct gp_read_reply read_reply(const struct worker *w)
{
	const struct seen *s = seen_last(w, GP_WIRE_READ_REPLY, 0);
	struct gp_read_reply x;
	cr_assert(s, "a read is answered");
	gp_wire_get_read_reply(&s->m, &x);
	return x;
}

static struct gp_read_reply read_now(
	struct worker *w, uint32_t request, uint32_t clock, uint32_t flags)
{
	worker_read(w, request, clock, flags);
	rig_run(w->r);
	struct gp_read_reply x = read_reply(w);
	cr_assert_eq(x.request, request);
	return x;
}

static uint32_t granted(struct worker *w, uint32_t request, uint32_t clock)
{
	struct gp_read_reply x = read_now(w, request, clock, 0);
	cr_assert_eq(x.state, GP_READ_GRANTED);
	return x.generation;
}

static void pull_block(struct worker *w, uint32_t block, uint32_t generation, float *values)
{
	worker_pull(w, block, 1, generation, false);
	rig_run(w->r);
	const struct seen *s = seen_result(w, block, generation);
	cr_assert(s, "block %u of generation %u", block, generation);
	cr_assert_eq(s->m.h.flags & GP_WIRE_F_TENTATIVE, 0);
	result_values(s, values);
}

struct given {
	uint32_t rank, step;
	float scale; // of the gradient
};

// Parameters after plain sgd with each of these by itself.
static void expect_model(
	struct worker *w, uint32_t generation, const struct given *given, uint32_t count)
{
	for (uint32_t b = 0; b < BLOCKS; b++) {
		float got[BLOCK_ELEMS];
		pull_block(w, b, generation, got);
		for (uint32_t i = 0; i < model_elems(b); i++) {
			float x = rig_value(0, 0, b, i);
			for (uint32_t k = 0; k < count; k++) {
				float g = rig_value(given[k].rank, given[k].step, b, i);
				x = x - LR * (g * given[k].scale);
			}
			cr_assert_eq(got[i], x, "block %u element %u: %g, not %g", b, i,
				(double)got[i], (double)x);
		}
	}
}
#define EXPECT_MODEL(w, generation, ...)                                                           \
	do {                                                                                       \
		const struct given given_[] = {__VA_ARGS__};                                       \
		expect_model(w, generation, given_, GP_ARRAY_SIZE(given_));                        \
	} while (0)

static void push_step(struct worker *w, uint32_t step)
{
	worker_push_all(w, step, false);
	rig_run(w->r);
	cr_assert(seen_commit(w, GP_DECISION_COMMIT, w->rank, step), "rank %u step %u", w->rank,
		step);
}

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

// ---- quorum

static void expect_sum(struct worker *w, uint32_t generation, const struct given *x, uint32_t n)
{
	float got[BLOCK_ELEMS];
	for (uint32_t b = 0; b < BLOCKS; b++) {
		pull_block(w, b, generation, got);
		for (uint32_t i = 0; i < model_elems(b); i++) {
			float s = rig_value(x[0].rank, x[0].step, b, i) * x[0].scale;
			for (uint32_t k = 1; k < n; k++)
				s = s + rig_value(x[k].rank, x[k].step, b, i) * x[k].scale;
			cr_assert_eq(got[i], s, "block %u element %u: %g not %g, n %u", b, i,
				(double)got[i], (double)s, n);
		}
	}
}
#define EXPECT_SUM(w, generation, ...)                                                             \
	do {                                                                                       \
		const struct given given_[] = {__VA_ARGS__};                                       \
		expect_sum(w, generation, given_, GP_ARRAY_SIZE(given_));                          \
	} while (0)

static struct rig *quorum_up(uint8_t policy, uint32_t cores)
{
	struct rig *r = async_new(GP_CONSIST_QUORUM, GP_ATOM_STEP, 3);
	r->jobs[0].kind = GP_KIND_REDUCE;
	r->jobs[0].quorum_min = 2;
	r->jobs[0].quorum_wait_ns = 0;
	r->jobs[0].stale = policy;
	r->cfg.cores_count = cores;
	rig_up(r);
	return r;
}

Test(async, a_quorum_closes_the_step_and_the_late_one_counts_next)
{
	for (uint8_t policy = GP_STALE_HOLD; policy <= GP_STALE_SCALE; policy++) {
		for (uint32_t cores = 1; cores <= 2; cores++) {
			struct rig *r = quorum_up(policy, cores);
			cr_assert_eq(read_now(&r->w[0], 1, 1, 0).state, GP_READ_PARKED,
				"there is no result yet");
			worker_push_block(&r->w[1], 1, 0, false); // begun
			worker_push_all(&r->w[2], 1, false);
			worker_push_all(&r->w[0], 1, false);
			rig_run(r);
			cr_assert(seen_commit(&r->w[1], GP_DECISION_COMMIT, 0, 1));
			uint32_t g = granted(&r->w[0], 2, 2);
			EXPECT_SUM(&r->w[0], g, {0, 1, 1}, {2, 1, 1});
			worker_push_all(&r->w[1], 1, false); // the rest of it
			worker_push_all(&r->w[1], 2, false);
			worker_push_all(&r->w[0], 2, false);
			rig_run(r);
			float late = policy == GP_STALE_SCALE ? 0.5f : 1.0f;
			g = granted(&r->w[0], 3, 3);
			EXPECT_SUM(&r->w[0], g, {0, 2, 1}, {1, 1, late}, {1, 2, 1});
			cr_assert_eq(read_reply(&r->w[0]).clock, 2);
			rig_free(r);
		}
	}
}

Test(async, a_quorum_that_refuses_what_is_late)
{
	struct rig *r = quorum_up(GP_STALE_REFUSE, 1);
	worker_push_block(&r->w[1], 1, 0, false);
	worker_push_all(&r->w[2], 1, false);
	worker_push_all(&r->w[0], 1, false);
	rig_run(r);
	worker_push_block(&r->w[1], 1, 1, false);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_STALE), 1);
	for (uint32_t step = 2; step <= 4; step++) {
		worker_push_all(&r->w[1], step, false);
		worker_push_all(&r->w[0], step, false);
		rig_run(r);
	}
	EXPECT_SUM(&r->w[1], granted(&r->w[1], 1, 5), {0, 4, 1}, {1, 4, 1});
	rig_free(r);
}

Test(async, a_quorum_waits_for_the_others_as_long_as_it_says)
{
	struct rig *r = async_new(GP_CONSIST_QUORUM, GP_ATOM_STEP, 3);
	r->jobs[0].quorum_min = 2;
	r->jobs[0].quorum_wait_ns = 100 * RIG_MS;
	async_up(r);
	worker_push_all(&r->w[0], 1, false);
	worker_push_all(&r->w[1], 1, false);
	rig_run(r);
	cr_assert_eq(rig_job(r).clock_max, 0, "two are enough, the third has time left");
	worker_push_all(&r->w[2], 1, false);
	rig_run(r);
	cr_assert_eq(rig_job(r).clock_max, 1, "all are there");
	worker_push_all(&r->w[0], 2, false);
	worker_push_all(&r->w[2], 2, false);
	rig_run(r);
	cr_assert_eq(rig_job(r).clock_max, 1);
	rig_wait(r, 200 * RIG_MS, 7);
	cr_assert_eq(rig_job(r).clock_max, 2);
	rig_free(r);
}

Test(async, a_quorum_trains_on_the_mean_of_those_who_came)
{
	struct rig *r = async_new(GP_CONSIST_QUORUM, GP_ATOM_STEP, 3);
	r->jobs[0].quorum_min = 2;
	r->jobs[0].mean = true;
	async_up(r);
	worker_push_all(&r->w[2], 1, false);
	worker_push_all(&r->w[0], 1, false);
	rig_run(r);
	float got[BLOCK_ELEMS];
	pull_block(&r->w[0], 2, granted(&r->w[0], 1, 2), got);
	for (uint32_t i = 0; i < model_elems(2); i++) {
		float s = rig_value(0, 1, 2, i) + rig_value(2, 1, 2, i);
		cr_assert_eq(got[i], rig_value(0, 0, 2, i) - LR * (s / 2.0f));
	}
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
