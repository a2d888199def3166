// SPDX-License-Identifier: BSD-3-Clause
//
// A bounded single-producer single-consumer ring of fixed-size items (typed commands between two
// threads). Items are copied in and out. Memory comes from the caller; a full ring is an answer,
// not an error. Producer and consumer indices live on lines of their own, each side caches the
// other's.
//
// Thread safety: exactly one thread pushes and one pops at a time.
#ifndef GP_RING_H
#define GP_RING_H

#include <gp_base.h>

#include <stdatomic.h>

struct gp_ring {
	uint8_t *items;
	uint32_t mask; // item count - 1; the count is a power of two
	uint32_t item_size;
	GP_ALIGNED(GP_CACHE_LINE) _Atomic uint32_t head; // written by the producer
	uint32_t tail_seen;				 // producer's copy of tail
	GP_ALIGNED(GP_CACHE_LINE) _Atomic uint32_t tail; // written by the consumer
	uint32_t head_seen;				 // consumer's copy of head
};

// Bytes of memory a ring of `count` items (rounded up to a power of two) needs.
size_t gp_ring_size(uint32_t count, uint32_t item_size) GP_MUST_CHECK;
// `mem` is 64-byte aligned, zeroed or not, of gp_ring_size bytes; it stays the caller's.
struct gp_ring *gp_ring_init(void *mem, uint32_t count, uint32_t item_size);
// False when full.
bool gp_ring_push(struct gp_ring *r, const void *item) GP_MUST_CHECK;
// False when empty.
bool gp_ring_pop(struct gp_ring *r, void *item) GP_MUST_CHECK;
// Items waiting, as either side may see them; exact only when both sides rest.
uint32_t gp_ring_used(const struct gp_ring *r);
// Room for the producer right now; grows on its own, never shrinks but by pushing.
uint32_t gp_ring_room(struct gp_ring *r);

#endif
