// SPDX-License-Identifier: BSD-3-Clause
//
// Frames of a replay: datagrams as they were recorded, filled up where they were not kept whole,
// and the transport that swallows the answers.
#include "replay_priv.h"

#include <gp_codec.h>

struct replay_frame {
	struct gp_frame f;
	struct gp_replay *r;
	uint32_t refs;
	uint8_t data[];
};

static struct gp_frame *frame_new(struct gp_replay *r, uint32_t room)
{
	struct replay_frame *x = r->cfg.take(r->cfg.mem_arg, sizeof(*x) + room);
	if (!x)
		return NULL;
	x->f.data = x->data;
	x->f.room = room;
	x->r = r;
	x->refs = 1;
	return &x->f;
}

static struct gp_frame *xport_alloc(struct gp_xport *x)
{
	struct replay_core *rc = (struct replay_core *)x; // first member
	return frame_new(rc->r, GP_WIRE_DATAGRAM_MAX);
}

static void xport_hold(struct gp_xport *x, struct gp_frame *f)
{
	(void)x;
	((struct replay_frame *)f)->refs++;
}

static void xport_release(struct gp_xport *x, struct gp_frame *f)
{
	(void)x;
	struct replay_frame *rf = (struct replay_frame *)f;
	if (--rf->refs == 0)
		rf->r->cfg.give(rf->r->cfg.mem_arg, rf);
}

static void xport_send(struct gp_xport *x, struct gp_frame *f)
{
	if (f->tail_hold)
		f->tail_hold->count--;
	xport_release(x, f);
}

const struct gp_xport_ops replay_xport_ops = {
	.alloc = xport_alloc, .hold = xport_hold, .release = xport_release, .send = xport_send};

// ---- what was not kept

// Zeros are a payload of every codec but the sparse ones, which want their indices.
static void payload_fill(uint8_t *to, const struct gp_section *s)
{
	if (s->codec != GP_CODEC_TOPK && s->codec != GP_CODEC_TOPK_BF16 &&
		s->codec != GP_CODEC_TOPK_F16)
		return;
	uint32_t value = s->codec == GP_CODEC_TOPK ? 4 : 2;
	for (uint32_t n = 0; 2 + 2 * n <= s->len; n++) {
		uint64_t head = gp_align_up(2 + 2 * (uint64_t)n, 4);
		if (head + gp_align_up((uint64_t)value * n, 4) != s->len)
			continue;
		gp_store16(to, (uint16_t)n);
		for (uint32_t i = 0; i < n; i++)
			gp_store16(to + 2 + (size_t)2 * i, (uint16_t)i);
		return;
	}
}

// False when the parts of the contribution do not add up to its length: it was no legal one.
static bool push_fill(struct gp_frame *f, uint32_t kept)
{
	if (kept < GP_WIRE_HEADER_SIZE || f->data[1] != GP_WIRE_PUSH)
		return false;
	const struct gp_msg m = {.h.sections = f->data[38], .sections = f->data + 40};
	uint32_t ack = f->data[2] & GP_WIRE_F_ACK ? GP_WIRE_ACK_SIZE : 0;
	uint32_t heads = GP_WIRE_HEADER_SIZE + m.h.sections * GP_WIRE_SECTION_SIZE + ack;
	if (m.h.sections > GP_WIRE_SECTIONS_MAX || heads > kept)
		return false;
	uint32_t at = heads + f->data[3];
	for (uint32_t i = 0; i < m.h.sections; i++) {
		struct gp_section s;
		gp_wire_get_section(&m, i, &s);
		if (s.len > f->len || at > f->len - s.len)
			return false;
		if (at >= kept)
			payload_fill(f->data + at, &s);
		at += s.len;
	}
	return at == f->len;
}

static bool verdict_needs_payload(uint8_t v)
{
	return v == GP_VERDICT_BAD_PAYLOAD || v == GP_VERDICT_NONFINITE;
}

// Those that are answered from secrets or by control.
static bool is_stateless(const uint8_t *d, uint32_t kept)
{
	return kept >= GP_WIRE_HEADER_SIZE &&
	       (d[1] == GP_WIRE_HELLO || d[1] == GP_WIRE_JOIN || d[1] == GP_WIRE_BEAT);
}

struct gp_frame *replay_frame(
	struct gp_replay *r, struct replay_core *rc, const struct gp_flight_record *rec)
{
	(void)rc;
	const uint32_t peer_len = sizeof(struct flight_peer);
	if (rec->kept < peer_len || rec->kept - peer_len > rec->head.len ||
		rec->head.len > GP_WIRE_DATAGRAM_MAX)
		return NULL;
	const uint8_t *d = rec->bytes + peer_len;
	uint32_t kept = rec->kept - peer_len;
	bool whole = kept == rec->head.len;
	if (is_stateless(d, kept) || rec->head.verdict == GP_VERDICT_CONTROL_FULL ||
		(!whole && verdict_needs_payload(rec->head.verdict)))
		return NULL;
	struct gp_frame *f = frame_new(r, GP_WIRE_DATAGRAM_MAX);
	if (!f)
		return NULL;
	struct flight_peer peer;
	memcpy(&peer, rec->bytes, peer_len);
	f->peer = replay_addr(&peer);
	f->len = rec->head.len;
	memcpy(f->data, d, kept);
	if (whole || push_fill(f, kept)) {
		r->result.filled += !whole;
		return f;
	}
	xport_release(NULL, f);
	return NULL;
}

void replay_taken(struct gp_replay *r, uint32_t core, const struct gp_flight_record *rec)
{
	r->result.taken++;
	struct gp_msg m;
	struct gp_join join;
	struct flight_peer peer;
	GP_ALIGNED(8) uint8_t d[FLIGHT_SHORT];
	uint32_t kept = rec->kept - GP_MIN(rec->kept, (uint32_t)sizeof(peer));
	if (rec->head.verdict != GP_VERDICT_JOIN || kept != rec->head.len || kept > sizeof(d))
		return;
	memcpy(&peer, rec->bytes, sizeof(peer));
	memcpy(d, rec->bytes + sizeof(peer), kept);
	if (gp_wire_parse(d, kept, &m) != GP_VERDICT_OK || m.h.type != GP_WIRE_JOIN)
		return;
	gp_wire_get_join(&m, &join);
	uint32_t idx = session_idx(join.session);
	if (!(join.flags & GP_JOIN_ATTACH) || idx >= r->cfg.sessions_max)
		return;
	const struct gp_session *s = gp_rcu_dereference(&r->e->sessions[idx]);
	const struct gp_addr from = replay_addr(&peer);
	struct gp_core *c = &r->e->cores[core];
	c->now = rec->head.now;
	if (s && s->id == join.session)
		session_bind(c, s->id, s->payload_max, &from);
}
