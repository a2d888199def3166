// SPDX-License-Identifier: BSD-3-Clause
//
// A job's layout in memory: tensors cut into blocks in the order of the schedule, blocks dealt to
// cores in turn, units as the job's atomicity says. Everything comes from one arena of memory_max
// bytes.
#include "embed.h"
#include "engine_priv.h"
#include "whole.h"

#include <errno.h>

// So that counts of versions and of decisions kept, a few for each block, fit 32 bits.
#define BLOCKS_MAX (UINT32_C(1) << 28)
// Blocks of embed jobs are places of pushes and have no values.
#define PLACE_ELEMS 16

struct layout {
	uint32_t block_elems;
	uint64_t blocks_count;
	uint64_t units_count;
	uint32_t states_count;
};

static struct layout layout_of(const struct gp_job_config *cfg, uint32_t cores,
	uint32_t block_elems, const struct job_tensor *tensors, uint32_t count)
{
	struct layout l = {.block_elems = block_elems};
	if (cfg_embeds(cfg))
		l.blocks_count = (uint64_t)embed_places(cfg, block_elems) * cores;
	for (uint32_t t = 0; t < count && !cfg_embeds(cfg); t++)
		l.blocks_count += gp_div_up(tensors[t].elems, block_elems);
	uint8_t atomicity = cfg_unit(cfg);
	l.units_count = atomicity == GP_ATOM_STEP     ? 1
			: atomicity == GP_ATOM_TENSOR ? count
						      : l.blocks_count;
	l.states_count = cfg->kind == GP_KIND_TRAIN ? gp_optim_states(cfg->optim.kind) : 0;
	return l;
}

static uint32_t core_blocks(uint64_t blocks_count, uint32_t cores, uint32_t core)
{
	return (uint32_t)((blocks_count + cores - 1 - core) / cores);
}

// Bytes beside the tables, per core: slots, parts, unit counters, queues.
static size_t core_size(const struct gp_job_config *cfg, uint64_t units_count)
{
	return sizeof(struct slot) * cfg->slots + sizeof(struct part) * cfg->slots * cfg->workers +
	       sizeof(uint32_t) * (cfg->slots + 4 * units_count) + 8 * (size_t)GP_CACHE_LINE;
}

static struct gp_table_config table_config(
	const struct gp_job_config *cfg, const struct layout *l, uint32_t cores, uint32_t core)
{
	return (struct gp_table_config){
		.blocks_count = core_blocks(l->blocks_count, cores, core),
		.elems_max = cfg_embeds(cfg) ? PLACE_ELEMS : l->block_elems,
		.states_count = l->states_count,
		.cuts_max = cfg->consistency == GP_CONSIST_BSP ? 1 : cfg->cuts_max,
		.kept_percent = cfg->consistency == GP_CONSIST_BSP ? cfg->cut_percent : 0,
		.contribs = cfg->workers,
	};
}

static size_t table_size(
	const struct gp_job_config *cfg, const struct layout *l, uint32_t cores, uint32_t core)
{
	const struct gp_table_config t = table_config(cfg, l, cores, core);
	return gp_table_size(&t);
}

size_t job_size(const struct gp_engine *e, const struct gp_job_config *cfg, uint32_t block_elems,
	const struct job_tensor *tensors, uint32_t count)
{
	uint32_t cores = e->cfg.cores_count;
	struct layout l = layout_of(cfg, cores, block_elems, tensors, count);
	if (l.blocks_count > BLOCKS_MAX)
		return SIZE_MAX;
	size_t size = sizeof(struct gp_job) + sizeof(struct job_core) * cores +
		      sizeof(struct job_tensor) * count + sizeof(uint16_t) * l.units_count +
		      sizeof(struct home) + gp_consist_size((uint32_t)l.units_count) +
		      (cfg->replicated ? sizeof(uint32_t) * l.units_count : 0) +
		      9 * (size_t)GP_CACHE_LINE;
	for (uint32_t i = 0; i < cores; i++)
		size += core_size(cfg, l.units_count) + table_size(cfg, &l, cores, i) +
			async_core_size(cfg, core_blocks(l.blocks_count, cores, i), block_elems) +
			embed_core_size(
				e, cfg, core_blocks(l.blocks_count, cores, i), block_elems) +
			whole_core_size(cfg, core_blocks(l.blocks_count, cores, i), count);
	return size + async_home_size(e, cfg) + whole_home_size(cfg, count);
}

