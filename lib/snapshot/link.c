// SPDX-License-Identifier: BSD-3-Clause
//
// One snapshot directory by itself. Every byte is read once with read(2), which turns a bad sector
// into an error where a mapping would end the process, and only then the files are mapped.
#include "snapshot_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int link_fail(const struct link *l, int e, const char *name, const char *what,
	struct gp_snapshot_error *err)
{
	return snapshot_fail_sys(err, e, l->path, name, what);
}

int snapshot_map(int fd, uint64_t size, struct mapping *map)
{
	void *base = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (base == MAP_FAILED)
		return errno;
	*map = (struct mapping){.base = base, .size = size};
	return 0;
}

void snapshot_unmap(struct mapping *map)
{
	if (map->base)
		munmap(map->base, map->size);
	*map = (struct mapping){0};
}

void snapshot_block_name(const struct link *l, uint32_t block, char *out, size_t size)
{
	struct grid_block b = grid_block(&l->grid, 0, block);
	const struct gp_snapshot_meta *m = &l->manifest.meta;
	snprintf(out, size, "block %u (%s %s, %s %llu..%llu)", block, m->embed ? "table" : "tensor",
		m->tensors[b.tensor].name, m->embed ? "rows" : "elements",
		(unsigned long long)b.first, (unsigned long long)b.end - 1);
}

