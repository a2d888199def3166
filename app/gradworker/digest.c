// SPDX-License-Identifier: BSD-3-Clause
#include "digest.h"

#include <assert.h>
#include <string.h>
#include <xxhash.h>

#define CHUNK_COUNT 1024

uint64_t gw_digest(const float *values, size_t count)
{
	XXH3_state_t *state = XXH3_createState();
	float chunk[CHUNK_COUNT];
	uint64_t digest;

	assert(state);
	XXH3_64bits_reset(state);
	for (size_t at = 0; at < count; at += CHUNK_COUNT) {
		size_t n = count - at < CHUNK_COUNT ? count - at : CHUNK_COUNT;

		for (size_t i = 0; i < n; i++)
			chunk[i] = values[at + i] == 0.0f ? 0.0f : values[at + i];
		XXH3_64bits_update(state, chunk, n * sizeof(*chunk));
	}
	digest = XXH3_64bits_digest(state);
	XXH3_freeState(state);
	return digest;
}
