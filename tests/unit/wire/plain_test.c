// SPDX-License-Identifier: BSD-3-Clause
//
// A PUSH of one section is proved in a short way of its own: whatever is broken of it, the verdict
// is that of docs/protocol.md, written down here once more.
#include <criterion/criterion.h>

#include <gp_wire.h>

#define SECTION_AT 40u
#define PAYLOAD	   12u
#define ROOM	   160u

static uint32_t push_make(uint8_t data[ROOM], uint8_t pad)
{
	const struct gp_header h = {.version = 1,
		.type = GP_WIRE_PUSH,
		.flags = GP_WIRE_F_WANT,
		.pad = pad,
		.job = 3,
		.rank = 2,
		.session = 0x10004,
		.epoch = 5,
		.view = 6,
		.step = 7,
		.packet = 8,
		.decision = 9,
		.sections = 1};
	const struct gp_section s = {
		.block = 11, .len = PAYLOAD, .run = 1, .codec = 1, .weight = 1};
	memset(data, 0, ROOM);
	uint32_t at = gp_wire_begin(data, ROOM, &h);
	gp_wire_put_section(data, 0, &s);
	memset(data + at, 0x3f, PAYLOAD);
	return at + PAYLOAD;
}

static bool section_legal(const uint8_t *s)
{
	uint32_t len = gp_load16(s + 4), run = gp_load16(s + 6), codec = s[8];
	float weight = gp_loadf(s + 12);
	bool positive = weight > 0 && weight <= 0x1.fffffep127f;
	bool passes = len == 0 && gp_load32(s + 12) == 0;
	return run >= 1 && (run == 1 || len == 0) &&
	       gp_load32(s) + (uint64_t)run - 1 <= UINT32_MAX && (codec == 0) == (len == 0) &&
	       codec <= GP_WIRE_CODEC_ROWS && s[9] == 0 && gp_load16(s + 10) == 0 &&
	       (positive || passes);
}

// One section; more of them are never legal here, because what would be the second names no block.
static bool push_legal(const uint8_t *p, uint32_t len)
{
	uint32_t body_at = SECTION_AT + 16u + p[3];
	if (p[0] != 1 || p[2] & ~GP_WIRE_F_WANT || p[3] > 63 || p[38] != 1 || p[39] != 0)
		return false;
	if (len < body_at || !section_legal(p + SECTION_AT))
		return false;
	for (uint32_t i = SECTION_AT + 16; i < body_at; i++)
		if (p[i] != 0)
			return false;
	return len - body_at == gp_load16(p + SECTION_AT + 4);
}

// In memory of exactly its length, so that a sanitizer sees what is read behind it.
static void compare(const uint8_t *data, uint32_t len)
{
	uint8_t *p = malloc(len > 0 ? len : 1);
	struct gp_msg m;
	memcpy(p, data, len);
	bool ok = gp_wire_parse(p, len, &m) == GP_VERDICT_OK;
	if (len >= 2 && p[1] == GP_WIRE_PUSH && len >= SECTION_AT)
		cr_assert_eq(ok, push_legal(p, len));
	else
		cr_assert(!ok || p[1] != GP_WIRE_PUSH);
	if (ok && p[1] == GP_WIRE_PUSH) {
		cr_assert_eq(m.h.step, gp_load32(p + 20));
		cr_assert_eq(m.sections, p + SECTION_AT);
		cr_assert_eq(m.body + m.body_len, p + len);
		cr_assert_null(m.ack);
	}
	free(p);
}

static const uint8_t pads[] = {0, 5, 8, 30, 63};

Test(wire_plain, every_byte_with_every_value)
{
	uint8_t data[ROOM];
	for (uint32_t k = 0; k < GP_ARRAY_SIZE(pads); k++) {
		uint32_t len = push_make(data, pads[k]);
		compare(data, len);
		for (uint32_t i = 0; i < len; i++) {
			uint8_t was = data[i];
			for (uint32_t v = 0; v < 256; v++) {
				data[i] = (uint8_t)v;
				compare(data, len);
			}
			data[i] = was;
		}
	}
}

Test(wire_plain, every_length)
{
	uint8_t data[ROOM];
	for (uint32_t k = 0; k < GP_ARRAY_SIZE(pads); k++) {
		uint32_t len = push_make(data, pads[k]);
		for (uint32_t n = 0; n <= len + 9; n++) {
			compare(data, n);
			// And the section says so too.
			gp_store16(data + SECTION_AT + 4, (uint16_t)(n - (len - PAYLOAD)));
			compare(data, n);
			gp_store16(data + SECTION_AT + 4, PAYLOAD);
		}
	}
}

Test(wire_plain, two_bytes)
{
	uint8_t data[ROOM];
	uint64_t x = 1;
	for (uint32_t n = 0; n < 200000; n++) {
		uint32_t len = push_make(data, pads[n % GP_ARRAY_SIZE(pads)]);
		for (uint32_t i = 0; i < 2; i++) {
			x = x * UINT64_C(6364136223846793005) + 1442695040888963407u;
			data[(x >> 33) % len] ^= (uint8_t)(1u << (x >> 60) % 8);
		}
		compare(data, len);
	}
}
