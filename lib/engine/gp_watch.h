// SPDX-License-Identifier: BSD-3-Clause
//
// Why a job waits: what its cores publish of the place that they wait at, and of each session.
//
// Written by one core each, relaxed, where something changed: once a burst for a place, a few
// stores a datagram for a session. Nothing is written because somebody looks. A place is read as
// one (a version number around it); sums over cores may be a burst apart.
//
// Threads: control only, as the other views of gp_engine.h.
#ifndef GP_WATCH_H
#define GP_WATCH_H

#include <gp_engine.h>

// One core of a job. A synchronous job waits, at each core, at the lowest place (step, block) that
// not all members have contributed to.
struct gp_place_view {
	bool blocks; // the core has blocks of the job; else nothing below is valid
	bool async;  // no core waits: block, since and here are not valid
	uint32_t step;
	uint32_t block; // job-wide
	uint64_t since; // when it became the lowest
	struct gp_ranks members;
	struct gp_ranks here; // that have contributed to it
	uint32_t slots_open;  // blocks with a contribution that are not complete
	uint32_t deferred;    // complete, wait for memory or a decision
	uint32_t pulls_held;  // readers and workers that wait for a generation
};
// False when the job has no layout.
bool gp_engine_place_view(
	const struct gp_engine *e, uint32_t job_idx, uint32_t core, struct gp_place_view *v);

struct gp_worker_view {
	uint32_t step;	    // of its newest contribution
	bool pushed;	    // step is valid
	uint32_t rtt_us;    // to home, as it says; 0 = not known
	uint64_t datagrams; // of its session
	uint64_t repeats;   // contributions that were there already: what it sent again
	uint64_t busy;	    // contributions that came too early
	uint64_t refused;   // other view, stale, not finite ...
	bool parked;	    // its read waits: asynchronous jobs with a bound, or too few workers
	uint32_t reads;	    // for this step; parked
	uint64_t parked_since;
};
// False when nobody holds the rank.
bool gp_engine_worker_view(
	const struct gp_engine *e, uint32_t job_idx, uint32_t rank, struct gp_worker_view *v);

// Whether what cores count adds up: a verdict for each datagram, a place for each version; names
// what does not. No core may run meanwhile.
bool gp_engine_audit(const struct gp_engine *e, char *why, size_t why_size);
// As that, and every slot and held pull of a resting engine is over (simulator).
bool gp_engine_at_rest(const struct gp_engine *e, char *why, size_t why_size);
// Grows while blocks wait for a version that a grace period would free, on any core and in any job.
uint32_t gp_engine_grace_waits(const struct gp_engine *e);

#endif
