// SPDX-License-Identifier: BSD-3-Clause
//
// A job's record of who was summed in each step, as gradplaned writes it (jobs[].views_log): read
// whole, proved to have no hole, and asked step by step. Belongs to its caller; no threads.
#ifndef GW_VIEWS_H
#define GW_VIEWS_H

#include "error.h"
#include "model.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GW_RANKS_MAX 256u

struct gw_span {
	size_t at, count; // elements of the model's parameters
};

// The same ranks were summed in all of `spans`, in each of the steps.
struct gw_view {
	uint32_t first, last; // steps
	bool has[GW_RANKS_MAX];
	uint32_t ranks_count;
	uint32_t spans_count;
	struct gw_span *spans;
};

struct gw_views {
	struct gw_view *list; // in the order of their steps
	uint32_t count, max;
	uint32_t steps_end; // the last step of the record; 0: none but the initial parameters
};

// Reads the record of a job of `world` workers that trains `model` from its initial parameters. 0;
// -EINVAL with the line and what is wrong with it; -EIO or -ENOMEM. gw_views_fini in any case.
int gw_views_load(struct gw_views *v, const char *path, const struct gw_model *model,
	uint32_t world, struct gw_error *err);
void gw_views_fini(struct gw_views *v);

// The views of a step up to steps_end, `*count` one after the other: together they have every
// element once.
const struct gw_view *gw_views_find(const struct gw_views *v, uint32_t step, uint32_t *count);

#endif
