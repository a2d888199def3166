// SPDX-License-Identifier: BSD-3-Clause
#include "xport_dpdk_priv.h"

#include <gp_log.h>

#include <errno.h>
#include <rte_errno.h>
#include <rte_malloc.h>
#include <stdio.h>

#define MBUFS_PER_CORE	 4096
#define MBUF_CACHE_COUNT 256
#define HANDOVER_COUNT	 512
#define TX_QUEUE_COUNT	 1024
// Data room after the headroom: NICs count it in KiB, and af_packet wants no less than its frame
// size.
#define ROOM_NORMAL  2048
#define ROOM_JUMBO   10240
#define PAGE	     4096
#define IP_MTU_MIN   576
#define IP_MTU_MAX   9216
#define IP4_OVERHEAD 28
#define IP6_OVERHEAD 48

_Static_assert(ROOM_JUMBO >= GP_INET_HEADERS_MAX + IP_MTU_MAX, "one segment a frame");

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
	return value ? value : otherwise;
}

static bool opts_are_valid(const struct gp_dpdk_port_opts *o)
{
	uint32_t ip_mtu = or_default(o->ip_mtu, RTE_ETHER_MTU);
	return o->cores_count > 0 && o->cores_count <= GP_DPDK_CORES_MAX &&
	       o->host.ports_count == o->cores_count && o->host.port_base > 0 &&
	       o->host.port_base + o->cores_count - 1 <= UINT16_MAX && ip_mtu >= IP_MTU_MIN &&
	       ip_mtu <= IP_MTU_MAX && o->host.addrs_count <= GP_INET_ADDRS_MAX;
}

static int device_find(const char *name, uint16_t *port_id)
{
	if (name)
		return rte_eth_dev_get_port_by_name(name, port_id);
	*port_id = (uint16_t)rte_eth_find_next(0);
	return rte_eth_dev_count_avail() == 1 ? 0 : -ENODEV;
}

static bool host_has_v4(const struct gp_inet_host *h)
{
	for (uint32_t i = 0; i < h->addrs_count; i++) {
		struct gp_addr a = {0};
		memcpy(a.ip, h->addrs[i], 16);
		if (gp_addr_is_v4(&a))
			return true;
	}
	return false;
}

static struct rte_mempool *pool_create(
	const struct gp_xport_dpdk *x, const char *kind, uint32_t n, uint32_t room)
{
	char name[RTE_MEMPOOL_NAMESIZE];
	snprintf(name, sizeof(name), "gp_%s_%u_%u", kind, x->port_id, x->idx);
	uint32_t cache = GP_MIN((uint32_t)MBUF_CACHE_COUNT, n / 8);
	struct rte_mempool *pool = rte_pktmbuf_pool_create(
		name, n, cache, DPDK_PRIV_SIZE, (uint16_t)room, rte_eth_dev_socket_id(x->port_id));
	if (!pool)
		gp_error("dpdk: no memory for %u mbufs of %u bytes: %s (raise the EAL memory)", n,
			room, strerror(rte_errno));
	return pool;
}

// Bytes of a frame behind the headroom. An XDP socket's buffer with all that DPDK keeps beside it
// is one page at most; a pool's header is a line, and an even number of lines becomes one more.
static uint32_t frame_room(const struct gp_dpdk_port *p, uint32_t ip_mtu)
{
	if (ip_mtu <= RTE_ETHER_MTU)
		return ROOM_NORMAL;
	if (strcmp(p->info.driver, "net_af_xdp") != 0)
		return ROOM_JUMBO;
	return PAGE - 2 * GP_CACHE_LINE - sizeof(struct rte_mbuf) - DPDK_PRIV_SIZE -
	       RTE_PKTMBUF_HEADROOM;
}

