// SPDX-License-Identifier: BSD-3-Clause
//
// How a table of rows lies in memory, and what its parts share.
#ifndef ROWS_PRIV_H
#define ROWS_PRIV_H

#include <gp_rows.h>

#include <errno.h>

#define SLAB_SIZE    32768u
#define SLOTS	     ((uint32_t)GP_ROWS_BUCKET)
#define BUCKETS	     (SLAB_SIZE / GP_CACHE_LINE)
#define ROW_UNIT     16u // rows begin at multiples of it
#define ROW_NONE     0x7fffffffu
#define ROW_MASK     0x7fffffffu
#define ROW_OVER     0x80000000u // in row[0]: an insert found this bucket full and went on
#define SPLIT_AT     (BUCKETS * SLOTS * 7 / 8) // entries of a segment that becomes two
#define PROBE_MAX    64u // buckets from home at which a row is refused where it cannot
#define STRIPES	     4096u
#define SLAB_NONE    UINT32_MAX
#define DIR_BITS_MAX 24u

// Written by the owner, read by all: `row` last when an entry appears.
struct rows_bucket {
	_Atomic uint64_t id[SLOTS];
	_Atomic uint32_t row[SLOTS]; // in ROW_UNIT from the first slab, with ROW_OVER in row[0]
	_Atomic uint32_t step[SLOTS];
};
_Static_assert(sizeof(struct rows_bucket) == GP_CACHE_LINE, "one line a bucket");

struct rows_slab {
	uint64_t stamp;		// of a segment that was retired
	uint32_t next;		// in the retired queue
	uint32_t count;		// of a segment: entries in use
	_Atomic uint32_t depth; // of a segment: bits of the hash that its entries share
};

struct gp_rows {
	struct gp_rows_config cfg;
	struct gp_rows_stats stats;
	const struct gp_rcu_grace *grace;
	uint32_t state;	   // f32 of optimizer state in a row
	uint32_t state_at; // where it begins, in f32 from the row's start
	uint32_t used_at;  // likewise when it was used, u64 (rows_stamp); 0: there is none
	uint32_t row_units;
	uint32_t rows_per_slab;
	uint32_t dir_bits;
	uint32_t slabs_max;
	struct rows_bucket *_Atomic *dir; // [1 << dir_bits]
	_Atomic uint64_t *stripes;
	struct rows_slab *slab;
	uint8_t *slabs;
	// the owner's
	uint32_t slabs_used; // ever
	uint32_t index_left; // slabs that segments may still take
	uint32_t row_slabs_left;
	uint32_t slabs_retired;
	uint32_t retired_first, retired_last;
	uint32_t row_free; // list through the rows; ROW_NONE: empty
	uint32_t row_next; // the newest slab's next row
	uint32_t row_left;
	uint64_t moves;	   // entries may have moved: splits so far
	uint64_t sweep_at; // hash prefix of the segment that is swept
	uint32_t sweep_bucket;
	uint32_t age_limit; // GP_ROWS_EVICT_STEP
	float *scratch;	    // one row as it is stored
	float *wide;	    // values of one row as f32, and as many more
};

// Where a row is named.
struct rows_place {
	struct rows_bucket *bucket; // NULL: not there
	uint32_t slot;
	uint32_t row;
};

