// SPDX-License-Identifier: BSD-3-Clause
//
// What the feeder writes: bases, blocks with the decisions that commit them, digests. Each call
// writes one frame whose size is reckoned before its memory is asked for.
#include "feeder_priv.h"

#include <errno.h>

#define RUN_BODY_MAX (64u << 10) // of tensors and units

void feeder_plan_begin(struct plan *p)
{
	p->size = 4;
	p->count = 0;
}

bool feeder_plan_add(
	struct plan *p, const struct layout *l, const struct layout_at *at, uint32_t step)
{
	struct section *last = p->count > 0 ? &p->sections[p->count - 1] : NULL;
	bool goes_on = last && last->step == step && last->first.block + last->run == at->block;
	size_t size =
		layout_head_size(l) + layout_block_size(l, at) + (goes_on ? 0 : SECTION_HEAD_SIZE);
	if (p->size + size > GP_STREAM_BODY_MAX || (!goes_on && p->count == BLOCKS_SECTIONS_MAX))
		return false;
	p->size += size;
	if (goes_on)
		last->run++;
	else
		p->sections[p->count++] = (struct section){.first = *at, .step = step, .run = 1};
	return true;
}

// Where a block of a run goes: its weight, updates (NULL: none) and arrays.
struct copied {
	uint8_t *weight, *updates, *to;
};

static int block_copy(struct gp_feeder *f, uint32_t idx, const struct layout_at *at, uint32_t step,
	struct copied *out, struct gp_stream_error *err)
{
	struct feeder_job *j = &f->jobs[idx];
	struct gp_backup_block b;
	size_t size = sizeof(float) * (size_t)at->elems;
	if (!f->opts.block(f->opts.arg, idx, at->block, step, &b))
		return stream_fail(err, -ESTALE, "job %s: block %u of step %u is gone",
			j->layout.name, at->block, step);
	GP_ASSERT(b.elems == at->elems && b.arrays_count == j->layout.arrays_count);
	gp_storef(out->weight, b.weight);
	if (out->updates)
		gp_store32(out->updates, b.updates);
	for (uint32_t a = 0; a < j->layout.arrays_count; a++, out->to += size)
		memcpy(out->to, b.arrays[a], size);
	if (j->layout.ranks > 0)
		feeder_cut_digest(f, j, at, b.arrays[0]);
	if (layout_is_digested(step, f->opts.digest_every) && !layout_is_cut(&j->layout, step))
		layout_sum_add(j->sums, step, layout_digest(at, step, b.arrays[0]));
	return 0;
}

int feeder_plan_write(
	struct gp_feeder *f, uint32_t idx, const struct plan *p, struct gp_stream_error *err)
{
	struct feeder_job *j = &f->jobs[idx];
	uint8_t *to = stream_begin(f->stream, MSG_BLOCKS, p->size);
	if (!to)
		return -EAGAIN;
	gp_store16(to, j->layout.id);
	gp_store16(to + 2, 0);
	to += 4;
	for (uint32_t i = 0; i < p->count; i++) {
		const struct section *s = &p->sections[i];
		struct layout_at at = s->first;
		gp_store32(to, s->step);
		gp_store32(to + 4, at.block);
		gp_store32(to + 8, s->run);
		struct copied c = {.weight = to + SECTION_HEAD_SIZE};
		c.to = c.weight + layout_head_size(&j->layout) * s->run;
		if (j->layout.ranks > 0)
			c.updates = c.weight + sizeof(float) * (size_t)s->run;
		for (uint32_t k = 0; k < s->run; k++, c.weight += sizeof(float)) {
			int rc = block_copy(f, idx, &at, s->step, &c, err);
			if (rc != 0)
				return rc;
			if (c.updates)
				c.updates += sizeof(uint32_t);
			layout_next(&j->layout, &at);
		}
		to = c.to;
	}
	stream_end(f->stream);
	j->bytes += p->size;
	return 1;
}

// ---- base

static int base_write(struct gp_feeder *f, struct feeder_job *j)
{
	const struct layout *l = &j->layout;
	struct base b = {
		.layout = {.id = l->id,
			.kind = l->kind,
			.atomicity = l->atomicity,
			.arrays_count = l->arrays_count,
			.ranks = l->ranks,
			.block_elems = l->block_elems,
			.tensors_count = l->tensors_count},
		.point = {.base = j->base,
			.decision = j->released.decision,
			.chain = j->chain,
			.digest_every = f->opts.digest_every,
			.view = j->view,
			.counted = {j->counted[0], j->counted[1]},
			.history = j->history},
		.generation = j->released.generation,
	};
	memcpy(b.layout.name, l->name, sizeof(b.layout.name));
	uint8_t *to = stream_begin(f->stream, MSG_BASE, BASE_SIZE);
	if (!to)
		return -EAGAIN;
	base_put(to, &b);
	stream_end(f->stream);
	j->phase = PHASE_TENSORS;
	j->cursor = 0;
	return 1;
}

