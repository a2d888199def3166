// SPDX-License-Identifier: BSD-3-Clause
//
// gradbench machine: what figures of this machine depend on, for scripts that measure several
// programs in turns.
#include "bench.h"
#include "gradbench.h"

#include <getopt.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define LOOPS	 10
#define SLEEPS	 4000
#define SLEEP_NS 20000 // the longest of a core under adaptive polling, by default

struct wake {
	double us_p50, us_p99;
};

static int ns_compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

// How long such a sleep takes, as a polled core sleeps: the most that a datagram waits for it.
static struct wake wake_measure(void)
{
	static uint64_t ns[SLEEPS];
	const struct timespec ts = {.tv_nsec = SLEEP_NS};
	(void)prctl(PR_SET_TIMERSLACK, 1UL);
	for (uint32_t i = 0; i < SLEEPS; i++) {
		uint64_t begin = bench_wall_ns();
		nanosleep(&ts, NULL);
		ns[i] = bench_wall_ns() - begin;
	}
	(void)prctl(PR_SET_TIMERSLACK, 0UL); // the default again
	qsort(ns, SLEEPS, sizeof(ns[0]), ns_compare);
	return (struct wake){(double)ns[SLEEPS / 2] / 1e3, (double)ns[SLEEPS * 99 / 100] / 1e3};
}

static int usage(FILE *to)
{
	fprintf(to,
		"usage: gradbench machine [--json]\n\n"
		"line: a cache line from one CPU to another, one way. loop: arithmetic in\n"
		"registers, the best of ten; a round beside which it takes a tenth longer than\n"
		"usual is not worth keeping. sleep: how long one of 20 us takes, as a core under\n"
		"adaptive polling sleeps when it is idle.\n");
	return to == stdout ? EXIT_OK : EXIT_USAGE;
}

static int machine_run(int argc, char **argv)
{
	static const struct option longs[] = {
		{"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {0}};
	bool json = false;
	int c;
	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (c == 'h')
			return usage(stdout);
		if (c != 'j')
			return usage(stderr);
		json = true;
	}
	if (optind < argc)
		return usage(stderr);
	struct bench_env e;
	bench_env_begin(&e, -1);
	double loop = bench_calibrate_ns();
	for (int i = 1; i < LOOPS; i++)
		loop = GP_MIN(loop, bench_calibrate_ns());
	struct wake w = wake_measure();
	if (json)
		printf("{\"bench\":\"machine\",\"cpu_model\":\"%s\",\"cpus\":%ld,\"line_ns\":%.1f,"
		       "\"loop_ns\":%.0f,\"sleep_us_p50\":%.1f,\"sleep_us_p99\":%.1f}\n",
			e.model, sysconf(_SC_NPROCESSORS_ONLN), e.pingpong_ns[0], loop, w.us_p50,
			w.us_p99);
	else
		printf("%s, %ld CPUs; line between CPUs %.0f ns; loop %.0f ns; a sleep of 20 us: "
		       "p50 %.0f us, p99 %.0f us\n",
			e.model, sysconf(_SC_NPROCESSORS_ONLN), e.pingpong_ns[0], loop, w.us_p50,
			w.us_p99);
	return EXIT_OK;
}

const struct command command_machine = {.name = "machine",
	.help = "the machine: CPU, distance of its CPUs, a calibration loop, a short sleep",
	.run = machine_run};
