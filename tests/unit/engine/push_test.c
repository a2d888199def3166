// SPDX-License-Identifier: BSD-3-Clause
#include "driver.h"

#include <gp_watch.h>
#include <math.h>

static struct rig *up(uint32_t workers, uint8_t kind, uint8_t atomicity)
{
	struct rig *r = rig_new();
	r->jobs[0].workers = workers;
	r->jobs[0].kind = kind;
	r->jobs[0].atomicity = atomicity;
	rig_up(r);
	return r;
}

static void push_elems(struct worker *w, uint32_t step, uint32_t block, float value, float weight)
{
	float values[BLOCK_ELEMS];
	for (uint32_t i = 0; i < model_elems(block); i++)
		values[i] = value;
	const struct gp_section s = {.block = block,
		.len = (uint16_t)(4 * model_elems(block)),
		.run = 1,
		.codec = GP_CODEC_F32,
		.weight = weight};
	worker_push(w, step, &s, values, true);
}

static void zeros(struct worker *w, uint32_t step, uint32_t block, uint32_t run)
{
	const struct gp_section s = {.block = block, .run = (uint16_t)run, .weight = 1.0f};
	worker_push(w, step, &s, NULL, true);
}

Test(push, results_are_tentative_until_the_commit)
{
	struct rig *r = up(2, GP_KIND_REDUCE, GP_ATOM_STEP);
	float sum[BLOCK_ELEMS], got[BLOCK_ELEMS];
	for (uint32_t b = 0; b < BLOCKS - 1; b++)
		for (uint32_t i = 0; i < 2; i++)
			worker_push_block(&r->w[i], 1, b, true);
	rig_run(r);
	const struct seen *s = seen_result(&r->w[1], 0, 1);
	cr_assert(s);
	cr_assert(s->m.h.flags & GP_WIRE_F_TENTATIVE);
	cr_assert_eq(s->m.h.view, 1);
	struct gp_section sec;
	gp_wire_get_section(&s->m, 0, &sec);
	cr_assert_eq(sec.weight, 2.0f);
	result_values(s, got);
	reference_sum(sum, 2, 1, 0);
	cr_assert_eq(memcmp(got, sum, sizeof(sum)), 0);
	cr_assert_not(seen_commit(&r->w[0], GP_DECISION_COMMIT, 0, 1));
	cr_assert_eq(rig_job(r).generation, 0);
	for (uint32_t i = 0; i < 2; i++)
		worker_push_block(&r->w[i], 1, BLOCKS - 1, true);
	rig_run(r);
	cr_assert(seen_commit(&r->w[0], GP_DECISION_COMMIT, 0, 1));
	cr_assert(seen_commit(&r->w[1], GP_DECISION_COMMIT, 0, 1));
	cr_assert_eq(rig_job(r).generation, 1);
	rig_free(r);
}

Test(push, without_want_gets_no_result)
{
	struct rig *r = up(2, GP_KIND_REDUCE, GP_ATOM_STEP);
	worker_push_all(&r->w[0], 1, true);
	worker_push_all(&r->w[1], 1, false);
	rig_run(r);
	cr_assert_eq(seen_count(&r->w[0], GP_WIRE_RESULT), BLOCKS);
	cr_assert_eq(seen_count(&r->w[1], GP_WIRE_RESULT), 0);
	rig_free(r);
}

