// SPDX-License-Identifier: BSD-3-Clause
//
// A step without loss: credit, places, coalescing, commits, views.
#include "fixture.h"

#include <criterion/criterion.h>
#include <errno.h>

static struct fx f;

static void setup(void)
{
	fx_open(&f, 1472);
}

static void teardown(void)
{
	fx_close(&f);
}

TestSuite(step, .init = setup, .fini = teardown);

static void commit(uint32_t unit, uint32_t view)
{
	const struct gp_commit_entry e = {
		.kind = GP_DECISION_COMMIT, .ranks = 2, .unit = unit, .step = 1, .view = view};
	fx_decide(&f, &e);
}

static void view(uint32_t number)
{
	const struct gp_commit_entry e = {.kind = GP_DECISION_VIEW,
		.flags = GP_COMMIT_MEMBER,
		.ranks = 1,
		.step = 1,
		.view = number};
	fx_decide(&f, &e);
}

Test(step, small_blocks_travel_together_up_to_the_window_of_places)
{
	struct gp_msg m;
	fx_member(&f);
	fx_push(&f, 1);
	fx_tick(&f, 0);
	cr_assert_eq(fx_count(&f, GP_WIRE_PUSH), 1);
	(void)fx_next(&f, GP_WIRE_PUSH, &m);
	cr_assert_eq(m.h.sections, 8); // slots
	cr_assert_eq(m.h.flags, GP_WIRE_F_WANT);
	fx_result(&f, 0, 1, 1, true, 5);
	fx_tick(&f, 0);
	(void)fx_next(&f, GP_WIRE_PUSH, &m);
	cr_assert_eq(m.h.sections, 1);
}

Test(step, a_datagram_is_not_longer_than_the_path_carries)
{
	struct gp_msg m;
	f.w.payload_max = 252; // 272 bytes over IPv4: 2 blocks of 80 after the header
	fx_member(&f);
	fx_push(&f, 1);
	fx_tick(&f, 0);
	const struct fx_sent *s = fx_next(&f, GP_WIRE_PUSH, &m);
	cr_assert_eq(m.h.sections, 2);
	cr_assert_leq(s->len, 272);
}

Test(step, outstanding_datagrams_never_exceed_the_credit)
{
	f.w.payload_max = 170; // one block each
	f.w.window = 3;
	fx_member(&f);
	fx_push(&f, 1);
	fx_tick(&f, 0);
	cr_assert_eq(fx_count(&f, GP_WIRE_PUSH), 3);
	fx_tick(&f, 0);
	cr_assert_eq(fx_count(&f, GP_WIRE_PUSH), 3);
	fx_skip(&f);
	fx_ack(&f, f.core->lanes[0].tx_packet, 0, true);
	fx_tick(&f, 0);
	cr_assert_eq(fx_count(&f, GP_WIRE_PUSH), 1);
}

Test(step, it_ends_when_all_results_are_committed)
{
	fx_member(&f);
	fx_push(&f, 1);
	fx_tick(&f, 0);
	for (uint32_t b = 0; b < BLOCKS; b++) {
		fx_result(&f, b, 1, 1, true, (float)b);
		fx_tick(&f, 0);
		cr_assert_not(gp_ccore_done(f.core));
	}
	for (uint32_t b = 0; b < BLOCKS; b++) {
		cr_assert_not(gp_ccore_done(f.core));
		commit(b, 1);
	}
	cr_assert(gp_ccore_done(f.core));
	cr_assert_eq(gp_ccore_step_end(f.core), 0);
	cr_assert_eq(gp_ccore_step(f.core), 2);
	cr_assert_eq(f.out[BLOCK_ELEMS * 3], 3.0f);
	cr_assert_eq(f.out[ELEMS - 1], 9.0f);
	cr_assert_eq(f.core->confirmed, f.decision);
}

Test(step, a_commit_before_its_result_leaves_it_unconfirmed)
{
	fx_member(&f);
	fx_push(&f, 1);
	fx_tick(&f, 0);
	uint32_t before = f.core->confirmed;
	commit(0, 1);
	cr_assert_eq(f.core->confirmed, before);
	fx_result(&f, 0, 1, 1, true, 5);
	fx_ack(&f, 1, 0, true);
	cr_assert_eq(f.core->confirmed, f.decision);
	cr_assert_eq(f.core->todo, BLOCKS - 1);
}

Test(step, results_of_another_view_step_or_epoch_are_not_taken)
{
	fx_member(&f);
	fx_push(&f, 1);
	fx_tick(&f, 0);
	memset(f.out, 0, sizeof(f.out));
	fx_result(&f, 0, 1, 2, true, 5);
	fx_result(&f, 0, 2, 1, true, 5);
	fx_result(&f, 0, 0, 1, false, 5);
	float values[BLOCK_ELEMS] = {5};
	const struct gp_section s = {
		.block = 0, .len = sizeof(values), .run = 1, .codec = GP_CODEC_F32};
	struct gp_header h = {.type = GP_WIRE_RESULT,
		.session = SESSION,
		.view = 1,
		.step = 1,
		.sections = 1,
		.epoch = EPOCH - 1};
	fx_feed(&f, &h, &s, NULL, values, sizeof(values));
	cr_assert_eq(f.out[0], 0.0f);
	cr_assert_eq(f.core->stats.rx_rejected, 4);
}

