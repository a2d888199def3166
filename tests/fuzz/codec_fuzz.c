// SPDX-License-Identifier: BSD-3-Clause
//
// Any bytes as a payload of any codec but none and topk (topk_fuzz.c), against a decoder written
// here from docs/protocol.md 3 alone. Input: u8 codec, u16 elements of the block, then the payload.
// What is refused is what the naive decoder refuses; what is accepted gives the same values;
// nothing is read or written outside.
#include <gp_codec.h>

#include <math.h>
#include <stdlib.h>

#define ELEMS_MAX 2208

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct naive {
	float value[ELEMS_MAX];
	bool present[ELEMS_MAX];
};

static uint32_t naive_u16(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8;
}

static float naive_f16(uint32_t half)
{
	int exponent = half >> 10 & 31, fraction = half & 0x3ff;
	float v = ldexpf((float)(1024 + fraction), exponent - 25);
	if (exponent == 0)
		v = ldexpf((float)fraction, -24);
	if (exponent == 31)
		v = fraction ? NAN : INFINITY;
	return half & 0x8000 ? -v : v;
}

static float naive_bf16(uint32_t half)
{
	uint32_t bits = half << 16;
	float v;
	memcpy(&v, &bits, sizeof(v));
	return v;
}

static bool naive_scale(const uint8_t *p, size_t len, float *scale)
{
	static const uint8_t nan[4] = {0, 0, 0xc0, 0x7f};
	if (len < 4)
		return false;
	memcpy(scale, p, sizeof(*scale));
	return (isfinite(*scale) && !signbit(*scale)) || memcmp(p, nan, sizeof(nan)) == 0;
}

static bool naive_int8(struct naive *n, const uint8_t *p, size_t len, uint32_t elems)
{
	float scale;
	if (!naive_scale(p, len, &scale) || len % 4 != 0 || len < 4 + elems || len >= 8 + elems)
		return false;
	for (size_t i = 0; i < len - 4; i++) {
		if (i >= elems && p[4 + i] != 0)
			return false;
		if (i < elems && p[4 + i] == 128)
			return false;
		if (i < elems)
			n->value[i] = (float)(p[4 + i] < 128 ? p[4 + i] : p[4 + i] - 256) * scale;
	}
	return true;
}

static bool naive_sign(struct naive *n, const uint8_t *p, size_t len, uint32_t elems)
{
	float scale;
	size_t words = (elems + 31) / 32;
	if (!naive_scale(p, len, &scale) || len != 4 + 4 * words)
		return false;
	for (size_t i = 0; i < 32 * words; i++) {
		bool negative = p[4 + i / 8] & 1 << i % 8;
		if (i >= elems && negative)
			return false;
		if (i < elems)
			n->value[i] = negative ? -scale : scale;
	}
	return true;
}

static bool naive_topk(struct naive *n, uint8_t id, const uint8_t *p, size_t len, uint32_t elems)
{
	uint32_t count = len >= 2 ? naive_u16(p) : UINT32_MAX, indices = count | 1;
	memset(n->present, 0, sizeof(n->present));
	if (count > elems || len != 2 + 2 * (size_t)indices + (count + 1) / 2 * 4)
		return false;
	if (count % 2 == 0 && naive_u16(p + 2 + 2 * count) != 0)
		return false;
	if (count % 2 == 1 && naive_u16(p + len - 2) != 0)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t at = naive_u16(p + 2 + 2 * i);
		uint32_t half = naive_u16(p + 2 + 2 * indices + 2 * i);
		if (at >= elems || (i > 0 && at <= naive_u16(p + 2 * i)))
			return false;
		n->present[at] = true;
		n->value[at] = id == GP_CODEC_TOPK_F16 ? naive_f16(half) : naive_bf16(half);
	}
	return true;
}

static bool naive_decode(struct naive *n, uint8_t id, const uint8_t *p, size_t len, uint32_t elems)
{
	memset(n->value, 0, sizeof(n->value));
	memset(n->present, 1, sizeof(n->present));
	if (id == GP_CODEC_INT8)
		return naive_int8(n, p, len, elems);
	if (id == GP_CODEC_SIGN)
		return naive_sign(n, p, len, elems);
	if (id == GP_CODEC_TOPK_BF16 || id == GP_CODEC_TOPK_F16)
		return naive_topk(n, id, p, len, elems);
	for (uint32_t i = 0; i < elems && id == GP_CODEC_F32 && len == 4 * elems; i++)
		memcpy(&n->value[i], p + 4 * i, 4);
	for (uint32_t i = 0; i < elems && id == GP_CODEC_BF16 && len == 2 * elems; i++)
		n->value[i] = naive_bf16(naive_u16(p + 2 * i));
	if (id != GP_CODEC_F16)
		return len == (id == GP_CODEC_F32 ? 4 : 2) * elems;
	for (uint32_t i = 0; i < elems && len == 2 * elems; i++)
		n->value[i] = naive_f16(naive_u16(p + 2 * i));
	return len == 2 * elems;
}

// As bits, but any NaN for any other.
static bool same(float a, float b)
{
	return gp_load32(&a) == gp_load32(&b) || (isnan(a) && isnan(b));
}

static void accepted_try(
	const struct naive *n, uint8_t id, const uint8_t *payload, size_t len, uint32_t elems)
{
	// Blocks of exactly the elements' size, so that a write beside them is seen.
	float *got = malloc(sizeof(*got) * elems), *sum = malloc(sizeof(*sum) * elems);
	float *kept = malloc(sizeof(*kept) * elems);
	bool finite = true;
	GP_ASSERT(got && sum && kept);
	for (uint32_t i = 0; i < elems; i++)
		sum[i] = kept[i] = (float)i - 3.5f;
	if (gp_codec_is_topk(id))
		gp_codec_update(id, kept, payload, len, elems);
	gp_codec_decode(id, got, payload, len, elems);
	gp_codec_add(id, sum, payload, len, elems);
	for (uint32_t i = 0; i < elems; i++) {
		float before = (float)i - 3.5f;
		GP_ASSERT(same(got[i], n->value[i]));
		GP_ASSERT(same(sum[i], n->present[i] ? before + n->value[i] : before));
		GP_ASSERT(!gp_codec_is_topk(id) ||
			  same(kept[i], n->present[i] ? n->value[i] : before));
		finite &= isfinite(n->value[i]) != 0;
	}
	GP_ASSERT(gp_codec_finite(id, payload, len, elems) == finite);
	free(got);
	free(sum);
	free(kept);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct naive n;
	if (size < 3)
		return 0;
	// The first ones stay where seeds of the corpus have them.
	static const uint8_t ids[] = {GP_CODEC_F16, GP_CODEC_INT8, GP_CODEC_SIGN,
		GP_CODEC_TOPK_BF16, GP_CODEC_TOPK_F16, GP_CODEC_F32, GP_CODEC_BF16};
	uint8_t id = ids[data[0] % GP_ARRAY_SIZE(ids)];
	uint32_t elems = 1 + naive_u16(data + 1) % ELEMS_MAX;
	size_t len = size - 3;
	uint8_t *payload = malloc(len ? len : 1);
	GP_ASSERT(payload);
	memcpy(payload, data + 3, len);
	bool good = naive_decode(&n, id, payload, len, elems);
	int rc = gp_codec_check(id, payload, len, elems);
	GP_ASSERT((rc == GP_CODEC_OK) == good);
	GP_ASSERT(gp_codec_reason_name(rc)[0] != '\0');
	if (good)
		accepted_try(&n, id, payload, len, elems);
	free(payload);
	return 0;
}
