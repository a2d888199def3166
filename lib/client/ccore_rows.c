// SPDX-License-Identifier: BSD-3-Clause
//
// A push of rows: collected and summed, then sorted and encoded place by place (docs/protocol.md,
// 5.2). From there on it goes as any contribution does.
#include "ccore_rows.h"

#include <stdlib.h>

// Rows of a table that one place holds.
static uint32_t place_rows(const struct gp_ccore *c, uint32_t table)
{
	uint32_t size = 8 + cc_table_dim(c, table) * gp_rows_value_size(c->rows->push_codec);
	uint32_t room = (uint32_t)sizeof(float) * c->layout.block_elems - GP_WIRE_ROWS_PUSH_HEAD;
	return GP_MIN(room / size, UINT16_MAX);
}

// ---- memory

// What the client was told for all tensors; auto is f32.
static uint8_t rows_codec(const struct gp_ccore *c)
{
	uint32_t codec = (uint32_t)c->cfg.compress.codec;
	return codec == 0 || codec == GP_CLIENT_AUTO ? GP_CODEC_F32 : (uint8_t)codec;
}

static bool codec_known(struct gp_ccore *c)
{
	uint8_t codec = rows_codec(c);
	if (codec == GP_CODEC_F32 || codec == GP_CODEC_BF16 || codec == GP_CODEC_F16)
		return true;
	cc_fail(c, -EINVAL, "codec %s is not for rows: an embed job takes f32, bf16 or f16",
		gp_codec_name(codec));
	return false;
}

// Each number is that of one table, and a place holds a row of it, else the server would have
// refused it.
static bool tables_fit(struct gp_ccore *c)
{
	for (uint32_t t = 0; t < c->tensors_count; t++)
		c->rows->tables[t] = UINT32_MAX;
	for (uint32_t t = 0; t < c->tensors_count; t++) {
		uint32_t *at = &c->rows->tables[c->tensors[t].number];
		if (*at != UINT32_MAX) {
			cc_fail(c, -EPROTO, "server %s: two tables have one number", c->cfg.server);
			return false;
		}
		*at = t;
	}
	for (uint32_t t = 0; t < c->tensors_count; t++)
		if (c->tensors[c->rows->tables[t]].elems > c->layout.block_elems ||
			place_rows(c, t) == 0) {
			cc_fail(c, -EPROTO, "server %s: a row of table '%s' does not fit a block",
				c->cfg.server, c->tensors[c->rows->tables[t]].d.name);
			return false;
		}
	return true;
}

static void *part_take(struct gp_ccore *c, size_t size)
{
	return c->cfg.take(c->cfg.mem_arg, size);
}

static void sizes_set(struct gp_ccore *c, struct cc_rows *r)
{
	uint32_t value = gp_rows_value_size(r->push_codec), least = UINT32_MAX;
	uint64_t bytes = sizeof(float) * (uint64_t)c->layout.block_elems * c->layout.blocks_count;
	for (uint32_t t = 0; t < c->tensors_count; t++)
		least = GP_MIN(least, 8 + value * cc_table_dim(c, t));
	r->rows_max = (uint32_t)GP_MIN(bytes / least, UINT32_C(1) << 28);
	r->floats_max = (uint32_t)GP_MIN(bytes / value, UINT32_C(1) << 30);
	uint32_t buckets = 16;
	while (buckets < 2 * r->rows_max)
		buckets *= 2;
	r->buckets_mask = buckets - 1;
}

bool cc_rows_take(struct gp_ccore *c)
{
	if (!cc_embeds(c))
		return true;
	if (!codec_known(c))
		return false;
	struct cc_rows *r = part_take(c, sizeof(*r));
	c->rows = r;
	if (r) {
		r->push_codec = rows_codec(c);
		r->pull_codec = r->push_codec == GP_CODEC_BF16 ? GP_CODEC_BF16 : GP_CODEC_F32;
		r->tables = part_take(c, sizeof(uint32_t) * c->tensors_count);
		if (r->tables && !tables_fit(c))
			return false;
	}
	if (r && r->tables) {
		sizes_set(c, r);
		size_t lists = (size_t)c->lanes_count * c->tensors_count;
		r->lane_rows = part_take(c, sizeof(uint32_t) * lists);
		r->rows = part_take(c, sizeof(r->rows[0]) * r->rows_max);
		r->values = part_take(c, sizeof(float) * r->floats_max);
		r->buckets = part_take(c, sizeof(uint32_t) * ((size_t)r->buckets_mask + 1));
		r->order = part_take(c, sizeof(uint32_t) * r->rows_max);
		r->wanted = part_take(c, sizeof(r->wanted[0]) * r->rows_max);
		r->parts = part_take(c, sizeof(r->parts[0]) * c->layout.blocks_count);
		r->scratch = part_take(c, 2 * sizeof(float) * c->layout.block_elems);
	}
	if (r && r->lane_rows && r->rows && r->values && r->buckets && r->order && r->wanted &&
		r->parts && r->scratch)
		return true;
	cc_fail(c, -ENOMEM, "no memory for the rows of a push");
	return false;
}

