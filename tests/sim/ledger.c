// SPDX-License-Identifier: BSD-3-Clause
#include "ledger.h"

#include "oracle.h"
#include "rng.h"
#include "sent.h"

#include <gp_engine.h>

#include <math.h>
#include <stdlib.h>

float ledger_gradient(const struct sim_opts *o, uint32_t rank, uint32_t step, uint32_t element)
{
	if (element % o->workers != rank)
		return 0.0f;
	return (float)(1 + rng_mix(o->seed ^ rng_mix((uint64_t)rank << 32 | step)) % 64);
}

float ledger_initial(uint32_t rank, uint32_t element)
{
	return (float)((rank * 7 + element) % LEDGER_INITIALS);
}

static bool is_staged(const struct ledger *l)
{
	return l->o->atomicity == GP_ATOM_STEP;
}

static bool is_quorum(const struct ledger *l)
{
	return l->o->consistency == GP_CONSIST_QUORUM;
}

void ledger_start(struct ledger *l, struct oracle *k)
{
	*l = (struct ledger){.k = k, .o = k->o};
	if (k->o->consistency == GP_CONSIST_BSP)
		return;
	size_t cells = (size_t)k->o->workers * k->blocks_count;
	l->sums = calloc(cells, sizeof(float));
	l->last = calloc(cells, sizeof(uint32_t));
	l->initial = calloc(k->m->elems_total, sizeof(float));
	GP_ASSERT(l->sums && l->last && l->initial);
	for (uint32_t i = 0; i < LEDGER_ROWS; i++) {
		l->rows[i].values = calloc(k->m->elems_total, sizeof(float));
		GP_ASSERT(l->rows[i].values);
	}
}

void ledger_end(struct ledger *l)
{
	for (uint32_t i = 0; i < LEDGER_ROWS; i++)
		free(l->rows[i].values);
	free(l->initial);
	free(l->last);
	free(l->sums);
}

// ---- contributions

void ledger_contribution(struct ledger *l, uint32_t rank, uint64_t life, uint32_t step)
{
	struct ledger_given *g = l->given[rank];
	if (g[0].here && g[0].life == life && g[0].step == step)
		return; // another tensor of it
	memmove(&g[1], &g[0], sizeof(g[0]) * (LEDGER_GIVEN - 1));
	g[0] = (struct ledger_given){.life = life, .step = step, .here = true};
}

static struct ledger_given *given_find(
	struct ledger *l, uint32_t rank, uint64_t life, uint32_t step)
{
	for (uint32_t i = 0; i < LEDGER_GIVEN; i++) {
		struct ledger_given *g = &l->given[rank][i];
		if (g->here && g->step == step && g->life == life)
			return g;
	}
	return NULL;
}

// ---- decisions

static struct ledger_row *row_make(struct ledger *l, uint32_t generation)
{
	struct ledger_row *r = &l->rows[generation % LEDGER_ROWS];
	float *values = r->values;
	*r = (struct ledger_row){.made = true,
		.generation = generation,
		.closed = l->closed,
		.members = l->members,
		.values = values};
	memcpy(r->clock, l->clock, sizeof(r->clock));
	return r;
}

void ledger_begin(struct ledger *l, uint32_t generation, const float *values, uint32_t step)
{
	GP_ASSERT(!l->on);
	l->on = true;
	l->first = generation;
	l->cut = generation;
	l->closed = step;
	if (l->o->train || (l->o->embed && l->o->restored))
		memcpy(l->initial, values, sizeof(float) * l->k->m->elems_total);
	for (uint32_t r = 0; r < l->o->workers; r++) {
		l->clock[r] = step;
		for (uint32_t i = 0; i < LEDGER_INITIALS; i++)
			l->now[r][i] = (float)i;
	}
	struct ledger_row *row = row_make(l, generation);
	memcpy(row->values, l->initial, sizeof(float) * l->k->m->elems_total);
}

void ledger_first_view(struct ledger *l, const struct gp_decision *d, const uint64_t *lives)
{
	l->members = d->members;
	gp_ranks_foreach(r, &d->members) l->lives[r] = lives[r];
}

void ledger_view(struct ledger *l, const struct gp_decision *d, const uint64_t *lives)
{
	gp_ranks_foreach(r, &d->members)
	{
		bool joined = gp_ranks_has(&d->others, r);
		if (!joined && lives[r] != 0 && l->lives[r] != 0 && lives[r] != l->lives[r])
			oracle_broken(l->k, "rank %u joined without being told of in view %u", r,
				d->view);
		if (!joined)
			continue;
		if (!is_quorum(l) && !gp_before(l->clock[r], d->step))
			oracle_broken(l->k, "rank %u joins at step %u, committed is %u", r, d->step,
				l->clock[r]);
		l->clock[r] = d->step - 1;
		l->lives[r] = lives[r];
	}
	l->members = d->members;
}

static float gradient_of(const struct ledger *l, uint32_t rank, uint32_t step)
{
	return ledger_gradient(l->o, rank, step, rank);
}

