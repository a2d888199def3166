// SPDX-License-Identifier: BSD-3-Clause
//
// Readers on other threads: copy, then see whether the owner changed anything meanwhile.
#include "rows_priv.h"

// An even count of the stripe before the first look; odd while the owner is at it.
static uint64_t look_begin(const struct gp_rows *t, uint64_t hash)
{
	return atomic_load_explicit(rows_stripe(t, hash), memory_order_acquire);
}

// All loads since were acquires, so this one comes after them.
static bool look_whole(const struct gp_rows *t, uint64_t hash, uint64_t before)
{
	uint64_t now = atomic_load_explicit(rows_stripe(t, hash), memory_order_relaxed);
	return (before & 1) == 0 && now == before;
}

static void floats_copy(const float *from, uint32_t count, float *to)
{
	for (uint32_t i = 0; i < count; i++) {
		const _Atomic uint32_t *word = (const _Atomic uint32_t *)(const void *)(from + i);
		gp_store32(to + i, atomic_load_explicit(word, memory_order_acquire));
	}
}

// bf16 in the first half of `values` becomes f32 in all of it.
static void values_widen(uint32_t dim, float *values)
{
	const uint8_t *from = (const uint8_t *)values;
	for (uint32_t i = dim; i-- > 0;)
		gp_store32(values + i, (uint32_t)gp_load16(from + 2 * (size_t)i) << 16);
}

// The stored values fit `values`, whatever they are: no more than dim f32.
static void row_copy(const struct gp_rows *t, uint32_t row, float *values, float *state)
{
	const float *data = rows_data(t, row);
	if (values)
		floats_copy(data, t->state_at, values);
	if (values && t->cfg.bf16)
		values_widen(t->cfg.dim, values);
	if (state)
		floats_copy(data + t->state_at, t->state, state);
}

// Not before it was written: 0 is no step.
static uint32_t row_used(const struct gp_rows *t, uint32_t row, uint32_t step)
{
	if (t->used_at == 0)
		return step;
	uint32_t used = (uint32_t)atomic_load_explicit(rows_used(t, row), memory_order_acquire);
	return gp_before(used, step) ? step : used;
}

int gp_rows_read(const struct gp_rows *t, uint64_t id, float *values, float *state, uint32_t *step)
{
	uint32_t used;
	return gp_rows_read_use(t, id, values, state, step, &used);
}

int gp_rows_read_use(const struct gp_rows *t, uint64_t id, float *values, float *state,
	uint32_t *step, uint32_t *used)
{
	uint64_t hash = rows_hash(t, id);
	for (uint32_t i = 0; i < GP_ROWS_TRIES; i++) {
		uint64_t before = look_begin(t, hash);
		struct rows_place p = rows_find(rows_segment(t, hash), hash, id);
		if (p.bucket) {
			row_copy(t, p.row, values, state);
			*step = atomic_load_explicit(&p.bucket->step[p.slot], memory_order_acquire);
			*used = row_used(t, p.row, *step);
		}
		if (look_whole(t, hash, before))
			return p.bucket ? 0 : -ENOENT;
	}
	return -EAGAIN;
}

void gp_rows_ahead(const struct gp_rows *t, uint64_t id, bool near)
{
	uint64_t hash = rows_hash(t, id);
	const struct rows_bucket *b = &rows_segment(t, hash)[rows_home(hash)];
	if (!near) {
		__builtin_prefetch(b);
		return;
	}
	uint32_t match = rows_match(b, id);
	uint32_t row = match ? rows_row(b, (uint32_t)__builtin_ctz(match)) : ROW_NONE;
	if (row == ROW_NONE)
		return;
	const uint8_t *data = (const uint8_t *)rows_data(t, row);
	for (uint32_t at = 0; at < t->row_units * ROW_UNIT; at += GP_CACHE_LINE)
		__builtin_prefetch(data + at);
}

// One entry of a segment, by its id: what lies in the entry may change under our eyes.
static void scan_entry(const struct gp_rows *t, struct gp_rows_scan *scan, uint64_t id)
{
	uint32_t step;
	float *state = scan->row ? scan->row + t->cfg.dim : NULL;
	int rc = gp_rows_read(t, id, scan->row, state, &step);
	if (rc == 0)
		scan->row_seen(scan->arg, id, step, scan->row);
	scan->missed += rc == -EAGAIN;
}

bool gp_rows_scan(const struct gp_rows *t, struct gp_rows_scan *scan)
{
	struct rows_bucket *segment = rows_segment(t, scan->next);
	size_t slab = (size_t)((uint8_t *)segment - t->slabs) / SLAB_SIZE;
	uint32_t depth = atomic_load_explicit(&t->slab[slab].depth, memory_order_relaxed);
	for (uint32_t i = 0; i < BUCKETS; i++) {
		for (uint32_t s = 0; s < SLOTS; s++) {
			if (rows_row(&segment[i], s) == ROW_NONE)
				continue;
			uint64_t id = atomic_load_explicit(&segment[i].id[s], memory_order_acquire);
			scan_entry(t, scan, id);
		}
	}
	if (depth == 0)
		return false;
	uint64_t span = UINT64_C(1) << (64 - depth);
	scan->next = (scan->next & ~(span - 1)) + span;
	return scan->next != 0;
}
