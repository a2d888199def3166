// SPDX-License-Identifier: BSD-3-Clause
//
// Numbers of the Internet protocols, big-endian access and sums, for inet_*.c.
#ifndef GP_INET_PRIV_H
#define GP_INET_PRIV_H

#include <gp_inet.h>
#include <gp_simd.h>

#define TYPE_IP4  0x0800
#define TYPE_ARP  0x0806
#define TYPE_VLAN 0x8100
#define TYPE_IP6  0x86dd

#define PROTO_ICMP  1
#define PROTO_UDP   17
#define PROTO_ICMP6 58

#define ARP_SIZE	 28
#define ARP_OP_REQUEST	 1
#define ARP_OP_REPLY	 2
#define ICMP_SIZE	 8
#define ICMP_ECHO	 8
#define ICMP_ECHO_REPLY	 0
#define ICMP6_ECHO	 128
#define ICMP6_ECHO_REPLY 129
#define ICMP6_SOLICIT	 135
#define ICMP6_ADVERT	 136
#define ND_SIZE		 24 // solicitation or advertisement without options
#define ND_OPTION_SIZE	 8  // link-layer address
#define ND_OPTION_SOURCE 1
#define ND_OPTION_TARGET 2
#define ND_HOP_LIMIT	 255

// The sum of `lines` times INET_SUM_LINE bytes added to `sum`: gp_inet_sum's loop, one for each
// instruction set, all with the same result once it is finished.
#define INET_SUM_LINE 64
typedef uint64_t inet_sum_lines(const uint8_t *p, uint32_t lines, uint64_t sum);
inet_sum_lines inet_sum_lines_avx2, inet_sum_lines_avx512;
// For tests; without it the widest that the CPU has is taken. -ENOTSUP: it has not.
int inet_sum_select(enum gp_simd_level level) GP_MUST_CHECK;

static inline uint16_t be16(const uint8_t *p)
{
	return __builtin_bswap16(gp_load16(p));
}

static inline void put_be16(uint8_t *p, uint32_t v)
{
	gp_store16(p, __builtin_bswap16((uint16_t)v));
}

// Sum of the IPv6 pseudo header, or the IPv4 one: addresses, length of the upper layer, protocol.
static inline uint64_t pseudo_sum(
	const uint8_t *addrs, uint32_t addrs_len, uint32_t len, uint8_t proto)
{
	return gp_inet_sum(addrs, addrs_len, 0) + __builtin_bswap32(len) + __builtin_bswap16(proto);
}

static inline bool mac_is_zero(const uint8_t *mac)
{
	static const uint8_t zero[6];
	return memcmp(mac, zero, sizeof(zero)) == 0;
}

#endif
