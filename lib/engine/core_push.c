// SPDX-License-Identifier: BSD-3-Clause
//
// Contributions. They wait in their slot inside the frames they came in; when every member's is
// there the block is summed once, in rank order, and the optimizer runs into a shadow version.
#include "embed.h"
#include "engine_priv.h"
#include "whole.h"

#include <stdio.h>

#include <float.h>

// Units are done in about their order: what is kept of one is fetched so many before its turn.
#define UNITS_AHEAD 64

// The datagram in hand.
struct push {
	const struct gp_header *h;
	struct gp_frame *frame;
	uint32_t session; // id
	uint32_t rank, step;
	bool want;
};

// A section of it, read once; run of blocks from `local` on, its place at this core.
struct push_section {
	const uint8_t *payload;
	uint32_t block;
	uint32_t local;
	uint32_t len;
	float weight;
	uint16_t run;
	uint8_t codec;
	bool zeroed; // counts as zeros for what it holds
};

static inline struct part part_of(const struct push *p, const struct push_section *s)
{
	return (struct part){.frame = s->len > 0 ? p->frame : NULL,
		.payload = s->payload,
		.len = s->len,
		.weight = s->weight,
		.session = p->session,
		.codec = s->codec,
		.want = p->want};
}

// ---- the sequence of places (step, block) at this core

static bool place_done(const struct job_core *jc, uint32_t local, uint32_t step)
{
	return !gp_before(jc->table.blocks[local].done_step, step);
}

void low_advance(struct job_core *jc)
{
	uint32_t blocks = jc->table.blocks_count;
	if (blocks == 0)
		return;
	while (place_done(jc, jc->low_local, jc->low_step)) {
		if (++jc->low_local == blocks) {
			jc->low_local = 0;
			jc->low_step++;
		}
	}
}

// ---- completion

static void slot_close(struct gp_core *c, struct job_core *jc, struct slot *slot)
{
	struct part *parts = slot->parts;
	gp_ranks_foreach(r, &slot->ranks)
	{
		if (parts[r].frame)
			c->xport->ops->release(c->xport, parts[r].frame);
		parts[r].frame = NULL;
	}
	slot->open = false;
	slot->deferred = false;
	jc->slots_open--;
}

static bool slot_is_initial(const struct job_core *jc, const struct slot *slot)
{
	return slot->step == 0 && job_trains(jc->job);
}

static bool slot_is_full(const struct job_core *jc, const struct slot *slot)
{
	return slot->count == (slot_is_initial(jc, slot) ? 1 : jc->members_count);
}

static uint32_t slot_gather(struct gp_core *c, const struct job_core *jc, const struct slot *slot)
{
	const struct part *parts = slot->parts;
	uint32_t n = 0;
	// Each member's contribution once, and nobody else's.
	GP_ASSERT(slot_is_initial(jc, slot) || gp_ranks_equal(&slot->ranks, &jc->members));
	gp_ranks_foreach(r, &slot->ranks)
	{
		if (parts[r].weight == 0) // it passes
			continue;
		c->contribs[n++] = (struct gp_contrib){.payload = parts[r].payload,
			.len = parts[r].len,
			.weight = parts[r].weight,
			.scale = 1.0f,
			.rank = (uint16_t)r,
			.codec = parts[r].codec};
	}
	GP_ASSERT(n <= slot->count);
	return n;
}

// Contributions whose norm over this block is above the job's limit count scaled down to it.
void contribs_clamp(
	struct gp_core *c, const struct job_core *jc, uint32_t n, uint32_t elems, bool counted)
{
	float norm_max = jc->job->cfg->norm_max;
	if (norm_max == 0)
		return;
	for (uint32_t i = 0; i < n; i++) {
		double norm = gp_aggr_norm(&c->contribs[i], elems, c->scaled);
		float clamp = gp_aggr_clamp(norm, norm_max);
		if (clamp == 1.0f)
			continue;
		// Never 0: one that was late and is huge as well still counts.
		c->contribs[i].scale = GP_MAX(c->contribs[i].scale * clamp, 0x1p-149f);
		gp_counter_add(&c->stats.blocks_clamped, counted);
	}
}

