// SPDX-License-Identifier: BSD-3-Clause
//
// A quorum closes a step; what comes late counts in the next one, or is refused.
#include "async_rig.h"

#include <math.h>

static struct rig *quorum_up(uint8_t policy, uint32_t cores)
{
	struct rig *r = async_new(GP_CONSIST_QUORUM, GP_ATOM_STEP, 3);
	r->jobs[0].kind = GP_KIND_REDUCE;
	r->jobs[0].quorum_min = 2;
	r->jobs[0].quorum_wait_ns = 0;
	r->jobs[0].stale = policy;
	r->cfg.cores_count = cores;
	rig_up(r);
	return r;
}

Test(async, a_quorum_closes_the_step_and_the_late_one_counts_next)
{
	for (uint8_t policy = GP_STALE_HOLD; policy <= GP_STALE_SCALE; policy++) {
		for (uint32_t cores = 1; cores <= 2; cores++) {
			struct rig *r = quorum_up(policy, cores);
			cr_assert_eq(read_now(&r->w[0], 1, 1, 0).state, GP_READ_PARKED,
				"there is no result yet");
			worker_push_block(&r->w[1], 1, 0, false); // begun
			worker_push_all(&r->w[2], 1, false);
			worker_push_all(&r->w[0], 1, false);
			rig_run(r);
			cr_assert(seen_commit(&r->w[1], GP_DECISION_COMMIT, 0, 1));
			uint32_t g = granted(&r->w[0], 2, 2);
			EXPECT_SUM(&r->w[0], g, {0, 1, 1}, {2, 1, 1});
			worker_push_all(&r->w[1], 1, false); // the rest of it
			worker_push_all(&r->w[1], 2, false);
			worker_push_all(&r->w[0], 2, false);
			rig_run(r);
			float late = policy == GP_STALE_SCALE ? 0.5f : 1.0f;
			g = granted(&r->w[0], 3, 3);
			EXPECT_SUM(&r->w[0], g, {0, 2, 1}, {1, 1, late}, {1, 2, 1});
			cr_assert_eq(read_reply(&r->w[0]).clock, 2);
			rig_free(r);
		}
	}
}

Test(async, a_quorum_that_refuses_what_is_late)
{
	struct rig *r = quorum_up(GP_STALE_REFUSE, 1);
	worker_push_block(&r->w[1], 1, 0, false);
	worker_push_all(&r->w[2], 1, false);
	worker_push_all(&r->w[0], 1, false);
	rig_run(r);
	worker_push_block(&r->w[1], 1, 1, false);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_STALE), 1);
	for (uint32_t step = 2; step <= 4; step++) {
		worker_push_all(&r->w[1], step, false);
		worker_push_all(&r->w[0], step, false);
		rig_run(r);
	}
	EXPECT_SUM(&r->w[1], granted(&r->w[1], 1, 5), {0, 4, 1}, {1, 4, 1});
	rig_free(r);
}

Test(async, a_quorum_waits_for_the_others_as_long_as_it_says)
{
	struct rig *r = async_new(GP_CONSIST_QUORUM, GP_ATOM_STEP, 3);
	r->jobs[0].quorum_min = 2;
	r->jobs[0].quorum_wait_ns = 100 * RIG_MS;
	async_up(r);
	worker_push_all(&r->w[0], 1, false);
	worker_push_all(&r->w[1], 1, false);
	rig_run(r);
	cr_assert_eq(rig_job(r).clock_max, 0, "two are enough, the third has time left");
	worker_push_all(&r->w[2], 1, false);
	rig_run(r);
	cr_assert_eq(rig_job(r).clock_max, 1, "all are there");
	worker_push_all(&r->w[0], 2, false);
	worker_push_all(&r->w[2], 2, false);
	rig_run(r);
	cr_assert_eq(rig_job(r).clock_max, 1);
	rig_wait(r, 200 * RIG_MS, 7);
	cr_assert_eq(rig_job(r).clock_max, 2);
	rig_free(r);
}

Test(async, a_quorum_trains_on_the_mean_of_those_who_came)
{
	struct rig *r = async_new(GP_CONSIST_QUORUM, GP_ATOM_STEP, 3);
	r->jobs[0].quorum_min = 2;
	r->jobs[0].mean = true;
	async_up(r);
	worker_push_all(&r->w[2], 1, false);
	worker_push_all(&r->w[0], 1, false);
	rig_run(r);
	float got[BLOCK_ELEMS];
	pull_block(&r->w[0], 2, granted(&r->w[0], 1, 2), got);
	for (uint32_t i = 0; i < model_elems(2); i++) {
		float s = rig_value(0, 1, 2, i) + rig_value(2, 1, 2, i);
		cr_assert_eq(got[i], rig_value(0, 0, 2, i) - LR * (s / 2.0f));
	}
	rig_free(r);
}

