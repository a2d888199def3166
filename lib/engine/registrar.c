// SPDX-License-Identifier: BSD-3-Clause
//
// The control side of the engine: sessions, and the traffic between control and the cores.
#include "flight.h"

#include "registrar_priv.h"

#include "embed.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

// Commands that handling one message may push to one core's ring.
#define CMDS_PER_MESSAGE 8
// Of one core in one poll: grace periods and timers wait for it to end.
#define MESSAGES_PER_POLL 64

struct reg_job *reg_job_by_id(struct gp_registrar *r, uint16_t id)
{
	if (id == 0 || id > GP_ENGINE_JOBS_MAX || r->engine->job_idx[id] == NONE_U16)
		return NULL;
	return &r->jobs[r->engine->job_idx[id]];
}

bool reg_tell(struct gp_registrar *r, uint32_t core, const struct cmd *cmd)
{
	return gp_ring_push(r->to_core[core], cmd);
}

void reg_tell_all(struct gp_registrar *r, const struct cmd *cmd)
{
	for (uint32_t i = 0; i < r->engine->cfg.cores_count; i++) {
		bool ok = reg_tell(r, i, cmd);
		GP_ASSERT(ok); // gp_registrar_poll and callers have made sure of room
	}
}

static bool rings_have_room(struct gp_registrar *r)
{
	for (uint32_t i = 0; i < r->engine->cfg.cores_count; i++)
		if (gp_ring_room(r->to_core[i]) < CMDS_PER_MESSAGE)
			return false;
	return true;
}

void reg_reply(struct gp_registrar *r, uint32_t core, struct gp_frame *f)
{
	const struct cmd cmd = {.type = CMD_REPLY, .ptr = f};
	bool ok = reg_tell(r, core, &cmd);
	GP_ASSERT(ok);
}

void reg_done_with(struct gp_registrar *r, uint32_t core, struct gp_frame *f)
{
	const struct cmd cmd = {.type = CMD_DONE_WITH, .ptr = f};
	bool ok = reg_tell(r, core, &cmd);
	GP_ASSERT(ok);
}

void refuse_text(struct gp_refuse *x, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	int n = vsnprintf(x->text, sizeof(x->text), fmt, args);
	va_end(args);
	x->text_len = (uint16_t)GP_MIN(n < 0 ? 0u : (uint32_t)n, GP_WIRE_TEXT_MAX);
}

// Answers with the refusal, inside the frame that asked.
void reg_refuse(struct gp_registrar *r, uint32_t core, struct gp_frame *f,
	const struct gp_header *about, struct gp_refuse *x)
{
	if (r->events.refused)
		r->events.refused(r->events.arg, x, &f->peer);
	const struct gp_header h = {
		.version = GP_WIRE_VERSION,
		.type = GP_WIRE_REFUSE,
		.job = about->job,
		.rank = about->rank,
		.session = about->session,
		.epoch = engine_epoch(r->engine),
	};
	uint32_t at = gp_wire_begin(f->data, f->room, &h);
	f->len = at + gp_wire_put_refuse(f->data + at, x);
	reg_reply(r, core, f);
}

// ---- sessions

void reg_rank_forget(const struct reg_job *rj, struct reg_rank *rank)
{
	size_t size = sizeof(uint64_t) * gp_div_up(rj->cfg->tensors_max, 64);
	memset(rank->seen, 0, size);
	memset(rank->brought, 0, size);
	rank->registered = 0;
	rank->total = 0;
}

void reg_rank_reset(const struct reg_job *rj, struct reg_rank *rank)
{
	reg_rank_forget(rj, rank);
	*rank = (struct reg_rank){
		.seen = rank->seen, .brought = rank->brought, .tensor_of = rank->tensor_of};
}

static uint32_t reader_slot(const struct reg_job *rj)
{
	for (uint32_t i = 0; i < READERS_MAX; i++)
		if (rj->ranks[rj->cfg->workers + i].session == 0)
			return rj->cfg->workers + i;
	return UINT32_MAX;
}

