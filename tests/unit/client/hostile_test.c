// SPDX-License-Identifier: BSD-3-Clause
//
// A server that says what cannot be, in datagrams that are well formed: the session ends with a
// text, or the datagram is counted and changes nothing.
#include "fixture.h"

#include <criterion/criterion.h>
#include <errno.h>

static struct fx f;

static void teardown(void)
{
	fx_close(&f);
}

TestSuite(hostile, .fini = teardown);

static void ended(int code, const char *part)
{
	const struct gp_client_error *e = gp_ccore_error(f.core);
	cr_assert(e, "the session stands; expected '%s'", part);
	cr_assert_eq(e->code, code, "%s", e->text);
	cr_assert(strstr(e->text, part), "'%s' is not in '%s'", part, e->text);
}

static uint64_t rejected(void)
{
	struct gp_client_stats s;
	gp_ccore_stats(f.core, &s);
	return s.rx_rejected;
}

static void joining(void)
{
	struct gp_msg m;
	fx_open(&f, 1472);
	fx_tick(&f, 0);
	fx_hello_reply(&f, 1472, GP_WIRE_VERSION);
	fx_tick(&f, 0);
	(void)fx_next(&f, GP_WIRE_JOIN, &m);
}

static void again(void (*begin)(void))
{
	fx_close(&f);
	begin();
}

Test(hostile, refusals_of_every_kind_end_with_their_reason)
{
	static const struct {
		uint16_t reason;
		uint8_t about;
		int code;
		const char *part;
	} cases[] = {
		{GP_REFUSAL_VERSION, GP_WIRE_JOIN, -EPROTO, "does not speak protocol version 1"},
		{GP_REFUSAL_TENSOR_COUNT, GP_WIRE_REGISTER, -EINVAL, "has 4 tensors"},
		{GP_REFUSAL_SHAPE_MISMATCH, GP_WIRE_REGISTER, -EINVAL, "tensor '?' has another"},
		{GP_REFUSAL_UNKNOWN_TENSOR, GP_WIRE_REGISTER, -EINVAL, "tensor '?' is unknown"},
		{GP_REFUSAL_OVER_QUOTA, GP_WIRE_REGISTER, -ENOMEM, "limit 4, needed 2"},
		{GP_REFUSAL_FENCED, GP_WIRE_HEARTBEAT, -ECONNRESET, "join again"},
		{GP_REFUSAL_STALE, GP_WIRE_PUSH, -ECONNRESET, "step 9 is too old): why"},
		{GP_REFUSAL_STOPPING, GP_WIRE_PUSH, -ESHUTDOWN, "step 9 does not begin"},
		{GP_REFUSAL_BAD_PAYLOAD, GP_WIRE_PUSH, -EBADMSG, "block 77 of step 9"},
		{GP_REFUSAL_NONFINITE, GP_WIRE_PUSH, -EDOM, "refused the gradient of why"},
		{GP_REFUSAL_NOT_LEADER, GP_WIRE_PUSH, -EHOSTUNREACH, "ask 10.0.0.9:9701"},
		{GP_REFUSAL_WRONG_PARTITION, GP_WIRE_PULL, -EHOSTUNREACH, "wrong_partition"},
		{GP_REFUSAL_MTU, GP_WIRE_REGISTER, -EMSGSIZE, "raise the path's MTU"},
		{GP_REFUSAL_RANK_TAKEN, GP_WIRE_PUSH, -EPROTO, "refused PUSH: rank_taken: why"},
	};
	for (size_t i = 0; i < GP_ARRAY_SIZE(cases); i++) {
		joining();
		struct gp_refuse r = {.reason = cases[i].reason,
			.about = cases[i].about,
			.step = 9,
			.what = 77,
			.expected = 4,
			.seen = 2,
			.nonce = 77,
			.where_ip = {[10] = 0xff, 0xff, 10, 0, 0, 9},
			.where_port = 9701,
			.text_len = 3,
			.text = "why"};
		if (cases[i].about != GP_WIRE_JOIN)
			fx_welcome(&f);
		fx_refuse(&f, &r);
		ended(cases[i].code, cases[i].part);
		if (i + 1 < GP_ARRAY_SIZE(cases))
			fx_close(&f);
	}
}

