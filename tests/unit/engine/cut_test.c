// SPDX-License-Identifier: BSD-3-Clause
#include "driver.h"

#include <errno.h>
#include <stdlib.h>

#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

static void step_all(struct rig *r, uint32_t step)
{
	for (uint32_t i = 0; i < r->jobs[0].workers; i++)
		worker_push_all(&r->w[i], step, false);
	rig_run(r);
	cr_assert_eq(rig_job(r).generation, step);
}

static struct rig *trained(uint32_t steps, uint32_t cores, uint32_t interval)
{
	struct rig *r = rig_new();
	r->jobs[0].kind = GP_KIND_TRAIN;
	r->jobs[0].cut_interval = interval;
	r->cfg.cores_count = cores;
	rig_up(r);
	worker_push_all(&r->w[0], 0, false);
	rig_run(r);
	for (uint32_t step = 1; step <= steps; step++)
		step_all(r, step);
	return r;
}

static uint64_t digest_of(struct rig *r, uint32_t step)
{
	uint64_t d;
	cr_assert_eq(gp_engine_digest(r->e, 0, step, &d), 0);
	return d;
}

Test(cut, pins_a_generation_while_steps_go_on)
{
	struct rig *r = trained(2, 2, 0);
	cr_assert_eq(gp_registrar_cut(r->reg, 1), 0);
	rig_run(r);
	cr_assert_eq(r->cuts_ready, 1);
	cr_assert_eq(r->cut_step, 2);
	cr_assert(rig_job(r).cut_active);
	cr_assert_eq(gp_registrar_cut(r->reg, 1), -EBUSY);
	uint64_t before = digest_of(r, 2), d;
	for (uint32_t step = 3; step <= 12; step++)
		step_all(r, step);
	cr_assert_eq(digest_of(r, 2), before);
	worker_pull(&r->w[0], 0, 2, 2, false);
	rig_run(r);
	cr_assert(seen_result(&r->w[0], 2, 2), "a pinned generation can be pulled");
	gp_registrar_cut_release(r->reg, 1);
	rig_run(r);
	cr_assert_not(rig_job(r).cut_active);
	cr_assert_eq(gp_engine_digest(r->e, 0, 2, &d), -ENOENT);
	cr_assert_eq(gp_registrar_cut(r->reg, 1), 0);
	rig_run(r);
	cr_assert_eq(r->cut_step, 12);
	gp_registrar_cut_release(r->reg, 1);
	rig_free(r);
}

// ---- memory of a cut

#define LARGE_BLOCKS 60

static struct rig *large_rig(uint32_t cut_percent)
{
	static const struct tensor large = {
		.name = "w", .dims_count = 1, .dims = {LARGE_BLOCKS * BLOCK_ELEMS}};
	struct rig *r = rig_new();
	r->jobs[0].kind = GP_KIND_TRAIN;
	r->jobs[0].cut_percent = cut_percent;
	r->jobs[0].slots = 128;
	rig_start(r);
	for (uint32_t i = 0; i < 2; i++) {
		cr_assert_eq(worker_enter(&r->w[i], (uint16_t)i), 0);
		worker_attach(&r->w[i]);
	}
	for (uint32_t i = 0; i < 2; i++) {
		worker_register(&r->w[i], &large, 1, 0, 1);
		rig_run(r);
	}
	cr_assert(rig_job(r).ready);
	return r;
}

// One step of both workers; whether it was committed.
static bool large_step(struct rig *r, uint32_t step)
{
	for (uint32_t i = 0; i < 2; i++)
		for (uint32_t b = 0; b < LARGE_BLOCKS; b++) {
			float values[BLOCK_ELEMS];
			for (uint32_t e = 0; e < BLOCK_ELEMS; e++)
				values[e] = (float)((step + b + e + i) % 17);
			const struct gp_section s = {.block = b,
				.len = sizeof(values),
				.run = 1,
				.codec = GP_CODEC_F32,
				.weight = 1.0f};
			worker_push(&r->w[i], step, &s, values, false);
		}
	rig_run(r);
	return rig_job(r).generation == step;
}

