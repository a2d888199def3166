// SPDX-License-Identifier: BSD-3-Clause
//
// Pulls: blocks of one named generation, or the result of a step whose datagram was lost.
#include "engine_priv.h"

bool sections_legal(
	const struct gp_core *c, const struct gp_job *j, const struct gp_msg *m, enum gp_verdict *v)
{
	for (uint32_t i = 0; i < m->h.sections; i++) {
		struct gp_section s;
		gp_wire_get_section(m, i, &s);
		uint64_t last = s.block + (uint64_t)(s.run - 1u) * j->by_cores.d;
		if (last >= j->blocks_count) {
			*v = GP_VERDICT_UNKNOWN_BLOCK;
			return false;
		}
		if (job_owner(j, s.block) != c->idx) {
			*v = GP_VERDICT_WRONG_CORE;
			return false;
		}
	}
	return true;
}

enum pull_outcome { PULL_SENT, PULL_WAITS, PULL_GONE };

static enum pull_outcome pull_block(struct gp_core *c, struct core_session *cs, struct job_core *jc,
	uint32_t local, uint32_t step)
{
	struct gp_block *b = &jc->table.blocks[local];
	uint32_t committed = jc->committed[b->unit];
	struct gp_version *v = gp_block_visible(b, committed);
	if (v && v->step == step) {
		send_result(c, cs, jc, local, v, false);
		return PULL_SENT;
	}
	struct gp_version *shadow = atomic_load_explicit(&b->shadow, memory_order_relaxed);
	if (shadow && shadow->step == step) {
		send_result(c, cs, jc, local, shadow, true);
		return PULL_SENT;
	}
	return gp_before(committed, step) || !v ? PULL_WAITS : PULL_GONE;
}

static void pull_hold(struct core_session *cs, struct job_core *jc, const struct gp_msg *m)
{
	if (!cs->held_by)
		jc->held_count++;
	cs->held_by = jc;
	cs->held.step = m->h.step;
	cs->held.count = m->h.sections;
	for (uint32_t i = 0; i < m->h.sections; i++) {
		struct gp_section s;
		gp_wire_get_section(m, i, &s);
		cs->held.block[i] = s.block;
		cs->held.run[i] = s.run;
	}
}

static void pull_gone(struct gp_core *c, struct core_session *cs, const struct job_core *jc,
	const struct gp_header *h, uint32_t block)
{
	const struct gp_refuse r = {.reason = GP_REFUSAL_GONE,
		.about = GP_WIRE_PULL,
		.step = h->step,
		.what = block,
		.expected = jc->generation,
		.seen = h->step};
	send_refuse(c, &cs->addr, h, &r, cs->payload_max);
}

enum gp_verdict handle_pull(
	struct gp_core *c, struct core_session *cs, struct job_core *jc, const struct gp_msg *m)
{
	session_ack_due(c, cs);
	if (!jc)
		return GP_VERDICT_NOT_READY;
	enum gp_verdict v;
	if (!sections_legal(c, jc->job, m, &v))
		return v;
	uint32_t step = m->h.step == GP_WIRE_STEP_NEWEST ? jc->generation : m->h.step;
	uint32_t left = jc->job->cfg->window;
	bool waits = false;
	for (uint32_t i = 0; i < m->h.sections && left > 0; i++) {
		struct gp_section s;
		gp_wire_get_section(m, i, &s);
		uint32_t local = job_local(jc->job, s.block);
		for (uint32_t r = 0; r < s.run && left > 0; r++, left--) {
			enum pull_outcome o = pull_block(c, cs, jc, local + r, step);
			if (o == PULL_GONE) {
				pull_gone(c, cs, jc, &m->h, s.block);
				return GP_VERDICT_GONE;
			}
			waits |= o == PULL_WAITS;
		}
	}
	if (waits && (m->h.flags & GP_WIRE_F_WANT)) {
		pull_hold(cs, jc, m);
		return GP_VERDICT_PULL_HELD;
	}
	return GP_VERDICT_PULL;
}

static bool held_is_ready(const struct job_core *jc, const struct held_pull *p)
{
	for (uint32_t i = 0; i < p->count; i++) {
		uint32_t local = job_local(jc->job, p->block[i]);
		for (uint32_t r = 0; r < p->run[i]; r++)
			if (gp_before(jc->committed[jc->table.blocks[local + r].unit], p->step))
				return false;
	}
	return true;
}

void pull_answer_held(struct gp_core *c, struct job_core *jc)
{
	for (uint32_t k = 0; k < c->engine->cfg.sessions_max && jc->held_count > 0; k++) {
		struct core_session *cs = &c->sessions[k];
		if (cs->held_by != jc || !held_is_ready(jc, &cs->held))
			continue;
		cs->held_by = NULL;
		jc->held_count--;
		uint32_t left = jc->job->cfg->window;
		for (uint32_t i = 0; i < cs->held.count; i++) {
			uint32_t local = job_local(jc->job, cs->held.block[i]);
			for (uint32_t r = 0; r < cs->held.run[i] && left > 0; r++, left--)
				(void)pull_block(c, cs, jc, local + r, cs->held.step);
		}
	}
}
