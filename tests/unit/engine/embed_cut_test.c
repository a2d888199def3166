// SPDX-License-Identifier: BSD-3-Clause
//
// Tables of one generation, read whole while pushes go on; and jobs that begin with such a one.
#include "embed_rig.h"

#include <errno.h>
#include <stdlib.h>

#define ROWS_MAX 4000
#define FIRST	 UINT32_C(0xfffffff0) // generation that a restored job begins with

struct read_rows {
	uint32_t count;
	uint32_t updates;
	uint32_t state; // floats of a row
	uint64_t ids[ROWS_MAX];
	uint32_t steps[ROWS_MAX];
	float values[ROWS_MAX * WIDE_DIM];
	float states[ROWS_MAX * WIDE_DIM];
};

static int row_of(struct rig *r, uint32_t table, uint64_t id, float *row, uint32_t *step)
{
	const struct gp_table_want x = {
		.table = table, .n = 1, .ids = &id, .rows = row, .steps = step};
	int rc;
	cr_assert_eq(gp_engine_table_rows(r->e, 0, r->cut_step, &x, &rc), rc == 0);
	return rc;
}

static void on_id(void *arg, uint64_t id)
{
	struct read_rows *x = arg;
	cr_assert_lt(x->count, ROWS_MAX);
	x->ids[x->count++] = id;
}

static int id_compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	return (*x > *y) - (*x < *y);
}

// Ids first, with `between` (if any) after each call, then the rows.
static struct read_rows *rows_read(struct rig *r, uint32_t table, void (*between)(struct rig *r))
{
	struct read_rows *x = calloc(1, sizeof(*x));
	struct gp_table_ids ids = {.id_seen = on_id, .arg = x};
	struct gp_table_cut cut;
	cr_assert(gp_engine_table_cut(r->e, 0, table, r->cut_step, &cut));
	for (int rc = 1; rc == 1;) {
		rc = gp_engine_table_ids(r->e, 0, table, r->cut_step, &ids);
		cr_assert_geq(rc, 0);
		if (between)
			between(r);
	}
	qsort(x->ids, x->count, sizeof(x->ids[0]), id_compare);
	uint32_t n = 0;
	for (uint32_t i = 0; i < x->count; i++)
		if (n == 0 || x->ids[n - 1] != x->ids[i])
			x->ids[n++] = x->ids[i];
	x->count = n;
	cr_assert_eq(n, cut.rows, "%u rows told, there were %lu", n, cut.rows);
	x->updates = cut.updates;
	x->state = cut.state;
	uint32_t dim = embed_dim(table);
	float many[8 * 2 * WIDE_DIM];
	uint32_t steps[8];
	const struct gp_table_want want = {
		.table = table, .n = GP_MIN(n, 8), .ids = x->ids, .rows = many, .steps = steps};
	int read;
	cr_assert_eq(gp_engine_table_rows(r->e, 0, r->cut_step, &want, &read), want.n);
	for (uint32_t i = 0; i < n; i++) {
		float row[2 * WIDE_DIM];
		cr_assert_eq(row_of(r, table, x->ids[i], row, &x->steps[i]), 0);
		cr_assert(i >= 8 || (steps[i] == x->steps[i] &&
					    memcmp(many + i * (dim + cut.state), row,
						    sizeof(float) * (dim + cut.state)) == 0));
		memcpy(x->values + i * dim, row, sizeof(float) * dim);
		memcpy(x->states + i * cut.state, row + dim, sizeof(float) * cut.state);
		if (between && i % 5 == 0)
			between(r);
	}
	return x;
}

