// SPDX-License-Identifier: BSD-3-Clause
#include <criterion/criterion.h>

#include <gp_xport_sim.h>

#include <errno.h>
#include <time.h>

#define MANY	   20000
#define DELAY_NS   1000
#define FNV_PRIME  UINT64_C(1099511628211)
#define RATE_COUNT 2000000
#define BURST	   32

static struct gp_addr addr_of(const char *text)
{
	struct gp_addr a;
	cr_assert_eq(gp_addr_parse(text, &a), 0);
	return a;
}

struct pair {
	struct gp_sim_net *net;
	struct gp_xport *a, *b;
	struct gp_addr addr_a, addr_b;
};

static struct pair pair_open(const struct gp_sim_opts *opts)
{
	struct pair p = {.net = gp_sim_net_create(opts)};
	cr_assert_not_null(p.net);
	p.addr_a = addr_of("10.0.0.1:9700");
	p.addr_b = addr_of("[fd00::2]:9701");
	p.a = gp_sim_net_add(p.net, &p.addr_a);
	p.b = gp_sim_net_add(p.net, &p.addr_b);
	cr_assert_not_null(p.a);
	cr_assert_not_null(p.b);
	return p;
}

static void number_send(struct pair *p, uint32_t n)
{
	struct gp_frame *f = p->a->ops->alloc(p->a);
	cr_assert_not_null(f);
	f->peer = p->addr_b;
	f->len = 8;
	gp_store64(f->data, n);
	p->a->ops->send(p->a, f);
}

// Drains the net; returns how many arrived and a digest of what and when.
static uint32_t drain(struct pair *p, uint64_t *digest)
{
	struct gp_frame *frames[BURST];
	struct gp_xport *x;
	uint32_t total = 0, n;
	*digest = 0;
	for (uint64_t t; (t = gp_sim_net_next_time(p->net)) != UINT64_MAX;) {
		while ((n = gp_sim_net_deliver(p->net, t, &x, frames, BURST)) > 0) {
			cr_assert_eq(x, p->b);
			for (uint32_t i = 0; i < n; i++) {
				*digest = (*digest ^ gp_load64(frames[i]->data) ^ t) * FNV_PRIME;
				x->ops->release(x, frames[i]);
			}
			total += n;
		}
	}
	return total;
}

Test(sim, delivers_in_order_after_the_delay_with_the_senders_address)
{
	struct pair p = pair_open(&(struct gp_sim_opts){
		.link = {.delay_ns_min = DELAY_NS, .delay_ns_max = DELAY_NS}});
	struct gp_frame *in[BURST];
	struct gp_xport *x;
	for (uint32_t i = 0; i < 10; i++)
		number_send(&p, i);
	cr_assert_eq(gp_sim_net_next_time(p.net), DELAY_NS);
	cr_assert_eq(gp_sim_net_deliver(p.net, DELAY_NS - 1, &x, in, BURST), 0);
	cr_assert_eq(gp_sim_net_deliver(p.net, DELAY_NS, &x, in, 4), 4);
	cr_assert_eq(gp_sim_net_deliver(p.net, DELAY_NS, &x, in + 4, BURST - 4), 6);
	cr_assert_eq(x, p.b);
	for (uint32_t i = 0; i < 10; i++) {
		cr_assert_eq(gp_load64(in[i]->data), i);
		cr_assert(gp_addr_equal(&in[i]->peer, &p.addr_a));
		x->ops->release(x, in[i]);
	}
	cr_assert_eq(gp_sim_net_frames_free(p.net), 8192);
	gp_sim_net_destroy(p.net);
}

Test(sim, tail_is_copied_and_given_back_at_once)
{
	struct pair p = pair_open(&(struct gp_sim_opts){.mtu = 9000});
	static uint8_t tail[8000];
	struct gp_hold hold = {.count = 2};
	struct gp_frame *f = p.a->ops->alloc(p.a), *in[2];
	struct gp_xport *x;
	memset(tail, 7, sizeof(tail));
	memset(f->data, 1, 40);
	f->len = 40;
	f->tail = tail;
	f->tail_len = sizeof(tail);
	f->tail_hold = &hold;
	f->peer = p.addr_b;
	p.a->ops->send(p.a, f);
	cr_assert_eq(hold.count, 1);
	memset(tail, 9, sizeof(tail));
	cr_assert_eq(gp_sim_net_deliver(p.net, 0, &x, in, 2), 1);
	cr_assert_eq(in[0]->len, 8040);
	cr_assert_eq(in[0]->tail_len, 0);
	cr_assert_eq(in[0]->data[39], 1);
	cr_assert_eq(in[0]->data[40], 7);
	cr_assert_eq(in[0]->data[8039], 7);
	gp_sim_net_destroy(p.net);
}

