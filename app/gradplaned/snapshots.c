// SPDX-License-Identifier: BSD-3-Clause
//
// Snapshots as control sees them: cuts that home makes by itself or that somebody asked for, the
// one thread that writes them, and who waits for the result. One is written at a time; cuts of
// other jobs wait, whole and pinned.
#include "gradplaned.h"

#include <gp_log.h>

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define ABORTS_MAX 3 // of one snapshot, then it has failed

static void eventfd_signal(int fd)
{
	const uint64_t one = 1;
	ssize_t n = write(fd, &one, sizeof(one));
	GP_ASSERT(n == (ssize_t)sizeof(one));
}

static void *thread_run(void *arg)
{
	struct node *n = arg;
	struct snapshots *s = &n->snapshots;
	uint64_t count;
	gp_rcu_register_thread();
	gp_rcu_offline();
	for (;;) {
		// The write and the read of a descriptor order what the two threads see of the
		// task.
		if (read(s->wake_fd, &count, sizeof(count)) != (ssize_t)sizeof(count))
			continue; // a signal
		if (s->task->quit)
			break;
		snapshot_write(n, s->task);
		eventfd_signal(s->done_fd);
	}
	gp_rcu_unregister_thread();
	return NULL;
}

// ---- those who wait

// Of the job's newest snapshot.
static json_t *newest_json(const struct node *n, uint32_t job_idx)
{
	const struct snapshot_job *j = &n->snapshots.jobs[job_idx];
	return json_pack("{s:s,s:I,s:s,s:s,s:I,s:f}", "job", n->cfg.jobs[job_idx].name, "step",
		(json_int_t)j->last_step, "path", j->last_path, "content",
		j->last_incremental ? "incremental" : "full", "bytes", (json_int_t)j->last_bytes,
		"wall_ms", (double)j->last_wall_ns / 1e6);
}

static void wait_end(struct snapshot_wait *w, const struct gp_ctl_error *err)
{
	json_t *first = json_array_get(w->done, 0);
	if (w->req && err) {
		gp_ctl_reply_error(w->req, err);
	} else if (w->req) {
		json_t *result = json_copy(first);
		if (result && json_array_size(w->done) > 1)
			json_object_set(result, "snapshots", w->done);
		gp_ctl_reply_ok(w->req, result);
	}
	json_decref(w->done);
	*w = (struct snapshot_wait){0};
}

static void waits_written(struct node *n, const struct snapshot_task *t)
{
	for (uint32_t i = 0; i < SNAPSHOT_WAITS_MAX; i++) {
		struct snapshot_wait *w = &n->snapshots.waits[i];
		uint64_t bit = UINT64_C(1) << t->job_idx;
		if (!w->used || !(w->jobs & bit) || gp_before(t->step, w->steps[t->job_idx]))
			continue;
		json_array_append_new(w->done, newest_json(n, t->job_idx));
		w->jobs &= ~bit;
		if (w->jobs == 0)
			wait_end(w, NULL);
	}
}

static void waits_failed(struct node *n, uint32_t job_idx, const char *why)
{
	struct gp_ctl_error err;
	gp_ctl_error_set(&err, "failed", "%s", why);
	for (uint32_t i = 0; i < SNAPSHOT_WAITS_MAX; i++) {
		struct snapshot_wait *w = &n->snapshots.waits[i];
		if (!w->used || !(w->jobs >> job_idx & 1))
			continue;
		w->jobs &= ~(UINT64_C(1) << job_idx);
		if (w->req || w->jobs == 0) // the server itself goes on waiting for its other jobs
			wait_end(w, &err);
	}
}

static bool job_wanted(const struct snapshots *s, uint32_t job_idx)
{
	for (uint32_t i = 0; i < SNAPSHOT_WAITS_MAX; i++)
		if (s->waits[i].used && (s->waits[i].jobs >> job_idx & 1))
			return true;
	return false;
}

// ---- one task

