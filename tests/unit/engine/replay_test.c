// SPDX-License-Identifier: BSD-3-Clause
//
// What the flight recorder kept of a run gives the same verdicts, decisions and bytes again.
#include "replay_rig.h"

#include <gp_flight_dump.h>
#include <gp_replay.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define CELLS 16384

static struct gp_replay *replay_of(const struct rig *r, const struct buffer *b)
{
	static struct gp_flight_file f;
	char why[GP_FLIGHT_ERROR_SIZE] = "", err[GP_REPLAY_TEXT_SIZE] = "";
	struct gp_engine_config cfg = r->cfg;
	struct gp_replay *replay;
	cfg.take = take;
	cfg.give = give;
	cfg.mem_arg = NULL;
	cr_assert_eq(gp_flight_open(&f, b->bytes, b->len, why), 0, "%s", why);
	cr_assert_eq(gp_replay_create(&replay, &f, &cfg, err), 0, "%s", err);
	return replay;
}

static const struct gp_replay_result *replay_all(struct gp_replay *replay)
{
	while (gp_replay_round(replay))
		;
	return gp_replay_result(replay);
}

static struct rig *rig_recorded(uint32_t cores, bool payloads)
{
	struct rig *r = rig_new();
	r->cfg.cores_count = cores;
	r->cfg.flight_cells = CELLS;
	r->cfg.flight_payloads = payloads;
	r->jobs[0].workers = 3;
	r->jobs[0].kind = GP_KIND_TRAIN;
	return r;
}

static void step_all(struct rig *r, uint32_t step, uint32_t ranks)
{
	for (uint32_t i = 0; i < ranks; i++)
		worker_push_all(&r->w[i], step, i == 0);
	rig_run(r);
}

// Steps, repeats, pushes too early, pulls held, garbage, a cut, a silent member, its next life, a
// leave.
static void run_eventful(struct rig *r)
{
	rig_up(r);
	worker_push_all(&r->w[0], 0, true);
	rig_run(r);
	for (uint32_t step = 1; step <= 3; step++)
		step_all(r, step, 3);
	worker_push_all(&r->w[1], 4, true);
	worker_push_all(&r->w[1], 4, true);
	worker_push_all(&r->w[1], 9, true);
	worker_pull(&r->w[2], 0, 1, 4, true);
	rig_run(r);
	worker_send_raw(&r->w[2], 0, "what is this", 12);
	cr_assert_eq(gp_registrar_cut(r->reg, 1), 0);
	rig_run(r);
	step_all(r, 4, 3);
	gp_registrar_cut_release(r->reg, 1);
	rig_run(r);
	worker_push_all(&r->w[0], 5, true);
	rig_wait(r, 3 * RIG_TIMEOUT_NS, 3); // rank 2 is silent
	step_all(r, 5, 2);
	r->w[2].incarnation += 100;
	cr_assert_eq(worker_enter(&r->w[2], 2), 0);
	worker_attach(&r->w[2]);
	cr_assert_eq(worker_bring(&r->w[2]), 0);
	rig_run(r);
	for (uint32_t step = 6; step <= 8; step++)
		step_all(r, step, 3);
	worker_leave(&r->w[1]);
	rig_run(r);
	worker_push_all(&r->w[1], 9, true); // of a session that has ended
	rig_run(r);
	worker_push_all(&r->w[0], 9, true);
	worker_push_all(&r->w[2], 9, true);
	rig_run(r);
}

static void run_compared(uint32_t cores, bool payloads, uint8_t atomicity)
{
	struct rig *r = rig_recorded(cores, payloads);
	r->jobs[0].atomicity = atomicity;
	run_eventful(r);
	struct gp_job_view v = rig_job(r);
	cr_assert_eq(v.generation, 9);
	struct buffer b = dump(r);
	struct gp_replay *replay = replay_of(r, &b);
	const struct gp_replay_result *x = replay_all(replay);
	cr_assert(!x->differs, "%s", x->text);
	cr_assert_str_eq(x->missing, "");
	cr_assert(!x->wrapped);
	cr_assert_gt(x->datagrams, 100);
	cr_assert_gt(x->decisions, 10);
	cr_assert_eq(x->filled > 0, !payloads);
	uint64_t seen = 1, expected = 2;
	struct gp_engine *e = gp_replay_engine(replay);
	cr_assert_eq(gp_engine_digest(e, 0, 9, &seen), 0);
	cr_assert_eq(gp_engine_digest(r->e, 0, 9, &expected), 0);
	cr_assert_eq(seen == expected, payloads);
	for (uint32_t k = 0; k < cores; k++) {
		const struct gp_core_stats *a = gp_core_stats(gp_engine_core(r->e, k));
		const struct gp_core_stats *c = gp_core_stats(gp_engine_core(e, k));
		cr_assert_eq(
			gp_counter_read(&a->units_aborted), gp_counter_read(&c->units_aborted));
		cr_assert_eq(gp_counter_read(&a->blocks_completed),
			gp_counter_read(&c->blocks_completed));
	}
	gp_replay_destroy(replay);
	free(b.bytes);
	rig_free(r);
}

