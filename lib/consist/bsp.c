// SPDX-License-Identifier: BSD-3-Clause
#include "consist_priv.h"

#include <errno.h>

#define LOG_SIZE_MIN 1024
// What the decisions and units after the one in hand need is fetched so many ahead.
#define LOG_AHEAD   16
#define UNITS_AHEAD 64

static uint32_t log_size(uint32_t units_count)
{
	return (uint32_t)gp_pow2_up(GP_MAX((uint64_t)LOG_SIZE_MIN, (uint64_t)units_count * 4));
}

size_t gp_consist_size(uint32_t units_count)
{
	return (sizeof(uint32_t) + sizeof(uint16_t)) * (size_t)units_count +
	       sizeof(struct gp_decision) * log_size(units_count) + 4 * (size_t)GP_CACHE_LINE;
}

int gp_consist_init(
	struct gp_consist *c, const struct gp_consist_config *cfg, struct gp_arena *arena)
{
	GP_ASSERT(cfg->units_count > 0 && cfg->workers > 0 && cfg->workers_min > 0);
	GP_ASSERT(cfg->workers_min <= cfg->workers && cfg->workers <= GP_RANKS_MAX);
	uint32_t log_count = log_size(cfg->units_count);
	*c = (struct gp_consist){
		.cfg = *cfg,
		.generation = cfg->generation,
		.first_need = cfg->workers,
		.view_first_step = cfg->generation + 1,
		.decision = cfg->first_decision,
		.log_mask = log_count - 1,
		.lowest = GP_RANKS_MAX,
		.committed = gp_arena_take(
			arena, sizeof(uint32_t) * (size_t)cfg->units_count, GP_CACHE_LINE),
		.parts = gp_arena_take(
			arena, sizeof(uint16_t) * (size_t)cfg->units_count, GP_CACHE_LINE),
		.log = gp_arena_take(arena, sizeof(struct gp_decision) * log_count, GP_CACHE_LINE),
	};
	if (!c->committed || !c->parts || !c->log)
		return -ENOMEM;
	for (uint32_t u = 0; u < cfg->units_count; u++)
		c->committed[u] = cfg->generation;
	memset(c->counted, 0xff, sizeof(c->counted));
	return 0;
}

void gp_consist_join(struct gp_consist *c, uint32_t rank, uint32_t incarnation)
{
	gp_ranks_add(&c->live, rank);
	gp_ranks_add(&c->async.joined, rank);
	if (gp_before(c->admitted, incarnation))
		c->admitted = incarnation;
}

void gp_consist_lose(struct gp_consist *c, uint32_t rank)
{
	gp_ranks_del(&c->live, rank);
	gp_ranks_del(&c->async.joined, rank);
	gp_ranks_del(&c->async.kept, rank);
	if (gp_ranks_has(&c->members, rank))
		gp_ranks_add(&c->lost, rank);
}

bool gp_consist_room(const struct gp_consist *c, uint32_t delivered)
{
	return c->decision - delivered <= c->log_mask / 2;
}

const struct gp_decision *gp_consist_log(const struct gp_consist *c, uint32_t number)
{
	const struct gp_decision *d = &c->log[number & c->log_mask];
	return d->kind != 0 && d->number == number ? d : NULL;
}

// Decisions come one after the other, each in a place that was used long ago.
struct gp_decision *consist_log_add(struct gp_consist *c)
{
	const struct gp_decision *ahead = &c->log[(c->decision + LOG_AHEAD) & c->log_mask];
	__builtin_prefetch(ahead, 1);
	__builtin_prefetch((const uint8_t *)(ahead + 1) - 1, 1);
	struct gp_decision *d = &c->log[++c->decision & c->log_mask];
	*d = (struct gp_decision){
		.number = c->decision,
		.view = c->view,
		.ranks = (uint16_t)c->members_count,
		.lowest = (uint16_t)c->lowest,
	};
	return d;
}

static void counted_note(struct gp_consist *c)
{
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(c->members.w); i++)
		c->counted[1].w[i] &= c->members.w[i];
	if (++c->units_done < c->cfg.units_count)
		return;
	c->units_done = 0;
	c->generation++;
	c->counted[0] = c->counted[1];
	memset(&c->counted[1], 0xff, sizeof(c->counted[1]));
}

