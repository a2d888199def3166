// SPDX-License-Identifier: BSD-3-Clause
//
// What the engine's flight recorder keeps, and how each record looks. One ring a core for what
// reaches it, a smaller one for its heartbeats (so that a job that waits does not push out what it
// waits for), and one for control's sessions. Each has the one writer that its core is.
//
// Integers of the machine, without holes; docs/operations.md says how far a replay reproduces them.
#ifndef ENGINE_FLIGHT_H
#define ENGINE_FLIGHT_H

#include <gp_flight.h>

#include "engine_types.h"

#define FLIGHT_QUIET_SHARE 4   // the quiet ring is the fourth part, control's likewise
#define FLIGHT_SHORT	   192 // datagrams up to this length are kept whole: two cells, a JOIN fits
#define FLIGHT_SLOTS_MAX   256 // open slots that follow a mark

enum flight_kind {
	FLIGHT_DATAGRAM = 1, // struct flight_peer, then its first bytes or all
	FLIGHT_DECISION,     // struct flight_decision: applied
	FLIGHT_COMMAND,	     // struct flight_command: taken from a ring
	FLIGHT_LOST,	     // struct flight_command: home has lost a silent member
	FLIGHT_MARK,	     // struct flight_mark: a step is committed in all units
	FLIGHT_HOME,	     // struct flight_home: right behind the mark of a job's home
	FLIGHT_SLOT,	     // struct flight_slot: right behind a mark
	FLIGHT_SESSION,	     // struct flight_session: opened (verdict 1) or closed (0)
};

struct flight_peer {
	uint8_t ip[16];
	uint16_t port;
	uint16_t vlan;
	uint32_t reserved;
};

struct flight_decision {
	uint32_t job;
	uint32_t size; // of struct gp_decision
	struct gp_decision d;
};

struct flight_command {
	uint8_t type; // enum cmd_type
	uint8_t core; // sender; UINT8_MAX: control
	uint16_t job;
	uint32_t unit;
	uint32_t step;
	uint32_t view;
	uint32_t rank;
	uint32_t session;
	struct flight_peer addr;
};

enum flight_mark_flags {
	FLIGHT_MARK_WHOLE = 1, // every open slot follows, and no cut is under way
	FLIGHT_MARK_STOPPING = 2,
};

struct flight_mark {
	uint32_t job;
	uint32_t flags;
	uint32_t decision;
	uint32_t generation;
	uint32_t view;
	uint32_t view_first_step;
	uint32_t members_count;
	uint32_t lowest;
	uint32_t admitted;
	uint32_t stop_step;
	uint32_t slots_count; // that follow
	struct gp_ranks members;
};

struct flight_home {
	uint32_t job;
	uint32_t whole; // home had nothing more in hand than its core
	uint32_t admitted;
	uint32_t cut_last;
	uint32_t stop_wanted;
	uint32_t stopped;
	struct gp_ranks live;
	struct gp_ranks lost;
	uint32_t rank_session[GP_RANKS_MAX];
};

struct flight_slot {
	uint32_t job;
	uint32_t step;
	uint32_t local;
	uint32_t reserved;
	struct gp_ranks ranks;
};

struct flight_session {
	uint32_t id;
	uint16_t job;
	uint16_t rank;
	uint32_t flags;
	uint32_t payload_max;
	uint64_t incarnation;
	uint32_t serial;
	uint32_t reserved;
	struct flight_peer addr;
};

// In the file: GP_FLIGHT_NODE, then one GP_FLIGHT_JOB for each job that has a layout.
struct flight_node {
	uint32_t cores_count;
	uint32_t jobs_count;
	uint32_t epoch;
	uint32_t sessions_max;
	uint32_t ring_size;
	uint32_t payload_max;
	uint16_t base_port;
	uint8_t standby;
	uint8_t payloads;
	uint32_t cause; // enum gp_flight_cause
	uint32_t decision_size;
	uint32_t command_size;
	char version[32];
	char text[64]; // what failed
};

struct flight_job {
	uint32_t id;
	uint32_t block_elems;
	uint32_t blocks_count;
	uint32_t tensors_count;
	uint32_t first_generation;
	uint32_t first_decision;
	uint32_t generation; // as published when it was dumped
	uint32_t decision;
	uint32_t view;
	uint32_t state;
	uint64_t reserved;
};

struct flight_tensor {
	char name[64];
	uint32_t dims_count;
	uint32_t priority;
	uint64_t dims[GP_WIRE_DIMS_MAX];
};

struct flight {
	struct gp_flight_ring main;
	struct gp_flight_ring quiet;
	struct gp_flight_ring *hand; // of the datagram in hand
	const struct gp_rcu_grace *grace;
	bool payloads;
	uint8_t cuts[GP_ENGINE_JOBS_MAX + 1]; // begun and not ended at this core
};

// Ring numbers in the file.
#define FLIGHT_RING_QUIET   0x100 // + core
#define FLIGHT_RING_CONTROL 0x200

bool flight_legal(const struct gp_engine_config *cfg);
size_t flight_size(const struct gp_engine_config *cfg);
bool flight_take(struct gp_engine *e, struct gp_arena *a);

// Each does nothing where there is no recorder.
void flight_datagram_put(struct gp_core *c, const struct gp_frame *f);
void flight_verdict_put(struct gp_core *c, enum gp_verdict v);
void flight_command(struct gp_core *c, const struct cmd *cmd, uint8_t sender);
void flight_decision(struct gp_core *c, const struct job_core *jc, const struct gp_decision *d);
void flight_lost(struct gp_core *c, const struct job_core *jc, uint32_t rank);
void flight_mark(struct gp_core *c, const struct job_core *jc);
void flight_session(struct gp_engine *e, const struct gp_session *s, bool opened, uint64_t now);

static inline void flight_datagram(struct gp_core *c, const struct gp_frame *f)
{
	if (c->flight)
		flight_datagram_put(c, f);
}

static inline void flight_verdict(struct gp_core *c, enum gp_verdict v)
{
	if (c->flight)
		flight_verdict_put(c, v);
}

#endif
