// SPDX-License-Identifier: BSD-3-Clause
//
// Dumps that somebody changed, with a checksum that fits again: a replay ends with a text or goes
// on, it never crashes. And what a dump may lack or hold beside the usual.
#include "replay_rig.h"

#include <flight.h>
#include <gp_flight_dump.h>
#include <gp_replay.h>

#include <errno.h>
#include <stdlib.h>
#include <xxhash.h>

#define CELLS 1024

static char last_text[GP_REPLAY_TEXT_SIZE];

// 0, or what refused it; `differs` tells whether the replay found a difference.
static int replay_run(
	const struct rig *r, const struct buffer *b, char err[GP_REPLAY_TEXT_SIZE], bool *differs)
{
	static struct gp_flight_file f;
	char why[GP_FLIGHT_ERROR_SIZE];
	struct gp_engine_config cfg = r->cfg;
	struct gp_replay *replay;
	cfg.take = take;
	cfg.give = give;
	cfg.mem_arg = NULL;
	*differs = false;
	int rc = gp_flight_open(&f, b->bytes, b->len, why);
	if (rc != 0) {
		strcpy(err, why);
		return rc;
	}
	rc = gp_replay_create(&replay, &f, &cfg, err);
	if (rc != 0)
		return rc;
	for (uint32_t i = 0; i < 100000 && gp_replay_round(replay); i++)
		;
	*differs = gp_replay_result(replay)->differs;
	strcpy(last_text, gp_replay_result(replay)->text);
	cr_assert(!*differs || gp_replay_result(replay)->text[0] != '\0', "it says what differs");
	gp_replay_destroy(replay);
	return 0;
}

static struct rig *rig_recorded(uint32_t cores, bool payloads)
{
	struct rig *r = rig_new();
	r->cfg.cores_count = cores;
	r->cfg.flight_cells = CELLS;
	r->cfg.flight_payloads = payloads;
	r->jobs[0].kind = GP_KIND_TRAIN;
	return r;
}

static void run_short(struct rig *r)
{
	rig_up(r);
	worker_push_all(&r->w[0], 0, true);
	rig_run(r);
	for (uint32_t step = 1; step <= 3; step++) {
		worker_push_all(&r->w[0], step, true);
		worker_push_all(&r->w[1], step, false);
		rig_run(r);
	}
	cr_assert_eq(gp_registrar_cut(r->reg, 1), 0);
	rig_run(r);
	gp_registrar_cut_release(r->reg, 1);
	worker_leave(&r->w[1]);
	rig_run(r);
	worker_push_all(&r->w[0], 4, true);
	rig_run(r);
}

static void checksum_fit(struct buffer *b)
{
	gp_store64(b->bytes + b->len - 8, XXH3_64bits(b->bytes, b->len - 8));
}

// Top-k, of which without payloads only the length is known.
static void topk_push(struct worker *w, uint32_t step, uint32_t block)
{
	uint8_t payload[2 + 2 * 3 + 4 * 3] = {0};
	gp_store16(payload, 3);
	for (uint32_t i = 0; i < 3; i++)
		gp_store16(payload + 2 + 2 * i, (uint16_t)(2 * i));
	for (uint32_t i = 0; i < 3; i++)
		gp_store32(payload + 8 + 4 * i, 0x3f800000 + step);
	const struct gp_section s = {
		.block = block, .len = 20, .run = 1, .codec = GP_CODEC_TOPK, .weight = 1};
	worker_push(w, step, &s, payload, true);
}

Test(replay_more, top_k_of_which_the_headers_were_kept)
{
	struct rig *r = rig_recorded(1, false);
	char err[GP_REPLAY_TEXT_SIZE];
	bool differs;
	rig_up(r);
	worker_push_all(&r->w[0], 0, true);
	rig_run(r);
	for (uint32_t step = 1; step <= 3; step++)
		for (uint32_t b = 0; b < BLOCKS; b++)
			for (uint32_t i = 0; i < 2; i++) {
				topk_push(&r->w[i], step, b);
				rig_run(r);
			}
	cr_assert_eq(rig_job(r).generation, 3);
	struct buffer b = dump(r);
	cr_assert_eq(replay_run(r, &b, err, &differs), 0, "%s", err);
	cr_assert_not(differs);
	free(b.bytes);
	rig_free(r);
}

