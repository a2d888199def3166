// SPDX-License-Identifier: BSD-3-Clause
//
// Snapshots of a job: writing one while the elements stream by, and reading one back only after
// every byte of it has been proved.
//
// A snapshot is a directory `<job>-<step, 10 digits>` with
//	params.safetensors        the parameters, f32, one entry a tensor, in registration order
//	state-<name>.safetensors  one file for each optimizer array (momentum, ...), same tensors
//	manifest.json             what it is, the dedup state of the same decision, size and xxh3 of
//	                          each file, and an xxh3 of the manifest itself
// It is written under a temporary name (gp_snapshot_dir.h), every file and the directory are
// synced, and only then it gets its name: a directory with that name is complete, or the disk lied,
// which the checksums find. A snapshot never changes after that.
//
// Threads: a writer or an open snapshot belongs to one thread at a time; different ones are
// independent. Every call may block on the disk: never call them from a polled core.
//
// Memory: a writer takes 256 KiB a file plus its headers; an open snapshot maps the files read-only
// and keeps the parsed manifest. Limits are below; more is refused by name.
//
// Errors: 0 or -errno, and `err` says which file, what is wrong and what to do. `err` may not be
// NULL.
#ifndef GP_SNAPSHOT_H
#define GP_SNAPSHOT_H

#include <gp_base.h>

#define GP_SNAPSHOT_FORMAT	 1
#define GP_SNAPSHOT_MANIFEST	 "manifest.json"
#define GP_SNAPSHOT_TENSORS_MAX	 131072
#define GP_SNAPSHOT_DIMS_MAX	 8
#define GP_SNAPSHOT_STATES_MAX	 7			      // optimizer arrays
#define GP_SNAPSHOT_FILES_MAX	 (1 + GP_SNAPSHOT_STATES_MAX) // safetensors files
#define GP_SNAPSHOT_TEXT_SIZE	 64			      // names and words, with the final 0
#define GP_SNAPSHOT_NAME_SIZE	 (GP_SNAPSHOT_TEXT_SIZE + 11) // of the directory
#define GP_SNAPSHOT_ELEMENTS_MAX (UINT64_C(1) << 40)	      // of all tensors together
#define GP_SNAPSHOT_ERROR_SIZE	 768

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
	const char *kind;      // "reduce" or "train"
	const char *optimizer; // "momentum", ...; "none" for reduce
	uint64_t generation;
	uint32_t step; // the last step whose decision is in it
	uint64_t decision;
	uint64_t epoch;
	uint32_t tensors_count; // 1..GP_SNAPSHOT_TENSORS_MAX
	const struct gp_snapshot_tensor *tensors;
	uint32_t states_count;	   // 0..GP_SNAPSHOT_STATES_MAX
	const char *const *states; // [a-z0-9_], e.g. "momentum"
};

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
	char name[GP_SNAPSHOT_TEXT_SIZE + 24];
	uint64_t size; // bytes, with the header
	uint64_t xxh3;
};

// Writing: begin, append until every file has all elements, then finish or abort.
struct gp_snapshot_writer;

// `dir` exists. The whole size is known here and is reserved: a full disk is found now
// (-ENOSPC: the text says which directory, how much is needed and how much is free).
int gp_snapshot_begin(const struct gp_snapshot_meta *meta, const char *dir,
	struct gp_snapshot_writer **out, struct gp_snapshot_error *err) GP_MUST_CHECK;
// The next `count` elements of file `file_idx` (0 = parameters, 1 + i = states[i]), tensor after
// tensor, in pieces of any size; files may take turns. After an error only abort or finish (which
// fails) may follow.
int gp_snapshot_append(struct gp_snapshot_writer *w, uint32_t file_idx, const float *data,
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
// name), size and xxh3 of each file, safetensors headers against the manifest, offsets. -EBADMSG
// when any of it is wrong, -ENOTSUP for a newer format, -ENOENT and others from the system.
int gp_snapshot_open(
	const char *path, struct gp_snapshot **out, struct gp_snapshot_error *err) GP_MUST_CHECK;
// Takes NULL. Ends all pointers that the snapshot gave.
void gp_snapshot_close(struct gp_snapshot *s);

const struct gp_snapshot_meta *gp_snapshot_meta(const struct gp_snapshot *s);
const struct gp_snapshot_seal *gp_snapshot_seal(const struct gp_snapshot *s);
// RFC 3339, UTC.
const char *gp_snapshot_created(const struct gp_snapshot *s);
// The elements of a tensor, 4-byte aligned, in the mapped file (0 = parameters, 1 + i = states[i]).
const float *gp_snapshot_data(const struct gp_snapshot *s, uint32_t file_idx, uint32_t tensor_idx);
// Position of a tensor by name, or -ENOENT.
int gp_snapshot_find(const struct gp_snapshot *s, const char *tensor);
// Number of safetensors files (1 + states_count).
uint32_t gp_snapshot_files_count(const struct gp_snapshot *s);
// idx < files_count, or == files_count: manifest.json itself.
const struct gp_snapshot_file *gp_snapshot_file(const struct gp_snapshot *s, uint32_t idx);
// The file's mapped bytes, gp_snapshot_file()->size of them.
const void *gp_snapshot_bytes(const struct gp_snapshot *s, uint32_t idx);

#endif