// The rank that defined the job's tensors is gone before there was a layout: all register again.
static void registration_void(struct reg_job *rj)
{
	rj->definer = GP_RANKS_MAX;
	rj->fits_elems = 0;
	rj->tensors_count = 0;
	names_clear(&rj->by_name);
	for (uint32_t i = 0; i < rj->cfg->workers; i++)
		reg_rank_forget(rj, &rj->ranks[i]);
}

struct gp_session *reg_session_open(struct gp_registrar *r, const struct gp_join *join,
	struct reg_job *rj, const struct gp_addr *from)
{
	for (uint32_t i = 0; i < r->engine->cfg.sessions_max; i++) {
		struct reg_session *rs = &r->sessions[i];
		if (rs->used || !gp_rcu_grace_over(&r->engine->grace, rs->free_stamp))
			continue;
		if (++r->generation == 0)
			r->generation = 1;
		bool reader = join->flags & GP_JOIN_READER;
		uint32_t slot = reader ? reader_slot(rj) : join->rank;
		GP_ASSERT(slot < rj->cfg->workers + READERS_MAX); // the caller has looked
		*rs = (struct reg_session){.used = true,
			.goes_on = (join->flags & GP_JOIN_GOES_ON) != 0,
			.slot = slot,
			.opened_at = r->now};
		rs->s = (struct gp_session){
			.id = i | (uint32_t)r->generation << 16,
			.job = rj->cfg->id,
			.rank = reader ? GP_WIRE_RANK_NONE : join->rank,
			.flags = join->flags,
			.payload_max = GP_MIN(join->payload_max, r->engine->cfg.payload_max),
			.incarnation = join->incarnation,
			.serial = ++r->serial,
			.addr = *from,
		};
		struct reg_rank *rank = &rj->ranks[slot];
		reg_rank_reset(rj, rank);
		rank->session = rs->s.id;
		rank->incarnation = join->incarnation;
		if (reader)
			rj->readers_count++;
		else
			rj->joined++;
		flight_session(r->engine, &rs->s, true, r->now);
		gp_rcu_publish(&r->engine->sessions[i], &rs->s);
		if (r->events.session_opened)
			r->events.session_opened(r->events.arg, rs->s.job, rs->s.rank, from);
		return &rs->s;
	}
	return NULL;
}

void reg_session_close(struct gp_registrar *r, struct reg_session *rs, const char *why)
{
	GP_ASSERT(rs->used);
	struct reg_job *rj = reg_job_by_id(r, rs->s.job);
	flight_session(r->engine, &rs->s, false, r->now);
	gp_rcu_publish(&r->engine->sessions[session_idx(rs->s.id)], NULL);
	rs->used = false;
	rs->free_stamp = gp_rcu_grace_stamp(&r->engine->grace);
	struct reg_rank *rank = &rj->ranks[rs->slot];
	if (rank->member) {
		const struct cmd cmd = {.type = CMD_MEMBER_LOST,
			.job = rs->s.job,
			.rank = rs->s.rank,
			.session = rs->s.id};
		bool ok = reg_tell(r, job_home(r->engine, rs->s.job), &cmd);
		GP_ASSERT(ok);
	}
	if (rj->definer == rs->slot && !rj->job)
		registration_void(rj);
	reg_rank_reset(rj, rank);
	if (rs->s.rank == GP_WIRE_RANK_NONE)
		rj->readers_count--;
	else
		rj->joined--;
	if (r->events.session_closed)
		r->events.session_closed(r->events.arg, rs->s.job, rs->s.rank, why);
}

uint64_t reg_session_last_rx(const struct gp_registrar *r, uint32_t idx)
{
	uint64_t last = r->sessions[idx].opened_at;
	for (uint32_t i = 0; i < r->engine->cfg.cores_count; i++) {
		const struct core_session *cs = &r->engine->cores[i].sessions[idx];
		uint64_t rx = atomic_load_explicit(&cs->last_rx, memory_order_relaxed);
		last = GP_MAX(last, rx);
	}
	return last;
}