Test(push, sums_in_rank_order_whatever_order_contributions_come_in)
{
	static const uint32_t orders[6][3] = {
		{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
	struct rig *r = up(3, GP_KIND_REDUCE, GP_ATOM_STEP);
	float sum[BLOCK_ELEMS], got[BLOCK_ELEMS];
	for (uint32_t step = 1; step <= 6; step++) {
		for (uint32_t i = 0; i < 3; i++) {
			worker_push_all(&r->w[orders[step - 1][i]], step, true);
			rig_run(r);
		}
		for (uint32_t b = 0; b < BLOCKS; b++) {
			reference_sum(sum, 3, step, b);
			result_values(seen_result(&r->w[0], b, step), got);
			cr_assert_eq(memcmp(got, sum, 4 * model_elems(b)), 0, "step %u block %u",
				step, b);
		}
	}
	rig_free(r);
}

Test(push, sums_1_to_8_workers_bit_for_bit)
{
	for (uint32_t n = 1; n <= 8; n++) {
		struct rig *r = up(n, GP_KIND_REDUCE, GP_ATOM_TENSOR);
		float sum[BLOCK_ELEMS], got[BLOCK_ELEMS];
		for (uint32_t i = 0; i < n; i++)
			worker_push_all(&r->w[n - 1 - i], 1, true);
		rig_run(r);
		for (uint32_t b = 0; b < BLOCKS; b++) {
			reference_sum(sum, n, 1, b);
			result_values(seen_result(&r->w[n - 1], b, 1), got);
			cr_assert_eq(memcmp(got, sum, 4 * model_elems(b)), 0, "%u workers", n);
		}
		rig_free(r);
	}
}

Test(push, a_mean_divides_by_the_sum_of_weights)
{
	struct rig *r = rig_new();
	r->jobs[0].mean = true;
	rig_up(r);
	for (uint32_t b = 0; b < BLOCKS; b++) {
		push_elems(&r->w[0], 1, b, 3.0f, 1.0f);
		push_elems(&r->w[1], 1, b, 1.0f, 0.5f);
	}
	rig_run(r);
	float got[BLOCK_ELEMS];
	result_values(seen_result(&r->w[0], 0, 1), got);
	cr_assert_eq(got[0], 4.0f / 1.5f);
	struct gp_section s;
	gp_wire_get_section(&seen_result(&r->w[0], 0, 1)->m, 0, &s);
	cr_assert_eq(s.weight, 1.5f);
	rig_free(r);
}

Test(push, weights_that_overflow_leave_a_readable_result)
{
	struct rig *r = up(2, GP_KIND_REDUCE, GP_ATOM_STEP);
	for (uint32_t b = 0; b < BLOCKS; b++)
		for (uint32_t i = 0; i < 2; i++)
			push_elems(&r->w[i], 1, b, 1.0f, 3e38f);
	rig_run(r);
	cr_assert_eq(seen_count(&r->w[0], GP_WIRE_RESULT), BLOCKS);
	rig_free(r);
}

Test(push, codecs_meet_in_one_slot)
{
	struct rig *r = up(4, GP_KIND_REDUCE, GP_ATOM_STEP);
	float got[B_ELEMS];
	uint16_t half[B_ELEMS];
	for (uint32_t b = 0; b < BLOCKS - 1; b++)
		for (uint32_t i = 0; i < 4; i++)
			zeros(&r->w[i], 1, b, 1);
	for (uint32_t i = 0; i < B_ELEMS; i++)
		half[i] = 0x3f80; // 1.0
	struct gp_section s = {
		.block = 3, .len = sizeof(half), .run = 1, .codec = GP_CODEC_BF16, .weight = 1};
	worker_push(&r->w[2], 1, &s, half, true);
	const struct {
		uint16_t count, index[3];
		float value[3];
	} top = {3, {0, 4, 9}, {10.0f, 20.0f, 30.0f}};
	s.len = sizeof(top);
	s.codec = GP_CODEC_TOPK;
	worker_push(&r->w[1], 1, &s, &top, true);
	push_elems(&r->w[0], 1, 3, 0.25f, 1.0f);
	zeros(&r->w[3], 1, 3, 1);
	rig_run(r);
	result_values(seen_result(&r->w[3], 3, 1), got);
	for (uint32_t i = 0; i < B_ELEMS; i++) {
		float t = i == 0 ? 10.0f : i == 4 ? 20.0f : i == 9 ? 30.0f : 0.0f;
		cr_assert_eq(got[i], 0.25f + t + 1.0f, "element %u", i);
	}
	cr_assert_eq(rig_job(r).generation, 1);
	rig_free(r);
}

Test(push, a_run_of_zeros_contributes_to_every_block_of_it)
{
	struct rig *r = rig_new();
	r->cfg.cores_count = 2;
	rig_up(r);
	for (uint32_t i = 0; i < 2; i++) {
		zeros(&r->w[i], 1, 0, 2);
		zeros(&r->w[i], 1, 1, 2);
	}
	rig_run(r);
	cr_assert_eq(rig_job(r).generation, 1);
	cr_assert_eq(seen_count(&r->w[0], GP_WIRE_RESULT), BLOCKS);
	rig_free(r);
}

Test(push, repeated_counts_once)
{
	struct rig *r = up(2, GP_KIND_REDUCE, GP_ATOM_STEP);
	float sum[BLOCK_ELEMS], got[BLOCK_ELEMS];
	worker_push_all(&r->w[0], 1, true);
	r->w[0].packet[0] -= BLOCKS; // the network repeats the same datagrams
	worker_push_all(&r->w[0], 1, true);
	worker_push_all(&r->w[0], 1, true); // the worker sends them again
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_PUSH), BLOCKS);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_PUSH_DUPLICATE), 2 * BLOCKS);
	cr_assert_eq(seen_count(&r->w[0], GP_WIRE_RESULT), 0);
	worker_push_all(&r->w[1], 1, true);
	rig_run(r);
	for (uint32_t b = 0; b < BLOCKS; b++) {
		reference_sum(sum, 2, 1, b);
		result_values(seen_result(&r->w[0], b, 1), got);
		cr_assert_eq(memcmp(got, sum, 4 * model_elems(b)), 0);
	}
	rig_free(r);
}

