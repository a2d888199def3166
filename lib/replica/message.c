// SPDX-License-Identifier: BSD-3-Clause
#include "replica_priv.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static int bad(struct gp_snapshot_error *err, const char *message, const char *what)
{
	return replica_fail(err, -EPROTO, "%s message: %s", message, what);
}

static void hex_text(uint64_t value, char out[17])
{
	snprintf(out, 17, "%016llx", (unsigned long long)value);
}

static bool hex_parse(const char *hex, uint64_t *out)
{
	if (strlen(hex) != 16 || strspn(hex, "0123456789abcdef") != 16)
		return false;
	*out = strtoull(hex, NULL, 16);
	return true;
}

static bool text_take(char *out, size_t size, const char *text)
{
	size_t len = strlen(text);
	if (len >= size)
		return false;
	memcpy(out, text, len + 1);
	// They end in logs.
	for (char *c = out; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	return true;
}

// Takes the reference of `root`, which may be NULL.
static int json_put(struct evbuffer *out, enum frame_type type, json_t *root)
{
	char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
	json_decref(root);
	if (!text)
		return -ENOMEM;
	int rc = frame_put(out, type, text, strlen(text), NULL, 0);
	free(text);
	return rc;
}

static json_t *json_take(const struct frame *f, const char *message, struct gp_snapshot_error *err)
{
	json_error_t why;
	json_t *root = json_loadb((const char *)f->body, f->len, JSON_REJECT_DUPLICATES, &why);
	if (!root)
		bad(err, message, why.text);
	return root;
}

int msg_hello_put(struct evbuffer *out, const struct msg_hello *m)
{
	json_t *holds = json_array();
	for (uint32_t i = 0; holds && i < m->holds_count; i++) {
		char digest[17];
		hex_text(m->holds[i].digest, digest);
		json_t *hold = json_pack("{s:s, s:I, s:s}", "job", m->holds[i].job, "step",
			(json_int_t)m->holds[i].step, "digest", digest);
		if (json_array_append_new(holds, hold) != 0) {
			json_decref(holds);
			holds = NULL;
		}
	}
	return json_put(
		out, FRAME_HELLO, json_pack("{s:s, s:o}", "product", m->product, "holds", holds));
}

static bool hold_parse(json_t *entry, struct hold *h)
{
	const char *job, *digest;
	json_int_t step;
	if (json_unpack_ex(entry, NULL, JSON_STRICT, "{s:s, s:I, s:s}", "job", &job, "step", &step,
		    "digest", &digest) != 0 ||
		step < 0 || step > UINT32_MAX || !gp_snapshot_job_valid(job))
		return false;
	h->step = (uint32_t)step;
	strcpy(h->job, job);
	return hex_parse(digest, &h->digest);
}

int msg_hello_parse(const struct frame *f, struct msg_hello *m, struct gp_snapshot_error *err)
{
	const char *product;
	json_t *holds;
	json_error_t why;
	json_t *root = json_take(f, "hello", err);
	int rc = 0;
	if (!root)
		return err->code;
	memset(m, 0, sizeof(*m));
	if (json_unpack_ex(root, &why, JSON_STRICT, "{s:s, s:o}", "product", &product, "holds",
		    &holds) != 0)
		rc = bad(err, "hello", why.text);
	else if (!text_take(m->product, sizeof(m->product), product))
		rc = bad(err, "hello", "product is too long");
	else if (!json_is_array(holds) || json_array_size(holds) > GP_REPLICA_JOBS_MAX)
		rc = bad(err, "hello", "holds is not an array of at most 64");
	for (size_t i = 0; rc == 0 && i < json_array_size(holds); i++)
		if (!hold_parse(json_array_get(holds, i), &m->holds[m->holds_count++]))
			rc = bad(err, "hello", "an entry of holds is not {job, step, digest}");
	json_decref(root);
	return rc;
}

int msg_begin_put(struct evbuffer *out, const struct msg_begin *m)
{
	char digest[17];
	json_t *files = json_array();
	for (uint32_t i = 0; files && i < m->files_count; i++) {
		json_t *file = json_pack("{s:s, s:I}", "name", m->files[i].name, "size",
			(json_int_t)m->files[i].size);
		if (json_array_append_new(files, file) != 0) {
			json_decref(files);
			files = NULL;
		}
	}
	hex_text(m->digest, digest);
	return json_put(out, FRAME_BEGIN,
		json_pack("{s:s, s:s, s:o}", "name", m->entry.name, "digest", digest, "files",
			files));
}

// Only names that a snapshot has: nothing of the peer's choosing becomes a path.
static bool file_name_known(const char *name)
{
	static const char *const ends[] = {".safetensors", ".changed.safetensors",
		".safetensors.zst", ".changed.safetensors.zst"};
	const char *state = "state-";
	if (strcmp(name, GP_SNAPSHOT_MANIFEST) == 0 || strcmp(name, "blocks.safetensors") == 0)
		return true;
	size_t stem = strcspn(name, ".");
	bool known = false;
	for (size_t i = 0; i < GP_ARRAY_SIZE(ends); i++)
		known |= strcmp(name + stem, ends[i]) == 0;
	static const char *const stems[] = {"params", "ids", "steps"};
	for (size_t i = 0; known && i < GP_ARRAY_SIZE(stems); i++)
		if (stem == strlen(stems[i]) && strncmp(name, stems[i], stem) == 0)
			return true;
	if (!known || strncmp(name, state, strlen(state)) != 0)
		return false;
	size_t word = strspn(name + strlen(state), "abcdefghijklmnopqrstuvwxyz0123456789_");
	return word > 0 && strlen(state) + word == stem;
}

static bool begin_file_parse(struct msg_begin *m, json_t *entry)
{
	const char *name;
	json_int_t size;
	struct gp_snapshot_file *file = &m->files[m->files_count];
	if (json_unpack_ex(entry, NULL, JSON_STRICT, "{s:s, s:I}", "name", &name, "size", &size) !=
			0 ||
		size < 1 || size > INT64_C(1) << 44 || !file_name_known(name) ||
		!text_take(file->name, sizeof(file->name), name))
		return false;
	for (uint32_t i = 0; i < m->files_count; i++)
		if (strcmp(m->files[i].name, name) == 0)
			return false;
	file->size = (uint64_t)size;
	m->size += file->size;
	m->files_count++;
	return true;
}

static int begin_parse(struct msg_begin *m, json_t *root, struct gp_snapshot_error *err)
{
	const char *name, *digest;
	json_t *files;
	json_error_t why;
	if (json_unpack_ex(root, &why, JSON_STRICT, "{s:s, s:s, s:o}", "name", &name, "digest",
		    &digest, "files", &files) != 0)
		return bad(err, "begin", why.text);
	if (!gp_snapshot_name_parse(name, &m->entry))
		return bad(err, "begin", "its name is not <job>-<step>");
	if (!hex_parse(digest, &m->digest))
		return bad(err, "begin", "digest is not 16 hexadecimal digits");
	size_t count = json_array_size(files);
	if (count < 2 || count > BEGIN_FILES_MAX)
		return bad(err, "begin", "files is not an array of 2..10");
	for (size_t i = 0; i < count; i++)
		if (!begin_file_parse(m, json_array_get(files, i)))
			return bad(err, "begin", "a file has a name or size that no snapshot has");
	return 0;
}

int msg_begin_parse(const struct frame *f, struct msg_begin *m, struct gp_snapshot_error *err)
{
	json_t *root = json_take(f, "begin", err);
	if (!root)
		return err->code;
	memset(m, 0, sizeof(*m));
	int rc = begin_parse(m, root, err);
	json_decref(root);
	return rc;
}

int msg_result_put(struct evbuffer *out, const struct msg_result *m)
{
	char digest[17];
	hex_text(m->digest, digest);
	json_t *why = json_string(m->why);
	// Not UTF-8, as a file name may be.
	if (!why)
		why = json_string("refused, see the log of the replica");
	return json_put(out, FRAME_RESULT,
		json_pack("{s:s, s:I, s:b, s:s, s:o}", "job", m->job, "step", (json_int_t)m->step,
			"verified", m->verified, "digest", digest, "why", why));
}

int msg_result_parse(const struct frame *f, struct msg_result *m, struct gp_snapshot_error *err)
{
	const char *job, *digest, *why_text;
	json_int_t step;
	int verified, rc = 0;
	json_error_t why;
	json_t *root = json_take(f, "result", err);
	if (!root)
		return err->code;
	memset(m, 0, sizeof(*m));
	if (json_unpack_ex(root, &why, JSON_STRICT, "{s:s, s:I, s:b, s:s, s:s}", "job", &job,
		    "step", &step, "verified", &verified, "digest", &digest, "why", &why_text) != 0)
		rc = bad(err, "result", why.text);
	else if (step < 0 || step > UINT32_MAX || !hex_parse(digest, &m->digest) ||
		 !text_take(m->job, sizeof(m->job), job) ||
		 !text_take(m->why, sizeof(m->why), why_text))
		rc = bad(err, "result", "a value is out of range");
	m->step = rc == 0 ? (uint32_t)step : 0;
	m->verified = rc == 0 && verified;
	json_decref(root);
	return rc;
}
