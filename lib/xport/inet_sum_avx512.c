// SPDX-License-Identifier: BSD-3-Clause
#include "inet_priv.h"

// The low and the high word of each 64 bits, summed apart: neither can overflow.
uint64_t inet_sum_lines_avx512(const uint8_t *p, uint32_t lines, uint64_t sum)
{
	const __m512i low = _mm512_set1_epi64(UINT32_MAX);
	__m512i a = _mm512_setzero_si512(), b = a;
	for (uint32_t i = 0; i < lines; i++, p += INET_SUM_LINE) {
		__m512i x = _mm512_loadu_si512(p);
		a = _mm512_add_epi64(a, _mm512_and_si512(x, low));
		b = _mm512_add_epi64(b, _mm512_srli_epi64(x, 32));
	}
	return sum + (uint64_t)_mm512_reduce_add_epi64(_mm512_add_epi64(a, b));
}
