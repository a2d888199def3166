// SPDX-License-Identifier: BSD-3-Clause
//
// gradbench e2e: one rank of a push-pull through a real server, over any transport, with and
// without loss in turns. scripts/bench-e2e starts server and ranks and puts their lines together.
#include "bench.h"
#include "gradbench.h"
#include "probe.h"

#include <getopt.h>
#include <gp_client.h>
#include <stdlib.h>
#include <unistd.h>

#define TIMEOUT_MS  120000
#define LEVELS_MAX  8
#define SAMPLES_MAX 4000000
#define STEPS_MAX   100000
#define BLOCK_MIN   256 // elements, fewer than any block of an MTU of 1500

// One rate of loss.
struct level {
	uint32_t loss; // of a million
	struct bench_series gbit, kept;
	uint64_t retransmits, lost;
	double block_us[3]; // p50, p99, p99.9
};

struct e2e {
	struct gp_client_opts o;
	uint64_t bytes, seed;
	uint32_t steps, rounds, server_pid;
	uint32_t levels_count;
	struct level levels[LEVELS_MAX];
	struct gp_client *c;
	float *v;
	double *step_us; // of rounds without loss
	uint32_t steps_seen;
	uint64_t own_ns, wall_ns, server_ticks; // of rounds without loss
	uint32_t barrier;
	struct gp_client_error err;
};

static const double quantiles[] = {0.5, 0.99, 0.999};

#define STAT_SPACES 12 // from behind a process's name to its times, proc(5)

// What a process has used, clock ticks; 0: it cannot be seen.
static uint64_t process_ticks(uint32_t pid)
{
	char path[64], line[1024] = "";
	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	FILE *f = pid ? fopen(path, "re") : NULL;
	if (!f)
		return 0;
	bool read = fgets(line, sizeof(line), f) != NULL;
	fclose(f);
	char *at = read ? strrchr(line, ')') : NULL;
	for (uint32_t i = 0; at && i < STAT_SPACES; i++)
		at = strchr(at + 1, ' ');
	if (!at)
		return 0;
	uint64_t user = strtoull(at, &at, 10);
	return user + strtoull(at, NULL, 10);
}

static int step(struct e2e *b)
{
	int rc = gp_client_push_pull(b->c, 0, b->v, 1, b->v, &b->err);
	return rc ? rc : gp_client_wait(b->c, TIMEOUT_MS, &b->err);
}

static void ones_fill(struct e2e *b)
{
	uint64_t elems = b->bytes / sizeof(float);
	for (uint64_t k = 0; k < elems; k++)
		b->v[k] = 1;
}

// All ranks begin together: `steps` push-pulls of ones. *ns is the time of them all.
static int round_run(struct e2e *b, uint64_t *ns)
{
	ones_fill(b);
	int rc = gp_client_barrier(b->c, b->barrier++, TIMEOUT_MS, &b->err);
	*ns = 0;
	for (uint32_t i = 0; i < b->steps && rc == 0; i++) {
		if (i > 0)
			ones_fill(b);
		uint64_t from = bench_wall_ns();
		rc = step(b);
		uint64_t took = bench_wall_ns() - from;
		*ns += took;
		if (b->steps_seen < STEPS_MAX)
			b->step_us[b->steps_seen++] = (double)took / 1000;
	}
	return rc;
}

static bool sums_are_right(const struct e2e *b)
{
	for (uint64_t k = 0; k < b->bytes / sizeof(float); k++)
		if (b->v[k] != (float)b->o.world)
			return false;
	return true;
}

static int level_run(struct e2e *b, struct level *l, bool record, uint64_t *ns)
{
	struct gp_client_stats before, after;
	uint64_t lost = probe_lost();
	uint32_t seen = b->steps_seen;
	gp_client_stats(b->c, &before);
	probe_loss(l->loss);
	if (record)
		probe_record(true);
	int rc = round_run(b, ns);
	probe_loss(0);
	if (l->loss > 0)
		b->steps_seen = seen;
	if (rc)
		return rc;
	gp_client_stats(b->c, &after);
	l->retransmits += after.retransmits - before.retransmits;
	l->lost += probe_lost() - lost;
	if (record) {
		for (size_t i = 0; i < GP_ARRAY_SIZE(quantiles); i++)
			l->block_us[i] = probe_quantile(quantiles[i]) / 1000;
		probe_record(false);
	}
	return 0;
}

