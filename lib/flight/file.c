// SPDX-License-Identifier: BSD-3-Clause
//
// Reading a file: everything is proved by gp_flight_open, the walks after it only follow.
#include "flight_priv.h"

#include <errno.h>
#include <stdio.h>
#include <xxhash.h>

static int refuse(char err[GP_FLIGHT_ERROR_SIZE], const char *why, uint64_t at)
{
	snprintf(err, GP_FLIGHT_ERROR_SIZE, "%s (at byte %llu)", why, (unsigned long long)at);
	return -EINVAL;
}

// The section at `pos`; false when it does not lie in the file.
static bool part_at(const struct gp_flight_file *f, uint64_t pos, struct gp_flight_part *p)
{
	if (pos % 8 != 0 || pos > f->size || f->size - pos < SECTION_HEADER)
		return false;
	const uint8_t *b = f->data + pos;
	*p = (struct gp_flight_part){.type = gp_load32(b),
		.id = gp_load32(b + 4),
		.bytes = b + SECTION_HEADER,
		.size = gp_load64(b + 8)};
	return p->size <= f->size - pos - SECTION_HEADER;
}

static uint64_t part_end(const struct gp_flight_file *f, const struct gp_flight_part *p)
{
	return (uint64_t)(p->bytes - f->data) + gp_align_up(p->size, 8);
}

// Every cell continues a record or begins one of as many cells as its bytes need; a record may be
// cut off at the front, where the ring has overwritten its beginning.
static bool ring_legal(const struct gp_flight_part *p)
{
	if (p->size < RING_HEADER || (p->size - RING_HEADER) % GP_FLIGHT_CELL != 0)
		return false;
	uint64_t count = gp_load64(p->bytes + 8);
	uint64_t cells = gp_load64(p->bytes + 16);
	if (count != (p->size - RING_HEADER) / GP_FLIGHT_CELL || count > cells ||
		cells > GP_FLIGHT_CELLS_MAX)
		return false;
	return gp_load64(p->bytes) <= UINT64_MAX / 2;
}

int gp_flight_open(
	struct gp_flight_file *f, const void *data, size_t size, char err[GP_FLIGHT_ERROR_SIZE])
{
	*f = (struct gp_flight_file){.data = data, .size = size};
	if ((uintptr_t)data % 8 != 0)
		return refuse(err, "not aligned", 0);
	if (size < 8 || gp_load64(f->data) != FILE_MAGIC)
		return refuse(err, "this is no flight record", 0);
	if (size < FILE_SIZE_LEAST || size % 8 != 0)
		return refuse(err, "cut off", size);
	if (gp_load32(f->data + 8) != GP_FLIGHT_VERSION)
		return refuse(err, "another version of the format", 8);
	if (gp_load32(f->data + 12) != GP_FLIGHT_CELL)
		return refuse(err, "cells of another size", 12);
	f->now = gp_load64(f->data + 16);
	f->wall = gp_load64(f->data + 24);
	uint64_t pos = FILE_HEADER;
	struct gp_flight_part p;
	for (;;) {
		if (!part_at(f, pos, &p))
			return refuse(err, "cut off inside a section", pos);
		if (p.type == GP_FLIGHT_END)
			break;
		if (p.type == GP_FLIGHT_RING && !ring_legal(&p))
			return refuse(err, "a ring is not what it says", pos);
		pos = part_end(f, &p);
	}
	if (p.size != 8 || part_end(f, &p) != size)
		return refuse(err, "something behind the end", pos);
	// The checksum is of everything before it, the head of its own section included.
	if (XXH3_64bits(data, size - 8) != gp_load64(p.bytes))
		return refuse(err, "damaged: the checksum differs", size - 8);
	return 0;
}

bool gp_flight_next(const struct gp_flight_file *f, uint64_t *pos, struct gp_flight_part *p)
{
	if (*pos == 0)
		*pos = FILE_HEADER;
	if (!part_at(f, *pos, p) || p->type == GP_FLIGHT_END)
		return false;
	*pos = part_end(f, p);
	return true;
}

// ---- records

void gp_flight_cursor_init(struct gp_flight_cursor *c, const struct gp_flight_part *ring)
{
	GP_ASSERT(ring->type == GP_FLIGHT_RING && ring_legal(ring));
	uint64_t first = gp_load64(ring->bytes);
	uint64_t count = gp_load64(ring->bytes + 8);
	uint64_t cells = gp_load64(ring->bytes + 16);
	uint64_t begun = gp_load64(ring->bytes + ring->size - 8);
	*c = (struct gp_flight_cursor){
		.cells = ring->bytes + 24, .first = first, .count = count, .wrapped = first > 0};
	// Cell n is overwritten by cell n + cells.
	if (begun > first + cells) {
		c->at = GP_MIN(begun - first - cells, count);
		c->wrapped = true;
	}
}

static bool record_at(const struct gp_flight_cursor *c, struct gp_flight_record *r, uint32_t *cells)
{
	const uint8_t *b = c->cells + c->at * GP_FLIGHT_CELL;
	uint64_t what = gp_load64(b + 8);
	*cells = what >> 16 & 0xffff;
	r->kept = what >> 32 & 0xffff;
	r->number = c->first + c->at;
	r->head = (struct gp_flight_head){.now = gp_load64(b),
		.clock = gp_load64(b + 16),
		.kind = (uint8_t)what,
		.verdict = (uint8_t)(what >> 8),
		.len = (uint16_t)(what >> 48)};
	if (r->head.kind == KIND_MORE || r->kept > GP_FLIGHT_RECORD_MAX)
		return false;
	return *cells == cells_of(r->kept) && *cells <= c->count - c->at;
}

// What is no record (the rest of one that was overwritten) is skipped, cell by cell.
bool gp_flight_record_next(struct gp_flight_cursor *c, struct gp_flight_record *r)
{
	uint32_t cells = 0;
	while (c->at < c->count && !record_at(c, r, &cells))
		c->at++;
	if (c->at == c->count)
		return false;
	const uint8_t *b = c->cells + c->at * GP_FLIGHT_CELL;
	uint32_t n = GP_MIN(r->kept, (uint32_t)GP_FLIGHT_FIRST_BYTES);
	memcpy(r->bytes, b + 24, n);
	for (uint32_t i = 1, at = n; i < cells; i++, at += n) {
		n = GP_MIN(r->kept - at, (uint32_t)GP_FLIGHT_MORE_BYTES);
		memcpy(r->bytes + at, b + (size_t)i * GP_FLIGHT_CELL + 16, n);
	}
	c->at += cells;
	return true;
}
