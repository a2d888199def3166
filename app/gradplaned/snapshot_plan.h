// SPDX-License-Identifier: BSD-3-Clause
//
// Between snapshot_write.c and snapshot_tables.c: what is known before the first byte is written,
// and what becomes of the elements. The snapshot thread's.
#ifndef SNAPSHOT_PLAN_H
#define SNAPSHOT_PLAN_H

#include "gradplaned.h"

// A table of rows in the generation that is written.
struct plan_table {
	struct gp_table_cut cut;
	uint64_t *ids; // ascending
	uint64_t count;
};

struct plan {
	struct gp_snapshot_meta meta;
	struct gp_snapshot_tensor *tensors;
	struct gp_snapshot_rank *ranks;
	const char *states[GP_SNAPSHOT_STATES_MAX];
	struct gp_snapshot_tables embed;
	struct gp_snapshot_table kinds[GP_ENGINE_TABLES_MAX];
	struct plan_table tables[GP_ENGINE_TABLES_MAX];
};

// What becomes of the elements, in the order of a snapshot's files: 0, or what ends the walk.
struct walk {
	int (*take)(struct walk *w, uint32_t file, const void *data, uint64_t words);
	struct snapshot_task *task;
	struct gp_snapshot_delta *delta;
	struct gp_snapshot_writer *writer;
};

#define WALK_ENOUGH 1

int snapshot_task_failed(struct snapshot_task *t, int error, const char *text);
// Control does not want it any more.
int snapshot_given_up(struct node *n, struct snapshot_task *t) GP_MUST_CHECK;

// snapshot_tables.c: the ids of all rows, and what the manifest says of tables.
int snapshot_tables_plan(struct node *n, struct snapshot_task *t, struct plan *p) GP_MUST_CHECK;
void snapshot_tables_free(struct plan *p);
int snapshot_tables_walk(struct node *n, struct walk *w, const struct plan *p) GP_MUST_CHECK;

#endif
