// SPDX-License-Identifier: BSD-3-Clause
//
// `snapshot now` asks the server; `list` and `verify` read the directory.
#include "snapshots.h"

static void written_print(const json_t *result, FILE *out)
{
	char text[FIELD_SIZE];

	if (json_is_true(json_object_get(result, "unchanged"))) {
		field_format(result, "path", FORM_PLAIN, text);
		fprintf(out, "nothing changed since %s\n", text);
		return;
	}
	fprintf(out, "snapshot of step %s: ", field_format(result, "step", FORM_PLAIN, text));
	fprintf(out, "%s, ", field_format(result, "path", FORM_PLAIN, text));
	fprintf(out, "%s, ", field_format(result, "content", FORM_PLAIN, text));
	fprintf(out, "%s, ", field_format(result, "bytes", FORM_BYTES, text));
	fprintf(out, "took %s\n", field_format(result, "wall_ms", FORM_MS, text));
}

static void snapshot_now_print(const json_t *result, FILE *out)
{
	const json_t *all = json_object_get(result, "snapshots");
	const json_t *one;
	size_t i;

	if (!json_is_array(all))
		written_print(result, out);
	json_array_foreach(all, i, one) written_print(one, out);
}

// ---- list

static json_t *hex_json(uint64_t value)
{
	char text[17];

	snprintf(text, sizeof(text), "%016llx", (unsigned long long)value);
	return json_string(text);
}

static json_t *entry_json(const char *dir, const struct gp_snapshot_entry *e)
{
	char path[PATH_MAX];
	struct gp_snapshot_info info;
	struct gp_snapshot_error err;
	json_t *o = json_pack(
		"{s:s,s:s,s:I}", "name", e->name, "job", e->job, "step", (json_int_t)e->step);

	if (gp_snapshot_peek(snapshots_path(path, dir, e->name), &info, &err) != 0) {
		json_object_set_new(o, "error", json_string(err.text));
		return o;
	}
	json_object_set_new(o, "decision", json_integer((json_int_t)info.decision));
	json_object_set_new(o, "epoch", json_integer((json_int_t)info.epoch));
	json_object_set_new(o, "digest", hex_json(info.digest));
	json_object_set_new(
		o, "content", json_string(info.form.depth > 0 ? "incremental" : "full"));
	json_object_set_new(o, "compression", json_string(info.form.zstd ? "zstd" : "none"));
	json_object_set_new(o, "bytes", json_integer((json_int_t)info.size));
	json_object_set_new(o, "created", json_string(info.created));
	json_object_set_new(o, "depth", json_integer((json_int_t)info.form.depth));
	json_object_set_new(
		o, "base", info.form.base[0] ? json_string(info.form.base) : json_null());
	json_object_set_new(o, "blocks", json_integer((json_int_t)info.form.blocks_count));
	json_object_set_new(o, "blocks_present", json_integer((json_int_t)info.form.present_count));
	return o;
}

static void list_print(const json_t *result, FILE *out)
{
	static const struct column columns[] = {{"snapshot", false}, {"decision", true},
		{"content", false}, {"compression", false}, {"size", true}, {"created", false},
		{"links", true}, {"base", false}};
	struct table t;
	char text[FIELD_SIZE];
	size_t i;
	json_t *e;

	fprintf(out, "%s\n", field_format(result, "directory", FORM_PLAIN, text));
	table_init(&t, columns, GP_ARRAY_SIZE(columns));
	json_array_foreach(json_object_get(result, "snapshots"), i, e)
	{
		table_field(&t, e, "name", FORM_PLAIN);
		table_field(&t, e, "decision", FORM_PLAIN);
		table_field(&t, e, json_object_get(e, "error") ? "error" : "content", FORM_PLAIN);
		table_field(&t, e, "compression", FORM_PLAIN);
		table_field(&t, e, "bytes", FORM_BYTES);
		table_field(&t, e, "created", FORM_PLAIN);
		table_field(&t, e, "depth", FORM_PLAIN);
		table_field(&t, e, "base", FORM_PLAIN);
	}
	table_print_fini(&t, out);
}

