// SPDX-License-Identifier: BSD-3-Clause
#include <criterion/criterion.h>

#include <gp_codec.h>

#include "codec_data.h"

#include <math.h>
#include <stdlib.h>

struct ranked {
	uint32_t key;
	uint32_t at;
};

static int ranked_cmp(const void *pa, const void *pb)
{
	const struct ranked *a = pa, *b = pb;
	if (a->key != b->key)
		return a->key < b->key ? 1 : -1;
	return a->at < b->at ? -1 : 1;
}

static int index_cmp(const void *pa, const void *pb)
{
	const struct ranked *a = pa, *b = pb;
	return a->at < b->at ? -1 : 1;
}

// The k largest by magnitude bits, lowest index first among equals, then by index: by sorting all.
static void sort_out(struct ranked *r, const float *acc, uint32_t elems, uint32_t k)
{
	for (uint32_t i = 0; i < elems; i++)
		r[i] = (struct ranked){gp_load32(&acc[i]) & 0x7fffffff, i};
	qsort(r, elems, sizeof(*r), ranked_cmp);
	qsort(r, k, sizeof(*r), index_cmp);
}

static bool payload_is(
	const uint8_t *out, uint32_t len, const struct ranked *r, const float *acc, uint32_t k)
{
	uint32_t values = (2 + 2 * k + 3) / 4 * 4;
	bool same = len == values + 4 * k && gp_load16(out) == k;
	for (uint32_t i = 0; same && i < k; i++) {
		same = gp_load16(out + 2 + 2 * i) == r[i].at;
		same = same && gp_load32(out + values + 4 * i) == gp_load32(&acc[r[i].at]);
	}
	return same;
}

// One block through encode, check, decode and add, against the sort.
static void one_block(const float *grad, const float *before, uint32_t elems, uint32_t k)
{
	float *residual = malloc((elems + 1) * sizeof(float));
	float *acc = malloc((elems + 1) * sizeof(float)),
	      *dst = malloc((elems + 1) * sizeof(float));
	struct ranked *r = malloc((elems + 1) * sizeof(*r));
	uint8_t *out = malloc(gp_codec_size_max(GP_CODEC_TOPK, elems, k));
	memcpy(residual, before, elems * sizeof(float));
	for (uint32_t i = 0; i < elems; i++)
		acc[i] = gp_fadd(grad[i], before[i]);
	const struct gp_codec_src src = {
		.grad = grad, .residual = residual, .elems = elems, .k = k};
	uint32_t len = gp_codec_encode(GP_CODEC_TOPK, &src, out);
	sort_out(r, acc, elems, k);
	cr_assert(payload_is(out, len, r, acc, k), "elems %u k %u", elems, k);
	cr_assert_eq(len, gp_codec_size_max(GP_CODEC_TOPK, elems, k));
	cr_assert_eq(gp_codec_check(GP_CODEC_TOPK, out, len, elems), GP_CODEC_OK);
	gp_codec_decode(GP_CODEC_TOPK, dst, out, len, elems);
	bool exact = true;
	for (uint32_t i = 0, n = 0; i < elems; i++) {
		bool sent = n < k && r[n].at == i;
		n += sent;
		exact &= gp_load32(&dst[i]) == (sent ? gp_load32(&acc[i]) : 0);
		exact &= gp_load32(&residual[i]) == (sent ? 0 : gp_load32(&acc[i]));
	}
	cr_assert(exact, "decoded or residual differ: elems %u k %u", elems, k);
	free(residual), free(acc), free(dst), free(r), free(out);
}

Test(topk, keeps_the_k_largest)
{
	const uint32_t elems[] = {1, 2, 7, 8, 9, 31, 64, 336, 2208};
	static float grad[2208], before[2208];
	uint64_t seed = 3;
	for (uint32_t round = 0; round < 120; round++) {
		for (uint32_t e = 0; e < GP_ARRAY_SIZE(elems); e++) {
			if (gp_codec_select((enum gp_simd_level)(round % GP_SIMD_LEVELS)) != 0)
				continue;
			data_fill(grad, elems[e], &seed);
			data_fill(before, elems[e], &seed);
			if (round % 4 == 0)
				memset(before, 0, sizeof(before));
			one_block(grad, before, elems[e], data_next(&seed) % (elems[e] + 1));
			one_block(grad, before, elems[e], GP_MIN(elems[e], 1 + round % 4));
		}
	}
}

