// SPDX-License-Identifier: BSD-3-Clause
#include "rig.h"

#include <criterion/criterion.h>

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static struct rig rig;

static void setup(void)
{
	rig_init(&rig);
}

static void teardown(void)
{
	rig_fini(&rig);
}

TestSuite(replica, .init = setup, .fini = teardown, .timeout = 100);

Test(replica, a_snapshot_is_shipped_proved_and_acknowledged)
{
	rig_receiver_start(&rig, 0);
	rig_sender_start(&rig, rig.port);
	rig_until(&rig, rig_status(&rig, NULL).connected);
	for (uint32_t step = 10; step <= 50; step += 10) {
		rig_ship(&rig, "a", step, 5);
		rig_until(&rig, rig_status(&rig, "a").verified &&
					rig_status(&rig, "a").last_step_verified == step);
		cr_assert_eq(rig.last_step, step);
		cr_assert_str_eq(rig.last_job, "a");
		rig_expect_replica(&rig, "a", step, 5);
	}
	struct gp_replica_status st = rig_status(&rig, NULL);
	cr_assert_eq(st.last_step_sent, 50u);
	cr_assert_eq(st.transfers, 5u);
	cr_assert_eq(st.failures, 0u, "%s", st.last_error);
	cr_assert_eq(rig_replica_count(&rig), 3u, "it keeps three");
}

Test(replica, many_chunks_keep_every_byte)
{
	rig_receiver_start(&rig, 0);
	rig_sender_start(&rig, rig.port);
	rig_ship(&rig, "big", 1, 200000);
	rig_until(&rig, rig_status(&rig, "big").verified);
	rig_expect_replica(&rig, "big", 1, 200000);
	cr_assert_gt(rig_status(&rig, NULL).bytes, UINT64_C(11200000));
}

Test(replica, the_newest_of_each_job_wins)
{
	rig_receiver_start(&rig, 0);
	rig_sender_start(&rig, rig.port);
	rig_ship(&rig, "a", 1, 5);
	rig_ship(&rig, "a", 2, 5);
	rig_ship(&rig, "b", 7, 5);
	rig_ship(&rig, "a", 3, 5);
	rig_until(&rig, rig_status(&rig, "a").verified && rig_status(&rig, "b").verified);
	cr_assert_eq(rig_status(&rig, "a").last_step_verified, 3u);
	cr_assert_eq(rig_status(&rig, "b").last_step_verified, 7u);
	cr_assert_eq(rig_status(&rig, NULL).superseded_count, 2u);
	cr_assert_eq(rig.snapshots, 2u);
	cr_assert_eq(rig_replica_count(&rig), 2u);
}

Test(replica, one_under_way_is_completed_before_a_newer_one)
{
	rig_receiver_start(&rig, 0);
	rig_sender_start(&rig, rig.port);
	rig_ship(&rig, "a", 1, 100000);
	rig_until(&rig, rig_status(&rig, "a").busy);
	rig_ship(&rig, "a", 2, 5);
	rig_until(&rig,
		rig_status(&rig, "a").verified && rig_status(&rig, "a").last_step_verified == 2);
	cr_assert_eq(rig.snapshots, 2u);
	cr_assert_eq(rig_status(&rig, NULL).superseded_count, 0u);
}

// The first connection is damaged at byte `at`; returns whether there was such a byte.
static bool damaged_once(uint64_t at, uint8_t flip, uint32_t step)
{
	uint16_t port;
	struct relay *relay = relay_start(&rig, at, flip, &port);
	rig_sender_start(&rig, port);
	rig_ship(&rig, "a", step, 5);
	rig_until(&rig, rig_status(&rig, "a").verified);
	bool hit = relay_hit(relay);
	cr_assert_eq(rig_status(&rig, "a").last_step_verified, step);
	cr_assert(!hit || rig_status(&rig, "a").failures > 0, "byte %llu", (unsigned long long)at);
	rig_expect_replica(&rig, "a", step, 5);
	gp_replica_sender_destroy(rig.sender);
	rig.sender = NULL;
	relay_stop(relay);
	return hit;
}

