// SPDX-License-Identifier: BSD-3-Clause
//
// Which codec a contribution gets, how much of a sparse one is sent, what is kept back.
#include "fixture.h"

#include <criterion/criterion.h>

#include <errno.h>
#include <math.h>

static struct fx f;

static void begin(const struct gp_client_compress *how)
{
	fx_how.compress = *how;
	fx_open(&f, 1472);
	fx_member(&f);
	for (uint32_t i = 0; i < ELEMS; i++)
		f.grad[i] = (float)(i % 7) - 3;
}

static void end(void)
{
	fx_close(&f);
	fx_how = (struct fx_how){.takes = UINT32_MAX};
}

// What the rank's next step contributes, decoded; the step is committed afterwards.
static void step_take(float sum[ELEMS], const float *grad)
{
	struct gp_msg m;
	uint32_t step = gp_ccore_step(f.core);
	fx_skip(&f);
	memset(sum, 0, sizeof(float) * ELEMS);
	cr_assert_eq(gp_ccore_push(f.core, 0, grad, 1.0f, NULL), 0);
	for (uint32_t done = 0; done < BLOCKS;) {
		fx_tick(&f, 0);
		(void)fx_next(&f, GP_WIRE_PUSH, &m);
		const uint8_t *payload = m.body;
		for (uint32_t i = 0; i < m.h.sections; i++) {
			struct gp_section s;
			gp_wire_get_section(&m, i, &s);
			size_t at = (size_t)s.block * BLOCK_ELEMS;
			uint32_t elems = (uint32_t)GP_MIN(ELEMS - at, (size_t)BLOCK_ELEMS);
			cr_assert_eq(gp_codec_check(s.codec, payload, s.len, elems), 0);
			if (s.codec != GP_CODEC_NONE)
				gp_codec_decode(s.codec, sum + at, payload, s.len, elems);
			payload += s.len;
			done += s.run;
		}
		fx_ack(&f, m.h.packet, 0, true);
	}
	for (uint32_t b = 0; b < BLOCKS; b++)
		fx_decide(&f, &(struct gp_commit_entry){.kind = GP_DECISION_COMMIT,
				      .ranks = 2,
				      .unit = b,
				      .step = step,
				      .view = 1});
	cr_assert(gp_ccore_done(f.core));
	cr_assert_eq(gp_ccore_step_end(f.core), 0);
}

static uint32_t nonzero(const float *v)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < ELEMS; i++)
		n += v[i] != 0;
	return n;
}

static struct gp_client_codec_state state_of(void)
{
	struct gp_client_codec_state s;
	cr_assert_eq(gp_ccore_codec(f.core, 0, &s), 0);
	return s;
}

Test(compress, the_configuration_speaks_when_nobody_else_does)
{
	fx_how.hint = GP_CODEC_TOPK_F16 | (1u << 22) << 8; // a quarter
	begin(&(struct gp_client_compress){0});
	cr_assert_eq(state_of().codec, GP_CLIENT_TOPK_F16);
	cr_assert_eq(state_of().topk_ratio, 0.25f);
	end();
	fx_how.hint = GP_CODEC_TOPK_F16 | (1u << 22) << 8;
	begin(&(struct gp_client_compress){.codec = GP_CLIENT_INT8});
	cr_assert_eq(state_of().codec, GP_CLIENT_INT8);
	end();
	fx_how.hint = 77; // of a later version
	begin(&(struct gp_client_compress){0});
	cr_assert_eq(state_of().codec, GP_CLIENT_F32);
	cr_assert_eq(state_of().residual_elems, 0);
	end();
}

Test(compress, auto_goes_by_size_where_runs_must_repeat)
{
	begin(&(struct gp_client_compress){.codec = GP_CLIENT_AUTO});
	struct cc_tensor t = {.d.compress.codec = GP_CLIENT_AUTO};
	f.core->lanes[0].rate = 1000; // so slow that time would say int8
	f.core->w.flags |= GP_WELCOME_DETERMINISTIC;
	const uint64_t elems[] = {1, 4095, 4096, 65535, 65536};
	const uint8_t codec[] = {
		GP_CODEC_F32, GP_CODEC_F32, GP_CODEC_BF16, GP_CODEC_BF16, GP_CODEC_INT8};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(elems); i++) {
		t.elems = elems[i];
		cc_codec_choose(f.core, &t, 0);
		cr_assert_eq(t.codec, codec[i], "%lu elements", elems[i]);
	}
	end();
}

