// SPDX-License-Identifier: BSD-3-Clause
//
// One node: memory, rings, and what other threads may see.
#include "flight.h"

#include "embed.h"
#include "registrar_priv.h"
#include "watch.h"
#include "whole.h"

#include <errno.h>

#define SESSIONS_MIN 1
#define PAYLOAD_MIN  528 // IP MTU 576: every answer of fixed size fits

static bool embed_legal(const struct gp_job_config *j)
{
	if (j->kind != GP_KIND_EMBED)
		return true;
	bool mode = j->consistency == GP_CONSIST_SSP || j->consistency == GP_CONSIST_ASP ||
		    j->consistency == GP_CONSIST_ADAPTIVE;
	if (!mode || j->atomicity != GP_ATOM_STEP || j->tables_count < 1 ||
		j->tables_count > GP_ENGINE_TABLES_MAX || j->tensors_max < j->tables_count ||
		j->push_max == 0)
		return false;
	for (uint32_t i = 0; i < j->tables_count; i++)
		if (!embed_table_legal(j, &j->tables[i]))
			return false;
	return true;
}

static bool config_legal(const struct gp_engine_config *cfg)
{
	if (cfg->cores_count < 1 || cfg->cores_count > GP_ENGINE_CORES_MAX || cfg->jobs_count < 1 ||
		cfg->jobs_count > GP_ENGINE_JOBS_MAX || cfg->sessions_max < SESSIONS_MIN ||
		cfg->sessions_max > GP_ENGINE_SESSIONS_MAX || cfg->ring_size < 64 ||
		cfg->epoch == 0 || cfg->hello_rate == 0 || cfg->payload_max < PAYLOAD_MIN ||
		!flight_legal(cfg))
		return false;
	for (uint32_t i = 0; i < cfg->jobs_count; i++) {
		const struct gp_job_config *j = &cfg->jobs[i];
		bool slots_ok = j->slots > 0 && (j->slots & (j->slots - 1)) == 0;
		if (j->id < 1 || j->id > GP_ENGINE_JOBS_MAX || j->workers < 1 ||
			j->workers > GP_RANKS_MAX || j->workers_min < 1 ||
			j->workers_min > j->workers || !slots_ok || j->window < 1 ||
			j->window > UINT16_MAX || j->tensors_max < 1 ||
			j->payload_max < PAYLOAD_MIN || !embed_legal(j) || !whole_legal(j))
			return false;
	}
	return true;
}

// ---- memory: one region for everything but the tables

static bool core_take(struct gp_engine *e, struct gp_core *c, struct gp_arena *a)
{
	const struct gp_engine_config *cfg = &e->cfg;
	c->sessions = gp_arena_take(a, sizeof(struct core_session) * cfg->sessions_max, 64);
	c->ack_list = gp_arena_take(a, sizeof(uint16_t) * cfg->sessions_max, 64);
	c->scratch = gp_arena_take(a, sizeof(float) * GP_CODEC_ELEMS_MAX, 64);
	c->scaled = gp_arena_take(a, sizeof(float) * GP_CODEC_ELEMS_MAX, 64);
	c->contribs = gp_arena_take(a, sizeof(struct gp_contrib) * CONTRIBS_MAX, 64);
	c->pack = gp_arena_take(a, pack_size(), 64);
	return c->sessions && c->ack_list && c->scratch && c->scaled && c->contribs && c->pack;
}

static bool is_replicated(const struct gp_engine_config *cfg)
{
	bool any = false;
	for (uint32_t i = 0; i < cfg->jobs_count; i++)
		any |= cfg->jobs[i].replicated;
	return any;
}

static struct gp_ring *ring_take(const struct gp_engine *e, struct gp_arena *a)
{
	void *mem = gp_arena_take(a, gp_ring_size(e->cfg.ring_size, sizeof(struct cmd)), 64);
	return mem ? gp_ring_init(mem, e->cfg.ring_size, sizeof(struct cmd)) : NULL;
}

