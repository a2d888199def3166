// SPDX-License-Identifier: BSD-3-Clause
//
// Pushed as back-propagation yields it, last layer first; sent and waited for first layer first.
#include "fixture.h"
#include "server.h"

#include <criterion/criterion.h>
#include <time.h>

#define HALF	 (5 * BLOCK_ELEMS)
#define LAYERS	 3
#define ELEMS_OF 1000
#define LONG_MS	 10000

static struct fx f;

// ---- the order on the wire: tensor 0 is the last layer (blocks 5..9), tensor 1 the first (0..4)

static void two_layers_layout(uint32_t state)
{
	uint8_t body[128];
	const struct gp_layout l = {.registered = 2,
		.state = state,
		.block_elems = BLOCK_ELEMS,
		.blocks_count = BLOCKS,
		.units_count = BLOCKS,
		.next_step = 1,
		.n = state ? 2 : 0,
		.missing_rank = GP_WIRE_RANK_NONE};
	const struct gp_layout_entry e[] = {
		{.tensor = 1, .first_block = 5, .unit = 5}, {.tensor = 0}};
	struct gp_header h = {.type = GP_WIRE_LAYOUT, .session = SESSION};
	uint32_t len = gp_wire_put_layout(body, &l);
	for (uint32_t i = 0; i < l.n; i++)
		len += gp_wire_put_layout_entry(body + len, &e[i]);
	fx_feed(&f, &h, NULL, NULL, body, len);
}

static void open_two_layers(uint32_t slots)
{
	const struct gp_client_tensor t[] = {
		{.name = "last", .dims_count = 1, .dims = {HALF}, .priority = 1},
		{.name = "first", .dims_count = 1, .dims = {HALF}}};
	const struct gp_commit_entry view = {.kind = GP_DECISION_VIEW,
		.flags = GP_COMMIT_MEMBER,
		.ranks = 2,
		.step = 1,
		.view = 1};
	fx_open(&f, 1472);
	f.w.slots = slots;
	f.w.window = 2;
	f.w.payload_max = 170; // one block each
	fx_tick(&f, 0);
	fx_hello_reply(&f, f.base.mtu, GP_WIRE_VERSION);
	fx_tick(&f, 0);
	fx_welcome(&f);
	cr_assert_eq(gp_ccore_register(f.core, t, 2), 0);
	fx_tick(&f, 0);
	two_layers_layout(0);
	fx_tick(&f, 0);
	two_layers_layout(1);
	fx_decide(&f, &view);
	cr_assert(gp_ccore_ready(f.core));
	fx_tick(&f, 0);
	fx_skip(&f);
}

static void layer_push(uint32_t t)
{
	cr_assert_eq(gp_ccore_push(f.core, t, f.grad, 1.0f, f.out + HALF * (t == 0)), 0);
	fx_tick(&f, 0);
}

static void expect_sent(uint32_t block)
{
	struct gp_msg m;
	struct gp_section s;
	(void)fx_next(&f, GP_WIRE_PUSH, &m);
	cr_assert_eq(m.h.sections, 1);
	gp_wire_get_section(&m, 0, &s);
	cr_assert_eq(s.block, block, "block %u was sent, not %u", s.block, block);
}

static void accept_all(void)
{
	fx_ack(&f, f.core->lanes[0].tx_packet, UINT64_MAX, true);
	fx_tick(&f, 0);
}

Test(overlap, what_is_needed_first_overtakes_what_was_pushed_first)
{
	static const uint32_t order[] = {5, 6, 0, 1, 2, 3, 4, 7, 8, 9};
	open_two_layers(16);
	layer_push(0);
	layer_push(1);
	for (uint32_t i = 0; i < BLOCKS; i += 2) {
		expect_sent(order[i]);
		expect_sent(order[i + 1]);
		cr_assert_eq(fx_count(&f, GP_WIRE_PUSH), 0, "two are the credit");
		accept_all();
	}
	cr_assert_eq(fx_count(&f, GP_WIRE_PUSH), 0, "each was sent once");
	fx_close(&f);
}

// Of the packets of blocks 0, 1, 2, 3 all but the first arrive.
Test(overlap, what_was_lost_overtakes_too)
{
	open_two_layers(16);
	layer_push(0);
	for (uint32_t i = 0; i < 3; i++)
		accept_all();
	fx_skip(&f);
	layer_push(1);
	expect_sent(0);
	expect_sent(1);
	for (uint64_t bits = 0; bits < 7; bits = bits << 1 | 1) {
		fx_ack(&f, f.core->lanes[0].tx_packet, bits, true);
		fx_tick(&f, 0);
	}
	expect_sent(2);
	expect_sent(3);
	expect_sent(0);
	expect_sent(4);
	fx_close(&f);
}

Test(overlap, without_room_at_the_server_the_last_layer_waits_for_the_first)
{
	open_two_layers(4);
	layer_push(0);
	cr_assert_eq(fx_count(&f, GP_WIRE_PUSH), 0, "block 5 is beyond the four from block 0");
	layer_push(1);
	expect_sent(0);
	expect_sent(1);
	fx_close(&f);
}

