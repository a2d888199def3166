// SPDX-License-Identifier: BSD-3-Clause
//
// Feeder and follower over a stream that breaks: what is acknowledged is in the image, whatever
// happens, and only in the epoch that both are in.
#include "stream_rig.h"

#include <criterion/criterion.h>

#include <errno.h>

TestSuite(stream, .timeout = 60);

#define EPOCH 5

static struct stream_rig *paired(uint32_t jobs, uint64_t seed)
{
	struct stream_rig *r = stream_rig_new(jobs, seed, 1 << 20, 256, 1);
	gp_feeder_epoch(r->feeder, EPOCH);
	gp_follower_epoch(r->follower, EPOCH);
	return r;
}

static void all_held(const struct stream_rig *r)
{
	for (uint32_t i = 0; i < r->jobs_count; i++) {
		cr_assert_eq(r->acked[i], r->jobs[i].decision);
		cr_assert_eq(stream_fed(r, i).held, r->jobs[i].decision);
		cr_assert_eq(stream_fed(r, i).unheld_bytes, 0);
		history_expect(&r->jobs[i], r->image, r->jobs[i].decision);
	}
}

Test(stream, what_is_decided_is_held)
{
	for (uint64_t seed = 0; seed < 18; seed++) {
		struct stream_rig *r = paired(3, seed);
		for (uint32_t i = 0; i < 3; i++)
			stream_base(r, i);
		stream_connect(r);
		for (uint32_t n = 0; n < 200; n++) {
			for (uint32_t i = 0; i < 3; i++)
				stream_decide(r, i, history_random(&r->random, 8));
			stream_run(r);
			all_held(r);
		}
		cr_assert(gp_feeder_ready(r->feeder));
		cr_assert_gt(stream_followed(r).digests, 0);
		cr_assert_eq(stream_fed(r, 0).bases, 1);
		stream_rig_free(r);
	}
}

// The connection is cut after any byte, in either direction; what was on the way is lost.
static void cut_and_go_on(uint64_t seed)
{
	struct stream_rig *r = paired(2, seed);
	uint32_t resumed = 0;
	bool lost = false; // the backup has forgotten everything once
	for (uint32_t i = 0; i < 2; i++)
		stream_base(r, i);
	stream_connect(r);
	for (uint32_t n = 0; n < 60; n++) {
		for (uint32_t i = 0; i < 2; i++)
			stream_decide(r, i, history_random(&r->random, 20));
		for (uint32_t k = history_random(&r->random, 6); k > 0; k--) {
			stream_move(r, &r->primary, &r->backup, history_random(&r->random, 9000));
			stream_move(r, &r->backup, &r->primary, history_random(&r->random, 300));
		}
		cr_assert_eq(r->primary.err.code, 0, "%s", r->primary.err.text);
		cr_assert_eq(r->backup.err.code, 0, "%s", r->backup.err.text);
		for (uint32_t i = 0; i < 2; i++) {
			struct gp_image_view v;
			if (!gp_image_find(r->image, r->jobs[i].layout.id, &v) || !v.based) {
				cr_assert(r->acked[i] == 0 || lost);
				continue;
			}
			history_expect(&r->jobs[i], r->image, v.point.decision);
			cr_assert(!gp_before(v.point.decision, r->acked[i]));
		}
		if (history_random(&r->random, 3) == 0) {
			stream_cut(r);
			if (history_random(&r->random, 8) == 0) {
				gp_follower_reset(r->follower);
				lost = true;
			}
			stream_connect(r);
		}
	}
	stream_run(r);
	all_held(r);
	for (uint32_t i = 0; i < 2; i++)
		resumed += (uint32_t)stream_fed(r, i).resumed;
	cr_assert_gt(resumed, 0, "seed %llu", (unsigned long long)seed);
	stream_rig_free(r);
}

Test(stream, goes_on_after_a_cut_at_any_byte)
{
	for (uint64_t seed = 0; seed < 60; seed++)
		cut_and_go_on(seed);
}

