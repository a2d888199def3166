// SPDX-License-Identifier: BSD-3-Clause
//
// Rings that are full and ports without frames: nobody waits for them in a core, nothing is lost,
// and when there is room again everything goes on as if nothing had been.
#include "async_rig.h"

#include <errno.h>

#define MANY_BLOCKS 200 // so each of two cores completes more units at once than a ring takes

static const struct tensor many[] = {
	{.name = "m", .dims_count = 1, .dims = {(uint64_t)MANY_BLOCKS * BLOCK_ELEMS}}};

static struct rig *many_up(uint8_t consistency, uint8_t kind)
{
	struct rig *r = rig_new();
	struct gp_job_config *j = &r->jobs[0];
	j->workers = 1;
	j->kind = kind;
	j->atomicity = GP_ATOM_BLOCK;
	j->consistency = consistency;
	j->slots = 256;
	j->bound = 1;
	j->stale_max = UINT32_MAX;
	j->cuts_max = 4;
	j->memory_max = 16 << 20;
	j->optim = (struct gp_optim_params){.kind = GP_OPTIM_SGD, .lr = 1};
	r->cfg.cores_count = 2;
	r->cfg.ring_size = 64;
	rig_start(r);
	cr_assert_eq(worker_enter(&r->w[0], 0), 0);
	worker_attach(&r->w[0]);
	worker_register(&r->w[0], many, 1, 0, 1);
	rig_run(r);
	cr_assert_eq(r->w[0].view, 1);
	return r;
}

static void zeros_push(struct rig *r, uint32_t core, uint32_t step)
{
	struct gp_header h = worker_header(&r->w[0], core, GP_WIRE_PUSH);
	const struct gp_section s = {.block = core, .run = MANY_BLOCKS / 2, .weight = 1};
	h.step = step;
	h.sections = 1;
	worker_send(&r->w[0], core, &h, &s, NULL, 0);
}

Test(full, a_ring_to_a_home_that_sleeps)
{
	struct rig *r = many_up(GP_CONSIST_BSP, GP_KIND_REDUCE);
	r->asleep = 1 << r->w[0].welcome.home;
	for (uint32_t step = 1; step <= 5; step++) {
		zeros_push(r, 1, step);
		zeros_push(r, 0, step);
		rig_run(r);
		cr_assert_eq(rig_job(r).generation, step - 1);
		r->asleep = 0;
		rig_run(r);
		cr_assert_eq(rig_job(r).generation, step);
		r->asleep = 1 << r->w[0].welcome.home;
	}
	rig_free(r);
}

Test(full, a_ring_to_a_core_that_sleeps)
{
	struct rig *r = many_up(GP_CONSIST_BSP, GP_KIND_REDUCE);
	uint32_t other = 1 - r->w[0].welcome.home;
	for (uint32_t step = 1; step <= 5; step++) {
		zeros_push(r, 1, step);
		zeros_push(r, 0, step);
		for (uint32_t i = 0; i < 4; i++) { // its parts get through, then decisions pile up
			r->asleep = i & 1 ? 0 : 1u << other;
			rig_run(r);
		}
		cr_assert_eq(rig_job(r).generation, step);
	}
	r->asleep = 0;
	rig_free(r);
}

// ---- control's ring

// Joins of new incarnations, more than the ring takes; control does not read.
static void control_fill(struct rig *r)
{
	struct worker *w = &r->w[5];
	r->no_control = true;
	worker_hello(w, 0, RIG_PAYLOAD, GP_WIRE_VERSION);
	rig_run(r);
	struct gp_hello hello;
	gp_wire_get_hello(&seen_last(w, GP_WIRE_HELLO_REPLY, 0)->m, &hello);
	memcpy(w->cookie[0], hello.cookie, sizeof(hello.cookie));
	struct gp_join j = worker_join_of(w, GP_WIRE_RANK_NONE);
	j.flags = GP_JOIN_READER;
	j.world = 0;
	for (uint32_t i = 0; i < 80; i++)
		worker_join(w, 0, &j);
	rig_run(r);
	cr_assert_gt(rig_verdicts(r, GP_VERDICT_CONTROL_FULL), 0);
}

Test(full, joins_beyond_the_ring_are_counted_and_asked_again)
{
	struct rig *r = rig_new();
	r->cfg.ring_size = 64;
	rig_up(r);
	control_fill(r);
	r->no_control = false;
	rig_run(r);
	cr_assert_geq(seen_count(&r->w[5], GP_WIRE_WELCOME), 1);
	rig_free(r);
}

Test(full, a_lost_member_is_told_once_there_is_room)
{
	struct rig *r = rig_new();
	r->cfg.ring_size = 64;
	rig_up(r);
	control_fill(r);
	rig_wait(r, 3 * RIG_TIMEOUT_NS, 1); // worker 1 is silent
	cr_assert_eq(rig_job(r).members, 1);
	cr_assert_eq(rig_job(r).joined, 2, "control does not know yet");
	r->no_control = false;
	rig_wait(r, 100 * RIG_MS, 1);
	cr_assert_eq(rig_job(r).joined, 1);
	rig_free(r);
}

