// SPDX-License-Identifier: BSD-3-Clause
//
// Floats that find faults: every class of value, signalling and quiet NaN of several payloads, many
// equal ones, from a seed.
#ifndef CODEC_DATA_H
#define CODEC_DATA_H

#include <gp_base.h>

static inline float data_float(uint32_t bits)
{
	return gp_loadf(&bits);
}

// splitmix64
static inline uint32_t data_next(uint64_t *seed)
{
	uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (uint32_t)(z ^ z >> 31);
}

static inline void data_fill(float *v, uint32_t elems, uint64_t *seed)
{
	static const uint32_t special[] = {0, 0x80000000, 1, 0x80000001, 0x007fffff, 0x00800000,
		0x3f800000, 0xbf800000, 0x3f808000, 0x3f818000, 0x3f808001, 0x7f7fffff, 0xff7fffff,
		0x7f7f8000, 0x7f7f7fff, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc12345, 0x7f800001,
		0xff812345, 0x7fffffff, 0xffffffff};
	for (uint32_t i = 0; i < elems; i++) {
		uint32_t pick = data_next(seed), bits = data_next(seed);
		if (pick % 4 == 0)
			bits = special[bits % GP_ARRAY_SIZE(special)];
		else if (pick % 4 == 1) // near 1, few distinct
			bits = (bits & 0x80000000) | (0x3f800000 + (bits & 0x30000));
		gp_store32(&v[i], bits);
	}
}

// Finite ones of both signs, with biased exponents from `exponent` (0: subnormals) over a few
// binary orders of magnitude, and zeros.
static inline void data_fill_finite(float *v, uint32_t elems, uint32_t exponent, uint64_t *seed)
{
	for (uint32_t i = 0; i < elems; i++) {
		uint32_t bits = data_next(seed), up = data_next(seed) % 6;
		bits = (bits & 0x807fffff) | GP_MIN(exponent + up, 254u) << 23;
		gp_store32(&v[i], data_next(seed) % 32 ? bits : bits & 0x80000000);
	}
}

#endif
