// SPDX-License-Identifier: BSD-3-Clause
//
// What each datagram of a session changes in what a core keeps of it.
#ifndef ENGINE_SESSION_H
#define ENGINE_SESSION_H

#include "engine_types.h"

#define ACK_BITS 64

static inline void session_took(
	struct gp_core *c, struct core_session *cs, uint64_t packet, uint32_t decision)
{
	atomic_store_explicit(&cs->last_rx, c->now, memory_order_relaxed);
	if (gp_before(cs->confirmed, decision))
		cs->confirmed = decision;
	if (packet <= cs->largest)
		return;
	uint64_t shift = packet - cs->largest;
	uint64_t bits = shift < ACK_BITS ? cs->bits << shift : 0;
	if (cs->largest > 0 && cs->largest_ok && shift <= ACK_BITS)
		bits |= UINT64_C(1) << (shift - 1);
	cs->bits = bits;
	cs->largest = packet;
	cs->largest_ok = false;
	cs->largest_time = c->now;
}

static inline void session_ack_due(struct gp_core *c, struct core_session *cs)
{
	if (cs->ack_pending++ == 0)
		cs->ack_since = c->now;
	if (cs->ack_due)
		return;
	cs->ack_due = true;
	c->ack_list[c->ack_count++] = (uint16_t)(cs - c->sessions);
}

static inline void session_accepted(struct gp_core *c, struct core_session *cs, uint64_t packet)
{
	if (packet == cs->largest)
		cs->largest_ok = true;
	else if (packet < cs->largest && cs->largest - packet <= ACK_BITS)
		cs->bits |= UINT64_C(1) << (cs->largest - packet - 1);
	session_ack_due(c, cs);
}

#endif
