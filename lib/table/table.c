// SPDX-License-Identifier: BSD-3-Clause
#include <gp_table.h>

#include <errno.h>

// One barrier for so many retired versions; fewer where a table has few to spare.
#define STAMP_BATCH_MAX	     32
#define BLOCKS_PER_UNSTAMPED 64
#define STAMP_NONE	     UINT64_MAX
// Versions looked at in one turn, so that none takes long.
#define RECLAIM_BATCH	32
#define SPARES_PER_LINE (GP_CACHE_LINE / sizeof(struct gp_spare))
// Lines that one call of gp_table_prefetch_next brings near, at least.
#define NEXT_LINES_MIN 22

static size_t version_size(uint32_t elems_max, uint32_t states_count)
{
	return sizeof(struct gp_version) + sizeof(float) * elems_max * (1 + (size_t)states_count);
}

static uint32_t versions_count(const struct gp_table_config *cfg)
{
	uint64_t percent = cfg->kept_percent ? cfg->kept_percent : 100;
	uint32_t kept = (uint32_t)((cfg->blocks_count * percent + 99) / 100);
	return cfg->blocks_count * GP_TABLE_VERSIONS_PER_BLOCK + kept * cfg->cuts_max +
	       cfg->blocks_count / GP_TABLE_BLOCKS_PER_EXTRA + GP_TABLE_VERSIONS_EXTRA;
}

// Beside those for contributions there is one turn when a version is taken, one when it is
// published.
static uint32_t next_share(uint32_t lines, uint32_t contribs)
{
	return GP_MAX(lines / (contribs + 1) + 1, NEXT_LINES_MIN);
}

size_t gp_table_size(const struct gp_table_config *cfg)
{
	size_t version = version_size(cfg->elems_max, cfg->states_count) + sizeof(struct gp_spare);
	return sizeof(struct gp_block) * (size_t)cfg->blocks_count + version * versions_count(cfg) +
	       3 * GP_CACHE_LINE;
}

int gp_table_init(struct gp_table *t, struct gp_arena *arena, const struct gp_table_config *cfg,
	const struct gp_rcu_grace *grace)
{
	GP_ASSERT(cfg->elems_max > 0 && cfg->elems_max % 16 == 0);
	GP_ASSERT(cfg->kept_percent <= 100);
	GP_ASSERT(cfg->cuts_max > 0 && cfg->cuts_max <= GP_TABLE_CUTS_MAX);
	*t = (struct gp_table){
		.blocks_count = cfg->blocks_count,
		.elems_max = cfg->elems_max,
		.states_count = cfg->states_count,
		.versions_count = versions_count(cfg),
		.grace = grace,
		.sweep_at = cfg->blocks_count,
		.stamp_batch = GP_MIN(cfg->blocks_count / BLOCKS_PER_UNSTAMPED, STAMP_BATCH_MAX),
	};
	size_t size = version_size(cfg->elems_max, cfg->states_count);
	t->version_lines = (uint32_t)(size / GP_CACHE_LINE);
	t->next_share = next_share(t->version_lines, cfg->contribs);
	t->blocks = gp_arena_take(
		arena, sizeof(struct gp_block) * (size_t)cfg->blocks_count, GP_CACHE_LINE);
	uint8_t *versions = gp_arena_take(arena, size * t->versions_count, GP_CACHE_LINE);
	t->spare = gp_arena_take(
		arena, sizeof(struct gp_spare) * (size_t)t->versions_count, GP_CACHE_LINE);
	if (!t->blocks || !versions || !t->spare)
		return -ENOMEM;
	for (uint32_t i = t->versions_count; i-- > 0;)
		gp_table_untake(t, (struct gp_version *)(void *)(versions + size * i));
	return 0;
}

// Entry `at` of the spare ones in the order of their reuse.
static struct gp_spare *spare_at(const struct gp_table *t, uint32_t at)
{
	uint32_t i = t->spare_first + at;
	return &t->spare[i < t->versions_count ? i : i - t->versions_count];
}

// Reading the count of grace periods takes a full barrier, which waits for the stores to memory
// that a completion has just made: one for many versions.
static void retired_stamp(struct gp_table *t)
{
	if (t->unstamped_count == 0)
		return;
	uint64_t stamp = gp_rcu_grace_stamp(t->grace);
	for (uint32_t i = 1; i <= t->unstamped_count; i++) {
		struct gp_spare *s = spare_at(t, t->free_count + t->retired_count - i);
		if (s->stamp == STAMP_NONE)
			s->stamp = stamp;
	}
	t->unstamped_count = 0;
}

static void spare_put(struct gp_table *t, struct gp_version *v, uint64_t stamp)
{
	GP_ASSERT(t->free_count + t->retired_count < t->versions_count);
	struct gp_spare *last = spare_at(t, t->free_count + t->retired_count);
	*last = (struct gp_spare){.v = v, .stamp = stamp};
	__builtin_prefetch(last + 2 * SPARES_PER_LINE, 1);
	t->retired_count++;
	t->unstamped_count += stamp == STAMP_NONE || t->unstamped_count > 0;
}

