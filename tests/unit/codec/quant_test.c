// SPDX-License-Identifier: BSD-3-Clause
//
// int8, sign and error feedback of all codecs, by definitions written again here with libm.
#include <criterion/criterion.h>

#include <gp_codec.h>

#include "codec_data.h"

#include <math.h>
#include <stdlib.h>

#define ELEMS_MAX 2208

static const uint32_t elems_tried[] = {1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 336, 2208};

// What the definition says of one block: payload and values.
struct answer {
	uint8_t payload[4 + 4 * ELEMS_MAX];
	uint32_t len;
	float value[ELEMS_MAX];
};

static bool all_finite(const float *acc, uint32_t elems)
{
	for (uint32_t i = 0; i < elems; i++)
		if (!isfinite(acc[i]))
			return false;
	return true;
}

static void answer_int8(struct answer *a, const float *acc, uint32_t elems)
{
	float m = 0, scale;
	for (uint32_t i = 0; i < elems; i++)
		m = fmaxf(m, fabsf(acc[i]));
	scale = all_finite(acc, elems) ? m / 127.0f : NAN;
	memset(a, 0, sizeof(*a));
	memcpy(a->payload, &scale, 4);
	a->len = 4 + (elems + 3) / 4 * 4;
	for (uint32_t i = 0; i < elems; i++) {
		float q = scale > 0 ? rintf(acc[i] / scale) : 0;
		q = fminf(fmaxf(q, -127), 127);
		a->payload[4 + i] = (uint8_t)(int8_t)q;
		a->value[i] = (float)(int8_t)q * scale; // no -0 on the wire
	}
}

static void answer_sign(struct answer *a, const float *acc, uint32_t elems)
{
	float lane[16] = {0};
	for (uint32_t j = 0; j < 16; j++)
		for (uint32_t i = j; i < elems; i += 16)
			lane[j] = lane[j] + fabsf(acc[i]);
	float eight[8], four[4];
	for (uint32_t j = 0; j < 8; j++)
		eight[j] = lane[j] + lane[j + 8];
	for (uint32_t j = 0; j < 4; j++)
		four[j] = eight[j] + eight[j + 4];
	float scale = ((four[0] + four[2]) + (four[1] + four[3])) / (float)elems;
	if (!isfinite(scale))
		scale = NAN;
	memset(a, 0, sizeof(*a));
	memcpy(a->payload, &scale, 4);
	a->len = 4 + (elems + 31) / 32 * 4;
	for (uint32_t i = 0; i < elems; i++) {
		bool negative = signbit(acc[i]) && !isnan(scale);
		a->payload[4 + i / 8] |= (uint8_t)(negative << i % 8);
		a->value[i] = negative ? -scale : scale;
	}
}

static void one_block(uint8_t id, const float *grad, const float *before, uint32_t elems)
{
	static float acc[ELEMS_MAX], residual[ELEMS_MAX], dst[ELEMS_MAX];
	static struct answer a;
	static uint8_t out[sizeof(a.payload)];
	for (uint32_t i = 0; i < elems; i++)
		acc[i] = grad[i] + before[i];
	if (id == GP_CODEC_INT8)
		answer_int8(&a, acc, elems);
	else
		answer_sign(&a, acc, elems);
	memcpy(residual, before, elems * sizeof(float));
	const struct gp_codec_src src = {.grad = grad, .residual = residual, .elems = elems};
	memset(out, 0xff, sizeof(out));
	uint32_t len = gp_codec_encode(id, &src, out);
	cr_assert_eq(len, a.len);
	cr_assert_eq(len, gp_codec_size_max(id, elems, 0));
	cr_assert_eq(gp_codec_check(id, out, len, elems), GP_CODEC_OK);
	cr_assert_eq(memcmp(out, a.payload, len), 0, "%s elems %u scale %a, not %a",
		gp_codec_name(id), elems, (double)gp_loadf(out), (double)gp_loadf(a.payload));
	gp_codec_decode(id, dst, out, len, elems);
	for (uint32_t i = 0; i < elems; i++) {
		float rest = isfinite(a.value[i]) ? acc[i] - a.value[i] : 0;
		cr_assert_eq(gp_load32(&dst[i]), gp_load32(&a.value[i]));
		cr_assert_eq(gp_load32(&residual[i]), gp_load32(&rest));
	}
	cr_assert_eq(gp_codec_finite(id, out, len, elems), all_finite(dst, elems));
}

