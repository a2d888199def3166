// SPDX-License-Identifier: BSD-3-Clause
//
// Restored jobs whose tensors are not those that the workers register, and cuts when every cut is
// in use.
#include "async_rig.h"

#include <errno.h>

static const float values[W_ELEMS] = {1};

static void differs(const struct gp_restore_tensor *t, uint32_t count, const char *part)
{
	struct rig *r = rig_new();
	const struct gp_restore x = {
		.step = 7, .decision = 3, .tensors_count = count, .tensors = t};
	r->jobs[0].kind = GP_KIND_TRAIN;
	rig_start(r);
	cr_assert_eq(gp_registrar_restore(r->reg, 1, &x), 0);
	for (uint32_t i = 0; i < 2; i++) {
		cr_assert_eq(worker_enter(&r->w[i], (uint16_t)i), 0);
		worker_attach(&r->w[i]);
	}
	uint32_t refused = 0;
	for (uint32_t i = 0; i < 2; i++) {
		(void)worker_bring(&r->w[i]);
		refused += seen_count(&r->w[i], GP_WIRE_REFUSE);
	}
	cr_assert_gt(refused, 0, "%s", part);
	cr_assert_eq(rig_job(r).blocks_count, 0, "%s: there is a layout", part);
	rig_free(r);
}

Test(restore_edge, tensors_that_are_not_the_workers)
{
	static const uint64_t flat[] = {W_ELEMS}, other[] = {W_ELEMS / 2, 2}, ten[] = {B_ELEMS};
	const struct gp_restore_tensor w = {.name = "w",
		.dims_count = model[0].dims_count,
		.dims = model[0].dims,
		.values = values,
		.states = {values}};
	struct gp_restore_tensor t[TENSORS] = {w,
		{.name = "b", .dims_count = 1, .dims = ten, .values = values, .states = {values}}};
	differs(t, 1, "one too few");
	t[1].name = "c";
	differs(t, TENSORS, "another name");
	t[1].name = "b";
	t[0].dims_count = 1;
	t[0].dims = flat;
	differs(t, TENSORS, "fewer dimensions");
	t[0].dims_count = 2;
	t[0].dims = other;
	differs(t, TENSORS, "other dimensions");
}

// Its layout needs nobody, and any worker that the job takes carries its blocks.
static void layout_at_once(bool promoted)
{
	const struct gp_restore_tensor t[TENSORS] = {{.name = "w",
							     .dims_count = model[0].dims_count,
							     .dims = model[0].dims,
							     .values = values},
		{.name = "b",
			.dims_count = model[1].dims_count,
			.dims = model[1].dims,
			.values = values}};
	const struct gp_restore x = {
		.step = 7, .decision = 3, .tensors_count = TENSORS, .tensors = t};
	struct rig *r = rig_new();
	r->jobs[0].kind = GP_KIND_TRAIN;
	r->jobs[0].replicated = true;
	r->jobs[0].payload_max = RIG_PAYLOAD - 128;
	r->cfg.standby = promoted;
	rig_start(r);
	cr_assert_eq(gp_registrar_restore(r->reg, 1, &x), 0);
	if (promoted)
		cr_assert_eq(gp_registrar_promote(r->reg, 8), 0);
	cr_assert(rig_job(r).ready);
	cr_assert_eq(rig_job(r).block_elems, BLOCK_ELEMS - 32);
	cr_assert_eq(rig_job(r).generation, 7);
	if (!promoted)
		cr_assert_eq(gp_registrar_restore(r->reg, 1, &x), -EBUSY);
	struct gp_join small = worker_join_of(&r->w[0], 0);
	small.payload_max = RIG_PAYLOAD - 128;
	cr_assert_eq(worker_enter_as(&r->w[0], &small), 0);
	cr_assert_eq(worker_enter(&r->w[1], 1), 0);
	for (uint32_t i = 0; i < 2; i++) {
		worker_attach(&r->w[i]);
		cr_assert_eq(worker_bring(&r->w[i]), 0);
	}
	rig_run(r);
	cr_assert_eq(rig_job(r).members, 2);
	cr_assert_eq(r->w[0].welcome.next_step, 8);
	rig_free(r);
}

Test(restore_edge, a_replicated_job_has_its_layout_at_once)
{
	layout_at_once(false);
}

Test(restore_edge, a_standby_that_is_promoted_from_its_disk_takes_any_path)
{
	layout_at_once(true);
}

// Three cuts, each of them used by somebody: a reader waits until one is free.
Test(restore_edge, a_read_waits_while_every_cut_is_in_use)
{
	struct rig *r = async_new(GP_CONSIST_ASP, GP_ATOM_STEP, 2);
	r->jobs[0].cuts_max = 3;
	async_up(r); // the first is everybody's until all have pushed
	push_step(&r->w[0], 1);
	cr_assert_eq(gp_registrar_cut(r->reg, 1), 0);
	rig_run(r);
	cr_assert_eq(r->cuts_ready, 1);
	push_step(&r->w[0], 2);
	cr_assert_eq(read_now(&r->w[1], 1, 1, GP_READ_RESERVE).state, GP_READ_GRANTED);
	push_step(&r->w[0], 3);
	cr_assert_eq(read_now(&r->w[0], 1, 4, 0).state, GP_READ_PARKED);
	gp_registrar_cut_release(r->reg, 1);
	rig_run(r);
	cr_assert_eq(read_reply(&r->w[0]).state, GP_READ_GRANTED);
	EXPECT_MODEL(&r->w[0], read_reply(&r->w[0]).generation, {0, 1, 1}, {0, 2, 1}, {0, 3, 1});
	rig_free(r);
}

// A snapshot waits likewise, for the reader who has reserved one and for who has not begun.
Test(restore_edge, a_snapshot_waits_while_every_cut_is_in_use)
{
	struct rig *r = async_new(GP_CONSIST_ASP, GP_ATOM_STEP, 2);
	r->jobs[0].cuts_max = 2;
	async_up(r);
	push_step(&r->w[0], 1);
	cr_assert_eq(read_now(&r->w[1], 1, 1, GP_READ_RESERVE).state, GP_READ_GRANTED);
	cr_assert_eq(gp_registrar_cut(r->reg, 1), 0);
	rig_run(r);
	cr_assert_eq(r->cuts_ready, 0);
	push_step(&r->w[1], 1); // which ends its reservation, and the beginning
	rig_run(r);
	cr_assert_eq(r->cuts_ready, 1);
	gp_registrar_cut_release(r->reg, 1);
	rig_free(r);
}
