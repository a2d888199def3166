// SPDX-License-Identifier: BSD-3-Clause
//
// Tables of a replicated job, at their owner: what a cut for the backup is, and what changed since
// the one before. Both come of the copies that are made of rows before they change (gp_kept.h):
// those made between two cuts name the rows that changed between them, those made since a cut are
// what these rows were in it. So copies of two intervals are held, the one that is shipped and the
// one that goes on. Home gives commits a share of what there is room for (gp_async_limit), and
// evictions have theirs, so that a commit under way always finds room: the next cut can be made.
#include "embed.h"

#include "engine_priv.h"

#include <errno.h>
#include <gp_backup_rows.h>

#define AHEAD 16 // rows whose place in the index is on its way
#define EVICTS_LEAST                                                                               \
	640 // copies beside those of commits, where rows are evicted: some turns' worth

// ---- room

// Rows that a push can have at a core.
static uint64_t push_rows(const struct gp_job_table *t, uint32_t places, uint32_t block_elems)
{
	uint32_t stride = async_stage_stride(block_elems);
	uint32_t row = sizeof(uint64_t) + t->dim * gp_rows_value_size(GP_CODEC_BF16);
	return (uint64_t)places * GP_MIN((uint32_t)EMBED_IDS_MAX, stride / row + 1);
}

uint32_t embed_point_copies(const struct gp_job_config *cfg, const struct gp_job_table *t,
	uint32_t places, uint32_t block_elems)
{
	if (!cfg->replicated)
		return 0;
	uint64_t rows = push_rows(t, places, block_elems);
	uint64_t half = t->eviction == GP_ROWS_EVICT_NONE ? rows : rows + rows / 4 + EVICTS_LEAST;
	return (uint32_t)GP_MIN(2 * half, UINT32_C(1) << 31);
}

void embed_point_shares(const struct gp_job_config *cfg, struct embed_table *t)
{
	uint32_t half = t->kept_max / 2;
	if (!cfg->replicated)
		return;
	t->evicts_max = t->cfg->eviction == GP_ROWS_EVICT_NONE ? 0 : half / 5;
	t->budget = half - t->evicts_max;
}

bool embed_point_uses(const struct gp_job_config *cfg, const struct gp_job_table *t)
{
	return cfg->replicated && t->evict_reads;
}

size_t embed_point_uses_size(const struct gp_job_config *cfg, const struct gp_job_table *t)
{
	return embed_point_uses(cfg, t) ? 2 * EMBED_USES * sizeof(uint64_t) : 0;
}

uint32_t embed_point_cost(const struct job_core *jc, const struct stage *s)
{
	const struct embed_core *e = jc->embed;
	uint64_t rows[GP_ENGINE_TABLES_MAX] = {0}, cost = 0;
	for (uint32_t i = 0; i < jc->table.blocks_count; i++) {
		const uint8_t *payload = s->payload + (size_t)jc->async->stage_stride * i;
		if (s->blocks[i].len > 0)
			rows[gp_load16(payload)] += gp_load16(payload + 2);
	}
	for (uint32_t t = 0; t < e->tables_count; t++)
		cost = GP_MAX(cost, gp_div_up(rows[t] * EMBED_COST, e->tables[t].budget));
	return (uint32_t)GP_MIN(cost, EMBED_COST);
}

bool embed_point_evicts(struct job_core *jc, struct embed_table *t, uint32_t rows)
{
	struct embed_core *e = jc->embed;
	if (!e->held || rows <= t->evicts_left)
		return true;
	e->point_wanted_due |= !e->point_wanted;
	e->point_wanted = true;
	return false;
}

// ---- digests

static uint64_t row_digest(struct job_core *jc, const struct embed_table *t, uint64_t id)
{
	struct embed_core *e = jc->embed;
	uint32_t step, dim = t->cfg->dim, floats = dim + gp_rows_state(t->rows);
	int rc = gp_rows_read(t->rows, id, e->state, e->state + dim, &step);
	GP_ASSERT(rc != -EAGAIN); // nobody else changes it
	return rc == 0 ? gp_backup_row_digest((uint32_t)(t - e->tables), id, step, e->state, floats)
		       : 0;
}

