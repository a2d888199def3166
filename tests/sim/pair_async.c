// SPDX-License-Identifier: BSD-3-Clause
#include "pair.h"

#include <ccore_priv.h>
#include <engine_priv.h>
#include <stdlib.h>

#define JOB_ID	  1
#define VALUE_MAX 4096

bool pair_is_async(const struct pair_sim *s)
{
	return s->o.consistency != GP_CONSIST_BSP;
}

static bool is_quorum(const struct pair_sim *s)
{
	return s->o.consistency == GP_CONSIST_QUORUM;
}

static bool is_direct(const struct pair_sim *s)
{
	return s->o.atomicity == GP_ATOM_BLOCK;
}

// ---- what a history is made of

static uint32_t draw(const struct pair_sim *s, uint32_t what, uint32_t bound)
{
	return (uint32_t)rng_scale(rng_mix(rng_mix(s->seed * 2 + 1) ^ rng_mix(2000 + what)), bound);
}

void pair_async_choose(struct pair_sim *s)
{
	static const uint8_t modes[] = {
		GP_CONSIST_SSP, GP_CONSIST_ASP, GP_CONSIST_QUORUM, GP_CONSIST_ADAPTIVE};
	struct sim_opts *o = &s->o;
	if (s->seed % 2 == 0)
		return;
	o->consistency = modes[draw(s, 2, GP_ARRAY_SIZE(modes))];
	o->train = true;
	o->mean = false;
	bool staged = o->consistency == GP_CONSIST_QUORUM || draw(s, 3, 2);
	o->atomicity = staged ? GP_ATOM_STEP : GP_ATOM_BLOCK;
	o->bound = draw(s, 4, 4);
	o->quorum_min = 1 + draw(s, 5, o->workers);
	o->cuts_max = 3 + draw(s, 6, 4);
	pair_rows_choose(s);
}

void pair_async_job(struct pair_sim *s)
{
	static const uint64_t waits[] = {0, 300 * US, 2 * MS, UINT64_MAX};
	struct gp_job_config *j = &s->job;
	if (!pair_is_async(s))
		return;
	j->consistency = s->o.consistency;
	j->deterministic = false;
	j->memory_max = 8 << 20;
	j->bound = s->o.bound;
	j->stale = GP_STALE_REFUSE;
	j->stale_max = UINT32_MAX;
	j->quorum_min = s->o.quorum_min;
	j->quorum_wait_ns = waits[draw(s, 7, GP_ARRAY_SIZE(waits))];
	j->cuts_max = s->o.cuts_max;
	j->cut_age_ns = draw(s, 8, 3) * MS;
	j->optim = (struct gp_optim_params){.kind = GP_OPTIM_SGD, .lr = 1.0f};
	if (s->o.embed)
		pair_rows_job(s);
}

// ---- contributions

static uint32_t value_of(const struct pair_sim *s, uint32_t rank, uint32_t step)
{
	return 1 + (uint32_t)(rng_mix(s->seed ^ rng_mix((uint64_t)rank << 32 | step)) % VALUE_MAX);
}

static struct pair_given *given_find(struct pair_async *a, uint32_t rank, uint32_t step)
{
	for (uint32_t i = 0; i < PAIR_GIVEN_MAX; i++)
		if (a->given[rank][i].here && a->given[rank][i].step == step)
			return &a->given[rank][i];
	return NULL;
}

static void given_forget(struct pair_sim *s, uint32_t rank, const struct pair_given *g)
{
	struct pair_async *a = &s->async;
	if (g->here && g->committed == 0 && a->loose_count[rank]++ < PAIR_LOOSE_MAX)
		a->loose[rank][a->loose_count[rank] - 1] = value_of(s, rank, g->step);
}

void pair_async_give(struct pair_sim *s, uint32_t rank, uint32_t step, uint32_t t, float *grad)
{
	struct pair_async *a = &s->async;
	const struct model *m = &s->model;
	for (uint32_t i = 0; i < m->elems[t]; i++) {
		bool own = (m->from[t] + i) % s->o.workers == rank;
		grad[i] = own ? (float)value_of(s, rank, step) : 0.0f;
	}
	if (given_find(a, rank, step))
		return;
	struct pair_given *g = &a->given[rank][a->given_next[rank]++ % PAIR_GIVEN_MAX];
	given_forget(s, rank, g);
	*g = (struct pair_given){.here = true, .step = step};
}

