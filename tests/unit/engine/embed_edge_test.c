// SPDX-License-Identifier: BSD-3-Clause
//
// Embed jobs at their edges: values that are not finite, rings that are full, and what is asked of
// tables too early or of nobody.
#include "embed_rig.h"

#include <errno.h>
#include <math.h>

static void nan_send(struct worker *w, uint32_t step)
{
	uint64_t id = owned(w->r, NARROW, 0, 0);
	struct place p = place_rows(w->r, 0, 0, NARROW, &id, 1, 1);
	gp_store32(p.payload + GP_WIRE_ROWS_PUSH_HEAD + 8 + 4, 0x7fc00000);
	place_send(w, step, &p);
	rig_run(w->r);
}

Test(embed_edge, nan_is_refused_and_names_its_worker)
{
	static const uint8_t policies[] = {GP_NONFINITE_IS_REFUSED, GP_NONFINITE_IS_ZERO};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(policies); i++) {
		struct rig *r = embed_new(GP_CONSIST_ASP, 1, 2);
		r->jobs[0].nonfinite = policies[i];
		embed_up(r);
		nan_send(&r->w[1], 1);
		struct gp_refuse x = refused_last(&r->w[1]);
		cr_assert_eq(x.reason, GP_REFUSAL_NONFINITE);
		cr_assert(strstr(x.text, "rank 1, table narrow, step 1"), "%s", x.text);
		cr_assert_eq(rig_job(r).joined, 2, "and it may go on");
		push_row_done(&r->w[1], 1, NARROW, 3, 1);
		rig_free(r);
	}
}

Test(embed_edge, nan_can_end_its_workers_session)
{
	struct rig *r = embed_new(GP_CONSIST_ASP, 1, 2);
	r->jobs[0].nonfinite = GP_NONFINITE_DROPS_RANK;
	embed_up(r);
	nan_send(&r->w[1], 1);
	cr_assert_eq(refused_last(&r->w[1]).reason, GP_REFUSAL_NONFINITE);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_NONFINITE), 1);
	cr_assert_eq(rig_job(r).joined, 1);
	push_row_done(&r->w[0], 1, NARROW, 3, 1);
	rig_free(r);
}

Test(embed_edge, nan_that_control_cannot_hear_of_is_not_taken)
{
	struct rig *r = embed_new(GP_CONSIST_ASP, 1, 2);
	r->jobs[0].nonfinite = GP_NONFINITE_DROPS_RANK;
	r->cfg.ring_size = 64;
	embed_up(r);
	r->no_control = true;
	for (uint32_t i = 0; i < 80; i++) // the ring to control is full then
		worker_register(&r->w[1], embed_tables, EMBED_TABLES, 0, EMBED_TABLES);
	rig_run(r);
	uint64_t full = rig_verdicts(r, GP_VERDICT_CONTROL_FULL);
	cr_assert_gt(full, 0);
	nan_send(&r->w[1], 1);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_CONTROL_FULL), full + 1);
	r->no_control = false;
	rig_run(r);
	cr_assert_eq(rig_job(r).joined, 2);
	nan_send(&r->w[1], 1);
	cr_assert_eq(rig_job(r).joined, 1, "sent again, it is heard of");
	rig_free(r);
}

Test(embed_edge, rows_before_there_are_tables)
{
	struct rig *r = embed_new(GP_CONSIST_ASP, 1, 2);
	embed_enter(r);
	const uint64_t id = 1;
	const struct gp_rows_head x = {
		.request = 1, .table = NARROW, .n = 1, .dim = NARROW_DIM, .codec = GP_CODEC_F32};
	rows_ask(&r->w[0], 0, 0, &x, &id);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_NOT_READY), 1);
	cr_assert_null(seen_last(&r->w[0], GP_WIRE_ROWS, 0));
	rig_free(r);
}