// Its values are in no dump; decisions and verdicts do not depend on them.
Test(replay_more, a_restored_job_begins_with_zeros)
{
	static const float w[W_ELEMS] = {1}, v[B_ELEMS] = {2};
	const struct gp_restore_tensor t[TENSORS] = {
		{.name = "w", .dims_count = 2, .dims = model[0].dims, .values = w, .states = {w}},
		{.name = "b", .dims_count = 1, .dims = model[1].dims, .values = v, .states = {v}}};
	const struct gp_restore x = {
		.step = 100, .decision = 40, .tensors_count = TENSORS, .tensors = t};
	struct rig *r = rig_recorded(2, true);
	char err[GP_REPLAY_TEXT_SIZE];
	bool differs;
	rig_start(r);
	cr_assert_eq(gp_registrar_restore(r->reg, 1, &x), 0);
	for (uint32_t i = 0; i < 2; i++) {
		cr_assert_eq(worker_enter(&r->w[i], (uint16_t)i), 0);
		worker_attach(&r->w[i]);
	}
	for (uint32_t i = 0; i < 2; i++)
		cr_assert_eq(worker_bring(&r->w[i]), 0);
	rig_run(r);
	for (uint32_t step = 101; step <= 104; step++) {
		worker_push_all(&r->w[0], step, true);
		worker_push_all(&r->w[1], step, false);
		rig_run(r);
	}
	cr_assert_eq(rig_job(r).generation, 104);
	struct buffer b = dump(r);
	cr_assert_eq(replay_run(r, &b, err, &differs), 0, "%s", err);
	cr_assert_not(differs);
	free(b.bytes);
	rig_free(r);
}

static void refused(const struct rig *r, const struct buffer *b, const char *why)
{
	char err[GP_REPLAY_TEXT_SIZE] = "";
	bool differs;
	cr_assert_eq(replay_run(r, b, err, &differs), -EINVAL, "'%s' was expected", why);
	cr_assert(strstr(err, why), "'%s' is not in '%s'", why, err);
}

// The part of `type` in a dump, to be changed.
static void *part_of(struct buffer *b, uint32_t type)
{
	struct gp_flight_file f;
	struct gp_flight_part p;
	char why[GP_FLIGHT_ERROR_SIZE];
	cr_assert_eq(gp_flight_open(&f, b->bytes, b->len, why), 0, "%s", why);
	for (uint64_t pos = 0; gp_flight_next(&f, &pos, &p);)
		if (p.type == type)
			return b->bytes + (p.bytes - b->bytes);
	cr_assert_fail("no part %u", type);
	return NULL;
}

#define FORGED(r, b, part, member, value, why)                                                     \
	do {                                                                                       \
		__typeof__((part)->member) kept_ = (part)->member;                                 \
		(part)->member = (value);                                                          \
		checksum_fit(b);                                                                   \
		refused(r, b, why);                                                                \
		(part)->member = kept_;                                                            \
		checksum_fit(b);                                                                   \
	} while (0)

Test(replay_more, a_node_or_layout_that_cannot_be_is_refused_by_name)
{
	struct rig *r = rig_recorded(1, true);
	run_short(r);
	struct buffer b = dump(r);
	struct flight_node *n = part_of(&b, GP_FLIGHT_NODE);
	FORGED(r, &b, n, cores_count, 0, "number of cores");
	FORGED(r, &b, n, cores_count, GP_ENGINE_CORES_MAX + 1, "number of cores");
	FORGED(r, &b, n, ring_size, (1u << 20) + 1, "limits of the node");
	FORGED(r, &b, n, sessions_max, GP_ENGINE_SESSIONS_MAX + 1, "limits of the node");
	FORGED(r, &b, n, payload_max, GP_WIRE_DATAGRAM_MAX + 1, "limits of the node");
	FORGED(r, &b, n, decision_size, 1, "");
	FORGED(r, &b, n, command_size, 1, "");
	FORGED(r, &b, n, standby, true, "of a standby");
	struct flight_job *j = part_of(&b, GP_FLIGHT_JOB);
	FORGED(r, &b, j, id, 2, "a job that the configuration does not have");
	FORGED(r, &b, j, tensors_count, 17, "its layout is not legal");
	FORGED(r, &b, j, tensors_count, 1, "its layout is not legal");
	FORGED(r, &b, j, block_elems, 0, "its layout is not legal");
	FORGED(r, &b, j, block_elems, 8, "its layout is not legal");
	FORGED(r, &b, j, block_elems, 1u << 20, "its layout is not legal");
	struct flight_tensor *t = (void *)(j + 1);
	FORGED(r, &b, t, dims_count, GP_WIRE_DIMS_MAX + 1, "its layout is not legal");
	FORGED(r, &b, t, dims[0], 0, "its layout is not legal");
	FORGED(r, &b, t, dims[0], UINT64_MAX, "its layout is not legal");
	FORGED(r, &b, t, dims[0], UINT64_C(1) << 41, "its layout is not legal");
	r->jobs[0].consistency = GP_CONSIST_ASP;
	FORGED(r, &b, j, first_generation, 100, "is asynchronous and began with a snapshot");
	r->jobs[0].consistency = GP_CONSIST_BSP;
	char err[GP_REPLAY_TEXT_SIZE];
	bool differs;
	cr_assert_eq(replay_run(r, &b, err, &differs), 0, "and as it was it passes: %s", err);
	cr_assert_not(differs);
	free(b.bytes);
	rig_free(r);
}

