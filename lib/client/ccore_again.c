// SPDX-License-Identifier: BSD-3-Clause
//
// A lost session is had again, with the server that leads now. What this rank contributed to the
// step in hand stays encoded as it was; all that the old server said about that step is forgotten.
// Once the rank is a member again, home tells where the job stands. If it is at that step, or the
// step was committed with this rank's contributions, the rank goes on as if nothing had happened:
// the same bytes are sent again, and what the new server has of them counts as it is. Otherwise
// something was lost, or went on without this rank: the step in hand is void, and the owner told.
//
// In an asynchronous job home tells whether this rank goes on with the clock of its life before;
// then what was in hand is committed already or goes again, and reads are asked for anew.
#include "ccore_rows.h"

#define ASK_MIN (5 * MS)
#define ASK_MAX (100 * MS)

bool gp_ccore_can_again(const struct gp_ccore *c)
{
	bool over = c->error.code || c->fate == GP_CCORE_AGAIN;
	return over && c->error.code != -ESTALE && c->formed && !c->leaving;
}

static void lanes_forget(struct gp_ccore *c)
{
	for (uint32_t i = 0; i < GP_CCORE_LANES_MAX; i++)
		if (c->lanes[i].ring)
			c->cfg.give(c->cfg.mem_arg, c->lanes[i].ring);
	memset(c->lanes, 0, sizeof(c->lanes));
	c->lanes_count = 1;
}

// Asynchronous: the step is committed, and its results are not here.
static bool results_owed(const struct gp_ccore *c)
{
	bool fetching = c->phase == CC_SETTLED && c->pushed > 0 && c->todo > 0;
	return cc_is_async(c) && !c->running && (c->phase == CC_READING || fetching);
}

// What was pushed and what is wanted stays in the tensors, the contributions in c->kept or
// where they were borrowed.
static void round_forget(struct gp_ccore *c)
{
	for (uint32_t i = 0; i < c->layout.blocks_count; i++) {
		c->blocks[i].state = CC_IDLE;
		c->blocks[i].ahead = false;
	}
	for (uint32_t i = 0; i < c->layout.units_count; i++)
		c->units[i].committed = false;
	for (uint32_t i = 0; i < c->tensors_count; i++) {
		c->tensors[i].open = c->tensors[i].unsent = 0;
		c->tensors[i].held = NULL; // results of the step in hand may have been written
	}
	c->todo = 0;
	c->uncollected = 0;
	c->mixed = false;
	c->collecting = false;
	c->generation_wanted = false;
	c->read.open = false;
}

static void session_forget(struct gp_ccore *c)
{
	if (c->joined) {
		c->cfg.previous = c->cfg.incarnation;
		c->cfg.epoch_min = c->epoch;
	}
	c->error = (struct gp_client_error){0};
	c->last = (struct gp_client_error){0};
	c->joined = false;
	c->taken_since = 0;
	c->heard = 0;
	cc_register_again(c);
	c->ask_at = 0;
	c->gap_replies = 0;
	c->view = 0;
	c->member = false;
	c->view_skipped = false;
	c->lowest = GP_WIRE_RANK_NONE;
	c->missing_rank = GP_WIRE_RANK_NONE;
	c->home_sent = 0;
	c->home_heard = 0;
}

void gp_ccore_again(struct gp_ccore *c, const struct gp_ccore_again *how, struct gp_xport *core0)
{
	GP_ASSERT(gp_ccore_can_again(c) && how->incarnation != 0);
	c->owed = results_owed(c) || (c->fate == GP_CCORE_AGAIN && c->owed);
	lanes_forget(c);
	round_forget(c);
	session_forget(c);
	memcpy(c->cfg.server, how->server, sizeof(c->cfg.server));
	c->cfg.v4 = how->v4;
	c->cfg.incarnation = how->incarnation;
	c->cfg.nonce = how->nonce;
	c->cfg.flags &= ~(uint32_t)GP_CLIENT_REPLACE; // who took the rank meanwhile keeps it
	c->fate = GP_CCORE_AGAIN;
	cc_lane_start(c, &c->lanes[0], core0);
}

enum gp_ccore_fate gp_ccore_fate(const struct gp_ccore *c)
{
	return c->fate;
}

// ---- the new server must have the same job

static void differs(struct gp_ccore *c, const char *what, uint32_t had, uint32_t has)
{
	cc_fail(c, -ESTALE,
		"server %s has job '%s' with another %s (%u, it was %u before): nothing of the "
		"step in hand fits it",
		c->cfg.server, c->cfg.job, what, has, had);
}

