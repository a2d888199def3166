// SPDX-License-Identifier: BSD-3-Clause
#include "driver.h"

static void layout_of(const struct worker *w, struct gp_layout *l)
{
	const struct seen *s = seen_last(w, GP_WIRE_LAYOUT, 0);
	cr_assert(s, "registration is answered");
	gp_wire_get_layout(&s->m, l);
}

static struct rig *two_joined(void)
{
	struct rig *r = rig_new();
	rig_start(r);
	cr_assert_eq(worker_enter(&r->w[0], 0), 0);
	cr_assert_eq(worker_enter(&r->w[1], 1), 0);
	return r;
}

static uint32_t refused(struct worker *w)
{
	const struct seen *s = seen_last(w, GP_WIRE_REFUSE, 0);
	if (!s)
		return 0;
	gp_wire_get_refuse(&s->m, &w->refuse);
	return w->refuse.reason;
}

Test(registration, waits_and_names_the_rank_that_is_missing)
{
	struct rig *r = two_joined();
	struct gp_layout l;
	cr_assert_eq(worker_bring(&r->w[0]), 0);
	layout_of(&r->w[0], &l);
	cr_assert_eq(l.state, 0);
	cr_assert_eq(l.registered, 2);
	cr_assert_eq(l.missing_count, 1);
	cr_assert_eq(l.missing_rank, 1);
	cr_assert_eq(r->layouts_ready, 0);
	rig_free(r);
}

Test(registration, gives_blocks_in_the_order_of_priority)
{
	struct rig *r = two_joined();
	struct gp_layout l;
	struct gp_layout_entry e;
	static const struct tensor swapped[] = {
		{.name = "b", .priority = 0, .dims_count = 1, .dims = {10}},
		{.name = "w", .priority = 0, .dims_count = 1, .dims = {700}},
		{.name = "a", .priority = 5, .dims_count = 1, .dims = {1}},
	};
	for (uint32_t i = 0; i < 2; i++) {
		worker_register(&r->w[i], swapped, 3, 0, 3);
		rig_run(r);
	}
	layout_of(&r->w[1], &l);
	cr_assert_eq(l.state, 1);
	cr_assert_eq(l.block_elems, 336);
	cr_assert_eq(l.blocks_count, 5);
	cr_assert_eq(l.units_count, 1);
	cr_assert_eq(l.missing_rank, GP_WIRE_RANK_NONE);
	cr_assert_eq(l.next_step, 1);
	cr_assert_eq(l.n, 3);
	static const struct gp_layout_entry expected[] = {{0, 0, 0, 0}, {1, 1, 0, 0}, {2, 4, 0, 0}};
	for (uint32_t i = 0; i < 3; i++) {
		gp_wire_get_layout_entry(&seen_last(&r->w[1], GP_WIRE_LAYOUT, 0)->m, i, &e);
		cr_assert_eq(memcmp(&e, &expected[i], sizeof(e)), 0, "entry %u", i);
	}
	rig_free(r);
}

Test(registration, units_follow_the_atomicity)
{
	static const struct {
		uint8_t atomicity;
		uint32_t units, unit_w, unit_b;
	} cases[] = {{GP_ATOM_STEP, 1, 0, 0}, {GP_ATOM_TENSOR, 2, 0, 1}, {GP_ATOM_BLOCK, 4, 0, 3}};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(cases); i++) {
		struct rig *r = rig_new();
		struct gp_layout l;
		struct gp_layout_entry e;
		r->jobs[0].atomicity = cases[i].atomicity;
		rig_up(r);
		worker_register(&r->w[0], model, TENSORS, 0, 0);
		rig_run(r);
		layout_of(&r->w[0], &l);
		cr_assert_eq(l.units_count, cases[i].units);
		gp_wire_get_layout_entry(&seen_last(&r->w[0], GP_WIRE_LAYOUT, 0)->m, 0, &e);
		cr_assert_eq(e.unit, cases[i].unit_w);
		gp_wire_get_layout_entry(&seen_last(&r->w[0], GP_WIRE_LAYOUT, 0)->m, 1, &e);
		cr_assert_eq(e.unit, cases[i].unit_b);
		cr_assert_eq(e.first_block, 3);
		rig_free(r);
	}
}

