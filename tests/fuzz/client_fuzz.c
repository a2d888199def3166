// SPDX-License-Identifier: BSD-3-Clause
//
// The client's core under a server that answers anything. The input is a tape (input.h): the first
// bytes choose the client and how far a well-behaved server has brought it (hello, session, layout,
// member), then each byte chooses an answer with fields from the tape, raw bytes, an old datagram
// again, time, or a call of the owner.
//
// After each event: what is counted is what is there, a failed session has a text; what is in
// flight never exceeded the credit when it was sent; the core does not ask to be called at once
// for ever. At the end all frames and all memory are back.
#include "client_world.h"

const uint64_t tensor_elems[TENSORS] = {200, 10};
static const uint32_t first_block[TENSORS] = {0, 3};
static const uint32_t block_elems[BLOCKS] = {96, 96, 8, 10};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct gp_addr server = {.ip = {[10] = 0xff, [11] = 0xff, [12] = 10}, .port = 9700};

static void *mem_take(void *arg, size_t size)
{
	struct client *k = arg;
	if (k->takes_left == 0 || size > TAKE_MAX)
		return NULL;
	k->takes_left--;
	k->taken++;
	size = GP_MAX(size, 1);
	// Exactly as much as was asked for, so that an element too far is seen.
	void *p = NULL;
	int rc = posix_memalign(&p, GP_CACHE_LINE, size);
	GP_ASSERT(rc == 0);
	return memset(p, 0, size);
}

static void mem_give(void *arg, void *mem)
{
	((struct client *)arg)->taken--;
	free(mem);
}

static void on_sent(struct port *p, const struct gp_addr *to, const uint8_t *data, uint32_t len,
	const struct gp_msg *m)
{
	struct client *k = p->owner;
	const struct cc_lane *l = &k->c->lanes[p->idx];
	(void)to, (void)data;
	if (m->h.type == GP_WIRE_HELLO)
		k->hello_size[p->idx] = len;
	if (m->h.type != GP_WIRE_PUSH)
		return;
	GP_ASSERT(l->outstanding <= l->credit);
	if (!client_embeds(k))
		encoded_sent(k, m);
}

static bool is_async(const struct client *k)
{
	return k->w.consistency != GP_CONSIST_BSP;
}

static void client_begin(struct client *k)
{
	static const enum gp_client_codec codecs[] = {
		GP_CLIENT_F32, GP_CLIENT_AUTO, GP_CLIENT_TOPK_F16, (enum gp_client_codec)0};
	static const uint8_t results[] = {0, GP_CODEC_BF16, GP_CODEC_F16, GP_CODEC_INT8};
	uint8_t a = input_u8(&k->in), b = input_u8(&k->in);
	uint32_t lanes = 1 + (a & 1);
	k->w = (struct gp_welcome){.nonce = NONCE,
		.session = SESSION,
		.job = 1,
		.cores = (uint16_t)lanes,
		.base_port = 9700,
		.home = (uint16_t)((a >> 1 & 1) % lanes),
		.kind = a & 4 ? GP_KIND_TRAIN : GP_KIND_REDUCE,
		.atomicity = (uint8_t)(GP_ATOM_BLOCK + (a >> 3 & 3) % 3),
		.consistency = (uint8_t)(GP_CONSIST_BSP + (b >> 4 & 7) % 5),
		.flags = (b >> 4 & 7) > 4 ? GP_WELCOME_STALE_REFUSED : 0,
		.next_step = a & 4 ? 0 : 1,
		.heartbeat_us = 100000,
		.timeout_us = 500000,
		.slots = 1u << (b & 3),
		.window = 1 + (b >> 2 & 3),
		.payload_max = 1452,
		.world = 2,
		.rank = a & 32 ? GP_WIRE_RANK_NONE : 0,
		.incarnation = 5};
	struct gp_ccore_config cfg = {.job = "job",
		.server = "10.0.0.1:9700",
		.v4 = true,
		.world = 2,
		.flags = (a & 32 ? GP_CLIENT_READER : 0u) | (b & 4 ? GP_CLIENT_BORROW : 0u),
		.incarnation = 5,
		.nonce = NONCE,
		.compress = {.codec = codecs[a >> 6],
			.topk_ratio = 0.25f,
			.topk_sampled = a & 16,
			.topk_warmup_steps = a & 8 ? 4 : 0,
			.topk_momentum = a & 4 ? 0.5f : 0},
		.take = mem_take,
		.give = mem_give,
		.mem_arg = k};
	if ((b >> 4 & 7) == 7)
		rows_client_choose(k, &cfg, a);
	else if ((b >> 4 & 7) == 5)
		cfg.results = results[b & 3];
	k->takes_left = b & 128 ? below(&k->in, 8) + 1 : UINT32_MAX;
	for (uint32_t i = 0; i < LANES; i++)
		k->port[i] = (struct port){
			.x = {.ops = &port_ops, .mtu = MTU}, .sent = on_sent, .owner = k, .idx = i};
	int rc = gp_ccore_create(&k->c, &cfg, &k->port[0].x);
	GP_ASSERT(rc == 0);
}

