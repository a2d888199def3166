// SPDX-License-Identifier: BSD-3-Clause
//
// Asynchronous jobs (docs/protocol.md 5.1): a step of this rank is over when its contribution is
// committed and, if results are wanted, a generation that home grants has been pulled. Readers,
// joiners and pulls between steps ask home in the same way.
#include "ccore_priv.h"

#include <stdio.h>

#define NOTHING_MIN    (20 * MS) // until there is a first generation
#define NOTHING_MAX    (200 * MS)
#define COMMIT_ASK_MAX (50 * MS)

// ---- asking home

void cc_read_begin(struct gp_ccore *c, uint32_t clock, uint32_t flags)
{
	uint64_t rto = cc_rtt_rto(&cc_home(c)->rtt);
	c->read.open = true;
	c->read.parked = false;
	c->read.nothing = false;
	c->read.sent = false;
	c->read.request++;
	c->read.clock = clock;
	c->read.flags = flags;
	c->read.rank = GP_WIRE_RANK_NONE;
	cc_retry_start(&c->read.retry, rto, GP_MAX(rto, cc_home(c)->rtt.max));
}

static bool read_send(struct gp_ccore *c)
{
	struct gp_header h = {.type = GP_WIRE_READ, .pad = HEARTBEAT_PAD, .step = c->read.clock};
	struct cc_out o;
	if (!cc_send_begin(c, cc_home(c), &h, &o))
		return false;
	const struct gp_read r = {
		.request = c->read.request, .clock = c->read.clock, .flags = c->read.flags};
	cc_send_end(c, cc_home(c), &o, gp_wire_put_read(o.body, &r));
	c->stats.retransmits += c->read.sent && !c->read.parked && !c->read.nothing;
	c->read.sent = true;
	return true;
}

// ---- a step: committed, then read

static bool all_accepted(const struct gp_ccore *c)
{
	for (uint32_t i = 0; i < c->lanes_count; i++)
		if (c->lanes[i].low < c->lanes[i].places)
			return false;
	return true;
}

static bool step_committed(const struct gp_ccore *c)
{
	if (c->yours || c->w.consistency != GP_CONSIST_QUORUM)
		return c->yours;
	if (gp_before(c->closed, c->step))
		return false;
	// What came late is counted later; only where that is refused it need not even arrive.
	return (c->w.flags & GP_WELCOME_STALE_REFUSED) || all_accepted(c);
}

static bool results_wanted(const struct gp_ccore *c)
{
	for (uint32_t i = 0; i < c->tensors_count; i++)
		if (c->tensors[i].out)
			return true;
	return false;
}

static void step_settle(struct gp_ccore *c)
{
	for (uint32_t b = 0; b < c->layout.blocks_count; b++) {
		cc_block_answered(c, b);
		cc_block_set(c, b, CC_FINAL);
	}
	for (uint32_t i = 0; i < c->lanes_count; i++)
		cc_low_advance(c, &c->lanes[i]);
	c->after = c->step;
	if (c->w.consistency == GP_CONSIST_QUORUM && gp_before(c->after, c->closed))
		c->after = c->closed;
	c->phase = CC_SETTLED;
	c->commit_late = false;
	if (!results_wanted(c))
		return;
	c->phase = CC_READING;
	cc_read_begin(c, c->step + 1, 0);
}

// A lost COMMIT shows in the next datagram from home; where none comes, home is asked.
static void commit_check(struct gp_ccore *c)
{
	bool whole = c->phase == CC_COMMITTING && c->member && c->pushed == c->tensors_count;
	if (whole && step_committed(c)) {
		step_settle(c);
	} else if (whole && !c->commit_late && all_accepted(c)) {
		uint64_t wait = 2 * cc_rtt_rto(&cc_home(c)->rtt);
		c->commit_late = true;
		c->commit_retry = (struct cc_retry){
			.at = c->now + wait, .interval = wait, .max = COMMIT_ASK_MAX};
	}
}

uint64_t cc_read_tick(struct gp_ccore *c)
{
	if (!cc_is_async(c))
		return GP_CCORE_NEVER;
	commit_check(c);
	if (!c->read.open || !(c->member || cc_is_reader(c)))
		return GP_CCORE_NEVER;
	if (cc_retry_due(c, &c->read.retry) && !read_send(c))
		c->read.retry.at = c->now + MS;
	return c->read.retry.at;
}

