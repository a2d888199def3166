// SPDX-License-Identifier: BSD-3-Clause
//
// The numbers of a step, in binary64 by fixed sequences of operations, so that every machine and
// every other program that follows them gets the same ones.
#include "optim_priv.h"

#include <math.h>

#define PI	  3.14159265358979323846
#define COS_TERMS 12 // (pi / 2)^(2 * 12) / 24! is below 2^-63

// cos(pi * x), 0 <= x <= 1: the Taylor series in z = (pi * y)^2 by Horner's rule, c = 1 - c * z /
// ((2 k - 1) (2 k)) for k = 12 .. 1 from c = 1; y = x, or 1 - x with the sign changed above 1 / 2.
static double cos_pi(double x)
{
	double y = x > 0.5 ? 1 - x : x;
	double z = (PI * y) * (PI * y), c = 1;
	for (int k = COS_TERMS; k >= 1; k--)
		c = 1 - c * z / (double)((2 * k - 1) * (2 * k));
	return x > 0.5 ? -c : c;
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

// Updates made so far, this one included; steps wrap.
static uint64_t updates(uint32_t step)
{
	return step ? step : UINT64_C(1) << 32;
}

static double rate(const struct gp_optim_params *p, uint32_t step)
{
	const struct gp_optim_schedule *s = &p->schedule;
	uint64_t k = updates(step) - 1;
	double lr = (double)p->lr, low = (double)s->lr_min;
	if (k < s->warmup_steps)
		return lr * (double)(k + 1) / (double)s->warmup_steps;
	k -= s->warmup_steps;
	switch (s->kind) {
	case GP_OPTIM_STEP:
		return lr * power((double)s->gamma, k / s->steps);
	case GP_OPTIM_COSINE:
		if (k >= s->steps)
			return low;
		return low + (lr - low) * (1 + cos_pi((double)k / (double)s->steps)) / 2;
	default:
		return lr;
	}
}

float gp_optim_lr(const struct gp_optim_params *p, uint32_t step)
{
	return (float)rate(p, step);
}

static void plan_adam(struct gp_optim_plan *n, const struct gp_optim_params *p, uint32_t step)
{
	uint64_t t = updates(step);
	double beta1 = (double)p->beta1, beta2 = (double)p->beta2;
	double size = p->kind == GP_OPTIM_LAMB ? 1 : rate(p, step);
	n->lr = (float)(size / (1 - power(beta1, t)));
	n->root = (float)(1 / sqrt(1 - power(beta2, t)));
	n->beta1 = p->beta1;
	n->beta2 = p->beta2;
	n->rest1 = (float)(1 - beta1);
	n->rest2 = (float)(1 - beta2);
}

void optim_plan_numbers(struct gp_optim_plan *n, const struct gp_optim_params *p, uint32_t step)
{
	n->step = step;
	n->lr = gp_optim_lr(p, step);
	n->decay = p->weight_decay;
	n->momentum = p->momentum;
	n->epsilon = p->epsilon;
	n->lambda = p->delay_compensation;
	if (p->kind == GP_OPTIM_ADAMW) {
		n->lr_decay = n->lr;
		n->decoupled = p->weight_decay;
		n->decay = 0;
	}
	if (p->kind == GP_OPTIM_LAMB) {
		n->decoupled = p->weight_decay;
		n->decay = 0;
	}
	if (p->kind == GP_OPTIM_ADAM || p->kind == GP_OPTIM_ADAMW || p->kind == GP_OPTIM_LAMB)
		plan_adam(n, p, step);
	if (p->kind == GP_OPTIM_FTRL) {
		n->inverse = (float)(1 / rate(p, step));
		n->ftrl_beta = p->ftrl_beta;
		n->l1 = p->l1;
		n->l2 = p->l2;
	}
}