// The digest of step 20 when a cut of step 1 lasts until the job has to wait for it, or until step
// 15.
static uint64_t large_run(uint32_t percent, bool *waited)
{
	struct rig *r = large_rig(percent);
	uint32_t step = 0;
	while (step <= 1)
		cr_assert(large_step(r, step++));
	cr_assert_eq(gp_registrar_cut(r->reg, 1), 0);
	rig_run(r);
	uint64_t cut = digest_of(r, 1);
	while (step <= 15 && large_step(r, step))
		step++;
	*waited = step <= 15;
	cr_assert_eq(rig_job(r).shortages > 0, *waited);
	cr_assert_eq(digest_of(r, 1), cut, "the cut is as it was");
	gp_registrar_cut_release(r->reg, 1);
	rig_run(r);
	cr_assert(!*waited || rig_job(r).generation == step, "what waited is committed");
	for (step = rig_job(r).generation + 1; step <= 20; step++)
		cr_assert(large_step(r, step), "step %u", step);
	uint64_t last = digest_of(r, 20);
	rig_free(r);
	return last;
}

// Less memory than a cut may need: completions wait for its end, and nothing else changes.
Test(cut, throttles_when_its_memory_runs_out)
{
	bool waited;
	uint64_t expected = large_run(0, &waited);
	cr_assert_not(waited, "100 percent always suffice");
	cr_assert_eq(large_run(100, &waited), expected);
	cr_assert_not(waited);
	cr_assert_eq(large_run(50, &waited), expected);
	cr_assert(waited);
	cr_assert_eq(large_run(1, &waited), expected);
	cr_assert(waited);
}

Test(cut, waits_for_the_units_of_its_step)
{
	struct rig *r = rig_new();
	r->jobs[0].kind = GP_KIND_TRAIN;
	r->jobs[0].atomicity = GP_ATOM_BLOCK;
	r->cfg.cores_count = 2;
	rig_up(r);
	worker_push_all(&r->w[0], 0, false);
	rig_run(r);
	for (uint32_t i = 0; i < 2; i++)
		worker_push_block(&r->w[i], 1, 2, false);
	rig_run(r);
	cr_assert_eq(gp_registrar_cut(r->reg, 1), 0);
	rig_run(r);
	cr_assert_eq(r->cuts_ready, 0, "block 2 is at step 1, the others are not");
	step_all(r, 1);
	cr_assert_eq(r->cuts_ready, 1);
	cr_assert_eq(r->cut_step, 1);
	step_all(r, 2);
	step_all(r, 3);
	(void)digest_of(r, 1);
	gp_registrar_cut_release(r->reg, 1);
	rig_free(r);
}

Test(cut, of_nothing_is_put_off)
{
	struct rig *r = rig_new();
	r->jobs[0].kind = GP_KIND_TRAIN;
	rig_start(r);
	cr_assert_eq(gp_registrar_cut(r->reg, 1), -EAGAIN);
	rig_free(r);
}

Test(cut, is_made_every_interval)
{
	struct rig *r = trained(0, 2, 3);
	for (uint32_t step = 1; step <= 9; step++) {
		step_all(r, step);
		cr_assert_eq(r->cuts_ready, step / 3);
		if (step % 3 == 0) {
			cr_assert_eq(r->cut_step, step);
			gp_registrar_cut_release(r->reg, 1);
			rig_run(r);
		}
	}
	rig_free(r);
}

Test(cut, release_waits_for_room_in_full_rings)
{
	struct rig *r = rig_new();
	r->cfg.ring_size = 64;
	r->jobs[0].kind = GP_KIND_TRAIN;
	rig_up(r);
	worker_push_all(&r->w[0], 0, false);
	rig_run(r);
	cr_assert_eq(gp_registrar_cut(r->reg, 1), 0);
	rig_run(r);
	cr_assert_eq(r->cuts_ready, 1);
	for (uint32_t i = 0; i < 60; i++)
		worker_register(&r->w[0], model, TENSORS, 0, TENSORS);
	rig_run(r);
	r->asleep = 1; // its ring stays full
	for (uint32_t i = 0; i < 60; i++)
		worker_register(&r->w[0], model, TENSORS, 0, TENSORS);
	rig_run(r);
	gp_registrar_cut_release(r->reg, 1);
	rig_run(r);
	r->asleep = 0;
	rig_run(r);
	cr_assert_not(rig_job(r).cut_active);
	rig_free(r);
}

