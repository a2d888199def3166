// SPDX-License-Identifier: BSD-3-Clause
//
// Memory of asynchronous jobs, and where their ranks begin to go their own ways.
#include "engine_priv.h"

#include <errno.h>

static uint32_t stages_per_rank(const struct gp_job_config *cfg)
{
	return cfg->consistency == GP_CONSIST_QUORUM ? STAGES_QUORUM : 1;
}

// The longest payload of a block in any codec: top-k with every index.
uint32_t async_stage_stride(uint32_t block_elems)
{
	return (uint32_t)gp_align_up(6 * (size_t)block_elems + 8, GP_CACHE_LINE);
}

static bool keeps_points(const struct gp_job_config *cfg)
{
	return cfg->replicated && !cfg_is_staged(cfg);
}

// Places of a rank that may be here while lower ones lack. Who goes on from another server's state
// may have any of a step: there the cores may have been fewer or more.
static uint32_t here_places(const struct gp_job_config *cfg, size_t blocks)
{
	uint64_t places = keeps_points(cfg) ? GP_MAX((uint64_t)cfg->slots, blocks) : cfg->slots;
	return (uint32_t)gp_pow2_up(places);
}

static uint32_t here_words(const struct gp_job_config *cfg, size_t blocks)
{
	return (uint32_t)gp_div_up(here_places(cfg, blocks), 64);
}

size_t async_core_size(const struct gp_job_config *cfg, uint32_t blocks, uint32_t block_elems)
{
	if (!cfg_is_async(cfg))
		return 0;
	size_t line = GP_CACHE_LINE, workers = cfg->workers;
	size_t ranks =
		workers * (sizeof(struct rank_core) + here_words(cfg, blocks) * sizeof(uint64_t)) +
		2 * line;
	size_t size = sizeof(struct async_core) + ranks * (keeps_points(cfg) ? 3 : 1) +
		      blocks * sizeof(uint32_t) + workers * sizeof(uint32_t) + 6 * line;
	if (cfg_is_staged(cfg)) {
		size_t one =
			blocks * (sizeof(struct staged_block) + async_stage_stride(block_elems));
		size += workers * stages_per_rank(cfg) * (sizeof(struct stage) + one + 2 * line) +
			line;
	}
	if (cfg->optim.delay_compensation != 0)
		size += workers * blocks * (sizeof(float) * block_elems + sizeof(bool)) + 2 * line;
	return size;
}

size_t async_home_size(const struct gp_engine *e, const struct gp_job_config *cfg)
{
	if (!cfg_is_async(cfg))
		return 0;
	return sizeof(struct async_home) + sizeof(struct read_wait) * e->cfg.sessions_max +
	       2 * GP_CACHE_LINE;
}

static int stages_create(struct job_core *jc, struct gp_arena *arena)
{
	struct async_core *a = jc->async;
	const struct gp_job_config *cfg = jc->job->cfg;
	size_t blocks = jc->table.blocks_count;
	a->stages_per_rank = stages_per_rank(cfg);
	a->stage_stride = async_stage_stride(jc->job->block_elems);
	uint32_t count = cfg->workers * a->stages_per_rank;
	a->stages = gp_arena_take(arena, sizeof(struct stage) * count, GP_CACHE_LINE);
	if (!a->stages)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++) {
		struct stage *s = &a->stages[i];
		s->blocks =
			gp_arena_take(arena, sizeof(struct staged_block) * blocks, GP_CACHE_LINE);
		s->payload = gp_arena_take(arena, a->stage_stride * blocks, GP_CACHE_LINE);
		if (blocks > 0 && (!s->blocks || !s->payload))
			return -ENOMEM;
	}
	return 0;
}

static bool points_create(
	struct async_core *a, const struct gp_job_config *cfg, struct gp_arena *arena)
{
	bool ok = true;
	for (uint32_t i = 0; keeps_points(cfg) && i < 2; i++) {
		struct core_point *p = &a->points[i];
		p->ranks = gp_arena_take(arena, sizeof(p->ranks[0]) * cfg->workers, GP_CACHE_LINE);
		p->here = gp_arena_take(
			arena, sizeof(uint64_t) * a->here_words * cfg->workers, GP_CACHE_LINE);
		ok &= p->ranks && p->here;
	}
	return ok;
}

