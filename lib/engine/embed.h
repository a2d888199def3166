// SPDX-License-Identifier: BSD-3-Clause
//
// Embed jobs (docs/protocol.md 5.2): tables of rows beside the asynchronous machinery. A push of
// rows goes through the places of engine_async.h as any staged push does; what differs is what a
// place holds (checked before it is taken), what a commit does with it, and how rows are pulled.
//
// A job's tables have one part on each core; only that core touches it.
#ifndef ENGINE_EMBED_H
#define ENGINE_EMBED_H

#include "engine_async.h"

#include <gp_kept.h>
#include <gp_rows.h>

#define EMBED_FLOATS_MAX (GP_WIRE_DATAGRAM_MAX / 2) // values of one datagram, the shortest codec
#define EMBED_IDS_MAX	 (GP_WIRE_DATAGRAM_MAX / 8)
#define EVICT_BUCKETS	 32  // looked at in a turn
#define EVICT_CREDIT	 256 // buckets that a commit gives to be looked at
#define EVICT_SHARE	 16  // a table that evicts under pressure keeps this part for pushes

#define EMBED_COST	65536u // of all commits between two cuts for the backup
#define EMBED_USE_GRAIN 64u
#define EMBED_USES	512u // rows whose use one such cut tells of

// A table at a cut for the backup: copies [from, to) are of what changed since the one before.
struct table_point {
	uint64_t from, to;
	uint64_t rows;
	uint64_t digest;
	uint64_t uses_from, uses_to; // in embed_table.uses: rows that were only pulled
};

// The replicating thread reads it from when it is told of the cut until the next but one is made.
struct embed_point {
	_Atomic bool made;
	uint32_t gate;		     // closing of the gate
	_Atomic uint32_t generation; // looked at in both: relaxed
	uint32_t updates;
	struct table_point tables[GP_ENGINE_TABLES_MAX];
};

// One core's part of a table.
struct embed_table {
	const struct gp_job_table *cfg;
	struct gp_rows *rows;
	struct gp_kept *kept;
	uint64_t rows_max;  // of this core
	uint64_t rows_room; // it has memory for: another server may have had more on its cores
	uint64_t held;	    // rows that pushes in waiting may make
	uint32_t push_max;  // rows that one push may have here; tables that evict under pressure
	uint32_t *rank_has; // [workers]: of the push in waiting; NULL where there is no push_max
	uint32_t kept_max;
	struct gp_optim_plan plan; // of the last commit applied; kernel NULL: none yet
	uint64_t pin_rows;	   // rows in the generation that is pinned
	uint32_t budget;	   // replicated: rows of commits between two points
	uint32_t evicts_max;	   // and rows evicted
	uint32_t evicts_left;	   // until the next one
	uint64_t digest;	   // replicated: sum of its rows' digests
	uint64_t *uses;		   // replicated, evict_reads: ring of ids; NULL: none
	uint64_t uses_next;
	_Atomic uint32_t kept_now;  // copies; read by control
	_Atomic uint32_t shortages; // waits for the end of a pin; read by control
	_Atomic uint64_t lost;	    // rows that could not be made; read by control
};

struct embed_core {
	uint32_t tables_count;
	struct embed_table *tables; // in the job's order: the table's number
	uint32_t updates;	    // commits applied so far: those that rows say they are of
	uint32_t pin_generation;    // of the last cut for a snapshot, and updates then
	uint32_t pin_updates;
	uint32_t evict_credit;
	uint32_t point_turn; // which of the two the last one is
	struct embed_point points[2];
	bool held;	       // copies are, since the last point
	bool point_wanted;     // nothing more can be evicted before the next one
	bool point_wanted_due; // home has not been told yet
	uint32_t *place_holds; // [workers][places]: rows held for it; its table in the payload
	// A place whose rows could not all be made yet; count 0: none.
	uint32_t pending_count;
	uint32_t pending_table;
	uint64_t *ids; // [EMBED_IDS_MAX]
	float *values; // [EMBED_FLOATS_MAX]
	float *state;  // [GP_ROWS_FLOATS_MAX]: of a row that is restored
	bool *refused; // [EMBED_IDS_MAX]
	uint64_t *pull_ids;
	float *pull_values;
};

static inline bool cfg_embeds(const struct gp_job_config *cfg)
{
	return cfg->kind == GP_KIND_EMBED;
}

// The optimizer of a table's rows.
static inline const struct gp_optim_params *embed_optim(
	const struct gp_job_config *cfg, const struct gp_job_table *t)
{
	return t->own_optim ? &t->optim : &cfg->optim;
}

// When a row was used last, as a cut after so many commits has it: what came later does not count.
static inline uint32_t embed_used_at(uint32_t updates, uint32_t used)
{
	return gp_before(updates, used) ? updates : used;
}

