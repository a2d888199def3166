// SPDX-License-Identifier: BSD-3-Clause
//
// What a dump holds was written by an engine, or was forged. Checks see what the replay itself
// reads; what would break a rule deep inside the engine trips an assertion there, and that is an
// answer too: it ends the replay with a text. All memory of a replay is listed, so that it comes
// back from wherever it ended.
#include "replay_priv.h"

#include <setjmp.h>
#include <stdio.h>

struct replay_piece {
	struct replay_piece *next, **at;
	GP_ALIGNED(GP_CACHE_LINE) uint8_t bytes[];
};

void *replay_take(void *arg, size_t size)
{
	struct gp_replay *r = arg;
	if (size > SIZE_MAX / 2)
		return NULL;
	struct replay_piece *p = r->take(r->mem_arg, sizeof(*p) + size);
	if (!p)
		return NULL;
	p->next = r->pieces;
	p->at = &r->pieces;
	if (p->next)
		p->next->at = &p->next;
	r->pieces = p;
	return p->bytes;
}

void replay_give(void *arg, void *mem)
{
	struct gp_replay *r = arg;
	if (!mem)
		return;
	struct replay_piece *p =
		(struct replay_piece *)((uint8_t *)mem - offsetof(struct replay_piece, bytes));
	*p->at = p->next;
	if (p->next)
		p->next->at = p->at;
	r->give(r->mem_arg, p);
}

void replay_give_all(struct gp_replay *r)
{
	while (r->pieces)
		replay_give(r, r->pieces->bytes);
}

// ---- assertions

static _Thread_local struct {
	jmp_buf at;
	char *text;
} guard;

static _Noreturn void on_failure(const char *text)
{
	snprintf(guard.text, GP_REPLAY_TEXT_SIZE, "the engine fails: %.400s", text);
	longjmp(guard.at, 1);
}

bool replay_guarded(struct gp_replay *r, int (*run)(struct gp_replay *), int *rc,
	char text[GP_REPLAY_TEXT_SIZE])
{
	if (r->unguarded) {
		*rc = run(r);
		return true;
	}
	guard.text = text;
	if (setjmp(guard.at) != 0) {
		gp_assert_set_catch(NULL);
		r->failed = true;
		return false;
	}
	gp_assert_set_catch(on_failure);
	*rc = run(r);
	gp_assert_set_catch(NULL);
	return true;
}

// ---- what indexes memory of the engine without an assertion before it

bool replay_ranks_legal(const struct gp_ranks *ranks, uint32_t workers)
{
	return gp_ranks_next(ranks, workers) >= GP_RANKS_MAX;
}

bool replay_decision_legal(const struct gp_job *j, const struct gp_decision *d)
{
	uint32_t workers = j->cfg->workers;
	if (!replay_ranks_legal(&d->members, workers) || !replay_ranks_legal(&d->others, workers))
		return false;
	if (d->kind == GP_DECIDED_VIEW)
		return d->ranks == gp_ranks_count(&d->members) && d->lowest < workers;
	return d->kind != GP_DECIDED_COMMIT ||
	       d->unit < (cfg_is_async(j->cfg) ? workers : j->units_count);
}

bool replay_mark_legal(const struct gp_job *j, const struct flight_mark *m)
{
	return replay_ranks_legal(&m->members, j->cfg->workers) &&
	       m->members_count == gp_ranks_count(&m->members) &&
	       m->lowest == gp_ranks_next(&m->members, 0);
}

bool replay_home_legal(
	const struct gp_replay *r, const struct gp_job *j, const struct flight_home *h)
{
	bool legal = replay_ranks_legal(&h->live, j->cfg->workers) &&
		     replay_ranks_legal(&h->lost, j->cfg->workers);
	for (uint32_t i = 0; i < GP_RANKS_MAX; i++)
		legal &= session_idx(h->rank_session[i]) < r->cfg.sessions_max;
	return legal;
}
