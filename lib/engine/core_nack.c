// SPDX-License-Identifier: BSD-3-Clause
#include "nack.h"

#include "engine_priv.h"

#define MS	     UINT64_C(1000000)
#define LOOK_NS	     UINT64_C(200000)
#define WAIT_MIN     (2 * MS)
#define WAIT_MAX     (50 * MS)
#define WAIT_SPREADS 4 // a rank that is that much later than usual is not just later
#define INTERVAL_MAX (64 * MS)
#define SECTIONS_MAX 32
#define PLACES_MAX   4096 // looked through for one NACK

static const struct slot *place_slot(const struct job_core *jc, uint32_t local, uint32_t step)
{
	uint64_t place = (uint64_t)step * jc->table.blocks_count + local;
	const struct slot *slot = &jc->slots[(uint32_t)place & jc->slot_mask];
	return slot->open && slot->step == step && slot->local == local ? slot : NULL;
}

static bool has_contributed(const struct job_core *jc, uint32_t rank, uint32_t local, uint32_t step)
{
	if (!gp_before(jc->table.blocks[local].done_step, step))
		return true;
	const struct slot *slot = place_slot(jc, local, step);
	return slot && gp_ranks_has(&slot->ranks, rank);
}

// The slot of the lowest incomplete place, if all members but one have contributed to it.
static const struct slot *slot_watched(const struct job_core *jc)
{
	if (jc->slots_open == 0 || jc->members_count < 2)
		return NULL;
	const struct slot *slot = place_slot(jc, jc->low_local, jc->low_step);
	bool initial = slot && slot->step == 0 && job_trains(jc->job);
	return slot && !initial && slot->count + 1 == jc->members_count ? slot : NULL;
}

static uint32_t rank_missing(const struct job_core *jc, const struct slot *slot)
{
	gp_ranks_foreach(r, &jc->members)
	{
		if (!gp_ranks_has(&slot->ranks, r))
			return r;
	}
	return GP_RANKS_MAX;
}

// What was watched is complete, or another place is the lowest now.
static void watch_end(struct nack_watch *w, uint64_t now)
{
	if (w->active && !w->asked)
		w->spread = w->spread - w->spread / 8 + (now - w->since) / 8;
	w->active = false;
}

static void watch_begin(struct nack_watch *w, const struct slot *slot, uint64_t now)
{
	w->active = true;
	w->asked = false;
	w->step = slot->step;
	w->local = slot->local;
	w->since = now;
	w->interval = GP_MIN(GP_MAX(WAIT_SPREADS * w->spread, WAIT_MIN), WAIT_MAX);
	w->ask_at = GP_MAX(w->ask_at, now + w->interval);
}

// Blocks of the step from the lowest place up to the last one to which the rank has contributed:
// what it lacks of them was lost. None, if it has contributed to nothing later.
static uint32_t holes_gather(const struct gp_core *c, const struct job_core *jc, uint32_t rank,
	struct gp_section s[SECTIONS_MAX])
{
	uint64_t most = GP_MIN(jc->slot_mask + 1, PLACES_MAX);
	uint32_t end = (uint32_t)GP_MIN(jc->low_local + most, jc->table.blocks_count);
	uint32_t n = 0, whole = 0;
	for (uint32_t local = jc->low_local; local < end; local++) {
		if (has_contributed(jc, rank, local, jc->low_step)) {
			whole = n;
			continue;
		}
		uint32_t block = job_block(jc->job, c, local);
		uint32_t cores = c->engine->cfg.cores_count;
		bool joins = n > whole && s[n - 1].block + s[n - 1].run * cores == block;
		if (joins)
			s[n - 1].run++;
		else if (n == SECTIONS_MAX)
			break;
		else
			s[n++] = (struct gp_section){.block = block, .run = 1};
	}
	return whole;
}

static struct core_session *rank_session(
	struct gp_core *c, const struct job_core *jc, uint32_t rank)
{
	for (uint32_t i = 0; i < c->engine->cfg.sessions_max; i++) {
		struct core_session *cs = &c->sessions[i];
		const struct gp_session *s = gp_rcu_dereference(&c->engine->sessions[i]);
		if (cs->bound && s && s->id == cs->id && s->job == jc->job->cfg->id &&
			s->rank == rank)
			return cs;
	}
	return NULL;
}

static void nack_send(struct gp_core *c, struct core_session *cs, const struct job_core *jc,
	const struct gp_section *s, uint32_t n)
{
	struct gp_header h = {.type = GP_WIRE_NACK, .step = jc->low_step, .sections = (uint8_t)n};
	struct answer a;
	if (!answer_begin(c, cs, jc, &h, &a))
		return;
	for (uint32_t i = 0; i < n; i++)
		gp_wire_put_section(a.frame->data, i, &s[i]);
	answer_send(c, cs, &a, 0);
}

static void nack_ask(struct gp_core *c, struct job_core *jc, const struct slot *slot)
{
	struct nack_watch *w = &jc->nack;
	struct gp_section s[SECTIONS_MAX];
	uint32_t rank = rank_missing(jc, slot);
	w->ask_at = c->now + w->interval;
	w->interval = GP_MIN(2 * w->interval, INTERVAL_MAX);
	if (rank == GP_RANKS_MAX)
		return;
	uint32_t n = holes_gather(c, jc, rank, s);
	struct core_session *cs = n > 0 ? rank_session(c, jc, rank) : NULL;
	if (!cs)
		return;
	w->asked = true;
	nack_send(c, cs, jc, s, n);
}

void nack_tick(struct gp_core *c, struct job_core *jc)
{
	struct nack_watch *w = &jc->nack;
	if (c->now < w->look_at || jc->slots_open == 0)
		return;
	w->look_at = c->now + LOOK_NS;
	const struct slot *slot = slot_watched(jc);
	bool same = slot && w->active && w->step == slot->step && w->local == slot->local;
	if (!same) {
		watch_end(w, c->now);
		if (slot)
			watch_begin(w, slot, c->now);
		return;
	}
	if (c->now >= w->ask_at)
		nack_ask(c, jc, slot);
}
