// SPDX-License-Identifier: BSD-3-Clause
//
// The release gate of asynchronous jobs (gp_backup.h). Contributions change blocks in place, so
// what the backup is brought to are cuts: home makes one, every core keeps it, the replicating
// thread ships what it changed, with what each rank had committed and brought by then; when the
// backup holds that, everything decided before the cut is out. Then the next one is made. Two of
// them live: the one that is out, which a new backup is brought up from, and the next.
#include "backup.h"
#include "embed.h"

#include "engine_priv.h"

// ---- cores

void async_point_keep(struct job_core *jc, uint32_t generation, uint32_t gate)
{
	struct async_core *a = jc->async;
	struct core_point *p = &a->points[++a->point_turn & 1];
	const struct gp_job_config *cfg = jc->job->cfg;
	a->point_seen_due = true;
	a->point_seen = generation;
	if (jc->embed)
		embed_point_keep(jc, generation, gate);
	if (!p->ranks)
		return;
	atomic_store_explicit(&p->generation, generation, memory_order_relaxed);
	memcpy(p->ranks, a->ranks, sizeof(p->ranks[0]) * cfg->workers);
	memcpy(p->here, a->here, sizeof(p->here[0]) * a->here_words * cfg->workers);
}

// ---- home: where the gate is

static struct async_point *point_last(struct async_gate *g)
{
	return &g->points[g->turn & 1];
}

static void point_fill(struct async_point *p, const struct gp_consist *x)
{
	atomic_store_explicit(&p->generation, x->generation, memory_order_relaxed);
	p->decision = x->decision;
	p->view = x->view;
	p->closed = x->async.closed;
	p->updates = x->async.updates;
	memcpy(p->clock, x->async.clock, sizeof(p->clock));
}

// Its cuts are as any other's from now on.
static void points_forget(struct async_home *a)
{
	for (uint32_t i = 0; i < a->cuts_count; i++)
		a->cuts[i].backup = false;
	a->gate.based = a->gate.out = a->gate.told = a->gate.wanted = false;
}

// What was decided until the job became asynchronous is out.
static bool began_out(const struct home *h)
{
	return gp_consist_is_async(&h->consist) &&
	       !gp_before(home_open(h), h->consist.async.started_at);
}

void async_gate_turn(struct gp_core *c, struct job_core *jc, bool closed, bool was_closed)
{
	struct home *h = jc->job->home;
	struct async_gate *g = &h->async->gate;
	bool kept = was_closed && g->on; // what waits goes on waiting
	(void)c;
	points_forget(h->async);
	g->on = closed && began_out(h);
	g->begins = true;
	if (g->on && !kept)
		point_fill(&g->shown, &h->consist);
}

// It was closed before the job became asynchronous: the first cut follows the initial parameters.
static void gate_enter(struct gp_core *c, struct job_core *jc)
{
	struct home *h = jc->job->home;
	struct async_gate *g = &h->async->gate;
	bool told = h->delivered[reader_backup(c)] == h->consist.async.started_at;
	if (!began_out(h) || h->gate.base_due || !told)
		return;
	g->on = true;
	g->begins = false;
	point_fill(&g->shown, &h->consist);
	atomic_store_explicit(&g->shown.generation, jc->generation, memory_order_relaxed);
}

uint32_t async_gate_release(const struct home *h, uint32_t decision)
{
	const struct async_gate *g = &h->async->gate;
	const struct async_point *p = &g->points[g->turn & 1];
	return g->based && !gp_before(decision, p->decision) ? p->decision : h->gate.released;
}

// ---- home: cuts

// The cut that ends with the next one, or GP_NO_CUT. False: there is no room, and all are in use.
static bool cut_ending(struct async_home *a, uint32_t cuts_max, uint32_t *ends)
{
	uint32_t last =
		a->gate.based ? point_generation(&point_last(&a->gate)->generation) : GP_NO_CUT;
	uint32_t end = a->cuts_count;
	for (uint32_t i = a->cuts_count; i-- > 0;) {
		struct live_cut *cut = &a->cuts[i];
		bool former = cut->backup && cut->generation != last;
		cut->backup &= !former;
		if (cut->backup || cut->pin != PIN_NONE)
			continue;
		if ((former && !cut->granted) || a->cuts_count >= cuts_max)
			end = i;
	}
	*ends = GP_NO_CUT;
	if (end == a->cuts_count)
		return a->cuts_count < cuts_max;
	*ends = a->cuts[end].generation;
	async_cut_remove(a, end);
	return true;
}