// ---- what must always be true

static void lane_check(const struct gp_ccore *c, const struct cc_lane *l)
{
	uint32_t open = 0, waiting = 0;
	for (uint32_t i = 0; l->ring && i <= l->ring_mask; i++)
		open += l->ring[i].open;
	GP_ASSERT(open == l->outstanding && l->credit <= CREDIT_MAX);
	for (uint32_t p = 0; c->laid_out && p < l->places; p++) {
		const struct cc_block *b = &c->blocks[p * c->lanes_count + l->idx];
		waiting += b->state == CC_ACCEPTED && b->want;
	}
	GP_ASSERT(waiting == l->waiting);
}

static void client_check(const struct client *k)
{
	const struct gp_ccore *c = k->c;
	const struct gp_client_error *e = gp_ccore_error(c);
	uint32_t todo = 0;
	GP_ASSERT(!e == (gp_ccore_phase(c) != GP_CCORE_FAILED));
	GP_ASSERT(!e || (e->code < 0 && e->text[0] != '\0'));
	for (uint32_t i = 0; i < c->lanes_count; i++)
		lane_check(c, &c->lanes[i]);
	for (uint32_t i = 0; c->laid_out && i < c->layout.blocks_count; i++)
		todo += c->blocks[i].state != CC_IDLE && c->blocks[i].state != CC_FINAL;
	GP_ASSERT(todo == c->todo);
	char text[GP_ERROR_TEXT_SIZE];
	gp_ccore_waiting(c, text, sizeof(text));
	GP_ASSERT(text[0] != '\0');
}

// ---- datagrams

static void ports_attach(struct client *k)
{
	for (uint32_t i = 1; gp_ccore_phase(k->c) == GP_CCORE_PORTS && i < k->c->lanes_count; i++)
		if (!k->c->lanes[i].x) // the fuzzer has ports for two; more are nobody's
			gp_ccore_attach(k->c, i, &k->port[i % LANES].x);
}

static void feed(struct client *k, uint32_t lane, const uint8_t *data, uint32_t len)
{
	lane %= k->c->lanes_count;
	if (!k->c->lanes[lane].x)
		return;
	struct gp_frame *f = port_arrive(&k->port[lane % LANES], &server, data, len);
	gp_ccore_rx(k->c, lane, &f, 1, k->now);
	ports_attach(k);
}

