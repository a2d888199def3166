// SPDX-License-Identifier: BSD-3-Clause
#include <criterion/criterion.h>

#include <gp_consist.h>

#include <stdlib.h>

#define CORES 2
#define MS    UINT64_C(1000000)

static const uint16_t parts[1] = {CORES};

struct home {
	struct gp_consist c;
	void *mem;
	uint64_t now;
};

static void home_init(struct home *h, const struct gp_consist_config *with, uint32_t step)
{
	struct gp_arena arena;
	struct gp_consist_config cfg = *with;
	cfg.units_count = 1;
	cfg.unit_parts = parts;
	cfg.generation = step;
	size_t size = gp_consist_size(1);
	*h = (struct home){.mem = malloc(size), .now = MS};
	gp_arena_init(&arena, h->mem, size);
	cr_assert_eq(gp_consist_init(&h->c, &cfg, &arena), 0);
	if (step != UINT32_MAX)
		gp_async_start(&h->c, NULL, step);
}

static void join(struct home *h, uint32_t from, uint32_t to)
{
	for (uint32_t r = from; r < to; r++)
		gp_consist_join(&h->c, r, 1);
	cr_assert(gp_consist_try_view(&h->c));
}

// All cores have (rank, step).
static void whole(struct home *h, uint32_t rank, uint32_t step)
{
	for (uint32_t i = 0; i < CORES; i++)
		(void)gp_async_part_done(&h->c, rank, step, h->c.view);
	(void)gp_async_try_close(&h->c, h->now);
}

static const struct gp_decision *newest(const struct home *h)
{
	return gp_consist_log(&h->c, h->c.decision);
}

static const struct gp_consist_config EACH = {
	.mode = GP_CONSIST_EACH, .workers = 3, .workers_min = 1};

Test(async, begins_with_generation_0)
{
	struct home h;
	home_init(&h, &EACH, UINT32_MAX);
	join(&h, 0, 3);
	cr_assert_not(gp_consist_is_async(&h.c));
	for (uint32_t i = 0; i < CORES; i++)
		(void)gp_consist_part_done(&h.c, 0, 0, 1);
	cr_assert(gp_consist_is_async(&h.c));
	cr_assert_eq(h.c.async.started_at, h.c.decision);
	whole(&h, 2, 1);
	cr_assert_eq(newest(&h)->unit, 2);
	cr_assert_eq(newest(&h)->ranks, 1);
	free(h.mem);
}

Test(async, a_rank_is_committed_when_all_cores_have_its_push)
{
	struct home h;
	uint32_t slowest;
	home_init(&h, &EACH, 5);
	join(&h, 0, 3);
	cr_assert_eq(newest(&h)->step, 6, "where all begin");
	cr_assert(!gp_async_part_done(&h.c, 1, 6, 1));
	cr_assert(!gp_async_part_done(&h.c, 1, 7, 1), "a core may be a step ahead");
	cr_assert(!gp_async_part_done(&h.c, 1, 7, 1), "steps of a rank are committed in order");
	cr_assert(gp_async_part_done(&h.c, 1, 6, 1));
	cr_assert_eq(newest(&h)->step, 7, "both at once");
	cr_assert_eq(gp_consist_log(&h.c, h.c.decision - 1)->step, 6);
	cr_assert(!gp_async_part_done(&h.c, 1, 7, 1), "told again");
	whole(&h, 2, 6);
	cr_assert_eq(newest(&h)->staleness, 1);
	cr_assert_eq(gp_async_clock_min(&h.c, &slowest), 5);
	cr_assert_eq(slowest, 0);
	cr_assert_eq(gp_async_clock_max(&h.c), 7);
	free(h.mem);
}

Test(async, clocks_wrap)
{
	struct home h;
	uint32_t slowest;
	home_init(&h, &EACH, UINT32_MAX - 1);
	join(&h, 0, 3);
	whole(&h, 0, UINT32_MAX);
	whole(&h, 0, 0);
	whole(&h, 0, 1);
	cr_assert_eq(gp_async_clock_max(&h.c), 1);
	cr_assert_eq(gp_async_clock_min(&h.c, &slowest), UINT32_MAX - 1);
	whole(&h, 1, UINT32_MAX);
	cr_assert_eq(newest(&h)->staleness, 2);
	free(h.mem);
}

