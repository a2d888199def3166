// SPDX-License-Identifier: BSD-3-Clause
#include <gp_arena.h>

void *gp_arena_take(struct gp_arena *a, size_t size, size_t align)
{
	GP_ASSERT(align > 0 && (align & (align - 1)) == 0);
	GP_ASSERT(a->used <= a->size);

	uintptr_t at = gp_align_up((uintptr_t)a->base + a->used, align);
	size_t start = at - (uintptr_t)a->base;
	if (start > a->size || size > a->size - start)
		return NULL;
	a->used = start + size;
	return memset(a->base + start, 0, size);
}