static int core_create(struct gp_job *j, struct job_core *jc, uint32_t core, struct gp_arena *arena,
	const struct layout *l)
{
	const struct gp_job_config *cfg = j->cfg;
	jc->job = j;
	jc->slot_mask = cfg->slots - 1;
	jc->lowest = GP_RANKS_MAX;
	jc->slots = gp_arena_take(arena, sizeof(struct slot) * cfg->slots, GP_CACHE_LINE);
	jc->parts = gp_arena_take(
		arena, sizeof(struct part) * cfg->slots * cfg->workers, GP_CACHE_LINE);
	jc->deferred = gp_arena_take(arena, sizeof(uint32_t) * cfg->slots, GP_CACHE_LINE);
	uint32_t **per_unit[] = {&jc->committed, &jc->unit_blocks, &jc->unit_done, &jc->done_queue};
	bool ok = jc->slots && jc->parts && jc->deferred;
	for (uint32_t i = 0; ok && i < cfg->slots; i++)
		jc->slots[i].parts = &jc->parts[(size_t)i * cfg->workers];
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(per_unit); i++) {
		*per_unit[i] = gp_arena_take(
			arena, sizeof(uint32_t) * (size_t)j->units_count, GP_CACHE_LINE);
		ok = ok && *per_unit[i];
	}
	if (!ok)
		return -ENOMEM;
	const struct gp_table_config t = table_config(cfg, l, j->by_cores.d, core);
	int rc = gp_table_init(&jc->table, arena, &t, &j->engine->grace);
	if (rc == 0)
		rc = async_core_create(jc, arena);
	if (rc == 0)
		rc = whole_core_create(jc, j->tensors_count, arena);
	return rc ? rc : embed_core_create(j, jc, core, arena);
}

static void tensor_blocks(struct gp_job *j, uint32_t t)
{
	struct job_tensor *tensor = &j->tensors[t];
	for (uint32_t i = 0; i < tensor->blocks_count; i++) {
		uint32_t block = tensor->first_block + i;
		uint32_t core = job_owner(j, block);
		struct job_core *jc = &j->cores[core];
		struct gp_block *b = &jc->table.blocks[job_local(j, block)];
		b->tensor = t;
		b->idx = i;
		b->elems = (uint32_t)GP_MIN(
			(uint64_t)j->block_elems, tensor->elems - (uint64_t)i * j->block_elems);
		b->unit = job_unit(j->cfg, t, block);
		if (jc->unit_blocks[b->unit]++ == 0)
			j->unit_parts[b->unit]++;
	}
}