static void point_make(struct gp_core *c, struct job_core *jc)
{
	struct home *h = jc->job->home;
	struct async_home *a = h->async;
	struct async_gate *g = &a->gate;
	uint32_t ends;
	if (!home_cores_have_room(c, h) || !cut_ending(a, jc->job->cfg->cuts_max, &ends))
		return;
	uint32_t generation = gp_async_backup_cut(&h->consist, ends, h->gate.serial);
	async_cut_note(c, jc, generation, PIN_NONE);
	a->cuts[a->cuts_count - 1].backup = true;
	g->turn++;
	point_fill(point_last(g), &h->consist);
	g->cut = *gp_consist_log(&h->consist, h->consist.decision);
	g->based = true;
	g->out = g->told = g->wanted = false;
	g->seen = 0;
	if (jc->embed)
		gp_async_limit(&h->consist, EMBED_COST);
}

void async_point_seen(struct job_core *jc, const struct cmd *cmd)
{
	struct async_gate *g = &jc->job->home->async->gate;
	if (cmd->unit == POINT_WANTED) {
		g->wanted = true;
		return;
	}
	g->seen += g->based && cmd->step == point_generation(&point_last(g)->generation);
}

static bool point_tell(struct gp_core *c, struct job_core *jc)
{
	struct home *h = jc->job->home;
	struct async_gate *g = &h->async->gate;
	if (!g->begins)
		return home_backup_tell(c, jc, &g->cut);
	h->gate.base_decision = g->cut.number;
	h->gate.base_generation = g->cut.step;
	h->gate.base_steps[0] = g->cut.step;
	g->begins = !home_base_tell(c, jc);
	return !g->begins;
}

// Commits may wait for its place, and it for commits.
static void starts_unpin(struct async_home *a)
{
	for (uint32_t i = 0; i < a->cuts_count; i++)
		if (a->cuts[i].pin == PIN_START)
			a->cuts[i].pin = PIN_NONE;
}

void async_gate_tick(struct gp_core *c, struct job_core *jc)
{
	struct home *h = jc->job->home;
	struct async_gate *g = &h->async->gate;
	if (h->gate.serial != 0 && !g->on)
		gate_enter(c, jc);
	if (!g->on)
		return;
	starts_unpin(h->async);
	const struct async_point *p = point_last(g);
	h->delivered[reader_backup(c)] = home_open(h);
	if (g->based && !g->out && !gp_before(home_open(h), p->decision)) {
		g->out = true;
		g->shown = *p;
		async_generation_publish(c, jc);
	}
	bool news = g->wanted || (g->based && gp_before(p->decision, h->consist.decision));
	if (!g->based || (g->out && news))
		point_make(c, jc);
	if (g->based && !g->told && g->seen == c->engine->cfg.cores_count)
		g->told = point_tell(c, jc);
}

// ---- the replicating thread

static const struct gp_job *job_of(const struct gp_engine *e, uint32_t job_idx)
{
	GP_ASSERT(job_idx < e->cfg.jobs_count);
	return gp_rcu_dereference(&e->jobs[e->jobs_cfg[job_idx].id]);
}

static const struct async_point *point_of(const struct gp_job *j, uint32_t generation)
{
	const struct async_gate *g = &j->home->async->gate;
	for (uint32_t i = 0; i < 2; i++)
		if (point_generation(&g->points[i].generation) == generation)
			return &g->points[i];
	return NULL;
}

