// SPDX-License-Identifier: BSD-3-Clause
//
// The flight recorder: rings that keep the last things that reached a thread, and the file that
// they are dumped to. What the records of the engine mean is lib/engine's (flight.h there).
//
// A ring is an array of cells of 128 bytes. A record takes one cell or several in a row: the first
// says when, what and how long, the others continue its bytes. One thread writes, without
// allocation, system call or lock; the oldest cells are overwritten. Any thread may copy cells out
// meanwhile: `begun` runs ahead of a write and `done` follows it, so a reader knows which of its
// copies the writer may have touched, and leaves them out.
//
// The file, version 1, little-endian: a header of 64 bytes, sections of {u32 type, u32 id, u64
// size} and `size` bytes padded to 8, and at the end a section GP_FLIGHT_END with the XXH3-64 of
// everything before it. It is written front to back through a sink, by async-signal-safe code on
// the stack only, so that a thread whose assertion failed can still write it. A reader proves
// magic, version, checksum, every size and every record before it gives any of it out.
//
// Memory: the caller's. Errors: -EINVAL with a text for a file that is refused.
#ifndef GP_FLIGHT_H
#define GP_FLIGHT_H

#include <gp_base.h>

#include <stdatomic.h>

#define GP_FLIGHT_VERSION     1
#define GP_FLIGHT_CELL	      128
#define GP_FLIGHT_CELLS_MIN   256 // the longest record takes fewer
#define GP_FLIGHT_CELLS_MAX   (1u << 20)
#define GP_FLIGHT_FIRST_BYTES 104 // of a record, in its first cell
#define GP_FLIGHT_MORE_BYTES  112 // in each of the others
#define GP_FLIGHT_RECORD_MAX  16384
#define GP_FLIGHT_IN_HAND     0xff // verdict of a record that has none yet
#define GP_FLIGHT_ERROR_SIZE  160

// ---- rings

struct gp_flight_ring {
	_Atomic uint64_t *words; // [cells * 16]
	uint64_t mask;		 // cells - 1, a power of two
	uint64_t last;		 // first cell of the newest record; the writer's
	GP_ALIGNED(GP_CACHE_LINE) _Atomic uint64_t begun; // cells whose writing has begun
	_Atomic uint64_t done;				  // cells that are written
};

struct gp_flight_head {
	uint64_t now;
	uint64_t clock; // a second clock of the caller: grace periods that had passed
	uint8_t kind;	// 1..255
	uint8_t verdict;
	uint16_t len; // of the thing that was recorded, perhaps more than the bytes kept of it
};

size_t gp_flight_ring_size(uint32_t cells) GP_MUST_CHECK;
// `mem` is 64-byte aligned and of that size; `cells` is a power of two within the limits above.
void gp_flight_ring_init(struct gp_flight_ring *r, void *mem, uint32_t cells);
// By the writer: `prefix` and then `bytes` are kept; prefix_len is a multiple of 8, at most 64, and
// both together are at most GP_FLIGHT_RECORD_MAX.
void gp_flight_put(struct gp_flight_ring *r, const struct gp_flight_head *h, const void *prefix,
	uint32_t prefix_len, const void *bytes, uint32_t len);
// By the writer: the verdict on the newest record.
void gp_flight_verdict(struct gp_flight_ring *r, uint8_t verdict);
uint8_t gp_flight_verdict_of(const struct gp_flight_ring *r);

// ---- writing a file

// Takes bytes away; 0 or -errno. Async-signal-safe where a dump after a failed assertion is wanted.
struct gp_flight_sink {
	int (*write)(void *arg, const void *bytes, size_t len);
	void *arg;
};

struct gp_flight_out;

enum gp_flight_section {
	GP_FLIGHT_END = 1,
	GP_FLIGHT_CONFIG,  // text
	GP_FLIGHT_NODE,	   // the caller's, as the next three
	GP_FLIGHT_JOB,	   // id: number of the job
	GP_FLIGHT_SESSION, // all sessions
	GP_FLIGHT_RING,	   // id: the caller's number of the ring
};

// Begins a file into `sink`. `out` of GP_FLIGHT_OUT_SIZE bytes, 64-byte aligned, is the caller's.
#define GP_FLIGHT_OUT_SIZE 8192
struct gp_flight_out *gp_flight_begin(
	void *mem, const struct gp_flight_sink *sink, uint64_t now, uint64_t wall);
void gp_flight_section(struct gp_flight_out *o, uint32_t type, uint32_t id, uint64_t size);
void gp_flight_bytes(struct gp_flight_out *o, const void *bytes, size_t len);
// Ends a section: pads it.
void gp_flight_section_end(struct gp_flight_out *o);
// A whole section with what the ring holds now; another thread may be writing it.
void gp_flight_ring_out(struct gp_flight_out *o, uint32_t id, const struct gp_flight_ring *r);
// The checksum. 0, or the first error of the sink.
int gp_flight_finish(struct gp_flight_out *o) GP_MUST_CHECK;

// ---- reading one

struct gp_flight_part {
	uint32_t type;
	uint32_t id;
	const uint8_t *bytes; // 8-byte aligned where the file is
	uint64_t size;
};

struct gp_flight_file {
	const uint8_t *data;
	uint64_t size;
	uint64_t now;  // when it was dumped
	uint64_t wall; // likewise, seconds since 1970
};

// Proves the file; `data` is 8-byte aligned and stays the caller's.
int gp_flight_open(struct gp_flight_file *f, const void *data, size_t size,
	char err[GP_FLIGHT_ERROR_SIZE]) GP_MUST_CHECK;
// Walks the sections but the last: *pos starts at 0; false after them.
bool gp_flight_next(const struct gp_flight_file *f, uint64_t *pos, struct gp_flight_part *p);

// The records of a section GP_FLIGHT_RING of an opened file, oldest first.
struct gp_flight_cursor {
	const uint8_t *cells;
	uint64_t first; // number of cells[0]
	uint64_t count;
	uint64_t at;
	bool wrapped; // records before the first were overwritten
};

struct gp_flight_record {
	struct gp_flight_head head;
	uint64_t number; // of its first cell, since the ring began
	uint32_t kept;	 // bytes of it
	uint8_t bytes[GP_FLIGHT_RECORD_MAX];
};

void gp_flight_cursor_init(struct gp_flight_cursor *c, const struct gp_flight_part *ring);
bool gp_flight_record_next(struct gp_flight_cursor *c, struct gp_flight_record *r);

#endif
