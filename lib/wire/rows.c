// SPDX-License-Identifier: BSD-3-Clause
//
// Rows of tables on the wire.
#include "wire_priv.h"

#define CODEC_F16 4

void gp_wire_get_rows(const struct gp_msg *m, struct gp_rows_head *x)
{
	GP_ASSERT(m->h.type == GP_WIRE_PULL_ROWS || m->h.type == GP_WIRE_ROWS);
	GP_ASSERT(m->body_len >= WIRE_ROWS_BODY);
	const uint8_t *b = m->body;
	*x = (struct gp_rows_head){
		.request = gp_load32(b),
		.place = gp_load32(b + 4),
		.table = gp_load16(b + 8),
		.n = gp_load16(b + 10),
		.codec = b[12],
		.dim = gp_load16(b + 14),
	};
}

uint32_t gp_wire_put_rows(uint8_t *body, const struct gp_rows_head *x)
{
	gp_store32(body, x->request);
	gp_store32(body + 4, x->place);
	gp_store16(body + 8, x->table);
	gp_store16(body + 10, x->n);
	body[12] = x->codec;
	body[13] = 0;
	gp_store16(body + 14, x->dim);
	return WIRE_ROWS_BODY;
}

static bool ids_increase(const uint8_t *ids, uint32_t n)
{
	bool ok = true;
	for (uint32_t i = 1; i < n; i++)
		ok &= gp_load64(ids + 8 * (size_t)(i - 1)) < gp_load64(ids + 8 * (size_t)i);
	return ok;
}

bool gp_rows_push_parse(const uint8_t *payload, uint32_t len, struct gp_rows_push *p)
{
	if (len < GP_WIRE_ROWS_PUSH_HEAD)
		return false;
	uint32_t n = gp_load16(payload + 2), head = GP_WIRE_ROWS_PUSH_HEAD + 8 * n;
	uint8_t codec = payload[4];
	bool known = codec == 1 || codec == 2 || codec == CODEC_F16;
	if (n == 0 || !known || payload[5] || payload[6] || payload[7] || head > len)
		return false;
	*p = (struct gp_rows_push){
		.table = gp_load16(payload),
		.n = (uint16_t)n,
		.codec = codec,
		.ids = payload + GP_WIRE_ROWS_PUSH_HEAD,
		.values = payload + head,
		.values_len = len - head,
	};
	return ids_increase(p->ids, n);
}

bool gp_rows_push_fits(const struct gp_rows_push *p, uint32_t dim)
{
	uint64_t bytes = (uint64_t)p->n * dim * gp_rows_value_size(p->codec);
	if (((bytes + 3) & ~UINT64_C(3)) != p->values_len)
		return false;
	uint8_t rest = 0;
	for (uint64_t i = bytes; i < p->values_len; i++)
		rest |= p->values[i];
	return rest == 0;
}

void gp_rows_push_begin(uint8_t *payload, uint16_t table, uint16_t n, uint8_t codec)
{
	gp_store16(payload, table);
	gp_store16(payload + 2, n);
	payload[4] = codec;
	memset(payload + 5, 0, 3);
}