void cc_rows_give(struct gp_ccore *c)
{
	struct cc_rows *r = c->rows;
	if (!r)
		return;
	void *const parts[] = {r->tables, r->lane_rows, r->rows, r->values, r->buckets, r->order,
		r->wanted, r->parts, r->scratch, r};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(parts); i++)
		if (parts[i])
			c->cfg.give(c->cfg.mem_arg, parts[i]);
}

// ---- collecting

static uint32_t *bucket_find(const struct cc_rows *r, uint32_t table, uint64_t id)
{
	uint32_t at = (uint32_t)gp_rows_mix(id ^ gp_rows_mix(~(uint64_t)table)) & r->buckets_mask;
	for (;; at = (at + 1) & r->buckets_mask) {
		uint32_t i = r->buckets[at];
		if (i == 0 || (r->rows[i - 1].id == id && r->rows[i - 1].table == table))
			return &r->buckets[at];
	}
}

// Places that the lane's rows of all tables take.
static uint32_t places_needed(const struct gp_ccore *c, uint32_t lane)
{
	const uint32_t *counts = c->rows->lane_rows + (size_t)lane * c->tensors_count;
	uint64_t places = 0;
	for (uint32_t t = 0; t < c->tensors_count; t++)
		places += gp_div_up(counts[t], place_rows(c, t));
	return (uint32_t)GP_MIN(places, UINT32_MAX);
}

static bool row_add(struct gp_ccore *c, uint32_t table, uint64_t id, uint32_t *bucket)
{
	struct cc_rows *r = c->rows;
	uint32_t lane = gp_rows_owner(table, id, c->lanes_count), dim = cc_table_dim(c, table);
	uint32_t *count = &r->lane_rows[(size_t)lane * c->tensors_count + table];
	if (r->rows_count == r->rows_max || r->floats_max - r->floats_count < dim)
		return false;
	(*count)++;
	if (*count % place_rows(c, table) == 1 || place_rows(c, table) == 1) {
		if (places_needed(c, lane) > c->lanes[lane].places) {
			(*count)--;
			return false;
		}
	}
	r->rows[r->rows_count] = (struct cc_row){.id = id, .table = table, .at = r->floats_count};
	memset(r->values + r->floats_count, 0, sizeof(float) * dim);
	r->floats_count += dim;
	*bucket = ++r->rows_count;
	return true;
}

// Takes back the newest rows, in the reverse order, so that the buckets stay what they were.
static void rows_untake(struct gp_ccore *c, uint32_t count)
{
	struct cc_rows *r = c->rows;
	while (r->rows_count > count) {
		const struct cc_row *x = &r->rows[r->rows_count - 1];
		uint32_t lane = gp_rows_owner(x->table, x->id, c->lanes_count);
		*bucket_find(r, x->table, x->id) = 0;
		r->lane_rows[(size_t)lane * c->tensors_count + x->table]--;
		r->floats_count = x->at;
		r->rows_count--;
	}
}

void cc_rows_void(struct gp_ccore *c)
{
	if (!c->rows)
		return;
	rows_untake(c, 0);
	c->rows->begun = false;
}

static bool rows_find(struct gp_ccore *c, uint32_t table, const struct gp_client_rows *x)
{
	for (uint32_t i = 0; i < x->count; i++) {
		uint32_t *bucket = bucket_find(c->rows, table, x->ids[i]);
		if (*bucket == 0 && !row_add(c, table, x->ids[i], bucket))
			return false;
	}
	return true;
}

static void rows_sum(struct gp_ccore *c, uint32_t table, const struct gp_client_rows *x)
{
	struct cc_rows *r = c->rows;
	uint32_t dim = cc_table_dim(c, table);
	for (uint32_t i = 0; i < x->count; i++) {
		uint32_t row = *bucket_find(r, table, x->ids[i]) - 1;
		const float *from = x->values + (size_t)i * dim;
		float *to = r->values + r->rows[row].at;
		for (uint32_t k = 0; k < dim; k++)
			to[k] += from[k];
	}
}

static int rows_check(struct gp_ccore *c, const struct gp_client_rows *rows, uint32_t count)
{
	if (c->error.code)
		return c->error.code;
	if (!c->laid_out || !cc_embeds(c))
		return cc_refuse_call(
			c, -EINVAL, "rows are for embed jobs, after their tables are registered");
	for (uint32_t i = 0; i < count; i++)
		if (rows[i].table >= c->tensors_count)
			return cc_refuse_call(c, -EINVAL, "table %u is outside 0..%u",
				rows[i].table, c->tensors_count - 1);
	return 0;
}