static void many_blocks(uint8_t id)
{
	static const uint32_t exponents[] = {0, 1, 60, 100, 120, 126, 200, 240, 249};
	static float grad[ELEMS_MAX], before[ELEMS_MAX];
	uint64_t seed = 21 + id;
	for (uint32_t at = 0; at < 3 * GP_ARRAY_SIZE(elems_tried) * GP_SIMD_LEVELS; at++) {
		uint32_t elems = elems_tried[at / 3 % GP_ARRAY_SIZE(elems_tried)];
		if (gp_codec_select((enum gp_simd_level)(at % 3)) != 0)
			continue;
		for (uint32_t e = 0; e < GP_ARRAY_SIZE(exponents); e++) {
			data_fill_finite(grad, elems, exponents[e], &seed);
			data_fill_finite(before, elems, exponents[e], &seed);
			one_block(id, grad, before, elems);
		}
		memset(before, 0, sizeof(before));
		one_block(id, before, before, elems);
		for (uint32_t i = 0; i < elems; i++) // scales that underflow, or nearly
			gp_store32(&grad[i], data_next(&seed) % (at % 2 ? 64 : 200));
		one_block(id, grad, before, elems);
		grad[data_next(&seed) % elems] = at % 2 ? -INFINITY : NAN;
		one_block(id, grad, before, elems);
	}
}

Test(quant, int8_is_as_defined)
{
	many_blocks(GP_CODEC_INT8);
}

Test(quant, sign_is_as_defined)
{
	many_blocks(GP_CODEC_SIGN);
}

Test(quant, int8_breaks_ties_to_even)
{
	const float grad[8] = {127, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -126.5f, 126.5f};
	const int8_t want[8] = {127, 0, 2, 2, 0, -2, -126, 126};
	uint8_t out[12];
	const struct gp_codec_src src = {.grad = grad, .elems = 8};
	for (int level = 0; level < GP_SIMD_LEVELS; level++) {
		if (gp_codec_select(level) != 0)
			continue;
		cr_assert_eq(gp_codec_encode(GP_CODEC_INT8, &src, out), 12);
		cr_assert_eq(gp_loadf(out), 1.0f);
		cr_assert_eq(memcmp(out + 4, want, 8), 0);
	}
}

Test(quant, sign_sends_the_mean_and_the_bits)
{
	const float grad[9] = {1, -2, 3, -4, 5, -6, 7, -8, -0.0f};
	const uint8_t want[8] = {0, 0, 0x80, 0x40, 0xaa, 1, 0, 0}; // 4
	uint8_t out[8];
	const struct gp_codec_src src = {.grad = grad, .elems = 9};
	cr_assert_eq(gp_codec_encode(GP_CODEC_SIGN, &src, out), 8);
	cr_assert_eq(memcmp(out, want, 8), 0);
}

Test(quant, nothing_has_a_payload_of_its_scale)
{
	uint8_t out[4] = {1, 1, 1, 1};
	const struct gp_codec_src src = {.grad = NULL, .elems = 0};
	for (uint8_t id = GP_CODEC_INT8; id <= GP_CODEC_SIGN; id++) {
		cr_assert_eq(gp_codec_encode(id, &src, out), 4);
		cr_assert_eq(gp_load32(out), 0);
		cr_assert(gp_codec_finite(id, out, 4, 0));
	}
}

