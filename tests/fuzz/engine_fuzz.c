// SPDX-License-Identifier: BSD-3-Clause
//
// A live engine under a sequence of datagrams and events. The input is a tape (input.h): the first
// bytes choose the job, then each byte chooses what happens next: messages of members, readers and
// a stranger with fields from the tape, raw bytes, old datagrams again, time, cuts, a stop, a port
// without frames, cores that sleep. At first two workers have joined and registered and view 1
// stands (unless the tape says otherwise).
//
// After each event every datagram has one verdict; at the end every frame and version has its one
// place, and nothing refers to a datagram that was sent. What the engine sends is valid, and no
// unproved address gets more than it sent.
#include "engine_world.h"

#include <float.h>

#define EVENTS_MAX 400

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint32_t block_elems[BLOCKS] = {96, 96, 8, 10};

static uint32_t below(struct input *in, uint32_t count)
{
	return input_u8(in) % count;
}

// ---- datagrams

static void feed(struct world *w, uint32_t core, uint32_t peer, const uint8_t *data, uint32_t len)
{
	struct gp_frame *f = port_arrive(&w->port[core], &w->peers[peer].addr[core], data, len);
	w->peers[peer].bytes_sent += len;
	gp_core_rx(gp_engine_core(w->e, core), &f, 1, w->now);
}

static void send(struct world *w, uint32_t core, uint32_t peer, struct gp_header *h,
	const struct gp_section *s, const uint8_t *body, uint32_t body_len)
{
	static uint8_t data[GP_WIRE_DATAGRAM_MAX];
	uint32_t at = gp_wire_begin(data, sizeof(data), h);
	for (uint32_t i = 0; i < h->sections; i++)
		gp_wire_put_section(data, i, &s[i]);
	GP_ASSERT(at + body_len <= sizeof(data));
	if (body_len > 0)
		memcpy(data + at, body, body_len);
	uint32_t len = at + body_len, slot = w->old_count++ % OLD_COUNT;
	if (len <= OLD_SIZE) {
		memcpy(w->old[slot].data, data, len);
		w->old[slot].len = len;
		w->old[slot].core = core;
		w->old[slot].peer = peer;
	}
	feed(w, core, peer, data, len);
}

static struct gp_header session_header(struct world *w, uint32_t core, uint32_t peer, uint8_t type)
{
	struct peer *p = &w->peers[peer];
	return (struct gp_header){.version = GP_WIRE_VERSION,
		.type = type,
		.job = p->job,
		.rank = p->rank,
		.session = p->session,
		.epoch = p->epoch,
		.view = p->view,
		.packet = ++p->packet[core],
		.decision = p->decision};
}

// Fields of the header that the tape changes.
static void header_bend(struct input *in, struct gp_header *h)
{
	uint32_t mask = input_u8(in);
	h->step = (uint32_t)input_field(in, mask, 0, h->step);
	h->view = (uint32_t)input_field(in, mask, 1, h->view);
	h->decision = (uint32_t)input_field(in, mask, 2, h->decision);
	h->packet = input_field(in, mask, 3, h->packet);
	h->session = (uint32_t)input_field(in, mask, 4, h->session);
	h->rank = (uint16_t)input_field(in, mask, 5, h->rank);
	h->epoch = (uint32_t)input_field(in, mask, 6, h->epoch);
	h->job = (uint16_t)input_field(in, mask, 7, h->job);
}

// The step that the peer contributes next at that core.
static uint32_t step_open(const struct world *w, uint32_t core, uint32_t peer)
{
	const struct job_core *jc = world_job(w, core);
	if (!jc)
		return 1;
	if (!core_is_async(jc) || peer >= w->job.workers)
		return jc->generation + 1;
	const struct gp_async *a = &jc->job->home->consist.async;
	bool quorum = w->job.consistency == GP_CONSIST_QUORUM;
	return 1 + (quorum ? a->closed : jc->async->ranks[peer].clock);
}

// The generation that is in hand at that core.
static uint32_t generation_open(const struct world *w, uint32_t core)
{
	const struct job_core *jc = world_job(w, core);
	return jc ? jc->generation + 1 : 1;
}

static uint32_t block_len(uint8_t codec, uint32_t elems)
{
	switch (codec) {
	case GP_CODEC_F32:
		return elems * 4;
	case GP_CODEC_BF16:
	case GP_CODEC_F16:
		return (uint32_t)gp_align_up(elems * 2, 4);
	case GP_CODEC_INT8:
		return 4 + (uint32_t)gp_align_up(elems, 4);
	case GP_CODEC_SIGN:
		return 4 + (uint32_t)gp_align_up(gp_div_up(elems, 8), 4);
	default:
		return 0;
	}
}

