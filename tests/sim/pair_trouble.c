// SPDX-License-Identifier: BSD-3-Clause
//
// What happens to a pair. Nothing that would lose everything is done on purpose here: whoever holds
// the job alone, or is about to, is not killed (it may stand still). pair_both.c does that.
#include "pair.h"

#define EVENT_MIN   (2 * MS)
#define EVENT_MAX   (60 * MS)
#define DOWN_MIN    (1 * MS)
#define DOWN_MAX    (80 * MS)
#define PAUSE_MIN   (500 * US)
#define PAUSE_MAX   (60 * MS)
#define DISK_CALLS  12	// of a change of the record, and some more
#define STEPS_FIRST 3	// before the primary fails, where only that happens
#define SNAP_CALLS  120 // of a snapshot
#define LONG_NS	    (100 * MS)
#define JUMP_MAX    (500 * MS)

enum trouble {
	KILL_PRIMARY,
	KILL_PRIMARY_AGAIN, // twice as likely
	KILL_BACKUP,
	PAUSE,
	CUT_LINK,
	REGISTER_AWAY,
	REGISTER_DIES,
	REGISTER_DISK,
	NODE_DISK,
	MUTE,
	PARTITION,
	JUMP,
	KILL_WORKER,
	TROUBLES,
};

static uint64_t spread(struct pair_sim *s, uint64_t low, uint64_t high)
{
	return rng_spread(rng_next(&s->rng), low, high);
}

bool pair_may_die(const struct pair_sim *s, uint32_t i)
{
	const struct pair_node *n = &s->node[i], *other = &s->node[1 - i];
	const struct gp_lead_record *r = &s->reg.held.record;
	if (!n->alive || !other->alive || !s->reg.held.exists || !pair_register_rests(s) ||
		n->ask.open || n->rules.intent != GP_LEAD_NO_INTENT)
		return false;
	if (r->primary != i)
		return other->leading && other->rules.role == GP_LEAD_PRIMARY;
	return r->backup == 1 - i && other->rules.role == GP_LEAD_BACKUP &&
	       gp_lead_record_equal(&other->rules.mine.record, r);
}

// Snapshots are on its disk, so any node may die; only who is being promoted is spared.
static void snaps_kill(struct pair_sim *s, bool primary)
{
	uint32_t i = primary ? s->op.primary : 1 - s->op.primary;
	struct pair_node *n = &s->node[i];
	if (!n->alive || (primary && s->op.promotes))
		return;
	s->stats.kills++;
	if (primary)
		pair_failed(s);
	pair_operator_kill(s, i, rng_next(&s->rng) & 1, spread(s, DOWN_MIN, DOWN_MAX));
}

static void node_kill(struct pair_sim *s, bool primary)
{
	if (s->periodic) {
		snaps_kill(s, primary);
		return;
	}
	uint32_t i = s->reg.held.record.primary;
	if (!primary)
		i = 1 - i;
	if (!s->reg.held.exists || !pair_may_die(s, i))
		return;
	s->stats.kills++;
	if (primary)
		pair_failed(s);
	pair_node_kill(&s->node[i], spread(s, DOWN_MIN, DOWN_MAX));
}

static void worker_kill(struct pair_sim *s)
{
	struct pair_worker *w = &s->w[rng_below(&s->rng, s->o.workers)];
	if (w->phase == PAIR_DEAD)
		return;
	s->stats.worker_kills++;
	pair_worker_kill(w, spread(s, DOWN_MIN, 4 * DOWN_MAX));
}

static uint32_t place(struct pair_sim *s)
{
	return (uint32_t)rng_below(&s->rng, PAIR_WORKER + s->o.workers);
}

// Up to three pairs of places, one way or both.
static void partition(struct pair_sim *s)
{
	for (uint32_t n = 1 + (uint32_t)rng_below(&s->rng, 3); n > 0; n--) {
		uint32_t a = place(s), b = place(s);
		uint64_t ways = 1 + rng_below(&s->rng, 3);
		if (ways & 1)
			pair_cut(s, a, b);
		if (ways & 2)
			pair_cut(s, b, a);
	}
	s->stats.partitions++;
}

static void jump(struct pair_sim *s)
{
	pair_clock_jump(s, place(s), spread(s, PAUSE_MIN, JUMP_MAX));
	s->stats.jumps++;
}

