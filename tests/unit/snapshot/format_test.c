// SPDX-License-Identifier: BSD-3-Clause
#include "chain.h"

#include <criterion/criterion.h>

#include <errno.h>
#include <stdio.h>
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

TestSuite(format, .init = setup, .fini = teardown);

Test(format, round_trip_keeps_every_value)
{
	struct sample s;
	char path[PATH_MAX];
	struct gp_snapshot *snap;
	struct gp_snapshot_error err;
	sample_init(&s, SAMPLE_JOB, 123, 5);
	cr_assert_eq(sample_write(dir, &s, path, &err), 0, "%s", err.text);
	cr_assert_str_eq(strrchr(path, '/'), "/run-1-0000000123");
	cr_assert_eq(gp_snapshot_open(path, &snap, &err), 0, "%s", err.text);
	cr_assert(sample_same(snap, &s));
	cr_assert_eq(strlen(gp_snapshot_created(snap)), 20u);
	cr_assert_eq(gp_snapshot_find(snap, "scale"), 2);
	cr_assert_eq(gp_snapshot_find(snap, "absent"), -ENOENT);
	cr_assert_eq((uintptr_t)gp_snapshot_data(snap, 0, 0) % 64, 0u);
	gp_snapshot_close(snap);
	cr_assert_eq(sample_stages(dir), 0u);
}

// What a snapshot without it is of is not known; so were all of the formats before.
Test(format, the_line_of_commits_is_kept)
{
	static const uint64_t lines[] = {0, 1, UINT64_C(0xfedcba9876543210)};
	for (size_t i = 0; i < GP_ARRAY_SIZE(lines); i++) {
		struct sample s;
		char path[PATH_MAX];
		struct gp_snapshot *snap;
		struct gp_snapshot_error err;
		sample_init(&s, SAMPLE_JOB, 7, 5);
		s.meta.history = lines[i];
		cr_assert_eq(sample_write(dir, &s, path, &err), 0, "%s", err.text);
		cr_assert_eq(gp_snapshot_open(path, &snap, &err), 0, "%s", err.text);
		cr_assert_eq(gp_snapshot_meta(snap)->history, lines[i]);
		cr_assert(sample_same(snap, &s));
		gp_snapshot_close(snap);
	}
}

// The bytes do not depend on how the elements were cut.
Test(format, pieces_of_any_size_make_the_same_files)
{
	const uint64_t pieces[] = {1, 3, 65536, 65537, 200000};
	const struct gp_snapshot_seal seal = {.digest = 1};
	uint64_t expected = 0;
	for (size_t i = 0; i < GP_ARRAY_SIZE(pieces); i++) {
		struct sample s;
		char path[PATH_MAX];
		struct gp_snapshot *snap;
		struct gp_snapshot_writer *w;
		struct gp_snapshot_error err;
		sample_init(&s, SAMPLE_JOB, 9, 20000);
		cr_assert_eq(gp_snapshot_begin(&s.meta, NULL, dir, &w, &err), 0, "%s", err.text);
		cr_assert_eq(sample_append(w, &s, pieces[i], &err), 0, "%s", err.text);
		cr_assert_eq(gp_snapshot_finish(w, &seal, path, &err), 0, "%s", err.text);
		cr_assert_eq(gp_snapshot_open(path, &snap, &err), 0, "%s", err.text);
		uint64_t xxh3 = gp_snapshot_file(snap, 1)->xxh3;
		cr_assert(i == 0 || xxh3 == expected);
		expected = xxh3;
		gp_snapshot_close(snap);
	}
}

Test(format, too_many_or_too_few_elements_are_refused)
{
	struct sample s;
	struct gp_snapshot_writer *w;
	struct gp_snapshot_error err;
	const struct gp_snapshot_seal seal = {0};
	float zero[64] = {0};
	sample_init(&s, SAMPLE_JOB, 1, 5);
	cr_assert_eq(gp_snapshot_begin(&s.meta, NULL, dir, &w, &err), 0);
	cr_assert_eq(gp_snapshot_append(w, 0, zero, 44, &err), -EINVAL);
	cr_assert_eq(gp_snapshot_finish(w, &seal, NULL, &err), -EINVAL);
	cr_assert_eq(gp_snapshot_begin(&s.meta, NULL, dir, &w, &err), 0);
	cr_assert_eq(gp_snapshot_append(w, 0, zero, 43, &err), 0);
	cr_assert_eq(gp_snapshot_append(w, 1, zero, 42, &err), 0);
	cr_assert_eq(gp_snapshot_finish(w, &seal, NULL, &err), -EINVAL);
	cr_assert_not_null(strstr(err.text, "state-momentum.safetensors: 1 elements are missing"));
	cr_assert_eq(rmdir(dir), 0, "nothing of them stays");
}

