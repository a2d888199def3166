// SPDX-License-Identifier: BSD-3-Clause
//
// The one contract between a protocol core (server engine or client) and what carries its
// datagrams.
//
// A frame is one UDP datagram in a buffer of the transport: `data[0..len)` is the UDP payload,
// `room` the bytes usable from `data`. The protocol core never sees Ethernet, sockets or mbufs; the
// transport never looks into the payload. On receive `peer` is the validated source of the
// datagram; on send it is the destination, and the transport writes all lower headers into the
// headroom that it reserved itself before `data`.
//
// References. A frame comes with one reference: on receive it belongs to the protocol core, which
// gives it back with `release` or keeps it (a contribution waits in its slot inside the arrival
// frame; `hold` adds a reference, one per section kept). `send` takes over the caller's reference.
//
// Tail. A reply may carry its payload by reference: `tail[0..tail_len)` is sent right after
// data[0..len). `tail_hold` counts the users of that memory; the protocol core increments it before
// `send`, the transport decrements it, on the same core, once the bytes have left or were copied.
// A transport that cannot gather copies the tail behind `data` (room permitting is the caller's
// duty: len + tail_len <= mtu of the transport).
//
// Threads: a transport instance belongs to one core; every call and every field is that core's.
// No call blocks, allocates from the heap or fails with an error: a full pool is NULL, a full queue
// is back-pressure that the transport keeps (its drops are counters).
#ifndef GP_XPORT_H
#define GP_XPORT_H

#include <gp_base.h>

// IPv4 is held as ::ffff:a.b.c.d. Port in host order. mac, vlan and link are those of the last
// validated datagram and are used by transports that write Ethernet headers, as flags are; others
// leave them 0.
struct gp_addr {
	uint8_t ip[16];
	uint16_t port;
	uint16_t vlan; // 0 = untagged
	uint8_t mac[6];
	uint8_t link;  // of a transport with several: which one it was heard on
	uint8_t flags; // enum gp_addr_flags
};

enum gp_addr_flags {
	// Over IPv4: its last datagram had no UDP checksum, so what is sent there has none.
	GP_ADDR_NO_CHECKSUM = 1 << 0,
};

struct gp_hold {
	uint32_t count;
};

struct gp_frame {
	uint8_t *data;
	uint32_t len;
	uint32_t room;
	const uint8_t *tail;
	struct gp_hold *tail_hold;
	uint32_t tail_len;
	struct gp_addr peer;
};

struct gp_xport;

struct gp_xport_ops {
	// A frame to fill: len 0, no tail, room >= the transport's mtu. NULL when the pool is
	// empty.
	struct gp_frame *(*alloc)(struct gp_xport *x);
	void (*hold)(struct gp_xport *x, struct gp_frame *f);
	void (*release)(struct gp_xport *x, struct gp_frame *f);
	void (*send)(struct gp_xport *x, struct gp_frame *f);
};

// Embedded first in every transport's own struct.
struct gp_xport {
	const struct gp_xport_ops *ops;
	uint32_t mtu; // largest UDP payload the local port can send, bytes
};

static inline bool gp_addr_is_v4(const struct gp_addr *a)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	return memcmp(a->ip, mapped, sizeof(mapped)) == 0;
}

// Same IP, port and VLAN; MAC, link and flags may change under a peer (failover of its own
// gateway).
static inline bool gp_addr_equal(const struct gp_addr *a, const struct gp_addr *b)
{
	return memcmp(a->ip, b->ip, sizeof(a->ip)) == 0 && a->port == b->port && a->vlan == b->vlan;
}

// Every byte of it.
static inline bool gp_addr_same(const struct gp_addr *a, const struct gp_addr *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

// "10.0.0.1:9700" or "[fe80::1]:9700"; always terminated.
#define GP_ADDR_TEXT_SIZE 64
void gp_addr_format(const struct gp_addr *a, char text[GP_ADDR_TEXT_SIZE]);
// Numeric addresses only, in the form of gp_addr_format. 0 or -EINVAL.
int gp_addr_parse(const char *text, struct gp_addr *a) GP_MUST_CHECK;

#endif
