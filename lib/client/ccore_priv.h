// SPDX-License-Identifier: BSD-3-Clause
//
// Inside the client's core: which file does what.
#ifndef CCORE_PRIV_H
#define CCORE_PRIV_H

#include "ccore_types.h"

#include <errno.h>

// ccore.c
void cc_fail(struct gp_ccore *c, int code, const char *fmt, ...) GP_PRINTF(3, 4);
int cc_refuse_call(struct gp_ccore *c, int code, const char *fmt, ...) GP_PRINTF(3, 4);
bool cc_retry_due(struct gp_ccore *c, struct cc_retry *r);
void cc_retry_start(struct cc_retry *r, uint64_t interval, uint64_t max);
static inline uint64_t cc_earlier(uint64_t a, uint64_t b)
{
	return GP_MIN(a, b);
}
static inline bool cc_is_reader(const struct gp_ccore *c)
{
	return (c->cfg.flags & GP_CLIENT_READER) != 0;
}
static inline bool cc_is_async(const struct gp_ccore *c)
{
	return c->w.consistency > GP_CONSIST_BSP;
}
// There is no result of the step in hand before its commit: what is accepted holds nothing back,
// and results are fetched when the commit is known.
static inline bool cc_results_later(const struct gp_ccore *c)
{
	return (c->w.flags & GP_WELCOME_WHOLE) && c->mode == CC_STEP && !c->collecting;
}
// Of commits of many ranks: asynchronous jobs have one unit.
static inline uint8_t cc_atomicity(const struct gp_ccore *c)
{
	return cc_is_async(c) ? GP_ATOM_STEP : c->w.atomicity;
}
// Steps after the initial parameters: contributions of one rank meet nobody else's.
static inline bool cc_is_apart(const struct gp_ccore *c)
{
	return cc_is_async(c) && c->mode != CC_INIT_ZERO;
}
static inline struct cc_lane *cc_home(struct gp_ccore *c)
{
	return &c->lanes[c->w.home];
}
static inline uint32_t cc_lower(const struct gp_ccore *c)
{
	return c->cfg.v4 ? LOWER_V4 : LOWER_V6;
}

// ccore_hello.c: HELLO and JOIN of one lane
uint64_t cc_handshake_tick(struct gp_ccore *c, struct cc_lane *l);
void cc_hello_reply(struct gp_ccore *c, struct cc_lane *l, const struct gp_msg *m, uint32_t len);
void cc_welcome(struct gp_ccore *c, struct cc_lane *l, const struct gp_msg *m);
void cc_lane_start(struct gp_ccore *c, struct cc_lane *l, struct gp_xport *x);

// ccore_again.c
// False: the session has ended, since the job is another one.
bool cc_again_welcome(struct gp_ccore *c, const struct gp_welcome *w);
bool cc_again_layout(struct gp_ccore *c, const struct gp_layout *l);
void cc_again_entry(struct gp_ccore *c, const struct cc_tensor *t, const struct gp_layout_entry *e);
// It is a member, in a view that may differ from the last one; a reader has the layout.
void cc_again_member(struct gp_ccore *c);
// What this rank knows from here on is of the line of commits that WELCOME has named.
void cc_history_take(struct gp_ccore *c);
void cc_again_reply(struct gp_ccore *c, const struct gp_heartbeat_reply *r);

// ccore_refuse.c
void cc_refuse(struct gp_ccore *c, struct cc_lane *l, const struct gp_msg *m);

// ccore_register.c
uint64_t cc_register_tick(struct gp_ccore *c);
void cc_register_again(struct gp_ccore *c);
void cc_layout(struct gp_ccore *c, const struct gp_msg *m);

// ccore_send.c: datagrams inside the session
struct cc_out {
	struct gp_frame *frame;
	uint8_t *body;
	uint32_t room;
};
bool cc_send_begin(struct gp_ccore *c, struct cc_lane *l, struct gp_header *h, struct cc_out *o);
void cc_send_end(struct gp_ccore *c, struct cc_lane *l, struct cc_out *o, uint32_t body_len);
// The packet begun last holds credit for these blocks.
struct cc_sent *cc_ring_open(struct cc_lane *l, uint32_t first, uint32_t count);
struct cc_sent *cc_ring_find(struct cc_lane *l, uint64_t pn);
void cc_sent_close(struct cc_lane *l, struct cc_sent *s);

