// SPDX-License-Identifier: BSD-3-Clause
//
// Each golden vector is parsed and compared field by field with values written here, and the same
// values are encoded and compared byte by byte with the vector.
#include <criterion/criterion.h>

#include <gp_wire.h>

#include "vectors.h"

#include <stdlib.h>

#define OUT_SIZE 2048

struct golden {
	struct vector v;
	struct gp_msg m;
	uint8_t out[OUT_SIZE];
	uint32_t body_at;
};

#define SAME(field)	  cr_assert_eq(got.field, want->field, #field)
#define SAME_BYTES(field) cr_assert_arr_eq(got.field, want->field, sizeof(want->field), #field)

static void header_compare(const struct gp_header *h, const struct gp_header *want)
{
	struct gp_header got = *h;
	SAME(version);
	SAME(type);
	SAME(flags);
	SAME(pad);
	SAME(job);
	SAME(rank);
	SAME(session);
	SAME(epoch);
	SAME(view);
	SAME(step);
	SAME(packet);
	SAME(decision);
	SAME(credit);
	SAME(sections);
	SAME(key);
}

// Loads and parses a vector, compares its header and begins to encode the same.
static void golden_open(struct golden *g, const char *name, const struct gp_header *want)
{
	g->v = vector_load(name);
	enum gp_verdict v = gp_wire_parse(g->v.data, g->v.len, &g->m);
	cr_assert_eq(v, GP_VERDICT_OK, "%s: %s", name, v < 0 ? "" : gp_verdict_name(v));
	header_compare(&g->m.h, want);
	cr_assert_eq(g->m.ack != NULL, (want->flags & GP_WIRE_F_ACK) != 0);
	memset(g->out, 0xaa, sizeof(g->out));
	g->body_at = gp_wire_begin(g->out, OUT_SIZE, want);
	cr_assert_eq(g->m.body, g->v.data + g->body_at);
	cr_assert_eq(g->m.body_len, g->v.len - g->body_at);
}

static void golden_section(struct golden *g, uint32_t i, const struct gp_section *want)
{
	struct gp_section got;
	gp_wire_get_section(&g->m, i, &got);
	SAME(block);
	SAME(len);
	SAME(run);
	SAME(codec);
	SAME(flags);
	SAME(weight);
	gp_wire_put_section(g->out, i, want);
}

static void golden_ack(struct golden *g)
{
	struct gp_ack got;
	const struct gp_ack *want = &(struct gp_ack){.largest = 0x5152535455565758,
		.bits = 0x8000000000000005,
		.delay_us = 1500,
		.flags = 1};
	gp_wire_get_ack(&g->m, &got);
	SAME(largest);
	SAME(bits);
	SAME(delay_us);
	SAME(flags);
	gp_wire_put_ack(g->out, g->m.h.sections, want);
}

// Everything encoded: the same bytes, no more and no fewer.
static void golden_close(struct golden *g, uint32_t body_len)
{
	cr_assert_eq(g->v.len, g->body_at + body_len, "%u bytes, encoded %u", g->v.len,
		g->body_at + body_len);
	for (uint32_t i = 0; i < g->v.len; i++)
		cr_assert_eq(g->v.data[i], g->out[i], "byte %u is %02x, encoded %02x", i,
			g->v.data[i], g->out[i]);
	free(g->v.data);
}

static struct gp_header of_worker(uint8_t type)
{
	return (struct gp_header){
		.version = 1,
		.type = type,
		.job = 0x0203,
		.rank = 5,
		.session = 0x00070009,
		.epoch = 3,
		.view = 0x0a0b0c0d,
		.step = 0x11121314,
		.packet = 0x2122232425262728,
		.decision = 0x31323334,
	};
}

static struct gp_header of_server(uint8_t type, uint8_t flags)
{
	struct gp_header h = of_worker(type);
	h.flags = flags;
	h.credit = 0x4142;
	return h;
}

static struct gp_header outside_session(uint8_t type)
{
	return (struct gp_header){.version = 1, .type = type, .rank = GP_WIRE_RANK_NONE};
}

