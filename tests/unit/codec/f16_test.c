// SPDX-License-Identifier: BSD-3-Clause
//
// binary16 by its definition, in double precision where every step is exact.
#include <criterion/criterion.h>

#include <gp_codec.h>

#include "codec_data.h"

#include <math.h>

static uint16_t nearest_f16(uint32_t bits)
{
	uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
	double value = fabs((double)data_float(bits));
	if (isnan(value))
		return (uint16_t)(sign | 0x7e00 | (bits >> 13 & 0x3ff));
	if (value >= 65520)
		return sign | 0x7c00;
	int exponent = value > 0 ? GP_MAX(ilogb(value), -14) : -14;
	double units = ldexp(value, 10 - exponent), whole = floor(units);
	if (units - whole > 0.5 || (units - whole == 0.5 && fmod(whole, 2) == 1))
		whole++;
	// 1024 units of an exponent are 1024 units below it: the carry into the exponent is the
	// sum.
	return (uint16_t)(sign | (((exponent + 14) << 10) + (uint32_t)whole));
}

static double value_f16(uint16_t half)
{
	int exponent = half >> 10 & 31, fraction = half & 0x3ff;
	double v = exponent == 0 ? ldexp(fraction, -24) : ldexp(1024 + fraction, exponent - 25);
	return half & 0x8000 ? -v : v;
}

static void expect_rounded(const float *grad, uint32_t elems, int level)
{
	uint8_t out[2 * 336];
	const struct gp_codec_src src = {.grad = grad, .elems = elems};
	cr_assert_eq(gp_codec_encode(GP_CODEC_F16, &src, out), 2 * elems);
	for (uint32_t i = 0; i < elems; i++) {
		uint32_t bits = gp_load32(&grad[i]);
		if (gp_load16(out + 2 * i) != nearest_f16(bits))
			cr_assert(false, "level %d: %08x became %04x, not %04x", level, bits,
				gp_load16(out + 2 * i), nearest_f16(bits));
	}
}

Test(f16, rounds_to_nearest_even)
{
	uint64_t seed = 11;
	float grad[335];
	for (int level = 0; level < GP_SIMD_LEVELS; level++) {
		if (gp_codec_select(level) != 0)
			continue;
		for (uint32_t round = 0; round < 400; round++) {
			if (round % 2)
				data_fill(grad, 335, &seed);
			else // where f16 has its subnormals, its values and its end
				data_fill_finite(grad, 335, 100 + round / 2 % 46, &seed);
			expect_rounded(grad, 335, level);
		}
	}
}

// Half way between every two neighbours, and the floats beside it.
Test(f16, ties)
{
	float grad[3 * 64];
	for (int level = 0; level < GP_SIMD_LEVELS; level++) {
		if (gp_codec_select(level) != 0)
			continue;
		for (uint32_t first = 0; first < 0x7c00; first += 64) {
			for (uint32_t i = 0; i < 64; i++) {
				uint16_t low = (uint16_t)(first + i);
				double above = low == 0x7bff ? 65536 : value_f16(low + 1);
				float middle = (float)((value_f16(low) + above) / 2);
				grad[3 * i] = i % 2 ? -middle : middle;
				grad[3 * i + 1] = nextafterf(middle, 0);
				grad[3 * i + 2] = nextafterf(middle, INFINITY);
			}
			expect_rounded(grad, 3 * 64, level);
		}
	}
}

Test(f16, every_value_survives_a_round_trip)
{
	uint8_t in[512], out[512];
	float value[256];
	for (uint32_t at = 0; at < 256u * GP_SIMD_LEVELS; at++) {
		if (gp_codec_select((enum gp_simd_level)(at / 256)) != 0)
			continue;
		for (uint32_t i = 0; i < 256; i++)
			gp_store16(in + 2 * i, (uint16_t)(at % 256 << 8 | i));
		gp_codec_decode(GP_CODEC_F16, value, in, sizeof(in), 256);
		const struct gp_codec_src src = {.grad = value, .elems = 256};
		cr_assert_eq(gp_codec_encode(GP_CODEC_F16, &src, out), sizeof(out));
		for (uint32_t i = 0; i < 256; i++) {
			uint16_t half = gp_load16(in + 2 * i);
			uint32_t nan = (half & 0x8000u) << 16 | 0x7fc00000 | (half & 0x3ffu) << 13;
			bool is_nan = (half & 0x7fff) > 0x7c00;
			if (is_nan)
				cr_assert_eq(gp_load32(&value[i]), nan);
			else if ((half & 0x7fff) == 0x7c00)
				cr_assert_eq(value[i], half & 0x8000 ? -INFINITY : INFINITY);
			else
				cr_assert_eq((double)value[i], value_f16(half));
			cr_assert_eq(gp_load16(out + 2 * i), is_nan ? half | 0x200 : half);
		}
	}
}
