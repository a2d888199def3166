// SPDX-License-Identifier: BSD-3-Clause
#include "stream_priv.h"

#include <errno.h>
#include <stdlib.h>

struct gp_follower {
	struct gp_follower_opts opts;
	struct gp_stream *stream; // NULL: not connected
	uint32_t epoch;		  // that this node is backup of
	uint32_t epoch_told;	  // that it acknowledged in last
	uint32_t epoch_sender;
	uint32_t holds_number;
	bool holds_due;
	bool fed;	   // what comes answers our last holds
	uint64_t dirty;	   // bit id - 1: held has to be told
	uint64_t settling; // the same: rows of its last cut are not all in their places
	uint64_t promised; // the same: acknowledged as backup
	struct base begun; // a base whose tensors are coming
	struct gp_image_tensor *tensors;
	uint32_t tensors_count; // of them there
	bool diverged, diverged_due;
	uint16_t diverged_id;
	uint32_t diverged_step;
	uint64_t diverged_ours, diverged_theirs;
	uint64_t decisions, blocks, digests;
};

int gp_follower_create(struct gp_follower **out, const struct gp_follower_opts *opts)
{
	struct gp_follower *f = calloc(1, sizeof(*f));
	GP_ASSERT(opts->image);
	if (!f)
		return -ENOMEM;
	f->opts = *opts;
	if (f->opts.rows_max == 0)
		f->opts.rows_max = GP_FOLLOWER_ROWS_DEFAULT;
	*out = f;
	return 0;
}

static void begun_drop(struct gp_follower *f)
{
	free(f->tensors);
	f->tensors = NULL;
	f->tensors_count = 0;
}

void gp_follower_destroy(struct gp_follower *f)
{
	if (!f)
		return;
	GP_ASSERT(!f->stream);
	begun_drop(f);
	free(f);
}

void gp_follower_epoch(struct gp_follower *f, uint32_t epoch)
{
	f->epoch = epoch;
	if (epoch == 0)
		f->promised = 0;
}

// Its own, if what the primary sends is of the same: rule 2.
uint32_t follower_epoch(const struct gp_follower *f)
{
	return f->fed && !f->diverged && f->epoch == f->epoch_sender ? f->epoch : 0;
}

static void holds_ask(struct gp_follower *f)
{
	begun_drop(f);
	gp_image_beside_drop(f->opts.image);
	f->fed = false;
	f->holds_due = true;
	f->holds_number++;
	f->dirty = 0;
	f->epoch_sender = f->epoch_told = 0;
}

void gp_follower_reset(struct gp_follower *f)
{
	struct gp_image_view v;
	while (gp_image_at(f->opts.image, 0, &v))
		gp_image_drop(f->opts.image, v.id);
	f->diverged = f->diverged_due = false;
	f->promised = f->settling = 0;
	holds_ask(f);
}

void follower_attach(struct gp_follower *f, struct gp_stream *s)
{
	GP_ASSERT(!f->stream);
	f->stream = s;
	holds_ask(f);
}

void follower_detach(struct gp_follower *f)
{
	f->stream = NULL;
	f->fed = false;
	begun_drop(f);
}

void gp_follower_view(const struct gp_follower *f, struct gp_follower_view *v)
{
	struct gp_image_view job;
	*v = (struct gp_follower_view){.connected = f->stream && f->fed,
		.diverged = f->diverged,
		.diverged_id = f->diverged_id,
		.diverged_step = f->diverged_step,
		.decisions = f->decisions,
		.blocks = f->blocks,
		.digests = f->digests,
		.epoch_sender = f->epoch_sender};
	for (uint32_t i = 0; gp_image_at(f->opts.image, i, &job); i++) {
		v->jobs_count += job.point.base != 0;
		v->jobs_based += job.based;
	}
}

// ---- messages

static int image_error(const struct gp_image_error *from, struct gp_stream_error *err)
{
	return stream_fail(err, from->code, "%s", from->text);
}

static int bad(const struct message *m, struct gp_stream_error *err)
{
	return stream_fail(err, -EPROTO, "message %d of %zu bytes is none", (int)m->type, m->len);
}

static uint64_t held_bit(uint16_t id)
{
	GP_ASSERT(id >= 1 && id <= GP_IMAGE_JOBS_MAX);
	return UINT64_C(1) << (id - 1);
}

static void held_note(struct gp_follower *f, uint16_t id)
{
	f->dirty |= held_bit(id);
}

