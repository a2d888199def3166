// SPDX-License-Identifier: BSD-3-Clause
//
// Answers: headers with acknowledgements and the decision number on every datagram to a worker,
// results that carry their payload by reference.
#include "engine_priv.h"

#define COMMITS_BURST 64 // datagrams

// Cores apply decisions of an asynchronous job that wait at the gate.
static inline uint32_t decision_out(const struct gp_core *c, const struct job_core *jc)
{
	if (!jc->async || !jc->job->cfg->replicated)
		return jc->decision;
	const struct job_status *st = &c->engine->status[jc->job->idx];
	uint32_t out = atomic_load_explicit(&st->decision, memory_order_relaxed);
	return gp_before(out, jc->decision) ? out : jc->decision;
}

static inline void header_fill(
	struct gp_core *c, struct core_session *cs, const struct job_core *jc, struct gp_header *h)
{
	h->version = GP_WIRE_VERSION;
	h->session = cs->id;
	h->epoch = engine_epoch(c->engine);
	h->packet = ++cs->tx_packet;
	h->job = cs->job;
	h->rank = cs->rank;
	h->credit = cs->credit;
	if (jc) {
		h->decision = decision_out(c, jc);
		if (h->view == 0)
			h->view = jc->view;
	} else if (cs->job != 0) { // before the layout: what a restored job begins with, not 0
		const struct job_status *st = &c->engine->status[c->engine->job_idx[cs->job]];
		h->decision = atomic_load_explicit(&st->decision, memory_order_relaxed);
	}
}

static inline void ack_put(
	struct gp_core *c, struct core_session *cs, uint8_t *data, uint32_t sections)
{
	const struct gp_ack ack = {
		.largest = cs->largest,
		.bits = cs->bits,
		.delay_us = (uint32_t)GP_MIN((c->now - cs->largest_time) / 1000, UINT32_MAX),
		.flags = cs->largest_ok,
	};
	gp_wire_put_ack(data, sections, &ack);
	cs->ack_pending = 0;
}

static inline struct gp_frame *frame_alloc(struct gp_core *c)
{
	struct gp_frame *f = c->xport->ops->alloc(c->xport);
	if (!f)
		gp_counter_add(&c->stats.tx_no_frame, 1);
	return f;
}

bool answer_begin(struct gp_core *c, struct core_session *cs, const struct job_core *jc,
	struct gp_header *h, struct answer *a)
{
	struct gp_frame *f = frame_alloc(c);
	if (!f)
		return false;
	header_fill(c, cs, jc, h);
	uint32_t at = gp_wire_begin(f->data, f->room, h);
	if (h->flags & GP_WIRE_F_ACK)
		ack_put(c, cs, f->data, h->sections);
	a->frame = f;
	a->body = f->data + at;
	a->room = GP_MIN(f->room, cs->limit) - at;
	return true;
}

void answer_send(struct gp_core *c, struct core_session *cs, struct answer *a, uint32_t body_len)
{
	GP_ASSERT(body_len <= a->room);
	a->frame->len = (uint32_t)(a->body - a->frame->data) + body_len;
	a->frame->peer = cs->addr;
	gp_counter_add(&c->stats.tx_datagrams, 1);
	c->xport->ops->send(c->xport, a->frame);
}

uint32_t answer_limit(const struct core_session *cs)
{
	return cs->limit;
}

uint32_t answer_lower(const struct core_session *cs)
{
	return cs->lower;
}

// ---- results in f32

// What the answers to all who get it have in common.
struct dense {
	struct gp_version *v;
	uint32_t len;
	uint32_t flags;
	bool copied;
	struct gp_wire_like like;
};

static void dense_init(struct dense *d, const struct gp_core *c, const struct result *r)
{
	const struct gp_section s = {
		.block = job_block(r->jc->job, c, r->local),
		.len = (uint16_t)(r->v->elems * sizeof(float)),
		.run = 1,
		.codec = GP_CODEC_F32,
		.weight = r->v->weight,
	};
	const struct gp_header h = {
		.version = GP_WIRE_VERSION,
		.type = GP_WIRE_RESULT,
		.job = r->jc->job->cfg->id,
		.epoch = engine_epoch(c->engine),
		.view = r->v->view != 0 ? r->v->view : r->jc->view,
		.step = r->step,
		.decision = decision_out(c, r->jc),
	};
	d->v = r->v;
	d->len = s.len;
	d->flags = r->tentative ? GP_WIRE_F_TENTATIVE : 0;
	// The next generation but one takes this memory whole, and a driver may refer to what it
	// has sent until it sends more.
	d->copied = engine_is_standby(c->engine);
	gp_wire_like_init(&d->like, &h, &s);
}

