// SPDX-License-Identifier: BSD-3-Clause
#include "gradctl.h"

static void node_print(const json_t *node, FILE *out)
{
	char text[FIELD_SIZE];

	fprintf(out, "%s: ", field_format(node, "name", FORM_PLAIN, text));
	fprintf(out, "%s, ", field_format(node, "role", FORM_PLAIN, text));
	fprintf(out, "gradplane %s, ", field_format(node, "version", FORM_PLAIN, text));
	fprintf(out, "pid %s, ", field_format(node, "pid", FORM_PLAIN, text));
	fprintf(out, "up %s, ", field_format(node, "uptime_s", FORM_UPTIME, text));
	fprintf(out, "epoch %s\n", field_format(node, "epoch", FORM_PLAIN, text));
	if (json_is_true(json_object_get(node, "insecure")))
		fputs("insecure: datagrams are not authenticated\n", out);
}

static void port_print(const json_t *port, FILE *out)
{
	static const struct column columns[] = {{"PORT", false}, {"DRIVER", false}, {"RX", true},
		{"TX", true}, {"RX DROPPED", true}, {"RX NO MBUF", true}, {"TX ERRORS", true}};
	struct table t;

	if (!json_is_object(port))
		return;
	table_init(&t, columns, GP_ARRAY_SIZE(columns));
	table_field(&t, port, "name", FORM_PLAIN);
	table_field(&t, port, "driver", FORM_PLAIN);
	table_field(&t, port, "rx_packets", FORM_COUNT);
	table_field(&t, port, "tx_packets", FORM_COUNT);
	table_field(&t, port, "rx_dropped", FORM_COUNT);
	table_field(&t, port, "rx_nombuf", FORM_COUNT);
	table_field(&t, port, "tx_errors", FORM_COUNT);
	table_print_fini(&t, out);
}

static void cores_print(const json_t *cores, FILE *out)
{
	static const struct column columns[] = {{"CORE", true}, {"UDP PORT", true}, {"BUSY", true},
		{"POLLS", true}, {"RX", true}, {"TX", true}};
	struct table t;
	const json_t *core;
	size_t i;

	table_init(&t, columns, GP_ARRAY_SIZE(columns));
	json_array_foreach(cores, i, core)
	{
		table_field(&t, core, "index", FORM_PLAIN);
		table_field(&t, core, "udp_port", FORM_PLAIN);
		table_field(&t, core, "busy_pct", FORM_PERCENT);
		table_field(&t, core, "polls", FORM_COUNT);
		table_field(&t, core, "rx", FORM_COUNT);
		table_field(&t, core, "tx", FORM_COUNT);
	}
	table_print_fini(&t, out);
}

// All cores together, in the order of the first core that has the verdict; what never happened is
// left out. --json has every core's own.
static json_t *verdicts_sum(const json_t *cores)
{
	json_t *sums = json_object();
	const json_t *core;
	const char *name;
	json_t *count;
	size_t i;

	json_array_foreach(cores, i, core)
	{
		json_object_foreach(json_object_get(core, "verdicts"), name, count)
		{
			json_int_t sum = json_integer_value(json_object_get(sums, name)) +
					 json_integer_value(count);

			if (sum > 0 && json_object_set_new(sums, name, json_integer(sum)) != 0)
				break;
		}
	}
	return sums;
}

static void verdicts_print(const json_t *cores, FILE *out)
{
	static const struct column columns[] = {{"VERDICT", false}, {"DATAGRAMS", true}};
	json_t *sums = verdicts_sum(cores);
	const char *name;
	json_t *count;
	struct table t;

	table_init(&t, columns, GP_ARRAY_SIZE(columns));
	json_object_foreach(sums, name, count)
	{
		json_t *cell = json_pack("{s:s}", "name", name);

		table_field(&t, cell, "name", FORM_PLAIN);
		table_field(&t, sums, name, FORM_COUNT);
		json_decref(cell);
	}
	table_print_fini(&t, out);
	json_decref(sums);
}