Test(replay, a_recorded_run_gives_the_same_bytes)
{
	run_compared(1, true, GP_ATOM_STEP);
}

Test(replay, on_three_cores)
{
	run_compared(3, true, GP_ATOM_TENSOR);
}

Test(replay, headers_give_the_same_verdicts)
{
	run_compared(2, false, GP_ATOM_BLOCK);
}

// ---- a ring that has overwritten its beginning

static struct rig *run_long(uint8_t atomicity)
{
	struct rig *r = rig_recorded(2, false);
	r->cfg.flight_cells = GP_FLIGHT_CELLS_MIN;
	r->jobs[0].atomicity = atomicity;
	rig_up(r);
	worker_push_all(&r->w[0], 0, true);
	rig_run(r);
	for (uint32_t step = 1; step <= 60; step++) {
		// Rank 0 is a step ahead: a mark finds open slots.
		if (step == 1)
			worker_push_all(&r->w[0], step, true);
		worker_push_all(&r->w[0], step + 1, true);
		worker_push_all(&r->w[2], step, false);
		rig_run(r);
		worker_push_all(&r->w[1], step, false);
		worker_push_all(&r->w[1], step, false);
		worker_pull(&r->w[1], 0, 1, step, true);
		rig_run(r);
	}
	return r;
}

static void long_compared(uint8_t atomicity)
{
	struct rig *r = run_long(atomicity);
	cr_assert_eq(rig_job(r).generation, 60);
	struct buffer b = dump(r);
	struct gp_replay *replay = replay_of(r, &b);
	const struct gp_replay_result *x = replay_all(replay);
	cr_assert(!x->differs, "%s", x->text);
	cr_assert_str_eq(x->missing, "");
	cr_assert(x->wrapped);
	cr_assert_gt(x->before, 0);
	cr_assert_gt(x->datagrams, 50);
	cr_assert_gt(x->decisions, 5);
	struct gp_job_view v;
	gp_engine_job_view(gp_replay_engine(replay), 0, &v);
	cr_assert_eq(v.generation, 60);
	gp_replay_destroy(replay);
	free(b.bytes);
	rig_free_busy(r);
}

Test(replay, a_wrapped_ring_is_entered_at_a_mark)
{
	long_compared(GP_ATOM_STEP);
}

Test(replay, a_mark_of_many_units)
{
	long_compared(GP_ATOM_BLOCK);
}

Test(replay, a_ring_without_a_mark_says_so)
{
	struct rig *r = rig_recorded(1, false);
	r->cfg.flight_cells = GP_FLIGHT_CELLS_MIN;
	rig_up(r);
	worker_push_all(&r->w[0], 0, true);
	rig_run(r);
	for (uint32_t i = 0; i < 300; i++) { // the same again and again
		worker_push_block(&r->w[0], 1, 0, false);
		rig_run(r);
	}
	struct buffer b = dump(r);
	struct gp_replay *replay = replay_of(r, &b);
	const struct gp_replay_result *x = replay_all(replay);
	cr_assert(!x->differs, "%s", x->text);
	cr_assert_eq(x->datagrams, 0);
	cr_assert(strstr(x->missing, "job job begins nowhere in the records of core 0"));
	gp_replay_destroy(replay);
	free(b.bytes);
	rig_free_busy(r);
}

// ---- it can fail

Test(replay, another_engine_differs)
{
	struct rig *r = rig_recorded(1, true);
	run_eventful(r);
	struct buffer b = dump(r);
	r->jobs[0].slots = 2; // what was taken is too early there
	struct gp_replay *replay = replay_of(r, &b);
	const struct gp_replay_result *x = replay_all(replay);
	cr_assert(x->differs);
	cr_assert(strstr(x->text, "recorded push, replayed push_busy"), "%s", x->text);
	gp_replay_destroy(replay);
	r->jobs[0].slots = 16;
	free(b.bytes);
	rig_free(r);
}

Test(replay, a_dump_that_does_not_fit_is_refused_by_name)
{
	struct rig *r = rig_recorded(1, true);
	rig_up(r);
	struct buffer b = dump(r);
	struct gp_flight_file f;
	struct gp_replay *replay;
	char why[GP_FLIGHT_ERROR_SIZE], err[GP_REPLAY_TEXT_SIZE];
	struct gp_engine_config cfg = r->cfg;
	cfg.take = take;
	cfg.give = give;
	cfg.jobs = &r->jobs[1]; // another job
	cr_assert_eq(gp_flight_open(&f, b.bytes, b.len, why), 0);
	cr_assert_eq(gp_replay_create(&replay, &f, &cfg, err), -EINVAL);
	cr_assert(strstr(err, "a job that the configuration does not have"), "%s", err);
	b.bytes[b.len / 2] ^= 1;
	cr_assert_eq(gp_flight_open(&f, b.bytes, b.len, why), -EINVAL);
	cr_assert(strstr(why, "damaged"), "%s", why);
	free(b.bytes);
	rig_free(r);
}

