// SPDX-License-Identifier: BSD-3-Clause
//
// Golden vectors with one thing wrong, each refused under its own name. The test fails when a
// verdict of the validator is never produced.
#include <criterion/criterion.h>

#include <gp_wire.h>

#include "vectors.h"

#include <stdlib.h>

struct mutation {
	const char *vector;
	const char *what;
	uint32_t at;   // where `size` bytes of `value` go, little-endian
	uint32_t size; // 0: the length changes by `value` instead
	int64_t value;
	enum gp_verdict verdict;
};

// Offsets: header 40, section 16, ack 24; bodies without sections and acks begin at 40.
static const struct mutation mutations[] = {
	{"ack", "one byte short", 0, 0, -1, GP_VERDICT_BAD_LENGTH},
	{"ack", "a header only", 0, 0, -24, GP_VERDICT_BAD_LENGTH},
	{"leave", "less than a header", 0, 0, -9, GP_VERDICT_BAD_LENGTH},
	{"hello", "more than the longest datagram", 0, 0, 9217 - 1200, GP_VERDICT_BAD_LENGTH},
	{"pull", "a section cut off", 0, 0, -1, GP_VERDICT_BAD_LENGTH},
	{"pull", "one section more than there are bytes", 38, 1, 3, GP_VERDICT_BAD_LENGTH},
	{"leave", "pad beyond the end", 3, 1, 9, GP_VERDICT_BAD_LENGTH},
	{"push_f32", "payload one byte short", 0, 0, -1, GP_VERDICT_BAD_LENGTH},
	{"push_f32", "one byte behind the payload", 0, 0, 1, GP_VERDICT_BAD_LENGTH},
	{"push_f32", "section claims 4 more bytes", 44, 2, 16, GP_VERDICT_BAD_LENGTH},
	{"push_mixed", "sections claim 64 KiB", 76, 2, 0xffff, GP_VERDICT_BAD_LENGTH},
	{"result", "payload one byte short", 0, 0, -1, GP_VERDICT_BAD_LENGTH},

	{"push_f32", "version 0", 0, 1, 0, GP_VERDICT_BAD_VERSION},
	{"hello", "version 2", 0, 1, 2, GP_VERDICT_BAD_VERSION},

	{"push_f32", "type 0", 1, 1, 0, GP_VERDICT_BAD_TYPE},
	{"push_f32", "type 26", 1, 1, 26, GP_VERDICT_BAD_TYPE},
	{"push_f32", "type 255", 1, 1, 255, GP_VERDICT_BAD_TYPE},

	{"push_f32", "unknown flag", 2, 1, 16, GP_VERDICT_BAD_FLAGS},
	{"push_f32", "tag", 2, 1, GP_WIRE_F_TAG, GP_VERDICT_BAD_FLAGS},
	{"push_f32", "ack block from a worker", 2, 1, GP_WIRE_F_ACK, GP_VERDICT_BAD_FLAGS},
	{"push_f32", "tentative push", 2, 1, GP_WIRE_F_TENTATIVE, GP_VERDICT_BAD_FLAGS},
	{"push_f32", "key without tag", 39, 1, 1, GP_VERDICT_BAD_FLAGS},
	{"result", "result with WANT", 2, 1, GP_WIRE_F_WANT, GP_VERDICT_BAD_FLAGS},
	{"welcome", "ack block in WELCOME", 2, 1, GP_WIRE_F_ACK, GP_VERDICT_BAD_FLAGS},
	{"ack", "ACK without its block", 2, 1, 0, GP_VERDICT_BAD_FLAGS},
	{"ack", "unknown flag in the ack block", 60, 4, 2, GP_VERDICT_BAD_FLAGS},
	{"join", "unknown flag", 88, 4, 32, GP_VERDICT_BAD_FLAGS},
	{"join_results", "results as top-k", 88, 4, 0x0308, GP_VERDICT_BAD_FLAGS},
	{"join_results", "results as what is unknown", 88, 4, 0xff08, GP_VERDICT_BAD_FLAGS},
	{"welcome", "unknown flag", 63, 1, 32, GP_VERDICT_BAD_FLAGS},
	{"layout_waiting", "unknown flag", 60, 4, 2, GP_VERDICT_BAD_FLAGS},
	{"commit", "member flag of a commit", 73, 1, 1, GP_VERDICT_BAD_FLAGS},
	{"commit", "unknown flag of a commit", 73, 1, 8, GP_VERDICT_BAD_FLAGS},
	{"commit", "YOURS of a view", 97, 1, 2, GP_VERDICT_BAD_FLAGS},
	{"commit", "LATE of a view", 97, 1, 4, GP_VERDICT_BAD_FLAGS},
	{"commit_async", "YOURS of a cut", 72, 2, 0x0203, GP_VERDICT_BAD_FLAGS},
	{"heartbeat_reply", "unknown flag", 98, 1, 8, GP_VERDICT_BAD_FLAGS},
	{"read", "unknown flag", 96, 4, 2, GP_VERDICT_BAD_FLAGS},
	{"read", "ack block from a worker", 2, 1, GP_WIRE_F_ACK, GP_VERDICT_BAD_FLAGS},
	{"pull_rows", "PULL_ROWS with WANT", 2, 1, GP_WIRE_F_WANT, GP_VERDICT_BAD_FLAGS},
	{"read_parked", "reply with WANT", 2, 1, GP_WIRE_F_WANT, GP_VERDICT_BAD_FLAGS},

	{"push_f32", "pad of 64", 3, 1, 64, GP_VERDICT_BAD_PAD},
	{"push_f32", "first pad byte", 56, 1, 1, GP_VERDICT_BAD_PAD},
	{"push_f32", "last pad byte", 85, 1, 1, GP_VERDICT_BAD_PAD},
	{"push_f32", "section reserved", 50, 2, 1, GP_VERDICT_BAD_PAD},
	{"hello", "a version beyond the count", 47, 1, 1, GP_VERDICT_BAD_PAD},
	{"hello", "a cookie", 64, 1, 1, GP_VERDICT_BAD_PAD},
	{"hello", "a chosen version", 88, 1, 1, GP_VERDICT_BAD_PAD},
	{"hello_reply", "reserved", 95, 1, 1, GP_VERDICT_BAD_PAD},
	{"join", "behind the name", 167, 1, 1, GP_VERDICT_BAD_PAD},
	{"register", "reserved", 50, 1, 1, GP_VERDICT_BAD_PAD},
	{"register", "behind the second name", 127, 1, 1, GP_VERDICT_BAD_PAD},
	{"layout", "reserved", 102, 1, 1, GP_VERDICT_BAD_PAD},
	{"commit", "reserved", 70, 2, 1, GP_VERDICT_BAD_PAD},
	{"commit", "reserved of the last entry", 119, 1, 1, GP_VERDICT_BAD_PAD},
	{"heartbeat_reply", "reserved", 99, 1, 1, GP_VERDICT_BAD_PAD},
	{"read", "reserved", 103, 1, 1, GP_VERDICT_BAD_PAD},
	{"read", "pad", 87, 1, 1, GP_VERDICT_BAD_PAD},
	{"read_parked", "reserved", 60, 1, 1, GP_VERDICT_BAD_PAD},
	{"read_reply", "last reserved byte", 95, 1, 1, GP_VERDICT_BAD_PAD},
	{"refuse", "reserved", 43, 1, 1, GP_VERDICT_BAD_PAD},
	{"pull_rows", "reserved", 53, 1, 1, GP_VERDICT_BAD_PAD},
	{"rows", "reserved", 77, 1, 1, GP_VERDICT_BAD_PAD},

	{"push_f32", "no section", 38, 1, 0, GP_VERDICT_BAD_SECTIONS},
	{"push_f32", "65 sections", 38, 1, 65, GP_VERDICT_BAD_SECTIONS},
	{"pull", "no section", 38, 1, 0, GP_VERDICT_BAD_SECTIONS},
	{"result", "no section", 38, 1, 0, GP_VERDICT_BAD_SECTIONS},
	{"nack", "no section", 38, 1, 0, GP_VERDICT_BAD_SECTIONS},
	{"busy", "no section", 38, 1, 0, GP_VERDICT_BAD_SECTIONS},
	{"ack", "a section", 38, 1, 1, GP_VERDICT_BAD_SECTIONS},
	{"hello", "a section", 38, 1, 1, GP_VERDICT_BAD_SECTIONS},
	{"commit", "a section", 38, 1, 1, GP_VERDICT_BAD_SECTIONS},
	{"read", "a section", 38, 1, 1, GP_VERDICT_BAD_SECTIONS},

	{"push_f32", "run 0", 46, 2, 0, GP_VERDICT_BAD_SECTION},
	{"push_f32", "run 2 with a payload", 46, 2, 2, GP_VERDICT_BAD_SECTION},
	{"push_f32", "codec 0 with a payload", 48, 1, 0, GP_VERDICT_BAD_SECTION},
	{"push_f32", "unknown codec", 48, 1, 10, GP_VERDICT_BAD_SECTION},
	{"push_mixed", "codec without a payload", 64, 1, 1, GP_VERDICT_BAD_SECTION},
	{"push_mixed", "run past the last block", 56, 4, 0xfffffffc, GP_VERDICT_BAD_SECTION},
	{"push_f32", "set of ranks", 49, 1, GP_WIRE_S_RANKS, GP_VERDICT_BAD_SECTION},
	{"push_f32", "unknown section flag", 49, 1, 0x80, GP_VERDICT_BAD_SECTION},
	{"push_pass", "KEEP in a contribution", 49, 1, 2, GP_VERDICT_BAD_SECTION},
	{"result_keep", "KEEP of a codec that leaves nothing out", 64, 1, 1,
		GP_VERDICT_BAD_SECTION},
	{"result_keep", "unknown section flag", 49, 1, 4, GP_VERDICT_BAD_SECTION},
	{"push_f32", "weight 0 with a payload", 52, 4, 0, GP_VERDICT_BAD_SECTION},
	{"push_pass", "weight -0", 52, 4, 0x80000000, GP_VERDICT_BAD_SECTION},
	{"push_pass", "weight -1", 68, 4, 0xbf800000, GP_VERDICT_BAD_SECTION},
	{"push_pass", "weight inf", 68, 4, 0x7f800000, GP_VERDICT_BAD_SECTION},
	{"push_pass", "a codec", 48, 1, 1, GP_VERDICT_BAD_SECTION},
	{"push_f32", "weight -0", 52, 4, 0x80000000, GP_VERDICT_BAD_SECTION},
	{"push_f32", "weight -1", 52, 4, 0xbf800000, GP_VERDICT_BAD_SECTION},
	{"push_f32", "weight inf", 52, 4, 0x7f800000, GP_VERDICT_BAD_SECTION},
	{"push_f32", "weight -inf", 52, 4, 0xff800000, GP_VERDICT_BAD_SECTION},
	{"push_f32", "weight NaN", 52, 4, 0x7fc00000, GP_VERDICT_BAD_SECTION},
	{"push_f32", "weight signalling NaN", 52, 4, 0x7f800001, GP_VERDICT_BAD_SECTION},
	{"push_f32", "weight -NaN", 52, 4, 0xffffffff, GP_VERDICT_BAD_SECTION},
	{"push_mixed", "weight of the last section", 84, 4, 0, GP_VERDICT_BAD_SECTION},
	{"result", "codec rows", 48, 1, 9, GP_VERDICT_BAD_SECTION},
	{"result", "weight -1", 52, 4, 0xbf800000, GP_VERDICT_BAD_SECTION},
	{"result", "weight -0", 52, 4, 0x80000000, GP_VERDICT_BAD_SECTION},
	{"result", "weight NaN", 52, 4, 0x7fc00000, GP_VERDICT_BAD_SECTION},
	{"pull", "run 0", 46, 2, 0, GP_VERDICT_BAD_SECTION},
	{"pull", "run past the last block", 62, 2, 2, GP_VERDICT_BAD_SECTION},
	{"pull", "a payload", 44, 2, 4, GP_VERDICT_BAD_SECTION},
	{"pull", "a codec", 48, 1, 1, GP_VERDICT_BAD_SECTION},
	{"pull", "a weight", 52, 4, 0x3f800000, GP_VERDICT_BAD_SECTION},
	{"nack", "a weight", 52, 4, 0x3f800000, GP_VERDICT_BAD_SECTION},
	{"busy", "a flag", 49, 1, 1, GP_VERDICT_BAD_SECTION},

	{"hello", "body of 55 bytes", 0, 0, 95 - 1200, GP_VERDICT_BAD_BODY},
	{"hello", "magic", 40, 1, 0, GP_VERDICT_BAD_BODY},
	{"hello_reply", "magic", 43, 1, 0, GP_VERDICT_BAD_BODY},
	{"join", "one byte short", 0, 0, -1, GP_VERDICT_BAD_BODY},
	{"join", "one byte more", 0, 0, 1, GP_VERDICT_BAD_BODY},
	{"join", "incarnation 0", 72, 8, 0, GP_VERDICT_BAD_BODY},
	{"welcome", "one byte short", 0, 0, -1, GP_VERDICT_BAD_BODY},
	{"welcome", "home is no core", 58, 2, 2, GP_VERDICT_BAD_BODY},
	{"welcome", "kind 0", 60, 1, 0, GP_VERDICT_BAD_BODY},
	{"welcome", "kind 4", 60, 1, 4, GP_VERDICT_BAD_BODY},
	{"welcome", "atomicity 0", 61, 1, 0, GP_VERDICT_BAD_BODY},
	{"welcome", "atomicity 4", 61, 1, 4, GP_VERDICT_BAD_BODY},
	{"welcome", "consistency 0", 62, 1, 0, GP_VERDICT_BAD_BODY},
	{"welcome", "consistency 6", 62, 1, 6, GP_VERDICT_BAD_BODY},
	{"register_ask", "one byte short", 0, 0, -1, GP_VERDICT_BAD_BODY},
	{"register_ask", "n without descriptors", 48, 2, 1, GP_VERDICT_BAD_BODY},
	{"register", "n less than descriptors", 48, 2, 1, GP_VERDICT_BAD_BODY},
	{"register", "dtype 2", 60, 1, 2, GP_VERDICT_BAD_BODY},
	{"register", "last descriptor cut off", 0, 0, -8, GP_VERDICT_BAD_BODY},
	{"register", "dims past the end", 93, 1, 8, GP_VERDICT_BAD_BODY},
	{"layout_waiting", "one byte short", 0, 0, -1, GP_VERDICT_BAD_BODY},
	{"layout_waiting", "state 2", 44, 4, 2, GP_VERDICT_BAD_BODY},
	{"layout", "more entries than there are", 96, 2, 3, GP_VERDICT_BAD_BODY},
	{"layout", "fewer entries than there are", 96, 2, 1, GP_VERDICT_BAD_BODY},
	{"pull", "a body", 0, 0, 1, GP_VERDICT_BAD_BODY},
	{"nack", "a body", 0, 0, 1, GP_VERDICT_BAD_BODY},
	{"ack", "a body", 0, 0, 1, GP_VERDICT_BAD_BODY},
	{"commit", "more decisions than there are", 68, 2, 3, GP_VERDICT_BAD_BODY},
	{"commit", "fewer decisions than there are", 68, 2, 1, GP_VERDICT_BAD_BODY},
	{"commit", "kind 0", 72, 1, 0, GP_VERDICT_BAD_BODY},
	{"commit", "kind 5", 96, 1, 5, GP_VERDICT_BAD_BODY},
	{"heartbeat", "one byte short", 0, 0, -1, GP_VERDICT_BAD_BODY},
	{"heartbeat_reply", "state 4", 86, 2, 4, GP_VERDICT_BAD_BODY},
	{"barrier", "one byte more", 0, 0, 1, GP_VERDICT_BAD_BODY},
	{"leave", "one byte more", 0, 0, 1, GP_VERDICT_BAD_BODY},
	{"leave_reply", "one byte short", 0, 0, -1, GP_VERDICT_BAD_BODY},
	{"busy", "one byte short", 0, 0, -1, GP_VERDICT_BAD_BODY},
	{"read", "one byte short", 0, 0, -1, GP_VERDICT_BAD_BODY},
	{"read", "one byte more", 0, 0, 1, GP_VERDICT_BAD_BODY},
	{"read_reply", "one byte short", 0, 0, -1, GP_VERDICT_BAD_BODY},
	{"read_parked", "state 3", 44, 2, 3, GP_VERDICT_BAD_BODY},
	{"refuse", "one byte short", 0, 0, -1, GP_VERDICT_BAD_BODY},
	{"refuse", "reason 0", 40, 2, 0, GP_VERDICT_BAD_BODY},
	{"refuse", "reason 23", 40, 2, 23, GP_VERDICT_BAD_BODY},
	{"refuse", "about no type", 42, 1, 0, GP_VERDICT_BAD_BODY},
	{"refuse", "about type 26", 42, 1, 26, GP_VERDICT_BAD_BODY},
	{"pull_rows", "one byte short", 0, 0, -1, GP_VERDICT_BAD_BODY},
	{"pull_rows", "an id more than n", 50, 2, 2, GP_VERDICT_BAD_BODY},
	{"pull_rows", "codec 0", 52, 1, 0, GP_VERDICT_BAD_BODY},
	{"pull_rows", "codec 3", 52, 1, 3, GP_VERDICT_BAD_BODY},
	{"rows", "no values", 0, 0, -8, GP_VERDICT_BAD_BODY},
	{"rows", "two bytes more", 0, 0, 2, GP_VERDICT_BAD_BODY},
	{"rows", "codec 4", 76, 1, 4, GP_VERDICT_BAD_BODY},

	{"join", "no name", 104, 1, 0, GP_VERDICT_BAD_NAME},
	{"join_attach", "name without end", 167, 1, 'j', GP_VERDICT_BAD_NAME},
	{"join", "newline in the name", 105, 1, '\n', GP_VERDICT_BAD_NAME},
	{"join", "DEL in the name", 105, 1, 0x7f, GP_VERDICT_BAD_NAME},
	{"join", "not ASCII", 105, 1, 0xc3, GP_VERDICT_BAD_NAME},
	{"register", "no name", 62, 2, 0, GP_VERDICT_BAD_NAME},
	{"register", "name of 64", 62, 2, 64, GP_VERDICT_BAD_NAME},
	{"register", "zero byte in the name", 84, 1, 0, GP_VERDICT_BAD_NAME},
	{"register", "escape in the second name", 111, 1, 0x1b, GP_VERDICT_BAD_NAME},
	{"refuse", "escape in the text", 100, 1, 0x1b, GP_VERDICT_BAD_NAME},

	{"pull_rows", "no row", 50, 2, 0, GP_VERDICT_BAD_COUNT},
	{"rows", "no row", 74, 2, 0, GP_VERDICT_BAD_COUNT},
	{"rows", "no value in a row", 78, 2, 0, GP_VERDICT_BAD_COUNT},
	{"hello", "no version", 44, 1, 0, GP_VERDICT_BAD_COUNT},
	{"hello", "8 versions", 44, 1, 8, GP_VERDICT_BAD_COUNT},
	{"welcome", "reserved", 132, 1, 1, GP_VERDICT_BAD_PAD},
	{"welcome", "no core", 54, 2, 0, GP_VERDICT_BAD_COUNT},
	{"welcome", "ports past 65535", 56, 2, 65535, GP_VERDICT_BAD_COUNT},
	{"register", "past the last tensor", 44, 4, 2, GP_VERDICT_BAD_COUNT},
	{"register_ask", "past the last tensor", 44, 4, 4, GP_VERDICT_BAD_COUNT},
	{"register", "no dims", 61, 1, 0, GP_VERDICT_BAD_COUNT},
	{"register", "9 dims", 61, 1, 9, GP_VERDICT_BAD_COUNT},
	{"register", "dim 0", 64, 8, 0, GP_VERDICT_BAD_COUNT},
	{"register", "dim 2^48", 64, 8, INT64_C(1) << 48, GP_VERDICT_BAD_COUNT},
	{"register", "product overflows", 64, 8, INT64_C(1) << 56, GP_VERDICT_BAD_COUNT},
	{"layout", "first + n overflows", 92, 4, 0xffffffff, GP_VERDICT_BAD_COUNT},
	{"commit", "no decision", 68, 2, 0, GP_VERDICT_BAD_COUNT},
	{"commit", "33 decisions", 68, 2, 33, GP_VERDICT_BAD_COUNT},
	{"refuse", "text of 201", 98, 2, 201, GP_VERDICT_BAD_COUNT},
};

