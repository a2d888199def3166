// SPDX-License-Identifier: BSD-3-Clause
//
// The header of a safetensors file: u64 length (little-endian) of a JSON object
// {"name": {"dtype": "F32", "shape": [...], "data_offsets": [begin, end]}, ..., "__metadata__":
// {...}} padded with spaces, then the data, to which the offsets are relative.
#include "snapshot_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static json_t *shape_json(const uint64_t *dims, uint32_t count)
{
	json_t *shape = json_array();
	for (uint32_t i = 0; shape && i < count; i++) {
		if (json_array_append_new(shape, json_integer((json_int_t)dims[i])) != 0) {
			json_decref(shape);
			shape = NULL;
		}
	}
	return shape;
}

json_t *safetensors_entry(
	const char *dtype, const uint64_t *dims, uint32_t dims_count, uint64_t begin, uint64_t end)
{
	return json_pack("{s:s, s:o, s:[I, I]}", "dtype", dtype, "shape",
		shape_json(dims, dims_count), "data_offsets", (json_int_t)begin, (json_int_t)end);
}

static uint64_t tensor_size(const struct gp_snapshot_meta *meta, uint32_t file, uint32_t tensor)
{
	return snapshot_items(meta, tensor) * snapshot_width(meta, file, tensor) * sizeof(float);
}

