// SPDX-License-Identifier: BSD-3-Clause
//
// What the simulated workers train: a few tensors of odd sizes, and gradients that depend on rank,
// step and the parameters the worker holds, so that a wrong or mixed generation spoils everything
// after it. The rules of one step (docs/protocol.md 5) as plain loops that share nothing with the
// code under test.
#ifndef SIM_MODEL_H
#define SIM_MODEL_H

#include "opts.h"

#define MODEL_TENSORS_MAX 8
#define MODEL_DIM_MAX	  12  // embed: of a row
#define MODEL_ROWS_MAX	  512 // of a table

#define LAMB_BETA1   0.9f
#define LAMB_BETA2   0.999f
#define LAMB_EPSILON 1e-6f

struct model {
	uint64_t seed;
	bool train; // else reduce
	bool mean;
	bool exact; // asynchronous: whole numbers, see ledger.h
	const struct sim_opts *o;
	float lr, momentum, weight_decay;
	bool nesterov;
	bool lamb;
	float clip;	 // 0: no gradient is clipped
	uint32_t states; // arrays
	float feedback;	 // of what a worker holds on what it contributes
	uint32_t tensors_count;
	uint32_t elems[MODEL_TENSORS_MAX];
	uint32_t from[MODEL_TENSORS_MAX]; // first element, among those of all tensors
	uint32_t dim[MODEL_TENSORS_MAX];  // embed: elements of a row
	uint32_t elems_total;
};

void model_init(struct model *m, const struct sim_opts *o);
// What `rank` brings as initial parameters, all tensors one after the other.
void model_initial(const struct model *m, uint32_t rank, float *params);
float model_weight(const struct model *m, uint32_t rank);
// What `rank` contributes to tensor `t` at `step` when it holds `params` (of that tensor).
void model_gradient(const struct model *m, uint32_t rank, uint32_t step, uint32_t t,
	const float *params, float *grad);
// `count` elements of one step of a train job whose gradient, as it counts, is `grad`; params and
// the momentum buffer in place, from the step before to this one. Not for lamb (whole_step.h).
void model_update(
	const struct model *m, const float *grad, float *params, float *state, uint32_t count);
// What all contributed, `sums`, becomes what counts: in a mean, over the weights.
void model_mean(const struct model *m, float *sums, float weights, uint32_t count);

#endif
