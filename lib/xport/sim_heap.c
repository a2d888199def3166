// SPDX-License-Identifier: BSD-3-Clause
#include "sim_heap.h"

static bool event_before(const struct sim_event *a, const struct sim_event *b)
{
	return a->time != b->time ? a->time < b->time : a->seq < b->seq;
}

void sim_heap_push(struct sim_heap *h, const struct sim_event *e)
{
	GP_ASSERT(h->count < h->max);
	uint32_t i = h->count++;
	while (i > 0 && event_before(e, &h->events[(i - 1) / 2])) {
		h->events[i] = h->events[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	h->events[i] = *e;
}

struct sim_event sim_heap_pop(struct sim_heap *h)
{
	GP_ASSERT(h->count > 0);
	struct sim_event first = h->events[0];
	const struct sim_event *last = &h->events[--h->count];
	uint32_t i = 0;
	for (uint32_t child = 1; child < h->count; child = 2 * i + 1) {
		if (child + 1 < h->count && event_before(&h->events[child + 1], &h->events[child]))
			child++;
		if (!event_before(&h->events[child], last))
			break;
		h->events[i] = h->events[child];
		i = child;
	}
	h->events[i] = *last;
	return first;
}
