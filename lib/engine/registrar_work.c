// SPDX-License-Identifier: BSD-3-Clause
//
// Registration: workers bring tensor names and shapes; all must agree. The first rank to register
// defines the list; the others are compared by name.
#include "registrar_priv.h"

#include "embed.h"

#include <stdio.h>
#include <stdlib.h>

static void dims_format(char *text, size_t size, const uint64_t *dims, uint32_t count)
{
	size_t at = 0;
	text[0] = 0;
	for (uint32_t i = 0; i < count && at < size; i++)
		at += (size_t)snprintf(
			text + at, size - at, "%s%llu", i ? "x" : "", (unsigned long long)dims[i]);
}

static uint64_t dims_elems(const uint64_t *dims, uint32_t count)
{
	uint64_t n = 1;
	for (uint32_t i = 0; i < count; i++)
		if (dims[i] == 0 || __builtin_mul_overflow(n, dims[i], &n))
			return 0;
	return n;
}

static bool dims_agree(
	const uint64_t *dims, uint32_t count, const struct gp_tensor_desc *d, struct gp_refuse *x)
{
	if (count == d->dims_count && memcmp(dims, d->dims, sizeof(dims[0]) * count) == 0)
		return true;
	char expected[80], seen[80];
	dims_format(expected, sizeof(expected), dims, count);
	dims_format(seen, sizeof(seen), d->dims, d->dims_count);
	x->reason = GP_REFUSAL_SHAPE_MISMATCH;
	x->expected = dims_elems(dims, count);
	x->seen = dims_elems(d->dims, d->dims_count);
	refuse_text(x, "tensor %s is %s in this job, you said %s", d->name, expected, seen);
	return false;
}

// Whether the generation that the job starts from has this tensor.
static bool restore_agrees(
	const struct reg_job *rj, const struct gp_tensor_desc *d, struct gp_refuse *x)
{
	uint32_t i = names_find(&rj->restored, rj->restore, reg_restored_name, d->name);
	if (i != NAMES_NONE) {
		const struct gp_restore_tensor *t = &rj->restore->tensors[i];
		return dims_agree(t->dims, t->dims_count, d, x);
	}
	x->reason = GP_REFUSAL_UNKNOWN_TENSOR;
	refuse_text(x, "tensor %s is not in the snapshot that job %s starts from", d->name,
		rj->cfg->name);
	return false;
}

static void tensor_define(struct reg_job *rj, const struct gp_tensor_desc *d)
{
	struct job_tensor *t = &rj->tensors[rj->tensors_count++];
	*t = (struct job_tensor){.dims_count = d->dims_count,
		.priority = d->priority,
		.elems = dims_elems(d->dims, d->dims_count)};
	memcpy(t->dims, d->dims, sizeof(t->dims));
	memcpy(t->name, d->name, sizeof(t->name));
	reg_tensor_add(rj, rj->tensors_count - 1);
}

// Whether the configuration has this table, and a block of the smallest path carries its rows.
static bool table_agrees(const struct gp_registrar *r, const struct reg_job *rj,
	const struct gp_tensor_desc *d, struct gp_refuse *x)
{
	const struct gp_job_table *t = embed_table_find(rj->cfg, d->name);
	if (!t) {
		x->reason = GP_REFUSAL_UNKNOWN_TENSOR;
		refuse_text(x, "the configuration of job %s, of kind embed, has no table %s",
			rj->cfg->name, d->name);
		return false;
	}
	const uint64_t dims[] = {t->dim};
	if (!dims_agree(dims, 1, d, x)) {
		char seen[80];
		dims_format(seen, sizeof(seen), d->dims, d->dims_count);
		refuse_text(x, "rows of table %s have %u values in the configuration, you said %s",
			d->name, t->dim, seen);
		return false;
	}
	uint32_t block = reg_block_elems(reg_smallest_payload(r, rj));
	if (rj->job || embed_row_fits(t->dim, block))
		return true;
	x->reason = GP_REFUSAL_SHAPE_MISMATCH;
	x->expected = sizeof(float) * (uint64_t)block;
	x->seen = gp_rows_push_size(1, t->dim, GP_CODEC_F32);
	refuse_text(x, "a row of table %s takes %u bytes, a block of this path carries %u", d->name,
		(uint32_t)x->seen, (uint32_t)x->expected);
	return false;
}

