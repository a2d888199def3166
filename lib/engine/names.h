// SPDX-License-Identifier: BSD-3-Clause
//
// Tensors by name: open addressing over indices, so that a job of 131,072 tensors registers and
// restores in time that grows with their number only. Control's; memory taken once, at most half
// full.
#ifndef ENGINE_NAMES_H
#define ENGINE_NAMES_H

#include <gp_arena.h>
#include <gp_base.h>

#define NAMES_NONE UINT32_MAX

struct names {
	uint32_t mask;
	uint32_t *slots; // index + 1, 0: free
};

// The name of entry `i` of what is indexed.
typedef const char *(*names_of)(const void *entries, uint32_t i);

size_t names_size(uint32_t entries_max);
bool names_take(struct names *n, uint32_t entries_max, struct gp_arena *arena) GP_MUST_CHECK;
void names_clear(struct names *n);
// Entry i, which is not there yet and whose name no other entry has.
void names_add(struct names *n, const void *entries, names_of of, uint32_t i);
// The entry of that name, or NAMES_NONE.
uint32_t names_find(const struct names *n, const void *entries, names_of of, const char *name);

#endif
