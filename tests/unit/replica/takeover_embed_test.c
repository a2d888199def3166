// SPDX-License-Identifier: BSD-3-Clause
//
// As takeover_async_test.c, of jobs with tables: the backup's rows are at every moment what its
// ranks had committed by its own account; a base comes while pushes go on; rows that were evicted
// are gone there too; and after a takeover each push counts once, on any number of cores. Gradients
// are whole numbers, so that their order does not matter.
#include "../engine/embed_rig.h"
#include "pair_rig.h"

#include <embed.h>
#include <engine_priv.h>

#define STEPS 12
#define IDS   24 // of each table

TestSuite(takeover_embed, .timeout = 100);

struct shape {
	uint8_t consistency, optim, eviction;
	uint32_t cores, cores_next, workers;
};

static struct rig *primary_new(const struct shape *s)
{
	struct rig *r = embed_new(s->consistency, s->cores, s->workers);
	struct gp_job_config *j = &r->jobs[0];
	j->replicated = true;
	j->cuts_max = 4;
	j->bound = 1;
	j->optim = (struct gp_optim_params){.kind = s->optim, .lr = LR, .epsilon = 1e-8f};
	for (uint32_t t = 0; t < EMBED_TABLES; t++) {
		j->tables[t].kept_percent = 1;
		j->tables[t].eviction = s->eviction;
		j->tables[t].evict_after = s->eviction == GP_ROWS_EVICT_AGE ? 5 : 0;
	}
	return r;
}

// ---- what ranks push: one row a step

static uint32_t draw(uint32_t rank, uint32_t step, uint32_t what, uint32_t bound)
{
	uint64_t x = gp_rows_mix(gp_rows_mix((uint64_t)rank << 32 | step) + what);
	return (uint32_t)(x % bound);
}

static uint32_t table_of(uint32_t rank, uint32_t step)
{
	return draw(rank, step, 1, EMBED_TABLES);
}

static uint64_t id_of(uint32_t rank, uint32_t step)
{
	return gp_rows_mix(draw(rank, step, 2, IDS));
}

static float value_of(uint32_t rank, uint32_t step)
{
	return (float)draw(rank, step, 3, 4);
}

static void row_step(struct worker *w, uint32_t step)
{
	push_row(w, step, table_of(w->rank, step), id_of(w->rank, step), value_of(w->rank, step));
}

static bool is_told(const struct worker *w, uint32_t step)
{
	return seen_commit(w, GP_DECISION_COMMIT, w->rank, step);
}

// ---- what comes of it

struct expected {
	uint32_t pushes;
	float first;
};

static struct expected expect(const uint32_t *clock, uint32_t workers, uint32_t table, uint64_t id)
{
	struct expected x = {0};
	for (uint32_t r = 0; r < workers; r++)
		for (uint32_t step = 1; step <= clock[r]; step++) {
			if (table_of(r, step) != table || id_of(r, step) != id)
				continue;
			x.pushes++;
			x.first -= LR * value_of(r, step);
		}
	return x;
}

static void row_is(const float *row, const struct shape *s, const uint32_t *clock, uint32_t table,
	uint64_t id, const char *who)
{
	struct expected x = expect(clock, s->workers, table, id);
	cr_assert_eq(row != NULL, x.pushes > 0, "%s: row %lu of table %u, pushed %u times", who, id,
		table, x.pushes);
	for (uint32_t k = 0; row && k < embed_dim(table); k++)
		cr_assert_eq(row[k], x.first - LR * (float)(k * x.pushes),
			"%s: table %u row %lu element %u: %g", who, table, id, k, (double)row[k]);
}

