// SPDX-License-Identifier: BSD-3-Clause
//
// What gradbench table measures: places that keep rows by id, each with f32 values and adagrad's
// sums. One thread owns all of it.
#ifndef GRADBENCH_TABLE_H
#define GRADBENCH_TABLE_H

#include <gp_optim.h>

// What a snapshot does with a table, and a start: ns of a row.
struct table_whole {
	double ids;  // collected
	double sort; // and put in order
	double read; // each row by its id, in that order
	double put;  // each row into an empty table
};

struct table_subject {
	const char *name;
	// Takes memory for `rows` rows and makes row 0 .. rows - 1. -ENOMEM after a line on stderr.
	int (*open)(void **state, uint64_t rows, uint32_t dim,
		const struct gp_optim_params *optim) GP_MUST_CHECK;
	void (*update)(void *state, const struct gp_optim_plan *plan, const uint64_t *ids,
		const float *grads, uint32_t n);
	void (*get)(void *state, const uint64_t *ids, uint32_t n, float *out);
	uint64_t (*bytes)(void *state); // of memory in use
	// NULL: it does not. -ENOMEM after a line on stderr.
	int (*whole)(void *state, struct table_whole *out);
	void (*close)(void *state); // takes NULL
};

extern const struct table_subject table_subject_rows; // lib/table
extern const struct table_subject table_subject_lfht; // liburcu's hash table

#endif
