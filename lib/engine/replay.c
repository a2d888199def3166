// SPDX-License-Identifier: BSD-3-Clause
//
// The timeline of a replay: rounds of cores in the order of their times, compared as they go.
#include "replay_priv.h"

#include "whole.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define IDLE_PERIODS  8 // grace periods after which nothing waits for one
#define IDLE_ROUNDS   256
#define COMMANDS_LAST CMD_POINT_SEEN // that a core takes

// ---- rings of the file

void replay_ring_step(struct replay_ring *ring)
{
	ring->there = gp_flight_record_next(&ring->cursor, &ring->next);
}

static uint64_t ring_time(const struct replay_ring *ring)
{
	return ring->there ? ring->next.head.now : UINT64_MAX;
}

uint64_t replay_core_time(const struct replay_core *rc)
{
	return GP_MIN(ring_time(&rc->main), ring_time(&rc->quiet));
}

// ---- what differs

static void differ(struct gp_replay *r, uint32_t core, const struct gp_flight_record *rec,
	const char *fmt, ...) GP_PRINTF(4, 5);

static void differ(struct gp_replay *r, uint32_t core, const struct gp_flight_record *rec,
	const char *fmt, ...)
{
	if (r->result.differs)
		return;
	r->result.differs = true;
	int n = snprintf(r->result.text, GP_REPLAY_TEXT_SIZE,
		"core %u, record %llu, at %.6f s: ", core, (unsigned long long)rec->number,
		(double)(rec->head.now - r->begin) / 1e9);
	va_list args;
	va_start(args, fmt);
	vsnprintf(r->result.text + n, GP_REPLAY_TEXT_SIZE - (size_t)n, fmt, args);
	va_end(args);
}

static const char *verdict_name(uint8_t v)
{
	return v < GP_VERDICT_COUNT ? gp_verdict_name(v) : "in hand";
}

// What came before a mark is not there to be pulled.
static bool pull_of_the_past(const struct replay_core *rc, const uint8_t *d)
{
	uint32_t job = gp_load16(d + 4);
	return d[1] == GP_WIRE_PULL && job <= GP_ENGINE_JOBS_MAX && rc->from_mark[job] &&
	       !gp_before(rc->mark_generation[job], gp_load32(d + 20));
}

// ---- datagrams

// Given before or instead of a look at the session.
static bool verdict_is_early(uint8_t v)
{
	return v == GP_VERDICT_WRONG_DIRECTION || v == GP_VERDICT_BAD_JOB ||
	       v == GP_VERDICT_BAD_SESSION;
}

// A session's end, and where the ring does not reach back to its bind the address that it is bound
// to, are as the record has them.
static void session_follow(struct gp_replay *r, uint32_t core, const struct gp_flight_record *rec,
	const struct gp_frame *f)
{
	struct gp_core *c = &r->e->cores[core];
	struct gp_msg m;
	if (gp_wire_parse(f->data, f->len, &m) != GP_VERDICT_OK)
		return;
	uint32_t idx = session_idx(m.h.session);
	if (idx >= r->cfg.sessions_max)
		return;
	const struct gp_session *s = gp_rcu_dereference(&r->e->sessions[idx]);
	if (!s || s->id != m.h.session)
		return;
	if (rec->head.verdict == GP_VERDICT_BAD_SESSION && r->sessions[idx].ending) {
		gp_rcu_publish(&r->e->sessions[idx], NULL);
		return;
	}
	const struct core_session *cs = &c->sessions[idx];
	bool bound = cs->id == s->id && cs->bound && gp_addr_equal(&cs->addr, &f->peer);
	if (r->cores[core].main.cursor.wrapped && !bound && !verdict_is_early(rec->head.verdict))
		session_bind(c, s->id, s->payload_max, &f->peer);
}

