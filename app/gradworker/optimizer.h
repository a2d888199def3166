// SPDX-License-Identifier: BSD-3-Clause
//
// The reference of the server's optimizers, for --local: plain loops over the formulas of
// lib/optim/gp_optim.h, each operation rounded to f32 by itself. It includes and links nothing of
// the product, so that agreement of the bytes says something. No threads, no memory of its own.
#ifndef GW_OPTIMIZER_H
#define GW_OPTIMIZER_H

#include "error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GW_STATES_MAX 2u

enum gw_optimizer_kind {
	GW_SGD,
	GW_MOMENTUM,
	GW_NESTEROV,
	GW_ADAGRAD,
	GW_ADAM,
	GW_ADAMW,
	GW_FTRL,
	GW_LAMB, // whole_step.h
};
enum gw_schedule { GW_CONSTANT, GW_STEP, GW_COSINE };

// As in jobs[].optimizer of a server's configuration.
struct gw_optimizer {
	enum gw_optimizer_kind kind;
	enum gw_schedule schedule;
	float lr, momentum, weight_decay, beta1, beta2, epsilon, initial_accumulator, ftrl_beta, l1,
		l2, gamma, lr_min, clip_norm;
	uint32_t warmup_steps, schedule_steps;
};

// momentum 0.9, lr 0.1 and the server's defaults for the rest.
void gw_optimizer_default(struct gw_optimizer *o);
// NAME[,KEY=VALUE]..., keys as in the configuration: takes the name, its defaults, then the values.
// -EINVAL with what is wrong; what goes together is the server's to judge.
int gw_optimizer_parse(struct gw_optimizer *o, const char *text, struct gw_error *err);

// Where `state` (GW_STATES_MAX runs of `count`) begins.
void gw_optimizer_begin(const struct gw_optimizer *o, float *state, size_t count);
// Update number `step` (from 1) of elements at .. at + span of `params`; `sum` of the gradients is
// divided by `weight` first. `sum`, `params` and each run of `state` have `count` elements.
struct gw_update {
	float *params, *state;
	const float *sum;
	size_t count, at, span;
	float weight;
	uint32_t step;
};
void gw_optimizer_apply(const struct gw_optimizer *o, const struct gw_update *u);

// The learning rate of an update, and x to the n as the server computes it.
double gw_rate(const struct gw_optimizer *o, uint32_t step);
double gw_power(double x, uint64_t n);

// The squares of a block summed: 16 lanes of f64, folded by halves.
double gw_squares(const float *values, size_t count);
// A gradient's norm over a block is the root of that; above `norm_max` each value is multiplied by
// norm_max / norm.
void gw_clamp(float *values, size_t count, float norm_max);

#endif
