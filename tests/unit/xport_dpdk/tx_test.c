// SPDX-License-Identifier: BSD-3-Clause
#include <criterion/criterion.h>

#include "bench.h"

#include <errno.h>

#define STALL_FLUSHES_MAX 1000

static struct gp_frame *frame_make(struct bench *b, uint32_t core, uint32_t len, bool v6)
{
	struct gp_xport *x = gp_xport_dpdk_base(b->core[core]);
	struct gp_frame *f = x->ops->alloc(x);
	cr_assert_not_null(f);
	cr_assert_geq(f->room, x->mtu);
	for (uint32_t i = 0; i < len; i++)
		f->data[i] = (uint8_t)(i + 1);
	f->len = len;
	f->peer = peer_addr(v6);
	return f;
}

static void frame_send(struct bench *b, uint32_t core, struct gp_frame *f)
{
	struct gp_xport *x = gp_xport_dpdk_base(b->core[core]);
	x->ops->send(x, f);
}

static uint8_t tail[1000];

// Data and tail arrive as one datagram; the tail is given back when the wire has let go of it.
static void tail_case(struct bench *b, uint32_t core, bool v6, bool gathered)
{
	struct bytes frame;
	struct gp_inet_packet p;
	struct gp_hold hold = {.count = 3};
	uint16_t segments;
	for (uint32_t i = 0; i < sizeof(tail); i++)
		tail[i] = (uint8_t)(i * 3);
	struct gp_frame *f = frame_make(b, core, 48, v6);
	f->tail = tail;
	f->tail_len = sizeof(tail);
	f->tail_hold = &hold;
	frame_send(b, core, f);
	cr_assert_eq(hold.count, gathered ? 3 : 2);
	cr_assert_eq(gp_xport_dpdk_flush(b->core[core]), 0);
	if (core > 0)
		cr_assert_eq(gp_xport_dpdk_flush(b->core[0]), 0);
	cr_assert(wire_get(b, 0, &frame, &segments));
	cr_assert_eq(segments, gathered ? 2 : 1);
	cr_assert_eq(hold.count, 2);
	const uint8_t *payload = peer_parse(&frame, &p);
	cr_assert_eq(p.payload_len, 1048);
	cr_assert_eq(p.peer.port, PORT_BASE + core);
	cr_assert_eq(payload[47], 48);
	cr_assert_eq(memcmp(payload + 48, tail, sizeof(tail)), 0);
}

Test(tx, tail_is_gathered)
{
	struct bench b;
	bench_open(&b, (struct bench_opts){.cores_count = 1, .queues_count = 1});
	uint32_t before = gp_xport_dpdk_frames_free(b.core[0]);
	for (int i = 0; i < 2000; i++) // more often than there are mbufs: none leaks
		tail_case(&b, 0, i & 1, true);
	cr_assert_eq(stats_of(&b, 0).tx_gathered, 2000);
	cr_assert_eq(gp_xport_dpdk_frames_free(b.core[0]), before);
	bench_close(&b);
}

Test(tx, core_without_a_queue_sends_through_another)
{
	struct bench b;
	bench_open(&b, (struct bench_opts){.cores_count = 2, .queues_count = 1});
	for (int i = 0; i < 1200; i++)
		tail_case(&b, 1, i & 1, false);
	cr_assert_eq(stats_of(&b, 1).tx_passed, 1200);
	cr_assert_eq(stats_of(&b, 0).tx_frames, 1200);
	bench_close(&b);
}

Test(tx, frame_is_right_for_every_peer)
{
	struct bench b;
	bench_open(&b, (struct bench_opts){.cores_count = 1, .queues_count = 1});
	for (uint32_t n = 0; n < 4; n++) {
		struct bytes frame;
		struct gp_inet_packet p;
		struct gp_frame *f = frame_make(&b, 0, 101, n & 1);
		f->peer.vlan = n & 2 ? 12 : 0;
		frame_send(&b, 0, f);
		cr_assert_eq(gp_xport_dpdk_flush(b.core[0]), 0);
		cr_assert(wire_get(&b, 0, &frame, NULL));
		peer_parse(&frame, &p);
		cr_assert_eq(p.peer.vlan, n & 2 ? 12 : 0);
		cr_assert_eq(p.payload_len, 101);
	}
	bench_close(&b);
}

// A datagram received may become the answer itself: its sender is its destination.
Test(tx, arrival_becomes_the_answer)
{
	struct bench b;
	struct bytes frame;
	struct gp_frame *in[1];
	struct gp_inet_packet p;
	bench_open(&b, (struct bench_opts){.cores_count = 1, .queues_count = 1});
	make_udp(&frame, (struct udp_options){.len = 500, .v6 = true, .vlan = 3});
	wire_put(&b, 0, &frame);
	cr_assert_eq(gp_xport_dpdk_poll(b.core[0], in, 1), 1);
	frame_send(&b, 0, in[0]);
	gp_xport_dpdk_flush(b.core[0]);
	cr_assert(wire_get(&b, 0, &frame, NULL));
	peer_parse(&frame, &p);
	cr_assert_eq(p.payload_len, 500);
	bench_close(&b);
}

