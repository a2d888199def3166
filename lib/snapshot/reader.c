// SPDX-License-Identifier: BSD-3-Clause
//
// Opening reads every byte once with read(2), which turns a bad sector into an error where a
// mapping would end the process, and only then maps the files.
#include "snapshot_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define READ_BUFFER_SIZE (1 << 20)

struct mapping {
	void *base;
	uint64_t size;
	uint64_t data_start;
};

struct gp_snapshot {
	char path[PATH_MAX];
	int dir_fd;
	struct manifest manifest;
	struct gp_snapshot_file manifest_file;
	struct mapping maps[GP_SNAPSHOT_FILES_MAX + 1]; // the last used one is the manifest
	uint64_t *offsets;				// of each tensor in the data, bytes
};

static int reader_fail(const struct gp_snapshot *s, int e, const char *name, const char *what,
	struct gp_snapshot_error *err)
{
	return snapshot_fail_sys(err, e, s->path, name, what);
}

static int file_open(const struct gp_snapshot *s, const char *name, int *fd, uint64_t *size,
	struct gp_snapshot_error *err)
{
	struct stat st;
	// Not to wait for a writer, should it be a named pipe.
	*fd = openat(s->dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (*fd < 0)
		return reader_fail(s, errno, name, "cannot be opened", err);
	if (fstat(*fd, &st) == 0 && S_ISREG(st.st_mode)) {
		*size = (uint64_t)st.st_size;
		return 0;
	}
	close(*fd);
	return snapshot_fail(err, -EBADMSG, "%s/%s: not a regular file", s->path, name);
}

// xxh3 of exactly `size` bytes; an error if there are fewer.
static int file_hash(const struct gp_snapshot *s, int fd, struct gp_snapshot_file *file,
	uint64_t size, struct gp_snapshot_error *err)
{
	int rc = 0;
	XXH3_state_t *hash = XXH3_createState();
	uint8_t *buffer = malloc(READ_BUFFER_SIZE);
	if (!hash || !buffer)
		rc = snapshot_fail(err, -ENOMEM, "out of memory to read %s", file->name);
	else
		XXH3_64bits_reset(hash);
	for (uint64_t at = 0; rc == 0 && at < size;) {
		ssize_t n = pread(fd, buffer, GP_MIN(size - at, READ_BUFFER_SIZE), (off_t)at);
		if (n < 0)
			rc = reader_fail(s, errno, file->name, "cannot be read", err);
		else if (n == 0)
			rc = snapshot_fail(
				err, -EBADMSG, "%s/%s: ends too early", s->path, file->name);
		else
			XXH3_64bits_update(hash, buffer, (size_t)n);
		at += n > 0 ? (uint64_t)n : 0;
	}
	if (rc == 0)
		file->xxh3 = XXH3_64bits_digest(hash);
	XXH3_freeState(hash);
	free(buffer);
	return rc;
}

static int file_map(const struct gp_snapshot *s, int fd, const char *name, uint64_t size,
	struct mapping *map, struct gp_snapshot_error *err)
{
	void *base = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (base == MAP_FAILED)
		return reader_fail(s, errno, name, "cannot be mapped", err);
	map->base = base;
	map->size = size;
	return 0;
}

static int manifest_load(struct gp_snapshot *s, struct mapping *map, struct gp_snapshot_error *err)
{
	int fd;
	uint64_t size = 0;
	struct gp_snapshot_file *file = &s->manifest_file;
	strcpy(file->name, GP_SNAPSHOT_MANIFEST);
	int rc = file_open(s, file->name, &fd, &size, err);
	if (rc != 0)
		return rc;
	if (size == 0 || size > SNAPSHOT_MANIFEST_MAX)
		rc = snapshot_fail(err, -EBADMSG, "%s/%s: %llu bytes are out of range 1..%llu",
			s->path, file->name, (unsigned long long)size,
			(unsigned long long)SNAPSHOT_MANIFEST_MAX);
	if (rc == 0)
		rc = file_hash(s, fd, file, size, err);
	if (rc == 0)
		rc = file_map(s, fd, file->name, size, map, err);
	close(fd);
	if (rc != 0)
		return rc;
	file->size = size;
	struct gp_snapshot_error why;
	rc = manifest_parse(map->base, size, &s->manifest, &why);
	return rc == 0 ? 0 : snapshot_fail(err, rc, "%s/%s", s->path, why.text);
}

static int file_prove(const struct gp_snapshot *s, int fd, uint64_t size,
	const struct gp_snapshot_file *expected, struct mapping *map, struct gp_snapshot_error *err)
{
	struct gp_snapshot_file seen = *expected;
	if (size != expected->size)
		return snapshot_fail(err, -EBADMSG, "%s/%s: %llu bytes, the manifest says %llu",
			s->path, expected->name, (unsigned long long)size,
			(unsigned long long)expected->size);
	int rc = file_hash(s, fd, &seen, size, err);
	if (rc != 0)
		return rc;
	if (seen.xxh3 != expected->xxh3)
		return snapshot_fail(err, -EBADMSG,
			"%s/%s: xxh3 is %016llx, the manifest says %016llx", s->path,
			expected->name, (unsigned long long)seen.xxh3,
			(unsigned long long)expected->xxh3);
	rc = file_map(s, fd, expected->name, size, map, err);
	if (rc != 0)
		return rc;
	struct gp_snapshot_error why;
	rc = safetensors_check(
		&s->manifest.meta, expected->name, map->base, size, size, &map->data_start, &why);
	return rc == 0 ? 0 : snapshot_fail(err, rc, "%s/%s", s->path, why.text);
}

static int files_load(struct gp_snapshot *s, struct gp_snapshot_error *err)
{
	int rc = 0;
	for (uint32_t i = 0; rc == 0 && i < s->manifest.files_count; i++) {
		int fd;
		uint64_t size = 0;
		rc = file_open(s, s->manifest.files[i].name, &fd, &size, err);
		if (rc != 0)
			break;
		rc = file_prove(s, fd, size, &s->manifest.files[i], &s->maps[i], err);
		close(fd);
	}
	return rc;
}

static int offsets_fill(struct gp_snapshot *s, struct gp_snapshot_error *err)
{
	const struct gp_snapshot_meta *meta = &s->manifest.meta;
	uint64_t offset = 0;
	s->offsets = calloc(meta->tensors_count, sizeof(*s->offsets));
	if (!s->offsets)
		return snapshot_fail(
			err, -ENOMEM, "out of memory for %u tensors", meta->tensors_count);
	for (uint32_t i = 0; i < meta->tensors_count; i++) {
		s->offsets[i] = offset;
		offset += meta->tensors[i].elements * sizeof(float);
	}
	return 0;
}

static int snapshot_load(struct gp_snapshot *s, struct gp_snapshot_error *err)
{
	struct mapping manifest_map = {0};
	s->dir_fd = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dir_fd < 0)
		return reader_fail(s, errno, NULL, "cannot be opened", err);
	int rc = manifest_load(s, &manifest_map, err);
	s->maps[s->manifest.files_count] = manifest_map;
	if (rc == 0)
		rc = files_load(s, err);
	return rc == 0 ? offsets_fill(s, err) : rc;
}

