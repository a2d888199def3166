// SPDX-License-Identifier: BSD-3-Clause
//
// A rank that enters a job that is under way: it gets the generation before its first step, also
// where some units are a step ahead already or the view changes meanwhile; and one that the job
// went on without.
#include "fixture.h"

#include <criterion/criterion.h>
#include <errno.h>

static struct fx f;
static float *const params[] = {f.out};

static void teardown(void)
{
	fx_close(&f);
}

TestSuite(joiner, .fini = teardown);

static void view(uint32_t number, uint32_t step)
{
	const struct gp_commit_entry e = {.kind = GP_DECISION_VIEW,
		.flags = GP_COMMIT_MEMBER,
		.ranks = 2,
		.step = step,
		.view = number};
	fx_decide(&f, &e);
}

// A member of view 1, which begins with step 5 of a train job.
static void entered(void)
{
	fx_open(&f, 1472);
	f.w.kind = GP_KIND_TRAIN;
	f.w.next_step = 5;
	fx_member(&f);
	cr_assert_eq(gp_ccore_init(f.core, params), 0);
	fx_tick(&f, 0);
}

static struct gp_section pull_next(uint32_t *step)
{
	struct gp_msg m;
	struct gp_section s;
	(void)fx_next(&f, GP_WIRE_PULL, &m);
	gp_wire_get_section(&m, 0, &s);
	*step = m.h.step;
	return s;
}

static void gone(uint32_t block, uint32_t step)
{
	const struct gp_refuse r = {
		.reason = GP_REFUSAL_GONE, .about = GP_WIRE_PULL, .step = step, .what = block};
	fx_refuse(&f, &r);
}

Test(joiner, pulls_the_generation_before_its_first_step)
{
	uint32_t step;
	entered();
	cr_assert_eq(pull_next(&step).block, 0);
	cr_assert_eq(step, 4);
	for (uint32_t b = 0; b < BLOCKS; b++) {
		cr_assert_not(gp_ccore_done(f.core));
		fx_result(&f, b, 4, 1, false, (float)b);
		fx_tick(&f, 0);
	}
	cr_assert(gp_ccore_done(f.core));
	cr_assert_eq(gp_ccore_pull_end(f.core), 4);
	cr_assert_eq(gp_ccore_step(f.core), 5);
	cr_assert_eq(f.out[ELEMS - 1], BLOCKS - 1);
}

Test(joiner, asks_for_the_next_step_of_blocks_that_have_moved_on)
{
	uint32_t step;
	bool ahead = false;
	entered();
	(void)pull_next(&step);
	gone(3, 4); // all were asked for in one run: each by itself now
	fx_tick(&f, 0);
	(void)pull_next(&step);
	cr_assert_eq(step, 4);
	gone(3, 4);
	gone(99, 4); // no such block
	gone(3, 9);  // no such question
	for (uint32_t b = 0; b < BLOCKS; b++)
		if (b != 3)
			fx_result(&f, b, 4, 1, false, 1);
	for (uint32_t i = 0; i < 40 && !ahead; i++) {
		fx_tick(&f, 25 * MS);
		while (fx_count(&f, GP_WIRE_PULL) > 0 && !ahead) {
			struct gp_section s = pull_next(&step);
			ahead = s.block == 3 && step == 5;
		}
	}
	cr_assert(ahead, "block 3 is asked for at step 5");
	fx_result(&f, 3, 4, 1, false, 7); // late: it is not waited for any more
	cr_assert_not(gp_ccore_done(f.core));
	fx_result(&f, 3, 5, 1, false, 2);
	cr_assert(gp_ccore_done(f.core));
	cr_assert_eq(f.out[3 * BLOCK_ELEMS], 2);
	cr_assert_eq(f.out[0], 1);
}

Test(joiner, begins_again_when_the_view_does)
{
	uint32_t step;
	entered();
	fx_result(&f, 0, 4, 1, false, 1);
	view(2, 5); // the same step: what is here stays
	fx_skip(&f);
	view(3, 6);
	fx_tick(&f, 0);
	(void)pull_next(&step);
	cr_assert_eq(step, 5);
	for (uint32_t b = 0; b < BLOCKS; b++)
		fx_result(&f, b, 4, 3, false, 1);
	cr_assert_not(gp_ccore_done(f.core), "those are of another generation");
	for (uint32_t b = 0; b < BLOCKS; b++) {
		fx_result(&f, b, 5, 3, false, 2);
		fx_tick(&f, 0);
	}
	cr_assert(gp_ccore_done(f.core));
	cr_assert_eq(gp_ccore_pull_end(f.core), 5);
	cr_assert_eq(gp_ccore_step(f.core), 6);
}

