// SPDX-License-Identifier: BSD-3-Clause
#include "writer_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <time.h>

struct gp_snapshot_writer {
	struct writer_dir to;
	json_t *manifest;
	struct gp_snapshot_form form;
	struct grid grid;
	struct index index;
	const uint8_t *changed;		       // a byte per block; NULL: all are written
	const struct gp_snapshot_delta *delta; // NULL: a full one
	uint32_t files_count;
	struct file_out files[GP_SNAPSHOT_FILES_MAX];
	struct gp_snapshot_error failed; // code 0 while all is well
};

static int writer_failed(struct gp_snapshot_writer *w, struct gp_snapshot_error *err)
{
	if (w->failed.code != 0)
		*err = w->failed;
	return w->failed.code;
}

static void writer_free(struct gp_snapshot_writer *w)
{
	for (uint32_t i = 0; i < w->files_count; i++) {
		file_out_fini(&w->files[i]);
		summer_fini(&w->files[i].summer);
	}
	grid_fini(&w->grid);
	blocks_index_fini(&w->index);
	zstd_maker_destroy(w->to.frames);
	free(w->to.frame);
	json_decref(w->manifest);
	free(w);
}

void gp_snapshot_abort(struct gp_snapshot_writer *w)
{
	if (!w)
		return;
	gp_snapshot_stage_drop(w->to.stage);
	writer_free(w);
}

// ---- begin

// Words of a file that are written.
static uint64_t words_written(const struct gp_snapshot_writer *w, uint32_t file)
{
	uint64_t words = 0;
	if (!w->delta)
		return grid_words(&w->grid, file);
	for (uint32_t i = 0; i < w->grid.blocks_count; i++)
		if (w->delta->changed[i])
			words += grid_block(&w->grid, file, i).words;
	return words;
}

static int frames_prepare(struct gp_snapshot_writer *w, uint32_t level, size_t header_len,
	struct gp_snapshot_error *err)
{
	size_t block = (size_t)w->grid.block_words * sizeof(float);
	w->to.frame_size = zstd_frame_bound(GP_MAX(block, header_len));
	w->to.frames = zstd_maker_create(level);
	w->to.frame = malloc(w->to.frame_size);
	if (!w->to.frames || !w->to.frame)
		return snapshot_fail(err, -ENOMEM, "out of memory for zstd");
	return 0;
}

// What a full disk would lack is known before the first byte.
static void room_learn(struct gp_snapshot_writer *w, size_t header_len)
{
	struct statvfs fs;
	w->to.size = blocks_index_size(&w->index) + 4096 + 2 * header_len;
	for (uint32_t i = 0; i < w->files_count; i++)
		w->to.size += header_len + words_written(w, i) * sizeof(float);
	if (statvfs(w->to.dir, &fs) == 0)
		w->to.free = (uint64_t)fs.f_bavail * fs.f_frsize;
}

static int file_begin(struct gp_snapshot_writer *w, uint32_t idx, uint64_t size, const char *header,
	size_t header_len, struct gp_snapshot_error *err)
{
	struct file_out *f = &w->files[idx];
	if (summer_init(&f->summer, &w->grid, idx) != 0)
		return snapshot_fail(err, -ENOMEM, "out of memory for checksums");
	f->elements_left = grid_words(&w->grid, idx);
	f->sums = &w->index.sums[(size_t)idx * w->index.blocks_count];
	if (w->form.zstd)
		f->frame_sizes = &w->index.sizes[idx * (1 + (size_t)w->index.present_count)];
	int rc = file_out_init(f, &w->to,
		w->form.zstd ? GP_MAX((size_t)w->grid.block_words * sizeof(float), 1u)
			     : WRITE_BUFFER_SIZE,
		err);
	if (rc == 0)
		rc = file_out_create(f, w->form.zstd ? 0 : size, err);
	return rc != 0	      ? rc
	       : w->form.zstd ? file_out_frame(f, header, header_len, err)
			      : file_out_put(f, header, header_len, err);
}

static int header_make(const struct gp_snapshot_writer *w, const struct gp_snapshot_meta *meta,
	uint32_t idx, char **header, size_t *len, struct gp_snapshot_error *err)
{
	if (!w->delta)
		return safetensors_header(meta, idx, header, len, err);
	return safetensors_changed_header(meta, idx, words_written(w, idx), header, len, err);
}

// Files of tensors all have the same header.
static int files_begin(struct gp_snapshot_writer *w, const struct gp_snapshot_meta *meta,
	const struct gp_snapshot_opts *opts, struct gp_snapshot_error *err)
{
	char *header;
	// Other files of tables may have a longer one than the first.
	size_t header_len, more = meta->embed ? 64 * (size_t)meta->tensors_count : 0;
	int rc = header_make(w, meta, 0, &header, &header_len, err);
	if (rc != 0)
		return rc;
	if (w->form.zstd)
		rc = frames_prepare(w, opts->level, header_len + more, err);
	w->files_count = snapshot_files_count(meta);
	room_learn(w, header_len);
	for (uint32_t i = 0; i < w->files_count; i++) {
		w->files[i].fd = -1;
		snapshot_file_name(
			meta, &w->form, i, w->files[i].info.name, sizeof(w->files[i].info.name));
	}
	for (uint32_t i = 0; rc == 0 && i < w->files_count; i++) {
		if (i > 0 && meta->embed) {
			free(header);
			header = NULL;
			rc = header_make(w, meta, i, &header, &header_len, err);
		}
		uint64_t size = header_len + words_written(w, i) * sizeof(float);
		if (rc == 0)
			rc = file_begin(w, i, size, header, header_len, err);
	}
	free(header);
	return rc;
}

