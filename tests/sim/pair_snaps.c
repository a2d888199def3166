// SPDX-License-Identifier: BSD-3-Clause
#include "pair.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define JOB_ID	   1
#define JOB_NAME   "sim"
#define KEEP	   3
#define WRITE_MAX  (3 * MS)
#define RESTART_NS (5 * MS)

static const char *dir_of(const struct pair_node *n)
{
	return pair_disk_path(n->s->disk[n->idx]);
}

static enum gp_optim_kind optim_of(const struct pair_node *n)
{
	return n->s->job.optim.kind;
}

bool pair_snaps_survives(struct pair_node *n)
{
	struct pair_disk *d = n->s->disk[n->idx];
	if (!pair_disk_failed(d))
		return true;
	n->s->stats.disk_faults++;
	bool power = pair_disk_gone(d);
	if (power)
		pair_operator_kill(n->s, n->idx, true, RESTART_NS);
	else if (rng_next(&n->s->rng) & 1)
		pair_disk_mend(d);
	return !power;
}

// ---- writing

struct plan {
	struct gp_snapshot_meta meta;
	struct gp_snapshot_tensor tensors[MODEL_TENSORS_MAX];
	char names[MODEL_TENSORS_MAX][GP_WIRE_TENSOR_NAME_MAX + 1];
	const char *states[GP_OPTIM_STATES_MAX];
	struct gp_snapshot_rank ranks[PAIR_WORKERS_MAX];
	uint32_t blocks_count;
};

static void plan_make(const struct pair_node *n, struct plan *p)
{
	struct gp_job_view v;
	struct gp_tensor_view t;
	gp_engine_job_view(n->engine, 0, &v);
	for (uint32_t i = 0; gp_engine_tensor_view(n->engine, 0, i, &t); i++) {
		strncpy(p->names[i], t.name, GP_WIRE_TENSOR_NAME_MAX);
		p->tensors[i] = (struct gp_snapshot_tensor){
			.name = p->names[i], .dims_count = t.dims_count, .elements = t.elems};
		memcpy(p->tensors[i].dims, t.dims, sizeof(t.dims[0]) * t.dims_count);
	}
	for (uint32_t i = 0; i < gp_optim_states(optim_of(n)); i++)
		p->states[i] = gp_optim_state_name(optim_of(n), i);
	for (uint32_t i = 0; i < n->s->o.workers; i++)
		p->ranks[i] = (struct gp_snapshot_rank){
			.rank = i, .next_step = 1 + gp_engine_clock(n->engine, 0, i)};
	p->blocks_count = v.blocks_count;
	p->meta = (struct gp_snapshot_meta){.product = "sim",
		.job = JOB_NAME,
		.job_id = JOB_ID,
		.kind = "train",
		.optimizer = "momentum",
		.generation = n->snaps.cut_step,
		.step = n->snaps.cut_step,
		.decision = n->snaps.cut_decision,
		.epoch = n->epoch,
		.history = gp_engine_history(n->engine, 0, n->snaps.cut_step),
		.tensors_count = v.tensors_count,
		.tensors = p->tensors,
		.states_count = gp_optim_states(optim_of(n)),
		.states = p->states};
}

static const float *block_of(const struct pair_node *n, uint32_t file, uint32_t b, uint32_t *elems)
{
	const float *data = gp_engine_block(n->engine, 0, b, n->snaps.cut_step, file, elems);
	if (!data)
		pair_broken(n->s, "node %u: block %u of a cut is gone", n->idx, b);
	return data;
}

// What has changed since the one before; NULL: a full one is due.
static struct gp_snapshot_delta *delta_make(struct pair_node *n, const struct plan *p)
{
	struct gp_snapshot_delta *d;
	struct gp_snapshot_error err;
	const char *base = strrchr(n->snaps.newest, '/');
	bool same = n->snaps.newest_step == n->snaps.cut_step;
	if (!base || same || n->s->full_every <= 1 ||
		gp_snapshot_delta_open(&p->meta, dir_of(n), base + 1, &d, &err) != 0)
		return NULL;
	bool good = gp_snapshot_delta_depth(d) + 2 <= n->s->full_every;
	for (uint32_t f = 0; f <= p->meta.states_count; f++)
		for (uint32_t b = 0; good && b < p->blocks_count; b++) {
			uint32_t elems;
			const float *data = block_of(n, f, b, &elems);
			good = data && gp_snapshot_delta_feed(d, f, data, elems);
		}
	if (good)
		return d;
	gp_snapshot_delta_close(d);
	return NULL;
}