Test(stream, a_base_in_the_middle_of_a_step)
{
	for (uint64_t seed = 0; seed < 12; seed++) {
		struct stream_rig *r = paired(1, 12 * seed + 2 * (seed & 1) + 1);
		struct gp_decision d;
		// The gate was open until now.
		while (r->jobs[0].decision < 60 || r->jobs[0].units_ahead == 0) {
			history_release(&r->jobs[0], r->jobs[0].decision);
			cr_assert(history_decide(&r->jobs[0], &d));
			if (r->jobs[0].layout.atomicity == GP_ATOM_STEP && d.number > 60)
				break;
		}
		history_release(&r->jobs[0], r->jobs[0].decision);
		stream_base(r, 0);
		stream_connect(r);
		stream_run(r);
		all_held(r);
		cr_assert_gt(stream_decide(r, 0, 50), 0);
		stream_run(r);
		all_held(r);
		// A second closing of the gate, on the same connection, for a peer that is no
		// backup.
		gp_follower_epoch(r->follower, 0);
		stream_run(r);
		stream_base(r, 0);
		stream_run(r);
		gp_follower_epoch(r->follower, EPOCH);
		stream_run(r);
		all_held(r);
		cr_assert_eq(stream_fed(r, 0).bases, 2);
		stream_rig_free(r);
	}
}

// A new base of a job, cut off at any byte: what was acknowledged is there at every moment.
static void renew(uint64_t seed)
{
	struct stream_rig *r = paired(1, seed);
	struct gp_image_view v;
	stream_base(r, 0);
	stream_connect(r);
	while (r->jobs[0].decision < 60)
		if (stream_decide(r, 0, 9) + history_random(&r->random, 2) > 0)
			stream_run(r);
	uint32_t acked = r->acked[0];
	stream_decide(r, 0, history_random(&r->random, 5));
	stream_base(r, 0);
	for (uint32_t k = 0; k < 20; k++) {
		stream_move(r, &r->primary, &r->backup, history_random(&r->random, 4000));
		cr_assert_eq(r->backup.err.code, 0, "%s", r->backup.err.text);
		cr_assert(gp_image_find(r->image, r->jobs[0].layout.id, &v) && v.based);
		cr_assert(!gp_before(v.point.decision, acked));
		history_expect(&r->jobs[0], r->image, v.point.decision);
		stream_move(r, &r->backup, &r->primary, history_random(&r->random, 300));
		if (history_random(&r->random, 6) > 0)
			continue;
		stream_cut(r);
		stream_connect(r);
	}
	stream_run(r);
	all_held(r);
	cr_assert_gt(stream_fed(r, 0).bases, 1);
	cr_assert_gt(stream_decide(r, 0, 20), 0);
	stream_run(r);
	all_held(r);
	stream_rig_free(r);
}

Test(stream, a_backup_does_not_give_up_what_it_acknowledged)
{
	for (uint64_t seed = 0; seed < 60; seed++)
		renew(seed);
}

Test(stream, only_the_epoch_of_both_is_acknowledged)
{
	struct stream_rig *r = stream_rig_new(1, 1, 1 << 20, 256, 0);
	stream_base(r, 0);
	stream_connect(r);
	stream_decide(r, 0, 3);
	stream_run(r);
	cr_assert_eq(stream_fed(r, 0).held, 3, "it holds it");
	cr_assert_eq(stream_fed(r, 0).acked_epoch, 0, "and has promised nothing");
	gp_feeder_epoch(r->feeder, 3);
	stream_run(r);
	cr_assert_eq(stream_fed(r, 0).acked_epoch, 0);
	gp_follower_epoch(r->follower, 2);
	stream_run(r);
	cr_assert_eq(stream_fed(r, 0).acked_epoch, 0, "a backup of another leadership");
	gp_follower_epoch(r->follower, 3);
	stream_run(r);
	cr_assert_eq(stream_fed(r, 0).acked_epoch, 3);
	cr_assert_eq(r->acked[0], 3, "what it held before is acknowledged now");

	// A new epoch: nothing counts before the backup is in it too.
	gp_feeder_epoch(r->feeder, 4);
	stream_decide(r, 0, 2);
	stream_run(r);
	cr_assert_eq(stream_fed(r, 0).held, 5);
	cr_assert_eq(r->acked[0], 3);
	gp_follower_epoch(r->follower, 4);
	stream_run(r);
	cr_assert_eq(r->acked[0], 5);
	cr_assert_eq(stream_fed(r, 0).acked_epoch, 4);
	stream_rig_free(r);
}

