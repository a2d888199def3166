// SPDX-License-Identifier: BSD-3-Clause
//
// Who is missing, where, since when: as the cores publish it.
#include "async_rig.h"

#include <gp_watch.h>

static struct gp_place_view place(const struct rig *r, uint32_t core)
{
	struct gp_place_view v;
	cr_assert(gp_engine_place_view(r->e, 0, core, &v));
	cr_assert(v.blocks && !v.async);
	return v;
}

static struct gp_worker_view watched(const struct rig *r, uint32_t rank)
{
	struct gp_worker_view v;
	cr_assert(gp_engine_worker_view(r->e, 0, rank, &v));
	return v;
}

static struct rig *rig_of(uint32_t cores, uint32_t workers)
{
	struct rig *r = rig_new();
	r->cfg.cores_count = cores;
	r->jobs[0].workers = workers;
	return r;
}

Test(watch, nothing_before_the_layout)
{
	struct rig *r = rig_new();
	rig_start(r);
	struct gp_place_view v;
	struct gp_worker_view w;
	cr_assert(!gp_engine_place_view(r->e, 0, 0, &v));
	cr_assert(!gp_engine_worker_view(r->e, 0, 0, &w));
	rig_free(r);
}

Test(watch, the_lowest_incomplete_block_and_who_is_missing)
{
	struct rig *r = rig_of(2, 3);
	rig_up(r);
	cr_assert_eq(place(r, 0).step, 1);
	cr_assert_eq(place(r, 0).block, 0);
	const struct gp_ranks nobody = place(r, 0).here;
	cr_assert_eq(gp_ranks_count(&nobody), 0);
	uint64_t begun = place(r, 0).since;
	for (uint32_t i = 0; i < 3; i++)
		worker_push_block(&r->w[i], 1, 0, false);
	worker_push_block(&r->w[0], 1, 2, false);
	worker_push_block(&r->w[2], 1, 2, false);
	worker_push_block(&r->w[1], 1, 1, false);
	rig_run(r);
	struct gp_place_view v = place(r, 0);
	cr_assert_eq(v.step, 1);
	cr_assert_eq(v.block, 2); // the second of core 0
	cr_assert_gt(v.since, begun);
	cr_assert_leq(v.since, r->now);
	cr_assert_eq(gp_ranks_count(&v.members), 3);
	cr_assert(
		gp_ranks_has(&v.here, 0) && !gp_ranks_has(&v.here, 1) && gp_ranks_has(&v.here, 2));
	cr_assert_eq(v.slots_open, 1);
	v = place(r, 1);
	cr_assert_eq(v.block, 1);
	cr_assert(gp_ranks_has(&v.here, 1) && !gp_ranks_has(&v.here, 0));

	uint64_t since = place(r, 0).since;
	worker_push_block(&r->w[0], 1, 1, false);
	worker_push_block(&r->w[2], 1, 1, false);
	rig_run(r);
	cr_assert_eq(place(r, 1).block, 3);
	cr_assert_eq(place(r, 0).since, since, "core 0 has not moved");
	rig_free_busy(r);
}

Test(watch, a_lost_member_is_not_waited_for)
{
	struct rig *r = rig_of(1, 3);
	rig_up(r);
	worker_push_block(&r->w[0], 1, 0, false);
	rig_run(r);
	rig_wait(r, RIG_TIMEOUT_NS + 300 * RIG_MS, 3);
	struct gp_place_view v = place(r, 0);
	cr_assert_eq(gp_ranks_count(&v.members), 2);
	cr_assert(!gp_ranks_has(&v.members, 2));
	cr_assert_eq(gp_ranks_count(&v.here), 0, "the new view has cleared it");
	struct gp_worker_view w;
	cr_assert(!gp_engine_worker_view(r->e, 0, 2, &w));
	rig_free(r);
}

Test(watch, a_worker_by_its_session)
{
	struct rig *r = rig_of(2, 2);
	rig_up(r);
	cr_assert(!watched(r, 1).pushed);
	worker_push_all(&r->w[1], 1, false);
	worker_push_all(&r->w[1], 1, false);
	worker_push_all(&r->w[1], 7, false);
	rig_run(r);
	struct gp_worker_view w = watched(r, 1);
	cr_assert(w.pushed);
	cr_assert_eq(w.step, 1);
	cr_assert_eq(w.repeats, BLOCKS);
	cr_assert_eq(w.busy, BLOCKS);
	cr_assert_eq(w.refused, 0);
	r->w[1].view = 9;
	worker_push_block(&r->w[1], 1, 0, false);
	rig_run(r);
	cr_assert_eq(watched(r, 1).refused, 1);
	r->w[1].view = 1;

	uint8_t body[16];
	const struct gp_heartbeat hb = {.known = 1, .rtt_us = 345, .time = 1};
	struct gp_header h = worker_header(&r->w[1], r->w[1].welcome.home, GP_WIRE_HEARTBEAT);
	worker_send(
		&r->w[1], r->w[1].welcome.home, &h, NULL, body, gp_wire_put_heartbeat(body, &hb));
	rig_run(r);
	cr_assert_eq(watched(r, 1).rtt_us, 345);

	// Its next life begins with nothing.
	r->w[1].incarnation++;
	struct gp_join j = worker_join_of(&r->w[1], 1);
	j.flags = GP_JOIN_REPLACE;
	cr_assert_eq(worker_enter_as(&r->w[1], &j), 0);
	worker_attach(&r->w[1]);
	cr_assert_eq(watched(r, 1).repeats, 0);
	cr_assert_eq(watched(r, 1).rtt_us, 0);
	cr_assert(!watched(r, 1).pushed);
	rig_free_busy(r);
}

// An asynchronous job: whose read waits, for which step, since when.
Test(watch, a_read_that_waits_for_its_bound)
{
	struct rig *r = async_new(GP_CONSIST_SSP, GP_ATOM_BLOCK, 2);
	r->cfg.cores_count = 2;
	async_up(r);
	push_step(&r->w[0], 1);
	push_step(&r->w[0], 2);
	cr_assert_not(watched(r, 0).parked);
	uint64_t before = r->now;
	cr_assert_eq(read_now(&r->w[0], 1, 3, 0).state, GP_READ_PARKED);
	struct gp_worker_view v = watched(r, 0);
	cr_assert(v.parked);
	cr_assert_eq(v.reads, 3);
	cr_assert_geq(v.parked_since, before);
	cr_assert_not(watched(r, 1).parked);
	push_step(&r->w[1], 1);
	cr_assert_eq(read_reply(&r->w[0]).state, GP_READ_GRANTED);
	cr_assert_not(watched(r, 0).parked);
	rig_free_busy(r);
}
