// SPDX-License-Identifier: BSD-3-Clause
#include <criterion/criterion.h>

#include <gp_consist.h>

#include <errno.h>
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
		gp_consist_join(&h->c, r, 1);
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
	gp_consist_join(&h.c, 0, 1);
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
	gp_consist_join(&h.c, 0, 1);
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

Test(bsp, decisions_of_an_earlier_life_go_on)
{
	struct gp_consist c;
	struct gp_arena arena;
	size_t size = gp_consist_size(UNITS);
	void *mem = malloc(size);
	gp_arena_init(&arena, mem, size);
	const struct gp_consist_config cfg = {.units_count = UNITS,
		.unit_parts = unit_parts,
		.generation = 100,
		.first_decision = 900,
		.workers = 1,
		.workers_min = 1};
	cr_assert_eq(gp_consist_init(&c, &cfg, &arena), 0);
	gp_consist_join(&c, 0, 1);
	cr_assert(gp_consist_try_view(&c));
	cr_assert_eq(c.decision, 901);
	cr_assert_eq(c.view_first_step, 101);
	cr_assert(gp_consist_part_done(&c, 2, 101, 1));
	cr_assert_null(gp_consist_log(&c, 900));
	cr_assert_eq(gp_consist_log(&c, 902)->step, 101);
	free(mem);
}

Test(bsp, memory_that_is_too_small_is_an_error)
{
	size_t size = gp_consist_size(UNITS);
	void *mem = malloc(size);
	for (uint32_t part = 0; part <= 3; part++) {
		struct gp_consist c;
		struct gp_arena arena;
		gp_arena_init(&arena, mem, size * part / 4);
		const struct gp_consist_config cfg = {.units_count = UNITS,
			.unit_parts = unit_parts,
			.workers = 1,
			.workers_min = 1};
		cr_assert_eq(gp_consist_init(&c, &cfg, &arena), -ENOMEM);
	}
	free(mem);
}

Test(bsp, a_cut_names_the_generation_that_no_unit_has_passed)
{
	struct home h;
	home_init(&h, 1, 1);
	join_all(&h, 1);
	cr_assert_eq(gp_consist_cut(&h.c), UINT32_MAX, "nothing was ever committed");
	cr_assert_eq(h.c.decision, 1, "and nothing decided");
	step_all(&h, 0);
	cr_assert_eq(gp_consist_cut(&h.c), 0);
	cr_assert(gp_consist_part_done(&h.c, 2, 1, 1));
	cr_assert_eq(gp_consist_cut(&h.c), 1, "unit 2 is there already");
	const struct gp_decision *d = gp_consist_log(&h.c, h.c.decision);
	cr_assert(d->kind == GP_DECIDED_CUT && d->step == 1);
	free(h.mem);
}

Test(bsp, a_stop_names_the_step_in_hand)
{
	struct home h;
	home_init(&h, 1, 1);
	join_all(&h, 1);
	step_all(&h, 0);
	gp_consist_stop(&h.c);
	const struct gp_decision *d = gp_consist_log(&h.c, h.c.decision);
	cr_assert(d->kind == GP_DECIDED_STOP && d->step == 1);
	free(h.mem);
}

Test(bsp, loss_at_a_boundary_lets_joiners_in_at_once)
{
	struct home h;
	home_init(&h, 3, 1);
	join_all(&h, 3);
	gp_consist_lose(&h.c, 1);
	cr_assert(gp_consist_try_view(&h.c));
	gp_consist_lose(&h.c, 0);
	gp_consist_join(&h.c, 1, 1);
	cr_assert(gp_consist_try_view(&h.c));
	cr_assert_eq(h.c.members_count, 2);
	cr_assert_eq(h.c.lowest, 1);
	free(h.mem);
}

Test(bsp, loss_within_a_step_leaves_joiners_out_until_its_end)
{
	struct home h;
	home_init(&h, 3, 1);
	join_all(&h, 3);
	gp_consist_lose(&h.c, 2);
	cr_assert(gp_consist_try_view(&h.c));
	cr_assert(gp_consist_part_done(&h.c, 2, 0, 2));
	gp_consist_join(&h.c, 2, 1);
	gp_consist_lose(&h.c, 0);
	cr_assert(gp_consist_try_view(&h.c));
	cr_assert_eq(h.c.members_count, 1, "rank 1 alone ends the step");
	cr_assert_eq(h.c.view, 3);
	cr_assert(!gp_consist_try_view(&h.c));
	for (uint32_t p = 0; p < 2; p++) {
		(void)gp_consist_part_done(&h.c, 0, 0, 3);
		(void)gp_consist_part_done(&h.c, 1, 0, 3);
	}
	cr_assert(gp_consist_try_view(&h.c));
	cr_assert_eq(h.c.members_count, 2);
	free(h.mem);
}

Test(bsp, losing_all_makes_no_view)
{
	struct home h;
	home_init(&h, 2, 1);
	join_all(&h, 2);
	gp_consist_lose(&h.c, 0);
	gp_consist_lose(&h.c, 1);
	gp_consist_lose(&h.c, 1);
	cr_assert(!gp_consist_try_view(&h.c));
	gp_consist_join(&h.c, 1, 1);
	cr_assert(gp_consist_try_view(&h.c));
	cr_assert_eq(h.c.lowest, 1);
	free(h.mem);
}