static void image_is_one_moment(const struct pair *p, const struct shape *s)
{
	struct gp_restore x;
	struct gp_follower_view v;
	gp_follower_view(p->follower, &v);
	cr_assert_not(v.diverged);
	if (gp_image_restore(p->image, 1, &x) != 0 || s->optim != GP_OPTIM_SGD || s->eviction)
		return;
	for (uint32_t t = 0; t < EMBED_TABLES; t++)
		for (uint32_t i = 0; i < IDS; i++) {
			uint32_t step;
			uint64_t id = gp_rows_mix(i);
			row_is(gp_image_row(p->image, 1, t, id, &step), s, x.async->clock, t, id,
				"image");
		}
}

static void told_is_held(const struct pair *p, const struct shape *s)
{
	struct gp_restore x;
	bool any = gp_image_restore(p->image, 1, &x) == 0;
	for (uint32_t r = 0; r < s->workers; r++)
		for (uint32_t step = 1; step <= STEPS; step++)
			cr_assert(!is_told(&p->r->w[r], step) ||
					  (any && !gp_before(x.async->clock[r], step)),
				"rank %u was told of step %u", r, step);
}

static void train(struct pair *p, const struct shape *s, uint32_t *steps, uint32_t turns)
{
	for (; turns > 0; turns--) {
		struct worker *w = &p->r->w[history_random(&p->random, s->workers)];
		uint32_t *step = &steps[w->rank];
		if (*step < STEPS && (*step == 0 || is_told(w, *step)))
			row_step(w, ++*step);
		pair_turn(p);
		image_is_one_moment(p, s);
		told_is_held(p, s);
	}
}

// ---- the engine's rows, one by one

struct sides {
	const struct pair *p;
	uint32_t table;
	uint32_t rows;
};

static const struct job_core *core_at(struct rig *r, uint32_t core)
{
	return &gp_rcu_dereference(&r->e->jobs[1])->cores[core];
}

static void on_row(void *arg, uint64_t id, uint32_t step, const float *row)
{
	struct sides *x = arg;
	uint32_t there, floats = gp_rows_dim(core_at(x->p->r, 0)->embed->tables[x->table].rows) +
				 gp_rows_state(core_at(x->p->r, 0)->embed->tables[x->table].rows);
	const float *image = gp_image_row(x->p->image, 1, x->table, id, &there);
	cr_assert(image, "row %lu of table %u is not in the image", id, x->table);
	cr_assert_eq(step, there);
	cr_assert_eq(memcmp(image, row, sizeof(float) * floats), 0);
	x->rows++;
}

// Everything that the image has is what the engine has, when both rest.
static void image_is_the_engine(const struct pair *p)
{
	float row[2 * WIDE_DIM + 2];
	for (uint32_t t = 0; t < EMBED_TABLES; t++) {
		struct sides x = {.p = p, .table = t};
		for (uint32_t k = 0; k < p->r->cfg.cores_count; k++) {
			struct gp_rows_scan scan = {.row = row, .row_seen = on_row, .arg = &x};
			while (gp_rows_scan(core_at(p->r, k)->embed->tables[t].rows, &scan))
				;
		}
		cr_assert_eq(gp_image_rows_count(p->image, 1, t), x.rows);
	}
}

// ---- the other server

static void join_again(struct rig *r, const struct shape *s)
{
	for (uint32_t i = 0; i < s->workers; i++) {
		struct gp_join j = worker_join_of(&r->w[i], (uint16_t)i);
		j.previous = 77;
		j.flags |= GP_JOIN_GOES_ON;
		cr_assert_eq(worker_enter_as(&r->w[i], &j), 0);
		worker_attach(&r->w[i]);
		worker_register(&r->w[i], embed_tables, EMBED_TABLES, 0, EMBED_TABLES);
	}
	rig_run(r);
}

static uint32_t next_step(struct worker *w)
{
	struct gp_heartbeat_reply r;
	worker_heartbeat(w, w->welcome.home, w->decision);
	rig_run(w->r);
	const struct seen *s = seen_last(w, GP_WIRE_HEARTBEAT_REPLY, 0);
	cr_assert(s);
	gp_wire_get_heartbeat_reply(&s->m, &r);
	cr_assert(r.flags & GP_HEARTBEAT_MEMBER);
	return r.next_step;
}

