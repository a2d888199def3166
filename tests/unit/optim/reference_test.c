// SPDX-License-Identifier: BSD-3-Clause
//
// The library against the reference of gradworker --local, which was written without it.
#include <criterion/criterion.h>

#include <gp_optim.h>

#include <math.h>

#include "whole_step.h"

#define ELEMS 43
#define STEPS 40

// A gradient that changes from step to step and has zeros.
static float gradient(uint32_t step, uint32_t i)
{
	return i % 7 == step % 7 ? 0.0f : sinf((float)(step * 31 + i * 17)) / (float)(1 + i % 5);
}

static struct gp_optim_params params_of(const struct gw_optimizer *o, enum gp_optim_kind kind)
{
	static const enum gp_optim_schedule_kind schedules[] = {[GW_CONSTANT] = GP_OPTIM_CONSTANT,
		[GW_STEP] = GP_OPTIM_STEP,
		[GW_COSINE] = GP_OPTIM_COSINE};
	return (struct gp_optim_params){.kind = kind,
		.lr = o->lr,
		.momentum = o->momentum,
		.weight_decay = o->weight_decay,
		.beta1 = o->beta1,
		.beta2 = o->beta2,
		.epsilon = o->epsilon,
		.initial_accumulator = o->initial_accumulator,
		.ftrl_beta = o->ftrl_beta,
		.l1 = o->l1,
		.l2 = o->l2,
		.schedule = {.kind = schedules[o->schedule],
			.warmup_steps = o->warmup_steps,
			.steps = o->schedule_steps,
			.gamma = o->gamma,
			.lr_min = o->lr_min}};
}

static void compare(enum gp_optim_kind kind, const char *text)
{
	static float w[2][ELEMS], s[2][GP_OPTIM_STATES_MAX][ELEMS];
	float sum[ELEMS], params[ELEMS], state[GW_STATES_MAX * ELEMS];
	struct gw_optimizer o;
	struct gw_error err;
	gw_optimizer_default(&o);
	cr_assert_eq(gw_optimizer_parse(&o, text, &err), 0, "%s", err.text);
	const struct gp_optim_params p = params_of(&o, kind);
	gw_optimizer_begin(&o, state, ELEMS);
	gp_optim_state_init(&p, s[1][0], ELEMS, ELEMS);
	for (uint32_t i = 0; i < ELEMS; i++)
		params[i] = w[1][i] = gradient(99, i);
	for (uint32_t step = 1; step <= STEPS; step++) {
		uint32_t old = step % 2;
		for (uint32_t i = 0; i < ELEMS; i++)
			sum[i] = gradient(step, i);
		gw_optimizer_apply(&o, &(struct gw_update){.params = params,
					       .state = state,
					       .sum = sum,
					       .count = ELEMS,
					       .span = ELEMS,
					       .weight = 1,
					       .step = step});
		gp_optim_apply(&p, &(struct gp_optim_block){.grad = sum,
					   .w = w[old],
					   .state = s[old][0],
					   .w_out = w[!old],
					   .state_out = s[!old][0],
					   .elems = ELEMS,
					   .stride = ELEMS,
					   .step = step,
					   .lr_scale = 1});
		cr_assert_arr_eq(params, w[!old], sizeof(params), "%s, step %u", text, step);
		cr_assert_arr_eq(state, s[!old], sizeof(float) * ELEMS * gp_optim_states(kind),
			"%s, state of step %u", text, step);
	}
}

Test(optim, agrees_with_the_reference_of_gradworker)
{
	compare(GP_OPTIM_SGD, "sgd,lr=0.3,weight_decay=0.01,schedule=step,schedule_steps=7");
	compare(GP_OPTIM_MOMENTUM, "momentum,warmup_steps=10");
	compare(GP_OPTIM_NESTEROV, "nesterov,momentum=0.5,schedule=cosine,schedule_steps=30");
	compare(GP_OPTIM_ADAGRAD, "adagrad,lr=0.5,initial_accumulator=0.1,weight_decay=0.1");
	compare(GP_OPTIM_ADAM, "adam,beta2=0.9,weight_decay=0.05");
	compare(GP_OPTIM_ADAMW,
		"adamw,schedule=cosine,schedule_steps=25,lr_min=0.01,warmup_steps=5");
	compare(GP_OPTIM_FTRL, "ftrl,l1=0.5,l2=0.01,initial_accumulator=0.1,ftrl_beta=0.3");
}

// Two tensors of several blocks, put together from the blocks' halves.
Test(optim, lamb_agrees_with_the_reference_of_gradworker)
{
	static const struct gw_run runs[2] = {{0, 30}, {30, 13}};
	static const uint32_t blocks[][2] = {{0, 16}, {16, 14}, {30, 13}};
	float w[ELEMS], state[2 * ELEMS] = {0}, params[ELEMS], of[GW_STATES_MAX * ELEMS], u[ELEMS];
	struct gw_optimizer o;
	struct gw_error err;
	gw_optimizer_default(&o);
	cr_assert_eq(gw_optimizer_parse(&o, "lamb,lr=0.1,warmup_steps=7", &err), 0, "%s", err.text);
	cr_assert(o.epsilon == 1e-6f && o.weight_decay == 0.01f);
	const struct gp_optim_params p = params_of(&o, GP_OPTIM_LAMB);
	gw_optimizer_begin(&o, of, ELEMS);
	for (uint32_t i = 0; i < ELEMS; i++)
		params[i] = w[i] = gradient(99, i);
	for (uint32_t step = 1; step <= STEPS; step++) {
		float sum[ELEMS], grad[ELEMS];
		double squares[2][2] = {0};
		for (uint32_t i = 0; i < ELEMS; i++)
			sum[i] = grad[i] = gradient(step, i);
		gw_whole_apply(&o, &(struct gw_whole){.tensors = runs,
					   .tensors_count = 2,
					   .block = 16,
					   .params = params,
					   .state = of,
					   .grad = sum,
					   .count = ELEMS,
					   .weight = 1,
					   .step = step});
		for (uint32_t b = 0; b < GP_ARRAY_SIZE(blocks); b++) {
			uint32_t at = blocks[b][0], elems = blocks[b][1];
			float out[16], s_out[2 * ELEMS];
			gp_optim_apply(&p, &(struct gp_optim_block){.grad = grad + at,
						   .w = w + at,
						   .state = state + at,
						   .w_out = out,
						   .state_out = s_out,
						   .elems = elems,
						   .stride = ELEMS,
						   .step = step,
						   .lr_scale = 1});
			memcpy(u + at, out, sizeof(float) * elems);
			memcpy(state + at, s_out, sizeof(float) * elems);
			memcpy(state + ELEMS + at, s_out + ELEMS, sizeof(float) * elems);
			squares[b == 2][0] += gw_squares(w + at, elems);
			squares[b == 2][1] += gw_squares(u + at, elems);
		}
		for (uint32_t t = 0; t < 2; t++)
			gp_optim_lamb_end(&p, &(struct gp_optim_block){.grad = u + runs[t].at,
						      .w = w + runs[t].at,
						      .w_out = w + runs[t].at,
						      .elems = (uint32_t)runs[t].count,
						      .step = step,
						      .lr_scale = gp_optim_lamb_ratio(
							      squares[t][0], squares[t][1])});
		cr_assert_arr_eq(params, w, sizeof(w), "step %u", step);
		cr_assert_arr_eq(of, state, sizeof(state), "state of step %u", step);
	}
}
