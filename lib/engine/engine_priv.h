// SPDX-License-Identifier: BSD-3-Clause
//
// The functions that the files of the engine share. Each belongs to the core it is given.
#ifndef ENGINE_PRIV_H
#define ENGINE_PRIV_H

#include "engine_async.h"
#include "session.h"

static inline uint32_t job_block(const struct gp_job *j, const struct gp_core *c, uint32_t local)
{
	return local * j->engine->cfg.cores_count + c->idx;
}

// job.c
size_t job_size(const struct gp_engine *e, const struct gp_job_config *cfg, uint32_t block_elems,
	const struct job_tensor *tensors, uint32_t count);
struct gp_job *job_create(struct gp_engine *e, const struct gp_job_config *cfg,
	struct gp_arena *arena, uint32_t block_elems, const struct job_tensor *tensors,
	uint32_t count);
// Each tensor knows its place in `r` (job_tensor.restored).
int job_load(struct gp_job *j, const struct gp_restore *r);
// Where a job begins. `clock`: steps that each rank of an asynchronous job has contributed, NULL:
// `step` of each; which is the highest closed of a quorum.
struct job_begin {
	uint32_t generation, decision, step;
	const uint32_t *clock;
};
void job_start(struct gp_job *j, const struct job_begin *at);

// core_session.c
struct core_session *session_lookup(struct gp_core *c, const struct gp_frame *f,
	const struct gp_header *h, const struct gp_session **s);
uint32_t session_flush_acks(struct gp_core *c);
void session_bind(struct gp_core *c, uint32_t id, uint32_t payload_max, const struct gp_addr *addr);
void session_drop(struct core_session *cs);
// Whether control still knows the session that `cs` is about.
bool session_lives(const struct gp_core *c, const struct core_session *cs);

// core_result.c: answers. Each takes a frame from the transport; none left: counted, not sent.
struct answer {
	struct gp_frame *frame;
	uint8_t *body;
	uint32_t room; // bytes usable at body
};
bool answer_begin(struct gp_core *c, struct core_session *cs, const struct job_core *jc,
	struct gp_header *h, struct answer *a);
void answer_send(struct gp_core *c, struct core_session *cs, struct answer *a, uint32_t body_len);
// One block's result for one worker.
struct result {
	struct core_session *cs;
	struct job_core *jc;
	struct gp_version *v;
	uint32_t local;
	uint32_t step; // v's own, or the cut that it is read of
	bool tentative;
	bool pushed; // drawn by a contribution, not by PULL
};
// In the form that the worker and the result call for; by the end of the burst.
void send_result(struct gp_core *c, const struct result *r);
// In f32 and at once.
void send_dense(struct gp_core *c, const struct result *r);
// To all who contributed to the slot and want it: its sum.
void send_slot(
	struct gp_core *c, struct job_core *jc, const struct slot *slot, struct gp_version *v);
// UDP payload that the session's path carries, and what lies below it.
uint32_t answer_limit(const struct core_session *cs) GP_MUST_CHECK;
uint32_t answer_lower(const struct core_session *cs) GP_MUST_CHECK;
void send_refuse(struct gp_core *c, const struct gp_addr *to, const struct gp_header *about,
	const struct gp_refuse *r, uint32_t size_max);
void send_busy(struct gp_core *c, struct core_session *cs, const struct job_core *jc,
	const struct gp_msg *m, uint64_t sections);
// Decisions announced, from `first` on: to one worker, in at most so many datagrams that it asks
// again where it lacks more; or to all that home has in mind.
void send_commits(struct gp_core *c, struct core_session *cs, struct job_core *jc, uint32_t first);
void send_commits_all(struct gp_core *c, struct job_core *jc, uint32_t first);

// core_pack.c: results that are encoded, several of them in a datagram
size_t pack_size(void) GP_MUST_CHECK;
// Takes the result over, to be sent by pack_flush; false: it is to be sent in f32.
bool pack_result(struct gp_core *c, const struct result *r);
void pack_flush(struct gp_core *c);

// beat.c
enum gp_verdict handle_beat(struct gp_core *c, const struct gp_msg *m) GP_MUST_CHECK;
void beat_tick(struct gp_core *c);

// core_hello.c
enum gp_verdict handle_hello(struct gp_core *c, struct gp_frame *f, const struct gp_msg *m);
enum gp_verdict handle_join(struct gp_core *c, struct gp_frame *f, const struct gp_msg *m);
void welcome_fill(const struct gp_engine *e, const struct gp_session *s, uint64_t nonce,
	struct gp_welcome *w, struct gp_header *h);

// How far a contribution's step may be ahead of what this core knows to be committed: workers learn
// of a commit from home, perhaps before this core does.
#define STEPS_AHEAD_MAX 2

