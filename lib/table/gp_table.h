// SPDX-License-Identifier: BSD-3-Clause
//
// The block store of one job on one core: for each block that the core owns, the version that
// readers see (`cur`), the version that waits for its unit's decision (`shadow`) and the version
// that a cut still needs (`kept`). Versions are never changed after they are published; a block
// moves from one to the next by pointer.
//
// Owner: one core; only it calls anything here but gp_table_find. Readers on other threads
// (snapshot, digest) call gp_table_find inside an RCU read section and may use the version until
// they pass a quiescent state, or for as long as the cut that covers it lives.
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

// Versions per block: visible, shadow, held by a cut or waiting for its grace period.
#define GP_TABLE_VERSIONS_PER_BLOCK 3
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
	uint32_t reserved;
	uint64_t stamp; // grace period whose end allows reuse
	struct gp_version *next;
	GP_ALIGNED(GP_CACHE_LINE) float data[];
};
_Static_assert(sizeof(struct gp_version) == GP_CACHE_LINE, "data starts on its own line");

struct gp_block {
	struct gp_version *_Atomic cur; // NULL until the first commit
	struct gp_version
		*_Atomic shadow; // newest completed, or NULL; visible once its unit committed
	struct gp_version *_Atomic kept; // held by the cut
	uint32_t done_step;		 // last step completed in this view
	uint32_t unit;
	uint32_t elems;
	uint32_t tensor;
	uint32_t idx; // block within its tensor
	uint32_t reserved[5];
};
_Static_assert(sizeof(struct gp_block) == GP_CACHE_LINE, "one line a block");

struct gp_table {
	struct gp_block *blocks;
	uint32_t blocks_count;
	uint32_t elems_max;    // of a block; a multiple of 16
	uint32_t states_count; // optimizer state arrays
	uint32_t versions_count;
	uint32_t free_count;	// versions in `free_list`
	uint32_t retired_count; // versions in the retired queue
	struct gp_version *free_list;
	struct gp_version *retired_first;
	struct gp_version *retired_last;
	const struct gp_rcu_grace *grace; // turned by the control thread
	bool cut_active;
	uint32_t cut_step;
};

// Bytes that gp_table_init takes from the arena.
size_t gp_table_size(
	uint32_t blocks_count, uint32_t elems_max, uint32_t states_count) GP_MUST_CHECK;
// 0 or -ENOMEM. The caller fills blocks[i].{unit, elems, tensor, idx}.
int gp_table_init(struct gp_table *t, struct gp_arena *arena, uint32_t blocks_count,
	uint32_t elems_max, uint32_t states_count, const struct gp_rcu_grace *grace) GP_MUST_CHECK;

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

// Owner: makes `v` the shadow of `b`. The previous shadow must be visible (its unit committed); it
// becomes `cur`, and the version it replaces is retired, or kept if the cut needs it.
void gp_table_publish(struct gp_table *t, struct gp_block *b, struct gp_version *v);
// Owner: drops a shadow whose step was not committed; done_step falls back to `committed`.
void gp_table_abort(struct gp_table *t, struct gp_block *b, uint32_t committed);
// Owner: from now on versions of generation `step` outlive their replacement, until the end.
void gp_table_cut_begin(struct gp_table *t, uint32_t step);
void gp_table_cut_end(struct gp_table *t);

// Any thread, in an RCU read section: the version of generation `step` of block `b`, or NULL. Found
// for certain while a cut of that step is active.
struct gp_version *gp_table_find(const struct gp_block *b, uint32_t step);

#endif
