// SPDX-License-Identifier: BSD-3-Clause
#include "inet_priv.h"

// The low and the high word of each 64 bits, summed apart: neither can overflow.
uint64_t inet_sum_lines_avx2(const uint8_t *p, uint32_t lines, uint64_t sum)
{
	const __m256i low = _mm256_set1_epi64x(UINT32_MAX);
	__m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
	for (uint32_t i = 0; i < lines; i++, p += INET_SUM_LINE) {
		__m256i x = _mm256_loadu_si256((const __m256i *)(const void *)p);
		__m256i y = _mm256_loadu_si256((const __m256i *)(const void *)(p + 32));
		a = _mm256_add_epi64(a, _mm256_and_si256(x, low));
		b = _mm256_add_epi64(b, _mm256_srli_epi64(x, 32));
		c = _mm256_add_epi64(c, _mm256_and_si256(y, low));
		d = _mm256_add_epi64(d, _mm256_srli_epi64(y, 32));
	}
	uint64_t lane[4];
	a = _mm256_add_epi64(_mm256_add_epi64(a, b), _mm256_add_epi64(c, d));
	_mm256_storeu_si256((__m256i *)(void *)lane, a);
	return sum + lane[0] + lane[1] + lane[2] + lane[3];
}
