// SPDX-License-Identifier: BSD-3-Clause
#include "oracle.h"
#include "sent.h"
#include "whole_step.h"

#include <gp_wire.h>

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>

#define VALUES_MAX (8u << 20) // f32: rows and elements of a history

void oracle_broken(struct oracle *k, const char *fmt, ...)
{
	if (k->why[0] || k->off)
		return;
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(k->why, sizeof(k->why), fmt, args);
	va_end(args);
}

static float *row(const struct oracle *k, uint32_t step)
{
	return k->values + (size_t)(step - k->base) * k->m->elems_total;
}

static size_t state_elems(const struct oracle *k)
{
	return (size_t)k->m->states * k->m->elems_total;
}

static float *state_row(const struct oracle *k, uint32_t step)
{
	return k->states + (size_t)(step - k->base) * state_elems(k);
}

static uint32_t *made(const struct oracle *k, uint32_t step, uint32_t unit)
{
	return &k->made[(size_t)(step - k->base) * k->units_count + unit];
}

static bool *sparse(const struct oracle *k, uint32_t step, const struct oracle_block *b)
{
	return &k->sparse[(size_t)(step - k->base) * k->blocks_count + (size_t)(b - k->blocks)];
}

static bool in_rows(const struct oracle *k, uint32_t step)
{
	return step - k->base < k->rows;
}

// ---- set-up

// Tensors are scheduled in the reverse of the workers' order (their priorities fall).
static void blocks_lay(struct oracle *k)
{
	uint32_t elems = sent_block_elems(k->o->payload_max), n = 0;
	uint32_t most = k->m->elems_total / elems + k->m->tensors_count;
	k->blocks = calloc(most, sizeof(*k->blocks));
	k->units = calloc(most, sizeof(*k->units));
	GP_ASSERT(k->blocks && k->units);
	for (uint32_t t = k->m->tensors_count; t-- > 0;) {
		for (uint32_t at = 0; at < k->m->elems[t]; at += elems, n++) {
			k->blocks[n] = (struct oracle_block){.from = k->m->from[t] + at,
				.elems = GP_MIN(elems, k->m->elems[t] - at),
				.tensor = t};
			uint8_t atomicity = k->o->consistency == GP_CONSIST_BSP
						    ? k->o->atomicity
						    : GP_ATOM_STEP; // initial values only
			bool begins = n == 0 || atomicity == GP_ATOM_BLOCK ||
				      (atomicity == GP_ATOM_TENSOR && at == 0);
			if (begins)
				k->units[k->units_count++].first = n;
			k->units[k->units_count - 1].count++;
		}
	}
	k->blocks_count = n;
}

static void restored_fill(struct oracle *k)
{
	model_initial(k->m, SIM_WORKERS_MAX, row(k, k->base));
	for (uint32_t i = 0; i < k->m->elems_total; i++)
		k->state[i] = row(k, k->base)[i] * 0.125f;
	for (uint32_t i = 0; i < k->m->elems_total && k->m->lamb; i++) // squares
		k->state[k->m->elems_total + i] = fabsf(k->state[i]);
	for (uint32_t u = 0; u < k->units_count; u++)
		*made(k, k->base, u) = 1;
}

void oracle_start(struct oracle *k, const struct sim_opts *o, const struct model *m)
{
	static float *values;
	if (!values)
		values = malloc(sizeof(float) * VALUES_MAX);
	*k = (struct oracle){.o = o, .m = m, .values = values, .off = o->undetected_ppm > 0};
	blocks_lay(k);
	k->base = o->first_step;
	k->generation = o->restored ? o->first_step : o->train ? UINT32_MAX : 0;
	k->rows = GP_MIN(o->steps + 8, VALUES_MAX / m->elems_total);
	k->made = calloc((size_t)k->rows * k->units_count, sizeof(*k->made));
	k->state = calloc(state_elems(k), sizeof(float));
	k->sparse = calloc((size_t)k->rows * k->blocks_count, sizeof(*k->sparse));
	GP_ASSERT(k->values && k->made && k->sparse && k->state);
	for (uint32_t u = 0; u < k->units_count; u++)
		k->units[u].committed = k->generation;
	for (uint32_t r = 0; r < o->workers; r++) {
		k->sent[r].values = calloc(m->elems_total, sizeof(float));
		GP_ASSERT(k->sent[r].values);
	}
	if (o->restored)
		restored_fill(k);
	ledger_start(&k->ledger, k);
	if (o->consistency != GP_CONSIST_BSP && k->generation != UINT32_MAX)
		ledger_begin(&k->ledger, k->generation, row(k, k->base), k->generation);
}

