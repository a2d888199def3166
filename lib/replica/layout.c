// SPDX-License-Identifier: BSD-3-Clause
#include "layout.h"

#define XXH_STATIC_LINKING_ONLY // a hash state of known size
#include <xxhash.h>

#define TENSOR_ELEMS_MAX (UINT64_C(1) << 48)
#define ROWS_MAX	 (UINT64_C(1) << 30) // of a table, and again that many changes

static const char *tensor_measure(const struct gp_image_tensor *t, uint64_t *elems)
{
	if (t->name[0] == 0 || !memchr(t->name, 0, sizeof(t->name)))
		return "a tensor's name";
	if (t->dims_count < 1 || t->dims_count > GP_WIRE_DIMS_MAX)
		return "a tensor's count of dimensions";
	*elems = 1;
	for (uint32_t i = 0; i < t->dims_count; i++) {
		if (t->dims[i] < 1 || t->dims[i] > TENSOR_ELEMS_MAX / *elems)
			return "a tensor's dimension";
		*elems *= t->dims[i];
	}
	return NULL;
}

static const char *head_check(const struct gp_image_layout *x)
{
	if (x->id < 1 || x->id > GP_IMAGE_JOBS_MAX)
		return "its id";
	if (x->name[0] == 0 || !memchr(x->name, 0, sizeof(x->name)))
		return "its name";
	if (x->kind != GP_KIND_REDUCE && x->kind != GP_KIND_TRAIN && x->kind != GP_KIND_EMBED)
		return "its kind";
	if (x->kind == GP_KIND_EMBED &&
		(x->ranks == 0 || x->atomicity != GP_ATOM_STEP || x->arrays_count != 1 ||
			x->tensors_count > GP_ENGINE_TABLES_MAX))
		return "what a job with tables is";
	if (x->atomicity < GP_ATOM_BLOCK || x->atomicity > GP_ATOM_STEP)
		return "its atomicity";
	if (x->ranks > GP_RANKS_MAX)
		return "its count of ranks";
	if (x->arrays_count < 1 || x->arrays_count > GP_IMAGE_ARRAYS_MAX)
		return "its count of arrays";
	if (x->block_elems < 1 || x->block_elems > LAYOUT_BLOCK_ELEMS_MAX)
		return "the size of its blocks";
	if (x->tensors_count < 1 || x->tensors_count > GP_IMAGE_TENSORS_MAX)
		return "its count of tensors";
	return NULL;
}

static const char *table_measure(const struct gp_image_tensor *t, struct layout_rows *out)
{
	if (t->dims_count != 1 || t->dims[0] + t->state > GP_ROWS_FLOATS_MAX)
		return "the width of a table";
	if (t->rows < 1 || t->rows > ROWS_MAX || t->changes < 1 || t->changes > ROWS_MAX)
		return "the rows of a table";
	*out = (struct layout_rows){(uint32_t)t->dims[0], t->state, t->rows, t->changes};
	return NULL;
}

const char *layout_measure(const struct gp_image_layout *from, struct layout *out)
{
	const char *why = head_check(from);
	uint64_t blocks = 0, floats = 0;
	if (why)
		return why;
	for (uint32_t t = 0; t < from->tensors_count; t++) {
		uint64_t elems;
		why = tensor_measure(&from->tensors[t], &elems);
		if (why)
			return why;
		if (from->kind == GP_KIND_EMBED)
			continue;
		blocks += gp_div_up(elems, from->block_elems);
		if (blocks > LAYOUT_BLOCKS_MAX)
			return "its count of blocks";
		floats += gp_align_up(elems, LAYOUT_ALIGN);
	}
	*out = (struct layout){.id = from->id,
		.kind = from->kind,
		.atomicity = from->atomicity,
		.arrays_count = from->arrays_count,
		.ranks = from->ranks,
		.block_elems = from->block_elems,
		.tensors_count = from->tensors_count,
		.blocks_count = (uint32_t)blocks,
		.floats = floats};
	for (uint32_t t = 0; layout_embeds(out) && t < from->tensors_count; t++) {
		why = table_measure(&from->tensors[t], &out->rows[t]);
		if (why)
			return why;
	}
	out->units_count = layout_atom(out) == GP_ATOM_STEP	? 1
			   : layout_atom(out) == GP_ATOM_TENSOR ? from->tensors_count
								: out->blocks_count;
	memcpy(out->name, from->name, sizeof(out->name));
	return NULL;
}

