// SPDX-License-Identifier: BSD-3-Clause
//
// Properties over all golden vectors; every buffer has the exact size of its datagram, so that the
// sanitized build sees any read past the end.
#include <criterion/criterion.h>

#include <gp_wire.h>

#include "vectors.h"
#include "walk.h"

#include <signal.h>
#include <stdlib.h>

#define FLIP_ROUNDS 4000 // a vector

static uint64_t rng_next(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static bool is_padded(const char *name)
{
	return strncmp(name, "hello", 5) == 0;
}

// Only a HELLO or its reply, which carry their own size, may lose bytes of their end.
static void truncation_check(const char *name, const struct vector *whole, uint32_t len)
{
	struct vector v = vector_copy(whole, len);
	struct gp_msg m;
	enum gp_verdict got = gp_wire_parse(v.data, v.len, &m);
	if (got == GP_VERDICT_OK) {
		struct gp_hello x;
		cr_assert(is_padded(name), "%s cut to %u bytes is accepted", name, len);
		gp_wire_get_hello(&m, &x);
		cr_assert_neq(x.size, len);
	}
	free(v.data);
}

Test(wire, truncated_at_any_length_is_refused)
{
	for (size_t i = 0; i < vector_count; i++) {
		struct vector whole = vector_load(vector_names[i]);
		for (uint32_t len = 0; len < whole.len; len++)
			truncation_check(vector_names[i], &whole, len);
		free(whole.data);
	}
}

Test(wire, longer_by_any_byte_is_refused)
{
	for (size_t i = 0; i < vector_count; i++) {
		struct vector whole = vector_load(vector_names[i]);
		struct vector v = vector_copy(&whole, whole.len + 1);
		struct gp_msg m;
		cr_assert(is_padded(vector_names[i]) ||
				  gp_wire_parse(v.data, v.len, &m) != GP_VERDICT_OK,
			"%s", vector_names[i]);
		free(v.data);
		free(whole.data);
	}
}

Test(wire, flipped_bits_stay_in_bounds)
{
	uint64_t seed = 0x9e3779b97f4a7c15, sum = 0;
	uint32_t accepted = 0, refused = 0;
	for (size_t i = 0; i < vector_count; i++) {
		struct vector whole = vector_load(vector_names[i]);
		for (int round = 0; round < FLIP_ROUNDS; round++) {
			uint64_t r = rng_next(&seed);
			uint32_t cut = r % 4 == 0 ? (uint32_t)(rng_next(&seed) % whole.len) : 0;
			struct vector v = vector_copy(&whole, whole.len - cut);
			// Half of the flips hit the first 200 bytes, where the fields are.
			for (uint64_t n = 0; n <= r / 4 % 3; n++) {
				uint32_t span = n % 2 ? v.len : GP_MIN(v.len, 200u);
				uint64_t bit = rng_next(&seed) % (span * 8u);
				v.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
			}
			struct gp_msg m;
			if (gp_wire_parse(v.data, v.len, &m) == GP_VERDICT_OK) {
				sum += walk_message(&m);
				accepted++;
			} else {
				refused++;
			}
			free(v.data);
		}
		free(whole.data);
	}
	cr_assert(accepted > 1000 && refused > 1000, "%u accepted, %u refused", accepted, refused);
	cr_assert_neq(sum, 0);
}

Test(wire, noise_is_refused)
{
	uint64_t seed = 42;
	for (int round = 0; round < 20000; round++) {
		const struct vector empty = {.data = (uint8_t[1]){0}, .len = 0};
		struct vector v = vector_copy(&empty, (uint32_t)(rng_next(&seed) % 300));
		for (uint32_t i = 0; i < v.len; i++)
			v.data[i] = (uint8_t)rng_next(&seed);
		struct gp_msg m;
		cr_assert_neq(gp_wire_parse(v.data, v.len, &m), GP_VERDICT_OK);
		free(v.data);
	}
}

Test(wire, reads_at_any_alignment)
{
	for (size_t i = 0; i < vector_count; i++) {
		struct vector whole = vector_load(vector_names[i]);
		for (uint32_t shift = 0; shift < 8; shift++) {
			uint8_t *p = malloc(whole.len + shift);
			cr_assert(p != NULL);
			memcpy(p + shift, whole.data, whole.len);
			struct gp_msg m;
			cr_assert(gp_wire_parse(p + shift, whole.len, &m) == GP_VERDICT_OK);
			(void)walk_message(&m);
			free(p);
		}
		free(whole.data);
	}
}

Test(wire, pad_places_the_body_on_a_line)
{
	for (uint32_t lower = 0; lower < 128; lower++) {
		for (uint32_t flags = 0; flags <= GP_WIRE_F_ACK; flags++) {
			uint32_t at = lower + 40 + 3 * 16 + (flags ? 24 : 0);
			uint8_t pad = gp_wire_pad(lower, flags, 3, GP_WIRE_PAD_MAX);
			cr_assert_eq((at + pad) % 64, 0);
			cr_assert_leq(pad, GP_WIRE_PAD_MAX);
			if (pad > 0)
				cr_assert_eq(gp_wire_pad(lower, flags, 3, pad - 1u), 0, "no room");
		}
	}
}

Test(wire, names)
{
	for (int v = 0; v < GP_VERDICT_COUNT; v++) {
		cr_assert(strlen(gp_verdict_name((enum gp_verdict)v)) > 0);
		cr_assert(strlen(gp_verdict_help((enum gp_verdict)v)) > 0);
	}
	cr_assert_str_eq(gp_verdict_name(GP_VERDICT_PUSH_DUPLICATE), "push_duplicate");
	cr_assert_str_eq(gp_wire_type_name(GP_WIRE_BUSY), "BUSY");
	cr_assert_str_eq(gp_wire_type_name(0), "?");
	cr_assert_str_eq(gp_wire_type_name(GP_WIRE_TYPE_END), "?");
	cr_assert_str_eq(gp_wire_refusal_name(GP_REFUSAL_RANK_TAKEN), "rank_taken");
	cr_assert_str_eq(gp_wire_refusal_name(0), "?");
	cr_assert_str_eq(gp_wire_refusal_name(GP_REFUSAL_END), "?");
}

Test(wire, begin_refuses_a_small_buffer, .signal = SIGABRT)
{
	uint8_t data[60];
	struct gp_header h = {.version = 1, .type = GP_WIRE_PUSH, .sections = 2};
	gp_wire_begin(data, sizeof(data), &h);
}

Test(wire, section_past_the_count_is_a_bug, .signal = SIGABRT)
{
	struct vector v = vector_load("nack");
	struct gp_msg m;
	struct gp_section s;
	if (gp_wire_parse(v.data, v.len, &m) == GP_VERDICT_OK)
		gp_wire_get_section(&m, 2, &s);
}
