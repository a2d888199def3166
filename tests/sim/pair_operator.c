// SPDX-License-Identifier: BSD-3-Clause
//
// Snapshots instead of every commit: when the primary is gone an operator starts it again, or makes
// sure that it stays off, promotes the replica, and only then starts the old one as replica. What
// is lost is bounded by lag_max, and the judge knows what was.
#include "pair_ask.h"

#define RETRY_NS  (10 * MS)
#define DECIDE_NS (20 * MS)

static bool may_promote(const struct pair_sim *s, const struct pair_node *p)
{
	return p->alive && p->snaps.loaded && p->snaps.line == s->op.line &&
	       !(s->manual && s->op.promotions > 0);
}

void pair_operator_kill(struct pair_sim *s, uint32_t node, bool power, uint64_t down_ns)
{
	struct pair_operator *op = &s->op;
	struct pair_node *n = &s->node[node];
	pair_node_kill(n, down_ns);
	if (power)
		pair_disk_power_loss(s->disk[node]);
	if (node != op->primary || op->promotes || s->calm)
		return;
	if (!may_promote(s, &s->node[1 - node]) || rng_below(&s->rng, 3) == 0)
		return;
	op->promotes = true;
	op->at = s->now + rng_below(&s->rng, DECIDE_NS);
	n->back_at = PAIR_NEVER;
}

void pair_operator_asks(struct pair_sim *s, struct pair_node *n)
{
	bool awake = n->alive && s->now >= n->awake_at;
	if (!awake || s->now < s->op.at || n->ask.open || n->rules.intent != GP_LEAD_NO_INTENT)
		return;
	s->op.at = s->now + RETRY_NS;
	n->fence_due = n->read_due = true;
}

void pair_operator_turn(struct pair_sim *s)
{
	struct pair_operator *op = &s->op;
	struct pair_node *old = &s->node[op->primary], *n = &s->node[1 - op->primary];
	if (!op->promotes)
		return;
	if (n->alive && n->leading) {
		op->promotes = false;
		op->primary = n->idx;
		op->promotions++;
		old->back_at = s->now + rng_below(&s->rng, DECIDE_NS);
		return;
	}
	pair_operator_asks(s, n);
}

bool pair_operator_fences(struct pair_node *n)
{
	bool due = n->fence_due;
	n->fence_due = false;
	return due;
}

// ---- the judge

// Steps that came out, in part or whole; -1: nothing did.
static int64_t steps_out(const struct oracle *k)
{
	int64_t whole = k->generation == UINT32_MAX ? -1 : (int64_t)k->generation;
	return whole + (k->units_next > 0);
}

static void loss_check(struct pair_node *n, int64_t had, int64_t has)
{
	struct pair_sim *s = n->s;
	if (has > had)
		pair_broken(s, "node %u leads from step %d, only %d came out", n->idx, (int)has,
			(int)had);
	if (s->periodic && had - GP_MAX(has, 0) > (int64_t)s->job.lag_max)
		pair_broken(s, "node %u leads from step %d, %d came out: lag_max is %u", n->idx,
			(int)has, (int)had, s->job.lag_max);
	if (s->op.acked && has < (int64_t)s->op.acked_step)
		pair_broken(s, "node %u leads from step %d, a replica has told to hold step %u",
			n->idx, (int)has, s->op.acked_step);
	if (has >= had)
		return;
	s->stats.steps_lost += (uint64_t)(had - has);
	s->stats.losses++;
	s->op.left[s->op.rewinds++ % PAIR_REWINDS_MAX] = (uint32_t)has;
}

static void values_check(struct pair_node *n)
{
	struct pair_sim *s = n->s;
	for (uint32_t b = 0; b < s->oracle.blocks_count && !s->why[0]; b++) {
		uint32_t elems;
		const float *v = gp_engine_block(n->engine, 0, b, n->snaps.loaded_step, 0, &elems);
		if (v)
			oracle_check_block(&s->oracle, v, elems, n->snaps.loaded_step, b,
				"snapshot at node", n->idx);
		else
			pair_broken(s, "node %u: block %u of what was loaded is gone", n->idx, b);
	}
}

void pair_operator_leads(struct pair_node *n)
{
	struct pair_sim *s = n->s;
	struct pair_snaps *x = &n->snaps;
	loss_check(n, steps_out(&s->oracle), x->loaded ? (int64_t)x->loaded_step : -1);
	if (s->op.saves && (x->loaded ? x->loaded_step : 0) < s->op.saved[n->idx])
		pair_broken(s, "node %u leads from step %u, it has saved step %u", n->idx,
			x->loaded ? x->loaded_step : 0, s->op.saved[n->idx]);
	if (x->loaded && (s->op.saves || n->idx != s->op.primary) && !s->why[0])
		values_check(n);
	oracle_rewind(&s->oracle, x->loaded ? x->loaded_step : UINT32_MAX);
	s->met = GP_MIN(s->met, x->loaded ? x->loaded_step : 0);
	if (s->owner != 0) {
		s->takeovers++;
		s->stats.takeovers += n->idx != s->op.leader;
		s->stats.restarts += n->idx == s->op.leader;
	}
	s->op.line += n->idx != s->op.leader;
	s->op.leader = n->idx;
	x->line = s->op.line;
	s->owner = n->life;
	s->epoch = n->epoch;
	s->base = s->decision = x->loaded ? x->loaded_decision : 0;
}

bool pair_lost_since(const struct pair_sim *s, uint32_t rewinds, uint32_t done)
{
	for (uint32_t k = rewinds; k < s->op.rewinds; k++) {
		uint32_t left = s->op.left[k % PAIR_REWINDS_MAX];
		if (left == UINT32_MAX || left < done) // even the initial parameters, or steps
			return true;
	}
	return false;
}
