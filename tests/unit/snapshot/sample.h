// SPDX-License-Identifier: BSD-3-Clause
//
// A small snapshot with known content, for the tests of this folder.
#ifndef SAMPLE_H
#define SAMPLE_H

#include <gp_snapshot.h>
#include <gp_snapshot_dir.h>

#include <limits.h>

#define SAMPLE_TENSORS 3
#define SAMPLE_JOB     "run-1"

struct sample {
	struct gp_snapshot_tensor tensors[SAMPLE_TENSORS];
	const char *states[1];
	struct gp_snapshot_meta meta;
	uint64_t elements; // of all tensors
};

// `rows` scales the first tensor (rows x 7).
void sample_init(struct sample *s, const char *job, uint32_t step, uint64_t rows);
float sample_value(uint32_t file_idx, uint64_t element, uint32_t step);
// Appends everything, in pieces of `piece` elements, files taking turns. 0 or the error's code.
int sample_append(struct gp_snapshot_writer *w, const struct sample *s, uint64_t piece,
	struct gp_snapshot_error *err);
// Begin, append, finish; `path` may be NULL.
int sample_write(
	const char *dir, const struct sample *s, char *path, struct gp_snapshot_error *err);
// Whether an open snapshot says and holds exactly what sample_write wrote.
bool sample_same(const struct gp_snapshot *snap, const struct sample *s);
// A fresh directory below /tmp; sample_dir_remove takes it and what is in it (two levels) away.
void sample_dir(char *out);
// The same where syncing costs nothing, if there is such a place; for small files.
bool sample_memory_dir(char *out);
void sample_dir_remove(const char *dir);
// Names in it that begin with ".tmp-".
uint32_t sample_stages(const char *dir);

#endif
