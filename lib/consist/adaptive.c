// SPDX-License-Identifier: BSD-3-Clause
#include "gp_adaptive.h"

#include <stdlib.h>

#define WAITED_HIGH_PERMILLE	 100
#define WAITED_LOW_PERMILLE	 20
#define STRAGGLING_HIGH_PERMILLE 1250
#define VOTES_TO_MOVE		 2
#define MEAN_SHIFT		 2

void gp_adaptive_init(struct gp_adaptive *a, uint32_t bound_min, uint32_t bound_max)
{
	GP_ASSERT(bound_min <= bound_max);
	*a = (struct gp_adaptive){
		.bound = bound_min, .bound_min = bound_min, .bound_max = bound_max};
}

void gp_adaptive_waited(struct gp_adaptive *a, uint64_t ns)
{
	a->waited_ns += ns;
}

void gp_adaptive_forget(struct gp_adaptive *a, uint32_t rank)
{
	GP_ASSERT(rank < GP_RANKS_MAX);
	a->last_commit[rank] = 0;
	a->step_ns[rank] = 0;
}

static int time_compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

// Slowest / median of the ranks that have been measured; 1000 when there are fewer than two.
static uint32_t straggling_permille(const struct gp_adaptive *a, const struct gp_ranks *members)
{
	uint64_t times[GP_RANKS_MAX];
	uint32_t n = 0;
	gp_ranks_foreach(r, members) if (a->step_ns[r] > 0) times[n++] = a->step_ns[r];
	if (n < 2)
		return 1000;
	qsort(times, n, sizeof(times[0]), time_compare);
	uint64_t ratio = times[n - 1] * 1000 / times[(n - 1) / 2];
	return (uint32_t)GP_MIN(ratio, UINT32_MAX);
}

static void window_begin(struct gp_adaptive *a, uint64_t now)
{
	a->window_since = now;
	a->commits = 0;
	a->waited_ns = 0;
	a->staleness_sum = 0;
}

static int32_t window_vote(const struct gp_adaptive *a, const struct gp_adaptive_move *m)
{
	if (m->waited_permille > WAITED_HIGH_PERMILLE &&
		m->straggling_permille > STRAGGLING_HIGH_PERMILLE && a->bound < a->bound_max)
		return 1;
	if (m->waited_permille < WAITED_LOW_PERMILLE && a->bound > a->bound_min &&
		m->staleness_milli < (uint64_t)a->bound * 1000)
		return -1;
	return 0;
}

static uint32_t bound_wider(const struct gp_adaptive *a)
{
	uint64_t next = a->bound == 0 ? 1 : gp_pow2_up((uint64_t)a->bound + 1);
	return (uint32_t)GP_MIN(next, a->bound_max);
}

static bool window_end(struct gp_adaptive *a, const struct gp_ranks *members, uint64_t now,
	struct gp_adaptive_move *m)
{
	uint64_t span = GP_MAX((now - a->window_since) * gp_ranks_count(members), 1);
	*m = (struct gp_adaptive_move){
		.from = a->bound,
		.to = a->bound,
		.waited_permille = (uint32_t)GP_MIN(a->waited_ns * 1000 / span, 1000),
		.straggling_permille = straggling_permille(a, members),
		.staleness_milli =
			(uint32_t)GP_MIN(a->staleness_sum * 1000 / a->commits, UINT32_MAX),
	};
	int32_t vote = window_vote(a, m);
	a->votes = vote == 0 || (vote > 0) != (a->votes > 0) ? vote : a->votes + vote;
	window_begin(a, now);
	if (abs(a->votes) < VOTES_TO_MOVE)
		return false;
	a->votes = 0;
	a->bound = vote > 0 ? bound_wider(a) : GP_MAX(a->bound / 2, a->bound_min);
	m->to = a->bound;
	return true;
}

bool gp_adaptive_commit(struct gp_adaptive *a, uint32_t rank, uint32_t staleness,
	const struct gp_ranks *members, uint64_t now, struct gp_adaptive_move *m)
{
	GP_ASSERT(rank < GP_RANKS_MAX);
	if (a->last_commit[rank] != 0) {
		uint64_t took = now - a->last_commit[rank];
		uint64_t mean = a->step_ns[rank];
		a->step_ns[rank] = mean == 0 ? GP_MAX(took, 1)
					     : mean - (mean >> MEAN_SHIFT) + (took >> MEAN_SHIFT);
	}
	a->last_commit[rank] = now;
	if (a->window_since == 0)
		window_begin(a, now);
	a->commits++;
	a->staleness_sum += staleness;
	if (a->commits < GP_ADAPTIVE_ROUNDS * gp_ranks_count(members))
		return false;
	return window_end(a, members, now, m);
}