// A heartbeat says the new epoch in its head, and does not reach the follower.
Test(stream, a_heartbeat_first_does_not_hide_a_new_epoch)
{
	struct stream_rig *r = paired(1, 1);
	struct gp_stream_error err;
	stream_base(r, 0);
	stream_connect(r);
	stream_decide(r, 0, 4);
	stream_run(r);
	cr_assert_eq(stream_fed(r, 0).acked_epoch, EPOCH);
	gp_feeder_epoch(r->feeder, EPOCH + 1);
	gp_follower_epoch(r->follower, EPOCH + 1);
	cr_assert_eq(gp_stream_ping(r->primary.stream, 1, &err), 0);
	stream_run(r);
	cr_assert_eq(stream_fed(r, 0).acked_epoch, EPOCH + 1);
	stream_rig_free(r);
}

Test(stream, an_acknowledgement_of_an_old_epoch_releases_nothing)
{
	struct stream_rig *r = paired(1, 1);
	stream_base(r, 0);
	stream_connect(r);
	stream_run(r);
	stream_decide(r, 0, 4);
	cr_assert_gt(stream_move(r, &r->primary, &r->backup, SIZE_MAX), 0);
	gp_feeder_epoch(r->feeder, EPOCH + 1); // while it is under way
	cr_assert_gt(stream_move(r, &r->backup, &r->primary, SIZE_MAX), 0);
	cr_assert_eq(stream_fed(r, 0).held, 4);
	cr_assert_eq(r->acked[0], 0);
	stream_rig_free(r);
}

Test(stream, a_full_sink_and_a_full_window_are_waited_for)
{
	struct stream_rig *r = stream_rig_new(2, 7, 1, 8, 1);
	gp_feeder_epoch(r->feeder, EPOCH);
	gp_follower_epoch(r->follower, EPOCH);
	for (uint32_t i = 0; i < 2; i++)
		stream_base(r, i);
	stream_connect(r);
	for (uint32_t n = 0; n < 300; n++) {
		for (uint32_t i = 0; i < 2; i++)
			stream_decide(r, i, 20);
		cr_assert_leq(gp_stream_pipe_len(&r->primary.out), 1 + GP_STREAM_FRAME_MAX);
		stream_move(r, &r->primary, &r->backup, SIZE_MAX);
		stream_move(r, &r->backup, &r->primary, SIZE_MAX);
	}
	r->keep = true;
	stream_run(r);
	while (stream_decide(r, 0, 1) > 0 && stream_fed(r, 0).taken - stream_fed(r, 0).released < 8)
		;
	stream_run(r);
	cr_assert_eq(gp_feeder_released(r->feeder, 0, stream_fed(r, 0).taken + 1), -EINVAL);
	stream_rig_free(r);
}

Test(stream, a_gate_that_opens_ends_a_job)
{
	struct gp_feeder_view v;
	struct stream_rig *r = paired(2, 3);
	stream_base(r, 0);
	stream_base(r, 1);
	stream_connect(r);
	stream_run(r);
	gp_follower_epoch(r->follower, 0); // the leadership has no backup any more
	gp_feeder_drop(r->feeder, 0);
	cr_assert_not(gp_feeder_view(r->feeder, 0, &v));
	cr_assert_eq(gp_feeder_released(r->feeder, 0, 1), -EINVAL);
	cr_assert(gp_feeder_ready(r->feeder));
	stream_decide(r, 1, 5);
	stream_run(r);
	cr_assert_eq(stream_fed(r, 1).held, r->jobs[1].decision);
	stream_base(r, 0);
	cr_assert_not(gp_feeder_ready(r->feeder));
	stream_run(r);
	cr_assert(gp_feeder_ready(r->feeder));
	stream_rig_free(r);
}