bool gp_consist_part_done(struct gp_consist *c, uint32_t unit, uint32_t step, uint32_t view)
{
	GP_ASSERT(unit < c->cfg.units_count && !gp_consist_is_async(c));
	if (c->view == 0 || view != c->view || step != c->committed[unit] + 1)
		return false;
	GP_ASSERT(c->parts[unit] < c->cfg.unit_parts[unit]);
	if (++c->parts[unit] < c->cfg.unit_parts[unit])
		return false;

	__builtin_prefetch(&c->parts[unit + UNITS_AHEAD], 1);
	__builtin_prefetch(&c->committed[unit + UNITS_AHEAD], 1);
	__builtin_prefetch(&c->cfg.unit_parts[unit + UNITS_AHEAD]);
	c->parts[unit] = 0;
	c->committed[unit] = step;
	struct gp_decision *d = consist_log_add(c);
	d->kind = GP_DECIDED_COMMIT;
	d->unit = unit;
	d->step = step;
	// A unit runs at most one step ahead of the others: no rank starts a step before it holds
	// all of the one before.
	GP_ASSERT(step == c->generation + 1);
	counted_note(c);
	if (c->units_done == 0 && c->cfg.mode != GP_CONSIST_SYNC)
		gp_async_start(c, NULL, c->generation);
	return true;
}

// The members that the next view would have; false when there is none to make now.
static bool next_members(const struct gp_consist *c, struct gp_ranks *next)
{
	bool boundary = c->units_done == 0;
	*next = c->live;
	if (c->view == 0)
		return gp_ranks_count(next) >= c->first_need;

	struct gp_ranks survivors;
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(survivors.w); i++)
		survivors.w[i] = c->members.w[i] & ~c->lost.w[i];
	bool lost = gp_ranks_next(&c->lost, 0) < GP_RANKS_MAX;
	bool enough = gp_ranks_count(&survivors) >= c->cfg.workers_min;
	if (lost && enough && !boundary)
		*next = survivors;
	if (!lost && (!boundary || gp_ranks_equal(next, &c->members)))
		return false;
	return gp_ranks_count(next) >= c->cfg.workers_min;
}

bool gp_consist_try_view(struct gp_consist *c)
{
	struct gp_ranks next;
	bool async = gp_consist_is_async(c);
	if (!(async ? async_next_members(c, &next) : next_members(c, &next)))
		return false;
	c->members = next;
	c->members_count = gp_ranks_count(&next);
	c->lowest = gp_ranks_next(&next, 0);
	c->lost = (struct gp_ranks){0};
	c->view++;
	c->view_first_step = c->generation + 1;
	memset(c->parts, 0, sizeof(c->parts[0]) * c->cfg.units_count);

	struct gp_decision *d = consist_log_add(c);
	d->kind = GP_DECIDED_VIEW;
	d->step = c->view_first_step;
	d->members = c->members;
	d->admitted = c->admitted;
	d->others = c->async.joined;
	gp_ranks_foreach(r, &c->async.kept) gp_ranks_del(&d->others, r);
	if (async)
		async_view(c, d);
	gp_ranks_foreach(r, &c->members) gp_ranks_del(&c->async.joined, r);
	c->async.kept = (struct gp_ranks){0};
	c->view_decided = *d;
	return true;
}

uint32_t gp_consist_cut(struct gp_consist *c)
{
	// Units already a step ahead pin that step; the others follow. No unit can pass it before
	// every core has this decision, because decisions are applied in order.
	uint32_t step = c->generation + (c->units_done > 0 ? 1 : 0);
	if (step == UINT32_MAX)
		return UINT32_MAX;
	struct gp_decision *d = consist_log_add(c);
	d->kind = GP_DECIDED_CUT;
	d->unit = GP_NO_CUT;
	d->snapshot = true;
	d->step = step;
	return step;
}

void gp_consist_stop(struct gp_consist *c)
{
	struct gp_decision *d = consist_log_add(c);
	d->kind = GP_DECIDED_STOP;
	d->step = (gp_consist_is_async(c) ? gp_async_clock_max(c) : c->generation) + 1;
}