void embed_point_before(struct job_core *jc, struct embed_table *t, const uint64_t *ids, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		gp_rows_ahead(t->rows, ids[GP_MIN(i + AHEAD, n - 1)], false);
		gp_rows_ahead(t->rows, ids[GP_MIN(i + AHEAD / 2, n - 1)], true);
		t->digest -= row_digest(jc, t, ids[i]);
	}
}

void embed_point_after(struct job_core *jc, struct embed_table *t, const uint64_t *ids, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		t->digest += row_digest(jc, t, ids[i]);
}

void embed_point_evicted(struct job_core *jc, struct embed_table *t, uint64_t id)
{
	t->digest -= row_digest(jc, t, id);
	t->evicts_left -= GP_MIN(t->evicts_left, 1u);
}

// ---- uses

struct using
{
	struct embed_table *t;
	uint64_t end; // of what the next point may tell
};

static bool on_used(void *arg, uint64_t id)
{
	struct using *x = arg;
	if (x->t->uses_next == x->end)
		return false;
	x->t->uses[x->t->uses_next++ % (2 * EMBED_USES)] = id;
	return true;
}

void embed_point_use(struct job_core *jc, struct embed_table *t, const uint64_t *ids, uint32_t n)
{
	struct embed_core *e = jc->embed;
	const struct table_point *p =
		&e->points[e->point_turn & 1].tables[(uint32_t)(t - e->tables)];
	struct using x = {.t = t, .end = p->uses_to + EMBED_USES};
	uint32_t grain = t->cfg->eviction == GP_ROWS_EVICT_AGE
				 ? GP_MAX(t->cfg->evict_after / 16, 1u)
				 : EMBED_USE_GRAIN;
	const struct gp_rows_telling telling = {.grain = grain, .used = on_used, .arg = &x};
	embed_point_follow(jc);
	gp_rows_use(t->rows, ids, n, e->updates, t->uses && e->held ? &telling : NULL);
}

// ---- rows that were loaded

struct loaded {
	struct embed_table *t;
	uint32_t table;
};

static void on_loaded(void *arg, uint64_t id, uint32_t step, const float *row)
{
	const struct loaded *x = arg;
	uint32_t floats = x->t->cfg->dim + gp_rows_state(x->t->rows);
	x->t->digest += gp_backup_row_digest(x->table, id, step, row, floats);
}

void embed_point_load(struct embed_table *t, uint32_t table, float *row)
{
	struct loaded x = {t, table};
	struct gp_rows_scan scan = {.row = row, .row_seen = on_loaded, .arg = &x};
	while (gp_rows_scan(t->rows, &scan))
		;
	GP_ASSERT(scan.missed == 0); // nobody changes them
}

// ---- the owner's points

void embed_point_follow(struct job_core *jc)
{
	struct embed_core *e = jc->embed;
	const struct home_gate *g = &jc->job->home->gate;
	uint32_t now = atomic_load_explicit(&g->serial_now, memory_order_relaxed);
	if (!e->held || e->points[e->point_turn & 1].gate == now)
		return;
	for (uint32_t i = 0; i < e->tables_count; i++)
		gp_kept_hold(e->tables[i].kept, 0);
	e->held = false;
}

void embed_point_keep(struct job_core *jc, uint32_t generation, uint32_t gate)
{
	struct embed_core *e = jc->embed;
	const struct embed_point *was = &e->points[e->point_turn & 1];
	struct embed_point *p = &e->points[++e->point_turn & 1];
	bool follows = e->held && was->gate == gate;
	atomic_store_explicit(&p->made, true, memory_order_relaxed);
	p->gate = gate;
	atomic_store_explicit(&p->generation, generation, memory_order_relaxed);
	p->updates = e->updates;
	for (uint32_t i = 0; i < e->tables_count; i++) {
		struct embed_table *t = &e->tables[i];
		uint64_t next = gp_kept_next(t->kept);
		p->tables[i] = (struct table_point){.from = follows ? was->tables[i].to : next,
			.to = next,
			.rows = atomic_load_explicit(
				&gp_rows_stats(t->rows)->rows, memory_order_relaxed),
			.digest = t->digest,
			.uses_from = follows ? was->tables[i].uses_to : t->uses_next,
			.uses_to = t->uses_next};
		gp_kept_hold(t->kept, p->tables[i].from);
		t->evicts_left = t->evicts_max;
	}
	e->held = true;
	e->point_wanted = e->point_wanted_due = false;
}