void client_send(struct client *k, uint32_t lane, struct gp_header *h, const struct gp_section *s,
	const uint8_t *body, uint32_t body_len)
{
	static uint8_t data[GP_WIRE_DATAGRAM_MAX];
	uint32_t at = gp_wire_begin(data, sizeof(data), h);
	for (uint32_t i = 0; i < h->sections; i++)
		gp_wire_put_section(data, i, &s[i]);
	if (h->flags & GP_WIRE_F_ACK) {
		struct input *in = &k->in;
		const struct gp_ack a = {
			.largest = k->c->lanes[lane % k->c->lanes_count].tx_packet - below(in, 8),
			.bits = input_take(in, 1) * UINT64_C(0x0101010101010101),
			.delay_us = (uint32_t)input_number(in, 10),
			.flags = input_u8(in) & 1};
		gp_wire_put_ack(data, h->sections, &a);
	}
	GP_ASSERT(at + body_len <= sizeof(data));
	if (body_len > 0)
		memcpy(data + at, body, body_len);
	uint32_t len = at + body_len, slot = k->old_count++ % OLD_COUNT;
	if (len <= OLD_SIZE) {
		memcpy(k->old[slot].data, data, len);
		k->old[slot].len = len;
		k->old[slot].lane = lane;
	}
	feed(k, lane, data, len);
}

// `how`: bit 7 bends fields, bit 6 brings acknowledgements.
struct gp_header client_header(struct client *k, uint8_t type, uint8_t how)
{
	struct input *in = &k->in;
	struct gp_header h = {.version = GP_WIRE_VERSION,
		.type = type,
		.flags = how & 64 ? GP_WIRE_F_ACK : 0,
		.job = k->w.job,
		.session = SESSION,
		.epoch = EPOCH,
		.view = k->c->view,
		.step = k->c->round_step,
		.packet = ++k->packet,
		.decision = k->c->known,
		.credit = (uint16_t)k->w.window};
	uint32_t mask = how & 128 ? input_u8(in) : 0;
	h.step = (uint32_t)input_field(in, mask, 0, h.step);
	h.view = (uint32_t)input_field(in, mask, 1, h.view);
	h.decision = (uint32_t)input_field(in, mask, 2, h.decision);
	h.packet = input_field(in, mask, 3, h.packet);
	h.credit = (uint16_t)input_field(in, mask, 4, h.credit);
	h.session = (uint32_t)input_field(in, mask, 5, h.session);
	h.epoch = (uint32_t)input_field(in, mask, 6, h.epoch);
	return h;
}

// A result in one of the shorter codecs that a worker may ask for.
static void result_narrow(struct gp_section *s, uint8_t how, uint32_t elems)
{
	s->codec = how & 1 ? GP_CODEC_F16 : GP_CODEC_INT8;
	s->len = s->codec == GP_CODEC_F16 ? (uint16_t)gp_align_up(elems * 2, 4)
					  : (uint16_t)(4 + gp_align_up(elems, 4));
}

static uint32_t result_payload(struct input *in, struct gp_section *s, uint8_t *at)
{
	uint32_t elems = block_elems[s->block % BLOCKS];
	uint8_t how = input_u8(in);
	s->weight = 2.0f;
	s->codec = GP_CODEC_F32;
	s->len = (uint16_t)(elems * 4);
	memset(at, how, s->len);
	if (how & 64) {
		s->codec = GP_CODEC_BF16;
		s->len = (uint16_t)(elems * 2);
		if (how & 32 && how & 16)
			result_narrow(s, how, elems);
	} else if (how & 128) {
		s->codec = (uint8_t)below(in, GP_CODEC_COUNT + 1);
		s->len = (uint16_t)input_bytes(in, at, 64);
	}
	return s->len;
}

