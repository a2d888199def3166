// SPDX-License-Identifier: BSD-3-Clause
//
// Results, and what the server says about single contributions (BUSY, NACK).
#include "ccore_priv.h"

#define BUSY_WAIT_MAX (40 * MS)

static bool step_fits(const struct gp_ccore *c, const struct cc_block *b, uint32_t step)
{
	return step == c->round_step + (c->mode == CC_INIT && b->ahead);
}

// Whether a result computed in `view` may be taken now, and whether it is final.
static bool result_stands(
	const struct gp_ccore *c, uint32_t block, const struct gp_header *h, bool *final)
{
	const struct cc_unit *u = &c->units[cc_block_unit(c, block)];
	*final = !(h->flags & GP_WIRE_F_TENTATIVE);
	if (*final)
		return true;
	if (c->mode != CC_STEP && c->mode != CC_INIT_ZERO)
		return false;
	if (u->committed) {
		*final = u->view == h->view;
		return *final;
	}
	return h->view == c->view;
}

// Whether what a result leaves out is where it goes: the values of the step before.
static bool base_is_held(const struct gp_ccore *c, const struct cc_tensor *t,
	const struct cc_block *b, uint32_t step)
{
	return (c->cfg.flags & GP_CLIENT_CHANGED) && c->mode == CC_STEP && t->held == t->out &&
	       t->held_step + 1 == step && b->state != CC_RESULT && !b->dirty;
}

static void result_take(struct gp_ccore *c, struct cc_lane *l, const struct gp_header *h,
	const struct gp_section *s, const uint8_t *payload)
{
	struct cc_block *b = &c->blocks[s->block];
	struct cc_tensor *t = &c->tensors[b->tensor];
	bool final;
	// Where it goes may be where the contribution is still to be encoded from.
	bool early = t->values && cc_block_lacks(c, s->block);
	if (!b->want || b->state == CC_IDLE || early || !step_fits(c, b, h->step) ||
		!result_stands(c, s->block, h, &final)) {
		c->stats.rx_rejected++;
		return;
	}
	if (b->state == CC_FINAL || (b->state == CC_RESULT && !final)) {
		c->stats.duplicates++;
		return;
	}
	if (gp_codec_check(s->codec, payload, s->len, b->elems) != GP_CODEC_OK) {
		c->stats.rx_rejected++;
		return;
	}
	bool keep = s->flags & GP_WIRE_SECTION_KEEP;
	if (keep && !base_is_held(c, t, b, h->step)) { // PULL brings it whole
		c->stats.rx_rejected++;
		return;
	}
	size_t at = (size_t)(s->block - t->first_block) * c->layout.block_elems;
	GP_ASSERT(t->out && at + b->elems <= t->elems);
	if (keep)
		gp_codec_update(s->codec, t->out + at, payload, s->len, b->elems);
	else
		gp_codec_decode(s->codec, t->out + at, payload, s->len, b->elems);
	b->dirty &= keep;
	bool collected = b->state != CC_RESULT && c->units[cc_block_unit(c, s->block)].committed;
	cc_block_answered(c, s->block);
	b->view = h->view;
	cc_block_set(c, s->block, final ? CC_FINAL : CC_RESULT);
	if (collected && c->uncollected > 0)
		c->uncollected--;
	cc_pull_progress(c, l, s->block / c->lanes_count);
}

static bool section_is_ours(
	const struct gp_ccore *c, const struct cc_lane *l, const struct gp_section *s)
{
	uint64_t last = s->block + (uint64_t)(s->run - 1u) * c->lanes_count;
	return last < c->layout.blocks_count && s->block % c->lanes_count == l->idx;
}

