// SPDX-License-Identifier: BSD-3-Clause
#include "stream_priv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

struct gp_stream {
	struct gp_stream_sink sink;
	struct gp_stream_events events;
	struct gp_feeder *feeder;
	struct gp_follower *follower;
	bool open, greeted;
	uint64_t sum_in, sum_out; // of the frame before
	uint32_t epoch_told;	  // to the peer's follower by a message of its own
	uint8_t *frame;		  // begun
	size_t frame_len;
	bool holds_valid;    // the peer has asked to be fed on this connection
	struct holds *holds; // what it said
	struct gp_stream_view view;
};

int stream_fail(struct gp_stream_error *err, int code, const char *fmt, ...)
{
	va_list args;
	GP_ASSERT(code < 0);
	va_start(args, fmt);
	err->code = code;
	vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	return code;
}

int gp_stream_create(struct gp_stream **out, const struct gp_stream_sink *sink,
	const struct gp_stream_events *events)
{
	struct gp_stream *s = calloc(1, sizeof(*s));
	struct holds *holds = calloc(1, sizeof(*holds));
	if (!s || !holds) {
		free(s);
		free(holds);
		return -ENOMEM;
	}
	s->sink = *sink;
	s->events = *events;
	s->holds = holds;
	*out = s;
	return 0;
}

void gp_stream_destroy(struct gp_stream *s)
{
	if (!s)
		return;
	gp_stream_close(s);
	free(s->holds);
	free(s);
}

// ---- frames out

static uint32_t epoch_now(const struct gp_stream *s)
{
	return s->feeder ? feeder_epoch(s->feeder) : s->follower ? follower_epoch(s->follower) : 0;
}

static uint8_t *frame_begin(struct gp_stream *s, enum message_type type, size_t len, bool urgent)
{
	GP_ASSERT(s->open && len <= GP_STREAM_BODY_MAX);
	uint8_t *at = s->sink.reserve(
		s->sink.arg, GP_STREAM_HEAD_SIZE + len + GP_STREAM_SUM_SIZE, urgent);
	s->frame = at;
	s->frame_len = GP_STREAM_HEAD_SIZE + len;
	if (!at)
		return NULL;
	gp_store32(at, STREAM_MAGIC);
	gp_store16(at + 4, GP_STREAM_VERSION);
	gp_store16(at + 6, (uint16_t)type);
	gp_store32(at + 8, (uint32_t)len);
	gp_store32(at + 12, epoch_now(s));
	return at + GP_STREAM_HEAD_SIZE;
}

uint8_t *stream_begin(struct gp_stream *s, enum message_type type, size_t len)
{
	return frame_begin(s, type, len, false);
}

void stream_end(struct gp_stream *s)
{
	GP_ASSERT(s->frame);
	s->sum_out = XXH3_64bits_withSeed(s->frame, s->frame_len, s->sum_out);
	gp_store64(s->frame + s->frame_len, s->sum_out);
	s->sink.commit(s->sink.arg, s->frame_len + GP_STREAM_SUM_SIZE);
	s->view.frames_out++;
	s->view.bytes_out += s->frame_len + GP_STREAM_SUM_SIZE;
	s->frame = NULL;
}

static int send_urgent(struct gp_stream *s, enum message_type type, const uint8_t *body, size_t len,
	struct gp_stream_error *err)
{
	uint8_t *at = frame_begin(s, type, len, true);
	if (!at)
		return stream_fail(err, -ENOMEM, "no memory for a message to the peer");
	if (len > 0)
		memcpy(at, body, len);
	stream_end(s);
	return 0;
}

static int send_greeted(struct gp_stream *s, enum message_type type, const uint8_t *body,
	size_t len, struct gp_stream_error *err)
{
	if (!s->open || !s->greeted)
		return stream_fail(err, -ENOTCONN, "the peer is not connected");
	return send_urgent(s, type, body, len, err);
}