// A padded answer too: three of two bytes.
Test(embed_edge, rows_in_each_width)
{
	static const uint8_t codecs[] = {GP_CODEC_F32, GP_CODEC_BF16};
	struct rig *r = embed_new(GP_CONSIST_ASP, 1, 1);
	embed_up(r);
	push_row_done(&r->w[0], 1, NARROW, 5, 2); // -1, -1.5, -2 with a rate of 1/2
	uint32_t generation = granted(&r->w[0], 1, 2);
	const uint64_t id = 5;
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(codecs); i++) {
		const struct gp_rows_head x = {.request = 100 + i,
			.table = NARROW,
			.n = 1,
			.dim = NARROW_DIM,
			.codec = codecs[i]};
		rows_ask(&r->w[0], 0, generation, &x, &id);
		const struct seen *s = seen_last(&r->w[0], GP_WIRE_ROWS, 0);
		struct gp_rows_head y;
		cr_assert(s);
		gp_wire_get_rows(&s->m, &y);
		cr_assert(y.request == 100 + i && y.codec == codecs[i]);
		float got[NARROW_DIM];
		uint32_t len = NARROW_DIM * gp_rows_value_size(codecs[i]);
		gp_codec_decode(codecs[i], got, s->m.body + GP_WIRE_ROWS_HEAD, len, NARROW_DIM);
		for (uint32_t k = 0; k < NARROW_DIM; k++)
			cr_assert_eq(got[k], -1.0f - 0.5f * (float)k, "codec %u: %g", codecs[i],
				(double)got[k]);
	}
	rig_free(r);
}

Test(embed_edge, rows_asked_for_without_a_frame)
{
	struct rig *r = embed_new(GP_CONSIST_ASP, 1, 1);
	embed_up(r);
	push_row_done(&r->w[0], 1, NARROW, 5, 2);
	uint32_t generation = granted(&r->w[0], 1, 2);
	const uint64_t id = 5;
	const struct gp_rows_head x = {
		.request = 9, .table = NARROW, .n = 1, .dim = NARROW_DIM, .codec = GP_CODEC_F32};
	uint64_t before = RIG_COUNT(r, tx_no_frame);
	r->starve = UINT32_MAX;
	rows_ask(&r->w[0], 0, generation, &x, &id);
	r->starve = 0;
	cr_assert_gt(RIG_COUNT(r, tx_no_frame), before);
	cr_assert_null(seen_last(&r->w[0], GP_WIRE_ROWS, 0));
	rows_ask(&r->w[0], 0, generation, &x, &id);
	cr_assert(seen_last(&r->w[0], GP_WIRE_ROWS, 0));
	rig_free(r);
}

static void on_id(void *arg, uint64_t id)
{
	(void)arg;
	cr_assert_fail("row %lu", id);
}

// 0, or what it says of the row.
static int row_of(const struct rig *r, uint32_t table, uint32_t generation, uint64_t id)
{
	float row[2 * WIDE_DIM];
	uint32_t step;
	const struct gp_table_want x = {
		.table = table, .n = 1, .ids = &id, .rows = row, .steps = &step};
	int rc = 0;
	uint32_t n = gp_engine_table_rows(r->e, 0, generation, &x, &rc);
	cr_assert_eq(n, rc == 0);
	return rc;
}

