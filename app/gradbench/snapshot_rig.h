// SPDX-License-Identifier: BSD-3-Clause
//
// The rig (rig.h) with what a server has beside its polled core: a control thread, which polls the
// registrar and turns grace periods every millisecond, and a thread that writes snapshots. Both run
// on the CPUs that the polled thread does not use.
//
// Threads: all calls are the polled thread's. `state` orders what the threads share of it.
#ifndef GRADBENCH_SNAPSHOT_RIG_H
#define GRADBENCH_SNAPSHOT_RIG_H

#include "rig.h"

#include <gp_snapshot_dir.h>

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

struct snapshot_rig_opts {
	const char *dir;
	uint64_t table_bytes;
	uint32_t mtu;
	uint32_t level; // of zstd, 0: none
	int cpu;	// the polled thread's
};

enum snapshot_state {
	SNAPSHOT_IDLE,	 // polled thread -> control
	SNAPSHOT_WANTED, // control asks for a cut
	SNAPSHOT_ASKED,	 // home makes it
	SNAPSHOT_CUT,	 // the writer reads it
	SNAPSHOT_READ,	 // control lets it go
	SNAPSHOT_WRITTEN // and the writer may take longer; then idle
};

struct snapshot_rig {
	struct snapshot_rig_opts o;
	struct rig *rig;
	uint32_t payload;	    // bytes of a contribution
	uint64_t sent, done_before; // contributions; blocks completed before the first
	_Atomic uint64_t now;	    // of the rig, for control
	_Atomic int state;
	_Atomic bool quit, writing;
	pthread_t control, writer;
	bool control_runs, writer_runs;
	uint32_t step, decision; // of the cut
	// Of the last snapshot, when it is done.
	int error;
	uint64_t bytes, write_ns;
	uint32_t kept_max; // versions of blocks that were there for its cut alone
	uint64_t cut_done; // blocks completed before its cut, then during it
	char path[PATH_MAX];
	struct gp_snapshot_error err;
};

int snapshot_rig_create(struct snapshot_rig **out, const struct snapshot_rig_opts *o) GP_MUST_CHECK;
// One burst of contributions; returns how many, 0 while versions are short. *ns: CPU time of the
// engine.
uint32_t snapshot_rig_burst(struct snapshot_rig *s, uint64_t *ns);
void snapshot_rig_begin(struct snapshot_rig *s);
bool snapshot_rig_is_done(const struct snapshot_rig *s);
// Ends the step in hand, checks every sum and proves the last snapshot; else a line on stderr.
bool snapshot_rig_finish(struct snapshot_rig *s) GP_MUST_CHECK;
void snapshot_rig_destroy(struct snapshot_rig *s); // removes the snapshots too

#endif
