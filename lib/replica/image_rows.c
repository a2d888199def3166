// SPDX-License-Identifier: BSD-3-Clause
//
// Tables of rows in the image. Rows of the next cut are staged beside those that count. With the
// cut's decision they count, and then take their places, some at a time, since they can be millions
// (`settling`): nobody sees the tables between. Rows of a base count at once: until it is complete
// nobody goes on from it.
//
// A table is an array of row slots with a hash of ids (linear probing, holes are closed). What a
// slot's row adds to the table's digest is kept with it.
#include "image_priv.h"

#include <errno.h>
#include <gp_backup_rows.h>

#define SLOT_NONE UINT32_MAX
#define HEAD_SIZE IMAGE_ROW_HEAD_SIZE
#define USED_MAX  (UINT32_C(1) << 31) // 1 and the commits from a row's last write to its last use
#define AHEAD	  16		      // rows whose place in the index is on its way

struct image_row {
	uint64_t id;
	uint64_t digest;
	uint32_t step;
	uint32_t used; // newest commit when it was used last
	uint32_t next; // of a free slot
	bool live;     // it counts
};

struct image_staged {
	uint64_t id;
	uint32_t slot; // SLOT_NONE: the row is gone
};

// ---- memory

uint64_t image_rows_carve(struct image_job *j, struct carver *c)
{
	const struct layout *l = &j->layout;
	if (!layout_embeds(l))
		return 0;
	j->tables = image_carve(c, sizeof(j->tables[0]) * l->tensors_count);
	for (uint32_t i = 0; i < l->tensors_count; i++) {
		// Sizes before there is memory.
		const struct layout_rows *r = &l->rows[i];
		uint64_t slots = r->rows + r->changes, index = gp_pow2_up(slots + slots / 2);
		struct image_table t = {.floats = r->dim + r->state,
			.dim = r->dim,
			.slots_max = (uint32_t)slots,
			.staged_max = (uint32_t)r->changes,
			.mask = (uint32_t)index - 1};
		t.index = image_carve(c, sizeof(uint32_t) * index);
		t.heads = image_carve(c, sizeof(struct image_row) * slots);
		t.rows = image_carve(c, sizeof(float) * slots * t.floats);
		t.staged = image_carve(c, sizeof(struct image_staged) * r->changes);
		if (c->mem)
			j->tables[i] = t;
	}
	return c->used;
}

void image_rows_begin(struct image_job *j)
{
	for (uint32_t i = 0; layout_embeds(&j->layout) && i < j->layout.tensors_count; i++) {
		struct image_table *t = &j->tables[i];
		if (t->used > 0) // else it is zeros, and its pages need not be touched
			memset(t->index, 0, sizeof(uint32_t) * ((size_t)t->mask + 1));
		t->used = t->count = t->staged_count = t->settled = 0;
		t->free = SLOT_NONE;
		t->digest = 0;
		t->key = gp_rows_mix(j->point.base + i);
	}
	j->rows_came = j->rows_staged = 0;
	j->tallies[0].generation = j->tallies[1].generation = GP_IMAGE_NONE;
	j->differs = j->settling = false;
}

// ---- the hash

static uint32_t home_of(const struct image_table *t, uint64_t id)
{
	return (uint32_t)gp_rows_mix(id ^ t->key) & t->mask;
}

// The place of the id, or where it would be.
static uint32_t index_seek(const struct image_table *t, uint64_t id)
{
	uint32_t at = home_of(t, id);
	while (t->index[at] != 0 && t->heads[t->index[at] - 1].id != id)
		at = (at + 1) & t->mask;
	return at;
}

// Closes the hole: who was pushed beyond it comes back.
static void index_remove(struct image_table *t, uint32_t hole)
{
	for (uint32_t at = (hole + 1) & t->mask; t->index[at] != 0; at = (at + 1) & t->mask) {
		uint32_t home = home_of(t, t->heads[t->index[at] - 1].id);
		if (((at - home) & t->mask) < ((at - hole) & t->mask))
			continue;
		t->index[hole] = t->index[at];
		hole = at;
	}
	t->index[hole] = 0;
}

// ---- slots