// A payload that fits codec and block, or what the tape says.
static uint32_t payload_put(struct input *in, struct gp_section *s, uint8_t *at, uint32_t room)
{
	uint32_t elems = block_elems[s->block % BLOCKS];
	uint8_t how = input_u8(in);
	bool raw = how < 128 && how % 5 == 4;
	s->codec = how < 128 ? how % 5 : GP_CODEC_F16 + how % 3;
	if (raw) {
		s->codec = (uint8_t)below(in, 4);
		s->len = (uint16_t)input_bytes(in, at, GP_MIN(room, 64));
		return s->len;
	}
	if (s->codec == GP_CODEC_TOPK) {
		uint16_t count = (uint16_t)(1 + 2 * below(in, 2));
		gp_store16(at, count);
		for (uint32_t i = 0; i < count; i++)
			gp_store16(at + 2 + 2 * i, (uint16_t)(2 * i));
		for (uint32_t i = 0; i < count; i++)
			gp_store32(at + 2 + 2 * count + 4 * i, (uint32_t)input_take(in, 4));
		s->len = (uint16_t)(2 + 6 * count);
		return s->len;
	}
	s->len = (uint16_t)block_len(s->codec, elems);
	memset(at, input_u8(in), s->len);
	return s->len;
}

static float weight_choose(struct input *in)
{
	static const float weights[] = {1.0f, 0.5f, 3.0f, FLT_MIN, 1e-45f, FLT_MAX, 1e38f, 0.0f};
	uint8_t how = input_u8(in);
	if (how < 32)
		return weights[how / 4];
	uint32_t bits = (uint32_t)input_take(in, 4);
	return how < 64 ? gp_loadf(&bits) : 1.0f;
}

static uint32_t sections_choose(struct world *w, uint32_t core, struct gp_section s[4], bool push,
	uint8_t *body, uint32_t *n)
{
	struct input *in = &w->in;
	uint32_t len = 0;
	uint8_t how = input_u8(in);
	*n = 1 + how % 4;
	for (uint32_t i = 0; i < *n; i++) {
		uint8_t what = input_u8(in);
		s[i] = (struct gp_section){.block = what % 4, .run = 1};
		if (what & 16)
			s[i].block = (uint32_t)input_number(in, BLOCKS - 1);
		if (push && world_embeds(w) && !(what & 32)) {
			len += rows_place_put(w, core, &s[i], body + len);
		} else if (push) {
			s[i].weight = what & 32 ? weight_choose(in) : 1.0f;
			len += payload_put(in, &s[i], body + len, 700);
		}
		if (what & 64)
			s[i].run = (uint16_t)input_number(in, 2);
	}
	return len;
}

static void blocks_send(struct world *w, uint32_t core, uint32_t peer, uint8_t type)
{
	static uint8_t body[4 * ROWS_PLACE_MAX];
	struct gp_section s[4];
	struct gp_header h = session_header(w, core, peer, type);
	uint32_t n, len = sections_choose(w, core, s, type == GP_WIRE_PUSH, body, &n);
	uint8_t how = input_u8(&w->in);
	h.sections = (uint8_t)n;
	h.flags = how & 1 ? GP_WIRE_F_WANT : 0;
	h.step = type == GP_WIRE_PUSH ? step_open(w, core, peer) + (how >> 1 & 3)
				      : generation_open(w, core) + (how >> 1 & 1) - 1u;
	if (type == GP_WIRE_PUSH && (how & 32)) // late
		h.step -= 2;
	if (type == GP_WIRE_PULL && (how & 64))
		h.step = GP_WIRE_STEP_NEWEST;
	if (how & 128)
		header_bend(&w->in, &h);
	send(w, core, peer, &h, s, body, len);
}

// ---- events; each takes (core, peer) from the byte that chose it

static void do_push(struct world *w, uint32_t core, uint32_t peer)
{
	blocks_send(w, core, peer, GP_WIRE_PUSH);
}

static void rows_pull(struct world *w, uint32_t core, uint32_t peer)
{
	static uint8_t body[GP_WIRE_ROWS_HEAD + 8 * ROWS_PULL_MAX];
	struct gp_header h = session_header(w, core, peer, GP_WIRE_PULL_ROWS);
	uint32_t len = rows_pull_put(w, core, body, &h.step);
	if (input_u8(&w->in) & 128)
		header_bend(&w->in, &h);
	send(w, core, peer, &h, NULL, body, len);
}

