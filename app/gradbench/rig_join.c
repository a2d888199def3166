// SPDX-License-Identifier: BSD-3-Clause
//
// Before the first step: every worker joins with a cookie that it could have been given, registers
// and learns the view.
#include "rig.h"

#include <errno.h>
#include <stdio.h>

#define DESC_ROOM 1300

static void datagram(struct rig *r, const struct rig_worker *w, const struct gp_header *h,
	const void *body, uint32_t len)
{
	struct rig_frame *rf = rig_frame_take(&r->x);
	GP_ASSERT(rf);
	uint8_t *data = rf->f.data;
	uint32_t at = gp_wire_begin(data, rf->f.room, h);
	memcpy(data + at, body, len);
	rf->f.len = at + len;
	rf->f.peer = w->peer;
	rig_submit(r, &rf->f);
}

static struct gp_header session_header(struct rig *r, struct rig_worker *w, uint8_t type)
{
	return (struct gp_header){.version = GP_WIRE_VERSION,
		.type = type,
		.job = r->jobs[w->job].id,
		.rank = w->rank,
		.session = w->session,
		.epoch = r->cfg.epoch,
		.view = 1,
		.packet = ++w->packet};
}

static void join(struct rig *r, struct rig_worker *w)
{
	uint8_t body[256];
	struct gp_join j = {.nonce = 1,
		.incarnation = (uint64_t)(w - r->workers) + 1,
		.rank = w->rank,
		.world = (uint16_t)r->o.workers,
		.payload_max = r->o.mtu - 48};
	snprintf(j.job, sizeof(j.job), "%s", r->jobs[w->job].name);
	gp_cookie_make(&r->cfg.cookie_key, w->peer.ip, w->peer.port, r->now / 1000000, j.cookie);
	const struct gp_header h = {
		.version = GP_WIRE_VERSION, .type = GP_WIRE_JOIN, .rank = GP_WIRE_RANK_NONE};
	datagram(r, w, &h, body, gp_wire_put_join(body, &j));
}

static struct gp_tensor_desc tensor_desc(const struct rig *r, uint32_t t)
{
	struct gp_tensor_desc d = {.priority = t, .dtype = 1, .dims_count = 1, .name_len = 7};
	d.dims[0] = (uint64_t)r->blocks / r->o.tensors * r->block_elems;
	snprintf(d.name, sizeof(d.name), "t%06u", t);
	return d;
}

// One datagram of descriptors from `first` on; returns how many.
static uint32_t register_some(struct rig *r, struct rig_worker *w, uint32_t first)
{
	uint8_t descs[DESC_ROOM + 64], body[DESC_ROOM + 128];
	uint32_t n = 0, len = 0;
	while (first + n < r->o.tensors && len + 64 < DESC_ROOM) {
		struct gp_tensor_desc d = tensor_desc(r, first + n++);
		len += gp_wire_put_desc(descs + len, &d);
	}
	const struct gp_register reg = {
		.tensors_count = r->o.tensors, .first = first, .n = (uint16_t)n};
	uint32_t at = gp_wire_put_register(body, &reg);
	memcpy(body + at, descs, len);
	const struct gp_header h = session_header(r, w, GP_WIRE_REGISTER);
	datagram(r, w, &h, body, at + len);
	return n;
}

static void worker_learn(struct rig_worker *w, const struct gp_msg *m)
{
	if (m->h.type == GP_WIRE_WELCOME) {
		struct gp_welcome welcome;
		gp_wire_get_welcome(m, &welcome);
		w->session = welcome.session;
	} else if (m->h.type == GP_WIRE_REFUSE) {
		struct gp_refuse x;
		gp_wire_get_refuse(m, &x);
		fprintf(stderr, "gradbench: refused: %s %s\n", gp_wire_refusal_name(x.reason),
			x.text);
	} else if (m->h.type == GP_WIRE_COMMIT) {
		w->decision = m->h.decision;
	}
}

void rig_learn(struct rig *r, const struct gp_frame *f)
{
	struct rig_worker *w = &r->workers[f->peer.port - RIG_PORT];
	if (r->ready) { // in a run a worker looks no further than it must
		if (f->data[1] == GP_WIRE_COMMIT)
			w->decision = gp_load32(f->data + 32);
		return;
	}
	struct gp_msg m;
	enum gp_verdict v = gp_wire_parse(f->data, f->len, &m);
	GP_ASSERT(v == GP_VERDICT_OK);
	worker_learn(w, &m);
}

static void turns(struct rig *r, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		rig_turn(r);
	rig_xport_settle(&r->x);
}

int rig_join(struct rig *r)
{
	for (uint32_t i = 0; i < r->workers_count; i++) {
		join(r, &r->workers[i]);
		turns(r, 2);
		if (r->workers[i].session == 0)
			return -EPROTO;
	}
	for (uint32_t i = 0; i < r->workers_count; i++)
		for (uint32_t t = 0; t < r->o.tensors;) {
			t += register_some(r, &r->workers[i], t);
			turns(r, 2);
		}
	turns(r, 64);
	for (uint32_t j = 0; j < r->o.jobs; j++) {
		struct gp_job_view v;
		gp_engine_job_view(r->engine, j, &v);
		if (v.members != r->o.workers || v.block_elems != r->block_elems ||
			v.blocks_count != r->blocks) {
			fprintf(stderr,
				"gradbench: job %u has %u members, %u blocks of %u elements\n", j,
				v.members, v.blocks_count, v.block_elems);
			return -EPROTO;
		}
	}
	r->ready = true;
	return 0;
}
