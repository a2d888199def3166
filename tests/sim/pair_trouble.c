// SPDX-License-Identifier: BSD-3-Clause
//
// What happens to a pair. Nothing that would lose everything is done on purpose: whoever holds the
// job alone, or is about to, is not killed (it may stand still).
#include "pair.h"

#define EVENT_MIN (2 * MS)
#define EVENT_MAX (60 * MS)
#define DOWN_MIN  (1 * MS)
#define DOWN_MAX  (80 * MS)
#define PAUSE_MIN (500 * US)
#define PAUSE_MAX (60 * MS)

enum trouble {
	KILL_PRIMARY,
	KILL_PRIMARY_AGAIN, // twice as likely
	KILL_BACKUP,
	PAUSE,
	CUT_LINK,
	REGISTER_AWAY,
	MUTE,
	KILL_WORKER,
	TROUBLES,
};

static uint64_t spread(struct pair_sim *s, uint64_t low, uint64_t high)
{
	return rng_spread(rng_next(&s->rng), low, high);
}

// The other node holds all that was ever released, and the record says so.
static bool may_die(const struct pair_sim *s, uint32_t i)
{
	const struct pair_node *n = &s->node[i], *other = &s->node[1 - i];
	if (!n->alive || !other->alive || !s->reg.exists || n->ask.open ||
		n->rules.intent != GP_LEAD_NO_INTENT)
		return false;
	for (uint32_t k = 0; k < PAIR_LATE_MAX; k++)
		if (s->late[k].open)
			return false;
	if (s->reg.record.primary != i)
		return other->leading && other->rules.role == GP_LEAD_PRIMARY;
	return s->reg.record.backup == 1 - i && other->rules.role == GP_LEAD_BACKUP &&
	       gp_lead_record_equal(&other->rules.mine.record, &s->reg.record);
}

static void node_kill(struct pair_sim *s, bool primary)
{
	uint32_t i = s->reg.record.primary;
	if (!primary)
		i = 1 - i;
	if (!s->reg.exists || !may_die(s, i))
		return;
	s->stats.kills++;
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
		s->reg_away[i] = true;
		s->reg_away[1 - i] |= rng_next(&s->rng) & 1;
		return;
	case MUTE:
		s->mute[i] = true;
		return;
	default:
		worker_kill(s);
	}
}

static void heal(struct pair_sim *s)
{
	s->heal_at = PAIR_NEVER;
	s->link_cut = false;
	s->reg_away[0] = s->reg_away[1] = false;
	s->mute[0] = s->mute[1] = false;
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
	trouble_make(s);
	s->trouble_at = s->now + spread(s, EVENT_MIN, EVENT_MAX);
}

void pair_trouble_end(struct pair_sim *s)
{
	heal(s);
	for (uint32_t i = 0; i < 2; i++)
		if (s->node[i].awake_at != 0)
			s->node[i].awake_at = s->now;
}
