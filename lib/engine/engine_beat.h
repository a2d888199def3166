// SPDX-License-Identifier: BSD-3-Clause
//
// State of the BEATs of a pair (gp_beat.h), a part of the engine.
#ifndef GP_ENGINE_BEAT_H
#define GP_ENGINE_BEAT_H

#include <gp_xport.h>

#include <stdatomic.h>

struct beat_to {
	struct gp_addr peer;
	uint64_t cookie, every_ns;
};

struct engine_beat {
	struct beat_to *_Atomic to; // published by control
	_Atomic uint64_t expected;
	struct beat_to slots[2]; // control's: one of them is, or was, published
	uint64_t replaced;	 // grace stamp of what was published before
	uint32_t slot;
	_Alignas(GP_CACHE_LINE) _Atomic uint64_t heard; // core 0's, as `sent`
	uint64_t sent;
};

#endif