static void finish(struct rig *r, const struct shape *s, const uint32_t *steps)
{
	uint32_t next[RIG_WORKERS_MAX];
	for (uint32_t i = 0; i < s->workers; i++) {
		next[i] = next_step(&r->w[i]);
		cr_assert(next[i] == steps[i] || next[i] == steps[i] + 1,
			"rank %u was at step %u, and goes on with %u", i, steps[i], next[i]);
	}
	for (uint32_t step = 1; step <= STEPS; step++)
		for (uint32_t i = 0; i < s->workers; i++)
			if (next[i] <= step)
				row_step(&r->w[i], step);
	for (uint32_t i = 0; i < s->workers; i++)
		cr_assert_eq(next_step(&r->w[i]), STEPS + 1);
}

static void each_counts_once(struct rig *r, const struct shape *s)
{
	const uint32_t clock[RIG_WORKERS_MAX] = {STEPS, STEPS, STEPS};
	r->now += 100 * RIG_MS;
	uint32_t generation = granted(&r->w[0], 1000, STEPS + 1);
	for (uint32_t t = 0; t < EMBED_TABLES && s->optim == GP_OPTIM_SGD; t++)
		for (uint32_t i = 0; i < IDS; i++) {
			float got[WIDE_DIM];
			uint64_t id = gp_rows_mix(i);
			struct expected x = expect(clock, s->workers, t, id);
			cr_assert(row_pull(&r->w[0], generation, t, id, got));
			for (uint32_t k = 0; k < embed_dim(t); k++)
				cr_assert_eq(got[k], x.first - LR * (float)(k * x.pushes));
		}
}

static void take_over(const struct shape *s, uint64_t seed)
{
	uint32_t steps[RIG_WORKERS_MAX] = {0};
	struct pair p;
	struct rig *r = primary_new(s);
	embed_up(r);
	pair_up(&p, r, seed);
	struct gp_job_config cfg = r->jobs[0];
	train(&p, s, steps, history_random(&p.random, 100));
	gp_stream_close(p.backup.stream);
	rig_free_busy(p.r);
	struct rig *next = pair_promote(&p, &cfg, s->cores_next);
	join_again(next, s);
	finish(next, s, steps);
	each_counts_once(next, s);
	rig_free_busy(next);
	pair_down(&p);
}

Test(takeover_embed, each_push_counts_once)
{
	static const struct shape shapes[] = {
		{GP_CONSIST_ASP, GP_OPTIM_SGD, GP_ROWS_EVICT_NONE, 1, 1, 1},
		{GP_CONSIST_SSP, GP_OPTIM_SGD, GP_ROWS_EVICT_NONE, 2, 1, 3},
		{GP_CONSIST_ADAPTIVE, GP_OPTIM_SGD, GP_ROWS_EVICT_NONE, 1, 3, 2},
		{GP_CONSIST_ASP, GP_OPTIM_ADAGRAD, GP_ROWS_EVICT_NONE, 3, 2, 2},
	};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(shapes); i++)
		for (uint64_t seed = 0; seed < 10; seed++)
			take_over(&shapes[i], 1000 * i + seed);
}

static void on_anew(void *arg, uint64_t id, uint32_t step, const float *row)
{
	struct sides *x = arg;
	uint32_t there, dim = embed_dim(x->table);
	const float *image = gp_image_row(x->p->image, 1, x->table, id, &there);
	cr_assert(image && step == there);
	cr_assert_eq(memcmp(image, row, sizeof(float) * dim), 0);
	for (uint32_t k = 0; k < 2 * dim; k++)
		cr_assert_eq(
			row[dim + k], 0.0f, "row %lu: state %u is %g", id, k, (double)row[dim + k]);
	x->rows++;
}

