// SPDX-License-Identifier: BSD-3-Clause
//
// Asynchronous jobs: a step is a push, its commit, a read that home grants, and a pull. Rank 0 of a
// train job; the datagrams of the server are written by hand.
#include "fixture.h"

#include <criterion/criterion.h>

static struct fx f;

static void setup(void)
{
	fx_open(&f, 1472);
	f.w.kind = GP_KIND_TRAIN;
	f.w.consistency = GP_CONSIST_SSP;
}

static void teardown(void)
{
	fx_close(&f);
}

TestSuite(async, .init = setup, .fini = teardown);

static void commit(uint32_t rank, uint32_t step, uint8_t flags)
{
	const struct gp_commit_entry e = {.kind = GP_DECISION_COMMIT,
		.flags = flags,
		.ranks = 1,
		.unit = rank,
		.step = step,
		.view = 1};
	fx_decide(&f, &e);
}

static void view(uint32_t number, uint32_t step, bool member)
{
	const struct gp_commit_entry e = {.kind = GP_DECISION_VIEW,
		.flags = member ? GP_COMMIT_MEMBER : 0,
		.ranks = 1,
		.step = step,
		.view = number,
		.lowest = member ? 0 : 1};
	fx_decide(&f, &e);
}

static void read_reply(const struct gp_read_reply *r)
{
	uint8_t body[64];
	struct gp_header h = {.type = GP_WIRE_READ_REPLY, .session = SESSION};
	fx_feed(&f, &h, NULL, NULL, body, gp_wire_put_read_reply(body, r));
}

static void grant(uint32_t request, uint32_t generation, uint32_t clock)
{
	const struct gp_read_reply r = {.request = request,
		.state = GP_READ_GRANTED,
		.rank = GP_WIRE_RANK_NONE,
		.generation = generation,
		.clock = clock,
		.bound = GP_WIRE_BOUND_NONE};
	read_reply(&r);
}

static void gone(uint32_t generation)
{
	const struct gp_refuse r = {
		.reason = GP_REFUSAL_GONE, .about = GP_WIRE_PULL, .step = generation};
	fx_refuse(&f, &r);
}

static void home_tells(uint32_t view_number, uint32_t next_step, uint8_t flags)
{
	const struct gp_heartbeat_reply r = {.time = f.core->home_time,
		.generation = 100, // a cut, no step
		.view = view_number,
		.members = 2,
		.missing_rank = GP_WIRE_RANK_NONE,
		.state = GP_STATE_RUNNING,
		.next_step = next_step,
		.view_first_step = 1,
		.flags = flags};
	uint8_t body[64];
	struct gp_header h = {.type = GP_WIRE_HEARTBEAT_REPLY, .session = SESSION};
	fx_feed(&f, &h, NULL, NULL, body, gp_wire_put_heartbeat_reply(body, &r));
}

static void home_says(uint32_t view_number, uint32_t next_step)
{
	home_tells(view_number, next_step, GP_HEARTBEAT_MEMBER);
}

static void results(uint32_t generation, float value)
{
	for (uint32_t b = 0; b < BLOCKS; b++)
		fx_result(&f, b, generation, 1, false, value);
}

static struct gp_read read_sent(void)
{
	struct gp_msg m;
	struct gp_read r;
	(void)fx_next(&f, GP_WIRE_READ, &m);
	gp_wire_get_read(&m, &r);
	cr_assert_eq(m.h.pad, 48);
	return r;
}

// All blocks of the step pushed and acknowledged.
static void pushed(void)
{
	fx_push(&f, 1);
	for (int i = 0; i < 3; i++) {
		fx_tick(&f, MS);
		fx_ack(&f, f.core->lanes[0].tx_packet, UINT64_MAX, true);
	}
	cr_assert_eq(f.core->lanes[0].low, BLOCKS);
	fx_skip(&f);
}

static void committed(uint32_t step)
{
	pushed();
	commit(0, step, GP_COMMIT_YOURS);
	fx_tick(&f, 0);
}

static void waits_for(const char *part)
{
	char text[128];
	gp_ccore_waiting(f.core, text, sizeof(text));
	cr_assert_not_null(strstr(text, part), "'%s' is not in '%s'", part, text);
}

