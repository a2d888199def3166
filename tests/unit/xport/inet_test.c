// SPDX-License-Identifier: BSD-3-Clause
#include <criterion/criterion.h>

#include "inet_frames.h"
#include "inet_priv.h"

#include <stdio.h>
#include <stdlib.h>

#define CORES 3

static enum gp_inet_verdict parse(const struct bytes *b, struct gp_inet_packet *p)
{
	struct gp_inet_host h = host_make(CORES);
	return gp_inet_parse(&h, b->data, b->len, 0, p);
}

static void expect(const struct bytes *b, enum gp_inet_verdict want, const char *what)
{
	struct gp_inet_packet p;
	enum gp_inet_verdict v = parse(b, &p);
	cr_assert_eq(v, want, "%s: %s instead of %s", what, gp_inet_verdict_name(v),
		gp_inet_verdict_name(want));
}

Test(inet, accepts_udp_in_every_wrapping)
{
	static const struct udp_options options[] = {{.core = 0, .len = 100}, {.core = 2, .len = 0},
		{.core = 1, .len = 1}, {.vlan = 5, .len = 33}, {.ip_options_len = 40, .len = 64},
		{.ip_options_len = 4, .vlan = 4094}, {.v6 = true, .len = 1001, .core = 1},
		{.v6 = true, .vlan = 7, .len = 2}};
	for (size_t i = 0; i < GP_ARRAY_SIZE(options); i++) {
		struct udp_options o = options[i];
		struct gp_inet_packet p;
		struct bytes b;
		make_udp(&b, o);
		for (uint32_t padding = 0; padding < 3; padding++, b.len++) {
			cr_assert_eq(parse(&b, &p), GP_INET_ACCEPTED, "case %zu", i);
			cr_assert_eq(p.core, o.core);
			cr_assert_eq(p.payload_len, o.len);
			cr_assert_eq(p.payload_off + p.payload_len + padding, b.len);
			cr_assert_eq(p.peer.port, PEER_PORT);
			cr_assert_eq(p.peer.vlan, o.vlan);
			cr_assert_eq(memcmp(p.peer.mac, peer_mac, 6), 0);
			cr_assert_eq(memcmp(p.peer.ip, o.v6 ? peer_ip6 : peer_ip4, 16), 0);
		}
	}
}

Test(inet, every_truncation_is_refused)
{
	for (int v6 = 0; v6 < 2; v6++) {
		struct gp_inet_packet p;
		struct bytes b;
		make_udp(&b, (struct udp_options){.v6 = v6, .vlan = 3, .len = 20});
		for (uint32_t full = b.len; b.len > 0;) {
			b.len--;
			// A heap copy of exactly that length lets ASan see a read past the end.
			uint8_t *copy = malloc(b.len ? b.len : 1);
			memcpy(copy, b.data, b.len);
			struct gp_inet_host h = host_make(CORES);
			cr_assert_eq(gp_inet_parse(&h, copy, b.len, 0, &p), GP_INET_SHORT,
				"%u of %u", b.len, full);
			free(copy);
		}
	}
}

Test(inet, every_flipped_bit_of_a_datagram_is_noticed)
{
	for (int v6 = 0; v6 < 2; v6++) {
		struct gp_inet_packet p;
		struct bytes b;
		make_udp(&b, (struct udp_options){.v6 = v6, .len = 50});
		// Not covered by any checksum: source MAC; in IPv6 also class, flow label and hop
		// limit.
		for (uint32_t bit = 14 * 8; bit < b.len * 8; bit++) {
			bool uncovered = v6 && ((bit >= 116 && bit < 144) || bit / 8 == 21);
			b.data[bit / 8] ^= (uint8_t)(1u << (7 - bit % 8));
			cr_assert(uncovered || parse(&b, &p) != GP_INET_ACCEPTED, "bit %u", bit);
			b.data[bit / 8] ^= (uint8_t)(1u << (7 - bit % 8));
		}
		cr_assert_eq(parse(&b, &p), GP_INET_ACCEPTED);
	}
}

// One byte changed and the IPv4 header checksum put right again, so that only the field is wrong.
static void expect_patched(uint32_t at, uint8_t value, enum gp_inet_verdict want)
{
	struct bytes b;
	make_udp(&b, (struct udp_options){.len = 10});
	b.data[at] = value;
	put16(b.data + 24, 0);
	put16(b.data + 24, textbook_sum(b.data + 14, 20, 0));
	char what[32];
	snprintf(what, sizeof(what), "byte %u = %u", at, value);
	expect(&b, want, what);
}

