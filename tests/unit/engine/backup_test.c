// SPDX-License-Identifier: BSD-3-Clause
//
// The release gate: nothing is out before the backup holds it, and what the backup holds is enough
// to go on in the middle of a step.
#include "gate_rig.h"

#include <errno.h>

static struct rig *up(uint8_t kind, uint32_t cores, uint8_t atomicity)
{
	struct rig *r = rig_new();
	r->jobs[0].kind = kind;
	r->jobs[0].optim =
		(struct gp_optim_params){.kind = GP_OPTIM_MOMENTUM, .lr = 0.5f, .momentum = 0.5f};
	r->jobs[0].atomicity = atomicity;
	r->jobs[0].replicated = true;
	r->cfg.cores_count = cores;
	rig_up(r);
	return r;
}

static void push(struct gate *g, uint32_t step, uint32_t first, uint32_t last)
{
	for (uint32_t w = 0; w < 2; w++)
		for (uint32_t b = first; b <= last; b++)
			worker_push_block(&g->r->w[w], step, b, true);
	turn(g);
}

static bool is_tentative(const struct seen *s)
{
	return (s->m.h.flags & GP_WIRE_F_TENTATIVE) != 0;
}

Test(backup, a_commit_is_out_when_it_was_released)
{
	for (uint32_t cores = 1; cores <= 3; cores++) {
		struct rig *r = up(GP_KIND_REDUCE, cores, GP_ATOM_STEP);
		struct gate *g = gate_of(r);
		push(g, 1, 0, 3);
		cr_assert_eq(rig_job(r).generation, 1, "open");
		close_gate(g);
		cr_assert_eq(g->base.generation, 1);
		cr_assert_eq(g->steps[0], 1);
		cr_assert_eq(g->count, 0);

		push(g, 2, 0, 3);
		cr_assert_eq(g->count, 1);
		cr_assert(g->decided[0].kind == GP_DECIDED_COMMIT && g->decided[0].step == 2);
		for (uint32_t w = 0; w < 2; w++) {
			worker_heartbeat(&r->w[w], 0, r->w[w].decision);
			worker_push_block(&r->w[w], 2, 0, true); // a late copy
			worker_pull(&r->w[w], 1, 1, 2, false);
		}
		turn(g);
		cr_assert_not(seen_commit(&r->w[0], GP_DECIDED_COMMIT, 0, 2));
		for (uint32_t b = 0; b < BLOCKS; b++)
			cr_assert(is_tentative(seen_result(&r->w[1], b, 2)));
		cr_assert_eq(rig_job(r).generation, 1);
		struct gp_heartbeat_reply hb;
		gp_wire_get_heartbeat_reply(
			&seen_last(&r->w[0], GP_WIRE_HEARTBEAT_REPLY, 0)->m, &hb);
		cr_assert_eq(hb.generation, 1);

		release(g, g->decided[0].number);
		cr_assert(seen_commit(&r->w[0], GP_DECIDED_COMMIT, 0, 2));
		cr_assert_eq(rig_job(r).generation, 2);
		worker_pull(&r->w[0], 1, 1, 2, false);
		turn(g);
		cr_assert_not(is_tentative(seen_result(&r->w[0], 1, 2)));
		cr_assert(gp_backup_gate(r->e, 0, false));
		push(g, 3, 0, 3);
		cr_assert_eq(rig_job(r).generation, 3, "open again");
		rig_free(r);
		free(g);
	}
}

