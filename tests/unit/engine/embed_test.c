// SPDX-License-Identifier: BSD-3-Clause
//
// Embed jobs: pushes of rows, whole or not at all; pulls of one generation; what is refused.
#include "embed_rig.h"

#include <math.h>
#include <stdlib.h>

// ---- pushes and pulls

Test(embed, each_push_is_one_update_of_its_rows)
{
	for (uint32_t cores = 1; cores <= 3; cores++) {
		struct rig *r = embed_new(GP_CONSIST_SSP, cores, 2);
		embed_up(r);
		uint64_t a = owned(r, NARROW, 0, 0), b = owned(r, NARROW, cores - 1, 1);
		uint32_t g0 = granted(&r->w[1], 1, 1);
		expect_row(&r->w[1], g0, NARROW, a, 0, 0);
		push_row_done(&r->w[0], 1, NARROW, a, 2);
		push_row_done(&r->w[1], 1, NARROW, a, 4);
		uint32_t g = granted(&r->w[1], 2, 2);
		expect_row(&r->w[1], g, NARROW, a, -LR * 6, -LR * 2);
		expect_row(&r->w[1], g, NARROW, b, 0, 0);
		expect_row(&r->w[1], g0, NARROW, a, 0, 0);
		push_row_done(&r->w[0], 2, WIDE, b, 8); // bf16 holds these exactly
		expect_row(&r->w[0], granted(&r->w[0], 1, 3), WIDE, owned(r, WIDE, 0, 0),
			gp_rows_owner(WIDE, b, cores) == 0 && b == owned(r, WIDE, 0, 0) ? -LR * 8
											: 0,
			gp_rows_owner(WIDE, b, cores) == 0 && b == owned(r, WIDE, 0, 0) ? -LR : 0);
		struct gp_table_view v;
		cr_assert(gp_engine_table_view(r->e, 0, NARROW, &v));
		cr_assert_str_eq(v.name, "narrow");
		cr_assert(v.rows == 1 && v.dim == NARROW_DIM && v.rows_max == 3000 && v.kept >= 1);
		cr_assert_not(gp_engine_table_view(r->e, 0, EMBED_TABLES, &v));
		rig_free(r);
	}
}

Test(embed, a_push_is_seen_whole_or_not_at_all)
{
	struct rig *r = embed_new(GP_CONSIST_ASP, 2, 2);
	embed_up(r);
	struct worker *w = &r->w[0];
	uint64_t ids[4];
	for (uint32_t i = 0; i < 4; i++)
		ids[i] = owned(r, NARROW, i / 2, i % 2);
	struct place p0 = place_rows(r, 0, 0, NARROW, &ids[0], 1, 1);
	struct place p1 = place_rows(r, 0, 1, NARROW, &ids[1], 1, 1);
	struct place p2 = place_rows(r, 1, 0, NARROW, &ids[2], 2, 1);
	place_send(w, 1, &p1); // before the one in front of it
	place_send(w, 1, &p2);
	pass_send(w, 1, 0, 2);
	pass_send(w, 1, 1, 1);
	rig_run(r);
	uint32_t g = granted(&r->w[1], 1, 1);
	for (uint32_t i = 0; i < 4; i++)
		expect_row(&r->w[1], g, NARROW, ids[i], 0, 0);
	place_send(w, 1, &p0);
	place_send(w, 1, &p0);
	rig_run(r);
	place_send(w, 1, &p1);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_PUSH_DUPLICATE), 2);
	cr_assert(seen_commit(w, GP_DECISION_COMMIT, 0, 1));
	for (uint32_t i = 0; i < 4; i++)
		expect_row(&r->w[1], g, NARROW, ids[i], 0, 0);
	r->now += 10 * RIG_MS;
	g = granted(&r->w[1], 2, 1);
	for (uint32_t i = 0; i < 4; i++)
		expect_row(&r->w[1], g, NARROW, ids[i], -LR * (i == 3 ? 2 : 1), -LR);
	rig_free(r);
}