Test(compress, auto_goes_by_the_time_that_f32_would_take)
{
	begin(&(struct gp_client_compress){.codec = GP_CLIENT_AUTO});
	struct cc_tensor t = {.d.compress.codec = GP_CLIENT_AUTO, .elems = 100000};
	const uint64_t rate[] = {9000000000, 4000000000, 300000000};
	const uint8_t codec[] = {GP_CODEC_F32, GP_CODEC_BF16, GP_CODEC_INT8};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(rate); i++) {
		f.core->lanes[0].rate = rate[i];
		cc_codec_choose(f.core, &t, 0);
		cr_assert_eq(t.codec, codec[i], "%lu bytes/s", rate[i]);
	}
	cr_assert(state_of().automatic);
	cr_assert_eq(state_of().bandwidth, rate[2]);
	end();
}

Test(compress, the_rate_of_what_arrives_is_measured)
{
	begin(&(struct gp_client_compress){0});
	cr_assert_eq(cc_bandwidth(f.core), 0);
	cr_assert_eq(gp_ccore_push(f.core, 0, f.grad, 1.0f, NULL), 0);
	struct gp_msg m;
	fx_tick(&f, 0);
	const struct fx_sent *sent = fx_next(&f, GP_WIRE_PUSH, &m);
	f.now += 1000000;
	fx_ack(&f, m.h.packet, 0, true);
	cr_assert_eq(cc_bandwidth(f.core), (sent->len - m.h.pad) * 1000u, "in a millisecond");
	end();
}

Test(compress, warm_up_falls_to_the_ratio_in_four_stages)
{
	const struct cc_tensor t = {
		.elems = 1000000, .how = {.topk_ratio = 0.001f, .topk_warmup_steps = 100}};
	const uint32_t step[] = {1, 25, 26, 50, 51, 75, 76, 100, 101};
	const double ratio[] = {
		.25, .25, .0625, .0625, .015625, .015625, .00390625, .00390625, (double)0.001f};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(step); i++)
		cr_assert_eq(cc_codec_ratio(&t, step[i]), ratio[i], "step %u", step[i]);
	const struct cc_tensor some = {
		.elems = 1000, .how = {.topk_count = 20, .topk_warmup_steps = 8}};
	cr_assert_eq(cc_codec_ratio(&some, 3), .0625);
	cr_assert_eq(cc_codec_ratio(&some, 5), .02, "never less than in the end");
}

Test(compress, warm_up_sends_more_at_first)
{
	float sum[ELEMS];
	begin(&(struct gp_client_compress){
		.codec = GP_CLIENT_TOPK, .topk_ratio = 0.01f, .topk_warmup_steps = 2});
	step_take(sum, f.grad);
	cr_assert_eq(nonzero(sum), 4 * (BLOCKS - 1) + 2, "a quarter of each block");
	step_take(sum, f.grad);
	step_take(sum, f.grad);
	cr_assert_eq(nonzero(sum), BLOCKS, "one of each");
	end();
}

// One threshold for the tensor: what is large is sent, from whichever block, the rest is a run.
Test(compress, a_sampled_threshold_leaves_blocks_empty)
{
	float sum[ELEMS], grad[ELEMS];
	begin(&(struct gp_client_compress){
		.codec = GP_CLIENT_TOPK_F16, .topk_count = 3, .topk_sampled = true});
	for (uint32_t i = 0; i < ELEMS; i++)
		grad[i] = 0.25f;
	grad[33] = 8, grad[34] = -16, grad[ELEMS - 1] = 4;
	uint64_t pushed = f.core->stats.pushed_bytes;
	step_take(sum, grad);
	cr_assert_eq(nonzero(sum), 3);
	cr_assert(sum[33] == 8 && sum[34] == -16 && sum[ELEMS - 1] == 4);
	cr_assert_eq(f.core->stats.pushed_bytes - pushed, 12 + 8, "of two blocks with payload");
	end();
}

