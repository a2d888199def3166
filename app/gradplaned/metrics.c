// SPDX-License-Identifier: BSD-3-Clause
//
// The metrics page: polled cores and port here, jobs and the rest in metrics_state.c.
#include "gradplaned.h"

#include <gp_log.h>

#include <errno.h>
#include <stdio.h>

#define INDEX_SIZE 12

static void family(struct gp_metrics_writer *w, const char *name, enum gp_metrics_type type,
	const char *unit, const char *help)
{
	const struct gp_metrics_family f = {name, type, unit, help};
	gp_metrics_family(w, &f);
}

// One value of each core, by offset into a struct that `get` fills or finds.
static void per_core(struct gp_metrics_writer *w, const struct node *n,
	uint64_t (*get)(const struct lcore *l, size_t which), size_t which)
{
	for (uint32_t i = 0; i < n->cfg.cores.count; i++) {
		char core[INDEX_SIZE];
		snprintf(core, sizeof(core), "%u", i);
		gp_metrics_u64(w, GP_METRICS_LABELS({"core", core}), get(&n->lcores[i], which));
	}
}

static uint64_t engine_counter(const struct lcore *l, size_t which)
{
	const char *stats = (const char *)gp_core_stats(l->core);
	return gp_counter_read((const struct gp_counter *)(const void *)(stats + which));
}

static uint64_t xport_counter(const struct lcore *l, size_t which)
{
	struct gp_xport_dpdk_stats s;
	gp_xport_dpdk_stats(l->xport, &s);
	return *(const uint64_t *)(const void *)((const char *)&s + which);
}

static uint64_t frames_free(const struct lcore *l, size_t which)
{
	(void)which;
	return gp_xport_dpdk_frames_free(l->xport);
}

static uint64_t sleeps(const struct lcore *l, size_t which)
{
	(void)which;
	return gp_counter_read(&l->sleeps);
}

static void engine_write(struct gp_metrics_writer *w, const struct node *n)
{
#define AT(member) offsetof(struct gp_core_stats, member)
	static const struct {
		const char *name;
		const char *help;
		size_t at;
	} counters[] = {
		{"gradplane_core_rx_datagrams", "Datagrams that reached the protocol core.",
			AT(rx_datagrams)},
		{"gradplane_core_tx_datagrams", "Datagrams that the protocol core sent.",
			AT(tx_datagrams)},
		{"gradplane_core_tx_no_frame", "Answers not sent for want of a frame.",
			AT(tx_no_frame)},
		{"gradplane_core_blocks_completed", "Blocks whose contributions were all there.",
			AT(blocks_completed)},
		{"gradplane_core_blocks_zeroed",
			"Contributions with NaN or infinity that counted as zeros.",
			AT(blocks_zeroed)},
		{"gradplane_core_blocks_clamped",
			"Contributions above norm_max that counted scaled down to it.",
			AT(blocks_clamped)},
		{"gradplane_core_completions_deferred",
			"Completions that waited for a version or a decision.",
			AT(completions_deferred)},
		{"gradplane_core_units_committed", "Units committed.", AT(units_committed)},
		{"gradplane_core_units_aborted", "Units begun again in another view.",
			AT(units_aborted)},
		{"gradplane_core_polls", "Rounds of the poll loop.", AT(polls)},
		{"gradplane_core_polls_busy", "Rounds that found work in the engine.",
			AT(polls_busy)},
	};
#undef AT
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(counters); i++) {
		family(w, counters[i].name, GP_METRICS_COUNTER, NULL, counters[i].help);
		per_core(w, n, engine_counter, counters[i].at);
	}
	family(w, "gradplane_core_sleeps", GP_METRICS_COUNTER, NULL,
		"Sleeps of the core when it was idle.");
	per_core(w, n, sleeps, 0);
	family(w, "gradplane_core_busy_seconds", GP_METRICS_COUNTER, "seconds",
		"Time in rounds that found work.");
	for (uint32_t i = 0; i < n->cfg.cores.count; i++) {
		char core[INDEX_SIZE];
		snprintf(core, sizeof(core), "%u", i);
		gp_metrics_f64(w, GP_METRICS_LABELS({"core", core}),
			(double)gp_counter_read(&n->lcores[i].busy_ns) / 1e9);
	}
}

