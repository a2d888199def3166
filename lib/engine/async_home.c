// SPDX-License-Identifier: BSD-3-Clause
//
// The home of an asynchronous job: which generation a reader may have, when, and which cuts live.
#include "backup.h"
#include "watch.h"

#include "engine_priv.h"

#define RESERVED_TIMEOUTS 4 // of workers, without a pull
#define BACKUP_CUTS	  2 // of cuts_max, while the gate is closed

// ---- cuts

static struct live_cut *newest_cut(struct async_home *a)
{
	return a->cuts_count > 0 ? &a->cuts[a->cuts_count - 1] : NULL;
}

static uint32_t clock_lowest(const struct gp_consist *x)
{
	uint32_t min = x->async.clock[0];
	for (uint32_t r = 1; r < x->cfg.workers; r++)
		if (gp_before(x->async.clock[r], min))
			min = x->async.clock[r];
	return min;
}

// Steps that every member has behind it; in a quorum those that are closed; before the first view
// those that the job begins with, and in another server's stead those of whoever may come back.
static uint32_t clock_now(const struct home *h)
{
	const struct gp_async *a = &h->consist.async;
	if (a->resumed && h->consist.view == 0 && h->consist.cfg.mode == GP_CONSIST_EACH)
		return clock_lowest(&h->consist);
	uint32_t slowest, clock = gp_async_clock_min(&h->consist, &slowest);
	bool closed = h->consist.cfg.mode == GP_CONSIST_QUORUMS || slowest == GP_RANKS_MAX;
	return closed ? h->consist.async.closed : clock;
}

void async_cut_note(struct gp_core *c, struct job_core *jc, uint32_t generation, uint32_t pin)
{
	struct home *h = jc->job->home;
	struct async_home *a = h->async;
	GP_ASSERT(a->cuts_count < GP_TABLE_CUTS_MAX);
	a->cuts[a->cuts_count++] = (struct live_cut){
		.generation = generation,
		.decision = h->consist.decision,
		.clock_min = clock_now(h),
		.closed = h->consist.async.closed,
		.pin = pin,
		.made_at = c->now,
		.used_at = c->now,
	};
}

void async_cut_remove(struct async_home *a, uint32_t i)
{
	a->cuts_count--;
	for (; i < a->cuts_count; i++)
		a->cuts[i] = a->cuts[i + 1];
}

static uint32_t pins_count(const struct async_home *a)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < a->cuts_count; i++)
		n += a->cuts[i].pin != PIN_NONE;
	return n;
}

// Makes the next generation; lets go of the oldest that nobody has pinned when there are too many.
// NULL: all are pinned, or the decision log is full; it is tried again.
static struct live_cut *cut_make(struct gp_core *c, struct job_core *jc, uint32_t pin)
{
	struct home *h = jc->job->home;
	struct async_home *a = h->async;
	uint32_t ends = GP_NO_CUT;
	if (!home_has_room(c, h))
		return NULL;
	if (a->gate.on && pins_count(a) + BACKUP_CUTS >= jc->job->cfg->cuts_max)
		return NULL;
	if (a->cuts_count >= jc->job->cfg->cuts_max) {
		uint32_t i = 0;
		while (i < a->cuts_count && (a->cuts[i].pin != PIN_NONE || a->cuts[i].backup))
			i++;
		if (i == a->cuts_count)
			return NULL;
		ends = a->cuts[i].generation;
		async_cut_remove(a, i);
	}
	async_cut_note(c, jc, gp_async_cut(&h->consist, ends, pin == PIN_SNAPSHOT), pin);
	async_generation_publish(c, jc);
	return newest_cut(a);
}

// Home does not lead before it has noted the first one: a standby, or one that is just promoted.
static bool leads(const struct job_core *jc)
{
	return jc->job->home->async->cuts_count > 0;
}

uint32_t async_snapshot_cut(struct gp_core *c, struct job_core *jc)
{
	const struct live_cut *cut = leads(jc) ? cut_make(c, jc, PIN_SNAPSHOT) : NULL;
	if (cut)
		jc->job->home->async->cut_clock = clock_now(jc->job->home);
	return cut ? cut->generation : UINT32_MAX;
}

