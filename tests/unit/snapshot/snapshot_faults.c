// SPDX-License-Identifier: BSD-3-Clause
//
// Every system call that writing, pruning or reading a snapshot makes fails once, at its n-th turn,
// for every n and several ways to fail: a snapshot is then written or an error is told, and what
// was there before loads. TAP.
//
// The functions below stand before those of the C library for this program and everything linked
// into it; lib/snapshot is linked as it is.
#include "chain.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum how { HOW_ERRNO, HOW_SHORT };

static struct {
	bool armed, stays; // every later one fails, too
	enum how how;
	int error;
	uint32_t turn, calls;
	const char *first; // the call that failed first
} fault;

static char dir[PATH_MAX];
static bool names_synced; // since the last rename

static bool fault_due(const char *call)
{
	if (!fault.armed)
		return false;
	fault.calls++;
	if (fault.calls != fault.turn && !(fault.stays && fault.calls > fault.turn))
		return false;
	errno = fault.error;
	if (fault.calls == fault.turn)
		fault.first = call;
	return true;
}

// The function of the C library that this one stands before.
#define NEXT(name) ((__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *data, size_t len)
{
	if (fault_due(__func__)) {
		if (fault.how == HOW_ERRNO || len < 2)
			return -1;
		len /= 2;
	}
	return NEXT(write)(fd, data, len);
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
	if (fault_due(__func__)) {
		if (fault.how == HOW_ERRNO || len < 2)
			return -1;
		len /= 2;
	}
	return NEXT(pwrite)(fd, data, len, at);
}

ssize_t pread(int fd, void *data, size_t len, off_t at)
{
	if (fault_due(__func__)) {
		if (fault.how == HOW_ERRNO || len < 2)
			return -1;
		len /= 2;
	}
	return NEXT(pread)(fd, data, len, at);
}

int fsync(int fd)
{
	struct stat this, at;
	if (fault_due(__func__))
		return -1;
	names_synced |= fstat(fd, &this) == 0 && stat(dir, &at) == 0 && this.st_ino == at.st_ino;
	return NEXT(fsync)(fd);
}

// A descriptor is gone whatever close says.
int close(int fd)
{
	bool due = fault_due(__func__);
	int error = errno, rc = NEXT(close)(fd);
	if (!due)
		return rc;
	errno = error;
	return -1;
}

int rename(const char *from, const char *to)
{
	names_synced = false;
	return fault_due(__func__) ? -1 : NEXT(rename)(from, to);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned int flags)
{
	names_synced = false;
	return fault_due(__func__) ? -1 : NEXT(renameat2)(from_dir, from, to_dir, to, flags);
}

int fallocate(int fd, int mode, off_t at, off_t len)
{
	return fault_due(__func__) ? -1 : NEXT(fallocate)(fd, mode, at, len);
}

int unlinkat(int at_dir, const char *name, int flags)
{
	return fault_due(__func__) ? -1 : NEXT(unlinkat)(at_dir, name, flags);
}

void *mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset)
{
	if (fd >= 0 && fault_due(__func__))
		return MAP_FAILED;
	return NEXT(mmap)(at, len, prot, flags, fd, offset);
}

int openat(int at_dir, const char *name, int flags, ...)
{
	va_list args;
	va_start(args, flags);
	mode_t mode = va_arg(args, mode_t);
	va_end(args);
	return fault_due(__func__) ? -1 : NEXT(openat)(at_dir, name, flags, mode);
}

// ---- the cases

static const struct {
	const char *name;
	enum how how;
	int error;
	bool stays;
} cases[] = {
	{"ENOSPC", HOW_ERRNO, ENOSPC, false},
	{"EIO", HOW_ERRNO, EIO, false},
	{"EINTR of reads and writes, once", HOW_ERRNO, EINTR, false},
	{"short, once", HOW_SHORT, EIO, false},
	{"short, then ENOSPC", HOW_SHORT, ENOSPC, true},
	{"ENOSPC from then on", HOW_ERRNO, ENOSPC, true},
	{"EIO from then on", HOW_ERRNO, EIO, true},
};

static uint32_t failures;

static void expect(bool ok, const char *about, size_t c, uint32_t turn)
{
	if (ok)
		return;
	failures++;
	printf("# %s: %s at call %u\n", about, cases[c].name, turn);
}

static void arm(size_t c, uint32_t turn)
{
	fault.how = cases[c].how;
	fault.error = cases[c].error;
	fault.stays = cases[c].stays;
	fault.turn = turn;
	fault.calls = 0;
	fault.first = "";
	fault.armed = true;
}

// False when the turn was not reached.
static bool disarm(void)
{
	fault.armed = false;
	return fault.calls >= fault.turn;
}

static uint32_t newest_step(void)
{
	struct gp_snapshot *snap;
	struct gp_snapshot_error err;
	if (gp_snapshot_latest(dir, SAMPLE_JOB, NULL, NULL, &snap, &err) != 0)
		return 0;
	uint32_t step = gp_snapshot_meta(snap)->step;
	bool same = chain_same(snap, step);
	gp_snapshot_close(snap);
	return same ? step : 0;
}

static void directory_reset(void)
{
	bool incremental;
	struct gp_snapshot_error err;
	sample_dir_remove(dir);
	if (mkdir(dir, 0700) != 0 || chain_try(dir, 1, 0, 0, &incremental, &err) != 0 ||
		chain_try(dir, 2, 1, 0, &incremental, &err) != 0)
		failures++;
}