static void blocks_send(struct client *k, uint32_t lane, uint8_t type)
{
	static uint8_t body[2048];
	struct gp_section s[4];
	uint8_t how = input_u8(&k->in);
	uint32_t len = 0;
	struct gp_header h = client_header(k, type, how);
	if (type == GP_WIRE_BUSY) {
		uint64_t pn = k->c->lanes[lane % k->c->lanes_count].tx_packet;
		len = gp_wire_put_u64(body, input_number(&k->in, pn));
	}
	if (type == GP_WIRE_RESULT && !(how & 4))
		h.flags |= GP_WIRE_F_TENTATIVE;
	h.sections = (uint8_t)(1 + (how & 3));
	for (uint32_t i = 0; i < h.sections; i++) {
		uint8_t what = input_u8(&k->in);
		s[i] = (struct gp_section){
			.block = (lane + what * k->c->lanes_count) % BLOCKS, .run = 1};
		if (what & 16)
			s[i].block = (uint32_t)input_number(&k->in, BLOCKS - 1);
		if (type == GP_WIRE_RESULT)
			len += result_payload(&k->in, &s[i], body + len);
		if (what & 64)
			s[i].run = (uint16_t)input_number(&k->in, 2);
	}
	client_send(k, lane, &h, s, body, len);
}

static void commit_send(struct client *k, uint32_t lane, uint8_t kind)
{
	uint8_t body[1024], how = input_u8(&k->in);
	struct gp_header h = client_header(k, GP_WIRE_COMMIT, how);
	const struct gp_commit x = {.first = (uint32_t)input_field(&k->in, how, 5, k->c->known + 1),
		.n = (uint16_t)(1 + (how & 3))};
	uint32_t len = gp_wire_put_commit(body, &x);
	for (uint32_t i = 0; i < x.n; i++) {
		uint8_t what = input_u8(&k->in);
		bool view = kind == GP_DECISION_VIEW;
		struct gp_commit_entry e = {.kind = what & 64 ? 1 + what % 4 : kind,
			.flags = view && !(what & 32) ? GP_COMMIT_MEMBER : 0,
			.ranks = 2,
			.unit = view ? 0 : what % BLOCKS,
			.step = k->c->round_step,
			.view = k->c->view + view};
		if (e.kind != GP_DECISION_VIEW)
			e.flags = 0;
		if (e.kind == GP_DECISION_COMMIT && client_embeds(k))
			e.unit = 0; // of rank 0
		if (e.kind == GP_DECISION_COMMIT && is_async(k) && k->c->mode != CC_INIT_ZERO) {
			e.flags = what >> 2 & (GP_COMMIT_YOURS | GP_COMMIT_LATE);
			e.step = k->c->step;
		}
		if (what & 128) {
			uint32_t mask = input_u8(&k->in);
			e.unit = (uint32_t)input_field(&k->in, mask, 0, e.unit);
			e.step = (uint32_t)input_field(&k->in, mask, 1, e.step);
			e.view = (uint32_t)input_field(&k->in, mask, 2, e.view);
			e.lowest = (uint16_t)input_field(&k->in, mask, 3, e.lowest);
		}
		len += gp_wire_put_commit_entry(body + len, &e);
	}
	client_send(k, lane, &h, NULL, body, len);
}

static void do_result(struct client *k, uint32_t lane)
{
	if (client_embeds(k)) {
		rows_send(k, lane);
		return;
	}
	blocks_send(k, lane, GP_WIRE_RESULT);
}

static void do_busy(struct client *k, uint32_t lane)
{
	blocks_send(k, lane, GP_WIRE_BUSY);
}

static void do_nack(struct client *k, uint32_t lane)
{
	blocks_send(k, lane, GP_WIRE_NACK);
}

static void do_commit(struct client *k, uint32_t lane)
{
	commit_send(k, lane, GP_DECISION_COMMIT);
}

static void do_view(struct client *k, uint32_t lane)
{
	commit_send(k, lane, GP_DECISION_VIEW);
}

static void do_ack(struct client *k, uint32_t lane)
{
	struct gp_header h = client_header(k, GP_WIRE_ACK, input_u8(&k->in) | 64);
	client_send(k, lane, &h, NULL, NULL, 0);
}

