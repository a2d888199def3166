// SPDX-License-Identifier: BSD-3-Clause
#include "inet_priv.h"

#define TTL		  64
#define DONT_FRAGMENT	  0x4000
#define ND_FLAG_SOLICITED 0x40
#define ND_FLAG_OVERRIDE  0x20

static const uint8_t mac_broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static const uint8_t mac_all_nodes[6] = {0x33, 0x33, 0, 0, 0, 1};
static const uint8_t ip_all_nodes[16] = {0xff, 2, [15] = 1};

// Returns where the next header begins.
static uint8_t *eth_write(
	uint8_t *frame, const uint8_t *dst, const uint8_t *src, uint16_t vlan, uint16_t type)
{
	memcpy(frame, dst, 6);
	memcpy(frame + 6, src, 6);
	frame += 12;
	if (vlan) {
		put_be16(frame, TYPE_VLAN);
		put_be16(frame + 2, vlan);
		frame += GP_INET_VLAN_SIZE;
	}
	put_be16(frame, type);
	return frame + 2;
}

static void ip4_write(
	uint8_t *ip, const uint8_t *src, const uint8_t *dst, uint32_t total_len, bool offload)
{
	memset(ip, 0, GP_INET_IP4_SIZE);
	ip[0] = 0x45;
	put_be16(ip + 2, total_len);
	put_be16(ip + 6, DONT_FRAGMENT);
	ip[8] = TTL;
	ip[9] = PROTO_UDP;
	memcpy(ip + 12, src, 4);
	memcpy(ip + 16, dst, 4);
	if (!offload)
		gp_store16(ip + 10, gp_inet_sum_finish(gp_inet_sum(ip, GP_INET_IP4_SIZE, 0)));
}

static void ip6_write(uint8_t *ip, const uint8_t *src, const uint8_t *dst, uint32_t payload_len,
	uint8_t next, uint8_t hop_limit)
{
	memset(ip, 0, 4);
	ip[0] = 0x60;
	put_be16(ip + 4, payload_len);
	ip[6] = next;
	ip[7] = hop_limit;
	memcpy(ip + 8, src, 16);
	memcpy(ip + 24, dst, 16);
}

// Without `pseudo` there is no checksum; with offload the hardware wants that, folded, alone.
static void udp_write(
	uint8_t *udp, const struct gp_inet_datagram *d, uint16_t dst_port, const uint64_t *pseudo)
{
	uint32_t len = GP_INET_UDP_SIZE + d->len + d->tail_len;
	put_be16(udp, d->src_port);
	put_be16(udp + 2, dst_port);
	put_be16(udp + 4, len);
	gp_store16(udp + 6, 0);
	if (!pseudo)
		return;
	if (d->offload) {
		gp_store16(udp + 6, (uint16_t)~gp_inet_sum_finish(*pseudo));
		return;
	}
	uint64_t sum = gp_inet_sum(udp, GP_INET_UDP_SIZE + (d->len & ~1u), *pseudo);
	if (d->len & 1) {
		// The tail starts at an odd place: its own sum, bytes swapped, counts (RFC 1071 2).
		uint16_t tail = (uint16_t)~gp_inet_sum_finish(gp_inet_sum(d->tail, d->tail_len, 0));
		sum += d->payload[d->len - 1] + (uint64_t)__builtin_bswap16(tail);
	} else {
		sum = gp_inet_sum(d->tail, d->tail_len, sum);
	}
	uint16_t checksum = gp_inet_sum_finish(sum);
	gp_store16(udp + 6, checksum ? checksum : 0xffff); // 0 would say "none"
}

static const uint8_t *source_find(const struct gp_inet_host *h, bool v4)
{
	for (uint32_t i = 0; i < h->addrs_count && i < GP_INET_ADDRS_MAX; i++) {
		struct gp_addr a = {0};
		memcpy(a.ip, h->addrs[i], 16);
		if (gp_addr_is_v4(&a) == v4)
			return h->addrs[i];
	}
	return NULL;
}

