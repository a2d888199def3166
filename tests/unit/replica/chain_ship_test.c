// SPDX-License-Identifier: BSD-3-Clause
//
// Incremental snapshots on their way to the replica.
#include "../snapshot/chain.h"
#include "rig.h"

#include <gp_snapshot_dir.h>

#include <criterion/criterion.h>

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

TestSuite(chain_ship, .init = setup, .fini = teardown, .timeout = 60);

static void ship(uint32_t step)
{
	cr_assert_eq(gp_replica_send(rig.sender, chain_path(rig.from, step, NULL), step), 0);
}

static void expect_at_replica(uint32_t step, uint32_t depth)
{
	struct gp_snapshot *snap;
	struct gp_snapshot_error err = {0};
	cr_assert_eq(
		gp_snapshot_open(chain_path(rig.to, step, NULL), &snap, &err), 0, "%s", err.text);
	cr_assert(chain_same(snap, step));
	cr_assert_eq(gp_snapshot_form(snap)->depth, depth);
	gp_snapshot_close(snap);
}

static bool verified(uint32_t step)
{
	struct gp_replica_status st = rig_status(&rig, SAMPLE_JOB);
	return st.verified && st.last_step_verified == step;
}

static void history(uint32_t first, uint32_t last, uint32_t level)
{
	for (uint32_t step = first; step <= last; step++)
		chain_write(rig.from, step, step > 1 ? step - 1 : 0, level);
}

Test(chain_ship, a_chain_arrives_from_its_full_one_up)
{
	rig_receiver_start(&rig, 0);
	rig_sender_start(&rig, rig.port);
	history(1, 5, 0);
	ship(5);
	rig_until(&rig, verified(5));
	expect_at_replica(5, 4);
	cr_assert_eq(rig.snapshots, 5u);
	// The next one builds on what is there: one transfer.
	history(6, 6, 3);
	ship(6);
	rig_until(&rig, verified(6));
	expect_at_replica(6, 5);
	cr_assert_eq(rig_status(&rig, SAMPLE_JOB).transfers, 6u);
}

Test(chain_ship, a_new_sender_goes_on_from_what_the_replica_holds)
{
	rig_receiver_start(&rig, 0);
	rig_sender_start(&rig, rig.port);
	history(1, 3, 3);
	ship(3);
	rig_until(&rig, verified(3));
	gp_replica_sender_destroy(rig.sender);
	rig_sender_start(&rig, rig.port);
	rig_until(&rig, rig_status(&rig, NULL).connected);
	history(4, 5, 3);
	ship(5);
	rig_until(&rig, verified(5));
	cr_assert_eq(rig_status(&rig, SAMPLE_JOB).transfers, 2u, "4 and 5");
	expect_at_replica(5, 4);
}

Test(chain_ship, a_replica_that_lost_its_disk_gets_all_of_it)
{
	rig_receiver_start(&rig, 0);
	rig_sender_start(&rig, rig.port);
	history(1, 3, 0);
	ship(3);
	rig_until(&rig, verified(3));
	gp_replica_receiver_destroy(rig.receiver);
	rig.receiver = NULL;
	sample_dir_remove(rig.to);
	rig_until(&rig, !rig_status(&rig, NULL).connected);
	rig_receiver_start(&rig, rig.port);
	rig_until(&rig, rig.snapshots == 6);
	expect_at_replica(3, 2);
}

// The replica's newest looks the same but is another one: what builds on it is refused there.
Test(chain_ship, a_base_that_is_not_the_same_is_shipped_again)
{
	chain_write(rig.to, 1, 0, 3); // same step and digest, other bytes
	rig_receiver_start(&rig, 0);
	rig_sender_start(&rig, rig.port);
	rig_until(&rig, rig_status(&rig, NULL).connected);
	history(1, 2, 0);
	ship(2);
	rig_until(&rig, verified(2));
	expect_at_replica(2, 1);
	cr_assert_gt(rig_status(&rig, SAMPLE_JOB).failures, 0u);
}

Test(chain_ship, a_broken_chain_is_not_shipped_and_the_next_full_one_is)
{
	rig_receiver_start(&rig, 0);
	rig_sender_start(&rig, rig.port);
	history(1, 3, 0);
	cr_assert_eq(unlink(chain_path(rig.from, 2, "manifest.json")), 0);
	ship(3);
	rig_until(&rig, rig_status(&rig, SAMPLE_JOB).failures == 1);
	cr_assert_not_null(strstr(rig_status(&rig, NULL).last_error, "run-1-0000000002"));
	chain_write(rig.from, 4, 0, 0);
	ship(4);
	rig_until(&rig, verified(4));
	expect_at_replica(4, 0);
}

Test(chain_ship, keep_at_the_replica_spares_bases)
{
	rig_receiver_start(&rig, 0);
	rig_sender_start(&rig, rig.port);
	history(1, 8, 0);
	ship(8);
	rig_until(&rig, verified(8));
	for (uint32_t step = 1; step <= 8; step++)
		expect_at_replica(step, step - 1);
}
