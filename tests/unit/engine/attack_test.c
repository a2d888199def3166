// SPDX-License-Identifier: BSD-3-Clause
//
// A worker with a valid session that sends whatever it likes. The engine's assertions are the
// judge: none may fail; and an honest job goes on beside it.
#include "driver.h"

static uint64_t random_next(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static uint32_t pick(uint64_t *s, const uint32_t *from, uint32_t count)
{
	return from[random_next(s) % count];
}

// Numbers at the edges of what the engine reckons with.
static const uint32_t edges[] = {0, 0, 1, 1, 1, 2, 2, 3, 3, 4, 5, 7, 63, 64, 255, 0x7fff, 0xfffe,
	0xffff, 0x7fffffff, 0x80000000, 0x80000001, 0xfffffffe, 0xffffffff};

static void send_anything(struct worker *w, uint64_t *seed)
{
	static const uint8_t types[] = {GP_WIRE_PUSH, GP_WIRE_PUSH, GP_WIRE_PUSH, GP_WIRE_PUSH,
		GP_WIRE_PULL, GP_WIRE_HEARTBEAT, GP_WIRE_BARRIER, GP_WIRE_REGISTER};
	uint32_t core = (uint32_t)(random_next(seed) % w->r->cfg.cores_count);
	struct gp_header h = worker_header(w, core, types[random_next(seed) % sizeof(types)]);
	struct gp_section s[8];
	uint8_t body[1500];
	for (uint32_t i = 0; i < sizeof(body); i++)
		body[i] = (uint8_t)random_next(seed);
	bool push = h.type == GP_WIRE_PUSH, pull = h.type == GP_WIRE_PULL;
	uint32_t len = push || pull ? 0 : h.type == GP_WIRE_BARRIER ? 8 : 16;
	h.step = pick(seed, edges, GP_ARRAY_SIZE(edges));
	if (random_next(seed) % 4 > 0) // near to what the job is at
		h.step = rig_job(w->r).generation + (uint32_t)(random_next(seed) % 4);
	if (random_next(seed) % 8 == 0)
		h.view = pick(seed, edges, GP_ARRAY_SIZE(edges));
	h.decision = pick(seed, edges, GP_ARRAY_SIZE(edges));
	if (random_next(seed) % 4 == 0)
		h.packet = (uint64_t)pick(seed, edges, GP_ARRAY_SIZE(edges))
			   << (random_next(seed) % 33);
	h.flags = (push || pull) && random_next(seed) % 2 ? GP_WIRE_F_WANT : 0;
	h.sections = push || pull ? (uint8_t)(1 + random_next(seed) % 3) : 0;
	for (uint32_t i = 0; i < h.sections; i++) {
		uint32_t block = pick(seed, edges, 12), room = (uint32_t)sizeof(body) - 200 - len;
		if (random_next(seed) % 8 > 0) // its own
			block = (uint32_t)(random_next(seed) % BLOCKS) / w->r->cfg.cores_count *
					w->r->cfg.cores_count +
				core;
		uint32_t elems = block < BLOCKS ? model_elems(block) : 4;
		s[i] = (struct gp_section){.block = block, .run = 1, .weight = push ? 1e38f : 0};
		if (random_next(seed) % 8 == 0)
			s[i].run = (uint16_t)pick(seed, edges, 18);
		else if (push && random_next(seed) % 2 && elems * 4 <= room) {
			bool half = random_next(seed) % 2;
			s[i].codec = half ? GP_CODEC_BF16 : GP_CODEC_F32;
			s[i].len = (uint16_t)(elems * (half ? 2 : 4));
			len += s[i].len;
		}
	}
	if (h.type == GP_WIRE_HEARTBEAT || h.type == GP_WIRE_BARRIER)
		gp_store32(body + 4, 0);
	if (h.type == GP_WIRE_REGISTER) {
		const struct gp_register reg = {.tensors_count = UINT32_MAX,
			.first = pick(seed, edges, GP_ARRAY_SIZE(edges))};
		(void)gp_wire_put_register(body, &reg);
	}
	worker_send(w, core, &h, s, body, len);
}

static void attack(uint8_t kind, uint8_t atomicity, uint32_t cores, uint64_t seed)
{
	struct rig *r = rig_new();
	r->cfg.cores_count = cores;
	r->jobs[0].kind = kind;
	r->jobs[0].atomicity = atomicity;
	r->jobs[0].mean = true;
	r->jobs[0].slots = 4;
	r->jobs[0].workers = 1 + (uint32_t)(seed % 2);
	rig_up(r);
	for (uint32_t round = 0; round < 500; round++) {
		for (uint32_t i = 0; i < 4; i++)
			send_anything(&r->w[i % r->jobs[0].workers], &seed);
		rig_run(r);
		if (round % 100 == 99) { // one of them is replaced, so that views change
			struct worker *w = &r->w[round / 100 % r->jobs[0].workers];
			struct gp_join j = worker_join_of(w, w->rank);
			j.previous = w->incarnation;
			j.incarnation = w->incarnation += 100;
			cr_assert_eq(worker_enter_as(w, &j), 0);
			worker_attach(w);
			cr_assert_eq(worker_bring(w), 0);
		}
		for (uint32_t i = 0; i < 2; i++)
			seen_clear(&r->w[i]);
	}
	cr_assert_gt(RIG_COUNT(r, units_committed), 5, "among all that, steps were committed");
	rig_free_busy(r);
}

Test(attack, by_members_of_a_job_hits_no_assertion, .timeout = 100)
{
	uint64_t seed = 88172645463325252u;
	for (uint8_t kind = GP_KIND_REDUCE; kind <= GP_KIND_TRAIN; kind++)
		for (uint8_t atomicity = GP_ATOM_BLOCK; atomicity <= GP_ATOM_STEP; atomicity++)
			for (uint32_t i = 0; i < 2; i++)
				attack(kind, atomicity, 1 + atomicity % 3,
					random_next(&seed) * 2 + i);
}

Test(attack, packet_numbers_at_their_ends_do_no_harm)
{
	static const uint64_t packets[] = {
		0, 1, 64, 65, 66, 200, UINT64_MAX - 64, UINT64_MAX - 1, UINT64_MAX, 1, 0};
	struct rig *r = rig_new();
	rig_up(r);
	uint64_t largest = r->w[0].packet[0];
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(packets); i++) {
		r->w[0].packet[0] = packets[i] - 1;
		worker_push_block(&r->w[0], 1, i % BLOCKS, false);
		rig_run(r);
		struct gp_ack ack;
		gp_wire_get_ack(&seen_last(&r->w[0], GP_WIRE_ACK, 0)->m, &ack);
		largest = GP_MAX(largest, packets[i]);
		cr_assert_eq(ack.largest, largest);
	}
	rig_free_busy(r);
}

static void zeros_send(struct rig *r)
{
	static const uint8_t zeros[1400];
	uint64_t before = rig_verdicts(r, GP_VERDICT_BAD_VERSION);
	for (uint32_t len = 40; len <= sizeof(zeros); len += 8)
		worker_send_raw(&r->w[5], 0, zeros, len);
	rig_run(r);
	cr_assert_gt(rig_verdicts(r, GP_VERDICT_BAD_VERSION), before + 100);
}

// They begin like a session that nobody has had, and like one that was given back.
Test(attack, zeros_of_any_length_are_no_contribution)
{
	struct rig *r = rig_new();
	rig_start(r);
	zeros_send(r);
	cr_assert_eq(worker_enter(&r->w[0], 0), 0);
	zeros_send(r);
	worker_leave(&r->w[0]);
	rig_run(r);
	zeros_send(r);
	rig_free(r);
}