Test(topk, equal_values_yield_the_lowest_indices)
{
	float grad[100], zero[100] = {0};
	for (uint32_t i = 0; i < 100; i++)
		grad[i] = i % 3 == 0 ? -2.0f : 2.0f;
	for (uint32_t k = 0; k <= 100; k++) {
		one_block(grad, zero, 100, k);
		one_block(zero, zero, 100, k);
	}
}

Test(topk, nan_is_sent_before_infinity)
{
	float grad[20] = {[4] = INFINITY, [9] = -INFINITY, [17] = -NAN};
	uint8_t out[16];
	const struct gp_codec_src src = {.grad = grad, .elems = 20, .k = 1};
	cr_assert_eq(gp_codec_encode(GP_CODEC_TOPK, &src, out), 8);
	cr_assert_eq(gp_load16(out + 2), 17);
	cr_assert(isnan(gp_loadf(out + 4)));
	cr_assert(!gp_codec_finite(GP_CODEC_TOPK, out, 8, 20));
}

Test(topk, without_feedback_leaves_the_gradient_alone)
{
	const float grad[5] = {1, -5, 2, 4, -3};
	uint8_t out[20];
	const struct gp_codec_src src = {.grad = grad, .elems = 5, .k = 2};
	uint32_t len = gp_codec_encode(GP_CODEC_TOPK, &src, out);
	float sum[5] = {10, 10, 10, 10, -0.0f};
	gp_codec_add(GP_CODEC_TOPK, sum, out, len, 5);
	cr_assert(sum[0] == 10 && sum[1] == 5 && sum[2] == 10 && sum[3] == 14);
	cr_assert(signbit(sum[4]), "an absent element is left as it is");
}

Test(topk, what_is_not_sent_is_sent_later)
{
	const uint32_t elems = 16;
	const float grad[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
	float residual[16] = {0}, total[16] = {0};
	uint8_t out[64];
	const struct gp_codec_src src = {
		.grad = grad, .residual = residual, .elems = elems, .k = 3};
	const float steps = 64;
	for (int step = 0; step < 64; step++) {
		uint32_t len = gp_codec_encode(GP_CODEC_TOPK, &src, out);
		gp_codec_add(GP_CODEC_TOPK, total, out, len, elems);
	}
	for (uint32_t i = 0; i < elems; i++) {
		cr_assert_eq(total[i] + residual[i], grad[i] * steps, "small integers sum exactly");
		cr_assert(total[i] > 0);
	}
}

// No single flipped bit of a payload gets past the check and out of the block.
Test(topk, flipped_bits_stay_inside)
{
	float grad[64];
	uint64_t seed = 4;
	data_fill(grad, 64, &seed);
	for (uint32_t k = 0; k < 12; k++) {
		const struct gp_codec_src src = {.grad = grad, .elems = 64, .k = k};
		size_t len = gp_codec_size_max(GP_CODEC_TOPK, 64, k);
		uint8_t *out = malloc(len);
		cr_assert_eq(gp_codec_encode(GP_CODEC_TOPK, &src, out), len);
		for (size_t bit = 0; bit < 8 * len; bit++) {
			float *dst = malloc(64 * sizeof(float));
			out[bit / 8] ^= (uint8_t)(1 << bit % 8);
			int reason = gp_codec_check(GP_CODEC_TOPK, out, len, 64);
			if (bit < 16 || (k % 2 == 0 && bit / 16 == 1 + k))
				cr_assert_neq(reason, GP_CODEC_OK, "bit %zu of count or pad", bit);
			if (reason == GP_CODEC_OK) {
				gp_codec_decode(GP_CODEC_TOPK, dst, out, len, 64);
				gp_codec_add(GP_CODEC_TOPK, dst, out, len, 64);
			}
			out[bit / 8] ^= (uint8_t)(1 << bit % 8);
			free(dst);
		}
		free(out);
	}
}
