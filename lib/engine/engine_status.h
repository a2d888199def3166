// SPDX-License-Identifier: BSD-3-Clause
//
// What of a job is published beside its objects.
#ifndef ENGINE_STATUS_H
#define ENGINE_STATUS_H

#include <stdatomic.h>
#include <stdint.h>

// What any thread may see; written by the home core, relaxed.
struct job_status {
	_Atomic uint32_t view;
	_Atomic uint32_t members;
	_Atomic uint32_t generation;
	_Atomic uint32_t decision;
	_Atomic uint32_t state;
	_Atomic uint32_t initialised;
	_Atomic uint32_t cut_active;
	_Atomic uint32_t bound; // present staleness bound, GP_WIRE_BOUND_NONE
	_Atomic uint32_t clock_min;
	_Atomic uint32_t clock_max;
	_Atomic uint32_t last_commit; // asynchronous: decision
	_Atomic uint32_t gated;	      // the release gate is closed
	_Atomic uint32_t backed;      // control writes: generation that the backup holds
};

#endif
