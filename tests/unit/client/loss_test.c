// SPDX-License-Identifier: BSD-3-Clause
//
// The estimator, and what happens to what is lost.
#include "fixture.h"

#include <criterion/criterion.h>

static struct fx f;

static void setup(void)
{
	fx_open(&f, 1472);
	f.w.payload_max = 170; // one block each
	f.w.window = 8;
	f.w.slots = 16;
}

static void teardown(void)
{
	fx_close(&f);
}

TestSuite(loss, .init = setup, .fini = teardown);

static uint64_t first_push(void)
{
	struct gp_msg m;
	fx_member(&f);
	fx_push(&f, 1);
	fx_tick(&f, 0);
	(void)fx_next(&f, GP_WIRE_PUSH, &m);
	fx_skip(&f);
	return m.h.packet;
}

Test(rtt, follows_rfc_6298_between_floor_and_ceiling)
{
	struct cc_rtt r = {0};
	cc_rtt_bound(&r, 0, 0);
	cr_assert_eq(cc_rtt_rto(&r), RTO_MAX / 4);
	cc_rtt_sample(&r, 8 * MS);
	cr_assert_eq(r.srtt, 8 * MS);
	cr_assert_eq(r.rttvar, 4 * MS);
	cr_assert_eq(cc_rtt_rto(&r), 24 * MS);
	cc_rtt_sample(&r, 16 * MS);
	cr_assert_eq(r.rttvar, 5 * MS);
	cr_assert_eq(r.srtt, 9 * MS);
	for (int i = 0; i < 100; i++)
		cc_rtt_sample(&r, 100 * US);
	cr_assert_eq(cc_rtt_rto(&r), RTO_MIN);
	cc_rtt_sample(&r, 10000 * MS);
	cr_assert_eq(cc_rtt_rto(&r), RTO_MAX);
	cc_rtt_bound(&r, 0, 50000);
	cr_assert_eq(cc_rtt_rto(&r), 50 * MS);
	cc_rtt_bound(&r, 300000, 50000);
	cr_assert_eq(cc_rtt_rto(&r), 300 * MS);
	r = (struct cc_rtt){0};
	cc_rtt_bound(&r, 200, 0);
	for (int i = 0; i < 100; i++)
		cc_rtt_sample(&r, 50 * US);
	cr_assert_eq(cc_rtt_rto(&r), 200 * US);
}

Test(loss, an_acknowledgement_gives_a_sample_less_the_servers_delay)
{
	uint64_t pn = first_push();
	f.core->lanes[0].rtt = (struct cc_rtt){0};
	f.core->lanes[0].rtt_packet = 0;
	f.now += 3 * MS;
	const struct gp_ack a = {.largest = pn, .delay_us = 1000, .flags = 1};
	struct gp_header h = {.type = GP_WIRE_ACK, .session = SESSION};
	fx_feed(&f, &h, NULL, &a, NULL, 0);
	cr_assert_eq(f.core->lanes[0].rtt.srtt, 2 * MS);
}

Test(loss, three_later_acknowledgements_show_a_loss)
{
	uint64_t pn = first_push();
	struct gp_msg m;
	struct gp_section s;
	fx_ack(&f, pn + 2, 1, true); // pn + 1, pn + 2
	fx_tick(&f, 0);
	cr_assert_eq(f.core->stats.retransmits, 0);
	fx_ack(&f, pn + 3, 3, true);
	fx_tick(&f, 0);
	(void)fx_next(&f, GP_WIRE_PUSH, &m);
	while (m.h.packet <= pn + 7)
		(void)fx_next(&f, GP_WIRE_PUSH, &m);
	for (gp_wire_get_section(&m, 0, &s); s.block != 0; gp_wire_get_section(&m, 0, &s))
		(void)fx_next(&f, GP_WIRE_PUSH, &m);
	cr_assert_eq(f.core->stats.retransmits, 1);
}