// In an asynchronous job a core without a free version answers BUSY: its frames in transmission
// held them, and here there are none. What it then took later is there already.
static bool memory_was_short(struct gp_replay *r, struct replay_core *rc, uint32_t job,
	uint8_t recorded, uint8_t replayed)
{
	const struct gp_job *j =
		job <= GP_ENGINE_JOBS_MAX ? gp_rcu_dereference(&r->e->jobs[job]) : NULL;
	if (!j || !cfg_is_async(j->cfg))
		return false;
	bool taken = replayed == GP_VERDICT_PUSH || replayed == GP_VERDICT_PUSH_DUPLICATE;
	if (recorded == GP_VERDICT_PUSH_BUSY && taken) {
		r->result.short_of_memory++;
		rc->full[job] = true;
		return true;
	}
	return rc->full[job] && recorded == GP_VERDICT_PUSH &&
	       replayed == GP_VERDICT_PUSH_DUPLICATE;
}

static void datagram_drive(struct gp_replay *r, uint32_t core, const struct gp_flight_record *rec)
{
	struct replay_core *rc = &r->cores[core];
	struct gp_core *c = &r->e->cores[core];
	const uint8_t *d = rec->bytes + sizeof(struct flight_peer);
	struct gp_frame *f = replay_frame(r, rc, rec);
	if (!f) {
		replay_taken(r, core, rec);
		return;
	}
	uint32_t job = f->len >= GP_WIRE_HEADER_SIZE ? gp_load16(d + 4) : 0;
	if (job >= 1 && job <= GP_ENGINE_JOBS_MAX && !rc->started[job]) {
		r->result.before++;
		rc->xport.ops->release(&rc->xport, f);
		return;
	}
	c->now = rec->head.now;
	session_follow(r, core, rec, f);
	const uint8_t type = f->len > 1 ? f->data[1] : 0;
	bool past = f->len >= GP_WIRE_HEADER_SIZE && pull_of_the_past(rc, d);
	r->result.datagrams++;
	gp_core_rx(c, &f, 1, rec->head.now);
	uint8_t v = gp_flight_verdict_of(c->flight->hand);
	if (rec->head.verdict == GP_FLIGHT_IN_HAND || v == rec->head.verdict || past ||
		(type == GP_WIRE_PUSH && memory_was_short(r, rc, job, rec->head.verdict, v)))
		return;
	differ(r, core, rec,
		"%s of rank %u, job %u, step %u, packet %llu: recorded %s, replayed %s",
		gp_wire_type_name(type), gp_load16(d + 6), job, gp_load32(d + 20),
		(unsigned long long)gp_load64(d + 24), verdict_name(rec->head.verdict),
		verdict_name(v));
}

// ---- commands and decisions

static void push(struct gp_replay *r, struct gp_ring *ring, const struct cmd *cmd, uint32_t core,
	const struct gp_flight_record *rec)
{
	if (!gp_ring_push(ring, cmd))
		differ(r, core, rec, "more commands in one round than a ring has places");
}

// Of a core to itself, or of home to a core: updates that need the whole step.
static bool whole_is_legal(const struct gp_replay *r, uint32_t core, const struct flight_command *x)
{
	const struct gp_job *j =
		x->job <= GP_ENGINE_JOBS_MAX ? gp_rcu_dereference(&r->e->jobs[x->job]) : NULL;
	if (!j || !j->home->whole || !r->e->cores[core].jobs[x->job])
		return false;
	if (x->type == CMD_MORE)
		return x->core == core;
	return x->core == j->home_core && (x->unit == WHOLE_ALL || x->unit < j->tensors_count);
}

static bool sender_is_legal(const struct gp_replay *r, uint8_t kind, const struct flight_command *x)
{
	bool of_core = x->core < r->cfg.cores_count;
	if (kind == FLIGHT_LOST)
		return of_core && x->type == CMD_MEMBER_LOST;
	bool of_cores = x->type <= CMD_APPLIED || x->type == CMD_POINT_SEEN;
	return of_cores ? of_core : x->core == UINT8_MAX;
}