static void do_pull(struct world *w, uint32_t core, uint32_t peer)
{
	if (world_embeds(w)) {
		rows_pull(w, core, peer);
		return;
	}
	blocks_send(w, core, peer, GP_WIRE_PULL);
}

// A whole push of rows: its first place at each core, and that the others are empty.
static void rows_step(struct world *w, uint32_t peer, uint8_t who)
{
	static uint8_t body[ROWS_PLACE_MAX];
	for (uint32_t k = 0; k < w->cores; k++)
		for (uint32_t i = 0; i < 2; i++) {
			struct gp_header h = session_header(w, k, i, GP_WIRE_PUSH);
			struct gp_section s[2] = {{.block = k}, {.block = k + w->cores}};
			uint32_t len = rows_place_put(w, k, &s[0], body);
			s[1].run = (uint16_t)(BLOCKS / w->cores - 1);
			h.step = step_open(w, k, i);
			h.sections = 2;
			if (!(who >> (2 * k + i) & 1) && i <= peer)
				send(w, k, i, &h, s, body, len);
		}
}

// An honest contribution of zeros to every block of the core by every worker, and a few turns.
static void do_step(struct world *w, uint32_t core, uint32_t peer)
{
	uint32_t who = input_u8(&w->in);
	if (world_embeds(w) && core == 0)
		rows_step(w, peer, (uint8_t)who);
	for (uint32_t k = 0; k < w->cores && !(world_embeds(w) && core == 0); k++)
		for (uint32_t i = 0; i < 2; i++) {
			struct gp_header h = session_header(w, k, i, GP_WIRE_PUSH);
			const struct gp_section s = {
				.block = k, .run = (uint16_t)(BLOCKS / w->cores), .weight = 1.0f};
			h.step = step_open(w, k, i);
			h.sections = 1;
			h.flags = peer & 1 ? GP_WIRE_F_WANT : 0;
			if (!(who >> (2 * k + i) & 1))
				send(w, k, i, &h, &s, NULL, 0);
		}
	for (uint32_t i = 0; i < (who >> 4 & 7); i++)
		world_turn(w);
}

static void do_heartbeat(struct world *w, uint32_t core, uint32_t peer)
{
	uint8_t body[16], how = input_u8(&w->in);
	struct gp_header h = session_header(w, core, peer, GP_WIRE_HEARTBEAT);
	const struct gp_heartbeat hb = {
		.known = (uint32_t)input_field(&w->in, how, 0, h.decision), .time = how};
	h.pad = how & 2 ? 0 : 48;
	if (how & 128)
		header_bend(&w->in, &h);
	send(w, core, peer, &h, NULL, body, gp_wire_put_heartbeat(body, &hb));
}

static uint32_t desc_put(
	struct input *in, uint8_t *at, uint32_t i, uint8_t how, const uint64_t elems[TENSORS])
{
	struct gp_tensor_desc d = {.priority = i,
		.dtype = 1,
		.dims_count = 1,
		.name_len = 1,
		.dims = {elems[i % TENSORS]},
		.name = {(char)('a' + i)}};
	d.dims[0] = input_field(in, how, 3, d.dims[0]);
	if (how & 16) {
		d.dims_count = (uint8_t)(1 + below(in, 8));
		for (uint32_t k = 1; k < d.dims_count; k++)
			d.dims[k] = input_number(in, 1);
	}
	if (how & 32) {
		d.name[0] = (char)input_u8(in);
		d.priority = (uint32_t)input_number(in, 0);
	}
	return gp_wire_put_desc(at, &d);
}

static void do_register(struct world *w, uint32_t core, uint32_t peer)
{
	static uint8_t body[1024];
	uint8_t how = input_u8(&w->in);
	struct gp_header h = session_header(w, core, peer, GP_WIRE_REGISTER);
	const struct gp_register r = {
		.tensors_count = (uint32_t)input_field(&w->in, how, 0, TENSORS),
		.first = (uint32_t)input_field(&w->in, how, 1, 0),
		.n = how & 4 ? (uint16_t)below(&w->in, 4) : TENSORS};
	uint32_t len = gp_wire_put_register(body, &r);
	for (uint32_t i = 0; i < r.n; i++)
		len += desc_put(
			&w->in, body + len, i, how, world_embeds(w) ? table_dims : tensor_elems);
	if (how & 128)
		header_bend(&w->in, &h);
	send(w, core, peer, &h, NULL, body, len);
}

