// SPDX-License-Identifier: BSD-3-Clause
//
// The rows of a sparse table that one core owns: u64 id -> dim values, f32 or bf16, and the
// optimizer's state in f32. A row is made on its first update, by an initialiser that depends on
// seed and id alone; until then a read gives what it would be made as. bf16 values are computed on
// as f32 and rounded when they are stored, to nearest, ties to even, as codec bf16 does.
//
// Index: a directory of segments by the upper bits of a hash, each segment 512 buckets of one cache
// line with four (id, row, step of the last write). A full segment becomes two; the directory's
// entries are published one by one (release), the old segment's memory is used again after a grace
// period. Rows lie apart from the index and never move.
//
// Owner: one core; it alone inserts, updates, evicts and grows. Batches hide memory latency: all
// buckets are prefetched, then all rows, then rows are updated in the order given, so that an id
// that occurs twice is updated twice.
//
// Readers on other threads (snapshot, replica, operator) call gp_rows_read and gp_rows_scan inside
// an RCU read section and take no lock: one of 4096 counters, chosen by the id's hash, is odd while
// the owner changes that row; a reader whose counter moved reads again, and gives up with -EAGAIN
// after GP_ROWS_TRIES times. So it sees each row whole, as of one moment.
//
// Memory: one region, sized by gp_rows_size for rows_max rows; nothing is allocated later. Slabs of
// 32 KiB are touched as the table grows; memory_used tells how much. Full is an answer: the row is
// not made, counted, and the caller decides (refuse, or evict and try again).
//
// Eviction is the owner's too, and only where it calls gp_rows_evict: GP_ROWS_EVICT_AGE drops rows
// not written for evict_after steps; GP_ROWS_EVICT_STEP, while the table is more than 15/16 full,
// rows older than a limit that halves with every round through the table that did not make room.
// Both look at a few buckets a call, and tell which ids went, so that a replica can follow. With
// `reads` a row that gp_rows_use names counts as written then, for eviction alone: 8 bytes a row.
//
// Errors: -EINVAL from gp_rows_check only. Asserts: use before init, a batch's step not the plan's.
#ifndef GP_ROWS_H
#define GP_ROWS_H

#include <gp_base.h>
#include <gp_optim.h>
#include <gp_rcu.h>

#include <stdatomic.h>

#define GP_ROWS_TRIES	   1000
#define GP_ROWS_BUCKET	   4			// rows that a bucket names at most
#define GP_ROWS_FLOATS_MAX 8192			// of one row, values and state
#define GP_ROWS_BYTES_MAX  (UINT64_C(16) << 30) // rows of one core

// What element k of a row begins as, from x = mix(seed ^ mix(id) + k + 1) with mix of splitmix64:
//   zeros    +0
//   uniform  scale * ((x >> 40) - 2^23) / 2^23: 2^24 values in [-scale, scale)
//   normal   scale * s / 2^21, s the sum of the twelve 21-bit fields of mix(x + 1) .. mix(x + 4),
//            less 6 * (2^21 - 1): mean 0, deviation scale, within 6 of it (Irwin and Hall 1927)
// each computed in binary64 and rounded once to binary32 (and then to bf16 where rows are).
enum gp_rows_initial { GP_ROWS_ZEROS, GP_ROWS_UNIFORM, GP_ROWS_NORMAL };
enum gp_rows_eviction { GP_ROWS_EVICT_NONE, GP_ROWS_EVICT_AGE, GP_ROWS_EVICT_STEP };

struct gp_rows_config {
	uint64_t rows_max;
	uint32_t dim;
	bool bf16; // values; else f32
	struct gp_optim_params optim;
	enum gp_rows_initial initial;
	float initial_scale;
	uint64_t seed;	   // of initial values
	uint64_t hash_key; // secret, so that nobody chooses ids that meet in one bucket
	enum gp_rows_eviction eviction;
	uint32_t evict_after; // steps, GP_ROWS_EVICT_AGE: at least 1
	bool reads;	      // eviction looks at the last use, not only at the last write
	uint64_t evict_full;  // GP_ROWS_EVICT_STEP: the table is full at so many; 0: rows_max
};

struct gp_rows;

// Read by any thread.
struct gp_rows_stats {
	_Atomic uint64_t rows;
	_Atomic uint64_t memory_used; // bytes of slabs in use
	_Atomic uint64_t refused;     // rows that were not made: full
	_Atomic uint64_t evicted;
	_Atomic uint64_t splits;
};

