// SPDX-License-Identifier: BSD-3-Clause
//
// Workers that encode for themselves, as those with a GPU do, lose their server: the end is that of
// workers whose client encodes, bit for bit, whatever was handed over by then.
#include "takeover_rig.h"

#include <criterion/criterion.h>

static struct tr_end calm, end, own;

static const uint8_t codecs[] = {GP_CLIENT_F32, GP_CLIENT_BF16, GP_CLIENT_TOPK, GP_CLIENT_F16,
	GP_CLIENT_INT8, GP_CLIENT_SIGN, GP_CLIENT_TOPK_BF16, GP_CLIENT_TOPK_F16};

static void same(const struct tr_how *how, const struct tr_end *want)
{
	cr_assert_eq(end.generation, want->generation, "killed at %u", how->kill_at);
	cr_assert_eq(end.digest, want->digest, "codec %u, killed at %u: other parameters",
		how->codec, how->kill_at);
	for (uint32_t i = 0; i < how->workers; i++) {
		cr_assert_eq(end.rolled_back[i], want->rolled_back[i], "killed at %u: %s",
			how->kill_at, end.text[i]);
		cr_assert_eq(memcmp(end.out[i], want->out[i], sizeof(end.out[i])), 0,
			"codec %u, killed at %u: rank %u has other results", how->codec,
			how->kill_at, i);
	}
}

static void run(const struct tr_how *how, struct tr_end *to)
{
	cr_assert(tr_run(how, to), "killed at %u: it does not end (%s) (%s)", how->kill_at,
		to->text[0], to->text[1]);
}

Test(takeover_encoded, with_every_codec_and_with_losses, .timeout = 100)
{
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(codecs); i++) {
		struct tr_how how = tr_how();
		how.codec = codecs[i];
		how.by_caller = 0;
		run(&how, &calm);
		cr_assert_eq(calm.generation, TR_STEPS);
		for (how.by_caller = 1; how.by_caller < 4; how.by_caller++) {
			how.loss_ppm = how.by_caller == 1 ? 0 : 100000;
			how.seed = how.by_caller;
			run(&how, &end);
			same(&how, &calm);
		}
	}
}

// A block comes in each turn, so that servers are lost, and found, while some have not come.
Test(takeover_encoded, in_the_middle_of_a_contribution, .timeout = 100)
{
	static const uint8_t some[] = {GP_CLIENT_TOPK, GP_CLIENT_INT8};
	uint32_t went_on = 0;
	for (uint32_t i = 0; i < 2; i++) {
		struct tr_how how = tr_how();
		how.codec = some[i];
		how.atomicity = i ? GP_ATOM_TENSOR : GP_ATOM_STEP;
		how.ahead = i == 1;
		run(&how, &calm);
		how.by_caller = 1;
		for (how.kill_at = 1; how.kill_at < calm.events; how.kill_at += 2) {
			run(&how, &end);
			same(&how, &calm);
			went_on += end.fate[0] == GP_CCORE_WENT_ON;
		}
	}
	cr_assert_gt(went_on, calm.events / 2);
}

// All blocks at once: the datagrams are the same, and so is all that comes of them, also where a
// step is lost and what was kept back with it.
Test(takeover_encoded, a_rollback_is_that_of_the_clients_own_encoding, .timeout = 100)
{
	uint32_t told = 0;
	struct tr_how how = tr_how();
	how.codec = GP_CLIENT_TOPK_F16;
	run(&how, &calm);
	how.behind = 1;
	for (how.kill_at = 40; how.kill_at < calm.events; how.kill_at += 3) {
		how.by_caller = 0;
		run(&how, &own);
		how.by_caller = ENCODER_ELEMS_MAX;
		run(&how, &end);
		cr_assert_eq(end.events, own.events);
		same(&how, &own);
		told += end.rolled_back[0];
	}
	cr_assert_gt(told, 0);
}
