// SPDX-License-Identifier: BSD-3-Clause
//
// pair_mutant: simulated pairs of servers, linked with copies of the sources in which bugs are
// planted (mutants.txt). Each must die of a broken promise. Exit 0: all did; 1: one lived; 2:
// usage.
#include <pair_runner.h>
#include <pair_shape.h>

#include <stdlib.h>
#include <string.h>

#define TAKEOVERS_MAX	3000
#define TAKEOVERS_SOUND 100 // without a bug nothing dies

extern int gp_mutant; // of the copies
int gp_mutant;

static const struct {
	const char *name;
	const char *promise;
	bool ships; // it dies in histories that ship snapshots
} mutants[] = {
#include "mutants.inc"
};

static bool dies(uint32_t number)
{
	static struct pair_totals t;
	const struct pair_range range = {.first = 1,
		.last = UINT64_MAX,
		.takeovers = TAKEOVERS_MAX,
		.wants = mutants[number - 1].ships ? pair_shape_ships : NULL};
	gp_mutant = (int)number;
	bool died = !pair_histories(&range, false, &t);
	gp_mutant = 0;
	printf("%-28s %s %5llu takeovers: %s\n", mutants[number - 1].name, died ? "died" : "LIVES",
		(unsigned long long)t.stats.takeovers, died ? t.why : mutants[number - 1].promise);
	(void)fflush(stdout);
	return died;
}

static bool sound(void)
{
	static struct pair_totals t;
	const struct pair_range range = {
		.first = 1, .last = UINT64_MAX, .takeovers = TAKEOVERS_SOUND};
	bool ok = pair_histories(&range, false, &t);
	printf("%-28s %s %s\n", "(no bug)", ok ? "lives" : "died:", t.why);
	return ok;
}

int main(int argc, char **argv)
{
	uint32_t lived = 0, count = 0;
	bool all = argc == 2 && strcmp(argv[1], "all") == 0;
	if (argc != 2) {
		fprintf(stderr, "usage: pair_mutant NAME|all\n");
		return 2;
	}
	if (all && !sound())
		return 1;
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(mutants); i++)
		if (all || strcmp(argv[1], mutants[i].name) == 0) {
			count++;
			lived += !dies(i + 1);
		}
	printf("%u mutants, %u live\n", count, lived);
	return count == 0 ? 2 : lived > 0;
}
