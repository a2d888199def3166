// SPDX-License-Identifier: BSD-3-Clause
#include <criterion/criterion.h>

#include <gp_adaptive.h>

#define MS UINT64_C(1000000)

static const struct gp_ranks pair = {.w = {3}};

// Rounds of both ranks; rank 0 waits so long in each. Returns moves.
static uint32_t rounds(struct gp_adaptive *a, uint32_t count, uint64_t *now, uint64_t fast,
	uint64_t slow, uint64_t waits, uint32_t staleness, struct gp_adaptive_move *last)
{
	uint32_t moves = 0;
	uint64_t at[2] = {*now, *now}, every[2] = {fast, slow}, end = *now + count * slow;
	while (at[0] < end || at[1] < end) {
		uint32_t r = at[1] < at[0];
		at[r] += every[r];
		if (r == 0)
			gp_adaptive_waited(a, waits);
		struct gp_adaptive_move m;
		if (gp_adaptive_commit(a, r, r ? staleness : 0, &pair, at[r], &m)) {
			moves++;
			*last = m;
		}
	}
	*now = end;
	return moves;
}

Test(adaptive, widens_while_fast_ranks_wait_for_a_straggler)
{
	struct gp_adaptive a;
	struct gp_adaptive_move m = {0};
	uint64_t now = MS;
	gp_adaptive_init(&a, 0, 6);
	cr_assert_eq(a.bound, 0);
	cr_assert_gt(rounds(&a, 100, &now, 10 * MS, 40 * MS, 5 * MS, 1, &m), 0);
	cr_assert_eq(a.bound, 6, "up to its limit, not beyond");
	cr_assert_gt(m.waited_permille, 100);
	cr_assert_gt(m.straggling_permille, 1250);
	cr_assert_gt(m.to, m.from);
}

Test(adaptive, does_not_widen_for_waits_without_a_straggler)
{
	struct gp_adaptive a;
	struct gp_adaptive_move m;
	uint64_t now = MS;
	gp_adaptive_init(&a, 1, 6);
	cr_assert_eq(rounds(&a, 100, &now, 10 * MS, 11 * MS, 5 * MS, 0, &m), 0);
	cr_assert_eq(a.bound, 1);
}

Test(adaptive, narrows_again_when_nobody_waits)
{
	struct gp_adaptive a;
	struct gp_adaptive_move m;
	uint64_t now = MS;
	gp_adaptive_init(&a, 1, 8);
	(void)rounds(&a, 200, &now, 10 * MS, 40 * MS, 5 * MS, 1, &m);
	cr_assert_eq(a.bound, 8);
	(void)rounds(&a, 200, &now, 10 * MS, 10 * MS, 0, 0, &m);
	cr_assert_eq(a.bound, 1, "down to its limit");
	cr_assert_lt(m.to, m.from);
	cr_assert_lt(m.waited_permille, 20);
}

Test(adaptive, keeps_a_bound_that_is_used)
{
	struct gp_adaptive a;
	struct gp_adaptive_move m;
	uint64_t now = MS;
	gp_adaptive_init(&a, 0, 1);
	(void)rounds(&a, 100, &now, 10 * MS, 40 * MS, 5 * MS, 1, &m);
	cr_assert_eq(a.bound, 1);
	// Nobody waits now, and the slow one is as far behind as the bound allows.
	cr_assert_eq(rounds(&a, 100, &now, 10 * MS, 10 * MS, 0, 2, &m), 0);
	cr_assert_eq(a.bound, 1);
}

Test(adaptive, the_time_of_a_rank_that_was_away_says_nothing)
{
	struct gp_adaptive a;
	struct gp_adaptive_move m;
	uint64_t now = MS;
	gp_adaptive_init(&a, 0, 8);
	(void)rounds(&a, 20, &now, 10 * MS, 10 * MS, 0, 0, &m);
	gp_adaptive_forget(&a, 1);
	cr_assert_eq(a.step_ns[1], 0);
	now += 10000 * MS;
	a.last_commit[0] = now;
	(void)rounds(&a, 2, &now, 10 * MS, 10 * MS, 0, 0, &m);
	cr_assert_lt(a.step_ns[1], 20 * MS);
}
