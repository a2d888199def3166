// SPDX-License-Identifier: BSD-3-Clause
//
// From the registrations of all workers to a layout in memory that the cores run.
#include "registrar_priv.h"

#include <errno.h>
#include <stdlib.h>

uint32_t reg_block_elems(uint32_t payload_max)
{
	GP_ASSERT(payload_max > GP_WIRE_OVERHEAD_MAX + 64);
	return (payload_max - GP_WIRE_OVERHEAD_MAX) / 64 * 16;
}

// ---- tensors by name

static const char *tensor_name(const void *tensors, uint32_t i)
{
	return ((const struct job_tensor *)tensors)[i].name;
}

const char *reg_restored_name(const void *restore, uint32_t i)
{
	return ((const struct gp_restore *)restore)->tensors[i].name;
}

uint32_t reg_tensor_find(const struct reg_job *rj, const char *name)
{
	return names_find(&rj->by_name, rj->tensors, tensor_name, name);
}

void reg_tensor_add(struct reg_job *rj, uint32_t t)
{
	names_add(&rj->by_name, rj->tensors, tensor_name, t);
}

void reg_restored_index(struct reg_job *rj, const struct gp_restore *x)
{
	names_clear(&rj->restored);
	for (uint32_t i = 0; i < GP_MIN(x->tensors_count, rj->cfg->tensors_max); i++)
		names_add(&rj->restored, x, reg_restored_name, i);
}

bool reg_restored_match(const struct reg_job *rj, struct gp_job *j, const struct gp_restore *x)
{
	if (x->tensors_count != j->tensors_count)
		return false;
	for (uint32_t t = 0; t < j->tensors_count; t++) {
		struct job_tensor *jt = &j->tensors[t];
		jt->restored = names_find(&rj->restored, x, reg_restored_name, jt->name);
		if (jt->restored == NAMES_NONE)
			return false;
		const struct gp_restore_tensor *y = &x->tensors[jt->restored];
		if (y->dims_count != jt->dims_count ||
			memcmp(y->dims, jt->dims, sizeof(y->dims[0]) * y->dims_count) != 0)
			return false;
	}
	return true;
}

static int tensor_compare(const void *a, const void *b, void *tensors)
{
	const struct job_tensor *x = (const struct job_tensor *)tensors + *(const uint32_t *)a;
	const struct job_tensor *y = (const struct job_tensor *)tensors + *(const uint32_t *)b;
	if (x->priority != y->priority)
		return x->priority < y->priority ? -1 : 1;
	return strcmp(x->name, y->name);
}

// Tensors in job-wide order; rj->sorted maps the definer's index to it.
static void tensors_sort(struct reg_job *rj, struct job_tensor *out, uint32_t *order)
{
	for (uint32_t i = 0; i < rj->tensors_count; i++)
		order[i] = i;
	qsort_r(order, rj->tensors_count, sizeof(order[0]), tensor_compare, rj->tensors);
	for (uint32_t i = 0; i < rj->tensors_count; i++) {
		out[i] = rj->tensors[order[i]];
		rj->sorted[order[i]] = i;
	}
}

uint32_t reg_smallest_payload(const struct gp_registrar *r, const struct reg_job *rj)
{
	uint32_t min = r->engine->cfg.payload_max;
	for (uint32_t i = 0; i < rj->cfg->workers; i++)
		if (rj->ranks[i].session != 0) {
			uint32_t idx = session_idx(rj->ranks[i].session);
			min = GP_MIN(min, r->sessions[idx].s.payload_max);
		}
	return min;
}

// The tables, and the lists that job_build sorts.
size_t reg_memory_needed(const struct gp_registrar *r, const struct reg_job *rj)
{
	uint32_t count = rj->tensors_count;
	size_t size = job_size(r->engine, rj->cfg, reg_block_elems(reg_smallest_payload(r, rj)),
		rj->tensors, count);
	size_t lists = (sizeof(struct job_tensor) + sizeof(uint32_t)) * count + 2 * GP_CACHE_LINE;
	return size > SIZE_MAX - lists ? SIZE_MAX : size + lists;
}

