// SPDX-License-Identifier: BSD-3-Clause
//
// Memory of embed jobs: each core's part of each table, and the places of pushes.
#include "embed.h"

#include "engine_priv.h"

#include <errno.h>

#define SHARE_SPARE 16 // cores do not get exactly the same number of rows: a part more
#define SHARE_MORE  64 // and some

uint32_t embed_places(const struct gp_job_config *cfg, uint32_t block_elems)
{
	uint64_t size = sizeof(float) * (uint64_t)block_elems;
	return (uint32_t)GP_MIN(GP_MAX(gp_div_up(cfg->push_max, size), 1), UINT16_MAX);
}

bool embed_row_fits(uint32_t dim, uint32_t block_elems)
{
	return gp_rows_push_size(1, dim, GP_CODEC_F32) <= sizeof(float) * block_elems;
}

static uint64_t core_rows(const struct gp_job_table *t, uint32_t cores)
{
	uint64_t even = gp_div_up(t->rows_max, cores);
	return cores == 1 ? even : even + even / SHARE_SPARE + SHARE_MORE;
}

// Another server's cores may have had some rows more in sum, and none of these gets exactly its
// part.
static uint64_t core_room(
	const struct gp_job_config *cfg, const struct gp_job_table *t, uint32_t cores)
{
	if (!cfg->replicated)
		return core_rows(t, cores);
	uint64_t sum = t->rows_max + t->rows_max / SHARE_SPARE +
		       (uint64_t)SHARE_MORE * GP_ENGINE_CORES_MAX;
	uint64_t even = gp_div_up(sum, cores);
	return cores == 1 ? even : even + even / SHARE_SPARE + SHARE_MORE;
}

// What workers are told of the seed (history.c) does not name it.
static uint64_t secret_of(const struct gp_engine *e)
{
	return e->cfg.seed ^ gp_load64(e->cfg.cookie_key.bytes);
}

static struct gp_rows_config rows_config(const struct gp_job_config *cfg,
	const struct gp_job_table *t, uint32_t cores, uint64_t secret)
{
	return (struct gp_rows_config){
		.rows_max = core_room(cfg, t, cores),
		.dim = t->dim,
		.bf16 = t->bf16,
		.optim = *embed_optim(cfg, t),
		.initial = t->initial,
		.initial_scale = t->initial_scale,
		.seed = t->seed,
		.hash_key = gp_rows_mix(secret ^ cfg->id),
		.eviction = t->eviction,
		.evict_after = t->evict_after,
		.reads = t->evict_reads,
		.evict_full = core_rows(t, cores),
	};
}

bool embed_table_legal(const struct gp_job_config *cfg, const struct gp_job_table *t)
{
	const struct gp_rows_config rows = rows_config(cfg, t, 1, 0);
	const char *why;
	return t->name[0] != 0 && t->kept_percent > 0 && rows.optim.kind != GP_OPTIM_LAMB &&
	       gp_rows_check(&rows, &why) == 0;
}

static struct gp_kept_config kept_config(const struct gp_engine *e, const struct gp_job_config *cfg,
	const struct gp_job_table *t, uint32_t places, uint32_t block_elems)
{
	uint64_t rows = core_rows(t, e->cfg.cores_count), copies = rows * t->kept_percent / 100;
	copies = GP_MAX(copies, embed_point_copies(cfg, t, places, block_elems));
	return (struct gp_kept_config){
		.copies_max = (uint32_t)GP_MIN(GP_MAX(copies, 1), UINT32_C(1) << 31),
		.floats = t->dim + gp_optim_row_state(embed_optim(cfg, t)->kind, t->dim),
		.hash_key = gp_rows_mix(secret_of(e) ^ cfg->id) + 1,
	};
}

size_t embed_core_size(const struct gp_engine *e, const struct gp_job_config *cfg, uint32_t places,
	uint32_t block_elems)
{
	if (!cfg_embeds(cfg))
		return 0;
	size_t size = sizeof(struct embed_core) + sizeof(struct embed_table) * cfg->tables_count +
		      sizeof(uint32_t) * cfg->workers * (places + (size_t)cfg->tables_count) +
		      sizeof(float) * GP_ROWS_FLOATS_MAX +
		      2 * (sizeof(uint64_t) * EMBED_IDS_MAX + sizeof(float) * EMBED_FLOATS_MAX) +
		      sizeof(bool) * EMBED_IDS_MAX + (9 + cfg->tables_count) * GP_CACHE_LINE;
	for (uint32_t i = 0; i < cfg->tables_count; i++) {
		const struct gp_rows_config r =
			rows_config(cfg, &cfg->tables[i], e->cfg.cores_count, secret_of(e));
		const struct gp_kept_config k =
			kept_config(e, cfg, &cfg->tables[i], places, block_elems);
		size += gp_rows_size(&r) + gp_kept_size(&k) +
			embed_point_uses_size(cfg, &cfg->tables[i]) + 3 * GP_CACHE_LINE;
	}
	return size;
}

