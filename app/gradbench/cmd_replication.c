// SPDX-License-Identifier: BSD-3-Clause
//
// gradbench replication: what it costs to have every commit held by a backup. One thread feeds what
// an engine would have committed, another one keeps the image; between them is memory (then one
// thread does both, and each part is timed alone), TCP on loopback, or TLS.
#include "bench.h"
#include "gradbench.h"
#include "replication_rig.h"

#include <getopt.h>
#include <gp_log.h>
#include <signal.h>
#include <stdlib.h>

struct options {
	struct replication_opts rig;
	uint32_t rounds;
	const char *tls;
	bool json;
};

static int usage(FILE *to)
{
	fprintf(to,
		"usage: gradbench replication [OPTION...]\n\n"
		"Ships commits of a train job from a feeder to a backup's image. Bytes are those "
		"of\n"
		"parameters and optimizer state; ns are CPU time of the primary's and of the\n"
		"backup's thread for a KiB of them.\n\n"
		"  --table-mb N     parameters, MB (64)\n"
		"  --steps N        steps in a round (6)\n"
		"  --rounds N       rounds that are kept (5)\n"
		"  --mtu N          1500 or 9000: the size of blocks (1500)\n"
		"  --tls DIR        also over TLS, with the files of scripts/test-ca DIR primary "
		"replica\n"
		"  --digest         with the digest of every step (none)\n"
		"  --json\n");
	return to == stdout ? EXIT_OK : EXIT_USAGE;
}

struct row {
	const char *job;
	const char *how;
	uint32_t states;
	bool blocks; // each block is a unit
	enum replication_wire wire;
	struct bench_series rate, primary, backup;
	uint64_t bytes; // of a step
};

static struct row rows[] = {
	{"sgd", "memory", 0, false, REPLICATION_MEMORY, .bytes = 0},
	{"momentum", "memory", 1, false, REPLICATION_MEMORY, .bytes = 0},
	{"adam", "memory", 2, false, REPLICATION_MEMORY, .bytes = 0},
	{"sgd, atomicity block", "memory", 0, true, REPLICATION_MEMORY, .bytes = 0},
	{"sgd", "tcp", 0, false, REPLICATION_TCP, .bytes = 0},
	{"momentum", "tcp", 1, false, REPLICATION_TCP, .bytes = 0},
	{"adam", "tcp", 2, false, REPLICATION_TCP, .bytes = 0},
	{"sgd, atomicity block", "tcp", 0, true, REPLICATION_TCP, .bytes = 0},
	{"momentum", "tls", 1, false, REPLICATION_TLS, .bytes = 0},
};

static int row_measure(struct row *r, const struct options *o, struct bench_guard *g)
{
	struct replication_opts rig = o->rig;
	struct replication_result result;
	rig.states = r->states;
	rig.blocks = r->blocks;
	rig.wire = r->wire;
	if (r->wire == REPLICATION_TLS && !o->tls)
		return 0;
	bench_guard_begin(g);
	int rc = replication_run(&rig, &result);
	if (rc != 0 || !bench_guard_end(g))
		return rc;
	double kib = (double)result.bytes / 1024;
	r->bytes = result.bytes / rig.steps;
	bench_series_add(&r->rate, (double)result.bytes / (double)result.wall_ns);
	bench_series_add(&r->primary, (double)result.primary_ns / kib);
	bench_series_add(&r->backup, (double)result.backup_ns / kib);
	return 0;
}

static void text_print(
	const struct options *o, const struct bench_env *e, const struct bench_guard *g)
{
	bench_env_text(e, g);
	printf("%u MB of parameters, MTU %u, digests of every step compared: %s\n\n",
		o->rig.table_mb, o->rig.mtu, o->rig.digest ? "yes" : "no");
	printf("%-22s %-7s %9s %8s %9s %8s\n", "job", "over", "MB a step", "GB/s", "primary",
		"backup");
	for (size_t i = 0; i < GP_ARRAY_SIZE(rows); i++) {
		const struct row *r = &rows[i];
		if (r->rate.count > 0)
			printf("%-22s %-7s %9.1f %8.2f %9.1f %8.1f\n", r->job, r->how,
				(double)r->bytes / 1e6, bench_series_stat(&r->rate).median,
				bench_series_stat(&r->primary).median,
				bench_series_stat(&r->backup).median);
	}
	printf("\nprimary, backup: ns of CPU time for a KiB\n");
}

