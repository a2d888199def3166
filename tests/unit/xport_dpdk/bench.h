// SPDX-License-Identifier: BSD-3-Clause
//
// A port whose wires are two rings for each queue (net_ring): the tests put frames in and take out
// what was sent. Each test is a process of its own, so each starts EAL anew.
#ifndef BENCH_H
#define BENCH_H

#include "inet_frames.h"

#include <gp_xport_dpdk.h>

#include <rte_mbuf.h>
#include <rte_ring.h>

#define BENCH_QUEUES_MAX 4
#define BENCH_MBUFS	 512

struct bench {
	struct gp_dpdk_port *port;
	struct gp_xport_dpdk *core[GP_DPDK_CORES_MAX];
	struct rte_mempool *pool;
	struct rte_ring *rx[BENCH_QUEUES_MAX];
	struct rte_ring *tx[BENCH_QUEUES_MAX];
};

struct bench_opts {
	uint16_t cores_count;
	uint16_t queues_count;
	const char *lcores;
	uint32_t wire_count; // slots of each wire; 0 = 1024
	uint32_t handover_count;
	uint32_t tx_queue_count;
	uint32_t mbufs_count;
};

// One lcore, or the map given ("0@0,1@0").
void bench_eal(const char *lcores);
void bench_open(struct bench *b, struct bench_opts o);
// Wires that are devices of one queue each, net_ring_bench0 and so on; no port yet.
void bench_links(struct bench *b, uint16_t count);
// Every frame is back in its pool; ends the port.
void bench_close(struct bench *b);
void wire_put(struct bench *b, uint16_t queue, const struct bytes *frame);
// False when nothing was sent. Frees the mbuf; *segments (may be NULL) says how many it had.
bool wire_get(struct bench *b, uint16_t queue, struct bytes *frame, uint16_t *segments);
struct gp_addr peer_addr(bool v6);
uint64_t verdict_of(struct bench *b, uint32_t core, enum gp_inet_verdict v);
uint64_t verdicts_sum(struct bench *b, uint32_t core);
struct gp_xport_dpdk_stats stats_of(struct bench *b, uint32_t core);
// The frame as the peer parses it: accepted, payload returned.
const uint8_t *peer_parse(const struct bytes *frame, struct gp_inet_packet *p);

#endif
