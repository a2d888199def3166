// SPDX-License-Identifier: BSD-3-Clause
//
// Memory of a table of rows and its index: slabs, segments that become two, rows that come and go.
#include "rows_priv.h"

#include <math.h>

// Rows to a segment, on average, beyond which there are twice as many.
#define SEGMENT_ROWS (SPLIT_AT - SPLIT_AT / 32)

// ---- configuration and memory

// Values come first.
static uint32_t state_at(const struct gp_rows_config *cfg)
{
	return cfg->bf16 ? (cfg->dim + 1) / 2 : cfg->dim;
}

static uint32_t row_floats(const struct gp_rows_config *cfg)
{
	uint32_t state = gp_optim_row_state(cfg->optim.kind, cfg->dim);
	uint32_t used = cfg->reads ? sizeof(uint64_t) / sizeof(float) : 0;
	return (uint32_t)gp_align_up(state_at(cfg) + state + used, ROW_UNIT / sizeof(float));
}

static uint32_t rows_per_slab(const struct gp_rows_config *cfg)
{
	return SLAB_SIZE / (row_floats(cfg) * (uint32_t)sizeof(float));
}

int gp_rows_check(const struct gp_rows_config *cfg, const char **why)
{
	*why = NULL;
	if (gp_optim_check(&cfg->optim, why) != 0)
		return -EINVAL;
	if (cfg->dim < 1 || cfg->dim > GP_ROWS_FLOATS_MAX || row_floats(cfg) > GP_ROWS_FLOATS_MAX)
		*why = "dim: values and state of a row are not within 1..8192 floats";
	else if (cfg->rows_max < 1 || cfg->rows_max > GP_ROWS_BYTES_MAX / ROW_UNIT ||
		 gp_div_up(cfg->rows_max, rows_per_slab(cfg)) * SLAB_SIZE > GP_ROWS_BYTES_MAX)
		*why = "rows_max: none, or more than 16 GiB of rows on one core";
	else if ((unsigned)cfg->initial > GP_ROWS_NORMAL)
		*why = "initial is none of zeros, uniform, normal";
	else if (!isfinite(cfg->initial_scale) || cfg->initial_scale < 0)
		*why = "initial_scale is negative or not finite";
	else if ((unsigned)cfg->eviction > GP_ROWS_EVICT_STEP)
		*why = "eviction is none of none, age, step";
	else if (cfg->eviction == GP_ROWS_EVICT_AGE && cfg->evict_after < 1)
		*why = "evict_after is 0";
	return *why ? -EINVAL : 0;
}

// Segments fill evenly, so there are twice as many about as soon as one is full.
static uint32_t segments_max(const struct gp_rows_config *cfg)
{
	return (uint32_t)gp_pow2_up(gp_div_up(cfg->rows_max, SEGMENT_ROWS));
}

// Slabs of segments: some are ahead of the others, and one that was split waits for its grace
// period.
static uint32_t index_slabs_max(const struct gp_rows_config *cfg)
{
	uint32_t segments = segments_max(cfg);
	return segments + segments / 16 + 16;
}

static uint32_t row_slabs_max(const struct gp_rows_config *cfg)
{
	return (uint32_t)gp_div_up(cfg->rows_max, rows_per_slab(cfg));
}

static uint32_t slabs_max(const struct gp_rows_config *cfg)
{
	return row_slabs_max(cfg) + index_slabs_max(cfg);
}

// One bit more than segments: some are ahead of the others.
static uint32_t dir_bits(const struct gp_rows_config *cfg)
{
	return (uint32_t)__builtin_ctz(segments_max(cfg)) + 2;
}

// The parts of the region, each on a line of its own; the slabs come last.
struct parts {
	size_t dir, stripes, slab, scratch, wide, slabs, end;
};

static struct parts parts_of(const struct gp_rows_config *cfg)
{
	struct parts p;
	p.dir = gp_align_up(sizeof(struct gp_rows), GP_CACHE_LINE);
	p.stripes = p.dir + gp_align_up(sizeof(void *) << dir_bits(cfg), GP_CACHE_LINE);
	p.slab = p.stripes + STRIPES * sizeof(uint64_t);
	p.scratch = p.slab + gp_align_up(sizeof(struct rows_slab) * slabs_max(cfg), GP_CACHE_LINE);
	p.wide = p.scratch + gp_align_up(sizeof(float) * row_floats(cfg), GP_CACHE_LINE);
	p.slabs = gp_align_up(p.wide + 2 * sizeof(float) * cfg->dim, 4096);
	p.end = p.slabs + (size_t)SLAB_SIZE * slabs_max(cfg);
	return p;
}