Test(hostile, refusals_that_mend_themselves_change_nothing)
{
	static const uint16_t passing[] = {
		GP_REFUSAL_OTHER_VIEW, GP_REFUSAL_NOT_READY, GP_REFUSAL_TOO_EARLY};
	fx_open(&f, 1472);
	fx_member(&f);
	fx_push(&f, 1);
	for (size_t i = 0; i < GP_ARRAY_SIZE(passing); i++) {
		const struct gp_refuse r = {.reason = passing[i], .about = GP_WIRE_PUSH};
		fx_refuse(&f, &r);
	}
	cr_assert_null(gp_ccore_error(f.core));
	cr_assert_eq(rejected(), 0);
	const struct gp_refuse stray = {
		.reason = GP_REFUSAL_UNKNOWN_JOB, .about = GP_WIRE_JOIN, .nonce = 77};
	fx_refuse(&f, &stray);
	cr_assert_null(gp_ccore_error(f.core), "of a join that is over");
	cr_assert_eq(rejected(), 1);
}

Test(hostile, a_welcome_outside_the_limits_ends_it)
{
	joining();
	f.w.cores = GP_CCORE_LANES_MAX + 1;
	fx_welcome(&f);
	ended(-EPROTO, "cores 33 of at most 32");
	again(joining);
	f.w.slots = 0;
	fx_welcome(&f);
	ended(-EPROTO, "slots 0");
	again(joining);
	f.w.window = 0;
	fx_welcome(&f);
	ended(-EPROTO, "window 0");
	again(joining);
	f.w.heartbeat_us = 0;
	fx_welcome(&f);
	ended(-EPROTO, "outside this library's limits");
	again(joining);
	f.w.payload_max = GP_WIRE_OVERHEAD_MAX;
	fx_welcome(&f);
	ended(-EPROTO, "payload 108");
}

Test(hostile, a_welcome_of_somebody_else_is_not_taken)
{
	joining();
	f.w.nonce++;
	fx_welcome(&f);
	f.w.nonce--;
	f.w.incarnation++;
	fx_welcome(&f);
	f.w.incarnation--;
	cr_assert_eq(gp_ccore_phase(f.core), GP_CCORE_JOIN);
	cr_assert_eq(rejected(), 2);
	fx_welcome(&f);
	cr_assert_eq(gp_ccore_phase(f.core), GP_CCORE_JOINED);
	fx_welcome(&f);
	cr_assert_eq(rejected(), 3, "once is enough");
	cr_assert_eq(gp_ccore_lanes(f.core), 1);
	cr_assert_eq(gp_ccore_port(f.core, 0), 9700);
}

Test(hostile, a_hello_reply_that_nobody_asked_for_is_not_taken)
{
	fx_open(&f, 1472);
	fx_tick(&f, 0);
	fx_hello_reply(&f, 1300, GP_WIRE_VERSION); // no size that was probed
	cr_assert_eq(gp_ccore_phase(f.core), GP_CCORE_HELLO);
	cr_assert_eq(rejected(), 1);
}

Test(hostile, a_server_that_stops_answering_joins_is_asked_for_a_new_cookie)
{
	joining();
	for (uint32_t i = 0; i < 200 && fx_count(&f, GP_WIRE_HELLO) == 0; i++)
		fx_tick(&f, 100 * MS);
	cr_assert_eq(fx_count(&f, GP_WIRE_HELLO), 1);
	fx_hello_reply(&f, 1472, GP_WIRE_VERSION);
	fx_skip(&f);
	fx_tick(&f, 0);
	cr_assert_eq(fx_count(&f, GP_WIRE_JOIN), 1);
}

// ---- layouts of two tensors

static const struct gp_client_tensor two[] = {
	{.name = "w", .dims_count = 1, .dims = {40}}, {.name = "v", .dims_count = 1, .dims = {16}}};

static void registered(void)
{
	joining();
	f.w.atomicity = GP_ATOM_TENSOR;
	fx_welcome(&f);
	cr_assert_eq(gp_ccore_register(f.core, two, 2), 0);
	fx_tick(&f, 0);
}

