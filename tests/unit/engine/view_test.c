// SPDX-License-Identifier: BSD-3-Clause
#include "driver.h"

static struct rig *up(uint32_t workers, uint32_t workers_min, uint32_t cores, uint8_t atomicity)
{
	struct rig *r = rig_new();
	r->jobs[0].workers = workers;
	r->jobs[0].workers_min = workers_min;
	r->jobs[0].atomicity = atomicity;
	r->cfg.cores_count = cores;
	rig_up(r);
	return r;
}

static void push_step(struct rig *r, uint32_t first, uint32_t last, uint32_t step)
{
	for (uint32_t i = first; i <= last; i++)
		worker_push_all(&r->w[i], step, true);
	rig_run(r);
}

// Results of the step are the sums of ranks first..last.
static void expect_sum(
	struct rig *r, const struct worker *w, uint32_t step, uint32_t first, uint32_t last)
{
	float got[BLOCK_ELEMS];
	for (uint32_t b = 0; b < BLOCKS; b++) {
		result_values(seen_result(w, b, step), got);
		for (uint32_t i = 0; i < model_elems(b); i++) {
			float sum = rig_value(first, step, b, i);
			for (uint32_t k = first + 1; k <= last; k++)
				sum = sum + rig_value(k, step, b, i);
			cr_assert_eq(got[i], sum, "block %u element %u", b, i);
		}
	}
	cr_assert_eq(rig_job(r).generation, step);
}

Test(view, leaving_makes_the_next)
{
	struct rig *r = up(3, 1, 2, GP_ATOM_STEP);
	push_step(r, 0, 2, 1);
	worker_leave(&r->w[0]);
	rig_run(r);
	cr_assert_eq(seen_count(&r->w[0], GP_WIRE_LEAVE_REPLY), 1);
	cr_assert_eq(r->w[1].view, 2);
	const struct gp_job_view v = rig_job(r);
	cr_assert(v.view == 2 && v.members == 2 && v.joined == 2);
	push_step(r, 1, 2, 2);
	expect_sum(r, &r->w[2], 2, 1, 2);
	rig_free(r);
}

Test(view, a_job_that_all_have_left_waits)
{
	struct rig *r = up(2, 1, 2, GP_ATOM_STEP);
	push_step(r, 0, 1, 1);
	worker_leave(&r->w[0]);
	rig_run(r);
	cr_assert_eq(rig_job(r).state, GP_STATE_RUNNING);
	worker_leave(&r->w[1]);
	rig_run(r);
	cr_assert_eq(rig_job(r).state, GP_STATE_WAITING);
	cr_assert_eq(rig_job(r).generation, 1);
	rig_free(r);
}

Test(view, leaving_needs_the_own_incarnation)
{
	struct rig *r = up(2, 1, 1, GP_ATOM_STEP);
	r->w[0].incarnation++;
	worker_leave(&r->w[0]);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_NOT_ALLOWED), 1);
	cr_assert_eq(rig_job(r).joined, 2);
	rig_free(r);
}

Test(view, a_silent_member_is_lost_with_what_it_had_not_finished)
{
	struct rig *r = up(3, 1, 2, GP_ATOM_STEP);
	for (uint32_t b = 0; b < 2; b++)
		worker_push_block(&r->w[0], 1, b, true); // half of the step, then silence
	push_step(r, 1, 2, 1);
	cr_assert_eq(seen_count(&r->w[1], GP_WIRE_RESULT), 2);
	rig_wait(r, RIG_TIMEOUT_NS + 200 * RIG_MS, 6);
	cr_assert_eq(r->w[1].view, 2);
	cr_assert_gt(RIG_COUNT(r, units_aborted), 0);
	cr_assert_eq(rig_job(r).joined, 2);
	push_step(r, 1, 2, 1); // the same bytes again
	push_step(r, 1, 2, 1); // and once more: it counts once
	expect_sum(r, &r->w[1], 1, 1, 2);
	struct gp_section s;
	gp_wire_get_section(&seen_result(&r->w[1], 0, 1)->m, 0, &s);
	cr_assert_eq(s.weight, 2.0f);
	rig_free(r);
}

