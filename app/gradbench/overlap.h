// SPDX-License-Identifier: BSD-3-Clause
//
// Workers of gradbench overlap: each is a thread with one client of each of two jobs, whose
// tensors are the layers of a network. Computing is simulated: a time line of the layers' times
// that the thread sleeps (or spins) along, so that a late wake-up does not add up. All workers run
// one plan at a time, and check every element of its last step's results.
#ifndef GRADBENCH_OVERLAP_H
#define GRADBENCH_OVERLAP_H

#include "network.h"

#include <pthread.h>

#define OVERLAP_WORKERS_MAX 16

enum plan {
	PLAN_TRANSFER, // nothing but the transfer of all layers, last one first
	PLAN_SERIAL,   // forward, backward, then the transfer
	PLAN_OVERLAP,  // pushed as backward goes; forward begins when all is back
	PLAN_PRIORITY, // ... and each layer's forward begins when that layer is back
	PLAN_COUNT,
};

enum overlap_job { JOB_PUSHED, JOB_FORWARD, JOBS }; // priority in the order of pushes, of use

struct overlap_opts {
	const char *server, *jobs[JOBS];
	uint32_t workers, steps, path_mtu, timeout_ms;
	double scale; // of the computing times
	bool spin;
	const struct network *network;
};

struct overlap;

// Joins and registers all workers; takes all memory. 0 or -errno after a line on stderr.
int overlap_create(struct overlap **out, const struct overlap_opts *o) GP_MUST_CHECK;
// Milliseconds that a step of the plan took, mean of `steps`; < 0 after a line on stderr.
double overlap_run(struct overlap *v, enum plan plan) GP_MUST_CHECK;
uint64_t overlap_retransmits(const struct overlap *v); // of all workers so far
void overlap_destroy(struct overlap *v);

#endif
