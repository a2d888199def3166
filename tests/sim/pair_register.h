// SPDX-License-Identifier: BSD-3-Clause
//
// The register of leadership: a witness with a disk of its own, and the way to it.
#ifndef SIM_PAIR_REGISTER_H
#define SIM_PAIR_REGISTER_H

#include "pair_disk.h"

#include <gp_lead.h>
#include <lead_priv.h>

#define PAIR_LETTERS_MAX 48

struct pair_node;
struct pair_sim;

// A node's question to the register.
struct pair_ask {
	bool open;
	struct lead_course course;
	uint64_t ends; // by the node's clock: then nobody waits for this answer any more
};

// On the way to the register or back.
struct pair_letter {
	bool open, reply, swap;
	uint32_t node, serial;
	uint64_t life;
	uint64_t due;
	char line[WITNESS_LINE_MAX];
};

// A witness with a disk of its own.
struct pair_register {
	struct pair_disk *disk;
	struct lead_records *records; // NULL: it is off
	uint64_t back_at;
	struct gp_lead_held held; // what it held last
	uint32_t told;		  // epoch that it has told
	struct pair_letter letters[PAIR_LETTERS_MAX];
};

void pair_register_open(struct pair_sim *s, const char *root);
void pair_register_close(struct pair_sim *s);
void pair_register_turn(struct pair_sim *s);
void pair_register_ask(struct pair_node *n, bool swap);
void pair_register_kill(struct pair_sim *s, bool power, uint64_t down_ns);
bool pair_register_rests(const struct pair_sim *s); // it is there, and no swap is on its way

#endif