Test(replica, a_damaged_stream_is_noticed_and_sent_again)
{
	uint32_t step = 1, hits = 0;
	rig_receiver_start(&rig, 0);
	for (uint64_t at = 0; at < 24; at += 3)
		hits += damaged_once(at, (uint8_t)(1 << at % 8), step++);
	for (uint64_t at = 24; damaged_once(at, (uint8_t)(1 << at % 8), step++); at += 61)
		hits++;
	cr_assert_gt(hits, 30u);
}

Test(replica, a_connection_cut_anywhere_starts_again)
{
	uint32_t step = 1, hits = 0;
	rig_receiver_start(&rig, 0);
	for (uint64_t at = 0; damaged_once(at, 0, step++); at += 61)
		hits++;
	cr_assert_gt(hits, 25u);
}

Test(replica, a_replica_killed_in_the_middle_gets_it_when_it_is_back)
{
	rig_receiver_start(&rig, 0);
	rig_sender_start(&rig, rig.port);
	rig_ship(&rig, "a", 1, 300000);
	struct gp_replica_receiver_status st = {0};
	while (st.bytes == 0) {
		rig_turn(&rig);
		gp_replica_receiver_status(rig.receiver, &st);
	}
	cr_assert_eq(rig.snapshots, 0u);
	gp_replica_receiver_destroy(rig.receiver);
	rig.receiver = NULL;
	cr_assert_eq(sample_stages(rig.to), 0u);
	rig_until(&rig, rig_status(&rig, "a").failures > 1);
	cr_assert_not(rig_status(&rig, "a").connected);
	rig_receiver_start(&rig, rig.port);
	rig_until(&rig, rig_status(&rig, "a").verified);
	rig_expect_replica(&rig, "a", 1, 300000);
}

Test(replica, a_primary_that_goes_leaves_no_half_snapshot)
{
	rig_receiver_start(&rig, 0);
	rig_sender_start(&rig, rig.port);
	rig_ship(&rig, "a", 1, 300000);
	rig_until(&rig, sample_stages(rig.to) == 1);
	gp_replica_sender_destroy(rig.sender);
	rig.sender = NULL;
	rig_until(&rig, sample_stages(rig.to) == 0);
	struct gp_replica_receiver_status st;
	gp_replica_receiver_status(rig.receiver, &st);
	cr_assert_eq(st.peers, 0u);
	cr_assert_not_null(strstr(st.last_error, "went away in the middle"), "%s", st.last_error);
	cr_assert_eq(rig_replica_count(&rig), 0u);
}

static void receiver_again(void)
{
	gp_replica_receiver_destroy(rig.receiver);
	rig_until(&rig, !rig_status(&rig, NULL).connected);
	rig_receiver_start(&rig, rig.port);
	rig_until(&rig, rig_status(&rig, NULL).connected);
}

Test(replica, a_replica_that_lost_its_disk_gets_the_last_one_again)
{
	rig_receiver_start(&rig, 0);
	rig_sender_start(&rig, rig.port);
	rig_ship(&rig, "a", 4, 5);
	rig_until(&rig, rig_status(&rig, "a").verified);
	receiver_again();
	cr_assert_eq(rig_status(&rig, "a").transfers, 1u, "it still holds it");
	sample_dir_remove(rig.to);
	receiver_again();
	rig_until(&rig, rig.snapshots == 2);
	rig_expect_replica(&rig, "a", 4, 5);
}

// A step that is written anew, as after going back to an older snapshot, and interrupted: what the
// replica holds has the same name and must not pass for it.
// Another node leads from step 4 on; what this one had written beyond it must not be the newest.
Test(replica, what_is_later_than_what_the_primary_ships_is_set_aside)
{
	struct gp_snapshot_list list;
	struct gp_snapshot_error err;
	struct sample s;
	rig_receiver_start(&rig, 0);
	for (uint32_t step = 3; step <= 6; step += 3) {
		sample_init(&s, SAMPLE_JOB, step, 5);
		cr_assert_eq(sample_write(rig.to, &s, NULL, &err), 0, "%s", err.text);
	}
	sample_init(&s, "other", 9, 5);
	cr_assert_eq(sample_write(rig.to, &s, NULL, &err), 0, "%s", err.text);
	rig_sender_start(&rig, rig.port);
	rig_ship(&rig, SAMPLE_JOB, 4, 5);
	rig_until(&rig, rig_status(&rig, SAMPLE_JOB).verified);
	rig_expect_replica(&rig, SAMPLE_JOB, 4, 5);
	cr_assert_eq(gp_snapshot_list(rig.to, NULL, &list, &err), 0);
	cr_assert_eq(list.count, 3u, "3 and 4, and that of another job");
	gp_snapshot_list_free(&list);
}

