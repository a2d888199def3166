// SPDX-License-Identifier: BSD-3-Clause
//
// Histories of a pair of servers: synchronous replication and takeover, on virtual time. Two nodes,
// each an engine, the image and stream of lib/replica and the rules of lib/lead; a register that
// compares and swaps, whose answers are lost, late or doubtful; workers that join again wherever
// the job goes on. Nodes die, stand still and come back, the link between them breaks at any byte,
// and so do the ways to the register and to the workers.
//
//	pair.c		the loop, the course of a history, what is told at its end
//	pair_node.c	a node: its roles, what it replicates, releases and restores
//	pair_wire.c	the stream's bytes between the nodes; the register
//	pair_worker.c	workers
//	pair_check.c	the judge: decisions that anybody could hear of, in one order, never undone
//	pair_trouble.c	faults
#ifndef SIM_PAIR_H
#define SIM_PAIR_H

#include "oracle.h"
#include "rng.h"

#include <gp_backup.h>
#include <gp_ccore.h>
#include <gp_feeder.h>
#include <gp_follower.h>
#include <gp_lead_rules.h>
#include <gp_xport_sim.h>

#define PAIR_WORKERS_MAX   4
#define PAIR_CORES_MAX	   2
#define PAIR_WHY_SIZE	   300
#define PAIR_DECISIONS_MAX 65536
#define PAIR_CHUNKS_MAX	   256
#define PAIR_HELD_MAX	   256
#define PAIR_LATE_MAX	   16
#define PAIR_IN_SIZE	   (1u << 19)
#define US		   UINT64_C(1000)
#define MS		   UINT64_C(1000000)
#define SEC		   UINT64_C(1000000000)
#define PAIR_NEVER	   UINT64_MAX

struct pair_sim;

// A question to the register.
struct pair_ask {
	bool open;
	bool swap;
	struct gp_lead_held from;
	struct gp_lead_record to;
	uint64_t arrives; // PAIR_NEVER: it is lost
	bool done;	  // it has arrived
	uint64_t answers; // PAIR_NEVER: the answer is lost
	uint64_t ends;	  // then nobody waits for it any more
	struct gp_lead_event answer;
};

struct pair_node {
	struct pair_sim *s;
	uint32_t idx;
	bool alive;
	uint64_t life;
	uint64_t back_at;  // dead until then
	uint64_t awake_at; // stands still until then
	struct gp_engine *engine;
	struct gp_xport *x[PAIR_CORES_MAX];
	struct gp_frame *held[PAIR_HELD_MAX]; // what arrived while it stood still
	uint8_t held_at[PAIR_HELD_MAX];
	uint32_t held_count;
	bool bound; // a base or generation was published: workers may join
	// leadership
	struct gp_lead_rules rules;
	bool read_due, swap_due, stop_due;
	uint64_t poll_at;
	struct pair_ask ask;
	uint32_t epoch; // led
	// replication
	bool leading, closed, turned, based, fed, offered, ready_told;
	uint64_t turned_at;
	struct gp_lead_record offer;
	struct gp_image *image;
	struct gp_follower *follower;
	struct gp_feeder *feeder;
	struct gp_stream *stream;
	struct gp_stream_pipe out;
	uint8_t *in;
	size_t in_len;
	bool stream_open, stream_broken;
	uint64_t heard_at, ping_at;
	bool silent_told;
	bool peer_known;
	struct gp_stream_hello peer;
	// told to the replicating thread, by number
	struct gp_decision *told;
};

struct pair_chunk {
	uint64_t due;
	uint8_t *bytes;
	size_t len;
};

// One direction of the link between the nodes, first in first out.
struct pair_way {
	struct pair_chunk chunks[PAIR_CHUNKS_MAX];
	uint32_t head, count;
	uint64_t last;
};

enum pair_phase { PAIR_JOINS, PAIR_REGISTERS, PAIR_INITS, PAIR_STEPS, PAIR_DEAD, PAIR_OVER };

