// SPDX-License-Identifier: BSD-3-Clause
//
// The job's home core: feeds the decision machine (lib/consist), carries its decisions to the cores
// and to the workers, and notices silent members.
#include "backup.h"
#include "flight.h"
#include "whole.h"

#define REJOIN_TIMEOUTS	 8 // time-outs after which a new leader goes on with those who came
#define SCAN_INTERVAL_NS UINT64_C(10000000) // between looks for silent members
#define HOME_PAUSE_NS	 UINT64_C(100000000)

struct core_session *home_session(struct gp_core *c, const struct home *h, uint32_t rank)
{
	uint32_t id = h->rank_session[rank];
	if (id == 0)
		return NULL;
	struct core_session *cs = &c->sessions[session_idx(id)];
	return cs->id == id && cs->bound ? cs : NULL;
}

// Who reads the decision log: every core, control where the job is recorded, and the replicating
// thread while the gate is closed. One that falls behind holds back the others, so nobody misses
// any.
static bool log_is_read(const struct gp_core *c, const struct home *h, uint32_t reader)
{
	return reader < c->engine->cfg.cores_count ||
	       (reader == reader_control(c) && h->recorded) ||
	       (reader == reader_backup(c) && h->gate.serial != 0);
}

static uint32_t delivered_min(const struct gp_core *c, const struct home *h)
{
	uint32_t min = h->consist.decision;
	for (uint32_t i = 0; i <= reader_backup(c); i++)
		if (log_is_read(c, h, i) && gp_before(h->delivered[i], min))
			min = h->delivered[i];
	return min;
}

static uint32_t cores_min(const struct gp_core *c, const struct home *h)
{
	uint32_t min = h->consist.decision;
	for (uint32_t i = 0; i < c->engine->cfg.cores_count; i++)
		if (gp_before(h->delivered[i], min))
			min = h->delivered[i];
	return min;
}

bool home_cores_have_room(const struct gp_core *c, const struct home *h)
{
	return gp_consist_room(&h->consist, cores_min(c, h));
}

// What workers and readers may know: of a synchronous job, what has been applied here; of another
// one whose gate is closed, what the backup holds.
static uint32_t generation_out(const struct job_core *jc)
{
	const struct home *h = jc->job->home;
	const struct async_point *shown = async_shown(h);
	if (shown)
		return point_generation(&shown->generation);
	bool async = gp_consist_is_async(&h->consist) && h->gate.serial == 0;
	return async ? h->consist.generation : jc->generation;
}

bool home_has_room(const struct gp_core *c, const struct home *h)
{
	return gp_consist_room(&h->consist, delivered_min(c, h));
}

void async_generation_publish(struct gp_core *c, const struct job_core *jc)
{
	struct job_status *st = &c->engine->status[jc->job->idx];
	atomic_store_explicit(&st->generation, generation_out(jc), memory_order_relaxed);
}

static void status_publish(struct gp_core *c, struct job_core *jc)
{
	const struct home *h = jc->job->home;
	struct job_status *st = &c->engine->status[jc->job->idx];
	uint32_t state = engine_is_standby(c->engine) ? GP_STATE_STANDBY
			 : jc->stopping		      ? GP_STATE_STOPPING
			 : h->consist.view == 0	      ? GP_STATE_WAITING
						      : GP_STATE_RUNNING;
	atomic_store_explicit(&st->view, h->consist.view, memory_order_relaxed);
	atomic_store_explicit(&st->members, h->consist.members_count, memory_order_relaxed);
	uint32_t generation = generation_out(jc);
	atomic_store_explicit(&st->generation, generation, memory_order_relaxed);
	atomic_store_explicit(&st->decision, home_open(h), memory_order_relaxed);
	atomic_store_explicit(&st->gated, h->gate.serial != 0, memory_order_relaxed);
	atomic_store_explicit(&st->state, state, memory_order_relaxed);
	atomic_store_explicit(&st->initialised, generation != UINT32_MAX, memory_order_relaxed);
	atomic_store_explicit(&st->cut_active, h->cut_active, memory_order_relaxed);
	if (!gp_consist_is_async(&h->consist))
		return;
	uint32_t slowest;
	atomic_store_explicit(
		&st->clock_min, gp_async_clock_min(&h->consist, &slowest), memory_order_relaxed);
	atomic_store_explicit(
		&st->clock_max, gp_async_clock_max(&h->consist), memory_order_relaxed);
	atomic_store_explicit(&st->bound, async_bound(jc), memory_order_relaxed);
	atomic_store_explicit(&st->last_commit, h->async->last_commit, memory_order_relaxed);
}