// The 16-bit top-k forms send what topk chooses, each value as its dense form sends it.
static void sparse_as_dense(uint8_t sparse, uint8_t dense, uint32_t elems, uint64_t *seed)
{
	static float grad[ELEMS_MAX], kept[2][ELEMS_MAX], got[2][ELEMS_MAX], sum[2][ELEMS_MAX];
	static uint8_t out[2][8 * ELEMS_MAX];
	uint32_t k = data_next(seed) % (elems + 1);
	data_fill(grad, elems, seed);
	memset(kept, 0, sizeof(kept));
	struct gp_codec_src src = {.grad = grad, .residual = kept[0], .elems = elems, .k = k};
	uint32_t len = gp_codec_encode(sparse, &src, out[0]);
	cr_assert_eq(len, gp_codec_size_max(sparse, elems, k));
	cr_assert_eq(gp_codec_check(sparse, out[0], len, elems), GP_CODEC_OK);
	src.residual = kept[1];
	uint32_t wide = gp_codec_encode(GP_CODEC_TOPK, &src, out[1]);
	cr_assert_eq(memcmp(out[0], out[1], (2 + 2 * k + 3) & ~3u), 0, "other elements");
	gp_codec_decode(GP_CODEC_TOPK, got[1], out[1], wide, elems);
	for (uint32_t i = 0; i < elems; i++)
		sum[0][i] = sum[1][i] = (float)i;
	gp_codec_decode(sparse, got[0], out[0], len, elems);
	gp_codec_add(sparse, sum[0], out[0], len, elems);
	src = (struct gp_codec_src){.grad = got[1], .elems = elems};
	wide = gp_codec_encode(dense, &src, out[1]);
	gp_codec_decode(dense, got[1], out[1], wide, elems);
	gp_codec_add(dense, sum[1], out[1], wide, elems);
	for (uint32_t i = 0; i < elems; i++) {
		bool same = isnan(got[0][i]) ? isnan(got[1][i]) : got[0][i] == got[1][i];
		same &= isnan(sum[0][i]) ? isnan(sum[1][i]) : sum[0][i] == sum[1][i];
		cr_assert(same, "element %u of %u: %a, not %a", i, elems, (double)got[0][i],
			(double)got[1][i]);
	}
}

Test(quant, sparse_values_are_rounded_as_dense_ones)
{
	uint64_t seed = 31;
	for (uint32_t at = 0; at < 20 * GP_ARRAY_SIZE(elems_tried); at++) {
		uint32_t elems = elems_tried[at % GP_ARRAY_SIZE(elems_tried)];
		if (gp_codec_select(at % 2 ? GP_SIMD_AVX2 : GP_SIMD_SCALAR) != 0)
			continue;
		sparse_as_dense(GP_CODEC_TOPK_BF16, GP_CODEC_BF16, elems, &seed);
		sparse_as_dense(GP_CODEC_TOPK_F16, GP_CODEC_F16, elems, &seed);
	}
}

// residual = acc - decoded for kept elements, acc for the others, 0 where nothing finite was sent.
static void residual_exact(uint8_t id, uint32_t elems, uint64_t *seed)
{
	static float grad[ELEMS_MAX], residual[ELEMS_MAX], acc[ELEMS_MAX], sent[ELEMS_MAX];
	static uint8_t out[8 * ELEMS_MAX];
	data_fill(grad, elems, seed);
	data_fill(residual, elems, seed);
	for (uint32_t i = 0; i < elems; i++)
		acc[i] = grad[i] + residual[i];
	const struct gp_codec_src src = {
		.grad = grad, .residual = residual, .elems = elems, .k = elems / 3};
	uint32_t len = gp_codec_encode(id, &src, out);
	gp_codec_decode(id, sent, out, len, elems);
	for (uint32_t i = 0; i < elems; i++) {
		float want = isfinite(sent[i]) ? acc[i] - sent[i] : 0;
		bool same = isnan(want) ? isnan(residual[i]) : residual[i] == want;
		cr_assert(same, "%s element %u of %u", gp_codec_name(id), i, elems);
	}
}

Test(quant, residuals_are_exact)
{
	uint64_t seed = 41;
	for (uint32_t at = 0; at < 30 * GP_ARRAY_SIZE(elems_tried); at++) {
		uint32_t elems = elems_tried[at % GP_ARRAY_SIZE(elems_tried)];
		if (gp_codec_select(at % 2 ? GP_SIMD_AVX2 : GP_SIMD_SCALAR) != 0)
			continue;
		for (uint8_t id = GP_CODEC_BF16; id < GP_CODEC_COUNT; id++)
			residual_exact(id, elems, &seed);
	}
}
