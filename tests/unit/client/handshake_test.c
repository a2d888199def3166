// SPDX-License-Identifier: BSD-3-Clause
//
// Hello, MTU probing, join, and what their failures say.
#include "fixture.h"

#include <criterion/criterion.h>

static struct fx f;

static void teardown(void)
{
	fx_close(&f);
}

TestSuite(handshake, .fini = teardown);

static void text_has(const char *part)
{
	const struct gp_client_error *e = gp_ccore_error(f.core);
	cr_assert_not_null(e);
	cr_assert_not_null(strstr(e->text, part), "'%s' is not in '%s'", part, e->text);
}

static void join_begin(uint32_t mtu)
{
	struct gp_msg m;
	fx_open(&f, mtu);
	fx_tick(&f, 0);
	fx_hello_reply(&f, mtu, GP_WIRE_VERSION);
	fx_tick(&f, 0);
	(void)fx_next(&f, GP_WIRE_JOIN, &m);
}

Test(handshake, hello_is_padded_to_the_size_it_proves)
{
	struct gp_msg m;
	struct gp_hello h;
	fx_open(&f, 8972);
	fx_tick(&f, 0);
	const struct fx_sent *s = fx_next(&f, GP_WIRE_HELLO, &m);
	gp_wire_get_hello(&m, &h);
	cr_assert_eq(s->len, 8972);
	cr_assert_eq(h.size, 8972);
}

Test(handshake, a_smaller_size_is_taken_only_after_the_larger_was_tried_again)
{
	struct gp_msg m;
	struct gp_join j;
	fx_open(&f, 8972);
	for (int i = 0; i < 40 && (f.sent_count == 0 || f.sent[f.sent_count - 1].len != 1472); i++)
		fx_tick(&f, 25 * MS);
	fx_hello_reply(&f, 1472, GP_WIRE_VERSION);
	fx_skip(&f);
	fx_tick(&f, 25 * MS);
	cr_assert_eq(fx_next(&f, GP_WIRE_HELLO, &m)->len, 8972);
	for (int i = 0; i < 40 && fx_count(&f, GP_WIRE_JOIN) == 0; i++)
		fx_tick(&f, 25 * MS);
	(void)fx_next(&f, GP_WIRE_JOIN, &m);
	gp_wire_get_join(&m, &j);
	cr_assert_eq(j.payload_max, 1500 - 48);
}

Test(handshake, a_late_answer_to_the_larger_size_wins)
{
	struct gp_msg m;
	struct gp_join j;
	fx_open(&f, 8972);
	for (int i = 0; i < 40 && (f.sent_count == 0 || f.sent[f.sent_count - 1].len != 1472); i++)
		fx_tick(&f, 25 * MS);
	fx_hello_reply(&f, 1472, GP_WIRE_VERSION);
	fx_hello_reply(&f, 8972, GP_WIRE_VERSION);
	fx_tick(&f, 0);
	(void)fx_next(&f, GP_WIRE_JOIN, &m);
	gp_wire_get_join(&m, &j);
	cr_assert_eq(j.payload_max, 9000 - 48);
}

Test(handshake, another_version_is_named)
{
	fx_open(&f, 1472);
	fx_tick(&f, 0);
	fx_hello_reply(&f, 1472, 0);
	cr_assert_eq(gp_ccore_error(f.core)->code, -EPROTO);
	text_has("version 9");
	text_has("10.0.0.1:9700");
}

Test(handshake, join_is_repeated_until_answered)
{
	join_begin(1472);
	for (int i = 0; i < 10; i++)
		fx_tick(&f, 50 * MS);
	cr_assert_geq(fx_count(&f, GP_WIRE_JOIN), 2);
	fx_welcome(&f);
	cr_assert_eq(gp_ccore_phase(f.core), GP_CCORE_JOINED);
}

Test(handshake, refusals_are_told_apart)
{
	static const struct {
		uint16_t reason;
		int code;
		const char *text;
	} cases[] = {
		{GP_REFUSAL_UNKNOWN_JOB, -ENOENT, "no job 'job'"},
		{GP_REFUSAL_WORLD_SIZE, -EINVAL, "has 4 workers"},
		{GP_REFUSAL_RANK_RANGE, -EINVAL, "0..3"},
		{GP_REFUSAL_MTU, -EMSGSIZE, "IP MTU of 2"},
		{GP_REFUSAL_STOPPING, -ESHUTDOWN, "shutting down"},
		{GP_REFUSAL_OVER_QUOTA, -ENOMEM, "limit 4, needed 2"},
	};
	for (size_t i = 0; i < GP_ARRAY_SIZE(cases); i++) {
		join_begin(1472);
		const struct gp_refuse r = {.reason = cases[i].reason,
			.about = GP_WIRE_JOIN,
			.expected = 4,
			.seen = 2,
			.nonce = 77};
		fx_refuse(&f, &r);
		cr_assert_eq(gp_ccore_error(f.core)->code, cases[i].code);
		text_has(cases[i].text);
		if (i + 1 < GP_ARRAY_SIZE(cases))
			fx_close(&f);
	}
}

