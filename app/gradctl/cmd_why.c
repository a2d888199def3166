// SPDX-License-Identifier: BSD-3-Clause
#include "gradctl.h"

static void why_print(const json_t *result, FILE *out)
{
	const json_t *job, *line;
	char text[FIELD_SIZE * 4];
	size_t i, k;

	json_array_foreach(json_object_get(result, "jobs"), i, job)
	{
		json_array_foreach(json_object_get(job, "text"), k, line)
		{
			const char *s = json_string_value(line);

			snprintf(text, sizeof(text), "%s", s ? s : "-");
			text_clean(text);
			fprintf(out, "%s\n", text);
		}
	}
}

const struct command command_why = {
	.name = "why",
	.flags = 1u << FLAG_JOB | 1u << FLAG_TENSOR | 1u << FLAG_BLOCK | 1u << FLAG_RANK,
	.help = "whom and what jobs wait for, since when",
	.timeout_ms = 5000,
	.print = why_print,
};