static void rows_same(const struct read_rows *a, const struct read_rows *b, uint32_t dim)
{
	cr_assert_eq(a->count, b->count);
	cr_assert(a->updates == b->updates && a->state == b->state);
	cr_assert_arr_eq(a->ids, b->ids, sizeof(a->ids[0]) * a->count);
	cr_assert_arr_eq(a->steps, b->steps, sizeof(a->steps[0]) * a->count);
	cr_assert_arr_eq(a->values, b->values, sizeof(float) * dim * a->count);
	cr_assert_arr_eq(a->states, b->states, sizeof(float) * a->state * a->count);
}

static void cut_now(struct rig *r)
{
	uint32_t ready = r->cuts_ready;
	cr_assert_eq(gp_registrar_cut(r->reg, 1), 0);
	rig_run(r);
	cr_assert_eq(r->cuts_ready, ready + 1);
}

static void cut_over(struct rig *r)
{
	gp_registrar_cut_release(r->reg, 1);
	rig_run(r);
	cr_assert_not(rig_job(r).cut_active);
}

// ---- what goes on meanwhile

static uint32_t busy_step, busy_seed;

static uint32_t draw(uint32_t n)
{
	busy_seed = busy_seed * 1664525 + 1013904223;
	return (busy_seed >> 8) % n;
}

// A push of one row, of few that are pushed again and again and of many that are new.
static void push_any(struct rig *r)
{
	uint32_t table = draw(2), id = draw(3) == 0 ? draw(1500) : draw(40);
	push_row_done(&r->w[0], ++busy_step, table, id, (float)draw(9) - 4);
	if (draw(4) == 0) // a generation that somebody reads
		(void)granted(&r->w[1], busy_step, 1);
	r->now += RIG_MS;
}

static struct rig *busy_new(uint32_t cores, enum gp_optim_kind kind)
{
	struct rig *r = embed_new(GP_CONSIST_ASP, cores, 2);
	r->jobs[0].optim.kind = kind;
	r->jobs[0].optim.epsilon = 1;
	busy_step = 0;
	busy_seed = 1;
	return r;
}

Test(embed_cut, a_generation_is_read_while_rows_change)
{
	for (uint32_t cores = 1; cores <= 3; cores++) {
		struct rig *r = busy_new(cores, GP_OPTIM_ADAGRAD);
		r->jobs[0].tables[0].eviction = GP_ROWS_EVICT_AGE; // of the wide one
		r->jobs[0].tables[0].evict_after = 30;
		embed_up(r);
		for (uint32_t i = 0; i < 150; i++)
			push_any(r);
		cut_now(r);
		struct read_rows *before[EMBED_TABLES];
		for (uint32_t t = 0; t < EMBED_TABLES; t++)
			before[t] = rows_read(r, t, NULL);
		cr_assert_eq(before[NARROW]->updates, 150);
		cr_assert_gt(before[NARROW]->count, 40);
		for (uint32_t t = 0; t < EMBED_TABLES; t++) {
			struct read_rows *x = rows_read(r, t, push_any);
			rows_same(before[t], x, embed_dim(t));
			free(x);
		}
		struct gp_table_view v;
		cr_assert(gp_engine_table_view(r->e, 0, WIDE, &v) && v.evicted > 0);
		uint32_t step;
		float row[2 * WIDE_DIM];
		cr_assert_eq(row_of(r, NARROW, 77777, row, &step), -ENOENT);
		uint32_t was = r->cut_step;
		struct gp_table_cut cut;
		cut_over(r);
		cr_assert_not(gp_engine_table_cut(r->e, 0, NARROW, was, &cut));
		cut_now(r);
		struct read_rows *x = rows_read(r, NARROW, NULL);
		cr_assert_eq(x->updates, busy_step);
		free(x);
		for (uint32_t t = 0; t < EMBED_TABLES; t++)
			free(before[t]);
		rig_free_busy(r);
	}
}