Test(inet, ipv4_refusals_have_names)
{
	struct bytes b;
	expect_patched(0, 4, GP_INET_OTHER_MAC);
	expect_patched(0, 3, GP_INET_OTHER_MAC); // a group
	expect_patched(6, 3, GP_INET_SOURCE_BAD);
	expect_patched(13, 1, GP_INET_OTHER_TYPE);
	expect_patched(14, 0x65, GP_INET_IP_BAD);
	expect_patched(14, 0x44, GP_INET_IP_BAD);
	expect_patched(17, 10, GP_INET_IP_BAD); // total length below the header's
	expect_patched(17, 255, GP_INET_SHORT);
	expect_patched(20, 0x20, GP_INET_IP_FRAGMENT); // more fragments
	expect_patched(21, 1, GP_INET_IP_FRAGMENT);    // an offset
	expect_patched(23, 6, GP_INET_OTHER_PROTOCOL);
	expect_patched(26, 224, GP_INET_SOURCE_BAD);
	expect_patched(26, 127, GP_INET_SOURCE_BAD);
	expect_patched(26, 0, GP_INET_SOURCE_BAD);
	expect_patched(33, 9, GP_INET_OTHER_IP);
	expect_patched(36, 0, GP_INET_OTHER_PORT);
	expect_patched(37, (PORT_BASE & 0xff) + CORES, GP_INET_OTHER_PORT);
	expect_patched(37, (PORT_BASE & 0xff) - 1, GP_INET_OTHER_PORT);
	expect_patched(39, 7, GP_INET_UDP_BAD);
	expect_patched(39, 19, GP_INET_UDP_BAD);
	expect_patched(45, 0xee, GP_INET_UDP_CHECKSUM);

	make_udp(&b, (struct udp_options){.len = 10});
	b.data[24] ^= 1;
	expect(&b, GP_INET_IP_CHECKSUM, "header checksum");
	make_udp(&b, (struct udp_options){.len = 10});
	put16(b.data + 34, 0);
	expect(&b, GP_INET_SOURCE_BAD, "source port 0");
	make_udp(&b, (struct udp_options){.len = 10});
	put16(b.data + 40, 0);
	expect(&b, GP_INET_UDP_CHECKSUM, "without a checksum");
}

static enum gp_inet_verdict parse_optional(const struct bytes *b, struct gp_inet_packet *p)
{
	struct gp_inet_host h = host_make(CORES);
	return gp_inet_parse(&h, b->data, b->len, GP_INET_OPTIONAL_UDP_CHECKSUM, p);
}

// Where it is optional its peer is marked; what there is, is verified; IPv6 demands one.
Test(inet, a_checksum_may_be_left_out_where_that_is_said)
{
	struct gp_inet_packet p;
	struct bytes b;
	make_udp(&b, (struct udp_options){.len = 10});
	cr_assert_eq(parse_optional(&b, &p), GP_INET_ACCEPTED);
	cr_assert_eq(p.peer.flags, 0);
	b.data[45] ^= 1;
	cr_assert_eq(parse_optional(&b, &p), GP_INET_UDP_CHECKSUM);
	put16(b.data + 40, 0);
	cr_assert_eq(parse_optional(&b, &p), GP_INET_ACCEPTED);
	cr_assert_eq(p.peer.flags, GP_ADDR_NO_CHECKSUM);
	make_udp(&b, (struct udp_options){.v6 = true, .len = 10});
	put16(b.data + 60, 0);
	cr_assert_eq(parse_optional(&b, &p), GP_INET_UDP_CHECKSUM);
}

// What is sent to a marked peer has none, whole or with a tail; never over IPv6.
Test(inet, who_sends_none_is_sent_none)
{
	static uint8_t tail[33] = {1, 2, 3};
	for (int v6 = 0; v6 < 2; v6++) {
		struct gp_inet_host h = host_make(CORES);
		uint8_t frame[256] = {0};
		struct gp_addr to = {.port = PEER_PORT, .flags = GP_ADDR_NO_CHECKSUM};
		struct gp_inet_datagram d = {.payload = frame + GP_INET_HEADERS_MAX,
			.len = 21,
			.tail = tail,
			.tail_len = sizeof(tail),
			.src_port = PORT_BASE};
		memcpy(to.ip, v6 ? peer_ip6 : peer_ip4, 16);
		memcpy(to.mac, peer_mac, 6);
		for (int offload = 0; offload < 2; offload++) {
			d.offload = offload;
			cr_assert_gt(gp_inet_build_udp(&h, &to, &d), 0);
			cr_assert_eq(gp_load16(d.payload - 2) == 0, !v6);
		}
		to.flags = 0;
		cr_assert_gt(gp_inet_build_udp(&h, &to, &d), 0);
		cr_assert_neq(gp_load16(d.payload - 2), 0);
	}
}

