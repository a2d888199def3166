// SPDX-License-Identifier: BSD-3-Clause
//
// What jobs hold: tables of embed jobs as they are configured, and what may be seen of tensors and
// tables. Included by gp_engine.h.
#ifndef GP_ENGINE_TABLES_H
#define GP_ENGINE_TABLES_H

#include <gp_optim.h>
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
	bool evict_reads;      // or since it was last pulled
	uint32_t kept_percent; // of rows_max: what rows were, for generations that are read
	bool own_optim;	       // `optim`; else the job's
	struct gp_optim_params optim;
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

// ---- tables of a generation that a cut has pinned (from cut_ready to gp_registrar_cut_release)
//
// For one thread other than the cores', in RCU read sections; pushes go on meanwhile. First the ids
// are told, then each row is asked for. What a push changes is copied before, into `kept`: when
// that is full, pushes wait for the end of the cut, and the job's `shortages` count.

struct gp_table_cut {
	const struct gp_job_table *cfg;
	uint64_t rows;	  // in it, exactly
	uint32_t updates; // commits in it: a row's step is the number of the one that wrote it last
	uint32_t state;	  // f32 of optimizer state of a row
};
// False: no such table, or that generation is not pinned.
bool gp_engine_table_cut(const struct gp_engine *e, uint32_t job_idx, uint32_t t,
	uint32_t generation, struct gp_table_cut *out) GP_MUST_CHECK;

// Begins as zeros, but for id_seen and arg.
struct gp_table_ids {
	uint32_t core;
	bool copies;
	uint64_t next;
	uint64_t copy;
	void (*id_seen)(void *arg, uint64_t id);
	void *arg;
};
// Tells some of the rows' ids, in no order, a few of them more than once. 1: call again, a
// quiescent state may be between; 0: that was all; -EAGAIN: a core was in the way, call again a
// little later; -ENOENT: not pinned.
int gp_engine_table_ids(const struct gp_engine *e, uint32_t job_idx, uint32_t t,
	uint32_t generation, struct gp_table_ids *x) GP_MUST_CHECK;
struct gp_table_want {
	uint32_t table;
	uint32_t n;
	const uint64_t *ids; // [n]
	float *rows;	     // [n][dim + state]
	uint32_t *steps;     // [n]
};
// Rows as they were in that generation: values and state. Returns how many were read; less than n:
// *rc says of the next one -EAGAIN as above, or -ENOENT: it is not in it.
uint32_t gp_engine_table_rows(const struct gp_engine *e, uint32_t job_idx, uint32_t generation,
	const struct gp_table_want *x, int *rc) GP_MUST_CHECK;
// What a row adds to the digest of its job (docs/protocol.md 6).
uint64_t gp_engine_row_digest(uint32_t table, uint32_t generation, uint64_t id, const float *values,
	uint32_t dim) GP_MUST_CHECK;

// Rows that a table starts from, in gp_restore_tensor: its `dims` is {dim}, `values` [count][dim],
// `states` likewise, or [count] where the optimizer keeps one number for a row.
// Or, where `next` is not NULL, row after row: values, then state, as they lie in another server's
// image.
struct gp_restore_rows {
	uint64_t count;
	const uint64_t *ids;
	const uint32_t *steps; // commits that wrote them last
	uint32_t updates;      // commits before, of gp_table_cut; the same for all tables
	// The row at *at (0 at first), values and `state` floats, and where the next one is; NULL:
	// there are no more.
	const float *(*next)(void *arg, uint64_t *at, uint64_t *id, uint32_t *step);
	void *arg;
	uint32_t state;
};

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