// What the primary does not feed any more is not taken for what it has.
Test(stream, a_job_that_is_not_fed_any_more_is_void)
{
	struct gp_image_view v;
	struct gp_restore restore;
	struct stream_rig *r = paired(2, 3);
	for (uint32_t i = 0; i < 2; i++)
		stream_base(r, i);
	stream_connect(r);
	while (r->jobs[0].generation == GP_IMAGE_NONE || r->jobs[0].generation == 0) {
		stream_decide(r, 0, 5);
		stream_run(r);
	}
	cr_assert_eq(gp_image_restore(r->image, r->jobs[0].layout.id, &restore), 0);
	uint64_t memory = gp_image_memory(r->image);
	gp_feeder_drop(r->feeder, 0);
	stream_cut(r);
	stream_connect(r);
	while (stream_move(r, &r->backup, &r->primary, SIZE_MAX) +
			stream_move(r, &r->primary, &r->backup, SIZE_MAX) >
		0)
		;
	cr_assert_eq(r->backup.err.code, 0, "as backup it holds what it has promised");
	cr_assert_eq(gp_image_restore(r->image, r->jobs[0].layout.id, &restore), 0);

	gp_follower_epoch(r->follower, 0);
	stream_cut(r);
	stream_connect(r);
	stream_run(r);
	cr_assert_eq(gp_image_restore(r->image, r->jobs[0].layout.id, &restore), -ENOENT);
	cr_assert(gp_image_find(r->image, r->jobs[1].layout.id, &v) && v.based);
	cr_assert_eq(stream_followed(r).jobs_count, 1);
	cr_assert_eq(gp_image_memory(r->image), memory, "kept for its next base");
	gp_follower_epoch(r->follower, EPOCH);
	stream_base(r, 0);
	stream_run(r);
	all_held(r);
	stream_rig_free(r);
}

// What operators are told of it: begun is not held, and a lost connection takes nothing away.
Test(stream, a_base_is_held_when_the_peer_says_so)
{
	struct stream_rig *r = stream_rig_new(1, 1, 1 << 20, 256, 0);
	stream_base(r, 0);
	stream_connect(r);
	while (!stream_fed(r, 0).shipped_valid) {
		stream_move(r, &r->backup, &r->primary, SIZE_MAX);
		stream_move(r, &r->primary, &r->backup, 1000);
		cr_assert_not(stream_fed(r, 0).base_held);
	}
	stream_move(r, &r->primary, &r->backup, SIZE_MAX);
	cr_assert_not(stream_fed(r, 0).base_held, "the answer is on its way");
	stream_run(r);
	cr_assert(stream_fed(r, 0).base_held);
	stream_cut(r);
	cr_assert(stream_fed(r, 0).base_held && !stream_fed(r, 0).held_valid);
	stream_connect(r);
	stream_run(r);
	cr_assert_eq(stream_fed(r, 0).resumed, 1);
	cr_assert(stream_fed(r, 0).base_held);
	gp_follower_reset(r->follower);
	stream_move(r, &r->backup, &r->primary, SIZE_MAX);
	cr_assert_not(stream_fed(r, 0).base_held, "the peer has lost it");
	stream_run(r);
	cr_assert(stream_fed(r, 0).base_held);
	stream_base(r, 0);
	cr_assert_not(stream_fed(r, 0).base_held, "another base");
	stream_run(r);
	cr_assert(stream_fed(r, 0).base_held);
	stream_rig_free(r);
}

Test(stream, an_offer_waits_for_what_the_follower_lacks)
{
	struct stream_rig *r = stream_rig_new(1, 1, 1 << 20, 256, 0);
	const struct gp_lead_record to = {.epoch = 4, .primary = 0, .backup = 1, .nonce = 99};
	struct gp_stream_error err;
	stream_base(r, 0);
	stream_connect(r);
	stream_run(r);
	cr_assert(gp_feeder_ready(r->feeder));
	gp_follower_reset(r->follower); // while the offer is on its way
	cr_assert_eq(gp_stream_offer(r->primary.stream, &to, &err), 0);
	stream_run(r);
	cr_assert_eq(r->backup.offers, 0);
	cr_assert(gp_feeder_ready(r->feeder));
	cr_assert_eq(gp_stream_offer(r->primary.stream, &to, &err), 0);
	stream_run(r);
	cr_assert_eq(r->backup.offers, 1);
	stream_rig_free(r);
}

