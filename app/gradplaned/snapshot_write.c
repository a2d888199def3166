// SPDX-License-Identifier: BSD-3-Clause
//
// One snapshot: from the versions that a cut has pinned to a directory on disk. Runs on the
// snapshot thread; looks blocks up online and is offline whenever it may block.
#include "snapshot_plan.h"

#include <gp_log.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int snapshot_task_failed(struct snapshot_task *t, int error, const char *text)
{
	t->err.code = error;
	snprintf(t->err.text, sizeof(t->err.text), "%s", text);
	return error;
}

// Online.
static int tensors_fill(const struct node *n, const struct snapshot_task *t, struct plan *p)
{
	for (uint32_t i = 0; i < t->view.tensors_count; i++) {
		struct gp_tensor_view v;
		if (!gp_engine_tensor_view(n->engine, t->job_idx, i, &v))
			return -ENOENT;
		struct gp_snapshot_tensor *x = &p->tensors[i];
		*x = (struct gp_snapshot_tensor){
			.name = v.name, .dims_count = v.dims_count, .elements = v.elems};
		GP_ASSERT(v.dims_count <= GP_SNAPSHOT_DIMS_MAX);
		memcpy(x->dims, v.dims, sizeof(v.dims[0]) * v.dims_count);
	}
	return 0;
}

static void plan_free(struct plan *p)
{
	free(p->tensors);
	free(p->ranks);
	snapshot_tables_free(p);
}

// Of tables nobody asks: ranks of an embed job compare their clocks.
static uint64_t history_of(const struct node *n, const struct snapshot_task *t)
{
	if (n->cfg.jobs[t->job_idx].kind == GP_JOB_EMBED)
		return 0;
	gp_rcu_online();
	uint64_t history = gp_engine_history(n->engine, t->job_idx, t->step);
	gp_rcu_offline();
	return history;
}

static uint32_t clock_of(const struct node *n, const struct snapshot_task *t, uint32_t rank)
{
	return t->released ? gp_engine_clock_out(n->engine, t->job_idx, rank, t->step)
			   : gp_engine_clock(n->engine, t->job_idx, rank);
}

// No cut has kept what was read, so nothing may have changed meanwhile.
static int released_check(const struct node *n, struct snapshot_task *t)
{
	struct gp_job_view v;
	gp_engine_job_view(n->engine, t->job_idx, &v);
	if (!t->released || (v.generation == t->step && v.decision == t->decision))
		return 0;
	return snapshot_task_failed(t, -EAGAIN, "the replica has acknowledged more");
}

// Names point into the job's layout, which a primary keeps until its end.
static int plan_make(struct node *n, struct snapshot_task *t, struct plan *p)
{
	const struct gp_config_job *job = &n->cfg.jobs[t->job_idx];
	p->tensors = calloc(t->view.tensors_count, sizeof(*p->tensors));
	p->ranks = calloc(job->workers, sizeof(*p->ranks));
	if (!p->tensors || !p->ranks)
		return snapshot_task_failed(t, -ENOMEM, "no memory for the list of tensors");
	gp_rcu_online();
	int rc = tensors_fill(n, t, p);
	gp_rcu_offline();
	if (rc != 0)
		return snapshot_task_failed(t, rc, "the job has no layout");
	for (uint32_t i = 0; i < job->workers; i++)
		p->ranks[i] =
			(struct gp_snapshot_rank){.rank = i, .next_step = 1 + clock_of(n, t, i)};
	enum gp_optim_kind optim = gp_config_optim(&job->optimizer).kind;
	for (uint32_t i = 0; i < gp_optim_states(optim); i++)
		p->states[i] = gp_optim_state_name(optim, i);
	p->meta = (struct gp_snapshot_meta){
		.product = GRADPLANED_VERSION,
		.job = job->name,
		.job_id = job->id,
		.kind = gp_job_kind_name(job->kind),
		.optimizer = gp_optimizer_name(job->optimizer.name),
		.generation = t->step,
		.step = t->step,
		.decision = t->decision,
		.epoch = n->epoch,
		.history = history_of(n, t),
		.tensors_count = t->view.tensors_count,
		.tensors = p->tensors,
		.states_count = gp_optim_states(optim),
		.states = p->states,
	};
	return job->kind == GP_JOB_EMBED ? snapshot_tables_plan(n, t, p) : 0;
}

int snapshot_given_up(struct node *n, struct snapshot_task *t)
{
	if (!atomic_load_explicit(&n->snapshots.give_up, memory_order_relaxed))
		return 0;
	bool rows = n->cfg.jobs[t->job_idx].kind == GP_JOB_EMBED;
	return snapshot_task_failed(t, -ECANCELED,
		rows ? "the memory of its cut (jobs[].tables[].kept) ran out"
		     : "the memory of its cut (snapshot.memory_max) ran out");
}