static double squares(const float *v, uint32_t elems)
{
	double lane[16] = {0};
	for (uint32_t i = 0; i < elems; i++)
		lane[i % 16] += (double)v[i] * (double)v[i];
	for (uint32_t half = 8; half > 0; half /= 2)
		for (uint32_t j = 0; j < half; j++)
			lane[j] += lane[j + half];
	return lane[0];
}

// The norm is of what the step comes to, over all blocks on all cores.
Test(async, a_quorum_clips_what_it_closes)
{
	static const float limits[] = {100, 1e9f};
	for (uint32_t k = 0; k < 8; k++) {
		struct rig *r = async_new(GP_CONSIST_QUORUM, GP_ATOM_STEP, 3);
		float g[BLOCKS][BLOCK_ELEMS], got[BLOCK_ELEMS], limit = limits[k / 4];
		double sum = 0;
		r->cfg.cores_count = 1 + k % 4;
		r->jobs[0].quorum_min = 2;
		r->jobs[0].mean = true;
		r->jobs[0].clip_norm = limit;
		async_up(r);
		worker_push_all(&r->w[2], 1, false);
		worker_push_all(&r->w[0], 1, false);
		rig_run(r);
		for (uint32_t b = 0; b < BLOCKS; b++) {
			for (uint32_t i = 0; i < model_elems(b); i++)
				g[b][i] = (rig_value(0, 1, b, i) + rig_value(2, 1, b, i)) / 2.0f;
			sum += squares(g[b], model_elems(b));
		}
		float factor = sqrt(sum) > (double)limit ? (float)((double)limit / sqrt(sum)) : 1;
		cr_assert_eq(factor < 1, k < 4);
		uint32_t generation = granted(&r->w[0], 1, 2);
		for (uint32_t b = 0; b < BLOCKS; b++) {
			pull_block(&r->w[0], b, generation, got);
			for (uint32_t i = 0; i < model_elems(b); i++)
				cr_assert_eq(got[i],
					rig_value(0, 0, b, i) - LR * (g[b][i] * factor), "%u", b);
		}
		rig_free(r);
	}
}

static void rounds(struct rig *r, uint32_t count)
{
	while (count-- > 0)
		(void)rig_round(r);
}

// A push is whole at the cores when home closes its step without it; the rank's next one takes its
// place before the core comes to the decision that names it.
Test(async, a_refused_push_may_make_room_before_it_is_let_go)
{
	struct rig *r = quorum_up(GP_STALE_REFUSE, 2);
	uint32_t home = r->w[0].welcome.home, other = 1u << !home;
	worker_push_all(&r->w[0], 1, false);
	worker_push_all(&r->w[1], 1, false);
	worker_push_block(&r->w[2], 1, 0, false);
	worker_push_block(&r->w[2], 1, 1, false);
	r->asleep = 1u << home; // the other core tells its parts
	rounds(r, 3);
	r->asleep = other;
	rounds(r, 1);
	worker_push_block(&r->w[2], 1, 2, false);
	worker_push_block(&r->w[2], 1, 3, false);
	rounds(r, 2); // step 1 is closed without rank 2
	r->asleep = 0;
	rounds(r, 4);
	worker_push_all(&r->w[0], 2, false);
	worker_push_all(&r->w[2], 2, false);
	rounds(r, 1);
	r->asleep = other; // it gets to know of step 2 later
	rounds(r, 4);
	cr_assert_eq(rig_job(r).clock_max, 2);
	worker_push_block(&r->w[2], 3, 1, false);
	worker_push_block(&r->w[2], 3, 3, false);
	rounds(r, 2);
	r->asleep = 0;
	rig_run(r);
	worker_push_all(&r->w[2], 3, false);
	worker_push_all(&r->w[1], 3, false);
	rig_run(r);
	EXPECT_SUM(&r->w[0], granted(&r->w[0], 1, 4), {1, 3, 1}, {2, 3, 1});
	rig_free_busy(r);
}

Test(async, late_pushes_of_a_rank_are_used_in_their_order_one_in_a_step)
{
	struct rig *r = quorum_up(GP_STALE_HOLD, 1);
	for (uint32_t step = 1; step <= 2; step++) {
		worker_push_all(&r->w[0], step, false);
		worker_push_all(&r->w[2], step, false);
		rig_run(r);
	}
	worker_push_all(&r->w[1], 1, false);
	worker_push_all(&r->w[1], 2, false);
	rig_run(r);
	for (uint32_t step = 3; step <= 4; step++) {
		worker_push_all(&r->w[0], step, false);
		worker_push_all(&r->w[2], step, false);
		rig_run(r);
		EXPECT_SUM(&r->w[0], granted(&r->w[0], step, step + 1), {0, step, 1},
			{1, step - 2, 1}, {2, step, 1});
	}
	rig_free(r);
}