// Who goes on in another server's stead keeps its clock; who begins anew is past the step that a
// life before it may still have in hand, by so much that its clock is not that step.
Test(async, who_goes_on_keeps_its_clock_in_another_servers_stead)
{
	const uint32_t clock[] = {7, 4, 5};
	struct home h;
	home_init(&h, &EACH, 0);
	h.c.cfg.resumable = true;
	gp_async_start(&h.c, clock, 0);
	gp_async_resume(&h.c, 16);
	cr_assert_not(gp_async_keep(&h.c, 0), "it has not joined");
	for (uint32_t r = 0; r < 3; r++) {
		gp_consist_join(&h.c, r, 1);
		cr_assert(r == 1 || gp_async_keep(&h.c, r));
	}
	cr_assert(gp_consist_try_view(&h.c));
	cr_assert(gp_ranks_has(&newest(&h)->others, 1) && !gp_ranks_has(&newest(&h)->others, 0));
	cr_assert_eq(newest(&h)->step, 7);
	cr_assert_eq(h.c.async.clock[0], 7);
	cr_assert_eq(h.c.async.clock[1], 6, "4 is committed, 5 may be in hand");
	cr_assert_eq(h.c.async.clock[2], 5);
	cr_assert_eq(h.c.async.updates, 16);
	whole(&h, 2, 6);
	gp_consist_lose(&h.c, 2);
	gp_consist_join(&h.c, 2, 2);
	cr_assert_not(gp_async_keep(&h.c, 2), "only before the first view");
	cr_assert(gp_consist_try_view(&h.c));
	cr_assert_eq(newest(&h)->step, 9);
	free(h.mem);
}

Test(async, who_joins_is_up_with_the_slowest_and_past_its_own_life)
{
	struct home h;
	home_init(&h, &EACH, 0);
	join(&h, 0, 3);
	for (uint32_t step = 1; step <= 9; step++) {
		whole(&h, 0, step);
		if (step <= 4)
			whole(&h, 1, step);
	}
	(void)gp_async_part_done(&h.c, 2, 1, 1); // half a push
	gp_consist_lose(&h.c, 2);
	cr_assert(gp_consist_try_view(&h.c));
	gp_consist_join(&h.c, 2, 2);
	cr_assert(gp_consist_try_view(&h.c));
	cr_assert_eq(newest(&h)->step, 5);
	cr_assert(gp_ranks_has(&newest(&h)->others, 2) && !gp_ranks_has(&newest(&h)->others, 0));
	uint32_t before = h.c.decision;
	for (uint32_t i = 0; i < CORES; i++)
		cr_assert(!gp_async_part_done(&h.c, 2, 5, 2), "of its earlier life's view");
	whole(&h, 2, 5);
	cr_assert_eq(h.c.decision, before + 1);

	gp_consist_lose(&h.c, 0); // the fastest: nobody knows how much of step 10 there was
	gp_consist_join(&h.c, 0, 3);
	cr_assert(gp_consist_try_view(&h.c));
	cr_assert_eq(newest(&h)->step, 11);
	cr_assert_eq(h.c.members_count, 3);
	free(h.mem);
}

Test(async, no_view_below_the_minimum)
{
	struct home h;
	struct gp_consist_config cfg = EACH;
	cfg.workers_min = 2;
	home_init(&h, &cfg, 0);
	join(&h, 0, 3);
	gp_consist_lose(&h.c, 0);
	gp_consist_lose(&h.c, 1);
	cr_assert(!gp_consist_try_view(&h.c));
	gp_consist_join(&h.c, 1, 2);
	cr_assert(gp_consist_try_view(&h.c));
	cr_assert_eq(h.c.members_count, 2);
	free(h.mem);
}

Test(async, a_cut_is_a_generation_and_may_end_another)
{
	struct home h;
	home_init(&h, &EACH, 3);
	join(&h, 0, 3);
	cr_assert_eq(gp_async_cut(&h.c, GP_NO_CUT, false), 4);
	cr_assert_eq(gp_async_cut(&h.c, 3, true), 5);
	cr_assert_eq(newest(&h)->kind, GP_DECIDED_CUT);
	cr_assert_eq(newest(&h)->unit, 3);
	cr_assert(newest(&h)->snapshot);
	free(h.mem);
}

// ---- quorum

static struct gp_consist_config quorum(uint32_t min, uint64_t wait_ns)
{
	return (struct gp_consist_config){.mode = GP_CONSIST_QUORUMS,
		.workers = 3,
		.workers_min = 1,
		.quorum_min = min,
		.quorum_wait_ns = wait_ns};
}

