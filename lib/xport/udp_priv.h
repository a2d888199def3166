// SPDX-License-Identifier: BSD-3-Clause
//
// Inside the udp transport: udp.c has its life and its frames, udp_tx.c the queue and what joins
// datagrams into one call (GSO), udp_rx.c what arrives joined and is cut (GRO), udp_socket.c the
// calls that run once.
#ifndef GP_UDP_PRIV_H
#define GP_UDP_PRIV_H

#include <gp_xport_udp.h>

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define UDP_BATCH 32 // messages of one system call
// Datagrams of one sendmmsg; each may be two pieces.
#define UDP_TX_ITEMS_MAX 256
#define UDP_JOIN_MAX	 64 // datagrams of one message; more than the kernel's limit is refused
// Payload of one message: what fits an IPv6 packet, and an IPv4 one.
#define UDP_JOIN_SIZE_MAX 65487
#define UDP_SPAN_SIZE	  65536
#define UDP_SPANS_COUNT	  (2 * UDP_BATCH)

union udp_sockaddr {
	struct sockaddr sa;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

// What one message is received into: one datagram, or several of one size joined by the kernel.
// It is in use until the last frame that was cut from it is released.
struct udp_span {
	uint8_t *buf;
	uint32_t refs;
	uint32_t len;
	uint32_t segment_len;
	uint32_t cut; // bytes of it that frames were made of
};

// The contract's frame and what the pool needs, side by side.
struct udp_frame {
	struct gp_frame frame;
	uint8_t *buf;
	struct udp_span *span; // where the data lies, NULL: in buf
	uint32_t refs;
};

// A queued datagram keeps its own view: a frame that is held may be filled anew by its other user
// only after this has left, but may be queued twice with different tails.
struct udp_item {
	struct udp_frame *f;
	const uint8_t *tail;
	struct gp_hold *tail_hold;
	uint32_t len;
	uint32_t tail_len;
};

union udp_control {
	struct cmsghdr align;
	uint8_t bytes[CMSG_SPACE(sizeof(int))];
};

struct gp_xport_udp {
	struct gp_xport base;
	int fd;
	bool v4;
	struct gp_addr server;
	uint32_t room;

	struct udp_frame *frames;
	uint8_t *bufs;
	struct udp_frame **free;
	uint32_t frames_count;
	uint32_t free_count;

	struct udp_item *queue; // a ring: mask + 1 slots, of which queue_max are used
	uint32_t queue_mask;
	uint32_t queue_max;
	uint32_t head; // next to be sent
	uint32_t tail; // next free slot
	bool gso;
	uint32_t gso_refused; // in a row
	uint32_t plain_left;  // datagrams at the head that go one by one

	bool gro;
	uint32_t span_size;
	uint8_t *span_bufs;
	struct udp_span *spans;
	struct udp_span **spans_free;
	uint32_t spans_free_count;
	struct udp_span *arrived[UDP_BATCH]; // received, not yet cut, in order
	uint32_t arrived_at;
	uint32_t arrived_count;

	struct gp_xport_udp_stats stats;
	struct mmsghdr msgs[UDP_BATCH];
	uint32_t msg_items[UDP_BATCH]; // datagrams in each message
	struct iovec iovs[2 * UDP_TX_ITEMS_MAX];
	union udp_control controls[UDP_BATCH];
};

// udp.c
struct gp_frame *udp_alloc(struct gp_xport *base);
void udp_release(struct gp_xport *base, struct gp_frame *frame);
void udp_span_put(struct gp_xport_udp *x, struct udp_span *s);

// udp_tx.c
void udp_send(struct gp_xport *base, struct gp_frame *frame);
// The head of the queue is sent or given up: its tail and its frame go back.
void udp_item_done(struct gp_xport_udp *x);

// udp_socket.c
// A connected, non-blocking socket that never fragments, or -errno.
int udp_socket_open(const struct gp_xport_udp_opts *opts, uint32_t buf_size) GP_MUST_CHECK;
// Whether the kernel joins what is sent, cuts nothing of what has arrived joined, busy-polls.
bool udp_socket_gso(int fd) GP_MUST_CHECK;
bool udp_socket_gro(int fd) GP_MUST_CHECK;
bool udp_socket_busy_poll(int fd, uint32_t us) GP_MUST_CHECK;
// IP MTU of the connected path as the kernel knows it, or -errno.
int udp_socket_mtu(int fd, bool v4) GP_MUST_CHECK;
void udp_socket_local(int fd, struct gp_addr *local);

#endif