// Less memory for copies than a cut needs: the push waits until it is over, and nothing else
// changes.
Test(embed_cut, throttles_when_its_copies_run_out)
{
	struct rig *r = embed_new(GP_CONSIST_ASP, 1, 2);
	r->jobs[0].tables[1].kept_percent = 1; // 30 copies of narrow
	embed_up(r);
	struct worker *w = &r->w[0];
	uint64_t ids[80];
	for (uint32_t i = 0; i < 80; i++)
		ids[i] = i;
	struct place p = place_rows(r, 0, 0, NARROW, ids, 40, 0);
	place_send(w, 1, &p);
	p = place_rows(r, 0, 1, NARROW, ids + 40, 40, 0);
	place_send(w, 1, &p);
	pass_send(w, 1, 0, 2);
	rig_run(r);
	cr_assert(seen_commit(w, GP_DECISION_COMMIT, 0, 1));
	cut_now(r);
	struct read_rows *before = rows_read(r, NARROW, NULL);
	cr_assert_eq(before->count, 80);
	for (uint32_t step = 2; step <= 3; step++) { // 20 rows fit, 40 do not
		p = place_rows(r, 0, 0, NARROW, ids, step == 2 ? 20 : 40, 1);
		place_send(w, step, &p);
		pass_send(w, step, 0, 1);
		rig_run(r);
	}
	cr_assert(seen_commit(w, GP_DECISION_COMMIT, 0, 2));
	cr_assert_gt(rig_job(r).shortages, 0);
	struct read_rows *x = rows_read(r, NARROW, NULL);
	rows_same(before, x, NARROW_DIM);
	free(x);
	push_row(&r->w[1], 1, WIDE, 7, 1); // behind the one that waits
	r->now += 50 * RIG_MS;
	rig_run(r);
	cut_over(r);
	cr_assert(seen_commit(w, GP_DECISION_COMMIT, 0, 3));
	cr_assert(seen_commit(&r->w[1], GP_DECISION_COMMIT, 1, 1));
	expect_row(w, granted(w, 1, 4), NARROW, 5, -LR * (5 + 6 + 6), -LR * 3);
	cut_now(r);
	x = rows_read(r, NARROW, NULL);
	cr_assert(x->updates == 4 && x->steps[0] == 3 && x->steps[70] == 1);
	free(x);
	free(before);
	rig_free_busy(r);
}

// Where reads count a row's step is that of its last use: until the cut, whatever comes after.
Test(embed_cut, the_last_use_is_read_where_reads_count)
{
	for (uint32_t changes = 0; changes < 2; changes++) {
		struct rig *r = embed_new(GP_CONSIST_ASP, 1, 1);
		struct gp_job_table *t = &r->jobs[0].tables[1]; // NARROW
		float row[WIDE_DIM];
		t->eviction = GP_ROWS_EVICT_AGE;
		t->evict_after = 100;
		t->evict_reads = true;
		embed_up(r);
		struct worker *w = &r->w[0];
		for (uint32_t step = 1; step <= 5; step++)
			push_row_done(w, step, NARROW, step, 1);
		cr_assert(row_pull(w, granted(w, 1, 6), NARROW, 1, row));
		push_row_done(w, 6, NARROW, 6, 1);
		cut_now(r);
		push_row_done(w, 7, NARROW, 7, 1);
		push_row_done(w, 8, NARROW, 8, 1);
		cr_assert(row_pull(w, granted(w, 2, 9), NARROW, 2, row));
		for (uint64_t id = 1; id <= 2 && changes; id++)
			push_row_done(w, 8 + (uint32_t)id, NARROW, id, 1);
		struct read_rows *x = rows_read(r, NARROW, NULL);
		cr_assert_eq(x->count, 6);
		cr_assert_eq(x->steps[0], 5, "pulled after commit 5");
		cr_assert_eq(x->steps[1], 6, "pulled later than the cut knows");
		cr_assert_eq(x->steps[2], 3, "never pulled");
		free(x);
		rig_free_busy(r);
	}
}

// ---- jobs that begin with tables

