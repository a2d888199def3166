// SPDX-License-Identifier: BSD-3-Clause
//
// What stress programs share: time, chance, threads that share one object, and TAP.
#ifndef STRESS_H
#define STRESS_H

#include <gp_rcu.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define THREADS_MAX 8

static inline uint64_t now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

static inline uint64_t next(uint64_t *seed)
{
	uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	return z ^ z >> 31;
}

static inline bool is_planted(int argc, char **argv)
{
	return argc > 1 && strcmp(argv[1], "--plant") == 0;
}

// Ends grace periods until `stop`; planted, it counts them without waiting for the readers.
static inline void graces_run(struct gp_rcu_grace *grace, const _Atomic bool *stop, bool plant)
{
	while (!atomic_load_explicit(stop, memory_order_acquire)) {
		if (plant)
			atomic_fetch_add_explicit(&grace->passed, 1, memory_order_release);
		else
			gp_rcu_grace_turn(grace);
		sched_yield();
	}
}

// A thread each, and waits for all.
static inline void threads_run(void *(*const runs[])(void *), size_t count, void *arg)
{
	pthread_t threads[THREADS_MAX];
	for (size_t i = 0; i < count; i++)
		if (i == THREADS_MAX || pthread_create(&threads[i], NULL, runs[i], arg) != 0)
			abort();
	for (size_t i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
}

static inline void *lines_take(size_t size)
{
	void *mem = aligned_alloc(GP_CACHE_LINE, gp_align_up(size, GP_CACHE_LINE));
	if (!mem)
		abort();
	return mem;
}

static inline bool say(uint32_t number, bool ok, const char *what, uint64_t n)
{
	printf("%sok %u - %s (%llu)\n", ok ? "" : "not ", number, what, (unsigned long long)n);
	return ok;
}

#endif