static void mute(struct pair_sim *s, uint32_t node)
{
	for (uint32_t w = PAIR_WORKER; w < PAIR_PLACES_MAX; w++) {
		pair_cut(s, node, w);
		pair_cut(s, w, node);
	}
}

static void register_away(struct pair_sim *s, uint32_t node)
{
	pair_cut(s, node, PAIR_REGISTER);
	pair_cut(s, PAIR_REGISTER, node);
}

static void disk_fails(struct pair_sim *s, struct pair_disk *d, uint32_t calls)
{
	pair_disk_fault(d, (enum pair_disk_fault)rng_below(&s->rng, DISK_FAULTS),
		1 + (uint32_t)rng_below(&s->rng, calls));
}

static void trouble_make(struct pair_sim *s)
{
	uint32_t i = rng_next(&s->rng) & 1;
	uint64_t until = s->now + spread(s, PAUSE_MIN, PAUSE_MAX);
	s->heal_at = until;
	switch (rng_below(&s->rng, TROUBLES)) {
	case KILL_PRIMARY:
	case KILL_PRIMARY_AGAIN:
		node_kill(s, true);
		return;
	case KILL_BACKUP:
		node_kill(s, false);
		return;
	case PAUSE:
		s->node[i].awake_at = s->node[i].alive ? until : 0;
		s->stats.pauses++;
		return;
	case CUT_LINK:
		s->link_cut = true;
		s->stats.cuts++;
		return;
	case REGISTER_AWAY:
		register_away(s, i);
		if (rng_next(&s->rng) & 1)
			register_away(s, 1 - i);
		return;
	case REGISTER_DIES:
		pair_register_kill(s, rng_next(&s->rng) & 1, spread(s, DOWN_MIN, DOWN_MAX));
		return;
	case NODE_DISK:
		if (s->periodic)
			disk_fails(s, s->disk[i], SNAP_CALLS);
		return;
	case REGISTER_DISK:
		disk_fails(s, s->reg.disk, DISK_CALLS);
		return;
	case MUTE:
		mute(s, i);
		return;
	case PARTITION:
		partition(s);
		return;
	case JUMP:
		jump(s);
		return;
	default:
		worker_kill(s);
	}
}

static void heal(struct pair_sim *s)
{
	s->heal_at = PAIR_NEVER;
	s->link_cut = false;
	pair_cuts_end(s);
}

// The primary dies, stands still, or is cut off from everybody.
static void primary_fails(struct pair_sim *s)
{
	uint32_t i = s->reg.held.record.primary;
	bool trains = s->oracle.generation != UINT32_MAX && s->oracle.generation >= STEPS_FIRST;
	if (!trains || !s->reg.held.exists || !pair_may_die(s, i) || s->fault_at != 0)
		return;
	pair_failed(s);
	s->heal_at = s->now + LONG_NS;
	switch (rng_below(&s->rng, 3)) {
	case 0:
		s->stats.kills++;
		pair_node_kill(&s->node[i], DOWN_MAX);
		return;
	case 1:
		s->stats.pauses++;
		s->node[i].awake_at = s->heal_at;
		return;
	default:
		s->stats.cuts++;
		mute(s, i);
		register_away(s, i);
		pair_cut(s, i, 1 - i);
		pair_cut(s, 1 - i, i);
	}
}

void pair_trouble_start(struct pair_sim *s)
{
	s->heal_at = PAIR_NEVER;
	s->trouble_at = s->now + spread(s, EVENT_MIN, EVENT_MAX);
}

void pair_trouble_turn(struct pair_sim *s)
{
	if (s->now >= s->heal_at)
		heal(s);
	if (s->calm || s->now < s->trouble_at)
		return;
	if (s->plain)
		primary_fails(s);
	else
		trouble_make(s);
	s->trouble_at = s->now + spread(s, EVENT_MIN, EVENT_MAX);
}

void pair_trouble_end(struct pair_sim *s)
{
	heal(s);
	pair_disk_mend(s->reg.disk);
	for (uint32_t i = 0; s->periodic && i < 2; i++)
		pair_disk_mend(s->disk[i]);
	for (uint32_t i = 0; i < 2; i++)
		if (s->node[i].awake_at != 0)
			s->node[i].awake_at = s->now;
}
