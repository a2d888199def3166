// SPDX-License-Identifier: BSD-3-Clause
//
// Results are compared with definitions written again here (nearest value, full sort), not with the
// library's scalar kernels; twins_test.c compares kernels with each other.
#include <criterion/criterion.h>

#include <gp_codec.h>

#include "codec_data.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>

struct check_case {
	const char *what;
	uint8_t id;
	uint32_t elems;
	size_t len;
	uint8_t payload[20];
	int expect;
};

static const struct check_case check_cases[] = {
	{"none", GP_CODEC_NONE, 16, 0, {0}, GP_CODEC_OK},
	{"none with bytes", GP_CODEC_NONE, 16, 4, {0}, GP_CODEC_BAD_LENGTH},
	{"f32", GP_CODEC_F32, 2, 8, {0}, GP_CODEC_OK},
	{"f32 short", GP_CODEC_F32, 2, 7, {0}, GP_CODEC_BAD_LENGTH},
	{"f32 long", GP_CODEC_F32, 2, 9, {0}, GP_CODEC_BAD_LENGTH},
	{"bf16", GP_CODEC_BF16, 3, 6, {0}, GP_CODEC_OK},
	{"bf16 short", GP_CODEC_BF16, 3, 5, {0}, GP_CODEC_BAD_LENGTH},
	{"bf16 with the length of f32", GP_CODEC_BF16, 3, 12, {0}, GP_CODEC_BAD_LENGTH},
	{"first unknown id", GP_CODEC_COUNT, 2, 8, {0}, GP_CODEC_BAD_ID},
	{"last unknown id", 255, 2, 8, {0}, GP_CODEC_BAD_ID},
	{"topk of nothing", GP_CODEC_TOPK, 4, 4, {0, 0, 0, 0}, GP_CODEC_OK},
	{"topk without a count", GP_CODEC_TOPK, 4, 1, {0}, GP_CODEC_BAD_LENGTH},
	{"topk empty", GP_CODEC_TOPK, 4, 0, {0}, GP_CODEC_BAD_LENGTH},
	{"topk count only", GP_CODEC_TOPK, 4, 2, {0, 0}, GP_CODEC_BAD_LENGTH},
	{"topk one", GP_CODEC_TOPK, 4, 8, {1, 0, 3, 0}, GP_CODEC_OK},
	{"topk one, index at the end", GP_CODEC_TOPK, 4, 8, {1, 0, 4, 0}, GP_CODEC_BAD_RANGE},
	{"topk one, index high byte", GP_CODEC_TOPK, 4, 8, {1, 0, 3, 1}, GP_CODEC_BAD_RANGE},
	{"topk one, value cut", GP_CODEC_TOPK, 4, 7, {1, 0, 3, 0}, GP_CODEC_BAD_LENGTH},
	{"topk two", GP_CODEC_TOPK, 4, 16, {2, 0, 0, 0, 3, 0, 0, 0}, GP_CODEC_OK},
	{"topk two, pad", GP_CODEC_TOPK, 4, 16, {2, 0, 0, 0, 3, 0, 0, 1}, GP_CODEC_BAD_PAD},
	{"topk none, pad", GP_CODEC_TOPK, 4, 4, {0, 0, 1, 0}, GP_CODEC_BAD_PAD},
	{"topk two equal", GP_CODEC_TOPK, 4, 16, {2, 0, 3, 0, 3, 0, 0, 0}, GP_CODEC_BAD_ORDER},
	{"topk two falling", GP_CODEC_TOPK, 4, 16, {2, 0, 2, 0, 1, 0, 0, 0}, GP_CODEC_BAD_ORDER},
	{"topk two, range", GP_CODEC_TOPK, 4, 16, {2, 0, 2, 0, 9, 0, 0, 0}, GP_CODEC_BAD_RANGE},
	{"topk three in two", GP_CODEC_TOPK, 2, 20, {3, 0, 0, 0, 1, 0, 2, 0}, GP_CODEC_BAD_LENGTH},
	{"topk huge count", GP_CODEC_TOPK, 4, 8, {255, 255, 3, 0}, GP_CODEC_BAD_LENGTH},
	{"f16", GP_CODEC_F16, 3, 6, {0}, GP_CODEC_OK},
	{"f16 padded", GP_CODEC_F16, 3, 8, {0}, GP_CODEC_BAD_LENGTH},
	{"int8", GP_CODEC_INT8, 3, 8, {0, 0, 0x80, 0x3f, 127, 129, 1, 0}, GP_CODEC_OK},
	{"int8 of nothing", GP_CODEC_INT8, 0, 4, {0}, GP_CODEC_OK},
	{"int8 without a scale", GP_CODEC_INT8, 0, 0, {0}, GP_CODEC_BAD_LENGTH},
	{"int8 not padded", GP_CODEC_INT8, 3, 7, {0}, GP_CODEC_BAD_LENGTH},
	{"int8 of one more", GP_CODEC_INT8, 4, 12, {0}, GP_CODEC_BAD_LENGTH},
	{"int8 pad", GP_CODEC_INT8, 3, 8, {0, 0, 0, 0, 1, 1, 1, 1}, GP_CODEC_BAD_PAD},
	{"int8 pad, first", GP_CODEC_INT8, 1, 8, {0, 0, 0, 0, 1, 1}, GP_CODEC_BAD_PAD},
	{"int8 -128", GP_CODEC_INT8, 3, 8, {0, 0, 0x80, 0x3f, 0, 0, 128}, GP_CODEC_BAD_VALUE},
	{"int8 largest scale", GP_CODEC_INT8, 0, 4, {255, 255, 0x7f, 0x7f}, GP_CODEC_OK},
	{"int8 scale -1", GP_CODEC_INT8, 0, 4, {0, 0, 0x80, 0xbf}, GP_CODEC_BAD_SCALE},
	{"int8 scale -0", GP_CODEC_INT8, 0, 4, {0, 0, 0, 0x80}, GP_CODEC_BAD_SCALE},
	{"int8 scale infinite", GP_CODEC_INT8, 0, 4, {0, 0, 0x80, 0x7f}, GP_CODEC_BAD_SCALE},
	{"int8 scale NaN", GP_CODEC_INT8, 0, 4, {0, 0, 0xc0, 0x7f}, GP_CODEC_OK},
	{"int8 scale other NaN", GP_CODEC_INT8, 0, 4, {1, 0, 0xc0, 0x7f}, GP_CODEC_BAD_SCALE},
	{"int8 scale -NaN", GP_CODEC_INT8, 0, 4, {0, 0, 0xc0, 0xff}, GP_CODEC_BAD_SCALE},
	{"sign", GP_CODEC_SIGN, 9, 8, {0, 0, 0x80, 0x3f, 255, 1, 0, 0}, GP_CODEC_OK},
	{"sign of nothing", GP_CODEC_SIGN, 0, 4, {0}, GP_CODEC_OK},
	{"sign not padded", GP_CODEC_SIGN, 9, 6, {0}, GP_CODEC_BAD_LENGTH},
	{"sign of one more", GP_CODEC_SIGN, 32, 12, {0}, GP_CODEC_BAD_LENGTH},
	{"sign full", GP_CODEC_SIGN, 32, 8, {0, 0, 0, 0, 255, 255, 255, 255}, GP_CODEC_OK},
	{"sign pad bit", GP_CODEC_SIGN, 9, 8, {0, 0, 0, 0, 255, 2}, GP_CODEC_BAD_PAD},
	{"sign pad byte", GP_CODEC_SIGN, 8, 8, {0, 0, 0, 0, 255, 1}, GP_CODEC_BAD_PAD},
	{"sign last pad byte", GP_CODEC_SIGN, 9, 8, {0, 0, 0, 0, 0, 0, 0, 128}, GP_CODEC_BAD_PAD},
	{"sign scale -1", GP_CODEC_SIGN, 1, 8, {0, 0, 0x80, 0xbf}, GP_CODEC_BAD_SCALE},
	{"sign scale infinite", GP_CODEC_SIGN, 1, 8, {0, 0, 0x80, 0x7f}, GP_CODEC_BAD_SCALE},
	{"topk_bf16 one", GP_CODEC_TOPK_BF16, 4, 8, {1, 0, 3, 0, 9, 9, 0, 0}, GP_CODEC_OK},
	{"topk_f16 two", GP_CODEC_TOPK_F16, 4, 12, {2, 0, 0, 0, 3, 0, 0, 0, 9, 9, 9, 9},
		GP_CODEC_OK},
	{"topk_f16 of nothing", GP_CODEC_TOPK_F16, 4, 4, {0}, GP_CODEC_OK},
	{"topk_f16 with the length of topk", GP_CODEC_TOPK_F16, 4, 16, {2, 0, 0, 0, 3, 0},
		GP_CODEC_BAD_LENGTH},
	{"topk_f16 one, pad", GP_CODEC_TOPK_F16, 4, 8, {1, 0, 3, 0, 9, 9, 0, 1}, GP_CODEC_BAD_PAD},
	{"topk_bf16 one, pad and range", GP_CODEC_TOPK_BF16, 3, 8, {1, 0, 3, 0, 9, 9, 1, 0},
		GP_CODEC_BAD_PAD},
	{"topk_f16 two, pad", GP_CODEC_TOPK_F16, 4, 12, {2, 0, 0, 0, 3, 0, 1}, GP_CODEC_BAD_PAD},
	{"topk_f16 two equal", GP_CODEC_TOPK_F16, 4, 12, {2, 0, 3, 0, 3, 0}, GP_CODEC_BAD_ORDER},
	{"topk_bf16 range", GP_CODEC_TOPK_BF16, 4, 8, {1, 0, 4, 0}, GP_CODEC_BAD_RANGE},
	{"topk_f16 no count", GP_CODEC_TOPK_F16, 4, 3, {0}, GP_CODEC_BAD_LENGTH},
};

