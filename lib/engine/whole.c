// SPDX-License-Identifier: BSD-3-Clause
//
// A core's side of updates that need the whole step.
#include "whole.h"

#include "engine_priv.h"

#include <errno.h>

static bool clips(const struct job_core *jc)
{
	return jc->job->cfg->clip_norm > 0;
}

static bool is_lamb(const struct job_core *jc)
{
	return jc->job->cfg->optim.kind == GP_OPTIM_LAMB;
}

bool whole_legal(const struct gp_job_config *cfg)
{
	bool asked = cfg->clip_norm != 0 ||
		     (cfg->kind != GP_KIND_REDUCE && cfg->optim.kind == GP_OPTIM_LAMB);
	if (!asked)
		return true;
	bool lamb = cfg->optim.kind == GP_OPTIM_LAMB;
	bool meet = cfg->consistency == GP_CONSIST_BSP ||
		    (cfg->consistency == GP_CONSIST_QUORUM && !lamb);
	return cfg->kind == GP_KIND_TRAIN && meet && cfg->atomicity == GP_ATOM_STEP &&
	       cfg->clip_norm >= 0;
}

// ---- memory

size_t whole_core_size(const struct gp_job_config *cfg, uint32_t blocks, uint32_t tensors)
{
	if (!cfg_is_whole(cfg))
		return 0;
	return sizeof(struct whole_core) + sizeof(float) * tensors +
	       (sizeof(struct gp_version *) + sizeof(struct whole_squares)) * (size_t)blocks +
	       4 * (size_t)GP_CACHE_LINE;
}

int whole_core_create(struct job_core *jc, uint32_t tensors, struct gp_arena *arena)
{
	size_t blocks = jc->table.blocks_count;
	if (!cfg_is_whole(jc->job->cfg))
		return 0;
	struct whole_core *w = gp_arena_take(arena, sizeof(*w), GP_CACHE_LINE);
	if (!w)
		return -ENOMEM;
	w->held = gp_arena_take(arena, sizeof(struct gp_version *) * blocks, GP_CACHE_LINE);
	w->squares = gp_arena_take(arena, sizeof(*w->squares) * blocks, GP_CACHE_LINE);
	w->ratios = gp_arena_take(arena, sizeof(float) * tensors, GP_CACHE_LINE);
	if (!w->held || !w->squares || !w->ratios)
		return -ENOMEM;
	w->factor = 1.0f;
	jc->whole = w;
	return 0;
}

// ---- one block

static const struct gp_optim_plan *plan_of(struct job_core *jc, uint32_t step)
{
	if (!jc->plan.kernel || jc->plan.step != step)
		gp_optim_plan_init(&jc->plan, &jc->job->cfg->optim, step);
	return &jc->plan;
}

// What the update reads and writes, with the gradient or the update times `factor` in memory of its
// own.
static struct gp_optim_block block_of(
	struct gp_core *c, const struct job_core *jc, uint32_t local, float factor)
{
	const struct gp_table *t = &jc->table;
	const struct gp_block *b = &t->blocks[local];
	struct gp_version *v = jc->whole->held[local];
	struct gp_version *old = gp_block_visible(b, jc->committed[b->unit]);
	GP_ASSERT(v && old && old->step + 1 == v->step);
	gp_aggr_times(c->scratch, gp_version_values(v), b->elems, factor);
	bool state = t->states_count > 0;
	return (struct gp_optim_block){
		.grad = c->scratch,
		.w = gp_version_values(old),
		.state = state ? gp_version_state(t, old, 0) : NULL,
		.w_out = gp_version_values(v),
		.state_out = state ? gp_version_state(t, v, 0) : NULL,
		.elems = b->elems,
		.stride = t->elems_max,
		.step = v->step,
		.lr_scale = 1.0f,
	};
}

// Nobody contributed to it: it stays what it was, and is in no norm.
static bool is_passed(const struct gp_version *v)
{
	return v->weight == 0;
}

// lamb: the update takes the place of the gradient.
static void update_make(struct gp_core *c, struct job_core *jc, uint32_t local)
{
	struct whole_core *w = jc->whole;
	const struct gp_version *v = w->held[local];
	w->squares[local] = (struct whole_squares){0};
	if (is_passed(v))
		return;
	const struct gp_optim_block b = block_of(c, jc, local, w->factor);
	gp_optim_run(plan_of(jc, b.step), &b);
	w->squares[local] = (struct whole_squares){
		gp_aggr_squares(b.w, b.elems), gp_aggr_squares(b.w_out, b.elems)};
}

static void block_end(struct gp_core *c, struct job_core *jc, uint32_t local)
{
	struct whole_core *w = jc->whole;
	struct gp_block *b = &jc->table.blocks[local];
	struct gp_version *v = w->held[local];
	struct gp_optim_block ob = block_of(c, jc, local, is_lamb(jc) ? 1.0f : w->factor);
	if (is_passed(v)) {
		memcpy(gp_version_values(v), ob.w,
			sizeof(float) * jc->table.elems_max * (1 + jc->table.states_count));
	} else if (is_lamb(jc)) {
		ob.lr_scale = w->ratios[b->tensor];
		gp_optim_lamb_end(&jc->job->cfg->optim, &ob);
	} else {
		gp_optim_run(plan_of(jc, ob.step), &ob);
	}
	w->held[local] = NULL;
	gp_table_publish(&jc->table, b, v);
	unit_block_done(jc, b->unit);
}

// ---- the step

static void measured(struct job_core *jc, enum whole_round round)
{
	struct whole_core *w = jc->whole;
	w->stage = WHOLE_WAITS;
	w->round = (uint8_t)round;
	w->left = jc->job->tensors_count;
	w->tell_due = true;
}