static void do_heartbeat_reply(struct client *k, uint32_t lane)
{
	uint8_t body[64], how = input_u8(&k->in);
	struct gp_header h = client_header(k, GP_WIRE_HEARTBEAT_REPLY, how);
	const struct gp_heartbeat_reply x = {.time = k->now,
		.generation = (uint32_t)input_field(&k->in, how, 0, k->c->round_step),
		.view = k->c->view,
		.members = 2,
		.missing = how & 2,
		.missing_rank = (uint16_t)input_field(&k->in, how, 2, GP_WIRE_RANK_NONE),
		.state = GP_STATE_RUNNING,
		.next_step = k->c->step + (how >> 3 & 1),
		.flags = how >> 2 & 7};
	client_send(k, lane, &h, NULL, body, gp_wire_put_heartbeat_reply(body, &x));
}

static void read_reply_send(struct client *k, uint32_t lane, uint8_t how)
{
	uint8_t body[64];
	struct gp_header h = client_header(k, GP_WIRE_READ_REPLY, how);
	const struct gp_read_reply x = {
		.request = (uint32_t)input_field(&k->in, how, 0, k->c->read.request),
		.state = (how >> 1 & 3) % 3,
		.rank = 3,
		.generation = (uint32_t)input_field(&k->in, how, 3, k->c->round_step + 1),
		.clock = (uint32_t)input_field(&k->in, how, 4, k->c->step),
		.bound = 2};
	client_send(k, lane, &h, NULL, body, gp_wire_put_read_reply(body, &x));
}

static void do_small_reply(struct client *k, uint32_t lane)
{
	uint8_t body[16], how = input_u8(&k->in);
	if (is_async(k) && how & 32) {
		read_reply_send(k, lane, how);
		return;
	}
	struct gp_header h = client_header(k, GP_WIRE_BARRIER_REPLY, how);
	client_send(k, lane, &h, NULL, body, gp_wire_put_barrier(body, how & 3, ~how >> 2 & 1));
}

static void do_leave_reply(struct client *k, uint32_t lane)
{
	uint8_t body[16], how = input_u8(&k->in);
	struct gp_header h = client_header(k, GP_WIRE_LEAVE_REPLY, how);
	client_send(k, lane, &h, NULL, body, gp_wire_put_u64(body, 5 + (how & 1)));
}

static void do_refuse(struct client *k, uint32_t lane)
{
	static const uint8_t about[] = {GP_WIRE_PULL, GP_WIRE_PUSH, GP_WIRE_JOIN, GP_WIRE_REGISTER};
	uint8_t body[512], how = input_u8(&k->in), what = input_u8(&k->in);
	struct gp_header h = client_header(k, GP_WIRE_REFUSE, how);
	struct gp_refuse r = {.reason = (uint16_t)(1 + what % (GP_REFUSAL_END - 1)),
		.about = client_embeds(k) && (how & 3) == 0 ? GP_WIRE_PULL_ROWS : about[how & 3],
		.step = k->c->round_step,
		.what = what >> 6,
		.expected = 3,
		.seen = 4,
		.nonce = NONCE,
		.where_port = how & 4};
	if (how & 8) {
		r.expected = input_number(&k->in, 0);
		r.seen = input_number(&k->in, 0);
		r.what = (uint32_t)input_number(&k->in, 0);
		r.step = (uint32_t)input_number(&k->in, r.step);
		r.age_ms = (uint32_t)input_number(&k->in, 0);
	}
	if (how & 16) {
		r.text_len = GP_WIRE_TEXT_MAX;
		memset(r.text, '%', GP_WIRE_TEXT_MAX);
	}
	client_send(k, lane, &h, NULL, body, gp_wire_put_refuse(body, &r));
}

