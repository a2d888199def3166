// SPDX-License-Identifier: BSD-3-Clause
#include "gradctl.h"

static void job_print(const json_t *job, FILE *out)
{
	char text[FIELD_SIZE];

	fprintf(out, "%s: ", field_format(job, "name", FORM_PLAIN, text));
	fprintf(out, "id %s, ", field_format(job, "id", FORM_PLAIN, text));
	fprintf(out, "%s, ", field_format(job, "kind", FORM_PLAIN, text));
	fprintf(out, "%s\n", field_format(job, "state", FORM_PLAIN, text));
	fprintf(out, "consistency %s, ", field_format(job, "consistency", FORM_PLAIN, text));
	fprintf(out, "atomicity %s, ", field_format(job, "atomicity", FORM_PLAIN, text));
	fprintf(out, "workers %s\n", field_format(job, "workers", FORM_PLAIN, text));
	if (json_object_get(job, "clock_min")) {
		fprintf(out, "steps done %s", field_format(job, "clock_min", FORM_PLAIN, text));
		fprintf(out, "..%s, ", field_format(job, "clock_max", FORM_PLAIN, text));
		fprintf(out, "bound %s\n", field_format(job, "bound", FORM_PLAIN, text));
	}
	fprintf(out, "step %s, ", field_format(job, "step", FORM_PLAIN, text));
	fprintf(out, "generation %s, ", field_format(job, "generation", FORM_PLAIN, text));
	fprintf(out, "decision %s, ", field_format(job, "decision", FORM_PLAIN, text));
	fprintf(out, "view %s, ", field_format(job, "view", FORM_PLAIN, text));
	fprintf(out, "digest %s\n", field_format(job, "digest", FORM_PLAIN, text));
	fprintf(out, "memory %s", field_format(job, "memory_used", FORM_BYTES, text));
	fprintf(out, " of %s\n", field_format(job, "memory_max", FORM_BYTES, text));
}

static void tensors_print(const json_t *tensors, FILE *out)
{
	static const struct column columns[] = {
		{"TENSOR", false}, {"DIMS", true}, {"ELEMENTS", true}, {"BLOCKS", true}};
	const json_t *tensor;
	struct table t;
	size_t i;

	table_init(&t, columns, GP_ARRAY_SIZE(columns));
	json_array_foreach(tensors, i, tensor)
	{
		table_field(&t, tensor, "name", FORM_PLAIN);
		table_field(&t, tensor, "dims", FORM_DIMS);
		table_field(&t, tensor, "elements", FORM_COUNT);
		table_field(&t, tensor, "blocks", FORM_COUNT);
	}
	table_print_fini(&t, out);
}

static void tables_print(const json_t *tables, FILE *out)
{
	static const struct column columns[] = {{"TABLE", false}, {"DIM", true}, {"ROWS", true},
		{"ROWS MAX", true}, {"MEMORY", true}, {"EVICTED", true}, {"REFUSED", true},
		{"KEPT", true}};
	const json_t *one;
	struct table t;
	size_t i;

	table_init(&t, columns, GP_ARRAY_SIZE(columns));
	json_array_foreach(tables, i, one)
	{
		table_field(&t, one, "name", FORM_PLAIN);
		table_field(&t, one, "dim", FORM_COUNT);
		table_field(&t, one, "rows", FORM_COUNT);
		table_field(&t, one, "rows_max", FORM_COUNT);
		table_field(&t, one, "memory_used", FORM_BYTES);
		table_field(&t, one, "evicted", FORM_COUNT);
		table_field(&t, one, "refused", FORM_COUNT);
		table_field(&t, one, "kept", FORM_COUNT);
	}
	table_print_fini(&t, out);
}

static void ranks_print(const json_t *ranks, FILE *out)
{
	static const struct column columns[] = {{"RANK", true}, {"ADDRESS", false},
		{"STATE", false}, {"STEP", true}, {"RTT", true}, {"LAST SEEN", true}};
	const json_t *rank;
	struct table t;
	size_t i;

	table_init(&t, columns, GP_ARRAY_SIZE(columns));
	json_array_foreach(ranks, i, rank)
	{
		table_field(&t, rank, "rank", FORM_PLAIN);
		table_field(&t, rank, "address", FORM_PLAIN);
		table_field(&t, rank, "state", FORM_PLAIN);
		table_field(&t, rank, "step", FORM_PLAIN);
		table_field(&t, rank, "rtt_us", FORM_US);
		table_field(&t, rank, "last_seen_ms", FORM_MS);
	}
	table_print_fini(&t, out);
}

static void job_show_print(const json_t *result, FILE *out)
{
	job_print(result, out);
	if (json_object_get(result, "tables"))
		tables_print(json_object_get(result, "tables"), out);
	else
		tensors_print(json_object_get(result, "tensors"), out);
	ranks_print(json_object_get(result, "ranks"), out);
}

const struct command command_job_show = {
	.name = "job show",
	.operand = "name",
	.help = "one job: its tensors or tables, and its ranks",
	.timeout_ms = 5000,
	.print = job_show_print,
};