Test(codec, check_names_every_fault)
{
	for (size_t i = 0; i < GP_ARRAY_SIZE(check_cases); i++) {
		const struct check_case *c = &check_cases[i];
		uint8_t *exact = malloc(c->len ? c->len : 1);
		memcpy(exact, c->payload, c->len);
		int got = gp_codec_check(c->id, exact, c->len, c->elems);
		cr_expect_eq(got, c->expect, "%s: got %s", c->what, gp_codec_reason_name(got));
		free(exact);
	}
}

Test(codec, names)
{
	for (uint8_t id = 0; id < GP_CODEC_COUNT; id++)
		cr_assert_eq(gp_codec_parse(gp_codec_name(id)), id);
	static const char *const names[] = {
		"none", "f32", "bf16", "topk", "f16", "int8", "sign", "topk_bf16", "topk_f16"};
	for (int id = 0; id < (int)GP_ARRAY_SIZE(names); id++)
		cr_assert_eq(gp_codec_parse(names[id]), id);
	cr_assert_eq(gp_codec_parse("top"), -EINVAL);
	cr_assert_null(gp_codec_name(GP_CODEC_COUNT));
	for (int r = GP_CODEC_BAD_VALUE; r < GP_CODEC_OK; r++)
		cr_assert_str_neq(gp_codec_reason_name(r), gp_codec_reason_name(r + 1));
	cr_assert_str_eq(gp_codec_reason_name(7), "codec_other");
	cr_assert_str_eq(gp_codec_reason_name(-8), "codec_other");
}

