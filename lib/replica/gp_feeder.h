// SPDX-License-Identifier: BSD-3-Clause
//
// The primary's side of synchronous replication, without I/O: it is told the decisions of each job
// whose gate is closed (gp_backup.h), sends them with the blocks that they commit, and learns how
// far the peer holds them.
//
//	taken	  told to the feeder
//	shipped	  read from the engine and written to the stream of now
//	held	  in the peer's image, says the peer
//	acked	  held, and acknowledged in the epoch of now (rule 2): the owner may release it
//	released  the owner has: the engine may forget those versions. What waited when the gate
//		  was closed anew is in the base, and is released when that is held
//
// Of an asynchronous job it is told cuts (gp_backup.h), one at a time: the next when the one before
// was released. A cut goes with the blocks that it changed and what ranks had committed and
// brought.
//
// Tables go likewise: a cut with the rows that it changed. Their base is read while cuts go on,
// which then go first and count as shipped.
//
// A job begins with a base. After a lost connection the feeder goes on with what the peer lacks, or
// sends a base made of what was released and then all decisions since: so what is not released must
// stay readable, and only what was shipped once may be released.
//
// Back-pressure: at most `window` decisions of a job wait for their release. Take from the engine's
// rings no more events than gp_feeder_room; the engine then makes no more of them, and its workers
// get no more credit.
//
// Owner and threads: whoever created it, the replicating thread; one at a time. No clock. Memory:
// at create `window` decisions a job; at a base 4 bytes a unit, 8 a block of an asynchronous job,
// 164 KiB of a job with tables and the names of the tensors; from the heap. Errors: -EPROTO (a
// gap), -ESTALE (a block is gone), -ENOMEM, with a text.
#ifndef GP_FEEDER_H
#define GP_FEEDER_H

#include <gp_backup.h>
#include <gp_image.h>
#include <gp_stream.h>

#define GP_FEEDER_WINDOW_DEFAULT 4096
#define GP_FEEDER_LOOKS_DEFAULT	 (64u << 10)

struct gp_feeder_opts {
	uint32_t jobs_count;   // job_idx of all calls is below it; at most GP_IMAGE_JOBS_MAX
	uint32_t window;       // decisions, 0 = GP_FEEDER_WINDOW_DEFAULT
	uint32_t digest_every; // generations divisible by it are compared, 0 = none
	uint64_t seed;	       // random in each life: names of bases
	// Blocks, and ranks' contributions to blocks, that one turn looks at to find what a cut
	// has; 0 = GP_FEEDER_LOOKS_DEFAULT.
	uint32_t looks_max;
	void *arg;
	// As gp_backup_block: a block at exactly this step; false: it is gone. Called from
	// gp_stream_turn.
	bool (*block)(void *arg, uint32_t job_idx, uint32_t block, uint32_t step,
		struct gp_backup_block *out);
	// As gp_backup_ranks and gp_backup_applied. NULL: no job is asynchronous.
	bool (*ranks)(
		void *arg, uint32_t job_idx, uint32_t generation, struct gp_backup_ranks *out);
	uint64_t (*applied)(
		void *arg, uint32_t job_idx, uint32_t generation, uint32_t rank, uint32_t first);
	// Jobs with tables: their rows are read from it (gp_backup_rows.h). NULL: there are none.
	const struct gp_engine *engine;
	// The peer holds everything through `decision`; `epoch` not 0: and acknowledged it as
	// backup of that leadership (acked). It goes only up on one connection. Called from
	// gp_stream_input; gp_feeder_released may be called from inside.
	void (*held)(void *arg, uint32_t job_idx, uint32_t decision, uint32_t epoch);
	// The generation differs at the peer, which has stopped. NULL: not told.
	void (*diverged)(
		void *arg, uint32_t job_idx, uint32_t step, uint64_t ours, uint64_t theirs);
};

int gp_feeder_create(struct gp_feeder **out, const struct gp_feeder_opts *opts) GP_MUST_CHECK;
void gp_feeder_destroy(struct gp_feeder *f); // takes NULL; the stream must have let go of it

// The epoch that this node is primary of, 0: none. Acknowledgements of others release nothing. The
// peer acknowledges what it holds anew in each epoch.
void gp_feeder_epoch(struct gp_feeder *f, uint32_t epoch);
uint32_t gp_feeder_epoch_of(const struct gp_feeder *f);

// A gate closed; `base` is as told there. Everything is copied. Replaces what the job was,
// at the peer too, which holds nothing of it until the new base is there; a backup holds what it
// has acknowledged until then. A new connection needs no new base. -ENOMEM, -EINVAL: no such
// layout.
int gp_feeder_base(struct gp_feeder *f, uint32_t job_idx, const struct gp_image_layout *layout,
	const struct gp_backup_base *base, struct gp_stream_error *err) GP_MUST_CHECK;
// How many events any of the jobs can still take.
uint32_t gp_feeder_room(const struct gp_feeder *f);
// The next decision. There must be room. -EPROTO: it does not follow.
int gp_feeder_decide(struct gp_feeder *f, uint32_t job_idx, const struct gp_decision *d,
	struct gp_stream_error *err) GP_MUST_CHECK;
// The owner has released everything through `decision`. -EINVAL: it was never shipped.
int gp_feeder_released(struct gp_feeder *f, uint32_t job_idx, uint32_t decision) GP_MUST_CHECK;
// The last turn of the stream ended because it had looked at enough, and has more to do: turn it
// again, after what else waits for the thread.
bool gp_feeder_goes_on(const struct gp_feeder *f);
// The gate is open: nothing of this job is fed any more.
void gp_feeder_drop(struct gp_feeder *f, uint32_t job_idx);
// Every job that has a base is in the peer's image, all but what is on its way; false without a
// connection. Then a peer is ready, and an offer may be made.
bool gp_feeder_ready(const struct gp_feeder *f);

struct gp_feeder_view {
	bool based;	    // the job is fed
	bool shipped_valid; // the base was sent on this connection: `shipped` counts
	bool held_valid;    // the peer has told of this connection: `held` counts
	bool base_held;	    // the base of now reached the peer, on this connection or before
	bool diverged;
	uint32_t taken, shipped, held, acked, released;
	uint32_t acked_epoch;	 // 0: nothing was
	uint32_t generation;	 // whole at `taken`
	uint32_t generation_out; // whole at `released`
	uint64_t unheld_bytes;	 // of data frames shipped and not held
	uint64_t bytes;		 // of blocks shipped since create, with repeats
	uint64_t bases;		 // sent since create
	uint64_t resumed;	 // connections that needed none
};
// False: no such job is fed.
bool gp_feeder_view(const struct gp_feeder *f, uint32_t job_idx, struct gp_feeder_view *v);

#endif