Test(async, a_step_is_pushed_committed_read_and_pulled)
{
	struct gp_msg m;
	fx_member(&f);
	fx_push(&f, 1);
	fx_tick(&f, 0);
	(void)fx_next(&f, GP_WIRE_PUSH, &m);
	cr_assert_eq(m.h.flags, 0, "there are no tentative results to want");
	fx_ack(&f, m.h.packet, 0, true);
	fx_tick(&f, 0);
	(void)fx_next(&f, GP_WIRE_PUSH, &m); // the window slides with what is accepted
	fx_ack(&f, m.h.packet, 0, true);
	fx_tick(&f, 0);
	cr_assert_eq(fx_count(&f, GP_WIRE_READ), 0);
	waits_for("blocks of step 1");
	commit(0, 1, GP_COMMIT_YOURS);
	cr_assert_not(gp_ccore_done(f.core));
	fx_tick(&f, 0);
	struct gp_read r = read_sent();
	cr_assert_eq(r.request, 1);
	cr_assert_eq(r.clock, 2);
	cr_assert_eq(r.flags, 0);
	waits_for("an answer to READ");
	grant(1, 7, 1);
	fx_tick(&f, 0);
	waits_for("blocks of generation 7");
	(void)fx_next(&f, GP_WIRE_PULL, &m);
	cr_assert_eq(m.h.step, 7);
	cr_assert_eq(m.h.flags, GP_WIRE_F_WANT);
	cr_assert_not(gp_ccore_done(f.core));
	results(7, 3);
	cr_assert(gp_ccore_done(f.core));
	cr_assert_eq(gp_ccore_step_end(f.core), 0);
	cr_assert_eq(gp_ccore_step(f.core), 2);
	cr_assert_eq(f.out[ELEMS - 1], 3.0f);
}

Test(async, without_results_it_ends_with_the_commit)
{
	fx_member(&f);
	cr_assert_eq(gp_ccore_push(f.core, 0, f.grad, 1.0f, NULL), 0);
	fx_tick(&f, 0);
	commit(0, 1, GP_COMMIT_YOURS);
	fx_tick(&f, 0);
	cr_assert(gp_ccore_done(f.core));
	cr_assert_eq(fx_count(&f, GP_WIRE_READ), 0);
	cr_assert_eq(gp_ccore_step_end(f.core), 0);
	cr_assert_eq(gp_ccore_step(f.core), 2);
}

Test(async, commits_of_others_and_of_other_steps_end_nothing)
{
	fx_member(&f);
	pushed();
	commit(1, 1, 0);
	commit(1, 2, 0);
	commit(0, 0, GP_COMMIT_YOURS);
	fx_tick(&f, 0);
	cr_assert_eq(fx_count(&f, GP_WIRE_READ), 0);
	cr_assert_eq(f.core->known, f.decision);
	cr_assert_eq(f.core->confirmed, f.decision);
}

Test(async, home_tells_of_a_commit_that_was_lost)
{
	fx_member(&f);
	pushed();
	home_says(1, 1);
	fx_tick(&f, 0);
	cr_assert_eq(fx_count(&f, GP_WIRE_READ), 0);
	home_says(1, 2);
	fx_tick(&f, 0);
	cr_assert_eq(read_sent().clock, 2);
}

Test(async, home_is_asked_for_a_commit_that_does_not_come)
{
	fx_member(&f);
	pushed();
	uint64_t rto = cc_rtt_rto(&f.core->lanes[0].rtt);
	fx_tick(&f, 2 * rto - 2 * MS);
	cr_assert_eq(fx_count(&f, GP_WIRE_HEARTBEAT), 0);
	fx_tick(&f, 3 * MS);
	cr_assert_eq(fx_count(&f, GP_WIRE_HEARTBEAT), 1);
	fx_tick(&f, MS);
	cr_assert_eq(fx_count(&f, GP_WIRE_HEARTBEAT), 1);
	home_says(1, 2);
	fx_tick(&f, 0);
	cr_assert_eq(read_sent().clock, 2);
	fx_skip(&f);
	fx_tick(&f, 30 * MS);
	cr_assert_eq(fx_count(&f, GP_WIRE_HEARTBEAT), 0);
}

