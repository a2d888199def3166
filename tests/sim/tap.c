// SPDX-License-Identifier: BSD-3-Clause
//
// The one place that reads inside the engine and the clients: home's decisions for the oracle, and
// invariants that show outside only later, or by luck.
#include "sim.h"

#include <ccore_priv.h>
#include <engine_priv.h>

static struct gp_job *job_of(const struct sim *s)
{
	return gp_rcu_dereference(&s->engine->jobs[SIM_JOB_ID]);
}

// ---- decisions

static void view_tell(struct sim *s, const struct gp_job *j, const struct gp_decision *d)
{
	uint64_t lives[SIM_WORKERS_MAX] = {0};
	gp_ranks_foreach(r, &d->members)
	{
		uint32_t id = j->home->rank_session[r];
		const struct gp_session *x =
			gp_rcu_dereference(&s->engine->sessions[session_idx(id)]);
		if (id != 0 && x && x->id == id)
			lives[r] = x->incarnation;
	}
	s->views_at[d->view % GP_ARRAY_SIZE(s->views_at)] = d->number;
	oracle_view(&s->oracle, d->view, d->step, &d->members, lives);
	if (s->wire.log)
		printf("%12.6f view %u from step %u, %u members\n", (double)s->now * 1e-6, d->view,
			d->step, d->ranks);
}

void tap_decisions(struct sim *s)
{
	const struct gp_job *j = job_of(s);
	if (!j)
		return;
	while (s->decision != j->home->consist.decision) {
		const struct gp_decision *d = gp_consist_log(&j->home->consist, ++s->decision);
		if (!d) {
			sim_broken(s, "decision %u is not in home's log", s->decision);
			return;
		}
		if (d->kind == GP_DECIDED_VIEW)
			view_tell(s, j, d);
		if (d->kind == GP_DECIDED_COMMIT)
			oracle_commit(&s->oracle, d->unit, d->step, d->view, d->ranks);
	}
}

// ---- a core of the server

// A core acts in a view that home decided, at its place among the decisions.
static void view_check(struct sim *s, uint32_t core, const struct job_core *jc)
{
	if (jc->view == 0)
		return;
	uint32_t size = GP_ARRAY_SIZE(s->views_at), view = s->oracle.view;
	bool known = !gp_before(view, jc->view) && view - jc->view < size;
	if (!known || gp_before(jc->decision, s->views_at[jc->view % size]))
		sim_broken(s, "core %u acts in view %u at decision %u, home is in view %u", core,
			jc->view, jc->decision, view);
	else if (jc->view != view && !gp_before(jc->decision, s->views_at[(jc->view + 1) % size]) &&
		 view - jc->view < size - 1)
		sim_broken(s, "core %u has decision %u and still acts in view %u", core,
			jc->decision, jc->view);
}

static bool pull_is_due(const struct job_core *jc, const struct held_pull *p)
{
	for (uint32_t i = 0; i < p->count; i++)
		for (uint32_t r = 0; r < p->run[i]; r++) {
			uint32_t local = job_local(jc->job, p->block[i]) + r;
			if (gp_before(jc->committed[jc->table.blocks[local].unit], p->step))
				return false;
		}
	return true;
}

static void pulls_check(struct sim *s, uint32_t core, const struct job_core *jc)
{
	const struct gp_core *c = &s->engine->cores[core];
	for (uint32_t k = 0; k < s->engine->cfg.sessions_max && jc->held_count > 0; k++) {
		const struct core_session *cs = &c->sessions[k];
		if (cs->held_by == jc && session_lives(c, cs) && pull_is_due(jc, &cs->held))
			sim_broken(s, "core %u: the pull of session %x for step %u was forgotten",
				core, cs->id, cs->held.step);
	}
}

void tap_core(struct sim *s, uint32_t core)
{
	const struct job_core *jc = s->engine->cores[core].jobs[SIM_JOB_ID];
	if (!jc)
		return;
	if (jc->job->home_core == core)
		tap_decisions(s);
	view_check(s, core, jc);
	if (jc->held_count > 0)
		pulls_check(s, core, jc);
}