static void do_layout(struct client *k, uint32_t lane)
{
	uint8_t body[512], how = input_u8(&k->in);
	const uint32_t units[] = {BLOCKS, BLOCKS, TENSORS, 1};
	struct gp_header h = client_header(k, GP_WIRE_LAYOUT, how);
	struct gp_layout x = {.registered = (uint32_t)input_field(&k->in, how, 0, TENSORS),
		.state = ~how >> 1 & 1,
		.block_elems = BLOCK_ELEMS,
		.blocks_count = BLOCKS,
		.units_count = units[is_async(k) ? GP_ATOM_STEP : k->w.atomicity],
		.next_step = k->w.next_step,
		.first = how & 4 ? below(&k->in, 4) : 0,
		.n = how & 8 ? (uint16_t)below(&k->in, 4) : TENSORS,
		.missing_rank = GP_WIRE_RANK_NONE};
	if (how & 16) {
		uint32_t mask = input_u8(&k->in);
		x.block_elems = (uint32_t)input_field(&k->in, mask, 0, x.block_elems);
		x.blocks_count = (uint32_t)input_field(&k->in, mask, 1, x.blocks_count);
		x.units_count = (uint32_t)input_field(&k->in, mask, 2, x.units_count);
		if (mask & 8)
			x.block_elems = 16 * (1 + below(&k->in, 16));
		if (mask & 16 && k->w.atomicity == GP_ATOM_BLOCK && !is_async(k))
			x.units_count = x.blocks_count;
	}
	uint32_t len = gp_wire_put_layout(body, &x);
	for (uint32_t i = 0; i < x.n; i++) {
		uint32_t t = (x.first + i) % TENSORS;
		struct gp_layout_entry e = {.tensor = t, .first_block = first_block[t]};
		if (client_embeds(k)) // tables have numbers, in an order of their own
			e = (struct gp_layout_entry){.tensor = TENSORS - 1 - t};
		e.unit = is_async(k)			    ? 0
			 : k->w.atomicity == GP_ATOM_BLOCK  ? e.first_block
			 : k->w.atomicity == GP_ATOM_TENSOR ? t
							    : 0;
		e.first_block = (uint32_t)input_field(&k->in, how, 5, e.first_block);
		e.unit = (uint32_t)input_field(&k->in, how, 5, e.unit);
		len += gp_wire_put_layout_entry(body + len, &e);
	}
	client_send(k, lane, &h, NULL, body, len);
}

static void do_hello_reply(struct client *k, uint32_t lane)
{
	static uint8_t body[GP_WIRE_DATAGRAM_MAX];
	uint8_t how = input_u8(&k->in);
	uint32_t size = k->hello_size[lane % LANES];
	size = (uint32_t)input_field(&k->in, how, 0, size) % GP_WIRE_DATAGRAM_MAX;
	size = GP_MAX(size, GP_WIRE_HEADER_SIZE + 56u);
	struct gp_hello x = {.versions_count = how & 2 ? 2 : 1,
		.versions = {how & 4 ? 9 : GP_WIRE_VERSION, how},
		.chosen = how & 8 ? 0 : GP_WIRE_VERSION,
		.size = size,
		.nonce = how & 16 ? how : NONCE};
	struct gp_header h = {.version = 1, .type = GP_WIRE_HELLO_REPLY, .rank = GP_WIRE_RANK_NONE};
	memset(body, 0, sizeof(body));
	(void)gp_wire_put_hello(body, &x);
	client_send(k, lane, &h, NULL, body, size - GP_WIRE_HEADER_SIZE);
}

