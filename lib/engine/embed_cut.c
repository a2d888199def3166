// SPDX-License-Identifier: BSD-3-Clause
//
// A generation of tables that is read whole by another thread while pushes go on. Before a row
// changes its owner publishes a copy (gp_kept.h): who has seen a change finds the copy, and where
// there is none the row is as it was. Each row says in which commit it was written last, so most
// need not be looked for there: a row that changed since is of a commit after the cut. One that was
// not written for 2^31 commits looks like that too, and then has no copy.
#include "embed.h"

#include "engine_priv.h"

#include <errno.h>
#include <gp_backup_rows.h>
#define XXH_STATIC_LINKING_ONLY // a hash state of known size
#include <xxhash.h>

#define COPIES_PER_CALL 4096
#define AHEAD_NEAR	16 // rows whose memory is on its way while one is read

// ---- the owner

void embed_pin(struct job_core *jc, uint32_t generation)
{
	struct embed_core *e = jc->embed;
	e->pin_generation = generation;
	e->pin_updates = e->updates;
	for (uint32_t i = 0; i < e->tables_count; i++) {
		struct embed_table *t = &e->tables[i];
		t->pin_rows =
			atomic_load_explicit(&gp_rows_stats(t->rows)->rows, memory_order_relaxed);
		gp_kept_pin(t->kept, generation);
	}
}

void embed_unpin(struct job_core *jc)
{
	for (uint32_t i = 0; i < jc->embed->tables_count; i++)
		gp_kept_unpin(jc->embed->tables[i].kept);
	embed_cut(jc);
}

bool embed_pin_allows(const struct embed_table *t, uint32_t rows)
{
	return !gp_kept_stays(t->kept) || rows <= gp_kept_room(t->kept);
}

bool embed_pin_waits(struct embed_table *t, uint32_t rows)
{
	if (embed_pin_allows(t, rows))
		return false;
	uint32_t n = atomic_load_explicit(&t->shortages, memory_order_relaxed);
	atomic_store_explicit(&t->shortages, n + 1, memory_order_relaxed);
	return true;
}

uint32_t embed_shortages(const struct job_core *jc)
{
	uint32_t sum = 0;
	for (uint32_t i = 0; jc->embed && i < jc->embed->tables_count; i++)
		sum += atomic_load_explicit(&jc->embed->tables[i].shortages, memory_order_relaxed);
	return sum;
}

// ---- who reads it

// The job while the cut of `generation` is pinned, else NULL.
static const struct gp_job *job_of(
	const struct gp_engine *e, uint32_t job_idx, uint32_t t, uint32_t generation)
{
	GP_ASSERT(job_idx < e->cfg.jobs_count);
	const struct gp_job *j = gp_rcu_dereference(&e->jobs[e->jobs_cfg[job_idx].id]);
	if (!j || !cfg_embeds(j->cfg) || t >= j->tensors_count)
		return NULL;
	const struct job_core *jc = &j->cores[0];
	bool pinned = jc->embed->pin_generation == generation &&
		      gp_table_cut_is_live(&jc->table, generation);
	return pinned ? j : NULL;
}

bool gp_engine_table_cut(const struct gp_engine *e, uint32_t job_idx, uint32_t t,
	uint32_t generation, struct gp_table_cut *out)
{
	const struct gp_job *j = job_of(e, job_idx, t, generation);
	if (!j)
		return false;
	const struct embed_table *x = &j->cores[0].embed->tables[t];
	*out = (struct gp_table_cut){.cfg = x->cfg,
		.updates = j->cores[0].embed->pin_updates,
		.state = gp_rows_state(x->rows)};
	for (uint32_t i = 0; i < e->cfg.cores_count; i++) {
		GP_ASSERT(j->cores[i].embed->pin_updates == out->updates);
		out->rows += j->cores[i].embed->tables[t].pin_rows;
	}
	return true;
}

// Whether it may have changed since the cut.
static bool is_later(const struct embed_core *c, uint32_t step)
{
	return gp_before(c->pin_updates, step);
}

struct unchanged {
	const struct gp_table_ids *ids;
	const struct embed_core *core;
	const struct gp_kept *kept;
};

static void on_row(void *arg, uint64_t id, uint32_t step, const float *row)
{
	const struct unchanged *x = arg;
	struct gp_kept_copy copy;
	(void)row;
	if (!is_later(x->core, step) || !gp_kept_get(x->kept, id, &copy))
		x->ids->id_seen(x->ids->arg, id);
}