void oracle_end(struct oracle *k)
{
	for (uint32_t r = 0; r < k->o->workers; r++)
		free(k->sent[r].values);
	ledger_end(&k->ledger);
	free(k->state);
	free(k->sparse);
	free(k->made);
	free(k->units);
	free(k->blocks);
}

const float *oracle_restored(const struct oracle *k, const float **state)
{
	*state = k->state;
	return row(k, k->base);
}

// ---- contributions and decisions

void oracle_contribution(struct oracle *k, uint32_t rank, uint64_t life, uint32_t step,
	uint32_t tensor, const float *values)
{
	struct oracle_sent *s = &k->sent[rank];
	s->life[tensor] = life;
	s->step[tensor] = step;
	memcpy(s->values + k->m->from[tensor], values, sizeof(float) * k->m->elems[tensor]);
	if (k->o->consistency != GP_CONSIST_BSP)
		ledger_contribution(&k->ledger, rank, life, step);
}

void oracle_codec(struct oracle *k, uint32_t rank, uint32_t tensor, uint8_t codec)
{
	k->sent[rank].topk[tensor] = sent_is_topk(codec);
}

// In the middle of a step nobody joins, unless those who are left are too few to end it.
static void members_check(struct oracle *k, const struct gp_ranks *members, const uint64_t *lives)
{
	uint32_t left = 0, came = 0;
	gp_ranks_foreach(r, members)
	{
		bool same = gp_ranks_has(&k->members, r) && k->lives[r] == lives[r];
		left += same;
		came += !same;
	}
	if (came > 0 && left >= k->o->workers_min)
		oracle_broken(k, "%u ranks join view %u in the middle of step %u", came,
			k->view + 1, k->generation + 1);
}

void oracle_view(struct oracle *k, uint32_t view, uint32_t first_step,
	const struct gp_ranks *members, const uint64_t *lives)
{
	if (view != k->view + 1)
		oracle_broken(k, "view %u follows view %u", view, k->view);
	if (first_step != k->generation + 1)
		oracle_broken(k, "view %u begins with step %u, committed is %u", view, first_step,
			k->generation);
	if (k->units_next > 0 && k->view > 0)
		members_check(k, members, lives);
	k->view = view;
	k->members = *members;
	k->members_count = gp_ranks_count(members);
	if (k->members_count < k->o->workers_min)
		oracle_broken(k, "view %u has %u members, at least %u were asked for", view,
			k->members_count, k->o->workers_min);
	memcpy(k->lives, lives, sizeof(k->lives));
	k->views++;
}

// Each member's contribution to the block is there, of this step and of the life that is a member.
static bool contributed(
	struct oracle *k, uint32_t unit, uint32_t step, const struct oracle_block *b)
{
	uint32_t tensor = b->tensor;
	gp_ranks_foreach(r, &k->members)
	{
		const struct oracle_sent *s = &k->sent[r];
		for (uint32_t i = 0; i < b->elems && k->o->nan_ppm > 0; i++)
			if (!isfinite(s->values[b->from + i]))
				oracle_broken(k,
					"unit %u of step %u holds what rank %u contributed, "
					"which is not finite",
					unit, step, r);
		if (s->life[tensor] == k->lives[r] && s->step[tensor] == step && s->life[tensor])
			continue;
		oracle_broken(k,
			"unit %u of step %u is committed in view %u without the contribution of "
			"rank %u, which is at step %u%s",
			unit, step, k->view, r, s->step[tensor],
			s->life[tensor] == k->lives[r] ? "" : " in another life");
		return false;
	}
	return true;
}

static void block_initial(struct oracle *k, const struct oracle_block *b)
{
	static float *all;
	if (!all)
		all = malloc(sizeof(float) * VALUES_MAX / 4);
	GP_ASSERT(all && k->m->elems_total <= VALUES_MAX / 4);
	model_initial(k->m, gp_ranks_next(&k->members, 0), all);
	memcpy(row(k, k->base) + b->from, all + b->from, sizeof(float) * b->elems);
}

// What counts of all contributions to the block.
static void block_mean(const struct oracle *k, const struct oracle_block *b, float *sums)
{
	float weights = 0;
	bool first = true;
	gp_ranks_foreach(r, &k->members)
	{
		const float *v = k->sent[r].values + b->from;
		float weight = model_weight(k->m, r);
		weights = first ? weight : weights + weight;
		if (first)
			memcpy(sums, v, sizeof(float) * b->elems);
		else
			for (uint32_t i = 0; i < b->elems; i++)
				sums[i] = sums[i] + v[i];
		first = false;
	}
	model_mean(k->m, sums, weights, b->elems);
}