// A primary without a backup releases what it has shipped; a slow peer then needs a new base.
Test(stream, what_was_released_without_the_peer_makes_a_base)
{
	struct stream_rig *r = stream_rig_new(1, 1, 1 << 20, 256, 1);
	r->held_counts = true;
	stream_base(r, 0);
	stream_connect(r);
	stream_run(r);
	cr_assert_gt(stream_decide(r, 0, 3), 0);
	stream_move(r, &r->backup, &r->primary, SIZE_MAX);
	struct gp_stream_error err;
	cr_assert_eq(gp_stream_turn(r->primary.stream, &err), 0);
	uint32_t shipped = stream_fed(r, 0).shipped;
	cr_assert_eq(shipped, r->jobs[0].decision);
	cr_assert_eq(gp_feeder_released(r->feeder, 0, shipped), 0);
	history_release(&r->jobs[0], shipped);
	stream_cut(r); // before any of it arrived
	stream_connect(r);
	stream_run(r);
	cr_assert_eq(stream_fed(r, 0).bases, 2);
	history_expect(&r->jobs[0], r->image, r->jobs[0].decision);
	stream_rig_free(r);
}

Test(stream, a_block_that_is_gone_is_an_error)
{
	struct stream_rig *r = paired(1, 1);
	struct gp_stream_error err;
	stream_base(r, 0);
	stream_connect(r);
	stream_run(r);
	while (r->jobs[0].generation == GP_IMAGE_NONE) {
		stream_decide(r, 0, 1);
		stream_run(r);
	}
	stream_decide(r, 0, 12);
	memset(r->jobs[0].steps, 0x7f, sizeof(r->jobs[0].steps));
	memset(r->jobs[0].released_steps, 0x7f, sizeof(r->jobs[0].released_steps));
	cr_assert_eq(gp_stream_turn(r->primary.stream, &err), -ESTALE);
	cr_assert(strstr(err.text, "is gone"), "%s", err.text);
	stream_rig_free(r);
}

static void move_frame(struct stream_rig *r)
{
	struct gp_stream_error err;
	size_t size;
	cr_assert_eq(gp_stream_turn(r->primary.stream, &err), 0);
	cr_assert_eq(gp_stream_frame_size(gp_stream_pipe_data(&r->primary.out), GP_STREAM_HEAD_SIZE,
			     &size, &err),
		0);
	cr_assert_eq(stream_move(r, &r->primary, &r->backup, size), size);
}

// The primary's memory changes between two readings of a block: the backup has the first one, from
// before a cut, the digest is of the second one.
Test(stream, a_difference_stops_the_replica_and_is_told)
{
	struct stream_rig *r = paired(1, 5);
	const struct history *h = &r->jobs[0];
	cr_assert_eq(h->layout.atomicity, GP_ATOM_STEP);
	stream_base(r, 0);
	stream_connect(r);
	stream_run(r);
	while (stream_followed(r).digests == 0) {
		stream_decide(r, 0, 1);
		stream_run(r);
	}
	uint32_t before = h->generation;
	while (h->generation == before)
		stream_decide(r, 0, 1);
	move_frame(r);
	stream_cut(r);
	r->jobs[0].poisoned = 3;
	stream_connect(r);
	stream_run(r);
	cr_assert_eq(r->diverged_here, h->generation);
	cr_assert_eq(r->diverged_job, 0);
	cr_assert_eq(r->diverged_step, h->generation);
	cr_assert_eq(r->diverged_theirs, history_digest(h, h->generation));
	cr_assert_neq(r->diverged_ours, r->diverged_theirs);
	cr_assert(stream_fed(r, 0).diverged && stream_followed(r).diverged);
	cr_assert_eq(stream_followed(r).diverged_id, h->layout.id);
	cr_assert_not(gp_feeder_ready(r->feeder));

	// It takes and promises nothing more, on this connection and the next.
	uint32_t acked = r->acked[0];
	for (uint32_t n = 0; n < 2; n++) {
		stream_decide(r, 0, 3);
		stream_run(r);
		cr_assert_eq(r->acked[0], acked);
		stream_cut(r);
		stream_connect(r);
	}
	r->jobs[0].poisoned = UINT32_MAX;
	gp_follower_reset(r->follower);
	stream_run(r);
	all_held(r);
	stream_rig_free(r);
}