int gp_snapshot_open(const char *path, struct gp_snapshot **out, struct gp_snapshot_error *err)
{
	if (strlen(path) >= PATH_MAX)
		return snapshot_fail_sys(err, ENAMETOOLONG, path, NULL, "cannot be opened");
	struct gp_snapshot *s = calloc(1, sizeof(*s));
	if (!s)
		return snapshot_fail(err, -ENOMEM, "out of memory for a snapshot");
	strcpy(s->path, path);
	int rc = snapshot_load(s, err);
	if (rc != 0) {
		gp_snapshot_close(s);
		return rc;
	}
	*out = s;
	return 0;
}

void gp_snapshot_close(struct gp_snapshot *s)
{
	if (!s)
		return;
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(s->maps); i++)
		if (s->maps[i].base)
			munmap(s->maps[i].base, s->maps[i].size);
	if (s->dir_fd >= 0)
		close(s->dir_fd);
	manifest_fini(&s->manifest);
	free(s->offsets);
	free(s);
}

const struct gp_snapshot_meta *gp_snapshot_meta(const struct gp_snapshot *s)
{
	return &s->manifest.meta;
}

const struct gp_snapshot_seal *gp_snapshot_seal(const struct gp_snapshot *s)
{
	return &s->manifest.seal;
}

const char *gp_snapshot_created(const struct gp_snapshot *s)
{
	return s->manifest.created;
}

const char *gp_snapshot_path(const struct gp_snapshot *s)
{
	return s->path;
}

const float *gp_snapshot_data(const struct gp_snapshot *s, uint32_t file_idx, uint32_t tensor_idx)
{
	GP_ASSERT(file_idx < s->manifest.files_count);
	GP_ASSERT(tensor_idx < s->manifest.meta.tensors_count);
	const struct mapping *map = &s->maps[file_idx];
	const uint8_t *data = (const uint8_t *)map->base + map->data_start;
	return (const float *)(const void *)(data + s->offsets[tensor_idx]);
}

int gp_snapshot_find(const struct gp_snapshot *s, const char *tensor)
{
	const json_t *position = json_object_get(s->manifest.index, tensor);
	return position ? (int)json_integer_value(position) : -ENOENT;
}

uint32_t gp_snapshot_files_count(const struct gp_snapshot *s)
{
	return s->manifest.files_count;
}

const struct gp_snapshot_file *gp_snapshot_file(const struct gp_snapshot *s, uint32_t idx)
{
	GP_ASSERT(idx <= s->manifest.files_count);
	return idx < s->manifest.files_count ? &s->manifest.files[idx] : &s->manifest_file;
}

const void *gp_snapshot_bytes(const struct gp_snapshot *s, uint32_t idx)
{
	GP_ASSERT(idx <= s->manifest.files_count);
	return s->maps[idx].base;
}
