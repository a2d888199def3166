// SPDX-License-Identifier: BSD-3-Clause
//
// The staleness bound of an adaptive job: how many steps a rank may be ahead of the slowest before
// its reads wait. 0 waits for everybody (as bulk-synchronous does), a large one for hardly anybody.
// A wide bound keeps fast ranks busy beside a straggler, a narrow one keeps gradients fresh; so it
// follows what is measured:
//
//	waited	    share of the ranks' time in which their reads were parked
//	straggling  time that the slowest rank takes for a step / that of the median one
//	staleness   steps between the fastest and the slowest rank, mean over commits
//
// After every window of GP_ADAPTIVE_ROUNDS commits a member the window votes: wider when waited is
// over 10 % and straggling over 1.25; narrower when waited is below 2 % and the staleness measured
// needs less than the present bound. Two windows in a row that agree move the bound: up to the next
// of 1, 2, 4, ... (at most bound_max), down by half (at least bound_min). That is the hysteresis;
// each move comes with the figures that caused it.
//
// Owner: the job's home core. A pure state machine, fed time; no memory but its own.
#ifndef GP_ADAPTIVE_H
#define GP_ADAPTIVE_H

#include <gp_base.h>

#define GP_ADAPTIVE_ROUNDS 8

struct gp_adaptive_move {
	uint32_t from;
	uint32_t to;
	uint32_t waited_permille;
	uint32_t straggling_permille;
	uint32_t staleness_milli; // steps / 1000
};

struct gp_adaptive {
	uint32_t bound;
	uint32_t bound_min;
	uint32_t bound_max;
	int32_t votes; // > 0: windows in a row for wider, < 0: for narrower
	uint64_t window_since;
	uint32_t commits; // in the window
	uint64_t waited_ns;
	uint64_t staleness_sum;
	uint64_t last_commit[GP_RANKS_MAX]; // 0 = none
	uint64_t step_ns[GP_RANKS_MAX];	    // mean time between commits, exponential, 1/4
};

// Begins at bound_min.
void gp_adaptive_init(struct gp_adaptive *a, uint32_t bound_min, uint32_t bound_max);
// A read of one rank was parked for `ns`.
void gp_adaptive_waited(struct gp_adaptive *a, uint64_t ns);
// `rank` has left or joined: its time before says nothing.
void gp_adaptive_forget(struct gp_adaptive *a, uint32_t rank);
// A step of `rank` was committed, `staleness` steps behind the fastest of `members`. True when that
// moved the bound; *m says why.
bool gp_adaptive_commit(struct gp_adaptive *a, uint32_t rank, uint32_t staleness,
	const struct gp_ranks *members, uint64_t now, struct gp_adaptive_move *m);

#endif
