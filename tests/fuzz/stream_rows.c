// SPDX-License-Identifier: BSD-3-Clause
#include "stream_rows.h"

#include <gp_backup_rows.h>

#define JOB_ID	    7
#define RANKS	    2
#define CHANGES_MAX 6 // of a table, in one cut
#define FLOATS_MAX  8
#define BODY_MAX    1024

static const struct {
	uint32_t dim, state;
} tables[ROWS_TABLES] = {{3, 0}, {4, 4}};

// A message whose fields the tape may change: bit i of the mask is field i.
struct draft {
	struct rows_primary *p;
	struct input *in;
	uint32_t mask, field;
	size_t len;
	uint8_t body[BODY_MAX];
};

static void draft_begin(struct draft *d, struct rows_primary *p, struct input *in)
{
	*d = (struct draft){.p = p, .in = in, .mask = (uint32_t)input_take(in, 2)};
	p->bent |= d->mask != 0;
}

static void put(struct draft *d, uint32_t bytes, uint64_t value)
{
	uint64_t v = d->field < 16 ? input_field(d->in, d->mask, d->field, value) : value;
	d->field++;
	for (uint32_t i = 0; i < bytes; i++)
		d->body[d->len++] = (uint8_t)(v >> (8 * i));
}

static void draft_end(struct draft *d, enum message_type type)
{
	GP_ASSERT(d->len <= BODY_MAX);
	d->p->give(d->p->arg, type, d->body, d->len);
}

// ---- rows

static uint32_t floats_of(uint32_t table)
{
	return tables[table].dim + tables[table].state;
}

static void row_fill(uint32_t table, uint32_t id, uint32_t step, float row[FLOATS_MAX])
{
	for (uint32_t i = 0; i < floats_of(table); i++)
		row[i] = (float)(step + id) * 0.5f - (float)i;
}

static void row_put(struct rows_primary *p, struct input *in, uint32_t table, uint32_t id)
{
	const struct rows_row *r = &p->rows[table][id];
	struct draft d;
	float row[FLOATS_MAX];
	draft_begin(&d, p, in);
	put(&d, 2, JOB_ID);
	put(&d, 2, table);
	put(&d, 4, p->generation);
	put(&d, 4, p->records++);
	put(&d, 4, 1);
	put(&d, 8, id);
	put(&d, 4, r->there ? r->step : 0);
	put(&d, 4, r->there);
	row_fill(table, id, r->step, row);
	for (uint32_t i = 0; r->there && i < floats_of(table); i++) {
		uint32_t bits;
		memcpy(&bits, &row[i], sizeof(bits));
		put(&d, 4, bits);
	}
	draft_end(&d, MSG_ROWS);
}

// ---- what follows the rows of a base or a cut

static void ranks_put(struct rows_primary *p, struct input *in)
{
	struct draft d;
	draft_begin(&d, p, in);
	put(&d, 2, JOB_ID);
	put(&d, 2, RANKS);
	put(&d, 4, p->generation);
	put(&d, 4, 0); // blocks
	put(&d, 4, 0); // closed
	put(&d, 4, p->generation);
	for (uint32_t i = 0; i < RANKS; i++)
		put(&d, 4, p->generation + i);
	draft_end(&d, MSG_RANKS);
}

static uint64_t tally(const struct rows_primary *p, uint32_t table, uint64_t *digest)
{
	uint64_t count = 0;
	*digest = 0;
	for (uint32_t id = 0; id < ROWS_IDS; id++) {
		const struct rows_row *r = &p->rows[table][id];
		float row[FLOATS_MAX];
		if (!r->there)
			continue;
		row_fill(table, id, r->step, row);
		*digest += gp_backup_row_digest(table, id, r->step, row, floats_of(table));
		count++;
	}
	return count;
}

static void tally_put(struct rows_primary *p, struct input *in)
{
	struct draft d;
	draft_begin(&d, p, in);
	put(&d, 2, JOB_ID);
	put(&d, 2, ROWS_TABLES);
	put(&d, 4, p->generation);
	put(&d, 4, p->generation);
	put(&d, 4, p->records);
	for (uint32_t t = 0; t < ROWS_TABLES; t++) {
		uint64_t digest, count = tally(p, t, &digest);
		put(&d, 8, count);
		put(&d, 8, digest);
	}
	draft_end(&d, MSG_TALLY);
}

// ---- messages

void rows_meet(struct rows_primary *p)
{
	const struct gp_stream_hello hello = {.product = "fuzz", .node = 1, .life = 77};
	uint8_t body[HELLO_SIZE], feed[FEED_HEAD_SIZE] = {1};
	hello_put(body, &hello);
	p->give(p->arg, MSG_HELLO, body, sizeof(body));
	p->give(p->arg, MSG_FEED, feed, sizeof(feed));
}