// core.c: everything a datagram may be; the frame stays the caller's.
enum gp_verdict handle_frame(struct gp_core *c, struct gp_frame *f);

// core_push.c
enum gp_verdict handle_push(struct gp_core *c, struct core_session *cs, const struct gp_session *s,
	struct job_core *jc, struct gp_frame *f, const struct gp_msg *m);
void slot_retry_deferred(struct gp_core *c, struct job_core *jc);
void slot_clear_all(struct gp_core *c, struct job_core *jc);
// The slot of a place, if it is admitted.
static inline struct slot *slot_of(const struct job_core *jc, uint32_t local, uint32_t step)
{
	uint64_t place = (uint64_t)step * jc->table.blocks_count + local;
	return &jc->slots[(uint32_t)place & jc->slot_mask];
}
// Places from the lowest incomplete one; the caller knows that (step, local) is not done.
static inline uint64_t place_distance(const struct job_core *jc, uint32_t local, uint32_t step)
{
	int64_t steps = (int32_t)(step - jc->low_step);
	int64_t d = steps * jc->table.blocks_count + (int64_t)local - jc->low_local;
	GP_ASSERT(d >= 0);
	return (uint64_t)d;
}
// The last contribution is there, `last`, f32 that nobody has looked through for NaN and infinity:
// where the sum is made at once it tells, else the payload is read. False: it holds some, and
// nothing has happened.
bool slot_filled_by(
	struct gp_core *c, struct job_core *jc, struct slot *slot, const struct part *last);
static inline void slot_begin(struct job_core *jc, struct slot *slot, uint32_t local, uint32_t step)
{
	slot->step = step;
	slot->local = local;
	slot->count = 0;
	slot->open = true;
	slot->deferred = false;
	slot->ranks = (struct gp_ranks){0};
	jc->slots_open++;
}
void low_advance(struct job_core *jc);
// One more block of the unit has its version of the step in hand.
void unit_block_done(struct job_core *jc, uint32_t unit);
// Contributions in c->contribs[0..n) whose norm over this block is above the job's limit count
// scaled down to it; `counted` in the statistics.
void contribs_clamp(
	struct gp_core *c, const struct job_core *jc, uint32_t n, uint32_t elems, bool counted);

// core_pull.c
enum gp_verdict handle_pull(
	struct gp_core *c, struct core_session *cs, struct job_core *jc, const struct gp_msg *m);
void pull_answer_held(struct gp_core *c, struct job_core *jc);
// Whether the pull's sections name blocks of this core that exist.
bool sections_legal(const struct gp_core *c, const struct gp_job *j, const struct gp_msg *m,
	enum gp_verdict *v);

// Whether the blocks that a section names exist and are this core's; the place of the first here.
static inline bool section_place(const struct gp_core *c, const struct gp_job *j,
	const struct gp_section *s, uint32_t *local, enum gp_verdict *v)
{
	uint64_t last = s->block + (uint64_t)(s->run - 1u) * j->by_cores.d;
	*local = job_local(j, s->block);
	if (last >= j->blocks_count) {
		*v = GP_VERDICT_UNKNOWN_BLOCK;
		return false;
	}
	if (s->block - *local * j->by_cores.d != c->idx) {
		*v = GP_VERDICT_WRONG_CORE;
		return false;
	}
	return true;
}

// core_decide.c
void apply_decision(struct gp_core *c, struct job_core *jc, const struct gp_decision *d);

// core_home.c
enum gp_verdict handle_heartbeat(struct gp_core *c, struct core_session *cs,
	const struct gp_session *s, struct job_core *jc, const struct gp_msg *m);
// Of the rank, if it is bound at home.
struct core_session *home_session(struct gp_core *c, const struct home *h, uint32_t rank);
// A new session of the rank: what it had come to it says again.
void home_barriers_forget(struct home *h, uint32_t rank);
enum gp_verdict handle_barrier(struct gp_core *c, struct core_session *cs,
	const struct gp_session *s, struct job_core *jc, const struct gp_msg *m);
enum gp_verdict handle_leave(struct gp_core *c, struct core_session *cs, const struct gp_session *s,
	struct job_core *jc, const struct gp_msg *m);
// Whether one more decision fits the log.
bool home_has_room(const struct gp_core *c, const struct home *h);
// The same for what lets out those that wait at the gate: only the cores have to keep up.
bool home_cores_have_room(const struct gp_core *c, const struct home *h);
uint32_t home_tick(struct gp_core *c, struct job_core *jc);
void home_command(struct gp_core *c, struct job_core *jc, const struct cmd *cmd);

// core_cmd.c
uint32_t core_commands(struct gp_core *c);
bool core_tell_control(struct gp_core *c, const struct cmd *cmd);

#endif
