// SPDX-License-Identifier: BSD-3-Clause
#include "bench.h"

#include <criterion/criterion.h>

#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <stdio.h>
#include <unistd.h>

#define PRIV_SIZE 128 // as the transport's own pools: a ring hands over foreign mbufs

void bench_eal(const char *lcores)
{
	char prefix[32];
	snprintf(prefix, sizeof(prefix), "gp_unit_%d", (int)getpid());
	const struct gp_dpdk_eal_opts opts = {.program = "unit",
		.file_prefix = prefix,
		.lcores = lcores,
		.memory_mib = 64,
		.no_huge = true,
		.no_pci = true};
	cr_assert_eq(gp_dpdk_eal_init(&opts), 0);
}

static struct rte_ring *wire_create(const char *kind, uint16_t queue, uint32_t slots)
{
	char name[32];
	snprintf(name, sizeof(name), "wire_%s_%u", kind, queue);
	struct rte_ring *r = rte_ring_create(name, slots, 0, RING_F_EXACT_SZ);
	cr_assert_not_null(r);
	return r;
}

static void wires_make(struct bench *b, const char *lcores, uint16_t count, uint32_t slots)
{
	*b = (struct bench){0};
	bench_eal(lcores);
	b->pool = rte_pktmbuf_pool_create("wire", BENCH_MBUFS, 0, PRIV_SIZE, 2048 + 128, 0);
	cr_assert_not_null(b->pool);
	for (uint16_t q = 0; q < count; q++) {
		b->rx[q] = wire_create("rx", q, slots);
		b->tx[q] = wire_create("tx", q, slots);
	}
}

void bench_links(struct bench *b, uint16_t count)
{
	wires_make(b, NULL, count, 1024);
	for (uint16_t q = 0; q < count; q++) {
		char name[32];
		snprintf(name, sizeof(name), "bench%u", q);
		cr_assert_geq(rte_eth_from_rings(name, &b->rx[q], 1, &b->tx[q], 1, 0), 0);
	}
}

void bench_open(struct bench *b, struct bench_opts o)
{
	wires_make(b, o.lcores, o.queues_count, o.wire_count ? o.wire_count : 1024);
	cr_assert_geq(
		rte_eth_from_rings("bench", b->rx, o.queues_count, b->tx, o.queues_count, 0), 0);
	struct gp_dpdk_port_opts opts = {
		.cores_count = o.cores_count,
		.mbufs_per_core = o.mbufs_count ? o.mbufs_count : BENCH_MBUFS,
		.handover_count = o.handover_count,
		.tx_queue_count = o.tx_queue_count ? o.tx_queue_count : 64,
		.host = host_make(o.cores_count),
	};
	cr_assert_eq(gp_dpdk_port_create(&opts, &b->port), 0);
	for (uint32_t i = 0; i < o.cores_count; i++)
		b->core[i] = gp_dpdk_port_core(b->port, i);
}

void bench_close(struct bench *b)
{
	struct bytes frame;
	for (uint16_t q = 0; q < BENCH_QUEUES_MAX && b->tx[q]; q++)
		while (wire_get(b, q, &frame, NULL))
			continue;
	cr_assert_eq(rte_mempool_avail_count(b->pool), BENCH_MBUFS, "a received mbuf has leaked");
	gp_dpdk_port_destroy(b->port);
	gp_dpdk_eal_fini();
}

void wire_put(struct bench *b, uint16_t queue, const struct bytes *frame)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(b->pool);
	cr_assert_not_null(m);
	memcpy(rte_pktmbuf_append(m, (uint16_t)frame->len), frame->data, frame->len);
	cr_assert_eq(rte_ring_enqueue(b->rx[queue], m), 0);
}

bool wire_get(struct bench *b, uint16_t queue, struct bytes *frame, uint16_t *segments)
{
	void *obj;
	if (rte_ring_dequeue(b->tx[queue], &obj))
		return false;
	struct rte_mbuf *m = obj;
	frame->len = 0;
	for (struct rte_mbuf *s = m; s; s = s->next)
		add(frame, rte_pktmbuf_mtod(s, void *), s->data_len);
	cr_assert_eq(frame->len, m->pkt_len);
	if (segments)
		*segments = m->nb_segs;
	rte_pktmbuf_free(m);
	return true;
}

struct gp_addr peer_addr(bool v6)
{
	struct gp_addr a = {.port = PEER_PORT};
	memcpy(a.ip, v6 ? peer_ip6 : peer_ip4, 16);
	memcpy(a.mac, peer_mac, 6);
	return a;
}

struct gp_xport_dpdk_stats stats_of(struct bench *b, uint32_t core)
{
	struct gp_xport_dpdk_stats s;
	gp_xport_dpdk_stats(b->core[core], &s);
	return s;
}

uint64_t verdict_of(struct bench *b, uint32_t core, enum gp_inet_verdict v)
{
	return stats_of(b, core).verdicts[v];
}

uint64_t verdicts_sum(struct bench *b, uint32_t core)
{
	struct gp_xport_dpdk_stats s = stats_of(b, core);
	uint64_t sum = 0;
	for (uint32_t i = 0; i < GP_INET_VERDICTS_COUNT; i++)
		sum += s.verdicts[i];
	return sum;
}

const uint8_t *peer_parse(const struct bytes *frame, struct gp_inet_packet *p)
{
	struct gp_inet_host h = host_make(1);
	memcpy(h.mac, peer_mac, 6);
	memcpy(h.addrs[0], peer_ip4, 16);
	memcpy(h.addrs[1], peer_ip6, 16);
	h.port_base = PEER_PORT;
	enum gp_inet_verdict v = gp_inet_parse(&h, frame->data, frame->len, 0, p);
	cr_assert_eq(v, GP_INET_ACCEPTED, "%s", gp_inet_verdict_name(v));
	return frame->data + p->payload_off;
}
