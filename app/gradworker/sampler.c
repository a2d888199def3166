// SPDX-License-Identifier: BSD-3-Clause
#include "sampler.h"

#include "random.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define STREAM_EPOCH 0x65706f6368000000u // + number of the epoch

// Fisher-Yates from the identity.
static void permutation_make(struct gw_sampler *s, uint32_t epoch)
{
	struct gw_random r = gw_random_stream(s->seed, STREAM_EPOCH + epoch);

	for (uint32_t i = 0; i < s->samples_count; i++)
		s->permutation[i] = i;
	for (uint32_t i = s->samples_count - 1; i > 0; i--) {
		uint32_t j = gw_random_below(&r, i + 1);
		uint32_t held = s->permutation[i];

		s->permutation[i] = s->permutation[j];
		s->permutation[j] = held;
	}
	s->epoch = epoch;
}

int gw_sampler_init(struct gw_sampler *s, const struct gw_sampler_opts *opts, struct gw_error *err)
{
	uint64_t global = (uint64_t)opts->world * opts->batch;

	memset(s, 0, sizeof(*s));
	if (global == 0 || global > opts->samples_count)
		return gw_error_set(err, -EINVAL,
			"--batch %u for each of %u workers is %llu samples a step, but the data "
			"set "
			"has %u",
			opts->batch, opts->world, (unsigned long long)global, opts->samples_count);
	s->seed = opts->seed;
	s->samples_count = opts->samples_count;
	s->world = opts->world;
	s->batch = opts->batch;
	s->epoch_steps = (uint32_t)(opts->samples_count / global);
	s->permutation = malloc(sizeof(*s->permutation) * s->samples_count);
	if (!s->permutation)
		return gw_error_set(err, -ENOMEM, "no memory for a permutation");
	permutation_make(s, 0);
	return 0;
}

void gw_sampler_fini(struct gw_sampler *s)
{
	free(s->permutation);
	s->permutation = NULL;
}

const uint32_t *gw_sampler_batch(struct gw_sampler *s, uint32_t step, uint32_t rank)
{
	uint32_t epoch = step / s->epoch_steps;
	uint32_t at = step % s->epoch_steps * s->world + rank;

	assert(rank < s->world);
	if (epoch != s->epoch)
		permutation_make(s, epoch);
	assert((uint64_t)(at + 1) * s->batch <= s->samples_count);
	return s->permutation + (size_t)at * s->batch;
}