int gp_stream_ping(struct gp_stream *s, uint64_t stamp, struct gp_stream_error *err)
{
	uint8_t body[8];
	gp_store64(body, stamp);
	return send_greeted(s, MSG_PING, body, sizeof(body), err);
}

static int send_record(struct gp_stream *s, enum message_type type,
	const struct gp_lead_record *record, struct gp_stream_error *err)
{
	uint8_t body[RECORD_SIZE];
	record_put(body, record);
	return send_greeted(s, type, body, sizeof(body), err);
}

int gp_stream_record(
	struct gp_stream *s, const struct gp_lead_record *record, struct gp_stream_error *err)
{
	return send_record(s, MSG_RECORD, record, err);
}

int gp_stream_offer(
	struct gp_stream *s, const struct gp_lead_record *to, struct gp_stream_error *err)
{
	return send_record(s, MSG_OFFER, to, err);
}

int gp_stream_whole(struct gp_stream *s, uint64_t nonce, struct gp_stream_error *err)
{
	uint8_t body[8];
	gp_store64(body, nonce);
	return send_greeted(s, MSG_WHOLE, body, sizeof(body), err);
}

// ---- life of a connection

int gp_stream_open(
	struct gp_stream *s, const struct gp_stream_hello *self, struct gp_stream_error *err)
{
	uint8_t body[HELLO_SIZE];
	GP_ASSERT(!s->open);
	s->open = true;
	s->greeted = s->holds_valid = false;
	s->sum_in = s->sum_out = 0;
	s->epoch_told = 0;
	hello_put(body, self);
	return send_urgent(s, MSG_HELLO, body, sizeof(body), err);
}

void gp_stream_close(struct gp_stream *s)
{
	if (s->open && s->greeted && s->feeder)
		feeder_detach(s->feeder);
	if (s->open && s->greeted && s->follower)
		follower_detach(s->follower);
	s->open = s->greeted = false;
}

static void feeder_start(struct gp_stream *s)
{
	feeder_attach(s->feeder, s);
	if (s->holds_valid)
		feeder_holds(s->feeder, s->holds);
}

void gp_stream_set_feeder(struct gp_stream *s, struct gp_feeder *f)
{
	GP_ASSERT(!f || !s->follower);
	if (f == s->feeder)
		return;
	if (s->feeder && s->greeted)
		feeder_detach(s->feeder);
	s->feeder = f;
	if (f && s->greeted)
		feeder_start(s);
}

void gp_stream_set_follower(struct gp_stream *s, struct gp_follower *f)
{
	GP_ASSERT(!f || !s->feeder);
	if (f == s->follower)
		return;
	if (s->follower && s->greeted)
		follower_detach(s->follower);
	s->follower = f;
	if (f && s->greeted)
		follower_attach(f, s);
}

// ---- frames in

static int take_hello(struct gp_stream *s, const struct message *m, struct gp_stream_error *err)
{
	if (s->greeted || !hello_get(m->body, m->len, &s->view.peer))
		return stream_fail(err, -EPROTO, "a hello that is none, or the second one");
	s->greeted = true;
	if (s->follower)
		follower_attach(s->follower, s);
	if (s->feeder)
		feeder_start(s);
	if (s->events.hello)
		s->events.hello(s->events.arg, &s->view.peer);
	return 0;
}

static int take_record(struct gp_stream *s, const struct message *m, struct gp_stream_error *err)
{
	struct gp_lead_record r;
	if (m->len != RECORD_SIZE || !record_get(m->body, &r))
		return stream_fail(err, -EPROTO, "a leadership record that is none");
	if (m->type == MSG_RECORD && s->events.record)
		s->events.record(s->events.arg, &r);
	// A follower that lacks something tells so when it has it: the feeder gets ready again.
	bool whole = s->follower && gp_follower_is_whole(s->follower);
	if (m->type == MSG_OFFER && whole && s->events.offered)
		s->events.offered(s->events.arg, &r);
	return 0;
}

