// SPDX-License-Identifier: BSD-3-Clause
//
// What the primary tells: blocks and decisions into the image, and out of it for an engine.
#include "image_priv.h"
#include "stream_priv.h"

#include <errno.h>
#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

// ---- base

int gp_image_base_ahead(struct gp_image *m, uint16_t id, uint32_t unit, struct gp_image_error *err)
{
	struct image_job *j = image_known(m, id, err);
	uint32_t first;
	if (!j)
		return err->code;
	if (j->based || j->filling || unit >= j->layout.units_count ||
		j->committed[unit] != j->generation ||
		j->units_ahead + 1 == j->layout.units_count ||
		!layout_has(&j->layout, j->generation + 1))
		return image_fail(
			err, -EPROTO, "job %s: unit %u cannot be ahead here", j->layout.name, unit);
	j->committed[unit]++;
	j->units_ahead++;
	j->lacking += layout_unit_blocks(&j->layout, unit, &first);
	return 0;
}

// A generation became whole: its digest, if all its blocks were digested.
void image_generation_note(struct image_job *j)
{
	if (!layout_is_digested(j->generation, j->point.digest_every) ||
		!layout_sum_is_whole(j->sums, &j->layout, j->generation))
		return;
	j->digested = true;
	j->digest_step = j->generation;
	j->digest = j->sums[j->generation & 1].sum;
}

int gp_image_base_end(struct gp_image *m, uint16_t id, struct gp_image_error *err)
{
	struct image_job *j = image_known(m, id, err);
	if (!j)
		return err->code;
	if (j->based)
		return 0;
	const struct image_job *held = image_find(m, id);
	if (held != j && gp_before(j->point.decision, held->point.decision))
		return image_fail(err, -EPROTO,
			"job %s: a new base of decision %u, and %u is held here", j->layout.name,
			j->point.decision, held->point.decision);
	if (layout_is_cut(&j->layout, j->generation) && image_cut_base_end(j, err) != 0)
		return err->code;
	if (j->lacking > 0)
		return image_fail(err, -EPROTO, "job %s: %llu blocks of its base lack",
			j->layout.name, (unsigned long long)j->lacking);
	j->based = true;
	image_generation_note(j);
	image_next_take(m, id);
	return 0;
}

// ---- blocks

// What a block of `step` is to a unit that has committed `committed`.
static enum image_verdict block_judge(const struct image_job *j, uint32_t committed, uint32_t step)
{
	bool ahead = committed != j->generation;
	if (layout_is_cut(&j->layout, step))
		return image_cut_judge(j, step);
	if (!layout_has(&j->layout, step))
		return IMAGE_REFUSE;
	if (!j->based)
		return step == committed || (ahead && step == j->generation) ? IMAGE_TAKE
									     : IMAGE_REFUSE;
	if (step != committed + 1)
		return committed != GP_IMAGE_NONE && gp_before(step, committed + 1) ? IMAGE_IGNORE
										    : IMAGE_REFUSE;
	return ahead ? IMAGE_REFUSE : IMAGE_TAKE;
}

static int run_size(const struct image_job *j, const struct gp_image_blocks *b, size_t *len,
	struct gp_image_error *err)
{
	const struct layout *l = &j->layout;
	*len = 0;
	if (b->run < 1 || b->first >= l->blocks_count || b->run > l->blocks_count - b->first)
		return image_fail(err, -EPROTO, "job %s: blocks %u and %u more of %u", l->name,
			b->first, b->run, l->blocks_count);
	*len = layout_head_size(l) * b->run;
	struct layout_at at = layout_seek(l, b->first);
	for (uint32_t i = 0; i < b->run; i++, layout_next(l, &at))
		*len += layout_block_size(l, &at);
	return 0;
}

int gp_image_blocks_size(const struct gp_image *m, const struct gp_image_blocks *b, size_t *len,
	struct gp_image_error *err)
{
	const struct image_job *j = image_known(m, b->id, err);
	return j ? run_size(j, b, len, err) : err->code;
}

