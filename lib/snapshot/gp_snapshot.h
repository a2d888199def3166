// SPDX-License-Identifier: BSD-3-Clause
//
// Snapshots of a job: writing one while the elements stream by, and reading one back only after
// every byte of it has been proved.
//
// A snapshot is a directory `<job>-<step, 10 digits>` with
//	params.safetensors        the parameters, f32, one entry a tensor, in registration order
//	state-<name>.safetensors  one file for each optimizer array (momentum, ...), same tensors
//	blocks.safetensors        xxh3 of each block of each of these files
//	manifest.json             what it is, the dedup state of the same decision, size and xxh3 of
//	                          each file, and an xxh3 of the manifest itself
// and, of tables of rows, what gp_snapshot_tables.h says. It is written under a temporary name
// (gp_snapshot_dir.h), every file and the directory are synced, and only then it gets its name: a
// directory with that name is complete, or the disk lied, which the checksums find. A snapshot
// never changes after that.
//
// An incremental snapshot holds only the blocks that differ from those of the one before it, its
// base, which lies beside it and is named with its checksum (params.changed.safetensors, ...). With
// zstd each file is one frame for the header and one a block (params.safetensors.zst, ...). The
// form is written down in docs/operations.md, "What is in a snapshot".
//
// Threads: a writer or an open snapshot belongs to one thread at a time; different ones are
// independent. Every call may block on the disk: never call them from a polled core.
//
// Memory: a writer takes 256 KiB a file, its headers and 8 bytes a block and file; an open snapshot
// maps files read-only and keeps the parsed manifest. What is compressed or incremental is put
// together in an unnamed file beside the snapshot (/var/tmp if that cannot be written), never in
// memory. Limits are below; more is refused by name.
//
// Errors: 0 or -errno, and `err` says which file, what is wrong and what to do. `err` may not be
// NULL.
#ifndef GP_SNAPSHOT_H
#define GP_SNAPSHOT_H

#include <gp_base.h>
#include <gp_snapshot_tables.h>

// With a history; 3 with tables and 2 without are read and written where it is not known; 1,
// without blocks.safetensors, is read.
#define GP_SNAPSHOT_FORMAT	    4
#define GP_SNAPSHOT_MANIFEST	    "manifest.json"
#define GP_SNAPSHOT_TENSORS_MAX	    131072
#define GP_SNAPSHOT_DIMS_MAX	    8
#define GP_SNAPSHOT_STATES_MAX	    7				 // optimizer arrays
#define GP_SNAPSHOT_FILES_MAX	    (1 + GP_SNAPSHOT_STATES_MAX) // of data
#define GP_SNAPSHOT_TEXT_SIZE	    64 // names and words, with the final 0
#define GP_SNAPSHOT_NAME_SIZE	    (GP_SNAPSHOT_TEXT_SIZE + 11) // of the directory
#define GP_SNAPSHOT_ELEMENTS_MAX    (UINT64_C(1) << 40)		 // of all tensors together
#define GP_SNAPSHOT_BLOCK_ELEMS	    65536 // of a tensor; the last one is short
#define GP_SNAPSHOT_BLOCK_ELEMS_MAX (1u << 20)
#define GP_SNAPSHOT_BLOCKS_MAX	    (1u << 26) // of all tensors together
#define GP_SNAPSHOT_CHAIN_MAX	    100	       // a full one and the incremental ones on it
#define GP_SNAPSHOT_LEVEL_MAX	    19	       // of zstd
#define GP_SNAPSHOT_ERROR_SIZE	    768

struct gp_snapshot_error {
	int code; // -errno
	char text[GP_SNAPSHOT_ERROR_SIZE];
};

struct gp_snapshot_tensor {
	const char *name; // unique, 1..63 bytes of UTF-8 without control characters
	uint32_t dims_count;
	uint64_t dims[GP_SNAPSHOT_DIMS_MAX];
	uint64_t elements; // product of dims, >= 1
};