uint32_t gp_inet_build_udp(
	const struct gp_inet_host *h, const struct gp_addr *peer, const struct gp_inet_datagram *d)
{
	bool v4 = gp_addr_is_v4(peer);
	const uint8_t *source = source_find(h, v4);
	const uint8_t *mac = mac_is_zero(peer->mac) ? h->gateway_mac : peer->mac;
	uint64_t udp_len = GP_INET_UDP_SIZE + (uint64_t)d->len + d->tail_len;
	if (!source || mac_is_zero(mac) || udp_len > UINT16_MAX - GP_INET_IP4_SIZE)
		return 0;

	uint32_t l2_len = GP_INET_ETH_SIZE + (peer->vlan ? GP_INET_VLAN_SIZE : 0);
	uint32_t l3_len = v4 ? GP_INET_IP4_SIZE : GP_INET_IP6_SIZE;
	uint32_t headers_len = l2_len + l3_len + GP_INET_UDP_SIZE;
	uint8_t *frame = d->payload - headers_len;
	uint8_t *ip = eth_write(frame, mac, h->mac, peer->vlan, v4 ? TYPE_IP4 : TYPE_IP6);
	uint64_t pseudo;
	if (v4) {
		ip4_write(ip, source + 12, peer->ip + 12, l3_len + (uint32_t)udp_len, d->offload);
		pseudo = pseudo_sum(ip + 12, 8, (uint32_t)udp_len, PROTO_UDP);
	} else {
		ip6_write(ip, source, peer->ip, (uint32_t)udp_len, PROTO_UDP, TTL);
		pseudo = pseudo_sum(ip + 8, 32, (uint32_t)udp_len, PROTO_UDP);
	}
	bool none = v4 && (peer->flags & GP_ADDR_NO_CHECKSUM);
	udp_write(ip + l3_len, d, peer->port, none ? NULL : &pseudo);
	return headers_len;
}

static void arp_write(uint8_t *arp, uint16_t op, const uint8_t *mac, const uint8_t *ip,
	const uint8_t *target_mac, const uint8_t *target_ip)
{
	static const uint8_t ethernet_ip4[] = {0, 1, 8, 0, 6, 4};
	memcpy(arp, ethernet_ip4, sizeof(ethernet_ip4));
	put_be16(arp + 6, op);
	memcpy(arp + 8, mac, 6);
	memcpy(arp + 14, ip, 4);
	memcpy(arp + 18, target_mac, 6);
	memcpy(arp + 24, target_ip, 4);
}

// Neighbour advertisement of address `ip` with our MAC as option.
static void advert_write(
	uint8_t *ip6, const uint8_t *ip, const uint8_t *mac, const uint8_t *dst, uint8_t flags)
{
	uint32_t len = ND_SIZE + ND_OPTION_SIZE;
	ip6_write(ip6, ip, dst, len, PROTO_ICMP6, ND_HOP_LIMIT);
	uint8_t *msg = ip6 + GP_INET_IP6_SIZE;
	memset(msg, 0, len);
	msg[0] = ICMP6_ADVERT;
	msg[4] = flags;
	memcpy(msg + 8, ip, 16);
	msg[24] = ND_OPTION_TARGET;
	msg[25] = 1; // unit of 8 bytes
	memcpy(msg + 26, mac, 6);
	uint64_t pseudo = pseudo_sum(ip6 + 8, 32, len, PROTO_ICMP6);
	gp_store16(msg + 2, gp_inet_sum_finish(gp_inet_sum(msg, len, pseudo)));
}

static uint32_t arp_answer(
	const struct gp_inet_host *h, const struct gp_inet_packet *p, uint8_t *frame)
{
	arp_write(frame + p->l2_len, ARP_OP_REPLY, h->mac, h->addrs[p->addr] + 12, p->peer.mac,
		p->peer.ip + 12);
	return p->l2_len + ARP_SIZE;
}

// Duplicate address detection asks from the unspecified address; the answer goes to all nodes
// (RFC 4861 7.2.4).
static uint32_t nd_answer(
	const struct gp_inet_host *h, const struct gp_inet_packet *p, uint8_t *frame)
{
	static const uint8_t unspecified[16];
	bool probe = memcmp(p->peer.ip, unspecified, 16) == 0;
	if (probe)
		memcpy(frame, mac_all_nodes, 6);
	advert_write(frame + p->l2_len, h->addrs[p->addr], h->mac,
		probe ? ip_all_nodes : p->peer.ip,
		probe ? ND_FLAG_OVERRIDE : ND_FLAG_SOLICITED | ND_FLAG_OVERRIDE);
	return p->l2_len + GP_INET_IP6_SIZE + ND_SIZE + ND_OPTION_SIZE;
}

// An echo request becomes its answer: addresses trade places, so that type is all that changes in
// the sum (RFC 1624, 3). Of the two zeros the one that holds for a message of zeros too.
static void echo_turn(uint8_t *icmp, uint8_t type)
{
	uint64_t asked = gp_inet_sum_finish(gp_load16(icmp));
	icmp[0] = type;
	uint16_t sum = (uint16_t)~gp_load16(icmp + 2);
	sum = gp_inet_sum_finish(sum + asked + gp_load16(icmp));
	gp_store16(icmp + 2, sum ? sum : UINT16_MAX);
}

static uint32_t echo4_answer(
	const struct gp_inet_host *h, const struct gp_inet_packet *p, uint8_t *frame)
{
	uint8_t *ip = frame + p->l2_len, *icmp = ip + p->l3_len;
	memcpy(ip + 16, p->peer.ip + 12, 4);
	memcpy(ip + 12, h->addrs[p->addr] + 12, 4);
	ip[8] = TTL;
	gp_store16(ip + 10, 0);
	gp_store16(ip + 10, gp_inet_sum_finish(gp_inet_sum(ip, p->l3_len, 0)));
	echo_turn(icmp, ICMP_ECHO_REPLY);
	return p->l2_len + p->l3_len + p->payload_len;
}

