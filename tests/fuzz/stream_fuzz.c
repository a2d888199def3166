// SPDX-License-Identifier: BSD-3-Clause
//
// The replication stream: whatever a peer sends, frames are taken or refused with a text, an image
// stays whole, and a feeder believes nothing that it has not sent.
//
// Input: a byte that chooses the side (bit 0: a feeder reads, else a follower; bit 1: the rest are
// raw bytes; bit 2: a follower, and a primary with tables, stream_rows.h). Else the rest are
// messages, u8 type, u8 epoch, u16 length, body, to which heads and checksums are made here: no
// mutation would survive them.
#include "input.h"
#include "stream_rows.h"

#include <gp_feeder.h>
#include <gp_follower.h>
#include <stream_priv.h>

#include <stdlib.h>
#include <xxhash.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BLOCK_ELEMS 16
#define UNITS	    3
#define EPOCH	    3
#define MESSAGE_MAX 4096

struct world {
	struct gp_stream *stream;
	struct gp_stream_pipe out;
	struct gp_feeder *feeder;
	struct gp_follower *follower;
	struct gp_image *image;
	uint64_t sum;
	bool failed;
};

static bool on_block(
	void *arg, uint32_t job_idx, uint32_t block, uint32_t step, struct gp_backup_block *out)
{
	static const float zeros[BLOCK_ELEMS];
	(void)arg;
	(void)job_idx;
	(void)step;
	GP_ASSERT(block < UNITS);
	*out = (struct gp_backup_block){
		.arrays = {zeros}, .arrays_count = 1, .elems = BLOCK_ELEMS, .weight = 1};
	return true;
}

static void on_held(void *arg, uint32_t job_idx, uint32_t decision, uint32_t epoch)
{
	struct world *w = arg;
	struct gp_feeder_view v;
	bool there = gp_feeder_view(w->feeder, job_idx, &v);
	GP_ASSERT(there && v.shipped_valid && !gp_before(v.shipped, decision));
	if (epoch != 0)
		GP_ASSERT(gp_feeder_released(w->feeder, job_idx, decision) == 0);
}

static void feeder_up(struct world *w)
{
	struct gp_image_tensor tensor = {
		.name = "w", .dims_count = 1, .dims = {UNITS * BLOCK_ELEMS}};
	const struct gp_image_layout layout = {.name = "job",
		.id = 1,
		.kind = GP_KIND_TRAIN,
		.atomicity = GP_ATOM_BLOCK,
		.arrays_count = 1,
		.block_elems = BLOCK_ELEMS,
		.tensors_count = 1,
		.tensors = &tensor};
	const struct gp_feeder_opts opts = {.jobs_count = 1,
		.window = 8,
		.digest_every = 1,
		.arg = w,
		.block = on_block,
		.held = on_held};
	const uint32_t steps[UNITS] = {4, 5, 4};
	const struct gp_backup_base base = {.decision = 7, .steps = steps};
	struct gp_stream_error err;
	int rc = gp_feeder_create(&w->feeder, &opts);
	if (rc == 0)
		rc = gp_feeder_base(w->feeder, 0, &layout, &base, &err);
	for (uint32_t n = 0; rc == 0 && n < 2; n++) {
		const struct gp_decision d = {
			.number = 8 + n, .kind = GP_DECIDED_COMMIT, .unit = 2 * n, .step = 5};
		rc = gp_feeder_decide(w->feeder, 0, &d, &err);
	}
	GP_ASSERT(rc == 0);
	gp_feeder_epoch(w->feeder, EPOCH);
	gp_stream_set_feeder(w->stream, w->feeder);
}

static void follower_up(struct world *w)
{
	const struct gp_image_opts image = {.memory_max = 1 << 20};
	struct gp_image_error err;
	int rc = gp_image_create(&w->image, &image, &err);
	const struct gp_follower_opts opts = {.image = w->image};
	if (rc == 0)
		rc = gp_follower_create(&w->follower, &opts);
	GP_ASSERT(rc == 0);
	gp_follower_epoch(w->follower, EPOCH);
	gp_stream_set_follower(w->stream, w->follower);
}

static void input_give(struct world *w, const uint8_t *data, size_t len)
{
	struct gp_stream_error err = {0};
	size_t used;
	int rc = gp_stream_input(w->stream, data, len, &used, &err);
	if (rc == 0)
		rc = gp_stream_turn(w->stream, &err);
	w->failed = rc != 0;
	GP_ASSERT(used <= len && (rc == 0 || (rc == err.code && err.text[0] != 0)));
	gp_stream_pipe_clear(&w->out);
}