Test(view, committed_units_stay_when_a_member_is_lost)
{
	struct rig *r = up(2, 1, 2, GP_ATOM_TENSOR);
	for (uint32_t i = 0; i < 2; i++)
		worker_push_block(&r->w[i], 1, 3, true);
	worker_push_block(&r->w[0], 1, 0, true);
	rig_run(r);
	worker_leave(&r->w[0]);
	rig_run(r);
	for (uint32_t b = 0; b < 3; b++)
		worker_push_block(&r->w[1], 1, b, true);
	rig_run(r);
	cr_assert_eq(rig_job(r).generation, 1);
	struct gp_section s;
	gp_wire_get_section(&seen_result(&r->w[1], 3, 1)->m, 0, &s);
	cr_assert_eq(s.weight, 2.0f, "b was committed with both");
	gp_wire_get_section(&seen_result(&r->w[1], 0, 1)->m, 0, &s);
	cr_assert_eq(s.weight, 1.0f, "w without the one that left");
	rig_free(r);
}

Test(view, a_new_incarnation_goes_on_at_the_next_step)
{
	struct rig *r = up(2, 1, 2, GP_ATOM_STEP);
	push_step(r, 0, 1, 1);
	worker_push_block(&r->w[0], 2, 0, true);
	rig_run(r);
	struct gp_join j = worker_join_of(&r->w[5], 0);
	j.previous = r->w[0].incarnation;
	cr_assert_eq(worker_enter_as(&r->w[5], &j), 0);
	worker_attach(&r->w[5]);
	cr_assert_eq(worker_bring(&r->w[5]), 0);
	cr_assert_eq(r->w[5].welcome.next_step, 2);
	rig_run(r);
	cr_assert_gt(r->w[5].view, 1);
	cr_assert_eq(r->w[5].view, r->w[1].view);
	worker_push_all(&r->w[5], 2, true);
	worker_push_all(&r->w[1], 2, true);
	rig_run(r);
	expect_sum(r, &r->w[5], 2, 0, 1);
	rig_free(r);
}

Test(view, below_the_minimum_waits_for_a_rank_to_come_back)
{
	struct rig *r = up(2, 2, 1, GP_ATOM_STEP);
	worker_push_all(&r->w[0], 1, true);
	worker_leave(&r->w[0]);
	rig_run(r);
	cr_assert_eq(rig_job(r).view, 1);
	cr_assert_eq(worker_enter(&r->w[5], 0), 0);
	cr_assert_eq(worker_bring(&r->w[5]), 0);
	rig_run(r);
	cr_assert_eq(rig_job(r).view, 2);
	worker_push_all(&r->w[5], 1, true);
	worker_push_all(&r->w[1], 1, true);
	rig_run(r);
	expect_sum(r, &r->w[5], 1, 0, 1);
	rig_free(r);
}

Test(view, results_do_not_go_to_who_has_the_place_of_a_rank_that_left)
{
	struct rig *r = rig_new();
	r->cfg.jobs_count = 2;
	r->cfg.sessions_max = 3;
	r->jobs[0].workers_min = 2;
	rig_up(r);
	worker_push_all(&r->w[0], 1, true);
	rig_run(r);
	uint32_t place = r->w[0].session & 0xffff;
	worker_leave(&r->w[0]);
	rig_run(r);
	struct gp_join j = worker_join_of(&r->w[7], 0);
	strcpy(j.job, "other");
	cr_assert_eq(worker_enter_as(&r->w[7], &j), 0);
	cr_assert_eq(r->w[7].session & 0xffff, place, "the place was used again");
	worker_push_all(&r->w[1], 1, true);
	rig_run(r);
	cr_assert_eq(seen_count(&r->w[7], GP_WIRE_RESULT), 0, "of another job");
	rig_free(r);
}

Test(view, a_pause_of_the_server_is_not_the_workers_silence)
{
	struct rig *r = rig_new();
	rig_up(r);
	r->now += 10 * r->jobs[0].timeout_ns; // nothing was turned meanwhile
	rig_run(r);
	cr_assert_eq(rig_job(r).members, 2);
	cr_assert_eq(rig_job(r).joined, 2);
	rig_wait(r, 3 * r->jobs[0].timeout_ns, 1 << 0);
	cr_assert_eq(rig_job(r).joined, 1, "rank 1 was silent while the server listened");
	rig_free(r);
}

Test(view, a_member_that_sends_anything_is_alive)
{
	struct rig *r = up(2, 1, 2, GP_ATOM_STEP);
	rig_wait(r, 5 * RIG_TIMEOUT_NS, 3);
	cr_assert_eq(rig_job(r).view, 1);
	cr_assert_eq(rig_job(r).joined, 2);
	rig_free(r);
}

Test(decision, reaches_slow_cores_through_small_rings)
{
	struct rig *r = rig_new();
	r->cfg.cores_count = 4;
	r->cfg.ring_size = 64;
	r->jobs[0].atomicity = GP_ATOM_BLOCK;
	rig_up(r);
	for (uint32_t step = 1; step <= 60; step++) {
		r->asleep = 1u << (1 + step % 3);
		push_step(r, 0, 1, step);
		r->asleep = 0;
		rig_run(r);
		expect_sum(r, &r->w[step % 2], step, 0, 1);
		seen_clear(&r->w[0]);
		seen_clear(&r->w[1]);
	}
	rig_free(r);
}