// Whether they left elements out, so that the sum may have zeros.
static bool contribs_are_sparse(const struct gp_core *c, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (c->contribs[i].codec != GP_CODEC_NONE &&
			!gp_codec_is_topk(c->contribs[i].codec))
			return false;
	return true;
}

// The block's new version from the contributions gathered in c->contribs. Whether it proved that
// they are finite, as gp_aggr_sum says.
static bool version_compute(struct gp_core *c, struct job_core *jc, const struct slot *slot,
	struct gp_version *v, uint32_t n)
{
	const struct gp_job *j = jc->job;
	const struct gp_block *b = &jc->table.blocks[slot->local];
	bool initial = slot_is_initial(jc, slot), updates = job_trains(j) && !initial && !jc->whole;
	float *sum = updates ? c->scratch : gp_version_values(v);

	if (!initial)
		contribs_clamp(c, jc, n, b->elems, true);
	// The header before the values: the answer reads it, and must not wait until all of those
	// have found their way into the cache.
	float weight = n > 0 ? gp_aggr_weights(c->contribs, n) : 0;
	v->weight = GP_MIN(weight, FLT_MAX); // finite
	v->step = slot->step;
	v->view = jc->view;
	v->elems = b->elems;
	v->sparse = !initial && contribs_are_sparse(c, n);
	v->updates = 0;
	bool finite = false;
	if (n > 0)
		finite = gp_aggr_sum(sum, c->contribs, n, b->elems, c->scaled);
	else
		memset(sum, 0, sizeof(float) * b->elems);
	if (j->cfg->mean && !initial && n > 0)
		gp_aggr_scale(sum, b->elems, v->weight);
	if (initial)
		gp_optim_state_init(&j->cfg->optim, gp_version_state(&jc->table, v, 0),
			jc->table.elems_max, jc->table.elems_max);
	if (!updates)
		return finite;
	struct gp_version *old =
		gp_block_visible(&jc->table.blocks[slot->local], jc->committed[b->unit]);
	GP_ASSERT(old && old->step + 1 == slot->step);
	if (n == 0) { // all pass: nothing changes
		memcpy(gp_version_values(v), gp_version_values(old),
			sizeof(float) * jc->table.elems_max * (1 + jc->table.states_count));
		return finite;
	}
	if (!jc->plan.kernel || jc->plan.step != slot->step)
		gp_optim_plan_init(&jc->plan, &j->cfg->optim, slot->step);
	bool state = jc->table.states_count > 0;
	const struct gp_optim_block ob = {
		.grad = sum,
		.w = gp_version_values(old),
		.state = state ? gp_version_state(&jc->table, old, 0) : NULL,
		.w_out = gp_version_values(v),
		.state_out = state ? gp_version_state(&jc->table, v, 0) : NULL,
		.elems = b->elems,
		.stride = jc->table.elems_max,
		.step = slot->step,
		.lr_scale = 1.0f,
	};
	gp_optim_run(&jc->plan, &ob);
	return finite;
}

// What the completion of a unit further on in the schedule, and its commit, will need.
static inline __attribute__((always_inline)) void unit_prefetch(
	const struct job_core *jc, uint32_t unit)
{
	__builtin_prefetch(&jc->unit_done[unit], 1);
	__builtin_prefetch(&jc->unit_blocks[unit]);
	__builtin_prefetch(&jc->committed[unit], 1);
}

void unit_block_done(struct job_core *jc, uint32_t unit)
{
	if (++jc->unit_done[unit] < jc->unit_blocks[unit])
		return;
	unit_prefetch(jc, unit + UNITS_AHEAD);
	uint32_t at = jc->done_first + jc->done_count++;
	uint32_t size = jc->job->units_count;
	GP_ASSERT(jc->done_count <= size);
	jc->done_queue[at < size ? at : at - size] = unit;
}

static void slot_publish(
	struct gp_core *c, struct job_core *jc, struct slot *slot, struct gp_version *v)
{
	struct gp_block *b = &jc->table.blocks[slot->local];
	gp_table_publish(&jc->table, b, v);
	send_slot(c, jc, slot, v);
	slot_close(c, jc, slot);
	unit_block_done(jc, b->unit);
}

static void block_completed(struct gp_core *c, struct job_core *jc)
{
	low_advance(jc);
	gp_counter_add(&c->stats.blocks_completed, 1);
}

