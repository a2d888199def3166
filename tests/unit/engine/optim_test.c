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
