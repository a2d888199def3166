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
	for (int kind = 0; kind < GP_OPTIM_COUNT; kind++)
		cr_assert_eq(gp_optim_parse(gp_optim_name(kind)), kind);
	cr_assert_eq(gp_optim_parse("adam"), -EINVAL);
	cr_assert_null(gp_optim_name(GP_OPTIM_COUNT));
	cr_assert_eq(gp_optim_states(GP_OPTIM_SGD), 0);
	cr_assert_eq(gp_optim_states(GP_OPTIM_MOMENTUM), 1);
	cr_assert_eq(gp_optim_states(GP_OPTIM_NESTEROV), 1);
}

Test(optim, check_names_what_is_wrong)
{
	const struct {
		struct gp_optim_params p;
		const char *word; // NULL: good
	} cases[] = {
		{{GP_OPTIM_SGD, 0.1f, 0, 0}, NULL},
		{{GP_OPTIM_SGD, 0, 5, 1}, NULL}, // sgd does not look at momentum
		{{GP_OPTIM_MOMENTUM, 0.1f, 0, 0}, NULL},
		{{GP_OPTIM_NESTEROV, 0.1f, 0.9f, 0.1f}, NULL},
		{{GP_OPTIM_COUNT, 0.1f, 0, 0}, "optimizer"},
		{{GP_OPTIM_SGD, -0.1f, 0, 0}, "lr"},
		{{GP_OPTIM_SGD, NAN, 0, 0}, "lr"},
		{{GP_OPTIM_SGD, INFINITY, 0, 0}, "lr"},
		{{GP_OPTIM_SGD, 0.1f, 0, -1}, "weight_decay"},
		{{GP_OPTIM_SGD, 0.1f, 0, NAN}, "weight_decay"},
		{{GP_OPTIM_MOMENTUM, 0.1f, 1, 0}, "momentum"},
		{{GP_OPTIM_MOMENTUM, 0.1f, -0.1f, 0}, "momentum"},
		{{GP_OPTIM_MOMENTUM, 0.1f, NAN, 0}, "momentum"},
		{{GP_OPTIM_NESTEROV, 0.1f, 0, 0}, "nesterov"},
	};
	for (size_t i = 0; i < GP_ARRAY_SIZE(cases); i++) {
		const char *why = "unset", *word = cases[i].word;
		cr_assert_eq(gp_optim_check(&cases[i].p, &why), word ? -EINVAL : 0, "case %zu", i);
		cr_assert(word ? strstr(why, word) == why : why == NULL, "case %zu: %s", i, why);
	}
}

// All steps of one vector, old and new versions in turn, as the engine does.
static void vector_run(const struct optim_vector *v)
{
	static float w[2][VECTOR_ELEMS], s[2][VECTOR_ELEMS], grad[VECTOR_ELEMS];
	const struct gp_optim_params p = {.kind = gp_optim_parse(v->kind),
		.lr = as_float(v->lr_mu_wd[0]),
		.momentum = as_float(v->lr_mu_wd[1]),
		.weight_decay = as_float(v->lr_mu_wd[2])};
	uint32_t old = 0;
	memcpy(w[old], v->w, sizeof(v->w));
	memset(s, 0, sizeof(s));
	for (uint32_t step = 0; step < VECTOR_STEPS; step++, old ^= 1) {
		memcpy(grad, v->grad[step], sizeof(grad));
		float kept[VECTOR_ELEMS];
		memcpy(kept, w[old], sizeof(kept));
		gp_optim_apply(&p, &(struct gp_optim_block){.grad = grad,
					   .w = w[old],
					   .state = s[old],
					   .w_out = w[!old],
					   .state_out = s[!old],
					   .elems = VECTOR_ELEMS});
		cr_assert_arr_eq(kept, w[old], sizeof(kept), "the old version stays");
	}
	cr_assert_arr_eq(w[old], v->w_out, sizeof(v->w_out), "%s w", v->kind);
	if (gp_optim_states(p.kind))
		cr_assert_arr_eq(s[old], v->v_out, sizeof(v->v_out), "%s state", v->kind);
}

Test(optim, agrees_with_numpy)
{
	for (int level = 0; level < GP_SIMD_LEVELS; level++) {
		if (gp_optim_select(level) != 0)
			continue;
		for (size_t i = 0; i < GP_ARRAY_SIZE(optim_vectors); i++)
			vector_run(&optim_vectors[i]);
	}
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

// Arrays of exactly elems floats, so that a sanitizer sees an access too far.
static void twin_compare(const struct gp_optim_params *p, uint32_t elems, uint64_t seed)
{
	float *a[7];
	for (int i = 0; i < 7; i++) {
		a[i] = malloc(elems * sizeof(float) + (elems == 0));
		fill(a[i], elems, &seed);
	}
	struct gp_optim_block b = {.grad = a[0], .w = a[1], .state = a[2], .elems = elems};
	cr_assert_eq(gp_optim_select(GP_SIMD_SCALAR), 0);
	b.w_out = a[3], b.state_out = a[4];
	gp_optim_apply(p, &b);
	for (int level = GP_SIMD_SCALAR + 1; level < GP_SIMD_LEVELS; level++) {
		if (gp_optim_select(level) != 0)
			continue;
		memcpy(a[6], a[4], elems * sizeof(float));
		b.w_out = a[5], b.state_out = a[6];
		gp_optim_apply(p, &b);
		bool same = memcmp(a[3], a[5], elems * sizeof(float)) == 0 &&
			    memcmp(a[4], a[6], elems * sizeof(float)) == 0;
		cr_assert(same, "%s level %d elems %u decay %g", gp_optim_name(p->kind), level,
			elems, (double)p->weight_decay);
	}
	for (int i = 0; i < 7; i++)
		free(a[i]);
}

Test(optim, kernels_give_the_same_bytes)
{
	for (uint32_t elems = 0; elems < 400; elems++) {
		for (int kind = 0; kind < GP_OPTIM_COUNT; kind++) {
			struct gp_optim_params p = {.kind = kind, .lr = 0.1f, .momentum = 0.9f};
			twin_compare(&p, elems, elems);
			p.weight_decay = 0.01f;
			twin_compare(&p, elems, elems + 1000);
		}
	}
}

Test(optim, without_decay_an_infinite_parameter_makes_no_nan)
{
	const float grad[1] = {1}, w[1] = {INFINITY};
	float out[1];
	const struct gp_optim_params p = {.kind = GP_OPTIM_SGD, .lr = 0.5f};
	gp_optim_apply(
		&p, &(struct gp_optim_block){.grad = grad, .w = w, .w_out = out, .elems = 1});
	cr_assert(isinf(out[0]));
}

Test(optim, asserts_on_an_update_in_place, .signal = SIGABRT)
{
	float grad[1] = {1}, w[1] = {2};
	const struct gp_optim_params p = {.kind = GP_OPTIM_SGD, .lr = 0.5f};
	gp_optim_apply(&p, &(struct gp_optim_block){.grad = grad, .w = w, .w_out = w, .elems = 1});
}
