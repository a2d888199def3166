// SPDX-License-Identifier: BSD-3-Clause
//
// The input of a structure-aware fuzzer as a tape of choices: each call takes some bytes, and an
// input that has ended gives zeros, which everywhere mean the most ordinary choice.
#ifndef FUZZ_INPUT_H
#define FUZZ_INPUT_H

#include <gp_base.h>

struct input {
	const uint8_t *at;
	const uint8_t *end;
};

static inline uint64_t input_take(struct input *in, uint32_t bytes)
{
	uint64_t v = 0;
	for (uint32_t i = 0; i < bytes && in->at < in->end; i++)
		v |= (uint64_t)*in->at++ << (8 * i);
	return v;
}

static inline uint8_t input_u8(struct input *in)
{
	return (uint8_t)input_take(in, 1);
}

static inline bool input_is_over(const struct input *in)
{
	return in->at == in->end;
}

// A number near `base`, at an edge of what programs reckon with, or any; 0 is `base` itself.
static inline uint64_t input_number(struct input *in, uint64_t base)
{
	static const uint64_t edges[] = {0, 1, 2, 3, 4, 7, 63, 64, 65, 255, 256, 0x7fff, 0xfffe,
		0xffff, 0x10000, 0x7fffffff, 0x80000000, 0x80000001, 0xfffffffe, 0xffffffff,
		UINT64_C(1) << 32, INT64_MAX, UINT64_MAX - 1, UINT64_MAX};
	uint8_t how = input_u8(in);
	if (how < 64)
		return base + how;
	if (how < 96)
		return base - (how - 63u);
	if (how < 96 + 5 * GP_ARRAY_SIZE(edges))
		return edges[(how - 96) % GP_ARRAY_SIZE(edges)];
	return input_take(in, 1 + how % 8);
}

// `base`, or, when bit `bit` of `mask` says so, a number from the input.
static inline uint64_t input_field(struct input *in, uint32_t mask, uint32_t bit, uint64_t base)
{
	return mask >> bit & 1 ? input_number(in, base) : base;
}

// Any bytes; never more than are left.
static inline uint32_t input_bytes(struct input *in, uint8_t *to, uint32_t max)
{
	uint32_t n = (uint32_t)(input_take(in, 2) % (max + 1u));
	n = (uint32_t)GP_MIN((size_t)n, (size_t)(in->end - in->at));
	if (n > 0)
		memcpy(to, in->at, n);
	in->at += n;
	return n;
}

#endif
