// SPDX-License-Identifier: BSD-3-Clause
//
// The rig's workers: datagrams made by hand, and what came back.
#include "driver.h"

#include <stdlib.h>

struct gp_header worker_header(struct worker *w, uint32_t core, uint8_t type)
{
	return (struct gp_header){
		.version = GP_WIRE_VERSION,
		.type = type,
		.job = w->job,
		.rank = w->rank,
		.session = w->session,
		.epoch = w->epoch,
		.view = w->view,
		.packet = w->session ? ++w->packet[core] : 0,
		.decision = w->decision,
	};
}

static struct gp_frame *frame_begin(struct worker *w, uint32_t core)
{
	struct gp_frame *f = w->x[core]->ops->alloc(w->x[core]);
	cr_assert(f, "the network has a frame");
	f->peer = *gp_sim_addr(w->r->core_x[core]);
	return f;
}

void worker_send(struct worker *w, uint32_t core, struct gp_header *h, const struct gp_section *s,
	const void *body, uint32_t len)
{
	gp_sim_net_set_now(w->r->net, w->r->now);
	struct gp_frame *f = frame_begin(w, core);
	uint32_t at = gp_wire_begin(f->data, f->room, h);
	for (uint32_t i = 0; i < h->sections; i++)
		gp_wire_put_section(f->data, i, &s[i]);
	cr_assert_leq(at + len, f->room);
	if (len > 0)
		memcpy(f->data + at, body, len);
	f->len = at + len;
	w->x[core]->ops->send(w->x[core], f);
}

void worker_send_raw(struct worker *w, uint32_t core, const void *bytes, uint32_t len)
{
	gp_sim_net_set_now(w->r->net, w->r->now);
	struct gp_frame *f = frame_begin(w, core);
	memcpy(f->data, bytes, len);
	f->len = len;
	w->x[core]->ops->send(w->x[core], f);
}

void worker_hello(struct worker *w, uint32_t core, uint32_t size, uint8_t version)
{
	uint8_t body[2048] = {0};
	const struct gp_hello hello = {
		.versions_count = 1, .versions = {version}, .size = size, .nonce = 77 + core};
	(void)gp_wire_put_hello(body, &hello);
	struct gp_header h = {.version = 1, .type = GP_WIRE_HELLO, .rank = GP_WIRE_RANK_NONE};
	worker_send(w, core, &h, NULL, body, size - GP_WIRE_HEADER_SIZE);
}

void worker_join(struct worker *w, uint32_t core, struct gp_join *j)
{
	uint8_t body[128];
	memcpy(j->cookie, w->cookie[core], sizeof(j->cookie));
	uint32_t len = gp_wire_put_join(body, j);
	struct gp_header h = {.version = 1, .type = GP_WIRE_JOIN, .rank = GP_WIRE_RANK_NONE};
	worker_send(w, core, &h, NULL, body, len);
}

struct gp_join worker_join_of(const struct worker *w, uint16_t rank)
{
	struct gp_join j = {.nonce = 4242,
		.incarnation = w->incarnation,
		.flags = w->join_flags,
		.rank = rank,
		.world = (uint16_t)w->r->jobs[0].workers,
		.payload_max = RIG_PAYLOAD};
	strcpy(j.job, "job");
	return j;
}

void worker_register(
	struct worker *w, const struct tensor *t, uint32_t count, uint32_t first, uint32_t n)
{
	uint8_t body[1400];
	const struct gp_register reg = {.tensors_count = count, .first = first, .n = (uint16_t)n};
	uint32_t len = gp_wire_put_register(body, &reg);
	for (uint32_t i = 0; i < n; i++) {
		struct gp_tensor_desc d = {.priority = t[i].priority,
			.dtype = 1,
			.dims_count = (uint8_t)t[i].dims_count,
			.name_len = (uint16_t)strlen(t[i].name)};
		memcpy(d.dims, t[i].dims, sizeof(d.dims));
		strcpy(d.name, t[i].name);
		cr_assert_leq(len + gp_wire_desc_size(&d), sizeof(body));
		len += gp_wire_put_desc(body + len, &d);
	}
	struct gp_header h = worker_header(w, w->welcome.home, GP_WIRE_REGISTER);
	worker_send(w, w->welcome.home, &h, NULL, body, len);
}