Test(codec, topk_count_rounds_up_within_the_block)
{
	cr_assert_eq(gp_codec_topk_count(0.01, 336), 4);
	cr_assert_eq(gp_codec_topk_count(0.25, 336), 84);
	cr_assert_eq(gp_codec_topk_count(1.0, 336), 336);
	cr_assert_eq(gp_codec_topk_count(7.0, 336), 336);
	cr_assert_eq(gp_codec_topk_count(0, 336), 1);
	cr_assert_eq(gp_codec_topk_count(-1, 336), 1);
	cr_assert_eq(gp_codec_topk_count(NAN, 336), 1);
	cr_assert_eq(gp_codec_topk_count(0.5, 0), 0);
}

Test(codec, none_is_zero_and_adds_nothing)
{
	float dst[3] = {1, -2, 3};
	const struct gp_codec_src src = {.grad = dst, .elems = 3};
	cr_assert_eq(gp_codec_encode(GP_CODEC_NONE, &src, NULL), 0);
	gp_codec_add(GP_CODEC_NONE, dst, NULL, 0, 3);
	cr_assert(dst[0] == 1 && dst[1] == -2 && dst[2] == 3);
	gp_codec_decode(GP_CODEC_NONE, dst, NULL, 0, 3);
	cr_assert(dst[0] == 0 && dst[1] == 0 && dst[2] == 0 && !signbit(dst[1]));
	cr_assert(gp_codec_finite(GP_CODEC_NONE, NULL, 0, 3));
}

