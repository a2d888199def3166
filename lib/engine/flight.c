// SPDX-License-Identifier: BSD-3-Clause
//
// The writing side of the flight recorder: a core's inputs, in the order in which they reached it.
#include "flight.h"

#define OFFSET_TYPE	1 // of a datagram's header (docs/protocol.md 1)
#define OFFSET_FLAGS	2
#define OFFSET_SECTIONS 38

static struct flight_peer peer_of(const struct gp_addr *a)
{
	struct flight_peer p = {.port = a->port, .vlan = a->vlan};
	memcpy(p.ip, a->ip, sizeof(p.ip));
	return p;
}

// How much of a datagram is kept; nothing of it has been checked yet.
static uint32_t datagram_kept(const struct flight *fl, const struct gp_frame *f)
{
	if (fl->payloads || f->len <= FLIGHT_SHORT)
		return GP_MIN(f->len, (uint32_t)GP_WIRE_DATAGRAM_MAX);
	uint32_t sections = GP_MIN(f->data[OFFSET_SECTIONS], GP_WIRE_SECTIONS_MAX);
	uint32_t heads = GP_WIRE_HEADER_SIZE + GP_WIRE_SECTION_SIZE * sections +
			 (f->data[OFFSET_FLAGS] & GP_WIRE_F_ACK ? GP_WIRE_ACK_SIZE : 0);
	if (sections == 0)
		heads = FLIGHT_SHORT;
	return GP_MIN(f->len, heads);
}

static struct gp_flight_head head_of(const struct flight *fl, uint64_t now, uint8_t kind)
{
	return (struct gp_flight_head){.now = now,
		.clock = atomic_load_explicit(&fl->grace->passed, memory_order_relaxed),
		.kind = kind};
}

// Before it is looked at: one that ends the program is the last in the ring.
void flight_datagram_put(struct gp_core *c, const struct gp_frame *f)
{
	struct flight *fl = c->flight;
	bool quiet = f->len > OFFSET_TYPE && (f->data[OFFSET_TYPE] == GP_WIRE_HEARTBEAT ||
						     f->data[OFFSET_TYPE] == GP_WIRE_BEAT);
	struct gp_flight_head h = head_of(fl, c->now, FLIGHT_DATAGRAM);
	h.verdict = GP_FLIGHT_IN_HAND;
	h.len = (uint16_t)GP_MIN(f->len, UINT16_MAX);
	const struct flight_peer peer = peer_of(&f->peer);
	fl->hand = quiet ? &fl->quiet : &fl->main;
	gp_flight_put(fl->hand, &h, &peer, sizeof(peer), f->data, datagram_kept(fl, f));
}

void flight_verdict_put(struct gp_core *c, enum gp_verdict v)
{
	_Static_assert(GP_VERDICT_COUNT < GP_FLIGHT_IN_HAND, "a verdict is a byte");
	gp_flight_verdict(c->flight->hand, (uint8_t)v);
}

static void record(
	struct flight *fl, uint64_t now, enum flight_kind kind, const void *bytes, size_t len)
{
	const struct gp_flight_head h = head_of(fl, now, (uint8_t)kind);
	gp_flight_put(&fl->main, &h, NULL, 0, bytes, (uint32_t)len);
}

// Decisions are recorded where they are applied; what only sends or lets go of a frame is not.
void flight_command(struct gp_core *c, const struct cmd *cmd, uint8_t sender)
{
	if (!c->flight || cmd->type == CMD_DECISION || cmd->type == CMD_REPLY ||
		cmd->type == CMD_DONE_WITH)
		return;
	if (cmd->type == CMD_CUT_END && c->flight->cuts[cmd->job] > 0)
		c->flight->cuts[cmd->job]--;
	struct flight_command r = {.type = cmd->type,
		.core = sender,
		.job = cmd->job,
		.unit = cmd->unit,
		.step = cmd->step,
		.view = cmd->view,
		.rank = cmd->rank,
		.session = cmd->session};
	if (cmd->type == CMD_BIND)
		r.addr = peer_of(&cmd->addr);
	record(c->flight, c->now, FLIGHT_COMMAND, &r, sizeof(r));
}

void flight_decision(struct gp_core *c, const struct job_core *jc, const struct gp_decision *d)
{
	if (!c->flight)
		return;
	if (d->kind == GP_DECIDED_CUT)
		c->flight->cuts[jc->job->cfg->id]++;
	struct flight_decision r = {.job = jc->job->cfg->id, .size = sizeof(*d), .d = *d};
	record(c->flight, c->now, FLIGHT_DECISION, &r, sizeof(r));
}

void flight_lost(struct gp_core *c, const struct job_core *jc, uint32_t rank)
{
	if (!c->flight)
		return;
	const struct flight_command r = {.type = CMD_MEMBER_LOST,
		.core = (uint8_t)c->idx,
		.job = jc->job->cfg->id,
		.rank = rank,
		.session = jc->job->home->rank_session[rank]};
	record(c->flight, c->now, FLIGHT_LOST, &r, sizeof(r));
}

// ---- marks: what a replay may begin at when the ring has overwritten the beginning

