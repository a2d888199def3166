// SPDX-License-Identifier: BSD-3-Clause
#include <criterion/criterion.h>

#include <gp_optim.h>

#include "optim_vectors.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>

static float as_float(uint32_t bits)
{
	return gp_loadf(&bits);
}

Test(optim, names_and_states)
{
	static const uint32_t states[GP_OPTIM_COUNT] = {0, 1, 1, 1, 0, 2, 2, 2, 2};
	for (int kind = 0; kind < GP_OPTIM_COUNT; kind++) {
		cr_assert_eq(gp_optim_parse(gp_optim_name(kind)), kind);
		cr_assert_eq(gp_optim_states(kind), states[kind]);
		for (uint32_t i = 0; i < states[kind]; i++)
			cr_assert_not_null(gp_optim_state_name(kind, i));
		cr_assert_eq(gp_optim_row_state(kind, 7),
			gp_optim_is_rowwise(kind) ? 1 : 7 * states[kind]);
	}
	cr_assert_eq(gp_optim_parse("rmsprop"), -EINVAL);
	cr_assert_null(gp_optim_name(GP_OPTIM_COUNT));
	cr_assert_str_eq(gp_optim_state_name(GP_OPTIM_ADAM, 1), "exp_avg_sq");
}

// Good parameters of a kind.
static struct gp_optim_params good(enum gp_optim_kind kind)
{
	return (struct gp_optim_params){.kind = kind,
		.lr = 0.1f,
		.momentum = 0.9f,
		.beta1 = 0.9f,
		.beta2 = 0.999f,
		.epsilon = 1e-8f,
		.ftrl_beta = 1};
}

#define BAD(k, word, field, value)                                                                 \
	{                                                                                          \
		GP_OPTIM_##k, offsetof(struct gp_optim_params, field), value, word                 \
	}

Test(optim, check_names_what_is_wrong)
{
	static const struct {
		enum gp_optim_kind kind;
		size_t at;
		float value;
		const char *word;
	} cases[] = {
		BAD(SGD, "lr", lr, -0.1f),
		BAD(SGD, "lr", lr, NAN),
		BAD(SGD, "lr", lr, INFINITY),
		BAD(SGD, "weight_decay", weight_decay, -1),
		BAD(SGD, "weight_decay", weight_decay, NAN),
		BAD(SGD, "delay_compensation", delay_compensation, -1),
		BAD(MOMENTUM, "momentum", momentum, 1),
		BAD(MOMENTUM, "momentum", momentum, -0.1f),
		BAD(MOMENTUM, "momentum", momentum, NAN),
		BAD(NESTEROV, "nesterov", momentum, 0),
		BAD(ADAGRAD, "epsilon", epsilon, 0),
		BAD(ADAGRAD, "initial_accumulator", initial_accumulator, -1),
		BAD(ROWWISE_ADAGRAD, "initial_accumulator", initial_accumulator, NAN),
		BAD(ADAM, "beta1", beta1, 1),
		BAD(ADAM, "beta2", beta2, NAN),
		BAD(ADAMW, "beta2", beta2, -0.5f),
		BAD(ADAMW, "epsilon", epsilon, NAN),
		BAD(LAMB, "beta1", beta1, 1),
		BAD(LAMB, "epsilon", epsilon, 0),
		BAD(FTRL, "lr", lr, 0),
		BAD(FTRL, "l1", l1, -1),
		BAD(FTRL, "l1 or l2", l2, INFINITY),
		BAD(FTRL, "ftrl_beta", ftrl_beta, -1),
		BAD(FTRL, "weight_decay", weight_decay, 0.1f),
	};
	const char *why;
	for (int kind = 0; kind < GP_OPTIM_COUNT; kind++) {
		struct gp_optim_params p = good(kind);
		cr_assert_eq(gp_optim_check(&p, &why), 0, "%s: %s", gp_optim_name(kind), why);
	}
	for (size_t i = 0; i < GP_ARRAY_SIZE(cases); i++) {
		struct gp_optim_params p = good(cases[i].kind);
		gp_storef((uint8_t *)&p + cases[i].at, cases[i].value);
		cr_assert_eq(gp_optim_check(&p, &why), -EINVAL, "case %zu", i);
		cr_assert(strstr(why, cases[i].word) == why, "case %zu: %s", i, why);
	}
	struct gp_optim_params p = good(GP_OPTIM_COUNT);
	cr_assert_eq(gp_optim_check(&p, &why), -EINVAL);
}

