// SPDX-License-Identifier: BSD-3-Clause
//
// Which samples a rank sees in which step: a function of (seed, step, rank, world, batch) alone, so
// that a resumed run goes on with the same sequence. Each epoch has its own permutation, shared by
// all ranks; step s of it is a run of world * batch samples, of which rank r takes slice r. What is
// left at the end of an epoch, less than one global batch, is passed over.
#ifndef GW_SAMPLER_H
#define GW_SAMPLER_H

#include "error.h"

#include <stdint.h>

struct gw_sampler {
	uint64_t seed;
	uint32_t samples_count;
	uint32_t world;
	uint32_t batch;
	uint32_t epoch_steps; // steps in an epoch
	uint32_t epoch;	      // whose permutation is held
	uint32_t *permutation;
};

struct gw_sampler_opts {
	uint64_t seed;
	uint32_t samples_count;
	uint32_t world;
	uint32_t batch;
};

// -EINVAL when one global batch is more than the samples; -ENOMEM.
int gw_sampler_init(struct gw_sampler *s, const struct gw_sampler_opts *opts, struct gw_error *err);
void gw_sampler_fini(struct gw_sampler *s);

// `batch` sample numbers; valid until a call with a step of another epoch.
const uint32_t *gw_sampler_batch(struct gw_sampler *s, uint32_t step, uint32_t rank);

#endif