// ---- a client

// What a worker says it no longer needs, it holds; but for units that were committed before it
// became a member, of which no decision told it.
static void confirmed_check(struct sim *s, const struct sim_node *n)
{
	const struct gp_ccore *c = n->core;
	for (uint32_t i = 0; i < c->layout.blocks_count; i++) {
		const struct cc_block *b = &c->blocks[i];
		const struct cc_unit *u = &c->units[cc_block_unit(c, i)];
		bool open = b->want && b->state != CC_IDLE && b->state != CC_FINAL;
		if (open && u->committed && u->view != 0) {
			sim_broken(s, "worker %u confirms decision %u without block %u of step %u",
				n->idx, c->confirmed, i, c->round_step);
			return;
		}
	}
}

void tap_node(struct sim *s, struct sim_node *n)
{
	const struct gp_ccore *c = n->core;
	for (uint32_t i = 0; i < n->attached; i++)
		if (c->lanes[i].outstanding > s->o->window && !s->oracle.off)
			sim_broken(s, "worker %u: %u datagrams outstanding, the credit is %u",
				n->idx, c->lanes[i].outstanding, s->o->window);
	if (!c->laid_out || c->confirmed == n->confirmed)
		return;
	n->confirmed = c->confirmed;
	if (c->confirmed == c->known)
		confirmed_check(s, n);
}

// ---- the end

void tap_end(struct sim *s)
{
	char why[200];
	if (!gp_engine_at_rest(s->engine, why, sizeof(why)))
		sim_broken(s, "not at rest: %s", why);
	const struct gp_job *j = job_of(s);
	for (uint32_t k = 0; j && k < s->o->cores; k++) {
		const struct job_core *jc = &j->cores[k];
		for (uint32_t i = 0; i < jc->table.blocks_count; i++) {
			struct gp_version *v = gp_block_visible(
				&jc->table.blocks[i], jc->committed[jc->table.blocks[i].unit]);
			if (v && v->hold.count != 0)
				sim_broken(s, "core %u: block %u is still referred to %u times", k,
					i, v->hold.count);
		}
	}
	if (wire_frames_missing(&s->wire) != 0)
		sim_broken(s, "%u frames did not come back", wire_frames_missing(&s->wire));
}

static void blocks_print(const struct gp_ccore *c, FILE *f)
{
	for (uint32_t i = 0; i < c->layout.blocks_count && c->laid_out; i++) {
		const struct cc_block *b = &c->blocks[i];
		const struct cc_unit *u = &c->units[cc_block_unit(c, i)];
		if (b->state != CC_IDLE && b->state != CC_FINAL)
			fprintf(f, "  block %u: state %u, %s, unit %s in view %u\n", i, b->state,
				b->want ? "wanted" : "not wanted",
				u->committed ? "committed" : "open", u->view);
	}
	fprintf(f, "  mode %u, knows decision %u, seen %u, confirmed %u, view %u from step %u\n",
		c->mode, c->known, c->seen, c->confirmed, c->view, c->view_step);
}

void tap_stuck(const struct sim *s, FILE *f)
{
	char text[160];
	for (uint32_t i = 0; i < s->nodes_count; i++) {
		const struct sim_node *n = &s->nodes[i];
		if (!n->core)
			continue;
		gp_ccore_waiting(n->core, text, sizeof(text));
		fprintf(f, "%s %u: phase %u, step %u, waits for %s\n",
			n->reader ? "reader" : "worker", n->idx, n->phase, gp_ccore_step(n->core),
			text);
		blocks_print(n->core, f);
	}
	for (uint32_t k = 0; k < s->o->cores; k++)
		for (uint32_t v = 0; v < GP_VERDICT_COUNT; v++) {
			const struct gp_core_stats *st =
				gp_core_stats(gp_engine_core(s->engine, k));
			uint64_t count = gp_counter_read(&st->verdicts[v]);
			if (count > 0)
				fprintf(f, "core %u: %s %llu\n", k, gp_verdict_name(v),
					(unsigned long long)count);
		}
}
