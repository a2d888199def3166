// SPDX-License-Identifier: BSD-3-Clause
#include "tables.h"

#include <stdio.h>
#include <stdlib.h>

static const struct gp_snapshot_rank ranks[] = {{0, 42}, {1, 7}};

void tables_init(struct tables *s, uint32_t step, bool rowwise)
{
	const uint64_t rows[TABLES_COUNT] = {TABLES_ROWS, 0, 33}, dims[TABLES_COUNT] = {5, 3, 1};
	static const char *const names[TABLES_COUNT] = {"words", "empty", "users"};
	*s = (struct tables){.states = {"sum"}};
	for (uint32_t t = 0; t < TABLES_COUNT; t++) {
		s->tensors[t] = (struct gp_snapshot_tensor){.name = names[t],
			.dims_count = 2,
			.dims = {rows[t], dims[t]},
			.elements = rows[t] * dims[t]};
		s->kinds[t] = (struct gp_snapshot_table){.bf16 = t == 2,
			.rows_max = 1000 + t,
			.initial = t == 0 ? "normal" : "zeros",
			.initial_scale = t == 0 ? 0.5 : 0,
			.seed = UINT64_C(0xfedcba9876543210),
			.eviction = t == 1 ? "age" : "none",
			.evict_after = t};
	}
	s->embed = (struct gp_snapshot_tables){
		.tables = s->kinds, .updates = 3 * step, .state_of_row = rowwise};
	s->meta = (struct gp_snapshot_meta){.product = "0.1.0",
		.job = SAMPLE_JOB,
		.job_id = 7,
		.kind = "embed",
		.optimizer = rowwise ? "rowwise_adagrad" : "adagrad",
		.generation = step,
		.step = step,
		.decision = 1000,
		.epoch = 3,
		.tensors_count = TABLES_COUNT,
		.tensors = s->tensors,
		.states_count = 1,
		.states = s->states,
		.block_elems = 8,
		.embed = &s->embed};
}

void tables_mix(struct tables *s)
{
	s->embed.mixed = true;
	s->embed.state_of_row = false;
	s->kinds[0].of_value = 1;
	s->kinds[2].of_row = 1;
}

uint64_t tables_id(uint32_t table, uint64_t row)
{
	return row * UINT64_C(0x0300000000000001) + table;
}

static uint32_t written(uint64_t row, uint32_t step)
{
	return row % 10 == 0 ? step : 1;
}

float tables_value(uint32_t file, uint64_t row, uint32_t k, uint32_t step)
{
	return (float)(written(row, step) * 1000 + file * 100 + row) + (float)k / 4;
}

// One row in all four files.
struct row {
	float values[2][8];
	uint64_t id;
	uint32_t step;
};

static uint32_t width_of(const struct tables *s, uint32_t table, uint32_t file)
{
	bool wide = s->embed.mixed ? s->kinds[table].of_value & 1 : !s->embed.state_of_row;
	return file == 1 && !wide ? 1 : (uint32_t)s->tensors[table].dims[1];
}

static void row_fill(const struct tables *s, uint32_t table, uint64_t row, struct row *x)
{
	for (uint32_t f = 0; f < 2; f++)
		for (uint32_t k = 0; k < width_of(s, table, f); k++)
			x->values[f][k] = tables_value(f, row, k, s->meta.step);
	x->id = tables_id(table, row);
	x->step = written(row, s->meta.step);
}

// Files take turns.
static int rows_append(
	struct gp_snapshot_writer *w, const struct tables *s, struct gp_snapshot_error *err)
{
	int rc = 0;
	for (uint32_t t = 0; t < TABLES_COUNT; t++)
		for (uint64_t i = 0; rc == 0 && i < s->tensors[t].dims[0]; i++) {
			struct row x;
			row_fill(s, t, i, &x);
			for (uint32_t f = 0; rc == 0 && f < 2; f++)
				rc = gp_snapshot_append(w, f, x.values[f], width_of(s, t, f), err);
			if (rc == 0)
				rc = gp_snapshot_append(w, 2, &x.id, 2, err);
			if (rc == 0)
				rc = gp_snapshot_append(w, 3, &x.step, 1, err);
		}
	return rc;
}

