// SPDX-License-Identifier: BSD-3-Clause
//
// Inside the image. A block's generation s lies in plane s mod 2, so what is on its way never
// overwrites what its unit committed last. In an asynchronous job a block lies in either plane
// (`ahead`), and what the next cut changed goes to the other one.
#ifndef IMAGE_PRIV_H
#define IMAGE_PRIV_H

#include "layout.h"

#define IMAGE_ROW_HEAD_SIZE 16 // of a row in a message: id, step, whether it is there

enum image_verdict { IMAGE_TAKE, IMAGE_IGNORE, IMAGE_REFUSE };

#define LACKING_ALL UINT64_MAX // there is not even a base

// What ranks had committed and brought at a cut.
struct image_ranks {
	uint32_t generation; // GP_IMAGE_NONE: nothing was told
	uint32_t blocks;
	uint32_t closed;
	uint32_t updates;
	uint32_t *clock;   // [ranks]
	uint64_t *applied; // [ranks][words]
};

struct image_row;
struct image_staged;

// A table of an embed job (image_rows.c).
struct image_table {
	uint32_t floats; // values and state of a row
	uint32_t dim;
	uint32_t slots_max, staged_max;
	uint32_t mask; // of the index
	uint32_t used; // slots, ever
	uint32_t free; // list of slots
	uint32_t count;
	uint32_t staged_count;
	uint32_t settled; // of these, in their places
	uint64_t digest;  // sum over its rows
	uint64_t key;
	uint32_t *index; // slot + 1, 0: none
	struct image_row *heads;
	float *rows;
	struct image_staged *staged; // of the next cut
	struct gp_restore_rows restore;
};

// What the primary says of its tables at a cut.
struct image_tally {
	uint32_t generation; // GP_IMAGE_NONE: nothing was told
	uint32_t updates;
	uint32_t records;
	uint64_t rows[GP_ENGINE_TABLES_MAX];
	uint64_t digests[GP_ENGINE_TABLES_MAX];
};

struct carver {
	uint8_t *mem; // NULL: only measures
	uint64_t used;
};

struct image_job {
	struct layout layout;
	struct gp_image_tensor *tensors;
	struct gp_restore_tensor *restore;
	uint32_t *committed; // per unit
	uint32_t *staged;    // per unit: blocks of the step after it
	uint32_t *held[2];   // per plane and block: its step, GP_IMAGE_NONE
	float *weights[2];
	uint8_t *ahead; // per block, for gp_image_restore; asynchronous: the plane it is in
	// Asynchronous.
	uint32_t *updates[2];
	uint64_t *digests; // of each block, with step 0
	uint64_t digests_sum;
	struct image_ranks ranks[2];
	uint32_t ranks_now;  // which of the two counts; the other one is staged
	uint32_t cut_staged; // generation
	uint32_t cut_blocks; // of it here
	struct gp_restore_async async;
	// Embed.
	struct image_table *tables;
	struct image_tally tallies[2]; // as ranks
	uint32_t rows_came;	       // of the base
	uint32_t rows_staged;	       // of the next cut
	bool settling;		       // rows of the last cut are not all in their places
	bool differs;		       // from the primary, in `generation`
	uint64_t digest_theirs;
	float *planes[2][GP_IMAGE_ARRAYS_MAX];
	struct gp_image_point point;
	uint32_t generation;
	uint32_t units_ahead;
	bool based;
	bool filling;	  // blocks of the base have come
	uint64_t lacking; // blocks of the base, while it is not complete
	struct layout_sum sums[2];
	bool digested;
	uint32_t digest_step;
	uint64_t digest;
	uint8_t *mem;
	uint64_t size;
	struct image_job *next; // a base beside it, which is not complete; the next that leaves
	uint64_t given;		// leaving: so much of the memory is the system's again
};

struct gp_image {
	struct gp_image_opts opts;
	uint64_t used;
	uint32_t jobs_count;
	struct image_job *jobs[GP_IMAGE_JOBS_MAX]; // in the order of their first bases
	struct image_job *leaving;
	uint64_t leaving_bytes; // not in `used`, and not given back yet
};

// image_memory.c
void image_memory_init(struct gp_image *m);
void *image_memory_take(struct gp_image *m, uint64_t size);
// The job is nobody's any more; its memory goes now, or with gp_image_give_back.
void image_memory_give(struct gp_image *m, struct image_job *j);

void *image_carve(struct carver *c, uint64_t size);
int image_fail(struct gp_image_error *err, int code, const char *fmt, ...) GP_PRINTF(3, 4);
struct image_job *image_find(const struct gp_image *m, uint16_t id);
// What takes what the primary tells: the job, or the base beside it. NULL and err: neither.
struct image_job *image_known(const struct gp_image *m, uint16_t id, struct gp_image_error *err);
void image_generation_note(struct image_job *j);
// The base beside the job is complete and takes its place.
void image_next_take(struct gp_image *m, uint16_t id);

// image_rows.c: jobs with tables; without them these do nothing
uint64_t image_rows_carve(struct image_job *j, struct carver *c);
void image_rows_begin(struct image_job *j);
// All rows of the cut or base are here, and their sum: 0, or what lacks.
int image_rows_check(const struct image_job *j, uint32_t generation, bool base,
	struct gp_image_error *err) GP_MUST_CHECK;
// What is staged counts from now on, and takes its places with image_rows_settle: at most `rows` of
// them. True: there are more. Whoever looks at rows, or tells more, has all of them settled before.
void image_rows_commit(struct image_job *j);
bool image_rows_settle(struct image_job *j, uint32_t rows);
void image_rows_compare(struct image_job *j);
void image_rows_restore(struct image_job *j, uint32_t t, struct gp_restore_tensor *out);

// image_cut.c: asynchronous jobs
void image_cuts_begin(struct image_job *j);
// What a block of a cut is.
enum image_verdict image_cut_judge(const struct image_job *j, uint32_t generation);
void image_cut_store(struct image_job *j, const struct layout_at *at, uint32_t generation,
	const uint8_t *head, const uint8_t *updates, const uint8_t *bytes);
// The block is in `plane`, with step 0 in its digest.
void image_cut_digest(struct image_job *j, const struct layout_at *at, uint32_t plane);
int image_cut_base_end(struct image_job *j, struct gp_image_error *err) GP_MUST_CHECK;
int image_cut_take(
	struct image_job *j, const struct gp_decision *d, struct gp_image_error *err) GP_MUST_CHECK;
// A job that cannot be gone on with, or all that is to be known beside its tensors.
void image_cut_restore(struct image_job *j, struct gp_restore *out);

#endif