Test(joiner, a_rank_that_was_left_behind_is_told)
{
	fx_open(&f, 1472);
	fx_member(&f);
	fx_push(&f, 1);
	fx_tick(&f, 0);
	view(2, 3); // step 2 was made without it
	const struct gp_client_error *e = gp_ccore_error(f.core);
	cr_assert(e && e->code == -ECONNRESET);
	cr_assert(strstr(e->text, "went on to step 3 without rank 0, which is at step 1"), "%s",
		e->text);
}

Test(joiner, a_rank_with_nothing_in_hand_goes_on_with_the_view)
{
	fx_open(&f, 1472);
	fx_member(&f);
	view(2, 9);
	cr_assert_null(gp_ccore_error(f.core));
	cr_assert_eq(gp_ccore_step(f.core), 9);
	float *const out[] = {f.out};
	fx_push(&f, 1);
	cr_assert_eq(gp_ccore_init(f.core, out), -EBUSY);
	cr_assert_eq(gp_ccore_pull(f.core, out), -EBUSY);
}

// The parameters are here, final, before the word of the view in which they were committed.
Test(joiner, the_late_word_of_an_older_view_takes_nobody_back)
{
	fx_open(&f, 1472);
	f.w.kind = GP_KIND_TRAIN;
	f.w.next_step = 0;
	fx_member(&f);
	cr_assert_eq(gp_ccore_init(f.core, params), 0);
	fx_tick(&f, 0);
	for (uint32_t b = 0; b < BLOCKS; b++)
		fx_result(&f, b, 0, 2, false, (float)b);
	cr_assert(gp_ccore_done(f.core));
	cr_assert_eq(gp_ccore_pull_end(f.core), 0);
	cr_assert_eq(gp_ccore_step(f.core), 1);
	view(2, 0);
	cr_assert_eq(gp_ccore_step(f.core), 1);
	view(3, 1);
	cr_assert_eq(gp_ccore_step(f.core), 1);
}

// Commits of step 0 came before the program asked for it; a core that had not heard of one yet said
// that its result was tentative.
Test(joiner, initial_parameters_that_were_committed_before_it_asked_are_asked_for_again)
{
	fx_open(&f, 1472);
	f.w.kind = GP_KIND_TRAIN;
	f.w.next_step = 0;
	fx_member(&f);
	const struct gp_commit_entry second = {.kind = GP_DECISION_VIEW,
		.flags = GP_COMMIT_MEMBER,
		.ranks = 2,
		.view = 2,
		.lowest = 1};
	fx_decide(&f, &second);
	for (uint32_t b = 0; b < BLOCKS; b++) {
		const struct gp_commit_entry e = {
			.kind = GP_DECISION_COMMIT, .ranks = 2, .unit = b, .view = 2};
		fx_decide(&f, &e);
	}
	cr_assert_eq(gp_ccore_init(f.core, params), 0);
	fx_tick(&f, 0);
	for (uint32_t b = 0; b < BLOCKS; b++)
		fx_result(&f, b, 0, 2, b == 2, (float)b);
	cr_assert_eq(f.core->todo, 1);
	fx_skip(&f);
	const struct gp_heartbeat_reply r = {
		.generation = 0, .view = 2, .members = 2, .missing_rank = GP_WIRE_RANK_NONE};
	uint8_t body[64];
	struct gp_header h = {.type = GP_WIRE_HEARTBEAT_REPLY, .session = SESSION};
	fx_feed(&f, &h, NULL, NULL, body, gp_wire_put_heartbeat_reply(body, &r));
	fx_tick(&f, 0);
	uint32_t step;
	cr_assert_eq(pull_next(&step).block, 2);
	cr_assert_eq(step, 0);
	fx_result(&f, 2, 0, 2, false, 2);
	cr_assert(gp_ccore_done(f.core));
	cr_assert_eq(gp_ccore_pull_end(f.core), 0);
	cr_assert_eq(gp_ccore_step(f.core), 1);
}
