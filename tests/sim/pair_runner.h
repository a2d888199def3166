// SPDX-License-Identifier: BSD-3-Clause
#ifndef SIM_PAIR_RUNNER_H
#define SIM_PAIR_RUNNER_H

#include "pair.h"

struct pair_totals {
	struct pair_stats stats;
	uint64_t twice;
	uint64_t seed; // of the last history
	uint64_t hash; // of all that happened in it
	char why[PAIR_WHY_SIZE];
	struct pair_times times;
};

// Seeds from `first`, at most to `last`, until there were that many takeovers. A single one, and
// some of many, are run twice, the second time with other memory and another directory: both must
// be the same.
struct pair_range {
	uint64_t first, last, takeovers;
	bool codecs_one;	      // in f32, as they were before there were others
	bool (*wants)(uint64_t seed); // NULL: every seed (pair_shape.h)
};

// False at the first finding: seed, why. `plain`: only the primary fails.
bool pair_histories(const struct pair_range *range, bool plain, struct pair_totals *t);
void pair_totals_print(struct pair_totals *t, uint64_t ms, bool json);

#endif