Test(embed, rows_of_a_generation_that_is_read_stay)
{
	struct rig *r = embed_new(GP_CONSIST_ASP, 1, 1);
	r->jobs[0].tables[1].kept_percent = 1; // 30 copies
	embed_up(r);
	struct worker *w = &r->w[0];
	uint32_t g[4];
	for (uint32_t i = 0; i < 4; i++) {
		g[i] = granted(w, i + 1, i + 1);
		push_row_done(w, i + 1, NARROW, 7, 2);
		for (uint32_t k = 0; k <= i; k++)
			expect_row(w, g[k], NARROW, 7, -LR * 2 * (float)k, -LR * (float)k);
	}
	// One push that changes more rows than copies fit: the older generations go, not this push.
	uint64_t ids[40];
	for (uint32_t i = 0; i < 40; i++)
		ids[i] = 100 + i;
	const struct place p = place_rows(r, 0, 0, NARROW, ids, 40, 0);
	float got[NARROW_DIM];
	place_send(w, 5, &p);
	pass_send(w, 5, 0, 1);
	rig_run(r);
	cr_assert(seen_commit(w, GP_DECISION_COMMIT, 0, 5));
	cr_assert_not(row_pull(w, g[0], NARROW, 7, got));
	struct gp_refuse x = refused_last(w);
	cr_assert(x.reason == GP_REFUSAL_GONE && x.about == GP_WIRE_PULL_ROWS && x.step == g[0]);
	struct gp_read_reply y = read_now(w, 9, 6, GP_READ_RESERVE);
	cr_assert_eq(y.state, GP_READ_GRANTED);
	expect_row(w, y.generation, NARROW, 7, -LR * 8, -LR * 4);
	expect_row(w, y.generation, NARROW, ids[39], -LR * 39, -LR);
	rig_free(r);
}

Test(embed, a_rank_that_leaves_takes_its_half_push_along)
{
	struct rig *r = embed_new(GP_CONSIST_ASP, 2, 2);
	r->jobs[0].tables[1].rows_max = 8;
	embed_up(r);
	uint64_t ids[20];
	for (uint32_t i = 0; i < 20; i++)
		ids[i] = owned(r, NARROW, 0, i);
	const struct place p = place_rows(r, 0, 0, NARROW, ids, 20, 1);
	place_send(&r->w[0], 1, &p);
	rig_run(r);
	worker_leave(&r->w[0]);
	rig_run(r);
	// What it held is free again: 68 rows fit this core, 20 at a time.
	for (uint32_t step = 1; step <= 3; step++) {
		for (uint32_t i = 0; i < 20; i++)
			ids[i] = owned(r, NARROW, 0, 20 * step + i);
		const struct place q = place_rows(r, 0, 0, NARROW, ids, 20, 1);
		place_send(&r->w[1], step, &q);
		pass_send(&r->w[1], step, 0, 1);
		pass_send(&r->w[1], step, 1, 0);
		rig_run(r);
		cr_assert(seen_commit(&r->w[1], GP_DECISION_COMMIT, 1, step));
	}
	struct gp_table_view v;
	cr_assert(gp_engine_table_view(r->e, 0, NARROW, &v));
	cr_assert(v.rows == 60 && v.refused == 0);
	rig_free(r);
}

// ---- full tables

Test(embed, a_full_table_refuses_by_its_name)
{
	struct rig *r = embed_new(GP_CONSIST_ASP, 1, 2);
	r->jobs[0].tables[1].rows_max = 30;
	embed_up(r);
	uint64_t ids[32];
	for (uint32_t i = 0; i < 32; i++)
		ids[i] = 5 * i;
	struct place p = place_rows(r, 0, 0, NARROW, ids, 20, 1);
	place_send(&r->w[0], 1, &p); // waits for the rest of its push
	p = place_rows(r, 0, 0, NARROW, ids + 15, 11, 1);
	place_send(&r->w[1], 1, &p);
	rig_run(r);
	struct gp_refuse x = refused_last(&r->w[1]);
	cr_assert_eq(x.reason, GP_REFUSAL_OVER_QUOTA);
	cr_assert(x.expected == 30 && x.seen == 31, "%lu %lu", x.expected, x.seen);
	cr_assert(strstr(x.text, "table narrow is full"), "%s", x.text);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_TABLE_FULL), 1);
	pass_send(&r->w[0], 1, 0, 1);
	rig_run(r);
	place_send(&r->w[1], 1, &p); // five of them are there by now
	pass_send(&r->w[1], 1, 0, 1);
	rig_run(r);
	cr_assert(seen_commit(&r->w[1], GP_DECISION_COMMIT, 1, 1));
	push_row(&r->w[0], 2, NARROW, 5, 1); // an old row needs no place
	cr_assert(seen_commit(&r->w[0], GP_DECISION_COMMIT, 0, 2));
	for (uint32_t i = 0; i < 5; i++)
		ids[i] = 1000 + i;
	p = place_rows(r, 0, 0, NARROW, ids, 5, 1);
	place_send(&r->w[0], 3, &p);
	rig_run(r);
	cr_assert_eq(refused_last(&r->w[0]).reason, GP_REFUSAL_OVER_QUOTA);
	struct gp_table_view v;
	cr_assert(gp_engine_table_view(r->e, 0, NARROW, &v));
	cr_assert(v.rows == 26 && v.refused == 0, "%lu", v.rows);
	rig_free(r);
}

