// SPDX-License-Identifier: BSD-3-Clause
//
// The types inside the engine. Who writes what:
//
//	struct gp_job, gp_session	control, before publishing; immutable afterwards
//	struct job_core			its core
//	struct home			the job's home core
//	struct core_session		its core; last_rx is read by home and control
//	struct job_status		home writes, any thread reads
//	struct gp_registrar, reg_job	control
#ifndef ENGINE_TYPES_H
#define ENGINE_TYPES_H

#include "nack.h"

#include <gp_aggr.h>
#include <gp_consist.h>
#include <gp_engine.h>
#include <gp_ring.h>

#include "engine_cmd.h"
#include "engine_beat.h"
#include "engine_barrier.h"
#include "engine_gate.h"
#include "engine_known.h"
#include "engine_status.h"

#define HELD_SECTIONS_MAX 64
#define CONTRIBS_MAX	  (2 * GP_RANKS_MAX) // of a block in one sum: a late one of each rank
#define ACK_EVERY	  8		     // accepted datagrams before an acknowledgement is due
#define ACK_DELAY_NS	  500000	     // or this long after the first
#define NONE_U16	  UINT16_MAX

// ---- sessions

struct gp_session {
	uint32_t id; // index | generation << 16
	uint16_t job;
	uint16_t rank; // GP_WIRE_RANK_NONE: reader
	uint32_t flags;
	uint32_t payload_max;
	uint64_t incarnation;
	uint32_t serial;     // of all sessions, in the order in which control opened them
	struct gp_addr addr; // at core 0; control's
};

// A pull that waits for its generation.
struct held_pull {
	uint32_t step;
	uint32_t count;
	uint32_t block[HELD_SECTIONS_MAX];
	uint16_t run[HELD_SECTIONS_MAX];
};

struct job_core;

struct core_session {
	GP_ALIGNED(GP_CACHE_LINE) uint32_t id; // of the session that the rest is about; 0 = none
	bool bound;
	bool largest_ok; // `largest` was accepted
	bool ack_due;	 // is in the core's list
	uint16_t ack_pending;
	uint64_t largest;
	uint64_t bits;
	uint64_t largest_time;
	uint64_t ack_since;
	uint64_t tx_packet;
	uint32_t confirmed;
	uint32_t payload_max;
	uint32_t limit; // of a datagram to this address
	uint16_t lower; // bytes before it: Ethernet, IP, UDP
	uint16_t job;	// these three go into every header to it; 0 until control's word has come
	uint16_t rank;
	uint16_t credit;
	uint32_t wants; // flags of its join: the form of its results
	_Atomic uint64_t last_rx;
	struct gp_addr addr;
	struct known known;
	struct job_core *held_by; // NULL: no pull is held
	struct held_pull held;
};

// ---- jobs

struct job_tensor {
	char name[GP_WIRE_TENSOR_NAME_MAX + 1];
	uint32_t dims_count;
	uint32_t priority;
	uint64_t dims[GP_WIRE_DIMS_MAX];
	uint64_t elems;
	uint32_t first_block;
	uint32_t blocks_count;
	uint32_t restored; // its index in the generation that the job is loaded from
};

// One rank's contribution to an open slot.
struct part {
	struct gp_frame *frame; // held; NULL for zeros
	const uint8_t *payload;
	uint32_t len;
	float weight;
	uint32_t session; // id
	uint8_t codec;
	bool want;
};

struct slot {
	GP_ALIGNED(GP_CACHE_LINE) uint32_t step;
	uint32_t local; // place of the block at this core
	uint32_t count;
	bool open;
	bool deferred; // complete, waits for a version or a decision
	struct gp_ranks ranks;
	struct part *parts; // [rank], always the same
};
_Static_assert(sizeof(struct slot) == GP_CACHE_LINE, "a slot is one line");

struct job_core {
	struct gp_job *job;
	struct gp_table table;
	bool busy;	    // something reached it since its last turn
	struct slot *slots; // [slot_mask + 1], slot of virtual position p is p & slot_mask
	struct part *parts; // [slot][rank]; slots[i].parts point into it
	uint32_t slot_mask;
	uint32_t low_step; // lowest incomplete place in (step, block) order
	uint32_t low_local;
	uint32_t slots_open;
	uint32_t *committed;   // per unit: step
	uint32_t *unit_blocks; // per unit: blocks of it at this core
	uint32_t *unit_done;   // per unit: complete at committed + 1
	uint32_t units_next;   // units committed at generation + 1
	uint32_t generation;
	uint32_t decision;
	uint32_t view;
	uint32_t view_first_step;
	uint32_t members_count;
	uint32_t lowest;
	uint32_t admitted; // serial of the latest session that may be in the view
	uint32_t stop_step;
	bool stopping;
	struct gp_ranks members, counted, counted_ahead; // of the last two see struct gp_restore
	uint32_t *deferred;				 // slots
	uint32_t deferred_count;
	uint32_t *done_queue; // units whose part is done and not yet told to home
	uint32_t done_first;
	uint32_t done_count;
	uint32_t done_turns; // that they have waited for more
	uint32_t held_count; // sessions with a held pull
	bool cut_seen_due;   // home has not been told yet that the cut began or ended here
	bool cut_ended;
	uint32_t cut_seen_step;
	struct gp_optim_plan plan; // of the last step computed; kernel NULL: none yet
	struct async_core *async;  // NULL: a synchronous job
	struct embed_core *embed;  // NULL: no embed job
	struct whole_core *whole;  // NULL: a block's update needs no other block's
	struct nack_watch nack;
};

