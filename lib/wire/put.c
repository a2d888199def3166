// SPDX-License-Identifier: BSD-3-Clause
//
// Writers. Each writes every byte of its part, reserved ones as zero, so that nothing of the
// buffer's past leaves the machine. Room is the caller's duty; gp_wire_begin (gp_wire_hot.h)
// proves it for the parts before the body.
#include "wire_priv.h"

uint32_t gp_wire_put_hello(uint8_t *body, const struct gp_hello *x)
{
	GP_ASSERT(x->versions_count >= 1 && x->versions_count <= GP_WIRE_VERSIONS_MAX);
	memset(body, 0, WIRE_HELLO_BODY);
	gp_store32(body, GP_WIRE_MAGIC);
	body[4] = x->versions_count;
	memcpy(body + 5, x->versions, x->versions_count);
	gp_store32(body + 12, x->size);
	gp_store64(body + 16, x->nonce);
	memcpy(body + 24, x->cookie, sizeof(x->cookie));
	body[48] = x->chosen;
	return WIRE_HELLO_BODY;
}

uint32_t gp_wire_put_join(uint8_t *body, const struct gp_join *x)
{
	size_t name_len = strnlen(x->job, sizeof(x->job));
	GP_ASSERT(name_len < sizeof(x->job));
	memcpy(body, x->cookie, sizeof(x->cookie));
	gp_store64(body + 24, x->nonce);
	gp_store64(body + 32, x->incarnation);
	gp_store64(body + 40, x->previous);
	gp_store32(body + 48, x->flags);
	gp_store16(body + 52, x->rank);
	gp_store16(body + 54, x->world);
	gp_store32(body + 56, x->payload_max);
	gp_store32(body + 60, x->session);
	memset(body + 64, 0, GP_WIRE_JOB_NAME_SIZE);
	memcpy(body + 64, x->job, name_len);
	return WIRE_JOIN_BODY;
}

uint32_t gp_wire_put_welcome(uint8_t *body, const struct gp_welcome *x)
{
	gp_store64(body, x->nonce);
	gp_store32(body + 8, x->session);
	gp_store16(body + 12, x->job);
	gp_store16(body + 14, x->cores);
	gp_store16(body + 16, x->base_port);
	gp_store16(body + 18, x->home);
	body[20] = x->kind;
	body[21] = x->atomicity;
	body[22] = x->consistency;
	body[23] = x->flags;
	gp_store32(body + 24, x->next_step);
	gp_store32(body + 28, x->heartbeat_us);
	gp_store32(body + 32, x->timeout_us);
	gp_store32(body + 36, x->slots);
	gp_store32(body + 40, x->window);
	gp_store32(body + 44, x->decision);
	gp_store64(body + 48, x->history.own);
	gp_store32(body + 56, x->payload_max);
	gp_store16(body + 60, x->world);
	gp_store16(body + 62, x->rank);
	gp_store64(body + 64, x->incarnation);
	gp_store32(body + 72, x->rto_min_us);
	gp_store32(body + 76, x->rto_max_us);
	gp_store64(body + 80, x->history.before);
	gp_store32(body + 88, x->history.step);
	gp_store32(body + 92, 0);
	return WIRE_WELCOME_BODY;
}

uint32_t gp_wire_put_register(uint8_t *body, const struct gp_register *x)
{
	gp_store32(body, x->tensors_count);
	gp_store32(body + 4, x->first);
	gp_store16(body + 8, x->n);
	memset(body + 10, 0, 6);
	return WIRE_REGISTER_BODY;
}

uint32_t gp_wire_desc_size(const struct gp_tensor_desc *d)
{
	return wire_desc_padded(wire_desc_used(d->dims_count, d->name_len));
}

uint32_t gp_wire_put_desc(uint8_t *at, const struct gp_tensor_desc *d)
{
	GP_ASSERT(d->dims_count >= 1 && d->dims_count <= GP_WIRE_DIMS_MAX);
	GP_ASSERT(d->name_len >= 1 && d->name_len <= GP_WIRE_TENSOR_NAME_MAX);
	uint32_t used = wire_desc_used(d->dims_count, d->name_len);
	uint32_t size = wire_desc_padded(used);
	gp_store32(at, d->priority);
	at[4] = d->dtype;
	at[5] = d->dims_count;
	gp_store16(at + 6, d->name_len);
	memcpy(at + WIRE_DESC_FIXED, d->dims, d->dims_count * 8u);
	memcpy(at + used - d->name_len, d->name, d->name_len);
	memset(at + used, 0, size - used);
	return size;
}