static void differs(
	struct gp_follower *f, uint16_t id, uint32_t step, uint64_t ours, uint64_t theirs)
{
	f->diverged = f->diverged_due = true;
	f->diverged_id = id;
	f->diverged_step = step;
	f->diverged_ours = ours;
	f->diverged_theirs = theirs;
	if (f->opts.diverged)
		f->opts.diverged(f->opts.arg, id, step, ours, theirs);
}

// The job has moved on, and is to be acknowledged; with tables only where they are as they should
// be, and not before the base is complete. True: they are not, nothing more is taken.
static bool cut_note(struct gp_follower *f, uint16_t id)
{
	struct gp_image_view v;
	uint64_t ours, theirs;
	if (!gp_image_find(f->opts.image, id, &v) || !v.based)
		return false;
	if (gp_image_differs(f->opts.image, id, &ours, &theirs)) {
		differs(f, id, v.generation, ours, theirs);
		return true;
	}
	f->digests += v.kind == GP_KIND_EMBED && v.digested;
	held_note(f, id);
	return false;
}

// Rows of the last cut take their places: so many in a turn, then it counts as any. Nothing more is
// taken meanwhile. False: the tables are not what they should be.
static bool cut_settle(struct gp_follower *f, uint16_t id)
{
	if (gp_image_settle(f->opts.image, id, f->opts.rows_max)) {
		f->settling |= held_bit(id);
		return true;
	}
	f->settling &= ~held_bit(id);
	return !cut_note(f, id);
}

static int take_base(struct gp_follower *f, const struct message *m, struct gp_stream_error *err)
{
	if (!base_get(m->body, m->len, &f->begun))
		return bad(m, err);
	uint32_t count = f->begun.layout.tensors_count;
	begun_drop(f);
	if (count < 1 || count > GP_IMAGE_TENSORS_MAX || f->begun.layout.id < 1 ||
		f->begun.layout.id > GP_IMAGE_JOBS_MAX)
		return bad(m, err);
	f->tensors = calloc(count, sizeof(f->tensors[0]));
	if (!f->tensors)
		return stream_fail(err, -ENOMEM, "job %s: no memory for its %u tensors",
			f->begun.layout.name, count);
	f->begun.layout.tensors = f->tensors;
	return 0;
}

static int base_complete(struct gp_follower *f, struct gp_stream_error *err)
{
	struct gp_image_error why;
	const struct base *b = &f->begun;
	f->dirty &= ~held_bit(b->layout.id); // what it held of an earlier base
	// What was acknowledged as backup stays until the new base has all of it.
	bool beside = (f->promised & held_bit(b->layout.id)) != 0;
	int rc = (beside ? gp_image_base_beside : gp_image_base)(
		f->opts.image, &b->layout, &b->point, b->generation, &why);
	begun_drop(f);
	return rc != 0 ? image_error(&why, err) : 0;
}

static int take_tensors(struct gp_follower *f, const struct message *m, struct gp_stream_error *err)
{
	if (m->len < RUN_HEAD_SIZE || !f->tensors || gp_load16(m->body) != f->begun.layout.id ||
		gp_load16(m->body + 2) != 0 || gp_load32(m->body + 4) != f->tensors_count)
		return bad(m, err);
	size_t at = RUN_HEAD_SIZE;
	while (at < m->len) {
		if (f->tensors_count == f->begun.layout.tensors_count)
			return bad(m, err);
		size_t size =
			tensor_get(m->body + at, m->len - at, &f->tensors[f->tensors_count++]);
		if (size == 0)
			return bad(m, err);
		at += size;
	}
	return f->tensors_count == f->begun.layout.tensors_count ? base_complete(f, err) : 0;
}

static int take_ahead(struct gp_follower *f, const struct message *m, struct gp_stream_error *err)
{
	struct gp_image_error why;
	if (m->len < RUN_HEAD_SIZE || gp_load16(m->body + 2) != 0)
		return bad(m, err);
	uint32_t first = gp_load32(m->body + 4);
	for (size_t i = 0; i < 8 * (m->len - RUN_HEAD_SIZE); i++) {
		if (!(m->body[RUN_HEAD_SIZE + i / 8] >> i % 8 & 1))
			continue;
		if (gp_image_base_ahead(
			    f->opts.image, gp_load16(m->body), first + (uint32_t)i, &why) != 0)
			return image_error(&why, err);
	}
	return 0;
}

