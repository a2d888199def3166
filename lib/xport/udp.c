// SPDX-License-Identifier: BSD-3-Clause
#include "udp_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#define BATCH		32
#define FRAMES_COUNT	2048
#define SOCKET_BUF_SIZE (4u << 20)
#define IP4_OVERHEAD	28
#define IP6_OVERHEAD	48
#define ATTEMPTS_MAX	8 // errors of the kernel met in one flush or poll

// The contract's frame and what the pool needs, side by side.
struct udp_frame {
	struct gp_frame frame;
	uint8_t *buf;
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

	struct gp_xport_udp_stats stats;
	struct mmsghdr msgs[BATCH];
	struct iovec iovs[BATCH][2];
};

static struct gp_xport_udp *udp_of(struct gp_xport *x)
{
	return (struct gp_xport_udp *)x;
}

static struct gp_frame *udp_alloc(struct gp_xport *base)
{
	struct gp_xport_udp *x = udp_of(base);
	if (x->free_count == 0) {
		x->stats.no_frame++;
		return NULL;
	}
	struct udp_frame *f = x->free[--x->free_count];
	f->refs = 1;
	f->frame = (struct gp_frame){.data = f->buf, .room = x->room};
	return &f->frame;
}

static void udp_hold(struct gp_xport *base, struct gp_frame *frame)
{
	(void)base;
	struct udp_frame *f = (struct udp_frame *)frame;
	GP_ASSERT(f->refs > 0);
	f->refs++;
}

static void udp_release(struct gp_xport *base, struct gp_frame *frame)
{
	struct gp_xport_udp *x = udp_of(base);
	struct udp_frame *f = (struct udp_frame *)frame;
	GP_ASSERT(f->refs > 0);
	if (--f->refs == 0) {
		GP_ASSERT(x->free_count < x->frames_count);
		x->free[x->free_count++] = f;
	}
}

static void item_done(struct gp_xport_udp *x, struct udp_item *item)
{
	if (item->tail_hold) {
		GP_ASSERT(item->tail_hold->count > 0);
		item->tail_hold->count--;
	}
	udp_release(&x->base, &item->f->frame);
}

static void udp_send(struct gp_xport *base, struct gp_frame *frame)
{
	struct gp_xport_udp *x = udp_of(base);
	struct udp_frame *f = (struct udp_frame *)frame;
	GP_ASSERT(f->refs > 0 && frame->len <= frame->room);
	struct udp_item item = {
		.f = f,
		.tail = frame->tail,
		.tail_hold = frame->tail_hold,
		.len = frame->len,
		.tail_len = frame->tail_len,
	};
	if (x->tail - x->head >= x->queue_max) {
		x->stats.tx_queue_full++;
		item_done(x, &item);
		return;
	}
	x->queue[x->tail++ & x->queue_mask] = item;
}

static const struct gp_xport_ops udp_ops = {
	.alloc = udp_alloc,
	.hold = udp_hold,
	.release = udp_release,
	.send = udp_send,
};

// The next datagrams of the queue as messages; returns how many.
static uint32_t batch_fill(struct gp_xport_udp *x)
{
	uint32_t count = GP_MIN(x->tail - x->head, (uint32_t)BATCH);
	for (uint32_t i = 0; i < count; i++) {
		const struct udp_item *item = &x->queue[(x->head + i) & x->queue_mask];
		x->iovs[i][0] = (struct iovec){item->f->frame.data, item->len};
		x->iovs[i][1] = (struct iovec){(void *)(uintptr_t)item->tail, item->tail_len};
		x->msgs[i].msg_hdr = (struct msghdr){
			.msg_iov = x->iovs[i],
			.msg_iovlen = item->tail_len ? 2 : 1,
		};
	}
	return count;
}

static void batch_sent(struct gp_xport_udp *x, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct udp_item *item = &x->queue[x->head++ & x->queue_mask];
		x->stats.tx_datagrams++;
		x->stats.tx_bytes += item->len + item->tail_len;
		item_done(x, item);
	}
}

