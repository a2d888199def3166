// SPDX-License-Identifier: BSD-3-Clause
#include "rows.h"

#include <embed.h>
#include <engine_priv.h>
#include <stdlib.h>

#define ROWS_PER_CALL 7

static uint64_t row_id(const struct sim *s, uint32_t t, uint32_t row)
{
	return rng_mix(s->o->seed ^ rng_mix((uint64_t)t << 32 | row));
}

static uint32_t rows_of(const struct sim *s, uint32_t t)
{
	return s->model.elems[t] / s->model.dim[t];
}

// ---- the job

void rows_job(const struct sim *s, struct gp_job_config *j)
{
	const struct sim_opts *o = s->o;
	uint64_t bytes = 16 * (uint64_t)o->payload_max;
	j->kind = GP_KIND_EMBED;
	j->tables_count = s->model.tensors_count;
	for (uint32_t t = 0; t < j->tables_count; t++) {
		j->tables[t] = (struct gp_job_table){
			.rows_max = rows_of(s, t) * (1 + (uint64_t)o->workers),
			.dim = s->model.dim[t],
			.kept_percent = o->kept_percent}; // each push in waiting may make all rows
		(void)snprintf(j->tables[t].name, sizeof(j->tables[t].name), "t%u", t);
		bytes += rows_of(s, t) * (8 + 4 * (uint64_t)s->model.dim[t]);
	}
	j->push_max = 2 * bytes; // places are not filled to the last byte
}

uint64_t rows_memory(const struct sim *s)
{
	const struct sim_opts *o = s->o;
	struct gp_job_config j = {.workers = o->workers};
	rows_job(s, &j);
	uint64_t tables = (uint64_t)o->cores * j.tables_count * (3 << 20);
	return tables + o->cores * (1 + (uint64_t)o->workers) * (2 * j.push_max + (1 << 16));
}

// ---- where a restored job begins

#define UPDATES (UINT32_C(0x7fffffff) - 40) // they cross the sign of a difference

static bool is_zero(const float *row, uint32_t dim)
{
	for (uint32_t k = 0; k < dim; k++)
		if (row[k] != 0)
			return false;
	return true;
}

void rows_restore(
	const struct sim *s, uint32_t t, const float *values, struct gp_restore_tensor *out)
{
	static uint64_t ids[MODEL_TENSORS_MAX][MODEL_ROWS_MAX], dims[MODEL_TENSORS_MAX];
	static uint32_t steps[MODEL_TENSORS_MAX][MODEL_ROWS_MAX];
	static float there[MODEL_TENSORS_MAX][MODEL_ROWS_MAX * MODEL_DIM_MAX];
	static struct gp_restore_rows rows[MODEL_TENSORS_MAX];
	uint32_t n = 0, dim = s->model.dim[t];
	for (uint32_t r = 0; r < rows_of(s, t); r++) {
		if (is_zero(values + r * dim, dim))
			continue;
		memcpy(there[t] + n * dim, values + r * dim, sizeof(float) * dim);
		ids[t][n] = row_id(s, t, r);
		steps[t][n++] = UPDATES - r - (r % 5 == 0 ? UINT32_C(0x90000000) : 0);
	}
	dims[t] = dim;
	rows[t] = (struct gp_restore_rows){
		.count = n, .ids = ids[t], .steps = steps[t], .updates = UPDATES};
	out->dims = &dims[t];
	out->values = there[t];
	out->states[0] = NULL;
	out->rows = &rows[t];
}

// ---- a worker

static bool has_own(const struct sim *s, uint32_t rank, uint32_t from, uint32_t dim)
{
	for (uint32_t k = 0; k < dim; k++)
		if ((from + k) % s->o->workers == rank)
			return true;
	return false;
}

