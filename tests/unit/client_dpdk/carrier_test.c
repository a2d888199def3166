// SPDX-License-Identifier: BSD-3-Clause
//
// A carrier against a server's port, two ends of a memif in one process.
#include <criterion/criterion.h>

#include "client_dpdk_priv.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define BURST	   32
#define LANES	   3
#define PORT	   9700
#define DEADLINE_S 20

struct rig {
	char socket[64], server_device[192], args[160];
	struct gp_carrier *carrier;
	struct gp_dpdk_port *port;
	struct gp_xport *lanes[LANES];
	uint32_t answered;
};

static const uint8_t server_ip[16] = {[10] = 0xff, 0xff, 10, 0, 0, 1};
static char text[GP_CARRIER_TEXT_SIZE];

static const struct gp_carrier_ops *ops_find(void)
{
	uint32_t abi = 0;
	const struct gp_carrier_ops *ops = gp_carrier_list("memif", &abi);
	cr_assert_eq(abi, GP_CARRIER_ABI);
	cr_assert_not_null(ops);
	cr_assert_null(gp_carrier_list("pigeon", &abi));
	return ops;
}

static void carrier_open(struct rig *r, const char *more)
{
	snprintf(r->socket, sizeof(r->socket), "/tmp/gp_unit_%d.sock", (int)getpid());
	snprintf(r->args, sizeof(r->args), "%s,zero-copy=no,huge=off%s", r->socket, more);
	const struct gp_carrier_opts o = {.name = "memif", .args = r->args, .lanes_max = 32};
	int rc = ops_find()->open(&r->carrier, &o, text);
	cr_assert_eq(rc, 0, "%s", text);
}

static void carrier_end(struct rig *r)
{
	r->carrier->ops->lanes_close(r->carrier);
	r->carrier->ops->close(r->carrier);
	unlink(r->socket);
}

static void server_open(struct rig *r)
{
	snprintf(r->server_device, sizeof(r->server_device),
		"net_memif9,role=server,socket-abstract=no,socket=%s", r->socket);
	cr_assert_eq(gp_dpdk_device_add(r->server_device), 0);
	struct gp_dpdk_port_opts o = {.name = "net_memif9",
		.cores_count = LANES,
		.mbufs_per_core = 1024,
		.one_thread = true,
		.host = {.port_base = PORT, .ports_count = LANES, .addrs_count = 1}};
	memcpy(o.host.addrs[0], server_ip, 16);
	cr_assert_eq(gp_dpdk_port_create(&o, &r->port), 0);
}

static void server_close(struct rig *r)
{
	gp_dpdk_port_destroy(r->port);
	gp_dpdk_device_remove(r->server_device);
}

// The server sends back what it gets, core 0 first: it receives for all.
static void server_turn(struct rig *r)
{
	struct gp_frame *in[BURST];
	for (uint32_t i = 0; i < LANES; i++) {
		struct gp_xport_dpdk *core = gp_dpdk_port_core(r->port, i);
		uint32_t n = gp_xport_dpdk_poll(core, in, BURST);
		for (uint32_t k = 0; k < n; k++) {
			gp_xport_dpdk_base(core)->ops->send(gp_xport_dpdk_base(core), in[k]);
			r->answered++;
		}
		gp_xport_dpdk_flush(core);
	}
}

static struct gp_addr server_addr(uint32_t lane)
{
	struct gp_addr a = {.port = (uint16_t)(PORT + lane)};
	memcpy(a.ip, server_ip, 16);
	return a;
}

static void lane_open(struct rig *r, uint32_t lane, const struct gp_addr *server)
{
	r->lanes[lane] = r->carrier->ops->lane_open(r->carrier, lane, server, text);
	cr_assert_not_null(r->lanes[lane], "%s", text);
}

static void lane_send(struct rig *r, uint32_t lane, uint32_t value)
{
	struct gp_xport *x = r->lanes[lane];
	struct gp_frame *f = x->ops->alloc(x);
	cr_assert_not_null(f);
	gp_store32(f->data, value);
	f->len = 4;
	x->ops->send(x, f);
	r->carrier->ops->flush(r->carrier, lane);
}

// True when `value` came back on the lane.
static bool lane_take(struct rig *r, uint32_t lane, uint32_t value)
{
	struct gp_frame *in[BURST];
	bool seen = false;
	for (uint32_t l = 0; l <= lane; l++) {
		uint32_t n = r->carrier->ops->poll(r->carrier, l, in, BURST);
		for (uint32_t k = 0; k < n; k++) {
			seen |= l == lane && gp_load32(in[k]->data) == value;
			r->lanes[l]->ops->release(r->lanes[l], in[k]);
		}
	}
	return seen;
}

