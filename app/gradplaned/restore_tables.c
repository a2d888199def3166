// SPDX-License-Identifier: BSD-3-Clause
//
// Tables that a job starts from: what must be as it was, and where the rows lie in a snapshot.
#include "gradplaned.h"

#include <gp_log.h>

#include <errno.h>
#include <stdio.h>

const char *restore_advice(int rc)
{
	return rc == -ENOMEM   ? " (raise jobs[].memory_max)"
	       : rc == -ENOSPC ? " (raise jobs[].tables[].rows_max)"
			       : "";
}

const struct gp_config_table *restore_table_config(
	const struct gp_config_job *job, const char *name)
{
	for (uint32_t i = 0; i < job->tables_count; i++)
		if (strcmp(job->tables[i].name, name) == 0)
			return &job->tables[i];
	return NULL;
}

#define VALUE_SIZE 32

struct difference {
	const char *key;
	char was[VALUE_SIZE], is[VALUE_SIZE];
};

static bool differs(struct difference *d, const char *key, const char *was, const char *is)
{
	d->key = key;
	snprintf(d->was, sizeof(d->was), "%s", was);
	snprintf(d->is, sizeof(d->is), "%s", is);
	return strcmp(d->was, d->is) != 0;
}

static bool counts_differ(struct difference *d, const char *key, uint64_t was, uint64_t is)
{
	d->key = key;
	snprintf(d->was, sizeof(d->was), "%lu", was);
	snprintf(d->is, sizeof(d->is), "%lu", is);
	return was != is;
}

static bool scales_differ(struct difference *d, float was, float is)
{
	d->key = "initial_scale";
	snprintf(d->was, sizeof(d->was), "%g", (double)was);
	snprintf(d->is, sizeof(d->is), "%g", (double)is);
	return was != is;
}

// Rows that were never pushed read as what they will be made as: that may not change under a job.
static bool table_differs(struct difference *d, const struct gp_snapshot_tensor *t,
	const struct gp_snapshot_table *x, const struct gp_config_table *c)
{
	static const char *const initials[] = {[GP_INITIAL_ZEROS] = "zeros",
		[GP_INITIAL_UNIFORM] = "uniform",
		[GP_INITIAL_NORMAL] = "normal"};
	if (counts_differ(d, "dim", t->dims[1], c->dim) ||
		differs(d, "initial", x->initial, initials[c->initial]))
		return true;
	return c->initial != GP_INITIAL_ZEROS &&
	       (scales_differ(d, (float)x->initial_scale, c->initial_scale) ||
		       counts_differ(d, "seed", x->seed, c->seed));
}

bool restore_tables_fit(const struct gp_snapshot_meta *m, const struct gp_config_job *job)
{
	if (m->tensors_count != job->tables_count) {
		gp_error("job %s: the snapshot has %u tables, the configuration %u", job->name,
			m->tensors_count, job->tables_count);
		return false;
	}
	for (uint32_t i = 0; i < m->tensors_count; i++) {
		const struct gp_snapshot_tensor *t = &m->tensors[i];
		const struct gp_config_table *c = restore_table_config(job, t->name);
		struct difference d;
		if (!c) {
			gp_error("job %s: the snapshot has a table %s, and the configuration none "
				 "of that name (jobs[].tables[].name)",
				job->name, t->name);
			return false;
		}
		if (table_differs(&d, t, &m->embed->tables[i], c)) {
			gp_error("job %s: table %s: jobs[].tables[].%s is %s in the snapshot and "
				 "%s in the configuration: set it to what it was, or begin anew "
				 "with snapshot.restore: none",
				job->name, t->name, d.key, d.was, d.is);
			return false;
		}
		if (t->dims[0] > c->rows_max) {
			gp_error("job %s: table %s of the snapshot has %lu rows, its rows_max is "
				 "%u",
				job->name, t->name, t->dims[0], c->rows_max);
			return false;
		}
	}
	return true;
}

// What the snapshot has of an array of the table. NULL: nothing, or of another optimizer.
static const float *array_find(
	const struct gp_snapshot *s, uint32_t table, const char *name, bool rowwise)
{
	const struct gp_snapshot_meta *m = gp_snapshot_meta(s);
	const struct gp_snapshot_table *t = &m->embed->tables[table];
	for (uint32_t k = 0; m->embed->mixed && k < m->states_count; k++)
		if (strcmp(m->states[k], name) == 0 &&
			!((rowwise ? t->of_row : t->of_value) >> k & 1))
			return NULL;
	if (!m->embed->mixed && m->embed->state_of_row != rowwise)
		return NULL;
	return restore_state_find(s, name, table);
}

void restore_table_fill(const struct gp_snapshot *s, uint32_t table,
	const struct gp_config_job *job, struct gp_restore_tensor *out,
	struct gp_restore_rows *rows)
{
	const struct gp_snapshot_meta *m = gp_snapshot_meta(s);
	const struct gp_config_table *cfg = restore_table_config(job, m->tensors[table].name);
	GP_ASSERT(cfg); // restore_tables_fit has seen to it
	enum gp_optim_kind kind = gp_config_table_optim(job, cfg).kind;
	memset(out->states, 0, sizeof(out->states));
	if (gp_optim_is_rowwise(kind))
		out->states[0] = array_find(s, table, "sum", true);
	for (uint32_t k = 0; k < gp_optim_states(kind); k++)
		out->states[k] = array_find(s, table, gp_optim_state_name(kind, k), false);
	out->dims_count = 1;
	out->dims = &m->tensors[table].dims[1];
	out->rows = rows;
	*rows = (struct gp_restore_rows){.count = m->tensors[table].dims[0],
		.ids = gp_snapshot_ids(s, table),
		.steps = gp_snapshot_steps(s, table),
		.updates = m->embed->updates};
}
