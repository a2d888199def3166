// SPDX-License-Identifier: BSD-3-Clause
//
// What the engine should have made, by plain loops over what the generator sent.
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>

static float contribution(
	const struct rig *r, const struct rig_worker *w, uint32_t step, uint32_t block, uint32_t i)
{
	if (i < RIG_LINE_ELEMS)
		return rig_stamp(w->rank, step, block);
	return rig_payload(r, w->where[block])[i];
}

static void sum_of(const struct rig *r, uint32_t job, uint32_t step, uint32_t block, float *sum)
{
	const struct rig_worker *w = &r->workers[(size_t)job * r->o.workers];
	for (uint32_t i = 0; i < r->block_elems; i++)
		sum[i] = contribution(r, &w[0], step, block, i);
	for (uint32_t k = 1; k < r->o.workers; k++)
		for (uint32_t i = 0; i < r->block_elems; i++)
			sum[i] = sum[i] + contribution(r, &w[k], step, block, i);
}

// The parameters and momentum after `step`, from those before it.
static bool updated(const struct rig *r, uint32_t job, uint32_t step, uint32_t block, float *sum,
	const float *v)
{
	const struct gp_optim_params *p = &r->jobs[job].optim;
	uint32_t elems;
	const float *w = gp_engine_block(r->engine, job, block, step - 1, 0, &elems);
	const float *m = gp_engine_block(r->engine, job, block, step - 1, 1, &elems);
	if (!w || !m || elems != r->block_elems)
		return false;
	for (uint32_t i = 0; i < r->block_elems; i++) {
		float state = p->momentum * m[i];
		state = state + sum[i];
		if (memcmp(&v[i], &state, sizeof(state)) != 0)
			return false;
		float delta = p->lr * state;
		sum[i] = w[i] - delta;
	}
	return true;
}

static bool block_good(const struct rig *r, uint32_t job, uint32_t step, uint32_t block)
{
	float expected[GP_CODEC_ELEMS_MAX];
	uint32_t elems = 0;
	const float *got = gp_engine_block(r->engine, job, block, step, 0, &elems);
	if (!got || elems != r->block_elems)
		return false;
	sum_of(r, job, step, block, expected);
	if (r->o.train) {
		const float *m = gp_engine_block(r->engine, job, block, step, 1, &elems);
		if (!m || !updated(r, job, step, block, expected, m))
			return false;
	}
	return memcmp(got, expected, elems * sizeof(float)) == 0;
}

bool rig_check(struct rig *r)
{
	uint32_t step = r->step_last;
	for (uint32_t j = 0; j < r->o.jobs; j++)
		for (uint32_t b = 0; b < r->blocks; b++) {
			if (block_good(r, j, step, b))
				continue;
			fprintf(stderr,
				"gradbench: job %u, step %u, block %u is not what was sent\n", j,
				step, b);
			return false;
		}
	return true;
}