static int run_check(
	const struct image_job *j, const struct gp_image_blocks *b, struct gp_image_error *err)
{
	const struct layout *l = &j->layout;
	size_t len;
	int rc = run_size(j, b, &len, err);
	if (rc != 0)
		return rc;
	if (len != b->len)
		return image_fail(err, -EPROTO, "job %s: %zu bytes for %u blocks, not %zu", l->name,
			b->len, b->run, len);
	struct layout_at at = layout_seek(l, b->first);
	for (uint32_t i = 0; i < b->run; i++, layout_next(l, &at)) {
		uint32_t unit = layout_unit(l, &at);
		if (block_judge(j, j->committed[unit], b->step) == IMAGE_REFUSE)
			return image_fail(err, -EPROTO,
				"job %s: block %u of step %u, its unit %u is at step %d, the "
				"generation at %d",
				l->name, at.block, b->step, unit, (int)j->committed[unit],
				(int)j->generation);
	}
	return 0;
}

static void block_store(struct image_job *j, const struct layout_at *at, uint32_t step,
	const uint8_t *weight, const uint8_t *bytes)
{
	const struct layout *l = &j->layout;
	uint32_t plane = step & 1;
	size_t size = sizeof(float) * (size_t)at->elems;
	j->held[plane][at->block] = step;
	j->weights[plane][at->block] = gp_loadf(weight);
	if (l->ranks > 0)
		j->updates[plane][at->block] = 0; // initial parameters
	for (uint32_t a = 0; a < l->arrays_count; a++, bytes += size)
		memcpy(j->planes[plane][a] + at->offset, bytes, size);
	if (j->based)
		j->staged[layout_unit(l, at)]++;
	else
		j->lacking--;
	if (l->ranks > 0)
		image_cut_digest(j, at, plane);
	if (layout_is_digested(step, j->point.digest_every))
		layout_sum_add(
			j->sums, step, layout_digest(at, step, j->planes[plane][0] + at->offset));
}

int gp_image_blocks(struct gp_image *m, const struct gp_image_blocks *b, struct gp_image_error *err)
{
	struct image_job *j = image_known(m, b->id, err);
	if (!j)
		return err->code;
	int rc = run_check(j, b, err);
	if (rc != 0)
		return rc;
	const struct layout *l = &j->layout;
	const uint8_t *weight = b->bytes;
	const uint8_t *updates = weight + sizeof(float) * (size_t)b->run;
	const uint8_t *bytes = weight + layout_head_size(l) * b->run;
	struct layout_at at = layout_seek(l, b->first);
	for (uint32_t i = 0; i < b->run; i++, weight += sizeof(float)) {
		uint32_t committed = j->committed[layout_unit(l, &at)];
		// The same block may come again, after a new connection.
		bool takes = block_judge(j, committed, b->step) == IMAGE_TAKE;
		if (takes && layout_is_cut(l, b->step))
			image_cut_store(j, &at, b->step, weight, updates + 4 * (size_t)i, bytes);
		else if (takes && j->held[b->step & 1][at.block] != b->step)
			block_store(j, &at, b->step, weight, bytes);
		bytes += layout_block_size(l, &at);
		layout_next(l, &at);
	}
	j->filling = true;
	return 0;
}

// ---- decisions

uint64_t gp_image_chain(uint64_t before, const struct gp_decision *d)
{
	uint8_t bytes[DECISION_SIZE];
	decision_put(bytes, d);
	return XXH3_64bits_withSeed(bytes, sizeof(bytes), before);
}

static int commit_take(struct image_job *j, const struct gp_decision *d, struct gp_image_error *err)
{
	const struct layout *l = &j->layout;
	uint32_t first;
	if (d->unit >= l->units_count)
		return image_fail(err, -EPROTO, "job %s: commit of unit %u of %u", l->name, d->unit,
			l->units_count);
	if (j->committed[d->unit] != j->generation || d->step != j->generation + 1 ||
		d->step == GP_IMAGE_NONE || layout_is_cut(l, d->step))
		return image_fail(err, -EPROTO,
			"job %s: commit of unit %u step %u after step %d of generation %d", l->name,
			d->unit, d->step, (int)j->committed[d->unit], (int)j->generation);
	uint32_t count = layout_unit_blocks(l, d->unit, &first);
	if (j->staged[d->unit] != count)
		return image_fail(err, -EPROTO,
			"job %s: commit of unit %u step %u, %u of its %u blocks came", l->name,
			d->unit, d->step, j->staged[d->unit], count);
	j->staged[d->unit] = 0;
	j->committed[d->unit] = d->step;
	bool whole = ++j->units_ahead == l->units_count;
	layout_count(j->point.counted, &j->point.view.members, whole);
	if (whole) {
		j->units_ahead = 0;
		j->generation = d->step;
		image_generation_note(j);
	}
	return 0;
}

