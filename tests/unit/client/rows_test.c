// SPDX-License-Identifier: BSD-3-Clause
//
// Embed jobs by the public calls, against a real server over sockets.
#include "server.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <gp_client.h>

#define LONG_MS	   10000
#define NARROW	   0 // as registered; on the wire it may be another number
#define WIDE	   1
#define NARROW_DIM 3
#define WIDE_DIM   16
#define MANY	   600

static const struct gp_client_tensor tables[] = {
	{.name = "narrow", .dims_count = 1, .dims = {NARROW_DIM}},
	{.name = "wide", .dims_count = 1, .dims = {WIDE_DIM}},
};

static struct gp_client_error err;

static struct server *embed_server(uint32_t cores)
{
	struct server *s = server_new();
	s->cfg.cores_count = cores;
	s->job.kind = GP_KIND_EMBED;
	s->job.atomicity = GP_ATOM_STEP;
	s->job.consistency = GP_CONSIST_ASP;
	s->job.stale_max = UINT32_MAX;
	s->job.quorum_min = 1;
	s->job.cuts_max = 4;
	s->job.memory_max = 16 << 20;
	s->job.push_max = 4 * 1152;
	s->job.tables_count = 2;
	s->job.tables[0] = (struct gp_job_table){
		.name = "wide", .rows_max = 3000, .dim = WIDE_DIM, .kept_percent = 100};
	s->job.tables[1] = (struct gp_job_table){
		.name = "narrow", .rows_max = 3000, .dim = NARROW_DIM, .kept_percent = 100};
	server_start(s);
	return s;
}

static struct gp_client *enter(const struct server *s, enum gp_client_codec codec, uint32_t flags)
{
	const struct gp_client_opts o = {.server = s->address,
		.job = "job",
		.world = 1,
		.path_mtu = 1500,
		.flags = flags,
		.compress = {.codec = codec},
		.join_timeout_ms = LONG_MS};
	struct gp_client *c;
	cr_assert_eq(gp_client_create(&c, &o, &err), 0, "%s", err.text);
	return c;
}

static struct gp_client *open_as(const struct server *s, enum gp_client_codec codec, uint32_t flags)
{
	struct gp_client *c = enter(s, codec, flags);
	cr_assert_eq(gp_client_register(c, tables, 2, LONG_MS, &err), 0, "%s", err.text);
	return c;
}

static void said(int rc, int code, const char *part)
{
	cr_assert_eq(rc, code, "%d (%s), not %d", rc, err.text, code);
	cr_assert(strstr(err.text, part), "'%s' is not in '%s'", part, err.text);
}

static void fine(int rc)
{
	cr_assert_eq(rc, 0, "%s", err.text);
}

// Rows ids[0 .. n): element k of each is first + k.
static void push(struct gp_client *c, uint32_t table, const uint64_t *ids, uint32_t n, float first)
{
	static float values[MANY * WIDE_DIM];
	uint32_t dim = table == NARROW ? NARROW_DIM : WIDE_DIM;
	for (uint32_t i = 0; i < n * dim; i++)
		values[i] = first + (float)(i % dim);
	const struct gp_client_rows x = {.table = table, .count = n, .ids = ids, .values = values};
	fine(gp_client_push_rows(c, &x, 1, &err));
}

static void expect_rows(struct gp_client *c, uint32_t table, const uint64_t *ids, uint32_t n,
	float first, float more)
{
	static float values[MANY * WIDE_DIM];
	uint32_t dim = table == NARROW ? NARROW_DIM : WIDE_DIM, generation = 0;
	struct gp_client_rows x = {.table = table, .count = n, .ids = ids, .values = values};
	fine(gp_client_pull_rows(c, &x, 1, &generation, LONG_MS, &err));
	for (uint32_t i = 0; i < n * dim; i++)
		cr_assert_eq(values[i], first + more * (float)(i % dim), "element %u: %g", i,
			(double)values[i]);
}