Test(async, a_lost_result_of_a_generation_is_asked_for_at_once)
{
	struct gp_msg m;
	struct gp_section s;
	fx_member(&f);
	committed(1);
	grant(1, 7, 1);
	fx_tick(&f, 0);
	for (uint32_t b = 1; b <= 3; b++)
		fx_result(&f, b, 7, 1, false, 5);
	fx_skip(&f);
	fx_tick(&f, 0);
	cr_assert_eq(fx_count(&f, GP_WIRE_PULL), 0, "it may be on its way");
	fx_tick(&f, 2 * MS);
	(void)fx_next(&f, GP_WIRE_PULL, &m);
	gp_wire_get_section(&m, 0, &s);
	cr_assert_eq(s.block, 0);
	cr_assert_eq(s.run, 1);
}

static void busy(uint64_t pn, uint32_t block)
{
	uint8_t body[8];
	const struct gp_section s = {.block = block, .run = 1};
	struct gp_header h = {.type = GP_WIRE_BUSY, .session = SESSION, .step = 1, .sections = 1};
	fx_feed(&f, &h, &s, NULL, body, gp_wire_put_u64(body, pn));
}

Test(async, a_core_without_memory_is_given_time)
{
	struct gp_msg m;
	f.w.payload_max = 170; // one block each
	f.w.window = 8;
	fx_member(&f);
	fx_push(&f, 1);
	fx_tick(&f, 0);
	(void)fx_next(&f, GP_WIRE_PUSH, &m);
	fx_skip(&f);
	uint64_t wait = cc_rtt_rto(&f.core->lanes[0].rtt) / 2;
	for (uint32_t i = 0; i < 3; i++)
		busy(m.h.packet + i, i);
	fx_tick(&f, wait - MS);
	cr_assert_eq(fx_count(&f, GP_WIRE_PUSH), 0, "not even the lowest");
	fx_tick(&f, MS);
	cr_assert_eq(fx_count(&f, GP_WIRE_PUSH), 3);
	(void)fx_next(&f, GP_WIRE_PUSH, &m);
	fx_skip(&f);
	busy(m.h.packet, 0);
	fx_tick(&f, wait);
	cr_assert_eq(fx_count(&f, GP_WIRE_PUSH), 0, "the second time it takes longer");
	fx_tick(&f, wait);
	cr_assert_geq(fx_count(&f, GP_WIRE_PUSH), 1);
}

Test(async, a_parked_read_is_repeated_with_the_heartbeats_only)
{
	fx_member(&f);
	committed(1);
	fx_tick(&f, 60 * MS);
	cr_assert_eq(fx_count(&f, GP_WIRE_READ), 2, "unanswered: by the time-out");
	const struct gp_read_reply parked = {
		.request = 1, .state = GP_READ_PARKED, .rank = 3, .bound = 2};
	read_reply(&parked);
	waits_for("rank 3 (staleness bound 2)");
	fx_skip(&f);
	for (int i = 0; i < 9; i++)
		fx_tick(&f, 10 * MS);
	cr_assert_eq(fx_count(&f, GP_WIRE_READ), 0);
	fx_tick(&f, 10 * MS);
	cr_assert_eq(read_sent().request, 1);
	read_reply(&parked);
	grant(1, 4, 1);
	fx_tick(&f, 0);
	cr_assert_eq(fx_count(&f, GP_WIRE_PULL), 1);
	read_reply(&parked); // late
	results(4, 1);
	cr_assert(gp_ccore_done(f.core));
}

Test(async, an_answer_to_another_read_is_not_taken)
{
	fx_member(&f);
	committed(1);
	grant(2, 9, 1);
	fx_tick(&f, 0);
	cr_assert_eq(fx_count(&f, GP_WIRE_PULL), 0);
}

Test(async, a_generation_that_went_is_read_anew_and_kept)
{
	struct gp_msg m;
	fx_member(&f);
	committed(1);
	grant(1, 4, 1);
	fx_tick(&f, 0);
	fx_result(&f, 0, 4, 1, false, 5);
	fx_skip(&f);
	gone(4);
	gone(4);
	fx_tick(&f, 0);
	struct gp_read r = read_sent();
	cr_assert_eq(r.request, 2);
	cr_assert_eq(r.clock, 2);
	cr_assert_eq(r.flags, GP_READ_RESERVE);
	cr_assert_eq(fx_count(&f, GP_WIRE_PULL), 0);
	grant(2, 6, 1);
	fx_tick(&f, 0);
	(void)fx_next(&f, GP_WIRE_PULL, &m);
	cr_assert_eq(m.h.step, 6);
	fx_result(&f, 1, 4, 1, false, 5);
	cr_assert_eq(f.core->todo, BLOCKS, "block 0 too is of generation 6");
	results(6, 8);
	cr_assert(gp_ccore_done(f.core));
	cr_assert_eq(f.out[0], 8.0f);
}