static void do_welcome(struct client *k, uint32_t lane)
{
	uint8_t body[128], how = input_u8(&k->in);
	struct gp_header h = client_header(k, GP_WIRE_WELCOME, how & 128);
	struct gp_welcome x = k->w;
	if (how & 1) {
		uint32_t mask = (uint32_t)input_take(&k->in, 2);
		x.cores = (uint16_t)input_field(&k->in, mask, 0, x.cores);
		x.home = (uint16_t)input_field(&k->in, mask, 1, x.home);
		x.next_step = (uint32_t)input_field(&k->in, mask, 2, x.next_step);
		x.heartbeat_us = (uint32_t)input_field(&k->in, mask, 3, x.heartbeat_us);
		x.timeout_us = (uint32_t)input_field(&k->in, mask, 4, x.timeout_us);
		x.slots = (uint32_t)input_field(&k->in, mask, 5, x.slots);
		x.window = (uint32_t)input_field(&k->in, mask, 6, x.window);
		x.decision = (uint32_t)input_field(&k->in, mask, 7, x.decision);
		x.payload_max = (uint32_t)input_field(&k->in, mask, 8, x.payload_max);
		x.rank = (uint16_t)input_field(&k->in, mask, 9, x.rank);
		x.session = (uint32_t)input_field(&k->in, mask, 10, x.session);
	}
	client_send(k, lane, &h, NULL, body, gp_wire_put_welcome(body, &x));
}

static void do_raw(struct client *k, uint32_t lane)
{
	static uint8_t data[GP_WIRE_DATAGRAM_MAX];
	feed(k, lane, data, input_bytes(&k->in, data, sizeof(data)));
}

static void do_again(struct client *k, uint32_t lane)
{
	uint8_t data[OLD_SIZE], how = input_u8(&k->in);
	uint32_t i = how % OLD_COUNT, len = k->old[i].len;
	memcpy(data, k->old[i].data, sizeof(data));
	if (how & 32) {
		uint32_t less = input_u8(&k->in);
		len -= GP_MIN(len, less);
	}
	if (how & 64 && len > 0) {
		uint32_t at = (uint32_t)input_take(&k->in, 2) % len;
		data[at] = input_u8(&k->in);
	}
	feed(k, how & 16 ? lane : k->old[i].lane, data, len);
}

// ---- time and the owner's calls

static void do_tick(struct client *k, uint32_t lane)
{
	static const uint64_t ns[] = {
		0, 100 * US, 2 * MS, 20 * MS, 60 * MS, 250 * MS, 600 * MS, 2100 * MS};
	uint8_t how = input_u8(&k->in);
	uint64_t at = 0;
	(void)lane;
	k->now += ns[how % GP_ARRAY_SIZE(ns)];
	k->port[0].starve = how & 64 ? 2 : 0;
	for (uint32_t i = 0; i < SPINS_MAX && at <= k->now; i++)
		at = gp_ccore_tick(k->c, k->now);
	GP_ASSERT(at > k->now);
}

void client_call_check(const struct client *k, int rc)
{
	GP_ASSERT(rc <= 0);
	if (rc < 0)
		GP_ASSERT(gp_ccore_error(k->c) || gp_ccore_last(k->c)->text[0] != '\0');
}

static void register_call(struct client *k)
{
	struct gp_client_tensor t[TENSORS] = {
		{.name = "a", .dims_count = 1}, {.name = "b", .dims_count = 1}};
	for (uint32_t i = 0; i < TENSORS; i++) {
		t[i].dims[0] = client_embeds(k) ? table_dims[i] : tensor_elems[i];
		if (!client_embeds(k))
			encoded_describe(k, i, &t[i]);
	}
	client_call_check(k, gp_ccore_register(k->c, t, TENSORS));
}

static void round_end_call(struct client *k)
{
	if (k->c->error.code || !gp_ccore_done(k->c))
		return;
	if (k->c->running)
		(void)gp_ccore_pull_end(k->c);
	else
		client_call_check(k, gp_ccore_step_end(k->c));
}

static void lane_up(struct client *k, uint32_t lane)
{
	do_tick(k, lane);
	do_hello_reply(k, lane);
	do_tick(k, lane);
	do_welcome(k, lane);
}

