// SPDX-License-Identifier: BSD-3-Clause
//
// gradctl why: who is missing, where, since when, answered from what the cores have published. Each
// finding is a sentence for a person and an object for a program.
#include "gradplaned.h"

#include <gp_watch.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define STILL_NS   UINT64_C(100000000) // without progress for less than this the job runs
#define RANKS_SAID 16		       // of more it says how many
#define TEXT_SIZE  1024

struct query {
	const struct node *n;
	uint64_t now;
	uint32_t job;
	const char *tensor; // NULL, and the next two -1: all
	int64_t block;
	int64_t rank;
	struct gp_job_view v;
	json_t *lines;
	json_t *places;
	json_t *workers;
};

struct text {
	char s[TEXT_SIZE];
	size_t len;
};

static void say(struct text *t, const char *fmt, ...) GP_PRINTF(2, 3);

static void say(struct text *t, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	int n = vsnprintf(t->s + t->len, TEXT_SIZE - t->len, fmt, args);
	va_end(args);
	t->len = GP_MIN(t->len + (size_t)GP_MAX(n, 0), TEXT_SIZE - (size_t)1);
}

static void say_time(struct text *t, uint64_t ns)
{
	if (ns < 1000000)
		say(t, "%.0f us", (double)ns / 1e3);
	else if (ns < 1000000000)
		say(t, "%.0f ms", (double)ns / 1e6);
	else
		say(t, "%.1f s", (double)ns / 1e9);
}

static uint64_t age(const struct query *q, uint64_t at)
{
	return q->now > at ? q->now - at : 0;
}

static void line_end(struct query *q, const struct text *t)
{
	json_array_append_new(q->lines, json_string(t->s));
}

// "rank 3" or "ranks 2, 5"
static void say_ranks(struct text *t, const struct gp_ranks *ranks)
{
	uint32_t count = gp_ranks_count(ranks), said = 0;
	say(t, count == 1 ? "rank" : "ranks");
	gp_ranks_foreach(r, ranks)
	{
		if (said == RANKS_SAID)
			break;
		say(t, "%s%u", said++ > 0 ? ", " : " ", r);
	}
	if (count > said)
		say(t, " and %u more", count - said);
}

// ---- workers

static json_t *worker_json(const struct query *q, uint32_t rank)
{
	struct gp_rank_view rv;
	struct gp_worker_view w;
	char where[GP_ADDR_TEXT_SIZE];
	json_t *o = json_pack("{s:i}", "rank", (int)rank);
	if (!gp_engine_rank_view(q->n->engine, q->job, rank, &rv) || !rv.joined) {
		json_object_set_new(o, "state", json_string("absent"));
		return o;
	}
	gp_addr_format(&rv.addr, where);
	json_object_set_new(o, "state", json_string("joined"));
	json_object_set_new(o, "address", json_string(where));
	json_object_set_new(o, "last_seen_ms", json_real((double)age(q, rv.last_rx) / 1e6));
	if (!gp_engine_worker_view(q->n->engine, q->job, rank, &w))
		return o;
	json_object_set_new(o, "step", w.pushed ? json_integer(w.step) : json_null());
	json_object_set_new(o, "rtt_us", w.rtt_us ? json_integer(w.rtt_us) : json_null());
	json_object_set_new(o, "datagrams", json_integer((json_int_t)w.datagrams));
	json_object_set_new(o, "retransmits", json_integer((json_int_t)w.repeats));
	json_object_set_new(o, "busy", json_integer((json_int_t)w.busy));
	json_object_set_new(o, "refused", json_integer((json_int_t)w.refused));
	if (w.parked)
		json_object_set_new(o, "read",
			json_pack("{s:I,s:f}", "step", (json_int_t)w.reads, "parked_ms",
				(double)age(q, w.parked_since) / 1e6));
	return o;
}

