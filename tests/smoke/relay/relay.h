// SPDX-License-Identifier: BSD-3-Clause
//
// A bad wire between two network interfaces: whole Ethernet frames go from one to the other, so
// ARP, ICMP and addresses work as over a cable; UDP datagrams of a port range are dropped,
// repeated, reordered and delayed by a seeded generator. A direction's choices depend only on the
// seed and on the order of its datagrams. One thread; all memory is taken at start.
#ifndef RELAY_H
#define RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_SIZE_MAX 9232 // MTU 9000, Ethernet header, VLAN tag; a multiple of 16
#define FRAMES_COUNT   4096 // per direction; more than 64 bursts in flight
#define BURST	       64
#define HELD_MAX       256 // datagrams held back at once, per direction
#define OVERTAKE_MAX   8   // a held datagram lets 1..8 others pass

// Percentages are held in units of 1/1000 %.
struct relay_opts {
	const char *iface[2];
	uint32_t loss, dup, reorder;
	uint32_t delay_us;   // of every disturbed datagram
	uint32_t reorder_us; // a held datagram goes at the latest after this
	uint16_t port_min, port_max;
	uint64_t seed;
};

struct relay_counts {
	uint64_t forwarded;  // disturbed datagrams sent on, repeats included
	uint64_t dropped;    // by choice
	uint64_t duplicated; // repeats made
	uint64_t reordered;  // sent on after a later one
	uint64_t passed;     // other frames (ARP, ICMP, other ports)
	uint64_t overflow;   // lost for want of room here or at the sending interface
	uint64_t oversized;  // longer than a frame may be: offloads are on somewhere
	uint64_t missed;     // lost by the kernel before they reached us
};

struct frame {
	uint64_t due_ns;
	uint32_t len;
	bool disturbed;
	uint8_t data[FRAME_SIZE_MAX];
};

struct held {
	struct frame *frame;
	uint64_t deadline_ns;
	uint32_t overtake_left;
	bool overtaken;
};

// One direction: frames leave `held` and arrivals into `fifo`, which is sent when due.
struct lane {
	const struct relay_opts *opts;
	uint64_t random_state;
	struct relay_counts counts;
	struct held held[HELD_MAX];
	uint32_t held_count;
	struct frame *fifo[FRAMES_COUNT];
	uint32_t fifo_head, fifo_tail;
	struct frame *spare[FRAMES_COUNT];
	uint32_t spare_count;
};

// frames.c: is this a UDP datagram from or to the range (IPv4 without fragments, IPv6 without
// extension headers, at most one VLAN tag)?
bool frame_is_udp_of(const uint8_t *data, uint32_t len, uint16_t port_min, uint16_t port_max);

// disturb.c. 0 or -ENOMEM.
int lane_init(struct lane *l, const struct relay_opts *opts, uint32_t number);
void lane_fini(struct lane *l);
// A frame to fill, or NULL when all are in flight.
struct frame *lane_take(struct lane *l);
void lane_give(struct lane *l, struct frame *f);
// Takes over a filled frame that arrived now.
void lane_arrive(struct lane *l, struct frame *f, uint64_t now_ns);
// Moves held frames whose deadline has passed to the fifo.
void lane_expire(struct lane *l, uint64_t now_ns);
// Frames due now, oldest first, at most `max`; the caller sends and gives them back.
uint32_t lane_due(struct lane *l, uint64_t now_ns, struct frame **out, uint32_t max);
// When the next frame is due, UINT64_MAX when none waits.
uint64_t lane_next_ns(const struct lane *l);

#endif
