// SPDX-License-Identifier: BSD-3-Clause
//
// What the simulated workers train: a few tensors of odd sizes, gradients that depend on rank, step
// and the parameters the worker holds (so that a wrong or mixed generation spoils everything after
// it), and the reference: plain loops of one process that share nothing with the code under test.
#ifndef SIM_MODEL_H
#define SIM_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#define MODEL_TENSORS_MAX 6

struct model {
	uint64_t seed;
	bool train; // else reduce
	bool mean;
	float lr, momentum, weight_decay;
	bool nesterov;
	uint32_t tensors_count;
	uint32_t elems[MODEL_TENSORS_MAX];
	uint32_t elems_total;
};

// elems_max per tensor; counts and sizes follow from the seed.
void model_init(struct model *m, uint64_t seed, uint32_t elems_max);
// All tensors one after the other.
void model_initial(const struct model *m, float *params);
float model_weight(const struct model *m, uint32_t rank);
// What `rank` contributes at `step` when it holds `params` (train) or the previous result (reduce).
void model_gradient(
	const struct model *m, uint32_t rank, uint32_t step, const float *params, float *grad);
// One step of the reference: `grads[r]` for each of `world` ranks; params (train) or result
// (reduce) in place; `state` is the momentum buffer.
void model_step(
	const struct model *m, uint32_t world, float *const *grads, float *params, float *state);

#endif
