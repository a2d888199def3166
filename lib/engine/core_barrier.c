// SPDX-License-Identifier: BSD-3-Clause
//
// Barriers: the members of a job meet at a name. Home keeps who has come. A name may be used again,
// so each rank counts its calls, and a repeat is told from the next meeting. After a takeover
// nobody is known to have come: who waits says so again, and who has passed says that it had come.
//
// What is complete is known to whoever hears it for good, so a leader that was deposed must not say
// it: it needs everybody whom the last view names, and that view must be out.
#include "backup.h"

static struct barrier *barrier_find(struct home *h, uint32_t name, uint64_t now)
{
	struct barrier *oldest = &h->barriers[0];
	for (uint32_t i = 0; i < BARRIERS_MAX; i++) {
		struct barrier *b = &h->barriers[i];
		if (b->used && b->name == name)
			return b;
		if (!b->used || (oldest->used && b->since < oldest->since))
			oldest = b;
	}
	*oldest = (struct barrier){.name = name, .used = true, .since = now};
	return oldest;
}

static void barrier_answer(struct gp_core *c, struct core_session *cs, const struct job_core *jc,
	uint32_t name, uint32_t call)
{
	struct gp_header h = {.type = GP_WIRE_BARRIER_REPLY, .flags = GP_WIRE_F_ACK};
	struct answer a;
	if (answer_begin(c, cs, jc, &h, &a))
		answer_send(c, cs, &a, gp_wire_put_barrier(a.body, name, call));
}

static void barrier_tell(struct gp_core *c, struct core_session *cs, const struct job_core *jc,
	const struct barrier *b, uint32_t rank)
{
	bool done = gp_ranks_has(&b->passed, rank) && !gp_ranks_has(&b->came, rank);
	barrier_answer(c, cs, jc, b->name, b->call[rank] | (done ? GP_BARRIER_DONE : 0));
}

// Those who came before the last one; who does not hear it asks again.
static void barrier_tell_others(struct gp_core *c, const struct job_core *jc,
	const struct barrier *b, const struct gp_ranks *came, uint32_t last)
{
	gp_ranks_foreach(r, came)
	{
		struct core_session *cs = home_session(c, jc->job->home, r);
		if (cs && r != last)
			barrier_tell(c, cs, jc, b, r);
	}
}

// A rank comes, or says that it has passed. False: that is of a call before its last one, so it
// waits for that no more.
static bool barrier_take(struct barrier *b, uint32_t rank, uint32_t call, bool been)
{
	bool came = gp_ranks_has(&b->came, rank), passed = gp_ranks_has(&b->passed, rank);
	if ((came || passed) && gp_before(call, b->call[rank]))
		return false;
	if (passed && !came && call == b->call[rank])
		return true; // it has not heard so
	// It has been through this meeting, and waits for the next one until the others are.
	if (came && gp_ranks_has(&b->been, rank))
		return true;
	bool others = gp_ranks_next(&b->passed, 0) < GP_RANKS_MAX;
	b->call[rank] = call;
	if (!passed && others) { // it is late, or has begun anew
		gp_ranks_add(&b->passed, rank);
		return true;
	}
	gp_ranks_add(&b->came, rank);
	if (been)
		gp_ranks_add(&b->been, rank);
	return true;
}

static bool barrier_is_complete(const struct home *h, const struct barrier *b)
{
	const struct gp_consist *k = &h->consist;
	bool complete = k->view != 0 && !gp_before(home_open(h), k->view_decided.number);
	struct gp_ranks needed = k->members;
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(needed.w); i++)
		needed.w[i] = (needed.w[i] & ~h->left.w[i]) | k->live.w[i];
	gp_ranks_foreach(r, &needed) complete &= gp_ranks_has(&b->came, r);
	return complete;
}

void home_barriers_forget(struct home *h, uint32_t rank)
{
	gp_ranks_del(&h->left, rank);
	for (uint32_t i = 0; i < BARRIERS_MAX; i++) {
		gp_ranks_del(&h->barriers[i].came, rank);
		gp_ranks_del(&h->barriers[i].been, rank);
		gp_ranks_del(&h->barriers[i].passed, rank);
	}
}

enum gp_verdict handle_barrier(struct gp_core *c, struct core_session *cs,
	const struct gp_session *s, struct job_core *jc, const struct gp_msg *m)
{
	if (s->rank == GP_WIRE_RANK_NONE)
		return GP_VERDICT_NOT_ALLOWED;
	if (!jc)
		return GP_VERDICT_NOT_READY;
	if (c->idx != jc->job->home_core)
		return GP_VERDICT_WRONG_CORE;
	struct home *h = jc->job->home;
	if (h->rank_session[s->rank] != s->id)
		return GP_VERDICT_NOT_READY;
	uint32_t name, call;
	gp_wire_get_barrier(m, &name, &call);
	struct barrier *b = barrier_find(h, name, c->now);
	if (!barrier_take(b, s->rank, call & ~GP_BARRIER_DONE, call & GP_BARRIER_DONE)) {
		barrier_answer(c, cs, jc, name, call | GP_BARRIER_DONE);
		return GP_VERDICT_BARRIER;
	}
	const struct gp_ranks came = b->came;
	bool complete = gp_ranks_has(&came, s->rank) && barrier_is_complete(h, b);
	for (uint32_t i = 0; complete && i < GP_ARRAY_SIZE(came.w); i++)
		b->passed.w[i] |= came.w[i];
	if (complete)
		b->came = b->been = (struct gp_ranks){0};
	barrier_tell(c, cs, jc, b, s->rank);
	if (complete)
		barrier_tell_others(c, jc, b, &came, s->rank);
	return GP_VERDICT_BARRIER;
}
