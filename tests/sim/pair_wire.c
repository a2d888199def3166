// SPDX-License-Identifier: BSD-3-Clause
//
// Between the nodes: a stream of bytes that breaks anywhere, and a register.
#include "pair.h"

#include <stdlib.h>

#define CHUNK_MAX  40000
#define WAY_MIN	   (20 * US)
#define WAY_MAX	   (300 * US)
#define ASK_MIN	   (50 * US)
#define ASK_MAX	   (2 * MS)
#define ASK_ENDS   (4 * MS)
#define ASK_LATE   (30 * MS)
#define LOST_PPM   60000
#define LATE_PPM   60000
#define ANSWER_PPM 60000 // lost

// ---- the stream

static void way_clear(struct pair_way *w)
{
	for (; w->count > 0; w->count--) {
		free(w->chunks[w->head].bytes);
		w->head = (w->head + 1) % PAIR_CHUNKS_MAX;
	}
}

void pair_link_down(struct pair_sim *s, uint64_t for_ns)
{
	for (uint32_t i = 0; i < 2; i++) {
		way_clear(&s->way[i]);
		if (s->node[i].alive)
			pair_stream_close(&s->node[i]);
	}
	s->link_up = false;
	s->link_at = GP_MAX(s->link_at, s->now + for_ns);
}

void pair_wire_free(struct pair_sim *s)
{
	way_clear(&s->way[0]);
	way_clear(&s->way[1]);
}

static bool is_awake(const struct pair_sim *s, const struct pair_node *n)
{
	return n->alive && s->now >= n->awake_at;
}

static void way_fill(struct pair_sim *s, uint32_t i)
{
	struct pair_way *w = &s->way[i];
	struct pair_node *n = &s->node[i];
	size_t len = GP_MIN(gp_stream_pipe_len(&n->out), (size_t)CHUNK_MAX);
	if (len == 0 || w->count == PAIR_CHUNKS_MAX)
		return;
	struct pair_chunk *c = &w->chunks[(w->head + w->count++) % PAIR_CHUNKS_MAX];
	c->due = GP_MAX(w->last, s->now + WAY_MIN + rng_below(&s->rng, WAY_MAX));
	c->len = len;
	c->bytes = malloc(len);
	GP_ASSERT(c->bytes);
	memcpy(c->bytes, gp_stream_pipe_data(&n->out), len);
	gp_stream_pipe_drain(&n->out, len);
	w->last = c->due;
}

static void way_deliver(struct pair_sim *s, uint32_t i)
{
	struct pair_way *w = &s->way[i];
	while (w->count > 0 && w->chunks[w->head].due <= s->now) {
		struct pair_chunk c = w->chunks[w->head];
		w->head = (w->head + 1) % PAIR_CHUNKS_MAX;
		w->count--;
		pair_node_input(&s->node[1 - i], c.bytes, c.len);
		free(c.bytes);
	}
}

// A connection that ends may have brought the beginning of what was on its way.
static void last_bytes(struct pair_sim *s, uint32_t i)
{
	const struct pair_way *w = &s->way[i];
	if (w->count == 0 || !is_awake(s, &s->node[1 - i]))
		return;
	const struct pair_chunk *c = &w->chunks[w->head];
	pair_node_input(&s->node[1 - i], c->bytes, rng_below(&s->rng, c->len + 1));
}

static void link_check(struct pair_sim *s)
{
	bool broken = s->link_cut;
	for (uint32_t i = 0; i < 2; i++)
		broken |= s->node[i].stream_open && s->node[i].stream_broken;
	if (!s->link_up || !broken)
		return;
	last_bytes(s, 0);
	last_bytes(s, 1);
	pair_link_down(s, rng_below(&s->rng, 2 * MS));
}

void pair_wire_turn(struct pair_sim *s)
{
	bool both = is_awake(s, &s->node[0]) && is_awake(s, &s->node[1]);
	link_check(s);
	if (!s->link_up && both && !s->link_cut && s->now >= s->link_at) {
		s->link_up = true;
		s->way[0].last = s->way[1].last = 0;
		pair_stream_open(&s->node[0]);
		pair_stream_open(&s->node[1]);
	}
	for (uint32_t i = 0; s->link_up && i < 2; i++) {
		if (is_awake(s, &s->node[i]))
			way_fill(s, i);
		if (is_awake(s, &s->node[1 - i]))
			way_deliver(s, i);
	}
}

