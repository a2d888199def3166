// SPDX-License-Identifier: BSD-3-Clause
//
// Ranks that pass: they count as arrived, and are in no sum and no weight.
#include "driver.h"

Test(push, a_rank_passes_a_step)
{
	struct rig *r = rig_new();
	r->jobs[0].mean = true;
	rig_up(r);
	const struct gp_section pass = {.block = 0, .run = BLOCKS};
	worker_push(&r->w[1], 1, &pass, NULL, false);
	worker_push_all(&r->w[0], 1, true);
	rig_run(r);
	float got[BLOCK_ELEMS];
	result_values(seen_result(&r->w[0], 1, 1), got);
	for (uint32_t i = 0; i < BLOCK_ELEMS; i++)
		cr_assert_eq(
			got[i], rig_value(0, 1, 1, i), "divided by the weights that are in it");
	worker_push(&r->w[0], 2, &pass, NULL, false);
	worker_push(&r->w[1], 2, &pass, NULL, true);
	rig_run(r);
	const struct seen *s = seen_result(&r->w[1], 1, 2);
	struct gp_section sec;
	result_values(s, got);
	gp_wire_get_section(&s->m, 0, &sec);
	cr_assert(got[7] == 0 && sec.weight == 0, "all pass");
	rig_free(r);
}

Test(push, a_step_that_all_pass_changes_no_parameter)
{
	struct rig *r = rig_new();
	r->jobs[0].kind = GP_KIND_TRAIN;
	rig_up(r);
	worker_push_all(&r->w[0], 0, false);
	rig_run(r);
	const struct gp_section pass = {.block = 0, .run = BLOCKS};
	for (uint32_t i = 0; i < 2; i++)
		worker_push(&r->w[i], 1, &pass, NULL, true);
	rig_run(r);
	float got[BLOCK_ELEMS];
	result_values(seen_result(&r->w[0], 0, 1), got);
	for (uint32_t i = 0; i < BLOCK_ELEMS; i++)
		cr_assert_eq(got[i], rig_value(0, 0, 0, i));
	cr_assert_eq(rig_job(r).generation, 1);
	rig_free(r);
}