void whole_hold(struct gp_core *c, struct job_core *jc, uint32_t local, struct gp_version *v)
{
	struct whole_core *w = jc->whole;
	struct gp_block *b = &jc->table.blocks[local];
	GP_ASSERT(w->stage == WHOLE_GATHERS && !w->held[local]);
	w->held[local] = v;
	b->done_step = v->step;
	if (!clips(jc))
		update_make(c, jc, local);
	else
		w->squares[local] = (struct whole_squares){
			.a = gp_aggr_squares(gp_version_values(v), b->elems)};
	if (++w->count == jc->table.blocks_count)
		measured(jc, clips(jc) ? WHOLE_GRADIENT : WHOLE_UPDATE);
}

static void stage_set(struct whole_core *w, enum whole_stage stage)
{
	w->stage = (uint8_t)stage;
	w->at = 0;
	w->more_due = stage == WHOLE_MAKES || stage == WHOLE_ENDS;
}

static void start_over(struct whole_core *w)
{
	stage_set(w, WHOLE_GATHERS);
	w->count = 0;
	w->tell_due = false;
	w->factor = 1.0f;
}

void whole_abort(struct job_core *jc)
{
	struct whole_core *w = jc->whole;
	for (uint32_t i = 0; i < jc->table.blocks_count; i++) {
		struct gp_block *b = &jc->table.blocks[i];
		if (!w->held[i])
			continue;
		gp_table_untake(&jc->table, w->held[i]);
		w->held[i] = NULL;
		b->done_step = jc->committed[b->unit];
	}
	start_over(w);
}

static float factor_of(const struct cmd *cmd)
{
	float factor;
	memcpy(&factor, &cmd->rank, sizeof(factor));
	return factor;
}

static void factor_take(struct job_core *jc, const struct cmd *cmd)
{
	struct whole_core *w = jc->whole;
	const float factor = factor_of(cmd);
	bool gradient = cmd->unit == WHOLE_ALL;
	if (w->stage != WHOLE_WAITS || gradient != (w->round == WHOLE_GRADIENT))
		return;
	if (gradient) {
		w->factor = factor;
		stage_set(w, is_lamb(jc) ? WHOLE_MAKES : WHOLE_ENDS);
		return;
	}
	GP_ASSERT(cmd->unit < jc->job->tensors_count && w->left > 0);
	w->ratios[cmd->unit] = factor;
	if (--w->left == 0)
		stage_set(w, WHOLE_ENDS);
}

static void piece_make(struct gp_core *c, struct job_core *jc)
{
	struct whole_core *w = jc->whole;
	uint32_t blocks = jc->table.blocks_count, end = GP_MIN(w->at + WHOLE_PIECE, blocks);
	bool ends = w->stage == WHOLE_ENDS;
	for (; w->at < end; w->at++) {
		if (ends)
			block_end(c, jc, w->at);
		else
			update_make(c, jc, w->at);
	}
	if (w->at < blocks)
		w->more_due = true;
	else if (ends)
		start_over(w);
	else
		measured(jc, WHOLE_UPDATE);
}

// ---- a quorum job: the commit is there, and goes twice over what is staged

bool whole_async_ready(struct gp_core *c, struct job_core *jc, uint32_t *work)
{
	struct whole_core *w = jc->whole;
	uint32_t blocks = jc->table.blocks_count, end = GP_MIN(w->at + WHOLE_PIECE, blocks);
	if (w->stage == WHOLE_ENDS || blocks == 0)
		return true;
	if (w->stage == WHOLE_WAITS)
		return false;
	for (; w->at < end; w->at++, ++*work)
		w->squares[w->at] = (struct whole_squares){.a = async_squares(c, jc, w->at)};
	if (w->at == blocks) {
		w->stage = WHOLE_WAITS;
		w->round = WHOLE_GRADIENT;
		w->tell_due = true;
		++*work;
	}
	return false;
}

void whole_async_end(struct job_core *jc)
{
	start_over(jc->whole);
}

// In a replay it may come before all is measured.
static void async_factor_take(struct job_core *jc, const struct cmd *cmd)
{
	struct whole_core *w = jc->whole;
	if (!jc->async->applying || cmd->step != jc->async->applies.number ||
		cmd->unit != WHOLE_ALL || cmd->type != CMD_FACTOR)
		return;
	w->factor = factor_of(cmd);
	w->stage = WHOLE_ENDS;
	w->tell_due = false;
}

void whole_command(struct gp_core *c, struct job_core *jc, const struct cmd *cmd)
{
	const struct whole_core *w = jc->whole;
	GP_ASSERT(w);
	if (core_is_async(jc)) {
		async_factor_take(jc, cmd);
		return;
	}
	if (cmd->view != jc->view || cmd->step != jc->generation + 1)
		return; // of an attempt that is void
	if (cmd->type == CMD_FACTOR)
		factor_take(jc, cmd);
	else if (w->stage == WHOLE_MAKES || w->stage == WHOLE_ENDS)
		piece_make(c, jc);
}

uint32_t whole_tell(struct gp_core *c, struct job_core *jc)
{
	struct whole_core *w = jc->whole;
	bool async = core_is_async(jc);
	struct cmd cmd = {.core = (uint8_t)c->idx,
		.job = jc->job->cfg->id,
		.step = async ? jc->async->applies.number : jc->generation + 1,
		.view = async ? 0 : jc->view,
		.unit = w->round};
	uint32_t sent = 0;
	cmd.type = CMD_MEASURED;
	if (w->tell_due && gp_ring_push(c->to_core[jc->job->home_core], &cmd)) {
		w->tell_due = false;
		sent++;
	}
	cmd.type = CMD_MORE;
	if (w->more_due && gp_ring_push(c->to_core[c->idx], &cmd)) {
		w->more_due = false;
		sent++;
	}
	return sent;
}
