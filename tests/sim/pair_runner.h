// SPDX-License-Identifier: BSD-3-Clause
#ifndef SIM_PAIR_RUNNER_H
#define SIM_PAIR_RUNNER_H

#include "pair.h"

struct pair_totals {
	struct pair_stats stats;
	uint64_t twice;
	uint64_t seed; // of the last history
	char why[PAIR_WHY_SIZE];
};

// Seeds from `first` until there were that many takeovers. False at the first finding: seed, why.
bool pair_histories(uint64_t first, uint64_t last, uint64_t takeovers, struct pair_totals *t);
void pair_totals_print(const struct pair_totals *t, uint64_t ms, bool json);

#endif
