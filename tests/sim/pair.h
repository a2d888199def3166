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
//	pair_wire.c	the stream's bytes between the nodes
//	pair_register.h	the register of leadership, a witness with a disk (pair_disk.h)
//	pair_worker.c	workers
//	pair_reader.c	readers
//	pair_meet.c	barriers
//	pair_async.c	the judge of asynchronous jobs: what a generation may hold
//	pair_rows.h	the same with tables of rows
//	pair_check.c	the judge: decisions that anybody could hear of, in one order, never undone
//	pair_trouble.c	faults
//	pair_snaps.h	the same where the backup has snapshots, and where both nodes are lost
//	pair_net.c	who cannot reach whom, clocks, how long a failover takes
//	pair_machine.h	what a history must not have from the machine
#ifndef SIM_PAIR_H
#define SIM_PAIR_H

#include "oracle.h"
#include "pair_async.h"
#include "pair_disk.h"
#include "pair_reader.h"
#include "pair_register.h"
#include "pair_rows.h"
#include "pair_snaps.h"
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
#define PAIR_IN_SIZE	   (1u << 19)
#define US		   UINT64_C(1000)
#define MS		   UINT64_C(1000000)
#define SEC		   UINT64_C(1000000000)
#define PAIR_NEVER	   UINT64_MAX
#define PAIR_TIMES_MAX	   65536

// Places of the network: nodes are 0 and 1.
#define PAIR_REGISTER	2
#define PAIR_WORKER	3
#define PAIR_READER	(PAIR_WORKER + PAIR_WORKERS_MAX)
#define PAIR_PLACES_MAX (PAIR_READER + PAIR_READERS_MAX)

struct pair_sim;

// A host's clock: it runs at its own rate, and jumps forward.
struct pair_clock {
	uint64_t at, shown;
	uint32_t permille;
};

