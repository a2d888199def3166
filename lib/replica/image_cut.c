// SPDX-License-Identifier: BSD-3-Clause
//
// Asynchronous jobs in the image: it is brought from cut to cut. What a cut changed is staged in
// the plane that the block is not in, and what ranks had committed and brought beside it; the cut's
// decision makes all of that count at once. So an engine can go on from it at any moment.
#include "image_priv.h"

#include <errno.h>

static struct image_ranks *ranks_staged(struct image_job *j)
{
	return &j->ranks[j->ranks_now ^ 1];
}

void image_cuts_begin(struct image_job *j)
{
	const struct layout *l = &j->layout;
	j->ranks_now = 0;
	j->cut_staged = GP_IMAGE_NONE;
	j->cut_blocks = 0;
	j->digests_sum = 0;
	j->ranks[1].generation = GP_IMAGE_NONE;
	j->ranks[0].generation = GP_IMAGE_NONE;
	j->ranks[0].closed = j->ranks[0].updates = 0;
	memset(j->ranks[0].clock, 0, sizeof(uint32_t) * l->ranks);
	memset(j->ranks[0].applied, 0, sizeof(uint64_t) * layout_words(l) * (size_t)l->ranks);
	memset(j->ahead, 0, l->blocks_count);
	memset(j->digests, 0, sizeof(uint64_t) * (size_t)l->blocks_count);
	if (layout_is_cut(l, j->generation))
		j->lacking = 0; // it says itself how many blocks it has
}

// ---- blocks

enum image_verdict image_cut_judge(const struct image_job *j, uint32_t generation)
{
	if (!j->based)
		return generation == j->generation ? IMAGE_TAKE : IMAGE_REFUSE;
	if (j->generation == GP_IMAGE_NONE)
		return IMAGE_REFUSE;
	return gp_before(j->generation, generation) ? IMAGE_TAKE : IMAGE_IGNORE;
}

void image_cut_digest(struct image_job *j, const struct layout_at *at, uint32_t plane)
{
	if (j->point.digest_every == 0)
		return;
	uint64_t digest = layout_digest(at, 0, j->planes[plane][0] + at->offset);
	j->digests_sum += digest - j->digests[at->block];
	j->digests[at->block] = digest;
}

// Another cut than the one whose blocks came before: that one was given up.
static void cut_begin(struct image_job *j, uint32_t generation)
{
	if (j->cut_staged == generation)
		return;
	j->cut_staged = generation;
	j->cut_blocks = 0;
}

void image_cut_store(struct image_job *j, const struct layout_at *at, uint32_t generation,
	const uint8_t *head, const uint8_t *updates, const uint8_t *bytes)
{
	const struct layout *l = &j->layout;
	uint32_t plane = j->based ? j->ahead[at->block] ^ 1 : 0;
	size_t size = sizeof(float) * (size_t)at->elems;
	cut_begin(j, generation);
	if (j->held[plane][at->block] == generation)
		return;
	j->held[plane][at->block] = generation;
	j->weights[plane][at->block] = gp_loadf(head);
	j->updates[plane][at->block] = gp_load32(updates);
	for (uint32_t a = 0; a < l->arrays_count; a++, bytes += size)
		memcpy(j->planes[plane][a] + at->offset, bytes, size);
	j->cut_blocks++;
	if (!j->based)
		image_cut_digest(j, at, plane);
}

// ---- ranks

static int ranks_check(
	const struct image_job *j, const struct gp_image_ranks *r, struct gp_image_error *err)
{
	const struct layout *l = &j->layout;
	bool after = gp_before(j->generation, r->generation);
	bool next = j->based ? after : r->generation == j->generation;
	next |= after && layout_embeds(l); // cuts go on while a base with tables comes
	if (!layout_is_cut(l, r->generation) || !next || r->count != l->ranks ||
		r->blocks > l->blocks_count)
		return image_fail(err, -EPROTO,
			"job %s: %u ranks and %u blocks of generation %u, the image is at %d",
			l->name, r->count, r->blocks, r->generation, (int)j->generation);
	return 0;
}

