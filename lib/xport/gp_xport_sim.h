// SPDX-License-Identifier: BSD-3-Clause
//
// A network inside one process, for the simulator: the production engine and client objects talk
// over it while time is a number that the caller feeds.
//
// A net has endpoints (an address each; several ports of one host are several endpoints) and a link
// for each ordered pair of them. `send` decides the fate of a datagram at once from the net's own
// seeded generator: lost, delivered after a delay, late (so that others overtake it), twice, with
// flipped bits. Everything, the order of delivery included, follows from the seed and the sequence
// of calls. Datagrams that are due at the same nanosecond arrive in the order they were sent.
//
// Use: gp_sim_net_create, gp_sim_net_add for each endpoint, then loop { now = gp_sim_net_next_time
// or a timer of the program under test; while ((n = gp_sim_net_deliver(...))) hand them over }.
//
// Threads: one. Memory: all at creation; frames of all endpoints share one pool. A full pool is
// NULL from alloc and a counted drop in flight, a full event heap a counted drop.
#ifndef GP_XPORT_SIM_H
#define GP_XPORT_SIM_H

#include <gp_xport.h>

#define GP_SIM_DATAGRAM_MAX  9216
#define GP_SIM_ENDPOINTS_MAX 512
#define GP_SIM_EVENTS_MAX    (1 << 20)
#define GP_SIM_PPM	     1000000 // certain

struct gp_sim_net;

// Probabilities in parts per million. Delay is uniform in [delay_ns_min, delay_ns_max].
struct gp_sim_link {
	uint32_t loss_ppm;
	uint32_t duplicate_ppm;
	uint32_t reorder_ppm; // delayed by up to reorder_ns more
	uint32_t corrupt_ppm; // 1 to 8 flipped bits
	uint64_t delay_ns_min;
	uint64_t delay_ns_max;
	uint64_t reorder_ns;
};

struct gp_sim_opts {
	uint64_t seed;
	uint32_t endpoints_max; // 0 = 64
	uint32_t frames_count;	// 0 = 8192
	uint32_t events_max;	// datagrams in flight; 0 = frames_count
	uint32_t mtu;		// UDP payload; 0 = 1472
	struct gp_sim_link link;
};

struct gp_sim_stats {
	uint64_t sent;
	uint64_t delivered;
	uint64_t lost;
	uint64_t duplicated;
	uint64_t reordered;
	uint64_t corrupted;
	uint64_t no_endpoint; // dropped: nobody has that address
	uint64_t too_long;    // dropped: longer than the net's mtu
	uint64_t heap_full;   // dropped: too many in flight
	uint64_t no_frame;    // dropped, or alloc refused: pool empty
};

// NULL and errno: EINVAL or ENOMEM.
struct gp_sim_net *gp_sim_net_create(const struct gp_sim_opts *opts) GP_MUST_CHECK;
void gp_sim_net_destroy(struct gp_sim_net *net);

// A new endpoint; ip and port of addr name it. NULL and errno: EEXIST, ENOSPC.
struct gp_xport *gp_sim_net_add(struct gp_sim_net *net, const struct gp_addr *addr) GP_MUST_CHECK;
const struct gp_addr *gp_sim_addr(const struct gp_xport *endpoint);
// As with a connected socket, everything that the endpoint sends goes there, whatever its peer
// says.
void gp_sim_connect(struct gp_xport *endpoint, const struct gp_addr *server);

// One direction of one pair, from now on; loss_ppm = GP_SIM_PPM cuts it. Both are this net's.
void gp_sim_net_set_link(struct gp_sim_net *net, const struct gp_xport *from,
	const struct gp_xport *to, const struct gp_sim_link *link);
// Every pair.
void gp_sim_net_set_links(struct gp_sim_net *net, const struct gp_sim_link *link);

// When the next datagram is due, in ns, not before the net's time; UINT64_MAX when none is in
// flight.
uint64_t gp_sim_net_next_time(const struct gp_sim_net *net);
// Sets the time (never back); what is sent from here on leaves at `now`.
void gp_sim_net_set_now(struct gp_sim_net *net, uint64_t now);
// Sets the time and takes the next burst: the datagrams due by now, up to `max`, that are next in
// order and for one endpoint, which is named in *endpoint. 0 when nothing is due.
uint32_t gp_sim_net_deliver(struct gp_sim_net *net, uint64_t now, struct gp_xport **endpoint,
	struct gp_frame **frames, uint32_t max) GP_MUST_CHECK;

const struct gp_sim_stats *gp_sim_net_stats(const struct gp_sim_net *net);
uint32_t gp_sim_net_frames_free(const struct gp_sim_net *net);
uint32_t gp_sim_net_in_flight(const struct gp_sim_net *net);

#endif
