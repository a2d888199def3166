// SPDX-License-Identifier: BSD-3-Clause
//
// Contributions of asynchronous jobs: each rank goes through its own places (step, block) at this
// core, and none waits for another's.
#include "embed.h"
#include "engine_priv.h"

// How far a contribution's step may be ahead of what this core knows to be decided of its rank:
// workers learn of a commit from home, perhaps before this core does.
#define STEPS_AHEAD_MAX 2

static struct rank_core *rank_core(const struct job_core *jc, uint32_t rank)
{
	GP_ASSERT(rank < jc->job->cfg->workers);
	return &jc->async->ranks[rank];
}

// ---- direct: applied as they come

static bool here_test(const struct job_core *jc, uint32_t rank, uint32_t at)
{
	const uint64_t *bits = &jc->async->here[(size_t)jc->async->here_words * rank];
	return bits[at / 64] >> (at % 64) & 1;
}

static void here_flip(struct job_core *jc, uint32_t rank, uint32_t at)
{
	jc->async->here[(size_t)jc->async->here_words * rank + at / 64] ^= UINT64_C(1) << (at % 64);
}

static uint32_t place_bit(const struct job_core *jc, uint32_t step, uint32_t local)
{
	return (uint32_t)((uint64_t)step * jc->table.blocks_count + local) & jc->async->here_mask;
}

void async_place_take(struct job_core *jc, uint32_t rank, uint32_t step, uint32_t local)
{
	struct async_core *a = jc->async;
	struct rank_core *rk = rank_core(jc, rank);
	here_flip(jc, rank, place_bit(jc, step, local));
	uint32_t at = place_bit(jc, rk->low_step, rk->low_local);
	while (here_test(jc, rank, at)) {
		here_flip(jc, rank, at);
		if (++rk->low_local == jc->table.blocks_count) {
			rk->low_local = 0;
			rk->low_step++;
			gp_ranks_add(&a->tell, rank);
		}
		at = place_bit(jc, rk->low_step, rk->low_local);
	}
	if (gp_before(a->fastest, rk->low_step))
		a->fastest = rk->low_step;
}

// Steps that the fastest rank has completed here since `step`.
static uint32_t staleness(const struct job_core *jc, uint32_t step)
{
	uint32_t fastest = jc->async->fastest - 1;
	return gp_before(step, fastest) ? fastest - step : 0;
}

static enum gp_verdict direct_apply(struct gp_core *c, struct job_core *jc, uint32_t local,
	const struct gp_header *h, const struct part *part)
{
	const struct gp_job_config *cfg = jc->job->cfg;
	uint32_t late = staleness(jc, h->step);
	bool too_late = late > cfg->stale_max;
	if (too_late && cfg->stale == GP_STALE_REFUSE)
		return GP_VERDICT_STALE;
	if (part->weight == 0)
		return GP_VERDICT_PUSH;
	c->contribs[0] = (struct gp_contrib){
		.payload = part->payload,
		.len = part->len,
		.weight = part->weight,
		.scale = too_late && cfg->stale == GP_STALE_SCALE ? 1.0f / (1.0f + (float)late)
								  : 1.0f,
		.rank = h->rank,
		.codec = part->codec,
	};
	if (!async_update(c, jc, local, 1, c->contribs, late))
		return GP_VERDICT_PUSH_BUSY;
	return GP_VERDICT_PUSH;
}

// What the backup is told of a rank is its clock and the step after that. Nobody who hears of his
// commits behind the gate is further.
static bool is_gated(const struct gp_core *c, const struct job_core *jc)
{
	const struct job_status *st = &c->engine->status[jc->job->idx];
	return jc->job->cfg->replicated && atomic_load_explicit(&st->gated, memory_order_relaxed);
}

static enum gp_verdict direct_block(struct gp_core *c, struct job_core *jc, uint32_t local,
	const struct gp_header *h, const struct part *part)
{
	const struct rank_core *rk = rank_core(jc, h->rank);
	if (gp_before(h->step, rk->low_step))
		return GP_VERDICT_PUSH_DUPLICATE;
	if (h->step - rk->clock > STEPS_AHEAD_MAX)
		return GP_VERDICT_TOO_EARLY;
	if (h->step != rk->clock + 1 && is_gated(c, jc))
		return GP_VERDICT_PUSH_BUSY;
	int64_t d =
		(int64_t)(h->step - rk->low_step) * jc->table.blocks_count + local - rk->low_local;
	if (d < 0)
		return GP_VERDICT_PUSH_DUPLICATE;
	if (d > jc->slot_mask)
		return GP_VERDICT_PUSH_BUSY;
	if (here_test(jc, h->rank, place_bit(jc, h->step, local)))
		return GP_VERDICT_PUSH_DUPLICATE;
	enum gp_verdict v = direct_apply(c, jc, local, h, part);
	if (v != GP_VERDICT_PUSH_BUSY)
		async_place_take(jc, h->rank, h->step, local);
	return v;
}

// ---- staged: copied to the rank's place until home commits the whole push

static struct stage *stage_find(struct job_core *jc, uint32_t rank, uint32_t step)
{
	const struct async_core *a = jc->async;
	struct stage *stages = &a->stages[rank * a->stages_per_rank], *free = NULL, *oldest = NULL;
	for (uint32_t i = 0; i < a->stages_per_rank; i++) {
		struct stage *s = &stages[i];
		if (s->used && s->step == step)
			return s;
		if (!s->used)
			free = s;
		else if (!oldest || gp_before(s->step, oldest->step))
			oldest = s;
	}
	// A late push that nobody waits for makes room for the next one; while a commit is under
	// way it may be part of that.
	if (!free && oldest && jc->job->cfg->consistency == GP_CONSIST_QUORUM &&
		jc->job->cfg->stale == GP_STALE_REFUSE && !a->applying &&
		!gp_before(a->closed, oldest->step))
		free = oldest;
	if (!free)
		return NULL;
	*free = (struct stage){
		.step = step, .used = true, .blocks = free->blocks, .payload = free->payload};
	memset(free->blocks, 0, sizeof(free->blocks[0]) * jc->table.blocks_count);
	return free;
}

