// SPDX-License-Identifier: BSD-3-Clause
//
// Inside lib/snapshot: error texts, checks of what a snapshot may be of, and the two texts of the
// format (safetensors header, manifest) as functions over memory, which the fuzzers drive.
#ifndef SNAPSHOT_PRIV_H
#define SNAPSHOT_PRIV_H

#include <gp_base.h>
#include <gp_snapshot.h>
#include <gp_snapshot_dir.h>

#include <jansson.h>
#include <limits.h>
#include <xxhash.h>

#include "grid_priv.h"

#define SNAPSHOT_MANIFEST_MAX	 (UINT64_C(96) << 20)
#define SNAPSHOT_HEADER_MAX	 UINT64_C(100000000) // the safetensors format's own limit
#define SNAPSHOT_DATA_ALIGN	 64
#define SNAPSHOT_CREATED_SIZE	 21 // 2026-01-31T12:00:00Z
#define SNAPSHOT_STAGE_PREFIX	 ".tmp-"
#define SNAPSHOT_PARAMS		 "params"
#define SNAPSHOT_STATE_PREFIX	 "state-"
#define SNAPSHOT_SAFETENSORS_END ".safetensors"
#define SNAPSHOT_CHANGED_END	 ".changed.safetensors"
#define SNAPSHOT_ZSTD_END	 ".zst"
#define SNAPSHOT_BLOCKS_FILE	 "blocks.safetensors"
#define SNAPSHOT_IDS		 "ids"
#define SNAPSHOT_STEPS		 "steps"
#define SNAPSHOT_FILES_OF_TABLES 2 // those two

// Fills `err` and returns `code` (-errno).
int snapshot_fail(struct gp_snapshot_error *err, int code, const char *fmt, ...) GP_PRINTF(3, 4);
// It could not be read: that says nothing of the snapshot, which may be as good as any.
bool snapshot_is_system(int rc);
// As above for a failed system call: "<path>: <what>: <reason>; <what to do>". `name` may be NULL.
int snapshot_fail_sys(struct gp_snapshot_error *err, int errno_code, const char *dir,
	const char *name, const char *what);
// False, with `err` filled, when it does not fit into PATH_MAX.
int snapshot_path_join(
	char *out, const char *dir, const char *name, struct gp_snapshot_error *err) GP_MUST_CHECK;

// Names, counts, dims and products; fills *elements_total. Used for what a caller gives and for
// what a manifest says. Names of tensors are checked for being unique elsewhere.
int snapshot_meta_check(const struct gp_snapshot_meta *meta, uint64_t *elements_total,
	struct gp_snapshot_error *err) GP_MUST_CHECK;
bool snapshot_word_valid(const char *word);
// Name of data file idx of these.
void snapshot_file_name(const struct gp_snapshot_meta *meta, const struct gp_snapshot_form *form,
	uint32_t idx, char *out, size_t size);
// Position of each tensor by name; NULL with err->code -EINVAL (a name twice) or -ENOMEM.
json_t *snapshot_index_create(const struct gp_snapshot_meta *meta, struct gp_snapshot_error *err);

// `text` as a header: length before it, spaces behind it. *out is malloc'ed.
int safetensors_wrap(
	const char *text, char **out, size_t *out_len, struct gp_snapshot_error *err) GP_MUST_CHECK;
// The first bytes of a file up to its data: length, JSON, spaces up to a multiple of 64.
// *out is malloc'ed.
int safetensors_header(const struct gp_snapshot_meta *meta, uint32_t file, char **out,
	size_t *out_len, struct gp_snapshot_error *err) GP_MUST_CHECK;
// Likewise of an incremental file: one tensor "changed" of so many words.
int safetensors_changed_header(const struct gp_snapshot_meta *meta, uint32_t file, uint64_t words,
	char **out, size_t *out_len, struct gp_snapshot_error *err) GP_MUST_CHECK;
