// SPDX-License-Identifier: BSD-3-Clause
//
// The bytes of each message. Little-endian; what has no meaning is zero, and only that is accepted.
#include "stream_priv.h"

static bool all_zero(const uint8_t *bytes, size_t len)
{
	uint8_t any = 0;
	for (size_t i = 0; i < len; i++)
		any |= bytes[i];
	return any == 0;
}

// A text in a field of `size` bytes: terminated, printable ASCII, zero behind.
static bool text_get(const uint8_t *from, size_t size, char *out)
{
	size_t len = strnlen((const char *)from, size);
	if (len == size || !all_zero(from + len, size - len))
		return false;
	for (size_t i = 0; i < len; i++)
		if (from[i] < 0x20 || from[i] > 0x7e)
			return false;
	memcpy(out, from, size);
	return true;
}

// ---- records

void record_put(uint8_t *to, const struct gp_lead_record *r)
{
	gp_store32(to, r->epoch);
	gp_store32(to + 4, r->primary);
	gp_store32(to + 8, r->backup);
	gp_store32(to + 12, 0);
	gp_store64(to + 16, r->nonce);
}

bool record_get(const uint8_t *from, struct gp_lead_record *r)
{
	*r = (struct gp_lead_record){.epoch = gp_load32(from),
		.primary = gp_load32(from + 4),
		.backup = gp_load32(from + 8),
		.nonce = gp_load64(from + 16)};
	return r->epoch > 0 && r->primary <= 1 &&
	       (r->backup == GP_LEAD_NODE_NONE || r->backup == 1 - r->primary) &&
	       gp_load32(from + 12) == 0;
}

#define HELLO_HOLDING 1u
#define HELLO_RECORD  2u

static void beat_put(uint8_t *to, const struct gp_stream_hello *h)
{
	if (h->beat_cookie == 0)
		return;
	memcpy(to, h->beat_to.ip, 16);
	gp_store16(to + 16, h->beat_to.port);
	memcpy(to + 18, h->beat_to.mac, 6);
	gp_store64(to + 24, h->beat_cookie);
}

static bool beat_get(const uint8_t *from, struct gp_stream_hello *h)
{
	h->beat_cookie = gp_load64(from + 24);
	if (h->beat_cookie == 0)
		return all_zero(from, HELLO_BEAT_SIZE);
	memcpy(h->beat_to.ip, from, 16);
	h->beat_to.port = gp_load16(from + 16);
	memcpy(h->beat_to.mac, from + 18, 6);
	return h->beat_to.port != 0;
}

void hello_put(uint8_t *to, const struct gp_stream_hello *h)
{
	uint8_t *at = to + GP_STREAM_PRODUCT_SIZE;
	memset(to, 0, HELLO_SIZE);
	memcpy(to, h->product, strnlen(h->product, GP_STREAM_PRODUCT_SIZE - 1));
	gp_store32(at, h->node);
	gp_store32(at + 4, (h->holding ? HELLO_HOLDING : 0) | (h->has_record ? HELLO_RECORD : 0));
	gp_store64(at + 8, h->life);
	if (h->has_record)
		record_put(at + 16, &h->record);
	beat_put(at + 16 + RECORD_SIZE, h);
}

bool hello_get(const uint8_t *from, size_t len, struct gp_stream_hello *h)
{
	if (len != HELLO_SIZE)
		return false;
	const uint8_t *at = from + GP_STREAM_PRODUCT_SIZE;
	uint32_t flags = gp_load32(at + 4);
	memset(h, 0, sizeof(*h));
	h->node = gp_load32(at);
	h->life = gp_load64(at + 8);
	h->holding = flags & HELLO_HOLDING;
	h->has_record = flags & HELLO_RECORD;
	if (flags > (HELLO_HOLDING | HELLO_RECORD) || h->node > 1)
		return false;
	if (h->has_record ? !record_get(at + 16, &h->record) : !all_zero(at + 16, RECORD_SIZE))
		return false;
	if (!beat_get(at + 16 + RECORD_SIZE, h))
		return false;
	return text_get(from, GP_STREAM_PRODUCT_SIZE, h->product);
}

// ---- decisions

static void ranks_put(uint8_t *to, const struct gp_ranks *r)
{
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(r->w); i++)
		gp_store64(to + 8 * (size_t)i, r->w[i]);
}