// With everything but its last packet accepted, `late` after it was sent that one is lost.
Test(loss, what_three_later_packets_cannot_show_time_does)
{
	uint64_t pn = first_push();
	struct gp_msg m;
	struct gp_section s;
	fx_ack(&f, pn + 7, 0x7e, true); // pn + 6 is missing
	const struct cc_rtt *rtt = &f.core->lanes[0].rtt;
	uint64_t late = GP_MAX(rtt->srtt, rtt->latest) * 9 / 8 + LATE_SLACK;
	fx_tick(&f, late - 1);
	cr_assert_eq(f.core->stats.retransmits, 0);
	fx_tick(&f, 1);
	cr_assert_eq(f.core->stats.retransmits, 1);
	for (s.block = 0; s.block != 6; gp_wire_get_section(&m, 0, &s))
		(void)fx_next(&f, GP_WIRE_PUSH, &m);
}

Test(loss, silence_sends_the_oldest_again_ever_more_slowly)
{
	(void)first_push();
	uint64_t rto = cc_rtt_rto(&f.core->lanes[0].rtt);
	fx_tick(&f, rto - 1);
	cr_assert_eq(f.core->stats.retransmits, 0);
	fx_tick(&f, 1);
	cr_assert_eq(f.core->stats.retransmits, 1);
	fx_tick(&f, 2 * rto - 1);
	cr_assert_eq(f.core->stats.retransmits, 1);
	fx_tick(&f, 1);
	cr_assert_eq(f.core->stats.retransmits, 2);
	cr_assert_eq(f.core->lanes[0].outstanding, 8);
}

Test(loss, the_answer_after_silence_shows_all_that_was_lost)
{
	uint64_t pn = first_push();
	fx_tick(&f, cc_rtt_rto(&f.core->lanes[0].rtt));
	cr_assert_eq(f.core->stats.retransmits, 1);
	fx_ack(&f, pn + 8, 0, true);
	fx_tick(&f, 0);
	cr_assert_eq(f.core->stats.retransmits, 8);
	cr_assert_eq(f.core->lanes[0].reminders, 0);
}

Test(loss, what_waits_to_be_read_is_not_silence)
{
	uint64_t pn = first_push();
	f.now += RTO_MAX;
	gp_ccore_send(f.core, 0, f.now);
	fx_ack(&f, pn + 7, 0x7f, true);
	gp_ccore_send(f.core, 0, f.now);
	cr_assert_eq(fx_count(&f, GP_WIRE_PUSH), 1); // the last two blocks
	fx_tick(&f, 0);
	cr_assert_eq(f.core->stats.retransmits, 0);
}

// The ring has no place for packets 64 apart: the old one is given up, and its block goes again.
Test(loss, a_packet_whose_place_is_needed_goes_again)
{
	uint64_t pn = first_push();
	struct cc_lane *l = &f.core->lanes[0];
	l->tx_packet = pn + l->ring_mask;
	fx_result(&f, 7, 1, 1, true, 1);
	fx_tick(&f, 0);
	cr_assert_eq(f.core->blocks[8].state, CC_SENT);
	cr_assert_eq(f.core->blocks[0].state, CC_SENT);
	cr_assert_eq(f.core->blocks[0].pn, pn + l->ring_mask + 2);
	cr_assert_eq(l->outstanding, 8);
}

Test(loss, more_credit_than_the_window_is_not_used)
{
	(void)first_push();
	struct gp_header h = {.type = GP_WIRE_ACK, .session = SESSION};
	const struct gp_ack a = {0};
	f.w.window = 4096;
	fx_feed(&f, &h, NULL, &a, NULL, 0);
	cr_assert_eq(f.core->lanes[0].credit, 16); // the smallest ring is for that many
}

Test(loss, an_acknowledgement_of_what_was_never_sent_is_rejected)
{
	uint64_t pn = first_push();
	uint64_t before = f.core->stats.rx_rejected;
	fx_ack(&f, pn + 1000, UINT64_MAX, true);
	cr_assert_eq(f.core->stats.rx_rejected, before + 1);
	cr_assert_eq(f.core->lanes[0].outstanding, 8);
}

