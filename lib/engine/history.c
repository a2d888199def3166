// SPDX-License-Identifier: BSD-3-Clause
//
// Which line of commits a job's steps are of. Steps are compared by number; where a server goes on
// from a snapshot, what was committed after it is lost, and the same numbers are used again. So
// what this life commits has an identity of its own, and a client that holds a step knows of which
// line it is (docs/protocol.md 5.0). A server that goes on where another one stopped goes on with
// its line, too.
#include "engine_priv.h"
#include "registrar_priv.h"

#define GOLDEN UINT64_C(0x9e3779b97f4a7c15)

// Of this life: neither 0 nor GP_HISTORY_NONE.
static uint64_t own_of(const struct gp_engine *e, const struct reg_job *rj)
{
	uint64_t z = e->cfg.seed + rj->cfg->id * GOLDEN;
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (z ^ z >> 31) | 2;
}

void reg_history_begin(const struct gp_engine *e, struct reg_job *rj)
{
	// Of a train job not even the initial parameters are those of another life.
	rj->history = (struct gp_history){.own = own_of(e, rj),
		.before = GP_HISTORY_NONE,
		.step = rj->cfg->kind == GP_KIND_TRAIN ? UINT32_MAX : 0};
}

void reg_history_restore(
	const struct gp_engine *e, struct reg_job *rj, const struct gp_restore *restore)
{
	rj->history = restore->history;
	if (restore->history.own != 0)
		return;
	rj->history.own = own_of(e, rj);
	rj->history.step = restore->step;
}

uint64_t gp_engine_history(const struct gp_engine *e, uint32_t job_idx, uint32_t step)
{
	GP_ASSERT(job_idx < e->cfg.jobs_count);
	const struct gp_job *j = gp_rcu_dereference(&e->jobs[e->jobs_cfg[job_idx].id]);
	GP_ASSERT(j);
	return gp_before(j->history.step, step) ? j->history.own : j->history.before;
}