static void layout_put(struct rows_primary *p, struct input *in)
{
	struct base b = {.layout = {.name = "rows",
				 .id = JOB_ID,
				 .kind = GP_KIND_EMBED,
				 .atomicity = GP_ATOM_STEP,
				 .arrays_count = 1,
				 .ranks = RANKS,
				 .block_elems = 16,
				 .tensors_count = ROWS_TABLES},
		.point = {.base = ++p->base, .decision = p->decision, .digest_every = 1},
		.generation = p->generation};
	struct draft d;
	draft_begin(&d, p, in);
	base_put(d.body, &b);
	d.len = BASE_SIZE;
	if (d.mask)
		gp_store32(d.body + d.mask % (BASE_SIZE - 4), (uint32_t)input_number(in, 1));
	draft_end(&d, MSG_BASE);
	draft_begin(&d, p, in);
	put(&d, 2, JOB_ID);
	put(&d, 2, 0);
	put(&d, 4, 0);
	for (uint32_t t = 0; t < ROWS_TABLES; t++) {
		struct gp_image_tensor x = {.name = {(char)('a' + t)},
			.dims_count = 1,
			.dims = {input_field(in, d.mask, 3 + 4 * t, tables[t].dim)},
			.state = (uint32_t)input_field(in, d.mask, 4 + 4 * t, tables[t].state),
			.rows = input_field(in, d.mask, 5 + 4 * t, ROWS_IDS),
			.changes = input_field(in, d.mask, 6 + 4 * t, CHANGES_MAX)};
		d.len = (size_t)(tensor_put(d.body + d.len, &x) - d.body);
	}
	draft_end(&d, MSG_TENSORS);
}

void rows_base(struct rows_primary *p, struct input *in)
{
	uint32_t ids = (uint32_t)input_take(in, ROWS_TABLES);
	struct draft d;
	p->generation++;
	p->decision++;
	p->records = 0;
	layout_put(p, in);
	for (uint32_t t = 0; t < ROWS_TABLES; t++)
		for (uint32_t id = 0; id < ROWS_IDS; id++) {
			struct rows_row *r = &p->rows[t][id];
			*r = (struct rows_row){
				.there = ids >> (t * ROWS_IDS + id) & 1, .step = p->generation};
			if (r->there)
				row_put(p, in, t, id);
		}
	ranks_put(p, in);
	tally_put(p, in);
	draft_begin(&d, p, in);
	put(&d, 2, JOB_ID);
	put(&d, 2, 0);
	put(&d, 4, p->decision);
	draft_end(&d, MSG_BASED);
}

static void decision_give(struct rows_primary *p, struct input *in)
{
	struct draft d;
	draft_begin(&d, p, in);
	const struct gp_decision x = {.number = (uint32_t)input_field(in, d.mask, 0, p->decision),
		.kind = (uint8_t)input_field(in, d.mask, 1, GP_DECIDED_CUT),
		.step = (uint32_t)input_field(in, d.mask, 2, p->generation),
		.unit = (uint32_t)input_field(in, d.mask, 3, 0),
		.backup = 1};
	d.field = 4;
	put(&d, 2, JOB_ID);
	put(&d, 2, 1);
	decision_put(d.body + d.len, &x);
	d.len += DECISION_SIZE;
	draft_end(&d, MSG_DECISIONS);
}

void rows_cut(struct rows_primary *p, struct input *in)
{
	p->generation++;
	p->decision++;
	p->records = 0;
	for (uint32_t n = input_u8(in) % (CHANGES_MAX + 1); n > 0; n--) {
		uint8_t which = input_u8(in);
		uint32_t table = which % ROWS_TABLES, id = which / ROWS_TABLES % ROWS_IDS;
		p->rows[table][id] = (struct rows_row){.there = which < 128, .step = p->generation};
		row_put(p, in, table, id);
	}
	ranks_put(p, in);
	tally_put(p, in);
	decision_give(p, in);
}

// ---- what comes of it

static void row_check(
	const struct rows_primary *p, const struct gp_image *m, uint32_t table, uint32_t id)
{
	const struct rows_row *r = &p->rows[table][id];
	float want[FLOATS_MAX];
	uint32_t step;
	const float *is = gp_image_row(m, JOB_ID, table, id, &step);
	GP_ASSERT((is != NULL) == r->there);
	row_fill(table, id, r->step, want);
	if (is)
		GP_ASSERT(
			step == r->step && memcmp(is, want, sizeof(float) * floats_of(table)) == 0);
}

void rows_check(const struct rows_primary *p, const struct gp_image *m)
{
	struct gp_image_view v;
	bool there = gp_image_find(m, JOB_ID, &v);
	if (p->bent)
		return;
	GP_ASSERT(there && v.based && v.generation == p->generation &&
		  v.point.decision == p->decision);
	for (uint32_t t = 0; t < ROWS_TABLES; t++)
		for (uint32_t id = 0; id < ROWS_IDS; id++)
			row_check(p, m, t, id);
}
