// SPDX-License-Identifier: BSD-3-Clause
#include "engine_priv.h"

#include <gp_beat.h>

void gp_beat_expect(struct gp_engine *e, uint64_t cookie)
{
	atomic_store_explicit(&e->beat.expected, cookie, memory_order_relaxed);
}

bool gp_beat_send(
	struct gp_engine *e, const struct gp_addr *peer, uint64_t cookie, uint64_t every_ns)
{
	struct engine_beat *b = &e->beat;
	if (!gp_rcu_grace_over(&e->grace, b->replaced))
		return false;
	struct beat_to *to = NULL;
	if (peer) {
		to = &b->slots[b->slot ^= 1];
		*to = (struct beat_to){.peer = *peer, .cookie = cookie, .every_ns = every_ns};
	}
	gp_rcu_publish(&b->to, to);
	b->replaced = gp_rcu_grace_stamp(&e->grace);
	return true;
}

uint64_t gp_beat_heard(const struct gp_engine *e)
{
	return atomic_load_explicit(&e->beat.heard, memory_order_relaxed);
}

enum gp_verdict handle_beat(struct gp_core *c, const struct gp_msg *m)
{
	struct engine_beat *b = &c->engine->beat;
	uint64_t cookie = gp_wire_get_u64(m);
	if (c->idx != 0)
		return GP_VERDICT_WRONG_CORE;
	if (cookie == 0 || cookie != atomic_load_explicit(&b->expected, memory_order_relaxed))
		return GP_VERDICT_BAD_COOKIE;
	atomic_store_explicit(&b->heard, c->now, memory_order_relaxed);
	return GP_VERDICT_BEAT;
}

void beat_tick(struct gp_core *c)
{
	struct engine_beat *b = &c->engine->beat;
	const struct beat_to *to = gp_rcu_dereference(&b->to);
	if (!to || c->idx != 0 || c->now - b->sent < to->every_ns)
		return;
	struct gp_frame *out = c->xport->ops->alloc(c->xport);
	if (!out) {
		gp_counter_add(&c->stats.tx_no_frame, 1);
		return;
	}
	const struct gp_header h = {
		.version = GP_WIRE_VERSION, .type = GP_WIRE_BEAT, .rank = GP_WIRE_RANK_NONE};
	uint32_t at = gp_wire_begin(out->data, out->room, &h);
	out->len = at + gp_wire_put_u64(out->data + at, to->cookie);
	out->peer = to->peer;
	b->sent = c->now;
	gp_counter_add(&c->stats.tx_datagrams, 1);
	c->xport->ops->send(c->xport, out);
}