Test(replica, a_step_written_anew_is_shipped_also_over_a_cut)
{
	uint16_t port;
	rig_receiver_start(&rig, 0);
	struct relay *relay = relay_start(&rig, 100000, 0, &port);
	rig_sender_start(&rig, port);
	rig_ship(&rig, "a", 4, 5);
	rig_until(&rig, rig_status(&rig, "a").verified);
	rig_ship(&rig, "a", 4, 50000);
	rig_until(&rig, rig.snapshots == 2);
	cr_assert(relay_hit(relay));
	rig_until(&rig, !rig_status(&rig, "a").busy);
	rig_expect_replica(&rig, "a", 4, 50000);
	relay_stop(relay);
}

Test(replica, a_snapshot_spoiled_at_the_primary_is_not_sent)
{
	char path[PATH_MAX], file[PATH_MAX + 64];
	rig_receiver_start(&rig, 0);
	rig_sender_start(&rig, rig.port);
	rig_write(&rig, "a", 1, 5, path);
	snprintf(file, sizeof(file), "%s/params.safetensors", path);
	cr_assert_eq(truncate(file, 99), 0);
	cr_assert_eq(gp_replica_send(rig.sender, path, 1), 0);
	rig_until(&rig, rig_status(&rig, "a").failures == 1);
	cr_assert_not_null(strstr(rig_status(&rig, "a").last_error, "params.safetensors"));
	rig_ship(&rig, "a", 2, 5);
	rig_until(&rig, rig_status(&rig, "a").verified);
	cr_assert_eq(rig.snapshots, 1u);
}

Test(replica, what_is_no_snapshot_or_address_is_refused)
{
	struct gp_snapshot_error err;
	struct gp_replica_sender *s;
	static const char *const wrong[] = {"", "10.0.0.1", "localhost:1", "10.0.0.1:0", "1.2.3:x"};
	for (size_t i = 0; i < GP_ARRAY_SIZE(wrong); i++) {
		const struct gp_replica_sender_opts opts = {.peer = wrong[i], .product = "0"};
		cr_assert_eq(gp_replica_sender_create(rig.base, &opts, &s, &err), -EINVAL);
		cr_assert_not_null(strstr(err.text, "10.0.0.2:9750"), "%s", err.text);
	}
	const struct gp_replica_sender_opts v6 = {.peer = "[fd00::2]:9750", .product = "0"};
	cr_assert_eq(gp_replica_sender_create(rig.base, &v6, &s, &err), 0, "%s", err.text);
	gp_replica_sender_destroy(s);
	rig_sender_start(&rig, 9);
	cr_assert_eq(gp_replica_send(rig.sender, "/tmp/a-0000000001", 2), -EINVAL);
	cr_assert_eq(gp_replica_send(rig.sender, "/tmp/a", 0), -EINVAL);
}

Test(replica, a_port_in_use_says_what_to_do)
{
	struct gp_snapshot_error err;
	struct gp_replica_receiver *other;
	char listen[32];
	rig_receiver_start(&rig, 0);
	snprintf(listen, sizeof(listen), "127.0.0.1:%u", rig.port);
	const struct gp_replica_receiver_opts opts = {
		.listen = listen, .dir = rig.from, .product = "0.1.0"};
	cr_assert_eq(gp_replica_receiver_create(rig.base, &opts, &other, &err), -EADDRINUSE);
	cr_assert_not_null(strstr(err.text, listen));
	cr_assert_not_null(strstr(err.text, "another port"));
}
