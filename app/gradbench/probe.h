// SPDX-License-Identifier: BSD-3-Clause
//
// A carrier around another one that looks at the datagrams of a client: it notes when each block is
// first sent and when its result comes, and loses datagrams of both directions by a seed. What it
// is not told to do costs one call more for a datagram.
//
// One client of a process at a time; all calls are its thread's.
#ifndef GRADBENCH_PROBE_H
#define GRADBENCH_PROBE_H

#include <gp_carrier.h>

extern const struct gp_carrier_ops probe_ops;

// Before the client is made: times of up to `blocks` blocks, `samples` of them. False: no memory.
bool probe_take(uint32_t blocks, uint32_t samples, uint64_t seed) GP_MUST_CHECK;
void probe_give(void);

// From now on so many of a million datagrams are lost; 0: none.
void probe_loss(uint32_t per_million);
uint64_t probe_lost(void);
// From now on times are noted, from nothing on; false: they are not.
void probe_record(bool on);
// Of what was noted: nanoseconds that share `q` of the blocks stayed within. 0: nothing was noted.
double probe_quantile(double q);
uint32_t probe_samples(void);

#endif
