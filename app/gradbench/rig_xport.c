// SPDX-License-Identifier: BSD-3-Clause
#include "bench.h"
#include "rig.h"

#include <errno.h>

#define LOWER_V4      42 // Ethernet, IPv4, UDP: the datagram begins there after a line
#define ANSWER_ROOM   2048
#define ANSWERS_SPARE 4096
#define SENT_AHEAD    8
// What the generator writes is fetched so many frames ahead: what it waits for is else more beside
// an engine than alone, and would count as the engine's.
#define TAKE_AHEAD 8

static struct rig_xport *xport_of(struct gp_xport *x)
{
	return (struct rig_xport *)x;
}

static struct rig_frame *frame_of(struct gp_frame *f)
{
	return (struct rig_frame *)f;
}

static struct gp_frame *xport_alloc(struct gp_xport *base)
{
	struct rig_xport *x = xport_of(base);
	if (x->answers_free == 0)
		return NULL;
	struct rig_frame *rf = x->answers[--x->answers_free];
	rf->refs = 1;
	rf->f.len = 0;
	rf->f.tail = NULL;
	rf->f.tail_hold = NULL;
	rf->f.tail_len = 0;
	return &rf->f;
}

static void xport_hold(struct gp_xport *base, struct gp_frame *f)
{
	(void)base;
	frame_of(f)->refs++;
}

static void xport_release(struct gp_xport *base, struct gp_frame *f)
{
	struct rig_xport *x = xport_of(base);
	struct rig_frame *rf = frame_of(f);
	GP_ASSERT(rf->refs > 0);
	if (--rf->refs > 0)
		return;
	if (rf->idx == UINT32_MAX)
		x->answers[x->answers_free++] = rf;
	else
		x->ring[x->ring_tail++ & x->ring_mask] = rf;
}

static void flight_end(struct rig_xport *x)
{
	struct rig_sent s = x->flight[x->flight_head++ & x->flight_mask];
	if (s.hold) {
		s.hold->count--;
		x->answers[x->answers_free++] = s.rf;
		return;
	}
	rig_learn(x->rig, &s.rf->f);
	xport_release(&x->base, &s.rf->f);
}

// A result's frame has no reference but this one.
static void xport_send(struct gp_xport *base, struct gp_frame *f)
{
	struct rig_xport *x = xport_of(base);
	x->flight[x->flight_tail++ & x->flight_mask] =
		(struct rig_sent){.rf = frame_of(f), .hold = f->tail_hold};
	if (x->flight_tail - x->flight_head <= x->flight_max)
		return;
	__builtin_prefetch(x->flight[(x->flight_head + SENT_AHEAD) & x->flight_mask].hold, 1);
	flight_end(x);
}

static const struct gp_xport_ops xport_ops = {
	.alloc = xport_alloc, .hold = xport_hold, .release = xport_release, .send = xport_send};

void rig_xport_settle(struct rig_xport *x)
{
	while (x->flight_head != x->flight_tail)
		flight_end(x);
}

struct rig_frame *rig_frame_take(struct rig_xport *x)
{
	if (x->ring_head == x->ring_tail)
		return NULL;
	const uint8_t *next = (const uint8_t *)x->ring[(x->ring_head + TAKE_AHEAD) & x->ring_mask];
	for (uint32_t i = 0; i <= x->payload_at / GP_CACHE_LINE; i++)
		__builtin_prefetch(next + i * GP_CACHE_LINE, 1);
	struct rig_frame *rf = x->ring[x->ring_head++ & x->ring_mask];
	rf->refs = 1;
	return rf;
}

// Values of few bits and different size, so that sums round, but never to infinity.
static void payload_fill(float *v, uint32_t elems, uint32_t frame)
{
	uint32_t x = frame * 2654435761u + 1;
	for (uint32_t i = 0; i < elems; i++) {
		x = x * 1664525u + 1013904223u;
		v[i] = (float)((int32_t)x >> 8) * (1.0f / (float)(1u << (16 + (x & 7))));
	}
}

void rig_payloads_fill(struct rig *r)
{
	for (uint32_t i = 0; i < r->o.frames; i++) {
		uint8_t *mem = r->x.frames_mem + i * r->x.stride;
		memset(mem + 2 * GP_CACHE_LINE, 0, r->x.payload_at - 2 * GP_CACHE_LINE);
		payload_fill(rig_payload(r, i), r->block_elems, i);
	}
}

static void frames_fill(struct rig *r)
{
	struct rig_xport *x = &r->x;
	for (uint32_t i = 0; i < r->o.frames; i++) {
		uint8_t *mem = x->frames_mem + i * x->stride;
		struct rig_frame *rf = (struct rig_frame *)(void *)mem;
		*rf = (struct rig_frame){.idx = i};
		rf->f.data = mem + 2 * GP_CACHE_LINE + LOWER_V4;
		rf->f.room = (uint32_t)(x->stride - 2 * GP_CACHE_LINE - LOWER_V4);
		x->ring[x->ring_tail++ & x->ring_mask] = rf;
	}
	for (uint32_t i = 0; i < x->answers_count; i++) {
		uint8_t *mem = x->answers_mem + i * x->answer_stride;
		struct rig_frame *rf = (struct rig_frame *)(void *)mem;
		*rf = (struct rig_frame){.idx = UINT32_MAX};
		rf->f.data = mem + 2 * GP_CACHE_LINE + LOWER_V4;
		rf->f.room = ANSWER_ROOM;
		x->answers[x->answers_free++] = rf;
	}
}

int rig_xport_init(struct rig *r)
{
	struct rig_xport *x = &r->x;
	size_t head = 4 * GP_CACHE_LINE; // frame, and headers up to the payload
	// An odd number of lines, so that frames spread over all sets of a cache.
	x->stride = gp_align_up(head + r->block_elems * sizeof(float), GP_CACHE_LINE);
	x->stride += x->stride / GP_CACHE_LINE % 2 == 0 ? GP_CACHE_LINE : 0;
	x->answer_stride = 3 * GP_CACHE_LINE + ANSWER_ROOM;
	x->payload_at = (uint32_t)head;
	x->base = (struct gp_xport){.ops = &xport_ops, .mtu = r->o.mtu - 28};
	x->rig = r;
	x->ring_mask = (uint32_t)gp_pow2_up(r->o.frames) - 1;
	x->flight_max = r->o.window * r->workers_count;
	x->answers_count = x->flight_max + ANSWERS_SPARE;
	x->flight_mask = (uint32_t)gp_pow2_up(x->answers_count + 1) - 1;
	x->frames_mem = rig_mem_take(r, x->stride * r->o.frames);
	x->answers_mem = rig_mem_take(r, x->answer_stride * x->answers_count);
	x->ring = rig_mem_take(r, sizeof(void *) * (x->ring_mask + 1));
	x->answers = rig_mem_take(r, sizeof(void *) * x->answers_count);
	x->flight = rig_mem_take(r, sizeof(x->flight[0]) * (x->flight_mask + 1));
	if (!x->frames_mem || !x->answers_mem || !x->ring || !x->answers || !x->flight)
		return -ENOMEM;
	frames_fill(r);
	return 0;
}