// As docs/protocol.md 6 says, from values and with nothing of the engine.
static uint64_t digest_reference(uint32_t step, float (*values)[BLOCK_ELEMS])
{
	static const uint32_t idx_of[BLOCKS] = {0, 1, 2, 0};
	uint64_t sum = 0;
	for (uint32_t b = 0; b < BLOCKS; b++) {
		uint8_t bytes[16 + 4 * BLOCK_ELEMS];
		const uint32_t head[4] = {TENSOR_OF(b), idx_of[b], step, 0};
		memcpy(bytes, head, sizeof(head));
		for (uint32_t i = 0; i < model_elems(b); i++) {
			float v = values[b][i];
			if (v == 0.0f)
				v = 0.0f;
			memcpy(bytes + 16 + 4 * i, &v, 4);
		}
		sum += XXH3_64bits(bytes, 16 + 4 * model_elems(b));
	}
	return sum;
}

Test(digest, is_what_the_protocol_says_whatever_the_cores)
{
	float values[BLOCKS][BLOCK_ELEMS];
	for (uint32_t b = 0; b < BLOCKS; b++)
		for (uint32_t i = 0; i < model_elems(b); i++)
			values[b][i] = rig_value(0, 0, b, i);
	for (uint32_t cores = 1; cores <= 4; cores++) {
		struct rig *r = trained(0, cores, 0);
		cr_assert_eq(digest_of(r, 0), digest_reference(0, values), "%u cores", cores);
		uint64_t sum = 0, one = 0;
		for (uint32_t b = 0; b < BLOCKS; b++, sum += one)
			cr_assert_eq(gp_engine_block_digest(r->e, 0, b, 0, &one), 0);
		cr_assert_eq(sum, digest_of(r, 0));
		cr_assert_eq(gp_engine_block_digest(r->e, 0, BLOCKS, 0, &one), -ENOENT);
		cr_assert_eq(gp_engine_block_digest(r->e, 0, 0, 9, &one), -ENOENT);
		rig_free(r);
	}
}

// ---- restored generations

struct restored {
	float w[W_ELEMS], b[B_ELEMS], wv[W_ELEMS], bv[B_ELEMS];
	struct gp_restore_tensor t[TENSORS];
	struct gp_restore x;
};

static void restored_fill(struct restored *s, uint32_t step, float value)
{
	for (uint32_t i = 0; i < W_ELEMS; i++) {
		s->w[i] = value + (float)i;
		s->wv[i] = 0.5f;
	}
	for (uint32_t i = 0; i < B_ELEMS; i++) {
		s->b[i] = -value;
		s->bv[i] = 0.25f;
	}
	s->t[0] = (struct gp_restore_tensor){.name = "w",
		.dims_count = 2,
		.dims = model[0].dims,
		.values = s->w,
		.states = {s->wv}};
	s->t[1] = (struct gp_restore_tensor){.name = "b",
		.dims_count = 1,
		.dims = model[1].dims,
		.values = s->b,
		.states = {s->bv}};
	s->x = (struct gp_restore){
		.step = step, .decision = 40, .tensors_count = TENSORS, .tensors = s->t};
}

