// SPDX-License-Identifier: BSD-3-Clause
//
// Records that were changed one by one: each that cannot be is named, each that says nothing to
// this core or release is passed over, and nothing of it indexes what is not there.
#include "async_rig.h"
#include "forge_rig.h"

#define CELLS 4096

static struct rig *rig_recorded(uint32_t cores, uint8_t atomicity, bool payloads)
{
	struct rig *r = rig_new();
	r->cfg.cores_count = cores;
	r->cfg.flight_cells = CELLS;
	r->cfg.flight_payloads = payloads;
	r->jobs[0].kind = GP_KIND_TRAIN;
	r->jobs[0].atomicity = atomicity;
	return r;
}

static void steps_run(struct rig *r, uint32_t first, uint32_t last)
{
	for (uint32_t step = first; step <= last; step++) {
		worker_push_all(&r->w[0], step, true);
		if (step > 0)
			worker_push_all(&r->w[1], step, false);
		rig_run(r);
	}
}

static bool command_is(const struct gp_flight_record *rec, uint32_t type)
{
	return rec->bytes[0] == type;
}

static bool decision_is(const struct gp_flight_record *rec, uint32_t kind)
{
	struct flight_decision x;
	memcpy(&x, rec->bytes, sizeof(x));
	return x.d.kind == kind;
}

static bool datagram_is(const struct gp_flight_record *rec, uint32_t type)
{
	return rec->bytes[sizeof(struct flight_peer) + 1] == type;
}

static uint32_t home_of(const struct rig *r)
{
	return r->w[0].welcome.home;
}

Test(replay_forged, commands_that_no_core_takes)
{
	struct rig *r = rig_recorded(2, GP_ATOM_STEP, true);
	rig_up(r);
	steps_run(r, 0, 2);
	struct forge f = forge_new(r);
	uint32_t home = home_of(r), other = 1 - home;
	expect_text(&f, NULL, "as it was written");
#define JOINED record_find(&f, home, FLIGHT_COMMAND, command_is, CMD_MEMBER_JOIN, 0)
#define DONE   record_find(&f, home, FLIGHT_COMMAND, command_is, CMD_PART_DONE, 0)
#define BOUND  record_find(&f, home, FLIGHT_COMMAND, command_is, CMD_BIND, 0)
#define READY  record_find(&f, other, FLIGHT_COMMAND, command_is, CMD_JOB_READY, 0)
	static const uint8_t types[] = {0, CMD_DECISION, CMD_REPLY, CMD_DONE_WITH, CMD_JOIN, 255};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(types); i++)
		FORGE(&f, JOINED, struct flight_command, type, types[i], "is not legal");
	FORGE(&f, JOINED, struct flight_command, core, 2, "is not legal");
	// From a core what only control sends, and the reverse.
	FORGE(&f, JOINED, struct flight_command, core, 0, "is not legal");
	FORGE(&f, BOUND, struct flight_command, core, 0, "command 9 is not legal");
	FORGE(&f, READY, struct flight_command, core, 0, "command 12 is not legal");
	FORGE(&f, DONE, struct flight_command, core, UINT8_MAX, "command 1 is not legal");
	FORGE(&f, DONE, struct flight_command, session, 1, "command 1 is not legal");
	FORGE(&f, DONE, struct flight_command, session, UINT32_MAX, "command 1 is not legal");
	FORGE_HEAD(&f, BOUND, head.kind, FLIGHT_LOST, "command 9 is not legal");
	FORGE(&f, JOINED, struct flight_command, rank, 2, "is not legal");
	FORGE(&f, JOINED, struct flight_command, session, 0xffff, "is not legal");
	FORGE(&f, DONE, struct flight_command, unit, 1, "is not legal");
	FORGE(&f, DONE, struct flight_command, unit, UINT32_MAX, "is not legal");
	FORGE(&f, DONE, struct flight_command, type, CMD_APPLIED, "command 8 is not legal");
	FORGE(&f, DONE, struct flight_command, type, CMD_MEASURED, "command 5 is not legal");
	FORGE(&f, DONE, struct flight_command, type, CMD_FACTOR, "command 6 is not legal");
	FORGE(&f, DONE, struct flight_command, type, CMD_MORE, "command 7 is not legal");
	FORGE(&f, READY, struct flight_command, type, CMD_MEMBER_JOIN, "is not legal");
	// Of a job without a layout, or from another release: passed over, so a join is missing.
	FORGE(&f, JOINED, struct flight_command, job, 2, "");
	FORGE(&f, JOINED, struct flight_command, job, GP_ENGINE_JOBS_MAX + 1, "");
	FORGE_HEAD(&f, JOINED, kept, sizeof(struct flight_command) - 8, "");
	FORGE(&f, DONE, struct flight_command, view, 77, "it is still at");
	forge_free(&f);
	rig_free(r);
}