size_t gp_rows_size(const struct gp_rows_config *cfg)
{
	return parts_of(cfg).end + 4096; // the slabs begin on a page
}

void rows_empty(struct rows_bucket *segment)
{
	for (uint32_t b = 0; b < BUCKETS; b++) {
		for (uint32_t s = 0; s < SLOTS; s++) {
			atomic_store_explicit(&segment[b].id[s], 0, memory_order_relaxed);
			atomic_store_explicit(&segment[b].row[s], ROW_NONE, memory_order_relaxed);
		}
	}
}

// ---- slabs

static uint32_t slab_fresh(struct gp_rows *t)
{
	GP_ASSERT(t->slabs_used < t->slabs_max);
	rows_count(&t->stats.memory_used, SLAB_SIZE);
	return t->slabs_used++;
}

// For a segment; a retired one comes back when no reader can be in it any more. SLAB_NONE: not now.
static uint32_t slab_take(struct gp_rows *t)
{
	uint32_t first = t->retired_first;
	if (t->slabs_retired > 0 && gp_rcu_grace_over(t->grace, t->slab[first].stamp)) {
		t->retired_first = t->slab[first].next;
		t->slabs_retired--;
		return first;
	}
	if (t->index_left == 0)
		return SLAB_NONE;
	t->index_left--;
	return slab_fresh(t);
}

static void slab_retire(struct gp_rows *t, uint32_t slab)
{
	t->slab[slab].stamp = gp_rcu_grace_stamp(t->grace);
	if (t->slabs_retired++ == 0)
		t->retired_first = slab;
	else
		t->slab[t->retired_last].next = slab;
	t->retired_last = slab;
}

// Never used by a reader: at the head of the queue, free at once.
static void slab_untake(struct gp_rows *t, uint32_t slab)
{
	t->slab[slab].stamp = 0;
	t->slab[slab].next = t->retired_first;
	if (t->slabs_retired++ == 0)
		t->retired_last = slab;
	t->retired_first = slab;
}

static struct rows_bucket *slab_segment(const struct gp_rows *t, uint32_t slab)
{
	return (struct rows_bucket *)(void *)(t->slabs + (size_t)slab * SLAB_SIZE);
}

static uint32_t segment_slab(const struct gp_rows *t, const struct rows_bucket *segment)
{
	return (uint32_t)(((const uint8_t *)segment - t->slabs) / SLAB_SIZE);
}

struct gp_rows *gp_rows_init(
	void *mem, const struct gp_rows_config *cfg, const struct gp_rcu_grace *grace)
{
	const char *why;
	const struct parts p = parts_of(cfg);
	struct gp_rows *t = mem;
	uint8_t *base = mem;
	GP_ASSERT(gp_rows_check(cfg, &why) == 0 && (uintptr_t)mem % GP_CACHE_LINE == 0);
	*t = (struct gp_rows){
		.cfg = *cfg,
		.grace = grace,
		.state = gp_optim_row_state(cfg->optim.kind, cfg->dim),
		.state_at = state_at(cfg),
		.used_at = cfg->reads ? row_floats(cfg) - 2 : 0,
		.row_units = row_floats(cfg) * (uint32_t)sizeof(float) / ROW_UNIT,
		.rows_per_slab = rows_per_slab(cfg),
		.dir_bits = dir_bits(cfg),
		.slabs_max = slabs_max(cfg),
		.index_left = index_slabs_max(cfg),
		.row_slabs_left = row_slabs_max(cfg),
		.dir = (void *)(base + p.dir),
		.stripes = (void *)(base + p.stripes),
		.slab = (void *)(base + p.slab),
		.scratch = (void *)(base + p.scratch),
		.wide = (void *)(base + p.wide),
		.slabs = (uint8_t *)gp_align_up((uintptr_t)base + p.slabs, 4096),
		.row_free = ROW_NONE,
		.age_limit = INT32_MAX,
	};
	GP_ASSERT(t->dir_bits <= DIR_BITS_MAX);
	memset(base + p.stripes, 0, p.slabs - p.stripes);
	struct rows_bucket *first = slab_segment(t, slab_take(t));
	rows_empty(first);
	for (uint32_t i = 0; i < UINT32_C(1) << t->dir_bits; i++)
		gp_rcu_publish(&t->dir[i], first);
	return t;
}