// Sessions that home does not watch: readers, and workers before the layout.
static void sessions_scan(struct gp_registrar *r)
{
	if (r->now < r->scan_next)
		return;
	r->scan_next = r->now + SCAN_CONTROL_NS;
	for (uint32_t i = 0; i < r->engine->cfg.sessions_max; i++) {
		struct reg_session *rs = &r->sessions[i];
		if (!rs->used || !rings_have_room(r))
			continue;
		struct reg_job *rj = reg_job_by_id(r, rs->s.job);
		bool reader = rs->s.rank == GP_WIRE_RANK_NONE;
		if (!reader && rj->ranks[rs->s.rank].member)
			continue;
		// A worker that waits for others speaks at least this often too.
		uint64_t limit = reader ? READER_TIMEOUT_NS : 4 * rj->cfg->timeout_ns;
		if (r->now > reg_session_last_rx(r, i) + limit)
			reg_session_close(r, rs, "silent");
	}
}

// ---- messages from cores

static void on_session_end(struct gp_registrar *r, const struct cmd *cmd, const char *why)
{
	struct reg_session *rs = &r->sessions[session_idx(cmd->session)];
	if (rs->used && rs->s.id == cmd->session)
		reg_session_close(r, rs, why);
}

static void message_handle(struct gp_registrar *r, uint32_t core, const struct cmd *cmd)
{
	switch (cmd->type) {
	case CMD_JOIN:
		reg_join(r, core, cmd->ptr);
		return;
	case CMD_REGISTER:
		reg_register(r, core, cmd);
		return;
	case CMD_LEAVE:
		on_session_end(r, cmd, "left");
		return;
	case CMD_EXPEL:
		on_session_end(r, cmd, "its contribution held NaN or infinity");
		return;
	case CMD_LOST:
		on_session_end(r, cmd, "silent for the worker time-out");
		return;
	case CMD_DECISION:
		r->events.decided(r->events.arg, cmd->job, &cmd->decision);
		return;
	case CMD_BOUND_MOVED:
		if (r->events.bound_moved)
			r->events.bound_moved(r->events.arg, cmd->job, &cmd->move);
		return;
	case CMD_CUT_READY:
		if (r->events.cut_ready)
			r->events.cut_ready(r->events.arg, cmd->job, cmd->step, cmd->unit);
		else
			gp_registrar_cut_release(r, cmd->job);
		return;
	default:
		GP_ASSERT(false); // nobody sends another
	}
}

// What the owner of the registrar asked for, once the rings have room for it and, for a stop, there
// is a job that could begin another step.
static void orders_tell(struct gp_registrar *r, struct reg_job *rj)
{
	const struct cmd end = {.type = CMD_CUT_END, .job = rj->cfg->id};
	const struct cmd stop = {.type = CMD_STOP, .job = rj->cfg->id};
	if (rj->cut_end_due && rings_have_room(r)) {
		reg_tell_all(r, &end);
		rj->cut_end_due = false;
	}
	if (rj->stop_due && rj->job && reg_tell(r, rj->job->home_core, &stop))
		rj->stop_due = false;
}

uint32_t gp_registrar_poll(struct gp_registrar *r, uint64_t now)
{
	struct cmd cmd;
	uint32_t work = 0;
	r->now = now;
	for (uint32_t i = 0; i < r->engine->cfg.cores_count; i++)
		for (uint32_t n = 0; n < MESSAGES_PER_POLL && rings_have_room(r) &&
				     gp_ring_pop(r->from_core[i], &cmd);
			n++, work++)
			message_handle(r, i, &cmd);
	for (uint32_t i = 0; i < r->engine->cfg.jobs_count && rings_have_room(r); i++) {
		reg_layout_try(r, &r->jobs[i]);
		orders_tell(r, &r->jobs[i]);
		reg_members_tell(r, &r->jobs[i]);
	}
	sessions_scan(r);
	return work;
}

void gp_registrar_set_events(struct gp_registrar *r, const struct gp_registrar_events *ev)
{
	r->events = *ev;
}

