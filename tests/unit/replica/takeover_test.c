// SPDX-License-Identifier: BSD-3-Clause
//
// A real engine whose commits go through a feeder to a backup, over a connection that is cut now
// and then; the primary ends at any moment, and another engine goes on from the image. Nothing that
// a worker was told is lost, nothing counts twice, and the end is that of a run without a takeover.
#include "pair_rig.h"

#include <errno.h>
#include <stdlib.h>

#define STEPS 6

TestSuite(takeover, .timeout = 100);

struct shape {
	uint8_t kind, atomicity, optim;
	uint32_t cores;
};

static struct rig *primary_up(const struct shape *s)
{
	struct rig *r = rig_new();
	r->jobs[0].kind = s->kind;
	r->jobs[0].atomicity = s->atomicity;
	r->jobs[0].optim = (struct gp_optim_params){.kind = s->optim,
		.lr = 0.5f,
		.momentum = 0.5f,
		.beta1 = 0.9f,
		.beta2 = 0.999f,
		.epsilon = 1e-8f};
	r->jobs[0].replicated = true;
	r->cfg.cores_count = s->cores;
	rig_up(r);
	return r;
}

static uint32_t unit_of(const struct shape *s, uint32_t block)
{
	return s->atomicity == GP_ATOM_STEP	? 0
	       : s->atomicity == GP_ATOM_TENSOR ? TENSOR_OF(block)
						: block;
}

// Both workers contribute what they do not know to be committed.
static void push_step(
	struct rig *r, const struct shape *s, uint32_t step, const bool told[BLOCKS][STEPS + 1])
{
	for (uint32_t w = 0; w < 2; w++)
		for (uint32_t b = 0; b < BLOCKS; b++)
			if (!told || !told[unit_of(s, b)][step])
				worker_push_block(&r->w[w], step, b, true);
	rig_run(r);
}

static uint64_t digest_of(const struct rig *r)
{
	uint64_t digest = 0;
	cr_assert_eq(gp_engine_digest(r->e, 0, rig_job(r).generation, &digest), 0);
	return digest;
}

static uint64_t reference(const struct shape *s)
{
	struct rig *r = primary_up(s);
	for (uint32_t step = s->kind == GP_KIND_TRAIN ? 0 : 1; step <= STEPS; step++)
		push_step(r, s, step, NULL);
	cr_assert_eq(rig_job(r).generation, STEPS);
	uint64_t digest = digest_of(r);
	rig_free(r);
	return digest;
}

static uint32_t units_of(const struct shape *s)
{
	return s->atomicity == GP_ATOM_STEP ? 1 : s->atomicity == GP_ATOM_TENSOR ? TENSORS : BLOCKS;
}

// What any worker knows to be committed is in the image.
static void told_is_held(const struct pair *p, const struct shape *s, bool told[BLOCKS][STEPS + 1])
{
	uint32_t at;
	for (uint32_t u = 0; u < units_of(s); u++)
		for (uint32_t step = 0; step <= STEPS; step++) {
			told[u][step] = seen_commit(&p->r->w[0], GP_DECIDED_COMMIT, u, step) ||
					seen_commit(&p->r->w[1], GP_DECIDED_COMMIT, u, step);
			if (!told[u][step])
				continue;
			cr_assert(gp_image_unit_step(p->image, 1, u, &at));
			cr_assert(at != GP_IMAGE_NONE && !gp_before(at, step),
				"unit %u step %u was told, the backup is at %d", u, step, (int)at);
		}
}

static void workers_enter(struct rig *r)
{
	for (uint32_t i = 0; i < 2; i++) {
		cr_assert_eq(worker_enter(&r->w[i], (uint16_t)i), 0);
		worker_attach(&r->w[i]);
		cr_assert_eq(worker_bring(&r->w[i]), 0);
	}
	rig_run(r);
}

static struct rig *promote(const struct pair *p, const struct gp_job_config *cfg, uint32_t cores)
{
	struct rig *r = pair_promote(p, cfg, cores);
	workers_enter(r);
	return r;
}

// Contributions in any order, until the primary ends in the middle of everything.
static void train_until_the_end(struct pair *p, const struct shape *s, uint32_t turns)
{
	uint32_t step = s->kind == GP_KIND_TRAIN ? 0 : 1;
	bool told[BLOCKS][STEPS + 1];
	uint32_t pushed = 0; // (worker, block) of `step`, in an order by chance
	uint32_t first = 0;
	for (; turns > 0; turns--) {
		uint32_t at = (first + pushed * 3) % (2 * BLOCKS);
		if (pushed < 2 * BLOCKS && history_random(&p->random, 3) > 0) {
			worker_push_block(&p->r->w[at % 2], step, at / 2, true);
			pushed++;
		}
		pair_turn(p);
		told_is_held(p, s, told);
		if (pushed == 2 * BLOCKS && rig_job(p->r).generation == step && step < STEPS) {
			step++;
			pushed = 0;
			first = history_random(&p->random, 2 * BLOCKS);
		}
	}
}