static void worker_say(struct query *q, uint32_t rank)
{
	struct gp_rank_view rv;
	struct gp_worker_view w;
	char where[GP_ADDR_TEXT_SIZE];
	struct text t = {0};
	json_array_append_new(q->workers, worker_json(q, rank));
	if (!gp_engine_rank_view(q->n->engine, q->job, rank, &rv) || !rv.joined) {
		say(&t, "  rank %u has not joined, or has left", rank);
		line_end(q, &t);
		return;
	}
	gp_addr_format(&rv.addr, where);
	say(&t, "  rank %u (%s): last datagram ", rank, where);
	say_time(&t, age(q, rv.last_rx));
	say(&t, " ago");
	if (gp_engine_worker_view(q->n->engine, q->job, rank, &w)) {
		if (w.rtt_us > 0) {
			say(&t, ", rtt ");
			say_time(&t, w.rtt_us * UINT64_C(1000));
		}
		if (w.pushed)
			say(&t, ", newest contribution of step %u", w.step);
		say(&t, ", %lu retransmits, %lu too early, %lu refused", w.repeats, w.busy,
			w.refused);
	}
	line_end(q, &t);
}

static void workers_say(struct query *q, const struct gp_ranks *ranks)
{
	uint32_t said = 0;
	gp_ranks_foreach(r, ranks)
	{
		if (said++ == RANKS_SAID)
			return;
		worker_say(q, r);
	}
}

// ---- before the job runs

static void joined_find(const struct query *q, struct gp_ranks *absent, struct gp_ranks *silent)
{
	struct gp_rank_view rv;
	*absent = *silent = (struct gp_ranks){0};
	for (uint32_t r = 0; gp_engine_rank_view(q->n->engine, q->job, r, &rv); r++) {
		if (!rv.joined)
			gp_ranks_add(absent, r);
		else if (rv.registered == 0)
			gp_ranks_add(silent, r);
	}
}

static void waiting_say(struct query *q)
{
	struct gp_ranks absent, silent;
	struct text t = {0};
	joined_find(q, &absent, &silent);
	say(&t, "job %s waits for workers: ", q->v.name);
	if (gp_ranks_count(&absent) > 0) {
		say_ranks(&t, &absent);
		say(&t, " %s not joined", gp_ranks_count(&absent) == 1 ? "has" : "have");
	} else if (gp_ranks_count(&silent) > 0) {
		say_ranks(&t, &silent);
		say(&t, " %s not registered all tensors",
			gp_ranks_count(&silent) == 1 ? "has" : "have");
	} else {
		say(&t, "all have joined, the view is not decided yet");
	}
	if (q->v.ready)
		say(&t, "; it goes on with %u of %u", q->n->cfg.jobs[q->job].workers_min,
			q->v.workers);
	line_end(q, &t);
	workers_say(q, &silent);
}

// ---- places

static bool tensor_of_block(const struct query *q, uint32_t block, struct gp_tensor_view *tv)
{
	for (uint32_t i = 0; gp_engine_tensor_view(q->n->engine, q->job, i, tv); i++)
		if (block - tv->first_block < tv->blocks_count)
			return true;
	return false;
}

static void place_add(struct query *q, uint32_t core, const struct gp_place_view *p,
	const struct gp_ranks *missing)
{
	struct gp_tensor_view tv;
	json_t *ranks = json_array();
	gp_ranks_foreach(r, missing) json_array_append_new(ranks, json_integer(r));
	json_t *o = json_pack("{s:i,s:I,s:I,s:f,s:o,s:i,s:i,s:i}", "core", (int)core, "step",
		(json_int_t)p->step, "block", (json_int_t)p->block, "since_ms",
		(double)age(q, p->since) / 1e6, "missing", ranks, "blocks_open", (int)p->slots_open,
		"blocks_deferred", (int)p->deferred, "pulls_held", (int)p->pulls_held);
	if (tensor_of_block(q, p->block, &tv)) {
		json_object_set_new(o, "tensor", json_string(tv.name));
		json_object_set_new(o, "tensor_block", json_integer(p->block - tv.first_block));
	}
	json_array_append_new(q->places, o);
}

static void place_say(struct query *q, uint32_t core, const struct gp_place_view *p,
	const struct gp_ranks *missing)
{
	struct gp_tensor_view tv;
	struct text t = {0};
	bool begun = gp_ranks_count(&p->here) > 0;
	say(&t, "  core %u: block %u", core, p->block);
	if (tensor_of_block(q, p->block, &tv))
		say(&t, " (tensor %s, block %u of it)", tv.name, p->block - tv.first_block);
	say(&t, begun ? " of step %u incomplete since " : " of step %u not begun since ", p->step);
	say_time(&t, age(q, p->since));
	if (gp_ranks_count(missing) > 0) {
		say(&t, ", without ");
		say_ranks(&t, missing);
	}
	say(&t, "; %u blocks in flight", p->slots_open);
	if (p->deferred > 0)
		say(&t, ", %u complete and waiting for memory or home", p->deferred);
	if (p->pulls_held > 0)
		say(&t, ", %u pulls held", p->pulls_held);
	line_end(q, &t);
}