static bool command_legal(
	const struct gp_replay *r, uint32_t core, uint8_t kind, const struct flight_command *x)
{
	if (x->type < CMD_PART_DONE || x->type > COMMANDS_LAST || x->type == CMD_DECISION ||
		x->type == CMD_REPLY || x->type == CMD_DONE_WITH)
		return false;
	if (!sender_is_legal(r, kind, x))
		return false;
	if (x->type == CMD_FACTOR || x->type == CMD_MORE)
		return whole_is_legal(r, core, x);
	if (x->type != CMD_PART_DONE && session_idx(x->session) >= r->cfg.sessions_max)
		return false;
	if (x->type == CMD_BIND)
		return true;
	const struct gp_job *j =
		x->job <= GP_ENGINE_JOBS_MAX ? gp_rcu_dereference(&r->e->jobs[x->job]) : NULL;
	bool of_home = x->type != CMD_JOB_READY && x->type != CMD_CUT_END;
	bool told = x->core != UINT8_MAX || x->type == CMD_JOB_READY ||
		    r->cores[core].ready[x->job] || r->e->cores[core].jobs[x->job];
	if (!j || !told || x->rank >= j->cfg->workers || (of_home && j->home_core != core))
		return false;
	if (x->type == CMD_PART_DONE && cfg_is_async(j->cfg)) // of a rank
		return x->unit < j->cfg->workers;
	if (x->type == CMD_PART_DONE)
		return x->unit < j->units_count &&
		       x->session <= (j->units_count - 1 - x->unit) / r->cfg.cores_count;
	if (x->type == CMD_MEASURED)
		return j->home->whole && x->unit >= WHOLE_GRADIENT && x->unit <= WHOLE_UPDATE;
	return (x->type != CMD_APPLIED && x->type != CMD_POINT_SEEN) || cfg_is_async(j->cfg);
}

static void command_drive(struct gp_replay *r, uint32_t core, const struct gp_flight_record *rec)
{
	struct flight_command x;
	struct gp_core *c = &r->e->cores[core];
	if (rec->kept != sizeof(x))
		return;
	memcpy(&x, rec->bytes, sizeof(x));
	if (x.job != 0 && !replay_job_need(r, x.job))
		return;
	if (x.type != CMD_BIND && x.job <= GP_ENGINE_JOBS_MAX && !r->cores[core].started[x.job]) {
		r->result.before++;
		return;
	}
	if (!command_legal(r, core, rec->head.kind, &x)) {
		differ(r, core, rec, "command %u is not legal", x.type);
		return;
	}
	struct cmd cmd = {.type = x.type,
		.core = x.core,
		.job = x.job,
		.unit = x.unit,
		.step = x.step,
		.view = x.view,
		.rank = x.rank,
		.session = x.session};
	if (x.type == CMD_BIND)
		cmd.addr = replay_addr(&x.addr);
	if (x.type == CMD_JOB_READY) {
		cmd.ptr = gp_rcu_dereference(&r->e->jobs[x.job]);
		r->cores[core].ready[x.job] = true;
	}
	if (rec->head.kind == FLIGHT_LOST)
		gp_rcu_dereference(&r->e->jobs[x.job])->home->rank_session[x.rank] = x.session;
	// Home notices a loss after all commands of the round: the last ring is read last.
	uint32_t sender = rec->head.kind == FLIGHT_LOST ? r->cfg.cores_count - 1 : x.core;
	push(r, sender == UINT8_MAX ? c->from_control : c->from_core[sender], &cmd, core, rec);
}

