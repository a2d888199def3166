// SPDX-License-Identifier: BSD-3-Clause
//
// Inside the stream: frames, what is in them, and how the stream, its feeder and its follower call
// each other. The formats are written down in docs/replication.md.
#ifndef STREAM_PRIV_H
#define STREAM_PRIV_H

#include "layout.h"

#include <gp_feeder.h>
#include <gp_follower.h>
#include <gp_stream.h>

#define STREAM_MAGIC 0x54535047u // "GPST"

enum message_type {
	MSG_HELLO = 1,
	MSG_RECORD,
	MSG_OFFER,
	MSG_WHOLE,
	MSG_PING,
	MSG_PONG,
	MSG_EPOCH,     // nothing but the epoch in the head
	MSG_HOLDS,     // follower: what it holds; feed me
	MSG_FEED,      // feeder: what follows answers that; jobs that need no base
	MSG_BASE,      // a job begins anew
	MSG_TENSORS,   // its tensors
	MSG_AHEAD,     // its units that are a step ahead
	MSG_BLOCKS,    // of the base, or of commits to come
	MSG_BASED,     // the base is complete
	MSG_DECISIONS, // in order
	MSG_DIGEST,    // of a generation
	MSG_HELD,      // follower: decisions held, acknowledged when the head has an epoch
	MSG_DIVERGED,  // follower: a digest differs
	MSG_RANKS,     // of a cut: what ranks had committed
	MSG_APPLIED,   // and brought
	MSG_ROWS,      // of tables: of a cut, or of the base
	MSG_TALLY,     // what these make of the tables
	MSG_LAST = MSG_TALLY,
};

#define RECORD_SIZE	 24
#define HELLO_BEAT_SIZE	 32 // ip, port, MAC, cookie
#define HELLO_SIZE	 (GP_STREAM_PRODUCT_SIZE + 16 + RECORD_SIZE + HELLO_BEAT_SIZE)
#define HOLDS_HEAD_SIZE	 8 // number of the request, count
#define HOLD_SIZE	 24
#define DECISION_SIZE	 96
#define RANKS_SIZE	 32
#define HISTORY_SIZE	 24
#define BASE_SIZE	 (48 + GP_WIRE_JOB_NAME_SIZE + DECISION_SIZE + 2 * RANKS_SIZE + HISTORY_SIZE)
#define TENSOR_HEAD_SIZE 4 // lengths of dims and name
#define TENSOR_SIZE_MAX                                                                            \
	(TENSOR_HEAD_SIZE + 8 * GP_WIRE_DIMS_MAX + TENSOR_ROWS_SIZE + GP_WIRE_TENSOR_NAME_MAX)
#define FEED_HEAD_SIZE	    8  // number of the request, count
#define RUN_HEAD_SIZE	    8  // of tensors, units: id, zero, first
#define SECTION_HEAD_SIZE   12 // of blocks: step, first, run
#define HELD_SIZE	    16 // id, zero, decision, base
#define RANKS_HEAD_SIZE	    20 // id, count, generation, blocks, closed, updates
#define APPLIED_HEAD_SIZE   12 // id, rank, generation, first
#define APPLIED_WORDS_MAX   4096
#define ROWS_HEAD_SIZE	    16	// id, table, generation, before, count
#define ROW_HEAD_SIZE	    16	// row, step, whether it is there
#define TALLY_HEAD_SIZE	    16	// id, count, generation, updates, records
#define TALLY_SIZE	    16	// rows, digest
#define TENSOR_ROWS_SIZE    20	// of a table: state, rows, changes
#define DECISIONS_MAX	    256 // in one frame
#define BLOCKS_SECTIONS_MAX 256

// ---- messages: put writes exactly so many bytes; get takes exactly such bytes, false: they are
// not

void record_put(uint8_t *to, const struct gp_lead_record *r);
bool record_get(const uint8_t *from, struct gp_lead_record *r) GP_MUST_CHECK;
void hello_put(uint8_t *to, const struct gp_stream_hello *h);
bool hello_get(const uint8_t *from, size_t len, struct gp_stream_hello *h) GP_MUST_CHECK;
void decision_put(uint8_t *to, const struct gp_decision *d);
bool decision_get(const uint8_t *from, struct gp_decision *d) GP_MUST_CHECK;

// What a follower holds of a job.
struct hold {
	uint16_t id;
	uint32_t decision;
	uint64_t base;
	uint64_t chain;
};

struct holds {
	uint32_t number; // of the request
	uint32_t count;
	struct hold holds[GP_IMAGE_JOBS_MAX];
};

void holds_put(uint8_t *to, const struct holds *h); // HOLDS_HEAD_SIZE + HOLD_SIZE each
bool holds_get(const uint8_t *from, size_t len, struct holds *h) GP_MUST_CHECK;

struct base {
	struct gp_image_layout layout; // tensors follow
	struct gp_image_point point;
	uint32_t generation;
};

void base_put(uint8_t *to, const struct base *b);
bool base_get(const uint8_t *from, size_t len, struct base *b) GP_MUST_CHECK;
size_t tensor_size(const struct gp_image_tensor *t);
uint8_t *tensor_put(uint8_t *to, const struct gp_image_tensor *t);
// How many bytes it took, 0: not a tensor.
size_t tensor_get(const uint8_t *from, size_t len, struct gp_image_tensor *t) GP_MUST_CHECK;

// ---- stream

int stream_fail(struct gp_stream_error *err, int code, const char *fmt, ...) GP_PRINTF(3, 4);
// Room for a body of `len` bytes, or NULL: none now. At most one is open; stream_end sends it, and
// another stream_begin forgets it.
uint8_t *stream_begin(struct gp_stream *s, enum message_type type, size_t len) GP_MUST_CHECK;
void stream_end(struct gp_stream *s);

struct message {
	enum message_type type;
	uint32_t epoch;
	const uint8_t *body;
	size_t len;
};

// Between both and the stream that has them.
void feeder_attach(struct gp_feeder *f, struct gp_stream *s);
void feeder_detach(struct gp_feeder *f);
uint32_t feeder_epoch(const struct gp_feeder *f);
void feeder_holds(struct gp_feeder *f, const struct holds *h);
int feeder_message(
	struct gp_feeder *f, const struct message *m, struct gp_stream_error *err) GP_MUST_CHECK;
// 0 when nothing is left to write or the sink is full.
int feeder_turn(struct gp_feeder *f, struct gp_stream_error *err) GP_MUST_CHECK;
void follower_attach(struct gp_follower *f, struct gp_stream *s);
void follower_detach(struct gp_follower *f);
uint32_t follower_epoch(const struct gp_follower *f);
int follower_message(
	struct gp_follower *f, const struct message *m, struct gp_stream_error *err) GP_MUST_CHECK;
void follower_turn(struct gp_follower *f);

#endif