// What looks odd and is legal.
static const struct mutation legal[] = {
	{"hello", "padding is not looked at", 1000, 1, 1, GP_VERDICT_OK},
	{"hello", "validated by its 56 bytes; its size is the engine's", 0, 0, 96 - 1200,
		GP_VERDICT_OK},
	{"push_f32", "smallest weight", 52, 4, 1, GP_VERDICT_OK},
	{"push_f32", "largest weight", 52, 4, 0x7f7fffff, GP_VERDICT_OK},
	{"push_mixed", "a run that is passed", 68, 4, 0, GP_VERDICT_OK},
	{"welcome", "all flags", 63, 1, 31, GP_VERDICT_OK},
	{"commit_async", "YOURS and LATE", 73, 1, 6, GP_VERDICT_OK},
	{"push_mixed", "run up to the last block", 56, 4, 0xfffffffb, GP_VERDICT_OK},
	{"push_f32", "packet 0", 24, 8, 0, GP_VERDICT_OK},
	{"result", "weight 0", 52, 4, 0, GP_VERDICT_OK},
	{"welcome", "ports up to 65535", 56, 2, 65534, GP_VERDICT_OK},
	{"register", "2^48 elements", 72, 8, (INT64_C(1) << 48) / 784, GP_VERDICT_OK},
	{"commit", "kind 4, stop", 72, 1, 4, GP_VERDICT_OK},
	{"refuse", "the last reason", 40, 2, 22, GP_VERDICT_OK},
};

