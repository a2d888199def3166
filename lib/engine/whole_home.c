// SPDX-License-Identifier: BSD-3-Clause
//
// Home's side of updates that need the whole step: it adds what the cores have measured, in the
// order of the blocks, so that the result does not depend on how many cores there are.
#include "whole.h"

#include "engine_priv.h"

#include <errno.h>
#include <math.h>

size_t whole_home_size(const struct gp_job_config *cfg, uint32_t tensors)
{
	if (!cfg_is_whole(cfg))
		return 0;
	return sizeof(struct whole_home) + sizeof(float) * tensors + 2 * GP_CACHE_LINE;
}

int whole_home_create(struct gp_job *j, struct gp_arena *arena)
{
	if (!cfg_is_whole(j->cfg))
		return 0;
	struct whole_home *w = gp_arena_take(arena, sizeof(*w), GP_CACHE_LINE);
	if (!w)
		return -ENOMEM;
	w->ratios = gp_arena_take(arena, sizeof(float) * j->tensors_count, GP_CACHE_LINE);
	j->home->whole = w;
	return w->ratios ? 0 : -ENOMEM;
}

// Whether the attempt that is measured is the one in hand; what a quorum has committed is.
static bool is_current(const struct gp_consist *x, uint32_t step, uint32_t view)
{
	return gp_consist_is_async(x) || (view == x->view && step == x->generation + 1);
}

void whole_measured(struct job_core *jc, const struct cmd *cmd)
{
	struct whole_home *w = jc->job->home->whole;
	GP_ASSERT(w && cmd->unit >= WHOLE_GRADIENT && cmd->unit <= WHOLE_UPDATE);
	if (!is_current(&jc->job->home->consist, cmd->step, cmd->view))
		return;
	if (w->step != cmd->step || w->view != cmd->view) {
		*w = (struct whole_home){.step = cmd->step, .view = cmd->view, .ratios = w->ratios};
	}
	w->parts[cmd->unit]++;
}

// A core may have the next round behind it before the last one has been told of this.
static void round_begin(const struct gp_job *j, struct whole_home *w)
{
	uint32_t round =
		w->parts[WHOLE_GRADIENT] == j->unit_parts[0] ? WHOLE_GRADIENT : WHOLE_UPDATE;
	if (w->parts[round] != j->unit_parts[0])
		return;
	w->parts[round] = 0;
	w->round = (uint8_t)round;
	w->adds = true;
	w->at = w->tensor = w->core = 0;
	w->sum = (struct whole_squares){0};
}

// ---- adding

static struct whole_squares squares_of(const struct gp_job *j, uint32_t block)
{
	return j->cores[job_owner(j, block)].whole->squares[job_local(j, block)];
}

static void tensor_end(const struct gp_job *j, struct whole_home *w)
{
	const struct job_tensor *t = &j->tensors[w->tensor];
	if (w->round != WHOLE_UPDATE || w->at < t->first_block + t->blocks_count)
		return;
	w->ratios[w->tensor++] = gp_optim_lamb_ratio(w->sum.a, w->sum.b);
	w->sum = (struct whole_squares){0};
}

static void squares_add(const struct gp_job *j, struct whole_home *w)
{
	uint32_t end = GP_MIN(w->at + WHOLE_SUM, j->blocks_count);
	while (w->at < end) {
		const struct whole_squares s = squares_of(j, w->at++);
		w->sum.a += s.a;
		w->sum.b += s.b;
		tensor_end(j, w);
	}
	if (w->at < j->blocks_count)
		return;
	if (w->round == WHOLE_GRADIENT)
		w->factor = gp_aggr_clamp(sqrt(w->sum.a), j->cfg->clip_norm);
	w->adds = false;
	w->sends = true;
	w->tensor = 0;
}

// ---- telling

// False: the core's ring is full.
static bool factor_send(struct gp_core *c, const struct job_core *jc, uint32_t core)
{
	const struct whole_home *w = jc->job->home->whole;
	bool gradient = w->round == WHOLE_GRADIENT;
	struct cmd cmd = {.type = CMD_FACTOR,
		.core = (uint8_t)c->idx,
		.job = jc->job->cfg->id,
		.step = w->step,
		.view = w->view,
		.unit = gradient ? WHOLE_ALL : w->tensor};
	memcpy(&cmd.rank, gradient ? &w->factor : &w->ratios[w->tensor], sizeof(cmd.rank));
	return gp_ring_push(c->to_core[core], &cmd);
}

static void factors_send(struct gp_core *c, const struct job_core *jc)
{
	struct whole_home *w = jc->job->home->whole;
	uint32_t count = w->round == WHOLE_GRADIENT ? 1 : jc->job->tensors_count;
	for (; w->core < c->engine->cfg.cores_count; w->core++) {
		bool owns = jc->job->cores[w->core].table.blocks_count > 0;
		for (; owns && w->tensor < count; w->tensor++)
			if (!factor_send(c, jc, w->core))
				return;
		w->tensor = 0;
	}
	w->sends = false;
}

uint32_t whole_home_tick(struct gp_core *c, struct job_core *jc)
{
	struct whole_home *w = jc->job->home->whole;
	if (!w->adds && !w->sends)
		round_begin(jc->job, w);
	if (!w->adds && !w->sends)
		return 0;
	if (!is_current(&jc->job->home->consist, w->step, w->view)) {
		w->adds = w->sends = false;
		return 0;
	}
	if (w->adds)
		squares_add(jc->job, w);
	if (w->sends)
		factors_send(c, jc);
	return 1;
}
