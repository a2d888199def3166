// SPDX-License-Identifier: BSD-3-Clause
//
// Decisions of home, taken in their order and without a gap: commits make results final, views void
// what is not committed.
#include "ccore_priv.h"

#define GAP_REPLIES_MAX 32
#define ASK_MIN		(500 * US)
#define SKIP_REPLIES	4 // asynchronous: home keeps only so many decisions

// Everything decided is known and held: the server may forget it.
static void confirm(struct gp_ccore *c)
{
	if (c->uncollected == 0)
		c->confirmed = c->known;
}

// A result of another view than the commit's: it is asked for again.
static void result_void(struct gp_ccore *c, uint32_t block)
{
	struct cc_lane *l = cc_block_lane(c, block);
	cc_block_set(c, block, CC_ACCEPTED);
	l->low = GP_MIN(l->low, block / c->lanes_count);
	l->pull_at = c->now;
}

static void commit_block(struct gp_ccore *c, uint32_t block, uint32_t view)
{
	struct cc_block *b = &c->blocks[block];
	if (b->state == CC_IDLE || b->state == CC_FINAL)
		return;
	cc_block_answered(c, block); // committed means that it had arrived
	if (!b->want || (b->state == CC_RESULT && b->view == view)) {
		cc_block_set(c, block, CC_FINAL);
		return;
	}
	if (b->state == CC_RESULT)
		result_void(c, block);
	c->uncollected++;
}

// The step's results are there now, all of them.
static void results_fetch(struct gp_ccore *c)
{
	c->collecting = true;
	for (uint32_t i = 0; i < c->lanes_count; i++) {
		c->lanes[i].low = 0;
		c->lanes[i].asked = 0;
		c->lanes[i].pull_at = c->now;
	}
}

static void decided_commit(struct gp_ccore *c, const struct gp_commit_entry *e)
{
	if (cc_is_apart(c)) {
		cc_async_commit(c, e);
		return;
	}
	bool counts = c->mode == CC_STEP || (c->mode == CC_INIT_ZERO && c->running);
	if (!c->laid_out || !counts || e->step != c->round_step || e->unit >= c->layout.units_count)
		return;
	struct cc_unit *u = &c->units[e->unit];
	if (u->committed)
		return;
	u->committed = true;
	u->view = e->view;
	for (uint32_t i = 0; i < u->blocks_count; i++)
		commit_block(c, u->first_block + i, e->view);
	if (cc_results_later(c))
		results_fetch(c);
	for (uint32_t i = 0; i < c->lanes_count; i++)
		cc_low_advance(c, &c->lanes[i]);
}

// Every unit of the step is committed, says home. What this rank does not know of was committed
// before it entered the view, in the middle of the step (the results of those units are in no view
// of its own), or before it asked for the initial parameters.
void cc_step_committed(struct gp_ccore *c, uint32_t generation)
{
	bool counts = c->mode == CC_INIT_ZERO ? c->running : c->mode == CC_STEP && !cc_is_async(c);
	if (!c->laid_out || !counts || gp_before(c->known, c->seen) ||
		gp_before(generation, c->round_step))
		return;
	for (uint32_t u = 0; u < c->layout.units_count; u++) {
		const struct gp_commit_entry e = {.unit = u, .step = c->round_step};
		decided_commit(c, &e);
	}
	confirm(c);
}

static void decided_view(struct gp_ccore *c, const struct gp_commit_entry *e)
{
	bool was_member = c->member;
	c->view = e->view;
	// In an asynchronous job that is where those begin who join with the view, not who stays.
	if (!was_member || !cc_is_apart(c))
		c->view_step = e->step;
	c->lowest = e->lowest;
	c->member = (e->flags & GP_COMMIT_MEMBER) != 0;
	if (c->laid_out)
		cc_round_view(c, was_member);
}

static void decided(struct gp_ccore *c, const struct gp_commit_entry *e)
{
	if (e->kind == GP_DECISION_COMMIT)
		decided_commit(c, e);
	else if (e->kind == GP_DECISION_VIEW)
		decided_view(c, e);
}

// What the server no longer keeps, however often it is asked, was decided long before this rank
// could be in a view. In an asynchronous job nobody waits for a slow rank: HEARTBEAT_REPLY tells
// what it needs of the decisions that it has missed.
static bool gap_is_lost(const struct gp_ccore *c)
{
	if (c->view == 0 && !cc_is_apart(c))
		return c->gap_replies >= GAP_REPLIES_MAX;
	return cc_is_apart(c) && c->gap_replies >= SKIP_REPLIES;
}

void cc_commit(struct gp_ccore *c, const struct gp_msg *m)
{
	struct gp_commit commit;
	gp_wire_get_commit(m, &commit);
	if (cc_is_reader(c))
		return;
	cc_decision_seen(c, commit.first + commit.n - 1);
	if (gap_is_lost(c) && gp_before(c->known + 1, commit.first)) {
		c->view_skipped = true;
		c->known = commit.first - 1;
	}
	for (uint32_t i = 0; i < commit.n; i++) {
		if (commit.first + i != c->known + 1)
			continue;
		struct gp_commit_entry e;
		gp_wire_get_commit_entry(m, i, &e);
		c->known++;
		c->gap_replies = 0;
		decided(c, &e);
	}
	confirm(c);
	if (!gp_before(c->known, c->seen))
		c->ask_at = 0;
}

void cc_decision_seen(struct gp_ccore *c, uint32_t decision)
{
	if (cc_is_reader(c))
		return;
	if (c->uncollected == 0)
		confirm(c);
	if (!gp_before(c->seen, decision))
		return;
	c->seen = decision;
	if (c->ask_at == 0)
		c->ask_at = c->now + GP_MAX(cc_home(c)->rtt.srtt / 2, ASK_MIN);
}
