// SPDX-License-Identifier: BSD-3-Clause
#include "pair_rows.h"

#include "pair.h"

#include <gp_backup_rows.h>
#include <stdlib.h>

#define JOB_ID	 1
#define EMBED_ID 3000 // of its draws
#define MEMORY	 (UINT64_C(24) << 20)

static uint32_t draw(const struct pair_sim *s, uint32_t what, uint32_t bound)
{
	uint64_t x = rng_mix(rng_mix(s->seed * 2 + 1) ^ rng_mix(EMBED_ID + what));
	return (uint32_t)rng_scale(x, bound);
}

static uint64_t row_id(const struct pair_sim *s, uint32_t t, uint32_t row)
{
	return rng_mix(s->seed ^ rng_mix((uint64_t)t << 32 | row));
}

static uint32_t rows_of(const struct pair_sim *s, uint32_t t)
{
	return s->model.elems[t] / s->model.dim[t];
}

// ---- what a history is made of

void pair_rows_choose(struct pair_sim *s)
{
	struct sim_opts *o = &s->o;
	if (o->consistency == GP_CONSIST_QUORUM || draw(s, 0, 3) != 0)
		return;
	o->embed = true;
	o->train = false;
	o->atomicity = GP_ATOM_STEP;
	o->kept_percent = 1 + draw(s, 1, 100);
	s->evicts = draw(s, 2, 3) == 0;
}

void pair_rows_job(struct pair_sim *s)
{
	struct gp_job_config *j = &s->job;
	uint64_t bytes = 16 * (uint64_t)s->o.payload_max;
	j->kind = GP_KIND_EMBED;
	j->memory_max = MEMORY;
	j->tables_count = s->model.tensors_count;
	for (uint32_t t = 0; t < j->tables_count; t++) {
		struct gp_job_table *x = &j->tables[t];
		*x = (struct gp_job_table){.rows_max = rows_of(s, t) * (1 + (uint64_t)s->o.workers),
			.dim = s->model.dim[t],
			.kept_percent = s->o.kept_percent};
		if (s->evicts)
			x->eviction = GP_ROWS_EVICT_AGE;
		x->evict_after = s->evicts ? 1 + draw(s, 3 + t, 6) : 0;
		x->evict_reads = s->evicts && draw(s, 50 + t, 2);
		(void)snprintf(x->name, sizeof(x->name), "t%u", t);
		bytes += rows_of(s, t) * (8 + 4 * (uint64_t)x->dim);
	}
	j->push_max = 2 * bytes; // places are not filled to the last byte
}

void pair_rows_layout(const struct pair_node *n, uint32_t table, struct gp_image_tensor *to)
{
	struct gp_backup_room room;
	if (!gp_backup_table_room(n->engine, 0, table, &room))
		return;
	to->state = room.state;
	to->rows = room.rows;
	to->changes = room.changes;
}

// ---- a worker

static bool has_own(const float *row, uint32_t dim)
{
	for (uint32_t k = 0; k < dim; k++)
		if (row[k] != 0.0f)
			return true;
	return false;
}

static bool table_push(struct pair_worker *w, uint32_t t, uint32_t step)
{
	struct pair_sim *s = w->s;
	uint64_t ids[MODEL_ROWS_MAX];
	uint32_t dim = s->model.dim[t], n = 0;
	float *grad = w->grad + s->model.from[t];
	pair_async_give(s, w->rank, step, t, grad);
	for (uint32_t r = 0; r < rows_of(s, t); r++) {
		if (!has_own(grad + r * dim, dim))
			continue;
		memmove(grad + n * dim, grad + r * dim, sizeof(float) * dim);
		ids[n++] = row_id(s, t, r);
	}
	const struct gp_client_rows x = {.table = t, .count = n, .ids = ids, .values = grad};
	return gp_ccore_push_rows(w->core, &x, 1) == 0;
}

static bool call_failed(const struct pair_worker *w, const char *what)
{
	if (!gp_ccore_error(w->core))
		pair_broken(w->s, "worker %u: %s: %s", w->rank, what, gp_ccore_last(w->core)->text);
	return false;
}

bool pair_rows_push(struct pair_worker *w, uint32_t step)
{
	for (uint32_t t = 0; t < w->s->model.tensors_count; t++)
		if (!table_push(w, t, step))
			return call_failed(w, "push of rows");
	gp_ccore_rows_seal(w->core);
	return true;
}

bool pair_rows_pull(struct pair_worker *w)
{
	static uint64_t ids[MODEL_TENSORS_MAX][MODEL_ROWS_MAX];
	struct gp_client_rows rows[MODEL_TENSORS_MAX];
	struct pair_sim *s = w->s;
	for (uint32_t t = 0; t < s->model.tensors_count; t++) {
		for (uint32_t r = 0; r < rows_of(s, t); r++)
			ids[t][r] = row_id(s, t, r);
		rows[t] = (struct gp_client_rows){.table = t,
			.count = rows_of(s, t),
			.ids = ids[t],
			.values = w->params + s->model.from[t]};
	}
	return gp_ccore_pull_rows(w->core, rows, s->model.tensors_count) == 0 ||
	       call_failed(w, "pull of rows");
}

// ---- what nodes hold

// The model's tensor of a table.
static uint32_t tensor_of(const char *name)
{
	return (uint32_t)strtoul(name + 1, NULL, 10);
}

bool pair_rows_image(const struct pair_node *n, float *to)
{
	const struct pair_sim *s = n->s;
	struct gp_restore x;
	if (gp_image_restore(n->image, JOB_ID, &x) != 0)
		return false;
	for (uint32_t i = 0; i < x.tensors_count; i++) {
		uint32_t t = tensor_of(x.tensors[i].name), dim = s->model.dim[t], step;
		for (uint32_t r = 0; r < rows_of(s, t); r++) {
			float *at = to + s->model.from[t] + r * dim;
			const float *row =
				gp_image_row(n->image, JOB_ID, i, row_id(s, t, r), &step);
			if (row)
				memcpy(at, row, sizeof(float) * dim);
			else
				memset(at, 0, sizeof(float) * dim);
		}
	}
	return true;
}

bool pair_rows_engine(const struct pair_node *n, uint32_t generation, float *to)
{
	const struct pair_sim *s = n->s;
	struct gp_backup_tables x;
	struct gp_tensor_view v;
	if (!gp_backup_tables(n->engine, 0, generation, &x))
		return false;
	for (uint32_t i = 0; i < x.count && gp_engine_tensor_view(n->engine, 0, i, &v); i++) {
		uint32_t t = tensor_of(v.name), dim = s->model.dim[t], step, used;
		for (uint32_t r = 0; r < rows_of(s, t); r++) {
			float *at = to + s->model.from[t] + r * dim, row[2 * MODEL_DIM_MAX];
			int rc = gp_backup_row(
				n->engine, 0, i, generation, row_id(s, t, r), row, &step, &used);
			memset(at, 0, sizeof(float) * dim);
			if (rc == 0)
				memcpy(at, row, sizeof(float) * dim);
		}
	}
	return true;
}
