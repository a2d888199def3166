// SPDX-License-Identifier: BSD-3-Clause
//
// What jobs hold: tables of embed jobs as they are configured, and what may be seen of tensors and
// tables. Included by gp_engine.h.
#ifndef GP_ENGINE_TABLES_H
#define GP_ENGINE_TABLES_H

#include <gp_rows.h>
#include <gp_wire.h>

#define GP_ENGINE_TABLES_MAX 8 // of a job

struct gp_engine;

// A table of an embed job (lib/table/gp_rows.h).
struct gp_job_table {
	char name[GP_WIRE_TENSOR_NAME_MAX + 1];
	uint64_t rows_max; // on all cores
	uint32_t dim;
	bool bf16;
	enum gp_rows_initial initial;
	float initial_scale;
	uint64_t seed;
	enum gp_rows_eviction eviction;
	uint32_t evict_after;  // commits since a row's last write, GP_ROWS_EVICT_AGE
	uint32_t kept_percent; // of rows_max: what rows were, for generations that are read
};

// A table of an embed job, all cores; exact when the job rests.
struct gp_table_view {
	const char *name;
	uint32_t dim;
	uint64_t rows;
	uint64_t rows_max;    // as configured
	uint64_t memory_used; // bytes of its rows and their index
	uint64_t evicted;
	uint64_t refused; // rows that could not be made when their push was applied
	uint32_t kept;	  // copies for generations that are read
	uint32_t kept_max;
};
// Any thread. Table t in job-wide order; false when there is no layout or no such table.
bool gp_engine_table_view(
	const struct gp_engine *e, uint32_t job_idx, uint32_t t, struct gp_table_view *v);

struct gp_tensor_view {
	const char *name;
	uint32_t dims_count;
	const uint64_t *dims;
	uint64_t elems;
	uint32_t first_block;
	uint32_t blocks_count;
};
// Tensor t in job-wide order; false when there is no layout or no such tensor.
bool gp_engine_tensor_view(
	const struct gp_engine *e, uint32_t job_idx, uint32_t t, struct gp_tensor_view *v);

#endif