Test(async, a_new_view_changes_nothing_for_those_who_stay)
{
	struct gp_msg m;
	fx_member(&f);
	fx_push(&f, 1);
	fx_tick(&f, 0);
	fx_ack(&f, f.core->lanes[0].tx_packet, UINT64_MAX, true);
	fx_skip(&f);
	view(2, 9, true);
	fx_tick(&f, 0);
	(void)fx_next(&f, GP_WIRE_PUSH, &m);
	struct gp_section s;
	gp_wire_get_section(&m, 0, &s);
	cr_assert_eq(s.block, 8, "what was accepted is not sent again");
	cr_assert_eq(m.h.view, 2);
	cr_assert_eq(m.h.step, 1);
	cr_assert_eq(gp_ccore_step(f.core), 1);
	cr_assert_eq(f.core->stats.aborts, 0);
}

Test(async, a_member_again_goes_on_with_the_step_of_the_view)
{
	struct gp_msg m;
	fx_member(&f);
	pushed();
	view(2, 1, false);
	cr_assert_not(gp_ccore_done(f.core));
	view(3, 12, true);
	fx_tick(&f, 0);
	(void)fx_next(&f, GP_WIRE_PUSH, &m);
	struct gp_section s;
	gp_wire_get_section(&m, 0, &s);
	cr_assert_eq(m.h.step, 12);
	cr_assert_eq(m.h.view, 3);
	cr_assert_eq(s.block, 0);
	cr_assert_eq(gp_ccore_step(f.core), 12);
	commit(0, 12, GP_COMMIT_YOURS);
	fx_tick(&f, 0);
	cr_assert_eq(read_sent().clock, 13);
}

// ---- quorum

Test(async, a_step_closed_without_this_rank_ends_when_all_of_it_has_arrived)
{
	f.w.consistency = GP_CONSIST_QUORUM;
	fx_member(&f);
	fx_push(&f, 1);
	fx_tick(&f, 0);
	commit(1, 1, 0);
	commit(1, 2, 0);
	fx_tick(&f, 0);
	cr_assert_eq(fx_count(&f, GP_WIRE_READ), 0);
	for (int i = 0; i < 2; i++) {
		fx_ack(&f, f.core->lanes[0].tx_packet, UINT64_MAX, true);
		fx_tick(&f, MS);
	}
	cr_assert_eq(read_sent().clock, 2);
	grant(1, 3, 5);
	commit(1, 6, GP_COMMIT_LATE);
	fx_tick(&f, 0);
	results(3, 1);
	cr_assert(gp_ccore_done(f.core));
	cr_assert_eq(gp_ccore_step_end(f.core), 0);
	cr_assert_eq(gp_ccore_step(f.core), 6, "after what the generation read holds");
}

Test(async, steps_closed_meanwhile_are_left_out)
{
	f.w.consistency = GP_CONSIST_QUORUM;
	fx_member(&f);
	cr_assert_eq(gp_ccore_push(f.core, 0, f.grad, 1.0f, NULL), 0);
	fx_tick(&f, 0);
	commit(0, 1, GP_COMMIT_YOURS);
	commit(1, 2, 0);
	commit(1, 3, 0);
	fx_tick(&f, 0);
	cr_assert(gp_ccore_done(f.core));
	cr_assert_eq(gp_ccore_step_end(f.core), 0);
	cr_assert_eq(gp_ccore_step(f.core), 4);
}