static void whole_life(uint32_t cores, enum gp_client_codec codec, bool background)
{
	struct server *s = embed_server(cores);
	struct gp_client *c = open_as(s, codec, 0);
	uint64_t ids[50];
	if (background)
		fine(gp_client_background(c, &err));
	for (uint32_t i = 0; i < 50; i++)
		ids[i] = (UINT64_C(1) << 40) + 7 * (49 - i);
	push(c, NARROW, ids, 50, 1);
	push(c, WIDE, ids, 20, 2);
	push(c, NARROW, ids + 10, 40, 1); // they are summed
	fine(gp_client_wait(c, LONG_MS, &err));
	cr_assert_eq(gp_client_step(c), 2);
	expect_rows(c, NARROW, ids, 10, -1, -1); // a rate of 1
	expect_rows(c, NARROW, ids + 10, 40, -2, -2);
	expect_rows(c, WIDE, ids, 20, -2, -1);
	expect_rows(c, WIDE, ids + 20, 30, 0, 0); // never pushed
	fine(gp_client_push_rows(c, NULL, 0, &err));
	fine(gp_client_wait(c, LONG_MS, &err)); // a step of nothing
	cr_assert_eq(gp_client_step(c), 3);
	expect_rows(c, NARROW, ids, 10, -1, -1);
	gp_client_destroy(c);
	server_free(s);
}

Test(rows, are_summed_pushed_and_pulled)
{
	whole_life(1, GP_CLIENT_F32, false);
}

Test(rows, on_two_cores_as_bf16)
{
	whole_life(2, GP_CLIENT_BF16, false);
}

Test(rows, pushed_as_f16)
{
	whole_life(1, GP_CLIENT_F16, false);
}

Test(rows, the_same_with_a_thread)
{
	whole_life(2, GP_CLIENT_AUTO, true);
}

Test(rows, codecs_that_are_not_for_them)
{
	static const enum gp_client_codec codecs[] = {GP_CLIENT_INT8, GP_CLIENT_SIGN};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(codecs); i++) {
		struct server *s = embed_server(1);
		struct gp_client *c = enter(s, codecs[i], 0);
		said(gp_client_register(c, tables, 2, LONG_MS, &err), -EINVAL,
			"is not for rows: an embed job takes f32, bf16 or f16");
		gp_client_destroy(c);
		server_free(s);
	}
}

Test(rows, calls_that_make_no_sense_are_refused)
{
	struct server *s = embed_server(1);
	struct gp_client *c = enter(s, GP_CLIENT_F32, 0);
	const uint64_t id = 5;
	float value[WIDE_DIM] = {0}, *all[] = {value, value};
	struct gp_client_rows x = {.table = 0, .count = 1, .ids = &id, .values = value};
	said(gp_client_push_rows(c, &x, 1, &err), -EINVAL, "after their tables are registered");
	said(gp_client_pull_rows(c, &x, 1, NULL, LONG_MS, &err), -EBUSY, "after registration");
	fine(gp_client_register(c, tables, 2, LONG_MS, &err));
	said(gp_client_push(c, 0, value, 1, &err), -EINVAL, "takes rows, not tensors");
	said(gp_client_pull_all(c, all, NULL, LONG_MS, &err), -EINVAL, "gives rows, not tensors");
	x.table = 2;
	said(gp_client_push_rows(c, &x, 1, &err), -EINVAL, "table 2 is outside 0..1");
	said(gp_client_pull_rows(c, &x, 1, NULL, LONG_MS, &err), -EINVAL, "outside 0..1");
	x.table = 0;
	fine(gp_client_push_rows(c, &x, 1, &err));
	said(gp_client_pull_rows(c, &x, 1, NULL, LONG_MS, &err), -EBUSY, "between steps");
	fine(gp_client_wait(c, LONG_MS, &err));
	fine(gp_client_pull_rows(c, &x, 1, NULL, LONG_MS, &err));
	gp_client_destroy(c);
	server_free(s);
}