static void slots_record(struct gp_core *c, const struct job_core *jc)
{
	for (uint32_t i = 0; i <= jc->slot_mask; i++) {
		const struct slot *s = &jc->slots[i];
		if (!s->open)
			continue;
		const struct flight_slot r = {.job = jc->job->cfg->id,
			.step = s->step,
			.local = s->local,
			.ranks = s->ranks};
		record(c->flight, c->now, FLIGHT_SLOT, &r, sizeof(r));
	}
}

static void home_record(struct gp_core *c, const struct job_core *jc)
{
	const struct home *h = jc->job->home;
	struct flight_home r = {.job = jc->job->cfg->id,
		.whole = h->consist.decision == jc->decision && h->consist.units_done == 0,
		.admitted = h->consist.admitted,
		.cut_last = h->cut_last,
		.stop_wanted = h->stop_wanted,
		.stopped = h->stopped,
		.live = h->consist.live,
		.lost = h->consist.lost};
	uint32_t workers = jc->job->cfg->workers;
	memcpy(r.rank_session, h->rank_session, sizeof(r.rank_session[0]) * workers);
	record(c->flight, c->now, FLIGHT_HOME, &r,
		offsetof(struct flight_home, rank_session) + sizeof(r.rank_session[0]) * workers);
}

void flight_mark(struct gp_core *c, const struct job_core *jc)
{
	if (!c->flight)
		return;
	bool whole = jc->slots_open <= FLIGHT_SLOTS_MAX && c->flight->cuts[jc->job->cfg->id] == 0;
	const struct flight_mark r = {.job = jc->job->cfg->id,
		.flags =
			(whole ? FLIGHT_MARK_WHOLE : 0) | (jc->stopping ? FLIGHT_MARK_STOPPING : 0),
		.decision = jc->decision,
		.generation = jc->generation,
		.view = jc->view,
		.view_first_step = jc->view_first_step,
		.members_count = jc->members_count,
		.lowest = jc->lowest,
		.admitted = jc->admitted,
		.stop_step = jc->stop_step,
		.slots_count = whole ? jc->slots_open : 0,
		.members = jc->members};
	record(c->flight, c->now, FLIGHT_MARK, &r, sizeof(r));
	if (jc->job->home_core == c->idx)
		home_record(c, jc);
	if (whole && jc->slots_open > 0)
		slots_record(c, jc);
}

// ---- control

void flight_session(struct gp_engine *e, const struct gp_session *s, bool opened, uint64_t now)
{
	if (!e->flights)
		return;
	const struct flight_session r = {.id = s->id,
		.job = s->job,
		.rank = s->rank,
		.flags = s->flags,
		.payload_max = s->payload_max,
		.incarnation = s->incarnation,
		.serial = s->serial,
		.addr = peer_of(&s->addr)};
	struct flight *fl = &e->flights[e->cfg.cores_count];
	struct gp_flight_head h = head_of(fl, now, FLIGHT_SESSION);
	h.verdict = opened;
	gp_flight_put(&fl->main, &h, NULL, 0, &r, sizeof(r));
}

// ---- memory

static uint32_t quiet_cells(const struct gp_engine_config *cfg)
{
	return GP_MAX(cfg->flight_cells / FLIGHT_QUIET_SHARE, (uint32_t)GP_FLIGHT_CELLS_MIN);
}

bool flight_legal(const struct gp_engine_config *cfg)
{
	uint32_t n = cfg->flight_cells;
	return n == 0 ||
	       (n >= GP_FLIGHT_CELLS_MIN && n <= GP_FLIGHT_CELLS_MAX && (n & (n - 1)) == 0);
}

size_t flight_size(const struct gp_engine_config *cfg)
{
	if (cfg->flight_cells == 0)
		return 0;
	size_t quiet = gp_flight_ring_size(quiet_cells(cfg));
	return (cfg->cores_count + 1) * (sizeof(struct flight) + 4 * (size_t)GP_CACHE_LINE) +
	       cfg->cores_count * (gp_flight_ring_size(cfg->flight_cells) + quiet) + quiet;
}

static bool ring_take(struct gp_flight_ring *r, uint32_t cells, struct gp_arena *a)
{
	void *mem = gp_arena_take(a, gp_flight_ring_size(cells), GP_CACHE_LINE);
	if (mem)
		gp_flight_ring_init(r, mem, cells);
	return mem;
}

bool flight_take(struct gp_engine *e, struct gp_arena *a)
{
	uint32_t cores = e->cfg.cores_count;
	if (e->cfg.flight_cells == 0)
		return true;
	e->flights = gp_arena_take(a, sizeof(struct flight) * (cores + 1), GP_CACHE_LINE);
	if (!e->flights)
		return false;
	for (uint32_t i = 0; i <= cores; i++) {
		struct flight *fl = &e->flights[i];
		bool control = i == cores;
		fl->grace = &e->grace;
		fl->payloads = e->cfg.flight_payloads;
		if (!ring_take(&fl->main, control ? quiet_cells(&e->cfg) : e->cfg.flight_cells, a))
			return false;
		if (!control && !ring_take(&fl->quiet, quiet_cells(&e->cfg), a))
			return false;
		if (!control)
			e->cores[i].flight = fl;
	}
	return true;
}
