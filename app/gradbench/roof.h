// SPDX-License-Identifier: BSD-3-Clause
//
// The limits that everything is compared with: plain loops over memory, compiled for the widest
// registers of this machine and for nothing else.
#ifndef GRADBENCH_ROOF_H
#define GRADBENCH_ROOF_H

#include <gp_base.h>

struct roof_update {
	const float *grad, *w, *m;
	float *w_out, *m_out;
};

struct roof_loops {
	// dst[i] = dst[i] + src[i]
	void (*add)(float *restrict dst, const float *restrict src, uint32_t elems);
	// All bytes together, so that each is read.
	uint64_t (*read)(const uint64_t *p, size_t words);
	// Momentum: reads three arrays and writes two others.
	void (*update)(const struct roof_update *u, uint32_t elems);
};

extern const struct roof_loops roof_loops_plain;
#ifdef __x86_64__
extern const struct roof_loops roof_loops_avx2, roof_loops_avx512;
#endif

const struct roof_loops *roof_loops_get(void);

// ---- one pass over a table that lies in memory, in blocks that lie in the cache

#define ROOF_SUM_ELEMS	 4096
#define ROOF_CACHED_SIZE 65536 // payloads that stay in the second-level cache

struct roof {
	const struct roof_loops *loops;
	float *table[4]; // [0] is added to; an update reads 0 and 1 and writes 2 and 3
	float *cached;
	GP_ALIGNED(GP_CACHE_LINE) float sum[ROOF_SUM_ELEMS];
	size_t table_size;
	uint32_t tables_count;
};

// 0 or -ENOMEM, after a line on stderr.
int roof_init(struct roof *r, size_t table_size, uint32_t tables_count) GP_MUST_CHECK;
void roof_fini(struct roof *r);
// ns for each block of `elems`, over the whole table once.
double roof_add_ns(struct roof *r, uint32_t elems);
// An update for each block, after the other `grads - 1` cached gradients were added up.
double roof_update_ns(struct roof *r, uint32_t elems, uint32_t grads);

#endif