Test(async, where_late_ones_are_refused_a_closed_step_needs_nothing_more)
{
	f.w.consistency = GP_CONSIST_QUORUM;
	f.w.flags = GP_WELCOME_STALE_REFUSED;
	fx_member(&f);
	fx_push(&f, 1);
	fx_tick(&f, 0);
	commit(1, 1, 0);
	const struct gp_refuse r = {
		.reason = GP_REFUSAL_TOO_STALE, .about = GP_WIRE_PUSH, .step = 1};
	fx_refuse(&f, &r);
	fx_tick(&f, 0);
	cr_assert_null(gp_ccore_error(f.core));
	cr_assert_eq(f.core->stats.too_stale, 1);
	cr_assert_eq(read_sent().clock, 2);
	cr_assert_eq(f.core->lanes[0].outstanding, 0);
}

Test(async, home_tells_that_a_quorum_went_on)
{
	f.w.consistency = GP_CONSIST_QUORUM;
	fx_member(&f);
	pushed();
	home_says(1, 4);
	fx_tick(&f, 0);
	cr_assert_eq(read_sent().clock, 2);
	cr_assert_eq(f.core->closed, 3);
}

Test(async, a_pull_between_steps_goes_on_with_the_quorum)
{
	float *out[1] = {f.out};
	f.w.consistency = GP_CONSIST_QUORUM;
	fx_member(&f);
	cr_assert_eq(gp_ccore_pull(f.core, out), 0);
	fx_tick(&f, 0);
	cr_assert_eq(read_sent().clock, 1);
	struct gp_read_reply parked = {.request = 1,
		.state = GP_READ_PARKED,
		.rank = GP_WIRE_RANK_NONE,
		.bound = GP_WIRE_BOUND_NONE};
	read_reply(&parked);
	waits_for("enough workers to join");
	parked.rank = 1;
	read_reply(&parked);
	waits_for("rank 1");
	grant(1, 2, 6);
	fx_tick(&f, 0);
	results(2, 1);
	cr_assert(gp_ccore_done(f.core));
	cr_assert_eq(gp_ccore_pull_end(f.core), 2);
	cr_assert_eq(gp_ccore_step(f.core), 7, "what it computes now is for step 7");
}

// ---- initial parameters, readers

static float *params[1] = {f.out};

Test(async, who_joins_later_begins_with_a_read)
{
	f.w.next_step = 20;
	fx_member(&f);
	cr_assert_eq(gp_ccore_init(f.core, params), 0);
	cr_assert_not(gp_ccore_done(f.core));
	fx_tick(&f, 0);
	cr_assert_eq(read_sent().clock, 20);
	grant(1, 4, 19);
	fx_tick(&f, 0);
	results(4, 2);
	cr_assert(gp_ccore_done(f.core));
	cr_assert_eq(gp_ccore_pull_end(f.core), 4);
	cr_assert_eq(gp_ccore_step(f.core), 20);
	cr_assert_eq(f.out[0], 2.0f);
}

Test(async, step_0_is_the_lowest_ranks_and_goes_as_ever)
{
	struct gp_msg m;
	f.w.next_step = 0;
	fx_member(&f);
	cr_assert_eq(gp_ccore_init(f.core, params), 0);
	fx_tick(&f, 0);
	(void)fx_next(&f, GP_WIRE_PUSH, &m);
	cr_assert_eq(m.h.step, 0);
	cr_assert_eq(m.h.flags, GP_WIRE_F_WANT);
	view(2, 0, true);
	fx_tick(&f, 0);
	(void)fx_next(&f, GP_WIRE_PUSH, &m);
	cr_assert_eq(m.h.view, 2, "sent again in the new view");
	for (uint32_t b = 0; b < BLOCKS; b++)
		fx_result(&f, b, 0, 2, true, 1);
	const struct gp_commit_entry e = {
		.kind = GP_DECISION_COMMIT, .ranks = 2, .unit = 0, .step = 0, .view = 2};
	cr_assert_not(gp_ccore_done(f.core));
	fx_decide(&f, &e);
	cr_assert(gp_ccore_done(f.core));
	cr_assert_eq(gp_ccore_pull_end(f.core), 0);
	cr_assert_eq(gp_ccore_step(f.core), 1);
}