Test(replay_forged, more_commands_in_a_round_than_a_ring_holds)
{
	struct rig *r = rig_recorded(1, GP_ATOM_BLOCK, true);
	r->cfg.ring_size = 64; // a replay has 128
	rig_up(r);
	steps_run(r, 0, 40);
	struct forge f = forge_new(r);
	// One of them again and again, all in its round.
	uint8_t *cell = record_find(&f, 0, FLIGHT_COMMAND, command_is, CMD_PART_DONE, 0)->cell;
	for (uint32_t i = 1; i <= 200; i++)
		memcpy(cell + (size_t)i * GP_FLIGHT_CELL, cell, GP_FLIGHT_CELL);
	expect_text(&f, "more commands in one round than a ring has places", "200");
	forge_free(&f);
	rig_free(r);
}

Test(replay_forged, decisions_that_a_core_was_never_told)
{
	struct rig *r = rig_recorded(2, GP_ATOM_TENSOR, true);
	rig_up(r);
	steps_run(r, 0, 2);
	struct forge f = forge_new(r);
	uint32_t home = home_of(r), other = 1 - home;
#define TOLD(kind)    record_find(&f, other, FLIGHT_DECISION, decision_is, kind, 0)
#define DECIDED(kind) record_find(&f, home, FLIGHT_DECISION, decision_is, kind, 0)
#define COMMIT	      GP_DECIDED_COMMIT
	FORGE(&f, TOLD(COMMIT), struct flight_decision, d.number, 90, "decision 90 comes after");
	FORGE(&f, TOLD(COMMIT), struct flight_decision, d.members.w[0], 4, "is not legal");
	FORGE(&f, TOLD(COMMIT), struct flight_decision, d.others.w[0], 4, "is not legal");
	FORGE(&f, TOLD(COMMIT), struct flight_decision, d.unit, TENSORS, "is not legal");
	FORGE(&f, TOLD(GP_DECIDED_VIEW), struct flight_decision, d.ranks, 1, "is not legal");
	FORGE(&f, TOLD(GP_DECIDED_VIEW), struct flight_decision, d.lowest, 2, "is not legal");
	FORGE(&f, TOLD(GP_DECIDED_VIEW), struct flight_decision, d.kind, GP_DECIDED_COMMIT,
		"commits unit 0 of step 0, which is not complete");
	FORGE(&f, TOLD(COMMIT), struct flight_decision, d.step, 7, "the engine fails");
	FORGE(&f, TOLD(COMMIT), struct flight_decision, job, 2, "comes after");
	FORGE_HEAD(&f, TOLD(COMMIT), kept, sizeof(struct flight_decision) - 8, "comes after");
	// Home decides by itself; what it is compared with is another thing.
	FORGE(&f, DECIDED(COMMIT), struct flight_decision, d.number, 90, "it is still at");
	FORGE(&f, DECIDED(COMMIT), struct flight_decision, d.step, 7, "step 7, view 1");
	FORGE(&f, DECIDED(COMMIT), struct flight_decision, job, 2, NULL);
	FORGE(&f, DECIDED(COMMIT), struct flight_decision, job, GP_ENGINE_JOBS_MAX + 1, NULL);
	FORGE_HEAD(&f, DECIDED(COMMIT), kept, sizeof(struct flight_decision) - 8, NULL);
	forge_free(&f);
	rig_free(r);
}

// A recording that lost its beginning, with open slots behind its marks.
static struct rig *rig_wrapped(void)
{
	struct rig *r = rig_recorded(1, GP_ATOM_STEP, false);
	r->cfg.flight_cells = GP_FLIGHT_CELLS_MIN;
	rig_up(r);
	worker_push_all(&r->w[0], 0, false);
	rig_run(r);
	worker_push_all(&r->w[0], 1, true);
	for (uint32_t step = 1; step <= 20; step++) {
		worker_push_all(&r->w[0], step + 1, true);
		rig_run(r);
		worker_push_all(&r->w[1], step, false);
		rig_run(r);
	}
	return r;
}

