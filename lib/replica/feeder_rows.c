// SPDX-License-Identifier: BSD-3-Clause
//
// What the feeder writes of tables: the rows that a cut changed, and, in a base, all of them. Rows
// of a base are read as of the newest cut that was told, some in each turn; cuts that are made
// meanwhile go first, with what they changed. So when every row has been read once, and those that
// went before their turn came, the peer has the tables as the last of those cuts has them.
#include "feeder_priv.h"

#include <errno.h>
#include <stdlib.h>

#define AHEAD_NEAR 16  // rows whose memory is on its way while one is read
#define FILL_LOOKS 64u // what a look for ids counts, of a turn's looks

int feeder_rows_create(struct feeder_job *j, struct gp_stream_error *err)
{
	if (!layout_embeds(&j->layout))
		return 0;
	j->rows = calloc(1, sizeof(*j->rows));
	return j->rows ? 0
		       : stream_fail(err, -ENOMEM, "job %s: out of memory to replicate its tables",
				 j->layout.name);
}

static void walk_begin(struct rows_walk *w, enum gp_backup_which which)
{
	w->which = which;
	w->table = 0;
	w->at = (struct gp_backup_ids){0};
	w->last = false;
	w->ids_count = w->ids_at = 0;
}

void feeder_rows_reset(struct feeder_job *j)
{
	if (!j->rows)
		return;
	walk_begin(&j->rows->base, GP_BACKUP_ALL);
	walk_begin(&j->rows->cut, GP_BACKUP_CHANGED);
	j->rows->base.records = j->rows->cut.records = 0;
	j->rows->part = BASE_ALL;
}

// ---- one table after the other

static int gone(const struct feeder_job *j, uint32_t generation, struct gp_stream_error *err)
{
	return stream_fail(
		err, -ESTALE, "job %s: rows of generation %u are gone", j->layout.name, generation);
}

// Looks for more ids. 1: maybe there are some, 0: there are none, or an error.
static int ids_fill(struct gp_feeder *f, uint32_t idx, struct rows_walk *w, uint32_t generation,
	struct gp_stream_error *err)
{
	const struct feeder_job *j = &f->jobs[idx];
	if (w->ids_at < w->ids_count)
		return 1;
	if (w->last) {
		w->table++;
		w->at = (struct gp_backup_ids){0};
		w->last = false;
	}
	w->ids_at = w->ids_count = 0;
	if (w->table == j->layout.tensors_count)
		return 0;
	int rc = gp_backup_ids(
		f->opts.engine, idx, w->table, generation, w->which, &w->at, w->ids, &w->ids_count);
	if (rc < 0 && rc != -EAGAIN)
		return gone(j, generation, err);
	f->looks -= GP_MIN(f->looks, FILL_LOOKS);
	w->last = rc == 0;
	return 1;
}

static void ahead(struct gp_feeder *f, uint32_t idx, const struct rows_walk *w, uint32_t at)
{
	if (at + 2 * AHEAD_NEAR < w->ids_count)
		gp_backup_row_ahead(
			f->opts.engine, idx, w->table, w->ids[at + 2 * AHEAD_NEAR], false);
	if (at + AHEAD_NEAR < w->ids_count)
		gp_backup_row_ahead(f->opts.engine, idx, w->table, w->ids[at + AHEAD_NEAR], true);
}

struct filled {
	size_t len;
	uint32_t at;	// next id
	uint32_t count; // records
};

// As many records as a frame takes; fewer when an owner is in the way.
static int frame_fill(struct gp_feeder *f, uint32_t idx, const struct rows_walk *w,
	uint32_t generation, struct filled *x)
{
	struct feeder_job *j = &f->jobs[idx];
	const struct layout_rows *l = &j->layout.rows[w->table];
	size_t row = sizeof(float) * (size_t)(l->dim + l->state);
	uint32_t end = w->ids_at + GP_MIN(w->ids_count - w->ids_at, GP_MAX(f->looks, 1u));
	*x = (struct filled){.len = ROWS_HEAD_SIZE, .at = w->ids_at};
	for (; x->at < end && x->len + ROW_HEAD_SIZE + row <= GP_STREAM_BODY_MAX; x->at++) {
		uint8_t *to = j->rows->body + x->len;
		uint32_t step = 0, used = 0;
		ahead(f, idx, w, x->at);
		int rc = gp_backup_row(f->opts.engine, idx, w->table, generation, w->ids[x->at],
			(float *)(void *)(to + ROW_HEAD_SIZE), &step, &used);
		if (rc == -EAGAIN)
			return 0;
		if (rc != 0 && rc != -ENOENT)
			return rc;
		if (rc != 0 && w->which != GP_BACKUP_CHANGED)
			continue; // it is not in that generation
		gp_store64(to, w->ids[x->at]);
		gp_store32(to + 8, step);
		gp_store32(to + 12, rc == 0 ? 1 + (used - step) : 0);
		x->len += ROW_HEAD_SIZE + (rc == 0 ? row : 0);
		x->count++;
	}
	return 0;
}

