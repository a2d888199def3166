// SPDX-License-Identifier: BSD-3-Clause
#ifndef REPLAY_PRIV_H
#define REPLAY_PRIV_H

#include <gp_replay.h>

#include "flight.h"
#include "registrar_priv.h"

// A ring of the file and the next record of it.
struct replay_ring {
	struct gp_flight_cursor cursor;
	bool there;
	struct gp_flight_record next;
};

struct replay_core {
	struct gp_xport xport;
	struct gp_replay *r;
	struct replay_ring main, quiet;
	struct replay_ring again; // main from the beginning of the round
	bool started[GP_ENGINE_JOBS_MAX + 1];
	bool ready[GP_ENGINE_JOBS_MAX + 1];    // control's word of the job is in the core's ring
	uint32_t told[GP_ENGINE_JOBS_MAX + 1]; // last decision that is not to be compared
	uint32_t mark_generation[GP_ENGINE_JOBS_MAX + 1];
	bool from_mark[GP_ENGINE_JOBS_MAX + 1];
	uint64_t clock;			   // grace periods that had passed
	uint64_t last;			   // time of its last round
	bool full[GP_ENGINE_JOBS_MAX + 1]; // memory was once short there and is not here
	uint32_t marked;		   // job whose mark is being read, 0: none
};

struct replay_session {
	struct gp_session s;
	bool ending; // closed by control; cores may not have seen it yet
};

struct replay_job {
	const struct flight_job *layout; // in the file; NULL: none
	const struct flight_tensor *tensors;
	void *zeros;
};

struct replay_piece;

struct gp_replay {
	struct gp_engine_config cfg; // its memory is replay_take's
	const struct gp_flight_file *f;
	void *(*take)(void *arg, size_t size); // the caller's
	void (*give)(void *arg, void *mem);
	void *mem_arg;
	struct replay_piece *pieces;
	bool unguarded;
	bool failed; // an assertion: what the engine holds is in no order
	char err[GP_REPLAY_TEXT_SIZE];
	struct gp_engine *e;
	struct flight_node node;
	struct gp_replay_result result;
	uint64_t begin; // time of the first record
	struct replay_ring control;
	struct replay_session *sessions; // [sessions_max]
	struct replay_job jobs[GP_ENGINE_JOBS_MAX + 1];
	struct gp_job_config *jobs_cfg;
	struct replay_core *cores;
};

// replay.c
void replay_ring_step(struct replay_ring *ring);
uint64_t replay_core_time(const struct replay_core *rc); // of its next record, UINT64_MAX: none

// replay_begin.c: whether the dump has enough of this job; it has a layout
bool replay_job_is_kept(const struct gp_replay *r, uint32_t id);
bool replay_job_evicts(const struct gp_job_config *cfg);

// replay_guard.c
void *replay_take(void *arg, size_t size);
void replay_give(void *arg, void *mem);
void replay_give_all(struct gp_replay *r);
// Runs it; false, with a text, when an assertion failed inside.
bool replay_guarded(struct gp_replay *r, int (*run)(struct gp_replay *), int *rc,
	char text[GP_REPLAY_TEXT_SIZE]) GP_MUST_CHECK;

bool replay_ranks_legal(const struct gp_ranks *ranks, uint32_t workers);
bool replay_decision_legal(const struct gp_job *j, const struct gp_decision *d);
bool replay_mark_legal(const struct gp_job *j, const struct flight_mark *m);
bool replay_home_legal(
	const struct gp_replay *r, const struct gp_job *j, const struct flight_home *h);

// replay_state.c
int replay_jobs_read(struct gp_replay *r, const struct gp_flight_file *f, char *err);
// Publishes the job of that number if it is not yet there. False: the dump has no layout of it.
bool replay_job_need(struct gp_replay *r, uint32_t id);
void replay_mark(struct gp_replay *r, uint32_t core, const struct flight_mark *m);
void replay_home(struct gp_replay *r, const struct flight_home *h);
void replay_slot(struct gp_replay *r, uint32_t core, const struct flight_slot *s);
void replay_sessions_read(struct gp_replay *r, const struct gp_flight_part *present,
	const struct gp_flight_part *control);
void replay_session(struct gp_replay *r, const struct flight_session *s, bool opened);
extern const struct gp_xport_ops replay_xport_ops;
struct gp_addr replay_addr(const struct flight_peer *p);

// replay_frame.c: a recorded datagram as a frame; NULL when it is not to be driven.
struct gp_frame *replay_frame(
	struct gp_replay *r, struct replay_core *rc, const struct gp_flight_record *rec);
// What a datagram that is not driven did to the core.
void replay_taken(struct gp_replay *r, uint32_t core, const struct gp_flight_record *rec);

#endif
