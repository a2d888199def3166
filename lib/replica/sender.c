// SPDX-License-Identifier: BSD-3-Clause
#include "replica_priv.h"

#include <gp_log.h>

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

#define BACKOFF_MS_MIN_DEFAULT 100
#define BACKOFF_MS_MAX_DEFAULT 5000
#define ANSWER_MS_DEFAULT      60000

// The newest snapshot of a job.
struct shipment {
	char path[PATH_MAX]; // "" when it can never be sent
	struct gp_snapshot_entry entry;
	bool waiting; // to be sent, or sent again
	bool sent, verified;
	uint32_t last_step_sent, last_step_verified;
	uint64_t digest; // of last_step_verified
	bool held_valid; // the replica says that it holds `held`
	bool from_full;	 // it refused what builds on `held`: the whole chain is shipped
	struct hold held;
	uint64_t order; // of the request: first come, first sent
};

enum sender_state {
	SENDER_DOWN,	 // waits for the timer
	SENDER_GREETING, // connects, or waits for hello
	SENDER_IDLE,
	SENDER_SENDING,
	SENDER_WAITING, // for the result
};

struct gp_replica_sender {
	struct event_base *base;
	struct address peer;
	char product[GP_SNAPSHOT_TEXT_SIZE];
	uint32_t backoff_ms_min, backoff_ms_max, backoff_ms, answer_ms_max;
	struct event *timer;
	struct gp_tls *tls; // NULL: plain TCP
	struct bufferevent *bev;
	enum sender_state state;
	struct gp_snapshot *snap; // under way
	struct msg_begin begin;	  // of it
	uint32_t file_idx;
	uint64_t offset;
	struct shipment *current;
	struct shipment *newest; // sent or verified last
	uint64_t orders;
	struct msg_hello hello; // the replica's, of this connection
	uint32_t shipments_count;
	struct shipment shipments[GP_REPLICA_JOBS_MAX];
	struct gp_replica_status status; // what is not of one job
};

static void sender_kick(struct gp_replica_sender *s);

static struct timeval ms_timeval(uint32_t ms)
{
	return (struct timeval){.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};
}

static void sender_note(struct gp_replica_sender *s, const char *text)
{
	s->status.failures++;
	// A replica that is away says the same every few seconds.
	if (strcmp(s->status.last_error, text) != 0)
		gp_warn("replica sender to %s: %s", s->peer.text, text);
	snprintf(s->status.last_error, sizeof(s->status.last_error), "%s", text);
}

// What was under way has to be sent again, unless a newer one waits in its place.
static void transfer_stop(struct gp_replica_sender *s)
{
	if (!s->snap)
		return;
	if (s->current->waiting)
		s->status.superseded_count++;
	s->current->waiting = true;
	gp_snapshot_close(s->snap);
	s->snap = NULL;
	s->current = NULL;
}

static void sender_disconnect(struct gp_replica_sender *s)
{
	transfer_stop(s);
	if (s->bev)
		bufferevent_free(s->bev);
	s->bev = NULL;
	s->state = SENDER_DOWN;
}

// The connection is of no more use: again, later.
static void sender_fail(struct gp_replica_sender *s, const char *text)
{
	struct timeval tv = ms_timeval(s->backoff_ms);
	sender_note(s, text);
	sender_disconnect(s);
	s->backoff_ms = GP_MIN(2 * s->backoff_ms, s->backoff_ms_max);
	if (evtimer_add(s->timer, &tv) != 0)
		gp_error("replica sender to %s: no timer, it stays disconnected", s->peer.text);
}

// Silence of the peer counts only while an answer is due; unsent bytes always.
static void sender_deadline(struct gp_replica_sender *s, bool answer_due)
{
	struct timeval tv = ms_timeval(s->answer_ms_max);
	bufferevent_set_timeouts(s->bev, answer_due ? &tv : NULL, &tv);
}

static int chunk_put(struct gp_replica_sender *s)
{
	const struct gp_snapshot_file *file = &s->begin.files[s->file_idx];
	const uint8_t *bytes = gp_snapshot_bytes(s->snap, s->file_idx);
	uint64_t count = GP_MIN(file->size - s->offset, CHUNK_DATA_MAX);
	uint8_t head[CHUNK_HEADER_SIZE] = {0};
	gp_store32(head, s->file_idx);
	gp_store64(head + 8, s->offset);
	int rc = frame_put(bufferevent_get_output(s->bev), FRAME_CHUNK, head, sizeof(head),
		bytes + s->offset, count);
	if (rc != 0)
		return rc;
	s->status.bytes += count;
	s->offset += count;
	if (s->offset == file->size) {
		s->file_idx++;
		s->offset = 0;
	}
	return 0;
}

