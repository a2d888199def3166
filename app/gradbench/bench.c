// SPDX-License-Identifier: BSD-3-Clause
#include "bench.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#ifdef __x86_64__
#include <x86intrin.h>
#endif

#define HUGE_PAGE	(UINT64_C(2) << 20)
#define CALIBRATE_STEPS 400000
#define CALIBRATE_SLACK 1.10
#define TRIES_PER_ROUND 4

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;
	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t bench_cpu_ns(void)
{
	return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

uint64_t bench_wall_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

double bench_tsc_ghz(void)
{
	static double ghz;
#ifdef __x86_64__
	if (ghz == 0) {
		uint64_t from = bench_wall_ns(), tsc = __rdtsc(), to = from;
		while (to - from < 20000000)
			to = bench_wall_ns();
		ghz = (double)(__rdtsc() - tsc) / (double)(to - from);
	}
#else
	ghz = 1;
#endif
	return ghz;
}

void *bench_take(size_t size)
{
	size_t whole = gp_align_up(size, HUGE_PAGE) + HUGE_PAGE;
	uint8_t *p = mmap(NULL, whole, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED) {
		fprintf(stderr, "gradbench: no memory for %zu bytes\n", size);
		return NULL;
	}
	uint8_t *at = (uint8_t *)gp_align_up((uintptr_t)p, HUGE_PAGE);
	if (at != p)
		(void)munmap(p, (size_t)(at - p));
	if (at - p < (ptrdiff_t)HUGE_PAGE)
		(void)munmap(at + whole - HUGE_PAGE, HUGE_PAGE - (size_t)(at - p));
	(void)madvise(at, whole - HUGE_PAGE, MADV_HUGEPAGE);
	return at;
}

void bench_give(void *mem, size_t size)
{
	if (mem)
		(void)munmap(mem, gp_align_up(size, HUGE_PAGE));
}

// ---- rounds

// Arithmetic in registers: what slows it down is no part of the memory that is measured.
double bench_calibrate_ns(void)
{
	uint64_t x = 1, from = bench_cpu_ns();
	for (uint32_t i = 0; i < CALIBRATE_STEPS; i++) {
		x = x * UINT64_C(6364136223846793005) + i;
		__asm__ volatile("" : "+r"(x));
	}
	return (double)(bench_cpu_ns() - from);
}

static bool calibrate(struct bench_guard *g)
{
	double ns = bench_calibrate_ns();
	g->best_ns = g->best_ns == 0 ? ns : GP_MIN(g->best_ns, ns);
	return ns <= g->best_ns * CALIBRATE_SLACK;
}

void bench_guard_init(struct bench_guard *g)
{
	*g = (struct bench_guard){0};
	for (int i = 0; i < 10; i++)
		(void)calibrate(g);
}

void bench_guard_begin(struct bench_guard *g)
{
	g->before_ok = calibrate(g);
}

bool bench_guard_end(struct bench_guard *g)
{
	bool ok = calibrate(g) && g->before_ok;
	if (ok)
		g->kept++;
	else
		g->discarded++;
	return ok;
}

bool bench_guard_more(const struct bench_guard *g, uint32_t rounds)
{
	return g->kept < rounds && g->kept + g->discarded < rounds * TRIES_PER_ROUND;
}

void bench_series_add(struct bench_series *s, double v)
{
	if (s->count < BENCH_ROUNDS_MAX)
		s->v[s->count++] = v;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static struct bench_series sorted(const struct bench_series *s)
{
	struct bench_series t = *s;
	qsort(t.v, t.count, sizeof(t.v[0]), compare);
	return t;
}

struct bench_stat bench_series_stat(const struct bench_series *s)
{
	if (s->count == 0)
		return (struct bench_stat){0};
	struct bench_series t = sorted(s);
	return (struct bench_stat){
		.median = t.v[t.count / 2], .min = t.v[0], .max = t.v[t.count - 1]};
}

double bench_series_spread(const struct bench_series *s)
{
	if (s->count == 0)
		return 0;
	struct bench_series t = sorted(s);
	return (t.v[t.count * 3 / 4] - t.v[t.count / 4]) / 2 / t.v[t.count / 2];
}

bool bench_number(const char *text, uint64_t max, uint64_t *out)
{
	char *end;
	errno = 0;
	*out = strtoull(text, &end, 10);
	return !errno && *end == '\0' && text[0] >= '0' && text[0] <= '9' && *out >= 1 &&
	       *out <= max;
}