bool gp_backup_ranks(const struct gp_engine *e, uint32_t job_idx, uint32_t generation,
	struct gp_backup_ranks *out)
{
	const struct gp_job *j = job_of(e, job_idx);
	const struct async_point *p = j && cfg_is_async(j->cfg) ? point_of(j, generation) : NULL;
	if (!p)
		return false;
	*out = (struct gp_backup_ranks){.count = j->cfg->workers,
		.closed = p->closed,
		.updates = p->updates,
		.clock = p->clock,
		.applied = !cfg_is_staged(j->cfg)};
	return true;
}

static const struct core_point *core_point_of(const struct job_core *jc, uint32_t generation)
{
	const struct core_point *points = jc->async->points;
	return point_generation(&points[0].generation) == generation ? &points[0] : &points[1];
}

// Whether the core had the rank's contribution of `step` to its block at `local`.
static bool was_here(const struct job_core *jc, uint32_t generation, uint32_t rank, uint32_t step,
	uint32_t local)
{
	const struct async_core *a = jc->async;
	const struct core_point *p = core_point_of(jc, generation);
	const struct rank_core *rk = &p->ranks[rank];
	GP_ASSERT(point_generation(&p->generation) == generation);
	if (gp_before(step, rk->low_step))
		return true;
	if (step == rk->low_step && local < rk->low_local)
		return true;
	uint32_t bit = (uint32_t)((uint64_t)step * jc->table.blocks_count + local) & a->here_mask;
	return p->here[(size_t)a->here_words * rank + bit / 64] >> (bit % 64) & 1;
}

uint64_t gp_backup_applied(const struct gp_engine *e, uint32_t job_idx, uint32_t generation,
	uint32_t rank, uint32_t first)
{
	const struct gp_job *j = job_of(e, job_idx);
	const struct async_point *p = point_of(j, generation);
	uint64_t bits = 0;
	GP_ASSERT(p && rank < j->cfg->workers && !cfg_is_staged(j->cfg));
	for (uint32_t i = 0; i < 64 && first + i < j->blocks_count; i++) {
		const struct job_core *jc = &j->cores[job_owner(j, first + i)];
		uint32_t local = job_local(j, first + i);
		if (was_here(jc, generation, rank, p->clock[rank] + 1, local))
			bits |= UINT64_C(1) << i;
	}
	return bits;
}

// ---- going on from it

static void block_resume(struct job_core *jc, uint32_t local, const struct gp_restore *r)
{
	const struct gp_block *b = &jc->table.blocks[local];
	const struct gp_job *j = jc->job;
	const struct gp_restore_tensor *x = &r->tensors[j->tensors[b->tensor].restored];
	struct gp_version *v = atomic_load_explicit(&b->cur, memory_order_relaxed);
	bool ahead = x->ahead && x->ahead[b->idx];
	const uint32_t *updates = ahead ? x->ahead_updates : x->updates;
	jc->async->updates[local] = updates ? updates[b->idx] : 0;
	if (v)
		v->updates = jc->async->updates[local];
}

static void rank_resume(struct job_core *jc, uint32_t rank, const struct gp_restore_async *x)
{
	const uint64_t *bits = x->applied + (size_t)x->applied_words * rank;
	const struct gp_job *j = jc->job;
	uint32_t core = (uint32_t)(jc - j->cores);
	for (uint32_t local = 0; local < jc->table.blocks_count; local++) {
		uint32_t block = local * j->by_cores.d + core;
		if (bits[block / 64] >> (block % 64) & 1)
			async_place_take(jc, rank, x->clock[rank] + 1, local);
	}
	gp_ranks_del(&jc->async->tell, rank); // home is told when the rank is a member
}

void async_resume(struct gp_job *j, const struct gp_restore *r)
{
	const struct gp_restore_async *x = r->async;
	gp_async_resume(&j->home->consist, x->updates);
	for (uint32_t i = 0; i < j->by_cores.d; i++) {
		struct job_core *jc = &j->cores[i];
		for (uint32_t b = 0; b < jc->table.blocks_count && !jc->embed; b++)
			block_resume(jc, b, r);
		for (uint32_t k = 0; x->applied && k < j->cfg->workers; k++)
			rank_resume(jc, k, x);
	}
}
