// SPDX-License-Identifier: BSD-3-Clause
//
// What the client's core repeats until it is answered.
#ifndef CCORE_RETRY_H
#define CCORE_RETRY_H

#include <stdbool.h>
#include <stdint.h>

struct cc_retry {
	uint64_t at;	   // next time, 0 = now
	uint64_t interval; // grows to `max`
	uint64_t max;
};

// The question which generation may be read.
struct cc_read {
	bool open; // asked, not granted
	bool sent;
	bool parked;
	bool nothing; // there is no generation yet
	uint16_t rank;
	uint32_t request;
	uint32_t clock;
	uint32_t flags;
	uint32_t bound;
	struct cc_retry retry;
};

#endif
