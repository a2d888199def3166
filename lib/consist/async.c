// SPDX-License-Identifier: BSD-3-Clause
#include "consist_priv.h"

#define MEAN_SHIFT 3 // of the time between arrivals

static bool is_quorum(const struct gp_consist *c)
{
	return c->cfg.mode == GP_CONSIST_QUORUMS;
}

// Cores that own blocks, and so have a part of every push.
static uint32_t parts_needed(const struct gp_consist *c)
{
	return c->cfg.unit_parts[0];
}

void gp_async_start(struct gp_consist *c, const uint32_t *clock, uint32_t step)
{
	struct gp_async *a = &c->async;
	GP_ASSERT(c->cfg.units_count == 1);
	a->closed = step;
	a->started_at = c->decision;
	a->room = GP_ASYNC_UNLIMITED;
	for (uint32_t r = 0; r < GP_RANKS_MAX; r++) {
		a->clock[r] = clock && r < c->cfg.workers ? clock[r] : step;
		a->committed_at[r] = c->decision;
		if (gp_before(a->closed, a->clock[r]))
			a->closed = a->clock[r];
	}
}

void gp_async_resume(struct gp_consist *c, uint32_t updates)
{
	GP_ASSERT(c->view == 0);
	c->async.updates = updates;
	c->async.resumed = true;
}

bool gp_async_keep(struct gp_consist *c, uint32_t rank)
{
	bool keeps = c->async.resumed && c->view == 0 && gp_ranks_has(&c->live, rank);
	if (keeps)
		gp_ranks_add(&c->async.kept, rank);
	return keeps;
}

uint32_t gp_async_clock_min(const struct gp_consist *c, uint32_t *slowest)
{
	uint32_t min = 0;
	*slowest = GP_RANKS_MAX;
	gp_ranks_foreach(r, &c->members)
	{
		if (*slowest != GP_RANKS_MAX && !gp_before(c->async.clock[r], min))
			continue;
		min = c->async.clock[r];
		*slowest = r;
	}
	return min;
}

uint32_t gp_async_clock_max(const struct gp_consist *c)
{
	uint32_t max = 0;
	bool any = false;
	gp_ranks_foreach(r, &c->members)
	{
		if (!any || gp_before(max, c->async.clock[r]))
			max = c->async.clock[r];
		any = true;
	}
	return is_quorum(c) && gp_before(max, c->async.closed) ? c->async.closed : max;
}

uint32_t gp_async_cut(struct gp_consist *c, uint32_t ends, bool snapshot)
{
	GP_ASSERT(gp_consist_is_async(c));
	c->generation++;
	struct gp_decision *d = consist_log_add(c);
	d->kind = GP_DECIDED_CUT;
	d->step = c->generation;
	d->unit = ends;
	d->snapshot = snapshot;
	return c->generation;
}

uint32_t gp_async_backup_cut(struct gp_consist *c, uint32_t ends, uint32_t gate)
{
	uint32_t generation = gp_async_cut(c, ends, false);
	struct gp_decision *d = &c->log[c->decision & c->log_mask];
	d->backup = true;
	d->staleness = gate;
	return generation;
}

// ---- views

bool async_next_members(const struct gp_consist *c, struct gp_ranks *next)
{
	*next = c->live;
	bool lost = gp_ranks_next(&c->lost, 0) < GP_RANKS_MAX;
	bool joined = gp_ranks_next(&c->async.joined, 0) < GP_RANKS_MAX;
	if (c->view == 0)
		return gp_ranks_count(next) >= c->first_need;
	return (lost || joined) && gp_ranks_count(next) >= c->cfg.workers_min;
}

// Who joins is up with the slowest of those who stay, and never at a step in which an earlier life
// of it may have had a share: such a one had its clock's next step under way at most. In quorum it
// takes part in the step in hand; what an earlier life brought for that is dropped with this view.
static uint32_t joiners_step(const struct gp_consist *c, const struct gp_ranks *joined)
{
	const struct gp_async *a = &c->async;
	if (is_quorum(c))
		return a->closed + 1;
	uint32_t min = 0;
	bool any = false;
	gp_ranks_foreach(r, &c->members)
	{
		bool stays = !gp_ranks_has(joined, r);
		uint32_t at = stays ? a->clock[r] : a->clock[r] + 1;
		if (stays && (!any || gp_before(at, min)))
			min = at;
		any |= stays;
	}
	uint32_t step = min;
	gp_ranks_foreach(r, joined)
	{
		// The first life of all began at its clock. Where another server may go on, the
		// clock of who joined anew is never the step that a former life has in hand: it
		// would be taken for that one's commit.
		uint32_t used = a->clock[r] + (c->view > 1 || a->resumed) * (1u + c->cfg.resumable);
		if (!any || gp_before(step, used))
			step = used;
		any = true;
	}
	return step + 1;
}

