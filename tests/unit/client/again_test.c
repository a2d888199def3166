// SPDX-License-Identifier: BSD-3-Clause
//
// Clients that outlive their server: another one goes on with the job, at the same address or
// another.
#include "server.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <gp_client.h>
#include <stdio.h>
#include <stdlib.h>

#define ELEMS	20
#define LONG_MS 10000

static const struct gp_client_tensor model = {.name = "w", .dims_count = 1, .dims = {ELEMS}};
static struct gp_client_error err;

static struct gp_client *open_at(const char *servers, uint32_t reconnect_ms)
{
	const struct gp_client_opts o = {.server = servers,
		.job = "job",
		.world = 1,
		.path_mtu = 1500,
		.join_timeout_ms = LONG_MS,
		.reconnect_ms = reconnect_ms};
	struct gp_client *c;
	cr_assert_eq(gp_client_create(&c, &o, &err), 0, "%s", err.text);
	cr_assert_eq(gp_client_register(c, &model, 1, LONG_MS, &err), 0, "%s", err.text);
	return c;
}

static void init(struct gp_client *c, float *p)
{
	cr_assert_eq(gp_client_init_params(c, &p, LONG_MS, &err), 0, "%s", err.text);
}

static int step(struct gp_client *c, float *p)
{
	float g[ELEMS];
	for (uint32_t i = 0; i < ELEMS; i++)
		g[i] = 1.0f;
	int rc = gp_client_push_pull(c, 0, g, 1, p, &err);
	return rc ? rc : gp_client_wait(c, LONG_MS, &err);
}

// Nine steps are done, the tenth goes to whoever leads.
static void tenth_step(uint32_t generation, float value, float after)
{
	char both[160];
	float p[ELEMS] = {0};
	struct gp_client_stats st;
	struct server *first = server_new();
	struct server *next = server_successor(first, ELEMS, generation, value);
	server_start(first);
	server_start(next);
	(void)snprintf(both, sizeof(both), "%s,%s", first->address, next->address);
	struct gp_client *c = open_at(both, LONG_MS);
	init(c, p);
	for (uint32_t i = 1; i <= 9; i++)
		cr_assert_eq(step(c, p), 0, "%s", err.text);
	cr_assert_eq(p[3], -9.0f);
	server_free(first);
	cr_assert_eq(step(c, p), 0, "%s", err.text);
	cr_assert_eq(p[3], after);
	cr_assert_eq(gp_client_step(c), 11);
	cr_assert_str_eq(gp_client_server(c), next->address);
	cr_assert_eq(gp_client_epoch(c), next->cfg.epoch);
	gp_client_stats(c, &st);
	cr_assert_eq(st.reconnects, 1);
	cr_assert_eq(st.takeovers, 1);
	cr_assert_eq(gp_client_barrier(c, 3, LONG_MS, &err), 0, "%s", err.text);
	gp_client_destroy(c);
	server_free(next);
}

Test(again, nothing_is_told_where_nothing_was_lost, .timeout = 60)
{
	tenth_step(9, -9.0f, -10.0f);
}

// The old one had committed the tenth step, and died before it said so.
Test(again, what_was_committed_meanwhile_counts, .timeout = 60)
{
	tenth_step(10, -10.0f, -10.0f);
}

// What it knows to be read is never followed by something older without a word.
static void reader_reads(uint32_t generation, int rc)
{
	char both[160];
	float p[ELEMS] = {0}, r[ELEMS] = {0}, *out = r;
	uint32_t got;
	struct server *first = server_new();
	struct server *next = server_successor(first, ELEMS, generation, -1.0f);
	server_start(first);
	server_start(next);
	(void)snprintf(both, sizeof(both), "%s,%s", first->address, next->address);
	struct gp_client *c = open_at(first->address, 0);
	init(c, p);
	cr_assert_eq(step(c, p), 0, "%s", err.text);
	const struct gp_client_opts o = {.server = both,
		.job = "job",
		.flags = GP_CLIENT_READER,
		.path_mtu = 1500,
		.reconnect_ms = LONG_MS};
	struct gp_client *reader, *worker;
	cr_assert_eq(gp_client_create(&reader, &o, &err), 0, "%s", err.text);
	cr_assert_eq(gp_client_register(reader, &model, 1, LONG_MS, &err), 0, "%s", err.text);
	cr_assert_eq(gp_client_pull_all(reader, &out, &got, LONG_MS, &err), 0, "%s", err.text);
	cr_assert_eq(got, 1);
	gp_client_destroy(c);
	server_free(first);
	worker = open_at(next->address, 0); // with it the job has a layout
	cr_assert_eq(gp_client_pull_all(reader, &out, &got, LONG_MS, &err), rc, "%s", err.text);
	cr_assert_eq(gp_client_pull_all(reader, &out, &got, LONG_MS, &err), 0, "%s", err.text);
	cr_assert_eq(got, generation);
	cr_assert_eq(r[3], -1.0f);
	gp_client_destroy(reader);
	gp_client_destroy(worker);
	server_free(next);
}

Test(again, a_reader_reads_on, .timeout = 60)
{
	reader_reads(1, 0);
}

Test(again, a_reader_is_told_of_what_was_lost, .timeout = 60)
{
	reader_reads(0, -GP_ROLLED_BACK);
}

static int asked;

static int stop_at_the_fifth(void *arg)
{
	cr_assert_eq(arg, &asked);
	return ++asked >= 5;
}

