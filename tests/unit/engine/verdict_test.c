// SPDX-License-Identifier: BSD-3-Clause
//
// Every verdict that a datagram can get, each by one datagram.
#include "embed_rig.h"

#include <gp_beat.h>

static void raw(struct rig *r, void (*change)(uint8_t *bytes))
{
	struct worker *w = &r->w[0];
	uint8_t bytes[128] = {0};
	struct gp_header h = worker_header(w, 0, GP_WIRE_HEARTBEAT);
	h.pad = 8;
	uint32_t at = gp_wire_begin(bytes, sizeof(bytes), &h);
	const struct gp_heartbeat hb = {.known = w->decision};
	uint32_t len = at + gp_wire_put_heartbeat(bytes + at, &hb);
	change(bytes);
	worker_send_raw(w, 0, bytes, bytes[127] ? bytes[127] : len);
}

static void cut_short(uint8_t *b)
{
	b[127] = 39;
}

static void version_2(uint8_t *b)
{
	b[0] = 2;
}

static void type_21(uint8_t *b)
{
	b[1] = GP_WIRE_TYPE_END;
}

static void flag_tag(uint8_t *b)
{
	b[2] = GP_WIRE_F_TAG;
}

static void pad_not_zero(uint8_t *b)
{
	b[GP_WIRE_HEADER_SIZE] = 1;
}

static void one_section(uint8_t *b)
{
	b[38] = 1;
}

static void body_short(uint8_t *b)
{
	b[127] = 40 + 8 + 15;
}

static void servers_message(uint8_t *b)
{
	b[1] = GP_WIRE_ACK;
	b[2] = GP_WIRE_F_ACK;
	b[3] = 0;
	memset(b + 40, 0, GP_WIRE_ACK_SIZE);
	b[127] = 64;
}

static void job_9(uint8_t *b)
{
	b[4] = 9;
}

static void session_9(uint8_t *b)
{
	b[10] ^= 9;
}

static void epoch_9(uint8_t *b)
{
	b[12] = 9;
}

static void push_section(struct rig *r, struct gp_section s, uint32_t step)
{
	worker_push(&r->w[0], step, &s, "payload", false);
}

static void make_bad_section(struct rig *r)
{
	push_section(r, (struct gp_section){.block = 0, .run = 0, .weight = 1}, 1);
}

static void make_bad_name(struct rig *r)
{
	struct tensor t = {.name = "a\tb", .dims_count = 1, .dims = {1}};
	worker_register(&r->w[0], &t, 1, 0, 1);
}

static void make_bad_count(struct rig *r)
{
	worker_register(&r->w[0], model, 1, 0, 2);
}

static void make_hello(struct rig *r)
{
	worker_hello(&r->w[0], 0, 1200, 1);
}

static void make_hello_short(struct rig *r)
{
	worker_hello(&r->w[0], 0, 1000, 1);
}

static void make_hello_limit(struct rig *r)
{
	for (int i = 0; i < 30; i++)
		worker_hello(&r->w[0], 0, 1200, 1);
}

static void make_join(struct rig *r)
{
	struct gp_join j = worker_join_of(&r->w[0], 0);
	worker_join(&r->w[0], 0, &j);
}

static void make_beat(struct rig *r)
{
	struct gp_header h = {
		.version = GP_WIRE_VERSION, .type = GP_WIRE_BEAT, .rank = GP_WIRE_RANK_NONE};
	uint8_t body[8];
	gp_beat_expect(r->e, 77);
	worker_send(&r->w[0], 0, &h, NULL, body, gp_wire_put_u64(body, 77));
}

static void make_bad_cookie(struct rig *r)
{
	struct gp_join j = worker_join_of(&r->w[5], 0);
	worker_join(&r->w[5], 0, &j);
}

static void make_register(struct rig *r)
{
	worker_register(&r->w[0], model, TENSORS, 0, TENSORS);
}

static void make_control_full(struct rig *r)
{
	r->no_control = true;
	for (int i = 0; i < 300; i++)
		make_register(r);
}

static void make_push(struct rig *r)
{
	worker_push_block(&r->w[0], 1, 0, false);
}

static void make_push_duplicate(struct rig *r)
{
	make_push(r);
	make_push(r);
}

static void make_push_busy(struct rig *r)
{
	worker_push_block(&r->w[0], 2, 2, false);
}

static void make_pull(struct rig *r)
{
	worker_pull(&r->w[0], 0, 1, 1, false);
}

static void make_pull_held(struct rig *r)
{
	worker_pull(&r->w[0], 0, 1, 1, true);
}

static void make_gone(struct rig *r)
{
	worker_pull(&r->w[0], 0, 1, 0, false);
}

