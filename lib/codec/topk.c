// SPDX-License-Identifier: BSD-3-Clause
//
// Sparse payloads: proof, scatter, and the exact choice of the k largest elements.
#include "codec_priv.h"

int codec_topk_check(const uint8_t *payload, size_t len, uint32_t elems)
{
	if (len < 4)
		return GP_CODEC_BAD_LENGTH;
	uint32_t count = gp_load16(payload);
	if (count > elems || len != codec_topk_size(count))
		return GP_CODEC_BAD_LENGTH;
	const uint8_t *index = payload + 2;
	if (count % 2 == 0 && gp_load16(index + 2 * count) != 0)
		return GP_CODEC_BAD_PAD;
	uint32_t unordered = 0;
	for (uint32_t i = 1; i < count; i++)
		unordered |= gp_load16(index + 2 * (i - 1)) >= gp_load16(index + 2 * i);
	if (unordered)
		return GP_CODEC_BAD_ORDER;
	// They increase, so the last one speaks for all.
	if (count && gp_load16(index + 2 * (count - 1)) >= elems)
		return GP_CODEC_BAD_RANGE;
	return GP_CODEC_OK;
}

void codec_topk_decode(float *dst, const uint8_t *payload, uint32_t elems)
{
	uint32_t count = gp_load16(payload);
	const uint8_t *value = payload + codec_topk_values_offset(count);
	memset(dst, 0, (size_t)elems * sizeof(*dst));
	for (uint32_t i = 0; i < count; i++)
		gp_storef(&dst[gp_load16(payload + 2 + 2 * i)], gp_loadf(value + 4 * i));
}

void codec_topk_add(float *dst, const uint8_t *payload, uint32_t elems)
{
	uint32_t count = gp_load16(payload);
	const uint8_t *value = payload + codec_topk_values_offset(count);
	GP_ASSERT(count <= elems);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t at = gp_load16(payload + 2 + 2 * i);
		dst[at] = gp_fadd(dst[at], gp_loadf(value + 4 * i));
	}
}

// The cut that keeps exactly k < elems elements. Keys order like magnitudes, so this is a search
// over integers: from the largest key down in growing strides of a binary order of magnitude until
// too many lie above, then bisection, which ends as soon as a threshold leaves exactly k above it.
// At most 9 + 31 passes; about 10 on gradients.
static struct codec_cut cut_find(
	const struct codec_kernels *kn, const float *acc, uint32_t elems, uint32_t k)
{
	int64_t high = kn->key_max(acc, elems); // at most k keys lie above high, always
	int64_t low = high;			// more than k lie above low, once the strides end
	uint32_t above_high = 0;
	for (int64_t stride = 1 << 23; low == high && above_high != k; stride *= 2) {
		int64_t next = high - stride < 0 ? -1 : high - stride;
		uint32_t n = next < 0 ? elems : kn->count_above(acc, elems, (int32_t)next);
		low = next;
		if (n <= k) {
			high = next;
			above_high = n;
		}
	}
	while (above_high != k && high - low > 1) {
		int64_t mid = low + (high - low) / 2;
		uint32_t n = kn->count_above(acc, elems, (int32_t)mid);
		if (n > k) {
			low = mid;
		} else {
			high = mid;
			above_high = n;
		}
	}
	return (struct codec_cut){.above = (int32_t)high, .equals = k - above_high};
}

// Copies the kept values out; with error feedback nothing of them is left behind.
static void values_take(uint8_t *payload, const float *acc, float *residual, uint32_t count)
{
	uint8_t *value = payload + codec_topk_values_offset(count);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t at = gp_load16(payload + 2 + 2 * i);
		gp_storef(value + 4 * i, acc[at]);
		if (residual)
			residual[at] = 0;
	}
}

uint32_t codec_topk_encode(const struct gp_codec_src *src, uint8_t *payload)
{
	const struct codec_kernels *kn = codec_kernels_get();
	GP_ASSERT(src->k <= src->elems);
	const float *acc = src->grad;
	if (src->residual) {
		kn->accumulate(src->residual, src->grad, src->elems);
		acc = src->residual;
	}
	struct codec_cut cut = {.above = -1};
	if (src->k < src->elems)
		cut = cut_find(kn, acc, src->elems, src->k);
	uint32_t count = kn->select(payload + 2, acc, src->elems, cut);
	GP_ASSERT(count == src->k);
	gp_store16(payload, (uint16_t)count);
	if (count % 2 == 0)
		gp_store16(payload + 2 + 2 * count, 0);
	values_take(payload, acc, src->residual, count);
	return codec_topk_size(count);
}