Test(embed, a_table_that_evicts_makes_room)
{
	struct rig *r = embed_new(GP_CONSIST_ASP, 1, 1);
	r->jobs[0].tables[1].rows_max = 640;
	r->jobs[0].tables[1].eviction = GP_ROWS_EVICT_STEP;
	embed_up(r);
	struct worker *w = &r->w[0];
	uint64_t ids[41];
	uint32_t step = 0;
	for (uint32_t base = 0; base < 2000; base += 40) {
		for (uint32_t i = 0; i < 40; i++)
			ids[i] = base + i;
		const struct place p = place_rows(r, 0, 0, NARROW, ids, 40, 1);
		step++;
		for (uint32_t tries = 0; tries < 500; tries++) {
			place_send(w, step, &p);
			rig_run(r);
			if (!seen_last(w, GP_WIRE_BUSY, 0))
				break;
			seen_clear(w);
		}
		pass_send(w, step, 0, 1);
		rig_run(r);
		cr_assert(seen_commit(w, GP_DECISION_COMMIT, 0, step), "step %u", step);
		expect_row(w, granted(w, step, step + 1), NARROW, base, -LR, -LR);
		seen_clear(w);
	}
	struct gp_table_view v;
	cr_assert(gp_engine_table_view(r->e, 0, NARROW, &v));
	cr_assert(v.rows <= 640 && v.evicted >= 2000 - 640 && v.refused == 0);
	for (uint32_t i = 0; i < 41; i++)
		ids[i] = 5000 + i;
	const struct place p = place_rows(r, 0, 0, NARROW, ids, 41, 1);
	place_send(w, step + 1, &p); // more than its share of 640 / 16
	rig_run(r);
	struct gp_refuse x = refused_last(w);
	cr_assert(x.reason == GP_REFUSAL_OVER_QUOTA && x.expected == 40 && x.seen == 41);
	rig_free(r);
}

Test(embed, rows_that_are_not_written_age)
{
	struct rig *r = embed_new(GP_CONSIST_ASP, 1, 1);
	r->jobs[0].tables[1].eviction = GP_ROWS_EVICT_AGE;
	r->jobs[0].tables[1].evict_after = 3;
	embed_up(r);
	struct worker *w = &r->w[0];
	push_row_done(w, 1, NARROW, 1, 2);
	uint32_t g = granted(w, 1, 2);
	for (uint32_t step = 2; step <= 8; step++)
		push_row_done(w, step, NARROW, 2, 2);
	struct gp_table_view v;
	cr_assert(gp_engine_table_view(r->e, 0, NARROW, &v));
	cr_assert(v.rows == 1 && v.evicted == 1, "%lu rows", v.rows);
	expect_row(w, g, NARROW, 1, -LR * 2, -LR); // what was read then still is
	expect_row(w, granted(w, 2, 9), NARROW, 1, 0, 0);
	rig_free(r);
}

