// SPDX-License-Identifier: BSD-3-Clause
//
// gradbench COMMAND: chooses the command.
#include "gradbench.h"

static const struct command *const commands[] = {
#ifndef GRADBENCH_ONLY_CODEC // scripts/gpu-test builds without the other libraries
	&command_roofline,
	&command_engine,
	&command_scale,
	&command_replay,
	&command_snapshot,
	&command_failover,
	&command_replication,
	&command_table,
	&command_overlap,
	&command_allreduce,
	&command_machine,
	&command_sockets,
	&command_e2e,
#ifdef GRADBENCH_DPDK
	&command_forward,
#endif
#endif
	&command_codec,
};

static int usage(FILE *to)
{
	fprintf(to, "usage: gradbench COMMAND [OPTION...]\n\n"
		    "Measures on this machine. gradbench COMMAND --help lists its options.\n\n"
		    "commands\n");
	for (size_t i = 0; i < GP_ARRAY_SIZE(commands); i++)
		fprintf(to, "  %-11s %s\n", commands[i]->name, commands[i]->help);
	fprintf(to, "\nexit status: 0 measured, 1 failed, 2 wrong usage, 77 no such device here\n");
	return to == stdout ? EXIT_OK : EXIT_USAGE;
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return usage(stderr);
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return usage(stdout);
	if (strcmp(argv[1], "--version") == 0) {
		printf("gradbench %s\n", GRADBENCH_VERSION);
		return EXIT_OK;
	}
	for (size_t i = 0; i < GP_ARRAY_SIZE(commands); i++) {
		if (strcmp(argv[1], commands[i]->name) == 0)
			return commands[i]->run(argc - 1, argv + 1);
	}
	fprintf(stderr, "gradbench: no command %s\n", argv[1]);
	return usage(stderr);
}
