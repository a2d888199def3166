// SPDX-License-Identifier: BSD-3-Clause
//
// What the jobs start from: a snapshot that was proved, mapped until the layout has taken it over.
#include "gradplaned.h"

#include <gp_log.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

// NULL where the snapshot has no such array: it was made with another optimizer.
const float *restore_state_find(const struct gp_snapshot *s, const char *name, uint32_t tensor)
{
	const struct gp_snapshot_meta *m = gp_snapshot_meta(s);
	for (uint32_t i = 0; i < m->states_count; i++)
		if (strcmp(m->states[i], name) == 0)
			return gp_snapshot_data(s, 1 + i, tensor);
	return NULL;
}

static bool meta_fits(const struct gp_snapshot_meta *m, const struct gp_config_job *job)
{
	if (strcmp(m->job, job->name) != 0 || job->kind == GP_JOB_REDUCE ||
		strcmp(m->kind, gp_job_kind_name(job->kind)) != 0) {
		gp_error("the snapshot is of job %s, kind %s, not of job %s, kind %s", m->job,
			m->kind, job->name, gp_job_kind_name(job->kind));
		return false;
	}
	if (strcmp(m->optimizer, gp_optimizer_name(job->optimizer.name)) != 0)
		gp_warn("job %s: the snapshot was made with optimizer %s, the configuration says "
			"%s",
			job->name, m->optimizer, gp_optimizer_name(job->optimizer.name));
	return !m->embed || restore_tables_fit(m, job);
}

// The last step that each rank has contributed; a rank that the snapshot does not know begins with
// the others.
static const uint32_t *clocks_fill(
	const struct gp_snapshot *s, const struct gp_config_job *job, uint32_t *clock)
{
	const struct gp_snapshot_seal *seal = gp_snapshot_seal(s);
	uint32_t most = gp_snapshot_meta(s)->step;
	for (uint32_t i = 0; i < seal->ranks_count; i++)
		if (i == 0 || gp_before(most, seal->ranks[i].next_step - 1))
			most = seal->ranks[i].next_step - 1;
	for (uint32_t r = 0; r < job->workers; r++)
		clock[r] = most;
	for (uint32_t i = 0; i < seal->ranks_count; i++)
		if (seal->ranks[i].rank < job->workers)
			clock[seal->ranks[i].rank] = seal->ranks[i].next_step - 1;
	return clock;
}

// Who is in the last step, as a whole.
static void counted_fill(const struct gp_snapshot *s, struct gp_ranks *counted)
{
	const struct gp_snapshot_seal *seal = gp_snapshot_seal(s);
	for (uint32_t i = 0; i < seal->ranks_count; i++)
		if (seal->ranks[i].next_step - 1 == gp_snapshot_meta(s)->step)
			gp_ranks_add(counted, seal->ranks[i].rank);
}

int restore_fill(const struct gp_snapshot *s, const struct gp_config_job *job,
	struct gp_restore *out, struct gp_restore_tensor **tensors)
{
	const struct gp_snapshot_meta *m = gp_snapshot_meta(s);
	if (!meta_fits(m, job))
		return -EINVAL;
	// With what they point to and the ranks' clocks behind them, so that one free ends all.
	struct gp_restore_tensor *t =
		calloc(1, (sizeof(*t) + sizeof(struct gp_restore_rows)) * m->tensors_count +
				  sizeof(struct gp_ranks) + sizeof(uint32_t) * job->workers);
	if (!t)
		return -ENOMEM;
	struct gp_restore_rows *rows = (void *)(t + m->tensors_count);
	struct gp_ranks *counted = (void *)(rows + m->tensors_count);
	counted_fill(s, counted);
	enum gp_optim_kind optim = gp_config_optim(&job->optimizer).kind;
	for (uint32_t i = 0; i < m->tensors_count; i++) {
		t[i] = (struct gp_restore_tensor){
			.name = m->tensors[i].name,
			.dims_count = m->tensors[i].dims_count,
			.dims = m->tensors[i].dims,
			.values = gp_snapshot_data(s, 0, i),
		};
		for (uint32_t k = 0; k < gp_optim_states(optim); k++)
			t[i].states[k] = restore_state_find(s, gp_optim_state_name(optim, k), i);
		if (m->embed)
			restore_table_fill(s, i, job, &t[i], &rows[i]);
	}
	*out = (struct gp_restore){
		.step = m->step,
		.decision = (uint32_t)m->decision,
		.counted = {counted},
		.clock = clocks_fill(s, job, (uint32_t *)(void *)(counted + 1)),
		.history = {.before = m->history},
		.tensors_count = m->tensors_count,
		.tensors = t,
	};
	*tensors = t;
	return 0;
}

static int named_open(struct node *n)
{
	struct gp_snapshot_error err;
	struct gp_snapshot *s;
	int rc = gp_snapshot_open(n->cfg.snapshot.restore_path, &s, &err);
	if (rc != 0) {
		gp_error("snapshot.restore: %s", err.text);
		return rc;
	}
	for (uint32_t i = 0; i < n->cfg.jobs_count; i++) {
		if (strcmp(n->cfg.jobs[i].name, gp_snapshot_meta(s)->job) == 0) {
			n->restored[i].snapshot = s;
			return 0;
		}
	}
	gp_error("snapshot.restore: %s is of job %s, and no job here has that name",
		n->cfg.snapshot.restore_path, gp_snapshot_meta(s)->job);
	gp_snapshot_close(s);
	return -EINVAL;
}

