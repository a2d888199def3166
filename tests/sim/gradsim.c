// SPDX-License-Identifier: BSD-3-Clause
//
// gradsim: runs simulated histories and says which failed. Exit 0: all held; 1: one did not (the
// last line replays it); 2: usage.
#include "cluster.h"

#include <gp_rcu.h>

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct totals {
	uint64_t histories, datagrams, retransmits, kills, cuts;
};

static void usage(FILE *f)
{
	fprintf(f, "usage: gradsim [--seeds A..B] [--steps N] [--trace SEED]\n"
		   "  --seeds A..B  histories to run (1..100)\n"
		   "  --steps N     training steps of each (12)\n"
		   "  --trace SEED  prints the options of one seed, runs it twice, compares\n");
}

static void opts_print(const struct cluster_opts *o)
{
	printf("seed=%" PRIu64
	       " workers=%u cores=%u steps=%u kind=%s atomicity=%u codec=%u slots=%u "
	       "window=%u ring=%u mtu=%u cut=%u loss=%u dup=%u reorder=%u kill=%u (ppm)\n",
		o->seed, o->workers, o->cores, o->steps, o->train ? "train" : "reduce",
		o->atomicity, o->codec, o->slots, o->window, o->ring_size, o->mtu, o->cut_interval,
		o->loss_ppm, o->duplicate_ppm, o->reorder_ppm, o->kill_ppm);
}

// One history; every 20th and every traced one twice: the same seed must give the same bytes.
static bool seed_run(uint64_t seed, uint32_t steps, bool trace, struct totals *t)
{
	struct cluster_opts o;
	struct cluster_result r, again;
	cluster_opts_of_seed(&o, seed, steps);
	if (trace)
		opts_print(&o);
	cluster_run(&o, &r);
	t->histories++;
	t->datagrams += r.datagrams;
	t->retransmits += r.retransmits;
	t->kills += r.kills;
	t->cuts += r.cuts;
	if (r.ok && (trace || seed % 20 == 0)) {
		cluster_run(&o, &again);
		if (again.hash != r.hash || again.datagrams != r.datagrams) {
			printf("seed %" PRIu64 ": two runs differ\n", seed);
			return false;
		}
	}
	if (trace)
		printf("%s datagrams=%" PRIu64 " retransmits=%" PRIu64 " kills=%" PRIu64
		       " virtual_ms=%" PRIu64 " hash=%016" PRIx64 "\n",
			r.ok ? "ok" : r.why, r.datagrams, r.retransmits, r.kills,
			r.virtual_ns / 1000000, r.hash);
	if (!r.ok) {
		opts_print(&o);
		printf("seed %" PRIu64 ": %s\nreplay: gradsim --steps %u --trace %" PRIu64 "\n",
			seed, r.why, steps, seed);
	}
	return r.ok;
}

// "A..B"
static bool range_parse(const char *text, uint64_t *first, uint64_t *last)
{
	char *end;
	*first = strtoull(text, &end, 10);
	if (end == text || strncmp(end, "..", 2) != 0)
		return false;
	text = end + 2;
	*last = strtoull(text, &end, 10);
	return end != text && *end == 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"seeds", required_argument, NULL, 's'},
		{"steps", required_argument, NULL, 'n'}, {"trace", required_argument, NULL, 't'},
		{"help", no_argument, NULL, 'h'}, {0}};
	uint64_t first = 1, last = 100;
	uint32_t steps = 12;
	bool trace = false;
	for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (o == 's' && range_parse(optarg, &first, &last))
			continue;
		if (o == 'n' && (steps = (uint32_t)strtoul(optarg, NULL, 10)) > 0)
			continue;
		if (o == 't') {
			first = last = strtoull(optarg, NULL, 10);
			trace = true;
			continue;
		}
		usage(o == 'h' ? stdout : stderr);
		return o == 'h' ? 0 : 2;
	}
	struct totals t = {0};
	gp_rcu_register_thread();
	bool ok = true;
	for (uint64_t seed = first; ok && seed <= last; seed++)
		ok = seed_run(seed, steps, trace, &t);
	gp_rcu_unregister_thread();
	printf("%" PRIu64 " histories, %" PRIu64 " datagrams, %" PRIu64 " retransmits, %" PRIu64
	       " workers killed, %" PRIu64 " cuts: %s\n",
		t.histories, t.datagrams, t.retransmits, t.kills, t.cuts, ok ? "ok" : "FAILED");
	return ok ? 0 : 1;
}
