// SPDX-License-Identifier: BSD-3-Clause
#include <criterion/criterion.h>

#include "bench.h"

#define BURST 64

static void frames_release(struct bench *b, uint32_t core, struct gp_frame **frames, uint32_t n)
{
	struct gp_xport *x = gp_xport_dpdk_base(b->core[core]);
	for (uint32_t i = 0; i < n; i++)
		x->ops->release(x, frames[i]);
}

Test(rx, datagram_arrives_whole)
{
	struct bench b;
	struct bytes frame;
	struct gp_frame *in[BURST];
	bench_open(&b, (struct bench_opts){.cores_count = 1, .queues_count = 1});
	for (int v6 = 0; v6 < 2; v6++) {
		make_udp(&frame, (struct udp_options){.v6 = v6, .len = 1000, .vlan = v6 ? 4 : 0});
		wire_put(&b, 0, &frame);
		cr_assert_eq(gp_xport_dpdk_poll(b.core[0], in, BURST), 1);
		cr_assert_eq(in[0]->len, 1000);
		cr_assert_geq(in[0]->room, 1452);
		cr_assert_eq(memcmp(in[0]->data, frame.data + frame.len - 1000, 1000), 0);
		cr_assert_eq(in[0]->peer.port, PEER_PORT);
		cr_assert_eq(in[0]->peer.vlan, v6 ? 4 : 0);
		cr_assert_eq(memcmp(in[0]->peer.ip, v6 ? peer_ip6 : peer_ip4, 16), 0);
		cr_assert_eq(memcmp(in[0]->peer.mac, peer_mac, 6), 0);
		// Untagged IPv4 puts the Ethernet header on a cache line.
		cr_assert(v6 || ((uintptr_t)in[0]->data - 42) % GP_CACHE_LINE == 0);
		frames_release(&b, 0, in, 1);
	}
	cr_assert_eq(stats_of(&b, 0).rx_frames, 2);
	bench_close(&b);
}

Test(rx, held_frame_stays)
{
	struct bench b;
	struct bytes frame;
	struct gp_frame *in[BURST];
	bench_open(&b, (struct bench_opts){.cores_count = 1, .queues_count = 1});
	struct gp_xport *x = gp_xport_dpdk_base(b.core[0]);
	make_udp(&frame, (struct udp_options){.len = 10});
	wire_put(&b, 0, &frame);
	cr_assert_eq(gp_xport_dpdk_poll(b.core[0], in, BURST), 1);
	x->ops->hold(x, in[0]);
	x->ops->release(x, in[0]);
	cr_assert_eq(rte_mempool_avail_count(b.pool), BENCH_MBUFS - 1);
	cr_assert_eq(in[0]->data[0], 3);
	x->ops->release(x, in[0]);
	bench_close(&b);
}

Test(rx, requests_are_answered)
{
	struct bench b;
	struct bytes frame;
	struct gp_frame *in[BURST];
	bench_open(&b, (struct bench_opts){.cores_count = 2, .queues_count = 1});
	make_arp(&frame, 0, our_ip4 + 12);
	wire_put(&b, 0, &frame);
	make_solicit(&frame, our_ip6, false);
	wire_put(&b, 0, &frame);
	make_echo(&frame, false, 56);
	wire_put(&b, 0, &frame);
	make_echo(&frame, true, 1400);
	wire_put(&b, 0, &frame);
	cr_assert_eq(gp_xport_dpdk_poll(b.core[0], in, BURST), 0);
	cr_assert_eq(gp_xport_dpdk_flush(b.core[0]), 0);

	static const uint32_t lens[] = {42, 86, 98, 1462};
	for (size_t i = 0; i < GP_ARRAY_SIZE(lens); i++) {
		cr_assert(wire_get(&b, 0, &frame, NULL));
		cr_assert_eq(frame.len, lens[i]);
		cr_assert_eq(memcmp(frame.data, peer_mac, 6), 0);
		cr_assert_eq(memcmp(frame.data + 6, our_mac, 6), 0);
	}
	cr_assert_eq(verdict_of(&b, 0, GP_INET_ARP_ANSWERED), 1);
	cr_assert_eq(verdict_of(&b, 0, GP_INET_ND_ANSWERED), 1);
	cr_assert_eq(verdict_of(&b, 0, GP_INET_ECHO_ANSWERED), 2);
	cr_assert_eq(stats_of(&b, 0).tx_frames, 4);
	bench_close(&b);
}

