// SPDX-License-Identifier: BSD-3-Clause
//
// What must be true of a history. The oracle keeps a copy of everything that workers contributed,
// is told of home's decisions as they are made, and works out by itself what each unit of each step
// must be: the sum, in rank order, of what the members of the view contributed, once each. Whatever
// anybody is shown afterwards (results, pulls, cuts, readers) is compared with that, bit for bit.
#ifndef SIM_ORACLE_H
#define SIM_ORACLE_H

#include "ledger.h"
#include "model.h"

#include <gp_base.h>

#define ORACLE_WHY_SIZE	 240
#define ORACLE_BLOCK_MAX 16384 // elements

// One block, in the order of the job's schedule.
struct oracle_block {
	uint32_t from; // element, among those of all tensors in the worker's order
	uint32_t elems;
	uint32_t tensor; // worker's
};

struct oracle_unit {
	uint32_t first;
	uint32_t count; // blocks
	uint32_t committed;
};

// What a rank contributed last.
struct oracle_sent {
	uint64_t life[MODEL_TENSORS_MAX]; // whose
	uint32_t step[MODEL_TENSORS_MAX];
	bool topk[MODEL_TENSORS_MAX]; // in such a codec
	float *values;
};

struct oracle {
	const struct sim_opts *o;
	const struct model *m;
	char why[ORACLE_WHY_SIZE]; // the first promise that was broken; empty: none
	uint8_t given;		   // codec in which what is checked next was given, 0: as it is
	bool off;		   // undetected corruption: results mean nothing
	uint32_t base;		   // step of row 0
	uint32_t rows;
	float *values;	// [rows][elems_total]
	uint32_t *made; // [rows][units_count]: view in which it was committed; 0: not yet
	bool *sparse;	// [rows][blocks_count]: all contributions left elements out
	float *state;	// [states][elems_total]: momentum, or those of lamb
	float *states;	// [rows][states][elems_total] of each generation; NULL: nothing is taken
			// back
	uint32_t blocks_count;
	uint32_t units_count;
	uint32_t units_next; // committed at generation + 1
	uint32_t generation;
	struct oracle_block *blocks;
	struct oracle_unit *units;
	struct oracle_sent sent[SIM_WORKERS_MAX];
	uint32_t view;
	uint32_t members_count;
	struct gp_ranks members;
	uint64_t lives[SIM_WORKERS_MAX]; // of the members
	uint64_t commits, views, checks;
	struct ledger ledger; // asynchronous jobs, from their first generation on
};

void oracle_start(struct oracle *k, const struct sim_opts *o, const struct model *m);
void oracle_end(struct oracle *k);
void oracle_broken(struct oracle *k, const char *fmt, ...) GP_PRINTF(2, 3);

// What `life` of `rank` sent, as the receiver decodes it. What is not finite must not be taken.
void oracle_contribution(struct oracle *k, uint32_t rank, uint64_t life, uint32_t step,
	uint32_t tensor, const float *values);

// In which codec, since then.
void oracle_codec(struct oracle *k, uint32_t rank, uint32_t tensor, uint8_t codec);

// Decisions, in their order.
void oracle_view(struct oracle *k, uint32_t view, uint32_t first_step,
	const struct gp_ranks *members, const uint64_t *lives);
void oracle_commit(struct oracle *k, uint32_t unit, uint32_t step, uint32_t view, uint32_t ranks);

// From now on generations can be taken back; before the first decision.
void oracle_keep(struct oracle *k);
// Everything after generation `step` is void (UINT32_MAX: all is); the next view is number 1.
void oracle_rewind(struct oracle *k, uint32_t step);

// Whether anything newer than this generation is committed nowhere, and all of it is.
bool oracle_whole(const struct oracle *k, uint32_t step);
// All of generation `step` but the tensors in `skip`.
void oracle_check(struct oracle *k, const float *seen, uint32_t step, uint64_t skip,
	const char *who, uint32_t idx);
// Each unit is of generation `step` or of the next, whole.
void oracle_check_mixed(
	struct oracle *k, const float *seen, uint32_t step, const char *who, uint32_t idx);
void oracle_check_block(struct oracle *k, const float *seen, uint32_t elems, uint32_t step,
	uint32_t block, const char *who, uint32_t idx);
// Values and state of the first generation of a restored job.
const float *oracle_restored(const struct oracle *k, const float **state);

#endif