static bool asked_for(const struct query *q, uint32_t block)
{
	struct gp_tensor_view tv;
	if (q->tensor)
		return tensor_of_block(q, block, &tv) && strcmp(tv.name, q->tensor) == 0 &&
		       (q->block < 0 || q->block == block - tv.first_block);
	return q->block < 0 || q->block == block;
}

struct waits {
	uint32_t step; // the lowest
	bool any;
	uint64_t since; // of the place that has waited longest there
	struct gp_ranks missing;
};

static struct gp_ranks missing_of(const struct gp_place_view *p)
{
	struct gp_ranks m = p->members;
	for (uint32_t i = 0; i < GP_RANKS_MAX / 64; i++)
		m.w[i] &= ~p->here.w[i];
	return m;
}

// The lowest step that a core waits at, and who is missing there at any core.
static struct waits waits_find(const struct query *q)
{
	struct waits w = {0};
	struct gp_place_view p;
	for (uint32_t k = 0; k < q->n->cfg.cores.count; k++) {
		if (!gp_engine_place_view(q->n->engine, q->job, k, &p) || !p.blocks || p.async)
			continue;
		if (!w.any || gp_before(p.step, w.step))
			w = (struct waits){.step = p.step, .any = true, .since = p.since};
		if (p.step != w.step)
			continue;
		w.since = GP_MIN(w.since, p.since);
		const struct gp_ranks m = missing_of(&p);
		for (uint32_t i = 0; i < GP_RANKS_MAX / 64; i++)
			w.missing.w[i] |= m.w[i];
	}
	return w;
}

static void places_say(struct query *q, bool all)
{
	struct gp_place_view p;
	for (uint32_t k = 0; k < q->n->cfg.cores.count; k++) {
		if (!gp_engine_place_view(q->n->engine, q->job, k, &p) || !p.blocks || p.async)
			continue;
		const struct gp_ranks m = missing_of(&p);
		if (!asked_for(q, p.block) && !all)
			continue;
		place_add(q, k, &p, &m);
		place_say(q, k, &p, &m);
	}
}

// One block: before, at or behind the place that its core waits at.
static void block_say(struct query *q)
{
	struct gp_tensor_view tv;
	struct gp_place_view p;
	struct text t = {0};
	uint32_t first = 0, last = q->v.blocks_count - 1;
	for (uint32_t i = 0; q->tensor && gp_engine_tensor_view(q->n->engine, q->job, i, &tv); i++)
		if (strcmp(tv.name, q->tensor) == 0) {
			first = tv.first_block;
			last = first + tv.blocks_count - 1;
		}
	if (q->block >= 0)
		first = last = first + (uint32_t)q->block;
	for (uint32_t k = 0; k < q->n->cfg.cores.count; k++) {
		if (!gp_engine_place_view(q->n->engine, q->job, k, &p) || !p.blocks || p.async)
			continue;
		if ((first == last && first % q->n->cfg.cores.count != k) || asked_for(q, p.block))
			continue;
		t.len = 0;
		if (p.block > last)
			say(&t, "  core %u: complete for step %u; it is at block %u", k, p.step,
				p.block);
		else
			say(&t, "  core %u: not its turn yet; it is at block %u of step %u", k,
				p.block, p.step);
		line_end(q, &t);
	}
}

// replica.lag_max: nobody may contribute to a step that is so far beyond what the replica holds.
static bool lags(const struct query *q, uint32_t step)
{
	return q->v.lag_max > 0 && gp_before(q->v.backed + q->v.lag_max, step);
}

// replica.mode sync: what is decided is not out before the replica holds it. False: it is.
static bool release_say(struct query *q)
{
	struct text t = {0};
	const char *what;
	uint64_t since;
	if (!pair_waits(q->n, &what, &since) || age(q, since) < STILL_NS)
		return false;
	say(&t, "job %s: what is decided waits for %s since ", q->v.name, what);
	say_time(&t, age(q, since));
	line_end(q, &t);
	return true;
}