static void on_refused(void *arg, const char *path, const char *why)
{
	struct restored *r = arg;
	r->refused++;
	gp_warn("snapshot %s is not used: %s", path, why);
}

static int newest_open(struct node *n)
{
	for (uint32_t i = 0; i < n->cfg.jobs_count; i++) {
		struct gp_snapshot_error err;
		if (n->cfg.jobs[i].kind == GP_JOB_REDUCE)
			continue;
		int rc = gp_snapshot_latest(n->cfg.snapshot.directory, n->cfg.jobs[i].name,
			on_refused, &n->restored[i], &n->restored[i].snapshot, &err);
		if (rc == 0)
			continue;
		n->restored[i].snapshot = NULL;
		if (rc == -ENOENT && n->restored[i].refused == 0) {
			gp_info("job %s: no snapshot to start from", n->cfg.jobs[i].name);
		} else if (rc != -ENOENT) {
			gp_error("job %s: %s", n->cfg.jobs[i].name, err.text);
			return rc;
		}
	}
	return 0;
}

// Without a common register epoch mod 2 is the node that leads it; a restart leads a later one than
// what it restored.
static void epoch_choose(struct node *n)
{
	uint32_t newest = 0;
	for (uint32_t i = 0; i < n->cfg.jobs_count; i++) {
		const struct gp_snapshot *s = n->restored[i].snapshot;
		if (s)
			newest = GP_MAX(newest, (uint32_t)gp_snapshot_meta(s)->epoch);
	}
	n->epoch = newest + 1;
	bool common = n->cfg.leadership.kind == GP_LEADERSHIP_ETCD ||
		      n->cfg.leadership.kind == GP_LEADERSHIP_WITNESS;
	if (!common && n->epoch % 2 != n->cfg.node.id)
		n->epoch++;
}

int restore_open(struct node *n)
{
	int rc = 0;
	if (n->cfg.snapshot.restore == GP_RESTORE_PATH)
		rc = named_open(n);
	else if (n->cfg.snapshot.restore == GP_RESTORE_LATEST)
		rc = newest_open(n);
	epoch_choose(n);
	return rc;
}

int restore_check(const struct node *n)
{
	int rc = 0;
	for (uint32_t i = 0; n->cfg.node.role == GP_ROLE_PRIMARY && i < n->cfg.jobs_count; i++) {
		const struct restored *r = &n->restored[i];
		if (r->snapshot || r->refused == 0)
			continue;
		gp_error("job %s: it has %u snapshots in %s, and none can be used, for the reasons "
			 "above: to begin anew would be to lose it. Put a good copy of one back, "
			 "or say snapshot.restore: none to begin anew",
			n->cfg.jobs[i].name, r->refused, n->cfg.snapshot.directory);
		rc = -EINVAL;
	}
	return rc;
}

void restore_close(struct node *n, uint32_t job_idx)
{
	struct restored *r = &n->restored[job_idx];
	free(r->tensors);
	gp_snapshot_close(r->snapshot);
	*r = (struct restored){0};
}

// A replica serves it at once. A primary counts it as its newest snapshot, which the replica may
// still lack.
static void restored_note(
	struct node *n, uint32_t idx, const char *path, const struct gp_restore *x)
{
	uint32_t step = x->step;
	if (n->cfg.node.role == GP_ROLE_REPLICA) {
		n->replica.loaded = true;
		n->replica.loaded_step = step;
		n->replica.loaded_count++;
		return;
	}
	struct snapshot_job *j = &n->snapshots.jobs[idx];
	j->written = true;
	j->last_step = step;
	j->last_decision = x->decision;
	snprintf(j->last_path, sizeof(j->last_path), "%s", path);
	n->snapshots.last_valid = true;
	n->snapshots.last_idx = idx;
}

static int job_restore(struct node *n, uint32_t idx)
{
	struct restored *r = &n->restored[idx];
	const struct gp_config_job *job = &n->cfg.jobs[idx];
	uint32_t step = gp_snapshot_meta(r->snapshot)->step;
	struct gp_restore x;
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s", gp_snapshot_path(r->snapshot));
	int rc = restore_fill(r->snapshot, job, &x, &r->tensors);
	if (rc == 0) // a standby is done with the snapshot when this returns
		rc = gp_registrar_restore(n->registrar, (uint16_t)job->id, &x);
	if (rc != 0) {
		gp_error("job %s: %s cannot be loaded: %s%s", job->name, path, strerror(-rc),
			restore_advice(rc));
		return rc;
	}
	gp_info("job %s: starts from %s, step %u", job->name, path, step);
	restored_note(n, idx, path, &x);
	return 0;
}

int restore_apply(struct node *n)
{
	int rc = 0;
	// What the disk of a synchronous backup holds is older than what its primary will send.
	if (n->pair.used && n->cfg.node.role == GP_ROLE_REPLICA)
		return 0;
	for (uint32_t i = 0; rc == 0 && i < n->cfg.jobs_count; i++)
		if (n->restored[i].snapshot)
			rc = job_restore(n, i);
	return rc;
}
