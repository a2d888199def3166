// SPDX-License-Identifier: BSD-3-Clause
//
// The owner's batches, in groups of a few rows and three stages: while one group is computed, the
// rows of the next are on their way and the buckets of the one after that.
#include "rows_priv.h"

#define GROUP  32u
#define STAGES 3u

struct group {
	const uint64_t *ids;
	uint32_t n;
	uint64_t moves; // of the table when places were found
	uint64_t hash[GROUP];
	struct rows_place place[GROUP];
};

static void row_prefetch(const struct gp_rows *t, uint32_t row)
{
	const uint8_t *p = (const uint8_t *)rows_data(t, row);
	for (uint32_t at = 0; at < t->row_units * ROW_UNIT; at += GP_CACHE_LINE)
		__builtin_prefetch(p + at, 1);
}

static void group_begin(const struct gp_rows *t, struct group *g, const uint64_t *ids, uint32_t n)
{
	g->ids = ids;
	g->n = n;
	for (uint32_t i = 0; i < n; i++) {
		g->hash[i] = rows_hash(t, ids[i]);
		__builtin_prefetch(&rows_segment(t, g->hash[i])[rows_home(g->hash[i])], 1);
	}
}

static void group_find(const struct gp_rows *t, struct group *g)
{
	g->moves = t->moves;
	for (uint32_t i = 0; i < g->n; i++) {
		g->place[i] = rows_find(rows_segment(t, g->hash[i]), g->hash[i], g->ids[i]);
		if (g->place[i].bucket)
			row_prefetch(t, g->place[i].row);
	}
}

// Round `round` of a batch: the stages that prepare. True when group round - 2 is ready in *ready.
static bool round_begin(const struct gp_rows *t, struct group groups[STAGES], uint32_t round,
	const uint64_t *ids, uint32_t n, struct group **ready)
{
	uint32_t rounds = (uint32_t)gp_div_up(n, GROUP);
	if (round < rounds)
		group_begin(t, &groups[round % STAGES], ids + round * GROUP,
			GP_MIN(GROUP, n - round * GROUP));
	if (round >= 1 && round <= rounds)
		group_find(t, &groups[(round - 1) % STAGES]);
	*ready = &groups[(round + 1) % STAGES];
	return round >= 2;
}

// From the stored row `row` to the next one, in t->scratch.
static void row_step(struct gp_rows *t, const struct gp_optim_plan *plan, float lr_scale,
	const float *row, const float *grad)
{
	float *out = t->scratch;
	struct gp_optim_block b = {.grad = grad,
		.w = row,
		.state = row + t->state_at,
		.w_out = out,
		.state_out = out + t->state_at,
		.elems = t->cfg.dim,
		.stride = t->cfg.dim,
		.step = plan->step,
		.lr_scale = lr_scale};
	if (t->cfg.bf16) {
		rows_unpack(t, row, t->wide);
		b.w = t->wide;
		b.w_out = t->wide + t->cfg.dim;
	}
	gp_optim_run(plan, &b);
	if (t->cfg.bf16)
		rows_pack(t, b.w_out, out);
	rows_stamp(t, out, plan->step);
}

static void row_change(struct gp_rows *t, const struct rows_place *p, uint64_t hash, uint32_t step,
	const float *row)
{
	_Atomic uint64_t *stripe = rows_stripe(t, hash);
	rows_change_begin(stripe);
	rows_store(rows_data(t, p->row), row, t->row_units * (ROW_UNIT / 4));
	atomic_store_explicit(&p->bucket->step[p->slot], step, memory_order_release);
	rows_change_end(stripe);
}

static bool row_make(struct gp_rows *t, const struct gp_optim_plan *plan, float lr_scale,
	uint64_t hash, uint64_t id, const float *grad)
{
	struct rows_place p = rows_take(t, hash);
	if (!p.bucket)
		return false;
	// Nobody sees the row yet: its memory holds the initial values meanwhile.
	rows_initial(t, id, t->wide);
	rows_build(t, t->wide, NULL, t->scratch);
	rows_store(rows_data(t, p.row), t->scratch, t->row_units * (ROW_UNIT / 4));
	row_step(t, plan, lr_scale, rows_data(t, p.row), grad);
	rows_show(t, &p, hash, id, plan->step, t->scratch);
	return true;
}

