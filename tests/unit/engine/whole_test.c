// SPDX-License-Identifier: BSD-3-Clause
//
// Updates that need the gradient of the whole step, against the reference of gradworker --local.
#include "replay_rig.h"

#include <gp_replay.h>

#include <errno.h>
#include <stdlib.h>

#include "whole_step.h"

#define W_BLOCKS   71 // more than two pieces on one core
#define W_COUNT	   (70 * BLOCK_ELEMS + 5)
#define COUNT	   (W_COUNT + B_ELEMS)
#define ALL_BLOCKS (W_BLOCKS + 1)
#define RANKS	   3

static const struct tensor tensors[2] = {
	{.name = "w", .priority = 0, .dims_count = 1, .dims = {W_COUNT}},
	{.name = "b", .priority = 1, .dims_count = 1, .dims = {B_ELEMS}}};
static const struct gw_run runs[2] = {{0, W_COUNT}, {W_COUNT, B_ELEMS}};

static uint32_t elems_of(uint32_t block)
{
	return block < 70 ? BLOCK_ELEMS : block == 70 ? 5 : B_ELEMS;
}

static uint32_t at_of(uint32_t block)
{
	return block < W_BLOCKS ? block * BLOCK_ELEMS : W_COUNT;
}

static struct rig *whole_rig(uint32_t cores, enum gp_optim_kind kind, float clip_norm)
{
	struct rig *r = rig_new();
	r->cfg.cores_count = cores;
	r->cfg.flight_cells = 131072;
	r->cfg.flight_payloads = true;
	r->jobs[0].kind = GP_KIND_TRAIN;
	r->jobs[0].workers = RANKS;
	r->jobs[0].slots = 128;
	r->jobs[0].mean = true;
	r->jobs[0].clip_norm = clip_norm;
	r->jobs[0].optim = (struct gp_optim_params){.kind = kind,
		.lr = 0.05f,
		.momentum = kind == GP_OPTIM_MOMENTUM ? 0.9f : 0,
		.weight_decay = 0.01f,
		.beta1 = 0.9f,
		.beta2 = 0.99f,
		.epsilon = 1e-6f};
	return r;
}

static void whole_up(struct rig *r)
{
	rig_start(r);
	for (uint32_t i = 0; i < RANKS; i++) {
		cr_assert_eq(worker_enter(&r->w[i], (uint16_t)i), 0);
		cr_assert_eq(r->w[i].welcome.flags & GP_WELCOME_WHOLE, GP_WELCOME_WHOLE);
		worker_attach(&r->w[i]);
	}
	for (uint32_t i = 0; i < RANKS; i++) {
		worker_register(&r->w[i], tensors, 2, 0, 2);
		rig_run(r);
	}
	cr_assert(rig_job(r).ready);
}

static void push_block(struct rig *r, uint32_t rank, uint32_t step, uint32_t block)
{
	float values[BLOCK_ELEMS];
	for (uint32_t i = 0; i < elems_of(block); i++)
		values[i] = rig_value(rank, step, block, i);
	const struct gp_section s = {.block = block,
		.len = (uint16_t)(4 * elems_of(block)),
		.run = 1,
		.codec = GP_CODEC_F32,
		.weight = 1};
	worker_push(&r->w[rank], step, &s, values, true);
}

static void push_blocks(struct rig *r, uint32_t rank, uint32_t step, uint32_t from, uint32_t end)
{
	for (uint32_t b = from; b < end; b++)
		push_block(r, rank, step, b);
}

// What the server must have.
struct reference {
	struct gw_optimizer o;
	float params[COUNT], state[GW_STATES_MAX * COUNT], grad[COUNT];
};

static struct reference *reference_new(const struct rig *r)
{
	struct reference *x = calloc(1, sizeof(*x));
	const struct gp_optim_params *p = &r->jobs[0].optim;
	gw_optimizer_default(&x->o);
	x->o.kind = p->kind == GP_OPTIM_LAMB ? GW_LAMB : GW_MOMENTUM;
	x->o.lr = p->lr;
	x->o.momentum = p->momentum;
	x->o.weight_decay = p->weight_decay;
	x->o.beta2 = p->beta2;
	x->o.epsilon = p->epsilon;
	x->o.clip_norm = r->jobs[0].clip_norm;
	for (uint32_t b = 0; b < ALL_BLOCKS; b++)
		for (uint32_t i = 0; i < elems_of(b); i++)
			x->params[at_of(b) + i] = rig_value(0, 0, b, i);
	return x;
}