const struct gp_rows_stats *gp_rows_stats(const struct gp_rows *t)
{
	return &t->stats;
}

uint32_t gp_rows_dim(const struct gp_rows *t)
{
	return t->cfg.dim;
}

uint32_t gp_rows_state(const struct gp_rows *t)
{
	return t->state;
}

// ---- rows

static uint32_t row_take(struct gp_rows *t)
{
	uint32_t row = t->row_free;
	if (row != ROW_NONE) {
		t->row_free = gp_load32(rows_data(t, row));
		return row;
	}
	if (t->row_left == 0) {
		GP_ASSERT(t->row_slabs_left > 0); // there are enough for rows_max
		t->row_slabs_left--;
		uint32_t slab = slab_fresh(t);
		t->row_next = slab * (SLAB_SIZE / ROW_UNIT);
		t->row_left = t->rows_per_slab;
	}
	row = t->row_next;
	t->row_next += t->row_units;
	t->row_left--;
	return row;
}

// A late reader may still copy from it; it finds its stripe moved and drops the copy.
static void row_give(struct gp_rows *t, uint32_t row)
{
	_Atomic uint64_t *word = (_Atomic uint64_t *)(void *)rows_data(t, row);
	atomic_store_explicit(word, t->row_free, memory_order_release);
	t->row_free = row;
}

// ---- entries

static bool entry_free(const struct rows_bucket *b, uint32_t *slot)
{
	for (uint32_t s = 0; s < SLOTS; s++) {
		if (rows_row(b, s) == ROW_NONE) {
			*slot = s;
			return true;
		}
	}
	return false;
}

// The first free entry of a segment from the hash's home on; how far from it in *far.
static struct rows_place entry_seek(struct rows_bucket *segment, uint64_t hash, uint32_t *far)
{
	uint32_t at = rows_home(hash), slot;
	for (*far = 0; *far < BUCKETS; ++*far, at = (at + 1) & (BUCKETS - 1)) {
		if (entry_free(&segment[at], &slot))
			return (struct rows_place){.bucket = &segment[at], .slot = slot};
	}
	return (struct rows_place){.bucket = NULL};
}

// Marks the buckets between home and the entry, so that rows_find goes on there.
static void entry_mark(struct rows_bucket *segment, uint64_t hash, uint32_t far)
{
	uint32_t at = rows_home(hash);
	for (uint32_t n = 0; n < far; n++, at = (at + 1) & (BUCKETS - 1)) {
		uint32_t row = atomic_load_explicit(&segment[at].row[0], memory_order_relaxed);
		if (!(row & ROW_OVER))
			atomic_store_explicit(
				&segment[at].row[0], row | ROW_OVER, memory_order_release);
	}
}

static void entry_row_set(const struct rows_place *p, uint32_t row)
{
	_Atomic uint32_t *at = &p->bucket->row[p->slot];
	uint32_t flag = atomic_load_explicit(at, memory_order_relaxed) & ROW_OVER;
	atomic_store_explicit(at, row | flag, memory_order_release);
}

// ---- one segment becomes two

static void entry_move(struct gp_rows *t, struct rows_bucket *to, const struct rows_bucket *b,
	uint32_t s, uint64_t hash, uint64_t id)
{
	uint32_t far, step = atomic_load_explicit(&b->step[s], memory_order_relaxed);
	struct rows_place p = entry_seek(to, hash, &far);
	GP_ASSERT(p.bucket); // a half has room for all of the whole
	entry_mark(to, hash, far);
	atomic_store_explicit(&p.bucket->id[p.slot], id, memory_order_relaxed);
	atomic_store_explicit(&p.bucket->step[p.slot], step, memory_order_relaxed);
	entry_row_set(&p, rows_row(b, s));
	t->slab[segment_slab(t, to)].count++;
}