// ---- the register

static bool reg_is(const struct pair_sim *s, const struct gp_lead_held *from)
{
	return s->reg.exists == from->exists && s->reg.version == from->version;
}

// True: the record is `to`, by this swap or by the same one before.
static bool reg_swap(
	struct pair_sim *s, const struct gp_lead_held *from, const struct gp_lead_record *to)
{
	if (s->reg.exists && gp_lead_record_equal(&s->reg.record, to))
		return true;
	if (!reg_is(s, from))
		return false;
	if (s->reg.exists && to->epoch <= s->reg.record.epoch)
		pair_broken(s, "epoch %u follows epoch %u", to->epoch, s->reg.record.epoch);
	s->reg =
		(struct gp_lead_held){.exists = true, .version = s->reg.version + 1, .record = *to};
	return true;
}

void pair_register_ask(struct pair_node *n, bool swap)
{
	struct pair_sim *s = n->s;
	bool calm = s->calm;
	n->ask = (struct pair_ask){.open = true,
		.swap = swap,
		.from = n->rules.from,
		.to = n->rules.to,
		.arrives = s->now + ASK_MIN + rng_below(&s->rng, ASK_MAX),
		.ends = s->now + ASK_ENDS};
	if (!calm && (s->reg_away[n->idx] || rng_hit(&s->rng, LOST_PPM)))
		n->ask.arrives = PAIR_NEVER;
	else if (!calm && swap && rng_hit(&s->rng, LATE_PPM))
		n->ask.arrives = s->now + rng_below(&s->rng, ASK_LATE);
}

static void ask_arrives(struct pair_sim *s, struct pair_ask *a)
{
	a->done = true;
	a->answers = s->now + ASK_MIN + rng_below(&s->rng, ASK_MAX);
	a->answer.kind = GP_LEAD_EV_RECORD;
	if (a->swap)
		a->answer.kind =
			reg_swap(s, &a->from, &a->to) ? GP_LEAD_EV_COMMITTED : GP_LEAD_EV_REFUSED;
	a->answer.held = s->reg;
	if (!s->calm && rng_hit(&s->rng, ANSWER_PPM))
		a->answers = PAIR_NEVER;
}

// Nobody waits for the answer any more; what is on its way still arrives.
static void ask_forget(struct pair_sim *s, struct pair_ask *a)
{
	a->open = false;
	if (!a->swap || a->done || a->arrives == PAIR_NEVER)
		return;
	for (uint32_t i = 0; i < PAIR_LATE_MAX; i++)
		if (!s->late[i].open) {
			s->late[i] = *a;
			s->late[i].open = true;
			return;
		}
}

static void node_asks(struct pair_sim *s, struct pair_node *n)
{
	struct pair_ask *a = &n->ask;
	if (!a->open)
		return;
	if (!n->alive) {
		ask_forget(s, a);
		return;
	}
	if (!a->done && s->now >= a->arrives)
		ask_arrives(s, a);
	if (s->now < n->awake_at)
		return;
	if (a->done && s->now >= a->answers) {
		a->open = false;
		pair_node_answer(n, &a->answer);
	} else if (s->now >= a->ends) {
		const struct gp_lead_event ev = {
			.kind = a->swap ? GP_LEAD_EV_UNKNOWN : GP_LEAD_EV_AWAY};
		s->stats.doubts += a->swap;
		ask_forget(s, a);
		pair_node_answer(n, &ev);
	}
}

void pair_register_turn(struct pair_sim *s)
{
	for (uint32_t i = 0; i < PAIR_LATE_MAX; i++) {
		struct pair_ask *a = &s->late[i];
		if (!a->open || s->now < a->arrives)
			continue;
		a->open = false;
		(void)reg_swap(s, &a->from, &a->to);
	}
	node_asks(s, &s->node[0]);
	node_asks(s, &s->node[1]);
}