static void reference_step(struct reference *x, uint32_t step, uint32_t first, uint32_t count)
{
	for (uint32_t b = 0; b < ALL_BLOCKS; b++)
		for (uint32_t i = 0; i < elems_of(b); i++) {
			float sum = rig_value(first, step, b, i);
			for (uint32_t k = 1; k < count; k++)
				sum = sum + rig_value(first + k, step, b, i);
			x->grad[at_of(b) + i] = sum;
		}
	gw_whole_apply(&x->o, &(struct gw_whole){.tensors = runs,
				      .tensors_count = 2,
				      .block = BLOCK_ELEMS,
				      .params = x->params,
				      .state = x->state,
				      .grad = x->grad,
				      .count = COUNT,
				      .weight = (float)count,
				      .step = step});
}

static void expect(const struct rig *r, const struct reference *x, uint32_t step)
{
	uint32_t arrays = 1 + gp_optim_states(r->jobs[0].optim.kind);
	cr_assert_eq(rig_job(r).generation, step);
	for (uint32_t b = 0; b < ALL_BLOCKS; b++)
		for (uint32_t array = 0; array < arrays; array++) {
			uint32_t elems;
			const float *want = array ? x->state + (array - 1) * COUNT : x->params;
			const float *got = gp_engine_block(r->e, 0, b, step, array, &elems);
			cr_assert(got && elems == elems_of(b));
			cr_assert_arr_eq(got, want + at_of(b), 4 * elems,
				"step %u block %u array %u", step, b, array);
		}
}

static void step_all(struct rig *r, uint32_t step, uint32_t first)
{
	for (uint32_t i = first; i < RANKS; i++)
		push_blocks(r, i, step, 0, ALL_BLOCKS);
	rig_run(r);
}

static void initial(struct rig *r)
{
	whole_up(r);
	push_blocks(r, 0, 0, 0, ALL_BLOCKS);
	rig_run(r);
}

// The replay of all that was recorded has the same bytes, in the same pieces.
static void expect_replayed(const struct rig *r)
{
	static struct gp_flight_file f;
	char why[GP_FLIGHT_ERROR_SIZE] = "", err[GP_REPLAY_TEXT_SIZE] = "";
	struct gp_engine_config cfg = r->cfg;
	struct buffer b = dump(r);
	struct gp_replay *replay;
	cfg.take = take;
	cfg.give = give;
	cfg.mem_arg = NULL;
	cr_assert_eq(gp_flight_open(&f, b.bytes, b.len, why), 0, "%s", why);
	cr_assert_eq(gp_replay_create(&replay, &f, &cfg, err), 0, "%s", err);
	while (gp_replay_round(replay))
		;
	const struct gp_replay_result *x = gp_replay_result(replay);
	uint64_t seen = 1, expected = 2;
	cr_assert(!x->differs && !x->wrapped, "%s", x->text);
	uint32_t step = rig_job(r).generation;
	cr_assert_eq(gp_engine_digest(gp_replay_engine(replay), 0, step, &seen), 0);
	cr_assert_eq(gp_engine_digest(r->e, 0, step, &expected), 0);
	cr_assert_eq(seen, expected);
	gp_replay_destroy(replay);
	free(b.bytes);
}

// Norms of both sides of the limit, an attempt that a view ends when most of it is measured, and
// one that it ends in the middle of the pieces.
static void run_compared(uint32_t cores, enum gp_optim_kind kind, float clip_norm)
{
	struct rig *r = whole_rig(cores, kind, clip_norm);
	initial(r);
	struct reference *x = reference_new(r);
	for (uint32_t step = 1; step <= 4; step++) {
		step_all(r, step, 0);
		reference_step(x, step, 0, RANKS);
		expect(r, x, step);
	}
	push_blocks(r, 0, 5, 0, ALL_BLOCKS);
	push_blocks(r, 1, 5, 0, ALL_BLOCKS);
	push_blocks(r, 2, 5, 0, ALL_BLOCKS - 5);
	rig_run(r);
	expect(r, x, 4);
	worker_leave(&r->w[0]);
	rig_run(r);
	cr_assert_eq(rig_job(r).members, RANKS - 1);
	step_all(r, 5, 1);
	reference_step(x, 5, 1, RANKS - 1);
	expect(r, x, 5);
	for (uint32_t i = 1; i < RANKS; i++)
		push_blocks(r, i, 6, 0, ALL_BLOCKS);
	for (uint32_t i = 0; i < 3; i++)
		(void)rig_round(r);
	worker_leave(&r->w[1]);
	rig_run(r);
	if (rig_job(r).generation == 5) {
		push_blocks(r, 2, 6, 0, ALL_BLOCKS);
		rig_run(r);
		reference_step(x, 6, 2, 1);
	} else {
		reference_step(x, 6, 1, RANKS - 1);
	}
	expect(r, x, 6);
	expect_replayed(r);
	free(x);
	rig_free(r);
}