// Datagrams for every core at every queue: each core gets its own, whichever way they came.
static void steering(uint16_t cores_count, uint16_t queues_count)
{
	struct bench b;
	struct bytes frame;
	struct gp_frame *in[BURST];
	bench_open(
		&b, (struct bench_opts){.cores_count = cores_count, .queues_count = queues_count});
	for (uint16_t q = 0; q < queues_count; q++) {
		for (uint32_t core = 0; core < cores_count; core++) {
			make_udp(&frame, (struct udp_options){.core = core, .len = 20 + core});
			wire_put(&b, q, &frame);
		}
	}
	uint32_t got[GP_DPDK_CORES_MAX] = {0};
	for (uint32_t round = 0; round < 4; round++) {
		for (uint32_t core = 0; core < cores_count; core++) {
			uint32_t n = gp_xport_dpdk_poll(b.core[core], in, BURST);
			for (uint32_t i = 0; i < n; i++)
				cr_assert_eq(in[i]->len, 20 + core);
			frames_release(&b, core, in, n);
			got[core] += n;
		}
	}
	for (uint32_t core = 0; core < cores_count; core++) {
		struct gp_xport_dpdk_stats s = stats_of(&b, core);
		bool queue = core < queues_count;
		cr_assert_eq(got[core], queues_count);
		cr_assert_eq(s.verdicts[GP_INET_ACCEPTED], queue ? 1 : 0);
		cr_assert_eq(s.verdicts[GP_INET_HANDED_OVER], queue ? cores_count - 1u : 0);
		cr_assert_eq(s.rx_taken_over, queues_count - (queue ? 1u : 0));
		cr_assert_eq(s.rx_frames, verdicts_sum(&b, core));
	}
	bench_close(&b);
}

Test(rx, one_queue_serves_three_cores)
{
	steering(3, 1);
}

Test(rx, four_queues_serve_four_cores)
{
	steering(4, 4);
}

Test(rx, full_hand_over_is_counted)
{
	struct bench b;
	struct bytes frame;
	struct gp_frame *in[BURST];
	bench_open(
		&b, (struct bench_opts){.cores_count = 2, .queues_count = 1, .handover_count = 4});
	make_udp(&frame, (struct udp_options){.core = 1, .len = 1});
	for (int i = 0; i < 10; i++)
		wire_put(&b, 0, &frame);
	cr_assert_eq(gp_xport_dpdk_poll(b.core[0], in, BURST), 0);
	cr_assert_eq(verdict_of(&b, 0, GP_INET_HANDED_OVER), 4);
	cr_assert_eq(verdict_of(&b, 0, GP_INET_HANDOVER_FULL), 6);
	cr_assert_eq(gp_xport_dpdk_poll(b.core[1], in, BURST), 4);
	frames_release(&b, 1, in, 4);
	bench_close(&b);
}