Test(sim, held_frame_is_not_shared_with_the_receiver)
{
	struct pair p = pair_open(&(struct gp_sim_opts){.frames_count = 2});
	struct gp_frame *f = p.a->ops->alloc(p.a), *in[2];
	struct gp_xport *x;
	f->len = 4;
	gp_store32(f->data, 1);
	f->peer = p.addr_b;
	p.a->ops->hold(p.a, f);
	p.a->ops->send(p.a, f);
	cr_assert_eq(gp_sim_net_deliver(p.net, 0, &x, in, 2), 1);
	gp_store32(in[0]->data, 2);
	cr_assert_eq(gp_load32(f->data), 1);
	x->ops->release(x, in[0]);
	p.a->ops->release(p.a, f);
	cr_assert_eq(gp_sim_net_frames_free(p.net), 2);
	gp_sim_net_destroy(p.net);
}

static const struct gp_sim_link rough = {
	.loss_ppm = 100000,
	.duplicate_ppm = 50000,
	.reorder_ppm = 200000,
	.corrupt_ppm = 10000,
	.delay_ns_min = 500,
	.delay_ns_max = 2000,
	.reorder_ns = 50000,
};

static uint64_t rough_run(uint64_t seed, struct gp_sim_stats *stats)
{
	struct pair p = pair_open(
		&(struct gp_sim_opts){.seed = seed, .frames_count = 4 * MANY, .link = rough});
	for (uint32_t i = 0; i < MANY; i++) {
		gp_sim_net_set_now(p.net, i * 10);
		number_send(&p, i);
	}
	uint64_t digest;
	uint32_t total = drain(&p, &digest);
	*stats = *gp_sim_net_stats(p.net);
	cr_assert_eq(stats->delivered, total);
	cr_assert_eq(stats->delivered, stats->sent - stats->lost + stats->duplicated);
	cr_assert_eq(gp_sim_net_frames_free(p.net), 4 * MANY, "no frame is lost by the net itself");
	gp_sim_net_destroy(p.net);
	return digest;
}

static void near_share(uint64_t n, uint64_t of, uint32_t ppm)
{
	double expected = (double)of * ppm / GP_SIM_PPM;
	cr_assert_float_eq((double)n, expected, expected * 0.15 + 1, "%lu of %lu", n, of);
}

Test(sim, faults_come_at_their_rates_and_follow_the_seed)
{
	struct gp_sim_stats s, again, other;
	uint64_t digest = rough_run(42, &s);
	cr_assert_eq(rough_run(42, &again), digest);
	cr_assert_eq(memcmp(&s, &again, sizeof(s)), 0);
	cr_assert_neq(rough_run(43, &other), digest);
	near_share(s.lost, MANY, rough.loss_ppm);
	near_share(s.duplicated, MANY - s.lost, rough.duplicate_ppm);
	near_share(s.reordered, s.delivered, rough.reorder_ppm);
	near_share(s.corrupted, s.delivered, rough.corrupt_ppm);
}

Test(sim, reordering_really_reorders_and_corruption_really_flips)
{
	struct pair p = pair_open(&(struct gp_sim_opts){.seed = 1,
		.link = {.reorder_ppm = 500000, .reorder_ns = 1000, .corrupt_ppm = GP_SIM_PPM}});
	struct gp_frame *in[256];
	struct gp_xport *x;
	uint32_t differ = 0, got = 0, n;
	for (uint32_t i = 0; i < 256; i++)
		number_send(&p, 0);
	while ((n = gp_sim_net_deliver(p.net, 2000, &x, in + got, 256 - got)) > 0)
		got += n;
	for (uint32_t i = 0; i < got; i++)
		differ += gp_load64(in[i]->data) != 0;
	cr_assert_eq(got, 256);
	cr_assert_gt(differ, 250, "an even number of flips of one bit may cancel, rarely");

	uint32_t late = 0;
	for (uint32_t i = 0; i < got; i++)
		p.b->ops->release(p.b, in[i]);
	gp_sim_net_set_links(
		p.net, &(struct gp_sim_link){.reorder_ppm = 500000, .reorder_ns = 1000});
	for (uint32_t i = 0; i < 256; i++)
		number_send(&p, i);
	for (got = 0; (n = gp_sim_net_deliver(p.net, 9000, &x, in + got, 256 - got)) > 0;)
		got += n;
	for (uint32_t i = 1; i < got; i++)
		late += gp_load64(in[i]->data) < gp_load64(in[i - 1]->data);
	cr_assert_gt(late, 20);
	gp_sim_net_destroy(p.net);
}

