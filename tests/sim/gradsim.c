// SPDX-License-Identifier: BSD-3-Clause
//
// gradsim: runs simulated histories and says which failed. Exit 0: all held; 1: one did not (the
// last line replays it); 2: usage.
#include "pair_runner.h"
#include "runner.h"

#include <gp_rcu.h>

#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>

#define LINE_MAX_SIZE 400
#define LINE_ARGS     24

struct args {
	uint64_t first, last;
	struct sim_limits limits;
	uint32_t jobs;
	uint32_t wall_ms;
	uint32_t shrink_ms;
	uint32_t takeovers;
	bool trace, log, json, plain;
	const char *regressions;
};

static void usage(FILE *f)
{
	fprintf(f,
		"usage: gradsim [--seeds A..B] [--jobs N] [--wall S] [--json] [limits]\n"
		"       gradsim --trace SEED [--log] [limits]\n"
		"       gradsim --regressions FILE\n"
		"       gradsim --takeovers N [--plain] [--codecs one] [--seeds A..B | --trace "
		"SEED] [--json]\n"
		"  --seeds A..B     histories to run (1..100)\n"
		"  --jobs N         processes that share them (1)\n"
		"  --wall S         ends after S seconds\n"
		"  --json           the figures as one JSON object\n"
		"  --shrink S       seconds to make a failing history smaller (60)\n"
		"  --trace SEED     one history, twice, with its properties\n"
		"  --log            and every datagram of it\n"
		"  --regressions F  a history for each line of F, as --trace and limits\n"
		"  --takeovers N    pairs of servers instead, from seed A on, until N takeovers\n"
		"  --plain          of them only the primary fails: how long a failover takes\n"
		"limits, otherwise by seed:\n"
		"  --workers LIST --cores LIST  one of these numbers\n"
		"  --mode LIST      consistency: bsp, ssp, asp, quorum, adaptive; embed\n"
		"  --steps N --datagrams N --tensors N --readers N  at most\n"
		"  --results f32    nobody asks for results in another codec\n"
		"  --codecs one     all contributions are in one codec\n"
		"  --faults LIST    of the seed's faults only these (all, none)\n");
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

static bool number_parse(const char *text, uint32_t *n)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);
	*n = (uint32_t)v;
	return end != text && *end == 0 && v <= UINT32_MAX;
}

static bool list_parse(const char *text, struct sim_list *l, uint32_t max)
{
	l->count = 0;
	for (char *end; l->count < SIM_LIST_MAX; text = end + 1) {
		unsigned long v = strtoul(text, &end, 10);
		if (end == text || v < 1 || v > max || (*end != 0 && *end != ','))
			return false;
		l->values[l->count++] = (uint32_t)v;
		if (*end == 0)
			return true;
	}
	return false;
}

// "ssp,asp"
static bool modes_parse(const char *text, uint32_t *set)
{
	*set = 0;
	for (size_t len; *text; text += len + (text[len] == ',')) {
		len = strcspn(text, ",");
		uint32_t m = GP_CONSIST_BSP;
		while (m <= SIM_EMBED && (strlen(sim_mode_name(m)) != len ||
						 strncmp(sim_mode_name(m), text, len) != 0))
			m++;
		if (m > SIM_EMBED)
			return false;
		*set |= UINT32_C(1) << m;
	}
	return *set != 0;
}

static bool seconds_parse(const char *text, uint32_t *ms)
{
	bool ok = number_parse(text, ms) && *ms < UINT32_MAX / 1000;
	*ms *= 1000;
	return ok;
}

