// SPDX-License-Identifier: BSD-3-Clause
//
// The control thread: one event loop for signals, timers, the registrar, grace periods, the control
// socket, metrics and the link to the peer.
#include "gradplaned.h"

#include <gp_flight_dump.h>
#include <gp_log.h>
#include <gp_watch.h>

#include <errno.h>
#include <event2/event.h>

#define TICK_US_BUSY  1000  // with sessions: joins, registrations and grace periods wait for it
#define TICK_US_IDLE  10000 // without
#define GRACE_US      50    // between grace periods that completions wait for
#define GRACE_HOLD_NS UINT64_C(20000000)
#define READY_MS_MAX  5000
#define PERIOD_NS_MIN UINT64_C(500000000)

static const struct gp_ctl_command commands[] = {
	{"status", ctl_status},
	{"job show", ctl_job_show},
	{"snapshot now", ctl_snapshot_now},
	{"snapshot restore", ctl_snapshot_restore},
	{"why", ctl_why},
	{"record dump", ctl_record_dump},
	{"leader show", ctl_leader_show},
	{"leader promote", ctl_leader_promote},
	{"stop", ctl_stop},
	{NULL, NULL},
};

// A small job has few versions of its blocks, and steps that are shorter than a tick: it would wait
// for the next tick in each of them. While completions wait grace periods follow each other.
static void grace_hurry(struct node *n, uint64_t now)
{
	struct control *c = &n->control;
	const struct timeval tv = {.tv_usec = GRACE_US};
	uint32_t waits = gp_engine_grace_waits(n->engine);
	if (waits != c->waits_seen)
		c->waits_at = now;
	c->waits_seen = waits;
	if (c->waits_at != 0 && now - c->waits_at < GRACE_HOLD_NS)
		event_add(c->grace, &tv);
}

static void on_grace(evutil_socket_t fd, short what, void *arg)
{
	struct node *n = arg;
	(void)fd, (void)what;
	gp_rcu_grace_turn(gp_engine_grace(n->engine));
	grace_hurry(n, clock_now());
}

static void tick_arm(struct node *n)
{
	bool busy = n->sessions_open > 0 || n->stop.phase != STOP_NOT || n->pair.used;
	const struct timeval tv = {.tv_usec = busy ? TICK_US_BUSY : TICK_US_IDLE};
	event_add(n->control.tick, &tv);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct node *n = arg;
	(void)fd, (void)what;
	uint64_t now = clock_now();
	(void)gp_registrar_poll(n->registrar, now);
	gp_rcu_grace_turn(gp_engine_grace(n->engine));
	snapshots_tick(n);
	replica_tick(n);
	pair_tick(n, now);
	stop_tick(n, now);
	if (!event_pending(n->control.grace, EV_TIMEOUT, NULL))
		grace_hurry(n, now);
	tick_arm(n);
}

// How busy each core was, and whether it polled at all.
static void on_second(evutil_socket_t fd, short what, void *arg)
{
	struct node *n = arg;
	struct control *c = &n->control;
	(void)fd, (void)what;
	uint64_t now = clock_now();
	// After a late turn the next follows early; in a moment no core need have polled.
	uint64_t elapsed = now - c->second_at;
	if (elapsed < PERIOD_NS_MIN)
		return;
	c->second_at = now;
	views_flush(n);
	for (uint32_t i = 0; i < n->cfg.cores.count; i++) {
		uint64_t busy = gp_counter_read(&n->lcores[i].busy_ns);
		uint64_t polls = gp_counter_read(&gp_core_stats(n->lcores[i].core)->polls);
		c->busy_ratio[i] = GP_MIN((double)(busy - c->busy_seen[i]) / (double)elapsed, 1.0);
		if (polls == c->polls_seen[i] && !c->stalled[i])
			gp_warn("core %u (lcore %d) has not polled for a second", i,
				n->lcores[i].id);
		c->stalled[i] = polls == c->polls_seen[i];
		c->busy_seen[i] = busy;
		c->polls_seen[i] = polls;
	}
}

static void on_signal_stop(evutil_socket_t fd, short what, void *arg)
{
	(void)what;
	stop_begin(arg, fd == SIGTERM ? "SIGTERM" : "SIGINT");
}

static void on_signal_dump(evutil_socket_t fd, short what, void *arg)
{
	char path[PATH_MAX];
	(void)fd, (void)what;
	int rc = recorder_dump(arg, NULL, GP_FLIGHT_BY_SIGNAL, path);
	if (rc == 0)
		gp_info("SIGUSR1: the flight recorder is in %s", path);
	else
		gp_error("SIGUSR1: the flight recorder cannot be written: %s",
			rc == -ENOTSUP ? "recorder.mode is off" : strerror(-rc));
}