Test(push, again_after_completion_and_after_the_commit_gets_the_result)
{
	struct rig *r = up(2, GP_KIND_REDUCE, GP_ATOM_STEP);
	for (uint32_t i = 0; i < 2; i++)
		worker_push_block(&r->w[i], 1, 0, true);
	rig_run(r);
	seen_clear(&r->w[0]);
	worker_push_block(&r->w[0], 1, 0, true);
	rig_run(r);
	const struct seen *s = seen_result(&r->w[0], 0, 1);
	cr_assert(s && (s->m.h.flags & GP_WIRE_F_TENTATIVE));
	for (uint32_t i = 0; i < 2; i++)
		worker_push_all(&r->w[i], 1, true);
	rig_run(r);
	seen_clear(&r->w[0]);
	worker_push_block(&r->w[0], 1, 0, true);
	rig_run(r);
	s = seen_result(&r->w[0], 0, 1);
	cr_assert(s && !(s->m.h.flags & GP_WIRE_F_TENTATIVE), "final after the commit");
	rig_free(r);
}

Test(push, is_acknowledged_by_packet_number)
{
	struct rig *r = up(2, GP_KIND_REDUCE, GP_ATOM_STEP);
	worker_push_block(&r->w[0], 1, 0, false);
	r->w[0].packet[0]++; // one that gets lost
	worker_push_block(&r->w[0], 1, 1, false);
	rig_run(r);
	struct gp_ack ack;
	gp_wire_get_ack(&seen_last(&r->w[0], GP_WIRE_ACK, 0)->m, &ack);
	uint64_t last = r->w[0].packet[0];
	cr_assert_eq(ack.largest, last);
	cr_assert_eq(ack.flags, 1);
	cr_assert_eq(ack.bits & 3, 2, "the one before is missing, the one before that accepted");
	rig_free_busy(r);
}

Test(push, a_bad_payload_is_refused_whole)
{
	struct rig *r = up(2, GP_KIND_REDUCE, GP_ATOM_STEP);
	struct worker *w = &r->w[0];
	struct {
		float b[B_ELEMS];
		uint16_t count, index[3];
		float value[3];
	} body = {.count = 3, .index = {5, 5, 9}};
	const struct gp_section s[] = {
		{.block = 3, .len = sizeof(body.b), .run = 1, .codec = GP_CODEC_F32, .weight = 1},
		{.block = 2, .len = 20, .run = 1, .codec = GP_CODEC_TOPK, .weight = 1},
	};
	struct gp_header h = worker_header(w, 0, GP_WIRE_PUSH);
	h.step = 1;
	h.sections = 2;
	worker_send(w, 0, &h, s, &body, sizeof(body));
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_BAD_PAYLOAD), 1);
	struct gp_refuse x;
	gp_wire_get_refuse(&seen_last(w, GP_WIRE_REFUSE, 0)->m, &x);
	cr_assert_eq(x.reason, GP_REFUSAL_BAD_PAYLOAD);
	cr_assert_eq(x.what, 2);
	worker_push_block(w, 1, 3, false);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_PUSH), 1, "its first section was not applied");
	rig_free_busy(r);
}