// ccore_push.c
uint64_t cc_push_tick(struct gp_ccore *c, struct cc_lane *l);

// ccore_codec.c
#define CC_FAULT_SIZE 80
// Whether it is not one, and why.
bool cc_codec_fault(const struct gp_client_compress *x, char text[CC_FAULT_SIZE]) GP_MUST_CHECK;
// The codec of a tensor, `hint` being that of its entry in LAYOUT.
void cc_codec_choose(struct gp_ccore *c, struct cc_tensor *t, uint32_t hint);
void cc_codecs_step(struct gp_ccore *c); // a step begins
size_t cc_codec_block_size(const struct gp_ccore *c, const struct cc_tensor *t) GP_MUST_CHECK;
double cc_codec_ratio(const struct cc_tensor *t, uint32_t step) GP_MUST_CHECK;
// 0 or -ENOMEM, when all codecs are chosen.
int cc_codec_memory(struct gp_ccore *c) GP_MUST_CHECK;
// A contribution of this step begins: returns the values that its blocks are encoded from.
const float *cc_codec_begin(struct gp_ccore *c, struct cc_tensor *t, const float *grad);
void cc_codec_block(
	struct gp_ccore *c, struct cc_tensor *t, uint32_t i, uint8_t codec, const float *values);
// Nothing but a place in a run of sections.
void cc_codec_empty(struct cc_block *b);
void cc_residuals_clear(struct gp_ccore *c);
uint64_t cc_bandwidth(const struct gp_ccore *c); // bytes/s, 0: not measured

// ccore_borrow.c
// Whether the tensor's contribution stays where the caller has it.
bool cc_borrows(const struct gp_ccore *c, const struct cc_tensor *t);
// Whether there are contributions that do not.
bool cc_keeps(const struct gp_ccore *c);
// 0, or -EINVAL with a text: the result would go where the contribution is.
int cc_borrow_check(struct gp_ccore *c, const struct cc_tensor *t, const float *grad,
	const float *out) GP_MUST_CHECK;
void cc_borrow_begin(struct gp_ccore *c, struct cc_tensor *t, const float *grad);
// What the block contributes, wherever it is.
void cc_contribution_write(const struct gp_ccore *c, uint32_t block, uint8_t *to);

// ccore_encoded.c
// Blocks that the caller has yet to hand over.
uint32_t cc_blocks_coming(const struct gp_ccore *c);

// ccore_window.c
void cc_window_start(struct cc_window *w, uint32_t credit);
uint32_t cc_window_size(const struct cc_window *w) GP_MUST_CHECK;
// A datagram's round trip, without the time that the server kept its answer back.
void cc_window_sample(struct cc_window *w, uint64_t rtt, uint64_t now);

// ccore_ack.c
void cc_rtt_bound(struct cc_rtt *r, uint32_t min_us, uint32_t max_us); // 0: our own
void cc_rtt_sample(struct cc_rtt *r, uint64_t ns);
uint64_t cc_rtt_rto(const struct cc_rtt *r);
void cc_ack(struct gp_ccore *c, struct cc_lane *l, const struct gp_ack *a);
void cc_sent_lost(struct gp_ccore *c, struct cc_lane *l, struct cc_sent *s);
// Gives up what time shows to be lost, asks again after silence; returns when to come back.
uint64_t cc_ack_tick(struct gp_ccore *c, struct cc_lane *l);

