// SPDX-License-Identifier: BSD-3-Clause
//
// Directories of snapshots: which there are, the newest that can be trusted, removing old ones and
// what dead writers left, and the stage on which a writer or a receiver builds a new one.
//
// Owner: one program a directory is usual, but any number may write into one: a stage is locked
// (flock) while its writer lives, and names change only by rename.
//
// Threads: no state of its own; calls may block on the disk. Errors as in gp_snapshot.h.
#ifndef GP_SNAPSHOT_DIR_H
#define GP_SNAPSHOT_DIR_H

#include <gp_base.h>
#include <gp_snapshot.h>

#define GP_SNAPSHOT_ENTRIES_MAX 65536 // snapshots in one directory

struct gp_snapshot_entry {
	char name[GP_SNAPSHOT_NAME_SIZE]; // of the directory
	char job[GP_SNAPSHOT_TEXT_SIZE];
	uint32_t step;
};

struct gp_snapshot_list {
	uint32_t count;
	struct gp_snapshot_entry *entries; // newest step first (serial order), then by job
};

// `<job>-<step>` in its parts; false if `name` is not of that form.
bool gp_snapshot_name_parse(const char *name, struct gp_snapshot_entry *out) GP_MUST_CHECK;
bool gp_snapshot_job_valid(const char *job) GP_MUST_CHECK;

// By name only; nothing is opened. `job` NULL: of all jobs. The caller frees the list.
int gp_snapshot_list(const char *dir, const char *job, struct gp_snapshot_list *out,
	struct gp_snapshot_error *err) GP_MUST_CHECK;
void gp_snapshot_list_free(struct gp_snapshot_list *list);

// The newest snapshot of `job` that verifies and is what its name says. Each newer one that does
// not is reported with its path and reason to `refused` (NULL: to the log), then the one before it
// is tried. -ENOENT when none is left. -EIO, -ENOMEM, -EMFILE: one could not be read, which may be
// the newest good one: nothing older is taken for it.
typedef void (*gp_snapshot_refused_fn)(void *arg, const char *path, const char *why);
int gp_snapshot_latest(const char *dir, const char *job, gp_snapshot_refused_fn refused, void *arg,
	struct gp_snapshot **out, struct gp_snapshot_error *err) GP_MUST_CHECK;
// The path of an open snapshot, as it was opened.
const char *gp_snapshot_path(const struct gp_snapshot *s);

// What the manifest alone says; the data is not read.
struct gp_snapshot_info {
	struct gp_snapshot_form form;
	uint32_t step;
	uint64_t decision, epoch, digest;
	uint64_t size;	  // of its files
	char created[21]; // RFC 3339, UTC
};

int gp_snapshot_peek(const char *path, struct gp_snapshot_info *out,
	struct gp_snapshot_error *err) GP_MUST_CHECK;

// Keeps, of the snapshots of `job` up to `newest_step`, the `keep` (>= 1) newest and what those
// build on, and removes the others; those of later steps are left alone. Of one whose manifest
// cannot be read it is not known what it builds on: nothing is removed then, and the error says so.
// Call it after the newest is complete.
int gp_snapshot_prune(const char *dir, const char *job, uint32_t newest_step, uint32_t keep,
	struct gp_snapshot_error *err) GP_MUST_CHECK;
// Removes one, as gp_snapshot_prune does; 0 if it is not there.
int gp_snapshot_remove(
	const char *dir, const char *name, struct gp_snapshot_error *err) GP_MUST_CHECK;
// Makes that of `step` the newest of `job`: later ones get names that end in `.aside` (`.aside1`,
// ...), which nothing here looks at; people may rename them back or remove them. *count says how
// many. The directory must be locked.
int gp_snapshot_rewind(const char *dir, const char *job, uint32_t step, uint32_t *count,
	struct gp_snapshot_error *err) GP_MUST_CHECK;
// A server holds the directory shared while it runs; who changes what the next start finds takes it
// alone. *fd is closed to let go. -EBUSY: the other kind of holder is there.
int gp_snapshot_dir_lock(
	const char *dir, bool alone, int *fd, struct gp_snapshot_error *err) GP_MUST_CHECK;
// Once at start: makes `dir` if only its last part is missing, proves that it can be written, and
// removes the stages of dead writers. *removed (may be NULL) says how many. What is there
// afterwards survives a loss of power, whatever a writer before could not sync.
int gp_snapshot_dir_prepare(
	const char *dir, uint32_t *removed, struct gp_snapshot_error *err) GP_MUST_CHECK;

// A temporary directory `.tmp-XXXXXX` beside the snapshots, locked while its owner lives.
struct gp_snapshot_stage;

int gp_snapshot_stage_create(const char *dir, struct gp_snapshot_stage **out,
	struct gp_snapshot_error *err) GP_MUST_CHECK;
// For openat(2), and for people.
int gp_snapshot_stage_fd(const struct gp_snapshot_stage *stage);
const char *gp_snapshot_stage_path(const struct gp_snapshot_stage *stage);
// Syncs the stage, gives it the name (replacing a snapshot of that name in one move) and syncs the
// directory. Its files must have been synced. Ends the stage in any case; on error it is removed.
int gp_snapshot_stage_publish(struct gp_snapshot_stage *stage, const char *name, char *path_out,
	struct gp_snapshot_error *err) GP_MUST_CHECK;
// Removes it with what is in it. Takes NULL.
void gp_snapshot_stage_drop(struct gp_snapshot_stage *stage);

#endif
