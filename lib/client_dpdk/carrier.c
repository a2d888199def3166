// SPDX-License-Identifier: BSD-3-Clause
//
// A client over a device of DPDK: lane i is core i of a client's port, so it sends from UDP port
// `port` + i. Who has the server's address is asked on the link (ARP, neighbour discovery) and
// heard again when the server announces itself, after a takeover. Nothing waits in the kernel: a
// wait is a turn given to others.
#include "client_dpdk_priv.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define ASK_NS	      UINT64_C(20000000)
#define PORT_FIRST    20000
#define PORTS	      40000
#define YIELD_LONG_NS 1500	       // a yield that took longer let somebody else run
#define YIELD_EVERY   16	       // waits, while nobody else wants the CPU
#define SPIN_NS	      UINT64_C(200000) // without a datagram, then it sleeps between polls
#define SLEEP_NS      UINT64_C(20000)
#define TX_QUEUE      512

struct carrier {
	struct gp_carrier base;
	struct cd_args args;
	struct gp_dpdk_port *port; // of this session
	uint32_t lanes_max;
	struct gp_addr next_hop; // whose Ethernet address is wanted
	uint8_t mac[6];
	bool resolved;
	bool heard; // the server has answered this session
	uint64_t ask_at;
	uint32_t waits;
	uint64_t idle_since; // 0: something came since the last wait
	bool zero_copy;	     // in this session
	bool shared;	     // somebody else wants this CPU
	uint32_t lanes_count;
	struct gp_addr peers[GP_DPDK_CORES_MAX];
	struct gp_xport_dpdk *lanes[GP_DPDK_CORES_MAX];
};

static const struct gp_carrier_ops carrier_ops;

static struct carrier *carrier_of(struct gp_carrier *c)
{
	return (struct carrier *)c;
}