// The other node's configuration may have changed meanwhile. What the image has of each row's state
// fits nothing then, and beside it are other rows.
Test(takeover_embed, state_of_another_optimizer_begins_anew)
{
	static const struct shape s = {GP_CONSIST_ASP, GP_OPTIM_SGD, GP_ROWS_EVICT_NONE, 2, 3, 2};
	uint32_t steps[RIG_WORKERS_MAX] = {0};
	float row[3 * WIDE_DIM];
	struct pair p;
	struct rig *r = primary_new(&s);
	embed_up(r);
	pair_up(&p, r, 7);
	struct gp_job_config cfg = r->jobs[0];
	train(&p, &s, steps, 100);
	gp_stream_close(p.backup.stream);
	rig_free_busy(p.r);
	cfg.optim.kind = GP_OPTIM_ADAM;
	cfg.optim.beta1 = 0.9f;
	cfg.optim.beta2 = 0.999f;
	struct rig *next = pair_promote(&p, &cfg, s.cores_next);
	join_again(next, &s);
	for (uint32_t t = 0; t < EMBED_TABLES; t++) {
		struct sides x = {.p = &p, .table = t};
		for (uint32_t k = 0; k < s.cores_next; k++) {
			struct gp_rows_scan scan = {.row = row, .row_seen = on_anew, .arg = &x};
			while (gp_rows_scan(core_at(next, k)->embed->tables[t].rows, &scan))
				;
		}
		cr_assert_gt(x.rows, 0);
		cr_assert_eq(gp_image_rows_count(p.image, 1, t), x.rows);
	}
	rig_free_busy(next);
	pair_down(&p);
}

// Every push so far and some evictions are in the image, as they are in the engine.
Test(takeover_embed, evicted_rows_are_gone_at_the_backup_too)
{
	static const struct shape s = {
		GP_CONSIST_ASP, GP_OPTIM_ADAGRAD, GP_ROWS_EVICT_AGE, 2, 2, 2};
	uint64_t evicted = 0;
	for (uint64_t seed = 0; seed < 10; seed++) {
		uint32_t steps[RIG_WORKERS_MAX] = {0};
		struct gp_table_view v;
		struct pair p;
		struct rig *r = primary_new(&s);
		embed_up(r);
		pair_up(&p, r, seed);
		train(&p, &s, steps, 80);
		pair_run(&p);
		// What was evicted since the last cut goes with the next one.
		row_step(&r->w[0], ++steps[0]);
		for (uint32_t i = 0; i < 200; i++)
			rig_run(r);
		row_step(&r->w[1], ++steps[1]);
		pair_run(&p);
		image_is_the_engine(&p);
		image_is_one_moment(&p, &s);
		for (uint32_t t = 0; t < EMBED_TABLES; t++) {
			cr_assert(gp_engine_table_view(r->e, 0, t, &v));
			evicted += v.evicted;
		}
		gp_stream_close(p.backup.stream);
		rig_free_busy(r);
		pair_down(&p);
	}
	cr_assert_gt(evicted, 10);
}

