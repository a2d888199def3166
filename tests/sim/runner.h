// SPDX-License-Identifier: BSD-3-Clause
//
// Runs many histories in a few processes, so that a history that ends in an assertion, a signal or
// an endless loop is a finding like any other; and makes a failing one smaller.
#ifndef SIM_RUNNER_H
#define SIM_RUNNER_H

#include "sim.h"

#define RUNNER_JOBS_MAX 16

struct totals {
	uint64_t histories, twice;
	struct sim_stats stats;
	struct wire_stats wire;
	uint64_t calm_ns_max;
};

struct finding {
	bool found;
	uint64_t seed;
	char why[SIM_WHY_SIZE];
};

// What each process does before its first history (mutants choose theirs).
extern void (*runner_prepare)(void);

// Seeds first..last, every 100th twice. Stops at the first finding, or when `wall_ms` have passed
// (0: never).
void runner_run(uint64_t first, uint64_t last, const struct sim_limits *l, uint32_t jobs,
	uint32_t wall_ms, struct totals *t, struct finding *f);
// One history in a process of its own; false when it fails, with *why.
bool runner_try(uint64_t seed, const struct sim_limits *l, char why[SIM_WHY_SIZE]);

// Fewer faults, fewer hosts, fewer datagrams, as long as it still fails; at most wall_ms.
void shrink(uint64_t seed, struct sim_limits *l, uint32_t wall_ms);
// The command line that names this history.
void shrink_print(FILE *f, uint64_t seed, const struct sim_limits *l);

uint64_t runner_clock_ms(void);

#endif
