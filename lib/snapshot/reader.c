// SPDX-License-Identifier: BSD-3-Clause
//
// An open snapshot: the directory that was asked for, those that it builds on, and the data of all
// of them together. A full snapshot that is not compressed is its own data; else each block is
// copied, from the newest directory that holds it, into a file without a name.
#include "snapshot_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TEMPORARY_DIR "/var/tmp"

struct gp_snapshot {
	struct link *links[GP_SNAPSHOT_CHAIN_MAX]; // [0] is the one that was asked for
	uint32_t links_count;
	struct mapping data[GP_SNAPSHOT_FILES_MAX]; // what was put together
};

static struct link *own(const struct gp_snapshot *s)
{
	return s->links[0];
}

// ---- the chain

bool snapshot_tensors_same(const struct gp_snapshot_meta *a, const struct gp_snapshot_meta *b)
{
	if (a->tensors_count != b->tensors_count || a->states_count != b->states_count ||
		a->block_elems != b->block_elems || strcmp(a->job, b->job) != 0 ||
		(a->embed != NULL) != (b->embed != NULL) ||
		(a->embed && (a->embed->state_of_row != b->embed->state_of_row ||
				     a->embed->mixed != b->embed->mixed)))
		return false;
	for (uint32_t i = 0; a->embed && a->embed->mixed && i < a->tensors_count; i++)
		if (a->embed->tables[i].of_value != b->embed->tables[i].of_value ||
			a->embed->tables[i].of_row != b->embed->tables[i].of_row)
			return false;
	for (uint32_t i = 0; i < a->states_count; i++)
		if (strcmp(a->states[i], b->states[i]) != 0)
			return false;
	for (uint32_t i = 0; i < a->tensors_count; i++) {
		const struct gp_snapshot_tensor *x = &a->tensors[i], *y = &b->tensors[i];
		if (strcmp(x->name, y->name) != 0 || x->dims_count != y->dims_count ||
			memcmp(x->dims, y->dims, x->dims_count * sizeof(x->dims[0])) != 0)
			return false;
	}
	return true;
}

// What `l` does not hold must be in its base, with the same sums.
static bool sums_follow(const struct link *l, const struct link *base)
{
	const struct index *x = &l->index, *y = &base->index;
	for (uint32_t f = 0; f < x->files_count; f++) {
		const uint64_t *a = &x->sums[(size_t)f * x->blocks_count];
		const uint64_t *b = &y->sums[(size_t)f * x->blocks_count];
		uint32_t at = 0;
		for (uint32_t i = 0; i <= x->present_count; i++) {
			uint32_t end = i < x->present_count ? x->present[i] : x->blocks_count;
			if (memcmp(a + at, b + at, (end - at) * sizeof(*a)) != 0)
				return false;
			at = end + 1;
		}
	}
	return true;
}

static int base_check(const struct link *l, const struct link *base, struct gp_snapshot_error *err)
{
	const struct gp_snapshot_form *f = &l->manifest.form;
	const char *why = NULL;
	if (base->manifest.form.checksum != f->base_checksum)
		why = "it is another one of that name (its checksum differs)";
	else if (base->manifest.form.depth != f->depth - 1 || !base->index.sums)
		why = "it cannot be the base of another";
	else if (!snapshot_tensors_same(&l->manifest.meta, &base->manifest.meta))
		why = "it has other tensors";
	else if (!sums_follow(l, base))
		why = "blocks that it should hold have other checksums";
	return why ? snapshot_fail(
			     err, -EBADMSG, "%s: broken chain at %s: %s", l->path, f->base, why)
		   : 0;
}

// The directory beside that of `l`.
static int base_path(const struct link *l, char *out, struct gp_snapshot_error *err)
{
	char text[PATH_MAX];
	snprintf(text, sizeof(text), "%s", l->path);
	size_t len = strlen(text);
	while (len > 1 && text[len - 1] == '/')
		text[--len] = 0;
	char *slash = strrchr(text, '/');
	if (slash)
		*slash = 0;
	return snapshot_path_join(
		out, slash ? (text[0] ? text : "") : ".", l->manifest.form.base, err);
}

static int chain_load(struct gp_snapshot *s, enum link_depth depth, struct gp_snapshot_error *err)
{
	while (s->links[s->links_count - 1]->manifest.form.depth > 0) {
		struct link *l = s->links[s->links_count - 1];
		char path[PATH_MAX];
		struct gp_snapshot_error why;
		int rc = base_path(l, path, err);
		if (rc != 0)
			return rc;
		struct link *base = snapshot_link_open(path, depth, &why);
		// That it could not be read means the same to who asked for this one.
		if (!base)
			return snapshot_fail(err,
				snapshot_is_system(why.code) ? why.code : -EBADMSG,
				"%s: broken chain: %s", l->path, why.text);
		GP_ASSERT(s->links_count < GP_SNAPSHOT_CHAIN_MAX);
		s->links[s->links_count++] = base;
		rc = base_check(l, base, err);
		if (rc != 0)
			return rc;
	}
	return 0;
}