static const uint8_t cookie[GP_WIRE_COOKIE_SIZE] = {0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7,
	0xc8, 0xc9, 0xca, 0xcb, 0xcc, 0xcd, 0xce, 0xcf, 0xd0, 0xd1, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6,
	0xd7};

static void hello_compare(const char *name, uint8_t type, const struct gp_hello *want)
{
	struct golden g;
	struct gp_hello got;
	struct gp_header h = outside_session(type);
	golden_open(&g, name, &h);
	gp_wire_get_hello(&g.m, &got);
	SAME(versions_count);
	SAME_BYTES(versions);
	SAME(chosen);
	SAME(size);
	SAME(nonce);
	SAME_BYTES(cookie);
	uint32_t len = gp_wire_put_hello(g.out + g.body_at, want);
	cr_assert_eq(len, 56);
	memset(g.out + g.body_at + len, 0, 1200 - g.body_at - len);
	golden_close(&g, 1200 - g.body_at);
}

Test(golden, hello)
{
	struct gp_hello x = {
		.versions_count = 2, .versions = {1, 2}, .size = 1200, .nonce = 0x6162636465666768};
	hello_compare("hello", GP_WIRE_HELLO, &x);
	x.versions_count = 1;
	x.versions[1] = 0;
	x.chosen = 1;
	memcpy(x.cookie, cookie, sizeof(cookie));
	hello_compare("hello_reply", GP_WIRE_HELLO_REPLY, &x);
	x.versions_count = 7;
	for (uint8_t i = 0; i < 7; i++)
		x.versions[i] = (uint8_t)(i + 1);
	x.chosen = 0;
	hello_compare("hello_reply_none", GP_WIRE_HELLO_REPLY, &x);
}

static void join_compare(const char *name, struct gp_header h, struct gp_join *want)
{
	struct golden g;
	struct gp_join got;
	memcpy(want->cookie, cookie, sizeof(cookie));
	golden_open(&g, name, &h);
	gp_wire_get_join(&g.m, &got);
	SAME_BYTES(cookie);
	SAME(nonce);
	SAME(incarnation);
	SAME(previous);
	SAME(flags);
	SAME(rank);
	SAME(world);
	SAME(payload_max);
	SAME(session);
	cr_assert_str_eq(got.job, want->job);
	golden_close(&g, gp_wire_put_join(g.out + g.body_at, want));
}

Test(golden, join)
{
	struct gp_join x = {.nonce = 0x6162636465666768,
		.incarnation = 0x7172737475767778,
		.previous = 0x8182838485868788,
		.flags = GP_JOIN_REPLACE,
		.rank = 5,
		.world = 8,
		.payload_max = 1452,
		.job = "mnist"};
	struct gp_header h = outside_session(GP_WIRE_JOIN);
	h.rank = 5;
	join_compare("join", h, &x);
}

Test(golden, join_attach)
{
	struct gp_join x = {.nonce = 0x6162636465666768,
		.incarnation = 0x7172737475767778,
		.flags = GP_JOIN_READER | GP_JOIN_ATTACH,
		.rank = GP_WIRE_RANK_NONE,
		.payload_max = 1452,
		.session = 0x00070009};
	memset(x.job, 'j', 63);
	join_compare("join_attach", outside_session(GP_WIRE_JOIN), &x);
}

static void welcome_compare(const char *name, const struct gp_welcome *want)
{
	struct golden g;
	struct gp_welcome got;
	struct gp_header h = of_server(GP_WIRE_WELCOME, 0);
	golden_open(&g, name, &h);
	gp_wire_get_welcome(&g.m, &got);
	SAME(nonce);
	SAME(session);
	SAME(job);
	SAME(cores);
	SAME(base_port);
	SAME(home);
	SAME(kind);
	SAME(atomicity);
	SAME(consistency);
	SAME(flags);
	SAME(next_step);
	SAME(heartbeat_us);
	SAME(timeout_us);
	SAME(slots);
	SAME(window);
	SAME(decision);
	SAME(server_nonce);
	SAME(payload_max);
	SAME(world);
	SAME(rank);
	SAME(incarnation);
	SAME(rto_min_us);
	SAME(rto_max_us);
	golden_close(&g, gp_wire_put_welcome(g.out + g.body_at, want));
}

