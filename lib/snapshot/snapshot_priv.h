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

#define SNAPSHOT_MANIFEST_MAX	 (UINT64_C(96) << 20)
#define SNAPSHOT_HEADER_MAX	 UINT64_C(100000000) // the safetensors format's own limit
#define SNAPSHOT_DATA_ALIGN	 64
#define SNAPSHOT_CREATED_SIZE	 21 // 2026-01-31T12:00:00Z
#define SNAPSHOT_STAGE_PREFIX	 ".tmp-"
#define SNAPSHOT_PARAMS_FILE	 "params.safetensors"
#define SNAPSHOT_STATE_PREFIX	 "state-"
#define SNAPSHOT_SAFETENSORS_END ".safetensors"

// Fills `err` and returns `code` (-errno).
int snapshot_fail(struct gp_snapshot_error *err, int code, const char *fmt, ...) GP_PRINTF(3, 4);
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
// Name of safetensors file idx of these.
void snapshot_file_name(const struct gp_snapshot_meta *meta, uint32_t idx, char *out, size_t size);
// Position of each tensor by name; NULL with err->code -EINVAL (a name twice) or -ENOMEM.
json_t *snapshot_index_create(const struct gp_snapshot_meta *meta, struct gp_snapshot_error *err);

// The first bytes of a file up to its data: length, JSON, spaces up to a multiple of 64.
// *out is malloc'ed.
int safetensors_header(const struct gp_snapshot_meta *meta, char **out, size_t *out_len,
	struct gp_snapshot_error *err) GP_MUST_CHECK;
// Whether a file of file_size bytes whose first `len` are `bytes` holds exactly these tensors, f32,
// one after the other without holes. *data_start is where the data begins. `file` is for the text.
int safetensors_check(const struct gp_snapshot_meta *meta, const char *file, const void *bytes,
	uint64_t len, uint64_t file_size, uint64_t *data_start,
	struct gp_snapshot_error *err) GP_MUST_CHECK;

// What a manifest says. Strings belong to `root`.
struct manifest {
	struct gp_snapshot_meta meta;
	struct gp_snapshot_seal seal;
	uint32_t files_count;
	struct gp_snapshot_file files[GP_SNAPSHOT_FILES_MAX];
	char created[SNAPSHOT_CREATED_SIZE];
	uint64_t elements_total;
	char states_text[GP_SNAPSHOT_STATES_MAX][GP_SNAPSHOT_TEXT_SIZE];
	const char *states[GP_SNAPSHOT_STATES_MAX];
	struct gp_snapshot_tensor *tensors;
	struct gp_snapshot_rank *ranks;
	json_t *root;
	json_t *index; // tensor name -> position
};

// The part of a manifest that is known at the start; NULL when out of memory.
json_t *manifest_begin(const struct gp_snapshot_meta *meta);
// Adds the rest and makes the text (malloc'ed). Does not take the reference of `root`.
int manifest_finish(json_t *root, const struct gp_snapshot_seal *seal,
	const struct gp_snapshot_file *files, uint32_t files_count, const char *created, char **out,
	size_t *out_len, struct gp_snapshot_error *err) GP_MUST_CHECK;
// xxh3 of the canonical text (compact, sorted keys) of `root`. -ENOMEM.
int manifest_checksum(const json_t *root, uint64_t *out) GP_MUST_CHECK;
// All or nothing: on an error there is nothing to free.
int manifest_parse(const char *text, size_t len, struct manifest *m,
	struct gp_snapshot_error *err) GP_MUST_CHECK;
void manifest_fini(struct manifest *m);

// Removes a directory and the files in it (no directories below). 0 if it is not there.
int snapshot_remove(const char *path, struct gp_snapshot_error *err) GP_MUST_CHECK;

#endif