// Sends until it comes back: the first ones may leave before link and address are known.
static void exchange(struct rig *r, uint32_t lane)
{
	time_t end = time(NULL) + DEADLINE_S;
	for (uint32_t value = 1; time(NULL) < end; value++) {
		lane_send(r, lane, value);
		for (int i = 0; i < 100; i++) {
			server_turn(r);
			if (lane_take(r, lane, value))
				return;
			uint64_t ns = 1000;
			cr_assert_eq(r->carrier->ops->fds(r->carrier, NULL, &ns), 0);
			cr_assert_leq(ns, 1000);
		}
	}
	cr_assert_fail("nothing came back");
}

// net_memif takes a link down on a thread of its own and must not be polled meanwhile: in a process
// that has both ends that is not rare.
static void link_end_await(const struct rig *r)
{
	time_t end = time(NULL) + DEADLINE_S;
	while (gp_dpdk_port_link_is_up(r->port, 0) && time(NULL) < end)
		sched_yield();
	cr_assert_not(gp_dpdk_port_link_is_up(r->port, 0));
}

Test(carrier, datagrams_go_and_come_on_every_lane)
{
	struct rig r = {0};
	carrier_open(&r, "");
	server_open(&r);
	for (uint32_t session = 0; session < 2; session++) {
		for (uint32_t lane = 0; lane < LANES; lane++) {
			struct gp_addr server = server_addr(lane);
			lane_open(&r, lane, &server);
			exchange(&r, lane);
		}
		cr_assert_not(r.carrier->ops->trouble(r.carrier, text), "%s", text);
		r.carrier->ops->lanes_close(r.carrier);
		link_end_await(&r);
	}
	server_close(&r);
	carrier_end(&r);
}

Test(carrier, what_is_not_from_the_server_is_nobodys)
{
	struct rig r = {0};
	struct gp_addr other = server_addr(1);
	carrier_open(&r, ",port=30000");
	server_open(&r);
	other.port = PORT + 1; // answers of core 0 have another port
	lane_open(&r, 0, &other);
	struct gp_addr client = {.ip = {[10] = 0xff, 0xff, 169, 254, 1, 1}, .port = 30000};
	exchange(&r, 0);
	struct gp_dpdk_port_info info;
	gp_dpdk_port_info(r.port, &info);
	// The right core answers, then the wrong one; only the first is heard.
	for (uint32_t round = 0; round < 100; round++) {
		struct gp_xport *wrong = gp_xport_dpdk_base(gp_dpdk_port_core(r.port, 0));
		struct gp_frame *f = wrong->ops->alloc(wrong);
		gp_store32(f->data, 4711);
		f->len = 4;
		f->peer = client;
		memset(f->peer.mac, 0xff, 6);
		wrong->ops->send(wrong, f);
		server_turn(&r);
		cr_assert_not(lane_take(&r, 0, 4711));
	}
	server_close(&r);
	carrier_end(&r);
}

Test(carrier, trouble_has_a_name)
{
	struct rig r = {0};
	struct gp_addr server = server_addr(0);
	carrier_open(&r, "");
	cr_assert_null(r.carrier->ops->lane_open(r.carrier, 0, &server, text));
	cr_assert_eq(errno, ECONNREFUSED);
	cr_assert(strstr(text, "is not connected"), "%s", text);
	server_open(&r);
	lane_open(&r, 0, &server);
	exchange(&r, 0);
	cr_assert_not(r.carrier->ops->trouble(r.carrier, text));
	// The server ends and leaves its socket, then there is a new one.
	server_close(&r);
	time_t end = time(NULL) + DEADLINE_S;
	while (!r.carrier->ops->trouble(r.carrier, text) && time(NULL) < end)
		sched_yield();
	cr_assert(strstr(text, "is not connected"), "%s", text);
	r.carrier->ops->lanes_close(r.carrier);
	server_open(&r);
	lane_open(&r, 0, &server);
	exchange(&r, 0);
	server_close(&r);
	carrier_end(&r);
}

Test(carrier, trouble_with_a_device_has_a_name)
{
	struct gp_carrier *c;
	struct gp_addr server = server_addr(0);
	const struct gp_carrier_opts o = {
		.name = "dpdk", .args = "net_none0,ip=10.0.0.2,huge=off", .lanes_max = 1};
	cr_assert_eq(ops_find()->open(&c, &o, text), 0, "%s", text);
	cr_assert_null(c->ops->lane_open(c, 0, &server, text));
	cr_assert(strstr(text, "net_none0"), "%s", text);
	c->ops->close(c);
	const struct gp_carrier_opts bad = {.name = "dpdk", .args = "net_none0", .lanes_max = 1};
	cr_assert_eq(ops_find()->open(&c, &bad, text), -EINVAL);

	// A device that nobody answers on.
	const struct gp_carrier_opts mute = {
		.name = "dpdk", .args = "net_null0,ip=10.0.0.2", .lanes_max = 1};
	cr_assert_eq(ops_find()->open(&c, &mute, text), 0, "%s", text);
	cr_assert_not_null(c->ops->lane_open(c, 0, &server, text), "%s", text);
	cr_assert(c->ops->trouble(c, text));
	cr_assert(strstr(text, "10.0.0.1"), "%s", text);
	c->ops->lanes_close(c);
	c->ops->close(c);
}
