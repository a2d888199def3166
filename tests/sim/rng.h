// SPDX-License-Identifier: BSD-3-Clause
//
// Randomness of a history: a pure hash for what is chosen by seed and name, and a generator for
// what is chosen as the history goes on.
#ifndef SIM_RNG_H
#define SIM_RNG_H

#include <stdbool.h>
#include <stdint.h>

#define PPM UINT32_C(1000000) // certain

struct rng {
	uint64_t s[2];
};

// splitmix64 (Steele, Lea and Flood; public domain algorithm).
static inline uint64_t rng_mix(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static inline void rng_start(struct rng *r, uint64_t seed)
{
	r->s[0] = rng_mix(seed);
	r->s[1] = rng_mix(r->s[0]) | 1;
}

static inline uint64_t rng_rotate(uint64_t x, int k)
{
	return (x << k) | (x >> (64 - k));
}

// xoroshiro128++ (Blackman and Vigna; public domain algorithm).
static inline uint64_t rng_next(struct rng *r)
{
	uint64_t a = r->s[0], b = r->s[1];
	uint64_t out = rng_rotate(a + b, 17) + a;
	b ^= a;
	r->s[0] = rng_rotate(a, 49) ^ b ^ (b << 21);
	r->s[1] = rng_rotate(b, 28);
	return out;
}

// x spread over [0, bound), bound >= 1.
static inline uint64_t rng_scale(uint64_t x, uint64_t bound)
{
	return (uint64_t)(((unsigned __int128)x * bound) >> 64);
}

static inline uint64_t rng_below(struct rng *r, uint64_t bound)
{
	return rng_scale(rng_next(r), bound);
}

// Draws only for what can happen.
static inline bool rng_hit(struct rng *r, uint32_t ppm)
{
	return ppm > 0 && rng_below(r, PPM) < ppm;
}

// x spread over [low, high] so that each power of two is about as likely; low >= 1.
static inline uint64_t rng_spread(uint64_t x, uint64_t low, uint64_t high)
{
	uint32_t first = 63 - (uint32_t)__builtin_clzll(low);
	uint32_t last = 63 - (uint32_t)__builtin_clzll(high);
	uint64_t from = UINT64_C(1) << (first + rng_scale(x, last - first + 1));
	uint64_t v = from + rng_scale(rng_mix(x), from);
	return v < low ? low : v > high ? high : v;
}

#endif
