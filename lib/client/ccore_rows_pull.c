// SPDX-License-Identifier: BSD-3-Clause
//
// A pull of rows: home grants a generation, then each part is one question and one answer, asked
// for again until it is here.
#include "ccore_rows.h"

// Rows of a table that one answer holds, and one question.
static uint32_t part_rows(const struct gp_ccore *c, uint32_t table)
{
	uint32_t block = (uint32_t)sizeof(float) * c->layout.block_elems;
	uint32_t row = cc_table_dim(c, table) * gp_rows_value_size(c->rows->pull_codec);
	return GP_MIN(block / row, block / 8);
}

// The wanted rows of (lane, table) become parts from place *place on. False: too many.
static bool parts_cut(struct gp_ccore *c, uint32_t lane, uint32_t table, uint32_t first, uint32_t n,
	uint32_t *place)
{
	uint32_t most = part_rows(c, table);
	for (uint32_t i = 0; i < n; i += most, ++*place) {
		if (*place >= c->lanes[lane].places)
			return false;
		c->rows->parts[*place * c->lanes_count + lane] = (struct cc_part){
			.first = first + i,
			.n = (uint16_t)GP_MIN(most, n - i),
			.table = (uint16_t)table,
		};
	}
	return true;
}

// Appends the rows of (lane, table). False: there are more than fit.
static bool wanted_gather(struct gp_ccore *c, const struct gp_client_rows *rows, uint32_t count,
	uint32_t lane, uint32_t table)
{
	struct cc_rows *r = c->rows;
	uint32_t dim = cc_table_dim(c, table);
	for (uint32_t k = 0; k < count; k++) {
		const struct gp_client_rows *x = &rows[k];
		bool of_it = c->tensors[x->table].number == table;
		for (uint32_t i = 0; of_it && i < x->count; i++) {
			if (gp_rows_owner(table, x->ids[i], c->lanes_count) != lane)
				continue;
			if (r->wanted_count == r->rows_max)
				return false;
			r->wanted[r->wanted_count++] = (struct cc_wanted){
				.id = x->ids[i], .to = x->values + (size_t)i * dim, .table = table};
		}
	}
	return true;
}

static bool parts_plan(struct gp_ccore *c, const struct gp_client_rows *rows, uint32_t count)
{
	struct cc_rows *r = c->rows;
	r->wanted_count = 0;
	memset(r->parts, 0, sizeof(r->parts[0]) * c->layout.blocks_count);
	for (uint32_t lane = 0; lane < c->lanes_count; lane++) {
		uint32_t place = 0;
		for (uint32_t t = 0; t < c->tensors_count; t++) {
			uint32_t first = r->wanted_count;
			if (!wanted_gather(c, rows, count, lane, t) ||
				!parts_cut(c, lane, t, first, r->wanted_count - first, &place))
				return false;
		}
	}
	return true;
}

int gp_ccore_pull_rows(struct gp_ccore *c, const struct gp_client_rows *rows, uint32_t count)
{
	if (c->error.code)
		return c->error.code;
	if (!c->laid_out || !cc_embeds(c) || c->running || c->pushed > 0 || c->rows->begun)
		return cc_refuse_call(c, -EBUSY,
			"a pull of rows is for embed jobs, after registration, between steps");
	for (uint32_t i = 0; i < count; i++)
		if (rows[i].table >= c->tensors_count)
			return cc_refuse_call(c, -EINVAL, "table %u is outside 0..%u",
				rows[i].table, c->tensors_count - 1);
	if (!parts_plan(c, rows, count))
		return cc_refuse_call(c, -ENOSPC,
			"more rows than job '%s' gives in one pull: %u parts at each core; pull "
			"fewer at once, or raise push_max in the server's configuration",
			c->cfg.job, c->lanes[0].places);
	if (c->w.flags & GP_WELCOME_STANDBY)
		cc_pull_newest(c);
	else
		cc_round_read(c, cc_is_reader(c) ? 0 : c->step, 0);
	return 0;
}

void cc_rows_fetch(struct gp_ccore *c, uint32_t generation)
{
	cc_blocks_reset(c);
	c->mode = CC_PULL;
	c->running = true;
	c->round_step = generation;
	c->rows->request++;
	for (uint32_t b = 0; b < c->layout.blocks_count; b++) {
		bool want = c->rows->parts[b].n > 0;
		c->blocks[b].want = want;
		cc_block_set(c, b, want ? CC_ACCEPTED : CC_FINAL);
	}
	for (uint32_t i = 0; i < c->lanes_count; i++) {
		c->lanes[i].pull_at = c->now;
		cc_low_advance(c, &c->lanes[i]);
	}
}

static bool part_ask(struct gp_ccore *c, struct cc_lane *l, uint32_t place)
{
	const struct cc_rows *r = c->rows;
	const struct cc_part *p = &r->parts[place * c->lanes_count + l->idx];
	struct gp_header h = {.type = GP_WIRE_PULL_ROWS, .step = c->round_step};
	struct cc_out o;
	if (!cc_send_begin(c, l, &h, &o))
		return false;
	const struct gp_rows_head x = {
		.request = r->request,
		.place = place,
		.table = p->table,
		.n = p->n,
		.dim = (uint16_t)cc_table_dim(c, p->table),
		.codec = r->pull_codec,
	};
	uint32_t at = gp_wire_put_rows(o.body, &x);
	for (uint32_t i = 0; i < p->n; i++, at += 8)
		gp_store64(o.body + at, r->wanted[p->first + i].id);
	cc_send_end(c, l, &o, at);
	return true;
}

int cc_rows_ask(struct gp_ccore *c, struct cc_lane *l, uint32_t most)
{
	int asked = 0;
	for (uint32_t p = l->low; p < l->places && (uint32_t)asked < most; p++) {
		const struct cc_block *b = &c->blocks[p * c->lanes_count + l->idx];
		if (b->state != CC_ACCEPTED || !b->want)
			continue;
		if (!part_ask(c, l, p))
			return asked > 0 ? asked : -1;
		asked++;
	}
	return asked;
}

void cc_rows_answer(struct gp_ccore *c, struct cc_lane *l, const struct gp_msg *m)
{
	struct gp_rows_head x;
	gp_wire_get_rows(m, &x);
	struct cc_rows *r = c->rows;
	uint64_t block = (uint64_t)x.place * c->lanes_count + l->idx;
	if (!c->laid_out || !r || c->mode != CC_PULL || !c->running || x.request != r->request ||
		c->read.open || m->h.step != c->round_step || block >= c->layout.blocks_count) {
		c->stats.rx_rejected++;
		return;
	}
	const struct cc_part *p = &r->parts[block];
	if (x.table != p->table || x.n != p->n || x.codec != r->pull_codec || p->n == 0 ||
		x.dim != cc_table_dim(c, p->table)) {
		c->stats.rx_rejected++;
		return;
	}
	if (c->blocks[block].state != CC_ACCEPTED) {
		c->stats.duplicates++;
		return;
	}
	uint32_t values = (uint32_t)x.n * x.dim;
	GP_ASSERT(values <= 2 * c->layout.block_elems);
	gp_codec_decode(x.codec, r->scratch, m->body + GP_WIRE_ROWS_HEAD,
		values * gp_rows_value_size(x.codec), values);
	for (uint32_t i = 0; i < x.n; i++)
		memcpy(r->wanted[p->first + i].to, r->scratch + (size_t)i * x.dim,
			sizeof(float) * x.dim);
	cc_block_set(c, (uint32_t)block, CC_FINAL);
	cc_pull_progress(c, l, x.place);
	cc_low_advance(c, l);
}
