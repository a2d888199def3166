// SPDX-License-Identifier: BSD-3-Clause
#include <criterion/criterion.h>

#include <gp_table.h>

#include <errno.h>
#include <stdlib.h>

#define BLOCKS 4
#define ELEMS  32

static const struct gp_table_config CONFIG = {
	.blocks_count = BLOCKS, .elems_max = ELEMS, .states_count = 1, .cuts_max = 1};

struct fixture {
	struct gp_table t;
	struct gp_rcu_grace grace;
	void *mem;
};

static void fixture_init(struct fixture *f)
{
	struct gp_arena arena;
	size_t size = gp_table_size(&CONFIG);
	f->grace = (struct gp_rcu_grace){0};
	f->mem = aligned_alloc(GP_CACHE_LINE, gp_align_up(size, GP_CACHE_LINE));
	gp_arena_init(&arena, f->mem, size);
	cr_assert_eq(gp_table_init(&f->t, &arena, &CONFIG, &f->grace), 0);
}

static struct gp_version *step_once(struct fixture *f, uint32_t block, uint32_t step)
{
	struct gp_version *v = gp_table_take(&f->t);
	cr_assert_not_null(v);
	v->step = step;
	gp_version_values(v)[0] = (float)step;
	gp_table_publish(&f->t, &f->t.blocks[block], v);
	return v;
}

Test(table, shadow_is_seen_only_when_committed)
{
	struct fixture f;
	fixture_init(&f);
	struct gp_block *b = &f.t.blocks[0];
	cr_assert_null(gp_block_visible(b, UINT32_MAX));
	struct gp_version *v0 = step_once(&f, 0, 0);
	cr_assert_null(gp_block_visible(b, UINT32_MAX), "step 0 is not committed yet");
	cr_assert_eq(gp_block_visible(b, 0), v0);
	struct gp_version *v1 = step_once(&f, 0, 1);
	cr_assert_eq(gp_block_visible(b, 0), v0);
	cr_assert_eq(gp_block_visible(b, 1), v1);
	gp_table_abort(&f.t, b, 0);
	cr_assert_eq(gp_block_visible(b, 1), v0, "an aborted version is never seen");
	cr_assert_eq(b->done_step, 0);
	free(f.mem);
}

Test(table, versions_are_reused_only_after_grace_and_hold)
{
	struct fixture f;
	fixture_init(&f);
	uint32_t step = 0;
	for (; f.t.free_count > 0; step++)
		step_once(&f, 0, step);
	cr_assert_null(gp_table_take(&f.t), "all are retired and no grace period has ended");
	f.grace.passed = 1;
	cr_assert_null(gp_table_take(&f.t), "that one may have begun before the retirement");
	struct gp_version *first = f.t.spare[f.t.spare_first].v; // none is free
	first->hold.count = 1;
	f.grace.passed = 2;
	struct gp_version *v = gp_table_take(&f.t);
	cr_assert_not_null(v);
	cr_assert_neq(v, first);
	while ((v = gp_table_take(&f.t)))
		cr_assert_neq(v, first, "a frame in transmission refers to it");
	first->hold.count = 0;
	cr_assert_eq(gp_table_take(&f.t), first);
	free(f.mem);
}

Test(table, a_cut_keeps_its_generation)
{
	struct fixture f;
	fixture_init(&f);
	for (uint32_t b = 0; b < BLOCKS; b++)
		step_once(&f, b, 5);
	gp_table_cut_begin(&f.t, 5);
	for (uint32_t step = 6; step < 12; step++, f.grace.passed += 2)
		for (uint32_t b = 0; b < BLOCKS - 1; b++)
			step_once(&f, b, step);
	for (uint32_t b = 0; b < BLOCKS; b++) {
		struct gp_version *v = gp_table_find(&f.t.blocks[b], 5);
		cr_assert_not_null(v, "block %u", b);
		cr_assert_eq(gp_version_values(v)[0], 5.0f);
	}
	gp_table_cut_end(&f.t, 5);
	cr_assert_eq(gp_table_sweep(&f.t, 1), 1);
	cr_assert_eq(gp_table_sweep(&f.t, BLOCKS), BLOCKS - 1);
	cr_assert_eq(gp_table_sweep(&f.t, BLOCKS), 0);
	cr_assert_null(gp_table_find(&f.t.blocks[0], 5));
	cr_assert_not_null(gp_table_find(&f.t.blocks[BLOCKS - 1], 5), "still the newest");
	const uint32_t named = 2 * (BLOCKS - 1) + 1; // cur and shadow of all but the last
	cr_assert_eq(named + f.t.free_count + f.t.retired_count, f.t.versions_count);
	free(f.mem);
}