static json_t *header_json(const struct gp_snapshot_meta *meta, uint32_t file)
{
	char step[16];
	uint32_t words;
	const char *dtype = snapshot_dtype(meta, file, &words);
	snprintf(step, sizeof(step), "%u", meta->step);
	json_t *root = json_pack("{s:{s:s, s:s, s:s}}", "__metadata__", "producer", "gradplane",
		"job", meta->job, "step", step);
	uint64_t begin = 0;
	for (uint32_t i = 0; root && i < meta->tensors_count; i++) {
		uint64_t dims[GP_SNAPSHOT_DIMS_MAX], end = begin + tensor_size(meta, file, i);
		uint32_t count = snapshot_dims(meta, file, i, dims);
		json_t *entry = safetensors_entry(dtype, dims, count, begin, end);
		if (!entry || json_object_set_new(root, meta->tensors[i].name, entry) != 0) {
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

int safetensors_header(const struct gp_snapshot_meta *meta, uint32_t file, char **out,
	size_t *out_len, struct gp_snapshot_error *err)
{
	json_t *root = header_json(meta, file);
	char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
	json_decref(root);
	if (!text)
		return snapshot_fail(err, -ENOMEM, "out of memory for the header of tensors");
	int rc = safetensors_wrap(text, out, out_len, err);
	free(text);
	return rc;
}

int safetensors_changed_header(const struct gp_snapshot_meta *meta, uint32_t file, uint64_t words,
	char **out, size_t *out_len, struct gp_snapshot_error *err)
{
	char text[192];
	uint32_t each;
	const char *dtype = snapshot_dtype(meta, file, &each);
	snprintf(text, sizeof(text),
		"{\"__metadata__\":{\"producer\":\"gradplane\"},\"changed\":{\"dtype\":\"%s\","
		"\"shape\":[%llu],\"data_offsets\":[0,%llu]}}",
		dtype, (unsigned long long)(words / each),
		(unsigned long long)(words * sizeof(float)));
	return safetensors_wrap(text, out, out_len, err);
}

static bool shape_agrees(const json_t *shape, const uint64_t *dims, uint32_t count)
{
	if (!json_is_array(shape) || json_array_size(shape) != count)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		const json_t *dim = json_array_get(shape, i);
		if (!json_is_integer(dim) || (uint64_t)json_integer_value(dim) != dims[i])
			return false;
	}
	return true;
}

// Tensor i against its entry, which begins at *at; moves that to its end.
static int entry_check(const struct gp_snapshot_meta *meta, const struct safetensors_file *f,
	uint32_t i, json_t *entry, uint64_t *at, struct gp_snapshot_error *err)
{
	const char *name = meta->tensors[i].name, *dtype;
	uint64_t dims[GP_SNAPSHOT_DIMS_MAX], begin = *at, size = tensor_size(meta, f->idx, i);
	uint32_t words, count = snapshot_dims(meta, f->idx, i, dims);
	const char *expected = snapshot_dtype(meta, f->idx, &words);
	json_t *shape;
	json_int_t from, to;
	json_error_t why;
	if (json_unpack_ex(entry, &why, JSON_STRICT, "{s:s, s:o, s:[I, I]}", "dtype", &dtype,
		    "shape", &shape, "data_offsets", &from, &to) != 0)
		return snapshot_fail(err, -EBADMSG, "%s: tensor %s: %s", f->name, name, why.text);
	if (strcmp(dtype, expected) != 0)
		return snapshot_fail(
			err, -EBADMSG, "%s: tensor %s: dtype is not %s", f->name, name, expected);
	if (!shape_agrees(shape, dims, count))
		return snapshot_fail(err, -EBADMSG,
			"%s: tensor %s: shape is not that of the manifest", f->name, name);
	if (from < 0 || to < from || (uint64_t)from != begin || (uint64_t)to - begin != size)
		return snapshot_fail(err, -EBADMSG,
			"%s: tensor %s: data_offsets [%lld, %lld], expected [%llu, %llu]", f->name,
			name, (long long)from, (long long)to, (unsigned long long)begin,
			(unsigned long long)(begin + size));
	*at = begin + size;
	return 0;
}

static int entries_check(const struct gp_snapshot_meta *meta, const struct safetensors_file *f,
	json_t *root, uint64_t data_len, struct gp_snapshot_error *err)
{
	uint64_t at = 0;
	size_t known = json_object_get(root, "__metadata__") ? 1 : 0;
	if (json_object_size(root) != meta->tensors_count + known)
		return snapshot_fail(err, -EBADMSG, "%s: %zu tensors, the manifest has %u", f->name,
			json_object_size(root) - known, meta->tensors_count);
	for (uint32_t i = 0; i < meta->tensors_count; i++) {
		json_t *entry = json_object_get(root, meta->tensors[i].name);
		if (!entry)
			return snapshot_fail(err, -EBADMSG, "%s: tensor %s is missing", f->name,
				meta->tensors[i].name);
		int rc = entry_check(meta, f, i, entry, &at, err);
		if (rc != 0)
			return rc;
	}
	if (at != data_len)
		return snapshot_fail(err, -EBADMSG, "%s: %llu bytes of data, expected %llu",
			f->name, (unsigned long long)data_len, (unsigned long long)at);
	return 0;
}

int safetensors_check(const struct gp_snapshot_meta *meta, const struct safetensors_file *f,
	uint64_t *data_start, struct gp_snapshot_error *err)
{
	GP_ASSERT(f->len <= f->size);
	if (f->len < 8)
		return snapshot_fail(
			err, -EBADMSG, "%s: too short for a safetensors header", f->name);
	uint64_t header_len = gp_load64(f->bytes);
	if (header_len > SNAPSHOT_HEADER_MAX || header_len > f->len - 8)
		return snapshot_fail(err, -EBADMSG, "%s: header of %llu bytes in a file of %llu",
			f->name, (unsigned long long)header_len, (unsigned long long)f->size);
	if ((header_len + 8) % sizeof(float) != 0)
		return snapshot_fail(err, -EBADMSG, "%s: data is not aligned", f->name);
	json_error_t why;
	json_t *root = json_loadb(
		(const char *)f->bytes + 8, (size_t)header_len, JSON_REJECT_DUPLICATES, &why);
	if (!json_is_object(root)) {
		json_decref(root);
		return snapshot_fail(err, -EBADMSG, "%s: header: %s", f->name,
			root ? "not an object" : why.text);
	}
	int rc = entries_check(meta, f, root, f->size - 8 - header_len, err);
	json_decref(root);
	if (rc == 0)
		*data_start = 8 + header_len;
	return rc;
}