void async_snapshot_end(struct job_core *jc, uint32_t generation)
{
	struct async_home *a = jc->job->home->async;
	for (uint32_t i = 0; i < a->cuts_count; i++)
		if (a->cuts[i].generation == generation) {
			async_cut_remove(a, i);
			return;
		}
}

static bool session_here(const struct gp_core *c, uint32_t id)
{
	const struct core_session *cs = &c->sessions[session_idx(id)];
	return cs->id == id && cs->bound && session_lives(c, cs);
}

// A reservation ends with the session's next read, with its next push, or when it pulls no more:
// cuts are few, and those who have read must not starve those who have not.
static bool reserved_is_over(
	const struct gp_core *c, const struct job_core *jc, const struct live_cut *cut)
{
	uint64_t idle_max = RESERVED_TIMEOUTS * jc->job->cfg->timeout_ns;
	return !session_here(c, cut->pin) || c->now - cut->used_at > idle_max;
}

void async_pull_note(struct gp_core *c, const struct job_core *jc, uint32_t session, uint32_t step)
{
	struct async_home *a = jc->job->home->async;
	for (uint32_t i = 0; i < a->cuts_count; i++)
		if (a->cuts[i].pin == session && a->cuts[i].generation == step)
			a->cuts[i].used_at = c->now;
}

static void pins_release(struct gp_core *c, struct job_core *jc)
{
	struct home *h = jc->job->home;
	struct async_home *a = h->async;
	uint32_t clock = clock_now(h);
	for (uint32_t i = 0; i < a->cuts_count; i++) {
		struct live_cut *cut = &a->cuts[i];
		bool started = gp_before(cut->clock_min, clock);
		if (cut->pin == PIN_START ? started
					  : cut->pin != PIN_NONE && cut->pin != PIN_SNAPSHOT &&
						    reserved_is_over(c, jc, cut))
			cut->pin = PIN_NONE;
	}
}

// The session is through with the cut that was reserved for it.
static bool reserved_release(struct async_home *a, uint32_t session)
{
	bool other = false;
	for (uint32_t i = 0; i < a->cuts_count; i++) {
		uint32_t pin = a->cuts[i].pin;
		if (pin == session)
			a->cuts[i].pin = PIN_NONE;
		else
			other |= pin != PIN_NONE && pin < PIN_START;
	}
	return !other;
}

// ---- what a reader may have

uint32_t async_bound(const struct job_core *jc)
{
	const struct gp_job_config *cfg = jc->job->cfg;
	if (cfg->consistency == GP_CONSIST_SSP)
		return cfg->bound;
	if (cfg->consistency == GP_CONSIST_ADAPTIVE)
		return jc->job->home->async->adaptive.bound;
	return GP_WIRE_BOUND_NONE;
}

// Below their minimum workers wait; readers may have what there is.
static bool too_few(const struct job_core *jc, uint32_t rank)
{
	const struct gp_consist *x = &jc->job->home->consist;
	return rank != GP_WIRE_RANK_NONE && gp_ranks_count(&x->live) < x->cfg.workers_min;
}

// Whether every member has committed what the read must see: *need, a step.
static bool bound_allows(
	const struct job_core *jc, const struct read_wait *w, uint32_t rank, uint32_t *need)
{
	const struct gp_consist *x = &jc->job->home->consist;
	uint32_t slowest, bound = async_bound(jc), min = gp_async_clock_min(x, &slowest);
	*need = min;
	if (too_few(jc, rank))
		return false;
	// In another server's stead: who is to be waited for is not known before the first view.
	if (rank != GP_WIRE_RANK_NONE && x->async.resumed && x->view == 0)
		return false;
	if (rank == GP_WIRE_RANK_NONE || bound == GP_WIRE_BOUND_NONE || slowest == GP_RANKS_MAX)
		return true;
	*need = w->clock - bound - 1;
	return !gp_before(min, *need);
}