int gp_ccore_push_rows(struct gp_ccore *c, const struct gp_client_rows *rows, uint32_t count)
{
	int rc = rows_check(c, rows, count);
	if (rc)
		return rc;
	if (cc_is_reader(c))
		return cc_refuse_call(c, -EINVAL, "a reader cannot contribute");
	if (c->running || c->pushed > 0)
		return cc_refuse_call(c, -EBUSY, "the step before is not over: wait for it");
	uint32_t had = c->rows->rows_count;
	for (uint32_t i = 0; i < count; i++) {
		if (rows_find(c, c->tensors[rows[i].table].number, &rows[i]))
			continue;
		rows_untake(c, had);
		return cc_refuse_call(c, -ENOSPC,
			"the push has more rows than job '%s' takes in one: %u places of %u bytes "
			"at each core; push fewer, or raise push_max in the server's configuration",
			c->cfg.job, c->lanes[0].places,
			(uint32_t)sizeof(float) * c->layout.block_elems);
	}
	for (uint32_t i = 0; i < count; i++)
		rows_sum(c, c->tensors[rows[i].table].number, &rows[i]);
	c->rows->begun = true;
	return 0;
}

// ---- sealing

static int row_compare(const void *a, const void *b, void *rows)
{
	const struct cc_row *x = (const struct cc_row *)rows + *(const uint32_t *)a;
	const struct cc_row *y = (const struct cc_row *)rows + *(const uint32_t *)b;
	if (x->table != y->table)
		return x->table < y->table ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

// Rows order[0 .. n) of one table become place `block`.
static void place_encode(
	struct gp_ccore *c, uint32_t block, uint32_t table, const uint32_t *order, uint32_t n)
{
	struct cc_rows *r = c->rows;
	struct cc_block *b = &c->blocks[block];
	uint32_t dim = cc_table_dim(c, table);
	uint8_t *to = c->kept + (size_t)block * c->kept_stride;
	uint32_t size = gp_rows_push_size(n, dim, r->push_codec);
	GP_ASSERT(size <= c->kept_stride && n > 0);
	gp_rows_push_begin(to, (uint16_t)table, (uint16_t)n, r->push_codec);
	memset(to + size - 4, 0, 4);
	uint8_t *values = to + GP_WIRE_ROWS_PUSH_HEAD + 8 * (size_t)n;
	for (uint32_t i = 0; i < n; i++) {
		const struct cc_row *x = &r->rows[order[i]];
		const struct gp_codec_src src = {.grad = r->values + x->at, .elems = dim};
		gp_store64(to + GP_WIRE_ROWS_PUSH_HEAD + 8 * (size_t)i, x->id);
		values += gp_codec_encode(r->push_codec, &src, values);
	}
	b->codec = GP_WIRE_CODEC_ROWS;
	b->len = size;
}

static void lane_encode(struct gp_ccore *c, uint32_t lane, uint32_t n)
{
	struct cc_rows *r = c->rows;
	uint32_t place = 0, lanes = c->lanes_count;
	qsort_r(r->order, n, sizeof(r->order[0]), row_compare, r->rows);
	for (uint32_t i = 0; i < n; place++) {
		uint32_t table = r->rows[r->order[i]].table, k = 0, most = place_rows(c, table);
		while (i + k < n && k < most && r->rows[r->order[i + k]].table == table)
			k++;
		GP_ASSERT(place < c->lanes[lane].places); // seen to when the rows were taken
		place_encode(c, place * lanes + lane, table, r->order + i, k);
		i += k;
	}
	for (; place < c->lanes[lane].places; place++) {
		c->blocks[place * lanes + lane].codec = GP_CODEC_NONE;
		c->blocks[place * lanes + lane].len = 0;
	}
}

void gp_ccore_rows_seal(struct gp_ccore *c)
{
	struct cc_rows *r = c->rows;
	if (c->error.code || !r || !r->begun || c->pushed > 0)
		return;
	for (uint32_t lane = 0; lane < c->lanes_count; lane++) {
		uint32_t n = 0;
		for (uint32_t i = 0; i < r->rows_count; i++)
			if (gp_rows_owner(r->rows[i].table, r->rows[i].id, c->lanes_count) == lane)
				r->order[n++] = i;
		lane_encode(c, lane, n);
	}
	rows_untake(c, 0);
	r->begun = false;
	c->mode = CC_STEP;
	c->round_step = c->step;
	c->tensors[0].weight = 1.0f;
	for (uint32_t t = 0; t < c->tensors_count; t++) {
		c->tensors[t].out = NULL;
		c->tensors[t].pushed = true;
	}
	c->pushed = c->tensors_count;
	for (uint32_t b = 0; b < c->layout.blocks_count; b++) {
		c->blocks[b].want = false;
		c->blocks[b].sent_before = false;
		cc_block_unsent(c, b);
	}
	c->phase = CC_COMMITTING;
}
