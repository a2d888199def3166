// SPDX-License-Identifier: BSD-3-Clause
#include "stream_rig.h"

#include <criterion/criterion.h>

#include <stdlib.h>

#define IMAGE_MEMORY_MAX (4 << 20)

// ---- what the streams tell

static void on_hello(void *arg, const struct gp_stream_hello *peer)
{
	struct stream_side *s = arg;
	(void)peer;
	s->hellos++;
}

static void on_record(void *arg, const struct gp_lead_record *record)
{
	struct stream_side *s = arg;
	s->records++;
	s->record = *record;
}

static void on_offered(void *arg, const struct gp_lead_record *to)
{
	struct stream_side *s = arg;
	s->offers++;
	s->offer = *to;
}

static void on_whole(void *arg, uint64_t nonce)
{
	struct stream_side *s = arg;
	s->wholes++;
	s->whole = nonce;
}

static void on_pong(void *arg, uint64_t stamp)
{
	struct stream_side *s = arg;
	s->pongs++;
	s->pong = stamp;
}

static void side_init(struct stream_side *s, uint32_t node, size_t out_max)
{
	const struct gp_stream_events events = {.arg = s,
		.hello = on_hello,
		.record = on_record,
		.offered = on_offered,
		.whole = on_whole,
		.pong = on_pong};
	cr_assert_eq(gp_stream_pipe_init(&s->out, out_max), 0);
	struct gp_stream_sink sink = gp_stream_pipe_sink(&s->out);
	cr_assert_eq(gp_stream_create(&s->stream, &sink, &events), 0);
	s->hello = (struct gp_stream_hello){
		.product = "test 1.0", .node = node, .life = 77 + node, .holding = node == 0};
}

// ---- what the feeder and the follower tell

static bool on_block(
	void *arg, uint32_t job_idx, uint32_t block, uint32_t step, struct gp_backup_block *out)
{
	struct stream_rig *r = arg;
	return history_block(&r->jobs[job_idx], block, step, out);
}

static void on_held(void *arg, uint32_t job_idx, uint32_t decision, uint32_t epoch)
{
	struct stream_rig *r = arg;
	if (epoch == 0 && !r->held_counts)
		return;
	cr_assert_geq(decision, r->acked[job_idx]);
	r->acked[job_idx] = decision;
	if (r->keep)
		return;
	cr_assert_eq(gp_feeder_released(r->feeder, job_idx, decision), 0);
	history_release(&r->jobs[job_idx], decision);
}

static void on_feeder_diverged(
	void *arg, uint32_t job_idx, uint32_t step, uint64_t ours, uint64_t theirs)
{
	struct stream_rig *r = arg;
	r->diverged_job = job_idx;
	r->diverged_step = step;
	r->diverged_ours = ours;
	r->diverged_theirs = theirs;
}

static void on_follower_diverged(
	void *arg, uint16_t id, uint32_t step, uint64_t ours, uint64_t theirs)
{
	struct stream_rig *r = arg;
	(void)id;
	cr_assert_neq(ours, theirs);
	r->diverged_here = step;
}

struct stream_rig *stream_rig_new(
	uint32_t jobs_count, uint64_t seed, size_t out_max, uint32_t window, uint32_t digest_every)
{
	struct stream_rig *r = calloc(1, sizeof(*r));
	struct gp_image_error err;
	r->jobs_count = jobs_count;
	r->random = seed;
	r->diverged_job = UINT32_MAX;
	side_init(&r->primary, 0, out_max);
	side_init(&r->backup, 1, out_max);
	for (uint32_t i = 0; i < jobs_count; i++)
		history_init(&r->jobs[i], (uint16_t)(10 + i),
			(seed + i) & 1 ? GP_KIND_TRAIN : GP_KIND_REDUCE,
			(uint8_t)(GP_ATOM_BLOCK + (seed / 2 + i) % 3),
			(seed + i) & 1 ? (uint32_t)(seed / 6 + i) % 3 : 0, seed + i);
	const struct gp_feeder_opts feeder = {.jobs_count = jobs_count,
		.window = window,
		.digest_every = digest_every,
		.seed = seed,
		.arg = r,
		.block = on_block,
		.held = on_held,
		.diverged = on_feeder_diverged};
	cr_assert_eq(gp_feeder_create(&r->feeder, &feeder), 0);
	const struct gp_image_opts image = {.memory_max = IMAGE_MEMORY_MAX};
	cr_assert_eq(gp_image_create(&r->image, &image, &err), 0);
	const struct gp_follower_opts follower = {
		.image = r->image, .arg = r, .diverged = on_follower_diverged};
	cr_assert_eq(gp_follower_create(&r->follower, &follower), 0);
	gp_stream_set_feeder(r->primary.stream, r->feeder);
	gp_stream_set_follower(r->backup.stream, r->follower);
	return r;
}

