// SPDX-License-Identifier: BSD-3-Clause
#include "pair.h"

#define PERMILLE_MIN 900
#define PERMILLE_MAX 1100
#define HOST_WORKERS 10 // last byte of their addresses, see pair.c

// ---- clocks

void pair_net_start(struct pair_sim *s)
{
	for (uint32_t i = PAIR_READER; i < PAIR_PLACES_MAX; i++)
		s->clocks[i] = (struct pair_clock){.at = s->now, .shown = s->now, .permille = 1000};
	for (uint32_t i = 0; i < PAIR_READER; i++)
		s->clocks[i] = (struct pair_clock){.at = s->now,
			.shown = s->now + rng_below(&s->rng, SEC),
			.permille =
				s->plain ? 1000
					 : PERMILLE_MIN + (uint32_t)rng_below(&s->rng,
								  PERMILLE_MAX - PERMILLE_MIN + 1)};
}

uint64_t pair_now(struct pair_sim *s, uint32_t place)
{
	struct pair_clock *c = &s->clocks[place];
	c->shown += (s->now - c->at) * c->permille / 1000;
	c->at = s->now;
	return c->shown;
}

void pair_clock_jump(struct pair_sim *s, uint32_t place, uint64_t by_ns)
{
	s->clocks[place].shown = pair_now(s, place) + by_ns;
}

// ---- who reaches whom

bool pair_reaches(const struct pair_sim *s, uint32_t from, uint32_t to)
{
	return !s->cut[from][to];
}

void pair_cut(struct pair_sim *s, uint32_t from, uint32_t to)
{
	s->cut[from][to] = from != to;
}

void pair_cuts_end(struct pair_sim *s)
{
	memset(s->cut, 0, sizeof(s->cut));
}

uint32_t pair_place_of(const struct gp_frame *f)
{
	uint32_t host = f->peer.ip[sizeof(f->peer.ip) - 1];
	uint32_t place = host < HOST_WORKERS ? host - 1 : PAIR_WORKER + host - HOST_WORKERS;
	GP_ASSERT(place < PAIR_PLACES_MAX);
	return place;
}

// ---- how long it takes

void pair_failed(struct pair_sim *s)
{
	s->fault_at = s->now;
	s->promoted = false;
}

void pair_leads(struct pair_sim *s)
{
	s->promoted = s->fault_at != 0;
}

void pair_came_out(struct pair_sim *s)
{
	if (!s->promoted)
		return;
	if (s->times && s->times->count < PAIR_TIMES_MAX)
		s->times->ns[s->times->count++] = s->now - s->fault_at;
	s->fault_at = 0;
	s->promoted = false;
}