static int core_memory_take(struct gp_xport_dpdk *x, const struct gp_dpdk_port_opts *o)
{
	uint32_t ip_mtu = or_default(o->ip_mtu, RTE_ETHER_MTU);
	uint32_t queue = (uint32_t)gp_pow2_up(or_default(o->tx_queue_count, TX_QUEUE_COUNT));
	uint32_t room = RTE_PKTMBUF_HEADROOM + frame_room(x->port, ip_mtu);
	x->tx = rte_zmalloc("gp_tx", queue * sizeof(struct rte_mbuf *), GP_CACHE_LINE);
	x->tx_mask = queue - 1;
	x->pool = pool_create(x, "frames", or_default(o->mbufs_per_core, MBUFS_PER_CORE), room);
	x->tail_pool = pool_create(x, "tails", 2 * queue, 0);
	return x->tx && x->pool && x->tail_pool ? 0 : -ENOMEM;
}

static int core_create(struct gp_dpdk_port *p, const struct gp_dpdk_port_opts *o, uint16_t idx)
{
	struct gp_xport_dpdk *x = rte_zmalloc("gp_core", sizeof(*x), GP_CACHE_LINE);
	if (!x)
		return -ENOMEM;
	bool v4 = host_has_v4(&p->host);
	p->cores[idx] = x;
	x->base.ops = &dpdk_ops;
	x->base.mtu = p->info.ip_mtu_tx - (v4 ? IP4_OVERHEAD : IP6_OVERHEAD);
	x->port = p;
	x->idx = idx;
	x->port_id = p->port_id;
	x->queue = idx < p->queues_count ? idx : QUEUE_NONE;
	x->payload_off =
		RTE_PKTMBUF_HEADROOM + GP_INET_ETH_SIZE + (v4 ? IP4_OVERHEAD : IP6_OVERHEAD);
	x->parse_flags = o->skip_udp_checksum ? GP_INET_SKIP_UDP_CHECKSUM : 0;
	return core_memory_take(x, o);
}

static struct rte_ring *ring_create(
	const struct gp_dpdk_port *p, const char *kind, uint32_t from, uint32_t to, uint32_t slots)
{
	char name[RTE_RING_NAMESIZE];
	snprintf(name, sizeof(name), "gp_%s_%u_%u_%u", kind, p->port_id, from, to);
	return rte_ring_create(name, slots, rte_eth_dev_socket_id(p->port_id),
		RING_F_SP_ENQ | RING_F_SC_DEQ | RING_F_EXACT_SZ);
}

// Every core that has a queue may receive for every other; every core without one sends through a
// core that has.
static int rings_create(struct gp_dpdk_port *p, const struct gp_dpdk_port_opts *o)
{
	uint32_t slots = or_default(o->handover_count, HANDOVER_COUNT);
	for (uint32_t from = 0; from < p->queues_count; from++) {
		for (uint32_t to = 0; to < p->cores_count; to++) {
			if (from == to)
				continue;
			struct rte_ring *r = ring_create(p, "rx", from, to, slots);
			if (!r)
				return -ENOMEM;
			p->cores[from]->rx_out[to] = r;
			p->cores[to]->rx_in[from] = r;
		}
	}
	for (uint32_t from = p->queues_count; from < p->cores_count; from++) {
		uint32_t via = from % p->queues_count;
		struct rte_ring *r = ring_create(p, "tx", from, via, slots);
		if (!r)
			return -ENOMEM;
		p->cores[from]->tx_out = r;
		p->cores[via]->tx_in[from] = r;
	}
	return 0;
}

static int port_bring_up(struct gp_dpdk_port *p, const struct gp_dpdk_port_opts *o)
{
	int rc = port_configure(p, o);
	for (uint32_t i = 0; rc == 0 && i < p->cores_count; i++)
		rc = core_create(p, o, (uint16_t)i);
	if (rc == 0)
		rc = rings_create(p, o);
	if (rc == 0)
		rc = port_queues_setup(p, o);
	if (rc == 0)
		rc = port_start(p);
	if (rc == 0 && !o->no_flow_rules)
		port_steer(p);
	return rc;
}

