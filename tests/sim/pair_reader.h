// SPDX-License-Identifier: BSD-3-Clause
//
// Readers of a pair (pair_reader.c), and the barriers at which its workers meet (pair_meet.c).
#ifndef SIM_PAIR_READER_H
#define SIM_PAIR_READER_H

#include "model.h"

#include <gp_ccore.h>

#define PAIR_READERS_MAX 2

struct pair_sim;
struct pair_worker;

enum pair_reading { READ_JOINS, READ_REGISTERS, READ_PULLS, READ_RESTS };

struct pair_reader {
	struct pair_sim *s;
	uint32_t idx;
	struct gp_ccore *core;
	struct gp_xport *x[2];
	uint32_t lanes, server;
	enum pair_reading phase;
	enum gp_ccore_fate fate;
	uint64_t give_up_at, next_at;
	bool any; // it has read `generation`
	uint32_t generation;
	float *params;
	float *outs[MODEL_TENSORS_MAX];
};

void pair_readers_make(struct pair_sim *s);
void pair_readers_turn(struct pair_sim *s);
bool pair_reader_takes(struct pair_sim *s, struct gp_xport *x, struct gp_frame **f, uint32_t got);
void pair_readers_free(struct pair_sim *s);

// Where a worker has come to.
struct pair_meeting {
	bool waits;    // at the barrier of its step
	bool complete; // ... which all had come to, at some moment since
	uint32_t met;  // step before which it has met
	uint32_t came; // ... to the barrier of which it has come
};

void pair_meet_begin(struct pair_worker *w, uint32_t step); // this is its next step
void pair_meet_turn(struct pair_sim *s);
bool pair_meets(struct pair_worker *w); // it waits for others

#endif