Test(table, a_version_never_published_comes_back_at_once)
{
	struct fixture f;
	fixture_init(&f);
	uint32_t before = f.t.free_count;
	struct gp_version *v = gp_table_take(&f.t);
	cr_assert_eq(f.t.free_count, before - 1);
	gp_table_untake(&f.t, v);
	cr_assert_eq(f.t.free_count, before);
	cr_assert_eq(gp_table_take(&f.t), v, "still warm");
	free(f.mem);
}

Test(table, values_and_states_are_apart_and_aligned)
{
	struct fixture f;
	fixture_init(&f);
	struct gp_version *v;
	uint32_t n = 0;
	while ((v = gp_table_take(&f.t))) {
		cr_assert_eq((uintptr_t)gp_version_values(v) % GP_CACHE_LINE, 0);
		cr_assert_eq(gp_version_state(&f.t, v, 0), gp_version_values(v) + ELEMS);
		for (uint32_t i = 0; i < 2 * ELEMS; i++) // inside the arena, or ASan objects
			gp_version_values(v)[i] = (float)n;
		n++;
	}
	cr_assert_eq(n, BLOCKS * (GP_TABLE_VERSIONS_PER_BLOCK + 1) +
				BLOCKS / GP_TABLE_BLOCKS_PER_EXTRA + GP_TABLE_VERSIONS_EXTRA);
	free(f.mem);
}

Test(table, memory_that_is_too_small_is_an_error)
{
	size_t size = gp_table_size(&CONFIG);
	struct gp_rcu_grace grace = {0};
	void *mem = aligned_alloc(GP_CACHE_LINE, gp_align_up(size, GP_CACHE_LINE));
	for (uint32_t part = 1; part <= 3; part++) {
		struct gp_table t;
		struct gp_arena arena;
		gp_arena_init(&arena, mem, size * part / 4);
		cr_assert_eq(gp_table_init(&t, &arena, &CONFIG, &grace), -ENOMEM);
	}
	free(mem);
}

Test(table, finds_exactly_the_generation_asked_for)
{
	struct fixture f;
	fixture_init(&f);
	struct gp_block *b = &f.t.blocks[1];
	cr_assert_null(gp_table_find(b, 0));
	struct gp_version *v7 = step_once(&f, 1, 7);
	struct gp_version *v8 = step_once(&f, 1, 8);
	cr_assert_eq(gp_table_find(b, 8), v8);
	cr_assert_eq(gp_table_find(b, 7), v7);
	cr_assert_null(gp_table_find(b, 9));
	gp_table_abort(&f.t, b, 7);
	cr_assert_null(gp_table_find(b, 8), "aborted");
	cr_assert_eq(gp_table_find(b, 7), v7);
	gp_table_abort(&f.t, b, 7);
	cr_assert_eq(gp_table_find(b, 7), v7, "nothing more to drop");
	free(f.mem);
}

Test(table, steps_wrap)
{
	struct fixture f;
	fixture_init(&f);
	struct gp_block *b = &f.t.blocks[0];
	struct gp_version *last = step_once(&f, 0, UINT32_MAX);
	struct gp_version *first = step_once(&f, 0, 0);
	cr_assert_eq(gp_block_visible(b, UINT32_MAX), last);
	cr_assert_eq(gp_block_visible(b, 0), first);
	gp_table_abort(&f.t, b, UINT32_MAX);
	cr_assert_eq(gp_block_visible(b, 0), last);
	free(f.mem);
}

Test(table, a_cut_that_ends_early_keeps_nothing)
{
	struct fixture f;
	fixture_init(&f);
	step_once(&f, 0, 1);
	gp_table_cut_begin(&f.t, 1);
	gp_table_cut_end(&f.t, 1);
	step_once(&f, 0, 2);
	step_once(&f, 0, 3);
	cr_assert_null(gp_table_find(&f.t.blocks[0], 1));
	cr_assert_eq(f.t.retired_count, 1);
	free(f.mem);
}

// While a cut is read each block has three versions in use. Steps go on with the rest, which come
// back with the grace periods: so many completions there are in each.
Test(table, steps_beside_a_cut_do_not_wait_for_a_grace_period_each_few_blocks)
{
	enum { MANY = 1024 };
	struct fixture f = {0};
	struct gp_arena arena;
	const struct gp_table_config many = {.blocks_count = MANY, .elems_max = 16, .cuts_max = 1};
	size_t size = gp_table_size(&many);
	f.mem = aligned_alloc(GP_CACHE_LINE, gp_align_up(size, GP_CACHE_LINE));
	gp_arena_init(&arena, f.mem, size);
	cr_assert_eq(gp_table_init(&f.t, &arena, &many, &f.grace), 0);
	for (uint32_t step = 1; step <= 4; step++) {
		if (step == 3)
			gp_table_cut_begin(&f.t, 2);
		atomic_store(&f.grace.passed, 10 * step);
		for (uint32_t b = 0; b < MANY; b++)
			(void)step_once(&f, b, step);
	}
	uint32_t done = 0;
	struct gp_version *v;
	while (done < MANY && (v = gp_table_take(&f.t))) {
		v->step = 5;
		gp_table_publish(&f.t, &f.t.blocks[done++], v);
	}
	cr_assert_geq(done, MANY / GP_TABLE_BLOCKS_PER_EXTRA, "%u completions", done);
	free(f.mem);
}