static uint32_t group_update(struct gp_rows *t, const struct gp_optim_plan *plan, float lr_scale,
	const struct group *g, const float *grads, bool *refused)
{
	uint32_t missing = 0;
	for (uint32_t i = 0; i < g->n; i++) {
		struct rows_place p = g->place[i];
		const float *grad = grads + (size_t)i * t->cfg.dim;
		bool there = true;
		if (!p.bucket || t->moves != g->moves) // made, or moved, by one before it
			p = rows_find(rows_segment(t, g->hash[i]), g->hash[i], g->ids[i]);
		if (p.bucket) {
			row_step(t, plan, lr_scale, rows_data(t, p.row), grad);
			row_change(t, &p, g->hash[i], plan->step, t->scratch);
		} else {
			there = row_make(t, plan, lr_scale, g->hash[i], g->ids[i], grad);
		}
		missing += !there;
		if (refused)
			refused[i] = !there;
	}
	return missing;
}

uint32_t gp_rows_update(struct gp_rows *t, const struct gp_optim_plan *plan, float lr_scale,
	const uint64_t *ids, const float *grads, uint32_t n, bool *refused)
{
	struct group groups[STAGES], *g;
	uint32_t missing = 0, rounds = (uint32_t)gp_div_up(n, GROUP) + STAGES - 1;
	struct gp_optim_plan narrow = *plan;
	gp_optim_plan_narrow(&narrow); // rows are short and copied at once
	for (uint32_t round = 0; n > 0 && round < rounds; round++) {
		if (!round_begin(t, groups, round, ids, n, &g))
			continue;
		size_t at = (size_t)(g->ids - ids);
		missing += group_update(t, &narrow, lr_scale, g, grads + at * t->cfg.dim,
			refused ? refused + at : NULL);
	}
	if (missing > 0)
		rows_count(&t->stats.refused, missing);
	return missing;
}

static void row_get(const struct gp_rows *t, const struct rows_place *p, uint64_t id, float *out)
{
	if (p->bucket) {
		rows_unpack(t, rows_data(t, p->row), out);
		return;
	}
	rows_initial(t, id, out);
	if (t->cfg.bf16) {
		rows_pack(t, out, t->scratch);
		rows_unpack(t, t->scratch, out);
	}
}

void gp_rows_get(const struct gp_rows *t, const uint64_t *ids, uint32_t n, float *out)
{
	struct group groups[STAGES], *g;
	uint32_t rounds = (uint32_t)gp_div_up(n, GROUP) + STAGES - 1;
	for (uint32_t round = 0; n > 0 && round < rounds; round++) {
		if (!round_begin(t, groups, round, ids, n, &g))
			continue;
		float *to = out + (size_t)(g->ids - ids) * t->cfg.dim;
		for (uint32_t i = 0; i < g->n; i++)
			row_get(t, &g->place[i], g->ids[i], to + (size_t)i * t->cfg.dim);
	}
}

uint32_t gp_rows_absent(const struct gp_rows *t, const uint64_t *ids, uint32_t n)
{
	struct group groups[STAGES], *g;
	uint32_t absent = 0, rounds = (uint32_t)gp_div_up(n, GROUP) + STAGES - 1;
	for (uint32_t round = 0; n > 0 && round < rounds; round++) {
		if (!round_begin(t, groups, round, ids, n, &g))
			continue;
		for (uint32_t i = 0; i < g->n; i++)
			absent += g->place[i].bucket == NULL;
	}
	return absent;
}

int gp_rows_put(
	struct gp_rows *t, uint64_t id, uint32_t step, const float *values, const float *state)
{
	uint64_t hash = rows_hash(t, id);
	struct rows_place p = rows_find(rows_segment(t, hash), hash, id);
	rows_build(t, values, state, t->scratch);
	rows_stamp(t, t->scratch, step);
	if (p.bucket) {
		row_change(t, &p, hash, step, t->scratch);
		return 0;
	}
	p = rows_take(t, hash);
	if (!p.bucket) {
		rows_count(&t->stats.refused, 1);
		return -ENOSPC;
	}
	rows_show(t, &p, hash, id, step, t->scratch);
	return 0;
}

bool gp_rows_drop(struct gp_rows *t, uint64_t id)
{
	uint64_t hash = rows_hash(t, id);
	struct rows_place p = rows_find(rows_segment(t, hash), hash, id);
	if (p.bucket)
		rows_remove(t, &p, hash);
	return p.bucket != NULL;
}
