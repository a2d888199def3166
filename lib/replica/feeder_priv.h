// SPDX-License-Identifier: BSD-3-Clause
//
// Inside the feeder. Of each job it knows three places in the row of decisions: released (what a
// base would be made of), at (read from the engine), taken (told by the engine).
#ifndef FEEDER_PRIV_H
#define FEEDER_PRIV_H

#include "stream_priv.h"

#include <gp_backup_rows.h>

// A decision that is not released.
struct entry {
	struct gp_decision d;
	uint64_t chain; // through it
	uint64_t bytes; // shipped when it was
};

// How far the units are, somewhere in the row of decisions.
struct place {
	uint32_t decision;
	uint32_t generation;
	uint32_t units_ahead;
};

// Of a cut: blocks, what ranks had committed, what they had brought.
enum cut_part { CUT_BLOCKS, CUT_RANKS, CUT_APPLIED, CUT_DONE };

// Rows of a job's tables, table after table.
struct rows_walk {
	enum gp_backup_which which;
	uint32_t table;
	struct gp_backup_ids at;
	bool last; // of the table's ids are here
	uint32_t ids_count, ids_at;
	uint32_t records; // written
	uint64_t ids[GP_BACKUP_IDS_MAX];
};

// Of a base: all rows, those that went before their turn came, what ranks had committed, the sum.
enum base_part { BASE_ALL, BASE_GONE, BASE_RANKS, BASE_TALLY, BASE_DONE };

struct feeder_rows {
	struct rows_walk base, cut;
	enum base_part part;
	GP_ALIGNED(GP_CACHE_LINE) uint8_t body[GP_STREAM_BODY_MAX];
};

enum phase {
	PHASE_IDLE, // not fed
	PHASE_BASE,
	PHASE_TENSORS,
	PHASE_AHEAD,
	PHASE_BLOCKS, // of the generation
	PHASE_BLOCKS_AHEAD,
	PHASE_CUT, // instead of blocks, of an asynchronous job
	PHASE_BASED,
	PHASE_DECISIONS,
};

struct feeder_job {
	bool based;
	struct layout layout;
	struct gp_image_tensor *tensors;
	uint32_t *committed; // [units] at `released`
	struct entry *window;
	uint64_t base;
	struct place released, taken;
	uint32_t told;	      // released, as the owner says
	uint32_t shipped_max; // on any connection
	uint64_t chain, taken_chain;
	bool cut_waits;	   // `taken` is a cut that is not released
	uint64_t *digests; // asynchronous: of each block as it was read last, with step 0
	uint64_t digests_sum;
	struct feeder_rows *rows;   // NULL: no tables
	struct gp_decision view;    // the last one that is released
	struct gp_ranks counted[2]; // in what is released, as in struct gp_backup_base
	struct gp_history history;

	// On this connection.
	enum phase phase;
	uint32_t cursor;    // tensor, unit or block, as the phase says
	struct place at;    // of the next decision to read blocks for is the one after
	uint32_t at_block;  // of its unit: blocks that were read
	bool at_generation; // `at` made a generation whole: ship it before anything else
	bool digest_due;
	enum cut_part cut_part;
	uint32_t cut_blocks; // of it, so far
	bool held_valid;
	bool base_held; // by the peer as it was on the last connection
	uint32_t shipped, held;
	uint32_t acked, acked_epoch;
	struct layout_sum sums[2];
	bool diverged;
	uint64_t bytes, shipped_bytes, held_bytes; // through those decisions
	uint64_t bases, resumed;
};

struct gp_feeder {
	struct gp_feeder_opts opts;
	uint32_t window_mask;
	uint32_t epoch;
	uint64_t bases;		  // named
	struct gp_stream *stream; // NULL: not connected
	bool fed;		  // the peer has asked for it
	bool feed_due;
	uint32_t feed_number;
	uint32_t resumed_count; // jobs that go on without a base
	uint16_t resumed[GP_IMAGE_JOBS_MAX];
	uint32_t turn;	// job that comes next
	uint32_t looks; // that this turn has left
	bool goes_on;	// it had not enough of them
	struct feeder_job jobs[];
};

static inline struct entry *feeder_entry(
	const struct gp_feeder *f, const struct feeder_job *j, uint32_t decision)
{
	return &j->window[decision & f->window_mask];
}

// The decision after `p` is done. True when it made a generation whole.
bool place_step(struct place *p, const struct feeder_job *j, const struct gp_decision *d);
// Begins what the peer needs of a job: a base.
void feeder_job_start(struct feeder_job *j);
// A run of blocks of one step in a frame.
struct section {
	struct layout_at first;
	uint32_t step;
	uint32_t run;
};

struct plan {
	size_t size; // of the body
	uint32_t count;
	struct section sections[BLOCKS_SECTIONS_MAX];
};

void feeder_plan_begin(struct plan *p);
// False when the block does not fit.
bool feeder_plan_add(
	struct plan *p, const struct layout *l, const struct layout_at *at, uint32_t step);
// 1, or an error.
int feeder_plan_write(struct gp_feeder *f, uint32_t idx, const struct plan *p,
	struct gp_stream_error *err) GP_MUST_CHECK;
// One frame of `generation` at most; all of it, or what changed since the one at `at`. 1: it was
// written, or another part comes next, or the turn has no looks left; 0: all was.
int feeder_cut_write(struct gp_feeder *f, uint32_t idx, uint32_t generation, bool all,
	struct gp_stream_error *err) GP_MUST_CHECK;
// What ranks had committed at a cut, of so many blocks. 1, or an error.
int feeder_ranks_write(struct gp_feeder *f, uint32_t idx, uint32_t generation, uint32_t blocks,
	struct gp_stream_error *err) GP_MUST_CHECK;
// feeder_rows.c: jobs with tables. 1: something was written, or is to be looked for; 0: that was
// all.
int feeder_rows_create(struct feeder_job *j, struct gp_stream_error *err) GP_MUST_CHECK;
void feeder_rows_reset(struct feeder_job *j);
int feeder_rows_cut_write(struct gp_feeder *f, uint32_t idx, uint32_t generation,
	struct gp_stream_error *err) GP_MUST_CHECK;
void feeder_rows_cut_done(struct feeder_job *j);
int feeder_rows_base_write(struct gp_feeder *f, uint32_t idx, uint32_t generation,
	struct gp_stream_error *err) GP_MUST_CHECK;
int feeder_tally_write(struct gp_feeder *f, uint32_t idx, uint32_t generation, uint32_t records,
	struct gp_stream_error *err) GP_MUST_CHECK;
// Whether what it writes counts as shipped: with tables cuts go on while the base is on its way.
static inline bool feeder_job_ships(const struct feeder_job *j)
{
	bool rows = layout_embeds(&j->layout) && (j->phase == PHASE_CUT || j->phase == PHASE_BASED);
	return rows || j->phase == PHASE_DECISIONS;
}
// A block of an asynchronous job was read.
void feeder_cut_digest(
	struct gp_feeder *f, struct feeder_job *j, const struct layout_at *at, const float *values);
// One frame of a job at most: 1 it was written, 0 there is nothing, -EAGAIN the sink is full.
int feeder_job_write(struct gp_feeder *f, uint32_t idx, struct gp_stream_error *err) GP_MUST_CHECK;

#endif
