// SPDX-License-Identifier: BSD-3-Clause
//
// Signs of life between the two servers of a pair over their data ports: core 0 sends a BEAT to the
// peer's core 0 at a fixed interval, from the poll loop itself, so it stops when the loop does.
//
// A BEAT bears a cookie that its addressee has chosen and told by a way that is trusted (the
// replication link): one that bears another counts as noise (GP_VERDICT_BAD_COOKIE).
//
// Threads: all functions by the control thread; gp_beat_heard by any.
#ifndef GP_BEAT_H
#define GP_BEAT_H

#include <gp_engine.h>

// What BEATs to us must bear, from now on; 0 (at first): none is taken.
void gp_beat_expect(struct gp_engine *e, uint64_t cookie);

// From now on core 0 sends one to `peer` (with its MAC where the transport writes Ethernet) every
// `every_ns`; NULL: no more. False: the core may still read what the call before replaced (for one
// turn of the grace periods), try again.
bool gp_beat_send(struct gp_engine *e, const struct gp_addr *peer, uint64_t cookie,
	uint64_t every_ns) GP_MUST_CHECK;

// When the last one came, on the clock of gp_core_rx; 0: never.
uint64_t gp_beat_heard(const struct gp_engine *e);

#endif