// 1: sent. The caller counts datagrams.
static __attribute__((noinline)) uint32_t dense_send(
	struct gp_core *c, const struct dense *d, struct core_session *cs)
{
	uint32_t flags = d->flags, fixed = (uint32_t)sizeof(d->like) + d->len;
	if (cs->ack_pending > 0 && fixed + GP_WIRE_ACK_SIZE <= cs->limit) {
		flags |= GP_WIRE_F_ACK;
		fixed += GP_WIRE_ACK_SIZE;
	}
	if (fixed > cs->limit) // a reader whose path is too small; it was told at join
		return 0;
	struct gp_frame *f = frame_alloc(c);
	if (!f)
		return 0;
	const struct gp_header h = {
		.flags = (uint8_t)flags,
		.pad = gp_wire_pad(cs->lower, flags, 1, cs->limit - fixed),
		.rank = cs->rank,
		.session = cs->id,
		.packet = ++cs->tx_packet,
		.credit = cs->credit,
	};
	f->len = gp_wire_begin_like(f->data, f->room, &d->like, &h);
	if (flags & GP_WIRE_F_ACK)
		ack_put(c, cs, f->data, 1);
	if (d->copied) {
		memcpy(f->data + f->len, gp_version_values(d->v), d->len);
		f->len += d->len;
	} else {
		f->tail = (const uint8_t *)gp_version_values(d->v);
		f->tail_len = d->len;
		f->tail_hold = &d->v->hold;
		d->v->hold.count++;
	}
	f->peer = cs->addr;
	c->xport->ops->send(c->xport, f);
	return 1;
}

void send_dense(struct gp_core *c, const struct result *r)
{
	struct dense d;
	dense_init(&d, c, r);
	gp_counter_add(&c->stats.tx_datagrams, dense_send(c, &d, r->cs));
}

void send_result(struct gp_core *c, const struct result *r)
{
	if (!pack_result(c, r))
		send_dense(c, r);
}

void send_slot(
	struct gp_core *c, struct job_core *jc, const struct slot *slot, struct gp_version *v)
{
	const struct part *parts = slot->parts;
	struct result result = {.jc = jc,
		.v = v,
		.local = slot->local,
		.step = v->step,
		.tentative = true,
		.pushed = true};
	struct dense d;
	dense_init(&d, c, &result);
	uint32_t sent = 0;
	gp_ranks_foreach(r, &slot->ranks)
	{
		struct core_session *cs = &c->sessions[session_idx(parts[r].session)];
		// The rank may have left since, and its place may be another's by now.
		if (!parts[r].want || cs->id != parts[r].session || !cs->bound)
			continue;
		result.cs = cs;
		if (cs->wants >> GP_JOIN_RESULTS_SHIFT == 0 && !v->sparse)
			sent += dense_send(c, &d, cs);
		else
			send_result(c, &result);
	}
	gp_counter_add(&c->stats.tx_datagrams, sent);
}

void send_refuse(struct gp_core *c, const struct gp_addr *to, const struct gp_header *about,
	const struct gp_refuse *r, uint32_t size_max)
{
	if (GP_WIRE_HEADER_SIZE + 60u + r->text_len > size_max)
		return;
	struct gp_frame *f = frame_alloc(c);
	if (!f)
		return;
	const struct gp_header h = {
		.version = GP_WIRE_VERSION,
		.type = GP_WIRE_REFUSE,
		.job = about->job,
		.rank = about->rank,
		.session = about->session,
		.epoch = engine_epoch(c->engine),
		.step = r->step,
	};
	uint32_t at = gp_wire_begin(f->data, f->room, &h);
	f->len = at + gp_wire_put_refuse(f->data + at, r);
	f->peer = *to;
	gp_counter_add(&c->stats.tx_datagrams, 1);
	c->xport->ops->send(c->xport, f);
}

void send_busy(struct gp_core *c, struct core_session *cs, const struct job_core *jc,
	const struct gp_msg *m, uint64_t sections)
{
	// What a small path has no room for, the worker finds out by its timer.
	uint32_t fit = (cs->limit - GP_WIRE_HEADER_SIZE - 8) / GP_WIRE_SECTION_SIZE;
	struct gp_header h = {
		.type = GP_WIRE_BUSY,
		.step = m->h.step,
		.sections = (uint8_t)GP_MIN((uint32_t)__builtin_popcountll(sections), fit),
	};
	struct answer a;
	if (!answer_begin(c, cs, jc, &h, &a))
		return;
	uint32_t n = 0;
	for (uint32_t i = 0; i < m->h.sections && n < h.sections; i++) {
		if (!(sections >> i & 1))
			continue;
		struct gp_section s;
		gp_wire_get_section(m, i, &s);
		const struct gp_section b = {.block = s.block, .run = s.run};
		gp_wire_put_section(a.frame->data, n++, &b);
	}
	answer_send(c, cs, &a, gp_wire_put_u64(a.body, m->h.packet));
}

