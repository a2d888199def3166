// SPDX-License-Identifier: BSD-3-Clause
//
// The promise of an acknowledgement, looked at in each turn of a core: what the turn's datagrams
// bring is noted before the core has them, and whatever it then calls accepted must be there.
#ifndef SIM_ACCEPTED_H
#define SIM_ACCEPTED_H

#include "sim.h"

struct job_core;

struct accepted_push {
	struct gp_header h;
	uint32_t serial; // of the session that it came in
	uint32_t block[GP_WIRE_SECTIONS_MAX];
	uint16_t run[GP_WIRE_SECTIONS_MAX];
};

struct accepted {
	uint32_t count;
	struct accepted_push pushes[SIM_BURST];
};

void accepted_before(struct accepted *a, const struct sim *s, uint32_t core,
	struct gp_frame *const *frames, uint32_t n);
void accepted_after(const struct accepted *a, struct sim *s, uint32_t core);

// tap.c: whether a core of a job with direct updates has counted the contribution.
bool tap_is_marked(const struct job_core *jc, uint32_t rank, uint32_t local, uint32_t step);

#endif
