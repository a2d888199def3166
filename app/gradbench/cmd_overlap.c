// SPDX-License-Identifier: BSD-3-Clause
//
// gradbench overlap: replays a network's layer sizes and computing times against a server, without
// overlap, with it, and with priorities, in turns. The bound is what takes longer, computing or the
// bare transfer of the same round.
#include "bench.h"
#include "gradbench.h"
#include "overlap.h"

#include <getopt.h>
#include <sched.h>
#include <stdlib.h>

#define STEPS	   4
#define TIMEOUT_MS 60000

struct result {
	struct bench_series step_ms, exposed_ms, ratio;
};

struct bench {
	struct overlap_opts o;
	const char *path;
	uint32_t rounds;
	bool json;
	struct network network;
	double compute_ms;
	struct bench_series transfer_ms;
	struct result results[PLAN_COUNT];
	struct bench_env env;
	struct bench_guard guard;
	uint64_t retransmits;
};

static const char *const plan_names[PLAN_COUNT] = {
	[PLAN_TRANSFER] = "transfer alone",
	[PLAN_SERIAL] = "no overlap",
	[PLAN_OVERLAP] = "overlap",
	[PLAN_PRIORITY] = "overlap, priority",
};

// All plans in turns; `keep` is whether the round was quiet, known at its end.
static bool round_run(struct bench *b, struct overlap *v)
{
	double ms[PLAN_COUNT];
	bench_guard_begin(&b->guard);
	for (uint32_t p = 0; p < PLAN_COUNT; p++) {
		ms[p] = overlap_run(v, p);
		if (ms[p] < 0)
			return false;
	}
	if (!bench_guard_end(&b->guard))
		return true;
	bench_series_add(&b->transfer_ms, ms[PLAN_TRANSFER]);
	double bound = GP_MAX(ms[PLAN_TRANSFER], b->compute_ms);
	for (uint32_t p = PLAN_SERIAL; p < PLAN_COUNT; p++) {
		bench_series_add(&b->results[p].step_ms, ms[p]);
		bench_series_add(&b->results[p].exposed_ms, ms[p] - b->compute_ms);
		bench_series_add(&b->results[p].ratio, ms[p] / bound);
	}
	return true;
}

static bool rounds_run(struct bench *b)
{
	struct overlap *v;
	if (overlap_create(&v, &b->o))
		return false;
	bool good = true;
	for (uint32_t p = 0; p < PLAN_COUNT && good; p++) // memory is touched, buffers grow
		good = overlap_run(v, p) >= 0;
	bench_guard_init(&b->guard);
	while (good && bench_guard_more(&b->guard, b->rounds))
		good = round_run(b, v);
	b->retransmits = overlap_retransmits(v);
	overlap_destroy(v);
	return good;
}

static void print_text(const struct bench *b)
{
	const struct network *n = &b->network;
	struct bench_stat t = bench_series_stat(&b->transfer_ms);
	printf("%s: %u layers, %.2f M parameters, %u workers, %u steps a round\n"
	       "computing %.2f ms a step, transfer alone %.2f ms (%.2f..%.2f), %.2f Gbit/s a "
	       "worker "
	       "and direction\n",
		b->path, n->count, (double)n->parameters * 1e-6, b->o.workers, b->o.steps,
		b->compute_ms, t.median, t.min, t.max,
		t.median > 0 ? (double)n->parameters * 32e-6 / t.median : 0);
	printf("%-18s %9s %18s %11s %9s %14s\n", "plan", "step, ms", "least..most", "exposed, ms",
		"of bound", "least..most");
	for (uint32_t p = PLAN_SERIAL; p < PLAN_COUNT; p++) {
		const struct result *r = &b->results[p];
		struct bench_stat ms = bench_series_stat(&r->step_ms),
				  q = bench_series_stat(&r->ratio);
		printf("%-18s %9.2f %8.2f..%8.2f %11.2f %9.2f %6.2f..%6.2f\n", plan_names[p],
			ms.median, ms.min, ms.max, bench_series_stat(&r->exposed_ms).median,
			q.median, q.min, q.max);
	}
	printf("datagrams sent again: %llu\n", (unsigned long long)b->retransmits);
}

static void print_json(const struct bench *b)
{
	const struct network *n = &b->network;
	struct bench_stat t = bench_series_stat(&b->transfer_ms);
	printf("{\"bench\":\"overlap\",\"network\":\"%s\",\"layers\":%u,\"parameters\":%llu,"
	       "\"workers\":%u,\"steps\":%u,\"compute_ms\":%.3f,\"transfer_ms\":%.3f,"
	       "\"transfer_min\":%.3f,\"transfer_max\":%.3f,\"retransmits\":%llu,\"rows\":[",
		b->path, n->count, (unsigned long long)n->parameters, b->o.workers, b->o.steps,
		b->compute_ms, t.median, t.min, t.max, (unsigned long long)b->retransmits);
	for (uint32_t p = PLAN_SERIAL; p < PLAN_COUNT; p++) {
		const struct result *r = &b->results[p];
		struct bench_stat ms = bench_series_stat(&r->step_ms),
				  q = bench_series_stat(&r->ratio);
		printf("%s{\"plan\":\"%s\",\"step_ms\":%.3f,\"step_min\":%.3f,\"step_max\":%.3f,"
		       "\"exposed_ms\":%.3f,\"ratio\":%.3f,\"ratio_min\":%.3f,\"ratio_max\":%.3f}",
			p == PLAN_SERIAL ? "" : ",", plan_names[p], ms.median, ms.min, ms.max,
			bench_series_stat(&r->exposed_ms).median, q.median, q.min, q.max);
	}
	printf("],");
}