Test(push, beyond_the_slots_is_busy_and_admitted_later)
{
	struct rig *r = rig_new();
	r->jobs[0].slots = 2;
	rig_up(r);
	worker_push_all(&r->w[0], 1, true);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_PUSH), 2);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_PUSH_BUSY), 2);
	const struct seen *busy = seen_last(&r->w[0], GP_WIRE_BUSY, 0);
	struct gp_section s;
	gp_wire_get_section(&busy->m, 0, &s);
	cr_assert_eq(s.block, 3);
	cr_assert_eq(gp_wire_get_u64(&busy->m), r->w[0].packet[0]);
	for (uint32_t b = 0; b < 2; b++)
		worker_push_block(&r->w[1], 1, b, true);
	rig_run(r);
	for (uint32_t b = 2; b < BLOCKS; b++)
		for (uint32_t i = 0; i < 2; i++)
			worker_push_block(&r->w[i], 1, b, true);
	rig_run(r);
	cr_assert_eq(rig_job(r).generation, 1);
	rig_free(r);
}

Test(push, opposite_orders_do_not_deadlock_on_one_slot)
{
	struct rig *r = rig_new();
	r->jobs[0].slots = 1;
	rig_up(r);
	for (uint32_t turn = 0; turn < 2 * BLOCKS && rig_job(r).generation == 0; turn++) {
		for (uint32_t b = 0; b < BLOCKS; b++) {
			worker_push_block(&r->w[0], 1, b, true);
			worker_push_block(&r->w[1], 1, BLOCKS - 1 - b, true);
		}
		rig_run(r);
	}
	cr_assert_eq(rig_job(r).generation, 1);
	rig_free(r);
}

Test(push, too_many_steps_ahead_is_put_off)
{
	struct rig *r = up(2, GP_KIND_REDUCE, GP_ATOM_STEP);
	static const uint32_t steps[] = {4, 1000, INT32_MAX};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(steps); i++)
		worker_push_block(&r->w[0], steps[i], 0, false);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_TOO_EARLY), GP_ARRAY_SIZE(steps));
	rig_free(r);
}

Test(push, from_before_the_history_of_the_job_is_stale)
{
	struct rig *r = up(2, GP_KIND_REDUCE, GP_ATOM_STEP);
	static const uint32_t steps[] = {0, UINT32_MAX, UINT32_C(1) << 31 | 5};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(steps); i++)
		worker_push_block(&r->w[0], steps[i], 0, true);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_STALE), GP_ARRAY_SIZE(steps));
	struct gp_refuse x;
	gp_wire_get_refuse(&seen_last(&r->w[0], GP_WIRE_REFUSE, 0)->m, &x);
	cr_assert_eq(x.reason, GP_REFUSAL_STALE);
	rig_free(r);
}

Test(push, of_another_view_is_told_the_decision)
{
	struct rig *r = up(2, GP_KIND_REDUCE, GP_ATOM_STEP);
	r->w[0].view = 2;
	worker_push_block(&r->w[0], 1, 0, false);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_OTHER_VIEW), 1);
	const struct seen *s = seen_last(&r->w[0], GP_WIRE_ACK, 0);
	cr_assert_eq(s->m.h.decision, 1);
	struct gp_ack ack;
	gp_wire_get_ack(&s->m, &ack);
	cr_assert_eq(ack.flags, 0, "not accepted");
	rig_free(r);
}

Test(push, before_the_layout_is_not_ready)
{
	struct rig *r = rig_new();
	rig_start(r);
	cr_assert_eq(worker_enter(&r->w[0], 0), 0);
	worker_push_block(&r->w[0], 1, 0, false);
	worker_pull(&r->w[0], 0, 1, 1, false);
	worker_barrier(&r->w[0], 1);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_NOT_READY), 3);
	rig_free(r);
}

Test(push, of_unknown_blocks_and_other_cores_is_refused)
{
	struct rig *r = rig_new();
	r->cfg.cores_count = 2;
	rig_up(r);
	struct worker *w = &r->w[0];
	static const struct gp_section s[] = {
		{.block = 4, .run = 1, .weight = 1},
		{.block = UINT32_MAX, .run = 1, .weight = 1},
		{.block = 0, .run = 3, .weight = 1},
		{.block = 0, .run = UINT16_MAX, .weight = 1},
		{.block = 1, .run = 1, .weight = 1},
	};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(s); i++) {
		struct gp_header h = worker_header(w, 0, GP_WIRE_PUSH);
		h.step = 1;
		h.sections = 1;
		worker_send(w, 0, &h, &s[i], NULL, 0);
	}
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_UNKNOWN_BLOCK), 4);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_WRONG_CORE), 1);
	rig_free(r);
}