void stream_rig_free(struct stream_rig *r)
{
	gp_stream_destroy(r->primary.stream);
	gp_stream_destroy(r->backup.stream);
	gp_feeder_destroy(r->feeder);
	gp_follower_destroy(r->follower);
	gp_image_destroy(r->image);
	gp_stream_pipe_fini(&r->primary.out);
	gp_stream_pipe_fini(&r->backup.out);
	free(r);
}

void stream_connect(struct stream_rig *r)
{
	struct stream_side *sides[] = {&r->primary, &r->backup};
	for (uint32_t i = 0; i < 2; i++) {
		gp_stream_pipe_clear(&sides[i]->out);
		cr_assert_eq(gp_stream_open(sides[i]->stream, &sides[i]->hello, &sides[i]->err), 0);
		sides[i]->err.code = 0;
	}
}

void stream_cut(struct stream_rig *r)
{
	gp_stream_close(r->primary.stream);
	gp_stream_close(r->backup.stream);
}

void stream_base(struct stream_rig *r, uint32_t i)
{
	struct history *h = &r->jobs[i];
	struct gp_stream_error err;
	const struct gp_backup_base base = {.decision = h->decision, .steps = h->steps};
	int rc = gp_feeder_base(r->feeder, i, &h->layout, &base, &err);
	cr_assert_eq(rc, 0, "%s", err.text);
}

uint32_t stream_decide(struct stream_rig *r, uint32_t i, uint32_t count)
{
	struct gp_decision d;
	struct gp_stream_error err;
	uint32_t n = 0;
	while (n < count && gp_feeder_room(r->feeder) > 0 && history_decide(&r->jobs[i], &d)) {
		cr_assert_eq(gp_feeder_decide(r->feeder, i, &d, &err), 0, "%s", err.text);
		n++;
	}
	return n;
}

static void side_turn(struct stream_side *s)
{
	if (s->err.code == 0 && gp_stream_turn(s->stream, &s->err) != 0)
		cr_assert_fail("%s", s->err.text);
}

size_t stream_move(
	struct stream_rig *r, struct stream_side *from, struct stream_side *to, size_t max)
{
	struct gp_stream_view v;
	size_t used;
	gp_stream_view(to->stream, &v);
	side_turn(from);
	if (!v.open || to->err.code != 0)
		return 0;
	// What is not a whole frame stays in the pipe, as it would at the reader.
	size_t len = GP_MIN(max, gp_stream_pipe_len(&from->out));
	(void)r;
	if (gp_stream_input(to->stream, gp_stream_pipe_data(&from->out), len, &used, &to->err) != 0)
		return 0;
	gp_stream_pipe_drain(&from->out, used);
	side_turn(to);
	return used;
}

void stream_run(struct stream_rig *r)
{
	size_t moved = 1;
	while (moved > 0) {
		moved = stream_move(r, &r->primary, &r->backup, SIZE_MAX);
		moved += stream_move(r, &r->backup, &r->primary, SIZE_MAX);
	}
	cr_assert_eq(r->primary.err.code, 0, "%s", r->primary.err.text);
	cr_assert_eq(r->backup.err.code, 0, "%s", r->backup.err.text);
}

struct gp_feeder_view stream_fed(const struct stream_rig *r, uint32_t i)
{
	struct gp_feeder_view v;
	cr_assert(gp_feeder_view(r->feeder, i, &v));
	return v;
}

struct gp_follower_view stream_followed(const struct stream_rig *r)
{
	struct gp_follower_view v;
	gp_follower_view(r->follower, &v);
	return v;
}
