// SPDX-License-Identifier: BSD-3-Clause
//
// Snapshots of tables: round trips in every form, an independent reader, and what is refused.
#include "tables.h"

#include "chain.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <snapshot_priv.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[PATH_MAX];

static void setup(void)
{
	sample_dir(dir);
}

static void teardown(void)
{
	sample_dir_remove(dir);
}

TestSuite(tables, .init = setup, .fini = teardown);

static bool write_ok(struct tables *s, uint32_t step, bool rowwise, uint32_t base, uint32_t level)
{
	struct gp_snapshot_error err;
	bool incremental;
	tables_init(s, step, rowwise);
	cr_assert_eq(tables_write(dir, s, base, level, &incremental, &err), 0, "%s", err.text);
	return incremental;
}

static void expect_same(const struct tables *s)
{
	struct gp_snapshot *snap;
	struct gp_snapshot_error err;
	const char *path = chain_path(dir, s->meta.step, NULL);
	cr_assert_eq(gp_snapshot_open(path, &snap, &err), 0, "%s", err.text);
	cr_assert(tables_same(snap, s), "step %u", s->meta.step);
	gp_snapshot_close(snap);
}

Test(tables, come_back_as_they_were)
{
	for (uint32_t i = 0; i < 4; i++) {
		struct tables s;
		write_ok(&s, 10 + i, i & 1, 0, i & 2);
		expect_same(&s);
	}
}

Test(tables, each_may_have_arrays_of_its_own)
{
	struct tables s, more;
	struct gp_snapshot_error err;
	struct gp_snapshot_delta *d;
	bool incremental;
	for (uint32_t level = 0; level <= 3; level += 3) {
		tables_init(&s, 2, false);
		tables_mix(&s);
		s.meta.block_elems = 1;
		cr_assert_eq(
			tables_write(dir, &s, 0, level, &incremental, &err), 0, "%s", err.text);
		expect_same(&s);
		tables_init(&more, 3, false);
		tables_mix(&more);
		more.meta.block_elems = 1;
		cr_assert_eq(
			tables_write(dir, &more, 2, level, &incremental, &err), 0, "%s", err.text);
		cr_assert(incremental);
		expect_same(&more);
	}
	// With another optimizer of one of them they are other tables.
	more.kinds[2].of_row = 0;
	cr_assert_neq(
		gp_snapshot_delta_open(&more.meta, dir, SAMPLE_JOB "-0000000002", &d, &err), 0);
	more.kinds[0].of_row = 1;
	cr_assert_eq(tables_write(dir, &more, 0, 0, &incremental, &err), -EINVAL);
}

Test(tables, an_incremental_one_holds_the_rows_that_changed)
{
	struct tables s, more;
	struct gp_snapshot *snap;
	struct gp_snapshot_error err;
	for (uint32_t level = 0; level <= 3; level += 3) {
		write_ok(&s, 2, false, 0, level);
		s.meta.block_elems = 1;
		bool incremental;
		cr_assert_eq(tables_write(dir, &s, 0, level, &incremental, &err), 0);
		tables_init(&more, 3, false);
		more.meta.block_elems = 1;
		cr_assert_eq(tables_write(dir, &more, 2, level, &incremental, &err), 0);
		cr_assert(incremental);
		expect_same(&more);
		cr_assert_eq(gp_snapshot_open_alone(chain_path(dir, 3, NULL), &snap, &err), 0);
		cr_assert_eq(gp_snapshot_form(snap)->present_count, 7 + 4, "every tenth of each");
		cr_assert_eq(gp_snapshot_form(snap)->blocks_count, TABLES_ROWS + 33);
		gp_snapshot_close(snap);
	}
	// With one row more they are other tables.
	more.tensors[0].dims[0]++;
	more.tensors[0].elements += 5;
	struct gp_snapshot_delta *d;
	cr_assert_eq(
		gp_snapshot_delta_open(&more.meta, dir, "run-1-0000000003", &d, &err), -EINVAL);
}