static bool option_take(struct args *a, int o, const char *text)
{
	struct sim_limits *l = &a->limits;
	switch (o) {
	case 's':
		return range_parse(text, &a->first, &a->last);
	case 't':
		a->trace = true;
		a->first = a->last = strtoull(text, NULL, 10);
		return true;
	case 'j':
		return number_parse(text, &a->jobs) && a->jobs >= 1 && a->jobs <= RUNNER_JOBS_MAX;
	case 'a':
		return seconds_parse(text, &a->wall_ms);
	case 'k':
		return seconds_parse(text, &a->shrink_ms);
	case 'w':
		return list_parse(text, &l->workers, SIM_WORKERS_MAX);
	case 'c':
		return list_parse(text, &l->cores, SIM_CORES_MAX);
	case 'm':
		return modes_parse(text, &l->modes);
	case 'n':
		return number_parse(text, &l->steps) && l->steps > 0;
	case 'd':
		return number_parse(text, &l->datagrams) && l->datagrams > 0;
	case 'e':
		return number_parse(text, &l->tensors) && l->tensors > 0;
	case 'r':
		return number_parse(text, &l->readers);
	case 'f':
		return sim_faults_parse(text, &l->faults);
	case 'u':
		l->results_f32 = strcmp(text, "f32") == 0;
		return l->results_f32;
	case 'i':
		l->codecs_one = strcmp(text, "one") == 0;
		return l->codecs_one;
	case 'x':
		a->regressions = text;
		return true;
	case 'p':
		return number_parse(text, &a->takeovers) && a->takeovers > 0;
	case 'q':
		a->plain = true;
		return true;
	case 'l':
		a->log = true;
		return true;
	case 'o':
		a->json = true;
		return true;
	default:
		return false;
	}
}

static const struct option options[] = {{"seeds", required_argument, NULL, 's'},
	{"trace", required_argument, NULL, 't'}, {"jobs", required_argument, NULL, 'j'},
	{"wall", required_argument, NULL, 'a'}, {"shrink", required_argument, NULL, 'k'},
	{"workers", required_argument, NULL, 'w'}, {"cores", required_argument, NULL, 'c'},
	{"mode", required_argument, NULL, 'm'}, {"steps", required_argument, NULL, 'n'},
	{"datagrams", required_argument, NULL, 'd'}, {"tensors", required_argument, NULL, 'e'},
	{"readers", required_argument, NULL, 'r'}, {"faults", required_argument, NULL, 'f'},
	{"results", required_argument, NULL, 'u'}, {"codecs", required_argument, NULL, 'i'},
	{"regressions", required_argument, NULL, 'x'}, {"takeovers", required_argument, NULL, 'p'},
	{"plain", no_argument, NULL, 'q'}, {"log", no_argument, NULL, 'l'},
	{"json", no_argument, NULL, 'o'}, {"help", no_argument, NULL, 'h'}, {0}};

static void args_default(struct args *a)
{
	*a = (struct args){.first = 1, .last = 100, .jobs = 1, .shrink_ms = 60000};
	sim_limits_none(&a->limits);
}

// False: print the usage.
static bool args_parse(struct args *a, int argc, char **argv)
{
	optind = 0;
	for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;)
		if (!option_take(a, o, optarg))
			return false;
	return optind == argc;
}

// ---- output

static void finding_report(const struct args *a, const struct finding *f)
{
	struct sim_opts o;
	struct sim_limits l = a->limits;
	sim_opts_of_seed(&o, f->seed, &l);
	sim_opts_print(stdout, &o);
	printf("seed %" PRIu64 ": %s\n", f->seed, f->why);
	if (a->shrink_ms)
		shrink(f->seed, &l, a->shrink_ms);
	printf("replay: gradsim ");
	shrink_print(stdout, f->seed, &l);
}

static void figures(const struct totals *t, uint64_t ms, bool json)
{
	const struct {
		const char *name;
		uint64_t n;
	} rows[] = {{"histories", t->histories}, {"twice", t->twice},
		{"datagrams", t->stats.datagrams}, {"wall_ms", ms}, {"commits", t->stats.commits},
		{"views", t->stats.views}, {"results_checked", t->stats.checks},
		{"pulls", t->stats.pulls}, {"cuts", t->stats.cuts},
		{"retransmits", t->stats.retransmits}, {"units_aborted", t->stats.aborts},
		{"killed", t->stats.kills}, {"sessions_failed", t->stats.errors},
		{"lost", t->wire.lost + t->wire.cut}, {"duplicated", t->wire.duplicated},
		{"old_copies", t->wire.old}, {"reordered", t->wire.reordered},
		{"corrupted", t->wire.corrupted}, {"undetected", t->wire.undetected},
		{"malformed", t->wire.malformed}, {"from_strangers", t->wire.strange},
		{"no_frame", t->wire.no_frame}, {"queue_full", t->wire.queue_full},
		{"virtual_s", t->stats.virtual_ns / SEC}, {"calm_ms_max", t->calm_ns_max / MS}};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(rows); i++)
		printf(json ? "%s\"%s\": %" PRIu64 : "%s%s %" PRIu64,
			i == 0 ? (json ? "{" : "") : ", ", rows[i].name, rows[i].n);
	printf(json ? "}\n" : "\n");
}

