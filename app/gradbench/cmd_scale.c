// SPDX-License-Identifier: BSD-3-Clause
//
// gradbench scale: what a contribution costs as tensors, workers, jobs and sessions grow, against
// one job of one tensor and four workers, in turns. All cases have the same number of values.
#include "bench.h"
#include "gradbench.h"
#include "rig.h"

#include <getopt.h>

#define FRAMES	      8192
#define SKEW	      4
#define PACKETS_ROUND 150000
#define TABLE_MB      128 // 100,000 blocks of MTU 1500

struct scase {
	uint32_t tensors, workers, jobs;
	bool goal; // docs/performance.md has one for it
	struct bench_series ns, factor;
	struct bench_guard guard;
};

static const struct scase base = {.tensors = 1, .workers = 4, .jobs = 1};

static struct scase cases[] = {
	{.tensors = 100, .workers = 4, .jobs = 1},
	{.tensors = 10000, .workers = 4, .jobs = 1},
	{.tensors = 100000, .workers = 4, .jobs = 1, .goal = true},
	{.tensors = 1, .workers = 1, .jobs = 1},
	{.tensors = 1, .workers = 16, .jobs = 1},
	{.tensors = 1, .workers = 64, .jobs = 1, .goal = true},
	{.tensors = 1, .workers = 256, .jobs = 1},
	{.tensors = 1, .workers = 4, .jobs = 8},
	{.tensors = 1, .workers = 4, .jobs = 64},
	{.tensors = 1, .workers = 16, .jobs = 64},
};

struct scale {
	uint32_t rounds, packets, table_mb, tensors_max;
	bool json, goals;
	struct bench_env env;
	struct bench_guard all;
};

static int rig_of(const struct scale *s, const struct scase *k, struct rig **r)
{
	const struct rig_opts o = {.mtu = 1500,
		.jobs = k->jobs,
		.workers = k->workers,
		.tensors = k->tensors,
		.table_bytes = (uint64_t)s->table_mb << 20,
		.frames = FRAMES,
		.skew = SKEW,
		.slots = 64,
		.window = 32};
	return rig_create(r, &o);
}

// ns of one contribution, without the generator's share.
static double packet_ns(const struct scale *s, struct rig *r)
{
	uint32_t steps = (uint32_t)(s->packets / rig_step_packets(r)) + 1;
	double packets = (double)rig_step_packets(r) * steps;
	double generator = rig_generate(r, steps);
	return (rig_run(r, steps) - generator) / packets;
}

static bool rounds_run(const struct scale *s, struct scase *k, struct rig *a, struct rig *b)
{
	(void)packet_ns(s, a);
	(void)packet_ns(s, b);
	bench_guard_init(&k->guard);
	bool good = true;
	while (good && bench_guard_more(&k->guard, s->rounds)) {
		bench_guard_begin(&k->guard);
		double base_ns = packet_ns(s, a), ns = packet_ns(s, b);
		if (bench_guard_end(&k->guard)) {
			bench_series_add(&k->ns, ns);
			bench_series_add(&k->factor, ns / base_ns);
		}
		good = rig_check(b);
	}
	return good;
}

static bool case_run(struct scale *s, struct scase *k, struct rig *a)
{
	struct rig *b = NULL;
	bool good = rig_of(s, k, &b) == 0 && rounds_run(s, k, a, b);
	s->all.kept += k->guard.kept;
	s->all.discarded += k->guard.discarded;
	rig_destroy(b);
	return good;
}

static void case_text(const struct scase *k)
{
	struct bench_stat ns = bench_series_stat(&k->ns), f = bench_series_stat(&k->factor);
	printf("%8u %8u %6u %9u %9.1f %8.2f  %5.2f..%5.2f\n", k->tensors, k->workers, k->jobs,
		k->workers * k->jobs, ns.median, f.median, f.min, f.max);
	fflush(stdout);
}