static int files_write(struct pair_node *n, const struct plan *p, struct gp_snapshot_delta *delta,
	char path[PATH_MAX])
{
	const struct gp_snapshot_opts opts = {.delta = delta};
	struct gp_snapshot_seal seal = {.ranks_count = n->s->o.workers, .ranks = p->ranks};
	struct gp_snapshot_writer *w;
	struct gp_snapshot_error err;
	int rc = gp_snapshot_begin(&p->meta, &opts, dir_of(n), &w, &err);
	if (rc != 0)
		return rc;
	for (uint32_t f = 0; rc == 0 && f <= p->meta.states_count; f++)
		for (uint32_t b = 0; rc == 0 && b < p->blocks_count; b++) {
			uint32_t elems;
			const float *data = block_of(n, f, b, &elems);
			rc = data ? gp_snapshot_append(w, f, data, elems, &err) : -ENOENT;
		}
	if (rc != 0) {
		gp_snapshot_abort(w);
		return rc;
	}
	if (gp_engine_digest(n->engine, 0, p->meta.step, &seal.digest) != 0)
		pair_broken(n->s, "node %u: a cut has no digest", n->idx);
	return gp_snapshot_finish(w, &seal, path, &err);
}

static void snapshot_write(struct pair_node *n)
{
	struct plan p = {0};
	struct gp_snapshot_error err;
	char path[PATH_MAX];
	plan_make(n, &p);
	pair_disk_use(n->s->disk[n->idx]);
	struct gp_snapshot_delta *delta = delta_make(n, &p);
	int rc = files_write(n, &p, delta, path);
	gp_snapshot_delta_close(delta);
	if (rc == 0)
		(void)!gp_snapshot_prune(dir_of(n), JOB_NAME, p.meta.step, KEEP, &err);
	pair_disk_done();
	n->snaps.cut = false;
	gp_registrar_cut_release(gp_engine_registrar(n->engine), JOB_ID);
	if (!pair_snaps_survives(n) || rc != 0)
		return;
	n->s->stats.snapshots++;
	memcpy(n->snaps.newest, path, PATH_MAX);
	n->snaps.newest_step = n->s->op.saved[n->idx] = p.meta.step;
	n->snaps.waiting = true;
}

void pair_snaps_cut(struct pair_node *n, uint32_t step, uint32_t decision)
{
	n->snaps.cut = true;
	n->snaps.cut_step = step;
	n->snaps.cut_decision = decision;
	n->snaps.write_at = n->s->now + rng_below(&n->s->rng, WRITE_MAX);
}

// ---- loading

static const float *state_find(const struct gp_snapshot *x, const char *name, uint32_t tensor)
{
	const struct gp_snapshot_meta *m = gp_snapshot_meta(x);
	for (uint32_t i = 0; i < m->states_count; i++)
		if (strcmp(m->states[i], name) == 0)
			return gp_snapshot_data(x, 1 + i, tensor);
	return NULL;
}

static int engine_load(struct pair_node *n, const struct gp_snapshot *x)
{
	const struct gp_snapshot_meta *m = gp_snapshot_meta(x);
	struct gp_restore_tensor *t = n->snaps.tensors;
	const struct gp_snapshot_seal *seal = gp_snapshot_seal(x);
	n->snaps.counted = (struct gp_ranks){0};
	for (uint32_t i = 0; i < seal->ranks_count; i++)
		if (seal->ranks[i].next_step == m->step + 1)
			gp_ranks_add(&n->snaps.counted, seal->ranks[i].rank);
	struct gp_restore r = {.step = m->step,
		.counted = {&n->snaps.counted},
		.decision = (uint32_t)m->decision,
		.history = {.before = m->history},
		.tensors_count = m->tensors_count,
		.tensors = t};
	for (uint32_t i = 0; i < m->tensors_count; i++) {
		t[i] = (struct gp_restore_tensor){.name = m->tensors[i].name,
			.dims_count = m->tensors[i].dims_count,
			.dims = m->tensors[i].dims,
			.values = gp_snapshot_data(x, 0, i)};
		for (uint32_t k = 0; k < gp_optim_states(optim_of(n)); k++)
			t[i].states[k] = state_find(x, gp_optim_state_name(optim_of(n), k), i);
	}
	int rc = gp_registrar_restore(gp_engine_registrar(n->engine), JOB_ID, &r);
	if (rc != 0)
		return rc;
	n->snaps.loaded = true;
	n->snaps.loaded_step = r.step;
	n->snaps.loaded_decision = r.decision;
	return 0;
}

void pair_snaps_restore(struct pair_node *n)
{
	struct gp_snapshot_error err;
	if (!n->snaps.loaded)
		return;
	pair_disk_use(n->s->disk[n->idx]);
	pair_disk_mend(n->s->disk[n->idx]);
	int rc = gp_snapshot_open(n->snaps.newest, &n->snaps.open, &err);
	pair_disk_done();
	if (rc != 0 || engine_load(n, n->snaps.open) != 0)
		pair_broken(n->s, "node %u: its newest is gone: %s", n->idx, err.text);
}