Test(restore, goes_on_from_the_step_with_its_state)
{
	struct rig *r = rig_new();
	struct restored s;
	restored_fill(&s, 100, 3.0f);
	r->jobs[0].kind = GP_KIND_TRAIN;
	r->jobs[0].recorded = true;
	r->cfg.cores_count = 3;
	rig_start(r);
	cr_assert_eq(gp_registrar_restore(r->reg, 9, &s.x), -ENOENT);
	cr_assert_eq(gp_registrar_restore(r->reg, 1, &s.x), 0);
	for (uint32_t i = 0; i < 2; i++) {
		cr_assert_eq(worker_enter(&r->w[i], (uint16_t)i), 0);
		cr_assert_eq(r->w[i].welcome.next_step, 101);
		cr_assert_eq(r->w[i].welcome.decision, 40);
		worker_attach(&r->w[i]);
	}
	for (uint32_t i = 0; i < 2; i++)
		cr_assert_eq(worker_bring(&r->w[i]), 0);
	rig_run(r);
	struct gp_layout l;
	gp_wire_get_layout(&seen_last(&r->w[1], GP_WIRE_LAYOUT, 0)->m, &l);
	cr_assert_eq(l.flags, GP_LAYOUT_INITIALISED);
	cr_assert_eq(gp_registrar_restore(r->reg, 1, &s.x), -EBUSY);
	worker_pull(&r->w[1], 3, 1, 100, false);
	worker_push_block(&r->w[0], 100, 0, true);
	rig_run(r);
	float got[BLOCK_ELEMS];
	result_values(seen_result(&r->w[1], 3, 100), got);
	cr_assert_eq(got[0], -3.0f);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_STALE), 1);
	step_all(r, 101);
	uint32_t elems;
	const float *v = gp_engine_block(r->e, 0, 3, 101, 1, &elems);
	float g = rig_value(0, 101, 3, 2) + rig_value(1, 101, 3, 2);
	float kept = 0.9f * 0.25f;
	cr_assert_eq(v[2], kept + g, "the momentum went on from the snapshot's");
	cr_assert_eq(r->decided_count, 2);
	cr_assert_eq(r->decided[0].number, 41);
	rig_free(r);
}

Test(restore, names_the_tensor_that_the_snapshot_lacks)
{
	struct rig *r = rig_new();
	struct restored s;
	restored_fill(&s, 100, 3.0f);
	s.t[1].name = "c";
	r->jobs[0].kind = GP_KIND_TRAIN;
	rig_start(r);
	cr_assert_eq(gp_registrar_restore(r->reg, 1, &s.x), 0);
	for (uint32_t i = 0; i < 2; i++)
		cr_assert_eq(worker_enter(&r->w[i], (uint16_t)i), 0);
	cr_assert_eq(worker_bring(&r->w[0]), GP_REFUSAL_UNKNOWN_TENSOR);
	cr_assert(strstr(r->w[0].refuse.text, "tensor b"), "%s", r->w[0].refuse.text);
	cr_assert_eq(worker_bring(&r->w[1]), 0, "it waits for who came first");
	cr_assert_not(rig_job(r).ready);
	worker_leave(&r->w[0]);
	rig_run(r);
	static const struct tensor others[] = {
		{.name = "w", .dims_count = 2, .dims = {70, 11}},
		{.name = "c", .dims_count = 1, .dims = {B_ELEMS}},
	};
	worker_register(&r->w[1], others, 1, 0, 1);
	rig_run(r);
	struct gp_refuse x;
	gp_wire_get_refuse(&seen_last(&r->w[1], GP_WIRE_REFUSE, 0)->m, &x);
	cr_assert_eq(x.reason, GP_REFUSAL_TENSOR_COUNT);
	cr_assert(x.expected == 2 && x.seen == 1);
	rig_free(r);
}

Test(restore, names_the_shape_that_the_snapshot_has)
{
	static const struct tensor others[] = {
		{.name = "w", .dims_count = 2, .dims = {70, 11}},
		{.name = "b", .dims_count = 1, .dims = {B_ELEMS}},
	};
	struct rig *r = rig_new();
	struct restored s;
	restored_fill(&s, 100, 3.0f);
	r->jobs[0].kind = GP_KIND_TRAIN;
	rig_start(r);
	cr_assert_eq(gp_registrar_restore(r->reg, 1, &s.x), 0);
	cr_assert_eq(worker_enter(&r->w[0], 0), 0);
	worker_register(&r->w[0], others, 2, 0, 2);
	rig_run(r);
	struct gp_refuse x;
	gp_wire_get_refuse(&seen_last(&r->w[0], GP_WIRE_REFUSE, 0)->m, &x);
	cr_assert_eq(x.reason, GP_REFUSAL_SHAPE_MISMATCH);
	cr_assert(strstr(x.text, "70x10") && strstr(x.text, "70x11"), "%s", x.text);
	rig_free(r);
}

