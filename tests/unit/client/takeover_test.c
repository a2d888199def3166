// SPDX-License-Identifier: BSD-3-Clause
//
// A server is lost and another one goes on with what it had committed: at every datagram of a whole
// training. Nobody is told, and the end is that of a history without a loss, bit for bit.
#include "takeover_rig.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct tr_end calm, end;

static void same_end(const struct tr_how *how)
{
	cr_assert_eq(end.generation, calm.generation, "killed at %u", how->kill_at);
	cr_assert_eq(end.digest, calm.digest, "killed at %u: other parameters", how->kill_at);
	for (uint32_t i = 0; i < how->workers; i++) {
		cr_assert_eq(end.rolled_back[i], 0, "killed at %u: rank %u was told: %s",
			how->kill_at, i, end.text[i]);
		cr_assert_eq(memcmp(end.out[i], calm.out[i], sizeof(end.out[i])), 0,
			"killed at %u: rank %u has other results", how->kill_at, i);
	}
}

// Each `stride`-th datagram is A's last.
static uint32_t sweep(struct tr_how how, uint32_t stride)
{
	uint32_t went_on = 0;
	how.kill_at = TR_NEVER;
	cr_assert(tr_run(&how, &calm));
	cr_assert_eq(calm.generation, TR_STEPS);
	for (how.kill_at = 1; how.kill_at < calm.events; how.kill_at += stride) {
		cr_assert(tr_run(&how, &end), "killed at %u of %u: it does not end (%s) (%s)",
			how.kill_at, calm.events, end.text[0], end.text[1]);
		same_end(&how);
		went_on += end.fate[0] == GP_CCORE_WENT_ON;
	}
	return went_on;
}

Test(takeover, at_every_datagram_of_a_training, .timeout = 100)
{
	uint32_t went_on = sweep(tr_how(), 1);
	cr_assert_gt(went_on, calm.events / 2);
}

// Units that were committed before the rest of their step are there, or begin anew.
Test(takeover, in_the_middle_of_a_step, .timeout = 100)
{
	struct tr_how how = tr_how();
	for (uint32_t i = 0; i < 4; i++) {
		how.atomicity = i & 1 ? GP_ATOM_TENSOR : GP_ATOM_BLOCK;
		how.kind = i & 2 ? GP_KIND_REDUCE : GP_KIND_TRAIN;
		how.ahead = true;
		(void)sweep(how, 1);
		how.ahead = false;
		(void)sweep(how, 3);
	}
}

Test(takeover, while_results_are_in_use, .timeout = 100)
{
	struct tr_how how = tr_how();
	how.takes = true;
	how.ahead = true;
	how.atomicity = GP_ATOM_TENSOR;
	(void)sweep(how, 1);
	how.atomicity = GP_ATOM_STEP;
	(void)sweep(how, 2);
}

// Its first unit was committed and used, and is not there any more.
Test(takeover, that_lost_what_is_in_use_is_told, .timeout = 100)
{
	struct tr_how how = tr_how();
	how.takes = true;
	how.atomicity = GP_ATOM_TENSOR;
	cr_assert(tr_run(&how, &calm));
	uint32_t told = 0;
	for (how.kill_at = 50; how.kill_at < calm.events; how.kill_at++) {
		cr_assert(tr_run(&how, &end), "killed at %u", how.kill_at);
		told += end.rolled_back[0] + end.rolled_back[1];
		cr_assert_eq(end.generation, TR_STEPS);
		cr_assert_eq(memcmp(end.out[0], calm.out[0], sizeof(end.out[0])), 0);
	}
	cr_assert_gt(told, 0);
}

Test(takeover, to_a_server_with_other_cores, .timeout = 100)
{
	struct tr_how how = tr_how();
	how.cores[0] = 2;
	(void)sweep(how, 2);
	how.cores[0] = 1;
	how.cores[1] = 2;
	how.atomicity = GP_ATOM_BLOCK;
	how.ahead = true;
	(void)sweep(how, 2);
}

