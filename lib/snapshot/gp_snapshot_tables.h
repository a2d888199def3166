// SPDX-License-Identifier: BSD-3-Clause
//
// Tables of rows in a snapshot (jobs of kind embed). Each table is a tensor of dims {rows, dim};
// its rows are in ascending order of their ids, in every file the same. Beside the parameters and
// the optimizer's arrays there are
//	ids.safetensors	    U64 [rows]: the ids
//	steps.safetensors   U32 [rows]: number of the commit that wrote the row last, or, where
//			    pulls count for eviction, that was the newest when it was last used
// An array of an optimizer that keeps one number for a row is [rows, 1]. Where tables have
// optimizers of their own (`mixed`) each says what it has of each array; what its optimizer does
// not keep is [rows, 1] of zeros. Blocks are of whole rows. Included by gp_snapshot.h.
#ifndef GP_SNAPSHOT_TABLES_H
#define GP_SNAPSHOT_TABLES_H

#include <gp_base.h>

// What a table's rows were made by; of tensor i.
struct gp_snapshot_table {
	bool bf16;	     // values: the server's; in the file they are F32
	uint64_t rows_max;   // on all cores
	const char *initial; // "zeros", "uniform" or "normal"
	double initial_scale;
	uint64_t seed;
	const char *eviction; // "none", "age" or "step"
	uint32_t evict_after;
	// mixed: bit k: array k has a number for each value of a row, or one for the row.
	uint32_t of_value, of_row;
};

// How all tables of a job are kept.
struct gp_snapshot_tables {
	const struct gp_snapshot_table *tables; // [tensors_count]
	uint32_t updates;			// commits before
	bool state_of_row;			// optimizer arrays have one number for a row
	bool mixed;				// each table has its own; state_of_row is false
};

#endif
