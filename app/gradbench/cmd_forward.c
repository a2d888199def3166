// SPDX-License-Identifier: BSD-3-Clause
//
// gradbench forward: the load generator of scripts/bench-forward. It sends ICMP echo requests of
// one size to a peer that sends each of them back, so many on the way at once, and counts:
// gradplaned answers them, testpmd in mode macswap turns any frame round. Frames, driver and
// generator are the same for both; what the peer's core took for a packet the peer tells itself.
#include "bench.h"
#include "gradbench.h"

#include <ctype.h>
#include <getopt.h>
#include <gp_inet.h>
#include <gp_xport_dpdk.h>
#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BURST	   32
#define MBUFS	   4096
#define LINK_S	   10
#define QUIET_NS   UINT64_C(1000000000) // without an answer: what is on the way is lost
#define ICMP_AT	   34			// Ethernet, IPv4
#define SIZE_MIN   64
#define IDENTIFIER 0x4750

struct forward {
	const char *device;
	uint64_t packets, window, size, linger_ms;
	uint8_t peer_mac[6], own_mac[6];
	struct rte_mempool *pool;
	uint16_t port;
	uint8_t frame[RTE_MBUF_DEFAULT_DATAROOM];
	uint64_t sent, back, lost, bursts_full, bursts_empty;
	uint64_t ns, cpu_ns;
};

static void put16(uint8_t *at, uint32_t v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
}

// The same for every packet: who answers it writes into it, so each mbuf gets a copy.
static void frame_make(struct forward *b)
{
	static const uint8_t ip[20] = {
		0x45, [8] = 64, [9] = 1, [12] = 10, 99, 0, 250, 10, 99, 0, 1};
	uint8_t *f = b->frame;
	uint32_t icmp_len = (uint32_t)b->size - ICMP_AT;
	memset(f, 0x5a, b->size);
	memcpy(f, b->peer_mac, 6);
	memcpy(f + 6, b->own_mac, 6);
	put16(f + 12, 0x0800);
	memcpy(f + 14, ip, sizeof(ip));
	put16(f + 16, (uint32_t)b->size - 14);
	gp_store16(f + 24, gp_inet_sum_finish(gp_inet_sum(f + 14, 20, 0)));
	memset(f + ICMP_AT, 0, 8);
	f[ICMP_AT] = 8;
	put16(f + ICMP_AT + 4, IDENTIFIER);
	gp_store16(f + ICMP_AT + 2, gp_inet_sum_finish(gp_inet_sum(f + ICMP_AT, icmp_len, 0)));
}

static uint16_t burst_make(struct forward *b, struct rte_mbuf **m, uint64_t want)
{
	uint16_t n = (uint16_t)GP_MIN(want, (uint64_t)BURST);
	if (n == 0 || rte_pktmbuf_alloc_bulk(b->pool, m, n) != 0)
		return 0;
	for (uint16_t i = 0; i < n; i++) {
		memcpy(rte_pktmbuf_mtod(m[i], void *), b->frame, b->size);
		m[i]->data_len = (uint16_t)b->size;
		m[i]->pkt_len = (uint32_t)b->size;
	}
	return n;
}

static void send_some(struct forward *b)
{
	struct rte_mbuf *m[BURST];
	uint64_t under_way = b->sent - b->back - b->lost;
	uint64_t room = b->window > under_way ? b->window - under_way : 0;
	uint16_t n = burst_make(b, m, GP_MIN(room, b->packets - b->sent));
	uint16_t taken = n ? rte_eth_tx_burst(b->port, 0, m, n) : 0;
	b->sent += taken;
	if (taken < n)
		rte_pktmbuf_free_bulk(m + taken, n - taken);
}

// Frames of that size only: the peer also announces itself.
static bool receive_some(struct forward *b)
{
	struct rte_mbuf *m[BURST];
	uint16_t n = rte_eth_rx_burst(b->port, 0, m, BURST);
	uint64_t back = b->back;
	for (uint16_t i = 0; i < n; i++)
		b->back += m[i]->pkt_len == b->size && b->back + b->lost < b->sent;
	rte_pktmbuf_free_bulk(m, n);
	b->bursts_full += n > 0;
	b->bursts_empty += n == 0;
	return b->back > back;
}

static void packets_run(struct forward *b)
{
	uint64_t begin = bench_wall_ns(), heard = begin, cpu = bench_cpu_ns();
	while (b->back + b->lost < b->packets) {
		send_some(b);
		uint64_t now = bench_wall_ns();
		if (receive_some(b)) {
			heard = now;
		} else if (now - heard > QUIET_NS) {
			b->lost = b->sent - b->back;
			heard = now;
			if (b->back == 0)
				break;
		} else {
			(void)sched_yield();
		}
	}
	b->ns = bench_wall_ns() - begin;
	b->cpu_ns = bench_cpu_ns() - cpu;
}

static int port_open(struct forward *b)
{
	struct rte_eth_conf conf = {0};
	struct rte_ether_addr mac;
	char name[64];
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(b->device, ","), b->device);
	b->pool = rte_pktmbuf_pool_create(
		"forward", MBUFS, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE, (int)rte_socket_id());
	int rc = b->pool ? rte_eth_dev_get_port_by_name(name, &b->port) : -1;
	if (rc == 0)
		rc = rte_eth_dev_configure(b->port, 1, 1, &conf);
	if (rc == 0)
		rc = rte_eth_rx_queue_setup(b->port, 0, 512, rte_socket_id(), NULL, b->pool);
	if (rc == 0)
		rc = rte_eth_tx_queue_setup(b->port, 0, 512, rte_socket_id(), NULL);
	if (rc == 0)
		rc = rte_eth_dev_start(b->port);
	if (rc == 0)
		rc = rte_eth_macaddr_get(b->port, &mac);
	if (rc == 0)
		memcpy(b->own_mac, mac.addr_bytes, 6);
	return rc;
}

