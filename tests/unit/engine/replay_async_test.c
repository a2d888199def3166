// SPDX-License-Identifier: BSD-3-Clause
//
// Asynchronous jobs through the recorder and a replay: every push, read and cut, and what home
// decided.
#include "async_rig.h"
#include "replay_rig.h"

#include <gp_replay.h>

#include <errno.h>

#define CELLS 16384

static struct rig *rig_recorded(uint8_t consistency, uint8_t atomicity, uint32_t cores)
{
	struct rig *r = async_new(consistency, atomicity, 3);
	r->cfg.cores_count = cores;
	r->cfg.flight_cells = CELLS;
	r->cfg.flight_payloads = true;
	return r;
}

static struct gp_replay *replay_of(const struct rig *r, const struct buffer *b)
{
	static struct gp_flight_file f;
	char why[GP_FLIGHT_ERROR_SIZE] = "", err[GP_REPLAY_TEXT_SIZE] = "";
	struct gp_engine_config cfg = r->cfg;
	struct gp_replay *replay;
	cfg.take = take;
	cfg.give = give;
	cr_assert_eq(gp_flight_open(&f, b->bytes, b->len, why), 0, "%s", why);
	cr_assert_eq(gp_replay_create(&replay, &f, &cfg, err), 0, "%s", err);
	while (gp_replay_round(replay))
		;
	return replay;
}

// Everything comes out again: verdicts, decisions, and the parameters of the newest cut.
static void expect_again(struct rig *r, uint32_t generation)
{
	struct buffer b = dump(r);
	struct gp_replay *replay = replay_of(r, &b);
	const struct gp_replay_result *x = gp_replay_result(replay);
	cr_assert(!x->differs, "%s", x->text);
	cr_assert_str_eq(x->missing, "");
	cr_assert(!x->wrapped);
	cr_assert_geq(x->decisions, 8);
	uint64_t seen = 1, expected = 2;
	cr_assert_eq(gp_engine_digest(r->e, 0, generation, &expected), 0);
	cr_assert_eq(gp_engine_digest(gp_replay_engine(replay), 0, generation, &seen), 0);
	cr_assert_eq(seen, expected);
	struct gp_job_view v;
	gp_engine_job_view(gp_replay_engine(replay), 0, &v);
	cr_assert_eq(v.clock_min, rig_job(r).clock_min);
	cr_assert_eq(v.clock_max, rig_job(r).clock_max);
	gp_replay_destroy(replay);
	free(b.bytes);
}

// Ranks apart, repeats, pushes too early, parked reads, a silent member and its next life.
static uint32_t run_eventful(struct rig *r)
{
	async_up(r);
	uint32_t request = 1;
	for (uint32_t step = 1; step <= 3; step++) {
		for (uint32_t i = 0; i < 3; i++)
			push_step(&r->w[(step + i) % 3], step);
		(void)granted(&r->w[0], request++, step + 1);
	}
	worker_push_all(&r->w[0], 9, false);
	worker_push_block(&r->w[1], 4, 0, false);
	worker_push_block(&r->w[1], 4, 0, false);
	push_step(&r->w[0], 4);
	(void)read_now(&r->w[0], request++, 6, 0);
	rig_wait(r, 3 * RIG_TIMEOUT_NS, 3); // rank 2 is silent
	push_step(&r->w[1], 4);
	r->w[2].incarnation += 100;
	cr_assert_eq(worker_enter(&r->w[2], 2), 0);
	worker_attach(&r->w[2]);
	cr_assert_eq(worker_bring(&r->w[2]), 0);
	rig_run(r);
	for (uint32_t step = 6; step <= 8; step++)
		for (uint32_t i = 0; i < 3; i++) {
			worker_push_all(&r->w[i], step - (i < 2), false);
			rig_run(r);
		}
	rig_wait(r, RIG_TIMEOUT_NS / 2, 3);
	return granted(&r->w[1], 1, 2);
}