// Whether the newest cut is good enough for it.
static bool cut_serves(const struct gp_core *c, const struct job_core *jc,
	const struct live_cut *cut, const struct read_wait *w, uint32_t rank, uint32_t need)
{
	const struct home *h = jc->job->home;
	if (!cut || cut->pin == PIN_SNAPSHOT)
		return false;
	bool bounded = rank != GP_WIRE_RANK_NONE && async_bound(jc) != GP_WIRE_BOUND_NONE;
	if (bounded && gp_before(cut->clock_min, need))
		return false;
	if (rank != GP_WIRE_RANK_NONE &&
		!gp_before(h->consist.async.committed_at[rank], cut->decision + 1))
		return false;
	// In a quorum a step is over for a rank when it is closed, also without its push.
	if (rank != GP_WIRE_RANK_NONE && h->consist.cfg.mode == GP_CONSIST_QUORUMS &&
		gp_before(cut->closed, w->clock - 1))
		return false;
	bool unchanged = gp_before(h->async->last_commit, cut->decision);
	// Behind the gate there may never be a younger one than was made for this read.
	if (h->async->gate.on && cut->made_at >= w->since)
		return true;
	return unchanged || c->now - cut->made_at <= jc->job->cfg->cut_age_ns;
}

static void reply_send(struct gp_core *c, struct core_session *cs, struct job_core *jc,
	const struct gp_read_reply *r)
{
	struct gp_header h = {.type = GP_WIRE_READ_REPLY, .flags = GP_WIRE_F_ACK};
	struct answer a;
	if (answer_begin(c, cs, jc, &h, &a))
		answer_send(c, cs, &a, gp_wire_put_read_reply(a.body, r));
}

static struct gp_read_reply reply_fill(
	const struct job_core *jc, const struct read_wait *w, uint32_t rank)
{
	const struct gp_consist *x = &jc->job->home->consist;
	uint32_t slowest;
	struct gp_read_reply r = {
		.request = w->request,
		.state = w->granted ? GP_READ_GRANTED : GP_READ_PARKED,
		.rank = GP_WIRE_RANK_NONE,
		.generation = w->generation,
		.clock = gp_async_clock_min(x, &slowest),
		.bound = async_bound(jc),
	};
	const struct async_point *shown = async_shown(jc->job->home);
	if (x->cfg.mode == GP_CONSIST_QUORUMS)
		r.clock = !shown ? x->async.closed : w->granted ? w->closed : shown->closed;
	if (!w->granted && slowest < GP_RANKS_MAX && !too_few(jc, rank))
		r.rank = (uint16_t)slowest;
	return r;
}

// Whether a result exists at all: a reduce job has none before its first step.
static bool has_values(const struct job_core *jc)
{
	return job_trains(jc->job) || jc->embed || jc->job->home->consist.async.updates > 0;
}

static bool read_grant(struct read_wait *w, struct live_cut *cut)
{
	cut->granted = true;
	w->generation = cut->generation;
	w->closed = cut->closed;
	w->granted = true;
	return true;
}

// The gate is closed: the newest cut that the backup holds, or none before that serves.
static bool read_out(struct gp_core *c, struct job_core *jc, struct core_session *cs,
	struct read_wait *w, uint32_t rank, uint32_t need)
{
	struct home *h = jc->job->home;
	struct async_home *a = h->async;
	uint32_t i = a->cuts_count, limit = jc->job->cfg->cuts_max;
	while (i > 0 && (a->cuts[i - 1].pin == PIN_SNAPSHOT ||
				gp_before(home_open(h), a->cuts[i - 1].decision)))
		i--;
	struct live_cut *cut = i > 0 ? &a->cuts[i - 1] : NULL;
	bool serves = cut && cut_serves(c, jc, cut, w, rank, need);
	if (serves && w->reserve) {
		if (!reserved_release(a, cs->id) || pins_count(a) + BACKUP_CUTS >= limit)
			return false;	       // one at a time
		serves = cut->pin == PIN_NONE; // else the next one
		cut->pin = serves ? cs->id : cut->pin;
	}
	if (serves)
		return read_grant(w, cut);
	a->gate.wanted |= a->gate.out && cut == newest_cut(a);
	return false;
}

