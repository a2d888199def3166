// SPDX-License-Identifier: BSD-3-Clause
//
// States of blocks. Every change goes through cc_block_set, which keeps what is counted of them:
// blocks of the round (and of each tensor) that are not final or not sent, blocks whose result is
// awaited.
#include "ccore_priv.h"

struct cc_lane *cc_block_lane(struct gp_ccore *c, uint32_t block)
{
	GP_ASSERT(block < c->layout.blocks_count);
	return &c->lanes[block % c->lanes_count];
}

uint32_t cc_tensor_end(const struct gp_ccore *c, const struct cc_lane *l, uint32_t place)
{
	const struct cc_tensor *t = &c->tensors[c->blocks[place * c->lanes_count + l->idx].tensor];
	uint32_t end = t->first_block + t->blocks_count;
	return (uint32_t)gp_div_up(end - l->idx, c->lanes_count);
}

uint32_t cc_block_unit(const struct gp_ccore *c, uint32_t block)
{
	const struct cc_tensor *t = &c->tensors[c->blocks[block].tensor];
	if (cc_atomicity(c) != GP_ATOM_BLOCK)
		return t->unit;
	return t->unit + (block - t->first_block);
}

static bool is_open(uint8_t state)
{
	return state != CC_IDLE && state != CC_FINAL;
}

void cc_block_set(struct gp_ccore *c, uint32_t block, enum cc_block_state state)
{
	struct cc_block *b = &c->blocks[block];
	struct cc_lane *l = cc_block_lane(c, block);
	struct cc_tensor *t = &c->tensors[b->tensor];
	c->todo += is_open((uint8_t)state);
	t->open += is_open((uint8_t)state);
	GP_ASSERT(c->todo >= is_open(b->state) && t->open >= is_open(b->state));
	c->todo -= is_open(b->state);
	t->open -= is_open(b->state);
	t->unsent += state == CC_UNSENT;
	GP_ASSERT(t->unsent >= (b->state == CC_UNSENT));
	t->unsent -= b->state == CC_UNSENT;
	if (b->want) {
		l->waiting += state == CC_ACCEPTED;
		GP_ASSERT(l->waiting >= (b->state == CC_ACCEPTED));
		l->waiting -= b->state == CC_ACCEPTED;
	}
	b->state = (uint8_t)state;
}

bool cc_block_lacks(const struct gp_ccore *c, uint32_t block)
{
	const struct cc_tensor *t = &c->tensors[c->blocks[block].tensor];
	GP_ASSERT(t->lacking <= t->blocks_count);
	return block - t->first_block >= t->blocks_count - t->lacking;
}

void cc_block_unsent(struct gp_ccore *c, uint32_t block)
{
	if (cc_block_lacks(c, block)) {
		cc_block_set(c, block, CC_COMING);
		return;
	}
	struct cc_lane *l = cc_block_lane(c, block);
	uint32_t place = block / c->lanes_count;
	cc_block_set(c, block, CC_UNSENT);
	l->next = GP_MIN(l->next, place);
}

void cc_block_here(struct gp_ccore *c, struct cc_tensor *t)
{
	uint32_t block = t->first_block + t->blocks_count - t->lacking;
	t->lacking--;
	// Else the step went on without it, or another server is looked for.
	if (c->blocks[block].state == CC_COMING)
		cc_block_unsent(c, block);
}

// Its contribution has arrived: the packet that carried it may be done.
void cc_block_answered(struct gp_ccore *c, uint32_t block)
{
	struct cc_block *b = &c->blocks[block];
	struct cc_lane *l = cc_block_lane(c, block);
	if (b->state == CC_SENT) {
		struct cc_sent *s = cc_ring_find(l, b->pn);
		if (s && s->open && --s->left == 0)
			cc_sent_close(l, s);
	}
	if (b->state != CC_SENT && b->state != CC_UNSENT && b->state != CC_COMING)
		return;
	if (l->waiting == 0)
		l->pull_at = c->now + 2 * cc_rtt_rto(&l->rtt);
	cc_block_set(c, block, CC_ACCEPTED);
}

static bool is_passed(const struct cc_block *b, bool later)
{
	return b->state >= CC_RESULT || (b->state == CC_ACCEPTED && (!b->want || later));
}

void cc_low_advance(struct gp_ccore *c, struct cc_lane *l)
{
	bool later = cc_results_later(c);
	while (l->low < l->places && is_passed(&c->blocks[l->low * c->lanes_count + l->idx], later))
		l->low++;
	if (l->low > l->busy_from)
		l->busy_until = 0;
}

void cc_lane_rewind(struct gp_ccore *c, struct cc_lane *l)
{
	l->low = 0;
	l->next = l->places;
	l->reminders = 0;
	l->busy_from = 0;
	l->busy_until = 0;
	l->busy_wait = 0;
	cc_results_rewind(l);
	l->pull_at = c->now;
	l->pull_backoff = 0;
}

// A round begins: nothing is asked for, nothing is in flight.
void cc_blocks_reset(struct gp_ccore *c)
{
	for (uint32_t i = 0; i < c->lanes_count; i++) {
		struct cc_lane *l = &c->lanes[i];
		for (uint64_t pn = l->ring_low; pn <= l->tx_packet; pn++)
			cc_sent_close(l, &l->ring[pn & l->ring_mask]);
		GP_ASSERT(l->outstanding == 0);
		cc_lane_rewind(c, l);
		l->pull_at = 0;
	}
	for (uint32_t i = 0; i < c->layout.blocks_count; i++) {
		cc_block_set(c, i, CC_IDLE);
		c->blocks[i].ahead = false;
		c->blocks[i].sent_before = false;
	}
	for (uint32_t i = 0; i < c->layout.units_count; i++)
		c->units[i].committed = false;
	GP_ASSERT(c->todo == 0);
	c->uncollected = 0;
	c->pushed = 0;
	c->mixed = false;
	c->collecting = false;
	for (uint32_t i = 0; i < c->tensors_count; i++) {
		struct cc_tensor *t = &c->tensors[i];
		t->pushed = t->taken = false;
		t->encoded = (struct gp_client_encoded){.payload = NULL};
		t->lacking = 0;
		t->values = NULL;
		t->borrowed = NULL;
	}
}
