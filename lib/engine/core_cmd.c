// SPDX-License-Identifier: BSD-3-Clause
//
// Commands that reach a core over its rings: from the other cores and from control.
#include "backup.h"
#include "embed.h"
#include "flight.h"
#include "whole.h"

// So many turns under load in which home is told of none.
#define DONE_TURNS_MAX 8

bool core_tell_control(struct gp_core *c, const struct cmd *cmd)
{
	struct cmd copy = *cmd;
	copy.core = (uint8_t)c->idx;
	return gp_ring_push(c->to_control, &copy);
}

static void job_ready(struct gp_core *c, struct gp_job *j)
{
	// On a standby this replaces the generation served so far: pulls held on it are asked
	// again.
	struct job_core *old = c->jobs[j->cfg->id];
	if (old == &j->cores[c->idx])
		return;
	for (uint32_t k = 0; old && k < c->engine->cfg.sessions_max; k++)
		if (c->sessions[k].held_by == old)
			c->sessions[k].held_by = NULL;
	c->jobs[j->cfg->id] = &j->cores[c->idx];
}

static void from_control(struct gp_core *c, const struct cmd *cmd)
{
	struct gp_frame *f = cmd->ptr;
	struct job_core *jc = cmd->job ? c->jobs[cmd->job] : NULL;
	flight_command(c, cmd, UINT8_MAX);
	if (jc)
		jc->busy = true;
	switch (cmd->type) {
	case CMD_BIND:
		session_bind(c, cmd->session, cmd->unit, &cmd->addr);
		return;
	case CMD_REPLY:
		gp_counter_add(&c->stats.tx_datagrams, 1);
		c->xport->ops->send(c->xport, f);
		return;
	case CMD_DONE_WITH:
		c->xport->ops->release(c->xport, f);
		return;
	case CMD_JOB_READY:
		job_ready(c, cmd->ptr);
		return;
	case CMD_GATE: // in a replay
	case CMD_RELEASE:
		core_backup_command(c, cmd);
		return;
	case CMD_CUT_END:
		gp_table_cut_end(&jc->table, jc->cut_seen_step);
		if (jc->embed)
			embed_unpin(jc);
		jc->cut_ended = true;
		jc->cut_seen_due = true;
		return;
	default:
		home_command(c, jc, cmd);
	}
}

// Each of a run is recorded as what it is, so a replay knows no runs.
static void decisions_apply(struct gp_core *c, struct job_core *jc, const struct cmd *cmd)
{
	struct gp_decision d = cmd->decision;
	apply_decision(c, jc, &d);
	for (uint32_t i = 0; i < cmd->rank; i++) {
		d.number++;
		d.unit += cmd->session;
		apply_decision(c, jc, &d);
	}
}

// Decisions and units that the command is about.
static uint32_t cmd_weight(const struct job_core *jc, const struct cmd *cmd)
{
	if (cmd->type == CMD_DECISION)
		return 1 + cmd->rank;
	bool units = cmd->type == CMD_PART_DONE && !cfg_is_async(jc->job->cfg);
	return units ? 1 + cmd->session : 1;
}

// Returns what it counts for in a burst.
static uint32_t from_core(struct gp_core *c, const struct cmd *cmd)
{
	// Home may have heard of a new job before this core has come to control's word of it.
	if (!c->jobs[cmd->job])
		job_ready(c, gp_rcu_dereference(&c->engine->jobs[cmd->job]));
	struct job_core *jc = c->jobs[cmd->job];
	flight_command(c, cmd, cmd->core);
	jc->busy = true;
	uint32_t weight = cmd_weight(jc, cmd);
	if (cmd->type == CMD_DECISION)
		decisions_apply(c, jc, cmd);
	else if (cmd->type == CMD_FACTOR || cmd->type == CMD_MORE)
		whole_command(c, jc, cmd);
	else
		home_command(c, jc, cmd);
	return weight;
}

// A gate is recorded when home follows it: it may be set before there is a home.
static void from_backup(struct gp_core *c, const struct cmd *cmd)
{
	if (c->jobs[cmd->job])
		c->jobs[cmd->job]->busy = true;
	if (cmd->type == CMD_RELEASE)
		flight_command(c, cmd, UINT8_MAX);
	core_backup_command(c, cmd);
}

