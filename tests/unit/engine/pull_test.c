// SPDX-License-Identifier: BSD-3-Clause
#include "driver.h"

static void step_all(struct rig *r, uint32_t step)
{
	for (uint32_t i = 0; i < r->jobs[0].workers; i++)
		worker_push_all(&r->w[i], step, false);
	rig_run(r);
	cr_assert_eq(rig_job(r).generation, step);
}

static struct rig *trained(uint32_t steps)
{
	struct rig *r = rig_new();
	r->jobs[0].kind = GP_KIND_TRAIN;
	rig_up(r);
	worker_push_all(&r->w[0], 0, false);
	rig_run(r);
	for (uint32_t step = 1; step <= steps; step++)
		step_all(r, step);
	for (uint32_t i = 0; i < 2; i++)
		seen_clear(&r->w[i]);
	return r;
}

Test(pull, the_newest_and_an_exact_generation_are_the_same_bytes)
{
	struct rig *r = trained(3);
	worker_pull(&r->w[0], 0, 4, GP_WIRE_STEP_NEWEST, false);
	worker_pull(&r->w[1], 0, 4, 3, false);
	rig_run(r);
	float a[BLOCK_ELEMS], b[BLOCK_ELEMS];
	for (uint32_t k = 0; k < BLOCKS; k++) {
		const struct seen *s = seen_result(&r->w[0], k, 3);
		result_values(s, a);
		result_values(seen_result(&r->w[1], k, 3), b);
		cr_assert_not(s->m.h.flags & GP_WIRE_F_TENTATIVE);
		cr_assert_eq(memcmp(a, b, 4 * model_elems(k)), 0);
	}
	rig_free(r);
}

Test(pull, a_reader_may)
{
	struct rig *r = trained(1);
	struct gp_join j = worker_join_of(&r->w[4], GP_WIRE_RANK_NONE);
	j.flags = GP_JOIN_READER;
	cr_assert_eq(worker_enter_as(&r->w[4], &j), 0);
	worker_pull(&r->w[4], 0, 4, GP_WIRE_STEP_NEWEST, false);
	rig_run(r);
	cr_assert_eq(seen_count(&r->w[4], GP_WIRE_RESULT), BLOCKS);
	rig_free(r);
}

Test(pull, of_what_is_gone_is_refused)
{
	struct rig *r = trained(4);
	worker_pull(&r->w[0], 1, 1, 1, true);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_GONE), 1);
	struct gp_refuse x;
	gp_wire_get_refuse(&seen_last(&r->w[0], GP_WIRE_REFUSE, 0)->m, &x);
	cr_assert_eq(x.reason, GP_REFUSAL_GONE);
	cr_assert(x.what == 1 && x.seen == 1 && x.expected == 4);
	rig_free(r);
}

Test(pull, of_the_future_is_acknowledged_only)
{
	struct rig *r = trained(1);
	worker_pull(&r->w[0], 0, 4, 2, false);
	rig_run(r);
	cr_assert_eq(seen_count(&r->w[0], GP_WIRE_RESULT), 0);
	cr_assert_eq(seen_count(&r->w[0], GP_WIRE_ACK), 1);
	step_all(r, 2);
	cr_assert_eq(seen_count(&r->w[0], GP_WIRE_RESULT), 0);
	rig_free(r);
}

Test(pull, is_held_until_the_commit_and_a_newer_one_replaces_it)
{
	struct rig *r = trained(1);
	worker_pull(&r->w[0], 0, 4, 2, true);
	worker_pull(&r->w[1], 0, 4, 2, true);
	rig_run(r);
	worker_pull(&r->w[1], 3, 1, 3, true);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_PULL_HELD), 3);
	step_all(r, 2);
	cr_assert_eq(seen_count(&r->w[0], GP_WIRE_RESULT), BLOCKS);
	cr_assert_eq(seen_count(&r->w[1], GP_WIRE_RESULT), 0);
	step_all(r, 3);
	cr_assert_eq(seen_count(&r->w[0], GP_WIRE_RESULT), BLOCKS);
	cr_assert_eq(seen_count(&r->w[1], GP_WIRE_RESULT), 1);
	rig_free(r);
}