// Nearest of the two neighbours in double precision, where both distances are exact.
static uint16_t nearest_bf16(uint32_t bits)
{
	uint32_t magnitude = bits & 0x7fffffff, low = magnitude & 0xffff0000, high = low + 0x10000;
	uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
	if (magnitude > 0x7f800000)
		return (uint16_t)(bits >> 16 | 0x40);
	if (magnitude == 0x7f800000)
		return (uint16_t)(bits >> 16);
	double value = data_float(magnitude), below = data_float(low);
	double above = high == 0x7f800000 ? ldexp(1, 128) : data_float(high);
	bool up = value - below > above - value ||
		  (value - below == above - value && (low >> 16 & 1));
	return (uint16_t)(sign | (up ? high : low) >> 16);
}

Test(codec, bf16_rounds_to_nearest_even)
{
	uint64_t seed = 1;
	for (int level = 0; level < GP_SIMD_LEVELS; level++) {
		if (gp_codec_select(level) != 0)
			continue;
		for (uint32_t round = 0; round < 400; round++) {
			float grad[335];
			uint8_t out[670];
			data_fill(grad, 335, &seed);
			const struct gp_codec_src src = {.grad = grad, .elems = 335};
			cr_assert_eq(gp_codec_encode(GP_CODEC_BF16, &src, out), 670);
			for (uint32_t i = 0; i < 335; i++) {
				uint32_t bits = gp_load32(&grad[i]);
				if (gp_load16(out + 2 * i) != nearest_bf16(bits))
					cr_assert(false, "level %d: %08x became %04x", level, bits,
						gp_load16(out + 2 * i));
			}
		}
	}
}

Test(codec, bf16_values_survive_a_round_trip)
{
	uint8_t in[512], out[512];
	float value[256];
	for (uint32_t high = 0; high < 256; high++) {
		for (uint32_t i = 0; i < 256; i++)
			gp_store16(in + 2 * i, (uint16_t)(high << 8 | i));
		gp_codec_decode(GP_CODEC_BF16, value, in, sizeof(in), 256);
		const struct gp_codec_src src = {.grad = value, .elems = 256};
		cr_assert_eq(gp_codec_encode(GP_CODEC_BF16, &src, out), sizeof(out));
		for (uint32_t i = 0; i < 256; i++) {
			uint16_t half = gp_load16(in + 2 * i);
			uint16_t quiet = (half & 0x7fff) > 0x7f80 ? half | 0x40 : half;
			cr_assert_eq(gp_load32(&value[i]), (uint32_t)half << 16);
			cr_assert_eq(gp_load16(out + 2 * i), quiet);
		}
	}
}

Test(codec, bf16_feedback_keeps_what_was_not_sent)
{
	const uint32_t elems = 51;
	float grad[51], residual[51], before[51], sent[51];
	uint8_t out[102];
	uint64_t seed = 2;
	for (int level = 0; level < GP_SIMD_LEVELS; level++) {
		if (gp_codec_select(level) != 0)
			continue;
		for (uint32_t i = 0; i < elems; i++) {
			grad[i] = (float)(int32_t)data_next(&seed) * 1e-9f;
			before[i] = residual[i] = (float)(int32_t)data_next(&seed) * 1e-12f;
		}
		grad[3] = NAN;
		grad[20] = -INFINITY;
		grad[50] = 3.4e38f; // rounds to infinity
		const struct gp_codec_src src = {
			.grad = grad, .residual = residual, .elems = elems};
		cr_assert_eq(gp_codec_encode(GP_CODEC_BF16, &src, out), 102);
		gp_codec_decode(GP_CODEC_BF16, sent, out, 102, elems);
		for (uint32_t i = 0; i < elems; i++) {
			float want = isfinite(sent[i]) ? (grad[i] + before[i]) - sent[i] : 0;
			cr_assert_eq(residual[i], want, "level %d element %u", level, i);
		}
		cr_assert(isnan(sent[3]) && isinf(sent[20]) && isinf(sent[50]));
	}
}

