// SPDX-License-Identifier: BSD-3-Clause
//
// Cuts of tables over sockets, which the follower settles in many turns: it takes nothing from the
// stream meanwhile, goes on by itself, and acknowledges what came.
#include "../engine/embed_rig.h"
#include "pair_rig.h"

#include <event2/event.h>
#include <gp_link.h>
#include <gp_replica.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ROWS	54 // of a place
#define STEPS	20
#define RECORDS 8 // in a pause
#define WAIT_MS 20000

static struct event_base *base;
static struct pair p;
static struct gp_link *primary, *backup;
static struct gp_lead_record told = {.epoch = 1,
	.primary = 0,
	.backup = GP_LEAD_NODE_NONE}; // by the primary while the backup settles
static uint64_t heard;		      // nonce of the last one that came

static void on_event(void *arg, const struct gp_lead_event *ev)
{
	(void)arg;
	cr_assert_neq(ev->kind, GP_LEAD_EV_PEER_SILENT);
	if (ev->kind == GP_LEAD_EV_PEER_RECORD)
		heard = ev->held.record.nonce;
}

static struct gp_link *link_new(uint32_t node, uint16_t port, const struct gp_replica_tls *tls)
{
	char peer[32];
	struct gp_link *l;
	struct gp_stream_error err;
	snprintf(peer, sizeof(peer), "127.0.0.1:%u", port);
	const struct gp_link_opts opts = {.listen = port ? NULL : "127.0.0.1:0",
		.peer = port ? peer : NULL,
		.product = "test",
		.node = node,
		.life = node + 1,
		.silent_ms = 8 * WAIT_MS,
		.heartbeat_ms = 4 * WAIT_MS, // no ping may keep it going
		.backoff_ms_min = 1,
		.backoff_ms_max = 20,
		.tls = tls,
		.event = on_event};
	cr_assert_eq(gp_link_create(base, &opts, &l, &err), 0, "%s", err.text);
	return l;
}

static uint64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

// Records come in the first turns of a pause, and when it ends nothing does.
static void turn(void)
{
	static uint32_t paused;
	if (pair_engine_turn(&p) > 0)
		gp_link_turn(primary);
	paused = gp_follower_goes_on(p.follower) ? paused + 1 : 0;
	if (paused > 0 && paused <= RECORDS) {
		told.nonce++;
		gp_link_self(primary, &told, true);
	}
	event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
}

static void push(struct worker *w, uint32_t step)
{
	uint64_t ids[ROWS], at = 1000 + 7 * step;
	for (uint32_t n = 0; n < embed_places_of(w->r); n++) {
		for (uint32_t i = 0; i < ROWS; i++)
			ids[i] = at++;
		const struct place x = place_rows(w->r, 0, n, NARROW, ids, ROWS, 1);
		place_send(w, step, &x);
	}
}

static bool is_out(const struct rig *r, uint32_t step)
{
	return seen_commit(&r->w[0], GP_DECISION_COMMIT, 0, step) &&
	       seen_commit(&r->w[1], GP_DECISION_COMMIT, 1, step);
}

// One row a turn.
static void follower_slow(void)
{
	const struct gp_follower_opts opts = {.image = p.image, .rows_max = 1};
	gp_stream_set_follower(p.backup.stream, NULL);
	gp_follower_destroy(p.follower);
	cr_assert_eq(gp_follower_create(&p.follower, &opts), 0);
	gp_follower_epoch(p.follower, 1);
}

static void run(const struct gp_replica_tls *ours, const struct gp_replica_tls *theirs)
{
	struct gp_table_view t;
	struct gp_follower_view v;
	struct rig *r = embed_new(GP_CONSIST_ASP, 1, 2);
	r->jobs[0].replicated = true;
	r->jobs[0].cuts_max = 4;
	r->jobs[0].tables[NARROW].kept_percent = 1;
	embed_up(r);
	signal(SIGPIPE, SIG_IGN);
	base = event_base_new();
	pair_up(&p, r, 1);
	follower_slow();
	gp_stream_set_feeder(p.primary.stream, NULL);
	primary = link_new(0, 0, ours);
	backup = link_new(1, gp_link_port(primary), theirs);
	gp_link_set_feeder(primary, p.feeder);
	gp_link_set_follower(backup, p.follower);
	uint64_t end = now_ms() + WAIT_MS;
	for (uint32_t step = 1; step <= STEPS; step++) {
		push(&r->w[0], step);
		push(&r->w[1], step);
		while (!is_out(r, step)) {
			turn();
			cr_assert_lt(now_ms(), end, "step %u", step);
		}
	}
	for (; heard != told.nonce; turn())
		cr_assert_lt(now_ms(), end, "of %lu records %lu came", told.nonce, heard);
	gp_follower_view(p.follower, &v);
	cr_assert(v.jobs_based == 1 && !v.diverged && v.digests > 0);
	cr_assert_gt(told.nonce, STEPS, "it did not pause");

	cr_assert(gp_engine_table_view(r->e, 0, NARROW, &t));
	cr_assert_eq(gp_image_rows_count(p.image, 1, NARROW), t.rows);
	gp_link_destroy(primary);
	gp_link_destroy(backup);
	pair_down(&p);
	rig_free_busy(r);
	event_base_free(base);
}

TestSuite(link_embed, .timeout = 60);

Test(link_embed, a_cut_that_takes_many_turns_is_acknowledged)
{
	run(NULL, NULL);
}

Test(link_embed, the_same_over_tls)
{
	char folder[] = "/tmp/gp-ca-XXXXXX", command[256], f[5][64];
	cr_assert(mkdtemp(folder));
	snprintf(command, sizeof(command), "%s %s primary replica", GP_TEST_CA, folder);
	cr_assert_eq(system(command), 0);
	snprintf(f[0], sizeof(f[0]), "%s/primary.pem", folder);
	snprintf(f[1], sizeof(f[1]), "%s/primary.key", folder);
	snprintf(f[2], sizeof(f[2]), "%s/replica.pem", folder);
	snprintf(f[3], sizeof(f[3]), "%s/replica.key", folder);
	snprintf(f[4], sizeof(f[4]), "%s/ca.pem", folder);
	const struct gp_replica_tls ours = {f[0], f[1], f[4], "replica"};
	const struct gp_replica_tls theirs = {f[2], f[3], f[4], "primary"};
	run(&ours, &theirs);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	cr_assert_eq(system(command), 0);
}