Test(tables, may_all_be_empty)
{
	struct tables s;
	struct gp_snapshot *snap;
	struct gp_snapshot_error err;
	bool incremental;
	for (uint32_t i = 0; i < 4; i++) {
		tables_init(&s, 5, false);
		for (uint32_t t = 0; t < TABLES_COUNT; t++)
			s.tensors[t].dims[0] = s.tensors[t].elements = 0;
		s.meta.step = 5 + i;
		cr_assert_eq(tables_write(dir, &s, i & 1 ? 4 + i : 0, i & 2, &incremental, &err), 0,
			"%s", err.text);
		cr_assert_eq(incremental, i & 1);
		cr_assert_eq(gp_snapshot_open(chain_path(dir, 5 + i, NULL), &snap, &err), 0, "%s",
			err.text);
		cr_assert_eq(gp_snapshot_meta(snap)->tensors[2].dims[0], 0);
		gp_snapshot_close(snap);
	}
}

static int python_reads(uint32_t step, const char *expected)
{
	char command[2 * PATH_MAX];
	snprintf(command, sizeof(command), "/usr/bin/python3 %s %s %s tables", READ_SNAPSHOT,
		chain_path(dir, step, NULL), expected);
	int status = system(command);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

Test(tables, an_independent_reader_agrees)
{
	struct tables s;
	if (system("/usr/bin/python3 -c 'import numpy, xxhash' 2>/dev/null") != 0 ||
		system("zstd --version >/dev/null 2>&1") != 0)
		cr_skip_test("python3-numpy, python3-xxhash or zstd is not installed");
	write_ok(&s, 4, false, 0, 0);
	write_ok(&s, 5, true, 0, 3);
	cr_assert_eq(python_reads(4, "4"), 0);
	cr_assert_eq(python_reads(5, "5"), 0);
	cr_assert_eq(python_reads(5, "4"), 1, "it must be able to fail");
	tables_init(&s, 6, true);
	bool incremental;
	struct gp_snapshot_error err;
	s.meta.block_elems = 8;
	cr_assert_eq(tables_write(dir, &s, 5, 0, &incremental, &err), 0);
	cr_assert_eq(python_reads(6, "6"), 0);
}

static void expect_bad(const struct tables *s, const char *why)
{
	struct gp_snapshot *snap;
	struct gp_snapshot_error err;
	const char *path = chain_path(dir, s->meta.step, NULL);
	cr_assert_eq(gp_snapshot_open(path, &snap, &err), -EBADMSG);
	cr_assert(strstr(err.text, why), "%s: %s", why, err.text);
}

static void byte_flip(uint32_t step, const char *file, off_t at)
{
	uint8_t byte;
	int fd = open(chain_path(dir, step, file), O_RDWR);
	cr_assert_geq(fd, 0);
	cr_assert_eq(pread(fd, &byte, 1, at), 1);
	byte ^= 1;
	cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

Test(tables, damage_is_named_by_table_and_rows)
{
	static const char *const files[] = {"params.safetensors", "state-sum.safetensors",
		"ids.safetensors", "steps.safetensors"};
	struct tables s;
	write_ok(&s, 1, false, 0, 0);
	for (uint32_t step = 2; step <= 5; step++) {
		const char *file = files[step - 2];
		write_ok(&s, step, false, 0, 0);
		int fd = open(chain_path(dir, step, file), O_RDONLY);
		off_t size = lseek(fd, 0, SEEK_END);
		close(fd);
		byte_flip(step, file, size - 3);
		expect_bad(&s, "(table users, rows 32..32) is damaged");
		expect_bad(&s, file);
		cr_assert_eq(truncate(chain_path(dir, step, file), size - 4), 0);
		expect_bad(&s, "the manifest says");
	}
	struct gp_snapshot *snap;
	struct gp_snapshot_error err;
	cr_assert_eq(gp_snapshot_latest(dir, SAMPLE_JOB, NULL, NULL, &snap, &err), 0);
	cr_assert_eq(gp_snapshot_meta(snap)->step, 1, "the one that is whole");
	gp_snapshot_close(snap);
}

// A writer that was given the rows in disorder.
Test(tables, rows_that_are_there_twice_are_refused)
{
	struct tables s;
	struct gp_snapshot_writer *w;
	struct gp_snapshot_error err;
	const struct gp_snapshot_seal seal = {0};
	const uint64_t ids[] = {5, 9, 9};
	const float zeros[16] = {0};
	tables_init(&s, 8, false);
	for (uint32_t t = 0; t < TABLES_COUNT; t++)
		s.tensors[t].dims[0] = t == 0 ? 3 : 0;
	s.tensors[0].elements = 15;
	s.tensors[2].elements = 0;
	cr_assert_eq(gp_snapshot_begin(&s.meta, NULL, dir, &w, &err), 0, "%s", err.text);
	cr_assert_eq(gp_snapshot_append(w, 0, zeros, 15, &err), 0);
	cr_assert_eq(gp_snapshot_append(w, 1, zeros, 15, &err), 0);
	cr_assert_eq(gp_snapshot_append(w, 2, ids, 6, &err), 0);
	cr_assert_eq(gp_snapshot_append(w, 3, zeros, 3, &err), 0);
	cr_assert_eq(gp_snapshot_finish(w, &seal, NULL, &err), 0, "%s", err.text);
	expect_bad(&s, "ids.safetensors: table words: row 2 is not in ascending order of ids");
}

static int begin_with(const struct tables *s, struct gp_snapshot_error *err)
{
	struct gp_snapshot_writer *w;
	int rc = gp_snapshot_begin(&s->meta, NULL, dir, &w, err);
	if (rc == 0)
		gp_snapshot_abort(w);
	return rc;
}

Test(tables, what_cannot_be_a_table_is_refused_by_name)
{
	struct gp_snapshot_error err;
	struct tables s;
	tables_init(&s, 1, false);
	s.kinds[1].initial = "ones";
	cr_assert(begin_with(&s, &err) == -EINVAL && strstr(err.text, "table empty: initial"));
	tables_init(&s, 1, false);
	s.kinds[1].eviction = "";
	cr_assert(begin_with(&s, &err) == -EINVAL && strstr(err.text, "eviction"));
	tables_init(&s, 1, false);
	s.tensors[1].dims[1] = 0;
	cr_assert(begin_with(&s, &err) == -EINVAL && strstr(err.text, "table empty"));
	tables_init(&s, 1, false);
	s.meta.kind = "train";
	cr_assert(begin_with(&s, &err) == -EINVAL && strstr(err.text, "kind"));
	s.meta.embed = NULL;
	cr_assert_eq(begin_with(&s, &err), -EINVAL, "an empty tensor");
	tables_init(&s, 1, false);
	s.meta.block_elems = GP_SNAPSHOT_BLOCK_ELEMS_MAX;
	s.tensors[0].dims[0] = s.tensors[0].elements = GP_SNAPSHOT_BLOCK_ELEMS_MAX;
	s.tensors[0].elements *= 5;
	cr_assert(begin_with(&s, &err) == -EINVAL && strstr(err.text, "too large"));
	tables_init(&s, 1, false);
	cr_assert_eq(begin_with(&s, &err), 0, "%s", err.text);
}

// ---- manifests

static void manifest_expect(const char *key, json_t *value, const char *why)
{
	uint64_t checksum;
	struct manifest m;
	struct gp_snapshot_error err = {0};
	json_t *root = json_load_file(chain_path(dir, 1, "manifest.json"), 0, NULL);
	cr_assert_not_null(root);
	json_object_del(root, "checksum");
	json_t *at = strcmp(key, "kind") == 0 || strcmp(key, "format") == 0
			     ? root
			     : json_object_get(root, "embed");
	cr_assert_eq(json_object_set_new(at, key, value), 0);
	cr_assert_eq(manifest_checksum(root, &checksum), 0);
	json_object_set_new(root, "checksum", snapshot_hex_json(checksum));
	char *text = json_dumps(root, JSON_COMPACT);
	int rc = manifest_parse(text, strlen(text), &m, &err);
	cr_assert_eq(rc == 0, why == NULL, "%s: %s", key, err.text);
	cr_assert(!why || strstr(err.text, why), "%s: %s", key, err.text);
	if (rc == 0)
		manifest_fini(&m);
	free(text);
	json_decref(root);
}

Test(tables, a_manifest_that_says_what_cannot_be_is_refused_by_name)
{
	struct tables s;
	write_ok(&s, 1, false, 0, 0);
	manifest_expect("updates", json_integer(77), NULL);
	manifest_expect("updates", json_integer(-1), "embed: updates");
	manifest_expect("updates", json_integer(INT64_C(1) << 32), "embed: updates");
	manifest_expect("state_of", json_string("block"), "embed: updates, state_of");
	manifest_expect("state_of", json_string("table"), "embed: tables"); // without arrays
	manifest_expect("tables", json_array(), "number of tables");
	manifest_expect("tables", json_pack("[{}, {}, {}]"), "embed: tables");
	manifest_expect("surprise", json_true(), "embed: ");
	manifest_expect("kind", json_string("train"), "kind: not embed");
	manifest_expect("format", json_integer(2), "embed");
}