// Whether a snapshot may not be called written after this call has failed.
static bool must_tell(size_t c)
{
	static const char *const calls[] = {"fsync", "rename", "renameat2", "fallocate", "write"};
	// What was interrupted, or written in part, is gone on with.
	bool resumed = cases[c].error == EINTR || (cases[c].how == HOW_SHORT && !cases[c].stays);
	for (size_t i = 0; i < GP_ARRAY_SIZE(calls); i++)
		if (strcmp(fault.first, calls[i]) == 0)
			return !(resumed && strcmp(calls[i], "write") == 0);
	return false;
}

// One more snapshot, incremental or compressed, and what is too old removed.
static bool write_case(size_t c, uint32_t turn, uint32_t level)
{
	bool incremental;
	struct gp_snapshot_error err = {0};
	directory_reset();
	arm(c, turn);
	int rc = chain_try(dir, 3, level ? 0 : 2, level, &incremental, &err);
	bool reached = disarm();
	expect(rc <= 0 && (rc == 0 || (err.code == rc && err.text[0])), "no error told", c, turn);
	expect(rc != 0 || !reached || !must_tell(c), "called written", c, turn);
	uint32_t newest = newest_step();
	// An error may leave the new one when even taking it away failed; never less than before.
	expect(newest == (rc == 0 ? 3 : 2) || (rc != 0 && cases[c].stays && newest == 3),
		"another snapshot is the newest", c, turn);
	expect(cases[c].error != EINTR || cases[c].how == HOW_SHORT || rc == 0 || rc == -EINTR,
		"interrupted", c, turn);
	expect(gp_snapshot_dir_prepare(dir, NULL, &err) == 0 && sample_stages(dir) == 0,
		"a stage stays", c, turn);
	expect(names_synced, "what a start finds may be gone after a loss of power", c, turn);
	return reached;
}

static bool prune_case(size_t c, uint32_t turn)
{
	bool incremental;
	struct gp_snapshot_error err = {0};
	directory_reset();
	if (chain_try(dir, 4, 0, 0, &incremental, &err) != 0 ||
		chain_try(dir, 5, 4, 3, &incremental, &err) != 0)
		failures++;
	arm(c, turn);
	int rc = gp_snapshot_prune(dir, SAMPLE_JOB, 5, 1, &err);
	bool reached = disarm();
	expect(rc == 0 || (err.code == rc && err.text[0]), "no error told", c, turn);
	expect(newest_step() == 5, "pruning took the newest or its base", c, turn);
	return reached;
}

static bool read_case(size_t c, uint32_t turn)
{
	struct gp_snapshot *snap;
	struct gp_snapshot_error err = {0};
	arm(c, turn);
	int rc = gp_snapshot_open(chain_path(dir, 5, NULL), &snap, &err);
	bool reached = disarm();
	expect(rc == 0 || (err.code == rc && err.text[0]), "no error told", c, turn);
	if (rc == 0) {
		expect(chain_same(snap, 5), "other values were read", c, turn);
		gp_snapshot_close(snap);
	}
	expect(newest_step() == 5, "reading changed something", c, turn);
	return reached;
}

// An older one is not taken for the newest because the disk could not be read.
static bool latest_case(size_t c, uint32_t turn)
{
	struct gp_snapshot *snap;
	struct gp_snapshot_error err = {0};
	arm(c, turn);
	int rc = gp_snapshot_latest(dir, SAMPLE_JOB, NULL, NULL, &snap, &err);
	bool reached = disarm();
	expect(rc == 0 || (err.code == rc && err.text[0]), "no error told", c, turn);
	if (rc != 0)
		return reached;
	expect(gp_snapshot_meta(snap)->step == 5, "an older one is the newest", c, turn);
	gp_snapshot_close(snap);
	return reached;
}

static bool reads_fail(size_t c)
{
	return cases[c].error == EIO && cases[c].how == HOW_ERRNO;
}

static uint32_t case_run(size_t c)
{
	uint32_t turns = 0;
	for (uint32_t level = 0; level <= 3; level += 3)
		for (uint32_t turn = 1; write_case(c, turn, level); turn++)
			turns++;
	for (uint32_t turn = 1; prune_case(c, turn); turn++)
		turns++;
	for (uint32_t turn = 1; read_case(c, turn); turn++)
		turns++;
	for (uint32_t turn = 1; reads_fail(c) && latest_case(c, turn); turn++)
		turns++;
	return turns;
}

// The name of a directory that a first start makes stands, too.
static bool made_case(void)
{
	char made[PATH_MAX + 8];
	struct gp_snapshot_error err;
	snprintf(made, sizeof(made), "%s/made", dir);
	names_synced = false;
	bool ok = gp_snapshot_dir_prepare(made, NULL, &err) == 0 && names_synced;
	names_synced = false;
	return ok && gp_snapshot_dir_prepare(made, NULL, &err) == 0 && !names_synced;
}

int main(void)
{
	uint32_t bad = 0;
	if (!sample_memory_dir(dir))
		return 1;
	fclose(stderr); // it warns at every turn
	printf("1..%zu\n", GP_ARRAY_SIZE(cases) + 1);
	for (size_t c = 0; c < GP_ARRAY_SIZE(cases); c++) {
		failures = 0;
		uint32_t turns = case_run(c);
		bool ok = failures == 0 && turns > 40;
		printf("%s %zu - %s, at each of %u calls\n", ok ? "ok" : "not ok", c + 1,
			cases[c].name, turns);
		bad += !ok;
	}
	bool made = made_case();
	printf("%s %zu - a directory that is made\n", made ? "ok" : "not ok",
		GP_ARRAY_SIZE(cases) + 1);
	bad += !made;
	sample_dir_remove(dir);
	return bad ? 1 : 0;
}
