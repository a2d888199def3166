// SPDX-License-Identifier: BSD-3-Clause
//
// Both sides of the release gate: home's, on its core, and the replicating thread's.
#include "backup.h"

#include "flight.h"

_Static_assert(GATES_MAX == GP_ENGINE_JOBS_MAX, "a gate for each job");

// ---- home

uint32_t home_open(const struct home *h)
{
	return h->gate.serial ? h->gate.released : h->consist.decision;
}

static bool backup_push(struct gp_core *c, const struct cmd *cmd)
{
	if (!gp_ring_push(c->gate.to_backup, cmd))
		return false;
	c->gate.told = true;
	return true;
}

// What is decided up to here needs no release by its number: the base holds it. What waits at a
// gate that was closed before goes on waiting.
static void gate_turn(struct gp_core *c, struct job_core *jc, uint32_t wanted)
{
	struct home *h = jc->job->home;
	const struct cmd cmd = {.type = CMD_GATE, .job = jc->job->cfg->id, .step = wanted};
	flight_command(c, &cmd, UINT8_MAX);
	bool was_closed = h->gate.serial != 0;
	if (!was_closed)
		h->gate.released = h->consist.decision;
	h->gate.serial = wanted;
	// What is decided from now on comes to other cores through a ring, and this before it.
	atomic_store_explicit(&h->gate.serial_now, wanted, memory_order_relaxed);
	if (wanted == 0)
		gp_async_limit(&h->consist, GP_ASYNC_UNLIMITED);
	if (h->async)
		async_gate_turn(c, jc, wanted != 0, was_closed);
	h->gate.base_due = wanted != 0 && !async_shown(h);
	h->gate.base_decision = h->consist.decision;
	h->gate.base_generation = h->consist.generation;
	h->gate.base_view = h->consist.view_decided;
	memcpy(h->gate.base_counted, h->consist.counted, sizeof(h->gate.base_counted));
	h->delivered[reader_backup(c)] = h->consist.decision;
	memcpy(h->gate.base_steps, h->consist.committed, sizeof(uint32_t) * jc->job->units_count);
}

bool home_base_tell(struct gp_core *c, const struct job_core *jc)
{
	const struct home *h = jc->job->home;
	const struct cmd cmd = {.type = CMD_BASE,
		.job = jc->job->cfg->id,
		.unit = h->gate.base_decision,
		.step = h->gate.base_generation,
		.view = h->gate.serial};
	return backup_push(c, &cmd);
}

void home_gate_follow(struct gp_core *c, struct job_core *jc)
{
	struct home *h = jc->job->home;
	if (!h->gate.base_steps)
		return;
	uint32_t wanted = c->gate.wanted[jc->job->idx];
	if (wanted != h->gate.serial)
		gate_turn(c, jc, wanted);
	if (h->gate.base_due)
		h->gate.base_due = !home_base_tell(c, jc);
}

bool home_backup_tell(struct gp_core *c, const struct job_core *jc, const struct gp_decision *d)
{
	const struct home *h = jc->job->home;
	const struct cmd cmd = {.type = CMD_DECISION,
		.job = jc->job->cfg->id,
		.view = h->gate.serial,
		.decision = *d};
	return !h->gate.base_due && backup_push(c, &cmd);
}

void core_backup_command(struct gp_core *c, const struct cmd *cmd)
{
	uint32_t idx = c->engine->job_idx[cmd->job];
	struct job_core *jc = c->jobs[cmd->job];
	if (cmd->type == CMD_GATE) {
		c->gate.wanted[idx] = cmd->step;
		return;
	}
	GP_ASSERT(cmd->type == CMD_RELEASE);
	struct home *h = jc ? jc->job->home : NULL;
	if (!h || h->gate.serial != cmd->view)
		return;
	uint32_t last = gp_before(h->consist.decision, cmd->step) ? h->consist.decision : cmd->step;
	if (async_shown(h))
		last = async_gate_release(h, last);
	if (gp_before(h->gate.released, last))
		h->gate.released = last;
}

bool gp_core_backup_wake(struct gp_core *c)
{
	if (!c->gate.told)
		return false;
	c->gate.told = false;
	// Pairs with gp_backup_sleep: either it sees what is in the ring, or this sees it asleep.
	atomic_thread_fence(memory_order_seq_cst);
	return atomic_exchange_explicit(&c->engine->gate.asleep, false, memory_order_relaxed);
}

// ---- the replicating thread

static const struct gp_job *job_of(const struct gp_engine *e, uint32_t job_idx)
{
	GP_ASSERT(job_idx < e->cfg.jobs_count);
	return gp_rcu_dereference(&e->jobs[e->jobs_cfg[job_idx].id]);
}

static struct gp_core *home_core_of(struct gp_engine *e, uint32_t job_idx)
{
	GP_ASSERT(job_idx < e->cfg.jobs_count && e->jobs_cfg[job_idx].replicated);
	return &e->cores[job_home(e, e->jobs_cfg[job_idx].id)];
}

