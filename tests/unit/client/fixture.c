// SPDX-License-Identifier: BSD-3-Clause
#include "fixture.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

static struct fx *fx_of(struct gp_xport *x)
{
	return (struct fx *)x;
}

static struct gp_frame *fx_alloc(struct gp_xport *x)
{
	struct fx *f = fx_of(x);
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(f->frames); i++) {
		if (f->frames_used >> i & 1)
			continue;
		f->frames_used |= 1u << i;
		f->frames[i] = (struct gp_frame){.data = f->bufs[i], .room = GP_WIRE_DATAGRAM_MAX};
		return &f->frames[i];
	}
	return NULL;
}

static void fx_hold(struct gp_xport *x, struct gp_frame *frame)
{
	(void)x;
	(void)frame;
	cr_assert_fail("the client holds no frames");
}

static void fx_release(struct gp_xport *x, struct gp_frame *frame)
{
	struct fx *f = fx_of(x);
	f->frames_used &= ~(1u << (frame - f->frames));
}

static void fx_send(struct gp_xport *x, struct gp_frame *frame)
{
	struct fx *f = fx_of(x);
	struct gp_msg m;
	cr_assert_lt(f->sent_count, SENT_MAX);
	cr_assert_leq(frame->len, x->mtu);
	cr_assert_eq(gp_wire_parse(frame->data, frame->len, &m), GP_VERDICT_OK);
	struct fx_sent *s = &f->sent[f->sent_count++];
	memcpy(s->data, frame->data, frame->len);
	s->len = frame->len;
	fx_release(x, frame);
}

static const struct gp_xport_ops fx_ops = {
	.alloc = fx_alloc, .hold = fx_hold, .release = fx_release, .send = fx_send};

struct fx_how fx_how = {.takes = UINT32_MAX};

static void *mem_take(void *arg, size_t size)
{
	(void)arg;
	if (fx_how.takes == 0)
		return NULL;
	fx_how.takes--;
	size = gp_align_up(size, 64);
	return memset(aligned_alloc(64, size), 0, size);
}

static void mem_give(void *arg, void *mem)
{
	(void)arg;
	free(mem);
}

void fx_open(struct fx *f, uint32_t mtu)
{
	memset(f, 0, sizeof(*f));
	f->sent = calloc(SENT_MAX, sizeof(*f->sent));
	f->base = (struct gp_xport){.ops = &fx_ops, .mtu = mtu};
	f->now = 1000000000;
	f->w = (struct gp_welcome){.nonce = 77,
		.session = SESSION,
		.job = 1,
		.cores = 1,
		.base_port = 9700,
		.kind = GP_KIND_REDUCE,
		.atomicity = GP_ATOM_BLOCK,
		.consistency = GP_CONSIST_BSP,
		.next_step = 1,
		.heartbeat_us = 100000,
		.timeout_us = 500000,
		.slots = 8,
		.window = 4,
		.payload_max = 1452,
		.world = 2,
		.incarnation = 5};
	const struct gp_ccore_config cfg = {.job = "job",
		.server = "10.0.0.1:9700",
		.v4 = true,
		.world = 2,
		.incarnation = 5,
		.nonce = 77,
		.compress = fx_how.compress,
		.flags = fx_how.flags,
		.take = mem_take,
		.give = mem_give};
	int rc = gp_ccore_create(&f->core, &cfg, &f->base);
	cr_assert(rc == 0 || (rc == -ENOMEM && fx_how.takes == 0 && !f->core));
}

void fx_close(struct fx *f)
{
	gp_ccore_destroy(f->core);
	cr_assert_eq(f->frames_used, 0, "frames were lost");
	free(f->sent);
}

const struct fx_sent *fx_next(struct fx *f, uint8_t type, struct gp_msg *m)
{
	while (f->seen < f->sent_count) {
		const struct fx_sent *s = &f->sent[f->seen++];
		cr_assert_eq(gp_wire_parse(s->data, s->len, m), GP_VERDICT_OK);
		if (m->h.type == type)
			return s;
	}
	cr_assert_fail("no %s was sent", gp_wire_type_name(type));
	return NULL;
}

uint32_t fx_count(struct fx *f, uint8_t type)
{
	uint32_t n = 0;
	for (uint32_t i = f->seen; i < f->sent_count; i++)
		n += f->sent[i].data[1] == type;
	return n;
}

void fx_skip(struct fx *f)
{
	f->seen = f->sent_count;
}

void fx_feed(struct fx *f, struct gp_header *h, const struct gp_section *s,
	const struct gp_ack *ack, const void *body, uint32_t body_len)
{
	struct gp_frame *frame = fx_alloc(&f->base);
	h->version = GP_WIRE_VERSION;
	if (h->session == SESSION) {
		h->job = f->w.job;
		h->epoch = h->epoch ? h->epoch : EPOCH;
		h->packet = ++f->server_packet;
		h->credit = (uint16_t)f->w.window;
		h->decision = f->decision;
	}
	if (ack)
		h->flags |= GP_WIRE_F_ACK;
	uint32_t at = gp_wire_begin(frame->data, frame->room, h);
	for (uint32_t i = 0; i < h->sections; i++)
		gp_wire_put_section(frame->data, i, &s[i]);
	if (ack)
		gp_wire_put_ack(frame->data, h->sections, ack);
	if (body_len > 0)
		memcpy(frame->data + at, body, body_len);
	frame->len = at + body_len;
	struct gp_msg m;
	cr_assert_eq(gp_wire_parse(frame->data, frame->len, &m), GP_VERDICT_OK);
	gp_ccore_rx(f->core, 0, &frame, 1, f->now);
}

