// SPDX-License-Identifier: BSD-3-Clause
//
// As golden_test.c: the small messages inside a session.
#include "golden.h"

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
	const struct gp_heartbeat *want = &(struct gp_heartbeat){
		.known = 0x1234, .rtt_us = 0x5678, .time = 0xa1a2a3a4a5a6a7a8};
	struct gp_header h = of_worker(GP_WIRE_HEARTBEAT);
	golden_open(&g, "heartbeat", &h);
	gp_wire_get_heartbeat(&g.m, &got);
	SAME(known);
	SAME(rtt_us);
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
			.lowest = 1,
			.flags = GP_HEARTBEAT_MEMBER | GP_HEARTBEAT_COUNTED | GP_HEARTBEAT_AHEAD,
			.ahead = 0x31323334};
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
	SAME(flags);
	SAME(ahead);
	golden_close(&g, gp_wire_put_heartbeat_reply(g.out + g.body_at, want));
}

Test(golden, barrier)
{
	struct golden g;
	struct gp_header h = of_worker(GP_WIRE_BARRIER);
	uint32_t name, call;
	golden_open(&g, "barrier", &h);
	gp_wire_get_barrier(&g.m, &name, &call);
	cr_assert_eq(name, 0xb1b2b3b4);
	cr_assert_eq(call, 0x14);
	golden_close(&g, gp_wire_put_barrier(g.out + g.body_at, 0xb1b2b3b4, 0x14));

	h = of_server(GP_WIRE_BARRIER_REPLY, 0);
	golden_open(&g, "barrier_reply", &h);
	gp_wire_get_barrier(&g.m, &name, &call);
	cr_assert_eq(name, 0xb1b2b3b4);
	cr_assert_eq(call, 0x14 | GP_BARRIER_DONE);
	golden_close(
		&g, gp_wire_put_barrier(g.out + g.body_at, 0xb1b2b3b4, 0x14 | GP_BARRIER_DONE));
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

Test(golden, beat)
{
	struct golden g;
	struct gp_header h = {
		.version = GP_WIRE_VERSION, .type = GP_WIRE_BEAT, .rank = GP_WIRE_RANK_NONE};
	golden_open(&g, "beat", &h);
	cr_assert_eq(gp_wire_get_u64(&g.m), 0xc1c2c3c4c5c6c7c8);
	golden_close(&g, gp_wire_put_u64(g.out + g.body_at, 0xc1c2c3c4c5c6c7c8));
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