Test(decision, a_core_without_blocks_may_sleep_for_long)
{
	struct rig *r = rig_new();
	static const struct tensor one = {.name = "x", .dims_count = 1, .dims = {4}};
	r->cfg.cores_count = 3;
	r->jobs[0].workers = 1;
	rig_start(r);
	cr_assert_eq(worker_enter(&r->w[0], 0), 0);
	worker_attach(&r->w[0]);
	worker_register(&r->w[0], &one, 1, 0, 1);
	rig_run(r);
	r->asleep = 1u << 2;
	const struct gp_section s = {.block = 0, .run = 1, .weight = 1};
	for (uint32_t step = 1; step <= 3000; step++) {
		worker_push(&r->w[0], step, &s, NULL, false);
		rig_run(r);
		seen_clear(&r->w[0]);
	}
	uint32_t reached = rig_job(r).generation;
	cr_assert_gt(reached, 200);
	r->asleep = 0;
	rig_run(r);
	cr_assert_geq(rig_job(r).generation, reached);
	rig_free(r);
}

Test(decision, may_come_before_controls_word_of_the_job)
{
	// Core 1 has so many commands of control before it that home is already deciding.
	struct rig *r = rig_new();
	r->cfg.cores_count = 2;
	r->jobs[0].workers = 1;
	r->cfg.jobs_count = 2;
	r->jobs[1].id = 2; // home is core 1: its registrations are answered there
	rig_start(r);
	struct worker *w = &r->w[0], *o = &r->w[1];
	cr_assert_eq(worker_enter(w, 0), 0);
	worker_attach(w);
	struct gp_join j = worker_join_of(o, 0);
	strcpy(j.job, "other");
	j.world = 2;
	cr_assert_eq(worker_enter_as(o, &j), 0);
	worker_attach(o);
	cr_assert_eq(o->welcome.home, 1);
	r->asleep = 2;
	for (uint32_t i = 0; i < 150; i++)
		worker_register(o, model, TENSORS, 0, TENSORS);
	rig_run(r);
	cr_assert_eq(worker_bring(w), 0);
	r->asleep = 0;
	rig_run(r);
	cr_assert_eq(w->view, 1);
	worker_push_all(w, 1, true);
	rig_run(r);
	cr_assert_eq(rig_job(r).generation, 1);
	rig_free(r);
}

Test(control, a_full_ring_is_an_answer)
{
	struct rig *r = rig_new();
	r->cfg.ring_size = 64;
	rig_up(r);
	r->no_control = true;
	for (uint32_t i = 0; i < 100; i++)
		worker_register(&r->w[0], model, TENSORS, 0, TENSORS);
	worker_leave(&r->w[1]);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_CONTROL_FULL), 37);
	r->no_control = false;
	rig_run(r);
	cr_assert_eq(rig_job(r).joined, 2, "the worker repeats its leave");
	rig_free(r);
}

// The old view goes on until home has decided the next: what the dead incarnation left there must
// not be completed by its successor.
Test(view, a_new_incarnation_contributes_nothing_to_the_view_of_the_one_before)
{
	struct rig *r = up(2, 2, 2, GP_ATOM_STEP);
	worker_push_all(&r->w[1], 1, true);
	worker_push_block(&r->w[0], 1, 0, true); // all of core 0, nothing of core 1, then it dies
	worker_push_block(&r->w[0], 1, 2, true);
	rig_run(r);
	struct gp_join j = worker_join_of(&r->w[5], 0);
	j.previous = r->w[0].incarnation;
	cr_assert_eq(worker_enter_as(&r->w[5], &j), 0);
	worker_attach(&r->w[5]);
	cr_assert_eq(r->w[5].view, 1, "what its welcome said");
	worker_push_block(&r->w[5], 1, 1, true);
	worker_push_block(&r->w[5], 1, 3, true);
	rig_run(r);
	cr_assert_eq(rig_job(r).generation, 0, "half of each is no contribution");
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_OTHER_VIEW), 2);
	cr_assert_eq(worker_bring(&r->w[5]), 0);
	rig_run(r);
	cr_assert_eq(r->w[5].view, 2);
	worker_push_all(&r->w[5], 1, true);
	worker_push_all(&r->w[1], 1, true);
	rig_run(r);
	expect_sum(r, &r->w[5], 1, 0, 1);
	rig_free(r);
}
