// SPDX-License-Identifier: BSD-3-Clause
//
// A reader's program: pulls the newest generation again and again, without being in any view.
#include "rows.h"

#define REST_NS (20 * MS)

static bool has_generation(const struct sim *s)
{
	uint32_t g = s->oracle.generation;
	return s->o->embed || (s->o->train ? g != UINT32_MAX : g != 0);
}

// Nothing newer comes. In an asynchronous job the last step may be passed over: by a rank that
// entered anew after it.
static bool is_over(const struct sim *s)
{
	if (s->phase == SIM_FAULTS)
		return false;
	bool gone = s->oracle.ledger.on;
	for (uint32_t i = 0; i < s->o->workers; i++)
		gone &= s->nodes[i].phase == NODE_GONE;
	return gone || oracle_whole(&s->oracle, s->last_step);
}

static void pull_begin(struct sim *s, struct sim_node *n)
{
	if (s->o->embed) {
		if (rows_pull(s, n))
			n->phase = NODE_PULL;
		n->last_pull = is_over(s);
		return;
	}
	if (gp_ccore_pull(n->core, n->outs) != 0) {
		if (!gp_ccore_error(n->core))
			sim_broken(s, "reader %u: %s", n->idx, gp_ccore_last(n->core)->text);
		return;
	}
	n->phase = NODE_PULL;
	n->last_pull = is_over(s);
}

static void pull_end(struct sim *s, struct sim_node *n)
{
	uint32_t generation = gp_ccore_pull_end(n->core);
	node_check(s, n, generation, 0, "reader");
	bool async = s->oracle.ledger.on;
	if (n->generation && !async && gp_before(generation, n->generation) && !s->oracle.off)
		sim_broken(
			s, "reader %u: generation %u after %u", n->idx, generation, n->generation);
	n->generation = generation;
	s->stats.pulls++;
	n->next_at = s->now + rng_below(&s->rng, REST_NS);
	n->phase = NODE_REST;
	if (!n->last_pull)
		return;
	if (!async && gp_before(generation, s->last_step) && !s->oracle.off)
		sim_broken(s, "reader %u: generation %u, %u was committed", n->idx, generation,
			s->last_step);
	node_leave(n);
}

void reader_advance(struct sim *s, struct sim_node *n)
{
	if (n->phase == NODE_REGISTER && gp_ccore_ready(n->core) && has_generation(s))
		pull_begin(s, n);
	if (n->phase == NODE_PULL && gp_ccore_done(n->core))
		pull_end(s, n);
	if (n->phase == NODE_REST && s->now >= n->next_at)
		pull_begin(s, n);
}
