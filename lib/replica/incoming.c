// SPDX-License-Identifier: BSD-3-Clause
#include "replica_priv.h"

#include <gp_log.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int file_fail(const struct incoming *in, int e, const char *name, const char *what,
	struct gp_snapshot_error *err)
{
	const char *path = gp_snapshot_stage_path(in->stage);
	char text[PATH_MAX + 128];
	struct statvfs fs;
	if (e == ENOSPC || e == EDQUOT) {
		uint64_t left = statvfs(path, &fs) == 0 ? (uint64_t)fs.f_bavail * fs.f_frsize : 0;
		return replica_fail(err, -e,
			"%s: disk full at %s of snapshot %s: it needs %llu bytes in all, %llu are "
			"free; free space there or name another directory",
			path, name, in->begin.entry.name, (unsigned long long)in->begin.size,
			(unsigned long long)left);
	}
	snprintf(text, sizeof(text), "%s/%s: %s", path, name, what);
	return replica_fail_sys(err, e, text);
}

static int file_create(struct incoming *in, uint32_t idx, struct gp_snapshot_error *err)
{
	const struct gp_snapshot_file *file = &in->begin.files[idx];
	in->fds[idx] = openat(gp_snapshot_stage_fd(in->stage), file->name,
		O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (in->fds[idx] < 0)
		return file_fail(in, errno, file->name, "cannot be made", err);
	if (fallocate(in->fds[idx], 0, 0, (off_t)file->size) != 0 && errno != EOPNOTSUPP &&
		errno != ENOSYS)
		return file_fail(in, errno, file->name, "room cannot be reserved", err);
	return 0;
}

int incoming_begin(struct incoming *in, const char *dir, const struct msg_begin *begin,
	struct gp_snapshot_error *err)
{
	GP_ASSERT(!in->stage);
	in->begin = *begin;
	in->dir = dir;
	in->file_idx = 0;
	in->offset = 0;
	for (uint32_t i = 0; i < BEGIN_FILES_MAX; i++)
		in->fds[i] = -1;
	int rc = gp_snapshot_stage_create(dir, &in->stage, err);
	for (uint32_t i = 0; rc == 0 && i < begin->files_count; i++)
		rc = file_create(in, i, err);
	if (rc != 0)
		incoming_drop(in);
	return rc;
}

void incoming_drop(struct incoming *in)
{
	if (!in->stage)
		return;
	for (uint32_t i = 0; i < BEGIN_FILES_MAX; i++)
		if (in->fds[i] >= 0)
			close(in->fds[i]);
	gp_snapshot_stage_drop(in->stage);
	in->stage = NULL;
}

int incoming_chunk(
	struct incoming *in, const uint8_t *body, size_t len, struct gp_snapshot_error *err)
{
	GP_ASSERT(in->stage);
	if (len <= CHUNK_HEADER_SIZE || gp_load32(body + 4) != 0)
		return replica_fail(err, -EPROTO, "chunk without data, or with a bad header");
	uint64_t count = len - CHUNK_HEADER_SIZE;
	if (in->file_idx >= in->begin.files_count || gp_load32(body) != in->file_idx ||
		gp_load64(body + 8) != in->offset ||
		count > in->begin.files[in->file_idx].size - in->offset)
		return replica_fail(err, -EPROTO,
			"chunk of file %u at %llu: expected file %u at %llu, within its size",
			gp_load32(body), (unsigned long long)gp_load64(body + 8), in->file_idx,
			(unsigned long long)in->offset);
	const struct gp_snapshot_file *file = &in->begin.files[in->file_idx];
	for (uint64_t done = 0; done < count;) {
		ssize_t n = pwrite(in->fds[in->file_idx], body + CHUNK_HEADER_SIZE + done,
			count - done, (off_t)(in->offset + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return file_fail(
				in, n < 0 ? errno : EIO, file->name, "cannot be written", err);
		done += (uint64_t)n;
	}
	in->offset += count;
	if (in->offset == file->size) {
		in->file_idx++;
		in->offset = 0;
	}
	return 0;
}

static int files_settle(struct incoming *in, struct gp_snapshot_error *err)
{
	for (uint32_t i = 0; i < in->begin.files_count; i++) {
		int e = fsync(in->fds[i]) == 0 ? 0 : errno;
		if (close(in->fds[i]) != 0 && e == 0)
			e = errno;
		in->fds[i] = -1;
		if (e != 0)
			return file_fail(in, e, in->begin.files[i].name, "cannot be synced", err);
	}
	return 0;
}

// Whether what lies on the stage is a snapshot, and the one that was announced.
static int stage_prove(struct incoming *in, struct gp_snapshot_error *err)
{
	struct gp_snapshot *snap;
	int rc = gp_snapshot_prove(gp_snapshot_stage_path(in->stage), &snap, err);
	if (rc != 0)
		return rc;
	const struct gp_snapshot_meta *meta = gp_snapshot_meta(snap);
	uint64_t digest = gp_snapshot_seal(snap)->digest;
	if (strcmp(meta->job, in->begin.entry.job) != 0 || meta->step != in->begin.entry.step ||
		digest != in->begin.digest)
		rc = replica_fail(err, -EBADMSG,
			"snapshot %s holds job %s step %u digest %016llx, not what was announced",
			in->begin.entry.name, meta->job, meta->step, (unsigned long long)digest);
	gp_snapshot_close(snap);
	return rc;
}

// The primary's newest is what counts. Later ones of that job are of a leadership that another one
// has replaced, and the next start of this node must not take them for the newest.
static int later_set_aside(struct incoming *in, struct gp_snapshot_error *err)
{
	const struct gp_snapshot_entry *e = &in->begin.entry;
	uint32_t count;
	int rc = gp_snapshot_rewind(in->dir, e->job, e->step, &count, err);
	if (count > 0)
		gp_warn("replica receiver: %u snapshots of job %s are later than step %u, which "
			"the primary ships: they are set aside (.aside)",
			count, e->job, e->step);
	return rc;
}

int incoming_end(struct incoming *in, char *path_out, struct gp_snapshot_error *err)
{
	GP_ASSERT(in->stage);
	int rc = 0;
	if (in->file_idx != in->begin.files_count)
		rc = replica_fail(err, -EPROTO, "snapshot %s ends in the middle of %s",
			in->begin.entry.name, in->begin.files[in->file_idx].name);
	if (rc == 0)
		rc = files_settle(in, err);
	if (rc == 0)
		rc = stage_prove(in, err);
	if (rc == 0)
		rc = later_set_aside(in, err);
	if (rc != 0) {
		incoming_drop(in);
		return rc;
	}
	rc = gp_snapshot_stage_publish(in->stage, in->begin.entry.name, path_out, err);
	in->stage = NULL;
	return rc;
}