static void take_over(const struct shape *s, uint64_t seed, uint64_t digest, uint32_t *ahead)
{
	struct pair p;
	pair_up(&p, primary_up(s), seed);
	struct gp_job_config cfg = p.r->jobs[0];
	train_until_the_end(&p, s, history_random(&p.random, 150));
	bool told[BLOCKS][STEPS + 1];
	struct gp_image_view v;
	told_is_held(&p, s, told);
	*ahead += gp_image_find(p.image, 1, &v) && v.units_ahead > 0;
	gp_stream_close(p.backup.stream);
	rig_free_busy(p.r);
	struct rig *next = promote(&p, &cfg, s->cores);

	uint32_t step = rig_job(next).initialised  ? next->w[0].welcome.next_step
			: s->kind == GP_KIND_TRAIN ? 0
						   : 1;
	for (; step <= STEPS; step++)
		push_step(next, s, step, told);
	cr_assert_eq(rig_job(next).generation, STEPS, "seed %llu", (unsigned long long)seed);
	cr_assert_eq(digest_of(next), digest, "seed %llu", (unsigned long long)seed);
	rig_free(next);
	pair_down(&p);
}

Test(takeover, goes_on_where_the_backup_stands)
{
	static const struct shape shapes[] = {
		{GP_KIND_TRAIN, GP_ATOM_STEP, GP_OPTIM_MOMENTUM, 2},
		{GP_KIND_TRAIN, GP_ATOM_TENSOR, GP_OPTIM_ADAM, 1},
		{GP_KIND_TRAIN, GP_ATOM_BLOCK, GP_OPTIM_SGD, 3},
		{GP_KIND_REDUCE, GP_ATOM_TENSOR, GP_OPTIM_SGD, 2},
		{GP_KIND_REDUCE, GP_ATOM_BLOCK, GP_OPTIM_SGD, 1},
	};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(shapes); i++) {
		uint64_t digest = reference(&shapes[i]);
		uint32_t ahead = 0; // takeovers in the middle of a step
		for (uint64_t seed = 0; seed < 16; seed++)
			take_over(&shapes[i], 100 * i + seed, digest, &ahead);
		cr_assert(ahead > 0 || shapes[i].atomicity == GP_ATOM_STEP);
	}
}

// What waits at the gate when it is closed anew is in the new base, and is released with it.
Test(takeover, a_gate_that_is_closed_anew_keeps_what_waits)
{
	const struct shape s = {GP_KIND_TRAIN, GP_ATOM_TENSOR, GP_OPTIM_SGD, 2};
	struct gp_feeder_view v;
	struct pair p;
	pair_up(&p, primary_up(&s), 1);
	push_step(p.r, &s, 0, NULL);
	pair_run(&p);
	gp_stream_close(p.backup.stream);
	gp_stream_close(p.primary.stream);
	push_step(p.r, &s, 1, NULL);
	pair_engine_turn(&p);
	cr_assert(gp_feeder_view(p.feeder, 0, &v));
	cr_assert(gp_before(v.released, v.taken), "commits wait");
	cr_assert_eq(rig_job(p.r).generation, 0);
	gp_follower_epoch(p.follower, 0); // another backup, so to speak
	gp_follower_reset(p.follower);
	gp_follower_epoch(p.follower, 1);
	cr_assert(gp_backup_gate(p.r->e, 0, true));
	pair_engine_turn(&p);
	pair_connect(&p);
	pair_run(&p);
	cr_assert_eq(rig_job(p.r).generation, 1);
	cr_assert(gp_backup_gate(p.r->e, 0, false));
	rig_free(p.r);
	pair_down(&p);
}

Test(takeover, the_digests_of_both_are_the_engines)
{
	const struct shape s = {GP_KIND_TRAIN, GP_ATOM_TENSOR, GP_OPTIM_ADAM, 2};
	struct gp_image_view v;
	struct gp_follower_view f;
	struct pair p;
	pair_up(&p, primary_up(&s), 1);
	for (uint32_t step = 0; step <= STEPS; step++) {
		push_step(p.r, &s, step, NULL);
		pair_run(&p);
		cr_assert_eq(rig_job(p.r).generation, step);
		cr_assert(gp_image_find(p.image, 1, &v));
		cr_assert(v.digested && v.digest_step == step);
		cr_assert_eq(v.digest, digest_of(p.r));
	}
	gp_follower_view(p.follower, &f);
	cr_assert_eq(f.digests, STEPS + 1);
	cr_assert(gp_backup_gate(p.r->e, 0, false));
	rig_free(p.r);
	pair_down(&p);
}

static void expect_counted(const struct pair *p, uint32_t which, bool first, bool second)
{
	struct gp_restore x;
	cr_assert_eq(gp_image_restore(p->image, 1, &x), 0);
	cr_assert_eq(gp_ranks_has(x.counted[which], 0), first, "%u", which);
	cr_assert_eq(gp_ranks_has(x.counted[which], 1), second, "%u", which);
}