static int block_take(struct node *n, struct walk *w, uint32_t block, uint32_t file)
{
	struct snapshot_task *t = w->task;
	uint32_t elems;
	uint64_t digest = 0;
	int rc = snapshot_given_up(n, t);
	if (rc != 0)
		return rc;
	gp_rcu_online();
	const float *data = gp_engine_block(n->engine, t->job_idx, block, t->step, file, &elems);
	if (data && file == 0 && w->writer &&
		gp_engine_block_digest(n->engine, t->job_idx, block, t->step, &digest) != 0)
		data = NULL;
	gp_rcu_offline(); // the cut keeps the version
	if (!data)
		return snapshot_task_failed(t, -ENOENT, "a block of the generation is gone");
	t->digest += digest;
	return w->take(w, file, data, elems);
}

static int elements_walk(struct node *n, struct walk *w, const struct plan *p)
{
	if (p->meta.embed)
		return snapshot_tables_walk(n, w, p);
	for (uint32_t file = 0; file <= p->meta.states_count; file++)
		for (uint32_t block = 0; block < w->task->view.blocks_count; block++) {
			int rc = block_take(n, w, block, file);
			if (rc != 0)
				return rc;
		}
	return 0;
}

static int delta_take(struct walk *w, uint32_t file, const void *data, uint64_t elems)
{
	return gp_snapshot_delta_feed(w->delta, file, data, elems) ? 0 : WALK_ENOUGH;
}

static int writer_take(struct walk *w, uint32_t file, const void *data, uint64_t elems)
{
	return gp_snapshot_append(w->writer, file, data, elems, &w->task->err);
}

// What has changed since the job's snapshot before; NULL: a full one is due, or is as good.
static int delta_make(struct node *n, struct snapshot_task *t, const struct plan *p,
	struct gp_snapshot_delta **out)
{
	const struct gp_config_snapshot *cfg = &n->cfg.snapshot;
	struct gp_snapshot_error err;
	struct walk w = {.take = delta_take, .task = t};
	*out = NULL;
	if (cfg->full_every <= 1 || !t->base[0])
		return 0;
	if (gp_snapshot_delta_open(&p->meta, cfg->directory, t->base, &w.delta, &err) != 0) {
		gp_info("job %s: a full snapshot: %s", p->meta.job, err.text);
		return 0;
	}
	int rc = gp_snapshot_delta_depth(w.delta) + 2 > cfg->full_every ? WALK_ENOUGH
									: elements_walk(n, &w, p);
	if (rc == 0)
		*out = w.delta;
	else
		gp_snapshot_delta_close(w.delta);
	return GP_MIN(rc, 0);
}

static uint64_t directory_bytes(const char *path)
{
	uint64_t sum = 0;
	struct dirent *entry;
	struct stat st;
	DIR *dir = opendir(path);
	if (!dir)
		return 0;
	while ((entry = readdir(dir)))
		if (fstatat(dirfd(dir), entry->d_name, &st, 0) == 0 && S_ISREG(st.st_mode))
			sum += (uint64_t)st.st_size;
	closedir(dir);
	return sum;
}

static int files_write(struct node *n, struct snapshot_task *t, const struct plan *p,
	struct gp_snapshot_delta *delta)
{
	const struct gp_config_snapshot *cfg = &n->cfg.snapshot;
	const struct gp_snapshot_opts opts = {.delta = delta,
		.level = cfg->compression == GP_COMPRESSION_ZSTD ? cfg->compression_level : 0};
	struct walk w = {.take = writer_take, .task = t};
	int rc = gp_snapshot_begin(&p->meta, &opts, cfg->directory, &w.writer, &t->err);
	if (rc != 0)
		return rc;
	rc = elements_walk(n, &w, p);
	if (rc == 0)
		rc = released_check(n, t);
	if (rc != 0) {
		gp_snapshot_abort(w.writer);
		return rc;
	}
	// pairs with snapshots_watch: what was read is read.
	atomic_store_explicit(&n->snapshots.blocks_read, true, memory_order_release);
	const struct gp_snapshot_seal seal = {.digest = t->digest,
		.ranks_count = n->cfg.jobs[t->job_idx].workers,
		.ranks = p->ranks};
	return gp_snapshot_finish(w.writer, &seal, t->path, &t->err);
}

static int plan_write(struct node *n, struct snapshot_task *t, const struct plan *p)
{
	struct gp_snapshot_delta *delta;
	int rc = delta_make(n, t, p, &delta);
	if (rc != 0)
		return rc;
	t->incremental = delta != NULL;
	rc = files_write(n, t, p, delta);
	gp_snapshot_delta_close(delta);
	if (rc != 0)
		return rc;
	t->bytes = directory_bytes(t->path);
	struct gp_snapshot_error err;
	if (gp_snapshot_prune(n->cfg.snapshot.directory, p->meta.job, t->step, n->cfg.snapshot.keep,
		    &err) != 0)
		gp_warn("old snapshots stay: %s", err.text); // the new one is safe all the same
	return 0;
}

void snapshot_write(struct node *n, struct snapshot_task *t)
{
	struct plan p = {0};
	uint64_t begin = clock_now();
	views_sync(n, t->job_idx);
	t->error = plan_make(n, t, &p);
	if (t->error == 0)
		t->error = plan_write(n, t, &p);
	if (t->error != 0 && released_check(n, t) != 0)
		t->error = -EAGAIN;
	t->wall_ns = clock_now() - begin;
	plan_free(&p);
}
