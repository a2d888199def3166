// SPDX-License-Identifier: BSD-3-Clause
//
// What lies where in the files of a snapshot: their tensors, and the blocks that these are cut
// into.
#ifndef GRID_PRIV_H
#define GRID_PRIV_H

#include <gp_snapshot.h>

#include <xxhash.h>

// ---- what the files hold (tables.c). In words of 4 bytes: an item is an element of a tensor, or a
// row of a table; each has `width` words in a file.

enum file_role { FILE_PARAMS, FILE_STATE, FILE_IDS, FILE_STEPS };

uint32_t snapshot_files_count(const struct gp_snapshot_meta *meta);
enum file_role snapshot_file_role(const struct gp_snapshot_meta *meta, uint32_t file);
uint32_t snapshot_width(const struct gp_snapshot_meta *meta, uint32_t file, uint32_t tensor);
uint64_t snapshot_items(const struct gp_snapshot_meta *meta, uint32_t tensor);
// Type of a file's tensors, and its words.
const char *snapshot_dtype(const struct gp_snapshot_meta *meta, uint32_t file, uint32_t *words);
// Shape of a tensor in a file: how many dimensions; `dims` has room for GP_SNAPSHOT_DIMS_MAX.
uint32_t snapshot_dims(
	const struct gp_snapshot_meta *meta, uint32_t file, uint32_t tensor, uint64_t *dims);
// meta->block_elems, or what it is when that is 0.
uint32_t snapshot_block_default(const struct gp_snapshot_meta *meta);
int snapshot_tables_check(
	const struct gp_snapshot_meta *meta, struct gp_snapshot_error *err) GP_MUST_CHECK;

// ---- blocks: each tensor is cut into pieces of block_elems items, the last one short

struct grid {
	uint32_t block_elems;
	uint32_t block_words; // of the largest block
	uint32_t tensors_count;
	uint32_t blocks_count;
	uint32_t files_count;
	uint32_t *first_block; // of each tensor; one more: blocks_count
	uint64_t *items;       // of each tensor
	uint32_t *width;       // [file][tensor]; NULL: 1
	uint64_t *first_word;  // [file or 0][tensor + 1]: in the data of a file; one set where all
			       // files have the same
};

struct grid_block {
	uint32_t tensor;
	uint32_t words;
	uint64_t word;	     // first one, in the data of a file
	uint64_t first, end; // items of the tensor
};

int grid_init(struct grid *g, const struct gp_snapshot_meta *meta,
	struct gp_snapshot_error *err) GP_MUST_CHECK;
void grid_fini(struct grid *g);
struct grid_block grid_block(const struct grid *g, uint32_t file, uint32_t block);
// Where a tensor begins in a file; one more: how many words there are.
uint64_t grid_word(const struct grid *g, uint32_t file, uint32_t tensor);
static inline uint64_t grid_words(const struct grid *g, uint32_t file)
{
	return grid_word(g, file, g->tensors_count);
}

// Elements that pass in order, cut into blocks and summed.
struct summer {
	const struct grid *grid;
	uint32_t file;
	XXH3_state_t *hash;
	uint32_t block;
	uint32_t left; // of it
};

int summer_init(
	struct summer *s, const struct grid *grid, uint32_t file) GP_MUST_CHECK; // 0 or -ENOMEM
void summer_fini(struct summer *s);
// Moves on by at most *count elements, not past the end of a block; *count becomes how many. `data`
// NULL: they are not summed. True when the block is complete: *sum is of it.
bool summer_feed(struct summer *s, const uint32_t *data, uint64_t *count, uint64_t *sum);

// ---- blocks.safetensors: xxh3 of every block of every file (U64 [files, blocks], also of those
// that an incremental snapshot leaves to its base), the blocks that are there (U32 [present], only
// incremental), sizes of the frames (U32 [files, 1 + present], only zstd)

struct index {
	uint32_t files_count, blocks_count, present_count;
	bool incremental, zstd;
	uint64_t *sums;
	uint32_t *present; // NULL: all
	uint32_t *sizes;   // NULL: not compressed
	void *memory;	   // of the three, when it was made by blocks_index_init
};

int blocks_index_init(struct index *x, uint32_t files_count, uint32_t blocks_count,
	uint32_t present_count, bool incremental, bool zstd,
	struct gp_snapshot_error *err) GP_MUST_CHECK;
void blocks_index_fini(struct index *x);
uint64_t blocks_index_size(const struct index *x); // of its data
int blocks_index_header(const struct index *x, char **out, size_t *out_len,
	struct gp_snapshot_error *err) GP_MUST_CHECK;
// Points the three into `bytes`, a whole mapped file.
int blocks_index_attach(struct index *x, const void *bytes, uint64_t size,
	struct gp_snapshot_error *err) GP_MUST_CHECK;
static inline uint32_t blocks_index_block(const struct index *x, uint32_t present_idx)
{
	return x->present ? x->present[present_idx] : present_idx;
}

#endif