static void verdicts_write(struct gp_metrics_writer *w, const struct node *n)
{
	family(w, "gradplane_core_datagrams", GP_METRICS_COUNTER, NULL,
		"What became of the datagrams that reached the protocol core; each has one "
		"verdict.");
	for (uint32_t i = 0; i < n->cfg.cores.count; i++) {
		const struct gp_core_stats *s = gp_core_stats(n->lcores[i].core);
		char core[INDEX_SIZE];
		snprintf(core, sizeof(core), "%u", i);
		for (int v = 0; v < GP_VERDICT_COUNT; v++)
			gp_metrics_u64(w,
				GP_METRICS_LABELS({"core", core}, {"verdict", gp_verdict_name(v)}),
				gp_counter_read(&s->verdicts[v]));
	}
	family(w, "gradplane_verdict", GP_METRICS_INFO, NULL, "What each verdict means.");
	for (int v = 0; v < GP_VERDICT_COUNT; v++)
		gp_metrics_u64(w,
			GP_METRICS_LABELS(
				{"verdict", gp_verdict_name(v)}, {"meaning", gp_verdict_help(v)}),
			1);
	for (int v = 0; v < GP_INET_VERDICTS_COUNT; v++)
		gp_metrics_u64(w,
			GP_METRICS_LABELS({"verdict", gp_inet_verdict_name(v)},
				{"meaning", gp_inet_verdict_help(v)}),
			1);
}

static void xport_write(struct gp_metrics_writer *w, const struct node *n)
{
#define X(name, help)                                                                              \
	family(w, "gradplane_xport_" #name, GP_METRICS_COUNTER, NULL, help);                       \
	per_core(w, n, xport_counter, offsetof(struct gp_xport_dpdk_stats, name));
	GP_XPORT_DPDK_COUNTERS(X)
#undef X
	family(w, "gradplane_xport_frames_free", GP_METRICS_GAUGE, NULL,
		"Frames of the core's pool that are free.");
	per_core(w, n, frames_free, 0);
	family(w, "gradplane_xport_frames", GP_METRICS_COUNTER, NULL,
		"What became of the Ethernet frames received; each has one verdict.");
	for (uint32_t i = 0; i < n->cfg.cores.count; i++) {
		struct gp_xport_dpdk_stats s;
		char core[INDEX_SIZE];
		snprintf(core, sizeof(core), "%u", i);
		gp_xport_dpdk_stats(n->lcores[i].xport, &s);
		for (int v = 0; v < GP_INET_VERDICTS_COUNT; v++)
			gp_metrics_u64(w,
				GP_METRICS_LABELS(
					{"core", core}, {"verdict", gp_inet_verdict_name(v)}),
				s.verdicts[v]);
	}
}

static void port_write(struct gp_metrics_writer *w, const struct node *n)
{
	struct gp_dpdk_port_stats s = {0};
	(void)!gp_dpdk_port_stats(n->port, &s);
	const struct {
		const char *name;
		const char *unit;
		const char *help;
		uint64_t value;
	} counters[] = {
		{"gradplane_port_rx_packets", NULL, "Packets received by the driver.",
			s.rx_packets},
		{"gradplane_port_rx_bytes", "bytes", "Bytes received by the driver.", s.rx_bytes},
		{"gradplane_port_rx_missed", NULL, "Packets lost: the receive queue was full.",
			s.rx_missed},
		{"gradplane_port_rx_errors", NULL, "Packets received in error.", s.rx_errors},
		{"gradplane_port_rx_no_mbuf", NULL, "Packets lost: no buffer was free.",
			s.rx_no_mbuf},
		{"gradplane_port_tx_packets", NULL, "Packets sent by the driver.", s.tx_packets},
		{"gradplane_port_tx_bytes", "bytes", "Bytes sent by the driver.", s.tx_bytes},
		{"gradplane_port_tx_errors", NULL, "Packets that the driver failed to send.",
			s.tx_errors},
	};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(counters); i++) {
		family(w, counters[i].name, GP_METRICS_COUNTER, counters[i].unit, counters[i].help);
		gp_metrics_u64(w, NULL, counters[i].value);
	}
}

static void render(struct gp_metrics_writer *w, void *arg)
{
	const struct node *n = arg;
	metrics_state_write(w, n);
	engine_write(w, n);
	verdicts_write(w, n);
	xport_write(w, n);
	port_write(w, n);
}

static bool healthy(char *text, size_t size, void *arg)
{
	const struct node *n = arg;
	if (n->stop.phase != STOP_NOT) {
		snprintf(text, size, "stopping\n");
		return false;
	}
	for (uint32_t i = 0; i < n->cfg.cores.count; i++) {
		if (!n->control.stalled[i])
			continue;
		snprintf(text, size, "core %u does not poll\n", i);
		return false;
	}
	return true;
}

int metrics_start(struct node *n)
{
	const struct gp_config_endpoint *e = &n->cfg.control.http;
	char listen[64], err[256];
	if (e->port == 0)
		return 0;
	snprintf(listen, sizeof(listen), strchr(e->host, ':') ? "[%s]:%u" : "%s:%u", e->host,
		e->port);
	const struct gp_metrics_http_config config = {.base = n->control.base,
		.listen = listen,
		.render = render,
		.healthy = healthy,
		.arg = n};
	int rc = gp_metrics_http_create(&n->control.http, &config, err, sizeof(err));
	if (rc != 0)
		gp_error("control.http: %s", err);
	return rc;
}

void metrics_stop(struct node *n)
{
	gp_metrics_http_destroy(n->control.http);
}
