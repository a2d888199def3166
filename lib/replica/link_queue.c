// SPDX-License-Identifier: BSD-3-Clause
#include "link_queue.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define PIECES_PER_CALL 8

uint8_t *queue_reserve(struct queue *q, size_t len)
{
	struct piece *p = q->last;
	GP_ASSERT(len <= PIECE_SIZE);
	if (p && PIECE_SIZE - p->to >= len)
		return p->bytes + p->to;
	p = q->spare;
	if (p)
		q->spare = p->next;
	else
		p = malloc(sizeof(*p));
	if (!p)
		return NULL;
	p->next = NULL;
	p->from = p->to = 0;
	if (q->last)
		q->last->next = p;
	else
		q->first = p;
	q->last = p;
	return p->bytes;
}

void queue_commit(struct queue *q, size_t len)
{
	GP_ASSERT(q->last && len <= PIECE_SIZE - q->last->to);
	q->last->to += len;
	q->len += len;
}

static void queue_drain(struct queue *q, size_t len)
{
	q->len -= len;
	while (q->first) {
		struct piece *p = q->first;
		size_t here = GP_MIN(len, p->to - p->from);
		p->from += here;
		len -= here;
		if (p->from < p->to)
			return;
		q->first = p->next;
		if (!q->first)
			q->last = NULL;
		// The one that was used last is the one that is still in the cache.
		p->next = q->spare;
		q->spare = p;
	}
}

int queue_write(struct queue *q, int fd)
{
	while (q->len > 0) {
		struct iovec v[PIECES_PER_CALL];
		struct msghdr m = {.msg_iov = v};
		for (const struct piece *p = q->first; p && m.msg_iovlen < PIECES_PER_CALL;
			p = p->next)
			v[m.msg_iovlen++] =
				(struct iovec){.iov_base = (uint8_t *)(uintptr_t)p->bytes + p->from,
					.iov_len = p->to - p->from};
		ssize_t n = sendmsg(fd, &m, MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		queue_drain(q, (size_t)n);
	}
	return 0;
}

static void pieces_free(struct piece *p)
{
	while (p) {
		struct piece *next = p->next;
		free(p);
		p = next;
	}
}

void queue_fini(struct queue *q)
{
	pieces_free(q->first);
	pieces_free(q->spare);
	*q = (struct queue){0};
}
