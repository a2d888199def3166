// SPDX-License-Identifier: BSD-3-Clause
//
// The judge. What anybody but the backup could hear of are decisions, in one order over all
// leaderships; each is worked out by the oracle when it comes out, and never taken back: who is
// promoted holds them all. Beyond them it may hold what its predecessor had decided and nobody had
// heard of; that comes out with the promotion.
#include "pair.h"

static bool decision_same(const struct gp_decision *a, const struct gp_decision *b)
{
	return a->number == b->number && a->kind == b->kind && a->unit == b->unit &&
	       a->step == b->step && a->view == b->view && a->ranks == b->ranks &&
	       gp_ranks_equal(&a->members, &b->members);
}

static void commit_feed(struct pair_sim *s, const struct gp_decision *d)
{
	struct gp_ranks *in = &s->counted[d->step % GP_ARRAY_SIZE(s->counted)];
	if (s->oracle.units_next == 0)
		*in = s->oracle.members;
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(in->w); i++)
		in->w[i] &= s->oracle.members.w[i];
	oracle_commit(&s->oracle, d->unit, d->step, d->view, d->ranks);
}

// Who joined with the view is a new life of its rank. What it contributes is the same, also where
// it has kept what a life before had in hand.
static void view_feed(struct pair_sim *s, const struct gp_decision *d)
{
	gp_ranks_foreach(r, &d->others)
	{
		struct oracle_sent *sent = &s->oracle.sent[r];
		s->lives[r]++;
		for (uint32_t t = 0; t < s->model.tensors_count; t++)
			sent->life[t] = s->lives[r];
	}
	oracle_view(&s->oracle, d->view, d->step, &d->members, s->lives);
}

static void decision_feed(struct pair_sim *s, const struct gp_decision *d)
{
	if (d->number != s->decision + 1)
		pair_broken(s, "decision %u comes out after decision %u", d->number, s->decision);
	s->decision = d->number;
	s->out[d->number % PAIR_DECISIONS_MAX] = *d;
	if (pair_is_async(s))
		pair_async_decision(s, d);
	else if (d->kind == GP_DECIDED_VIEW)
		view_feed(s, d);
	else if (d->kind == GP_DECIDED_COMMIT)
		commit_feed(s, d);
}

void pair_check_told(struct pair_node *n, const struct gp_decision *d)
{
	n->told[d->number % PAIR_DECISIONS_MAX] = *d;
}

// In an epoch one node releases; the other one's are those that its successor held before.
void pair_check_out(struct pair_node *n, const struct gp_decision *d)
{
	struct pair_sim *s = n->s;
	if (n->life == s->owner) {
		// What its gate had opened for comes out a turn later, it may be deposed by then.
		bool leads = n->rules.role == GP_LEAD_PRIMARY;
		uint32_t epoch = leads ? n->rules.mine.record.epoch : n->epoch;
		uint32_t *who = &s->released[epoch % 64];
		if (*who != 0 && *who != n->idx + 1)
			pair_broken(s, "both nodes release in epoch %u", epoch);
		*who = n->idx + 1;
		decision_feed(s, d);
		if (d->kind == GP_DECIDED_COMMIT)
			pair_came_out(s);
		return;
	}
	if (s->base == 0 && d->kind == GP_DECIDED_VIEW)
		return; // before anything was committed the successor begins anew
	if (gp_before(s->base, d->number) ||
		!decision_same(d, &s->out[d->number % PAIR_DECISIONS_MAX]))
		pair_broken(s,
			"node %u lets decision %u out, after its peer has taken over behind %u",
			n->idx, d->number, s->base);
}

static void image_check(struct pair_node *n, const struct gp_image_view *v)
{
	struct pair_sim *s = n->s;
	const struct oracle *k = &s->oracle;
	if (v->generation != k->generation || v->units_ahead != k->units_next)
		pair_broken(s, "node %u takes over at generation %u and %u units, it is %u and %u",
			n->idx, v->generation, v->units_ahead, k->generation, k->units_next);
	for (uint32_t u = 0; u < k->units_count && !s->why[0]; u++) {
		uint32_t step, elems;
		float weight;
		if (!gp_image_unit_step(n->image, v->id, u, &step) || step == GP_IMAGE_NONE)
			continue;
		for (uint32_t b = k->units[u].first; b < k->units[u].first + k->units[u].count;
			b++) {
			const float *x =
				gp_image_block(n->image, v->id, b, step, 0, &elems, &weight);
			if (!s->o.train && step == 0)
				continue;
			if (!x)
				pair_broken(s, "block %u of step %u is not in the image", b, step);
			else
				oracle_check_block(&s->oracle, x, elems, step, b, "image", n->idx);
		}
	}
}

void pair_check_promoted(struct pair_node *n, const struct gp_image_view *v)
{
	struct pair_sim *s = n->s;
	const struct gp_decision *told = s->node[1 - n->idx].told;
	uint32_t last = v ? v->point.decision : 0;
	if (s->owner != 0) {
		s->takeovers++;
		s->stats.takeovers++;
	}
	if (!v && s->oracle.commits > 0)
		pair_broken(s, "node %u takes over with nothing, %llu units were committed", n->idx,
			(unsigned long long)s->oracle.commits);
	if (v && gp_before(last, s->decision))
		pair_broken(s, "node %u takes over behind decision %u, %u had come out", n->idx,
			last, s->decision);
	while (v && !s->why[0] && gp_before(s->decision, last)) {
		const struct gp_decision *d = &told[(s->decision + 1) % PAIR_DECISIONS_MAX];
		decision_feed(s, d);
	}
	s->owner = n->life;
	s->epoch = n->rules.mine.record.epoch;
	s->base = last;
	s->decision = last;
	n->tapped = last;
	s->oracle.view = 0;
	if (pair_is_async(s))
		pair_async_promoted(n, v);
	else if (v && !s->why[0])
		image_check(n, v);
}

// What is there when all is over is what the reference has.
void pair_check_end(struct pair_sim *s)
{
	for (uint32_t i = 0; i < 2; i++) {
		struct pair_node *n = &s->node[i];
		if (!n->alive || !n->leading || n->life != s->owner)
			continue;
		if (pair_is_async(s)) {
			pair_async_end(n);
			return;
		}
		for (uint32_t b = 0; b < s->oracle.blocks_count; b++) {
			uint32_t elems;
			const float *v =
				gp_engine_block(n->engine, 0, b, s->oracle.generation, 0, &elems);
			if (v)
				oracle_check_block(
					&s->oracle, v, elems, s->oracle.generation, b, "node", i);
			else
				pair_broken(s, "block %u of generation %u is gone", b,
					s->oracle.generation);
		}
		return;
	}
	pair_broken(s, "nobody leads in the end");
}
