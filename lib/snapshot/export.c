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

struct export
{
	const struct gp_snapshot *snapshot;
	struct gp_snapshot_tensor *tensors; // with names of their own
	uint32_t count;
};

static void export_free(struct export *x, uint32_t named)
{
	for (uint32_t i = 0; i < named; i++)
		free((char *)(uintptr_t)x->tensors[i].name);
	free(x->tensors);
}

// Tensors of all files one after another.
static int export_names(struct export *x, uint32_t files, struct gp_snapshot_error *err)
{
	const struct gp_snapshot_meta *m = gp_snapshot_meta(x->snapshot);
	x->count = files * m->tensors_count;
	x->tensors = calloc(x->count, sizeof(*x->tensors));
	if (!x->tensors)
		return snapshot_fail(err, -ENOMEM, "out of memory for %u tensors", x->count);
	for (uint32_t i = 0; i < x->count; i++) {
		char *name;
		uint32_t file = i / m->tensors_count;
		x->tensors[i] = m->tensors[i % m->tensors_count];
		if (asprintf(&name, "%s%s%s", file ? m->states[file - 1] : "", file ? "/" : "",
			    x->tensors[i].name) < 0) {
			export_free(x, i);
			return snapshot_fail(err, -ENOMEM, "out of memory for names");
		}
		x->tensors[i].name = name;
	}
	return 0;
}

static int data_put(const struct export *x, int fd)
{
	uint32_t per_file = gp_snapshot_meta(x->snapshot)->tensors_count;
	int e = 0;
	for (uint32_t i = 0; e == 0 && i < x->count; i++) {
		const uint8_t *data =
			(const void *)gp_snapshot_data(x->snapshot, i / per_file, i % per_file);
		uint64_t size = x->tensors[i].elements * sizeof(float);
		for (uint64_t at = 0; e == 0 && at < size; at += PIECE_SIZE)
			e = snapshot_fd_write(fd, data + at, GP_MIN(size - at, PIECE_SIZE));
	}
	return e;
}

static int export_put(
	const struct export *x, int fd, const char *path, struct gp_snapshot_error *err)
{
	struct gp_snapshot_meta m = *gp_snapshot_meta(x->snapshot);
	char *header;
	size_t len;
	m.tensors = x->tensors;
	m.tensors_count = x->count;
	json_t *names = snapshot_index_create(&m, err);
	json_decref(names);
	if (!names)
		return err->code;
	int rc = safetensors_header(&m, &header, &len, err);
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
	uint32_t files = 1 + (states ? gp_snapshot_meta(s)->states_count : 0);
	int rc = export_names(&x, files, err);
	if (rc != 0)
		return rc;
	rc = export_write(&x, path, err);
	export_free(&x, x.count);
	return rc;
}
