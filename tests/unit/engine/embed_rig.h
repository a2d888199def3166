// SPDX-License-Identifier: BSD-3-Clause
//
// Embed jobs on the rig: two tables, pushes of rows place by place, pulls.
#ifndef EMBED_RIG_H
#define EMBED_RIG_H

#include "async_rig.h"

#define EMBED_TABLES 2
#define NARROW	     0 // "narrow", 3 f32
#define WIDE	     1 // "wide", 16 bf16
#define NARROW_DIM   3
#define WIDE_DIM     16

static const struct tensor embed_tables[EMBED_TABLES] = {
	{.name = "narrow", .priority = 0, .dims_count = 1, .dims = {NARROW_DIM}},
	{.name = "wide", .priority = 1, .dims_count = 1, .dims = {WIDE_DIM}},
};

static inline uint32_t embed_dim(uint32_t table)
{
	return table == NARROW ? NARROW_DIM : WIDE_DIM;
}

static inline struct rig *embed_new(uint8_t consistency, uint32_t cores, uint32_t workers)
{
	struct rig *r = async_new(consistency, GP_ATOM_STEP, workers);
	struct gp_job_config *j = &r->jobs[0];
	r->cfg.cores_count = cores;
	j->kind = GP_KIND_EMBED;
	j->memory_max = 16 << 20;
	j->push_max = 4 * 1104; // 4 places of 276 elements
	j->tables_count = EMBED_TABLES;
	j->tables[0] = (struct gp_job_table){.name = "wide",
		.rows_max = 3000,
		.dim = WIDE_DIM,
		.bf16 = true,
		.kept_percent = 100};
	j->tables[1] = (struct gp_job_table){
		.name = "narrow", .rows_max = 3000, .dim = NARROW_DIM, .kept_percent = 100};
	return r;
}

static inline void embed_enter(struct rig *r)
{
	rig_start(r);
	for (uint32_t i = 0; i < r->jobs[0].workers; i++) {
		cr_assert_eq(worker_enter(&r->w[i], (uint16_t)i), 0);
		worker_attach(&r->w[i]);
	}
}

static inline void embed_up(struct rig *r)
{
	embed_enter(r);
	for (uint32_t i = 0; i < r->jobs[0].workers; i++)
		worker_register(&r->w[i], embed_tables, EMBED_TABLES, 0, EMBED_TABLES);
	rig_run(r);
	for (uint32_t i = 0; i < r->jobs[0].workers; i++)
		cr_assert_eq(r->w[i].view, 1, "worker %u knows view 1", i);
}

static inline uint32_t embed_places_of(const struct rig *r)
{
	return rig_job(r).blocks_count / r->cfg.cores_count;
}

// The n-th id (from 0) of the table that `core` owns.
static inline uint64_t owned(const struct rig *r, uint32_t table, uint32_t core, uint32_t n)
{
	uint64_t id = 0;
	for (;; id++)
		if (gp_rows_owner(table, id, r->cfg.cores_count) == core && n-- == 0)
			return id;
}

// ---- a push, datagram by datagram

struct place {
	struct gp_section s;
	uint8_t payload[1200];
};

static inline struct place place_pass(const struct rig *r, uint32_t core, uint32_t from)
{
	uint32_t cores = r->cfg.cores_count;
	return (struct place){
		.s = {.block = from * cores + core, .run = (uint16_t)(embed_places_of(r) - from)}};
}

// Rows ids[0..n), element k of row i with gradient value + i + k.
static inline struct place place_rows(const struct rig *r, uint32_t core, uint32_t place,
	uint32_t table, const uint64_t *ids, uint32_t n, float value)
{
	struct place p = {0};
	uint32_t dim = embed_dim(table), at = GP_WIRE_ROWS_PUSH_HEAD;
	gp_rows_push_begin(p.payload, (uint16_t)table, (uint16_t)n, GP_CODEC_F32);
	for (uint32_t i = 0; i < n; i++, at += 8)
		gp_store64(p.payload + at, ids[i]);
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t k = 0; k < dim; k++, at += 4) {
			float x = value + (float)(i + k);
			memcpy(p.payload + at, &x, sizeof(x));
		}
	cr_assert_leq(at, sizeof(p.payload));
	p.s = (struct gp_section){.block = place * r->cfg.cores_count + core,
		.len = (uint16_t)at,
		.run = 1,
		.codec = GP_WIRE_CODEC_ROWS,
		.weight = 1};
	return p;
}