static const struct gp_layout good = {.registered = 2,
	.state = 1,
	.block_elems = 16,
	.blocks_count = 4,
	.units_count = 2,
	.next_step = 1,
	.missing_rank = GP_WIRE_RANK_NONE};

static void layout_feed(
	struct gp_layout l, uint32_t first, const struct gp_layout_entry *e, uint16_t n)
{
	uint8_t body[256];
	struct gp_header h = {.type = GP_WIRE_LAYOUT, .session = SESSION};
	l.first = first;
	l.n = n;
	uint32_t len = gp_wire_put_layout(body, &l);
	for (uint32_t i = 0; i < n; i++)
		len += gp_wire_put_layout_entry(body + len, &e[i]);
	fx_feed(&f, &h, NULL, NULL, body, len);
}

static const struct gp_layout_entry entries[] = {{.first_block = 0}, {.first_block = 3, .unit = 1}};

Test(hostile, a_layout_that_cannot_be_ends_it)
{
	static const struct {
		uint32_t block_elems, blocks, units;
	} cases[] = {{0, 4, 2}, {8, 4, 2}, {16 * 1024, 4, 2}, {368, 4, 2}, {16, 0, 2},
		{16, (1u << 28) + 1, 2}, {16, 4, 3}};
	for (size_t i = 0; i < GP_ARRAY_SIZE(cases); i++) {
		struct gp_layout l = good;
		l.block_elems = cases[i].block_elems;
		l.blocks_count = cases[i].blocks;
		l.units_count = cases[i].units;
		registered();
		layout_feed(l, 0, entries, 2);
		ended(-EPROTO, "outside what this path carries");
		if (i + 1 < GP_ARRAY_SIZE(cases))
			fx_close(&f);
	}
}

Test(hostile, a_layout_that_changes_ends_it)
{
	struct gp_layout other = good;
	registered();
	layout_feed(good, 0, entries, 1);
	layout_feed(good, 0, entries, 1); // again: nothing new
	layout_feed(good, 5, entries, 1); // beyond the tensors
	cr_assert_null(gp_ccore_error(f.core));
	other.blocks_count = 5;
	layout_feed(other, 1, entries + 1, 1);
	ended(-EPROTO, "changed while it was being read");
}

Test(hostile, blocks_that_overlap_or_lie_outside_end_it)
{
	static const struct gp_layout_entry beyond[] = {{.first_block = 2}, {.first_block = 0}};
	static const struct gp_layout_entry unit[] = {{.first_block = 0, .unit = 2}, {0}};
	static const struct gp_layout_entry overlap[] = {{.first_block = 0}, {.first_block = 2}};
	struct gp_layout more = good;
	registered();
	layout_feed(good, 0, beyond, 2);
	ended(-EPROTO, "its layout of tensor 'w' is impossible");
	again(registered);
	layout_feed(good, 0, unit, 2);
	ended(-EPROTO, "its layout of tensor 'w' is impossible");
	again(registered);
	layout_feed(good, 0, overlap, 2);
	ended(-EPROTO, "does not cover the tensors");
	again(registered);
	more.blocks_count = 5;
	layout_feed(more, 0, entries, 2);
	ended(-EPROTO, "does not cover the tensors");
	again(registered);
	layout_feed(good, 0, entries, 2);
	cr_assert_null(gp_ccore_error(f.core));
	layout_feed(more, 0, entries, 2);
	cr_assert_null(gp_ccore_error(f.core), "what comes after the layout is not looked at");
}

// ---- results and answers about blocks

static void section_feed(uint8_t type, uint32_t step, struct gp_section s, const void *body)
{
	struct gp_header h = {
		.type = type, .session = SESSION, .view = 1, .step = step, .sections = 1};
	fx_feed(&f, &h, &s, NULL, body, s.len);
}

static void busy_feed(uint64_t packet, uint32_t step, uint32_t block)
{
	uint8_t body[8];
	const struct gp_section s = {.block = block, .run = 1};
	struct gp_header h = {
		.type = GP_WIRE_BUSY, .session = SESSION, .step = step, .sections = 1};
	gp_wire_put_u64(body, packet);
	fx_feed(&f, &h, &s, NULL, body, sizeof(body));
}

