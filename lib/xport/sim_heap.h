// SPDX-License-Identifier: BSD-3-Clause
//
// A bounded binary heap of deliveries, earliest first; equal times in the order they were pushed.
#ifndef GP_SIM_HEAP_H
#define GP_SIM_HEAP_H

#include <gp_base.h>

struct sim_frame;

struct sim_event {
	uint64_t time;
	uint64_t seq;
	struct sim_frame *frame;
	uint32_t endpoint;
};

struct sim_heap {
	struct sim_event *events;
	uint32_t count;
	uint32_t max;
};

// The caller has checked count < max.
void sim_heap_push(struct sim_heap *h, const struct sim_event *e);
// The caller has checked count > 0.
struct sim_event sim_heap_pop(struct sim_heap *h);

#endif