Test(inet, ipv6_refusals_have_names)
{
	struct bytes b;
	const struct udp_options o = {.v6 = true, .len = 10};
	make_udp(&b, o);
	put16(b.data + 60, 0);
	expect(&b, GP_INET_UDP_CHECKSUM, "IPv6 demands a UDP checksum");
	make_udp(&b, o);
	b.data[20] = 44;
	expect(&b, GP_INET_IP_FRAGMENT, "fragment header");
	make_udp(&b, o);
	b.data[20] = 0;
	expect(&b, GP_INET_OTHER_PROTOCOL, "hop-by-hop options");
	make_udp(&b, o);
	b.data[14] = 0x40;
	expect(&b, GP_INET_IP_BAD, "version");
	make_udp(&b, o);
	b.data[22] = 0xff;
	expect(&b, GP_INET_SOURCE_BAD, "multicast source");
	make_udp(&b, o);
	memcpy(b.data + 22, peer_ip4, 16);
	expect(&b, GP_INET_SOURCE_BAD, "mapped source");
	make_udp(&b, o);
	memcpy(b.data + 38, our_ip4, 16);
	expect(&b, GP_INET_OTHER_IP, "our IPv4 address inside IPv6");
}

Test(inet, hardware_checks_are_not_repeated)
{
	struct gp_inet_host h = host_make(CORES);
	struct gp_inet_packet p;
	struct bytes b;
	make_udp(&b, (struct udp_options){.len = 10});
	b.data[45] ^= 1;
	cr_assert_eq(
		gp_inet_parse(&h, b.data, b.len, GP_INET_SKIP_UDP_CHECKSUM, &p), GP_INET_ACCEPTED);
	b.data[24] ^= 1;
	cr_assert_eq(gp_inet_parse(&h, b.data, b.len,
			     GP_INET_SKIP_UDP_CHECKSUM | GP_INET_SKIP_IP_CHECKSUM, &p),
		GP_INET_ACCEPTED);
}

static void answer(struct bytes *b, enum gp_inet_verdict want)
{
	struct gp_inet_host h = host_make(CORES);
	struct gp_inet_packet p;
	enum gp_inet_verdict v = gp_inet_parse(&h, b->data, b->len, 0, &p);
	cr_assert_eq(v, want, "%s", gp_inet_verdict_name(v));
	b->len = gp_inet_answer(&h, v, &p, b->data, sizeof(b->data));
	cr_assert_eq(memcmp(b->data + 6, our_mac, 6), 0);
}

Test(inet, arp_is_answered)
{
	static const uint8_t reply[] = {0, 1, 8, 0, 6, 4, 0, 2};
	for (uint32_t vlan = 0; vlan < 20; vlan += 10) {
		struct bytes b;
		make_arp(&b, vlan, our_ip4 + 12);
		answer(&b, GP_INET_ARP_ANSWERED);
		uint32_t l2 = vlan ? 18 : 14;
		cr_assert_eq(b.len, l2 + 28);
		cr_assert_eq(memcmp(b.data, peer_mac, 6), 0);
		cr_assert_eq(memcmp(b.data + l2, reply, 8), 0);
		cr_assert_eq(memcmp(b.data + l2 + 8, our_mac, 6), 0);
		cr_assert_eq(memcmp(b.data + l2 + 14, our_ip4 + 12, 4), 0);
		cr_assert_eq(memcmp(b.data + l2 + 18, peer_mac, 6), 0);
		cr_assert_eq(memcmp(b.data + l2 + 24, peer_ip4 + 12, 4), 0);
		expect(&b, GP_INET_OTHER_MAC, "a reply to somebody else");
		memcpy(b.data, our_mac, 6);
		b.data[l2 + 7] = 3;
		expect(&b, GP_INET_ARP_IGNORED, "neither request nor reply");
		make_arp(&b, vlan, (const uint8_t[]){10, 0, 0, 77});
		expect(&b, GP_INET_ARP_IGNORED, "for somebody else");
		make_arp(&b, vlan, our_ip4 + 12);
		b.len -= 1;
		expect(&b, GP_INET_SHORT, "truncated");
	}
}

