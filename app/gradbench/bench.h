// SPDX-License-Identifier: BSD-3-Clause
//
// How gradbench measures. Time is CPU time of the measuring thread, so what the kernel gives to
// others in between is not counted; cycles are those of the time stamp counter. What is compared
// takes turns within one run, round by round; a round beside which a calibration loop ran more than
// a tenth slower than its best is discarded and counted. Figures are medians over the rounds that
// were kept, ratios are medians of the rounds' own ratios.
#ifndef GRADBENCH_BENCH_H
#define GRADBENCH_BENCH_H

#include <gp_base.h>

#include <stdio.h>

#define BENCH_ROUNDS_MAX 101

uint64_t bench_cpu_ns(void);	 // CPU time of this thread
uint64_t bench_wall_ns(void);	 // never goes back
double bench_tsc_ghz(void);	 // measured once
double bench_calibrate_ns(void); // of the calibration loop, once

// Zeroed memory on huge pages where the kernel has them; NULL after a line on stderr. Given back
// with its size.
void *bench_take(size_t size) GP_MUST_CHECK;
void bench_give(void *mem, size_t size);

// ---- rounds

struct bench_guard {
	double best_ns;
	uint32_t kept, discarded;
	bool before_ok;
};

void bench_guard_init(struct bench_guard *g);
void bench_guard_begin(struct bench_guard *g);
// Whether the round counts.
bool bench_guard_end(struct bench_guard *g);
// Whether another round is due: `rounds` are kept, or four times as many were tried.
bool bench_guard_more(const struct bench_guard *g, uint32_t rounds);

struct bench_series {
	double v[BENCH_ROUNDS_MAX];
	uint32_t count;
};

struct bench_stat {
	double median, min, max;
};

void bench_series_add(struct bench_series *s, double v);
struct bench_stat bench_series_stat(const struct bench_series *s);
// Half of the distance between the quartiles, as a share of the median.
double bench_series_spread(const struct bench_series *s);

// ---- the machine and its other load

struct bench_env {
	char model[80];
	int cpu; // that this thread is pinned to
	double pingpong_ns[2];
	uint64_t foreign_ticks, steal_ticks, begin_wall;
	uint64_t self_ns;
};

// Pins the thread to the CPU it runs on, or to `cpu`, and notes what the machine does meanwhile.
void bench_env_begin(struct bench_env *e, int cpu);
void bench_env_end(struct bench_env *e);
void bench_env_text(const struct bench_env *e, const struct bench_guard *g);
// Members of a JSON object, without braces, with a comma after the last.
void bench_env_json(const struct bench_env *e, const struct bench_guard *g);

// One way of a cache line between two CPUs, ns; 0 where there is only one.
double bench_pingpong_ns(void);

// ---- options

// A number of 1..max, whole text.
bool bench_number(const char *text, uint64_t max, uint64_t *out) GP_MUST_CHECK;

#endif