static void task_succeeded(struct node *n, const struct snapshot_task *t)
{
	struct snapshots *s = &n->snapshots;
	struct snapshot_job *j = &s->jobs[t->job_idx];
	const char *name = n->cfg.jobs[t->job_idx].name;
	j->written = true;
	j->made++;
	j->last_step = t->step;
	j->last_decision = t->decision;
	j->last_incremental = t->incremental;
	j->aborts = 0;
	j->last_bytes = t->bytes;
	j->last_wall_ns = t->wall_ns;
	memcpy(j->last_path, t->path, sizeof(j->last_path));
	s->last_valid = true;
	s->last_idx = t->job_idx;
	s->last_error[0] = '\0';
	s->written_count++;
	s->bytes += t->bytes;
	gp_info("job %s: %s snapshot of step %u, %lu bytes, %lu ms, digest %016lx: %s", name,
		t->incremental ? "incremental" : "full", t->step, t->bytes, t->wall_ns / 1000000,
		t->digest, t->path);
	replica_ship(n, t->path, t->step);
	waits_written(n, t);
}

static void task_failed(struct node *n, const struct snapshot_task *t)
{
	struct snapshots *s = &n->snapshots;
	s->failed_count++;
	memcpy(s->last_error, t->err.text, sizeof(s->last_error));
	gp_error("job %s: no snapshot of step %u: %s; training goes on, the next one is tried as "
		 "usual",
		n->cfg.jobs[t->job_idx].name, t->step, t->err.text);
	waits_failed(n, t->job_idx, t->err.text);
}

// Of one that was given up because memory ran out: whoever waits for it goes on waiting, and if
// nobody does, the server itself waits.
static bool task_tried_again(struct node *n, const struct snapshot_task *t)
{
	struct snapshots *s = &n->snapshots;
	struct snapshot_job *j = &s->jobs[t->job_idx];
	struct gp_ctl_error err;
	if (t->error != -ECANCELED)
		return false;
	s->aborted_count++;
	if (++j->aborts >= ABORTS_MAX) {
		j->aborts = 0;
		return false;
	}
	gp_warn("job %s: the snapshot of step %u is given up and tried again: %s",
		n->cfg.jobs[t->job_idx].name, t->step, t->err.text);
	return job_wanted(s, t->job_idx) ||
	       snapshots_request(n, NULL, n->cfg.jobs[t->job_idx].name, &err) == 0;
}

// The name of the job's newest snapshot, unless it is the one that is to be written again.
static void base_choose(const struct snapshot_job *j, uint32_t step, char *base)
{
	struct gp_snapshot_entry entry;
	const char *slash = strrchr(j->last_path, '/');
	if (j->written && gp_snapshot_name_parse(slash ? slash + 1 : j->last_path, &entry) &&
		entry.step != step)
		memcpy(base, entry.name, sizeof(entry.name));
}

static void task_start(struct node *n, uint32_t job_idx)
{
	struct snapshots *s = &n->snapshots;
	struct snapshot_job *j = &s->jobs[job_idx];
	*s->task = (struct snapshot_task){
		.job_idx = job_idx, .step = j->waiting_step, .decision = j->waiting_decision};
	s->task->released = j->waiting_released;
	base_choose(j, j->waiting_step, s->task->base);
	gp_engine_job_view(n->engine, job_idx, &s->task->view);
	atomic_store_explicit(&s->give_up, false, memory_order_relaxed);
	atomic_store_explicit(&s->blocks_read, false, memory_order_relaxed);
	s->cut_released = s->task->released;
	s->shortages_before = s->task->view.shortages;
	j->waiting = false;
	s->busy = true;
	eventfd_signal(s->wake_fd);
}

// The cut of the task ends as soon as its blocks are read; syncing them may take much longer. When
// its memory runs out before that, completions wait for it (throttle), or it is given up (abort).
static void snapshots_watch(struct node *n)
{
	struct snapshots *s = &n->snapshots;
	struct gp_job_view v;
	if (!s->busy || s->cut_released)
		return;
	if (atomic_load_explicit(&s->blocks_read, memory_order_acquire)) {
		gp_registrar_cut_release(n->registrar, (uint16_t)n->cfg.jobs[s->task->job_idx].id);
		s->cut_released = true;
		return;
	}
	gp_engine_job_view(n->engine, s->task->job_idx, &v);
	if (n->cfg.snapshot.on_full == GP_ON_FULL_ABORT && v.shortages != s->shortages_before)
		atomic_store_explicit(&s->give_up, true, memory_order_relaxed);
}

