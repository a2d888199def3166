// SPDX-License-Identifier: BSD-3-Clause
//
// How the latest contribution began that was taken from a session in the long way; the short way
// (core_rx.c) takes what begins so too.
#ifndef ENGINE_KNOWN_H
#define ENGINE_KNOWN_H

#include <gp_base.h>

struct known {
	uint64_t head[2]; // version to epoch; 0: none
	uint32_t view;	  // of the job, never 0
};

// A datagram of zeros begins like nothing that is known.
static inline bool known_begins(const struct known *k, const uint8_t *p)
{
	return k->head[0] != 0 && gp_load64(p) == k->head[0] && gp_load64(p + 8) == k->head[1] &&
	       gp_load32(p + 16) == k->view;
}

static inline void known_set(struct known *k, const uint8_t *p)
{
	k->head[0] = gp_load64(p);
	k->head[1] = gp_load64(p + 8);
	k->view = gp_load32(p + 16);
}

#endif
