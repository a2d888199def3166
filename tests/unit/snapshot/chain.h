// SPDX-License-Identifier: BSD-3-Clause
//
// A history of snapshots whose blocks change at different steps, for the tests of this folder.
#ifndef CHAIN_H
#define CHAIN_H

#include "sample.h"

#define CHAIN_ROWS 60 // 428 elements, 28 blocks of 16

// Of element `e` of file `file_idx` at `step`: the block's number chooses every how many steps
// (3..9) it changes.
float chain_value(uint32_t file_idx, uint64_t e, uint32_t step);
// Writes the snapshot of `step`; base_step 0: a full one. False when more than half has changed, so
// that a full one was written though a base was given.
bool chain_write(const char *dir, uint32_t step, uint32_t base_step, uint32_t level);
// As chain_write, but errors are returned: 0 or -errno.
int chain_try(const char *dir, uint32_t step, uint32_t base_step, uint32_t level, bool *incremental,
	struct gp_snapshot_error *err);
bool chain_same(const struct gp_snapshot *snap, uint32_t step);
// dir/run-1-<step>[/file]
const char *chain_path(const char *dir, uint32_t step, const char *file);

#endif