// embed_job.c
// Places of a push at each core.
uint32_t embed_places(const struct gp_job_config *cfg, uint32_t block_elems);
bool embed_table_legal(const struct gp_job_config *cfg, const struct gp_job_table *t);
// The widest row that a block carries.
bool embed_row_fits(uint32_t dim, uint32_t block_elems);
size_t embed_core_size(const struct gp_engine *e, const struct gp_job_config *cfg, uint32_t places,
	uint32_t block_elems);
int embed_core_create(struct gp_job *j, struct job_core *jc, uint32_t core, struct gp_arena *arena);
// The job's blocks are the places of pushes.
void embed_blocks_fill(struct gp_job *j);
const struct gp_job_table *embed_table_find(const struct gp_job_config *cfg, const char *name);

// embed_push.c
// Everything that is wrong with the sections of a push, before any of them is taken; the worker is
// told. GP_VERDICT_PUSH_BUSY: a table has no room now.
enum gp_verdict embed_push_check(
	struct gp_core *c, struct core_session *cs, struct job_core *jc, const struct gp_msg *m);
// A place of the rank's push was taken: its rows are held. And given back.
void embed_hold(struct job_core *jc, uint32_t rank, const struct stage *s, uint32_t local);
void embed_release(struct job_core *jc, uint32_t rank, const struct stage *s, uint32_t local);
void embed_release_all(struct job_core *jc, uint32_t rank, const struct stage *s);

// embed_apply.c
// Applies one place of a committed push. False: not all rows could be made yet, again.
bool embed_apply(struct job_core *jc, uint32_t rank, const struct stage *s, uint32_t local);
// A generation was made: what older ones need that nobody reads goes.
void embed_cut(struct job_core *jc);
uint32_t embed_tick(struct job_core *jc);

// embed_cut.c
// A cut for a snapshot begins and ends.
void embed_pin(struct job_core *jc, uint32_t generation);
void embed_unpin(struct job_core *jc);
// Whether so many rows may change now; they may not while the copies that a pinned generation needs
// have no room. Not for long: whoever reads it does not wait for pushes.
bool embed_pin_allows(const struct embed_table *t, uint32_t rows);
// Likewise of a push that waits then, which is counted.
bool embed_pin_waits(struct embed_table *t, uint32_t rows);
uint32_t embed_shortages(const struct job_core *jc);

// embed_point.c: replicated jobs
// Copies that two intervals between points may need at a core, and of that the commits' share.
uint32_t embed_point_copies(const struct gp_job_config *cfg, const struct gp_job_table *t,
	uint32_t places, uint32_t block_elems);
void embed_point_shares(const struct gp_job_config *cfg, struct embed_table *t);
// Whether the backup hears of rows that were only pulled, for eviction there: some in each cut, of
// each when its last use that it knows of is a sixteenth of evict_after old (eviction by step:
// EMBED_USE_GRAIN commits). That takes so many bytes.
bool embed_point_uses(const struct gp_job_config *cfg, const struct gp_job_table *t);
size_t embed_point_uses_size(const struct gp_job_config *cfg, const struct gp_job_table *t);
// Rows that were pulled now.
void embed_point_use(struct job_core *jc, struct embed_table *t, const uint64_t *ids, uint32_t n);
// The table's rows were loaded; `row` has room for one.
void embed_point_load(struct embed_table *t, uint32_t table, float *row);
// A cut for the backup, of that closing of the gate.
void embed_point_keep(struct job_core *jc, uint32_t generation, uint32_t gate);
// Nothing is held for a gate that was opened or closed anew.
void embed_point_follow(struct job_core *jc);
// What the rank's push at this core takes of EMBED_COST.
uint32_t embed_point_cost(const struct job_core *jc, const struct stage *s);
// Before rows ids[0..n) change, and after; before one is evicted.
void embed_point_before(
	struct job_core *jc, struct embed_table *t, const uint64_t *ids, uint32_t n);
void embed_point_after(struct job_core *jc, struct embed_table *t, const uint64_t *ids, uint32_t n);
void embed_point_evicted(struct job_core *jc, struct embed_table *t, uint64_t id);
// How many rows may be evicted before the next point.
bool embed_point_evicts(struct job_core *jc, struct embed_table *t, uint32_t rows);

// embed_load.c
// 0, -EINVAL: other tables or dimensions, -ENOSPC: more rows than a table may have.
int embed_restore_check(const struct gp_job_config *cfg, const struct gp_restore *r);
// -ENOSPC: a core cannot hold its rows.
int embed_load(struct gp_job *j, const struct gp_restore *r);

// embed_pull.c
enum gp_verdict handle_pull_rows(
	struct gp_core *c, struct core_session *cs, struct job_core *jc, const struct gp_msg *m);

#endif
