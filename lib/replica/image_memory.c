// SPDX-License-Identifier: BSD-3-Clause
//
// Where the memory of the image comes from, and how it goes back: gigabytes in one call keep the
// thread for longer than a peer may be silent, so the heap gets them page by page before.
#include "image_priv.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define AT_ONCE_MAX (UINT64_C(1) << 20)

static void *heap_take(void *arg, size_t size)
{
	(void)arg;
	// Fresh pages are zero and cost nothing until they are used.
	return calloc(1, size);
}

static void heap_give(void *arg, void *mem)
{
	(void)arg;
	free(mem);
}

void image_memory_init(struct gp_image *m)
{
	GP_ASSERT(!m->opts.take == !m->opts.give);
	if (m->opts.take)
		return;
	m->opts.take = heap_take;
	m->opts.give = heap_give;
}

static void job_end(struct gp_image *m, struct image_job *j)
{
	if (j->mem)
		m->opts.give(m->opts.mem_arg, j->mem);
	free(j);
}

void image_memory_give(struct gp_image *m, struct image_job *j)
{
	m->used -= j->size;
	if (m->opts.give != heap_give || j->size <= AT_ONCE_MAX) {
		job_end(m, j);
		return;
	}
	j->given = 0;
	j->next = m->leaving;
	m->leaving = j;
	m->leaving_bytes += j->size;
}

void *image_memory_take(struct gp_image *m, uint64_t size)
{
	// Room goes before patience.
	if (size > m->opts.memory_max - m->used - m->leaving_bytes)
		(void)gp_image_give_back(m, UINT64_MAX);
	return m->opts.take(m->opts.mem_arg, size);
}

// Whole pages only: what is around the memory is the heap's.
static void pages_give(uint8_t *from, uint8_t *to)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t at = gp_align_up((uintptr_t)from, page), end = (uintptr_t)to / page * page;
	// Should it fail they go with the rest.
	if (at < end)
		(void)madvise(from + (at - (uintptr_t)from), end - at, MADV_DONTNEED);
}

uint64_t gp_image_give_back(struct gp_image *m, uint64_t bytes)
{
	while (m->leaving && bytes > 0) {
		struct image_job *j = m->leaving;
		uint64_t n = GP_MIN(bytes, j->size - j->given);
		if (n < j->size)
			pages_give(j->mem + j->given, j->mem + j->given + n);
		j->given += n;
		bytes -= n;
		m->leaving_bytes -= n;
		if (j->given < j->size)
			break;
		m->leaving = j->next;
		job_end(m, j);
	}
	return m->leaving_bytes;
}
