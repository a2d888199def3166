// SPDX-License-Identifier: BSD-3-Clause
//
// The public calls against a real server over sockets: what a training program goes through, and
// what it is told when it or the server does something wrong.
#include "server.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <gp_client.h>
#include <math.h>

#define W_ELEMS 700
#define B_ELEMS 10
#define LONG_MS 10000

static const struct gp_client_tensor model[] = {
	{.name = "w", .dims_count = 2, .dims = {70, 10}},
	{.name = "b", .dims_count = 1, .dims = {B_ELEMS}, .priority = 1},
};

#define B                                                                                          \
	{                                                                                          \
		.name = "b", .dims_count = 1, .dims = {B_ELEMS}, .priority = 1                     \
	}

static struct gp_client_error err;

static struct gp_client_opts opts_of(const struct server *s)
{
	return (struct gp_client_opts){.server = s->address,
		.job = "job",
		.world = s->job.workers,
		.path_mtu = 1500,
		.join_timeout_ms = LONG_MS};
}

static struct gp_client *open_as(const struct server *s, uint32_t flags)
{
	struct gp_client_opts o = opts_of(s);
	struct gp_client *c;
	o.flags = flags;
	int rc = gp_client_create(&c, &o, &err);
	cr_assert_eq(rc, 0, "%s", err.text);
	rc = gp_client_register(c, model, 2, LONG_MS, &err);
	cr_assert_eq(rc, 0, "%s", err.text);
	return c;
}

static void said(int rc, int code, const char *part)
{
	cr_assert_eq(rc, code, "%d (%s), not %d", rc, err.text, code);
	cr_assert_eq(err.code, code);
	cr_assert(strstr(err.text, part), "'%s' is not in '%s'", part, err.text);
}

struct params {
	float w[W_ELEMS], b[B_ELEMS];
};

static void params_fill(struct params *p, float w, float b)
{
	for (uint32_t i = 0; i < W_ELEMS; i++)
		p->w[i] = w;
	for (uint32_t i = 0; i < B_ELEMS; i++)
		p->b[i] = b;
}

static void expect_params(const struct params *p, float w, float b)
{
	for (uint32_t i = 0; i < W_ELEMS; i++)
		cr_assert_eq(p->w[i], w, "w[%u] is %g, not %g", i, (double)p->w[i], (double)w);
	for (uint32_t i = 0; i < B_ELEMS; i++)
		cr_assert_eq(p->b[i], b);
}

static void init(struct gp_client *c, struct params *p)
{
	int rc = gp_client_init_params(c, (float *[]){p->w, p->b}, LONG_MS, &err);
	cr_assert_eq(rc, 0, "%s", err.text);
}

static void push(struct gp_client *c, const struct params *g, struct params *out)
{
	cr_assert_eq(gp_client_push_pull(c, 0, g->w, 1, out->w, &err), 0, "%s", err.text);
	cr_assert_eq(gp_client_push_pull(c, 1, g->b, 1, out->b, &err), 0, "%s", err.text);
}

static void step(struct gp_client *c, const struct params *g, struct params *out)
{
	push(c, g, out);
	cr_assert_eq(gp_client_wait(c, LONG_MS, &err), 0, "%s", err.text);
}