static bool rings_take(struct gp_engine *e, struct gp_arena *a)
{
	struct gp_registrar *r = e->registrar;
	uint32_t cores = e->cfg.cores_count;
	for (uint32_t i = 0; i < cores; i++) {
		struct gp_core *c = &e->cores[i];
		c->to_control = r->from_core[i] = ring_take(e, a);
		c->from_control = r->to_core[i] = ring_take(e, a);
		if (!c->to_control || !c->from_control)
			return false;
		if (is_replicated(&e->cfg)) {
			c->gate.to_backup = ring_take(e, a);
			c->gate.from_backup = ring_take(e, a);
			if (!c->gate.to_backup || !c->gate.from_backup)
				return false;
		}
		for (uint32_t k = 0; k < cores; k++) {
			c->to_core[k] = e->cores[k].from_core[i] = ring_take(e, a);
			if (!c->to_core[k])
				return false;
		}
	}
	return true;
}

static bool reg_job_take(struct gp_engine *e, struct reg_job *rj, struct gp_arena *a)
{
	uint32_t n = rj->cfg->tensors_max;
	uint32_t slots = rj->cfg->workers + READERS_MAX;
	rj->definer = GP_RANKS_MAX;
	rj->ranks = gp_arena_take(a, sizeof(struct reg_rank) * slots, 64);
	rj->tensors = gp_arena_take(a, sizeof(struct job_tensor) * n, 64);
	rj->sorted = gp_arena_take(a, sizeof(uint32_t) * n, 64);
	if (!rj->ranks || !rj->tensors || !rj->sorted || !names_take(&rj->by_name, n, a) ||
		!names_take(&rj->restored, n, a))
		return false;
	for (uint32_t i = 0; i < slots; i++) {
		rj->ranks[i].seen = gp_arena_take(a, sizeof(uint64_t) * gp_div_up(n, 64), 64);
		rj->ranks[i].brought = gp_arena_take(a, sizeof(uint64_t) * gp_div_up(n, 64), 64);
		rj->ranks[i].tensor_of = gp_arena_take(a, sizeof(uint32_t) * n, 64);
		if (!rj->ranks[i].seen || !rj->ranks[i].brought || !rj->ranks[i].tensor_of)
			return false;
	}
	for (uint32_t i = 0; i < (e->cfg.standby ? 2u : 1u); i++) {
		rj->mem[i] = e->cfg.take(e->cfg.mem_arg, rj->cfg->memory_max);
		if (!rj->mem[i])
			return false;
	}
	return true;
}

static bool registrar_take(struct gp_engine *e, struct gp_arena *a)
{
	struct gp_registrar *r = gp_arena_take(a, sizeof(*r), 64);
	uint32_t cores = e->cfg.cores_count;
	if (!r)
		return false;
	e->registrar = r;
	r->engine = e;
	r->generation = (uint16_t)e->cfg.seed;
	r->jobs = gp_arena_take(a, sizeof(struct reg_job) * e->cfg.jobs_count, 64);
	r->sessions = gp_arena_take(a, sizeof(struct reg_session) * e->cfg.sessions_max, 64);
	r->to_core = gp_arena_take(a, sizeof(struct gp_ring *) * cores, 64);
	r->from_core = gp_arena_take(a, sizeof(struct gp_ring *) * cores, 64);
	if (!r->jobs || !r->sessions || !r->to_core || !r->from_core)
		return false;
	for (uint32_t i = 0; i < e->cfg.jobs_count; i++) {
		r->jobs[i].cfg = &e->jobs_cfg[i];
		reg_history_begin(e, &r->jobs[i]);
		if (!reg_job_take(e, &r->jobs[i], a))
			return false;
	}
	return true;
}

static bool engine_take(struct gp_engine *e, struct gp_arena *a)
{
	const struct gp_engine_config *cfg = &e->cfg;
	e->jobs_cfg = gp_arena_take(a, sizeof(struct gp_job_config) * cfg->jobs_count, 64);
	e->status = gp_arena_take(a, sizeof(struct job_status) * cfg->jobs_count, 64);
	e->sessions = gp_arena_take(a, sizeof(e->sessions[0]) * cfg->sessions_max, 64);
	e->cores = gp_arena_take(a, sizeof(struct gp_core) * cfg->cores_count, 64);
	if (!e->jobs_cfg || !e->status || !e->sessions || !e->cores)
		return false;
	memcpy(e->jobs_cfg, cfg->jobs, sizeof(struct gp_job_config) * cfg->jobs_count);
	memset(e->job_idx, 0xff, sizeof(e->job_idx));
	for (uint32_t i = 0; i < cfg->jobs_count; i++) {
		bool train = e->jobs_cfg[i].kind == GP_KIND_TRAIN;
		e->job_idx[e->jobs_cfg[i].id] = (uint16_t)i;
		atomic_store_explicit(
			&e->status[i].generation, train ? UINT32_MAX : 0, memory_order_relaxed);
		atomic_store_explicit(&e->status[i].state,
			cfg->standby ? GP_STATE_STANDBY : GP_STATE_WAITING, memory_order_relaxed);
	}
	for (uint32_t i = 0; i < cfg->cores_count; i++)
		if (!core_take(e, &e->cores[i], a))
			return false;
	return registrar_take(e, a) && rings_take(e, a) && watch_take(e, a) && flight_take(e, a);
}

