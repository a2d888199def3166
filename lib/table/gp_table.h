// SPDX-License-Identifier: BSD-3-Clause
//
// The block store of one job on one core: for each block that the core owns, the version that
// readers see (`cur`), behind it those that a cut still needs, newest first (`older`), and the
// version that waits for its unit's decision (`shadow`). A block moves from one version to the next
// by pointer, and what a cut can reach never changes.
//
// Each version bears the number of the generation that it belongs to (`step`). In a synchronous job
// every generation has a version of every block. In an asynchronous one a generation is a cut, a
// block's version of it is the newest that is not after it, and a version after the newest cut may
// be written in place: nobody else looks at its values.
//
// Owner: one core; only it calls anything here but gp_table_find, gp_table_find_at and
// gp_table_cut_is_live. Readers on other threads (snapshot, digest) call those inside an RCU read
// section and may use the version until they pass a quiescent state, or for as long as the cut that
// covers it lives.
//
// Memory: a fixed pool of versions, taken at registration. A version that no block names any more
// is retired: it is used again once two grace periods have ended (all readers have let go) and no
// frame in transmission refers to it (`hold`). An empty pool is an answer (NULL), never an error.
//
// A version is a 64-byte header, then the values, then the optimizer state arrays, each of
// `elems_max` f32 at a 64-byte boundary.
#ifndef GP_TABLE_H
#define GP_TABLE_H

#include <gp_arena.h>
#include <gp_base.h>
#include <gp_rcu.h>
#include <gp_xport.h>

#include <stdatomic.h>

// Cuts that may live at once.
#define GP_TABLE_CUTS_MAX 8

// Versions per block beside one for each cut: visible, shadow or waiting for its grace period.
#define GP_TABLE_VERSIONS_PER_BLOCK 2
// And some more: while a cut is read all of those are in use, and a grace period (a few ms) has to
// pass for each so many completions. A few, so that a table of one block does not wait either.
#define GP_TABLE_VERSIONS_EXTRA	  8
#define GP_TABLE_BLOCKS_PER_EXTRA 8

struct gp_version {
	struct gp_hold hold; // frames in transmission; owner only
	uint32_t step;	     // the step whose completion made it: the generation it belongs to
	uint32_t view;
	float weight; // sum of the weights in it
	uint32_t elems;
	uint32_t sparse;		  // 1: all that it was made of left elements out
	uint32_t updates;		  // asynchronous jobs: of the block, through this one
	struct gp_version *_Atomic older; // that a cut still needs; read by other threads
	GP_ALIGNED(GP_CACHE_LINE) float data[];
};
_Static_assert(sizeof(struct gp_version) == GP_CACHE_LINE, "data starts on its own line");

struct gp_block {
	struct gp_version *_Atomic cur; // NULL until the first commit
	struct gp_version
		*_Atomic shadow; // newest completed, or NULL; visible once its unit committed
	uint32_t done_step;	 // last step completed in this view
	uint32_t unit;
	uint32_t elems;
	uint32_t tensor;
	uint32_t idx; // block within its tensor
	uint32_t reserved[7];
};
_Static_assert(sizeof(struct gp_block) == GP_CACHE_LINE, "one line a block");

// A version that no block names.
struct gp_spare {
	struct gp_version *v;
	uint64_t stamp; // grace period whose end allows reuse
};

struct gp_table {
	struct gp_block *blocks;
	uint32_t blocks_count;
	uint32_t elems_max;    // of a block; a multiple of 16
	uint32_t states_count; // optimizer state arrays
	// The version that is likely to be taken next: lines to bring near yet, and in one turn.
	uint32_t next_lines, next_share;
	const uint8_t *next;
	uint32_t versions_count;
	struct gp_spare *spare; // ring of versions_count: the free ones, then the retired
	uint32_t spare_first;
	uint32_t free_count;	  // nobody can see them any more
	uint32_t retired_count;	  // in order of retirement
	uint32_t unstamped_count; // the newest of the retired have no stamp yet
	uint32_t stamp_batch;	  // so many of them get one together
	// Versions that only cuts need, behind `cur` of any block; read by other threads.
	_Atomic uint32_t kept_count;
	const struct gp_rcu_grace *grace;	  // turned by the control thread
	_Atomic uint32_t cuts[GP_TABLE_CUTS_MAX]; // live, in no order; read by other threads
	_Atomic uint32_t cuts_count;
	// gp_table_take found none, and none that waits for a grace period; read by other threads.
	_Atomic uint32_t shortages;
	_Atomic uint32_t waits; // ... none but what waits for a grace period; likewise
	uint32_t version_lines;
	uint32_t sweep_at; // blocks from here on may have versions that only ended cuts needed
};

