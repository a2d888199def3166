// SPDX-License-Identifier: BSD-3-Clause
#include "runner.h"

#define ROUNDS_MAX 3

struct search {
	uint64_t seed;
	uint64_t end_ms;
	struct sim_limits best;
};

// Keeps the smaller history when it fails too.
static bool keeps(struct search *s, const struct sim_limits *smaller)
{
	char why[SIM_WHY_SIZE];
	if (runner_clock_ms() >= s->end_ms || runner_try(s->seed, smaller, why))
		return false;
	s->best = *smaller;
	return true;
}

static void one_value(struct sim_list *l, uint32_t value)
{
	l->count = 1;
	l->values[0] = value;
}

static bool faults_drop(struct search *s)
{
	bool less = false;
	for (uint32_t f = 0; f < FAULT_COUNT; f++) {
		struct sim_limits l = s->best;
		if (!(l.faults >> f & 1))
			continue;
		l.faults &= ~(UINT32_C(1) << f);
		less |= keeps(s, &l);
	}
	return less;
}

static bool numbers_lower(struct search *s)
{
	struct sim_opts o;
	struct sim_limits l = s->best;
	bool less = false;
	sim_opts_of_seed(&o, s->seed, &l);
	l.readers = 0;
	less |= o.readers > 0 && keeps(s, &l);
	l = s->best;
	l.results_f32 = true;
	less |= o.results && keeps(s, &l);
	l = s->best;
	l.codecs_one = true;
	less |= o.mixed && keeps(s, &l);
	for (uint32_t n = 1; n < o.workers; n = n < 3 ? n + 1 : n * 2) {
		l = s->best;
		one_value(&l.workers, n);
		if (keeps(s, &l)) {
			less = true;
			break;
		}
	}
	for (uint32_t n = 1; n < o.cores; n++) {
		l = s->best;
		one_value(&l.cores, n);
		if (keeps(s, &l)) {
			less = true;
			break;
		}
	}
	l = s->best;
	l.tensors = 1;
	less |= o.tensors > 1 && keeps(s, &l);
	for (;;) {
		sim_opts_of_seed(&o, s->seed, &s->best);
		l = s->best;
		l.datagrams = o.datagrams / 2;
		if (l.datagrams < 50 || !keeps(s, &l))
			return less;
		less = true;
	}
}

void shrink(uint64_t seed, struct sim_limits *l, uint32_t wall_ms)
{
	struct sim_opts o;
	struct search s = {.seed = seed, .end_ms = runner_clock_ms() + wall_ms, .best = *l};
	sim_opts_of_seed(&o, seed, l);
	s.best.faults = o.faults;
	for (uint32_t i = 0; i < ROUNDS_MAX; i++) {
		bool less = numbers_lower(&s);
		if (!(faults_drop(&s) | less))
			break;
	}
	*l = s.best;
}

void shrink_print(FILE *f, uint64_t seed, const struct sim_limits *l)
{
	struct sim_opts o;
	sim_opts_of_seed(&o, seed, l);
	fprintf(f, "--trace %llu", (unsigned long long)seed);
	if (l->workers.count == 1)
		fprintf(f, " --workers %u", l->workers.values[0]);
	for (uint32_t m = GP_CONSIST_BSP; l->modes && m <= SIM_EMBED; m++)
		if (l->modes == UINT32_C(1) << m)
			fprintf(f, " --mode %s", sim_mode_name(m));
	if (l->cores.count == 1)
		fprintf(f, " --cores %u", l->cores.values[0]);
	if (l->readers < SIM_READERS_MAX)
		fprintf(f, " --readers %u", l->readers);
	if (l->results_f32)
		fprintf(f, " --results f32");
	if (l->codecs_one)
		fprintf(f, " --codecs one");
	if (l->tensors)
		fprintf(f, " --tensors %u", l->tensors);
	if (l->datagrams)
		fprintf(f, " --datagrams %u", l->datagrams);
	if (l->steps)
		fprintf(f, " --steps %u", l->steps);
	fprintf(f, " --faults ");
	sim_faults_print(f, o.faults);
	fprintf(f, "\n");
}