// One frame of every kind that is refused; every verdict but the hand-over ones is seen.
static void refused_put(struct bench *b)
{
	static const struct {
		uint32_t at;
		uint8_t value;
	} patches[] = {{0, 4}, {6, 1}, {13, 1}, {14, 0x65}, {20, 0x20}, {23, 6}, {33, 9}, {37, 0},
		{39, 7}, {45, 0xee}};
	struct bytes frame;
	for (size_t i = 0; i < GP_ARRAY_SIZE(patches); i++) {
		make_udp(&frame, (struct udp_options){.len = 10});
		frame.data[patches[i].at] = patches[i].value;
		put16(frame.data + 24, 0);
		put16(frame.data + 24, textbook_sum(frame.data + 14, 20, 0));
		wire_put(b, 0, &frame);
	}
	frame.len = 20;
	wire_put(b, 0, &frame);
	make_udp(&frame, (struct udp_options){.len = 10});
	frame.data[24] ^= 1;
	wire_put(b, 0, &frame);
	make_arp(&frame, 0, (const uint8_t[]){10, 0, 0, 77});
	wire_put(b, 0, &frame);
	make_solicit(&frame, peer_ip6, true);
	wire_put(b, 0, &frame);
	make_echo(&frame, false, 10);
	frame.data[45] ^= 1;
	wire_put(b, 0, &frame);
}

static void segmented_put(struct bench *b)
{
	struct rte_mbuf *head = rte_pktmbuf_alloc(b->pool), *next = rte_pktmbuf_alloc(b->pool);
	rte_pktmbuf_append(head, 60);
	rte_pktmbuf_append(next, 60);
	cr_assert_eq(rte_pktmbuf_chain(head, next), 0);
	cr_assert_eq(rte_ring_enqueue(b->rx[0], head), 0);
}

Test(rx, every_frame_has_one_verdict)
{
	static const enum gp_inet_verdict refused[] = {GP_INET_OTHER_MAC, GP_INET_SOURCE_BAD,
		GP_INET_OTHER_TYPE, GP_INET_IP_BAD, GP_INET_IP_FRAGMENT, GP_INET_OTHER_PROTOCOL,
		GP_INET_OTHER_IP, GP_INET_OTHER_PORT, GP_INET_UDP_BAD, GP_INET_UDP_CHECKSUM,
		GP_INET_SHORT, GP_INET_IP_CHECKSUM, GP_INET_ARP_IGNORED, GP_INET_ICMP_IGNORED,
		GP_INET_ICMP_CHECKSUM, GP_INET_SEGMENTED};
	struct bench b;
	struct gp_frame *in[BURST];
	bench_open(&b, (struct bench_opts){.cores_count = 2, .queues_count = 1});
	refused_put(&b);
	segmented_put(&b);
	cr_assert_eq(gp_xport_dpdk_poll(b.core[0], in, BURST), 0);
	for (size_t i = 0; i < GP_ARRAY_SIZE(refused); i++)
		cr_assert_eq(verdict_of(&b, 0, refused[i]), 1, "%s: %lu",
			gp_inet_verdict_name(refused[i]), verdict_of(&b, 0, refused[i]));
	// The seven served or handed over have tests of their own.
	cr_assert_eq(GP_ARRAY_SIZE(refused) + 7, GP_INET_VERDICTS_COUNT);
	cr_assert_eq(stats_of(&b, 0).rx_frames, GP_ARRAY_SIZE(refused));
	cr_assert_eq(verdicts_sum(&b, 0), GP_ARRAY_SIZE(refused));
	cr_assert_eq(gp_xport_dpdk_flush(b.core[0]), 0);
	struct bytes frame;
	cr_assert(!wire_get(&b, 0, &frame, NULL), "nothing refused is answered");
	bench_close(&b);
}

Test(rx, poll_keeps_to_its_limit)
{
	struct bench b;
	struct bytes frame;
	struct gp_frame *in[BURST];
	bench_open(&b, (struct bench_opts){.cores_count = 1, .queues_count = 1});
	make_udp(&frame, (struct udp_options){.len = 1});
	for (int i = 0; i < 40; i++)
		wire_put(&b, 0, &frame);
	cr_assert_eq(gp_xport_dpdk_poll(b.core[0], in, 5), 5);
	frames_release(&b, 0, in, 5);
	uint32_t got = 5;
	for (uint32_t n; (n = gp_xport_dpdk_poll(b.core[0], in, BURST)) > 0; got += n)
		frames_release(&b, 0, in, n);
	cr_assert_eq(got, 40);
	bench_close(&b);
}
