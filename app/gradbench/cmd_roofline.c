// SPDX-License-Identifier: BSD-3-Clause
//
// gradbench roofline: what this machine's memory allows one core. Payloads that lie in the cache
// are added into a table that does not; beside it, plain copies and reads of the same table.
#include "bench.h"
#include "gradbench.h"
#include "roof.h"

#include <getopt.h>

struct roofline {
	uint32_t table_mb, rounds;
	bool json;
	struct bench_env env;
	struct bench_guard guard;
	struct roof big, small; // small: fits the second-level cache
};

enum row_kind { ROW_ADD, ROW_ADD_CACHED, ROW_UPDATE, ROW_COPY, ROW_READ };

struct row {
	enum row_kind kind;
	uint32_t payload; // bytes; copy and read: the whole table
	struct bench_series ns;
};

static struct row rows[] = {
	{.kind = ROW_ADD, .payload = 256},
	{.kind = ROW_ADD, .payload = 1024},
	{.kind = ROW_ADD, .payload = 1344}, // a block at MTU 1500
	{.kind = ROW_ADD, .payload = 4096},
	{.kind = ROW_ADD, .payload = 8832}, // at MTU 9000
	{.kind = ROW_ADD_CACHED, .payload = 1344},
	{.kind = ROW_ADD_CACHED, .payload = 8832},
	{.kind = ROW_UPDATE, .payload = 1344},
	{.kind = ROW_UPDATE, .payload = 8832},
	{.kind = ROW_COPY},
	{.kind = ROW_READ},
};

static const char *const kind_names[] = {"add", "add, table cached", "momentum", "copy", "read"};

static uint64_t sink; // what was read: a loop whose result nobody wants may be dropped

static double row_time(struct roofline *b, const struct row *r)
{
	uint32_t elems = r->payload / (uint32_t)sizeof(float);
	if (r->kind == ROW_ADD)
		return roof_add_ns(&b->big, elems);
	if (r->kind == ROW_UPDATE)
		return roof_update_ns(&b->big, elems, 1);
	if (r->kind == ROW_ADD_CACHED) {
		double ns = 0;
		for (int i = 0; i < 100; i++)
			ns += roof_add_ns(&b->small, elems);
		return ns / 100;
	}
	uint64_t from = bench_cpu_ns();
	if (r->kind == ROW_COPY)
		memcpy(b->big.table[1], b->big.table[0], b->big.table_size);
	else
		sink |= b->big.loops->read((const uint64_t *)(const void *)b->big.table[0],
			b->big.table_size / sizeof(uint64_t));
	return (double)(bench_cpu_ns() - from);
}

static double row_gbit(const struct roofline *b, const struct row *r, double ns)
{
	double bytes = r->payload ? (double)r->payload : (double)b->big.table_size;
	return 8 * bytes / ns;
}

static void text_print(const struct roofline *b)
{
	bench_env_text(&b->env, &b->guard);
	printf("table of %u MB\n%-18s %8s %10s %20s %8s %8s\n", b->table_mb, "work", "payload",
		"ns", "least..most", "spread", "Gbit/s");
	for (const struct row *r = rows; r < rows + GP_ARRAY_SIZE(rows); r++) {
		struct bench_stat s = bench_series_stat(&r->ns);
		printf("%-18s %8u %10.1f %9.1f..%9.1f %7.1f%% %8.1f\n", kind_names[r->kind],
			r->payload, s.median, s.min, s.max, 100 * bench_series_spread(&r->ns),
			row_gbit(b, r, s.median));
	}
}

static void json_print(const struct roofline *b)
{
	printf("{\"bench\":\"roofline\",");
	bench_env_json(&b->env, &b->guard);
	printf("\"table_mb\":%u,\"rows\":[", b->table_mb);
	for (const struct row *r = rows; r < rows + GP_ARRAY_SIZE(rows); r++) {
		struct bench_stat s = bench_series_stat(&r->ns);
		printf("%s{\"work\":\"%s\",\"payload\":%u,\"ns\":%.2f,\"ns_min\":%.2f,"
		       "\"ns_max\":%.2f,\"gbit_s\":%.2f}",
			r == rows ? "" : ",", kind_names[r->kind], r->payload, s.median, s.min,
			s.max, row_gbit(b, r, s.median));
	}
	printf("]}\n");
}

static void rounds_run(struct roofline *b)
{
	while (bench_guard_more(&b->guard, b->rounds)) {
		double ns[GP_ARRAY_SIZE(rows)];
		bench_guard_begin(&b->guard);
		for (size_t i = 0; i < GP_ARRAY_SIZE(rows); i++)
			ns[i] = row_time(b, &rows[i]);
		if (!bench_guard_end(&b->guard))
			continue;
		for (size_t i = 0; i < GP_ARRAY_SIZE(rows); i++)
			bench_series_add(&rows[i].ns, ns[i]);
	}
}

static int bench_run(struct roofline *b)
{
	bench_env_begin(&b->env, -1);
	bench_guard_init(&b->guard);
	int rc = roof_init(&b->big, (size_t)b->table_mb << 20, 4);
	if (rc == 0)
		rc = roof_init(&b->small, 262144, 1);
	if (rc == 0) {
		rounds_run(b);
		bench_env_end(&b->env);
		(b->json ? json_print : text_print)(b);
	}
	roof_fini(&b->big);
	roof_fini(&b->small);
	return rc == 0 ? EXIT_OK : EXIT_FAILED;
}

static int usage(FILE *to)
{
	fprintf(to, "usage: gradbench roofline [--table-mb N] [--rounds N] [--json]\n\n"
		    "  --table-mb N  MB of the table, 1..4096 (default 100)\n"
		    "  --rounds N    rounds kept, 1..101 (default 11)\n\n"
		    "add: cached payloads into the table. momentum: two tables read, two written.\n"
		    "ns: of one payload, or of the whole table. spread: half of the quartiles'\n"
		    "distance. Gbit/s: of payload, of a copy's source, of what is read.\n");
	return to == stdout ? EXIT_OK : EXIT_USAGE;
}

static int roofline_run(int argc, char **argv)
{
	static const struct option longs[] = {
		{"table-mb", required_argument, NULL, 't'},
		{"rounds", required_argument, NULL, 'r'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	static struct roofline b = {.table_mb = 100, .rounds = 11};
	uint64_t n = 0;
	int c;
	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (c == 'h')
			return usage(stdout);
		if (c == 'j')
			b.json = true;
		else if (c == 't' && bench_number(optarg, 4096, &n))
			b.table_mb = (uint32_t)n;
		else if (c == 'r' && bench_number(optarg, BENCH_ROUNDS_MAX, &n))
			b.rounds = (uint32_t)n;
		else
			return usage(stderr);
	}
	return optind < argc ? usage(stderr) : bench_run(&b);
}

const struct command command_roofline = {
	.name = "roofline", .help = "what memory allows: add, copy, read", .run = roofline_run};
