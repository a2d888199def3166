// SPDX-License-Identifier: BSD-3-Clause
//
// Shared by the files of the DPDK transport: the mbuf layout and the two objects.
//
// An mbuf is [rte_mbuf 128][private area 128: dpdk_frame][headroom 128][data]. A frame and its mbuf
// are one pointer addition apart, and an Ethernet frame received or built for untagged IPv4 starts
// on a cache line.
#ifndef GP_XPORT_DPDK_PRIV_H
#define GP_XPORT_DPDK_PRIV_H

#include <gp_xport_dpdk.h>

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include <stdatomic.h>

struct dpdk_frame {
	struct gp_frame frame;
	// In the mbuf that carries an attached tail: who to tell when it has left.
	struct rte_mbuf_ext_shared_info tail_info;
};

#define DPDK_PRIV_SIZE 128

_Static_assert(sizeof(struct gp_frame) == 64, "one cache line");
_Static_assert(sizeof(struct dpdk_frame) <= DPDK_PRIV_SIZE, "the private area holds it");
_Static_assert(DPDK_PRIV_SIZE % GP_CACHE_LINE == 0, "buffers stay on cache lines");
_Static_assert(sizeof(struct rte_mbuf) == 128, "the frame follows the mbuf");

static inline struct dpdk_frame *dpdk_frame_of(struct rte_mbuf *m)
{
	return (struct dpdk_frame *)(m + 1);
}

static inline struct rte_mbuf *mbuf_of(struct gp_frame *f)
{
	return (struct rte_mbuf *)f - 1;
}

struct core_counters {
#define X(name, help) _Atomic uint64_t name;
	GP_XPORT_DPDK_COUNTERS(X)
#undef X
	_Atomic uint64_t verdicts[GP_INET_VERDICTS_COUNT];
};

// Single writer: a plain load and a plain store, no locked instruction.
static inline void count(_Atomic uint64_t *c, uint64_t n)
{
	atomic_store_explicit(
		c, atomic_load_explicit(c, memory_order_relaxed) + n, memory_order_relaxed);
}

// A device as one core sees it. Where it has a queue of its own it sends by itself (`via` is its
// own index) and, if `polled`, receives; else what it sends goes over a ring to core `via`.
struct core_link {
	struct rte_mbuf **tx; // to be sent: a ring of this core alone
	uint32_t tx_mask;
	uint32_t tx_head;
	uint32_t tx_tail;
	uint32_t tx_stalled; // flushes without progress
	uint16_t port_id;
	uint16_t queue;
	uint16_t via;
	bool polled;
};

struct gp_xport_dpdk {
	struct gp_xport base;
	struct gp_dpdk_port *port;
	struct rte_mempool *pool;
	struct rte_mempool *tail_pool; // mbufs without data, for attached tails
	uint16_t idx;
	uint16_t payload_off;
	uint32_t parse_flags;
	uint32_t poll_turn;
	uint32_t received; // by the last poll
	uint32_t links_count;
	uint32_t polled_count; // of them polled by this core
	bool connected;
	bool pool_shared; // pools are core 0's
	struct gp_addr peer;

	// The last question for an Ethernet address.
	uint8_t asked_ip[16];
	uint8_t asked_mac[6];
	bool answered;

	// Between cores, one producer and one consumer each; NULL where there is nothing to pass.
	struct rte_ring *rx_out[GP_DPDK_CORES_MAX]; // this core writes, core i reads
	struct rte_ring *rx_in[GP_DPDK_CORES_MAX];  // core i writes, this core reads
	struct rte_ring *tx_in[GP_DPDK_CORES_MAX];  // core i writes, this core sends
	struct rte_ring *tx_out[GP_DPDK_CORES_MAX]; // this core writes, core i sends

	// One burst's datagrams for others.
	struct rte_mbuf *staged[GP_DPDK_CORES_MAX][GP_DPDK_BURST];
	uint16_t staged_count[GP_DPDK_CORES_MAX];

	struct core_link links[GP_DPDK_LINKS_MAX];

	GP_ALIGNED(GP_CACHE_LINE) struct core_counters counters;
};

// All but the cores is constant once the port runs.
struct gp_dpdk_port {
	struct gp_inet_host host;     // with service addresses
	struct gp_inet_host unserved; // the same without
	_Atomic bool served;
	struct gp_dpdk_port_info info;
	uint16_t port_ids[GP_DPDK_LINKS_MAX]; // of the links
	uint32_t links_count;
	bool linked;	  // one queue a link, whatever the cores
	uint32_t running; // links, from 0
	uint16_t queues_count;
	uint16_t
		receivers_count; // cores 0..n-1 poll a device, the others are handed what is theirs
	uint32_t cores_count;
	bool any_memory; // the driver copies with the CPU: tails may lie anywhere
	struct gp_xport_dpdk *cores[GP_DPDK_CORES_MAX];
};

// The core that polls link l and sends there for `core`.
uint16_t link_core(const struct gp_dpdk_port *p, uint16_t core, uint32_t l);

// port_setup.c: what one device is told; each 0 or -errno, logged.
int port_configure(
	struct gp_dpdk_port *p, const struct gp_dpdk_port_opts *o, uint32_t link) GP_MUST_CHECK;
int port_queues_setup(
	struct gp_dpdk_port *p, const struct gp_dpdk_port_opts *o, uint32_t link) GP_MUST_CHECK;
int port_start(struct gp_dpdk_port *p, uint32_t link) GP_MUST_CHECK;
// Asks for a flow rule for each core's port; a refusal is logged once.
void port_steer(struct gp_dpdk_port *p);

// send.c
extern const struct gp_xport_ops dpdk_ops;
// Takes over m, a whole Ethernet frame.
void tx_push(struct gp_xport_dpdk *x, uint32_t link, struct rte_mbuf *m);

// Who we are now.
static inline const struct gp_inet_host *dpdk_host(const struct gp_dpdk_port *p)
{
	return atomic_load_explicit(&p->served, memory_order_relaxed) ? &p->host : &p->unserved;
}

#endif
