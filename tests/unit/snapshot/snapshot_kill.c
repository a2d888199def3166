// SPDX-License-Identifier: BSD-3-Clause
//
// A writer of snapshots is killed (SIGKILL) at random moments: the last snapshot that it had
// finished, or a later one, always loads. TAP.
//
// snapshot_kill [KILLS [SEED]]
#include "chain.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KILLS_DEFAULT 200
#define TRIES_MAX     8 // times as many kills
#define KEEP	      2

// Shared with the writer.
struct progress {
	_Atomic uint32_t finished; // the newest step that gp_snapshot_finish reported
	_Atomic bool ready;
};

static char dir[PATH_MAX];

static uint64_t now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static _Noreturn void bail(const char *what, const char *why)
{
	printf("Bail out! %s: %s\n", what, why);
	exit(1);
}

// Full and incremental, plain and compressed ones in turn, and what is too old is removed.
static _Noreturn void writer_run(struct progress *p, uint32_t base)
{
	struct gp_snapshot_error err;
	for (uint32_t step = base + 1;; step++) {
		bool incremental;
		uint32_t from = step % 8 == 0 ? 0 : base;
		atomic_store(&p->ready, true);
		if (chain_try(dir, step, from, step % 3 == 0 ? 3 : 0, &incremental, &err) != 0)
			bail("writer", err.text);
		atomic_store(&p->finished, step);
		if (gp_snapshot_prune(dir, SAMPLE_JOB, step, KEEP, &err) != 0)
			bail("prune", err.text);
		base = step;
	}
}

static void writer_kill(struct progress *p, uint32_t base, uint64_t ns)
{
	atomic_store(&p->ready, false);
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0)
		writer_run(p, base);
	if (pid < 0)
		bail("fork", strerror(errno));
	while (!atomic_load(&p->ready) && waitpid(pid, NULL, WNOHANG) == 0)
		sched_yield();
	uint64_t end = now_ns() + ns;
	while (now_ns() < end)
		sched_yield();
	kill(pid, SIGKILL);
	int status = 0;
	if (waitpid(pid, &status, 0) == pid && !WIFSIGNALED(status))
		bail("writer", "ended by itself");
}

static uint32_t refusals;

static void on_refused(void *arg, const char *path, const char *why)
{
	(void)arg;
	refusals++;
	printf("# refused: %s: %s\n", path, why);
}

// The newest that loads; 0 when there is none.
static uint32_t newest_load(void)
{
	struct gp_snapshot *snap;
	struct gp_snapshot_error err;
	int rc = gp_snapshot_latest(dir, SAMPLE_JOB, on_refused, NULL, &snap, &err);
	if (rc == -ENOENT)
		return 0;
	if (rc != 0)
		bail("latest", err.text);
	uint32_t step = gp_snapshot_meta(snap)->step;
	if (!chain_same(snap, step))
		bail("latest", "other values");
	gp_snapshot_close(snap);
	return step;
}

// How long one snapshot takes here, about.
static uint64_t snapshot_ns(void)
{
	bool incremental;
	struct gp_snapshot_error err;
	uint64_t begin = now_ns();
	for (uint32_t step = 1; step <= 4; step++)
		if (chain_try(dir, step, step - 1, 0, &incremental, &err) != 0)
			bail("first snapshots", err.text);
	return (now_ns() - begin) / 4;
}

int main(int argc, char **argv)
{
	uint32_t kills = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : KILLS_DEFAULT;
	unsigned int seed = argc > 2 ? (unsigned int)strtoul(argv[2], NULL, 10) : 1;
	struct progress *p =
		mmap(NULL, sizeof(*p), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED || !sample_memory_dir(dir))
		bail("start", strerror(errno));
	uint64_t each = snapshot_ns();
	uint32_t base = newest_load(), stages = 0, lost = 0;
	atomic_store(&p->finished, base);
	// More of them where the machine's pauses have most kills fall between two snapshots.
	uint32_t i = 0;
	for (; i < kills || (stages <= kills / 4 && i < TRIES_MAX * kills); i++) {
		struct gp_snapshot_error err;
		uint32_t removed = 0;
		writer_kill(p, base, each * 3 * (uint64_t)(rand_r(&seed) % 1000) / 1000);
		if (gp_snapshot_dir_prepare(dir, &removed, &err) != 0)
			bail("prepare", err.text);
		stages += removed > 0;
		base = newest_load();
		lost += base < atomic_load(&p->finished);
		atomic_store(&p->finished, base);
	}
	printf("# %u kills, %u while one was written, last step %u\n", i, stages, base);
	printf("1..3\n");
	printf("%s 1 - the last complete snapshot always loads\n", lost == 0 ? "ok" : "not ok");
	printf("%s 2 - nothing under a name is ever refused\n", refusals == 0 ? "ok" : "not ok");
	bool enough = stages > kills / 4;
	printf("%s 3 - enough were killed while they wrote\n", enough ? "ok" : "not ok");
	sample_dir_remove(dir);
	return lost == 0 && refusals == 0 && enough ? 0 : 1;
}