static void tasks_next(struct node *n)
{
	for (uint32_t i = 0; i < n->cfg.jobs_count && !n->snapshots.busy; i++)
		if (n->snapshots.jobs[i].waiting)
			task_start(n, i);
}

static void on_done(evutil_socket_t fd, short what, void *arg)
{
	struct node *n = arg;
	struct snapshots *s = &n->snapshots;
	uint64_t count;
	(void)what;
	if (read(fd, &count, sizeof(count)) != (ssize_t)sizeof(count))
		return;
	s->busy = false;
	s->wall_ns += s->task->wall_ns;
	if (!s->cut_released)
		gp_registrar_cut_release(n->registrar, (uint16_t)n->cfg.jobs[s->task->job_idx].id);
	if (s->task->error == 0)
		task_succeeded(n, s->task);
	else if (s->task->released && s->task->error == -EAGAIN)
		gp_info("job %s: %s: its cut is waited for", n->cfg.jobs[s->task->job_idx].name,
			s->task->err.text);
	else if (!task_tried_again(n, s->task))
		task_failed(n, s->task);
	tasks_next(n);
}

void snapshots_cut_ready(struct node *n, uint16_t job, uint32_t step, uint32_t decision)
{
	uint32_t idx = node_job_idx(n, job);
	struct snapshot_job *j = &n->snapshots.jobs[idx];
	GP_ASSERT(!j->waiting || j->waiting_released);
	j->cut_asked = false;
	j->waiting = true;
	j->waiting_released = false;
	j->waiting_step = step;
	j->waiting_decision = decision;
	tasks_next(n);
}

// Nothing but released decisions changes what is out, and they are what the cut waits for.
static void job_take_released(struct node *n, uint32_t idx)
{
	struct snapshot_job *j = &n->snapshots.jobs[idx];
	struct gp_job_view v;
	gp_engine_job_view(n->engine, idx, &v);
	if (!v.gated || v.consistency != GP_CONSIST_BSP || !v.initialised)
		return;
	gp_warn("job %s: the replica is away: the snapshot has what it acknowledged, step %u",
		v.name, v.generation);
	j->waiting = true;
	j->waiting_released = true;
	j->waiting_step = v.generation;
	j->waiting_decision = v.decision;
}

void snapshots_take_released(struct node *n)
{
	struct snapshots *s = &n->snapshots;
	for (uint32_t i = 0; i < n->cfg.jobs_count; i++) {
		bool in_hand = s->jobs[i].waiting || (s->busy && s->task->job_idx == i);
		if (!in_hand && job_wanted(s, i))
			job_take_released(n, i);
	}
	tasks_next(n);
}

// ---- requests

// In an asynchronous job there may be pushes behind the newest cut, and cuts without a push.
static bool job_has_newest(const struct node *n, uint32_t idx, const struct gp_job_view *v)
{
	const struct snapshot_job *j = &n->snapshots.jobs[idx];
	if (!j->written || access(j->last_path, R_OK) != 0)
		return false;
	if (v->consistency == GP_CONSIST_BSP)
		return j->last_step == v->generation;
	return !gp_engine_has_changed(n->engine, idx, j->last_step, j->last_decision);
}

// Adds job idx to what w waits for; a generation that is on disk already is the answer.
static void wait_add(struct node *n, struct snapshot_wait *w, uint32_t idx)
{
	struct gp_job_view v;
	gp_engine_job_view(n->engine, idx, &v);
	if (v.kind == GP_KIND_REDUCE || !v.ready || !v.initialised)
		return;
	if (job_has_newest(n, idx, &v)) {
		json_t *newest = newest_json(n, idx);
		json_object_set_new(newest, "unchanged", json_true());
		json_array_append_new(w->done, newest);
		return;
	}
	w->jobs |= UINT64_C(1) << idx;
	w->steps[idx] = v.generation;
}

static struct snapshot_wait *wait_take(struct snapshots *s)
{
	for (uint32_t i = 0; i < SNAPSHOT_WAITS_MAX; i++) {
		struct snapshot_wait *w = &s->waits[i];
		if (w->used)
			continue;
		w->done = json_array();
		w->used = w->done != NULL;
		return w->used ? w : NULL;
	}
	return NULL;
}

