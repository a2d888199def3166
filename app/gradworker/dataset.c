// SPDX-License-Identifier: BSD-3-Clause
#include "dataset.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define IDX_MAGIC_LABELS 0x00000801u
#define IDX_MAGIC_IMAGES 0x00000803u

struct idx_file {
	char path[512];
	gzFile gz;
};

static int idx_open(struct idx_file *f, const char *dir, const char *name, struct gw_error *err)
{
	int len = snprintf(f->path, sizeof(f->path), "%s/%s.gz", dir, name);

	if (len < 0 || (size_t)len >= sizeof(f->path))
		return gw_error_set(err, -ENAMETOOLONG, "--data: path too long: %.64s...", dir);
	f->gz = gzopen(f->path, "rb");
	if (!f->gz)
		return gw_error_set(err, -ENOENT,
			"cannot open %s: %s (install the Debian package dataset-fashion-mnist, or "
			"name its folder with --data)",
			f->path, strerror(errno));
	gzbuffer(f->gz, 1 << 17);
	return 0;
}

static int idx_read(struct idx_file *f, void *to, size_t size, struct gw_error *err)
{
	int got = gzread(f->gz, to, (unsigned)size);

	if (got < 0 || (size_t)got != size)
		return gw_error_set(err, -EBADMSG,
			"%s: ends early or is damaged (%zu bytes wanted)", f->path, size);
	return 0;
}

// Reads magic and dimensions; `expected` are the dimensions after the count, 0 terminated.
static int idx_header(struct idx_file *f, uint32_t magic, const uint32_t *expected, uint32_t *count,
	struct gw_error *err)
{
	uint8_t raw[16];
	uint32_t word[4];
	size_t words_count = 1 + (magic & 0xff);
	int rc = idx_read(f, raw, words_count * 4, err);

	if (rc)
		return rc;
	for (size_t i = 0; i < words_count; i++)
		word[i] = (uint32_t)raw[4 * i] << 24 | (uint32_t)raw[4 * i + 1] << 16 |
			  (uint32_t)raw[4 * i + 2] << 8 | raw[4 * i + 3];
	if (word[0] != magic)
		return gw_error_set(err, -EBADMSG, "%s: magic is 0x%08x, expected 0x%08x", f->path,
			word[0], magic);
	for (size_t i = 2; i < words_count; i++)
		if (word[i] != expected[i - 2])
			return gw_error_set(err, -EBADMSG, "%s: dimension %zu is %u, expected %u",
				f->path, i - 1, word[i], expected[i - 2]);
	if (word[1] == 0 || word[1] > GW_DATASET_IMAGES)
		return gw_error_set(err, -EBADMSG, "%s: %u items is out of range 1..%u", f->path,
			word[1], GW_DATASET_IMAGES);
	*count = word[1];
	return 0;
}

static int images_load(
	struct gw_dataset *set, const char *dir, const char *split, struct gw_error *err)
{
	static const uint32_t sides[] = {GW_IMAGE_SIDE, GW_IMAGE_SIDE};
	struct idx_file f;
	char name[64];
	int rc;

	snprintf(name, sizeof(name), "%s-images-idx3-ubyte", split);
	rc = idx_open(&f, dir, name, err);
	if (rc)
		return rc;
	rc = idx_header(&f, IDX_MAGIC_IMAGES, sides, &set->count, err);
	if (rc)
		goto close_file;
	set->pixels = malloc((size_t)set->count * GW_IMAGE_PIXELS);
	if (!set->pixels) {
		rc = gw_error_set(err, -ENOMEM, "no memory for %u images", set->count);
		goto close_file;
	}
	rc = idx_read(&f, set->pixels, (size_t)set->count * GW_IMAGE_PIXELS, err);
close_file:
	gzclose(f.gz);
	return rc;
}

static int labels_check(const struct gw_dataset *set, const char *path, struct gw_error *err)
{
	for (uint32_t i = 0; i < set->count; i++)
		if (set->labels[i] >= GW_CLASSES_COUNT)
			return gw_error_set(err, -EBADMSG, "%s: label %u is %u, expected 0..%u",
				path, i, set->labels[i], GW_CLASSES_COUNT - 1);
	return 0;
}

static int labels_load(
	struct gw_dataset *set, const char *dir, const char *split, struct gw_error *err)
{
	struct idx_file f;
	char name[64];
	uint32_t count = 0;
	int rc;

	snprintf(name, sizeof(name), "%s-labels-idx1-ubyte", split);
	rc = idx_open(&f, dir, name, err);
	if (rc)
		return rc;
	rc = idx_header(&f, IDX_MAGIC_LABELS, NULL, &count, err);
	if (!rc && count != set->count)
		rc = gw_error_set(
			err, -EBADMSG, "%s: %u labels for %u images", f.path, count, set->count);
	if (rc)
		goto close_file;
	set->labels = malloc(count);
	rc = set->labels ? idx_read(&f, set->labels, count, err)
			 : gw_error_set(err, -ENOMEM, "no memory for %u labels", count);
	if (!rc)
		rc = labels_check(set, f.path, err);
close_file:
	gzclose(f.gz);
	return rc;
}

int gw_dataset_load(
	struct gw_dataset *set, const char *dir, const char *split, struct gw_error *err)
{
	int rc;

	memset(set, 0, sizeof(*set));
	rc = images_load(set, dir, split, err);
	if (!rc)
		rc = labels_load(set, dir, split, err);
	if (rc)
		gw_dataset_fini(set);
	return rc;
}

void gw_dataset_fini(struct gw_dataset *set)
{
	free(set->pixels);
	free(set->labels);
	memset(set, 0, sizeof(*set));
}
