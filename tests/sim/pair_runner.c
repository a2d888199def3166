// SPDX-License-Identifier: BSD-3-Clause
//
// Histories of pairs one after the other, in a process of their own: an assertion is a finding.
#include "pair_runner.h"

#include <gp_log.h>
#include <gp_rcu.h>

#include <dirent.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define TWICE_EVERY  20
#define MEMORY_AGAIN 0xa5

// Written by the child.
struct shared {
	struct pair_totals t;
	uint64_t seed;
	bool failed;
	char why[PAIR_WHY_SIZE];
};

// What a life leaves open, each of the following ones lacks.
static uint32_t descriptors(void)
{
	uint32_t n = 0;
	DIR *dir = opendir("/proc/self/fd");
	GP_ASSERT(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

// Memory that nobody has written is not what it was, and the disks lie elsewhere.
static bool again_same(struct shared *x, const struct pair_how *how, uint64_t hash)
{
	struct pair_stats again = {0};
	struct pair_how elsewhere = *how;
	char root[PATH_MAX];
	uint64_t second;
	x->t.twice++;
	GP_ASSERT(snprintf(root, sizeof(root), "%s/again", how->root) < PATH_MAX);
	GP_ASSERT(mkdir(root, 0755) == 0);
	elsewhere.root = root;
	elsewhere.times = NULL;
	(void)mallopt(M_PERTURB, MEMORY_AGAIN);
	bool ok = pair_run(x->seed, &elsewhere, &again, &second, x->why);
	(void)mallopt(M_PERTURB, 0);
	pair_disks_remove(root);
	if (ok && second == hash)
		return true;
	if (ok)
		(void)snprintf(x->why, sizeof(x->why),
			"two runs differ: %016" PRIx64 ", %016" PRIx64, hash, second);
	return false;
}

static bool one(struct shared *x, uint64_t seed, const struct pair_how *how, bool twice)
{
	uint32_t before = descriptors();
	x->seed = seed;
	if (!pair_run(seed, how, &x->t.stats, &x->t.hash, x->why))
		return false;
	uint32_t after = descriptors();
	if (after == before)
		return !twice || again_same(x, how, x->t.hash);
	(void)snprintf(x->why, sizeof(x->why), "%u descriptors were open before it, %u after it",
		before, after);
	return false;
}

static void histories(struct shared *x, const struct pair_range *range, const struct pair_how *how)
{
	gp_log_init("gradsim", GP_LOG_ERROR);
	gp_rcu_register_thread();
	for (uint64_t i = range->first; i <= range->last && x->t.stats.takeovers < range->takeovers;
		i++) {
		if (range->wants && !range->wants(i))
			continue;
		if (!one(x, i, how, i % TWICE_EVERY == 0 || range->first == range->last)) {
			x->failed = true;
			break;
		}
	}
	gp_rcu_unregister_thread();
}

bool pair_histories(const struct pair_range *range, bool plain, struct pair_totals *t)
{
	int status = 0;
	char root[PATH_MAX];
	struct shared *x =
		mmap(NULL, sizeof(*x), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	GP_ASSERT(x != MAP_FAILED && pair_disks_root(root));
	const struct pair_how how = {.root = root,
		.plain = plain,
		.codecs_one = range->codecs_one,
		.times = &x->t.times};
	(void)fflush(stdout);
	pid_t child = fork();
	GP_ASSERT(child >= 0);
	if (child == 0) {
		histories(x, range, &how);
		_exit(0);
	}
	GP_ASSERT(waitpid(child, &status, 0) == child);
	pair_disks_remove(root);
	if (WIFSIGNALED(status)) {
		x->failed = true;
		(void)snprintf(x->why, sizeof(x->why), "%s", strsignal(WTERMSIG(status)));
	}
	*t = x->t;
	t->seed = x->seed;
	memcpy(t->why, x->why, sizeof(t->why));
	bool ok = !x->failed;
	(void)munmap(x, sizeof(*x));
	return ok;
}

static int time_compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	return (*x > *y) - (*x < *y);
}

// So many of a thousand took no longer, in microseconds.
static uint64_t time_us(struct pair_times *t, uint32_t permille)
{
	if (t->count == 0)
		return 0;
	qsort(t->ns, t->count, sizeof(t->ns[0]), time_compare);
	return t->ns[(uint64_t)(t->count - 1) * permille / 1000] / 1000;
}

void pair_totals_print(struct pair_totals *t, uint64_t ms, bool json)
{
	const struct pair_stats *s = &t->stats;
	const struct {
		const char *name;
		uint64_t n;
	} rows[] = {{"histories", s->histories}, {"takeovers", s->takeovers}, {"twice", t->twice},
		{"wall_ms", ms}, {"nodes_killed", s->kills}, {"nodes_paused", s->pauses},
		{"links_cut", s->cuts}, {"partitions", s->partitions}, {"clocks_jumped", s->jumps},
		{"registers_killed", s->registers_killed}, {"disk_faults", s->disk_faults},
		{"swaps_in_doubt", s->doubts}, {"questions_repeated", s->repeated},
		{"workers_killed", s->worker_kills}, {"sessions_had_again", s->rejoins},
		{"rolled_back", s->rolled_back}, {"units_committed", s->commits},
		{"results_checked", s->checks}, {"bases", s->bases},
		{"digests_compared", s->digests}, {"restarts", s->restarts},
		{"snapshots", s->snapshots}, {"shipped", s->shipped}, {"losses", s->losses},
		{"steps_lost", s->steps_lost}, {"barriers", s->met}, {"reads", s->reads},
		{"both_lost", s->both_lost}, {"failovers", t->times.count},
		{"p50_us", time_us(&t->times, 500)}, {"p99_us", time_us(&t->times, 990)},
		{"max_us", time_us(&t->times, 1000)}};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(rows); i++)
		printf(json ? "%s\"%s\": %" PRIu64 : "%s%s %" PRIu64,
			i == 0 ? (json ? "{" : "") : ", ", rows[i].name, rows[i].n);
	printf(json ? "}\n" : "\n");
}