// Blocks say how many they are; how many bytes that is, the layout says.
static int section_take(struct gp_follower *f, uint16_t id, const uint8_t *at, size_t len,
	size_t *used, struct gp_stream_error *err)
{
	struct gp_image_error why;
	struct gp_image_blocks b = {.id = id,
		.step = gp_load32(at),
		.first = gp_load32(at + 4),
		.run = gp_load32(at + 8),
		.bytes = at + SECTION_HEAD_SIZE};
	int rc = gp_image_blocks_size(f->opts.image, &b, &b.len, &why);
	if (rc == 0 && b.len > len - SECTION_HEAD_SIZE)
		return stream_fail(
			err, -EPROTO, "%u blocks of job %u in %zu bytes", b.run, id, len);
	if (rc == 0)
		rc = gp_image_blocks(f->opts.image, &b, &why);
	if (rc != 0)
		return image_error(&why, err);
	f->blocks += b.run;
	*used = SECTION_HEAD_SIZE + b.len;
	return 0;
}

static int take_blocks(struct gp_follower *f, const struct message *m, struct gp_stream_error *err)
{
	size_t at = 4, used = 0;
	if (m->len < 4 || gp_load16(m->body + 2) != 0)
		return bad(m, err);
	while (at < m->len) {
		if (m->len - at < SECTION_HEAD_SIZE)
			return bad(m, err);
		int rc = section_take(f, gp_load16(m->body), m->body + at, m->len - at, &used, err);
		if (rc != 0)
			return rc;
		at += used;
	}
	return 0;
}

static int take_based(struct gp_follower *f, const struct message *m, struct gp_stream_error *err)
{
	struct gp_image_error why;
	struct gp_image_view v;
	if (m->len != 8 || gp_load16(m->body + 2) != 0)
		return bad(m, err);
	if (gp_image_base_end(f->opts.image, gp_load16(m->body), &why) != 0)
		return image_error(&why, err);
	if (!gp_image_find(f->opts.image, gp_load16(m->body), &v) ||
		v.point.decision != gp_load32(m->body + 4))
		return bad(m, err);
	(void)cut_note(f, v.id);
	return 0;
}

static int take_decisions(
	struct gp_follower *f, const struct message *m, struct gp_stream_error *err)
{
	struct gp_image_error why;
	struct gp_decision d;
	if (m->len < 4 || m->len != 4 + DECISION_SIZE * (size_t)gp_load16(m->body + 2))
		return bad(m, err);
	uint16_t id = gp_load16(m->body);
	for (size_t at = 4; at < m->len; at += DECISION_SIZE) {
		if (!decision_get(m->body + at, &d))
			return bad(m, err);
		if (gp_image_decide(f->opts.image, id, &d, &why) != 0)
			return image_error(&why, err);
		f->decisions++;
		if (!cut_settle(f, id))
			break;
	}
	return 0;
}

static int take_ranks(struct gp_follower *f, const struct message *m, struct gp_stream_error *err)
{
	struct gp_image_error why;
	if (m->len < RANKS_HEAD_SIZE ||
		m->len != RANKS_HEAD_SIZE + sizeof(uint32_t) * (size_t)gp_load16(m->body + 2))
		return bad(m, err);
	const struct gp_image_ranks r = {.id = gp_load16(m->body),
		.count = gp_load16(m->body + 2),
		.generation = gp_load32(m->body + 4),
		.blocks = gp_load32(m->body + 8),
		.closed = gp_load32(m->body + 12),
		.updates = gp_load32(m->body + 16),
		.clocks = m->body + RANKS_HEAD_SIZE};
	return gp_image_ranks(f->opts.image, &r, &why) != 0 ? image_error(&why, err) : 0;
}

static int take_applied(struct gp_follower *f, const struct message *m, struct gp_stream_error *err)
{
	struct gp_image_error why;
	if (m->len < APPLIED_HEAD_SIZE || (m->len - APPLIED_HEAD_SIZE) % sizeof(uint64_t) != 0)
		return bad(m, err);
	const struct gp_image_applied a = {.id = gp_load16(m->body),
		.rank = gp_load16(m->body + 2),
		.generation = gp_load32(m->body + 4),
		.first = gp_load32(m->body + 8),
		.words = (uint32_t)((m->len - APPLIED_HEAD_SIZE) / sizeof(uint64_t)),
		.bits = m->body + APPLIED_HEAD_SIZE};
	return gp_image_applied(f->opts.image, &a, &why) != 0 ? image_error(&why, err) : 0;
}