static int network_show(struct bench *b)
{
	struct network *n = &b->network;
	printf(b->json ? "{\"bench\":\"overlap\",\"network\":\"%s\",\"layers\":%u,\"parameters\":%"
			 "llu,"
			 "\"forward_ms\":%.3f,\"backward_ms\":%.3f}\n"
		       : "%s: %u layers, %llu parameters, forward %.3f ms, backward %.3f ms\n",
		b->path, n->count, (unsigned long long)n->parameters, n->forward_us * 1e-3,
		n->backward_us * 1e-3);
	network_free(n);
	return EXIT_OK;
}

static int bench_run(struct bench *b)
{
	cpu_set_t cpus;
	if (network_read(&b->network, b->path))
		return EXIT_USAGE;
	b->o.network = &b->network;
	if (!b->o.server)
		return network_show(b);
	b->compute_ms = (b->network.forward_us + b->network.backward_us) * b->o.scale * 1e-3;
	CPU_ZERO(&cpus);
	(void)sched_getaffinity(0, sizeof(cpus), &cpus);
	bench_env_begin(&b->env, -1);
	(void)sched_setaffinity(0, sizeof(cpus), &cpus); // the workers run where they may
	bool good = rounds_run(b);
	bench_env_end(&b->env);
	if (good && b->json) {
		print_json(b);
		bench_env_json(&b->env, &b->guard);
		printf("\"sums\":\"checked\"}\n");
	} else if (good) {
		print_text(b);
		bench_env_text(&b->env, &b->guard);
		printf("every sum was checked\n");
	}
	network_free(&b->network);
	return good ? EXIT_OK : EXIT_FAILED;
}

static int usage(FILE *to)
{
	fprintf(to,
		"usage: gradbench overlap --network FILE [--server ADDRESS] [OPTION...]\n\n"
		"  --server A:P     where the server is; without it the network is only looked at\n"
		"  --network FILE   layers: conf/resnet50.csv, conf/bert-base.csv\n"
		"  --jobs A,B       two reduce jobs of the server, alike, sums, with as many open\n"
		"                   slots a core as a network has blocks (default pushed,forward)\n"
		"  --workers N      of each job, threads of this process, 1..16 (default 2)\n"
		"  --rounds N       rounds kept, 1..101 (default 5)\n"
		"  --steps N        timed steps of a plan in a round, 1..1000 (default 4)\n"
		"  --scale X        computing takes X times what the file says (default 1)\n"
		"  --spin           computing keeps a CPU busy, else it is an accelerator's\n"
		"  --path-mtu N     IP MTU to probe with (default: of the interface)\n"
		"  --json\n\n"
		"Plans take turns: no overlap (forward, backward, then all is pushed, then waited\n"
		"for); overlap (each layer is pushed behind its backward; priority in that "
		"order);\n"
		"priority (the same with forward order as priority, and the next forward waits "
		"layer\n"
		"by layer). exposed: of the step, without computing. bound: what takes longer,\n"
		"computing or the transfer alone, of the same round.\n");
	return to == stdout ? EXIT_OK : EXIT_USAGE;
}

static bool scale_take(const char *text, double *scale)
{
	char *end;
	*scale = strtod(text, &end);
	return end != text && *end == '\0' && *scale >= 0 && *scale <= 1e6;
}

static bool jobs_take(char *text, struct overlap_opts *o)
{
	char *comma = strchr(text, ',');
	if (!comma || comma == text || comma[1] == '\0' || strchr(comma + 1, ','))
		return false;
	*comma = '\0';
	o->jobs[JOB_PUSHED] = text;
	o->jobs[JOB_FORWARD] = comma + 1;
	return true;
}

static bool option_take(struct bench *b, int c, char *text)
{
	uint64_t n = 0;
	uint32_t *to = c == 'w'	  ? &b->o.workers
		       : c == 'r' ? &b->rounds
		       : c == 't' ? &b->o.steps
				  : &b->o.path_mtu;
	static const uint64_t most[] = {
		['w'] = OVERLAP_WORKERS_MAX, ['r'] = BENCH_ROUNDS_MAX, ['t'] = 1000, ['m'] = 9216};
	switch (c) {
	case 's':
		b->o.server = text;
		return true;
	case 'n':
		b->path = text;
		return true;
	case 'j':
		b->json = true;
		return true;
	case 'p':
		b->o.spin = true;
		return true;
	case 'x':
		return scale_take(text, &b->o.scale);
	case 'b':
		return jobs_take(text, &b->o);
	case 'w':
	case 'r':
	case 't':
	case 'm':
		if (!bench_number(text, most[c], &n))
			return false;
		*to = (uint32_t)n;
		return true;
	default:
		return false;
	}
}

static int overlap_main(int argc, char **argv)
{
	static const struct option longs[] = {
		{"server", required_argument, NULL, 's'},
		{"network", required_argument, NULL, 'n'},
		{"jobs", required_argument, NULL, 'b'},
		{"workers", required_argument, NULL, 'w'},
		{"rounds", required_argument, NULL, 'r'},
		{"steps", required_argument, NULL, 't'},
		{"scale", required_argument, NULL, 'x'},
		{"path-mtu", required_argument, NULL, 'm'},
		{"spin", no_argument, NULL, 'p'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	static struct bench b = {.rounds = 5,
		.o = {.jobs = {"pushed", "forward"},
			.workers = 2,
			.steps = STEPS,
			.scale = 1,
			.timeout_ms = TIMEOUT_MS}};
	int c;
	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (c == 'h')
			return usage(stdout);
		if (!option_take(&b, c, optarg))
			return usage(stderr);
	}
	return optind < argc || !b.path ? usage(stderr) : bench_run(&b);
}

const struct command command_overlap = {.name = "overlap",
	.help = "a network's steps with and without overlap and priorities",
	.run = overlap_main};
