// SPDX-License-Identifier: BSD-3-Clause
//
// Joins: who may have a session, and who holds a rank.
#include "registrar_priv.h"

#include <stdio.h>

static bool join_check_worker(struct gp_registrar *r, const struct reg_job *rj,
	const struct gp_join *join, struct gp_refuse *x)
{
	const struct gp_job_config *cfg = rj->cfg;
	if (engine_is_standby(r->engine)) {
		x->reason = GP_REFUSAL_NOT_LEADER;
		refuse_text(x, "this node is a standby: it serves readers only");
		return false;
	}
	if (r->stopping) {
		x->reason = GP_REFUSAL_STOPPING;
		refuse_text(x, "the server is shutting down");
		return false;
	}
	x->expected = cfg->workers;
	x->seen = join->world;
	if (join->world != cfg->workers) {
		x->reason = GP_REFUSAL_WORLD_SIZE;
		refuse_text(x, "job %s has %u workers, you said %u", cfg->name, cfg->workers,
			join->world);
		return false;
	}
	x->seen = join->rank;
	if (join->rank >= cfg->workers) {
		x->reason = GP_REFUSAL_RANK_RANGE;
		refuse_text(x, "rank %u of job %s: ranks are 0..%u", join->rank, cfg->name,
			cfg->workers - 1);
		return false;
	}
	return true;
}

static bool join_check_mtu(
	const struct reg_job *rj, const struct gp_join *join, struct gp_refuse *x)
{
	uint32_t needed = rj->cfg->payload_max;
	if (rj->job)
		needed = GP_MAX(needed, rj->job->block_elems * 4 + GP_WIRE_OVERHEAD_MAX);
	if (join->payload_max >= needed)
		return true;
	x->reason = GP_REFUSAL_MTU;
	x->expected = needed + 48;
	x->seen = join->payload_max + 48;
	refuse_text(x, "job %s needs a path MTU of %u, yours carries %u", rj->cfg->name,
		needed + 48, join->payload_max + 48);
	return false;
}

// True when the rank is free now (a holder that must go has been sent away).
static bool rank_acquire(
	struct gp_registrar *r, struct reg_job *rj, const struct gp_join *join, struct gp_refuse *x)
{
	struct reg_rank *rank = &rj->ranks[join->rank];
	if (rank->session == 0)
		return true;
	struct reg_session *holder = &r->sessions[session_idx(rank->session)];
	uint64_t last = reg_session_last_rx(r, session_idx(rank->session));
	uint64_t age = r->now > last ? r->now - last : 0;
	if (join->previous == rank->incarnation || (join->flags & GP_JOIN_REPLACE) ||
		age > rj->cfg->timeout_ns) {
		reg_session_close(r, holder, "replaced by a new incarnation");
		return true;
	}
	x->reason = GP_REFUSAL_RANK_TAKEN;
	x->age_ms = (uint32_t)GP_MIN(age / 1000000, UINT32_MAX);
	memcpy(x->where_ip, holder->s.addr.ip, sizeof(x->where_ip));
	x->where_port = holder->s.addr.port;
	char where[GP_ADDR_TEXT_SIZE];
	gp_addr_format(&holder->s.addr, where);
	refuse_text(x, "rank %u of job %s is held by %s, heard %u ms ago", join->rank,
		rj->cfg->name, where, x->age_ms);
	return false;
}

static struct reg_job *job_by_name(struct gp_registrar *r, const char *name)
{
	for (uint32_t i = 0; i < r->engine->cfg.jobs_count; i++)
		if (strcmp(r->jobs[i].cfg->name, name) == 0)
			return &r->jobs[i];
	return NULL;
}

static struct gp_session *session_same(
	struct gp_registrar *r, const struct reg_job *rj, const struct gp_join *join)
{
	uint16_t rank = join->flags & GP_JOIN_READER ? GP_WIRE_RANK_NONE : join->rank;
	for (uint32_t i = 0; i < r->engine->cfg.sessions_max; i++) {
		struct reg_session *rs = &r->sessions[i];
		if (rs->used && rs->s.incarnation == join->incarnation &&
			rs->s.job == rj->cfg->id && rs->s.rank == rank)
			return &rs->s;
	}
	return NULL;
}

// False with the refusal filled when there is no session to have; sessions that have ended a moment
// ago still count as there.
static bool join_check_quota(
	struct gp_registrar *r, const struct reg_job *rj, bool reader, struct gp_refuse *x)
{
	uint32_t used = 0;
	for (uint32_t i = 0; i < r->engine->cfg.sessions_max; i++)
		used += r->sessions[i].used;
	bool full = used == r->engine->cfg.sessions_max;
	if (!full && !(reader && rj->readers_count == READERS_MAX))
		return true;
	x->reason = GP_REFUSAL_OVER_QUOTA;
	x->expected = full ? used : READERS_MAX;
	if (full)
		refuse_text(x, "all %u sessions of this server are in use", used);
	else
		refuse_text(x, "job %s has its %u readers", rj->cfg->name, READERS_MAX);
	return false;
}

// The session; NULL with the refusal filled, or with reason 0 when the joiner only has to repeat:
// the place that it takes is free after a grace period.
static struct gp_session *join_open(struct gp_registrar *r, const struct gp_join *join,
	const struct gp_addr *from, struct gp_refuse *x)
{
	struct reg_job *rj = job_by_name(r, join->job);
	if (!rj) {
		x->reason = GP_REFUSAL_UNKNOWN_JOB;
		refuse_text(x, "this server has no job '%s'", join->job);
		return NULL;
	}
	struct gp_session *s = session_same(r, rj, join);
	if (s)
		return s;
	bool reader = join->flags & GP_JOIN_READER;
	if (!reader && !join_check_worker(r, rj, join, x))
		return NULL;
	if (!join_check_mtu(rj, join, x))
		return NULL;
	if (!reader && !rank_acquire(r, rj, join, x))
		return NULL;
	if (!join_check_quota(r, rj, reader, x))
		return NULL;
	return reg_session_open(r, join, rj, from);
}

void reg_join(struct gp_registrar *r, uint32_t core, struct gp_frame *f)
{
	struct gp_msg m;
	struct gp_join join;
	enum gp_verdict v = gp_wire_parse(f->data, f->len, &m);
	GP_ASSERT(v == GP_VERDICT_OK); // the core has parsed it
	gp_wire_get_join(&m, &join);
	struct gp_refuse x = {.about = GP_WIRE_JOIN, .nonce = join.nonce};
	struct gp_session *s = join_open(r, &join, &f->peer, &x);
	if (!s && x.reason == GP_REFUSAL_NONE) {
		reg_done_with(r, core, f);
		return;
	}
	if (!s) {
		reg_refuse(r, core, f, &m.h, &x);
		return;
	}
	s->addr = f->peer;
	const struct cmd bind = {
		.type = CMD_BIND, .session = s->id, .unit = s->payload_max, .addr = f->peer};
	(void)reg_tell(r, core, &bind);
	struct gp_welcome w;
	struct gp_header h;
	welcome_fill(r->engine, s, join.nonce, &w, &h);
	w.history = reg_job_by_id(r, s->job)->history;
	uint32_t at = gp_wire_begin(f->data, f->room, &h);
	f->len = at + gp_wire_put_welcome(f->data + at, &w);
	reg_reply(r, core, f);
}