void pair_snaps_resume(struct pair_node *n)
{
	struct gp_snapshot_error err = {0};
	pair_disk_use(n->s->disk[n->idx]);
	int rc = gp_snapshot_latest(dir_of(n), JOB_NAME, NULL, NULL, &n->snaps.open, &err);
	if (rc == 0)
		rc = engine_load(n, n->snaps.open);
	pair_disk_done();
	if (rc != 0)
		pair_broken(
			n->s, "node %u: its newest cannot be loaded: %d %s", n->idx, rc, err.text);
	else
		strcpy(n->snaps.newest, gp_snapshot_path(n->snaps.open));
	n->snaps.newest_step = n->snaps.loaded_step;
}

void pair_snaps_load(struct pair_node *n)
{
	struct gp_snapshot *x;
	struct gp_snapshot_error err;
	if (!n->snaps.pending[0])
		return;
	pair_disk_use(n->s->disk[n->idx]);
	int rc = gp_snapshot_open(n->snaps.pending, &x, &err);
	if (rc == 0) {
		rc = engine_load(n, x);
		gp_snapshot_close(x);
	}
	pair_disk_done();
	if (rc != 0 && rc != -EBUSY && !pair_disk_failed(n->s->disk[n->idx]))
		pair_broken(
			n->s, "node %u: what was verified cannot be loaded: %s", n->idx, err.text);
	if (!pair_snaps_survives(n) || rc != 0)
		return; // it is tried again
	memcpy(n->snaps.newest, n->snaps.pending, PATH_MAX);
	n->snaps.newest_step = n->snaps.loaded_step;
	n->snaps.pending[0] = 0;
}

bool pair_snaps_set_aside(struct pair_node *n)
{
	uint32_t count, step = n->snaps.loaded ? n->snaps.loaded_step : UINT32_MAX;
	struct gp_snapshot_error err;
	pair_disk_use(n->s->disk[n->idx]);
	int rc = gp_snapshot_rewind(dir_of(n), JOB_NAME, step, &count, &err);
	pair_disk_done();
	return pair_snaps_survives(n) && rc == 0;
}

static void newest_take(struct pair_node *n, struct gp_snapshot *x)
{
	const struct gp_snapshot_meta *m = gp_snapshot_meta(x);
	struct pair_snaps *p = &n->snaps;
	strcpy(p->newest, gp_snapshot_path(x));
	p->newest_step = m->step;
	p->holds_valid = true;
	p->holds = (struct hold){
		.job = JOB_NAME, .step = m->step, .digest = gp_snapshot_seal(x)->digest};
	if (engine_load(n, x) != 0)
		pair_broken(n->s, "node %u: snapshot %u cannot be loaded", n->idx, m->step);
	n->epoch = (uint32_t)m->epoch;
}

bool pair_snaps_start(struct pair_node *n)
{
	struct gp_snapshot *x;
	struct gp_snapshot_error err;
	struct pair_disk *d = n->s->disk[n->idx];
	n->manual.dir = -1;
	pair_disk_use(d);
	int rc = gp_snapshot_dir_prepare(dir_of(n), NULL, &err);
	if (rc == 0)
		rc = gp_snapshot_latest(dir_of(n), JOB_NAME, NULL, NULL, &x, &err);
	if (rc == 0) {
		newest_take(n, x);
		gp_snapshot_close(x);
	}
	if ((rc == 0 || rc == -ENOENT) && n->s->manual) {
		struct gp_lead_error why;
		rc = lead_dir_open(dir_of(n), &n->manual.dir, &why);
	}
	pair_disk_done();
	if (!pair_disk_failed(d) && rc != 0 && rc != -ENOENT)
		pair_broken(n->s, "node %u does not start: %s", n->idx, err.text);
	return pair_snaps_survives(n) && (rc == 0 || rc == -ENOENT);
}

// It does not end, it is killed: nothing of it is taken away any more.
void pair_snaps_end(struct pair_node *n)
{
	struct pair_disk *d = n->s->disk[n->idx];
	pair_ship_break(n);
	pair_disk_fault(d, DISK_POWER, 1);
	pair_disk_use(d);
	incoming_drop(&n->snaps.in);
	gp_snapshot_close(n->snaps.open);
	if (n->s->manual && n->manual.dir >= 0)
		close(n->manual.dir);
	pair_disk_done();
	pair_disk_mend(d);
}

void pair_snaps_write_turn(struct pair_node *n)
{
	if (n->snaps.cut && n->s->now >= n->snaps.write_at)
		snapshot_write(n);
}

void pair_snaps_turn(struct pair_node *n)
{
	if (!n->leading) {
		pair_snaps_load(n);
		return;
	}
	pair_snaps_write_turn(n);
	if (n->alive)
		pair_ship_turn(n);
}
