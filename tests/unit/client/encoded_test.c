// SPDX-License-Identifier: BSD-3-Clause
//
// Contributions that the caller encodes: the same datagrams as when the client does, in whatever
// pieces they are handed over, and nothing that is not there or not right.
#include "encoder.h"
#include "fixture.h"

#include <criterion/criterion.h>

#include <errno.h>

#define ROUNDS_MAX 400

static struct fx f, own;
static struct encoder enc;

static void begin(struct fx *x, const struct gp_client_compress *how, bool by_caller)
{
	fx_how.compress = *how;
	fx_how.compress.by_caller = by_caller;
	fx_open(x, 1472);
	fx_member(x);
	for (uint32_t i = 0; i < ELEMS; i++)
		x->grad[i] = (float)((i * 37) % 101) * 0.0137f - 0.6f;
	memset(&enc, 0, sizeof(enc));
}

static void end(struct fx *x)
{
	fx_close(x);
	fx_how = (struct fx_how){.takes = UINT32_MAX};
}

static struct gp_client_blocks blocks_of(const struct fx *x)
{
	struct gp_client_blocks b;
	cr_assert_eq(gp_ccore_blocks(x->core, 0, &b), 0);
	return b;
}

static void push_begin(struct fx *x, float *out)
{
	const struct gp_client_blocks b = blocks_of(x);
	cr_assert_eq(gp_ccore_push_encoded(x->core, 0, encoder_begin(&enc, &b), 1.0f, out), 0, "%s",
		gp_ccore_last(x->core)->text);
	encoder_run(&enc, x->grad);
}

static void ready(struct fx *x, uint32_t blocks)
{
	cr_assert_eq(
		gp_ccore_encoded_ready(x->core, 0, blocks), 0, "%s", gp_ccore_last(x->core)->text);
}

static bool all_accepted(const struct fx *x)
{
	return x->core->lanes[0].low == BLOCKS;
}

// Every `nth` datagram of contributions is lost, the others arrive; then the step is committed.
static void deliver(struct fx *x, uint32_t nth)
{
	struct gp_msg m;
	uint32_t count = 0;
	for (uint32_t i = 0; i < ROUNDS_MAX && !all_accepted(x); i++) {
		fx_tick(x, 2 * MS);
		while (fx_count(x, GP_WIRE_PUSH) > 0) {
			(void)fx_next(x, GP_WIRE_PUSH, &m);
			if (++count % nth != 0)
				fx_ack(x, m.h.packet, 0, true);
		}
	}
	cr_assert(all_accepted(x));
}

static void commit(struct fx *x)
{
	uint32_t step = gp_ccore_step(x->core);
	for (uint32_t b = 0; b < BLOCKS; b++)
		fx_decide(x, &(struct gp_commit_entry){.kind = GP_DECISION_COMMIT,
				     .ranks = 2,
				     .unit = b,
				     .step = step,
				     .view = 1});
	cr_assert(gp_ccore_done(x->core));
	cr_assert_eq(gp_ccore_step_end(x->core), 0);
}

static void same_datagrams(const char *codec)
{
	cr_assert_eq(f.sent_count, own.sent_count, "%s: %u datagrams, not %u", codec, f.sent_count,
		own.sent_count);
	for (uint32_t i = 0; i < f.sent_count; i++) {
		cr_assert_eq(f.sent[i].len, own.sent[i].len, "%s: datagram %u", codec, i);
		cr_assert_arr_eq(f.sent[i].data, own.sent[i].data, own.sent[i].len,
			"%s: datagram %u", codec, i);
	}
}

Test(encoded, the_datagrams_are_those_of_the_clients_own_encoding)
{
	for (uint32_t codec = GP_CODEC_F32; codec < GP_CODEC_COUNT; codec++) {
		const struct gp_client_compress how = {.codec = (enum gp_client_codec)codec,
			.topk_ratio = 0.1f,
			.topk_warmup_steps = 2};
		begin(&own, &how, false);
		begin(&f, &how, true);
		for (uint32_t step = 0; step < 4; step++) {
			uint32_t nth = step % 2 ? 2 : UINT32_MAX;
			cr_assert_eq(gp_ccore_push(own.core, 0, own.grad, 1.0f, NULL), 0);
			push_begin(&f, NULL);
			ready(&f, BLOCKS);
			deliver(&own, nth);
			deliver(&f, nth);
			commit(&own);
			commit(&f);
		}
		cr_assert_gt(f.core->stats.retransmits, 0);
		same_datagrams(gp_codec_name((uint8_t)codec));
		end(&own);
		end(&f);
	}
}

