// SPDX-License-Identifier: BSD-3-Clause
//
// A dump of the flight recorder in memory, and memory for the engine that replays it.
#ifndef REPLAY_RIG_H
#define REPLAY_RIG_H

#include "driver.h"

#include <gp_flight_dump.h>

#include <stdlib.h>

struct buffer {
	uint8_t *bytes;
	size_t len, size;
};

static inline int buffer_write(void *arg, const void *bytes, size_t len)
{
	struct buffer *b = arg;
	if (b->len + len > b->size) {
		b->size = 2 * (b->len + len);
		b->bytes = realloc(b->bytes, b->size);
	}
	memcpy(b->bytes + b->len, bytes, len);
	b->len += len;
	return 0;
}

static inline struct buffer dump(const struct rig *r)
{
	struct buffer b = {0};
	const struct gp_flight_sink sink = {.write = buffer_write, .arg = &b};
	const struct gp_flight_reason why = {.now = r->now, .version = "1", .text = ""};
	cr_assert_eq(gp_engine_flight_dump(r->e, &sink, &why), 0);
	return b;
}

static inline void *take(void *arg, size_t size)
{
	(void)arg;
	void *p = aligned_alloc(GP_CACHE_LINE, gp_align_up(size, GP_CACHE_LINE));
	return p ? memset(p, 0, size) : NULL;
}

static inline void give(void *arg, void *mem)
{
	(void)arg;
	free(mem);
}

#endif
