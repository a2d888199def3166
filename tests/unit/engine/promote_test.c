// SPDX-License-Identifier: BSD-3-Clause
//
// A standby becomes the leader; a leader does not go far beyond its backup.
#include "driver.h"

#include <errno.h>
#include <stdlib.h>

static float w_values[W_ELEMS], b_values[B_ELEMS];

static void generation_give(struct rig *r, uint32_t step)
{
	for (uint32_t i = 0; i < W_ELEMS; i++)
		w_values[i] = rig_value(0, step, i / BLOCK_ELEMS, i % BLOCK_ELEMS);
	for (uint32_t i = 0; i < B_ELEMS; i++)
		b_values[i] = rig_value(0, step, 3, i);
	static struct gp_restore_tensor t[TENSORS]; // stays until the layout is made
	t[0] = (struct gp_restore_tensor){.name = "w",
		.dims_count = model[0].dims_count,
		.dims = model[0].dims,
		.values = w_values};
	t[1] = (struct gp_restore_tensor){.name = "b",
		.dims_count = model[1].dims_count,
		.dims = model[1].dims,
		.values = b_values};
	const struct gp_restore x = {
		.step = step, .decision = 4 * step, .tensors_count = TENSORS, .tensors = t};
	int rc = -EBUSY; // the one before is let go of after some turns
	for (uint32_t i = 0; i < 20 && rc == -EBUSY; i++) {
		rc = gp_registrar_restore(r->reg, 1, &x);
		rig_run(r);
	}
	cr_assert_eq(rc, 0);
}

static struct rig *standby_new(uint32_t cores)
{
	struct rig *r = rig_new();
	r->jobs[0].kind = GP_KIND_TRAIN;
	r->jobs[0].optim = (struct gp_optim_params){.kind = GP_OPTIM_SGD, .lr = 1.0f};
	r->jobs[0].workers = 3;
	r->jobs[0].workers_min = 2;
	r->jobs[0].payload_max = RIG_PAYLOAD;
	r->cfg.standby = true;
	r->cfg.cores_count = cores;
	rig_start(r);
	return r;
}

static void workers_come(struct rig *r, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		cr_assert_eq(worker_enter(&r->w[i], (uint16_t)i), 0);
		worker_attach(&r->w[i]);
		cr_assert_eq(worker_bring(&r->w[i]), 0);
	}
	rig_run(r);
}

Test(promote, a_standby_goes_on_from_what_it_served)
{
	for (uint32_t cores = 1; cores <= 2; cores++) {
		struct rig *r = standby_new(cores);
		generation_give(r, 20);
		generation_give(r, 21);
		cr_assert_eq(gp_registrar_promote(r->reg, 7), -EINVAL, "its own epoch");
		cr_assert_eq(gp_registrar_promote(r->reg, 8), 0);
		cr_assert_eq(gp_registrar_promote(r->reg, 9), -EINVAL, "it is none any more");
		workers_come(r, 3);
		cr_assert_eq(r->w[0].epoch, 8);
		cr_assert_eq(rig_job(r).members, 3);
		for (uint32_t i = 0; i < 3; i++)
			worker_push_all(&r->w[i], 22, true);
		rig_run(r);
		cr_assert_eq(rig_job(r).generation, 22);
		float got[BLOCK_ELEMS], sum[BLOCK_ELEMS];
		result_values(seen_result(&r->w[2], 1, 22), got);
		reference_sum(sum, 3, 22, 1);
		for (uint32_t i = 0; i < BLOCK_ELEMS; i++)
			cr_assert_eq(got[i], rig_value(0, 21, 1, i) - sum[i]);
		cr_assert_eq(gp_registrar_cut(r->reg, 1), 0, "it makes snapshots of its own");
		rig_run(r);
		cr_assert_eq(r->cuts_ready, 1);
		gp_registrar_cut_release(r->reg, 1);
		rig_run(r);
		rig_free(r);
	}
}

Test(promote, a_worker_that_died_with_the_leader_is_not_waited_for_for_ever)
{
	struct rig *r = standby_new(1);
	generation_give(r, 5);
	cr_assert_eq(gp_registrar_promote(r->reg, 8), 0);
	rig_run(r);
	workers_come(r, 2);
	cr_assert_eq(rig_job(r).members, 0, "the third may still come");
	rig_wait(r, 9 * RIG_TIMEOUT_NS, 3);
	cr_assert_eq(rig_job(r).members, 2);
	rig_free(r);
}