void async_view(struct gp_consist *c, struct gp_decision *d)
{
	struct gp_async *a = &c->async;
	d->step = joiners_step(c, &d->others);
	c->view_first_step = d->step;
	for (uint32_t r = 0; r < GP_RANKS_MAX; r++) {
		bool joined = gp_ranks_has(&d->others, r);
		if (!joined && gp_ranks_has(&c->members, r))
			continue;
		a->arrival[r][0].used = false;
		a->arrival[r][1].used = false;
		a->cost[r] = 0;
		if (!joined)
			continue;
		a->clock[r] = d->step - 1;
		a->joined_view[r] = c->view;
	}
	a->first_at = a->enough_at = 0;
}

// ---- commits

static void rank_committed(struct gp_consist *c, uint32_t rank, uint32_t step)
{
	if (gp_before(c->async.clock[rank], step))
		c->async.clock[rank] = step;
	c->async.committed_at[rank] = c->decision;
}

static bool commit_one(struct gp_consist *c, uint32_t rank, struct gp_arrival *x)
{
	uint32_t fastest = gp_async_clock_max(c);
	struct gp_decision *d = consist_log_add(c);
	d->kind = GP_DECIDED_COMMIT;
	d->unit = rank;
	d->step = x->step;
	d->ranks = 1;
	d->staleness = gp_before(x->step, fastest) ? fastest - x->step : 0;
	gp_ranks_add(&d->members, rank);
	x->used = false;
	c->async.updates++;
	if (c->async.room != GP_ASYNC_UNLIMITED)
		c->async.room -= c->async.cost[rank];
	c->async.cost[rank] = 0;
	rank_committed(c, rank, d->step);
	return true;
}

void gp_async_limit(struct gp_consist *c, uint32_t room)
{
	c->async.room = room;
}

void gp_async_cost(struct gp_consist *c, uint32_t rank, uint32_t cost)
{
	GP_ASSERT(rank < c->cfg.workers);
	c->async.cost[rank] = GP_MAX(c->async.cost[rank], cost);
}

static struct gp_arrival *arrival_find(struct gp_consist *c, uint32_t rank, uint32_t step)
{
	struct gp_arrival *x = c->async.arrival[rank], *free = NULL;
	for (uint32_t i = 0; i < 2; i++) {
		if (x[i].used && x[i].step == step)
			return &x[i];
		if (!x[i].used)
			free = &x[i];
	}
	// Late pushes that are refused do not wait to become whole.
	if (!free && is_quorum(c) && c->cfg.late_refused)
		free = gp_before(x[0].step, x[1].step) ? &x[0] : &x[1];
	if (!free)
		return NULL;
	*free = (struct gp_arrival){.step = step, .used = true};
	return free;
}

static bool is_whole(const struct gp_consist *c, const struct gp_arrival *x)
{
	return x->used && x->parts == parts_needed(c);
}

bool gp_async_part_done(struct gp_consist *c, uint32_t rank, uint32_t step, uint32_t view)
{
	GP_ASSERT(rank < c->cfg.workers && gp_consist_is_async(c));
	struct gp_async *a = &c->async;
	if (!gp_ranks_has(&c->members, rank) || gp_before(view, a->joined_view[rank]) ||
		!gp_before(a->clock[rank], step))
		return false;
	struct gp_arrival *x = arrival_find(c, rank, step);
	if (!x)
		return false;
	GP_ASSERT(x->parts < parts_needed(c));
	x->parts++;
	if (!is_whole(c, x) || is_quorum(c))
		return false;
	// Steps of a rank are committed in their order.
	if (step != a->clock[rank] + 1 || a->cost[rank] > a->room)
		return false;
	(void)commit_one(c, rank, x);
	struct gp_arrival *y = &a->arrival[rank][x == a->arrival[rank]];
	if (is_whole(c, y) && y->step == step + 1)
		(void)commit_one(c, rank, y);
	return true;
}