static void whole_life(uint32_t cores, bool v6)
{
	struct server *s = server_new();
	struct params p, g, r;
	s->cfg.cores_count = cores;
	s->v6 = v6;
	server_start(s);
	struct gp_client *c = open_as(s, 0);
	params_fill(&p, 8, 4);
	params_fill(&g, 1, 2);
	cr_assert_neq(gp_client_incarnation(c), 0);
	init(c, &p);
	expect_params(&p, 8, 4);
	cr_assert_eq(gp_client_step(c), 1);
	step(c, &g, &p);
	expect_params(&p, 7, 2);
	cr_assert_eq(gp_client_push(c, 0, g.w, 1, &err), 0);
	cr_assert_eq(gp_client_push(c, 1, g.b, 1, &err), 0);
	cr_assert_eq(gp_client_wait(c, LONG_MS, &err), 0, "%s", err.text);
	cr_assert_eq(gp_client_step(c), 3);
	cr_assert_eq(gp_client_wait(c, LONG_MS, &err), 0, "a step with nothing in it is over");
	cr_assert_eq(gp_client_barrier(c, 7, LONG_MS, &err), 0, "%s", err.text);
	cr_assert_eq(gp_client_poll(c, &err), 0);

	uint32_t generation = 0;
	struct gp_client *reader = open_as(s, GP_CLIENT_READER);
	float *const out[] = {r.w, r.b};
	cr_assert_eq(
		gp_client_pull_all(reader, out, &generation, LONG_MS, &err), 0, "%s", err.text);
	cr_assert_eq(generation, 2);
	expect_params(&r, 6, 0);
	cr_assert_eq(gp_client_init_params(reader, out, LONG_MS, &err), 0, "%s", err.text);
	said(gp_client_push(reader, 0, g.w, 1, &err), -EINVAL, "a reader cannot contribute");
	said(gp_client_barrier(reader, 1, 100, &err), -EINVAL, "no part in barriers");
	gp_client_destroy(reader);

	struct gp_client_stats stats;
	gp_client_stats(c, &stats);
	cr_assert_geq(stats.pushed_bytes, 2 * 4 * (W_ELEMS + B_ELEMS));
	cr_assert(stats.tx_datagrams > 0 && stats.rx_bytes > 0);
	gp_client_destroy(c);
	server_free(s);
}

Test(socket, whole_life_on_one_core)
{
	whole_life(1, false);
}

Test(socket, whole_life_on_two_cores)
{
	whole_life(2, false);
}

Test(socket, whole_life_over_ipv6)
{
	whole_life(2, true);
}

Test(socket, wrong_calls_are_named_and_change_nothing)
{
	struct server *s = server_new();
	struct params p, g;
	server_start(s);
	struct gp_client *c = open_as(s, 0);
	params_fill(&p, 8, 4);
	params_fill(&g, 1, 2);
	float *const out[] = {p.w, p.b};
	said(gp_client_register(c, model, 2, 100, &err), -EBUSY, "registered once");
	init(c, &p);
	said(gp_client_push_pull(c, 0, g.w, 1, NULL, &err), -EINVAL, "out is NULL");
	said(gp_client_push(c, 2, g.w, 1, &err), -EINVAL, "tensor 2 is outside 0..1");
	said(gp_client_push(c, 0, g.w, 0, &err), -EINVAL, "seen 0");
	said(gp_client_push(c, 0, g.w, -1, &err), -EINVAL, "seen -1");
	said(gp_client_push(c, 0, g.w, NAN, &err), -EINVAL, "nan");
	cr_assert_eq(gp_client_push_pull(c, 0, g.w, 1, p.w, &err), 0);
	said(gp_client_push(c, 0, g.w, 1, &err), -EALREADY, "'w' was already pushed in step 1");
	said(gp_client_wait(c, 100, &err), -EINVAL, "'b' was not");
	said(gp_client_init_params(c, out, 100, &err), -EBUSY, "before the first step");
	said(gp_client_pull_all(c, out, NULL, 100, &err), -EBUSY, "between steps");
	cr_assert_eq(gp_client_push_pull(c, 1, g.b, 1, p.b, NULL), 0, "nobody needs the text");
	cr_assert_eq(gp_client_wait(c, LONG_MS, &err), 0, "%s", err.text);
	expect_params(&p, 7, 2);
	gp_client_destroy(c);
	server_free(s);
}

Test(socket, tensors_that_cannot_be_are_named)
{
	static const struct {
		struct gp_client_tensor t;
		const char *why;
	} cases[] = {
		{{.dims_count = 1, .dims = {1}}, "its name has 0 bytes"},
		{{.name = "a\n", .dims_count = 1, .dims = {1}}, "not printable ASCII"},
		{{.name = "a", .dims_count = 0}, "0 dimensions"},
		{{.name = "a", .dims_count = 9}, "9 dimensions"},
		{{.name = "a", .dims_count = 2, .dims = {1, 0}}, "dimension 1 makes it empty"},
		{{.name = "a", .dims_count = 2, .dims = {1 << 30, 1 << 30}}, "larger than 2^40"},
		{{.name = "a", .dims_count = 3, .dims = {1ull << 39, 1ull << 39, 2}},
			"larger than"},
	};
	struct server *s = server_new();
	server_start(s);
	const struct gp_client_opts o = opts_of(s);
	struct gp_client *c;
	cr_assert_eq(gp_client_create(&c, &o, &err), 0, "%s", err.text);
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(cases); i++)
		said(gp_client_register(c, &cases[i].t, 1, 100, &err), -EINVAL, cases[i].why);
	struct gp_client_tensor full = {.dims_count = 1, .dims = {1}};
	memset(full.name, 'x', sizeof(full.name));
	said(gp_client_register(c, &full, 1, 100, &err), -EINVAL, "its name has 64 bytes");
	said(gp_client_register(c, model, 0, 100, &err), -EINVAL, "0 tensors");
	said(gp_client_register(c, model, 131073, 100, &err), -EINVAL, "131073 tensors");
	cr_assert_eq(gp_client_register(c, model, 2, LONG_MS, &err), 0, "and the right ones pass");
	gp_client_destroy(c);
	server_free(s);
}

