// SPDX-License-Identifier: BSD-3-Clause
//
// A node of a pair whose backup holds snapshots (replica.mode snapshots), on a disk of its own; and
// of one that replicates every commit, whose leader writes snapshots for when both nodes are lost.
//
//	pair_snaps.c	writing a cut, loading the newest, what becomes of the disk
//	pair_ship.c	from the primary's disk to the replica's, piece by piece
//	pair_operator.c	who restarts what and promotes whom; the judge of what is lost
//	pair_both.c	both nodes of a synchronous pair are lost, and come back
#ifndef SIM_PAIR_SNAPS_H
#define SIM_PAIR_SNAPS_H

#include "model.h"
#include "pair_disk.h"

#include <gp_engine.h>
#include <replica_priv.h>

struct pair_node;
struct pair_sim;

#define PAIR_REWINDS_MAX 64

struct pair_snaps {
	// primary: what it writes
	bool cut; // whole, and waits to be written
	uint32_t cut_step, cut_decision;
	uint64_t write_at;
	char newest[PATH_MAX]; // "": none
	uint32_t newest_step;
	// primary: what it ships
	bool connected, waiting, from_full, sent, taken;
	bool held_valid;
	struct hold held;
	struct gp_snapshot *snap; // NULL: nothing is under way
	struct msg_begin begin;
	uint32_t file;
	uint64_t offset;
	uint64_t due;
	// replica: what it has
	struct incoming in;
	bool holds_valid;
	struct hold holds;
	char pending[PATH_MAX]; // verified, not loaded yet; "": none
	// both: what its engine goes on from
	bool loaded;
	uint32_t loaded_step, loaded_decision;
	struct gp_snapshot *open; // until the engine has its layout
	struct gp_restore_tensor tensors[MODEL_TENSORS_MAX];
	struct gp_ranks counted;
	uint32_t line; // of leaderships that it has something of
};

// What operators do, and what the judge knows of it.
struct pair_operator {
	uint32_t primary; // by the nodes' files
	bool promotes;	  // the other one; this one is off meanwhile
	uint64_t at;
	uint32_t promotions;
	uint32_t leader; // who led last
	uint32_t line;	 // how often another disk took over
	bool acked;	 // the replica has told that it holds
	uint32_t acked_step;
	uint32_t rewinds; // steps were lost; what was left
	uint32_t left[PAIR_REWINDS_MAX];
	// synchronous: both nodes may be lost
	bool saves;
	uint32_t chosen;   // is promoted then
	uint32_t saved[2]; // step of the newest snapshot; 0: none that is worth it
	bool hits;	   // who leads then is lost too, when it is paired and nobody has joined
};

// pair_snaps.c
bool pair_snaps_start(struct pair_node *n); // false: the disk failed, it is started again
void pair_snaps_end(struct pair_node *n);
void pair_snaps_cut(struct pair_node *n, uint32_t step, uint32_t decision);
void pair_snaps_turn(struct pair_node *n);
void pair_snaps_write_turn(struct pair_node *n);
void pair_snaps_resume(struct pair_node *n);  // from the newest on its disk
void pair_snaps_restore(struct pair_node *n); // its own newest, into an engine that leads
void pair_snaps_load(struct pair_node *n);    // what is pending, if it can be
// Before it is promoted: what is later than what it goes on from is of no line any more. False: it
// is not done, and the node is killed or must end.
bool pair_snaps_set_aside(struct pair_node *n);
// After the disk was used: false when the node died of it.
bool pair_snaps_survives(struct pair_node *n);

// pair_ship.c
void pair_ship_turn(struct pair_node *n);
void pair_ship_break(struct pair_node *n);

// pair_operator.c
void pair_operator_turn(struct pair_sim *s);
void pair_operator_kill(struct pair_sim *s, uint32_t node, bool power, uint64_t down_ns);
bool pair_operator_fences(struct pair_node *n); // and it has just read the record
void pair_operator_leads(struct pair_node *n);

// pair_both.c
void pair_both_choose(struct pair_sim *s, bool saves);
void pair_both_turn(struct pair_sim *s);
// It leads because both were lost: it goes on from its newest snapshot, promoted or as its file
// says.
bool pair_both_leads(struct pair_node *n);

// pair_trouble.c: the other node holds all that was ever released, and the record says so.
bool pair_may_die(const struct pair_sim *s, uint32_t i);

#endif