struct restored {
	struct gp_restore_tensor t[EMBED_TABLES];
	struct gp_restore_rows rows[EMBED_TABLES];
	uint64_t dims[EMBED_TABLES];
	uint32_t clock[2];
	struct gp_restore x;
};

static void restored_fill(struct restored *s, struct read_rows *const rows[EMBED_TABLES])
{
	for (uint32_t t = 0; t < EMBED_TABLES; t++) {
		s->dims[t] = embed_dim(t);
		s->rows[t] = (struct gp_restore_rows){.count = rows[t]->count,
			.ids = rows[t]->ids,
			.steps = rows[t]->steps,
			.updates = rows[t]->updates};
		s->t[t] = (struct gp_restore_tensor){.name = embed_tables[t].name,
			.dims_count = 1,
			.dims = &s->dims[t],
			.values = rows[t]->values,
			.states = {rows[t]->state > 0 ? rows[t]->states : NULL},
			.rows = &s->rows[t]};
	}
	s->x = (struct gp_restore){.step = FIRST,
		.decision = 400,
		.clock = s->clock,
		.tensors_count = EMBED_TABLES,
		.tensors = s->t};
}

// Some more of both tables, and what they are then.
static void life_end(struct rig *r, struct read_rows *rows[EMBED_TABLES])
{
	for (uint32_t step = 121; step <= 124; step++)
		push_row_done(&r->w[0], step, step % 2, step % 3, 2);
	cut_now(r);
	for (uint32_t t = 0; t < EMBED_TABLES; t++)
		rows[t] = rows_read(r, t, NULL);
	rig_free_busy(r);
}

static void life_resume(struct rig *r, const struct gp_restore *x)
{
	rig_start(r);
	cr_assert_eq(gp_registrar_restore(r->reg, 1, x), 0);
	for (uint32_t i = 0; i < 2; i++) {
		cr_assert_eq(worker_enter(&r->w[i], (uint16_t)i), 0);
		worker_attach(&r->w[i]);
	}
	for (uint32_t i = 0; i < 2; i++)
		worker_register(&r->w[i], embed_tables, EMBED_TABLES, 0, EMBED_TABLES);
	rig_run(r);
	cr_assert_eq(rig_job(r).generation, FIRST);
}

static void tables_free(struct read_rows *rows[EMBED_TABLES])
{
	for (uint32_t t = 0; t < EMBED_TABLES; t++)
		free(rows[t]);
}

static void tables_same(struct read_rows *a[EMBED_TABLES], struct read_rows *b[EMBED_TABLES])
{
	for (uint32_t t = 0; t < EMBED_TABLES; t++)
		rows_same(a[t], b[t], embed_dim(t));
}

// What is read of one life is what the next begins with, on any number of cores; and it goes on
// from there as if nothing had been: optimizer state, counts of updates and clocks are there too.
Test(embed_cut, a_restored_job_goes_on_as_if_nothing_had_been)
{
	static const enum gp_optim_kind kinds[] = {
		GP_OPTIM_ADAGRAD, GP_OPTIM_ROWWISE_ADAGRAD, GP_OPTIM_SGD};
	for (uint32_t cores = 1; cores <= 3; cores++) {
		struct read_rows *cut[EMBED_TABLES], *end[EMBED_TABLES], *seen[EMBED_TABLES];
		struct rig *r = busy_new(2, kinds[cores - 1]);
		embed_up(r);
		for (uint32_t i = 0; i < 120; i++)
			push_any(r);
		cut_now(r);
		for (uint32_t t = 0; t < EMBED_TABLES; t++)
			cut[t] = rows_read(r, t, NULL);
		struct restored s = {.clock = {gp_engine_clock(r->e, 0, 0), 3}};
		cr_assert_eq(s.clock[0], 120);
		restored_fill(&s, cut);
		cut_over(r);
		life_end(r, end);

		r = busy_new(cores, kinds[cores - 1]);
		life_resume(r, &s.x);
		cut_now(r);
		cr_assert_eq(r->cut_step, FIRST + 1);
		for (uint32_t t = 0; t < EMBED_TABLES; t++)
			seen[t] = rows_read(r, t, NULL);
		tables_same(cut, seen);
		tables_free(seen);
		cut_over(r);
		push_row(&r->w[0], 120, NARROW, 3, 1);
		cr_assert_gt(rig_verdicts(r, GP_VERDICT_PUSH_DUPLICATE), 0, "it was counted");
		life_end(r, seen);
		tables_same(end, seen);
		tables_free(cut);
		tables_free(end);
		tables_free(seen);
	}
}

