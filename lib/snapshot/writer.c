// SPDX-License-Identifier: BSD-3-Clause
#include "snapshot_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#define WRITE_BUFFER_SIZE (256 << 10)

struct file_out {
	int fd;
	struct gp_snapshot_file info;
	uint64_t elements_left;
	XXH3_state_t *hash;
	uint8_t *buffer;
	size_t buffer_used;
};

struct gp_snapshot_writer {
	struct gp_snapshot_stage *stage;
	char dir[PATH_MAX];
	char name[GP_SNAPSHOT_NAME_SIZE];
	json_t *manifest;
	uint64_t size; // of all files, manifest estimated
	uint64_t free; // in the file system when it began
	uint32_t files_count;
	struct file_out files[GP_SNAPSHOT_FILES_MAX];
	struct gp_snapshot_error failed; // code 0 while all is well
};

static int writer_fail(struct gp_snapshot_writer *w, int errno_code, const char *name,
	const char *what, struct gp_snapshot_error *err)
{
	if (errno_code == ENOSPC || errno_code == EDQUOT)
		snapshot_fail(&w->failed, -errno_code,
			"%s: disk full at %s of snapshot %s: it needs %llu bytes, %llu were free; "
			"free space there or name another directory",
			w->dir, name, w->name, (unsigned long long)w->size,
			(unsigned long long)w->free);
	else
		snapshot_fail_sys(
			&w->failed, errno_code, gp_snapshot_stage_path(w->stage), name, what);
	*err = w->failed;
	return err->code;
}

static int fd_write(int fd, const void *data, size_t len)
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

static int file_emit(struct gp_snapshot_writer *w, struct file_out *f, const void *data, size_t len,
	struct gp_snapshot_error *err)
{
	XXH3_64bits_update(f->hash, data, len);
	int e = fd_write(f->fd, data, len);
	return e == 0 ? 0 : writer_fail(w, e, f->info.name, "cannot be written", err);
}

static int file_flush(
	struct gp_snapshot_writer *w, struct file_out *f, struct gp_snapshot_error *err)
{
	size_t len = f->buffer_used;
	f->buffer_used = 0;
	return len > 0 ? file_emit(w, f, f->buffer, len, err) : 0;
}

static int file_put(struct gp_snapshot_writer *w, struct file_out *f, const void *data, size_t len,
	struct gp_snapshot_error *err)
{
	if (len > WRITE_BUFFER_SIZE - f->buffer_used) {
		int rc = file_flush(w, f, err);
		if (rc != 0)
			return rc;
	}
	if (len > WRITE_BUFFER_SIZE)
		return file_emit(w, f, data, len, err);
	memcpy(f->buffer + f->buffer_used, data, len);
	f->buffer_used += len;
	return 0;
}

// Durable, or an error. Not all file systems tell of a failed write before close.
static int fd_settle(int *fd)
{
	int e = fsync(*fd) == 0 ? 0 : errno;
	if (close(*fd) != 0 && e == 0)
		e = errno;
	*fd = -1;
	return e;
}

static int file_create(
	struct gp_snapshot_writer *w, const char *name, int *fd, struct gp_snapshot_error *err)
{
	*fd = openat(gp_snapshot_stage_fd(w->stage), name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
		0644);
	return *fd >= 0 ? 0 : writer_fail(w, errno, name, "cannot be made", err);
}

static int file_begin(struct gp_snapshot_writer *w, struct file_out *f, const char *header,
	size_t header_len, struct gp_snapshot_error *err)
{
	f->hash = XXH3_createState();
	f->buffer = malloc(WRITE_BUFFER_SIZE);
	if (!f->hash || !f->buffer)
		return snapshot_fail(err, -ENOMEM, "out of memory for %s", f->info.name);
	XXH3_64bits_reset(f->hash);
	int rc = file_create(w, f->info.name, &f->fd, err);
	if (rc != 0)
		return rc;
	// Where room cannot be reserved, a full disk is found by a write.
	if (fallocate(f->fd, 0, 0, (off_t)f->info.size) != 0 && errno != EOPNOTSUPP &&
		errno != ENOSYS)
		return writer_fail(w, errno, f->info.name, "room cannot be reserved", err);
	return file_put(w, f, header, header_len, err);
}