// One descriptor of `slot`. False with the refusal filled.
static bool desc_take(const struct gp_registrar *r, struct reg_job *rj, uint32_t slot, uint32_t idx,
	const struct gp_tensor_desc *d, struct gp_refuse *x)
{
	struct reg_rank *rank = &rj->ranks[slot];
	x->what = idx;
	bool full = idx >= rj->cfg->tensors_max || rj->tensors_count > rj->cfg->tensors_max;
	if (full || dims_elems(d->dims, d->dims_count) == 0) {
		x->reason = full ? GP_REFUSAL_OVER_QUOTA : GP_REFUSAL_SHAPE_MISMATCH;
		x->expected = rj->cfg->tensors_max;
		x->seen = idx + 1;
		refuse_text(x,
			full ? "job %s allows %u tensors" : "job %s: a dimension is 0 or too large",
			rj->cfg->name, rj->cfg->tensors_max);
		return false;
	}
	if (rank->seen[idx / 64] >> (idx % 64) & 1)
		return true;
	if (cfg_embeds(rj->cfg) && !table_agrees(r, rj, d, x))
		return false;
	uint32_t t = reg_tensor_find(rj, d->name);
	if (t == UINT32_MAX) {
		GP_ASSERT(
			rj->job || rj->definer != slot || rj->tensors_count < rj->cfg->tensors_max);
		if (rj->definer != slot || rj->job) {
			x->reason = GP_REFUSAL_UNKNOWN_TENSOR;
			refuse_text(x, "tensor %s is not in job %s as others registered it",
				d->name, rj->cfg->name);
			return false;
		}
		if (rj->restore && !restore_agrees(rj, d, x))
			return false;
		t = rj->tensors_count;
		tensor_define(rj, d);
	} else if (!dims_agree(rj->tensors[t].dims, rj->tensors[t].dims_count, d, x)) {
		return false;
	}
	if (rank->brought[t / 64] >> (t % 64) & 1) {
		x->reason = GP_REFUSAL_SHAPE_MISMATCH;
		refuse_text(x, "tensor %s is registered twice", d->name);
		return false;
	}
	rank->brought[t / 64] |= UINT64_C(1) << (t % 64);
	rank->seen[idx / 64] |= UINT64_C(1) << (idx % 64);
	rank->tensor_of[idx] = t;
	rank->registered++;
	return true;
}

static bool definer_complete(const struct reg_job *rj)
{
	return rj->job || (rj->definer < GP_RANKS_MAX && rj->tensors_count > 0 &&
				  rj->ranks[rj->definer].total == rj->tensors_count);
}

// The restored generation, the configuration's tables, or else the definer, with its first
// descriptor, says how many tensors there are; all others agree with it.
static bool count_agrees(
	const struct reg_job *rj, uint32_t slot, uint32_t count, struct gp_refuse *x)
{
	uint32_t expected =
		rj->definer == slot && !rj->job ? rj->ranks[slot].total : rj->tensors_count;
	if (cfg_embeds(rj->cfg))
		expected = rj->cfg->tables_count;
	if (count == expected)
		return true;
	x->reason = GP_REFUSAL_TENSOR_COUNT;
	x->expected = expected;
	x->seen = count;
	refuse_text(x,
		cfg_embeds(rj->cfg) ? "job %s is of kind embed and has %u tables, you registered %u"
				    : "job %s has %u tensors, you registered %u",
		rj->cfg->name, expected, count);
	return false;
}

// All tensors are looked at once, not with each REGISTER of every worker.
static bool memory_suffices(const struct gp_registrar *r, struct reg_job *rj, struct gp_refuse *x)
{
	uint32_t elems = reg_block_elems(reg_smallest_payload(r, rj));
	if (rj->job || !definer_complete(rj) || rj->fits_elems == elems)
		return true;
	x->expected = rj->cfg->memory_max;
	x->seen = reg_memory_needed(r, rj);
	if (x->seen <= x->expected) {
		rj->fits_elems = elems;
		return true;
	}
	x->reason = GP_REFUSAL_OVER_QUOTA;
	refuse_text(x, "job %s: the model needs %llu bytes, its memory_max is %llu", rj->cfg->name,
		(unsigned long long)x->seen, (unsigned long long)x->expected);
	return false;
}

