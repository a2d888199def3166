// SPDX-License-Identifier: BSD-3-Clause
//
// The backup's image of jobs: what the primary has committed, in plain memory, so that an engine
// can go on from it.
//
// For each job the image keeps, of every block, two generations of values, optimizer state and
// weight: what its unit committed last, and either the one before or the one that is on its way.
// Units of a job are at most one step apart, so between the two lies a whole generation G, and the
// units that are at G + 1 already (`ahead`). It also keeps the number of the last decision and the
// last view.
//
//	base	  begins a job anew: its layout and where its units are; then their blocks, then
//		  gp_image_base_end. Until then the job has nothing to restore.
//	blocks	  of the step after the unit's: staged, no reader sees them
//	decide	  a commit makes the staged blocks of its unit the newest, all or none of them
//
// Asynchronous jobs, after their initial parameters: the image is brought from cut to cut
// (gp_backup.h). Of each it has, beside the blocks, how many updates each has had, and what each
// rank had committed and brought; the blocks that the next cut changed are staged, and count with
// its decision, together with that of ranks.
//
//	blocks	  of the next cut: what it changed
//	ranks	  and `applied`: what ranks had committed and brought when it was made
//	decide	  the cut: all of it counts, or is refused when anything lacks
//
// Jobs with tables likewise; instead of blocks come the rows that a cut changed, and how many rows
// there are then with the sum of their digests. Cuts go on while their base comes: it is complete
// when every row came once, and it is then what the last of those cuts was.
//
//	rows	  that a cut made, changed or dropped; or of the base
//	tally	  what that makes of the tables: the image compares
//
// A decision or block that was there before is ignored; one that does not follow is refused by
// name. A base drops what was staged. What a view ends was never sent: only committed blocks are.
//
// Owner and threads: whoever created it; one thread at a time. No clock, socket or file.
// Memory: from `take` (zeroed, aligned to 64 bytes) and `give`, never more than `memory_max`; a job
// takes 2 x (1 + states) x 4 bytes an element, 17 a block, 8 a unit, some 300 a tensor; an
// asynchronous one 33 a block, 2 bits a block and rank with atomicity block, 8 a rank; a table 4
// bytes a float of each row, 32 and 6 to 12 a row, of as many rows as it can have and as can change
// between two cuts, and 16 of each of these. Nothing is
// taken between two bases of a job. Errors: -ENOMEM (a limit or the allocator), -EPROTO (a gap, a
// wrong step, an unknown job, a commit without its blocks), with a text that names job, unit, step.
// After an error the image is as before, but the stream that caused it is of no more use: a base is
// needed. Limits: GP_IMAGE_JOBS_MAX jobs, GP_IMAGE_TENSORS_MAX tensors a job.
#ifndef GP_IMAGE_H
#define GP_IMAGE_H

#include <gp_base.h>
#include <gp_consist.h>
#include <gp_engine.h>
#include <gp_optim.h>
#include <gp_wire.h>

#define GP_IMAGE_JOBS_MAX    64
#define GP_IMAGE_TENSORS_MAX 131072
#define GP_IMAGE_ARRAYS_MAX  (1 + GP_OPTIM_STATES_MAX) // values, then optimizer state
#define GP_IMAGE_TEXT_SIZE   256
#define GP_IMAGE_NONE	     UINT32_MAX // step of a unit that committed nothing yet

struct gp_image_error {
	int code; // -errno
	char text[GP_IMAGE_TEXT_SIZE];
};

// In job-wide order, as in struct gp_tensor_view.
struct gp_image_tensor {
	char name[GP_WIRE_TENSOR_NAME_MAX + 1];
	uint32_t dims_count;
	uint64_t dims[GP_WIRE_DIMS_MAX];
	// Of a table, with dims {values of a row} (gp_backup_table_room).
	uint32_t state;	  // floats of a row beside its values
	uint64_t rows;	  // that it can have, at most 2^30
	uint64_t changes; // that one cut can have changed, likewise
};

struct gp_image_layout {
	char name[GP_WIRE_JOB_NAME_SIZE];
	uint16_t id; // 1 .. 64
	uint8_t kind;
	uint8_t atomicity;
	uint8_t arrays_count; // 1 + optimizer states
	uint16_t ranks;	      // asynchronous: workers of the job; 0: bulk-synchronous
	uint32_t block_elems;
	uint32_t tensors_count;
	const struct gp_image_tensor *tensors;
};

