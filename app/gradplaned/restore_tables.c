// SPDX-License-Identifier: BSD-3-Clause
//
// Tables that a job starts from: what must be as it was, and where the rows lie in a snapshot.
#include "gradplaned.h"

#include <gp_log.h>

#include <errno.h>

const char *restore_advice(int rc)
{
	return rc == -ENOMEM   ? " (raise jobs[].memory_max)"
	       : rc == -ENOSPC ? " (raise jobs[].tables[].rows_max)"
			       : "";
}

static const struct gp_config_table *table_find(const struct gp_config_job *job, const char *name)
{
	for (uint32_t i = 0; i < job->tables_count; i++)
		if (strcmp(job->tables[i].name, name) == 0)
			return &job->tables[i];
	return NULL;
}

// Rows that were never pushed read as what they will be made as: that may not change under a job.
static const char *table_differs(const struct gp_snapshot_tensor *t,
	const struct gp_snapshot_table *x, const struct gp_config_table *c)
{
	static const char *const initials[] = {[GP_INITIAL_ZEROS] = "zeros",
		[GP_INITIAL_UNIFORM] = "uniform",
		[GP_INITIAL_NORMAL] = "normal"};
	if (t->dims[1] != c->dim)
		return "dim";
	if (strcmp(x->initial, initials[c->initial]) != 0)
		return "initial";
	if (c->initial == GP_INITIAL_ZEROS)
		return NULL;
	if ((float)x->initial_scale != c->initial_scale)
		return "initial_scale";
	return x->seed != c->seed ? "seed" : NULL;
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
		const struct gp_config_table *c = table_find(job, t->name);
		const char *key = c ? table_differs(t, &m->embed->tables[i], c) : "name";
		if (key) {
			gp_error("job %s: table %s of the snapshot: jobs[].tables[].%s is another "
				 "one in the configuration",
				job->name, t->name, key);
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

void restore_table_fill(const struct gp_snapshot *s, uint32_t table, bool rowwise,
	struct gp_restore_tensor *out, struct gp_restore_rows *rows)
{
	const struct gp_snapshot_meta *m = gp_snapshot_meta(s);
	// Arrays of the other kind are those of another optimizer: they begin anew.
	if (m->embed->state_of_row != rowwise)
		memset(out->states, 0, sizeof(out->states));
	if (rowwise && m->embed->state_of_row)
		out->states[0] = restore_state_find(s, "sum", table);
	out->dims_count = 1;
	out->dims = &m->tensors[table].dims[1];
	out->rows = rows;
	*rows = (struct gp_restore_rows){.count = m->tensors[table].dims[0],
		.ids = gp_snapshot_ids(s, table),
		.steps = gp_snapshot_steps(s, table),
		.updates = m->embed->updates};
}
