// SPDX-License-Identifier: BSD-3-Clause
//
// The queue, and how it is handed to the kernel: runs of datagrams of one size are joined into one
// message that the kernel, or the NIC, cuts again (UDP_SEGMENT). One walk through the stack for up
// to 64 datagrams is worth ten times the rate of single ones.
#include "udp_priv.h"

#include <errno.h>
#include <netinet/udp.h>

#define ATTEMPTS_MAX 8 // errors of the kernel met in one flush
#define REFUSALS_MAX 4 // joined messages refused in a row before it is left

void udp_item_done(struct gp_xport_udp *x)
{
	struct udp_item *item = &x->queue[x->head++ & x->queue_mask];
	if (item->tail_hold) {
		GP_ASSERT(item->tail_hold->count > 0);
		item->tail_hold->count--;
	}
	udp_release(&x->base, &item->f->frame);
	if (x->plain_left > 0)
		x->plain_left--;
}

void udp_send(struct gp_xport *base, struct gp_frame *frame)
{
	struct gp_xport_udp *x = (struct gp_xport_udp *)base;
	struct udp_frame *f = (struct udp_frame *)frame;
	GP_ASSERT(f->refs > 0 && frame->len <= frame->room);
	if (x->tail - x->head >= x->queue_max) {
		x->stats.tx_queue_full++;
		if (frame->tail_hold) {
			GP_ASSERT(frame->tail_hold->count > 0);
			frame->tail_hold->count--;
		}
		udp_release(base, frame);
		return;
	}
	x->queue[x->tail++ & x->queue_mask] = (struct udp_item){
		.f = f,
		.tail = frame->tail,
		.tail_hold = frame->tail_hold,
		.len = frame->len,
		.tail_len = frame->tail_len,
	};
}

static const struct udp_item *item_at(const struct gp_xport_udp *x, uint32_t i)
{
	return &x->queue[(x->head + i) & x->queue_mask];
}

static uint32_t item_size(const struct udp_item *item)
{
	return item->len + item->tail_len;
}

// How many datagrams from place `at` of the queue fit one message: all of the first one's size but
// the last, which may be shorter.
static uint32_t run_len(const struct gp_xport_udp *x, uint32_t at, uint32_t max)
{
	uint32_t size = item_size(item_at(x, at));
	if (!x->gso || at < x->plain_left || size == 0 || size > x->base.mtu)
		return 1;
	max = GP_MIN(max, GP_MIN(UDP_JOIN_SIZE_MAX / size, (uint32_t)UDP_JOIN_MAX));
	uint32_t n = 1;
	while (n < max) {
		uint32_t next = item_size(item_at(x, at + n));
		if (next == 0 || next > size)
			break;
		n++;
		if (next < size)
			break;
	}
	return n;
}

static void control_fill(struct msghdr *h, union udp_control *control, uint32_t segment_len)
{
	h->msg_control = control;
	h->msg_controllen = CMSG_SPACE(sizeof(uint16_t));
	struct cmsghdr *c = CMSG_FIRSTHDR(h);
	c->cmsg_level = IPPROTO_UDP;
	c->cmsg_type = UDP_SEGMENT;
	c->cmsg_len = CMSG_LEN(sizeof(uint16_t));
	gp_store16(CMSG_DATA(c), (uint16_t)segment_len);
}

static uint32_t pieces_fill(
	const struct gp_xport_udp *x, uint32_t at, uint32_t n, struct iovec *iov)
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < n; i++) {
		const struct udp_item *item = item_at(x, at + i);
		iov[count++] = (struct iovec){item->f->frame.data, item->len};
		if (item->tail_len)
			iov[count++] =
				(struct iovec){(void *)(uintptr_t)item->tail, item->tail_len};
	}
	return count;
}

// The next datagrams of the queue as messages; returns how many.
static uint32_t batch_fill(struct gp_xport_udp *x)
{
	uint32_t left = GP_MIN(x->tail - x->head, (uint32_t)UDP_TX_ITEMS_MAX);
	uint32_t at = 0, pieces = 0, count = 0;
	for (; count < UDP_BATCH && left > 0; count++) {
		uint32_t n = run_len(x, at, left);
		uint32_t used = pieces_fill(x, at, n, x->iovs + pieces);
		struct msghdr *h = &x->msgs[count].msg_hdr;
		*h = (struct msghdr){.msg_iov = x->iovs + pieces, .msg_iovlen = used};
		if (n > 1)
			control_fill(h, &x->controls[count], item_size(item_at(x, at)));
		x->msg_items[count] = n;
		pieces += used;
		at += n;
		left -= n;
	}
	return count;
}

static void batch_sent(struct gp_xport_udp *x, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		uint32_t n = x->msg_items[i];
		x->stats.tx_datagrams += n;
		if (n > 1) {
			x->stats.tx_joined += n;
			x->gso_refused = 0;
		}
		for (uint32_t k = 0; k < n; k++) {
			x->stats.tx_bytes += item_size(item_at(x, 0));
			udp_item_done(x);
		}
	}
}

// Some paths take no joined message (checksums off on older kernels, a lowered path MTU): what was
// in it goes one by one, and what is refused again and again is not tried any more.
static void joined_refused(struct gp_xport_udp *x, int error)
{
	x->stats.tx_join_refused++;
	x->plain_left = x->msg_items[0];
	x->gso_refused++;
	if (error == EIO || error == EOPNOTSUPP || x->gso_refused >= REFUSALS_MAX)
		x->gso = false;
}

// What an error of sendmmsg means for the message at the head of the queue. True when the flush
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
	default:
		break;
	}
	if (x->msg_items[0] > 1) {
		joined_refused(x, error);
		return true;
	}
	if (error == EMSGSIZE)
		x->stats.tx_too_long++;
	else
		x->stats.tx_failed++;
	udp_item_done(x);
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