static struct rig *standby(struct restored *s)
{
	struct rig *r = rig_new();
	r->cfg.standby = true;
	r->cfg.cores_count = 2;
	r->jobs[0].kind = GP_KIND_TRAIN;
	r->jobs[0].payload_max = RIG_PAYLOAD;
	rig_start(r);
	restored_fill(s, 10, 1.0f);
	cr_assert_eq(gp_registrar_restore(r->reg, 1, &s->x), 0);
	rig_run(r);
	struct gp_join j = worker_join_of(&r->w[0], GP_WIRE_RANK_NONE);
	j.flags = GP_JOIN_READER;
	cr_assert_eq(worker_enter_as(&r->w[0], &j), 0);
	worker_attach(&r->w[0]);
	cr_assert_eq(worker_bring(&r->w[0]), 0);
	return r;
}

static void expect_served(struct rig *r, uint32_t step, float value)
{
	float got[BLOCK_ELEMS];
	seen_clear(&r->w[0]);
	worker_pull(&r->w[0], 0, 2, GP_WIRE_STEP_NEWEST, false);
	worker_pull(&r->w[0], 1, 2, step, false);
	rig_run(r);
	for (uint32_t b = 0; b < BLOCKS; b++) {
		result_values(seen_result(&r->w[0], b, step), got);
		cr_assert_eq(got[0], b == 3 ? -value : value + 336.0f * (float)b);
	}
	cr_assert_eq(rig_job(r).state, GP_STATE_STANDBY);
}

Test(standby, serves_each_generation_that_reaches_it)
{
	struct restored s;
	struct rig *r = standby(&s);
	expect_served(r, 10, 1.0f);
	for (uint32_t step = 20; step <= 60; step += 10) {
		restored_fill(&s, step, (float)step);
		int rc = -EBUSY;
		for (uint32_t i = 0; i < 10 && rc == -EBUSY; i++) {
			rc = gp_registrar_restore(r->reg, 1, &s.x);
			rig_run(r);
		}
		cr_assert_eq(rc, 0);
		expect_served(r, step, (float)step);
	}
	rig_free(r);
}

static int served_next(struct rig *r, struct restored *s, uint32_t step)
{
	int rc = -EBUSY;
	restored_fill(s, step, (float)step);
	for (uint32_t i = 0; i < 10 && rc == -EBUSY; i++) {
		rc = gp_registrar_restore(r->reg, 1, &s->x);
		rig_run(r);
	}
	return rc;
}

// It has to join again, and is told then.
Test(standby, ends_readers_that_have_seen_a_later_generation)
{
	struct restored s;
	struct rig *r = standby(&s);
	cr_assert_eq(served_next(r, &s, 20), 0);
	expect_served(r, 20, 20.0f);
	cr_assert_eq(rig_job(r).readers, 1);
	cr_assert_eq(served_next(r, &s, 15), 0);
	cr_assert_eq(rig_job(r).readers, 0);
	rig_free(r);
}

Test(standby, leaves_memory_alone_that_a_sleeping_core_still_names)
{
	struct restored s;
	struct rig *r = standby(&s);
	r->asleep = 2;
	int rc = -EBUSY;
	for (uint32_t i = 0; i < 10 && rc == -EBUSY; i++) {
		restored_fill(&s, 20, 2.0f);
		rc = gp_registrar_restore(r->reg, 1, &s.x);
		rig_run(r);
	}
	cr_assert_eq(rc, 0, "one beside the one it serves");
	for (uint32_t i = 0; i < 10; i++) {
		restored_fill(&s, 30, 3.0f);
		cr_assert_eq(gp_registrar_restore(r->reg, 1, &s.x), -EBUSY);
		rig_run(r);
	}
	r->asleep = 0;
	rig_run(r);
	expect_served(r, 20, 2.0f);
	rig_free(r);
}

Test(standby, refuses_a_generation_of_other_tensors)
{
	struct restored s;
	struct rig *r = standby(&s);
	restored_fill(&s, 20, 2.0f);
	s.x.tensors_count = 1;
	int rc = -EBUSY;
	for (uint32_t i = 0; i < 10 && rc == -EBUSY; i++) {
		rc = gp_registrar_restore(r->reg, 1, &s.x);
		rig_run(r);
	}
	cr_assert_eq(rc, -EINVAL);
	expect_served(r, 10, 1.0f);
	rig_free(r);
}