static void writer_free(struct gp_snapshot_writer *w)
{
	for (uint32_t i = 0; i < w->files_count; i++) {
		struct file_out *f = &w->files[i];
		if (f->fd >= 0)
			close(f->fd);
		XXH3_freeState(f->hash);
		free(f->buffer);
	}
	json_decref(w->manifest);
	free(w);
}

void gp_snapshot_abort(struct gp_snapshot_writer *w)
{
	if (!w)
		return;
	gp_snapshot_stage_drop(w->stage);
	writer_free(w);
}

static int files_begin(struct gp_snapshot_writer *w, const struct gp_snapshot_meta *meta,
	uint64_t elements, struct gp_snapshot_error *err)
{
	char *header;
	size_t header_len;
	int rc = safetensors_header(meta, &header, &header_len, err);
	if (rc != 0)
		return rc;
	w->files_count = 1 + meta->states_count;
	for (uint32_t i = 0; i < w->files_count; i++) {
		struct file_out *f = &w->files[i];
		snapshot_file_name(meta, i, f->info.name, sizeof(f->info.name));
		f->fd = -1;
		f->elements_left = elements;
		f->info.size = header_len + elements * sizeof(float);
	}
	// The manifest names each tensor in about twice the room of the header.
	w->size = w->files_count * w->files[0].info.size + 4096 + 2 * header_len;
	struct statvfs fs;
	if (statvfs(w->dir, &fs) == 0)
		w->free = (uint64_t)fs.f_bavail * fs.f_frsize;
	for (uint32_t i = 0; rc == 0 && i < w->files_count; i++)
		rc = file_begin(w, &w->files[i], header, header_len, err);
	free(header);
	return rc;
}

static int meta_accept(const struct gp_snapshot_meta *meta, struct gp_snapshot_error *err)
{
	uint64_t elements;
	int rc = snapshot_meta_check(meta, &elements, err);
	if (rc != 0)
		return rc;
	json_t *index = snapshot_index_create(meta, err);
	json_decref(index);
	return index ? 0 : err->code;
}

static uint64_t meta_elements(const struct gp_snapshot_meta *meta)
{
	uint64_t elements = 0;
	for (uint32_t i = 0; i < meta->tensors_count; i++)
		elements += meta->tensors[i].elements;
	return elements;
}

int gp_snapshot_begin(const struct gp_snapshot_meta *meta, const char *dir,
	struct gp_snapshot_writer **out, struct gp_snapshot_error *err)
{
	int rc = meta_accept(meta, err);
	if (rc != 0)
		return rc;
	struct gp_snapshot_writer *w = calloc(1, sizeof(*w));
	if (!w)
		return snapshot_fail(err, -ENOMEM, "out of memory for a snapshot");
	rc = gp_snapshot_stage_create(dir, &w->stage, err);
	if (rc != 0)
		goto free_writer;
	strcpy(w->dir, dir);
	snprintf(w->name, sizeof(w->name), "%.*s-%010u", GP_SNAPSHOT_TEXT_SIZE - 1, meta->job,
		meta->step);
	w->manifest = manifest_begin(meta);
	if (!w->manifest) {
		rc = snapshot_fail(err, -ENOMEM, "out of memory for the manifest");
		goto drop_stage;
	}
	rc = files_begin(w, meta, meta_elements(meta), err);
	if (rc != 0)
		goto drop_stage;
	*out = w;
	return 0;
drop_stage:
	gp_snapshot_stage_drop(w->stage);
free_writer:
	writer_free(w);
	return rc;
}

