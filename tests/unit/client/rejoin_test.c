// SPDX-License-Identifier: BSD-3-Clause
//
// A session had again: what home's words about the job mean for the step in hand.
#include "fixture.h"

#include <criterion/criterion.h>
#include <errno.h>

static struct fx f;

// A member of view 1 that has pushed step 1, without an answer.
static void setup(void)
{
	fx_open(&f, 1472);
	fx_member(&f);
	fx_push(&f, 1);
	fx_tick(&f, 0);
}

static void teardown(void)
{
	fx_close(&f);
}

TestSuite(rejoin, .init = setup, .fini = teardown);

static void lose(void)
{
	const struct gp_refuse r = {.reason = GP_REFUSAL_FENCED, .about = GP_WIRE_HEARTBEAT};
	fx_refuse(&f, &r);
	cr_assert(gp_ccore_error(f.core));
	cr_assert(gp_ccore_can_again(f.core));
}

static void enter(void)
{
	const struct gp_ccore_again how = {
		.server = "10.0.0.2:9700", .v4 = true, .incarnation = 6, .nonce = 77};
	gp_ccore_again(f.core, &how, &f.base);
	f.w.incarnation = 6;
	f.w.decision = f.decision;
	fx_skip(&f);
	fx_tick(&f, 0);
	fx_hello_reply(&f, f.base.mtu, GP_WIRE_VERSION);
	fx_tick(&f, 0);
	fx_welcome(&f);
	fx_tick(&f, 0);
	fx_layout(&f, 1, 0);
	fx_tick(&f, 0);
	fx_layout(&f, 1, 1);
}

static void view(uint32_t number, uint32_t step)
{
	const struct gp_commit_entry e = {.kind = GP_DECISION_VIEW,
		.flags = GP_COMMIT_MEMBER,
		.ranks = 2,
		.step = step,
		.view = number};
	fx_decide(&f, &e);
	fx_tick(&f, 0);
}

static void home_says(uint32_t generation, uint32_t view_number, uint8_t flags)
{
	uint8_t body[64];
	const struct gp_heartbeat_reply r = {.time = f.core->home_time,
		.generation = generation,
		.view = view_number,
		.members = 2,
		.missing_rank = GP_WIRE_RANK_NONE,
		.state = GP_STATE_RUNNING,
		.next_step = generation + 1,
		.flags = flags};
	struct gp_header h = {.type = GP_WIRE_HEARTBEAT_REPLY, .session = SESSION};
	fx_feed(&f, &h, NULL, NULL, body, gp_wire_put_heartbeat_reply(body, &r));
	fx_tick(&f, 0);
}

#define BOTH	(GP_HEARTBEAT_MEMBER | GP_HEARTBEAT_COUNTED | GP_HEARTBEAT_AHEAD)
#define COUNTED (GP_HEARTBEAT_MEMBER | GP_HEARTBEAT_COUNTED)
#define AHEAD	(GP_HEARTBEAT_MEMBER | GP_HEARTBEAT_AHEAD)

Test(rejoin, names_its_former_life_and_sends_the_same_bytes)
{
	struct gp_msg m, first;
	struct gp_join j;
	f.seen = 0;
	const struct fx_sent *was = fx_next(&f, GP_WIRE_PUSH, &first);
	lose();
	enter();
	(void)fx_next(&f, GP_WIRE_JOIN, &m);
	gp_wire_get_join(&m, &j);
	cr_assert_eq(j.incarnation, 6);
	cr_assert_eq(j.previous, 5);
	view(1, 1);
	cr_assert_eq(fx_count(&f, GP_WIRE_PUSH), 0, "not before home has spoken");
	cr_assert_not(gp_ccore_ready(f.core));
	home_says(0, 1, AHEAD);
	cr_assert_eq(gp_ccore_fate(f.core), GP_CCORE_WENT_ON);
	cr_assert(gp_ccore_ready(f.core));
	(void)fx_next(&f, GP_WIRE_PUSH, &m);
	cr_assert_eq(m.body_len, first.body_len);
	cr_assert_eq(memcmp(m.body, first.body, m.body_len), 0, "%p", (const void *)was);
	cr_assert_eq(gp_ccore_step(f.core), 1);
}