// ---- what to do

static int histories_run(const struct args *a)
{
	struct totals t = {0};
	struct finding f;
	uint64_t began = runner_clock_ms();
	runner_run(a->first, a->last, &a->limits, a->jobs, a->wall_ms, &t, &f);
	figures(&t, runner_clock_ms() - began, a->json);
	if (f.found)
		finding_report(a, &f);
	return f.found;
}

static int trace_run(const struct args *a)
{
	struct sim_opts o;
	struct sim_result r, again;
	sim_opts_of_seed(&o, a->first, &a->limits);
	sim_opts_print(stdout, &o);
	gp_rcu_register_thread();
	if (runner_prepare)
		runner_prepare();
	sim_run(&o, a->log, &r);
	if (r.ok)
		sim_run(&o, false, &again);
	gp_rcu_unregister_thread();
	struct totals t = {.histories = 1, .stats = r.stats, .wire = r.wire};
	figures(&t, 0, a->json);
	if (r.ok && again.hash != r.hash) {
		printf("two runs differ\n");
		return 1;
	}
	printf("%s hash %016" PRIx64 "\n", r.ok ? "ok" : r.why, r.hash);
	return !r.ok;
}

static bool pairs_run(const struct args *a, struct pair_totals *t)
{
	bool one = a->trace;
	const struct pair_range range = {.first = a->first,
		.last = one ? a->first : UINT64_MAX,
		.takeovers = one ? UINT64_MAX : a->takeovers,
		.codecs_one = a->limits.codecs_one};
	return pair_histories(&range, a->plain, t);
}

// One of a pair, or one of a server.
static bool kept_try(const struct args *a, char why[SIM_WHY_SIZE])
{
	static struct pair_totals t;
	if (!a->takeovers)
		return runner_try(a->first, &a->limits, why);
	bool ok = pairs_run(a, &t);
	(void)snprintf(why, SIM_WHY_SIZE, "%.250s", t.why);
	return ok;
}

static int regressions_run(const struct args *a)
{
	char line[LINE_MAX_SIZE], why[SIM_WHY_SIZE];
	uint32_t count = 0, failed = 0;
	FILE *in = fopen(a->regressions, "re");
	if (!in) {
		perror(a->regressions);
		return 2;
	}
	while (fgets(line, sizeof(line), in)) {
		char *argv[LINE_ARGS] = {"gradsim"}, *save;
		int argc = 1;
		line[strcspn(line, "#\n")] = 0;
		for (char *w = strtok_r(line, " ", &save); w && argc < LINE_ARGS;
			w = strtok_r(NULL, " ", &save))
			argv[argc++] = w;
		struct args one;
		args_default(&one);
		if (argc == 1)
			continue;
		count++;
		bool legal = args_parse(&one, argc, argv) && one.trace;
		if (legal && kept_try(&one, why))
			continue;
		failed++;
		printf("seed %" PRIu64 ": %s\n", one.first, legal ? why : "not a history");
	}
	(void)fclose(in);
	printf("%u histories kept, %u failed\n", count, failed);
	return failed || count == 0;
}

static int takeovers_run(const struct args *a)
{
	static struct pair_totals t;
	uint64_t began = runner_clock_ms();
	bool ok = pairs_run(a, &t);
	pair_totals_print(&t, runner_clock_ms() - began, a->json);
	if (!ok)
		printf("seed %" PRIu64 ": %s\nreplay: gradsim --takeovers 1%s%s --trace %" PRIu64
		       "\n",
			t.seed, t.why, a->plain ? " --plain" : "",
			a->limits.codecs_one ? " --codecs one" : "", t.seed);
	else if (a->trace)
		printf("ok hash %016" PRIx64 "\n", t.hash);
	return !ok;
}

int main(int argc, char **argv)
{
	struct args a;
	args_default(&a);
	if (!args_parse(&a, argc, argv)) {
		usage(stderr);
		return 2;
	}
	if (a.takeovers)
		return takeovers_run(&a);
	if (a.regressions)
		return regressions_run(&a);
	return a.trace ? trace_run(&a) : histories_run(&a);
}
