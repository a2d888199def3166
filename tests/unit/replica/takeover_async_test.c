// SPDX-License-Identifier: BSD-3-Clause
//
// As takeover_test.c, of asynchronous jobs. What the backup holds is at every moment what its ranks
// had committed and brought by its own account, neither more nor less; a rank is told of nothing
// that is not in it and reads nothing else; and after a takeover each contribution counts once.
// Gradients are whole numbers, so that their order does not matter.
#include "pair_rig.h"

#define STEPS 5
#define LR    0.5f

TestSuite(takeover_async, .timeout = 100);

struct shape {
	uint8_t consistency, atomicity, kind, optim;
	uint32_t cores, cores_next, workers;
};

static float value(uint32_t rank, uint32_t step, uint32_t block, uint32_t i)
{
	return (float)((rank * 31 + step * 17 + block * 7 + i) % 16);
}

static void push_block(struct worker *w, uint32_t step, uint32_t block)
{
	float values[BLOCK_ELEMS];
	uint32_t elems = model_elems(block);
	for (uint32_t i = 0; i < elems; i++)
		values[i] = value(w->rank, step, block, i);
	const struct gp_section s = {.block = block,
		.len = (uint16_t)(elems * sizeof(float)),
		.run = 1,
		.codec = GP_CODEC_F32,
		.weight = 1.0f};
	worker_push(w, step, &s, values, false);
}

static struct rig *primary_up(const struct shape *s)
{
	struct rig *r = rig_new();
	struct gp_job_config *j = &r->jobs[0];
	j->kind = s->kind;
	j->consistency = s->consistency;
	j->atomicity = s->atomicity;
	j->workers = j->workers_min = s->workers;
	j->bound = 1;
	j->stale = GP_STALE_REFUSE;
	j->stale_max = UINT32_MAX;
	j->quorum_min = s->workers;
	j->cuts_max = 4;
	j->memory_max = 8 << 20;
	j->optim = (struct gp_optim_params){.kind = s->optim, .lr = LR, .momentum = 0.5f};
	j->replicated = true;
	r->cfg.cores_count = s->cores;
	rig_up(r);
	return r;
}

static bool is_quorum(const struct shape *s)
{
	return s->consistency == GP_CONSIST_QUORUM;
}

static bool is_told(const struct shape *s, const struct worker *w, uint32_t step)
{
	return seen_commit(w, GP_DECISION_COMMIT, is_quorum(s) || step == 0 ? 0 : w->rank, step);
}

// One rank's way through its steps.
struct walk {
	uint32_t step;	 // in hand
	uint32_t pushed; // blocks of it, bit by bit
};

static void walk_on(struct pair *p, const struct shape *s, struct walk *k, struct worker *w)
{
	if (k->pushed == (1u << BLOCKS) - 1 && is_told(s, w, k->step) && k->step < STEPS) {
		k->step++;
		k->pushed = 0;
	}
	uint32_t block = history_random(&p->random, BLOCKS);
	bool initial = k->step == 0 && w->rank != 0;
	if (initial)
		k->pushed = (1u << BLOCKS) - 1;
	if (k->pushed >> block & 1 || history_random(&p->random, 2) == 0)
		return;
	push_block(w, k->step, block);
	k->pushed |= 1u << block;
}

// ---- what the backup holds

static float expected(const struct gp_restore_async *x, const struct shape *s, uint32_t block,
	uint32_t i, bool reduces)
{
	float sum = reduces ? 0 : -value(0, 0, block, i) / LR;
	for (uint32_t r = 0; r < s->workers; r++) {
		uint32_t first = reduces ? x->clock[r] : 1, last = x->clock[r];
		if (x->applied)
			last += (uint32_t)(x->applied[(size_t)x->applied_words * r] >> block) & 1;
		for (uint32_t step = first; step <= last; step++)
			sum += value(r, step, block, i);
	}
	return reduces ? sum : -LR * sum;
}

static void image_is_one_moment(const struct pair *p, const struct shape *s)
{
	struct gp_image_view v;
	struct gp_restore x;
	if (s->optim != GP_OPTIM_SGD || gp_image_restore(p->image, 1, &x) != 0)
		return;
	cr_assert(gp_image_find(p->image, 1, &v) && x.async);
	bool reduces = s->kind == GP_KIND_REDUCE;
	for (uint32_t b = 0; b < BLOCKS && !(reduces && x.async->updates == 0); b++) {
		uint32_t elems;
		float weight;
		const float *got = gp_image_block(p->image, 1, b, v.generation, 0, &elems, &weight);
		cr_assert(got, "block %u of generation %u", b, v.generation);
		for (uint32_t i = 0; i < elems; i++)
			cr_assert_eq(got[i], expected(x.async, s, b, i, reduces),
				"generation %u block %u element %u: %g, not %g", v.generation, b, i,
				(double)got[i], (double)expected(x.async, s, b, i, reduces));
	}
}

