// SPDX-License-Identifier: BSD-3-Clause
//
// Snapshots of three tables, one of them empty, for the tests of this folder.
#ifndef TABLES_H
#define TABLES_H

#include "sample.h"

#define TABLES_COUNT 3
#define TABLES_ROWS  70 // of the first

struct tables {
	struct gp_snapshot_tensor tensors[TABLES_COUNT];
	struct gp_snapshot_table kinds[TABLES_COUNT];
	struct gp_snapshot_tables embed;
	const char *states[1];
	struct gp_snapshot_meta meta;
};

// `rowwise`: the optimizer keeps one number for a row.
void tables_init(struct tables *s, uint32_t step, bool rowwise);
// After it: the first keeps one for each value, the last one for a row, the second none.
void tables_mix(struct tables *s);
uint64_t tables_id(uint32_t table, uint64_t row);
// In file f (0: values, 1: the optimizer's): every tenth row changes with the step.
float tables_value(uint32_t file, uint64_t row, uint32_t k, uint32_t step);
// base_step 0: a full one; level of zstd. 0, or the error's code.
int tables_write(const char *dir, const struct tables *s, uint32_t base_step, uint32_t level,
	bool *incremental, struct gp_snapshot_error *err);
// Whether an open snapshot says and holds what was written.
bool tables_same(const struct gp_snapshot *snap, const struct tables *s);

#endif
