// SPDX-License-Identifier: BSD-3-Clause
//
// splitmix64 (Steele, Lea, Flood 2014): the only source of randomness. A stream is named by its
// seed and a number, so initial values and permutations do not depend on the order in which they
// are made.
#ifndef GW_RANDOM_H
#define GW_RANDOM_H

#include <stdint.h>

struct gw_random {
	uint64_t state;
};

static inline uint64_t gw_random_next(struct gw_random *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static inline struct gw_random gw_random_stream(uint64_t seed, uint64_t stream)
{
	struct gw_random by_seed = {seed};
	struct gw_random r = {gw_random_next(&by_seed) ^ stream};

	r.state = gw_random_next(&r);
	return r;
}

// 0 .. bound-1. The bias of at most bound / 2^32 does not matter here; being the same everywhere
// does.
static inline uint32_t gw_random_below(struct gw_random *r, uint32_t bound)
{
	return (uint32_t)(((gw_random_next(r) >> 32) * bound) >> 32);
}

// [0, 1) in steps of 2^-24: exact in f32.
static inline float gw_random_unit(struct gw_random *r)
{
	return (float)(gw_random_next(r) >> 40) * 0x1p-24f;
}

#endif
