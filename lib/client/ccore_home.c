// SPDX-License-Identifier: BSD-3-Clause
//
// The talk with home: heartbeats (signs of life, missing decisions, the newest generation),
// barriers, leaving.
#include "ccore_priv.h"

#include <stdio.h>

#define ASK_NEXT_MIN (2 * MS)
#define TELL_RTT     (250 * MS)

static bool heartbeat_send(struct gp_ccore *c)
{
	struct gp_header h = {.type = GP_WIRE_HEARTBEAT, .pad = HEARTBEAT_PAD, .step = c->step};
	struct cc_out o;
	if (!cc_send_begin(c, cc_home(c), &h, &o))
		return false;
	c->home_time = GP_MAX(c->now, c->home_time + 1);
	const struct gp_heartbeat hb = {.known = c->known,
		.rtt_us = (uint32_t)GP_MIN(cc_home(c)->rtt.srtt / US, UINT32_MAX),
		.time = c->home_time};
	cc_send_end(c, cc_home(c), &o, gp_wire_put_heartbeat(o.body, &hb));
	return true;
}

// Waiting for something that only a HEARTBEAT_REPLY or a COMMIT brings.
static struct cc_retry *query(struct gp_ccore *c)
{
	if (c->generation_wanted)
		return &c->generation_retry;
	if (!cc_is_reader(c) && c->laid_out && !c->member)
		return &c->view_retry;
	if (c->fate == GP_CCORE_AGAIN && c->laid_out)
		return &c->again_retry;
	if (c->commit_late)
		return &c->commit_retry;
	return NULL;
}

// A sign of life may be lost: while home is silent they follow each other more closely.
static uint64_t heartbeat_interval(struct gp_ccore *c)
{
	uint64_t every = (uint64_t)c->w.heartbeat_us * US;
	if (c->now < c->home_heard + every)
		return every;
	return GP_MIN(every, GP_MAX(2 * cc_rtt_rto(&cc_home(c)->rtt), every / 8));
}

static uint64_t heartbeat_tick(struct gp_ccore *c)
{
	struct cc_retry *q = query(c);
	uint64_t every = heartbeat_interval(c);
	bool gap = c->ask_at != 0 && c->now >= c->ask_at;
	if (gap)
		c->ask_at = c->now + GP_MAX(cc_home(c)->rtt.srtt, ASK_NEXT_MIN);
	bool due = q && cc_retry_due(c, q);
	// Beside its traffic too, seldom: it tells home the round trip, for who asks why a job
	// waits.
	uint64_t at = GP_MIN(c->home_sent + every, c->home_time + GP_MAX(every, TELL_RTT));
	if (gap || due || c->now >= at) {
		if (!heartbeat_send(c))
			return c->now + MS;
		at = c->now + every;
	}
	if (c->ask_at != 0)
		at = cc_earlier(at, c->ask_at);
	return q ? cc_earlier(at, q->at) : at;
}

// The view that admitted this rank may be among the decisions that are lost for good: then it is
// asked until home has it as a member. It has pushed nothing since: its next step is the view's.
static void async_reply(struct gp_ccore *c, const struct gp_heartbeat_reply *r)
{
	bool was_member = c->member;
	if (was_member)
		cc_async_next(c, r->next_step);
	if (!c->view_skipped || !gp_before(c->view, r->view))
		return;
	if (!was_member && !(r->flags & GP_HEARTBEAT_MEMBER))
		return;
	c->view_skipped = false;
	c->view = r->view;
	c->lowest = r->lowest;
	c->member = true;
	if (was_member)
		return;
	c->view_step = r->next_step;
	if (c->laid_out)
		cc_round_view(c, false);
}

void cc_heartbeat_reply(struct gp_ccore *c, const struct gp_msg *m)
{
	struct gp_heartbeat_reply r;
	gp_wire_get_heartbeat_reply(m, &r);
	if (c->laid_out) { // before, LAYOUT tells who has not registered
		c->missing_rank = r.missing_rank;
		c->missing_count = r.missing;
	}
	c->gap_replies += gp_before(c->known, c->seen);
	if (c->fate == GP_CCORE_AGAIN) {
		cc_again_reply(c, &r);
		return;
	}
	if (!cc_is_reader(c) && cc_is_apart(c))
		async_reply(c, &r);
	if (r.generation != UINT32_MAX && !cc_is_reader(c))
		cc_step_committed(c, r.generation);
	// An old copy may tell of an older generation than an earlier pull has brought.
	bool fresh = r.time >= c->generation_since;
	if (c->generation_wanted && fresh && r.generation != UINT32_MAX)
		cc_round_pull(c, r.generation);
}

// ---- barrier and leave

static uint64_t barrier_send(
	struct gp_ccore *c, uint32_t name, uint32_t call, struct cc_retry *retry)
{
	if (!cc_retry_due(c, retry))
		return retry->at;
	struct gp_header h = {.type = GP_WIRE_BARRIER, .pad = SHORT_PAD, .step = c->step};
	struct cc_out o;
	if (cc_send_begin(c, cc_home(c), &h, &o))
		cc_send_end(c, cc_home(c), &o, gp_wire_put_barrier(o.body, name, call));
	return retry->at;
}

