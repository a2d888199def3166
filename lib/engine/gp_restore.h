// SPDX-License-Identifier: BSD-3-Clause
//
// What a job goes on from: a generation of a snapshot, or the state of another server. The caller's
// memory; it has to stay until the job has its layout (on a standby, and of a replicated job: until
// gp_registrar_restore returns). Nothing here has a thread or an error of its own.
#ifndef GP_RESTORE_H
#define GP_RESTORE_H

#include <gp_base.h>
#include <gp_engine_tables.h>
#include <gp_optim.h>
#include <gp_wire.h>

// A whole generation that a job starts from; the pointers must stay until the layout is made.
struct gp_restore_tensor {
	const char *name;
	uint32_t dims_count;
	const uint64_t *dims;
	const float *values;
	const float *states[GP_OPTIM_STATES_MAX];
	const float *weights; // [blocks] the sums of weights that values are of; NULL: 0
	// Where the generation after this one was not whole: blocks whose unit had it committed,
	// one byte each, and arrays of which those blocks count. NULL: none.
	const uint8_t *ahead;
	const float *ahead_values;
	const float *ahead_states[GP_OPTIM_STATES_MAX];
	const float *ahead_weights;
	const struct gp_restore_rows *rows; // embed jobs
	// Asynchronous jobs in another server's stead (struct gp_restore_async): updates of each
	// block. There `ahead` says where the block's one generation lies.
	const uint32_t *updates;
	const uint32_t *ahead_updates;
};

// Where an asynchronous job stood in the server that this one goes on from (gp_image_restore).
struct gp_restore_async {
	uint32_t closed;	 // quorum: highest step closed
	uint32_t updates;	 // commits so far
	const uint32_t *clock;	 // [workers] steps committed
	const uint64_t *applied; // atomicity block: of each rank a bit for each block that has its
				 // contribution of the step after; NULL: none
	uint32_t applied_words;	 // of a rank
};

struct gp_restore {
	uint32_t step; // the generation's number; UINT32_MAX: none is whole, `values` are NULL
	uint32_t decision;
	// bsp: who is in it, in all that is ahead; NULL: everyone
	const struct gp_ranks *counted[2];
	uint32_t block_elems;  // that `ahead` and `weights` are of, and the job will have; 0: any
	const uint32_t *clock; // asynchronous jobs: [workers], from gp_engine_clock; NULL: step
	const struct gp_restore_async *async; // instead of `clock`: nothing of the job was lost
	// own 0: something may have been lost, so what is committed from here on is another history
	// than the one before, which `before` names (0: not known), and `step` does not count.
	struct gp_history history;
	uint32_t tensors_count;
	const struct gp_restore_tensor *tensors;
};

#endif