// ---- asynchronous jobs: a generation is a cut, a version belongs to the next one

static struct gp_version *write_once(struct fixture *f, uint32_t block, uint32_t generation)
{
	struct gp_version *v = gp_table_take(&f->t);
	cr_assert_not_null(v);
	v->step = generation;
	gp_table_replace(&f->t, &f->t.blocks[block], v);
	return v;
}

static void many_cuts_init(struct fixture *f)
{
	const struct gp_table_config cfg = {
		.blocks_count = BLOCKS, .elems_max = ELEMS, .cuts_max = 3};
	struct gp_arena arena;
	size_t size = gp_align_up(gp_table_size(&cfg), GP_CACHE_LINE);
	f->grace = (struct gp_rcu_grace){0};
	f->mem = aligned_alloc(GP_CACHE_LINE, size);
	gp_arena_init(&arena, f->mem, size);
	cr_assert_eq(gp_table_init(&f->t, &arena, &cfg, &f->grace), 0);
}

Test(table, several_cuts_see_each_its_own)
{
	struct fixture f;
	many_cuts_init(&f);
	struct gp_block *b = &f.t.blocks[0];
	(void)step_once(&f, 0, UINT32_MAX); // numbers wrap between the first two cuts
	gp_table_settle(&f.t, b);
	gp_table_cut_begin(&f.t, UINT32_MAX);
	struct gp_version *v0 = write_once(&f, 0, 0);
	gp_table_cut_begin(&f.t, 0);
	gp_table_cut_begin(&f.t, 1); // nothing was written between them
	struct gp_version *v2 = write_once(&f, 0, 2);
	cr_assert_eq(gp_table_find_at(b, UINT32_MAX)->step, UINT32_MAX);
	cr_assert_eq(gp_table_find_at(b, 0), v0);
	cr_assert_eq(gp_table_find_at(b, 1), v0);
	cr_assert_eq(gp_table_find_at(b, 2), v2);
	cr_assert_null(gp_table_find(b, 1), "no version bears that number");

	gp_table_cut_end(&f.t, 0);
	cr_assert(!gp_table_cut_is_live(&f.t, 0) && gp_table_cut_is_live(&f.t, 1));
	cr_assert_gt(gp_table_sweep(&f.t, BLOCKS), 0);
	cr_assert_eq(gp_table_find_at(b, 1), v0, "cut 1 still needs it");
	gp_table_cut_end(&f.t, 1);
	(void)gp_table_sweep(&f.t, BLOCKS);
	cr_assert_eq(gp_table_find_at(b, 1)->step, UINT32_MAX, "what was between them is gone");
	cr_assert_eq(f.t.retired_count, 1);
	gp_table_cut_end(&f.t, UINT32_MAX);
	(void)gp_table_sweep(&f.t, BLOCKS);
	cr_assert_eq(f.t.free_count + f.t.retired_count + 1, f.t.versions_count);
	free(f.mem);
}

Test(table, a_write_lets_go_of_what_ended_cuts_needed)
{
	struct fixture f;
	many_cuts_init(&f);
	(void)write_once(&f, 0, 0);
	for (uint32_t g = 0; g < 20; g++) {
		gp_table_cut_begin(&f.t, g);
		if (g >= 2)
			gp_table_cut_end(&f.t, g - 2);
		(void)write_once(&f, 0, g + 1);
		cr_assert_eq(gp_table_find_at(&f.t.blocks[0], g)->step, g);
		f.grace.passed += 2;
	}
	// the newest, and those of the two live cuts
	cr_assert_eq(f.t.free_count + f.t.retired_count + 3, f.t.versions_count);
	free(f.mem);
}

Test(table, a_write_after_no_cut_keeps_nothing)
{
	struct fixture f;
	many_cuts_init(&f);
	(void)write_once(&f, 0, 3);
	(void)write_once(&f, 0, 4);
	cr_assert_eq(f.t.retired_count, 1);
	cr_assert_null(gp_table_find_at(&f.t.blocks[0], 3));
	free(f.mem);
}
