// SPDX-License-Identifier: BSD-3-Clause
#include "relay.h"

#include <netinet/in.h>

#define ETHER_LEN     14
#define VLAN_LEN      4
#define TYPE_IPV4     0x0800
#define TYPE_IPV6     0x86dd
#define TYPE_VLAN     0x8100
#define IPV6_LEN      40
#define FRAGMENT_MASK 0x3fff // more-fragments flag and offset

static uint16_t load_be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

// Where the UDP header starts, 0 when there is none.
static uint32_t udp_offset(const uint8_t *data, uint32_t len)
{
	uint32_t at = ETHER_LEN;
	if (len < at + VLAN_LEN)
		return 0;
	uint16_t type = load_be16(data + at - 2);
	if (type == TYPE_VLAN) {
		at += VLAN_LEN;
		type = load_be16(data + at - 2);
	}
	if (type == TYPE_IPV4) {
		if (len < at + 20 || data[at + 9] != IPPROTO_UDP ||
			(load_be16(data + at + 6) & FRAGMENT_MASK) != 0)
			return 0;
		at += (data[at] & 15u) * 4;
	} else if (type == TYPE_IPV6) {
		if (len < at + IPV6_LEN || data[at + 6] != IPPROTO_UDP)
			return 0;
		at += IPV6_LEN;
	} else {
		return 0;
	}
	return len < at + 8 ? 0 : at;
}

bool frame_is_udp_of(const uint8_t *data, uint32_t len, uint16_t port_min, uint16_t port_max)
{
	const uint32_t at = udp_offset(data, len);
	if (at == 0)
		return false;
	const uint16_t from = load_be16(data + at), to = load_be16(data + at + 2);
	return (from >= port_min && from <= port_max) || (to >= port_min && to <= port_max);
}
