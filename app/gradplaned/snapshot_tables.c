// SPDX-License-Identifier: BSD-3-Clause
//
// The rows of an embed job's tables as one cut has them, while pushes go on: first the ids of all
// rows, sorted; then row after row. Memory: 8 bytes for each row of a table, as much again while
// they are sorted, and a megabyte.
#include "snapshot_plan.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define IDS_MORE    8192u // that one call may tell, and more
#define PIECE_WORDS 65536u
#define AGAIN_NS    500000
#define NONE	    UINT32_MAX

// A core is in the middle of something, perhaps without a CPU.
static void wait_a_little(void)
{
	const struct timespec t = {.tv_nsec = AGAIN_NS};
	gp_rcu_offline();
	nanosleep(&t, NULL);
	gp_rcu_online();
}

// ---- ids

struct ids {
	uint64_t *at;
	uint64_t count;
	uint64_t room;
};

static void on_id(void *arg, uint64_t id)
{
	struct ids *x = arg;
	GP_ASSERT(x->count < x->room);
	x->at[x->count++] = id;
}

static bool ids_room(struct ids *x)
{
	if (x->count + IDS_MORE <= x->room)
		return true;
	uint64_t room = x->room + x->room / 2 + IDS_MORE;
	uint64_t *grown = realloc(x->at, sizeof(*grown) * room);
	if (!grown)
		return false;
	x->at = grown;
	x->room = room;
	return true;
}

static int id_compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	return (*x > *y) - (*x < *y);
}

static uint64_t ids_sort(uint64_t *ids, uint64_t count)
{
	uint64_t n = 0;
	qsort(ids, count, sizeof(ids[0]), id_compare);
	for (uint64_t i = 0; i < count; i++)
		if (n == 0 || ids[n - 1] != ids[i])
			ids[n++] = ids[i];
	return n;
}

static int ids_collect(struct node *n, struct snapshot_task *t, uint32_t table, struct ids *x)
{
	struct gp_table_ids told = {.id_seen = on_id, .arg = x};
	for (int rc = 1; rc != 0;) {
		if (snapshot_given_up(n, t) != 0)
			return -ECANCELED;
		if (!ids_room(x))
			return snapshot_task_failed(t, -ENOMEM, "no memory for the ids of rows");
		gp_rcu_online();
		rc = gp_engine_table_ids(n->engine, t->job_idx, table, t->step, &told);
		if (rc == -EAGAIN)
			wait_a_little();
		gp_rcu_offline();
		if (rc < 0 && rc != -EAGAIN)
			return snapshot_task_failed(t, rc, "the generation is gone");
	}
	return 0;
}

static int table_plan(struct node *n, struct snapshot_task *t, struct plan *p, uint32_t i)
{
	struct plan_table *x = &p->tables[i];
	gp_rcu_online();
	bool there = gp_engine_table_cut(n->engine, t->job_idx, i, t->step, &x->cut);
	gp_rcu_offline();
	if (!there)
		return snapshot_task_failed(t, -ENOENT, "the generation is gone");
	struct ids ids = {.room = x->cut.rows + IDS_MORE};
	ids.at = malloc(sizeof(ids.at[0]) * ids.room);
	if (!ids.at)
		return snapshot_task_failed(t, -ENOMEM, "no memory for the ids of rows");
	int rc = ids_collect(n, t, i, &ids);
	x->ids = ids.at;
	x->count = rc == 0 ? ids_sort(ids.at, ids.count) : 0;
	if (rc == 0 && x->count != x->cut.rows)
		rc = snapshot_task_failed(t, -EIO, "rows of the generation are missing");
	return rc;
}

// ---- the manifest

static enum gp_optim_kind table_optim(const struct gp_config_job *job, const char *name)
{
	const struct gp_config_table *t = restore_table_config(job, name);
	GP_ASSERT(t);
	return gp_config_table_optim(job, t).kind;
}