// False when it has to wait: for home's decision on the whole step before (no unit may pass the
// others by more than the step in hand, whatever workers send), or for a free version.
static bool slot_complete(struct gp_core *c, struct job_core *jc, struct slot *slot)
{
	if (slot->step != jc->generation + 1)
		return false;
	bool waits = jc->whole && !slot_is_initial(jc, slot);
	if (waits) // so that it needs no third version beside the one that comes
		gp_table_settle(&jc->table, &jc->table.blocks[slot->local]);
	struct gp_version *v = gp_table_take(&jc->table);
	if (!v)
		return false;
	(void)version_compute(c, jc, slot, v, slot_gather(c, jc, slot)); // each is proved
	if (waits) {
		whole_hold(c, jc, slot->local, v);
		slot_close(c, jc, slot);
	} else {
		slot_publish(c, jc, slot, v);
	}
	block_completed(c, jc);
	return true;
}

void slot_retry_deferred(struct gp_core *c, struct job_core *jc)
{
	uint32_t kept = 0;
	for (uint32_t i = 0; i < jc->deferred_count; i++) {
		uint32_t idx = jc->deferred[i];
		GP_ASSERT(jc->slots[idx].open && jc->slots[idx].deferred);
		if (!slot_complete(c, jc, &jc->slots[idx]))
			jc->deferred[kept++] = idx;
	}
	jc->deferred_count = kept;
}

// A new view: everything in the slots is void.
void slot_clear_all(struct gp_core *c, struct job_core *jc)
{
	for (uint32_t i = 0; i <= jc->slot_mask && jc->slots_open > 0; i++)
		if (jc->slots[i].open)
			slot_close(c, jc, &jc->slots[i]);
	GP_ASSERT(jc->slots_open == 0);
	jc->deferred_count = 0;
}

static void slot_defer(struct gp_core *c, struct job_core *jc, struct slot *slot)
{
	slot->deferred = true;
	jc->deferred[jc->deferred_count++] = (uint32_t)(slot - jc->slots);
	gp_counter_add(&c->stats.completions_deferred, 1);
}

// The last contribution is there: its sum is made now, or when a version and a decision are there.
static void slot_filled(struct gp_core *c, struct job_core *jc, struct slot *slot)
{
	if (!slot_complete(c, jc, slot))
		slot_defer(c, jc, slot);
}

bool slot_filled_by(
	struct gp_core *c, struct job_core *jc, struct slot *slot, const struct part *last)
{
	bool at_once = slot->step == jc->generation + 1 && !jc->whole &&
		       jc->job->cfg->norm_max == 0; // that counts what it clamps
	struct gp_version *v = at_once ? gp_table_take(&jc->table) : NULL;
	bool proved = v && version_compute(c, jc, slot, v, slot_gather(c, jc, slot));
	if (!proved && !gp_codec_f32_finite(last->payload, last->len / sizeof(float))) {
		if (v)
			gp_table_untake(&jc->table, v);
		return false;
	}
	if (v) {
		slot_publish(c, jc, slot, v);
		block_completed(c, jc);
	} else if (at_once) { // none is free
		slot_defer(c, jc, slot);
	} else {
		slot_filled(c, jc, slot);
	}
	return true;
}

static void slot_add(struct gp_core *c, struct job_core *jc, struct slot *slot,
	const struct push *p, const struct push_section *s)
{
	slot->parts[p->rank] = part_of(p, s);
	if (s->len > 0)
		c->xport->ops->hold(c->xport, p->frame);
	gp_ranks_add(&slot->ranks, p->rank);
	slot->count++;
	if (slot_is_full(jc, slot))
		slot_filled(c, jc, slot);
}

// ---- one block of a contribution

static enum gp_verdict push_old(
	struct gp_core *c, struct job_core *jc, uint32_t local, const struct push *p)
{
	struct gp_block *b = &jc->table.blocks[local];
	uint32_t step = p->step;
	bool committed = !gp_before(jc->committed[b->unit], step);
	struct gp_version *v =
		gp_block_visible(b, committed ? jc->committed[b->unit] : b->done_step);
	if (p->want && v && v->step == step && c->results_left > 0) {
		c->results_left--;
		const struct result result = {.cs = &c->sessions[session_idx(p->session)],
			.jc = jc,
			.v = v,
			.local = local,
			.step = step,
			.tentative = !committed,
			.pushed = true};
		send_result(c, &result);
	}
	return GP_VERDICT_PUSH_DUPLICATE;
}