// ---- decisions

void pair_async_tap(struct pair_node *n)
{
	const struct gp_job *j = gp_rcu_dereference(&n->engine->jobs[JOB_ID]);
	if (!j)
		return;
	const struct gp_consist *x = &j->home->consist;
	for (; gp_before(n->tapped, x->decision); n->tapped++) {
		const struct gp_decision *d = gp_consist_log(x, n->tapped + 1);
		if (d)
			pair_check_told(n, d);
	}
}

static void row_make(struct pair_async *a, uint32_t decision)
{
	struct pair_row *r = &a->rows[a->generation % PAIR_ROWS];
	*r = (struct pair_row){.made = true,
		.generation = a->generation,
		.decision = decision,
		.closed = a->closed,
		.members = a->members};
	memcpy(r->clock, a->clock, sizeof(r->clock));
	memcpy(r->sum, a->sum, sizeof(r->sum));
}

static void use(struct pair_sim *s, uint32_t rank, uint32_t step, uint32_t decision)
{
	struct pair_async *a = &s->async;
	struct pair_given *g = given_find(a, rank, step);
	if (!g || g->committed != 0) {
		pair_broken(s, "rank %u: step %u is committed, which %s", rank, step,
			g ? "was before" : "it has not contributed");
		return;
	}
	g->committed = decision;
	a->sum[rank] += value_of(s, rank, step);
	a->clock[rank] = step;
}

void pair_async_start(struct pair_sim *s)
{
	if (!s->o.embed)
		return;
	s->async.on = true;
	s->oracle.generation = 0;
	row_make(&s->async, 0);
}

// What an element began as.
static float initial_of(const struct pair_sim *s, uint32_t i)
{
	return s->o.embed ? 0.0f : ledger_initial(s->async.initial, i);
}

// The highest that is committed.
static uint32_t step_highest(const struct pair_sim *s)
{
	uint32_t step = s->async.closed;
	for (uint32_t r = 0; r < s->o.workers; r++)
		step = GP_MAX(step, s->async.clock[r]);
	return step;
}

static void commit_feed(struct pair_sim *s, const struct gp_decision *d)
{
	struct pair_async *a = &s->async;
	s->oracle.commits++;
	if (!a->on) {
		if (d->step != 0)
			pair_broken(s, "step %u is committed before step 0", d->step);
		a->on = true;
		a->initial = d->lowest;
		s->oracle.generation = 0;
		row_make(a, d->number);
		return;
	}
	uint32_t before = is_quorum(s) ? a->closed : a->clock[d->unit];
	if (d->step != before + 1)
		pair_broken(s, "step %u is committed after step %u (rank %u)", d->step, before,
			d->unit);
	gp_ranks_foreach(r, &d->members) use(s, r, d->step, d->number);
	if (is_quorum(s))
		a->closed = d->step;
	s->oracle.generation = step_highest(s);
}

static void view_feed(struct pair_sim *s, const struct gp_decision *d)
{
	struct pair_async *a = &s->async;
	a->members = d->members;
	gp_ranks_foreach(r, &d->others)
	{
		if (!a->on)
			continue;
		if (!is_quorum(s) && !gp_before(a->clock[r], d->step))
			pair_broken(s, "rank %u joins at step %u, committed is %u", r, d->step,
				a->clock[r]);
		a->clock[r] = d->step - 1;
		a->entered[r] = d->step;
	}
}

void pair_async_decision(struct pair_sim *s, const struct gp_decision *d)
{
	struct pair_async *a = &s->async;
	if (d->kind == GP_DECIDED_VIEW) {
		view_feed(s, d);
	} else if (d->kind == GP_DECIDED_COMMIT) {
		commit_feed(s, d);
	} else if (d->kind == GP_DECIDED_CUT) {
		if (d->step != a->generation + 1)
			pair_broken(s, "generation %u follows %u", d->step, a->generation);
		a->generation = d->step;
		row_make(a, d->number);
	}
}

// ---- what was seen

// Values that may be in a block beyond what was committed: of steps that were not, by then.
static uint32_t candidates(const struct pair_sim *s, const struct pair_row *row, uint32_t rank,
	uint32_t out[PAIR_GIVEN_MAX + PAIR_LOOSE_MAX])
{
	const struct pair_async *a = &s->async;
	uint32_t n = GP_MIN(a->loose_count[rank], (uint32_t)PAIR_LOOSE_MAX);
	memcpy(out, a->loose[rank], sizeof(out[0]) * n);
	for (uint32_t i = 0; i < PAIR_GIVEN_MAX; i++) {
		const struct pair_given *g = &a->given[rank][i];
		if (g->here && (g->committed == 0 || gp_before(row->decision, g->committed)))
			out[n++] = value_of(s, rank, g->step);
	}
	return n;
}