Test(full, a_cut_is_ready_once_there_is_room)
{
	struct rig *r = rig_new();
	r->cfg.ring_size = 64;
	rig_up(r);
	worker_push_all(&r->w[0], 1, false);
	worker_push_all(&r->w[1], 1, false);
	rig_run(r);
	control_fill(r);
	cr_assert_eq(gp_registrar_cut(r->reg, 1), 0);
	rig_run(r);
	cr_assert_eq(r->cuts_ready, 0);
	r->no_control = false;
	rig_run(r);
	cr_assert_eq(r->cuts_ready, 1);
	gp_registrar_cut_release(r->reg, 1);
	rig_free(r);
}

Test(full, poison_that_control_cannot_hear_of_is_not_taken)
{
	struct rig *r = rig_new();
	r->jobs[0].nonfinite = GP_NONFINITE_DROPS_RANK;
	r->cfg.ring_size = 64;
	rig_up(r);
	control_fill(r);
	uint64_t before = rig_verdicts(r, GP_VERDICT_CONTROL_FULL);
	const uint32_t nan[B_ELEMS] = {0x7fc00000};
	const struct gp_section s = {
		.block = 3, .len = sizeof(nan), .run = 1, .codec = GP_CODEC_F32, .weight = 1};
	worker_push(&r->w[0], 1, &s, nan, false);
	rig_run(r);
	cr_assert_eq(rig_verdicts(r, GP_VERDICT_CONTROL_FULL), before + 1);
	r->no_control = false;
	rig_run(r);
	cr_assert_eq(rig_job(r).joined, 2);
	worker_push(&r->w[0], 1, &s, nan, false);
	rig_run(r);
	cr_assert_eq(rig_job(r).joined, 1, "asked again, it goes");
	rig_free(r);
}

// ---- no frames

// Without frames the answer is counted as not sent; asked again with frames it comes.
static void starved_then(
	struct rig *r, struct worker *w, void (*ask)(struct worker *w), uint8_t type)
{
	uint64_t before = RIG_COUNT(r, tx_no_frame);
	uint32_t had = seen_count(w, type);
	r->starve = UINT32_MAX;
	ask(w);
	rig_run(r);
	r->starve = 0;
	cr_assert_gt(RIG_COUNT(r, tx_no_frame), before, "for %s", gp_wire_type_name(type));
	cr_assert_eq(seen_count(w, type), had);
	ask(w);
	rig_run(r);
	cr_assert_gt(seen_count(w, type), had, "no %s", gp_wire_type_name(type));
}

static void ask_hello(struct worker *w)
{
	worker_hello(w, 0, RIG_PAYLOAD, GP_WIRE_VERSION);
}

static void ask_join(struct worker *w) // again: it has its session
{
	struct gp_join j = worker_join_of(w, 0);
	worker_join(w, 0, &j);
}

static void ask_heartbeat(struct worker *w)
{
	worker_heartbeat(w, 0, 0);
}

static void ask_barrier(struct worker *w)
{
	worker_barrier(w, 5);
}

static void ask_stranger(struct worker *w) // a session that is not there
{
	w->session ^= 0x10000;
	worker_heartbeat(w, 0, 0);
	w->session ^= 0x10000;
}

static void ask_beyond(struct worker *w) // more than the slots take
{
	worker_push_block(w, 9, 0, false);
}

Test(full, ports_without_frames_answer_later)
{
	struct rig *r = rig_new();
	rig_up(r);
	r->jobs[0].slots = 2;
	struct worker *w = &r->w[0];
	starved_then(r, w, ask_hello, GP_WIRE_HELLO_REPLY);
	starved_then(r, w, ask_heartbeat, GP_WIRE_HEARTBEAT_REPLY);
	starved_then(r, w, ask_barrier, GP_WIRE_BARRIER_REPLY);
	starved_then(r, w, ask_stranger, GP_WIRE_REFUSE);
	// Who left without an answer asks again, and that session is no more.
	r->starve = UINT32_MAX;
	worker_leave(w);
	rig_run(r);
	r->starve = 0;
	cr_assert_eq(rig_job(r).joined, 1);
	cr_assert_eq(seen_count(w, GP_WIRE_LEAVE_REPLY), 0);
	uint32_t refused = seen_count(w, GP_WIRE_REFUSE);
	worker_heartbeat(w, 0, 0);
	rig_run(r);
	cr_assert_eq(seen_count(w, GP_WIRE_REFUSE), refused + 1);
	rig_free(r);
}

Test(full, busy_without_a_frame_is_said_the_next_time)
{
	struct rig *r = rig_new();
	r->jobs[0].slots = 2;
	rig_up(r);
	starved_then(r, &r->w[0], ask_beyond, GP_WIRE_BUSY);
	rig_free_busy(r);
}