static void table_describe(struct plan *p, uint32_t i)
{
	static const char *const initials[] = {[GP_ROWS_ZEROS] = "zeros",
		[GP_ROWS_UNIFORM] = "uniform",
		[GP_ROWS_NORMAL] = "normal"};
	static const char *const evictions[] = {[GP_ROWS_EVICT_NONE] = "none",
		[GP_ROWS_EVICT_AGE] = "age",
		[GP_ROWS_EVICT_STEP] = "step"};
	const struct gp_job_table *c = p->tables[i].cut.cfg;
	struct gp_snapshot_tensor *t = &p->tensors[i];
	p->kinds[i] = (struct gp_snapshot_table){.bf16 = c->bf16,
		.rows_max = c->rows_max,
		.initial = initials[c->initial],
		.initial_scale = (double)c->initial_scale,
		.seed = c->seed,
		.eviction = evictions[c->eviction],
		.evict_after = c->evict_after};
	t->dims_count = 2;
	t->dims[0] = p->tables[i].count;
	t->dims[1] = c->dim;
	t->elements = t->dims[0] * t->dims[1];
}

// The arrays of all tables' optimizers, each named once.
static uint32_t state_index(struct plan *p, const char *name)
{
	uint32_t k = 0;
	while (k < p->meta.states_count && strcmp(p->states[k], name) != 0)
		k++;
	GP_ASSERT(k < GP_ARRAY_SIZE(p->states)); // the configuration's check has seen to it
	p->states[k] = name;
	p->meta.states_count = GP_MAX(p->meta.states_count, k + 1);
	return k;
}

static void states_describe(struct plan *p, const struct gp_config_job *job)
{
	uint32_t of_row = 0, of_value = 0, n = p->meta.tensors_count;
	p->meta.states_count = 0;
	for (uint32_t i = 0; i < n; i++) {
		enum gp_optim_kind kind = table_optim(job, p->tensors[i].name);
		struct gp_snapshot_table *x = &p->kinds[i];
		if (gp_optim_is_rowwise(kind))
			x->of_row |= 1u << state_index(p, "sum");
		for (uint32_t k = 0; k < gp_optim_states(kind); k++)
			x->of_value |= 1u << state_index(p, gp_optim_state_name(kind, k));
		p->embed.mixed |= i > 0 && (x->of_row != of_row || x->of_value != of_value);
		of_row = x->of_row;
		of_value = x->of_value;
	}
	p->embed.state_of_row = !p->embed.mixed && of_row != 0;
}

int snapshot_tables_plan(struct node *n, struct snapshot_task *t, struct plan *p)
{
	const struct gp_config_job *job = &n->cfg.jobs[t->job_idx];
	GP_ASSERT(p->meta.tensors_count <= GP_ENGINE_TABLES_MAX);
	for (uint32_t i = 0; i < p->meta.tensors_count; i++) {
		int rc = table_plan(n, t, p, i);
		if (rc != 0)
			return rc;
		table_describe(p, i);
	}
	p->embed = (struct gp_snapshot_tables){
		.tables = p->kinds, .updates = p->tables[0].cut.updates};
	p->meta.embed = &p->embed;
	states_describe(p, job);
	return 0;
}

void snapshot_tables_free(struct plan *p)
{
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(p->tables); i++)
		free(p->tables[i].ids);
}

// ---- rows

// Some rows, file by file.
struct piece {
	uint32_t rows_max;
	uint32_t dim, state; // of a row
	uint32_t arrays;
	uint32_t width[GP_SNAPSHOT_STATES_MAX]; // of each array
	uint32_t from[GP_SNAPSHOT_STATES_MAX];	// where it begins in the row's state; NONE: zeros
	float *rows;				// [rows_max][dim + state]
	float *values;				// [rows_max][dim]
	float *states;				// [arrays][rows_max][width of the array]
	uint32_t *steps;
};

static void arrays_fill(struct piece *x, const struct plan *p, uint32_t table)
{
	const struct gp_snapshot_table *t = &p->kinds[table];
	uint32_t from = 0;
	x->arrays = p->meta.states_count;
	for (uint32_t k = 0; k < x->arrays; k++) {
		bool has = (t->of_value | t->of_row) >> k & 1;
		x->width[k] = t->of_value >> k & 1 ? x->dim : 1;
		x->from[k] = has ? from : NONE;
		from += has ? x->width[k] : 0;
	}
	GP_ASSERT(from == x->state);
}

