// SPDX-License-Identifier: BSD-3-Clause
//
// Updates of asynchronous jobs, and home's decisions in them.
#include "flight.h"

#include "embed.h"
#include "engine_priv.h"
#include "whole.h"

#include <float.h>

// ---- one block

// What the rank read of the block; NULL before it has, in this life.
static const float *read_copy(const struct job_core *jc, uint32_t rank, uint32_t local)
{
	const struct async_core *a = jc->async;
	size_t at = (size_t)rank * jc->table.blocks_count + local;
	return a->read_copy && a->has_read[at] ? a->read_copy + at * jc->table.elems_max : NULL;
}

void async_read_note(struct job_core *jc, uint32_t rank, uint32_t local, struct gp_version *v)
{
	struct async_core *a = jc->async;
	size_t at = (size_t)rank * jc->table.blocks_count + local;
	if (!a->read_copy)
		return;
	a->has_read[at] = true;
	memcpy(a->read_copy + at * jc->table.elems_max, gp_version_values(v),
		sizeof(float) * v->elems);
}

// The version that the update writes: the block's own when no cut has it, else a new one.
static struct gp_version *version_next(struct job_core *jc, struct gp_version *cur)
{
	uint32_t label = jc->generation + 1;
	if (cur && cur->step == label)
		return cur;
	struct gp_version *v = gp_table_take(&jc->table);
	if (v)
		v->step = label;
	return v;
}

static void optimizer_run(struct gp_core *c, struct job_core *jc, uint32_t local,
	struct gp_version *cur, struct gp_version *v, const struct gp_contrib *of,
	uint32_t staleness)
{
	const struct gp_job_config *cfg = jc->job->cfg;
	uint32_t update = ++jc->async->updates[local];
	if (!jc->plan.kernel || jc->plan.step != update)
		gp_optim_plan_init(&jc->plan, &cfg->optim, update);
	bool state = jc->table.states_count > 0;
	const struct gp_optim_block ob = {
		.grad = c->scratch,
		.w = gp_version_values(cur),
		.w_read = of ? read_copy(jc, of->rank, local) : NULL,
		.state = state ? gp_version_state(&jc->table, cur, 0) : NULL,
		.w_out = gp_version_values(v),
		.state_out = state ? gp_version_state(&jc->table, v, 0) : NULL,
		.elems = jc->table.blocks[local].elems,
		.stride = jc->table.elems_max,
		.step = update,
		.lr_scale = cfg->staleness_lr ? 1.0f / (1.0f + (float)staleness) : 1.0f,
	};
	gp_optim_run(&jc->plan, &ob);
}

// What counts of the contributions gathered; returns the sum of their weights.
static float contribs_mean(
	struct gp_core *c, const struct job_core *jc, uint32_t n, uint32_t elems, float *sum)
{
	if (n == 0) {
		memset(sum, 0, sizeof(float) * elems);
		return 0;
	}
	float weight = GP_MIN(gp_aggr_weights(c->contribs, n), FLT_MAX);
	gp_aggr_sum(sum, c->contribs, n, elems, c->scaled);
	if (jc->job->cfg->mean)
		gp_aggr_scale(sum, elems, weight);
	return weight;
}

bool async_update(struct gp_core *c, struct job_core *jc, uint32_t local, uint32_t n,
	const struct gp_contrib *of, uint32_t staleness)
{
	const struct gp_job *j = jc->job;
	struct gp_block *b = &jc->table.blocks[local];
	struct gp_version *cur = atomic_load_explicit(&b->cur, memory_order_relaxed);
	struct gp_version *v = version_next(jc, cur);
	if (!v)
		return false;
	GP_ASSERT(v != cur || v->hold.count == 0);
	bool trains = job_trains(j);
	float *sum = trains ? c->scratch : gp_version_values(v);
	contribs_clamp(c, jc, n, b->elems, true);
	v->weight = contribs_mean(c, jc, n, b->elems, sum);
	v->view = jc->view;
	v->elems = b->elems;
	if (jc->whole)
		gp_aggr_times(sum, sum, b->elems, jc->whole->factor);
	if (trains)
		optimizer_run(c, jc, local, cur, v, of, staleness);
	v->updates = jc->async->updates[local];
	if (v != cur)
		gp_table_replace(&jc->table, b, v);
	gp_counter_add(&c->stats.blocks_completed, 1);
	return true;
}

// ---- a staged commit, some blocks at a time

// The rank's push of the step, or its oldest late one.
static struct stage *rank_stage(const struct job_core *jc, uint32_t rank, bool late)
{
	const struct async_core *a = jc->async;
	struct stage *found = NULL;
	for (uint32_t i = 0; i < a->stages_per_rank; i++) {
		struct stage *s = &a->stages[rank * a->stages_per_rank + i];
		if (!s->used || s->count < jc->table.blocks_count)
			continue;
		bool before = gp_before(s->step, a->applies.step);
		bool fits = late ? before : s->step == a->applies.step;
		if (fits && (!found || gp_before(s->step, found->step)))
			found = s;
	}
	GP_ASSERT(found); // home commits what every core has told to be whole
	return found;
}