static void running_say(struct query *q)
{
	struct waits w = waits_find(q);
	struct text t = {0};
	uint64_t waited = age(q, w.since);
	uint32_t missing = gp_ranks_count(&w.missing);
	if (release_say(q))
		return;
	if (waited < STILL_NS || !w.any) {
		say(&t, "job %s is running: step %u, its lowest block moved ", q->v.name, w.step);
		say_time(&t, waited);
		say(&t, " ago");
	} else if (lags(q, w.step)) {
		say(&t,
			"job %s waits at step %u for the replica, which holds step %u "
			"(replica.lag_max %u), since ",
			q->v.name, w.step, q->v.backed, q->v.lag_max);
		say_time(&t, waited);
	} else if (missing == 0) {
		say(&t, "job %s waits at step %u, complete, for memory or its home, since ",
			q->v.name, w.step);
		say_time(&t, waited);
	} else {
		say(&t, "job %s waits at step %u for ", q->v.name, w.step);
		say_ranks(&t, &w.missing);
		say(&t, missing == q->v.members ? " (nobody has sent it) since " : " since ");
		say_time(&t, waited);
	}
	line_end(q, &t);
	bool narrow = q->tensor || q->block >= 0;
	if (narrow)
		block_say(q);
	bool nobodys = lags(q, w.step); // fault among the workers
	if (narrow || (waited >= STILL_NS && !nobodys))
		places_say(q, !narrow);
	if (waited >= STILL_NS && !nobodys && q->rank < 0)
		workers_say(q, &w.missing);
}

// Workers whose read waits until the others have come far enough.
static void parked_say(struct query *q)
{
	struct gp_worker_view w;
	uint32_t said = 0;
	for (uint32_t r = 0; r < q->v.workers && said < RANKS_SAID; r++) {
		struct text t = {0};
		if (!gp_engine_worker_view(q->n->engine, q->job, r, &w) || !w.parked)
			continue;
		said++;
		say(&t, "  rank %u waits to begin step %u since ", r, w.reads);
		say_time(&t, age(q, w.parked_since));
		if (q->v.joined < q->n->cfg.jobs[q->job].workers_min)
			say(&t, ": there are too few workers");
		else if (q->v.bound != GP_WIRE_BOUND_NONE)
			say(&t, ": until all have done step %u (bound %u), the slowest has done %u",
				w.reads - q->v.bound - 1, q->v.bound, q->v.clock_min);
		line_end(q, &t);
	}
}

// Nobody waits for a block; who reads may wait for the slowest rank.
static void async_say(struct query *q)
{
	struct text t = {0};
	struct gp_worker_view w;
	struct gp_ranks slowest = {0};
	bool any = false;
	uint32_t step = 0;
	if (release_say(q)) {
		parked_say(q);
		return;
	}
	for (uint32_t r = 0; r < q->v.workers; r++) {
		if (!gp_engine_worker_view(q->n->engine, q->job, r, &w) || !w.pushed)
			continue;
		if (!any || gp_before(w.step, step))
			slowest = (struct gp_ranks){0};
		if (!any || !gp_before(step, w.step)) {
			gp_ranks_add(&slowest, r);
			step = w.step;
		}
		any = true;
	}
	say(&t, "job %s is running asynchronously: steps %u..%u done, generation %u", q->v.name,
		q->v.clock_min, q->v.clock_max, q->v.generation);
	if (any) {
		say(&t, "; slowest at step %u: ", step);
		say_ranks(&t, &slowest);
	}
	line_end(q, &t);
	parked_say(q);
	if (q->rank < 0)
		workers_say(q, &slowest);
}

static void absent_say(struct query *q)
{
	struct gp_ranks absent, silent;
	struct text t = {0};
	joined_find(q, &absent, &silent);
	if (gp_ranks_count(&absent) == 0)
		return;
	say(&t, "  without ");
	say_ranks(&t, &absent);
	say(&t, ", not joined: the others go on");
	line_end(q, &t);
}

static void lacks_say(struct query *q)
{
	struct text t = {0};
	if (!pair_lacks(q->n, q->job))
		return;
	say(&t, "  not all of it is on the replica yet: should this node be lost now, bring it "
		"back");
	line_end(q, &t);
}

