// SPDX-License-Identifier: BSD-3-Clause
//
// Readers of a pair: they pull the newest generation again and again from whoever serves them. What
// they get is one generation as a whole, that anybody may know of, and never an older one than
// before unless they are told.
#include "pair.h"
#include "pair_mem.h"

#include <errno.h>
#include <stdlib.h>

#define ATTEMPT_NS (6 * MS)
#define SILENCE_NS (5 * MS)
#define REST_NS	   (15 * MS)
#define HOST	   14 // last byte of the first one's address

static uint64_t now_of(const struct pair_reader *r)
{
	return pair_now(r->s, PAIR_READER + r->idx);
}

static void connect_to(struct pair_reader *r, uint32_t server)
{
	r->server = server;
	r->lanes = 1;
	r->give_up_at = now_of(r) + ATTEMPT_NS;
	gp_sim_connect(r->x[0], gp_sim_addr(r->s->node[server].x[0]));
}

static void begin(struct pair_reader *r)
{
	const struct gp_ccore_config cfg = {
		.job = "sim",
		.server = "node",
		.v4 = true,
		.flags = GP_CLIENT_READER,
		.incarnation = rng_next(&r->s->rng) | 1,
		.nonce = rng_next(&r->s->rng) | 1,
		.silence_ns = SILENCE_NS,
		.take = pair_mem_take,
		.give = pair_mem_give,
	};
	r->phase = READ_JOINS;
	r->fate = GP_CCORE_FIRST;
	r->any = false;
	connect_to(r, r->server);
	if (gp_ccore_create(&r->core, &cfg, r->x[0]) != 0)
		pair_broken(r->s, "no memory");
}

void pair_readers_make(struct pair_sim *s)
{
	for (uint32_t i = 0; i < s->readers; i++) {
		struct pair_reader *r = &s->r[i];
		*r = (struct pair_reader){.s = s, .idx = i, .server = i & 1};
		r->params = calloc(s->model.elems_total, sizeof(float));
		GP_ASSERT(r->params);
		for (uint32_t t = 0; t < s->model.tensors_count; t++)
			r->outs[t] = r->params + s->model.from[t];
		for (uint32_t k = 0; k < PAIR_CORES_MAX; k++)
			r->x[k] = pair_endpoint(s, HOST + i, 5000 + k);
		begin(r);
	}
}

void pair_readers_free(struct pair_sim *s)
{
	for (uint32_t i = 0; i < s->readers; i++) {
		gp_ccore_destroy(s->r[i].core);
		free(s->r[i].params);
	}
}

static void session_lost(struct pair_reader *r)
{
	const struct gp_ccore_again how = {.v4 = true,
		.incarnation = rng_next(&r->s->rng) | 1,
		.nonce = rng_next(&r->s->rng) | 1,
		.server = "node"};
	if (gp_ccore_can_again(r->core)) {
		connect_to(r, 1 - r->server);
		gp_ccore_again(r->core, &how, r->x[0]);
		return;
	}
	gp_ccore_destroy(r->core);
	r->server = 1 - r->server;
	begin(r);
}

static void tensors_register(struct pair_reader *r)
{
	struct gp_client_tensor d[MODEL_TENSORS_MAX];
	pair_tensors_fill(r->s, d);
	if (gp_ccore_register(r->core, d, r->s->model.tensors_count) != 0)
		pair_broken(r->s, "reader %u: %s", r->idx, gp_ccore_last(r->core)->text);
	r->phase = READ_REGISTERS;
}

static bool has_generation(const struct pair_sim *s)
{
	uint32_t g = s->oracle.generation;
	return pair_is_async(s) ? s->async.on : s->o.train ? g != UINT32_MAX : g != 0;
}

static void pull_begin(struct pair_reader *r)
{
	if (has_generation(r->s) && gp_ccore_pull(r->core, r->outs) == 0)
		r->phase = READ_PULLS;
}

static void pull_end(struct pair_reader *r)
{
	struct pair_sim *s = r->s;
	uint32_t generation = gp_ccore_pull_end(r->core);
	bool known = !s->periodic || gp_ccore_epoch(r->core) == s->epoch;
	if (pair_is_async(s))
		pair_async_seen(s, r->params, generation, r->idx);
	else if (known && (s->o.train || generation != 0))
		oracle_check(&s->oracle, r->params, generation, 0, "reader", r->idx);
	if (r->any && gp_before(generation, r->generation))
		pair_broken(
			s, "reader %u: generation %u after %u", r->idx, generation, r->generation);
	r->any = true;
	r->generation = generation;
	s->stats.reads++;
	r->next_at = now_of(r) + rng_below(&s->rng, REST_NS);
	r->phase = READ_RESTS;
}

static void program(struct pair_reader *r)
{
	bool rested = r->phase == READ_RESTS && now_of(r) >= r->next_at;
	if (r->phase == READ_JOINS && gp_ccore_phase(r->core) == GP_CCORE_JOINED)
		tensors_register(r);
	else if ((r->phase == READ_REGISTERS || rested) && gp_ccore_ready(r->core))
		pull_begin(r);
	else if (r->phase == READ_PULLS && gp_ccore_done(r->core))
		pull_end(r);
}

static void lanes_attach(struct pair_reader *r)
{
	if (gp_ccore_phase(r->core) != GP_CCORE_PORTS)
		return;
	for (; r->lanes < gp_ccore_lanes(r->core); r->lanes++) {
		gp_sim_connect(r->x[r->lanes], gp_sim_addr(r->s->node[r->server].x[r->lanes]));
		gp_ccore_attach(r->core, r->lanes, r->x[r->lanes]);
	}
}

// What it has read was lost: with every commit at the backup there is no such thing.
static void goes_back(struct pair_reader *r)
{
	if (!r->s->periodic)
		pair_broken(r->s, "reader %u is told that generation %u is lost", r->idx,
			r->generation);
	r->any = false;
	r->phase = READ_REGISTERS;
}

static void reader_turn(struct pair_reader *r)
{
	uint64_t now = now_of(r);
	(void)gp_ccore_tick(r->core, now);
	bool mute = gp_ccore_phase(r->core) == GP_CCORE_HELLO && now > r->give_up_at;
	if (gp_ccore_error(r->core) || mute) {
		session_lost(r);
		return;
	}
	lanes_attach(r);
	enum gp_ccore_fate fate = gp_ccore_fate(r->core);
	if (fate == GP_CCORE_ROLLED_BACK && r->fate != fate)
		goes_back(r);
	r->fate = fate;
	if (fate != GP_CCORE_AGAIN)
		program(r);
}

void pair_readers_turn(struct pair_sim *s)
{
	for (uint32_t i = 0; i < s->readers; i++)
		reader_turn(&s->r[i]);
}

bool pair_reader_takes(struct pair_sim *s, struct gp_xport *x, struct gp_frame **f, uint32_t got)
{
	for (uint32_t i = 0; i < s->readers; i++)
		for (uint32_t k = 0; k < s->r[i].lanes; k++) {
			if (s->r[i].x[k] != x)
				continue;
			for (uint32_t n = 0; n < got; n++)
				if (pair_reaches(s, pair_place_of(f[n]), PAIR_READER + i))
					gp_ccore_rx(s->r[i].core, k, &f[n], 1, now_of(&s->r[i]));
				else
					x->ops->release(x, f[n]);
			return true;
		}
	return false;
}