static void expect_waits(const char *part)
{
	char text[128];
	gp_ccore_waiting(f.core, text, sizeof(text));
	cr_assert_not_null(strstr(text, part), "'%s' is not in '%s'", part, text);
}

// One section each: block, and that its payload is the caller's.
static void expect_sent(uint32_t first, uint32_t last)
{
	struct gp_msg m;
	struct gp_section s;
	for (uint32_t block = first; block <= last;) {
		(void)fx_next(&f, GP_WIRE_PUSH, &m);
		const uint8_t *payload = m.body;
		for (uint32_t i = 0; i < m.h.sections; i++, block++) {
			gp_wire_get_section(&m, i, &s);
			cr_assert_eq(s.block, block);
			cr_assert_eq(s.len, enc.lens[block]);
			cr_assert_arr_eq(payload, enc.payload + block * enc.how.stride, s.len);
			payload += s.len;
		}
	}
	cr_assert_eq(fx_count(&f, GP_WIRE_PUSH), 0);
}

Test(encoded, blocks_go_when_they_are_there_and_not_before)
{
	begin(&f, &(struct gp_client_compress){.codec = GP_CLIENT_BF16}, true);
	push_begin(&f, f.out);
	fx_tick(&f, 0);
	cr_assert_eq(fx_count(&f, GP_WIRE_PUSH), 0);
	cr_assert_not(gp_ccore_done(f.core));
	cr_assert_not(gp_ccore_tensor_done(f.core, 0));
	expect_waits("10 blocks of step 1, which the caller has not handed over");
	ready(&f, 3);
	fx_tick(&f, 0);
	expect_sent(0, 2);
	ready(&f, 3);
	ready(&f, 1); // no news
	fx_tick(&f, 0);
	cr_assert_eq(fx_count(&f, GP_WIRE_PUSH), 0);
	expect_waits("7 blocks of step 1");
	ready(&f, 5);
	fx_tick(&f, 0);
	expect_sent(3, 4);
	fx_ack(&f, f.core->lanes[0].tx_packet, UINT64_MAX, true);
	for (uint32_t b = 0; b < 5; b++)
		fx_result(&f, b, 1, 1, true, 5);
	ready(&f, BLOCKS);
	fx_tick(&f, 0);
	expect_sent(5, BLOCKS - 1);
	for (uint32_t b = 5; b < BLOCKS; b++)
		fx_result(&f, b, 1, 1, true, 6);
	commit(&f);
	cr_assert(f.out[0] == 5 && f.out[ELEMS - 1] == 6);
	end(&f);
}

static void view(uint32_t number)
{
	fx_decide(&f, &(struct gp_commit_entry){.kind = GP_DECISION_VIEW,
			      .flags = GP_COMMIT_MEMBER,
			      .ranks = 2,
			      .step = 1,
			      .view = number});
}

// What the caller writes over what it has handed over is nobody's business.
Test(encoded, an_aborted_step_goes_again_from_the_clients_copy)
{
	begin(&f, &(struct gp_client_compress){.codec = GP_CLIENT_INT8}, true);
	push_begin(&f, NULL);
	ready(&f, 4);
	fx_tick(&f, 0);
	expect_sent(0, 3);
	static struct encoder kept;
	kept = enc;
	memset(enc.payload, 0xee, 4 * enc.how.stride);
	memset(enc.lens, 0xee, 4 * sizeof(enc.lens[0]));
	view(2);
	ready(&f, 6);
	memset(enc.payload, 0xee, 6 * enc.how.stride);
	fx_tick(&f, 0);
	enc = kept;
	expect_sent(0, 5);
	cr_assert_eq(f.core->stats.aborts, BLOCKS);
	ready(&f, BLOCKS);
	deliver(&f, 2);
	end(&f);
}

