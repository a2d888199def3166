// SPDX-License-Identifier: BSD-3-Clause
#include "model.h"

static uint64_t mix(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

// In [-1, 1).
static float noise(uint64_t seed, uint64_t a, uint64_t b)
{
	uint64_t h = mix(mix(seed ^ mix(a)) ^ b);
	return (float)(int32_t)(h >> 40) / 8388608.0f - 1.0f;
}

void model_init(struct model *m, uint64_t seed, uint32_t elems_max)
{
	m->seed = seed;
	m->tensors_count = 1 + (uint32_t)(mix(seed) % MODEL_TENSORS_MAX);
	m->elems_total = 0;
	for (uint32_t t = 0; t < m->tensors_count; t++) {
		m->elems[t] = 1 + (uint32_t)(mix(seed + t + 1) % elems_max);
		m->elems_total += m->elems[t];
	}
	m->lr = 0.05f;
	m->momentum = 0.9f;
	m->weight_decay = mix(seed ^ 1) % 2 ? 0.001f : 0.0f;
	m->nesterov = mix(seed ^ 2) % 2;
	m->mean = mix(seed ^ 3) % 2;
}

void model_initial(const struct model *m, float *params)
{
	for (uint32_t i = 0; i < m->elems_total; i++)
		params[i] = noise(m->seed, 1, i);
}

float model_weight(const struct model *m, uint32_t rank)
{
	return 1.0f + (float)(mix(m->seed ^ rank) % 3);
}

void model_gradient(
	const struct model *m, uint32_t rank, uint32_t step, const float *params, float *grad)
{
	uint64_t who = ((uint64_t)step << 16 | rank) + 2;
	for (uint32_t i = 0; i < m->elems_total; i++)
		grad[i] = noise(m->seed, who, i) + 0.25f * params[i];
}

void model_step(
	const struct model *m, uint32_t world, float *const *grads, float *params, float *state)
{
	float weights = model_weight(m, 0);
	for (uint32_t r = 1; r < world; r++)
		weights += model_weight(m, r);
	for (uint32_t i = 0; i < m->elems_total; i++) {
		float sum = grads[0][i];
		for (uint32_t r = 1; r < world; r++)
			sum += grads[r][i];
		if (m->mean)
			sum = sum / weights;
		if (!m->train) {
			params[i] = sum;
			continue;
		}
		float g = sum;
		if (m->weight_decay != 0.0f)
			g = g + m->weight_decay * params[i];
		state[i] = m->momentum * state[i] + g;
		float d = m->nesterov ? g + m->momentum * state[i] : state[i];
		params[i] = params[i] - m->lr * d;
	}
}
