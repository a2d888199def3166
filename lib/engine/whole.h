// SPDX-License-Identifier: BSD-3-Clause
//
// Updates that need the whole step first: clipping by the gradient's global norm, and lamb, whose
// rate of a tensor rests on norms over all of it. Train jobs of atomicity step
// whose contributions meet only: consistency bsp, or quorum.
//
// A block whose contributions are all there keeps their mean in the version that will be its next
// one, unpublished, and beside it squares of norms. When a core has all its blocks so, it tells
// home (MEASURED); when all cores have, home adds the squares of all blocks, in the order of the
// blocks whatever core they are at, and tells every core what comes of it (FACTOR): the factor of
// the gradient, or of each tensor's update. Then each core makes its blocks' versions, some in each
// turn, and says that its part is done as ever. With both, there are two such rounds: the update of
// lamb is measured when the clipped gradient is known.
//
// In a quorum job (clipping only) home has committed the step already, by its decision's number:
// each core goes twice over what it has staged, first to measure, then to apply. No core gets its
// next decision before every core has been told the factor.
//
// What is decided, shipped and published stays what it was: until its part is done a core has
// nothing of the step to show. A new view drops what is held. Pieces are commands of a core to
// itself, so that the flight recorder has them in their order.
//
// Who writes what: struct whole_core its core, struct whole_home the job's home core. Home reads
// the squares of all cores: a core writes them before it sends MEASURED, and again only after home
// has committed the step or decided another view, which ends home's reading first.
#ifndef ENGINE_WHOLE_H
#define ENGINE_WHOLE_H

#include "engine_types.h"

#define WHOLE_PIECE 32	       // blocks made in one turn
#define WHOLE_SUM   4096       // blocks that home adds in one turn
#define WHOLE_ALL   UINT32_MAX // as a tensor: all of them

enum whole_round {
	WHOLE_GRADIENT = 1, // squares of the gradient: one factor
	WHOLE_UPDATE = 2,   // squares of parameters and update: a ratio for each tensor
};

enum whole_stage {
	WHOLE_GATHERS, // blocks come in
	WHOLE_WAITS,   // all are measured, home has been told or will be
	WHOLE_MAKES,   // updates of lamb, piece by piece
	WHOLE_ENDS,    // versions, piece by piece
};

struct whole_squares {
	double a; // gradient; or parameters
	double b; // update
};

// Of a quorum job only squares, factor, stage and what is due.
struct whole_core {
	struct gp_version **held;      // [blocks]; NULL: not there yet, or published
	struct whole_squares *squares; // [blocks]
	float *ratios;		       // [tensors]
	float factor;
	uint32_t count; // blocks held
	uint32_t at;	// of a piece: next block
	uint32_t left;	// tensors without a ratio
	uint8_t stage;
	uint8_t round;
	bool tell_due, more_due; // the ring has had no room yet
};

struct whole_home {
	uint32_t step, view;		  // quorum: the decision's number, and 0
	uint32_t parts[WHOLE_UPDATE + 1]; // per round: cores that have measured all their blocks
	uint8_t round;			  // in hand
	bool adds, sends;
	uint32_t at; // next block to add
	uint32_t tensor;
	struct whole_squares sum;
	uint32_t core; // next to be told
	float factor;
	float *ratios; // [tensors]
};

static inline bool cfg_is_whole(const struct gp_job_config *cfg)
{
	return cfg->kind == GP_KIND_TRAIN &&
	       (cfg->clip_norm > 0 || cfg->optim.kind == GP_OPTIM_LAMB);
}

// Whether workers get no result of a step before its commit.
static inline bool cfg_results_later(const struct gp_job_config *cfg)
{
	return cfg_is_whole(cfg) && cfg->consistency == GP_CONSIST_BSP;
}

// Whether the job may be one.
bool whole_legal(const struct gp_job_config *cfg) GP_MUST_CHECK;
size_t whole_core_size(const struct gp_job_config *cfg, uint32_t blocks, uint32_t tensors);
size_t whole_home_size(const struct gp_job_config *cfg, uint32_t tensors);
// 0 or -ENOMEM; nothing where the job is none.
int whole_core_create(struct job_core *jc, uint32_t tensors, struct gp_arena *arena);
int whole_home_create(struct gp_job *j, struct gp_arena *arena);

// The block's mean is in `v`, which has its header: v waits here.
void whole_hold(struct gp_core *c, struct job_core *jc, uint32_t local, struct gp_version *v);
// A new view.
void whole_abort(struct job_core *jc);
// FACTOR of home, MORE of this core.
void whole_command(struct gp_core *c, struct job_core *jc, const struct cmd *cmd);
// What home and the core itself have not been told yet.
uint32_t whole_tell(struct gp_core *c, struct job_core *jc);

// A quorum job. A commit is to be applied: false, until its factor is known; then what was measured
// is over with whole_async_end.
bool whole_async_ready(struct gp_core *c, struct job_core *jc, uint32_t *work) GP_MUST_CHECK;
void whole_async_end(struct job_core *jc);

// whole_home.c
// Whether cores wait for the factor of an earlier step.
static inline bool whole_is_busy(const struct home *h)
{
	return h->whole && (h->whole->adds || h->whole->sends);
}
void whole_measured(struct job_core *jc, const struct cmd *cmd);
uint32_t whole_home_tick(struct gp_core *c, struct job_core *jc);

#endif