// Row 1 is pushed once and pulled ever since, until its server is gone.
static void pull_and_take_over(uint8_t eviction, uint32_t grain, uint32_t cores_next)
{
	const struct shape s = {GP_CONSIST_ASP, GP_OPTIM_SGD, eviction, 2, cores_next, 1};
	struct rig *r = primary_new(&s);
	struct pair p;
	float got[WIDE_DIM];
	uint32_t last = 4 * grain, step, used, was;
	for (uint32_t t = 0; t < EMBED_TABLES; t++) {
		r->jobs[0].tables[t].evict_reads = true;
		r->jobs[0].tables[t].evict_after = eviction == GP_ROWS_EVICT_AGE ? 16 * grain : 0;
	}
	embed_up(r);
	pair_up(&p, r, 3);
	p.calm = true;
	struct gp_job_config cfg = r->jobs[0];
	for (step = 1; step <= last; step++) {
		push_row(&r->w[0], step, NARROW, step == 1 ? 1 : 2, 1);
		pair_run(&p);
		cr_assert(is_told(&r->w[0], step));
		uint32_t g = granted(&r->w[0], step, step + 1);
		cr_assert(row_pull(&r->w[0], g, NARROW, 1, got));
		seen_clear(&r->w[0]);
	}
	gp_stream_close(p.backup.stream);
	rig_free_busy(p.r);
	struct rig *next = pair_promote(&p, &cfg, cores_next);
	join_again(next, &s);
	uint32_t core = gp_rows_owner(NARROW, 1, cores_next);
	const struct gp_rows *rows = core_at(next, core)->embed->tables[NARROW].rows;
	cr_assert_eq(gp_rows_read_use(rows, 1, NULL, NULL, &was, &used), 0);
	cr_assert(used + grain >= last - 1 && used <= last, "used at %u of %u", used, last);
	rig_free_busy(next);
	pair_down(&p);
}

// So it is not evicted there before its time.
Test(takeover_embed, rows_that_are_pulled_are_as_young_at_the_backup)
{
	for (uint32_t cores = 1; cores <= 3; cores += 2) {
		pull_and_take_over(GP_ROWS_EVICT_AGE, 3, cores);
		pull_and_take_over(GP_ROWS_EVICT_STEP, EMBED_USE_GRAIN, cores);
	}
}

// ---- a backup that comes late

// As a primary without a backup does: what is on its way is out.
static void alone_turn(struct pair *p)
{
	struct gp_feeder_view v;
	pair_turn(p);
	if (gp_feeder_view(p->feeder, 0, &v) && v.shipped_valid && gp_before(p->due, v.shipped))
		p->due = v.shipped;
}

static bool is_based(const struct pair *p)
{
	struct gp_image_view v;
	return gp_image_find(p->image, 1, &v) && v.based;
}

static void many_rows(struct worker *w, uint32_t step, uint32_t table)
{
	uint64_t ids[14];
	uint32_t n = 14;
	for (uint32_t i = 0; i < n; i++)
		ids[i] = 1000000 + (uint64_t)step * n + i;
	const struct place x = place_rows(w->r, 0, 0, table, ids, n, 1);
	place_send(w, step, &x);
	pass_send(w, step, 0, 1);
	rig_run(w->r);
}

Test(takeover_embed, a_backup_gets_the_tables_while_pushes_go_on)
{
	static const struct shape s = {
		GP_CONSIST_ASP, GP_OPTIM_ADAGRAD, GP_ROWS_EVICT_AGE, 1, 2, 1};
	struct rig *r = primary_new(&s);
	for (uint32_t t = 0; t < EMBED_TABLES; t++)
		r->jobs[0].tables[t].evict_after = 150;
	embed_up(r);
	struct worker *w = &r->w[0];
	uint32_t step = 0, during = 0, evicted = 0;
	for (; step < 120; step++)
		many_rows(w, step + 1, step % 2 ? WIDE : NARROW);
	struct pair p;
	pair_up_with(&p, r, 7, 12); // so many looks in a turn
	p.calm = true;
	for (uint32_t turns = 0; turns < 3000 && !is_based(&p); turns++) {
		if (is_told(w, step)) {
			step++;
			many_rows(w, step, step % 2 ? NARROW : WIDE);
			during++;
		}
		alone_turn(&p);
	}
	cr_assert(is_based(&p), "after %u pushes", during);
	cr_assert_gt(during, 10);
	for (uint32_t t = 0; t < EMBED_TABLES; t++) {
		struct gp_table_view v;
		cr_assert(gp_engine_table_view(r->e, 0, t, &v));
		evicted += (uint32_t)v.evicted;
	}
	pair_run(&p);
	many_rows(w, ++step, NARROW);
	for (uint32_t i = 0; i < 100; i++)
		alone_turn(&p);
	pair_run(&p);
	image_is_one_moment(&p, &s);
	cr_log_info("%u pushes meanwhile, %u rows evicted\n", during, evicted);
	gp_stream_close(p.backup.stream);
	rig_free_busy(r);
	pair_down(&p);
}