static uint64_t barrier_tick(struct gp_ccore *c)
{
	if (c->fate == GP_CCORE_AGAIN) // a barrier is one of members
		return GP_CCORE_NEVER;
	if (c->barrier_tell) // first: the next may have the same name
		return barrier_send(c, c->barrier_passed, c->barrier_passed_call | GP_BARRIER_DONE,
			&c->barrier_tell_retry);
	if (c->barrier_open)
		return barrier_send(c, c->barrier_name, c->barrier_call, &c->barrier_retry);
	return GP_CCORE_NEVER;
}

int gp_ccore_barrier(struct gp_ccore *c, uint32_t name)
{
	if (cc_is_reader(c))
		return cc_refuse_call(c, -EINVAL, "a reader takes no part in barriers");
	c->barrier_open = true;
	c->barrier_done = false;
	c->barrier_name = name;
	c->barrier_call += 2;
	cc_retry_start(&c->barrier_retry, 5 * MS, 50 * MS);
	return 0;
}

void cc_barrier_reply(struct gp_ccore *c, const struct gp_msg *m)
{
	uint32_t name, call;
	gp_wire_get_barrier(m, &name, &call);
	bool done = call & GP_BARRIER_DONE;
	call &= ~GP_BARRIER_DONE;
	if (name == c->barrier_passed && call == c->barrier_passed_call)
		c->barrier_tell = false;
	if (!c->barrier_open || name != c->barrier_name || call != c->barrier_call || !done)
		return;
	c->barrier_open = false;
	c->barrier_done = true;
	c->barrier_any = true;
	c->barrier_passed = name;
	c->barrier_passed_call = call;
}

bool gp_ccore_barrier_done(const struct gp_ccore *c)
{
	return c->barrier_done;
}

static uint64_t leave_tick(struct gp_ccore *c)
{
	if (!c->leaving)
		return GP_CCORE_NEVER;
	if (!cc_retry_due(c, &c->leave_retry))
		return c->leave_retry.at;
	struct gp_header h = {.type = GP_WIRE_LEAVE, .pad = SHORT_PAD, .step = c->step};
	struct cc_out o;
	if (cc_send_begin(c, cc_home(c), &h, &o))
		cc_send_end(c, cc_home(c), &o, gp_wire_put_u64(o.body, c->cfg.incarnation));
	return c->leave_retry.at;
}

void gp_ccore_leave(struct gp_ccore *c)
{
	if (gp_ccore_phase(c) != GP_CCORE_JOINED || c->leaving)
		return;
	c->leaving = true;
	cc_retry_start(&c->leave_retry, 20 * MS, 50 * MS);
}

void cc_leave_reply(struct gp_ccore *c, const struct gp_msg *m)
{
	if (c->leaving && gp_wire_get_u64(m) == c->cfg.incarnation)
		c->left = true;
}

uint64_t cc_home_tick(struct gp_ccore *c)
{
	return cc_earlier(heartbeat_tick(c), cc_earlier(barrier_tick(c), leave_tick(c)));
}

// ---- what is being waited for

static void missing_text(const struct gp_ccore *c, const char *what, char *text, size_t size)
{
	if (c->missing_rank == GP_WIRE_RANK_NONE)
		(void)snprintf(text, size, "%s", what);
	else if (c->missing_count > 1)
		(void)snprintf(text, size, "%s (missing: rank %u and %u more)", what,
			c->missing_rank, c->missing_count - 1);
	else
		(void)snprintf(text, size, "%s (missing: rank %u)", what, c->missing_rank);
}

static bool pulls_cut(const struct gp_ccore *c)
{
	return cc_is_async(c) && c->mode == CC_PULL;
}

void gp_ccore_waiting(const struct gp_ccore *c, char *text, size_t size)
{
	char what[96];
	if (c->lanes[0].phase == CC_LANE_HELLO)
		(void)snprintf(what, sizeof(what), "an answer to HELLO");
	else if (!c->joined)
		(void)snprintf(what, sizeof(what), "an answer to JOIN");
	else if (gp_ccore_phase(c) != GP_CCORE_JOINED && !c->error.code)
		(void)snprintf(what, sizeof(what), "the server's other cores");
	else if (c->tensors_count > 0 && !c->laid_out)
		(void)snprintf(what, sizeof(what), "the other ranks to register");
	else if (c->laid_out && !c->member && !cc_is_reader(c))
		(void)snprintf(what, sizeof(what), "this rank to become a member");
	else if (c->fate == GP_CCORE_AGAIN)
		(void)snprintf(what, sizeof(what), "word where the job stands");
	else if (c->generation_wanted)
		(void)snprintf(what, sizeof(what), "a first generation");
	else if (c->read.open) {
		cc_read_text(c, text, size);
		return;
	} else if (c->barrier_open)
		(void)snprintf(what, sizeof(what), "barrier %u", c->barrier_name);
	else if (cc_blocks_coming(c) > 0)
		(void)snprintf(what, sizeof(what),
			"%u blocks of step %u, which the caller has not handed over",
			cc_blocks_coming(c), c->round_step);
	else if (c->todo > 0)
		(void)snprintf(what, sizeof(what), "%u of %u blocks of %s %u", c->todo,
			c->layout.blocks_count, pulls_cut(c) ? "generation" : "step",
			c->round_step);
	else if (c->phase == CC_COMMITTING)
		(void)snprintf(what, sizeof(what), "the commit of step %u", c->step);
	else
		(void)snprintf(what, sizeof(what), "nothing");
	missing_text(c, what, text, size);
}