// ---- putting the data together

static int temporary_open(const struct gp_snapshot *s, struct gp_snapshot_error *err)
{
	int fd = openat(own(s)->dir_fd, "..", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		fd = open(TEMPORARY_DIR, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		snapshot_fail_sys(err, errno, own(s)->path, NULL, "no file to put it together in");
	return fd;
}

static int block_write(int fd, const struct grid_block *b, const void *bytes)
{
	size_t size = b->words * sizeof(float);
	for (size_t done = 0; done < size;) {
		ssize_t n = pwrite(fd, (const uint8_t *)bytes + done, size - done,
			(off_t)(b->word * sizeof(float) + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? errno : EIO;
		done += (size_t)n;
	}
	return 0;
}

struct gather {
	int fd;
	uint32_t file;
	uint8_t *have; // a byte per block
	void *scratch; // a block
};

// The blocks of one directory that no newer one has.
static int link_gather(const struct link *l, const struct gather *g, struct gp_snapshot_error *err)
{
	const struct index *x = &l->index;
	const uint8_t *at = (const uint8_t *)l->data_maps[g->file].base + l->data_start[g->file];
	for (uint32_t i = 0; i < x->present_count; i++) {
		uint32_t block = blocks_index_block(x, i);
		struct grid_block b = grid_block(&l->grid, g->file, block);
		size_t len = b.words * sizeof(float);
		size_t stored =
			x->zstd ? x->sizes[g->file * (1 + (size_t)x->present_count) + 1 + i] : len;
		const void *bytes = at;
		at += stored;
		if (g->have[block])
			continue;
		g->have[block] = 1;
		if (x->zstd && !zstd_frame_open(g->scratch, len, bytes, stored))
			return snapshot_fail(err, -EBADMSG,
				"%s/%s: a frame changed while it was read", l->path,
				l->manifest.files[g->file].name);
		int e = block_write(g->fd, &b, x->zstd ? g->scratch : bytes);
		if (e != 0)
			return snapshot_fail_sys(err, e, l->path, NULL,
				"it cannot be put together in a temporary file");
	}
	return 0;
}

static int file_gather(struct gp_snapshot *s, uint32_t file, struct gp_snapshot_error *err)
{
	const struct grid *grid = &own(s)->grid;
	struct gather g = {.file = file};
	g.fd = temporary_open(s, err);
	if (g.fd < 0)
		return err->code;
	int rc = 0;
	g.have = calloc(1, grid->blocks_count + 1);
	g.scratch = malloc((size_t)grid->block_words * sizeof(float) + 1);
	if (!g.have || !g.scratch)
		rc = snapshot_fail(err, -ENOMEM, "out of memory for a snapshot");
	for (uint32_t i = 0; rc == 0 && i < s->links_count; i++)
		rc = link_gather(s->links[i], &g, err);
	uint64_t size = GP_MAX(grid_words(grid, file) * sizeof(float), 1);
	int e = rc == 0 ? snapshot_map(g.fd, size, &s->data[file]) : 0;
	if (e != 0)
		rc = snapshot_fail_sys(err, e, own(s)->path, NULL, "cannot be mapped");
	close(g.fd);
	free(g.have);
	free(g.scratch);
	return rc;
}

// Rows are found by their ids, each of which is there once.
static int ids_check(const struct gp_snapshot *s, struct gp_snapshot_error *err)
{
	const struct gp_snapshot_meta *m = gp_snapshot_meta(s);
	for (uint32_t t = 0; m->embed && t < m->tensors_count; t++) {
		const uint64_t *ids = gp_snapshot_ids(s, t);
		for (uint64_t i = 1; i < m->tensors[t].dims[0]; i++)
			if (ids[i] <= ids[i - 1])
				return snapshot_fail(err, -EBADMSG,
					"%s/%s: table %s: row %llu is not in ascending order of "
					"ids",
					own(s)->path,
					own(s)->manifest.files[gp_snapshot_ids_file(m)].name,
					m->tensors[t].name, (unsigned long long)i);
	}
	return 0;
}

// ---- opening

enum open_mode { OPEN_ALONE, OPEN_PROVE, OPEN_DATA };

static int snapshot_load(
	struct gp_snapshot *s, const char *path, enum open_mode mode, struct gp_snapshot_error *err)
{
	s->links[0] = snapshot_link_open(path, LINK_DATA, err);
	if (!s->links[0])
		return err->code;
	s->links_count = 1;
	int rc = mode == OPEN_ALONE ? 0 : chain_load(s, LINK_DATA, err);
	const struct manifest *m = &own(s)->manifest;
	bool gathered = m->form.depth > 0 || m->form.zstd;
	for (uint32_t i = 0; rc == 0 && mode == OPEN_DATA && gathered && i < m->files_count; i++)
		rc = file_gather(s, i, err);
	return rc == 0 && mode == OPEN_DATA ? ids_check(s, err) : rc;
}

static int snapshot_open(const char *path, enum open_mode mode, struct gp_snapshot **out,
	struct gp_snapshot_error *err)
{
	struct gp_snapshot *s = calloc(1, sizeof(*s));
	if (!s)
		return snapshot_fail(err, -ENOMEM, "out of memory for a snapshot");
	int rc = snapshot_load(s, path, mode, err);
	if (rc != 0) {
		gp_snapshot_close(s);
		return rc;
	}
	*out = s;
	return 0;
}

int gp_snapshot_open(const char *path, struct gp_snapshot **out, struct gp_snapshot_error *err)
{
	return snapshot_open(path, OPEN_DATA, out, err);
}

int gp_snapshot_prove(const char *path, struct gp_snapshot **out, struct gp_snapshot_error *err)
{
	return snapshot_open(path, OPEN_PROVE, out, err);
}

int gp_snapshot_open_alone(
	const char *path, struct gp_snapshot **out, struct gp_snapshot_error *err)
{
	return snapshot_open(path, OPEN_ALONE, out, err);
}

void gp_snapshot_close(struct gp_snapshot *s)
{
	if (!s)
		return;
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(s->data); i++)
		snapshot_unmap(&s->data[i]);
	for (uint32_t i = 0; i < s->links_count; i++)
		snapshot_link_close(s->links[i]);
	free(s);
}

// ---- what it says

const struct gp_snapshot_meta *gp_snapshot_meta(const struct gp_snapshot *s)
{
	return &own(s)->manifest.meta;
}

const struct gp_snapshot_seal *gp_snapshot_seal(const struct gp_snapshot *s)
{
	return &own(s)->manifest.seal;
}

const struct gp_snapshot_form *gp_snapshot_form(const struct gp_snapshot *s)
{
	return &own(s)->manifest.form;
}

const char *gp_snapshot_created(const struct gp_snapshot *s)
{
	return own(s)->manifest.created;
}

const char *gp_snapshot_path(const struct gp_snapshot *s)
{
	return own(s)->path;
}

const float *gp_snapshot_data(const struct gp_snapshot *s, uint32_t file_idx, uint32_t tensor_idx)
{
	const struct link *l = own(s);
	GP_ASSERT(file_idx < l->manifest.files_count);
	GP_ASSERT(tensor_idx < l->manifest.meta.tensors_count);
	const uint8_t *data = s->data[file_idx].base;
	if (!data) {
		GP_ASSERT(l->manifest.form.depth == 0 && !l->manifest.form.zstd);
		data = (const uint8_t *)l->data_maps[file_idx].base + l->data_start[file_idx];
	}
	return (const float *)(const void *)data + grid_word(&l->grid, file_idx, tensor_idx);
}

const uint64_t *gp_snapshot_ids(const struct gp_snapshot *s, uint32_t table)
{
	const struct gp_snapshot_meta *m = gp_snapshot_meta(s);
	GP_ASSERT(m->embed);
	return (const uint64_t *)(const void *)gp_snapshot_data(s, gp_snapshot_ids_file(m), table);
}

const uint32_t *gp_snapshot_steps(const struct gp_snapshot *s, uint32_t table)
{
	const struct gp_snapshot_meta *m = gp_snapshot_meta(s);
	GP_ASSERT(m->embed);
	return (const uint32_t *)(const void *)gp_snapshot_data(
		s, gp_snapshot_steps_file(m), table);
}

int gp_snapshot_find(const struct gp_snapshot *s, const char *tensor)
{
	const json_t *position = json_object_get(own(s)->manifest.names, tensor);
	return position ? (int)json_integer_value(position) : -ENOENT;
}

uint32_t gp_snapshot_files_count(const struct gp_snapshot *s)
{
	const struct manifest *m = &own(s)->manifest;
	return m->files_count + (m->index.name[0] ? 1 : 0) + 1;
}

// Data files, then the index if there is one, then the manifest.
const struct gp_snapshot_file *gp_snapshot_file(const struct gp_snapshot *s, uint32_t idx)
{
	const struct link *l = own(s);
	GP_ASSERT(idx < gp_snapshot_files_count(s));
	if (idx < l->manifest.files_count)
		return &l->manifest.files[idx];
	return idx + 1 < gp_snapshot_files_count(s) ? &l->manifest.index : &l->manifest_file;
}

const void *gp_snapshot_bytes(const struct gp_snapshot *s, uint32_t idx)
{
	const struct link *l = own(s);
	GP_ASSERT(idx < gp_snapshot_files_count(s));
	if (idx < l->manifest.files_count)
		return l->data_maps[idx].base;
	return idx + 1 < gp_snapshot_files_count(s) ? l->index_map.base : l->manifest_map.base;
}
