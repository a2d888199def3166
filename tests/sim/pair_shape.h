// SPDX-License-Identifier: BSD-3-Clause
//
// What a seed makes of a history of a pair, told without running it.
#ifndef SIM_PAIR_SHAPE_H
#define SIM_PAIR_SHAPE_H

#include <stdbool.h>
#include <stdint.h>

// Snapshots are shipped, not commits.
bool pair_shape_ships(uint64_t seed);

#endif