Test(quorum, closes_with_all_at_once_and_with_enough_after_the_wait)
{
	struct home h;
	const struct gp_consist_config cfg = quorum(2, 5 * MS);
	home_init(&h, &cfg, 0);
	join(&h, 0, 3);
	uint32_t view = h.c.decision;
	whole(&h, 2, 1);
	h.now += 100 * MS;
	cr_assert(!gp_async_try_close(&h.c, h.now), "one is not enough");
	whole(&h, 0, 1);
	h.now += 4 * MS;
	cr_assert(!gp_async_try_close(&h.c, h.now));
	h.now += 1 * MS;
	cr_assert(gp_async_try_close(&h.c, h.now));
	cr_assert_eq(h.c.decision, view + 1);
	cr_assert_eq(newest(&h)->step, 1);
	cr_assert(gp_ranks_has(&newest(&h)->members, 0) && gp_ranks_has(&newest(&h)->members, 2));
	cr_assert_eq(gp_ranks_count(&newest(&h)->others), 0);
	for (uint32_t r = 0; r < 3; r++)
		whole(&h, r, 2);
	cr_assert_eq(newest(&h)->step, 2, "everybody is there");
	free(h.mem);
}

Test(quorum, what_is_late_is_named_by_the_next_step)
{
	struct home h;
	const struct gp_consist_config cfg = quorum(2, 0);
	home_init(&h, &cfg, 0);
	join(&h, 0, 3);
	(void)gp_async_part_done(&h.c, 1, 1, 1);
	whole(&h, 0, 1);
	whole(&h, 2, 1);
	cr_assert_eq(newest(&h)->step, 1);
	(void)gp_async_part_done(&h.c, 1, 1, 1); // now it is whole
	cr_assert_eq(newest(&h)->step, 1, "late pushes close nothing");
	whole(&h, 1, 2);
	whole(&h, 2, 2);
	cr_assert_eq(newest(&h)->step, 2);
	cr_assert(gp_ranks_has(&newest(&h)->others, 1) && gp_ranks_has(&newest(&h)->members, 1));
	cr_assert_eq(newest(&h)->ranks, 3);
	cr_assert_eq(h.c.async.clock[1], 2);
	free(h.mem);
}

Test(quorum, the_wait_follows_how_far_arrivals_lie_apart)
{
	struct home h;
	const struct gp_consist_config cfg = quorum(2, UINT64_MAX);
	home_init(&h, &cfg, 0);
	join(&h, 0, 3);
	whole(&h, 0, 1);
	h.now += 10 * MS;
	whole(&h, 1, 1); // ten apart: the third has twenty
	h.now += 19 * MS;
	cr_assert(!gp_async_try_close(&h.c, h.now));
	h.now += 1 * MS;
	cr_assert(gp_async_try_close(&h.c, h.now));
	for (uint32_t step = 2; step < 60; step++) { // from now on they come together
		whole(&h, 0, step);
		whole(&h, 1, step);
		h.now += 40 * MS;
		cr_assert(gp_async_try_close(&h.c, h.now));
	}
	whole(&h, 0, 60);
	whole(&h, 1, 60);
	h.now += 1 * MS;
	cr_assert(gp_async_try_close(&h.c, h.now), "%lu ns apart", (unsigned long)h.c.async.gap_ns);
	free(h.mem);
}

Test(quorum, late_ones_that_are_refused_make_room)
{
	struct home h;
	struct gp_consist_config cfg = quorum(1, 0);
	cfg.late_refused = true;
	home_init(&h, &cfg, 0);
	join(&h, 0, 3);
	for (uint32_t step = 1; step < 10; step++) {
		(void)gp_async_part_done(&h.c, 1, step, 1); // never whole
		whole(&h, 0, step);
		cr_assert_eq(newest(&h)->step, step);
	}
	whole(&h, 1, 10);
	cr_assert_eq(newest(&h)->step, 10);
	cr_assert_eq(newest(&h)->unit, 1);
	free(h.mem);
}

Test(quorum, the_dead_are_not_counted)
{
	struct home h;
	const struct gp_consist_config cfg = quorum(3, 0);
	home_init(&h, &cfg, 0);
	join(&h, 0, 3);
	whole(&h, 0, 1);
	whole(&h, 1, 1);
	gp_consist_lose(&h.c, 2);
	cr_assert(gp_consist_try_view(&h.c));
	cr_assert(gp_async_try_close(&h.c, h.now), "all who are left");
	gp_consist_join(&h.c, 2, 2);
	cr_assert(gp_consist_try_view(&h.c));
	cr_assert_eq(newest(&h)->step, 2, "it takes part in the step in hand");
	free(h.mem);
}
