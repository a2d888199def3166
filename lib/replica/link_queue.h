// SPDX-License-Identifier: BSD-3-Clause
//
// Bytes that wait for a socket, in pieces of memory that are used again: fresh memory from the
// kernel for each frame would cost as much as sending it.
#ifndef LINK_QUEUE_H
#define LINK_QUEUE_H

#include <gp_stream.h>

#define PIECE_SIZE (256u << 10)

struct piece {
	struct piece *next;
	size_t from, to;
	uint8_t bytes[PIECE_SIZE];
};
_Static_assert(PIECE_SIZE >= GP_STREAM_FRAME_MAX, "a piece holds any frame");

struct queue {
	struct piece *first, *last; // with bytes; the last may get more
	struct piece *spare;
	size_t len;
};

// Room for `len` bytes behind those that wait; NULL: no memory.
uint8_t *queue_reserve(struct queue *q, size_t len) GP_MUST_CHECK;
// The first `len` of the bytes that were reserved last are there.
void queue_commit(struct queue *q, size_t len);
// Writes as much as the socket takes. 0, or -errno of what is no matter of waiting.
int queue_write(struct queue *q, int fd) GP_MUST_CHECK;
void queue_fini(struct queue *q);

#endif