static int end_put(struct gp_replica_sender *s)
{
	struct shipment *ship = s->current;
	int rc = frame_put(bufferevent_get_output(s->bev), FRAME_END, NULL, 0, NULL, 0);
	if (rc != 0)
		return rc;
	ship->sent = true;
	ship->last_step_sent = s->begin.entry.step;
	s->newest = ship;
	s->state = SENDER_WAITING;
	sender_deadline(s, true);
	return 0;
}

// Called whenever less than a chunk is left to write.
static void sender_write(struct bufferevent *bev, void *arg)
{
	struct gp_replica_sender *s = arg;
	(void)bev;
	if (s->state != SENDER_SENDING)
		return;
	int rc = s->file_idx < s->begin.files_count ? chunk_put(s) : end_put(s);
	if (rc != 0)
		sender_fail(s, "out of memory for a message");
}

static int transfer_fail(
	struct gp_replica_sender *s, const char *path, struct gp_snapshot_error *err)
{
	const struct gp_snapshot_meta *meta = gp_snapshot_meta(s->snap);
	int rc = replica_fail(
		err, -EBADMSG, "%.256s: is of job %s step %u", path, meta->job, meta->step);
	gp_snapshot_close(s->snap);
	s->snap = NULL;
	return rc;
}

static int transfer_open(
	struct gp_replica_sender *s, struct shipment *ship, struct gp_snapshot_error *err)
{
	char path[PATH_MAX];
	struct gp_snapshot_entry entry;
	const struct hold *held = ship->held_valid && !ship->from_full ? &ship->held : NULL;
	int rc = chain_next(ship->path, held, path, err);
	if (rc == 0)
		rc = gp_snapshot_open_alone(path, &s->snap, err);
	if (rc != 0)
		return rc;
	const struct gp_snapshot_meta *meta = gp_snapshot_meta(s->snap);
	const char *slash = strrchr(path, '/');
	if (!gp_snapshot_name_parse(slash ? slash + 1 : path, &entry) ||
		strcmp(meta->job, entry.job) != 0 || meta->step != entry.step)
		return transfer_fail(s, path, err);
	s->begin = (struct msg_begin){.entry = entry,
		.digest = gp_snapshot_seal(s->snap)->digest,
		.files_count = gp_snapshot_files_count(s->snap)};
	for (uint32_t i = 0; i < s->begin.files_count; i++)
		s->begin.files[i] = *gp_snapshot_file(s->snap, i);
	return 0;
}

// False if it cannot be sent at all, and never will.
static bool transfer_start(struct gp_replica_sender *s, struct shipment *ship)
{
	struct gp_snapshot_error err;
	ship->waiting = false;
	if (transfer_open(s, ship, &err) != 0) {
		sender_note(s, err.text);
		ship->path[0] = 0;
		return false;
	}
	s->current = ship;
	s->file_idx = 0;
	s->offset = 0;
	s->status.transfers++;
	s->state = SENDER_SENDING;
	sender_deadline(s, false);
	if (msg_begin_put(bufferevent_get_output(s->bev), &s->begin) != 0)
		sender_fail(s, "out of memory for a message");
	return true;
}

static void sender_kick(struct gp_replica_sender *s)
{
	while (s->state == SENDER_IDLE) {
		struct shipment *first = NULL;
		for (uint32_t i = 0; i < s->shipments_count; i++)
			if (s->shipments[i].waiting &&
				(!first || s->shipments[i].order < first->order))
				first = &s->shipments[i];
		if (!first)
			sender_deadline(s, false);
		if (!first || transfer_start(s, first))
			return;
	}
}

static bool peer_holds(const struct msg_hello *m, const struct shipment *ship)
{
	if (!ship->verified || ship->last_step_verified != ship->entry.step)
		return false;
	for (uint32_t i = 0; i < m->holds_count; i++)
		if (strcmp(m->holds[i].job, ship->entry.job) == 0)
			return m->holds[i].step == ship->entry.step &&
			       m->holds[i].digest == ship->digest;
	return false;
}

static void held_note(struct shipment *ship, const struct msg_hello *m)
{
	ship->held_valid = false;
	for (uint32_t i = 0; i < m->holds_count; i++) {
		if (strcmp(m->holds[i].job, ship->entry.job) != 0)
			continue;
		ship->held_valid = true;
		ship->held = m->holds[i];
	}
}

