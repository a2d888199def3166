// SPDX-License-Identifier: BSD-3-Clause
//
// What 512-bit registers do better than 256: every contribution is looked through for NaN and
// infinity when it arrives.
#include "codec_avx2.h"

#define LANES	 16u
#define EXP_MASK 0x7f800000

static inline __m512i magnitude16(const uint8_t *p)
{
	return _mm512_and_si512(_mm512_loadu_si512(p), _mm512_set1_epi32(0x7fffffff));
}

// The largest magnitude as an integer: above all finite ones are infinity and NaN.
bool codec_f32_finite_avx512(const uint8_t *payload, uint32_t count)
{
	__m512i max0 = _mm512_setzero_si512(), max1 = max0;
	uint32_t i = 0;
	for (; i + 2 * LANES <= count; i += 2 * LANES) {
		max0 = _mm512_max_epu32(max0, magnitude16(payload + 4 * i));
		max1 = _mm512_max_epu32(max1, magnitude16(payload + 4 * i + 4 * LANES));
	}
	for (; i < count; i += LANES) {
		__mmask16 in = (__mmask16)(count - i >= LANES ? 0xffff : (1u << (count - i)) - 1);
		__m512i x = _mm512_maskz_loadu_epi32(in, payload + 4 * i);
		x = _mm512_and_si512(x, _mm512_set1_epi32(0x7fffffff));
		max0 = _mm512_max_epu32(max0, x);
	}
	max0 = _mm512_max_epu32(max0, max1);
	return _mm512_cmpge_epu32_mask(max0, _mm512_set1_epi32(EXP_MASK)) == 0;
}