// ---- cuts

static void cut_begin(struct gp_core *c, struct job_core *jc)
{
	struct home *h = jc->job->home;
	if (h->cut_active || !home_has_room(c, h))
		return;
	bool async = gp_consist_is_async(&h->consist);
	uint32_t step = async ? async_snapshot_cut(c, jc) : gp_consist_cut(&h->consist);
	if (async && step == UINT32_MAX) // every cut is in use: again
		return;
	h->cut_wanted = false;
	if (step == UINT32_MAX)
		return;
	h->cut_active = true;
	h->cut_step = step;
	h->cut_counted = jc->counted; // if it is whole already
	h->cut_last = step;
	h->cut_decision = h->consist.decision;
	h->cut_seen = 0;
	h->cut_ended = 0;
}

// Whether the interval between cuts is over.
static bool cut_is_due(const struct job_core *jc)
{
	const struct home *h = jc->job->home;
	uint32_t interval = jc->job->cfg->cut_interval;
	uint32_t generation = h->consist.generation;
	bool kept = job_trains(jc->job) || jc->embed;
	if (interval == 0 || !kept || generation == UINT32_MAX || h->cut_active)
		return false;
	if (gp_consist_is_async(&h->consist))
		return async_cut_is_due(jc, interval);
	return generation > 0 && h->consist.units_done == 0 && h->cut_last != generation &&
	       generation % interval == 0;
}

// The generation up to which cuts are whole. A cut waits for its release, so that no snapshot is
// ahead of the backup; but not the last one: of an asynchronous job it has what cores have applied,
// with whose it is, and nobody who was told less loses anything.
static uint32_t cut_generation(const struct job_core *jc)
{
	const struct home *h = jc->job->home;
	bool last = h->stopped && gp_consist_is_async(&h->consist);
	return last ? h->consist.generation : generation_out(jc);
}

static void cut_check(struct gp_core *c, struct job_core *jc)
{
	struct home *h = jc->job->home;
	uint32_t generation = cut_generation(jc);
	if (cut_is_due(jc))
		h->cut_wanted = true;
	if (h->cut_wanted)
		cut_begin(c, jc);
	if (h->cut_active && h->cut_seen == c->engine->cfg.cores_count &&
		!gp_before(generation, h->cut_step)) {
		h->cut_seen = UINT32_MAX;
		h->cut_ready_due = true;
		h->cut_whole = home_open(h);
	}
	// What control records goes before what rests on it.
	uint32_t control = h->delivered[reader_control(c)];
	if (!h->cut_ready_due || (h->recorded && gp_before(control, h->cut_whole)))
		return;
	const struct cmd cmd = {.type = CMD_CUT_READY,
		.job = jc->job->cfg->id,
		.step = h->cut_step,
		.unit = h->cut_decision};
	if (core_tell_control(c, &cmd))
		h->cut_ready_due = false;
}

// ---- members

static uint64_t rank_last_rx(const struct gp_core *c, const struct home *h, uint32_t rank)
{
	uint32_t idx = session_idx(h->rank_session[rank]);
	uint64_t last = 0;
	for (uint32_t i = 0; i < c->engine->cfg.cores_count; i++) {
		const struct core_session *cs = &c->engine->cores[i].sessions[idx];
		uint64_t rx = atomic_load_explicit(&cs->last_rx, memory_order_relaxed);
		last = GP_MAX(last, rx);
	}
	return last;
}