Test(loss, a_lost_result_is_pulled)
{
	struct gp_msg m;
	struct gp_section s;
	uint64_t pn = first_push();
	fx_ack(&f, pn + 7, 0x7f, true);
	fx_tick(&f, 10 * MS);
	fx_skip(&f);
	for (uint32_t b = 1; b <= 3; b++)
		fx_result(&f, b, 1, 1, true, 1);
	fx_tick(&f, 2 * MS);
	(void)fx_next(&f, GP_WIRE_PULL, &m);
	gp_wire_get_section(&m, 0, &s);
	cr_assert_eq(m.h.step, 1);
	cr_assert_eq(s.block, 0);
	cr_assert_eq(s.run, 1);
	fx_skip(&f);
	fx_tick(&f, 0);
	cr_assert_eq(fx_count(&f, GP_WIRE_PULL), 0);
}

static void results(uint32_t first, uint32_t last)
{
	for (uint32_t b = first; b <= last; b++)
		fx_result(&f, b, 1, 1, true, 1);
	fx_tick(&f, 100 * US);
}

// One question: for that block alone.
static void expect_question(uint32_t block)
{
	struct gp_msg m;
	struct gp_section s;
	(void)fx_next(&f, GP_WIRE_PULL, &m);
	gp_wire_get_section(&m, 0, &s);
	cr_assert_eq(m.h.sections, 1);
	cr_assert_eq(s.block, block);
	cr_assert_eq(s.run, 1);
	cr_assert_eq(fx_count(&f, GP_WIRE_PULL), 0);
}

static void all_accepted(void)
{
	uint64_t pn = first_push();
	fx_ack(&f, pn + 7, 0x7f, true);
	fx_tick(&f, 10 * MS);
	fx_ack(&f, pn + 9, 0x1ff, true);
	fx_tick(&f, 10 * MS);
	f.core->lanes[0].rtt.srtt = 100 * US;
	fx_skip(&f);
}

Test(loss, each_result_that_a_gap_shows_is_asked_for_at_once)
{
	all_accepted();
	f.server_packet++;
	results(1, 3);
	expect_question(0);
	f.server_packet++;
	results(5, 7);
	expect_question(4);
	// Again only with the lowest one's turn.
	fx_tick(&f, 100 * US);
	cr_assert_eq(fx_count(&f, GP_WIRE_PULL), 0);
	results(8, 8);
	fx_tick(&f, 1 * MS);
	struct gp_msg m;
	(void)fx_next(&f, GP_WIRE_PULL, &m);
	cr_assert_geq(m.h.sections, 2);
}

Test(loss, what_comes_in_another_order_is_not_asked_for_at_once)
{
	struct gp_msg m;
	all_accepted();
	results(1, 3);
	fx_tick(&f, 1 * MS); // the lowest one's turn
	(void)fx_next(&f, GP_WIRE_PULL, &m);
	results(5, 9);
	cr_assert_eq(fx_count(&f, GP_WIRE_PULL), 0);
	results(4, 4);
	fx_tick(&f, 100 * US);
	cr_assert_eq(fx_count(&f, GP_WIRE_PULL), 0);
}

Test(loss, busy_takes_back_what_was_not_admitted)
{
	uint8_t body[8];
	uint64_t pn = first_push();
	const struct gp_section s = {.block = 3, .run = 1};
	struct gp_header h = {.type = GP_WIRE_BUSY, .session = SESSION, .step = 1, .sections = 1};
	fx_feed(&f, &h, &s, NULL, body, gp_wire_put_u64(body, pn + 3));
	cr_assert_eq(f.core->blocks[3].state, CC_UNSENT);
	cr_assert_eq(f.core->lanes[0].outstanding, 7);
	fx_tick(&f, 0);
	cr_assert_eq(fx_count(&f, GP_WIRE_PUSH), 0);
	fx_tick(&f, cc_rtt_rto(&f.core->lanes[0].rtt) / 2);
	cr_assert_geq(fx_count(&f, GP_WIRE_PUSH), 1);
}

static void busy(uint64_t pn, uint32_t block)
{
	uint8_t body[8];
	const struct gp_section s = {.block = block, .run = 1};
	struct gp_header h = {.type = GP_WIRE_BUSY, .session = SESSION, .step = 1, .sections = 1};
	fx_feed(&f, &h, &s, NULL, body, gp_wire_put_u64(body, pn));
}

