// SPDX-License-Identifier: BSD-3-Clause
//
// The client when something runs out: memory at the Nth request, for every N, and frames at any
// moment. What was refused is said and leaves nothing behind; what was not sent is sent later.
#include "fixture.h"

#include <criterion/criterion.h>
#include <errno.h>

static struct fx f;

static const struct gp_client_tensor tensor = {.name = "w", .dims_count = 1, .dims = {ELEMS}};

static int failed(void)
{
	const struct gp_client_error *e = gp_ccore_error(f.core);
	if (!e)
		return 0;
	cr_assert(strstr(e->text, "no memory"), "%s", e->text);
	return e->code;
}

// Up to the layout; 0 or what ended it.
static int life_begin(uint32_t takes)
{
	fx_how.takes = takes;
	fx_open(&f, 1472);
	if (!f.core)
		return -ENOMEM;
	fx_tick(&f, 0);
	fx_hello_reply(&f, f.base.mtu, GP_WIRE_VERSION);
	fx_tick(&f, 0);
	fx_welcome(&f);
	if (failed())
		return failed();
	int rc = gp_ccore_register(f.core, &tensor, 1);
	if (rc) {
		cr_assert(strstr(gp_ccore_last(f.core)->text, "no memory"), "%s",
			gp_ccore_last(f.core)->text);
		fx_how.takes = UINT32_MAX;
		cr_assert_eq(gp_ccore_register(f.core, &tensor, 1), 0, "it may be tried again");
		return rc;
	}
	fx_tick(&f, 0);
	fx_layout(&f, 1, 0);
	fx_tick(&f, 0);
	fx_layout(&f, 1, 1);
	return failed();
}

static uint32_t failures_until_it_works(void)
{
	for (uint32_t n = 0;; n++) {
		int rc = life_begin(n);
		fx_close(&f);
		if (rc == 0)
			return n;
		cr_assert_eq(rc, -ENOMEM);
	}
}

Test(exhaust, memory_may_end_at_any_request)
{
	cr_assert_eq(failures_until_it_works(), 6, "core, ring, tensors, blocks, units, kept");
	fx_how.compress.codec = GP_CLIENT_BF16;
	cr_assert_eq(failures_until_it_works(), 7, "and residuals");
	fx_how.flags = GP_CLIENT_READER;
	cr_assert_eq(failures_until_it_works(), 5, "a reader keeps no contributions");
}

Test(exhaust, a_codec_larger_than_f32_is_refused_by_name)
{
	fx_how.compress = (struct gp_client_compress){.codec = GP_CLIENT_TOPK, .topk_ratio = 1};
	fx_open(&f, 1472);
	fx_tick(&f, 0);
	fx_hello_reply(&f, 1472, GP_WIRE_VERSION);
	fx_tick(&f, 0);
	fx_welcome(&f);
	cr_assert_eq(gp_ccore_register(f.core, &tensor, 1), 0);
	fx_layout(&f, 1, 1);
	cr_assert_eq(gp_ccore_error(f.core)->code, -EINVAL);
	cr_assert(strstr(gp_ccore_error(f.core)->text, "a smaller topk_ratio than 1.000"), "%s",
		gp_ccore_error(f.core)->text);
	fx_close(&f);
}

// A tick without frames sends nothing and forgets nothing: later, with frames, one of `type` goes.
static void starved_then(uint8_t type)
{
	uint32_t used = f.frames_used, sent = f.sent_count;
	f.frames_used = UINT32_MAX;
	fx_tick(&f, 0);
	cr_assert_eq(f.sent_count, sent);
	f.frames_used = used;
	fx_skip(&f);
	for (uint32_t i = 0; i < 40 && fx_count(&f, type) == 0; i++)
		fx_tick(&f, 25 * MS);
	cr_assert_geq(fx_count(&f, type), 1, "no %s", gp_wire_type_name(type));
	fx_skip(&f);
}

Test(exhaust, frames_may_end_at_any_moment)
{
	const struct gp_commit_entry view = {.kind = GP_DECISION_VIEW,
		.flags = GP_COMMIT_MEMBER,
		.ranks = 2,
		.step = 1,
		.view = 1};
	float *const out[] = {f.out};
	fx_open(&f, 1472);
	starved_then(GP_WIRE_HELLO);
	fx_hello_reply(&f, 1472, GP_WIRE_VERSION);
	starved_then(GP_WIRE_JOIN);
	fx_welcome(&f);
	starved_then(GP_WIRE_HEARTBEAT);
	cr_assert_eq(gp_ccore_register(f.core, &tensor, 1), 0);
	starved_then(GP_WIRE_REGISTER);
	fx_layout(&f, 1, 1);
	fx_decide(&f, &view);
	fx_push(&f, 1);
	starved_then(GP_WIRE_PUSH);
	fx_ack(&f, f.core->lanes[0].tx_packet, UINT64_MAX, true);
	starved_then(GP_WIRE_PULL);
	for (uint32_t b = 0; b < BLOCKS; b++)
		fx_result(&f, b, 1, 1, false, 1);
	cr_assert(gp_ccore_done(f.core));
	cr_assert_eq(gp_ccore_step_end(f.core), 0);
	cr_assert_eq(gp_ccore_barrier(f.core, 3), 0);
	starved_then(GP_WIRE_BARRIER);
	cr_assert_eq(gp_ccore_pull(f.core, out), 0);
	starved_then(GP_WIRE_HEARTBEAT);
	gp_ccore_leave(f.core);
	starved_then(GP_WIRE_LEAVE);
	fx_close(&f);
}