// While home itself did not run (a CPU taken away), it heard nobody: that is not the workers'
// silence.
static void pause_note(struct gp_core *c, struct home *h)
{
	if (c->now - h->tick_last > HOME_PAUSE_NS)
		h->awake_since = c->now;
	h->tick_last = c->now;
}

static void members_scan(struct gp_core *c, struct job_core *jc)
{
	struct home *h = jc->job->home;
	if (c->now < h->scan_next)
		return;
	h->scan_next = c->now + SCAN_INTERVAL_NS;
	struct gp_ranks live = h->consist.live;
	gp_ranks_foreach(r, &live)
	{
		uint64_t last = GP_MAX(rank_last_rx(c, h, r), h->awake_since);
		if (c->now <= last || c->now - last <= jc->job->cfg->timeout_ns)
			continue;
		flight_lost(c, jc, r);
		gp_consist_lose(&h->consist, r);
		gp_ranks_add(&h->lost_due, r);
	}
}

static void members_tell_control(struct gp_core *c, struct job_core *jc)
{
	struct home *h = jc->job->home;
	struct gp_ranks due = h->lost_due;
	gp_ranks_foreach(r, &due)
	{
		const struct cmd cmd = {.type = CMD_LOST,
			.job = jc->job->cfg->id,
			.rank = r,
			.session = h->rank_session[r]};
		if (!core_tell_control(c, &cmd))
			return;
		h->rank_session[r] = 0;
		gp_ranks_del(&h->lost_due, r);
	}
}

static void parts_done(const struct gp_job *j, const struct cmd *cmd)
{
	for (uint32_t i = 0; i <= cmd->session; i++)
		(void)gp_consist_part_done(
			&j->home->consist, cmd->unit + i * j->by_cores.d, cmd->step, cmd->view);
}

// Who goes on has what its former life was about to contribute.
static void async_joined(struct home *h, const struct cmd *cmd)
{
	gp_ranks_del(&h->async->kept, cmd->rank);
	if (cmd->step && gp_async_keep(&h->consist, cmd->rank))
		gp_ranks_add(&h->async->kept, cmd->rank);
}

void home_command(struct gp_core *c, struct job_core *jc, const struct cmd *cmd)
{
	GP_ASSERT(jc && jc->job->home_core == c->idx);
	struct home *h = jc->job->home;
	switch (cmd->type) {
	case CMD_PART_DONE:
		if (gp_consist_is_async(&h->consist))
			async_part_done(jc, cmd);
		else
			parts_done(jc->job, cmd);
		return;
	case CMD_MEASURED:
		whole_measured(jc, cmd);
		return;
	case CMD_CUT_SEEN:
		if (h->cut_active && cmd->step == h->cut_step)
			h->cut_seen++;
		return;
	case CMD_CUT_ENDED:
		if (++h->cut_ended < c->engine->cfg.cores_count)
			return;
		h->cut_active = false;
		if (gp_consist_is_async(&h->consist))
			async_snapshot_end(jc, h->cut_step);
		return;
	case CMD_APPLIED:
		h->async->applying[cmd->core] = false;
		return;
	case CMD_POINT_SEEN:
		async_point_seen(jc, cmd);
		return;
	case CMD_MEMBER_JOIN:
		h->rank_session[cmd->rank] = cmd->session;
		home_barriers_forget(h, cmd->rank);
		gp_ranks_del(&h->lost_due, cmd->rank);
		gp_consist_join(&h->consist, cmd->rank, cmd->unit);
		if (h->async)
			async_joined(h, cmd);
		return;
	case CMD_MEMBER_LOST:
		if (h->rank_session[cmd->rank] != cmd->session)
			return;
		gp_consist_lose(&h->consist, cmd->rank);
		h->rank_session[cmd->rank] = 0;
		return;
	case CMD_CUT:
		h->cut_wanted = true;
		return;
	case CMD_STOP:
		h->stop_wanted = true;
		return;
	default:
		GP_ASSERT(false); // nobody sends another
	}
}