Test(tx, held_frame_can_be_sent_again)
{
	struct bench b;
	struct bytes frame;
	struct gp_inet_packet p;
	struct gp_hold hold = {.count = 3};
	bench_open(&b, (struct bench_opts){.cores_count = 1, .queues_count = 1});
	struct gp_xport *x = gp_xport_dpdk_base(b.core[0]);
	struct gp_frame *f = frame_make(&b, 0, 10, false);
	f->tail = tail;
	f->tail_len = 90;
	f->tail_hold = &hold;
	for (int i = 0; i < 3; i++) { // all queued at once
		x->ops->hold(x, f);
		frame_send(&b, 0, f);
		f->data[0]++;
	}
	gp_xport_dpdk_flush(b.core[0]);
	for (uint8_t i = 0; i < 3; i++) {
		cr_assert(wire_get(&b, 0, &frame, NULL));
		cr_assert_eq(peer_parse(&frame, &p)[0], 1 + i);
		cr_assert_eq(p.payload_len, 100);
	}
	cr_assert_eq(hold.count, 0);
	x->ops->release(x, f);
	bench_close(&b);
}

Test(tx, full_driver_keeps_order_then_drops)
{
	struct bench b;
	struct bytes frame;
	struct gp_inet_packet p;
	bench_open(&b, (struct bench_opts){.cores_count = 1,
			       .queues_count = 1,
			       .wire_count = 8,
			       .tx_queue_count = 32});
	for (uint32_t i = 0; i < 40; i++)
		frame_send(&b, 0, frame_make(&b, 0, 100 + i, false));
	cr_assert_eq(stats_of(&b, 0).tx_queue_full, 8);
	cr_assert_eq(gp_xport_dpdk_flush(b.core[0]), 24);
	for (uint32_t i = 0; i < 32; i++) {
		if (!wire_get(&b, 0, &frame, NULL)) {
			gp_xport_dpdk_flush(b.core[0]);
			cr_assert(wire_get(&b, 0, &frame, NULL));
		}
		peer_parse(&frame, &p);
		cr_assert_eq(p.payload_len, 100 + i);
	}
	cr_assert_eq(gp_xport_dpdk_flush(b.core[0]), 0);
	cr_assert_eq(stats_of(&b, 0).tx_frames, 32);
	bench_close(&b);
}

Test(tx, driver_that_takes_nothing_does_not_hang)
{
	struct bench b;
	struct gp_hold hold = {.count = 1};
	bench_open(&b, (struct bench_opts){.cores_count = 1, .queues_count = 1, .wire_count = 2});
	frame_send(&b, 0, frame_make(&b, 0, 1, false));
	frame_send(&b, 0, frame_make(&b, 0, 1, false));
	cr_assert_eq(gp_xport_dpdk_flush(b.core[0]), 0);
	struct gp_frame *f = frame_make(&b, 0, 1, false);
	f->tail = tail;
	f->tail_len = 4;
	f->tail_hold = &hold;
	frame_send(&b, 0, f);
	uint32_t flushes = 0;
	while (gp_xport_dpdk_flush(b.core[0]) > 0 && flushes < STALL_FLUSHES_MAX)
		flushes++;
	cr_assert_lt(flushes, STALL_FLUSHES_MAX);
	cr_assert_gt(flushes, 100, "a driver that is full for a moment loses nothing");
	cr_assert_eq(stats_of(&b, 0).tx_stuck, 1);
	cr_assert_eq(hold.count, 0);
	bench_close(&b);
}

Test(tx, what_cannot_be_sent_is_counted)
{
	struct bench b;
	struct gp_hold hold = {.count = 2};
	bench_open(&b, (struct bench_opts){.cores_count = 1, .queues_count = 1});
	struct gp_frame *f = frame_make(&b, 0, 473, false);
	f->tail = tail;
	f->tail_len = sizeof(tail); // 1473 is one too many for MTU 1500
	f->tail_hold = &hold;
	frame_send(&b, 0, f);
	cr_assert_eq(stats_of(&b, 0).tx_too_long, 1);
	frame_send(&b, 0, frame_make(&b, 0, 1453, true));
	cr_assert_eq(stats_of(&b, 0).tx_too_long, 2);
	f = frame_make(&b, 0, 10, false);
	memset(f->peer.mac, 0, 6);
	f->tail_hold = &hold;
	frame_send(&b, 0, f);
	cr_assert_eq(stats_of(&b, 0).tx_unresolved, 1);
	cr_assert_eq(hold.count, 0);
	frame_send(&b, 0, frame_make(&b, 0, 1472, false));
	frame_send(&b, 0, frame_make(&b, 0, 1452, true));
	cr_assert_eq(gp_xport_dpdk_flush(b.core[0]), 0);
	cr_assert_eq(stats_of(&b, 0).tx_frames, 2);
	bench_close(&b);
}

