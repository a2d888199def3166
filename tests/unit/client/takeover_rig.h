// SPDX-License-Identifier: BSD-3-Clause
//
// Two servers and their workers in one thread: production engines and client cores over a simulated
// network, on virtual time. The workers' programs are whole trainings; server A leads, B stands by.
// At any chosen event A is lost and B promoted with what A had committed.
#ifndef TAKEOVER_RIG_H
#define TAKEOVER_RIG_H

#include "encoder.h"
#include "gp_ccore.h"

#include <gp_engine.h>
#include <gp_xport_sim.h>

#define TR_WORKERS_MAX 3
#define TR_CORES_MAX   2
#define TR_ELEMS       700 // tensor 0: three blocks
#define TR_ELEMS_B     40  // tensor 1
#define TR_STEPS       4
#define TR_BARRIER     2 // the step before which all meet
#define TR_NEVER       UINT32_MAX

struct tr_how {
	uint8_t kind;
	uint8_t atomicity;
	uint8_t codec;
	uint32_t
		by_caller; // workers encode themselves, and hand over so many blocks a turn; 0: not
	bool borrows;	   // gradients are not copied
	bool ahead;	   // what is committed of an open step goes to B too
	bool takes; // workers use a tensor's result as soon as it is committed, and overwrite it
	uint32_t cores[2];
	uint32_t workers;
	uint32_t workers_min;
	uint32_t loss_ppm;
	uint64_t seed;
	// B: 0 leads; the generation that it begins with is that many behind what A had
	uint32_t behind;
	// B goes on from a state that is not A's: steps of the same numbers were done by others.
	bool others;
	uint32_t epoch_b;   // 0: one above A's
	uint32_t kill_at;   // event
	uint32_t kill_rank; // dies with A; TR_NEVER: nobody
	bool block_elems_differ;
};

enum tr_phase { TR_JOINS, TR_REGISTERS, TR_INITS, TR_MEETS, TR_STEPS_ON, TR_OVER, TR_DEAD };

struct tr_worker {
	struct tr_rig *r;
	uint32_t rank;
	struct gp_ccore *core;
	struct gp_xport *lanes[TR_CORES_MAX];
	uint32_t lanes_count;
	uint32_t server;
	uint16_t port;
	enum tr_phase phase;
	uint32_t pushed; // tensors, of the step in hand
	struct encoder encoder[2];
	uint32_t given[2]; // blocks of them, where the worker encodes
	bool met;
	bool took;	     // tensor 0, of the step in hand
	float was;	     // its first value
	uint64_t give_up_at; // of an attempt to join
	uint32_t attempts;
	uint32_t rolled_back;
	uint32_t refused_old;
	uint32_t resumed_at;
	uint32_t reformed; // the job had another form
	char text[256];
	float grad[TR_ELEMS + TR_ELEMS_B];
	float out[TR_ELEMS + TR_ELEMS_B];
	float *pointers[2];
};

struct tr_server {
	struct gp_engine *e;
	struct gp_xport *x[TR_CORES_MAX];
	struct gp_engine_config cfg;
	bool alive;
};

struct tr_rig {
	struct tr_how how;
	struct gp_sim_net *net;
	struct gp_job_config job;
	struct tr_server server[2];
	struct tr_worker w[TR_WORKERS_MAX];
	uint64_t now;
	uint32_t events;
	// what B begins with
	float *values[2][2]; // [whole, ahead][array]
	uint8_t ahead[2][16];
	struct gp_restore restore;
	struct gp_restore_tensor tensors[2];
};

struct tr_end {
	uint32_t events;
	uint32_t generation;
	uint64_t digest;
	float out[TR_WORKERS_MAX][TR_ELEMS + TR_ELEMS_B];
	enum gp_ccore_fate fate[TR_WORKERS_MAX];
	uint32_t rolled_back[TR_WORKERS_MAX];
	uint32_t resumed_at[TR_WORKERS_MAX];
	uint32_t refused_old[TR_WORKERS_MAX];
	uint32_t reformed[TR_WORKERS_MAX];
	char text[TR_WORKERS_MAX][256];
};

struct tr_how tr_how(void); // 2 workers, one core each, train, step, f32, never killed
// A whole history. False: somebody did not come to the end in time.
bool tr_run(const struct tr_how *how, struct tr_end *end);

#endif