// ---- decisions outwards

// False: no room. Control's ring is shared with joins, which shall not wait for the record.
static bool decision_send(
	struct gp_core *c, const struct job_core *jc, uint32_t reader, const struct cmd *cmd)
{
	if (reader < c->engine->cfg.cores_count)
		return gp_ring_push(c->to_core[reader], cmd);
	if (reader == reader_backup(c))
		return home_backup_tell(c, jc, &cmd->decision);
	return gp_ring_room(c->to_control) > c->engine->cfg.ring_size / 2 &&
	       core_tell_control(c, cmd);
}

// How far a reader of the log may be told. Of an asynchronous job the backup is told cuts
// (async_backup.c), and cores apply what is decided: only so there is something to hold.
static uint32_t deliver_end(const struct gp_core *c, const struct home *h, uint32_t reader)
{
	bool core = reader < c->engine->cfg.cores_count;
	if (async_shown(h) && reader != reader_control(c))
		return core ? h->consist.decision : home_open(h);
	if (reader != reader_backup(c))
		return home_open(h);
	return gp_consist_is_async(&h->consist) ? h->consist.async.started_at : h->consist.decision;
}

// How many commits from `d` on, at most up to decision `end`, are alike but for their units, which
// are *stride apart.
static uint32_t commits_run(
	const struct home *h, const struct gp_decision *d, uint32_t end, uint32_t *stride)
{
	uint32_t n = 1, most = GP_MIN(end - d->number + 1, CMD_UNITS_MAX);
	bool alone =
		d->kind != GP_DECIDED_COMMIT || h->consist.cfg.mode != GP_CONSIST_SYNC || h->whole;
	for (*stride = 0; !alone && n < most; n++) {
		const struct gp_decision *next = gp_consist_log(&h->consist, d->number + n);
		if (n == 1)
			*stride = next->unit - d->unit;
		if (next->kind != d->kind || next->unit != d->unit + n * *stride ||
			next->step != d->step || next->view != d->view)
			break;
	}
	return n;
}

// The reader's next decision, or a run of them, at most up to `end`; returns how many, 0: later.
static uint32_t decisions_next(
	struct gp_core *c, struct job_core *jc, uint32_t reader, uint32_t end)
{
	struct home *h = jc->job->home;
	bool core = reader < c->engine->cfg.cores_count;
	const struct gp_decision *d = gp_consist_log(&h->consist, h->delivered[reader] + 1);
	GP_ASSERT(d);
	if (core && (async_is_applying(jc, reader) || whole_is_busy(h)))
		return 0;
	uint32_t run = 1, stride = 0;
	if (reader == c->idx) {
		apply_decision(c, jc, d);
	} else {
		run = core ? commits_run(h, d, end, &stride) : 1;
		const struct cmd cmd = {.type = CMD_DECISION,
			.core = (uint8_t)c->idx,
			.job = jc->job->cfg->id,
			.rank = run - 1,
			.session = stride,
			.decision = *d};
		if (!decision_send(c, jc, reader, &cmd))
			return 0;
	}
	if (core)
		async_delivered(jc, reader, d);
	return run;
}

static uint32_t decisions_deliver(struct gp_core *c, struct job_core *jc)
{
	struct home *h = jc->job->home;
	// No core is let far ahead of the slowest, so that the log holds what that one lacks: a
	// core without blocks of this job may sleep while the others go on.
	uint32_t last = delivered_min(c, h) + h->consist.log_mask / 4;
	if (async_shown(h)) // those who hear of it when the backup holds it hold nobody back
		last = cores_min(c, h) + h->consist.log_mask / 4;
	uint32_t sent = 0;
	for (uint32_t i = 0; i <= reader_backup(c); i++) {
		uint32_t end = deliver_end(c, h, i), n;
		end = gp_before(last, end) ? last : end;
		while (log_is_read(c, h, i) && gp_before(h->delivered[i], end) &&
			(n = decisions_next(c, jc, i, end)) > 0) {
			h->delivered[i] += n;
			sent += n;
		}
	}
	return sent;
}