Test(inet, echo_is_answered)
{
	for (int v6 = 0; v6 < 2; v6++) {
		struct bytes b, asked;
		make_echo(&b, v6, 57);
		asked = b;
		answer(&b, GP_INET_ECHO_ANSWERED);
		uint32_t icmp = v6 ? 54 : 34;
		cr_assert_eq(b.len, asked.len);
		cr_assert_eq(b.data[icmp], v6 ? 129 : 0);
		cr_assert_eq(memcmp(b.data + icmp + 4, asked.data + icmp + 4, 61), 0);
		uint32_t pseudo = v6 ? pseudo6(b.data + 14, 65, 58) : 0;
		cr_assert_eq(textbook_sum(b.data + icmp, 65, pseudo), 0);
		if (!v6) {
			cr_assert_eq(textbook_sum(b.data + 14, 20, 0), 0);
			cr_assert_eq(memcmp(b.data + 26, our_ip4 + 12, 4), 0);
			cr_assert_eq(memcmp(b.data + 30, peer_ip4 + 12, 4), 0);
		} else {
			cr_assert_eq(memcmp(b.data + 22, our_ip6, 16), 0);
			cr_assert_eq(memcmp(b.data + 38, peer_ip6, 16), 0);
		}
		asked.data[icmp + 9] ^= 1;
		expect(&asked, GP_INET_ICMP_CHECKSUM, "flipped");
		memcpy(b.data, our_mac, 6);
		expect(&b, GP_INET_OTHER_IP, "the answer itself");
	}
}

// Lengths, beginnings and bytes of every kind against the sum as RFC 1071 has it.
Test(inet, sums_are_the_same_with_every_instruction_set)
{
	static uint8_t bytes[2048 + 64];
	for (int level = 0; level < GP_SIMD_LEVELS; level++) {
		if (inet_sum_select((enum gp_simd_level)level) != 0)
			continue;
		for (uint32_t k = 0; k < 3; k++) {
			for (uint32_t i = 0; i < sizeof(bytes); i++)
				bytes[i] = k == 0 ? 0xff : (uint8_t)(i * 167 + k * (i >> 8));
			for (uint32_t len = 0; len <= 2048; len++) {
				const uint8_t *p = bytes + len % 64;
				uint16_t sum = gp_inet_sum_finish(gp_inet_sum(p, len, 77 * k));
				cr_assert_eq(__builtin_bswap16(sum),
					textbook_sum(p, len, __builtin_bswap16((uint16_t)(77 * k))),
					"level %d, %u bytes", level, len);
			}
		}
	}
}

// A long one, and one of nothing but zeros, whose sum has two forms.
Test(inet, answers_to_echo_have_right_sums)
{
	for (uint32_t zeros = 0; zeros < 2; zeros++) {
		struct bytes b;
		make_echo(&b, false, 1400);
		if (zeros) {
			memset(b.data + 36, 0, 1406);
			put16(b.data + 36, textbook_sum(b.data + 34, 1408, 0));
		}
		answer(&b, GP_INET_ECHO_ANSWERED);
		cr_assert_eq(textbook_sum(b.data + 34, 1408, 0), 0, "zeros %u", zeros);
		cr_assert_eq(gp_inet_sum_finish(gp_inet_sum(b.data + 34, 1408, 0)), 0);
	}
}

Test(inet, solicitation_is_answered)
{
	for (int probe = 0; probe < 2; probe++) {
		struct bytes b;
		make_solicit(&b, our_ip6, probe);
		answer(&b, GP_INET_ND_ANSWERED);
		cr_assert_eq(b.len, 14 + 40 + 32);
		cr_assert_eq(b.data[0], probe ? 0x33 : 2);
		cr_assert_eq(b.data[21], 255);
		cr_assert_eq(memcmp(b.data + 22, our_ip6, 16), 0);
		cr_assert_eq(b.data[38], probe ? 0xff : 0xfd);
		cr_assert_eq(b.data[54], 136);
		cr_assert_eq(b.data[58], probe ? 0x20 : 0x60);
		cr_assert_eq(memcmp(b.data + 62, our_ip6, 16), 0);
		cr_assert_eq(b.data[78], 2);
		cr_assert_eq(memcmp(b.data + 80, our_mac, 6), 0);
		cr_assert_eq(textbook_sum(b.data + 54, 32, pseudo6(b.data + 14, 32, 58)), 0);

		make_solicit(&b, peer_ip6, probe);
		expect(&b, GP_INET_ICMP_IGNORED, "for somebody else");
		make_solicit(&b, our_ip6, probe);
		b.data[21] = 254;
		expect(&b, GP_INET_ICMP_IGNORED, "came through a router");
	}
	struct bytes b;
	make_solicit(&b, our_ip6, false);
	b.data[79] = 0; // an option without length would never end
	put16(b.data + 56, 0);
	put16(b.data + 56, textbook_sum(b.data + 54, 32, pseudo6(b.data + 14, 32, 58)));
	expect(&b, GP_INET_ICMP_IGNORED, "option of length 0");
}

