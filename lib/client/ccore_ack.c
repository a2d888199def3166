// SPDX-License-Identifier: BSD-3-Clause
//
// Acknowledgements: credit comes back, round trips are measured, losses are found (RFC 9002, 6).
// A packet is lost when one sent three packets later, or a round trip and an eighth later, has
// arrived. Silence proves nothing, since a server that waits for its CPU is silent too: it only
// makes the oldest packet go again, and the answer to that shows what else is missing.
#include "ccore_priv.h"

#define ACK_BITS 64

void cc_rtt_bound(struct cc_rtt *r, uint32_t min_us, uint32_t max_us)
{
	r->min = min_us ? min_us * US : RTO_MIN;
	r->max = max_us ? max_us * US : RTO_MAX;
	r->max = GP_MAX(r->min, r->max);
}

// RFC 6298, 2.2 and 2.3.
void cc_rtt_sample(struct cc_rtt *r, uint64_t ns)
{
	r->latest = ns;
	if (r->srtt == 0) {
		r->srtt = GP_MAX(ns, 1);
		r->rttvar = ns / 2;
		return;
	}
	uint64_t gap = r->srtt > ns ? r->srtt - ns : ns - r->srtt;
	r->rttvar = (3 * r->rttvar + gap) / 4;
	r->srtt = (7 * r->srtt + ns) / 8;
}

uint64_t cc_rtt_rto(const struct cc_rtt *r)
{
	uint64_t rto = r->srtt ? r->srtt + 4 * r->rttvar : r->max / 4;
	return GP_MIN(GP_MAX(rto, r->min), r->max);
}

static bool block_is_in(const struct gp_ccore *c, uint32_t block, const struct cc_sent *s)
{
	return c->blocks[block].state == CC_SENT && c->blocks[block].pn == s->pn;
}

// Delivery rate: what has arrived since the packet was sent, in that time. It is too low where
// there was little to send, so that the largest counts.
static void rate_measure(const struct gp_ccore *c, struct cc_lane *l, const struct cc_sent *s)
{
	l->delivered += s->bytes;
	if (c->now <= s->time)
		return;
	double rate = (double)(l->delivered - s->delivered) * 1e9 / (double)(c->now - s->time);
	l->rate = GP_MAX(l->rate, (uint64_t)rate);
}

static void sent_accepted(struct gp_ccore *c, struct cc_lane *l, struct cc_sent *s)
{
	for (uint32_t i = 0; i < s->count; i++) {
		uint32_t block = (s->first + i) * c->lanes_count + l->idx;
		if (block_is_in(c, block, s))
			cc_block_answered(c, block);
	}
	rate_measure(c, l, s);
	cc_sent_close(l, s);
	l->busy_wait = 0;
	cc_low_advance(c, l);
}

void cc_sent_lost(struct gp_ccore *c, struct cc_lane *l, struct cc_sent *s)
{
	cc_sent_close(l, s);
	for (uint32_t i = 0; i < s->count; i++) {
		uint32_t block = (s->first + i) * c->lanes_count + l->idx;
		if (!block_is_in(c, block, s))
			continue;
		cc_block_unsent(c, block);
	}
}

static void rtt_measure(
	struct gp_ccore *c, struct cc_lane *l, const struct gp_ack *a, const struct cc_sent *s)
{
	uint64_t delay = (uint64_t)a->delay_us * US;
	uint64_t took = c->now - s->time;
	if (a->largest <= l->rtt_packet || c->now < s->time)
		return;
	l->rtt_packet = a->largest;
	uint64_t rtt = took > delay ? took - delay : took;
	cc_rtt_sample(&l->rtt, rtt);
	cc_window_sample(&l->window, rtt, c->now);
}

// Losses that what has arrived so far shows; returns when time will show the next one.
static uint64_t losses_find(struct gp_ccore *c, struct cc_lane *l)
{
	uint64_t at = GP_CCORE_NEVER;
	uint64_t late = GP_MAX(l->rtt.srtt, l->rtt.latest) * 9 / 8 + LATE_SLACK;
	// Perhaps of another view: wait for the decision.
	if (!cc_is_apart(c) && gp_before(c->known, c->seen))
		return at;
	for (uint64_t pn = l->ring_low; pn < l->acked; pn++) {
		struct cc_sent *s = cc_ring_find(l, pn);
		if (!s || !s->open)
			continue;
		if (pn + REORDER_PACKETS <= l->acked || s->time + late <= c->now)
			cc_sent_lost(c, l, s);
		else
			at = GP_MIN(at, s->time + late);
	}
	return at;
}

void cc_ack(struct gp_ccore *c, struct cc_lane *l, const struct gp_ack *a)
{
	if (a->largest > l->tx_packet) {
		c->stats.rx_rejected++;
		return;
	}
	struct cc_sent *s = cc_ring_find(l, a->largest);
	if (s)
		rtt_measure(c, l, a, s);
	if (!c->laid_out)
		return;
	if (a->largest > l->acked) {
		l->acked = a->largest;
		l->reminders = 0;
		l->quiet_since = c->now;
	}
	if (s && s->open && (a->flags & 1))
		sent_accepted(c, l, s);
	for (uint32_t i = 0; i < ACK_BITS && a->largest > i + 1; i++) {
		uint64_t pn = a->largest - 1 - i;
		if (pn < l->ring_low) // nothing below is open
			break;
		if (!(a->bits >> i & 1))
			continue;
		s = cc_ring_find(l, pn);
		if (s && s->open)
			sent_accepted(c, l, s);
	}
	(void)losses_find(c, l);
}

// The oldest packet in flight goes again, as a question: whatever it is answered with shows what
// else is missing.
static void remind(struct gp_ccore *c, struct cc_lane *l)
{
	uint64_t pn = l->ring_low;
	while (!l->ring[pn & l->ring_mask].open)
		pn++;
	GP_ASSERT(pn <= l->tx_packet);
	cc_sent_lost(c, l, &l->ring[pn & l->ring_mask]);
	l->reminders = GP_MIN(l->reminders + 1, REMINDERS_MAX);
	l->quiet_since = c->now;
}

uint64_t cc_ack_tick(struct gp_ccore *c, struct cc_lane *l)
{
	uint64_t at = losses_find(c, l);
	if (l->outstanding == 0)
		return at;
	uint64_t wait = GP_MIN(cc_rtt_rto(&l->rtt) << l->reminders, l->rtt.max);
	if (l->quiet_since + wait <= c->now) {
		remind(c, l);
		wait = GP_MIN(cc_rtt_rto(&l->rtt) << l->reminders, l->rtt.max);
	}
	return GP_MIN(at, l->quiet_since + wait);
}