static void ranks_get(const uint8_t *from, struct gp_ranks *r)
{
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(r->w); i++)
		r->w[i] = gp_load64(from + 8 * (size_t)i);
}

// A new field has to be told to the backup too.
_Static_assert(sizeof(struct gp_decision) == DECISION_SIZE, "every field is in the message");

void decision_put(uint8_t *to, const struct gp_decision *d)
{
	gp_store32(to, d->number);
	to[4] = d->kind;
	to[5] = d->snapshot;
	gp_store16(to + 6, d->ranks);
	gp_store32(to + 8, d->unit);
	gp_store32(to + 12, d->step);
	gp_store32(to + 16, d->view);
	gp_store16(to + 20, d->lowest);
	to[22] = d->backup;
	to[23] = 0;
	ranks_put(to + 24, &d->members);
	ranks_put(to + 56, &d->others);
	gp_store32(to + 88, d->admitted);
	gp_store32(to + 92, d->staleness);
}

bool decision_get(const uint8_t *from, struct gp_decision *d)
{
	*d = (struct gp_decision){.number = gp_load32(from),
		.kind = from[4],
		.snapshot = from[5],
		.ranks = gp_load16(from + 6),
		.unit = gp_load32(from + 8),
		.step = gp_load32(from + 12),
		.view = gp_load32(from + 16),
		.lowest = gp_load16(from + 20),
		.backup = from[22],
		.admitted = gp_load32(from + 88),
		.staleness = gp_load32(from + 92)};
	ranks_get(from + 24, &d->members);
	ranks_get(from + 56, &d->others);
	return d->kind >= GP_DECIDED_COMMIT && d->kind <= GP_DECIDED_STOP && from[5] <= 1 &&
	       d->ranks <= GP_RANKS_MAX && from[22] <= 1 && from[23] == 0 &&
	       (!d->backup || d->kind == GP_DECIDED_CUT);
}

// ---- what a follower holds

void holds_put(uint8_t *to, const struct holds *h)
{
	gp_store32(to, h->number);
	gp_store32(to + 4, h->count);
	to += HOLDS_HEAD_SIZE;
	for (uint32_t i = 0; i < h->count; i++, to += HOLD_SIZE) {
		gp_store16(to, h->holds[i].id);
		gp_store16(to + 2, 0);
		gp_store32(to + 4, h->holds[i].decision);
		gp_store64(to + 8, h->holds[i].base);
		gp_store64(to + 16, h->holds[i].chain);
	}
}

bool holds_get(const uint8_t *from, size_t len, struct holds *h)
{
	if (len < HOLDS_HEAD_SIZE)
		return false;
	h->number = gp_load32(from);
	h->count = gp_load32(from + 4);
	if (h->count > GP_IMAGE_JOBS_MAX || len != HOLDS_HEAD_SIZE + h->count * (size_t)HOLD_SIZE)
		return false;
	from += HOLDS_HEAD_SIZE;
	for (uint32_t i = 0; i < h->count; i++, from += HOLD_SIZE) {
		h->holds[i] = (struct hold){.id = gp_load16(from),
			.decision = gp_load32(from + 4),
			.base = gp_load64(from + 8),
			.chain = gp_load64(from + 16)};
		if (gp_load16(from + 2) != 0 || h->holds[i].id > GP_IMAGE_JOBS_MAX)
			return false;
	}
	return true;
}

// ---- base

void base_put(uint8_t *to, const struct base *b)
{
	const struct gp_image_layout *l = &b->layout;
	memset(to, 0, BASE_SIZE);
	gp_store16(to, l->id);
	to[2] = l->kind;
	to[3] = l->atomicity;
	to[4] = l->arrays_count;
	gp_store16(to + 6, l->ranks);
	gp_store32(to + 8, l->block_elems);
	gp_store32(to + 12, l->tensors_count);
	gp_store64(to + 16, b->point.base);
	gp_store64(to + 24, b->point.chain);
	gp_store32(to + 32, b->point.decision);
	gp_store32(to + 36, b->generation);
	gp_store32(to + 40, b->point.digest_every);
	memcpy(to + 48, l->name, sizeof(l->name));
	to += 48 + sizeof(l->name);
	if (b->point.view.number != 0)
		decision_put(to, &b->point.view);
	ranks_put(to + DECISION_SIZE, &b->point.counted[0]);
	ranks_put(to + DECISION_SIZE + RANKS_SIZE, &b->point.counted[1]);
	to += DECISION_SIZE + 2 * RANKS_SIZE;
	gp_store64(to, b->point.history.own);
	gp_store64(to + 8, b->point.history.before);
	gp_store32(to + 16, b->point.history.step);
}