// As for a rank that enters the view in the middle of a step: only results are missing of them.
Test(encoded, what_was_committed_without_this_rank_need_not_come)
{
	begin(&f, &(struct gp_client_compress){.codec = GP_CLIENT_F16}, true);
	push_begin(&f, f.out);
	for (uint32_t b = 7; b < BLOCKS; b++)
		fx_decide(&f, &(struct gp_commit_entry){.kind = GP_DECISION_COMMIT,
				      .ranks = 1,
				      .unit = b,
				      .step = 1,
				      .view = 1});
	expect_waits("7 blocks");
	fx_tick(&f, RTO_MAX);
	cr_assert_gt(fx_count(&f, GP_WIRE_PULL), 0);
	fx_result(&f, 7, 1, 1, false, 4);
	ready(&f, BLOCKS);
	fx_tick(&f, 0);
	expect_sent(0, 6);
	for (uint32_t b = 0; b < BLOCKS; b++)
		fx_result(&f, b, 1, 1, false, 4);
	cr_assert(gp_ccore_done(f.core));
	end(&f);
}

// The step ends without them, and they may come, or not, before it does.
Test(encoded, a_quorum_that_refuses_late_ones_waits_for_no_caller)
{
	fx_how.compress = (struct gp_client_compress){.codec = GP_CLIENT_BF16, .by_caller = true};
	fx_open(&f, 1472);
	f.w.kind = GP_KIND_TRAIN;
	f.w.consistency = GP_CONSIST_QUORUM;
	f.w.flags = GP_WELCOME_STALE_REFUSED;
	fx_member(&f);
	push_begin(&f, NULL);
	ready(&f, 2);
	fx_tick(&f, 0);
	fx_decide(&f,
		&(struct gp_commit_entry){
			.kind = GP_DECISION_COMMIT, .ranks = 1, .unit = 1, .step = 1, .view = 1});
	fx_tick(&f, 0);
	cr_assert(gp_ccore_done(f.core));
	fx_skip(&f);
	ready(&f, 5);
	fx_tick(&f, 0);
	cr_assert_eq(fx_count(&f, GP_WIRE_PUSH), 0);
	cr_assert_eq(gp_ccore_step_end(f.core), 0);
	cr_assert_eq(gp_ccore_encoded_ready(f.core, 0, BLOCKS), -EINVAL);
	cr_assert_eq(gp_ccore_push(f.core, 0, NULL, 1.0f, NULL), 0, "the next step is another one");
	fx_tick(&f, 0);
	struct gp_msg m;
	struct gp_section s;
	(void)fx_next(&f, GP_WIRE_PUSH, &m);
	gp_wire_get_section(&m, 0, &s);
	cr_assert_eq(s.run, 8, "all that the slots allow");
	end(&f);
}

// ---- what is refused

static void refused(int rc, const char *part)
{
	const char *text = gp_ccore_last(f.core)->text;
	cr_assert_eq(rc, -EINVAL, "%d: %s", rc, text);
	cr_assert_not_null(strstr(text, part), "'%s' is not in '%s'", part, text);
}

static uint8_t *payload_of(uint32_t block)
{
	return enc.payload + block * enc.how.stride;
}

