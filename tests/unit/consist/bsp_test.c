// SPDX-License-Identifier: BSD-3-Clause
#include <criterion/criterion.h>

#include <gp_consist.h>

#include <stdlib.h>

#define UNITS 3

static const uint16_t unit_parts[UNITS] = {2, 2, 1};

struct home {
	struct gp_consist c;
	void *mem;
};

static void home_init(struct home *h, uint32_t workers, uint32_t workers_min)
{
	struct gp_arena arena;
	size_t size = gp_consist_size(UNITS);
	h->mem = malloc(size);
	gp_arena_init(&arena, h->mem, size);
	const struct gp_consist_config cfg = {.units_count = UNITS,
		.unit_parts = unit_parts,
		.generation = UINT32_MAX,
		.workers = workers,
		.workers_min = workers_min};
	cr_assert_eq(gp_consist_init(&h->c, &cfg, &arena), 0);
}

static void join_all(struct home *h, uint32_t workers)
{
	for (uint32_t r = 0; r < workers; r++) {
		cr_assert(!gp_consist_try_view(&h->c), "no view before all have joined");
		gp_consist_join(&h->c, r);
	}
	cr_assert(gp_consist_try_view(&h->c));
}

static void step_all(struct home *h, uint32_t step)
{
	for (uint32_t u = 0; u < UNITS; u++)
		for (uint32_t p = 0; p < unit_parts[u]; p++)
			cr_assert_eq(gp_consist_part_done(&h->c, u, step, h->c.view),
				p + 1 == unit_parts[u]);
}

Test(bsp, commits_when_all_parts_are_done)
{
	struct home h;
	home_init(&h, 2, 1);
	join_all(&h, 2);
	cr_assert_eq(h.c.view, 1);
	cr_assert_eq(h.c.view_first_step, 0);
	step_all(&h, 0);
	cr_assert_eq(h.c.generation, 0);
	step_all(&h, 1);
	cr_assert_eq(h.c.generation, 1);
	cr_assert_eq(h.c.decision, 1 + 2 * UNITS);
	const struct gp_decision *d = gp_consist_log(&h.c, 1);
	cr_assert_eq(d->kind, GP_DECIDED_VIEW);
	cr_assert_eq(gp_ranks_count(&d->members), 2);
	d = gp_consist_log(&h.c, 2);
	cr_assert_eq(d->kind, GP_DECIDED_COMMIT);
	cr_assert_eq(d->ranks, 2);
	cr_assert_null(gp_consist_log(&h.c, h.c.decision + 1));
	free(h.mem);
}

Test(bsp, parts_of_another_view_or_step_do_not_count)
{
	struct home h;
	home_init(&h, 2, 1);
	join_all(&h, 2);
	cr_assert(!gp_consist_part_done(&h.c, 2, 0, 7));
	cr_assert(!gp_consist_part_done(&h.c, 2, 1, 1));
	cr_assert(!gp_consist_part_done(&h.c, 0, 0, 1));
	gp_consist_lose(&h.c, 1);
	cr_assert(gp_consist_try_view(&h.c));
	cr_assert(!gp_consist_part_done(&h.c, 0, 0, 1), "a part of view 1");
	cr_assert(!gp_consist_part_done(&h.c, 0, 0, 2), "the part before the view is forgotten");
	cr_assert(gp_consist_part_done(&h.c, 0, 0, 2));
	free(h.mem);
}

Test(bsp, joiner_enters_at_a_step_boundary)
{
	struct home h;
	home_init(&h, 2, 1);
	join_all(&h, 2);
	gp_consist_lose(&h.c, 0);
	cr_assert(gp_consist_try_view(&h.c));
	cr_assert_eq(h.c.lowest, 1);
	cr_assert(gp_consist_part_done(&h.c, 2, 0, 2));
	gp_consist_join(&h.c, 0);
	cr_assert(!gp_consist_try_view(&h.c), "one unit of the open step is committed");
	for (int i = 0; i < 2; i++) {
		(void)gp_consist_part_done(&h.c, 0, 0, 2);
		(void)gp_consist_part_done(&h.c, 1, 0, 2);
	}
	cr_assert(gp_consist_try_view(&h.c));
	cr_assert_eq(h.c.members_count, 2);
	cr_assert_eq(h.c.view_first_step, 1);
	free(h.mem);
}

Test(bsp, a_rank_that_comes_back_still_ends_the_view)
{
	struct home h;
	home_init(&h, 2, 2);
	join_all(&h, 2);
	gp_consist_lose(&h.c, 0);
	cr_assert(!gp_consist_try_view(&h.c), "one survivor is below the minimum");
	gp_consist_join(&h.c, 0);
	cr_assert(gp_consist_try_view(&h.c));
	cr_assert_eq(h.c.view, 2);
	cr_assert_eq(h.c.members_count, 2);
	cr_assert(!gp_consist_try_view(&h.c));
	free(h.mem);
}

Test(bsp, log_room_is_bounded)
{
	struct home h;
	home_init(&h, 1, 1);
	join_all(&h, 1);
	uint32_t step = 0;
	while (gp_consist_room(&h.c, 1))
		step_all(&h, step++);
	cr_assert_not_null(gp_consist_log(&h.c, 1), "nothing undelivered was overwritten");
	cr_assert(gp_consist_room(&h.c, h.c.decision));
	free(h.mem);
}
