// SPDX-License-Identifier: BSD-3-Clause
#include "gradctl.h"

static void stop_print(const json_t *result, FILE *out)
{
	char text[FIELD_SIZE];

	fprintf(out, "stopping after step %s\n", field_format(result, "step", FORM_PLAIN, text));
}

const struct command command_stop = {
	.name = "stop",
	.help = "finish the step in hand, write a last snapshot, end",
	.timeout_ms = 60000,
	.print = stop_print,
};