Test(pull, of_the_newest_before_there_is_one_gets_the_first)
{
	for (uint8_t kind = GP_KIND_REDUCE; kind <= GP_KIND_TRAIN; kind++) {
		struct rig *r = rig_new();
		uint32_t first = kind == GP_KIND_TRAIN ? 0 : 1;
		r->jobs[0].kind = kind;
		rig_up(r);
		worker_pull(&r->w[1], 0, 4, GP_WIRE_STEP_NEWEST, true);
		rig_run(r);
		worker_push_all(&r->w[0], first, false);
		if (first == 1)
			worker_push_all(&r->w[1], first, false);
		rig_run(r);
		cr_assert_eq(seen_count(&r->w[1], GP_WIRE_RESULT), BLOCKS);
		cr_assert(seen_result(&r->w[1], 0, first));
		rig_free(r);
	}
}

Test(pull, of_the_newest_is_whole_while_units_are_a_step_ahead)
{
	struct rig *r = rig_new();
	r->jobs[0].kind = GP_KIND_TRAIN;
	r->jobs[0].atomicity = GP_ATOM_BLOCK;
	rig_up(r);
	worker_push_all(&r->w[0], 0, false);
	rig_run(r);
	step_all(r, 1);
	for (uint32_t i = 0; i < 2; i++)
		worker_push_block(&r->w[i], 2, 0, false);
	rig_run(r);
	cr_assert(seen_commit(&r->w[0], GP_DECISION_COMMIT, 0, 2));
	worker_pull(&r->w[0], 0, 4, GP_WIRE_STEP_NEWEST, false);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_GONE), 0);
	for (uint32_t b = 0; b < BLOCKS; b++)
		cr_assert(seen_result(&r->w[0], b, 1), "block %u of generation 1", b);
	rig_free(r);
}

Test(pull, answers_at_most_a_window_of_blocks)
{
	struct rig *r = rig_new();
	r->jobs[0].window = 3;
	rig_up(r);
	step_all(r, 1);
	worker_pull(&r->w[0], 0, 4, 1, false);
	rig_run(r);
	cr_assert_eq(seen_count(&r->w[0], GP_WIRE_RESULT), 3);
	rig_free(r);
}

Test(pull, that_names_a_block_many_times_is_refused)
{
	struct rig *r = trained(1);
	struct worker *w = &r->w[0];
	struct gp_section s[GP_WIRE_SECTIONS_MAX];
	for (uint32_t i = 0; i < GP_WIRE_SECTIONS_MAX; i++)
		s[i] = (struct gp_section){.block = 0, .run = BLOCKS, .weight = 0};
	struct gp_header h = worker_header(w, 0, GP_WIRE_PULL);
	h.step = 9;
	h.flags = GP_WIRE_F_WANT;
	h.sections = GP_WIRE_SECTIONS_MAX;
	worker_send(w, 0, &h, s, NULL, 0);
	for (uint32_t i = 0; i < GP_WIRE_SECTIONS_MAX; i++)
		s[i].weight = 1;
	h.type = GP_WIRE_PUSH;
	h.step = 1;
	worker_send(w, 0, &h, s, NULL, 0);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_BAD_SECTION), 2);
	cr_assert_eq(seen_count(w, GP_WIRE_RESULT), 0);
	rig_free(r);
}

Test(pull, held_by_a_session_that_ended_is_forgotten)
{
	struct rig *r = trained(1);
	struct gp_join j = worker_join_of(&r->w[4], GP_WIRE_RANK_NONE);
	j.flags = GP_JOIN_READER;
	cr_assert_eq(worker_enter_as(&r->w[4], &j), 0);
	worker_pull(&r->w[4], 0, 4, 2, true);
	rig_run(r);
	worker_leave(&r->w[4]);
	rig_run(r);
	seen_clear(&r->w[4]);
	char why[256];
	cr_assert(gp_engine_at_rest(r->e, why, sizeof(why)), "%s", why);
	step_all(r, 2);
	cr_assert_eq(r->w[4].seen_count, 0);
	rig_free(r);
}