// Another backup, so to speak, which has to be given a base.
static void backup_anew(struct pair *p)
{
	gp_follower_epoch(p->follower, 0);
	gp_follower_reset(p->follower);
	gp_follower_epoch(p->follower, 1);
	cr_assert(gp_backup_gate(p->r->e, 0, true));
	pair_engine_turn(p);
	pair_connect(p);
	pair_run(p);
}

// Who was in all of a step, and who only in a part of it, is known to a backup that came later.
Test(takeover, whose_contributions_count_is_in_the_base)
{
	const struct shape s = {GP_KIND_REDUCE, GP_ATOM_BLOCK, GP_OPTIM_SGD, 2};
	struct pair p;
	struct rig *r = primary_up(&s);
	push_step(r, &s, 1, NULL);
	for (uint32_t w = 0; w < 2; w++)
		worker_push_block(&r->w[w], 2, 0, true);
	rig_run(r);
	pair_up(&p, r, 1);
	pair_run(&p);
	expect_counted(&p, 0, true, true);
	expect_counted(&p, 1, true, true);
	worker_leave(&r->w[1]);
	pair_run(&p);
	worker_push_block(&r->w[0], 2, 1, true);
	pair_run(&p);
	expect_counted(&p, 1, true, false);
	backup_anew(&p);
	expect_counted(&p, 0, true, true);
	expect_counted(&p, 1, true, false);
	for (uint32_t b = 2; b < BLOCKS; b++)
		worker_push_block(&r->w[0], 2, b, true);
	pair_run(&p);
	cr_assert_eq(rig_job(r).generation, 2);
	backup_anew(&p);
	expect_counted(&p, 0, true, false);
	cr_assert(gp_backup_gate(r->e, 0, false));
	rig_free(r);
	pair_down(&p);
}

// ---- a leader that starts from a snapshot

static struct rig *leader_of(
	const struct gp_restore *x, const struct gp_job_config *cfg, const struct shape *s)
{
	struct rig *r = rig_new();
	r->jobs[0] = *cfg;
	r->cfg.cores_count = s->cores;
	rig_start(r);
	cr_assert_eq(gp_registrar_restore(r->reg, 1, x), 0);
	cr_assert_eq(gp_registrar_restore(r->reg, 1, x), -EBUSY);
	return r;
}

// From step `from` to the end, which is that of a run without any of it.
static void finish(struct rig *r, const struct shape *s, uint32_t from, uint64_t digest)
{
	for (uint32_t step = from; step <= STEPS; step++)
		push_step(r, s, step, NULL);
	cr_assert_eq(rig_job(r).generation, STEPS);
	cr_assert_eq(digest_of(r), digest);
	rig_free(r);
}

// Nobody has joined, the leader is lost.
static struct rig *lose(struct pair *p, const struct gp_restore *x, const struct gp_job_config *cfg,
	const struct shape *s)
{
	struct gp_image_view v;
	pair_up(p, leader_of(x, cfg, s), 1);
	pair_run(p);
	cr_assert(gp_image_find(p->image, 1, &v) && v.based);
	cr_assert_eq(v.generation, x->step);
	gp_stream_close(p->backup.stream);
	rig_free_busy(p->r);
	return promote(p, cfg, s->cores);
}

static void start_from_a_snapshot(const struct shape *s)
{
	const uint32_t at = 3;
	uint64_t digest = reference(s);
	struct gp_restore x;
	struct pair p, q;
	pair_up(&p, primary_up(s), 1);
	for (uint32_t step = 0; step <= at; step++) {
		push_step(p.r, s, step, NULL);
		pair_run(&p);
	}
	const struct gp_job_config cfg = p.r->jobs[0];
	gp_stream_close(p.backup.stream);
	rig_free_busy(p.r);
	cr_assert_eq(gp_image_restore(p.image, 1, &x), 0);
	struct rig *stays = leader_of(&x, &cfg, s);
	workers_enter(stays);
	finish(stays, s, at + 1, digest);
	finish(lose(&q, &x, &cfg, s), s, at + 1, digest);
	pair_down(&q);
	pair_down(&p);
}

// The backup has what a leader starts from before any worker has come: it may be lost at once.
Test(takeover, what_a_leader_starts_from_is_held_before_workers_come)
{
	static const struct shape shapes[] = {
		{GP_KIND_TRAIN, GP_ATOM_STEP, GP_OPTIM_MOMENTUM, 2},
		{GP_KIND_TRAIN, GP_ATOM_TENSOR, GP_OPTIM_ADAM, 1},
		{GP_KIND_TRAIN, GP_ATOM_BLOCK, GP_OPTIM_SGD, 3},
	};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(shapes); i++)
		start_from_a_snapshot(&shapes[i]);
}
