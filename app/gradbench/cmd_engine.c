// SPDX-License-Identifier: BSD-3-Clause
//
// gradbench engine: what one core does with contributions that lie ready in memory, against the
// same traffic without an engine (roof.h), in turns of one run.
#include "bench.h"
#include "gradbench.h"
#include "rig.h"
#include "roof.h"

#include <getopt.h>
#include <stdlib.h>

#define LIST_MAX      8
#define FRAMES_COLD   32768 // from here on compared with a plain read of the frames
#define PACKETS_ROUND 200000

struct list {
	uint32_t v[LIST_MAX];
	uint32_t count;
};

struct options {
	struct list workers, mtus, frames, tables_mb;
	bool reduce, train, json;
	uint32_t rounds, packets, skew, slots, window, tensors;
};

struct row {
	struct rig_opts o;
	struct bench_guard guard;
	struct bench_series ns, generator_ns, limit_ns, ratio;
	uint32_t payload;
};

struct engine_bench {
	struct options o;
	struct bench_env env;
	struct roof roof;
	struct bench_guard all; // rounds of all rows
	bool first_row;
};

// ns that the same traffic takes without an engine, for one contribution.
static double limit_measure(struct engine_bench *b, struct rig *r, const struct row *row)
{
	if (row->o.train)
		return roof_update_ns(&b->roof, r->block_elems, row->o.workers) / row->o.workers;
	if (row->o.frames >= FRAMES_COLD)
		return rig_read_frames(r, b->roof.loops->read);
	return roof_add_ns(&b->roof, r->block_elems);
}

static void row_round(struct engine_bench *b, struct rig *r, struct row *row, uint32_t steps)
{
	double packets = (double)rig_step_packets(r) * steps;
	bench_guard_begin(&row->guard);
	double limit = limit_measure(b, r, row);
	double generator = rig_generate(r, steps) / packets;
	double ns = rig_run(r, steps) / packets - generator;
	if (!bench_guard_end(&row->guard))
		return;
	bench_series_add(&row->limit_ns, limit);
	bench_series_add(&row->generator_ns, generator);
	bench_series_add(&row->ns, ns);
	bench_series_add(&row->ratio, limit / ns);
}

// False when a sum was wrong or nothing could be measured.
static bool row_measure(struct engine_bench *b, struct row *row)
{
	struct rig *r;
	if (rig_create(&r, &row->o) != 0)
		return false;
	uint32_t steps = (uint32_t)(b->o.packets / rig_step_packets(r)) + 1;
	row->payload = r->block_elems * (uint32_t)sizeof(float);
	(void)rig_run(r, steps);
	bool good = rig_check(r);
	bench_guard_init(&row->guard);
	while (good && bench_guard_more(&row->guard, b->o.rounds)) {
		row_round(b, r, row, steps);
		good = rig_check(r);
	}
	rig_destroy(r);
	return good;
}

static const char *limit_name(const struct row *row)
{
	return row->o.train ? "update" : row->o.frames >= FRAMES_COLD ? "read" : "add";
}

static void text_begin(void)
{
	printf("%-6s %4s %5s %7s %6s %8s %15s %8s %8s %6s %14s %9s %7s\n", "kind", "W", "MTU",
		"table", "frames", "ns/pkt", "least..most", "cycles", "Gbit/s", "gen ns",
		"limit ns", "of limit", "spread");
}

static void row_text(const struct row *row)
{
	struct bench_stat ns = bench_series_stat(&row->ns);
	struct bench_stat ratio = bench_series_stat(&row->ratio);
	printf("%-6s %4u %5u %5u MB %6u %8.1f %7.1f..%6.1f %8.0f %8.1f %6.1f %7.1f %-6s %9.2f "
	       "%6.1f%%%s\n",
		row->o.train ? "train" : "reduce", row->o.workers, row->o.mtu,
		(uint32_t)(row->o.table_bytes >> 20), row->o.frames, ns.median, ns.min, ns.max,
		ns.median * bench_tsc_ghz(), 8 * row->payload / ns.median,
		bench_series_stat(&row->generator_ns).median,
		bench_series_stat(&row->limit_ns).median, limit_name(row), ratio.median,
		100 * bench_series_spread(&row->ratio), row->guard.discarded ? " *" : "");
	fflush(stdout);
}