void worker_heartbeat(struct worker *w, uint32_t core, uint32_t known)
{
	uint8_t body[16];
	const struct gp_heartbeat hb = {.known = known, .time = 99};
	struct gp_header h = worker_header(w, core, GP_WIRE_HEARTBEAT);
	h.pad = 48;
	worker_send(w, core, &h, NULL, body, gp_wire_put_heartbeat(body, &hb));
}

void worker_leave(struct worker *w)
{
	uint8_t body[8];
	struct gp_header h = worker_header(w, w->welcome.home, GP_WIRE_LEAVE);
	worker_send(w, w->welcome.home, &h, NULL, body, gp_wire_put_u64(body, w->incarnation));
}

void worker_barrier(struct worker *w, uint32_t name)
{
	uint8_t body[8];
	struct gp_header h = worker_header(w, w->welcome.home, GP_WIRE_BARRIER);
	worker_send(w, w->welcome.home, &h, NULL, body, gp_wire_put_barrier(body, name, 0));
}

void worker_pull(struct worker *w, uint32_t block, uint32_t run, uint32_t step, bool want)
{
	uint32_t core = block % w->r->cfg.cores_count;
	struct gp_header h = worker_header(w, core, GP_WIRE_PULL);
	h.step = step;
	h.sections = 1;
	h.flags = want ? GP_WIRE_F_WANT : 0;
	const struct gp_section s = {.block = block, .run = (uint16_t)run};
	worker_send(w, core, &h, &s, NULL, 0);
}

void worker_push(
	struct worker *w, uint32_t step, const struct gp_section *s, const void *payload, bool want)
{
	uint32_t core = s->block % w->r->cfg.cores_count;
	struct gp_header h = worker_header(w, core, GP_WIRE_PUSH);
	h.step = step;
	h.sections = 1;
	h.flags = want ? GP_WIRE_F_WANT : 0;
	worker_send(w, core, &h, s, payload, s->len);
}

void worker_push_block(struct worker *w, uint32_t step, uint32_t block, bool want)
{
	float values[BLOCK_ELEMS];
	uint32_t elems = model_elems(block);
	for (uint32_t i = 0; i < elems; i++)
		values[i] = rig_value(w->rank, step, block, i);
	const struct gp_section s = {.block = block,
		.len = (uint16_t)(elems * sizeof(float)),
		.run = 1,
		.codec = GP_CODEC_F32,
		.weight = 1.0f};
	worker_push(w, step, &s, values, want);
}

void worker_push_all(struct worker *w, uint32_t step, bool want)
{
	for (uint32_t b = 0; b < BLOCKS; b++)
		worker_push_block(w, step, b, want);
}

// ---- exchanges

static void cookie_learn(struct worker *w, uint32_t core)
{
	const struct seen *s = seen_last(w, GP_WIRE_HELLO_REPLY, 0);
	cr_assert(s && s->core == core, "hello is answered");
	struct gp_hello hello;
	gp_wire_get_hello(&s->m, &hello);
	memcpy(w->cookie[core], hello.cookie, sizeof(hello.cookie));
}

uint32_t worker_enter_as(struct worker *w, struct gp_join *j)
{
	worker_hello(w, 0, RIG_PAYLOAD, 1);
	rig_run(w->r);
	cookie_learn(w, 0);
	seen_clear(w);
	worker_join(w, 0, j);
	rig_run(w->r);
	const struct seen *s = seen_last(w, GP_WIRE_REFUSE, 0);
	if (s) {
		gp_wire_get_refuse(&s->m, &w->refuse);
		return w->refuse.reason;
	}
	s = seen_last(w, GP_WIRE_WELCOME, 0);
	cr_assert(s, "join is answered");
	gp_wire_get_welcome(&s->m, &w->welcome);
	w->session = w->welcome.session;
	w->job = w->welcome.job;
	w->rank = w->welcome.rank;
	w->epoch = s->m.h.epoch;
	w->view = s->m.h.view;
	w->decision = w->welcome.decision;
	memset(w->packet, 0, sizeof(w->packet));
	return 0;
}

