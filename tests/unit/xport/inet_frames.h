// SPDX-License-Identifier: BSD-3-Clause
//
// Frames as a peer would send them, built byte by byte from the RFCs and apart from the code under
// test: the checksum here is the textbook loop.
#ifndef INET_FRAMES_H
#define INET_FRAMES_H

#include <gp_inet.h>

#define FRAME_SIZE_MAX 2048
#define PORT_BASE      9700
#define PEER_PORT      40000

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 1};
static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 2};
static const uint8_t our_ip4[16] = {[10] = 0xff, 0xff, 10, 0, 0, 1};
static const uint8_t peer_ip4[16] = {[10] = 0xff, 0xff, 10, 0, 0, 2};
static const uint8_t our_ip6[16] = {0xfd, [15] = 1};
static const uint8_t peer_ip6[16] = {0xfd, [15] = 2};

struct bytes {
	uint8_t data[FRAME_SIZE_MAX];
	uint32_t len;
};

static inline struct gp_inet_host host_make(uint16_t cores_count)
{
	struct gp_inet_host h = {
		.port_base = PORT_BASE, .ports_count = cores_count, .addrs_count = 2};
	memcpy(h.mac, our_mac, 6);
	memcpy(h.addrs[0], our_ip4, 16);
	memcpy(h.addrs[1], our_ip6, 16);
	return h;
}

static inline void add(struct bytes *b, const void *data, size_t len)
{
	memcpy(b->data + b->len, data, len);
	b->len += (uint32_t)len;
}

static inline void add8(struct bytes *b, uint32_t v)
{
	b->data[b->len++] = (uint8_t)v;
}

static inline void add16(struct bytes *b, uint32_t v)
{
	add8(b, v >> 8);
	add8(b, v & 0xff);
}

static inline uint32_t at16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

static inline uint16_t textbook_sum(const uint8_t *p, uint32_t len, uint32_t sum)
{
	for (uint32_t i = 0; i + 1 < len; i += 2)
		sum += at16(p + i);
	if (len & 1)
		sum += (uint32_t)p[len - 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static inline void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline uint32_t pseudo6(const uint8_t *ip, uint32_t len, uint32_t proto)
{
	uint32_t sum = len + proto;
	for (int i = 8; i < 40; i += 2)
		sum += at16(ip + i);
	return sum;
}

static inline uint32_t pseudo4(const uint8_t *ip, uint32_t len, uint32_t proto)
{
	uint32_t sum = len + proto;
	for (int i = 12; i < 20; i += 2)
		sum += at16(ip + i);
	return sum;
}

static inline void add_eth(struct bytes *b, const uint8_t *dst, uint32_t vlan, uint32_t type)
{
	add(b, dst, 6);
	add(b, peer_mac, 6);
	if (vlan) {
		add16(b, 0x8100);
		add16(b, vlan);
	}
	add16(b, type);
}

static inline void add_ip4(
	struct bytes *b, uint32_t proto, uint32_t options_len, uint32_t upper_len)
{
	uint32_t start = b->len, header_len = 20 + options_len;
	add8(b, 0x40 | header_len / 4);
	add8(b, 0);
	add16(b, header_len + upper_len);
	add16(b, 0x1234);
	add16(b, 0x4000);
	add8(b, 64);
	add8(b, proto);
	add16(b, 0);
	add(b, peer_ip4 + 12, 4);
	add(b, our_ip4 + 12, 4);
	for (uint32_t i = 0; i < options_len; i++)
		add8(b, 1); // no operation
	put16(b->data + start + 10, textbook_sum(b->data + start, header_len, 0));
}

static inline void add_ip6(struct bytes *b, uint32_t next, uint32_t upper_len, const uint8_t *src,
	const uint8_t *dst, uint32_t hop_limit)
{
	add16(b, 0x6000);
	add16(b, 0);
	add16(b, upper_len);
	add8(b, next);
	add8(b, hop_limit);
	add(b, src, 16);
	add(b, dst, 16);
}

struct udp_options {
	bool v6;
	uint32_t vlan;
	uint32_t ip_options_len;
	uint32_t core;
	uint32_t len;
};

static inline void make_udp(struct bytes *b, struct udp_options o)
{
	uint32_t udp_len = 8 + o.len;
	b->len = 0;
	add_eth(b, our_mac, o.vlan, o.v6 ? 0x86dd : 0x0800);
	uint32_t ip = b->len;
	if (o.v6)
		add_ip6(b, 17, udp_len, peer_ip6, our_ip6, 64);
	else
		add_ip4(b, 17, o.ip_options_len, udp_len);
	uint32_t udp = b->len;
	add16(b, PEER_PORT);
	add16(b, PORT_BASE + o.core);
	add16(b, udp_len);
	add16(b, 0);
	for (uint32_t i = 0; i < o.len; i++)
		add8(b, i * 7 + 3);
	uint32_t pseudo =
		o.v6 ? pseudo6(b->data + ip, udp_len, 17) : pseudo4(b->data + ip, udp_len, 17);
	put16(b->data + udp + 6, textbook_sum(b->data + udp, udp_len, pseudo));
}

static inline void make_arp(struct bytes *b, uint32_t vlan, const uint8_t *target)
{
	static const uint8_t head[] = {0, 1, 8, 0, 6, 4, 0, 1},
			     broadcast[] = {255, 255, 255, 255, 255, 255};
	static const uint8_t nobody[6];
	b->len = 0;
	add_eth(b, broadcast, vlan, 0x0806);
	add(b, head, sizeof(head));
	add(b, peer_mac, 6);
	add(b, peer_ip4 + 12, 4);
	add(b, nobody, 6);
	add(b, target, 4);
}

static inline void make_echo(struct bytes *b, bool v6, uint32_t len)
{
	b->len = 0;
	add_eth(b, our_mac, 0, v6 ? 0x86dd : 0x0800);
	uint32_t ip = b->len;
	if (v6)
		add_ip6(b, 58, 8 + len, peer_ip6, our_ip6, 64);
	else
		add_ip4(b, 1, 0, 8 + len);
	uint32_t icmp = b->len;
	add8(b, v6 ? 128 : 8);
	add8(b, 0);
	add16(b, 0);
	add16(b, 77); // identifier
	add16(b, 5);  // sequence number
	for (uint32_t i = 0; i < len; i++)
		add8(b, i);
	put16(b->data + icmp + 2,
		textbook_sum(b->data + icmp, 8 + len, v6 ? pseudo6(b->data + ip, 8 + len, 58) : 0));
}

// Solicitation for `target`; from the unspecified address (address probe) or with our MAC as
// option.
static inline void make_solicit(struct bytes *b, const uint8_t *target, bool probe)
{
	uint8_t mac[6] = {0x33, 0x33, 0xff, target[13], target[14], target[15]};
	uint8_t group[16] = {0xff, 2, [11] = 1, [12] = 0xff, target[13], target[14], target[15]};
	static const uint8_t unspecified[16];
	uint32_t len = probe ? 24 : 32;
	b->len = 0;
	add_eth(b, mac, 0, 0x86dd);
	uint32_t ip = b->len;
	add_ip6(b, 58, len, probe ? unspecified : peer_ip6, group, 255);
	uint32_t icmp = b->len;
	add8(b, 135);
	add8(b, 0);
	add16(b, 0);
	add16(b, 0);
	add16(b, 0);
	add(b, target, 16);
	if (!probe) {
		add8(b, 1);
		add8(b, 1);
		add(b, peer_mac, 6);
	}
	put16(b->data + icmp + 2,
		textbook_sum(b->data + icmp, len, pseudo6(b->data + ip, len, 58)));
}

#endif
