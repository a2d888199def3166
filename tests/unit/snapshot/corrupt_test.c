// SPDX-License-Identifier: BSD-3-Clause
#include "sample.h"

#include <snapshot_priv.h>

#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const files[] = {
	"manifest.json", "params.safetensors", "state-momentum.safetensors", "blocks.safetensors"};

static char dir[PATH_MAX];
static char path[PATH_MAX];
static struct sample sample;

static void setup(void)
{
	struct gp_snapshot_error err;
	sample_dir(dir);
	sample_init(&sample, SAMPLE_JOB, 5, 2);
	cr_assert_eq(sample_write(dir, &sample, path, &err), 0, "%s", err.text);
}

static void teardown(void)
{
	sample_dir_remove(dir);
}

TestSuite(corrupt, .init = setup, .fini = teardown);

static char *file_read(const char *name, size_t *len)
{
	char file[PATH_MAX + 64];
	struct stat st;
	snprintf(file, sizeof(file), "%s/%s", path, name);
	int fd = open(file, O_RDONLY);
	cr_assert(fd >= 0 && fstat(fd, &st) == 0);
	*len = (size_t)st.st_size;
	char *bytes = malloc(*len + 1);
	cr_assert_eq(read(fd, bytes, *len), (ssize_t)*len);
	bytes[*len] = 0;
	close(fd);
	return bytes;
}

static int file_open_rw(const char *name)
{
	char file[PATH_MAX + 64];
	snprintf(file, sizeof(file), "%s/%s", path, name);
	int fd = open(file, O_RDWR);
	cr_assert_geq(fd, 0);
	return fd;
}