static int take_rows(struct gp_follower *f, const struct message *m, struct gp_stream_error *err)
{
	struct gp_image_error why;
	if (m->len < ROWS_HEAD_SIZE)
		return bad(m, err);
	const struct gp_image_rows r = {.id = gp_load16(m->body),
		.table = gp_load16(m->body + 2),
		.generation = gp_load32(m->body + 4),
		.before = gp_load32(m->body + 8),
		.count = gp_load32(m->body + 12),
		.bytes = m->body + ROWS_HEAD_SIZE,
		.len = m->len - ROWS_HEAD_SIZE};
	return gp_image_rows(f->opts.image, &r, &why) != 0 ? image_error(&why, err) : 0;
}

static int take_tally(struct gp_follower *f, const struct message *m, struct gp_stream_error *err)
{
	struct gp_image_error why;
	if (m->len < TALLY_HEAD_SIZE ||
		m->len != TALLY_HEAD_SIZE + TALLY_SIZE * (size_t)gp_load16(m->body + 2))
		return bad(m, err);
	const struct gp_image_tally x = {.id = gp_load16(m->body),
		.count = gp_load16(m->body + 2),
		.generation = gp_load32(m->body + 4),
		.updates = gp_load32(m->body + 8),
		.records = gp_load32(m->body + 12),
		.bytes = m->body + TALLY_HEAD_SIZE};
	return gp_image_tally(f->opts.image, &x, &why) != 0 ? image_error(&why, err) : 0;
}

static int take_digest(struct gp_follower *f, const struct message *m, struct gp_stream_error *err)
{
	struct gp_image_view v;
	if (m->len != 16 || gp_load16(m->body + 2) != 0)
		return bad(m, err);
	uint16_t id = gp_load16(m->body);
	uint32_t step = gp_load32(m->body + 4);
	uint64_t theirs = gp_load64(m->body + 8), ours;
	if (!gp_image_find(f->opts.image, id, &v) || !v.based)
		return bad(m, err);
	// After a resumed connection the image has the sum from before and after it.
	if (v.digested && v.digest_step == step)
		ours = v.digest;
	else if (gp_image_digest(f->opts.image, id, step, &ours) != 0)
		return stream_fail(err, -EPROTO,
			"a digest of generation %u of job %s, which is at %u", step, v.name,
			v.generation);
	if (ours == theirs) {
		f->digests++;
		return 0;
	}
	differs(f, id, step, ours, theirs);
	return 0;
}

// What goes on without a base stays, and what was acknowledged as backup until its new base is
// complete. The rest is of another time: it shall not be taken for what this primary has.
static void feed_sort(struct gp_follower *f, uint64_t stays)
{
	struct gp_image_view v;
	for (uint32_t i = 0; gp_image_at(f->opts.image, i, &v); i++)
		if (!((stays | f->promised) & held_bit(v.id))) {
			gp_image_void(f->opts.image, v.id);
			f->dirty &= ~held_bit(v.id);
			f->settling &= ~held_bit(v.id);
		}
}

static int take_feed(struct gp_follower *f, const struct message *m, struct gp_stream_error *err)
{
	uint64_t stays = 0;
	if (m->len < FEED_HEAD_SIZE ||
		m->len != FEED_HEAD_SIZE + 2 * (size_t)gp_load32(m->body + 4))
		return bad(m, err);
	if (gp_load32(m->body) != f->holds_number || f->holds_due)
		return 0;
	for (size_t at = FEED_HEAD_SIZE; at < m->len; at += 2) {
		struct gp_image_view v;
		uint16_t id = gp_load16(m->body + at);
		if (!gp_image_find(f->opts.image, id, &v) || !v.based)
			return bad(m, err);
		stays |= held_bit(id);
	}
	f->fed = true;
	f->epoch_sender = m->epoch;
	feed_sort(f, stays);
	return 0;
}