static uint32_t slot_take(struct image_table *t)
{
	uint32_t slot = t->free;
	if (slot != SLOT_NONE)
		t->free = t->heads[slot].next;
	else if (t->used < t->slots_max)
		slot = t->used++;
	return slot;
}

static void slot_give(struct image_table *t, uint32_t slot)
{
	t->heads[slot].live = false;
	t->heads[slot].next = t->free;
	t->free = slot;
}

static float *slot_row(const struct image_table *t, uint32_t slot)
{
	return t->rows + (size_t)slot * t->floats;
}

static void slot_fill(struct image_table *t, uint32_t slot, uint32_t table, const uint8_t *record)
{
	struct image_row *h = &t->heads[slot];
	memcpy(slot_row(t, slot), record + HEAD_SIZE, sizeof(float) * t->floats);
	h->id = gp_load64(record);
	h->step = gp_load32(record + 8);
	h->used = h->step + gp_load32(record + 12) - 1;
	h->digest = gp_backup_row_digest(table, h->id, h->step, slot_row(t, slot), t->floats);
	h->live = false;
}

static void row_drop(struct image_table *t, uint64_t id)
{
	uint32_t at = index_seek(t, id);
	if (t->index[at] == 0)
		return;
	uint32_t slot = t->index[at] - 1;
	index_remove(t, at);
	t->digest -= t->heads[slot].digest;
	t->count--;
	slot_give(t, slot);
}

// The row in this slot counts from now on.
static void row_show(struct image_table *t, uint32_t slot)
{
	struct image_row *h = &t->heads[slot];
	uint32_t at = index_seek(t, h->id);
	if (t->index[at] != 0) {
		uint32_t old = t->index[at] - 1;
		t->digest -= t->heads[old].digest;
		slot_give(t, old);
	} else {
		t->count++;
	}
	t->index[at] = slot + 1;
	t->digest += h->digest;
	h->live = true;
}

// ---- what the primary tells

static void staged_drop(struct image_job *j)
{
	for (uint32_t i = 0; i < j->layout.tensors_count; i++) {
		struct image_table *t = &j->tables[i];
		while (t->staged_count > 0) {
			const struct image_staged *s = &t->staged[--t->staged_count];
			if (s->slot != SLOT_NONE)
				slot_give(t, s->slot);
		}
	}
	j->rows_staged = 0;
}

static int full(const struct image_job *j, uint32_t table, struct gp_image_error *err)
{
	return image_fail(err, -EPROTO, "job %s: more rows of table %s than there may be",
		j->layout.name, j->tensors[table].name);
}

static int record_take(struct image_job *j, uint32_t table, const uint8_t *record, bool staged,
	struct gp_image_error *err)
{
	struct image_table *t = &j->tables[table];
	bool there = gp_load32(record + 12) != 0;
	if (!there && !staged) {
		row_drop(t, gp_load64(record));
		return 0;
	}
	if (staged && t->staged_count == t->staged_max)
		return full(j, table, err);
	uint32_t slot = there ? slot_take(t) : SLOT_NONE;
	if (there && slot == SLOT_NONE)
		return full(j, table, err);
	if (there)
		slot_fill(t, slot, table, record);
	if (staged)
		t->staged[t->staged_count++] =
			(struct image_staged){.id = gp_load64(record), .slot = slot};
	else
		row_show(t, slot);
	return 0;
}

// What these records are to the image: of the base, of the next cut, or of one that it has.
static enum image_verdict rows_judge(const struct image_job *j, uint32_t generation)
{
	if (!j->based && generation == j->generation)
		return IMAGE_TAKE;
	return gp_before(j->generation, generation) ? IMAGE_TAKE : IMAGE_IGNORE;
}

static int rows_check(
	const struct image_job *j, const struct gp_image_rows *r, struct gp_image_error *err)
{
	bool staged = r->generation != j->generation;
	uint32_t came = staged ? j->rows_staged : j->rows_came;
	if (!layout_embeds(&j->layout) || r->table >= j->layout.tensors_count)
		return image_fail(
			err, -EPROTO, "job %s: rows of table %u", j->layout.name, r->table);
	bool anew = staged && r->before == 0; // the cut before was given up, or comes again
	if (rows_judge(j, r->generation) == IMAGE_TAKE && !anew && r->before != came)
		return image_fail(err, -EPROTO,
			"job %s: rows of generation %u after %u of them, %u came", j->layout.name,
			r->generation, r->before, came);
	return 0;
}

