// SPDX-License-Identifier: BSD-3-Clause
//
// One history: a server, its workers and readers in one process and one thread, on virtual time.
// The production objects of engine and client run unchanged; wire.h is their network, oracle.h
// their judge.
//
//	cluster.c  the loop: what happens next, the course of a history (faults, then calm)
//	trouble.c  the faults that are events: deaths, cuts of the network, pauses, jumps of clocks
//	server.c   cores and control of the server
//	worker.c   workers: join, train, leave, and come back after an error
//	reader.c   readers: pull whenever they like
//	tap.c	   what is read inside the engine and the clients: decisions, invariants
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include "oracle.h"
#include "wire.h"

#include <gp_ccore.h>
#include <gp_engine.h>

#define SIM_JOB_ID   1
#define SIM_WHY_SIZE 300
#define SIM_BURST    32 // datagrams that a core or a client takes at once
#define US	     UINT64_C(1000)
#define MS	     UINT64_C(1000000)
#define SEC	     UINT64_C(1000000000)

enum sim_phase {
	SIM_FAULTS,
	SIM_CALM,  // no faults any more: everyone finishes
	SIM_ENDED, // all have left
};

enum node_phase {
	NODE_DOWN,
	NODE_JOIN,
	NODE_REGISTER,
	NODE_INIT,
	NODE_COMPUTE,
	NODE_STEP, // all pushed: waits for the results
	NODE_PULL,
	NODE_REST, // reader: between pulls
	NODE_LEAVE,
	NODE_GONE,
};

// A worker or a reader.
struct sim_node {
	struct gp_ccore *core;
	enum node_phase phase;
	uint32_t idx;  // rank, or number of the reader
	uint32_t host; // of the wire
	bool reader;
	uint32_t lives;
	uint64_t life; // incarnation; 0 before the first
	uint32_t attached;
	uint32_t slow;	   // times
	uint64_t ahead;	   // its clock, beyond the time of the history
	uint64_t wake_at;  // when it looks again
	uint64_t timer_at; // when its core wants to be called
	uint64_t next_at;  // computing, resting or dead until then
	uint32_t pushed;   // tensors of this step
	uint64_t quiet;	   // tensors of this step whose results it does not want
	bool poisoned;	   // this life contributed NaN or infinity
	bool last_pull;	   // reader: the one that must succeed
	uint32_t generation;
	uint32_t confirmed; // tap
	uint8_t results;    // codec in which it is given results
	bool changed;	    // they may leave out what has not changed
	bool lends;	    // gradients in f32 are not copied
	float *params;
	float *grad;	 // as the judge is told of it
	float *values;	 // as it is pushed
	bool encoding;	 // a part of a tensor is still to be
	float *residual; // what the codec has kept back
	float *const *outs;
	float *out[MODEL_TENSORS_MAX];
};

struct sim_core {
	uint64_t wake_at;
	uint64_t asleep_until;
	uint64_t card_until; // its card does not send before
	uint32_t idle;	     // turns without work
};

struct sim_stats {
	uint64_t datagrams, retransmits, kills, errors, views, commits, aborts, cuts, pulls, checks;
	uint64_t calm_ns, virtual_ns;
};

struct sim {
	const struct sim_opts *o;
	struct model model;
	struct oracle oracle;
	struct wire wire;
	struct rng rng;
	enum sim_phase phase;
	uint64_t now;
	uint64_t calm_at; // when faults ended
	uint32_t last_step;
	char why[SIM_WHY_SIZE];
	// server
	struct gp_engine *engine;
	struct gp_job_config job;
	struct gp_xport *ports[SIM_CORES_MAX];
	struct sim_core cores[SIM_CORES_MAX];
	uint64_t server_ahead;
	bool turning;	// a core is in the middle of its turn
	bool preempted; // and another has taken its CPU
	uint64_t control_at;
	uint64_t control_asleep_until;
	uint32_t control_idle;
	bool cut_held;
	uint32_t cut_step;
	uint64_t cut_until;
	const float *glance; // a block that a thread reads; NULL: none
	size_t glance_size;
	uint64_t glance_hash;
	// clients
	struct sim_node nodes[SIM_WORKERS_MAX + SIM_READERS_MAX];
	uint32_t nodes_count;
	// trouble
	uint64_t trouble_at[FAULT_COUNT];
	uint64_t heal_at[FAULT_COUNT];
	uint32_t heal_host[FAULT_COUNT];
	// tap
	uint32_t decision;		 // last one told to the oracle
	uint32_t views_at[64];		 // decision that began view v, at v % 64
	uint32_t reached[SIM_CORES_MAX]; // asynchronous: generation that the ledger knows of a core
	bool begun[SIM_CORES_MAX];
	uint64_t parked_since; // last time that no read stayed parked for longer than it must
	uint32_t low[SIM_CORES_MAX][SIM_WORKERS_MAX];
	int64_t memory; // bytes taken and not given back
	struct sim_stats stats;
};

// What became of a history.
struct sim_result {
	bool ok;
	char why[SIM_WHY_SIZE];
	uint64_t hash;
	struct sim_stats stats;
	struct wire_stats wire;
};

void sim_broken(struct sim *s, const char *fmt, ...) GP_PRINTF(2, 3);
void *sim_take(void *arg, size_t size);
void sim_give(void *arg, void *mem);

bool server_start(struct sim *s);
void server_core_run(struct sim *s, uint32_t core);
void server_control_run(struct sim *s);
void server_wake(struct sim *s, uint32_t core);

void node_start(struct sim *s, struct sim_node *n);
void node_run(struct sim *s, struct sim_node *n);
void node_wake(struct sim *s, struct sim_node *n);
// It dies; it comes back after `down_ns`.
void node_kill(struct sim *s, struct sim_node *n, uint64_t down_ns);
void node_leave(struct sim_node *n);
// What it was given, n->params, against the reference (oracle_check, oracle_check_mixed).
void node_check(
	struct sim *s, const struct sim_node *n, uint32_t step, uint64_t skip, const char *who);
void node_check_mixed(struct sim *s, const struct sim_node *n, uint32_t step, const char *who);
// Its rounds: what it does next when its core has done what it was asked.
void worker_advance(struct sim *s, struct sim_node *n);
void reader_advance(struct sim *s, struct sim_node *n);
uint64_t node_clock(const struct sim *s, const struct sim_node *n);

void trouble_start(struct sim *s);
uint64_t trouble_next(const struct sim *s);
void trouble_run(struct sim *s);
void trouble_end(struct sim *s);

// Between the datagrams of a turn and the rest of it.
void tap_core_rx(struct sim *s, uint32_t core);
void tap_core(struct sim *s, uint32_t core);
// The generation that the step that is done was given; false: it asked for no result.
bool tap_generation(const struct sim_node *n, uint32_t *generation);
void tap_decisions(struct sim *s);
void tap_node(struct sim *s, struct sim_node *n);
void tap_end(struct sim *s);
void tap_stuck(const struct sim *s, FILE *f);

// Runs the whole history. `log`: every datagram on standard output.
void sim_run(const struct sim_opts *o, bool log, struct sim_result *r);

#endif
