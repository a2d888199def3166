// SPDX-License-Identifier: BSD-3-Clause
//
// The engine and the polled cores of a node.
#include "gradplaned.h"
#include "job_config.h"

#include <gp_log.h>
#include <gp_watch.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define LOWER_HEADERS 48 // IPv6 and UDP: what a payload is reckoned without
#define HELLO_RATE    2000
#define US	      UINT64_C(1000)

uint32_t node_job_idx(const struct node *n, uint16_t id)
{
	uint32_t i = 0;
	while (i < n->cfg.jobs_count && n->cfg.jobs[i].id != id)
		i++;
	GP_ASSERT(i < n->cfg.jobs_count);
	return i;
}

// Names the job whose memory it is: tables are taken in one piece of memory_max.
static void *memory_take(void *arg, size_t size)
{
	const struct node *n = arg;
	void *mem = gp_dpdk_mem_take(size, -1);
	const char *job = "none";
	for (uint32_t i = 0; !mem && i < n->cfg.jobs_count; i++)
		if (n->cfg.jobs[i].memory_max == size)
			job = n->cfg.jobs[i].name;
	if (!mem)
		gp_error("no memory for %zu MiB in one piece (job %s; a replica takes memory_max "
			 "twice): reduce jobs[].memory_max or give the machine more",
			size >> 20, job);
	return mem;
}

static void memory_give(void *arg, void *mem)
{
	(void)arg;
	gp_dpdk_mem_give(mem);
}

static int engine_up(struct node *n)
{
	const struct gp_config *c = &n->cfg;
	struct gp_xport *xports[GP_DPDK_CORES_MAX];
	struct gp_job_config *jobs = calloc(c->jobs_count, sizeof(*jobs));
	if (!jobs)
		return -ENOMEM;
	for (uint32_t i = 0; i < c->jobs_count; i++)
		job_config_fill(&jobs[i], &c->jobs[i], c);
	for (uint32_t i = 0; i < c->cores.count; i++)
		xports[i] = gp_xport_dpdk_base(gp_dpdk_port_core(n->port, i));
	struct gp_engine_config e = {
		.cores_count = c->cores.count,
		.base_port = (uint16_t)c->cores.udp_port,
		.epoch = n->epoch,
		.sessions_max = c->limits.sessions,
		.ring_size = c->cores.ring_size,
		.payload_max = GP_MIN(c->port.mtu, n->port_info.ip_mtu_tx) - LOWER_HEADERS,
		.standby = c->node.role == GP_ROLE_REPLICA,
		.hello_rate = HELLO_RATE,
		.flight_cells = c->recorder.mode == GP_RECORDER_OFF ? 0 : c->recorder.cells,
		.flight_payloads = c->recorder.mode == GP_RECORDER_PAYLOADS,
		.jobs_count = c->jobs_count,
		.jobs = jobs,
		.take = memory_take,
		.give = memory_give,
		.mem_arg = n,
	};
	gp_cookie_key_init(&e.cookie_key);
	gp_secure_random(&e.seed, sizeof(e.seed));
	int rc = gp_engine_create(&n->engine, &e, xports);
	free(jobs);
	if (rc == 0)
		n->registrar = gp_engine_registrar(n->engine);
	return rc;
}

static void lcore_fill(struct node *n, uint32_t i)
{
	const struct gp_config_cores *c = &n->cfg.cores;
	struct lcore *l = &n->lcores[i];
	l->node = n;
	l->idx = i;
	l->burst = GP_MIN(c->burst, (uint32_t)GP_ENGINE_BURST_MAX);
	l->sleep_ns_max = c->poll == GP_POLL_ADAPTIVE ? c->idle_sleep_max_us * US : 0;
	l->xport = gp_dpdk_port_core(n->port, i);
	l->core = gp_engine_core(n->engine, i);
}

static void lcores_stop(struct node *n)
{
	atomic_store_explicit(&n->run, false, memory_order_relaxed);
	for (uint32_t i = 0; i < n->lcores_running; i++)
		gp_dpdk_lcore_wait(n->lcores[i].id);
	n->lcores_running = 0;
}

static int lcores_start(struct node *n)
{
	atomic_store_explicit(&n->run, true, memory_order_relaxed);
	for (uint32_t i = 0; i < n->cfg.cores.count; i++) {
		lcore_fill(n, i);
		int rc = gp_dpdk_lcore_launch(n->lcores[i].id, lcore_run, &n->lcores[i]);
		if (rc != 0) {
			lcores_stop(n);
			return rc;
		}
		n->lcores_running++;
	}
	return 0;
}

// All addresses with the port of core 0.
static void addresses_format(const struct gp_config *c, char *text, size_t size)
{
	size_t len = 0;
	uint32_t v4 = c->address.ipv4.present;
	text[0] = '\0';
	for (uint32_t i = 0; i < v4 + c->address.ipv6_count && len < size; i++) {
		char one[GP_ADDR_TEXT_SIZE];
		struct gp_addr a = {.port = (uint16_t)c->cores.udp_port};
		if (i < v4) {
			a.ip[10] = a.ip[11] = 0xff;
			memcpy(a.ip + 12, c->address.ipv4.addr, 4);
		} else {
			memcpy(a.ip, c->address.ipv6[i - v4].addr, 16);
		}
		gp_addr_format(&a, one);
		len += (size_t)snprintf(text + len, size - len, " %s", one);
	}
}

static void node_introduce(const struct node *n)
{
	const struct gp_config *c = &n->cfg;
	const struct gp_dpdk_port_info *p = &n->port_info;
	char addresses[512];
	addresses_format(c, addresses, sizeof(addresses));
	gp_info("gradplane %s: node %s, %s, epoch %u; port %s (%s), MAC "
		"%02x:%02x:%02x:%02x:%02x:%02x, MTU %u, addresses%s; %u polled cores%s, %s, %s",
		GRADPLANED_VERSION, c->node.name, gp_role_name(c->node.role), n->epoch,
		c->port.device, p->driver, p->mac[0], p->mac[1], p->mac[2], p->mac[3], p->mac[4],
		p->mac[5], p->ip_mtu_tx, addresses, c->cores.count,
		p->flow_steering ? " steered by the NIC" : "",
		c->cores.poll == GP_POLL_BUSY ? "busy" : "adaptive",
		n->huge ? "huge pages" : "no huge pages");
	gp_warn("insecure: datagrams are not authenticated; who reaches the port can take part");
}

int node_up(struct node *n)
{
	int rc = engine_up(n);
	if (rc != 0) {
		gp_error("the engine cannot be made: %s (--check-config shows what it needs)",
			strerror(-rc));
		return rc;
	}
	events_connect(n);
	rc = restore_apply(n);
	if (rc != 0)
		goto engine;
	rc = lcores_start(n);
	if (rc != 0) {
		gp_error("polled core %u does not start: %s", n->lcores_running, strerror(-rc));
		goto engine;
	}
	node_introduce(n);
	return 0;
engine:
	gp_engine_destroy(n->engine);
	return rc;
}

bool node_down(struct node *n)
{
	char why[200];
	lcores_stop(n);
	// What is still queued, here or in the driver, refers to versions and counts down their
	// holds as it is dropped: the tables outlive the port.
	gp_dpdk_port_destroy(n->port);
	n->port = NULL;
	bool sound = gp_engine_audit(n->engine, why, sizeof(why));
	if (!sound)
		gp_error("the accounts of the engine do not add up: %s", why);
	gp_engine_destroy(n->engine);
	return sound;
}
