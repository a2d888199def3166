// SPDX-License-Identifier: BSD-3-Clause
#include "inet_priv.h"

static const char *const verdict_names[] = {
#define X(id, name, help) #name,
	GP_INET_VERDICTS(X)
#undef X
};

static const char *const verdict_helps[] = {
#define X(id, name, help) help,
	GP_INET_VERDICTS(X)
#undef X
};

const char *gp_inet_verdict_name(enum gp_inet_verdict v)
{
	GP_ASSERT(v < GP_INET_VERDICTS_COUNT);
	return verdict_names[v];
}

const char *gp_inet_verdict_help(enum gp_inet_verdict v)
{
	GP_ASSERT(v < GP_INET_VERDICTS_COUNT);
	return verdict_helps[v];
}

// What is left to read: `data` up to `len`, both moving inwards layer by layer.
struct view {
	const uint8_t *data;
	uint32_t len;
};

static void ip4_map(uint8_t ip[16], const uint8_t *v4)
{
	memset(ip, 0, 10);
	memset(ip + 10, 0xff, 2);
	memcpy(ip + 12, v4, 4);
}

static bool addr_find(const struct gp_inet_host *h, const uint8_t ip[16], uint32_t *addr)
{
	for (uint32_t i = 0; i < h->addrs_count && i < GP_INET_ADDRS_MAX; i++) {
		if (memcmp(h->addrs[i], ip, 16) == 0) {
			*addr = i;
			return true;
		}
	}
	return false;
}

// An IPv6 header that names a mapped address does not mean our IPv4 one.
static bool addr6_find(const struct gp_inet_host *h, const uint8_t ip[16], uint32_t *addr)
{
	struct gp_addr a = {0};
	memcpy(a.ip, ip, 16);
	return !gp_addr_is_v4(&a) && addr_find(h, ip, addr);
}

// Neither unspecified, multicast, broadcast nor loopback.
static bool source_is_valid(const uint8_t ip[16])
{
	static const struct gp_addr zero;
	struct gp_addr a = {0};
	memcpy(a.ip, ip, 16);
	if (gp_addr_is_v4(&a))
		return ip[12] != 0 && ip[12] < 224 && ip[12] != 127;
	return ip[0] != 0xff && memcmp(ip, zero.ip, 15) != 0;
}

static enum gp_inet_verdict arp_neighbour(struct view v, struct gp_inet_packet *p)
{
	ip4_map(p->peer.ip, v.data + 14);
	if (!source_is_valid(p->peer.ip) || (v.data[8] & 1) || mac_is_zero(v.data + 8))
		return GP_INET_ARP_IGNORED;
	memcpy(p->peer.mac, v.data + 8, 6);
	return GP_INET_NEIGHBOUR;
}

static enum gp_inet_verdict arp_parse(
	const struct gp_inet_host *h, struct view v, struct gp_inet_packet *p)
{
	static const uint8_t ethernet_ip4[] = {0, 1, 8, 0, 6, 4, 0};
	if (v.len < ARP_SIZE)
		return GP_INET_SHORT;
	if (memcmp(v.data, ethernet_ip4, sizeof(ethernet_ip4)) != 0)
		return GP_INET_ARP_IGNORED;
	bool asks = v.data[7] == ARP_OP_REQUEST;
	bool announces = asks && memcmp(v.data + 14, v.data + 24, 4) == 0;
	uint8_t target[16];
	ip4_map(target, v.data + 24);
	ip4_map(p->peer.ip, v.data + 14);
	bool ours = addr_find(h, target, &p->addr);
	if (v.data[7] == ARP_OP_REPLY || (announces && !ours))
		return arp_neighbour(v, p);
	if (!asks || !ours || (v.data[8] & 1))
		return GP_INET_ARP_IGNORED;
	p->l3_len = ARP_SIZE;
	return GP_INET_ARP_ANSWERED;
}

static enum gp_inet_verdict udp_parse(const struct gp_inet_host *h, struct view v, uint32_t flags,
	uint64_t pseudo, struct gp_inet_packet *p)
{
	if (v.len < GP_INET_UDP_SIZE)
		return GP_INET_UDP_BAD;
	uint32_t len = be16(v.data + 4);
	if (len < GP_INET_UDP_SIZE || len > v.len)
		return GP_INET_UDP_BAD;

	p->core = (uint32_t)be16(v.data + 2) - h->port_base;
	if (p->core >= h->ports_count)
		return GP_INET_OTHER_PORT;
	p->peer.port = be16(v.data);
	if (p->peer.port == 0)
		return GP_INET_SOURCE_BAD;

	bool none = gp_load16(v.data + 6) == 0;
	bool optional = (flags & GP_INET_OPTIONAL_UDP_CHECKSUM) && gp_addr_is_v4(&p->peer);
	if (none && !optional)
		return GP_INET_UDP_CHECKSUM;
	p->peer.flags = none ? GP_ADDR_NO_CHECKSUM : 0;
	if (!none && !(flags & GP_INET_SKIP_UDP_CHECKSUM) &&
		gp_inet_sum_finish(gp_inet_sum(v.data, len, pseudo + __builtin_bswap32(len))) != 0)
		return GP_INET_UDP_CHECKSUM;
	p->payload_off = p->l2_len + p->l3_len + GP_INET_UDP_SIZE;
	p->payload_len = len - GP_INET_UDP_SIZE;
	return GP_INET_ACCEPTED;
}

