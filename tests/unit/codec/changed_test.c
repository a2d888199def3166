// SPDX-License-Identifier: BSD-3-Clause
//
// Payloads of what changed: updating the old values with them gives the new ones, bit for bit.
#include <criterion/criterion.h>

#include <gp_codec.h>

#include "codec_data.h"

#include <stdlib.h>

#define ELEMS 340

static float now[ELEMS], before[ELEMS], got[ELEMS];
static uint8_t out[8 * ELEMS];

// `changes` of the first elems differ.
static void make(uint32_t elems, uint32_t changes, uint64_t *seed)
{
	data_fill(now, elems, seed);
	memcpy(before, now, sizeof(now));
	for (uint32_t i = 0; i < changes; i++) {
		uint32_t at = elems * i / changes, bits = gp_load32(&before[at]) ^ 1u << i % 32;
		gp_store32(&before[at], bits);
	}
}

static uint32_t encode(uint8_t id, const float *was, uint32_t elems, size_t size_max)
{
	const struct gp_codec_change c = {.now = now, .before = was, .elems = elems};
	return gp_codec_encode_changed(id, &c, size_max, out);
}

Test(changed, an_update_makes_the_old_values_the_new_ones)
{
	uint64_t seed = 31;
	for (int level = 0; level < GP_SIMD_LEVELS; level++) {
		if (gp_codec_select(level) != 0)
			continue;
		for (uint32_t elems = 1; elems <= ELEMS; elems += 13)
			for (uint32_t changes = 0; changes <= elems; changes = changes * 2 + 1) {
				make(elems, changes, &seed);
				uint32_t len = encode(GP_CODEC_TOPK, before, elems, sizeof(out));
				cr_assert_eq(len, gp_codec_size_max(GP_CODEC_TOPK, elems, changes));
				cr_assert_eq(gp_codec_check(GP_CODEC_TOPK, out, len, elems), 0);
				gp_codec_update(GP_CODEC_TOPK, before, out, len, elems);
				cr_assert_arr_eq(before, now, elems * sizeof(float));
			}
	}
}

Test(changed, without_zeros_a_block_decodes_to_itself)
{
	uint64_t seed = 32;
	for (uint32_t kept = 0; kept <= ELEMS; kept = kept * 2 + 1) {
		data_fill_finite(now, ELEMS, 118, &seed);
		uint32_t nonzero = 0;
		for (uint32_t i = 0; i < ELEMS; i++) {
			if (i >= kept)
				gp_store32(&now[i], i % 2 ? 0x80000000 : 0);
			nonzero += now[i] != 0;
		}
		uint32_t len = encode(GP_CODEC_TOPK, NULL, ELEMS, sizeof(out));
		cr_assert_eq(len, gp_codec_size_max(GP_CODEC_TOPK, ELEMS, nonzero));
		gp_codec_decode(GP_CODEC_TOPK, got, out, len, ELEMS);
		for (uint32_t i = 0; i < ELEMS; i++)
			cr_assert_eq(got[i], now[i]);
	}
}

Test(changed, what_is_too_long_is_not_written)
{
	uint64_t seed = 33;
	make(ELEMS, 20, &seed);
	size_t size = gp_codec_size_max(GP_CODEC_TOPK_F16, ELEMS, 20);
	cr_assert_eq(encode(GP_CODEC_TOPK_F16, before, ELEMS, size), size);
	cr_assert_eq(encode(GP_CODEC_TOPK_F16, before, ELEMS, size - 1), 0);
	cr_assert_eq(encode(GP_CODEC_TOPK_F16, now, ELEMS, 4), 4, "nothing differs");
	gp_codec_update(GP_CODEC_NONE, before, out, 0, ELEMS);
}

Test(changed, half_values_are_rounded_and_placed)
{
	static const uint8_t ids[] = {GP_CODEC_TOPK_BF16, GP_CODEC_TOPK_F16};
	uint64_t seed = 34;
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(ids); i++) {
		make(ELEMS, 33, &seed);
		uint32_t len = encode(ids[i], before, ELEMS, sizeof(out));
		cr_assert_eq(gp_codec_check(ids[i], out, len, ELEMS), 0);
		gp_codec_decode(ids[i], got, out, len, ELEMS);
		memcpy(before, now, sizeof(now));
		gp_codec_update(ids[i], before, out, len, ELEMS);
		for (uint32_t n = 0; n < 33; n++) {
			uint32_t at = gp_load16(out + 2 + 2 * n);
			cr_assert_eq(at, ELEMS * n / 33);
			cr_assert_eq(gp_load32(&before[at]), gp_load32(&got[at]));
		}
	}
}
