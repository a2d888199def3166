// SPDX-License-Identifier: BSD-3-Clause
//
// A chain of two snapshots, one compressed, and one of tables, in which one file is changed in one
// of many ways, over and over: none is accepted. TAP.
//
// snapshot_inject [INJECTIONS]
#include "chain.h"
#include "tables.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define INJECTIONS_DEFAULT 100000
#define CHAIN_IMAGES	   8
#define IMAGES		   14
#define FILE_MAX	   16384

static char dir[PATH_MAX];

static _Noreturn void bail(const char *what, const char *why)
{
	printf("Bail out! %s: %s\n", what, why);
	exit(1);
}

struct image {
	char path[PATH_MAX];
	const char *snapshot; // which must not be accepted when it is changed
	size_t len;
	uint8_t bytes[FILE_MAX];
};

static uint64_t random_state = 20240607;

static uint32_t random_below(uint32_t n)
{
	random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)((random_state >> 33) % n);
}

static void image_take(struct image *m, uint32_t step, const char *file)
{
	snprintf(m->path, sizeof(m->path), "%s", chain_path(dir, step, file));
	int fd = open(m->path, O_RDONLY);
	if (fd < 0)
		bail(m->path, strerror(errno));
	ssize_t n = read(fd, m->bytes, FILE_MAX);
	if (n <= 0 || n >= FILE_MAX)
		bail(m->path, "not of a small file's size");
	m->len = (size_t)n;
	close(fd);
}

static void image_put(const char *path, const uint8_t *bytes, size_t len)
{
	// Not O_TRUNC: some file systems then write through at close.
	int fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, bytes, len) != (ssize_t)len || ftruncate(fd, (off_t)len) != 0)
		bail(path, strerror(errno));
	close(fd);
}

// Changes at least one byte or the length. Returns the new length.
static size_t image_spoil(uint8_t *out, const struct image *m, const struct image *other)
{
	memcpy(out, m->bytes, m->len);
	uint32_t at = random_below((uint32_t)m->len), kind = random_below(6);
	uint32_t len = 1 + random_below(GP_MIN((uint32_t)m->len - at, 200u));
	switch (kind) {
	case 0:
		out[at] ^= (uint8_t)(1u << random_below(8));
		return m->len;
	case 1: // a lost page, or what it was before
		memset(out + at, random_below(2) ? 0 : 0xff, len);
		return m->len;
	case 2:
		for (uint32_t i = 0; i < len; i++)
			out[at + i] = (uint8_t)random_below(256);
		return m->len;
	case 3:
		return at;
	case 4: // a piece of another file
		for (uint32_t i = 0; i < len && at + i < other->len; i++)
			out[at + i] = other->bytes[at + i];
		return m->len;
	default: // twice, or moved
		memmove(out + at, out + random_below(at + 1), len);
		return m->len + random_below(2);
	}
}

static bool means_nothing(const struct image *m, const uint8_t *bytes, size_t len)
{
	json_t *a = json_loadb((const char *)m->bytes, m->len, 0, NULL);
	json_t *b = json_loadb((const char *)bytes, len, JSON_REJECT_DUPLICATES, NULL);
	bool same = a && b && json_equal(a, b);
	json_decref(a);
	json_decref(b);
	return same;
}

// What became of them.
static struct {
	uint32_t refused, spaces, unchanged, accepted, odd;
} seen;

static void inject(const struct image *images)
{
	uint8_t bytes[FILE_MAX + 1] = {0};
	const struct image *m = &images[random_below(IMAGES)];
	size_t len = image_spoil(bytes, m, &images[random_below(IMAGES)]);
	if (len == m->len && memcmp(bytes, m->bytes, len) == 0) {
		seen.unchanged++;
		return;
	}
	struct gp_snapshot *snap;
	struct gp_snapshot_error err = {0};
	image_put(m->path, bytes, len);
	int rc = gp_snapshot_prove(m->snapshot, &snap, &err);
	image_put(m->path, m->bytes, m->len);
	if (rc == -EBADMSG || rc == -ENOTSUP) {
		seen.refused++;
	} else if (rc != 0) {
		seen.odd++;
		printf("# %d: %s\n", rc, err.text);
	} else {
		// Only spaces of a manifest are free.
		bool same = means_nothing(m, bytes, len);
		seen.spaces += same;
		seen.accepted += !same;
		if (!same)
			printf("# accepted: %s\n", m->path);
		gp_snapshot_close(snap);
	}
}

static void chain_make(struct image *images)
{
	static const char *const names[2][4] = {
		{"manifest.json", "blocks.safetensors", "params.safetensors.zst",
			"state-momentum.safetensors.zst"},
		{"manifest.json", "blocks.safetensors", "params.changed.safetensors",
			"state-momentum.changed.safetensors"}};
	bool incremental;
	struct gp_snapshot_error err = {0};
	if (!sample_memory_dir(dir) || chain_try(dir, 20, 0, 3, &incremental, &err) != 0 ||
		chain_try(dir, 21, 20, 0, &incremental, &err) != 0 || !incremental)
		bail("no chain", err.text);
	for (uint32_t i = 0; i < CHAIN_IMAGES; i++)
		image_take(&images[i], 20 + i / 4, names[i / 4][i % 4]);
}

static void tables_make(struct image *images)
{
	static const char *const names[] = {"manifest.json", "blocks.safetensors",
		"params.safetensors", "state-sum.safetensors", "ids.safetensors",
		"steps.safetensors"};
	struct tables s;
	bool incremental;
	struct gp_snapshot_error err = {0};
	_Static_assert(CHAIN_IMAGES + GP_ARRAY_SIZE(names) == IMAGES, "all of them");
	tables_init(&s, 30, true);
	if (tables_write(dir, &s, 0, 0, &incremental, &err) != 0)
		bail("no tables", err.text);
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(names); i++)
		image_take(&images[CHAIN_IMAGES + i], 30, names[i]);
}

int main(int argc, char **argv)
{
	static struct image images[IMAGES];
	static char paths[2][PATH_MAX];
	uint32_t count = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : INJECTIONS_DEFAULT;
	chain_make(images);
	tables_make(images);
	for (uint32_t i = 0; i < 2; i++)
		snprintf(paths[i], PATH_MAX, "%s", chain_path(dir, i ? 30 : 21, NULL));
	for (uint32_t i = 0; i < IMAGES; i++)
		images[i].snapshot = paths[i >= CHAIN_IMAGES];
	for (uint32_t i = 0; i < count; i++)
		inject(images);
	sample_dir_remove(dir);
	printf("# %u refused, %u changed spaces of a manifest only, %u changed nothing\n",
		seen.refused, seen.spaces, seen.unchanged);
	bool enough = seen.refused > count / 10 * 9;
	printf("1..3\n%s 1 - none is accepted\n", seen.accepted == 0 ? "ok" : "not ok");
	printf("%s 2 - each is refused as damaged\n", seen.odd == 0 ? "ok" : "not ok");
	printf("%s 3 - most of them changed something\n", enough ? "ok" : "not ok");
	return seen.accepted == 0 && seen.odd == 0 && enough ? 0 : 1;
}