static void make_table_full(struct rig *r)
{
	uint64_t ids[80];
	for (uint32_t n = 0; n < 3000 / 2 + 3000 / 32 + 64 - 40; n += 40) {
		for (uint32_t i = 0; i < 40; i++)
			ids[i] = owned(r, NARROW, 0, n + i);
		const struct place p = place_rows(r, 0, 0, NARROW, ids, 40, 1);
		place_send(&r->w[0], 1 + n / 40, &p);
		pass_send(&r->w[0], 1 + n / 40, 0, 1);
		pass_send(&r->w[0], 1 + n / 40, 1, 0);
		rig_run(r);
	}
	uint32_t step = 1 + (3000 / 2 + 3000 / 32 + 64 - 1) / 40;
	for (uint32_t i = 0; i < 40; i++)
		ids[i] = owned(r, NARROW, 0, 3000 + i);
	const struct place p = place_rows(r, 0, 0, NARROW, ids, 40, 1);
	place_send(&r->w[0], step, &p);
}

static void make_barrier(struct rig *r)
{
	worker_barrier(&r->w[0], 1);
}

static void make_leave(struct rig *r)
{
	worker_leave(&r->w[0]);
}

static void make_not_allowed(struct rig *r)
{
	r->w[0].incarnation++;
	worker_leave(&r->w[0]);
}

static void make_other_view(struct rig *r)
{
	r->w[0].view = 9;
	make_push(r);
}

static void make_not_ready(struct rig *r)
{
	cr_assert_eq(r->cfg.jobs_count, 2);
	struct gp_join j = worker_join_of(&r->w[6], 0);
	strcpy(j.job, "other");
	cr_assert_eq(worker_enter_as(&r->w[6], &j), 0);
	const struct gp_section s = {.block = 0, .run = 1, .weight = 1};
	worker_push(&r->w[6], 1, &s, NULL, false);
}

static void make_unknown_block(struct rig *r)
{
	push_section(r, (struct gp_section){.block = 4, .run = 1, .weight = 1}, 1);
}

static void make_wrong_core(struct rig *r)
{
	struct gp_header h = worker_header(&r->w[0], 0, GP_WIRE_PULL);
	const struct gp_section s = {.block = 1, .run = 1};
	h.sections = 1;
	worker_send(&r->w[0], 0, &h, &s, NULL, 0);
}

static void make_bad_payload(struct rig *r)
{
	push_section(r,
		(struct gp_section){
			.block = 0, .len = 4, .run = 1, .codec = GP_CODEC_F32, .weight = 1},
		1);
}

static void make_nonfinite(struct rig *r)
{
	const uint32_t nan = 0x7fc00000;
	float values[BLOCK_ELEMS] = {0};
	memcpy(&values[model_elems(0) - 1], &nan, sizeof(nan));
	const struct gp_section s = {.block = 0,
		.len = (uint16_t)(4 * model_elems(0)),
		.run = 1,
		.codec = GP_CODEC_F32,
		.weight = 1};
	worker_push(&r->w[0], 1, &s, values, false);
}

static void make_stale(struct rig *r)
{
	worker_push_block(&r->w[0], 0, 0, false);
}

static void make_too_early(struct rig *r)
{
	worker_push_block(&r->w[0], 7, 0, false);
}

static void make_stopping(struct rig *r)
{
	gp_registrar_stop(r->reg);
	rig_run(r);
	worker_push_block(&r->w[0], 2, 0, false);
}

static void send_read(struct rig *r, uint32_t clock)
{
	uint8_t body[16];
	struct worker *w = &r->w[0];
	struct gp_header h = worker_header(w, w->welcome.home, GP_WIRE_READ);
	const struct gp_read x = {.request = 1, .clock = clock};
	worker_send(w, w->welcome.home, &h, NULL, body, gp_wire_put_read(body, &x));
}

static void make_read(struct rig *r)
{
	send_read(r, 1);
}

static void make_read_parked(struct rig *r)
{
	worker_push_all(&r->w[0], 0, false);
	rig_run(r);
	send_read(r, 9);
}

static void same(uint8_t *b)
{
	(void)b;
}

