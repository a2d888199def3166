// SPDX-License-Identifier: BSD-3-Clause
//
// Barriers: in some histories all ranks meet before every n-th step. Nobody may pass before every
// member of the view that anybody could hear of has come, whichever server it came to. Who joins
// when they have may pass at once (docs/protocol.md 5.0.1).
#include "pair.h"

// From here on the rank has met at every step before its own: nobody waits for it there.
void pair_meet_begin(struct pair_worker *w, uint32_t step)
{
	bool lost = pair_lost_since(w->s, w->rewinds, w->done);
	w->meeting.waits = false;
	w->meeting.met = step - 1;
	if (lost || gp_before(w->meeting.came,
			    w->meeting.met)) // else it may have come to this step before
		w->meeting.came = w->meeting.met;
}

// The rank of a member that has not come to the barrier of `step`; GP_RANKS_MAX: all have.
static uint32_t missing(const struct pair_sim *s, uint32_t step)
{
	gp_ranks_foreach(r, &s->oracle.members)
	{
		if (r < s->o.workers && gp_before(s->w[r].meeting.came, step))
			return r;
	}
	return GP_RANKS_MAX;
}

// The word of it may reach a rank when others have joined.
void pair_meet_turn(struct pair_sim *s)
{
	for (uint32_t i = 0; i < s->o.workers; i++) {
		struct pair_meeting *m = &s->w[i].meeting;
		if (m->waits && !m->complete)
			m->complete = missing(s, m->came) == GP_RANKS_MAX;
	}
}

static void pass_check(const struct pair_worker *w, uint32_t step)
{
	struct pair_sim *s = w->s;
	uint32_t r = missing(s, step);
	if (r == GP_RANKS_MAX || w->meeting.complete)
		s->met = gp_before(s->met, step) ? step : s->met;
	else if (gp_before(s->met, step))
		pair_broken(s, "worker %u passes the barrier of step %u, rank %u has come to %u",
			w->rank, step, r, s->w[r].meeting.came);
}

bool pair_meets(struct pair_worker *w)
{
	struct pair_sim *s = w->s;
	uint32_t step = gp_ccore_step(w->core);
	if (s->meet_every == 0 || step % s->meet_every != 0 || w->meeting.met == step)
		return false;
	if (!w->meeting.waits && gp_ccore_barrier(w->core, step) != 0)
		pair_broken(s, "worker %u: %s", w->rank, gp_ccore_last(w->core)->text);
	w->meeting.complete &= w->meeting.waits;
	w->meeting.waits = true;
	w->meeting.came = step;
	if (!gp_ccore_barrier_done(w->core))
		return true;
	w->meeting.waits = false;
	w->meeting.met = step;
	s->stats.met++;
	if (!s->periodic || gp_ccore_epoch(w->core) == s->epoch)
		pass_check(w, step);
	return false;
}
