// SPDX-License-Identifier: BSD-3-Clause
//
// Both nodes of a synchronous pair are lost. An operator promotes the one with the newest snapshot,
// and what came after that is lost, as workers are told. From then on nothing more may be: neither
// when the other one is backup again, nor while no worker has come back.
#include "pair_ask.h"

#define LIFE_MIN (30 * MS)
#define LIFE_MAX (120 * MS)
#define DOWN_MIN (1 * MS)
#define DOWN_MAX (40 * MS)

void pair_both_choose(struct pair_sim *s, bool saves)
{
	s->op.saves = saves && !s->plain && !s->periodic && s->o.train && !pair_is_async(s);
	if (!s->op.saves)
		return;
	s->readers = s->meet_every = 0;
	s->takeovers_max += 4; // to come back counts as one
	s->op.at = s->now + LIFE_MIN;
}

bool pair_both_leads(struct pair_node *n)
{
	struct pair_operator *op = &n->s->op;
	if (!op->saves || !op->promotes || op->chosen != n->idx)
		return false;
	bool promoted = rng_next(&n->s->rng) & 1;
	n->epoch = n->rules.mine.record.epoch;
	op->primary = promoted ? 1 - n->idx : n->idx;
	if (!promoted) {
		gp_engine_destroy(n->engine);
		pair_engine_start(n, false, n->epoch);
	}
	pair_snaps_resume(n);
	pair_operator_leads(n);
	if (promoted && gp_registrar_promote(gp_engine_registrar(n->engine), n->epoch) != 0)
		pair_broken(n->s, "node %u: it cannot lead epoch %u", n->idx, n->epoch);
	return true;
}

static uint64_t spread(struct pair_sim *s, uint64_t low, uint64_t high)
{
	return rng_spread(rng_next(&s->rng), low, high);
}

// Neither holds anything any more but what is on its disk.
static void both_die(struct pair_sim *s)
{
	struct pair_operator *op = &s->op;
	bool power = rng_next(&s->rng) & 1;
	for (uint32_t i = 0; i < 2; i++) {
		pair_node_kill(&s->node[i], spread(s, DOWN_MIN, DOWN_MAX));
		if (power)
			pair_disk_power_loss(s->disk[i]);
		s->stats.kills++;
	}
	for (uint32_t i = 0; i < s->o.workers; i++)
		if (s->w[i].phase != PAIR_DEAD && rng_next(&s->rng) & 1)
			pair_worker_kill(&s->w[i], spread(s, DOWN_MIN, 2 * DOWN_MAX));
	s->stats.both_lost++;
	op->promotes = true;
	op->chosen = op->saved[1] > op->saved[0];
	op->at = s->now;
}

static void promote(struct pair_sim *s)
{
	struct pair_operator *op = &s->op;
	struct pair_node *n = &s->node[op->chosen];
	if (n->alive && n->leading) {
		op->promotes = false;
		op->hits = !s->calm && rng_next(&s->rng) & 1;
		op->at = s->now + spread(s, LIFE_MIN, LIFE_MAX);
		return;
	}
	pair_operator_asks(s, n);
}

// Before any worker has come.
static void hit(struct pair_sim *s)
{
	struct pair_operator *op = &s->op;
	op->hits = s->oracle.view == 0 && !s->calm;
	if (!op->hits || !pair_may_die(s, op->chosen))
		return;
	op->hits = false;
	s->stats.kills++;
	pair_node_kill(&s->node[op->chosen], spread(s, DOWN_MIN, DOWN_MAX));
}

void pair_both_turn(struct pair_sim *s)
{
	struct pair_operator *op = &s->op;
	if (op->promotes)
		promote(s);
	else if (op->hits)
		hit(s);
	else if (!s->calm && s->now >= op->at && op->saved[0] + op->saved[1] > 0)
		both_die(s);
}