Test(heartbeat, tells_where_the_job_stands)
{
	struct rig *r = rig_new();
	struct gp_heartbeat_reply x;
	rig_up(r);
	step_all(r, 1);
	worker_push_block(&r->w[0], 2, 0, false);
	worker_heartbeat(&r->w[0], 0, r->w[0].decision);
	rig_run(r);
	gp_wire_get_heartbeat_reply(&seen_last(&r->w[0], GP_WIRE_HEARTBEAT_REPLY, 0)->m, &x);
	cr_assert_eq(x.time, 99);
	cr_assert_eq(x.generation, 1);
	cr_assert_eq(x.next_step, 2);
	cr_assert_eq(x.view, 1);
	cr_assert_eq(x.view_first_step, 1);
	cr_assert_eq(x.members, 2);
	cr_assert_eq(x.missing, 1);
	cr_assert_eq(x.missing_rank, 1);
	cr_assert_eq(x.state, GP_STATE_RUNNING);
	cr_assert_eq(x.lowest, 0);
	cr_assert_eq(x.flags, GP_HEARTBEAT_MEMBER | GP_HEARTBEAT_COUNTED | GP_HEARTBEAT_AHEAD);
	rig_free_busy(r);
}

// A rank's next life is no member of a view that names the life before.
Test(heartbeat, tells_who_is_a_member)
{
	struct rig *r = rig_new();
	struct gp_heartbeat_reply x;
	rig_up(r);
	step_all(r, 1);
	struct worker *w = &r->w[7];
	struct gp_join j = worker_join_of(w, 1);
	j.flags = GP_JOIN_REPLACE;
	cr_assert_eq(worker_enter_as(w, &j), 0);
	worker_heartbeat(w, 0, 0);
	rig_run(r);
	gp_wire_get_heartbeat_reply(&seen_last(w, GP_WIRE_HEARTBEAT_REPLY, 0)->m, &x);
	cr_assert_eq(x.flags & GP_HEARTBEAT_MEMBER, 0);
	cr_assert_eq(worker_bring(w), 0);
	rig_run(r);
	worker_heartbeat(w, 0, 0);
	rig_run(r);
	gp_wire_get_heartbeat_reply(&seen_last(w, GP_WIRE_HEARTBEAT_REPLY, 0)->m, &x);
	cr_assert_eq(x.view, rig_job(r).view);
	cr_assert_eq(x.flags, GP_HEARTBEAT_MEMBER | GP_HEARTBEAT_COUNTED | GP_HEARTBEAT_AHEAD);
	rig_free_busy(r);
}

Test(heartbeat, brings_the_commits_that_a_worker_lacks)
{
	struct rig *r = rig_new();
	rig_up(r);
	for (uint32_t step = 1; step <= 50; step++)
		step_all(r, step);
	seen_clear(&r->w[0]);
	worker_heartbeat(&r->w[0], 0, 3);
	rig_run(r);
	struct gp_commit c;
	cr_assert_eq(seen_count(&r->w[0], GP_WIRE_COMMIT), 2);
	gp_wire_get_commit(&seen_last(&r->w[0], GP_WIRE_COMMIT, 1)->m, &c);
	cr_assert(c.first == 4 && c.n == 32);
	gp_wire_get_commit(&seen_last(&r->w[0], GP_WIRE_COMMIT, 0)->m, &c);
	cr_assert(c.first == 36 && c.n == 16);
	seen_clear(&r->w[0]);
	worker_heartbeat(&r->w[0], 0, UINT32_MAX / 2 + 60);
	worker_heartbeat(&r->w[0], 0, UINT32_C(1) << 31 | 60);
	rig_run(r);
	cr_assert_eq(seen_count(&r->w[0], GP_WIRE_HEARTBEAT_REPLY), 2);
	rig_free(r);
}

