// SPDX-License-Identifier: BSD-3-Clause
#include "snapshot_rig.h"

#include "bench.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define CONTROL_NS 1000000
#define FRAMES	   4096
#define SLOTS	   64

static int state_load(const struct snapshot_rig *s)
{
	return atomic_load_explicit(&s->state, memory_order_acquire);
}

static void state_store(struct snapshot_rig *s, int state)
{
	atomic_store_explicit(&s->state, state, memory_order_release);
}

static void rest(void)
{
	const struct timespec ts = {.tv_nsec = CONTROL_NS};
	nanosleep(&ts, NULL);
}

// ---- control

static uint64_t blocks_done(const struct snapshot_rig *s)
{
	return gp_counter_read(&gp_core_stats(s->rig->core)->blocks_completed);
}

static void kept_watch(struct snapshot_rig *s)
{
	struct gp_job_view v;
	gp_engine_job_view(s->rig->engine, 0, &v);
	s->kept_max = GP_MAX(s->kept_max, v.kept);
}

static void on_cut_ready(void *arg, uint16_t job, uint32_t step, uint32_t decision)
{
	struct snapshot_rig *s = arg;
	(void)job;
	s->step = step;
	s->decision = decision;
	state_store(s, SNAPSHOT_CUT);
}

static void *control_run(void *arg)
{
	struct snapshot_rig *s = arg;
	struct gp_registrar *r = gp_engine_registrar(s->rig->engine);
	const struct gp_registrar_events ev = {.arg = s, .cut_ready = on_cut_ready};
	gp_rcu_register_thread();
	gp_registrar_set_events(r, &ev);
	while (!atomic_load_explicit(&s->quit, memory_order_relaxed)) {
		(void)gp_registrar_poll(r, atomic_load_explicit(&s->now, memory_order_relaxed));
		gp_rcu_grace_turn(gp_engine_grace(s->rig->engine));
		if (state_load(s) == SNAPSHOT_WANTED) {
			s->kept_max = 0;
			s->cut_done = blocks_done(s);
			// Before the call: the cut may be ready at the next poll.
			state_store(s, SNAPSHOT_ASKED);
			if (gp_registrar_cut(r, s->rig->jobs[0].id) != 0)
				state_store(s, SNAPSHOT_WANTED);
		} else if (state_load(s) == SNAPSHOT_CUT) {
			kept_watch(s);
		} else if (state_load(s) == SNAPSHOT_READ) {
			kept_watch(s);
			s->cut_done = blocks_done(s) - s->cut_done;
			gp_registrar_cut_release(r, s->rig->jobs[0].id);
			state_store(s, SNAPSHOT_WRITTEN);
		}
		gp_rcu_offline();
		rest();
		gp_rcu_online();
	}
	gp_rcu_unregister_thread();
	return NULL;
}

// ---- writer

static int blocks_append(struct snapshot_rig *s, struct gp_snapshot_writer *w)
{
	for (uint32_t file = 0; file < 2; file++)
		for (uint32_t block = 0; block < s->rig->blocks; block++) {
			uint32_t elems;
			gp_rcu_online();
			const float *data =
				gp_engine_block(s->rig->engine, 0, block, s->step, file, &elems);
			gp_rcu_offline(); // the cut keeps the version
			if (!data)
				return -ENOENT;
			int rc = gp_snapshot_append(w, file, data, elems, &s->err);
			if (rc != 0)
				return rc;
		}
	return 0;
}

static int snapshot_write(struct snapshot_rig *s)
{
	static const char *const states[] = {"momentum"};
	uint64_t elems = (uint64_t)s->rig->blocks * s->rig->block_elems;
	const struct gp_snapshot_tensor tensor = {
		.name = "t", .dims_count = 1, .dims = {elems}, .elements = elems};
	const struct gp_snapshot_meta meta = {.product = GRADBENCH_VERSION,
		.job = "bench",
		.job_id = 1,
		.kind = "train",
		.optimizer = "momentum",
		.generation = s->step,
		.step = s->step,
		.decision = s->decision,
		.epoch = 1,
		.tensors_count = 1,
		.tensors = &tensor,
		.states_count = 1,
		.states = states};
	const struct gp_snapshot_opts opts = {.level = s->o.level};
	const struct gp_snapshot_seal seal = {0};
	struct gp_snapshot_writer *w;
	int rc = gp_snapshot_begin(&meta, &opts, s->o.dir, &w, &s->err);
	if (rc == 0) {
		rc = blocks_append(s, w);
		state_store(s, SNAPSHOT_READ);
		if (rc == 0)
			return gp_snapshot_finish(w, &seal, s->path, &s->err);
		gp_snapshot_abort(w);
		return rc;
	}
	state_store(s, SNAPSHOT_READ);
	return rc;
}

