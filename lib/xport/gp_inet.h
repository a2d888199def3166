// SPDX-License-Identifier: BSD-3-Clause
//
// Ethernet, ARP, IPv4, IPv6, ICMP and UDP as far as a polled core needs them: pure functions over
// bytes, no I/O and no state. The parser proves every bound before it reads a field and gives each
// frame exactly one verdict; it is a fuzz target. Requests that concern our own addresses (ARP,
// neighbour solicitation, echo) are turned into their answer in place.
//
// Accepted: one optional VLAN tag (802.1Q), IPv4 with options skipped, IPv6 without extension
// headers, no fragments, right checksums. References: RFC 768, 791, 792, 826, 1071, 4443, 4861,
// 8200.
#ifndef GP_INET_H
#define GP_INET_H

#include <gp_xport.h>

#define GP_INET_ADDRS_MAX 8
#define GP_INET_ETH_SIZE  14
#define GP_INET_VLAN_SIZE 4
#define GP_INET_IP4_SIZE  20
#define GP_INET_IP6_SIZE  40
#define GP_INET_UDP_SIZE  8
// The most that gp_inet_build_udp writes before the payload.
#define GP_INET_HEADERS_MAX 66
// Longest answer to ARP or neighbour discovery, and longest announcement: IPv6 with a VLAN tag.
#define GP_INET_NOTICE_SIZE 90

// What became of a received frame. The first are served, the rest refused. The list makes the enum,
// the counters, their names and the list that tests cover.
#define GP_INET_VERDICTS(X)                                                                        \
	X(ACCEPTED, accepted, "datagram for the core that received it")                            \
	X(HANDED_OVER, handed_over, "datagram passed to the core that owns its port")              \
	X(ARP_ANSWERED, arp_answered, "ARP request for one of our addresses")                      \
	X(ND_ANSWERED, nd_answered, "neighbour solicitation for one of our addresses")             \
	X(ECHO_ANSWERED, echo_answered, "ICMP or ICMPv6 echo request")                             \
	X(NEIGHBOUR, neighbour,                                                                    \
		"tells an Ethernet address: ARP reply, advertisement, announcement")               \
	X(ARP_IGNORED, arp_ignored, "other ARP, well formed or not")                               \
	X(ICMP_IGNORED, icmp_ignored, "other ICMP or ICMPv6")                                      \
	X(SHORT, short_frame, "ends inside a header")                                              \
	X(OTHER_TYPE, other_ethertype, "neither ARP, IPv4 nor IPv6")                               \
	X(OTHER_MAC, other_mac, "not for our Ethernet address")                                    \
	X(OTHER_IP, other_ip, "not for one of our IP addresses")                                   \
	X(OTHER_PROTOCOL, other_protocol, "neither UDP nor ICMP; IPv6 extension header")           \
	X(OTHER_PORT, other_port, "UDP port of no core")                                           \
	X(IP_BAD, ip_bad, "version, header length or total length is impossible")                  \
	X(IP_CHECKSUM, ip_checksum, "wrong IPv4 header checksum")                                  \
	X(IP_FRAGMENT, ip_fragment, "fragment")                                                    \
	X(SOURCE_BAD, source_bad, "source address or port that nobody can have")                   \
	X(ICMP_CHECKSUM, icmp_checksum, "wrong ICMP checksum")                                     \
	X(UDP_BAD, udp_bad, "UDP length does not fit the IP length")                               \
	X(UDP_CHECKSUM, udp_checksum, "wrong or missing UDP checksum")                             \
	X(SEGMENTED, segmented, "came in several buffers")                                         \
	X(HANDOVER_FULL, handover_full, "owner's ring was full")

enum gp_inet_verdict {
#define X(id, name, help) GP_INET_##id,
	GP_INET_VERDICTS(X)
#undef X
		GP_INET_VERDICTS_COUNT
};

const char *gp_inet_verdict_name(enum gp_inet_verdict v);
const char *gp_inet_verdict_help(enum gp_inet_verdict v);