static void expect_neighbour(const struct bytes *b, const uint8_t *ip, const uint8_t *mac)
{
	struct gp_inet_packet p;
	enum gp_inet_verdict v = parse(b, &p);
	cr_assert_eq(v, GP_INET_NEIGHBOUR, "%s", gp_inet_verdict_name(v));
	cr_assert_eq(memcmp(p.peer.ip, ip, 16), 0);
	cr_assert_eq(memcmp(p.peer.mac, mac, 6), 0);
}

Test(inet, neighbours_tell_who_they_are)
{
	for (uint32_t vlan = 0; vlan < 20; vlan += 10) {
		struct bytes b;
		uint32_t l2 = vlan ? 18 : 14;
		make_arp(&b, vlan, peer_ip4 + 12);
		expect_neighbour(&b, peer_ip4, peer_mac);
		make_arp(&b, vlan, our_ip4 + 12);
		b.data[l2 + 7] = 2;
		expect_neighbour(&b, peer_ip4, peer_mac);
		b.data[l2 + 8] |= 1;
		expect(&b, GP_INET_ARP_IGNORED, "a group is nobody");
		memset(b.data + l2 + 8, 0, 6);
		expect(&b, GP_INET_ARP_IGNORED, "no address");
		make_arp(&b, vlan, peer_ip4 + 12);
		b.data[l2 + 14] = b.data[l2 + 24] = 224;
		expect(&b, GP_INET_ARP_IGNORED, "nobody's IP address");
	}
}

// The peer asks as we would; we answer; the peer understands the answer. Both families.
Test(inet, a_question_is_answered_and_understood)
{
	struct gp_inet_host us = host_make(CORES), peer = host_make(1);
	struct gp_inet_packet p;
	memcpy(peer.mac, peer_mac, 6);
	memcpy(peer.addrs[0], peer_ip4, 16);
	memcpy(peer.addrs[1], peer_ip6, 16);
	for (int n = 0; n < 4; n++) {
		bool v6 = n & 1;
		struct bytes b;
		peer.vlan = n & 2 ? 7 : 0;
		b.len = gp_inet_build_ask(&peer, v6 ? our_ip6 : our_ip4, b.data);
		cr_assert_leq(b.len, GP_INET_NOTICE_SIZE);
		enum gp_inet_verdict v = gp_inet_parse(&us, b.data, b.len, 0, &p);
		cr_assert_eq(v, v6 ? GP_INET_ND_ANSWERED : GP_INET_ARP_ANSWERED);
		b.len = gp_inet_answer(&us, v, &p, b.data, sizeof(b.data));
		cr_assert_eq(gp_inet_parse(&peer, b.data, b.len, 0, &p), GP_INET_NEIGHBOUR);
		cr_assert_eq(memcmp(p.peer.ip, v6 ? our_ip6 : our_ip4, 16), 0);
		cr_assert_eq(memcmp(p.peer.mac, our_mac, 6), 0);
		if (!v6)
			continue;
		uint32_t icmp = peer.vlan ? 58 : 54;
		b.data[icmp + 24] = 1; // some other option
		put16(b.data + icmp + 2, 0);
		put16(b.data + icmp + 2,
			textbook_sum(b.data + icmp, 32, pseudo6(b.data + icmp - 40, 32, 58)));
		cr_assert_eq(gp_inet_parse(&peer, b.data, b.len, 0, &p), GP_INET_ICMP_IGNORED);
	}
	memset(peer.addrs[0], 0, 16);
	uint8_t frame[GP_INET_NOTICE_SIZE];
	cr_assert_eq(gp_inet_build_ask(&peer, our_ip4, frame), 0, "no IPv4 address of our own");
}

