// SPDX-License-Identifier: BSD-3-Clause
//
// Why a job waits, as its cores publish it.
#include "watch.h"

#include <gp_watch.h>

#include "registrar_priv.h"

#define READ_TRIES 64

static uint32_t load(const _Atomic uint32_t *from)
{
	return atomic_load_explicit(from, memory_order_relaxed);
}

static void store(_Atomic uint32_t *to, uint32_t v)
{
	atomic_store_explicit(to, v, memory_order_relaxed);
}

// ---- places

static struct place_watch *place_of(const struct gp_engine *e, uint32_t job_idx, uint32_t core)
{
	return &e->places[(size_t)core * e->cfg.jobs_count + job_idx];
}

// Who has contributed to the lowest incomplete place.
static struct gp_ranks ranks_here(const struct job_core *jc)
{
	uint64_t at = (uint64_t)jc->low_step * jc->table.blocks_count + jc->low_local;
	const struct slot *s = &jc->slots[(uint32_t)at & jc->slot_mask];
	if (s->open && s->step == jc->low_step && s->local == jc->low_local)
		return s->ranks;
	return (struct gp_ranks){0};
}

static bool ranks_same(const _Atomic uint64_t *w, const struct gp_ranks *r)
{
	bool same = true;
	for (uint32_t i = 0; i < GP_RANKS_MAX / 64; i++)
		same &= atomic_load_explicit(&w[i], memory_order_relaxed) == r->w[i];
	return same;
}

static void ranks_put(_Atomic uint64_t *w, const struct gp_ranks *r)
{
	for (uint32_t i = 0; i < GP_RANKS_MAX / 64; i++)
		atomic_store_explicit(&w[i], r->w[i], memory_order_relaxed);
}

void watch_place(struct gp_core *c, const struct job_core *jc)
{
	if (jc->table.blocks_count == 0)
		return;
	struct place_watch *w = place_of(c->engine, jc->job->idx, c->idx);
	const struct gp_ranks here = jc->async ? (struct gp_ranks){0} : ranks_here(jc);
	uint32_t version = load(&w->version);
	bool moved =
		version == 0 || load(&w->step) != jc->low_step || load(&w->local) != jc->low_local;
	if (!moved && load(&w->slots_open) == jc->slots_open &&
		load(&w->deferred) == jc->deferred_count &&
		load(&w->pulls_held) == jc->held_count && ranks_same(w->here, &here) &&
		ranks_same(w->members, &jc->members))
		return;
	store(&w->version, version + 1);
	// Pairs with the fence in gp_engine_place_view: who sees any of what follows sees that the
	// version has moved.
	atomic_thread_fence(memory_order_release);
	store(&w->step, jc->low_step);
	store(&w->local, jc->low_local);
	store(&w->slots_open, jc->slots_open);
	store(&w->deferred, jc->deferred_count);
	store(&w->pulls_held, jc->held_count);
	if (moved)
		atomic_store_explicit(&w->since, c->now, memory_order_relaxed);
	ranks_put(w->here, &here);
	ranks_put(w->members, &jc->members);
	// Pairs with the acquire in gp_engine_place_view.
	atomic_store_explicit(&w->version, version + 2, memory_order_release);
}

static struct gp_ranks ranks_get(const _Atomic uint64_t *w)
{
	struct gp_ranks r;
	for (uint32_t i = 0; i < GP_RANKS_MAX / 64; i++)
		r.w[i] = atomic_load_explicit(&w[i], memory_order_relaxed);
	return r;
}

static bool place_read(const struct place_watch *w, struct gp_place_view *v, uint32_t *local)
{
	uint32_t before = atomic_load_explicit(&w->version, memory_order_acquire);
	v->step = load(&w->step);
	*local = load(&w->local);
	v->slots_open = load(&w->slots_open);
	v->deferred = load(&w->deferred);
	v->pulls_held = load(&w->pulls_held);
	v->since = atomic_load_explicit(&w->since, memory_order_relaxed);
	v->here = ranks_get(w->here);
	v->members = ranks_get(w->members);
	atomic_thread_fence(memory_order_acquire);
	v->blocks = before != 0;
	return before % 2 == 0 && load(&w->version) == before;
}

bool gp_engine_place_view(
	const struct gp_engine *e, uint32_t job_idx, uint32_t core, struct gp_place_view *v)
{
	GP_ASSERT(job_idx < e->cfg.jobs_count && core < e->cfg.cores_count);
	const struct gp_job *j = gp_rcu_dereference(&e->jobs[e->jobs_cfg[job_idx].id]);
	*v = (struct gp_place_view){0};
	if (!j)
		return false;
	uint32_t local = 0;
	// The writer is done within a burst; a torn place is shown rather than none.
	for (uint32_t i = 0; i < READ_TRIES; i++)
		if (place_read(place_of(e, job_idx, core), v, &local))
			break;
	v->block = local * e->cfg.cores_count + core;
	v->async = j->cores[core].async != NULL;
	return true;
}

