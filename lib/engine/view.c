// SPDX-License-Identifier: BSD-3-Clause
//
// What control, metrics and tests see of jobs, ranks and blocks.
#include <gp_watch.h>

#include "embed.h"
#include "registrar_priv.h"

#include <errno.h>
#include <gp_watch.h>
#include <stdio.h>
#define XXH_STATIC_LINKING_ONLY // a hash state of known size
#include <xxhash.h>

static const struct gp_job *job_at(const struct gp_engine *e, uint32_t i)
{
	GP_ASSERT(i < e->cfg.jobs_count);
	return gp_rcu_dereference(&e->jobs[e->jobs_cfg[i].id]);
}

// Home keeps the last view when too few are left for another one: to who looks, the job waits.
static uint32_t state_of(const struct gp_job_view *v, uint32_t state, uint32_t workers_min)
{
	return state == GP_STATE_RUNNING && v->joined < workers_min ? GP_STATE_WAITING : state;
}

void gp_engine_job_view(const struct gp_engine *e, uint32_t i, struct gp_job_view *v)
{
	const struct gp_job *j = job_at(e, i);
	const struct gp_job_config *cfg = &e->jobs_cfg[i];
	const struct reg_job *rj = &e->registrar->jobs[i];
	const struct job_status *st = &e->status[i];
	*v = (struct gp_job_view){
		.name = cfg->name,
		.id = cfg->id,
		.kind = cfg->kind,
		.atomicity = cfg->atomicity,
		.ready = j != NULL,
		.initialised = atomic_load_explicit(&st->initialised, memory_order_relaxed),
		.workers = cfg->workers,
		.joined = rj->joined,
		.readers = rj->readers_count,
		.view = atomic_load_explicit(&st->view, memory_order_relaxed),
		.members = atomic_load_explicit(&st->members, memory_order_relaxed),
		.generation = atomic_load_explicit(&st->generation, memory_order_relaxed),
		.decision = atomic_load_explicit(&st->decision, memory_order_relaxed),
		.cut_active = atomic_load_explicit(&st->cut_active, memory_order_relaxed),
		.consistency = cfg->consistency,
		.lag_max = cfg->lag_max,
		.backed = atomic_load_explicit(&st->backed, memory_order_relaxed),
		.bound = atomic_load_explicit(&st->bound, memory_order_relaxed),
		.clock_min = atomic_load_explicit(&st->clock_min, memory_order_relaxed),
		.clock_max = atomic_load_explicit(&st->clock_max, memory_order_relaxed),
		.memory_used = rj->mem_used,
		.memory_max = cfg->memory_max,
		.tables_count = cfg->tables_count,
		.gated = atomic_load_explicit(&st->gated, memory_order_relaxed),
	};
	uint32_t state = atomic_load_explicit(&st->state, memory_order_relaxed);
	v->state = state_of(v, state, cfg->workers_min);
	if (!j)
		return;
	v->block_elems = j->block_elems;
	v->blocks_count = j->blocks_count;
	v->units_count = j->units_count;
	v->tensors_count = j->tensors_count;
	for (uint32_t k = 0; k < e->cfg.cores_count; k++) {
		const struct gp_table *t = &j->cores[k].table;
		v->kept += atomic_load_explicit(&t->kept_count, memory_order_relaxed);
		v->shortages += atomic_load_explicit(&t->shortages, memory_order_relaxed) +
				embed_shortages(&j->cores[k]);
	}
}

uint32_t gp_engine_grace_waits(const struct gp_engine *e)
{
	uint32_t waits = 0;
	for (uint32_t i = 0; i < e->cfg.jobs_count; i++) {
		const struct gp_job *j = job_at(e, i);
		for (uint32_t k = 0; j && k < e->cfg.cores_count; k++)
			waits += atomic_load_explicit(
				&j->cores[k].table.waits, memory_order_relaxed);
	}
	return waits;
}

bool gp_engine_tensor_view(
	const struct gp_engine *e, uint32_t job_idx, uint32_t t, struct gp_tensor_view *v)
{
	const struct gp_job *j = job_at(e, job_idx);
	if (!j || t >= j->tensors_count)
		return false;
	const struct job_tensor *x = &j->tensors[t];
	*v = (struct gp_tensor_view){
		.name = x->name,
		.dims_count = x->dims_count,
		.dims = x->dims,
		.elems = x->elems,
		.first_block = x->first_block,
		.blocks_count = x->blocks_count,
	};
	return true;
}

