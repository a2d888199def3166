// SPDX-License-Identifier: BSD-3-Clause
#include <gp_inet.h>

// 32-bit words into a 64-bit sum: no carry can be lost below 2^32 words, and the compiler turns the
// loop into vector adds.
uint64_t gp_inet_sum(const void *data, uint32_t len, uint64_t sum)
{
	if (len == 0)
		return sum; // data may be NULL
	const uint8_t *p = data;
	uint32_t words = len / 4;
	for (uint32_t i = 0; i < words; i++)
		sum += gp_load32(p + 4 * (size_t)i);
	p += 4 * (size_t)words;
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