Test(embed, rows_that_are_pulled_do_not_age_where_reads_count)
{
	for (uint32_t reads = 0; reads < 2; reads++) {
		struct rig *r = embed_new(GP_CONSIST_ASP, 1, 1);
		r->jobs[0].tables[1].eviction = GP_ROWS_EVICT_AGE;
		r->jobs[0].tables[1].evict_after = 3;
		r->jobs[0].tables[1].evict_reads = reads;
		embed_up(r);
		struct worker *w = &r->w[0];
		push_row_done(w, 1, NARROW, 1, 2);
		for (uint32_t step = 2; step <= 8; step++) {
			push_row_done(w, step, NARROW, 2, 2);
			float got[WIDE_DIM];
			uint32_t g = granted(w, step, step + 1);
			cr_assert(row_pull(w, g, NARROW, 1, got)); // used, if reads count
			if (step == 8)
				expect_row(w, g, NARROW, 1, reads ? -LR * 2 : 0, reads ? -LR : 0);
		}
		struct gp_table_view v;
		cr_assert(gp_engine_table_view(r->e, 0, NARROW, &v));
		cr_assert_eq(v.rows, reads ? 2 : 1);
		rig_free(r);
	}
}

Test(embed, a_table_may_have_a_rate_and_a_rule_of_its_own)
{
	struct rig *r = embed_new(GP_CONSIST_ASP, 1, 1);
	struct gp_job_table *t = &r->jobs[0].tables[1];
	t->own_optim = true;
	t->optim = r->jobs[0].optim;
	t->optim.lr = LR / 4;
	embed_up(r);
	struct worker *w = &r->w[0];
	push_row_done(w, 1, NARROW, 1, 2);
	push_row_done(w, 2, WIDE, 1, 2);
	expect_row(w, granted(w, 1, 3), NARROW, 1, -LR / 4 * 2, -LR / 4);
	push_row_done(w, 3, NARROW, 1, 2); // the plan of one is not that of the other
	expect_row(w, granted(w, 2, 4), NARROW, 1, -LR / 4 * 4, -LR / 4 * 2);
	rig_free(r);
}

// ---- what is refused

static void expect_bad(struct rig *r, const struct place *p, const char *what)
{
	uint64_t bad = rig_verdicts(r, GP_VERDICT_BAD_PAYLOAD);
	place_send(&r->w[0], 1, p);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_BAD_PAYLOAD), bad + 1, "%s", what);
	struct gp_refuse x = refused_last(&r->w[0]);
	cr_assert_eq(x.reason, GP_REFUSAL_BAD_PAYLOAD);
	cr_assert(strstr(x.text, what), "%s, not %s", x.text, what);
}

Test(embed, places_that_are_not_what_they_must_be)
{
	struct rig *r = embed_new(GP_CONSIST_ASP, 2, 1);
	embed_up(r);
	uint64_t ids[4];
	for (uint32_t i = 0; i < 4; i++)
		ids[i] = owned(r, NARROW, 0, i);
	struct place p = place_rows(r, 0, 0, NARROW, ids, 2, 1);
	p.s.codec = GP_CODEC_F32;
	expect_bad(r, &p, "not a place of rows");
	p = place_rows(r, 0, 0, NARROW, ids, 2, 1);
	gp_store64(p.payload + 16, ids[0]);
	expect_bad(r, &p, "not a place of rows");
	p = place_rows(r, 0, 0, NARROW, ids, 2, 1);
	gp_store16(p.payload, 2);
	expect_bad(r, &p, "a table that the job does not have");
	p = place_rows(r, 0, 0, NARROW, ids, 2, 1);
	p.s.len -= 4;
	expect_bad(r, &p, "values of another length");
	const uint64_t foreign = owned(r, NARROW, 1, 0);
	p = place_rows(r, 0, 0, NARROW, &foreign, 1, 1);
	expect_bad(r, &p, "a row of another core");
	p = place_rows(r, 0, 0, NARROW, ids, 1, NAN);
	place_send(&r->w[0], 1, &p);
	rig_run(r);
	cr_assert_eq(refused_last(&r->w[0]).reason, GP_REFUSAL_NONFINITE);
	cr_assert(strstr(refused_last(&r->w[0]).text, "table narrow"));
	rig_free(r);
}