uint32_t worker_enter(struct worker *w, uint16_t rank)
{
	struct gp_join j = worker_join_of(w, rank);
	return worker_enter_as(w, &j);
}

void worker_attach(struct worker *w)
{
	for (uint32_t i = 1; i < w->r->cfg.cores_count; i++) {
		worker_hello(w, i, RIG_PAYLOAD, 1);
		rig_run(w->r);
		cookie_learn(w, i);
		struct gp_join j = worker_join_of(w, w->rank);
		j.flags = GP_JOIN_ATTACH;
		j.session = w->session;
		worker_join(w, i, &j);
		rig_run(w->r);
		const struct seen *s = seen_last(w, GP_WIRE_WELCOME, 0);
		cr_assert(s && s->core == i, "core %u attaches", i);
	}
}

uint32_t worker_bring(struct worker *w)
{
	uint32_t refused = seen_count(w, GP_WIRE_REFUSE);
	worker_register(w, model, TENSORS, 0, TENSORS);
	rig_run(w->r);
	if (seen_count(w, GP_WIRE_REFUSE) == refused)
		return 0;
	gp_wire_get_refuse(&seen_last(w, GP_WIRE_REFUSE, 0)->m, &w->refuse);
	return w->refuse.reason;
}

// ---- what came back

uint32_t seen_count(const struct worker *w, uint8_t type)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < w->seen_count; i++)
		n += w->seen[i].m.h.type == type;
	return n;
}

const struct seen *seen_last(const struct worker *w, uint8_t type, uint32_t n)
{
	for (uint32_t i = w->seen_count; i-- > 0;)
		if (w->seen[i].m.h.type == type && n-- == 0)
			return &w->seen[i];
	return NULL;
}

void seen_clear(struct worker *w)
{
	while (w->seen_count > 0)
		free(w->seen[--w->seen_count].bytes);
}

const struct seen *seen_result(const struct worker *w, uint32_t block, uint32_t step)
{
	for (uint32_t i = w->seen_count; i-- > 0;) {
		const struct seen *s = &w->seen[i];
		struct gp_section sec;
		if (s->m.h.type != GP_WIRE_RESULT || s->m.h.step != step)
			continue;
		gp_wire_get_section(&s->m, 0, &sec);
		if (sec.block == block)
			return s;
	}
	return NULL;
}

bool seen_commit(const struct worker *w, uint8_t kind, uint32_t unit, uint32_t step)
{
	for (uint32_t n = 0; n < seen_count(w, GP_WIRE_COMMIT); n++) {
		const struct seen *s = seen_last(w, GP_WIRE_COMMIT, n);
		struct gp_commit c;
		gp_wire_get_commit(&s->m, &c);
		for (uint32_t i = 0; i < c.n; i++) {
			struct gp_commit_entry e;
			gp_wire_get_commit_entry(&s->m, i, &e);
			if (e.kind == kind && e.unit == unit && e.step == step)
				return true;
		}
	}
	return false;
}

void result_values(const struct seen *s, float *values)
{
	cr_assert(s, "there is a result");
	memcpy(values, s->m.body, s->m.body_len);
}

// ---- reference

float rig_value(uint32_t rank, uint32_t step, uint32_t block, uint32_t i)
{
	// Values of very different size, so that another order of the sum gives other bytes.
	uint32_t x = (rank * 2654435761u) ^ (step * 40503u + block * 97u + i * 2246822519u);
	x ^= x >> 15;
	x *= 2246822519u;
	x ^= x >> 13;
	float v = (float)(int32_t)x / 2147483648.0f;
	return v * (float)(1u << (3 * ((rank + i) % 7)));
}

void reference_sum(float *sum, uint32_t count, uint32_t step, uint32_t block)
{
	for (uint32_t i = 0; i < model_elems(block); i++) {
		float s = rig_value(0, step, block, i);
		for (uint32_t k = 1; k < count; k++)
			s = s + rig_value(k, step, block, i);
		sum[i] = s;
	}
}