// Who we are; constant while the port runs.
struct gp_inet_host {
	uint8_t mac[6];
	uint16_t vlan;		// of announcements; 0 = untagged
	uint8_t gateway_mac[6]; // for peers without a MAC; zero = none
	uint16_t port_base;	// core i listens at port_base + i
	uint16_t ports_count;
	uint16_t addrs_count;
	uint8_t addrs[GP_INET_ADDRS_MAX][16]; // IPv4 as ::ffff:a.b.c.d
};

// Checks that the hardware already did (or that the operator switched off).
enum gp_inet_flags {
	GP_INET_SKIP_IP_CHECKSUM = 1 << 0,
	GP_INET_SKIP_UDP_CHECKSUM = 1 << 1,
	// RFC 768: over IPv4 a datagram may have none (field 0). Its peer is marked with it.
	GP_INET_OPTIONAL_UDP_CHECKSUM = 1 << 2,
};

struct gp_inet_packet {
	uint32_t l2_len; // 14 or 18
	uint32_t l3_len;
	uint32_t payload_off; // UDP payload, from the start of the frame
	uint32_t payload_len;
	uint32_t core;	     // dst port - port_base
	uint32_t addr;	     // which of our addresses
	struct gp_addr peer; // source MAC, VLAN, IP and port
};

// ACCEPTED: *p is whole, the datagram is for core p->core. ARP_ANSWERED, ND_ANSWERED,
// ECHO_ANSWERED: call gp_inet_answer with the same *p. NEIGHBOUR: p->peer.ip is at p->peer.mac, who
// wants to know (anybody may say so). Else refused; *p is meaningless.
enum gp_inet_verdict gp_inet_parse(const struct gp_inet_host *h, const uint8_t *frame, uint32_t len,
	uint32_t flags, struct gp_inet_packet *p) GP_MUST_CHECK;

// Turns the request into its answer, in place; returns the answer's length. `room` is what is
// usable from `frame`, at least GP_INET_NOTICE_SIZE.
uint32_t gp_inet_answer(const struct gp_inet_host *h, enum gp_inet_verdict v,
	const struct gp_inet_packet *p, uint8_t *frame, uint32_t room) GP_MUST_CHECK;

// A datagram to send: payload and tail follow one another on the wire.
struct gp_inet_datagram {
	uint8_t *payload; // GP_INET_HEADERS_MAX bytes before it are ours to write
	uint32_t len;
	const uint8_t *tail;
	uint32_t tail_len;
	uint16_t src_port;
	bool offload; // UDP checksum: pseudo header only; IPv4 header checksum: 0
};

// Writes Ethernet, IP (TTL 64, DF) and UDP headers right before payload, to peer's MAC or else the
// gateway's, from our first address of peer's family; without a UDP checksum where peer has
// GP_ADDR_NO_CHECKSUM and is IPv4. Returns their length, or 0 when peer cannot
// be reached: no MAC, no address of that family, or the datagram is over 65,535 bytes.
uint32_t gp_inet_build_udp(const struct gp_inet_host *h, const struct gp_addr *peer,
	const struct gp_inet_datagram *d) GP_MUST_CHECK;

// Gratuitous ARP or unsolicited neighbour advertisement for address `addr`, into
// GP_INET_NOTICE_SIZE bytes; returns its length.
uint32_t gp_inet_build_announce(
	const struct gp_inet_host *h, uint32_t addr, uint8_t *frame) GP_MUST_CHECK;

// Asks for the Ethernet address of `ip` (ARP request or neighbour solicitation, from our first
// address of its family), into GP_INET_NOTICE_SIZE bytes; returns its length, 0 when we have no
// such address.
uint32_t gp_inet_build_ask(
	const struct gp_inet_host *h, const uint8_t ip[16], uint8_t *frame) GP_MUST_CHECK;

// RFC 1071 sum in memory order. Chain calls over pieces by passing the result on; all pieces but
// the last have even length.
uint64_t gp_inet_sum(const void *data, uint32_t len, uint64_t sum);
// Folds and complements: what goes into the checksum field, as stored with gp_store16.
uint16_t gp_inet_sum_finish(uint64_t sum);

#endif