Test(whole, clipping_is_the_same_on_any_number_of_cores)
{
	for (uint32_t cores = 1; cores <= 4; cores++) {
		run_compared(cores, GP_OPTIM_MOMENTUM, 3e6f);
		run_compared(cores, GP_OPTIM_MOMENTUM, 1e-3f);
	}
}

Test(whole, lamb_is_too)
{
	for (uint32_t cores = 1; cores <= 4; cores += 3) {
		run_compared(cores, GP_OPTIM_LAMB, 0);
		run_compared(cores, GP_OPTIM_LAMB, 1e4f);
	}
}

Test(whole, there_is_no_result_before_all_is_there)
{
	struct rig *r = whole_rig(2, GP_OPTIM_MOMENTUM, 1);
	float got[BLOCK_ELEMS];
	initial(r);
	struct reference *x = reference_new(r);
	for (uint32_t i = 0; i < RANKS; i++)
		push_blocks(r, i, 1, 0, ALL_BLOCKS - 1);
	worker_pull(&r->w[0], 3, 1, 1, true);
	rig_run(r);
	push_block(r, 0, 1, 3); // again, and it wants a result
	rig_run(r);
	cr_assert_null(seen_result(&r->w[0], 3, 1));
	for (uint32_t i = 0; i < RANKS; i++)
		push_block(r, i, 1, ALL_BLOCKS - 1);
	rig_run(r);
	cr_assert_null(seen_result(&r->w[1], 3, 1), "nobody gets one unasked");
	cr_assert_not_null(seen_result(&r->w[0], 3, 1), "the pull was held");
	worker_pull(&r->w[1], 3, 1, 1, false);
	rig_run(r);
	reference_step(x, 1, 0, RANKS);
	for (uint32_t i = 0; i < 2; i++) {
		result_values(seen_result(&r->w[i], 3, 1), got);
		cr_assert_arr_eq(got, x->params + at_of(3), sizeof(got));
	}
	free(x);
	rig_free(r);
}

// Ranks may pass a block; where nobody contributes it stays, and is in no norm.
Test(whole, a_block_that_nobody_contributes_to_stays)
{
	for (uint32_t kind = 0; kind < 2; kind++) {
		struct rig *r = whole_rig(2, kind ? GP_OPTIM_LAMB : GP_OPTIM_MOMENTUM, 1);
		uint32_t elems;
		initial(r);
		for (uint32_t i = 0; i < RANKS; i++) {
			const struct gp_section s = {.block = 7, .run = 1};
			push_blocks(r, i, 1, 0, 7);
			worker_push(&r->w[i], 1, &s, NULL, false);
			push_blocks(r, i, 1, 8, ALL_BLOCKS);
		}
		rig_run(r);
		cr_assert_eq(rig_job(r).generation, 1);
		const float *got = gp_engine_block(r->e, 0, 7, 1, 0, &elems);
		for (uint32_t i = 0; i < elems; i++)
			cr_assert_eq(got[i], rig_value(0, 0, 7, i));
		rig_free(r);
	}
}

Test(whole, is_refused_where_there_is_no_whole_step)
{
	static const struct {
		uint8_t kind, consistency, atomicity;
		float clip_norm;
		enum gp_optim_kind optim;
	} cases[] = {
		{GP_KIND_REDUCE, GP_CONSIST_BSP, GP_ATOM_STEP, 1, GP_OPTIM_SGD},
		{GP_KIND_TRAIN, GP_CONSIST_ASP, GP_ATOM_STEP, 1, GP_OPTIM_SGD},
		{GP_KIND_TRAIN, GP_CONSIST_BSP, GP_ATOM_TENSOR, 1, GP_OPTIM_SGD},
		{GP_KIND_TRAIN, GP_CONSIST_BSP, GP_ATOM_STEP, -1, GP_OPTIM_SGD},
		{GP_KIND_TRAIN, GP_CONSIST_SSP, GP_ATOM_BLOCK, 0, GP_OPTIM_LAMB},
		{GP_KIND_TRAIN, GP_CONSIST_BSP, GP_ATOM_BLOCK, 0, GP_OPTIM_LAMB},
	};
	for (size_t i = 0; i < GP_ARRAY_SIZE(cases); i++) {
		struct rig *r = rig_new();
		struct gp_engine *e;
		struct gp_xport *none[1] = {NULL};
		r->jobs[0].kind = cases[i].kind;
		r->jobs[0].consistency = cases[i].consistency;
		r->jobs[0].atomicity = cases[i].atomicity;
		r->jobs[0].clip_norm = cases[i].clip_norm;
		r->jobs[0].optim.kind = cases[i].optim;
		cr_assert_eq(gp_engine_create(&e, &r->cfg, none), -EINVAL, "case %zu", i);
		free(r);
	}
}
