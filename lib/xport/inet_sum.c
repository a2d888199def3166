// SPDX-License-Identifier: BSD-3-Clause
#include "inet_priv.h"

#include <errno.h>
#include <stdatomic.h>

// Below this a call costs more than it saves: headers.
#define LINES_MIN 2

// 32-bit words into a 64-bit sum: no carry can be lost below 2^32 words.
static uint64_t lines_scalar(const uint8_t *p, uint32_t lines, uint64_t sum)
{
	for (uint32_t i = 0; i < lines * (INET_SUM_LINE / 4); i++)
		sum += gp_load32(p + 4 * (size_t)i);
	return sum;
}

static inet_sum_lines *const lines_by_level[GP_SIMD_LEVELS] = {
	[GP_SIMD_SCALAR] = lines_scalar,
#ifdef __x86_64__
	[GP_SIMD_AVX2] = inet_sum_lines_avx2,
	[GP_SIMD_AVX512] = inet_sum_lines_avx512,
#endif
};

// Any thread may set it, all set the same, so relaxed order is enough.
static _Atomic(inet_sum_lines *) lines_active;

int inet_sum_select(enum gp_simd_level level)
{
	if ((unsigned)level >= GP_SIMD_LEVELS || !lines_by_level[level] || !gp_simd_has(level))
		return -ENOTSUP;
	atomic_store_explicit(&lines_active, lines_by_level[level], memory_order_relaxed);
	return 0;
}

static inet_sum_lines *lines_get(void)
{
	inet_sum_lines *f = atomic_load_explicit(&lines_active, memory_order_relaxed);
	if (__builtin_expect(f != NULL, 1))
		return f;
	int level = GP_SIMD_LEVELS - 1;
	while (inet_sum_select((enum gp_simd_level)level) != 0)
		level--;
	return lines_by_level[level];
}

uint64_t gp_inet_sum(const void *data, uint32_t len, uint64_t sum)
{
	if (len == 0)
		return sum; // data may be NULL
	const uint8_t *p = data;
	if (len >= LINES_MIN * INET_SUM_LINE) {
		uint32_t lines = len / INET_SUM_LINE;
		sum = lines_get()(p, lines, sum);
		p += (size_t)lines * INET_SUM_LINE;
		len -= lines * INET_SUM_LINE;
	}
	for (; len >= 4; len -= 4, p += 4)
		sum += gp_load32(p);
	if (len & 2) {
		sum += gp_load16(p);
		p += 2;
	}
	if (len & 1)
		sum += *p; // the missing byte after it counts as zero
	return sum;
}

uint16_t gp_inet_sum_finish(uint64_t sum)
{
	sum = (sum & UINT32_MAX) + (sum >> 32);
	sum = (sum & UINT32_MAX) + (sum >> 32);
	sum = (sum & UINT16_MAX) + (sum >> 16);
	sum = (sum & UINT16_MAX) + (sum >> 16);
	return (uint16_t)~sum;
}