static void row_json(const struct row *row, bool first)
{
	struct bench_stat ns = bench_series_stat(&row->ns);
	struct bench_stat ratio = bench_series_stat(&row->ratio);
	printf("%s{\"kind\":\"%s\",\"workers\":%u,\"tensors\":%u,\"mtu\":%u,\"table_mb\":%u,"
	       "\"frames\":%u,"
	       "\"ns\":%.2f,\"ns_min\":%.2f,\"ns_max\":%.2f,\"cycles\":%.0f,\"gbit_s\":%.2f,"
	       "\"generator_ns\":%.2f,\"limit\":\"%s\",\"limit_ns\":%.2f,\"ratio\":%.3f,"
	       "\"ratio_min\":%.3f,\"ratio_max\":%.3f,\"kept\":%u,\"discarded\":%u}",
		first ? "" : ",", row->o.train ? "train" : "reduce", row->o.workers, row->o.tensors,
		row->o.mtu, (uint32_t)(row->o.table_bytes >> 20), row->o.frames, ns.median, ns.min,
		ns.max, ns.median * bench_tsc_ghz(), 8 * row->payload / ns.median,
		bench_series_stat(&row->generator_ns).median, limit_name(row),
		bench_series_stat(&row->limit_ns).median, ratio.median, ratio.min, ratio.max,
		row->guard.kept, row->guard.discarded);
}

static bool config_run(struct engine_bench *b, const struct rig_opts *o)
{
	struct row *row = calloc(1, sizeof(*row));
	GP_ASSERT(row);
	row->o = *o;
	bool good = row_measure(b, row);
	if (good && b->o.json)
		row_json(row, b->first_row);
	else if (good)
		row_text(row);
	b->first_row = false;
	b->all.kept += row->guard.kept;
	b->all.discarded += row->guard.discarded;
	free(row);
	return good;
}

static bool configs_run(struct engine_bench *b, bool train)
{
	const struct options *o = &b->o;
	bool good = true;
	for (uint32_t m = 0; m < o->mtus.count && good; m++)
		for (uint32_t w = 0; w < o->workers.count && good; w++)
			for (uint32_t t = 0; t < o->tables_mb.count && good; t++)
				for (uint32_t f = 0; f < o->frames.count && good; f++) {
					const struct rig_opts ro = {.train = train,
						.mtu = o->mtus.v[m],
						.jobs = 1,
						.workers = o->workers.v[w],
						.tensors = o->tensors,
						.table_bytes = (uint64_t)o->tables_mb.v[t] << 20,
						.frames = o->frames.v[f],
						.skew = o->skew,
						.slots = o->slots,
						.window = o->window};
					good = config_run(b, &ro);
				}
	return good;
}

static int bench_run(struct engine_bench *b)
{
	b->first_row = true;
	bench_env_begin(&b->env, -1);
	if (roof_init(&b->roof, UINT64_C(100) << 20, b->o.train ? 4 : 1) != 0)
		return EXIT_FAILED;
	if (b->o.json)
		printf("{\"bench\":\"engine\",\"rows\":[");
	else
		text_begin();
	gp_rcu_register_thread();
	bool good = !b->o.reduce || configs_run(b, false);
	good = good && (!b->o.train || configs_run(b, true));
	gp_rcu_unregister_thread();
	roof_fini(&b->roof);
	bench_env_end(&b->env);
	if (b->o.json) {
		printf("],");
		bench_env_json(&b->env, &b->all);
		printf("\"sums\":\"%s\"}\n", good ? "checked" : "failed");
	} else {
		bench_env_text(&b->env, &b->all);
		printf("%s; * = rounds were discarded\n",
			good ? "every sum was checked" : "FAILED");
	}
	return good ? EXIT_OK : EXIT_FAILED;
}