Test(encoded, payloads_that_are_not_right_are_refused_by_name)
{
	begin(&f, &(struct gp_client_compress){.codec = GP_CLIENT_TOPK, .topk_ratio = 0.1f}, true);
	cr_assert_eq(blocks_of(&f).k, 2);
	cr_assert_eq(blocks_of(&f).k_last, 1);
	push_begin(&f, NULL);
	enc.lens[0] -= 4;
	refused(gp_ccore_encoded_ready(f.core, 0, 1),
		"tensor 'w', block 0 of 10: its topk payload of 12 bytes is refused: codec_length");
	enc.lens[0] += 4;
	uint16_t second = gp_load16(payload_of(3) + 4);
	gp_store16(payload_of(3) + 4, gp_load16(payload_of(3) + 2));
	refused(gp_ccore_encoded_ready(f.core, 0, BLOCKS), "block 3 of 10");
	refused(gp_ccore_encoded_ready(f.core, 0, BLOCKS), "codec_index_order");
	fx_tick(&f, 0);
	expect_sent(0, 2);
	gp_store16(payload_of(3) + 4, BLOCK_ELEMS);
	refused(gp_ccore_encoded_ready(f.core, 0, 4), "codec_index_range");
	gp_store16(payload_of(3) + 4, second);
	enc.lens[4] = (uint32_t)enc.how.stride + 1;
	refused(gp_ccore_encoded_ready(f.core, 0, 5), "longer than 16");
	enc.lens[4] = UINT32_MAX;
	refused(gp_ccore_encoded_ready(f.core, 0, 5), "block 4 of 10");
	enc.blocks.k = 1; // a payload like any other, but not what this step asks for
	encoder_block(&enc, f.grad, 4);
	refused(gp_ccore_encoded_ready(f.core, 0, 5),
		"it keeps 1 of 16 elements, 2 are asked for in step 1");
	enc.blocks.k = 2;
	encoder_block(&enc, f.grad, 4);
	ready(&f, BLOCKS);
	fx_tick(&f, 0);
	expect_sent(3, 7);
	end(&f);
}

Test(encoded, the_other_codecs_payloads_are_proved_too)
{
	begin(&f, &(struct gp_client_compress){.codec = GP_CLIENT_INT8}, true);
	push_begin(&f, NULL);
	gp_store32(payload_of(0), 0xbf800000); // a scale of -1
	refused(gp_ccore_encoded_ready(f.core, 0, 1), "its int8 payload of 20 bytes is refused");
	refused(gp_ccore_encoded_ready(f.core, 0, 1), "codec_scale");
	end(&f);
}

Test(encoded, calls_that_do_not_fit_are_refused_and_begin_nothing)
{
	begin(&f, &(struct gp_client_compress){.codec = GP_CLIENT_BF16}, true);
	const struct gp_client_blocks b = blocks_of(&f);
	cr_assert(b.codec == GP_CLIENT_BF16 && b.block_elems == BLOCK_ELEMS && b.count == BLOCKS);
	cr_assert(b.elems == ELEMS && b.k == 0 && b.k_last == 0 && b.payload_max == 32);
	struct gp_client_encoded e = *encoder_begin(&enc, &b);
	refused(gp_ccore_push(f.core, 0, f.grad, 1.0f, NULL), "'w' is encoded by its caller");
	refused(gp_ccore_encoded_ready(f.core, 0, 1), "'w' was not pushed encoded in step 1");
	e.codec = GP_CLIENT_F16;
	refused(gp_ccore_push_encoded(f.core, 0, &e, 1.0f, NULL),
		"'w' is pushed with codec f16, in step 1 it has bf16");
	e.codec = GP_CLIENT_AUTO;
	refused(gp_ccore_push_encoded(f.core, 0, &e, 1.0f, NULL), "codec unknown");
	e = enc.how, e.lens = NULL;
	refused(gp_ccore_push_encoded(f.core, 0, &e, 1.0f, NULL), "without payloads or lens");
	refused(gp_ccore_push_encoded(f.core, 0, &enc.how, 0, NULL), "weight");
	refused(gp_ccore_push_encoded(f.core, 1, &enc.how, 1.0f, NULL), "outside 0..0");
	refused(gp_ccore_encoded_ready(f.core, 1, 1), "not one of the 1 registered");
	struct gp_client_blocks none;
	cr_assert_eq(gp_ccore_blocks(f.core, 1, &none), -EINVAL);
	cr_assert_eq(gp_ccore_step_whole(f.core), 0, "nothing was begun");
	push_begin(&f, NULL);
	cr_assert_eq(gp_ccore_push_encoded(f.core, 0, &enc.how, 1.0f, NULL), -EALREADY);
	refused(gp_ccore_encoded_ready(f.core, 0, BLOCKS + 1), "'w' has 10 blocks, not 11");
	end(&f);
	begin(&f, &(struct gp_client_compress){.codec = GP_CLIENT_BF16}, false);
	refused(gp_ccore_push_encoded(f.core, 0, &enc.how, 1.0f, NULL),
		"'w' is encoded by the client");
	end(&f);
}

