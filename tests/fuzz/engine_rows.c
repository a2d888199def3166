// SPDX-License-Identifier: BSD-3-Clause
//
// Embed jobs under the engine's fuzzer: two small tables, so that they are full soon, places of
// rows that fit their core, table and codec, or what the tape says instead, and questions for rows.
#include "engine_world.h"

#include <embed.h>

#define ROWS_MAX   48
#define PLACE_SIZE (4 * 96) // bytes of a block

const uint64_t table_dims[TENSORS] = {3, 16};

void rows_job_choose(struct world *w, uint8_t a, uint8_t b)
{
	static const uint8_t modes[] = {GP_CONSIST_SSP, GP_CONSIST_ASP, GP_CONSIST_ADAPTIVE};
	static const enum gp_rows_eviction evictions[] = {
		GP_ROWS_EVICT_NONE, GP_ROWS_EVICT_STEP, GP_ROWS_EVICT_AGE, GP_ROWS_EVICT_NONE};
	struct gp_job_config *j = &w->job;
	j->kind = GP_KIND_EMBED;
	j->atomicity = GP_ATOM_STEP;
	j->consistency = modes[(w->how >> 4 & 7) % GP_ARRAY_SIZE(modes)];
	j->memory_max = (uint64_t)w->cores * (3 << 19);
	j->push_max = (uint64_t)PLACE_SIZE * (BLOCKS / w->cores);
	j->optim.kind = b & 128 ? GP_OPTIM_ROWWISE_ADAGRAD : GP_OPTIM_SGD;
	j->optim.epsilon = 1;
	j->tables_count = TENSORS;
	for (uint32_t t = 0; t < TENSORS; t++)
		j->tables[t] = (struct gp_job_table){.name = {(char)('a' + t)},
			.rows_max = ROWS_MAX,
			.dim = (uint32_t)table_dims[t],
			.bf16 = t == 1,
			.eviction = evictions[a >> 3 & 3],
			.evict_after = 2,
			.initial = t == 0 ? GP_ROWS_ZEROS : GP_ROWS_UNIFORM,
			.initial_scale = 1,
			.kept_percent = a & 128 ? 10 : 100};
}

// The next rows of the core from `id` on.
static uint64_t ids_put(
	const struct world *w, uint32_t core, uint32_t table, uint64_t id, uint32_t n, uint8_t *at)
{
	for (uint32_t i = 0; i < n; id++)
		if (gp_rows_owner(table, id, w->cores) == core)
			gp_store64(at + 8 * (size_t)i++, id);
	return id;
}

static uint8_t codec_choose(uint8_t how)
{
	static const uint8_t codecs[] = {GP_CODEC_F32, GP_CODEC_BF16, GP_CODEC_F16, GP_CODEC_F32};
	return codecs[how & 3];
}

// What no client sends: another table, count or codec, ids in no order, a length of its own.
static void place_bend(struct input *in, struct gp_section *s, uint8_t *at)
{
	uint32_t mask = input_u8(in);
	gp_store16(at, (uint16_t)input_field(in, mask, 0, gp_load16(at)));
	gp_store16(at + 2, (uint16_t)input_field(in, mask, 1, gp_load16(at + 2)));
	gp_store32(at + 4, (uint32_t)input_field(in, mask, 2, gp_load32(at + 4)));
	uint8_t *id = at + GP_WIRE_ROWS_PUSH_HEAD;
	gp_store64(id, input_field(in, mask, 3, gp_load64(id)));
	if (mask & 16)
		s->len = (uint16_t)(4 * (input_u8(in) % 170));
	if (mask & 32)
		s->codec = input_u8(in) % 32;
	s->run = (uint16_t)input_field(in, mask, 6, s->run);
}

