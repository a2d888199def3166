// SPDX-License-Identifier: BSD-3-Clause
//
// Any bytes as a top-k payload, against a decoder written here from docs/protocol.md 3 alone.
// Input: u16 elements of the block, then the payload. What is refused is what the naive decoder
// refuses, for the same reason; what is accepted gives the same bytes; nothing is read or written
// outside.
#include <gp_codec.h>

#include <stdlib.h>

#define ELEMS_MAX 2208

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t naive_u16(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8;
}

// The values and which of them are present; false when the payload is none.
static bool naive_decode(const uint8_t *p, size_t len, uint32_t elems, float *values, bool *present)
{
	memset(values, 0, sizeof(*values) * elems);
	memset(present, 0, sizeof(*present) * elems);
	if (len < 2)
		return false;
	size_t count = naive_u16(p), at = 2 + 2 * count;
	while (at % 4 != 0) {
		if (at >= len || p[at] != 0)
			return false;
		at++;
	}
	if (len != at + 4 * count || len < 4)
		return false;
	uint32_t before = 0;
	for (size_t i = 0; i < count; i++) {
		uint32_t idx = naive_u16(p + 2 + 2 * i);
		if (idx >= elems || (i > 0 && idx <= before))
			return false;
		present[idx] = true;
		memcpy(&values[idx], p + at + 4 * i, sizeof(float));
		before = idx;
	}
	return true;
}

// As bits, but any NaN for any other: which one an addition of two gives is the machine's.
static bool same(const float *a, const float *b, uint32_t elems)
{
	for (uint32_t i = 0; i < elems; i++)
		if (gp_load32(&a[i]) != gp_load32(&b[i]) && (a[i] == a[i] || b[i] == b[i]))
			return false;
	return true;
}

static void accepted_try(const uint8_t *payload, size_t len, uint32_t elems, const float *values,
	const bool *present)
{
	// Blocks of exactly the elements' size, so that a write beside them is seen.
	float *got = malloc(sizeof(*got) * elems), *want = malloc(sizeof(*want) * elems);
	GP_ASSERT(got && want);
	memset(got, 0xff, sizeof(*got) * elems);
	gp_codec_decode(GP_CODEC_TOPK, got, payload, len, elems);
	GP_ASSERT(memcmp(got, values, sizeof(*got) * elems) == 0);

	bool finite = true;
	for (uint32_t i = 0; i < elems; i++) {
		got[i] = want[i] = (float)i - 3.5f;
		if (!present[i])
			continue;
		want[i] = want[i] + values[i];
		finite &= values[i] - values[i] == 0;
	}
	gp_codec_add(GP_CODEC_TOPK, got, payload, len, elems);
	GP_ASSERT(same(got, want, elems));
	GP_ASSERT(gp_codec_finite(GP_CODEC_TOPK, payload, len, elems) == finite);
	free(got);
	free(want);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static float values[ELEMS_MAX];
	static bool present[ELEMS_MAX];
	if (size < 2)
		return 0;
	uint32_t elems = 1 + naive_u16(data) % ELEMS_MAX;
	size_t len = size - 2;
	uint8_t *payload = malloc(len ? len : 1);
	GP_ASSERT(payload);
	memcpy(payload, data + 2, len);
	bool good = naive_decode(payload, len, elems, values, present);
	int rc = gp_codec_check(GP_CODEC_TOPK, payload, len, elems);
	GP_ASSERT((rc == GP_CODEC_OK) == good);
	GP_ASSERT(gp_codec_reason_name(rc)[0] != '\0');
	if (good)
		accepted_try(payload, len, elems, values, present);
	free(payload);
	return 0;
}
