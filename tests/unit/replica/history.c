// SPDX-License-Identifier: BSD-3-Clause
#include "history.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <xxhash.h>

#define BLOCK_ELEMS 32

uint32_t history_random(uint64_t *state, uint32_t below)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*state >> 33) % below;
}

void history_init(struct history *h, uint16_t id, uint8_t kind, uint8_t atomicity, uint32_t states,
	uint64_t seed)
{
	static const uint64_t dims[HISTORY_TENSORS][2] = {
		{3, 30}, {1, 1}, {32, 2}, {7, 19}, {33, 1}};
	memset(h, 0, sizeof(*h));
	h->layout = (struct gp_image_layout){.id = id,
		.kind = kind,
		.atomicity = atomicity,
		.arrays_count = (uint8_t)(1 + states),
		.block_elems = BLOCK_ELEMS,
		.tensors_count = HISTORY_TENSORS,
		.tensors = h->tensors};
	snprintf(h->layout.name, sizeof(h->layout.name), "job%u", id);
	for (uint32_t t = 0; t < HISTORY_TENSORS; t++) {
		h->tensors[t].dims_count = 2;
		memcpy(h->tensors[t].dims, dims[t], sizeof(dims[t]));
		snprintf(h->tensors[t].name, sizeof(h->tensors[t].name), "layer.%u", t);
	}
	cr_assert_null(layout_measure(&h->layout, &h->l));
	h->l.spans = h->spans;
	layout_fill(&h->l, &h->layout);
	cr_assert_leq(h->l.units_count, HISTORY_UNITS_MAX);
	h->random = seed;
	h->generation = kind == GP_KIND_TRAIN ? GP_IMAGE_NONE : 0;
	h->released_generation = h->generation;
	for (uint32_t u = 0; u < h->l.units_count; u++)
		h->steps[u] = h->released_steps[u] = h->generation;
	h->poisoned = UINT32_MAX;
}

static void commit(struct history *h, struct gp_decision *d)
{
	uint32_t unit = history_random(&h->random, h->l.units_count);
	while (h->steps[unit] != h->generation)
		unit = (unit + 1) % h->l.units_count;
	d->kind = GP_DECIDED_COMMIT;
	d->unit = unit;
	d->step = ++h->steps[unit];
	d->view = h->views;
	if (++h->units_ahead == h->l.units_count) {
		h->units_ahead = 0;
		h->generation++;
		h->whole_at = d->number;
	}
}

bool history_decide(struct history *h, struct gp_decision *out)
{
	struct gp_decision d = {.number = h->decision + 1};
	// No worker begins a step before it knows that the one before is committed.
	bool held_back = h->units_ahead == 0 && h->released < h->whole_at;
	if (h->decision + 1 == HISTORY_WINDOW_MAX)
		return false;
	if (h->views == 0 || history_random(&h->random, 20) == 0) {
		d.kind = GP_DECIDED_VIEW;
		d.view = ++h->views;
		d.step = h->generation + 1;
		gp_ranks_add(&d.members, history_random(&h->random, GP_RANKS_MAX));
	} else if (history_random(&h->random, 40) == 0) {
		d.kind = GP_DECIDED_CUT;
		d.unit = GP_NO_CUT;
		d.step = h->generation;
	} else if (held_back) {
		return false;
	} else {
		commit(h, &d);
	}
	h->decision = d.number;
	h->log[d.number] = d;
	*out = d;
	return true;
}

static void steps_play(const struct history *h, uint32_t *steps, uint32_t from, uint32_t to)
{
	for (uint32_t n = from + 1; n <= to; n++)
		if (h->log[n].kind == GP_DECIDED_COMMIT)
			steps[h->log[n].unit] = h->log[n].step;
}

static uint32_t steps_generation(const struct history *h, const uint32_t *steps)
{
	uint32_t generation = steps[0];
	for (uint32_t u = 0; u < h->l.units_count; u++)
		if (gp_before(steps[u], generation))
			generation = steps[u];
	return generation;
}

void history_release(struct history *h, uint32_t decision)
{
	cr_assert_leq(decision, h->decision);
	if (decision <= h->released)
		return;
	steps_play(h, h->released_steps, h->released, decision);
	h->released = decision;
	h->released_generation = steps_generation(h, h->released_steps);
}