Test(heartbeat, to_another_core_is_acknowledged)
{
	struct rig *r = rig_new();
	r->cfg.cores_count = 2;
	rig_up(r);
	worker_heartbeat(&r->w[0], 1, 0);
	rig_run(r);
	cr_assert_eq(seen_last(&r->w[0], GP_WIRE_ACK, 0)->core, 1);
	rig_free(r);
}

static uint32_t barrier_state(const struct worker *w)
{
	uint32_t name, state;
	gp_wire_get_barrier(&seen_last(w, GP_WIRE_BARRIER_REPLY, 0)->m, &name, &state);
	return state;
}

static void barrier_call(struct worker *w, uint32_t name, uint32_t call)
{
	uint8_t body[8];
	struct gp_header h = worker_header(w, w->welcome.home, GP_WIRE_BARRIER);
	worker_send(w, w->welcome.home, &h, NULL, body, gp_wire_put_barrier(body, name, call));
}

Test(barrier, its_name_may_be_used_again)
{
	struct rig *r = rig_new();
	rig_up(r);
	for (uint32_t call = 2; call < 8; call += 2) {
		barrier_call(&r->w[1], 5, call);
		rig_run(r);
		cr_assert_eq(barrier_state(&r->w[1]), call);
		if (call > 2) { // a copy of the one before
			barrier_call(&r->w[0], 5, call - 2);
			rig_run(r);
			cr_assert_eq(barrier_state(&r->w[0]), (call - 2) | GP_BARRIER_DONE);
		}
		cr_assert_eq(barrier_state(&r->w[1]), call, "nobody else has come");
		barrier_call(&r->w[0], 5, call);
		rig_run(r);
		cr_assert_eq(barrier_state(&r->w[0]), call | GP_BARRIER_DONE);
		cr_assert_eq(barrier_state(&r->w[1]), call | GP_BARRIER_DONE);
	}
	rig_free(r);
}

// At a new server: rank 1 has passed and goes on to the next one, rank 0 has not heard of it.
Test(barrier, who_has_passed_before_waits_for_the_others)
{
	struct rig *r = rig_new();
	rig_up(r);
	barrier_call(&r->w[1], 5, 6 | GP_BARRIER_DONE);
	rig_run(r);
	barrier_call(&r->w[1], 5, 8);
	rig_run(r);
	cr_assert_eq(barrier_state(&r->w[1]), 6, "those who are still there come first");
	barrier_call(&r->w[0], 5, 6);
	rig_run(r);
	cr_assert_eq(barrier_state(&r->w[0]), 6 | GP_BARRIER_DONE);
	barrier_call(&r->w[1], 5, 8);
	rig_run(r);
	cr_assert_eq(barrier_state(&r->w[1]), 8);
	barrier_call(&r->w[0], 5, 8);
	rig_run(r);
	cr_assert_eq(barrier_state(&r->w[1]), 8 | GP_BARRIER_DONE);
	rig_free(r);
}

Test(barrier, is_complete_when_every_live_rank_is_there)
{
	struct rig *r = rig_new();
	rig_up(r);
	worker_barrier(&r->w[0], 5);
	rig_run(r);
	cr_assert_eq(barrier_state(&r->w[0]), 0);
	for (uint32_t name = 100; name < 115; name++)
		worker_barrier(&r->w[0], name); // others fill the table
	worker_barrier(&r->w[1], 5);
	rig_run(r);
	cr_assert_eq(barrier_state(&r->w[1]), 1);
	cr_assert_eq(barrier_state(&r->w[0]), 1, "without asking again");
	uint32_t told = r->w[0].seen_count;
	worker_barrier(&r->w[1], 5);
	rig_run(r);
	cr_assert_eq(r->w[0].seen_count, told, "once");
	worker_barrier(&r->w[0], 5);
	rig_run(r);
	cr_assert_eq(barrier_state(&r->w[0]), 1);
	rig_free(r);
}
