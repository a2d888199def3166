// SPDX-License-Identifier: BSD-3-Clause
//
// Rank and world size, from flags or from the variables that torchrun, mpirun and srun set.
#ifndef GW_LAUNCHER_H
#define GW_LAUNCHER_H

#include "error.h"

#include <stdbool.h>
#include <stdint.h>

struct gw_launch {
	bool has_rank, has_world;
	uint32_t rank, world;
};

// Decimal or 0x hexadecimal, the whole text, low..high. -EINVAL otherwise.
int gw_launcher_number(const char *text, uint64_t low, uint64_t high, uint64_t *value);

// A flag wins over the environment. -EINVAL when a value is missing, is not a number, two launchers
// contradict each other, or the rank is not below the world size; the text names the variables.
int gw_launcher_resolve(struct gw_launch *out, const struct gw_launch *flags, struct gw_error *err);

#endif