Test(step, a_result_that_comes_twice_is_counted)
{
	fx_member(&f);
	fx_push(&f, 1);
	fx_tick(&f, 0);
	fx_result(&f, 0, 1, 1, true, 5);
	fx_result(&f, 0, 1, 1, true, 5);
	cr_assert_eq(f.core->stats.duplicates, 1);
}

Test(step, a_new_view_sends_what_is_not_committed_again_byte_for_byte)
{
	struct gp_msg first, again;
	f.w.payload_max = 170;
	f.w.window = 8;
	fx_member(&f);
	fx_push(&f, 1);
	fx_tick(&f, 0);
	const struct fx_sent *s = fx_next(&f, GP_WIRE_PUSH, &first);
	uint8_t kept[256];
	memcpy(kept, first.body, first.body_len);
	fx_result(&f, 0, 1, 1, true, 5);
	fx_result(&f, 1, 1, 1, true, 5);
	commit(1, 1);
	for (uint32_t i = 0; i < ELEMS; i++)
		f.grad[i] = -1; // the caller's buffer is its own again
	fx_skip(&f);
	view(2);
	fx_tick(&f, 0);
	s = fx_next(&f, GP_WIRE_PUSH, &again);
	struct gp_section sec;
	gp_wire_get_section(&again, 0, &sec);
	cr_assert_eq(sec.block, 0);
	cr_assert_eq(again.h.view, 2);
	cr_assert_gt(again.h.packet, first.h.packet);
	cr_assert_eq(again.body_len, first.body_len);
	cr_assert_eq(memcmp(again.body, kept, again.body_len), 0);
	s = fx_next(&f, GP_WIRE_PUSH, &again);
	cr_assert_not_null(s);
	gp_wire_get_section(&again, 0, &sec);
	cr_assert_eq(sec.block, 2, "block 1 is committed");
	cr_assert_eq(f.core->stats.aborts, BLOCKS - 1);
}

Test(step, a_new_view_asks_for_the_lost_result_of_a_committed_unit)
{
	fx_member(&f);
	fx_push(&f, 1);
	fx_tick(&f, 0);
	commit(0, 1);
	view(2);
	cr_assert_eq(f.core->blocks[0].state, CC_ACCEPTED, "it is pulled, not sent again");
	cr_assert_eq(f.core->blocks[1].state, CC_UNSENT);
	fx_result(&f, 0, 1, 1, false, 7);
	cr_assert_eq(f.core->blocks[0].state, CC_FINAL);
	cr_assert_eq(f.core->todo, BLOCKS - 1);
}

Test(step, a_tentative_result_of_the_aborted_view_does_not_count)
{
	fx_member(&f);
	fx_push(&f, 1);
	fx_tick(&f, 0);
	fx_result(&f, 0, 1, 1, true, 5);
	view(2);
	commit(0, 2);
	cr_assert_eq(f.core->todo, BLOCKS);
	fx_result(&f, 0, 1, 1, true, 5);
	cr_assert_eq(f.core->todo, BLOCKS);
	fx_result(&f, 0, 1, 2, true, 6);
	cr_assert_eq(f.core->todo, BLOCKS - 1);
	cr_assert_eq(f.out[0], 6.0f);
}

Test(step, decisions_are_taken_in_order_and_a_gap_is_asked_for)
{
	fx_member(&f);
	fx_push(&f, 1);
	fx_tick(&f, 0);
	fx_result(&f, 0, 1, 1, true, 5);
	uint32_t known = f.core->known;
	f.decision++; // lost: commit of unit 1
	commit(0, 1);
	cr_assert_eq(f.core->known, known);
	cr_assert_eq(f.core->todo, BLOCKS);
	fx_skip(&f);
	fx_tick(&f, 20 * MS);
	struct gp_msg m;
	struct gp_heartbeat hb;
	(void)fx_next(&f, GP_WIRE_HEARTBEAT, &m);
	gp_wire_get_heartbeat(&m, &hb);
	cr_assert_eq(hb.known, known);
	cr_assert_eq(m.h.pad, 48);
	f.decision -= 2;
	commit(1, 1);
	commit(0, 1);
	cr_assert_eq(f.core->known, known + 2);
	cr_assert_eq(f.core->todo, BLOCKS - 1);
}

static void generation_is(uint32_t generation)
{
	const struct gp_heartbeat_reply r = {.generation = generation,
		.view = 1,
		.members = 2,
		.missing_rank = GP_WIRE_RANK_NONE,
		.state = GP_STATE_RUNNING,
		.next_step = generation + 1,
		.view_first_step = 1};
	uint8_t body[64];
	struct gp_header h = {.type = GP_WIRE_HEARTBEAT_REPLY, .session = SESSION};
	fx_feed(&f, &h, NULL, NULL, body, gp_wire_put_heartbeat_reply(body, &r));
}