// The job in the next of the two memories; NULL when it does not fit memory_max.
static struct gp_job *job_build(struct gp_registrar *r, struct reg_job *rj, uint32_t block_elems)
{
	struct gp_engine *e = r->engine;
	uint32_t count = rj->tensors_count;
	struct gp_arena arena;
	gp_arena_init(&arena, rj->mem[rj->mem_next], rj->cfg->memory_max);
	struct job_tensor *sorted = gp_arena_take(&arena, sizeof(*sorted) * count, GP_CACHE_LINE);
	uint32_t *order = gp_arena_take(&arena, sizeof(*order) * count, GP_CACHE_LINE);
	if (!sorted || !order)
		return NULL;
	tensors_sort(rj, sorted, order);
	struct gp_job *j = job_create(e, rj->cfg, &arena, block_elems, sorted, count);
	rj->mem_used = arena.used;
	if (j)
		j->history = rj->history;
	return j;
}

static void job_publish(struct gp_registrar *r, struct reg_job *rj, struct gp_job *j)
{
	uint32_t generation = j->home->consist.generation;
	struct job_status *st = &r->engine->status[j->idx];
	atomic_store_explicit(&st->generation, generation, memory_order_relaxed);
	atomic_store_explicit(&st->decision, j->home->consist.decision, memory_order_relaxed);
	atomic_store_explicit(&st->initialised, generation != UINT32_MAX, memory_order_relaxed);
	rj->job = j;
	gp_rcu_publish(&r->engine->jobs[rj->cfg->id], j);
	const struct cmd cmd = {.type = CMD_JOB_READY, .job = rj->cfg->id, .ptr = j};
	reg_tell_all(r, &cmd);
	if (r->events.layout_ready)
		r->events.layout_ready(r->events.arg, rj->cfg->id);
}

static bool all_registered(const struct reg_job *rj)
{
	if (rj->tensors_count == 0 || rj->definer >= GP_RANKS_MAX)
		return false;
	if (rj->ranks[rj->definer].total != rj->tensors_count)
		return false;
	for (uint32_t i = 0; i < rj->cfg->workers; i++)
		if (rj->ranks[i].session == 0 || rj->ranks[i].registered != rj->tensors_count)
			return false;
	return true;
}

// Registration cannot lead to a layout: every worker is told why and may try with another model.
static void layout_fail(struct gp_registrar *r, struct reg_job *rj, const char *why)
{
	for (uint32_t i = 0; i < rj->cfg->workers; i++)
		if (rj->ranks[i].session != 0)
			reg_session_close(r, &r->sessions[session_idx(rj->ranks[i].session)], why);
}

// What a job goes on with may rest on the size that its blocks had. 0: paths do not carry them.
static uint32_t restored_elems(const struct gp_restore *x, uint32_t elems)
{
	if (!x || x->block_elems == 0)
		return elems;
	return x->block_elems <= elems ? x->block_elems : 0;
}

void reg_layout_try(struct gp_registrar *r, struct reg_job *rj)
{
	if (rj->job || engine_is_standby(r->engine) || !all_registered(rj))
		return;
	uint32_t elems = restored_elems(rj->restore, reg_block_elems(reg_smallest_payload(r, rj)));
	if (elems == 0) {
		layout_fail(
			r, rj, "the blocks that the job goes on with do not fit your path's MTU");
		return;
	}
	struct gp_job *j = job_build(r, rj, elems);
	if (!j) {
		layout_fail(r, rj, "the model does not fit the job's memory_max");
		return;
	}
	if (rj->restore) {
		bool same = reg_restored_match(rj, j, rj->restore);
		GP_ASSERT(same); // each tensor was compared when it was registered
		if (job_load(j, rj->restore) != 0) {
			layout_fail(r, rj, "a core cannot hold its rows of the snapshot");
			return;
		}
	} else {
		const uint32_t first = job_trains(j) ? UINT32_MAX : 0;
		const struct job_begin at = {.generation = first, .step = first};
		job_start(j, &at);
	}
	job_publish(r, rj, j);
}

