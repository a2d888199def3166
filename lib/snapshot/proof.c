// SPDX-License-Identifier: BSD-3-Clause
//
// Reading a data file once, from its first byte to its last, against everything that is known about
// it: xxh3 of the file, header, frames, xxh3 of each block. Memory: a buffer, a frame and a block.
#include "snapshot_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

// ---- bytes in order, hashed as they come

int snapshot_stream_begin(struct stream *s, int fd, uint64_t size, const char *dir,
	const char *name, struct gp_snapshot_error *err)
{
	*s = (struct stream){.fd = fd,
		.dir = dir,
		.name = name,
		.hash = XXH3_createState(),
		.buffer_size = GP_MAX(GP_MIN(size, STREAM_BUFFER_SIZE), 1u)};
	s->buffer = malloc(s->buffer_size);
	if (!s->hash || !s->buffer)
		return snapshot_fail(err, -ENOMEM, "out of memory to read %s", name);
	XXH3_64bits_reset(s->hash);
	return 0;
}

static int stream_fill(struct stream *s, struct gp_snapshot_error *err)
{
	ssize_t n;
	do
		n = pread(s->fd, s->buffer, s->buffer_size, (off_t)s->at);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return snapshot_fail_sys(err, errno, s->dir, s->name, "cannot be read");
	if (n == 0)
		return snapshot_fail(err, -EBADMSG, "%s/%s: ends too early", s->dir, s->name);
	XXH3_64bits_update(s->hash, s->buffer, (size_t)n);
	s->at += (uint64_t)n;
	s->used = 0;
	s->left = (size_t)n;
	return 0;
}

int snapshot_stream_next(
	struct stream *s, uint64_t *len, const void **bytes, struct gp_snapshot_error *err)
{
	int rc = s->left == 0 ? stream_fill(s, err) : 0;
	if (rc != 0)
		return rc;
	*len = GP_MIN(*len, s->left);
	*bytes = s->buffer + s->used;
	s->used += *len;
	s->left -= *len;
	return 0;
}

int snapshot_stream_read(struct stream *s, void *out, uint64_t len, struct gp_snapshot_error *err)
{
	uint64_t n;
	for (uint64_t at = 0; at < len; at += n) {
		const void *bytes;
		n = len - at;
		int rc = snapshot_stream_next(s, &n, &bytes, err);
		if (rc != 0)
			return rc;
		memcpy((uint8_t *)out + at, bytes, n);
	}
	return 0;
}

uint64_t snapshot_stream_xxh3(const struct stream *s)
{
	return XXH3_64bits_digest(s->hash);
}

void snapshot_stream_end(struct stream *s)
{
	XXH3_freeState(s->hash);
	free(s->buffer);
	s->hash = NULL;
	s->buffer = NULL;
}

// ---- headers

static int proof_bad(const struct proof *p, const char *what, struct gp_snapshot_error *err)
{
	return snapshot_fail(err, -EBADMSG, "%s/%s: %s", p->link->path,
		p->link->manifest.files[p->idx].name, what);
}

// Words of the blocks that the directory holds.
static uint64_t words_present(const struct proof *p)
{
	const struct link *l = p->link;
	uint64_t words = 0;
	if (!l->index.incremental)
		return grid_words(&l->grid, p->idx);
	for (uint32_t i = 0; i < l->index.present_count; i++)
		words += grid_block(&l->grid, p->idx, l->index.present[i]).words;
	return words;
}

static int header_check(struct proof *p, const void *header, uint64_t len, uint64_t words,
	struct gp_snapshot_error *err)
{
	const struct link *l = p->link;
	const struct safetensors_file f = {.name = l->manifest.files[p->idx].name,
		.idx = p->idx,
		.bytes = header,
		.len = len,
		.size = len + words * sizeof(float)};
	struct gp_snapshot_error why;
	uint64_t start;
	if (!l->index.incremental) {
		int rc = safetensors_check(&l->manifest.meta, &f, &start, &why);
		if (rc != 0)
			return snapshot_fail(err, rc, "%s/%s", l->path, why.text);
		return start == len
			       ? 0
			       : proof_bad(p, "its header is longer than its length says", err);
	}
	char *expected;
	size_t expected_len;
	int rc = safetensors_changed_header(
		&l->manifest.meta, p->idx, words, &expected, &expected_len, err);
	if (rc != 0)
		return rc;
	bool same = len == expected_len && memcmp(header, expected, len) == 0;
	free(expected);
	return same ? 0 : proof_bad(p, "its header is not what the manifest says", err);
}

// ---- blocks

static int block_wrong(const struct proof *p, uint32_t block, struct gp_snapshot_error *err)
{
	char name[GP_SNAPSHOT_TEXT_SIZE + 96];
	snapshot_block_name(p->link, block, name, sizeof(name));
	return snapshot_fail(err, -EBADMSG, "%s/%s: %s is damaged", p->link->path,
		p->link->manifest.files[p->idx].name, name);
}

static uint64_t sum_expected(const struct proof *p, uint32_t block)
{
	return p->link->index.sums[(size_t)p->idx * p->link->index.blocks_count + block];
}

