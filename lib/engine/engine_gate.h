// SPDX-License-Identifier: BSD-3-Clause
//
// The release gate's part of home, core and engine (gp_backup.h).
#ifndef ENGINE_GATE_H
#define ENGINE_GATE_H

#include <gp_consist.h>
#include <gp_ring.h>
#include <gp_wire.h>

#include <stdatomic.h>

#define GATES_MAX 64 // jobs of an engine

struct home_gate {
	uint32_t serial;	     // which closing, 0 = it is open
	_Atomic uint32_t serial_now; // the same, for cores with tables; home writes it
	uint32_t released;	     // while it is closed: the last decision that is out
	bool base_due;		     // the replicating thread has not been given it yet
	uint32_t base_decision;
	uint32_t base_generation;
	struct gp_decision base_view;
	struct gp_ranks base_counted[2];
	uint32_t *base_steps; // per unit; NULL: a job without a gate
};

struct core_gate {
	struct gp_ring *to_backup; // the replicating thread; NULL: no job is replicated
	struct gp_ring *from_backup;
	bool told;		    // since the thread was last woken
	uint32_t wanted[GATES_MAX]; // by index of the job
};

// The replicating thread's, but for `asleep`.
struct engine_gate {
	_Atomic bool asleep;
	uint32_t count;
	uint32_t serial[GATES_MAX]; // by index of the job: the closing that counts
};

#endif