// Some of the retired versions become free: those that nobody can see any more. The ring is in
// order of retirement, which is that of the blocks: versions are written in the order in which they
// lie in memory.
static void table_reclaim(struct gp_table *t)
{
	if (t->retired_count <= t->unstamped_count)
		retired_stamp(t);
	for (uint32_t n = GP_MIN(t->retired_count, RECLAIM_BATCH); n > 0; n--) {
		if (!gp_rcu_grace_over(t->grace, spare_at(t, t->free_count)->stamp))
			return;
		t->free_count++;
		t->retired_count--;
	}
	for (uint32_t i = 0; i < RECLAIM_BATCH; i += SPARES_PER_LINE) // those of the next turn
		__builtin_prefetch(spare_at(t, t->free_count) + i);
}

static struct gp_version *free_first(const struct gp_table *t)
{
	return t->free_count > 0 ? spare_at(t, 0)->v : NULL;
}

static void free_pop(struct gp_table *t)
{
	t->free_count--;
	if (++t->spare_first == t->versions_count)
		t->spare_first = 0;
}

// Those that a frame still refers to go behind the retired ones.
static void held_pass(struct gp_table *t)
{
	struct gp_version *v;
	for (uint32_t n = t->free_count; n > 0; n--) {
		v = free_first(t);
		if (v->hold.count == 0)
			return;
		free_pop(t);
		spare_put(t, v, 0);
	}
}

// None will be free when grace periods end, because blocks and cuts name them all; or some will.
static void table_short(struct gp_table *t)
{
	_Atomic uint32_t *count = t->retired_count == 0 ? &t->shortages : &t->waits;
	uint32_t n = atomic_load_explicit(count, memory_order_relaxed);
	atomic_store_explicit(count, n + 1, memory_order_relaxed);
}

void gp_table_prefetch_next(struct gp_table *t)
{
	uint32_t lines = GP_MIN(t->next_lines, t->next_share);
	const uint8_t *p = t->next;
	t->next_lines -= lines;
#pragma GCC unroll 4
	for (; lines > 0; lines--, p += GP_CACHE_LINE)
		__builtin_prefetch(p, 1);
	t->next = p;
}

struct gp_version *gp_table_take(struct gp_table *t)
{
	for (uint32_t left = t->free_count + t->retired_count; left > 0;) {
		if (t->free_count == 0)
			table_reclaim(t);
		uint32_t free = t->free_count;
		held_pass(t);
		if (free == 0 || t->free_count > 0)
			break;
		left -= GP_MIN(left, free);
	}
	struct gp_version *v = free_first(t);
	if (!v) {
		table_short(t);
		return NULL;
	}
	free_pop(t);
	if (t->free_count == 0)
		table_reclaim(t);
	t->next = (const uint8_t *)free_first(t);
	t->next_lines = t->next ? t->version_lines : 0;
	gp_table_prefetch_next(t);
	return v;
}

void gp_table_untake(struct gp_table *t, struct gp_version *v)
{
	GP_ASSERT(v->hold.count == 0);
	GP_ASSERT(t->free_count + t->retired_count < t->versions_count);
	t->spare_first = (t->spare_first > 0 ? t->spare_first : t->versions_count) - 1;
	*spare_at(t, 0) = (struct gp_spare){.v = v};
	t->free_count++;
}

static void table_retire(struct gp_table *t, struct gp_version *v)
{
	spare_put(t, v, STAMP_NONE);
	if (t->unstamped_count >= t->stamp_batch)
		retired_stamp(t);
}

// ---- versions that cuts need

// Whether a live cut sees the version of generation `from` when the next one is of `to`.
static bool is_needed(const struct gp_table *t, uint32_t from, uint32_t to)
{
	uint32_t n = atomic_load_explicit(&t->cuts_count, memory_order_relaxed);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t cut = atomic_load_explicit(&t->cuts[i], memory_order_relaxed);
		if (!gp_before(cut, from) && gp_before(cut, to))
			return true;
	}
	return false;
}

static struct gp_version *older_of(const struct gp_version *v)
{
	return atomic_load_explicit(&v->older, memory_order_relaxed);
}

static uint32_t kept_load(const struct gp_table *t)
{
	return atomic_load_explicit(&t->kept_count, memory_order_relaxed);
}

static void kept_add(struct gp_table *t, uint32_t n)
{
	atomic_store_explicit(&t->kept_count, kept_load(t) + n, memory_order_relaxed);
}

// `v`, which has nothing behind it, takes the place of `cur`; that stays behind it if a cut needs
// it. Without cuts neither is looked at: they are two lines of memory.
static void head_replace(struct gp_table *t, struct gp_block *b, struct gp_version *v)
{
	struct gp_version *old = atomic_load_explicit(&b->cur, memory_order_relaxed);
	bool cuts = atomic_load_explicit(&t->cuts_count, memory_order_relaxed) > 0;
	bool keep = old && cuts && is_needed(t, old->step, v->step);
	if (keep)
		kept_add(t, 1);
	if (old && (keep || kept_load(t) > 0))
		atomic_store_explicit(&v->older, keep ? old : older_of(old), memory_order_relaxed);
	gp_rcu_publish(&b->cur, v);
	if (old && !keep)
		table_retire(t, old);
}

