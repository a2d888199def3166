// SPDX-License-Identifier: BSD-3-Clause
//
// What a push of rows must be, place by place: rows of this core in increasing order through all
// its places, known tables, values of their length, finite, and room for the rows that it makes.
#include "embed.h"

#include "engine_priv.h"

#include <stdio.h>

// ---- the order of rows through the places

// What is known of a place, or of a run of them.
struct edge {
	bool known;
	bool rows; // else it is passed
	uint16_t table;
	uint64_t first;
	uint64_t last;
};

static struct edge edge_of(const struct gp_rows_push *p)
{
	return (struct edge){.known = true,
		.rows = true,
		.table = p->table,
		.first = gp_rows_push_id(p, 0),
		.last = gp_rows_push_id(p, p->n - 1u)};
}

static struct edge edge_staged(const struct job_core *jc, const struct stage *s, uint32_t local)
{
	const struct edge unknown = {0}, passed = {.known = true};
	struct gp_rows_push p;
	if (!s || local >= jc->table.blocks_count || !s->blocks[local].here)
		return unknown;
	const uint8_t *payload = s->payload + (size_t)jc->async->stage_stride * local;
	if (s->blocks[local].len == 0)
		return passed;
	bool parsed = gp_rows_push_parse(payload, s->blocks[local].len, &p);
	GP_ASSERT(parsed); // it was when it came
	return edge_of(&p);
}

static bool edge_follows(const struct edge *a, const struct edge *b)
{
	if (!a->known || !b->known || !b->rows)
		return true;
	return a->rows && (a->table < b->table || (a->table == b->table && a->last < b->first));
}

// ---- one datagram

struct check {
	struct gp_core *c;
	const struct job_core *jc;
	const struct gp_header *h;
	const struct stage *stage; // of this step, NULL: none yet
	struct edge before;	   // the section before
	uint32_t before_end;	   // the place after it
	uint64_t needs[GP_ENGINE_TABLES_MAX];
	uint32_t has[GP_ENGINE_TABLES_MAX];
	struct gp_refuse refuse;
};

static const struct stage *stage_of(const struct job_core *jc, uint32_t rank, uint32_t step)
{
	const struct async_core *a = jc->async;
	const struct stage *s = &a->stages[rank * a->stages_per_rank];
	return s->used && s->step == step ? s : NULL;
}

static enum gp_verdict payload_refuse(struct check *k, uint32_t block, const char *why)
{
	k->refuse.reason = GP_REFUSAL_BAD_PAYLOAD;
	k->refuse.what = block;
	int n = snprintf(k->refuse.text, sizeof(k->refuse.text), "%s", why);
	k->refuse.text_len = (uint16_t)GP_MIN((uint32_t)n, GP_WIRE_TEXT_MAX);
	return GP_VERDICT_BAD_PAYLOAD;
}

static enum gp_verdict nonfinite_refuse(struct check *k, uint32_t block, const char *table)
{
	k->refuse.reason = GP_REFUSAL_NONFINITE;
	k->refuse.what = block;
	int n = snprintf(k->refuse.text, sizeof(k->refuse.text),
		"rank %u, table %s, step %u: a row holds NaN or infinity", k->h->rank, table,
		k->h->step);
	k->refuse.text_len = (uint16_t)GP_MIN((uint32_t)n, GP_WIRE_TEXT_MAX);
	return GP_VERDICT_NONFINITE;
}

static bool rows_are_ours(const struct check *k, const struct gp_rows_push *p)
{
	bool ours = true;
	for (uint32_t i = 0; i < p->n; i++)
		ours &= gp_rows_owner(p->table, gp_rows_push_id(p, i), k->jc->job->by_cores.d) ==
			k->c->idx;
	return ours;
}

