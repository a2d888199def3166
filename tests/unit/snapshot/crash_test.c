// SPDX-License-Identifier: BSD-3-Clause
#include "sample.h"

#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
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

TestSuite(crash, .init = setup, .fini = teardown, .timeout = 60);

#define WRITER_ROWS 300

// Writes snapshot after snapshot until it is killed; tells each piece ('.') and each finished
// snapshot ('F') through the pipe.
static _Noreturn void writer_run(int out, uint32_t step)
{
	const struct gp_snapshot_seal seal = {0};
	for (;; step++) {
		struct sample s;
		struct gp_snapshot_writer *w;
		struct gp_snapshot_error err;
		sample_init(&s, SAMPLE_JOB, step, WRITER_ROWS);
		if (gp_snapshot_begin(&s.meta, NULL, dir, &w, &err) != 0 ||
			write(out, ".", 1) != 1 || sample_append(w, &s, 100, &err) != 0 ||
			write(out, ".", 1) != 1 || gp_snapshot_finish(w, &seal, NULL, &err) != 0 ||
			write(out, "F", 1) != 1 ||
			gp_snapshot_prune(dir, SAMPLE_JOB, step, 2, &err) != 0)
			_exit(1);
	}
}

// Kills a writer after `events` of its marks; returns how many snapshots it had finished by then.
static uint32_t writer_kill(uint32_t first_step, uint32_t events)
{
	int pipe_fds[2];
	uint32_t finished = 0;
	cr_assert_eq(pipe(pipe_fds), 0);
	pid_t pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0)
		writer_run(pipe_fds[1], first_step);
	for (uint32_t i = 0; i < events; i++) {
		char mark;
		cr_assert_eq(read(pipe_fds[0], &mark, 1), 1, "the writer failed");
		finished += mark == 'F';
	}
	cr_assert_eq(kill(pid, SIGKILL), 0);
	int status;
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFSIGNALED(status));
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	return finished;
}

static bool values_right(const struct gp_snapshot *snap)
{
	uint32_t step = gp_snapshot_meta(snap)->step;
	for (uint32_t file = 0; file < 2; file++)
		for (uint64_t i = 0; i < WRITER_ROWS * 7; i++)
			if (gp_snapshot_data(snap, file, 0)[i] != sample_value(file, i, step))
				return false;
	return true;
}

static void never_refused(void *arg, const char *path, const char *why)
{
	(void)arg;
	cr_assert_fail("%s: %s", path, why);
}

Test(crash, a_killed_writer_leaves_its_last_complete_snapshot)
{
	unsigned int seed = 12345;
	uint32_t step = 1, stages = 0;
	for (int i = 0; i < 50; i++) {
		struct gp_snapshot *snap;
		struct gp_snapshot_error err;
		uint32_t finished = writer_kill(step, 1 + (uint32_t)rand_r(&seed) % 8);
		stages += sample_stages(dir);
		cr_assert_eq(gp_snapshot_dir_prepare(dir, NULL, &err), 0, "%s", err.text);
		cr_assert_eq(sample_stages(dir), 0u);
		int rc = gp_snapshot_latest(dir, SAMPLE_JOB, never_refused, NULL, &snap, &err);
		if (rc != 0) {
			cr_assert(rc == -ENOENT && step == 1 && finished == 0, "%s", err.text);
			continue;
		}
		cr_assert_geq(gp_snapshot_meta(snap)->step, step + finished - 1);
		cr_assert(values_right(snap));
		step = gp_snapshot_meta(snap)->step + 1;
		gp_snapshot_close(snap);
	}
	cr_assert_gt(stages, 10u, "too few were killed while they wrote");
}

static uint64_t bytes_free(void)
{
	struct statvfs fs;
	cr_assert_eq(statvfs(dir, &fs), 0);
	return (uint64_t)fs.f_bavail * fs.f_frsize;
}

// One snapshot on a disk that has only `pages` free: it is there, or nothing of it is.
static int write_with_room(uint64_t pages)
{
	char filler[PATH_MAX + 64];
	struct sample s;
	struct gp_snapshot *snap;
	struct gp_snapshot_error err;
	sample_init(&s, SAMPLE_JOB, 1, 1000);
	snprintf(filler, sizeof(filler), "%s/filler", dir);
	int fd = open(filler, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	cr_assert_geq(fd, 0);
	cr_assert_eq(posix_fallocate(fd, 0, (off_t)(bytes_free() - pages * 4096)), 0);
	close(fd);
	int rc = sample_write(dir, &s, NULL, &err);
	cr_assert_eq(sample_stages(dir), 0u);
	int latest = gp_snapshot_latest(dir, SAMPLE_JOB, never_refused, NULL, &snap, &err);
	cr_assert_eq(latest, rc == 0 ? 0 : -ENOENT);
	if (rc == 0)
		gp_snapshot_close(snap);
	unlink(filler);
	return rc;
}

Test(crash, a_full_disk_is_named_and_leaves_nothing)
{
	struct sample s;
	struct gp_snapshot_error err;
	// In a mount namespace of this process: it goes with it, whatever happens.
	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
		mount("tmpfs", dir, "tmpfs", 0, "size=256k") != 0)
		cr_skip_test("mounting a small tmpfs needs root: %s", strerror(errno));
	sample_init(&s, SAMPLE_JOB, 1, 100000);
	cr_expect_eq(sample_write(dir, &s, NULL, &err), -ENOSPC);
	cr_expect_not_null(strstr(err.text, dir), "%s", err.text);
	cr_expect_not_null(strstr(err.text, "it needs 56"), "%s", err.text);
	cr_expect_not_null(strstr(err.text, "were free; free space there"), "%s", err.text);
	// 7 pages a file and one for the manifest: every place where the disk can be full.
	for (uint64_t pages = 1; pages < 15; pages++)
		cr_expect_eq(
			write_with_room(pages), -ENOSPC, "%llu pages", (unsigned long long)pages);
	cr_expect_eq(write_with_room(20), 0);
	cr_expect_eq(umount(dir), 0);
}
