// SPDX-License-Identifier: BSD-3-Clause
//
// Reading manifest.json: nothing of it is believed before its own checksum agrees, and nothing
// after that without a range.
#include "snapshot_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static int bad(struct gp_snapshot_error *err, const char *what)
{
	return snapshot_fail(err, -EBADMSG, "%s: %s", GP_SNAPSHOT_MANIFEST, what);
}

bool snapshot_hex_parse(const char *hex, uint64_t *out)
{
	uint64_t value = 0;
	if (strlen(hex) != 16)
		return false;
	for (int i = 0; i < 16; i++) {
		const char *digits = "0123456789abcdef";
		const char *digit = strchr(digits, hex[i]);
		if (!digit)
			return false;
		value = value << 4 | (uint64_t)(digit - digits);
	}
	*out = value;
	return true;
}

static bool created_valid(const char *created)
{
	const char *form = "0000-00-00T00:00:00Z";
	if (strlen(created) != strlen(form))
		return false;
	for (size_t i = 0; form[i]; i++)
		if (form[i] == '0' ? created[i] < '0' || created[i] > '9' : created[i] != form[i])
			return false;
	return true;
}

static bool u32_take(json_int_t value, uint32_t *out)
{
	*out = (uint32_t)value;
	return value >= 0 && value <= UINT32_MAX;
}

// Removes the key `checksum` from root: the rest is what it is of.
static int checksum_check(json_t *root, uint64_t *checksum, struct gp_snapshot_error *err)
{
	const char *hex = json_string_value(json_object_get(root, "checksum"));
	uint64_t expected, seen;
	if (!hex || !snapshot_hex_parse(hex, &expected))
		return bad(err, "checksum: missing, or not 16 hexadecimal digits");
	json_object_del(root, "checksum");
	if (manifest_checksum(root, &seen) != 0)
		return snapshot_fail(err, -ENOMEM, "out of memory for the manifest");
	*checksum = seen;
	return seen == expected ? 0 : bad(err, "checksum: it does not agree with the content");
}

static json_t *root_load(
	const char *text, size_t len, uint64_t *checksum, struct gp_snapshot_error *err)
{
	json_error_t why;
	json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
	if (!json_is_object(root)) {
		snapshot_fail(err, -EBADMSG, "%s:%d:%d: %s", GP_SNAPSHOT_MANIFEST,
			root ? 1 : why.line, root ? 1 : why.column,
			root ? "not an object" : why.text);
		goto fail;
	}
	const json_t *format = json_object_get(root, "format");
	if (!json_is_integer(format) || json_integer_value(format) < 1) {
		bad(err, "format: missing, or not a positive integer");
		goto fail;
	}
	if (json_integer_value(format) > GP_SNAPSHOT_FORMAT) {
		snapshot_fail(err, -ENOTSUP,
			"%s: format %lld is newer than format %d of this program; use a newer one",
			GP_SNAPSHOT_MANIFEST, (long long)json_integer_value(format),
			GP_SNAPSHOT_FORMAT);
		goto fail;
	}
	if (checksum_check(root, checksum, err) == 0)
		return root;
fail:
	json_decref(root);
	return NULL;
}

// `least`: of dimensions; a table may have no rows.
static int tensor_parse(json_t *entry, json_int_t least, struct gp_snapshot_tensor *t,
	struct gp_snapshot_error *err)
{
	json_t *dims;
	json_int_t elements;
	json_error_t why;
	if (json_unpack_ex(entry, &why, JSON_STRICT, "{s:s, s:o, s:I}", "name", &t->name, "dims",
		    &dims, "elements", &elements) != 0)
		return snapshot_fail(
			err, -EBADMSG, "%s: tensors: %s", GP_SNAPSHOT_MANIFEST, why.text);
	if (!json_is_array(dims) || json_array_size(dims) > GP_SNAPSHOT_DIMS_MAX ||
		elements < least)
		return bad(err, "tensors: dims or elements out of range");
	t->elements = (uint64_t)elements;
	t->dims_count = (uint32_t)json_array_size(dims);
	for (uint32_t i = 0; i < t->dims_count; i++) {
		const json_t *dim = json_array_get(dims, i);
		if (!json_is_integer(dim) || json_integer_value(dim) < least)
			return bad(err, "tensors: a dimension is not a positive integer");
		t->dims[i] = (uint64_t)json_integer_value(dim);
	}
	return 0;
}