static void segment_divide(struct gp_rows *t, const struct rows_bucket *old, uint32_t depth,
	struct rows_bucket *half[2])
{
	rows_empty(half[0]);
	rows_empty(half[1]);
	for (uint32_t i = 0; i < BUCKETS; i++) {
		for (uint32_t s = 0; s < SLOTS; s++) {
			if (rows_row(&old[i], s) == ROW_NONE)
				continue;
			uint64_t id = atomic_load_explicit(&old[i].id[s], memory_order_relaxed);
			uint64_t hash = rows_hash(t, id);
			entry_move(t, half[hash >> (63 - depth) & 1], &old[i], s, hash, id);
		}
	}
}

// False when the directory is as deep as it gets or there is no memory now.
static bool segment_split(struct gp_rows *t, uint64_t hash)
{
	struct rows_bucket *old = rows_segment(t, hash), *half[2];
	uint32_t whole = segment_slab(t, old), slab[2];
	uint32_t depth = atomic_load_explicit(&t->slab[whole].depth, memory_order_relaxed);
	if (depth == t->dir_bits)
		return false;
	slab[0] = slab_take(t);
	slab[1] = slab[0] == SLAB_NONE ? SLAB_NONE : slab_take(t);
	if (slab[1] == SLAB_NONE) {
		if (slab[0] != SLAB_NONE)
			slab_untake(t, slab[0]);
		return false;
	}
	for (uint32_t i = 0; i < 2; i++) {
		half[i] = slab_segment(t, slab[i]);
		t->slab[slab[i]].count = 0;
		atomic_store_explicit(&t->slab[slab[i]].depth, depth + 1, memory_order_relaxed);
	}
	segment_divide(t, old, depth, half);
	uint32_t span = UINT32_C(1) << (t->dir_bits - depth),
		 first = rows_dir_at(t, hash) & ~(span - 1);
	for (uint32_t i = 0; i < span; i++)
		gp_rcu_publish(&t->dir[first + i], half[i >= span / 2]);
	slab_retire(t, whole);
	t->moves++;
	rows_count(&t->stats.splits, 1);
	return true;
}

// ---- what updates use

static struct rows_place entry_take(struct gp_rows *t, uint64_t hash)
{
	for (;;) {
		uint32_t far;
		struct rows_bucket *segment = rows_segment(t, hash);
		struct rows_place p = entry_seek(segment, hash, &far);
		struct rows_slab *slab = &t->slab[segment_slab(t, segment)];
		if ((slab->count >= SPLIT_AT || far >= PROBE_MAX) && segment_split(t, hash))
			continue; // at most dir_bits times
		if (!p.bucket || far >= PROBE_MAX)
			return (struct rows_place){.bucket = NULL};
		entry_mark(segment, hash, far);
		slab->count++;
		return p;
	}
}

bool gp_rows_waits(const struct gp_rows *t)
{
	uint64_t rows = atomic_load_explicit(&t->stats.rows, memory_order_relaxed);
	return rows < t->cfg.rows_max && t->slabs_retired > 0;
}

struct rows_place rows_take(struct gp_rows *t, uint64_t hash)
{
	struct rows_place none = {.bucket = NULL};
	uint64_t rows = atomic_load_explicit(&t->stats.rows, memory_order_relaxed);
	uint32_t row = rows < t->cfg.rows_max ? row_take(t) : ROW_NONE;
	if (row == ROW_NONE)
		return none;
	struct rows_place p = entry_take(t, hash);
	if (!p.bucket) {
		row_give(t, row);
		return none;
	}
	p.row = row;
	return p;
}

void rows_show(struct gp_rows *t, const struct rows_place *p, uint64_t hash, uint64_t id,
	uint32_t step, const float *row)
{
	_Atomic uint64_t *stripe = rows_stripe(t, hash);
	rows_change_begin(stripe);
	rows_store(rows_data(t, p->row), row, t->row_units * (ROW_UNIT / 4));
	atomic_store_explicit(&p->bucket->id[p->slot], id, memory_order_release);
	atomic_store_explicit(&p->bucket->step[p->slot], step, memory_order_release);
	entry_row_set(p, p->row);
	rows_change_end(stripe);
	rows_count(&t->stats.rows, 1);
}

void rows_remove(struct gp_rows *t, const struct rows_place *p, uint64_t hash)
{
	_Atomic uint64_t *stripe = rows_stripe(t, hash);
	rows_change_begin(stripe);
	entry_row_set(p, ROW_NONE);
	rows_change_end(stripe);
	t->slab[segment_slab(t, p->bucket)].count--;
	row_give(t, p->row);
	rows_count(&t->stats.rows, UINT64_MAX);
}
