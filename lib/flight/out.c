// SPDX-License-Identifier: BSD-3-Clause
//
// Writing a file, front to back, on the stack of who asks: nothing here may allocate, lock or log.
#include "flight_priv.h"

#include <errno.h>
#define XXH_STATIC_LINKING_ONLY // a hash state of known size
#include <xxhash.h>

#define BUFFER 4096

struct gp_flight_out {
	XXH3_state_t hash;
	struct gp_flight_sink sink;
	uint64_t left; // of the section
	int error;
	uint32_t used;
	uint8_t buffer[BUFFER];
};
_Static_assert(sizeof(struct gp_flight_out) <= GP_FLIGHT_OUT_SIZE, "what the caller gives");
_Static_assert(BUFFER % GP_FLIGHT_CELL == 0, "cells are copied through it");

static void buffer_flush(struct gp_flight_out *o)
{
	if (o->used > 0 && o->error == 0)
		o->error = o->sink.write(o->sink.arg, o->buffer, o->used);
	o->used = 0;
}

static void bytes_put(struct gp_flight_out *o, const void *bytes, size_t len)
{
	const uint8_t *from = bytes;
	XXH3_64bits_update(&o->hash, bytes, len);
	while (len > 0) {
		size_t n = GP_MIN(len, BUFFER - (size_t)o->used);
		memcpy(o->buffer + o->used, from, n);
		o->used += (uint32_t)n;
		from += n;
		len -= n;
		if (o->used == BUFFER)
			buffer_flush(o);
	}
}

struct gp_flight_out *gp_flight_begin(
	void *mem, const struct gp_flight_sink *sink, uint64_t now, uint64_t wall)
{
	GP_ASSERT((uintptr_t)mem % GP_CACHE_LINE == 0);
	struct gp_flight_out *o = mem;
	o->sink = *sink;
	o->left = 0;
	o->error = 0;
	o->used = 0;
	XXH3_64bits_reset(&o->hash);
	uint8_t header[FILE_HEADER] = {0};
	gp_store64(header, FILE_MAGIC);
	gp_store32(header + 8, GP_FLIGHT_VERSION);
	gp_store32(header + 12, GP_FLIGHT_CELL);
	gp_store64(header + 16, now);
	gp_store64(header + 24, wall);
	bytes_put(o, header, sizeof(header));
	return o;
}

void gp_flight_section(struct gp_flight_out *o, uint32_t type, uint32_t id, uint64_t size)
{
	GP_ASSERT(o->left == 0);
	uint8_t h[SECTION_HEADER];
	gp_store32(h, type);
	gp_store32(h + 4, id);
	gp_store64(h + 8, size);
	bytes_put(o, h, sizeof(h));
	o->left = size;
}

void gp_flight_bytes(struct gp_flight_out *o, const void *bytes, size_t len)
{
	GP_ASSERT(len <= o->left);
	bytes_put(o, bytes, len);
	o->left -= len;
}

void gp_flight_section_end(struct gp_flight_out *o)
{
	static const uint8_t zeros[8];
	GP_ASSERT(o->left == 0);
	// Headers are multiples of 8, so the place in the file tells the padding.
	bytes_put(o, zeros, (8 - (size_t)o->used % 8) % 8);
}

void gp_flight_ring_out(struct gp_flight_out *o, uint32_t id, const struct gp_flight_ring *r)
{
	// Pairs with the release in gp_flight_put.
	uint64_t done = atomic_load_explicit(&r->done, memory_order_acquire);
	uint64_t cells = r->mask + 1;
	uint64_t first = done > cells ? done - cells : 0;
	uint64_t count = done - first;
	gp_flight_section(o, GP_FLIGHT_RING, id, RING_HEADER + count * GP_FLIGHT_CELL);
	gp_flight_bytes(o, &first, 8);
	gp_flight_bytes(o, &count, 8);
	gp_flight_bytes(o, &cells, 8);
	uint64_t cell[CELL_WORDS];
	for (uint64_t i = first; i < done; i++) {
		const _Atomic uint64_t *w = r->words + (i & r->mask) * CELL_WORDS;
		for (uint32_t k = 0; k < CELL_WORDS; k++)
			cell[k] = atomic_load_explicit(w + k, memory_order_relaxed);
		gp_flight_bytes(o, cell, sizeof(cell));
	}
	// Whatever of a later cell was copied above, its count is seen here: pairs with the fence
	// in gp_flight_put.
	atomic_thread_fence(memory_order_acquire);
	uint64_t begun = atomic_load_explicit(&r->begun, memory_order_relaxed);
	gp_flight_bytes(o, &begun, 8);
	gp_flight_section_end(o);
}

int gp_flight_finish(struct gp_flight_out *o)
{
	gp_flight_section(o, GP_FLIGHT_END, 0, 8);
	uint64_t sum = XXH3_64bits_digest(&o->hash);
	gp_flight_bytes(o, &sum, 8);
	buffer_flush(o);
	return o->error;
}