void cc_async_commit(struct gp_ccore *c, const struct gp_commit_entry *e)
{
	if (gp_before(c->closed, e->step))
		c->closed = e->step;
	if ((e->flags & GP_COMMIT_YOURS) && e->step == c->step && c->phase == CC_COMMITTING)
		c->yours = true;
}

void cc_async_next(struct gp_ccore *c, uint32_t next_step)
{
	if (c->phase != CC_COMMITTING || !gp_before(c->step, next_step))
		return;
	if (c->w.consistency != GP_CONSIST_QUORUM)
		c->yours = true;
	else if (gp_before(c->closed, next_step - 1))
		c->closed = next_step - 1;
}

// A step begins: nothing is owed.
void cc_async_begin(struct gp_ccore *c)
{
	c->phase = CC_SETTLED;
	c->yours = false;
	c->commit_late = false;
	c->read.open = false;
}

void cc_async_again(struct gp_ccore *c, bool counted)
{
	c->commit_late = false;
	c->yours = counted;
	if (c->phase == CC_COMMITTING) {
		cc_step_again(c, false);
	} else if (c->owed) {
		c->phase = CC_READING;
		cc_read_begin(c, c->step + 1, 0);
	}
}

// ---- the generation granted

static void fetch_begin(struct gp_ccore *c, uint32_t generation)
{
	c->phase = CC_SETTLED;
	c->mode = CC_PULL;
	c->round_step = generation;
	for (uint32_t i = 0; i < c->lanes_count; i++)
		cc_lane_rewind(c, &c->lanes[i]);
	for (uint32_t b = 0; b < c->layout.blocks_count; b++) {
		cc_block_set(c, b, CC_FINAL);
		c->blocks[b].want = c->tensors[c->blocks[b].tensor].out != NULL;
		if (c->blocks[b].want)
			cc_block_set(c, b, CC_ACCEPTED);
	}
	for (uint32_t i = 0; i < c->lanes_count; i++)
		cc_low_advance(c, &c->lanes[i]);
}

// What this rank has missed is over.
static void quorum_went_on(struct gp_ccore *c, uint32_t closed)
{
	if (c->running && gp_before(c->step, closed + 1))
		c->step = closed + 1;
	if (!c->running)
		c->after = gp_before(c->step, closed) ? closed : c->step;
}

static void granted(struct gp_ccore *c, const struct gp_read_reply *r)
{
	c->read.open = false;
	if (c->w.consistency == GP_CONSIST_QUORUM)
		quorum_went_on(c, r->clock);
	if (c->running)
		cc_round_pull(c, r->generation);
	else
		fetch_begin(c, r->generation);
}

void cc_read_reply(struct gp_ccore *c, const struct gp_msg *m)
{
	struct gp_read_reply r;
	gp_wire_get_read_reply(m, &r);
	if (!c->laid_out || !c->read.open || r.request != c->read.request)
		return;
	c->read.bound = r.bound;
	if (r.state == GP_READ_GRANTED) {
		granted(c, &r);
		return;
	}
	if (r.state == GP_READ_NOTHING) {
		if (!c->read.nothing)
			cc_retry_start(&c->read.retry, NOTHING_MIN, NOTHING_MAX);
		c->read.nothing = true;
		(void)cc_retry_due(c, &c->read.retry);
		return;
	}
	uint64_t every = (uint64_t)c->w.heartbeat_us * US;
	c->read.parked = true;
	c->read.rank = r.rank;
	c->read.retry = (struct cc_retry){.at = c->now + every, .interval = every, .max = every};
}

// The generation went before it was read whole: the next one waits for this reader.
void cc_read_again(struct gp_ccore *c)
{
	c->pulls_restarted++;
	c->phase = c->running ? CC_SETTLED : CC_READING;
	cc_read_begin(c, c->read.clock, GP_READ_RESERVE);
}

void cc_read_text(const struct gp_ccore *c, char *text, size_t size)
{
	if (c->read.nothing)
		(void)snprintf(text, size, "a first generation");
	else if (!c->read.parked)
		(void)snprintf(text, size, "an answer to READ");
	else if (c->read.rank == GP_WIRE_RANK_NONE)
		(void)snprintf(text, size, "enough workers to join");
	else if (c->read.bound == GP_WIRE_BOUND_NONE)
		(void)snprintf(text, size, "rank %u", c->read.rank);
	else
		(void)snprintf(
			text, size, "rank %u (staleness bound %u)", c->read.rank, c->read.bound);
}
