// SPDX-License-Identifier: BSD-3-Clause
//
// gradbench replay FILE: what a server's flight recorder held, through the same engine again, so
// that one can look at it in a debugger.
#include "gradbench.h"

#include "../gradplaned/job_config.h"

#include <gp_replay.h>

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#define FILE_SIZE_MAX (UINT64_C(1) << 34)
#define ALIGN	      ((size_t)GP_CACHE_LINE)

struct options {
	const char *path;
	const char *config; // instead of the one in the file
	bool json;
	bool aborts;	  // a failed assertion of the engine ends the program
	uint64_t stop_at; // round to stop before in a debugger, UINT64_MAX: none
};

static int help_print(void)
{
	printf("usage: gradbench replay [OPTION...] FILE\n\n"
	       "Drives the engine through what the flight recorder of a gradplaned held (gradctl\n"
	       "record dump, SIGUSR1, a failed assertion) and compares verdicts and decisions.\n\n"
	       "  --config FILE  this configuration instead of the one in FILE\n"
	       "  --break N      raise SIGTRAP before round N: for a run under gdb\n"
	       "  --abort        abort where the engine fails an assertion: likewise\n"
	       "  --json         one object for programs\n\n"
	       "exit status: 0 the same again, 1 it differs or cannot be replayed, 2 wrong "
	       "usage\n");
	return EXIT_OK;
}

static int usage_error(const char *text)
{
	fprintf(stderr, "gradbench replay: %s; --help says more\n", text);
	return EXIT_USAGE;
}

