// SPDX-License-Identifier: BSD-3-Clause
//
// Which blocks differ from those of a base. Parameters and optimizer arrays of a block go together:
// one changes, all are written.
#include "snapshot_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static int delta_base_check(
	const struct link *base, const struct gp_snapshot_meta *meta, struct gp_snapshot_error *err)
{
	struct gp_snapshot_meta ours = *meta;
	ours.block_elems = snapshot_block_default(meta);
	if (!base->index.sums)
		return snapshot_fail(
			err, -EINVAL, "%s: of format 1, without checksums of blocks", base->path);
	if (base->manifest.form.depth + 1 >= GP_SNAPSHOT_CHAIN_MAX)
		return snapshot_fail(err, -EINVAL, "%s: the end of a chain of %d", base->path,
			GP_SNAPSHOT_CHAIN_MAX);
	if (!snapshot_tensors_same(&base->manifest.meta, &ours))
		return snapshot_fail(err, -EINVAL, "%s: of other tensors", base->path);
	return 0;
}

static int delta_load(struct gp_snapshot_delta *d, const struct gp_snapshot_meta *meta,
	const char *path, struct gp_snapshot_error *err)
{
	d->base = snapshot_link_open(path, LINK_INDEX, err);
	if (!d->base)
		return err->code;
	int rc = delta_base_check(d->base, meta, err);
	if (rc != 0)
		return rc;
	d->changed = calloc(1, d->base->grid.blocks_count);
	if (!d->changed)
		return snapshot_fail(err, -ENOMEM, "out of memory for a list of blocks");
	for (uint32_t i = 0; i < snapshot_files_count(meta); i++)
		if (summer_init(&d->summers[i], &d->base->grid, i) != 0)
			return snapshot_fail(err, -ENOMEM, "out of memory for checksums");
	return 0;
}

int gp_snapshot_delta_open(const struct gp_snapshot_meta *meta, const char *dir, const char *base,
	struct gp_snapshot_delta **out, struct gp_snapshot_error *err)
{
	char path[PATH_MAX];
	struct gp_snapshot_entry entry;
	if (!gp_snapshot_name_parse(base, &entry))
		return snapshot_fail(err, -EINVAL, "%.200s: not the name of a snapshot", base);
	int rc = snapshot_path_join(path, dir, base, err);
	if (rc != 0)
		return rc;
	struct gp_snapshot_delta *d = calloc(1, sizeof(*d));
	if (!d)
		return snapshot_fail(err, -ENOMEM, "out of memory for a snapshot");
	strcpy(d->base_name, entry.name);
	rc = delta_load(d, meta, path, err);
	if (rc != 0) {
		gp_snapshot_delta_close(d);
		return rc;
	}
	*out = d;
	return 0;
}

static void block_compare(struct gp_snapshot_delta *d, uint32_t file, uint32_t block, uint64_t sum)
{
	const struct index *x = &d->base->index;
	if (d->changed[block] || sum == x->sums[(size_t)file * x->blocks_count + block])
		return;
	d->changed[block] = 1;
	d->changed_count++;
	d->changed_words += grid_block(&d->base->grid, 0, block).words;
}

bool gp_snapshot_delta_feed(
	struct gp_snapshot_delta *d, uint32_t file_idx, const void *data, uint64_t count)
{
	GP_ASSERT(file_idx < d->base->index.files_count);
	struct summer *s = &d->summers[file_idx];
	const uint32_t *words = data;
	uint64_t sum, n;
	for (uint64_t at = 0; at < count; at += n) {
		uint32_t block = s->block;
		n = count - at;
		// What is known to have changed need not be summed.
		if (summer_feed(s, d->changed[block] ? NULL : words + at, &n, &sum))
			block_compare(d, file_idx, block, sum);
	}
	return d->changed_words <= grid_words(&d->base->grid, 0) / 2;
}

uint32_t gp_snapshot_delta_depth(const struct gp_snapshot_delta *d)
{
	return d->base->manifest.form.depth;
}

void gp_snapshot_delta_close(struct gp_snapshot_delta *d)
{
	if (!d)
		return;
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(d->summers); i++)
		summer_fini(&d->summers[i]);
	snapshot_link_close(d->base);
	free(d->changed);
	free(d);
}