// What does not fit is refused whole; what was there before goes.
Test(rows, more_than_a_push_or_a_pull_takes)
{
	struct server *s = embed_server(1);
	struct gp_client *c = open_as(s, GP_CLIENT_F32, 0);
	static uint64_t ids[MANY];
	static float values[MANY * WIDE_DIM];
	for (uint32_t i = 0; i < MANY; i++)
		ids[i] = 3 * i;
	push(c, NARROW, ids, 10, 1);
	const struct gp_client_rows x[] = {
		{.table = WIDE, .count = 10, .ids = ids, .values = values},
		{.table = NARROW, .count = MANY, .ids = ids, .values = values},
	};
	said(gp_client_push_rows(c, x, 2, &err), -ENOSPC, "more rows than job 'job' takes in one");
	push(c, NARROW, ids + 10, 10, 1);
	fine(gp_client_wait(c, LONG_MS, &err));
	expect_rows(c, NARROW, ids, 20, -1, -1);
	expect_rows(c, NARROW, ids + 20, 20, 0, 0);
	expect_rows(c, WIDE, ids, 10, 0, 0);
	said(gp_client_pull_rows(c, x + 1, 1, NULL, LONG_MS, &err), -ENOSPC,
		"more rows than job 'job' gives in one pull");
	expect_rows(c, NARROW, ids, 20, -1, -1);
	gp_client_destroy(c);
	server_free(s);
}

Test(rows, a_reader_only_pulls)
{
	struct server *s = embed_server(1);
	struct gp_client *c = open_as(s, GP_CLIENT_F32, 0);
	struct gp_client *reader = open_as(s, GP_CLIENT_BF16, GP_CLIENT_READER);
	const uint64_t ids[] = {9, 4};
	push(c, WIDE, ids, 2, 1);
	fine(gp_client_wait(c, LONG_MS, &err));
	float value[WIDE_DIM] = {0};
	const struct gp_client_rows x = {.table = 0, .count = 1, .ids = ids, .values = value};
	said(gp_client_push_rows(reader, &x, 1, &err), -EINVAL, "a reader cannot contribute");
	expect_rows(reader, WIDE, ids, 2, -1, -1);
	gp_client_destroy(reader);
	gp_client_destroy(c);
	server_free(s);
}

Test(rows, are_for_jobs_of_tables)
{
	struct server *s = server_new();
	server_start(s);
	struct gp_client *c = open_as(s, GP_CLIENT_F32, 0);
	const uint64_t id = 5;
	float value[WIDE_DIM] = {0};
	const struct gp_client_rows x = {.table = 0, .count = 1, .ids = &id, .values = value};
	said(gp_client_push_rows(c, &x, 1, &err), -EINVAL, "rows are for embed jobs");
	said(gp_client_pull_rows(c, &x, 1, NULL, LONG_MS, &err), -EBUSY, "is for embed jobs");
	gp_client_destroy(c);
	server_free(s);
}

Test(rows, a_table_that_is_full)
{
	struct server *s = embed_server(1);
	struct gp_client *c = open_as(s, GP_CLIENT_F32, 0);
	uint64_t ids[200];
	for (uint32_t step = 0; step < 15; step++) { // 3000 rows
		for (uint32_t i = 0; i < 200; i++)
			ids[i] = 200 * step + i;
		push(c, NARROW, ids, 200, 1);
		fine(gp_client_wait(c, LONG_MS, &err));
	}
	ids[0] = 3000;
	push(c, NARROW, ids, 1, 1);
	said(gp_client_wait(c, LONG_MS, &err), -ENOMEM, "table narrow is full");
	gp_client_destroy(c);
	server_free(s);
}

// The server does not answer: the call says so in time.
Test(rows, a_pull_that_nobody_answers)
{
	struct server *s = embed_server(1);
	struct gp_client *c = open_as(s, GP_CLIENT_F32, 0);
	const uint64_t id = 5;
	float value[WIDE_DIM] = {0};
	const struct gp_client_rows x = {.table = 0, .count = 1, .ids = &id, .values = value};
	s->deaf = true;
	said(gp_client_pull_rows(c, &x, 1, NULL, 100, &err), -ETIMEDOUT, "waited 100 ms for");
	s->deaf = false;
	gp_client_destroy(c);
	server_free(s);
}