Test(embed, rows_in_order_through_all_places)
{
	static const char order[] = "not in increasing order";
	struct rig *r = embed_new(GP_CONSIST_ASP, 1, 1);
	embed_up(r);
	const uint64_t ids[] = {3, 5, 9};
	struct place p = place_rows(r, 0, 1, NARROW, &ids[1], 1, 1);
	place_send(&r->w[0], 1, &p);
	p = place_rows(r, 0, 2, NARROW, &ids[1], 1, 1);
	expect_bad(r, &p, order); // the same row again
	p = place_rows(r, 0, 2, NARROW, &ids[0], 1, 1);
	expect_bad(r, &p, order);
	p = place_rows(r, 0, 0, WIDE, &ids[0], 1, 1);
	expect_bad(r, &p, order); // a later table before an earlier one
	p = place_rows(r, 0, 0, NARROW, &ids[2], 1, 1);
	expect_bad(r, &p, order);
	p = place_pass(r, 0, 0);
	p.s.run = 1;
	expect_bad(r, &p, order); // passed, and rows behind
	pass_send(&r->w[0], 1, 0, 3);
	rig_run(r);
	p = place_rows(r, 0, 2, WIDE, &ids[0], 1, 1);
	place_send(&r->w[0], 1, &p);
	p = place_rows(r, 0, 0, NARROW, &ids[0], 1, 1);
	place_send(&r->w[0], 1, &p);
	rig_run(r);
	cr_assert(seen_commit(&r->w[0], GP_DECISION_COMMIT, 0, 1));
	rig_free(r);
}

// Two places in one datagram, which the core sees before either is taken.
Test(embed, rows_in_order_within_a_datagram)
{
	struct rig *r = embed_new(GP_CONSIST_ASP, 1, 1);
	embed_up(r);
	struct worker *w = &r->w[0];
	const uint64_t ids[] = {3, 5};
	const struct place p[] = {place_rows(r, 0, 0, NARROW, &ids[1], 1, 1),
		place_rows(r, 0, 1, NARROW, &ids[0], 1, 1)};
	for (uint32_t first = 0; first < 2; first++) {
		uint8_t body[512];
		const struct place *a = &p[first], *b = &p[1 - first];
		const struct gp_section s[] = {a->s, b->s};
		struct gp_header h = worker_header(w, 0, GP_WIRE_PUSH);
		h.step = 1;
		h.sections = 2;
		memcpy(body, a->payload, a->s.len);
		memcpy(body + a->s.len, b->payload, b->s.len);
		worker_send(w, 0, &h, s, body, a->s.len + b->s.len);
		rig_run(r);
		cr_assert_eq(rig_verdicts(r, GP_VERDICT_BAD_PAYLOAD), first + 1);
	}
	rig_free(r);
}

Test(embed, tables_that_are_not_the_jobs)
{
	static const struct tensor wrong[] = {
		{.name = "narrow", .dims_count = 1, .dims = {NARROW_DIM + 1}},
		{.name = "narrow", .dims_count = 2, .dims = {NARROW_DIM, 1}},
		{.name = "other", .dims_count = 1, .dims = {NARROW_DIM}},
	};
	static const uint16_t reasons[] = {
		GP_REFUSAL_SHAPE_MISMATCH, GP_REFUSAL_SHAPE_MISMATCH, GP_REFUSAL_UNKNOWN_TENSOR};
	struct rig *r = embed_new(GP_CONSIST_ASP, 1, 1);
	embed_enter(r);
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(wrong); i++) {
		worker_register(&r->w[0], &wrong[i], EMBED_TABLES, 0, 1);
		rig_run(r);
		cr_assert_eq(refused_last(&r->w[0]).reason, reasons[i], "%u", i);
	}
	worker_register(&r->w[0], embed_tables, 1, 0, 1);
	rig_run(r);
	cr_assert_eq(refused_last(&r->w[0]).reason, GP_REFUSAL_TENSOR_COUNT);
	rig_free(r);
}

Test(embed, a_row_wider_than_a_block)
{
	for (uint32_t dim = 268; dim <= 269; dim++) { // 8 + 8 + 4 * 268 = 1088
		struct rig *r = embed_new(GP_CONSIST_ASP, 1, 1);
		const struct tensor t = {.name = "narrow", .dims_count = 1, .dims = {dim}};
		r->jobs[0].payload_max = 1212;
		r->jobs[0].tables_count = 1;
		r->jobs[0].tables[0] = r->jobs[0].tables[1];
		r->jobs[0].tables[0].dim = dim;
		r->cfg.payload_max = 1212;
		embed_enter(r);
		worker_register(&r->w[0], &t, 1, 0, 1);
		rig_run(r);
		if (dim == 268) {
			cr_assert_eq(rig_job(r).block_elems, 272);
			cr_assert_null(seen_last(&r->w[0], GP_WIRE_REFUSE, 0));
		} else {
			struct gp_refuse x = refused_last(&r->w[0]);
			cr_assert_eq(x.reason, GP_REFUSAL_SHAPE_MISMATCH);
			cr_assert(strstr(x.text, "a row of table narrow takes 1092 bytes"), "%s",
				x.text);
		}
		rig_free(r);
	}
}

