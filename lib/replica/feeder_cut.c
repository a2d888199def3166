// SPDX-License-Identifier: BSD-3-Clause
//
// What the feeder writes of a cut of an asynchronous job: the blocks that changed since the one
// before (or all of them, in a base), then what ranks had committed, then what they had brought.
#include "feeder_priv.h"

#include <errno.h>

void feeder_cut_digest(
	struct gp_feeder *f, struct feeder_job *j, const struct layout_at *at, const float *values)
{
	if (f->opts.digest_every == 0)
		return;
	uint64_t digest = layout_digest(at, 0, values);
	j->digests_sum += digest - j->digests[at->block];
	j->digests[at->block] = digest;
}

// What the cut has of a block: 1 it is to be sent, 0 not, or an error. Before its first step a
// reduce job has nothing.
static int block_choose(struct gp_feeder *f, uint32_t idx, const struct layout_at *at,
	uint32_t generation, bool all, struct gp_stream_error *err)
{
	const struct feeder_job *j = &f->jobs[idx];
	struct gp_backup_block b;
	if (f->opts.block(f->opts.arg, idx, at->block, generation, &b))
		return all || gp_before(j->at.generation, b.made);
	if (j->layout.kind == GP_KIND_REDUCE)
		return 0;
	return stream_fail(err, -ESTALE, "job %s: block %u of generation %u is gone",
		j->layout.name, at->block, generation);
}

static void part_next(struct feeder_job *j)
{
	j->cut_part++;
	j->cursor = j->at_block = 0;
}

static int blocks_write(struct gp_feeder *f, uint32_t idx, uint32_t generation, bool all,
	struct gp_stream_error *err)
{
	struct feeder_job *j = &f->jobs[idx];
	const struct layout *l = &j->layout;
	struct plan p;
	uint32_t count = 0;
	feeder_plan_begin(&p);
	struct layout_at at = {.block = l->blocks_count};
	if (j->cursor < l->blocks_count)
		at = layout_seek(l, j->cursor);
	for (; at.block < l->blocks_count && f->looks > 0; layout_next(l, &at)) {
		int rc = block_choose(f, idx, &at, generation, all, err);
		if (rc < 0)
			return rc;
		if (rc > 0 && !feeder_plan_add(&p, l, &at, generation))
			break;
		count += rc > 0;
		f->looks--;
	}
	int rc = count > 0 ? feeder_plan_write(f, idx, &p, err) : 1;
	if (rc == -EAGAIN)
		j->cursor = p.sections[0].first.block; // those before it need no second look
	if (rc < 0)
		return rc;
	j->cut_blocks += count;
	j->cursor = at.block;
	if (at.block == l->blocks_count)
		part_next(j);
	return 1;
}

static int ranks_gone(const struct feeder_job *j, uint32_t generation, struct gp_stream_error *err)
{
	return stream_fail(err, -ESTALE, "job %s: what ranks had committed at %u is gone",
		j->layout.name, generation);
}

int feeder_ranks_write(struct gp_feeder *f, uint32_t idx, uint32_t generation, uint32_t blocks,
	struct gp_stream_error *err)
{
	struct feeder_job *j = &f->jobs[idx];
	struct gp_backup_ranks r;
	GP_ASSERT(f->opts.ranks && f->opts.applied);
	if (!f->opts.ranks(f->opts.arg, idx, generation, &r) || r.count != j->layout.ranks)
		return ranks_gone(j, generation, err);
	uint8_t *to = stream_begin(
		f->stream, MSG_RANKS, RANKS_HEAD_SIZE + sizeof(uint32_t) * (size_t)r.count);
	if (!to)
		return -EAGAIN;
	gp_store16(to, j->layout.id);
	gp_store16(to + 2, (uint16_t)r.count);
	gp_store32(to + 4, generation);
	gp_store32(to + 8, blocks);
	gp_store32(to + 12, r.closed);
	gp_store32(to + 16, r.updates);
	to += RANKS_HEAD_SIZE;
	for (uint32_t i = 0; i < r.count; i++, to += sizeof(uint32_t))
		gp_store32(to, r.clock[i]);
	stream_end(f->stream);
	return 1;
}

// Of rank `cursor`, from word `at_block` on. Where there is nothing, nothing is said.
static int applied_write(struct gp_feeder *f, uint32_t idx, uint32_t generation)
{
	struct feeder_job *j = &f->jobs[idx];
	uint32_t words = layout_words(&j->layout), first = j->at_block;
	uint32_t n = GP_MIN(words - first, (uint32_t)APPLIED_WORDS_MAX);
	n = GP_MIN(n, (f->looks + 63) / 64);
	uint64_t any = 0;
	uint8_t *to =
		stream_begin(f->stream, MSG_APPLIED, APPLIED_HEAD_SIZE + sizeof(uint64_t) * n);
	if (!to)
		return -EAGAIN;
	gp_store16(to, j->layout.id);
	gp_store16(to + 2, (uint16_t)j->cursor);
	gp_store32(to + 4, generation);
	gp_store32(to + 8, first);
	to += APPLIED_HEAD_SIZE;
	for (uint32_t i = 0; i < n; i++, to += sizeof(uint64_t)) {
		uint64_t bits =
			f->opts.applied(f->opts.arg, idx, generation, j->cursor, 64 * (first + i));
		gp_store64(to, bits);
		any |= bits;
	}
	if (any != 0)
		stream_end(f->stream);
	f->looks -= GP_MIN(f->looks, 64 * n);
	j->at_block += n;
	if (j->at_block < words)
		return 1;
	j->at_block = 0;
	if (++j->cursor == j->layout.ranks)
		part_next(j);
	return 1;
}

// The last part: of tables their sum.
static int applied_part(
	struct gp_feeder *f, uint32_t idx, uint32_t generation, struct gp_stream_error *err)
{
	struct feeder_job *j = &f->jobs[idx];
	if (layout_applies(&j->layout))
		return applied_write(f, idx, generation);
	int rc = 1;
	if (layout_embeds(&j->layout))
		rc = feeder_tally_write(f, idx, generation, j->rows->cut.records, err);
	if (rc == 1)
		part_next(j);
	return rc;
}

int feeder_cut_write(struct gp_feeder *f, uint32_t idx, uint32_t generation, bool all,
	struct gp_stream_error *err)
{
	struct feeder_job *j = &f->jobs[idx];
	int rc;
	switch (j->cut_part) {
	case CUT_BLOCKS:
		if (!layout_embeds(&j->layout))
			return blocks_write(f, idx, generation, all, err);
		rc = feeder_rows_cut_write(f, idx, generation, err);
		if (rc != 0)
			return rc;
		part_next(j);
		return 1;
	case CUT_RANKS:
		rc = feeder_ranks_write(f, idx, generation, j->cut_blocks, err);
		if (rc == 1)
			part_next(j);
		return rc;
	case CUT_APPLIED:
		return applied_part(f, idx, generation, err);
	case CUT_DONE:
		break;
	}
	j->cut_part = CUT_BLOCKS;
	j->cut_blocks = 0;
	return 0;
}
