// SPDX-License-Identifier: BSD-3-Clause
//
// A primary and a backup whose streams meet in two pipes that a test can cut at any byte.
#ifndef STREAM_RIG_H
#define STREAM_RIG_H

#include "history.h"

#define STREAM_JOBS_MAX 4

struct stream_side {
	struct gp_stream *stream;
	struct gp_stream_pipe out;
	struct gp_stream_hello hello; // ours
	uint32_t hellos, records, offers, wholes, pongs;
	struct gp_lead_record record, offer; // the last ones
	uint64_t whole, pong;
	struct gp_stream_error err;
};

struct stream_rig {
	struct stream_side primary, backup;
	struct gp_feeder *feeder;
	struct gp_follower *follower;
	struct gp_image *image;
	uint32_t jobs_count;
	struct history jobs[STREAM_JOBS_MAX];
	uint32_t acked[STREAM_JOBS_MAX];
	bool keep;	  // what is acknowledged is not released
	bool held_counts; // what is held may be released: a leadership without backup
	uint64_t random;
	uint32_t diverged_job, diverged_step; // told to the primary; job UINT32_MAX: not
	uint32_t diverged_here;		      // step told to the backup's owner
	uint64_t diverged_ours, diverged_theirs;
};

// Both ends exist; nothing is connected. `out_max` of the pipes, window and digests of the feeder.
struct stream_rig *stream_rig_new(
	uint32_t jobs_count, uint64_t seed, size_t out_max, uint32_t window, uint32_t digest_every);
void stream_rig_free(struct stream_rig *r);
void stream_connect(struct stream_rig *r);
void stream_cut(struct stream_rig *r);
// Gives job `i` a base of now.
void stream_base(struct stream_rig *r, uint32_t i);
// Decides up to `count` of job i; returns how many.
uint32_t stream_decide(struct stream_rig *r, uint32_t i, uint32_t count);
// Moves up to `max` bytes from `from` to `to`, and turns both. Fails the test on an error, unless
// `to->err` is wanted: then the error stays there and 0 is returned. Returns bytes moved.
size_t stream_move(
	struct stream_rig *r, struct stream_side *from, struct stream_side *to, size_t max);
// Until nothing moves any more.
void stream_run(struct stream_rig *r);
struct gp_feeder_view stream_fed(const struct stream_rig *r, uint32_t i);
struct gp_follower_view stream_followed(const struct stream_rig *r);

#endif
