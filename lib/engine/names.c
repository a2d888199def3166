// SPDX-License-Identifier: BSD-3-Clause
#include "names.h"

#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

static uint32_t slots_count(uint32_t entries_max)
{
	return (uint32_t)gp_pow2_up(2 * (uint64_t)entries_max);
}

size_t names_size(uint32_t entries_max)
{
	return sizeof(uint32_t) * (size_t)slots_count(entries_max) + GP_CACHE_LINE;
}

bool names_take(struct names *n, uint32_t entries_max, struct gp_arena *arena)
{
	uint32_t count = slots_count(entries_max);
	n->mask = count - 1;
	n->slots = gp_arena_take(arena, sizeof(uint32_t) * (size_t)count, GP_CACHE_LINE);
	return n->slots != NULL;
}

void names_clear(struct names *n)
{
	memset(n->slots, 0, sizeof(uint32_t) * ((size_t)n->mask + 1));
}

static uint32_t place(const struct names *n, const char *name)
{
	return (uint32_t)XXH3_64bits(name, strlen(name)) & n->mask;
}

void names_add(struct names *n, const void *entries, names_of of, uint32_t i)
{
	uint32_t at = place(n, of(entries, i));
	for (uint32_t tries = 0; n->slots[at] != 0; tries++) {
		GP_ASSERT(tries <= n->mask);
		at = (at + 1) & n->mask;
	}
	n->slots[at] = i + 1;
}

uint32_t names_find(const struct names *n, const void *entries, names_of of, const char *name)
{
	uint32_t at = place(n, name);
	for (uint32_t tries = 0; tries <= n->mask && n->slots[at] != 0; tries++) {
		uint32_t i = n->slots[at] - 1;
		if (strcmp(of(entries, i), name) == 0)
			return i;
		at = (at + 1) & n->mask;
	}
	return NAMES_NONE;
}
