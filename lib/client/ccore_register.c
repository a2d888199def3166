// SPDX-License-Identifier: BSD-3-Clause
//
// Registration: descriptors one datagram after the other, then questions for the layout until it is
// final. The layout is proved before memory is taken for it.
#include "ccore_rows.h"

#define WAIT_MIN      (20 * MS)
#define WAIT_MAX      (200 * MS)
#define TENSORS_MAX   131072
#define REGISTER_SIZE 16
#define BLOCKS_MAX    (UINT32_C(1) << 28)

static void *take(struct gp_ccore *c, size_t size)
{
	return c->cfg.take(c->cfg.mem_arg, size);
}

// ---- the caller's tensors

static int tensor_check(struct gp_ccore *c, const struct gp_client_tensor *t, uint32_t i)
{
	size_t len = strnlen(t->name, sizeof(t->name));
	if (len == 0 || len > GP_WIRE_TENSOR_NAME_MAX)
		return cc_refuse_call(c, -EINVAL,
			"tensor %u: its name has %zu bytes, 1..%u are "
			"allowed",
			i, len, GP_WIRE_TENSOR_NAME_MAX);
	for (size_t k = 0; k < len; k++)
		if (t->name[k] < 0x20 || t->name[k] > 0x7e)
			return cc_refuse_call(c, -EINVAL,
				"tensor %u: its name has bytes that are not printable ASCII", i);
	if (t->dims_count < 1 || t->dims_count > GP_WIRE_DIMS_MAX)
		return cc_refuse_call(c, -EINVAL, "tensor '%s': %u dimensions, 1..%u are allowed",
			t->name, t->dims_count, GP_WIRE_DIMS_MAX);
	uint64_t elems = 1;
	for (uint32_t d = 0; d < t->dims_count; d++) {
		if (t->dims[d] == 0 || __builtin_mul_overflow(elems, t->dims[d], &elems) ||
			elems > UINT64_C(1) << 40)
			return cc_refuse_call(c, -EINVAL,
				"tensor '%s': dimension %u makes it empty or larger than 2^40",
				t->name, d);
	}
	c->tensors[i].elems = elems;
	char fault[CC_FAULT_SIZE];
	if (cc_codec_fault(&t->compress, fault))
		return cc_refuse_call(c, -EINVAL, "tensor '%s': %s", t->name, fault);
	return 0;
}

static int tensors_fill(struct gp_ccore *c, const struct gp_client_tensor *tensors, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		c->tensors[i].d = tensors[i];
		int rc = tensor_check(c, &tensors[i], i);
		if (rc)
			return rc;
	}
	c->tensors_count = count;
	return 0;
}

int gp_ccore_register(struct gp_ccore *c, const struct gp_client_tensor *tensors, uint32_t count)
{
	if (c->error.code)
		return c->error.code;
	if (gp_ccore_phase(c) != GP_CCORE_JOINED || c->tensors)
		return cc_refuse_call(c, -EBUSY, "tensors are registered once, after joining");
	if (count == 0 || count > TENSORS_MAX)
		return cc_refuse_call(
			c, -EINVAL, "%u tensors; 1..%u can be registered", count, TENSORS_MAX);
	c->tensors = take(c, sizeof(*c->tensors) * count);
	if (!c->tensors)
		return cc_refuse_call(c, -ENOMEM, "no memory for %u tensors", count);
	int rc = tensors_fill(c, tensors, count);
	if (rc) {
		c->tensors_count = 0;
		c->cfg.give(c->cfg.mem_arg, c->tensors);
		c->tensors = NULL;
		return rc;
	}
	cc_retry_start(&c->layout_retry, WAIT_MIN, WAIT_MAX);
	return 0;
}

// The same tensors at another server.
void cc_register_again(struct gp_ccore *c)
{
	c->laid_out = false;
	c->registered = 0;
	c->entries = 0;
	cc_retry_start(&c->layout_retry, WAIT_MIN, WAIT_MAX);
}