// splitmix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
static inline uint64_t rows_mix(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static inline uint64_t rows_hash(const struct gp_rows *t, uint64_t id)
{
	return rows_mix(id ^ t->cfg.hash_key);
}

static inline uint32_t rows_dir_at(const struct gp_rows *t, uint64_t hash)
{
	return (uint32_t)(hash >> (64 - t->dir_bits));
}

static inline struct rows_bucket *rows_segment(const struct gp_rows *t, uint64_t hash)
{
	return gp_rcu_dereference(&t->dir[rows_dir_at(t, hash)]);
}

static inline uint32_t rows_home(uint64_t hash)
{
	return (uint32_t)hash & (BUCKETS - 1);
}

static inline _Atomic uint64_t *rows_stripe(const struct gp_rows *t, uint64_t hash)
{
	return &t->stripes[hash >> 16 & (STRIPES - 1)];
}

static inline float *rows_data(const struct gp_rows *t, uint32_t row)
{
	return (float *)(void *)(t->slabs + (size_t)row * ROW_UNIT);
}

static inline uint32_t rows_row(const struct rows_bucket *b, uint32_t slot)
{
	return atomic_load_explicit(&b->row[slot], memory_order_acquire) & ROW_MASK;
}

// Bit s: the id of slot s is `id`, whether the slot is in use or not.
static inline uint32_t rows_match(const struct rows_bucket *b, uint64_t id)
{
	uint32_t match = 0;
	for (uint32_t s = 0; s < SLOTS; s++)
		match |= (uint32_t)(atomic_load_explicit(&b->id[s], memory_order_acquire) == id)
			 << s;
	return match;
}

// The entry of `id` in its segment. Every load is an acquire, so that a reader may check its stripe
// afterwards; where the owner calls it there is nothing to order.
static inline struct rows_place rows_find(struct rows_bucket *segment, uint64_t hash, uint64_t id)
{
	uint32_t at = rows_home(hash);
	for (uint32_t n = 0; n < BUCKETS; n++, at = (at + 1) & (BUCKETS - 1)) {
		struct rows_bucket *b = &segment[at];
		for (uint32_t m = rows_match(b, id); m; m &= m - 1) {
			uint32_t slot = (uint32_t)__builtin_ctz(m), row = rows_row(b, slot);
			if (row != ROW_NONE)
				return (struct rows_place){.bucket = b, .slot = slot, .row = row};
		}
		if (!(atomic_load_explicit(&b->row[0], memory_order_acquire) & ROW_OVER))
			break;
	}
	return (struct rows_place){.bucket = NULL};
}

// Between the two the stripe is odd: readers of its rows wait. The first change after begin and
// end itself are releases; they pair with the acquires of rows_find and of copies.
static inline void rows_change_begin(_Atomic uint64_t *stripe)
{
	uint64_t n = atomic_load_explicit(stripe, memory_order_relaxed);
	atomic_store_explicit(stripe, n + 1, memory_order_relaxed);
}

static inline void rows_change_end(_Atomic uint64_t *stripe)
{
	uint64_t n = atomic_load_explicit(stripe, memory_order_relaxed);
	atomic_store_explicit(stripe, n + 1, memory_order_release);
}

static inline void rows_store(float *to, const float *from, uint32_t floats)
{
	for (uint32_t i = 0; i < floats; i += 2) {
		_Atomic uint64_t *word = (_Atomic uint64_t *)(void *)(to + i);
		atomic_store_explicit(word, gp_load64(from + i), memory_order_release);
	}
}

// The step of the last use, and above it that of the last one that others were told of.
static inline uint64_t rows_use(uint32_t step, uint32_t told)
{
	return (uint64_t)told << 32 | step;
}

// Of a row as it is stored, which is written: who hears of that hears of the use.
static inline void rows_stamp(const struct gp_rows *t, float *row, uint32_t step)
{
	if (t->used_at > 0)
		gp_store64(row + t->used_at, rows_use(step, step));
}

static inline _Atomic uint64_t *rows_used(const struct gp_rows *t, uint32_t row)
{
	return (_Atomic uint64_t *)(void *)(rows_data(t, row) + t->used_at);
}

static inline void rows_count(_Atomic uint64_t *counter, uint64_t more)
{
	uint64_t n = atomic_load_explicit(counter, memory_order_relaxed);
	atomic_store_explicit(counter, n + more, memory_order_relaxed);
}

// The values of a new row as f32.
void rows_initial(const struct gp_rows *t, uint64_t id, float *values);
// A whole row as it is stored, from values and state; NULL: what a new row's state is.
void rows_build(const struct gp_rows *t, const float *values, const float *state, float *row);
// Values to and from a stored row.
void rows_pack(const struct gp_rows *t, const float *values, float *row);
void rows_unpack(const struct gp_rows *t, const float *row, float *values);
// A row for `id`, which is not there: its place, or one without bucket when full. Its bytes are
// what was there before; nobody sees it until rows_show.
struct rows_place rows_take(struct gp_rows *t, uint64_t hash) GP_MUST_CHECK;
void rows_show(struct gp_rows *t, const struct rows_place *p, uint64_t hash, uint64_t id,
	uint32_t step, const float *row);
void rows_remove(struct gp_rows *t, const struct rows_place *p, uint64_t hash);
void rows_empty(struct rows_bucket *segment);

#endif
