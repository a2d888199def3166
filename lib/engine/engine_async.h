// SPDX-License-Identifier: BSD-3-Clause
//
// What asynchronous jobs (every consistency but bsp) have beside the rest, from generation 0 on.
//
// Two ways of a push into the table. *Direct* (atomicity block): each block is applied as it comes.
// *Staged* (atomicity step): a push is copied to a place of its rank until home commits it; then it
// is applied block by block, some in each burst, before the core goes on to the next decision.
//
// Who writes what: struct async_core its core; struct async_home the job's home core.
#ifndef ENGINE_ASYNC_H
#define ENGINE_ASYNC_H

#include "engine_types.h"

#include <gp_adaptive.h>

#define STAGES_QUORUM 2	 // a late push beside the one of the step in hand
#define APPLY_BLOCKS  32 // of a staged commit in one burst

// One rank's contributions at one core.
struct rank_core {
	uint32_t clock;	   // highest step decided, as far as this core knows
	uint32_t low_step; // direct: lowest place that has not been applied
	uint32_t low_local;
	uint32_t told; // direct: highest step that home knows to be whole here
};

struct staged_block {
	uint32_t len;
	float weight; // 0: the rank passes
	uint8_t codec;
	bool here;
};

struct stage {
	uint32_t step;
	uint32_t count; // blocks here
	bool used;
	bool told; // home knows that it is whole
	struct staged_block *blocks;
	uint8_t *payload; // stage_stride bytes a block
};

static inline uint32_t point_generation(const _Atomic uint32_t *generation)
{
	return atomic_load_explicit(generation, memory_order_relaxed);
}

// Direct, replicated: what ranks had brought to this core when a cut was made. The replicating
// thread looks for the point of a generation that it was told of: only that one is then the same
// until it has read it, so the other's generation may change while it looks.
struct core_point {
	_Atomic uint32_t generation;
	struct rank_core *ranks;
	uint64_t *here;
};

struct async_core {
	bool on; // generation 0 is there
	bool applying;
	bool applied_due;	    // home has not been told yet
	uint32_t apply_at;	    // next block
	struct gp_decision applies; // commit under way
	uint32_t fastest;	    // highest low_step of members: direct
	uint32_t closed;	    // quorum: highest step closed
	uint32_t stages_per_rank;
	uint32_t stage_stride;
	uint32_t here_words;	 // of a rank's bitmap
	uint32_t here_mask;	 // places in it
	struct gp_ranks tell;	 // ranks with something for home
	struct rank_core *ranks; // [workers]
	uint64_t *here;		 // direct: [workers][here_words], places beyond the lowest
	struct stage *stages;	 // staged: [workers][stages_per_rank]
	uint32_t *updates;	 // [blocks]: of each block so far
	bool *has_read;		 // [workers][blocks]
	float *read_copy;    // [workers][blocks][elems_max]: what each rank read; NULL: not needed
	uint32_t *cut_clock; // [workers]: highest step begun here when the last snapshot's cut was
	bool point_seen_due; // home has not been told yet
	uint32_t point_seen; // generation of the last cut for the backup
	uint32_t point_turn; // which of the two the last one is
	struct core_point points[2]; // the replicating thread reads them
};

#define PIN_NONE     0
#define PIN_SNAPSHOT UINT32_MAX
#define PIN_START    (UINT32_MAX - 1) // until every member has committed a step
// Else: id of the session that it is reserved for.

struct live_cut {
	uint32_t generation;
	uint32_t decision;
	uint32_t clock_min; // steps that it has of every member
	uint32_t closed;    // quorum: highest step in it
	uint32_t pin;
	bool granted; // somebody reads it
	bool backup;  // one of async_gate.points
	uint64_t made_at;
	uint64_t used_at; // reserved for a session: its last pull of it at home
};

// A session's question for a generation to read.
struct read_wait {
	uint32_t session; // id, 0 = none yet
	uint32_t request;
	uint32_t clock;
	uint32_t generation; // granted
	uint32_t closed;     // quorum: in that
	bool reserve;
	bool parked;
	bool granted;
	uint64_t since;
};

// Where a job stands at a cut that the backup is brought to.
struct async_point {
	_Atomic uint32_t generation; // as in core_point
	uint32_t decision;
	uint32_t view;
	uint32_t closed;
	uint32_t updates;
	uint32_t clock[GP_RANKS_MAX];
};

// The release gate of an asynchronous job (gp_backup.h): commits wait for a cut that has them.
struct async_gate {
	bool on;       // closed, and the job is asynchronous
	bool based;    // a cut was made since it closed
	bool out;      // the last one was released
	bool told;     // the replicating thread knows it
	bool begins;   // it is a base
	bool wanted;   // also without a decision since the last one
	uint32_t seen; // cores that have it
	uint32_t turn; // which of the two points is the last cut
	struct gp_decision cut;
	struct async_point points[2]; // the replicating thread reads those that it was told of
	struct async_point shown;     // that workers may know of
};

#define POINT_WANTED 1 // unit of CMD_POINT_SEEN: none was, one is needed

#define MOVES_KEPT 4 // of the bound, while control has no time

struct async_home {
	struct gp_adaptive adaptive;
	struct gp_bound_move moves[MOVES_KEPT]; // control has not been told yet, oldest first
	uint32_t moves_count;
	bool applying[GP_ENGINE_CORES_MAX]; // a staged commit: gets no decision before it is done
	uint32_t parked;
	uint32_t last_commit; // decision
	uint32_t noted;	      // decisions looked at
	uint32_t cut_clock;   // slowest member's clock at the last cut made by interval
	uint32_t cuts_count;
	struct live_cut cuts[GP_TABLE_CUTS_MAX]; // oldest first
	struct read_wait *reads;		 // [sessions_max]
	struct async_gate gate;
	struct gp_ranks kept; // who goes on where its life before was, in another server
};

