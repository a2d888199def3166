// SPDX-License-Identifier: BSD-3-Clause
//
// What a core keeps of each session: the address bound to it, packet numbers taken,
// acknowledgements that are due.
#include "engine_priv.h"

#define LOWER_V4 42 // Ethernet, IPv4, UDP
#define LOWER_V6 62
#define VLAN_TAG 4
#define V4_SPARE 20 // payload_max is reckoned for IPv6

static void session_reset(struct core_session *cs, uint32_t id)
{
	uint64_t last_rx = atomic_load_explicit(&cs->last_rx, memory_order_relaxed);
	bool ack_due = cs->ack_due; // it stays in the core's list
	memset(cs, 0, sizeof(*cs));
	cs->id = id;
	cs->ack_due = ack_due;
	atomic_store_explicit(&cs->last_rx, last_rx, memory_order_relaxed);
}

void session_bind(struct gp_core *c, uint32_t id, uint32_t payload_max, const struct gp_addr *addr)
{
	GP_ASSERT(session_idx(id) < c->engine->cfg.sessions_max);
	struct core_session *cs = &c->sessions[session_idx(id)];
	if (cs->id != id) {
		session_drop(cs);
		session_reset(cs, id);
	}
	const struct gp_session *s = gp_rcu_dereference(&c->engine->sessions[session_idx(id)]);
	bool v4 = gp_addr_is_v4(addr);
	cs->bound = true;
	cs->payload_max = payload_max;
	cs->limit = payload_max + (v4 ? V4_SPARE : 0);
	cs->lower = (uint16_t)((v4 ? LOWER_V4 : LOWER_V6) + (addr->vlan ? VLAN_TAG : 0));
	if (s && s->id == id) {
		cs->job = s->job;
		cs->rank = s->rank;
		cs->credit = (uint16_t)c->engine->jobs_cfg[c->engine->job_idx[s->job]].window;
		cs->wants = s->flags;
	}
	cs->addr = *addr;
	cs->known.head[0] = 0;
	atomic_store_explicit(&cs->last_rx, c->now, memory_order_relaxed);
}

// Forgets what the session was waiting for; its slots are cleared by the next view.
void session_drop(struct core_session *cs)
{
	if (cs->held_by)
		cs->held_by->held_count--;
	cs->held_by = NULL;
	cs->id = 0;
	cs->bound = false;
	cs->known.head[0] = 0;
}

bool session_lives(const struct gp_core *c, const struct core_session *cs)
{
	const struct gp_session *s = gp_rcu_dereference(&c->engine->sessions[session_idx(cs->id)]);
	return s && s->id == cs->id;
}

struct core_session *session_lookup(struct gp_core *c, const struct gp_frame *f,
	const struct gp_header *h, const struct gp_session **s)
{
	uint32_t idx = session_idx(h->session);
	if (idx >= c->engine->cfg.sessions_max)
		return NULL;
	*s = gp_rcu_dereference(&c->engine->sessions[idx]);
	struct core_session *cs = &c->sessions[idx];
	if (!*s || (*s)->id != h->session || (*s)->job != h->job || (*s)->rank != h->rank)
		return NULL;
	if (cs->id != h->session || !cs->bound || !gp_addr_equal(&cs->addr, &f->peer))
		return NULL;
	cs->addr = f->peer; // answers go the way that it came last
	return cs;
}

uint32_t session_flush_acks(struct gp_core *c)
{
	uint32_t sent = 0, kept = 0;
	for (uint32_t i = 0; i < c->ack_count; i++) {
		struct core_session *cs = &c->sessions[c->ack_list[i]];
		bool due = cs->ack_pending >= ACK_EVERY || c->now - cs->ack_since >= ACK_DELAY_NS;
		if (cs->bound && cs->ack_pending > 0 && !due) {
			c->ack_list[kept++] = c->ack_list[i];
			continue;
		}
		cs->ack_due = false;
		if (!cs->bound || cs->ack_pending == 0)
			continue;
		const struct gp_session *s =
			gp_rcu_dereference(&c->engine->sessions[session_idx(cs->id)]);
		struct gp_header h = {.type = GP_WIRE_ACK, .flags = GP_WIRE_F_ACK};
		struct answer a;
		if (!s || !answer_begin(c, cs, c->jobs[s->job], &h, &a))
			continue;
		answer_send(c, cs, &a, 0);
		sent++;
	}
	c->ack_count = kept;
	return sent;
}