Test(optim, check_of_schedules)
{
	static const struct {
		struct gp_optim_schedule s;
		const char *word; // NULL: good
	} cases[] = {
		{{GP_OPTIM_STEP, 5, 1, 1, 0}, NULL},
		{{GP_OPTIM_COSINE, 0, 9, 0, 0.1f}, NULL},
		{{GP_OPTIM_STEP, 0, 0, 0.5f, 0}, "schedule"},
		{{GP_OPTIM_COSINE, 0, 0, 0, 0}, "schedule"},
		{{GP_OPTIM_STEP, 0, 1, 0, 0}, "gamma"},
		{{GP_OPTIM_STEP, 0, 1, 1.5f, 0}, "gamma"},
		{{GP_OPTIM_COSINE, 0, 1, 0, 0.2f}, "lr_min"},
		{{GP_OPTIM_COSINE, 0, 1, 0, NAN}, "lr_min"},
		{{GP_OPTIM_COSINE + 1, 0, 1, 0, 0}, "schedule"},
	};
	const char *why;
	for (size_t i = 0; i < GP_ARRAY_SIZE(cases); i++) {
		struct gp_optim_params p = good(GP_OPTIM_SGD);
		p.schedule = cases[i].s;
		cr_assert_eq(gp_optim_check(&p, &why), cases[i].word ? -EINVAL : 0, "case %zu", i);
		cr_assert(!cases[i].word || strstr(why, cases[i].word) == why, "%zu: %s", i, why);
	}
	struct gp_optim_params p = good(GP_OPTIM_FTRL);
	p.schedule.warmup_steps = 1;
	cr_assert_eq(gp_optim_check(&p, &why), -EINVAL);
}

static struct gp_optim_params vector_params(const struct optim_vector *v)
{
	float k[GP_ARRAY_SIZE(v->keys)];
	memcpy(k, v->keys, sizeof(k));
	return (struct gp_optim_params){.kind = gp_optim_parse(v->kind),
		.lr = k[0],
		.momentum = k[1],
		.weight_decay = k[2],
		.beta1 = k[3],
		.beta2 = k[4],
		.epsilon = k[5],
		.initial_accumulator = k[6],
		.ftrl_beta = k[7],
		.l1 = k[8],
		.l2 = k[9],
		.delay_compensation = k[10],
		.schedule = {v->ints[1], v->ints[2], v->ints[3], k[12], k[13]}};
}

// Inputs are exact fractions, as in gen_vectors.py.
static void vector_fill(uint32_t number, float *w, float grad[VECTOR_STEPS][VECTOR_ELEMS])
{
	for (uint32_t i = 0; i < VECTOR_ELEMS; i++) {
		w[i] = (float)((int)((i * 53 + number) % 97) - 48) / 32;
		for (uint32_t s = 0; s < VECTOR_STEPS; s++) {
			int n = (int)((i * 37 + s * 61 + number * 13) % 199) - 99;
			grad[s][i] = (float)n / 4096;
		}
	}
}

static double squares(const float *v)
{
	double lane[16] = {0};
	for (uint32_t i = 0; i < VECTOR_ELEMS; i++)
		lane[i % 16] += (double)v[i] * (double)v[i];
	for (uint32_t half = 8; half > 0; half /= 2)
		for (uint32_t j = 0; j < half; j++)
			lane[j] += lane[j + half];
	return lane[0];
}

// The block is a whole tensor.
static void lamb_end(const struct gp_optim_params *p, const float *w, float *out, uint32_t step)
{
	float update[VECTOR_ELEMS];
	memcpy(update, out, sizeof(update));
	gp_optim_lamb_end(p, &(struct gp_optim_block){.grad = update,
				     .w = w,
				     .w_out = out,
				     .elems = VECTOR_ELEMS,
				     .stride = VECTOR_ELEMS,
				     .step = step,
				     .lr_scale = gp_optim_lamb_ratio(squares(w), squares(update))});
}

Test(optim, the_ratio_of_lamb)
{
	cr_assert_eq(gp_optim_lamb_ratio(4, 16), 0.5f);
	cr_assert_eq(gp_optim_lamb_ratio(0, 1), 1.0f, "parameters of zero may move");
	cr_assert_eq(gp_optim_lamb_ratio(1, 0), 1.0f);
	cr_assert_eq(gp_optim_lamb_ratio(INFINITY, 1), 1.0f);
	cr_assert_eq(gp_optim_lamb_ratio(1, NAN), 1.0f);
	cr_assert_gt(gp_optim_lamb_ratio(1e-300, 1e300), 0.0f);
	cr_assert(isfinite(gp_optim_lamb_ratio(1e300, 1e-300)));
}