// ---- more than the owner can keep

// All places of the push full of rows that no other push has.
static void full_push(struct worker *w)
{
	uint64_t ids[54];
	for (uint32_t p = 0; p < embed_places_of(w->r); p++) {
		for (uint32_t i = 0; i < GP_ARRAY_SIZE(ids); i++)
			ids[i] = 1000 * (w->rank + 1) + p * GP_ARRAY_SIZE(ids) + i;
		const struct place x = place_rows(w->r, 0, p, NARROW, ids, GP_ARRAY_SIZE(ids), 1);
		place_send(w, 1, &x);
	}
	rig_run(w->r);
}

static uint32_t committed(struct rig *r)
{
	return core_at(r, 0)->job->home->consist.async.updates;
}

// What waits for room goes with the next cut, or when nothing is replicated any more.
static void pushes_wait(bool opens)
{
	static const struct shape s = {GP_CONSIST_ASP, GP_OPTIM_SGD, GP_ROWS_EVICT_NONE, 1, 1, 4};
	struct pair p;
	struct rig *r = primary_new(&s);
	r->jobs[0].tables[0].kept_percent = 1;
	embed_up(r);
	pair_up(&p, r, 5);
	p.calm = true;
	pair_run(&p);
	for (uint32_t i = 0; i < s.workers; i++)
		full_push(&r->w[i]);
	for (uint32_t i = 0; i < 10; i++)
		rig_run(r);
	// One, the cut behind it, and two more.
	cr_assert_eq(committed(r), 3, "%u", committed(r));
	if (opens)
		cr_assert(gp_backup_gate(r->e, 0, false));
	else
		pair_run(&p);
	rig_run(r);
	for (uint32_t i = 0; i < s.workers; i++)
		cr_assert(is_told(&r->w[i], 1), "rank %u", i);
	gp_stream_close(p.backup.stream);
	rig_free_busy(r);
	pair_down(&p);
}

Test(takeover_embed, pushes_beyond_what_can_be_kept_wait_for_the_next_cut)
{
	pushes_wait(false);
	pushes_wait(true);
}

// Evicted since the cut that the base is of, and before the base has come to them: they are in it.
Test(takeover_embed, rows_that_went_before_their_turn_are_in_the_base)
{
	static const struct shape s = {
		GP_CONSIST_ASP, GP_OPTIM_ADAGRAD, GP_ROWS_EVICT_AGE, 1, 2, 1};
	struct gp_table_view v;
	struct rig *r = primary_new(&s);
	for (uint32_t t = 0; t < EMBED_TABLES; t++)
		r->jobs[0].tables[t].evict_after = 500;
	embed_up(r);
	for (uint32_t step = 1; step <= 120; step++)
		many_rows(&r->w[0], step, step % 2 ? NARROW : WIDE);
	struct pair p;
	pair_up_with(&p, r, 7, 12);
	p.calm = true;
	for (uint32_t turns = 0; turns < 30; turns++)
		alone_turn(&p);
	cr_assert_not(is_based(&p));
	struct embed_core *e = gp_rcu_dereference(&r->e->jobs[1])->cores[0].embed;
	e->updates += 1000;		 // all are old now,
	e->evict_credit = EVICT_BUCKETS; // and some go
	rig_run(r);
	for (uint32_t turns = 0; turns < 3000 && !is_based(&p); turns++)
		alone_turn(&p);
	cr_assert(is_based(&p));
	cr_assert(gp_engine_table_view(r->e, 0, WIDE, &v));
	cr_assert(v.evicted > 0 && gp_image_rows_count(p.image, 1, WIDE) == 60 * 14,
		"%lu were evicted, the image has %lu of %lu", v.evicted,
		gp_image_rows_count(p.image, 1, WIDE), v.rows);
	image_is_one_moment(&p, &s);
	gp_stream_close(p.backup.stream);
	rig_free_busy(r);
	pair_down(&p);
}