Test(embed_edge, what_is_asked_of_no_table)
{
	struct rig *r = embed_new(GP_CONSIST_ASP, 2, 1);
	struct gp_table_ids ids = {.id_seen = on_id, .core = 0};
	struct gp_table_view v;
	struct gp_table_cut cut;
	rig_start(r);
	cr_assert_not(gp_engine_table_view(r->e, 0, 0, &v), "there is no layout");
	cr_assert_not(gp_engine_table_cut(r->e, 0, 0, 0, &cut));
	cr_assert_eq(worker_enter(&r->w[0], 0), 0);
	worker_attach(&r->w[0]);
	worker_register(&r->w[0], embed_tables, EMBED_TABLES, 0, EMBED_TABLES);
	rig_run(r);
	cr_assert(gp_engine_table_view(r->e, 0, EMBED_TABLES - 1, &v));
	cr_assert_not(gp_engine_table_view(r->e, 0, EMBED_TABLES, &v));
	push_row_done(&r->w[0], 1, NARROW, 5, 2);
	cr_assert_eq(gp_engine_table_ids(r->e, 0, 0, 1, &ids), -ENOENT, "nobody keeps it");
	cr_assert_eq(row_of(r, 0, 1, 5), -ENOENT);
	cr_assert_eq(gp_registrar_cut(r->reg, 1), 0);
	rig_run(r);
	uint32_t pinned = r->cut_step;
	cr_assert(gp_engine_table_cut(r->e, 0, NARROW, pinned, &cut));
	cr_assert_eq(cut.rows, 1);
	cr_assert_not(gp_engine_table_cut(r->e, 0, EMBED_TABLES, pinned, &cut));
	cr_assert_not(gp_engine_table_cut(r->e, 0, NARROW, pinned + 1, &cut));
	ids.core = 2;
	cr_assert_eq(gp_engine_table_ids(r->e, 0, NARROW, pinned, &ids), -ENOENT, "of no core");
	ids.core = 0;
	cr_assert_eq(gp_engine_table_ids(r->e, 0, EMBED_TABLES, pinned, &ids), -ENOENT);
	cr_assert_eq(row_of(r, NARROW, pinned, 5), 0);
	cr_assert_eq(row_of(r, NARROW, pinned, 6), -ENOENT);
	// One that is made afterwards was not there.
	push_row_done(&r->w[0], 2, NARROW, 6, 2);
	cr_assert_eq(row_of(r, NARROW, pinned, 6), -ENOENT);
	gp_registrar_cut_release(r->reg, 1);
	rig_run(r);
	cr_assert_not(gp_engine_table_cut(r->e, 0, NARROW, pinned, &cut));
	rig_free(r);
}

Test(embed_edge, tables_are_for_embed_jobs)
{
	struct rig *r = rig_new();
	struct gp_table_view v;
	struct gp_table_cut cut;
	rig_up(r);
	cr_assert_not(gp_engine_table_view(r->e, 0, 0, &v));
	cr_assert_not(gp_engine_table_cut(r->e, 0, 0, 0, &cut));
	rig_free(r);
}

// The same numbers in the same places are the same row, whatever their zero's sign.
Test(embed_edge, the_digest_of_a_row)
{
	const float a[3] = {0.0f, 1, 2}, b[3] = {-0.0f, 1, 2}, c[3] = {1, 0.0f, 2};
	uint64_t d = gp_engine_row_digest(1, 5, 77, a, 3);
	cr_assert_eq(d, gp_engine_row_digest(1, 5, 77, b, 3));
	cr_assert_neq(d, gp_engine_row_digest(1, 5, 77, c, 3));
	cr_assert_neq(d, gp_engine_row_digest(0, 5, 77, a, 3));
	cr_assert_neq(d, gp_engine_row_digest(1, 6, 77, a, 3));
	cr_assert_neq(d, gp_engine_row_digest(1, 5, 77 + (UINT64_C(1) << 32), a, 3));
	cr_assert_neq(d, gp_engine_row_digest(1, 5, 77, a, 2));
}

// The second half before the first, and that once more.
Test(embed_edge, places_of_a_push_that_comes_in_two_halves)
{
	struct rig *r = embed_new(GP_CONSIST_ASP, 1, 2);
	embed_up(r);
	const uint64_t low = 3, high = 900;
	struct place p = place_rows(r, 0, 1, NARROW, &high, 1, 1);
	place_send(&r->w[0], 1, &p);
	p = place_rows(r, 0, 0, NARROW, &low, 1, 1);
	place_send(&r->w[0], 1, &p);
	place_send(&r->w[0], 1, &p); // again
	rig_run(r);
	cr_assert_null(seen_last(&r->w[0], GP_WIRE_REFUSE, 0));
	cr_assert_gt(rig_verdicts(r, GP_VERDICT_PUSH_DUPLICATE), 0);
	pass_send(&r->w[0], 1, 0, 2);
	rig_run(r);
	cr_assert(seen_commit(&r->w[0], GP_DECISION_COMMIT, 0, 1));
	pass_send(&r->w[1], 1, 0, 0); // one that has nothing at all
	rig_run(r);
	cr_assert(seen_commit(&r->w[1], GP_DECISION_COMMIT, 1, 1));
	uint32_t generation = granted(&r->w[1], 1, 2);
	expect_row(&r->w[1], generation, NARROW, low, -0.5f, -0.5f);
	expect_row(&r->w[1], generation, NARROW, high, -0.5f, -0.5f);
	rig_free(r);
}