// Who leaves has its gradients and its outputs back.
Test(rejoin, who_leaves_sends_and_takes_nothing_more)
{
	lose();
	enter();
	view(1, 1);
	gp_ccore_leave(f.core);
	home_says(0, 1, AHEAD);
	cr_assert_eq(fx_count(&f, GP_WIRE_PUSH), 0);
	cr_assert_eq(gp_ccore_fate(f.core), GP_CCORE_AGAIN);
	f.out[0] = 7;
	fx_result(&f, 0, 1, 1, true, 5);
	cr_assert_eq(f.out[0], 7);
}

Test(rejoin, a_step_that_was_committed_with_this_rank_is_only_read)
{
	lose();
	enter();
	view(1, 2);
	home_says(1, 1, BOTH);
	cr_assert_eq(gp_ccore_fate(f.core), GP_CCORE_WENT_ON);
	cr_assert_eq(fx_count(&f, GP_WIRE_PUSH), 0);
	struct gp_msg m;
	(void)fx_next(&f, GP_WIRE_PULL, &m);
	cr_assert_eq(m.h.step, 1);
	for (uint32_t b = 0; b < BLOCKS; b++) {
		cr_assert_not(gp_ccore_done(f.core));
		fx_result(&f, b, 1, 0, false, 3);
		fx_tick(&f, 0);
	}
	cr_assert(gp_ccore_done(f.core));
	cr_assert_eq(gp_ccore_step_end(f.core), 0);
	cr_assert_eq(gp_ccore_step(f.core), 2);
	cr_assert_eq(f.out[0], 3);
}

static void told(uint32_t step)
{
	cr_assert_eq(gp_ccore_fate(f.core), GP_CCORE_ROLLED_BACK);
	cr_assert_eq(gp_ccore_step(f.core), step);
	cr_assert_eq(fx_count(&f, GP_WIRE_PUSH) + fx_count(&f, GP_WIRE_PULL), 0);
	cr_assert(gp_ccore_ready(f.core));
	fx_push(&f, 2);
	fx_tick(&f, 0);
	struct gp_msg m;
	(void)fx_next(&f, GP_WIRE_PUSH, &m);
	cr_assert_eq(m.h.step, step);
}

Test(rejoin, a_step_that_was_committed_without_this_rank_is_told)
{
	lose();
	enter();
	view(3, 2);
	home_says(1, 3, AHEAD);
	told(2);
}

Test(rejoin, units_that_were_committed_without_this_rank_are_told)
{
	lose();
	enter();
	view(3, 1);
	home_says(0, 3, COUNTED);
	told(1);
}

Test(rejoin, a_part_of_the_next_step_without_this_rank_is_told)
{
	lose();
	enter();
	view(1, 2);
	home_says(1, 1, COUNTED);
	told(2);
}

Test(rejoin, a_job_that_went_on_further_is_told)
{
	lose();
	enter();
	view(3, 9);
	home_says(8, 3, BOTH);
	told(9);
}

Test(rejoin, words_of_another_view_or_of_before_mean_nothing)
{
	lose();
	enter();
	view(3, 1);
	home_says(0, 2, AHEAD);
	f.core->again_since = f.core->home_time + 1;
	home_says(0, 3, AHEAD);
	cr_assert_eq(gp_ccore_fate(f.core), GP_CCORE_AGAIN);
	cr_assert_eq(gp_ccore_push(f.core, 0, f.grad, 1, f.out), -EBUSY);
	char text[128];
	gp_ccore_waiting(f.core, text, sizeof(text));
	cr_assert(strstr(text, "where the job stands"), "%s", text);
	fx_tick(&f, 100 * MS); // it asks again
	home_says(0, 3, AHEAD);
	cr_assert_eq(gp_ccore_fate(f.core), GP_CCORE_WENT_ON);
}

Test(rejoin, another_loss_before_that_is_no_other)
{
	lose();
	enter();
	view(1, 1);
	lose();
	f.w.session = SESSION;
	enter();
	view(2, 1);
	home_says(0, 2, AHEAD);
	cr_assert_eq(gp_ccore_fate(f.core), GP_CCORE_WENT_ON);
	cr_assert_gt(fx_count(&f, GP_WIRE_PUSH), 0);
}