// Rows that it may make; exact where the table is nearly full and nothing is evicted.
static uint32_t rows_needed(struct embed_core *e, const struct gp_rows_push *p)
{
	const struct embed_table *t = &e->tables[p->table];
	uint64_t rows = atomic_load_explicit(&gp_rows_stats(t->rows)->rows, memory_order_relaxed);
	bool plenty = rows + t->held + EMBED_IDS_MAX * GP_WIRE_SECTIONS_MAX <= t->rows_max;
	if (plenty || t->cfg->eviction != GP_ROWS_EVICT_NONE)
		return p->n;
	memcpy(e->pull_ids, p->ids, sizeof(uint64_t) * p->n);
	return gp_rows_absent(t->rows, e->pull_ids, p->n);
}

static enum gp_verdict section_check(
	struct check *k, const struct gp_section *s, uint32_t local, const uint8_t *payload)
{
	struct embed_core *e = k->jc->embed;
	struct gp_rows_push p;
	struct edge edge = {.known = true}, before, after;
	if (s->len > 0) {
		if (s->codec != GP_WIRE_CODEC_ROWS || s->len > k->jc->async->stage_stride ||
			!gp_rows_push_parse(payload, s->len, &p) || p.n > EMBED_IDS_MAX)
			return payload_refuse(k, s->block, "not a place of rows");
		if (p.table >= e->tables_count)
			return payload_refuse(k, s->block, "a table that the job does not have");
		const struct embed_table *t = &e->tables[p.table];
		if (!gp_rows_push_fits(&p, t->cfg->dim))
			return payload_refuse(k, s->block, "values of another length than n rows");
		if (!rows_are_ours(k, &p))
			return payload_refuse(k, s->block, "a row of another core");
		uint32_t values = p.n * t->cfg->dim;
		if (!gp_codec_finite(
			    p.codec, p.values, values * gp_rows_value_size(p.codec), values))
			return nonfinite_refuse(k, s->block, t->cfg->name);
		edge = edge_of(&p);
	}
	bool joins = k->before.known && k->before_end == local;
	before = joins ? k->before : edge_staged(k->jc, k->stage, local - 1);
	after = edge_staged(k->jc, k->stage, local + s->run);
	if (local < k->before_end || !edge_follows(&before, &edge) || !edge_follows(&edge, &after))
		return payload_refuse(k, s->block,
			"rows are not in increasing order through the places of the push");
	k->before = edge;
	k->before_end = local + s->run;
	if (edge.rows && !(k->stage && k->stage->blocks[local].here)) {
		k->needs[p.table] += rows_needed(e, &p);
		k->has[p.table] += p.n;
	}
	return GP_VERDICT_OK;
}

static enum gp_verdict full_refuse(
	struct check *k, const struct embed_table *t, uint64_t expected, uint64_t seen)
{
	bool evicts = t->cfg->eviction == GP_ROWS_EVICT_STEP;
	k->refuse.reason = GP_REFUSAL_OVER_QUOTA;
	k->refuse.expected = expected;
	k->refuse.seen = seen;
	int n = snprintf(k->refuse.text, sizeof(k->refuse.text),
		evicts ? "table %s: one push may have %llu rows at a core (a share of its "
			 "capacity), this one has %llu"
		       : "table %s is full: a core holds %llu rows of it, with this push %llu",
		t->cfg->name, (unsigned long long)expected, (unsigned long long)seen);
	k->refuse.text_len = (uint16_t)GP_MIN((uint32_t)n, GP_WIRE_TEXT_MAX);
	return GP_VERDICT_TABLE_FULL;
}

static enum gp_verdict room_check(struct check *k)
{
	for (uint32_t i = 0; i < k->jc->embed->tables_count; i++) {
		const struct embed_table *t = &k->jc->embed->tables[i];
		if (k->needs[i] == 0)
			continue;
		uint64_t rows =
			atomic_load_explicit(&gp_rows_stats(t->rows)->rows, memory_order_relaxed);
		uint64_t seen = rows + t->held + k->needs[i];
		if (t->rank_has && t->rank_has[k->h->rank] + k->has[i] > t->push_max)
			return full_refuse(k, t, t->push_max, t->rank_has[k->h->rank] + k->has[i]);
		if (seen <= t->rows_max)
			continue;
		if (t->rank_has)
			return GP_VERDICT_PUSH_BUSY;
		return full_refuse(k, t, t->rows_max, seen);
	}
	return GP_VERDICT_OK;
}