// What an error of sendmmsg means for the datagram at the head of the queue. True when the flush
// goes on, false when the kernel is full.
static bool send_error(struct gp_xport_udp *x, int error)
{
	switch (error) {
	case EAGAIN:
	case ENOBUFS:
	case ENOMEM:
		return false;
	case EINTR:
		return true;
	case ECONNREFUSED: // about an earlier datagram; this one was not tried
		x->stats.refused++;
		return true;
	case EMSGSIZE:
		x->stats.tx_too_long++;
		break;
	default:
		x->stats.tx_failed++;
		break;
	}
	item_done(x, &x->queue[x->head++ & x->queue_mask]);
	return true;
}

uint32_t gp_xport_udp_flush(struct gp_xport_udp *x)
{
	uint32_t errors = 0;
	while (x->head != x->tail && errors < ATTEMPTS_MAX) {
		uint32_t count = batch_fill(x);
		int sent = sendmmsg(x->fd, x->msgs, count, MSG_NOSIGNAL);
		if (sent > 0) {
			batch_sent(x, (uint32_t)sent);
			continue;
		}
		errors++;
		if (!send_error(x, errno))
			break;
	}
	if (x->head != x->tail)
		x->stats.tx_blocked++;
	return x->tail - x->head;
}

static uint32_t receive_fill(struct gp_xport_udp *x, struct gp_frame **frames, uint32_t max)
{
	uint32_t count = 0;
	for (; count < max; count++) {
		frames[count] = udp_alloc(&x->base);
		if (!frames[count])
			break;
		x->iovs[count][0] = (struct iovec){frames[count]->data, x->room};
		x->msgs[count].msg_hdr = (struct msghdr){
			.msg_iov = x->iovs[count],
			.msg_iovlen = 1,
		};
	}
	return count;
}

static int receive(struct gp_xport_udp *x, uint32_t count)
{
	for (uint32_t i = 0; i < ATTEMPTS_MAX; i++) {
		int n = recvmmsg(x->fd, x->msgs, count, MSG_DONTWAIT, NULL);
		if (n >= 0)
			return n;
		if (errno == EAGAIN)
			return 0;
		if (errno == ECONNREFUSED)
			x->stats.refused++;
		else if (errno != EINTR)
			x->stats.rx_failed++;
	}
	return 0;
}

// One batch of at most BATCH. Returns the frames kept; *more when the socket may have others.
static uint32_t receive_batch(
	struct gp_xport_udp *x, struct gp_frame **frames, uint32_t max, bool *more)
{
	uint32_t count = receive_fill(x, frames, GP_MIN(max, (uint32_t)BATCH));
	uint32_t got = count ? (uint32_t)receive(x, count) : 0;
	uint32_t kept = 0;
	for (uint32_t i = 0; i < count; i++) {
		struct gp_frame *frame = frames[i];
		if (i >= got || (x->msgs[i].msg_hdr.msg_flags & MSG_TRUNC)) {
			x->stats.rx_truncated += i < got;
			udp_release(&x->base, frame);
			continue;
		}
		frame->len = x->msgs[i].msg_len;
		frame->peer = x->server;
		x->stats.rx_bytes += frame->len;
		frames[kept++] = frame;
	}
	x->stats.rx_datagrams += kept;
	*more = got == BATCH;
	return kept;
}

uint32_t gp_xport_udp_poll(struct gp_xport_udp *x, struct gp_frame **frames, uint32_t max)
{
	uint32_t kept = 0;
	bool more = true;
	while (more && kept < max)
		kept += receive_batch(x, frames + kept, max - kept, &more);
	return kept;
}