// Rows of one segment that have not changed; after the last one come the copies.
static int segment_tell(const struct embed_core *c, uint32_t t, struct gp_table_ids *x)
{
	const struct gp_rows *rows = c->tables[t].rows;
	struct unchanged u = {.ids = x, .core = c, .kept = c->tables[t].kept};
	struct gp_rows_scan scan = {.next = x->next, .row_seen = on_row, .arg = &u};
	bool more = gp_rows_scan(rows, &scan);
	if (scan.missed > 0)
		return -EAGAIN; // and the segment again
	x->next = scan.next;
	x->copies = !more;
	return 1;
}

// Copies are looked at when all rows have been: what changes from then on has been told. True: that
// was all of this core.
static bool copies_tell(const struct gp_kept *kept, struct gp_table_ids *x)
{
	struct gp_kept_copy c;
	for (uint32_t i = 0; i < COPIES_PER_CALL; i++) {
		if (!gp_kept_seen(kept, x->copy, &c))
			return true;
		x->copy++;
		if (gp_kept_get(kept, c.id, &c) && c.there)
			x->id_seen(x->arg, c.id);
	}
	return false;
}

int gp_engine_table_ids(const struct gp_engine *e, uint32_t job_idx, uint32_t t,
	uint32_t generation, struct gp_table_ids *x)
{
	const struct gp_job *j = job_of(e, job_idx, t, generation);
	if (!j || x->core >= e->cfg.cores_count)
		return -ENOENT;
	const struct embed_core *c = j->cores[x->core].embed;
	if (!x->copies)
		return segment_tell(c, t, x);
	if (!copies_tell(c->tables[t].kept, x))
		return 1;
	x->core++;
	x->copies = false;
	x->next = 0;
	x->copy = 0;
	return x->core < e->cfg.cores_count;
}

static const struct embed_core *core_of(const struct gp_job *j, uint32_t t, uint64_t id)
{
	return j->cores[gp_rows_owner(t, id, j->by_cores.d)].embed;
}

// Of its step: when it was used last, as far as the cut knows of it; eviction goes on with that.
static int row_read(const struct gp_job *j, uint32_t t, uint64_t id, float *row, uint32_t *step)
{
	const struct embed_core *c = core_of(j, t, id);
	const struct embed_table *x = &c->tables[t];
	struct gp_kept_copy copy;
	uint32_t dim = gp_rows_dim(x->rows), used = 0;
	int rc = gp_rows_read_use(x->rows, id, row, row + dim, step, &used);
	if (rc == -EAGAIN)
		return rc;
	if (rc == 0 && !is_later(c, *step)) {
		*step = embed_used_at(c->pin_updates, used);
		return 0;
	}
	if (!gp_kept_get(x->kept, id, &copy))
		return rc;
	if (!copy.there)
		return -ENOENT;
	memcpy(row, copy.row, sizeof(float) * (dim + gp_rows_state(x->rows)));
	*step = embed_used_at(c->pin_updates, copy.used);
	return 0;
}

uint32_t gp_engine_table_rows(const struct gp_engine *e, uint32_t job_idx, uint32_t generation,
	const struct gp_table_want *x, int *rc)
{
	const struct gp_job *j = job_of(e, job_idx, x->table, generation);
	if (!j) {
		*rc = -ENOENT;
		return 0;
	}
	const struct gp_rows *any = j->cores[0].embed->tables[x->table].rows;
	uint32_t floats = gp_rows_dim(any) + gp_rows_state(any);
	*rc = 0;
	for (uint32_t i = 0; i < x->n; i++) {
		for (uint32_t near = 0; near < 2; near++) {
			uint32_t at = i + (near ? AHEAD_NEAR : 2 * AHEAD_NEAR);
			if (at < x->n)
				gp_rows_ahead(
					core_of(j, x->table, x->ids[at])->tables[x->table].rows,
					x->ids[at], near);
		}
		*rc = row_read(j, x->table, x->ids[i], x->rows + (size_t)i * floats, &x->steps[i]);
		if (*rc != 0)
			return i;
	}
	return x->n;
}

uint64_t gp_backup_row_digest(
	uint32_t table, uint64_t id, uint32_t step, const float *row, uint32_t floats)
{
	uint64_t seed = gp_rows_mix(id ^ gp_rows_mix((uint64_t)table << 32 | step));
	return XXH3_64bits_withSeed(row, sizeof(float) * floats, seed);
}

uint64_t gp_engine_row_digest(
	uint32_t table, uint32_t generation, uint64_t id, const float *values, uint32_t dim)
{
	XXH3_state_t state;
	const uint32_t head[4] = {table, generation, (uint32_t)id, (uint32_t)(id >> 32)};
	XXH3_64bits_reset(&state);
	XXH3_64bits_update(&state, head, sizeof(head));
	for (uint32_t i = 0; i < dim; i++) {
		float x = values[i] == 0.0f ? 0.0f : values[i]; // -0 compares equal to 0
		XXH3_64bits_update(&state, &x, sizeof(x));
	}
	return XXH3_64bits_digest(&state);
}