// ---- copies that a snapshot, the backup and evictions need at once

struct churn {
	struct pair p;
	uint32_t steps[RIG_WORKERS_MAX];
	uint32_t released; // cuts for a snapshot that were let go
	bool cut;
};

static void churn_push(struct churn *c)
{
	struct worker *w = &c->p.r->w[history_random(&c->p.random, 4)];
	uint32_t *step = &c->steps[w->rank];
	uint64_t ids[54], at = 1000 + history_random(&c->p.random, 50);
	if (*step > 0 && !is_told(w, *step))
		return;
	++*step;
	for (uint32_t p = 0; p < embed_places_of(w->r); p++) {
		for (uint32_t i = 0; i < GP_ARRAY_SIZE(ids); i++)
			ids[i] = at++;
		const struct place x = place_rows(w->r, 0, p, NARROW, ids, GP_ARRAY_SIZE(ids), 1);
		place_send(w, *step, &x);
	}
}

// A snapshot begins, or ends.
static void churn_cut(struct churn *c)
{
	struct rig *r = c->p.r;
	if (!c->cut) {
		c->cut = gp_registrar_cut(r->reg, 1) == 0;
	} else if (r->cuts_ready > c->released) {
		gp_registrar_cut_release(r->reg, 1);
		c->released = r->cuts_ready;
		c->cut = false;
	}
}

// The gate is opened, and closed anew before or after the cores have seen that.
static void churn_gate(struct churn *c)
{
	struct rig *r = c->p.r;
	cr_assert(gp_backup_gate(r->e, 0, false));
	gp_feeder_drop(c->p.feeder, 0);
	if (history_random(&c->p.random, 2))
		rig_run(r);
	cr_assert(gp_backup_gate(r->e, 0, true));
}

static void churn_end(struct churn *c)
{
	struct gp_follower_view v;
	for (uint32_t i = 0; i < 20; i++) {
		rig_run(c->p.r);
		if (c->cut)
			churn_cut(c);
		pair_run(&c->p);
	}
	gp_follower_view(c->p.follower, &v);
	cr_assert(v.jobs_based == 1 && !v.diverged);
	gp_stream_close(c->p.backup.stream);
}

// The image tells of each cut whether its rows are the owner's.
Test(takeover_embed, copies_suffice_for_snapshots_evictions_and_the_backup)
{
	uint32_t steps = 0, cuts = 0;
	for (uint64_t seed = 0; seed < 40; seed++) {
		const struct shape s = {GP_CONSIST_ASP, GP_OPTIM_ADAGRAD,
			seed % 2 ? GP_ROWS_EVICT_AGE : GP_ROWS_EVICT_NONE, 1, 1, 4};
		struct churn c = {0};
		struct rig *r = primary_new(&s);
		embed_up(r);
		pair_up(&c.p, r, seed);
		c.p.calm = true;
		for (uint32_t turn = 0; turn < 300; turn++) {
			churn_push(&c);
			if (history_random(&c.p.random, 3))
				rig_run(r);
			if (history_random(&c.p.random, 15) == 0)
				churn_cut(&c);
			if (history_random(&c.p.random, 40) == 0)
				churn_gate(&c);
			if (history_random(&c.p.random, 3) == 0)
				pair_turn(&c.p);
		}
		churn_end(&c);
		steps += c.steps[0] + c.steps[1] + c.steps[2] + c.steps[3];
		cuts += c.released;
		rig_free_busy(r);
		pair_down(&c.p);
	}
	cr_assert(steps > 400 && cuts > 40, "%u steps, %u cuts", steps, cuts);
	cr_log_info("%u steps, %u cuts\n", steps, cuts);
}