Test(push, of_a_reader_is_not_allowed)
{
	struct rig *r = rig_new();
	rig_up(r);
	struct gp_join j = worker_join_of(&r->w[3], GP_WIRE_RANK_NONE);
	j.flags = GP_JOIN_READER;
	cr_assert_eq(worker_enter_as(&r->w[3], &j), 0);
	const struct gp_section s = {.block = 0, .run = 1, .weight = 1};
	worker_push(&r->w[3], 1, &s, NULL, false);
	worker_barrier(&r->w[3], 1);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_NOT_ALLOWED), 2);
	rig_free(r);
}

Test(push, after_stop_is_refused_and_the_step_in_hand_ends)
{
	struct rig *r = up(2, GP_KIND_REDUCE, GP_ATOM_STEP);
	worker_push_all(&r->w[0], 1, true);
	rig_run(r);
	gp_registrar_stop(r->reg);
	rig_run(r);
	worker_push_all(&r->w[1], 1, true);
	rig_run(r);
	cr_assert_eq(rig_job(r).generation, 1);
	cr_assert_eq(rig_job(r).state, GP_STATE_STOPPING);
	worker_push_block(&r->w[0], 2, 0, false);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_STOPPING), 1);
	cr_assert_eq(worker_enter(&r->w[2], 0), GP_REFUSAL_STOPPING);
	rig_free(r);
}

Test(push, a_block_may_not_pass_the_step_of_the_others)
{
	// One rank, small units: nothing but the server's own care keeps a rank from going on with
	// block 0 while block 1 has not begun.
	struct rig *r = up(1, GP_KIND_REDUCE, GP_ATOM_BLOCK);
	for (uint32_t step = 1; step <= 5; step++) {
		worker_push_block(&r->w[0], step, 0, true);
		rig_run(r);
	}
	cr_assert_eq(rig_job(r).generation, 0);
	cr_assert(seen_commit(&r->w[0], GP_DECISION_COMMIT, 0, 1));
	cr_assert_not(seen_commit(&r->w[0], GP_DECISION_COMMIT, 0, 2));
	for (uint32_t step = 1; step <= 2; step++) {
		for (uint32_t b = 1; b < BLOCKS; b++)
			worker_push_block(&r->w[0], step, b, true);
		rig_run(r);
	}
	cr_assert_eq(rig_job(r).generation, 2, "what came early counts when its turn is there");
	rig_free(r);
}

Test(push, the_lowest_rank_alone_gives_the_initial_values)
{
	struct rig *r = up(2, GP_KIND_TRAIN, GP_ATOM_STEP);
	worker_push_block(&r->w[1], 0, 0, true);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_NOT_ALLOWED), 1);
	worker_push_all(&r->w[0], 0, true);
	rig_run(r);
	const struct gp_job_view v = rig_job(r);
	cr_assert(v.initialised && v.generation == 0);
	float got[BLOCK_ELEMS];
	for (uint32_t b = 0; b < BLOCKS; b++) {
		worker_pull(&r->w[1], b, 1, 0, false);
		rig_run(r);
		result_values(seen_result(&r->w[1], b, 0), got);
		for (uint32_t i = 0; i < model_elems(b); i++)
			cr_assert_eq(got[i], rig_value(0, 0, b, i));
	}
	rig_free(r);
}

Test(push, momentum_follows_plain_loops)
{
	struct rig *r = rig_new();
	r->jobs[0].kind = GP_KIND_TRAIN;
	r->jobs[0].mean = true;
	r->cfg.cores_count = 3;
	rig_up(r);
	float w[BLOCKS][BLOCK_ELEMS], v[BLOCKS][BLOCK_ELEMS] = {{0}}, g[BLOCK_ELEMS];
	worker_push_all(&r->w[0], 0, true);
	rig_run(r);
	for (uint32_t b = 0; b < BLOCKS; b++)
		for (uint32_t i = 0; i < model_elems(b); i++)
			w[b][i] = rig_value(0, 0, b, i);
	for (uint32_t step = 1; step <= 5; step++) {
		for (uint32_t i = 0; i < 2; i++)
			worker_push_all(&r->w[i], step, true);
		rig_run(r);
		for (uint32_t b = 0; b < BLOCKS; b++) {
			uint32_t elems;
			reference_sum(g, 2, step, b);
			for (uint32_t i = 0; i < model_elems(b); i++) {
				float mean = g[i] / 2.0f;
				float kept = 0.9f * v[b][i];
				v[b][i] = kept + mean;
				float change = 0.1f * v[b][i];
				w[b][i] = w[b][i] - change;
			}
			const float *got = gp_engine_block(r->e, 0, b, step, 0, &elems);
			cr_assert(got && elems == model_elems(b));
			cr_assert_eq(memcmp(got, w[b], 4 * elems), 0, "step %u block %u", step, b);
			got = gp_engine_block(r->e, 0, b, step, 1, &elems);
			cr_assert_eq(memcmp(got, v[b], 4 * elems), 0, "momentum");
		}
	}
	rig_free(r);
}

