// SPDX-License-Identifier: BSD-3-Clause
//
// What the two halves of the decision machine share: bsp.c holds the log, members and synchronous
// commits, async.c the rest.
#ifndef CONSIST_PRIV_H
#define CONSIST_PRIV_H

#include "gp_consist.h"

// The next decision, with what every kind has.
struct gp_decision *consist_log_add(struct gp_consist *c);
// The members that the next view of an asynchronous job would have; false: none is due or possible.
bool async_next_members(const struct gp_consist *c, struct gp_ranks *next);
// The view `d` was decided: who joined starts at d->step, what was lost is forgotten.
void async_view(struct gp_consist *c, struct gp_decision *d);

#endif
