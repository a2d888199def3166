// SPDX-License-Identifier: BSD-3-Clause
//
// The control side. Everything here is the control thread's.
#ifndef REGISTRAR_PRIV_H
#define REGISTRAR_PRIV_H

#include "engine_priv.h"
#include "names.h"

#define READER_TIMEOUT_NS UINT64_C(30000000000)
#define READERS_MAX	  16 // of a job
#define SCAN_CONTROL_NS	  UINT64_C(50000000)

// A worker of a job, or nobody.
struct reg_rank {
	uint32_t session; // id, 0 = none
	uint64_t incarnation;
	uint32_t registered; // tensors of it that agreed
	uint32_t total;	     // tensors it said it has
	uint64_t *seen;	     // bitmap over its own indices: which have arrived
	uint64_t *brought;   // bitmap over reg_job.tensors: which it has named
	uint32_t *tensor_of; // its index -> index in reg_job.tensors
	bool member;	     // home has been told
};

struct reg_job {
	const struct gp_job_config *cfg;
	struct gp_job *job;	// NULL until the layout is made
	struct reg_rank *ranks; // [workers], then READERS_MAX readers
	uint32_t joined;
	uint32_t readers_count;
	uint32_t payload_max; // smallest of the members
	uint32_t definer;     // rank whose list is the job's, or GP_RANKS_MAX
	uint32_t
		fits_elems; // the definer's list fits memory_max in blocks of so many; 0: not known
	uint32_t tensors_count;
	struct job_tensor *tensors; // [tensors_max], in the definer's order until the layout sorts
	struct names by_name;	    // of tensors
	struct names restored;	    // of the generation that the job starts from
	uint32_t *sorted;	    // definer's index -> job-wide number
	void *mem[2];		    // table memory; a standby builds the next beside the present
	uint64_t mem_used;
	uint32_t mem_next;
	bool swap_open;		// standby: cores may not have taken up the present one yet
	uint64_t retired_stamp; // standby: when mem[mem_next] may be used again
	const struct gp_restore *restore;
	struct gp_restore restore_copy;
	struct gp_history history;
	bool cut_end_due; // the cores have not been told yet
	bool stop_due;
};

struct reg_session {
	struct gp_session s;
	bool used;
	bool goes_on;	     // it has what its former life was about to contribute
	uint32_t slot;	     // in reg_job.ranks
	uint64_t free_stamp; // RCU: the slot may be used again
	uint64_t opened_at;
};

struct gp_registrar {
	struct gp_engine *engine;
	uint64_t now;
	uint64_t scan_next;
	uint16_t generation;
	uint32_t serial; // of the newest session
	bool stopping;
	struct reg_job *jobs;	      // [jobs_count]
	struct reg_session *sessions; // [sessions_max]
	struct gp_ring **to_core;     // [cores]
	struct gp_ring **from_core;   // [cores]
	struct gp_registrar_events events;
};

// registrar.c
struct reg_job *reg_job_by_id(struct gp_registrar *r, uint16_t id);
bool reg_tell(struct gp_registrar *r, uint32_t core, const struct cmd *cmd);
void reg_tell_all(struct gp_registrar *r, const struct cmd *cmd);
void reg_refuse(struct gp_registrar *r, uint32_t core, struct gp_frame *f,
	const struct gp_header *about, struct gp_refuse *refuse);
void reg_reply(struct gp_registrar *r, uint32_t core, struct gp_frame *f);
void reg_done_with(struct gp_registrar *r, uint32_t core, struct gp_frame *f);
void refuse_text(struct gp_refuse *r, const char *fmt, ...) GP_PRINTF(2, 3);
struct gp_session *reg_session_open(struct gp_registrar *r, const struct gp_join *join,
	struct reg_job *rj, const struct gp_addr *from);
void reg_session_close(struct gp_registrar *r, struct reg_session *rs, const char *why);
uint64_t reg_session_last_rx(const struct gp_registrar *r, uint32_t idx);
// Nobody holds the rank, or it has registered nothing yet.
void reg_rank_reset(const struct reg_job *rj, struct reg_rank *rank);
void reg_rank_forget(const struct reg_job *rj, struct reg_rank *rank);

// history.c
void reg_history_begin(const struct gp_engine *e, struct reg_job *rj);
void reg_history_restore(
	const struct gp_engine *e, struct reg_job *rj, const struct gp_restore *restore);

// registrar_join.c
void reg_join(struct gp_registrar *r, uint32_t core, struct gp_frame *f);

// registrar_work.c
void reg_register(struct gp_registrar *r, uint32_t core, const struct cmd *cmd);

// registrar_layout.c
// Makes the layout when all workers have registered; then tells home of members. Called after every
// change; cheap when there is nothing to do.
void reg_layout_try(struct gp_registrar *r, struct reg_job *rj);
void reg_members_tell(struct gp_registrar *r, struct reg_job *rj);
// The job as `x` has it. A leader: before it has a layout.
int reg_restore_publish(struct gp_registrar *r, struct reg_job *rj, const struct gp_restore *x);
// The tensors of `x`, by name, in rj->restored.
void reg_restored_index(struct reg_job *rj, const struct gp_restore *x);
const char *reg_restored_name(const void *restore, uint32_t i);
uint32_t reg_tensor_find(const struct reg_job *rj, const char *name);
void reg_tensor_add(struct reg_job *rj, uint32_t t);
// Finds each of the job's tensors in `x`. False: one is missing or has another shape.
bool reg_restored_match(const struct reg_job *rj, struct gp_job *j, const struct gp_restore *x);
uint32_t reg_block_elems(uint32_t payload_max);
// Of the members that have joined.
uint32_t reg_smallest_payload(const struct gp_registrar *r, const struct reg_job *rj);
// Bytes of memory_max that the tensors registered so far need.
size_t reg_memory_needed(const struct gp_registrar *r, const struct reg_job *rj);

#endif