static int begin_with(struct sample *s, struct gp_snapshot_error *err)
{
	struct gp_snapshot_writer *w;
	int rc = gp_snapshot_begin(&s->meta, NULL, dir, &w, err);
	if (rc == 0)
		gp_snapshot_abort(w);
	return rc;
}

Test(format, what_cannot_be_a_snapshot_is_refused_by_name)
{
	static const char *const jobs[] = {"", ".", "..", "a/b", ".hidden", "-x", "a b"};
	struct gp_snapshot_error err;
	struct sample s;
	for (size_t i = 0; i < GP_ARRAY_SIZE(jobs); i++) {
		sample_init(&s, jobs[i], 1, 5);
		cr_assert_eq(begin_with(&s, &err), -EINVAL, "%s", jobs[i]);
		cr_assert_not_null(strstr(err.text, "job"));
	}
	sample_init(&s, SAMPLE_JOB, 1, 5);
	s.tensors[0].elements++;
	cr_assert_eq(begin_with(&s, &err), -EINVAL);
	cr_assert_not_null(strstr(err.text, "fc1.weight"));
	sample_init(&s, SAMPLE_JOB, 1, 5);
	s.tensors[1].name = "scale";
	cr_assert_eq(begin_with(&s, &err), -EINVAL);
	cr_assert_not_null(strstr(err.text, "scale: twice"));
	s.tensors[1].name = "__metadata__";
	cr_assert_eq(begin_with(&s, &err), -EINVAL);
	s.tensors[1].name = "\xff";
	cr_assert_eq(begin_with(&s, &err), -EINVAL);
	cr_assert_not_null(strstr(err.text, "UTF-8"));
	sample_init(&s, SAMPLE_JOB, 1, UINT64_C(1) << 62);
	cr_assert_eq(begin_with(&s, &err), -EINVAL);
	sample_init(&s, SAMPLE_JOB, 1, 5);
	s.states[0] = "../x";
	cr_assert_eq(begin_with(&s, &err), -EINVAL);
	cr_assert_not_null(strstr(err.text, "optimizer array 0"));
	sample_init(&s, SAMPLE_JOB, 1, 5);
	cr_assert_eq(begin_with(&s, &err), 0, "%s", err.text);
}

static int python_reads(const char *path, const char *step, const char *kind)
{
	pid_t pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0) {
		execl("/usr/bin/python3", "python3", READ_SNAPSHOT, path, step, kind, NULL);
		_exit(127);
	}
	int status;
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool python_is_there(void)
{
	return system("/usr/bin/python3 -c 'import numpy, xxhash' 2>/dev/null") == 0;
}

Test(format, an_independent_reader_agrees)
{
	struct sample s;
	char path[PATH_MAX];
	struct gp_snapshot_error err;
	if (!python_is_there())
		cr_skip_test("python3-numpy or python3-xxhash is not installed");
	sample_init(&s, SAMPLE_JOB, 77, 31);
	cr_assert_eq(sample_write(dir, &s, path, &err), 0, "%s", err.text);
	cr_assert_eq(python_reads(path, "77", NULL), 0);
	cr_assert_eq(python_reads(path, "78", NULL), 1, "it must be able to fail");
}

Test(format, an_independent_reader_agrees_on_chains)
{
	if (!python_is_there() || system("zstd --version >/dev/null 2>&1") != 0)
		cr_skip_test("python3-numpy, python3-xxhash or zstd is not installed");
	chain_write(dir, 1, 0, 3);
	for (uint32_t step = 2; step <= 9; step++)
		cr_assert(chain_write(dir, step, step - 1, step % 2 * 5));
	cr_assert_eq(python_reads(chain_path(dir, 9, NULL), "9", "chain"), 0);
	cr_assert_eq(python_reads(chain_path(dir, 8, NULL), "8", "chain"), 0);
	cr_assert_eq(python_reads(chain_path(dir, 8, NULL), "9", "chain"), 1);
	chain_write(dir, 7, 0, 0);
	cr_assert_eq(python_reads(chain_path(dir, 8, NULL), "8", "chain"), 1, "a broken chain");
}
