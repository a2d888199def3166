// SPDX-License-Identifier: BSD-3-Clause
//
// Readers of validated messages. Every offset read here was proved to lie inside the body by
// gp_wire_parse; the asserts catch a caller that reads a message as another type or past its count.
#include "wire_priv.h"

static void body_expect(const struct gp_msg *m, uint32_t type, uint32_t size)
{
	GP_ASSERT(m->h.type == type);
	GP_ASSERT(m->body_len >= size);
}

void gp_wire_get_ack(const struct gp_msg *m, struct gp_ack *a)
{
	GP_ASSERT(m->ack);
	*a = (struct gp_ack){
		.largest = gp_load64(m->ack),
		.bits = gp_load64(m->ack + 8),
		.delay_us = gp_load32(m->ack + 16),
		.flags = gp_load32(m->ack + 20),
	};
}

void gp_wire_get_hello(const struct gp_msg *m, struct gp_hello *x)
{
	GP_ASSERT(m->h.type == GP_WIRE_HELLO || m->h.type == GP_WIRE_HELLO_REPLY);
	GP_ASSERT(m->body_len >= WIRE_HELLO_BODY);
	const uint8_t *b = m->body;
	*x = (struct gp_hello){
		.versions_count = b[4],
		.size = gp_load32(b + 12),
		.nonce = gp_load64(b + 16),
		.chosen = b[48],
	};
	memcpy(x->versions, b + 5, sizeof(x->versions));
	memcpy(x->cookie, b + 24, sizeof(x->cookie));
}

void gp_wire_get_join(const struct gp_msg *m, struct gp_join *x)
{
	body_expect(m, GP_WIRE_JOIN, WIRE_JOIN_BODY);
	const uint8_t *b = m->body;
	*x = (struct gp_join){
		.nonce = gp_load64(b + 24),
		.incarnation = gp_load64(b + 32),
		.previous = gp_load64(b + 40),
		.flags = gp_load32(b + 48),
		.rank = gp_load16(b + 52),
		.world = gp_load16(b + 54),
		.payload_max = gp_load32(b + 56),
		.session = gp_load32(b + 60),
	};
	memcpy(x->cookie, b, sizeof(x->cookie));
	memcpy(x->job, b + 64, sizeof(x->job));
}

void gp_wire_get_welcome(const struct gp_msg *m, struct gp_welcome *x)
{
	body_expect(m, GP_WIRE_WELCOME, WIRE_WELCOME_BODY);
	const uint8_t *b = m->body;
	*x = (struct gp_welcome){
		.nonce = gp_load64(b),
		.session = gp_load32(b + 8),
		.job = gp_load16(b + 12),
		.cores = gp_load16(b + 14),
		.base_port = gp_load16(b + 16),
		.home = gp_load16(b + 18),
		.kind = b[20],
		.atomicity = b[21],
		.consistency = b[22],
		.flags = b[23],
		.next_step = gp_load32(b + 24),
		.heartbeat_us = gp_load32(b + 28),
		.timeout_us = gp_load32(b + 32),
		.slots = gp_load32(b + 36),
		.window = gp_load32(b + 40),
		.decision = gp_load32(b + 44),
		.payload_max = gp_load32(b + 56),
		.world = gp_load16(b + 60),
		.rank = gp_load16(b + 62),
		.incarnation = gp_load64(b + 64),
		.rto_min_us = gp_load32(b + 72),
		.rto_max_us = gp_load32(b + 76),
		.history = {.own = gp_load64(b + 48),
			.before = gp_load64(b + 80),
			.step = gp_load32(b + 88)},
	};
}

void gp_wire_get_register(const struct gp_msg *m, struct gp_register *x)
{
	body_expect(m, GP_WIRE_REGISTER, WIRE_REGISTER_BODY);
	const uint8_t *b = m->body;
	*x = (struct gp_register){
		.tensors_count = gp_load32(b),
		.first = gp_load32(b + 4),
		.n = gp_load16(b + 8),
	};
}

bool gp_wire_next_desc(const struct gp_msg *m, uint32_t *pos, struct gp_tensor_desc *d)
{
	body_expect(m, GP_WIRE_REGISTER, WIRE_REGISTER_BODY);
	uint32_t end = m->body_len - WIRE_REGISTER_BODY;
	GP_ASSERT(*pos <= end);
	if (*pos == end)
		return false;
	const uint8_t *p = m->body + WIRE_REGISTER_BODY + *pos;
	*d = (struct gp_tensor_desc){
		.priority = gp_load32(p),
		.dtype = p[4],
		.dims_count = p[5],
		.name_len = gp_load16(p + 6),
	};
	GP_ASSERT(d->dims_count <= GP_WIRE_DIMS_MAX && d->name_len <= GP_WIRE_TENSOR_NAME_MAX);
	memcpy(d->dims, p + WIRE_DESC_FIXED, d->dims_count * 8u);
	memcpy(d->name, p + WIRE_DESC_FIXED + d->dims_count * 8u, d->name_len);
	*pos += gp_wire_desc_size(d);
	return true;
}

void gp_wire_get_layout(const struct gp_msg *m, struct gp_layout *x)
{
	body_expect(m, GP_WIRE_LAYOUT, WIRE_LAYOUT_BODY);
	const uint8_t *b = m->body;
	*x = (struct gp_layout){
		.registered = gp_load32(b),
		.state = gp_load32(b + 4),
		.block_elems = gp_load32(b + 8),
		.blocks_count = gp_load32(b + 12),
		.units_count = gp_load32(b + 16),
		.flags = gp_load32(b + 20),
		.next_step = gp_load32(b + 24),
		.first = gp_load32(b + 28),
		.n = gp_load16(b + 32),
		.missing_count = gp_load16(b + 34),
		.missing_rank = gp_load16(b + 36),
	};
}

