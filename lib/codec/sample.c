// SPDX-License-Identifier: BSD-3-Clause
//
// A threshold for a whole tensor from a sample of it.
#include "codec_priv.h"

#define SAMPLES_ABOVE 256 // of the sample, so that the share kept is right within 1/16

// splitmix64
static inline uint64_t next_random(uint64_t *seed)
{
	uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

uint32_t gp_codec_sample_count(uint64_t elems, uint64_t keep)
{
	uint64_t samples = elems;
	GP_ASSERT(keep >= 1);
	if (keep < elems && elems / keep < UINT32_MAX / SAMPLES_ABOVE)
		samples = (uint64_t)SAMPLES_ABOVE * (elems / keep);
	return (uint32_t)GP_MIN(GP_MIN(samples, elems), (uint64_t)INT32_MAX);
}

// How many of the sample have a key of at least `key`.
static uint32_t count_from(const float *v, uint32_t count, int32_t key)
{
	uint32_t n = 0, part;
	const struct codec_kernels *kn = codec_kernels_get();
	for (uint32_t i = 0; i < count; i += part) {
		part = GP_MIN(count - i, (uint32_t)GP_CODEC_ELEMS_MAX);
		n += kn->count_above(v + i, part, key - 1);
	}
	return n;
}

float gp_codec_threshold(const float *grad, const float *residual, uint64_t elems, uint64_t keep,
	uint32_t samples, uint64_t seed, float *work)
{
	GP_ASSERT(samples >= 1 && samples <= elems && keep >= 1);
	for (uint32_t i = 0; i < samples; i++) {
		// Stratum i, in 128 bits because elems x i may be large.
		uint64_t from = (uint64_t)((unsigned __int128)elems * i / samples);
		uint64_t end = (uint64_t)((unsigned __int128)elems * (i + 1) / samples);
		uint64_t at = from + (end - from > 1 ? next_random(&seed) % (end - from) : 0);
		work[i] = residual ? gp_fadd(grad[at], residual[at]) : grad[at];
	}
	uint64_t above = (uint64_t)((double)samples * (double)keep / (double)elems + 0.5);
	above = GP_MAX(GP_MIN(above, (uint64_t)samples), (uint64_t)1);
	// The highest key that `above` of the sample reach; keys order like magnitudes. Zero,
	// infinity and NaN are no thresholds.
	int32_t low = 1, high = (int32_t)CODEC_EXP_MASK;
	while (high - low > 1) {
		int32_t mid = low + (high - low) / 2;
		if (count_from(work, samples, mid) >= above)
			low = mid;
		else
			high = mid;
	}
	return gp_loadf(&low);
}
