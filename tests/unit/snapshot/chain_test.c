// SPDX-License-Identifier: BSD-3-Clause
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
	sample_dir(dir);
}

static void teardown(void)
{
	sample_dir_remove(dir);
}

TestSuite(chain, .init = setup, .fini = teardown);

static struct gp_snapshot *opened(uint32_t step)
{
	struct gp_snapshot *snap;
	struct gp_snapshot_error err = {0};
	cr_assert_eq(gp_snapshot_open(chain_path(dir, step, NULL), &snap, &err), 0, "%s", err.text);
	cr_assert(chain_same(snap, step), "step %u", step);
	return snap;
}

static void expect_opens(uint32_t step, uint32_t depth)
{
	struct gp_snapshot *snap = opened(step);
	cr_assert_eq(gp_snapshot_form(snap)->depth, depth, "step %u: depth %u", step,
		gp_snapshot_form(snap)->depth);
	gp_snapshot_close(snap);
}

static void expect_refused(uint32_t step, int code, const char *why)
{
	struct gp_snapshot *snap;
	struct gp_snapshot_error err = {0};
	cr_assert_eq(gp_snapshot_open(chain_path(dir, step, NULL), &snap, &err), code);
	cr_assert_not_null(strstr(err.text, why), "%s: %s", why, err.text);
	cr_assert_eq(gp_snapshot_prove(chain_path(dir, step, NULL), &snap, &err), code);
}

static uint64_t size_of(uint32_t step)
{
	struct gp_snapshot_info info;
	struct gp_snapshot_error err;
	cr_assert_eq(gp_snapshot_peek(chain_path(dir, step, NULL), &info, &err), 0, "%s", err.text);
	cr_assert_eq(info.step, step);
	return info.size;
}

static void remove_step(uint32_t step)
{
	struct gp_snapshot_error err;
	cr_assert_eq(snapshot_remove(chain_path(dir, step, NULL), &err), 0, "%s", err.text);
}

static void history_check(uint32_t level)
{
	uint32_t depth = 0, incremental = 0;
	chain_write(dir, 1, 0, level);
	for (uint32_t step = 2; step <= 40; step++) {
		bool chained = chain_write(dir, step, step - 1, level);
		depth = chained ? depth + 1 : 0;
		incremental += chained;
		expect_opens(step, depth);
		// At 24 and 36 four of seven periods end: a full one costs less.
		cr_assert_eq(chained, step != 24 && step != 36, "step %u", step);
	}
	cr_assert_eq(incremental, 37);
	for (uint32_t step = 1; step <= 40; step++)
		gp_snapshot_close(opened(step));
	cr_assert_eq(sample_stages(dir), 0u);
}

Test(chain, every_step_of_a_history_opens)
{
	history_check(0);
}

Test(chain, every_step_of_a_compressed_history_opens)
{
	history_check(3);
}

Test(chain, links_of_both_kinds_join)
{
	chain_write(dir, 1, 0, 0);
	cr_assert(chain_write(dir, 2, 1, 3));
	cr_assert(chain_write(dir, 3, 2, 0));
	cr_assert(chain_write(dir, 4, 3, 19));
	expect_opens(4, 3);
}

Test(chain, only_changed_blocks_cost_room)
{
	chain_write(dir, 24, 0, 0);
	cr_assert(chain_write(dir, 25, 24, 0)); // 25 changes every fifth only
	cr_assert(chain_write(dir, 27, 25, 0));
	cr_assert_not(chain_write(dir, 36, 27, 0));
	struct gp_snapshot *snap = opened(25);
	cr_assert_eq(gp_snapshot_form(snap)->blocks_count, 29u);
	cr_assert_eq(gp_snapshot_form(snap)->present_count, 4u);
	gp_snapshot_close(snap);
	cr_assert_lt(size_of(25), size_of(24));
	// Where all has changed an incremental snapshot is a full one, to the byte but for the
	// step.
	uint64_t chained = size_of(36);
	chain_write(dir, 36, 0, 0);
	cr_assert_eq(size_of(36), chained);
}