int gp_dpdk_port_create(const struct gp_dpdk_port_opts *opts, struct gp_dpdk_port **port)
{
	uint16_t port_id;
	*port = NULL;
	if (!opts_are_valid(opts))
		return -EINVAL;
	int rc = device_find(opts->name, &port_id);
	if (rc) {
		gp_error("dpdk: no device %s",
			opts->name ? opts->name : "(there must be exactly one)");
		return rc;
	}
	struct gp_dpdk_port *p = rte_zmalloc("gp_port", sizeof(*p), GP_CACHE_LINE);
	if (!p)
		return -ENOMEM;
	p->host = opts->host;
	p->port_id = port_id;
	p->cores_count = opts->cores_count;
	rc = port_bring_up(p, opts);
	if (rc) {
		gp_dpdk_port_destroy(p);
		return rc;
	}
	*port = p;
	return 0;
}

static void ring_drain(struct rte_ring *r)
{
	void *m;
	while (r && rte_ring_sc_dequeue(r, &m) == 0)
		rte_pktmbuf_free(m);
	rte_ring_free(r);
}

static void core_drain(struct gp_xport_dpdk *x)
{
	while (x->tx_head != x->tx_tail)
		rte_pktmbuf_free(x->tx[x->tx_head++ & x->tx_mask]);
	for (uint32_t i = 0; i < GP_DPDK_CORES_MAX; i++) {
		ring_drain(x->rx_in[i]);
		ring_drain(x->tx_in[i]);
	}
}

void gp_dpdk_port_destroy(struct gp_dpdk_port *p)
{
	if (!p)
		return;
	if (p->running && rte_eth_dev_stop(p->port_id))
		gp_warn("dpdk: %s did not stop", p->info.driver);
	for (uint32_t i = 0; i < p->cores_count && p->cores[i]; i++)
		core_drain(p->cores[i]);
	// Descriptors of the driver still point into the pools: it goes first.
	(void)rte_eth_dev_close(p->port_id);
	for (uint32_t i = 0; i < p->cores_count && p->cores[i]; i++) {
		rte_mempool_free(p->cores[i]->tail_pool);
		rte_mempool_free(p->cores[i]->pool);
		rte_free(p->cores[i]->tx);
		rte_free(p->cores[i]);
	}
	rte_free(p);
}

void gp_dpdk_port_info(const struct gp_dpdk_port *port, struct gp_dpdk_port_info *info)
{
	*info = port->info;
}

int gp_dpdk_port_stats(const struct gp_dpdk_port *port, struct gp_dpdk_port_stats *stats)
{
	struct rte_eth_stats s;
	int rc = rte_eth_stats_get(port->port_id, &s);
	if (rc)
		return rc;
	*stats = (struct gp_dpdk_port_stats){
		.rx_packets = s.ipackets,
		.rx_bytes = s.ibytes,
		.rx_missed = s.imissed,
		.rx_errors = s.ierrors,
		.rx_no_mbuf = s.rx_nombuf,
		.tx_packets = s.opackets,
		.tx_bytes = s.obytes,
		.tx_errors = s.oerrors,
	};
	return 0;
}

struct gp_xport_dpdk *gp_dpdk_port_core(struct gp_dpdk_port *port, uint32_t i)
{
	GP_ASSERT(i < port->cores_count);
	return port->cores[i];
}

struct gp_xport *gp_xport_dpdk_base(struct gp_xport_dpdk *x)
{
	return &x->base;
}

void gp_xport_dpdk_stats(const struct gp_xport_dpdk *x, struct gp_xport_dpdk_stats *stats)
{
	const struct core_counters *c = &x->counters;
#define X(name, help) stats->name = atomic_load_explicit(&c->name, memory_order_relaxed);
	GP_XPORT_DPDK_COUNTERS(X)
#undef X
	for (uint32_t i = 0; i < GP_INET_VERDICTS_COUNT; i++)
		stats->verdicts[i] = atomic_load_explicit(&c->verdicts[i], memory_order_relaxed);
}

uint32_t gp_xport_dpdk_frames_free(const struct gp_xport_dpdk *x)
{
	return rte_mempool_avail_count(x->pool);
}
