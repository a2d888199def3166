// SPDX-License-Identifier: BSD-3-Clause
//
// Writing records. Every word is a relaxed store, so that a reader beside it is no data race; on
// the machines that we know these are plain moves.
#include "flight_priv.h"

size_t gp_flight_ring_size(uint32_t cells)
{
	return (size_t)cells * GP_FLIGHT_CELL;
}

void gp_flight_ring_init(struct gp_flight_ring *r, void *mem, uint32_t cells)
{
	GP_ASSERT(cells >= GP_FLIGHT_CELLS_MIN && cells <= GP_FLIGHT_CELLS_MAX);
	GP_ASSERT((cells & (cells - 1)) == 0 && (uintptr_t)mem % GP_CACHE_LINE == 0);
	*r = (struct gp_flight_ring){.words = mem, .mask = cells - 1};
}

static inline _Atomic uint64_t *cell_at(const struct gp_flight_ring *r, uint64_t number)
{
	return r->words + (number & r->mask) * CELL_WORDS;
}

static inline void word_put(_Atomic uint64_t *to, uint64_t v)
{
	atomic_store_explicit(to, v, memory_order_relaxed);
}

static void words_put(_Atomic uint64_t *to, const uint8_t *bytes, uint32_t len)
{
	uint32_t whole = len / 8;
	for (uint32_t i = 0; i < whole; i++)
		word_put(to + i, gp_load64(bytes + (size_t)8 * i));
	if (len % 8 == 0)
		return;
	uint64_t last = 0;
	memcpy(&last, bytes + (size_t)8 * whole, len % 8);
	word_put(to + whole, last);
}

void gp_flight_put(struct gp_flight_ring *r, const struct gp_flight_head *h, const void *prefix,
	uint32_t prefix_len, const void *bytes, uint32_t len)
{
	GP_ASSERT(prefix_len % 8 == 0 && prefix_len <= 64);
	GP_ASSERT(h->kind != KIND_MORE && prefix_len + len <= GP_FLIGHT_RECORD_MAX);
	uint64_t at = atomic_load_explicit(&r->done, memory_order_relaxed);
	uint32_t cells = cells_of(prefix_len + len);
	uint64_t what = h->kind | (uint64_t)h->verdict << 8 | (uint64_t)cells << 16 |
			(uint64_t)(prefix_len + len) << 32 | (uint64_t)h->len << 48;
	word_put(&r->begun, at + cells);
	// The count is visible before any of the words: pairs with the fence in gp_flight_ring_out.
	atomic_thread_fence(memory_order_release);
	r->last = at;
	_Atomic uint64_t *w = cell_at(r, at);
	word_put(w, h->now);
	word_put(w + 1, what);
	word_put(w + 2, h->clock);
	words_put(w + 3, prefix, prefix_len);
	const uint8_t *from = bytes;
	uint32_t n = GP_MIN(len, GP_FLIGHT_FIRST_BYTES - prefix_len);
	words_put(w + 3 + prefix_len / 8, from, n);
	for (uint32_t i = 1; i < cells; i++) {
		from += n;
		len -= n;
		n = GP_MIN(len, (uint32_t)GP_FLIGHT_MORE_BYTES);
		w = cell_at(r, at + i);
		word_put(w, h->now);
		word_put(w + 1, KIND_MORE);
		words_put(w + 2, from, n);
	}
	// Pairs with the acquire in gp_flight_ring_out.
	atomic_store_explicit(&r->done, at + cells, memory_order_release);
	__builtin_prefetch((const void *)cell_at(r, at + cells), 1);
}

void gp_flight_verdict(struct gp_flight_ring *r, uint8_t verdict)
{
	_Atomic uint64_t *w = cell_at(r, r->last) + 1;
	uint64_t what = atomic_load_explicit(w, memory_order_relaxed);
	word_put(w, (what & ~UINT64_C(0xff00)) | (uint64_t)verdict << 8);
}

uint8_t gp_flight_verdict_of(const struct gp_flight_ring *r)
{
	return (uint8_t)(atomic_load_explicit(cell_at(r, r->last) + 1, memory_order_relaxed) >> 8);
}