// What a snapshot is of. A writer copies what it needs at gp_snapshot_begin; that of an open
// snapshot lives until gp_snapshot_close.
struct gp_snapshot_meta {
	const char *product; // version of the writer, e.g. "0.1.0"
	const char *job;     // [A-Za-z0-9._-], not first a '.' or '-'
	uint32_t job_id;
	const char *kind;      // "reduce", "train", or "embed": then `embed` is not NULL
	const char *optimizer; // "momentum", ...; "none" for reduce
	uint64_t generation;
	uint32_t step; // the last step whose decision is in it
	uint64_t decision;
	uint64_t epoch;
	uint64_t history;	// identity of the line of commits that `step` is of; 0: not known
	uint32_t tensors_count; // 1..GP_SNAPSHOT_TENSORS_MAX
	const struct gp_snapshot_tensor *tensors;
	uint32_t states_count;	   // 0..GP_SNAPSHOT_STATES_MAX
	const char *const *states; // [a-z0-9_], e.g. "momentum"
	uint32_t block_elems;	   // 0: GP_SNAPSHOT_BLOCK_ELEMS; of tables: rows, 0: about as much
	const struct gp_snapshot_tables *embed;
};

// Of tables: the files of ids and of steps.
static inline uint32_t gp_snapshot_ids_file(const struct gp_snapshot_meta *m)
{
	return 1 + m->states_count;
}
static inline uint32_t gp_snapshot_steps_file(const struct gp_snapshot_meta *m)
{
	return 2 + m->states_count;
}

struct gp_snapshot_rank {
	uint32_t rank;
	uint32_t next_step; // contributions of the rank below it are in the snapshot
};

// What is known only when the last element has passed.
struct gp_snapshot_seal {
	uint64_t digest; // of the job at this decision
	uint32_t ranks_count;
	const struct gp_snapshot_rank *ranks; // increasing rank
};

struct gp_snapshot_file {
	char name[GP_SNAPSHOT_TEXT_SIZE + 40];
	uint64_t size; // bytes, with the header
	uint64_t xxh3;
};

// How it lies on disk.
struct gp_snapshot_form {
	uint32_t depth; // links down to the full one; 0: it is the full one
	bool zstd;
	uint32_t block_elems;
	uint32_t blocks_count;		  // of the job
	uint32_t present_count;		  // blocks in this directory
	char base[GP_SNAPSHOT_NAME_SIZE]; // "" of a full one
	uint64_t base_checksum;		  // of its manifest
	uint64_t checksum;		  // of this manifest
};

// Which blocks differ from those of an earlier snapshot, by xxh3 of their bytes.
struct gp_snapshot_delta;

// `base` is the name of a snapshot in `dir`; only its manifest and checksums of blocks are read.
// -EINVAL: it is of other tensors, or its chain is GP_SNAPSHOT_CHAIN_MAX long; others: it cannot be
// read.
int gp_snapshot_delta_open(const struct gp_snapshot_meta *meta, const char *dir, const char *base,
	struct gp_snapshot_delta **out, struct gp_snapshot_error *err) GP_MUST_CHECK;
// Takes the elements as gp_snapshot_append does. False as soon as more than half of all elements
// are in changed blocks: then a full snapshot is as good.
bool gp_snapshot_delta_feed(struct gp_snapshot_delta *d, uint32_t file_idx, const void *data,
	uint64_t count) GP_MUST_CHECK;
// Links from the base down to its full one.
uint32_t gp_snapshot_delta_depth(const struct gp_snapshot_delta *d);
// Takes NULL.
void gp_snapshot_delta_close(struct gp_snapshot_delta *d);

struct gp_snapshot_opts {
	uint32_t level;			 // of zstd, 1..GP_SNAPSHOT_LEVEL_MAX; 0: not compressed
	struct gp_snapshot_delta *delta; // fed with every element; NULL: a full snapshot
};

// Writing: begin, append until every file has all elements, then finish or abort.
struct gp_snapshot_writer;

// `dir` exists. `opts` may be NULL; its delta lives until the writer ends. The whole size is known
// here (unless it is compressed) and is reserved: a full disk is found now (-ENOSPC: the text says
// which directory, how much is needed and how much is free).
int gp_snapshot_begin(const struct gp_snapshot_meta *meta, const struct gp_snapshot_opts *opts,
	const char *dir, struct gp_snapshot_writer **out,
	struct gp_snapshot_error *err) GP_MUST_CHECK;
