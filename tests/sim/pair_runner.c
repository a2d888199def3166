// SPDX-License-Identifier: BSD-3-Clause
//
// Histories of pairs one after the other, in a process of their own: an assertion is a finding.
#include "pair_runner.h"

#include <gp_rcu.h>

#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define TWICE_EVERY 50

// Written by the child.
struct shared {
	struct pair_totals t;
	uint64_t seed;
	bool failed;
	char why[PAIR_WHY_SIZE];
};

static bool one(struct shared *x, uint64_t seed)
{
	struct pair_stats again = {0};
	uint64_t hash, second;
	x->seed = seed;
	if (!pair_run(seed, &x->t.stats, &hash, x->why))
		return false;
	if (seed % TWICE_EVERY != 0)
		return true;
	x->t.twice++;
	if (pair_run(seed, &again, &second, x->why) && second == hash)
		return true;
	(void)snprintf(x->why, sizeof(x->why), "two runs differ");
	return false;
}

static void histories(struct shared *x, uint64_t first, uint64_t last, uint64_t takeovers)
{
	gp_rcu_register_thread();
	for (uint64_t i = first; i <= last && x->t.stats.takeovers < takeovers; i++)
		if (!one(x, i)) {
			x->failed = true;
			break;
		}
	gp_rcu_unregister_thread();
}

bool pair_histories(uint64_t first, uint64_t last, uint64_t takeovers, struct pair_totals *t)
{
	int status = 0;
	struct shared *x =
		mmap(NULL, sizeof(*x), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	GP_ASSERT(x != MAP_FAILED);
	(void)fflush(stdout);
	pid_t child = fork();
	GP_ASSERT(child >= 0);
	if (child == 0) {
		histories(x, first, last, takeovers);
		_exit(0);
	}
	GP_ASSERT(waitpid(child, &status, 0) == child);
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

void pair_totals_print(const struct pair_totals *t, uint64_t ms, bool json)
{
	const struct pair_stats *s = &t->stats;
	const struct {
		const char *name;
		uint64_t n;
	} rows[] = {{"histories", s->histories}, {"takeovers", s->takeovers}, {"twice", t->twice},
		{"wall_ms", ms}, {"nodes_killed", s->kills}, {"nodes_paused", s->pauses},
		{"links_cut", s->cuts}, {"swaps_in_doubt", s->doubts},
		{"workers_killed", s->worker_kills}, {"sessions_had_again", s->rejoins},
		{"rolled_back", s->rolled_back}, {"units_committed", s->commits},
		{"results_checked", s->checks}, {"bases", s->bases},
		{"digests_compared", s->digests}};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(rows); i++)
		printf(json ? "%s\"%s\": %" PRIu64 : "%s%s %" PRIu64,
			i == 0 ? (json ? "{" : "") : ", ", rows[i].name, rows[i].n);
	printf(json ? "}\n" : "\n");
}