Test(backup, what_waits_stays_when_the_gate_is_closed_anew)
{
	struct rig *r = up(GP_KIND_REDUCE, 2, GP_ATOM_TENSOR);
	struct gate *g = gate_of(r);
	push(g, 1, 0, 3);
	close_gate(g);
	push(g, 2, 0, 2);
	cr_assert_eq(g->count, 1);
	uint32_t waits = g->decided[0].number;
	close_gate(g); // the link was lost: the whole state again
	cr_assert_eq(g->base.decision, waits);
	cr_assert_eq(g->base.generation, 1);
	cr_assert(g->steps[0] == 2 && g->steps[1] == 1);
	cr_assert_not(seen_commit(&r->w[0], GP_DECIDED_COMMIT, 0, 2), "nobody holds it yet");
	struct gp_backup_block b;
	cr_assert(gp_backup_block(r->e, 0, 1, 2, &b) && b.weight == 2.0f);
	cr_assert(gp_backup_block(r->e, 0, 1, 1, &b), "the one before is there too");
	release(g, waits);
	cr_assert(seen_commit(&r->w[0], GP_DECIDED_COMMIT, 0, 2));
	cr_assert(gp_backup_gate(r->e, 0, false));
	push(g, 2, 3, 3);
	cr_assert_eq(rig_job(r).generation, 2);
	rig_free(r);
	free(g);
}

Test(backup, a_view_waits_its_turn)
{
	struct rig *r = up(GP_KIND_REDUCE, 2, GP_ATOM_STEP);
	struct gate *g = gate_of(r);
	close_gate(g);
	push(g, 1, 0, 3);
	worker_leave(&r->w[1]);
	turn(g);
	cr_assert_eq(g->count, 2);
	cr_assert_eq(g->decided[1].kind, GP_DECIDED_VIEW);
	cr_assert_eq(r->w[0].view, 1);
	release(g, g->decided[0].number);
	cr_assert(seen_commit(&r->w[0], GP_DECIDED_COMMIT, 0, 1));
	cr_assert_eq(r->w[0].view, 1);
	release(g, g->decided[1].number);
	cr_assert_eq(r->w[0].view, 2);
	cr_assert(gp_backup_gate(r->e, 0, false));
	turn(g);
	rig_free(r);
	free(g);
}

// Whether the worker was told that it is a member of the view.
static bool is_member(const struct worker *w, uint32_t view)
{
	bool member = false;
	for (uint32_t i = 0; i < seen_count(w, GP_WIRE_COMMIT); i++) {
		const struct gp_msg *m = &seen_last(w, GP_WIRE_COMMIT, i)->m;
		struct gp_commit commit;
		gp_wire_get_commit(m, &commit);
		for (uint32_t k = 0; k < commit.n; k++) {
			struct gp_commit_entry e;
			gp_wire_get_commit_entry(m, k, &e);
			member |= e.view == view && (e.flags & GP_COMMIT_MEMBER);
		}
	}
	return member;
}

Test(backup, a_view_that_waited_is_not_of_a_life_born_meanwhile)
{
	struct rig *r = up(GP_KIND_REDUCE, 2, GP_ATOM_STEP);
	struct gate *g = gate_of(r);
	close_gate(g);
	worker_leave(&r->w[1]);
	turn(g);
	cr_assert_eq(g->count, 1, "view 2, of the life of rank 0 that is now");
	struct gp_join j = worker_join_of(&r->w[2], 0);
	j.previous = r->w[0].incarnation;
	cr_assert_eq(worker_enter_as(&r->w[2], &j), 0);
	worker_attach(&r->w[2]);
	cr_assert_eq(worker_bring(&r->w[2]), 0);
	turn(g);
	release(g, g->decided[0].number);
	worker_heartbeat(&r->w[2], 0, 0);
	turn(g);
	cr_assert(is_member(&r->w[0], 2) || r->w[2].view == 2, "it is out");
	cr_assert_not(is_member(&r->w[2], 2));
	while (g->count > 0 && r->w[2].view != 3) {
		release(g, g->decided[g->count - 1].number);
		worker_heartbeat(&r->w[2], 0, 0);
		turn(g);
	}
	cr_assert(is_member(&r->w[2], 3));
	cr_assert(gp_backup_gate(r->e, 0, false));
	turn(g);
	rig_free(r);
	free(g);
}

