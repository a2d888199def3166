// SPDX-License-Identifier: BSD-3-Clause
//
// The form of results: in the codec that a worker asked for, as what a sparse sum has, as what has
// changed; several in a datagram, runs where there is nothing to say.
#include "driver.h"

#define WANTS(codec) ((uint32_t)(codec) << GP_JOIN_RESULTS_SHIFT)

static struct rig *up(uint8_t kind, uint32_t flags0, uint32_t flags1)
{
	struct rig *r = rig_new();
	r->jobs[0].workers = 2;
	r->jobs[0].kind = kind;
	r->jobs[0].atomicity = GP_ATOM_STEP;
	r->jobs[0].mean = false;
	r->jobs[0].sparse_max = 50;
	r->jobs[0].optim = (struct gp_optim_params){.kind = GP_OPTIM_SGD, .lr = 0.5f};
	r->w[0].join_flags = flags0;
	r->w[1].join_flags = flags1;
	rig_up(r);
	return r;
}

// What a worker has of the model: every RESULT from `from` on is applied. Returns the datagrams.
static uint32_t results_apply(
	const struct worker *w, uint32_t from, float values[BLOCKS][BLOCK_ELEMS], bool *kept)
{
	uint32_t n = 0;
	for (uint32_t i = from; i < w->seen_count; i++) {
		const struct gp_msg *m = &w->seen[i].m;
		const uint8_t *payload = m->body;
		if (m->h.type != GP_WIRE_RESULT)
			continue;
		n++;
		for (uint32_t k = 0; k < m->h.sections; k++) {
			struct gp_section s;
			gp_wire_get_section(m, k, &s);
			for (uint32_t b = s.block; b < s.block + s.run; b++) {
				uint32_t elems = model_elems(b);
				cr_assert_eq(gp_codec_check(s.codec, payload, s.len, elems), 0);
				if (s.flags & GP_WIRE_SECTION_KEEP)
					gp_codec_update(s.codec, values[b], payload, s.len, elems);
				else
					gp_codec_decode(s.codec, values[b], payload, s.len, elems);
				*kept |= s.flags & GP_WIRE_SECTION_KEEP;
			}
			payload += s.len;
		}
	}
	return n;
}

// The rank contributes `value` to element `at` of block 0 and of block 3, and zeros elsewhere.
static void push_sparse(struct worker *w, uint32_t step, uint16_t at, float value)
{
	uint8_t payload[16];
	for (uint32_t i = 0; i < 2; i++) {
		gp_store16(payload + 8 * i, 1);
		gp_store16(payload + 8 * i + 2, at);
		gp_storef(payload + 8 * i + 4, value);
	}
	const struct gp_section s[3] = {
		{.block = 0, .len = 8, .run = 1, .codec = GP_CODEC_TOPK, .weight = 1},
		{.block = 1, .run = 2, .weight = 1},
		{.block = 3, .len = 8, .run = 1, .codec = GP_CODEC_TOPK, .weight = 1}};
	struct gp_header h = worker_header(w, 0, GP_WIRE_PUSH);
	h.flags = GP_WIRE_F_WANT;
	h.step = step;
	h.sections = 3;
	worker_send(w, 0, &h, s, payload, sizeof(payload));
}

Test(pack, a_sparse_sum_goes_back_as_the_union_in_one_datagram)
{
	struct rig *r = up(GP_KIND_REDUCE, 0, WANTS(GP_CODEC_BF16));
	float got[BLOCKS][BLOCK_ELEMS];
	uint32_t from[2] = {r->w[0].seen_count, r->w[1].seen_count};
	push_sparse(&r->w[0], 1, 3, 1.5f);
	push_sparse(&r->w[1], 1, 7, -2.0f);
	rig_run(r);
	for (uint32_t i = 0; i < 2; i++) {
		bool kept = false;
		memset(got, 0xff, sizeof(got));
		cr_assert_eq(results_apply(&r->w[i], from[i], got, &kept), 1);
		cr_assert_not(kept);
		for (uint32_t b = 0; b < BLOCKS; b++)
			for (uint32_t e = 0; e < model_elems(b); e++) {
				float want = e == 3 ? 1.5f : e == 7 ? -2.0f : 0;
				cr_assert_eq(got[b][e], b % 3 ? 0 : want, "%u %u %u", i, b, e);
			}
		const struct seen *s = seen_result(&r->w[i], 0, 1);
		struct gp_section sec;
		cr_assert_eq(s->m.h.sections, 3, "a run for the two empty ones");
		gp_wire_get_section(&s->m, 0, &sec);
		cr_assert_eq(sec.codec, i == 0 ? GP_CODEC_TOPK : GP_CODEC_TOPK_BF16);
		gp_wire_get_section(&s->m, 1, &sec);
		cr_assert(sec.run == 2 && sec.codec == GP_CODEC_NONE && sec.weight == 2);
	}
	rig_free(r);
}