static void mutation_check(const struct mutation *x, bool *seen)
{
	struct vector whole = vector_load(x->vector);
	uint32_t len = x->size ? whole.len : (uint32_t)(whole.len + x->value);
	struct vector v = vector_copy(&whole, len);
	memcpy(v.data + x->at, &x->value, x->size);
	struct gp_msg m = {.body_len = 0xdeadbeef};
	enum gp_verdict got = gp_wire_parse(v.data, v.len, &m);
	cr_expect_eq(got, x->verdict, "%s: %s: expected %s, got %s", x->vector, x->what,
		x->verdict < 0 ? "ok" : gp_verdict_name(x->verdict),
		got < 0 ? "ok" : gp_verdict_name(got));
	if (got >= 0) {
		cr_expect_eq(m.body_len, 0xdeadbeef, "%s: touched the message", x->what);
		seen[got] = true;
	}
	free(v.data);
	free(whole.data);
}

Test(golden, refusals_are_named)
{
	bool seen[GP_VERDICT_COUNT] = {false};
	for (size_t i = 0; i < GP_ARRAY_SIZE(mutations); i++)
		mutation_check(&mutations[i], seen);
	for (int v = GP_VERDICT_BAD_LENGTH; v <= GP_VERDICT_BAD_COUNT; v++)
		cr_expect(seen[v], "%s is never produced", gp_verdict_name((enum gp_verdict)v));
}

Test(golden, odd_but_legal)
{
	bool seen[GP_VERDICT_COUNT] = {false};
	for (size_t i = 0; i < GP_ARRAY_SIZE(legal); i++)
		mutation_check(&legal[i], seen);
}