static int tensors_parse(struct manifest *m, const json_t *array, struct gp_snapshot_error *err)
{
	size_t count = json_array_size(array);
	if (count < 1 || count > GP_SNAPSHOT_TENSORS_MAX)
		return bad(err, "tensors: not an array of 1..131072");
	m->tensors = calloc(count, sizeof(*m->tensors));
	if (!m->tensors)
		return snapshot_fail(err, -ENOMEM, "out of memory for %zu tensors", count);
	for (size_t i = 0; i < count; i++) {
		int rc = tensor_parse(
			json_array_get(array, i), m->embed_json ? 0 : 1, &m->tensors[i], err);
		if (rc != 0)
			return rc;
	}
	m->meta.tensors = m->tensors;
	m->meta.tensors_count = (uint32_t)count;
	return 0;
}

static int ranks_parse(struct manifest *m, const json_t *array, struct gp_snapshot_error *err)
{
	size_t count = json_array_size(array);
	if (!json_is_array(array) || count > GP_RANKS_MAX)
		return bad(err, "dedup.ranks: not an array of at most 256");
	m->ranks = calloc(GP_MAX(count, 1), sizeof(*m->ranks));
	if (!m->ranks)
		return snapshot_fail(err, -ENOMEM, "out of memory for ranks");
	for (size_t i = 0; i < count; i++) {
		json_int_t rank, next_step;
		json_error_t why;
		if (json_unpack_ex(json_array_get(array, i), &why, JSON_STRICT, "{s:I, s:I}",
			    "rank", &rank, "next_step", &next_step) != 0)
			return bad(err, "dedup.ranks: an entry is not {rank, next_step}");
		if (!u32_take(rank, &m->ranks[i].rank) || rank >= GP_RANKS_MAX ||
			!u32_take(next_step, &m->ranks[i].next_step))
			return bad(err, "dedup.ranks: out of range");
		if (i > 0 && m->ranks[i].rank <= m->ranks[i - 1].rank)
			return bad(err, "dedup.ranks: not in increasing order");
	}
	m->seal.ranks = m->ranks;
	m->seal.ranks_count = (uint32_t)count;
	return 0;
}

static int file_parse(json_t *entry, struct gp_snapshot_file *file, struct gp_snapshot_error *err)
{
	const char *name, *hex;
	json_int_t size;
	json_error_t why;
	if (json_unpack_ex(entry, &why, JSON_STRICT, "{s:s, s:I, s:s}", "name", &name, "size",
		    &size, "xxh3", &hex) != 0)
		return bad(err, "files: an entry is not {name, size, xxh3}");
	if (strlen(name) >= sizeof(file->name) || size < 8 || !snapshot_hex_parse(hex, &file->xxh3))
		return bad(err, "files: name, size or xxh3 out of range");
	strcpy(file->name, name);
	file->size = (uint64_t)size;
	return 0;
}

// "state-momentum.safetensors" -> "momentum"; of an incremental one without ".changed", and so on.
static bool state_name(const char *file, char *out)
{
	size_t start = strlen(SNAPSHOT_STATE_PREFIX);
	size_t len = strlen(file);
	if (len <= start || strncmp(file, SNAPSHOT_STATE_PREFIX, start) != 0)
		return false;
	size_t name_len = strcspn(file + start, ".");
	if (name_len == 0 || name_len >= GP_SNAPSHOT_TEXT_SIZE)
		return false;
	memcpy(out, file + start, name_len);
	out[name_len] = 0;
	return true;
}

static int files_parse(struct manifest *m, const json_t *array, struct gp_snapshot_error *err)
{
	size_t count = json_array_size(array),
	       others = m->embed_json ? SNAPSHOT_FILES_OF_TABLES : 0;
	if (count < 1 + others || count > GP_SNAPSHOT_FILES_MAX)
		return bad(err, "files: not an array of 1..8, or of 3..8 with tables");
	m->files_count = (uint32_t)count;
	m->meta.states = m->states;
	m->meta.states_count = (uint32_t)(count - 1 - others);
	for (uint32_t i = 0; i < count; i++) {
		char expected[sizeof(m->files[i].name)];
		int rc = file_parse(json_array_get(array, i), &m->files[i], err);
		if (rc != 0)
			return rc;
		if (snapshot_file_role(&m->meta, i) == FILE_STATE) {
			m->states[i - 1] = m->states_text[i - 1];
			if (!state_name(m->files[i].name, m->states_text[i - 1]))
				return bad(err, "files: not a file of an optimizer array");
		}
		snapshot_file_name(&m->meta, &m->form, i, expected, sizeof(expected));
		if (strcmp(m->files[i].name, expected) != 0)
			return bad(err, "files: not params, state-<name> and of tables ids, steps, "
					"each with the ending of its content");
	}
	return 0;
}