bool gp_backup_gate(struct gp_engine *e, uint32_t job_idx, bool closed)
{
	uint32_t gate = closed ? e->gate.count + 1 : 0;
	const struct cmd cmd = {.type = CMD_GATE, .job = e->jobs_cfg[job_idx].id, .step = gate};
	if (!gp_ring_push(home_core_of(e, job_idx)->gate.from_backup, &cmd))
		return false;
	e->gate.count += closed;
	e->gate.serial[job_idx] = gate;
	return true;
}

bool gp_backup_release(struct gp_engine *e, uint32_t job_idx, uint32_t decision)
{
	const struct cmd cmd = {.type = CMD_RELEASE,
		.job = e->jobs_cfg[job_idx].id,
		.step = decision,
		.view = e->gate.serial[job_idx]};
	return gp_ring_push(home_core_of(e, job_idx)->gate.from_backup, &cmd);
}

bool gp_backup_settled(const struct gp_engine *e)
{
	bool settled = true;
	for (uint32_t i = 0; i < e->cfg.cores_count; i++)
		settled &= !e->cores[i].gate.from_backup ||
			   gp_ring_used(e->cores[i].gate.from_backup) == 0;
	return settled;
}

static void event_tell(
	struct gp_engine *e, const struct gp_backup_sink *sink, const struct cmd *cmd)
{
	uint32_t idx = e->job_idx[cmd->job];
	if (cmd->view != e->gate.serial[idx]) // of a former closing
		return;
	if (cmd->type == CMD_DECISION) {
		sink->decided(sink->arg, idx, &cmd->decision);
		return;
	}
	GP_ASSERT(cmd->type == CMD_BASE);
	const struct gp_job *j = job_of(e, idx);
	const struct home_gate *g = &j->home->gate;
	const struct gp_backup_base base = {.job_idx = idx,
		.gate = cmd->view,
		.decision = cmd->unit,
		.generation = cmd->step,
		.units_count = j->units_count,
		.steps = g->base_steps,
		.view = g->base_view,
		.counted = {g->base_counted[0], g->base_counted[1]},
		.history = j->history};
	sink->base(sink->arg, &base);
}

uint32_t gp_backup_poll(struct gp_engine *e, const struct gp_backup_sink *sink, uint32_t max)
{
	struct cmd cmd;
	uint32_t n = 0;
	for (uint32_t i = 0; i < e->cfg.cores_count; i++) {
		struct gp_ring *ring = e->cores[i].gate.to_backup;
		for (; ring && n < max && gp_ring_pop(ring, &cmd); n++)
			event_tell(e, sink, &cmd);
	}
	return n;
}

bool gp_backup_block(const struct gp_engine *e, uint32_t job_idx, uint32_t block, uint32_t step,
	struct gp_backup_block *out)
{
	const struct gp_job *j = job_of(e, job_idx);
	if (!j || block >= j->blocks_count)
		return false;
	const struct gp_table *t = &j->cores[job_owner(j, block)].table;
	const struct gp_block *b = &t->blocks[job_local(j, block)];
	bool cut = gp_table_cut_is_live(t, step) && cfg_is_async(j->cfg);
	struct gp_version *v = cut ? gp_table_find_at(b, step) : gp_table_find(b, step);
	// Of a cut that has ended meanwhile it might be another one's version.
	if (!v || (cut && !gp_table_cut_is_live(t, step)))
		return false;
	*out = (struct gp_backup_block){.arrays_count = 1 + t->states_count,
		.elems = b->elems,
		.weight = v->weight,
		.made = v->step,
		.updates = v->updates};
	out->arrays[0] = gp_version_values(v);
	for (uint32_t i = 0; i < t->states_count; i++)
		out->arrays[1 + i] = gp_version_state(t, v, i);
	return true;
}

uint32_t gp_backup_unit_blocks(
	const struct gp_engine *e, uint32_t job_idx, uint32_t unit, uint32_t *first)
{
	const struct gp_job *j = job_of(e, job_idx);
	GP_ASSERT(j && unit < j->units_count);
	uint8_t kind = cfg_unit(j->cfg);
	*first = kind == GP_ATOM_STEP	  ? 0
		 : kind == GP_ATOM_TENSOR ? j->tensors[unit].first_block
					  : unit;
	return kind == GP_ATOM_STEP	? j->blocks_count
	       : kind == GP_ATOM_TENSOR ? j->tensors[unit].blocks_count
					: 1;
}

bool gp_backup_sleep(struct gp_engine *e)
{
	atomic_store_explicit(&e->gate.asleep, true, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst);
	bool empty = true;
	for (uint32_t i = 0; i < e->cfg.cores_count; i++)
		empty &= !e->cores[i].gate.to_backup ||
			 gp_ring_used(e->cores[i].gate.to_backup) == 0;
	if (!empty)
		atomic_store_explicit(&e->gate.asleep, false, memory_order_relaxed);
	return empty;
}