// What the builder writes, the parser of the other side accepts; lengths odd and even, tail at an
// odd place too.
Test(inet, built_datagrams_are_right)
{
	static const uint32_t lens[] = {0, 1, 2, 7, 48, 333};
	uint8_t buf[GP_INET_HEADERS_MAX + 400], tail[400];
	for (uint32_t i = 0; i < sizeof(tail); i++)
		tail[i] = (uint8_t)(i * 31 + 1);
	struct gp_inet_host h = host_make(CORES), other = host_make(1);
	memcpy(other.mac, peer_mac, 6);
	memcpy(other.addrs[0], peer_ip4, 16);
	memcpy(other.addrs[1], peer_ip6, 16);
	other.port_base = PEER_PORT;
	for (uint32_t n = 0; n < 2 * 2 * 6 * 6; n++) {
		bool v6 = n & 1;
		struct gp_addr peer = {.port = PEER_PORT, .vlan = n & 2 ? 9 : 0};
		memcpy(peer.ip, v6 ? peer_ip6 : peer_ip4, 16);
		memcpy(peer.mac, peer_mac, 6);
		struct gp_inet_datagram d = {.payload = buf + GP_INET_HEADERS_MAX,
			.len = lens[n / 4 % 6],
			.tail = tail,
			.tail_len = lens[n / 24],
			.src_port = PORT_BASE + 2};
		memset(d.payload, 0xa5, d.len);
		uint32_t headers_len = gp_inet_build_udp(&h, &peer, &d);
		cr_assert_eq(headers_len, 14 + (n & 2 ? 4 : 0) + (v6 ? 48 : 28));
		struct bytes b = {.len = 0};
		struct gp_inet_packet p;
		add(&b, d.payload - headers_len, headers_len + d.len);
		add(&b, tail, d.tail_len);
		enum gp_inet_verdict v = gp_inet_parse(&other, b.data, b.len, 0, &p);
		cr_assert_eq(v, GP_INET_ACCEPTED, "%u: %s", n, gp_inet_verdict_name(v));
		cr_assert_eq(p.payload_len, d.len + d.tail_len);
		cr_assert_eq(p.peer.port, PORT_BASE + 2);
		cr_assert_eq(memcmp(p.peer.ip, v6 ? our_ip6 : our_ip4, 16), 0);
		if (!v6)
			cr_assert_eq(b.data[p.l2_len + 6] & 0x40, 0x40, "do not fragment");
	}
}

Test(inet, unreachable_peers_are_named)
{
	uint8_t buf[GP_INET_HEADERS_MAX + 8];
	struct gp_inet_host h = host_make(1);
	struct gp_addr peer = {.port = 1};
	struct gp_inet_datagram d = {.payload = buf + GP_INET_HEADERS_MAX, .len = 8};
	memcpy(peer.ip, peer_ip4, 16);
	cr_assert_eq(gp_inet_build_udp(&h, &peer, &d), 0, "no MAC");
	memcpy(h.gateway_mac, peer_mac, 6);
	cr_assert_eq(gp_inet_build_udp(&h, &peer, &d), 42, "through the gateway");
	cr_assert_eq(memcmp(d.payload - 42, peer_mac, 6), 0);
	d.tail_len = 65536;
	cr_assert_eq(gp_inet_build_udp(&h, &peer, &d), 0, "too long for UDP");
	d.tail_len = 0;
	memcpy(h.addrs[0], our_ip6, 16);
	cr_assert_eq(gp_inet_build_udp(&h, &peer, &d), 0, "no IPv4 address of our own");
}

Test(inet, announcements_are_right)
{
	uint8_t buf[GP_INET_NOTICE_SIZE];
	struct gp_inet_host h = host_make(1);
	cr_assert_eq(gp_inet_build_announce(&h, 0, buf), 42);
	cr_assert_eq(buf[0], 0xff);
	cr_assert_eq(memcmp(buf + 28, our_ip4 + 12, 4), 0);
	cr_assert_eq(memcmp(buf + 38, our_ip4 + 12, 4), 0);
	h.vlan = 8;
	cr_assert_eq(gp_inet_build_announce(&h, 1, buf), GP_INET_NOTICE_SIZE);
	cr_assert_eq(at16(buf + 12), 0x8100);
	cr_assert_eq(at16(buf + 16), 0x86dd);
	cr_assert_eq(textbook_sum(buf + 58, 32, pseudo6(buf + 18, 32, 58)), 0);
	cr_assert_eq(buf[62], 0x20);
}
