// SPDX-License-Identifier: BSD-3-Clause
//
// Asynchronous jobs on the rig: their configuration, reads, and what parameters must be.
#ifndef ASYNC_RIG_H
#define ASYNC_RIG_H

#include "driver.h"

#define LR 0.5f

static inline struct rig *async_new(uint8_t consistency, uint8_t atomicity, uint32_t workers)
{
	struct rig *r = rig_new();
	struct gp_job_config *j = &r->jobs[0];
	j->kind = GP_KIND_TRAIN;
	j->consistency = consistency;
	j->atomicity = atomicity;
	j->workers = workers;
	j->bound = 1;
	j->stale_max = UINT32_MAX;
	j->quorum_min = workers;
	j->cuts_max = 4;
	j->memory_max = 8 << 20;
	j->optim = (struct gp_optim_params){.kind = GP_OPTIM_SGD, .lr = LR};
	return r;
}

// The initial parameters are those of rank 0 at step 0.
static inline void async_up(struct rig *r)
{
	rig_up(r);
	worker_push_all(&r->w[0], 0, false);
	rig_run(r);
	cr_assert(seen_commit(&r->w[1], GP_DECISION_COMMIT, 0, 0));
}

static inline void worker_read(struct worker *w, uint32_t request, uint32_t clock, uint32_t flags)
{
	uint8_t body[16];
	struct gp_header h = worker_header(w, w->welcome.home, GP_WIRE_READ);
	h.pad = 48;
	const struct gp_read x = {.request = request, .clock = clock, .flags = flags};
	worker_send(w, w->welcome.home, &h, NULL, body, gp_wire_put_read(body, &x));
}

static inline struct gp_read_reply read_reply(const struct worker *w)
{
	const struct seen *s = seen_last(w, GP_WIRE_READ_REPLY, 0);
	struct gp_read_reply x;
	cr_assert(s, "a read is answered");
	gp_wire_get_read_reply(&s->m, &x);
	return x;
}

static inline struct gp_read_reply read_now(
	struct worker *w, uint32_t request, uint32_t clock, uint32_t flags)
{
	worker_read(w, request, clock, flags);
	rig_run(w->r);
	struct gp_read_reply x = read_reply(w);
	cr_assert_eq(x.request, request);
	return x;
}

static inline uint32_t granted(struct worker *w, uint32_t request, uint32_t clock)
{
	struct gp_read_reply x = read_now(w, request, clock, 0);
	cr_assert_eq(x.state, GP_READ_GRANTED);
	return x.generation;
}

static inline void pull_block(struct worker *w, uint32_t block, uint32_t generation, float *values)
{
	worker_pull(w, block, 1, generation, false);
	rig_run(w->r);
	const struct seen *s = seen_result(w, block, generation);
	cr_assert(s, "block %u of generation %u", block, generation);
	cr_assert_eq(s->m.h.flags & GP_WIRE_F_TENTATIVE, 0);
	result_values(s, values);
}

struct given {
	uint32_t rank, step;
	float scale; // of the gradient
};

// Parameters after plain sgd with each of these by itself.
static inline void expect_model(
	struct worker *w, uint32_t generation, const struct given *given, uint32_t count)
{
	for (uint32_t b = 0; b < BLOCKS; b++) {
		float got[BLOCK_ELEMS];
		pull_block(w, b, generation, got);
		for (uint32_t i = 0; i < model_elems(b); i++) {
			float x = rig_value(0, 0, b, i);
			for (uint32_t k = 0; k < count; k++) {
				float g = rig_value(given[k].rank, given[k].step, b, i);
				x = x - LR * (g * given[k].scale);
			}
			cr_assert_eq(got[i], x, "block %u element %u: %g, not %g", b, i,
				(double)got[i], (double)x);
		}
	}
}
#define EXPECT_MODEL(w, generation, ...)                                                           \
	do {                                                                                       \
		const struct given given_[] = {__VA_ARGS__};                                       \
		expect_model(w, generation, given_, GP_ARRAY_SIZE(given_));                        \
	} while (0)

static inline void push_step(struct worker *w, uint32_t step)
{
	worker_push_all(w, step, false);
	rig_run(w->r);
	cr_assert(seen_commit(w, GP_DECISION_COMMIT, w->rank, step), "rank %u step %u", w->rank,
		step);
}

static inline void expect_sum(
	struct worker *w, uint32_t generation, const struct given *x, uint32_t n)
{
	float got[BLOCK_ELEMS];
	for (uint32_t b = 0; b < BLOCKS; b++) {
		pull_block(w, b, generation, got);
		for (uint32_t i = 0; i < model_elems(b); i++) {
			float s = rig_value(x[0].rank, x[0].step, b, i) * x[0].scale;
			for (uint32_t k = 1; k < n; k++)
				s = s + rig_value(x[k].rank, x[k].step, b, i) * x[k].scale;
			cr_assert_eq(got[i], s, "block %u element %u: %g not %g, n %u", b, i,
				(double)got[i], (double)s, n);
		}
	}
}
#define EXPECT_SUM(w, generation, ...)                                                             \
	do {                                                                                       \
		const struct given given_[] = {__VA_ARGS__};                                       \
		expect_sum(w, generation, given_, GP_ARRAY_SIZE(given_));                          \
	} while (0)

#endif
