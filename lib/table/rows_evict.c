// SPDX-License-Identifier: BSD-3-Clause
//
// Eviction: a hand goes round through the segments in the order of the hash and drops what is too
// old. Under GP_ROWS_EVICT_STEP the age that is too old halves with each round that did not make
// room and doubles again when there is plenty.
#include "rows_priv.h"

static bool pressed(const struct gp_rows *t)
{
	uint64_t rows = atomic_load_explicit(&t->stats.rows, memory_order_relaxed);
	uint64_t full = t->cfg.evict_full > 0 ? t->cfg.evict_full : t->cfg.rows_max;
	return rows > full - full / 16;
}

// From what age on rows go; 0: none do.
static uint32_t age_limit(const struct gp_rows *t)
{
	if (t->cfg.eviction == GP_ROWS_EVICT_AGE)
		return t->cfg.evict_after;
	if (t->cfg.eviction == GP_ROWS_EVICT_STEP && pressed(t))
		return t->age_limit;
	return 0;
}

static void round_done(struct gp_rows *t)
{
	if (pressed(t))
		t->age_limit = GP_MAX(t->age_limit / 2, 1u);
	else if (t->age_limit <= INT32_MAX / 2)
		t->age_limit *= 2;
}

// Of a row that was written that long ago, and perhaps read since.
static bool is_used(const struct gp_rows *t, uint32_t row, uint32_t step, uint32_t limit)
{
	if (t->used_at == 0)
		return false;
	uint64_t used = atomic_load_explicit(rows_used(t, row), memory_order_relaxed);
	return gp_before(step, (uint32_t)used) || step - (uint32_t)used < limit;
}

static void row_use(struct gp_rows *t, uint64_t id, uint32_t row, uint32_t step,
	const struct gp_rows_telling *x)
{
	_Atomic uint64_t *at = rows_used(t, row);
	uint32_t told = (uint32_t)(atomic_load_explicit(at, memory_order_relaxed) >> 32);
	if (x && !gp_before(step, told + x->grain) && x->used(x->arg, id))
		told = step;
	atomic_store_explicit(at, rows_use(step, told), memory_order_release);
}

void gp_rows_use(struct gp_rows *t, const uint64_t *ids, uint32_t n, uint32_t step,
	const struct gp_rows_telling *telling)
{
	for (uint32_t i = 0; i < n && t->used_at > 0; i++) {
		uint64_t hash = rows_hash(t, ids[i]);
		struct rows_place p = rows_find(rows_segment(t, hash), hash, ids[i]);
		if (p.bucket)
			row_use(t, ids[i], p.row, step, telling);
	}
}

static uint32_t bucket_sweep(struct gp_rows *t, struct rows_bucket *b, uint32_t step,
	void (*evicted)(void *arg, uint64_t id), void *arg)
{
	uint32_t limit = age_limit(t), count = 0;
	for (uint32_t s = 0; s < SLOTS && limit > 0; s++) {
		struct rows_place p = {.bucket = b, .slot = s, .row = rows_row(b, s)};
		uint32_t written = atomic_load_explicit(&b->step[s], memory_order_relaxed);
		uint64_t id = atomic_load_explicit(&b->id[s], memory_order_relaxed);
		if (p.row == ROW_NONE || gp_before(step, written) || step - written < limit ||
			is_used(t, p.row, step, limit))
			continue;
		if (evicted)
			evicted(arg, id);
		rows_remove(t, &p, rows_hash(t, id));
		count++;
	}
	return count;
}

// The hand goes to the next segment; at the last one a round ends.
static void segment_next(struct gp_rows *t, const struct rows_bucket *segment)
{
	size_t slab = (size_t)((const uint8_t *)segment - t->slabs) / SLAB_SIZE;
	uint32_t depth = atomic_load_explicit(&t->slab[slab].depth, memory_order_relaxed);
	uint64_t span = depth ? UINT64_C(1) << (64 - depth) : 0;
	t->sweep_bucket = 0;
	t->sweep_at = depth ? (t->sweep_at & ~(span - 1)) + span : 0;
	if (t->sweep_at == 0)
		round_done(t);
}

uint32_t gp_rows_evict(struct gp_rows *t, uint32_t step, uint32_t buckets,
	void (*evicted)(void *arg, uint64_t id), void *arg)
{
	uint32_t count = 0;
	if (t->cfg.eviction == GP_ROWS_EVICT_NONE)
		return 0;
	for (uint32_t i = 0; i < buckets; i++) {
		struct rows_bucket *segment = rows_segment(t, t->sweep_at);
		count += bucket_sweep(t, &segment[t->sweep_bucket], step, evicted, arg);
		if (++t->sweep_bucket == BUCKETS)
			segment_next(t, segment);
	}
	if (count > 0)
		rows_count(&t->stats.evicted, count);
	return count;
}