static enum gp_inet_verdict icmp4_parse(struct view v, struct gp_inet_packet *p)
{
	if (v.len < ICMP_SIZE)
		return GP_INET_SHORT;
	if (gp_inet_sum_finish(gp_inet_sum(v.data, v.len, 0)) != 0)
		return GP_INET_ICMP_CHECKSUM;
	if (v.data[0] != ICMP_ECHO || v.data[1] != 0)
		return GP_INET_ICMP_IGNORED;
	p->payload_len = v.len;
	return GP_INET_ECHO_ANSWERED;
}

static enum gp_inet_verdict ip4_parse(
	const struct gp_inet_host *h, struct view v, uint32_t flags, struct gp_inet_packet *p)
{
	if (v.len < GP_INET_IP4_SIZE)
		return GP_INET_SHORT;
	uint32_t header_len = (v.data[0] & 15u) * 4;
	uint32_t total_len = be16(v.data + 2);
	if (v.data[0] >> 4 != 4 || header_len < GP_INET_IP4_SIZE || total_len < header_len)
		return GP_INET_IP_BAD;
	if (total_len > v.len)
		return GP_INET_SHORT;
	if (!(flags & GP_INET_SKIP_IP_CHECKSUM) &&
		gp_inet_sum_finish(gp_inet_sum(v.data, header_len, 0)) != 0)
		return GP_INET_IP_CHECKSUM;

	uint8_t local[16];
	ip4_map(local, v.data + 16);
	ip4_map(p->peer.ip, v.data + 12);
	if (!addr_find(h, local, &p->addr))
		return GP_INET_OTHER_IP;
	if (be16(v.data + 6) & 0x3fff) // more fragments, or an offset
		return GP_INET_IP_FRAGMENT;
	if (!source_is_valid(p->peer.ip))
		return GP_INET_SOURCE_BAD;

	p->l3_len = header_len;
	struct view upper = {v.data + header_len, total_len - header_len};
	if (v.data[9] == PROTO_ICMP)
		return icmp4_parse(upper, p);
	if (v.data[9] != PROTO_UDP)
		return GP_INET_OTHER_PROTOCOL;
	return udp_parse(h, upper, flags, pseudo_sum(v.data + 12, 8, 0, PROTO_UDP), p);
}

// RFC 4861 7.1: what a valid solicitation or advertisement looks like. *mac is the link-layer
// address that an advertisement tells, else NULL.
static bool discovery_is_valid(struct view v, uint8_t hop_limit, const uint8_t **mac)
{
	*mac = NULL;
	if (hop_limit != ND_HOP_LIMIT || v.len < ND_SIZE || v.data[1] != 0)
		return false;
	for (uint32_t off = ND_SIZE; off < v.len;) {
		uint32_t left = v.len - off;
		uint32_t option_len = left < 2 ? 0 : v.data[off + 1] * 8u;
		if (option_len == 0 || option_len > left)
			return false;
		if (v.data[off] == ND_OPTION_TARGET && option_len == ND_OPTION_SIZE)
			*mac = v.data + off + 2;
		off += option_len;
	}
	return true;
}

static enum gp_inet_verdict advert_parse(struct view v, uint8_t hop_limit, struct gp_inet_packet *p)
{
	const uint8_t *mac;
	struct gp_addr target = {0};
	if (!discovery_is_valid(v, hop_limit, &mac) || !mac || (mac[0] & 1) || mac_is_zero(mac))
		return GP_INET_ICMP_IGNORED;
	memcpy(target.ip, v.data + 8, 16);
	if (gp_addr_is_v4(&target) || !source_is_valid(target.ip))
		return GP_INET_ICMP_IGNORED;
	memcpy(p->peer.ip, target.ip, 16);
	memcpy(p->peer.mac, mac, 6);
	return GP_INET_NEIGHBOUR;
}