static int take_number(struct gp_stream *s, const struct message *m, struct gp_stream_error *err)
{
	if (m->len != 8)
		return stream_fail(err, -EPROTO, "message %d of %zu bytes", (int)m->type, m->len);
	uint64_t number = gp_load64(m->body);
	if (m->type == MSG_PING)
		return send_urgent(s, MSG_PONG, m->body, 8, err);
	if (m->type == MSG_PONG && s->events.pong)
		s->events.pong(s->events.arg, number);
	if (m->type == MSG_WHOLE && s->events.whole)
		s->events.whole(s->events.arg, number);
	return 0;
}

static int take_holds(struct gp_stream *s, const struct message *m, struct gp_stream_error *err)
{
	if (!holds_get(m->body, m->len, s->holds))
		return stream_fail(err, -EPROTO, "what the peer says it holds is no such message");
	s->holds_valid = true;
	if (s->feeder)
		feeder_holds(s->feeder, s->holds);
	return 0;
}

static int message_take(struct gp_stream *s, const struct message *m, struct gp_stream_error *err)
{
	if (!s->greeted && m->type != MSG_HELLO)
		return stream_fail(err, -EPROTO, "message %d before hello", (int)m->type);
	switch (m->type) {
	case MSG_HELLO:
		return take_hello(s, m, err);
	case MSG_RECORD:
	case MSG_OFFER:
		return take_record(s, m, err);
	case MSG_WHOLE:
	case MSG_PING:
	case MSG_PONG:
		return take_number(s, m, err);
	case MSG_HOLDS:
		return take_holds(s, m, err);
	case MSG_HELD:
	case MSG_DIVERGED:
		return s->feeder ? feeder_message(s->feeder, m, err) : 0;
	default:
		return s->follower ? follower_message(s->follower, m, err) : 0;
	}
}

// The first bytes of a TLS record, as a handshake or as an alert that refuses our plain text.
static bool is_tls(const uint8_t *bytes, size_t len)
{
	return len >= 3 && (bytes[0] == 0x16 || bytes[0] == 0x15) && bytes[1] == 3 && bytes[2] <= 4;
}

int gp_stream_frame_size(const uint8_t *data, size_t len, size_t *size, struct gp_stream_error *err)
{
	*size = 0;
	if (is_tls(data, len))
		return stream_fail(err, -EPROTO,
			"the peer speaks TLS and this end does not: configure it on both ends");
	if (len < GP_STREAM_HEAD_SIZE)
		return 0;
	if (gp_load32(data) != STREAM_MAGIC)
		return stream_fail(err, -EPROTO,
			"wrong magic 0x%08x: the other end is no gradplane in mode sync",
			gp_load32(data));
	if (gp_load16(data + 4) != GP_STREAM_VERSION)
		return stream_fail(err, -EPROTO,
			"version %u of the replication stream, this program speaks %d; use the "
			"same release on both nodes",
			gp_load16(data + 4), GP_STREAM_VERSION);
	if (gp_load16(data + 6) < MSG_HELLO || gp_load16(data + 6) > MSG_LAST)
		return stream_fail(err, -EPROTO, "unknown message %u", gp_load16(data + 6));
	if (gp_load32(data + 8) > GP_STREAM_BODY_MAX)
		return stream_fail(err, -EPROTO, "a message of %u bytes, at most %u",
			gp_load32(data + 8), GP_STREAM_BODY_MAX);
	*size = GP_STREAM_HEAD_SIZE + gp_load32(data + 8) + GP_STREAM_SUM_SIZE;
	return 0;
}