Test(again, a_program_that_ends_need_not_wait_for_a_server, .timeout = 60)
{
	float p[ELEMS] = {0};
	struct server *s = server_new();
	server_start(s);
	const struct gp_client_opts o = {.server = s->address,
		.job = "job",
		.world = 1,
		.path_mtu = 1500,
		.reconnect_ms = 3600000,
		.stop_wanted = stop_at_the_fifth,
		.stop_arg = &asked};
	struct gp_client *c;
	cr_assert_eq(gp_client_create(&c, &o, &err), 0, "%s", err.text);
	cr_assert_eq(gp_client_register(c, &model, 1, LONG_MS, &err), 0, "%s", err.text);
	init(c, p);
	server_free(s);
	cr_assert_eq(step(c, p), -EINTR, "%s", err.text);
	cr_assert_eq(asked, 5);
	cr_assert_eq(step(c, p), -ENOTCONN);
	gp_client_destroy(c);
}

Test(again, a_worker_goes_on_with_the_next_leader, .timeout = 60)
{
	char both[160];
	float p[ELEMS] = {0};
	struct gp_client_stats st;
	struct server *first = server_new(), *next = server_successor(first, ELEMS, 7, 50.0f);
	server_start(first);
	server_start(next);
	(void)snprintf(both, sizeof(both), "%s,%s", first->address, next->address);
	struct gp_client *c = open_at(both, LONG_MS);
	uint64_t life = gp_client_incarnation(c);
	init(c, p);
	for (uint32_t i = 1; i <= 9; i++)
		cr_assert_eq(step(c, p), 0, "%s", err.text);
	server_free(first);
	cr_assert_eq(step(c, p), -ESTALE, "%s", err.text);
	cr_assert(strstr(err.text, "step 8") && strstr(err.text, next->address), "%s", err.text);
	cr_assert_eq(gp_client_step(c), 8);
	cr_assert_neq(gp_client_incarnation(c), life);
	init(c, p);
	cr_assert_eq(p[3], 50.0f, "it reads what the leader has");
	cr_assert_eq(step(c, p), 0, "%s", err.text);
	cr_assert_eq(p[3], 49.0f);
	gp_client_stats(c, &st);
	cr_assert_eq(st.reconnects, 1);
	cr_assert_gt(st.pushed_bytes, 10 * ELEMS * sizeof(float), "the earlier session counts too");
	gp_client_destroy(c);
	server_free(next);
}

Test(again, an_older_leader_is_not_followed, .timeout = 60)
{
	char both[160];
	float p[ELEMS] = {0};
	struct server *first = server_new(), *old = server_successor(first, ELEMS, 7, 50.0f);
	old->cfg.epoch = first->cfg.epoch - 1;
	server_start(first);
	server_start(old);
	(void)snprintf(both, sizeof(both), "%s,%s", first->address, old->address);
	struct gp_client *c = open_at(both, 1500);
	init(c, p);
	server_free(first);
	cr_assert_eq(step(c, p), -ETIMEDOUT, "%s", err.text);
	cr_assert(strstr(err.text, "none was found"), "%s", err.text);
	cr_assert_eq(step(c, p), -ENOTCONN);
	gp_client_destroy(c);
	server_free(old);
}

Test(again, the_first_join_finds_whoever_answers, .timeout = 60)
{
	char both[160];
	float p[ELEMS] = {0};
	struct server *s = server_new();
	server_start(s);
	(void)snprintf(both, sizeof(both), "127.0.0.1:9,%s", s->address);
	struct gp_client *c = open_at(both, 0);
	init(c, p);
	cr_assert_eq(step(c, p), 0, "%s", err.text);
	gp_client_destroy(c);
	server_free(s);
}

Test(again, without_leave_to_the_session_ends, .timeout = 60)
{
	float p[ELEMS] = {0};
	struct server *s = server_new();
	s->job.timeout_ns = 100000000;
	server_start(s);
	struct gp_client *c = open_at(s->address, 0);
	init(c, p);
	server_stop(s);
	cr_assert_eq(step(c, p), -ETIMEDOUT, "%s", err.text);
	cr_assert_eq(gp_client_poll(c, &err), -ETIMEDOUT, "and stays ended");
	gp_client_destroy(c);
	server_free(s);
}

Test(again, nobody_there_any_more_is_told, .timeout = 60)
{
	float p[ELEMS] = {0};
	struct server *s = server_new();
	server_start(s);
	struct gp_client *c = open_at(s->address, 700);
	init(c, p);
	server_free(s);
	cr_assert_eq(step(c, p), -ETIMEDOUT, "%d %s", err.code, err.text);
	cr_assert_eq(step(c, p), -ENOTCONN, "%s", err.text);
	cr_assert_eq(gp_client_wait(c, 10, &err), -ENOTCONN);
	cr_assert_eq(gp_client_poll(c, &err), -ENOTCONN);
	cr_assert_eq(gp_client_barrier(c, 1, 10, &err), -ENOTCONN);
	float *out = p;
	uint32_t generation;
	cr_assert_eq(gp_client_pull_all(c, &out, &generation, 10, &err), -ENOTCONN);
	gp_client_destroy(c);
}

Test(again, lists_of_servers_are_checked)
{
	char nine[9 * 12] = "1.1.1.1:1";
	for (uint32_t i = 1; i < 9; i++)
		strcat(nine, ",1.1.1.1:1");
	const char *const bad[] = {"", ",", "127.0.0.1:1,", "127.0.0.1:1,,127.0.0.1:2",
		"127.0.0.1:1;127.0.0.1:2", "127.0.0.1:0", nine};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const struct gp_client_opts o = {.server = bad[i], .job = "job", .world = 1};
		struct gp_client *c;
		cr_assert_eq(gp_client_create(&c, &o, &err), -EINVAL, "'%s'", bad[i]);
		cr_assert(strstr(err.text, "server: '"), "%s", err.text);
	}
}
