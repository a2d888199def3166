// SPDX-License-Identifier: BSD-3-Clause
#include "udp_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define FRAMES_COUNT	2048
#define SOCKET_BUF_SIZE (4u << 20)
#define IP4_OVERHEAD	28
#define IP6_OVERHEAD	48

static struct gp_xport_udp *udp_of(struct gp_xport *x)
{
	return (struct gp_xport_udp *)x;
}

struct gp_frame *udp_alloc(struct gp_xport *base)
{
	struct gp_xport_udp *x = udp_of(base);
	if (x->free_count == 0) {
		x->stats.no_frame++;
		return NULL;
	}
	struct udp_frame *f = x->free[--x->free_count];
	f->refs = 1;
	f->span = NULL;
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

void udp_span_put(struct gp_xport_udp *x, struct udp_span *s)
{
	GP_ASSERT(s->refs > 0);
	if (--s->refs > 0)
		return;
	GP_ASSERT(x->spans_free_count < UDP_SPANS_COUNT);
	x->spans_free[x->spans_free_count++] = s;
}

void udp_release(struct gp_xport *base, struct gp_frame *frame)
{
	struct gp_xport_udp *x = udp_of(base);
	struct udp_frame *f = (struct udp_frame *)frame;
	GP_ASSERT(f->refs > 0);
	if (--f->refs > 0)
		return;
	if (f->span)
		udp_span_put(x, f->span);
	GP_ASSERT(x->free_count < x->frames_count);
	x->free[x->free_count++] = f;
}

static const struct gp_xport_ops udp_ops = {
	.alloc = udp_alloc,
	.hold = udp_hold,
	.release = udp_release,
	.send = udp_send,
};

// Only pages that are used cost memory: a span is as long as the longest joined message.
static int spans_take(struct gp_xport_udp *x)
{
	x->span_size = x->gro ? UDP_SPAN_SIZE : (uint32_t)gp_align_up(x->room, GP_CACHE_LINE);
	x->spans = calloc(UDP_SPANS_COUNT, sizeof(*x->spans));
	x->spans_free = calloc(UDP_SPANS_COUNT, sizeof(struct udp_span *));
	x->span_bufs = aligned_alloc(GP_CACHE_LINE, (size_t)x->span_size * UDP_SPANS_COUNT);
	if (!x->spans || !x->spans_free || !x->span_bufs)
		return -ENOMEM;
	x->spans_free_count = UDP_SPANS_COUNT;
	for (uint32_t i = 0; i < UDP_SPANS_COUNT; i++) {
		x->spans[i].buf = x->span_bufs + (size_t)x->span_size * i;
		x->spans_free[UDP_SPANS_COUNT - 1 - i] = &x->spans[i];
	}
	return 0;
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
	x->gso = !opts->no_join && udp_socket_gso(x->fd);
	x->gro = !opts->no_join && udp_socket_gro(x->fd);
	if (opts->busy_poll_us && udp_socket_busy_poll(x->fd, opts->busy_poll_us))
		x->stats.busy_poll_us = opts->busy_poll_us;
	int rc = memory_take(x, frames_count, queue_count);
	return rc ? rc : spans_take(x);
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
		udp_item_done(x);
	if (x->fd >= 0)
		close(x->fd);
	free(x->span_bufs);
	free(x->spans_free);
	free(x->spans);
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