Test(sim, one_direction_can_be_cut)
{
	struct pair p = pair_open(&(struct gp_sim_opts){0});
	uint64_t digest;
	gp_sim_net_set_link(p.net, p.a, p.b, &(struct gp_sim_link){.loss_ppm = GP_SIM_PPM});
	number_send(&p, 1);
	cr_assert_eq(drain(&p, &digest), 0);
	cr_assert_eq(gp_sim_net_stats(p.net)->lost, 1);

	struct gp_frame *f = p.b->ops->alloc(p.b), *in[1];
	struct gp_xport *x;
	f->peer = p.addr_a;
	p.b->ops->send(p.b, f);
	cr_assert_eq(gp_sim_net_deliver(p.net, 0, &x, in, 1), 1);
	cr_assert_eq(x, p.a);
	gp_sim_net_set_link(p.net, p.a, p.b, &(struct gp_sim_link){0});
	number_send(&p, 1);
	cr_assert_eq(drain(&p, &digest), 1);
	gp_sim_net_destroy(p.net);
}

Test(sim, every_limit_is_counted)
{
	struct pair p = pair_open(&(struct gp_sim_opts){
		.endpoints_max = 2, .frames_count = 4, .events_max = 2, .mtu = 64});
	const struct gp_sim_stats *s = gp_sim_net_stats(p.net);
	static uint8_t tail[64];
	struct gp_hold hold = {.count = 1};
	for (uint32_t i = 0; i < 3; i++)
		number_send(&p, i);
	cr_assert_eq(s->heap_full, 1);

	struct gp_frame *f = p.a->ops->alloc(p.a);
	f->peer = p.addr_b;
	f->len = 8;
	f->tail = tail;
	f->tail_len = sizeof(tail);
	f->tail_hold = &hold;
	p.a->ops->send(p.a, f);
	cr_assert_eq(s->too_long, 1);
	cr_assert_eq(hold.count, 0);

	f = p.a->ops->alloc(p.a);
	f->peer = addr_of("10.9.9.9:1");
	p.a->ops->send(p.a, f);
	cr_assert_eq(s->no_endpoint, 1);

	cr_assert_eq(gp_sim_net_frames_free(p.net), 2);
	cr_assert_not_null(p.a->ops->alloc(p.a));
	cr_assert_not_null(p.a->ops->alloc(p.a));
	cr_assert_null(p.a->ops->alloc(p.a));
	cr_assert_eq(s->no_frame, 1);

	cr_assert_null(gp_sim_net_add(p.net, &p.addr_a));
	cr_assert_eq(errno, EEXIST);
	struct gp_addr third = addr_of("10.0.0.3:1");
	cr_assert_null(gp_sim_net_add(p.net, &third));
	cr_assert_eq(errno, ENOSPC);
	cr_assert_null(gp_sim_net_create(&(struct gp_sim_opts){.mtu = GP_SIM_DATAGRAM_MAX + 1}));
	cr_assert_eq(errno, EINVAL);
	gp_sim_net_destroy(p.net);
}

// A rate that is far below what it does (several million a second), so that only a change of
// complexity shows; the figure itself is printed.
Test(sim, handles_a_datagram_in_bounded_time)
{
	struct pair p =
		pair_open(&(struct gp_sim_opts){.link = {.delay_ns_min = 1, .delay_ns_max = 900}});
	struct gp_frame *in[BURST];
	struct gp_xport *x;
	struct timespec t0, t1;
	uint32_t n;
	uint64_t got = 0;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t0);
	for (uint32_t i = 0; i < RATE_COUNT; i++) {
		number_send(&p, i);
		while ((n = gp_sim_net_deliver(p.net, i, &x, in, BURST)) > 0) {
			for (uint32_t k = 0; k < n; k++)
				x->ops->release(x, in[k]);
			got += n;
		}
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t1);
	double s = (double)(t1.tv_sec - t0.tv_sec) + (double)(t1.tv_nsec - t0.tv_nsec) / 1e9;
	cr_log_info("%.1f million datagrams per second\n", RATE_COUNT / s / 1e6);
	cr_assert_gt(got, RATE_COUNT - 1000);
	cr_assert_lt(s, 20);
	gp_sim_net_destroy(p.net);
}
