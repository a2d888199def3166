// SPDX-License-Identifier: BSD-3-Clause
//
// The poll loop of one core, and nothing else. A round: a burst from the port, the engine, what is
// to be sent, a quiescent state. Under adaptive polling a core that has found nothing for a while
// sleeps, longer each time up to its limit; asleep it is offline, so it holds up no grace period.
#include "gradplaned.h"

#include <gp_backup.h>

#include <sys/prctl.h>
#include <time.h>

#define IDLE_ROUNDS    16      // empty rounds before the first sleep
#define SLEEP_NS_MIN   2000    // doubles with every sleep that nothing followed
#define SLEEP_NS_ALONE 1000000 // the longest while nobody has a session

// Our addresses are announced at the start and a few times after it: the link may come up later
// than we do (a tap is put on its bridge afterwards), and a neighbour may still hold another
// address.
#define ANNOUNCE_COUNT 5
#define ANNOUNCE_NS    UINT64_C(1000000000)

struct announcing {
	uint64_t begin;
	uint32_t done;
	uint32_t reason; // node.announces when it began
};

// And again when this node has taken an address over.
static void announce_due(struct lcore *l, uint64_t now, struct announcing *a)
{
	uint32_t reason = atomic_load_explicit(&l->node->announces, memory_order_relaxed);
	if (l->idx != 0)
		return;
	if (reason != a->reason)
		*a = (struct announcing){.begin = now, .reason = reason};
	if (a->done == ANNOUNCE_COUNT || now - a->begin < a->done * ANNOUNCE_NS)
		return;
	gp_xport_dpdk_announce(l->xport);
	a->done++;
}

static bool round_run(struct lcore *l, uint64_t now)
{
	struct gp_frame *frames[GP_ENGINE_BURST_MAX];
	uint32_t n = gp_xport_dpdk_poll(l->xport, frames, l->burst);
	bool received = gp_xport_dpdk_received(l->xport) > 0; // also what was answered there
	if (n > 0)
		gp_core_rx(l->core, frames, n, now);
	uint32_t work = gp_core_tick(l->core, now);
	uint32_t queued = gp_xport_dpdk_flush(l->xport);
	gp_rcu_quiescent();
	if (gp_core_backup_wake(l->core))
		pair_wake(l->node);
	return n > 0 || received || work > 0 || queued > 0;
}

static uint64_t idle_sleep(struct lcore *l, uint64_t sleep_ns)
{
	bool serving = atomic_load_explicit(&l->node->serving, memory_order_relaxed);
	uint64_t max = serving ? l->sleep_ns_max : SLEEP_NS_ALONE;
	const struct timespec ts = {.tv_nsec = (long)sleep_ns};
	gp_rcu_offline();
	nanosleep(&ts, NULL);
	gp_rcu_online();
	gp_counter_add(&l->sleeps, 1);
	return GP_MIN(sleep_ns * 2, max);
}

static void rounds_run(struct lcore *l)
{
	uint64_t sleep_ns = GP_MIN((uint64_t)SLEEP_NS_MIN, l->sleep_ns_max);
	struct announcing announcing = {.begin = clock_now()};
	uint64_t before = announcing.begin;
	uint32_t idle = 0;
	bool worked = false;
	while (atomic_load_explicit(&l->node->run, memory_order_relaxed)) {
		uint64_t now = clock_now();
		if (worked)
			gp_counter_add(&l->busy_ns, now - before);
		before = now;
		announce_due(l, now, &announcing);
		worked = round_run(l, now);
		if (worked) {
			idle = 0;
			sleep_ns = GP_MIN((uint64_t)SLEEP_NS_MIN, l->sleep_ns_max);
		} else if (idle < IDLE_ROUNDS) {
			idle++;
		} else if (l->sleep_ns_max > 0) {
			sleep_ns = idle_sleep(l, sleep_ns);
		}
	}
}

int lcore_run(void *arg)
{
	struct lcore *l = arg;
	(void)prctl(PR_SET_TIMERSLACK, 1UL);
	gp_rcu_register_thread();
	(void)round_run(l, clock_now());
	atomic_store_explicit(&l->polling, true, memory_order_release);
	rounds_run(l);
	gp_rcu_unregister_thread();
	return 0;
}