// Home decides by itself and is compared after its round; the others are told.
static void decision_drive(struct gp_replay *r, uint32_t core, const struct gp_flight_record *rec)
{
	struct flight_decision x;
	if (rec->kept != sizeof(x))
		return;
	memcpy(&x, rec->bytes, sizeof(x));
	if (!replay_job_need(r, x.job))
		return;
	if (!r->cores[core].started[x.job]) {
		r->result.before++;
		return;
	}
	const struct gp_job *j = gp_rcu_dereference(&r->e->jobs[x.job]);
	if (j->home_core == core)
		return;
	uint32_t *told = &r->cores[core].told[x.job];
	if (x.d.number != *told + 1) {
		differ(r, core, rec, "decision %u comes after %u", x.d.number, *told);
		return;
	}
	*told = x.d.number;
	if (!replay_decision_legal(j, &x.d)) {
		differ(r, core, rec, "decision %u is not legal", x.d.number);
		return;
	}
	const struct job_core *jc = &j->cores[core];
	bool commit = x.d.kind == GP_DECIDED_COMMIT && !cfg_is_async(j->cfg);
	if (commit && (x.d.unit >= j->units_count ||
			      jc->unit_done[x.d.unit] != jc->unit_blocks[x.d.unit])) {
		differ(r, core, rec,
			"decision %u commits unit %u of step %u, which is not complete", x.d.number,
			x.d.unit, x.d.step);
		return;
	}
	const struct cmd cmd = {.type = CMD_DECISION,
		.core = (uint8_t)j->home_core,
		.job = (uint16_t)x.job,
		.decision = x.d};
	push(r, r->e->cores[core].from_core[j->home_core], &cmd, core, rec);
}

static void decision_compare(struct gp_replay *r, uint32_t core, const struct gp_flight_record *rec)
{
	struct flight_decision x;
	if (rec->kept != sizeof(x))
		return;
	memcpy(&x, rec->bytes, sizeof(x));
	const struct gp_job *j =
		x.job <= GP_ENGINE_JOBS_MAX ? gp_rcu_dereference(&r->e->jobs[x.job]) : NULL;
	const struct replay_core *rc = &r->cores[core];
	if (!j || j->home_core != core || !rc->started[x.job] ||
		!gp_before(rc->told[x.job], x.d.number))
		return;
	r->result.decisions++;
	const struct gp_decision *d = gp_consist_log(&j->home->consist, x.d.number);
	if (gp_before(j->cores[core].decision, x.d.number) || !d) {
		differ(r, core, rec, "home of job %s decided %u, replayed it is still at %u",
			j->cfg->name, x.d.number, j->cores[core].decision);
		return;
	}
	if (memcmp(d, &x.d, sizeof(*d)) == 0)
		return;
	differ(r, core, rec,
		"decision %u of job %s: recorded kind %u, unit %u, step %u, view %u, %u ranks; "
		"replayed %u, %u, %u, %u, %u",
		x.d.number, j->cfg->name, x.d.kind, x.d.unit, x.d.step, x.d.view, x.d.ranks,
		d->kind, d->unit, d->step, d->view, d->ranks);
}

// ---- marks

static void core_start(struct gp_replay *r, uint32_t core, uint32_t job)
{
	r->e->cores[core].jobs[job] = &gp_rcu_dereference(&r->e->jobs[job])->cores[core];
	r->cores[core].started[job] = true;
}

// A job begins at this core with the mark and what follows it.
static void mark_read(struct gp_replay *r, uint32_t core, const struct gp_flight_record *rec)
{
	struct replay_core *rc = &r->cores[core];
	struct flight_mark m;
	if (rec->kept != sizeof(m))
		return;
	memcpy(&m, rec->bytes, sizeof(m));
	if (m.job > GP_ENGINE_JOBS_MAX || rc->started[m.job] || !(m.flags & FLIGHT_MARK_WHOLE) ||
		!replay_job_need(r, m.job))
		return;
	const struct gp_job *j = gp_rcu_dereference(&r->e->jobs[m.job]);
	if (!replay_mark_legal(j, &m)) {
		differ(r, core, rec, "the mark of job %s is not legal", j->cfg->name);
		return;
	}
	if (cfg_is_async(j->cfg)) // there is no moment at which its ranks have nothing under way
		return;
	replay_mark(r, core, &m);
	rc->marked = m.job;
	rc->mark_generation[m.job] = m.generation;
	rc->from_mark[m.job] = true;
	rc->told[m.job] = m.decision;
	if (j->home_core != core) // home begins with its own record
		core_start(r, core, m.job);
}