// Entry of a tensor, or NULL: out of memory.
json_t *safetensors_entry(
	const char *dtype, const uint64_t *dims, uint32_t dims_count, uint64_t begin, uint64_t end);
// A file as it is checked: `name` is for the text, `bytes` the first `len` of its `size`.
struct safetensors_file {
	const char *name;
	uint32_t idx; // which of the snapshot's
	const void *bytes;
	uint64_t len;
	uint64_t size;
};
// Whether the file holds exactly these tensors one after the other without holes. *data_start is
// where the data begins.
int safetensors_check(const struct gp_snapshot_meta *meta, const struct safetensors_file *f,
	uint64_t *data_start, struct gp_snapshot_error *err) GP_MUST_CHECK;

// ---- manifest

// What a manifest says. Strings belong to `root`.
struct manifest {
	struct gp_snapshot_meta meta;
	struct gp_snapshot_form form;
	struct gp_snapshot_seal seal;
	uint32_t files_count;
	struct gp_snapshot_file files[GP_SNAPSHOT_FILES_MAX];
	struct gp_snapshot_file index; // name "" in format 1
	char created[SNAPSHOT_CREATED_SIZE];
	uint64_t elements_total;
	char states_text[GP_SNAPSHOT_STATES_MAX][GP_SNAPSHOT_TEXT_SIZE];
	const char *states[GP_SNAPSHOT_STATES_MAX];
	struct gp_snapshot_tensor *tensors;
	struct gp_snapshot_rank *ranks;
	json_t *root;
	json_t *names;	    // tensor name -> position
	json_t *embed_json; // NULL: no tables
	struct gp_snapshot_tables embed;
	struct gp_snapshot_table *tables;
};

json_t *snapshot_hex_json(uint64_t value);
// Formats without a history.
#define SNAPSHOT_FORMAT_TENSORS 2
#define SNAPSHOT_FORMAT_TABLES	3
bool snapshot_hex_parse(const char *hex, uint64_t *out) GP_MUST_CHECK;
// tables.c: what a manifest says of tables, and back.
json_t *snapshot_tables_json(const struct gp_snapshot_meta *meta);
int snapshot_tables_parse(struct manifest *m, struct gp_snapshot_error *err) GP_MUST_CHECK;

// What is known only at the end.
struct manifest_tail {
	const struct gp_snapshot_seal *seal;
	const struct gp_snapshot_file *files;
	uint32_t files_count;
	const struct gp_snapshot_file *index;
	const char *created;
};

// The part of a manifest that is known at the start; NULL when out of memory.
json_t *manifest_begin(const struct gp_snapshot_meta *meta, const struct gp_snapshot_form *form);
// Adds the rest and makes the text (malloc'ed). Does not take the reference of `root`.
int manifest_finish(json_t *root, const struct manifest_tail *tail, char **out, size_t *out_len,
	struct gp_snapshot_error *err) GP_MUST_CHECK;
// xxh3 of the canonical text (compact, sorted keys) of `root`. -ENOMEM.
int manifest_checksum(const json_t *root, uint64_t *out) GP_MUST_CHECK;
// All or nothing: on an error there is nothing to free.
int manifest_parse(const char *text, size_t len, struct manifest *m,
	struct gp_snapshot_error *err) GP_MUST_CHECK;
void manifest_fini(struct manifest *m);

// ---- one directory, proved as far as it goes by itself

struct mapping {
	void *base;
	uint64_t size;
};

enum link_depth { LINK_MANIFEST, LINK_INDEX, LINK_DATA };

struct link {
	char path[PATH_MAX];
	int dir_fd;
	struct manifest manifest;
	struct grid grid;
	struct index index; // sums NULL in format 1
	struct gp_snapshot_file manifest_file;
	uint64_t data_start[GP_SNAPSHOT_FILES_MAX];
	struct mapping data_maps[GP_SNAPSHOT_FILES_MAX]; // LINK_DATA
	struct mapping index_map, manifest_map;
};