static void generation_give(struct rig *r, struct restored *s, uint32_t step)
{
	int rc = -EBUSY; // the one before is let go of after some turns
	s->x.step = step;
	for (uint32_t i = 0; i < 20 && rc == -EBUSY; i++) {
		rc = gp_registrar_restore(r->reg, 1, &s->x);
		rig_run(r);
		r->now += 10 * RIG_MS;
	}
	cr_assert_eq(rc, 0);
}

// A standby takes one generation after the other and makes none itself; promoted, it goes on from
// the last one, with snapshots of its own.
Test(embed_cut, a_standby_goes_on_from_what_it_was_given)
{
	for (uint32_t cores = 1; cores <= 2; cores++) {
		struct read_rows *rows[EMBED_TABLES], *seen;
		for (uint32_t t = 0; t < EMBED_TABLES; t++) {
			rows[t] = calloc(1, sizeof(*rows[t]));
			rows[t]->count = 50;
			rows[t]->updates = 60;
			for (uint32_t i = 0; i < 50; i++) {
				rows[t]->ids[i] = 3 * i;
				rows[t]->steps[i] = i == 7 ? UINT32_C(0x70000000) : i;
				rows[t]->values[i * embed_dim(t)] = (float)i;
			}
		}
		struct restored s = {.clock = {40, 40}};
		restored_fill(&s, rows);
		struct rig *r = busy_new(cores, GP_OPTIM_SGD);
		r->cfg.standby = true;
		r->jobs[0].cut_interval = 2;
		rig_start(r);
		for (uint32_t step = 5; step <= 8; step++) {
			rows[NARROW]->values[0] = (float)step;
			generation_give(r, &s, step);
		}
		cr_assert_eq(r->cuts_ready, 0);
		cr_assert_eq(gp_registrar_promote(r->reg, 8), 0);
		for (uint32_t i = 0; i < 2; i++) {
			cr_assert_eq(worker_enter(&r->w[i], (uint16_t)i), 0);
			worker_attach(&r->w[i]);
			worker_register(&r->w[i], embed_tables, EMBED_TABLES, 0, EMBED_TABLES);
		}
		rig_run(r);
		cr_assert_eq(rig_job(r).members, 2);
		cr_assert_eq(r->cuts_ready, 0);
		float got[NARROW_DIM];
		cr_assert(row_pull(&r->w[0], granted(&r->w[0], 1, 41), NARROW, 0, got));
		cr_assert(got[0] == 8 && got[1] == 0);
		for (uint32_t step = 41; step <= 43; step++)
			push_row_done(&r->w[0], step, NARROW, 3, 1);
		for (uint32_t step = 41; step <= 44; step++)
			push_row_done(&r->w[1], step, NARROW, 3, 1);
		rig_run(r);
		cr_assert_eq(r->cuts_ready, 1, "the slowest has done two steps");
		seen = rows_read(r, NARROW, NULL);
		cr_assert(seen->count == 50 && seen->ids[1] == 3 && seen->steps[1] > 60);
		// Not written for more than 2^31 commits: it looks as if it were of a later one.
		cr_assert(seen->ids[7] == 21 && seen->steps[7] == UINT32_C(0x70000000) &&
			  seen->values[7 * NARROW_DIM] == 7);
		free(seen);
		for (uint32_t t = 0; t < EMBED_TABLES; t++)
			free(rows[t]);
		rig_free_busy(r);
	}
}