static inline void place_send(struct worker *w, uint32_t step, const struct place *p)
{
	worker_push(w, step, &p->s, p->payload, false);
}

static inline void pass_send(struct worker *w, uint32_t step, uint32_t core, uint32_t from)
{
	const struct place p = place_pass(w->r, core, from);
	place_send(w, step, &p);
}

// A whole push: one row of the table at its owner, the other cores get nothing.
static inline void push_row(
	struct worker *w, uint32_t step, uint32_t table, uint64_t id, float value)
{
	uint32_t owner = gp_rows_owner(table, id, w->r->cfg.cores_count);
	const struct place p = place_rows(w->r, owner, 0, table, &id, 1, value);
	place_send(w, step, &p);
	for (uint32_t core = 0; core < w->r->cfg.cores_count; core++)
		pass_send(w, step, core, core == owner);
	rig_run(w->r);
}

static inline void push_row_done(
	struct worker *w, uint32_t step, uint32_t table, uint64_t id, float value)
{
	push_row(w, step, table, id, value);
	cr_assert(seen_commit(w, GP_DECISION_COMMIT, w->rank, step), "rank %u step %u", w->rank,
		step);
}

// ---- a pull

static inline void rows_ask(struct worker *w, uint32_t core, uint32_t generation,
	const struct gp_rows_head *x, const uint64_t *ids)
{
	uint8_t body[GP_WIRE_ROWS_HEAD + 8 * 256];
	struct gp_header h = worker_header(w, core, GP_WIRE_PULL_ROWS);
	h.step = generation;
	uint32_t at = gp_wire_put_rows(body, x);
	for (uint32_t i = 0; i < x->n; i++, at += 8)
		gp_store64(body + at, ids[i]);
	worker_send(w, core, &h, NULL, body, at);
	rig_run(w->r);
}

// One row, as f32.
static inline bool row_pull(
	struct worker *w, uint32_t generation, uint32_t table, uint64_t id, float *values)
{
	static uint32_t request;
	uint32_t owner = gp_rows_owner(table, id, w->r->cfg.cores_count);
	const struct gp_rows_head x = {.request = ++request,
		.place = 9,
		.table = (uint16_t)table,
		.n = 1,
		.dim = (uint16_t)embed_dim(table),
		.codec = GP_CODEC_F32};
	rows_ask(w, owner, generation, &x, &id);
	const struct seen *s = seen_last(w, GP_WIRE_ROWS, 0);
	struct gp_rows_head y;
	if (!s)
		return false;
	gp_wire_get_rows(&s->m, &y);
	if (y.request != request)
		return false;
	cr_assert(y.place == 9 && y.table == table && y.n == 1 && s->m.h.step == generation);
	memcpy(values, s->m.body + GP_WIRE_ROWS_HEAD, sizeof(float) * embed_dim(table));
	return true;
}

// Element k is `first` + k * `more`.
static inline void expect_row(
	struct worker *w, uint32_t generation, uint32_t table, uint64_t id, float first, float more)
{
	float got[WIDE_DIM];
	cr_assert(row_pull(w, generation, table, id, got), "row %lu of generation %u", id,
		generation);
	for (uint32_t k = 0; k < embed_dim(table); k++)
		cr_assert_eq(got[k], first + (float)k * more, "row %lu of generation %u: %g", id,
			generation, (double)got[k]);
}

static inline struct gp_refuse refused_last(const struct worker *w)
{
	struct gp_refuse x;
	const struct seen *s = seen_last(w, GP_WIRE_REFUSE, 0);
	cr_assert(s, "a refusal");
	gp_wire_get_refuse(&s->m, &x);
	return x;
}

#endif