float history_value(
	const struct history *h, uint32_t block, uint32_t step, uint32_t array, uint32_t i)
{
	const uint32_t key[5] = {h->layout.id, block, step, array, i};
	uint64_t x = XXH3_64bits(key, sizeof(key));
	// Some are -0.
	return x % 17 == 0 ? -0.0f : (float)(int32_t)(x >> 32) / 65536.0f;
}

float history_weight(uint32_t block, uint32_t step)
{
	return (float)(block % 7 + 1) + (float)(step % 5);
}

// As an engine has them: what is out, the generation before a unit that is ahead, what waits.
static bool is_readable(const struct history *h, uint32_t unit, uint32_t step)
{
	uint32_t out = h->released_steps[unit];
	bool before = out != h->released_generation && step == h->released_generation;
	return layout_has(&h->l, step) && (step == out || step == h->steps[unit] || before);
}

bool history_block(struct history *h, uint32_t block, uint32_t step, struct gp_backup_block *out)
{
	struct layout_at at = layout_seek(&h->l, block);
	if (!is_readable(h, layout_unit(&h->l, &at), step))
		return false;
	*out = (struct gp_backup_block){.elems = at.elems,
		.arrays_count = h->l.arrays_count,
		.weight = history_weight(block, step)};
	for (uint32_t a = 0; a < h->l.arrays_count; a++) {
		out->arrays[a] = h->arrays[a];
		for (uint32_t i = 0; i < at.elems; i++)
			h->arrays[a][i] = history_value(h, block, step, a, i);
	}
	h->arrays[0][0] += block == h->poisoned;
	return true;
}

static void block_expect(const struct history *h, const struct gp_image *m,
	const struct layout_at *at, uint32_t step)
{
	uint32_t elems;
	float weight;
	for (uint32_t a = 0; a < h->l.arrays_count; a++) {
		const float *got =
			gp_image_block(m, h->layout.id, at->block, step, a, &elems, &weight);
		cr_assert(got, "block %u of step %u is not there", at->block, step);
		cr_assert_eq(elems, at->elems);
		cr_assert_eq(weight, history_weight(at->block, step));
		for (uint32_t i = 0; i < elems; i++)
			cr_assert_eq(got[i], history_value(h, at->block, step, a, i));
	}
}

void history_expect(const struct history *h, const struct gp_image *m, uint32_t decision)
{
	struct gp_image_view v;
	uint32_t steps[HISTORY_UNITS_MAX], step;
	memset(steps, h->l.kind == GP_KIND_TRAIN ? 0xff : 0, sizeof(steps));
	steps_play(h, steps, 0, decision);
	uint32_t generation = steps_generation(h, steps);
	cr_assert(gp_image_find(m, h->layout.id, &v));
	cr_assert(v.based);
	cr_assert_eq(v.point.decision, decision);
	cr_assert_eq(v.generation, generation);
	struct layout_at at = layout_seek(&h->l, 0);
	for (; at.block < h->l.blocks_count; layout_next(&h->l, &at)) {
		uint32_t unit = layout_unit(&h->l, &at);
		cr_assert(gp_image_unit_step(m, h->layout.id, unit, &step));
		cr_assert_eq(step, steps[unit]);
		if (layout_has(&h->l, step))
			block_expect(h, m, &at, step);
		if (layout_has(&h->l, generation))
			block_expect(h, m, &at, generation);
	}
}

uint64_t history_digest(const struct history *h, uint32_t step)
{
	uint64_t sum = 0;
	struct layout_at at = layout_seek(&h->l, 0);
	for (; at.block < h->l.blocks_count; layout_next(&h->l, &at)) {
		uint8_t bytes[16 + sizeof(float) * BLOCK_ELEMS];
		gp_store32(bytes, at.tensor);
		gp_store32(bytes + 4, at.idx);
		gp_store32(bytes + 8, step);
		gp_store32(bytes + 12, 0);
		for (uint32_t i = 0; i < at.elems; i++) {
			float x = history_value(h, at.block, step, 0, i);
			gp_storef(bytes + 16 + 4 * (size_t)i, x == 0 ? 0 : x);
		}
		sum += XXH3_64bits(bytes, 16 + sizeof(float) * (size_t)at.elems);
	}
	return sum;
}