static void on_signal_other(evutil_socket_t fd, short what, void *arg)
{
	(void)what, (void)arg;
	gp_info("signal %d does nothing: the configuration is read at start only", (int)fd);
}

static int signals_up(struct node *n)
{
	static const struct {
		int number;
		event_callback_fn fn;
	} handled[] = {{SIGTERM, on_signal_stop}, {SIGINT, on_signal_stop},
		{SIGHUP, on_signal_other}, {SIGUSR1, on_signal_dump}, {SIGUSR2, on_signal_other}};
	sigset_t set;
	sigemptyset(&set);
	_Static_assert(GP_ARRAY_SIZE(handled) == GP_ARRAY_SIZE(n->control.signals), "a place each");
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(handled); i++) {
		struct event *e =
			evsignal_new(n->control.base, handled[i].number, handled[i].fn, n);
		n->control.signals[i] = e;
		if (!e || event_add(e, NULL) != 0)
			return -ENOMEM;
		sigaddset(&set, handled[i].number);
	}
	pthread_sigmask(SIG_UNBLOCK, &set, NULL); // in this thread only: main blocked them all
	return 0;
}

static int timers_up(struct node *n)
{
	struct control *c = &n->control;
	const struct timeval second = {.tv_sec = 1};
	c->tick = evtimer_new(c->base, on_tick, n);
	c->grace = evtimer_new(c->base, on_grace, n);
	c->second = event_new(c->base, -1, EV_PERSIST, on_second, n);
	c->second_at = clock_now();
	if (!c->tick || !c->grace || !c->second || event_add(c->second, &second) != 0)
		return -ENOMEM;
	tick_arm(n);
	return 0;
}

static int server_up(struct node *n)
{
	struct gp_ctl_error err;
	const struct gp_ctl_server_config config = {.base = n->control.base,
		.path = n->cfg.control.socket,
		.commands = commands,
		.arg = n};
	machine_directory_make(config.path);
	int rc = gp_ctl_server_create(&n->control.server, &config, &err);
	if (rc != 0)
		gp_error("control.socket: %s", err.text);
	return rc;
}

static struct event_base *base_create(void)
{
	struct event_config *config = event_config_new();
	struct event_base *base = NULL;
	if (!config)
		return NULL;
	// The tick is a millisecond: the coarse clock of the kernel is no finer than four.
	if (event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER) == 0)
		base = event_base_new_with_config(config);
	event_config_free(config);
	return base;
}

int control_up(struct node *n)
{
	gp_rcu_register_thread();
	n->control.base = base_create();
	if (!n->control.base)
		return -ENOMEM;
	int rc = server_up(n);
	if (rc == 0)
		rc = metrics_start(n);
	if (rc == 0)
		rc = leader_start(n);
	if (rc == 0)
		rc = replica_start(n);
	if (rc == 0)
		rc = pair_start(n);
	if (rc == 0)
		rc = snapshots_start(n);
	if (rc == 0)
		rc = timers_up(n);
	if (rc == 0)
		rc = signals_up(n);
	return rc;
}

static bool cores_poll(const struct node *n)
{
	for (uint32_t i = 0; i < n->cfg.cores.count; i++)
		if (!atomic_load_explicit(&n->lcores[i].polling, memory_order_acquire))
			return false;
	return true;
}

static int ready_wait(const struct node *n)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	for (uint32_t ms = 0; ms < READY_MS_MAX; ms++) {
		if (cores_poll(n))
			return 0;
		nanosleep(&pause, NULL);
	}
	gp_error("the polled cores do not get to run: are their CPUs (eal.lcores) free?");
	return -ETIMEDOUT;
}

int control_run(struct node *n)
{
	int rc = ready_wait(n);
	if (rc != 0)
		return rc;
	gp_info("ready");
	if (event_base_dispatch(n->control.base) < 0)
		return -EIO;
	if (n->leader.deposed)
		return -EPERM;
	if (n->stop.unsaved) {
		gp_error("stopped without a snapshot of the last step");
		return -EIO;
	}
	gp_info("stopped");
	return 0;
}

void control_down(struct node *n)
{
	struct control *c = &n->control;
	if (c->base) {
		(void)gp_registrar_poll(n->registrar, clock_now()); // what was decided last
		if (n->snapshots.task)
			snapshots_stop(n);
		leader_stop(n);
		pair_stop(n);
		replica_stop(n);
		metrics_stop(n);
		gp_ctl_server_destroy(c->server);
		for (uint32_t i = 0; i < GP_ARRAY_SIZE(c->signals); i++)
			if (c->signals[i])
				event_free(c->signals[i]);
		if (c->tick)
			event_free(c->tick);
		if (c->grace)
			event_free(c->grace);
		if (c->second)
			event_free(c->second);
		event_base_free(c->base);
	}
	gp_rcu_unregister_thread();
}
