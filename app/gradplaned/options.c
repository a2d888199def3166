// SPDX-License-Identifier: BSD-3-Clause
#include "gradplaned.h"

#include <getopt.h>
#include <stdio.h>

static void help_print(void)
{
	printf("usage: gradplaned [--witness] --config FILE | --check-config FILE\n\n"
	       "Serves the jobs of a configuration at a DPDK port.\n\n"
	       "  --config FILE        run this node until SIGTERM or `gradctl stop`\n"
	       "  --check-config FILE  print the effective configuration and the proof that its\n"
	       "                       numbers fit together, start nothing\n"
	       "  --witness            with --config of a witness: keep the leadership records of\n"
	       "                       pairs, nothing else\n"
	       "  --version, --help\n\n"
	       "signals: SIGTERM, SIGINT stop after the step in hand; SIGUSR1 writes the flight\n"
	       "         recorder to recorder.directory (gradbench replay reads it)\n\n"
	       "exit status: 0 done, 1 could not start or failed, 2 wrong usage or "
	       "configuration\n");
}

static int usage_error(const char *text)
{
	fprintf(stderr, "gradplaned: %s; gradplaned --help lists what there is\n", text);
	return EXIT_CONFIG;
}

int options_parse(struct options *o, int argc, char **argv)
{
	static const struct option longs[] = {
		{"config", required_argument, NULL, 'c'},
		{"check-config", required_argument, NULL, 'k'},
		{"witness", no_argument, NULL, 'w'},
		{"version", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int c;

	*o = (struct options){0};
	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (c == 'c' || c == 'k') {
			if (o->config_path)
				return usage_error("one configuration file only");
			o->config_path = optarg;
			o->check_only = c == 'k';
		} else if (c == 'w') {
			o->witness = true;
		} else if (c == 'v') {
			printf("gradplaned %s, protocol %d\n", GRADPLANED_VERSION, GP_WIRE_VERSION);
			return EXIT_OK;
		} else if (c == 'h') {
			help_print();
			return EXIT_OK;
		} else {
			return usage_error("bad option");
		}
	}
	if (optind < argc)
		return usage_error("too many words");
	if (!o->config_path)
		return usage_error("--config FILE is missing");
	return -1;
}