void cc_result(struct gp_ccore *c, struct cc_lane *l, const struct gp_msg *m)
{
	const uint8_t *payload = m->body;
	if (!c->laid_out)
		return;
	for (uint32_t i = 0; i < m->h.sections; i++) {
		struct gp_section s;
		gp_wire_get_section(m, i, &s);
		if (!section_is_ours(c, l, &s))
			c->stats.rx_rejected++;
		else
			for (uint32_t r = 0; r < s.run; r++, s.block += c->lanes_count)
				result_take(c, l, &m->h, &s, payload);
		payload += s.len;
	}
	cc_low_advance(c, l);
}

// ---- BUSY: what it names was not admitted, the rest of that datagram was

static void blocks_back(
	struct gp_ccore *c, const struct gp_section *s, uint64_t pn, bool even_accepted)
{
	uint32_t block = s->block;
	for (uint32_t r = 0; r < s->run; r++, block += c->lanes_count) {
		const struct cc_block *b = &c->blocks[block];
		if ((b->state == CC_SENT && (pn == 0 || b->pn == pn)) ||
			(even_accepted && b->state == CC_ACCEPTED && b->sent_before)) {
			// Out of its packet first: that may have been its last block.
			cc_block_answered(c, block);
			cc_block_unsent(c, block);
		}
	}
}

// Everything from the lowest of a burst waits, and longer while nothing is taken: the core may be
// busy for another reason than that others are behind (no memory for a moment; a backup that lags).
static void busy_wait(struct gp_ccore *c, struct cc_lane *l, uint32_t lowest)
{
	uint64_t wait = cc_rtt_rto(&l->rtt) / 2;
	if (c->now < l->busy_until) {
		l->busy_from = GP_MIN(l->busy_from, lowest);
		return;
	}
	if (l->busy_wait > 0)
		wait = GP_MIN(2 * l->busy_wait, BUSY_WAIT_MAX);
	l->busy_wait = wait;
	l->busy_from = lowest;
	l->busy_until = c->now + wait;
}

void cc_busy(struct gp_ccore *c, struct cc_lane *l, const struct gp_msg *m)
{
	uint64_t pn = gp_wire_get_u64(m);
	uint32_t lowest = UINT32_MAX;
	if (!c->laid_out || c->mode == CC_PULL || m->h.step != c->round_step)
		return;
	struct cc_sent *sent = cc_ring_find(l, pn);
	if (!sent || !sent->open)
		return;
	for (uint32_t i = 0; i < m->h.sections; i++) {
		struct gp_section s;
		gp_wire_get_section(m, i, &s);
		if (!section_is_ours(c, l, &s))
			continue;
		lowest = GP_MIN(lowest, s.block / c->lanes_count);
		blocks_back(c, &s, pn, false);
	}
	for (uint32_t i = 0; i < sent->count; i++) {
		uint32_t block = (sent->first + i) * c->lanes_count + l->idx;
		if (c->blocks[block].state == CC_SENT && c->blocks[block].pn == pn)
			cc_block_answered(c, block);
	}
	cc_sent_close(l, sent);
	if (lowest == UINT32_MAX)
		return;
	busy_wait(c, l, lowest);
}

// What was sent within the last round trip may have crossed it on the way.
static bool may_have_crossed(
	const struct gp_ccore *c, const struct cc_lane *l, const struct cc_block *b)
{
	const struct cc_sent *s = cc_ring_find((struct cc_lane *)l, b->pn);
	return s && c->now < s->time + l->rtt.srtt;
}

void cc_nack(struct gp_ccore *c, struct cc_lane *l, const struct gp_msg *m)
{
	if (!c->laid_out || c->mode == CC_PULL || m->h.step != c->round_step)
		return;
	for (uint32_t i = 0; i < m->h.sections; i++) {
		struct gp_section s;
		gp_wire_get_section(m, i, &s);
		if (!section_is_ours(c, l, &s))
			continue;
		struct gp_section one = {.run = 1};
		for (uint32_t r = 0; r < s.run; r++) {
			one.block = s.block + r * c->lanes_count;
			if (!may_have_crossed(c, l, &c->blocks[one.block]))
				blocks_back(c, &one, 0, true);
		}
	}
}
