// SPDX-License-Identifier: BSD-3-Clause
//
// The reference for steps whose update needs the whole gradient: clipping by its global norm, and
// lamb (docs/protocol.md 5). Plain loops over one array of everything, block after block.
#ifndef SIM_WHOLE_STEP_H
#define SIM_WHOLE_STEP_H

#include "oracle.h"

// A norm that a step of this model is above about as often as below.
float whole_clip(const struct model *m, uint32_t percent);
// All blocks of `step` from the means of what was contributed, [elems_total]. `params` and
// k->state: from the step before to this one.
void whole_compute(struct oracle *k, uint32_t step, float *means, float *params);

#endif
