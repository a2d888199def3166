// SPDX-License-Identifier: BSD-3-Clause
//
// What a core acknowledges as accepted it has: the contribution is in its slot (or was summed, or
// staged, or applied), it was sent in the view that the core acts in, and by a life of the worker
// that is in that view.
#include "accepted.h"

#include <engine_priv.h>

static bool is_acknowledged(const struct core_session *cs, uint64_t packet)
{
	if (packet == cs->largest)
		return cs->largest_ok;
	return packet < cs->largest && cs->largest - packet <= 64 &&
	       (cs->bits >> (cs->largest - packet - 1) & 1);
}

static const struct core_session *session_of(const struct gp_core *c, uint32_t id)
{
	uint32_t idx = session_idx(id);
	if (idx >= c->engine->cfg.sessions_max || c->sessions[idx].id != id)
		return NULL;
	return &c->sessions[idx];
}

void accepted_before(struct accepted *a, const struct sim *s, uint32_t core,
	struct gp_frame *const *frames, uint32_t n)
{
	const struct gp_core *c = &s->engine->cores[core];
	a->count = 0;
	for (uint32_t i = 0; i < n; i++) {
		struct gp_msg m;
		if (frames[i]->len < GP_WIRE_HEADER_SIZE || frames[i]->data[1] != GP_WIRE_PUSH ||
			gp_wire_parse(frames[i]->data, frames[i]->len, &m) != GP_VERDICT_OK)
			continue;
		const struct core_session *cs = session_of(c, m.h.session);
		const struct gp_session *x =
			gp_rcu_dereference(&c->engine->sessions[session_idx(m.h.session)]);
		if (!cs || !x || x->id != cs->id || is_acknowledged(cs, m.h.packet))
			continue;
		struct accepted_push *p = &a->pushes[a->count++];
		*p = (struct accepted_push){.h = m.h, .serial = x->serial};
		for (uint32_t k = 0; k < m.h.sections; k++) {
			struct gp_section sec;
			gp_wire_get_section(&m, k, &sec);
			p->block[k] = sec.block;
			p->run[k] = sec.run;
		}
	}
}

static bool in_slot(const struct job_core *jc, uint32_t local, const struct gp_header *h)
{
	if (!gp_before(jc->table.blocks[local].done_step, h->step))
		return true;
	uint64_t place = (uint64_t)h->step * jc->table.blocks_count + local;
	const struct slot *slot = &jc->slots[(uint32_t)place & jc->slot_mask];
	return slot->open && slot->step == h->step && slot->local == local &&
	       gp_ranks_has(&slot->ranks, h->rank);
}

// What came too late is acknowledged too, and dropped.
static bool in_stage(const struct job_core *jc, uint32_t local, const struct gp_header *h)
{
	const struct async_core *a = jc->async;
	const struct gp_job_config *cfg = jc->job->cfg;
	bool done = !gp_before(a->ranks[h->rank].clock, h->step);
	if (done || (cfg->stale == GP_STALE_REFUSE && !gp_before(a->closed, h->step)))
		return true;
	for (uint32_t i = 0; i < a->stages_per_rank; i++) {
		const struct stage *s = &a->stages[h->rank * a->stages_per_rank + i];
		if (s->used && s->step == h->step && s->blocks[local].here)
			return true;
	}
	return false;
}

static bool is_there(const struct job_core *jc, uint32_t local, const struct gp_header *h)
{
	if (!core_is_async(jc))
		return in_slot(jc, local, h);
	if (cfg_is_staged(jc->job->cfg))
		return in_stage(jc, local, h);
	return tap_is_marked(jc, h->rank, local, h->step);
}

static void push_check(
	struct sim *s, uint32_t core, const struct job_core *jc, const struct accepted_push *p)
{
	if (!core_is_async(jc) && p->h.view != jc->view)
		sim_broken(s, "core %u in view %u accepts what rank %u sent in view %u", core,
			jc->view, p->h.rank, p->h.view);
	if (!gp_ranks_has(&jc->members, p->h.rank) || gp_before(jc->admitted, p->serial))
		sim_broken(s, "core %u accepts from rank %u of a life that is not in view %u", core,
			p->h.rank, jc->view);
	for (uint32_t k = 0; k < p->h.sections; k++)
		for (uint32_t r = 0; r < p->run[k]; r++)
			if (!is_there(jc, job_local(jc->job, p->block[k]) + r, &p->h))
				sim_broken(s,
					"core %u accepts block %u of step %u from rank %u and has "
					"it "
					"not",
					core, p->block[k] + r * s->o->cores, p->h.step, p->h.rank);
}

void accepted_after(const struct accepted *a, struct sim *s, uint32_t core)
{
	const struct gp_core *c = &s->engine->cores[core];
	const struct job_core *jc = c->jobs[SIM_JOB_ID];
	for (uint32_t i = 0; i < a->count && jc && !s->oracle.off; i++) {
		const struct core_session *cs = session_of(c, a->pushes[i].h.session);
		if (cs && is_acknowledged(cs, a->pushes[i].h.packet))
			push_check(s, core, jc, &a->pushes[i]);
	}
}
