// SPDX-License-Identifier: BSD-3-Clause
//
// Between the nodes: a stream of bytes that breaks anywhere.
#include "pair.h"

#include <stdlib.h>

#define CHUNK_MAX 40000
#define WAY_MIN	  (20 * US)
#define WAY_MAX	  (300 * US)

static void way_clear(struct pair_way *w)
{
	for (; w->count > 0; w->count--) {
		free(w->chunks[w->head].bytes);
		w->head = (w->head + 1) % PAIR_CHUNKS_MAX;
	}
}

// Whoever cannot hear of the end goes on with a connection that is none.
void pair_link_down(struct pair_sim *s, uint64_t for_ns)
{
	for (uint32_t i = 0; i < 2; i++) {
		struct pair_node *n = &s->node[i];
		way_clear(&s->way[i]);
		if (n->alive && (n->stream_broken || pair_reaches(s, 1 - i, i)))
			pair_stream_close(n);
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

static bool both_ways(const struct pair_sim *s)
{
	return pair_reaches(s, 0, 1) && pair_reaches(s, 1, 0);
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
	if (gp_stream_pauses(s->node[1 - i].stream))
		return; // as a socket that nobody reads
	while (w->count > 0 && w->chunks[w->head].due <= s->now) {
		struct pair_chunk c = w->chunks[w->head];
		w->head = (w->head + 1) % PAIR_CHUNKS_MAX;
		w->count--;
		pair_traced(s, c.bytes, c.len);
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
		broken |= s->node[i].alive && s->node[i].stream_open && s->node[i].stream_broken;
	if (!broken)
		return;
	for (uint32_t i = 0; s->link_up && i < 2; i++)
		if (pair_reaches(s, i, 1 - i))
			last_bytes(s, i);
	pair_link_down(s, rng_below(&s->rng, 2 * MS));
}

// The listener takes the new connection and lets go of what it had.
static void connection_open(struct pair_sim *s)
{
	s->link_up = true;
	for (uint32_t i = 0; i < 2; i++) {
		s->way[i].last = 0;
		pair_stream_close(&s->node[i]);
		pair_stream_open(&s->node[i]);
	}
}

void pair_wire_turn(struct pair_sim *s)
{
	bool both = is_awake(s, &s->node[0]) && is_awake(s, &s->node[1]);
	link_check(s);
	if (!s->link_up && both && both_ways(s) && !s->link_cut && s->now >= s->link_at)
		connection_open(s);
	for (uint32_t i = 0; s->link_up && i < 2; i++) {
		if (is_awake(s, &s->node[i]))
			way_fill(s, i);
		if (is_awake(s, &s->node[1 - i]) && pair_reaches(s, i, 1 - i))
			way_deliver(s, i);
	}
}