struct gp_table_config {
	uint32_t blocks_count;
	uint32_t elems_max; // a multiple of 16
	uint32_t states_count;
	uint32_t cuts_max; // 1 .. GP_TABLE_CUTS_MAX
	// Versions for what a cut keeps, in percent of the blocks; 0 = 100: a cut never runs short.
	uint32_t kept_percent;
	uint32_t contribs; // usual to a version: gp_table_prefetch_next comes once for each but one
};

// Bytes that gp_table_init takes from the arena.
size_t gp_table_size(const struct gp_table_config *cfg) GP_MUST_CHECK;
// 0 or -ENOMEM. The caller fills blocks[i].{unit, elems, tensor, idx}.
int gp_table_init(struct gp_table *t, struct gp_arena *arena, const struct gp_table_config *cfg,
	const struct gp_rcu_grace *grace) GP_MUST_CHECK;

static inline float *gp_version_values(struct gp_version *v)
{
	return v->data;
}

// State array `i` of version `v` of table `t`.
static inline float *gp_version_state(const struct gp_table *t, struct gp_version *v, uint32_t i)
{
	return v->data + (size_t)t->elems_max * (1 + i);
}

// A version to fill, hold 0; NULL when none is free now.
struct gp_version *gp_table_take(struct gp_table *t) GP_MUST_CHECK;
// Owner, between takes: brings another part of the next version near, while there is more of it
// (next_lines). More lines at once than a core can wait for hold up everything behind them.
void gp_table_prefetch_next(struct gp_table *t);
// Gives back a version that was never published.
void gp_table_untake(struct gp_table *t, struct gp_version *v);

// Owner's view: what readers of a unit committed through `committed` see; NULL before the first.
static inline struct gp_version *gp_block_visible(const struct gp_block *b, uint32_t committed)
{
	struct gp_version *s = atomic_load_explicit(&b->shadow, memory_order_relaxed);
	if (s && !gp_before(committed, s->step))
		return s;
	return atomic_load_explicit(&b->cur, memory_order_relaxed);
}

// Owner: brings near what an optimizer reads of the newest version: arrays [from, to) of the values
// and each state, and with the values the header. Inline by force: gcc takes a function that only
// prefetches for one without effects.
static inline __attribute__((always_inline)) void gp_block_prefetch_arrays(
	const struct gp_table *t, const struct gp_block *b, uint32_t from, uint32_t to)
{
	const struct gp_version *v = atomic_load_explicit(&b->shadow, memory_order_relaxed);
	v = v ? v : atomic_load_explicit(&b->cur, memory_order_relaxed);
	if (!v)
		return;
	if (from == 0)
		__builtin_prefetch(v);
	for (uint32_t array = from; array < to; array++)
		for (uint32_t i = 0; i < b->elems; i += GP_CACHE_LINE / sizeof(float))
			__builtin_prefetch(v->data + (size_t)t->elems_max * array + i);
}

// Owner: makes `v` the shadow of `b`. The previous shadow must be visible (its unit committed); it
// becomes `cur`, and the version it replaces is retired, or kept if a cut needs it.
void gp_table_publish(struct gp_table *t, struct gp_block *b, struct gp_version *v);
// Owner: makes `v` what readers see at once: asynchronous jobs have no shadow.
void gp_table_replace(struct gp_table *t, struct gp_block *b, struct gp_version *v);
// Owner: what was committed as a shadow becomes `cur`.
void gp_table_settle(struct gp_table *t, struct gp_block *b);
// Owner: drops a shadow whose step was not committed; done_step falls back to `committed`.
void gp_table_abort(struct gp_table *t, struct gp_block *b, uint32_t committed);
// Owner: from now on the versions of generation `step` outlive their replacement, until its end; at
// most cuts_max of them.
void gp_table_cut_begin(struct gp_table *t, uint32_t step);
void gp_table_cut_end(struct gp_table *t, uint32_t step);
// Owner: lets go of what only ended cuts needed, in the next `blocks_max` blocks. Returns how many
// blocks it looked at: 0 when there is nothing left to do.
uint32_t gp_table_sweep(struct gp_table *t, uint32_t blocks_max);
// Any thread; exact for the owner.
bool gp_table_cut_is_live(const struct gp_table *t, uint32_t step) GP_MUST_CHECK;

// Any thread, in an RCU read section: the version of exactly generation `step` of block `b`, or
// NULL. Found for certain while a cut of that step is live.
struct gp_version *gp_table_find(const struct gp_block *b, uint32_t step);
// The same of an asynchronous job: the newest that is not after `step`. It is the right one while
// that cut is live.
struct gp_version *gp_table_find_at(const struct gp_block *b, uint32_t step);

#endif