static uint32_t told_through(const struct shape *s, const struct worker *w)
{
	uint32_t step = 0;
	while (step < STEPS && is_told(s, w, step + 1))
		step++;
	return step;
}

static void told_is_held(const struct pair *p, const struct shape *s)
{
	struct gp_restore x;
	bool any = gp_image_restore(p->image, 1, &x) == 0;
	for (uint32_t r = 0; r < s->workers; r++) {
		const struct worker *w = &p->r->w[r];
		uint32_t told = told_through(s, w);
		cr_assert(told == 0 || (any && !gp_before(x.async->clock[r], told)),
			"rank %u was told of step %u", r, told);
	}
}

static void read_send(struct worker *w, uint32_t request, uint32_t clock)
{
	uint8_t body[16];
	struct gp_header h = worker_header(w, w->welcome.home, GP_WIRE_READ);
	h.pad = 48;
	const struct gp_read x = {.request = request, .clock = clock};
	worker_send(w, w->welcome.home, &h, NULL, body, gp_wire_put_read(body, &x));
}

// The generation of the newest answer, or UINT32_MAX: none was granted.
static uint32_t read_granted(const struct worker *w)
{
	struct gp_read_reply r;
	const struct seen *s = seen_last(w, GP_WIRE_READ_REPLY, 0);
	if (!s)
		return UINT32_MAX;
	gp_wire_get_read_reply(&s->m, &r);
	return r.state == GP_READ_GRANTED ? r.generation : UINT32_MAX;
}

static void read_is_held(const struct pair *p, const struct shape *s)
{
	struct gp_image_view v;
	for (uint32_t r = 0; r < s->workers; r++) {
		uint32_t generation = read_granted(&p->r->w[r]);
		if (generation == UINT32_MAX)
			continue;
		cr_assert(gp_image_find(p->image, 1, &v));
		cr_assert(!gp_before(v.generation, generation),
			"rank %u reads generation %u, the backup is at %u", r, generation,
			v.generation);
	}
}

static void train_until_the_end(
	struct pair *p, const struct shape *s, struct walk *walks, uint32_t turns)
{
	uint32_t request = 0;
	for (; turns > 0; turns--) {
		for (uint32_t r = 0; r < s->workers; r++)
			walk_on(p, s, &walks[r], &p->r->w[r]);
		struct worker *w = &p->r->w[history_random(&p->random, s->workers)];
		if (history_random(&p->random, 8) == 0)
			read_send(w, ++request, walks[w->rank].step);
		pair_turn(p);
		image_is_one_moment(p, s);
		told_is_held(p, s);
		read_is_held(p, s);
	}
}

// ---- the other server

static uint32_t next_step(struct worker *w)
{
	struct gp_heartbeat_reply r;
	worker_heartbeat(w, w->welcome.home, w->decision);
	rig_run(w->r);
	const struct seen *s = seen_last(w, GP_WIRE_HEARTBEAT_REPLY, 0);
	cr_assert(s);
	gp_wire_get_heartbeat_reply(&s->m, &r);
	cr_assert(r.flags & GP_HEARTBEAT_MEMBER);
	return r.next_step;
}

static void join_again(struct rig *r, const struct shape *s)
{
	for (uint32_t i = 0; i < s->workers; i++) {
		struct gp_join j = worker_join_of(&r->w[i], (uint16_t)i);
		j.previous = 77;
		j.flags |= GP_JOIN_GOES_ON;
		cr_assert_eq(worker_enter_as(&r->w[i], &j), 0);
		worker_attach(&r->w[i]);
		cr_assert_eq(worker_bring(&r->w[i]), 0);
	}
	rig_run(r);
}