bool cc_again_welcome(struct gp_ccore *c, const struct gp_welcome *w)
{
	const struct {
		const char *what;
		uint32_t had, has;
	} same[] = {
		{"kind", c->w.kind, w->kind},
		{"atomicity", c->w.atomicity, w->atomicity},
		{"consistency", c->w.consistency, w->consistency},
	};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(same) && c->fate == GP_CCORE_AGAIN; i++) {
		if (same[i].had == same[i].has)
			continue;
		differs(c, same[i].what, same[i].had, same[i].has);
		return false;
	}
	return true;
}

bool cc_again_layout(struct gp_ccore *c, const struct gp_layout *l)
{
	const struct gp_layout *had = &c->layout;
	if (had->block_elems != l->block_elems)
		differs(c, "number of elements in a block", had->block_elems, l->block_elems);
	else if (had->blocks_count != l->blocks_count)
		differs(c, "number of blocks", had->blocks_count, l->blocks_count);
	else if (had->units_count != l->units_count)
		differs(c, "number of units", had->units_count, l->units_count);
	return !c->error.code;
}

void cc_again_entry(struct gp_ccore *c, const struct cc_tensor *t, const struct gp_layout_entry *e)
{
	if (t->first_block == e->first_block && t->unit == e->unit)
		return;
	cc_fail(c, -ESTALE,
		"server %s has job '%s' with tensor '%s' at another place (block %u, it was %u "
		"before): nothing of the step in hand fits it",
		c->cfg.server, c->cfg.job, t->d.name, e->first_block, t->first_block);
}

// ---- where the job stands

static void barrier_again(struct gp_ccore *c)
{
	c->barrier_tell = c->barrier_any;
	cc_retry_start(&c->barrier_retry, 5 * MS, 50 * MS);
	cc_retry_start(&c->barrier_tell_retry, 5 * MS, 50 * MS);
}

// Whether all steps up to `done`, which this rank knows from `mine`, are in the line of commits
// that the new server goes on with. What is not known is taken for lost; a server that tells
// nothing (own 0) is believed.
static bool history_holds(
	const struct gp_history *mine, const struct gp_history *its, uint32_t done)
{
	if (mine->own == 0 || its->own == 0 || mine->own == its->own)
		return true;
	bool child = its->before == mine->own;
	bool sibling = its->before != 0 && its->before == mine->before;
	if (sibling && gp_before(mine->step, done))
		return false;
	return (child || sibling) && !gp_before(its->step, done);
}

// A standby commits nothing; what it serves is of a line that changes with each generation.
static struct gp_history history_told(const struct gp_ccore *c)
{
	bool leads = !(c->w.flags & GP_WELCOME_STANDBY);
	return leads ? c->w.history : (struct gp_history){0};
}

void cc_history_take(struct gp_ccore *c)
{
	c->history = history_told(c);
}

static void went_on(struct gp_ccore *c)
{
	c->fate = GP_CCORE_WENT_ON;
	cc_history_take(c);
	barrier_again(c);
}

static void rolled_back(struct gp_ccore *c, uint32_t step)
{
	c->fate = GP_CCORE_ROLLED_BACK;
	cc_history_take(c);
	c->barrier_open = false;
	c->barrier_any = false; // of steps that are not the job's any more
	barrier_again(c);
	cc_residuals_clear(c);
	cc_rows_void(c);
	c->running = false;
	if (!cc_is_reader(c))
		cc_step_void(c, step);
}

void cc_again_member(struct gp_ccore *c)
{
	bool apart = cc_is_async(c) && c->view_step != 0; // its step is not the view's
	// Nothing is known yet: whatever is there will do.
	if (c->running && c->mode != CC_PULL && !apart) {
		went_on(c);
		cc_init_begin(c);
		return;
	}
	c->again_since = c->home_time + 1;
	cc_retry_start(&c->again_retry, ASK_MIN, ASK_MAX);
}

static void reader_reply(struct gp_ccore *c, uint32_t generation)
{
	const struct gp_history its = history_told(c);
	bool holds = cc_is_async(c) || history_holds(&c->history, &its, c->newest);
	if (c->pulled && (gp_before(generation, c->newest) || !holds))
		rolled_back(c, 0);
	else
		went_on(c);
	if (c->fate != GP_CCORE_WENT_ON || !c->running)
		return;
	if (cc_is_async(c) && !(c->w.flags & GP_WELCOME_STANDBY))
		cc_round_read(c, 0, 0);
	else
		cc_pull_newest(c);
}

