// SPDX-License-Identifier: BSD-3-Clause
#include "model.h"
#include "ledger.h"
#include "rng.h"
#include "whole_step.h"

#include <gp_wire.h>

#define CODEC_F32 1 // docs/protocol.md 3

// In [-1, 1).
static inline float noise(uint64_t key, uint32_t i)
{
	uint64_t h = (key + i) * UINT64_C(0xd1342543de82ef95);
	h = (h ^ (h >> 32)) * UINT64_C(0x9e3779b97f4a7c15);
	return (float)(int32_t)(h >> 40) / 8388608.0f - 1.0f;
}

static uint64_t key_of(const struct model *m, uint64_t a, uint64_t b)
{
	return rng_mix(rng_mix(m->seed ^ rng_mix(a)) ^ b);
}

void model_init(struct model *m, const struct sim_opts *o)
{
	uint64_t how = rng_mix(o->seed ^ 0x6d6f64656c);
	*m = (struct model){
		.seed = o->seed,
		.train = o->train,
		.mean = o->mean,
		.lr = 0.05f,
		.momentum = 0.9f,
		.weight_decay = how & 1 ? 0.001f : 0.0f,
		.nesterov = how >> 1 & 1,
		.tensors_count = o->tensors,
		.exact = o->consistency != GP_CONSIST_BSP,
		.o = o,
	};
	if (m->exact)
		m->lr = 1.0f;
	m->lamb = o->lamb;
	m->states = m->lamb ? 2 : 1;
	if (m->lamb)
		m->lr = 0.01f;
	// Values stay small, also where a codec keeps most of a gradient back for many steps.
	m->feedback = (o->codec == CODEC_F32 && !o->mixed ? 0.25f : 0.001f) / (float)o->workers;
	for (uint32_t t = 0; t < m->tensors_count; t++) {
		m->from[t] = m->elems_total;
		m->elems[t] = 1 + (uint32_t)(rng_mix(o->seed * 64 + t) % o->elems_max);
		m->dim[t] = 1 + (uint32_t)(rng_mix(o->seed * 64 + t + 32) % MODEL_DIM_MAX);
		if (o->embed) // whole rows
			m->elems[t] =
				m->dim[t] * GP_MIN(1 + m->elems[t] / m->dim[t], MODEL_ROWS_MAX);
		m->elems_total += m->elems[t];
	}
	m->clip = o->clip_percent > 0 ? whole_clip(m, o->clip_percent) : 0;
}

void model_initial(const struct model *m, uint32_t rank, float *params)
{
	uint64_t key = key_of(m, 1, rank);
	for (uint32_t i = 0; i < m->elems_total; i++)
		params[i] = m->exact ? ledger_initial(rank, i) : noise(key, i);
}

float model_weight(const struct model *m, uint32_t rank)
{
	if (m->exact)
		return 1.0f;
	return 0.5f + 0.3f * (float)(rng_mix(m->seed ^ rank) % 5);
}

void model_gradient(const struct model *m, uint32_t rank, uint32_t step, uint32_t t,
	const float *params, float *grad)
{
	uint64_t key = key_of(m, ((uint64_t)step << 16 | rank) + 2, t);
	for (uint32_t i = 0; i < m->elems[t] && m->exact; i++)
		grad[i] = ledger_gradient(m->o, rank, step, m->from[t] + i);
	for (uint32_t i = 0; i < m->elems[t] && !m->exact; i++)
		grad[i] = noise(key, i) + m->feedback * params[i];
}

void model_update(
	const struct model *m, const float *grad, float *params, float *state, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		float g = grad[i];
		if (m->weight_decay != 0.0f)
			g = g + m->weight_decay * params[i];
		state[i] = m->momentum * state[i] + g;
		float d = m->nesterov ? g + m->momentum * state[i] : state[i];
		params[i] = params[i] - m->lr * d;
	}
}

void model_mean(const struct model *m, float *sums, float weights, uint32_t count)
{
	for (uint32_t i = 0; i < count && m->mean; i++)
		sums[i] = sums[i] / weights;
}
