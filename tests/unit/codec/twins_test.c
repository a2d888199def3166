// SPDX-License-Identifier: BSD-3-Clause
//
// Every level of kernels gives the bytes of the scalar one: all lengths up to two tiles, every
// alignment, special values. Buffers end where the data ends, so a sanitizer sees a read too far.
#include <criterion/criterion.h>

#include <gp_codec.h>

#include "codec_data.h"

#include <stdlib.h>

struct work {
	uint32_t elems;
	uint32_t k;
	uint32_t shift; // bytes before the payload
	float *grad, *residual, *dst;
	uint8_t *mem;
	size_t mem_size;
};

static struct work work_new(uint32_t elems, uint32_t shift)
{
	struct work w = {.elems = elems, .k = elems / 3, .shift = shift};
	w.mem_size = shift + gp_codec_size_max(GP_CODEC_F32, elems, 0) + 8;
	w.grad = malloc(elems * sizeof(float) + 1);
	w.residual = malloc(elems * sizeof(float) + 1);
	w.dst = malloc(elems * sizeof(float) + 1);
	w.mem = malloc(w.mem_size);
	return w;
}

static void work_free(struct work *w)
{
	free(w->grad), free(w->residual), free(w->dst), free(w->mem);
}

static uint64_t mix(uint64_t hash, const void *data, size_t len)
{
	const uint8_t *p = data;
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ p[i]) * UINT64_C(0x100000001b3);
	return hash;
}

// Values of every class, or finite ones, so that quantised blocks have a scale: usual, subnormal,
// and so large that sums and products overflow.
static void fill(float *v, uint32_t elems, uint32_t kind, uint64_t *seed)
{
	static const uint32_t exponents[] = {118, 0, 248, 100};
	if (kind == 0)
		data_fill(v, elems, seed);
	else
		data_fill_finite(v, elems, exponents[kind - 1], seed);
}

// A digest of everything one codec does with this block at the level in force.
static uint64_t block_digest(struct work *w, uint8_t id, bool feedback, uint32_t kind)
{
	size_t bytes = w->elems * sizeof(float);
	uint64_t seed = (uint64_t)w->elems << 32 | w->shift << 16 | kind << 8 | id;
	fill(w->grad, w->elems, kind, &seed);
	fill(w->residual, w->elems, kind, &seed);
	data_fill(w->dst, w->elems, &seed);
	const struct gp_codec_src src = {.grad = w->grad,
		.residual = feedback ? w->residual : NULL,
		.elems = w->elems,
		.k = w->k};
	uint8_t *payload = w->mem + w->shift;
	uint32_t len = gp_codec_encode(id, &src, payload);
	cr_assert_eq(gp_codec_check(id, payload, len, w->elems), GP_CODEC_OK);
	// Once more at the very end of the allocation.
	memmove(w->mem + w->mem_size - len, payload, len);
	payload = w->mem + w->mem_size - len;
	uint64_t hash = mix(mix(0, payload, len), w->residual, bytes);
	gp_codec_add(id, w->dst, payload, len, w->elems);
	hash = mix(hash, w->dst, bytes);
	gp_codec_decode(id, w->dst, payload, len, w->elems);
	hash = mix(hash, w->dst, bytes);
	return hash + gp_codec_finite(id, payload, len, w->elems);
}

static void compare_one(struct work *w, uint8_t id, bool feedback, uint32_t kind)
{
	cr_assert_eq(gp_codec_select(GP_SIMD_SCALAR), 0);
	uint64_t want = block_digest(w, id, feedback, kind);
	for (int level = GP_SIMD_SCALAR + 1; level < GP_SIMD_LEVELS; level++) {
		if (gp_codec_select(level) != 0)
			continue;
		cr_assert_eq(block_digest(w, id, feedback, kind), want,
			"%s level %d elems %u shift %u kind %u", gp_codec_name(id), level, w->elems,
			w->shift, kind);
	}
}

static void compare(uint32_t elems, uint32_t shift)
{
	struct work w = work_new(elems, shift);
	for (uint8_t id = 1; id < GP_CODEC_COUNT; id++) {
		for (uint32_t kind = 0; kind < 5; kind++) {
			compare_one(&w, id, false, kind);
			compare_one(&w, id, true, kind);
		}
	}
	work_free(&w);
}

Test(twins, every_length)
{
	for (uint32_t elems = 0; elems <= 70; elems++)
		compare(elems, elems % 8);
	compare(336, 1);
	compare(2208, 3);
	compare(2207, 2);
	compare(GP_CODEC_ELEMS_MAX, 1);
}

Test(twins, every_alignment)
{
	for (uint32_t shift = 0; shift < 64; shift++)
		compare(100, shift);
}

Test(twins, unknown_levels_are_refused)
{
	cr_assert_neq(gp_codec_select(GP_SIMD_LEVELS), 0);
	cr_assert_eq(gp_codec_select(GP_SIMD_SCALAR), 0);
}
