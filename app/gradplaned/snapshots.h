// SPDX-License-Identifier: BSD-3-Clause
//
// Snapshots: snapshots.c (control thread) and snapshot_write.c (snapshot thread); struct snapshots
// says what each touches. Part of gradplaned.h.
#ifndef SNAPSHOTS_H
#define SNAPSHOTS_H

#include <gp_config.h>
#include <gp_ctlproto.h>
#include <gp_engine.h>
#include <gp_snapshot_dir.h>

#include <limits.h>
#include <pthread.h>

struct event;
struct node;

// One snapshot to write; filled by control, completed by the snapshot thread.
struct snapshot_task {
	uint32_t job_idx;
	uint32_t step;
	uint32_t decision;
	struct gp_job_view view;	  // as it was when the cut was whole
	char base[GP_SNAPSHOT_NAME_SIZE]; // the job's snapshot before; "" if there is none
	bool quit;			  // nothing to write: the thread ends
	bool released;			  // without a cut: what is out, behind a closed gate
	int error;			  // -errno
	bool incremental;
	uint64_t bytes;
	uint64_t wall_ns;
	uint64_t digest;
	char path[PATH_MAX];
	struct gp_snapshot_error err;
};

// Blocking; by the snapshot thread, which is registered with RCU and offline.
void snapshot_write(struct node *n, struct snapshot_task *t);

struct snapshot_job {
	bool written; // last_* are valid
	bool cut_asked;
	bool waiting;	       // its cut is whole and waits for the thread
	bool waiting_released; // there is no cut: it is what is out, behind a closed gate
	uint32_t made;	       // snapshots written by this life
	bool last_incremental;
	uint32_t aborts; // in a row, because the memory of its cut ran out
	uint32_t last_step;
	uint32_t last_decision;
	uint32_t waiting_step;
	uint32_t waiting_decision;
	uint64_t last_bytes;
	uint64_t last_wall_ns;
	char last_path[PATH_MAX];
};

// `snapshot now`, or the end of the program, waits for these.
struct snapshot_wait {
	struct gp_ctl_request *req; // NULL: nobody to answer
	bool used;
	uint64_t jobs;			    // bit per job index
	uint32_t steps[GP_CONFIG_JOBS_MAX]; // the least that will do
	json_t *done;			    // array of what has been written
};

#define SNAPSHOT_WAITS_MAX (GP_CTL_DEFERRED_MAX + 1)

struct snapshots {
	struct snapshot_job jobs[GP_CONFIG_JOBS_MAX];
	struct snapshot_wait waits[SNAPSHOT_WAITS_MAX];
	int lock_fd; // of the directory, held shared
	bool busy;   // task belongs to the thread from the write to wake_fd to that to done_fd
	struct snapshot_task *task;
	_Atomic bool give_up;	   // control -> thread, while it is busy
	_Atomic bool blocks_read;  // thread -> control: the cut is not needed any more
	bool cut_released;	   // of the task
	uint32_t shortages_before; // of its job, when it began
	int wake_fd;		   // control -> thread
	int done_fd;		   // thread -> control
	struct event *done_event;
	pthread_t thread;
	bool thread_runs;
	// For status and metrics.
	uint64_t written_count;
	uint64_t failed_count;
	uint64_t aborted_count;
	uint64_t bytes;
	uint64_t wall_ns;
	uint32_t last_idx; // job of the newest
	bool last_valid;
	char last_error[GP_SNAPSHOT_ERROR_SIZE];
};

int snapshots_start(struct node *n) GP_MUST_CHECK;
void snapshots_stop(struct node *n);
// Starts what is due; every tick.
void snapshots_tick(struct node *n);
void snapshots_cut_ready(struct node *n, uint16_t job, uint32_t step, uint32_t decision);
// Snapshots of every job that has a generation, or of `name` only. 0; or -errno with err filled.
// `req` (may be NULL) is answered when they are on disk.
int snapshots_request(struct node *n, struct gp_ctl_request *req, const char *name,
	struct gp_ctl_error *err) GP_MUST_CHECK;
bool snapshots_idle(const struct node *n);
// Whether somebody waits for one of the job.
bool snapshots_wanted(const struct node *n, uint32_t job_idx);
// Of synchronous jobs whose cut waits at the release gate: what is out is taken instead.
void snapshots_take_released(struct node *n);
// What cannot be cut any more is given up; what is being written goes on.
void snapshots_give_up(struct node *n, const char *why);

#endif