// Each rate of loss in turn; the first is what the others are compared with.
static int turn_run(struct e2e *b, bool record)
{
	double gbit[LEVELS_MAX];
	for (uint32_t i = 0; i < b->levels_count; i++) {
		struct level *l = &b->levels[i];
		uint64_t ns = 0, cpu = bench_cpu_ns(), ticks = process_ticks(b->server_pid);
		uint64_t begin = bench_wall_ns();
		int rc = level_run(b, l, record, &ns);
		if (rc)
			return rc;
		if (record)
			continue;
		gbit[i] = 8.0 * (double)b->bytes * b->steps / (double)ns;
		bench_series_add(&l->gbit, gbit[i]);
		bench_series_add(&l->kept, gbit[i] / gbit[0]);
		if (l->loss > 0)
			continue;
		b->own_ns += bench_cpu_ns() - cpu;
		b->server_ticks += process_ticks(b->server_pid) - ticks;
		b->wall_ns += bench_wall_ns() - begin;
	}
	return 0;
}

static int turns_run(struct e2e *b)
{
	uint64_t ns = 0;
	int rc = level_run(b, &b->levels[0], false, &ns); // warm
	b->steps_seen = 0;
	b->levels[0].retransmits = 0;
	for (uint32_t i = 0; i < b->rounds && rc == 0; i++)
		rc = turn_run(b, false);
	uint32_t seen = b->steps_seen;
	if (rc == 0)
		rc = turn_run(b, true);
	b->steps_seen = seen;
	return rc;
}

static int session_open(struct e2e *b)
{
	struct gp_client_tensor t = {
		.name = "v", .dims_count = 1, .dims = {b->bytes / sizeof(float)}};
	int rc = gp_client_create_over(&b->c, &b->o, &probe_ops, &b->err);
	return rc ? rc : gp_client_register(b->c, &t, 1, TIMEOUT_MS, &b->err);
}

static int double_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void levels_print(const struct e2e *b)
{
	printf("\"levels\":[");
	for (uint32_t i = 0; i < b->levels_count; i++) {
		const struct level *l = &b->levels[i];
		struct bench_stat g = bench_series_stat(&l->gbit), k = bench_series_stat(&l->kept);
		printf("%s{\"loss_ppm\":%u,\"gbit_s\":%.4f,\"gbit_s_min\":%.4f,\"gbit_s_max\":%.4f,"
		       "\"kept\":%.4f,\"kept_min\":%.4f,\"kept_max\":%.4f,\"retransmits\":%lu,"
		       "\"lost\":%lu,\"block_us_p50\":%.2f,\"block_us_p99\":%.2f,"
		       "\"block_us_p999\":%.2f}",
			i ? "," : "", l->loss, g.median, g.min, g.max, k.median, k.min, k.max,
			l->retransmits, l->lost, l->block_us[0], l->block_us[1], l->block_us[2]);
	}
	printf("],");
}

static double step_quantile(const struct e2e *b, double q)
{
	uint32_t at = (uint32_t)(q * b->steps_seen);
	return b->steps_seen ? b->step_us[GP_MIN(at, b->steps_seen - 1)] : 0;
}

static void print(struct e2e *b)
{
	double ticks_ns = 1e9 / (double)sysconf(_SC_CLK_TCK);
	qsort(b->step_us, b->steps_seen, sizeof(*b->step_us), double_compare);
	printf("{\"bench\":\"e2e\",\"transport\":\"%s\",\"rank\":%u,\"world\":%u,\"bytes\":%lu,"
	       "\"steps\":%u,\"rounds\":%u,",
		b->o.transport, b->o.rank, b->o.world, b->bytes, b->steps, b->rounds);
	levels_print(b);
	printf("\"step_us_p50\":%.2f,\"step_us_p99\":%.2f,\"step_us_p999\":%.2f,\"cores\":%.3f,"
	       "\"server_cores\":%.3f,\"sums\":\"checked\"}\n",
		step_quantile(b, 0.5), step_quantile(b, 0.99), step_quantile(b, 0.999),
		(double)b->own_ns / (double)b->wall_ns,
		(double)b->server_ticks * ticks_ns / (double)b->wall_ns);
}

static int bench_run(struct e2e *b)
{
	b->v = bench_take(b->bytes);
	b->step_us = calloc(STEPS_MAX, sizeof(*b->step_us));
	uint32_t blocks = (uint32_t)(b->bytes / sizeof(float) / BLOCK_MIN + 2);
	bool have = b->v && b->step_us &&
		    probe_take(blocks, GP_MIN(blocks * b->steps, (uint32_t)SAMPLES_MAX), b->seed);
	int rc = have ? session_open(b) : -1;
	if (rc == 0)
		rc = turns_run(b);
	if (rc == 0 && !sums_are_right(b)) {
		snprintf(b->err.text, sizeof(b->err.text),
			"the result is not the sum; is it a reduce job?");
		rc = -1;
	}
	if (rc == 0)
		print(b);
	else
		fprintf(stderr, "gradbench: rank %u: %s\n", b->o.rank, b->err.text);
	gp_client_destroy(b->c);
	probe_give();
	free(b->step_us);
	bench_give(b->v, b->bytes);
	return rc ? EXIT_FAILED : EXIT_OK;
}