Test(stream, hello_records_offers_and_heartbeats_arrive)
{
	struct stream_rig *r = paired(1, 1);
	struct gp_stream_error err;
	const struct gp_lead_record record = {.epoch = 4, .primary = 0, .backup = 1, .nonce = 99};
	const struct gp_lead_record alone = {
		.epoch = 5, .primary = 1, .backup = GP_LEAD_NODE_NONE, .nonce = 98};
	cr_assert_eq(gp_stream_ping(r->primary.stream, 1, &err), -ENOTCONN);
	r->primary.hello.has_record = true;
	r->primary.hello.record = record;
	r->primary.hello.beat_to = (struct gp_addr){
		.ip = {[10] = 0xff, 0xff, 10, 1, 2, 3}, .port = 9700, .mac = {2, 3, 4, 5, 6, 7}};
	r->primary.hello.beat_cookie = UINT64_C(0xfedcba9876543210);
	stream_connect(r);
	cr_assert_eq(gp_stream_ping(r->primary.stream, 1, &err), -ENOTCONN, "not greeted yet");
	stream_run(r);
	struct gp_stream_view v;
	gp_stream_view(r->backup.stream, &v);
	cr_assert_eq(r->backup.hellos, 1);
	cr_assert_str_eq(v.peer.product, "test 1.0");
	cr_assert_eq(v.peer.life, 77);
	cr_assert(v.peer.holding && v.peer.has_record);
	cr_assert(gp_addr_equal(&v.peer.beat_to, &r->primary.hello.beat_to));
	cr_assert_arr_eq(v.peer.beat_to.mac, r->primary.hello.beat_to.mac, 6);
	cr_assert_eq(v.peer.beat_cookie, UINT64_C(0xfedcba9876543210));
	cr_assert(gp_lead_record_equal(&v.peer.record, &record));
	cr_assert_eq(gp_stream_ping(r->primary.stream, 12345, &err), 0);
	cr_assert_eq(gp_stream_record(r->backup.stream, &alone, &err), 0);
	cr_assert_eq(gp_stream_offer(r->primary.stream, &record, &err), 0);
	cr_assert_eq(gp_stream_whole(r->backup.stream, 99, &err), 0);
	stream_run(r);
	cr_assert_eq(r->primary.pong, 12345);
	cr_assert(gp_lead_record_equal(&r->primary.record, &alone));
	cr_assert(gp_lead_record_equal(&r->backup.offer, &record));
	cr_assert_eq(r->primary.whole, 99);
	cr_assert_eq(r->primary.wholes + r->backup.offers + r->primary.records, 3);
	stream_rig_free(r);
}

// An offer comes after all that was sent before: when it is seen, that is in the image.
Test(stream, an_offer_comes_after_the_data)
{
	struct stream_rig *r = stream_rig_new(1, 1, 1 << 20, 256, 0);
	const struct gp_lead_record to = {.epoch = 4, .primary = 0, .backup = 1, .nonce = 99};
	struct gp_stream_error err;
	stream_base(r, 0);
	stream_connect(r);
	stream_run(r);
	cr_assert_gt(stream_decide(r, 0, 5), 0);
	cr_assert_eq(gp_stream_turn(r->primary.stream, &err), 0);
	cr_assert_eq(gp_stream_offer(r->primary.stream, &to, &err), 0);
	while (r->backup.offers == 0)
		move_frame(r);
	history_expect(&r->jobs[0], r->image, r->jobs[0].decision);
	stream_rig_free(r);
}

// The first frames of a job wait in the primary's pipe.
static struct stream_rig *begun(void)
{
	struct stream_rig *r = paired(1, 1);
	stream_base(r, 0);
	stream_connect(r);
	stream_move(r, &r->backup, &r->primary, SIZE_MAX);
	stream_move(r, &r->primary, &r->backup, SIZE_MAX);
	stream_move(r, &r->backup, &r->primary, SIZE_MAX);
	return r;
}