// One frame of rows. 1: it was written, or there is more to look for; 0: that was all.
static int walk_write(struct gp_feeder *f, uint32_t idx, struct rows_walk *w, uint32_t generation,
	struct gp_stream_error *err)
{
	struct feeder_job *j = &f->jobs[idx];
	struct filled x;
	int rc = ids_fill(f, idx, w, generation, err);
	if (rc <= 0 || w->ids_at == w->ids_count)
		return rc;
	if (frame_fill(f, idx, w, generation, &x) != 0)
		return gone(j, generation, err);
	if (x.count == 0) {
		// None of them is in it; or an owner is in the way: with the next turn.
		f->looks = x.at > w->ids_at ? f->looks - GP_MIN(f->looks, x.at - w->ids_at) : 0;
		w->ids_at = x.at;
		return 1;
	}
	uint8_t *to = stream_begin(f->stream, MSG_ROWS, x.len);
	if (!to)
		return -EAGAIN;
	memcpy(to, j->rows->body, x.len);
	gp_store16(to, j->layout.id);
	gp_store16(to + 2, (uint16_t)w->table);
	gp_store32(to + 4, generation);
	gp_store32(to + 8, w->records);
	gp_store32(to + 12, x.count);
	stream_end(f->stream);
	f->looks -= GP_MIN(f->looks, x.at - w->ids_at);
	w->records += x.count;
	w->ids_at = x.at;
	j->bytes += x.len;
	return 1;
}

// ---- what it makes of the tables

int feeder_tally_write(struct gp_feeder *f, uint32_t idx, uint32_t generation, uint32_t records,
	struct gp_stream_error *err)
{
	struct feeder_job *j = &f->jobs[idx];
	struct gp_backup_tables x;
	if (!gp_backup_tables(f->opts.engine, idx, generation, &x))
		return gone(j, generation, err);
	GP_ASSERT(x.count == j->layout.tensors_count);
	uint8_t *to =
		stream_begin(f->stream, MSG_TALLY, TALLY_HEAD_SIZE + TALLY_SIZE * (size_t)x.count);
	if (!to)
		return -EAGAIN;
	gp_store16(to, j->layout.id);
	gp_store16(to + 2, (uint16_t)x.count);
	gp_store32(to + 4, generation);
	gp_store32(to + 8, x.updates);
	gp_store32(to + 12, records);
	to += TALLY_HEAD_SIZE;
	for (uint32_t t = 0; t < x.count; t++, to += TALLY_SIZE) {
		gp_store64(to, x.rows[t]);
		gp_store64(to + 8, x.digests[t]);
	}
	stream_end(f->stream);
	return 1;
}

// ---- a cut

int feeder_rows_cut_write(
	struct gp_feeder *f, uint32_t idx, uint32_t generation, struct gp_stream_error *err)
{
	return walk_write(f, idx, &f->jobs[idx].rows->cut, generation, err);
}

void feeder_rows_cut_done(struct feeder_job *j)
{
	struct feeder_rows *r = j->rows;
	walk_begin(&r->cut, GP_BACKUP_CHANGED);
	r->cut.records = 0;
	// Who went since the cut before is in this one; who went since this one may have had no
	// turn.
	if (r->part > BASE_ALL) {
		r->part = BASE_GONE;
		walk_begin(&r->base, GP_BACKUP_GONE);
	}
}

// ---- a base

static int base_part_write(
	struct gp_feeder *f, uint32_t idx, uint32_t generation, struct gp_stream_error *err)
{
	struct feeder_rows *r = f->jobs[idx].rows;
	switch (r->part) {
	case BASE_ALL:
	case BASE_GONE:
		return walk_write(f, idx, &r->base, generation, err);
	case BASE_RANKS:
		return feeder_ranks_write(f, idx, generation, 0, err);
	case BASE_TALLY:
		return feeder_tally_write(f, idx, generation, r->base.records, err);
	case BASE_DONE:
		break;
	}
	return 0;
}

int feeder_rows_base_write(
	struct gp_feeder *f, uint32_t idx, uint32_t generation, struct gp_stream_error *err)
{
	struct feeder_rows *r = f->jobs[idx].rows;
	enum base_part part = r->part;
	if (part == BASE_DONE)
		return 0;
	int rc = base_part_write(f, idx, generation, err);
	bool walks = part == BASE_ALL || part == BASE_GONE;
	if (rc < 0 || (walks && rc == 1))
		return rc;
	r->part++;
	if (r->part == BASE_GONE)
		walk_begin(&r->base, GP_BACKUP_GONE);
	return 1;
}