// Drops from behind `cur` what no live cut needs.
static void chain_prune(struct gp_table *t, struct gp_block *b)
{
	if (kept_load(t) == 0)
		return;
	struct gp_version *newer = atomic_load_explicit(&b->cur, memory_order_relaxed);
	while (newer && older_of(newer)) {
		struct gp_version *v = older_of(newer);
		if (is_needed(t, v->step, newer->step)) {
			newer = v;
			continue;
		}
		gp_rcu_publish(&newer->older, older_of(v));
		kept_add(t, UINT32_MAX);
		table_retire(t, v);
	}
}

void gp_table_publish(struct gp_table *t, struct gp_block *b, struct gp_version *v)
{
	struct gp_version *shadow = atomic_load_explicit(&b->shadow, memory_order_relaxed);
	if (shadow)
		head_replace(t, b, shadow);
	atomic_store_explicit(&v->older, NULL, memory_order_relaxed);
	gp_rcu_publish(&b->shadow, v);
	b->done_step = v->step;
	if (t->next_lines > 0)
		gp_table_prefetch_next(t);
}

void gp_table_replace(struct gp_table *t, struct gp_block *b, struct gp_version *v)
{
	GP_ASSERT(!atomic_load_explicit(&b->shadow, memory_order_relaxed));
	atomic_store_explicit(&v->older, NULL, memory_order_relaxed);
	head_replace(t, b, v);
	chain_prune(t, b);
	if (t->next_lines > 0)
		gp_table_prefetch_next(t);
}

void gp_table_settle(struct gp_table *t, struct gp_block *b)
{
	struct gp_version *shadow = atomic_load_explicit(&b->shadow, memory_order_relaxed);
	if (!shadow)
		return;
	head_replace(t, b, shadow);
	gp_rcu_publish(&b->shadow, NULL);
}

void gp_table_abort(struct gp_table *t, struct gp_block *b, uint32_t committed)
{
	struct gp_version *shadow = atomic_load_explicit(&b->shadow, memory_order_relaxed);
	if (!shadow || !gp_before(committed, shadow->step))
		return;
	gp_rcu_publish(&b->shadow, NULL);
	table_retire(t, shadow);
	b->done_step = committed;
}

void gp_table_cut_begin(struct gp_table *t, uint32_t step)
{
	uint32_t n = atomic_load_explicit(&t->cuts_count, memory_order_relaxed);
	GP_ASSERT(n < GP_TABLE_CUTS_MAX && !gp_table_cut_is_live(t, step));
	atomic_store_explicit(&t->cuts[n], step, memory_order_relaxed);
	atomic_store_explicit(&t->cuts_count, n + 1, memory_order_release);
}

void gp_table_cut_end(struct gp_table *t, uint32_t step)
{
	uint32_t n = atomic_load_explicit(&t->cuts_count, memory_order_relaxed);
	uint32_t i = 0;
	while (i < n && atomic_load_explicit(&t->cuts[i], memory_order_relaxed) != step)
		i++;
	GP_ASSERT(i < n);
	uint32_t last = atomic_load_explicit(&t->cuts[n - 1], memory_order_relaxed);
	atomic_store_explicit(&t->cuts[i], last, memory_order_relaxed);
	atomic_store_explicit(&t->cuts_count, n - 1, memory_order_release);
	t->sweep_at = 0;
}

uint32_t gp_table_sweep(struct gp_table *t, uint32_t blocks_max)
{
	uint32_t n = GP_MIN(blocks_max, t->blocks_count - t->sweep_at);
	for (uint32_t i = 0; i < n; i++)
		chain_prune(t, &t->blocks[t->sweep_at + i]);
	t->sweep_at += n;
	return n;
}

bool gp_table_cut_is_live(const struct gp_table *t, uint32_t step)
{
	uint32_t n = atomic_load_explicit(&t->cuts_count, memory_order_acquire);
	for (uint32_t i = 0; i < n; i++)
		if (atomic_load_explicit(&t->cuts[i], memory_order_relaxed) == step)
			return true;
	return false;
}

struct gp_version *gp_table_find_at(const struct gp_block *b, uint32_t step)
{
	struct gp_version *v = gp_rcu_dereference(&b->cur);
	while (v && gp_before(step, v->step))
		v = gp_rcu_dereference(&v->older);
	return v;
}

struct gp_version *gp_table_find(const struct gp_block *b, uint32_t step)
{
	// The owner moves a version from shadow to cur, writes the new place before it overwrites
	// the old one, and links what it replaces behind it before it does: looking in that order
	// cannot miss a version that stays.
	struct gp_version *v = gp_rcu_dereference(&b->shadow);
	if (v && v->step == step)
		return v;
	v = gp_table_find_at(b, step);
	return v && v->step == step ? v : NULL;
}
