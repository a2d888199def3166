// SPDX-License-Identifier: BSD-3-Clause
//
// Bump allocation from one region taken at start: all memory of a job, a core or a client is sized
// from its configuration, so that exhaustion is found at start or registration and named there.
// Nothing is freed one by one; the region goes back whole. Not thread safe.
#ifndef GP_ARENA_H
#define GP_ARENA_H

#include <gp_base.h>

struct gp_arena {
	uint8_t *base;
	size_t size;
	size_t used;
};

static inline void gp_arena_init(struct gp_arena *a, void *base, size_t size)
{
	*a = (struct gp_arena){.base = base, .size = size};
}

// Zeroed, aligned (a power of two); NULL when the region has no room left.
void *gp_arena_take(struct gp_arena *a, size_t size, size_t align) GP_MUST_CHECK;

#endif
