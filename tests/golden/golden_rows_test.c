// SPDX-License-Identifier: BSD-3-Clause
//
// Rows of tables on the wire: the vectors of codec rows, PULL_ROWS and ROWS, and what the reader of
// a payload refuses.
#include "golden.h"

#include <stdlib.h>

#define SECTION_TWO_AT 32
#define PAYLOAD_SIZE   (32 + 24)

static void head_compare(const struct gp_msg *m, const struct gp_rows_head *want)
{
	struct gp_rows_head got;
	gp_wire_get_rows(m, &got);
	SAME(request);
	SAME(place);
	SAME(table);
	SAME(n);
	SAME(codec);
	SAME(dim);
}

Test(golden, pull_rows)
{
	static const uint64_t ids[] = {UINT64_C(0xf1f2f3f4f5f6f7f8), 7, 7};
	const struct gp_rows_head x = {.request = 0x0c0d0e0f,
		.place = 0x00010203,
		.table = 0x0405,
		.n = 3,
		.codec = 2,
		.dim = 16};
	struct golden g;
	struct gp_header h = of_worker(GP_WIRE_PULL_ROWS);
	golden_open(&g, "pull_rows", &h);
	head_compare(&g.m, &x);
	uint32_t at = gp_wire_put_rows(g.out + g.body_at, &x);
	for (uint32_t i = 0; i < x.n; i++, at += 8) {
		cr_assert_eq(gp_load64(g.m.body + at), ids[i]);
		gp_store64(g.out + g.body_at + at, ids[i]);
	}
	golden_close(&g, at);
}

Test(golden, rows)
{
	static const uint16_t values[] = {0x3f80, 0xc000, 0xc000, 0};
	const struct gp_rows_head x = {.request = 0x0c0d0e0f,
		.place = 0x00010203,
		.table = 0x0405,
		.n = 3,
		.codec = 2,
		.dim = 1};
	struct golden g;
	struct gp_header h = of_server(GP_WIRE_ROWS, GP_WIRE_F_ACK);
	golden_open(&g, "rows", &h);
	golden_ack(&g);
	head_compare(&g.m, &x);
	uint32_t at = gp_wire_put_rows(g.out + g.body_at, &x);
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(values); i++, at += 2)
		gp_store16(g.out + g.body_at + at, values[i]);
	golden_close(&g, at);
}

// The two payloads of the vector, in memory of their own.
static void payloads_load(uint8_t out[PAYLOAD_SIZE])
{
	struct vector v = vector_load("push_rows");
	struct gp_msg m;
	cr_assert_eq(gp_wire_parse(v.data, v.len, &m), GP_VERDICT_OK);
	cr_assert_eq(m.body_len, PAYLOAD_SIZE);
	memcpy(out, m.body, PAYLOAD_SIZE);
	free(v.data);
}

Test(golden, push_rows)
{
	uint8_t p[PAYLOAD_SIZE];
	struct gp_rows_push x;
	payloads_load(p);
	cr_assert(gp_rows_push_parse(p, 32, &x));
	cr_assert(x.table == 0 && x.n == 2 && x.codec == 1 && gp_rows_push_fits(&x, 1));
	cr_assert(gp_rows_push_id(&x, 0) == 7);
	cr_assert(gp_rows_push_id(&x, 1) == UINT64_C(0xf1f2f3f4f5f6f7f8));
	cr_assert_eq(gp_load32(x.values + 4), UINT32_C(0xc0000000));
	cr_assert_eq(gp_rows_push_size(2, 1, 1), 32);
	cr_assert(gp_rows_push_parse(p + SECTION_TWO_AT, 24, &x));
	cr_assert(x.table == 1 && x.n == 1 && x.codec == 2 && gp_rows_push_fits(&x, 3));
	cr_assert_eq(gp_rows_push_size(1, 3, 2), 24);
	uint8_t again[GP_WIRE_ROWS_PUSH_HEAD];
	gp_rows_push_begin(again, 1, 1, 2);
	cr_assert_arr_eq(again, p + SECTION_TWO_AT, sizeof(again));
}

static const struct {
	const char *what;
	uint32_t at;
	uint8_t value;
} bad_payloads[] = {
	{"no row", 2, 0},
	{"more rows than bytes", 2, 5},
	{"codec 0", 4, 0},
	{"codec 3", 4, 3},
	{"codec 5", 4, 5},
	{"reserved", 5, 1},
	{"last reserved byte", 7, 1},
	{"an id that is not above the one before", 8 + 7, 0xff},
};

Test(golden, push_rows_refused)
{
	uint8_t p[PAYLOAD_SIZE];
	struct gp_rows_push x;
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(bad_payloads); i++) {
		payloads_load(p);
		p[bad_payloads[i].at] = bad_payloads[i].value;
		cr_assert_not(gp_rows_push_parse(p, 32, &x), "%s", bad_payloads[i].what);
	}
	payloads_load(p);
	cr_assert_not(gp_rows_push_parse(p, 7, &x), "cut off in the head");
	cr_assert_not(gp_rows_push_parse(p, 23, &x), "cut off in the ids");
	cr_assert(gp_rows_push_parse(p, 24, &x) && !gp_rows_push_fits(&x, 1), "no values");
	cr_assert(gp_rows_push_parse(p + SECTION_TWO_AT, 24, &x) && !gp_rows_push_fits(&x, 1));
	p[PAYLOAD_SIZE - 1] = 1;
	cr_assert(gp_rows_push_parse(p + SECTION_TWO_AT, 24, &x) && !gp_rows_push_fits(&x, 3));
	cr_assert_not(gp_rows_push_fits(&x, UINT32_MAX), "no overflow");
}

// Written down, so that nobody changes it by chance: every client must agree with the server.
Test(golden, owner_of_rows)
{
	static const struct {
		uint32_t table, cores, owner;
		uint64_t id;
	} rows[] = {{0, 2, 1, UINT64_C(0)}, {0, 2, 0, UINT64_C(1)}, {0, 32, 26, UINT64_C(2)},
		{1, 32, 23, UINT64_C(2)}, {63, 7, 1, UINT64_C(18446744073709551615)},
		{5, 3, 1, UINT64_C(123456789)}, {0, 1, 0, UINT64_C(9)}};
	uint32_t seen[3] = {0};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(rows); i++)
		cr_assert_eq(gp_rows_owner(rows[i].table, rows[i].id, rows[i].cores), rows[i].owner,
			"%u", i);
	for (uint64_t id = 0; id < 30000; id++)
		seen[gp_rows_owner(1, id, 3)]++;
	for (uint32_t i = 0; i < 3; i++)
		cr_assert(seen[i] > 9000 && seen[i] < 11000, "%u", seen[i]);
}