static json_t *job_why(struct query *q)
{
	struct gp_place_view p = {0};
	q->lines = json_array();
	q->places = json_array();
	q->workers = json_array();
	gp_engine_job_view(q->n->engine, q->job, &q->v);
	bool there = gp_engine_place_view(q->n->engine, q->job, 0, &p);
	struct text t = {0};
	if (q->v.state == GP_STATE_STANDBY) {
		say(&t, "job %s is served by a standby: ", q->v.name);
		if (q->v.generation == UINT32_MAX)
			say(&t, "no generation yet");
		else
			say(&t, "generation %u, readers only", q->v.generation);
		line_end(q, &t);
	} else if (!there || q->v.state == GP_STATE_WAITING) {
		waiting_say(q);
	} else {
		p.async ? async_say(q) : running_say(q);
		absent_say(q);
	}
	lacks_say(q);
	if (q->rank >= 0)
		worker_say(q, (uint32_t)q->rank);
	return json_pack("{s:s,s:s,s:i,s:i,s:o,s:o,s:o}", "job", q->v.name, "state",
		job_state_name(&q->v), "workers", (int)q->v.workers, "joined", (int)q->v.joined,
		"text", q->lines, "places", q->places, "ranks", q->workers);
}

// ---- what was asked

static int bad(struct gp_ctl_error *err, const char *code, const char *fmt, const char *what)
{
	char text[GP_CTL_TEXT_SIZE];
	snprintf(text, sizeof(text), fmt, what);
	gp_ctl_error_set(err, code, "%s", text);
	return -ENOENT;
}

static bool job_is_asked(const struct node *n, const char *job, uint32_t i)
{
	return !job || strcmp(job, n->cfg.jobs[i].name) == 0;
}

static int query_check(struct query *q, struct gp_ctl_error *err)
{
	struct gp_tensor_view tv;
	const char *job = q->n->cfg.jobs[q->job].name;
	gp_engine_job_view(q->n->engine, q->job, &q->v);
	if (q->rank >= (int64_t)q->v.workers)
		return bad(err, "not_found", "job %s has no such rank", job);
	if (!q->v.ready)
		return 0;
	uint32_t blocks = q->v.blocks_count;
	bool found = !q->tensor;
	for (uint32_t t = 0; !found && gp_engine_tensor_view(q->n->engine, q->job, t, &tv); t++)
		if (strcmp(tv.name, q->tensor) == 0) {
			found = true;
			blocks = tv.blocks_count;
		}
	if (!found)
		return bad(err, "not_found", "no tensor %s in the job", q->tensor);
	if (q->block >= (int64_t)blocks)
		return bad(err, "not_found",
			q->tensor ? "tensor %s has no such block" : "job %s has no such block",
			q->tensor ? q->tensor : job);
	return 0;
}

static int64_t number_of(const json_t *args, const char *key)
{
	const json_t *v = json_object_get(args, key);
	return json_is_integer(v) && json_integer_value(v) >= 0 ? json_integer_value(v) : -1;
}

int ctl_why(
	struct gp_ctl_request *req, const json_t *args, json_t **result, struct gp_ctl_error *err)
{
	struct query q = {.n = gp_ctl_request_arg(req),
		.now = clock_now(),
		.tensor = json_string_value(json_object_get(args, "tensor")),
		.block = number_of(args, "block"),
		.rank = number_of(args, "rank")};
	const char *job = json_string_value(json_object_get(args, "job"));
	bool narrow = q.tensor || q.block >= 0 || q.rank >= 0, any = false;
	if (narrow && !job && q.n->cfg.jobs_count > 1)
		return bad(err, "bad_request", "%s", "of which job? --job NAME");
	json_t *jobs = json_array();
	for (uint32_t i = 0; i < q.n->cfg.jobs_count; i++) {
		if (!job_is_asked(q.n, job, i))
			continue;
		any = true;
		q.job = i;
		int rc = narrow ? query_check(&q, err) : 0;
		if (rc != 0) {
			json_decref(jobs);
			return rc;
		}
		json_array_append_new(jobs, job_why(&q));
	}
	if (!any) {
		json_decref(jobs);
		return bad(err, "not_found", "no job %s", job);
	}
	*result = json_pack("{s:o}", "jobs", jobs);
	return 0;
}