int gp_snapshot_append(struct gp_snapshot_writer *w, uint32_t file_idx, const float *data,
	uint64_t count, struct gp_snapshot_error *err)
{
	GP_ASSERT(file_idx < w->files_count);
	struct file_out *f = &w->files[file_idx];
	if (w->failed.code != 0) {
		*err = w->failed;
		return err->code;
	}
	if (count > f->elements_left) {
		snapshot_fail(&w->failed, -EINVAL, "%s: %llu elements more than its tensors have",
			f->info.name, (unsigned long long)(count - f->elements_left));
		*err = w->failed;
		return err->code;
	}
	f->elements_left -= count;
	return file_put(w, f, data, count * sizeof(*data), err);
}

static int seal_check(struct gp_snapshot_writer *w, const struct gp_snapshot_seal *seal,
	struct gp_snapshot_error *err)
{
	if (w->failed.code != 0) {
		*err = w->failed;
		return err->code;
	}
	for (uint32_t i = 0; i < w->files_count; i++)
		if (w->files[i].elements_left > 0)
			return snapshot_fail(err, -EINVAL, "%s: %llu elements are missing",
				w->files[i].info.name,
				(unsigned long long)w->files[i].elements_left);
	if (seal->ranks_count > GP_RANKS_MAX)
		return snapshot_fail(err, -EINVAL, "more than %d ranks", GP_RANKS_MAX);
	for (uint32_t i = 0; i < seal->ranks_count; i++)
		if (seal->ranks[i].rank >= GP_RANKS_MAX ||
			(i > 0 && seal->ranks[i].rank <= seal->ranks[i - 1].rank))
			return snapshot_fail(err, -EINVAL, "ranks: not in increasing order");
	return 0;
}

static int files_settle(struct gp_snapshot_writer *w, struct gp_snapshot_error *err)
{
	for (uint32_t i = 0; i < w->files_count; i++) {
		struct file_out *f = &w->files[i];
		int rc = file_flush(w, f, err);
		if (rc != 0)
			return rc;
		f->info.xxh3 = XXH3_64bits_digest(f->hash);
		int e = fd_settle(&f->fd);
		if (e != 0)
			return writer_fail(w, e, f->info.name, "cannot be synced", err);
	}
	return 0;
}

static int manifest_write(
	struct gp_snapshot_writer *w, const char *text, size_t len, struct gp_snapshot_error *err)
{
	int fd;
	int rc = file_create(w, GP_SNAPSHOT_MANIFEST, &fd, err);
	if (rc != 0)
		return rc;
	int e = fd_write(fd, text, len);
	int settled = fd_settle(&fd);
	if (e == 0)
		e = settled;
	return e == 0 ? 0
		      : writer_fail(
				w, e, GP_SNAPSHOT_MANIFEST, "cannot be written and synced", err);
}

static int manifest_add(struct gp_snapshot_writer *w, const struct gp_snapshot_seal *seal,
	struct gp_snapshot_error *err)
{
	struct gp_snapshot_file files[GP_SNAPSHOT_FILES_MAX];
	char created[SNAPSHOT_CREATED_SIZE];
	time_t now = time(NULL);
	struct tm tm;
	for (uint32_t i = 0; i < w->files_count; i++)
		files[i] = w->files[i].info;
	if (strftime(created, sizeof(created), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm)) == 0)
		return snapshot_fail(err, -EINVAL, "the clock of this machine is unusable");
	char *text;
	size_t len;
	int rc = manifest_finish(
		w->manifest, seal, files, w->files_count, created, &text, &len, err);
	if (rc != 0)
		return rc;
	rc = manifest_write(w, text, len, err);
	free(text);
	return rc;
}

int gp_snapshot_finish(struct gp_snapshot_writer *w, const struct gp_snapshot_seal *seal,
	char *path_out, struct gp_snapshot_error *err)
{
	int rc = seal_check(w, seal, err);
	if (rc == 0)
		rc = files_settle(w, err);
	if (rc == 0)
		rc = manifest_add(w, seal, err);
	if (rc == 0)
		rc = gp_snapshot_stage_publish(w->stage, w->name, path_out, err);
	else
		gp_snapshot_stage_drop(w->stage);
	writer_free(w);
	return rc;
}