Test(standby, drops_pulls_held_on_the_generation_before)
{
	struct restored s;
	struct rig *r = standby(&s);
	worker_pull(&r->w[0], 0, 2, 11, true);
	rig_run(r);
	int rc = -EBUSY;
	for (uint32_t i = 0; i < 10 && rc == -EBUSY; i++) {
		restored_fill(&s, 20, 2.0f);
		rc = gp_registrar_restore(r->reg, 1, &s.x);
		rig_run(r);
	}
	cr_assert_eq(rc, 0);
	expect_served(r, 20, 2.0f);
	rig_free(r);
}

static const struct gp_xport_ops *sent_by;
static uint32_t sent_by_reference;

static void spy_send(struct gp_xport *x, struct gp_frame *f)
{
	sent_by_reference += f->tail_len > 0;
	sent_by->send(x, f);
}

// A driver may refer to what it has sent until it sends more, which can be long after the memory of
// a generation was used again.
Test(standby, sends_no_reference_to_memory_that_the_next_generation_takes)
{
	struct restored s;
	struct rig *r = standby(&s);
	sent_by = r->core_x[0]->ops;
	struct gp_xport_ops spy = *sent_by;
	spy.send = spy_send;
	sent_by_reference = 0;
	r->core_x[0]->ops = &spy;
	expect_served(r, 10, 1.0f);
	r->core_x[0]->ops = sent_by;
	cr_assert_eq(sent_by_reference, 0);
	rig_free(r);
}

// Nobody trains here: a decision that is under way while the next generation comes would reach
// cores that run another job already.
Test(standby, decides_nothing_when_it_stops)
{
	struct restored s;
	struct rig *r = standby(&s);
	uint32_t decision = rig_job(r).decision;
	gp_registrar_stop(r->reg);
	rig_run(r);
	cr_assert_eq(rig_job(r).decision, decision);
	restored_fill(&s, 20, 2.0f);
	int rc = -EBUSY;
	for (uint32_t i = 0; i < 10 && rc == -EBUSY; i++) {
		rc = gp_registrar_restore(r->reg, 1, &s.x);
		rig_run(r);
	}
	cr_assert_eq(rc, 0);
	expect_served(r, 20, 2.0f);
	rig_free(r);
}

Test(cut, of_a_reduce_job_waits_for_its_first_result)
{
	struct rig *r = rig_new();
	rig_up(r);
	cr_assert_eq(gp_registrar_cut(r->reg, 1), -EAGAIN);
	for (uint32_t i = 0; i < 2; i++)
		worker_push_all(&r->w[i], 1, false);
	rig_run(r);
	cr_assert_eq(gp_registrar_cut(r->reg, 1), 0);
	rig_run(r);
	cr_assert_eq(r->cut_step, 1);
	gp_registrar_cut_release(r->reg, 1);
	rig_run(r);
	rig_free(r);
}

// Who was in a part of the last step only has not contributed to it.
Test(cut, tells_whose_contributions_are_in_it)
{
	struct rig *r = rig_new();
	r->jobs[0].atomicity = GP_ATOM_BLOCK;
	r->cfg.cores_count = 2;
	rig_up(r);
	for (uint32_t i = 0; i < 2; i++) {
		worker_push_all(&r->w[i], 1, false);
		worker_push_block(&r->w[i], 2, 0, false);
	}
	rig_run(r);
	worker_leave(&r->w[1]);
	rig_run(r);
	cr_assert_eq(gp_registrar_cut(r->reg, 1), 0); // of step 2, which has begun
	rig_run(r);
	for (uint32_t b = 1; b < BLOCKS; b++)
		worker_push_block(&r->w[0], 2, b, false);
	rig_run(r);
	cr_assert_eq(r->cuts_ready, 1);
	cr_assert_eq(r->cut_step, 2);
	cr_assert_eq(gp_engine_clock(r->e, 0, 0), 2);
	cr_assert_eq(gp_engine_clock(r->e, 0, 1), 1);
	gp_registrar_cut_release(r->reg, 1);
	rig_run(r);
	cr_assert_eq(gp_registrar_cut(r->reg, 1), 0); // of what is whole
	rig_run(r);
	cr_assert_eq(r->cuts_ready, 2);
	cr_assert_eq(gp_engine_clock(r->e, 0, 1), 1);
	gp_registrar_cut_release(r->reg, 1);
	rig_run(r);
	rig_free(r);
}