static uint32_t echo6_answer(
	const struct gp_inet_host *h, const struct gp_inet_packet *p, uint8_t *frame)
{
	uint8_t *ip = frame + p->l2_len, *icmp = ip + GP_INET_IP6_SIZE;
	memcpy(ip + 24, p->peer.ip, 16);
	memcpy(ip + 8, h->addrs[p->addr], 16);
	ip[7] = TTL;
	echo_turn(icmp, ICMP6_ECHO_REPLY);
	return p->l2_len + GP_INET_IP6_SIZE + p->payload_len;
}

uint32_t gp_inet_answer(const struct gp_inet_host *h, enum gp_inet_verdict v,
	const struct gp_inet_packet *p, uint8_t *frame, uint32_t room)
{
	GP_ASSERT(room >= GP_INET_NOTICE_SIZE);
	GP_ASSERT(p->addr < h->addrs_count);
	memcpy(frame, p->peer.mac, 6);
	memcpy(frame + 6, h->mac, 6);
	if (v == GP_INET_ARP_ANSWERED)
		return arp_answer(h, p, frame);
	if (v == GP_INET_ND_ANSWERED)
		return nd_answer(h, p, frame);
	GP_ASSERT(v == GP_INET_ECHO_ANSWERED);
	return gp_addr_is_v4(&p->peer) ? echo4_answer(h, p, frame) : echo6_answer(h, p, frame);
}

uint32_t gp_inet_build_announce(const struct gp_inet_host *h, uint32_t addr, uint8_t *frame)
{
	GP_ASSERT(addr < h->addrs_count && addr < GP_INET_ADDRS_MAX);
	struct gp_addr a = {0};
	memcpy(a.ip, h->addrs[addr], 16);
	bool v4 = gp_addr_is_v4(&a);
	uint8_t *next = eth_write(frame, v4 ? mac_broadcast : mac_all_nodes, h->mac, h->vlan,
		v4 ? TYPE_ARP : TYPE_IP6);
	uint32_t l2_len = (uint32_t)(next - frame);
	if (v4) {
		arp_write(next, ARP_OP_REQUEST, h->mac, a.ip + 12, mac_broadcast, a.ip + 12);
		return l2_len + ARP_SIZE;
	}
	advert_write(next, a.ip, h->mac, ip_all_nodes, ND_FLAG_OVERRIDE);
	return l2_len + GP_INET_IP6_SIZE + ND_SIZE + ND_OPTION_SIZE;
}

// Neighbour solicitation to the group that who has `ip` listens to (RFC 4291 2.7.1).
static uint32_t solicit_write(
	const struct gp_inet_host *h, const uint8_t *source, const uint8_t ip[16], uint8_t *frame)
{
	uint8_t group[16] = {0xff, 2, [11] = 1, [12] = 0xff};
	memcpy(group + 13, ip + 13, 3);
	uint8_t mac[6] = {0x33, 0x33};
	memcpy(mac + 2, group + 12, 4);
	uint8_t *ip6 = eth_write(frame, mac, h->mac, h->vlan, TYPE_IP6);
	uint32_t len = ND_SIZE + ND_OPTION_SIZE;
	ip6_write(ip6, source, group, len, PROTO_ICMP6, ND_HOP_LIMIT);
	uint8_t *msg = ip6 + GP_INET_IP6_SIZE;
	memset(msg, 0, len);
	msg[0] = ICMP6_SOLICIT;
	memcpy(msg + 8, ip, 16);
	msg[24] = ND_OPTION_SOURCE;
	msg[25] = 1; // unit of 8 bytes
	memcpy(msg + 26, h->mac, 6);
	uint64_t pseudo = pseudo_sum(ip6 + 8, 32, len, PROTO_ICMP6);
	gp_store16(msg + 2, gp_inet_sum_finish(gp_inet_sum(msg, len, pseudo)));
	return (uint32_t)(msg + len - frame);
}

uint32_t gp_inet_build_ask(const struct gp_inet_host *h, const uint8_t ip[16], uint8_t *frame)
{
	static const uint8_t unknown[6];
	struct gp_addr a = {0};
	memcpy(a.ip, ip, 16);
	const uint8_t *source = source_find(h, gp_addr_is_v4(&a));
	if (!source)
		return 0;
	if (!gp_addr_is_v4(&a))
		return solicit_write(h, source, ip, frame);
	uint8_t *arp = eth_write(frame, mac_broadcast, h->mac, h->vlan, TYPE_ARP);
	arp_write(arp, ARP_OP_REQUEST, h->mac, source + 12, unknown, ip + 12);
	return (uint32_t)(arp + ARP_SIZE - frame);
}
