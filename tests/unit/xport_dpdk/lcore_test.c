// SPDX-License-Identifier: BSD-3-Clause
//
// Two polled cores on lcores of their own: one has the only queue, the other lives by the rings.
#include <criterion/criterion.h>

#include "bench.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#define CORES	   2
#define DATAGRAMS  20000
#define IN_FLIGHT  64
#define BURST	   32
#define DEADLINE_S 60
#define IDLE_MAX   64

static struct bench b;
static _Atomic bool stop;

// Answers every datagram with itself, its fifth byte set to the core that answered.
static int core_run(void *arg)
{
	struct gp_xport_dpdk *core = arg;
	struct gp_xport *x = gp_xport_dpdk_base(core);
	struct gp_frame *in[BURST];
	uint32_t idle = 0;
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		uint32_t n = gp_xport_dpdk_poll(core, in, BURST);
		for (uint32_t i = 0; i < n; i++) {
			in[i]->data[4] = core == b.core[0] ? 0 : 1;
			x->ops->send(x, in[i]);
		}
		gp_xport_dpdk_flush(core);
		idle = n ? 0 : idle + 1;
		if (idle > IDLE_MAX)
			sched_yield(); // the machine of the test may have fewer CPUs than lcores
	}
	return (int)(core == b.core[0] ? 100 : 101);
}

static uint64_t now_s(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec;
}

static void datagram_put(uint32_t n)
{
	struct bytes frame;
	make_udp(&frame, (struct udp_options){.core = n % CORES, .len = 64});
	gp_store32(frame.data + 42, n);
	put16(frame.data + 40, 0); // the payload was changed
	uint32_t sum = textbook_sum(frame.data + 34, 8 + 64, pseudo4(frame.data + 14, 8 + 64, 17));
	put16(frame.data + 40, sum ? sum : 0xffff);
	wire_put(&b, 0, &frame);
}

// Each datagram is answered once, by its owner; returns how many were.
static uint32_t answers_take(uint8_t *seen)
{
	struct bytes frame;
	struct gp_inet_packet p;
	uint32_t taken = 0;
	while (wire_get(&b, 0, &frame, NULL)) {
		const uint8_t *payload = peer_parse(&frame, &p);
		uint32_t n = gp_load32(payload);
		cr_assert_lt(n, DATAGRAMS);
		cr_assert_eq(payload[4], n % CORES);
		cr_assert_eq(p.peer.port, PORT_BASE + n % CORES);
		cr_assert_eq(seen[n]++, 0);
		taken++;
	}
	return taken;
}

Test(lcore, cores_on_threads_answer_everything_once, .timeout = DEADLINE_S)
{
	static uint8_t seen[DATAGRAMS];
	char map[64];
	int cpu = sched_getcpu();
	snprintf(map, sizeof(map), "0@%d,1@%d,2@%d", cpu, cpu, cpu);
	bench_open(&b, (struct bench_opts){.cores_count = CORES, .queues_count = 1, .lcores = map});
	for (uint32_t i = 0; i < CORES; i++)
		cr_assert_eq(gp_dpdk_lcore_launch(gp_dpdk_lcore(i), core_run, b.core[i]), 0);
	cr_assert_eq(gp_dpdk_lcore(CORES), -1);

	uint32_t put = 0, taken = 0;
	for (uint64_t end = now_s() + DEADLINE_S / 2; taken < DATAGRAMS && now_s() < end;) {
		while (put < DATAGRAMS && put - taken < IN_FLIGHT)
			datagram_put(put++);
		taken += answers_take(seen);
		sched_yield();
	}
	atomic_store(&stop, true);
	for (uint32_t i = 0; i < CORES; i++)
		cr_assert_eq(gp_dpdk_lcore_wait(gp_dpdk_lcore(i)), 100 + (int)i);
	cr_assert_eq(taken, DATAGRAMS);
	cr_assert_eq(verdict_of(&b, 0, GP_INET_HANDED_OVER), DATAGRAMS / CORES);
	bench_close(&b);
}
