// SPDX-License-Identifier: BSD-3-Clause
//
// Asking a worker for what only it still has to bring: the lowest block that is not complete at a
// core keeps the whole schedule open, and where just one rank's contribution to it is missing while
// that rank has contributed to a later block, it was lost on the way.
#ifndef ENGINE_NACK_H
#define ENGINE_NACK_H

#include <stdbool.h>
#include <stdint.h>

struct gp_core;
struct job_core;

// The lowest incomplete place while one contribution is missing there. Owner: its core.
struct nack_watch {
	bool active;
	bool asked;
	uint32_t step;
	uint32_t local;
	uint64_t since;	   // the others are there
	uint64_t look_at;  // next look
	uint64_t ask_at;   // not before
	uint64_t interval; // doubles while nothing changes
	uint64_t spread;   // mean time from the last but one to the last contribution
};

// Looks, and sends NACK when it is due. Bursty callers cost nothing: a look is taken at most every
// NACK_LOOK_NS, a walk over the open slots only when a NACK would be due.
void nack_tick(struct gp_core *c, struct job_core *jc);

#endif
