// SPDX-License-Identifier: BSD-3-Clause
//
// What must be true of a pair with an asynchronous job. Contributions are whole numbers, one for
// each rank and step, and element i belongs to rank i modulo workers; so every parameter tells
// which contributions of its rank are in it. Decisions that are out, or that who is promoted holds,
// say which were committed when a generation was cut. Beyond those a generation may hold, with
// atomicity block, what ranks had contributed and home had not committed: each once, or not at all.
#ifndef SIM_PAIR_ASYNC_H
#define SIM_PAIR_ASYNC_H

#include "opts.h"

#include <gp_consist.h>
#include <gp_image.h>

#define PAIR_GIVEN_MAX 24 // contributions of a rank that are remembered
#define PAIR_LOOSE_MAX 10 // of those that were never committed; beyond, its rank is not checked
#define PAIR_ROWS      64 // generations that are remembered

struct pair_sim;
struct pair_node;
struct pair_worker;

struct pair_given {
	bool here;
	uint32_t step;
	uint32_t committed; // decision, 0: none yet
};

struct pair_row {
	bool made;
	uint32_t generation, decision, closed;
	struct gp_ranks members;
	uint32_t clock[SIM_WORKERS_MAX];
	uint32_t sum[SIM_WORKERS_MAX]; // of what each rank had committed
};

struct pair_async {
	bool on;	  // initial parameters are committed
	uint32_t initial; // rank that gave them
	uint32_t generation;
	uint32_t closed; // quorum
	struct gp_ranks members;
	uint32_t clock[SIM_WORKERS_MAX];
	uint32_t entered[SIM_WORKERS_MAX]; // first step of a rank's life
	uint32_t sum[SIM_WORKERS_MAX];
	struct pair_given given[SIM_WORKERS_MAX][PAIR_GIVEN_MAX];
	uint32_t given_next[SIM_WORKERS_MAX];
	uint32_t loose[SIM_WORKERS_MAX][PAIR_LOOSE_MAX]; // forgotten and never committed: values
	uint32_t loose_count[SIM_WORKERS_MAX];
	struct pair_row rows[PAIR_ROWS];
};

void pair_async_choose(struct pair_sim *s);
// Embed: there are tables, empty ones, from the beginning.
void pair_async_start(struct pair_sim *s);
void pair_async_job(struct pair_sim *s);
bool pair_is_async(const struct pair_sim *s);

// A worker's gradient of tensor `t`, which it contributes.
void pair_async_give(struct pair_sim *s, uint32_t rank, uint32_t step, uint32_t t, float *grad);
// It was told that the step is done, and holds `params` of the generation it read.
void pair_async_done(struct pair_worker *w, uint32_t step);
// Embed: the step is done, and nothing was read. And it has read that generation.
void pair_async_committed(struct pair_worker *w, uint32_t step);
void pair_async_read(struct pair_worker *w, uint32_t generation);
// At each turn: nothing is given to it that the backup does not hold.
void pair_async_watch(struct pair_worker *w);
// It begins with generation `generation`.
void pair_async_begins(struct pair_worker *w, uint32_t generation);

// A reader has got `params` of generation `generation`.
void pair_async_seen(struct pair_sim *s, const float *params, uint32_t generation, uint32_t reader);

// Every decision of a leader, out or not: of the home of node `n`.
void pair_async_tap(struct pair_node *n);
void pair_async_decision(struct pair_sim *s, const struct gp_decision *d);
// Somebody leads from now on, with this image (NULL: anew).
void pair_async_promoted(struct pair_node *n, const struct gp_image_view *v);
void pair_async_end(struct pair_node *n);

#endif