static int index_begin(struct gp_snapshot_writer *w, const struct gp_snapshot_meta *meta,
	const struct gp_snapshot_delta *delta, struct gp_snapshot_error *err)
{
	int rc = blocks_index_init(&w->index, snapshot_files_count(meta), w->grid.blocks_count,
		w->form.present_count, delta != NULL, w->form.zstd, err);
	if (rc != 0 || !delta)
		return rc;
	const struct index *base = &delta->base->index;
	memcpy(w->index.sums, base->sums,
		sizeof(*base->sums) * base->files_count * base->blocks_count);
	w->changed = delta->changed;
	uint32_t n = 0;
	for (uint32_t i = 0; i < w->grid.blocks_count; i++)
		if (delta->changed[i])
			w->index.present[n++] = i;
	GP_ASSERT(n == w->form.present_count);
	return 0;
}

static int form_choose(struct gp_snapshot_writer *w, const struct gp_snapshot_meta *meta,
	const struct gp_snapshot_opts *opts, struct gp_snapshot_error *err)
{
	const struct gp_snapshot_delta *d = opts->delta;
	if (opts->level > GP_SNAPSHOT_LEVEL_MAX)
		return snapshot_fail(err, -EINVAL, "zstd level %u: at most %d", opts->level,
			GP_SNAPSHOT_LEVEL_MAX);
	w->delta = d;
	int rc = grid_init(&w->grid, meta, err);
	if (rc != 0)
		return rc;
	w->form = (struct gp_snapshot_form){.zstd = opts->level > 0,
		.block_elems = meta->block_elems,
		.blocks_count = w->grid.blocks_count,
		.present_count = d ? d->changed_count : w->grid.blocks_count};
	if (!d)
		return 0;
	for (uint32_t i = 0; i < snapshot_files_count(meta); i++)
		if (d->summers[i].block < w->grid.blocks_count)
			return snapshot_fail(
				err, -EINVAL, "%s: not compared to its end", w->to.name);
	if (!snapshot_tensors_same(meta, &d->base->manifest.meta) ||
		strncmp(d->base_name, w->to.name, sizeof(d->base_name)) == 0)
		return snapshot_fail(
			err, -EINVAL, "%s cannot be built on %s", w->to.name, d->base_name);
	w->form.depth = d->base->manifest.form.depth + 1;
	w->form.base_checksum = d->base->manifest.form.checksum;
	strcpy(w->form.base, d->base_name);
	return 0;
}

static int meta_accept(const struct gp_snapshot_meta *meta, struct gp_snapshot_error *err)
{
	uint64_t elements;
	int rc = snapshot_meta_check(meta, &elements, err);
	if (rc != 0)
		return rc;
	json_t *names = snapshot_index_create(meta, err);
	json_decref(names);
	return names ? 0 : err->code;
}

static int writer_begin(struct gp_snapshot_writer *w, const struct gp_snapshot_meta *meta,
	const struct gp_snapshot_opts *opts, struct gp_snapshot_error *err)
{
	int rc = form_choose(w, meta, opts, err);
	if (rc == 0)
		rc = index_begin(w, meta, opts->delta, err);
	if (rc != 0)
		return rc;
	w->manifest = manifest_begin(meta, &w->form);
	if (!w->manifest)
		return snapshot_fail(err, -ENOMEM, "out of memory for the manifest");
	return files_begin(w, meta, opts, err);
}

int gp_snapshot_begin(const struct gp_snapshot_meta *meta, const struct gp_snapshot_opts *opts,
	const char *dir, struct gp_snapshot_writer **out, struct gp_snapshot_error *err)
{
	static const struct gp_snapshot_opts plain = {0};
	struct gp_snapshot_meta m = *meta;
	m.block_elems = snapshot_block_default(meta);
	int rc = meta_accept(&m, err);
	if (rc != 0)
		return rc;
	struct gp_snapshot_writer *w = calloc(1, sizeof(*w));
	if (!w)
		return snapshot_fail(err, -ENOMEM, "out of memory for a snapshot");
	rc = gp_snapshot_stage_create(dir, &w->to.stage, err);
	if (rc != 0) {
		writer_free(w);
		return rc;
	}
	strcpy(w->to.dir, dir);
	snprintf(w->to.name, sizeof(w->to.name), "%.*s-%010u", GP_SNAPSHOT_TEXT_SIZE - 1, m.job,
		m.step);
	rc = writer_begin(w, &m, opts ? opts : &plain, err);
	if (rc != 0) {
		gp_snapshot_abort(w);
		return rc;
	}
	*out = w;
	return 0;
}

// ---- elements