Test(golden, welcome)
{
	struct gp_welcome x = {
		.nonce = 0x6162636465666768,
		.session = 0x00070009,
		.job = 0x0203,
		.cores = 2,
		.base_port = 9700,
		.home = 1,
		.kind = GP_KIND_TRAIN,
		.atomicity = GP_ATOM_STEP,
		.consistency = GP_CONSIST_BSP,
		.flags = GP_WELCOME_MEAN | GP_WELCOME_DETERMINISTIC,
		.next_step = 0x11121315,
		.heartbeat_us = 500000,
		.timeout_us = 5000000,
		.slots = 256,
		.window = 48,
		.decision = 0x31323334,
		.server_nonce = 0x9192939495969798,
		.payload_max = 8952,
		.world = 8,
		.rank = 5,
		.incarnation = 0x7172737475767778,
	};
	welcome_compare("welcome", &x);
	x.atomicity = GP_ATOM_BLOCK;
	x.consistency = GP_CONSIST_ADAPTIVE;
	x.flags = GP_WELCOME_STALE_REFUSED;
	x.rto_min_us = 1500;
	x.rto_max_us = 200000;
	welcome_compare("welcome_async", &x);
}

static uint32_t register_compare(struct golden *g, const struct gp_register *want)
{
	struct gp_register got;
	struct gp_header h = of_worker(GP_WIRE_REGISTER);
	golden_open(g, want->n ? "register" : "register_ask", &h);
	gp_wire_get_register(&g->m, &got);
	SAME(tensors_count);
	SAME(first);
	SAME(n);
	return gp_wire_put_register(g->out + g->body_at, want);
}

static void desc_compare(const struct gp_tensor_desc *d, const struct gp_tensor_desc *want)
{
	struct gp_tensor_desc got = *d;
	SAME(priority);
	SAME(dtype);
	SAME(dims_count);
	SAME(name_len);
	SAME_BYTES(dims);
	cr_assert_str_eq(got.name, want->name);
}

Test(golden, registration)
{
	struct golden g;
	const struct gp_tensor_desc want[2] = {
		{.priority = 10,
			.dtype = 1,
			.dims_count = 2,
			.name_len = 8,
			.dims = {784, 256},
			.name = "fc1.wght"},
		{.priority = 0x01020304,
			.dtype = 1,
			.dims_count = 1,
			.name_len = 17,
			.dims = {10},
			.name = "fc2.bias and more"},
	};
	struct gp_register r = {.tensors_count = 3, .first = 1, .n = 2};
	uint32_t at = register_compare(&g, &r), pos = 0;
	for (int i = 0; i < 2; i++) {
		struct gp_tensor_desc d;
		cr_assert(gp_wire_next_desc(&g.m, &pos, &d));
		desc_compare(&d, &want[i]);
		uint32_t size = gp_wire_put_desc(g.out + g.body_at + at, &want[i]);
		cr_assert_eq(size, gp_wire_desc_size(&want[i]));
		at += size;
	}
	struct gp_tensor_desc none;
	cr_assert_not(gp_wire_next_desc(&g.m, &pos, &none));
	golden_close(&g, at);

	r = (struct gp_register){.tensors_count = 3, .first = 2};
	at = register_compare(&g, &r);
	pos = 0;
	cr_assert_not(gp_wire_next_desc(&g.m, &pos, &none));
	golden_close(&g, at);
}

static uint32_t layout_compare(
	struct golden *g, const char *name, uint8_t flags, const struct gp_layout *want)
{
	struct gp_layout got;
	struct gp_header h = of_server(GP_WIRE_LAYOUT, flags);
	golden_open(g, name, &h);
	gp_wire_get_layout(&g->m, &got);
	SAME(registered);
	SAME(state);
	SAME(block_elems);
	SAME(blocks_count);
	SAME(units_count);
	SAME(flags);
	SAME(next_step);
	SAME(first);
	SAME(n);
	SAME(missing_count);
	SAME(missing_rank);
	return gp_wire_put_layout(g->out + g->body_at, want);
}