Test(pack, past_the_crossover_a_sum_is_dense)
{
	struct rig *r = up(GP_KIND_REDUCE, 0, 0);
	uint8_t payload[2048] = {0};
	const uint32_t kept = 120; // 724 bytes of 1344
	struct gp_section sec, s = {.run = 1, .codec = GP_CODEC_TOPK, .weight = 1};
	float values[BLOCK_ELEMS] = {0}, got[BLOCK_ELEMS];
	for (uint32_t i = 0; i < kept; i++)
		values[i] = (float)i + 1;
	const struct gp_codec_src src = {.grad = values, .elems = BLOCK_ELEMS, .k = kept};
	s.len = (uint16_t)gp_codec_encode(GP_CODEC_TOPK, &src, payload);
	worker_push(&r->w[0], 1, &s, payload, true);
	const struct gp_section none = {.run = 1, .weight = 1};
	worker_push(&r->w[1], 1, &none, NULL, true);
	rig_run(r);
	gp_wire_get_section(&seen_result(&r->w[0], 0, 1)->m, 0, &sec);
	cr_assert_eq(sec.codec, GP_CODEC_F32);
	result_values(seen_result(&r->w[0], 0, 1), got);
	cr_assert_arr_eq(got, values, sizeof(values));
	rig_free(r);
}

Test(pack, each_worker_gets_its_codec)
{
	static const uint8_t codecs[] = {GP_CODEC_BF16, GP_CODEC_F16, GP_CODEC_INT8};
	for (uint32_t k = 0; k < GP_ARRAY_SIZE(codecs); k++) {
		struct rig *r = up(GP_KIND_REDUCE, 0, WANTS(codecs[k]));
		float sum[BLOCK_ELEMS], want[BLOCKS][BLOCK_ELEMS], got[BLOCKS][BLOCK_ELEMS];
		uint8_t payload[2048];
		bool kept = false;
		uint32_t from = r->w[1].seen_count;
		worker_push_all(&r->w[0], 1, true);
		worker_push_all(&r->w[1], 1, true);
		rig_run(r);
		cr_assert_lt(results_apply(&r->w[1], from, got, &kept), BLOCKS);
		for (uint32_t b = 0; b < BLOCKS; b++) {
			uint32_t elems = model_elems(b);
			reference_sum(sum, 2, 1, b);
			const struct gp_codec_src src = {.grad = sum, .elems = elems};
			uint32_t len = gp_codec_encode(codecs[k], &src, payload);
			gp_codec_decode(codecs[k], want[b], payload, len, elems);
			cr_assert_arr_eq(got[b], want[b], 4 * elems);
			result_values(seen_result(&r->w[0], b, 1), want[b]);
			cr_assert_arr_eq(want[b], sum, 4 * elems, "the other one has f32");
		}
		rig_free(r);
	}
}

// A step of a train job: who asked for it gets what changed, the other one everything.
Test(pack, a_train_job_leaves_out_what_has_not_changed)
{
	struct rig *r = up(GP_KIND_TRAIN, GP_JOIN_CHANGED, 0);
	static float model_of[2][BLOCKS][BLOCK_ELEMS];
	uint32_t from[2] = {0, 0};
	bool kept[2] = {false, false};
	worker_push_all(&r->w[0], 0, true);
	rig_run(r);
	for (uint32_t i = 0; i < 2; i++) {
		worker_pull(&r->w[i], 0, BLOCKS, 0, true);
		rig_run(r);
		(void)results_apply(&r->w[i], 0, model_of[i], &kept[i]);
		cr_assert_not(kept[i], "a pull brings all");
	}
	for (uint32_t step = 1; step <= 3; step++) {
		for (uint32_t i = 0; i < 2; i++) {
			from[i] = r->w[i].seen_count;
			push_sparse(&r->w[i], step, (uint16_t)(2 * step + i), 1.0f);
		}
		rig_run(r);
		cr_assert_eq(results_apply(&r->w[0], from[0], model_of[0], &kept[0]), 1);
		cr_assert_eq(results_apply(&r->w[1], from[1], model_of[1], &kept[1]), BLOCKS);
		cr_assert(kept[0] && !kept[1]);
		for (uint32_t b = 0; b < BLOCKS; b++)
			cr_assert_arr_eq(model_of[0][b], model_of[1][b], 4 * model_elems(b));
	}
	rig_free(r);
}

Test(pack, what_waits_is_let_go_when_its_worker_has_left)
{
	struct rig *r = up(GP_KIND_REDUCE, WANTS(GP_CODEC_INT8), WANTS(GP_CODEC_INT8));
	char why[256];
	for (uint32_t step = 1; step <= 5; step++) {
		worker_push_all(&r->w[0], step, true);
		worker_push_all(&r->w[1], step, true);
		rig_run(r);
	}
	worker_leave(&r->w[1]);
	worker_leave(&r->w[0]);
	rig_run(r);
	cr_assert(gp_engine_at_rest(r->e, why, sizeof(why)), "%s", why);
	rig_free(r);
}
