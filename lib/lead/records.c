// SPDX-License-Identifier: BSD-3-Clause
//
// The records of a witness, in memory as they are on its disk, and what it answers to a line.
#include "lead_priv.h"

#include <gp_lead_witness.h>
#include <gp_log.h>

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct entry {
	char key[GP_LEAD_KEY_SIZE];
	struct gp_lead_held held;
};

struct lead_records {
	int dir;
	bool broken; // the disk may hold another record than the table
	struct gp_lead_error err;
	uint32_t entries_count;
	struct entry entries[GP_LEAD_WITNESS_KEYS_MAX];
};

static struct entry *entry_find(struct lead_records *r, const char *key)
{
	for (uint32_t i = 0; i < r->entries_count; i++)
		if (strcmp(r->entries[i].key, key) == 0)
			return &r->entries[i];
	return NULL;
}

// NULL: there are too many.
static struct entry *entry_make(struct lead_records *r, const char *key)
{
	struct entry *e = entry_find(r, key);
	if (e || r->entries_count == GP_LEAD_WITNESS_KEYS_MAX)
		return e;
	e = &r->entries[r->entries_count++];
	*e = (struct entry){0};
	strcpy(e->key, key);
	return e;
}

// ---- a question

struct ask {
	const char *key;
	bool swap;
	json_int_t version; // swap
	struct gp_lead_record record;
};

static const char *ask_take(json_t *o, struct ask *a)
{
	json_int_t v = 0;
	const char *op = "";
	json_t *record = NULL;
	*a = (struct ask){0};
	if (json_unpack_ex(o, NULL, JSON_STRICT, "{s:I, s:s, s:s, s?I, s?o}", "v", &v, "op", &op,
		    "key", &a->key, "version", &a->version, "record", &record) != 0)
		return "not a question to a witness";
	if (v != 1)
		return "another version of the witness protocol: use one release everywhere";
	if (!gp_lead_key_valid(a->key))
		return "the key is not valid";
	a->swap = strcmp(op, "swap") == 0;
	if (!a->swap)
		return strcmp(op, "get") == 0 ? NULL : "op is neither get nor swap";
	return record && a->version >= 0 && lead_record_take(record, &a->record)
		       ? NULL
		       : "swap without a version or a record";
}

// NULL, or why it cannot be answered. *committed: the record stands and is on the disk.
static const char *swap_try(
	struct lead_records *r, const struct ask *a, struct entry *e, bool *committed)
{
	*committed = e->held.exists && e->held.record.nonce == a->record.nonce;
	if (*committed || e->held.version != (uint64_t)a->version)
		return NULL;
	if (e->held.exists && a->record.epoch <= e->held.record.epoch)
		return "the epoch does not grow";
	const struct gp_lead_held held = {
		.exists = true, .version = e->held.version + 1, .record = a->record};
	int rc = lead_file_store(r->dir, e->key, &held, &r->err);
	if (rc != 0) {
		gp_error("%s", r->err.text);
		r->broken = rc == -ESTALE;
		return r->err.text;
	}
	e->held = held;
	*committed = true;
	gp_info("%s: epoch %u, primary %u, backup %s", e->key, a->record.epoch, a->record.primary,
		a->record.backup == GP_LEAD_NODE_NONE ? "none"
		: a->record.backup		      ? "1"
						      : "0");
	return NULL;
}

static const char *ask_answer(
	struct lead_records *r, const struct ask *a, struct gp_lead_held *held, bool *committed)
{
	struct entry *e = entry_find(r, a->key);
	if (r->broken)
		return "the disk of the witness failed: restart it";
	*held = e ? e->held : (struct gp_lead_held){0};
	if (!a->swap)
		return NULL;
	e = entry_make(r, a->key);
	if (!e)
		return "the witness keeps no more records";
	const char *why = swap_try(r, a, e, committed);
	*held = e->held;
	return why;
}

static void reply_format(char reply[WITNESS_LINE_MAX], const struct ask *a,
	const struct gp_lead_held *held, bool committed)
{
	char record[GP_LEAD_RECORD_SIZE] = "null";
	if (held->exists)
		gp_lead_record_format(&held->record, record);
	(void)snprintf(reply, WITNESS_LINE_MAX, "{\"ok\":true,%s\"version\":%llu,\"record\":%s}\n",
		!a->swap    ? ""
		: committed ? "\"committed\":true,"
			    : "\"committed\":false,",
		(unsigned long long)held->version, record);
}

static void refusal_format(char reply[WITNESS_LINE_MAX], const char *why)
{
	json_t *error = json_pack("{s:b, s:s}", "ok", 0, "error", why);
	char *text = error ? json_dumps(error, JSON_COMPACT) : NULL;
	bool fits = text && strlen(text) + 1 < WITNESS_LINE_MAX;
	(void)snprintf(reply, WITNESS_LINE_MAX, "%s\n", fits ? text : "{\"ok\":false}");
	free(text);
	json_decref(error);
}

void lead_records_answer(
	struct lead_records *r, const char *line, size_t len, char reply[WITNESS_LINE_MAX])
{
	struct gp_lead_held held = {0};
	struct ask a;
	bool committed = false;
	json_t *o = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	const char *why = ask_take(o, &a);
	if (!why)
		why = ask_answer(r, &a, &held, &committed);
	if (why)
		refusal_format(reply, why);
	else
		reply_format(reply, &a, &held, committed);
	json_decref(o);
}

// ---- start and end

// KEY of `KEY.json`; false for other files.
static bool key_of(const char *name, char key[GP_LEAD_KEY_SIZE])
{
	const char *suffix = strstr(name, ".json");
	if (!suffix || suffix[5] || (size_t)(suffix - name) >= GP_LEAD_KEY_SIZE)
		return false;
	snprintf(key, GP_LEAD_KEY_SIZE, "%.*s", (int)(suffix - name), name);
	return gp_lead_key_valid(key);
}

static int records_load(struct lead_records *r, const char *path, struct gp_lead_error *err)
{
	DIR *d = opendir(path);
	const struct dirent *file;
	int rc = 0;
	if (!d)
		return lead_fail(err, -errno, "%s: %s", path, strerror(errno));
	while (rc == 0 && (file = readdir(d)) != NULL) {
		char key[GP_LEAD_KEY_SIZE];
		if (!key_of(file->d_name, key))
			continue;
		struct entry *e = entry_make(r, key);
		rc = e ? lead_file_load(r->dir, key, &e->held, err)
		       : lead_fail(err, -ENOSPC, "%s: more than %d records", path,
				 GP_LEAD_WITNESS_KEYS_MAX);
	}
	closedir(d);
	return rc;
}

int lead_records_open(const char *directory, struct lead_records **out, struct gp_lead_error *err)
{
	struct lead_records *r = calloc(1, sizeof(*r));
	if (!r)
		return lead_fail(err, -ENOMEM, "out of memory for the witness");
	int rc = lead_dir_open(directory, &r->dir, err);
	if (rc != 0) {
		free(r);
		return rc;
	}
	rc = records_load(r, directory, err);
	if (rc != 0) {
		lead_records_close(r);
		return rc;
	}
	*out = r;
	return 0;
}

void lead_records_close(struct lead_records *r)
{
	if (!r)
		return;
	close(r->dir);
	free(r);
}

uint32_t lead_records_count(const struct lead_records *r)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < r->entries_count; i++)
		n += r->entries[i].held.exists;
	return n;
}