static bool piece_init(struct piece *x, const struct plan *p, uint32_t table)
{
	const struct gp_table_cut *cut = &p->tables[table].cut;
	*x = (struct piece){.dim = cut->cfg->dim, .state = cut->state};
	arrays_fill(x, p, table);
	// What the table has not is one zero a row.
	x->rows_max = GP_MAX(PIECE_WORDS / (x->dim + x->state + x->arrays + 1), 1u);
	size_t floats = (size_t)(x->dim + x->state + x->arrays) * x->rows_max;
	x->rows = calloc(1, sizeof(float) * 2 * floats + sizeof(uint32_t) * x->rows_max);
	if (!x->rows)
		return false;
	x->values = x->rows + floats;
	x->states = x->values + (size_t)x->dim * x->rows_max;
	x->steps = (uint32_t *)(void *)(x->states + (size_t)(x->state + x->arrays) * x->rows_max);
	return true;
}

static float *piece_array(const struct piece *x, uint32_t array)
{
	float *at = x->states;
	for (uint32_t k = 0; k < array; k++)
		at += (size_t)x->width[k] * x->rows_max;
	return at;
}

static void row_place(struct piece *x, uint32_t i)
{
	const float *row = x->rows + (size_t)i * (x->dim + x->state);
	memcpy(x->values + (size_t)i * x->dim, row, sizeof(float) * x->dim);
	for (uint32_t k = 0; k < x->arrays; k++)
		if (x->from[k] != NONE)
			memcpy(piece_array(x, k) + (size_t)i * x->width[k],
				row + x->dim + x->from[k], sizeof(float) * x->width[k]);
}

static int rows_read(struct node *n, struct snapshot_task *t, uint32_t table, const uint64_t *ids,
	uint32_t count, struct piece *x)
{
	int rc = 0;
	size_t floats = x->dim + x->state;
	gp_rcu_online();
	for (uint32_t i = 0; i < count && (rc == 0 || rc == -EAGAIN);) {
		const struct gp_table_want want = {.table = table,
			.n = count - i,
			.ids = ids + i,
			.rows = x->rows + i * floats,
			.steps = x->steps + i};
		if (rc == -EAGAIN)
			wait_a_little();
		i += gp_engine_table_rows(n->engine, t->job_idx, t->step, &want, &rc);
	}
	gp_rcu_offline();
	for (uint32_t i = 0; i < count; i++)
		row_place(x, i);
	return rc == 0 ? 0 : snapshot_task_failed(t, rc, "a row of the generation is gone");
}

static int piece_take(struct walk *w, const struct plan *p, const struct piece *x,
	const uint64_t *ids, uint32_t count)
{
	const struct gp_snapshot_meta *m = &p->meta;
	int rc = w->take(w, 0, x->values, (uint64_t)count * x->dim);
	for (uint32_t k = 0; rc == 0 && k < m->states_count; k++)
		rc = w->take(w, 1 + k, piece_array(x, k), (uint64_t)count * x->width[k]);
	if (rc == 0)
		rc = w->take(w, gp_snapshot_ids_file(m), ids, 2 * (uint64_t)count);
	return rc == 0 ? w->take(w, gp_snapshot_steps_file(m), x->steps, count) : rc;
}

static int table_walk(struct node *n, struct walk *w, const struct plan *p, uint32_t table)
{
	struct snapshot_task *t = w->task;
	const struct plan_table *from = &p->tables[table];
	struct piece x;
	int rc = 0;
	if (!piece_init(&x, p, table))
		return snapshot_task_failed(t, -ENOMEM, "no memory for rows");
	for (uint64_t at = 0; rc == 0 && at < from->count; at += x.rows_max) {
		uint32_t count = (uint32_t)GP_MIN(from->count - at, x.rows_max);
		rc = snapshot_given_up(n, t);
		if (rc == 0)
			rc = rows_read(n, t, table, from->ids + at, count, &x);
		for (uint32_t i = 0; rc == 0 && w->writer && i < count; i++)
			t->digest += gp_engine_row_digest(table, t->step, from->ids[at + i],
				x.values + (size_t)i * x.dim, x.dim);
		if (rc == 0)
			rc = piece_take(w, p, &x, from->ids + at, count);
	}
	free(x.rows);
	return rc;
}

int snapshot_tables_walk(struct node *n, struct walk *w, const struct plan *p)
{
	int rc = 0;
	for (uint32_t i = 0; rc == 0 && i < p->meta.tensors_count; i++)
		rc = table_walk(n, w, p, i);
	return rc;
}