static size_t engine_size(const struct gp_engine_config *cfg)
{
	size_t cores = cfg->cores_count;
	size_t ring = gp_ring_size(cfg->ring_size, sizeof(struct cmd)) + 64;
	size_t size = sizeof(struct gp_engine) + 4096;
	size += cores * (sizeof(struct gp_core) + 2 * sizeof(float) * GP_CODEC_ELEMS_MAX +
				sizeof(struct gp_contrib) * CONTRIBS_MAX + pack_size() + 1024);
	size += cores * cfg->sessions_max * (sizeof(struct core_session) + sizeof(uint16_t));
	size += cfg->sessions_max * (sizeof(struct reg_session) + sizeof(void *));
	size += (cores * cores + (is_replicated(cfg) ? 4 : 2) * cores) * ring + watch_size(cfg) +
		flight_size(cfg);
	for (uint32_t i = 0; i < cfg->jobs_count; i++) {
		size_t n = cfg->jobs[i].tensors_max;
		size_t slots = cfg->jobs[i].workers + READERS_MAX;
		size += sizeof(struct gp_job_config) + sizeof(struct job_status) +
			sizeof(struct reg_job) + 1024 + 2 * names_size((uint32_t)n) +
			n * (sizeof(struct job_tensor) + 4) +
			slots * (sizeof(struct reg_rank) + n * 4 + n / 4 + 256);
	}
	return size;
}

int gp_engine_create(
	struct gp_engine **out, const struct gp_engine_config *cfg, struct gp_xport *const *xports)
{
	*out = NULL;
	if (!config_legal(cfg))
		return -EINVAL;
	size_t size = engine_size(cfg);
	void *mem = cfg->take(cfg->mem_arg, size);
	if (!mem)
		return -ENOMEM;
	struct gp_arena arena;
	gp_arena_init(&arena, mem, size);
	struct gp_engine *e = gp_arena_take(&arena, sizeof(*e), GP_CACHE_LINE);
	GP_ASSERT(e);
	e->cfg = *cfg;
	e->mem = mem;
	atomic_store_explicit(&e->epoch, cfg->epoch, memory_order_relaxed);
	atomic_store_explicit(&e->standby, cfg->standby, memory_order_relaxed);
	if (!engine_take(e, &arena)) {
		gp_engine_destroy(e);
		return -ENOMEM;
	}
	e->cfg.jobs = e->jobs_cfg;
	for (uint32_t i = 0; i < cfg->cores_count; i++) {
		e->cores[i].engine = e;
		e->cores[i].idx = i;
		e->cores[i].commands_max = CMDS_PER_BURST;
		e->cores[i].xport = xports[i];
		e->cores[i].hello_tokens = cfg->hello_rate;
	}
	*out = e;
	return 0;
}

void gp_engine_destroy(struct gp_engine *e)
{
	if (!e)
		return;
	void (*give)(void *, void *) = e->cfg.give;
	void *arg = e->cfg.mem_arg;
	for (uint32_t i = 0; e->registrar && e->registrar->jobs && i < e->cfg.jobs_count; i++)
		for (uint32_t k = 0; k < 2; k++)
			if (e->registrar->jobs[i].mem[k])
				give(arg, e->registrar->jobs[i].mem[k]);
	give(arg, e->mem);
}

struct gp_core *gp_engine_core(struct gp_engine *e, uint32_t i)
{
	GP_ASSERT(i < e->cfg.cores_count);
	return &e->cores[i];
}

struct gp_registrar *gp_engine_registrar(struct gp_engine *e)
{
	return e->registrar;
}

struct gp_rcu_grace *gp_engine_grace(struct gp_engine *e)
{
	return &e->grace;
}