Test(embed_cut, tables_that_do_not_fit_are_refused)
{
	struct rig *r = embed_new(GP_CONSIST_ASP, 1, 2);
	rig_start(r);
	struct read_rows *rows[EMBED_TABLES];
	for (uint32_t t = 0; t < EMBED_TABLES; t++)
		rows[t] = calloc(1, sizeof(*rows[t]));
	struct restored s = {.clock = {1, 1}};
	restored_fill(&s, rows);
	s.dims[WIDE] = 8;
	cr_assert_eq(gp_registrar_restore(r->reg, 1, &s.x), -EINVAL);
	restored_fill(&s, rows);
	s.x.tensors_count = 1;
	cr_assert_eq(gp_registrar_restore(r->reg, 1, &s.x), -EINVAL);
	restored_fill(&s, rows);
	s.t[1].name = "other";
	cr_assert_eq(gp_registrar_restore(r->reg, 1, &s.x), -EINVAL);
	restored_fill(&s, rows);
	s.t[1].rows = NULL;
	cr_assert_eq(gp_registrar_restore(r->reg, 1, &s.x), -EINVAL);
	restored_fill(&s, rows);
	s.rows[NARROW].count = 3001;
	cr_assert_eq(gp_registrar_restore(r->reg, 1, &s.x), -ENOSPC);
	restored_fill(&s, rows);
	cr_assert_eq(gp_registrar_restore(r->reg, 1, &s.x), 0);
	for (uint32_t t = 0; t < EMBED_TABLES; t++)
		free(rows[t]);
	rig_free_busy(r);
}

// So many rows that the index grows faster than grace periods end by themselves.
Test(embed_cut, a_large_table_is_restored)
{
	enum { LARGE = 120000 };
	struct rig *r = embed_new(GP_CONSIST_ASP, 1, 1);
	r->jobs[0].memory_max = 64 << 20;
	r->jobs[0].tables[1].rows_max = LARGE;
	r->jobs[0].tables[1].kept_percent = 1;
	rig_start(r);
	uint64_t *ids = calloc(LARGE, sizeof(*ids));
	uint32_t *steps = calloc(LARGE, sizeof(*steps));
	float *values = calloc(LARGE * NARROW_DIM, sizeof(*values));
	for (uint32_t i = 0; i < LARGE; i++) {
		ids[i] = i;
		steps[i] = 1 + i % 7;
		values[i * NARROW_DIM] = (float)i;
	}
	struct read_rows *none = calloc(1, sizeof(*none)), *const rows[] = {none, none};
	struct restored s = {.clock = {7}};
	restored_fill(&s, rows);
	s.rows[NARROW] =
		(struct gp_restore_rows){.count = LARGE, .ids = ids, .steps = steps, .updates = 7};
	s.rows[WIDE].updates = 7;
	s.t[NARROW].values = values;
	cr_assert_eq(gp_registrar_restore(r->reg, 1, &s.x), 0);
	cr_assert_eq(worker_enter(&r->w[0], 0), 0);
	worker_attach(&r->w[0]);
	worker_register(&r->w[0], embed_tables, EMBED_TABLES, 0, EMBED_TABLES);
	rig_run(r);
	struct gp_table_view v;
	cr_assert(gp_engine_table_view(r->e, 0, NARROW, &v));
	cr_assert_eq(v.rows, LARGE);
	uint32_t g = granted(&r->w[0], 1, 7);
	float got[NARROW_DIM];
	for (uint32_t i = 0; i < LARGE; i += 997)
		cr_assert(row_pull(&r->w[0], g, NARROW, i, got) && got[0] == (float)i);
	free(ids);
	free(steps);
	free(values);
	free(none);
	rig_free_busy(r);
}
