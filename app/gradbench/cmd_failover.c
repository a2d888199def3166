// SPDX-License-Identifier: BSD-3-Clause
//
// gradbench failover: how long a worker is without a committed step when the server that leads is
// lost, and whether anything that it was told is committed is lost or counted twice.
//
// It is the only rank of a train job whose optimizer is SGD with lr 1: each step adds exactly 1 to
// every parameter, so after step s all parameters are s, or something went wrong.
#include "bench.h"
#include "gradbench.h"

#include <gp_client.h>

#include <errno.h>
#include <getopt.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define ELEMS_MAX   (1u << 24)
#define RUNS_MAX    1000
#define CALM_STEPS  20 // before each fault
#define STEP_MS_MAX 60000
#define OVER_MS_MAX 30000 // from the fault to the end of its effects

extern char **environ;

struct failover {
	const char *server, *job, *fault, *repair;
	uint32_t runs, elems;
	bool json;
	struct gp_client *client;
	struct gp_client_error err;
	float *params, *grads;
	uint32_t step; // last one committed
	uint64_t lost, doubled, rolled_back;
	uint32_t done;
	double ms[RUNS_MAX];
};

static double now_ms(void)
{
	return (double)bench_wall_ns() / 1e6;
}

static bool failed(const struct failover *f, const char *what)
{
	fprintf(stderr, "gradbench: failover: %s: %s\n", what, f->err.text);
	return false;
}

// ---- the rank

static bool begin(struct failover *f)
{
	const struct gp_client_opts o = {.server = f->server,
		.job = f->job,
		.world = 1,
		.join_timeout_ms = STEP_MS_MAX,
		.reconnect_ms = STEP_MS_MAX};
	struct gp_client_tensor t = {.name = "steps", .dims_count = 1, .dims = {f->elems}};
	f->params = calloc(f->elems, sizeof(float));
	f->grads = calloc(f->elems, sizeof(float));
	if (!f->params || !f->grads)
		return false;
	for (uint32_t i = 0; i < f->elems; i++)
		f->grads[i] = -1.0f;
	if (gp_client_create(&f->client, &o, &f->err) != 0)
		return failed(f, "joining");
	if (gp_client_register(f->client, &t, 1, STEP_MS_MAX, &f->err) != 0 ||
		gp_client_init_params(f->client, &f->params, STEP_MS_MAX, &f->err) != 0)
		return failed(f, "parameters");
	f->step = gp_client_step(f->client) - 1;
	return true;
}

// Compares what the server holds with what it has told to be committed.
static void account(struct failover *f, uint32_t committed)
{
	for (uint32_t i = 0; i<f->elems; i += f->elems> 1 ? f->elems - 1 : 1) {
		float expected = (float)committed, seen = f->params[i];
		if (seen < expected)
			f->lost += (uint64_t)(expected - seen);
		if (seen > expected)
			f->doubled += (uint64_t)(seen - expected);
	}
}

// A server that is behind what it told: counted, then its state is where this goes on.
static bool back_roll(struct failover *f)
{
	uint32_t had = f->step;
	if (gp_client_init_params(f->client, &f->params, STEP_MS_MAX, &f->err) != 0)
		return failed(f, "after a roll-back");
	f->step = gp_client_step(f->client) - 1;
	account(f, f->step);
	if (had > f->step) {
		f->rolled_back += had - f->step;
		f->lost += had - f->step;
	}
	return true;
}

static bool step_do(struct failover *f)
{
	int rc = gp_client_push_pull(f->client, 0, f->grads, 1.0f, f->params, &f->err);
	if (rc == 0)
		rc = gp_client_wait(f->client, STEP_MS_MAX, &f->err);
	if (rc == -ESTALE)
		return back_roll(f);
	if (rc != 0)
		return failed(f, "a step");
	f->step = gp_client_step(f->client) - 1;
	account(f, f->step);
	return true;
}

static bool steps_do(struct failover *f, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (!step_do(f))
			return false;
	return true;
}

static uint64_t sessions(const struct failover *f)
{
	struct gp_client_stats st;
	gp_client_stats(f->client, &st);
	return st.reconnects;
}

// ---- faults