// What error feedback keeps back for later steps is as it would have been.
Test(takeover, of_sparse_and_rounded_contributions, .timeout = 100)
{
	static const uint8_t codecs[] = {GP_CLIENT_TOPK, GP_CLIENT_INT8, GP_CLIENT_TOPK_BF16};
	struct tr_how how = tr_how();
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(codecs); i++) {
		how.codec = codecs[i];
		(void)sweep(how, 3);
	}
}

Test(takeover, over_a_path_that_loses_a_tenth, .timeout = 100)
{
	struct tr_how how = tr_how();
	how.loss_ppm = 100000;
	how.workers = 3;
	how.workers_min = 3;
	for (how.seed = 2; how.seed < 5; how.seed++)
		(void)sweep(how, 7);
}

// The others go on: after eight time-outs the new server takes those who came.
Test(takeover, a_worker_dies_with_its_server, .timeout = 100)
{
	struct tr_how how = tr_how();
	how.workers = 3;
	how.workers_min = 2;
	cr_assert(tr_run(&how, &calm));
	for (how.kill_at = calm.events / 4; how.kill_at < calm.events; how.kill_at += 9) {
		how.kill_rank = how.kill_at % 3;
		uint32_t a = how.kill_rank == 0 ? 1 : 0, b = how.kill_rank == 2 ? 1 : 2;
		cr_assert(tr_run(&how, &end), "killed at %u", how.kill_at);
		cr_assert_eq(end.generation, TR_STEPS);
		cr_assert_eq(end.rolled_back[a] + end.rolled_back[b], 0, "killed at %u: %s %s",
			how.kill_at, end.text[a], end.text[b]);
		cr_assert_eq(memcmp(end.out[a], end.out[b], sizeof(end.out[a])), 0);
	}
}

// What a rank knows to be committed is missing there: it is told where to go on.
Test(takeover, by_a_server_that_is_behind, .timeout = 100)
{
	struct tr_how how = tr_how();
	cr_assert(tr_run(&how, &calm));
	uint32_t told = 0;
	how.behind = 2;
	for (how.kill_at = calm.events / 2; how.kill_at + 9 < calm.events; how.kill_at += 5) {
		cr_assert(tr_run(&how, &end), "killed at %u", how.kill_at);
		cr_assert_eq(end.generation, TR_STEPS);
		for (uint32_t i = 0; i < how.workers; i++) {
			told += end.rolled_back[i];
			cr_assert(end.rolled_back[i] == 0 || end.resumed_at[i] < TR_STEPS);
		}
		cr_assert_eq(memcmp(end.out[0], end.out[1], sizeof(end.out[0])), 0);
	}
	cr_assert_gt(told, 10);
}

// The number fits, and is not that of what this rank has: others did the step again without it.
Test(takeover, by_a_server_with_steps_of_others, .timeout = 100)
{
	struct tr_how how = tr_how();
	cr_assert(tr_run(&how, &calm));
	uint32_t went_on = 0;
	how.others = true;
	for (how.kill_at = calm.events / 2; how.kill_at + 9 < calm.events; how.kill_at += 5) {
		cr_assert(tr_run(&how, &end), "killed at %u", how.kill_at);
		cr_assert_eq(end.generation, TR_STEPS);
		for (uint32_t i = 0; i < how.workers; i++)
			went_on += end.fate[i] == GP_CCORE_WENT_ON;
	}
	cr_assert_eq(went_on, 0);
}

Test(takeover, a_server_of_an_older_epoch_is_not_followed, .timeout = 100)
{
	struct tr_how how = tr_how();
	how.kill_at = 60;
	how.epoch_b = 4;
	cr_assert_not(tr_run(&how, &end));
	for (uint32_t i = 0; i < how.workers; i++)
		cr_assert_gt(end.refused_old[i], 0, "%s", end.text[i]);
}

Test(takeover, a_job_of_another_form_is_joined_anew, .timeout = 100)
{
	struct tr_how how = tr_how();
	how.kill_at = 90; // behind the barrier
	how.block_elems_differ = true;
	cr_assert(tr_run(&how, &end), "%s %s", end.text[0], end.text[1]);
	for (uint32_t i = 0; i < how.workers; i++)
		cr_assert_eq(end.reformed[i], 1, "%s", end.text[i]);
	cr_assert_eq(end.generation, TR_STEPS);
}
