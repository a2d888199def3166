// SPDX-License-Identifier: BSD-3-Clause
//
// The reference: the training of N workers through a server with momentum SGD, in one process and
// without a network. It includes and links nothing of the product, so that agreement of the bytes
// says something. Per step: the ranks' gradients are summed in rank order (the sum starts as a copy
// of rank 0's), divided by the sum of the weights (each 1), then, as in PyTorch,
//	g = g + wd w (if wd is not 0)	v = mu v + g	w = w - lr v
// each operation rounded to f32 by itself.
#ifndef GW_LOCAL_H
#define GW_LOCAL_H

#include "options.h"

#include <stddef.h>

// Trains and prints the last line. 0 or -errno with the reason.
int gw_local_run(const struct gw_options *opts, struct gw_error *err);

struct gw_momentum {
	float lr, momentum, weight_decay;
};
// One step of the optimizer over `count` elements: `sum` of the gradients, divided by `weight`.
void gw_momentum_apply(const struct gw_momentum *how, float *params, float *velocity,
	const float *sum, float weight, size_t count);

#endif