// ---- sessions

static struct session_watch *session_of(const struct gp_engine *e, uint32_t core, uint32_t idx)
{
	return &e->session_watches[(size_t)core * e->cfg.sessions_max + idx];
}

static void session_begin(struct session_watch *w, uint32_t id)
{
	store(&w->session, 0);
	store(&w->pushed, 0);
	store(&w->rtt_us, 0);
	store(&w->parked, 0);
	gp_counter_set(&w->datagrams, 0);
	gp_counter_set(&w->repeats, 0);
	gp_counter_set(&w->busy, 0);
	gp_counter_set(&w->refused, 0);
	atomic_store_explicit(&w->session, id, memory_order_release);
}

static void push_note(struct session_watch *w, const struct gp_header *h, enum gp_verdict v)
{
	if (v == GP_VERDICT_PUSH) {
		watch_pushed(w, h->step);
	} else if (v == GP_VERDICT_PUSH_DUPLICATE) {
		gp_counter_add(&w->repeats, 1);
	} else if (v == GP_VERDICT_PUSH_BUSY || v == GP_VERDICT_TOO_EARLY) {
		gp_counter_add(&w->busy, 1);
	} else {
		gp_counter_add(&w->refused, 1);
	}
}

void watch_session(
	struct gp_core *c, const struct core_session *cs, const struct gp_msg *m, enum gp_verdict v)
{
	struct session_watch *w = session_of(c->engine, c->idx, (uint32_t)(cs - c->sessions));
	if (load(&w->session) != m->h.session)
		session_begin(w, m->h.session);
	gp_counter_add(&w->datagrams, 1);
	if (m->h.type == GP_WIRE_PUSH) {
		push_note(w, &m->h, v);
	} else if (m->h.type == GP_WIRE_HEARTBEAT) {
		struct gp_heartbeat hb;
		gp_wire_get_heartbeat(m, &hb);
		store(&w->rtt_us, hb.rtt_us);
	}
}

void watch_read(struct gp_core *c, uint32_t session, bool parked, uint32_t clock)
{
	struct session_watch *w = session_of(c->engine, c->idx, session_idx(session));
	if (load(&w->session) != session) {
		if (!parked)
			return;
		session_begin(w, session);
	}
	if (parked) {
		store(&w->reads, clock);
		atomic_store_explicit(&w->parked_since, c->now, memory_order_relaxed);
	}
	store(&w->parked, parked);
}

bool gp_engine_worker_view(
	const struct gp_engine *e, uint32_t job_idx, uint32_t rank, struct gp_worker_view *v)
{
	const struct reg_job *rj = &e->registrar->jobs[job_idx];
	*v = (struct gp_worker_view){0};
	if (rank >= rj->cfg->workers || rj->ranks[rank].session == 0)
		return false;
	uint32_t id = rj->ranks[rank].session;
	for (uint32_t i = 0; i < e->cfg.cores_count; i++) {
		const struct session_watch *w = session_of(e, i, session_idx(id));
		if (atomic_load_explicit(&w->session, memory_order_acquire) != id)
			continue;
		v->datagrams += gp_counter_read(&w->datagrams);
		v->repeats += gp_counter_read(&w->repeats);
		v->busy += gp_counter_read(&w->busy);
		v->refused += gp_counter_read(&w->refused);
		v->rtt_us = GP_MAX(v->rtt_us, load(&w->rtt_us));
		if (load(&w->parked)) {
			v->parked = true;
			v->reads = load(&w->reads);
			v->parked_since =
				atomic_load_explicit(&w->parked_since, memory_order_relaxed);
		}
		if (!load(&w->pushed) || (v->pushed && !gp_before(v->step, load(&w->step))))
			continue;
		v->pushed = true;
		v->step = load(&w->step);
	}
	return true;
}

// ---- memory

size_t watch_size(const struct gp_engine_config *cfg)
{
	return (size_t)cfg->cores_count *
		       (cfg->jobs_count * sizeof(struct place_watch) +
			       cfg->sessions_max * sizeof(struct session_watch)) +
	       2 * (size_t)GP_CACHE_LINE;
}

bool watch_take(struct gp_engine *e, struct gp_arena *a)
{
	size_t cores = e->cfg.cores_count;
	e->places = gp_arena_take(
		a, sizeof(struct place_watch) * cores * e->cfg.jobs_count, GP_CACHE_LINE);
	e->session_watches = gp_arena_take(
		a, sizeof(struct session_watch) * cores * e->cfg.sessions_max, GP_CACHE_LINE);
	return e->places && e->session_watches;
}
