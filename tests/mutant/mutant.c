// SPDX-License-Identifier: BSD-3-Clause
//
// gradsim_mutant: the simulator, linked with copies of the sources in which bugs are planted
// (mutants.txt). Each must die of a broken promise. Exit 0: all did; 1: one lived; 2: usage.
#include <runner.h>

#include <getopt.h>
#include <stdlib.h>

#define SEEDS_MAX     2000
#define WALL_MS	      600000 // only a machine that is very busy needs so long
#define SOUND_SEEDS   60     // without a bug nothing dies
#define SEEDS_AT_ONCE 2

extern int gp_mutant; // of the copies
int gp_mutant;

static const struct {
	const char *name;
	const char *promise;
} mutants[] = {
#include "mutants.inc"
};

static bool kill_one(uint32_t number, uint32_t jobs)
{
	struct sim_limits l;
	struct totals t = {0};
	struct finding f;
	uint64_t began = runner_clock_ms();
	sim_limits_none(&l);
	gp_mutant = (int)number;
	runner_run(1, SEEDS_MAX, &l, jobs, WALL_MS, &t, &f);
	gp_mutant = 0;
	double wall = (double)(runner_clock_ms() - began) * 1e-3;
	printf("%-28s %s %5.1f s %5llu seeds: %s\n", mutants[number - 1].name,
		f.found ? "died" : "LIVES", wall, (unsigned long long)t.histories,
		f.found ? f.why : mutants[number - 1].promise);
	(void)fflush(stdout);
	return f.found;
}

static bool sound(uint32_t jobs)
{
	struct sim_limits l;
	struct totals t = {0};
	struct finding f;
	sim_limits_none(&l);
	runner_run(1, SOUND_SEEDS, &l, jobs, 0, &t, &f);
	printf("%-28s %s %s\n", "(no bug)", f.found ? "died:" : "lives", f.why);
	return !f.found;
}

static void usage(FILE *f)
{
	fprintf(f, "usage: gradsim_mutant [--jobs N] --mutant NAME|all\n");
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(mutants); i++)
		fprintf(f, "  %-28s %s\n", mutants[i].name, mutants[i].promise);
}

static int run(const char *name, uint32_t jobs)
{
	uint32_t lived = 0, count = 0;
	bool all = strcmp(name, "all") == 0;
	if (all && !sound(jobs))
		return 1;
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(mutants); i++) {
		if (!all && strcmp(name, mutants[i].name) != 0)
			continue;
		count++;
		lived += !kill_one(i + 1, jobs);
	}
	printf("%u mutants, %u live\n", count, lived);
	return count == 0 ? 2 : lived > 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"mutant", required_argument, NULL, 'm'},
		{"jobs", required_argument, NULL, 'j'}, {0}};
	const char *name = NULL;
	uint32_t jobs = SEEDS_AT_ONCE;
	for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (o == 'm')
			name = optarg;
		else if (o != 'j' || (jobs = (uint32_t)strtoul(optarg, NULL, 10)) < 1 ||
			 jobs > RUNNER_JOBS_MAX)
			name = NULL;
	}
	if (!name || optind != argc) {
		usage(stderr);
		return 2;
	}
	return run(name, jobs);
}