// Every codec sees one bad value anywhere, but top-k, which sends only a few.
Test(codec, finite_finds_one_bad_value_anywhere)
{
	const uint32_t bad[] = {0x7f800000, 0xff800000, 0x7fc00000, 0xff800001};
	float grad[37] = {0};
	uint8_t out[256];
	for (int level = 0; level < GP_SIMD_LEVELS; level++) {
		if (gp_codec_select(level) != 0)
			continue;
		for (uint32_t at = 0; at < 38 * GP_ARRAY_SIZE(bad); at++) {
			bool clean = at % 38 == 37;
			for (uint32_t i = 0; i < 37; i++)
				grad[i] = 6.5e4f; // near the largest f16
			if (!clean)
				grad[at % 38] = data_float(bad[at / 38]);
			const struct gp_codec_src src = {.grad = grad, .elems = 37, .k = 3};
			for (uint8_t id = GP_CODEC_F32; id < GP_CODEC_COUNT; id++) {
				uint32_t len = gp_codec_encode(id, &src, out);
				cr_assert_eq(gp_codec_finite(id, out, len, 37), clean, "%s at %u",
					gp_codec_name(id), at);
			}
		}
	}
}

// Values whose sum is beyond the largest one are finite; infinities that take each other away, and
// one value that is not among many, are not.
Test(codec, finite_is_each_value_not_their_sum)
{
	enum { elems = 400 };
	float v[elems];
	for (int level = 0; level < GP_SIMD_LEVELS; level++) {
		if (gp_codec_select(level) != 0)
			continue;
		for (uint32_t n = 0; n <= elems; n++) {
			for (uint32_t i = 0; i < n; i++)
				v[i] = i % 3 == 0 ? -FLT_MAX : FLT_MAX;
			cr_assert(gp_codec_f32_finite((uint8_t *)v, n), "%u", n);
			if (n < 2)
				continue;
			v[n / 2] = INFINITY;
			v[n - 1] = -INFINITY;
			cr_assert_not(gp_codec_f32_finite((uint8_t *)v, n), "%u", n);
			v[n / 2] = 1.0f;
			v[n - 1] = NAN;
			cr_assert_not(gp_codec_f32_finite((uint8_t *)v, n), "%u", n);
		}
	}
}

// What no step sends stays in the residual: after many steps the sums agree.
Test(codec, what_is_lost_is_sent_later)
{
	enum { elems = 77, steps = 200 };
	float grad[elems], residual[elems], sum[elems];
	uint8_t out[4 * elems];
	uint64_t seed = 6;
	for (uint32_t i = 0; i < elems; i++)
		grad[i] = (float)(int32_t)data_next(&seed) * 0x1p-31f;
	const struct gp_codec_src src = {
		.grad = grad, .residual = residual, .elems = elems, .k = 11};
	for (uint8_t id = GP_CODEC_BF16; id < GP_CODEC_COUNT; id++) {
		memset(residual, 0, sizeof(residual));
		memset(sum, 0, sizeof(sum));
		for (uint32_t step = 0; step < steps; step++) {
			uint32_t len = gp_codec_encode(id, &src, out);
			gp_codec_add(id, sum, out, len, elems);
		}
		for (uint32_t i = 0; i < elems; i++) {
			double off = (double)sum[i] + residual[i] - (double)grad[i] * steps;
			cr_assert_lt(fabs(off), 0.01, "%s: %g", gp_codec_name(id), off);
			cr_assert_lt(fabsf(residual[i]), 20, "%s: a residual grows without end",
				gp_codec_name(id));
		}
	}
}