static const struct {
	void (*make)(struct rig *r);
	void (*change)(uint8_t *bytes); // of a heartbeat
	bool asynchronous;
	bool embeds;
} ways[GP_VERDICT_COUNT] = {
	[GP_VERDICT_BAD_LENGTH] = {.change = cut_short},
	[GP_VERDICT_BAD_VERSION] = {.change = version_2},
	[GP_VERDICT_BAD_TYPE] = {.change = type_21},
	[GP_VERDICT_BAD_FLAGS] = {.change = flag_tag},
	[GP_VERDICT_BAD_PAD] = {.change = pad_not_zero},
	[GP_VERDICT_BAD_SECTIONS] = {.change = one_section},
	[GP_VERDICT_BAD_SECTION] = {.make = make_bad_section},
	[GP_VERDICT_BAD_BODY] = {.change = body_short},
	[GP_VERDICT_BAD_NAME] = {.make = make_bad_name},
	[GP_VERDICT_BAD_COUNT] = {.make = make_bad_count},
	[GP_VERDICT_HELLO] = {.make = make_hello},
	[GP_VERDICT_JOIN] = {.make = make_join},
	[GP_VERDICT_REGISTER] = {.make = make_register},
	[GP_VERDICT_PUSH] = {.make = make_push},
	[GP_VERDICT_PUSH_DUPLICATE] = {.make = make_push_duplicate},
	[GP_VERDICT_PUSH_BUSY] = {.make = make_push_busy},
	[GP_VERDICT_PULL] = {.make = make_pull},
	[GP_VERDICT_PULL_HELD] = {.make = make_pull_held},
	[GP_VERDICT_READ] = {.make = make_read, .asynchronous = true},
	[GP_VERDICT_READ_PARKED] = {.make = make_read_parked, .asynchronous = true},
	[GP_VERDICT_HEARTBEAT] = {.change = same},
	[GP_VERDICT_BEAT] = {.make = make_beat},
	[GP_VERDICT_BARRIER] = {.make = make_barrier},
	[GP_VERDICT_LEAVE] = {.make = make_leave},
	[GP_VERDICT_WRONG_DIRECTION] = {.change = servers_message},
	[GP_VERDICT_HELLO_SHORT] = {.make = make_hello_short},
	[GP_VERDICT_HELLO_LIMIT] = {.make = make_hello_limit},
	[GP_VERDICT_BAD_COOKIE] = {.make = make_bad_cookie},
	[GP_VERDICT_BAD_JOB] = {.change = job_9},
	[GP_VERDICT_BAD_SESSION] = {.change = session_9},
	[GP_VERDICT_BAD_EPOCH] = {.change = epoch_9},
	[GP_VERDICT_OTHER_VIEW] = {.make = make_other_view},
	[GP_VERDICT_NOT_READY] = {.make = make_not_ready},
	[GP_VERDICT_UNKNOWN_BLOCK] = {.make = make_unknown_block},
	[GP_VERDICT_WRONG_CORE] = {.make = make_wrong_core},
	[GP_VERDICT_BAD_PAYLOAD] = {.make = make_bad_payload},
	[GP_VERDICT_NONFINITE] = {.make = make_nonfinite},
	[GP_VERDICT_TABLE_FULL] = {.make = make_table_full, .embeds = true},
	[GP_VERDICT_NOT_ALLOWED] = {.make = make_not_allowed},
	[GP_VERDICT_STALE] = {.make = make_stale},
	[GP_VERDICT_TOO_EARLY] = {.make = make_too_early},
	[GP_VERDICT_STOPPING] = {.make = make_stopping},
	[GP_VERDICT_GONE] = {.make = make_gone},
	[GP_VERDICT_CONTROL_FULL] = {.make = make_control_full},
};

Test(verdict, each_can_happen_and_is_counted, .timeout = 60)
{
	for (int v = 0; v < GP_VERDICT_COUNT; v++) {
		struct rig *r = ways[v].embeds ? embed_new(GP_CONSIST_ASP, 2, 2) : rig_new();
		r->cfg.hello_rate = 20;
		r->cfg.cores_count = 2;
		r->cfg.jobs_count = 2;
		r->jobs[0].slots = 2;
		if (ways[v].asynchronous) {
			r->jobs[0].kind = GP_KIND_TRAIN;
			r->jobs[0].consistency = GP_CONSIST_SSP;
			r->jobs[0].cuts_max = 4;
		}
		if (ways[v].embeds)
			embed_up(r);
		else
			rig_up(r);
		uint64_t before = rig_verdicts(r, (enum gp_verdict)v);
		cr_assert(ways[v].make || ways[v].change, "%s has no way here",
			gp_verdict_name((enum gp_verdict)v));
		if (ways[v].make)
			ways[v].make(r);
		else
			raw(r, ways[v].change);
		rig_run(r);
		cr_assert_gt(rig_verdicts(r, (enum gp_verdict)v), before, "%s",
			gp_verdict_name((enum gp_verdict)v));
		r->no_control = false;
		rig_run(r);
		rig_free_busy(r);
	}
}