static int block_end(struct gp_snapshot_writer *w, struct file_out *f, uint32_t block, uint64_t sum,
	struct gp_snapshot_error *err)
{
	f->sums[block] = sum;
	return w->form.zstd ? file_out_frame(f, NULL, 0, err) : 0;
}

int gp_snapshot_append(struct gp_snapshot_writer *w, uint32_t file_idx, const void *data,
	uint64_t count, struct gp_snapshot_error *err)
{
	GP_ASSERT(file_idx < w->files_count);
	struct file_out *f = &w->files[file_idx];
	int rc = writer_failed(w, err);
	if (rc != 0)
		return rc;
	if (count > f->elements_left)
		rc = snapshot_fail(err, -EINVAL, "%s: %llu elements more than its tensors have",
			f->info.name, (unsigned long long)(count - f->elements_left));
	const uint32_t *words = data;
	uint64_t n, sum;
	for (uint64_t at = 0; rc == 0 && at < count; at += n) {
		uint32_t block = f->summer.block;
		bool written = !w->changed || w->changed[block];
		n = count - at;
		bool whole = summer_feed(&f->summer, written ? words + at : NULL, &n, &sum);
		if (written)
			rc = file_out_put(f, words + at, n * sizeof(*words), err);
		if (rc == 0 && written && whole)
			rc = block_end(w, f, block, sum, err);
		f->elements_left -= n;
	}
	if (rc != 0)
		w->failed = *err;
	return rc;
}

// ---- finish

static int seal_check(struct gp_snapshot_writer *w, const struct gp_snapshot_seal *seal,
	struct gp_snapshot_error *err)
{
	int rc = writer_failed(w, err);
	if (rc != 0)
		return rc;
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
	int rc = 0;
	for (uint32_t i = 0; rc == 0 && i < w->files_count; i++)
		rc = file_out_settle(&w->files[i], err);
	return rc;
}

static int index_write(
	struct gp_snapshot_writer *w, struct gp_snapshot_file *info, struct gp_snapshot_error *err)
{
	char *header;
	size_t len;
	struct file_out f = {.fd = -1};
	strcpy(f.info.name, SNAPSHOT_BLOCKS_FILE);
	int rc = blocks_index_header(&w->index, &header, &len, err);
	if (rc != 0)
		return rc;
	rc = file_out_init(&f, &w->to, WRITE_BUFFER_SIZE, err);
	if (rc == 0)
		rc = file_out_create(&f, len + blocks_index_size(&w->index), err);
	if (rc == 0)
		rc = file_out_put(&f, header, len, err);
	if (rc == 0)
		rc = file_out_put(&f, w->index.memory, blocks_index_size(&w->index), err);
	if (rc == 0)
		rc = file_out_settle(&f, err);
	*info = f.info;
	file_out_fini(&f);
	free(header);
	return rc;
}

static int manifest_write(
	struct gp_snapshot_writer *w, const char *text, size_t len, struct gp_snapshot_error *err)
{
	struct file_out f = {.fd = -1};
	strcpy(f.info.name, GP_SNAPSHOT_MANIFEST);
	int rc = file_out_init(&f, &w->to, WRITE_BUFFER_SIZE, err);
	if (rc == 0)
		rc = file_out_create(&f, 0, err);
	if (rc == 0)
		rc = file_out_put(&f, text, len, err);
	if (rc == 0)
		rc = file_out_settle(&f, err);
	file_out_fini(&f);
	return rc;
}

static int manifest_add(struct gp_snapshot_writer *w, const struct gp_snapshot_seal *seal,
	const struct gp_snapshot_file *index, struct gp_snapshot_error *err)
{
	struct gp_snapshot_file files[GP_SNAPSHOT_FILES_MAX];
	char created[SNAPSHOT_CREATED_SIZE];
	time_t now = time(NULL);
	struct tm tm;
	for (uint32_t i = 0; i < w->files_count; i++)
		files[i] = w->files[i].info;
	if (strftime(created, sizeof(created), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm)) == 0)
		return snapshot_fail(err, -EINVAL, "the clock of this machine is unusable");
	const struct manifest_tail tail = {.seal = seal,
		.files = files,
		.files_count = w->files_count,
		.index = index,
		.created = created};
	char *text;
	size_t len;
	int rc = manifest_finish(w->manifest, &tail, &text, &len, err);
	if (rc != 0)
		return rc;
	rc = manifest_write(w, text, len, err);
	free(text);
	return rc;
}

int gp_snapshot_finish(struct gp_snapshot_writer *w, const struct gp_snapshot_seal *seal,
	char *path_out, struct gp_snapshot_error *err)
{
	struct gp_snapshot_file index;
	int rc = seal_check(w, seal, err);
	if (rc == 0)
		rc = files_settle(w, err);
	if (rc == 0)
		rc = index_write(w, &index, err);
	if (rc == 0)
		rc = manifest_add(w, seal, &index, err);
	if (rc == 0)
		rc = gp_snapshot_stage_publish(w->to.stage, w->to.name, path_out, err);
	else
		gp_snapshot_stage_drop(w->to.stage);
	writer_free(w);
	return rc;
}
