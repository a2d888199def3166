// SPDX-License-Identifier: BSD-3-Clause
//
// What the thread that replicates synchronously needs of the engine: the decisions of each job, a
// gate before which they wait, and the blocks that they are about.
//
// While a job's gate is closed, home hands its decisions to the replicating thread as it makes
// them, and nobody else: cores apply them, and workers, readers and the record of views hear of
// them, in order, up to the number that this thread has released. So a commit that the backup does
// not hold is nothing that anybody could rely on. Closing the gate gives a base: which steps had
// been committed then; from there on the decisions follow without a gap. While the gate is open
// every decision is released when it is made.
//
// A committed step that waits at the gate keeps its versions: the block of (unit, step) of a base
// or decision can be read until that decision is released, or, of a base, until the first decision
// after it is.
//
// Asynchronous jobs, from generation 0 on: what is told instead of each decision are cuts
// (gp_decision.backup), one at a time, each when every core keeps it: generation `step` as a whole,
// and what each rank had committed and brought by then (gp_backup_ranks, gp_backup_applied). Their
// numbers have gaps: what was decided between two of them is in the later one, and is out when that
// is released; releasing anything else does nothing. The next cut is made then, if something was
// decided meanwhile. A cut can be read until the next but one is told; a base is such a cut too.
//
// Of jobs with tables the rows at a cut are in gp_backup_rows.h. Between two cuts such a job
// commits only so many rows as its owners have room to keep as they were; further pushes wait for
// the next.
//
// Only jobs with gp_job_config.replicated have a gate.
//
// Owner, threads: all functions by the one replicating thread, but gp_core_backup_wake, which is
// the core's. Of asynchronous jobs it reads in an RCU read section, or is the thread that turns
// grace periods; else what it reads cannot go away. Memory: none of its own. A ring that is full is
// an answer (false), never an error: try again.
#ifndef GP_BACKUP_H
#define GP_BACKUP_H

#include <gp_engine.h>

struct gp_backup_base {
	uint32_t job_idx;
	uint32_t gate;	     // which closing of the gate, counted from 1
	uint32_t decision;   // the last one made before it closed
	uint32_t generation; // committed in all units; UINT32_MAX: none
	uint32_t units_count;
	const uint32_t *steps;	    // [units] committed; valid until the gate is set again
	struct gp_decision view;    // the last one; number 0: none since the server began
	struct gp_ranks counted[2]; // who is in the generation, in all that is committed beyond it
	struct gp_history history;
};

struct gp_backup_sink {
	void *arg;
	// The gate of a job has closed; of jobs without a layout when they get one.
	void (*base)(void *arg, const struct gp_backup_base *base);
	// The next decision of a job whose gate is closed.
	void (*decided)(void *arg, uint32_t job_idx, const struct gp_decision *d);
};

// Asks home to close the gate, or to open it: that releases everything, and is for a leadership
// without a backup. Closing a closed gate gives a new base. What was in the rings of the former
// gate is dropped by gp_backup_poll. False: try again.
bool gp_backup_gate(struct gp_engine *e, uint32_t job_idx, bool closed) GP_MUST_CHECK;
// Whether home has taken up every gate and release that was asked for.
bool gp_backup_settled(const struct gp_engine *e) GP_MUST_CHECK;
// At most `max` events. Returns how many.
uint32_t gp_backup_poll(struct gp_engine *e, const struct gp_backup_sink *sink, uint32_t max);
// The backup holds everything of the job up to `decision`. False: try again.
bool gp_backup_release(struct gp_engine *e, uint32_t job_idx, uint32_t decision) GP_MUST_CHECK;

struct gp_backup_block {
	const float *arrays[1 + GP_OPTIM_STATES_MAX]; // values, then the optimizer's states
	uint32_t arrays_count;
	uint32_t elems;
	float weight; // sum of the weights in it
	// Asynchronous: the first generation that it is of, and updates of the block by then.
	uint32_t made;
	uint32_t updates;
};
// Block of the job at exactly that step. False: it is not there.
bool gp_backup_block(const struct gp_engine *e, uint32_t job_idx, uint32_t block, uint32_t step,
	struct gp_backup_block *out) GP_MUST_CHECK;
// A cut of an asynchronous job, as told.
struct gp_backup_ranks {
	uint32_t count;	       // of the job
	uint32_t closed;       // quorum: highest step closed
	uint32_t updates;      // commits so far
	const uint32_t *clock; // [count] steps committed
	bool applied;	       // atomicity block: see gp_backup_applied
};
// False: there is no such cut.
bool gp_backup_ranks(const struct gp_engine *e, uint32_t job_idx, uint32_t generation,
	struct gp_backup_ranks *out) GP_MUST_CHECK;
// Bit i: block `first` + i has the rank's contribution of the step after its clock.
uint64_t gp_backup_applied(const struct gp_engine *e, uint32_t job_idx, uint32_t generation,
	uint32_t rank, uint32_t first) GP_MUST_CHECK;
// Blocks of a unit: from *first on, as many as it returns.
uint32_t gp_backup_unit_blocks(
	const struct gp_engine *e, uint32_t job_idx, uint32_t unit, uint32_t *first);

// The thread is about to sleep. False: something is there, do not.
bool gp_backup_sleep(struct gp_engine *e) GP_MUST_CHECK;
// After a tick of core c, by its thread: true once when the replicating thread sleeps and has
// something to do: the caller wakes it.
bool gp_core_backup_wake(struct gp_core *c) GP_MUST_CHECK;

#endif
