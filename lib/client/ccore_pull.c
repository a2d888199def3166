// SPDX-License-Identifier: BSD-3-Clause
//
// Asking for results: in a step only for those that seem to be lost; in rounds of init and pull for
// everything, `window` blocks at a time.
#include "ccore_rows.h"

#define LATER	     (1 * MS) // no frame was free
#define PULL_GAP_MIN (1 * MS)
#define GAP_PLACES   8 // results that a packet may have brought

struct wanted {
	uint32_t from; // places
	uint32_t end;
	uint32_t blocks_max;
	uint32_t run_max;
	uint8_t flags;
};

static uint32_t lane_block(const struct gp_ccore *c, const struct cc_lane *l, uint32_t place)
{
	return place * c->lanes_count + l->idx;
}

static bool is_wanted(const struct gp_ccore *c, const struct cc_lane *l, uint32_t place)
{
	const struct cc_block *b = &c->blocks[lane_block(c, l, place)];
	return b->state == CC_ACCEPTED && b->want;
}

static bool is_bulk(const struct gp_ccore *c)
{
	return c->mode != CC_STEP || c->collecting;
}

// Runs of neighbours that are awaited, all of one step. Returns how many sections.
static uint32_t sections_gather(const struct gp_ccore *c, const struct cc_lane *l,
	const struct wanted *w, struct gp_section s[PULL_SECTIONS_MAX], uint32_t *blocks)
{
	uint32_t fits = (c->limit - GP_WIRE_HEADER_SIZE) / GP_WIRE_SECTION_SIZE;
	uint32_t n = 0, sections_max = GP_MIN(fits, PULL_SECTIONS_MAX);
	bool ahead = false;
	*blocks = 0;
	for (uint32_t p = w->from; p < w->end && *blocks < w->blocks_max; p++) {
		uint32_t block = lane_block(c, l, p);
		if (c->tensors[c->blocks[block].tensor].open == 0) {
			p = cc_tensor_end(c, l, p) - 1;
			continue;
		}
		if (!is_wanted(c, l, p))
			continue;
		if (*blocks == 0)
			ahead = c->blocks[block].ahead;
		if (c->blocks[block].ahead != ahead)
			continue;
		bool joins = n > 0 && s[n - 1].run < w->run_max &&
			     s[n - 1].block + s[n - 1].run * c->lanes_count == block;
		if (!joins && n == sections_max)
			break;
		if (joins)
			s[n - 1].run++;
		else
			s[n++] = (struct gp_section){.block = block, .run = 1};
		(*blocks)++;
	}
	return n;
}

// Returns the blocks asked for; -1 when there was no frame.
static int pull_send(struct gp_ccore *c, struct cc_lane *l, const struct wanted *w)
{
	struct gp_section s[PULL_SECTIONS_MAX];
	uint32_t blocks;
	uint32_t n = sections_gather(c, l, w, s, &blocks);
	if (n == 0)
		return 0;
	bool ahead = c->blocks[s[0].block].ahead;
	struct gp_header h = {
		.type = GP_WIRE_PULL,
		.flags = w->flags,
		.step = c->round_step + (c->mode == CC_INIT && ahead),
		.sections = (uint8_t)n,
	};
	struct cc_out o;
	if (!cc_send_begin(c, l, &h, &o))
		return -1;
	for (uint32_t i = 0; i < n; i++)
		gp_wire_put_section(o.frame->data, i, &s[i]);
	cc_send_end(c, l, &o, 0);
	return (int)blocks;
}

// Between two questions for the lowest place.
static uint64_t gap_of(const struct cc_lane *l)
{
	return GP_MAX(2 * l->rtt.srtt, PULL_GAP_MIN);
}

// The next time: at once more patient while nothing comes.
static void backoff(struct gp_ccore *c, struct cc_lane *l)
{
	uint64_t first = GP_MIN(2 * cc_rtt_rto(&l->rtt), PULL_BACKOFF_MAX);
	l->pull_backoff = l->pull_backoff ? GP_MIN(l->pull_backoff * 2, PULL_BACKOFF_MAX) : first;
	l->pull_last = c->now;
	l->pull_at = c->now + l->pull_backoff;
}

static uint64_t bulk_tick(struct gp_ccore *c, struct cc_lane *l)
{
	const struct wanted w = {
		.from = l->low,
		.end = l->places,
		.blocks_max = GP_MIN(c->w.window, CREDIT_MAX),
		.run_max = c->mixed ? 1 : UINT16_MAX,
		.flags = GP_WIRE_F_WANT,
	};
	int asked = cc_embeds(c) ? cc_rows_ask(c, l, w.blocks_max) : pull_send(c, l, &w);
	if (asked < 0)
		return c->now + LATER;
	c->stats.retransmits += l->asked > 0;
	l->asked = (uint32_t)asked;
	backoff(c, l);
	return l->pull_at;
}

static uint64_t repair_tick(struct gp_ccore *c, struct cc_lane *l)
{
	uint32_t end = (uint32_t)GP_MIN((uint64_t)l->low + c->w.slots, l->places);
	const struct wanted w = {
		.from = l->low, .end = end, .blocks_max = REPAIR_BLOCKS_MAX, .run_max = 1};
	int asked = pull_send(c, l, &w);
	if (asked < 0)
		return c->now + LATER;
	c->stats.retransmits += asked > 0;
	backoff(c, l);
	return l->pull_at;
}

// ---- what a gap in the core's packet numbers shows: each place is asked for once, at once

void cc_results_rewind(struct cc_lane *l)
{
	l->result_high = 0;
	l->asked = 0;
	l->gap_end = 0;
	l->hole_next = 0;
	l->hole_from = 0;
}