int gp_image_decide(
	struct gp_image *m, uint16_t id, const struct gp_decision *d, struct gp_image_error *err)
{
	struct image_job *j = image_known(m, id, err);
	int rc = 0;
	if (!j)
		return err->code;
	if (!j->based && !(layout_embeds(&j->layout) && d->backup))
		return image_fail(err, -EPROTO, "job %s: decision %u before its base is complete",
			j->layout.name, d->number);
	if (!gp_before(j->point.decision, d->number))
		return 0;
	if (d->number != j->point.decision + 1 && !d->backup)
		return image_fail(err, -EPROTO, "job %s: decision %u after %u", j->layout.name,
			d->number, j->point.decision);
	if (d->backup)
		rc = image_cut_take(j, d, err);
	else if (d->kind == GP_DECIDED_COMMIT)
		rc = commit_take(j, d, err);
	else if (d->kind == GP_DECIDED_VIEW)
		j->point.view = *d;
	if (rc != 0)
		return rc;
	j->point.chain = gp_image_chain(j->point.chain, d);
	j->point.decision = d->number;
	return 0;
}

// ---- for an engine

static void tensor_restore(const struct image_job *j, uint32_t t, struct gp_restore_tensor *out)
{
	const struct layout *l = &j->layout;
	const struct layout_span *s = &l->spans[t];
	uint32_t now = j->generation & 1, next = now ^ 1;
	bool whole = layout_has(l, j->generation), ahead = j->units_ahead > 0;
	if (l->ranks > 0) { // of each block one, in the plane that `ahead` says
		now = 0;
		next = 1;
		ahead = whole = whole && (j->async.updates > 0 || l->kind == GP_KIND_TRAIN);
	}
	*out = (struct gp_restore_tensor){.name = j->tensors[t].name,
		.dims_count = j->tensors[t].dims_count,
		.dims = j->tensors[t].dims,
		.values = whole ? j->planes[now][0] + s->offset : NULL,
		.weights = whole ? j->weights[now] + s->first_block : NULL,
		.ahead = ahead ? j->ahead + s->first_block : NULL,
		.ahead_values = ahead ? j->planes[next][0] + s->offset : NULL,
		.ahead_weights = ahead ? j->weights[next] + s->first_block : NULL};
	if (l->ranks > 0 && whole) {
		out->updates = j->updates[now] + s->first_block;
		out->ahead_updates = j->updates[next] + s->first_block;
	}
	for (uint32_t i = 0; i + 1 < l->arrays_count; i++) {
		out->states[i] = whole ? j->planes[now][1 + i] + s->offset : NULL;
		out->ahead_states[i] = ahead ? j->planes[next][1 + i] + s->offset : NULL;
	}
}

int gp_image_restore(struct gp_image *m, uint16_t id, struct gp_restore *out)
{
	struct image_job *j = image_find(m, id);
	if (!j || !j->based || (!layout_has(&j->layout, j->generation) && j->units_ahead == 0))
		return -ENOENT;
	const struct layout *l = &j->layout;
	(void)image_rows_settle(j, UINT32_MAX);
	struct layout_at at = layout_seek(l, 0);
	for (; l->ranks == 0 && at.block < l->blocks_count; layout_next(l, &at))
		j->ahead[at.block] = j->committed[layout_unit(l, &at)] != j->generation;
	*out = (struct gp_restore){0};
	if (l->ranks > 0)
		image_cut_restore(j, out);
	for (uint32_t t = 0; t < l->tensors_count; t++)
		if (layout_embeds(l))
			image_rows_restore(j, t, &j->restore[t]);
		else
			tensor_restore(j, t, &j->restore[t]);
	out->step = j->generation;
	out->decision = j->point.decision;
	out->counted[0] = &j->point.counted[0];
	out->counted[1] = &j->point.counted[1];
	out->history = j->point.history;
	out->block_elems = l->block_elems;
	out->tensors_count = l->tensors_count;
	out->tensors = j->restore;
	return 0;
}