static int file_open(const struct link *l, const char *name, int *fd, uint64_t *size,
	struct gp_snapshot_error *err)
{
	struct stat st;
	// Not to wait for a writer, should it be a named pipe.
	*fd = openat(l->dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (*fd < 0)
		return link_fail(l, errno, name, "cannot be opened", err);
	if (fstat(*fd, &st) == 0 && S_ISREG(st.st_mode)) {
		*size = (uint64_t)st.st_size;
		return 0;
	}
	close(*fd);
	return snapshot_fail(err, -EBADMSG, "%s/%s: not a regular file", l->path, name);
}

// ---- manifest and blocks.safetensors

// Reads all of a small file; its xxh3 in *xxh3.
static int file_hash(const struct link *l, int fd, const char *name, uint64_t size, uint64_t *xxh3,
	struct gp_snapshot_error *err)
{
	struct stream s;
	int rc = snapshot_stream_begin(&s, fd, size, l->path, name, err);
	for (uint64_t at = 0, len; rc == 0 && at < size; at += len) {
		const void *bytes;
		len = size - at;
		rc = snapshot_stream_next(&s, &len, &bytes, err);
	}
	if (rc == 0)
		*xxh3 = snapshot_stream_xxh3(&s);
	snapshot_stream_end(&s);
	return rc;
}

static int manifest_load(struct link *l, struct gp_snapshot_error *err)
{
	int fd;
	uint64_t size = 0;
	struct gp_snapshot_file *file = &l->manifest_file;
	strcpy(file->name, GP_SNAPSHOT_MANIFEST);
	int rc = file_open(l, file->name, &fd, &size, err);
	if (rc != 0)
		return rc;
	if (size == 0 || size > SNAPSHOT_MANIFEST_MAX)
		rc = snapshot_fail(err, -EBADMSG, "%s/%s: %llu bytes are out of range 1..%llu",
			l->path, file->name, (unsigned long long)size,
			(unsigned long long)SNAPSHOT_MANIFEST_MAX);
	if (rc == 0)
		rc = file_hash(l, fd, file->name, size, &file->xxh3, err);
	int e = rc == 0 ? snapshot_map(fd, size, &l->manifest_map) : 0;
	if (e != 0)
		rc = link_fail(l, e, file->name, "cannot be mapped", err);
	close(fd);
	if (rc != 0)
		return rc;
	file->size = size;
	struct gp_snapshot_error why;
	rc = manifest_parse(l->manifest_map.base, size, &l->manifest, &why);
	return rc == 0 ? 0 : snapshot_fail(err, rc, "%s/%s", l->path, why.text);
}

static int size_wrong(const struct link *l, const struct gp_snapshot_file *file, uint64_t size,
	struct gp_snapshot_error *err)
{
	return snapshot_fail(err, -EBADMSG, "%s/%s: %llu bytes, the manifest says %llu", l->path,
		file->name, (unsigned long long)size, (unsigned long long)file->size);
}

static int xxh3_wrong(const struct link *l, const struct gp_snapshot_file *file, uint64_t xxh3,
	struct gp_snapshot_error *err)
{
	return snapshot_fail(err, -EBADMSG, "%s/%s: xxh3 is %016llx, the manifest says %016llx",
		l->path, file->name, (unsigned long long)xxh3, (unsigned long long)file->xxh3);
}

static int index_load(struct link *l, struct gp_snapshot_error *err)
{
	int fd;
	uint64_t size = 0, xxh3;
	const struct gp_snapshot_file *file = &l->manifest.index;
	const struct gp_snapshot_form *f = &l->manifest.form;
	int rc = file_open(l, file->name, &fd, &size, err);
	if (rc != 0)
		return rc;
	if (size != file->size)
		rc = size_wrong(l, file, size, err);
	if (rc == 0)
		rc = file_hash(l, fd, file->name, size, &xxh3, err);
	if (rc == 0 && xxh3 != file->xxh3)
		rc = xxh3_wrong(l, file, xxh3, err);
	int e = rc == 0 ? snapshot_map(fd, size, &l->index_map) : 0;
	if (e != 0)
		rc = link_fail(l, e, file->name, "cannot be mapped", err);
	close(fd);
	if (rc != 0)
		return rc;
	if (f->blocks_count != l->grid.blocks_count)
		return snapshot_fail(err, -EBADMSG, "%s/%s: blocks: %u, the tensors make %u",
			l->path, GP_SNAPSHOT_MANIFEST, f->blocks_count, l->grid.blocks_count);
	struct gp_snapshot_error why;
	l->index = (struct index){.files_count = l->manifest.files_count,
		.blocks_count = f->blocks_count,
		.present_count = f->present_count,
		.incremental = f->depth > 0,
		.zstd = f->zstd};
	rc = blocks_index_attach(&l->index, l->index_map.base, size, &why);
	return rc == 0 ? 0 : snapshot_fail(err, rc, "%s/%s", l->path, why.text);
}

// ---- data

static int data_load(struct link *l, uint32_t idx, struct gp_snapshot_error *err)
{
	int fd;
	uint64_t size = 0;
	const struct gp_snapshot_file *file = &l->manifest.files[idx];
	int rc = file_open(l, file->name, &fd, &size, err);
	if (rc != 0)
		return rc;
	if (size != file->size)
		rc = size_wrong(l, file, size, err);
	struct proof p = {.link = l, .idx = idx, .fd = fd};
	if (rc == 0)
		rc = proof_run(&p, err);
	if (rc == 0 && p.xxh3 != file->xxh3)
		rc = xxh3_wrong(l, file, p.xxh3, err);
	int e = rc == 0 ? snapshot_map(fd, size, &l->data_maps[idx]) : 0;
	if (e != 0)
		rc = link_fail(l, e, file->name, "cannot be mapped", err);
	close(fd);
	l->data_start[idx] = p.data_start;
	return rc;
}

static int link_load(struct link *l, enum link_depth depth, struct gp_snapshot_error *err)
{
	l->dir_fd = open(l->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (l->dir_fd < 0)
		return link_fail(l, errno, NULL, "cannot be opened", err);
	int rc = manifest_load(l, err);
	if (rc != 0 || depth == LINK_MANIFEST)
		return rc;
	struct gp_snapshot_error why;
	rc = grid_init(&l->grid, &l->manifest.meta, &why);
	if (rc != 0)
		return snapshot_fail(err, rc == -EINVAL ? -EBADMSG : rc, "%s/%s: %s", l->path,
			GP_SNAPSHOT_MANIFEST, why.text);
	if (l->manifest.index.name[0])
		rc = index_load(l, err);
	for (uint32_t i = 0; rc == 0 && depth == LINK_DATA && i < l->manifest.files_count; i++)
		rc = data_load(l, i, err);
	return rc;
}

struct link *snapshot_link_open(
	const char *path, enum link_depth depth, struct gp_snapshot_error *err)
{
	if (strlen(path) >= PATH_MAX) {
		snapshot_fail_sys(err, ENAMETOOLONG, path, NULL, "cannot be opened");
		return NULL;
	}
	struct link *l = calloc(1, sizeof(*l));
	if (!l) {
		snapshot_fail(err, -ENOMEM, "out of memory for a snapshot");
		return NULL;
	}
	strcpy(l->path, path);
	if (link_load(l, depth, err) == 0)
		return l;
	snapshot_link_close(l);
	return NULL;
}

void snapshot_link_close(struct link *l)
{
	if (!l)
		return;
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(l->data_maps); i++)
		snapshot_unmap(&l->data_maps[i]);
	snapshot_unmap(&l->index_map);
	snapshot_unmap(&l->manifest_map);
	if (l->dir_fd >= 0)
		close(l->dir_fd);
	grid_fini(&l->grid);
	manifest_fini(&l->manifest);
	free(l);
}
