// SPDX-License-Identifier: BSD-3-Clause
//
// Memory of clients and nodes of a simulated pair: zeroed, on cache lines; `arg` is not used.
#ifndef SIM_PAIR_MEM_H
#define SIM_PAIR_MEM_H

#include <gp_base.h>

#include <stdlib.h>
#include <string.h>

static inline void *pair_mem_take(void *arg, size_t size)
{
	(void)arg;
	size = gp_align_up(size, GP_CACHE_LINE);
	void *mem = aligned_alloc(GP_CACHE_LINE, size);
	return mem ? memset(mem, 0, size) : NULL;
}

static inline void pair_mem_give(void *arg, void *mem)
{
	(void)arg;
	free(mem);
}

#endif