int gp_image_ranks(struct gp_image *m, const struct gp_image_ranks *r, struct gp_image_error *err)
{
	struct image_job *j = image_known(m, r->id, err);
	int rc = j ? ranks_check(j, r, err) : err->code;
	if (rc != 0)
		return rc;
	struct image_ranks *to = ranks_staged(j);
	to->generation = r->generation;
	to->blocks = r->blocks;
	to->closed = r->closed;
	to->updates = r->updates;
	for (uint32_t i = 0; i < r->count; i++)
		to->clock[i] = gp_load32(r->clocks + 4 * (size_t)i);
	memset(to->applied, 0, sizeof(uint64_t) * layout_words(&j->layout) * (size_t)r->count);
	return 0;
}

int gp_image_applied(
	struct gp_image *m, const struct gp_image_applied *a, struct gp_image_error *err)
{
	struct image_job *j = image_known(m, a->id, err);
	if (!j)
		return err->code;
	struct image_ranks *to = ranks_staged(j);
	uint32_t words = layout_words(&j->layout);
	if (to->generation != a->generation || a->rank >= j->layout.ranks || a->first >= words ||
		a->words > words - a->first)
		return image_fail(err, -EPROTO,
			"job %s: what rank %u had brought to generation %u, words %u and %u more",
			j->layout.name, a->rank, a->generation, a->first, a->words);
	for (uint32_t i = 0; i < a->words; i++)
		to->applied[(size_t)words * a->rank + a->first + i] =
			gp_load64(a->bits + 8 * (size_t)i);
	return 0;
}

// ---- decisions

// All of generation `generation` is here: 0, or what lacks.
static int cut_check(struct image_job *j, uint32_t generation, struct gp_image_error *err)
{
	const struct image_ranks *r = ranks_staged(j);
	uint32_t blocks = j->cut_staged == generation ? j->cut_blocks : 0;
	if (r->generation == generation && blocks == r->blocks)
		return 0;
	return image_fail(err, -EPROTO,
		"job %s: generation %u, of %u blocks %u came, %s of what ranks had committed",
		j->layout.name, generation, r->generation == generation ? r->blocks : 0, blocks,
		r->generation == generation ? "with word" : "without word");
}

int image_cut_base_end(struct image_job *j, struct gp_image_error *err)
{
	if (cut_check(j, j->generation, err) != 0 ||
		image_rows_check(j, j->generation, true, err) != 0)
		return err->code;
	j->ranks_now ^= 1;
	image_rows_compare(j);
	return 0;
}

static void cut_digested(struct image_job *j)
{
	j->digested = j->point.digest_every > 0;
	j->digest_step = j->generation;
	j->digest = j->digests_sum;
}

int image_cut_take(struct image_job *j, const struct gp_decision *d, struct gp_image_error *err)
{
	const struct layout *l = &j->layout;
	bool follows = layout_embeds(l) ? gp_before(j->generation, d->step)
					: image_cut_judge(j, d->step) == IMAGE_TAKE;
	if (!layout_is_cut(l, d->step) || !follows)
		return image_fail(err, -EPROTO, "job %s: a cut %u, the image is at generation %d",
			l->name, d->step, (int)j->generation);
	if (cut_check(j, d->step, err) != 0 || image_rows_check(j, d->step, false, err) != 0)
		return err->code;
	struct layout_at at = layout_seek(l, 0);
	for (; j->cut_staged == d->step && at.block < l->blocks_count; layout_next(l, &at)) {
		uint8_t *plane = &j->ahead[at.block];
		if (j->held[*plane ^ 1][at.block] != d->step)
			continue;
		*plane ^= 1;
		image_cut_digest(j, &at, *plane);
	}
	j->ranks_now ^= 1;
	j->generation = d->step;
	j->committed[0] = d->step;
	if (!layout_embeds(l)) // else with its rows
		cut_digested(j);
	image_rows_commit(j);
	return 0;
}

// ---- for an engine

void image_cut_restore(struct image_job *j, struct gp_restore *out)
{
	const struct image_ranks *r = &j->ranks[j->ranks_now];
	j->async = (struct gp_restore_async){.closed = r->closed,
		.updates = r->updates,
		.clock = r->clock,
		.applied = layout_applies(&j->layout) ? r->applied : NULL,
		.applied_words = layout_words(&j->layout)};
	out->async = &j->async;
}