Test(backup, a_late_layout_begins_with_a_base)
{
	struct rig *r = rig_new();
	r->jobs[0].replicated = true;
	rig_start(r);
	struct gate *g = gate_of(r);
	cr_assert(gp_backup_gate(r->e, 0, true));
	turn(g);
	cr_assert_eq(g->bases, 0);
	for (uint32_t i = 0; i < 2; i++) {
		cr_assert_eq(worker_enter(&r->w[i], (uint16_t)i), 0);
		worker_attach(&r->w[i]);
		cr_assert_eq(worker_bring(&r->w[i]), 0);
	}
	turn(g);
	cr_assert_eq(g->bases, 1);
	cr_assert_eq(g->base.generation, 0);
	cr_assert_eq(g->count, 1);
	cr_assert_eq(g->decided[0].kind, GP_DECIDED_VIEW);
	cr_assert_eq(r->w[0].view, 0, "the first view waits too");
	release(g, g->decided[0].number);
	cr_assert_eq(r->w[0].view, 1);
	rig_free(r);
	free(g);
}

// ---- going on from what the backup holds

struct image {
	float values[2][W_ELEMS + B_ELEMS]; // of the generation, and of the one after
	float state[2][W_ELEMS + B_ELEMS];
	float weights[2][BLOCKS];
	uint8_t ahead[BLOCKS];
};

static uint32_t place(uint32_t block)
{
	return block < 3 ? block * BLOCK_ELEMS : W_ELEMS;
}

static void image_read(
	struct image *im, const struct rig *r, uint32_t block, uint32_t step, uint32_t which)
{
	struct gp_backup_block b;
	cr_assert(gp_backup_block(r->e, 0, block, step, &b));
	memcpy(&im->values[which][place(block)], b.arrays[0], sizeof(float) * b.elems);
	if (b.arrays_count > 1)
		memcpy(&im->state[which][place(block)], b.arrays[1], sizeof(float) * b.elems);
	im->weights[which][block] = b.weight;
	im->ahead[block] = which == 1;
}

static struct image *image_of(struct gate *g)
{
	struct image *im = calloc(1, sizeof(*im));
	for (uint32_t u = 0; u < g->base.units_count; u++) {
		uint32_t first, n = gp_backup_unit_blocks(g->r->e, 0, u, &first);
		for (uint32_t b = first; b < first + n; b++)
			for (uint32_t s = g->base.generation; s <= g->steps[u]; s++)
				image_read(im, g->r, b, s, s - g->base.generation);
	}
	return im;
}

static struct rig *promoted(const struct image *im, const struct gp_backup_base *base,
	const struct gp_job_config *cfg, uint32_t cores)
{
	struct rig *r = rig_new();
	r->jobs[0] = *cfg;
	r->cfg.standby = true;
	r->cfg.cores_count = cores;
	rig_start(r);
	struct gp_restore_tensor t[TENSORS];
	for (uint32_t i = 0; i < TENSORS; i++) {
		uint32_t at = i == 0 ? 0 : W_ELEMS, block = i == 0 ? 0 : 3;
		t[i] = (struct gp_restore_tensor){.name = model[i].name,
			.dims_count = model[i].dims_count,
			.dims = model[i].dims,
			.values = &im->values[0][at],
			.weights = &im->weights[0][block],
			.ahead = &im->ahead[block],
			.ahead_values = &im->values[1][at],
			.ahead_weights = &im->weights[1][block]};
		if (cfg->kind == GP_KIND_TRAIN) {
			t[i].states[0] = &im->state[0][at];
			t[i].ahead_states[0] = &im->state[1][at];
		}
	}
	const struct gp_restore x = {.step = base->generation,
		.decision = base->decision,
		.block_elems = BLOCK_ELEMS,
		.tensors_count = TENSORS,
		.tensors = t};
	cr_assert_eq(gp_registrar_restore(r->reg, 1, &x), 0);
	rig_run(r);
	cr_assert_eq(gp_registrar_promote(r->reg, 100), 0);
	for (uint32_t i = 0; i < 2; i++) {
		cr_assert_eq(worker_enter(&r->w[i], (uint16_t)i), 0);
		worker_attach(&r->w[i]);
		cr_assert_eq(worker_bring(&r->w[i]), 0);
	}
	rig_run(r);
	return r;
}

