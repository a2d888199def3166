// SPDX-License-Identifier: BSD-3-Clause
#include "sample.h"

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
	sample_dir(dir);
}

static void teardown(void)
{
	sample_dir_remove(dir);
}

TestSuite(dir, .init = setup, .fini = teardown);

static void put(const char *job, uint32_t step)
{
	struct sample s;
	struct gp_snapshot_error err;
	sample_init(&s, job, step, 5);
	cr_assert_eq(sample_write(dir, &s, NULL, &err), 0, "%s", err.text);
}

static void expect_steps(const char *job, const uint32_t *steps, uint32_t count)
{
	struct gp_snapshot_list list;
	struct gp_snapshot_error err;
	cr_assert_eq(gp_snapshot_list(dir, job, &list, &err), 0, "%s", err.text);
	cr_assert_eq(list.count, count, "%u", list.count);
	for (uint32_t i = 0; i < count; i++)
		cr_assert_eq(list.entries[i].step, steps[i]);
	gp_snapshot_list_free(&list);
}

Test(dir, names_are_taken_apart_or_refused)
{
	static const char *const wrong[] = {"", "a", "a-1", "-0000000001", ".a-0000000001",
		"a-4294967296", "a_0000000001", "a-000000000x", "../-0000000001",
		"0123456789012345678901234567890123456789012345678901234567890123-0000000001"};
	struct gp_snapshot_entry e;
	cr_assert(gp_snapshot_name_parse("a-b-4294967295", &e));
	cr_assert_str_eq(e.job, "a-b");
	cr_assert_eq(e.step, UINT32_MAX);
	for (size_t i = 0; i < GP_ARRAY_SIZE(wrong); i++)
		cr_assert_not(gp_snapshot_name_parse(wrong[i], &e), "%s", wrong[i]);
}

Test(dir, lists_newest_first_also_where_steps_wrap)
{
	put("a", UINT32_MAX - 1);
	put("a", 3);
	put("a", UINT32_MAX);
	put("b", 2);
	expect_steps("a", (const uint32_t[]){3, UINT32_MAX, UINT32_MAX - 1}, 3);
	expect_steps(NULL, (const uint32_t[]){3, 2, UINT32_MAX, UINT32_MAX - 1}, 4);
	expect_steps("c", NULL, 0);
}

Test(dir, prunes_only_the_job_and_only_what_is_older)
{
	struct gp_snapshot_error err;
	for (uint32_t step = 1; step <= 5; step++)
		put("a", step);
	put("b", 1);
	cr_assert_eq(gp_snapshot_prune(dir, "a", 4, 2, &err), 0, "%s", err.text);
	expect_steps("a", (const uint32_t[]){5, 4, 3}, 3);
	expect_steps("b", (const uint32_t[]){1}, 1);
	cr_assert_eq(sample_stages(dir), 0u);
}

Test(dir, the_same_step_again_replaces)
{
	struct sample s;
	struct gp_snapshot *snap;
	struct gp_snapshot_error err;
	put("a", 7);
	sample_init(&s, "a", 7, 11);
	cr_assert_eq(sample_write(dir, &s, NULL, &err), 0, "%s", err.text);
	cr_assert_eq(gp_snapshot_latest(dir, "a", NULL, NULL, &snap, &err), 0, "%s", err.text);
	cr_assert(sample_same(snap, &s));
	gp_snapshot_close(snap);
	cr_assert_eq(sample_stages(dir), 0u);
}

struct refusals {
	uint32_t count;
	char why[4][GP_SNAPSHOT_ERROR_SIZE];
};

static void refused(void *arg, const char *path, const char *why)
{
	struct refusals *r = arg;
	cr_assert_not_null(path);
	if (r->count < GP_ARRAY_SIZE(r->why))
		snprintf(r->why[r->count], sizeof(r->why[0]), "%s", why);
	r->count++;
}

static void spoil(const char *name)
{
	char path[PATH_MAX + 128];
	snprintf(path, sizeof(path), "%s/%s/params.safetensors", dir, name);
	cr_assert_eq(truncate(path, 100), 0);
}

Test(dir, latest_falls_back_and_says_why)
{
	struct gp_snapshot *snap;
	struct gp_snapshot_error err;
	struct refusals r = {0};
	char from[PATH_MAX + 64], to[PATH_MAX + 64];
	put("a", 1);
	put("a", 2);
	put("a", 3);
	put("b", 9);
	spoil("a-0000000003");
	// Another job's snapshot under our name, a later one than all.
	snprintf(from, sizeof(from), "%s/b-0000000009", dir);
	snprintf(to, sizeof(to), "%s/a-0000000009", dir);
	cr_assert_eq(rename(from, to), 0);
	cr_assert_eq(gp_snapshot_latest(dir, "a", refused, &r, &snap, &err), 0, "%s", err.text);
	cr_assert_eq(gp_snapshot_meta(snap)->step, 2u);
	gp_snapshot_close(snap);
	cr_assert_eq(r.count, 2u);
	cr_assert_not_null(strstr(r.why[0], "is of job b step 9"), "%s", r.why[0]);
	cr_assert_not_null(strstr(r.why[1], "params.safetensors: 100 bytes"), "%s", r.why[1]);
	spoil("a-0000000002");
	spoil("a-0000000001");
	cr_assert_eq(gp_snapshot_latest(dir, "a", refused, &r, &snap, &err), -ENOENT);
	cr_assert_not_null(strstr(err.text, "that verifies"));
}

Test(dir, stages_of_the_dead_go_and_of_the_living_stay)
{
	struct gp_snapshot_stage *stage;
	struct gp_snapshot_error err;
	char path[PATH_MAX + 64];
	uint32_t removed = 99;
	snprintf(path, sizeof(path), "%s/.tmp-dead01", dir);
	cr_assert_eq(mkdir(path, 0755), 0);
	strcat(path, "/params.safetensors");
	cr_assert_eq(close(creat(path, 0644)), 0);
	cr_assert_eq(gp_snapshot_stage_create(dir, &stage, &err), 0, "%s", err.text);
	cr_assert_eq(gp_snapshot_dir_prepare(dir, &removed, &err), 0, "%s", err.text);
	cr_assert_eq(removed, 1u);
	cr_assert_eq(sample_stages(dir), 1u);
	gp_snapshot_stage_drop(stage);
	cr_assert_eq(sample_stages(dir), 0u);
}

Test(dir, prepare_makes_the_last_part_and_names_what_is_missing)
{
	struct gp_snapshot_error err;
	char path[PATH_MAX + 64];
	snprintf(path, sizeof(path), "%s/new", dir);
	cr_assert_eq(gp_snapshot_dir_prepare(path, NULL, &err), 0, "%s", err.text);
	cr_assert_eq(rmdir(path), 0);
	snprintf(path, sizeof(path), "%s/no/such", dir);
	cr_assert_eq(gp_snapshot_dir_prepare(path, NULL, &err), -ENOENT);
	cr_assert_not_null(strstr(err.text, path));
	cr_assert_not_null(strstr(err.text, "create the directory"));
	snprintf(path, sizeof(path), "%s/file", dir);
	cr_assert_eq(close(creat(path, 0644)), 0);
	cr_assert_eq(gp_snapshot_dir_prepare(path, NULL, &err), -ENOTDIR);
}