static int frame_take(
	struct gp_stream *s, const uint8_t *data, size_t size, struct gp_stream_error *err)
{
	size_t hashed = size - GP_STREAM_SUM_SIZE;
	s->sum_in = XXH3_64bits_withSeed(data, hashed, s->sum_in);
	if (s->sum_in != gp_load64(data + hashed))
		return stream_fail(err, -EPROTO,
			"the stream is damaged: the checksum of a message does not agree");
	const struct message m = {.type = gp_load16(data + 6),
		.epoch = gp_load32(data + 12),
		.body = data + GP_STREAM_HEAD_SIZE,
		.len = hashed - GP_STREAM_HEAD_SIZE};
	s->view.frames_in++;
	s->view.bytes_in += size;
	return message_take(s, &m, err);
}

bool gp_stream_pauses(const struct gp_stream *s)
{
	return s->greeted && s->follower && gp_follower_goes_on(s->follower);
}

int gp_stream_input(struct gp_stream *s, const uint8_t *data, size_t len, size_t *used,
	struct gp_stream_error *err)
{
	size_t size;
	*used = 0;
	GP_ASSERT(s->open);
	for (;;) {
		int rc = gp_stream_frame_size(data + *used, len - *used, &size, err);
		if (rc != 0)
			return rc;
		if (size == 0 || size > len - *used || gp_stream_pauses(s))
			return 0;
		rc = frame_take(s, data + *used, size, err);
		if (rc != 0)
			return rc;
		*used += size;
	}
}

// ---- turns

int gp_stream_turn(struct gp_stream *s, struct gp_stream_error *err)
{
	int rc = 0;
	if (!s->open || !s->greeted)
		return 0;
	if (s->follower)
		follower_turn(s->follower);
	if (s->feeder)
		rc = feeder_turn(s->feeder, err);
	// The peer acts by the epoch of our frames to its follower, also when there is nothing
	// else to say to that: a record in the new epoch may have gone before.
	if (rc == 0 && epoch_now(s) != s->epoch_told) {
		s->epoch_told = epoch_now(s);
		rc = send_urgent(s, MSG_EPOCH, NULL, 0, err);
	}
	return rc;
}

void gp_stream_view(const struct gp_stream *s, struct gp_stream_view *v)
{
	*v = s->view;
	v->open = s->open;
	v->greeted = s->greeted;
}

// ---- a sink in memory

int gp_stream_pipe_init(struct gp_stream_pipe *p, size_t size)
{
	// Urgent frames find room behind a full pipe, and data when it has moved to the front.
	*p = (struct gp_stream_pipe){.mem = malloc(2 * size + GP_STREAM_FRAME_MAX), .size = size};
	return p->mem ? 0 : -ENOMEM;
}

void gp_stream_pipe_fini(struct gp_stream_pipe *p)
{
	free(p->mem);
	p->mem = NULL;
}

void gp_stream_pipe_clear(struct gp_stream_pipe *p)
{
	p->from = p->to = 0;
}

static uint8_t *pipe_reserve(void *arg, size_t len, bool urgent)
{
	struct gp_stream_pipe *p = arg;
	size_t limit = 2 * p->size + GP_STREAM_FRAME_MAX;
	if (!urgent && gp_stream_pipe_len(p) >= p->size)
		return NULL;
	if (len > limit - p->to) {
		memmove(p->mem, p->mem + p->from, gp_stream_pipe_len(p));
		p->to -= p->from;
		p->from = 0;
	}
	return len <= limit - p->to ? p->mem + p->to : NULL;
}

static void pipe_commit(void *arg, size_t len)
{
	struct gp_stream_pipe *p = arg;
	p->to += len;
}

struct gp_stream_sink gp_stream_pipe_sink(struct gp_stream_pipe *p)
{
	return (struct gp_stream_sink){.arg = p, .reserve = pipe_reserve, .commit = pipe_commit};
}

void gp_stream_pipe_drain(struct gp_stream_pipe *p, size_t len)
{
	GP_ASSERT(len <= gp_stream_pipe_len(p));
	p->from += len;
	if (p->from == p->to)
		p->from = p->to = 0;
}