// Where a job stands when its base is made.
struct gp_image_point {
	uint64_t base;		    // identity of the base: a number that no other base has
	uint32_t decision;	    // all up to this one are in the base
	uint64_t chain;		    // of the decisions so far, see gp_image_chain
	uint32_t digest_every;	    // generations divisible by it are digested, 0 = none
	struct gp_decision view;    // the last one; number 0: none yet
	struct gp_ranks counted[2]; // who is in the generation, in all that is committed beyond it
	struct gp_history history;
};

struct gp_image_opts {
	uint64_t memory_max;		       // bytes, all jobs
	void *(*take)(void *arg, size_t size); // NULL: the heap
	void (*give)(void *arg, void *mem);
	void *mem_arg;
};

struct gp_image;

int gp_image_create(struct gp_image **out, const struct gp_image_opts *opts,
	struct gp_image_error *err) GP_MUST_CHECK;
void gp_image_destroy(struct gp_image *m); // takes NULL
// Forgets all jobs.
void gp_image_clear(struct gp_image *m);
// Memory of jobs that are forgotten or replaced goes back to the heap here, so many bytes in a call
// (a gigabyte takes some 100 ms), or at once where a base needs the room, or at the end. Returns
// what is left. Without calls it stays; with `take` and `give` of the owner's nothing ever waits.
uint64_t gp_image_give_back(struct gp_image *m, uint64_t bytes);
// Forgets job `id`, if it is known.
void gp_image_drop(struct gp_image *m, uint16_t id);
// The same, but keeps its memory for the next base.
void gp_image_void(struct gp_image *m, uint16_t id);

// ---- what the primary tells

// Every unit is at `generation`, GP_IMAGE_NONE for nothing. Copies everything. Memory of the same
// layout is used again. -EINVAL: the layout is none. After an error the job is forgotten.
int gp_image_base(struct gp_image *m, const struct gp_image_layout *layout,
	const struct gp_image_point *point, uint32_t generation,
	struct gp_image_error *err) GP_MUST_CHECK;
// The same beside a job that is here: it stays what it is, to whoever looks, until
// gp_image_base_end of the new base, which takes its place. What is told of the job until then is
// of the new base. Takes as much memory again meanwhile. After an error the job is as it was.
int gp_image_base_beside(struct gp_image *m, const struct gp_image_layout *layout,
	const struct gp_image_point *point, uint32_t generation,
	struct gp_image_error *err) GP_MUST_CHECK;
// Forgets such bases that are not complete.
void gp_image_beside_drop(struct gp_image *m);
// But this unit has committed the step after it. Before the first blocks.
int gp_image_base_ahead(
	struct gp_image *m, uint16_t id, uint32_t unit, struct gp_image_error *err) GP_MUST_CHECK;
// All is there: every block of the generation, and of units that are ahead the next one too.
// -EPROTO when something lacks, or when the job beside which it was made is further.
int gp_image_base_end(struct gp_image *m, uint16_t id, struct gp_image_error *err) GP_MUST_CHECK;

// `run` blocks from `first` on, all of one step. `weights[run]`, then for each block its arrays one
// after the other, each of the block's elements; unaligned is fine. `len` bytes of both together
// have to be exactly that.
struct gp_image_blocks {
	uint16_t id;
	uint32_t step;
	uint32_t first;
	uint32_t run;
	const uint8_t *bytes;
	size_t len;
};
// Asynchronous jobs: between the weights and the arrays u32 updates[run].
// Of how many bytes this run is (without a look at b->bytes and b->len).
int gp_image_blocks_size(const struct gp_image *m, const struct gp_image_blocks *b, size_t *len,
	struct gp_image_error *err) GP_MUST_CHECK;
int gp_image_blocks(struct gp_image *m, const struct gp_image_blocks *b,
	struct gp_image_error *err) GP_MUST_CHECK;
// Asynchronous jobs: of the cut that is staged, or of the base. `blocks`: that it has changed, or
// that the base has.
struct gp_image_ranks {
	uint16_t id;
	uint32_t generation;
	uint32_t blocks;
	uint32_t closed;  // quorum: highest step closed
	uint32_t updates; // commits so far
	uint32_t count;
	const uint8_t *clocks; // u32 of each, little-endian
};
int gp_image_ranks(struct gp_image *m, const struct gp_image_ranks *r,
	struct gp_image_error *err) GP_MUST_CHECK;
// After it: from block 64 x `first` on a bit for each, `words` x u64: which have the rank's
// contribution of the step after its clock. What is not told is not there.
struct gp_image_applied {
	uint16_t id;
	uint16_t rank;
	uint32_t generation;
	uint32_t first;
	uint32_t words;
	const uint8_t *bits;
};
int gp_image_applied(struct gp_image *m, const struct gp_image_applied *a,
	struct gp_image_error *err) GP_MUST_CHECK;