struct gp_job *job_create(struct gp_engine *e, const struct gp_job_config *cfg,
	struct gp_arena *arena, uint32_t block_elems, const struct job_tensor *tensors,
	uint32_t count)
{
	uint32_t cores = e->cfg.cores_count;
	struct layout l = layout_of(cfg, cores, block_elems, tensors, count);
	if (job_size(e, cfg, block_elems, tensors, count) > arena->size - arena->used)
		return NULL;
	struct gp_job *j =
		gp_arena_take(arena, sizeof(*j) + sizeof(struct job_core) * cores, GP_CACHE_LINE);
	GP_ASSERT(j);
	j->cfg = cfg;
	j->engine = e;
	j->idx = e->job_idx[cfg->id];
	j->home_core = job_home(e, cfg->id);
	j->block_elems = block_elems;
	j->blocks_count = (uint32_t)l.blocks_count;
	j->tensors_count = count;
	j->units_count = (uint32_t)l.units_count;
	j->by_cores = gp_fastdiv_init(cores);
	j->tensors = gp_arena_take(arena, sizeof(*tensors) * count, GP_CACHE_LINE);
	j->unit_parts =
		gp_arena_take(arena, sizeof(uint16_t) * (size_t)j->units_count, GP_CACHE_LINE);
	j->home = gp_arena_take(arena, sizeof(struct home), GP_CACHE_LINE);
	GP_ASSERT(j->tensors && j->unit_parts && j->home);
	if (cfg->replicated)
		j->home->gate.base_steps = gp_arena_take(
			arena, sizeof(uint32_t) * (size_t)j->units_count, GP_CACHE_LINE);
	GP_ASSERT(!cfg->replicated || j->home->gate.base_steps);
	memcpy(j->tensors, tensors, sizeof(*tensors) * count);
	for (uint32_t i = 0; i < cores; i++)
		if (core_create(j, &j->cores[i], i, arena, &l) != 0)
			return NULL;
	uint32_t block = 0;
	if (cfg_embeds(cfg))
		embed_blocks_fill(j);
	for (uint32_t t = 0; t < count && !cfg_embeds(cfg); t++) {
		j->tensors[t].first_block = block;
		j->tensors[t].blocks_count = (uint32_t)gp_div_up(j->tensors[t].elems, block_elems);
		block += j->tensors[t].blocks_count;
		tensor_blocks(j, t);
	}
	const struct gp_consist_config cc = {
		.mode = cfg->consistency == GP_CONSIST_BSP	? GP_CONSIST_SYNC
			: cfg->consistency == GP_CONSIST_QUORUM ? GP_CONSIST_QUORUMS
								: GP_CONSIST_EACH,
		.late_refused = cfg->stale == GP_STALE_REFUSE,
		.quorum_min = cfg->quorum_min,
		.quorum_wait_ns = cfg->quorum_wait_ns,
		.units_count = j->units_count,
		.unit_parts = j->unit_parts,
		.workers = cfg->workers,
		.workers_min = cfg->workers_min,
		.resumable = cfg->replicated,
	};
	if (gp_consist_init(&j->home->consist, &cc, arena) != 0 ||
		async_home_create(j, arena) != 0 || whole_home_create(j, arena) != 0)
		return NULL;
	return j;
}

// Where the job begins: every unit committed through `generation`.
void job_start(struct gp_job *j, const struct job_begin *at)
{
	uint32_t generation = at->generation, decision = at->decision;
	bool async = cfg_is_async(j->cfg) && generation != UINT32_MAX;
	struct home *h = j->home;
	j->first_generation = generation;
	j->first_decision = decision;
	h->consist.generation = generation;
	h->consist.view_first_step = generation + 1;
	h->consist.decision = decision;
	h->announced = decision;
	h->cut_last = generation;
	h->recorded = j->cfg->recorded;
	h->delivered[j->by_cores.d] = decision;
	for (uint32_t u = 0; u < j->units_count; u++)
		h->consist.committed[u] = generation;
	if (async)
		gp_async_start(&h->consist, at->clock, at->step);
	for (uint32_t i = 0; i < j->by_cores.d; i++) {
		struct job_core *jc = &j->cores[i];
		h->delivered[i] = decision;
		jc->decision = decision;
		jc->generation = generation;
		jc->low_step = generation + 1;
		memset(&jc->counted, 0xff, sizeof(jc->counted));
		memset(&jc->counted_ahead, 0xff, sizeof(jc->counted_ahead));
		for (uint32_t u = 0; u < j->units_count; u++)
			jc->committed[u] = generation;
		for (uint32_t b = 0; b < jc->table.blocks_count; b++)
			jc->table.blocks[b].done_step = generation;
		if (async)
			async_begin(jc, generation, at->clock, at->step);
	}
}

// One generation of one block.
struct loaded {
	uint32_t step;
	const float *values;
	const float *const *states;
	const float *weights;
	const uint32_t *updates; // NULL: none
};