void fx_hello_reply(struct fx *f, uint32_t size, uint8_t chosen)
{
	uint8_t body[GP_WIRE_DATAGRAM_MAX] = {0};
	const struct gp_hello x = {.versions_count = 1,
		.versions = {chosen ? chosen : 9},
		.chosen = chosen,
		.size = size,
		.nonce = 77};
	struct gp_header h = {.type = GP_WIRE_HELLO_REPLY, .rank = GP_WIRE_RANK_NONE};
	(void)gp_wire_put_hello(body, &x);
	fx_feed(f, &h, NULL, NULL, body, size - GP_WIRE_HEADER_SIZE);
}

void fx_welcome(struct fx *f)
{
	uint8_t body[128];
	struct gp_header h = {.type = GP_WIRE_WELCOME, .session = SESSION};
	fx_feed(f, &h, NULL, NULL, body, gp_wire_put_welcome(body, &f->w));
}

void fx_refuse(struct fx *f, const struct gp_refuse *r)
{
	uint8_t body[512];
	struct gp_header h = {.type = GP_WIRE_REFUSE,
		.step = r->step,
		.session = r->about == GP_WIRE_JOIN ? 0 : SESSION};
	fx_feed(f, &h, NULL, NULL, body, gp_wire_put_refuse(body, r));
}

void fx_layout(struct fx *f, uint32_t registered, uint32_t state)
{
	uint8_t body[128];
	const struct gp_layout x = {.registered = registered,
		.state = state,
		.block_elems = BLOCK_ELEMS,
		.blocks_count = BLOCKS,
		.units_count = f->w.consistency > GP_CONSIST_BSP ? 1 : BLOCKS,
		.next_step = 1,
		.n = (uint16_t)state,
		.missing_rank = state ? GP_WIRE_RANK_NONE : 1};
	const struct gp_layout_entry e = {.codec = fx_how.hint};
	struct gp_header h = {.type = GP_WIRE_LAYOUT, .session = SESSION};
	uint32_t len = gp_wire_put_layout(body, &x);
	if (state)
		len += gp_wire_put_layout_entry(body + len, &e);
	fx_feed(f, &h, NULL, NULL, body, len);
}

void fx_decide(struct fx *f, const struct gp_commit_entry *e)
{
	uint8_t body[64];
	const struct gp_commit x = {.first = ++f->decision, .n = 1};
	struct gp_header h = {.type = GP_WIRE_COMMIT, .session = SESSION};
	uint32_t len = gp_wire_put_commit(body, &x);
	len += gp_wire_put_commit_entry(body + len, e);
	fx_feed(f, &h, NULL, NULL, body, len);
}

void fx_result(
	struct fx *f, uint32_t block, uint32_t step, uint32_t view, bool tentative, float value)
{
	float values[BLOCK_ELEMS];
	uint32_t elems = block == BLOCKS - 1 ? ELEMS % BLOCK_ELEMS : BLOCK_ELEMS;
	for (uint32_t i = 0; i < elems; i++)
		values[i] = value;
	const struct gp_section s = {.block = block,
		.len = (uint16_t)(elems * 4),
		.run = 1,
		.codec = GP_CODEC_F32,
		.weight = 2};
	struct gp_header h = {.type = GP_WIRE_RESULT,
		.session = SESSION,
		.view = view,
		.step = step,
		.sections = 1,
		.flags = tentative ? GP_WIRE_F_TENTATIVE : 0};
	fx_feed(f, &h, &s, NULL, values, elems * 4);
}

void fx_ack(struct fx *f, uint64_t largest, uint64_t bits, bool largest_ok)
{
	const struct gp_ack a = {.largest = largest, .bits = bits, .flags = largest_ok};
	struct gp_header h = {.type = GP_WIRE_ACK, .session = SESSION};
	fx_feed(f, &h, NULL, &a, NULL, 0);
}

void fx_tick(struct fx *f, uint64_t after_ns)
{
	f->now += after_ns;
	(void)gp_ccore_tick(f->core, f->now);
}

void fx_push(struct fx *f, float value)
{
	for (uint32_t i = 0; i < ELEMS; i++)
		f->grad[i] = value + (float)i;
	cr_assert_eq(gp_ccore_push(f->core, 0, f->grad, 1.0f, f->out), 0);
}

void fx_laid_out(struct fx *f)
{
	const struct gp_client_tensor t = {.name = "w", .dims_count = 1, .dims = {ELEMS}};
	fx_tick(f, 0);
	fx_hello_reply(f, f->base.mtu, GP_WIRE_VERSION);
	fx_tick(f, 0);
	fx_welcome(f);
	cr_assert_eq(gp_ccore_register(f->core, &t, 1), 0);
	fx_tick(f, 0);
	fx_layout(f, 1, 0);
	fx_tick(f, 0);
	fx_layout(f, 1, 1);
	cr_assert_not(gp_ccore_ready(f->core));
}

void fx_member(struct fx *f)
{
	const struct gp_commit_entry view = {.kind = GP_DECISION_VIEW,
		.flags = GP_COMMIT_MEMBER,
		.ranks = 2,
		.step = f->w.next_step,
		.view = 1};
	fx_laid_out(f);
	fx_decide(f, &view);
	cr_assert(gp_ccore_ready(f->core));
	fx_tick(f, 0);
	fx_skip(f);
}