static void frame_give(
	struct world *w, uint32_t type, uint32_t epoch, const uint8_t *body, uint32_t len)
{
	uint8_t frame[GP_STREAM_HEAD_SIZE + MESSAGE_MAX + GP_STREAM_SUM_SIZE];
	GP_ASSERT(len <= MESSAGE_MAX);
	gp_store32(frame, STREAM_MAGIC);
	gp_store16(frame + 4, GP_STREAM_VERSION);
	gp_store16(frame + 6, (uint16_t)type);
	gp_store32(frame + 8, len);
	gp_store32(frame + 12, epoch);
	memcpy(frame + GP_STREAM_HEAD_SIZE, body, len);
	w->sum = XXH3_64bits_withSeed(frame, GP_STREAM_HEAD_SIZE + len, w->sum);
	gp_store64(frame + GP_STREAM_HEAD_SIZE + len, w->sum);
	input_give(w, frame, GP_STREAM_HEAD_SIZE + len + GP_STREAM_SUM_SIZE);
}

static void message_give(struct world *w, struct input *in)
{
	uint8_t body[MESSAGE_MAX];
	uint32_t type = input_u8(in), epoch = input_u8(in);
	frame_give(w, type, epoch, body, input_bytes(in, body, MESSAGE_MAX));
}

// ---- a primary with tables

static void rows_give(void *arg, enum message_type type, const uint8_t *body, size_t len)
{
	struct world *w = arg;
	if (!w->failed)
		frame_give(w, type, EPOCH, body, (uint32_t)len);
}

static void tables_run(struct world *w, struct input *in)
{
	struct rows_primary p = {.arg = w, .give = rows_give, .generation = 4, .decision = 10};
	rows_meet(&p);
	rows_base(&p, in);
	while (!input_is_over(in) && !w->failed) {
		switch (input_u8(in) % 8) {
		case 6:
			p.bent = true;
			message_give(w, in);
			break;
		case 7:
			rows_base(&p, in);
			break;
		default:
			rows_cut(&p, in);
		}
	}
	GP_ASSERT(p.bent || !w->failed);
	rows_check(&p, w->image);
}

static void tables_look(const struct gp_image *m, uint16_t id, const struct gp_restore *r)
{
	for (uint32_t t = 0; t < r->tensors_count; t++) {
		const struct gp_restore_rows *x = r->tensors[t].rows;
		uint64_t at = 0, count = 0, row;
		uint32_t step;
		GP_ASSERT(x && x->count == gp_image_rows_count(m, id, t));
		while (x->next(x->arg, &at, &row, &step))
			count++;
		GP_ASSERT(count == x->count);
	}
}

// Whatever came, a job that is there can be looked at and restored.
static void image_look(struct gp_image *m)
{
	struct gp_image_view v;
	struct gp_restore r;
	for (uint32_t i = 0; gp_image_at(m, i, &v); i++) {
		uint64_t digest;
		GP_ASSERT(v.units_ahead < v.units_count && v.memory <= gp_image_memory(m));
		int rc = gp_image_digest(m, v.id, v.generation, &digest);
		bool blocks = v.kind != GP_KIND_EMBED; // of tables the digest is over rows
		if (rc == 0 && blocks && v.digested && v.digest_step == v.generation)
			GP_ASSERT(digest == v.digest);
		if (gp_image_restore(m, v.id, &r) != 0)
			continue;
		GP_ASSERT(v.based && r.step == v.generation && r.tensors_count == v.tensors_count);
		if (v.kind == GP_KIND_EMBED)
			tables_look(m, v.id, &r);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {.at = data, .end = data + size};
	struct world w = {0};
	const struct gp_stream_events events = {0};
	const struct gp_stream_hello hello = {.product = "fuzz", .node = 0};
	struct gp_stream_error err;
	uint8_t how = input_u8(&in);
	int rc = gp_stream_pipe_init(&w.out, 1 << 16);
	struct gp_stream_sink sink = gp_stream_pipe_sink(&w.out);
	if (rc == 0)
		rc = gp_stream_create(&w.stream, &sink, &events);
	GP_ASSERT(rc == 0);
	bool tables = (how & 7) == 4;
	if (how & 1)
		feeder_up(&w);
	else
		follower_up(&w);
	GP_ASSERT(gp_stream_open(w.stream, &hello, &err) == 0);
	if (how & 2)
		input_give(&w, in.at, (size_t)(in.end - in.at));
	if (tables)
		tables_run(&w, &in);
	while (!(how & 2) && !tables && !input_is_over(&in) && !w.failed)
		message_give(&w, &in);
	if (w.image)
		image_look(w.image);
	gp_stream_destroy(w.stream);
	gp_feeder_destroy(w.feeder);
	gp_follower_destroy(w.follower);
	gp_image_destroy(w.image);
	gp_stream_pipe_fini(&w.out);
	return 0;
}