static pid_t command_start(const char *text)
{
	char *argv[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c", strdup(text), NULL};
	pid_t pid = -1;
	if (!argv[2] || posix_spawnp(&pid, "sh", NULL, NULL, argv, environ) != 0)
		pid = -1;
	free(argv[2]);
	return pid;
}

// Steps go on until the command has ended, and well.
static bool command_end(struct failover *f, pid_t pid, const char *text)
{
	int status = -1;
	while (pid > 0 && waitpid(pid, &status, WNOHANG) == 0)
		if (!step_do(f))
			return false;
	if (pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true;
	fprintf(stderr, "gradbench: failover: `%s` failed\n", text);
	return false;
}

static bool fault_run(struct failover *f, double *ms)
{
	if (!steps_do(f, CALM_STEPS))
		return false;
	uint64_t before = sessions(f);
	double begin_ms = now_ms();
	pid_t pid = command_start(f->fault);
	while (sessions(f) == before) { // the step during which the session was had again counts
		if (!step_do(f))
			return false;
		if (now_ms() - begin_ms > OVER_MS_MAX) {
			fprintf(stderr,
				"gradbench: failover: nothing was taken over within %u s "
				"after `%s`\n",
				OVER_MS_MAX / 1000, f->fault);
			return false;
		}
	}
	*ms = now_ms() - begin_ms;
	return command_end(f, pid, f->fault) && command_end(f, command_start(f->repair), f->repair);
}

// ---- the report

static int ms_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static double percentile(const struct failover *f, uint32_t percent)
{
	uint32_t at = (f->done * percent + 99) / 100;
	return f->ms[at > 0 ? at - 1 : 0];
}

static void report(struct failover *f)
{
	qsort(f->ms, f->done, sizeof(f->ms[0]), ms_compare);
	const char *form =
		f->json ? "{\"bench\":\"failover\",\"runs\":%u,\"ms_p50\":%.1f,\"ms_p99\":%.1f,"
			  "\"ms_max\":%.1f,\"steps\":%u,\"lost\":%llu,\"doubled\":%llu,"
			  "\"rolled_back\":%llu}\n"
			: "runs=%u ms_p50=%.1f ms_p99=%.1f ms_max=%.1f steps=%u lost=%llu "
			  "doubled=%llu rolled_back=%llu\n";
	printf(form, f->done, percentile(f, 50), percentile(f, 99), f->ms[f->done - 1], f->step,
		(unsigned long long)f->lost, (unsigned long long)f->doubled,
		(unsigned long long)f->rolled_back);
}

static int bench_run(struct failover *f)
{
	bool good = begin(f);
	while (good && f->done < f->runs) {
		good = fault_run(f, &f->ms[f->done]);
		f->done += good;
		if (good && !f->json)
			fprintf(stderr, "run %u: %.1f ms, step %u\n", f->done, f->ms[f->done - 1],
				f->step);
	}
	if (f->done > 0)
		report(f);
	gp_client_destroy(f->client);
	free(f->params);
	free(f->grads);
	return good && f->lost + f->doubled == 0 ? EXIT_OK : EXIT_FAILED;
}

static int usage(FILE *to)
{
	fprintf(to,
		"usage: gradbench failover --server A,B --fault COMMAND --repair COMMAND\n"
		"       [--job NAME] [--runs N] [--elems N] [--json]\n\n"
		"  --server A,B      UDP addresses of both nodes\n"
		"  --fault COMMAND   shell command that takes the node away that leads\n"
		"  --repair COMMAND  shell command that brings it back and ends when the pair is "
		"whole\n"
		"  --job NAME        of kind train, one worker, optimizer sgd with lr 1 (default "
		"failover)\n"
		"  --runs N          faults, 1..1000 (default 10)\n"
		"  --elems N         parameters (default 100000)\n\n"
		"ms: from the start of the fault's command to the end of the first step that was\n"
		"committed by the node that took over. lost, doubled: steps that were told to be\n"
		"committed and are not in the parameters, or are there twice. scripts/failover "
		"runs it.\n");
	return to == stdout ? EXIT_OK : EXIT_USAGE;
}

static int failover_run(int argc, char **argv)
{
	static const struct option longs[] = {
		{"server", required_argument, NULL, 's'},
		{"job", required_argument, NULL, 'n'},
		{"fault", required_argument, NULL, 'f'},
		{"repair", required_argument, NULL, 'r'},
		{"runs", required_argument, NULL, 'c'},
		{"elems", required_argument, NULL, 'e'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	static struct failover f = {.job = "failover", .runs = 10, .elems = 100000};
	const char **texts[] = {
		['s'] = &f.server, ['n'] = &f.job, ['f'] = &f.fault, ['r'] = &f.repair};
	uint64_t n = 0;
	int c;
	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (c == 'h')
			return usage(stdout);
		if (c == 'j')
			f.json = true;
		else if (c == 'c' && bench_number(optarg, RUNS_MAX, &n))
			f.runs = (uint32_t)n;
		else if (c == 'e' && bench_number(optarg, ELEMS_MAX, &n))
			f.elems = (uint32_t)n;
		else if (c > 0 && c < (int)GP_ARRAY_SIZE(texts) && texts[c])
			*texts[c] = optarg;
		else
			return usage(stderr);
	}
	bool whole = f.server && f.fault && f.repair;
	return optind < argc || !whole ? usage(stderr) : bench_run(&f);
}

const struct command command_failover = {.name = "failover",
	.help = "how long a lost server keeps a worker waiting, and what it loses",
	.run = failover_run};
