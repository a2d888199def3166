// SPDX-License-Identifier: BSD-3-Clause
#include "gradctl.h"

static void record_dump_print(const json_t *result, FILE *out)
{
	char text[FIELD_SIZE];

	fprintf(out, "flight recorder: %s, ", field_format(result, "path", FORM_PLAIN, text));
	fprintf(out, "%s; gradbench replay reads it\n",
		field_format(result, "bytes", FORM_BYTES, text));
}

const struct command command_record_dump = {
	.name = "record dump",
	.flags = 1u << FLAG_OUTPUT,
	.help = "write down what the flight recorder holds",
	.timeout_ms = 30000,
	.print = record_dump_print,
};
