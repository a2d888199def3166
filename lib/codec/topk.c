// SPDX-License-Identifier: BSD-3-Clause
//
// Sparse payloads: proof, scatter, and the exact choice of the k largest elements. The three forms
// differ in how they write a value.
#include "codec_priv.h"

struct half_form {
	uint16_t exp_mask; // NaN and infinity have these bits set
	uint16_t (*round)(float v);
	float (*rest)(float acc, uint16_t half);
};

static const struct half_form form_bf16 = {0x7f80, codec_bf16_round, codec_bf16_rest};
static const struct half_form form_f16 = {0x7c00, codec_f16_round, codec_f16_rest};

static const uint8_t *values_of(const uint8_t *payload, uint32_t count)
{
	return payload + codec_topk_values_offset(count);
}

static uint32_t size_wide(uint32_t count)
{
	return codec_topk_values_offset(count) + 4 * count;
}

static uint32_t size_half(uint32_t count)
{
	return codec_topk_values_offset(count) + ((2 * count + 3) & ~3u);
}

// ---- proof

// Everything but the padding behind the values; size is that of a count.
static int indices_check(
	const uint8_t *payload, size_t len, uint32_t elems, uint32_t (*size)(uint32_t count))
{
	if (len < 4)
		return GP_CODEC_BAD_LENGTH;
	uint32_t count = gp_load16(payload);
	if (count > elems || len != size(count))
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

static int wide_check(const uint8_t *payload, size_t len, uint32_t elems)
{
	return indices_check(payload, len, elems, size_wide);
}

static int half_check(const uint8_t *payload, size_t len, uint32_t elems)
{
	int reason = indices_check(payload, len, elems, size_half);
	if (reason == GP_CODEC_BAD_LENGTH)
		return reason;
	// The length is right, so an odd count has padding behind its last value.
	if (gp_load16(payload) % 2 == 1 && gp_load16(payload + len - 2) != 0)
		return GP_CODEC_BAD_PAD;
	return reason;
}

static bool wide_finite(const uint8_t *payload, uint32_t elems)
{
	uint32_t count = gp_load16(payload);
	GP_ASSERT(count <= elems);
	return codec_kernels_get()->f32_finite(values_of(payload, count), count);
}

static bool half_finite(const uint8_t *payload, uint32_t elems, const struct half_form *form)
{
	uint32_t count = gp_load16(payload);
	GP_ASSERT(count <= elems);
	return codec_kernels_get()->half_finite(values_of(payload, count), count, form->exp_mask);
}

// ---- scatter

static inline void sparse_decode(
	float *dst, const uint8_t *payload, uint32_t elems, enum codec_form form)
{
	uint32_t count = gp_load16(payload);
	GP_ASSERT(count <= elems);
	memset(dst, 0, (size_t)elems * sizeof(*dst));
	codec_kernels_get()->sparse_set[form](dst, payload + 2, values_of(payload, count), count);
}

static inline void sparse_add(
	float *dst, const uint8_t *payload, uint32_t elems, enum codec_form form)
{
	uint32_t count = gp_load16(payload);
	GP_ASSERT(count <= elems);
	codec_kernels_get()->sparse_add[form](dst, payload + 2, values_of(payload, count), count);
}

static void wide_decode(float *dst, const uint8_t *payload, uint32_t elems)
{
	sparse_decode(dst, payload, elems, CODEC_FORM_F32);
}

static void wide_add(float *dst, const uint8_t *payload, uint32_t elems)
{
	sparse_add(dst, payload, elems, CODEC_FORM_F32);
}

// ---- choice

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

// The cut of all that reach the threshold, unless those are more than k.
static struct codec_cut cut_choose(
	const struct codec_kernels *kn, const float *acc, const struct gp_codec_src *src)
{
	struct codec_cut cut = {.above = -1};
	if (src->threshold > 0) {
		cut.above = codec_key(src->threshold) - 1;
		if (kn->count_above(acc, src->elems, cut.above) <= src->k)
			return cut;
	}
	return src->k < src->elems ? cut_find(kn, acc, src->elems, src->k) : cut;
}

// Writes count and indices, takes the gradient into the residual, and says where the values lie.
static const float *indices_encode(const struct gp_codec_src *src, uint8_t *payload)
{
	const struct codec_kernels *kn = codec_kernels_get();
	GP_ASSERT(src->k <= src->elems && src->threshold >= 0);
	const float *acc = src->grad;
	if (src->residual) {
		kn->accumulate(src->residual, src->grad, src->elems);
		acc = src->residual;
	}
	struct codec_cut cut = cut_choose(kn, acc, src);
	uint32_t count = kn->select(payload + 2, acc, src->elems, cut);
	GP_ASSERT(count == src->k || (src->threshold > 0 && count < src->k));
	gp_store16(payload, (uint16_t)count);
	if (count % 2 == 0)
		gp_store16(payload + 2 + 2 * count, 0);
	return acc;
}

// Values of the indices that are written; with error feedback nothing of them is left behind.
static uint32_t wide_values(uint8_t *payload, const float *acc, float *residual)
{
	uint32_t count = gp_load16(payload);
	uint8_t *value = payload + codec_topk_values_offset(count);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t at = gp_load16(payload + 2 + 2 * i);
		gp_storef(value + 4 * i, acc[at]);
		if (residual)
			residual[at] = 0;
	}
	return size_wide(count);
}

