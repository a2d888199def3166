// SPDX-License-Identifier: BSD-3-Clause
//
// A port of several devices, and a client's port: one thread, several cores, one peer each.
#include <criterion/criterion.h>

#include "bench.h"

#include <errno.h>
#include <stdio.h>

#define BURST 32

static bool checksum_is_optional; // of the port that links_open makes

// A port on `links` devices of one queue each; wire q of the bench is link q.
static void links_open(struct bench *b, uint16_t links, uint16_t cores, bool one_thread)
{
	static char names[BENCH_QUEUES_MAX][32];
	struct gp_dpdk_port_opts opts = {
		.cores_count = cores,
		.mbufs_per_core = BENCH_MBUFS,
		.tx_queue_count = 64,
		.links_count = links,
		.one_thread = one_thread,
		.optional_udp_checksum = checksum_is_optional,
		.host = host_make(cores),
	};
	bench_links(b, links);
	for (uint16_t l = 0; l < links; l++) {
		snprintf(names[l], sizeof(names[l]), "net_ring_bench%u", l);
		opts.links[l] = names[l];
	}
	cr_assert_eq(gp_dpdk_port_create(&opts, &b->port), 0);
	for (uint32_t i = 0; i < cores; i++)
		b->core[i] = gp_dpdk_port_core(b->port, i);
}

// The datagram that `link` hears for `core`, after both cores had their turn; it is core's own.
static struct gp_frame *heard(struct bench *b, uint16_t link, uint16_t core)
{
	struct bytes frame;
	struct gp_frame *in[BURST];
	make_udp(&frame, (struct udp_options){.core = core, .len = 16});
	wire_put(b, link, &frame);
	uint32_t got = 0;
	for (uint32_t turn = 0; turn < 2; turn++)
		for (uint32_t i = 0; i < 2; i++) {
			uint32_t n = gp_xport_dpdk_poll(b->core[i], in + got, BURST - got);
			cr_assert(n == 0 || i == core);
			got += n;
		}
	cr_assert_eq(got, 1);
	cr_assert_eq(in[0]->peer.link, link);
	return in[0];
}

static void flush_all(struct bench *b, uint32_t cores)
{
	for (uint32_t turn = 0; turn < 2; turn++)
		for (uint32_t i = 0; i < cores; i++)
			(void)gp_xport_dpdk_flush(b->core[i]);
}

Test(links, an_answer_leaves_where_its_peer_was_heard)
{
	struct bench b;
	struct bytes frame;
	struct gp_inet_packet p;
	links_open(&b, 3, 2, false);
	for (uint16_t link = 0; link < 3; link++) {
		for (uint16_t core = 0; core < 2; core++) {
			struct gp_frame *f = heard(&b, link, core);
			struct gp_xport *x = gp_xport_dpdk_base(b.core[core]);
			gp_store32(f->data, link * 10u + core);
			x->ops->send(x, f);
			flush_all(&b, 2);
			for (uint16_t l = 0; l < 3; l++)
				cr_assert_eq(wire_get(&b, l, &frame, NULL), l == link);
		}
	}
	struct gp_frame *f = heard(&b, 2, 1); // link 2 is core 0's, the datagram core 1's
	struct gp_xport *x = gp_xport_dpdk_base(b.core[1]);
	gp_store32(f->data, 4711);
	x->ops->send(x, f);
	flush_all(&b, 2);
	cr_assert(wire_get(&b, 2, &frame, NULL));
	cr_assert_eq(gp_load32(peer_parse(&frame, &p)), 4711);
	cr_assert_eq(p.peer.port, PORT_BASE + 1);
	cr_assert_gt(stats_of(&b, 1).tx_passed, 0);

	f = x->ops->alloc(x);
	f->len = 4;
	f->peer = peer_addr(false);
	f->peer.link = 3;
	x->ops->send(x, f);
	cr_assert_eq(stats_of(&b, 1).tx_unresolved, 1, "a link that is not there");
	flush_all(&b, 2);
	for (uint16_t l = 0; l < 3; l++)
		cr_assert_not(wire_get(&b, l, &frame, NULL));
	bench_close(&b);
}

// What core 0 answers to a datagram with or without a checksum; false: it did not get it.
static bool answered(struct bench *b, bool with_sum, struct bytes *frame)
{
	struct gp_frame *in[BURST];
	struct gp_xport *x = gp_xport_dpdk_base(b->core[0]);
	make_udp(frame, (struct udp_options){.len = 16});
	if (!with_sum)
		put16(frame->data + 40, 0);
	wire_put(b, 0, frame);
	if (gp_xport_dpdk_poll(b->core[0], in, BURST) == 0)
		return false;
	x->ops->send(x, in[0]);
	flush_all(b, 1);
	cr_assert(wire_get(b, 0, frame, NULL));
	return true;
}

Test(links, without_a_checksum_nothing_is_taken)
{
	struct bench b;
	struct bytes frame;
	struct gp_inet_packet p;
	links_open(&b, 1, 1, false);
	cr_assert_not(answered(&b, false, &frame));
	cr_assert_eq(verdict_of(&b, 0, GP_INET_UDP_CHECKSUM), 1);
	cr_assert(answered(&b, true, &frame));
	(void)peer_parse(&frame, &p);
	bench_close(&b);
}

// Who sends one and who sends none, in turns.
Test(links, where_it_is_optional_each_is_answered_as_it_asked)
{
	struct bench b;
	struct bytes frame;
	struct gp_inet_packet p;
	checksum_is_optional = true;
	links_open(&b, 1, 1, false);
	for (uint32_t i = 0; i < 4; i++) {
		cr_assert(answered(&b, i & 1, &frame));
		cr_assert_eq(gp_load16(frame.data + 40) != 0, i & 1);
	}
	(void)peer_parse(&frame, &p);
	cr_assert_eq(verdict_of(&b, 0, GP_INET_UDP_CHECKSUM), 0);
	bench_close(&b);
}