static uint32_t cut_tell(struct gp_core *c, struct job_core *jc)
{
	if (!jc->cut_seen_due)
		return 0;
	const struct cmd cmd = {.type = jc->cut_ended ? CMD_CUT_ENDED : CMD_CUT_SEEN,
		.core = (uint8_t)c->idx,
		.job = jc->job->cfg->id,
		.step = jc->cut_seen_step};
	if (!gp_ring_push(c->to_core[jc->job->home_core], &cmd))
		return 0;
	jc->cut_seen_due = false;
	return 1;
}

// How many of the units that are done next follow each other, as units of one block do that are
// this core's.
static uint32_t done_run(const struct job_core *jc)
{
	const uint32_t *unit = &jc->done_queue[jc->done_first], cores = jc->job->by_cores.d;
	uint32_t most = GP_MIN(jc->done_count, jc->job->units_count - jc->done_first), n = 1;
	most = GP_MIN(most, CMD_UNITS_MAX);
	while (n < most && unit[n] == unit[0] + n * cores)
		n++;
	return n;
}

// Under load each burst may complete some units, and a command, a decision and a COMMIT to each
// worker for few of them cost more than the contributions. So they wait for more, in the midst of a
// step; a core with less to do tells at once, and the last of a step never wait.
static bool done_waits(const struct gp_core *c, struct job_core *jc)
{
	bool midst = jc->low_step == jc->generation + 1;
	return c->loaded && midst && !jc->whole && jc->done_turns++ < DONE_TURNS_MAX;
}

// Tells home what this core has finished; what its ring has no room for stays queued.
static uint32_t tell_home(struct gp_core *c, struct job_core *jc)
{
	uint32_t sent = jc->whole ? whole_tell(c, jc) : 0;
	if (core_is_async(jc))
		return sent + async_tell_home(c, jc) + cut_tell(c, jc);
	if (jc->done_count == 0)
		return sent + cut_tell(c, jc);
	struct gp_ring *home = c->to_core[jc->job->home_core];
	// No block is completed of another step, so these are of this one.
	struct cmd cmd = {.type = CMD_PART_DONE,
		.core = (uint8_t)c->idx,
		.job = jc->job->cfg->id,
		.step = jc->generation + 1,
		.view = jc->view};
	for (uint32_t least = done_waits(c, jc) ? CMD_UNITS_MAX : 1; jc->done_count >= least;) {
		uint32_t run = done_run(jc);
		cmd.unit = jc->done_queue[jc->done_first];
		cmd.session = run - 1;
		GP_ASSERT(jc->committed[cmd.unit] == jc->generation);
		if (!gp_ring_push(home, &cmd))
			return sent;
		jc->done_count -= run;
		jc->done_first += run;
		// An empty queue begins anew, where its lines are near.
		if (jc->done_count == 0 || jc->done_first == jc->job->units_count)
			jc->done_first = 0;
		jc->done_turns = 0;
		sent += run;
	}
	return sent + jc->done_count + cut_tell(c, jc);
}

uint32_t core_commands(struct gp_core *c)
{
	struct cmd cmd;
	uint32_t work = 0;
	for (uint32_t n = 0; n < c->commands_max && gp_ring_pop(c->from_control, &cmd); n++, work++)
		from_control(c, &cmd);
	for (uint32_t n = 0; c->gate.from_backup && n < c->commands_max &&
			     gp_ring_pop(c->gate.from_backup, &cmd);
		n++, work++)
		from_backup(c, &cmd);
	for (uint32_t i = 0; i < c->engine->cfg.cores_count; i++)
		for (uint32_t n = 0; n < c->commands_max && gp_ring_pop(c->from_core[i], &cmd);
			work++)
			n += from_core(c, &cmd);
	for (uint32_t i = 0; i < c->engine->cfg.jobs_count; i++) {
		struct job_core *jc = c->jobs[c->engine->jobs_cfg[i].id];
		if (jc)
			work += tell_home(c, jc);
	}
	return work;
}