static void do_hello(struct world *w, uint32_t core, uint32_t peer)
{
	static uint8_t body[GP_WIRE_DATAGRAM_MAX];
	uint8_t how = input_u8(&w->in);
	uint32_t size = GP_WIRE_HELLO_SIZE_MIN;
	if (how & 1)
		size = (uint32_t)(96 + input_take(&w->in, 2) % 4096);
	memset(body, 0, sizeof(body));
	const struct gp_hello x = {.versions_count = 1,
		.versions = {how & 2 ? how : GP_WIRE_VERSION},
		.size = (uint32_t)input_field(&w->in, how, 2, size),
		.nonce = how};
	(void)gp_wire_put_hello(body, &x);
	struct gp_header h = {.version = 1, .type = GP_WIRE_HELLO, .rank = GP_WIRE_RANK_NONE};
	send(w, core, peer, &h, NULL, body, size - GP_WIRE_HEADER_SIZE);
}

// Peers 0 and 1 are workers; bit 0: with a new incarnation; bit 1: to attach.
static void do_join(struct world *w, uint32_t core, uint32_t peer)
{
	uint8_t body[128], how = input_u8(&w->in);
	struct peer *p = &w->peers[peer];
	struct gp_join j = {.nonce = 4242,
		.rank = peer < 2 ? (uint16_t)peer : GP_WIRE_RANK_NONE,
		.world = peer < 2 ? 2 : 0,
		.payload_max = PAYLOAD,
		.flags = peer < 2 ? 0 : GP_JOIN_READER,
		.job = "job"};
	if (how & 1) {
		j.previous = p->incarnation;
		p->incarnation++;
	}
	j.incarnation = p->incarnation;
	j.flags |= (how >> 2 & 15u) << 8; // GP_JOIN_RESULTS
	if (how & 2) {
		j.flags |= GP_JOIN_ATTACH;
		j.session = p->session;
	}
	if (how & 128) {
		uint32_t mask = input_u8(&w->in);
		j.rank = (uint16_t)input_field(&w->in, mask, 0, j.rank);
		j.world = (uint16_t)input_field(&w->in, mask, 1, j.world);
		j.payload_max = (uint32_t)input_field(&w->in, mask, 2, j.payload_max);
		j.session = (uint32_t)input_field(&w->in, mask, 3, j.session);
		j.flags ^= mask >> 4 & 7;
		j.job[0] = mask & 128 ? (char)input_u8(&w->in) : 'j';
	}
	if (peer != STRANGER)
		memcpy(j.cookie, p->cookie[core], sizeof(j.cookie));
	struct gp_header h = {.version = 1, .type = GP_WIRE_JOIN, .rank = GP_WIRE_RANK_NONE};
	send(w, core, peer, &h, NULL, body, gp_wire_put_join(body, &j));
}

static void do_leave(struct world *w, uint32_t core, uint32_t peer)
{
	uint8_t body[8], how = input_u8(&w->in);
	struct gp_header h = session_header(w, core, peer, GP_WIRE_LEAVE);
	uint64_t incarnation = input_field(&w->in, how, 0, w->peers[peer].incarnation);
	if (how & 128)
		header_bend(&w->in, &h);
	send(w, core, peer, &h, NULL, body, gp_wire_put_u64(body, incarnation));
}

static void do_read(struct world *w, uint32_t core, uint32_t peer)
{
	uint8_t body[16], how = input_u8(&w->in);
	struct gp_header h = session_header(w, core, peer, GP_WIRE_READ);
	const struct gp_read x = {.request = how & 7,
		.clock = step_open(w, core, peer) + (how >> 3 & 3),
		.flags = how >> 5 & 1 ? GP_READ_RESERVE : 0};
	if (how & 128)
		header_bend(&w->in, &h);
	send(w, core, peer, &h, NULL, body, gp_wire_put_read(body, &x));
}

// In an asynchronous job a read stands in the barrier's place, so that tapes keep their meaning.
static void do_barrier(struct world *w, uint32_t core, uint32_t peer)
{
	if (w->job.consistency != GP_CONSIST_BSP) {
		do_read(w, core, peer);
		return;
	}
	uint8_t body[8], how = input_u8(&w->in);
	struct gp_header h = session_header(w, core, peer, GP_WIRE_BARRIER);
	if (how & 128)
		header_bend(&w->in, &h);
	send(w, core, peer, &h, NULL, body, gp_wire_put_barrier(body, how & 31, how >> 5 & 1));
}

static void do_raw(struct world *w, uint32_t core, uint32_t peer)
{
	static uint8_t data[GP_WIRE_DATAGRAM_MAX];
	feed(w, core, peer, data, input_bytes(&w->in, data, sizeof(data)));
}

