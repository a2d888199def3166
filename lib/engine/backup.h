// SPDX-License-Identifier: BSD-3-Clause
//
// Home's side of the release gate (gp_backup.h).
#ifndef BACKUP_H
#define BACKUP_H

#include "engine_priv.h"

#include <gp_backup.h>

// The place in home.delivered of control, which records decisions, and of the replicating thread.
static inline uint32_t reader_control(const struct gp_core *c)
{
	return c->engine->cfg.cores_count;
}

static inline uint32_t reader_backup(const struct gp_core *c)
{
	return c->engine->cfg.cores_count + 1;
}

// The last decision that anybody but the backup may hear of.
uint32_t home_open(const struct home *h);
// Does what was asked for last; home, before it decides.
void home_gate_follow(struct gp_core *c, struct job_core *jc);
// Tells the replicating thread of the base. False: no room.
bool home_base_tell(struct gp_core *c, const struct job_core *jc);
// Hands one decision to the replicating thread. False: no room.
bool home_backup_tell(struct gp_core *c, const struct job_core *jc, const struct gp_decision *d);
// A command of the replicating thread.
void core_backup_command(struct gp_core *c, const struct cmd *cmd);

#endif
