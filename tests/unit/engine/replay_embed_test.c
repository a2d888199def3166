// SPDX-License-Identifier: BSD-3-Clause
//
// Embed jobs through the recorder and a replay.
#include "embed_rig.h"
#include "forge_rig.h"

#define CELLS 16384

static struct rig *rig_recorded(uint32_t cores, bool payloads)
{
	struct rig *r = embed_new(GP_CONSIST_SSP, cores, 2);
	r->cfg.flight_cells = CELLS;
	r->cfg.flight_payloads = payloads;
	return r;
}

// Ranks apart, a push again, one too early, pulls, a full refusal, a silent member, its next life.
static void run_eventful(struct rig *r)
{
	embed_up(r);
	for (uint32_t step = 1; step <= 3; step++) {
		push_row_done(&r->w[0], step, NARROW, 7 * step, (float)step);
		push_row_done(&r->w[1], step, WIDE, 7, 1);
		float row[WIDE_DIM];
		cr_assert(row_pull(
			&r->w[1], granted(&r->w[1], step, step + 1), NARROW, 7 * step, row));
	}
	push_row(&r->w[0], 3, NARROW, 21, 3); // again
	push_row(&r->w[0], 9, NARROW, 21, 3); // too early
	uint64_t id = owned(r, NARROW, 0, 5);
	struct place p = place_rows(r, 0, 0, NARROW, &id, 1, 1);
	p.payload[0] = 9; // of a table that is not there
	place_send(&r->w[0], 4, &p);
	rig_run(r);
	rig_wait(r, 3 * RIG_TIMEOUT_NS, 1); // rank 1 is silent
	push_row_done(&r->w[0], 4, NARROW, 7, 2);
	r->w[1].incarnation += 100;
	cr_assert_eq(worker_enter(&r->w[1], 1), 0);
	worker_attach(&r->w[1]);
	worker_register(&r->w[1], embed_tables, EMBED_TABLES, 0, EMBED_TABLES);
	rig_run(r);
	push_row(&r->w[1], 6, WIDE, 7, 1);
	push_row_done(&r->w[0], 5, NARROW, 1000, 1);
}

static void expect_tables(const struct rig *r, struct gp_engine *again)
{
	for (uint32_t t = 0; t < EMBED_TABLES; t++) {
		struct gp_table_view a, b;
		cr_assert(gp_engine_table_view(r->e, 0, t, &a));
		cr_assert(gp_engine_table_view(again, 0, t, &b));
		cr_assert(a.rows == b.rows && a.kept == b.kept, "table %u: %lu %lu rows", t, a.rows,
			b.rows);
	}
	struct gp_job_view v;
	gp_engine_job_view(again, 0, &v);
	cr_assert_eq(v.clock_min, rig_job(r).clock_min);
	cr_assert_eq(v.clock_max, rig_job(r).clock_max);
}

static void again(uint32_t cores)
{
	static struct gp_flight_file file;
	struct rig *r = rig_recorded(cores, true);
	char text[GP_REPLAY_TEXT_SIZE] = "";
	run_eventful(r);
	struct buffer b = dump(r);
	struct gp_engine_config cfg = r->cfg;
	struct gp_replay *replay;
	cfg.take = take;
	cfg.give = give;
	cr_assert_eq(gp_flight_open(&file, b.bytes, b.len, text), 0, "%s", text);
	cr_assert_eq(gp_replay_create(&replay, &file, &cfg, text), 0, "%s", text);
	while (gp_replay_round(replay))
		;
	const struct gp_replay_result *x = gp_replay_result(replay);
	cr_assert(!x->differs, "%s", x->text);
	cr_assert_str_eq(x->missing, "");
	cr_assert_geq(x->decisions, 8);
	expect_tables(r, gp_replay_engine(replay));
	gp_replay_destroy(replay);
	free(b.bytes);
	rig_free_busy(r);
}

Test(replay_embed, on_one_core)
{
	again(1);
}

Test(replay_embed, on_three_cores)
{
	again(3);
}

// A commit, then a replay that leaves the job out.
static void left_out(struct rig *r, const char *why)
{
	uint64_t ids[20];
	embed_up(r);
	for (uint32_t i = 0; i < 20; i++)
		ids[i] = i;
	const struct place p = place_rows(r, 0, 0, NARROW, ids, 20, 1);
	place_send(&r->w[0], 1, &p);
	pass_send(&r->w[0], 1, 0, 1);
	rig_run(r);
	cr_assert(seen_commit(&r->w[0], GP_DECISION_COMMIT, 0, 1));
	struct forge f = forge_new(r);
	struct forged out = forge_replay(&f);
	cr_assert(out.rc == 0 && !out.x.differs, "%s", out.text);
	cr_assert_eq(out.x.datagrams, 0);
	cr_assert(strstr(out.x.missing, why), "%s", out.x.missing);
	forge_free(&f);
	rig_free_busy(r);
}

// Of rows only their bytes tell which they are: without those the job is left out, by name.
Test(replay_embed, headers_are_not_enough)
{
	left_out(rig_recorded(1, false), "job job is of tables: only with whole datagrams");
}

// Which rows go when is not in a dump.
Test(replay_embed, what_evicts_is_left_out)
{
	struct rig *r = rig_recorded(1, true);
	struct gp_job_table *t = &r->jobs[0].tables[NARROW];
	t->eviction = GP_ROWS_EVICT_AGE;
	t->evict_after = 2;
	left_out(r, "job job evicts rows");
}