// A rank that enters a view in the middle of a step never hears of the units committed before.
Test(step, units_committed_before_the_rank_entered_are_done_when_home_says_so)
{
	fx_member(&f);
	cr_assert_eq(gp_ccore_push(f.core, 0, f.grad, 1.0f, NULL), 0);
	fx_tick(&f, 0);
	for (uint32_t b = 3; b < BLOCKS; b++)
		commit(b, 1);
	cr_assert_not(gp_ccore_done(f.core));
	generation_is(0);
	cr_assert_not(gp_ccore_done(f.core), "the step is still open");
	generation_is(1);
	cr_assert(gp_ccore_done(f.core));
	cr_assert_eq(gp_ccore_step_end(f.core), 0);
	cr_assert_eq(gp_ccore_step(f.core), 2);
}

// What a pull asked home for comes when its caller has given up, and a step is in hand.
Test(step, a_pull_that_was_given_up_touches_no_step)
{
	float *out[1] = {f.out};
	fx_member(&f);
	cr_assert_eq(gp_ccore_pull(f.core, out), 0);
	fx_tick(&f, 0);
	(void)gp_ccore_pull_end(f.core);
	fx_push(&f, 1);
	fx_tick(&f, 0);
	generation_is(0);
	cr_assert_eq(f.core->pushed, 1);
	cr_assert_eq(gp_ccore_pull(f.core, out), -EBUSY, "a step is in hand");
	for (uint32_t b = 0; b < BLOCKS; b++) {
		cr_assert_not(gp_ccore_done(f.core));
		fx_result(&f, b, 1, 1, true, 5);
		commit(b, 1);
	}
	cr_assert(gp_ccore_done(f.core));
	cr_assert_eq(gp_ccore_step_end(f.core), 0);
	cr_assert_eq(f.out[0], 5);
}

// `out` is `grad`: a result must not come where the contribution is yet to be read.
Test(step, what_is_encoded_in_pieces_goes_piece_by_piece)
{
	struct gp_msg m;
	float values[BLOCK_ELEMS];
	fx_member(&f);
	for (uint32_t i = 0; i < ELEMS; i++)
		f.grad[i] = (float)i;
	cr_assert_eq(gp_ccore_push_begin(f.core, 0, f.grad, 1.0f, f.grad), 0);
	fx_tick(&f, 0);
	cr_assert_eq(fx_count(&f, GP_WIRE_PUSH), 0);
	cr_assert_eq(gp_ccore_push_more(f.core, 0, 2), BLOCKS - 2);
	fx_tick(&f, 0);
	(void)fx_next(&f, GP_WIRE_PUSH, &m);
	cr_assert_eq(m.h.sections, 2);
	uint64_t before = f.core->stats.rx_rejected;
	fx_result(&f, 0, 1, 1, true, 9);
	fx_result(&f, 2, 1, 1, true, 9);
	cr_assert_eq(f.core->stats.rx_rejected, before + 1);
	cr_assert_eq(f.grad[0], 9);
	cr_assert_eq(f.grad[2 * BLOCK_ELEMS], 2 * BLOCK_ELEMS);
	cr_assert_eq(gp_ccore_push_more(f.core, 0, UINT32_MAX), 0);
	cr_assert_eq(gp_ccore_push_more(f.core, 0, UINT32_MAX), 0);
	fx_tick(&f, 0);
	(void)fx_next(&f, GP_WIRE_PUSH, &m);
	memcpy(values, m.body, sizeof(values));
	for (uint32_t i = 0; i < BLOCK_ELEMS; i++)
		cr_assert_eq(values[i], (float)(2 * BLOCK_ELEMS + i));
	fx_result(&f, 2, 1, 1, true, 9);
	cr_assert_eq(f.grad[2 * BLOCK_ELEMS], 9);
}

Test(step, a_tensor_that_is_passed_is_in_no_sum)
{
	struct gp_msg m;
	struct gp_section s;
	fx_member(&f);
	cr_assert_eq(gp_ccore_push(f.core, 0, NULL, -1.0f, f.out), 0);
	fx_tick(&f, 0);
	(void)fx_next(&f, GP_WIRE_PUSH, &m);
	cr_assert_eq(m.h.flags, GP_WIRE_F_WANT);
	cr_assert_eq(m.body_len, 0);
	cr_assert_eq(m.h.sections, 1, "blocks with nothing to say cost a run");
	gp_wire_get_section(&m, 0, &s);
	cr_assert_eq(s.run, 8, "slots");
	cr_assert_eq(s.codec, GP_CODEC_NONE);
	cr_assert_eq(s.weight, 0.0f);
	cr_assert_eq(gp_ccore_push(f.core, 0, f.grad, 0.0f, f.out), -EALREADY);
}

Test(step, a_contribution_has_a_weight_above_0)
{
	fx_member(&f);
	cr_assert_eq(gp_ccore_push(f.core, 0, f.grad, 0.0f, f.out), -EINVAL);
}