// -1: go on, else the exit status.
static int options_parse(struct options *o, int argc, char **argv)
{
	static const struct option longs[] = {{"config", required_argument, NULL, 'c'},
		{"break", required_argument, NULL, 'b'}, {"abort", no_argument, NULL, 'a'},
		{"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {0}};
	int c;
	*o = (struct options){.stop_at = UINT64_MAX};
	optind = 1;
	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		char *end = NULL;
		if (c == 'h')
			return help_print();
		if (c == 'c')
			o->config = optarg;
		else if (c == 'j')
			o->json = true;
		else if (c == 'a')
			o->aborts = true;
		else if (c == 'b')
			o->stop_at = strtoull(optarg, &end, 10);
		else
			return usage_error("bad option");
		if (end && (*end || end == optarg))
			return usage_error("--break wants a number");
	}
	if (optind != argc - 1)
		return usage_error("which file?");
	o->path = argv[optind];
	return -1;
}

// The whole file in aligned memory; NULL and a line on standard error.
static void *file_read(const char *path, size_t *size)
{
	void *mem = NULL;
	FILE *f = fopen(path, "rb");
	long len = -1;
	if (f && fseek(f, 0, SEEK_END) == 0)
		len = ftell(f);
	if (len >= 0 && (uint64_t)len <= FILE_SIZE_MAX && fseek(f, 0, SEEK_SET) == 0)
		mem = aligned_alloc(ALIGN, gp_align_up((uint64_t)len + 1, ALIGN));
	if (mem && fread(mem, 1, (size_t)len, f) != (size_t)len) {
		free(mem);
		mem = NULL;
	}
	if (!mem)
		fprintf(stderr, "gradbench replay: %s: cannot be read: %s\n", path,
			strerror(errno ? errno : EIO));
	if (f)
		fclose(f);
	*size = (size_t)len;
	return mem;
}

// ---- memory of the engine: large pieces are not touched before they are used

static void *memory_take(void *arg, size_t size)
{
	(void)arg;
	if (size > SIZE_MAX - 2 * ALIGN)
		return NULL;
	uint8_t *raw = calloc(1, size + 2 * ALIGN);
	if (!raw)
		return NULL;
	uint8_t *p = (uint8_t *)gp_align_up((uintptr_t)raw + sizeof(void *), ALIGN);
	memcpy(p - sizeof(void *), &raw, sizeof(void *));
	return p;
}

static void memory_give(void *arg, void *mem)
{
	void *raw;
	(void)arg;
	if (!mem)
		return;
	memcpy(&raw, (uint8_t *)mem - sizeof(void *), sizeof(void *));
	free(raw);
}

// ---- the run

static int config_load(const struct options *o, const struct gp_replay_node *n, struct gp_config *c)
{
	char err[GP_CONFIG_ERROR_SIZE] = "it holds none";
	int rc = -EINVAL;
	if (o->config)
		rc = gp_config_load(o->config, c, err, sizeof(err));
	else if (n->config_len > 0)
		rc = gp_config_parse(
			"configuration", n->config, n->config_len, c, err, sizeof(err));
	if (rc != 0)
		fprintf(stderr, "gradbench replay: %s: %s\n", o->path, err);
	return rc;
}

static void node_print(const struct gp_flight_file *f, const struct gp_replay_node *n)
{
	static const char *const causes[] = {"on command", "on SIGUSR1", "by a failed assertion"};
	time_t wall = (time_t)f->wall;
	char when[64] = "";
	struct tm tm;
	if (gmtime_r(&wall, &tm))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S UTC", &tm);
	printf("written by gradplaned %s at %s %s: %u cores, epoch %u, %s\n", n->version, when,
		n->cause < GP_ARRAY_SIZE(causes) ? causes[n->cause] : "?", n->cores_count, n->epoch,
		n->payloads ? "whole datagrams" : "headers");
}

static void result_print(const struct gp_replay_result *x, bool payloads)
{
	printf("%llu rounds: %llu datagrams driven, %llu of them with zeros for what was not kept, "
	       "%llu taken as recorded; %llu decisions of homes\n",
		(unsigned long long)x->rounds, (unsigned long long)x->datagrams,
		(unsigned long long)x->filled, (unsigned long long)x->taken,
		(unsigned long long)x->decisions);
	if (x->wrapped)
		printf("the rings have overwritten their beginning: each job begins at its first "
		       "mark, %llu records before it are not driven; parameters are zeros\n",
			(unsigned long long)x->before);
	if (x->missing[0])
		printf("not replayed: %s (more recorder.cells reach back further)\n", x->missing);
	if (x->differs)
		printf("%s in round %llu: %s\n", x->fails ? "FAILS" : "DIFFERS",
			(unsigned long long)x->rounds, x->text);
	else
		printf("the same verdicts and decisions%s\n",
			payloads && !x->wrapped && x->short_of_memory == 0
				? ", with the bytes that came"
				: "");
}

// What an assertion says may hold quotes.
static void json_text(const char *name, const char *text, const char *after)
{
	printf("\"%s\":\"", name);
	for (; *text; text++)
		printf(*text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
	printf("\"%s", after);
}

static void result_json(const struct gp_replay_result *x)
{
	printf("{\"rounds\":%llu,\"datagrams\":%llu,\"filled\":%llu,\"taken\":%llu,\"before\":%llu,"
	       "\"short_of_memory\":%llu,\"decisions\":%llu,\"wrapped\":%s,\"differs\":%s,"
	       "\"fails\":%s,",
		(unsigned long long)x->rounds, (unsigned long long)x->datagrams,
		(unsigned long long)x->filled, (unsigned long long)x->taken,
		(unsigned long long)x->before, (unsigned long long)x->short_of_memory,
		(unsigned long long)x->decisions, x->wrapped ? "true" : "false",
		x->differs ? "true" : "false", x->fails ? "true" : "false");
	json_text("missing", x->missing, ",");
	json_text("text", x->text, "}\n");
}

static int replay_run(const struct options *o, const struct gp_flight_file *f,
	const struct gp_replay_node *n, const struct gp_config *c)
{
	char err[GP_REPLAY_TEXT_SIZE];
	struct gp_replay *r;
	struct gp_job_config *jobs = calloc(GP_MAX(c->jobs_count, 1u), sizeof(*jobs));
	if (!jobs)
		return EXIT_FAILED;
	for (uint32_t i = 0; i < c->jobs_count; i++)
		job_config_fill(&jobs[i], &c->jobs[i], c);
	const struct gp_engine_config e = {.jobs_count = c->jobs_count,
		.jobs = jobs,
		.take = memory_take,
		.give = memory_give};
	int rc = gp_replay_create(&r, f, &e, err);
	if (rc != 0) {
		fprintf(stderr, "gradbench replay: %s: %s\n", o->path, err);
		free(jobs);
		return EXIT_FAILED;
	}
	if (o->aborts)
		gp_replay_unguard(r);
	const struct gp_replay_result *x = gp_replay_result(r);
	do {
		if (x->rounds == o->stop_at)
			raise(SIGTRAP);
	} while (gp_replay_round(r));
	if (o->json)
		result_json(x);
	else
		result_print(x, n->payloads);
	rc = x->differs || (x->missing[0] && x->datagrams == 0) ? EXIT_FAILED : EXIT_OK;
	gp_replay_destroy(r);
	free(jobs);
	return rc;
}

static int replay_main(int argc, char **argv)
{
	struct options o;
	struct gp_flight_file f;
	struct gp_replay_node n;
	char why[GP_FLIGHT_ERROR_SIZE], err[GP_REPLAY_TEXT_SIZE];
	size_t size;
	int rc = options_parse(&o, argc, argv);
	if (rc >= 0)
		return rc;
	void *data = file_read(o.path, &size);
	struct gp_config *c = malloc(sizeof(*c));
	rc = EXIT_FAILED;
	if (!data || !c)
		goto out;
	if (gp_flight_open(&f, data, size, why) != 0) {
		fprintf(stderr, "gradbench replay: %s: %s\n", o.path, why);
		goto out;
	}
	if (gp_replay_node_of(&f, &n, err) != 0) {
		fprintf(stderr, "gradbench replay: %s: %s\n", o.path, err);
		goto out;
	}
	if (config_load(&o, &n, c) != 0)
		goto out;
	if (!o.json)
		node_print(&f, &n);
	rc = replay_run(&o, &f, &n, c);
out:
	free(c);
	free(data);
	return rc;
}

const struct command command_replay = {
	"replay", "a flight record of gradplaned through the engine again", replay_main};
