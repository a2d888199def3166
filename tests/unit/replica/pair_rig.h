// SPDX-License-Identifier: BSD-3-Clause
//
// A real engine behind its gate, feeder and follower, and the two pipes between them, which a test
// can cut at any byte.
#ifndef PAIR_RIG_H
#define PAIR_RIG_H

#include "../engine/driver.h"
#include "stream_rig.h"

struct pair {
	struct rig *r;
	struct stream_side primary, backup;
	struct gp_feeder *feeder;
	struct gp_follower *follower;
	struct gp_image *image;
	uint32_t due; // to be released
	uint64_t random;
	bool calm; // the connection does not break
};

// The gate is closed, both ends are connected. pair_down lets go of all but the rig.
void pair_up(struct pair *p, struct rig *r, uint64_t seed);
void pair_up_with(struct pair *p, struct rig *r, uint64_t seed, uint32_t looks_max);
void pair_down(struct pair *p);
void pair_connect(struct pair *p);
// Everything that is due in the engine and at its gate, once. Returns what was done.
uint32_t pair_engine_turn(struct pair *p);
// Some bytes pass in both directions, and the connection may break.
void pair_turn(struct pair *p);
// Until nothing moves any more.
void pair_run(struct pair *p);
// Another engine goes on from the image. Nobody has joined yet.
struct rig *pair_promote(const struct pair *p, const struct gp_job_config *cfg, uint32_t cores);

#endif
