// SPDX-License-Identifier: BSD-3-Clause
#include "gradctl.h"

static void snapshot_now_print(const json_t *result, FILE *out)
{
	char text[FIELD_SIZE];

	fprintf(out, "snapshot of step %s: ", field_format(result, "step", FORM_PLAIN, text));
	fprintf(out, "%s, ", field_format(result, "path", FORM_PLAIN, text));
	fprintf(out, "%s, ", field_format(result, "bytes", FORM_BYTES, text));
	fprintf(out, "took %s\n", field_format(result, "wall_ms", FORM_MS, text));
}

const struct command command_snapshot_now = {
	.name = "snapshot now",
	.help = "write a snapshot and wait until it is on disk",
	.timeout_ms = 60000,
	.print = snapshot_now_print,
};