int async_core_create(struct job_core *jc, struct gp_arena *arena)
{
	const struct gp_job_config *cfg = jc->job->cfg;
	if (!cfg_is_async(cfg))
		return 0;
	struct async_core *a = gp_arena_take(arena, sizeof(*a), GP_CACHE_LINE);
	if (!a)
		return -ENOMEM;
	size_t blocks = jc->table.blocks_count;
	jc->async = a;
	a->here_words = here_words(cfg, blocks);
	a->here_mask = here_places(cfg, blocks) - 1;
	a->ranks = gp_arena_take(arena, sizeof(a->ranks[0]) * cfg->workers, GP_CACHE_LINE);
	a->here = gp_arena_take(
		arena, sizeof(uint64_t) * a->here_words * cfg->workers, GP_CACHE_LINE);
	a->updates = gp_arena_take(arena, sizeof(uint32_t) * blocks, GP_CACHE_LINE);
	a->cut_clock = gp_arena_take(arena, sizeof(uint32_t) * cfg->workers, GP_CACHE_LINE);
	if (!a->ranks || !a->here || !a->updates || !a->cut_clock || !points_create(a, cfg, arena))
		return -ENOMEM;
	if (cfg->optim.delay_compensation != 0) {
		size_t size = sizeof(float) * jc->job->block_elems * blocks * cfg->workers;
		a->read_copy = gp_arena_take(arena, size, GP_CACHE_LINE);
		a->has_read = gp_arena_take(
			arena, sizeof(a->has_read[0]) * blocks * cfg->workers, GP_CACHE_LINE);
		if (!a->read_copy || !a->has_read)
			return -ENOMEM;
	}
	return cfg_is_staged(cfg) ? stages_create(jc, arena) : 0;
}

int async_home_create(struct gp_job *j, struct gp_arena *arena)
{
	const struct gp_job_config *cfg = j->cfg;
	if (!cfg_is_async(cfg))
		return 0;
	struct async_home *a = gp_arena_take(arena, sizeof(*a), GP_CACHE_LINE);
	if (!a)
		return -ENOMEM;
	j->home->async = a;
	a->reads = gp_arena_take(
		arena, sizeof(a->reads[0]) * j->engine->cfg.sessions_max, GP_CACHE_LINE);
	if (!a->reads)
		return -ENOMEM;
	bool adapts = cfg->consistency == GP_CONSIST_ADAPTIVE;
	gp_adaptive_init(&a->adaptive, adapts ? cfg->bound_min : cfg->bound, cfg->bound);
	return 0;
}

// Updates of each block so far: one a step, or one a contribution.
static void updates_begin(struct job_core *jc, const uint32_t *clock, uint32_t step)
{
	uint32_t updates = clock ? 0 : step;
	bool quorum = jc->job->cfg->consistency == GP_CONSIST_QUORUM;
	for (uint32_t r = 0; clock && r < jc->job->cfg->workers; r++)
		updates = quorum ? GP_MAX(updates, clock[r]) : updates + clock[r];
	for (uint32_t i = 0; i < jc->table.blocks_count; i++) {
		struct gp_block *b = &jc->table.blocks[i];
		struct gp_version *v = atomic_load_explicit(&b->cur, memory_order_relaxed);
		jc->async->updates[i] = updates;
		if (v)
			v->updates = updates;
	}
}

void async_begin(struct job_core *jc, uint32_t generation, const uint32_t *clock, uint32_t step)
{
	struct async_core *a = jc->async;
	GP_ASSERT(!a->on && jc->slots_open == 0);
	a->on = true;
	a->closed = step;
	a->fastest = step + 1;
	for (uint32_t i = 0; i < jc->table.blocks_count; i++)
		gp_table_settle(&jc->table, &jc->table.blocks[i]);
	gp_table_cut_begin(&jc->table, generation);
	for (uint32_t r = 0; r < jc->job->cfg->workers; r++) {
		uint32_t at = clock ? clock[r] : step;
		a->ranks[r] = (struct rank_core){.clock = at, .low_step = at + 1, .told = at};
		if (gp_before(a->closed, at))
			a->closed = at;
	}
	a->fastest = a->closed + 1;
	updates_begin(jc, clock, step);
}