// 0, or -EINVAL with *why naming what is wrong.
int gp_rows_check(const struct gp_rows_config *cfg, const char **why) GP_MUST_CHECK;
// Bytes for a table of a checked configuration.
size_t gp_rows_size(const struct gp_rows_config *cfg) GP_MUST_CHECK;
// `mem` is gp_rows_size bytes, 64-byte aligned, whatever is in it, and stays the caller's.
struct gp_rows *gp_rows_init(
	void *mem, const struct gp_rows_config *cfg, const struct gp_rcu_grace *grace);
const struct gp_rows_stats *gp_rows_stats(const struct gp_rows *t);

// ---- owner

// Updates rows[ids[i]] with grads[i * dim ..] for i < n, in that order, making those that are not
// there. Returns how many could not be made; refused[i] (where not NULL) tells which.
uint32_t gp_rows_update(struct gp_rows *t, const struct gp_optim_plan *plan, float lr_scale,
	const uint64_t *ids, const float *grads, uint32_t n, bool *refused);
// out[i * dim ..] = the values of row ids[i]; those that are not there read as their initial ones.
void gp_rows_get(const struct gp_rows *t, const uint64_t *ids, uint32_t n, float *out);
// They are in use at `step`: with `reads`, those that are there. `telling` (or NULL), so that a
// replica can follow: hears of the rows whose last use that it took note of (or write) is `grain`
// steps old or more; false: not now.
struct gp_rows_telling {
	uint32_t grain;
	bool (*used)(void *arg, uint64_t id);
	void *arg;
};
void gp_rows_use(struct gp_rows *t, const uint64_t *ids, uint32_t n, uint32_t step,
	const struct gp_rows_telling *telling);
// How many of them are not there.
uint32_t gp_rows_absent(const struct gp_rows *t, const uint64_t *ids, uint32_t n) GP_MUST_CHECK;
// Whether a row that could not be made for want of memory of the index can be when readers have
// moved on (a grace period), although the table is not full.
bool gp_rows_waits(const struct gp_rows *t) GP_MUST_CHECK;
// Sets one row whole (restore, replica): values and state, gp_rows_state floats. -ENOSPC when full.
int gp_rows_put(struct gp_rows *t, uint64_t id, uint32_t step, const float *values,
	const float *state) GP_MUST_CHECK;
// True when it was there.
bool gp_rows_drop(struct gp_rows *t, uint64_t id);

// Looks at the next `buckets` buckets and drops what the policy says at `step`; `evicted` (may be
// NULL) is told each id, just before its row goes. Returns how many.
uint32_t gp_rows_evict(struct gp_rows *t, uint32_t step, uint32_t buckets,
	void (*evicted)(void *arg, uint64_t id), void *arg);

// ---- any thread, in an RCU read section

uint32_t gp_rows_dim(const struct gp_rows *t);
uint32_t gp_rows_state(const struct gp_rows *t);
// Copies a row (values, state may be NULL). 0, -ENOENT: not there, -EAGAIN: the owner was in the
// way.
int gp_rows_read(const struct gp_rows *t, uint64_t id, float *values, float *state,
	uint32_t *step) GP_MUST_CHECK;
// And when it was used last: with `reads`, else it was written then.
int gp_rows_read_use(const struct gp_rows *t, uint64_t id, float *values, float *state,
	uint32_t *step, uint32_t *used) GP_MUST_CHECK;
// A row that will be read, or put by the owner, some calls later: fetches where it is named, and
// when it is `near` itself. Called for each id twice, it hides most of what memory takes.
void gp_rows_ahead(const struct gp_rows *t, uint64_t id, bool near);
// Copies of rows, in no order.
struct gp_rows_scan {
	uint64_t next; // 0 at first
	float *row;    // room for dim + state floats, the caller's; NULL: ids and steps will do
	void (*row_seen)(void *arg, uint64_t id, uint32_t step, const float *row);
	void *arg;
	uint64_t missed; // rows that could not be read whole; scan again
};
// Tells the rows of one segment (at most 2048); false when it was the last. What is in the table
// from before the first call until after the last is told exactly once; what comes or goes between
// may be told or not. The caller may pass a quiescent state between two calls.
bool gp_rows_scan(const struct gp_rows *t, struct gp_rows_scan *scan) GP_MUST_CHECK;

#endif