bool gp_engine_rank_view(
	const struct gp_engine *e, uint32_t job_idx, uint32_t rank, struct gp_rank_view *v)
{
	const struct reg_job *rj = &e->registrar->jobs[job_idx];
	if (rank >= rj->cfg->workers)
		return false;
	const struct reg_rank *x = &rj->ranks[rank];
	*v = (struct gp_rank_view){
		.rank = rank,
		.joined = x->session != 0,
		.incarnation = x->incarnation,
		.registered = x->registered,
	};
	if (x->session != 0) {
		v->addr = e->registrar->sessions[session_idx(x->session)].s.addr;
		v->last_rx = reg_session_last_rx(e->registrar, session_idx(x->session));
	}
	return true;
}

uint32_t gp_engine_clock(const struct gp_engine *e, uint32_t job_idx, uint32_t rank)
{
	const struct gp_job *j = job_at(e, job_idx);
	GP_ASSERT(j && rank < j->cfg->workers);
	if (!cfg_is_async(j->cfg))
		return j->home->cut_step - !gp_ranks_has(&j->home->cut_counted, rank);
	uint32_t clock = j->cores[0].async->cut_clock[rank];
	for (uint32_t i = 1; i < e->cfg.cores_count; i++)
		if (gp_before(clock, j->cores[i].async->cut_clock[rank]))
			clock = j->cores[i].async->cut_clock[rank];
	return clock;
}

uint32_t gp_engine_clock_out(
	const struct gp_engine *e, uint32_t job_idx, uint32_t rank, uint32_t step)
{
	const struct gp_job *j = job_at(e, job_idx);
	GP_ASSERT(j && rank < j->cfg->workers && !cfg_is_async(j->cfg));
	return step - !gp_ranks_has(&j->cores[j->home_core].counted, rank);
}

// A step that is not committed may have changed blocks already.
bool gp_engine_has_changed(
	const struct gp_engine *e, uint32_t job_idx, uint32_t generation, uint32_t decision)
{
	const struct gp_job *j = job_at(e, job_idx);
	const struct job_status *st = &e->status[job_idx];
	GP_ASSERT(j && cfg_is_async(j->cfg));
	if (gp_before(decision, atomic_load_explicit(&st->last_commit, memory_order_relaxed)))
		return true;
	if (cfg_is_staged(j->cfg))
		return false;
	for (uint32_t block = 0; block < j->blocks_count; block++) {
		const struct gp_table *t = &j->cores[job_owner(j, block)].table;
		const struct gp_block *b = &t->blocks[job_local(j, block)];
		const struct gp_version *v = atomic_load_explicit(&b->cur, memory_order_acquire);
		if (v && gp_before(generation, v->step))
			return true;
	}
	return false;
}

const float *gp_engine_block(const struct gp_engine *e, uint32_t job_idx, uint32_t block,
	uint32_t step, uint32_t array, uint32_t *elems)
{
	const struct gp_job *j = job_at(e, job_idx);
	if (!j || block >= j->blocks_count)
		return NULL;
	const struct gp_table *t = &j->cores[job_owner(j, block)].table;
	GP_ASSERT(array <= t->states_count);
	const struct gp_block *b = &t->blocks[job_local(j, block)];
	bool async = cfg_is_async(j->cfg);
	struct gp_version *v = async ? gp_table_find_at(b, step) : gp_table_find(b, step);
	if (!v || (async && !gp_table_cut_is_live(t, step)))
		return NULL;
	*elems = b->elems;
	return array == 0 ? gp_version_values(v) : gp_version_state(t, v, array - 1);
}

static uint64_t block_digest(const struct gp_block *b, uint32_t step, const float *values)
{
	XXH3_state_t state;
	const uint32_t head[4] = {b->tensor, b->idx, step, 0};
	XXH3_64bits_reset(&state);
	XXH3_64bits_update(&state, head, sizeof(head));
	float part[256];
	for (uint32_t at = 0; at < b->elems; at += GP_ARRAY_SIZE(part)) {
		uint32_t n = GP_MIN(b->elems - at, (uint32_t)GP_ARRAY_SIZE(part));
		for (uint32_t i = 0; i < n; i++) // -0 compares equal to 0
			part[i] = values[at + i] == 0.0f ? 0.0f : values[at + i];
		XXH3_64bits_update(&state, part, sizeof(float) * n);
	}
	return XXH3_64bits_digest(&state);
}