struct pair_worker {
	struct pair_sim *s;
	uint32_t rank;
	struct gp_ccore *core;
	struct gp_xport *x[PAIR_CORES_MAX];
	uint32_t lanes;
	uint32_t server;
	enum pair_phase phase;
	uint64_t back_at;
	uint64_t give_up_at;
	uint64_t life;
	uint64_t next_at;
	uint32_t pushed;
	bool told;	// it rolled back, and knows
	uint32_t done;	// highest step that it was told to be committed
	uint32_t first; // step of this life: others may have begun it without this rank
	float *params, *grad;
	float *outs[MODEL_TENSORS_MAX];
};

struct pair_stats {
	uint64_t histories, takeovers, kills, pauses, cuts, worker_kills, rejoins, rolled_back;
	uint64_t commits, checks, doubts, bases, resumed, digests;
};

struct pair_sim {
	uint64_t seed;
	struct sim_opts o;
	struct model model;
	struct oracle oracle;
	struct rng rng;
	struct gp_sim_net *net;
	struct gp_job_config job;
	uint32_t cores[2];
	uint64_t now;
	uint64_t turn;
	bool calm;
	uint64_t calm_at;
	uint32_t last_step;
	char why[PAIR_WHY_SIZE];
	struct pair_node node[2];
	struct pair_way way[2]; // from node i
	bool link_up;
	uint64_t link_at; // when it comes up
	bool link_cut;
	struct pair_worker w[PAIR_WORKERS_MAX];
	struct gp_lead_held reg; // what the register holds
	bool reg_away[2];
	struct pair_ask late[PAIR_LATE_MAX]; // swaps that nobody waits for any more
	bool mute[2];			     // no datagram reaches or leaves this node
	// the judge
	uint32_t decision;		 // the last that anybody could hear of
	uint64_t owner;			 // life of the node that leads
	uint32_t base;			 // where it began
	struct gp_decision *out;	 // by number
	uint64_t lives[SIM_WORKERS_MAX]; // of each rank, counted as views take them in
	struct gp_ranks counted[64];	 // step % 64: whose contributions are in every unit so far
	uint32_t released[64];		 // epoch % 64: node + 1 that released in it
	uint32_t takeovers, takeovers_max;
	// trouble
	uint64_t trouble_at;
	uint64_t heal_at;
	struct pair_stats stats;
};

void pair_broken(struct pair_sim *s, const char *fmt, ...) GP_PRINTF(2, 3);

// pair_node.c
void pair_node_start(struct pair_sim *s, uint32_t i);
void pair_node_kill(struct pair_node *n, uint64_t down_ns);
void pair_node_turn(struct pair_node *n);
void pair_node_event(
	struct pair_node *n, enum gp_lead_event_kind kind, const struct gp_lead_record *record);
void pair_node_answer(struct pair_node *n, const struct gp_lead_event *ev);
// A chunk of the peer's stream has come.
void pair_node_input(struct pair_node *n, const uint8_t *bytes, size_t len);
void pair_stream_open(struct pair_node *n);
void pair_stream_close(struct pair_node *n);
void pair_node_free(struct pair_node *n);

// pair_wire.c
void pair_wire_turn(struct pair_sim *s);
void pair_link_down(struct pair_sim *s, uint64_t for_ns);
void pair_wire_free(struct pair_sim *s);
void pair_register_turn(struct pair_sim *s);
void pair_register_ask(struct pair_node *n, bool swap);

// pair_worker.c
void pair_worker_start(struct pair_worker *w);
uint64_t pair_worker_turn(struct pair_worker *w);
void pair_worker_kill(struct pair_worker *w, uint64_t down_ns);

// pair_check.c
void pair_check_told(struct pair_node *n, const struct gp_decision *d);
void pair_check_out(struct pair_node *n, const struct gp_decision *d);
// It leads from now on, from what its image holds (NULL: from nothing).
void pair_check_promoted(struct pair_node *n, const struct gp_image_view *v);
void pair_check_image(struct pair_node *n, const struct gp_image_view *v);
void pair_check_end(struct pair_sim *s);

// pair_trouble.c
void pair_trouble_start(struct pair_sim *s);
void pair_trouble_turn(struct pair_sim *s);
void pair_trouble_end(struct pair_sim *s);

// One history; false with the reason.
bool pair_run(uint64_t seed, struct pair_stats *sum, uint64_t *hash, char why[PAIR_WHY_SIZE]);

#endif