Test(hostile, answers_about_what_was_not_asked_change_nothing)
{
	static const float values[BLOCK_ELEMS];
	const struct gp_section s = {
		.block = 0, .len = sizeof(values), .run = 1, .codec = GP_CODEC_F32, .weight = 1};
	struct gp_section outside = s, torn = s;
	fx_open(&f, 1472);
	fx_tick(&f, 0);
	fx_hello_reply(&f, 1472, GP_WIRE_VERSION);
	fx_tick(&f, 0);
	fx_welcome(&f);
	section_feed(GP_WIRE_RESULT, 1, s, values); // before there is a layout
	busy_feed(1, 1, 0);
	section_feed(GP_WIRE_NACK, 1, (struct gp_section){.run = 1}, NULL);
	fx_close(&f);
	fx_open(&f, 1472);
	fx_member(&f);
	section_feed(GP_WIRE_RESULT, 1, s, values); // nothing is wanted
	fx_push(&f, 1);
	fx_tick(&f, 0);
	const uint64_t before = rejected();
	outside.block = BLOCKS;
	section_feed(GP_WIRE_RESULT, 1, outside, values);
	cr_assert_eq(rejected(), before + 1);
	torn.len = 8;
	section_feed(GP_WIRE_RESULT, 1, torn, values); // not the size of the block
	cr_assert_eq(rejected(), before + 2);
	section_feed(GP_WIRE_RESULT, 9, s, values); // another step
	busy_feed(99, 1, 0);			    // a packet never sent
	busy_feed(1, 1, BLOCKS);
	busy_feed(1, 9, 0);
	section_feed(GP_WIRE_NACK, 9, (struct gp_section){.run = 1}, NULL);
	section_feed(GP_WIRE_NACK, 1, (struct gp_section){.block = BLOCKS, .run = 1}, NULL);
	cr_assert_null(gp_ccore_error(f.core));
	cr_assert_not(gp_ccore_done(f.core));
	for (uint32_t b = 0; b < BLOCKS; b++)
		fx_result(&f, b, 1, 1, false, 5);
	cr_assert(gp_ccore_done(f.core));
	for (uint32_t i = 0; i < ELEMS; i++)
		cr_assert_eq(f.out[i], 5);
}

Test(hostile, a_barrier_of_another_name_is_not_ours)
{
	uint8_t body[8];
	struct gp_header h = {.type = GP_WIRE_BARRIER_REPLY, .session = SESSION};
	fx_open(&f, 1472);
	fx_member(&f);
	fx_feed(&f, &h, NULL, NULL, body, gp_wire_put_barrier(body, 7, 1)); // none is open
	cr_assert_eq(gp_ccore_barrier(f.core, 7), 0);
	fx_feed(&f, &h, NULL, NULL, body, gp_wire_put_barrier(body, 8, 2 | GP_BARRIER_DONE));
	fx_feed(&f, &h, NULL, NULL, body, gp_wire_put_barrier(body, 7, 2));
	// Of the call before and after: the name may be used again.
	fx_feed(&f, &h, NULL, NULL, body, gp_wire_put_barrier(body, 7, 0 | GP_BARRIER_DONE));
	fx_feed(&f, &h, NULL, NULL, body, gp_wire_put_barrier(body, 7, 4 | GP_BARRIER_DONE));
	cr_assert_not(gp_ccore_barrier_done(f.core));
	fx_feed(&f, &h, NULL, NULL, body, gp_wire_put_barrier(body, 7, 2 | GP_BARRIER_DONE));
	cr_assert(gp_ccore_barrier_done(f.core));
	h = (struct gp_header){.type = GP_WIRE_LEAVE_REPLY, .session = SESSION};
	fx_feed(&f, &h, NULL, NULL, body, gp_wire_put_u64(body, 5)); // it has not left
	gp_ccore_leave(f.core);
	gp_ccore_leave(f.core);
	fx_feed(&f, &h, NULL, NULL, body, gp_wire_put_u64(body, 6)); // another life
	cr_assert_eq(gp_ccore_phase(f.core), GP_CCORE_JOINED);
	fx_feed(&f, &h, NULL, NULL, body, gp_wire_put_u64(body, 5));
	cr_assert_eq(gp_ccore_phase(f.core), GP_CCORE_LEFT);
}
