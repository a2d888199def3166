// SPDX-License-Identifier: BSD-3-Clause
//
// gradbench sockets: what a datagram costs in the udp transport, from one socket of loopback to
// another: joined (GSO, GRO) and one by one, in turns. Time is CPU time, the kernel's included.
#include "bench.h"
#include "gradbench.h"

#include <getopt.h>
#include <gp_xport_udp.h>

#define BURST	  64
#define TRIES_MAX 1000 // empty polls before what is missing is taken for lost

enum side { SEND, RECEIVE, SIDES };

struct pair {
	struct gp_xport_udp *from, *to;
	struct bench_series ns[SIDES];
	uint64_t lost;
};

struct sockets {
	uint64_t packets, size;
	uint32_t rounds;
	bool json;
	struct bench_env env;
	struct bench_guard guard;
	struct pair joined, plain;
};

static struct gp_xport_udp *socket_open(
	const struct gp_addr *local, const struct gp_addr *peer, bool join)
{
	return gp_xport_udp_create(&(struct gp_xport_udp_opts){
		.local = *local, .server = *peer, .ip_mtu = 9000, .no_join = !join});
}

// Each is connected to the other: a first one finds free ports.
static bool pair_open(struct pair *p, bool join)
{
	struct gp_addr a, b, any = {.ip = {[10] = 0xff, 0xff, 127, 0, 0, 1}};
	struct gp_addr peer = any;
	peer.port = 9;
	p->from = socket_open(&any, &peer, join);
	if (!p->from)
		return false;
	gp_xport_udp_local(p->from, &a);
	p->to = socket_open(&any, &a, join);
	if (!p->to)
		return false;
	gp_xport_udp_local(p->to, &b);
	gp_xport_udp_destroy(p->from);
	p->from = socket_open(&a, &b, join);
	return p->from != NULL;
}

static void burst_send(struct pair *p, uint32_t size)
{
	struct gp_xport *x = gp_xport_udp_base(p->from);
	for (uint32_t i = 0; i < BURST; i++) {
		struct gp_frame *f = x->ops->alloc(x);
		f->len = size;
		memset(f->data, (int)i, size);
		x->ops->send(x, f);
	}
	(void)gp_xport_udp_flush(p->from);
}

static void burst_receive(struct pair *p)
{
	struct gp_xport *x = gp_xport_udp_base(p->to);
	struct gp_frame *in[BURST];
	uint32_t got = 0;
	for (uint32_t tries = 0; got < BURST && tries < TRIES_MAX; tries++) {
		uint32_t n = gp_xport_udp_poll(p->to, in, BURST);
		for (uint32_t i = 0; i < n; i++)
			x->ops->release(x, in[i]);
		got += n;
	}
	p->lost += BURST - got;
}

static void pair_run(struct pair *p, const struct sockets *b, double ns[SIDES])
{
	uint64_t spent[SIDES] = {0}, bursts = b->packets / BURST;
	for (uint64_t i = 0; i < bursts; i++) {
		uint64_t from = bench_cpu_ns();
		burst_send(p, (uint32_t)b->size);
		uint64_t sent = bench_cpu_ns();
		burst_receive(p);
		spent[SEND] += sent - from;
		spent[RECEIVE] += bench_cpu_ns() - sent;
	}
	for (int s = 0; s < SIDES; s++)
		ns[s] = (double)spent[s] / (double)(bursts * BURST);
}

static void rounds_run(struct sockets *b)
{
	while (bench_guard_more(&b->guard, b->rounds)) {
		double joined[SIDES], plain[SIDES];
		bench_guard_begin(&b->guard);
		pair_run(&b->joined, b, joined);
		pair_run(&b->plain, b, plain);
		if (!bench_guard_end(&b->guard))
			continue;
		for (int s = 0; s < SIDES; s++) {
			bench_series_add(&b->joined.ns[s], joined[s]);
			bench_series_add(&b->plain.ns[s], plain[s]);
		}
	}
}

static void row_print(const struct sockets *b, const char *how, const struct pair *p)
{
	static const char *const names[] = {"send", "receive"};
	for (int s = 0; s < SIDES; s++) {
		struct bench_stat t = bench_series_stat(&p->ns[s]);
		if (b->json)
			printf("%s{\"how\":\"%s\",\"side\":\"%s\",\"ns\":%.1f,\"ns_min\":%.1f,"
			       "\"ns_max\":%.1f,\"lost\":%lu}",
				p == &b->joined && s == 0 ? "" : ",", how, names[s], t.median,
				t.min, t.max, p->lost);
		else
			printf("%-10s %-8s %9.1f %9.1f..%9.1f\n", how, names[s], t.median, t.min,
				t.max);
	}
}

static void print(const struct sockets *b)
{
	if (b->json) {
		printf("{\"bench\":\"sockets\",");
		bench_env_json(&b->env, &b->guard);
		printf("\"size\":%lu,\"rows\":[", b->size);
	} else {
		bench_env_text(&b->env, &b->guard);
		printf("datagrams of %lu bytes, %d at once\n%-10s %-8s %9s %20s\n", b->size, BURST,
			"how", "side", "ns", "least..most");
	}
	row_print(b, "joined", &b->joined);
	row_print(b, "one by one", &b->plain);
	if (b->json)
		printf("]}\n");
}

static int bench_run(struct sockets *b)
{
	bench_env_begin(&b->env, -1);
	bench_guard_init(&b->guard);
	bool open = pair_open(&b->joined, true) && pair_open(&b->plain, false);
	if (open) {
		rounds_run(b);
		bench_env_end(&b->env);
		print(b);
	} else {
		fprintf(stderr, "gradbench: no sockets on 127.0.0.1\n");
	}
	struct gp_xport_udp *all[] = {b->joined.from, b->joined.to, b->plain.from, b->plain.to};
	for (size_t i = 0; i < GP_ARRAY_SIZE(all); i++)
		gp_xport_udp_destroy(all[i]);
	return open ? EXIT_OK : EXIT_FAILED;
}

static int usage(FILE *to)
{
	fprintf(to, "usage: gradbench sockets [OPTION...]\n\n"
		    "  --size N     bytes of a datagram, 1..8900 (default 1408)\n"
		    "  --packets N  of a round (default 50000)\n"
		    "  --rounds N   kept, 1..101 (default 5)\n"
		    "  --json\n\n"
		    "ns: CPU time of a datagram, filled and sent, or received and given back.\n");
	return to == stdout ? EXIT_OK : EXIT_USAGE;
}

static int sockets_run(int argc, char **argv)
{
	static const struct option longs[] = {
		{"size", required_argument, NULL, 's'},
		{"packets", required_argument, NULL, 'p'},
		{"rounds", required_argument, NULL, 'r'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	static struct sockets b = {.packets = 50000, .size = 1408, .rounds = 5};
	uint64_t n = 0;
	int c;
	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (c == 'h')
			return usage(stdout);
		if (c == 'j')
			b.json = true;
		else if (c == 's' && bench_number(optarg, 8900, &n))
			b.size = n;
		else if (c == 'p' && bench_number(optarg, UINT64_C(1) << 32, &n) && n >= BURST)
			b.packets = n;
		else if (c == 'r' && bench_number(optarg, BENCH_ROUNDS_MAX, &n))
			b.rounds = (uint32_t)n;
		else
			return usage(stderr);
	}
	return optind < argc ? usage(stderr) : bench_run(&b);
}

const struct command command_sockets = {.name = "sockets",
	.help = "a datagram's cost in the kernel's sockets, joined and not",
	.run = sockets_run};
