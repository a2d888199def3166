// SPDX-License-Identifier: BSD-3-Clause
#include "golden.h"

#include <stdlib.h>

static void header_compare(const struct gp_header *h, const struct gp_header *want)
{
	struct gp_header got = *h;
	SAME(version);
	SAME(type);
	SAME(flags);
	SAME(pad);
	SAME(job);
	SAME(rank);
	SAME(session);
	SAME(epoch);
	SAME(view);
	SAME(step);
	SAME(packet);
	SAME(decision);
	SAME(credit);
	SAME(sections);
	SAME(key);
}

void golden_open(struct golden *g, const char *name, const struct gp_header *want)
{
	g->v = vector_load(name);
	enum gp_verdict v = gp_wire_parse(g->v.data, g->v.len, &g->m);
	cr_assert_eq(v, GP_VERDICT_OK, "%s: %s", name, v < 0 ? "" : gp_verdict_name(v));
	header_compare(&g->m.h, want);
	cr_assert_eq(g->m.ack != NULL, (want->flags & GP_WIRE_F_ACK) != 0);
	memset(g->out, 0xaa, sizeof(g->out));
	g->body_at = gp_wire_begin(g->out, OUT_SIZE, want);
	cr_assert_eq(g->m.body, g->v.data + g->body_at);
	cr_assert_eq(g->m.body_len, g->v.len - g->body_at);
}

void golden_section(struct golden *g, uint32_t i, const struct gp_section *want)
{
	struct gp_section got;
	gp_wire_get_section(&g->m, i, &got);
	SAME(block);
	SAME(len);
	SAME(run);
	SAME(codec);
	SAME(flags);
	SAME(weight);
	gp_wire_put_section(g->out, i, want);
}

void golden_ack(struct golden *g)
{
	struct gp_ack got;
	const struct gp_ack *want = &(struct gp_ack){.largest = 0x5152535455565758,
		.bits = 0x8000000000000005,
		.delay_us = 1500,
		.flags = 1};
	gp_wire_get_ack(&g->m, &got);
	SAME(largest);
	SAME(bits);
	SAME(delay_us);
	SAME(flags);
	gp_wire_put_ack(g->out, g->m.h.sections, want);
}

void golden_close(struct golden *g, uint32_t body_len)
{
	cr_assert_eq(g->v.len, g->body_at + body_len, "%u bytes, encoded %u", g->v.len,
		g->body_at + body_len);
	for (uint32_t i = 0; i < g->v.len; i++)
		cr_assert_eq(g->v.data[i], g->out[i], "byte %u is %02x, encoded %02x", i,
			g->v.data[i], g->out[i]);
	free(g->v.data);
}

struct gp_header of_worker(uint8_t type)
{
	return (struct gp_header){
		.version = 1,
		.type = type,
		.job = 0x0203,
		.rank = 5,
		.session = 0x00070009,
		.epoch = 3,
		.view = 0x0a0b0c0d,
		.step = 0x11121314,
		.packet = 0x2122232425262728,
		.decision = 0x31323334,
	};
}

struct gp_header of_server(uint8_t type, uint8_t flags)
{
	struct gp_header h = of_worker(type);
	h.flags = flags;
	h.credit = 0x4142;
	return h;
}

struct gp_header outside_session(uint8_t type)
{
	return (struct gp_header){.version = 1, .type = type, .rank = GP_WIRE_RANK_NONE};
}