void gp_wire_get_layout_entry(const struct gp_msg *m, uint32_t i, struct gp_layout_entry *e)
{
	body_expect(m, GP_WIRE_LAYOUT, WIRE_LAYOUT_BODY);
	GP_ASSERT(i < (m->body_len - WIRE_LAYOUT_BODY) / WIRE_LAYOUT_ENTRY);
	const uint8_t *p = m->body + WIRE_LAYOUT_BODY + i * WIRE_LAYOUT_ENTRY;
	*e = (struct gp_layout_entry){
		.tensor = gp_load32(p),
		.first_block = gp_load32(p + 4),
		.unit = gp_load32(p + 8),
		.codec = gp_load32(p + 12),
	};
}

void gp_wire_get_commit(const struct gp_msg *m, struct gp_commit *x)
{
	body_expect(m, GP_WIRE_COMMIT, WIRE_COMMIT_BODY);
	*x = (struct gp_commit){.first = gp_load32(m->body), .n = gp_load16(m->body + 4)};
}

void gp_wire_get_commit_entry(const struct gp_msg *m, uint32_t i, struct gp_commit_entry *e)
{
	body_expect(m, GP_WIRE_COMMIT, WIRE_COMMIT_BODY);
	GP_ASSERT(i < (m->body_len - WIRE_COMMIT_BODY) / WIRE_COMMIT_ENTRY);
	const uint8_t *p = m->body + WIRE_COMMIT_BODY + i * WIRE_COMMIT_ENTRY;
	*e = (struct gp_commit_entry){
		.kind = p[0],
		.flags = p[1],
		.ranks = gp_load16(p + 2),
		.unit = gp_load32(p + 4),
		.step = gp_load32(p + 8),
		.view = gp_load32(p + 12),
		.lowest = gp_load16(p + 16),
	};
}

void gp_wire_get_heartbeat(const struct gp_msg *m, struct gp_heartbeat *x)
{
	body_expect(m, GP_WIRE_HEARTBEAT, WIRE_HEARTBEAT_BODY);
	*x = (struct gp_heartbeat){.known = gp_load32(m->body),
		.rtt_us = gp_load32(m->body + 4),
		.time = gp_load64(m->body + 8)};
}

void gp_wire_get_heartbeat_reply(const struct gp_msg *m, struct gp_heartbeat_reply *x)
{
	body_expect(m, GP_WIRE_HEARTBEAT_REPLY, WIRE_HEARTBEAT_REPLY_BODY);
	const uint8_t *b = m->body;
	*x = (struct gp_heartbeat_reply){
		.time = gp_load64(b),
		.generation = gp_load32(b + 8),
		.view = gp_load32(b + 12),
		.members = gp_load16(b + 16),
		.missing = gp_load16(b + 18),
		.missing_rank = gp_load16(b + 20),
		.state = gp_load16(b + 22),
		.next_step = gp_load32(b + 24),
		.view_first_step = gp_load32(b + 28),
		.lowest = gp_load16(b + 32),
		.flags = b[34],
		.ahead = gp_load32(b + 36),
	};
}

void gp_wire_get_read(const struct gp_msg *m, struct gp_read *x)
{
	body_expect(m, GP_WIRE_READ, WIRE_READ_BODY);
	const uint8_t *b = m->body;
	*x = (struct gp_read){
		.request = gp_load32(b), .clock = gp_load32(b + 4), .flags = gp_load32(b + 8)};
}

void gp_wire_get_read_reply(const struct gp_msg *m, struct gp_read_reply *x)
{
	body_expect(m, GP_WIRE_READ_REPLY, WIRE_READ_REPLY_BODY);
	const uint8_t *b = m->body;
	*x = (struct gp_read_reply){
		.request = gp_load32(b),
		.state = gp_load16(b + 4),
		.rank = gp_load16(b + 6),
		.generation = gp_load32(b + 8),
		.clock = gp_load32(b + 12),
		.bound = gp_load32(b + 16),
	};
}

void gp_wire_get_refuse(const struct gp_msg *m, struct gp_refuse *x)
{
	body_expect(m, GP_WIRE_REFUSE, WIRE_REFUSE_BODY);
	const uint8_t *b = m->body;
	*x = (struct gp_refuse){
		.reason = gp_load16(b),
		.about = b[2],
		.step = gp_load32(b + 4),
		.what = gp_load32(b + 8),
		.age_ms = gp_load32(b + 12),
		.expected = gp_load64(b + 16),
		.seen = gp_load64(b + 24),
		.nonce = gp_load64(b + 32),
		.where_port = gp_load16(b + 56),
		.text_len = gp_load16(b + 58),
	};
	GP_ASSERT(x->text_len <= GP_WIRE_TEXT_MAX);
	memcpy(x->where_ip, b + 40, sizeof(x->where_ip));
	memcpy(x->text, b + WIRE_REFUSE_BODY, x->text_len);
}

void gp_wire_get_barrier(const struct gp_msg *m, uint32_t *name, uint32_t *call)
{
	GP_ASSERT(m->h.type == GP_WIRE_BARRIER || m->h.type == GP_WIRE_BARRIER_REPLY);
	GP_ASSERT(m->body_len >= WIRE_BARRIER_BODY);
	*name = gp_load32(m->body);
	*call = gp_load32(m->body + 4);
}

uint64_t gp_wire_get_u64(const struct gp_msg *m)
{
	GP_ASSERT(m->h.type == GP_WIRE_LEAVE || m->h.type == GP_WIRE_LEAVE_REPLY ||
		  m->h.type == GP_WIRE_BUSY || m->h.type == GP_WIRE_BEAT);
	GP_ASSERT(m->body_len >= WIRE_U64_BODY);
	return gp_load64(m->body);
}
