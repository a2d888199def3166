// SPDX-License-Identifier: BSD-3-Clause
//
// Inside the image. A block's generation s lies in plane s mod 2, so what is on its way never
// overwrites what its unit committed last.
#ifndef IMAGE_PRIV_H
#define IMAGE_PRIV_H

#include "layout.h"

#define LACKING_ALL UINT64_MAX // there is not even a base

struct image_job {
	struct layout layout;
	struct gp_image_tensor *tensors;
	struct gp_restore_tensor *restore;
	uint32_t *committed; // per unit
	uint32_t *staged;    // per unit: blocks of the step after it
	uint32_t *held[2];   // per plane and block: its step, GP_IMAGE_NONE
	float *weights[2];
	uint8_t *ahead; // per block, for gp_image_restore
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
};

struct gp_image {
	struct gp_image_opts opts;
	uint64_t used;
	uint32_t jobs_count;
	struct image_job *jobs[GP_IMAGE_JOBS_MAX]; // in the order of their first bases
};

int image_fail(struct gp_image_error *err, int code, const char *fmt, ...) GP_PRINTF(3, 4);
struct image_job *image_find(const struct gp_image *m, uint16_t id);
// The job, or NULL and err.
struct image_job *image_known(const struct gp_image *m, uint16_t id, struct gp_image_error *err);
void image_generation_note(struct image_job *j);

#endif