Test(tx, empty_pool_is_null_and_counted)
{
	struct bench b;
	bench_open(&b, (struct bench_opts){.cores_count = 1, .queues_count = 1, .mbufs_count = 63});
	struct gp_xport *x = gp_xport_dpdk_base(b.core[0]);
	struct gp_frame *held[64], *f;
	uint32_t n = 0;
	while ((f = x->ops->alloc(x)) && n < 64)
		held[n++] = f;
	cr_assert_eq(n, 63);
	cr_assert_eq(gp_xport_dpdk_frames_free(b.core[0]), 0);
	cr_assert_eq(stats_of(&b, 0).no_frame, 1);

	// A held frame needs a copy to be sent; without a buffer it is dropped, its tail given
	// back.
	struct gp_hold hold = {.count = 1};
	held[0]->len = 4;
	held[0]->peer = peer_addr(false);
	held[0]->tail_hold = &hold;
	x->ops->hold(x, held[0]);
	x->ops->send(x, held[0]);
	cr_assert_eq(stats_of(&b, 0).no_frame, 2);
	cr_assert_eq(hold.count, 0);
	while (n > 0)
		x->ops->release(x, held[--n]);
	cr_assert_eq(gp_xport_dpdk_frames_free(b.core[0]), 63);
	bench_close(&b);
}

Test(tx, announcements_are_sent)
{
	struct bench b;
	struct bytes frame;
	bench_open(&b, (struct bench_opts){.cores_count = 1, .queues_count = 1});
	gp_xport_dpdk_announce(b.core[0]);
	cr_assert_eq(gp_xport_dpdk_flush(b.core[0]), 0);
	cr_assert(wire_get(&b, 0, &frame, NULL));
	cr_assert_eq(at16(frame.data + 12), 0x0806);
	cr_assert(wire_get(&b, 0, &frame, NULL));
	cr_assert_eq(at16(frame.data + 12), 0x86dd);
	bench_close(&b);
}

Test(tx, port_options_that_cannot_work_are_refused)
{
	struct gp_dpdk_port *port;
	bench_eal(NULL);
	struct gp_dpdk_port_opts opts = {.cores_count = 1, .host = host_make(1)};
	cr_assert_eq(gp_dpdk_port_create(&opts, &port), -ENODEV, "there is no device");
	opts.name = "net_none";
	cr_assert_eq(gp_dpdk_port_create(&opts, &port), -ENODEV);
	opts.cores_count = 2;
	cr_assert_eq(gp_dpdk_port_create(&opts, &port), -EINVAL, "ports and cores differ");
	opts.cores_count = 1;
	opts.ip_mtu = 100;
	cr_assert_eq(gp_dpdk_port_create(&opts, &port), -EINVAL);
	cr_assert_null(port);
	gp_dpdk_port_destroy(NULL);
	gp_dpdk_eal_fini();
}

Test(tx, table_memory_is_zeroed_and_aligned)
{
	bench_eal(NULL);
	for (size_t size = 1; size < (200u << 20); size = size * 7 + 1) { // past what EAL has
		uint8_t *mem = gp_dpdk_mem_take(size, size & 1 ? 0 : -1);
		cr_assert_not_null(mem);
		cr_assert_eq((uintptr_t)mem % GP_CACHE_LINE, 0);
		cr_assert_eq(mem[0], 0);
		cr_assert_eq(mem[size - 1], 0);
		memset(mem, 0xff, size);
		gp_dpdk_mem_give(mem);
	}
	gp_dpdk_mem_give(NULL);
	gp_dpdk_eal_fini();
}

// So the memory of tails must outlive the port.
Test(tx, queued_tails_are_given_back_when_the_port_goes)
{
	struct bench b;
	struct gp_hold hold = {.count = 1};
	bench_open(&b, (struct bench_opts){.cores_count = 1, .queues_count = 1});
	struct gp_frame *f = frame_make(&b, 0, 48, false);
	f->tail = tail;
	f->tail_len = sizeof(tail);
	f->tail_hold = &hold;
	frame_send(&b, 0, f);
	cr_assert_eq(hold.count, 1);
	bench_close(&b);
	cr_assert_eq(hold.count, 0);
}