static int memory_take(struct gp_xport_udp *x, uint32_t frames_count, uint32_t queue_count)
{
	uint32_t slots = (uint32_t)gp_pow2_up(queue_count);
	size_t stride = gp_align_up(x->room, GP_CACHE_LINE);
	x->frames = calloc(frames_count, sizeof(*x->frames));
	x->free = calloc(frames_count, sizeof(struct udp_frame *));
	x->queue = calloc(slots, sizeof(*x->queue));
	x->bufs = aligned_alloc(GP_CACHE_LINE, stride * frames_count);
	if (!x->frames || !x->free || !x->queue || !x->bufs)
		return -ENOMEM;
	x->queue_mask = slots - 1;
	x->queue_max = queue_count;
	x->frames_count = frames_count;
	x->free_count = frames_count;
	for (uint32_t i = 0; i < frames_count; i++) {
		x->frames[i].buf = x->bufs + stride * i;
		x->free[frames_count - 1 - i] = &x->frames[i];
	}
	return 0;
}

static int mtu_choose(const struct gp_xport_udp *x, const struct gp_xport_udp_opts *opts)
{
	int mtu = opts->ip_mtu ? (int)opts->ip_mtu : udp_socket_mtu(x->fd, x->v4);
	if (mtu < 0)
		return mtu;
	return GP_MIN(mtu, GP_XPORT_UDP_IP_MTU_MAX);
}

static int udp_init(struct gp_xport_udp *x, const struct gp_xport_udp_opts *opts)
{
	uint32_t frames_count = opts->frames_count ? opts->frames_count : FRAMES_COUNT;
	uint32_t queue_count = opts->queue_count ? opts->queue_count : (frames_count + 1) / 2;
	uint32_t buf_size = opts->socket_buf_size ? opts->socket_buf_size : SOCKET_BUF_SIZE;
	if (frames_count > GP_XPORT_UDP_FRAMES_MAX || queue_count > GP_XPORT_UDP_FRAMES_MAX ||
		opts->server.port == 0 ||
		(opts->ip_mtu && opts->ip_mtu < GP_XPORT_UDP_IP_MTU_MIN) ||
		opts->ip_mtu > GP_XPORT_UDP_IP_MTU_MAX)
		return -EINVAL;

	x->fd = udp_socket_open(opts, buf_size);
	if (x->fd < 0)
		return x->fd;
	int mtu = mtu_choose(x, opts);
	if (mtu < 0)
		return mtu;
	x->base.ops = &udp_ops;
	x->base.mtu = (uint32_t)mtu - (x->v4 ? IP4_OVERHEAD : IP6_OVERHEAD);
	x->room = (uint32_t)gp_align_up(x->base.mtu, GP_CACHE_LINE);
	return memory_take(x, frames_count, queue_count);
}

struct gp_xport_udp *gp_xport_udp_create(const struct gp_xport_udp_opts *opts)
{
	struct gp_xport_udp *x = calloc(1, sizeof(*x));
	if (!x)
		return NULL;
	x->fd = -1;
	x->v4 = gp_addr_is_v4(&opts->server);
	x->server = opts->server;
	int rc = udp_init(x, opts);
	if (rc) {
		gp_xport_udp_destroy(x);
		errno = -rc;
		return NULL;
	}
	return x;
}

void gp_xport_udp_destroy(struct gp_xport_udp *x)
{
	if (!x)
		return;
	while (x->head != x->tail)
		item_done(x, &x->queue[x->head++ & x->queue_mask]);
	if (x->fd >= 0)
		close(x->fd);
	free(x->bufs);
	free(x->queue);
	free(x->free);
	free(x->frames);
	free(x);
}

struct gp_xport *gp_xport_udp_base(struct gp_xport_udp *x)
{
	return &x->base;
}

int gp_xport_udp_fd(const struct gp_xport_udp *x)
{
	return x->fd;
}

int gp_xport_udp_path_mtu(const struct gp_xport_udp *x)
{
	return udp_socket_mtu(x->fd, x->v4);
}

void gp_xport_udp_local(const struct gp_xport_udp *x, struct gp_addr *local)
{
	udp_socket_local(x->fd, local);
}

const struct gp_xport_udp_stats *gp_xport_udp_stats(const struct gp_xport_udp *x)
{
	return &x->stats;
}

uint32_t gp_xport_udp_frames_free(const struct gp_xport_udp *x)
{
	return x->free_count;
}