Test(encoded, a_rank_may_pass_the_tensor)
{
	struct gp_msg m;
	struct gp_section s;
	begin(&f, &(struct gp_client_compress){.codec = GP_CLIENT_BF16}, true);
	cr_assert_eq(gp_ccore_push(f.core, 0, NULL, 1.0f, NULL), 0);
	refused(gp_ccore_encoded_ready(f.core, 0, 1), "was not pushed encoded");
	fx_tick(&f, 0);
	(void)fx_next(&f, GP_WIRE_PUSH, &m);
	gp_wire_get_section(&m, 0, &s);
	cr_assert(s.run > 1 && s.weight == 0);
	end(&f);
}

// ---- codecs

Test(encoded, no_residual_is_kept_here_but_losing_one_counts)
{
	struct gp_client_codec_state s;
	begin(&f,
		&(struct gp_client_compress){
			.codec = GP_CLIENT_TOPK, .topk_ratio = 0.1f, .topk_momentum = 0.5f},
		true);
	cr_assert_eq(gp_ccore_codec(f.core, 0, &s), 0);
	cr_assert_eq(s.residual_elems, 0);
	cr_assert_null(f.core->feedback);
	cr_assert(gp_ccore_has_residuals(f.core));
	end(&f);
	begin(&f, &(struct gp_client_compress){.codec = GP_CLIENT_F32}, true);
	cr_assert_not(gp_ccore_has_residuals(f.core), "f32 keeps nothing back");
	end(&f);
}

Test(encoded, the_configuration_may_choose_the_codec)
{
	fx_how.hint = GP_CODEC_TOPK_F16 | (1u << 22) << 8; // a quarter
	begin(&f, &(struct gp_client_compress){0}, true);
	struct gp_client_blocks b = blocks_of(&f);
	cr_assert(b.codec == GP_CLIENT_TOPK_F16 && b.k == 4 && b.k_last == 2);
	push_begin(&f, NULL);
	ready(&f, BLOCKS);
	end(&f);
	begin(&f, &(struct gp_client_compress){.codec = GP_CLIENT_AUTO}, true);
	b = blocks_of(&f);
	cr_assert_eq(b.codec, GP_CLIENT_F32);
	cr_assert_eq(b.payload_max, 4 * BLOCK_ELEMS);
	push_begin(&f, NULL);
	ready(&f, BLOCKS);
	end(&f);
}

// With a threshold of its own a caller may send many elements of a block or none.
Test(encoded, a_callers_threshold_may_leave_blocks_empty)
{
	struct gp_msg m;
	struct gp_section s;
	const struct gp_client_compress how = {
		.codec = GP_CLIENT_TOPK_F16, .topk_ratio = 0.01f, .topk_sampled = true};
	begin(&f, &how, true);
	const struct gp_client_blocks b = blocks_of(&f);
	cr_assert_eq(gp_ccore_push_encoded(f.core, 0, encoder_begin(&enc, &b), 1.0f, NULL), 0);
	for (uint32_t i = 0; i < BLOCKS; i++) {
		enc.blocks.k = enc.blocks.k_last = i == 2 ? 3 : 0;
		encoder_block(&enc, f.grad, i);
	}
	ready(&f, BLOCKS);
	fx_tick(&f, 0);
	(void)fx_next(&f, GP_WIRE_PUSH, &m);
	cr_assert_eq(m.h.sections, 3);
	const uint16_t runs[] = {2, 1, 5};
	for (uint32_t i = 0; i < 3; i++) {
		gp_wire_get_section(&m, i, &s);
		cr_assert_eq(s.run, runs[i]);
		cr_assert_eq(s.weight, 1.0f);
	}
	cr_assert_eq(s.codec, GP_CODEC_NONE);
	end(&f);
}
