// SPDX-License-Identifier: BSD-3-Clause
//
// A job's blocks, as both ends of a stream reckon them from its tensors: which tensor a block is
// of, which blocks a unit commits.
#ifndef LAYOUT_H
#define LAYOUT_H

#include <gp_image.h>

#define LAYOUT_BLOCKS_MAX      (UINT32_C(1) << 28)
#define LAYOUT_BLOCK_ELEMS_MAX 8192
#define LAYOUT_ALIGN	       16 // floats: where each tensor begins

struct layout_span {
	uint64_t offset; // of its first element in the job's arrays
	uint64_t elems;
	uint32_t first_block;
	uint32_t blocks_count;
};

// A table of an embed job.
struct layout_rows {
	uint32_t dim, state; // floats
	uint64_t rows, changes;
};

struct layout {
	uint16_t id;
	uint8_t kind, atomicity, arrays_count;
	uint16_t ranks; // 0: bulk-synchronous
	uint32_t block_elems;
	uint32_t tensors_count;
	uint32_t blocks_count;
	uint32_t units_count;
	uint64_t floats; // of one array of the job
	char name[GP_WIRE_JOB_NAME_SIZE];
	struct layout_span *spans; // [tensors_count]
	struct layout_rows rows[GP_ENGINE_TABLES_MAX];
};

// A block, as one walks through them.
struct layout_at {
	uint32_t block;
	uint32_t tensor;
	uint32_t idx; // in its tensor
	uint32_t elems;
	uint64_t offset;
};

// Counts, without spans. NULL, or what is wrong with it.
const char *layout_measure(const struct gp_image_layout *from, struct layout *out) GP_MUST_CHECK;
// Fills l->spans, which has room for all.
void layout_fill(struct layout *l, const struct gp_image_layout *from);
struct layout_at layout_seek(const struct layout *l, uint32_t block);
void layout_next(const struct layout *l, struct layout_at *at);
uint32_t layout_unit(const struct layout *l, const struct layout_at *at);
// Returns how many blocks the unit has; the first one in *first.
uint32_t layout_unit_blocks(const struct layout *l, uint32_t unit, uint32_t *first);
// Whether there are values of this step at all: nothing was committed, or a reduce job's step 0.
static inline bool layout_has(const struct layout *l, uint32_t step)
{
	return step != GP_IMAGE_NONE && !(l->kind == GP_KIND_REDUCE && step == 0);
}
static inline bool layout_embeds(const struct layout *l)
{
	return l->kind == GP_KIND_EMBED;
}
// Members of a view have committed a unit; `whole`: it was the generation's last.
static inline void layout_count(
	struct gp_ranks counted[2], const struct gp_ranks *members, bool whole)
{
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(members->w); i++)
		counted[1].w[i] &= members->w[i];
	if (!whole)
		return;
	counted[0] = counted[1];
	memset(&counted[1], 0xff, sizeof(counted[1]));
}
// Asynchronous: initial parameters are committed as in a bulk-synchronous job, the rest are cuts.
static inline bool layout_is_cut(const struct layout *l, uint32_t step)
{
	return l->ranks > 0 && step != GP_IMAGE_NONE && !(l->kind == GP_KIND_TRAIN && step == 0);
}
// What commits together.
static inline uint8_t layout_atom(const struct layout *l)
{
	return l->ranks > 0 ? GP_ATOM_STEP : l->atomicity;
}
// Whether contributions of ranks are applied block by block.
static inline bool layout_applies(const struct layout *l)
{
	return l->ranks > 0 && l->atomicity == GP_ATOM_BLOCK;
}
static inline uint32_t layout_words(const struct layout *l)
{
	return layout_applies(l) ? (uint32_t)gp_div_up(l->blocks_count, 64) : 0;
}
// Of a block, before its arrays: weight, updates.
static inline size_t layout_head_size(const struct layout *l)
{
	return l->ranks > 0 ? sizeof(float) + sizeof(uint32_t) : sizeof(float);
}
static inline size_t layout_block_size(const struct layout *l, const struct layout_at *at)
{
	return sizeof(float) * (size_t)at->elems * l->arrays_count;
}
// docs/protocol.md 6
uint64_t layout_digest(const struct layout_at *at, uint32_t step, const float *values);

// Digests of a generation, block by block as they come; two are open at a time.
struct layout_sum {
	uint32_t step;
	uint32_t blocks;
	uint64_t sum;
};

static inline void layout_sum_add(struct layout_sum sums[2], uint32_t step, uint64_t digest)
{
	struct layout_sum *s = &sums[step & 1];
	if (s->step != step || s->blocks == 0)
		*s = (struct layout_sum){.step = step};
	s->sum += digest;
	s->blocks++;
}

static inline bool layout_sum_is_whole(
	const struct layout_sum sums[2], const struct layout *l, uint32_t step)
{
	const struct layout_sum *s = &sums[step & 1];
	return s->step == step && s->blocks == l->blocks_count;
}

static inline bool layout_is_digested(uint32_t step, uint32_t every)
{
	return every > 0 && step != GP_IMAGE_NONE && step % every == 0;
}

#endif