int snapshots_request(
	struct node *n, struct gp_ctl_request *req, const char *name, struct gp_ctl_error *err)
{
	bool known = name == NULL;
	struct snapshot_wait *w = wait_take(&n->snapshots);
	if (!w) {
		gp_ctl_error_set(err, "busy", "too many wait for snapshots: try again");
		return -EBUSY;
	}
	for (uint32_t i = 0; i < n->cfg.jobs_count; i++) {
		if (name && strcmp(name, n->cfg.jobs[i].name) != 0)
			continue;
		known = true;
		wait_add(n, w, i);
	}
	if (w->jobs == 0 && json_array_size(w->done) == 0) {
		wait_end(w, NULL);
		if (known)
			gp_ctl_error_set(err, "not_ready",
				"no job of kind train or embed has a generation yet: its workers "
				"have to join first, and to give initial values");
		else
			gp_ctl_error_set(err, "not_found", "no job %s", name);
		return known ? -EAGAIN : -ENOENT;
	}
	w->req = req;
	if (w->jobs == 0)
		wait_end(w, NULL);
	else
		snapshots_tick(n);
	return 0;
}

void snapshots_tick(struct node *n)
{
	struct snapshots *s = &n->snapshots;
	snapshots_watch(n);
	for (uint32_t i = 0; i < n->cfg.jobs_count; i++) {
		struct snapshot_job *j = &s->jobs[i];
		bool in_hand = j->cut_asked || j->waiting || (s->busy && s->task->job_idx == i);
		if (in_hand || !job_wanted(s, i))
			continue;
		int rc = gp_registrar_cut(n->registrar, (uint16_t)n->cfg.jobs[i].id);
		if (rc == 0)
			j->cut_asked = true; // else a cut is ending or a ring is full: next tick
	}
}

bool snapshots_idle(const struct node *n)
{
	const struct snapshots *s = &n->snapshots;
	for (uint32_t i = 0; i < n->cfg.jobs_count; i++)
		if (s->jobs[i].waiting || job_wanted(s, i))
			return false;
	return !s->busy;
}

bool snapshots_wanted(const struct node *n, uint32_t job_idx)
{
	return job_wanted(&n->snapshots, job_idx);
}

void snapshots_give_up(struct node *n, const char *why)
{
	for (uint32_t i = 0; i < n->cfg.jobs_count; i++) {
		const struct snapshots *s = &n->snapshots;
		if (!s->jobs[i].waiting && !(s->busy && s->task->job_idx == i))
			waits_failed(n, i, why);
	}
}

// ---- start and stop

int snapshots_start(struct node *n)
{
	struct snapshots *s = &n->snapshots;
	s->wake_fd = eventfd(0, EFD_CLOEXEC);
	s->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->task = calloc(1, sizeof(*s->task));
	s->done_event = event_new(n->control.base, s->done_fd, EV_READ | EV_PERSIST, on_done, n);
	if (s->wake_fd < 0 || s->done_fd < 0 || !s->task || !s->done_event ||
		event_add(s->done_event, NULL) != 0)
		return -ENOMEM;
	int rc = -pthread_create(&s->thread, NULL, thread_run, n);
	s->thread_runs = rc == 0;
	return rc;
}

// Waits for a snapshot that is being written.
void snapshots_stop(struct node *n)
{
	struct snapshots *s = &n->snapshots;
	const struct gp_ctl_error err = {"stopping", "the server ended before the snapshot"};
	uint64_t count;
	if (s->thread_runs) {
		if (s->busy) {
			// The descriptor does not block: look until the thread has written to it.
			const struct timespec pause = {.tv_nsec = 1000000};
			while (read(s->done_fd, &count, sizeof(count)) < 0)
				nanosleep(&pause, NULL);
		}
		s->task->quit = true;
		eventfd_signal(s->wake_fd);
		pthread_join(s->thread, NULL);
	}
	for (uint32_t i = 0; i < SNAPSHOT_WAITS_MAX; i++)
		if (s->waits[i].used)
			wait_end(&s->waits[i], &err);
	if (s->done_event)
		event_free(s->done_event);
	close(s->wake_fd);
	close(s->done_fd);
	free(s->task);
}