Test(golden, layout)
{
	struct golden g;
	struct gp_layout x = {.registered = 3,
		.state = 1,
		.block_elems = 336,
		.blocks_count = 599,
		.units_count = 1,
		.flags = GP_LAYOUT_INITIALISED,
		.next_step = 0x11121315,
		.first = 1,
		.n = 2,
		.missing_rank = GP_WIRE_RANK_NONE};
	const struct gp_layout_entry entries[2] = {{0x0102, 0x0304, 0}, {7, 598, 1}};
	uint32_t at = layout_compare(&g, "layout", GP_WIRE_F_ACK, &x);
	golden_ack(&g);
	for (uint32_t i = 0; i < 2; i++) {
		struct gp_layout_entry got;
		const struct gp_layout_entry *want = &entries[i];
		gp_wire_get_layout_entry(&g.m, i, &got);
		SAME(tensor);
		SAME(first_block);
		SAME(unit);
		at += gp_wire_put_layout_entry(g.out + g.body_at + at, want);
	}
	golden_close(&g, at);

	x.state = x.flags = x.first = x.n = 0;
	x.missing_count = 2;
	x.missing_rank = 6;
	golden_close(&g, layout_compare(&g, "layout_waiting", 0, &x));
}

Test(golden, push_f32)
{
	struct golden g;
	struct gp_header h = of_worker(GP_WIRE_PUSH);
	h.flags = GP_WIRE_F_WANT;
	h.sections = 1;
	h.pad = gp_wire_pad(42, 0, 1, 100);
	cr_assert_eq(h.pad, 30);
	golden_open(&g, "push_f32", &h);
	golden_section(&g, 0,
		&(struct gp_section){
			.block = 0x00010203, .len = 12, .run = 1, .codec = 1, .weight = 2.5f});
	const float values[3] = {1.0f, -2.0f, 0.5f};
	cr_assert_arr_eq(g.m.body, values, sizeof(values));
	memcpy(g.out + g.body_at, values, sizeof(values));
	golden_close(&g, sizeof(values));
}

Test(golden, push_mixed)
{
	struct golden g;
	struct gp_header h = of_worker(GP_WIRE_PUSH);
	h.sections = 3;
	golden_open(&g, "push_mixed", &h);
	golden_section(&g, 0,
		&(struct gp_section){.block = 16, .len = 20, .run = 1, .codec = 3, .weight = 1});
	golden_section(&g, 1, &(struct gp_section){.block = 17, .run = 5, .weight = 1});
	golden_section(&g, 2,
		&(struct gp_section){.block = 22, .len = 4, .run = 1, .codec = 2, .weight = 1});
	const uint16_t head[4] = {3, 0, 7, 335};
	const float values[3] = {1.0f, -1.0f, 3.0f};
	const uint16_t tail[2] = {0x3f80, 0xc000};
	uint8_t *body = g.out + g.body_at;
	memcpy(body, head, 8);
	memcpy(body + 8, values, 12);
	memcpy(body + 20, tail, 4);
	golden_close(&g, 24);
}

Test(golden, push_pass)
{
	struct golden g;
	struct gp_header h = of_worker(GP_WIRE_PUSH);
	h.sections = 2;
	golden_open(&g, "push_pass", &h);
	golden_section(&g, 0, &(struct gp_section){.block = 3, .run = 4});
	golden_section(&g, 1, &(struct gp_section){.block = 11, .run = 1, .weight = 1.5f});
	golden_close(&g, 0);
}