Test(embed, pulls_that_cannot_be_answered)
{
	struct rig *r = embed_new(GP_CONSIST_ASP, 2, 1);
	embed_up(r);
	struct worker *w = &r->w[0];
	const uint64_t ids[200] = {[0] = owned(r, NARROW, 0, 0)};
	const struct gp_rows_head good = {
		.request = 1, .table = NARROW, .n = 1, .dim = NARROW_DIM, .codec = GP_CODEC_F32};
	struct gp_rows_head x = good;
	rows_ask(w, 1, 0, &x, ids);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_WRONG_CORE), 1);
	x.dim = 4;
	rows_ask(w, 0, 0, &x, ids);
	x = good;
	x.table = 2;
	rows_ask(w, 0, 0, &x, ids);
	x = good;
	x.n = 117; // 117 * 12 = 1404 > 1452 - 56
	rows_ask(w, 0, 0, &x, ids);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_BAD_PAYLOAD), 3);
	cr_assert_eq(refused_last(w).reason, GP_REFUSAL_BAD_PAYLOAD);
	cr_assert_null(seen_last(w, GP_WIRE_ROWS, 0));
	rows_ask(w, 0, 9, &good, ids); // not yet
	cr_assert_null(seen_last(w, GP_WIRE_ROWS, 0));
	rows_ask(w, 0, 0, &good, ids);
	cr_assert(seen_last(w, GP_WIRE_ROWS, 0));
	rig_free(r);
}

Test(embed, rows_are_for_embed_jobs)
{
	struct rig *r = async_new(GP_CONSIST_ASP, GP_ATOM_STEP, 2);
	async_up(r);
	const uint64_t id = 1;
	const struct gp_rows_head x = {.table = 0, .n = 1, .dim = 10, .codec = GP_CODEC_F32};
	rows_ask(&r->w[0], 0, 0, &x, &id);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_NOT_ALLOWED), 1);
	const struct place p = place_rows(r, 0, 3, NARROW, &id, 1, 1);
	place_send(&r->w[0], 1, &p);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_BAD_PAYLOAD), 1);
	rig_free(r);
}

Test(embed, what_an_embed_job_cannot_be)
{
	static const struct {
		size_t at, size;
		uint64_t value;
		const char *what;
	} wrong[] = {
#define WRONG(member, v)                                                                           \
	{offsetof(struct gp_job_config, member), sizeof(((struct gp_job_config *)0)->member), v,   \
		#member}
		WRONG(consistency, GP_CONSIST_BSP),
		WRONG(consistency, GP_CONSIST_QUORUM),
		WRONG(atomicity, GP_ATOM_BLOCK),
		WRONG(tables_count, 0),
		WRONG(tables_count, GP_ENGINE_TABLES_MAX + 1),
		WRONG(tensors_max, 1),
		WRONG(push_max, 0),
		WRONG(tables[0].dim, 0),
		WRONG(tables[1].rows_max, 0),
		WRONG(tables[1].kept_percent, 0),
		WRONG(tables[0].name, 0),
	};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(wrong); i++) {
		struct rig *r = embed_new(GP_CONSIST_ASP, 1, 1);
		struct gp_xport *x[RIG_CORES_MAX] = {0};
		struct gp_engine *e;
		memset((uint8_t *)&r->jobs[0] + wrong[i].at, 0, wrong[i].size);
		memcpy((uint8_t *)&r->jobs[0] + wrong[i].at, &wrong[i].value,
			GP_MIN(wrong[i].size, sizeof(wrong[i].value)));
		cr_assert_neq(gp_engine_create(&e, &r->cfg, x), 0, "%s", wrong[i].what);
		free(r);
	}
}