static bool all_zero(const float *v, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (v[i] != 0)
			return false;
	return true;
}

// What counts as zeros, since it was not finite, leaves all of them out.
static bool block_is_sparse(const struct oracle *k, const struct oracle_block *b)
{
	gp_ranks_foreach(r, &k->members)
	{
		const struct oracle_sent *s = &k->sent[r];
		if (!s->topk[b->tensor] && !all_zero(s->values + b->from, b->elems))
			return false;
	}
	return true;
}

static void block_compute(struct oracle *k, const struct oracle_block *b, uint32_t step)
{
	float *out = row(k, step) + b->from, mean[ORACLE_BLOCK_MAX];
	GP_ASSERT(b->elems <= GP_ARRAY_SIZE(mean));
	block_mean(k, b, k->m->train ? mean : out);
	*sparse(k, step, b) = block_is_sparse(k, b);
	if (!k->m->train)
		return;
	memcpy(out, row(k, step - 1) + b->from, sizeof(float) * b->elems);
	model_update(k->m, mean, out, k->state + b->from, b->elems);
}

// The step of a job whose updates need all of it, which is one unit.
static void step_compute(struct oracle *k, uint32_t step)
{
	float *means = malloc(sizeof(float) * k->m->elems_total);
	GP_ASSERT(means);
	for (uint32_t b = 0; b < k->blocks_count; b++)
		block_mean(k, &k->blocks[b], means + k->blocks[b].from);
	memcpy(row(k, step), row(k, step - 1), sizeof(float) * k->m->elems_total);
	whole_compute(k, step, means, row(k, step));
	free(means);
}

void oracle_commit(struct oracle *k, uint32_t unit, uint32_t step, uint32_t view, uint32_t ranks)
{
	struct oracle_unit *u = &k->units[unit];
	bool initial = k->m->train && !k->o->restored && step == 0;
	if (unit >= k->units_count || step != u->committed + 1 || step != k->generation + 1) {
		oracle_broken(k, "unit %u: step %u is committed after %u, all are at %u", unit,
			step, unit < k->units_count ? u->committed : 0, k->generation);
		return;
	}
	if (view != k->view || ranks != k->members_count)
		oracle_broken(k,
			"unit %u of step %u is committed in view %u with %u ranks, the "
			"view is %u with %u",
			unit, step, view, ranks, k->view, k->members_count);
	if (!in_rows(k, step))
		oracle_broken(k, "step %u is beyond the history", step);
	u->committed = step;
	k->commits++;
	bool whole = (k->m->lamb || k->m->clip > 0) && !initial;
	for (uint32_t b = u->first; b < u->first + u->count && !k->why[0] && !k->off; b++) {
		if (initial)
			block_initial(k, &k->blocks[b]);
		else if (contributed(k, unit, step, &k->blocks[b]) && !whole)
			block_compute(k, &k->blocks[b], step);
	}
	if (whole && !k->why[0] && !k->off)
		step_compute(k, step);
	if (in_rows(k, step))
		*made(k, step, unit) = view;
	if (++k->units_next == k->units_count) {
		k->units_next = 0;
		k->generation++;
		if (k->states)
			memcpy(state_row(k, step), k->state, sizeof(float) * state_elems(k));
		if (k->o->consistency != GP_CONSIST_BSP)
			ledger_begin(&k->ledger, k->generation, row(k, step), step);
	}
}

void oracle_keep(struct oracle *k)
{
	static float *states;
	if (!states)
		states = malloc(sizeof(float) * 2 * VALUES_MAX);
	GP_ASSERT(states && k->commits == 0);
	k->states = states;
}

void oracle_rewind(struct oracle *k, uint32_t step)
{
	GP_ASSERT(k->states && (step == UINT32_MAX || step - k->base < k->rows));
	uint32_t first = step == UINT32_MAX ? 0 : step + 1 - k->base;
	memset(k->made + (size_t)first * k->units_count, 0,
		sizeof(*k->made) * k->units_count * (k->rows - first));
	if (step == UINT32_MAX)
		memset(k->state, 0, sizeof(float) * state_elems(k));
	else
		memcpy(k->state, state_row(k, step), sizeof(float) * state_elems(k));
	for (uint32_t u = 0; u < k->units_count; u++)
		k->units[u].committed = step;
	k->generation = step;
	k->units_next = 0;
	k->view = 0;
}

// ---- what was seen