Test(push, units_commit_on_their_own)
{
	struct rig *r = rig_new();
	r->jobs[0].atomicity = GP_ATOM_TENSOR;
	r->cfg.cores_count = 2;
	rig_up(r);
	for (uint32_t i = 0; i < 2; i++)
		worker_push_block(&r->w[i], 1, 3, true);
	rig_run(r);
	cr_assert(seen_commit(&r->w[0], GP_DECISION_COMMIT, 1, 1), "tensor b is whole");
	for (uint32_t b = 0; b < 2; b++)
		for (uint32_t i = 0; i < 2; i++)
			worker_push_block(&r->w[i], 1, b, true);
	rig_run(r);
	cr_assert_not(seen_commit(&r->w[0], GP_DECISION_COMMIT, 0, 1), "w lacks a block");
	for (uint32_t i = 0; i < 2; i++)
		worker_push_block(&r->w[i], 1, 2, true);
	rig_run(r);
	cr_assert(seen_commit(&r->w[0], GP_DECISION_COMMIT, 0, 1));
	cr_assert_eq(rig_job(r).generation, 1);
	rig_free(r);
}

Test(push, an_empty_version_pool_defers_and_recovers)
{
	struct rig *r = up(1, GP_KIND_REDUCE, GP_ATOM_STEP);
	r->no_grace = true;
	uint32_t step = 1;
	for (; step < 20; step++) {
		worker_push_all(&r->w[0], step, true);
		rig_run(r);
		if (rig_job(r).generation != step)
			break;
	}
	cr_assert_lt(step, 20, "no grace period ends, so the versions run out");
	cr_assert_gt(RIG_COUNT(r, completions_deferred), 0);
	cr_assert_gt(gp_engine_grace_waits(r->e), 0, "control is told that it should hurry");
	r->no_grace = false;
	rig_run(r);
	cr_assert_eq(rig_job(r).generation, step);
	uint32_t waits = gp_engine_grace_waits(r->e);
	worker_push_all(&r->w[0], step + 1, true);
	rig_run(r);
	cr_assert_eq(rig_job(r).generation, step + 1);
	cr_assert_eq(gp_engine_grace_waits(r->e), waits, "and that it need not any more");
	rig_free(r);
}

Test(push, answers_without_a_frame_are_counted_and_repaired)
{
	struct rig *r = up(2, GP_KIND_REDUCE, GP_ATOM_STEP);
	for (uint32_t i = 0; i < 2; i++)
		worker_push_all(&r->w[i], 1, true);
	r->starve = UINT32_MAX;
	rig_run(r);
	r->starve = 0;
	cr_assert_gt(RIG_COUNT(r, tx_no_frame), 0);
	cr_assert_eq(rig_job(r).generation, 1, "the step itself needs no frame");
	cr_assert_lt(seen_count(&r->w[0], GP_WIRE_RESULT), BLOCKS);
	seen_clear(&r->w[0]);
	worker_heartbeat(&r->w[0], 0, 1);
	for (uint32_t b = 0; b < BLOCKS; b++)
		worker_pull(&r->w[0], b, 1, 1, false);
	rig_run(r);
	cr_assert(seen_commit(&r->w[0], GP_DECISION_COMMIT, 0, 1));
	cr_assert_eq(seen_count(&r->w[0], GP_WIRE_RESULT), BLOCKS);
	rig_free(r);
}