Test(promote, a_job_that_never_reached_the_standby_begins_anew)
{
	struct rig *r = standby_new(1);
	cr_assert_eq(gp_registrar_promote(r->reg, 8), 0);
	workers_come(r, 3);
	worker_push_all(&r->w[0], 0, false);
	rig_run(r);
	cr_assert_eq(rig_job(r).generation, 0);
	rig_free(r);
}

Test(promote, readers_of_the_standby_are_sent_away)
{
	struct rig *r = standby_new(1);
	generation_give(r, 5);
	struct gp_join j = worker_join_of(&r->w[5], GP_WIRE_RANK_NONE);
	j.flags = GP_JOIN_READER;
	j.world = 0;
	cr_assert_eq(worker_enter_as(&r->w[5], &j), 0);
	cr_assert_eq(gp_registrar_promote(r->reg, 8), 0);
	worker_heartbeat(&r->w[5], 0, 0);
	rig_run(r);
	struct gp_refuse x;
	gp_wire_get_refuse(&seen_last(&r->w[5], GP_WIRE_REFUSE, 0)->m, &x);
	cr_assert_eq(x.reason, GP_REFUSAL_FENCED);
	cr_assert_eq(worker_enter_as(&r->w[5], &j), 0, "and may come again");
	cr_assert_eq(r->w[5].epoch, 8);
	rig_free(r);
}

Test(promote, a_leader_is_not_far_ahead_of_its_backup)
{
	struct rig *r = rig_new();
	r->jobs[0].lag_max = 2;
	rig_up(r);
	for (uint32_t step = 1; step <= 2; step++)
		for (uint32_t i = 0; i < 2; i++)
			worker_push_all(&r->w[i], step, false);
	rig_run(r);
	cr_assert_eq(rig_job(r).generation, 2);
	uint64_t busy = rig_verdicts(r, GP_VERDICT_PUSH_BUSY);
	worker_push_block(&r->w[0], 3, 0, false);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_PUSH_BUSY), busy + 1);
	gp_registrar_backed(r->reg, 1, 1);
	gp_registrar_backed(r->reg, 1, 0); // an old answer
	for (uint32_t i = 0; i < 2; i++)
		worker_push_all(&r->w[i], 3, false);
	rig_run(r);
	cr_assert_eq(rig_job(r).generation, 3);
	rig_free(r);
}

Test(promote, a_job_that_begins_anew_has_the_whole_lag)
{
	struct rig *r = rig_new();
	r->jobs[0].kind = GP_KIND_TRAIN;
	r->jobs[0].lag_max = 2;
	r->cfg.standby = true;
	rig_start(r);
	cr_assert_eq(gp_registrar_promote(r->reg, 8), 0);
	cr_assert_eq(rig_job(r).backed, 0);
	rig_free(r);
}

Test(promote, the_backup_of_a_restored_leader_may_be_as_far_behind_as_it_was_allowed_to_be)
{
	struct rig *r = rig_new();
	r->jobs[0].kind = GP_KIND_TRAIN;
	r->jobs[0].lag_max = 2;
	rig_start(r);
	generation_give(r, 5);
	cr_assert_eq(rig_job(r).backed, 3);
	workers_come(r, 2);
	worker_push_block(&r->w[0], 6, 0, false);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_PUSH_BUSY), 1);
	gp_registrar_backed(r->reg, 1, 5);
	for (uint32_t i = 0; i < 2; i++)
		worker_push_all(&r->w[i], 6, false);
	rig_run(r);
	cr_assert_eq(rig_job(r).generation, 6);
	rig_free(r);
}

// Too small for what is shipped: each generation is refused, and nothing of it stays.
Test(promote, generations_that_do_not_fit_leave_nothing_behind)
{
	struct rig *r = rig_new();
	r->jobs[0].kind = GP_KIND_TRAIN;
	r->jobs[0].memory_max = 4096;
	r->cfg.standby = true;
	rig_start(r);
	const struct gp_restore_tensor t[TENSORS] = {
		{.name = "w", .dims_count = 2, .dims = model[0].dims, .values = w_values},
		{.name = "b", .dims_count = 1, .dims = model[1].dims, .values = b_values}};
	for (uint32_t step = 1; step <= 100; step++) {
		const struct gp_restore x = {.step = step, .tensors_count = TENSORS, .tensors = t};
		cr_assert_eq(gp_registrar_restore(r->reg, 1, &x), -ENOMEM);
	}
	rig_free(r);
}