static uint32_t stage_gather(struct gp_core *c, const struct job_core *jc, uint32_t rank,
	const struct stage *s, uint32_t local, uint32_t n)
{
	const struct staged_block *b = &s->blocks[local];
	if (b->weight == 0)
		return n;
	uint32_t late = jc->async->applies.step - s->step;
	bool scaled = jc->job->cfg->stale == GP_STALE_SCALE && late > 0;
	c->contribs[n] = (struct gp_contrib){
		.payload = s->payload + (size_t)jc->async->stage_stride * local,
		.len = b->len,
		.weight = b->weight,
		.scale = scaled ? 1.0f / (1.0f + (float)late) : 1.0f,
		.rank = (uint16_t)rank,
		.codec = b->codec,
	};
	return n + 1;
}

// Contributions of the commit to a block, in rank order, a late one before that of the step.
static uint32_t block_gather(struct gp_core *c, const struct job_core *jc, uint32_t local)
{
	const struct gp_decision *d = &jc->async->applies;
	uint32_t n = 0;
	bool refuses = jc->job->cfg->stale == GP_STALE_REFUSE;
	struct gp_ranks any = d->members;
	gp_ranks_foreach(r, &d->others) gp_ranks_add(&any, r);
	gp_ranks_foreach(r, &any)
	{
		if (!refuses && gp_ranks_has(&d->others, r))
			n = stage_gather(c, jc, r, rank_stage(jc, r, true), local, n);
		if (gp_ranks_has(&d->members, r))
			n = stage_gather(c, jc, r, rank_stage(jc, r, false), local, n);
	}
	return n;
}

double async_squares(struct gp_core *c, struct job_core *jc, uint32_t local)
{
	uint32_t n = block_gather(c, jc, local), elems = jc->table.blocks[local].elems;
	contribs_clamp(c, jc, n, elems, false);
	(void)contribs_mean(c, jc, n, elems, c->scratch);
	return gp_aggr_squares(c->scratch, elems);
}

static bool block_apply(struct gp_core *c, struct job_core *jc, uint32_t local)
{
	const struct gp_decision *d = &jc->async->applies;
	if (jc->embed)
		return embed_apply(jc, d->unit, rank_stage(jc, d->unit, false), local);
	uint32_t n = block_gather(c, jc, local);
	if (n == 0 && job_trains(jc->job))
		return true;
	bool one = jc->job->cfg->consistency != GP_CONSIST_QUORUM;
	return async_update(c, jc, local, n, one ? c->contribs : NULL, d->staleness);
}

static void stage_free(struct job_core *jc, uint32_t rank, struct stage *s)
{
	struct rank_core *rk = &jc->async->ranks[rank];
	if (gp_before(rk->clock, s->step))
		rk->clock = s->step;
	s->used = false;
}

// Refused ones may have made room for the next push already.
static void late_free(struct job_core *jc, uint32_t rank)
{
	struct async_core *a = jc->async;
	if (jc->job->cfg->stale != GP_STALE_REFUSE) {
		stage_free(jc, rank, rank_stage(jc, rank, true));
		return;
	}
	for (uint32_t i = 0; i < a->stages_per_rank; i++) {
		struct stage *s = &a->stages[rank * a->stages_per_rank + i];
		if (s->used && gp_before(s->step, a->applies.step))
			stage_free(jc, rank, s);
	}
}

static void apply_finish(struct job_core *jc)
{
	struct async_core *a = jc->async;
	bool blocks = jc->table.blocks_count > 0; // else nothing was pushed here
	gp_ranks_foreach(r, &a->applies.others) if (blocks) late_free(jc, r);
	gp_ranks_foreach(r, &a->applies.members) if (blocks)
		stage_free(jc, r, rank_stage(jc, r, false));
	if (gp_before(a->closed, a->applies.step))
		a->closed = a->applies.step;
	a->applying = false;
	a->applied_due = true;
	if (jc->whole)
		whole_async_end(jc);
}

uint32_t async_apply_more(struct gp_core *c, struct job_core *jc)
{
	struct async_core *a = jc->async;
	if (!a->applying)
		return 0;
	uint32_t n = 0;
	if (jc->whole && !whole_async_ready(c, jc, &n))
		return n;
	for (; n < APPLY_BLOCKS && a->apply_at < jc->table.blocks_count; n++, a->apply_at++)
		if (!block_apply(c, jc, a->apply_at))
			return n; // a version comes back with the next grace period
	if (a->apply_at == jc->table.blocks_count) {
		apply_finish(jc);
		gp_counter_add(&c->stats.units_committed, 1);
	}
	return n + 1;
}

// ---- decisions

