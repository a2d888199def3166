// SPDX-License-Identifier: BSD-3-Clause
//
// What has arrived. With UDP_GRO the kernel hands datagrams of one size from one sender on as one
// message; it is received into a span and cut into frames where it lies. When frames are kept for
// long and few spans are left, datagrams are copied out, so that a kept frame costs its own size.
#include "udp_priv.h"

#include <errno.h>
#include <netinet/udp.h>

#define ATTEMPTS_MAX 8		     // errors of the kernel met in one poll
#define SPANS_LOW    UDP_BATCH	     // fewer free: copy
#define NO_SEGMENTS  UINT32_C(65536) // longer than any datagram

static void messages_prepare(struct gp_xport_udp *x, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct udp_span *s = x->spans_free[x->spans_free_count - 1 - i];
		x->iovs[i] = (struct iovec){s->buf, x->span_size};
		x->msgs[i].msg_hdr = (struct msghdr){
			.msg_iov = &x->iovs[i],
			.msg_iovlen = 1,
			.msg_control = x->gro ? &x->controls[i] : NULL,
			.msg_controllen = x->gro ? sizeof(x->controls[i]) : 0,
		};
	}
}

static uint32_t messages_receive(struct gp_xport_udp *x, uint32_t count)
{
	for (uint32_t i = 0; i < ATTEMPTS_MAX; i++) {
		int n = recvmmsg(x->fd, x->msgs, count, MSG_DONTWAIT, NULL);
		if (n >= 0)
			return (uint32_t)n;
		if (errno == EAGAIN)
			return 0;
		if (errno == ECONNREFUSED)
			x->stats.refused++;
		else if (errno != EINTR)
			x->stats.rx_failed++;
		// The kernel may have shortened what it was told.
		messages_prepare(x, count);
	}
	return 0;
}

static uint32_t segment_len(struct msghdr *h)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		int size;
		if (c->cmsg_level != IPPROTO_UDP || c->cmsg_type != UDP_GRO)
			continue;
		memcpy(&size, CMSG_DATA(c), sizeof(size));
		return size > 0 ? (uint32_t)size : NO_SEGMENTS;
	}
	return NO_SEGMENTS;
}

// Up to `max` messages into spans, which are then x->arrived. True when others may wait.
static bool spans_receive(struct gp_xport_udp *x, uint32_t max)
{
	uint32_t count = GP_MIN(GP_MIN(max, (uint32_t)UDP_BATCH), x->spans_free_count);
	messages_prepare(x, count);
	uint32_t got = count ? messages_receive(x, count) : 0;
	x->arrived_at = 0;
	x->arrived_count = got;
	for (uint32_t i = 0; i < got; i++) {
		struct udp_span *s = x->spans_free[--x->spans_free_count];
		struct msghdr *h = &x->msgs[i].msg_hdr;
		*s = (struct udp_span){.buf = s->buf,
			.refs = 1,
			.len = x->msgs[i].msg_len,
			.segment_len = x->gro ? segment_len(h) : NO_SEGMENTS};
		if (h->msg_flags & MSG_TRUNC)
			s->segment_len = s->len = NO_SEGMENTS; // cut below as too long
		x->arrived[i] = s;
	}
	return got == UDP_BATCH;
}

// The next datagram of the span as a frame; NULL when the pool is empty.
static struct gp_frame *segment_cut(struct gp_xport_udp *x, struct udp_span *s, uint32_t len)
{
	struct gp_frame *frame = udp_alloc(&x->base);
	if (!frame)
		return NULL;
	if (x->spans_free_count < SPANS_LOW) {
		memcpy(frame->data, s->buf + s->cut, len);
	} else {
		((struct udp_frame *)frame)->span = s;
		frame->data = s->buf + s->cut;
		frame->room = len;
		s->refs++;
	}
	frame->len = len;
	frame->peer = x->server;
	x->stats.rx_datagrams++;
	x->stats.rx_bytes += len;
	x->stats.rx_joined += len < s->len;
	return frame;
}

static uint32_t span_cut(
	struct gp_xport_udp *x, struct udp_span *s, struct gp_frame **frames, uint32_t max)
{
	uint32_t kept = 0;
	do {
		uint32_t len = GP_MIN(s->len - s->cut, s->segment_len);
		if (len > x->room) {
			x->stats.rx_truncated++;
		} else {
			struct gp_frame *frame = kept < max ? segment_cut(x, s, len) : NULL;
			if (!frame)
				return kept;
			frames[kept++] = frame;
		}
		s->cut += len;
	} while (s->cut < s->len);
	udp_span_put(x, s);
	x->arrived_at++;
	return kept;
}

uint32_t gp_xport_udp_poll(struct gp_xport_udp *x, struct gp_frame **frames, uint32_t max)
{
	uint32_t kept = 0;
	bool more = true;
	while (kept < max) {
		while (x->arrived_at < x->arrived_count && kept < max) {
			uint32_t at = x->arrived_at;
			kept += span_cut(x, x->arrived[at], frames + kept, max - kept);
			if (x->arrived_at == at) // no frame, or no more room in `frames`
				return kept;
		}
		if (!more || kept == max)
			break;
		if (x->free_count == 0) {
			x->stats.no_frame++;
			break;
		}
		more = spans_receive(x, max - kept);
	}
	return kept;
}

bool gp_xport_udp_pending(const struct gp_xport_udp *x)
{
	return x->arrived_at < x->arrived_count;
}