Test(handshake, a_refusal_of_another_nonce_is_not_ours)
{
	join_begin(1472);
	const struct gp_refuse r = {
		.reason = GP_REFUSAL_UNKNOWN_JOB, .about = GP_WIRE_JOIN, .nonce = 78};
	fx_refuse(&f, &r);
	cr_assert_null(gp_ccore_error(f.core));
}

Test(handshake, a_taken_rank_is_asked_for_again_then_its_holder_is_named)
{
	struct gp_refuse r = {.reason = GP_REFUSAL_RANK_TAKEN,
		.about = GP_WIRE_JOIN,
		.nonce = 77,
		.age_ms = 1500,
		.where_port = 4711};
	memset(r.where_ip + 10, 0xff, 2);
	r.where_ip[12] = 10;
	r.where_ip[15] = 9;
	join_begin(1472);
	fx_refuse(&f, &r);
	cr_assert_null(gp_ccore_error(f.core));
	fx_skip(&f);
	for (int i = 0; i < 19; i++) {
		fx_tick(&f, 100 * MS);
		fx_refuse(&f, &r);
	}
	cr_assert_null(gp_ccore_error(f.core));
	cr_assert_geq(fx_count(&f, GP_WIRE_JOIN), 10);
	fx_tick(&f, 200 * MS);
	fx_refuse(&f, &r);
	cr_assert_eq(gp_ccore_error(f.core)->code, -EEXIST);
	text_has("10.0.0.9:4711");
	text_has("1.5 s");
}

Test(handshake, a_shape_mismatch_names_the_tensor)
{
	const struct gp_client_tensor t = {.name = "w", .dims_count = 1, .dims = {ELEMS}};
	const struct gp_refuse r = {.reason = GP_REFUSAL_SHAPE_MISMATCH,
		.about = GP_WIRE_REGISTER,
		.expected = 100,
		.seen = ELEMS};
	join_begin(1472);
	fx_welcome(&f);
	cr_assert_eq(gp_ccore_register(f.core, &t, 1), 0);
	fx_tick(&f, 0);
	fx_refuse(&f, &r);
	cr_assert_eq(gp_ccore_error(f.core)->code, -EINVAL);
	text_has("'w'");
	text_has("expected 100, seen 149");
}

Test(handshake, who_has_not_registered_is_named_whatever_heartbeats_say)
{
	const struct gp_client_tensor t = {.name = "w", .dims_count = 1, .dims = {ELEMS}};
	const struct gp_heartbeat_reply r = {.missing_rank = GP_WIRE_RANK_NONE};
	struct gp_header h = {.type = GP_WIRE_HEARTBEAT_REPLY, .session = SESSION};
	uint8_t body[64];
	char text[128];
	join_begin(1472);
	fx_welcome(&f);
	cr_assert_eq(gp_ccore_register(f.core, &t, 1), 0);
	fx_tick(&f, 0);
	fx_layout(&f, 1, 0);
	fx_feed(&f, &h, NULL, NULL, body, gp_wire_put_heartbeat_reply(body, &r));
	gp_ccore_waiting(f.core, text, sizeof(text));
	cr_assert_str_eq(text, "the other ranks to register (missing: rank 1)");
}

Test(handshake, a_first_view_that_is_lost_is_not_passed_over)
{
	const struct gp_client_tensor t = {.name = "w", .dims_count = 1, .dims = {ELEMS}};
	const struct gp_commit_entry view = {.kind = GP_DECISION_VIEW,
		.flags = GP_COMMIT_MEMBER,
		.ranks = 2,
		.step = 1,
		.view = 1};
	const struct gp_commit_entry commit = {
		.kind = GP_DECISION_COMMIT, .ranks = 1, .step = 0, .view = 1};
	join_begin(1472);
	fx_welcome(&f);
	cr_assert_eq(gp_ccore_register(f.core, &t, 1), 0);
	fx_tick(&f, 0);
	fx_layout(&f, 1, 1);
	f.decision = 1; // decision 1 is lost
	fx_decide(&f, &commit);
	fx_tick(&f, 0);
	f.decision = 0; // asked for, it comes
	fx_decide(&f, &view);
	cr_assert(gp_ccore_ready(f.core));
}