// The next `count` elements of file `file_idx` (0 = parameters, 1 + i = states[i], then ids,
// steps), tensor after tensor, in pieces of any size; files may take turns. An id counts as two
// elements. Elements of blocks that did not change are passed too and not read. After an error only
// abort or finish (which fails) may follow.
int gp_snapshot_append(struct gp_snapshot_writer *w, uint32_t file_idx, const void *data,
	uint64_t count, struct gp_snapshot_error *err) GP_MUST_CHECK;
// Completes it and gives it its name, replacing one of the same job and step in one move. Ends the
// writer in any case; on an error nothing of it stays on the disk. `path_out`, if not NULL,
// receives the path (PATH_MAX bytes).
int gp_snapshot_finish(struct gp_snapshot_writer *w, const struct gp_snapshot_seal *seal,
	char *path_out, struct gp_snapshot_error *err) GP_MUST_CHECK;
// Removes what was written and ends the writer. Takes NULL.
void gp_snapshot_abort(struct gp_snapshot_writer *w);

// Reading.
struct gp_snapshot;

// Proves everything: manifest (own checksum, schema, no unknown keys, a newer format is refused by
// name), size and xxh3 of each file and block, headers against the manifest, offsets, and the same
// of every snapshot that it builds on. -EBADMSG when any of it is wrong (the text names the file,
// and the block and tensor where it can), -ENOTSUP for a newer format, -ENOENT and others from the
// system.
int gp_snapshot_open(
	const char *path, struct gp_snapshot **out, struct gp_snapshot_error *err) GP_MUST_CHECK;
// As gp_snapshot_open, without putting the data together: gp_snapshot_data must not be called.
int gp_snapshot_prove(
	const char *path, struct gp_snapshot **out, struct gp_snapshot_error *err) GP_MUST_CHECK;
// As gp_snapshot_prove, of this directory alone: what an incremental one builds on is not looked
// at.
int gp_snapshot_open_alone(
	const char *path, struct gp_snapshot **out, struct gp_snapshot_error *err) GP_MUST_CHECK;
// Takes NULL. Ends all pointers that the snapshot gave.
void gp_snapshot_close(struct gp_snapshot *s);

const struct gp_snapshot_meta *gp_snapshot_meta(const struct gp_snapshot *s);
const struct gp_snapshot_seal *gp_snapshot_seal(const struct gp_snapshot *s);
// RFC 3339, UTC.
const char *gp_snapshot_created(const struct gp_snapshot *s);
const struct gp_snapshot_form *gp_snapshot_form(const struct gp_snapshot *s);
// The elements of a tensor, 4-byte aligned, in a mapped file (0 = parameters, 1 + i = states[i]).
const float *gp_snapshot_data(const struct gp_snapshot *s, uint32_t file_idx, uint32_t tensor_idx);
// Likewise of a table: [rows], ascending ids.
const uint64_t *gp_snapshot_ids(const struct gp_snapshot *s, uint32_t table);
const uint32_t *gp_snapshot_steps(const struct gp_snapshot *s, uint32_t table);
// Position of a tensor by name, or -ENOENT.
int gp_snapshot_find(const struct gp_snapshot *s, const char *tensor);
// Files in the directory: those of the data, blocks.safetensors (not in format 1), manifest.json.
uint32_t gp_snapshot_files_count(const struct gp_snapshot *s);
const struct gp_snapshot_file *gp_snapshot_file(const struct gp_snapshot *s, uint32_t idx);
// The file's mapped bytes as they are on disk, gp_snapshot_file()->size of them.
const void *gp_snapshot_bytes(const struct gp_snapshot *s, uint32_t idx);

// Writes one plain .safetensors file at `path`, replacing it in one move: the parameters, and with
// `states` the optimizer arrays as `<array>/<tensor>`. Of a table T: `T` (F32 [rows, dim]), `ids/T`
// (I64: the same bits, which PyTorch can hold) and with `states` also `steps/T` (I32). The snapshot
// was opened by gp_snapshot_open.
int gp_snapshot_export(const struct gp_snapshot *s, const char *path, bool states,
	struct gp_snapshot_error *err) GP_MUST_CHECK;

#endif
