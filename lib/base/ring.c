// SPDX-License-Identifier: BSD-3-Clause
#include <gp_ring.h>

size_t gp_ring_size(uint32_t count, uint32_t item_size)
{
	return sizeof(struct gp_ring) +
	       gp_align_up(gp_pow2_up(count) * (uint64_t)item_size, GP_CACHE_LINE);
}

struct gp_ring *gp_ring_init(void *mem, uint32_t count, uint32_t item_size)
{
	GP_ASSERT((uintptr_t)mem % GP_CACHE_LINE == 0);
	GP_ASSERT(count > 0 && count <= UINT32_C(1) << 30 && item_size > 0);

	struct gp_ring *r = mem;
	*r = (struct gp_ring){
		.items = (uint8_t *)mem + sizeof(*r),
		.mask = (uint32_t)gp_pow2_up(count) - 1,
		.item_size = item_size,
	};
	return r;
}

uint32_t gp_ring_room(struct gp_ring *r)
{
	uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
	// pairs with the release in gp_ring_pop: the slot's old content has been read
	r->tail_seen = atomic_load_explicit(&r->tail, memory_order_acquire);
	return r->mask + 1 - (head - r->tail_seen);
}

bool gp_ring_push(struct gp_ring *r, const void *item)
{
	uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
	if (head - r->tail_seen > r->mask && gp_ring_room(r) == 0)
		return false;
	memcpy(r->items + (size_t)(head & r->mask) * r->item_size, item, r->item_size);
	// pairs with the acquire in gp_ring_pop: the item is whole
	atomic_store_explicit(&r->head, head + 1, memory_order_release);
	return true;
}

bool gp_ring_pop(struct gp_ring *r, void *item)
{
	uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
	if (tail == r->head_seen) {
		// pairs with the release in gp_ring_push
		r->head_seen = atomic_load_explicit(&r->head, memory_order_acquire);
		if (tail == r->head_seen)
			return false;
	}
	memcpy(item, r->items + (size_t)(tail & r->mask) * r->item_size, r->item_size);
	// pairs with the acquire in gp_ring_room
	atomic_store_explicit(&r->tail, tail + 1, memory_order_release);
	return true;
}

uint32_t gp_ring_used(const struct gp_ring *r)
{
	return atomic_load_explicit(&r->head, memory_order_relaxed) -
	       atomic_load_explicit(&r->tail, memory_order_relaxed);
}