Test(links, questions_are_answered_on_each_and_all_hear_announcements)
{
	struct bench b;
	struct bytes frame;
	struct gp_frame *in[BURST];
	links_open(&b, 2, 1, false);
	for (uint16_t l = 0; l < 2; l++) {
		make_arp(&frame, 0, our_ip4 + 12);
		wire_put(&b, l, &frame);
		cr_assert_eq(gp_xport_dpdk_poll(b.core[0], in, BURST), 0);
		flush_all(&b, 1);
		cr_assert_eq(wire_get(&b, l, &frame, NULL), true);
		cr_assert_eq(wire_get(&b, 1 - l, &frame, NULL), false);
	}
	gp_xport_dpdk_announce(b.core[0]);
	flush_all(&b, 1);
	for (uint16_t l = 0; l < 2; l++) // one of each family
		for (int i = 0; i < 3; i++)
			cr_assert_eq(wire_get(&b, l, &frame, NULL), i < 2);
	bench_close(&b);
}

Test(links, a_client_asks_connects_and_has_one_pool)
{
	struct bench b;
	struct bytes frame;
	struct gp_inet_packet p;
	struct gp_frame *in[BURST];
	uint8_t mac[6];
	links_open(&b, 1, 4, true);
	cr_assert_eq(gp_xport_dpdk_frames_free(b.core[3]), gp_xport_dpdk_frames_free(b.core[0]));
	gp_xport_dpdk_ask(b.core[0], peer_ip4);
	flush_all(&b, 1);
	cr_assert(wire_get(&b, 0, &frame, NULL));
	cr_assert_not(gp_xport_dpdk_answered(b.core[0], mac));
	struct gp_inet_host peer = host_make(1);
	memcpy(peer.mac, peer_mac, 6);
	memcpy(peer.addrs[0], peer_ip4, 16);
	enum gp_inet_verdict v = gp_inet_parse(&peer, frame.data, frame.len, 0, &p);
	cr_assert_eq(v, GP_INET_ARP_ANSWERED);
	frame.len = gp_inet_answer(&peer, v, &p, frame.data, sizeof(frame.data));
	wire_put(&b, 0, &frame);
	cr_assert_eq(gp_xport_dpdk_poll(b.core[0], in, BURST), 0);
	cr_assert(gp_xport_dpdk_answered(b.core[0], mac));
	cr_assert_eq(memcmp(mac, peer_mac, 6), 0);

	struct gp_addr server = {.port = PEER_PORT};
	memcpy(server.ip, peer_ip4, 16);
	memcpy(server.mac, mac, 6);
	for (uint16_t i = 0; i < 4; i++) {
		struct gp_xport *x = gp_xport_dpdk_base(b.core[i]);
		gp_xport_dpdk_connect(b.core[i], &server);
		struct gp_frame *f = x->ops->alloc(x); // its peer is nobody
		f->len = 4;
		gp_store32(f->data, i);
		x->ops->send(x, f);
		cr_assert_eq(gp_xport_dpdk_flush(b.core[i]), 0);
		cr_assert(wire_get(&b, 0, &frame, NULL));
		cr_assert_eq(gp_load32(peer_parse(&frame, &p)), i);
		cr_assert_eq(p.peer.port, PORT_BASE + i);
		make_udp(&frame, (struct udp_options){.core = i, .len = 8});
		wire_put(&b, 0, &frame);
		uint32_t n = gp_xport_dpdk_poll(b.core[0], in, BURST);
		cr_assert_eq(n, i == 0);
		if (i > 0)
			n = gp_xport_dpdk_poll(b.core[i], in, BURST);
		cr_assert_eq(n, 1);
		x->ops->release(x, in[0]);
	}
	cr_assert_eq(stats_of(&b, 2).tx_passed, 0);
	bench_close(&b);
}

Test(links, a_link_that_is_not_there_is_named)
{
	struct gp_dpdk_port *port;
	bench_eal(NULL);
	struct gp_dpdk_port_opts opts = {.cores_count = 1,
		.links_count = 2,
		.links = {"net_none0", "net_none1"},
		.host = host_make(1)};
	cr_assert_eq(gp_dpdk_port_create(&opts, &port), -ENODEV);
	opts.links_count = GP_DPDK_LINKS_MAX + 1;
	cr_assert_eq(gp_dpdk_port_create(&opts, &port), -EINVAL);
	cr_assert_neq(gp_dpdk_device_add("net_none0"), 0);
	gp_dpdk_eal_fini();
}

Test(links, a_device_comes_and_goes_after_the_start)
{
	bench_eal(NULL);
	for (int i = 0; i < 2; i++) {
		struct gp_dpdk_port *port;
		cr_assert_eq(gp_dpdk_device_add("net_null0,size=64"), 0);
		struct gp_dpdk_port_opts opts = {.name = "net_null0",
			.cores_count = 1,
			.mbufs_per_core = BENCH_MBUFS,
			.tx_queue_count = 64,
			.host = host_make(1)};
		cr_assert_eq(gp_dpdk_port_create(&opts, &port), 0);
		cr_assert(gp_dpdk_port_link_is_up(port, 0));
		gp_dpdk_port_destroy(port);
		gp_dpdk_device_remove("net_null0,size=64");
	}
	gp_dpdk_eal_fini();
}