static enum gp_verdict sections_check(struct check *k, const struct gp_msg *m)
{
	const uint8_t *payload = m->body;
	for (uint32_t i = 0; i < m->h.sections; i++) {
		struct gp_section s;
		gp_wire_get_section(m, i, &s);
		enum gp_verdict v = section_check(k, &s, job_local(k->jc->job, s.block), payload);
		if (v != GP_VERDICT_OK)
			return v;
		payload += s.len;
	}
	return GP_VERDICT_OK;
}

enum gp_verdict embed_push_check(
	struct gp_core *c, struct core_session *cs, struct job_core *jc, const struct gp_msg *m)
{
	struct check k = {
		.c = c,
		.jc = jc,
		.h = &m->h,
		.stage = stage_of(jc, m->h.rank, m->h.step),
		.refuse = {.about = m->h.type, .step = m->h.step},
	};
	enum gp_verdict v = sections_check(&k, m);
	// What was counted before makes no more rows.
	if (v == GP_VERDICT_OK && gp_before(jc->async->ranks[m->h.rank].clock, m->h.step))
		v = room_check(&k);
	if (v == GP_VERDICT_PUSH_BUSY) {
		send_busy(c, cs, jc, m, UINT64_MAX >> (64 - m->h.sections));
		return v;
	}
	if (v == GP_VERDICT_OK)
		return v;
	if (v == GP_VERDICT_NONFINITE && jc->job->cfg->nonfinite == GP_NONFINITE_DROPS_RANK) {
		const struct cmd cmd = {
			.type = CMD_EXPEL, .job = jc->job->cfg->id, .session = cs->id};
		if (!core_tell_control(c, &cmd))
			return GP_VERDICT_CONTROL_FULL;
	}
	send_refuse(c, &cs->addr, &m->h, &k.refuse, cs->payload_max);
	return v;
}

// ---- rows held for pushes in waiting

static uint32_t *hold_of(struct job_core *jc, uint32_t rank, uint32_t local)
{
	return &jc->embed->place_holds[(size_t)rank * jc->table.blocks_count + local];
}

void embed_hold(struct job_core *jc, uint32_t rank, const struct stage *s, uint32_t local)
{
	struct gp_rows_push p;
	const uint8_t *payload = s->payload + (size_t)jc->async->stage_stride * local;
	if (s->blocks[local].len == 0)
		return;
	bool parsed = gp_rows_push_parse(payload, s->blocks[local].len, &p);
	GP_ASSERT(parsed);
	struct embed_table *t = &jc->embed->tables[p.table];
	uint32_t needs = rows_needed(jc->embed, &p);
	*hold_of(jc, rank, local) = needs;
	t->held += needs;
	if (t->rank_has)
		t->rank_has[rank] += p.n;
}

void embed_release(struct job_core *jc, uint32_t rank, const struct stage *s, uint32_t local)
{
	if (s->blocks[local].len == 0)
		return;
	const uint8_t *payload = s->payload + (size_t)jc->async->stage_stride * local;
	struct embed_table *t = &jc->embed->tables[gp_load16(payload)];
	uint32_t *hold = hold_of(jc, rank, local);
	GP_ASSERT(t->held >= *hold);
	t->held -= *hold;
	*hold = 0;
	if (t->rank_has)
		t->rank_has[rank] -= gp_load16(payload + 2);
}

void embed_release_all(struct job_core *jc, uint32_t rank, const struct stage *s)
{
	for (uint32_t i = 0; s->used && i < jc->table.blocks_count; i++)
		if (s->blocks[i].here)
			embed_release(jc, rank, s, i);
}
