// SPDX-License-Identifier: BSD-3-Clause
#include "overlap.h"

#include "bench.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

#define NS_PER_US   1000.0
#define SLEEP_LEAST 50000 // ns: what is less is slept together with the next layer
#define WAITED	    50000 // ns: a wait that long held the computing up

struct worker {
	struct overlap *v;
	uint32_t rank;
	pthread_t thread;
	struct gp_client *clients[JOBS];
	float *grad; // as long as the largest layer
	float *out;
	uint64_t cursor; // computing is done up to here
	uint64_t from, to;
	int rc;
};

struct overlap {
	struct overlap_opts o;
	pthread_barrier_t gate; // workers and the one who asks
	enum plan plan;
	uint32_t run;
	bool stop;
	_Atomic bool failed;
	struct worker workers[OVERLAP_WORKERS_MAX];
};

static int worker_bad(struct worker *w, int rc, const char *what, const struct gp_client_error *err)
{
	w->rc = rc;
	atomic_store(&w->v->failed, true);
	fprintf(stderr, "gradbench: worker %u: %s: %s\n", w->rank, what, err->text);
	return rc;
}

// ---- computing

static void sleep_until(uint64_t ns)
{
	const struct timespec t = {
		.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

// An accelerator's time line goes on while the worker's thread pushes; a CPU's does not.
static void compute(struct worker *w, double us)
{
	uint64_t now = bench_wall_ns();
	uint64_t ns = (uint64_t)(us * w->v->o.scale * NS_PER_US);
	if (w->v->o.spin) {
		while (bench_wall_ns() < now + ns)
			;
		return;
	}
	w->cursor += ns;
	if (w->cursor > now + SLEEP_LEAST)
		sleep_until(w->cursor);
}

static void compute_end(struct worker *w)
{
	if (!w->v->o.spin && w->cursor > bench_wall_ns())
		sleep_until(w->cursor);
}

// What computing needs is here only now.
static void compute_from(struct worker *w, uint64_t waited_from)
{
	uint64_t now = bench_wall_ns();
	if (now - waited_from > WAITED)
		w->cursor = GP_MAX(w->cursor, now);
}

// ---- plans

static int layer_push(struct worker *w, struct gp_client *c, uint32_t i)
{
	struct gp_client_error err = {0};
	float *out = w->out + w->v->o.network->layers[i].offset;
	int rc = gp_client_push_pull(c, i, w->grad, 1, out, &err);
	return rc ? worker_bad(w, rc, w->v->o.network->layers[i].name, &err) : 0;
}

static int step_wait(struct worker *w, struct gp_client *c)
{
	struct gp_client_error err = {0};
	uint64_t from = bench_wall_ns();
	int rc = gp_client_wait(c, w->v->o.timeout_ms, &err);
	compute_from(w, from);
	return rc ? worker_bad(w, rc, "step", &err) : 0;
}

// `c` NULL: nothing is waited for.
static int forward(struct worker *w, struct gp_client *c)
{
	const struct network *n = w->v->o.network;
	struct gp_client_error err = {0};
	for (uint32_t i = 0; i < n->count; i++) {
		uint64_t from = bench_wall_ns();
		int rc = c ? gp_client_wait_tensor(c, i, w->v->o.timeout_ms, &err) : 0;
		if (rc)
			return worker_bad(w, rc, n->layers[i].name, &err);
		if (c)
			compute_from(w, from);
		compute(w, n->layers[i].forward_us);
	}
	return c ? step_wait(w, c) : 0;
}

// `c` NULL: nothing is pushed.
static int backward(struct worker *w, struct gp_client *c)
{
	const struct network *n = w->v->o.network;
	int rc = 0;
	for (uint32_t i = n->count; i-- > 0 && rc == 0;) {
		compute(w, n->layers[i].backward_us);
		rc = c ? layer_push(w, c, i) : 0;
	}
	compute_end(w);
	return rc;
}

static int transfer(struct worker *w, struct gp_client *c)
{
	int rc = 0;
	for (uint32_t i = w->v->o.network->count; i-- > 0 && rc == 0;)
		rc = layer_push(w, c, i);
	return rc ? rc : step_wait(w, c);
}

static int step_run(struct worker *w, enum plan plan, bool first)
{
	struct gp_client *pushed = w->clients[JOB_PUSHED], *used = w->clients[JOB_FORWARD];
	int rc = 0;
	switch (plan) {
	case PLAN_TRANSFER:
		return transfer(w, pushed);
	case PLAN_SERIAL:
		(void)forward(w, NULL);
		(void)backward(w, NULL);
		return transfer(w, pushed);
	case PLAN_OVERLAP:
		(void)forward(w, NULL);
		rc = backward(w, pushed);
		return rc ? rc : step_wait(w, pushed);
	default:
		rc = forward(w, first ? NULL : used);
		return rc ? rc : backward(w, used);
	}
}

// One step more than what is timed: with priorities a step goes on in the next one.
static void plan_run(struct worker *w)
{
	enum plan plan = w->v->plan;
	w->cursor = bench_wall_ns();
	int rc = step_run(w, plan, true);
	w->from = bench_wall_ns();
	for (uint32_t i = 0; i < w->v->o.steps && rc == 0; i++)
		rc = step_run(w, plan, false);
	w->to = bench_wall_ns();
	if (rc == 0 && plan == PLAN_PRIORITY)
		(void)step_wait(w, w->clients[JOB_FORWARD]);
}

// ---- values: rank + 1, times a number of the run

static float value_of(uint32_t run, uint32_t times)
{
	return (float)(times * (run % 64 + 1));
}

static void grad_fill(struct worker *w)
{
	uint64_t n = w->v->o.network->parameters_max;
	for (uint64_t i = 0; i < n; i++)
		w->grad[i] = value_of(w->v->run, w->rank + 1);
}

static void out_check(struct worker *w)
{
	uint32_t ranks = w->v->o.workers;
	float sum = value_of(w->v->run, ranks * (ranks + 1) / 2);
	uint64_t wrong = 0;
	for (uint64_t i = 0; i < w->v->o.network->parameters; i++)
		wrong += w->out[i] != sum;
	if (wrong == 0)
		return;
	const struct gp_client_error err = {.text = "is the job of kind reduce, without mean?"};
	(void)worker_bad(w, -EBADMSG, "results are not the sum of what was pushed", &err);
}

// ---- workers

static void *worker_run(void *arg)
{
	struct worker *w = arg;
	struct overlap *v = w->v;
	(void)prctl(PR_SET_TIMERSLACK, 1);
	for (;;) {
		pthread_barrier_wait(&v->gate); // asked
		if (v->stop)
			return NULL;
		grad_fill(w);
		pthread_barrier_wait(&v->gate); // begins
		if (!atomic_load(&v->failed))
			plan_run(w);
		pthread_barrier_wait(&v->gate); // ended
		if (!atomic_load(&v->failed))
			out_check(w);
		pthread_barrier_wait(&v->gate); // checked
	}
}

double overlap_run(struct overlap *v, enum plan plan)
{
	v->plan = plan;
	v->run++;
	for (uint32_t i = 0; i < 4; i++)
		pthread_barrier_wait(&v->gate);
	const struct worker *w = &v->workers[0];
	return atomic_load(&v->failed) ? -1 : (double)(w->to - w->from) / v->o.steps * 1e-6;
}

static int client_open(struct worker *w, enum overlap_job job)
{
	const struct overlap_opts *o = &w->v->o;
	const struct network *n = o->network;
	const struct gp_client_opts c = {.server = o->server,
		.job = o->jobs[job],
		.rank = w->rank,
		.world = o->workers,
		.path_mtu = o->path_mtu};
	struct gp_client_error err = {0};
	struct gp_client_tensor *t = calloc(n->count, sizeof(*t));
	if (!t)
		return -ENOMEM;
	for (uint32_t i = 0; i < n->count; i++) {
		memcpy(t[i].name, n->layers[i].name, sizeof(t[i].name));
		t[i].dims_count = 1;
		t[i].dims[0] = n->layers[i].parameters;
		t[i].priority = job == JOB_FORWARD ? i : n->count - 1 - i;
	}
	int rc = gp_client_create(&w->clients[job], &c, &err);
	if (!rc)
		rc = gp_client_register(w->clients[job], t, n->count, o->timeout_ms, &err);
	if (!rc)
		rc = gp_client_background(w->clients[job], &err);
	free(t);
	return rc ? worker_bad(w, rc, o->jobs[job], &err) : 0;
}

static void *worker_join(void *arg)
{
	struct worker *w = arg;
	for (uint32_t j = 0; j < JOBS && w->rc == 0; j++)
		w->rc = client_open(w, j);
	return NULL;
}

// ---- life

static int threads_start(struct overlap *v, void *(*run)(void *))
{
	for (uint32_t i = 0; i < v->o.workers; i++) {
		int rc = pthread_create(&v->workers[i].thread, NULL, run, &v->workers[i]);
		if (rc) {
			fprintf(stderr, "gradbench: no thread for worker %u: %s\n", i,
				strerror(rc));
			exit(1); // those that run wait for this one
		}
	}
	return 0;
}

static int threads_join(struct overlap *v)
{
	int rc = 0;
	for (uint32_t i = 0; i < v->o.workers; i++) {
		pthread_join(v->workers[i].thread, NULL);
		rc = rc ? rc : v->workers[i].rc;
	}
	return rc;
}

static bool memory_take(struct overlap *v)
{
	const struct network *n = v->o.network;
	bool ok = true;
	for (uint32_t i = 0; i < v->o.workers; i++) {
		struct worker *w = &v->workers[i];
		*w = (struct worker){.v = v, .rank = i};
		w->grad = malloc(sizeof(float) * n->parameters_max);
		w->out = malloc(sizeof(float) * n->parameters);
		ok = ok && w->grad && w->out;
	}
	return ok;
}

static void memory_give(struct overlap *v)
{
	for (uint32_t i = 0; i < v->o.workers; i++) {
		struct worker *w = &v->workers[i];
		for (uint32_t j = 0; j < JOBS; j++)
			gp_client_destroy(w->clients[j]);
		free(w->grad);
		free(w->out);
	}
	free(v);
}

int overlap_create(struct overlap **out, const struct overlap_opts *o)
{
	GP_ASSERT(o->workers >= 1 && o->workers <= OVERLAP_WORKERS_MAX && o->steps >= 1);
	struct overlap *v = calloc(1, sizeof(*v));
	*out = NULL;
	if (!v)
		return -ENOMEM;
	v->o = *o;
	int rc = memory_take(v) ? 0 : -ENOMEM;
	if (!rc) // all at once: they wait for each other
		rc = threads_start(v, worker_join);
	else
		fprintf(stderr, "gradbench: no memory for %u workers\n", o->workers);
	if (!rc)
		rc = threads_join(v);
	if (rc) {
		memory_give(v);
		return rc;
	}
	pthread_barrier_init(&v->gate, NULL, o->workers + 1);
	(void)threads_start(v, worker_run);
	*out = v;
	return 0;
}

uint64_t overlap_retransmits(const struct overlap *v)
{
	uint64_t n = 0;
	for (uint32_t i = 0; i < v->o.workers * JOBS; i++) {
		struct gp_client_stats s;
		gp_client_stats(v->workers[i / JOBS].clients[i % JOBS], &s);
		n += s.retransmits;
	}
	return n;
}

void overlap_destroy(struct overlap *v)
{
	if (!v)
		return;
	v->stop = true;
	pthread_barrier_wait(&v->gate);
	(void)threads_join(v);
	pthread_barrier_destroy(&v->gate);
	memory_give(v);
}
