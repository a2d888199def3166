// SPDX-License-Identifier: BSD-3-Clause
//
// Tables of a replicated embed job, for the thread that replicates (gp_backup.h), at a cut that it
// was told: which rows changed since the cut before, and what each row was then, while their owners
// go on. First ids are told, then rows are read.
//
// Owner, threads: as gp_backup.h, of asynchronous jobs; any cut that can be read there can be here,
// except that what changed is known of the last one told only. Memory: none of its own; an owner
// keeps copies of the rows that change between two cuts (gp_kept.h), and home limits how many those
// can be. Errors: -ESTALE: there is no such cut (any more); -EAGAIN: an owner was in the way.
#ifndef GP_BACKUP_ROWS_H
#define GP_BACKUP_ROWS_H

#include <gp_engine.h>

#define GP_BACKUP_IDS_MAX 2048 // told by one call

// Where the ids of one table at all cores are told; zeros at first.
struct gp_backup_ids {
	uint32_t core;
	uint64_t next;
};

// Ids of a table into ids[GP_BACKUP_IDS_MAX], in no order; *n of them, maybe none. 1: call again,
// 0: those were the last ones. Each call looks at a bounded part.
//   changed  since the cut before this one, or was only pulled and eviction should know of it; a
//	      few more than once
//   all      in it or made since; what goes meanwhile may be told or not
//   gone     that may have been in it and have changed since: what `all` may have missed
enum gp_backup_which { GP_BACKUP_CHANGED, GP_BACKUP_ALL, GP_BACKUP_GONE };
int gp_backup_ids(const struct gp_engine *e, uint32_t job_idx, uint32_t table, uint32_t generation,
	enum gp_backup_which which, struct gp_backup_ids *at, uint64_t ids[GP_BACKUP_IDS_MAX],
	uint32_t *n) GP_MUST_CHECK;
// One row as it was in that generation: dim values, then the optimizer's state; the commit that
// wrote it last, and the newest one when it was used last (evict_reads; else the same). 0, -ENOENT:
// it was not there, or an error.
int gp_backup_row(const struct gp_engine *e, uint32_t job_idx, uint32_t table, uint32_t generation,
	uint64_t id, float *row, uint32_t *step, uint32_t *used) GP_MUST_CHECK;
// It will be read some calls later.
void gp_backup_row_ahead(
	const struct gp_engine *e, uint32_t job_idx, uint32_t table, uint64_t id, bool near);

struct gp_backup_tables {
	uint32_t count;
	uint32_t updates; // commits that rows can be of
	uint64_t rows[GP_ENGINE_TABLES_MAX];
	uint64_t digests[GP_ENGINE_TABLES_MAX]; // sums of gp_backup_row_digest over their rows
};
// False: there is no such cut, or the job has no tables.
bool gp_backup_tables(const struct gp_engine *e, uint32_t job_idx, uint32_t generation,
	struct gp_backup_tables *out) GP_MUST_CHECK;
uint64_t gp_backup_row_digest(uint32_t table, uint64_t id, uint32_t step, const float *row,
	uint32_t floats) GP_MUST_CHECK;

// What a backup has to have room for, of a table: rows on all cores, and those that one cut may
// have changed.
struct gp_backup_room {
	uint32_t dim;
	uint32_t state; // floats
	uint64_t rows;
	uint64_t changes;
};
// False: no such table.
bool gp_backup_table_room(const struct gp_engine *e, uint32_t job_idx, uint32_t table,
	struct gp_backup_room *out) GP_MUST_CHECK;

#endif