static void decisions_announce(struct gp_core *c, struct job_core *jc)
{
	struct home *h = jc->job->home;
	uint32_t open = home_open(h);
	if (h->announced == open)
		return;
	uint32_t first = h->announced + 1;
	h->announced = open;
	send_commits_all(c, jc, first);
}

// A new leader waits for all workers of the old one, but not for ever: some may have died with it.
static void promotion_watch(struct gp_core *c, struct job_core *jc)
{
	struct home *h = jc->job->home;
	bool standby = engine_is_standby(c->engine);
	if (h->stood_by && !standby && h->promoted_at == 0)
		h->promoted_at = c->now;
	h->stood_by |= standby;
	if (h->promoted_at != 0 &&
		c->now - h->promoted_at > REJOIN_TIMEOUTS * jc->job->cfg->timeout_ns)
		h->consist.first_need = jc->job->cfg->workers_min;
}

uint32_t home_tick(struct gp_core *c, struct job_core *jc)
{
	struct home *h = jc->job->home;
	home_gate_follow(c, jc);
	promotion_watch(c, jc);
	pause_note(c, h);
	members_scan(c, jc);
	members_tell_control(c, jc);
	bool room = home_has_room(c, h);
	if (room && !h->stopped)
		(void)gp_consist_try_view(&h->consist);
	if (room && h->stop_wanted && !h->stopped) {
		gp_consist_stop(&h->consist);
		h->stopped = true;
	}
	if (h->async)
		async_home_tick(c, jc);
	cut_check(c, jc);
	uint32_t work = h->whole ? whole_home_tick(c, jc) : 0;
	work += decisions_deliver(c, jc);
	decisions_announce(c, jc);
	status_publish(c, jc);
	return work;
}

// ---- heartbeat, leave

// Members whose contribution to the lowest incomplete block at home is missing.
static void missing_fill(const struct job_core *jc, struct gp_heartbeat_reply *r)
{
	struct gp_ranks here = {0};
	if (jc->table.blocks_count > 0) {
		const struct slot *slot =
			&jc->slots[(uint32_t)((uint64_t)jc->low_step * jc->table.blocks_count +
					      jc->low_local) &
				   jc->slot_mask];
		if (slot->open && slot->step == jc->low_step && slot->local == jc->low_local)
			here = slot->ranks;
	}
	gp_ranks_foreach(m, &jc->members)
	{
		if (gp_ranks_has(&here, m))
			continue;
		if (r->missing++ == 0)
			r->missing_rank = (uint16_t)m;
	}
}