Test(replay_forged, marks_homes_and_slots)
{
	struct rig *r = rig_wrapped();
	struct forge f = forge_new(r);
	expect_text(&f, NULL, "as it was written");
#define MARK record_find(&f, 0, FLIGHT_MARK, NULL, 0, 0)
#define HOME record_find(&f, 0, FLIGHT_HOME, NULL, 0, 0)
#define SLOT record_find(&f, 0, FLIGHT_SLOT, NULL, 0, 0)
	static const char illegal[] = "the mark of job job is not legal";
	FORGE(&f, MARK, struct flight_mark, members.w[0], 7, illegal);
	FORGE(&f, MARK, struct flight_mark, members_count, 1, illegal);
	FORGE(&f, MARK, struct flight_mark, lowest, 1, illegal);
	// Not one to begin at: the next is.
	FORGE(&f, MARK, struct flight_mark, flags, 0, NULL);
	FORGE(&f, MARK, struct flight_mark, job, 2, NULL);
	FORGE(&f, MARK, struct flight_mark, job, GP_ENGINE_JOBS_MAX + 1, NULL);
	FORGE_HEAD(&f, MARK, kept, sizeof(struct flight_mark) - 8, NULL);
	static const char homeless[] = "home of job job is not legal";
	FORGE(&f, HOME, struct flight_home, live.w[0], 4, homeless);
	FORGE(&f, HOME, struct flight_home, lost.w[0], 4, homeless);
	FORGE(&f, HOME, struct flight_home, rank_session[0], 0xffff, homeless);
	FORGE(&f, HOME, struct flight_home, whole, 0, NULL);
	FORGE(&f, HOME, struct flight_home, job, 0, NULL);
	FORGE(&f, HOME, struct flight_home, job, 2, NULL);
	// What it does not have is as if nobody had pushed ahead: then a step is missing.
	FORGE(&f, SLOT, struct flight_slot, local, BLOCKS, "");
	FORGE(&f, SLOT, struct flight_slot, ranks.w[0], 4, "");
	FORGE(&f, SLOT, struct flight_slot, job, 2, "");
	FORGE_HEAD(&f, SLOT, kept, sizeof(struct flight_slot) - 8, "");
	// Twice the same place, or one that is complete.
	FORGE(&f, SLOT, struct flight_slot, local, 1, "");
	FORGE(&f, SLOT, struct flight_slot, ranks.w[0], 3, "");
	forge_free(&f);
	rig_free_busy(r);
}

static bool session_is(const struct gp_flight_record *rec, uint32_t rank)
{
	struct flight_session s;
	memcpy(&s, rec->bytes, sizeof(s));
	return s.rank == rank;
}

// Whose session cannot be has none, and what came in it is refused, other than it was.
Test(replay_forged, sessions)
{
	struct rig *r = rig_recorded(1, GP_ATOM_STEP, true);
	rig_up(r);
	steps_run(r, 0, 2);
	struct forge f = forge_new(r);
#define OPENED	record_find(&f, FLIGHT_RING_CONTROL, FLIGHT_SESSION, session_is, 1, 0)
#define UNKNOWN "replayed bad_session"
	FORGE(&f, OPENED, struct flight_session, id, 0, NULL); // it is in the table all the same
	FORGE(&f, OPENED, struct flight_session, id, 0xffff, NULL);
	FORGE(&f, OPENED, struct flight_session, job, 0, NULL);
	FORGE(&f, OPENED, struct flight_session, job, GP_ENGINE_JOBS_MAX + 1, NULL);
	FORGE(&f, OPENED, struct flight_session, job, 2, NULL);
	FORGE(&f, OPENED, struct flight_session, rank, 2, NULL);
	FORGE(&f, OPENED, struct flight_session, rank, 0, "");
	FORGE_HEAD(&f, OPENED, kept, sizeof(struct flight_session) - 8, NULL);
	FORGE_HEAD(&f, OPENED, head.kind, FLIGHT_SLOT, NULL);
	// Without a word of either it is nobody's.
	const struct gp_flight_part p = forge_part(&f, GP_FLIGHT_SESSION, 0);
	memset(f.b.bytes + (p.bytes - f.b.bytes), 0, p.size);
	FORGE(&f, OPENED, struct flight_session, id, 0, UNKNOWN);
	// Its record alone is enough.
	memset(f.b.bytes + (p.bytes - f.b.bytes), 0, p.size);
	expect_text(&f, NULL, "no table");
	forge_free(&f);
	rig_free(r);
}