// Whether the backup is further behind the step than the job allows.
static bool lags_too_far(const struct job_core *jc, uint32_t step)
{
	const struct gp_job_config *cfg = jc->job->cfg;
	if (cfg->lag_max == 0)
		return false;
	const struct job_status *st = &jc->job->engine->status[jc->job->idx];
	uint32_t backed = atomic_load_explicit(&st->backed, memory_order_relaxed);
	return gp_before(backed + cfg->lag_max, step);
}

// Inline where most datagrams pass: the section and its part of the slot stay in registers.
static inline __attribute__((always_inline)) enum gp_verdict push_block(struct gp_core *c,
	struct job_core *jc, uint32_t local, const struct push *p, const struct push_section *s)
{
	uint32_t step = p->step;
	if (place_done(jc, local, step))
		return push_old(c, jc, local, p);
	// An asynchronous job has only its initial parameters in slots.
	if (step - jc->generation > (jc->async ? 1 : STEPS_AHEAD_MAX))
		return GP_VERDICT_TOO_EARLY;
	if (lags_too_far(jc, step))
		return GP_VERDICT_PUSH_BUSY;
	if (place_distance(jc, local, step) > jc->slot_mask)
		return GP_VERDICT_PUSH_BUSY;

	struct slot *slot = slot_of(jc, local, step);
	if (!slot->open)
		slot_begin(jc, slot, local, step);
	GP_ASSERT(slot->step == step && slot->local == local);
	if (gp_ranks_has(&slot->ranks, p->rank)) {
		slot->parts[p->rank].want |= p->want;
		return GP_VERDICT_PUSH_DUPLICATE;
	}
	slot_add(c, jc, slot, p, s);
	return GP_VERDICT_PUSH;
}

// A step that no member of this life of the job ever had to contribute.
static bool step_is_stale(const struct job_core *jc, uint32_t step)
{
	uint32_t history = jc->generation - jc->job->first_generation;
	return !gp_before(jc->generation, step) && jc->generation - step >= history;
}

// ---- a datagram: everything in it is checked before any of it is applied

static enum gp_verdict push_refuse(struct gp_core *c, struct core_session *cs,
	const struct gp_header *h, uint16_t reason, enum gp_verdict v)
{
	const struct gp_refuse r = {.reason = reason, .about = h->type, .step = h->step};
	send_refuse(c, &cs->addr, h, &r, cs->payload_max);
	return v;
}

// A contribution with NaN or infinity: names who sent it and where it belongs.
static enum gp_verdict push_nonfinite(struct gp_core *c, struct core_session *cs,
	struct job_core *jc, const struct gp_header *h, uint32_t block)
{
	const struct gp_block *b = &jc->table.blocks[job_local(jc->job, block)];
	struct gp_refuse r = {
		.reason = GP_REFUSAL_NONFINITE, .about = h->type, .step = h->step, .what = block};
	int n = snprintf(r.text, sizeof(r.text),
		"rank %u, tensor %s, block %u of it, step %u: the contribution holds NaN or "
		"infinity",
		h->rank, jc->job->tensors[b->tensor].name, b->idx, h->step);
	r.text_len = (uint16_t)GP_MIN((uint32_t)n, GP_WIRE_TEXT_MAX);
	if (jc->job->cfg->nonfinite == GP_NONFINITE_DROPS_RANK) {
		const struct cmd cmd = {
			.type = CMD_EXPEL, .job = jc->job->cfg->id, .session = cs->id};
		if (!core_tell_control(c, &cmd))
			return GP_VERDICT_CONTROL_FULL;
	}
	send_refuse(c, &cs->addr, h, &r, cs->payload_max);
	return GP_VERDICT_NONFINITE;
}

// Dropped for its age, the worker is told; for the course of the step it has passed.
static enum gp_verdict push_too_stale(
	struct gp_core *c, struct core_session *cs, const struct gp_header *h, uint32_t block)
{
	const struct gp_refuse r = {
		.reason = GP_REFUSAL_TOO_STALE, .about = h->type, .step = h->step, .what = block};
	send_refuse(c, &cs->addr, h, &r, cs->payload_max);
	return GP_VERDICT_STALE;
}