static void jobs_print(const json_t *jobs, FILE *out)
{
	static const struct column columns[] = {{"JOB", false}, {"ID", true}, {"KIND", false},
		{"STATE", false}, {"JOINED", true}, {"STEP", true}, {"VIEW", true}};
	char joined[FIELD_SIZE], workers[FIELD_SIZE], both[FIELD_SIZE];
	struct table t;
	const json_t *job;
	size_t i;

	if (json_is_array(jobs) && json_array_size(jobs) == 0)
		fputs("\nno jobs\n", out);
	table_init(&t, columns, GP_ARRAY_SIZE(columns));
	json_array_foreach(jobs, i, job)
	{
		field_format(job, "joined", FORM_PLAIN, joined);
		field_format(job, "workers", FORM_PLAIN, workers);
		snprintf(both, sizeof(both), "%.100s/%.100s", joined, workers);
		table_field(&t, job, "name", FORM_PLAIN);
		table_field(&t, job, "id", FORM_PLAIN);
		table_field(&t, job, "kind", FORM_PLAIN);
		table_field(&t, job, "state", FORM_PLAIN);
		table_text(&t, both);
		table_field(&t, job, "step", FORM_PLAIN);
		table_field(&t, job, "view", FORM_PLAIN);
	}
	table_print_fini(&t, out);
}

// Of a pair that replicates every commit.
static void pair_print(const json_t *replica, FILE *out)
{
	char text[FIELD_SIZE];
	const char *job;
	json_t *step, *name;
	size_t i;

	fprintf(out, "replica: paired %s, ", field_format(replica, "paired", FORM_PLAIN, text));
	fprintf(out, "connected %s, ", field_format(replica, "connected", FORM_PLAIN, text));
	fprintf(out, "heard over the link %s ago, ",
		field_format(replica, "link_ms", FORM_MS, text));
	fprintf(out, "over the data port %s ago\n",
		field_format(replica, "beat_ms", FORM_MS, text));
	json_object_foreach(json_object_get(replica, "held"), job, step)
	{
		snprintf(text, sizeof(text), "%s", job);
		text_clean(text);
		fprintf(out, "replica: job %s held through ", text);
		fprintf(out, "%s\n",
			json_is_integer(step) ? field_format(json_object_get(replica, "held"), job,
							FORM_PLAIN, text)
					      : "nothing");
	}
	json_array_foreach(json_object_get(replica, "lacks"), i, name)
	{
		const char *said = json_string_value(name);
		snprintf(text, sizeof(text), "%s", said ? said : "-");
		text_clean(text);
		fprintf(out, "replica: job %s is not on both nodes yet\n", text);
	}
}

static void safety_print(const json_t *snapshot, const json_t *replica, FILE *out)
{
	char text[FIELD_SIZE];

	if (json_is_object(snapshot)) {
		fprintf(out, "\nsnapshot: step %s, ",
			field_format(snapshot, "last_step", FORM_PLAIN, text));
		fprintf(out, "%s\n", field_format(snapshot, "last_path", FORM_PLAIN, text));
		if (strcmp(field_format(snapshot, "last_error", FORM_PLAIN, text), "-") != 0)
			fprintf(out, "snapshot error: %s\n", text);
	}
	if (json_is_string(json_object_get(replica, "mode"))) {
		pair_print(replica, out);
	} else if (json_is_object(replica)) {
		fprintf(out, "replica: connected %s, ",
			field_format(replica, "connected", FORM_PLAIN, text));
		fprintf(out, "step %s, ", field_format(replica, "step", FORM_PLAIN, text));
		fprintf(out, "verified %s\n", field_format(replica, "verified", FORM_PLAIN, text));
	}
	if (json_is_string(json_object_get(replica, "last_error")))
		fprintf(out, "replica error: %s\n",
			field_format(replica, "last_error", FORM_PLAIN, text));
}

static void status_print(const json_t *result, FILE *out)
{
	const json_t *cores = json_object_get(result, "cores");

	node_print(result, out);
	port_print(json_object_get(result, "port"), out);
	cores_print(cores, out);
	verdicts_print(cores, out);
	jobs_print(json_object_get(result, "jobs"), out);
	safety_print(json_object_get(result, "snapshot"), json_object_get(result, "replica"), out);
}

const struct command command_status = {
	.name = "status",
	.help = "the server, its port, cores and jobs",
	.timeout_ms = 5000,
	.print = status_print,
};