// ---- the replicating thread

static const struct gp_job *job_of(const struct gp_engine *e, uint32_t job_idx)
{
	GP_ASSERT(job_idx < e->cfg.jobs_count);
	const struct gp_job *j = gp_rcu_dereference(&e->jobs[e->jobs_cfg[job_idx].id]);
	return j && cfg_embeds(j->cfg) ? j : NULL;
}

static const struct embed_point *point_of(const struct embed_core *e, uint32_t generation)
{
	for (uint32_t i = 0; i < 2; i++) {
		const struct embed_point *p = &e->points[i];
		bool made = atomic_load_explicit(&p->made, memory_order_relaxed);
		if (made &&
			atomic_load_explicit(&p->generation, memory_order_relaxed) == generation)
			return p;
	}
	return NULL;
}

struct id_list {
	uint64_t *ids;
	uint32_t n;
};

static void on_id(void *arg, uint64_t id, uint32_t step, const float *row)
{
	struct id_list *x = arg;
	(void)step, (void)row;
	GP_ASSERT(x->n < GP_BACKUP_IDS_MAX); // a segment has no more entries
	x->ids[x->n++] = id;
}

// One segment. 0: it was the last one.
static int segment_tell(const struct gp_rows *rows, struct gp_backup_ids *at, struct id_list *to)
{
	struct gp_rows_scan scan = {.next = at->next, .row_seen = on_id, .arg = to};
	bool more = gp_rows_scan(rows, &scan);
	if (scan.missed > 0)
		return -EAGAIN;
	at->next = scan.next;
	return more;
}

static bool copies_tell(const struct gp_kept *kept, uint64_t from, uint64_t to,
	struct gp_backup_ids *at, struct id_list *out)
{
	struct gp_kept_copy c;
	for (; out->n < GP_BACKUP_IDS_MAX; at->next++) {
		if (from + at->next >= to || !gp_kept_at(kept, from + at->next, &c))
			return false;
		out->ids[out->n++] = c.id;
	}
	return true;
}

// What changed, then what was only used.
static bool changed_tell(const struct embed_table *t, const struct table_point *p,
	struct gp_backup_ids *at, struct id_list *out)
{
	uint64_t copies = p->to - p->from, uses = p->uses_to - p->uses_from;
	if (at->next < copies && copies_tell(t->kept, p->from, p->to, at, out))
		return true;
	for (; out->n < GP_BACKUP_IDS_MAX && at->next < copies + uses; at->next++)
		out->ids[out->n++] = t->uses[(p->uses_from + at->next - copies) % (2 * EMBED_USES)];
	return at->next < copies + uses;
}

int gp_backup_ids(const struct gp_engine *e, uint32_t job_idx, uint32_t table, uint32_t generation,
	enum gp_backup_which which, struct gp_backup_ids *at, uint64_t ids[GP_BACKUP_IDS_MAX],
	uint32_t *n)
{
	const struct gp_job *j = job_of(e, job_idx);
	struct id_list to = {.ids = ids};
	*n = 0;
	if (!j || table >= j->tensors_count || at->core >= e->cfg.cores_count)
		return -ESTALE;
	const struct embed_core *c = j->cores[at->core].embed;
	const struct embed_point *p = point_of(c, generation);
	if (!p)
		return -ESTALE;
	const struct table_point *tp = &p->tables[table];
	const struct gp_kept *kept = c->tables[table].kept;
	int more = which == GP_BACKUP_ALL	? segment_tell(c->tables[table].rows, at, &to)
		   : which == GP_BACKUP_CHANGED ? changed_tell(&c->tables[table], tp, at, &to)
						: copies_tell(kept, tp->to, UINT64_MAX, at, &to);
	if (more < 0)
		return more;
	*n = to.n;
	if (more)
		return 1;
	at->core++;
	at->next = 0;
	return at->core < e->cfg.cores_count;
}

