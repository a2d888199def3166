// SPDX-License-Identifier: BSD-3-Clause
//
// One end of a connection between the two nodes of a pair, without I/O: frames, greeting,
// heartbeats, what the rules of leadership (gp_lead_rules.h) tell each other, and, when this node
// feeds (gp_feeder.h) or follows (gp_follower.h), the commits of jobs and their acknowledgement.
// Both ends are the same; docs/replication.md describes every message.
//
// A stream lives from gp_stream_open, when the bytes can flow, to gp_stream_close or its first
// error; then it can be opened again. Each frame's checksum goes on from the one before, so bytes
// that were lost, doubled or damaged end the stream with an error. The feeder and the follower
// outlive it: after the next greeting they go on from what the follower holds, or with a base.
//
// Bytes go out through a sink of the caller's, which bounds them: when it has no memory for a frame
// of data the stream stops and goes on at the next gp_stream_turn. Frames that are few and small
// (greeting, records, offers, heartbeats) are marked urgent: a sink that has none for those either
// ends the stream.
//
// Owner and threads: whoever created it; one thread at a time. No clock: heartbeats carry a number
// of the caller's. Memory: one object from the heap.
// Errors: -EPROTO, -ENOMEM, -ESTALE, ... with a text; the connection is then of no more use.
#ifndef GP_STREAM_H
#define GP_STREAM_H

#include <gp_base.h>
#include <gp_lead.h>
#include <gp_xport.h>

#define GP_STREAM_VERSION      6
#define GP_STREAM_PRODUCT_SIZE 64
#define GP_STREAM_TEXT_SIZE    384
#define GP_STREAM_HEAD_SIZE    16 // magic, version, type, length, epoch
#define GP_STREAM_SUM_SIZE     8
#define GP_STREAM_BODY_MAX     (128u << 10)
#define GP_STREAM_FRAME_MAX    (GP_STREAM_HEAD_SIZE + GP_STREAM_BODY_MAX + GP_STREAM_SUM_SIZE)

struct gp_stream;
struct gp_feeder;
struct gp_follower;

struct gp_stream_error {
	int code; // -errno
	char text[GP_STREAM_TEXT_SIZE];
};

// Where bytes go. `reserve` gives `len` bytes that stay until `commit`, which takes the first `len`
// of them; or NULL: none now.
struct gp_stream_sink {
	void *arg;
	uint8_t *(*reserve)(void *arg, size_t len, bool urgent);
	void (*commit)(void *arg, size_t len);
};

struct gp_stream_hello {
	char product[GP_STREAM_PRODUCT_SIZE];
	uint32_t node;
	uint64_t life; // random, of this process
	bool holding;  // this life holds the state that its record promises
	bool has_record;
	struct gp_lead_record record;
	// Where it takes BEATs (gp_beat.h), and what they have to bear; cookie 0: nowhere.
	struct gp_addr beat_to; // ip, port, mac
	uint64_t beat_cookie;
};

// What the peer said. None may close or destroy the stream; set a mark and do it afterwards.
struct gp_stream_events {
	void *arg;
	void (*hello)(void *arg, const struct gp_stream_hello *peer);
	// The record that it acts by.
	void (*record)(void *arg, const struct gp_lead_record *record);
	// The primary offers leadership `to`. Everything that it had sent before is in the image of
	// our follower: if the rules accept it, answer with gp_stream_whole. Not told without a
	// follower, or when its image is not complete.
	void (*offered)(void *arg, const struct gp_lead_record *to);
	// The peer holds all, for the offer with this nonce.
	void (*whole)(void *arg, uint64_t nonce);
	// The answer to gp_stream_ping.
	void (*pong)(void *arg, uint64_t stamp);
};

struct gp_stream_view {
	bool open;
	bool greeted; // the peer's hello has come
	struct gp_stream_hello peer;
	uint64_t frames_in, frames_out; // since create
	uint64_t bytes_in, bytes_out;
};

int gp_stream_create(struct gp_stream **out, const struct gp_stream_sink *sink,
	const struct gp_stream_events *events) GP_MUST_CHECK;
void gp_stream_destroy(struct gp_stream *s); // takes NULL

// At most one of both; NULL: none. May change while the stream is open. A stream that loses its
// feeder or follower tells the peer nothing more of jobs.
void gp_stream_set_feeder(struct gp_stream *s, struct gp_feeder *f);
void gp_stream_set_follower(struct gp_stream *s, struct gp_follower *f);

// Sends our hello.
int gp_stream_open(struct gp_stream *s, const struct gp_stream_hello *self,
	struct gp_stream_error *err) GP_MUST_CHECK;
void gp_stream_close(struct gp_stream *s);

// How many bytes the first frame of `data` has, once its head is there; 0: not yet. For who has to
// collect it. -EPROTO: it is none.
int gp_stream_frame_size(
	const uint8_t *data, size_t len, size_t *size, struct gp_stream_error *err) GP_MUST_CHECK;
// Takes whole frames from `data`; *used bytes are done with, the rest has to come again with what
// follows it. While it pauses it takes none: the follower has more to do than one turn may
// (gp_follower_goes_on). After the turn that ends it, what has come has to be given again.
bool gp_stream_pauses(const struct gp_stream *s);
int gp_stream_input(struct gp_stream *s, const uint8_t *data, size_t len, size_t *used,
	struct gp_stream_error *err) GP_MUST_CHECK;
// Writes what is due: data of the feeder, acknowledgements of the follower. After every input, when
// the sink has room again, and when the feeder or follower was given something.
int gp_stream_turn(struct gp_stream *s, struct gp_stream_error *err) GP_MUST_CHECK;

// Once greeted (-ENOTCONN before).
int gp_stream_ping(struct gp_stream *s, uint64_t stamp, struct gp_stream_error *err) GP_MUST_CHECK;
int gp_stream_record(struct gp_stream *s, const struct gp_lead_record *record,
	struct gp_stream_error *err) GP_MUST_CHECK;
// After everything that was released: gp_feeder_ready says when that is so.
int gp_stream_offer(struct gp_stream *s, const struct gp_lead_record *to,
	struct gp_stream_error *err) GP_MUST_CHECK;
int gp_stream_whole(struct gp_stream *s, uint64_t nonce, struct gp_stream_error *err) GP_MUST_CHECK;
void gp_stream_view(const struct gp_stream *s, struct gp_stream_view *v);

// ---- a sink in memory

// Bytes first in, first out, at most `size` of them (urgent ones: and as many more).
struct gp_stream_pipe {
	uint8_t *mem;
	size_t size;
	size_t from, to;
};

int gp_stream_pipe_init(struct gp_stream_pipe *p, size_t size) GP_MUST_CHECK;
void gp_stream_pipe_fini(struct gp_stream_pipe *p);
void gp_stream_pipe_clear(struct gp_stream_pipe *p);
struct gp_stream_sink gp_stream_pipe_sink(struct gp_stream_pipe *p);
static inline const uint8_t *gp_stream_pipe_data(const struct gp_stream_pipe *p)
{
	return p->mem + p->from;
}
static inline size_t gp_stream_pipe_len(const struct gp_stream_pipe *p)
{
	return p->to - p->from;
}
void gp_stream_pipe_drain(struct gp_stream_pipe *p, size_t len);

#endif