static int list_run(const struct command *k, const struct options *o, char **words, size_t count)
{
	char dir[PATH_MAX];
	struct gp_snapshot_list list;
	json_t *result, *entries = json_array();
	int rc;

	if (count > 0)
		return usage_error("too many words after ", k->name);
	(void)words;
	rc = snapshots_dir(o, dir);
	if (rc == EXIT_OK)
		rc = snapshots_list(o, dir, &list);
	if (rc != EXIT_OK) {
		json_decref(entries);
		return rc;
	}
	for (uint32_t i = 0; i < list.count; i++)
		json_array_append_new(entries, entry_json(dir, &list.entries[i]));
	gp_snapshot_list_free(&list);
	result = json_pack("{s:s,s:o}", "directory", dir, "snapshots", entries);
	rc = result_print(k, result, o->json);
	json_decref(result);
	return rc;
}

// ---- verify

// Everything is read and proved. Adds what was found to `entries`; false if it is wrong.
static bool entry_verify(const char *dir, const struct gp_snapshot_entry *e, json_t *entries)
{
	char path[PATH_MAX];
	struct gp_snapshot *s = NULL;
	struct gp_snapshot_error err = {0};
	const char *why = err.text;
	bool ok = gp_snapshot_prove(snapshots_path(path, dir, e->name), &s, &err) == 0;

	if (ok && (strcmp(gp_snapshot_meta(s)->job, e->job) != 0 ||
			  gp_snapshot_meta(s)->step != e->step)) {
		ok = false;
		why = "it is of another job or step than its name says";
	}
	gp_snapshot_close(s);
	json_array_append_new(
		entries, ok ? json_pack("{s:s,s:b}", "name", e->name, "ok", 1)
			    : json_pack("{s:s,s:b,s:s}", "name", e->name, "ok", 0, "error", why));
	return ok;
}

static void verify_print(const json_t *result, FILE *out)
{
	char text[FIELD_SIZE];
	size_t i;
	json_t *e;

	json_array_foreach(json_object_get(result, "snapshots"), i, e)
	{
		fprintf(out, "%s: ", field_format(e, "name", FORM_PLAIN, text));
		if (json_is_true(json_object_get(e, "ok")))
			fprintf(out, "ok\n");
		else // a path and a reason may be long
			fprintf(out, "WRONG: %s\n", json_string_value(json_object_get(e, "error")));
	}
	fprintf(out, "%s snapshots, ", field_format(result, "count", FORM_PLAIN, text));
	fprintf(out, "%s wrong\n", field_format(result, "wrong", FORM_PLAIN, text));
}

static int verify_report(
	const struct command *k, const struct options *o, json_t *entries, uint32_t wrong)
{
	json_t *result = json_pack("{s:o,s:I,s:I}", "snapshots", entries, "count",
		(json_int_t)json_array_size(entries), "wrong", (json_int_t)wrong);
	int rc = result_print(k, result, o->json);

	json_decref(result);
	return rc == EXIT_OK && wrong > 0 ? EXIT_REFUSED : rc;
}

static int verify_run(const struct command *k, const struct options *o, char **words, size_t count)
{
	char dir[PATH_MAX];
	struct gp_snapshot_list list = {0};
	struct gp_snapshot_entry one;
	uint32_t wrong = 0;
	int rc;

	if (count > 1)
		return usage_error("too many words after ", k->name);
	rc = count == 1 ? snapshots_find(o, words[0], dir, &one) : snapshots_dir(o, dir);
	if (rc == EXIT_OK && count == 0)
		rc = snapshots_list(o, dir, &list);
	if (rc != EXIT_OK)
		return rc;
	json_t *entries = json_array();
	if (count == 1)
		wrong += !entry_verify(dir, &one, entries);
	for (uint32_t i = 0; i < list.count; i++)
		wrong += !entry_verify(dir, &list.entries[i], entries);
	gp_snapshot_list_free(&list);
	return verify_report(k, o, entries, wrong);
}

const struct command command_snapshot_now = {
	.name = "snapshot now",
	.flags = 1u << FLAG_JOB,
	.help = "write a snapshot and wait until it is on disk",
	.timeout_ms = 60000,
	.print = snapshot_now_print,
};

const struct command command_snapshot_list = {
	.name = "snapshot list",
	.flags = SNAPSHOT_FLAGS,
	.help = "what snapshots there are",
	.print = list_print,
	.run = list_run,
};

const struct command command_snapshot_verify = {
	.name = "snapshot verify",
	.flags = SNAPSHOT_FLAGS,
	.words = " [SNAPSHOT]",
	.help = "read every checksum again, of all of them or of one",
	.print = verify_print,
	.run = verify_run,
};
