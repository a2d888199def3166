// SPDX-License-Identifier: BSD-3-Clause
//
// Forward and backward pass of a model over one batch. Every operation is in a fixed order and
// rounded by itself (own exponential, no libm in what reaches a gradient), so that the same
// parameters and samples give the same gradient bytes on every machine.
//
// Zero inputs are passed over: about half of the pixels, and what ReLU cut off.
#ifndef GW_NET_H
#define GW_NET_H

#include "dataset.h"
#include "kernels.h"
#include "model.h"

#include <stdint.h>

// Memory for one batch; belongs to one thread. Matrices have one row a sample.
struct gw_net {
	const struct gw_model *model;
	gw_accumulate_fn *accumulate;
	uint32_t batch_max;
	uint32_t count; // samples loaded
	float *input;
	uint32_t *labels;
	float *out[GW_LAYERS_MAX];   // what each layer gives, after ReLU
	float *delta[GW_LAYERS_MAX]; // derivative of the mean loss by that, before ReLU
	float *transposed;	     // a weight as in x out
	struct gw_terms terms;
};

// Called during the backward pass; what is not 0 ends it and is returned.
struct gw_net_hooks {
	// Both tensors of `layer` have their gradient, and neither is read again in this pass.
	int (*ready)(void *ctx, uint32_t layer);
	// A piece of work is done; a chance to do I/O.
	int (*pause)(void *ctx);
	void *ctx;
};

struct gw_score {
	double loss; // mean over the batch
	uint32_t correct;
};

int gw_net_init(struct gw_net *net, const struct gw_model *model, uint32_t batch_max);
void gw_net_fini(struct gw_net *net);

// Loads `count` <= batch_max samples of a data set whose images have as many pixels as the model
// has inputs.
void gw_net_load(
	struct gw_net *net, const struct gw_dataset *set, const uint32_t *samples, uint32_t count);

// Forward pass over what is loaded.
struct gw_score gw_net_score(struct gw_net *net, const float *params);

// Forward and backward pass: the gradient of the mean loss, and the loss. `hooks` may be NULL.
int gw_net_gradient(struct gw_net *net, const float *params, float *gradient, double *loss,
	const struct gw_net_hooks *hooks);

#endif
