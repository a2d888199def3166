// SPDX-License-Identifier: BSD-3-Clause
//
// gradbench machine: what figures of this machine depend on, for scripts that measure several
// programs in turns.
#include "bench.h"
#include "gradbench.h"

#include <getopt.h>
#include <unistd.h>

#define LOOPS 10

static int usage(FILE *to)
{
	fprintf(to,
		"usage: gradbench machine [--json]\n\n"
		"line: a cache line from one CPU to another, one way. loop: arithmetic in\n"
		"registers, the best of ten; a round beside which it takes a tenth longer than\n"
		"usual is not worth keeping.\n");
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
	if (json)
		printf("{\"bench\":\"machine\",\"cpu_model\":\"%s\",\"cpus\":%ld,\"line_ns\":%.1f,"
		       "\"loop_ns\":%.0f}\n",
			e.model, sysconf(_SC_NPROCESSORS_ONLN), e.pingpong_ns[0], loop);
	else
		printf("%s, %ld CPUs; line between CPUs %.0f ns; loop %.0f ns\n", e.model,
			sysconf(_SC_NPROCESSORS_ONLN), e.pingpong_ns[0], loop);
	return EXIT_OK;
}

const struct command command_machine = {.name = "machine",
	.help = "the machine: CPU, distance of its CPUs, a calibration loop",
	.run = machine_run};
