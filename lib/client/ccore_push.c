// SPDX-License-Identifier: BSD-3-Clause
//
// Contributions on their way: in schedule order, within credit, not further than `slots` places
// beyond the lowest that is missing. What was lost goes the same way again, from the same bytes.
#include "ccore_rows.h"

#define LATER	     (1 * MS) // no frame was free
#define COALESCE_MAX 64	      // sections of a datagram
#define PLACES_MAX   4096     // of it, in runs

struct batch {
	uint32_t first; // place
	uint32_t count;
	uint32_t sections; // runs of blocks with nothing to say take one
	uint32_t bytes;	   // sections and payloads
	bool again;	   // carries something sent before
};

static uint32_t lane_block(const struct gp_ccore *c, const struct cc_lane *l, uint32_t place)
{
	return place * c->lanes_count + l->idx;
}

static uint32_t lane_end(const struct gp_ccore *c, const struct cc_lane *l)
{
	if (cc_embeds(c)) // staged: no place waits for another
		return l->places;
	return (uint32_t)GP_MIN((uint64_t)l->low + c->w.slots, l->places);
}

// The first place from l->next that waits to be sent and may be. Tensors are pushed last layer
// first and sent first layer first: what lies between and has been sent is passed over tensor by
// tensor.
static bool next_place(const struct gp_ccore *c, struct cc_lane *l, uint32_t *place)
{
	uint32_t end = lane_end(c, l);
	while (l->next < end) {
		const struct cc_block *b = &c->blocks[lane_block(c, l, l->next)];
		if (b->state == CC_UNSENT)
			break;
		bool none = c->tensors[b->tensor].unsent == 0;
		l->next = none ? cc_tensor_end(c, l, l->next) : l->next + 1;
	}
	*place = l->next;
	return l->next < end;
}

// Whether a block has nothing to say and goes in the section of the one before it.
static bool run_goes_on(
	const struct gp_ccore *c, const struct cc_block *before, const struct cc_block *k)
{
	return before->len == 0 && k->len == 0 &&
	       c->tensors[before->tensor].weight == c->tensors[k->tensor].weight;
}

// As many neighbours as fit one datagram.
static void batch_fill(
	const struct gp_ccore *c, const struct cc_lane *l, uint32_t place, struct batch *b)
{
	uint32_t end = lane_end(c, l), bytes = GP_WIRE_HEADER_SIZE;
	const struct cc_block *before = NULL;
	bool want = c->blocks[lane_block(c, l, place)].want;
	*b = (struct batch){.first = place};
	for (; place < end && b->count < PLACES_MAX; place++) {
		const struct cc_block *k = &c->blocks[lane_block(c, l, place)];
		bool joins = before && run_goes_on(c, before, k);
		uint32_t more = joins ? 0 : GP_WIRE_SECTION_SIZE + k->len;
		if (k->state != CC_UNSENT || k->want != want || bytes + more > c->limit ||
			(!joins && b->sections == COALESCE_MAX))
			break;
		bytes += more;
		b->sections += !joins;
		b->count++;
		b->again |= k->sent_before;
		before = k;
	}
	b->bytes = bytes - GP_WIRE_HEADER_SIZE;
	GP_ASSERT(b->count > 0);
}

static uint32_t batch_write(
	struct gp_ccore *c, struct cc_lane *l, const struct batch *b, struct cc_out *o)
{
	uint32_t at = 0, n = 0;
	struct gp_section s = {.run = 0};
	const struct cc_block *before = NULL;
	for (uint32_t i = 0; i < b->count; i++) {
		uint32_t block = lane_block(c, l, b->first + i);
		struct cc_block *k = &c->blocks[block];
		bool joins = before && run_goes_on(c, before, k);
		bool passed = k->len == 0 && cc_embeds(c);
		if (!joins)
			s = (struct gp_section){
				.block = block,
				.len = (uint16_t)k->len,
				.codec = k->codec,
				.weight = passed ? 0 : c->tensors[k->tensor].weight,
			};
		s.run++;
		gp_wire_put_section(o->frame->data, joins ? n - 1 : n++, &s);
		cc_contribution_write(c, block, o->body + at);
		at += k->len;
		if (!k->sent_before)
			c->stats.pushed_bytes += k->len;
		k->sent_before = true;
		k->pn = l->tx_packet;
		cc_block_set(c, block, CC_SENT);
		before = k;
	}
	GP_ASSERT(n == b->sections);
	return at;
}

static bool batch_send(struct gp_ccore *c, struct cc_lane *l, const struct batch *b)
{
	bool want = c->blocks[lane_block(c, l, b->first)].want;
	uint32_t fixed = GP_WIRE_HEADER_SIZE + b->bytes;
	struct gp_header h = {
		.type = GP_WIRE_PUSH,
		.flags = want && !cc_results_later(c) ? GP_WIRE_F_WANT : 0,
		.pad = gp_wire_pad(cc_lower(c), 0, b->sections, c->limit - fixed),
		.step = c->round_step,
		.sections = (uint8_t)b->sections,
	};
	struct cc_out o;
	if (!cc_send_begin(c, l, &h, &o))
		return false;
	struct cc_sent *sent = cc_ring_open(l, b->first, b->count);
	sent->bytes = fixed;
	sent->delivered = l->delivered;
	cc_send_end(c, l, &o, batch_write(c, l, b, &o));
	c->stats.retransmits += b->again;
	return true;
}

uint64_t cc_push_tick(struct gp_ccore *c, struct cc_lane *l)
{
	uint32_t place;
	struct batch b;
	if (!c->member)
		return GP_CCORE_NEVER;
	uint32_t window = GP_MIN(l->credit, cc_window_size(&l->window));
	while (l->outstanding < window && next_place(c, l, &place)) {
		if (place >= l->busy_from && c->now < l->busy_until)
			return l->busy_until;
		batch_fill(c, l, place, &b);
		if (!batch_send(c, l, &b))
			return c->now + LATER;
	}
	return GP_CCORE_NEVER;
}