Test(stream, damage_of_any_byte_is_noticed)
{
	for (uint32_t n = 0; n < 400; n++) {
		struct stream_rig *r = begun();
		size_t len = gp_stream_pipe_len(&r->primary.out);
		cr_assert_gt(len, 400);
		size_t at = history_random(&r->random, (uint32_t)len) * (n + 1) % len;
		r->primary.out.mem[r->primary.out.from + at] ^= (uint8_t)(1u << n % 8);
		for (uint32_t k = 0; k < 20 && r->backup.err.code == 0; k++)
			stream_move(r, &r->primary, &r->backup, SIZE_MAX);
		// A length that grew waits for what never comes.
		if (r->backup.err.code == 0)
			cr_assert_gt(gp_stream_pipe_len(&r->primary.out), 0, "byte %zu", at);
		else
			cr_assert_eq(r->backup.err.code, -EPROTO);
		stream_rig_free(r);
	}
}

Test(stream, frames_lost_or_doubled_are_noticed)
{
	for (uint32_t doubled = 0; doubled < 2; doubled++) {
		struct stream_rig *r = begun();
		struct gp_stream_error err;
		size_t size, used;
		const uint8_t *at = gp_stream_pipe_data(&r->primary.out);
		cr_assert_eq(gp_stream_frame_size(at, GP_STREAM_HEAD_SIZE, &size, &err), 0);
		if (doubled)
			cr_assert_eq(gp_stream_input(r->backup.stream, at, size, &used, &err), 0);
		int rc = doubled ? gp_stream_input(r->backup.stream, at, size, &used, &err)
				 : gp_stream_input(r->backup.stream, at + size,
					   gp_stream_pipe_len(&r->primary.out) - size, &used, &err);
		cr_assert_eq(rc, -EPROTO);
		cr_assert(strstr(err.text, "damaged"), "%s", err.text);
		stream_rig_free(r);
	}
}

Test(stream, a_feeder_that_comes_later_is_told_what_the_peer_holds)
{
	struct stream_rig *r = paired(1, 1);
	gp_stream_set_feeder(r->primary.stream, NULL);
	stream_connect(r);
	stream_run(r);
	gp_stream_set_feeder(r->primary.stream, r->feeder);
	stream_base(r, 0);
	stream_decide(r, 0, 10);
	stream_run(r);
	all_held(r);
	// And a follower that comes later asks.
	gp_stream_set_follower(r->backup.stream, NULL);
	stream_decide(r, 0, 3);
	stream_run(r);
	cr_assert_lt(r->acked[0], r->jobs[0].decision);
	gp_stream_set_follower(r->backup.stream, r->follower);
	stream_run(r);
	all_held(r);
	gp_follower_reset(r->follower);
	stream_run(r);
	all_held(r);
	stream_rig_free(r);
}

Test(stream, other_versions_and_programs_are_named)
{
	struct gp_stream_error err;
	size_t size;
	uint8_t head[GP_STREAM_HEAD_SIZE] = "GPST\6\0\1\0";
	cr_assert_eq(gp_stream_frame_size(head, 3, &size, &err), 0);
	cr_assert_eq(size, 0);
	cr_assert_eq(gp_stream_frame_size(head, sizeof(head), &size, &err), 0);
	cr_assert_eq(size, GP_STREAM_HEAD_SIZE + GP_STREAM_SUM_SIZE);
	head[4] = 9;
	cr_assert_eq(gp_stream_frame_size(head, sizeof(head), &size, &err), -EPROTO);
	cr_assert(strstr(err.text, "version 9"), "%s", err.text);
	head[0] = 'x';
	cr_assert_eq(gp_stream_frame_size(head, sizeof(head), &size, &err), -EPROTO);
	cr_assert(strstr(err.text, "magic"), "%s", err.text);
	memcpy(head, "\x16\x03\x01", 3);
	cr_assert_eq(gp_stream_frame_size(head, 3, &size, &err), -EPROTO);
	cr_assert(strstr(err.text, "TLS"), "%s", err.text);
}