// Parameters stay, one value of the momentum does not.
Test(chain, a_block_whose_optimizer_state_alone_changed_is_written)
{
	const struct gp_snapshot_seal seal = {.digest = 2};
	static float values[2][CHAIN_ROWS * 7 + 8];
	struct sample s;
	struct gp_snapshot *snap;
	struct gp_snapshot_writer *w;
	struct gp_snapshot_error err;
	struct gp_snapshot_opts opts = {0};
	chain_write(dir, 1, 0, 0);
	sample_init(&s, SAMPLE_JOB, 2, CHAIN_ROWS);
	for (uint32_t file = 0; file < 2; file++)
		for (uint64_t e = 0; e < s.elements; e++)
			values[file][e] = chain_value(file, e, 1);
	values[1][100] = -1;
	cr_assert_eq(
		gp_snapshot_delta_open(&s.meta, dir, "run-1-0000000001", &opts.delta, &err), 0);
	for (uint32_t file = 0; file < 2; file++)
		cr_assert(gp_snapshot_delta_feed(opts.delta, file, values[file], s.elements));
	cr_assert_eq(gp_snapshot_begin(&s.meta, &opts, dir, &w, &err), 0, "%s", err.text);
	for (uint32_t file = 0; file < 2; file++)
		cr_assert_eq(gp_snapshot_append(w, file, values[file], s.elements, &err), 0);
	cr_assert_eq(gp_snapshot_finish(w, &seal, NULL, &err), 0, "%s", err.text);
	gp_snapshot_delta_close(opts.delta);
	cr_assert_eq(gp_snapshot_open(chain_path(dir, 2, NULL), &snap, &err), 0, "%s", err.text);
	cr_assert_eq(gp_snapshot_form(snap)->present_count, 1u);
	cr_assert_arr_eq(gp_snapshot_data(snap, 0, 0), values[0], CHAIN_ROWS * 7 * sizeof(float));
	cr_assert_arr_eq(gp_snapshot_data(snap, 1, 0), values[1], CHAIN_ROWS * 7 * sizeof(float));
	gp_snapshot_close(snap);
}

Test(chain, nothing_changed_is_almost_nothing)
{
	chain_write(dir, 10, 0, 0);
	chain_write(dir, 11, 10, 0); // no period ends at 11
	struct gp_snapshot *snap = opened(11);
	cr_assert_eq(gp_snapshot_form(snap)->present_count, 0u);
	gp_snapshot_close(snap);
	cr_assert(chain_write(dir, 13, 11, 3));
	expect_opens(13, 2);
}

Test(chain, a_broken_one_is_refused_by_name_and_the_one_before_used)
{
	struct gp_snapshot *snap;
	struct gp_snapshot_error err;
	chain_write(dir, 1, 0, 0);
	for (uint32_t step = 2; step <= 5; step++)
		chain_write(dir, step, step - 1, 0);
	remove_step(3);
	expect_refused(5, -EBADMSG, "broken chain");
	expect_refused(5, -EBADMSG, "run-1-0000000003: cannot be opened");
	expect_refused(4, -EBADMSG, "broken chain");
	cr_assert_eq(gp_snapshot_latest(dir, SAMPLE_JOB, NULL, NULL, &snap, &err), 0);
	cr_assert(chain_same(snap, 2));
	gp_snapshot_close(snap);
	// Another snapshot under the name of the missing one.
	chain_write(dir, 3, 0, 0);
	expect_refused(4, -EBADMSG, "another one of that name");
	expect_opens(3, 0);
}