static void eventful_again(uint8_t consistency, uint8_t atomicity, uint32_t cores)
{
	struct rig *r = rig_recorded(consistency, atomicity, cores);
	uint32_t generation = run_eventful(r);
	expect_again(r, generation);
	rig_free_busy(r);
}

Test(replay_async, ssp_by_block)
{
	eventful_again(GP_CONSIST_SSP, GP_ATOM_BLOCK, 1);
}

Test(replay_async, ssp_by_step_on_three_cores)
{
	eventful_again(GP_CONSIST_SSP, GP_ATOM_STEP, 3);
}

Test(replay_async, asp_by_block_on_two_cores)
{
	eventful_again(GP_CONSIST_ASP, GP_ATOM_BLOCK, 2);
}

static void quorum_again(uint32_t cores, float clip_norm)
{
	struct rig *r = rig_recorded(GP_CONSIST_QUORUM, GP_ATOM_STEP, cores);
	r->jobs[0].clip_norm = clip_norm;
	r->jobs[0].quorum_min = 2;
	r->jobs[0].quorum_wait_ns = 50 * RIG_MS;
	async_up(r);
	for (uint32_t step = 1; step <= 6; step++) {
		worker_push_all(&r->w[0], step, false);
		worker_push_all(&r->w[1], step, false);
		if (step % 2)
			worker_push_all(&r->w[2], step, false);
		rig_run(r);
		rig_wait(r, 60 * RIG_MS, 7);
		worker_push_all(&r->w[2], step, false); // late, or once more
		rig_run(r);
		cr_assert_eq(rig_job(r).clock_max, step);
	}
	expect_again(r, granted(&r->w[0], 1, 7));
	rig_free_busy(r);
}

// Its steps are closed by time: home finds the same moment again.
Test(replay_async, a_quorum_that_waits)
{
	quorum_again(2, 0);
}

// The factor of a step is as recorded.
Test(replay_async, a_quorum_that_clips)
{
	for (uint32_t cores = 1; cores <= 3; cores++)
		quorum_again(cores, 100);
}

Test(replay_async, headers_are_enough_for_verdicts_and_decisions)
{
	struct rig *r = rig_recorded(GP_CONSIST_SSP, GP_ATOM_BLOCK, 2);
	r->cfg.flight_payloads = false;
	(void)run_eventful(r);
	struct buffer b = dump(r);
	struct gp_replay *replay = replay_of(r, &b);
	cr_assert(!gp_replay_result(replay)->differs, "%s", gp_replay_result(replay)->text);
	cr_assert_gt(gp_replay_result(replay)->filled, 0);
	gp_replay_destroy(replay);
	free(b.bytes);
	rig_free_busy(r);
}

Test(replay_async, it_can_differ)
{
	struct rig *r = rig_recorded(GP_CONSIST_SSP, GP_ATOM_BLOCK, 1);
	(void)run_eventful(r);
	struct buffer b = dump(r);
	r->jobs[0].bound = 0; // a read that was granted is parked there
	struct gp_replay *replay = replay_of(r, &b);
	cr_assert(gp_replay_result(replay)->differs);
	r->jobs[0].bound = 1;
	gp_replay_destroy(replay);
	free(b.bytes);
	rig_free_busy(r);
}

Test(replay_async, without_its_beginning_it_is_left_out_by_name)
{
	struct rig *r = rig_recorded(GP_CONSIST_ASP, GP_ATOM_BLOCK, 1);
	r->cfg.flight_cells = GP_FLIGHT_CELLS_MIN;
	async_up(r);
	for (uint32_t step = 1; step <= 60; step++)
		push_step(&r->w[0], step);
	struct buffer b = dump(r);
	struct gp_replay *replay = replay_of(r, &b);
	const struct gp_replay_result *x = gp_replay_result(replay);
	cr_assert(!x->differs, "%s", x->text);
	cr_assert_eq(x->datagrams, 0);
	cr_assert(strstr(x->missing, "job job is asynchronous: only from its beginning"), "%s",
		x->missing);
	gp_replay_destroy(replay);
	free(b.bytes);
	rig_free_busy(r);
}
