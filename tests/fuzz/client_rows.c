// SPDX-License-Identifier: BSD-3-Clause
//
// Embed jobs under the client's fuzzer: two tables, pushes and pulls of a few rows, and answers.
#include "client_world.h"

const uint64_t table_dims[TENSORS] = {3, 16};

void rows_client_choose(struct client *k, struct gp_ccore_config *cfg, uint8_t a)
{
	static const enum gp_client_codec codecs[] = {
		GP_CLIENT_F32, GP_CLIENT_AUTO, GP_CLIENT_BF16, GP_CLIENT_F16};
	struct gp_welcome *w = &k->w;
	w->kind = GP_KIND_EMBED;
	w->consistency = a & 4 ? GP_CONSIST_SSP : GP_CONSIST_ASP;
	w->flags = 0;
	w->next_step = 1;
	cfg->compress = (struct gp_client_compress){.codec = codecs[a >> 6]};
}

// The answer to a part of the pull in hand, or what the tape says instead.
void rows_send(struct client *k, uint32_t lane)
{
	static uint8_t body[2048];
	const struct gp_ccore *c = k->c;
	uint8_t how = input_u8(&k->in), what = input_u8(&k->in);
	struct gp_header h = client_header(k, GP_WIRE_ROWS, how);
	struct gp_rows_head x = {.place = what & 3, .n = 1, .dim = 3, .codec = GP_CODEC_F32};
	uint32_t block = x.place * c->lanes_count + lane % c->lanes_count;
	if (c->laid_out && c->rows && block < c->layout.blocks_count) {
		const struct cc_part *p = &c->rows->parts[block];
		x.request = c->rows->request;
		x.table = p->table;
		x.n = (uint16_t)GP_MAX(p->n, 1);
		x.dim = (uint16_t)cc_table_dim(c, p->table);
		x.codec = c->rows->pull_codec;
	}
	if (what & 128) {
		uint32_t mask = input_u8(&k->in);
		x.request = (uint32_t)input_field(&k->in, mask, 0, x.request);
		x.place = (uint32_t)input_field(&k->in, mask, 1, x.place);
		x.table = (uint16_t)input_field(&k->in, mask, 2, x.table);
		x.n = (uint16_t)input_field(&k->in, mask, 3, x.n);
		x.dim = (uint16_t)input_field(&k->in, mask, 4, x.dim);
		x.codec = (uint8_t)input_field(&k->in, mask, 5, x.codec);
	}
	uint32_t at = gp_wire_put_rows(body, &x);
	uint64_t len = gp_align_up((uint64_t)x.n * x.dim * gp_rows_value_size(x.codec), 4);
	len = GP_MIN(len, sizeof(body) - at);
	memset(body + at, 0, len);
	memset(body + at, what, (uint64_t)x.n * x.dim % 64);
	client_send(k, lane, &h, NULL, body, at + (uint32_t)len);
}

// What the call may read or write, and not a value more.
static float *values_new(const struct gp_client_rows *x, uint32_t table)
{
	float *v = calloc(x->count * table_dims[table], sizeof(float));
	GP_ASSERT(v);
	return v;
}

// Rows of one table: some ids near each other, some of them twice.
void rows_call(struct client *k, uint8_t how)
{
	uint32_t table = how >> 3 & 1, first = input_u8(&k->in);
	struct gp_client_rows x = {.table = table, .count = 1 + first % ROWS, .ids = k->ids};
	for (uint32_t i = 0; i < x.count; i++)
		k->ids[i] = first / ROWS + (i ^ (i & first)) * UINT64_C(0x10001);
	if (first == 255)
		x.table = TENSORS;
	float **kept = &k->rows[how >> 6 & 1];
	x.values = values_new(&x, table);
	int rc = how & 64 ? gp_ccore_pull_rows(k->c, &x, 1) : gp_ccore_push_rows(k->c, &x, 1);
	client_call_check(k, rc);
	if (rc < 0) { // the one before may go on
		free(x.values);
		return;
	}
	free(*kept);
	*kept = x.values;
	if (!(how & (32 | 64)))
		gp_ccore_rows_seal(k->c);
}