// Every block of the step goes again, and what the new server has counts as it is.
static void finish(struct rig *r, const struct shape *s, const struct walk *walks)
{
	uint32_t steps[RIG_WORKERS_MAX];
	for (uint32_t i = 0; i < s->workers; i++) {
		steps[i] = rig_job(r).initialised ? next_step(&r->w[i]) : 0;
		cr_assert(steps[i] == walks[i].step || steps[i] == walks[i].step + 1,
			"rank %u was at step %u, and goes on with %u", i, walks[i].step, steps[i]);
	}
	for (uint32_t step = 0; step <= STEPS; step++) {
		for (uint32_t i = 0; i < s->workers; i++)
			for (uint32_t b = 0; b < BLOCKS; b++)
				if (steps[i] <= step && (step > 0 || i == 0))
					push_block(&r->w[i], step, b);
		rig_run(r);
	}
	for (uint32_t i = 0; i < s->workers; i++)
		cr_assert_eq(next_step(&r->w[i]), STEPS + 1);
}

static void each_counts_once(struct rig *r, const struct shape *s)
{
	const uint32_t clock[RIG_WORKERS_MAX] = {STEPS, STEPS, STEPS};
	const struct gp_restore_async all = {.clock = clock};
	bool reduces = s->kind == GP_KIND_REDUCE;
	read_send(&r->w[0], 1000, STEPS + 1);
	rig_run(r);
	uint32_t generation = read_granted(&r->w[0]);
	cr_assert_neq(generation, UINT32_MAX);
	for (uint32_t b = 0; b < BLOCKS && s->optim == GP_OPTIM_SGD; b++) {
		uint32_t elems;
		const float *got = gp_engine_block(r->e, 0, b, generation, 0, &elems);
		cr_assert(got);
		for (uint32_t i = 0; i < elems; i++)
			cr_assert_eq(got[i], expected(&all, s, b, i, reduces),
				"block %u element %u: %g, not %g", b, i, (double)got[i],
				(double)expected(&all, s, b, i, reduces));
	}
}

static void take_over(const struct shape *s, uint64_t seed, uint32_t *in_the_middle)
{
	struct walk walks[RIG_WORKERS_MAX] = {0};
	struct gp_restore x;
	struct pair p;
	for (uint32_t r = 0; r < s->workers && s->kind == GP_KIND_REDUCE; r++)
		walks[r].step = 1;
	pair_up_with(
		&p, primary_up(s), seed, (uint32_t)(seed % 3)); // 0: any number of blocks a turn
	struct gp_job_config cfg = p.r->jobs[0];
	train_until_the_end(&p, s, walks, history_random(&p.random, 120));
	bool any = gp_image_restore(p.image, 1, &x) == 0;
	for (uint32_t r = 0; any && x.async->applied && r < s->workers; r++)
		*in_the_middle += x.async->applied[(size_t)x.async->applied_words * r] != 0;
	gp_stream_close(p.backup.stream);
	rig_free_busy(p.r);
	struct rig *next = pair_promote(&p, &cfg, s->cores_next);
	join_again(next, s);
	finish(next, s, walks);
	each_counts_once(next, s);
	rig_free_busy(next);
	pair_down(&p);
}

Test(takeover_async, each_contribution_counts_once)
{
	static const struct shape shapes[] = {
		{GP_CONSIST_ASP, GP_ATOM_BLOCK, GP_KIND_TRAIN, GP_OPTIM_SGD, 2, 2, 2},
		{GP_CONSIST_SSP, GP_ATOM_BLOCK, GP_KIND_TRAIN, GP_OPTIM_SGD, 1, 3, 3},
		{GP_CONSIST_SSP, GP_ATOM_STEP, GP_KIND_TRAIN, GP_OPTIM_SGD, 2, 1, 2},
		{GP_CONSIST_ADAPTIVE, GP_ATOM_BLOCK, GP_KIND_TRAIN, GP_OPTIM_SGD, 3, 2, 2},
		{GP_CONSIST_ASP, GP_ATOM_STEP, GP_KIND_TRAIN, GP_OPTIM_MOMENTUM, 3, 3, 3},
		{GP_CONSIST_QUORUM, GP_ATOM_STEP, GP_KIND_TRAIN, GP_OPTIM_SGD, 2, 2, 2},
		{GP_CONSIST_QUORUM, GP_ATOM_STEP, GP_KIND_REDUCE, GP_OPTIM_SGD, 1, 2, 2},
	};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(shapes); i++) {
		uint32_t in_the_middle = 0;
		for (uint64_t seed = 0; seed < 12; seed++)
			take_over(&shapes[i], 1000 * i + seed, &in_the_middle);
		cr_assert(in_the_middle > 0 || shapes[i].atomicity != GP_ATOM_BLOCK);
	}
}