struct pair_node {
	struct pair_sim *s;
	uint32_t idx;
	bool alive;
	uint64_t life;
	uint64_t back_at;  // dead until then
	uint64_t awake_at; // stands still until then
	uint64_t turn_at;  // by its own clock
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
	uint32_t asks; // in this life
	// snapshots instead of every commit
	struct pair_snaps snaps;
	struct lead_manual manual;
	bool fence_due;
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
	uint32_t tapped; // of its home's, the last that the judge knows
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

enum pair_phase {
	PAIR_JOINS,
	PAIR_REGISTERS,
	PAIR_INITS,
	PAIR_STEPS,
	PAIR_PULLS,
	PAIR_DEAD,
	PAIR_OVER
};

struct pair_worker {
	struct pair_sim *s;
	uint32_t rank;
	struct gp_ccore *core;
	struct gp_xport *x[PAIR_CORES_MAX];
	uint32_t lanes;
	uint32_t server;
	enum pair_phase phase;
	uint64_t back_at;
	uint64_t life;
	uint64_t give_up_at, next_at;
	uint32_t pushed, lives;
	bool told;	  // it rolled back, and knows
	bool passed;	  // asynchronous: it has done enough
	uint32_t done;	  // highest step that it was told to be committed
	uint32_t first;	  // step of this life: others may have begun it without this rank
	uint32_t rewinds; // of the operator's, that it knows of
	struct pair_meeting meeting;
	enum gp_ccore_fate fate;
	float *params, *grad, *residual;
	float *outs[MODEL_TENSORS_MAX];
};

struct pair_stats {
	uint64_t histories, takeovers, kills, pauses, cuts, worker_kills, rejoins, rolled_back;
	uint64_t commits, checks, doubts, bases, resumed, digests, partitions, jumps, repeated,
		registers_killed, disk_faults, restarts, snapshots, shipped, losses, steps_lost,
		met, reads, both_lost;
};

// From a fault of the primary to the first commit that comes out of the other node, ns.
struct pair_times {
	uint32_t count;
	uint64_t ns[PAIR_TIMES_MAX];
};

struct pair_sim {
	uint64_t seed;
	struct sim_opts o;
	struct model model;
	struct oracle oracle;
	struct pair_async async;
	struct rng rng;
	struct gp_sim_net *net;
	struct gp_job_config job;
	uint32_t cores[2];
	uint64_t now, turn;
	uint64_t trace; // hash of all that came to anybody, and when
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
	uint32_t readers;
	struct pair_reader r[PAIR_READERS_MAX];
	uint32_t meet_every, met; // steps (0: nobody meets), and the last one at which all have
	struct pair_register reg;
	uint32_t endpoints;			    // by which it is asked
	bool cut[PAIR_PLACES_MAX][PAIR_PLACES_MAX]; // nothing gets from there to there
	struct pair_clock clocks[PAIR_PLACES_MAX];
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
	bool evicts;		// embed: rows that were not written for some pushes
	bool plain, codecs_one; // see struct pair_how
	uint64_t trouble_at, heal_at;
	uint64_t fault_at;	  // of the primary, 0: it has not failed since the last takeover
	bool promoted;		  // and the other one leads since
	struct pair_times *times; // NULL: not wanted
	struct pair_stats stats;
	// snapshots instead of every commit
	bool periodic, manual;
	uint32_t full_every;
	struct pair_disk *disk[2];
	struct pair_operator op;
	uint32_t epoch; // of the owner
};

void pair_broken(struct pair_sim *s, const char *fmt, ...) GP_PRINTF(2, 3);

// pair_node.c
void pair_node_start(struct pair_sim *s, uint32_t i);
void pair_engine_start(struct pair_node *n, bool standby, uint32_t epoch);
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

// pair_worker.c
void pair_worker_start(struct pair_worker *w);
uint64_t pair_worker_turn(struct pair_worker *w);
void pair_worker_kill(struct pair_worker *w, uint64_t down_ns);

void pair_tensors_fill(const struct pair_sim *s, struct gp_client_tensor d[MODEL_TENSORS_MAX]);

// pair_check.c
void pair_check_told(struct pair_node *n, const struct gp_decision *d);
void pair_check_out(struct pair_node *n, const struct gp_decision *d);
// It leads from now on, from what its image holds (NULL: from nothing).
void pair_check_promoted(struct pair_node *n, const struct gp_image_view *v);
void pair_check_image(struct pair_node *n, const struct gp_image_view *v);
void pair_check_end(struct pair_sim *s);

// pair_operator.c: whether steps up to `done` were lost, by one who knew of so many losses before.
bool pair_lost_since(const struct pair_sim *s, uint32_t rewinds, uint32_t done);

// pair_trouble.c
void pair_trouble_start(struct pair_sim *s);
void pair_trouble_turn(struct pair_sim *s);
void pair_trouble_end(struct pair_sim *s);

// pair_net.c
void pair_net_start(struct pair_sim *s);
uint64_t pair_now(struct pair_sim *s, uint32_t place); // by its clock
void pair_clock_jump(struct pair_sim *s, uint32_t place, uint64_t by_ns);
bool pair_reaches(const struct pair_sim *s, uint32_t from, uint32_t to);
void pair_cut(struct pair_sim *s, uint32_t from, uint32_t to);
void pair_cuts_end(struct pair_sim *s);
// The place that a datagram comes from.
uint32_t pair_place_of(const struct gp_frame *f);
// The primary fails; it leads elsewhere; a commit has come out.
void pair_failed(struct pair_sim *s);
void pair_leads(struct pair_sim *s);
void pair_came_out(struct pair_sim *s);

// pair.c
void pair_traced(struct pair_sim *s, const void *bytes, size_t len);
struct gp_xport *pair_endpoint(struct pair_sim *s, uint32_t host, uint32_t port);

struct pair_how {
	const char *root;	  // of disks
	bool plain, codecs_one;	  // only the primary fails; contributions are in f32
	struct pair_times *times; // NULL: not wanted
};

// One history; false with the reason.
bool pair_run(uint64_t seed, const struct pair_how *how, struct pair_stats *sum, uint64_t *hash,
	char why[PAIR_WHY_SIZE]);

#endif
