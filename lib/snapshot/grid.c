// SPDX-License-Identifier: BSD-3-Clause
#include "snapshot_priv.h"

#include <errno.h>
#include <stdlib.h>

int grid_init(struct grid *g, const struct gp_snapshot_meta *meta, struct gp_snapshot_error *err)
{
	uint32_t n = meta->tensors_count;
	uint64_t blocks = 0, elems = 0;
	*g = (struct grid){.tensors_count = n, .block_elems = meta->block_elems};
	GP_ASSERT(g->block_elems > 0);
	g->first_block = calloc((size_t)n + 1, sizeof(*g->first_block));
	g->first_elem = calloc((size_t)n + 1, sizeof(*g->first_elem));
	if (!g->first_block || !g->first_elem) {
		grid_fini(g);
		return snapshot_fail(err, -ENOMEM, "out of memory for %u tensors", n);
	}
	for (uint32_t i = 0; i < n; i++) {
		elems += meta->tensors[i].elements;
		blocks += (meta->tensors[i].elements - 1) / g->block_elems + 1;
		if (blocks > GP_SNAPSHOT_BLOCKS_MAX)
			break;
		g->first_block[i + 1] = (uint32_t)blocks;
		g->first_elem[i + 1] = elems;
	}
	if (blocks > GP_SNAPSHOT_BLOCKS_MAX) {
		grid_fini(g);
		return snapshot_fail(err, -EINVAL, "more than %u blocks of %u elements",
			GP_SNAPSHOT_BLOCKS_MAX, meta->block_elems);
	}
	g->blocks_count = (uint32_t)blocks;
	return 0;
}

void grid_fini(struct grid *g)
{
	free(g->first_block);
	free(g->first_elem);
	*g = (struct grid){0};
}

struct grid_block grid_block(const struct grid *g, uint32_t block)
{
	GP_ASSERT(block < g->blocks_count);
	// The last tensor that begins at or before it.
	uint32_t low = 0, high = g->tensors_count;
	while (high - low > 1) {
		uint32_t mid = low + (high - low) / 2;
		if (g->first_block[mid] <= block)
			low = mid;
		else
			high = mid;
	}
	uint64_t at = (uint64_t)(block - g->first_block[low]) * g->block_elems;
	uint64_t left = g->first_elem[low + 1] - g->first_elem[low] - at;
	return (struct grid_block){.tensor = low,
		.elems = (uint32_t)GP_MIN(left, g->block_elems),
		.elem = g->first_elem[low] + at};
}

int summer_init(struct summer *s, const struct grid *grid)
{
	*s = (struct summer){.grid = grid, .hash = XXH3_createState()};
	if (!s->hash)
		return -ENOMEM;
	XXH3_64bits_reset(s->hash);
	s->left = grid_block(grid, 0).elems;
	return 0;
}

void summer_fini(struct summer *s)
{
	XXH3_freeState(s->hash);
	s->hash = NULL;
}

bool summer_feed(struct summer *s, const float *data, uint64_t *count, uint64_t *sum)
{
	GP_ASSERT(s->block < s->grid->blocks_count);
	*count = GP_MIN(*count, s->left);
	if (data)
		XXH3_64bits_update(s->hash, data, *count * sizeof(*data));
	s->left -= (uint32_t)*count;
	if (s->left > 0)
		return false;
	*sum = XXH3_64bits_digest(s->hash);
	XXH3_64bits_reset(s->hash);
	if (++s->block < s->grid->blocks_count)
		s->left = grid_block(s->grid, s->block).elems;
	return true;
}