Test(overlap, a_layer_is_done_before_the_step)
{
	open_two_layers(16);
	layer_push(1);
	layer_push(0);
	for (uint32_t i = 0; i < 5; i++) {
		cr_assert_not(gp_ccore_tensor_done(f.core, 1));
		const struct gp_commit_entry e = {
			.kind = GP_DECISION_COMMIT, .ranks = 2, .unit = i, .step = 1, .view = 1};
		fx_result(&f, i, 1, 1, true, 5);
		cr_assert_not(gp_ccore_tensor_done(f.core, 1), "a result alone may be void yet");
		fx_decide(&f, &e);
	}
	cr_assert(gp_ccore_tensor_done(f.core, 1));
	cr_assert_not(gp_ccore_tensor_done(f.core, 0));
	cr_assert_not(gp_ccore_done(f.core));
	fx_close(&f);
}

// ---- the public calls against a real server

static const struct gp_client_tensor layers[LAYERS] = {
	{.name = "a", .dims_count = 1, .dims = {ELEMS_OF}},
	{.name = "b", .dims_count = 1, .dims = {ELEMS_OF}, .priority = 1},
	{.name = "c", .dims_count = 1, .dims = {ELEMS_OF}, .priority = 2},
};

static struct gp_client_error err;
static float grads[LAYERS][ELEMS_OF], outs[LAYERS][ELEMS_OF];

static struct gp_client *worker_open(struct server *s, uint8_t atomicity)
{
	struct gp_client *c;
	s->job.kind = GP_KIND_REDUCE;
	s->job.atomicity = atomicity;
	server_start(s);
	const struct gp_client_opts o = {.server = s->address,
		.job = "job",
		.world = 1,
		.path_mtu = 1500,
		.join_timeout_ms = LONG_MS};
	cr_assert_eq(gp_client_create(&c, &o, &err), 0, "%s", err.text);
	cr_assert_eq(gp_client_register(c, layers, LAYERS, LONG_MS, &err), 0, "%s", err.text);
	for (uint32_t t = 0; t < LAYERS; t++)
		for (uint32_t i = 0; i < ELEMS_OF; i++)
			grads[t][i] = (float)(t + 1);
	return c;
}

static void push(struct gp_client *c, uint32_t t)
{
	cr_assert_eq(gp_client_push_pull(c, t, grads[t], 1, outs[t], &err), 0, "%s", err.text);
}

static void expect_layer(uint32_t t)
{
	for (uint32_t i = 0; i < ELEMS_OF; i++)
		cr_assert_eq(outs[t][i], (float)(t + 1));
}

static void steps_run(uint8_t atomicity, bool background)
{
	struct server *s = server_new();
	struct gp_client *c = worker_open(s, atomicity);
	if (background)
		cr_assert_eq(gp_client_background(c, &err), 0, "%s", err.text);
	for (uint32_t step = 0; step < 20; step++) {
		memset(outs, 0, sizeof(outs));
		for (uint32_t t = LAYERS; t-- > 0;)
			push(c, t);
		for (uint32_t t = 0; t < LAYERS; t++) {
			int rc = gp_client_wait_tensor(c, t, LONG_MS, &err);
			cr_assert_eq(rc, 0, "%s", err.text);
			expect_layer(t);
		}
		cr_assert_eq(gp_client_wait(c, LONG_MS, &err), 0, "%s", err.text);
	}
	cr_assert_eq(gp_client_step(c), 21);
	gp_client_destroy(c);
	server_free(s);
}

Test(overlap, layers_are_waited_for_one_by_one)
{
	steps_run(GP_ATOM_TENSOR, false);
	steps_run(GP_ATOM_STEP, false);
}

Test(overlap, the_same_with_a_thread)
{
	steps_run(GP_ATOM_TENSOR, true);
	steps_run(GP_ATOM_BLOCK, true);
}

Test(overlap, layers_without_a_push_are_not_waited_for)
{
	struct server *s = server_new();
	struct gp_client *c = worker_open(s, GP_ATOM_TENSOR);
	cr_assert_eq(gp_client_wait_tensor(c, LAYERS, 100, &err), -EINVAL);
	cr_assert(strstr(err.text, "tensor 3 is not one of the 3"), "%s", err.text);
	cr_assert_eq(gp_client_wait_tensor(c, 0, 100, &err), -EINVAL);
	cr_assert(
		strstr(err.text, "'a' is waited for and was not pushed in step 1"), "%s", err.text);
	push(c, 2);
	s->deaf = true;
	push(c, 1);
	cr_assert_eq(gp_client_wait_tensor(c, 1, 20, &err), -ETIMEDOUT);
	s->deaf = false;
	cr_assert_eq(gp_client_wait_tensor(c, 1, LONG_MS, &err), 0, "%s", err.text);
	gp_client_destroy(c);
	server_free(s);
}

static uint64_t now_ms(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

// Nothing below does I/O between the pushes and the last wait but the client's thread.
Test(overlap, results_come_while_the_owner_computes)
{
	struct server *s = server_new();
	struct gp_client *c = worker_open(s, GP_ATOM_TENSOR);
	struct gp_client_stats stats;
	gp_client_stats(c, &stats);
	uint64_t before = stats.rx_bytes, end = now_ms() + LONG_MS;
	cr_assert_eq(gp_client_background(c, &err), 0, "%s", err.text);
	cr_assert_eq(gp_client_background(c, &err), -EALREADY);
	for (uint32_t t = LAYERS; t-- > 0;)
		push(c, t);
	do {
		cr_assert(now_ms() < end, "nobody reads the results");
		gp_client_stats(c, &stats);
	} while (stats.rx_bytes - before < sizeof(outs));
	cr_assert_eq(gp_client_wait(c, LONG_MS, &err), 0, "%s", err.text);
	expect_layer(0);
	gp_client_destroy(c);
	server_free(s);
}
