// SPDX-License-Identifier: BSD-3-Clause
#include "sim.h"

#include <gp_rcu.h>

#include <stdarg.h>
#include <stdlib.h>

#define PROGRESS_NS (60 * SEC) // once faults have ended, everyone finishes within
#define SETTLE_NS   (3 * SEC)  // and then everything comes to rest within
#define SETTLED_NS  (50 * MS)  // after the last datagram
#define STEPS_CALM  3
#define CLASSES	    40 // of memory: powers of two

void sim_broken(struct sim *s, const char *fmt, ...)
{
	if (s->why[0])
		return;
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(s->why, sizeof(s->why), fmt, args);
	va_end(args);
}

// ---- memory: kept from one history to the next, zeroed each time

struct block_head {
	struct block_head *next;
	size_t size;
	uint8_t pad[48];
};

static struct block_head *kept[CLASSES];

void *sim_take(void *arg, size_t size)
{
	struct sim *s = arg;
	uint32_t class = 63 - (uint32_t)__builtin_clzll(size | 63) + 1;
	GP_ASSERT(class < CLASSES);
	struct block_head *h = kept[class];
	if (h)
		kept[class] = h->next;
	else
		h = aligned_alloc(GP_CACHE_LINE, sizeof(*h) + (UINT64_C(1) << class));
	GP_ASSERT(h);
	h->size = size;
	s->memory += (int64_t)size;
	return memset(h + 1, 0, size);
}

void sim_give(void *arg, void *mem)
{
	struct sim *s = arg;
	struct block_head *h = (struct block_head *)mem - 1;
	uint32_t class = 63 - (uint32_t)__builtin_clzll(h->size | 63) + 1;
	s->memory -= (int64_t)h->size;
	h->next = kept[class];
	kept[class] = h;
}

// ---- the loop

static uint64_t next_time(const struct sim *s)
{
	uint64_t at = GP_MIN(wire_next(&s->wire), trouble_next(s));
	at = GP_MIN(at, GP_MAX(s->control_at, s->control_asleep_until));
	for (uint32_t i = 0; i < s->o->cores; i++)
		at = GP_MIN(at, s->cores[i].wake_at);
	for (uint32_t i = 0; i < s->nodes_count; i++)
		at = GP_MIN(at, s->nodes[i].wake_at);
	return at;
}

// Nobody listens at a port that is not open, or while the program is dead.
static void node_arrival(struct sim *s, struct sim_node *n, struct wire_endpoint *to)
{
	if (n->core && to->lane < n->attached)
		node_wake(s, n);
	else
		wire_drop(to);
}

static void arrive(struct sim *s)
{
	struct wire_endpoint *to;
	while (wire_deliver(&s->wire, s->now, &to)) {
		if (to->host == WIRE_HOST_SERVER)
			server_wake(s, to->lane);
		else if (to->host < WIRE_HOST_READER)
			node_arrival(s, &s->nodes[to->host - WIRE_HOST_WORKER], to);
		else if (to->host < WIRE_HOST_STRANGER)
			node_arrival(s, &s->nodes[s->o->workers + to->host - WIRE_HOST_READER], to);
	}
}

static void turn(struct sim *s)
{
	s->now = GP_MAX(s->now, next_time(s));
	s->wire.now = s->now;
	if (trouble_next(s) <= s->now)
		trouble_run(s);
	arrive(s);
	for (uint32_t i = 0; i < s->o->cores; i++)
		if (s->cores[i].wake_at <= s->now)
			server_core_run(s, i);
	if (GP_MAX(s->control_at, s->control_asleep_until) <= s->now)
		server_control_run(s);
	for (uint32_t i = 0; i < s->nodes_count; i++)
		if (s->nodes[i].wake_at <= s->now)
			node_run(s, &s->nodes[i]);
}

static bool all_gone(const struct sim *s)
{
	for (uint32_t i = 0; i < s->nodes_count; i++)
		if (s->nodes[i].phase != NODE_GONE)
			return false;
	return true;
}

static uint32_t steps_done(const struct sim *s)
{
	return s->oracle.generation == UINT32_MAX ? 0 : s->oracle.generation - s->oracle.base;
}

static void calm_begin(struct sim *s)
{
	uint32_t done = steps_done(s);
	s->phase = SIM_CALM;
	s->calm_at = s->now;
	s->last_step = s->oracle.base + done + STEPS_CALM;
	trouble_end(s);
}

static bool faults_are_over(const struct sim *s)
{
	return s->wire.stats.sent >= s->o->datagrams || steps_done(s) + STEPS_CALM >= s->o->steps ||
	       s->now >= s->o->faults_ns;
}

