// SPDX-License-Identifier: BSD-3-Clause
//
// What must be true of an asynchronous history. Contributions are whole numbers, one for each rank
// and step, and each rank has elements of its own (element i belongs to rank i modulo workers), so
// every parameter tells exactly which contributions of its rank are in it. The ledger is told of
// contributions and of home's decisions, and works out what each generation must hold:
//
//	staged	what home had committed when it decided the cut
//	direct	what each core had marked as taken, block by block, when it came to the cut; and a
//		step of a rank is committed only when every block of it is marked
//
// Whatever anybody is shown is compared with that; a read must be as fresh as its bound promises.
#ifndef SIM_LEDGER_H
#define SIM_LEDGER_H

#include "opts.h"

#include <gp_consist.h>

#define LEDGER_ROWS	64 // generations remembered
#define LEDGER_GIVEN	8  // contributions of a rank remembered
#define LEDGER_INITIALS 5  // values that elements begin as: 0, 1, ...

struct oracle;

struct ledger_given {
	uint64_t life;
	uint32_t step;
	bool here;
	bool used;
};

struct ledger_row {
	bool made;
	uint32_t generation;
	uint32_t clock_max;
	uint32_t closed;
	struct gp_ranks members;
	uint32_t clock[SIM_WORKERS_MAX];
	float *values; // of all elements
};

struct ledger {
	struct oracle *k;
	const struct sim_opts *o;
	bool on;	// home's decisions are asynchronous ones
	uint32_t first; // generation that it began with
	uint32_t cut;
	uint32_t closed; // quorum
	uint32_t clock[SIM_WORKERS_MAX];
	uint64_t lives[SIM_WORKERS_MAX];
	struct gp_ranks members;
	struct ledger_given given[SIM_WORKERS_MAX][LEDGER_GIVEN];
	float total[SIM_WORKERS_MAX]; // staged: of a rank's elements
	// Clipped: of a rank's elements by what they began as, and what the commit in hand adds.
	float now[SIM_WORKERS_MAX][LEDGER_INITIALS];
	float added[SIM_WORKERS_MAX];
	float *sums;	// direct: [rank][block]
	uint32_t *last; // direct: [rank][block], latest step marked
	float *initial;
	struct ledger_row rows[LEDGER_ROWS];
};

// Whole numbers instead of gradients and parameters.
float ledger_gradient(const struct sim_opts *o, uint32_t rank, uint32_t step, uint32_t element);
float ledger_initial(uint32_t rank, uint32_t element);

void ledger_start(struct ledger *l, struct oracle *k);
void ledger_end(struct ledger *l);
void ledger_contribution(struct ledger *l, uint32_t rank, uint64_t life, uint32_t step);

// Home's decisions. The first generation is there: its values, and where ranks are.
void ledger_begin(struct ledger *l, uint32_t generation, const float *values, uint32_t step);
// Before that: who is a member.
void ledger_first_view(struct ledger *l, const struct gp_decision *d, const uint64_t *lives);
void ledger_view(struct ledger *l, const struct gp_decision *d, const uint64_t *lives);
void ledger_commit(struct ledger *l, const struct gp_decision *d);
void ledger_cut(struct ledger *l, const struct gp_decision *d);

// Direct: a core has marked (rank, step) of the block as taken; it has come to a cut; it has begun
// to reckon the rank's steps from `step` on.
void ledger_marked(struct ledger *l, uint32_t rank, uint32_t block, uint32_t step);
void ledger_reached(struct ledger *l, uint32_t block, uint32_t generation);
void ledger_skip(struct ledger *l, uint32_t rank, uint32_t block, uint32_t step);
uint32_t ledger_last(const struct ledger *l, uint32_t rank, uint32_t block);

// ---- what was seen

void ledger_check(struct ledger *l, const float *seen, uint32_t generation, uint64_t skip,
	const char *who, uint32_t idx);
void ledger_check_block(struct ledger *l, const float *seen, uint32_t elems, uint32_t generation,
	uint32_t block, const char *who, uint32_t idx);
// A rank that is about to compute step `next` was given that generation.
void ledger_fresh(struct ledger *l, uint32_t rank, uint32_t generation, uint32_t next);
// At the end: the block as it is now.
void ledger_final(struct ledger *l, const float *seen, uint32_t block);

#endif