void reg_members_tell(struct gp_registrar *r, struct reg_job *rj)
{
	if (!rj->job || engine_is_standby(r->engine))
		return;
	for (uint32_t i = 0; i < rj->cfg->workers; i++) {
		struct reg_rank *rank = &rj->ranks[i];
		if (rank->session == 0 || rank->member || rank->registered != rj->tensors_count)
			continue;
		const struct cmd cmd = {.type = CMD_MEMBER_JOIN,
			.job = rj->cfg->id,
			.rank = i,
			.session = rank->session,
			.unit = r->sessions[session_idx(rank->session)].s.serial,
			.step = r->sessions[session_idx(rank->session)].goes_on};
		if (!reg_tell(r, rj->job->home_core, &cmd))
			return;
		rank->member = true;
	}
}

// Readers have learned the tensors of the first generation: all others have the same.
static bool restore_same(const struct reg_job *rj, const struct gp_restore *x)
{
	bool same = rj->tensors_count == x->tensors_count;
	for (uint32_t i = 0; same && i < x->tensors_count; i++) {
		const struct job_tensor *t = &rj->tensors[i];
		const struct gp_restore_tensor *y = &x->tensors[i];
		same = strcmp(t->name, y->name) == 0 && t->dims_count == y->dims_count &&
		       memcmp(t->dims, y->dims, sizeof(t->dims[0]) * t->dims_count) == 0;
	}
	return same;
}

static bool restore_define(struct reg_job *rj, const struct gp_restore *x)
{
	if (rj->job)
		return restore_same(rj, x);
	if (x->tensors_count == 0 || x->tensors_count > rj->cfg->tensors_max)
		return false;
	names_clear(&rj->by_name);
	rj->tensors_count = x->tensors_count;
	for (uint32_t i = 0; i < x->tensors_count; i++) {
		struct job_tensor *t = &rj->tensors[i];
		*t = (struct job_tensor){
			.dims_count = x->tensors[i].dims_count, .priority = i, .elems = 1};
		strncpy(t->name, x->tensors[i].name, sizeof(t->name) - 1);
		for (uint32_t d = 0; d < t->dims_count; d++) {
			t->dims[d] = x->tensors[i].dims[d];
			t->elems *= t->dims[d];
		}
		reg_tensor_add(rj, i);
	}
	return true;
}

// Of a restored job. Its workers are to come: any path that they may have has to carry it.
static uint32_t restored_block(
	const struct gp_registrar *r, const struct reg_job *rj, const struct gp_restore *x)
{
	const uint32_t payload = r->engine->cfg.payload_max;
	if (x->block_elems == 0)
		return reg_block_elems(GP_MIN(rj->cfg->payload_max, payload));
	return restored_elems(x, reg_block_elems(payload));
}

static bool rings_drained(const struct gp_registrar *r)
{
	for (uint32_t i = 0; i < r->engine->cfg.cores_count; i++)
		if (gp_ring_used(r->to_core[i]) > 0)
			return false;
	return true;
}

// A standby serves each generation that reaches it from memory of its own, and lets go of the one
// before when every core and reader has. A leader has one, the one that it starts from.
int reg_restore_publish(struct gp_registrar *r, struct reg_job *rj, const struct gp_restore *x)
{
	// Once every core has taken the present one up, two grace periods later nobody reads the
	// one before: a core may have slept meanwhile.
	if (rj->swap_open && !rings_drained(r))
		return -EBUSY;
	if (rj->swap_open)
		rj->retired_stamp = gp_rcu_grace_stamp(&r->engine->grace);
	rj->swap_open = false;
	if (!gp_rcu_grace_over(&r->engine->grace, rj->retired_stamp))
		return -EBUSY;
	for (uint32_t i = 0; i < r->engine->cfg.cores_count; i++)
		if (gp_ring_room(r->to_core[i]) == 0)
			return -EBUSY;
	uint32_t elems = restored_block(r, rj, x);
	if (elems == 0 || !restore_define(rj, x))
		return -EINVAL;
	struct gp_job *j = job_build(r, rj, elems);
	if (j)
		reg_restored_index(rj, x);
	int rc = j ? 0 : -ENOMEM;
	if (j && !reg_restored_match(rj, j, x))
		rc = -EINVAL;
	if (rc == 0)
		rc = job_load(j, x);
	if (rc != 0) {
		if (!rj->job) { // nothing is defined yet
			names_clear(&rj->by_name);
			rj->tensors_count = 0;
		}
		return rc;
	}
	job_publish(r, rj, j);
	rj->mem_next ^= 1;
	rj->swap_open = true;
	return 0;
}