static uint32_t half_values(
	uint8_t *payload, const float *acc, float *residual, const struct half_form *form)
{
	uint32_t count = gp_load16(payload);
	uint8_t *value = payload + codec_topk_values_offset(count);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t at = gp_load16(payload + 2 + 2 * i);
		uint16_t half = form->round(acc[at]);
		gp_store16(value + 2 * i, half);
		if (residual)
			residual[at] = form->rest(acc[at], half);
	}
	if (count % 2 == 1)
		gp_store16(value + 2 * count, 0);
	return size_half(count);
}

static uint32_t wide_encode(const struct gp_codec_src *src, uint8_t *payload)
{
	const float *acc = indices_encode(src, payload);
	return wide_values(payload, acc, src->residual);
}

static uint32_t half_encode(
	const struct gp_codec_src *src, uint8_t *payload, const struct half_form *form)
{
	const float *acc = indices_encode(src, payload);
	return half_values(payload, acc, src->residual, form);
}

// ---- what changed

static uint32_t changed_count(const float *now, const float *before, uint32_t elems)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < elems; i++)
		n += codec_bits(now[i]) != codec_bits(before[i]);
	return n;
}

// An index that does not count is overwritten by the next one, or by what lies behind the last.
static void changed_indices(uint8_t *out, const float *now, const float *before, uint32_t elems)
{
	for (uint32_t i = 0, n = 0; i < elems; i++) {
		gp_store16(out + 2 * n, (uint16_t)i);
		n += codec_bits(now[i]) != codec_bits(before[i]);
	}
}

uint32_t gp_codec_encode_changed(
	uint8_t id, const struct gp_codec_change *change, size_t size_max, uint8_t *payload)
{
	const struct codec_kernels *kn = codec_kernels_get();
	const float *now = change->now, *before = change->before;
	uint32_t elems = change->elems;
	GP_ASSERT(gp_codec_is_topk(id) && elems <= GP_CODEC_ELEMS_MAX);
	uint32_t count =
		before ? changed_count(now, before, elems) : kn->count_above(now, elems, 0);
	if (gp_codec_size_max(id, elems, count) > size_max)
		return 0;
	gp_store16(payload, (uint16_t)count);
	if (before && count > 0)
		changed_indices(payload + 2, now, before, elems);
	else if (count > 0)
		(void)kn->select(payload + 2, now, elems, (struct codec_cut){.above = 0});
	if (count % 2 == 0)
		gp_store16(payload + 2 + 2 * count, 0);
	if (id == GP_CODEC_TOPK)
		return wide_values(payload, now, NULL);
	return half_values(payload, now, NULL, id == GP_CODEC_TOPK_F16 ? &form_f16 : &form_bf16);
}

void gp_codec_update(uint8_t id, float *dst, const uint8_t *payload, size_t len, uint32_t elems)
{
	enum codec_form form = CODEC_FORM_F32;
	if (len == 0)
		return;
	uint32_t count = gp_load16(payload);
	GP_ASSERT(gp_codec_is_topk(id) && count <= elems);
	if (id != GP_CODEC_TOPK)
		form = id == GP_CODEC_TOPK_F16 ? CODEC_FORM_F16 : CODEC_FORM_BF16;
	codec_kernels_get()->sparse_set[form](dst, payload + 2, values_of(payload, count), count);
}

// ---- the rows of the table

static size_t wide_size_max(uint32_t elems, uint32_t k)
{
	return size_wide(GP_MIN(k, elems));
}

static size_t half_size_max(uint32_t elems, uint32_t k)
{
	return size_half(GP_MIN(k, elems));
}

const struct codec_ops codec_topk = {
	.name = "topk",
	.size_max = wide_size_max,
	.check = wide_check,
	.finite = wide_finite,
	.decode = wide_decode,
	.add = wide_add,
	.encode = wide_encode,
};

static bool bf16_finite(const uint8_t *payload, uint32_t elems)
{
	return half_finite(payload, elems, &form_bf16);
}

static void bf16_decode(float *dst, const uint8_t *payload, uint32_t elems)
{
	sparse_decode(dst, payload, elems, CODEC_FORM_BF16);
}

static void bf16_add(float *dst, const uint8_t *payload, uint32_t elems)
{
	sparse_add(dst, payload, elems, CODEC_FORM_BF16);
}

static uint32_t bf16_encode(const struct gp_codec_src *src, uint8_t *payload)
{
	return half_encode(src, payload, &form_bf16);
}

const struct codec_ops codec_topk_bf16 = {
	.name = "topk_bf16",
	.size_max = half_size_max,
	.check = half_check,
	.finite = bf16_finite,
	.decode = bf16_decode,
	.add = bf16_add,
	.encode = bf16_encode,
};

static bool f16_finite(const uint8_t *payload, uint32_t elems)
{
	return half_finite(payload, elems, &form_f16);
}

static void f16_decode(float *dst, const uint8_t *payload, uint32_t elems)
{
	sparse_decode(dst, payload, elems, CODEC_FORM_F16);
}

static void f16_add(float *dst, const uint8_t *payload, uint32_t elems)
{
	sparse_add(dst, payload, elems, CODEC_FORM_F16);
}

static uint32_t f16_encode(const struct gp_codec_src *src, uint8_t *payload)
{
	return half_encode(src, payload, &form_f16);
}

const struct codec_ops codec_topk_f16 = {
	.name = "topk_f16",
	.size_max = half_size_max,
	.check = half_check,
	.finite = f16_finite,
	.decode = f16_decode,
	.add = f16_add,
	.encode = f16_encode,
};