static enum gp_verdict staged_block(
	struct job_core *jc, uint32_t local, const struct gp_header *h, const struct part *part)
{
	struct async_core *a = jc->async;
	const struct rank_core *rk = rank_core(jc, h->rank);
	bool quorum = jc->job->cfg->consistency == GP_CONSIST_QUORUM;
	uint32_t known = quorum ? a->closed : rk->clock;
	if (!gp_before(rk->clock, h->step))
		return GP_VERDICT_PUSH_DUPLICATE;
	if (gp_before(known, h->step) && h->step - known > STEPS_AHEAD_MAX)
		return GP_VERDICT_TOO_EARLY;
	if (quorum && jc->job->cfg->stale == GP_STALE_REFUSE && !gp_before(a->closed, h->step))
		return GP_VERDICT_STALE;
	struct stage *s = stage_find(jc, h->rank, h->step);
	if (!s)
		return GP_VERDICT_PUSH_BUSY;
	struct staged_block *b = &s->blocks[local];
	if (b->here)
		return GP_VERDICT_PUSH_DUPLICATE;
	GP_ASSERT(part->len <= a->stage_stride);
	*b = (struct staged_block){
		.len = part->len, .weight = part->weight, .codec = part->codec, .here = true};
	if (part->len > 0)
		memcpy(s->payload + (size_t)a->stage_stride * local, part->payload, part->len);
	if (jc->embed)
		embed_hold(jc, h->rank, s, local);
	if (++s->count == jc->table.blocks_count)
		gp_ranks_add(&a->tell, h->rank);
	return GP_VERDICT_PUSH;
}

enum gp_verdict async_push_block(struct gp_core *c, struct job_core *jc, uint32_t local,
	const struct gp_header *h, const struct part *part)
{
	if (cfg_is_staged(jc->job->cfg))
		return staged_block(jc, local, h, part);
	return direct_block(c, jc, local, h, part);
}

// ---- what is whole here

// False: the ring has no room.
static bool whole_tell(
	struct gp_core *c, struct job_core *jc, uint32_t rank, uint32_t step, uint32_t cost)
{
	const struct cmd cmd = {.type = CMD_PART_DONE,
		.core = (uint8_t)c->idx,
		.job = jc->job->cfg->id,
		.unit = rank,
		.step = step,
		.view = jc->view,
		.session = cost};
	return gp_ring_push(c->to_core[jc->job->home_core], &cmd);
}

// The oldest whole push that home does not know of.
static struct stage *stage_untold(const struct job_core *jc, uint32_t rank)
{
	const struct async_core *a = jc->async;
	struct stage *found = NULL;
	for (uint32_t i = 0; i < a->stages_per_rank; i++) {
		struct stage *s = &a->stages[rank * a->stages_per_rank + i];
		bool whole = s->used && !s->told && s->count == jc->table.blocks_count;
		if (whole && (!found || gp_before(s->step, found->step)))
			found = s;
	}
	return found;
}

static uint32_t rank_tell(struct gp_core *c, struct job_core *jc, uint32_t rank)
{
	struct async_core *a = jc->async;
	struct rank_core *rk = &a->ranks[rank];
	uint32_t sent = 0;
	for (; gp_before(rk->told + 1, rk->low_step); sent++, rk->told++)
		if (!whole_tell(c, jc, rank, rk->told + 1, 0))
			return sent;
	for (struct stage *s; (s = stage_untold(jc, rank)) != NULL; sent++) {
		bool counts = jc->embed && jc->job->cfg->replicated;
		uint32_t cost = counts ? embed_point_cost(jc, s) : 0;
		if (!whole_tell(c, jc, rank, s->step, cost))
			return sent;
		s->told = true;
	}
	gp_ranks_del(&a->tell, rank);
	return sent;
}

uint32_t async_tell_home(struct gp_core *c, struct job_core *jc)
{
	struct async_core *a = jc->async;
	uint32_t sent = 0;
	struct gp_ranks tell = a->tell;
	gp_ranks_foreach(r, &tell) sent += rank_tell(c, jc, r);
	if (a->point_seen_due) {
		const struct cmd seen = {.type = CMD_POINT_SEEN,
			.core = (uint8_t)c->idx,
			.job = jc->job->cfg->id,
			.step = a->point_seen};
		a->point_seen_due = !gp_ring_push(c->to_core[jc->job->home_core], &seen);
		sent += !a->point_seen_due;
	}
	if (jc->embed && jc->embed->point_wanted_due) {
		const struct cmd wanted = {.type = CMD_POINT_SEEN,
			.core = (uint8_t)c->idx,
			.job = jc->job->cfg->id,
			.unit = POINT_WANTED};
		jc->embed->point_wanted_due =
			!gp_ring_push(c->to_core[jc->job->home_core], &wanted);
	}
	if (!a->applied_due)
		return sent;
	const struct cmd cmd = {.type = CMD_APPLIED,
		.core = (uint8_t)c->idx,
		.job = jc->job->cfg->id,
		.step = a->applies.number};
	if (gp_ring_push(c->to_core[jc->job->home_core], &cmd)) {
		a->applied_due = false;
		sent++;
	}
	return sent;
}