Test(golden, push_codecs)
{
	struct golden g;
	struct gp_header h = of_worker(GP_WIRE_PUSH);
	h.sections = 6;
	golden_open(&g, "push_codecs", &h);
	static const uint16_t lens[] = {6, 8, 8, 8, 12, 8};
	static const uint8_t codecs[] = {4, 5, 5, 6, 7, 8};
	for (uint32_t i = 0; i < 6; i++)
		golden_section(&g, i,
			&(struct gp_section){.block = i,
				.len = lens[i],
				.run = 1,
				.codec = codecs[i],
				.weight = 1});
	static const uint8_t body[50] = {0x00, 0x3c, 0x01, 0x00, 0x00, 0x7c, // f16
		0, 0, 0, 0x3f, 127, 0x81, 1, 0,				     // int8
		0, 0, 0xc0, 0x7f, 0, 0, 0, 0,				     // int8 of NaN
		0, 0, 0, 0x40, 0x81, 1, 0, 0,				     // sign
		2, 0, 4, 0, 9, 0, 0, 0, 0x80, 0x3f, 0x00, 0xc0,		     // topk_bf16
		1, 0, 0x4f, 1, 0x00, 0xc0, 0, 0};			     // topk_f16
	memcpy(g.out + g.body_at, body, sizeof(body));
	golden_close(&g, sizeof(body));
}

Test(golden, pull)
{
	struct golden g;
	struct gp_header h = of_worker(GP_WIRE_PULL);
	h.flags = GP_WIRE_F_WANT;
	h.sections = 2;
	h.step = GP_WIRE_STEP_NEWEST;
	golden_open(&g, "pull", &h);
	golden_section(&g, 0, &(struct gp_section){.block = 0, .run = 300});
	golden_section(&g, 1, &(struct gp_section){.block = UINT32_MAX, .run = 1});
	golden_close(&g, 0);
}

Test(golden, result)
{
	struct golden g;
	struct gp_header h = of_server(GP_WIRE_RESULT, GP_WIRE_F_ACK | GP_WIRE_F_TENTATIVE);
	h.sections = 1;
	h.pad = 6;
	golden_open(&g, "result", &h);
	golden_section(&g, 0,
		&(struct gp_section){
			.block = 0x00010203, .len = 8, .run = 1, .codec = 1, .weight = 7.5f});
	golden_ack(&g);
	const float values[2] = {-0.0f, 1.5f};
	memcpy(g.out + g.body_at, values, sizeof(values));
	golden_close(&g, sizeof(values));

	h = of_server(GP_WIRE_RESULT, 0);
	h.sections = 1;
	golden_open(&g, "result_zero", &h);
	golden_section(&g, 0, &(struct gp_section){.block = UINT32_MAX - 1, .run = 2});
	golden_close(&g, 0);
}

static void commit_compare(const char *name, uint8_t flags, const struct gp_commit *want_commit,
	const struct gp_commit_entry *entries)
{
	struct golden g;
	struct gp_header h = of_server(GP_WIRE_COMMIT, flags);
	golden_open(&g, name, &h);
	if (flags)
		golden_ack(&g);
	struct gp_commit c;
	gp_wire_get_commit(&g.m, &c);
	cr_assert_eq(c.first, want_commit->first);
	cr_assert_eq(c.n, want_commit->n);
	uint32_t at = gp_wire_put_commit(g.out + g.body_at, want_commit);
	for (uint32_t i = 0; i < want_commit->n; i++) {
		struct gp_commit_entry got;
		const struct gp_commit_entry *want = &entries[i];
		gp_wire_get_commit_entry(&g.m, i, &got);
		SAME(kind);
		SAME(flags);
		SAME(ranks);
		SAME(unit);
		SAME(step);
		SAME(view);
		SAME(lowest);
		at += gp_wire_put_commit_entry(g.out + g.body_at + at, want);
	}
	golden_close(&g, at);
}

Test(golden, commit)
{
	const struct gp_commit_entry entries[2] = {
		{.kind = GP_DECISION_COMMIT,
			.ranks = 8,
			.unit = 0x0506,
			.step = 0x11121314,
			.view = 0x0a0b0c0d},
		{.kind = GP_DECISION_VIEW,
			.flags = GP_COMMIT_MEMBER,
			.ranks = 7,
			.step = 0x11121315,
			.view = 0x0a0b0c0e,
			.lowest = 1},
	};
	commit_compare("commit", GP_WIRE_F_ACK, &(struct gp_commit){0x100, 2}, entries);
}

