// SPDX-License-Identifier: BSD-3-Clause
//
// A committed push of rows becomes updates; what they change is kept for generations in use.
#include "embed.h"

#include "engine_priv.h"

#include <errno.h>

// ---- what rows were

static void row_keep(struct embed_table *t, uint64_t id, uint32_t label)
{
	if (gp_kept_has(t->kept, id, label))
		return;
	uint32_t step = 0, used = 0, dim = t->cfg->dim;
	float *to = gp_kept_put(t->kept, id, label);
	int rc = gp_rows_read_use(t->rows, id, to, to + dim, &step, &used);
	GP_ASSERT(rc != -EAGAIN); // nobody else changes it
	if (rc != 0)
		gp_rows_get(t->rows, &id, 1, to);
	gp_kept_publish(t->kept, rc == 0, step, used);
}

static void kept_count(struct embed_table *t)
{
	atomic_store_explicit(&t->kept_now, gp_kept_count(t->kept), memory_order_relaxed);
}

void embed_cut(struct job_core *jc)
{
	uint32_t oldest = jc->generation;
	for (uint32_t i = 0; i < atomic_load_explicit(&jc->table.cuts_count, memory_order_relaxed);
		i++) {
		uint32_t cut = atomic_load_explicit(&jc->table.cuts[i], memory_order_relaxed);
		oldest = gp_before(cut, oldest) ? cut : oldest;
	}
	for (uint32_t i = 0; i < jc->embed->tables_count; i++) {
		gp_kept_trim(jc->embed->tables[i].kept, oldest);
		kept_count(&jc->embed->tables[i]);
	}
}

// ---- updates

// Rows of e->ids and e->values; those that could not be made are left there.
static uint32_t rows_update(struct job_core *jc, struct embed_table *t, uint32_t n)
{
	struct embed_core *e = jc->embed;
	const struct gp_job_config *cfg = jc->job->cfg;
	uint32_t staleness = jc->async->applies.staleness, left = 0, dim = t->cfg->dim;
	uint32_t lacking;
	float lr_scale = cfg->staleness_lr ? 1.0f / (1.0f + (float)staleness) : 1.0f;
	for (uint32_t i = 0; i < n; i++)
		row_keep(t, e->ids[i], jc->generation);
	if (!t->plan.kernel || t->plan.step != e->updates)
		gp_optim_plan_init(&t->plan, embed_optim(cfg, t->cfg), e->updates);
	if (cfg->replicated)
		embed_point_before(jc, t, e->ids, n);
	lacking = gp_rows_update(t->rows, &t->plan, lr_scale, e->ids, e->values, n, e->refused);
	if (cfg->replicated)
		embed_point_after(jc, t, e->ids, n);
	if (lacking == 0)
		return 0;
	for (uint32_t i = 0; i < n; i++) {
		if (!e->refused[i])
			continue;
		e->ids[left] = e->ids[i];
		memmove(e->values + (size_t)left * dim, e->values + (size_t)i * dim,
			sizeof(float) * dim);
		left++;
	}
	return left;
}

static uint32_t place_load(struct job_core *jc, const struct stage *s, uint32_t local)
{
	struct embed_core *e = jc->embed;
	struct gp_rows_push p;
	const uint8_t *payload = s->payload + (size_t)jc->async->stage_stride * local;
	bool parsed = gp_rows_push_parse(payload, s->blocks[local].len, &p);
	GP_ASSERT(parsed && p.n <= EMBED_IDS_MAX);
	uint32_t values = p.n * e->tables[p.table].cfg->dim;
	GP_ASSERT(values <= EMBED_FLOATS_MAX);
	memcpy(e->ids, p.ids, sizeof(uint64_t) * p.n);
	gp_codec_decode(p.codec, e->values, p.values, values * gp_rows_value_size(p.codec), values);
	e->pending_table = p.table;
	return p.n;
}

// Whether the rows of a place may change now.
static bool place_may(struct job_core *jc, const struct stage *s, uint32_t local)
{
	struct embed_core *e = jc->embed;
	const uint8_t *payload = s->payload + (size_t)jc->async->stage_stride * local;
	if (e->pending_count > 0)
		return !embed_pin_waits(&e->tables[e->pending_table], e->pending_count);
	return s->blocks[local].len == 0 ||
	       !embed_pin_waits(&e->tables[gp_load16(payload)], gp_load16(payload + 2));
}

bool embed_apply(struct job_core *jc, uint32_t rank, const struct stage *s, uint32_t local)
{
	struct embed_core *e = jc->embed;
	embed_point_follow(jc);
	if (!place_may(jc, s, local))
		return false;
	if (local == 0 && e->pending_count == 0) {
		e->updates++;
		e->evict_credit += EVICT_CREDIT;
	}
	if (s->blocks[local].len == 0)
		return true;
	uint32_t n = e->pending_count > 0 ? e->pending_count : place_load(jc, s, local);
	struct embed_table *t = &e->tables[e->pending_table];
	e->pending_count = rows_update(jc, t, n);
	if (e->pending_count > 0 && gp_rows_waits(t->rows))
		return false;
	uint64_t lost = atomic_load_explicit(&t->lost, memory_order_relaxed) + e->pending_count;
	atomic_store_explicit(&t->lost, lost, memory_order_relaxed);
	e->pending_count = 0;
	kept_count(t);
	embed_release(jc, rank, s, local);
	return true;
}

// ---- eviction

struct evicting {
	struct job_core *jc;
	struct embed_table *table;
};

static void evicted(void *arg, uint64_t id)
{
	const struct evicting *x = arg;
	row_keep(x->table, id, x->jc->generation);
	if (x->jc->job->cfg->replicated)
		embed_point_evicted(x->jc, x->table, id);
}

// Whether it must look on although nothing is committed: pushes wait for room.
static bool is_pressed(const struct embed_table *t)
{
	uint64_t rows = atomic_load_explicit(&gp_rows_stats(t->rows)->rows, memory_order_relaxed);
	return t->cfg->eviction == GP_ROWS_EVICT_STEP &&
	       rows > t->rows_max - t->rows_max / EVICT_SHARE;
}

uint32_t embed_tick(struct job_core *jc)
{
	struct embed_core *e = jc->embed;
	uint32_t buckets = GP_MIN(e->evict_credit, EVICT_BUCKETS), work = 0;
	embed_point_follow(jc);
	e->evict_credit -= buckets;
	for (uint32_t i = 0; i < e->tables_count; i++) {
		struct embed_table *t = &e->tables[i];
		uint32_t look = is_pressed(t) ? EVICT_BUCKETS : buckets;
		if (t->cfg->eviction == GP_ROWS_EVICT_NONE || look == 0 ||
			!embed_pin_allows(t, look * GP_ROWS_BUCKET) ||
			!embed_point_evicts(jc, t, look * GP_ROWS_BUCKET))
			continue;
		struct evicting x = {.jc = jc, .table = t};
		work += gp_rows_evict(t->rows, e->updates, look, evicted, &x);
	}
	return work;
}