static void json_print(
	const struct options *o, const struct bench_env *e, const struct bench_guard *g)
{
	const char *comma = "";
	printf("{\"bench\":\"replication\",");
	bench_env_json(e, g);
	printf("\"table_mb\":%u,\"mtu\":%u,\"rows\":[", o->rig.table_mb, o->rig.mtu);
	for (size_t i = 0; i < GP_ARRAY_SIZE(rows); i++) {
		const struct row *r = &rows[i];
		if (r->rate.count == 0)
			continue;
		printf("%s{\"job\":\"%s\",\"over\":\"%s\",\"bytes_step\":%llu,\"gb_s\":%.3f,"
		       "\"primary_ns_kib\":%.2f,\"backup_ns_kib\":%.2f}",
			comma, r->job, r->how, (unsigned long long)r->bytes,
			bench_series_stat(&r->rate).median, bench_series_stat(&r->primary).median,
			bench_series_stat(&r->backup).median);
		comma = ",";
	}
	printf("]}\n");
}

static int options_parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {{"table-mb", required_argument, NULL, 't'},
		{"steps", required_argument, NULL, 's'}, {"rounds", required_argument, NULL, 'r'},
		{"mtu", required_argument, NULL, 'm'}, {"tls", required_argument, NULL, 'T'},
		{"digest", no_argument, NULL, 'd'}, {"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'}, {0}};
	int c;
	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		uint64_t n = 0;
		bool ok = true;
		if (c == 't' && (ok = bench_number(optarg, 4096, &n)))
			o->rig.table_mb = (uint32_t)n;
		else if (c == 's' && (ok = bench_number(optarg, 1000, &n)))
			o->rig.steps = (uint32_t)n;
		else if (c == 'r' && (ok = bench_number(optarg, BENCH_ROUNDS_MAX, &n)))
			o->rounds = (uint32_t)n;
		else if (c == 'm' &&
			 (ok = bench_number(optarg, 9000, &n) && (n == 1500 || n == 9000)))
			o->rig.mtu = (uint32_t)n;
		else if (c == 'T')
			o->tls = o->rig.tls = optarg;
		else if (c == 'd')
			o->rig.digest = true;
		else if (c == 'j')
			o->json = true;
		else if (c == 'h')
			exit(usage(stdout));
		else
			return usage(stderr);
		if (!ok)
			return usage(stderr);
	}
	return optind < argc ? usage(stderr) : EXIT_OK;
}

static int replication_command(int argc, char **argv)
{
	struct options o = {.rig = {.table_mb = 64, .steps = 6, .mtu = 1500}, .rounds = 5};
	struct bench_guard g;
	struct bench_env e;
	int rc = options_parse(argc, argv, &o);
	if (rc != EXIT_OK)
		return rc;
	signal(SIGPIPE, SIG_IGN);
	gp_log_init("gradbench", GP_LOG_WARN);
	bench_env_begin(&e, -1);
	bench_guard_init(&g);
	while (bench_guard_more(&g, o.rounds * (uint32_t)GP_ARRAY_SIZE(rows)))
		for (size_t i = 0; i < GP_ARRAY_SIZE(rows); i++)
			if (row_measure(&rows[i], &o, &g) != 0)
				return EXIT_FAILED;
	bench_env_end(&e);
	if (o.json)
		json_print(&o, &e, &g);
	else
		text_print(&o, &e, &g);
	return EXIT_OK;
}

const struct command command_replication = {.name = "replication",
	.help = "commits to a backup's image: bytes, rate, CPU time",
	.run = replication_command};
