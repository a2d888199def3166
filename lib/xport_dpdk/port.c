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
	       o->host.port_base + o->cores_count - 1 <= UINT16_MAX &&
	       o->links_count <= GP_DPDK_LINKS_MAX && ip_mtu >= IP_MTU_MIN &&
	       ip_mtu <= IP_MTU_MAX && o->host.addrs_count <= GP_INET_ADDRS_MAX &&
	       o->service_count <= o->host.addrs_count;
}

static int device_find(const char *name, uint16_t *port_id)
{
	if (name)
		return rte_eth_dev_get_port_by_name(name, port_id);
	*port_id = (uint16_t)rte_eth_find_next(0);
	return rte_eth_dev_count_avail() == 1 ? 0 : -ENODEV;
}

// The ids of the links, or of the one device. 0 or -ENODEV, logged.
static int devices_find(struct gp_dpdk_port *p, const struct gp_dpdk_port_opts *o)
{
	p->linked = o->links_count > 0;
	p->links_count = or_default(o->links_count, 1);
	for (uint32_t l = 0; l < p->links_count; l++) {
		const char *name = o->links_count ? o->links[l] : o->name;
		if (device_find(name, &p->port_ids[l]) == 0)
			continue;
		gp_error("dpdk: no device %s", name ? name : "(there must be exactly one)");
		return -ENODEV;
	}
	return 0;
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
	uint16_t port_id = x->port->port_ids[0];
	snprintf(name, sizeof(name), "gp_%s_%u_%u", kind, port_id, x->idx);
	uint32_t cache = GP_MIN((uint32_t)MBUF_CACHE_COUNT, n / 8);
	struct rte_mempool *pool = rte_pktmbuf_pool_create(
		name, n, cache, DPDK_PRIV_SIZE, (uint16_t)room, rte_eth_dev_socket_id(port_id));
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

static uint32_t tx_queue_len(const struct gp_dpdk_port_opts *o)
{
	return (uint32_t)gp_pow2_up(or_default(o->tx_queue_count, TX_QUEUE_COUNT));
}

static int pools_take(struct gp_xport_dpdk *x, const struct gp_dpdk_port_opts *o)
{
	x->pool_shared = o->one_thread && x->idx > 0;
	if (x->pool_shared) {
		x->pool = x->port->cores[0]->pool;
		x->tail_pool = x->port->cores[0]->tail_pool;
		return 0;
	}
	uint32_t ip_mtu = or_default(o->ip_mtu, RTE_ETHER_MTU);
	uint32_t room = RTE_PKTMBUF_HEADROOM + frame_room(x->port, ip_mtu);
	x->pool = pool_create(x, "frames", or_default(o->mbufs_per_core, MBUFS_PER_CORE), room);
	x->tail_pool = pool_create(x, "tails", 2 * tx_queue_len(o), 0);
	return x->pool && x->tail_pool ? 0 : -ENOMEM;
}

uint16_t link_core(const struct gp_dpdk_port *p, uint16_t core, uint32_t l)
{
	if (p->linked)
		return (uint16_t)(l % p->cores_count);
	return core % p->queues_count;
}

static int links_take(struct gp_xport_dpdk *x, const struct gp_dpdk_port_opts *o)
{
	const struct gp_dpdk_port *p = x->port;
	uint32_t len = tx_queue_len(o);
	for (; x->links_count < p->links_count; x->links_count++) {
		uint16_t via = link_core(p, x->idx, x->links_count);
		struct rte_mbuf **tx =
			rte_zmalloc("gp_tx", len * sizeof(struct rte_mbuf *), GP_CACHE_LINE);
		if (!tx)
			return -ENOMEM;
		struct core_link *l = &x->links[x->links_count];
		*l = (struct core_link){
			.tx = tx,
			.tx_mask = len - 1,
			.port_id = p->port_ids[x->links_count],
			.queue = p->linked ? 0 : via,
			.via = o->one_thread ? x->idx : via,
			.polled = via == x->idx,
		};
		x->polled_count += l->polled;
	}
	return 0;
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
	x->payload_off =
		RTE_PKTMBUF_HEADROOM + GP_INET_ETH_SIZE + (v4 ? IP4_OVERHEAD : IP6_OVERHEAD);
	x->parse_flags = (o->skip_udp_checksum ? GP_INET_SKIP_UDP_CHECKSUM : 0u) |
			 (o->optional_udp_checksum ? GP_INET_OPTIONAL_UDP_CHECKSUM : 0u);
	int rc = pools_take(x, o);
	return rc ? rc : links_take(x, o);
}

static struct rte_ring *ring_create(
	const struct gp_dpdk_port *p, const char *kind, uint32_t from, uint32_t to, uint32_t slots)
{
	char name[RTE_RING_NAMESIZE];
	snprintf(name, sizeof(name), "gp_%s_%u_%u_%u", kind, p->port_ids[0], from, to);
	return rte_ring_create(name, slots, rte_eth_dev_socket_id(p->port_ids[0]),
		RING_F_SP_ENQ | RING_F_SC_DEQ | RING_F_EXACT_SZ);
}

// Every core that polls a device may receive for every other; what a core cannot send by itself
// goes to the core that can.
static int rings_create(struct gp_dpdk_port *p, const struct gp_dpdk_port_opts *o)
{
	uint32_t slots = or_default(o->handover_count, HANDOVER_COUNT);
	for (uint32_t from = 0; from < p->receivers_count; from++) {
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
	for (uint32_t from = 0; from < p->cores_count; from++) {
		for (uint32_t l = 0; l < p->links_count; l++) {
			uint32_t via = p->cores[from]->links[l].via;
			if (via == from || p->cores[from]->tx_out[via])
				continue;
			struct rte_ring *r = ring_create(p, "tx", from, via, slots);
			if (!r)
				return -ENOMEM;
			p->cores[from]->tx_out[via] = r;
			p->cores[via]->tx_in[from] = r;
		}
	}
	return 0;
}

static int port_bring_up(struct gp_dpdk_port *p, const struct gp_dpdk_port_opts *o)
{
	int rc = 0;
	for (uint32_t l = 0; rc == 0 && l < p->links_count; l++)
		rc = port_configure(p, o, l);
	p->receivers_count =
		(uint16_t)(p->linked ? GP_MIN(p->links_count, p->cores_count) : p->queues_count);
	for (uint32_t i = 0; rc == 0 && i < p->cores_count; i++)
		rc = core_create(p, o, (uint16_t)i);
	if (rc == 0)
		rc = rings_create(p, o);
	for (uint32_t l = 0; rc == 0 && l < p->links_count; l++)
		rc = port_queues_setup(p, o, l);
	for (uint32_t l = 0; rc == 0 && l < p->links_count; l++)
		rc = port_start(p, l);
	if (rc == 0 && !o->no_flow_rules)
		port_steer(p);
	return rc;
}

// The port has its MAC by now.
static void unserved_fill(struct gp_dpdk_port *p, uint16_t service_count)
{
	p->unserved = p->host;
	p->unserved.addrs_count -= service_count;
	memmove(p->unserved.addrs[0], p->host.addrs[service_count],
		sizeof(p->host.addrs[0]) * p->unserved.addrs_count);
}

void gp_dpdk_port_serve(struct gp_dpdk_port *p, bool served)
{
	atomic_store_explicit(&p->served, served, memory_order_relaxed);
}

int gp_dpdk_port_create(const struct gp_dpdk_port_opts *opts, struct gp_dpdk_port **port)
{
	*port = NULL;
	if (!opts_are_valid(opts))
		return -EINVAL;
	struct gp_dpdk_port *p = rte_zmalloc("gp_port", sizeof(*p), GP_CACHE_LINE);
	if (!p)
		return -ENOMEM;
	int rc = devices_find(p, opts);
	if (rc) {
		rte_free(p);
		return rc;
	}
	p->host = opts->host;
	p->cores_count = opts->cores_count;
	rc = port_bring_up(p, opts);
	if (rc) {
		gp_dpdk_port_destroy(p);
		return rc;
	}
	unserved_fill(p, opts->service_count);
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
	for (uint32_t i = 0; i < x->links_count; i++) {
		struct core_link *l = &x->links[i];
		while (l->tx_head != l->tx_tail)
			rte_pktmbuf_free(l->tx[l->tx_head++ & l->tx_mask]);
	}
	for (uint32_t i = 0; i < GP_DPDK_CORES_MAX; i++) {
		ring_drain(x->rx_in[i]);
		ring_drain(x->tx_in[i]);
	}
}

static void core_free(struct gp_xport_dpdk *x)
{
	if (!x->pool_shared) {
		rte_mempool_free(x->tail_pool);
		rte_mempool_free(x->pool);
	}
	for (uint32_t i = 0; i < x->links_count; i++)
		rte_free(x->links[i].tx);
	rte_free(x);
}

void gp_dpdk_port_destroy(struct gp_dpdk_port *p)
{
	if (!p)
		return;
	for (uint32_t l = 0; l < p->running; l++)
		if (rte_eth_dev_stop(p->port_ids[l]))
			gp_warn("dpdk: %s did not stop", p->info.driver);
	for (uint32_t i = 0; i < p->cores_count && p->cores[i]; i++)
		core_drain(p->cores[i]);
	// Descriptors of the driver still point into the pools: it goes first.
	for (uint32_t l = 0; l < p->links_count; l++)
		(void)rte_eth_dev_close(p->port_ids[l]);
	for (uint32_t i = 0; i < p->cores_count && p->cores[i]; i++)
		core_free(p->cores[i]);
	rte_free(p);
}

void gp_dpdk_port_info(const struct gp_dpdk_port *port, struct gp_dpdk_port_info *info)
{
	*info = port->info;
}

int gp_dpdk_port_stats(const struct gp_dpdk_port *port, struct gp_dpdk_port_stats *stats)
{
	*stats = (struct gp_dpdk_port_stats){0};
	for (uint32_t l = 0; l < port->links_count; l++) {
		struct rte_eth_stats s;
		int rc = rte_eth_stats_get(port->port_ids[l], &s);
		if (rc)
			return rc;
		stats->rx_packets += s.ipackets;
		stats->rx_bytes += s.ibytes;
		stats->rx_missed += s.imissed;
		stats->rx_errors += s.ierrors;
		stats->rx_no_mbuf += s.rx_nombuf;
		stats->tx_packets += s.opackets;
		stats->tx_bytes += s.obytes;
		stats->tx_errors += s.oerrors;
	}
	return 0;
}

bool gp_dpdk_port_link_is_up(const struct gp_dpdk_port *port, uint32_t link)
{
	struct rte_eth_link status = {0};
	GP_ASSERT(link < port->links_count);
	(void)!rte_eth_link_get_nowait(port->port_ids[link], &status);
	return status.link_status == RTE_ETH_LINK_UP;
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