// An earlier datagram again: whole, cut, longer, with a byte changed, from elsewhere.
static void do_again(struct world *w, uint32_t core, uint32_t peer)
{
	uint8_t data[OLD_SIZE + 256], how = input_u8(&w->in);
	uint32_t i = how % OLD_COUNT, len = w->old[i].len;
	memcpy(data, w->old[i].data, sizeof(w->old[i].data));
	if (how & 16) {
		uint32_t less = input_u8(&w->in);
		len -= GP_MIN(len, less);
	}
	if (how & 32) {
		uint32_t more = input_u8(&w->in);
		memset(data + len, 0, more);
		len += more;
	}
	if (how & 64 && len > 0) {
		uint32_t at = (uint32_t)input_take(&w->in, 2) % len;
		data[at] = input_u8(&w->in);
	}
	bool elsewhere = how & 128 && w->old[i].peer != STRANGER && data[1] != GP_WIRE_JOIN;
	feed(w, elsewhere ? core : w->old[i].core, elsewhere ? peer : w->old[i].peer, data, len);
}

static void do_turn(struct world *w, uint32_t core, uint32_t peer)
{
	(void)core;
	for (uint32_t i = 0; i < 1 + 2 * peer; i++)
		world_turn(w);
}

static void do_tick(struct world *w, uint32_t core, uint32_t peer)
{
	(void)peer;
	world_core_turn(w, core);
}

static void do_time(struct world *w, uint32_t core, uint32_t peer)
{
	static const uint64_t ns[] = {MS_NS / 2, 10 * MS_NS, 60 * MS_NS, 250 * MS_NS};
	w->now += ns[peer] * (core ? 20 : 1);
}

static void do_control(struct world *w, uint32_t core, uint32_t peer)
{
	switch (core * PEERS + peer) {
	case 0:
		(void)!gp_registrar_cut(w->reg, w->job.id);
		return;
	case 1:
		if (w->cut_ready)
			gp_registrar_cut_release(w->reg, w->job.id);
		w->cut_ready = false;
		return;
	case 2:
		w->no_grace = !w->no_grace;
		return;
	case 3:
		w->no_control = !w->no_control;
		return;
	case 4:
		w->asleep ^= 1;
		return;
	case 5:
		w->asleep ^= 2;
		return;
	case 6:
		if (input_u8(&w->in) == 0x55) // rarely: nothing begins afterwards
			gp_registrar_stop(w->reg);
		return;
	default:
		w->port[below(&w->in, w->cores)].starve = input_u8(&w->in);
		return;
	}
}

static void do_leave_port(struct world *w, uint32_t core, uint32_t peer)
{
	port_leave(&w->port[core], peer);
}

static void (*const events[])(struct world *w, uint32_t core, uint32_t peer) = {do_turn, do_push,
	do_push, do_push, do_pull, do_step, do_heartbeat, do_register, do_hello, do_join, do_leave,
	do_barrier, do_raw, do_again, do_time, do_control, do_tick, do_leave_port};

static void event(struct world *w)
{
	uint8_t what = input_u8(&w->in), who = input_u8(&w->in);
	events[what % GP_ARRAY_SIZE(events)](w, (who >> 2 & 1) % w->cores, who & 3);
	if (who & 128)
		world_turn(w);
	world_check(w);
}

// ---- a whole life

// A part of the script: what an event takes from the tape is zero here, the ordinary choice.
static void workers_up(struct world *w)
{
	struct input tape = w->in;
	for (uint32_t i = 0; i < 2; i++) {
		for (uint32_t k = 0; k < w->cores; k++) {
			const uint8_t attach = 2;
			w->in = (struct input){0};
			do_hello(w, k, i);
			if (k > 0)
				w->in = (struct input){&attach, &attach + 1};
			do_join(w, k, i);
			do_turn(w, 0, 1);
		}
		GP_ASSERT(w->peers[i].session != 0);
	}
	for (uint32_t i = 0; i < 2; i++)
		do_register(w, (w->job.id - 1u) % w->cores, i);
	do_turn(w, 0, 3);
	GP_ASSERT(w->peers[0].view == 1 && w->peers[1].view == 1);
	w->in = tape;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool registered;
	static struct world w;
	if (!registered)
		gp_rcu_register_thread();
	registered = true;
	w = (struct world){.now = 1000 * MS_NS, .in = {data, data + size}};
	world_begin(&w);
	if ((w.how & 3) == 1 && w.job.kind == GP_KIND_TRAIN)
		world_restore(&w, (uint32_t)input_number(&w.in, 5) & INT32_MAX,
			(uint32_t)input_number(&w.in, 9));
	if (!(w.how & 128))
		workers_up(&w);
	for (uint32_t i = 0; i < EVENTS_MAX && !input_is_over(&w.in); i++)
		event(&w);
	world_end(&w);
	return 0;
}
