// SPDX-License-Identifier: BSD-3-Clause
#include "snapshot_priv.h"

#include <errno.h>
#include <stdlib.h>

// What lies where in each file.
static void words_fill(struct grid *g, const struct gp_snapshot_meta *meta)
{
	uint32_t n = g->tensors_count;
	for (uint32_t f = 0; f < (g->width ? g->files_count : 1); f++) {
		uint64_t *word = g->first_word + (size_t)f * (n + 1);
		for (uint32_t i = 0; i < n; i++) {
			uint32_t width = snapshot_width(meta, f, i);
			if (g->width)
				g->width[(size_t)f * n + i] = width;
			word[i + 1] = word[i] + g->items[i] * width;
			uint64_t block = GP_MIN(g->items[i], g->block_elems) * (uint64_t)width;
			g->block_words =
				(uint32_t)GP_MIN(GP_MAX(g->block_words, block), UINT32_MAX);
		}
	}
}

static int grid_alloc(struct grid *g, const struct gp_snapshot_meta *meta)
{
	size_t n = g->tensors_count, sets = meta->embed ? g->files_count : 1;
	g->first_block = calloc(n + 1, sizeof(*g->first_block));
	g->items = calloc(n, sizeof(*g->items));
	g->first_word = calloc(sets * (n + 1), sizeof(*g->first_word));
	if (meta->embed)
		g->width = calloc(sets * n, sizeof(*g->width));
	return g->first_block && g->items && g->first_word && (!meta->embed || g->width) ? 0
											 : -ENOMEM;
}

int grid_init(struct grid *g, const struct gp_snapshot_meta *meta, struct gp_snapshot_error *err)
{
	uint32_t n = meta->tensors_count;
	uint64_t blocks = 0;
	*g = (struct grid){.tensors_count = n,
		.block_elems = meta->block_elems,
		.files_count = snapshot_files_count(meta)};
	GP_ASSERT(g->block_elems > 0);
	if (grid_alloc(g, meta) != 0) {
		grid_fini(g);
		return snapshot_fail(err, -ENOMEM, "out of memory for %u tensors", n);
	}
	for (uint32_t i = 0; i < n; i++) {
		g->items[i] = snapshot_items(meta, i);
		blocks += gp_div_up(g->items[i], g->block_elems);
		if (blocks > GP_SNAPSHOT_BLOCKS_MAX)
			break;
		g->first_block[i + 1] = (uint32_t)blocks;
	}
	words_fill(g, meta);
	if (blocks > GP_SNAPSHOT_BLOCKS_MAX || g->block_words > GP_SNAPSHOT_BLOCK_ELEMS_MAX) {
		grid_fini(g);
		return snapshot_fail(err, -EINVAL,
			"more than %u blocks of %u elements, or too large", GP_SNAPSHOT_BLOCKS_MAX,
			meta->block_elems);
	}
	g->blocks_count = (uint32_t)blocks;
	return 0;
}

void grid_fini(struct grid *g)
{
	free(g->first_block);
	free(g->items);
	free(g->first_word);
	free(g->width);
	*g = (struct grid){0};
}

uint64_t grid_word(const struct grid *g, uint32_t file, uint32_t tensor)
{
	GP_ASSERT(file < g->files_count && tensor <= g->tensors_count);
	return g->first_word[(g->width ? file : 0) * ((size_t)g->tensors_count + 1) + tensor];
}

struct grid_block grid_block(const struct grid *g, uint32_t file, uint32_t block)
{
	GP_ASSERT(block < g->blocks_count && file < g->files_count);
	// The last tensor that begins at or before it.
	uint32_t low = 0, high = g->tensors_count;
	while (high - low > 1) {
		uint32_t mid = low + (high - low) / 2;
		if (g->first_block[mid] <= block)
			low = mid;
		else
			high = mid;
	}
	uint32_t width = g->width ? g->width[(size_t)file * g->tensors_count + low] : 1;
	uint64_t at = (uint64_t)(block - g->first_block[low]) * g->block_elems;
	uint64_t items = GP_MIN(g->items[low] - at, g->block_elems);
	return (struct grid_block){.tensor = low,
		.words = (uint32_t)items * width,
		.word = grid_word(g, file, low) + at * width,
		.first = at,
		.end = at + items};
}

int summer_init(struct summer *s, const struct grid *grid, uint32_t file)
{
	*s = (struct summer){.grid = grid, .file = file, .hash = XXH3_createState()};
	if (!s->hash)
		return -ENOMEM;
	XXH3_64bits_reset(s->hash);
	s->left = grid->blocks_count > 0 ? grid_block(grid, file, 0).words : 0;
	return 0;
}

void summer_fini(struct summer *s)
{
	XXH3_freeState(s->hash);
	s->hash = NULL;
}

bool summer_feed(struct summer *s, const uint32_t *data, uint64_t *count, uint64_t *sum)
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
		s->left = grid_block(s->grid, s->file, s->block).words;
	return true;
}