Test(golden, commit_async)
{
	struct gp_commit_entry entries[3];
	for (int i = 0; i < 3; i++)
		entries[i] = (struct gp_commit_entry){.kind = GP_DECISION_COMMIT,
			.flags = (const uint8_t[]){0, GP_COMMIT_YOURS, GP_COMMIT_LATE}[i],
			.ranks = (const uint16_t[]){1, 1, 3}[i],
			.unit = (const uint32_t[]){6, 5, 2}[i],
			.step = (const uint32_t[]){0x11121310, 0x11121314, 0x11121315}[i],
			.view = 0x0a0b0c0d};
	commit_compare("commit_async", 0, &(struct gp_commit){UINT32_MAX, 3}, entries);
}

Test(golden, ack)
{
	struct golden g;
	struct gp_header h = of_server(GP_WIRE_ACK, GP_WIRE_F_ACK);
	golden_open(&g, "ack", &h);
	golden_ack(&g);
	golden_close(&g, 0);
}

Test(golden, heartbeat)
{
	struct golden g;
	struct gp_heartbeat got;
	const struct gp_heartbeat *want =
		&(struct gp_heartbeat){.known = 0x1234, .time = 0xa1a2a3a4a5a6a7a8};
	struct gp_header h = of_worker(GP_WIRE_HEARTBEAT);
	golden_open(&g, "heartbeat", &h);
	gp_wire_get_heartbeat(&g.m, &got);
	SAME(known);
	SAME(time);
	golden_close(&g, gp_wire_put_heartbeat(g.out + g.body_at, want));
}

Test(golden, heartbeat_reply)
{
	struct golden g;
	struct gp_heartbeat_reply got;
	const struct gp_heartbeat_reply *want =
		&(struct gp_heartbeat_reply){.time = 0xa1a2a3a4a5a6a7a8,
			.generation = 0x11121313,
			.view = 0x0a0b0c0d,
			.members = 8,
			.missing = 2,
			.missing_rank = 6,
			.state = GP_STATE_RUNNING,
			.next_step = 0x11121314,
			.view_first_step = 0x0102,
			.lowest = 1};
	struct gp_header h = of_server(GP_WIRE_HEARTBEAT_REPLY, GP_WIRE_F_ACK);
	golden_open(&g, "heartbeat_reply", &h);
	golden_ack(&g);
	gp_wire_get_heartbeat_reply(&g.m, &got);
	SAME(time);
	SAME(generation);
	SAME(view);
	SAME(members);
	SAME(missing);
	SAME(missing_rank);
	SAME(state);
	SAME(next_step);
	SAME(view_first_step);
	SAME(lowest);
	golden_close(&g, gp_wire_put_heartbeat_reply(g.out + g.body_at, want));
}

Test(golden, barrier)
{
	struct golden g;
	struct gp_header h = of_worker(GP_WIRE_BARRIER);
	uint32_t name, state;
	golden_open(&g, "barrier", &h);
	gp_wire_get_barrier(&g.m, &name, &state);
	cr_assert_eq(name, 0xb1b2b3b4);
	cr_assert_eq(state, 0);
	golden_close(&g, gp_wire_put_barrier(g.out + g.body_at, 0xb1b2b3b4, 0));

	h = of_server(GP_WIRE_BARRIER_REPLY, 0);
	golden_open(&g, "barrier_reply", &h);
	gp_wire_get_barrier(&g.m, &name, &state);
	cr_assert_eq(name, 0xb1b2b3b4);
	cr_assert_eq(state, 1);
	golden_close(&g, gp_wire_put_barrier(g.out + g.body_at, 0xb1b2b3b4, 1));
}

Test(golden, leave)
{
	struct golden g;
	struct gp_header h = of_worker(GP_WIRE_LEAVE);
	golden_open(&g, "leave", &h);
	cr_assert_eq(gp_wire_get_u64(&g.m), 0x7172737475767778);
	golden_close(&g, gp_wire_put_u64(g.out + g.body_at, 0x7172737475767778));

	h = of_server(GP_WIRE_LEAVE_REPLY, 0);
	golden_open(&g, "leave_reply", &h);
	cr_assert_eq(gp_wire_get_u64(&g.m), 0x7172737475767778);
	golden_close(&g, gp_wire_put_u64(g.out + g.body_at, 0x7172737475767778));
}