// Whatever it says, a replay ends: with a text where it cannot go on.
Test(replay_more, bytes_that_nobody_wrote_end_with_a_text)
{
	struct rig *r = rig_recorded(2, true);
	run_short(r);
	struct buffer b = dump(r);
	uint8_t *kept = malloc(b.len);
	memcpy(kept, b.bytes, b.len);
	uint64_t x = 88172645463325252u;
	uint32_t differ = 0;
	for (uint32_t i = 0; i < 200; i++) {
		char err[GP_REPLAY_TEXT_SIZE];
		bool differs;
		for (uint32_t n = 0; n < 4; n++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			b.bytes[x % (b.len - 8)] ^= (uint8_t)(1u << (x >> 40) % 8);
		}
		checksum_fit(&b);
		int rc = replay_run(r, &b, err, &differs);
		differ += rc != 0 || differs;
		memcpy(b.bytes, kept, b.len);
	}
	cr_assert_gt(differ, 10);
	free(kept);
	free(b.bytes);
	rig_free(r);
}

// An assertion deep inside is an answer too.
Test(replay_more, what_the_engine_cannot_bear_is_an_error)
{
	struct rig *r = rig_recorded(1, true);
	run_short(r);
	struct buffer b = dump(r);
	struct gp_flight_file f;
	struct gp_flight_part p;
	char err[GP_REPLAY_TEXT_SIZE];
	bool differs;
	static struct gp_flight_record rec;
	uint8_t *at = NULL;
	cr_assert_eq(gp_flight_open(&f, b.bytes, b.len, err), 0);
	for (uint64_t pos = 0; gp_flight_next(&f, &pos, &p) && !at;) {
		struct gp_flight_cursor c;
		if (p.type != GP_FLIGHT_RING || p.id != 0)
			continue;
		gp_flight_cursor_init(&c, &p);
		while (gp_flight_record_next(&c, &rec) && !at)
			if (rec.head.kind == FLIGHT_COMMAND && rec.bytes[0] == CMD_MEMBER_JOIN)
				at = memmem(b.bytes, b.len, rec.bytes, rec.kept);
	}
	cr_assert(at);
	*at = CMD_CUT_END; // of a cut that never was
	checksum_fit(&b);
	cr_assert_eq(replay_run(r, &b, err, &differs), 0);
	cr_assert(differs);
	cr_assert(strstr(last_text, "the engine fails: i < n at"), "%s", last_text);
	free(b.bytes);
	rig_free(r);
}

// Decisions come in runs, and a run may end behind the bound of a burst: core 1, which slept while
// home decided about 1 + 32 + 32 units, takes 65 in one round. They are recorded one by one.
Test(replay_more, a_round_may_hold_more_decisions_than_a_burst)
{
	enum { UNITS = 140, OF_HOME = 65 };
	const struct tensor wide = {.name = "wide", .dims_count = 1, .dims = {UNITS * BLOCK_ELEMS}};
	struct rig *r = rig_recorded(2, false);
	char err[GP_REPLAY_TEXT_SIZE];
	bool differs;
	r->cfg.flight_cells = 16 * CELLS;
	r->jobs[0].kind = GP_KIND_REDUCE;
	r->jobs[0].atomicity = GP_ATOM_BLOCK;
	r->jobs[0].workers = 1;
	r->jobs[0].slots = 256;
	rig_start(r);
	cr_assert_eq(worker_enter(&r->w[0], 0), 0);
	worker_attach(&r->w[0]);
	worker_register(&r->w[0], &wide, 1, 0, 1);
	rig_run(r);
	struct gp_section s = {.run = 1, .weight = 1};
	r->asleep = 1 << 1;
	worker_push(&r->w[0], 1, &s, NULL, false);
	rig_run(r);
	for (s.block = 2; s.block < 2 * OF_HOME; s.block += 2)
		worker_push(&r->w[0], 1, &s, NULL, false);
	rig_run(r);
	r->asleep = 0;
	rig_run(r);
	for (s.block = 1; s.block < UNITS; s.block++)
		if (s.block % 2 == 1 || s.block >= 2 * OF_HOME)
			worker_push(&r->w[0], 1, &s, NULL, false);
	rig_run(r);
	cr_assert_eq(rig_job(r).generation, 1);
	struct buffer b = dump(r);
	cr_assert_eq(replay_run(r, &b, err, &differs), 0, "%s", err);
	cr_assert_not(differs, "%s", last_text);
	free(b.bytes);
	rig_free(r);
}