// All steps of one vector, old and new versions in turn, as the engine does.
static void vector_run(uint32_t number)
{
	const struct optim_vector *v = &optim_vectors[number];
	static float w[2][VECTOR_ELEMS], s[2][2][VECTOR_ELEMS];
	static float grad[VECTOR_STEPS][VECTOR_ELEMS];
	const struct gp_optim_params p = vector_params(v);
	uint32_t old = 0;
	float read[VECTOR_ELEMS];
	vector_fill(number, w[old], grad);
	memcpy(read, w[old], sizeof(read));
	memset(s, 0, sizeof(s));
	gp_optim_state_init(&p, s[old][0], VECTOR_ELEMS, VECTOR_ELEMS);
	for (uint32_t step = 0; step < VECTOR_STEPS; step++, old ^= 1) {
		float kept[VECTOR_ELEMS];
		memcpy(kept, w[old], sizeof(kept));
		gp_optim_apply(&p, &(struct gp_optim_block){.grad = grad[step],
					   .w = w[old],
					   .w_read = read,
					   .state = s[old][0],
					   .w_out = w[!old],
					   .state_out = s[!old][0],
					   .elems = VECTOR_ELEMS,
					   .stride = VECTOR_ELEMS,
					   .step = v->ints[0] + step,
					   .lr_scale = as_float(v->keys[11])});
		cr_assert_arr_eq(kept, w[old], sizeof(kept), "the old version stays");
		if (p.kind == GP_OPTIM_LAMB)
			lamb_end(&p, w[old], w[!old], v->ints[0] + step);
	}
	cr_assert_arr_eq(w[old], v->w_out, sizeof(v->w_out), "%s w", v->kind);
	uint32_t floats = gp_optim_row_state(p.kind, VECTOR_ELEMS);
	cr_assert_arr_eq(s[old], v->state_out, floats * sizeof(float), "%s state", v->kind);
}

Test(optim, agrees_with_numpy)
{
	for (int level = 0; level < GP_SIMD_LEVELS; level++) {
		if (gp_optim_select(level) != 0)
			continue;
		for (uint32_t i = 0; i < GP_ARRAY_SIZE(optim_vectors); i++)
			vector_run(i);
	}
}

Test(optim, schedules_at_their_edges)
{
	struct gp_optim_params p = good(GP_OPTIM_SGD);
	p.schedule = (struct gp_optim_schedule){GP_OPTIM_COSINE, 4, 10, 0, 0.01f};
	cr_assert_eq(gp_optim_lr(&p, 1), 0.1f / 4);
	cr_assert_eq(gp_optim_lr(&p, 4), 0.1f);
	cr_assert_eq(gp_optim_lr(&p, 5), 0.1f);
	cr_assert_float_eq(gp_optim_lr(&p, 10), 0.055f, 1e-8);
	cr_assert_eq(gp_optim_lr(&p, 15), 0.01f);
	cr_assert_eq(gp_optim_lr(&p, UINT32_MAX), 0.01f);
	cr_assert_eq(gp_optim_lr(&p, 0), 0.01f, "the step after the last number");
	p.schedule = (struct gp_optim_schedule){GP_OPTIM_STEP, 0, 2, 0.5f, 0};
	static const float halves[] = {0.1f, 0.1f, 0.05f, 0.05f, 0.025f};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(halves); i++)
		cr_assert_eq(gp_optim_lr(&p, 1 + i), halves[i]);
	cr_assert_eq(gp_optim_lr(&p, 0), 0);
}

// splitmix64, with NaN of several payloads, infinities, zeros and denormals among the values
static void fill(float *v, uint32_t elems, uint64_t *seed)
{
	static const uint32_t special[] = {0x7fc00001, 0xffc00002, 0x7f800003, 0xff800004,
		0x7f800000, 0xff800000, 0, 0x80000000, 1, 0x80000001};
	for (uint32_t i = 0; i < elems; i++) {
		uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);
		z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
		z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
		uint32_t pick = (uint32_t)(z >> 32) % 40;
		gp_store32(&v[i], pick < GP_ARRAY_SIZE(special) ? special[pick] : (uint32_t)z);
	}
}