int follower_message(struct gp_follower *f, const struct message *m, struct gp_stream_error *err)
{
	if (f->diverged)
		return 0;
	if (m->type == MSG_FEED)
		return take_feed(f, m, err);
	if (!f->fed) // the answer to an earlier request
		return 0;
	if (m->epoch < f->epoch_sender)
		return stream_fail(err, -EPROTO, "a message of epoch %u after one of epoch %u",
			m->epoch, f->epoch_sender);
	f->epoch_sender = m->epoch;
	switch (m->type) {
	case MSG_EPOCH:
		return 0;
	case MSG_BASE:
		return take_base(f, m, err);
	case MSG_TENSORS:
		return take_tensors(f, m, err);
	case MSG_AHEAD:
		return take_ahead(f, m, err);
	case MSG_BLOCKS:
		return take_blocks(f, m, err);
	case MSG_BASED:
		return take_based(f, m, err);
	case MSG_DECISIONS:
		return take_decisions(f, m, err);
	case MSG_RANKS:
		return take_ranks(f, m, err);
	case MSG_APPLIED:
		return take_applied(f, m, err);
	case MSG_ROWS:
		return take_rows(f, m, err);
	case MSG_TALLY:
		return take_tally(f, m, err);
	case MSG_DIGEST:
		return take_digest(f, m, err);
	default:
		return bad(m, err);
	}
}

// ---- turns

static bool holds_write(struct gp_follower *f)
{
	struct gp_image_view v;
	struct holds h = {.number = f->holds_number};
	for (uint32_t i = 0; gp_image_at(f->opts.image, i, &v); i++)
		if (v.based)
			h.holds[h.count++] = (struct hold){.id = v.id,
				.decision = v.point.decision,
				.base = v.point.base,
				.chain = v.point.chain};
	uint8_t *to =
		stream_begin(f->stream, MSG_HOLDS, HOLDS_HEAD_SIZE + HOLD_SIZE * (size_t)h.count);
	if (!to)
		return false;
	holds_put(to, &h);
	stream_end(f->stream);
	f->holds_due = false;
	return true;
}

static void held_write(struct gp_follower *f)
{
	struct gp_image_view v;
	uint32_t count = (uint32_t)__builtin_popcountll(f->dirty);
	uint8_t *to = stream_begin(f->stream, MSG_HELD, HELD_SIZE * (size_t)count);
	if (!to)
		return;
	for (uint64_t left = f->dirty; left != 0; left &= left - 1, to += HELD_SIZE) {
		uint16_t id = (uint16_t)(__builtin_ctzll(left) + 1);
		bool there = gp_image_find(f->opts.image, id, &v);
		GP_ASSERT(there && v.based);
		gp_store16(to, id);
		gp_store16(to + 2, 0);
		gp_store32(to + 4, v.point.decision);
		gp_store64(to + 8, v.point.base);
	}
	stream_end(f->stream);
	if (follower_epoch(f) != 0)
		f->promised |= f->dirty;
	f->dirty = 0;
}

static void diverged_write(struct gp_follower *f)
{
	uint8_t *to = stream_begin(f->stream, MSG_DIVERGED, 24);
	if (!to)
		return;
	gp_store16(to, f->diverged_id);
	gp_store16(to + 2, 0);
	gp_store32(to + 4, f->diverged_step);
	gp_store64(to + 8, f->diverged_ours);
	gp_store64(to + 16, f->diverged_theirs);
	stream_end(f->stream);
	f->diverged_due = false;
}

// A new epoch: what is held has to be acknowledged in it.
static void epoch_note(struct gp_follower *f)
{
	struct gp_image_view v;
	uint32_t epoch = follower_epoch(f);
	if (epoch == f->epoch_told)
		return;
	f->epoch_told = epoch;
	for (uint32_t i = 0; gp_image_at(f->opts.image, i, &v); i++)
		if (v.based && !v.settling)
			held_note(f, v.id);
}

bool gp_follower_is_whole(const struct gp_follower *f)
{
	struct gp_image_view v;
	bool whole = f->fed && !f->diverged && !f->tensors;
	for (uint32_t i = 0; whole && gp_image_at(f->opts.image, i, &v); i++)
		whole = (v.based || v.point.base == 0) && !v.renewed && !v.settling;
	return whole;
}

bool gp_follower_goes_on(const struct gp_follower *f)
{
	return f->settling != 0 && !f->diverged;
}

void follower_turn(struct gp_follower *f)
{
	if (gp_follower_goes_on(f))
		(void)cut_settle(f, (uint16_t)(__builtin_ctzll(f->settling) + 1));
	if (f->diverged_due)
		diverged_write(f);
	if (f->diverged || (f->holds_due && !holds_write(f)) || !f->fed)
		return;
	epoch_note(f);
	if (f->dirty != 0)
		held_write(f);
}