static bool is_sum_of_some(uint32_t x, const uint32_t *values, uint32_t count)
{
	if (count > PAIR_LOOSE_MAX)
		return true; // too many to tell
	for (uint32_t set = 0; set < 1u << count; set++) {
		uint32_t sum = 0;
		for (uint32_t i = 0; i < count; i++)
			sum += set >> i & 1 ? values[i] : 0;
		if (sum == x)
			return true;
	}
	return false;
}

static bool block_agrees(const struct pair_sim *s, const struct pair_row *row, const float *seen,
	uint32_t from, uint32_t i)
{
	uint32_t rank = (from + i) % s->o.workers;
	uint32_t some[PAIR_GIVEN_MAX + PAIR_LOOSE_MAX];
	float want = initial_of(s, from + i) - (float)row->sum[rank];
	if (seen[i] == want)
		return true;
	if (!is_direct(s) || !(seen[i] < want))
		return false;
	uint32_t n = candidates(s, row, rank, some);
	return is_sum_of_some((uint32_t)(want - seen[i]), some, n);
}

static void block_check(struct pair_sim *s, const struct pair_row *row, const float *seen,
	uint32_t block, const char *who, uint32_t idx)
{
	const struct oracle_block *b = &s->oracle.blocks[block];
	for (uint32_t i = 0; i < b->elems; i++) {
		if (block_agrees(s, row, seen, b->from, i))
			continue;
		pair_broken(s,
			"%s %u, generation %u, block %u, element %u: %g, committed is %u of %g",
			who, idx, row->generation, block, i, (double)seen[i],
			row->sum[(b->from + i) % s->o.workers], (double)initial_of(s, b->from + i));
		return;
	}
}

static const struct pair_row *row_find(
	struct pair_sim *s, uint32_t generation, const char *who, uint32_t idx)
{
	const struct pair_row *row = &s->async.rows[generation % PAIR_ROWS];
	if (row->made && row->generation == generation)
		return row;
	if (!s->async.on || gp_before(s->async.generation, generation))
		pair_broken(s, "%s %u is shown generation %u, the backup holds %u", who, idx,
			generation, s->async.generation);
	return NULL; // too old to tell
}

static void params_check(
	struct pair_sim *s, const float *params, uint32_t generation, const char *who, uint32_t idx)
{
	const struct pair_row *row = row_find(s, generation, who, idx);
	for (uint32_t b = 0; row && !s->evicts && b < s->oracle.blocks_count; b++)
		block_check(s, row, params + s->oracle.blocks[b].from, b, who, idx);
	s->oracle.checks++;
}

// As fresh as the job promises to who computes `next`.
static void fresh_check(struct pair_worker *w, uint32_t generation, uint32_t next)
{
	struct pair_sim *s = w->s;
	const struct pair_row *row = row_find(s, generation, "worker", w->rank);
	bool bounded =
		s->o.consistency == GP_CONSIST_SSP || s->o.consistency == GP_CONSIST_ADAPTIVE;
	if (!row)
		return;
	uint32_t own = is_quorum(s) ? row->closed : row->clock[w->rank];
	// Before its first step it has none; the generation may be of before it came.
	bool any = is_quorum(s) || gp_before(s->async.entered[w->rank], next);
	if (any && gp_before(own, next - 1))
		pair_broken(s, "worker %u reads generation %u without its own step %u", w->rank,
			generation, next - 1);
	gp_ranks_foreach(r, &row->members)
	{
		if (bounded && gp_before(row->clock[r], next - s->o.bound - 1))
			pair_broken(s,
				"worker %u reads generation %u for step %u, bound %u: rank %u is "
				"at %u",
				w->rank, generation, next, s->o.bound, r, row->clock[r]);
	}
}

void pair_async_begins(struct pair_worker *w, uint32_t generation)
{
	params_check(w->s, w->params, generation, "worker", w->rank);
}

void pair_async_seen(struct pair_sim *s, const float *params, uint32_t generation, uint32_t reader)
{
	params_check(s, params, generation, "reader", reader);
}