int gp_image_rows(struct gp_image *m, const struct gp_image_rows *r, struct gp_image_error *err)
{
	struct image_job *j = image_known(m, r->id, err);
	int rc = j ? rows_check(j, r, err) : err->code;
	if (rc != 0)
		return rc;
	bool staged = r->generation != j->generation;
	size_t row = HEAD_SIZE + sizeof(float) * (size_t)j->tables[r->table].floats, at = 0;
	if (rows_judge(j, r->generation) == IMAGE_IGNORE)
		return 0;
	if (staged && r->before == 0)
		staged_drop(j);
	for (uint32_t i = 0; i < r->count; i++) {
		uint32_t there =
			r->len - at < HEAD_SIZE ? UINT32_MAX : gp_load32(r->bytes + at + 12);
		size_t size = there ? row : HEAD_SIZE;
		if (there > USED_MAX || r->len - at < size)
			return image_fail(err, -EPROTO, "job %s: %zu bytes for %u rows",
				j->layout.name, r->len, r->count);
		rc = record_take(j, r->table, r->bytes + at, staged, err);
		if (rc != 0)
			return rc;
		at += size;
		*(staged ? &j->rows_staged : &j->rows_came) += 1;
	}
	return at == r->len ? 0
			    : image_fail(err, -EPROTO, "job %s: %zu bytes for %u rows",
				      j->layout.name, r->len, r->count);
}

int gp_image_tally(struct gp_image *m, const struct gp_image_tally *x, struct gp_image_error *err)
{
	struct image_job *j = image_known(m, x->id, err);
	if (!j)
		return err->code;
	if (!layout_embeds(&j->layout) || x->count != j->layout.tensors_count)
		return image_fail(
			err, -EPROTO, "job %s: a tally of %u tables", j->layout.name, x->count);
	struct image_tally *to = &j->tallies[j->ranks_now ^ 1];
	to->generation = x->generation;
	to->updates = x->updates;
	to->records = x->records;
	for (uint32_t i = 0; i < x->count; i++) {
		to->rows[i] = gp_load64(x->bytes + 16 * (size_t)i);
		to->digests[i] = gp_load64(x->bytes + 16 * (size_t)i + 8);
	}
	return 0;
}

// ---- cuts

int image_rows_check(
	const struct image_job *j, uint32_t generation, bool base, struct gp_image_error *err)
{
	const struct image_tally *x = &j->tallies[j->ranks_now ^ 1];
	uint32_t came = base ? j->rows_came : j->rows_staged;
	if (!layout_embeds(&j->layout) || (x->generation == generation && x->records == came))
		return 0;
	return image_fail(err, -EPROTO, "job %s: generation %u, of %u rows %u came, %s their sum",
		j->layout.name, generation, x->generation == generation ? x->records : 0, came,
		x->generation == generation ? "with" : "without");
}

void image_rows_commit(struct image_job *j)
{
	j->rows_staged = 0;
	j->settling = layout_embeds(&j->layout);
}

static void staged_ahead(const struct image_table *t, uint32_t k)
{
	if (k + AHEAD < t->staged_count)
		__builtin_prefetch(&t->index[home_of(t, t->staged[k + AHEAD].id)], 1);
	if (k + AHEAD / 2 >= t->staged_count)
		return;
	uint32_t slot = t->index[home_of(t, t->staged[k + AHEAD / 2].id)];
	if (slot != 0)
		__builtin_prefetch(&t->heads[slot - 1], 1);
}

// Returns how many more may follow.
static uint32_t table_settle(struct image_table *t, uint32_t rows)
{
	uint32_t first = t->settled, end = first + GP_MIN(rows, t->staged_count - first);
	for (uint32_t k = first; k < end; k++) {
		const struct image_staged *s = &t->staged[k];
		staged_ahead(t, k);
		if (s->slot == SLOT_NONE)
			row_drop(t, s->id);
		else
			row_show(t, s->slot);
	}
	t->settled = end;
	return rows - (end - first);
}