Test(socket, a_deaf_server_is_waited_for_and_the_step_counts_once)
{
	struct server *s = server_new();
	struct params p, g;
	s->job.timeout_ns = 60 * UINT64_C(1000000000);
	server_start(s);
	struct gp_client *c = open_as(s, 0);
	params_fill(&p, 8, 4);
	params_fill(&g, 1, 2);
	init(c, &p);
	s->deaf = true;
	push(c, &g, &p);
	said(gp_client_wait(c, 150, &err), -ETIMEDOUT, "waited 150 ms for 4 of 4 blocks of step 1");
	said(gp_client_barrier(c, 1, 30, &err), -ETIMEDOUT, "waited 30 ms for");
	s->deaf = false;
	cr_assert_eq(gp_client_wait(c, LONG_MS, &err), 0, "%s", err.text);
	expect_params(&p, 7, 2);
	struct gp_client_stats stats;
	gp_client_stats(c, &stats);
	cr_assert_gt(stats.retransmits, 0);
	s->deaf = true;
	gp_client_destroy(c); // gives up saying goodbye
	server_free(s);
}

static void create_refused(
	const struct server *s, const struct gp_client_opts *o, int code, const char *part)
{
	struct gp_client *c;
	(void)s;
	said(gp_client_create(&c, o, &err), code, part);
	cr_assert_null(c);
}

Test(socket, joins_that_are_refused_say_why)
{
	struct server *s = server_new();
	s->job.workers = 2;
	s->job.payload_max = 1452;
	server_start(s);
	struct gp_client_opts o = opts_of(s);
	o.job = "other";
	create_refused(s, &o, -ENOENT, "has no job 'other'");
	o = opts_of(s);
	o.world = 3;
	create_refused(s, &o, -EINVAL, "has 2 workers");
	o = opts_of(s);
	o.path_mtu = 1280;
	create_refused(s, &o, -EMSGSIZE, "an IP MTU of 1280");
	o = opts_of(s);
	o.flags = 1 << 7;
	create_refused(s, &o, -EINVAL, "flags: 0x80 is unknown");
	s->deaf = true;
	o = opts_of(s);
	o.join_timeout_ms = 50;
	create_refused(s, &o, -ETIMEDOUT, "did not answer within 50 ms");
	s->deaf = false;
	s->stopping = true;
	o = opts_of(s);
	create_refused(s, &o, -ESHUTDOWN, "shutting down");
	server_free(s);
}

Test(socket, a_rank_is_held_until_it_is_taken_over)
{
	struct server *s = server_new();
	struct gp_client *second;
	server_start(s);
	struct gp_client *c = open_as(s, 0);
	struct gp_client_opts o = opts_of(s);
	o.join_timeout_ms = 300; // less than the client would go on asking
	bool held = false;
	for (uint64_t i = 0; i < 1000 && !held; i++) { // the holder must live while the other asks
		cr_assert_eq(gp_client_poll(c, &err), 0);
		int rc = gp_client_create(&second, &o, &err);
		held = rc == -EEXIST;
		cr_assert(held || rc == -ETIMEDOUT, "%d %s", rc, err.text);
	}
	cr_assert(strstr(err.text, "held by 127.0.0.1:"), "%s", err.text);
	o.flags = GP_CLIENT_REPLACE;
	o.join_timeout_ms = LONG_MS;
	cr_assert_eq(gp_client_create(&second, &o, &err), 0, "%s", err.text);
	int rc = 0;
	for (uint32_t i = 0; i < 1000 && rc == 0; i++) {
		rc = gp_client_barrier(c, i, 20, &err);
		if (rc == -ETIMEDOUT)
			rc = 0;
	}
	said(rc, -ECONNRESET, "join again");
	said(gp_client_poll(c, &err), -ECONNRESET, "join again");
	cr_assert_eq(gp_client_push(c, 0, (float[W_ELEMS]){0}, 1, &err), -ECONNRESET);
	cr_assert_eq(gp_client_pull_all(c, NULL, NULL, 1, &err), -ECONNRESET);
	cr_assert_eq(gp_client_init_params(c, NULL, 1, &err), -ECONNRESET);
	cr_assert_eq(gp_client_register(c, model, 2, 1, &err), -ECONNRESET);
	cr_assert_eq(gp_client_wait(c, 1, &err), -ECONNRESET);
	gp_client_destroy(c);
	gp_client_destroy(second);
	server_free(s);
}

