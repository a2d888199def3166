// SPDX-License-Identifier: BSD-3-Clause
//
// What cores publish for gp_watch.h. Each line has the one writer that its core is.
#ifndef ENGINE_WATCH_H
#define ENGINE_WATCH_H

#include "engine_types.h"

struct place_watch {
	GP_ALIGNED(GP_CACHE_LINE) _Atomic uint32_t version; // odd while it is written
	_Atomic uint32_t step;
	_Atomic uint32_t local;
	_Atomic uint32_t slots_open;
	_Atomic uint32_t deferred;
	_Atomic uint32_t pulls_held;
	_Atomic uint64_t since;
	_Atomic uint64_t members[GP_RANKS_MAX / 64];
	_Atomic uint64_t here[GP_RANKS_MAX / 64];
};

struct session_watch {
	GP_ALIGNED(GP_CACHE_LINE) _Atomic uint32_t session; // id that the rest is about
	_Atomic uint32_t step;
	_Atomic uint32_t rtt_us;
	_Atomic uint32_t pushed;
	struct gp_counter datagrams;
	struct gp_counter repeats;
	struct gp_counter busy;
	struct gp_counter refused;
	_Atomic uint32_t reads; // home: the step for which its read waits for the bound
	_Atomic uint32_t parked;
	_Atomic uint64_t parked_since;
};
_Static_assert(sizeof(struct session_watch) == GP_CACHE_LINE, "a line a session");

size_t watch_size(const struct gp_engine_config *cfg);
bool watch_take(struct gp_engine *e, struct gp_arena *a);

// Once a burst.
void watch_place(struct gp_core *c, const struct job_core *jc);
// A datagram of a session and what became of it.
void watch_session(struct gp_core *c, const struct core_session *cs, const struct gp_msg *m,
	enum gp_verdict v);
// By home: the session's read for step `clock` waits, or no longer.
void watch_read(struct gp_core *c, uint32_t session, bool parked, uint32_t clock);

static inline struct session_watch *watch_line(const struct gp_core *c, uint32_t session)
{
	size_t core = (size_t)c->idx * c->engine->cfg.sessions_max;
	return &c->engine->session_watches[core + session_idx(session)];
}

static inline bool watch_is_of(const struct session_watch *w, uint32_t session)
{
	return atomic_load_explicit(&w->session, memory_order_relaxed) == session;
}

// A contribution that is in its slot.
static inline void watch_pushed(struct session_watch *w, uint32_t step)
{
	if (atomic_load_explicit(&w->pushed, memory_order_relaxed) &&
		!gp_before(atomic_load_explicit(&w->step, memory_order_relaxed), step))
		return;
	atomic_store_explicit(&w->step, step, memory_order_relaxed);
	atomic_store_explicit(&w->pushed, 1, memory_order_relaxed);
}

#endif