static void home_read(struct gp_replay *r, uint32_t core, const struct gp_flight_record *rec)
{
	struct flight_home h = {0};
	struct replay_core *rc = &r->cores[core];
	if (rec->kept < offsetof(struct flight_home, rank_session) || rec->kept > sizeof(h))
		return;
	memcpy(&h, rec->bytes, rec->kept);
	if (h.job == 0 || h.job != rc->marked || rc->started[h.job] || !h.whole)
		return;
	const struct gp_job *j = gp_rcu_dereference(&r->e->jobs[h.job]);
	if (j->home_core != core || !replay_home_legal(r, j, &h)) {
		differ(r, core, rec, "home of job %s is not legal", j->cfg->name);
		return;
	}
	replay_home(r, &h);
	core_start(r, core, h.job);
}

static void slot_read(struct gp_replay *r, uint32_t core, const struct gp_flight_record *rec)
{
	struct flight_slot s;
	const struct replay_core *rc = &r->cores[core];
	if (rec->kept != sizeof(s))
		return;
	memcpy(&s, rec->bytes, sizeof(s));
	if (s.job != 0 && s.job == rc->marked && rc->started[s.job])
		replay_slot(r, core, &s);
}

// ---- a round

static void rings_drain(struct gp_replay *r, uint32_t core)
{
	struct gp_core *c = &r->e->cores[core];
	struct cmd cmd;
	while (gp_ring_pop(c->from_control, &cmd))
		;
	for (uint32_t i = 0; i < r->cfg.cores_count; i++)
		while (gp_ring_pop(c->from_core[i], &cmd))
			;
}

// Nobody answers what cores hand to control.
static void control_drain(struct gp_replay *r, uint32_t core)
{
	struct gp_core *c = &r->e->cores[core];
	struct cmd cmd;
	while (c->gate.to_backup && gp_ring_pop(c->gate.to_backup, &cmd))
		;
	while (gp_ring_pop(c->to_control, &cmd))
		if (cmd.type == CMD_JOIN || cmd.type == CMD_REGISTER)
			c->xport->ops->release(c->xport, cmd.ptr);
}

// Grace periods, as the core saw them pass.
static void clock_set(struct gp_replay *r, uint32_t core, uint64_t clock)
{
	struct replay_core *rc = &r->cores[core];
	rc->clock = GP_MAX(rc->clock, clock);
	atomic_store_explicit(&r->e->grace.passed, rc->clock, memory_order_relaxed);
}

static void record_drive(struct gp_replay *r, uint32_t core, const struct gp_flight_record *rec)
{
	static void (*const drive[])(
		struct gp_replay *, uint32_t, const struct gp_flight_record *) = {
		[FLIGHT_DATAGRAM] = datagram_drive,
		[FLIGHT_DECISION] = decision_drive,
		[FLIGHT_COMMAND] = command_drive,
		[FLIGHT_LOST] = command_drive,
		[FLIGHT_MARK] = mark_read,
		[FLIGHT_HOME] = home_read,
		[FLIGHT_SLOT] = slot_read,
	};
	clock_set(r, core, rec->head.clock);
	if (rec->head.kind < GP_ARRAY_SIZE(drive) && drive[rec->head.kind])
		drive[rec->head.kind](r, core, rec);
}

// Decisions of the round, once its tick is over.
static void round_compare(
	struct gp_replay *r, uint32_t core, struct replay_ring *ring, uint64_t now)
{
	for (; ring_time(ring) == now && !r->result.differs; replay_ring_step(ring))
		if (ring->next.head.kind == FLIGHT_DECISION)
			decision_compare(r, core, &ring->next);
}

// What the core did in rounds without a record: with each grace period blocks that waited for a
// version were completed, home was told, versions of ended cuts came back. Nothing in them was due
// by time: a decision that is would be on record.
static void idle_run(struct gp_replay *r, uint32_t core, const struct gp_flight_head *next)
{
	struct gp_core *c = &r->e->cores[core];
	struct replay_core *rc = &r->cores[core];
	uint64_t last = GP_MIN(next->clock, rc->clock + IDLE_PERIODS);
	for (uint64_t k = rc->clock; k <= last; k++) {
		clock_set(r, core, k);
		// Twice at least: home is told at the beginning of the round after.
		for (uint32_t i = 0, work = 1; (work > 0 && i < IDLE_ROUNDS) || i < 2; i++) {
			work = gp_core_tick(c, rc->last);
			rings_drain(r, core);
		}
	}
	clock_set(r, core, next->clock);
}