// ---- asking

static void desc_fill(const struct gp_client_tensor *t, struct gp_tensor_desc *d)
{
	*d = (struct gp_tensor_desc){.priority = t->priority,
		.dtype = 1,
		.dims_count = (uint8_t)t->dims_count,
		.name_len = (uint16_t)strlen(t->name)};
	memcpy(d->dims, t->dims, sizeof(t->dims[0]) * t->dims_count);
	memcpy(d->name, t->name, d->name_len);
}

static uint32_t descs_put(struct gp_ccore *c, uint8_t *at, uint32_t room, uint16_t *n)
{
	uint32_t used = 0;
	*n = 0;
	for (uint32_t i = c->registered; i < c->tensors_count; i++) {
		struct gp_tensor_desc d;
		desc_fill(&c->tensors[i].d, &d);
		uint32_t size = gp_wire_desc_size(&d);
		if (used + size > room)
			break;
		used += gp_wire_put_desc(at + used, &d);
		(*n)++;
	}
	return used;
}

static bool register_send(struct gp_ccore *c)
{
	struct gp_header h = {.type = GP_WIRE_REGISTER, .pad = HEARTBEAT_PAD};
	struct cc_out o;
	if (!cc_send_begin(c, cc_home(c), &h, &o))
		return false;
	struct gp_register r = {.tensors_count = c->tensors_count, .first = c->entries};
	uint32_t used = 0;
	if (c->registered < c->tensors_count) {
		r.first = c->registered;
		used = descs_put(c, o.body + REGISTER_SIZE, o.room - REGISTER_SIZE, &r.n);
	}
	cc_send_end(c, cc_home(c), &o, gp_wire_put_register(o.body, &r) + used);
	return true;
}

uint64_t cc_register_tick(struct gp_ccore *c)
{
	if (cc_retry_due(c, &c->layout_retry) && !register_send(c))
		c->layout_retry.at = c->now + MS;
	return c->layout_retry.at;
}

// ---- the answer

static uint32_t units_count(const struct gp_ccore *c, const struct gp_layout *l)
{
	switch (cc_atomicity(c)) {
	case GP_ATOM_BLOCK:
		return l->blocks_count;
	case GP_ATOM_TENSOR:
		return c->tensors_count;
	default:
		return 1;
	}
}

static bool layout_legal(const struct gp_ccore *c, const struct gp_layout *l)
{
	uint32_t payload = l->block_elems * 4;
	return l->block_elems > 0 && l->block_elems % 16 == 0 &&
	       l->block_elems <= GP_CODEC_ELEMS_MAX &&
	       payload + GP_WIRE_HEADER_SIZE + GP_WIRE_SECTION_SIZE <= c->limit &&
	       l->blocks_count > 0 && l->blocks_count <= BLOCKS_MAX &&
	       l->units_count == units_count(c, l);
}

// The entries that were taken are reckoned with it, so it may not change from one datagram to the
// next.
static bool layout_same(const struct gp_layout *a, const struct gp_layout *b)
{
	return a->block_elems == b->block_elems && a->blocks_count == b->blocks_count &&
	       a->units_count == b->units_count;
}

static bool entry_legal(
	const struct gp_ccore *c, const struct cc_tensor *t, const struct gp_layout_entry *e)
{
	if (cc_embeds(c))
		return e->tensor < c->tensors_count && e->first_block == 0 && e->unit == 0;
	uint64_t blocks = gp_div_up(t->elems, c->layout.block_elems);
	uint64_t units = cc_atomicity(c) == GP_ATOM_BLOCK ? blocks : 1;
	return e->first_block + blocks <= c->layout.blocks_count &&
	       e->unit + units <= c->layout.units_count;
}

static uint64_t blocks_sum(const struct gp_ccore *c)
{
	uint64_t blocks = 0;
	for (uint32_t i = 0; i < c->tensors_count; i++)
		blocks += c->tensors[i].blocks_count;
	return blocks;
}

