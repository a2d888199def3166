// SPDX-License-Identifier: BSD-3-Clause
#include "whole_step.h"

#include <math.h>

bool gw_is_whole(const struct gw_optimizer *o)
{
	return o->clip_norm > 0 || o->kind == GW_LAMB;
}

// Added in the order of the run's blocks.
static double squares_add(double sum, const float *values, size_t count, size_t block)
{
	for (size_t i = 0; i < count; i += block)
		sum += gw_squares(values + i, count - i < block ? count - i : block);
	return sum;
}

static void clip(const struct gw_whole *w, float norm_max)
{
	double sum = 0, norm;
	float factor;

	for (size_t t = 0; t < w->tensors_count; t++)
		sum = squares_add(sum, w->grad + w->tensors[t].at, w->tensors[t].count, w->block);
	norm = sqrt(sum);
	if (!(norm > (double)norm_max))
		return;
	factor = (float)((double)norm_max / norm);
	if (factor < 0x1p-149f)
		factor = 0x1p-149f;
	for (size_t i = 0; i < w->count; i++)
		w->grad[i] = w->grad[i] * factor;
}

// The update takes the place of the gradient.
static void lamb_update(const struct gw_optimizer *o, const struct gw_whole *w)
{
	double beta1 = (double)o->beta1, beta2 = (double)o->beta2;
	float size = (float)(1 / (1 - gw_power(beta1, w->step)));
	float root = (float)(1 / sqrt(1 - gw_power(beta2, w->step)));
	float rest1 = (float)(1 - beta1), rest2 = (float)(1 - beta2);

	for (size_t i = 0; i < w->count; i++) {
		float *m = &w->state[i], *v = &w->state[w->count + i], g = w->grad[i];

		*m = o->beta1 * *m + rest1 * g;
		*v = o->beta2 * *v + (rest2 * g) * g;
		w->grad[i] = (size * *m) / (sqrtf(*v) * root + o->epsilon) +
			     o->weight_decay * w->params[i];
	}
}

static void lamb_apply(const struct gw_optimizer *o, const struct gw_whole *w)
{
	float lr = (float)gw_rate(o, w->step);

	lamb_update(o, w);
	for (size_t t = 0; t < w->tensors_count; t++) {
		const struct gw_run *r = &w->tensors[t];
		double params = squares_add(0, w->params + r->at, r->count, w->block);
		double update = squares_add(0, w->grad + r->at, r->count, w->block);
		float ratio = 1, rate;

		if (params > 0 && update > 0 && isfinite(params) && isfinite(update))
			ratio = (float)(sqrt(params) / sqrt(update));
		rate = lr * ratio;
		for (size_t i = r->at; i < r->at + r->count; i++)
			w->params[i] = w->params[i] - rate * w->grad[i];
	}
}

void gw_whole_apply(const struct gw_optimizer *o, const struct gw_whole *w)
{
	const struct gw_update u = {.params = w->params,
		.state = w->state,
		.sum = w->grad,
		.count = w->count,
		.span = w->count,
		.weight = 1,
		.step = w->step};

	for (size_t i = 0; i < w->count; i++)
		w->grad[i] = w->grad[i] / w->weight;
	if (o->clip_norm > 0)
		clip(w, o->clip_norm);
	if (o->kind == GW_LAMB)
		lamb_apply(o, w);
	else
		gw_optimizer_apply(o, &u);
}
