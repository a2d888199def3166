// SPDX-License-Identifier: BSD-3-Clause
//
// What home keeps of barriers (core_barrier.c).
#ifndef ENGINE_BARRIER_H
#define ENGINE_BARRIER_H

#include <gp_base.h>

#define BARRIERS_MAX 16

struct barrier {
	uint32_t name;
	bool used;
	struct gp_ranks came;	// to the meeting that is open
	struct gp_ranks been;	// ... and have passed it already, at a server before
	struct gp_ranks passed; // the meeting before it
	uint64_t since;
	uint32_t call[GP_RANKS_MAX]; // of each of them, the last
};

#endif
