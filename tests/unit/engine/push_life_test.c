// SPDX-License-Identifier: BSD-3-Clause
//
// Contributions of two lives of a rank in one burst.
#include "driver.h"

#include <stdlib.h>

// A rank joins anew after core 1 has learned how its former life's contributions begin.
static struct rig *rejoined(uint16_t rank, struct worker *old)
{
	struct rig *r = rig_new();
	r->cfg.cores_count = 2;
	r->jobs[0].workers = 3;
	r->jobs[0].workers_min = 1;
	rig_up(r);
	struct worker *w = &r->w[1];
	worker_push_block(w, 1, 1, false);
	rig_run(r);
	*old = *w;
	worker_leave(&r->w[2]);
	worker_leave(w);
	rig_wait(r, 300 * RIG_MS, 1);
	seen_clear(w);
	w->incarnation += 1000;
	struct gp_join j = worker_join_of(w, rank);
	cr_assert_eq(worker_enter_as(w, &j), 0);
	cr_assert_eq(worker_bring(w), 0);
	rig_run(r);
	return r;
}

// One burst: the new session comes to core 1, contributes, and a datagram of the old one follows.
static void burst_of_two_lives(struct rig *r, const struct worker *old)
{
	struct worker *w = &r->w[1];
	struct gp_join j = worker_join_of(w, w->rank);
	uint32_t session = w->session, view = w->view;
	uint16_t rank = w->rank;
	j.flags = GP_JOIN_ATTACH;
	j.session = session;
	worker_join(w, 1, &j);
	worker_push_block(w, 1, 1, false);
	w->session = old->session;
	w->view = old->view;
	w->rank = old->rank;
	worker_push_block(w, 1, 3, false);
	w->session = session;
	w->view = view;
	w->rank = rank;
	rig_run(r);
}

Test(push_life, of_an_ended_session_is_refused_in_the_burst_that_binds_its_place_anew)
{
	for (uint16_t rank = 1; rank <= 2; rank++) {
		struct worker *old = malloc(sizeof(*old));
		struct rig *r = rejoined(rank, old);
		uint64_t taken = rig_verdicts(r, GP_VERDICT_PUSH);
		burst_of_two_lives(r, old);
		cr_assert_eq(rig_verdicts(r, GP_VERDICT_BAD_SESSION), 1);
		cr_assert_eq(rig_verdicts(r, GP_VERDICT_PUSH), taken + 1);
		rig_free_busy(r);
		free(old);
	}
}
