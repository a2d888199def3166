// SPDX-License-Identifier: BSD-3-Clause
//
// A polled core: the verdict of a datagram, and after a burst what was put off.
#include "flight.h"

#include "embed.h"
#include "engine_priv.h"
#include "watch.h"

// Blocks looked at in a burst for versions that only an ended cut needed.
#define SWEEP_BLOCKS 64
// So many jobs have a turn in every round.
#define JOBS_ALWAYS 4
// Datagrams since the turn before that make it one under load.
#define LOADED 16

static enum gp_verdict handle_register(
	struct gp_core *c, const struct gp_session *s, struct gp_frame *f)
{
	if (c->idx != job_home(c->engine, s->job))
		return GP_VERDICT_WRONG_CORE;
	const struct cmd cmd = {.type = CMD_REGISTER, .job = s->job, .session = s->id, .ptr = f};
	if (!core_tell_control(c, &cmd))
		return GP_VERDICT_CONTROL_FULL;
	c->xport->ops->hold(c->xport, f);
	return GP_VERDICT_REGISTER;
}

// Messages inside a session, after its header was checked.
static enum gp_verdict handle_in_session(struct gp_core *c, struct core_session *cs,
	const struct gp_session *s, struct gp_frame *f, const struct gp_msg *m)
{
	struct job_core *jc = c->jobs[s->job];
	if (jc)
		jc->busy = true;
	switch (m->h.type) {
	case GP_WIRE_PUSH:
		return handle_push(c, cs, s, jc, f, m);
	case GP_WIRE_PULL:
		return handle_pull(c, cs, jc, m);
	case GP_WIRE_PULL_ROWS:
		return handle_pull_rows(c, cs, jc, m);
	case GP_WIRE_READ:
		return handle_read(c, cs, s, jc, m);
	case GP_WIRE_HEARTBEAT:
		return handle_heartbeat(c, cs, s, jc, m);
	case GP_WIRE_REGISTER:
		return handle_register(c, s, f);
	case GP_WIRE_BARRIER:
		return handle_barrier(c, cs, s, jc, m);
	case GP_WIRE_LEAVE:
		return handle_leave(c, cs, s, jc, m);
	default:
		return GP_VERDICT_WRONG_DIRECTION;
	}
}

static bool type_is_of_session(uint8_t type)
{
	return type == GP_WIRE_PUSH || type == GP_WIRE_PULL || type == GP_WIRE_HEARTBEAT ||
	       type == GP_WIRE_REGISTER || type == GP_WIRE_BARRIER || type == GP_WIRE_LEAVE ||
	       type == GP_WIRE_READ || type == GP_WIRE_PULL_ROWS;
}

enum gp_verdict handle_frame(struct gp_core *c, struct gp_frame *f)
{
	struct gp_msg m;
	enum gp_verdict v = gp_wire_parse(f->data, f->len, &m);
	if (v != GP_VERDICT_OK)
		return v;
	if (m.h.type == GP_WIRE_HELLO)
		return handle_hello(c, f, &m);
	if (m.h.type == GP_WIRE_JOIN)
		return handle_join(c, f, &m);
	if (m.h.type == GP_WIRE_BEAT)
		return handle_beat(c, &m);
	if (!type_is_of_session(m.h.type))
		return GP_VERDICT_WRONG_DIRECTION;
	if (m.h.job == 0 || m.h.job > GP_ENGINE_JOBS_MAX || c->engine->job_idx[m.h.job] == NONE_U16)
		return GP_VERDICT_BAD_JOB;

	const struct gp_session *s;
	struct core_session *cs = session_lookup(c, f, &m.h, &s);
	if (!cs) {
		const struct gp_refuse r = {.reason = GP_REFUSAL_FENCED, .about = m.h.type};
		send_refuse(c, &f->peer, &m.h, &r, f->len);
		return GP_VERDICT_BAD_SESSION;
	}
	if (m.h.epoch != engine_epoch(c->engine))
		return GP_VERDICT_BAD_EPOCH;
	session_took(c, cs, m.h.packet, m.h.decision);
	enum gp_verdict verdict = handle_in_session(c, cs, s, f, &m);
	watch_session(c, cs, &m, verdict);
	return verdict;
}

static uint32_t job_tick(struct gp_core *c, struct job_core *jc)
{
	uint32_t work = gp_table_sweep(&jc->table, SWEEP_BLOCKS);
	if (core_is_async(jc))
		work += async_apply_more(c, jc);
	if (jc->embed)
		work += embed_tick(jc);
	if (jc->deferred_count > 0)
		slot_retry_deferred(c, jc);
	nack_tick(c, jc);
	watch_place(c, jc);
	if (jc->job->home_core == c->idx)
		work += home_tick(c, jc);
	jc->busy = work > 0;
	return work;
}

// Of many jobs only those that something has reached since their last turn, and one other: what
// none of them has to do would cost every datagram more than its own work.
static bool job_is_due(const struct gp_core *c, const struct job_core *jc, uint32_t i)
{
	return jc->busy || i == c->job_turn || jc->deferred_count > 0 || core_is_async(jc) ||
	       c->engine->cfg.jobs_count <= JOBS_ALWAYS;
}

static void load_note(struct gp_core *c)
{
	uint64_t rx = gp_counter_read(&c->stats.rx_datagrams);
	c->loaded = rx - c->rx_before >= LOADED;
	c->rx_before = rx;
}

uint32_t gp_core_tick(struct gp_core *c, uint64_t now)
{
	c->now = now;
	load_note(c);
	uint32_t work = core_commands(c);
	for (uint32_t i = 0; i < c->engine->cfg.jobs_count; i++) {
		struct job_core *jc = c->jobs[c->engine->jobs_cfg[i].id];
		if (jc && job_is_due(c, jc, i))
			work += job_tick(c, jc);
	}
	if (++c->job_turn >= c->engine->cfg.jobs_count)
		c->job_turn = 0;
	pack_flush(c);
	beat_tick(c);
	work += session_flush_acks(c);
	gp_counter_add(&c->stats.polls, 1);
	if (work > 0)
		gp_counter_add(&c->stats.polls_busy, 1);
	return work;
}

const struct gp_core_stats *gp_core_stats(const struct gp_core *c)
{
	return &c->stats;
}