Test(golden, read)
{
	struct golden g;
	struct gp_read got;
	const struct gp_read *want = &(struct gp_read){
		.request = 0x0c0d0e0f, .clock = 0x11121315, .flags = GP_READ_RESERVE};
	struct gp_header h = of_worker(GP_WIRE_READ);
	h.pad = 48;
	golden_open(&g, "read", &h);
	gp_wire_get_read(&g.m, &got);
	SAME(request);
	SAME(clock);
	SAME(flags);
	golden_close(&g, gp_wire_put_read(g.out + g.body_at, want));
}

static void read_reply_compare(const char *name, uint8_t flags, const struct gp_read_reply *want)
{
	struct golden g;
	struct gp_read_reply got;
	struct gp_header h = of_server(GP_WIRE_READ_REPLY, flags);
	golden_open(&g, name, &h);
	if (flags)
		golden_ack(&g);
	gp_wire_get_read_reply(&g.m, &got);
	SAME(request);
	SAME(state);
	SAME(rank);
	SAME(generation);
	SAME(clock);
	SAME(bound);
	golden_close(&g, gp_wire_put_read_reply(g.out + g.body_at, want));
}

Test(golden, read_reply)
{
	struct gp_read_reply x = {.request = 0x0c0d0e0f,
		.state = GP_READ_GRANTED,
		.rank = GP_WIRE_RANK_NONE,
		.generation = 0x2a2b2c2d,
		.clock = 0x11121313,
		.bound = GP_WIRE_BOUND_NONE};
	read_reply_compare("read_reply", GP_WIRE_F_ACK, &x);
	x.state = GP_READ_PARKED;
	x.rank = 6;
	x.generation = 0;
	x.bound = 2;
	read_reply_compare("read_parked", 0, &x);
}

Test(golden, refuse)
{
	struct golden g;
	struct gp_refuse got;
	const struct gp_refuse *want = &(struct gp_refuse){.reason = GP_REFUSAL_RANK_TAKEN,
		.about = GP_WIRE_JOIN,
		.step = 0x11121314,
		.what = 0x0d0e0f10,
		.age_ms = 250,
		.expected = 0xd1d2d3d4d5d6d7d8,
		.seen = 0xe1e2e3e4e5e6e7e8,
		.nonce = 0x6162636465666768,
		.where_ip = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 7},
		.where_port = 40000,
		.text_len = 24,
		.text = "rank 5 is taken \xe2\x80\x93 wait"};
	struct gp_header h = of_server(GP_WIRE_REFUSE, 0);
	h.session = 0;
	golden_open(&g, "refuse", &h);
	gp_wire_get_refuse(&g.m, &got);
	SAME(reason);
	SAME(about);
	SAME(step);
	SAME(what);
	SAME(age_ms);
	SAME(expected);
	SAME(seen);
	SAME(nonce);
	SAME_BYTES(where_ip);
	SAME(where_port);
	SAME(text_len);
	cr_assert_str_eq(got.text, want->text);
	golden_close(&g, gp_wire_put_refuse(g.out + g.body_at, want));
}

Test(golden, nack)
{
	struct golden g;
	struct gp_header h = of_server(GP_WIRE_NACK, 0);
	h.sections = 2;
	golden_open(&g, "nack", &h);
	golden_section(&g, 0, &(struct gp_section){.block = 3, .run = 4});
	golden_section(&g, 1, &(struct gp_section){.block = 9, .run = 1});
	golden_close(&g, 0);
}

Test(golden, busy)
{
	struct golden g;
	struct gp_header h = of_server(GP_WIRE_BUSY, GP_WIRE_F_ACK);
	h.sections = 1;
	h.pad = 3;
	golden_open(&g, "busy", &h);
	golden_section(&g, 0, &(struct gp_section){.block = 0x00010203, .run = 1});
	golden_ack(&g);
	cr_assert_eq(gp_wire_get_u64(&g.m), 0x2122232425262728);
	golden_close(&g, gp_wire_put_u64(g.out + g.body_at, 0x2122232425262728));
}