// The size of what is not compressed follows.
static int sizes_check(const struct manifest *m, struct gp_snapshot_error *err)
{
	for (uint32_t i = 0; i < m->files_count && !m->form.zstd; i++) {
		bool all = m->form.depth == 0 && snapshot_file_role(&m->meta, i) == FILE_PARAMS;
		uint64_t least = all || !m->meta.embed ? m->elements_total * sizeof(float) : 0;
		least = m->form.depth > 0 ? 0 : least;
		if (m->files[i].size < least)
			return bad(err, "files: a size is less than the tensors need");
	}
	return 0;
}

static int base_parse(struct gp_snapshot_form *f, json_t *base, struct gp_snapshot_error *err)
{
	const char *name, *checksum;
	struct gp_snapshot_entry entry;
	json_error_t why;
	if (f->depth == 0)
		return json_is_null(base) ? 0 : bad(err, "base: a full snapshot has none");
	if (json_unpack_ex(base, &why, JSON_STRICT, "{s:s, s:s}", "name", &name, "checksum",
		    &checksum) != 0 ||
		!gp_snapshot_name_parse(name, &entry) ||
		!snapshot_hex_parse(checksum, &f->base_checksum))
		return bad(err, "base: not {name, checksum}");
	strcpy(f->base, entry.name);
	return 0;
}

static int blocks_parse(struct manifest *m, json_t *blocks, struct gp_snapshot_error *err)
{
	struct gp_snapshot_form *f = &m->form;
	json_int_t elements, count, present;
	json_error_t why;
	if (json_unpack_ex(blocks, &why, JSON_STRICT, "{s:I, s:I, s:I}", "elements", &elements,
		    "count", &count, "present", &present) != 0)
		return bad(err, "blocks: not {elements, count, present}");
	if (elements < 1 || elements > GP_SNAPSHOT_BLOCK_ELEMS_MAX ||
		count < (m->embed_json ? 0 : 1) || count > GP_SNAPSHOT_BLOCKS_MAX || present < 0 ||
		present > count || (f->depth == 0 && present != count))
		return bad(err, "blocks: out of range");
	f->block_elems = (uint32_t)elements;
	f->blocks_count = (uint32_t)count;
	f->present_count = (uint32_t)present;
	m->meta.block_elems = f->block_elems;
	return 0;
}

// Takes the keys that format 1 does not have out of root.
static int form_parse(struct manifest *m, struct gp_snapshot_error *err)
{
	struct gp_snapshot_form *f = &m->form;
	const char *content, *compression;
	json_t *base, *blocks, *file;
	json_int_t depth;
	json_error_t why;
	if (json_integer_value(json_object_get(m->root, "format")) == 1) {
		m->meta.block_elems = GP_SNAPSHOT_BLOCK_ELEMS;
		f->block_elems = GP_SNAPSHOT_BLOCK_ELEMS;
		return 0;
	}
	if (json_unpack_ex(m->root, &why, 0, "{s:s, s:s, s:I, s:o, s:o, s:o}", "content", &content,
		    "compression", &compression, "depth", &depth, "base", &base, "blocks", &blocks,
		    "index", &file) != 0)
		return bad(err, why.text);
	f->zstd = strcmp(compression, "zstd") == 0;
	f->depth = (uint32_t)depth;
	if ((!f->zstd && strcmp(compression, "none") != 0) || depth < 0 ||
		depth >= GP_SNAPSHOT_CHAIN_MAX ||
		strcmp(content, depth > 0 ? "incremental" : "full") != 0)
		return bad(err, "content, compression or depth: unknown, or they disagree");
	int rc = base_parse(f, base, err);
	if (rc == 0)
		rc = blocks_parse(m, blocks, err);
	if (rc == 0)
		rc = file_parse(file, &m->index, err);
	if (rc == 0 && strcmp(m->index.name, SNAPSHOT_BLOCKS_FILE) != 0)
		rc = bad(err, "index: its name is not " SNAPSHOT_BLOCKS_FILE);
	static const char *const keys[] = {
		"content", "compression", "depth", "base", "blocks", "index"};
	for (size_t i = 0; i < GP_ARRAY_SIZE(keys); i++)
		json_object_del(m->root, keys[i]);
	return rc;
}

