// SPDX-License-Identifier: BSD-3-Clause
//
// `snapshot export` makes a file that other programs load, `snapshot restore` chooses what the next
// start of a stopped server goes on from.
#include "snapshots.h"

#include <unistd.h>

// ---- export

static void export_print(const json_t *result, FILE *out)
{
	char text[FIELD_SIZE];

	fprintf(out, "step %s ", field_format(result, "step", FORM_PLAIN, text));
	fprintf(out, "of job %s: ", field_format(result, "job", FORM_PLAIN, text));
	fprintf(out, "%s\n", json_string_value(json_object_get(result, "path")));
}

static int export_run(const struct command *k, const struct options *o, char **words, size_t count)
{
	char dir[PATH_MAX], path[PATH_MAX];
	struct gp_snapshot_entry e;
	struct gp_snapshot *s;
	struct gp_snapshot_error err;
	json_t *result;
	int rc;

	if (count != 2)
		return usage_error(k->name, " needs a snapshot and a file");
	if (!o->force && access(words[1], F_OK) == 0) {
		fprintf(stderr, "gradctl: %s: %s exists: name another file, or say --force\n",
			k->name, words[1]);
		return EXIT_REFUSED;
	}
	rc = snapshots_find(o, words[0], dir, &e);
	if (rc != EXIT_OK)
		return rc;
	if (gp_snapshot_open(snapshots_path(path, dir, e.name), &s, &err) != 0)
		return snapshots_refuse(k, &err);
	rc = gp_snapshot_export(s, words[1], o->states, &err);
	gp_snapshot_close(s);
	if (rc != 0)
		return snapshots_refuse(k, &err);
	result = json_pack(
		"{s:s,s:I,s:s}", "job", e.job, "step", (json_int_t)e.step, "path", words[1]);
	rc = result_print(k, result, o->json);
	json_decref(result);
	return rc;
}

// ---- restore

static void restore_print(const json_t *result, FILE *out)
{
	char text[FIELD_SIZE];

	fprintf(out, "job %s: ", field_format(result, "job", FORM_PLAIN, text));
	fprintf(out, "the next start with `snapshot.restore: latest` goes on from step %s; ",
		field_format(result, "step", FORM_PLAIN, text));
	fprintf(out, "%s later snapshots were set aside (.aside)\n",
		field_format(result, "aside", FORM_PLAIN, text));
}

// Proves it first: what is set aside for it must not be better.
static int restore_do(const char *dir, const struct gp_snapshot_entry *e, uint32_t *aside,
	struct gp_snapshot_error *err)
{
	char path[PATH_MAX];
	struct gp_snapshot *s;
	int rc = gp_snapshot_prove(snapshots_path(path, dir, e->name), &s, err);

	if (rc != 0)
		return rc;
	gp_snapshot_close(s);
	return gp_snapshot_rewind(dir, e->job, e->step, aside, err);
}

static int restore_run(const struct command *k, const struct options *o, char **words, size_t count)
{
	char dir[PATH_MAX];
	struct gp_snapshot_entry e;
	struct gp_snapshot_error err;
	uint32_t aside = 0;
	json_t *result;
	int fd, rc;

	if (count != 1)
		return usage_error(k->name, " needs a snapshot");
	// A server that answers is one that runs; it says what to do.
	if (!o->flags[FLAG_DIR] && !strchr(words[0], '/')) {
		rc = server_ask(o, k->name, NULL, 5000, &result);
		if (rc == EXIT_USAGE)
			fprintf(stderr,
				"gradctl: without a server, name the directory of snapshots "
				"with --dir\n");
		return rc;
	}
	rc = snapshots_find(o, words[0], dir, &e);
	if (rc != EXIT_OK)
		return rc;
	if (gp_snapshot_dir_lock(dir, true, &fd, &err) != 0)
		return snapshots_refuse(k, &err);
	rc = restore_do(dir, &e, &aside, &err);
	close(fd);
	if (rc != 0)
		return snapshots_refuse(k, &err);
	result = json_pack("{s:s,s:I,s:I}", "job", e.job, "step", (json_int_t)e.step, "aside",
		(json_int_t)aside);
	rc = result_print(k, result, o->json);
	json_decref(result);
	return rc;
}

const struct command command_snapshot_restore = {
	.name = "snapshot restore",
	.flags = SNAPSHOT_FLAGS,
	.words = " SNAPSHOT",
	.help = "of a stopped server: what it goes on from",
	.print = restore_print,
	.run = restore_run,
};

const struct command command_snapshot_export = {
	.name = "snapshot export",
	.flags = SNAPSHOT_FLAGS,
	.words = " SNAPSHOT FILE",
	.help = "parameters as one plain .safetensors",
	.print = export_print,
	.run = export_run,
};