static void verdict_collect(struct sim *s)
{
	if (s->oracle.why[0])
		sim_broken(s, "%s", s->oracle.why);
	if (s->wire.why[0])
		sim_broken(s, "%s", s->wire.why);
}

// With undetected corruption nothing is promised but to survive: such a history ends quietly.
static void run(struct sim *s)
{
	while (!s->why[0] && s->phase != SIM_ENDED) {
		turn(s);
		verdict_collect(s);
		if (s->phase == SIM_FAULTS && faults_are_over(s))
			calm_begin(s);
		if (s->phase == SIM_CALM && all_gone(s))
			s->phase = SIM_ENDED;
		if (s->phase != SIM_CALM || s->now - s->calm_at <= PROGRESS_NS)
			continue;
		if (s->oracle.off)
			return;
		sim_broken(s,
			"no progress for %llu s after the faults; all are at step %u, to do %u",
			(unsigned long long)(PROGRESS_NS / SEC), s->oracle.generation,
			s->last_step);
		tap_stuck(s, stderr);
	}
	s->stats.calm_ns = s->now - s->calm_at;
}

static void settle(struct sim *s)
{
	if (s->cut_held)
		s->cut_until = s->now;
	uint64_t end = s->now + SETTLE_NS;
	while (s->now < end) {
		turn(s);
		verdict_collect(s);
		if (s->wire.heap_count > 0) // the last one to come may be answered
			end = GP_MAX(end, s->now + SETTLED_NS);
	}
	if (s->oracle.off)
		return;
	tap_end(s);
}

// ---- set-up

static void node_make(struct sim *s, struct sim_node *n, uint32_t idx, bool reader)
{
	size_t count = s->model.elems_total;
	*n = (struct sim_node){.idx = idx, .reader = reader, .slow = 1, .outs = n->out};
	n->host = (reader ? WIRE_HOST_READER : WIRE_HOST_WORKER) + idx;
	n->params = calloc(count, sizeof(float));
	n->grad = calloc(count, sizeof(float));
	n->values = calloc(count, sizeof(float));
	n->residual = calloc(count, sizeof(float));
	GP_ASSERT(n->params && n->grad && n->values && n->residual);
	for (uint32_t t = 0; t < s->model.tensors_count; t++)
		n->out[t] = n->params + s->model.from[t];
	if (!reader && rng_below(&s->rng, 3) == 0)
		n->slow = (uint32_t)rng_spread(rng_next(&s->rng), 1, s->o->slow_max);
	n->wake_at = n->next_at = rng_below(&s->rng, 20 * MS);
}

static void nodes_make(struct sim *s)
{
	for (uint32_t i = 0; i < s->o->workers; i++)
		node_make(s, &s->nodes[s->nodes_count++], i, false);
	for (uint32_t i = 0; i < s->o->readers; i++)
		node_make(s, &s->nodes[s->nodes_count++], i, true);
}

static void nodes_free(struct sim *s)
{
	for (uint32_t i = 0; i < s->nodes_count; i++) {
		gp_ccore_destroy(s->nodes[i].core);
		free(s->nodes[i].params);
		free(s->nodes[i].grad);
		free(s->nodes[i].values);
		free(s->nodes[i].residual);
	}
}

static void result_fill(struct sim *s, struct sim_result *r)
{
	s->stats.datagrams = s->wire.stats.sent;
	s->stats.virtual_ns = s->now;
	s->stats.views = s->oracle.views;
	s->stats.commits = s->oracle.commits;
	s->stats.checks = s->oracle.checks;
	*r = (struct sim_result){.ok = !s->why[0],
		.hash = s->wire.hash ^ s->now,
		.stats = s->stats,
		.wire = s->wire.stats};
	memcpy(r->why, s->why, sizeof(r->why));
}

void sim_run(const struct sim_opts *o, bool log, struct sim_result *r)
{
	struct sim *s = calloc(1, sizeof(*s));
	GP_ASSERT(s);
	s->o = o;
	rng_start(&s->rng, o->seed);
	model_init(&s->model, o);
	oracle_start(&s->oracle, o, &s->model);
	wire_start(&s->wire, o);
	s->wire.log = log;
	nodes_make(s);
	trouble_start(s);
	if (!server_start(s))
		sim_broken(s, "the server does not start: no memory, or options out of range");
	if (!s->why[0])
		run(s);
	if (!s->why[0] && s->phase == SIM_ENDED)
		settle(s);
	nodes_free(s);
	gp_engine_destroy(s->engine);
	if (s->memory != 0)
		sim_broken(s, "%lld bytes were not given back", (long long)s->memory);
	oracle_end(&s->oracle);
	result_fill(s, r);
	free(s);
}