static void use(struct ledger *l, uint32_t rank, uint32_t step, bool counts)
{
	struct ledger_given *g = given_find(l, rank, l->lives[rank], step);
	if (!g || g->used) {
		oracle_broken(l->k, "rank %u: step %u is committed, which %s", rank, step,
			g ? "was before" : "it has not contributed in this life");
		return;
	}
	g->used = true;
	if (counts && is_staged(l)) {
		l->total[rank] += gradient_of(l, rank, step);
		l->added[rank] += gradient_of(l, rank, step);
	}
	if (gp_before(l->clock[rank], step))
		l->clock[rank] = step;
}

static void late_use(struct ledger *l, uint32_t rank, uint32_t before)
{
	struct ledger_given *oldest = NULL;
	for (uint32_t i = 0; i < LEDGER_GIVEN; i++) {
		struct ledger_given *g = &l->given[rank][i];
		if (g->here && !g->used && g->life == l->lives[rank] && gp_before(g->step, before))
			oldest = g;
	}
	if (!oldest)
		oracle_broken(l->k, "rank %u: a late step before %u is used, there is none", rank,
			before);
	else
		use(l, rank, oldest->step, l->o->stale != GP_STALE_REFUSE);
}

static uint32_t elements_of(const struct ledger *l, uint32_t rank)
{
	uint32_t all = l->k->m->elems_total, workers = l->o->workers;
	return rank < all ? (all - 1 - rank) / workers + 1 : 0;
}

// The squares are whole numbers, and so is their sum: in whatever order.
static void clipped_step(struct ledger *l)
{
	double sum = 0;
	for (uint32_t r = 0; r < l->o->workers; r++)
		sum += (double)l->added[r] * (double)l->added[r] * elements_of(l, r);
	float clip = l->k->m->clip, factor = 1;
	if (sqrt(sum) > (double)clip)
		factor = (float)((double)clip / sqrt(sum));
	for (uint32_t r = 0; r < l->o->workers; r++) {
		float g = l->added[r] * factor;
		for (uint32_t i = 0; i < LEDGER_INITIALS; i++)
			l->now[r][i] = l->now[r][i] - g;
	}
}

static void quorum_commit(struct ledger *l, const struct gp_decision *d)
{
	uint32_t n = gp_ranks_count(&d->members);
	if (d->step != l->closed + 1)
		oracle_broken(l->k, "step %u is closed after %u", d->step, l->closed);
	if (n < GP_MIN(l->o->quorum_min, gp_ranks_count(&l->members)))
		oracle_broken(l->k, "step %u is closed with %u ranks", d->step, n);
	if (!l->o->train)
		memset(l->total, 0, sizeof(l->total));
	memset(l->added, 0, sizeof(l->added));
	gp_ranks_foreach(r, &d->others) late_use(l, r, d->step);
	gp_ranks_foreach(r, &d->members) use(l, r, d->step, true);
	if (l->k->m->clip > 0)
		clipped_step(l);
	l->closed = d->step;
}

// Every core has marked every block of it.
static void direct_check(struct ledger *l, uint32_t rank, uint32_t step)
{
	for (uint32_t b = 0; b < l->k->blocks_count; b++)
		if (gp_before(ledger_last(l, rank, b), step)) {
			oracle_broken(l->k, "rank %u: step %u is committed without block %u", rank,
				step, b);
			return;
		}
}

void ledger_commit(struct ledger *l, const struct gp_decision *d)
{
	l->k->commits++;
	if (gp_before(l->k->generation, d->step))
		l->k->generation = d->step; // of the fastest: how far the history is
	if (is_quorum(l)) {
		quorum_commit(l, d);
		return;
	}
	uint32_t rank = d->unit;
	if (d->step != l->clock[rank] + 1)
		oracle_broken(l->k, "rank %u: step %u is committed after %u", rank, d->step,
			l->clock[rank]);
	use(l, rank, d->step, true);
	if (!is_staged(l))
		direct_check(l, rank, d->step);
}

static uint32_t rank_of(const struct ledger *l, uint32_t element)
{
	return element % l->o->workers;
}

static float staged_value(const struct ledger *l, uint32_t element)
{
	float sum = l->total[rank_of(l, element)], initial = l->initial[element];
	bool known =
		initial >= 0 && initial < LEDGER_INITIALS; // not what nothing saw to be corrupt
	if (l->k->m->clip > 0 && known)
		return l->now[rank_of(l, element)][(uint32_t)initial];
	return initial + (l->o->train ? -sum : sum);
}

void ledger_cut(struct ledger *l, const struct gp_decision *d)
{
	if (d->step != l->cut + 1)
		oracle_broken(l->k, "generation %u follows %u", d->step, l->cut);
	l->cut = d->step;
	struct ledger_row *row = row_make(l, d->step);
	if (!is_staged(l))
		return; // each core fills in its blocks when it comes to it
	for (uint32_t i = 0; i < l->k->m->elems_total; i++)
		row->values[i] = staged_value(l, i);
}

// ---- direct: what cores have marked