// Many small blocks share a datagram; those with nothing to say share a section of it.
Test(compress, small_blocks_share_a_datagram_and_empty_ones_a_section)
{
	struct gp_msg m;
	struct gp_section s;
	begin(&(struct gp_client_compress){.codec = GP_CLIENT_TOPK_F16, .topk_ratio = 0.01f});
	cr_assert_eq(gp_ccore_push(f.core, 0, f.grad, 1.0f, NULL), 0);
	fx_tick(&f, 0);
	(void)fx_next(&f, GP_WIRE_PUSH, &m);
	cr_assert_eq(m.h.sections, 8, "all that the slots allow");
	end();

	static float zero[ELEMS];
	begin(&(struct gp_client_compress){
		.codec = GP_CLIENT_TOPK_F16, .topk_ratio = 0.01f, .topk_sampled = true});
	zero[2 * BLOCK_ELEMS] = 1;
	cr_assert_eq(gp_ccore_push(f.core, 0, zero, 1.0f, NULL), 0);
	fx_tick(&f, 0);
	(void)fx_next(&f, GP_WIRE_PUSH, &m);
	cr_assert_eq(m.h.sections, 3);
	const uint16_t runs[] = {2, 1, 5};
	for (uint32_t i = 0; i < 3; i++) {
		gp_wire_get_section(&m, i, &s);
		cr_assert_eq(s.run, runs[i]);
		cr_assert_eq(s.len, i == 1 ? 8 : 0);
		cr_assert_eq(s.weight, 1.0f, "zeros count, they do not pass");
	}
	cr_assert_eq(m.body_len, 8);
	end();
}

Test(compress, what_is_kept_back_comes_later_and_nothing_twice)
{
	float sum[ELEMS], total[ELEMS] = {0};
	begin(&(struct gp_client_compress){
		.codec = GP_CLIENT_TOPK, .topk_ratio = 0.1f, .topk_sampled = true});
	const uint32_t steps = 40;
	for (uint32_t i = 0; i < steps; i++) {
		step_take(sum, f.grad);
		for (uint32_t e = 0; e < ELEMS; e++)
			total[e] += sum[e];
	}
	float rest[ELEMS];
	cr_assert_eq(state_of().residual_elems, ELEMS);
	cr_assert_eq(gp_ccore_residual_get(f.core, 0, rest), 0);
	for (uint32_t e = 0; e < ELEMS; e++)
		cr_assert_eq(total[e] + rest[e], (float)steps * f.grad[e], "element %u", e);
	end();
}

// u = m u + g, v = v + u, and both are cleared where v was sent.
Test(compress, momentum_is_corrected_and_masked)
{
	float sum[ELEMS], u[ELEMS] = {0}, v[ELEMS] = {0};
	begin(&(struct gp_client_compress){
		.codec = GP_CLIENT_TOPK, .topk_ratio = 0.1f, .topk_momentum = 0.5f});
	cr_assert_eq(state_of().residual_elems, 2 * ELEMS);
	for (uint32_t step = 0; step < 30; step++) {
		step_take(sum, f.grad);
		for (uint32_t e = 0; e < ELEMS; e++) {
			u[e] = 0.5f * u[e] + f.grad[e];
			v[e] = v[e] + u[e];
			if (sum[e] == 0)
				continue;
			cr_assert_eq(sum[e], v[e], "step %u, element %u", step, e);
			u[e] = v[e] = 0;
		}
	}
	end();
}

Test(compress, residuals_go_with_a_checkpoint)
{
	float first[ELEMS], again[ELEMS], kept[2 * ELEMS];
	const struct gp_client_compress how = {
		.codec = GP_CLIENT_TOPK, .topk_ratio = 0.1f, .topk_momentum = 0.9f};
	begin(&how);
	step_take(first, f.grad);
	cr_assert_eq(gp_ccore_residual_get(f.core, 0, kept), 0);
	step_take(first, f.grad);
	end();
	begin(&how); // another life, which goes on from the checkpoint
	cr_assert_eq(gp_ccore_residual_put(f.core, 0, kept), 0);
	step_take(again, f.grad);
	cr_assert_arr_eq(again, first, sizeof(first));
	cr_assert_eq(gp_ccore_residual_get(f.core, 1, kept), -EINVAL);
	cr_assert_eq(gp_ccore_push(f.core, 0, f.grad, 1.0f, NULL), 0);
	cr_assert_eq(gp_ccore_residual_put(f.core, 0, kept), -EBUSY);
	end();
}