Test(rejoin, a_job_of_another_kind_is_refused_by_name)
{
	lose();
	f.w.kind = GP_KIND_TRAIN;
	enter();
	const struct gp_client_error *e = gp_ccore_error(f.core);
	cr_assert(e && e->code == -ESTALE && strstr(e->text, "another kind"));
	cr_assert_not(gp_ccore_can_again(f.core));
}

Test(rejoin, others_are_told_of_the_barrier_that_was_passed)
{
	uint8_t body[8];
	struct gp_msg m;
	uint32_t name, call;
	struct gp_header h = {.type = GP_WIRE_BARRIER_REPLY, .session = SESSION};
	cr_assert_eq(gp_ccore_barrier(f.core, 41), 0);
	fx_feed(&f, &h, NULL, NULL, body, gp_wire_put_barrier(body, 41, 2 | GP_BARRIER_DONE));
	cr_assert(gp_ccore_barrier_done(f.core));
	lose();
	enter();
	view(1, 1);
	cr_assert_eq(fx_count(&f, GP_WIRE_BARRIER), 0);
	home_says(0, 1, AHEAD);
	fx_tick(&f, 0);
	(void)fx_next(&f, GP_WIRE_BARRIER, &m);
	gp_wire_get_barrier(&m, &name, &call);
	cr_assert_eq(name, 41);
	cr_assert_eq(call, 2 | GP_BARRIER_DONE);
	cr_assert_eq(gp_ccore_barrier(f.core, 41), 0, "the next of that name comes after it");
	fx_skip(&f);
	fx_tick(&f, 50 * MS);
	(void)fx_next(&f, GP_WIRE_BARRIER, &m);
	gp_wire_get_barrier(&m, &name, &call);
	cr_assert_eq(call, 2 | GP_BARRIER_DONE);
	h = (struct gp_header){.type = GP_WIRE_BARRIER_REPLY, .session = SESSION};
	fx_feed(&f, &h, NULL, NULL, body, gp_wire_put_barrier(body, 41, 2));
	fx_skip(&f);
	fx_tick(&f, 50 * MS);
	(void)fx_next(&f, GP_WIRE_BARRIER, &m);
	gp_wire_get_barrier(&m, &name, &call);
	cr_assert_eq(call, 4, "once is enough");
}

Test(rejoin, a_word_that_nobody_listens_ends_a_silent_session)
{
	gp_ccore_unreachable(f.core);
	cr_assert_not(gp_ccore_error(f.core), "it may be an old one");
	f.core->last_tick = f.now;
	fx_tick(&f, 30 * MS);
	gp_ccore_unreachable(f.core);
	cr_assert(gp_ccore_error(f.core));
	cr_assert_eq(gp_ccore_error(f.core)->code, -ECONNREFUSED);
}

// What was waited for the rank is not the server's silence.
Test(rejoin, a_rank_that_was_taken_for_long_is_had_in_the_end)
{
	const struct gp_ccore_again how = {
		.server = "10.0.0.2:9700", .v4 = true, .incarnation = 6, .nonce = 77};
	const struct gp_refuse taken = {
		.reason = GP_REFUSAL_RANK_TAKEN, .about = GP_WIRE_JOIN, .nonce = 77, .age_ms = 10};
	lose();
	gp_ccore_again(f.core, &how, &f.base);
	f.core->cfg.silence_ns = 50 * MS;
	f.w.timeout_us = 20000;
	f.w.incarnation = 6;
	f.w.decision = f.decision;
	fx_tick(&f, 0);
	fx_hello_reply(&f, f.base.mtu, GP_WIRE_VERSION);
	fx_tick(&f, 0);
	fx_refuse(&f, &taken);
	fx_tick(&f, 100 * MS);
	fx_welcome(&f);
	fx_tick(&f, 0);
	cr_assert_not(gp_ccore_error(f.core));
	cr_assert_eq(gp_ccore_phase(f.core), GP_CCORE_JOINED);
}