static uint64_t taken_count(const struct gp_ccore *c)
{
	uint64_t units = 0;
	for (uint32_t i = 0; i < c->tensors_count; i++) {
		const struct cc_tensor *t = &c->tensors[i];
		if (t->taken)
			units += cc_atomicity(c) == GP_ATOM_BLOCK ? t->blocks_count : 1;
	}
	return units;
}

// Whether the units whose results are in use already are committed there. A server that had not
// been told of them all has none: it goes on from a generation that was whole.
static bool taken_are_there(const struct gp_ccore *c, uint32_t ahead)
{
	return ahead >= taken_count(c);
}

// Whether what this rank has done is what the server goes on from: steps of the same number are not
// the same where one of them was lost and done again.
static bool done_is_there(const struct gp_ccore *c)
{
	const struct gp_history its = history_told(c);
	return history_holds(&c->history, &its, c->step - (taken_count(c) == 0));
}

// Of a rank that goes on with its clock: whether what it has in hand fits.
static bool async_fits(const struct gp_ccore *c, const struct gp_heartbeat_reply *r, bool counted)
{
	bool quorum = c->w.consistency == GP_CONSIST_QUORUM;
	bool passed = quorum && gp_before(c->step, r->next_step);
	// Ahead of what it has in hand: another life of this rank has joined meanwhile.
	if (!quorum && gp_before(c->step, r->ahead))
		return false;
	if (c->pushed == 0)
		return r->next_step == c->step || passed;
	if (c->phase == CC_COMMITTING && !counted)
		return r->next_step == c->step ||
		       (passed && (c->w.flags & GP_WELCOME_STALE_REFUSED));
	return counted || passed;
}

static void async_reply(struct gp_ccore *c, const struct gp_heartbeat_reply *r)
{
	bool counted = r->next_step != 0 && !gp_before(r->ahead, c->step);
	c->view_step = r->next_step; // which is not the view's for who goes on
	if (c->running) {	     // nothing is in hand
		went_on(c);
		c->closed = r->next_step - 1;
		cc_round_read(c, r->next_step, 0);
		return;
	}
	if (!(r->flags & GP_HEARTBEAT_AHEAD) || !async_fits(c, r, counted)) {
		rolled_back(c, r->next_step);
		return;
	}
	went_on(c);
	if (c->pushed == 0) {
		cc_step_void(c, r->next_step);
		return;
	}
	if (gp_before(c->closed, r->next_step - 1))
		c->closed = r->next_step - 1;
	cc_async_again(c, counted);
}

// Home no longer keeps the decision that made it a member.
static void view_lost(struct gp_ccore *c, const struct gp_heartbeat_reply *r)
{
	bool member = (r->flags & GP_HEARTBEAT_MEMBER) != 0;
	if (!c->view_skipped || !member || !gp_before(c->view, r->view))
		return;
	c->view_skipped = false;
	c->view = r->view;
	c->lowest = r->lowest;
	c->member = true;
	cc_again_member(c);
}

void cc_again_reply(struct gp_ccore *c, const struct gp_heartbeat_reply *r)
{
	if (c->fate != GP_CCORE_AGAIN || !c->laid_out || r->time < c->again_since)
		return;
	if (c->leaving) // the caller has its memory back
		return;
	if (cc_is_reader(c)) {
		reader_reply(c, r->generation);
		return;
	}
	if (cc_is_async(c))
		view_lost(c, r);
	if (!c->member || r->view != c->view || gp_before(c->known, c->seen) ||
		c->fate != GP_CCORE_AGAIN || r->time < c->again_since)
		return;
	if (cc_is_async(c)) {
		async_reply(c, r);
		return;
	}
	// Else a part of the step that is under way was committed without this rank.
	bool ahead = (r->flags & GP_HEARTBEAT_AHEAD) != 0;
	bool at_step = r->generation + 1 == c->step && ahead && taken_are_there(c, r->ahead);
	bool pushed = !c->running && c->pushed == c->tensors_count;
	bool past_step =
		r->generation == c->step && pushed && ahead && (r->flags & GP_HEARTBEAT_COUNTED);
	if (!done_is_there(c) || (!at_step && !past_step)) {
		rolled_back(c, r->generation + 1);
		return;
	}
	went_on(c);
	if (c->running)
		cc_pull_newest(c);
	else
		cc_step_again(c, past_step);
}