static void case_json(const struct scase *k, bool first)
{
	struct bench_stat ns = bench_series_stat(&k->ns), f = bench_series_stat(&k->factor);
	printf("%s{\"tensors\":%u,\"workers\":%u,\"jobs\":%u,\"sessions\":%u,\"ns\":%.2f,"
	       "\"factor\":%.3f,\"factor_min\":%.3f,\"factor_max\":%.3f}",
		first ? "" : ",", k->tensors, k->workers, k->jobs, k->workers * k->jobs, ns.median,
		f.median, f.min, f.max);
}

static bool cases_run(struct scale *s)
{
	struct rig *a = NULL;
	bool good = rig_of(s, &base, &a) == 0, first = true;
	for (size_t i = 0; i < GP_ARRAY_SIZE(cases) && good; i++) {
		if (cases[i].tensors > s->tensors_max || (s->goals && !cases[i].goal))
			continue;
		good = case_run(s, &cases[i], a);
		if (good && s->json)
			case_json(&cases[i], first);
		else if (good)
			case_text(&cases[i]);
		first = false;
	}
	rig_destroy(a);
	return good;
}

static int bench_run(struct scale *s)
{
	bench_env_begin(&s->env, -1);
	gp_rcu_register_thread();
	if (s->json)
		printf("{\"bench\":\"scale\",\"table_mb\":%u,\"rows\":[", s->table_mb);
	else
		printf("%8s %8s %6s %9s %9s %8s  %s\n", "tensors", "workers", "jobs", "sessions",
			"ns/pkt", "factor", "least..most");
	bool good = cases_run(s);
	gp_rcu_unregister_thread();
	bench_env_end(&s->env);
	if (s->json) {
		printf("],");
		bench_env_json(&s->env, &s->all);
		printf("\"sums\":\"%s\"}\n", good ? "checked" : "failed");
	} else {
		bench_env_text(&s->env, &s->all);
		printf("%s\n", good ? "every sum was checked" : "FAILED");
	}
	return good ? EXIT_OK : EXIT_FAILED;
}

static int usage(FILE *to)
{
	fprintf(to,
		"usage: gradbench scale [--rounds N] [--table-mb N] [--tensors-max N]\n"
		"       [--goals] [--json]\n\n"
		"  --rounds N       rounds kept for each case, 1..101 (default 5)\n"
		"  --table-mb N     MB of values in every case, 1..1024 (default 128)\n"
		"  --tensors-max N  leaves out cases with more tensors (default 131072)\n"
		"  --packets N      contributions of a round, at least (default 150000)\n"
		"  --goals          only the cases that a goal is set for\n\n"
		"reduce, MTU 1500. ns/pkt: of one contribution, without the generator's share.\n"
		"factor: against one job of one tensor and 4 workers, in turns of the same run.\n");
	return to == stdout ? EXIT_OK : EXIT_USAGE;
}

static int scale_run(int argc, char **argv)
{
	static const struct option longs[] = {
		{"rounds", required_argument, NULL, 'r'},
		{"table-mb", required_argument, NULL, 't'},
		{"tensors-max", required_argument, NULL, 'n'},
		{"packets", required_argument, NULL, 'p'},
		{"goals", no_argument, NULL, 'g'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	static struct scale s = {
		.rounds = 5, .packets = PACKETS_ROUND, .table_mb = TABLE_MB, .tensors_max = 131072};
	uint64_t n = 0;
	int c;
	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (c == 'h')
			return usage(stdout);
		if (c == 'j')
			s.json = true;
		else if (c == 'g')
			s.goals = true;
		else if (c == 'r' && bench_number(optarg, BENCH_ROUNDS_MAX, &n))
			s.rounds = (uint32_t)n;
		else if (c == 'p' && bench_number(optarg, 1 << 30, &n))
			s.packets = (uint32_t)n;
		else if (c == 't' && bench_number(optarg, 1024, &n))
			s.table_mb = (uint32_t)n;
		else if (c == 'n' && bench_number(optarg, 131072, &n))
			s.tensors_max = (uint32_t)n;
		else
			return usage(stderr);
	}
	return optind < argc ? usage(stderr) : bench_run(&s);
}

const struct command command_scale = {.name = "scale",
	.help = "cost of a contribution as tensors, workers and jobs grow",
	.run = scale_run};