// A view that waited at the release gate may name the rank's life before: then this one is not in
// it.
static uint32_t commit_flags(const struct gp_decision *d, const struct gp_session *s)
{
	bool in = gp_ranks_has(&d->members, s->rank);
	if (d->kind == GP_DECIDED_VIEW)
		return in && !gp_before(d->admitted, s->serial) ? GP_COMMIT_MEMBER : 0;
	uint32_t flags = in ? GP_COMMIT_YOURS : 0;
	if (d->kind == GP_DECIDED_COMMIT && gp_ranks_has(&d->others, s->rank))
		flags |= GP_COMMIT_LATE;
	return flags;
}

#define COMMIT_HEAD  8u
#define COMMIT_ENTRY 24u

// Decisions as a COMMIT has them, encoded once for all who get them.
struct commits {
	uint32_t first, n;
	uint32_t flagged; // bit i: the flags of entry i are the addressee's own
	uint8_t entries[GP_WIRE_COMMITS_MAX * COMMIT_ENTRY];
};
_Static_assert(GP_WIRE_COMMITS_MAX <= 32, "a bit each");

static void commits_encode(const struct job_core *jc, uint32_t first, struct commits *x)
{
	const struct gp_consist *consist = &jc->job->home->consist;
	uint32_t last = jc->job->home->announced; // what waits at the gate is nothing yet
	bool async = cfg_is_async(jc->job->cfg);
	x->first = first;
	x->flagged = 0;
	for (x->n = 0; x->n < GP_WIRE_COMMITS_MAX && !gp_before(last, first + x->n); x->n++) {
		const struct gp_decision *d = gp_consist_log(consist, first + x->n);
		if (!d)
			return;
		bool commit = d->kind == GP_DECIDED_COMMIT;
		const struct gp_commit_entry e = {
			.kind = d->kind,
			.ranks = d->ranks,
			.unit = commit ? d->unit : 0,
			.step = d->step,
			.view = d->view,
			.lowest = d->lowest,
		};
		(void)gp_wire_put_commit_entry(x->entries + x->n * COMMIT_ENTRY, &e);
		x->flagged |= (uint32_t)(!commit || async) << x->n;
	}
}

// Returns how many of them have gone, in one datagram.
static uint32_t commits_put(
	struct gp_core *c, struct core_session *cs, struct job_core *jc, const struct commits *x)
{
	const struct gp_session *s = gp_rcu_dereference(&c->engine->sessions[session_idx(cs->id)]);
	struct gp_header h = {.type = GP_WIRE_COMMIT, .flags = GP_WIRE_F_ACK};
	struct answer a;
	if (!s || x->n == 0 || !answer_begin(c, cs, jc, &h, &a))
		return 0;
	uint32_t n = GP_MIN(x->n, (a.room - COMMIT_HEAD) / COMMIT_ENTRY);
	const struct gp_commit commit = {.first = x->first, .n = (uint16_t)n};
	(void)gp_wire_put_commit(a.body, &commit);
	uint8_t *entries = a.body + COMMIT_HEAD;
	memcpy(entries, x->entries, n * COMMIT_ENTRY);
	for (uint32_t i = 0; i < n && x->flagged >> i; i++)
		if (x->flagged >> i & 1)
			entries[i * COMMIT_ENTRY + 1] = (uint8_t)commit_flags(
				gp_consist_log(&jc->job->home->consist, x->first + i), s);
	answer_send(c, cs, &a, COMMIT_HEAD + n * COMMIT_ENTRY);
	return n;
}

void send_commits(struct gp_core *c, struct core_session *cs, struct job_core *jc, uint32_t first)
{
	const struct gp_consist *consist = &jc->job->home->consist;
	uint32_t last = jc->job->home->announced, n = 1;
	// What the log no longer has is passed over: it lets the worker catch up.
	uint32_t oldest = consist->decision - consist->log_mask;
	uint32_t next =
		gp_before(first, oldest) && gp_consist_log(consist, oldest) ? oldest : first;
	for (uint32_t k = 0; k < COMMITS_BURST && n > 0 && !gp_before(last, next); k++) {
		struct commits x; // empty: older than the log, a worker that was silent for long
		commits_encode(jc, next, &x);
		n = commits_put(c, cs, jc, &x);
		next += n;
	}
}

void send_commits_all(struct gp_core *c, struct job_core *jc, uint32_t first)
{
	const struct home *h = jc->job->home;
	struct commits x;
	commits_encode(jc, first, &x);
	gp_ranks_foreach(r, &h->consist.live)
	{
		struct core_session *cs = home_session(c, h, r);
		uint32_t n = cs ? commits_put(c, cs, jc, &x) : 0;
		if (n > 0 && first + n != h->announced + 1)
			send_commits(c, cs, jc, first + n);
	}
}