static size_t cell(const struct ledger *l, uint32_t rank, uint32_t block)
{
	return (size_t)rank * l->k->blocks_count + block;
}

uint32_t ledger_last(const struct ledger *l, uint32_t rank, uint32_t block)
{
	return l->last[cell(l, rank, block)];
}

void ledger_skip(struct ledger *l, uint32_t rank, uint32_t block, uint32_t step)
{
	l->last[cell(l, rank, block)] = step - 1;
}

void ledger_marked(struct ledger *l, uint32_t rank, uint32_t block, uint32_t step)
{
	bool given = false;
	for (uint32_t i = 0; i < LEDGER_GIVEN; i++)
		given |= l->given[rank][i].here && l->given[rank][i].step == step;
	if (!given)
		oracle_broken(l->k,
			"rank %u: step %u of block %u is taken, it never contributed it", rank,
			step, block);
	l->last[cell(l, rank, block)] = step;
	l->sums[cell(l, rank, block)] += gradient_of(l, rank, step);
}

static float expected(const struct ledger *l, uint32_t block, uint32_t element)
{
	if (is_staged(l))
		return staged_value(l, element);
	float sum = l->sums[cell(l, rank_of(l, element), block)];
	return l->initial[element] + (l->o->train ? -sum : sum);
}

void ledger_reached(struct ledger *l, uint32_t block, uint32_t generation)
{
	struct ledger_row *row = &l->rows[generation % LEDGER_ROWS];
	const struct oracle_block *b = &l->k->blocks[block];
	if (row->generation != generation)
		return; // long gone
	for (uint32_t i = b->from; i < b->from + b->elems; i++)
		row->values[i] = expected(l, block, i);
}

// ---- what was seen

static const struct ledger_row *row_find(
	struct ledger *l, uint32_t generation, const char *who, uint32_t idx)
{
	const struct ledger_row *row = &l->rows[generation % LEDGER_ROWS];
	if (row->made && row->generation == generation)
		return row;
	if (gp_before(l->cut, generation))
		oracle_broken(l->k, "%s %u was shown generation %u, there is none after %u", who,
			idx, generation, l->cut);
	return NULL; // too old to tell
}

void ledger_check_block(struct ledger *l, const float *seen, uint32_t elems, uint32_t generation,
	uint32_t block, const char *who, uint32_t idx)
{
	const struct oracle_block *b = &l->k->blocks[block];
	const struct ledger_row *row = row_find(l, generation, who, idx);
	if (elems != b->elems)
		oracle_broken(l->k, "%s %u: block %u has %u elements", who, idx, block, elems);
	float want[ORACLE_BLOCK_MAX];
	GP_ASSERT(b->elems <= ORACLE_BLOCK_MAX);
	if (row) {
		memcpy(want, row->values + b->from, sizeof(float) * b->elems);
		sent_result(l->k->given, want, b->elems);
	}
	for (uint32_t i = 0; row && i < b->elems; i++) {
		if (seen[i] == want[i])
			continue;
		oracle_broken(l->k,
			"%s %u, generation %u, block %u, element %u of rank %u: %g, the ledger has "
			"%g",
			who, idx, generation, block, i, rank_of(l, b->from + i), (double)seen[i],
			(double)want[i]);
		return;
	}
}

void ledger_check(struct ledger *l, const float *seen, uint32_t generation, uint64_t skip,
	const char *who, uint32_t idx)
{
	for (uint32_t b = 0; b < l->k->blocks_count; b++) {
		const struct oracle_block *x = &l->k->blocks[b];
		if (!(skip >> x->tensor & 1))
			ledger_check_block(l, seen + x->from, x->elems, generation, b, who, idx);
	}
	l->k->checks++;
}

void ledger_fresh(struct ledger *l, uint32_t rank, uint32_t generation, uint32_t next)
{
	const struct ledger_row *row = row_find(l, generation, "worker", rank);
	if (!row)
		return;
	uint8_t mode = l->o->consistency;
	uint32_t own = is_quorum(l) ? row->closed : row->clock[rank];
	if (gp_before(own, next - 1))
		oracle_broken(l->k, "rank %u reads generation %u without its own step %u", rank,
			generation, next - 1);
	if (mode != GP_CONSIST_SSP && mode != GP_CONSIST_ADAPTIVE)
		return;
	gp_ranks_foreach(r, &row->members) if (gp_before(row->clock[r], next - l->o->bound - 1))
		oracle_broken(l->k,
			"rank %u reads generation %u for step %u, bound %u: rank %u is at %u", rank,
			generation, next, l->o->bound, r, row->clock[r]);
}

void ledger_final(struct ledger *l, const float *seen, uint32_t block)
{
	const struct oracle_block *b = &l->k->blocks[block];
	for (uint32_t i = 0; i < b->elems; i++) {
		float want = expected(l, block, b->from + i);
		if (seen[i] == want)
			continue;
		oracle_broken(l->k,
			"at the end block %u, element %u of rank %u: %g, the ledger "
			"has %g",
			block, i, rank_of(l, b->from + i), (double)seen[i], (double)want);
		return;
	}
}
