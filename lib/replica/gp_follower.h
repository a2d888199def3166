// SPDX-License-Identifier: BSD-3-Clause
//
// The backup's side of synchronous replication, without I/O: puts what the primary's feeder sends
// into an image (gp_image.h) and tells how far it holds it.
//
// It acknowledges only in its own epoch (rule 2): while the owner has named the epoch that this
// node is backup of, and the primary's frames are of the same. Otherwise it tells what it holds,
// which releases nothing. One acknowledgement of all jobs goes out for each gp_stream_turn. What it
// has acknowledged as backup it holds until a new base of the job is complete.
//
// The primary's digest of a generation is compared with the image's. A difference stops it for
// good: nothing more is taken or acknowledged, the owner and the primary are told job and
// generation, and only gp_follower_reset, which forgets the image, begins anew.
//
// Of a cut of tables, which may have brought millions of rows, a turn puts so many in their places;
// until all are it takes nothing more from the stream, and acknowledges the cut then.
//
// For a takeover: take it off its stream, drop it, go on with the image (gp_image_restore).
//
// Owner and threads: whoever created it; one at a time. No clock. Memory: its object; the image is
// the owner's and has to live as long.
#ifndef GP_FOLLOWER_H
#define GP_FOLLOWER_H

#include <gp_image.h>
#include <gp_stream.h>

#define GP_FOLLOWER_ROWS_DEFAULT 8192 // some 1 ms

struct gp_follower_opts {
	struct gp_image *image;
	uint32_t rows_max; // of a cut, that one turn puts in their places; 0:
			   // GP_FOLLOWER_ROWS_DEFAULT
	void *arg;
	// The generation differs from the primary's. NULL: not told.
	void (*diverged)(void *arg, uint16_t id, uint32_t step, uint64_t ours, uint64_t theirs);
};

int gp_follower_create(struct gp_follower **out, const struct gp_follower_opts *opts) GP_MUST_CHECK;
void gp_follower_destroy(struct gp_follower *f); // takes NULL; the stream must have let go of it

// The epoch that this node is backup of; 0: none, it acknowledges nothing.
void gp_follower_epoch(struct gp_follower *f, uint32_t epoch);
// Forgets the image; asks for bases.
void gp_follower_reset(struct gp_follower *f);
// It ended its turn before a cut was settled: give it another one (gp_stream_turn), and then the
// input that it did not take.
bool gp_follower_goes_on(const struct gp_follower *f);
// All that the feeder has sent of its jobs is in the image, and no job is begun and incomplete.
bool gp_follower_is_whole(const struct gp_follower *f);

struct gp_follower_view {
	bool connected; // a stream feeds it
	bool diverged;
	uint16_t diverged_id;
	uint32_t diverged_step;
	uint32_t jobs_count;   // in the image
	uint32_t jobs_based;   // of them complete
	uint64_t decisions;    // taken since create
	uint64_t blocks;       // the same
	uint64_t digests;      // compared and equal
	uint32_t epoch_sender; // of the last frame
};
void gp_follower_view(const struct gp_follower *f, struct gp_follower_view *v);

#endif
