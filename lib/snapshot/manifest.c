// SPDX-License-Identifier: BSD-3-Clause
//
// Making manifest.json. Its last key is the xxh3 of the canonical text of all other keys, so that
// its form (spaces, line ends) is free and its content is not.
#include "snapshot_priv.h"

#include <errno.h>
#include <stdio.h>
#include <xxhash.h>

static json_t *tensor_json(const struct gp_snapshot_tensor *t)
{
	json_t *dims = json_array();
	for (uint32_t i = 0; dims && i < t->dims_count; i++) {
		if (json_array_append_new(dims, json_integer((json_int_t)t->dims[i])) != 0) {
			json_decref(dims);
			dims = NULL;
		}
	}
	return json_pack("{s:s, s:o, s:I}", "name", t->name, "dims", dims, "elements",
		(json_int_t)t->elements);
}

static json_t *tensors_json(const struct gp_snapshot_meta *meta)
{
	json_t *tensors = json_array();
	for (uint32_t i = 0; tensors && i < meta->tensors_count; i++) {
		if (json_array_append_new(tensors, tensor_json(&meta->tensors[i])) != 0) {
			json_decref(tensors);
			tensors = NULL;
		}
	}
	return tensors;
}

json_t *snapshot_hex_json(uint64_t value)
{
	char hex[17];
	snprintf(hex, sizeof(hex), "%016llx", (unsigned long long)value);
	return json_string(hex);
}

static json_t *base_json(const struct gp_snapshot_form *form)
{
	if (form->depth == 0)
		return json_null();
	return json_pack("{s:s, s:o}", "name", form->base, "checksum",
		snapshot_hex_json(form->base_checksum));
}

// An older program reads what it has a word for.
static int format_of(const struct gp_snapshot_meta *meta)
{
	return meta->history != 0 ? GP_SNAPSHOT_FORMAT
	       : meta->embed	  ? SNAPSHOT_FORMAT_TABLES
				  : SNAPSHOT_FORMAT_TENSORS;
}

// What not every snapshot has.
static bool extras_add(json_t *root, const struct gp_snapshot_meta *meta)
{
	if (meta->embed && json_object_set_new(root, "embed", snapshot_tables_json(meta)) != 0)
		return false;
	return meta->history == 0 ||
	       json_object_set_new(root, "history", snapshot_hex_json(meta->history)) == 0;
}

json_t *manifest_begin(const struct gp_snapshot_meta *meta, const struct gp_snapshot_form *form)
{
	json_t *root = json_pack(
		"{s:i, s:s, s:{s:s, s:I}, s:s, s:s, s:I, s:I, s:I, s:I, s:o, s:s, s:s, "
		"s:I, s:o, s:{s:I, s:I, s:I}}",
		"format", format_of(meta), "product", meta->product, "job", "name", meta->job, "id",
		(json_int_t)meta->job_id, "kind", meta->kind, "optimizer", meta->optimizer,
		"generation", (json_int_t)meta->generation, "step", (json_int_t)meta->step,
		"decision", (json_int_t)meta->decision, "epoch", (json_int_t)meta->epoch, "tensors",
		tensors_json(meta), "content", form->depth > 0 ? "incremental" : "full",
		"compression", form->zstd ? "zstd" : "none", "depth", (json_int_t)form->depth,
		"base", base_json(form), "blocks", "elements", (json_int_t)form->block_elems,
		"count", (json_int_t)form->blocks_count, "present",
		(json_int_t)form->present_count);
	if (root && !extras_add(root, meta)) {
		json_decref(root);
		root = NULL;
	}
	return root;
}

static json_t *file_json(const struct gp_snapshot_file *file)
{
	return json_pack("{s:s, s:I, s:o}", "name", file->name, "size", (json_int_t)file->size,
		"xxh3", snapshot_hex_json(file->xxh3));
}

static json_t *files_json(const struct gp_snapshot_file *files, uint32_t count)
{
	json_t *array = json_array();
	for (uint32_t i = 0; array && i < count; i++) {
		if (json_array_append_new(array, file_json(&files[i])) != 0) {
			json_decref(array);
			array = NULL;
		}
	}
	return array;
}

static json_t *dedup_json(const struct gp_snapshot_seal *seal)
{
	json_t *ranks = json_array();
	for (uint32_t i = 0; ranks && i < seal->ranks_count; i++) {
		json_t *rank = json_pack("{s:I, s:I}", "rank", (json_int_t)seal->ranks[i].rank,
			"next_step", (json_int_t)seal->ranks[i].next_step);
		if (json_array_append_new(ranks, rank) != 0) {
			json_decref(ranks);
			ranks = NULL;
		}
	}
	return json_pack("{s:o}", "ranks", ranks);
}

static int hash_dump(const char *text, size_t len, void *arg)
{
	return XXH3_64bits_update(arg, text, len) == XXH_OK ? 0 : -1;
}

int manifest_checksum(const json_t *root, uint64_t *out)
{
	XXH3_state_t *hash = XXH3_createState();
	if (!hash)
		return -ENOMEM;
	XXH3_64bits_reset(hash);
	int rc = json_dump_callback(root, hash_dump, hash, JSON_COMPACT | JSON_SORT_KEYS);
	*out = XXH3_64bits_digest(hash);
	XXH3_freeState(hash);
	return rc == 0 ? 0 : -ENOMEM;
}

int manifest_finish(json_t *root, const struct manifest_tail *tail, char **out, size_t *out_len,
	struct gp_snapshot_error *err)
{
	uint64_t checksum;
	char *text = NULL;
	if (json_object_set_new(root, "files", files_json(tail->files, tail->files_count)) == 0 &&
		json_object_set_new(root, "index", file_json(tail->index)) == 0 &&
		json_object_set_new(root, "dedup", dedup_json(tail->seal)) == 0 &&
		json_object_set_new(root, "digest", snapshot_hex_json(tail->seal->digest)) == 0 &&
		json_object_set_new(root, "created", json_string(tail->created)) == 0 &&
		manifest_checksum(root, &checksum) == 0 &&
		json_object_set_new(root, "checksum", snapshot_hex_json(checksum)) == 0)
		text = json_dumps(root, JSON_INDENT(1));
	if (!text)
		return snapshot_fail(err, -ENOMEM, "out of memory for the manifest");
	*out = text;
	*out_len = strlen(text);
	return 0;
}
