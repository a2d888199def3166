// SPDX-License-Identifier: BSD-3-Clause
//
// The release gate of asynchronous jobs: what is decided waits for a cut that the backup holds, and
// so do reads; what the cut tells of ranks is of the moment of its values.
#include "async_rig.h"
#include "gate_rig.h"

// Each release may bring the next cut.
static void release_all(struct gate *g)
{
	for (uint32_t n = 0; n != g->count;) {
		n = g->count;
		release(g, last_told(g)->number);
	}
}

static struct gate *up(uint8_t consistency, uint8_t atomicity, uint32_t cores)
{
	struct rig *r = async_new(consistency, atomicity, 2);
	r->jobs[0].replicated = true;
	r->jobs[0].stale = GP_STALE_REFUSE;
	r->cfg.cores_count = cores;
	async_up(r);
	return gate_of(r);
}

static bool is_granted(struct worker *w, uint32_t request, uint32_t clock)
{
	worker_read(w, request, clock, 0);
	rig_run(w->r);
	return read_reply(w).state == GP_READ_GRANTED;
}

static struct gp_heartbeat_reply home_says(struct worker *w)
{
	struct gp_heartbeat_reply hb;
	worker_heartbeat(w, w->welcome.home, w->decision);
	rig_run(w->r);
	gp_wire_get_heartbeat_reply(&seen_last(w, GP_WIRE_HEARTBEAT_REPLY, 0)->m, &hb);
	return hb;
}

static void commits_and_reads_wait(uint8_t consistency, uint8_t atomicity, uint32_t cores)
{
	struct gate *g = up(consistency, atomicity, cores);
	struct worker *w = g->r->w;
	close_gate(g);
	uint32_t shown = rig_job(g->r).generation;
	release(g, g->base.decision);
	cr_assert_eq(g->count, 0, "nothing was decided");
	cr_assert_eq(rig_job(g->r).generation, g->base.generation);
	cr_assert_neq(g->base.generation, shown);

	for (uint32_t i = 0; i < 2; i++)
		worker_push_all(&w[i], 1, false);
	turn(g);
	cr_assert_eq(g->count, 1, "one cut at a time");
	const struct gp_decision cut = *last_told(g);
	cr_assert(cut.kind == GP_DECIDED_CUT && cut.backup && cut.step == g->base.generation + 1);
	cr_assert_not(seen_commit(&w[0], GP_DECISION_COMMIT, 0, 1));
	struct gp_heartbeat_reply hb = home_says(&w[0]);
	cr_assert(hb.next_step == 1 && hb.ahead == 0, "next %u, ahead %u", hb.next_step, hb.ahead);
	cr_assert_lt(seen_last(&w[0], GP_WIRE_HEARTBEAT_REPLY, 0)->m.h.decision, cut.number);
	cr_assert_not(is_granted(&w[0], 1, 2), "only the primary has what it asks for");
	worker_pull(&w[0], 0, 1, cut.step, false);
	turn(g);
	cr_assert_not(seen_result(&w[0], 0, cut.step));

	release(g, cut.number - 1);
	cr_assert_not(seen_commit(&w[0], GP_DECISION_COMMIT, 0, 1), "a cut is out whole");
	release(g, cut.number);
	release_all(g); // the other rank's commit may have come after the first cut
	for (uint32_t n = 0; n < 2; n++)
		cr_assert(seen_commit(&w[n], GP_DECISION_COMMIT, n, 1));
	cr_assert_eq(home_says(&w[0]).next_step, 2);
	struct gp_read_reply x = read_reply(&w[0]);
	cr_assert_eq(x.state, GP_READ_GRANTED, "what was parked is answered unasked");
	EXPECT_MODEL(&w[0], x.generation, {0, 1, 1}, {1, 1, 1});
	gate_free(g);
}

Test(backup_async, commits_and_reads_wait_for_a_cut_that_is_held)
{
	for (uint32_t cores = 1; cores <= 3; cores++) {
		commits_and_reads_wait(GP_CONSIST_SSP, GP_ATOM_STEP, cores);
		commits_and_reads_wait(GP_CONSIST_ASP, GP_ATOM_BLOCK, cores);
	}
}

