// SPDX-License-Identifier: BSD-3-Clause
//
// Rows of one generation: as they are, where they have not changed since, else as they were kept.
#include "embed.h"

#include "engine_priv.h"

static uint32_t values_len(const struct gp_rows_head *x)
{
	return (uint32_t)gp_align_up((size_t)x->n * x->dim * gp_rows_value_size(x->codec), 4);
}

static enum gp_verdict rows_refuse(struct gp_core *c, struct core_session *cs,
	const struct gp_msg *m, const struct gp_rows_head *x, uint16_t reason, uint32_t seen)
{
	const struct gp_refuse r = {.reason = reason,
		.about = GP_WIRE_PULL_ROWS,
		.step = m->h.step,
		.what = x->place,
		.expected = x->request,
		.seen = seen};
	send_refuse(c, &cs->addr, &m->h, &r, cs->payload_max);
	return reason == GP_REFUSAL_GONE ? GP_VERDICT_GONE : GP_VERDICT_BAD_PAYLOAD;
}

// The rows asked for, and that they are this core's.
static bool ids_load(struct gp_core *c, struct job_core *jc, const struct gp_msg *m,
	const struct gp_rows_head *x)
{
	uint64_t *ids = jc->embed->pull_ids;
	bool ours = true;
	memcpy(ids, m->body + GP_WIRE_ROWS_HEAD, sizeof(uint64_t) * x->n);
	for (uint32_t i = 0; i < x->n; i++)
		ours &= gp_rows_owner(x->table, ids[i], jc->job->by_cores.d) == c->idx;
	return ours;
}

static void rows_read(struct job_core *jc, const struct gp_rows_head *x, uint32_t generation)
{
	struct embed_core *e = jc->embed;
	struct embed_table *t = &e->tables[x->table];
	gp_rows_get(t->rows, e->pull_ids, x->n, e->pull_values);
	embed_point_use(jc, t, e->pull_ids, x->n);
	for (uint32_t i = 0; i < x->n; i++) {
		bool there;
		const float *was = gp_kept_find(t->kept, e->pull_ids[i], generation, &there);
		if (was)
			memcpy(e->pull_values + (size_t)i * x->dim, was, sizeof(float) * x->dim);
	}
}

static void rows_send(struct gp_core *c, struct core_session *cs, struct job_core *jc,
	uint32_t step, const struct gp_rows_head *x, bool ack)
{
	struct gp_header h = {.type = GP_WIRE_ROWS, .flags = ack ? GP_WIRE_F_ACK : 0, .step = step};
	struct answer a;
	if (!answer_begin(c, cs, jc, &h, &a))
		return;
	uint32_t at = gp_wire_put_rows(a.body, x), values = (uint32_t)x->n * x->dim;
	uint32_t len = values_len(x);
	const struct gp_codec_src src = {.grad = jc->embed->pull_values, .elems = values};
	memset(a.body + at + len - 4, 0, 4);
	uint32_t used = gp_codec_encode(x->codec, &src, a.body + at);
	GP_ASSERT(used <= len);
	answer_send(c, cs, &a, at + len);
}

enum gp_verdict handle_pull_rows(
	struct gp_core *c, struct core_session *cs, struct job_core *jc, const struct gp_msg *m)
{
	session_ack_due(c, cs);
	if (!jc || !core_is_async(jc))
		return GP_VERDICT_NOT_READY;
	if (!jc->embed)
		return GP_VERDICT_NOT_ALLOWED;
	struct gp_rows_head x;
	gp_wire_get_rows(m, &x);
	uint32_t room = cs->payload_max - GP_WIRE_HEADER_SIZE - GP_WIRE_ROWS_HEAD;
	uint64_t values = (uint64_t)x.n * x.dim;
	if (x.table >= jc->embed->tables_count || x.dim != jc->embed->tables[x.table].cfg->dim ||
		values > EMBED_FLOATS_MAX || values_len(&x) > room)
		return rows_refuse(c, cs, m, &x, GP_REFUSAL_BAD_PAYLOAD, room);
	if (!ids_load(c, jc, m, &x))
		return GP_VERDICT_WRONG_CORE;
	if (c->idx == jc->job->home_core)
		async_pull_note(c, jc, cs->id, m->h.step);
	if (gp_before(jc->generation, m->h.step))
		return GP_VERDICT_PULL; // not yet here: the worker asks again
	if (!gp_table_cut_is_live(&jc->table, m->h.step) ||
		!gp_kept_whole(jc->embed->tables[x.table].kept, m->h.step))
		return rows_refuse(c, cs, m, &x, GP_REFUSAL_GONE, jc->generation);
	rows_read(jc, &x, m->h.step);
	bool ack = values_len(&x) + GP_WIRE_ACK_SIZE <= room;
	rows_send(c, cs, jc, m->h.step, &x, ack);
	return GP_VERDICT_PULL;
}