Test(registration, takes_several_datagrams_repeats_and_each_ranks_own_order)
{
	struct rig *r = two_joined();
	struct gp_layout l;
	struct gp_layout_entry e;
	worker_register(&r->w[0], &model[1], TENSORS, 1, 1);
	worker_register(&r->w[0], &model[1], TENSORS, 1, 1);
	worker_register(&r->w[0], &model[0], TENSORS, 0, 1);
	rig_run(r);
	static const struct tensor other[] = {
		{.name = "b", .priority = 9, .dims_count = 1, .dims = {B_ELEMS}},
		{.name = "w", .priority = 9, .dims_count = 2, .dims = {70, 10}},
	};
	worker_register(&r->w[1], other, TENSORS, 0, 2);
	worker_register(&r->w[1], other, TENSORS, 0, 2);
	rig_run(r);
	layout_of(&r->w[1], &l);
	cr_assert_eq(l.state, 1);
	gp_wire_get_layout_entry(&seen_last(&r->w[1], GP_WIRE_LAYOUT, 0)->m, 0, &e);
	cr_assert_eq(e.first_block, 3, "its own index 0 is b");
	gp_wire_get_layout_entry(&seen_last(&r->w[1], GP_WIRE_LAYOUT, 0)->m, 1, &e);
	cr_assert_eq(e.first_block, 0);
	cr_assert_eq(r->layouts_ready, 1);
	rig_free(r);
}

Test(registration, that_does_not_agree_is_refused_by_name)
{
	static const struct tensor shape[] = {{.name = "w", .dims_count = 2, .dims = {10, 70}},
		{.name = "b", .dims_count = 1, .dims = {10}}};
	static const struct tensor name[] = {{.name = "w", .dims_count = 2, .dims = {70, 10}},
		{.name = "c", .dims_count = 1, .dims = {10}}};
	struct rig *r = two_joined();
	cr_assert_eq(worker_bring(&r->w[0]), 0);
	worker_register(&r->w[1], shape, 2, 0, 2);
	rig_run(r);
	cr_assert_eq(refused(&r->w[1]), GP_REFUSAL_SHAPE_MISMATCH);
	cr_assert_eq(r->w[1].refuse.what, 0);
	cr_assert(strstr(r->w[1].refuse.text, "70x10") && strstr(r->w[1].refuse.text, "10x70"));
	worker_register(&r->w[1], name, 2, 0, 2);
	rig_run(r);
	cr_assert_eq(refused(&r->w[1]), GP_REFUSAL_UNKNOWN_TENSOR);
	cr_assert_eq(r->w[1].refuse.what, 1);
	worker_register(&r->w[1], model, 3, 0, 2);
	rig_run(r);
	cr_assert_eq(refused(&r->w[1]), GP_REFUSAL_TENSOR_COUNT);
	cr_assert_eq(r->w[1].refuse.expected, 2);
	cr_assert_eq(r->w[1].refuse.seen, 3);
	rig_free(r);
}

Test(registration, of_a_name_twice_is_refused)
{
	struct rig *r = two_joined();
	const struct tensor twice[] = {model[0], model[0]};
	worker_register(&r->w[0], twice, 2, 0, 2);
	rig_run(r);
	cr_assert_eq(refused(&r->w[0]), GP_REFUSAL_SHAPE_MISMATCH);
	rig_free(r);
}

Test(registration, of_a_name_twice_by_a_later_rank_is_refused)
{
	struct rig *r = two_joined();
	const struct tensor twice[] = {model[0], model[0]};
	cr_assert_eq(worker_bring(&r->w[0]), 0);
	worker_register(&r->w[1], twice, 2, 0, 2);
	rig_run(r);
	cr_assert_eq(refused(&r->w[1]), GP_REFUSAL_SHAPE_MISMATCH);
	cr_assert_eq(r->layouts_ready, 0);
	rig_free(r);
}

Test(registration, of_more_tensors_than_the_job_allows_is_refused)
{
	struct rig *r = rig_new();
	r->jobs[0].tensors_max = 1;
	rig_start(r);
	cr_assert_eq(worker_enter(&r->w[0], 0), 0);
	cr_assert_eq(worker_bring(&r->w[0]), GP_REFUSAL_OVER_QUOTA);
	cr_assert_eq(r->w[0].refuse.expected, 1);
	rig_free(r);
}

Test(registration, that_changes_its_count_is_refused)
{
	struct rig *r = two_joined();
	worker_register(&r->w[0], &model[0], 10, 9, 1);
	rig_run(r);
	worker_register(&r->w[0], &model[0], 1, 0, 1);
	rig_run(r);
	cr_assert_eq(refused(&r->w[0]), GP_REFUSAL_TENSOR_COUNT);
	cr_assert_eq(r->w[0].refuse.expected, 10);
	rig_free(r);
}

