// SPDX-License-Identifier: BSD-3-Clause
//
// The reference of updates that need the gradient of the whole step: clipping by its global norm,
// and lamb (docs/protocol.md 5). Squares are summed block by block, as the server cuts tensors into
// them. Like optimizer.h it includes and links nothing of the product.
#ifndef GW_WHOLE_STEP_H
#define GW_WHOLE_STEP_H

#include "optimizer.h"

struct gw_run {
	size_t at, count;
};

// Update number `step` of all `count` elements: tensors are runs of them, one after the other.
// `grad` is the sum of gradients, divided by `weight` first; it is used up.
struct gw_whole {
	const struct gw_run *tensors;
	size_t tensors_count, block;
	float *params, *state, *grad;
	size_t count;
	float weight;
	uint32_t step;
};
void gw_whole_apply(const struct gw_optimizer *o, const struct gw_whole *w);
// Whether the optimizer is one of those.
bool gw_is_whole(const struct gw_optimizer *o);

#endif