Test(replay, a_dump_says_what_wrote_it)
{
	struct rig *r = rig_recorded(1, false);
	rig_up(r);
	struct buffer b = dump(r);
	struct gp_replay *replay = replay_of(r, &b);
	struct gp_replay_node n;
	struct gp_flight_file f;
	char why[GP_FLIGHT_ERROR_SIZE], err[GP_REPLAY_TEXT_SIZE];
	cr_assert_eq(gp_flight_open(&f, b.bytes, b.len, why), 0);
	cr_assert_eq(gp_replay_node_of(&f, &n, err), 0);
	cr_assert_eq(n.cores_count, 1);
	cr_assert_eq(n.epoch, r->cfg.epoch);
	cr_assert_eq(n.cause, GP_FLIGHT_BY_COMMAND);
	cr_assert_str_eq(n.version, "1");
	gp_replay_destroy(replay);
	free(b.bytes);
	rig_free(r);
}

// ---- a failed assertion: the thread that failed writes, and what it had in hand is the last

static struct {
	const struct rig *r;
	int fd;
} failing;

static int failing_write(void *arg, const void *bytes, size_t len)
{
	(void)arg;
	return write(failing.fd, bytes, len) == (ssize_t)len ? 0 : -EIO;
}

static void failing_hook(void *arg)
{
	(void)arg;
	const struct gp_flight_sink sink = {.write = failing_write};
	const struct gp_flight_reason why = {
		.cause = GP_FLIGHT_BY_ASSERT, .version = "1", .text = "it failed"};
	_exit(gp_engine_flight_dump(failing.r->e, &sink, &why) == 0 ? 3 : 4);
}

static struct gp_frame *failing_alloc(struct gp_xport *x)
{
	GP_ASSERT(x == NULL); // the planted bug
	return NULL;
}

// In a process of its own: the engine asks for a frame to answer a heartbeat with, and dies.
static void failing_process(struct rig *r)
{
	static struct gp_xport_ops ops;
	failing.r = r;
	ops = *r->core_x[0]->ops;
	ops.alloc = failing_alloc;
	gp_assert_set_hook(failing_hook, NULL);
	worker_push_block(&r->w[0], 1, 0, false);
	rig_run(r);
	worker_heartbeat(&r->w[1], 0, 0);
	r->core_x[0]->ops = &ops;
	rig_run(r);
	_exit(5);
}

Test(replay, a_failed_assertion_leaves_its_datagram)
{
	struct rig *r = rig_recorded(1, false);
	char path[] = "/tmp/gp_flight_XXXXXX";
	failing.fd = mkstemp(path);
	cr_assert_geq(failing.fd, 0);
	rig_up(r);
	pid_t child = fork();
	if (child == 0)
		failing_process(r);
	int status = 0;
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 3, "it ended with %x", status);
	size_t len = (size_t)lseek(failing.fd, 0, SEEK_END);
	void *bytes = aligned_alloc(GP_CACHE_LINE, gp_align_up(len, GP_CACHE_LINE));
	cr_assert_eq(pread(failing.fd, bytes, len, 0), (ssize_t)len);
	close(failing.fd);
	unlink(path);

	struct gp_flight_file f;
	struct gp_flight_part p;
	struct gp_replay_node n;
	char why[GP_FLIGHT_ERROR_SIZE] = "", err[GP_REPLAY_TEXT_SIZE] = "";
	cr_assert_eq(gp_flight_open(&f, bytes, len, why), 0, "%s", why);
	cr_assert_eq(gp_replay_node_of(&f, &n, err), 0, "%s", err);
	cr_assert_eq(n.cause, GP_FLIGHT_BY_ASSERT);
	cr_assert_str_eq(n.text, "it failed");
	uint32_t in_hand = 0;
	for (uint64_t pos = 0; gp_flight_next(&f, &pos, &p);) {
		struct gp_flight_cursor c;
		struct gp_flight_record rec = {0};
		if (p.type != GP_FLIGHT_RING)
			continue;
		gp_flight_cursor_init(&c, &p);
		while (gp_flight_record_next(&c, &rec))
			;
		bool last = rec.head.kind != 0 && rec.head.verdict == GP_FLIGHT_IN_HAND;
		in_hand += last && rec.bytes[24 + 1] == GP_WIRE_HEARTBEAT;
	}
	cr_assert_eq(in_hand, 1);
	free(bytes);
	rig_free(r);
}