static bool read_try(struct gp_core *c, struct job_core *jc, struct core_session *cs,
	struct read_wait *w, uint32_t rank)
{
	struct async_home *a = jc->job->home->async;
	uint32_t need;
	if (!has_values(jc) || !bound_allows(jc, w, rank, &need))
		return false;
	if (jc->job->home->gate.serial != 0)
		return read_out(c, jc, cs, w, rank, need);
	struct live_cut *cut = newest_cut(a);
	if (w->reserve) {
		if (!reserved_release(a, cs->id))
			return false; // one at a time
		cut = cut_make(c, jc, cs->id);
	} else if (!cut_serves(c, jc, cut, w, rank, need)) {
		cut = cut_make(c, jc, PIN_NONE);
	}
	return cut && read_grant(w, cut);
}

static void park(struct gp_core *c, struct async_home *a, struct read_wait *w)
{
	w->parked = true;
	a->parked++;
	watch_read(c, w->session, true, w->clock);
}

static void unpark(struct gp_core *c, struct async_home *a, struct read_wait *w)
{
	if (!w->parked)
		return;
	a->parked--;
	w->parked = false;
	watch_read(c, w->session, false, 0);
}

enum gp_verdict handle_read(struct gp_core *c, struct core_session *cs, const struct gp_session *s,
	struct job_core *jc, const struct gp_msg *m)
{
	if (!jc || !cfg_is_async(jc->job->cfg))
		return jc ? GP_VERDICT_NOT_ALLOWED : GP_VERDICT_NOT_READY;
	if (c->idx != jc->job->home_core)
		return GP_VERDICT_WRONG_CORE;
	struct gp_read x;
	gp_wire_get_read(m, &x);
	struct async_home *a = jc->job->home->async;
	struct read_wait *w = &a->reads[session_idx(cs->id)];
	if (!gp_consist_is_async(&jc->job->home->consist) || a->cuts_count == 0) {
		const struct gp_read_reply r = {.request = x.request,
			.state = GP_READ_NOTHING,
			.rank = GP_WIRE_RANK_NONE,
			.bound = async_bound(jc)};
		reply_send(c, cs, jc, &r);
		return GP_VERDICT_READ;
	}
	if (w->session != cs->id || w->request != x.request) {
		unpark(c, a, w);
		(void)reserved_release(a, cs->id);
		*w = (struct read_wait){.session = cs->id,
			.request = x.request,
			.clock = x.clock,
			.reserve = (x.flags & GP_READ_RESERVE) != 0,
			.since = c->now};
		if (!read_try(c, jc, cs, w, s->rank))
			park(c, a, w);
	}
	const struct gp_read_reply r = reply_fill(jc, w, s->rank);
	reply_send(c, cs, jc, &r);
	return w->granted ? GP_VERDICT_READ : GP_VERDICT_READ_PARKED;
}

// Parked reads that something has made possible.
static void parked_answer(struct gp_core *c, struct job_core *jc)
{
	struct async_home *a = jc->job->home->async;
	for (uint32_t i = 0; i < c->engine->cfg.sessions_max && a->parked > 0; i++) {
		struct read_wait *w = &a->reads[i];
		if (!w->parked)
			continue;
		if (!session_here(c, w->session)) {
			unpark(c, a, w);
			continue;
		}
		const struct gp_session *s = gp_rcu_dereference(&c->engine->sessions[i]);
		struct core_session *cs = &c->sessions[i];
		if (!read_try(c, jc, cs, w, s->rank))
			continue;
		gp_adaptive_waited(&a->adaptive, c->now - w->since);
		unpark(c, a, w);
		const struct gp_read_reply r = reply_fill(jc, w, s->rank);
		reply_send(c, cs, jc, &r);
	}
}

// ---- decisions

bool async_cut_is_due(const struct job_core *jc, uint32_t interval)
{
	const struct home *h = jc->job->home;
	uint32_t clock = clock_now(h);
	return leads(jc) && gp_before(h->async->cut_clock, clock) &&
	       clock - h->async->cut_clock >= interval;
}