static void version_load(struct job_core *jc, struct gp_block *b, const struct loaded *x)
{
	struct gp_version *v = gp_table_take(&jc->table);
	GP_ASSERT(v);
	size_t at = (size_t)b->idx * jc->table.elems_max;
	memcpy(gp_version_values(v), x->values + at, sizeof(float) * b->elems);
	if (jc->table.states_count > 0)
		gp_optim_state_init(&jc->job->cfg->optim, gp_version_state(&jc->table, v, 0),
			jc->table.elems_max, b->elems);
	for (uint32_t s = 0; s < jc->table.states_count; s++)
		if (x->states[s])
			memcpy(gp_version_state(&jc->table, v, s), x->states[s] + at,
				sizeof(float) * b->elems);
	v->step = x->step;
	v->elems = b->elems;
	v->weight = x->weights ? x->weights[b->idx] : 0;
	v->updates = x->updates ? x->updates[b->idx] : 0;
	gp_table_publish(&jc->table, b, v);
}

static bool is_ahead(const struct gp_restore_tensor *x, const struct gp_block *b)
{
	return x->ahead && x->ahead[b->idx];
}

static void block_load(struct job_core *jc, struct gp_block *b, const struct gp_restore *r,
	const struct gp_restore_tensor *x)
{
	const struct loaded whole = {r->step, x->values, x->states, x->weights, x->updates};
	const struct loaded ahead = {r->async ? r->step : r->step + 1, x->ahead_values,
		x->ahead_states, x->ahead_weights, x->ahead_updates};
	if (x->values && !(r->async && is_ahead(x, b)))
		version_load(jc, b, &whole);
	if (is_ahead(x, b))
		version_load(jc, b, &ahead);
}

// A unit that had committed the step after the generation: it has, on every core.
static void unit_start_ahead(struct gp_job *j, uint32_t unit, uint32_t step)
{
	if (j->home->consist.committed[unit] == step)
		return;
	j->home->consist.committed[unit] = step;
	j->home->consist.units_done++;
	GP_ASSERT(j->home->consist.units_done < j->units_count);
	for (uint32_t i = 0; i < j->by_cores.d; i++) {
		j->cores[i].committed[unit] = step;
		j->cores[i].units_next++;
	}
}

static void blocks_start_ahead(struct gp_job *j, struct job_core *jc, const struct gp_restore *r)
{
	for (uint32_t i = 0; i < jc->table.blocks_count; i++) {
		struct gp_block *b = &jc->table.blocks[i];
		if (!is_ahead(&r->tensors[j->tensors[b->tensor].restored], b))
			continue;
		b->done_step = r->step + 1;
		unit_start_ahead(j, b->unit, r->step + 1);
	}
}

static void blocks_load(struct gp_job *j, const struct gp_restore *r)
{
	for (uint32_t i = 0; i < j->by_cores.d; i++) {
		struct job_core *jc = &j->cores[i];
		for (uint32_t b = 0; b < jc->table.blocks_count; b++) {
			struct gp_block *block = &jc->table.blocks[b];
			uint32_t from = j->tensors[block->tensor].restored;
			block_load(jc, block, r, &r->tensors[from]);
		}
	}
}

int job_load(struct gp_job *j, const struct gp_restore *r)
{
	int rc = cfg_embeds(j->cfg) ? embed_load(j, r) : 0;
	if (rc != 0)
		return rc;
	if (!cfg_embeds(j->cfg))
		blocks_load(j, r);
	const struct gp_restore_async *async = r->async;
	const struct job_begin at = {r->step, r->decision, async ? async->closed : r->step,
		async ? async->clock : r->clock};
	job_start(j, &at);
	if (async) {
		async_resume(j, r);
		return 0;
	}
	for (uint32_t i = 0; i < j->by_cores.d && !cfg_embeds(j->cfg); i++) {
		blocks_start_ahead(j, &j->cores[i], r);
		if (r->counted[0])
			j->cores[i].counted = *r->counted[0];
		if (r->counted[1])
			j->cores[i].counted_ahead = *r->counted[1];
	}
	for (uint32_t i = 0; i < 2; i++)
		if (r->counted[i])
			j->home->consist.counted[i] = *r->counted[i];
	return 0;
}