// A well-behaved server, as far as `stage`; what it would take from the tape is zero here.
static void client_up(struct client *k, uint32_t stage)
{
	struct input tape = k->in;
	k->in = (struct input){0};
	if (stage >= 1)
		for (uint32_t i = 0; i < k->w.cores; i++)
			lane_up(k, i);
	if (stage >= 2) {
		register_call(k);
		do_tick(k, 0);
		do_layout(k, k->w.home);
	}
	if (stage >= 3)
		do_view(k, k->w.home);
	if (k->takes_left > UINT16_MAX && gp_ccore_fate(k->c) == GP_CCORE_FIRST)
		GP_ASSERT(stage < 3 || gp_ccore_ready(k->c));
	k->in = tape;
}

static void rejoin_call(struct client *k, uint32_t stage)
{
	const struct gp_ccore_again how = {.v4 = true, .incarnation = 5, .nonce = NONCE};
	gp_ccore_again(k->c, &how, &k->port[0].x);
	client_up(k, stage);
}

static void do_call(struct client *k, uint32_t lane)
{
	uint8_t how = input_u8(&k->in);
	(void)lane;
	if (client_embeds(k) && how % 8 < 2) {
		rows_call(k, how);
		return;
	}
	switch (how % 8) {
	case 0:
		for (uint32_t i = 0; i < TENSORS; i++)
			push_call(k, i, how);
		return;
	case 1:
		push_call(k, how >> 3 & 1, how);
		return;
	case 2:
		client_call_check(k, gp_ccore_init(k->c, k->out));
		return;
	case 3:
		client_call_check(k, gp_ccore_pull(k->c, k->out));
		return;
	case 4:
		round_end_call(k);
		return;
	case 5:
		client_call_check(k, gp_ccore_barrier(k->c, how >> 3 & 3));
		return;
	case 6:
		if (how & 16)
			more_call(k, how >> 3 & 1, how);
		else
			register_call(k);
		return;
	default:
		if (gp_ccore_can_again(k->c))
			rejoin_call(k, 4 - (how >> 4));
		else if (how == 0x7f) // rarely: little happens afterwards
			gp_ccore_leave(k->c);
		return;
	}
}

static void (*const events[])(struct client *k, uint32_t lane) = {do_tick, do_call, do_result,
	do_commit, do_ack, do_view, do_call, do_result, do_tick, do_heartbeat_reply, do_busy,
	do_nack, do_refuse, do_layout, do_welcome, do_hello_reply, do_small_reply, do_leave_reply,
	do_raw, do_again};

// ---- a whole life

static void client_end(struct client *k)
{
	gp_ccore_destroy(k->c);
	GP_ASSERT(k->taken == 0);
	encoded_free(k);
	for (uint32_t i = 0; i < LANES; i++) {
		port_leave(&k->port[i], 0);
		GP_ASSERT(k->port[i].refs == 0);
	}
	for (uint32_t i = 0; i < TENSORS; i++) {
		free(k->grad[i]);
		free(k->before[i]);
		free(k->out[i]);
		free(k->rows[i]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct client k;
	k = (struct client){.now = 1000 * MS, .in = {data, data + size}};
	for (uint32_t i = 0; i < TENSORS; i++) {
		k.grad[i] = calloc(tensor_elems[i], sizeof(float));
		k.before[i] = calloc(tensor_elems[i], sizeof(float));
		k.out[i] = calloc(tensor_elems[i], sizeof(float));
		GP_ASSERT(k.grad[i] && k.before[i] && k.out[i]);
		for (uint64_t e = 0; e < tensor_elems[i]; e++)
			k.grad[i][e] = (float)(e * 37 % 101) * 0.0137f - 0.6f;
	}
	client_begin(&k);
	k.up = input_u8(&k.in);
	client_up(&k, 3 - k.up % 4);
	for (uint32_t i = 0; i < EVENTS_MAX && !input_is_over(&k.in); i++) {
		uint8_t what = input_u8(&k.in);
		events[what % GP_ARRAY_SIZE(events)](&k, what >> 7);
		client_check(&k);
	}
	client_end(&k);
	return 0;
}
