// SPDX-License-Identifier: BSD-3-Clause
//
// A burst of datagrams: what they need is fetched some datagrams ahead, each gets its verdict.
//
// The short way. Most datagrams of a worker differ from the one before in packet number, decision,
// step, block and payload only. How the last one began that the long way took (handle_frame,
// handle_push) is kept with its session, up to the number of the view; what begins with the same
// bytes needs none of that proved again as long as these numbers are those of the epoch and of the
// job's view, since a view does not change but by its number, and the session is alive and of the
// same address. What is not so, or is refused, goes the long way, which decides everything: the
// short way takes nothing that the other would not. Nothing that goes the short way changes any of
// this; after one that went the long way it is looked up anew for those that come next, since that
// may have bound the place to another session.
#include "flight.h"

#include "engine_priv.h"
#include "watch.h"

// How many datagrams before its turn the payload of one is fetched, then, its header being there,
// what is kept about its block, and then what a completion of that needs.
#define PAYLOAD_AHEAD  3
#define PAYLOAD_MAX    2048u
#define PLACE_AHEAD    2
#define VERSIONS_AHEAD 1

// Where a datagram belongs that begins as its session's last; `cs` NULL: it goes the long way.
struct place {
	struct core_session *cs;
	struct job_core *jc;
	struct slot *slot; // that the place has if it is admitted
	struct part *part; // of it
	uint32_t step;
	uint32_t local; // of its first section's block, which is this core's
};

// ---- ahead of its turn

// Eight lines a turn; up to seven behind the end, which does no harm.
static inline void payload_prefetch(const struct gp_frame *f)
{
	const uint8_t *p = f->data, *end = p + GP_MIN(f->len, PAYLOAD_MAX);
	for (; p < end; p += 8 * GP_CACHE_LINE) {
#pragma GCC unroll 8
		for (uint32_t i = 0; i < 8; i++)
			__builtin_prefetch(p + i * GP_CACHE_LINE);
	}
}

// Whether the session lives, at its old address, and what was proved of its last contribution holds
// still, in the epoch and the view in hand.
static inline bool known_holds(const struct gp_core *c, const struct job_core *jc,
	const struct core_session *cs, const struct gp_frame *f)
{
	const struct gp_session *s = gp_rcu_dereference(&c->engine->sessions[session_idx(cs->id)]);
	return gp_load32(f->data + 8) == cs->id && s && s->id == cs->id &&
	       gp_addr_same(&cs->addr, &f->peer) &&
	       gp_load32(f->data + 12) == engine_epoch(c->engine) && jc->view == cs->known.view &&
	       !jc->stopping;
}

// Only header and first section are read.
static inline void place_find(const struct gp_core *c, const struct gp_frame *f, struct place *at)
{
	const uint8_t *p = f->data;
	at->cs = NULL;
	if (f->len < GP_WIRE_HEADER_SIZE + GP_WIRE_SECTION_SIZE)
		return;
	uint32_t idx = session_idx(gp_load32(p + 8));
	if (idx >= c->engine->cfg.sessions_max)
		return;
	struct core_session *cs = &c->sessions[idx];
	if (!known_begins(&cs->known, p))
		return;
	struct job_core *jc = c->jobs[gp_load16(p + 4)];
	uint32_t block = gp_load32(p + GP_WIRE_HEADER_SIZE);
	uint32_t local = job_local(jc->job, block);
	if (block >= jc->job->blocks_count || block - local * jc->job->by_cores.d != c->idx)
		return;
	at->jc = jc;
	at->step = gp_load32(p + 20);
	at->local = local;
	at->slot = slot_of(jc, local, at->step);
	at->part = &jc->parts[(size_t)(at->slot - jc->slots) * jc->job->cfg->workers + cs->rank];
	__builtin_prefetch(at->slot, 1);
	__builtin_prefetch(at->part, 1);
	__builtin_prefetch(&jc->table.blocks[local], 1);
	if (at->step != 0 && known_holds(c, jc, cs, f))
		at->cs = cs;
}

static inline bool slot_is_of(const struct slot *s, const struct place *at)
{
	return s->open && s->step == at->step && s->local == at->local;
}

// Once for each block, at the first contribution to it. Without an optimizer nothing is read. True:
// its states come next, behind the datagram in hand, so that not all misses are waited for at once.
static inline bool versions_prefetch(const struct place *at)
{
	if (!at->cs || !job_trains(at->jc->job) || slot_is_of(at->slot, at))
		return false;
	gp_block_prefetch_arrays(&at->jc->table, &at->jc->table.blocks[at->local], 0, 1);
	return true;
}

static inline __attribute__((always_inline)) void states_prefetch(const struct place *at)
{
	const struct gp_table *t = &at->jc->table;
	gp_block_prefetch_arrays(t, &t->blocks[at->local], 1, 1 + t->states_count);
}

// ---- the short way

// Whether the place is admitted and nobody of that rank has been there. What has a slot was
// admitted, in this view.
static inline bool place_awaits(const struct place *at, uint32_t rank)
{
	const struct job_core *jc = at->jc;
	const struct slot *slot = at->slot;
	if (slot->open)
		return slot_is_of(slot, at) && !gp_ranks_has(&slot->ranks, rank);
	return at->step - jc->generation - 1 < STEPS_AHEAD_MAX &&
	       gp_before(jc->table.blocks[at->local].done_step, at->step) &&
	       place_distance(jc, at->local, at->step) <= jc->slot_mask;
}

