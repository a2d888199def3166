// SPDX-License-Identifier: BSD-3-Clause
//
// Each golden vector is parsed and compared field by field with values written here, and the same
// values are encoded and compared byte by byte with the vector.
#include "golden.h"

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
	x.previous = 0;
	x.flags = GP_JOIN_CHANGED | 2 << GP_JOIN_RESULTS_SHIFT;
	join_compare("join_results", h, &x);
	x.previous = 0x8182838485868788;
	x.flags = GP_JOIN_GOES_ON;
	join_compare("join_goes_on", h, &x);
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
	SAME(payload_max);
	SAME(world);
	SAME(rank);
	SAME(incarnation);
	SAME(rto_min_us);
	SAME(rto_max_us);
	SAME(history.own);
	SAME(history.before);
	SAME(history.step);
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
		.flags = GP_WELCOME_MEAN | GP_WELCOME_DETERMINISTIC | GP_WELCOME_WHOLE,
		.next_step = 0x11121315,
		.heartbeat_us = 500000,
		.timeout_us = 5000000,
		.slots = 256,
		.window = 48,
		.decision = 0x31323334,
		.payload_max = 8952,
		.world = 8,
		.rank = 5,
		.incarnation = 0x7172737475767778,
		.history = {.own = 0x9192939495969798,
			.before = 0xA1A2A3A4A5A6A7A8,
			.step = 0x11121310},
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
	const struct gp_layout_entry entries[2] = {{0x0102, 0x0304, 0, 0}, {7, 598, 1, 0x028f5c08}};
	uint32_t at = layout_compare(&g, "layout", GP_WIRE_F_ACK, &x);
	golden_ack(&g);
	for (uint32_t i = 0; i < 2; i++) {
		struct gp_layout_entry got;
		const struct gp_layout_entry *want = &entries[i];
		gp_wire_get_layout_entry(&g.m, i, &got);
		SAME(tensor);
		SAME(first_block);
		SAME(unit);
		SAME(codec);
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

	h = of_server(GP_WIRE_RESULT, GP_WIRE_F_TENTATIVE);
	h.sections = 2;
	golden_open(&g, "result_keep", &h);
	golden_section(&g, 0,
		&(struct gp_section){
			.block = 4, .run = 2, .flags = GP_WIRE_SECTION_KEEP, .weight = 2});
	golden_section(&g, 1,
		&(struct gp_section){.block = 6,
			.len = 8,
			.run = 1,
			.codec = 3,
			.flags = GP_WIRE_SECTION_KEEP,
			.weight = 2});
	const uint8_t changed[8] = {1, 0, 0x4f, 1, 0, 0, 0xc0, 0x3f};
	memcpy(g.out + g.body_at, changed, sizeof(changed));
	golden_close(&g, sizeof(changed));
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