// Takes the descriptors of a REGISTER. False with the refusal filled.
static bool descs_take(struct gp_registrar *r, struct reg_job *rj, uint32_t slot,
	const struct gp_msg *m, const struct gp_register *reg, struct gp_refuse *x)
{
	bool worker = slot < rj->cfg->workers;
	if (worker && rj->definer == GP_RANKS_MAX && !rj->job && reg->n > 0) {
		rj->definer = slot;
		rj->ranks[slot].total =
			rj->restore ? rj->restore->tensors_count : reg->tensors_count;
	}
	// The others wait until the definer's list is whole; they repeat.
	if (rj->definer != slot && !definer_complete(rj))
		return true;
	if (!count_agrees(rj, slot, reg->tensors_count, x))
		return false;
	struct gp_tensor_desc d;
	uint32_t pos = 0;
	for (uint32_t i = 0; gp_wire_next_desc(m, &pos, &d); i++)
		if (!desc_take(r, rj, slot, reg->first + i, &d, x))
			return false;
	return memory_suffices(r, rj, x);
}

static void missing_fill(const struct reg_job *rj, struct gp_layout *l)
{
	l->missing_rank = GP_WIRE_RANK_NONE;
	for (uint32_t i = 0; i < rj->cfg->workers; i++) {
		const struct reg_rank *rank = &rj->ranks[i];
		bool done = rank->session != 0 && rj->tensors_count > 0 &&
			    rank->registered == rj->tensors_count;
		if (done)
			continue;
		if (l->missing_count++ == 0)
			l->missing_rank = (uint16_t)i;
	}
}

static void layout_answer(struct gp_registrar *r, struct reg_job *rj, uint32_t core, uint32_t slot,
	struct gp_frame *f, const struct gp_header *about, uint32_t first)
{
	const struct gp_job *j = rj->job;
	const struct reg_rank *rank = &rj->ranks[slot];
	const struct job_status *st = &r->engine->status[r->engine->job_idx[rj->cfg->id]];
	uint32_t generation = atomic_load_explicit(&st->generation, memory_order_relaxed);
	struct gp_layout l = {
		.registered = rank->registered,
		.next_step = generation + 1,
		.first = first,
	};
	missing_fill(rj, &l);
	if (j && rank->registered == rj->tensors_count) {
		l.state = 1;
		l.block_elems = j->block_elems;
		l.blocks_count = j->blocks_count;
		l.units_count = j->units_count;
		l.flags = job_trains(j) && generation != UINT32_MAX ? GP_LAYOUT_INITIALISED : 0;
	}
	const struct gp_header h = {
		.version = GP_WIRE_VERSION,
		.type = GP_WIRE_LAYOUT,
		.job = about->job,
		.rank = about->rank,
		.session = about->session,
		.epoch = engine_epoch(r->engine),
	};
	uint32_t room = GP_MIN(f->room, r->sessions[session_idx(about->session)].s.payload_max);
	uint32_t at = gp_wire_begin(f->data, f->room, &h);
	uint32_t entries =
		l.state == 1 && first < rj->tensors_count ? rj->tensors_count - first : 0;
	l.n = (uint16_t)GP_MIN(entries, (room - at - 40) / 16);
	uint32_t end = at + gp_wire_put_layout(f->data + at, &l);
	for (uint32_t i = 0; i < l.n; i++) {
		uint32_t t = rj->sorted[rank->tensor_of[first + i]];
		const struct gp_layout_entry e = {
			.tensor = t,
			.first_block = j->tensors[t].first_block,
			.unit = job_unit(rj->cfg, t, j->tensors[t].first_block),
			.codec = rj->cfg->codec,
		};
		end += gp_wire_put_layout_entry(f->data + end, &e);
	}
	f->len = end;
	reg_reply(r, core, f);
}

void reg_register(struct gp_registrar *r, uint32_t core, const struct cmd *cmd)
{
	struct gp_frame *f = cmd->ptr;
	struct reg_session *rs = &r->sessions[session_idx(cmd->session)];
	struct reg_job *rj = reg_job_by_id(r, cmd->job);
	if (!rs->used || rs->s.id != cmd->session) { // closed since
		reg_done_with(r, core, f);
		return;
	}
	struct gp_msg m;
	struct gp_register reg;
	enum gp_verdict v = gp_wire_parse(f->data, f->len, &m);
	GP_ASSERT(v == GP_VERDICT_OK);
	gp_wire_get_register(&m, &reg);
	struct gp_refuse x = {.about = GP_WIRE_REGISTER};
	if (reg.n > 0 && !descs_take(r, rj, rs->slot, &m, &reg, &x)) {
		reg_refuse(r, core, f, &m.h, &x);
		return;
	}
	reg_layout_try(r, rj);
	uint32_t first = reg.n > 0 ? 0 : reg.first;
	layout_answer(r, rj, core, rs->slot, f, &m.h, first);
}
