// SPDX-License-Identifier: BSD-3-Clause
//
// The header of a safetensors file: u64 length (little-endian) of a JSON object
// {"name": {"dtype": "F32", "shape": [...], "data_offsets": [begin, end]}, ..., "__metadata__":
// {...}} padded with spaces, then the data, to which the offsets are relative.
#include "snapshot_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static json_t *shape_json(const struct gp_snapshot_tensor *t)
{
	json_t *shape = json_array();
	for (uint32_t i = 0; shape && i < t->dims_count; i++) {
		if (json_array_append_new(shape, json_integer((json_int_t)t->dims[i])) != 0) {
			json_decref(shape);
			shape = NULL;
		}
	}
	return shape;
}

static json_t *header_json(const struct gp_snapshot_meta *meta)
{
	char step[16];
	snprintf(step, sizeof(step), "%u", meta->step);
	json_t *root = json_pack("{s:{s:s, s:s, s:s}}", "__metadata__", "producer", "gradplane",
		"job", meta->job, "step", step);
	uint64_t begin = 0;
	for (uint32_t i = 0; root && i < meta->tensors_count; i++) {
		const struct gp_snapshot_tensor *t = &meta->tensors[i];
		uint64_t end = begin + t->elements * sizeof(float);
		json_t *entry = json_pack("{s:s, s:o, s:[I, I]}", "dtype", "F32", "shape",
			shape_json(t), "data_offsets", (json_int_t)begin, (json_int_t)end);
		if (!entry || json_object_set_new(root, t->name, entry) != 0) {
			json_decref(root);
			return NULL;
		}
		begin = end;
	}
	return root;
}

int safetensors_wrap(const char *text, char **out, size_t *out_len, struct gp_snapshot_error *err)
{
	size_t text_len = strlen(text);
	size_t len = gp_align_up(8 + text_len, SNAPSHOT_DATA_ALIGN);
	GP_ASSERT(len <= SNAPSHOT_HEADER_MAX);
	char *header = malloc(len);
	if (!header)
		return snapshot_fail(err, -ENOMEM, "out of memory for the header of tensors");
	gp_store64(header, len - 8);
	memcpy(header + 8, text, text_len);
	memset(header + 8 + text_len, ' ', len - 8 - text_len);
	*out = header;
	*out_len = len;
	return 0;
}

int safetensors_header(const struct gp_snapshot_meta *meta, char **out, size_t *out_len,
	struct gp_snapshot_error *err)
{
	json_t *root = header_json(meta);
	char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
	json_decref(root);
	if (!text)
		return snapshot_fail(err, -ENOMEM, "out of memory for the header of tensors");
	int rc = safetensors_wrap(text, out, out_len, err);
	free(text);
	return rc;
}

int safetensors_changed_header(
	uint64_t elements, char **out, size_t *out_len, struct gp_snapshot_error *err)
{
	char text[192];
	snprintf(text, sizeof(text),
		"{\"__metadata__\":{\"producer\":\"gradplane\"},\"changed\":{\"dtype\":\"F32\","
		"\"shape\":[%llu],\"data_offsets\":[0,%llu]}}",
		(unsigned long long)elements, (unsigned long long)(elements * sizeof(float)));
	return safetensors_wrap(text, out, out_len, err);
}

static bool shape_agrees(const json_t *shape, const struct gp_snapshot_tensor *t)
{
	if (!json_is_array(shape) || json_array_size(shape) != t->dims_count)
		return false;
	for (uint32_t i = 0; i < t->dims_count; i++) {
		const json_t *dim = json_array_get(shape, i);
		if (!json_is_integer(dim) || (uint64_t)json_integer_value(dim) != t->dims[i])
			return false;
	}
	return true;
}

static int entry_check(const struct gp_snapshot_tensor *t, json_t *entry, const char *file,
	uint64_t begin, struct gp_snapshot_error *err)
{
	const char *dtype;
	json_t *shape;
	json_int_t from, to;
	json_error_t why;
	if (json_unpack_ex(entry, &why, JSON_STRICT, "{s:s, s:o, s:[I, I]}", "dtype", &dtype,
		    "shape", &shape, "data_offsets", &from, &to) != 0)
		return snapshot_fail(err, -EBADMSG, "%s: tensor %s: %s", file, t->name, why.text);
	if (strcmp(dtype, "F32") != 0)
		return snapshot_fail(
			err, -EBADMSG, "%s: tensor %s: dtype is not F32", file, t->name);
	if (!shape_agrees(shape, t))
		return snapshot_fail(err, -EBADMSG,
			"%s: tensor %s: shape is not that of the manifest", file, t->name);
	if (from < 0 || to < from || (uint64_t)from != begin ||
		(uint64_t)to - begin != t->elements * sizeof(float))
		return snapshot_fail(err, -EBADMSG,
			"%s: tensor %s: data_offsets [%lld, %lld], expected [%llu, %llu]", file,
			t->name, (long long)from, (long long)to, (unsigned long long)begin,
			(unsigned long long)(begin + t->elements * sizeof(float)));
	return 0;
}

static int entries_check(const struct gp_snapshot_meta *meta, const char *file, json_t *root,
	uint64_t data_len, struct gp_snapshot_error *err)
{
	uint64_t begin = 0;
	size_t known = json_object_get(root, "__metadata__") ? 1 : 0;
	if (json_object_size(root) != meta->tensors_count + known)
		return snapshot_fail(err, -EBADMSG, "%s: %zu tensors, the manifest has %u", file,
			json_object_size(root) - known, meta->tensors_count);
	for (uint32_t i = 0; i < meta->tensors_count; i++) {
		json_t *entry = json_object_get(root, meta->tensors[i].name);
		if (!entry)
			return snapshot_fail(err, -EBADMSG, "%s: tensor %s is missing", file,
				meta->tensors[i].name);
		int rc = entry_check(&meta->tensors[i], entry, file, begin, err);
		if (rc != 0)
			return rc;
		begin += meta->tensors[i].elements * sizeof(float);
	}
	if (begin != data_len)
		return snapshot_fail(err, -EBADMSG, "%s: %llu bytes of data, expected %llu", file,
			(unsigned long long)data_len, (unsigned long long)begin);
	return 0;
}

int safetensors_check(const struct gp_snapshot_meta *meta, const char *file, const void *bytes,
	uint64_t len, uint64_t file_size, uint64_t *data_start, struct gp_snapshot_error *err)
{
	GP_ASSERT(len <= file_size);
	if (len < 8)
		return snapshot_fail(err, -EBADMSG, "%s: too short for a safetensors header", file);
	uint64_t header_len = gp_load64(bytes);
	if (header_len > SNAPSHOT_HEADER_MAX || header_len > len - 8)
		return snapshot_fail(err, -EBADMSG, "%s: header of %llu bytes in a file of %llu",
			file, (unsigned long long)header_len, (unsigned long long)file_size);
	if ((header_len + 8) % sizeof(float) != 0)
		return snapshot_fail(err, -EBADMSG, "%s: data is not aligned", file);
	json_error_t why;
	json_t *root = json_loadb(
		(const char *)bytes + 8, (size_t)header_len, JSON_REJECT_DUPLICATES, &why);
	if (!json_is_object(root)) {
		json_decref(root);
		return snapshot_fail(
			err, -EBADMSG, "%s: header: %s", file, root ? "not an object" : why.text);
	}
	int rc = entries_check(meta, file, root, file_size - 8 - header_len, err);
	json_decref(root);
	if (rc == 0)
		*data_start = 8 + header_len;
	return rc;
}