// Its target, not its IP destination (which is a multicast group), says whether it is for us.
static enum gp_inet_verdict solicit_parse(
	const struct gp_inet_host *h, struct view v, uint8_t hop_limit, struct gp_inet_packet *p)
{
	const uint8_t *mac;
	if (!discovery_is_valid(v, hop_limit, &mac))
		return GP_INET_ICMP_IGNORED;
	if (!addr6_find(h, v.data + 8, &p->addr))
		return GP_INET_ICMP_IGNORED;
	if (p->peer.ip[0] == 0xff)
		return GP_INET_SOURCE_BAD;
	p->payload_len = v.len;
	return GP_INET_ND_ANSWERED;
}

static enum gp_inet_verdict icmp6_parse(const struct gp_inet_host *h, struct view v,
	const uint8_t *ip6, bool ours, struct gp_inet_packet *p)
{
	if (v.len < ICMP_SIZE)
		return GP_INET_SHORT;
	uint64_t pseudo = pseudo_sum(ip6 + 8, 32, v.len, PROTO_ICMP6);
	if (gp_inet_sum_finish(gp_inet_sum(v.data, v.len, pseudo)) != 0)
		return GP_INET_ICMP_CHECKSUM;
	if (v.data[0] == ICMP6_SOLICIT)
		return solicit_parse(h, v, ip6[7], p);
	if (v.data[0] == ICMP6_ADVERT)
		return advert_parse(v, ip6[7], p);
	if (!ours)
		return GP_INET_OTHER_IP;
	if (v.data[0] != ICMP6_ECHO || v.data[1] != 0)
		return GP_INET_ICMP_IGNORED;
	if (!source_is_valid(p->peer.ip))
		return GP_INET_SOURCE_BAD;
	p->payload_len = v.len;
	return GP_INET_ECHO_ANSWERED;
}

static enum gp_inet_verdict ip6_parse(
	const struct gp_inet_host *h, struct view v, uint32_t flags, struct gp_inet_packet *p)
{
	if (v.len < GP_INET_IP6_SIZE)
		return GP_INET_SHORT;
	uint32_t payload_len = be16(v.data + 4);
	uint8_t next = v.data[6];
	if (v.data[0] >> 4 != 6)
		return GP_INET_IP_BAD;
	if (payload_len > v.len - GP_INET_IP6_SIZE)
		return GP_INET_SHORT;

	memcpy(p->peer.ip, v.data + 8, 16);
	bool ours = addr6_find(h, v.data + 24, &p->addr);
	p->l3_len = GP_INET_IP6_SIZE;
	struct view upper = {v.data + GP_INET_IP6_SIZE, payload_len};
	if (next == PROTO_ICMP6)
		return icmp6_parse(h, upper, v.data, ours, p);
	if (!ours)
		return GP_INET_OTHER_IP;
	if (next != PROTO_UDP)
		return next == 44 ? GP_INET_IP_FRAGMENT : GP_INET_OTHER_PROTOCOL;
	if (!source_is_valid(p->peer.ip) || gp_addr_is_v4(&p->peer))
		return GP_INET_SOURCE_BAD;
	return udp_parse(h, upper, flags, pseudo_sum(v.data + 8, 32, 0, PROTO_UDP), p);
}

enum gp_inet_verdict gp_inet_parse(const struct gp_inet_host *h, const uint8_t *frame, uint32_t len,
	uint32_t flags, struct gp_inet_packet *p)
{
	if (len < GP_INET_ETH_SIZE)
		return GP_INET_SHORT;
	*p = (struct gp_inet_packet){.l2_len = GP_INET_ETH_SIZE};
	memcpy(p->peer.mac, frame + 6, 6);
	uint32_t type = be16(frame + 12);
	if (type == TYPE_VLAN) {
		if (len < GP_INET_ETH_SIZE + GP_INET_VLAN_SIZE)
			return GP_INET_SHORT;
		p->peer.vlan = be16(frame + 14) & 0xfff;
		p->l2_len += GP_INET_VLAN_SIZE;
		type = be16(frame + 16);
	}
	if (type != TYPE_ARP && type != TYPE_IP4 && type != TYPE_IP6)
		return GP_INET_OTHER_TYPE;

	bool group = frame[0] & 1;
	if (!group && memcmp(frame, h->mac, 6) != 0)
		return GP_INET_OTHER_MAC;
	if ((frame[6] & 1) || mac_is_zero(frame + 6))
		return GP_INET_SOURCE_BAD;
	struct view v = {frame + p->l2_len, len - p->l2_len};
	if (type == TYPE_ARP)
		return arp_parse(h, v, p);

	enum gp_inet_verdict verdict =
		type == TYPE_IP4 ? ip4_parse(h, v, flags, p) : ip6_parse(h, v, flags, p);
	// Only discovery is for groups; nothing else that came to one is served.
	bool served = verdict == GP_INET_ACCEPTED || verdict == GP_INET_ECHO_ANSWERED;
	return group && served ? GP_INET_OTHER_MAC : verdict;
}