// Reads the one section of the one block of a PUSH whose first words are known, and proves of the
// rest what gp_wire_parse would; false: it is not so, or not f32 of `elems` elements.
static inline bool known_section(const struct gp_frame *f, uint32_t elems, struct part *part)
{
	const uint8_t *p = f->data, *at = p + GP_WIRE_HEADER_SIZE;
	const uint32_t fixed = GP_WIRE_HEADER_SIZE + GP_WIRE_SECTION_SIZE;
	uint32_t size = elems * (uint32_t)sizeof(float), pad = p[3];
	bool one = gp_load16(p + 38) == 1;				// section; no key
	bool plain = gp_load32(at + 4) == (UINT32_C(1) << 16 | size) && // a run of 1
		     gp_load32(at + 8) == GP_CODEC_F32;			// no flags
	if (!one || !plain || f->len != fixed + pad + size || !gp_wire_weighs(at + 12) ||
		!gp_wire_is_zero(p + fixed, pad))
		return false;
	part->payload = p + fixed + pad;
	part->len = size;
	part->weight = gp_loadf(at + 12);
	return true;
}

// Takes back what was noted of the contribution that filled the slot.
static void slot_take_back(struct job_core *jc, struct slot *slot, struct part *part, uint32_t rank)
{
	part->frame = NULL;
	gp_ranks_del(&slot->ranks, rank);
	if (--slot->count > 0)
		return;
	slot->open = false;
	jc->slots_open--;
}

// A contribution that fills its slot is proved finite by the sum, which reads it anyway; the others
// are looked through as they come, since they are acknowledged before.
//
// Takes the contribution, or GP_VERDICT_OK: it goes the long way. After PUSH the frame is the
// slot's: the reference is gone, and perhaps the frame.
static inline enum gp_verdict push_known(
	struct gp_core *c, const struct place *at, struct gp_frame *f)
{
	struct core_session *cs = at->cs;
	struct job_core *jc = at->jc;
	struct slot *slot = at->slot;
	uint32_t rank = cs->rank;
	struct part part;
	uint32_t elems = jc->table.blocks[at->local].elems;
	if (!known_section(f, elems, &part))
		return GP_VERDICT_OK;
	struct session_watch *w = watch_line(c, cs->id);
	if (!watch_is_of(w, cs->id) || !place_awaits(at, rank))
		return GP_VERDICT_OK;
	bool fills = (slot->open ? slot->count : 0) + 1 == jc->members_count;
	if (!fills && !gp_codec_f32_finite(part.payload, elems))
		return GP_VERDICT_OK;
	uint64_t packet = gp_load64(f->data + 24);
	bool want = (f->data[2] & GP_WIRE_F_WANT) != 0;
	jc->busy = true;
	session_took(c, cs, packet, gp_load32(f->data + 32));
	if (!slot->open)
		slot_begin(jc, slot, at->local, at->step);
	*at->part = (struct part){.frame = f,
		.payload = part.payload,
		.len = part.len,
		.weight = part.weight,
		.session = cs->id,
		.codec = GP_CODEC_F32,
		.want = want};
	gp_ranks_add(&slot->ranks, rank);
	slot->count++;
	if (!fills) {
		if (jc->table.next_lines > 0)
			gp_table_prefetch_next(&jc->table);
	} else if (!slot_filled_by(c, jc, slot, at->part)) {
		slot_take_back(jc, slot, at->part, rank);
		return GP_VERDICT_OK;
	}
	gp_counter_add(&w->datagrams, 1);
	watch_pushed(w, at->step);
	session_accepted(c, cs, packet);
	return GP_VERDICT_PUSH;
}

// ---- the burst

// One datagram of a burst, in which `ahead` more have been looked up; its reference is the engine's
// then.
static enum gp_verdict frame_handle(
	struct gp_core *c, struct gp_frame **frames, struct place *places, uint32_t ahead)
{
	enum gp_verdict v = handle_frame(c, frames[0]);
	GP_ASSERT(v >= 0 && v < GP_VERDICT_COUNT);
	c->xport->ops->release(c->xport, frames[0]);
	for (uint32_t i = 1; i <= ahead; i++)
		place_find(c, frames[i], &places[i]);
	return v;
}

void gp_core_rx(struct gp_core *c, struct gp_frame **frames, uint32_t n, uint64_t now)
{
	GP_ASSERT(n <= GP_ENGINE_BURST_MAX);
	c->now = now;
	struct place places[GP_ENGINE_BURST_MAX];
	for (uint32_t i = 0; i < n && i < PAYLOAD_AHEAD; i++)
		payload_prefetch(frames[i]);
	for (uint32_t i = 0; i < n && i < PLACE_AHEAD; i++)
		place_find(c, frames[i], &places[i]);
	for (uint32_t i = 0; i < n; i++) {
		if (i + PAYLOAD_AHEAD < n)
			payload_prefetch(frames[i + PAYLOAD_AHEAD]);
		if (i + PLACE_AHEAD < n)
			place_find(c, frames[i + PLACE_AHEAD], &places[i + PLACE_AHEAD]);
		uint32_t next = i + VERSIONS_AHEAD;
		bool states = next < n && versions_prefetch(&places[next]);
		flight_datagram(c, frames[i]);
		enum gp_verdict v =
			places[i].cs ? push_known(c, &places[i], frames[i]) : GP_VERDICT_OK;
		if (v == GP_VERDICT_OK)
			v = frame_handle(c, &frames[i], &places[i], GP_MIN(PLACE_AHEAD, n - i - 1));
		if (states)
			states_prefetch(&places[next]);
		flight_verdict(c, v);
		gp_counter_add(&c->stats.verdicts[v], 1);
	}
	pack_flush(c);
	gp_counter_add(&c->stats.rx_datagrams, n);
}
