// SPDX-License-Identifier: BSD-3-Clause
#include "runner.h"

#include <gp_rcu.h>

#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TWICE_EVERY  100
#define MEMORY_AGAIN 0xa5 // of the second run, where nobody has written it
#define HUNG_S	     120  // of one history; the longest take a few

struct job_state {
	struct totals totals;
	struct finding finding;
	uint64_t seed; // in hand
	int errors;    // file with what the process says on standard error
};

struct shared {
	_Atomic uint64_t seed_next;
	_Atomic bool stop;
	struct job_state jobs[RUNNER_JOBS_MAX];
};

void (*runner_prepare)(void);

uint64_t runner_clock_ms(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void stats_add(uint64_t *to, const uint64_t *from, size_t bytes)
{
	for (size_t i = 0; i < bytes / sizeof(uint64_t); i++)
		to[i] += from[i];
}

static void totals_add(struct totals *t, const struct sim_result *r)
{
	t->histories++;
	stats_add(&t->stats.datagrams, &r->stats.datagrams, sizeof(r->stats));
	stats_add(&t->wire.sent, &r->wire.sent, sizeof(r->wire));
	t->calm_ns_max = GP_MAX(t->calm_ns_max, r->stats.calm_ns);
}

static void totals_join(struct totals *t, const struct totals *from)
{
	t->histories += from->histories;
	t->twice += from->twice;
	stats_add(&t->stats.datagrams, &from->stats.datagrams, sizeof(t->stats));
	stats_add(&t->wire.sent, &from->wire.sent, sizeof(t->wire));
	t->calm_ns_max = GP_MAX(t->calm_ns_max, from->calm_ns_max);
}

static bool seed_run(uint64_t seed, const struct sim_limits *l, struct job_state *js)
{
	struct sim_opts o;
	struct sim_result r, again;
	sim_opts_of_seed(&o, seed, l);
	(void)alarm(HUNG_S);
	sim_run(&o, false, &r);
	totals_add(&js->totals, &r);
	if (r.ok && seed % TWICE_EVERY == 0) {
		(void)mallopt(M_PERTURB, MEMORY_AGAIN);
		sim_run(&o, false, &again);
		(void)mallopt(M_PERTURB, 0);
		js->totals.twice++;
		if (again.hash != r.hash || again.stats.datagrams != r.stats.datagrams) {
			r.ok = false;
			(void)snprintf(r.why, sizeof(r.why), "two runs of the seed differ");
		}
	}
	(void)alarm(0);
	if (r.ok)
		return true;
	js->finding.found = true;
	js->finding.seed = seed;
	memcpy(js->finding.why, r.why, sizeof(r.why));
	return false;
}

static void job_run(struct shared *sh, struct job_state *js, uint64_t last,
	const struct sim_limits *l, uint64_t end_ms)
{
	gp_rcu_register_thread();
	if (runner_prepare)
		runner_prepare();
	while (!atomic_load(&sh->stop) && (end_ms == 0 || runner_clock_ms() < end_ms)) {
		js->seed = atomic_fetch_add(&sh->seed_next, 1);
		if (js->seed > last)
			break;
		if (!seed_run(js->seed, l, js)) {
			atomic_store(&sh->stop, true);
			break;
		}
	}
	gp_rcu_unregister_thread();
}

// What an assertion said last.
static void last_line(int fd, char *text, size_t size)
{
	char tail[400];
	off_t end = lseek(fd, 0, SEEK_END);
	off_t from = end > (off_t)sizeof(tail) - 1 ? end - (off_t)sizeof(tail) + 1 : 0;
	ssize_t n = pread(fd, tail, sizeof(tail) - 1, from);
	tail[GP_MAX(n, 0)] = 0;
	while (n > 0 && tail[n - 1] == '\n')
		tail[--n] = 0;
	const char *line = strrchr(tail, '\n');
	(void)snprintf(text, size, "%.*s", (int)size - 1, line ? line + 1 : tail);
}

static void job_wait(struct shared *sh, struct job_state *js, pid_t pid)
{
	int status = 0;
	if (waitpid(pid, &status, 0) != pid || (WIFEXITED(status) && WEXITSTATUS(status) == 0))
		return;
	atomic_store(&sh->stop, true);
	if (js->finding.found)
		return;
	js->finding.found = true;
	js->finding.seed = js->seed;
	int sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	char said[SIM_WHY_SIZE / 2];
	last_line(js->errors, said, sizeof(said));
	(void)snprintf(js->finding.why, sizeof(js->finding.why), "%s (signal %d) %s",
		sig == SIGALRM ? "hangs" : "died", sig, said);
}

static struct shared *shared_make(void)
{
	void *mem = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	GP_ASSERT(mem != MAP_FAILED);
	return mem;
}

void runner_run(uint64_t first, uint64_t last, const struct sim_limits *l, uint32_t jobs,
	uint32_t wall_ms, struct totals *t, struct finding *f)
{
	pid_t pids[RUNNER_JOBS_MAX];
	struct shared *sh = shared_make();
	uint64_t end_ms = wall_ms ? runner_clock_ms() + wall_ms : 0;
	atomic_store(&sh->seed_next, first);
	(void)fflush(NULL);
	for (uint32_t i = 0; i < jobs; i++) {
		sh->jobs[i].errors = memfd_create("errors", MFD_CLOEXEC);
		pids[i] = fork();
		GP_ASSERT(pids[i] >= 0);
		if (pids[i] == 0) {
			(void)dup2(sh->jobs[i].errors, STDERR_FILENO);
			job_run(sh, &sh->jobs[i], last, l, end_ms);
			(void)fflush(NULL);
			_exit(sh->jobs[i].finding.found);
		}
	}
	*f = (struct finding){0};
	for (uint32_t i = 0; i < jobs; i++) {
		struct job_state *js = &sh->jobs[i];
		job_wait(sh, js, pids[i]);
		(void)close(js->errors);
		totals_join(t, &js->totals);
		if (js->finding.found && (!f->found || js->finding.seed < f->seed))
			*f = js->finding;
	}
	(void)munmap(sh, sizeof(*sh));
}

static void be_quiet(int errors)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	(void)dup2(null, STDOUT_FILENO);
	(void)dup2(errors, STDERR_FILENO);
}

bool runner_try(uint64_t seed, const struct sim_limits *l, char why[SIM_WHY_SIZE])
{
	struct shared *sh = shared_make();
	struct job_state *js = &sh->jobs[0];
	(void)fflush(NULL);
	js->errors = memfd_create("errors", MFD_CLOEXEC);
	pid_t pid = fork();
	GP_ASSERT(pid >= 0);
	if (pid == 0) {
		be_quiet(js->errors);
		atomic_store(&sh->seed_next, seed);
		job_run(sh, js, seed, l, 0);
		_exit(js->finding.found);
	}
	js->seed = seed;
	job_wait(sh, js, pid);
	(void)close(js->errors);
	bool ok = !js->finding.found;
	memcpy(why, js->finding.why, SIM_WHY_SIZE);
	(void)munmap(sh, sizeof(*sh));
	return ok;
}