static int hello_take(
	struct gp_replica_sender *s, const struct frame *f, struct gp_snapshot_error *err)
{
	struct msg_hello m;
	int rc = msg_hello_parse(f, &m, err);
	if (rc != 0)
		return rc;
	gp_info("replica sender: connected to %s, version %s", s->peer.text, m.product);
	s->state = SENDER_IDLE;
	s->hello = m;
	for (uint32_t i = 0; i < s->shipments_count; i++) {
		held_note(&s->shipments[i], &m);
		if (s->shipments[i].path[0] && !peer_holds(&m, &s->shipments[i]))
			s->shipments[i].waiting = true;
	}
	sender_kick(s);
	return 0;
}

static int result_take(
	struct gp_replica_sender *s, const struct frame *f, struct gp_snapshot_error *err)
{
	struct msg_result m;
	int rc = msg_result_parse(f, &m, err);
	if (rc != 0)
		return rc;
	if (!m.verified && s->current)
		s->current->from_full = true;
	if (!m.verified)
		return replica_fail(err, -EREMOTEIO, "the replica refused: %.600s", m.why);
	if (s->state != SENDER_WAITING || strcmp(m.job, s->begin.entry.job) != 0 ||
		m.step != s->begin.entry.step || m.digest != s->begin.digest)
		return replica_fail(err, -EPROTO, "an answer to what was not asked");
	struct shipment *ship = s->current;
	ship->verified = true;
	ship->last_step_verified = m.step;
	ship->digest = m.digest;
	ship->held_valid = true;
	ship->held = (struct hold){.step = m.step, .digest = m.digest};
	ship->from_full = false;
	s->newest = ship;
	// It was below the one that is wanted.
	ship->waiting |= m.step != ship->entry.step;
	s->status.verified_count++;
	s->status.last_error[0] = '\0'; // it is over
	s->backoff_ms = s->backoff_ms_min;
	gp_snapshot_close(s->snap);
	s->snap = NULL;
	s->current = NULL;
	s->state = SENDER_IDLE;
	sender_kick(s);
	return 0;
}

static int sender_frame(
	struct gp_replica_sender *s, const struct frame *f, struct gp_snapshot_error *err)
{
	if (f->type == FRAME_HELLO && s->state == SENDER_GREETING)
		return hello_take(s, f, err);
	if (f->type == FRAME_RESULT)
		return result_take(s, f, err);
	return replica_fail(err, -EPROTO, "frame type %d out of turn", (int)f->type);
}

static void sender_read(struct bufferevent *bev, void *arg)
{
	struct gp_replica_sender *s = arg;
	struct evbuffer *in = bufferevent_get_input(bev);
	struct gp_snapshot_error err;
	struct frame f;
	int rc;
	// Taking a frame may end the connection and with it `in`.
	while (s->bev == bev && (rc = frame_take(in, &f, &err)) != 0) {
		if (rc == 1)
			rc = sender_frame(s, &f, &err);
		if (rc < 0) {
			sender_fail(s, err.text);
			return;
		}
		if (s->bev == bev)
			frame_drop(in, &f);
	}
}

static void sender_event(struct bufferevent *bev, short what, void *arg)
{
	struct gp_replica_sender *s = arg;
	struct gp_snapshot_error err;
	int e = EVUTIL_SOCKET_ERROR();
	if (what & BEV_EVENT_CONNECTED) {
		struct msg_hello m = {0};
		strcpy(m.product, s->product);
		socket_tune(bufferevent_getfd(bev));
		sender_deadline(s, true);
		if (msg_hello_put(bufferevent_get_output(bev), &m) != 0)
			sender_fail(s, "out of memory for a message");
		return;
	}
	const char *greeting = s->tls ? "connecting" : "connecting without TLS";
	const char *during = s->state == SENDER_GREETING ? greeting
			     : s->snap			 ? "sending a snapshot"
							 : "waiting";
	if (what & BEV_EVENT_TIMEOUT)
		replica_fail(
			&err, -ETIMEDOUT, "%s: no progress for %u ms", during, s->answer_ms_max);
	else if (what & BEV_EVENT_EOF)
		replica_fail(&err, -ECONNRESET, "%s: %s", during,
			s->tls && s->state == SENDER_GREETING
				? "nobody listens there, or the replica closed the connection"
				: "the replica closed the connection");
	else
		link_error(bev, e, during, &err);
	sender_fail(s, err.text);
}