bool async_is_applying(const struct job_core *jc, uint32_t core)
{
	const struct async_home *a = jc->job->home->async;
	return a && a->applying[core];
}

void async_delivered(struct job_core *jc, uint32_t core, const struct gp_decision *d)
{
	struct home *h = jc->job->home;
	if (h->async && gp_before(h->consist.async.started_at, d->number) &&
		d->kind == GP_DECIDED_COMMIT && cfg_is_staged(jc->job->cfg))
		h->async->applying[core] = true;
}

void async_part_done(struct job_core *jc, const struct cmd *cmd)
{
	struct home *h = jc->job->home;
	if (h->rank_session[cmd->unit] != 0) // who has pushed has read
		(void)reserved_release(h->async, h->rank_session[cmd->unit]);
	if (cmd->session != 0)
		gp_async_cost(&h->consist, cmd->unit, cmd->session);
	(void)gp_async_part_done(&h->consist, cmd->unit, cmd->step, cmd->view);
}

// For the audit log. Where there is no place left the oldest goes, and the next one says so.
static void move_keep(struct async_home *a, const struct gp_adaptive_move *m)
{
	if (a->moves_count == MOVES_KEPT) {
		uint32_t lost = a->moves[0].lost + 1;
		memmove(a->moves, a->moves + 1, sizeof(a->moves[0]) * --a->moves_count);
		a->moves[0].lost = lost;
	}
	a->moves[a->moves_count++] = (struct gp_bound_move){.from = m->from,
		.to = m->to,
		.waited_permille = m->waited_permille,
		.straggling_permille = m->straggling_permille,
		.staleness_milli = m->staleness_milli};
}

// What the decisions since the last look mean for the bound.
static void commits_note(struct gp_core *c, struct job_core *jc, uint32_t from)
{
	struct home *h = jc->job->home;
	struct async_home *a = h->async;
	for (uint32_t n = from; gp_before(n, h->consist.decision + 1); n++) {
		const struct gp_decision *d = gp_consist_log(&h->consist, n);
		if (!d)
			continue;
		if (d->kind == GP_DECIDED_VIEW)
			gp_ranks_foreach(r, &d->others) gp_adaptive_forget(&a->adaptive, r);
		if (d->kind != GP_DECIDED_COMMIT)
			continue;
		a->last_commit = n;
		if (jc->job->cfg->consistency != GP_CONSIST_ADAPTIVE)
			continue;
		struct gp_adaptive_move move;
		if (gp_adaptive_commit(&a->adaptive, d->unit, d->staleness, &h->consist.members,
			    c->now, &move))
			move_keep(a, &move);
	}
}

static void moves_tell(struct gp_core *c, struct job_core *jc)
{
	struct async_home *a = jc->job->home->async;
	struct cmd cmd = {.type = CMD_BOUND_MOVED, .job = jc->job->cfg->id};
	while (a->moves_count > 0) {
		cmd.move = a->moves[0];
		if (!core_tell_control(c, &cmd))
			return;
		memmove(a->moves, a->moves + 1, sizeof(a->moves[0]) * --a->moves_count);
	}
}

void async_home_tick(struct gp_core *c, struct job_core *jc)
{
	struct home *h = jc->job->home;
	struct async_home *a = h->async;
	if (!gp_consist_is_async(&h->consist) || engine_is_standby(c->engine))
		return;
	if (a->cuts_count == 0) {
		async_cut_note(c, jc, h->consist.generation, PIN_START);
		a->cut_clock = clock_now(h);
		a->noted = h->consist.decision;
	}
	if (home_has_room(c, h))
		(void)gp_async_try_close(&h->consist, c->now);
	commits_note(c, jc, a->noted + 1);
	a->noted = h->consist.decision;
	moves_tell(c, jc);
	pins_release(c, jc);
	if (jc->job->cfg->replicated)
		async_gate_tick(c, jc);
	// Pushes that were too many for the cut before.
	bool limited = jc->embed && jc->job->cfg->replicated;
	while (limited && home_cores_have_room(c, h) && gp_async_commit_waiting(&h->consist))
		;
	if (a->parked > 0)
		parked_answer(c, jc);
}
