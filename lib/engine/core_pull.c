// SPDX-License-Identifier: BSD-3-Clause
//
// Pulls: blocks of one named generation, or the result of a step whose datagram was lost.
#include "engine_priv.h"

bool sections_legal(
	const struct gp_core *c, const struct gp_job *j, const struct gp_msg *m, enum gp_verdict *v)
{
	uint32_t named = 0, local;
	for (uint32_t i = 0; i < m->h.sections; i++) {
		struct gp_section s;
		gp_wire_get_section(m, i, &s);
		named += s.run;
		if (!section_place(c, j, &s, &local, v))
			return false;
	}
	// More than there are: some twice. So the work of a datagram is bounded by the layout.
	if (named > j->cores[c->idx].table.blocks_count) {
		*v = GP_VERDICT_BAD_SECTION;
		return false;
	}
	return true;
}

// Cores have generations that the backup does not hold yet: those are nothing for anybody.
static uint32_t newest_out(const struct gp_core *c, const struct job_core *jc)
{
	if (!jc->job->cfg->replicated)
		return jc->generation;
	const struct job_status *st = &c->engine->status[jc->job->idx];
	uint32_t out = atomic_load_explicit(&st->generation, memory_order_relaxed);
	return gp_before(out, jc->generation) ? out : jc->generation;
}

enum pull_outcome { PULL_SENT, PULL_WAITS, PULL_GONE };

static enum pull_outcome pull_block_async(struct gp_core *c, struct core_session *cs,
	struct job_core *jc, uint32_t local, uint32_t step)
{
	if (gp_before(newest_out(c, jc), step))
		return PULL_WAITS;
	struct gp_version *v = gp_table_find_at(&jc->table.blocks[local], step);
	if (!v || !gp_table_cut_is_live(&jc->table, step))
		return PULL_GONE;
	const struct gp_session *s = gp_rcu_dereference(&c->engine->sessions[session_idx(cs->id)]);
	if (s && s->rank != GP_WIRE_RANK_NONE)
		async_read_note(jc, s->rank, local, v);
	const struct result result = {.cs = cs, .jc = jc, .v = v, .local = local, .step = step};
	send_result(c, &result);
	return PULL_SENT;
}

static enum pull_outcome pull_block(struct gp_core *c, struct core_session *cs, struct job_core *jc,
	uint32_t local, uint32_t step)
{
	if (core_is_async(jc))
		return pull_block_async(c, cs, jc, local, step);
	struct gp_block *b = &jc->table.blocks[local];
	bool tentative = gp_before(jc->committed[b->unit], step);
	struct gp_version *v = gp_table_find(b, step);
	if (v) {
		const struct result result = {.cs = cs,
			.jc = jc,
			.v = v,
			.local = local,
			.step = step,
			.tentative = tentative};
		send_result(c, &result);
		return PULL_SENT;
	}
	return tentative ? PULL_WAITS : PULL_GONE;
}

// The newest whole generation; before there is one, the first that will be.
static uint32_t newest_step(const struct gp_core *c, const struct job_core *jc)
{
	if (core_is_async(jc))
		return newest_out(c, jc);
	bool there = gp_table_find(&jc->table.blocks[0], jc->generation) != NULL;
	return jc->generation + (there ? 0 : 1);
}

static void pull_hold(
	struct core_session *cs, struct job_core *jc, const struct gp_msg *m, uint32_t step)
{
	if (!cs->held_by)
		jc->held_count++;
	cs->held_by = jc;
	cs->held.step = step;
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
	uint32_t step = m->h.step == GP_WIRE_STEP_NEWEST ? newest_step(c, jc) : m->h.step;
	uint32_t left = jc->job->cfg->window;
	bool waits = false;
	if (core_is_async(jc) && c->idx == jc->job->home_core)
		async_pull_note(c, jc, cs->id, step);
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
		pull_hold(cs, jc, m, step);
		return GP_VERDICT_PULL_HELD;
	}
	return GP_VERDICT_PULL;
}

static bool held_is_ready(const struct job_core *jc, const struct held_pull *p)
{
	if (core_is_async(jc))
		return !gp_before(jc->generation, p->step);
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
		if (!session_lives(c, cs))
			continue;
		uint32_t left = jc->job->cfg->window;
		for (uint32_t i = 0; i < cs->held.count; i++) {
			uint32_t local = job_local(jc->job, cs->held.block[i]);
			for (uint32_t r = 0; r < cs->held.run[i] && left > 0; r++, left--)
				(void)pull_block(c, cs, jc, local + r, cs->held.step);
		}
	}
}
