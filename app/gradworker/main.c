// SPDX-License-Identifier: BSD-3-Clause
//
// gradworker: a small trainer. Reads the command line, trains or measures, says how it ended.
#include "local.h"
#include "options.h"
#include "trainer.h"
#include "worker_remote.h"
#include "worker_sections.h"

#include <stdio.h>

#define EXIT_ERROR 1
#define EXIT_USAGE 2

// The last line on stdout is for programs, whichever way it ends.
static int failure_print(const struct gw_error *err, int status)
{
	printf("gradworker: error: %s\n", err->text);
	return status;
}

static int mode_run(const struct gw_options *opts, struct gw_error *err)
{
	if (opts->task == GW_TASK_SECTIONS)
		return gw_sections_run(opts, err);
	switch (opts->mode) {
	case GW_LOCAL:
		return gw_local_run(opts, err);
	case GW_EVAL:
		return gw_remote_eval(opts, err);
	default:
		return gw_remote_train(opts, err);
	}
}

int main(int argc, char **argv)
{
	struct gw_options opts;
	struct gw_error err;
	int rc = gw_options_parse(&opts, argc, argv, &err);

	if (rc > 0)
		return 0;
	if (rc < 0)
		return failure_print(&err, EXIT_USAGE);
	gw_stop_arm();
	if (mode_run(&opts, &err))
		return failure_print(&err, EXIT_ERROR);
	return 0;
}
