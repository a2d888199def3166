// SPDX-License-Identifier: BSD-3-Clause
//
// A transport for fuzzers: every frame is a block of its own on the heap, arrivals of exactly the
// datagram's length, so that the address sanitizer sees a byte too far and a use after release.
// What is sent stays on its way until port_flush, as with a device that reads by itself: its tail
// must not change meanwhile. Everything sent must pass the validator and fit the MTU.
#ifndef FUZZ_WIRE_PORT_H
#define FUZZ_WIRE_PORT_H

#include <gp_wire.h>
#include <gp_xport.h>

#include <stdlib.h>

#define PORT_ON_WAY_MAX 32

struct port_frame {
	struct gp_frame f;
	uint32_t refs;
	uint64_t tail_sum;
};

struct port {
	struct gp_xport x;
	uint32_t refs;	 // of all frames
	uint32_t starve; // so many allocations fail
	struct port_frame *on_way[PORT_ON_WAY_MAX];
	uint32_t on_way_count;
	// A datagram that was sent, whole and valid.
	void (*sent)(struct port *p, const struct gp_addr *to, const uint8_t *data, uint32_t len,
		const struct gp_msg *m);
	void *owner;
	uint32_t idx;
};

static inline struct gp_frame *port_frame_new(struct port *p, uint32_t room)
{
	struct port_frame *pf = calloc(1, sizeof(*pf));
	GP_ASSERT(pf);
	pf->f.data = malloc(room ? room : 1);
	GP_ASSERT(pf->f.data);
	pf->f.room = room;
	pf->refs = 1;
	p->refs++;
	return &pf->f;
}

static inline struct gp_frame *port_alloc(struct gp_xport *x)
{
	struct port *p = (struct port *)x;
	if (p->starve == 0)
		return port_frame_new(p, x->mtu);
	p->starve--;
	return NULL;
}

static inline void port_hold(struct gp_xport *x, struct gp_frame *f)
{
	struct port_frame *pf = (struct port_frame *)f;
	GP_ASSERT(pf->refs > 0);
	pf->refs++;
	((struct port *)x)->refs++;
}

static inline void port_release(struct gp_xport *x, struct gp_frame *f)
{
	struct port_frame *pf = (struct port_frame *)f;
	struct port *p = (struct port *)x;
	GP_ASSERT(pf->refs > 0 && p->refs > 0);
	p->refs--;
	if (--pf->refs > 0)
		return;
	free(f->data);
	free(pf);
}

static inline uint64_t port_tail_sum(const struct gp_frame *f)
{
	uint64_t sum = 0;
	for (uint32_t i = 0; i < f->tail_len; i++)
		sum = sum * 31 + f->tail[i];
	return sum;
}

// The bytes of the oldest datagrams have left.
static inline void port_leave(struct port *p, uint32_t keep)
{
	uint32_t n = p->on_way_count > keep ? p->on_way_count - keep : 0;
	for (uint32_t i = 0; i < n; i++) {
		struct port_frame *pf = p->on_way[i];
		GP_ASSERT(port_tail_sum(&pf->f) == pf->tail_sum);
		if (pf->f.tail_hold)
			pf->f.tail_hold->count--;
		port_release(&p->x, &pf->f);
	}
	p->on_way_count -= n;
	for (uint32_t i = 0; i < p->on_way_count; i++)
		p->on_way[i] = p->on_way[i + n];
}

static inline void port_send(struct gp_xport *x, struct gp_frame *f)
{
	static uint8_t whole[GP_WIRE_DATAGRAM_MAX];
	struct port *p = (struct port *)x;
	struct gp_msg m;
	uint32_t len = f->len + f->tail_len;
	GP_ASSERT(f->len <= f->room && len <= x->mtu && len <= sizeof(whole));
	GP_ASSERT(!f->tail_hold || f->tail_hold->count > 0);
	memcpy(whole, f->data, f->len);
	if (f->tail_len > 0)
		memcpy(whole + f->len, f->tail, f->tail_len);
	enum gp_verdict v = gp_wire_parse(whole, len, &m);
	GP_ASSERT(v == GP_VERDICT_OK);
	struct port_frame *pf = (struct port_frame *)f;
	pf->tail_sum = port_tail_sum(f);
	port_leave(p, PORT_ON_WAY_MAX - 1);
	p->on_way[p->on_way_count++] = pf;
	p->sent(p, &f->peer, whole, len, &m);
}

static const struct gp_xport_ops port_ops = {
	.alloc = port_alloc, .hold = port_hold, .release = port_release, .send = port_send};

// An arrival. JOIN and REGISTER are answered inside their frame, so those have a frame's room.
static inline struct gp_frame *port_arrive(
	struct port *p, const struct gp_addr *from, const uint8_t *data, uint32_t len)
{
	bool answered = len > 1 && (data[1] == GP_WIRE_JOIN || data[1] == GP_WIRE_REGISTER);
	struct gp_frame *f = port_frame_new(p, answered ? GP_MAX(len, p->x.mtu) : len);
	if (len > 0)
		memcpy(f->data, data, len);
	f->len = len;
	f->peer = *from;
	return f;
}

#endif
