// SPDX-License-Identifier: BSD-3-Clause
//
// Datagrams over one connected, non-blocking UDP socket of the kernel: what a client uses, one
// instance for each polled core of each server.
//
// Frames come from a pool of fixed size taken at creation, 64-byte aligned, each with room for the
// largest datagram. `send` queues; gp_xport_udp_flush hands the queue to the kernel in batches
// (sendmmsg), the tail of a frame gathered without a copy. When the kernel's buffer is full the
// rest stays queued, in order, until the next flush; when the queue itself is full the datagram is
// dropped and counted. Nothing is ever fragmented: what is longer than the path takes is dropped
// and counted. `peer` is ignored by send (the socket is connected) and is the server's address on
// receive; the kernel refuses datagrams from anyone else.
//
// Joined datagrams. Where the kernel can, runs of datagrams of one size (the last may be shorter)
// go as one message that it cuts later (GSO, UDP_SEGMENT), and datagrams of one size that arrive
// together come as one (GRO, UDP_GRO); that one is cut into frames where it lies, without a copy,
// while enough receive buffers are free, else with one. `room` of such a frame is its len. A kernel
// or path that refuses a joined message gets the same datagrams one by one.
// A link that hands joined messages on uncut to something that is not a kernel (veth to DPDK's
// af_packet) needs them cut before it: `ethtool -K IFACE tx off`, as for checksums.
//
// Threads: one. Memory: all at creation, on the heap. Errors: creation says why; later ones are
// counters, never an end of service (a refused port may come back).
#ifndef GP_XPORT_UDP_H
#define GP_XPORT_UDP_H

#include <gp_xport.h>

#define GP_XPORT_UDP_FRAMES_MAX 65536
// No larger datagrams, whatever the interface (loopback) offers.
#define GP_XPORT_UDP_IP_MTU_MAX 9216
#define GP_XPORT_UDP_IP_MTU_MIN 576

struct gp_xport_udp;

struct gp_xport_udp_opts {
	struct gp_addr server;
	struct gp_addr local;	  // zero = any address, any port
	uint32_t ip_mtu;	  // 0 = of the route to the server
	uint32_t frames_count;	  // 0 = 2048
	uint32_t queue_count;	  // datagrams waiting to be sent; 0 = half of frames_count
	uint32_t socket_buf_size; // each direction, as far as the kernel allows; 0 = 4 MiB
	uint32_t busy_poll_us;	  // SO_BUSY_POLL, where this process may; 0 = as the system has it
	bool no_join;		  // neither GSO nor GRO
};

struct gp_xport_udp_stats {
	uint64_t tx_datagrams, tx_bytes;
	uint64_t rx_datagrams, rx_bytes;
	uint64_t tx_queue_full;	  // dropped: the queue had no room
	uint64_t tx_too_long;	  // dropped: longer than the path's MTU
	uint64_t tx_failed;	  // dropped: any other error of the kernel
	uint64_t tx_blocked;	  // flushes that left datagrams queued
	uint64_t refused;	  // ICMP port unreachable: nobody listens there
	uint64_t rx_failed;	  // any other error on receive
	uint64_t rx_truncated;	  // dropped: longer than the frame's room
	uint64_t no_frame;	  // alloc or poll found the pool empty
	uint64_t tx_joined;	  // datagrams sent in messages of several
	uint64_t rx_joined;	  // datagrams received in messages of several
	uint64_t tx_join_refused; // such messages that the kernel refused; sent one by one
	uint32_t busy_poll_us;	  // what was asked for and granted
};

// NULL and errno: EINVAL (options), ENOMEM, or what the kernel said to socket, bind or connect.
struct gp_xport_udp *gp_xport_udp_create(const struct gp_xport_udp_opts *opts) GP_MUST_CHECK;
// Takes NULL. Frames still queued are not sent; their tails are given back.
void gp_xport_udp_destroy(struct gp_xport_udp *x);

// The transport as the protocol core sees it. Its mtu is the IP MTU less 28 (IPv4) or 48 (IPv6).
struct gp_xport *gp_xport_udp_base(struct gp_xport_udp *x);

// Up to `max` datagrams that have arrived; never blocks. Each frame carries one reference.
uint32_t gp_xport_udp_poll(struct gp_xport_udp *x, struct gp_frame **frames, uint32_t max);
// Sends what is queued, as far as the kernel takes it; returns what is still queued.
uint32_t gp_xport_udp_flush(struct gp_xport_udp *x);

// Datagrams were received already and the next poll has them: do not wait for the socket.
bool gp_xport_udp_pending(const struct gp_xport_udp *x);
// For poll(2): readable when datagrams wait; ask for writable while gp_xport_udp_flush leaves some.
int gp_xport_udp_fd(const struct gp_xport_udp *x);
// The IP MTU the kernel knows now for this path (lowered by ICMP), or -errno.
int gp_xport_udp_path_mtu(const struct gp_xport_udp *x) GP_MUST_CHECK;
void gp_xport_udp_local(const struct gp_xport_udp *x, struct gp_addr *local);
const struct gp_xport_udp_stats *gp_xport_udp_stats(const struct gp_xport_udp *x);
uint32_t gp_xport_udp_frames_free(const struct gp_xport_udp *x);

#endif