void pair_async_committed(struct pair_worker *w, uint32_t step)
{
	struct pair_sim *s = w->s;
	const struct pair_given *g = given_find(&s->async, w->rank, step);
	bool counts = is_quorum(s) ? !gp_before(s->async.closed, step) : g && g->committed != 0;
	if (!counts)
		pair_broken(s, "worker %u was told of step %u, which the backup does not hold",
			w->rank, step);
}

void pair_async_read(struct pair_worker *w, uint32_t generation)
{
	params_check(w->s, w->params, generation, "worker", w->rank);
	fresh_check(w, generation, gp_ccore_step(w->core));
}

void pair_async_done(struct pair_worker *w, uint32_t step)
{
	pair_async_committed(w, step);
	params_check(w->s, w->params, w->core->round_step, "worker", w->rank);
	fresh_check(w, w->core->round_step, step + 1);
}

void pair_async_watch(struct pair_worker *w)
{
	const struct gp_ccore *c = w->core;
	bool given = pair_is_async(w->s) && c->laid_out && c->mode == CC_PULL && !c->read.open &&
		     c->fate != GP_CCORE_AGAIN;
	if (given && (c->running || c->phase == CC_SETTLED) && c->todo > 0)
		(void)row_find(w->s, c->round_step, "worker", w->rank);
}

static void tables_check(struct pair_node *n, uint32_t generation,
	bool (*fill)(struct pair_node *, uint32_t, float *), const char *who)
{
	struct pair_sim *s = n->s;
	float *seen = calloc(s->model.elems_total, sizeof(float));
	GP_ASSERT(seen);
	if (fill(n, generation, seen))
		params_check(s, seen, generation, who, n->idx);
	free(seen);
}

static bool image_fill(struct pair_node *n, uint32_t generation, float *to)
{
	(void)generation;
	return pair_rows_image(n, to);
}

static bool engine_fill(struct pair_node *n, uint32_t generation, float *to)
{
	return pair_rows_engine(n, generation, to);
}

// What it says that ranks had brought is in its blocks, and nothing else.
static void image_check(struct pair_node *n, const struct gp_image_view *v)
{
	struct pair_sim *s = n->s;
	struct gp_restore x;
	const struct pair_row *row = row_find(s, v->generation, "image", n->idx);
	if (!row || gp_image_restore(n->image, JOB_ID, &x) != 0)
		return;
	for (uint32_t r = 0; r < s->o.workers; r++)
		if (!is_quorum(s) && v->generation > 0 && x.async->clock[r] != s->async.clock[r])
			pair_broken(s, "the image has step %u of rank %u, committed is %u",
				x.async->clock[r], r, s->async.clock[r]);
	if (s->o.embed)
		tables_check(n, v->generation, image_fill, "image");
	for (uint32_t b = 0; b < s->oracle.blocks_count && !s->o.embed; b++) {
		uint32_t elems;
		float weight;
		const float *seen =
			gp_image_block(n->image, JOB_ID, b, v->generation, 0, &elems, &weight);
		if (seen)
			block_check(s, row, seen, b, "image", n->idx);
		else
			pair_broken(s, "block %u of generation %u is not in the image", b,
				v->generation);
	}
}

void pair_async_promoted(struct pair_node *n, const struct gp_image_view *v)
{
	struct pair_async *a = &n->s->async;
	if (v && v->generation != GP_IMAGE_NONE && !n->s->why[0])
		image_check(n, v);
	if (v)
		return;
	memset(a->clock, 0, sizeof(a->clock));
	a->members = (struct gp_ranks){0};
	a->on = false;
	pair_async_start(n->s);
}

void pair_async_end(struct pair_node *n)
{
	struct pair_sim *s = n->s;
	struct gp_job_view v;
	gp_engine_job_view(n->engine, 0, &v);
	const struct pair_row *row = row_find(s, v.generation, "node", n->idx);
	if (s->o.embed) {
		tables_check(n, v.generation, engine_fill, "node");
		return;
	}
	for (uint32_t b = 0; row && b < s->oracle.blocks_count; b++) {
		uint32_t elems;
		const float *seen = gp_engine_block(n->engine, 0, b, v.generation, 0, &elems);
		if (seen)
			block_check(s, row, seen, b, "node", n->idx);
		else
			pair_broken(s, "block %u of generation %u is gone", b, v.generation);
	}
}
