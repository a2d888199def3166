// SPDX-License-Identifier: BSD-3-Clause
//
// Results in another form than f32 (docs/protocol.md, 5.2): in the codec that a worker asked for,
// as what a sparse sum has, or as what changed since the step before. They wait for the end of the
// burst, so that several go in one datagram, and are encoded from the version itself then, once for
// each worker: a block takes some 100 ns, less than the datagram that it saves.
//
// A version that waits is held, as one in transmission is.
#include "engine_priv.h"

#define PENDING_MAX 256

struct pending {
	struct result r; // cs NULL: sent
	uint32_t session;
};

// A datagram in the making.
struct parcel {
	uint32_t used; // of payload
	uint32_t count;
	struct gp_section sections[GP_WIRE_SECTIONS_MAX];
	uint8_t payload[GP_WIRE_DATAGRAM_MAX + 8]; // an encoder may write some bytes beyond
};

struct pack {
	uint32_t count;
	struct pending pending[PENDING_MAX];
	struct parcel parcel;
};

// How a block goes.
struct form {
	uint8_t codec;
	uint8_t flags;
	uint32_t len;
};

size_t pack_size(void)
{
	return sizeof(struct pack);
}

// ---- which form

static uint8_t codec_of(uint32_t flags)
{
	uint8_t codec = (uint8_t)(flags >> GP_JOIN_RESULTS_SHIFT);
	return codec == GP_CODEC_NONE ? GP_CODEC_F32 : codec;
}

static uint8_t sparse_codec(uint8_t dense)
{
	if (dense == GP_CODEC_BF16)
		return GP_CODEC_TOPK_BF16;
	return dense == GP_CODEC_F16 ? GP_CODEC_TOPK_F16 : GP_CODEC_TOPK;
}

static bool may_be_sparse(const struct result *r, uint32_t flags)
{
	if (!r->v->sparse || r->jc->job->cfg->sparse_max == 0)
		return false;
	return !job_trains(r->jc->job) || (r->pushed && (flags & GP_JOIN_CHANGED));
}

// What is not zero, or not as before; false: the dense form it is.
static bool sparse_encode(
	const struct result *r, uint8_t dense, uint8_t *payload, size_t room, struct form *form)
{
	const struct gp_block *b = &r->jc->table.blocks[r->local];
	struct gp_version *before = NULL;
	if (job_trains(r->jc->job)) {
		before = gp_table_find(b, r->step - 1);
		if (!before)
			return false;
		form->flags = GP_WIRE_SECTION_KEEP;
	}
	const struct gp_codec_change change = {.now = gp_version_values(r->v),
		.before = before ? gp_version_values(before) : NULL,
		.elems = r->v->elems};
	size_t most = gp_codec_size_max(dense, r->v->elems, 0) * r->jc->job->cfg->sparse_max / 100;
	form->codec = sparse_codec(dense);
	form->len = gp_codec_encode_changed(form->codec, &change, GP_MIN(most, room), payload);
	if (form->len == 0)
		return false;
	if (gp_load16(payload) == 0) { // nothing to say
		form->codec = GP_CODEC_NONE;
		form->len = 0;
	}
	return true;
}

// False: it does not fit into `room`.
static bool encode(const struct result *r, uint8_t *payload, size_t room, struct form *form)
{
	uint32_t flags = r->cs->wants;
	*form = (struct form){.codec = codec_of(flags)};
	if (may_be_sparse(r, flags)) {
		if (sparse_encode(r, form->codec, payload, room, form))
			return true;
		*form = (struct form){.codec = codec_of(flags)};
	}
	if (gp_codec_size_max(form->codec, r->v->elems, 0) > room)
		return false;
	const struct gp_codec_src src = {.grad = gp_version_values(r->v), .elems = r->v->elems};
	form->len = gp_codec_encode(form->codec, &src, payload);
	return true;
}

bool pack_result(struct gp_core *c, const struct result *r)
{
	struct pack *p = c->pack;
	uint32_t flags = r->cs->wants;
	if (codec_of(flags) == GP_CODEC_F32 && !may_be_sparse(r, flags))
		return false;
	if (p->count == PENDING_MAX)
		pack_flush(c);
	p->pending[p->count++] = (struct pending){.r = *r, .session = r->cs->id};
	r->v->hold.count++;
	return true;
}

// ---- datagrams

