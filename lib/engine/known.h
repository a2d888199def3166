// SPDX-License-Identifier: BSD-3-Clause
//
// The short way of a contribution. Most datagrams that reach a core differ from the one before of
// the same worker in packet number, decision, step, block and payload only. How the last one began
// that the long way took (handle_frame, handle_push) is kept with its session, up to the number of
// the view; what begins with the same bytes needs none of that proved again as long as these
// numbers are those of the epoch and of the job's view, since a view does not change but by its
// number, and the session is alive and of the same address.
//
// What is not known, or is refused, goes the long way, which decides everything: the short way
// takes nothing that the other would not.
#ifndef ENGINE_KNOWN_H
#define ENGINE_KNOWN_H

#include "engine_priv.h"

// Where a datagram belongs that begins as its session's last; `cs` NULL: it does not.
struct place {
	struct core_session *cs;
	struct job_core *jc;
	uint32_t step;
	uint32_t local; // of its first section's block, which is this core's
};

static inline bool known_begins(const struct known *k, const uint8_t *p)
{
	return gp_load64(p) == k->head[0] && gp_load64(p + 8) == k->head[1] &&
	       gp_load32(p + 16) == k->view;
}

static inline void known_set(struct known *k, const uint8_t *p, const struct gp_session *s)
{
	k->head[0] = gp_load64(p);
	k->head[1] = gp_load64(p + 8);
	k->view = gp_load32(p + 16);
	k->s = s;
}

// Only header and first section are read, some datagrams before its turn.
static inline struct place place_find(const struct gp_core *c, const struct gp_frame *f)
{
	const struct place none = {0};
	const uint8_t *p = f->data;
	if (f->len < GP_WIRE_HEADER_SIZE + GP_WIRE_SECTION_SIZE)
		return none;
	uint32_t idx = session_idx(gp_load32(p + 8));
	if (idx >= c->engine->cfg.sessions_max)
		return none;
	struct core_session *cs = &c->sessions[idx];
	if (!known_begins(&cs->known, p))
		return none;
	struct job_core *jc = c->jobs[gp_load16(p + 4)];
	uint32_t block = gp_load32(p + GP_WIRE_HEADER_SIZE);
	uint32_t local = job_local(jc->job, block);
	if (block >= jc->job->blocks_count || block - local * jc->job->by_cores.d != c->idx)
		return none;
	return (struct place){.cs = cs, .jc = jc, .step = gp_load32(p + 20), .local = local};
}

// Takes the contribution, or GP_VERDICT_OK: it goes the long way. After PUSH the frame is the
// slot's: the caller's reference is gone.
enum gp_verdict push_known(
	struct gp_core *c, const struct place *at, struct gp_frame *f) GP_MUST_CHECK;

#endif
