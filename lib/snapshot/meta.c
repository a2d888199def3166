// SPDX-License-Identifier: BSD-3-Clause
#include "snapshot_priv.h"

#include <errno.h>
#include <stdio.h>

static bool char_is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool gp_snapshot_job_valid(const char *job)
{
	size_t len = strnlen(job, GP_SNAPSHOT_TEXT_SIZE);
	if (len == 0 || len == GP_SNAPSHOT_TEXT_SIZE || job[0] == '.' || job[0] == '-')
		return false;
	for (size_t i = 0; i < len; i++)
		if (!char_is_alnum(job[i]) && !strchr("._-", job[i]))
			return false;
	return true;
}

// Kinds, optimizers, state arrays: they become parts of file names.
bool snapshot_word_valid(const char *word)
{
	size_t len = strnlen(word, GP_SNAPSHOT_TEXT_SIZE);
	if (len == 0 || len == GP_SNAPSHOT_TEXT_SIZE)
		return false;
	for (size_t i = 0; i < len; i++)
		if (word[i] != '_' && (word[i] < 'a' || word[i] > 'z') &&
			(word[i] < '0' || word[i] > '9'))
			return false;
	return true;
}

static bool text_is_printable(const char *text)
{
	size_t len = strnlen(text, GP_SNAPSHOT_TEXT_SIZE);
	if (len == 0 || len == GP_SNAPSHOT_TEXT_SIZE)
		return false;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			return false;
	return true;
}

static int tensor_check(
	const struct gp_snapshot_tensor *t, uint32_t idx, bool empty, struct gp_snapshot_error *err)
{
	if (!text_is_printable(t->name) || strcmp(t->name, "__metadata__") == 0)
		return snapshot_fail(err, -EINVAL,
			"tensor %u: its name must be 1..%d bytes without control characters, and "
			"not "
			"__metadata__",
			idx, GP_SNAPSHOT_TEXT_SIZE - 1);
	if (t->dims_count > GP_SNAPSHOT_DIMS_MAX)
		return snapshot_fail(err, -EINVAL, "tensor %s: %u dimensions, at most %d", t->name,
			t->dims_count, GP_SNAPSHOT_DIMS_MAX);
	uint64_t product = 1;
	for (uint32_t i = 0; i < t->dims_count; i++)
		if (__builtin_mul_overflow(product, t->dims[i], &product) ||
			product > GP_SNAPSHOT_ELEMENTS_MAX)
			return snapshot_fail(err, -EINVAL, "tensor %s: too many elements", t->name);
	if ((product == 0 && !empty) || product != t->elements)
		return snapshot_fail(err, -EINVAL,
			"tensor %s: its dimensions make %llu elements, not %llu", t->name,
			(unsigned long long)product, (unsigned long long)t->elements);
	return 0;
}

static int tensors_check(
	const struct gp_snapshot_meta *meta, uint64_t *total, struct gp_snapshot_error *err)
{
	*total = 0;
	if (meta->tensors_count == 0 || meta->tensors_count > GP_SNAPSHOT_TENSORS_MAX)
		return snapshot_fail(err, -EINVAL, "%u tensors: out of range 1..%d",
			meta->tensors_count, GP_SNAPSHOT_TENSORS_MAX);
	for (uint32_t i = 0; i < meta->tensors_count; i++) {
		int rc = tensor_check(&meta->tensors[i], i, meta->embed != NULL, err);
		if (rc != 0)
			return rc;
		*total += meta->tensors[i].elements;
		if (*total > GP_SNAPSHOT_ELEMENTS_MAX)
			return snapshot_fail(err, -EINVAL,
				"all tensors together: more than %llu "
				"elements",
				(unsigned long long)GP_SNAPSHOT_ELEMENTS_MAX);
	}
	return 0;
}