// All blocks belong to exactly one tensor each.
static bool blocks_fill(struct gp_ccore *c)
{
	for (uint32_t i = 0; cc_embeds(c) && i < c->layout.blocks_count; i++)
		c->blocks[i].elems = (uint16_t)c->layout.block_elems;
	for (uint32_t i = 0; i < c->tensors_count; i++) {
		const struct cc_tensor *t = &c->tensors[i];
		for (uint32_t k = 0; k < t->blocks_count; k++) {
			struct cc_block *b = &c->blocks[t->first_block + k];
			uint64_t left = t->elems - (uint64_t)k * c->layout.block_elems;
			if (b->elems != 0)
				return false;
			b->tensor = i;
			b->elems = (uint16_t)GP_MIN(left, c->layout.block_elems);
		}
	}
	for (uint32_t i = 0; i < c->layout.blocks_count; i++)
		if (c->blocks[i].elems == 0)
			return false;
	return true;
}

static void units_fill(struct gp_ccore *c)
{
	if (cc_atomicity(c) == GP_ATOM_STEP) {
		c->units[0].blocks_count = c->layout.blocks_count;
		return;
	}
	for (uint32_t i = 0; i < c->tensors_count; i++) {
		const struct cc_tensor *t = &c->tensors[i];
		if (cc_atomicity(c) == GP_ATOM_TENSOR)
			c->units[t->unit] = (struct cc_unit){
				.first_block = t->first_block, .blocks_count = t->blocks_count};
		for (uint32_t k = 0; cc_atomicity(c) == GP_ATOM_BLOCK && k < t->blocks_count; k++)
			c->units[t->unit + k] = (struct cc_unit){
				.first_block = t->first_block + k, .blocks_count = 1};
	}
}

// The longest payload of a block. Step 0 goes as f32, whatever the codec.
static size_t kept_size(const struct gp_ccore *c, const struct cc_tensor **longest)
{
	size_t size = 0;
	*longest = &c->tensors[0];
	if (cc_embeds(c)) // of rows, in any codec
		return sizeof(float) * c->layout.block_elems;
	for (uint32_t i = 0; i < c->tensors_count; i++) {
		size_t own = cc_codec_block_size(c, &c->tensors[i]);
		if (own > size)
			*longest = &c->tensors[i];
		size = GP_MAX(size, own);
	}
	size_t dense = sizeof(float) * c->layout.block_elems;
	return c->w.kind == GP_KIND_TRAIN ? GP_MAX(size, dense) : size;
}

static int memory_take(struct gp_ccore *c)
{
	const struct cc_tensor *t;
	size_t stride = kept_size(c, &t);
	if (!cc_is_reader(c) && stride > sizeof(float) * c->layout.block_elems) {
		cc_fail(c, -EINVAL,
			"tensor '%s': codec %s takes %zu bytes for a block of %u elements, more "
			"than f32; use f32, or a smaller topk_ratio than %.3f where it is top-k",
			t->d.name, gp_codec_name(t->codec), stride, c->layout.block_elems,
			cc_codec_ratio(t, 1));
		return -EINVAL;
	}
	c->kept_stride = (uint32_t)stride;
	c->blocks = take(c, sizeof(*c->blocks) * c->layout.blocks_count);
	c->units = take(c, sizeof(*c->units) * c->layout.units_count);
	if (cc_keeps(c))
		c->kept = take(c, stride * c->layout.blocks_count);
	if (!cc_rows_take(c))
		return -ENOMEM;
	if (!cc_is_reader(c) && !cc_embeds(c) && cc_codec_memory(c)) {
		cc_fail(c, -ENOMEM, "no memory for what the codecs keep back");
		return -ENOMEM;
	}
	if (c->blocks && c->units && (c->kept || !cc_keeps(c)))
		return 0;
	cc_fail(c, -ENOMEM, "no memory for %u blocks of %zu bytes", c->layout.blocks_count, stride);
	return -ENOMEM;
}