bool base_get(const uint8_t *from, size_t len, struct base *b)
{
	if (len != BASE_SIZE)
		return false;
	const uint8_t *view = from + 48 + GP_WIRE_JOB_NAME_SIZE;
	const uint8_t *history = view + DECISION_SIZE + 2 * RANKS_SIZE;
	*b = (struct base){
		.layout = {.id = gp_load16(from),
			.kind = from[2],
			.atomicity = from[3],
			.arrays_count = from[4],
			.ranks = gp_load16(from + 6),
			.block_elems = gp_load32(from + 8),
			.tensors_count = gp_load32(from + 12)},
		.point = {.base = gp_load64(from + 16),
			.chain = gp_load64(from + 24),
			.decision = gp_load32(from + 32),
			.digest_every = gp_load32(from + 40),
			.history = {.own = gp_load64(history),
				.before = gp_load64(history + 8),
				.step = gp_load32(history + 16)}},
		.generation = gp_load32(from + 36),
	};
	if (from[5] != 0 || !all_zero(from + 44, 4) || !all_zero(history + 20, 4))
		return false;
	if (gp_load32(view) != 0 ? !decision_get(view, &b->point.view)
				 : !all_zero(view, DECISION_SIZE))
		return false;
	ranks_get(view + DECISION_SIZE, &b->point.counted[0]);
	ranks_get(view + DECISION_SIZE + RANKS_SIZE, &b->point.counted[1]);
	return text_get(from + 48, GP_WIRE_JOB_NAME_SIZE, b->layout.name);
}

size_t tensor_size(const struct gp_image_tensor *t)
{
	return TENSOR_HEAD_SIZE + 8 * (size_t)t->dims_count + (t->rows > 0 ? TENSOR_ROWS_SIZE : 0) +
	       strlen(t->name);
}

uint8_t *tensor_put(uint8_t *to, const struct gp_image_tensor *t)
{
	size_t name = strlen(t->name);
	to[0] = (uint8_t)t->dims_count;
	to[1] = (uint8_t)name;
	gp_store16(to + 2, t->rows > 0);
	to += TENSOR_HEAD_SIZE;
	for (uint32_t i = 0; i < t->dims_count; i++, to += 8)
		gp_store64(to, t->dims[i]);
	if (t->rows > 0) {
		gp_store32(to, t->state);
		gp_store64(to + 4, t->rows);
		gp_store64(to + 12, t->changes);
		to += TENSOR_ROWS_SIZE;
	}
	memcpy(to, t->name, name);
	return to + name;
}

size_t tensor_get(const uint8_t *from, size_t len, struct gp_image_tensor *t)
{
	if (len < TENSOR_HEAD_SIZE || from[0] < 1 || from[0] > GP_WIRE_DIMS_MAX || from[1] < 1 ||
		from[1] > GP_WIRE_TENSOR_NAME_MAX || gp_load16(from + 2) > 1)
		return 0;
	bool rows = gp_load16(from + 2) == 1;
	size_t name = from[1],
	       size = TENSOR_HEAD_SIZE + 8 * (size_t)from[0] + name + (rows ? TENSOR_ROWS_SIZE : 0);
	if (len < size)
		return 0;
	*t = (struct gp_image_tensor){.dims_count = from[0]};
	from += TENSOR_HEAD_SIZE;
	for (uint32_t i = 0; i < t->dims_count; i++, from += 8)
		t->dims[i] = gp_load64(from);
	if (rows) {
		t->state = gp_load32(from);
		t->rows = gp_load64(from + 4);
		t->changes = gp_load64(from + 12);
		from += TENSOR_ROWS_SIZE;
	}
	for (size_t i = 0; i < name; i++)
		if (from[i] < 0x20 || from[i] > 0x7e)
			return 0;
	memcpy(t->name, from, name);
	return size;
}