// ---- options

static int usage(FILE *to)
{
	fprintf(to,
		"usage: gradbench e2e --server ADDRESS --job NAME --rank R --world W "
		"[OPTION...]\n\n"
		"  --transport TEXT  as gradworker's (default udp)\n"
		"  --bytes N         of the tensor, a multiple of 4 (default 8388608)\n"
		"  --steps N         push-pulls of a round, 1..1000 (default 1)\n"
		"  --rounds N        of each rate of loss, 1..101 (default 5)\n"
		"  --loss LIST       datagrams of a million lost each way, up to 8 rates; the "
		"first\n"
		"                    is what others are compared with (default 0)\n"
		"  --seed N          of the loss (default 1)\n"
		"  --path-mtu N      IP MTU to probe with (default: of the interface)\n"
		"  --server-pid N    count what that process uses of CPUs\n\n"
		"All ranks run at the same time, against a reduce job that sums. Prints one line "
		"of\n"
		"JSON. gbit_s: payload pushed by this rank over the time until all of it has come\n"
		"back. kept: against the first rate, in the same turn. block_us: from a block's "
		"first\n"
		"datagram to its result, in a further turn. cores: CPU time over time, of this "
		"rank\n"
		"and of the server, without loss.\n");
	return to == stdout ? EXIT_OK : EXIT_USAGE;
}

static bool losses_parse(struct e2e *b, const char *text)
{
	for (b->levels_count = 0; b->levels_count < LEVELS_MAX; text++) {
		char *end;
		unsigned long n = strtoul(text, &end, 10);
		if (end == text || n > 500000)
			return false;
		b->levels[b->levels_count++] = (struct level){.loss = (uint32_t)n};
		text = end;
		if (*end != ',')
			return *end == '\0';
	}
	return false;
}

static bool text_take(struct e2e *b, int c, const char *text)
{
	if (c == 's')
		b->o.server = text;
	else if (c == 'j')
		b->o.job = text;
	else if (c == 't')
		b->o.transport = text;
	else
		return c == 'l' && losses_parse(b, text);
	return true;
}

static bool number_take(struct e2e *b, int c, const char *text)
{
	static const struct {
		int c;
		uint64_t max;
	} limits[] = {{'r', 255}, {'w', 256}, {'b', UINT64_C(4) << 30}, {'n', 1000},
		{'k', BENCH_ROUNDS_MAX}, {'e', UINT32_MAX}, {'m', 9216}, {'p', INT32_MAX}};
	uint64_t n = 0;
	size_t i = 0;
	while (i < GP_ARRAY_SIZE(limits) && limits[i].c != c)
		i++;
	if (i == GP_ARRAY_SIZE(limits) ||
		(!(c == 'r' && strcmp(text, "0") == 0) && !bench_number(text, limits[i].max, &n)))
		return false;
	*(c == 'r'	   ? &b->o.rank
		: c == 'w' ? &b->o.world
		: c == 'm' ? &b->o.path_mtu
		: c == 'n' ? &b->steps
		: c == 'k' ? &b->rounds
			   : &b->server_pid) = (uint32_t)n;
	if (c == 'b')
		b->bytes = n;
	if (c == 'e')
		b->seed = n;
	return true;
}

static int e2e_run(int argc, char **argv)
{
	static const struct option longs[] = {
		{"server", required_argument, NULL, 's'},
		{"job", required_argument, NULL, 'j'},
		{"transport", required_argument, NULL, 't'},
		{"loss", required_argument, NULL, 'l'},
		{"rank", required_argument, NULL, 'r'},
		{"world", required_argument, NULL, 'w'},
		{"bytes", required_argument, NULL, 'b'},
		{"steps", required_argument, NULL, 'n'},
		{"rounds", required_argument, NULL, 'k'},
		{"seed", required_argument, NULL, 'e'},
		{"path-mtu", required_argument, NULL, 'm'},
		{"server-pid", required_argument, NULL, 'p'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	static struct e2e b = {.o = {.transport = "udp"},
		.bytes = 8388608,
		.seed = 1,
		.steps = 1,
		.rounds = 5,
		.levels_count = 1};
	int c;
	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (c == 'h')
			return usage(stdout);
		if (c == '?' || !(text_take(&b, c, optarg) || number_take(&b, c, optarg)))
			return usage(stderr);
	}
	if (optind < argc || !b.o.server || !b.o.job || b.o.world == 0 || b.bytes % 4 != 0)
		return usage(stderr);
	b.seed = b.seed * 1000003 + b.o.rank;
	return bench_run(&b);
}

const struct command command_e2e = {.name = "e2e",
	.help = "one rank of a push-pull through a server: goodput, latency, loss",
	.run = e2e_run};