static void flip(uint32_t step, const char *file, off_t at)
{
	char byte;
	int fd = open(chain_path(dir, step, file), O_RDWR);
	cr_assert_geq(fd, 0, "%s", file);
	cr_assert_eq(pread(fd, &byte, 1, at), 1);
	byte ^= 0x10;
	cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

Test(chain, damage_below_is_named_with_file_block_and_tensor)
{
	chain_write(dir, 2, 0, 0);
	chain_write(dir, 3, 2, 0);
	flip(2, "state-momentum.safetensors", 320 + 16 * 4 * 3);
	expect_refused(3, -EBADMSG, "broken chain");
	expect_refused(3, -EBADMSG, "run-1-0000000002/state-momentum.safetensors: block ");
	expect_refused(2, -EBADMSG, "(tensor fc1.weight, elements ");
	flip(2, "state-momentum.safetensors", 320 + 16 * 4 * 3);
	expect_opens(3, 1);
	flip(3, "params.changed.safetensors", 128 + 4);
	expect_refused(3, -EBADMSG,
		"params.changed.safetensors: block 0 (tensor fc1.weight, elements 0..15) is "
		"damaged");
}

Test(chain, a_frame_that_is_damaged_is_named)
{
	chain_write(dir, 1, 0, 3);
	uint64_t size = 0;
	struct stat st;
	cr_assert_eq(stat(chain_path(dir, 1, "params.safetensors.zst"), &st), 0);
	size = (uint64_t)st.st_size;
	for (uint64_t at = 0; at < size; at++) {
		flip(1, "params.safetensors.zst", (off_t)at);
		expect_refused(1, -EBADMSG, "params.safetensors.zst: ");
		flip(1, "params.safetensors.zst", (off_t)at);
	}
	expect_opens(1, 0);
}

Test(chain, keep_never_removes_what_a_kept_one_needs)
{
	struct gp_snapshot_list list;
	struct gp_snapshot_error err;
	chain_write(dir, 1, 0, 0);
	for (uint32_t step = 2; step <= 9; step++) {
		chain_write(dir, step, step == 5 ? 0 : step - 1, 0);
		cr_assert_eq(gp_snapshot_prune(dir, SAMPLE_JOB, step, 2, &err), 0, "%s", err.text);
		expect_opens(step, step < 5 ? step - 1 : step - 5);
		if (step > 1)
			gp_snapshot_close(opened(step - 1));
	}
	cr_assert_eq(gp_snapshot_list(dir, SAMPLE_JOB, &list, &err), 0);
	cr_assert_eq(list.count, 5, "5 to 9, because 8 and 9 build on them");
	gp_snapshot_list_free(&list);
	chain_write(dir, 10, 0, 0);
	chain_write(dir, 11, 10, 0);
	cr_assert_eq(gp_snapshot_prune(dir, SAMPLE_JOB, 11, 2, &err), 0, "%s", err.text);
	cr_assert_eq(gp_snapshot_list(dir, SAMPLE_JOB, &list, &err), 0);
	cr_assert_eq(list.count, 2);
	gp_snapshot_list_free(&list);
}

Test(chain, keep_removes_nothing_while_a_manifest_cannot_be_read)
{
	struct gp_snapshot_list list;
	struct gp_snapshot_error err;
	chain_write(dir, 1, 0, 0);
	for (uint32_t step = 2; step <= 4; step++)
		chain_write(dir, step, step - 1, 0);
	flip(3, "manifest.json", 40);
	cr_assert_eq(gp_snapshot_prune(dir, SAMPLE_JOB, 4, 2, &err), -EBADMSG);
	cr_assert_not_null(strstr(err.text, "run-1-0000000003"));
	cr_assert_eq(gp_snapshot_list(dir, SAMPLE_JOB, &list, &err), 0);
	cr_assert_eq(list.count, 4);
	gp_snapshot_list_free(&list);
}

Test(chain, bases_that_do_not_fit_are_refused)
{
	struct sample s;
	struct gp_snapshot_delta *d;
	struct gp_snapshot_writer *w;
	struct gp_snapshot_error err;
	chain_write(dir, 1, 0, 0);
	sample_init(&s, SAMPLE_JOB, 2, CHAIN_ROWS + 1);
	cr_assert_eq(gp_snapshot_delta_open(&s.meta, dir, "run-1-0000000001", &d, &err), -EINVAL);
	sample_init(&s, "other", 2, CHAIN_ROWS);
	cr_assert_eq(gp_snapshot_delta_open(&s.meta, dir, "run-1-0000000001", &d, &err), -EINVAL);
	sample_init(&s, SAMPLE_JOB, 2, CHAIN_ROWS);
	cr_assert_eq(gp_snapshot_delta_open(&s.meta, dir, "run-1-0000000007", &d, &err), -ENOENT);
	cr_assert_eq(gp_snapshot_delta_open(&s.meta, dir, "../x", &d, &err), -EINVAL);
	cr_assert_eq(gp_snapshot_delta_open(&s.meta, dir, "run-1-0000000001", &d, &err), 0);
	const struct gp_snapshot_opts opts = {.delta = d};
	cr_assert_eq(gp_snapshot_begin(&s.meta, &opts, dir, &w, &err), -EINVAL);
	cr_assert_not_null(strstr(err.text, "not compared to its end"));
	gp_snapshot_delta_close(d);
	const struct gp_snapshot_opts deep = {.level = 99};
	cr_assert_eq(gp_snapshot_begin(&s.meta, &deep, dir, &w, &err), -EINVAL);
}

// What a release before wrote: no blocks.safetensors and fewer keys.
static void make_format_1(uint32_t step)
{
	static const char *const keys[] = {
		"content", "compression", "depth", "base", "blocks", "index", "checksum"};
	uint64_t checksum;
	char hex[17];
	json_t *root = json_load_file(chain_path(dir, step, "manifest.json"), 0, NULL);
	cr_assert_not_null(root);
	for (size_t i = 0; i < GP_ARRAY_SIZE(keys); i++)
		cr_assert_eq(json_object_del(root, keys[i]), 0);
	json_object_set_new(root, "format", json_integer(1));
	cr_assert_eq(manifest_checksum(root, &checksum), 0);
	snprintf(hex, sizeof(hex), "%016llx", (unsigned long long)checksum);
	json_object_set_new(root, "checksum", json_string(hex));
	cr_assert_eq(json_dump_file(root, chain_path(dir, step, "manifest.json"), 0), 0);
	json_decref(root);
	cr_assert_eq(unlink(chain_path(dir, step, "blocks.safetensors")), 0);
}

Test(chain, the_format_before_is_still_read)
{
	bool incremental;
	struct gp_snapshot_error err;
	chain_write(dir, 1, 0, 0);
	make_format_1(1);
	expect_opens(1, 0);
	cr_assert_eq(chain_try(dir, 2, 1, 0, &incremental, &err), -EINVAL);
	cr_assert_not_null(strstr(err.text, "format 1"));
	flip(1, "params.safetensors", 400);
	expect_refused(1, -EBADMSG, "params.safetensors: xxh3");
}

Test(chain, rewind_sets_later_ones_aside)
{
	struct gp_snapshot *snap;
	struct gp_snapshot_error err;
	uint32_t count;
	for (uint32_t turn = 0; turn < 2; turn++) {
		chain_write(dir, 1, 0, 0);
		for (uint32_t step = 2; step <= 5; step++)
			chain_write(dir, step, step - 1, 0);
		cr_assert_eq(
			gp_snapshot_rewind(dir, SAMPLE_JOB, 3, &count, &err), 0, "%s", err.text);
		cr_assert_eq(count, 2u);
		cr_assert_eq(gp_snapshot_latest(dir, SAMPLE_JOB, NULL, NULL, &snap, &err), 0);
		cr_assert(chain_same(snap, 3));
		gp_snapshot_close(snap);
	}
	cr_assert_eq(access(chain_path(dir, 5, NULL), F_OK), -1);
	char aside[PATH_MAX];
	snprintf(aside, sizeof(aside), "%s.aside1", chain_path(dir, 5, NULL));
	cr_assert_eq(access(aside, F_OK), 0);
}

Test(chain, a_directory_is_shared_or_held_alone)
{
	struct gp_snapshot_error err;
	int a, b, c;
	cr_assert_eq(gp_snapshot_dir_lock(dir, false, &a, &err), 0);
	cr_assert_eq(gp_snapshot_dir_lock(dir, false, &b, &err), 0);
	cr_assert_eq(gp_snapshot_dir_lock(dir, true, &c, &err), -EBUSY);
	cr_assert_not_null(strstr(err.text, "gradctl stop"));
	close(a);
	close(b);
	cr_assert_eq(gp_snapshot_dir_lock(dir, true, &c, &err), 0);
	cr_assert_eq(gp_snapshot_dir_lock(dir, false, &a, &err), -EBUSY);
	close(c);
	cr_assert_eq(gp_snapshot_dir_lock("/nowhere", true, &c, &err), -ENOENT);
}