Test(socket, other_shapes_than_the_jobs_are_named)
{
	struct server *s = server_new();
	server_start(s);
	gp_client_destroy(open_as(s, 0)); // the layout stays
	static const struct {
		struct gp_client_tensor t[2];
		uint32_t count;
		const char *why;
	} cases[] = {
		{{{.name = "w", .dims_count = 2, .dims = {10, 70}}, B}, 2,
			"tensor 'w' has another shape"},
		{{{.name = "v", .dims_count = 1, .dims = {1}}, B}, 2, "tensor 'v' is unknown"},
		{{{.name = "w", .dims_count = 2, .dims = {70, 10}}}, 1, "has 2 tensors"},
	};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(cases); i++) {
		const struct gp_client_opts o = opts_of(s);
		struct gp_client *c;
		cr_assert_eq(gp_client_create(&c, &o, &err), 0, "%s", err.text);
		said(gp_client_register(c, cases[i].t, cases[i].count, LONG_MS, &err), -EINVAL,
			cases[i].why);
		gp_client_destroy(c);
	}
	server_free(s);
}

Test(socket, a_model_beyond_the_jobs_memory_is_refused)
{
	struct server *s = server_new();
	const struct gp_client_tensor large = {.name = "w", .dims_count = 1, .dims = {1 << 20}};
	server_start(s);
	const struct gp_client_opts o = opts_of(s);
	struct gp_client *c;
	cr_assert_eq(gp_client_create(&c, &o, &err), 0, "%s", err.text);
	said(gp_client_register(c, &large, 1, LONG_MS, &err), -ENOMEM, "over its quota");
	gp_client_destroy(c);
	server_free(s);
}

Test(socket, a_poisoned_gradient_ends_the_session_by_name)
{
	struct server *s = server_new();
	struct params p, g;
	server_start(s);
	struct gp_client *c = open_as(s, 0);
	params_fill(&p, 8, 4);
	params_fill(&g, 1, 2);
	init(c, &p);
	g.w[5] = NAN;
	int rc = gp_client_push_pull(c, 0, g.w, 1, p.w, &err);
	if (rc == 0)
		rc = gp_client_push_pull(c, 1, g.b, 1, p.b, &err);
	if (rc == 0)
		rc = gp_client_wait(c, LONG_MS, &err);
	said(rc, -EDOM, "refused the gradient of");
	cr_assert(strstr(err.text, "w"), "%s", err.text);
	gp_client_destroy(c);
	server_free(s);
}

Test(socket, a_server_that_stops_begins_no_step)
{
	struct server *s = server_new();
	struct params p, g;
	server_start(s);
	struct gp_client *c = open_as(s, 0);
	params_fill(&p, 8, 4);
	params_fill(&g, 1, 2);
	init(c, &p);
	s->stopping = true;
	int rc = 0;
	for (uint32_t i = 0; i < 1000 && rc == 0; i++) {
		rc = gp_client_push_pull(c, 0, g.w, 1, p.w, &err);
		if (rc == 0)
			rc = gp_client_push_pull(c, 1, g.b, 1, p.b, &err);
		if (rc == 0)
			rc = gp_client_wait(c, LONG_MS, &err);
	}
	said(rc, -ESHUTDOWN, "does not begin");
	gp_client_destroy(c);
	server_free(s);
}
