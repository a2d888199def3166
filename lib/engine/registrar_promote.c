// SPDX-License-Identifier: BSD-3-Clause
//
// The replica's part of a takeover, and the primary's restraint before it.
#include "registrar_priv.h"

#include <errno.h>

int gp_registrar_promote(struct gp_registrar *r, uint32_t epoch)
{
	struct gp_engine *e = r->engine;
	if (!engine_is_standby(e) || !gp_before(engine_epoch(e), epoch))
		return -EINVAL;
	// Readers learn the new epoch by joining again.
	for (uint32_t i = 0; i < e->cfg.sessions_max; i++)
		if (r->sessions[i].used)
			reg_session_close(r, &r->sessions[i], "this server became the leader");
	for (uint32_t i = 0; i < e->cfg.jobs_count; i++) {
		struct job_status *st = &e->status[i];
		uint32_t generation = atomic_load_explicit(&st->generation, memory_order_relaxed);
		atomic_store_explicit(&st->state, GP_STATE_WAITING, memory_order_relaxed);
		// Of a job that begins anew nothing is held, as in one that was started.
		uint32_t backed = generation == UINT32_MAX ? 0 : generation;
		atomic_store_explicit(&st->backed, backed, memory_order_relaxed);
	}
	atomic_store_explicit(&e->epoch, epoch, memory_order_relaxed);
	atomic_store_explicit(&e->standby, false, memory_order_relaxed);
	return 0;
}

void gp_registrar_backed(struct gp_registrar *r, uint16_t job, uint32_t generation)
{
	GP_ASSERT(job <= GP_ENGINE_JOBS_MAX && r->engine->job_idx[job] != NONE_U16);
	struct job_status *st = &r->engine->status[r->engine->job_idx[job]];
	uint32_t before = atomic_load_explicit(&st->backed, memory_order_relaxed);
	if (gp_before(before, generation))
		atomic_store_explicit(&st->backed, generation, memory_order_relaxed);
}