// 1: opens and is the same; 0: refused; anything else is a failure of the test.
static int verdict(const char *about)
{
	struct gp_snapshot *snap;
	struct gp_snapshot_error err = {0};
	int rc = gp_snapshot_open(path, &snap, &err);
	if (rc != 0) {
		cr_assert(rc == -EBADMSG || rc == -ENOTSUP, "%s: %d %s", about, rc, err.text);
		cr_assert_eq(err.code, rc);
		cr_assert_not_null(strstr(err.text, path));
		return 0;
	}
	cr_assert(sample_same(snap, &sample), "%s: other values were loaded", about);
	gp_snapshot_close(snap);
	return 1;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

Test(corrupt, every_flipped_bit_is_refused_or_means_nothing)
{
	for (size_t f = 0; f < GP_ARRAY_SIZE(files); f++) {
		size_t len, accepted = 0;
		char *bytes = file_read(files[f], &len);
		int fd = file_open_rw(files[f]);
		for (size_t bit = 0; bit < 8 * len; bit++) {
			char flipped = (char)(bytes[bit / 8] ^ (1 << bit % 8));
			cr_assert_eq(pwrite(fd, &flipped, 1, (off_t)(bit / 8)), 1);
			if (verdict(files[f])) {
				cr_assert(f == 0 && is_space(bytes[bit / 8]) && is_space(flipped),
					"%s: bit %zu", files[f], bit);
				accepted++;
			}
			cr_assert_eq(pwrite(fd, &bytes[bit / 8], 1, (off_t)(bit / 8)), 1);
		}
		cr_assert_eq(verdict("restored"), 1);
		cr_assert(f != 0 || accepted < len / 4);
		close(fd);
		free(bytes);
	}
}

Test(corrupt, every_length_but_the_right_one_is_refused)
{
	for (size_t f = 0; f < GP_ARRAY_SIZE(files); f++) {
		size_t len;
		char *bytes = file_read(files[f], &len);
		int fd = file_open_rw(files[f]);
		for (size_t cut = 0; cut < len; cut++) {
			cr_assert_eq(ftruncate(fd, (off_t)cut), 0);
			cr_assert_eq(verdict(files[f]), 0, "%s: %zu bytes", files[f], cut);
			cr_assert_eq(pwrite(fd, bytes, len, 0), (ssize_t)len);
		}
		cr_assert_eq(ftruncate(fd, (off_t)len + 1), 0);
		cr_assert_eq(verdict(files[f]), 0);
		cr_assert_eq(ftruncate(fd, (off_t)len), 0);
		cr_assert_eq(verdict("restored"), 1);
		close(fd);
		free(bytes);
	}
}

Test(corrupt, missing_files_links_and_pipes_are_refused)
{
	struct gp_snapshot *snap;
	struct gp_snapshot_error err;
	char file[PATH_MAX + 64];
	for (size_t f = 0; f < GP_ARRAY_SIZE(files); f++) {
		char away[PATH_MAX + 64];
		snprintf(file, sizeof(file), "%s/%s", path, files[f]);
		snprintf(away, sizeof(away), "%s/away", path);
		cr_assert_eq(rename(file, away), 0);
		cr_assert_eq(gp_snapshot_open(path, &snap, &err), -ENOENT);
		cr_assert_not_null(strstr(err.text, files[f]));
		cr_assert_eq(symlink("away", file), 0);
		cr_assert_eq(gp_snapshot_open(path, &snap, &err), -ELOOP);
		cr_assert_eq(unlink(file), 0);
		cr_assert_eq(mkfifo(file, 0600), 0);
		cr_assert_eq(gp_snapshot_open(path, &snap, &err), -EBADMSG);
		cr_assert_eq(rename(away, file), 0);
	}
	cr_assert_eq(verdict("restored"), 1);
	cr_assert_eq(gp_snapshot_open("/nowhere/run-1-0000000001", &snap, &err), -ENOENT);
}

// The manifest as it is, changed, with a checksum that agrees again.
static void manifest_expect(json_t *root, const char *why)
{
	uint64_t checksum;
	char hex[17];
	struct manifest m;
	struct gp_snapshot_error err = {0};
	json_object_del(root, "checksum");
	cr_assert_eq(manifest_checksum(root, &checksum), 0);
	snprintf(hex, sizeof(hex), "%016llx", (unsigned long long)checksum);
	json_object_set_new(root, "checksum", json_string(hex));
	char *text = json_dumps(root, JSON_COMPACT);
	int rc = manifest_parse(text, strlen(text), &m, &err);
	if (!why) {
		cr_assert_eq(rc, 0, "%s", err.text);
		manifest_fini(&m);
	} else {
		cr_assert_neq(rc, 0, "%s", why);
		cr_assert_not_null(strstr(err.text, why), "%s: %s", why, err.text);
	}
	free(text);
	json_decref(root);
}

static json_t *manifest_root(void)
{
	size_t len;
	char *text = file_read("manifest.json", &len);
	json_t *root = json_loadb(text, len, 0, NULL);
	cr_assert_not_null(root);
	free(text);
	return root;
}

static void manifest_set(const char *key, json_t *value, const char *why)
{
	json_t *root = manifest_root();
	cr_assert_eq(json_object_set_new(root, key, value), 0);
	manifest_expect(root, why);
}

Test(corrupt, a_manifest_that_says_what_cannot_be_is_refused_by_name)
{
	manifest_expect(manifest_root(), NULL);
	manifest_set("format", json_integer(5), "format 5 is newer than format 4");
	manifest_set("format", json_integer(4), "history");
	manifest_set("format", json_integer(0), "format");
	manifest_set("history", json_string("0000000000000001"), "history");
	manifest_set("surprise", json_integer(1), "surprise");
	manifest_set("step", json_integer(-1), "step");
	manifest_set("step", json_integer(INT64_C(1) << 32), "step");
	manifest_set("step", json_string("5"), "Expected integer");
	manifest_set("kind", json_string("embed2"), "kind");
	manifest_set("digest", json_string("00"), "digest");
	manifest_set("created", json_string("yesterday"), "created");
	manifest_set("tensors", json_array(), "tensors");
	manifest_set("files", json_array(), "files");
	manifest_set("job", json_pack("{s:s, s:i}", "name", "../x", "id", 1), "job");
	manifest_set("files",
		json_pack("[{s:s, s:i, s:s}]", "name", "../../etc/passwd", "size", 9, "xxh3",
			"0000000000000000"),
		"files");
	manifest_set("dedup",
		json_pack("{s:[{s:i, s:i}, {s:i, s:i}]}", "ranks", "rank", 1, "next_step", 1,
			"rank", 1, "next_step", 2),
		"increasing");
	manifest_set("dedup", json_pack("{s:[{s:i, s:i}]}", "ranks", "rank", 256, "next_step", 1),
		"out of range");
	manifest_set("tensors",
		json_pack("[{s:s, s:[i, i], s:i}]", "name", "w", "dims", 3, 4, "elements", 13),
		"elements");
	manifest_set("tensors",
		json_pack("[{s:s, s:[I, I], s:i}]", "name", "w", "dims", INT64_C(1) << 40,
			INT64_C(1) << 40, "elements", 1),
		"too many elements");
}

static int header_check(const char *json, uint64_t data_len, struct gp_snapshot_error *err)
{
	static const struct gp_snapshot_tensor tensors[] = {{"a", 1, {4}, 4}, {"b", 1, {2}, 2}};
	const struct gp_snapshot_meta meta = {.tensors_count = 2, .tensors = tensors};
	uint64_t data_start, len = gp_align_up(8 + strlen(json), 64);
	char *bytes = malloc(len);
	memset(bytes, ' ', len);
	gp_store64(bytes, len - 8);
	memcpy(bytes + 8, json, strlen(json));
	const struct safetensors_file f = {
		.name = "f", .bytes = bytes, .len = len, .size = len + data_len};
	int rc = safetensors_check(&meta, &f, &data_start, err);
	cr_assert(rc != 0 || data_start == len);
	free(bytes);
	return rc;
}

#define A_ENTRY "\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}"
#define B_ENTRY "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[16,24]}"

Test(corrupt, safetensors_headers_that_disagree_are_refused)
{
	static const char *const wrong[] = {
		"[]",
		"{}",
		"{" A_ENTRY "}",
		"{" A_ENTRY "," A_ENTRY "}",
		"{" A_ENTRY "," B_ENTRY ",\"c\":{}}",
		"{" A_ENTRY "," B_ENTRY "} x",
		"{" A_ENTRY ",\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[12,20]}}",
		"{" A_ENTRY ",\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[20,28]}}",
		"{" A_ENTRY ",\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[16,1e3]}}",
		"{" A_ENTRY ",\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[16,-8]}}",
		"{" A_ENTRY ",\"b\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[16,24]}}",
		"{" A_ENTRY ",\"b\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[16,24]}}",
		"{" A_ENTRY ",\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[16]}}",
		"{" A_ENTRY ",\"b\":7}",
	};
	struct gp_snapshot_error err = {0};
	cr_assert_eq(header_check("{" A_ENTRY "," B_ENTRY "}", 24, &err), 0, "%s", err.text);
	cr_assert_eq(header_check("{" A_ENTRY "," B_ENTRY ",\"__metadata__\":{}}", 24, &err), 0);
	cr_assert_eq(header_check("{" A_ENTRY "," B_ENTRY "}", 20, &err), -EBADMSG);
	cr_assert_eq(header_check("{" A_ENTRY "," B_ENTRY "}", 28, &err), -EBADMSG);
	for (size_t i = 0; i < GP_ARRAY_SIZE(wrong); i++)
		cr_assert_eq(header_check(wrong[i], 24, &err), -EBADMSG, "%s", wrong[i]);
}

Test(corrupt, safetensors_length_fields_stay_inside_the_file)
{
	static const struct gp_snapshot_tensor tensor = {"a", 1, {4}, 4};
	const struct gp_snapshot_meta meta = {.tensors_count = 1, .tensors = &tensor};
	const uint64_t lengths[] = {57, 64, 1 << 20, INT64_MAX, UINT64_MAX, UINT64_MAX - 7};
	struct gp_snapshot_error err;
	uint64_t data_start;
	char bytes[64] = {0};
	for (size_t i = 0; i < GP_ARRAY_SIZE(lengths); i++) {
		gp_store64(bytes, lengths[i]);
		const struct safetensors_file f = {
			.name = "f", .bytes = bytes, .len = sizeof(bytes), .size = sizeof(bytes)};
		cr_assert_eq(safetensors_check(&meta, &f, &data_start, &err), -EBADMSG);
	}
	const struct safetensors_file f = {.name = "f", .bytes = bytes, .len = 7, .size = 7};
	cr_assert_eq(safetensors_check(&meta, &f, &data_start, &err), -EBADMSG);
}