// Whether the section's blocks are here; what was read stays in `s`.
static inline __attribute__((always_inline)) bool section_read(const struct gp_core *c,
	const struct job_core *jc, const struct gp_msg *m, uint32_t i, struct push_section *s,
	enum gp_verdict *v)
{
	struct gp_section w;
	gp_wire_get_section(m, i, &w);
	if (!section_place(c, jc->job, &w, &s->local, v))
		return false;
	s->block = w.block;
	s->len = w.len;
	s->weight = w.weight;
	s->run = w.run;
	s->codec = w.codec;
	s->zeroed = false;
	return true;
}

// As sections_legal.
static bool sections_read(const struct gp_core *c, const struct job_core *jc,
	const struct gp_msg *m, struct push_section *s, enum gp_verdict *v)
{
	const uint8_t *payload = m->body;
	uint32_t named = 0;
	for (uint32_t i = 0; i < m->h.sections; i++) {
		if (!section_read(c, jc, m, i, &s[i], v))
			return false;
		s[i].payload = payload;
		payload += s[i].len;
		named += s[i].run;
	}
	*v = GP_VERDICT_BAD_SECTION;
	return named <= jc->table.blocks_count;
}

static enum gp_verdict push_bad_payload(struct gp_core *c, struct core_session *cs,
	const struct gp_header *h, const struct push_section *s, uint32_t elems)
{
	const struct gp_refuse r = {.reason = GP_REFUSAL_BAD_PAYLOAD,
		.about = h->type,
		.step = h->step,
		.what = s->block,
		.expected = elems,
		.seen = s->len};
	send_refuse(c, &cs->addr, h, &r, cs->payload_max);
	return GP_VERDICT_BAD_PAYLOAD;
}

static inline __attribute__((always_inline)) enum gp_verdict section_check(struct gp_core *c,
	struct core_session *cs, struct job_core *jc, const struct gp_header *h,
	struct push_section *s)
{
	uint32_t elems = jc->table.blocks[s->local].elems;
	if (gp_codec_check(s->codec, s->payload, s->len, elems) != 0)
		return push_bad_payload(c, cs, h, s, elems);
	if (!gp_codec_finite(s->codec, s->payload, s->len, elems)) {
		bool initial = h->step == 0 && job_trains(jc->job);
		if (initial || jc->job->cfg->nonfinite != GP_NONFINITE_IS_ZERO)
			return push_nonfinite(c, cs, jc, h, s->block);
		s->zeroed = true;
		s->len = 0;
		s->codec = GP_CODEC_NONE;
	}
	return GP_VERDICT_OK;
}

// The datagram as a whole; its sections come next.
static enum gp_verdict push_check(struct gp_core *c, struct core_session *cs,
	const struct gp_session *s, struct job_core *jc, const struct gp_msg *m)
{
	if (s->rank == GP_WIRE_RANK_NONE)
		return GP_VERDICT_NOT_ALLOWED;
	if (!jc || jc->view == 0)
		return GP_VERDICT_NOT_READY;
	// A rank's new incarnation is no member of a view that began with the one before.
	bool async = core_is_async(jc);
	if ((m->h.view != jc->view && !async) || !gp_ranks_has(&jc->members, m->h.rank) ||
		gp_before(jc->admitted, s->serial)) {
		session_ack_due(c, cs); // its decision number tells what the worker lacks
		return GP_VERDICT_OTHER_VIEW;
	}
	bool initial = m->h.step == 0 && job_trains(jc->job) && !async;
	if (initial && m->h.rank != jc->lowest)
		return GP_VERDICT_NOT_ALLOWED;
	if (!async && step_is_stale(jc, m->h.step))
		return push_refuse(c, cs, &m->h, GP_REFUSAL_STALE, GP_VERDICT_STALE);
	if (jc->stopping && gp_before(jc->stop_step, m->h.step))
		return push_refuse(c, cs, &m->h, GP_REFUSAL_STOPPING, GP_VERDICT_STOPPING);
	return GP_VERDICT_OK;
}

static enum gp_verdict push_async(struct gp_core *c, struct job_core *jc, uint32_t local,
	const struct push *p, const struct push_section *s)
{
	const struct part part = part_of(p, s);
	return async_push_block(c, jc, local, p->h, &part);
}