uint32_t rows_place_put(struct world *w, uint32_t core, struct gp_section *s, uint8_t *at)
{
	uint8_t how = input_u8(&w->in), first = input_u8(&w->in), value = input_u8(&w->in);
	uint32_t table = how & 1, n = 1 + (how >> 1 & 7), dim = (uint32_t)table_dims[table];
	uint8_t codec = codec_choose(how >> 4);
	memset(at, 0, ROWS_PLACE_MAX);
	gp_rows_push_begin(at, (uint16_t)table, (uint16_t)n, codec);
	(void)ids_put(w, core, table, first, n, at + GP_WIRE_ROWS_PUSH_HEAD);
	uint32_t values = n * dim * gp_rows_value_size(codec);
	memset(at + GP_WIRE_ROWS_PUSH_HEAD + 8 * (size_t)n, value, values);
	s->codec = GP_WIRE_CODEC_ROWS;
	s->weight = 1;
	s->run = 1;
	s->len = (uint16_t)gp_rows_push_size(n, dim, codec);
	if (how & 128)
		place_bend(&w->in, s, at);
	GP_ASSERT(s->len <= ROWS_PLACE_MAX);
	return s->len;
}

// Of the newest generation, or of one before it.
static uint32_t generation_choose(const struct world *w, uint32_t core, uint8_t how)
{
	const struct job_core *jc = world_job(w, core);
	if (!jc || !jc->job->home->async || jc->job->home->async->cuts_count == 0)
		return how & 3;
	const struct async_home *a = jc->job->home->async;
	uint32_t back = GP_MIN(how & 3u, a->cuts_count - 1);
	return a->cuts[a->cuts_count - 1 - back].generation;
}

uint32_t rows_pull_put(struct world *w, uint32_t core, uint8_t *body, uint32_t *generation)
{
	uint8_t how = input_u8(&w->in), first = input_u8(&w->in);
	uint32_t table = how & 1, n = 1 + (how >> 1 & 7);
	struct gp_rows_head x = {.request = first,
		.place = how >> 6,
		.table = (uint16_t)table,
		.n = (uint16_t)n,
		.dim = (uint16_t)table_dims[table],
		.codec = how & 16 ? GP_CODEC_BF16 : GP_CODEC_F32};
	*generation = generation_choose(w, core, how >> 5);
	uint32_t at = gp_wire_put_rows(body, &x);
	(void)ids_put(w, core, table, first, n, body + at);
	if (how & 128) {
		uint32_t mask = input_u8(&w->in);
		x.table = (uint16_t)input_field(&w->in, mask, 0, x.table);
		x.n = (uint16_t)input_field(&w->in, mask, 1, x.n);
		x.dim = (uint16_t)input_field(&w->in, mask, 2, x.dim);
		x.codec = (uint8_t)input_field(&w->in, mask, 3, x.codec);
		*generation = (uint32_t)input_field(&w->in, mask, 4, *generation);
		gp_store64(body + at, input_field(&w->in, mask, 5, gp_load64(body + at)));
		if (mask & 64) // so many are there
			n = x.n = (uint16_t)(input_u8(&w->in) % ROWS_PULL_MAX);
		(void)gp_wire_put_rows(body, &x);
	}
	return at + 8 * n;
}

// ---- what must always be true

// What is held for pushes in waiting is what their places hold, and there is room for it.
static void table_check(const struct job_core *jc, uint32_t t)
{
	const struct embed_table *x = &jc->embed->tables[t];
	uint64_t rows = atomic_load_explicit(&gp_rows_stats(x->rows)->rows, memory_order_relaxed);
	GP_ASSERT(rows <= x->rows_max);
	GP_ASSERT(gp_kept_count(x->kept) <= x->kept_max);
	if (x->cfg->eviction == GP_ROWS_EVICT_NONE)
		GP_ASSERT(atomic_load_explicit(&x->lost, memory_order_relaxed) == 0);
}

void rows_check(const struct world *w)
{
	for (uint32_t i = 0; i < w->cores; i++) {
		const struct job_core *jc = world_job(w, i);
		if (!jc || !jc->embed)
			continue;
		uint64_t held = 0, of_places = 0;
		for (uint32_t t = 0; t < jc->embed->tables_count; t++) {
			table_check(jc, t);
			held += jc->embed->tables[t].held;
		}
		uint32_t places = jc->table.blocks_count * w->job.workers;
		for (uint32_t p = 0; p < places; p++)
			of_places += jc->embed->place_holds[p];
		GP_ASSERT(held == of_places);
	}
}