static int root_parse(struct manifest *m, struct gp_snapshot_error *err)
{
	struct gp_snapshot_meta *meta = &m->meta;
	json_int_t format, job_id, generation, step, decision, epoch;
	json_t *tensors, *files, *ranks;
	const char *digest, *created;
	json_error_t why;
	if (json_unpack_ex(m->root, &why, JSON_STRICT,
		    "{s:I, s:s, s:{s:s, s:I}, s:s, s:s, s:I, s:I, s:I, s:I, s:o, s:o, s:{s:o}, "
		    "s:s, "
		    "s:s}",
		    "format", &format, "product", &meta->product, "job", "name", &meta->job, "id",
		    &job_id, "kind", &meta->kind, "optimizer", &meta->optimizer, "generation",
		    &generation, "step", &step, "decision", &decision, "epoch", &epoch, "tensors",
		    &tensors, "files", &files, "dedup", "ranks", &ranks, "digest", &digest,
		    "created", &created) != 0)
		return bad(err, why.text);
	if (generation < 0 || decision < 0 || epoch < 0 || !u32_take(step, &meta->step) ||
		!u32_take(job_id, &meta->job_id))
		return bad(err, "job.id, generation, step, decision or epoch: out of range");
	if (!snapshot_hex_parse(digest, &m->seal.digest) || !created_valid(created))
		return bad(err, "digest or created: not of its form");
	strcpy(m->created, created);
	meta->embed = m->embed_json ? &m->embed : NULL;
	meta->generation = (uint64_t)generation;
	meta->decision = (uint64_t)decision;
	meta->epoch = (uint64_t)epoch;
	int rc = tensors_parse(m, tensors, err);
	if (rc == 0)
		rc = files_parse(m, files, err);
	if (rc == 0 && m->embed_json) // its arrays are of those files
		rc = snapshot_tables_parse(m, err);
	return rc == 0 ? ranks_parse(m, ranks, err) : rc;
}

static int content_check(struct manifest *m, struct gp_snapshot_error *err)
{
	struct gp_snapshot_error why;
	if (snapshot_meta_check(&m->meta, &m->elements_total, &why) != 0)
		return bad(err, why.text);
	m->names = snapshot_index_create(&m->meta, &why);
	if (!m->names)
		return why.code == -ENOMEM ? snapshot_fail(err, -ENOMEM, "%s", why.text)
					   : bad(err, why.text);
	return sizes_check(m, err);
}

// Takes what not every format has out of root: in others the keys are unknown ones.
static int extras_take(struct manifest *m, struct gp_snapshot_error *err)
{
	json_int_t format = json_integer_value(json_object_get(m->root, "format"));
	if (format < SNAPSHOT_FORMAT_TABLES)
		return 0;
	m->embed_json = json_incref(json_object_get(m->root, "embed"));
	if (!m->embed_json && format == SNAPSHOT_FORMAT_TABLES)
		return bad(err, "embed: missing");
	if (m->embed_json)
		json_object_del(m->root, "embed");
	if (format < GP_SNAPSHOT_FORMAT)
		return 0;
	const char *history = json_string_value(json_object_get(m->root, "history"));
	if (!history || !snapshot_hex_parse(history, &m->meta.history) || m->meta.history == 0)
		return bad(err, "history: not of its form");
	json_object_del(m->root, "history");
	return 0;
}

int manifest_parse(const char *text, size_t len, struct manifest *m, struct gp_snapshot_error *err)
{
	memset(m, 0, sizeof(*m));
	if (len > SNAPSHOT_MANIFEST_MAX)
		return bad(err, "too long");
	m->root = root_load(text, len, &m->form.checksum, err);
	if (!m->root)
		return err->code;
	int rc = extras_take(m, err);
	if (rc == 0)
		rc = form_parse(m, err);
	if (rc == 0)
		rc = root_parse(m, err);
	if (rc == 0)
		rc = content_check(m, err);
	if (rc != 0)
		manifest_fini(m);
	return rc;
}

void manifest_fini(struct manifest *m)
{
	free(m->tensors);
	free(m->ranks);
	free(m->tables);
	json_decref(m->embed_json);
	json_decref(m->names);
	json_decref(m->root);
	memset(m, 0, sizeof(*m));
}