// Both ranks of job 0 contribute block 0 of step 1, rank 0 with a NaN in it.
static struct rig *poisoned(enum gp_nonfinite_policy policy)
{
	struct rig *r = rig_new();
	r->jobs[0].atomicity = GP_ATOM_STEP;
	r->jobs[0].nonfinite = (uint8_t)policy;
	r->jobs[0].workers_min = 1;
	rig_up(r);
	for (uint32_t b = 1; b < BLOCKS; b++)
		for (uint32_t i = 0; i < 2; i++)
			worker_push_block(&r->w[i], 1, b, true);
	push_elems(&r->w[0], 1, 0, NAN, 1);
	worker_push_block(&r->w[1], 1, 0, true);
	rig_run(r);
	return r;
}

Test(push, nan_is_refused_and_names_its_worker)
{
	struct rig *r = poisoned(GP_NONFINITE_IS_REFUSED);
	struct gp_refuse x;
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_NONFINITE), 1);
	gp_wire_get_refuse(&seen_last(&r->w[0], GP_WIRE_REFUSE, 0)->m, &x);
	cr_assert_eq(x.reason, GP_REFUSAL_NONFINITE);
	cr_assert_eq(x.what, 0);
	cr_assert_eq(x.step, 1);
	cr_assert(strstr(x.text, "rank 0, tensor "), "%s", x.text);
	cr_assert(strstr(x.text, "step 1"), "%s", x.text);
	cr_assert_eq(rig_job(r).generation, 0, "the step waits for a clean contribution");
	worker_push_block(&r->w[0], 1, 0, true);
	rig_run(r);
	cr_assert_eq(rig_job(r).generation, 1);
	rig_free(r);
}

Test(push, nan_can_end_its_workers_session)
{
	struct rig *r = poisoned(GP_NONFINITE_DROPS_RANK);
	rig_wait(r, 20000000, 2);
	cr_assert_eq(rig_job(r).members, 1);
	cr_assert(strstr(r->closed_why, "NaN"), "%s", r->closed_why);
	r->w[1].view = rig_job(r).view;
	worker_push_all(&r->w[1], 1, true);
	rig_run(r);
	cr_assert_eq(rig_job(r).generation, 1, "the other rank goes on alone");
	rig_free(r);
}

Test(push, nan_can_count_as_zero)
{
	struct rig *r = poisoned(GP_NONFINITE_IS_ZERO);
	float got[BLOCK_ELEMS];
	cr_assert_eq(rig_job(r).generation, 1);
	cr_assert_eq(RIG_COUNT(r, blocks_zeroed), 1);
	result_values(seen_result(&r->w[1], 0, 1), got);
	for (uint32_t i = 0; i < model_elems(0); i++)
		cr_assert_eq(got[i], rig_value(1, 1, 0, i), "what rank 1 alone gave");
	rig_free(r);
}

// Rank 0 contributes 3 everywhere, above the limit; rank 1 a block within it.
Test(push, contributions_above_norm_max_count_scaled_down_to_it)
{
	struct rig *r = rig_new();
	r->jobs[0].norm_max = 2.0f;
	r->jobs[0].mean = false;
	rig_up(r);
	for (uint32_t b = 0; b < BLOCKS; b++) {
		push_elems(&r->w[0], 1, b, 3.0f, 1.0f);
		push_elems(&r->w[1], 1, b, 1e-3f, 1.0f);
	}
	rig_run(r);
	float got[BLOCK_ELEMS];
	result_values(seen_result(&r->w[0], 0, 1), got);
	double norm = sqrt(9.0 * model_elems(0));
	float scale = (float)(2.0 / norm), want = 3.0f * scale;
	cr_assert_eq(got[0], want + 1e-3f);
	cr_assert_eq(got[model_elems(0) - 1], got[0]);
	cr_assert_eq(RIG_COUNT(r, blocks_clamped), BLOCKS, "one of two contributions each");
	rig_free(r);
}

Test(push, a_run_over_finished_blocks_draws_no_more_results_than_the_window)
{
	struct rig *r = rig_new();
	r->jobs[0].window = 2;
	rig_up(r);
	for (uint32_t i = 0; i < 2; i++)
		worker_push_all(&r->w[i], 1, false);
	rig_run(r);
	cr_assert_eq(rig_job(r).generation, 1);
	zeros(&r->w[0], 1, 0, BLOCKS);
	rig_run(r);
	cr_assert_eq(seen_count(&r->w[0], GP_WIRE_RESULT), 2);
	rig_free(r);
}