// ccore_block.c: the states of blocks and what is counted of them
struct cc_lane *cc_block_lane(struct gp_ccore *c, uint32_t block);
// The lane's first place behind the tensor that has a block at `place`.
uint32_t cc_tensor_end(const struct gp_ccore *c, const struct cc_lane *l, uint32_t place);
uint32_t cc_block_unit(const struct gp_ccore *c, uint32_t block);
void cc_block_set(struct gp_ccore *c, uint32_t block, enum cc_block_state state);
// The contribution must go (again), as soon as it is here.
void cc_block_unsent(struct gp_ccore *c, uint32_t block);
// Whether its contribution of this step is still to be encoded.
bool cc_block_lacks(const struct gp_ccore *c, uint32_t block);
// The first block of those that were lacking is encoded.
void cc_block_here(struct gp_ccore *c, struct cc_tensor *t);
void cc_block_answered(struct gp_ccore *c, uint32_t block);
void cc_low_advance(struct gp_ccore *c, struct cc_lane *l);
// What it waits for begins at its first place again.
void cc_lane_rewind(struct gp_ccore *c, struct cc_lane *l);
void cc_blocks_reset(struct gp_ccore *c);

// ccore_result.c
void cc_result(struct gp_ccore *c, struct cc_lane *l, const struct gp_msg *m);
void cc_busy(struct gp_ccore *c, struct cc_lane *l, const struct gp_msg *m);
void cc_nack(struct gp_ccore *c, struct cc_lane *l, const struct gp_msg *m);

// ccore_pull.c
uint64_t cc_pull_tick(struct gp_ccore *c, struct cc_lane *l);
void cc_pull_progress(struct gp_ccore *c, struct cc_lane *l, uint32_t place);
void cc_pull_heard(struct cc_lane *l, uint64_t packet);
void cc_results_rewind(struct cc_lane *l);
// Places from that one on are awaited from now on.
void cc_holes_back(struct cc_lane *l, uint32_t place);
void cc_pull_gone(struct gp_ccore *c, const struct gp_refuse *r);

// ccore_read.c: steps and reads of asynchronous jobs
void cc_read_begin(struct gp_ccore *c, uint32_t clock, uint32_t flags);
void cc_read_again(struct gp_ccore *c);
uint64_t cc_read_tick(struct gp_ccore *c);
void cc_read_reply(struct gp_ccore *c, const struct gp_msg *m);
void cc_read_text(const struct gp_ccore *c, char *text, size_t size);
void cc_async_begin(struct gp_ccore *c); // a step
void cc_async_commit(struct gp_ccore *c, const struct gp_commit_entry *e);
void cc_async_next(struct gp_ccore *c, uint32_t next_step); // this rank's, as home says
// A session had again. `counted`: what was contributed is committed there.
void cc_async_again(struct gp_ccore *c, bool counted);

// ccore_decide.c
void cc_commit(struct gp_ccore *c, const struct gp_msg *m);
void cc_step_committed(struct gp_ccore *c, uint32_t generation);
void cc_decision_seen(struct gp_ccore *c, uint32_t decision);

// ccore_home.c
uint64_t cc_home_tick(struct gp_ccore *c);
void cc_heartbeat_reply(struct gp_ccore *c, const struct gp_msg *m);
void cc_barrier_reply(struct gp_ccore *c, const struct gp_msg *m);
void cc_leave_reply(struct gp_ccore *c, const struct gp_msg *m);

// ccore_round.c
// Whether a contribution (`gives`; else the rank passes) can be taken now: 0 or -errno with a text.
int cc_push_check(struct gp_ccore *c, uint32_t tensor, bool gives, float weight) GP_MUST_CHECK;
// The tensor is in the step; then, what its blocks contribute being known or lacking, they are.
void cc_push_begin(struct gp_ccore *c, struct cc_tensor *t, float weight, float *out);
void cc_push_go(struct gp_ccore *c, const struct cc_tensor *t);
void cc_round_view(struct gp_ccore *c, bool was_member);
void cc_round_pull(struct gp_ccore *c, uint32_t generation);
// Init by what an asynchronous job has: the first step will be `clock`.
void cc_round_read(struct gp_ccore *c, uint32_t clock, uint32_t flags);
void cc_init_begin(struct gp_ccore *c);
void cc_pull_newest(struct gp_ccore *c);
// What was pushed goes again; `committed`: only results are owed.
void cc_step_again(struct gp_ccore *c, bool committed);
// Nothing of the step in hand counts; `step` is next.
void cc_step_void(struct gp_ccore *c, uint32_t step);

#endif