static const struct embed_core *core_of(const struct gp_job *j, uint32_t table, uint64_t id)
{
	return j->cores[gp_rows_owner(table, id, j->by_cores.d)].embed;
}

// Last use as of the point; of a row written so long ago that its step has wrapped, that.
static uint32_t use_at(const struct embed_point *p, uint32_t step, uint32_t used)
{
	return gp_before(p->updates, step) ? step : embed_used_at(p->updates, used);
}

// Who sees a change of the row finds the copy made before it.
int gp_backup_row(const struct gp_engine *e, uint32_t job_idx, uint32_t table, uint32_t generation,
	uint64_t id, float *row, uint32_t *step, uint32_t *used)
{
	const struct gp_job *j = job_of(e, job_idx);
	if (!j || table >= j->tensors_count)
		return -ESTALE;
	const struct embed_core *c = core_of(j, table, id);
	const struct embed_point *p = point_of(c, generation);
	const struct embed_table *t = &c->tables[table];
	struct gp_kept_copy copy;
	uint32_t dim = gp_rows_dim(t->rows);
	if (!p)
		return -ESTALE;
	int rc = gp_rows_read_use(t->rows, id, row, row + dim, step, used);
	if (rc == 0)
		*used = use_at(p, *step, *used);
	if (rc == -EAGAIN || (rc == 0 && !gp_before(p->updates, *step)))
		return rc;
	if (!gp_kept_since(t->kept, p->tables[table].to, id, &copy))
		return rc;
	if (!copy.there)
		return -ENOENT;
	memcpy(row, copy.row, sizeof(float) * (dim + gp_rows_state(t->rows)));
	*step = copy.step;
	*used = use_at(p, copy.step, copy.used);
	return 0;
}

void gp_backup_row_ahead(
	const struct gp_engine *e, uint32_t job_idx, uint32_t table, uint64_t id, bool near)
{
	const struct gp_job *j = job_of(e, job_idx);
	if (j && table < j->tensors_count)
		gp_rows_ahead(core_of(j, table, id)->tables[table].rows, id, near);
}

bool gp_backup_tables(const struct gp_engine *e, uint32_t job_idx, uint32_t generation,
	struct gp_backup_tables *out)
{
	const struct gp_job *j = job_of(e, job_idx);
	*out = (struct gp_backup_tables){0};
	for (uint32_t i = 0; j && i < e->cfg.cores_count; i++) {
		const struct embed_point *p = point_of(j->cores[i].embed, generation);
		if (!p)
			return false;
		GP_ASSERT(i == 0 || out->updates == p->updates);
		out->count = j->tensors_count;
		out->updates = p->updates;
		for (uint32_t t = 0; t < j->tensors_count; t++) {
			out->rows[t] += p->tables[t].rows;
			out->digests[t] += p->tables[t].digest;
		}
	}
	return j != NULL;
}

bool gp_backup_table_room(
	const struct gp_engine *e, uint32_t job_idx, uint32_t table, struct gp_backup_room *out)
{
	const struct gp_job *j = job_of(e, job_idx);
	if (!j || table >= j->tensors_count)
		return false;
	const struct gp_rows *any = j->cores[0].embed->tables[table].rows;
	*out = (struct gp_backup_room){.dim = gp_rows_dim(any), .state = gp_rows_state(any)};
	for (uint32_t i = 0; i < e->cfg.cores_count; i++) {
		const struct embed_table *t = &j->cores[i].embed->tables[table];
		out->rows += t->rows_room;
		out->changes += t->kept_max / 2 + (t->uses ? EMBED_USES : 0);
	}
	return true;
}
