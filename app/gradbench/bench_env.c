// SPDX-License-Identifier: BSD-3-Clause
//
// The machine beside the figures: model, other load, and how far its two CPUs are from each other
// (a virtual machine may have them on one cache or on two, and change that within seconds).
#include "bench.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#define PINGPONG_TRIPS 20000
#define PINGPONG_SPINS 200000000u // by then the partner has no CPU

static cpu_set_t only(int cpu)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	return set;
}

// ---- ping-pong

struct pingpong {
	GP_ALIGNED(GP_CACHE_LINE) _Atomic uint32_t ball;
};

// Waits for the value; false when it never comes.
static bool ball_wait(struct pingpong *p, uint32_t value)
{
	for (uint32_t i = 0; i < PINGPONG_SPINS; i++)
		if (atomic_load_explicit(&p->ball, memory_order_acquire) == value)
			return true;
	return false;
}

static void *partner(void *arg)
{
	struct pingpong *p = arg;
	for (uint32_t i = 0; i < PINGPONG_TRIPS && ball_wait(p, 2 * i + 1); i++)
		atomic_store_explicit(&p->ball, 2 * i + 2, memory_order_release);
	return NULL;
}

static int other_cpu(int cpu)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);
	return n < 2 ? -1 : cpu == 0 ? 1 : 0;
}

// Begins on its CPU: before a thread of a real-time class on the CPU of its maker it would not run.
static int partner_create(pthread_t *t, struct pingpong *p, int cpu)
{
	cpu_set_t set = only(cpu);
	pthread_attr_t attr;
	int rc = pthread_attr_init(&attr);
	if (rc != 0)
		return rc;
	rc = pthread_attr_setaffinity_np(&attr, sizeof(set), &set);
	if (rc == 0)
		rc = pthread_create(t, &attr, partner, p);
	pthread_attr_destroy(&attr);
	return rc;
}

double bench_pingpong_ns(void)
{
	struct pingpong p = {0};
	int cpu = other_cpu(sched_getcpu());
	pthread_t t;
	if (cpu < 0 || partner_create(&t, &p, cpu) != 0)
		return 0;
	uint64_t from = bench_wall_ns(), best = UINT64_MAX, last = from;
	bool ok = true;
	for (uint32_t i = 0; i < PINGPONG_TRIPS && ok; i++) {
		atomic_store_explicit(&p.ball, 2 * i + 1, memory_order_release);
		ok = ball_wait(&p, 2 * i + 2);
		if (i % 1000 != 999)
			continue;
		uint64_t now = bench_wall_ns();
		best = GP_MIN(best, now - last);
		last = now;
	}
	pthread_join(t, NULL);
	return ok ? (double)best / 2000 : 0;
}

// ---- load

struct ticks {
	uint64_t used, steal;
};

static struct ticks ticks_read(void)
{
	uint64_t v[8] = {0};
	char line[256] = "";
	FILE *f = fopen("/proc/stat", "re");
	if (!f)
		return (struct ticks){0};
	bool cpu = fgets(line, sizeof(line), f) && strncmp(line, "cpu ", 4) == 0;
	fclose(f);
	char *at = line + 4;
	for (uint32_t i = 0; cpu && i < GP_ARRAY_SIZE(v); i++)
		v[i] = strtoull(at, &at, 10);
	return (struct ticks){.used = v[0] + v[1] + v[2] + v[5] + v[6], .steal = v[7]};
}

static void model_read(char *model, size_t size)
{
	char line[256];
	snprintf(model, size, "unknown CPU");
	FILE *f = fopen("/proc/cpuinfo", "re");
	while (f && fgets(line, sizeof(line), f)) {
		char *at = strncmp(line, "model name", 10) == 0 ? strstr(line, ": ") : NULL;
		if (!at)
			continue;
		at[strcspn(at, "\n\"\\")] = '\0';
		snprintf(model, size, "%.70s", at + 2);
		break;
	}
	if (f)
		fclose(f);
}

static uint64_t process_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void bench_env_begin(struct bench_env *e, int cpu)
{
	*e = (struct bench_env){.cpu = cpu >= 0 ? cpu : sched_getcpu()};
	cpu_set_t set = only(e->cpu);
	(void)sched_setaffinity(0, sizeof(set), &set);
	model_read(e->model, sizeof(e->model));
	e->pingpong_ns[0] = bench_pingpong_ns();
	struct ticks t = ticks_read();
	e->foreign_ticks = t.used;
	e->steal_ticks = t.steal;
	e->self_ns = process_ns();
	e->begin_wall = bench_wall_ns();
}

void bench_env_end(struct bench_env *e)
{
	struct ticks t = ticks_read();
	uint64_t own = (process_ns() - e->self_ns) * (uint64_t)sysconf(_SC_CLK_TCK) / 1000000000u;
	uint64_t used = t.used - e->foreign_ticks;
	e->foreign_ticks = used > own ? used - own : 0;
	e->steal_ticks = t.steal - e->steal_ticks;
	e->begin_wall = bench_wall_ns() - e->begin_wall;
	e->pingpong_ns[1] = bench_pingpong_ns();
}

static double tick_share(const struct bench_env *e, uint64_t ticks)
{
	return (double)ticks / (double)sysconf(_SC_CLK_TCK) / ((double)e->begin_wall * 1e-9);
}

void bench_env_text(const struct bench_env *e, const struct bench_guard *g)
{
	printf("%s, CPU %d of %ld, %.2f GHz time stamps; line between CPUs %.0f ns before, %.0f ns "
	       "after;\nothers used %.2f CPUs, %.2f stolen; rounds kept %u, discarded %u\n",
		e->model, e->cpu, sysconf(_SC_NPROCESSORS_ONLN), bench_tsc_ghz(), e->pingpong_ns[0],
		e->pingpong_ns[1], tick_share(e, e->foreign_ticks), tick_share(e, e->steal_ticks),
		g->kept, g->discarded);
}

void bench_env_json(const struct bench_env *e, const struct bench_guard *g)
{
	printf("\"cpu_model\":\"%s\",\"cpu\":%d,\"tsc_ghz\":%.3f,\"line_ns_before\":%.1f,"
	       "\"line_ns_after\":%.1f,\"foreign_cpus\":%.3f,\"stolen_cpus\":%.3f,"
	       "\"rounds_kept\":%u,\"rounds_discarded\":%u,",
		e->model, e->cpu, bench_tsc_ghz(), e->pingpong_ns[0], e->pingpong_ns[1],
		tick_share(e, e->foreign_ticks), tick_share(e, e->steal_ticks), g->kept,
		g->discarded);
}