void cc_holes_back(struct cc_lane *l, uint32_t place)
{
	if (l->hole_from == l->hole_next && place < l->hole_next)
		l->hole_from = l->hole_next = place;
}

void cc_pull_heard(struct cc_lane *l, uint64_t packet)
{
	if (packet <= l->rx_high)
		return;
	uint64_t missing = l->rx_high > 0 ? packet - l->rx_high - 1 : 0;
	l->rx_high = packet;
	if (missing > 0)
		l->gap_end = (uint32_t)GP_MAX(l->gap_end,
			GP_MIN(l->result_high + GAP_PLACES * GP_MIN(missing, l->places) + 1,
				l->places));
}

static void holes_look(const struct gp_ccore *c, struct cc_lane *l)
{
	bool due = l->hole_from < l->hole_next;
	uint32_t p = GP_MAX(l->hole_next, l->low);
	for (; p < l->gap_end && p + HOLE_PLACES <= l->result_high; p++) {
		if (due || !is_wanted(c, l, p))
			continue;
		due = true;
		l->hole_from = p;
	}
	l->hole_next = p;
	if (!due)
		l->hole_from = p;
}

// Four times in a round trip at most, so that neighbours go together.
static uint64_t holes_tick(struct gp_ccore *c, struct cc_lane *l)
{
	if (is_bulk(c) || l->hole_from == l->hole_next)
		return GP_CCORE_NEVER;
	uint64_t at = l->hole_last + l->rtt.srtt / 4;
	if (c->now < at)
		return at;
	const struct wanted w = {.from = l->hole_from,
		.end = l->hole_next,
		.blocks_max = REPAIR_BLOCKS_MAX,
		.run_max = 1};
	int asked = pull_send(c, l, &w);
	if (asked < 0)
		return c->now + LATER;
	c->stats.retransmits += asked > 0;
	l->hole_last = c->now;
	if (l->hole_from <= l->low && asked > 0) { // as if it had been its turn
		l->pull_last = c->now;
		l->pull_at = GP_MAX(l->pull_at, c->now + gap_of(l));
	}
	l->hole_from = l->hole_next;
	return GP_CCORE_NEVER;
}

uint64_t cc_pull_tick(struct gp_ccore *c, struct cc_lane *l)
{
	if (l->waiting == 0 || c->generation_wanted || c->read.open || cc_results_later(c))
		return GP_CCORE_NEVER;
	uint64_t holes_at = holes_tick(c, l);
	if (c->now < l->pull_at)
		return GP_MIN(l->pull_at, holes_at);
	uint64_t at = is_bulk(c) ? bulk_tick(c, l) : repair_tick(c, l);
	return GP_MIN(at, holes_at);
}

// Results come in the order of places: one that is some places further on shows that an earlier one
// was lost. It is asked for again, but not sooner than the question may be answered.
static bool hole_seen(struct gp_ccore *c, struct cc_lane *l, uint32_t place)
{
	l->result_high = GP_MAX(l->result_high, place);
	if (l->waiting == 0)
		return false;
	cc_low_advance(c, l);
	if (l->low + HOLE_PLACES > l->result_high || !is_wanted(c, l, l->low))
		return false;
	l->pull_at = GP_MIN(l->pull_at, GP_MAX(l->pull_last + gap_of(l), c->now));
	return true;
}

// A result of `place` has arrived: time to wait anew, or a sign that an earlier one was lost.
void cc_pull_progress(struct gp_ccore *c, struct cc_lane *l, uint32_t place)
{
	l->pull_backoff = 0;
	if (is_bulk(c)) {
		if (l->asked > 0 && --l->asked == 0)
			l->pull_at = c->now;
		else if (cc_is_apart(c))
			(void)hole_seen(c, l, place);
		return;
	}
	if (!hole_seen(c, l, place) && l->waiting > 0)
		l->pull_at = c->now + 2 * cc_rtt_rto(&l->rtt);
	holes_look(c, l);
}

// An asynchronous job reads another one: true when that is so.
static bool gone_async(struct gp_ccore *c, const struct gp_refuse *r)
{
	if (!cc_is_async(c) || c->w.flags & GP_WELCOME_STANDBY)
		return false;
	if (c->read.open || r->step != c->round_step)
		return true;
	if (c->mode == CC_INIT_ZERO && c->running)
		cc_round_read(c, 1, GP_READ_RESERVE); // the others went on from step 0
	else if (c->mode == CC_PULL)
		cc_read_again(c);
	return true;
}

// The generation is no longer there: init finds which blocks have moved on, a pull starts again.
void cc_pull_gone(struct gp_ccore *c, const struct gp_refuse *r)
{
	bool of_pull = r->about == GP_WIRE_PULL || r->about == GP_WIRE_PULL_ROWS;
	if (!c->laid_out || !of_pull || gone_async(c, r) || !c->running)
		return;
	if (c->mode == CC_PULL && r->step == c->round_step && !c->generation_wanted) {
		c->pulls_restarted++;
		c->generation_wanted = true;
		c->generation_since = c->home_time + 1;
		cc_retry_start(&c->generation_retry, 20 * MS, 200 * MS);
		return;
	}
	if (c->mode != CC_INIT || r->step != c->round_step || r->what >= c->layout.blocks_count)
		return;
	struct cc_block *b = &c->blocks[r->what];
	struct cc_lane *l = cc_block_lane(c, r->what);
	if (c->mixed && b->state == CC_ACCEPTED)
		b->ahead = true;
	c->mixed = true;
	l->asked = 0;
	l->pull_at = c->now;
}
