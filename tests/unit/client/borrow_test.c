// SPDX-License-Identifier: BSD-3-Clause
//
// Gradients that stay in the caller's memory: what is sent is what is there, and the same bytes as
// of a client that copies, whatever is lost; where that cannot be, the call is refused or copies.
#include "encoder.h"
#include "takeover_rig.h"

#include "fixture.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static struct fx f;
static struct tr_end copied, lent;

static void begin(const struct gp_client_compress *how)
{
	fx_how.flags = GP_CLIENT_BORROW;
	if (how)
		fx_how.compress = *how;
	fx_open(&f, 1472);
	fx_member(&f);
}

static void end(void)
{
	fx_close(&f);
	fx_how = (struct fx_how){.takes = UINT32_MAX};
}

static void push(const float *grad, float *out)
{
	cr_assert_eq(
		gp_ccore_push(f.core, 0, grad, 1.0f, out), 0, "%s", gp_ccore_last(f.core)->text);
}

static void refused(const float *grad, float *out)
{
	cr_assert_eq(gp_ccore_push(f.core, 0, grad, 1.0f, out), -EINVAL);
	cr_assert_not_null(strstr(gp_ccore_last(f.core)->text, "GP_CLIENT_BORROW"), "%s",
		gp_ccore_last(f.core)->text);
}

// The first value of block 0, in the next datagram of contributions.
static float first_sent(void)
{
	struct gp_msg m;
	(void)fx_next(&f, GP_WIRE_PUSH, &m);
	return gp_loadf(m.body);
}

static void view(uint32_t number)
{
	fx_decide(&f, &(struct gp_commit_entry){.kind = GP_DECISION_VIEW,
			      .flags = GP_COMMIT_MEMBER,
			      .ranks = 1,
			      .step = 1,
			      .view = number});
}

static void commit(uint32_t step)
{
	for (uint32_t b = 0; b < BLOCKS; b++)
		fx_decide(&f, &(struct gp_commit_entry){.kind = GP_DECISION_COMMIT,
				      .ranks = 2,
				      .unit = b,
				      .step = step,
				      .view = 1});
}

// The caller breaks its word, to see where what is sent comes from.
Test(borrow, whatever_is_sent_is_read_from_the_caller)
{
	begin(NULL);
	cr_assert_null(f.core->kept, "nothing else is kept in a reduce job");
	f.grad[0] = 1;
	push(f.grad, f.out);
	cr_assert_eq(gp_ccore_push_more(f.core, 0, 1), 0, "no piece is left to be encoded");
	f.grad[0] = 2;
	fx_tick(&f, 0);
	cr_assert_eq(first_sent(), 2);
	f.grad[0] = 3;
	fx_tick(&f, 300 * MS); // silence: the datagram goes again
	cr_assert_eq(first_sent(), 3);
	f.grad[0] = 4;
	view(2);
	fx_tick(&f, 0);
	cr_assert_eq(first_sent(), 4);
	end();
}

Test(borrow, ends_with_the_step)
{
	begin(NULL);
	push(f.grad, NULL);
	fx_tick(&f, 0);
	cr_assert_eq(f.core->tensors[0].borrowed, f.grad);
	fx_ack(&f, f.core->lanes[0].tx_packet, UINT64_MAX, true);
	fx_tick(&f, 0);
	fx_ack(&f, f.core->lanes[0].tx_packet, UINT64_MAX, true);
	commit(1);
	cr_assert(gp_ccore_done(f.core));
	cr_assert_eq(gp_ccore_step_end(f.core), 0);
	cr_assert_null(f.core->tensors[0].borrowed);
	push(NULL, f.out); // passed: there is nothing to lend
	cr_assert_null(f.core->tensors[0].borrowed);
	fx_tick(&f, 0);
	cr_assert_eq(f.core->blocks[0].len, 0);
	end();
}

Test(borrow, results_may_not_go_where_the_gradient_is)
{
	static float both[2 * ELEMS];
	begin(NULL);
	refused(both, both);
	refused(both, both + ELEMS - 1);
	refused(both + ELEMS - 1, both);
	cr_assert_eq(f.core->pushed, 0, "what is refused was not begun");
	push(both, both + ELEMS);
	end();
}

Test(borrow, what_is_encoded_is_copied)
{
	static const struct gp_client_compress how = {.codec = GP_CLIENT_BF16};
	begin(&how);
	cr_assert_not_null(f.core->kept);
	f.grad[0] = 1;
	push(f.grad, f.grad); // so it may be overwritten
	f.grad[0] = 2;
	fx_tick(&f, 0);
	struct gp_msg m;
	(void)fx_next(&f, GP_WIRE_PUSH, &m);
	cr_assert_eq(gp_load16(m.body), 0x3f80, "1 in bf16");
	end();
}

Test(borrow, what_the_caller_encodes_is_copied)
{
	static const struct gp_client_compress how = {.codec = GP_CLIENT_F32, .by_caller = true};
	static struct encoder enc;
	struct gp_client_blocks b;
	begin(&how);
	cr_assert_not_null(f.core->kept);
	cr_assert_eq(gp_ccore_push(f.core, 0, f.grad, 1.0f, f.out), -EINVAL);
	cr_assert_eq(gp_ccore_blocks(f.core, 0, &b), 0);
	f.grad[0] = 1;
	const struct gp_client_encoded *e = encoder_begin(&enc, &b);
	cr_assert_eq(gp_ccore_push_encoded(f.core, 0, e, 1.0f, f.grad), 0);
	encoder_run(&enc, f.grad);
	cr_assert_eq(gp_ccore_encoded_ready(f.core, 0, BLOCKS), 0);
	memset((void *)(uintptr_t)e->payload, 0xff, e->stride * BLOCKS);
	fx_tick(&f, 0);
	cr_assert_eq(first_sent(), 1);
	end();
}

// A server is lost at every third datagram of a training: the bytes are those of copies.
Test(borrow, outlives_a_server, .timeout = 100)
{
	for (uint32_t i = 0; i < 4; i++) {
		struct tr_how how = tr_how();
		how.kind = i & 2 ? GP_KIND_REDUCE : GP_KIND_TRAIN;
		how.atomicity = i & 1 ? GP_ATOM_TENSOR : GP_ATOM_STEP;
		how.takes = how.ahead = i & 1;
		cr_assert(tr_run(&how, &copied));
		how.borrows = true;
		for (how.kill_at = 1; how.kill_at < copied.events; how.kill_at += 3) {
			how.loss_ppm = how.kill_at & 1 ? 100000 : 0;
			cr_assert(
				tr_run(&how, &lent), "killed at %u: %s", how.kill_at, lent.text[0]);
			cr_assert_eq(lent.rolled_back[0], 0, "killed at %u", how.kill_at);
			cr_assert_eq(lent.digest, copied.digest, "killed at %u", how.kill_at);
			cr_assert_eq(memcmp(lent.out, copied.out, sizeof(lent.out)), 0,
				"killed at %u: other results", how.kill_at);
		}
	}
}