static bool rows_feed(struct gp_snapshot_delta *d, const struct tables *s)
{
	bool few = true;
	for (uint32_t t = 0; t < TABLES_COUNT; t++)
		for (uint64_t i = 0; i < s->tensors[t].dims[0]; i++) {
			struct row x;
			row_fill(s, t, i, &x);
			for (uint32_t f = 0; f < 2; f++)
				few &= gp_snapshot_delta_feed(d, f, x.values[f], width_of(s, t, f));
			few &= gp_snapshot_delta_feed(d, 2, &x.id, 2);
			few &= gp_snapshot_delta_feed(d, 3, &x.step, 1);
		}
	return few;
}

static int all_write(const char *dir, const struct tables *s, const struct gp_snapshot_opts *opts,
	struct gp_snapshot_error *err)
{
	const struct gp_snapshot_seal seal = {.digest = 99, .ranks_count = 2, .ranks = ranks};
	struct gp_snapshot_writer *w;
	int rc = gp_snapshot_begin(&s->meta, opts, dir, &w, err);
	if (rc != 0)
		return rc;
	rc = rows_append(w, s, err);
	if (rc == 0)
		return gp_snapshot_finish(w, &seal, NULL, err);
	gp_snapshot_abort(w);
	return rc;
}

int tables_write(const char *dir, const struct tables *s, uint32_t base_step, uint32_t level,
	bool *incremental, struct gp_snapshot_error *err)
{
	struct gp_snapshot_opts opts = {.level = level};
	struct gp_snapshot_delta *delta = NULL;
	if (base_step > 0) {
		char base[GP_SNAPSHOT_NAME_SIZE];
		snprintf(base, sizeof(base), "%s-%010u", SAMPLE_JOB, base_step);
		int rc = gp_snapshot_delta_open(&s->meta, dir, base, &delta, err);
		if (rc != 0)
			return rc;
		opts.delta = rows_feed(delta, s) ? delta : NULL;
	}
	*incremental = opts.delta != NULL;
	int rc = all_write(dir, s, &opts, err);
	gp_snapshot_delta_close(delta);
	return rc;
}

static bool embed_same(const struct gp_snapshot_tables *a, const struct gp_snapshot_tables *b)
{
	if (!a || a->updates != b->updates || a->state_of_row != b->state_of_row ||
		a->mixed != b->mixed)
		return false;
	for (uint32_t t = 0; t < TABLES_COUNT; t++) {
		const struct gp_snapshot_table *x = &a->tables[t], *y = &b->tables[t];
		if (x->bf16 != y->bf16 || x->rows_max != y->rows_max ||
			strcmp(x->initial, y->initial) != 0 || x->seed != y->seed ||
			x->initial_scale != y->initial_scale ||
			strcmp(x->eviction, y->eviction) != 0 || x->evict_after != y->evict_after ||
			x->of_value != y->of_value || x->of_row != y->of_row)
			return false;
	}
	return true;
}

bool tables_same(const struct gp_snapshot *snap, const struct tables *s)
{
	const struct gp_snapshot_meta *m = gp_snapshot_meta(snap);
	bool same = strcmp(m->kind, "embed") == 0 && m->states_count == 1 &&
		    m->tensors_count == TABLES_COUNT && m->step == s->meta.step &&
		    embed_same(m->embed, &s->embed) && gp_snapshot_seal(snap)->ranks_count == 2;
	for (uint32_t t = 0; same && t < TABLES_COUNT; t++) {
		const uint64_t *ids = gp_snapshot_ids(snap, t);
		const uint32_t *steps = gp_snapshot_steps(snap, t);
		same = m->tensors[t].dims[0] == s->tensors[t].dims[0];
		for (uint64_t i = 0; same && i < s->tensors[t].dims[0]; i++) {
			struct row x;
			row_fill(s, t, i, &x);
			same = ids[i] == x.id && steps[i] == x.step;
			for (uint32_t f = 0; same && f < 2; f++) {
				uint32_t width = width_of(s, t, f);
				same = memcmp(gp_snapshot_data(snap, f, t) + i * width, x.values[f],
					       sizeof(float) * width) == 0;
			}
		}
	}
	return same;
}