// What ranks had brought of a step that is not committed is told block by block.
Test(backup_async, a_cut_tells_what_ranks_had_brought)
{
	struct gate *g = up(GP_CONSIST_ASP, GP_ATOM_BLOCK, 2);
	struct worker *w = g->r->w;
	struct gp_backup_ranks x;
	struct gp_backup_block b;
	close_gate(g);
	release(g, g->base.decision);
	worker_push_block(&w[1], 1, 2, false);
	worker_push_all(&w[0], 1, false);
	turn(g);
	const struct gp_decision *cut = last_told(g);
	cr_assert(gp_backup_ranks(g->r->e, 0, cut->step, &x));
	cr_assert(x.count == 2 && x.applied && x.updates == 1);
	cr_assert(x.clock[0] == 1 && x.clock[1] == 0);
	cr_assert_eq(gp_backup_applied(g->r->e, 0, cut->step, 0, 0), 0);
	cr_assert_eq(gp_backup_applied(g->r->e, 0, cut->step, 1, 0), 1u << 2);
	for (uint32_t block = 0; block < BLOCKS; block++) {
		cr_assert(gp_backup_block(g->r->e, 0, block, cut->step, &b));
		cr_assert_eq(b.made, cut->step);
		cr_assert_eq(b.updates, block == 2 ? 2 : 1);
	}
	// What comes later changes nothing of it.
	worker_push_block(&w[1], 1, 0, false);
	turn(g);
	cr_assert_eq(gp_backup_applied(g->r->e, 0, cut->step, 1, 0), 1u << 2);
	cr_assert(gp_backup_block(g->r->e, 0, 0, cut->step, &b) && b.updates == 1);
	cr_assert_not(gp_backup_ranks(g->r->e, 0, cut->step + 5, &x));
	gate_free(g);
}

Test(backup_async, a_view_waits_its_turn_and_shows_nobody_as_a_member)
{
	struct gate *g = up(GP_CONSIST_ASP, GP_ATOM_STEP, 2);
	struct worker *w = g->r->w;
	close_gate(g);
	release(g, g->base.decision);
	worker_leave(&w[1]);
	turn(g);
	const struct gp_decision *cut = last_told(g);
	cr_assert_eq(w[0].view, 1);
	struct gp_heartbeat_reply hb = home_says(&w[0]);
	cr_assert(hb.view == 1 && !(hb.flags & GP_HEARTBEAT_MEMBER));
	release(g, cut->number);
	cr_assert_eq(w[0].view, 2);
	cr_assert(home_says(&w[0]).flags & GP_HEARTBEAT_MEMBER);
	gate_free(g);
}

// Nothing of what waited is lost when the gate is closed anew, or opened.
Test(backup_async, what_waits_is_in_the_next_base_and_out_when_it_opens)
{
	struct gate *g = up(GP_CONSIST_SSP, GP_ATOM_BLOCK, 2);
	struct worker *w = g->r->w;
	close_gate(g);
	release(g, g->base.decision);
	worker_push_all(&w[0], 1, false);
	turn(g);
	uint32_t waits = last_told(g)->number;
	close_gate(g);
	cr_assert(gp_before(waits, g->base.decision));
	cr_assert_not(seen_commit(&w[0], GP_DECISION_COMMIT, 0, 1));
	release(g, g->base.decision);
	cr_assert(seen_commit(&w[0], GP_DECISION_COMMIT, 0, 1));
	worker_push_all(&w[1], 1, false);
	turn(g);
	cr_assert_not(seen_commit(&w[1], GP_DECISION_COMMIT, 1, 1));
	cr_assert(gp_backup_gate(g->r->e, 0, false));
	turn(g);
	cr_assert(seen_commit(&w[1], GP_DECISION_COMMIT, 1, 1));
	uint32_t generation = granted(&w[0], 1, 2);
	EXPECT_MODEL(&w[0], generation, {0, 1, 1}, {1, 1, 1});
	gate_free(g);
}

// Closed before there are parameters: they go as in a bulk-synchronous job, then come cuts.
Test(backup_async, initial_parameters_pass_as_a_commit)
{
	struct rig *r = async_new(GP_CONSIST_ASP, GP_ATOM_BLOCK, 2);
	r->jobs[0].replicated = true;
	r->cfg.cores_count = 2;
	rig_up(r);
	struct gate *g = gate_of(r);
	struct gp_backup_block b;
	close_gate(g);
	worker_push_all(&r->w[0], 0, false);
	turn(g);
	cr_assert_eq(g->count, 1);
	cr_assert(last_told(g)->kind == GP_DECIDED_COMMIT && last_told(g)->step == 0);
	cr_assert_not(seen_commit(&r->w[1], GP_DECISION_COMMIT, 0, 0));
	cr_assert(gp_backup_block(r->e, 0, 3, 0, &b));
	release(g, last_told(g)->number);
	cr_assert(seen_commit(&r->w[1], GP_DECISION_COMMIT, 0, 0));
	worker_push_all(&r->w[1], 1, false);
	turn(g);
	cr_assert(last_told(g)->backup && last_told(g)->step > 0);
	cr_assert_not(seen_commit(&r->w[1], GP_DECISION_COMMIT, 1, 1));
	release_all(g);
	cr_assert(seen_commit(&r->w[1], GP_DECISION_COMMIT, 1, 1));
	gate_free(g);
}