// NULL with `err` filled.
struct link *snapshot_link_open(
	const char *path, enum link_depth depth, struct gp_snapshot_error *err);
void snapshot_link_close(struct link *l); // takes NULL
// Text for a block that is wrong: "block 12 (tensor fc1.weight, elements 65536..131071)".
void snapshot_block_name(const struct link *l, uint32_t block, char *out, size_t size);
int snapshot_map(int fd, uint64_t size, struct mapping *map) GP_MUST_CHECK; // 0 or errno
void snapshot_unmap(struct mapping *map);

// Same job, tensors, optimizer arrays and blocks.
bool snapshot_tensors_same(const struct gp_snapshot_meta *a, const struct gp_snapshot_meta *b);

// Bytes of a file in order, hashed as they come.
#define STREAM_BUFFER_SIZE (256u << 10)

struct stream {
	int fd;
	uint64_t at;
	const char *dir, *name; // for texts
	XXH3_state_t *hash;
	uint8_t *buffer;
	size_t buffer_size;
	size_t used, left; // in the buffer
};

// snapshot_stream_end follows in any case.
int snapshot_stream_begin(struct stream *s, int fd, uint64_t size, const char *dir,
	const char *name, struct gp_snapshot_error *err) GP_MUST_CHECK;
// The next bytes, at most *len and at least one; *len becomes how many. Valid until the next call.
int snapshot_stream_next(struct stream *s, uint64_t *len, const void **bytes,
	struct gp_snapshot_error *err) GP_MUST_CHECK;
int snapshot_stream_read(
	struct stream *s, void *out, uint64_t len, struct gp_snapshot_error *err) GP_MUST_CHECK;
uint64_t snapshot_stream_xxh3(const struct stream *s);
void snapshot_stream_end(struct stream *s);

// Data file idx of a directory, read once from its first byte to its last.
struct proof {
	const struct link *link;
	uint32_t idx;
	int fd;
	uint64_t xxh3;	     // of the file
	uint64_t data_start; // where the first block is
	XXH3_state_t *block_hash;
	void *frame, *plain;
	size_t frame_size;
};

// Proves all but the xxh3 of the file, which it leaves in `p`.
int proof_run(struct proof *p, struct gp_snapshot_error *err) GP_MUST_CHECK;

// ---- frames of zstd

// Bytes that a frame of `size` bytes can need.
size_t zstd_frame_bound(size_t size);
struct zstd_maker;
struct zstd_maker *zstd_maker_create(uint32_t level); // NULL: out of memory
void zstd_maker_destroy(struct zstd_maker *m);
// Length of the frame, or 0: out of memory.
size_t zstd_frame_make(
	struct zstd_maker *m, void *out, size_t out_size, const void *data, size_t size);
// Bytes that a frame says it holds; 0 when it is none.
uint64_t zstd_frame_content(const void *frame, size_t frame_len);
// Whether `frame` holds exactly `size` bytes; they are in `out`.
bool zstd_frame_open(void *out, size_t size, const void *frame, size_t frame_len) GP_MUST_CHECK;

// ---- what a writer takes over

struct gp_snapshot_delta {
	char base_name[GP_SNAPSHOT_NAME_SIZE];
	struct link *base; // LINK_INDEX
	uint8_t *changed;  // a byte per block
	uint32_t changed_count;
	uint64_t changed_words; // of parameters
	struct summer summers[GP_SNAPSHOT_FILES_MAX];
};

// Writes all of it; 0 or errno.
int snapshot_fd_write(int fd, const void *data, size_t len) GP_MUST_CHECK;
// fsync and close, also after an error; 0 or errno.
int snapshot_fd_settle(int *fd) GP_MUST_CHECK;

int snapshot_dir_sync(const char *dir, struct gp_snapshot_error *err) GP_MUST_CHECK;
// Removes a directory and the files in it (no directories below). 0 if it is not there.
int snapshot_remove(const char *path, struct gp_snapshot_error *err) GP_MUST_CHECK;

#endif