// Whole numbers: what is taken away in one call and given in the next is the same in the end.
static void gradient_split(const struct sim *s, const struct sim_node *n, uint32_t from,
	uint32_t dim, float *first, float *second)
{
	uint32_t step = gp_ccore_step(n->core);
	for (uint32_t k = 0; k < dim; k++) {
		float g = -ledger_gradient(s->o, n->idx, step, from + k);
		second[k] = g != 0 && (from & 1) ? -1.0f : 0.0f;
		first[k] = g - second[k];
	}
}

static bool table_push(struct sim *s, struct sim_node *n, uint32_t t)
{
	uint32_t dim = s->model.dim[t], count = 0;
	uint64_t ids[2 * ROWS_PER_CALL];
	float values[2 * ROWS_PER_CALL * MODEL_DIM_MAX];
	const struct gp_client_rows x = {.table = t, .ids = ids, .values = values};
	for (uint32_t r = 0; r <= rows_of(s, t); r++) {
		if (r == rows_of(s, t) || count + 2 > GP_ARRAY_SIZE(ids)) {
			struct gp_client_rows part = x;
			part.count = count;
			if (gp_ccore_push_rows(n->core, &part, 1) != 0)
				return false;
			count = 0;
		}
		uint32_t from = s->model.from[t] + r * dim;
		if (r == rows_of(s, t) || !has_own(s, n->idx, from, dim))
			continue;
		ids[count] = ids[count + 1] = row_id(s, t, r);
		gradient_split(s, n, from, dim, values + count * dim, values + (count + 1) * dim);
		count += 2;
	}
	return true;
}

void rows_push(struct sim *s, struct sim_node *n)
{
	for (uint32_t t = 0; t < s->model.tensors_count; t++)
		if (!table_push(s, n, t)) {
			if (!gp_ccore_error(n->core))
				sim_broken(s, "worker %u: push of rows: %s", n->idx,
					gp_ccore_last(n->core)->text);
			return;
		}
	gp_ccore_rows_seal(n->core);
	for (uint32_t t = 0; t < s->model.tensors_count; t++)
		oracle_contribution(&s->oracle, n->idx, n->life, gp_ccore_step(n->core), t,
			n->grad + s->model.from[t]);
	n->pushed = s->model.tensors_count;
	n->phase = NODE_STEP;
}

bool rows_pull(struct sim *s, struct sim_node *n)
{
	static uint64_t ids[MODEL_TENSORS_MAX][MODEL_ROWS_MAX];
	struct gp_client_rows rows[MODEL_TENSORS_MAX];
	for (uint32_t t = 0; t < s->model.tensors_count; t++) {
		GP_ASSERT(rows_of(s, t) <= MODEL_ROWS_MAX);
		for (uint32_t r = 0; r < rows_of(s, t); r++)
			ids[t][r] = row_id(s, t, r);
		rows[t] = (struct gp_client_rows){.table = t,
			.count = rows_of(s, t),
			.ids = ids[t],
			.values = n->params + s->model.from[t]};
	}
	if (gp_ccore_pull_rows(n->core, rows, s->model.tensors_count) == 0)
		return true;
	if (!gp_ccore_error(n->core))
		sim_broken(s, "client %u: pull of rows: %s", n->host, gp_ccore_last(n->core)->text);
	return false;
}

// ---- the end

// The model's tensor of table t in the job's order.
static uint32_t tensor_of(const struct gp_job *j, uint32_t t)
{
	return (uint32_t)strtoul(j->tensors[t].name + 1, NULL, 10);
}

// ---- cuts

struct told {
	uint32_t count;
	uint64_t ids[2 * MODEL_ROWS_MAX * (1 + SIM_WORKERS_MAX)];
};

static void on_id(void *arg, uint64_t id)
{
	struct told *x = arg;
	GP_ASSERT(x->count < GP_ARRAY_SIZE(x->ids));
	x->ids[x->count++] = id;
}

static int id_compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	return (*x > *y) - (*x < *y);
}