const struct gp_job_table *embed_table_find(const struct gp_job_config *cfg, const char *name)
{
	for (uint32_t i = 0; i < cfg->tables_count; i++)
		if (strcmp(cfg->tables[i].name, name) == 0)
			return &cfg->tables[i];
	return NULL;
}

static int table_create(const struct gp_job *j, const struct job_core *jc, struct embed_table *t,
	uint32_t i, struct gp_arena *arena)
{
	t->cfg = embed_table_find(j->cfg, j->tensors[i].name);
	GP_ASSERT(t->cfg); // registration has seen to it
	const struct gp_rows_config rows =
		rows_config(j->cfg, t->cfg, j->by_cores.d, secret_of(j->engine));
	const struct gp_kept_config kept =
		kept_config(j->engine, j->cfg, t->cfg, jc->table.blocks_count, j->block_elems);
	void *rows_mem = gp_arena_take(arena, gp_rows_size(&rows), GP_CACHE_LINE);
	void *kept_mem = gp_arena_take(arena, gp_kept_size(&kept), GP_CACHE_LINE);
	size_t uses = embed_point_uses_size(j->cfg, t->cfg);
	if (uses > 0)
		t->uses = gp_arena_take(arena, uses, GP_CACHE_LINE);
	if (!rows_mem || !kept_mem || (uses > 0 && !t->uses))
		return -ENOMEM;
	t->rows_max = core_rows(t->cfg, j->by_cores.d);
	t->rows_room = rows.rows_max;
	t->kept_max = kept.copies_max;
	t->rows = gp_rows_init(rows_mem, &rows, &j->engine->grace);
	t->kept = gp_kept_init(kept_mem, &kept, 0);
	embed_point_shares(j->cfg, t);
	if (t->cfg->eviction != GP_ROWS_EVICT_STEP)
		return 0;
	// So that pushes in waiting never keep each other from becoming whole.
	t->push_max = (uint32_t)GP_MIN(t->rows_max / EVICT_SHARE / j->cfg->workers, UINT32_MAX);

	t->rank_has = gp_arena_take(arena, sizeof(uint32_t) * j->cfg->workers, GP_CACHE_LINE);
	return t->rank_has ? 0 : -ENOMEM;
}

int embed_core_create(struct gp_job *j, struct job_core *jc, uint32_t core, struct gp_arena *arena)
{
	(void)core;
	if (!cfg_embeds(j->cfg))
		return 0;
	struct embed_core *e = gp_arena_take(arena, sizeof(*e), GP_CACHE_LINE);
	if (!e)
		return -ENOMEM;
	size_t places = (size_t)jc->table.blocks_count * j->cfg->workers;
	jc->embed = e;
	e->tables_count = j->tensors_count;
	e->tables = gp_arena_take(arena, sizeof(e->tables[0]) * e->tables_count, GP_CACHE_LINE);
	e->place_holds = gp_arena_take(arena, sizeof(uint32_t) * places, GP_CACHE_LINE);
	e->ids = gp_arena_take(arena, sizeof(uint64_t) * EMBED_IDS_MAX, GP_CACHE_LINE);
	e->values = gp_arena_take(arena, sizeof(float) * EMBED_FLOATS_MAX, GP_CACHE_LINE);
	e->refused = gp_arena_take(arena, sizeof(bool) * EMBED_IDS_MAX, GP_CACHE_LINE);
	e->pull_ids = gp_arena_take(arena, sizeof(uint64_t) * EMBED_IDS_MAX, GP_CACHE_LINE);
	e->pull_values = gp_arena_take(arena, sizeof(float) * EMBED_FLOATS_MAX, GP_CACHE_LINE);
	e->state = gp_arena_take(arena, sizeof(float) * GP_ROWS_FLOATS_MAX, GP_CACHE_LINE);
	if (!e->tables || !e->place_holds || !e->state || !e->ids || !e->values || !e->refused ||
		!e->pull_ids || !e->pull_values)
		return -ENOMEM;
	for (uint32_t i = 0; i < e->tables_count; i++)
		if (table_create(j, jc, &e->tables[i], i, arena) != 0)
			return -ENOMEM;
	return 0;
}

void embed_blocks_fill(struct gp_job *j)
{
	for (uint32_t i = 0; i < j->blocks_count; i++) {
		struct job_core *jc = &j->cores[job_owner(j, i)];
		struct gp_block *b = &jc->table.blocks[job_local(j, i)];
		b->idx = i;
		b->elems = j->block_elems;
		if (jc->unit_blocks[0]++ == 0)
			j->unit_parts[0]++;
	}
}