uint32_t gp_wire_put_layout(uint8_t *body, const struct gp_layout *x)
{
	gp_store32(body, x->registered);
	gp_store32(body + 4, x->state);
	gp_store32(body + 8, x->block_elems);
	gp_store32(body + 12, x->blocks_count);
	gp_store32(body + 16, x->units_count);
	gp_store32(body + 20, x->flags);
	gp_store32(body + 24, x->next_step);
	gp_store32(body + 28, x->first);
	gp_store16(body + 32, x->n);
	gp_store16(body + 34, x->missing_count);
	gp_store16(body + 36, x->missing_rank);
	gp_store16(body + 38, 0);
	return WIRE_LAYOUT_BODY;
}

uint32_t gp_wire_put_layout_entry(uint8_t *at, const struct gp_layout_entry *e)
{
	gp_store32(at, e->tensor);
	gp_store32(at + 4, e->first_block);
	gp_store32(at + 8, e->unit);
	gp_store32(at + 12, e->codec);
	return WIRE_LAYOUT_ENTRY;
}

uint32_t gp_wire_put_commit(uint8_t *body, const struct gp_commit *x)
{
	GP_ASSERT(x->n >= 1 && x->n <= GP_WIRE_COMMITS_MAX);
	gp_store32(body, x->first);
	gp_store16(body + 4, x->n);
	gp_store16(body + 6, 0);
	return WIRE_COMMIT_BODY;
}

uint32_t gp_wire_put_commit_entry(uint8_t *at, const struct gp_commit_entry *e)
{
	at[0] = e->kind;
	at[1] = e->flags;
	gp_store16(at + 2, e->ranks);
	gp_store32(at + 4, e->unit);
	gp_store32(at + 8, e->step);
	gp_store32(at + 12, e->view);
	gp_store16(at + 16, e->lowest);
	memset(at + 18, 0, 6);
	return WIRE_COMMIT_ENTRY;
}

uint32_t gp_wire_put_heartbeat(uint8_t *body, const struct gp_heartbeat *x)
{
	gp_store32(body, x->known);
	gp_store32(body + 4, x->rtt_us);
	gp_store64(body + 8, x->time);
	return WIRE_HEARTBEAT_BODY;
}

uint32_t gp_wire_put_heartbeat_reply(uint8_t *body, const struct gp_heartbeat_reply *x)
{
	gp_store64(body, x->time);
	gp_store32(body + 8, x->generation);
	gp_store32(body + 12, x->view);
	gp_store16(body + 16, x->members);
	gp_store16(body + 18, x->missing);
	gp_store16(body + 20, x->missing_rank);
	gp_store16(body + 22, x->state);
	gp_store32(body + 24, x->next_step);
	gp_store32(body + 28, x->view_first_step);
	gp_store16(body + 32, x->lowest);
	body[34] = x->flags;
	body[35] = 0;
	gp_store32(body + 36, x->ahead);
	return WIRE_HEARTBEAT_REPLY_BODY;
}

uint32_t gp_wire_put_read(uint8_t *body, const struct gp_read *x)
{
	gp_store32(body, x->request);
	gp_store32(body + 4, x->clock);
	gp_store32(body + 8, x->flags);
	gp_store32(body + 12, 0);
	return WIRE_READ_BODY;
}

uint32_t gp_wire_put_read_reply(uint8_t *body, const struct gp_read_reply *x)
{
	gp_store32(body, x->request);
	gp_store16(body + 4, x->state);
	gp_store16(body + 6, x->rank);
	gp_store32(body + 8, x->generation);
	gp_store32(body + 12, x->clock);
	gp_store32(body + 16, x->bound);
	memset(body + 20, 0, 12);
	return WIRE_READ_REPLY_BODY;
}

uint32_t gp_wire_put_refuse(uint8_t *body, const struct gp_refuse *x)
{
	GP_ASSERT(x->text_len <= GP_WIRE_TEXT_MAX);
	gp_store16(body, x->reason);
	body[2] = x->about;
	body[3] = 0;
	gp_store32(body + 4, x->step);
	gp_store32(body + 8, x->what);
	gp_store32(body + 12, x->age_ms);
	gp_store64(body + 16, x->expected);
	gp_store64(body + 24, x->seen);
	gp_store64(body + 32, x->nonce);
	memcpy(body + 40, x->where_ip, sizeof(x->where_ip));
	gp_store16(body + 56, x->where_port);
	gp_store16(body + 58, x->text_len);
	memcpy(body + WIRE_REFUSE_BODY, x->text, x->text_len);
	return WIRE_REFUSE_BODY + x->text_len;
}

uint32_t gp_wire_put_barrier(uint8_t *body, uint32_t name, uint32_t call)
{
	gp_store32(body, name);
	gp_store32(body + 4, call);
	return WIRE_BARRIER_BODY;
}

uint32_t gp_wire_put_u64(uint8_t *body, uint64_t v)
{
	gp_store64(body, v);
	return WIRE_U64_BODY;
}