static void round_run(struct gp_replay *r, uint32_t core, uint64_t now)
{
	struct replay_core *rc = &r->cores[core];
	if (rc->last == 0)
		rc->last = now;
	bool loud = ring_time(&rc->main) == now;
	const struct gp_flight_record *first = loud ? &rc->main.next : &rc->quiet.next;
	rc->again = rc->main;
	rings_drain(r, core);
	idle_run(r, core, &first->head);
	for (; ring_time(&rc->quiet) == now; replay_ring_step(&rc->quiet))
		if (rc->quiet.next.head.kind == FLIGHT_DATAGRAM)
			datagram_drive(r, core, &rc->quiet.next);
	for (; ring_time(&rc->main) == now && !r->result.differs; replay_ring_step(&rc->main))
		record_drive(r, core, &rc->main.next);
	gp_core_tick(&r->e->cores[core], now);
	control_drain(r, core);
	round_compare(r, core, &rc->again, now);
	rc->last = now;
	r->result.rounds++;
}

static void control_run(struct gp_replay *r, uint64_t now)
{
	for (; ring_time(&r->control) <= now && r->control.there; replay_ring_step(&r->control)) {
		const struct gp_flight_record *rec = &r->control.next;
		struct flight_session s;
		if (rec->head.kind != FLIGHT_SESSION || rec->kept != sizeof(s))
			continue;
		memcpy(&s, rec->bytes, sizeof(s));
		replay_session(r, &s, rec->head.verdict);
	}
}

static void missing_say(struct gp_replay *r, const struct gp_job_config *cfg, uint32_t core)
{
	if (replay_job_evicts(cfg))
		snprintf(r->result.missing, sizeof(r->result.missing),
			"job %s evicts rows: which ones went when is not in a dump", cfg->name);
	else if (!replay_job_is_kept(r, cfg->id))
		snprintf(r->result.missing, sizeof(r->result.missing),
			"job %s is of tables: only with whole datagrams (recorder.mode payloads)",
			cfg->name);
	else if (cfg_is_async(cfg))
		snprintf(r->result.missing, sizeof(r->result.missing),
			"job %s is asynchronous: only from its beginning, which core %u has not",
			cfg->name, core);
	else
		snprintf(r->result.missing, sizeof(r->result.missing),
			"job %s begins nowhere in the records of core %u", cfg->name, core);
}

// Jobs that a wrapped ring gave no mark for.
static void missing_note(struct gp_replay *r)
{
	for (uint32_t id = 1; id <= GP_ENGINE_JOBS_MAX; id++)
		for (uint32_t k = 0; r->jobs[id].layout && k < r->cfg.cores_count; k++)
			if (!r->cores[k].started[id] && r->result.missing[0] == '\0')
				missing_say(r, &r->e->jobs_cfg[r->e->job_idx[id]], k);
}

// 1: there was one.
static int round_next(struct gp_replay *r)
{
	uint32_t core = 0;
	for (uint32_t i = 1; i < r->cfg.cores_count; i++)
		if (replay_core_time(&r->cores[i]) < replay_core_time(&r->cores[core]))
			core = i;
	uint64_t now = replay_core_time(&r->cores[core]);
	if (now == UINT64_MAX || r->result.differs) {
		missing_note(r);
		return 0;
	}
	control_run(r, now);
	round_run(r, core, now);
	return !r->result.differs;
}

bool gp_replay_round(struct gp_replay *r)
{
	int more = 0;
	if (r->failed)
		return false;
	if (replay_guarded(r, round_next, &more, r->result.text))
		return more > 0;
	r->result.differs = true;
	r->result.fails = true;
	return false;
}

void gp_replay_unguard(struct gp_replay *r)
{
	r->unguarded = true;
}
