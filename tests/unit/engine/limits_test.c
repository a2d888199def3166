// SPDX-License-Identifier: BSD-3-Clause
//
// What the engine refuses to be made of, what it says when it is asked too early, and who is told
// what control sees.
#include "driver.h"

#include <errno.h>

#define PAYLOAD_MIN 528

static int create(struct rig *r)
{
	struct gp_xport *x[RIG_CORES_MAX] = {0};
	struct gp_engine *e;
	int rc = gp_engine_create(&e, &r->cfg, x);
	cr_assert((rc == 0) == (e != NULL));
	gp_engine_destroy(e);
	return rc;
}

#define REFUSED(r, member, value)                                                                  \
	do {                                                                                       \
		__typeof__((r)->member) kept_ = (r)->member;                                       \
		(r)->member = (value);                                                             \
		cr_assert_eq(create(r), -EINVAL, "%s = %s", #member, #value);                      \
		(r)->member = kept_;                                                               \
	} while (0)

Test(limits, each_value_of_a_node)
{
	struct rig *r = rig_new();
	cr_assert_eq(create(r), 0);
	REFUSED(r, cfg.cores_count, 0);
	REFUSED(r, cfg.cores_count, GP_ENGINE_CORES_MAX + 1);
	REFUSED(r, cfg.jobs_count, 0);
	REFUSED(r, cfg.jobs_count, GP_ENGINE_JOBS_MAX + 1);
	REFUSED(r, cfg.sessions_max, 0);
	REFUSED(r, cfg.sessions_max, GP_ENGINE_SESSIONS_MAX + 1);
	REFUSED(r, cfg.ring_size, 63);
	REFUSED(r, cfg.epoch, 0);
	REFUSED(r, cfg.hello_rate, 0);
	REFUSED(r, cfg.payload_max, PAYLOAD_MIN - 1);
	REFUSED(r, cfg.flight_cells, 1);
	REFUSED(r, cfg.flight_cells, 1000); // no power of two
	REFUSED(r, cfg.flight_cells, 1u << 31);
	gp_engine_destroy(NULL);
	free(r);
}

Test(limits, each_value_of_a_job)
{
	struct rig *r = rig_new();
	REFUSED(r, jobs[0].id, 0);
	REFUSED(r, jobs[0].id, GP_ENGINE_JOBS_MAX + 1);
	REFUSED(r, jobs[0].workers, 0);
	REFUSED(r, jobs[0].workers, GP_RANKS_MAX + 1);
	REFUSED(r, jobs[0].workers_min, 0);
	REFUSED(r, jobs[0].workers_min, 3);
	REFUSED(r, jobs[0].slots, 0);
	REFUSED(r, jobs[0].slots, 12);
	REFUSED(r, jobs[0].window, 0);
	REFUSED(r, jobs[0].window, UINT16_MAX + 1);
	REFUSED(r, jobs[0].tensors_max, 0);
	REFUSED(r, jobs[0].payload_max, PAYLOAD_MIN - 1);
	cr_assert_eq(create(r), 0);
	free(r);
}

Test(limits, memory_that_ends_is_said_and_all_of_it_comes_back)
{
	struct rig *r = rig_new();
	r->cfg.jobs_count = 2;
	r->cfg.standby = true; // two tables a job
	for (uint32_t n = 0; n < 5; n++) {
		r->takes_left = n;
		cr_assert_eq(create(r), -ENOMEM, "with %u pieces of memory", n);
	}
	r->takes_left = 5;
	cr_assert_eq(create(r), 0);
	free(r);
}

Test(limits, what_is_asked_too_early_or_of_nobody)
{
	struct rig *r = rig_new();
	struct gp_tensor_view t;
	struct gp_rank_view rank;
	uint64_t digest;
	uint32_t elems;
	rig_start(r);
	cr_assert_eq(gp_registrar_cut(r->reg, 0), -EAGAIN);
	cr_assert_eq(gp_registrar_cut(r->reg, 1), -EAGAIN);
	cr_assert_eq(gp_registrar_cut(r->reg, 9), -EAGAIN);
	cr_assert_eq(gp_registrar_cut(r->reg, GP_ENGINE_JOBS_MAX + 1), -EAGAIN);
	cr_assert_eq(gp_engine_digest(r->e, 0, 1, &digest), -ENOENT);
	cr_assert_not(gp_engine_tensor_view(r->e, 0, 0, &t));
	cr_assert_null(gp_engine_block(r->e, 0, 0, 1, 0, &elems));
	cr_assert_not(gp_engine_rank_view(r->e, 0, 2, &rank));
	cr_assert(gp_engine_rank_view(r->e, 0, 1, &rank));
	cr_assert_not(rank.joined);
	cr_assert_eq(worker_enter(&r->w[0], 0), 0);
	cr_assert(gp_engine_rank_view(r->e, 0, 0, &rank));
	cr_assert(rank.joined && rank.incarnation == r->w[0].incarnation);
	rig_free(r);
}

Test(limits, beyond_the_layout_there_is_nothing)
{
	struct rig *r = rig_new();
	struct gp_tensor_view t;
	uint32_t elems;
	r->jobs[0].kind = GP_KIND_TRAIN;
	rig_up(r);
	cr_assert_eq(gp_registrar_cut(r->reg, 1), -EAGAIN, "there is no generation yet");
	cr_assert(gp_engine_tensor_view(r->e, 0, 1, &t));
	cr_assert_eq(t.elems, B_ELEMS);
	cr_assert_not(gp_engine_tensor_view(r->e, 0, TENSORS, &t));
	cr_assert_null(gp_engine_block(r->e, 0, BLOCKS, 0, 0, &elems));
	rig_free(r);
}

Test(limits, an_engine_at_work_says_what_is_not_back)
{
	struct rig *r = rig_new();
	char why[256];
	rig_up(r);
	cr_assert(gp_engine_at_rest(r->e, why, sizeof(why)));
	worker_push_block(&r->w[0], 1, 0, false);
	rig_run(r);
	cr_assert_not(gp_engine_at_rest(r->e, why, sizeof(why)));
	cr_assert(strstr(why, "job job core 0: 1 slots open"), "%s", why);
	rig_free_busy(r);
}

// ---- those who listen

static uint32_t told_refused, told_opened;

static void on_refused(void *arg, const struct gp_refuse *x, const struct gp_addr *from)
{
	(void)arg;
	cr_assert_eq(x->reason, GP_REFUSAL_WORLD_SIZE);
	cr_assert_eq(from->port, 5000);
	told_refused++;
}

static void on_opened(void *arg, uint16_t job, uint32_t rank, const struct gp_addr *from)
{
	(void)arg, (void)from;
	cr_assert(job == 1 && rank == 1);
	told_opened++;
}

Test(limits, who_listens_hears_of_sessions_and_refusals)
{
	struct rig *r = rig_new();
	const struct gp_registrar_events ev = {.refused = on_refused, .session_opened = on_opened};
	rig_start(r);
	gp_registrar_set_events(r->reg, &ev);
	struct gp_join j = worker_join_of(&r->w[0], 1);
	j.world = 3;
	cr_assert_eq(worker_enter_as(&r->w[0], &j), GP_REFUSAL_WORLD_SIZE);
	cr_assert_eq(worker_enter(&r->w[0], 1), 0);
	cr_assert(told_refused == 1 && told_opened == 1);
	rig_free(r);
}

Test(limits, a_cut_that_nobody_waits_for_ends_by_itself)
{
	struct rig *r = rig_new();
	rig_up(r);
	const struct gp_registrar_events none = {0};
	gp_registrar_set_events(r->reg, &none);
	for (uint32_t step = 1; step <= 3; step++) {
		worker_push_all(&r->w[0], step, false);
		worker_push_all(&r->w[1], step, false);
		rig_run(r);
		cr_assert_eq(gp_registrar_cut(r->reg, 1), 0);
		rig_run(r);
		cr_assert_not(rig_job(r).cut_active);
	}
	rig_free(r);
}

Test(limits, sixteen_readers_and_no_more)
{
	struct rig *r = rig_new();
	rig_up(r);
	for (uint32_t i = 0; i <= 16; i++) {
		struct worker *w = &r->w[2 + i % 8];
		struct gp_join j = worker_join_of(w, GP_WIRE_RANK_NONE);
		j.flags = GP_JOIN_READER;
		j.world = 0;
		j.incarnation = 500 + i;
		uint32_t rc = worker_enter_as(w, &j);
		cr_assert_eq(rc, i < 16 ? 0 : GP_REFUSAL_OVER_QUOTA, "reader %u", i);
		if (rc)
			cr_assert(
				strstr(w->refuse.text, "has its 16 readers"), "%s", w->refuse.text);
	}
	rig_free(r);
}
