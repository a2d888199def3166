// SPDX-License-Identifier: BSD-3-Clause
//
// Reads everything of a datagram that the validator accepted, through every reader that fits its
// type, and folds it into one number: a read out of bounds is seen by the sanitizer, and nothing is
// optimised away. Shared by the unit test and the fuzz target.
#ifndef WALK_H
#define WALK_H

#include <gp_wire.h>

static uint64_t walk_bytes(const void *p, size_t len)
{
	uint64_t h = len;
	for (size_t i = 0; i < len; i++)
		h = h * 31 + ((const uint8_t *)p)[i];
	return h;
}

// Structs are zeroed first, so that their padding is defined too.
#define WALK_GET(get, m, type)                                                                     \
	({                                                                                         \
		type x_;                                                                           \
		memset(&x_, 0, sizeof(x_));                                                        \
		get(m, &x_);                                                                       \
		walk_bytes(&x_, sizeof(x_));                                                       \
	})

static uint64_t walk_register(const struct gp_msg *m)
{
	struct gp_register r;
	gp_wire_get_register(m, &r);
	uint64_t h = 0;
	uint32_t pos = 0, n = 0;
	struct gp_tensor_desc d;
	while (gp_wire_next_desc(m, &pos, &d)) {
		h += d.priority + walk_bytes(d.name, strlen(d.name)) + d.dims[d.dims_count - 1];
		n++;
	}
	GP_ASSERT(n == r.n);
	return h;
}

static uint64_t walk_layout(const struct gp_msg *m)
{
	struct gp_layout x;
	gp_wire_get_layout(m, &x);
	uint64_t h = x.registered;
	for (uint32_t i = 0; i < x.n; i++) {
		struct gp_layout_entry e;
		gp_wire_get_layout_entry(m, i, &e);
		h += e.tensor + e.first_block + e.unit;
	}
	return h;
}

static uint64_t walk_commit(const struct gp_msg *m)
{
	struct gp_commit x;
	gp_wire_get_commit(m, &x);
	uint64_t h = x.first;
	for (uint32_t i = 0; i < x.n; i++) {
		struct gp_commit_entry e;
		gp_wire_get_commit_entry(m, i, &e);
		h += e.kind + e.flags + e.unit + e.step + e.view + e.lowest;
	}
	return h;
}

static uint64_t walk_refuse(const struct gp_msg *m)
{
	struct gp_refuse x;
	gp_wire_get_refuse(m, &x);
	GP_ASSERT(strlen(x.text) == x.text_len);
	return x.reason + walk_bytes(x.text, x.text_len) + walk_bytes(x.where_ip, 16);
}

static uint64_t walk_barrier(const struct gp_msg *m)
{
	uint32_t name = 0, state = 0;
	gp_wire_get_barrier(m, &name, &state);
	return name + state;
}

static uint64_t walk_body(const struct gp_msg *m)
{
	switch (m->h.type) {
	case GP_WIRE_HELLO:
	case GP_WIRE_HELLO_REPLY:
		return WALK_GET(gp_wire_get_hello, m, struct gp_hello);
	case GP_WIRE_JOIN:
		return WALK_GET(gp_wire_get_join, m, struct gp_join);
	case GP_WIRE_WELCOME:
		return WALK_GET(gp_wire_get_welcome, m, struct gp_welcome);
	case GP_WIRE_REGISTER:
		return walk_register(m);
	case GP_WIRE_LAYOUT:
		return walk_layout(m);
	case GP_WIRE_COMMIT:
		return walk_commit(m);
	case GP_WIRE_HEARTBEAT:
		return WALK_GET(gp_wire_get_heartbeat, m, struct gp_heartbeat);
	case GP_WIRE_HEARTBEAT_REPLY:
		return WALK_GET(gp_wire_get_heartbeat_reply, m, struct gp_heartbeat_reply);
	case GP_WIRE_BARRIER:
	case GP_WIRE_BARRIER_REPLY:
		return walk_barrier(m);
	case GP_WIRE_LEAVE:
	case GP_WIRE_LEAVE_REPLY:
	case GP_WIRE_BUSY:
	case GP_WIRE_BEAT:
		return gp_wire_get_u64(m);
	case GP_WIRE_READ:
		return WALK_GET(gp_wire_get_read, m, struct gp_read);
	case GP_WIRE_READ_REPLY:
		return WALK_GET(gp_wire_get_read_reply, m, struct gp_read_reply);
	case GP_WIRE_PULL_ROWS:
	case GP_WIRE_ROWS:
		return WALK_GET(gp_wire_get_rows, m, struct gp_rows_head);
	case GP_WIRE_REFUSE:
		return walk_refuse(m);
	default:
		return 0;
	}
}

static uint64_t walk_message(const struct gp_msg *m)
{
	uint64_t h = walk_bytes(m->body, m->body_len) + walk_body(m);
	uint32_t payload = 0;
	for (uint32_t i = 0; i < m->h.sections; i++) {
		struct gp_section s;
		gp_wire_get_section(m, i, &s);
		GP_ASSERT(s.run >= 1 && s.block <= UINT32_MAX - (s.run - 1u));
		payload += s.len;
		h += s.block + s.codec + (s.weight > 0);
	}
	if (m->h.type == GP_WIRE_PUSH || m->h.type == GP_WIRE_RESULT)
		GP_ASSERT(payload == m->body_len);
	if (m->ack)
		h += WALK_GET(gp_wire_get_ack, m, struct gp_ack);
	return h;
}

#endif
