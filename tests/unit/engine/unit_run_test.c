// SPDX-License-Identifier: BSD-3-Clause
//
// Units that are done one after the other go to home, and from there to cores and workers,
// together.
#include "driver.h"

#define LOAD 16 // datagrams of a turn

static struct rig *up(uint32_t cores)
{
	struct rig *r = rig_new();
	r->cfg.cores_count = cores;
	r->jobs[0].atomicity = GP_ATOM_BLOCK;
	rig_up(r);
	for (uint32_t i = 0; i < 2; i++)
		seen_clear(&r->w[i]);
	return r;
}

// All of worker 0, then one block of worker 1 a round, so many times.
static void push_block_by_block(struct rig *r, uint32_t step, uint32_t blocks, uint32_t copies)
{
	worker_push_all(&r->w[0], step, true);
	rig_run(r);
	for (uint32_t b = 0; b < blocks; b++) {
		for (uint32_t i = 0; i < copies; i++)
			worker_push_block(&r->w[1], step, b, false);
		rig_round(r);
	}
	rig_run(r);
}

Test(unit_run, those_of_many_turns_share_a_commit)
{
	struct rig *r = up(1);
	push_block_by_block(r, 1, BLOCKS, LOAD);
	for (uint32_t i = 0; i < 2; i++) {
		const struct seen *s = seen_last(&r->w[i], GP_WIRE_COMMIT, 0);
		cr_assert_eq(seen_count(&r->w[i], GP_WIRE_COMMIT), 1);
		struct gp_commit commit;
		gp_wire_get_commit(&s->m, &commit);
		cr_assert_eq(commit.n, BLOCKS);
		cr_assert_eq(commit.first + commit.n - 1, s->m.h.decision);
		for (uint32_t b = 0; b < BLOCKS; b++)
			cr_assert(seen_commit(&r->w[i], GP_DECISION_COMMIT, b, 1));
	}
	rig_free(r);
}

Test(unit_run, without_load_each_is_told_at_once)
{
	struct rig *r = up(1);
	push_block_by_block(r, 1, BLOCKS, 1);
	cr_assert_eq(seen_count(&r->w[0], GP_WIRE_COMMIT), BLOCKS);
	rig_free(r);
}

Test(unit_run, none_waits_when_no_more_come)
{
	struct rig *r = up(1);
	push_block_by_block(r, 1, 2, LOAD);
	cr_assert(seen_commit(&r->w[0], GP_DECISION_COMMIT, 0, 1));
	cr_assert(seen_commit(&r->w[0], GP_DECISION_COMMIT, 1, 1));
	cr_assert(!seen_commit(&r->w[0], GP_DECISION_COMMIT, 2, 1));
	cr_assert_eq(rig_job(r).generation, 0);
	rig_free_busy(r);
}

Test(unit_run, every_core_applies_all_of_them)
{
	struct rig *r = up(2);
	for (uint32_t step = 1; step <= 3; step++) {
		push_block_by_block(r, step, BLOCKS, step == 2 ? 1 : LOAD);
		cr_assert_eq(rig_job(r).generation, step);
	}
	for (uint32_t b = 0; b < BLOCKS; b++) {
		cr_assert_not_null(seen_result(&r->w[0], b, 3));
		cr_assert(seen_commit(&r->w[1], GP_DECISION_COMMIT, b, 3));
	}
	rig_free(r);
}