Test(registration, beyond_memory_max_is_refused_with_both_sizes)
{
	struct rig *r = rig_new();
	r->jobs[0].memory_max = 64 << 10;
	rig_start(r);
	cr_assert_eq(worker_enter(&r->w[0], 0), 0);
	cr_assert_eq(worker_enter(&r->w[1], 1), 0);
	cr_assert_eq(worker_bring(&r->w[0]), GP_REFUSAL_OVER_QUOTA);
	cr_assert_eq(r->w[0].refuse.expected, 64 << 10);
	cr_assert_gt(r->w[0].refuse.seen, 64 << 10);
	static const struct tensor giant = {
		.name = "g", .dims_count = 2, .dims = {UINT64_C(1) << 24, UINT64_C(1) << 24}};
	struct gp_join j = worker_join_of(&r->w[2], 0);
	j.flags = GP_JOIN_REPLACE;
	cr_assert_eq(worker_enter_as(&r->w[2], &j), 0);
	worker_register(&r->w[2], &giant, 1, 0, 1);
	rig_run(r);
	cr_assert_eq(refused(&r->w[2]), GP_REFUSAL_OVER_QUOTA);
	cr_assert_eq(rig_job(r).ready, false);
	rig_free(r);
}

Test(registration, begins_again_when_the_definer_leaves)
{
	struct rig *r = two_joined();
	cr_assert_eq(worker_bring(&r->w[0]), 0);
	worker_leave(&r->w[0]);
	rig_run(r);
	static const struct tensor one = {.name = "z", .dims_count = 1, .dims = {5}};
	worker_register(&r->w[1], &one, 1, 0, 1);
	rig_run(r);
	cr_assert_eq(refused(&r->w[1]), 0, "its list defines the job now");
	cr_assert_eq(worker_enter(&r->w[2], 0), 0);
	worker_register(&r->w[2], &one, 1, 0, 1);
	rig_run(r);
	struct gp_layout l;
	layout_of(&r->w[2], &l);
	cr_assert_eq(l.blocks_count, 1);
	worker_leave(&r->w[1]);
	worker_leave(&r->w[2]);
	rig_free(r);
}

Test(registration, is_for_home)
{
	struct rig *r = rig_new();
	r->cfg.cores_count = 2;
	rig_start(r);
	cr_assert_eq(worker_enter(&r->w[0], 0), 0);
	worker_attach(&r->w[0]);
	r->w[0].welcome.home = 1;
	worker_register(&r->w[0], model, TENSORS, 0, TENSORS);
	worker_leave(&r->w[0]);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_WRONG_CORE), 2);
	rig_free(r);
}

Test(registration, asks_for_entries_from_any_index)
{
	struct rig *r = rig_new();
	struct gp_layout l;
	rig_up(r);
	static const uint32_t firsts[] = {1, 2};
	for (uint32_t i = 0; i < 2; i++) {
		worker_register(&r->w[0], model, TENSORS, firsts[i], 0);
		rig_run(r);
		layout_of(&r->w[0], &l);
		cr_assert_eq(l.first, firsts[i]);
		cr_assert_eq(l.n, i == 0 ? 1 : 0);
	}
	rig_free(r);
}

Test(view, the_first_is_decided_when_all_have_registered)
{
	struct rig *r = rig_new();
	rig_up(r);
	const struct gp_job_view v = rig_job(r);
	cr_assert(v.ready && v.view == 1 && v.members == 2 && v.decision == 1);
	cr_assert_eq(v.state, GP_STATE_RUNNING);
	struct gp_commit_entry e;
	gp_wire_get_commit_entry(&seen_last(&r->w[1], GP_WIRE_COMMIT, 0)->m, 0, &e);
	cr_assert_eq(e.kind, GP_DECISION_VIEW);
	cr_assert_eq(e.flags, GP_COMMIT_MEMBER);
	cr_assert_eq(e.ranks, 2);
	cr_assert_eq(e.step, 1);
	cr_assert_eq(e.lowest, 0);
	rig_free(r);
}

Test(view, tensors_and_ranks_are_seen_from_outside)
{
	struct rig *r = rig_new();
	rig_up(r);
	struct gp_tensor_view t;
	struct gp_rank_view k;
	cr_assert(gp_engine_tensor_view(r->e, 0, 1, &t));
	cr_assert_str_eq(t.name, "b");
	cr_assert(t.first_block == 3 && t.blocks_count == 1 && t.elems == B_ELEMS);
	cr_assert_not(gp_engine_tensor_view(r->e, 0, 2, &t));
	cr_assert(gp_engine_rank_view(r->e, 0, 1, &k));
	cr_assert(k.joined && k.incarnation == r->w[1].incarnation && k.registered == 2);
	cr_assert(gp_addr_equal(&k.addr, gp_sim_addr(r->w[1].x[0])));
	cr_assert_not(gp_engine_rank_view(r->e, 0, 2, &k));
	rig_free(r);
}