// One block in pieces of the buffer, not compressed.
static int plain_block(struct proof *p, struct stream *s, uint32_t block, bool summed,
	struct gp_snapshot_error *err)
{
	XXH3_64bits_reset(p->block_hash);
	uint64_t left = (uint64_t)grid_block(&p->link->grid, p->idx, block).words * sizeof(float);
	while (left > 0) {
		uint64_t len = left;
		const void *bytes;
		int rc = snapshot_stream_next(s, &len, &bytes, err);
		if (rc != 0)
			return rc;
		if (summed)
			XXH3_64bits_update(p->block_hash, bytes, len);
		left -= len;
	}
	if (summed && XXH3_64bits_digest(p->block_hash) != sum_expected(p, block))
		return block_wrong(p, block, err);
	return 0;
}

static int plain_run(struct proof *p, struct stream *s, struct gp_snapshot_error *err)
{
	const struct link *l = p->link;
	uint64_t words = words_present(p), size = l->manifest.files[p->idx].size;
	if (size < words * sizeof(float) || size - words * sizeof(float) > SNAPSHOT_HEADER_MAX)
		return proof_bad(p, "its size does not agree with its tensors", err);
	p->data_start = size - words * sizeof(float);
	void *header = malloc(p->data_start + 1);
	if (!header)
		return snapshot_fail(err, -ENOMEM, "out of memory for the header of tensors");
	int rc = snapshot_stream_read(s, header, p->data_start, err);
	if (rc == 0)
		rc = header_check(p, header, p->data_start, words, err);
	free(header);
	uint32_t count = l->index.sums ? l->index.present_count : l->grid.blocks_count;
	for (uint32_t i = 0; rc == 0 && i < count; i++)
		rc = plain_block(
			p, s, blocks_index_block(&l->index, i), l->index.sums != NULL, err);
	return rc;
}

// ---- frames

static int frame_take(
	struct proof *p, struct stream *s, uint32_t len, struct gp_snapshot_error *err)
{
	if (len > p->frame_size) {
		void *grown = realloc(p->frame, len);
		if (!grown)
			return snapshot_fail(err, -ENOMEM, "out of memory for a frame");
		p->frame = grown;
		p->frame_size = len;
	}
	return snapshot_stream_read(s, p->frame, len, err);
}

static int frame_block(struct proof *p, struct stream *s, uint32_t block, uint32_t frame_len,
	struct gp_snapshot_error *err)
{
	size_t size = (size_t)grid_block(&p->link->grid, p->idx, block).words * sizeof(float);
	if (frame_len > zstd_frame_bound(size))
		return block_wrong(p, block, err);
	int rc = frame_take(p, s, frame_len, err);
	if (rc != 0)
		return rc;
	if (!zstd_frame_open(p->plain, size, p->frame, frame_len) ||
		XXH3_64bits(p->plain, size) != sum_expected(p, block))
		return block_wrong(p, block, err);
	return 0;
}

static int frame_header(
	struct proof *p, struct stream *s, uint32_t frame_len, struct gp_snapshot_error *err)
{
	if (frame_len > SNAPSHOT_HEADER_MAX)
		return proof_bad(p, "its header is too long", err);
	int rc = frame_take(p, s, frame_len, err);
	if (rc != 0)
		return rc;
	uint64_t size = zstd_frame_content(p->frame, frame_len);
	if (size < 8 || size > SNAPSHOT_HEADER_MAX)
		return proof_bad(p, "its header is damaged", err);
	void *header = malloc(size);
	if (!header)
		return snapshot_fail(err, -ENOMEM, "out of memory for the header of tensors");
	rc = zstd_frame_open(header, size, p->frame, frame_len)
		     ? header_check(p, header, size, words_present(p), err)
		     : proof_bad(p, "its header is damaged", err);
	free(header);
	return rc;
}

static int frames_run(struct proof *p, struct stream *s, struct gp_snapshot_error *err)
{
	const struct link *l = p->link;
	const uint32_t *sizes = &l->index.sizes[p->idx * (1 + (size_t)l->index.present_count)];
	uint64_t sum = 0;
	for (uint32_t i = 0; i <= l->index.present_count; i++)
		sum += sizes[i];
	if (sum != l->manifest.files[p->idx].size)
		return proof_bad(p, "its size is not that of its frames", err);
	p->data_start = sizes[0];
	p->plain = malloc((size_t)l->grid.block_words * sizeof(float) + 1);
	if (!p->plain)
		return snapshot_fail(err, -ENOMEM, "out of memory for a block");
	int rc = frame_header(p, s, sizes[0], err);
	for (uint32_t i = 0; rc == 0 && i < l->index.present_count; i++)
		rc = frame_block(p, s, blocks_index_block(&l->index, i), sizes[1 + i], err);
	return rc;
}

int proof_run(struct proof *p, struct gp_snapshot_error *err)
{
	struct stream s;
	const struct gp_snapshot_file *file = &p->link->manifest.files[p->idx];
	int rc = snapshot_stream_begin(&s, p->fd, file->size, p->link->path, file->name, err);
	p->block_hash = XXH3_createState();
	if (rc == 0 && !p->block_hash)
		rc = snapshot_fail(err, -ENOMEM, "out of memory to read a block");
	if (rc == 0)
		rc = p->link->index.zstd ? frames_run(p, &s, err) : plain_run(p, &s, err);
	if (rc == 0)
		p->xxh3 = snapshot_stream_xxh3(&s);
	snapshot_stream_end(&s);
	XXH3_freeState(p->block_hash);
	free(p->plain);
	free(p->frame);
	return rc;
}
