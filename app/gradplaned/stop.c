// SPDX-License-Identifier: BSD-3-Clause
//
// The orderly end: no new step begins, the step in hand is finished, a last snapshot is written and
// shipped, the loop ends. Every phase has a bound; a second signal does not wait at all.
#include "gradplaned.h"

#include <gp_log.h>

#include <event2/event.h>
#include <unistd.h>

#define STEP_QUIET_NS UINT64_C(2000000000)  // without progress the step in hand is given up
#define CUT_NS_MAX    UINT64_C(5000000000)  // until the last cut is whole
#define GATE_NS_MAX   UINT64_C(1000000000)  // until the replica has acknowledged it
#define SHIP_NS_MAX   UINT64_C(10000000000) // until the replica has verified it
#define AWAY_NS_MAX   UINT64_C(2000000000)  // the same, while there is no connection

static void on_signal_again(int number)
{
	(void)number;
	static const char text[] = "gradplaned: a second signal: ending at once\n";
	(void)!write(STDERR_FILENO, text, sizeof(text) - 1);
	_exit(EXIT_FAILED);
}

static void phase_enter(struct node *n, enum stop_phase phase)
{
	n->stop.phase = phase;
	n->stop.since = clock_now();
}

void stop_begin(struct node *n, const char *why)
{
	if (n->stop.phase != STOP_NOT)
		return;
	gp_info("%s: finishing the step in hand", why);
	struct sigaction again = {.sa_handler = on_signal_again};
	for (uint32_t i = 0; i < 2; i++)
		event_del(n->control.signals[i]);
	sigaction(SIGTERM, &again, NULL);
	sigaction(SIGINT, &again, NULL);
	gp_registrar_stop(n->registrar);
	phase_enter(n, STOP_STEP);
	n->stop.progress = n->stop.since;
}

// Something that changes whenever a job moves.
static uint64_t job_mark(const struct gp_job_view *v)
{
	return ((uint64_t)v->generation << 32 | v->decision) + v->joined;
}

static bool job_rests(struct node *n, uint32_t i, const struct gp_job_view *v)
{
	struct stop *s = &n->stop;
	if (!v->ready || v->joined == 0 || v->members == 0)
		return true;
	if (v->state != GP_STATE_STOPPING)
		return false;
	// Of an asynchronous job the step of the fastest rank.
	uint32_t step = v->consistency == GP_CONSIST_BSP ? v->generation : v->clock_max;
	if (!s->seen[i]) {
		s->seen[i] = true;
		s->from[i] = step;
	}
	return gp_before(s->from[i], step);
}

static bool jobs_rest(struct node *n, uint64_t now)
{
	struct stop *s = &n->stop;
	bool rest = true;
	uint64_t mark = 0;
	for (uint32_t i = 0; i < n->cfg.jobs_count; i++) {
		struct gp_job_view v;
		gp_engine_job_view(n->engine, i, &v);
		mark += job_mark(&v);
		rest &= job_rests(n, i, &v);
	}
	if (mark != s->last_mark) {
		s->last_mark = mark;
		s->progress = now;
	}
	return rest || now - s->progress > STEP_QUIET_NS;
}

static json_t *last_step_json(struct node *n)
{
	struct gp_job_view v;
	gp_engine_job_view(n->engine, 0, &v);
	if (!v.initialised)
		return json_pack("{s:n}", "step");
	return json_pack("{s:I}", "step", (json_int_t)v.generation);
}

static void last_asked(struct node *n)
{
	struct stop *s = &n->stop;
	for (uint32_t i = 0; i < n->cfg.jobs_count; i++) {
		struct gp_job_view v;
		gp_engine_job_view(n->engine, i, &v);
		if (!snapshots_wanted(n, i))
			continue;
		s->asked |= UINT64_C(1) << i;
		s->made[i] = n->snapshots.jobs[i].made;
		s->step[i] = v.generation;
	}
}

static void step_finished(struct node *n)
{
	struct stop *s = &n->stop;
	struct gp_ctl_error err;
	for (uint32_t i = 0; i < s->reqs_count; i++)
		gp_ctl_reply_ok(s->reqs[i], last_step_json(n));
	s->reqs_count = 0;
	phase_enter(n, STOP_SNAPSHOT);
	if (n->cfg.node.role != GP_ROLE_PRIMARY)
		return;
	if (snapshots_request(n, NULL, NULL, &err) != 0)
		gp_info("no last snapshot: %s", err.text);
	last_asked(n);
}

static void job_unsaved(struct node *n, uint32_t i)
{
	const struct snapshot_job *j = &n->snapshots.jobs[i];
	const char *name = n->cfg.jobs[i].name;
	n->stop.unsaved = true;
	if (j->written)
		gp_error("job %s: step %u is not in a snapshot, what came after step %u is lost: "
			 "%s is the last snapshot",
			name, n->stop.step[i], j->last_step, j->last_path);
	else
		gp_error("job %s: step %u is not in a snapshot, and there is no other: all of the "
			 "job is lost",
			name, n->stop.step[i]);
}

static void jobs_saved_check(struct node *n)
{
	const struct stop *s = &n->stop;
	for (uint32_t i = 0; i < n->cfg.jobs_count; i++) {
		const struct snapshot_job *j = &n->snapshots.jobs[i];
		bool saved = j->made != s->made[i] && !gp_before(j->last_step, s->step[i]);
		if ((s->asked >> i & 1) && !saved)
			job_unsaved(n, i);
	}
}

static void snapshot_phase(struct node *n, uint64_t now)
{
	if (now - n->stop.since > CUT_NS_MAX)
		snapshots_give_up(n, "the last step is not whole: a worker has left in its middle");
	else if (now - n->stop.since > GATE_NS_MAX)
		snapshots_take_released(n);
	if (!snapshots_idle(n))
		return;
	jobs_saved_check(n);
	phase_enter(n, STOP_SHIP);
	if (!replica_has_all(n))
		gp_info("waiting for the replica to verify the last snapshot");
}

static void ship_phase(struct node *n, uint64_t now)
{
	bool late = now - n->stop.since > (replica_is_connected(n) ? SHIP_NS_MAX : AWAY_NS_MAX);
	if (!late && !replica_has_all(n))
		return;
	if (!replica_has_all(n))
		gp_warn("the replica has not verified the last snapshot; it gets it when this "
			"node runs again");
	phase_enter(n, STOP_DONE);
	event_base_loopbreak(n->control.base);
}

void stop_tick(struct node *n, uint64_t now)
{
	switch (n->stop.phase) {
	case STOP_STEP:
		if (jobs_rest(n, now))
			step_finished(n);
		return;
	case STOP_SNAPSHOT:
		snapshot_phase(n, now);
		return;
	case STOP_SHIP:
		ship_phase(n, now);
		return;
	case STOP_NOT:
	case STOP_DONE:
		return;
	}
}