// Rows of table n that are in the generation; their values into `to`, one row after the other.
static uint32_t cut_rows(struct sim *s, uint32_t n, uint32_t t, uint32_t generation,
	const struct gp_table_cut *cut, float *to)
{
	static struct told told;
	struct gp_table_ids ids = {.id_seen = on_id, .arg = &told};
	uint32_t count = 0, step, dim = s->model.dim[t];
	int rc = 1;
	told.count = 0;
	while (rc == 1)
		rc = gp_engine_table_ids(s->engine, 0, n, generation, &ids);
	qsort(told.ids, told.count, sizeof(told.ids[0]), id_compare);
	for (uint32_t r = 0; rc == 0 && r < rows_of(s, t); r++) {
		float row[MODEL_DIM_MAX];
		uint64_t id = row_id(s, t, r);
		const struct gp_table_want want = {
			.table = n, .n = 1, .ids = &id, .rows = row, .steps = &step};
		int read;
		(void)!gp_engine_table_rows(s->engine, 0, generation, &want, &read);
		bool was_told = bsearch(&id, told.ids, told.count, sizeof(id), id_compare);
		if ((read == 0) != was_told)
			sim_broken(s, "row %u of table %u: it is %stold, and reading it says %d", r,
				t, read == 0 ? "not " : "", read);
		if (read != 0)
			continue;
		count++;
		memcpy(to + r * dim, row, sizeof(float) * dim);
		if (cut->updates - step > UINT32_C(0xa0000000)) // later, not long ago
			sim_broken(s, "row %u of table %u is of commit %u, the cut of %u", r, t,
				step, cut->updates);
	}
	return rc == 0 ? count : UINT32_MAX;
}

void rows_cut(struct sim *s, uint32_t generation, const char *who)
{
	const struct gp_job *j = gp_rcu_dereference(&s->engine->jobs[SIM_JOB_ID]);
	float *seen = calloc(s->model.elems_total, sizeof(float));
	GP_ASSERT(seen);
	for (uint32_t n = 0; n < j->tensors_count; n++) {
		struct gp_table_cut cut;
		uint32_t t = tensor_of(j, n), count;
		if (!gp_engine_table_cut(s->engine, 0, n, generation, &cut)) {
			sim_broken(s, "%s at generation %u: table %u is gone", who, generation, t);
			break;
		}
		count = cut_rows(s, n, t, generation, &cut, seen + s->model.from[t]);
		// Corruption that nothing detects may have made rows that are not the model's.
		if (s->oracle.off ? count > cut.rows : count != cut.rows)
			sim_broken(s, "%s at generation %u: %u rows of table %u, there were %llu",
				who, generation, count, t, (unsigned long long)cut.rows);
	}
	if (!s->oracle.off)
		ledger_check(&s->oracle.ledger, seen, generation, 0, who, generation);
	free(seen);
}

void rows_final(struct sim *s, const struct gp_job *j)
{
	float *seen = calloc(s->model.elems_total, sizeof(float));
	GP_ASSERT(seen);
	for (uint32_t n = 0; n < j->tensors_count; n++) {
		uint32_t t = tensor_of(j, n), step;
		for (uint32_t r = 0; r < rows_of(s, t); r++) {
			uint64_t id = row_id(s, t, r);
			const struct job_core *jc = &j->cores[gp_rows_owner(n, id, s->o->cores)];
			float *to = seen + s->model.from[t] + r * s->model.dim[t];
			(void)!gp_rows_read(jc->embed->tables[n].rows, id, to, NULL, &step);
		}
	}
	for (uint32_t b = 0; b < s->oracle.blocks_count; b++)
		ledger_final(&s->oracle.ledger, seen + s->oracle.blocks[b].from, b);
	free(seen);
	for (uint32_t k = 0; k < s->o->cores; k++)
		for (uint32_t t = 0; t < j->tensors_count; t++) {
			const struct embed_table *x = &j->cores[k].embed->tables[t];
			uint64_t lost = atomic_load_explicit(&x->lost, memory_order_relaxed);
			if (lost > 0)
				sim_broken(s, "core %u lost %llu rows of table %u", k,
					(unsigned long long)lost, t);
		}
}