// The wait before block 0, the first of all, goes again after a BUSY.
static uint64_t busy_time(uint64_t *pn)
{
	struct gp_msg m;
	uint64_t waited = 0;
	busy(*pn, 0);
	fx_skip(&f);
	for (; fx_count(&f, GP_WIRE_PUSH) == 0 && waited < 100 * MS; waited += MS / 4) {
		f.sent_count = f.seen = 0;
		f.core->lanes[0].quiet_since = f.now; // nothing else is told to be lost
		fx_tick(&f, MS / 4);
	}
	(void)fx_next(&f, GP_WIRE_PUSH, &m);
	*pn = m.h.packet;
	fx_skip(&f);
	return waited;
}

Test(loss, busy_without_end_is_asked_ever_more_rarely)
{
	uint64_t pn = first_push();
	f.core->lanes[0].rtt.srtt = 4 * MS;
	f.core->lanes[0].rtt.rttvar = 0;
	uint64_t first = busy_time(&pn), next = 0;
	for (uint32_t i = 0; i < 8; i++)
		next = busy_time(&pn);
	cr_assert_lt(first, 5 * MS);
	cr_assert_gt(next, 30 * MS);
	cr_assert_leq(next, 41 * MS, "and never more than that");
	f.core->lanes[0].rtt.srtt = 4 * MS;
	f.core->lanes[0].rtt.rttvar = 0;
	fx_ack(&f, pn, 0, true);
	cr_assert_eq(f.core->lanes[0].busy_wait, 0, "something was taken");
}

static void nack(uint32_t step, uint32_t block, uint16_t run)
{
	const struct gp_section s = {.block = block, .run = run};
	struct gp_header h = {
		.type = GP_WIRE_NACK, .session = SESSION, .step = step, .sections = 1};
	fx_feed(&f, &h, &s, NULL, NULL, 0);
}

Test(loss, what_home_lacks_goes_again_at_once)
{
	struct gp_msg m;
	struct gp_section s;
	(void)first_push();
	f.core->lanes[0].rtt.srtt = 2 * MS;
	fx_tick(&f, 3 * MS);
	fx_skip(&f);
	nack(2, 3, 2);
	fx_tick(&f, 0);
	cr_assert_eq(fx_count(&f, GP_WIRE_PUSH), 0, "of another step");
	nack(1, 3, 2);
	fx_tick(&f, 0);
	for (uint32_t b = 3; b < 5; b++) {
		(void)fx_next(&f, GP_WIRE_PUSH, &m);
		gp_wire_get_section(&m, 0, &s);
		cr_assert_eq(s.block, b);
	}
	nack(1, 3, 2);
	fx_tick(&f, MS);
	cr_assert_eq(fx_count(&f, GP_WIRE_PUSH), 0, "it may be on its way");
	nack(1, 3, 2);
	fx_tick(&f, MS);
	nack(1, 3, 2);
	fx_tick(&f, 0);
	cr_assert_eq(fx_count(&f, GP_WIRE_PUSH), 2);
}

Test(loss, a_silent_server_is_named_with_what_was_awaited)
{
	(void)first_push();
	for (int i = 0; i < 60 && !gp_ccore_error(f.core); i++) {
		fx_skip(&f);
		f.sent_count = f.seen = 0;
		fx_tick(&f, 50 * MS);
	}
	const struct gp_client_error *e = gp_ccore_error(f.core);
	cr_assert_not_null(e);
	cr_assert_eq(e->code, -ETIMEDOUT);
	cr_assert_not_null(strstr(e->text, "10.0.0.1:9700"));
	cr_assert_not_null(strstr(e->text, "10 of 10 blocks of step 1"));
}

Test(loss, an_owner_that_was_away_has_not_waited)
{
	(void)first_push();
	fx_tick(&f, 5000 * MS);
	cr_assert_null(gp_ccore_error(f.core));
}

Test(loss, a_fenced_session_ends)
{
	(void)first_push();
	const struct gp_refuse r = {.reason = GP_REFUSAL_FENCED, .about = GP_WIRE_HEARTBEAT};
	fx_refuse(&f, &r);
	cr_assert_eq(gp_ccore_error(f.core)->code, -ECONNRESET);
	fx_tick(&f, MS);
	cr_assert_eq(gp_ccore_push(f.core, 0, f.grad, 1, f.out), -ECONNRESET);
}
