// SPDX-License-Identifier: BSD-3-Clause
//
// One plain .safetensors file: what other programs load.
#include "snapshot_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE_SIZE ((size_t)1 << 20)

// One tensor of the file.
struct piece {
	char *name;
	const char *dtype;
	uint32_t dims_count;
	uint64_t dims[GP_SNAPSHOT_DIMS_MAX];
	const uint8_t *data;
	uint64_t size;
};

struct export
{
	const struct gp_snapshot *snapshot;
	struct piece *pieces;
	uint32_t count;
};

static void export_free(struct export *x)
{
	for (uint32_t i = 0; x->pieces && i < x->count; i++)
		free(x->pieces[i].name);
	free(x->pieces);
}

// Tensor `t` of file `file`. Integers are signed: PyTorch has no others.
static int piece_fill(const struct export *x, struct piece *p, uint32_t file, uint32_t t)
{
	const struct gp_snapshot_meta *m = gp_snapshot_meta(x->snapshot);
	static const char *const of_tables[] = {[FILE_IDS] = "ids", [FILE_STEPS] = "steps"};
	static const char *const dtypes[] = {[FILE_PARAMS] = "F32",
		[FILE_STATE] = "F32",
		[FILE_IDS] = "I64",
		[FILE_STEPS] = "I32"};
	enum file_role role = snapshot_file_role(m, file);
	const char *before = role == FILE_STATE ? m->states[file - 1] : of_tables[role];
	int len = role == FILE_PARAMS ? asprintf(&p->name, "%s", m->tensors[t].name)
				      : asprintf(&p->name, "%s/%s", before, m->tensors[t].name);
	if (len < 0) {
		p->name = NULL;
		return -ENOMEM;
	}
	p->dtype = dtypes[role];
	p->dims_count = snapshot_dims(m, file, t, p->dims);
	p->data = (const uint8_t *)gp_snapshot_data(x->snapshot, file, t);
	p->size = snapshot_items(m, t) * snapshot_width(m, file, t) * sizeof(float);
	return 0;
}

static bool file_wanted(const struct gp_snapshot_meta *m, uint32_t file, bool states)
{
	enum file_role role = snapshot_file_role(m, file);
	return states || role == FILE_PARAMS || role == FILE_IDS;
}

static int export_fill(struct export *x, bool states, struct gp_snapshot_error *err)
{
	const struct gp_snapshot_meta *m = gp_snapshot_meta(x->snapshot);
	uint32_t files = snapshot_files_count(m);
	x->pieces = calloc((size_t)files * m->tensors_count, sizeof(*x->pieces));
	if (!x->pieces)
		return snapshot_fail(err, -ENOMEM, "out of memory for tensors");
	for (uint32_t file = 0; file < files; file++) {
		for (uint32_t t = 0; file_wanted(m, file, states) && t < m->tensors_count; t++)
			if (piece_fill(x, &x->pieces[x->count++], file, t) != 0)
				return snapshot_fail(err, -ENOMEM, "out of memory for names");
	}
	return 0;
}

static int header_fill(const struct export *x, json_t *root, struct gp_snapshot_error *err)
{
	uint64_t begin = 0;
	for (uint32_t i = 0; i < x->count; i++) {
		const struct piece *p = &x->pieces[i];
		if (json_object_get(root, p->name))
			return snapshot_fail(err, -EINVAL, "tensor %s: twice", p->name);
		json_t *entry =
			safetensors_entry(p->dtype, p->dims, p->dims_count, begin, begin + p->size);
		if (!entry || json_object_set_new(root, p->name, entry) != 0)
			return snapshot_fail(err, -ENOMEM, "out of memory for the header");
		begin += p->size;
	}
	return 0;
}

static int header_make(
	const struct export *x, char **header, size_t *len, struct gp_snapshot_error *err)
{
	const struct gp_snapshot_meta *m = gp_snapshot_meta(x->snapshot);
	char step[16];
	snprintf(step, sizeof(step), "%u", m->step);
	json_t *root = json_pack("{s:{s:s, s:s, s:s}}", "__metadata__", "producer", "gradplane",
		"job", m->job, "step", step);
	int rc = root ? header_fill(x, root, err)
		      : snapshot_fail(err, -ENOMEM, "out of memory for the header");
	char *text = rc == 0 ? json_dumps(root, JSON_COMPACT) : NULL;
	json_decref(root);
	if (rc == 0)
		rc = text ? safetensors_wrap(text, header, len, err)
			  : snapshot_fail(err, -ENOMEM, "out of memory for the header");
	free(text);
	return rc;
}

static int data_put(const struct export *x, int fd)
{
	int e = 0;
	for (uint32_t i = 0; e == 0 && i < x->count; i++) {
		const struct piece *p = &x->pieces[i];
		for (uint64_t at = 0; e == 0 && at < p->size; at += PIECE_SIZE)
			e = snapshot_fd_write(fd, p->data + at, GP_MIN(p->size - at, PIECE_SIZE));
	}
	return e;
}

static int export_put(
	const struct export *x, int fd, const char *path, struct gp_snapshot_error *err)
{
	char *header;
	size_t len;
	int rc = header_make(x, &header, &len, err);
	if (rc != 0)
		return rc;
	int e = snapshot_fd_write(fd, header, len);
	free(header);
	if (e == 0)
		e = data_put(x, fd);
	return e == 0 ? 0 : snapshot_fail_sys(err, e, path, NULL, "cannot be written");
}

static int export_write(const struct export *x, const char *path, struct gp_snapshot_error *err)
{
	char temporary[PATH_MAX];
	int len = snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path);
	if (len < 0 || (size_t)len >= sizeof(temporary))
		return snapshot_fail_sys(err, ENAMETOOLONG, path, NULL, "cannot be written");
	int fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0)
		return snapshot_fail_sys(err, errno, path, NULL, "cannot be made");
	int rc = export_put(x, fd, path, err);
	if (rc == 0 && fchmod(fd, 0644) != 0)
		rc = snapshot_fail_sys(err, errno, path, NULL, "chmod");
	int e = snapshot_fd_settle(&fd);
	if (rc == 0 && e != 0)
		rc = snapshot_fail_sys(err, e, path, NULL, "cannot be synced");
	if (rc == 0 && rename(temporary, path) != 0)
		rc = snapshot_fail_sys(err, errno, path, NULL, "cannot be given its name");
	if (rc != 0)
		unlink(temporary);
	return rc;
}

int gp_snapshot_export(
	const struct gp_snapshot *s, const char *path, bool states, struct gp_snapshot_error *err)
{
	struct export x = {.snapshot = s};
	int rc = export_fill(&x, states, err);
	if (rc == 0)
		rc = export_write(&x, path, err);
	export_free(&x);
	return rc;
}
