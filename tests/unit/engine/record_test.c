// SPDX-License-Identifier: BSD-3-Clause
//
// Control is told every decision of a recorded job: in order, none twice, none left out, however
// far behind it is.
#include "driver.h"

static struct rig *up(uint32_t cores, uint8_t atomicity)
{
	struct rig *r = rig_new();
	r->jobs[0].recorded = true;
	r->jobs[0].atomicity = atomicity;
	r->cfg.cores_count = cores;
	r->cfg.ring_size = 64;
	rig_up(r);
	return r;
}

static void step_push(struct rig *r, uint32_t step)
{
	for (uint32_t i = 0; i < 2; i++)
		if (r->w[i].session)
			worker_push_all(&r->w[i], step, false);
	rig_run(r);
}

// Numbered without a gap; each unit of each step once.
static void expect_whole(const struct rig *r, uint32_t units, uint32_t steps)
{
	uint32_t commits = 0;
	for (uint32_t i = 0; i < r->decided_count; i++) {
		const struct gp_decision *d = &r->decided[i];
		cr_assert_eq(d->number, i + 1, "decision %u came as number %u", d->number, i + 1);
		if (d->kind == GP_DECIDED_COMMIT)
			cr_assert_eq(d->step, commits++ / units + 1);
	}
	cr_assert_eq(commits, units * steps);
}

Test(record, names_the_members_of_each_step)
{
	struct rig *r = up(2, GP_ATOM_STEP);
	step_push(r, 1);
	worker_leave(&r->w[0]);
	rig_run(r);
	worker_push_all(&r->w[1], 2, false);
	rig_run(r);
	expect_whole(r, 1, 2);
	cr_assert_eq(r->decided_count, 4);
	static const uint8_t kinds[] = {
		GP_DECIDED_VIEW, GP_DECIDED_COMMIT, GP_DECIDED_VIEW, GP_DECIDED_COMMIT};
	for (uint32_t i = 0; i < 4; i++)
		cr_assert_eq(r->decided[i].kind, kinds[i]);
	cr_assert_eq(gp_ranks_count(&r->decided[0].members), 2);
	cr_assert(gp_ranks_has(&r->decided[2].members, 1));
	cr_assert_not(gp_ranks_has(&r->decided[2].members, 0));
	cr_assert_eq(r->decided[3].view, 2);
	rig_free(r);
}

// Half of control's ring is for the record, the rest for joins; then the job waits for control.
Test(record, a_control_that_does_not_read_holds_the_job_and_loses_nothing)
{
	enum { STEPS = 400 };
	struct rig *r = up(2, GP_ATOM_BLOCK);
	uint32_t before = r->decided_count;
	r->no_control = true;
	uint32_t step = 1;
	for (; step <= STEPS && rig_job(r).generation == step - 1; step++)
		step_push(r, step);
	cr_assert_lt(step, STEPS, "the job went on without its record");
	cr_assert_gt(step, 64, "it waits for lack of room only");
	cr_assert_eq(r->decided_count, before);
	r->no_control = false;
	rig_run(r);
	cr_assert_eq(rig_job(r).generation, step - 1);
	expect_whole(r, BLOCKS, step - 1);
	step_push(r, step);
	expect_whole(r, BLOCKS, step);
	rig_free(r);
}

// Who may join asks control over the same ring.
Test(record, leaves_room_for_joins)
{
	struct rig *r = up(1, GP_ATOM_BLOCK);
	r->no_control = true;
	for (uint32_t step = 1; step <= 40; step++)
		step_push(r, step);
	struct gp_join j = worker_join_of(&r->w[2], GP_WIRE_RANK_NONE);
	j.flags = GP_JOIN_READER;
	j.world = 0;
	worker_hello(&r->w[2], 0, RIG_PAYLOAD, GP_WIRE_VERSION);
	rig_run(r);
	struct gp_hello hello;
	gp_wire_get_hello(&seen_last(&r->w[2], GP_WIRE_HELLO_REPLY, 0)->m, &hello);
	memcpy(r->w[2].cookie[0], hello.cookie, sizeof(hello.cookie));
	worker_join(&r->w[2], 0, &j);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_CONTROL_FULL), 0);
	r->no_control = false;
	rig_run(r);
	cr_assert_eq(seen_count(&r->w[2], GP_WIRE_WELCOME), 1);
	expect_whole(r, BLOCKS, 40);
	rig_free(r);
}

Test(record, comes_before_the_cut_that_rests_on_it)
{
	struct rig *r = up(2, GP_ATOM_STEP);
	r->no_control = true;
	for (uint32_t step = 1; step <= 60; step++) // more than the record's half of the ring
		step_push(r, step);
	cr_assert_eq(gp_registrar_cut(r->reg, 1), 0);
	rig_run(r);
	r->no_control = false;
	rig_run(r);
	cr_assert_eq(r->cuts_ready, 1);
	const struct gp_decision *known = &r->decided[r->decided_before_cut - 1];
	cr_assert_geq(known->step, r->cut_step, "cut of step %u, but the record ends at %u",
		r->cut_step, known->step);
	gp_registrar_cut_release(r->reg, 1);
	expect_whole(r, 1, 60);
	rig_free(r);
}

// In a quorum's job cores take decisions one at a time; control does not apply any.
Test(record, of_a_quorum_says_who_was_in_each_step)
{
	struct rig *r = rig_new();
	struct gp_job_config *j = &r->jobs[0];
	j->recorded = true;
	j->consistency = GP_CONSIST_QUORUM;
	j->workers = 3;
	j->quorum_min = 2;
	j->cuts_max = 4;
	j->stale_max = UINT32_MAX;
	j->memory_max = 8 << 20;
	r->cfg.cores_count = 2;
	rig_up(r);
	for (uint32_t step = 1; step <= 20; step++) {
		worker_push_all(&r->w[0], step, false);
		worker_push_all(&r->w[2], step, false);
		rig_run(r);
	}
	uint32_t step = 0;
	for (uint32_t i = 0; i < r->decided_count; i++) {
		const struct gp_decision *d = &r->decided[i];
		cr_assert_eq(d->number, i + 1);
		if (d->kind != GP_DECIDED_COMMIT)
			continue;
		cr_assert_eq(d->step, ++step);
		cr_assert_eq(gp_ranks_count(&d->members), 2);
		cr_assert(gp_ranks_has(&d->members, 0) && gp_ranks_has(&d->members, 2));
	}
	cr_assert_eq(step, 20);
	rig_free(r);
}