int gp_engine_block_digest(const struct gp_engine *e, uint32_t job_idx, uint32_t block,
	uint32_t step, uint64_t *digest)
{
	const struct gp_job *j = job_at(e, job_idx);
	uint32_t elems;
	const float *values = gp_engine_block(e, job_idx, block, step, 0, &elems);
	if (!values)
		return -ENOENT;
	const struct gp_table *t = &j->cores[job_owner(j, block)].table;
	*digest = block_digest(&t->blocks[job_local(j, block)], step, values);
	// Of a cut that has ended meanwhile it might be another one's version.
	return cfg_is_async(j->cfg) && !gp_table_cut_is_live(t, step) ? -ENOENT : 0;
}

int gp_engine_digest(const struct gp_engine *e, uint32_t job_idx, uint32_t step, uint64_t *digest)
{
	const struct gp_job *j = job_at(e, job_idx);
	if (!j)
		return -ENOENT;
	*digest = 0;
	for (uint32_t block = 0; block < j->blocks_count; block++) {
		uint64_t one;
		int rc = gp_engine_block_digest(e, job_idx, block, step, &one);
		if (rc != 0)
			return rc;
		*digest += one;
	}
	return 0;
}

// ---- accounts

// Those of sessions that have ended are dropped when their place or their turn comes.
static uint32_t pulls_held(const struct gp_core *c, const struct job_core *jc)
{
	uint32_t held = 0;
	for (uint32_t k = 0; k < c->engine->cfg.sessions_max; k++)
		held += c->sessions[k].held_by == jc && session_lives(c, &c->sessions[k]);
	return held;
}

static bool versions_there(const struct gp_job *j, uint32_t core, char *why, size_t size)
{
	const struct gp_table *t = &j->cores[core].table;
	uint32_t named = 0;
	for (uint32_t i = 0; i < t->blocks_count; i++) {
		const struct gp_block *b = &t->blocks[i];
		named += atomic_load_explicit(&b->shadow, memory_order_relaxed) != NULL;
		struct gp_version *v = atomic_load_explicit(&b->cur, memory_order_relaxed);
		for (; v; v = atomic_load_explicit(&v->older, memory_order_relaxed))
			named++;
	}
	if (named + t->free_count + t->retired_count == t->versions_count)
		return true;
	snprintf(why, size, "job %s core %u: %u versions named, %u free, %u retired of %u",
		j->cfg->name, core, named, t->free_count, t->retired_count, t->versions_count);
	return false;
}

static bool verdicts_there(const struct gp_core *c, char *why, size_t size)
{
	uint64_t sum = 0, rx = gp_counter_read(&c->stats.rx_datagrams);
	for (uint32_t v = 0; v < GP_VERDICT_COUNT; v++)
		sum += gp_counter_read(&c->stats.verdicts[v]);
	if (sum == rx)
		return true;
	snprintf(why, size, "core %u: %llu verdicts for %llu datagrams", c->idx,
		(unsigned long long)sum, (unsigned long long)rx);
	return false;
}

bool gp_engine_audit(const struct gp_engine *e, char *why, size_t why_size)
{
	bool ok = true;
	for (uint32_t k = 0; ok && k < e->cfg.cores_count; k++)
		ok = verdicts_there(&e->cores[k], why, why_size);
	for (uint32_t i = 0; ok && i < e->cfg.jobs_count; i++) {
		const struct gp_job *j = job_at(e, i);
		for (uint32_t k = 0; ok && j && k < e->cfg.cores_count; k++)
			ok = versions_there(j, k, why, why_size);
	}
	return ok;
}

static bool core_at_rest(const struct gp_job *j, uint32_t core, char *why, size_t size)
{
	const struct job_core *jc = &j->cores[core];
	uint32_t held = pulls_held(&j->engine->cores[core], jc);
	if (jc->slots_open == 0 && jc->deferred_count == 0 && held == 0)
		return true;
	snprintf(why, size, "job %s core %u: %u slots open, %u deferred, %u pulls held",
		j->cfg->name, core, jc->slots_open, jc->deferred_count, held);
	return false;
}

bool gp_engine_at_rest(const struct gp_engine *e, char *why, size_t why_size)
{
	for (uint32_t i = 0; i < e->cfg.jobs_count; i++) {
		const struct gp_job *j = job_at(e, i);
		for (uint32_t k = 0; j && k < e->cfg.cores_count; k++)
			if (!core_at_rest(j, k, why, why_size))
				return false;
	}
	return gp_engine_audit(e, why, why_size);
}
