// SPDX-License-Identifier: BSD-3-Clause
#include "writer_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static int file_fail(
	const struct file_out *f, int errno_code, const char *what, struct gp_snapshot_error *err)
{
	const struct writer_dir *to = f->to;
	if (errno_code != ENOSPC && errno_code != EDQUOT)
		return snapshot_fail_sys(
			err, errno_code, gp_snapshot_stage_path(to->stage), f->info.name, what);
	return snapshot_fail(err, -errno_code,
		"%s: disk full at %s of snapshot %s: it needs %llu bytes, %llu were free; free "
		"space there or name another directory",
		to->dir, f->info.name, to->name, (unsigned long long)to->size,
		(unsigned long long)to->free);
}

int snapshot_fd_write(int fd, const void *data, size_t len)
{
	const uint8_t *p = data;
	while (len > 0) {
		ssize_t n = write(fd, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? errno : EIO;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

// Durable, or an error. Not all file systems tell of a failed write before close.
int snapshot_fd_settle(int *fd)
{
	int e = fsync(*fd) == 0 ? 0 : errno;
	if (close(*fd) != 0 && e == 0)
		e = errno;
	*fd = -1;
	return e;
}

int file_out_init(struct file_out *f, struct writer_dir *to, size_t buffer_size,
	struct gp_snapshot_error *err)
{
	f->to = to;
	f->buffer_size = buffer_size;
	f->hash = XXH3_createState();
	f->buffer = malloc(buffer_size);
	if (!f->hash || !f->buffer)
		return snapshot_fail(err, -ENOMEM, "out of memory for %s", f->info.name);
	XXH3_64bits_reset(f->hash);
	return 0;
}

int file_out_create(struct file_out *f, uint64_t room, struct gp_snapshot_error *err)
{
	f->fd = openat(gp_snapshot_stage_fd(f->to->stage), f->info.name,
		O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (f->fd < 0)
		return file_fail(f, errno, "cannot be made", err);
	// Where room cannot be reserved, a full disk is found by a write.
	if (room > 0 && fallocate(f->fd, 0, 0, (off_t)room) != 0 && errno != EOPNOTSUPP &&
		errno != ENOSYS)
		return file_fail(f, errno, "room cannot be reserved", err);
	return 0;
}

static int file_emit(
	struct file_out *f, const void *data, size_t len, struct gp_snapshot_error *err)
{
	XXH3_64bits_update(f->hash, data, len);
	f->info.size += len;
	int e = snapshot_fd_write(f->fd, data, len);
	return e == 0 ? 0 : file_fail(f, e, "cannot be written", err);
}

static int file_flush(struct file_out *f, struct gp_snapshot_error *err)
{
	size_t len = f->buffer_used;
	f->buffer_used = 0;
	return len > 0 ? file_emit(f, f->buffer, len, err) : 0;
}

int file_out_put(struct file_out *f, const void *data, size_t len, struct gp_snapshot_error *err)
{
	if (len > f->buffer_size - f->buffer_used) {
		// A block that becomes a frame always fits.
		GP_ASSERT(!f->frame_sizes);
		int rc = file_flush(f, err);
		if (rc != 0)
			return rc;
	}
	if (len > f->buffer_size)
		return file_emit(f, data, len, err);
	memcpy(f->buffer + f->buffer_used, data, len);
	f->buffer_used += len;
	return 0;
}

int file_out_frame(struct file_out *f, const void *data, size_t len, struct gp_snapshot_error *err)
{
	struct writer_dir *to = f->to;
	if (!data) {
		data = f->buffer;
		len = f->buffer_used;
		f->buffer_used = 0;
	}
	size_t frame_len = zstd_frame_make(to->frames, to->frame, to->frame_size, data, len);
	if (frame_len == 0)
		return snapshot_fail(err, -ENOMEM, "out of memory for zstd");
	*f->frame_sizes++ = (uint32_t)frame_len;
	return file_emit(f, to->frame, frame_len, err);
}

int file_out_settle(struct file_out *f, struct gp_snapshot_error *err)
{
	int rc = file_flush(f, err);
	if (rc != 0)
		return rc;
	f->info.xxh3 = XXH3_64bits_digest(f->hash);
	int e = snapshot_fd_settle(&f->fd);
	return e == 0 ? 0 : file_fail(f, e, "cannot be synced", err);
}

void file_out_fini(struct file_out *f)
{
	if (f->fd >= 0)
		close(f->fd);
	XXH3_freeState(f->hash);
	free(f->buffer);
	f->fd = -1;
	f->hash = NULL;
	f->buffer = NULL;
}