// In turn, so that a push which costs much is not always too late.
bool gp_async_commit_waiting(struct gp_consist *c)
{
	struct gp_async *a = &c->async;
	for (uint32_t i = 0; i < c->cfg.workers; i++) {
		uint32_t rank = (a->turn + i) % c->cfg.workers;
		if (!gp_ranks_has(&c->members, rank))
			continue;
		for (uint32_t k = 0; k < 2; k++) {
			struct gp_arrival *x = &a->arrival[rank][k];
			if (!is_whole(c, x) || x->step != a->clock[rank] + 1)
				continue;
			a->turn = rank; // until it has been
			if (a->cost[rank] > a->room)
				return false;
			a->turn = rank + 1;
			return commit_one(c, rank, x);
		}
	}
	return false;
}

// ---- quorum

// Pushes of a rank are used in their order, one late one in a step.
static bool is_oldest(const struct gp_consist *c, uint32_t rank, const struct gp_arrival *x)
{
	const struct gp_arrival *y = &c->async.arrival[rank][x == c->async.arrival[rank]];
	return !y->used || gp_before(x->step, y->step);
}

static uint32_t on_time(const struct gp_consist *c, struct gp_ranks *set, struct gp_ranks *late)
{
	uint32_t n = 0;
	*set = *late = (struct gp_ranks){0};
	gp_ranks_foreach(r, &c->members)
	{
		for (uint32_t i = 0; i < 2; i++) {
			const struct gp_arrival *x = &c->async.arrival[r][i];
			if (!is_whole(c, x))
				continue;
			if (x->step == c->async.closed + 1) {
				gp_ranks_add(set, r);
				n++;
			} else if (!gp_before(c->async.closed, x->step) && is_oldest(c, r, x)) {
				gp_ranks_add(late, r);
			}
		}
	}
	return n;
}

static uint64_t wait_ns(const struct gp_consist *c)
{
	return c->cfg.quorum_wait_ns == UINT64_MAX ? 2 * c->async.gap_ns : c->cfg.quorum_wait_ns;
}

static void close_step(
	struct gp_consist *c, const struct gp_ranks *set, const struct gp_ranks *late, uint32_t n)
{
	struct gp_async *a = &c->async;
	uint32_t step = a->closed + 1;
	struct gp_decision *d = consist_log_add(c);
	d->kind = GP_DECIDED_COMMIT;
	d->unit = gp_ranks_next(set, 0);
	d->step = step;
	d->members = *set;
	d->others = *late;
	d->ranks = (uint16_t)(n + (c->cfg.late_refused ? 0 : gp_ranks_count(late)));
	a->closed = step;
	a->updates++;
	a->first_at = a->enough_at = 0;
	gp_ranks_foreach(r, &c->members)
	{
		struct gp_arrival *x = a->arrival[r];
		bool over[2];
		for (uint32_t i = 0; i < 2; i++)
			over[i] = is_whole(c, &x[i]) && !gp_before(step, x[i].step) &&
				  (x[i].step == step || c->cfg.late_refused ||
					  (gp_ranks_has(late, r) && is_oldest(c, r, &x[i])));
		for (uint32_t i = 0; i < 2; i++) {
			if (!over[i])
				continue;
			x[i].used = false;
			rank_committed(c, r, x[i].step);
		}
	}
}

bool gp_async_try_close(struct gp_consist *c, uint64_t now)
{
	struct gp_async *a = &c->async;
	struct gp_ranks set, late;
	if (!is_quorum(c) || !gp_consist_is_async(c) || c->view == 0)
		return false;
	uint32_t n = on_time(c, &set, &late);
	uint32_t enough = GP_MIN(c->cfg.quorum_min, c->members_count);
	if (n > 0 && a->first_at == 0)
		a->first_at = now;
	if (n < enough)
		return false;
	if (a->enough_at == 0) {
		a->enough_at = now;
		uint64_t gap = now - a->first_at;
		a->gap_ns = a->gap_ns == 0
				    ? gap
				    : a->gap_ns - (a->gap_ns >> MEAN_SHIFT) + (gap >> MEAN_SHIFT);
	}
	if (n < c->members_count && now - a->enough_at < wait_ns(c))
		return false;
	close_step(c, &set, &late, n);
	return true;
}