static enum gp_verdict sections_check(struct gp_core *c, struct core_session *cs,
	struct job_core *jc, const struct gp_header *h, struct push_section *secs)
{
	enum gp_verdict v = GP_VERDICT_OK;
	for (uint32_t i = 0; i < h->sections && v == GP_VERDICT_OK; i++)
		v = section_check(c, cs, jc, h, &secs[i]);
	return v;
}

static enum gp_verdict push_sections(struct gp_core *c, struct core_session *cs,
	struct job_core *jc, const struct gp_msg *m, const struct push *p)
{
	struct push_section secs[GP_WIRE_SECTIONS_MAX];
	enum gp_verdict v;
	if (!sections_read(c, jc, m, secs, &v))
		return v;
	v = jc->embed ? embed_push_check(c, cs, jc, m) : sections_check(c, cs, jc, &m->h, secs);
	if (v != GP_VERDICT_OK)
		return v;
	uint64_t refused = 0;
	uint32_t stale = UINT32_MAX;
	bool async = core_is_async(jc);
	enum gp_verdict verdict = GP_VERDICT_PUSH_DUPLICATE, why = GP_VERDICT_PUSH_BUSY;
	for (uint32_t i = 0; i < m->h.sections; i++) {
		const struct push_section *sec = &secs[i];
		if (sec->zeroed)
			gp_counter_add(&c->stats.blocks_zeroed, 1);
		for (uint32_t r = 0; r < sec->run; r++) {
			v = async ? push_async(c, jc, sec->local + r, p, sec)
				  : push_block(c, jc, sec->local + r, p, sec);
			if (v == GP_VERDICT_PUSH)
				verdict = v;
			if (v == GP_VERDICT_STALE)
				stale = sec->block;
			if (v == GP_VERDICT_PUSH_BUSY || v == GP_VERDICT_TOO_EARLY) {
				refused |= UINT64_C(1) << i;
				why = v;
			}
		}
	}
	if (refused) {
		send_busy(c, cs, jc, m, refused);
		return why;
	}
	session_accepted(c, cs, m->h.packet);
	return stale == UINT32_MAX ? verdict : push_too_stale(c, cs, &m->h, stale);
}

// The same for one section of one block of a synchronous job, as most datagrams are.
static enum gp_verdict push_single(struct gp_core *c, struct core_session *cs, struct job_core *jc,
	const struct gp_msg *m, const struct push *p)
{
	struct push_section s = {.payload = m->body};
	enum gp_verdict v;
	if (!section_read(c, jc, m, 0, &s, &v))
		return v;
	if ((v = section_check(c, cs, jc, &m->h, &s)) != GP_VERDICT_OK)
		return v;
	if (s.zeroed)
		gp_counter_add(&c->stats.blocks_zeroed, 1);
	v = push_block(c, jc, s.local, p, &s);
	if (v == GP_VERDICT_PUSH_BUSY || v == GP_VERDICT_TOO_EARLY)
		send_busy(c, cs, jc, m, 1);
	else
		session_accepted(c, cs, m->h.packet);
	bool may_be_short = p->step != 0 && !jc->async && jc->job->cfg->lag_max == 0;
	if (v == GP_VERDICT_PUSH && may_be_short)
		known_set(&cs->known, p->frame->data);
	return v;
}

enum gp_verdict handle_push(struct gp_core *c, struct core_session *cs, const struct gp_session *s,
	struct job_core *jc, struct gp_frame *f, const struct gp_msg *m)
{
	enum gp_verdict v = push_check(c, cs, s, jc, m);
	if (v != GP_VERDICT_OK)
		return v;
	const struct push p = {.h = &m->h,
		.frame = f,
		.session = cs->id,
		.rank = m->h.rank,
		.step = m->h.step,
		.want = (m->h.flags & GP_WIRE_F_WANT) != 0};
	c->results_left = jc->job->cfg->window;
	bool single = m->h.sections == 1 && gp_load16(m->sections + 6) == 1; // its run
	return single && !core_is_async(jc) && !jc->embed ? push_single(c, cs, jc, m, &p)
							  : push_sections(c, cs, jc, m, &p);
}
