// SPDX-License-Identifier: BSD-3-Clause
//
// Faults that are events: they strike at random times, and most heal after a while.
#include "sim.h"

#define KILLED_MAX	(1500 * MS)
#define KILLED_MANY_MAX (5 * MS)
#define CUT_MAX		(3 * SEC)
#define PAUSE_MAX	(3 * SEC)
#define STARVED_MAX	(20 * MS)
#define CONTROL_MAX	(300 * MS)
#define JUMP_MAX	(10 * SEC)

static const enum sim_fault events[] = {FAULT_ONEWAY, FAULT_PARTITION, FAULT_KILL, FAULT_PAUSE,
	FAULT_COREPAUSE, FAULT_CONTROL, FAULT_CLOCK, FAULT_FRAMES};

static uint64_t spread(struct sim *s, uint64_t high)
{
	return rng_spread(rng_next(&s->rng), 50 * US, high);
}

static struct sim_node *any_node(struct sim *s)
{
	return &s->nodes[rng_below(&s->rng, s->nodes_count)];
}

static void core_sleep(struct sim *s, uint32_t core, uint64_t until)
{
	s->cores[core].asleep_until = GP_MAX(s->cores[core].asleep_until, until);
	s->cores[core].wake_at = GP_MAX(s->cores[core].wake_at, until);
}

static void all_cut(struct sim *s, bool cut)
{
	for (uint32_t i = 0; i < s->nodes_count; i++) {
		struct wire_host *h = &s->wire.hosts[s->nodes[i].host];
		h->cut[WIRE_UP] = h->cut[WIRE_DOWN] = cut;
	}
}

static void clock_jump(struct sim *s)
{
	uint64_t more = spread(s, JUMP_MAX);
	if (rng_next(&s->rng) & 1) {
		s->server_ahead += more;
		return;
	}
	struct sim_node *n = any_node(s);
	n->ahead += more;
	n->wake_at = n->core ? s->now : n->wake_at;
}

static void kill_one(struct sim *s, struct sim_node *n, uint64_t down_max)
{
	if (n->phase != NODE_GONE)
		node_kill(s, n, spread(s, down_max));
	s->stats.kills++;
}

// Half of all at once, and they are back soon: views and joins meet.
static void kill_many(struct sim *s)
{
	for (uint32_t i = 0; i < s->nodes_count; i++)
		if (rng_next(&s->rng) & 1)
			kill_one(s, &s->nodes[i], KILLED_MANY_MAX);
}

static void strike(struct sim *s, enum sim_fault f)
{
	uint64_t until = s->now;
	switch (f) {
	case FAULT_ONEWAY:
		s->heal_host[f] = any_node(s)->host;
		s->wire.hosts[s->heal_host[f]].cut[rng_below(&s->rng, 2)] = true;
		until += spread(s, CUT_MAX);
		break;
	case FAULT_PARTITION:
		all_cut(s, true);
		until += spread(s, CUT_MAX);
		break;
	case FAULT_KILL:
		if (rng_below(&s->rng, 4) == 0)
			kill_many(s);
		else
			kill_one(s, any_node(s), KILLED_MAX);
		break;
	case FAULT_PAUSE:
		until += spread(s, PAUSE_MAX);
		for (uint32_t i = 0; i < s->o->cores; i++)
			core_sleep(s, i, until);
		s->control_asleep_until = until;
		break;
	case FAULT_COREPAUSE:
		core_sleep(s, (uint32_t)rng_below(&s->rng, s->o->cores), s->now + spread(s, SEC));
		break;
	case FAULT_CONTROL:
		s->control_asleep_until = s->now + spread(s, CONTROL_MAX);
		break;
	case FAULT_CLOCK:
		clock_jump(s);
		break;
	case FAULT_FRAMES:
		s->wire.hosts[WIRE_HOST_SERVER].starved = true;
		until += spread(s, STARVED_MAX);
		break;
	default:
		GP_ASSERT(false); // is no event
	}
	s->heal_at[f] = until;
	uint64_t pause = 2 * s->o->event_ns * (f == FAULT_KILL ? 4 : 1);
	s->trouble_at[f] = until + rng_below(&s->rng, pause) + 1;
}

static void heal(struct sim *s, enum sim_fault f)
{
	s->heal_at[f] = WIRE_NEVER;
	if (f == FAULT_ONEWAY) {
		struct wire_host *h = &s->wire.hosts[s->heal_host[f]];
		h->cut[WIRE_UP] = h->cut[WIRE_DOWN] = false;
	}
	if (f == FAULT_PARTITION)
		all_cut(s, false);
	if (f == FAULT_FRAMES)
		s->wire.hosts[WIRE_HOST_SERVER].starved = false;
}

void trouble_start(struct sim *s)
{
	for (uint32_t f = 0; f < FAULT_COUNT; f++)
		s->trouble_at[f] = s->heal_at[f] = WIRE_NEVER;
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(events); i++)
		if (sim_has(s->o, events[i]))
			s->trouble_at[events[i]] = rng_below(&s->rng, 2 * s->o->event_ns);
}

uint64_t trouble_next(const struct sim *s)
{
	uint64_t at = WIRE_NEVER;
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(events); i++)
		at = GP_MIN(at, GP_MIN(s->trouble_at[events[i]], s->heal_at[events[i]]));
	return at;
}

void trouble_run(struct sim *s)
{
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(events); i++) {
		if (s->heal_at[events[i]] <= s->now)
			heal(s, events[i]);
		if (s->trouble_at[events[i]] <= s->now)
			strike(s, events[i]);
	}
}

void trouble_end(struct sim *s)
{
	for (uint32_t f = 0; f < FAULT_COUNT; f++)
		s->trouble_at[f] = s->heal_at[f] = WIRE_NEVER;
	wire_calm(&s->wire);
	for (uint32_t i = 0; i < s->o->cores; i++) {
		s->cores[i].asleep_until = s->now;
		s->cores[i].wake_at = s->now;
	}
	s->control_asleep_until = s->now;
	for (uint32_t i = 0; i < s->nodes_count; i++)
		s->nodes[i].slow = 1;
}