static void *writer_run(void *arg)
{
	struct snapshot_rig *s = arg;
	gp_rcu_register_thread();
	gp_rcu_offline();
	while (!atomic_load_explicit(&s->quit, memory_order_relaxed)) {
		if (state_load(s) != SNAPSHOT_CUT) {
			rest();
			continue;
		}
		uint64_t begin = bench_wall_ns();
		struct gp_snapshot_info info = {0};
		s->error = snapshot_write(s);
		s->write_ns = bench_wall_ns() - begin;
		if (s->error == 0)
			s->error = gp_snapshot_prune(s->o.dir, "bench", s->step, 1, &s->err);
		if (s->error == 0)
			s->error = gp_snapshot_peek(s->path, &info, &s->err);
		s->bytes = info.size;
		atomic_store_explicit(&s->writing, false, memory_order_release);
	}
	gp_rcu_unregister_thread();
	return NULL;
}

// ---- the polled thread

uint32_t snapshot_rig_burst(struct snapshot_rig *s, uint64_t *ns)
{
	uint64_t done = blocks_done(s);
	// What waits for a version holds the slots up: nothing new until it is done.
	bool feed = s->sent == done - s->done_before;
	uint32_t n = rig_burst(s->rig, feed, ns);
	s->sent += n;
	atomic_store_explicit(&s->now, s->rig->now, memory_order_relaxed);
	return n;
}

void snapshot_rig_begin(struct snapshot_rig *s)
{
	atomic_store_explicit(&s->writing, true, memory_order_relaxed);
	state_store(s, SNAPSHOT_WANTED);
}

bool snapshot_rig_is_done(const struct snapshot_rig *s)
{
	return !atomic_load_explicit(&s->writing, memory_order_acquire) &&
	       state_load(s) == SNAPSHOT_WRITTEN;
}

static int thread_start(struct snapshot_rig *s, pthread_t *thread, void *(*run)(void *))
{
	pthread_attr_t attr;
	cpu_set_t cpus;
	CPU_ZERO(&cpus);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (cpu != s->o.cpu)
			CPU_SET(cpu, &cpus);
	pthread_attr_init(&attr);
	int rc = pthread_attr_setaffinity_np(&attr, sizeof(cpus), &cpus);
	if (rc == 0)
		rc = pthread_create(thread, &attr, run, s);
	if (rc == EINVAL) // there is one CPU only
		rc = pthread_create(thread, NULL, run, s);
	pthread_attr_destroy(&attr);
	return -rc;
}

int snapshot_rig_create(struct snapshot_rig **out, const struct snapshot_rig_opts *o)
{
	struct snapshot_rig *s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->o = *o;
	const struct rig_opts ro = {.train = true,
		.mtu = o->mtu,
		.jobs = 1,
		.workers = 1,
		.tensors = 1,
		.table_bytes = o->table_bytes,
		.frames = FRAMES,
		.skew = 0,
		.slots = SLOTS,
		.window = 32};
	int rc = rig_create(&s->rig, &ro);
	if (rc == 0) {
		s->payload = s->rig->block_elems * (uint32_t)sizeof(float);
		s->now = s->rig->now;
		s->done_before = blocks_done(s);
		rig_endless(s->rig);
		rc = thread_start(s, &s->control, control_run);
		s->control_runs = rc == 0;
	}
	if (rc == 0) {
		rc = thread_start(s, &s->writer, writer_run);
		s->writer_runs = rc == 0;
	}
	if (rc != 0) {
		snapshot_rig_destroy(s);
		return rc;
	}
	*out = s;
	return 0;
}

bool snapshot_rig_finish(struct snapshot_rig *s)
{
	struct gp_snapshot *snap;
	uint64_t ns;
	rig_endless_stop(s->rig);
	while (!rig_is_over(s->rig))
		(void)snapshot_rig_burst(s, &ns);
	if (!rig_check(s->rig))
		return false;
	if (s->path[0] && gp_snapshot_prove(s->path, &snap, &s->err) == 0) {
		gp_snapshot_close(snap);
		return true;
	}
	fprintf(stderr, "gradbench: the snapshot is wrong: %s\n", s->err.text);
	return false;
}

static void directory_empty(const char *dir)
{
	struct gp_snapshot_list list;
	struct gp_snapshot_error err;
	if (gp_snapshot_list(dir, NULL, &list, &err) != 0)
		return;
	for (uint32_t i = 0; i < list.count; i++)
		(void)!gp_snapshot_remove(dir, list.entries[i].name, &err);
	gp_snapshot_list_free(&list);
}

void snapshot_rig_destroy(struct snapshot_rig *s)
{
	atomic_store_explicit(&s->quit, true, memory_order_relaxed);
	// They wait for nobody, but a grace period waits for this thread.
	gp_rcu_offline();
	if (s->control_runs)
		pthread_join(s->control, NULL);
	if (s->writer_runs)
		pthread_join(s->writer, NULL);
	gp_rcu_online();
	directory_empty(s->o.dir);
	rig_destroy(s->rig);
	free(s);
}
