// SPDX-License-Identifier: BSD-3-Clause
//
// blocks.safetensors. Its header follows from the manifest, so it is made, not parsed: one that
// differs in a byte is refused.
#include "snapshot_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t sums_size(const struct index *x)
{
	return (uint64_t)x->files_count * x->blocks_count * sizeof(*x->sums);
}

static uint64_t present_size(const struct index *x)
{
	return x->incremental ? (uint64_t)x->present_count * sizeof(*x->present) : 0;
}

static uint64_t sizes_size(const struct index *x)
{
	return x->zstd ? (uint64_t)x->files_count * (1 + (uint64_t)x->present_count) *
				 sizeof(*x->sizes)
		       : 0;
}

uint64_t blocks_index_size(const struct index *x)
{
	return sums_size(x) + present_size(x) + sizes_size(x);
}

static void index_point(struct index *x, void *data)
{
	uint8_t *at = data;
	x->sums = (uint64_t *)(void *)at;
	x->present = x->incremental ? (uint32_t *)(void *)(at + sums_size(x)) : NULL;
	x->sizes = x->zstd ? (uint32_t *)(void *)(at + sums_size(x) + present_size(x)) : NULL;
}

int blocks_index_init(struct index *x, uint32_t files_count, uint32_t blocks_count,
	uint32_t present_count, bool incremental, bool zstd, struct gp_snapshot_error *err)
{
	*x = (struct index){.files_count = files_count,
		.blocks_count = blocks_count,
		.present_count = present_count,
		.incremental = incremental,
		.zstd = zstd};
	x->memory = calloc(1, GP_MAX(blocks_index_size(x), 1u));
	if (!x->memory)
		return snapshot_fail(
			err, -ENOMEM, "out of memory for checksums of %u blocks", blocks_count);
	index_point(x, x->memory);
	return 0;
}

void blocks_index_fini(struct index *x)
{
	free(x->memory);
	*x = (struct index){0};
}

int blocks_index_header(
	const struct index *x, char **out, size_t *out_len, struct gp_snapshot_error *err)
{
	char text[512], present[128] = "", sizes[128] = "";
	unsigned long long at = sums_size(x), end = at + present_size(x);
	if (x->incremental)
		snprintf(present, sizeof(present),
			",\"present\":{\"dtype\":\"U32\",\"shape\":[%u],"
			"\"data_offsets\":[%llu,%llu]}",
			x->present_count, at, end);
	if (x->zstd)
		snprintf(sizes, sizeof(sizes),
			",\"sizes\":{\"dtype\":\"U32\",\"shape\":[%u,%llu],"
			"\"data_offsets\":[%llu,%llu]}",
			x->files_count, 1 + (unsigned long long)x->present_count, end,
			(unsigned long long)blocks_index_size(x));
	snprintf(text, sizeof(text),
		"{\"sums\":{\"dtype\":\"U64\",\"shape\":[%u,%u],\"data_offsets\":[0,%llu]}%s%s}",
		x->files_count, x->blocks_count, at, present, sizes);
	return safetensors_wrap(text, out, out_len, err);
}

static int bad(struct gp_snapshot_error *err, const char *what)
{
	return snapshot_fail(err, -EBADMSG, "%s: %s", SNAPSHOT_BLOCKS_FILE, what);
}

int blocks_index_attach(
	struct index *x, const void *bytes, uint64_t size, struct gp_snapshot_error *err)
{
	char *header;
	size_t len;
	int rc = blocks_index_header(x, &header, &len, err);
	if (rc != 0)
		return rc;
	bool same = size == len + blocks_index_size(x) && memcmp(bytes, header, len) == 0;
	free(header);
	if (!same)
		return bad(err, "its header or size is not what the manifest says");
	index_point(x, (uint8_t *)(uintptr_t)bytes + len);
	for (uint32_t i = 0; x->present && i < x->present_count; i++)
		if (x->present[i] >= x->blocks_count ||
			(i > 0 && x->present[i] <= x->present[i - 1]))
			return bad(err, "present: not increasing numbers of blocks");
	return 0;
}