static int states_check(const struct gp_snapshot_meta *meta, struct gp_snapshot_error *err)
{
	if (meta->states_count > GP_SNAPSHOT_STATES_MAX)
		return snapshot_fail(err, -EINVAL, "%u optimizer arrays, at most %d",
			meta->states_count, GP_SNAPSHOT_STATES_MAX);
	for (uint32_t i = 0; i < meta->states_count; i++) {
		if (!snapshot_word_valid(meta->states[i]))
			return snapshot_fail(err, -EINVAL,
				"optimizer array %u: its name must be [a-z0-9_], 1..%d bytes", i,
				GP_SNAPSHOT_TEXT_SIZE - 1);
		for (uint32_t k = 0; k < i; k++)
			if (strcmp(meta->states[i], meta->states[k]) == 0)
				return snapshot_fail(
					err, -EINVAL, "optimizer array %s: twice", meta->states[i]);
	}
	return 0;
}

int snapshot_meta_check(const struct gp_snapshot_meta *meta, uint64_t *elements_total,
	struct gp_snapshot_error *err)
{
	if (!gp_snapshot_job_valid(meta->job))
		return snapshot_fail(err, -EINVAL,
			"job: its name must be 1..%d of [A-Za-z0-9._-], not first '.' or '-'",
			GP_SNAPSHOT_TEXT_SIZE - 1);
	if (!text_is_printable(meta->product))
		return snapshot_fail(err, -EINVAL, "product: not a version");
	if (meta->embed ? strcmp(meta->kind, "embed") != 0
			: strcmp(meta->kind, "reduce") != 0 && strcmp(meta->kind, "train") != 0)
		return snapshot_fail(err, -EINVAL,
			meta->embed ? "kind: not embed, with tables"
				    : "kind: neither reduce nor train");
	if (!snapshot_word_valid(meta->optimizer))
		return snapshot_fail(err, -EINVAL, "optimizer: its name must be [a-z0-9_]");
	if (meta->generation > INT64_MAX || meta->decision > INT64_MAX || meta->epoch > INT64_MAX)
		return snapshot_fail(err, -EINVAL, "generation, decision or epoch: above 2^63-1");
	if (meta->block_elems > GP_SNAPSHOT_BLOCK_ELEMS_MAX)
		return snapshot_fail(err, -EINVAL, "blocks of %u elements: at most %u",
			meta->block_elems, GP_SNAPSHOT_BLOCK_ELEMS_MAX);
	int rc = states_check(meta, err);
	if (rc == 0)
		rc = tensors_check(meta, elements_total, err);
	return rc == 0 && meta->embed ? snapshot_tables_check(meta, err) : rc;
}

void snapshot_file_name(const struct gp_snapshot_meta *meta, const struct gp_snapshot_form *form,
	uint32_t idx, char *out, size_t size)
{
	static const char *const names[] = {[FILE_PARAMS] = SNAPSHOT_PARAMS,
		[FILE_STATE] = SNAPSHOT_STATE_PREFIX,
		[FILE_IDS] = SNAPSHOT_IDS,
		[FILE_STEPS] = SNAPSHOT_STEPS};
	enum file_role role = snapshot_file_role(meta, idx);
	int len = snprintf(out, size, "%s%s%s%s", names[role],
		role == FILE_STATE ? meta->states[idx - 1] : "",
		form->depth > 0 ? SNAPSHOT_CHANGED_END : SNAPSHOT_SAFETENSORS_END,
		form->zstd ? SNAPSHOT_ZSTD_END : "");
	GP_ASSERT(len > 0 && (size_t)len < size);
}

json_t *snapshot_index_create(const struct gp_snapshot_meta *meta, struct gp_snapshot_error *err)
{
	json_t *index = json_object();
	if (!index)
		goto no_memory;
	for (uint32_t i = 0; i < meta->tensors_count; i++) {
		const char *name = meta->tensors[i].name;
		if (json_object_get(index, name)) {
			snapshot_fail(err, -EINVAL, "tensor %s: twice", name);
			goto fail;
		}
		// Fails for a name that is not UTF-8, too.
		if (json_object_set_new(index, name, json_integer(i)) != 0) {
			snapshot_fail(err, -EINVAL, "tensor %u: its name is not UTF-8", i);
			goto fail;
		}
	}
	return index;
no_memory:
	snapshot_fail(err, -ENOMEM, "out of memory");
fail:
	json_decref(index);
	return NULL;
}
