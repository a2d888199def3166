// SPDX-License-Identifier: BSD-3-Clause
//
// Each way in which the newest snapshot can be bad: it is refused with its reason and the one
// before it is used.
#include "chain.h"

#include <snapshot_priv.h>

#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[PATH_MAX];

static void setup(void)
{
	cr_assert(sample_memory_dir(dir));
	chain_write(dir, 1, 0, 0);
	chain_write(dir, 2, 1, 0);
	chain_write(dir, 3, 0, 0);
}

static void teardown(void)
{
	sample_dir_remove(dir);
}

TestSuite(refuse, .init = setup, .fini = teardown, .timeout = 100);

struct refusal {
	uint32_t count;
	char why[GP_SNAPSHOT_ERROR_SIZE];
};

static void on_refused(void *arg, const char *path, const char *why)
{
	struct refusal *r = arg;
	r->count++;
	cr_assert_not_null(strstr(path, "run-1-0000000003"));
	snprintf(r->why, sizeof(r->why), "%s", why);
}

static void expect_fallback(const char *why)
{
	struct gp_snapshot *snap;
	struct gp_snapshot_error err = {0};
	struct refusal r = {0};
	cr_assert_eq(gp_snapshot_latest(dir, SAMPLE_JOB, on_refused, &r, &snap, &err), 0, "%s",
		err.text);
	cr_assert(chain_same(snap, 2));
	gp_snapshot_close(snap);
	cr_assert_eq(r.count, 1u);
	cr_assert_not_null(strstr(r.why, why), "%s: %s", why, r.why);
}

static void file_write(uint32_t step, const char *file, off_t at, const void *bytes, size_t len)
{
	int fd = open(chain_path(dir, step, file), O_WRONLY);
	cr_assert_geq(fd, 0);
	cr_assert_eq(pwrite(fd, bytes, len, at), (ssize_t)len);
	close(fd);
}

Test(refuse, truncated)
{
	cr_assert_eq(truncate(chain_path(dir, 3, "state-momentum.safetensors"), 1000), 0);
	expect_fallback("state-momentum.safetensors: 1000 bytes, the manifest says ");
}

Test(refuse, with_a_flipped_bit)
{
	file_write(3, "params.safetensors", 512, "\x01", 1);
	expect_fallback("params.safetensors: block ");
}

// The writer's name for it was given, as if the disk had lost what came after the rename.
Test(refuse, half_written)
{
	char zero[4096] = {0};
	struct stat st;
	cr_assert_eq(unlink(chain_path(dir, 3, "manifest.json")), 0);
	expect_fallback("manifest.json: cannot be opened");
	cr_assert_eq(close(creat(chain_path(dir, 3, "manifest.json"), 0644)), 0);
	expect_fallback("manifest.json: 0 bytes are out of range");
	chain_write(dir, 3, 0, 0);
	cr_assert_eq(stat(chain_path(dir, 3, "params.safetensors"), &st), 0);
	cr_assert_lt((size_t)st.st_size, sizeof(zero));
	file_write(3, "params.safetensors", 1024, zero, (size_t)st.st_size - 1024);
	expect_fallback("params.safetensors: block ");
}

Test(refuse, of_another_job)
{
	struct sample s;
	char from[PATH_MAX], to[PATH_MAX];
	struct gp_snapshot_error err;
	sample_init(&s, "other", 9, 5);
	cr_assert_eq(sample_write(dir, &s, from, &err), 0);
	snprintf(to, sizeof(to), "%s", chain_path(dir, 3, NULL));
	cr_assert_eq(snapshot_remove(to, &err), 0);
	cr_assert_eq(rename(from, to), 0);
	expect_fallback("is of job other step 9, not what its name says");
}

static void manifest_reseal(uint32_t step, const char *key, json_t *value)
{
	uint64_t checksum;
	char hex[17];
	json_t *root = json_load_file(chain_path(dir, step, "manifest.json"), 0, NULL);
	cr_assert_not_null(root);
	json_object_set_new(root, key, value);
	json_object_del(root, "checksum");
	cr_assert_eq(manifest_checksum(root, &checksum), 0);
	snprintf(hex, sizeof(hex), "%016llx", (unsigned long long)checksum);
	json_object_set_new(root, "checksum", json_string(hex));
	cr_assert_eq(json_dump_file(root, chain_path(dir, step, "manifest.json"), 0), 0);
	json_decref(root);
}

Test(refuse, of_a_newer_version)
{
	manifest_reseal(3, "format", json_integer(GP_SNAPSHOT_FORMAT + 1));
	expect_fallback("format 5 is newer than format 4 of this program; use a newer one");
}

Test(refuse, mixed_of_two)
{
	static const char *const files[] = {"params.safetensors", "state-momentum.safetensors",
		"blocks.safetensors", "manifest.json"};
	for (size_t i = 0; i < GP_ARRAY_SIZE(files); i++) {
		char from[PATH_MAX], to[PATH_MAX];
		struct gp_snapshot_error err;
		chain_write(dir, 4, 0, 0);
		snprintf(from, sizeof(from), "%s", chain_path(dir, 4, files[i]));
		snprintf(to, sizeof(to), "%s", chain_path(dir, 3, files[i]));
		cr_assert_eq(rename(from, to), 0);
		cr_assert_eq(snapshot_remove(chain_path(dir, 4, NULL), &err), 0);
		expect_fallback(i < 3 ? files[i] : "run-1-0000000003");
		chain_write(dir, 3, 0, 0);
	}
}

Test(refuse, with_sums_of_other_blocks)
{
	struct sample s;
	struct gp_snapshot *snap;
	struct gp_snapshot_error err;
	// A chain whose upper link is made for another base of the same name.
	chain_write(dir, 5, 3, 0);
	manifest_reseal(3, "epoch", json_integer(77));
	sample_init(&s, SAMPLE_JOB, 5, CHAIN_ROWS);
	cr_assert_eq(gp_snapshot_open(chain_path(dir, 5, NULL), &snap, &err), -EBADMSG);
	cr_assert_not_null(strstr(err.text, "another one of that name"), "%s", err.text);
}