bool image_rows_settle(struct image_job *j, uint32_t rows)
{
	bool all = true;
	if (!j->settling)
		return false;
	for (uint32_t i = 0; i < j->layout.tensors_count; i++) {
		struct image_table *t = &j->tables[i];
		rows = table_settle(t, rows);
		all &= t->settled == t->staged_count;
	}
	if (!all)
		return true;
	for (uint32_t i = 0; i < j->layout.tensors_count; i++)
		j->tables[i].staged_count = j->tables[i].settled = 0;
	j->settling = false;
	if (j->based)
		image_rows_compare(j);
	return false;
}

static void settle_all(struct image_job *j)
{
	bool more = image_rows_settle(j, UINT32_MAX);
	GP_ASSERT(!more);
}

bool gp_image_settle(struct gp_image *m, uint16_t id, uint32_t rows)
{
	struct image_job *j = image_find(m, id);
	bool more = j && image_rows_settle(j, rows);
	if (j && j->next)
		more |= image_rows_settle(j->next, rows);
	return more;
}

// After tallies were turned.
void image_rows_compare(struct image_job *j)
{
	const struct image_tally *x = &j->tallies[j->ranks_now];
	uint64_t ours = 0, theirs = 0;
	bool same = true;
	if (!layout_embeds(&j->layout))
		return;
	for (uint32_t i = 0; i < j->layout.tensors_count; i++) {
		const struct image_table *t = &j->tables[i];
		same &= t->count == x->rows[i] && t->digest == x->digests[i];
		ours += t->digest + gp_rows_mix(t->count);
		theirs += x->digests[i] + gp_rows_mix(x->rows[i]);
	}
	j->digested = j->point.digest_every > 0;
	j->digest_step = j->generation;
	j->digest = ours;
	j->digest_theirs = theirs;
	j->differs = j->digested && !same;
}

bool gp_image_differs(const struct gp_image *m, uint16_t id, uint64_t *ours, uint64_t *theirs)
{
	struct image_job *j = image_find(m, id);
	if (j)
		settle_all(j);
	if (!j || !j->differs)
		return false;
	*ours = j->digest;
	*theirs = j->digest_theirs;
	return true;
}

// ---- what it holds

static uint32_t slot_of(const struct gp_image *m, uint16_t id, uint32_t table, uint64_t row,
	const struct image_table **t)
{
	struct image_job *j = image_find(m, id);
	if (!j || !layout_embeds(&j->layout) || table >= j->layout.tensors_count)
		return SLOT_NONE;
	settle_all(j);
	*t = &j->tables[table];
	uint32_t at = (*t)->index[index_seek(*t, row)];
	return at == 0 ? SLOT_NONE : at - 1;
}

const float *gp_image_row(
	const struct gp_image *m, uint16_t id, uint32_t table, uint64_t row, uint32_t *step)
{
	const struct image_table *t;
	uint32_t slot = slot_of(m, id, table, row, &t);
	if (slot == SLOT_NONE)
		return NULL;
	*step = t->heads[slot].step;
	return slot_row(t, slot);
}

uint64_t gp_image_rows_count(const struct gp_image *m, uint16_t id, uint32_t table)
{
	struct image_job *j = image_find(m, id);
	bool any = j && layout_embeds(&j->layout) && table < j->layout.tensors_count;
	if (any)
		settle_all(j);
	return any ? j->tables[table].count : 0;
}

// What goes on from it takes the last use for the last write: eviction alone asks.
static const float *row_next(void *arg, uint64_t *at, uint64_t *id, uint32_t *step)
{
	const struct image_table *t = arg;
	while (*at < t->used && !t->heads[*at].live)
		++*at;
	if (*at == t->used)
		return NULL;
	const struct image_row *h = &t->heads[*at];
	*id = h->id;
	*step = h->used;
	return slot_row(t, (uint32_t)(*at)++);
}

void image_rows_restore(struct image_job *j, uint32_t t, struct gp_restore_tensor *out)
{
	struct image_table *x = &j->tables[t];
	x->restore = (struct gp_restore_rows){.count = x->count,
		.updates = j->tallies[j->ranks_now].updates,
		.next = row_next,
		.arg = x,
		.state = x->floats - x->dim};
	*out = (struct gp_restore_tensor){.name = j->tensors[t].name,
		.dims_count = j->tensors[t].dims_count,
		.dims = j->tensors[t].dims,
		.rows = &x->restore};
}
