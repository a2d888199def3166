// SPDX-License-Identifier: BSD-3-Clause
//
// Datagrams inside the session: headers, packet numbers, and the ring of what is in flight.
#include "ccore_priv.h"

void cc_sent_close(struct cc_lane *l, struct cc_sent *s)
{
	if (!s->open)
		return;
	GP_ASSERT(l->outstanding > 0);
	s->open = false;
	l->outstanding--;
}

// Every packet has an entry, so that any of them gives a round-trip sample; only contributions hold
// credit (cc_ring_open). An entry still open when its place is needed anew is given up.
static void ring_add(struct gp_ccore *c, struct cc_lane *l)
{
	struct cc_sent *s = &l->ring[++l->tx_packet & l->ring_mask];
	if (s->open)
		cc_sent_lost(c, l, s);
	*s = (struct cc_sent){.pn = l->tx_packet, .time = c->now};
	while (l->ring_low < l->tx_packet && !l->ring[l->ring_low & l->ring_mask].open)
		l->ring_low++;
}

struct cc_sent *cc_ring_open(struct cc_lane *l, uint32_t first, uint32_t count)
{
	struct cc_sent *s = &l->ring[l->tx_packet & l->ring_mask];
	s->first = first;
	s->count = (uint16_t)count;
	s->left = (uint16_t)count;
	s->open = true;
	l->outstanding++;
	l->quiet_since = s->time;
	return s;
}

struct cc_sent *cc_ring_find(struct cc_lane *l, uint64_t pn)
{
	if (pn == 0 || pn > l->tx_packet)
		return NULL;
	struct cc_sent *s = &l->ring[pn & l->ring_mask];
	return s->pn == pn ? s : NULL;
}

bool cc_send_begin(struct gp_ccore *c, struct cc_lane *l, struct gp_header *h, struct cc_out *o)
{
	o->frame = l->x->ops->alloc(l->x);
	if (!o->frame)
		return false;
	h->version = GP_WIRE_VERSION;
	h->job = c->w.job;
	h->rank = c->w.rank;
	h->session = c->w.session;
	h->epoch = c->epoch;
	h->view = c->view;
	ring_add(c, l);
	h->packet = l->tx_packet;
	h->decision = c->confirmed;
	uint32_t at = gp_wire_begin(o->frame->data, o->frame->room, h);
	o->body = o->frame->data + at;
	GP_ASSERT(at <= c->limit);
	o->room = GP_MIN(o->frame->room, c->limit) - at;
	return true;
}

void cc_send_end(struct gp_ccore *c, struct cc_lane *l, struct cc_out *o, uint32_t body_len)
{
	GP_ASSERT(body_len <= o->room);
	o->frame->len = (uint32_t)(o->body - o->frame->data) + body_len;
	c->stats.tx_datagrams++;
	c->stats.tx_bytes += o->frame->len;
	if (l == cc_home(c))
		c->home_sent = c->now;
	l->x->ops->send(l->x, o->frame);
}