static int usage(FILE *to)
{
	fprintf(to,
		"usage: gradbench engine [OPTION...]\n\n"
		"  --kind K       reduce, train or both (default both)\n"
		"  --workers L    workers, 1..256; a list L is 1,4,64 (default 1,4)\n"
		"  --mtu L        576..9216 (default 1500,9000)\n"
		"  --frames L     frames in rotation, 256.. (default 4096,65536)\n"
		"  --table-mb L   MB of values (default 100)\n"
		"  --tensors N    of the job (default 1)\n"
		"  --skew N       blocks from the first worker to the last (default 16), 32 below "
		"slots\n"
		"  --slots N      open blocks, a power of two (default 64)\n"
		"  --window N     credit of a worker (default 32)\n"
		"  --rounds N     rounds kept, 1..101 (default 5)\n"
		"  --packets N    contributions of a round, at least (default 200000)\n"
		"  --json\n\n"
		"ns/pkt: for each contribution, without the generator's share (gen ns). limit: "
		"add,\n"
		"cached payloads into a table of 100 MB; read, the payloads of all frames (from\n"
		"32768 frames on); update, momentum without an engine. of limit: above 1 is "
		"faster.\n");
	return to == stdout ? EXIT_OK : EXIT_USAGE;
}

static bool list_parse(const char *text, uint64_t min, uint64_t max, struct list *l)
{
	char copy[128], *save = NULL;
	if (strlen(text) >= sizeof(copy))
		return false;
	strcpy(copy, text);
	l->count = 0;
	for (char *t = strtok_r(copy, ",", &save); t; t = strtok_r(NULL, ",", &save)) {
		uint64_t n;
		if (l->count == LIST_MAX || !bench_number(t, max, &n) || n < min)
			return false;
		l->v[l->count++] = (uint32_t)n;
	}
	return l->count > 0;
}

static bool kind_parse(const char *text, struct options *o)
{
	o->reduce = strcmp(text, "train") != 0;
	o->train = strcmp(text, "reduce") != 0;
	return strcmp(text, "both") == 0 || o->reduce != o->train;
}

static bool number_take(const char *text, uint64_t max, uint32_t *out)
{
	uint64_t n;
	bool ok = bench_number(text, max, &n);
	*out = ok ? (uint32_t)n : *out;
	return ok;
}

static bool option_take(struct options *o, int c, const char *text)
{
	switch (c) {
	case 'k':
		return kind_parse(text, o);
	case 'w':
		return list_parse(text, 1, GP_RANKS_MAX, &o->workers);
	case 'm':
		return list_parse(text, 576, 9216, &o->mtus);
	case 'f':
		return list_parse(text, 256, 1 << 20, &o->frames);
	case 't':
		return list_parse(text, 1, 65536, &o->tables_mb);
	case 'n':
		return number_take(text, 131072, &o->tensors);
	case 's':
		return number_take(text, 2048, &o->skew);
	case 'l':
		return number_take(text, 4096, &o->slots) && (o->slots & (o->slots - 1)) == 0;
	case 'i':
		return number_take(text, 1024, &o->window);
	case 'r':
		return number_take(text, BENCH_ROUNDS_MAX, &o->rounds);
	case 'p':
		return number_take(text, 1 << 30, &o->packets);
	case 'j':
		o->json = true;
		return true;
	default:
		return false;
	}
}

static int engine_run(int argc, char **argv)
{
	static const struct option longs[] = {
		{"kind", required_argument, NULL, 'k'},
		{"workers", required_argument, NULL, 'w'},
		{"mtu", required_argument, NULL, 'm'},
		{"frames", required_argument, NULL, 'f'},
		{"table-mb", required_argument, NULL, 't'},
		{"tensors", required_argument, NULL, 'n'},
		{"skew", required_argument, NULL, 's'},
		{"slots", required_argument, NULL, 'l'},
		{"window", required_argument, NULL, 'i'},
		{"rounds", required_argument, NULL, 'r'},
		{"packets", required_argument, NULL, 'p'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct engine_bench b = {.o = {.workers = {{1, 4}, 2},
					 .mtus = {{1500, 9000}, 2},
					 .frames = {{4096, 65536}, 2},
					 .tables_mb = {{100}, 1},
					 .reduce = true,
					 .train = true,
					 .rounds = 5,
					 .packets = PACKETS_ROUND,
					 .skew = 16,
					 .slots = 64,
					 .window = 32,
					 .tensors = 1}};
	int c;
	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (c == 'h')
			return usage(stdout);
		if (!option_take(&b.o, c, optarg))
			return usage(stderr);
	}
	if (optind < argc || b.o.skew + RIG_BURST > b.o.slots)
		return usage(stderr);
	return bench_run(&b);
}

const struct command command_engine = {.name = "engine",
	.help = "one core's work on contributions, without a port",
	.run = engine_run};