Test(full, a_repeated_join_without_a_frame_is_answered_the_next_time)
{
	struct rig *r = rig_new();
	rig_start(r);
	cr_assert_eq(worker_enter(&r->w[0], 0), 0);
	r->starve = UINT32_MAX;
	ask_join(&r->w[0]);
	rig_run(r);
	r->starve = 0;
	ask_join(&r->w[0]);
	rig_run(r);
	cr_assert_geq(seen_count(&r->w[0], GP_WIRE_WELCOME), 2);
	rig_free(r);
}

// ---- asynchronous jobs

Test(full, an_asynchronous_job_waits_for_a_home_that_sleeps)
{
	struct rig *r = many_up(GP_CONSIST_ASP, GP_KIND_TRAIN);
	zeros_push(r, 0, 0);
	zeros_push(r, 1, 0);
	rig_run(r);
	uint32_t home = r->w[0].welcome.home;
	for (uint32_t turn = 0; turn < 200; turn++) {
		uint32_t step = rig_job(r).clock_max + 1; // sent again until it counts
		zeros_push(r, 0, step);
		zeros_push(r, 1, step);
		r->asleep = turn % 3 ? 1u << home : 0;
		rig_run(r);
	}
	r->asleep = 0;
	rig_run(r);
	cr_assert_gt(rig_job(r).clock_max, 60);
	rig_free(r);
}

static struct {
	uint32_t heard, lost, bound;
} moves;

static void on_move(void *arg, uint16_t job, const struct gp_bound_move *m)
{
	(void)arg, (void)job;
	moves.lost += m->lost;
	cr_assert(
		m->lost > 0 || m->from == moves.bound, "from %u, it was %u", m->from, moves.bound);
	moves.bound = m->to;
	moves.heard++;
}

// The ranks take turns in being late, by so much that each of two windows votes for a wider bound.
static void bound_widen(struct rig *r, uint32_t *step, uint32_t until)
{
	for (uint32_t i = 0; i < 600 && rig_job(r).bound < until; i++, (*step)++) {
		struct worker *first = &r->w[*step % 2], *late = &r->w[1 - *step % 2];
		push_step(first, *step);
		worker_read(first, *step, *step + 1 + rig_job(r).bound, 0);
		rig_wait(r, 200 * RIG_MS, 3);
		push_step(late, *step);
		r->now += 10 * RIG_MS;
	}
	cr_assert_geq(rig_job(r).bound, until);
}

Test(full, every_move_of_the_bound_is_told_or_counted)
{
	struct rig *r = async_new(GP_CONSIST_ADAPTIVE, GP_ATOM_BLOCK, 2);
	r->cfg.ring_size = 64;
	r->jobs[0].bound_min = 0;
	r->jobs[0].bound = 64;
	async_up(r);
	memset(&moves, 0, sizeof(moves));
	const struct gp_registrar_events ev = {.bound_moved = on_move};
	gp_registrar_set_events(r->reg, &ev);
	uint32_t step = 1;
	bound_widen(r, &step, 1);
	cr_assert(moves.heard == 1 && moves.bound == 1);
	control_fill(r);
	bound_widen(r, &step, 64); // 2, 4, 8, 16, 32, 64: four are kept
	cr_assert_eq(moves.heard, 1);
	r->no_control = false;
	rig_run(r);
	cr_assert_eq(moves.heard, 5);
	cr_assert_eq(moves.lost, 2);
	cr_assert_eq(moves.bound, 64);
	rig_free_busy(r);
}

Test(full, an_asynchronous_job_stops_like_any_other)
{
	struct rig *r = many_up(GP_CONSIST_ASP, GP_KIND_TRAIN);
	zeros_push(r, 0, 0);
	zeros_push(r, 1, 0);
	rig_run(r);
	gp_registrar_stop(r->reg);
	gp_registrar_stop(r->reg); // said twice
	rig_run(r);
	cr_assert_eq(rig_job(r).state, GP_STATE_STOPPING);
	for (uint32_t step = 1; step <= 3; step++)
		zeros_push(r, 0, step);
	rig_run(r);
	cr_assert_gt(rig_verdicts(r, GP_VERDICT_STOPPING), 0);
	rig_free(r);
}

Test(full, cuts_by_interval_of_an_asynchronous_job)
{
	struct rig *r = rig_new();
	struct gp_job_config *j = &r->jobs[0];
	j->workers = 1;
	j->kind = GP_KIND_TRAIN;
	j->atomicity = GP_ATOM_BLOCK;
	j->consistency = GP_CONSIST_SSP;
	j->bound = 1;
	j->stale_max = UINT32_MAX;
	j->cuts_max = 4;
	j->memory_max = 16 << 20;
	j->cut_interval = 5;
	rig_up(r);
	for (uint32_t step = 0; step <= 20; step++) {
		worker_push_all(&r->w[0], step, false);
		rig_run(r);
		if (rig_job(r).cut_active && r->cuts_ready > 0)
			gp_registrar_cut_release(r->reg, 1);
		rig_run(r);
	}
	cr_assert_eq(r->cuts_ready, 4, "after steps 5, 10, 15 and 20");
	rig_free(r);
}
