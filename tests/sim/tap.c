// SPDX-License-Identifier: BSD-3-Clause
//
// The one place that reads inside the engine and the clients: home's decisions for the oracle, and
// invariants that show outside only later, or by luck.
#include "accepted.h"
#include "rows.h"

#include <ccore_priv.h>
#include <engine_priv.h>
#include <gp_watch.h>

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
	if (s->oracle.ledger.on) {
		s->oracle.view = d->view;
		s->oracle.views++;
		ledger_view(&s->oracle.ledger, d, lives);
		return;
	}
	ledger_first_view(&s->oracle.ledger, d, lives);
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
		if (d->kind == GP_DECIDED_CUT && s->oracle.ledger.on)
			ledger_cut(&s->oracle.ledger, d);
		if (d->kind == GP_DECIDED_COMMIT && s->oracle.ledger.on)
			ledger_commit(&s->oracle.ledger, d);
		else if (d->kind == GP_DECIDED_COMMIT)
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
	if (core_is_async(jc))
		return !gp_before(jc->generation, p->step);
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

// ---- asynchronous jobs

bool tap_is_marked(const struct job_core *jc, uint32_t rank, uint32_t local, uint32_t step)
{
	const struct async_core *a = jc->async;
	const struct rank_core *rk = &a->ranks[rank];
	if (gp_before(step, rk->low_step))
		return true;
	uint64_t place = (uint64_t)step * jc->table.blocks_count + local;
	uint64_t low = (uint64_t)rk->low_step * jc->table.blocks_count + rk->low_local;
	if (place < low)
		return true;
	if (place - low > jc->slot_mask)
		return false;
	uint32_t bit = (uint32_t)place & jc->async->here_mask;
	return a->here[(size_t)a->here_words * rank + bit / 64] >> (bit % 64) & 1;
}

static bool is_direct(const struct sim *s, const struct job_core *jc)
{
	return jc && core_is_async(jc) && s->o->atomicity == GP_ATOM_BLOCK;
}

static void core_begin(struct sim *s, uint32_t core, const struct job_core *jc)
{
	s->begun[core] = true;
	s->reached[core] = s->oracle.ledger.first; // cuts may have come in the very same turn
	for (uint32_t r = 0; r < s->o->workers; r++) {
		s->low[core][r] = jc->async->ranks[r].low_step;
		for (uint32_t i = 0; i < jc->table.blocks_count; i++)
			ledger_skip(&s->oracle.ledger, r, i * s->o->cores + core, s->low[core][r]);
	}
}

// What the datagrams of this turn have made the core take.
void tap_core_rx(struct sim *s, uint32_t core)
{
	const struct job_core *jc = s->engine->cores[core].jobs[SIM_JOB_ID];
	if (!is_direct(s, jc) || !s->begun[core])
		return;
	struct ledger *l = &s->oracle.ledger;
	for (uint32_t r = 0; r < s->o->workers; r++) {
		for (uint32_t i = 0; i < jc->table.blocks_count; i++) {
			uint32_t block = i * s->o->cores + core;
			while (tap_is_marked(jc, r, i, ledger_last(l, r, block) + 1))
				ledger_marked(l, r, block, ledger_last(l, r, block) + 1);
		}
		s->low[core][r] = jc->async->ranks[r].low_step;
	}
}

// Decisions came in the rest of the turn: views that move ranks on, then cuts.
static void core_decisions(struct sim *s, uint32_t core, const struct job_core *jc)
{
	struct ledger *l = &s->oracle.ledger;
	if (!s->begun[core])
		core_begin(s, core, jc);
	for (uint32_t r = 0; r < s->o->workers; r++) {
		uint32_t low = jc->async->ranks[r].low_step;
		if (low == s->low[core][r] && jc->view == s->oracle.view)
			continue;
		for (uint32_t i = 0; i < jc->table.blocks_count; i++)
			if (jc->async->ranks[r].low_local == 0 &&
				gp_before(ledger_last(l, r, i * s->o->cores + core), low - 1))
				ledger_skip(l, r, i * s->o->cores + core, low);
		s->low[core][r] = low;
	}
	for (; s->reached[core] != jc->generation; s->reached[core]++)
		for (uint32_t i = 0; i < jc->table.blocks_count; i++)
			ledger_reached(l, i * s->o->cores + core, s->reached[core] + 1);
}

// No read that its bound allows stays parked.
static void parked_check(struct sim *s, const struct gp_core *c, const struct job_core *jc)
{
	const struct async_home *a = jc->job->home->async;
	const struct gp_consist *x = &jc->job->home->consist;
	uint32_t slowest, min = gp_async_clock_min(x, &slowest);
	for (uint32_t k = 0; k < s->engine->cfg.sessions_max && a->parked > 0; k++) {
		const struct read_wait *w = &a->reads[k];
		const struct gp_session *id = gp_rcu_dereference(&s->engine->sessions[k]);
		if (!w->parked || w->reserve || !id || id->id != w->session ||
			!c->sessions[k].bound || id->rank == GP_WIRE_RANK_NONE)
			continue;
		bool bounded = async_bound(jc) != GP_WIRE_BOUND_NONE;
		bool allowed = !bounded || !gp_before(min, w->clock - async_bound(jc) - 1);
		bool results = s->o->train || s->o->embed || x->async.updates > 0;
		if (allowed && results && gp_ranks_count(&x->live) >= s->o->workers_min &&
			s->now - s->parked_since > 100 * MS)
			sim_broken(s, "the read of rank %u for step %u was forgotten", id->rank,
				w->clock);
		if (!allowed)
			s->parked_since = s->now;
	}
	if (a->parked == 0)
		s->parked_since = s->now;
}

bool tap_generation(const struct sim_node *n, uint32_t *generation)
{
	*generation = n->core->round_step;
	return n->core->mode == CC_PULL;
}

void tap_core(struct sim *s, uint32_t core)
{
	const struct job_core *jc = s->engine->cores[core].jobs[SIM_JOB_ID];
	if (!jc)
		return;
	tap_decisions(s);
	if (is_direct(s, jc))
		core_decisions(s, core, jc);
	if (jc->job->home_core == core && core_is_async(jc))
		parked_check(s, &s->engine->cores[core], jc);
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
	if (s->oracle.ledger.on)
		return;
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
			if (v && core_is_async(jc) && !s->oracle.off)
				ledger_final(&s->oracle.ledger, gp_version_values(v),
					i * s->o->cores + k);
			if (v && v->hold.count != 0)
				sim_broken(s, "core %u: block %u is still referred to %u times", k,
					i, v->hold.count);
		}
	}
	if (j && s->o->embed && !s->oracle.off)
		rows_final(s, j);
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