static uint64_t now_ns(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static uint16_t port_choose(const struct cd_args *a)
{
	uint16_t v = 0;
	if (a->port)
		return (uint16_t)a->port;
	if (getrandom(&v, sizeof(v), 0) != (ssize_t)sizeof(v))
		v = (uint16_t)now_ns();
	return (uint16_t)(PORT_FIRST + v % PORTS);
}

static int port_open(struct carrier *c)
{
	static const struct gp_addr none;
	const struct cd_args *a = &c->args;
	struct gp_dpdk_port_opts o = {
		.name = a->name,
		.cores_count = c->lanes_max,
		.ip_mtu = a->mtu,
		.mbufs_per_core = a->frames,
		.tx_queue_count = TX_QUEUE,
		.one_thread = true,
		.no_flow_rules = true,
		.zero_copy = c->zero_copy,
		.optional_udp_checksum = a->no_checksum,
		.host = {.vlan = (uint16_t)a->vlan, .port_base = port_choose(a), .addrs_count = 1},
	};
	o.host.ports_count = (uint16_t)o.cores_count;
	memcpy(o.host.addrs[0], a->ip.ip, 16);
	if (memcmp(a->ip6.ip, none.ip, 16) != 0)
		memcpy(o.host.addrs[o.host.addrs_count++], a->ip6.ip, 16);
	return gp_dpdk_port_create(&o, &c->port);
}

static int carrier_open(struct gp_carrier **out, const struct gp_carrier_opts *opts,
	char text[GP_CARRIER_TEXT_SIZE])
{
	static _Atomic uint32_t opened;
	struct carrier *c = calloc(1, sizeof(*c));
	if (!c) {
		(void)snprintf(text, GP_CARRIER_TEXT_SIZE, "no memory");
		return -ENOMEM;
	}
	c->base.ops = &carrier_ops;
	c->lanes_max = GP_MIN(opts->lanes_max, (uint32_t)GP_DPDK_CORES_MAX);
	int rc = cd_args_parse(&c->args, opts, atomic_fetch_add(&opened, 1), text);
	if (rc == 0)
		rc = cd_environment_start(&c->args, text);
	if (rc) {
		free(c);
		return rc;
	}
	*out = &c->base;
	return 0;
}

static void carrier_close(struct gp_carrier *base)
{
	struct carrier *c = carrier_of(base);
	GP_ASSERT(c->lanes_count == 0 && !c->port);
	free(c);
}

// ---- device and port: of one session, since a memif does not connect again by itself

static bool is_memif(const struct carrier *c)
{
	return c->args.sharer[0] != '\0';
}

static void nobody_shares(const struct carrier *c, char text[GP_CARRIER_TEXT_SIZE])
{
	(void)snprintf(text, GP_CARRIER_TEXT_SIZE,
		"memif %.110s is not connected; is gradplaned running with port.driver memif "
		"there, and has it a link of this id (port.links) that nobody else uses?",
		c->args.sharer);
}

// net_memif closes the files of EAL's memory when a zero-copy link ends (seen with DPDK 22.11), so
// a process can have only one such link in its life. Later ones copy.
static bool zero_copy_is_left(bool use)
{
	static _Atomic bool used;
	return use ? !atomic_exchange(&used, true) : !atomic_load(&used);
}

static int device_add(struct carrier *c, char text[GP_CARRIER_TEXT_SIZE])
{
	char devargs[CD_DEVARGS_SIZE + 32];
	c->zero_copy = c->args.zero_copy && zero_copy_is_left(false);
	snprintf(devargs, sizeof(devargs), "%s%s", c->args.devargs,
		c->zero_copy ? ",zero-copy=yes" : "");
	int rc = gp_dpdk_device_add(devargs);
	if (rc)
		(void)snprintf(text, GP_CARRIER_TEXT_SIZE,
			"DPDK does not take the device %.150s: %s", devargs, strerror(-rc));
	return rc;
}

static int device_open(struct carrier *c, char text[GP_CARRIER_TEXT_SIZE])
{
	if (is_memif(c) && access(c->args.sharer, F_OK) != 0) {
		nobody_shares(c, text);
		return -ECONNREFUSED;
	}
	int rc = device_add(c, text);
	if (rc)
		return rc;
	rc = port_open(c);
	if (rc == 0) {
		c->zero_copy = c->zero_copy && zero_copy_is_left(true);
		return 0;
	}
	gp_dpdk_device_remove(c->args.devargs);
	if (is_memif(c) && rc == -EPERM) { // what the driver says when nobody listens
		nobody_shares(c, text);
		return -ECONNREFUSED;
	}
	(void)snprintf(text, GP_CARRIER_TEXT_SIZE,
		"the port %s does not start: %s (the lines above say why)", c->args.name,
		strerror(-rc));
	return rc;
}

static void device_close(struct carrier *c)
{
	if (!c->port)
		return;
	gp_dpdk_port_destroy(c->port);
	gp_dpdk_device_remove(c->args.devargs);
	c->port = NULL;
}

// ---- the server's Ethernet address

static void lane_connect(struct carrier *c, uint32_t lane)
{
	memcpy(c->peers[lane].mac, c->mac, 6);
	c->peers[lane].vlan = (uint16_t)c->args.vlan;
	gp_xport_dpdk_connect(c->lanes[lane], &c->peers[lane]);
}

static void resolve(struct carrier *c)
{
	uint8_t mac[6];
	if (gp_xport_dpdk_answered(c->lanes[0], mac) &&
		(!c->resolved || memcmp(mac, c->mac, 6) != 0)) {
		memcpy(c->mac, mac, 6);
		c->resolved = true;
		for (uint32_t i = 0; i < c->lanes_count; i++)
			lane_connect(c, i);
	}
	uint64_t now = c->resolved ? 0 : now_ns();
	if (c->resolved || now < c->ask_at)
		return;
	gp_xport_dpdk_ask(c->lanes[0], c->next_hop.ip);
	c->ask_at = now + ASK_NS;
}

static bool family_fits(const struct carrier *c, const struct gp_addr *server)
{
	bool v4 = gp_addr_is_v4(server);
	return is_memif(c) ||
	       (gp_addr_is_v4(&c->args.ip) == v4 &&
		       (!c->args.has_gateway || gp_addr_is_v4(&c->args.gateway) == v4));
}

static void next_hop_set(struct carrier *c, const struct gp_addr *server)
{
	c->next_hop = c->args.has_gateway ? c->args.gateway : *server;
	c->resolved = c->args.has_server_mac;
	c->heard = false;
	c->ask_at = 0;
	memcpy(c->mac, c->args.server_mac, 6);
	if (!c->resolved)
		gp_xport_dpdk_ask(c->lanes[0], c->next_hop.ip);
}

static struct gp_xport *carrier_lane_open(struct gp_carrier *base, uint32_t lane,
	const struct gp_addr *server, char text[GP_CARRIER_TEXT_SIZE])
{
	struct carrier *c = carrier_of(base);
	GP_ASSERT(lane == c->lanes_count && lane < c->lanes_max);
	int rc = 0;
	if (!family_fits(c, server)) {
		(void)snprintf(text, GP_CARRIER_TEXT_SIZE,
			"ip= and gateway= must be of its family, IPv%c",
			gp_addr_is_v4(server) ? '4' : '6');
		rc = -EAFNOSUPPORT;
	}
	if (rc == 0 && c->args.no_checksum && !gp_addr_is_v4(server)) {
		(void)snprintf(text, GP_CARRIER_TEXT_SIZE,
			"checksum=none is for IPv4: IPv6 demands a checksum of every datagram");
		rc = -EAFNOSUPPORT;
	}
	if (rc == 0 && lane == 0)
		rc = device_open(c, text);
	if (rc) {
		errno = -rc;
		return NULL;
	}
	c->lanes[lane] = gp_dpdk_port_core(c->port, lane);
	c->peers[lane] = *server;
	c->peers[lane].flags = c->args.no_checksum ? GP_ADDR_NO_CHECKSUM : 0;
	if (lane == 0)
		next_hop_set(c, server);
	c->lanes_count++;
	lane_connect(c, lane);
	return gp_xport_dpdk_base(c->lanes[lane]);
}

static void carrier_lanes_close(struct gp_carrier *base)
{
	struct carrier *c = carrier_of(base);
	c->lanes_count = 0;
	device_close(c);
}

// ---- datagrams

// As a connected socket: what others send is nobody's.
static uint32_t carrier_poll(
	struct gp_carrier *base, uint32_t lane, struct gp_frame **frames, uint32_t max)
{
	struct carrier *c = carrier_of(base);
	if (lane == 0 && (!c->resolved || !c->args.has_server_mac))
		resolve(c);
	uint32_t n = gp_xport_dpdk_poll(c->lanes[lane], frames, max);
	uint32_t kept = 0;
	if (n > 0)
		c->idle_since = 0;
	for (uint32_t i = 0; i < n; i++) {
		if (gp_addr_equal(&frames[i]->peer, &c->peers[lane])) {
			frames[kept++] = frames[i];
			c->heard = true;
			continue;
		}
		struct gp_xport *x = gp_xport_dpdk_base(c->lanes[lane]);
		x->ops->release(x, frames[i]);
	}
	return kept;
}

static uint32_t carrier_flush(struct gp_carrier *base, uint32_t lane)
{
	return gp_xport_dpdk_flush(carrier_of(base)->lanes[lane]);
}

// Nothing here wakes a poll(2). The CPU goes to others at once while they use it, else only now and
// then: a yield that nobody took costs as much as two polls. When nothing has come for long the
// caller sleeps a little between polls.
static uint32_t carrier_fds(struct gp_carrier *base, struct pollfd *fds, uint64_t *ns)
{
	struct carrier *c = carrier_of(base);
	(void)fds;
	uint64_t most = 0;
	if (*ns > 0 && (c->shared || ++c->waits % YIELD_EVERY == 0)) {
		uint64_t from = now_ns();
		if (c->idle_since == 0)
			c->idle_since = from;
		(void)sched_yield();
		c->shared = now_ns() - from > YIELD_LONG_NS;
		most = from - c->idle_since > SPIN_NS ? SLEEP_NS : 0;
	}
	*ns = GP_MIN(*ns, most);
	return 0;
}

static bool carrier_trouble(const struct gp_carrier *base, char text[GP_CARRIER_TEXT_SIZE])
{
	const struct carrier *c = (const struct carrier *)base;
	char next_hop[GP_ADDR_TEXT_SIZE];
	if (c->port && !gp_dpdk_port_link_is_up(c->port, 0)) {
		if (is_memif(c))
			nobody_shares(c, text);
		else
			(void)snprintf(
				text, GP_CARRIER_TEXT_SIZE, "%.120s has no link", c->args.name);
		return true;
	}
	bool refused = c->resolved && !c->heard && c->args.no_checksum;
	if (refused)
		(void)snprintf(text, GP_CARRIER_TEXT_SIZE,
			"with checksum=none it must have port.udp_checksum: optional, else it "
			"refuses (and counts) what this worker sends");
	if (c->resolved)
		return refused;
	gp_addr_format(&c->next_hop, next_hop);
	(void)snprintf(text, GP_CARRIER_TEXT_SIZE,
		"nobody on %s says that he has the address %s (ARP or neighbour discovery)",
		c->args.name, next_hop);
	return true;
}

static const struct gp_carrier_ops carrier_ops = {
	.open = carrier_open,
	.close = carrier_close,
	.lane_open = carrier_lane_open,
	.lanes_close = carrier_lanes_close,
	.poll = carrier_poll,
	.flush = carrier_flush,
	.fds = carrier_fds,
	.trouble = carrier_trouble,
};

__attribute__((visibility("default"))) const struct gp_carrier_ops *gp_carrier_list(
	const char *name, uint32_t *abi)
{
	*abi = GP_CARRIER_ABI;
	bool known = strcmp(name, "memif") == 0 || strcmp(name, "dpdk") == 0;
	return known ? &carrier_ops : NULL;
}