int gp_registrar_cut(struct gp_registrar *r, uint16_t job)
{
	struct reg_job *rj = reg_job_by_id(r, job);
	if (!rj || !rj->job || !rings_have_room(r))
		return -EAGAIN;
	const struct job_status *st = &r->engine->status[rj->job->idx];
	if (!atomic_load_explicit(&st->initialised, memory_order_relaxed))
		return -EAGAIN;
	// A reduce job begins with a generation that holds nothing.
	uint32_t generation = atomic_load_explicit(&st->generation, memory_order_relaxed);
	if (!job_trains(rj->job) && !cfg_embeds(rj->cfg) && generation == rj->job->first_generation)
		return -EAGAIN;
	if (atomic_load_explicit(&st->cut_active, memory_order_relaxed))
		return -EBUSY;
	const struct cmd cmd = {.type = CMD_CUT, .job = job};
	return reg_tell(r, rj->job->home_core, &cmd) ? 0 : -EAGAIN;
}

void gp_registrar_cut_release(struct gp_registrar *r, uint16_t job)
{
	struct reg_job *rj = reg_job_by_id(r, job);
	GP_ASSERT(rj && rj->job && !rj->cut_end_due);
	rj->cut_end_due = true;
	orders_tell(r, rj);
}

void gp_registrar_stop(struct gp_registrar *r)
{
	if (r->stopping)
		return;
	r->stopping = true;
	if (engine_is_standby(r->engine)) // no step is in hand, and no core decides
		return;
	for (uint32_t i = 0; i < r->engine->cfg.jobs_count; i++) {
		r->jobs[i].stop_due = true;
		orders_tell(r, &r->jobs[i]);
	}
}

// Readers have seen a later generation: they learn by joining again that it is lost.
static void readers_end(struct gp_registrar *r, uint16_t job)
{
	for (uint32_t i = 0; i < r->engine->cfg.sessions_max; i++)
		if (r->sessions[i].used && r->sessions[i].s.job == job)
			reg_session_close(
				r, &r->sessions[i], "this replica serves an older generation now");
}

// The layout is that of what is restored: nobody has to register it.
static int layout_restore(
	struct gp_registrar *r, struct reg_job *rj, const struct gp_restore *restore)
{
	const uint16_t id = rj->cfg->id;
	const struct job_status *st = &r->engine->status[r->engine->job_idx[id]];
	const struct gp_history before = rj->history;
	uint32_t served = atomic_load_explicit(&st->generation, memory_order_relaxed);
	bool back = rj->job && gp_before(restore->step, served);
	reg_history_restore(r->engine, rj, restore);
	int rc = reg_restore_publish(r, rj, restore);
	rj->history = rc == 0 ? rj->history : before;
	if (rc == 0 && back)
		readers_end(r, id);
	return rc;
}

int gp_registrar_restore(struct gp_registrar *r, uint16_t job, const struct gp_restore *restore)
{
	struct reg_job *rj = reg_job_by_id(r, job);
	if (!rj)
		return -ENOENT;
	int rc = cfg_embeds(rj->cfg) ? embed_restore_check(rj->cfg, restore) : 0;
	if (rc != 0)
		return rc;
	bool standby = engine_is_standby(r->engine);
	if (!standby && rj->job)
		return -EBUSY;
	// What a synchronous backup has to hold it is given before any worker has come.
	if (standby || rj->cfg->replicated)
		return layout_restore(r, rj, restore);
	reg_history_restore(r->engine, rj, restore);
	rj->restore_copy = *restore;
	rj->restore = &rj->restore_copy;
	reg_restored_index(rj, rj->restore);
	struct job_status *st = &r->engine->status[r->engine->job_idx[job]];
	// Nothing runs this job yet; home takes these over with the layout.
	atomic_store_explicit(&st->generation, restore->step, memory_order_relaxed);
	atomic_store_explicit(&st->decision, restore->decision, memory_order_relaxed);
	// What the backup holds it has to tell; it is no further behind than it was allowed to be.
	uint32_t lag = GP_MIN(rj->cfg->lag_max, restore->step);
	atomic_store_explicit(&st->backed, restore->step - lag, memory_order_relaxed);
	return 0;
}