#define ARRAYS 9

// Arrays of exactly the floats they need, so that a sanitizer sees an access too far.
static void twin_compare(const struct gp_optim_params *p, uint32_t elems, uint64_t seed)
{
	uint32_t states = gp_optim_row_state(p->kind, elems);
	float *a[ARRAYS]; // grad w w_read state, w_out state_out of the twin and of the kernel, a
			  // copy
	for (int i = 0; i < ARRAYS; i++) {
		uint32_t count = i == 3 || i == 5 || i >= 7 ? states : elems;
		a[i] = malloc(count * sizeof(float) + 1);
		fill(a[i], count, &seed);
	}
	struct gp_optim_block b = {.grad = a[0], .w = a[1], .w_read = a[2], .state = a[3]};
	b.elems = elems, b.stride = elems, b.step = 1 + elems, b.lr_scale = 0.5f;
	cr_assert_eq(gp_optim_select(GP_SIMD_SCALAR), 0);
	memcpy(a[8], a[5], states * sizeof(float));
	b.w_out = a[4], b.state_out = a[5];
	gp_optim_apply(p, &b);
	for (int level = GP_SIMD_SCALAR + 1; level < GP_SIMD_LEVELS; level++) {
		if (gp_optim_select(level) != 0)
			continue;
		memcpy(a[7], a[8], states * sizeof(float));
		b.w_out = a[6], b.state_out = a[7];
		gp_optim_apply(p, &b);
		bool same = memcmp(a[4], a[6], elems * sizeof(float)) == 0 &&
			    memcmp(a[5], a[7], states * sizeof(float)) == 0;
		memcpy(a[6], a[1], elems * sizeof(float));
		memcpy(a[7], a[3], states * sizeof(float));
		struct gp_optim_block in_place = b;
		in_place.w = in_place.w_out, in_place.state = in_place.state_out;
		gp_optim_apply(p, &in_place);
		same = same && memcmp(a[4], a[6], elems * sizeof(float)) == 0 &&
		       memcmp(a[5], a[7], states * sizeof(float)) == 0;
		cr_assert(same, "%s level %d elems %u decay %g", gp_optim_name(p->kind), level,
			elems, (double)p->weight_decay);
	}
	for (int i = 0; i < ARRAYS; i++)
		free(a[i]);
}

Test(optim, kernels_give_the_same_bytes)
{
	for (uint32_t elems = 0; elems < 400; elems += elems < 70 ? 1 : 37) {
		for (int kind = 0; kind < GP_OPTIM_COUNT; kind++) {
			struct gp_optim_params p = good(kind);
			p.l1 = 0.5f, p.l2 = 0.1f;
			twin_compare(&p, elems, elems);
			p.delay_compensation = 0.1f;
			twin_compare(&p, elems, elems + 1000);
			p.weight_decay = 0.01f;
			twin_compare(&p, elems, elems + 2000);
		}
	}
}

Test(optim, without_decay_an_infinite_parameter_makes_no_nan)
{
	const float grad[1] = {1}, w[1] = {INFINITY};
	float out[1];
	const struct gp_optim_params p = {.kind = GP_OPTIM_SGD, .lr = 0.5f};
	gp_optim_apply(&p, &(struct gp_optim_block){
				   .grad = grad, .w = w, .w_out = out, .elems = 1, .lr_scale = 1});
	cr_assert(isinf(out[0]));
}

Test(optim, asserts_on_a_state_that_alone_is_in_place, .signal = SIGABRT)
{
	float grad[1] = {1}, w[1] = {2}, out[1], v[1] = {0};
	const struct gp_optim_params p = {.kind = GP_OPTIM_MOMENTUM, .lr = 0.5f, .momentum = 0.5f};
	gp_optim_apply(&p, &(struct gp_optim_block){.grad = grad,
				   .w = w,
				   .w_out = out,
				   .state = v,
				   .state_out = v,
				   .elems = 1,
				   .lr_scale = 1});
}

Test(optim, asserts_on_a_scale_that_was_forgotten, .signal = SIGABRT)
{
	float grad[1] = {1}, w[1] = {2}, out[1];
	const struct gp_optim_params p = {.kind = GP_OPTIM_SGD, .lr = 0.5f};
	gp_optim_apply(
		&p, &(struct gp_optim_block){.grad = grad, .w = w, .w_out = out, .elems = 1});
}
