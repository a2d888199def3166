// SPDX-License-Identifier: BSD-3-Clause
#include "snapshots.h"

#include <stdlib.h>

#define ASK_MS 5000

int snapshots_refuse(const struct command *k, const struct gp_snapshot_error *err)
{
	fprintf(stderr, "gradctl: %s: %s\n", k->name, err->text);
	return EXIT_REFUSED;
}

const char *snapshots_path(char out[PATH_MAX], const char *dir, const char *name)
{
	// Longer ones do not exist: opening says so.
	snprintf(out, PATH_MAX, "%s/%s", dir, name);
	return out;
}

int snapshots_dir(const struct options *o, char dir[PATH_MAX])
{
	const char *text = o->flags[FLAG_DIR];
	json_t *status = NULL;
	int rc;

	if (!text) {
		rc = server_ask(o, "status", NULL, ASK_MS, &status);
		if (rc) {
			fprintf(stderr,
				"gradctl: without a server, name the directory of snapshots "
				"with --dir\n");
			return rc;
		}
		text = json_string_value(
			json_object_get(json_object_get(status, "snapshot"), "directory"));
	}
	rc = !text ? usage_error("the server does not say its directory, use --dir", "")
	     : strlen(text) >= PATH_MAX ? usage_error("--dir is too long", "")
					: EXIT_OK;
	if (rc == EXIT_OK)
		strcpy(dir, text);
	json_decref(status);
	return rc;
}

int snapshots_list(const struct options *o, const char *dir, struct gp_snapshot_list *list)
{
	struct gp_snapshot_error err;

	if (gp_snapshot_list(dir, o->flags[FLAG_JOB], list, &err) != 0) {
		fprintf(stderr, "gradctl: %s\n", err.text);
		return EXIT_REFUSED;
	}
	if (list->count > 0 || !o->flags[FLAG_JOB])
		return EXIT_OK;
	gp_snapshot_list_free(list);
	fprintf(stderr, "gradctl: no snapshot of job %s in %s; snapshot list says what is there\n",
		o->flags[FLAG_JOB], dir);
	return EXIT_REFUSED;
}

// The job that a step alone, or "latest", is of: --job, or the only one.
static int entry_choose(
	const struct gp_snapshot_list *list, const char *word, struct gp_snapshot_entry *out)
{
	bool latest = strcmp(word, "latest") == 0;
	char *end;
	unsigned long long step = strtoull(word, &end, 10);
	const struct gp_snapshot_entry *found = NULL;

	if (!latest && (*end || end == word || word[0] == '-'))
		return usage_error("not the name of a snapshot, a step, a path or latest: ", word);
	for (uint32_t i = 0; i < list->count; i++) {
		const struct gp_snapshot_entry *e = &list->entries[i];

		if (strcmp(e->job, list->entries[0].job) != 0)
			return usage_error("snapshots of several jobs are here: add --job", "");
		if (!found && (latest || e->step == step))
			found = e;
	}
	if (!found) {
		fprintf(stderr, "gradctl: no such snapshot: %s\n", word);
		return EXIT_REFUSED;
	}
	*out = *found;
	return EXIT_OK;
}

// A path in its parts; false if it names no snapshot.
static bool path_split(const char *word, char dir[PATH_MAX], struct gp_snapshot_entry *out)
{
	size_t len = strnlen(word, PATH_MAX);
	char *slash;

	if (len >= PATH_MAX)
		return false;
	strcpy(dir, word);
	while (len > 1 && dir[len - 1] == '/')
		dir[--len] = '\0';
	slash = strrchr(dir, '/');
	if (!slash || !gp_snapshot_name_parse(slash + 1, out))
		return false;
	slash[slash == dir] = '\0';
	return true;
}

int snapshots_find(const struct options *o, const char *word, char dir[PATH_MAX],
	struct gp_snapshot_entry *out)
{
	struct gp_snapshot_list list;
	int rc;

	if (strchr(word, '/'))
		return path_split(word, dir, out)
			       ? EXIT_OK
			       : usage_error("not the path of a snapshot: ", word);
	rc = snapshots_dir(o, dir);
	if (rc)
		return rc;
	if (gp_snapshot_name_parse(word, out)) {
		const char *job = o->flags[FLAG_JOB];

		return job && strcmp(job, out->job) != 0
			       ? usage_error("--job and this name are of two jobs: ", word)
			       : EXIT_OK;
	}
	rc = snapshots_list(o, dir, &list);
	if (rc)
		return rc;
	rc = entry_choose(&list, word, out);
	gp_snapshot_list_free(&list);
	return rc;
}
