// SPDX-License-Identifier: BSD-3-Clause
//
// Results that leave out what is as in the step before, and in which state that is not taken.
#include "fixture.h"

#include <criterion/criterion.h>

static struct fx f;

static void commit_all(uint32_t step, uint32_t view)
{
	for (uint32_t b = 0; b < BLOCKS; b++)
		fx_decide(&f, &(struct gp_commit_entry){.kind = GP_DECISION_COMMIT,
				      .ranks = 2,
				      .unit = b,
				      .step = step,
				      .view = view});
}

static void push(float *out)
{
	cr_assert_eq(gp_ccore_push(f.core, 0, f.grad, 1.0f, out), 0);
	fx_tick(&f, 0);
}

// The first step, with whole results: block b is b.
static void begin(uint32_t flags)
{
	fx_how.flags = flags;
	fx_open(&f, 1472);
	fx_member(&f);
	push(f.out);
	for (uint32_t b = 0; b < BLOCKS; b++)
		fx_result(&f, b, 1, 1, true, (float)b);
	commit_all(1, 1);
	cr_assert_eq(gp_ccore_step_end(f.core), 0);
}

// "Element 2 of block 0 has become 7, nothing else of blocks 0..9 has changed."
static void changed(uint32_t step, uint32_t view, uint32_t blocks)
{
	uint8_t payload[8] = {1, 0, 2, 0};
	const struct gp_section s[2] = {{.block = 0,
						.len = 8,
						.run = 1,
						.codec = GP_CODEC_TOPK,
						.flags = GP_WIRE_SECTION_KEEP,
						.weight = 2},
		{.block = 1,
			.run = (uint16_t)(blocks - 1),
			.flags = GP_WIRE_SECTION_KEEP,
			.weight = 2}};
	struct gp_header h = {.type = GP_WIRE_RESULT,
		.session = SESSION,
		.view = view,
		.step = step,
		.sections = 2,
		.flags = GP_WIRE_F_TENTATIVE};
	gp_storef(payload + 4, 7);
	fx_feed(&f, &h, s, NULL, payload, sizeof(payload));
}

static void values_are(float special)
{
	for (uint32_t i = 0; i < ELEMS; i++)
		cr_assert_eq(f.out[i], i == 2 ? special : (float)(i / BLOCK_ELEMS), "%u", i);
}

Test(results, what_has_not_changed_stays)
{
	begin(GP_CLIENT_CHANGED);
	push(f.out);
	changed(2, 1, BLOCKS);
	commit_all(2, 1);
	cr_assert(gp_ccore_done(f.core));
	values_are(7);
	fx_close(&f);
}

Test(results, who_did_not_ask_takes_no_half)
{
	begin(0);
	push(f.out);
	changed(2, 1, BLOCKS);
	commit_all(2, 1);
	cr_assert_not(gp_ccore_done(f.core));
	values_are(0);
	fx_close(&f);
}

Test(results, other_memory_is_no_base)
{
	static float other[ELEMS];
	begin(GP_CLIENT_CHANGED);
	push(other);
	changed(2, 1, BLOCKS);
	commit_all(2, 1);
	cr_assert_not(gp_ccore_done(f.core));
	fx_skip(&f);
	for (uint32_t i = 0; i < 40 && fx_count(&f, GP_WIRE_PULL) == 0; i++)
		fx_tick(&f, 25 * MS);
	cr_assert_geq(fx_count(&f, GP_WIRE_PULL), 1, "it is asked for whole");
	fx_close(&f);
}

// A tentative result was written, the view changed: the base is gone until a whole result comes.
Test(results, an_aborted_result_is_no_base)
{
	begin(GP_CLIENT_CHANGED);
	push(f.out);
	fx_result(&f, 0, 2, 1, true, 99);
	fx_decide(&f, &(struct gp_commit_entry){.kind = GP_DECISION_VIEW,
			      .flags = GP_COMMIT_MEMBER,
			      .ranks = 1,
			      .step = 2,
			      .view = 2});
	changed(2, 2, BLOCKS);
	commit_all(2, 2);
	cr_assert_not(gp_ccore_done(f.core));
	cr_assert_eq(f.out[2], 99);
	fx_result(&f, 0, 2, 2, false, 0);
	cr_assert(gp_ccore_done(f.core));
	values_are(0);
	cr_assert_eq(gp_ccore_step_end(f.core), 0);
	push(f.out);
	changed(3, 2, BLOCKS);
	commit_all(3, 2);
	cr_assert(gp_ccore_done(f.core));
	values_are(7);
	fx_close(&f);
}