static void sender_connect(evutil_socket_t fd, short what, void *arg)
{
	struct gp_replica_sender *s = arg;
	(void)fd;
	(void)what;
	GP_ASSERT(!s->bev);
	struct bufferevent *bev = link_open(s->base, s->tls, -1);
	if (!bev) {
		sender_fail(s, "out of memory for a connection");
		return;
	}
	s->bev = bev;
	s->state = SENDER_GREETING;
	bufferevent_setcb(bev, sender_read, sender_write, sender_event, s);
	bufferevent_setwatermark(bev, EV_READ, 0, 2 * (FRAME_HEADER_SIZE + FRAME_BODY_MAX));
	bufferevent_setwatermark(bev, EV_WRITE, CHUNK_DATA_MAX, 0);
	sender_deadline(s, true);
	// A failure may have been reported, and the connection ended, before these return.
	int rc = bufferevent_socket_connect(
		bev, (const struct sockaddr *)(const void *)&s->peer.addr, s->peer.len);
	if (s->bev == bev && (rc != 0 || bufferevent_enable(bev, EV_READ | EV_WRITE) != 0))
		sender_fail(s, "connecting: no socket");
}

int gp_replica_sender_create(struct event_base *base, const struct gp_replica_sender_opts *opts,
	struct gp_replica_sender **out, struct gp_snapshot_error *err)
{
	struct address peer;
	const struct timeval now = {0};
	int rc = address_parse(opts->peer, true, &peer, err);
	if (rc != 0)
		return rc;
	if (strlen(opts->product) >= GP_SNAPSHOT_TEXT_SIZE)
		return replica_fail(err, -EINVAL, "replica: product is too long");
	struct gp_replica_sender *s = calloc(1, sizeof(*s));
	if (!s)
		return replica_fail(err, -ENOMEM, "out of memory for the replica sender");
	s->base = base;
	s->peer = peer;
	strcpy(s->product, opts->product);
	s->backoff_ms_min = opts->backoff_ms_min ? opts->backoff_ms_min : BACKOFF_MS_MIN_DEFAULT;
	s->backoff_ms_max = opts->backoff_ms_max ? opts->backoff_ms_max : BACKOFF_MS_MAX_DEFAULT;
	s->backoff_ms_max = GP_MAX(s->backoff_ms_min, s->backoff_ms_max);
	s->backoff_ms = s->backoff_ms_min;
	s->answer_ms_max = opts->answer_ms_max ? opts->answer_ms_max : ANSWER_MS_DEFAULT;
	rc = link_tls_create(opts->tls, GP_TLS_CLIENT, &s->tls, err);
	if (rc != 0)
		goto sender;
	s->timer = evtimer_new(base, sender_connect, s);
	if (!s->timer || evtimer_add(s->timer, &now) != 0) {
		rc = replica_fail(err, -ENOMEM, "out of memory for the replica sender");
		goto timer;
	}
	*out = s;
	return 0;
timer:
	if (s->timer)
		event_free(s->timer);
	gp_tls_destroy(s->tls);
sender:
	free(s);
	return rc;
}

void gp_replica_sender_destroy(struct gp_replica_sender *s)
{
	if (!s)
		return;
	sender_disconnect(s);
	event_free(s->timer);
	gp_tls_destroy(s->tls);
	free(s);
}

static struct shipment *shipment_find(const struct gp_replica_sender *s, const char *job)
{
	for (uint32_t i = 0; i < s->shipments_count; i++)
		if (strcmp(s->shipments[i].entry.job, job) == 0)
			return (struct shipment *)(uintptr_t)&s->shipments[i];
	return NULL;
}

int gp_replica_send(struct gp_replica_sender *s, const char *path, uint32_t step)
{
	struct gp_snapshot_entry entry;
	const char *slash = strrchr(path, '/');
	if (strlen(path) >= PATH_MAX || !gp_snapshot_name_parse(slash ? slash + 1 : path, &entry) ||
		entry.step != step)
		return -EINVAL;
	struct shipment *ship = shipment_find(s, entry.job);
	if (!ship && s->shipments_count == GP_REPLICA_JOBS_MAX)
		return -ENOSPC;
	if (!ship) {
		ship = &s->shipments[s->shipments_count++];
		ship->entry = entry;
		held_note(ship, &s->hello);
	}
	// Its turn does not get later by being superseded.
	if (ship->waiting)
		s->status.superseded_count++;
	else
		ship->order = ++s->orders;
	strcpy(ship->path, path);
	ship->entry = entry;
	ship->waiting = true;
	sender_kick(s);
	return 0;
}

void gp_replica_sender_status(
	const struct gp_replica_sender *s, const char *job, struct gp_replica_status *out)
{
	const struct shipment *ship = job ? shipment_find(s, job) : s->newest;
	*out = s->status;
	out->connected = s->state >= SENDER_IDLE;
	out->busy = s->snap != NULL;
	if (!ship)
		return;
	out->sent = ship->sent;
	out->verified = ship->verified;
	out->last_step_sent = ship->last_step_sent;
	out->last_step_verified = ship->last_step_verified;
}