// A datagram that is no datagram is left out.
Test(replay_forged, datagrams_that_do_not_fit_their_record)
{
	struct rig *r = rig_recorded(1, GP_ATOM_STEP, false);
	rig_up(r);
	steps_run(r, 0, 2);
	struct forge f = forge_new(r);
	const uint32_t peer = sizeof(struct flight_peer);
	uint64_t driven = forge_replay(&f).x.datagrams;
	cr_assert_gt(driven, 8);
#define PUSHED record_find(&f, 0, FLIGHT_DATAGRAM, datagram_is, GP_WIRE_PUSH, 0)
#define LEFT_OUT(statement)                                                                        \
	do {                                                                                       \
		struct record *x = PUSHED;                                                         \
		uint8_t *d = x->rec.bytes + peer;                                                  \
		(void)d;                                                                           \
		statement;                                                                         \
		record_put(x);                                                                     \
		struct forged out = forge_replay(&f);                                              \
		cr_assert(out.rc == 0, #statement ": %s", out.text);                               \
		cr_assert_gt(out.x.taken, 0, #statement);                                          \
		cr_assert_lt(out.x.datagrams, driven, #statement);                                 \
		forge_undo(&f);                                                                    \
	} while (0)
	LEFT_OUT(x->rec.kept = peer - 8);
	LEFT_OUT(x->rec.kept = peer + 32);
	LEFT_OUT(x->rec.head.len = 40);
	LEFT_OUT(x->rec.head.len = GP_WIRE_DATAGRAM_MAX + 1);
	LEFT_OUT(x->rec.head.len = (uint16_t)(x->rec.head.len + 4));
	LEFT_OUT(d[1] = GP_WIRE_PULL);
	LEFT_OUT(d[38] = GP_WIRE_SECTIONS_MAX + 1);
	LEFT_OUT(d[38] = 2);
	LEFT_OUT(gp_store16(d + 44, UINT16_MAX)); // the part of the first section
	LEFT_OUT(x->rec.head.verdict = GP_VERDICT_CONTROL_FULL);
	LEFT_OUT(x->rec.head.verdict = GP_VERDICT_BAD_PAYLOAD);
	LEFT_OUT(x->rec.head.verdict = GP_VERDICT_NONFINITE);
	// A kind that another release may have is passed over.
	FORGE_HEAD(&f, PUSHED, head.kind, 77, "");
	// Another verdict is a difference, and says whose.
	FORGE_HEAD(&f, PUSHED, head.verdict, GP_VERDICT_STALE, "recorded stale, replayed push");
	FORGE_HEAD(&f, PUSHED, head.verdict, GP_FLIGHT_IN_HAND, NULL);
	forge_free(&f);
	rig_free(r);
}

// An attach is what binds a session to an address at a core; it is read from its datagram.
Test(replay_forged, a_join_that_attaches_nobody)
{
	struct rig *r = rig_recorded(2, GP_ATOM_STEP, true);
	rig_up(r);
	steps_run(r, 0, 1);
	struct forge f = forge_new(r);
	const uint32_t at = sizeof(struct flight_peer);
#define JOIN(n) record_find(&f, 1, FLIGHT_DATAGRAM, datagram_is, GP_WIRE_JOIN, n)
	struct record *x = JOIN(0);
	x->rec.head.verdict = GP_VERDICT_BAD_COOKIE;
	record_put(x);
	expect_text(&f, UNKNOWN, "one whose cookie was wrong");
	x = JOIN(0);
	x->rec.bytes[at + 38] ^= 1; // no datagram any more
	record_put(x);
	expect_text(&f, UNKNOWN, "one that cannot be parsed");
	x = JOIN(0);
	x->rec.bytes[at + 1] = GP_WIRE_HELLO;
	record_put(x);
	expect_text(&f, UNKNOWN, "a hello instead");
	forge_free(&f);
	rig_free(r);
}

// ---- asynchronous

static bool applied_is(const struct gp_flight_record *rec, uint32_t type)
{
	return rec->bytes[0] == type && rec->bytes[1] == 1;
}

Test(replay_forged, asynchronous_jobs)
{
	struct rig *r = async_new(GP_CONSIST_SSP, GP_ATOM_STEP, 2);
	r->cfg.cores_count = 2;
	r->cfg.flight_cells = CELLS;
	r->cfg.flight_payloads = true;
	async_up(r);
	for (uint32_t step = 1; step <= 3; step++)
		for (uint32_t i = 0; i < 2; i++)
			push_step(&r->w[i], step);
	struct forge f = forge_new(r);
	uint32_t home = home_of(r), other = 1 - home;
	expect_text(&f, NULL, "as it was written");
	if (home == 0) {
		struct record *x =
			record_find(&f, home, FLIGHT_COMMAND, applied_is, CMD_APPLIED, 0);
		x->rec.bytes[1] = 2;
		record_put(x);
		expect_text(&f, "is not legal", "of a core that is not there");
		x = record_find(&f, home, FLIGHT_COMMAND, applied_is, CMD_APPLIED, 0);
		x->rec.bytes[1] = UINT8_MAX;
		record_put(x);
		expect_text(&f, "is not legal", "of control");
	}
	FORGE(&f, record_find(&f, home, FLIGHT_COMMAND, command_is, CMD_PART_DONE, 0),
		struct flight_command, unit, 2, "is not legal");
	FORGE(&f, TOLD(GP_DECIDED_COMMIT), struct flight_decision, d.unit, 2, "");
	FORGE_HEAD(&f, record_find(&f, other, FLIGHT_DATAGRAM, datagram_is, GP_WIRE_PUSH, 0),
		head.verdict, GP_VERDICT_STALE, "recorded stale");
	forge_free(&f);
	rig_free_busy(r);
}

// It found no memory there, and does here: no difference, and the rest of that push is known.
Test(replay_forged, a_push_that_found_no_memory)
{
	struct rig *r = async_new(GP_CONSIST_ASP, GP_ATOM_BLOCK, 2);
	r->cfg.flight_cells = CELLS;
	r->cfg.flight_payloads = true;
	async_up(r);
	push_step(&r->w[0], 1);
	worker_push_all(&r->w[0], 1, false); // once more: duplicates
	rig_run(r);
	push_step(&r->w[1], 1);
	struct forge f = forge_new(r);
#define PUSH_OF(n) record_find(&f, 0, FLIGHT_DATAGRAM, datagram_is, GP_WIRE_PUSH, n)
	uint32_t first = 0; // of step 1
	while (gp_load32(PUSH_OF(first)->rec.bytes + sizeof(struct flight_peer) + 20) == 0)
		first++;
	struct record *x = PUSH_OF(first);
	x->rec.head.verdict = GP_VERDICT_PUSH_BUSY;
	record_put(x);
	struct forged out = forge_replay(&f);
	cr_assert(out.rc == 0 && !out.x.differs, "%s", out.text);
	cr_assert_eq(out.x.short_of_memory, 1);
	uint32_t again = first;
	while (PUSH_OF(again)->rec.head.verdict != GP_VERDICT_PUSH_DUPLICATE)
		again++;
	x = PUSH_OF(again);
	x->rec.head.verdict = GP_VERDICT_PUSH; // there it was taken at the second time
	record_put(x);
	out = forge_replay(&f);
	cr_assert(out.rc == 0 && !out.x.differs, "%s", out.text);
	forge_undo(&f);
	x = PUSH_OF(again);
	x->rec.head.verdict = GP_VERDICT_PUSH;
	record_put(x);
	expect_text(&f, "recorded push, replayed push_duplicate", "without a shortage before");
	forge_free(&f);
	rig_free_busy(r);
}

// ---- what was not kept

// Sparse payloads must have legal indices: so many as their length says.
static void sparse_push(struct worker *w, uint32_t step, uint32_t block, uint8_t codec, uint32_t n)
{
	uint8_t payload[1200] = {0};
	uint32_t value = codec == GP_CODEC_TOPK ? 4 : 2;
	uint32_t at = (uint32_t)gp_align_up(2 + 2 * n, 4);
	uint32_t len = at + (uint32_t)gp_align_up(value * n, 4);
	gp_store16(payload, (uint16_t)n);
	for (uint32_t i = 0; i < n; i++) {
		gp_store16(payload + 2 + 2 * i, (uint16_t)(2 * i));
		gp_store16(payload + at + value * i, 0x3c00);
	}
	const struct gp_section s = {
		.block = block, .len = (uint16_t)len, .run = 1, .codec = codec, .weight = 1};
	worker_push(w, step, &s, payload, false);
}

Test(replay_forged, sparse_payloads_are_filled_with_indices)
{
	static const uint8_t codecs[] = {GP_CODEC_TOPK, GP_CODEC_TOPK_BF16, GP_CODEC_TOPK_F16};
	struct rig *r = rig_recorded(1, GP_ATOM_STEP, false);
	rig_up(r);
	steps_run(r, 0, 0);
	for (uint32_t step = 1; step <= 6; step++)
		for (uint32_t b = 0; b < BLOCKS; b++)
			for (uint32_t i = 0; i < 2; i++) {
				uint32_t n = b < 2 ? 100 + step + i : 2;
				sparse_push(&r->w[i], step, b, codecs[step % 3], n);
				rig_run(r);
			}
	cr_assert_eq(rig_job(r).generation, 6);
	struct forge f = forge_new(r);
	struct forged out = forge_replay(&f);
	cr_assert(out.rc == 0 && !out.x.differs, "%s", out.text);
	cr_assert_geq(out.x.filled, 2 * 6 * 2);
	forge_free(&f);
	rig_free(r);
}

// ---- what is around the records

Test(replay_forged, without_a_control_ring_or_quiet_ones)
{
	struct rig *r = rig_recorded(1, GP_ATOM_STEP, true);
	rig_up(r);
	steps_run(r, 0, 2);
	struct forge f = forge_new(r);
	static const uint32_t rings[] = {FLIGHT_RING_CONTROL, FLIGHT_RING_QUIET, 0};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(rings); i++) {
		const struct gp_flight_part p = forge_part(&f, GP_FLIGHT_RING, rings[i]);
		uint8_t *id = f.b.bytes + (p.bytes - f.b.bytes) - 12;
		gp_store32(id, 0x999);
		struct forged out = forge_replay(&f);
		cr_assert_eq(out.rc, 0, "%s", out.text);
		cr_assert_eq(out.x.datagrams > 0, rings[i] != 0);
		forge_undo(&f);
	}
	forge_free(&f);
	rig_free(r);
}

// Each piece of memory that a replay asks for, when there is none.
static uint32_t takes_left;

static void *take_some(void *arg, size_t size)
{
	return takes_left-- > 0 ? take(arg, size) : NULL;
}

Test(replay_forged, memory_that_ends_is_said)
{
	struct rig *r = rig_recorded(1, GP_ATOM_STEP, true);
	char text[GP_REPLAY_TEXT_SIZE] = "";
	struct gp_replay *replay = NULL;
	rig_up(r);
	steps_run(r, 0, 1);
	struct forge f = forge_new(r);
	uint32_t n = 0;
	for (; !replay; n++) {
		int rc;
		takes_left = n;
		replay = forge_begin(&f, take_some, &rc, text);
		cr_assert(replay || rc == -ENOMEM, "with %u pieces: %d", n, rc);
	}
	cr_assert_gt(n, 5);
	takes_left = 0; // frames are asked for as it goes
	forge_run(replay);
	cr_assert_gt(gp_replay_result(replay)->taken, 0);
	gp_replay_destroy(replay);
	forge_free(&f);
	rig_free(r);
}

// With whole datagrams nothing fails, so it makes no difference that a failure would end all.
Test(replay_forged, an_unguarded_replay_is_the_same)
{
	struct rig *r = rig_recorded(1, GP_ATOM_STEP, true);
	char text[GP_REPLAY_TEXT_SIZE] = "";
	int rc;
	rig_up(r);
	steps_run(r, 0, 1);
	struct forge f = forge_new(r);
	struct gp_replay *replay = forge_begin(&f, take, &rc, text);
	cr_assert(replay, "%s", text);
	gp_replay_unguard(replay);
	forge_run(replay);
	cr_assert_not(gp_replay_result(replay)->differs, "%s", gp_replay_result(replay)->text);
	gp_replay_destroy(replay);
	gp_replay_destroy(NULL);
	forge_free(&f);
	rig_free(r);
}