static uint8_t *run_begin(
	struct gp_feeder *f, const struct feeder_job *j, enum message_type type, size_t size)
{
	uint8_t *to = stream_begin(f->stream, type, RUN_HEAD_SIZE + size);
	if (!to)
		return NULL;
	gp_store16(to, j->layout.id);
	gp_store16(to + 2, 0);
	gp_store32(to + 4, j->cursor);
	return to + RUN_HEAD_SIZE;
}

static int tensors_write(struct gp_feeder *f, struct feeder_job *j)
{
	uint32_t end = j->cursor;
	size_t size = 0;
	while (end < j->layout.tensors_count && size < RUN_BODY_MAX)
		size += tensor_size(&j->tensors[end++]);
	uint8_t *to = run_begin(f, j, MSG_TENSORS, size);
	if (!to)
		return -EAGAIN;
	for (; j->cursor < end; j->cursor++)
		to = tensor_put(to, &j->tensors[j->cursor]);
	stream_end(f->stream);
	if (end == j->layout.tensors_count) {
		bool cut = layout_is_cut(&j->layout, j->released.generation);
		j->phase = cut				 ? PHASE_CUT
			   : j->released.units_ahead > 0 ? PHASE_AHEAD
							 : PHASE_BLOCKS;
		j->cursor = 0;
	}
	return 1;
}

static int ahead_write(struct gp_feeder *f, struct feeder_job *j)
{
	uint32_t units = GP_MIN(j->layout.units_count - j->cursor, 8 * RUN_BODY_MAX);
	size_t size = gp_div_up(units, 8);
	uint8_t *to = run_begin(f, j, MSG_AHEAD, size);
	if (!to)
		return -EAGAIN;
	memset(to, 0, size);
	for (uint32_t i = 0; i < units; i++)
		if (j->committed[j->cursor + i] != j->released.generation)
			to[i / 8] |= (uint8_t)(1u << i % 8);
	stream_end(f->stream);
	j->cursor += units;
	if (j->cursor == j->layout.units_count) {
		j->phase = PHASE_BLOCKS;
		j->cursor = 0;
	}
	return 1;
}

static void base_phase_next(struct feeder_job *j)
{
	bool more = j->phase == PHASE_BLOCKS && j->released.units_ahead > 0;
	j->phase = more ? PHASE_BLOCKS_AHEAD : PHASE_BASED;
	j->cursor = 0;
}

static int base_blocks_write(struct gp_feeder *f, uint32_t idx, struct gp_stream_error *err)
{
	struct feeder_job *j = &f->jobs[idx];
	const struct layout *l = &j->layout;
	bool ahead = j->phase == PHASE_BLOCKS_AHEAD;
	uint32_t step = j->released.generation + ahead;
	struct plan p;
	feeder_plan_begin(&p);
	struct layout_at at = {.block = l->blocks_count};
	if (layout_has(l, step) && j->cursor < l->blocks_count)
		at = layout_seek(l, j->cursor);
	for (; at.block < l->blocks_count && f->looks > 0; layout_next(l, &at), f->looks--)
		if ((!ahead || j->committed[layout_unit(l, &at)] == step) &&
			!feeder_plan_add(&p, l, &at, step))
			break;
	int rc = p.count > 0 ? feeder_plan_write(f, idx, &p, err) : 0;
	if (rc < 0)
		return rc;
	j->cursor = at.block;
	if (at.block == l->blocks_count)
		base_phase_next(j);
	return 1;
}

static int based_write(struct gp_feeder *f, struct feeder_job *j)
{
	uint8_t *to = stream_begin(f->stream, MSG_BASED, 8);
	if (!to)
		return -EAGAIN;
	gp_store16(to, j->layout.id);
	gp_store16(to + 2, 0);
	gp_store32(to + 4, j->at.decision);
	stream_end(f->stream);
	j->phase = PHASE_DECISIONS;
	j->shipped_bytes = j->bytes;
	return 1;
}

// ---- decisions

static int decisions_write(struct gp_feeder *f, struct feeder_job *j)
{
	bool cut = j->cut_waits && j->at.decision == j->taken.decision;
	uint32_t count = cut ? 1 : j->at.decision - j->shipped;
	GP_ASSERT(count <= DECISIONS_MAX);
	uint8_t *to = stream_begin(f->stream, MSG_DECISIONS, 4 + DECISION_SIZE * (size_t)count);
	if (!to)
		return -EAGAIN;
	j->shipped = j->at.decision - count; // numbers of cuts have gaps
	gp_store16(to, j->layout.id);
	gp_store16(to + 2, (uint16_t)count);
	to += 4;
	while (j->shipped != j->at.decision) {
		struct entry *e = feeder_entry(f, j, ++j->shipped);
		decision_put(to, &e->d);
		e->bytes = j->bytes;
		to += DECISION_SIZE;
	}
	stream_end(f->stream);
	j->shipped_bytes = j->bytes;
	if (gp_before(j->shipped_max, j->shipped))
		j->shipped_max = j->shipped;
	j->digest_due = j->at_generation && !layout_embeds(&j->layout) &&
			layout_is_digested(j->at.generation, f->opts.digest_every) &&
			(cut || layout_sum_is_whole(j->sums, &j->layout, j->at.generation));
	j->at_generation = false;
	return 1;
}

