// SPDX-License-Identifier: BSD-3-Clause
#include "whole_step.h"

#include <math.h>

#define LANES 16

float whole_clip(const struct model *m, uint32_t percent)
{
	// A rank's elements are as large as its gradient, 1 to 64.
	if (m->exact)
		return sqrtf((float)m->elems_total) * 0.37f * (float)percent;
	// Elements of all ranks are independent and even in [-1, 1).
	float norm = sqrtf((float)m->elems_total * (float)m->o->workers / 3.0f);
	if (m->mean)
		norm /= 1.1f * (float)m->o->workers;
	return norm * (float)percent / 100.0f;
}

static double squares(const float *v, uint32_t count)
{
	double lane[LANES] = {0};
	for (uint32_t i = 0; i < count; i++)
		lane[i % LANES] += (double)v[i] * (double)v[i];
	for (uint32_t half = LANES / 2; half > 0; half /= 2)
		for (uint32_t j = 0; j < half; j++)
			lane[j] += lane[j + half];
	return lane[0];
}

static void clip(const struct oracle *k, float *means)
{
	double sum = 0;
	for (uint32_t b = 0; b < k->blocks_count; b++)
		sum += squares(means + k->blocks[b].from, k->blocks[b].elems);
	double norm = sqrt(sum);
	if (!(norm > (double)k->m->clip))
		return;
	float factor = (float)((double)k->m->clip / norm);
	factor = factor > 0x1p-149f ? factor : 0x1p-149f;
	for (uint32_t i = 0; i < k->m->elems_total; i++)
		means[i] = means[i] * factor;
}

static double power(double x, uint64_t n)
{
	double p = 1;
	for (; n > 0; n >>= 1) {
		if (n & 1)
			p = p * x;
		x = x * x;
	}
	return p;
}

// Leaves the update in `g`.
static void lamb_update(const struct oracle *k, const struct oracle_block *b, uint32_t step,
	float *g, float *params)
{
	double beta1 = (double)LAMB_BETA1, beta2 = (double)LAMB_BETA2;
	float size = (float)(1 / (1 - power(beta1, step)));
	float root = (float)(1 / sqrt(1 - power(beta2, step)));
	float rest1 = (float)(1 - beta1), rest2 = (float)(1 - beta2);
	float *m = k->state, *v = k->state + k->m->elems_total;
	for (uint32_t i = b->from; i < b->from + b->elems; i++) {
		m[i] = LAMB_BETA1 * m[i] + rest1 * g[i];
		v[i] = LAMB_BETA2 * v[i] + (rest2 * g[i]) * g[i];
		float below = sqrtf(v[i]) * root + LAMB_EPSILON;
		g[i] = (size * m[i]) / below + k->m->weight_decay * params[i];
	}
}

// Blocks [first, end) are one tensor.
static void lamb_tensor(const struct oracle *k, uint32_t first, uint32_t end, uint32_t step,
	float *g, float *params)
{
	double of_params = 0, of_update = 0;
	for (uint32_t b = first; b < end; b++) {
		const struct oracle_block *ob = &k->blocks[b];
		lamb_update(k, ob, step, g, params);
		of_params += squares(params + ob->from, ob->elems);
		of_update += squares(g + ob->from, ob->elems);
	}
	float ratio = 1;
	if (of_params > 0 && of_update > 0)
		ratio = (float)(sqrt(of_params) / sqrt(of_update));
	float lr = k->m->lr * ratio;
	for (uint32_t b = first; b < end; b++)
		for (uint32_t i = k->blocks[b].from; i < k->blocks[b].from + k->blocks[b].elems;
			i++)
			params[i] = params[i] - lr * g[i];
}

void whole_compute(struct oracle *k, uint32_t step, float *means, float *params)
{
	if (k->m->clip > 0)
		clip(k, means);
	if (!k->m->lamb) {
		model_update(k->m, means, params, k->state, k->m->elems_total);
		return;
	}
	for (uint32_t b = 0, first = 0; b < k->blocks_count; b++) {
		bool last = b + 1 == k->blocks_count;
		if (!last && k->blocks[b + 1].tensor == k->blocks[first].tensor)
			continue;
		lamb_tensor(k, first, b + 1, step, means, params);
		first = b + 1;
	}
}