static bool layout_new(struct gp_ccore *c)
{
	bool whole = cc_embeds(c) ? c->layout.blocks_count % c->lanes_count == 0
				  : blocks_sum(c) == c->layout.blocks_count;
	if (whole && memory_take(c))
		return false;
	if (!whole || !blocks_fill(c)) {
		cc_fail(c, -EPROTO, "server %s: the layout it sent does not cover the tensors",
			c->cfg.server);
		return false;
	}
	if (cc_embeds(c)) // the places of a push are one run
		c->tensors[0].blocks_count = c->layout.blocks_count;
	units_fill(c);
	c->formed = true;
	return true;
}

static void layout_finish(struct gp_ccore *c)
{
	bool again = c->fate == GP_CCORE_AGAIN;
	if (!again && !layout_new(c))
		return;
	for (uint32_t i = 0; i < c->lanes_count; i++) {
		struct cc_lane *l = &c->lanes[i];
		l->places = (c->layout.blocks_count + c->lanes_count - 1 - i) / c->lanes_count;
	}
	c->laid_out = true;
	c->missing_rank = GP_WIRE_RANK_NONE;
	if (!again)
		cc_blocks_reset(c);
	cc_retry_start(&c->view_retry, WAIT_MIN, WAIT_MAX);
	if (again && cc_is_reader(c))
		cc_again_member(c);
	else if (c->view != 0)
		cc_round_view(c, false);
}

static void entries_take(struct gp_ccore *c, const struct gp_msg *m, const struct gp_layout *l)
{
	for (uint32_t i = 0; i < l->n; i++) {
		uint64_t idx = (uint64_t)l->first + i;
		if (idx != c->entries || idx >= c->tensors_count)
			continue;
		struct gp_layout_entry e;
		gp_wire_get_layout_entry(m, i, &e);
		struct cc_tensor *t = &c->tensors[idx];
		if (!entry_legal(c, t, &e)) {
			cc_fail(c, -EPROTO, "server %s: its layout of tensor '%s' is impossible",
				c->cfg.server, t->d.name);
			return;
		}
		c->entries++;
		if (c->fate == GP_CCORE_AGAIN) {
			cc_again_entry(c, t, &e);
			continue;
		}
		t->first_block = e.first_block;
		t->unit = e.unit;
		t->number = e.tensor;
		cc_codec_choose(c, t, e.codec);
		t->blocks_count = cc_embeds(c) ? 0 : (uint32_t)gp_div_up(t->elems, l->block_elems);
	}
}

void cc_layout(struct gp_ccore *c, const struct gp_msg *m)
{
	struct gp_layout l;
	gp_wire_get_layout(m, &l);
	if (c->tensors_count == 0 || c->laid_out)
		return;
	c->missing_rank = l.missing_rank;
	c->missing_count = l.missing_count;
	bool more = l.registered != c->registered || (l.state == 1 && c->layout.state == 0);
	// Less than before: the rank that defined the tensors has gone, all register again.
	c->registered = GP_MIN(l.registered, c->tensors_count);
	uint32_t had = c->entries;
	if (l.state == 1) {
		if (!layout_legal(c, &l)) {
			cc_fail(c, -EPROTO,
				"server %s: its layout is outside what this path carries (%u "
				"elements a block, %u blocks, %u units)",
				c->cfg.server, l.block_elems, l.blocks_count, l.units_count);
			return;
		}
		if (c->fate == GP_CCORE_AGAIN && !cc_again_layout(c, &l))
			return;
		if (c->layout.state == 1 && !layout_same(&c->layout, &l)) {
			cc_fail(c, -EPROTO, "server %s: its layout changed while it was being read",
				c->cfg.server);
			return;
		}
		c->layout = l;
		entries_take(c, m, &l);
	}
	if (c->error.code)
		return;
	if (l.state == 1 && c->entries == c->tensors_count)
		layout_finish(c);
	else if (more || c->entries > had) // there is more to say or to ask: at once
		c->layout_retry.at = c->now;
}