static void heartbeat_reply_fill(const struct gp_core *c, const struct gp_session *s,
	const struct job_core *jc, struct gp_heartbeat_reply *r)
{
	const struct job_status *st = &c->engine->status[c->engine->job_idx[s->job]];
	r->generation = atomic_load_explicit(&st->generation, memory_order_relaxed);
	r->view = atomic_load_explicit(&st->view, memory_order_relaxed);
	r->state = (uint16_t)atomic_load_explicit(&st->state, memory_order_relaxed);
	r->next_step = r->generation + 1;
	r->missing_rank = GP_WIRE_RANK_NONE;
	r->lowest = GP_WIRE_RANK_NONE;
	if (!jc)
		return;
	bool member = s->rank != GP_WIRE_RANK_NONE && gp_ranks_has(&jc->members, s->rank) &&
		      !gp_before(jc->admitted, s->serial);
	r->flags = member ? GP_HEARTBEAT_MEMBER : 0;
	r->view = jc->view;
	r->members = (uint16_t)jc->members_count;
	r->view_first_step = jc->view_first_step;
	r->lowest = (uint16_t)(jc->view ? jc->lowest : GP_WIRE_RANK_NONE);
	const struct gp_consist *x = &jc->job->home->consist;
	if (!core_is_async(jc) || !gp_consist_is_async(x)) {
		if (gp_ranks_has(&jc->counted, s->rank))
			r->flags |= GP_HEARTBEAT_COUNTED;
		if (gp_ranks_has(&jc->counted_ahead, s->rank))
			r->flags |= GP_HEARTBEAT_AHEAD;
		r->ahead = jc->units_next;
		missing_fill(jc, r);
		return;
	}
	uint32_t slowest, clock = gp_async_clock_min(x, &slowest);
	if (slowest < GP_RANKS_MAX && gp_before(clock, gp_async_clock_max(x))) {
		r->missing = 1;
		r->missing_rank = (uint16_t)slowest;
	}
	const struct async_point *shown = async_shown(jc->job->home);
	if (shown && shown->view != jc->view) { // of the view that waits nobody is a member
		r->view = shown->view;
		r->flags = 0;
	}
	bool quorum = x->cfg.mode == GP_CONSIST_QUORUMS, ranked = s->rank != GP_WIRE_RANK_NONE;
	const uint32_t *clocks = shown ? shown->clock : x->async.clock;
	if (ranked && gp_ranks_has(&jc->job->home->async->kept, s->rank))
		r->flags |= GP_HEARTBEAT_AHEAD;
	r->ahead = ranked ? clocks[s->rank] : 0;
	if (quorum)
		r->next_step = (shown ? shown->closed : x->async.closed) + 1;
	else if (ranked)
		r->next_step = r->ahead + 1;
}

enum gp_verdict handle_heartbeat(struct gp_core *c, struct core_session *cs,
	const struct gp_session *s, struct job_core *jc, const struct gp_msg *m)
{
	struct gp_heartbeat hb;
	gp_wire_get_heartbeat(m, &hb);
	if (c->idx != job_home(c->engine, s->job)) {
		session_ack_due(c, cs);
		return GP_VERDICT_HEARTBEAT;
	}
	struct gp_heartbeat_reply r = {.time = hb.time};
	heartbeat_reply_fill(c, s, jc, &r);
	struct gp_header h = {.type = GP_WIRE_HEARTBEAT_REPLY, .flags = GP_WIRE_F_ACK};
	struct answer a;
	if (answer_begin(c, cs, jc, &h, &a))
		answer_send(c, cs, &a, gp_wire_put_heartbeat_reply(a.body, &r));
	if (jc && gp_before(hb.known, jc->job->home->announced))
		send_commits(c, cs, jc, hb.known + 1);
	return GP_VERDICT_HEARTBEAT;
}

enum gp_verdict handle_leave(struct gp_core *c, struct core_session *cs, const struct gp_session *s,
	struct job_core *jc, const struct gp_msg *m)
{
	if (c->idx != job_home(c->engine, s->job))
		return GP_VERDICT_WRONG_CORE;
	if (gp_wire_get_u64(m) != s->incarnation)
		return GP_VERDICT_NOT_ALLOWED;
	const struct cmd cmd = {.type = CMD_LEAVE, .job = s->job, .session = s->id};
	if (!core_tell_control(c, &cmd))
		return GP_VERDICT_CONTROL_FULL;
	if (jc && s->rank != GP_WIRE_RANK_NONE)
		gp_ranks_add(&jc->job->home->left, s->rank);
	struct gp_header h = {.type = GP_WIRE_LEAVE_REPLY, .flags = GP_WIRE_F_ACK};
	struct answer a;
	if (answer_begin(c, cs, jc, &h, &a))
		answer_send(c, cs, &a, gp_wire_put_u64(a.body, s->incarnation));
	return GP_VERDICT_LEAVE;
}
