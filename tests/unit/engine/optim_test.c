// SPDX-License-Identifier: BSD-3-Clause
#include "driver.h"

// Two arrays of state, the step's own numbers: what lib/optim makes of the same sums.
Test(optim, adam_keeps_two_arrays_of_state)
{
	static float w[2][BLOCK_ELEMS], s[2][2 * BLOCK_ELEMS];
	struct rig *r = rig_new();
	r->jobs[0].kind = GP_KIND_TRAIN;
	r->jobs[0].mean = false;
	r->jobs[0].optim = (struct gp_optim_params){.kind = GP_OPTIM_ADAMW,
		.lr = 0.1f,
		.weight_decay = 0.01f,
		.beta1 = 0.9f,
		.beta2 = 0.99f,
		.epsilon = 1e-6f,
		.schedule = {.kind = GP_OPTIM_COSINE, .warmup_steps = 2, .steps = 3}};
	rig_up(r);
	worker_push_all(&r->w[0], 0, true);
	rig_run(r);
	for (uint32_t i = 0; i < model_elems(0); i++)
		w[0][i] = rig_value(0, 0, 0, i);
	for (uint32_t step = 1; step <= 5; step++) {
		float g[BLOCK_ELEMS];
		uint32_t elems, old = (step + 1) % 2;
		for (uint32_t i = 0; i < 2; i++)
			worker_push_all(&r->w[i], step, true);
		rig_run(r);
		for (uint32_t i = 0; i < model_elems(0); i++)
			g[i] = rig_value(0, step, 0, i) + rig_value(1, step, 0, i);
		gp_optim_apply(&r->jobs[0].optim, &(struct gp_optim_block){.grad = g,
							  .w = w[old],
							  .state = s[old],
							  .w_out = w[!old],
							  .state_out = s[!old],
							  .elems = model_elems(0),
							  .stride = BLOCK_ELEMS,
							  .step = step,
							  .lr_scale = 1});
		for (uint32_t array = 0; array < 3; array++) {
			const float *want = array ? &s[!old][(array - 1) * BLOCK_ELEMS] : w[!old];
			const float *got = gp_engine_block(r->e, 0, 0, step, array, &elems);
			cr_assert(got && elems == model_elems(0));
			cr_assert_arr_eq(got, want, 4 * elems, "step %u array %u", step, array);
		}
	}
	rig_free(r);
}

// Two steps late and as large as values get: the factors' product is below the smallest f32.
Test(optim, a_late_and_huge_contribution_still_counts)
{
	static float huge[BLOCK_ELEMS];
	struct rig *r = rig_new();
	struct gp_job_config *j = &r->jobs[0];
	j->kind = GP_KIND_TRAIN;
	j->consistency = GP_CONSIST_ASP;
	j->atomicity = GP_ATOM_BLOCK;
	j->stale = GP_STALE_SCALE;
	j->stale_max = 1;
	j->norm_max = 1e-6f;
	j->cuts_max = 4;
	j->memory_max = 8 << 20;
	j->optim = (struct gp_optim_params){.kind = GP_OPTIM_SGD, .lr = 0.5f};
	rig_up(r);
	for (uint32_t step = 0; step <= 3; step++) {
		worker_push_all(&r->w[0], step, false);
		rig_run(r);
	}
	uint64_t clamped = RIG_COUNT(r, blocks_clamped);
	for (uint32_t i = 0; i < BLOCK_ELEMS; i++)
		huge[i] = 3e38f;
	for (uint32_t b = 0; b < BLOCKS; b++) {
		const struct gp_section s = {.block = b,
			.len = (uint16_t)(4 * model_elems(b)),
			.run = 1,
			.codec = GP_CODEC_F32,
			.weight = 1};
		worker_push(&r->w[1], 1, &s, huge, false);
	}
	rig_run(r);
	cr_assert(seen_commit(&r->w[1], GP_DECISION_COMMIT, 1, 1));
	cr_assert_eq(RIG_COUNT(r, blocks_clamped), clamped + BLOCKS);
	rig_free(r);
}