static void apply_commit(struct gp_core *c, struct job_core *jc, const struct gp_decision *d)
{
	struct async_core *a = jc->async;
	if (cfg_is_staged(jc->job->cfg)) {
		GP_ASSERT(!a->applying);
		a->applies = *d;
		a->applying = true;
		a->apply_at = 0;
		(void)async_apply_more(c, jc);
		return;
	}
	struct rank_core *rk = &a->ranks[d->unit];
	GP_ASSERT(d->step == rk->clock + 1);
	rk->clock = d->step;
	gp_counter_add(&c->stats.units_committed, 1);
}

static void rank_reset(struct job_core *jc, uint32_t rank, uint32_t step)
{
	struct async_core *a = jc->async;
	a->ranks[rank] = (struct rank_core){.clock = step - 1, .low_step = step, .told = step - 1};
	memset(&a->here[(size_t)a->here_words * rank], 0, sizeof(uint64_t) * a->here_words);
	for (uint32_t i = 0; i < a->stages_per_rank; i++) {
		struct stage *s = &a->stages[rank * a->stages_per_rank + i];
		if (jc->embed)
			embed_release_all(jc, rank, s);
		s->used = false;
	}
	gp_ranks_del(&a->tell, rank);
	size_t blocks = jc->table.blocks_count;
	if (a->read_copy)
		memset(a->has_read + blocks * rank, 0, blocks * sizeof(a->has_read[0]));
}

// After a takeover: what it had brought is here, and home has not been told.
static void rank_goes_on(struct job_core *jc, uint32_t rank)
{
	struct rank_core *rk = &jc->async->ranks[rank];
	rk->told = rk->clock;
	if (gp_before(rk->told + 1, rk->low_step))
		gp_ranks_add(&jc->async->tell, rank);
}

// What it brought whole stays counted. Of the rest what was staged is gone with it; blocks that
// were applied stay, and known: the same life may go on with that step in another server's stead.
static void rank_leaves(struct job_core *jc, uint32_t rank)
{
	struct rank_core *rk = &jc->async->ranks[rank];
	if (cfg_is_staged(jc->job->cfg)) {
		rank_reset(jc, rank, rk->clock + 1);
		return;
	}
	rk->clock = rk->told = rk->low_step - 1;
	gp_ranks_del(&jc->async->tell, rank);
}

// What those who stay have brought stays too: it meets nobody else's.
static void apply_view(struct job_core *jc, const struct gp_decision *d)
{
	struct async_core *a = jc->async;
	gp_ranks_foreach(r, &jc->members) if (!gp_ranks_has(&d->members, r)) rank_leaves(jc, r);
	gp_ranks_foreach(r, &d->members) if (gp_ranks_has(&d->others, r))
		rank_reset(jc, r, d->step);
	a->fastest = d->step;
	bool any = false;
	gp_ranks_foreach(r, &d->members)
	{
		if (!any || gp_before(a->fastest, a->ranks[r].low_step))
			a->fastest = a->ranks[r].low_step;
		any = true;
	}
	gp_ranks_foreach(r, &d->members) if (!gp_ranks_has(&jc->members, r) &&
					     !gp_ranks_has(&d->others, r)) rank_goes_on(jc, r);
	jc->view = d->view;
	jc->view_first_step = d->step;
	jc->members = d->members;
	jc->members_count = d->ranks;
	jc->lowest = d->lowest;
	jc->admitted = d->admitted;
}

static void apply_cut(struct gp_core *c, struct job_core *jc, const struct gp_decision *d)
{
	GP_ASSERT(d->step == jc->generation + 1);
	if (d->unit != GP_NO_CUT)
		gp_table_cut_end(&jc->table, d->unit);
	gp_table_cut_begin(&jc->table, d->step);
	jc->generation = d->step;
	if (jc->embed)
		embed_cut(jc);
	if (d->backup)
		async_point_keep(jc, d->step, d->staleness);
	if (d->snapshot) {
		bool staged = cfg_is_staged(jc->job->cfg);
		for (uint32_t r = 0; r < jc->job->cfg->workers; r++)
			jc->async->cut_clock[r] =
				staged ? jc->async->ranks[r].clock : jc->async->ranks[r].low_step;
		if (jc->embed)
			embed_pin(jc, d->step);
		jc->cut_ended = false;
		jc->cut_seen_due = true;
		jc->cut_seen_step = d->step;
	}
	flight_mark(c, jc);
	if (jc->held_count > 0)
		pull_answer_held(c, jc);
}

void async_apply_decision(struct gp_core *c, struct job_core *jc, const struct gp_decision *d)
{
	switch (d->kind) {
	case GP_DECIDED_COMMIT:
		apply_commit(c, jc, d);
		return;
	case GP_DECIDED_VIEW:
		apply_view(jc, d);
		return;
	case GP_DECIDED_CUT:
		apply_cut(c, jc, d);
		return;
	default:
		GP_ASSERT(d->kind == GP_DECIDED_STOP);
		jc->stopping = true;
		jc->stop_step = d->step;
	}
}