Test(async, who_comes_too_late_for_generation_0_reads_another)
{
	f.w.next_step = 0;
	fx_member(&f);
	f.core->lowest = 1;
	cr_assert_eq(gp_ccore_init(f.core, params), 0);
	fx_tick(&f, 0);
	gone(0);
	fx_tick(&f, 0);
	struct gp_read r = read_sent();
	cr_assert_eq(r.clock, 1);
	cr_assert_eq(r.flags, GP_READ_RESERVE);
	grant(1, 3, 2);
	fx_tick(&f, 0);
	results(3, 1);
	cr_assert(gp_ccore_done(f.core));
	cr_assert_eq(gp_ccore_pull_end(f.core), 3);
	cr_assert_eq(gp_ccore_step(f.core), 1);
}

Test(async, a_view_after_step_0_is_read_not_sent_again)
{
	f.w.next_step = 0;
	fx_member(&f);
	cr_assert_eq(gp_ccore_init(f.core, params), 0);
	fx_tick(&f, 0);
	fx_skip(&f);
	view(2, 6, true);
	fx_tick(&f, 0);
	cr_assert_eq(fx_count(&f, GP_WIRE_PUSH), 0);
	cr_assert_eq(read_sent().clock, 1);
}

Test(async, a_reader_waits_for_the_first_generation)
{
	fx_member(&f);
	f.core->cfg.flags = GP_CLIENT_READER;
	f.core->member = false;
	cr_assert_eq(gp_ccore_pull(f.core, params), 0);
	fx_tick(&f, 0);
	cr_assert_eq(read_sent().clock, 0);
	const struct gp_read_reply nothing = {
		.request = 1, .state = GP_READ_NOTHING, .rank = GP_WIRE_RANK_NONE};
	read_reply(&nothing);
	waits_for("a first generation");
	fx_tick(&f, 19 * MS);
	cr_assert_eq(fx_count(&f, GP_WIRE_READ), 0);
	fx_tick(&f, MS);
	cr_assert_eq(read_sent().request, 1);
	read_reply(&nothing);
	grant(1, 0, 0);
	fx_tick(&f, 0);
	results(0, 9);
	cr_assert(gp_ccore_done(f.core));
	cr_assert_eq(gp_ccore_pull_end(f.core), 0);
}

Test(async, a_standby_is_read_by_its_generation)
{
	f.w.flags = GP_WELCOME_STANDBY;
	fx_member(&f);
	cr_assert_eq(gp_ccore_pull(f.core, params), 0);
	fx_tick(&f, 0);
	cr_assert_eq(fx_count(&f, GP_WIRE_READ), 0);
	cr_assert_eq(fx_count(&f, GP_WIRE_HEARTBEAT), 1);
	home_says(1, 1);
	fx_tick(&f, 0);
	results(100, 9);
	cr_assert(gp_ccore_done(f.core));
}

// ---- decisions that are no longer kept

Test(async, decisions_lost_for_good_are_passed_over)
{
	fx_member(&f);
	pushed();
	f.decision += 5000;
	commit(1, 40, 0);
	cr_assert_lt(f.core->known, f.decision);
	for (int i = 0; i < 4; i++)
		home_says(9, 1);
	commit(1, 41, 0);
	cr_assert_eq(f.core->known, f.decision);
	home_says(9, 2);
	cr_assert_eq(f.core->view, 9);
	fx_tick(&f, 0);
	cr_assert_eq(read_sent().clock, 2);
}

// Home's log has gone round since the view that admitted this rank.
Test(async, a_joiner_whose_view_is_lost_for_good_gets_in)
{
	fx_laid_out(&f);
	f.decision += 5000;
	commit(1, 40, 0);
	home_tells(9, 1, 0);
	for (int i = 0; i < 3; i++)
		home_tells(9, 41, 0); // its log is longer than it is
	commit(1, 41, 0);
	cr_assert_eq(f.core->known, f.decision);
	home_tells(9, 41, 0);
	cr_assert_not(gp_ccore_ready(f.core), "home has not let it in yet");
	home_tells(10, 42, GP_HEARTBEAT_MEMBER);
	cr_assert(gp_ccore_ready(f.core));
	cr_assert_eq(f.core->view, 10);
	cr_assert_eq(gp_ccore_init(f.core, params), 0);
	fx_tick(&f, 0);
	cr_assert_eq(read_sent().clock, 42);
	grant(1, 100, 41);
	results(100, 2);
	fx_tick(&f, 0);
	cr_assert(gp_ccore_done(f.core));
	(void)gp_ccore_pull_end(f.core);
	cr_assert_eq(gp_ccore_step(f.core), 42);
}