static inline bool cfg_is_async(const struct gp_job_config *cfg)
{
	return cfg->consistency != GP_CONSIST_BSP;
}

static inline bool cfg_is_staged(const struct gp_job_config *cfg)
{
	return cfg_is_async(cfg) && cfg->atomicity == GP_ATOM_STEP;
}

// What commits together in the synchronous part: an asynchronous job has only its initial values
// there, which are one unit.
static inline uint8_t cfg_unit(const struct gp_job_config *cfg)
{
	return cfg_is_async(cfg) ? GP_ATOM_STEP : cfg->atomicity;
}

static inline uint32_t job_unit(const struct gp_job_config *cfg, uint32_t tensor, uint32_t block)
{
	uint8_t unit = cfg_unit(cfg);
	return unit == GP_ATOM_STEP ? 0 : unit == GP_ATOM_TENSOR ? tensor : block;
}

// Whether contributions at this core go the asynchronous way now.
static inline bool core_is_async(const struct job_core *jc)
{
	return jc->async && jc->async->on;
}

// async_job.c: memory; where asynchronous work begins
uint32_t async_stage_stride(uint32_t block_elems);
size_t async_core_size(const struct gp_job_config *cfg, uint32_t blocks, uint32_t block_elems);
size_t async_home_size(const struct gp_engine *e, const struct gp_job_config *cfg);
int async_core_create(struct job_core *jc, struct gp_arena *arena);
int async_home_create(struct gp_job *j, struct gp_arena *arena);
// Generation `generation` is there: from now on ranks go their own ways. `clock` NULL: each has
// contributed through step `step`.
void async_begin(struct job_core *jc, uint32_t generation, const uint32_t *clock, uint32_t step);
// After job_start: what another server's ranks had brought beyond their clocks.
void async_resume(struct gp_job *j, const struct gp_restore *r);

// async_push.c
enum gp_verdict async_push_block(struct gp_core *c, struct job_core *jc, uint32_t local,
	const struct gp_header *h, const struct part *part);
uint32_t async_tell_home(struct gp_core *c, struct job_core *jc);
// Direct: the rank's contribution to this place counts, or is passed over: its lowest place moves
// on.
void async_place_take(struct job_core *jc, uint32_t rank, uint32_t step, uint32_t local);

// async_apply.c
// The block's next version from c->contribs[0..n), one update. False: no version is free now.
bool async_update(struct gp_core *c, struct job_core *jc, uint32_t local, uint32_t n,
	const struct gp_contrib *of, uint32_t staleness);
void async_apply_decision(struct gp_core *c, struct job_core *jc, const struct gp_decision *d);
// Squares of what the commit under way comes to in this block.
double async_squares(struct gp_core *c, struct job_core *jc, uint32_t local) GP_MUST_CHECK;
// Goes on with a staged commit. Returns blocks looked at.
uint32_t async_apply_more(struct gp_core *c, struct job_core *jc);
// `rank` has been sent version `v`: what it computes from now on is computed from that.
void async_read_note(struct job_core *jc, uint32_t rank, uint32_t local, struct gp_version *v);

// async_backup.c
// The core keeps for the replicating thread what ranks have brought until this cut.
void async_point_keep(struct job_core *jc, uint32_t generation, uint32_t gate);
// Home: the gate closes (again) or opens.
void async_gate_turn(struct gp_core *c, struct job_core *jc, bool closed, bool was_closed);
// Makes cuts for the backup, tells the replicating thread of them, and workers when they are out.
void async_gate_tick(struct gp_core *c, struct job_core *jc);
void async_point_seen(struct job_core *jc, const struct cmd *cmd);
// The last decision that is out when the backup holds everything through `decision`.
uint32_t async_gate_release(const struct home *h, uint32_t decision);
// Where workers see the job; NULL: as it is.
static inline const struct async_point *async_shown(const struct home *h)
{
	return h->async && h->async->gate.on ? &h->async->gate.shown : NULL;
}

// async_home.c
void async_cut_note(struct gp_core *c, struct job_core *jc, uint32_t generation, uint32_t pin);
void async_cut_remove(struct async_home *a, uint32_t i);
// The generation that workers may know of, before any of them is told.
void async_generation_publish(struct gp_core *c, const struct job_core *jc);
enum gp_verdict handle_read(struct gp_core *c, struct core_session *cs, const struct gp_session *s,
	struct job_core *jc, const struct gp_msg *m);
void async_home_tick(struct gp_core *c, struct job_core *jc);
void async_part_done(struct job_core *jc, const struct cmd *cmd);
// The session still reads the generation that was reserved for it.
void async_pull_note(struct gp_core *c, const struct job_core *jc, uint32_t session, uint32_t step);
// A cut for a snapshot; its number, or UINT32_MAX when there can be none now.
uint32_t async_snapshot_cut(struct gp_core *c, struct job_core *jc);
void async_snapshot_end(struct job_core *jc, uint32_t generation);
bool async_cut_is_due(const struct job_core *jc, uint32_t interval);
// The staleness bound now, or GP_WIRE_BOUND_NONE.
uint32_t async_bound(const struct job_core *jc);
// A core that applies a staged commit gets its next decision when that is done.
bool async_is_applying(const struct job_core *jc, uint32_t core);
void async_delivered(struct job_core *jc, uint32_t core, const struct gp_decision *d);

#endif