struct home {
	struct gp_consist consist;
	struct async_home *async;		     // NULL: a synchronous job
	struct whole_home *whole;		     // NULL: see struct job_core
	uint32_t delivered[GP_ENGINE_CORES_MAX + 2]; // decisions given to each core, to control and
						     // to the replicating thread
	uint32_t announced;			     // decisions sent to members
	uint32_t rank_session[GP_RANKS_MAX];	     // session id, 0 = none
	struct gp_ranks lost_due;		     // control has not been told yet
	uint64_t scan_next;
	uint64_t tick_last;   // when home ran last
	uint64_t promoted_at; // standby: when it became the leader, 0 = it has not
	bool stood_by;
	uint64_t awake_since; // end of its last pause: nobody was silent towards it before
	bool recorded;	      // control gets every decision
	struct home_gate gate;
	bool cut_wanted;
	bool cut_active;
	bool cut_ready_due;
	bool stop_wanted;
	bool stopped;
	uint32_t cut_step;
	struct gp_ranks cut_counted; // bsp: who is in it, once it is whole here
	uint32_t cut_decision;
	uint32_t cut_whole;   // the decision that made the cut's generation whole
	uint32_t cut_seen;    // cores that keep its versions
	uint32_t cut_ended;   // cores that let go of them
	uint32_t cut_last;    // generation of the last cut made by interval
	struct gp_ranks left; // by their own word, since they joined last
	struct barrier barriers[BARRIERS_MAX];
};

struct gp_job {
	const struct gp_job_config *cfg;
	struct gp_engine *engine;
	uint32_t idx; // in the configuration
	uint32_t home_core;
	uint32_t block_elems;
	uint32_t blocks_count;
	uint32_t tensors_count;
	uint32_t units_count;
	uint32_t first_generation; // UINT32_MAX: step 0 is to come
	uint32_t first_decision;
	struct gp_history history;
	struct job_tensor *tensors;
	uint16_t *unit_parts;
	struct gp_fastdiv by_cores;
	struct home *home;
	struct job_core cores[]; // [cores_count]
};

// ---- cores

struct gp_core {
	struct gp_engine *engine;
	struct flight *flight; // its recorder; NULL: none
	struct gp_xport *xport;
	uint32_t idx;
	uint64_t now;
	struct core_session *sessions; // [sessions_max]
	uint16_t *ack_list;	       // session indices with an acknowledgement due
	uint32_t ack_count;
	uint64_t rx_before;	  // datagrams before this turn
	bool loaded;		  // there were many in it
	uint32_t commands_max;	  // CMDS_PER_BURST; a replay takes what was taken
	uint32_t job_turn;	  // index of the job that has a turn whatever it has to do
	uint32_t results_left;	  // that the PUSH in hand may still draw
	uint64_t hello_tokens_at; // token bucket: time at which it was last full
	uint64_t hello_tokens;
	struct job_core *jobs[GP_ENGINE_JOBS_MAX + 1]; // by id; NULL until CMD_JOB_READY
	struct gp_ring *to_core[GP_ENGINE_CORES_MAX];
	struct gp_ring *from_core[GP_ENGINE_CORES_MAX];
	struct gp_ring *to_control;
	struct gp_ring *from_control;
	struct core_gate gate;
	float *scratch;		     // one block: the sum before the optimizer
	float *scaled;		     // one block: a contribution that is measured or scaled
	struct pack *pack;	     // results that wait for the end of the burst
	struct gp_contrib *contribs; // [CONTRIBS_MAX]
	struct gp_core_stats stats;
};

struct gp_engine {
	struct gp_engine_config cfg;
	_Atomic uint32_t epoch; // control writes, cores read: a bit old is harmless
	_Atomic bool standby;
	struct gp_job_config *jobs_cfg;
	struct job_status *status;			     // [jobs_count]
	struct gp_job *_Atomic jobs[GP_ENGINE_JOBS_MAX + 1]; // by id; published by control
	struct gp_session *_Atomic *sessions;		     // [sessions_max]; published by control
	struct gp_core *cores;
	struct gp_registrar *registrar;
	struct place_watch *places;	       // [core][job]
	struct session_watch *session_watches; // [core][session]
	struct flight *flights; // [cores_count + 1], the last is control's; NULL: no recorder
	struct gp_rcu_grace grace;
	struct engine_gate gate;
	struct engine_beat beat;
	void *mem;				  // everything above
	uint16_t job_idx[GP_ENGINE_JOBS_MAX + 1]; // id -> index, NONE_U16
};

static inline bool engine_is_standby(const struct gp_engine *e)
{
	return atomic_load_explicit(&e->standby, memory_order_relaxed);
}

static inline uint32_t engine_epoch(const struct gp_engine *e)
{
	return atomic_load_explicit(&e->epoch, memory_order_relaxed);
}

static inline uint32_t session_idx(uint32_t id)
{
	return id & 0xffff;
}

static inline bool job_trains(const struct gp_job *j)
{
	return j->cfg->kind == GP_KIND_TRAIN;
}

static inline uint32_t job_owner(const struct gp_job *j, uint32_t block)
{
	return gp_fastdiv_rem(j->by_cores, block);
}

static inline uint32_t job_local(const struct gp_job *j, uint32_t block)
{
	return gp_fastdiv_quot(j->by_cores, block);
}

// The job's core that sends COMMIT and decides, as WELCOME says.
static inline uint32_t job_home(const struct gp_engine *e, uint32_t job_id)
{
	return (job_id - 1) % e->cfg.cores_count;
}

#endif