static bool link_await(const struct forward *b)
{
	uint64_t end = bench_wall_ns() + LINK_S * UINT64_C(1000000000);
	struct rte_eth_link link = {0};
	do
		(void)!rte_eth_link_get_nowait(b->port, &link);
	while (link.link_status == RTE_ETH_LINK_DOWN && bench_wall_ns() < end);
	return link.link_status != RTE_ETH_LINK_DOWN;
}

static int bench_run(struct forward *b)
{
	char prefix[32];
	snprintf(prefix, sizeof(prefix), "gradbench-%d", (int)getpid());
	const char *const devices[] = {b->device, NULL};
	const char *const extra[] = {"--single-file-segments", NULL};
	const struct gp_dpdk_eal_opts o = {.program = "gradbench",
		.file_prefix = prefix,
		.memory_mib = 64,
		.no_huge = true,
		.no_pci = true,
		.vdevs = devices,
		.extra = extra};
	if (gp_dpdk_eal_init(&o) != 0)
		return EXIT_FAILED;
	int rc = port_open(b);
	if (rc == 0 && !link_await(b))
		rc = -1;
	if (rc != 0) {
		fprintf(stderr, "gradbench: %s does not start or has no link\n", b->device);
		gp_dpdk_eal_fini();
		return EXIT_FAILED;
	}
	frame_make(b);
	packets_run(b);
	printf("{\"bench\":\"forward\",\"packets\":%lu,\"size\":%lu,\"window\":%lu,\"back\":%lu,"
	       "\"lost\":%lu,\"mpps\":%.4f,\"ns\":%lu,\"empty_polls\":%.3f,\"cores\":%.3f}\n",
		b->sent, b->size, b->window, b->back, b->lost,
		1e3 * (double)b->back / (double)b->ns, b->ns,
		(double)b->bursts_empty / (double)(b->bursts_empty + b->bursts_full + 1),
		(double)b->cpu_ns / (double)b->ns);
	fflush(stdout);
	// A peer may forget its counters when the link ends.
	rte_delay_us_sleep((unsigned)b->linger_ms * 1000);
	(void)rte_eth_dev_stop(b->port);
	(void)rte_eth_dev_close(b->port);
	gp_dpdk_eal_fini();
	return b->back > 0 ? EXIT_OK : EXIT_FAILED;
}

static int usage(FILE *to)
{
	fprintf(to, "usage: gradbench forward --device DEVARGS [OPTION...]\n\n"
		    "  --device DEVARGS  of DPDK: net_memif0,role=client,socket=...\n"
		    "  --peer-mac MAC    where frames go (default ff:ff:ff:ff:ff:ff)\n"
		    "  --packets N       (default 1000000)\n"
		    "  --size N          of a frame, 64..2048 (default 1450)\n"
		    "  --window N        frames on the way at once, 1..1024 (default 64)\n"
		    "  --linger-ms N     keep the link so long afterwards\n\n"
		    "Sends ICMP echo requests to 10.99.0.1 and counts what comes back. "
		    "empty_polls: the\n"
		    "share of polls that found nothing, the headroom of this side. One line of "
		    "JSON.\n");
	return to == stdout ? EXIT_OK : EXIT_USAGE;
}

static bool mac_parse(const char *text, uint8_t mac[6])
{
	for (uint32_t i = 0; i < 6; i++) {
		char *end;
		unsigned long v = strtoul(text, &end, 16);
		bool digits = isxdigit((unsigned char)text[0]) && end - text <= 2;
		if (!digits || *end != (i < 5 ? ':' : '\0'))
			return false;
		mac[i] = (uint8_t)v;
		text = end + 1;
	}
	return true;
}

static int forward_run(int argc, char **argv)
{
	static const struct option longs[] = {
		{"device", required_argument, NULL, 'd'},
		{"peer-mac", required_argument, NULL, 'm'},
		{"packets", required_argument, NULL, 'p'},
		{"size", required_argument, NULL, 's'},
		{"window", required_argument, NULL, 'w'},
		{"linger-ms", required_argument, NULL, 'l'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	static struct forward b = {.packets = 1000000,
		.window = 64,
		.size = 1450,
		.peer_mac = {255, 255, 255, 255, 255, 255}};
	bool ok = true;
	int c;
	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (c == 'h')
			return usage(stdout);
		if (c == 'd')
			b.device = optarg;
		else if (c == 'm')
			ok = ok && mac_parse(optarg, b.peer_mac);
		else if (c == 'p')
			ok = ok && bench_number(optarg, UINT64_C(1) << 40, &b.packets);
		else if (c == 's')
			ok = ok && bench_number(optarg, 2048, &b.size) && b.size >= SIZE_MIN;
		else if (c == 'w')
			ok = ok && bench_number(optarg, 1024, &b.window);
		else if (c == 'l')
			ok = ok && bench_number(optarg, 60000, &b.linger_ms);
		else
			return usage(stderr);
	}
	return optind < argc || !b.device || !ok ? usage(stderr) : bench_run(&b);
}

const struct command command_forward = {.name = "forward",
	.help = "load generator: echo requests over a device of DPDK",
	.run = forward_run};