// The block as it is given.
static void block_given(const struct oracle *k, uint32_t step, const struct oracle_block *b,
	float given[ORACLE_BLOCK_MAX])
{
	GP_ASSERT(b->elems <= ORACLE_BLOCK_MAX);
	memcpy(given, row(k, step) + b->from, sizeof(float) * b->elems);
	sent_result(k->given, given, b->elems);
}

static bool block_same(
	const struct oracle *k, const float *seen, uint32_t step, const struct oracle_block *b)
{
	float given[ORACLE_BLOCK_MAX];
	const float *is = row(k, step) + b->from;
	size_t size = sizeof(float) * b->elems;
	// Instead of int8 the few elements of a sparse sum go as they are.
	bool may_be = k->given <= SENT_F32 ||
		      (k->given == SENT_INT8 && !k->m->train && *sparse(k, step, b));
	if (may_be && memcmp(is, seen, size) == 0)
		return true;
	block_given(k, step, b, given);
	return memcmp(given, seen, size) == 0;
}

static void block_tell(struct oracle *k, const float *seen, uint32_t step,
	const struct oracle_block *b, const char *who, uint32_t idx)
{
	float want[ORACLE_BLOCK_MAX];
	uint32_t i = 0;
	block_given(k, step, b, want);
	while (memcmp(&want[i], &seen[i], sizeof(float)) == 0)
		i++;
	oracle_broken(k, "%s %u, step %u, block %u, element %u: %.9g, the reference has %.9g", who,
		idx, step, (uint32_t)(b - k->blocks), i, (double)seen[i], (double)want[i]);
}

static bool is_made(struct oracle *k, uint32_t step, uint32_t unit, const char *who, uint32_t idx)
{
	if (in_rows(k, step) && *made(k, step, unit) != 0)
		return true;
	oracle_broken(k, "%s %u was shown unit %u of step %u, which is not committed", who, idx,
		unit, step);
	return false;
}

void oracle_check(struct oracle *k, const float *seen, uint32_t step, uint64_t skip,
	const char *who, uint32_t idx)
{
	if (k->ledger.on) {
		ledger_check(&k->ledger, seen, step, skip, who, idx);
		return;
	}
	for (uint32_t u = 0; u < k->units_count && !k->off; u++) {
		const struct oracle_unit *unit = &k->units[u];
		if (!is_made(k, step, u, who, idx))
			return;
		for (uint32_t b = unit->first; b < unit->first + unit->count; b++) {
			const struct oracle_block *ob = &k->blocks[b];
			if (!(skip >> ob->tensor & 1) && !block_same(k, seen + ob->from, step, ob))
				block_tell(k, seen + ob->from, step, ob, who, idx);
		}
	}
	k->checks++;
}

static bool unit_same(
	const struct oracle *k, const float *seen, uint32_t step, const struct oracle_unit *unit)
{
	uint32_t u = (uint32_t)(unit - k->units);
	if (!in_rows(k, step) || *made(k, step, u) == 0)
		return false;
	for (uint32_t b = unit->first; b < unit->first + unit->count; b++)
		if (!block_same(k, seen + k->blocks[b].from, step, &k->blocks[b]))
			return false;
	return true;
}

void oracle_check_mixed(
	struct oracle *k, const float *seen, uint32_t step, const char *who, uint32_t idx)
{
	for (uint32_t u = 0; u < k->units_count && !k->off; u++)
		if (!unit_same(k, seen, step, &k->units[u]) &&
			!unit_same(k, seen, step + 1, &k->units[u]))
			oracle_broken(k, "%s %u: unit %u is neither that of step %u nor the next",
				who, idx, u, step);
	k->checks++;
}

void oracle_check_block(struct oracle *k, const float *seen, uint32_t elems, uint32_t step,
	uint32_t block, const char *who, uint32_t idx)
{
	const struct oracle_block *b = &k->blocks[block];
	if (k->ledger.on)
		ledger_check_block(&k->ledger, seen, elems, step, block, who, idx);
	if (k->off || k->ledger.on)
		return;
	uint32_t u = 0;
	while (k->units[u].first + k->units[u].count <= block)
		u++;
	if (block >= k->blocks_count || elems != b->elems)
		oracle_broken(k, "%s %u: block %u has %u elements", who, idx, block, elems);
	else if (is_made(k, step, u, who, idx) && !block_same(k, seen, step, b))
		block_tell(k, seen, step, b, who, idx);
	k->checks++;
}

bool oracle_whole(const struct oracle *k, uint32_t step)
{
	return k->generation != UINT32_MAX && !gp_before(k->generation, step);
}
