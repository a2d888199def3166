// SPDX-License-Identifier: BSD-3-Clause
//
// A job of a configuration as the engine takes it. Of the daemon, and of who replays its record.
#ifndef JOB_CONFIG_H
#define JOB_CONFIG_H

#include <gp_config.h>
#include <gp_engine.h>

void job_config_fill(
	struct gp_job_config *out, const struct gp_config_job *j, const struct gp_config *c);

#endif