static int digest_write(struct gp_feeder *f, struct feeder_job *j)
{
	uint8_t *to = stream_begin(f->stream, MSG_DIGEST, 16);
	if (!to)
		return -EAGAIN;
	gp_store16(to, j->layout.id);
	gp_store16(to + 2, 0);
	gp_store32(to + 4, j->at.generation);
	bool cut = layout_is_cut(&j->layout, j->at.generation);
	gp_store64(to + 8, cut ? j->digests_sum : j->sums[j->at.generation & 1].sum);
	stream_end(f->stream);
	j->digest_due = false;
	return 1;
}

// The blocks of the commits that come next, as many as fit a frame, into `p`; where that ends.
static struct place commits_plan(const struct gp_feeder *f, const struct feeder_job *j,
	struct plan *p, uint32_t *block, bool *generation)
{
	const struct layout *l = &j->layout;
	struct place at = j->at;
	uint32_t first, k = j->at_block;
	feeder_plan_begin(p);
	*generation = false;
	while (at.decision != j->taken.decision && at.decision - j->shipped < DECISIONS_MAX &&
		!*generation) {
		const struct gp_decision *d = &feeder_entry(f, j, at.decision + 1)->d;
		uint32_t count =
			d->kind == GP_DECIDED_COMMIT ? layout_unit_blocks(l, d->unit, &first) : 0;
		if (k < count) {
			struct layout_at b = layout_seek(l, first + k);
			for (; k < count && feeder_plan_add(p, l, &b, d->step); k++)
				layout_next(l, &b);
		}
		if (k < count)
			break;
		k = 0;
		*generation = place_step(&at, j, d);
	}
	*block = k;
	return at;
}

// What was decided first goes first: decisions follow as soon as all their blocks have.
static int commits_write(struct gp_feeder *f, uint32_t idx, struct gp_stream_error *err)
{
	struct feeder_job *j = &f->jobs[idx];
	struct plan p;
	uint32_t block;
	bool generation;
	struct place at = commits_plan(f, j, &p, &block, &generation);
	if (at.decision == j->at.decision && p.count == 0)
		return 0;
	int rc = p.count > 0 ? feeder_plan_write(f, idx, &p, err) : 1;
	if (rc < 0)
		return rc;
	j->at = at;
	j->at_block = block;
	j->at_generation = generation;
	return 1;
}

static int cut_write(struct gp_feeder *f, uint32_t idx, struct gp_stream_error *err)
{
	struct feeder_job *j = &f->jobs[idx];
	int rc = feeder_cut_write(f, idx, j->taken.generation, false, err);
	if (rc != 0)
		return rc;
	j->at = j->taken;
	j->at_generation = true;
	if (layout_embeds(&j->layout))
		feeder_rows_cut_done(j);
	return 1;
}

// Cuts that are made while a base with tables is on its way go before its rows.
static int base_rows_write(struct gp_feeder *f, uint32_t idx, struct gp_stream_error *err)
{
	struct feeder_job *j = &f->jobs[idx];
	if (j->at.decision != j->shipped)
		return decisions_write(f, j);
	if (j->cut_waits && j->at.decision != j->taken.decision)
		return cut_write(f, idx, err);
	int rc = feeder_rows_base_write(f, idx, j->at.generation, err);
	if (rc != 0)
		return rc;
	j->phase = PHASE_BASED;
	return 1;
}

static int base_cut_write(struct gp_feeder *f, uint32_t idx, struct gp_stream_error *err)
{
	struct feeder_job *j = &f->jobs[idx];
	int rc = feeder_cut_write(f, idx, j->released.generation, true, err);
	if (rc != 0)
		return rc;
	j->phase = PHASE_BASED;
	return 1;
}

int feeder_job_write(struct gp_feeder *f, uint32_t idx, struct gp_stream_error *err)
{
	struct feeder_job *j = &f->jobs[idx];
	switch (j->phase) {
	case PHASE_IDLE:
		return 0;
	case PHASE_BASE:
		return base_write(f, j);
	case PHASE_TENSORS:
		return tensors_write(f, j);
	case PHASE_AHEAD:
		return ahead_write(f, j);
	case PHASE_BLOCKS:
	case PHASE_BLOCKS_AHEAD:
		return base_blocks_write(f, idx, err);
	case PHASE_CUT:
		return layout_embeds(&j->layout) ? base_rows_write(f, idx, err)
						 : base_cut_write(f, idx, err);
	case PHASE_BASED:
		return based_write(f, j);
	case PHASE_DECISIONS:
		break;
	}
	if (j->digest_due)
		return digest_write(f, j);
	if (j->at.decision != j->shipped)
		return decisions_write(f, j);
	if (j->cut_waits && j->at.decision != j->taken.decision)
		return cut_write(f, idx, err);
	return commits_write(f, idx, err);
}