void layout_fill(struct layout *l, const struct gp_image_layout *from)
{
	uint32_t block = 0;
	uint64_t offset = 0;
	for (uint32_t t = 0; t < l->tensors_count; t++) {
		const struct gp_image_tensor *x = &from->tensors[t];
		uint64_t elems = 1;
		for (uint32_t i = 0; i < x->dims_count; i++)
			elems *= x->dims[i];
		elems = layout_embeds(l) ? 0 : elems; // rows lie elsewhere
		l->spans[t] = (struct layout_span){.offset = offset,
			.elems = elems,
			.first_block = block,
			.blocks_count = (uint32_t)gp_div_up(elems, l->block_elems)};
		offset += gp_align_up(elems, LAYOUT_ALIGN);
		block += l->spans[t].blocks_count;
	}
	GP_ASSERT(block == l->blocks_count && offset == l->floats);
}

static void at_measure(const struct layout *l, struct layout_at *at)
{
	const struct layout_span *s = &l->spans[at->tensor];
	uint64_t begin = (uint64_t)at->idx * l->block_elems;
	at->offset = s->offset + begin;
	at->elems = (uint32_t)GP_MIN((uint64_t)l->block_elems, s->elems - begin);
}

struct layout_at layout_seek(const struct layout *l, uint32_t block)
{
	uint32_t low = 0, high = l->tensors_count;
	GP_ASSERT(block < l->blocks_count || block == 0); // there may be none
	while (high - low > 1) {
		uint32_t mid = low + (high - low) / 2;
		if (l->spans[mid].first_block <= block)
			low = mid;
		else
			high = mid;
	}
	struct layout_at at = {
		.block = block, .tensor = low, .idx = block - l->spans[low].first_block};
	at_measure(l, &at);
	return at;
}

void layout_next(const struct layout *l, struct layout_at *at)
{
	if (++at->block == l->blocks_count)
		return;
	if (++at->idx == l->spans[at->tensor].blocks_count) {
		at->tensor++;
		at->idx = 0;
	}
	at_measure(l, at);
}

uint32_t layout_unit(const struct layout *l, const struct layout_at *at)
{
	return layout_atom(l) == GP_ATOM_STEP	  ? 0
	       : layout_atom(l) == GP_ATOM_TENSOR ? at->tensor
						  : at->block;
}

uint32_t layout_unit_blocks(const struct layout *l, uint32_t unit, uint32_t *first)
{
	GP_ASSERT(unit < l->units_count);
	*first = layout_atom(l) == GP_ATOM_STEP	    ? 0
		 : layout_atom(l) == GP_ATOM_TENSOR ? l->spans[unit].first_block
						    : unit;
	return layout_atom(l) == GP_ATOM_STEP	  ? l->blocks_count
	       : layout_atom(l) == GP_ATOM_TENSOR ? l->spans[unit].blocks_count
						  : 1;
}

uint64_t layout_digest(const struct layout_at *at, uint32_t step, const float *values)
{
	XXH3_state_t state;
	const uint32_t head[4] = {at->tensor, at->idx, step, 0};
	float part[256];
	XXH3_64bits_reset(&state);
	XXH3_64bits_update(&state, head, sizeof(head));
	for (uint32_t from = 0; from < at->elems; from += GP_ARRAY_SIZE(part)) {
		uint32_t n = GP_MIN(at->elems - from, (uint32_t)GP_ARRAY_SIZE(part));
		for (uint32_t i = 0; i < n; i++) // -0 compares equal to 0
			part[i] = values[from + i] == 0.0f ? 0.0f : values[from + i];
		XXH3_64bits_update(&state, part, sizeof(float) * n);
	}
	return XXH3_64bits_digest(&state);
}