// Jobs with tables: rows of the next cut; or of the base, as they are in its generation, which cuts
// may move on until it is complete. `before`: of all tables of this cut or base that came before;
// 0 begins the cut anew.
struct gp_image_rows {
	uint16_t id;
	uint16_t table;
	uint32_t generation;
	uint32_t before;
	uint32_t count;
	const uint8_t *bytes; // each u64 id, u32 step, u32 1 + steps to its last use and its
			      // floats, or u32 0: gone
	size_t len;
};
int gp_image_rows(struct gp_image *m, const struct gp_image_rows *r,
	struct gp_image_error *err) GP_MUST_CHECK;
// And how many that were, and what all tables are then, for comparison.
struct gp_image_tally {
	uint16_t id;
	uint16_t count; // of tables
	uint32_t generation;
	uint32_t updates; // commits that rows can be of
	uint32_t records;
	const uint8_t *bytes; // each u64 rows, u64 sum of gp_backup_row_digest
};
int gp_image_tally(struct gp_image *m, const struct gp_image_tally *x,
	struct gp_image_error *err) GP_MUST_CHECK;
// Whether its tables differ from what the primary said of the last cut (point.digest_every not 0).
bool gp_image_differs(
	const struct gp_image *m, uint16_t id, uint64_t *ours, uint64_t *theirs) GP_MUST_CHECK;
// The next decision. One that the image has already is ignored. Of a cut with rows all counts at
// once, but the rows take their places with gp_image_settle.
int gp_image_decide(struct gp_image *m, uint16_t id, const struct gp_decision *d,
	struct gp_image_error *err) GP_MUST_CHECK;

// Of the rows that the last cut brought, `rows` take their places. True: there are more. Whatever
// else is told of the job, or asked of its rows, settles the rest before: this call is for who has
// more to do than to wait for millions of them.
bool gp_image_settle(struct gp_image *m, uint16_t id, uint32_t rows) GP_MUST_CHECK;

// The chain of decisions: equal numbers with equal chains had the same history since the base.
uint64_t gp_image_chain(uint64_t before, const struct gp_decision *d);

// ---- what it holds

struct gp_image_view {
	uint16_t id;
	const char *name;
	uint8_t kind;
	uint8_t atomicity;
	bool based;    // its base is complete: the rest counts
	bool renewed;  // another one is made beside it
	bool settling; // rows of the last cut are not in their places yet, nor in the digest
	struct gp_image_point point; // now: decision, chain and view move
	uint32_t generation;	     // committed in all units, GP_IMAGE_NONE: nothing
	uint32_t units_count;
	uint32_t units_ahead; // at generation + 1
	uint32_t blocks_count;
	uint32_t tensors_count;
	uint64_t memory; // bytes
	// Of digested generations: the newest that is whole.
	bool digested;
	uint32_t digest_step;
	uint64_t digest;
};
// i-th job in the order of their first bases; false beyond the last.
bool gp_image_at(const struct gp_image *m, uint32_t i, struct gp_image_view *v);
bool gp_image_find(const struct gp_image *m, uint16_t id, struct gp_image_view *v);
uint64_t gp_image_memory(const struct gp_image *m); // of jobs that are known
// False when there is no such job or unit.
bool gp_image_unit_step(const struct gp_image *m, uint16_t id, uint32_t unit, uint32_t *step);
// Array 0: values, 1..: state, of exactly this step and not staged; NULL when it is not there.
const float *gp_image_block(const struct gp_image *m, uint16_t id, uint32_t block, uint32_t step,
	uint32_t array, uint32_t *elems, float *weight);
// Digest of a whole generation, from memory (docs/protocol.md 6). -ENOENT: a block of it lacks.
int gp_image_digest(
	const struct gp_image *m, uint16_t id, uint32_t step, uint64_t *digest) GP_MUST_CHECK;

// A row, values and state; NULL: it is not there. And how many there are.
const float *gp_image_row(
	const struct gp_image *m, uint16_t id, uint32_t table, uint64_t row, uint32_t *step);
uint64_t gp_image_rows_count(const struct gp_image *m, uint16_t id, uint32_t table);

// What an engine goes on from. All pointers are into the image and stay until the job changes.
// -ENOENT: no such job, its base is not complete, or nothing of it was ever committed.
int gp_image_restore(struct gp_image *m, uint16_t id, struct gp_restore *out) GP_MUST_CHECK;

#endif