// Those that go in one have the same worker, job, step and view, and are tentative or not.
static bool goes_with(const struct pending *a, const struct pending *b)
{
	return a->r.cs == b->r.cs && a->session == b->session && a->r.jc == b->r.jc &&
	       a->r.step == b->r.step && a->r.v->view == b->r.v->view &&
	       a->r.tentative == b->r.tentative;
}

static uint32_t parcel_fixed(const struct core_session *cs, uint32_t sections)
{
	return GP_WIRE_HEADER_SIZE + sections * GP_WIRE_SECTION_SIZE +
	       (cs->ack_pending > 0 ? GP_WIRE_ACK_SIZE : 0);
}

static void parcel_send(struct gp_core *c, const struct result *r, struct parcel *q)
{
	struct core_session *cs = r->cs;
	uint32_t flags = (r->tentative ? GP_WIRE_F_TENTATIVE : 0) |
			 (cs->ack_pending > 0 ? GP_WIRE_F_ACK : 0);
	uint32_t spare = answer_limit(cs) - parcel_fixed(cs, q->count) - q->used;
	struct gp_header h = {
		.type = GP_WIRE_RESULT,
		.flags = (uint8_t)flags,
		.pad = gp_wire_pad(answer_lower(cs), flags, q->count, spare),
		.step = r->step,
		.view = r->v->view,
		.sections = (uint8_t)q->count,
	};
	struct answer a;
	if (answer_begin(c, cs, r->jc, &h, &a)) {
		for (uint32_t i = 0; i < q->count; i++)
			gp_wire_put_section(a.frame->data, i, &q->sections[i]);
		memcpy(a.body, q->payload, q->used);
		answer_send(c, cs, &a, q->used);
	}
	q->used = q->count = 0;
}

// A neighbour of the last section that has as little to say goes in its run.
static bool run_goes_on(const struct parcel *q, const struct gp_section *s, uint32_t cores)
{
	if (q->count == 0 || s->len > 0)
		return false;
	const struct gp_section *last = &q->sections[q->count - 1];
	return last->len == 0 && last->flags == s->flags && last->weight == s->weight &&
	       last->run < UINT16_MAX && last->block + last->run * cores == s->block;
}

// Adds the result to the parcel; false: there is no room left in it.
static bool parcel_add(struct gp_core *c, const struct result *r, struct parcel *q)
{
	uint32_t limit = answer_limit(r->cs), fixed = parcel_fixed(r->cs, q->count + 1);
	struct form form;
	if (q->count == GP_WIRE_SECTIONS_MAX || fixed + q->used > limit)
		return false;
	if (!encode(r, q->payload + q->used, limit - fixed - q->used, &form))
		return false;
	const struct gp_section s = {
		.block = job_block(r->jc->job, c, r->local),
		.len = (uint16_t)form.len,
		.run = 1,
		.codec = form.codec,
		.flags = form.flags,
		.weight = r->v->weight,
	};
	if (run_goes_on(q, &s, c->engine->cfg.cores_count))
		q->sections[q->count - 1].run++;
	else
		q->sections[q->count++] = s;
	q->used += form.len;
	return true;
}

// All that waits for the same datagrams as pending[from].
static void group_send(struct gp_core *c, struct pack *p, uint32_t from)
{
	const struct pending first = p->pending[from];
	struct parcel *q = &p->parcel;
	bool lives = first.r.cs->id == first.session && first.r.cs->bound;
	q->used = q->count = 0;
	for (uint32_t i = from; i < p->count; i++) {
		struct pending *x = &p->pending[i];
		if (!x->r.cs || !goes_with(&first, x))
			continue;
		if (lives && !parcel_add(c, &x->r, q)) {
			if (q->count > 0)
				parcel_send(c, &first.r, q);
			if (!parcel_add(c, &x->r, q)) // alone it has the room of f32, at least
				send_dense(c, &x->r);
		}
		if (x != &p->pending[from]) {
			x->r.v->hold.count--;
			x->r.cs = NULL;
		}
	}
	if (q->count > 0)
		parcel_send(c, &first.r, q);
	first.r.v->hold.count--;
	p->pending[from].r.cs = NULL;
}

void pack_flush(struct gp_core *c)
{
	struct pack *p = c->pack;
	for (uint32_t i = 0; i < p->count; i++)
		if (p->pending[i].r.cs)
			group_send(c, p, i);
	p->count = 0;
}
