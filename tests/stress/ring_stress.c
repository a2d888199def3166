// SPDX-License-Identifier: BSD-3-Clause
//
// The ring between two threads: every item arrives once, whole and in order, whatever the ring's
// size. TAP on standard output; exit 0 when all held.
#include <gp_ring.h>

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#define ITEMS 300000

struct item {
	uint64_t number;
	uint64_t copies[7];
};

static void *producer_run(void *arg)
{
	struct gp_ring *r = arg;
	for (uint64_t n = 0; n < ITEMS; n++) {
		struct item it = {.number = n};
		for (size_t i = 0; i < GP_ARRAY_SIZE(it.copies); i++)
			it.copies[i] = n * 31 + i;
		while (!gp_ring_push(r, &it))
			sched_yield();
	}
	return NULL;
}

static bool item_whole(const struct item *it, uint64_t n)
{
	for (size_t i = 0; i < GP_ARRAY_SIZE(it->copies); i++)
		if (it->copies[i] != n * 31 + i)
			return false;
	return it->number == n;
}

static bool ring_run(uint32_t count)
{
	void *mem = aligned_alloc(GP_CACHE_LINE, gp_ring_size(count, sizeof(struct item)));
	struct gp_ring *r = gp_ring_init(mem, count, sizeof(struct item));
	pthread_t producer;
	bool ok = pthread_create(&producer, NULL, producer_run, r) == 0;
	for (uint64_t n = 0; n < ITEMS; n++) {
		struct item it;
		while (!gp_ring_pop(r, &it))
			sched_yield();
		ok &= item_whole(&it, n);
	}
	pthread_join(producer, NULL);
	ok &= gp_ring_used(r) == 0;
	free(mem);
	return ok;
}

int main(void)
{
	const uint32_t counts[] = {1, 2, 64, 4096};
	bool all = true;
	printf("1..%zu\n", GP_ARRAY_SIZE(counts));
	for (size_t i = 0; i < GP_ARRAY_SIZE(counts); i++) {
		bool ok = ring_run(counts[i]);
		printf("%s %zu - %u items through a ring of %u\n", ok ? "ok" : "not ok", i + 1,
			ITEMS, counts[i]);
		all &= ok;
	}
	return all ? 0 : 1;
}