static uint64_t digest_of(const struct rig *r)
{
	uint64_t digest = 0;
	cr_assert_eq(gp_engine_digest(r->e, 0, rig_job(r).generation, &digest), 0);
	return digest;
}

static void goes_on_in_the_middle_of_a_step(uint8_t kind, uint32_t cores, uint8_t atomicity)
{
	struct rig *a = up(kind, cores, atomicity);
	struct gate *g = gate_of(a);
	uint32_t first = kind == GP_KIND_TRAIN ? 0 : 1;
	for (uint32_t s = first; s <= 3; s++)
		push(g, s, 0, 3);
	push(g, 4, 3, 3); // tensor b is a step ahead
	close_gate(g);
	struct image *im = image_of(g);
	cr_assert(im->ahead[3] && !im->ahead[0]);

	struct gp_job_config cfg = a->jobs[0];
	cr_assert(gp_backup_gate(a->e, 0, false));
	push(g, 4, 0, 2);
	push(g, 5, 0, 3);
	cr_assert_eq(rig_job(a).generation, 5);
	uint64_t digest = digest_of(a);
	rig_free(a);

	struct rig *b = promoted(im, &g->base, &cfg, cores);
	struct gate *h = gate_of(b);
	cr_assert_eq(b->w[0].welcome.next_step, 4);
	cr_assert_eq(rig_job(b).generation, 3);
	push(h, 4, 3, 3); // sent again: it counted
	cr_assert_not(is_tentative(seen_result(&b->w[1], 3, 4)));
	push(h, 4, 0, 2);
	cr_assert_eq(rig_job(b).generation, 4);
	push(h, 5, 0, 3);
	cr_assert_eq(digest_of(b), digest);
	rig_free(b);
	free(im);
	free(g);
	free(h);
}

Test(backup, who_is_promoted_goes_on_in_the_middle_of_a_step)
{
	for (uint32_t cores = 1; cores <= 3; cores++) {
		goes_on_in_the_middle_of_a_step(GP_KIND_REDUCE, cores, GP_ATOM_TENSOR);
		goes_on_in_the_middle_of_a_step(GP_KIND_TRAIN, cores, GP_ATOM_TENSOR);
		goes_on_in_the_middle_of_a_step(GP_KIND_TRAIN, cores, GP_ATOM_BLOCK);
	}
}

Test(backup, blocks_too_large_for_the_paths_are_refused)
{
	struct rig *r = rig_new();
	r->cfg.standby = true;
	rig_start(r);
	static const float values[W_ELEMS];
	const struct gp_restore_tensor t[TENSORS] = {{.name = "w",
							     .dims_count = model[0].dims_count,
							     .dims = model[0].dims,
							     .values = values},
		{.name = "b",
			.dims_count = model[1].dims_count,
			.dims = model[1].dims,
			.values = values}};
	const struct gp_restore x = {
		.step = 3, .block_elems = 2208, .tensors_count = TENSORS, .tensors = t};
	cr_assert_eq(gp_registrar_restore(r->reg, 1, &x), -EINVAL);
	rig_free(r);
}

Test(backup, the_thread_is_woken_once)
{
	struct rig *r = up(GP_KIND_REDUCE, 1, GP_ATOM_STEP);
	struct gate *g = gate_of(r);
	struct gp_core *c = gp_engine_core(r->e, 0);
	cr_assert(gp_backup_sleep(r->e));
	cr_assert_not(gp_core_backup_wake(c));
	cr_assert(gp_backup_gate(r->e, 0, true));
	rig_run(r);
	cr_assert(gp_core_backup_wake(c));
	cr_assert_not(gp_core_backup_wake(c));
	cr_assert_not(gp_backup_sleep(r->e), "the base is in the ring");
	turn(g);
	cr_assert_eq(g->bases, 1);
	cr_assert(gp_backup_sleep(r->e));
	rig_free(r);
	free(g);
}
