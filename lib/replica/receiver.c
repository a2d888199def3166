// SPDX-License-Identifier: BSD-3-Clause
#include "replica_priv.h"

#include <gp_log.h>

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define KEEP_DEFAULT	 3
#define SIZE_MAX_DEFAULT (UINT64_C(1) << 40)
#define IDLE_MS_DEFAULT	 60000
#define HELLO_MS_MAX	 5000
#define LINGER_MS_MAX	 5000

enum peer_state {
	PEER_FREE,
	PEER_NEW,   // has not said hello
	PEER_IDLE,  // between snapshots
	PEER_BUSY,  // one arrives
	PEER_ENDED, // refused: what still comes is thrown away, so that it can read why
};

struct peer {
	struct gp_replica_receiver *r;
	enum peer_state state;
	struct bufferevent *bev;
	struct event *linger;
	struct incoming incoming;
};

struct gp_replica_receiver {
	struct event_base *base;
	struct evconnlistener *listener;
	struct gp_tls *tls; // NULL: plain TCP
	char dir[PATH_MAX];
	char product[GP_SNAPSHOT_TEXT_SIZE];
	uint32_t keep;
	uint64_t size_max;
	uint32_t idle_ms_max;
	gp_replica_snapshot_fn on_snapshot;
	void *arg;
	struct peer peers[GP_REPLICA_PEERS_MAX];
	uint32_t holds_count;
	struct hold holds[GP_REPLICA_JOBS_MAX];
	struct gp_replica_receiver_status status;
};

static struct timeval ms_timeval(uint32_t ms)
{
	return (struct timeval){.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};
}

static void receiver_note(struct gp_replica_receiver *r, const char *text)
{
	r->status.refused_count++;
	snprintf(r->status.last_error, sizeof(r->status.last_error), "%s", text);
	gp_warn("replica receiver: %s", text);
}

static void peer_close(struct peer *p)
{
	incoming_drop(&p->incoming);
	if (p->linger)
		event_free(p->linger);
	bufferevent_free(p->bev);
	p->linger = NULL;
	p->bev = NULL;
	p->state = PEER_FREE;
	p->r->status.peers--;
}

// Silence of the peer for so long ends it; 0: it may be silent for ever.
static void peer_deadline(struct peer *p, uint32_t ms)
{
	struct timeval read = ms_timeval(ms), write = ms_timeval(p->r->idle_ms_max);
	bufferevent_set_timeouts(p->bev, ms ? &read : NULL, &write);
}

static void peer_linger_over(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	peer_close(arg);
}

// Tells the peer why and waits until it closes, but not for ever.
static void peer_refuse(struct peer *p, const struct gp_snapshot_error *err)
{
	struct msg_result m = {0};
	struct timeval tv = ms_timeval(LINGER_MS_MAX);
	if (p->state == PEER_BUSY) {
		strcpy(m.job, p->incoming.begin.entry.job);
		m.step = p->incoming.begin.entry.step;
	}
	snprintf(m.why, sizeof(m.why), "%s", err->text);
	receiver_note(p->r, err->text);
	incoming_drop(&p->incoming);
	p->state = PEER_ENDED;
	p->linger = evtimer_new(p->r->base, peer_linger_over, p);
	if (!p->linger || evtimer_add(p->linger, &tv) != 0 ||
		msg_result_put(bufferevent_get_output(p->bev), &m) != 0)
		peer_close(p);
}

static void hold_set(struct gp_replica_receiver *r, const char *job, uint32_t step, uint64_t digest)
{
	uint32_t i = 0;
	while (i < r->holds_count && strcmp(r->holds[i].job, job) != 0)
		i++;
	// One too many is only sent again by a sender that connects anew.
	if (i == GP_REPLICA_JOBS_MAX)
		return;
	r->holds_count = GP_MAX(r->holds_count, i + 1);
	strcpy(r->holds[i].job, job);
	r->holds[i].step = step;
	r->holds[i].digest = digest;
}

static int peer_hello(struct peer *p, const struct frame *f, struct gp_snapshot_error *err)
{
	struct msg_hello theirs, ours = {0};
	int rc = msg_hello_parse(f, &theirs, err);
	if (rc != 0)
		return rc;
	strcpy(ours.product, p->r->product);
	ours.holds_count = p->r->holds_count;
	memcpy(ours.holds, p->r->holds, sizeof(ours.holds));
	if (msg_hello_put(bufferevent_get_output(p->bev), &ours) != 0)
		return replica_fail(err, -ENOMEM, "out of memory for a message");
	gp_info("replica receiver: a primary of version %s is connected", theirs.product);
	p->state = PEER_IDLE;
	peer_deadline(p, 0);
	return 0;
}

static int peer_begin(struct peer *p, const struct frame *f, struct gp_snapshot_error *err)
{
	struct msg_begin m;
	int rc = msg_begin_parse(f, &m, err);
	if (rc != 0)
		return rc;
	if (m.size > p->r->size_max)
		return replica_fail(err, -EFBIG,
			"snapshot %s has %llu bytes, this replica takes at most %llu", m.entry.name,
			(unsigned long long)m.size, (unsigned long long)p->r->size_max);
	rc = incoming_begin(&p->incoming, p->r->dir, &m, err);
	if (rc != 0)
		return rc;
	p->state = PEER_BUSY;
	peer_deadline(p, p->r->idle_ms_max);
	return 0;
}

static int peer_chunk(struct peer *p, const struct frame *f, struct gp_snapshot_error *err)
{
	int rc = incoming_chunk(&p->incoming, f->body, f->len, err);
	if (rc == 0)
		p->r->status.bytes += f->len - CHUNK_HEADER_SIZE;
	return rc;
}

static int peer_end(struct peer *p, const struct frame *f, struct gp_snapshot_error *err)
{
	struct gp_replica_receiver *r = p->r;
	const struct gp_snapshot_entry *entry = &p->incoming.begin.entry;
	char path[PATH_MAX];
	struct gp_snapshot_error prune_err;
	if (f->len != 0)
		return replica_fail(err, -EPROTO, "end message: it has a body");
	int rc = incoming_end(&p->incoming, path, err);
	if (rc != 0)
		return rc;
	struct msg_result m = {
		.step = entry->step, .verified = true, .digest = p->incoming.begin.digest};
	strcpy(m.job, entry->job);
	if (gp_snapshot_prune(r->dir, m.job, m.step, r->keep, &prune_err) != 0)
		gp_warn("replica receiver: %s", prune_err.text);
	hold_set(r, m.job, m.step, m.digest);
	r->status.verified_count++;
	r->status.last_error[0] = '\0'; // it is over
	if (r->on_snapshot)
		r->on_snapshot(r->arg, path, m.job, m.step, m.digest);
	p->state = PEER_IDLE;
	peer_deadline(p, 0);
	if (msg_result_put(bufferevent_get_output(p->bev), &m) != 0)
		return replica_fail(err, -ENOMEM, "out of memory for a message");
	return 0;
}

static int peer_frame(struct peer *p, const struct frame *f, struct gp_snapshot_error *err)
{
	if (p->state == PEER_NEW && f->type == FRAME_HELLO)
		return peer_hello(p, f, err);
	if (p->state == PEER_IDLE && f->type == FRAME_BEGIN)
		return peer_begin(p, f, err);
	if (p->state == PEER_BUSY && f->type == FRAME_CHUNK)
		return peer_chunk(p, f, err);
	if (p->state == PEER_BUSY && f->type == FRAME_END)
		return peer_end(p, f, err);
	return replica_fail(err, -EPROTO, "frame type %d out of turn", (int)f->type);
}

static void peer_read(struct bufferevent *bev, void *arg)
{
	struct peer *p = arg;
	struct evbuffer *in = bufferevent_get_input(bev);
	struct gp_snapshot_error err;
	struct frame f;
	int rc = 0;
	while (p->state != PEER_ENDED && (rc = frame_take(in, &f, &err)) == 1) {
		rc = peer_frame(p, &f, &err);
		if (rc != 0)
			break;
		frame_drop(in, &f);
	}
	if (p->state == PEER_ENDED)
		evbuffer_drain(in, evbuffer_get_length(in));
	else if (rc < 0)
		peer_refuse(p, &err);
}

static void peer_event(struct bufferevent *bev, short what, void *arg)
{
	struct peer *p = arg;
	struct gp_snapshot_error err;
	int e = EVUTIL_SOCKET_ERROR();
	if (what & BEV_EVENT_CONNECTED) // and proved: TLS only
		return;
	if (p->state == PEER_NEW && p->r->tls && (what & BEV_EVENT_ERROR)) {
		link_error(bev, e, "a connection", &err);
		receiver_note(p->r, err.text);
	}
	if (p->state == PEER_BUSY) {
		replica_fail(&err, -ECONNRESET, "snapshot %s: the primary %s in the middle of it",
			p->incoming.begin.entry.name,
			what & BEV_EVENT_TIMEOUT ? "was silent too long" : "went away");
		receiver_note(p->r, err.text);
	}
	peer_close(p);
}

static void receiver_accept(struct evconnlistener *listener, evutil_socket_t fd,
	struct sockaddr *addr, int addr_len, void *arg)
{
	struct gp_replica_receiver *r = arg;
	struct peer *p = NULL;
	(void)listener;
	(void)addr;
	(void)addr_len;
	for (uint32_t i = 0; !p && i < GP_REPLICA_PEERS_MAX; i++)
		if (r->peers[i].state == PEER_FREE)
			p = &r->peers[i];
	struct bufferevent *bev = p ? link_open(r->base, r->tls, fd) : NULL;
	if (!bev) {
		receiver_note(r,
			p ? "out of memory for a connection" : "a connection too many was closed");
		close(fd);
		return;
	}
	socket_tune(fd);
	*p = (struct peer){.r = r, .state = PEER_NEW, .bev = bev};
	r->status.peers++;
	bufferevent_setcb(bev, peer_read, NULL, peer_event, p);
	bufferevent_setwatermark(bev, EV_READ, 0, 2 * (FRAME_HEADER_SIZE + FRAME_BODY_MAX));
	peer_deadline(p, HELLO_MS_MAX);
	if (bufferevent_enable(bev, EV_READ | EV_WRITE) != 0)
		peer_close(p);
}

static int receiver_listen(
	struct gp_replica_receiver *r, const struct address *a, struct gp_snapshot_error *err)
{
	r->listener = evconnlistener_new_bind(r->base, receiver_accept, r,
		LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE | LEV_OPT_CLOSE_ON_EXEC, 8,
		(const struct sockaddr *)(const void *)&a->addr, a->len);
	int e = errno;
	if (r->listener)
		return 0;
	if (e == EADDRINUSE)
		return replica_fail(err, -e,
			"%s: the port is in use; stop the program that listens on it (ss -ltnp) or "
			"name "
			"another port",
			a->text);
	char text[sizeof(a->text) + 64];
	snprintf(text, sizeof(text), "%s: cannot be listened on", a->text);
	return replica_fail_sys(err, e, text);
}

// What survived the last life: each job's newest that verifies.
static int holds_load(struct gp_replica_receiver *r, struct gp_snapshot_error *err)
{
	struct gp_snapshot_list list;
	struct gp_snapshot_error why;
	int rc = gp_snapshot_list(r->dir, NULL, &list, err);
	if (rc != 0)
		return rc;
	for (uint32_t i = 0; i < list.count; i++) {
		struct gp_snapshot *snap;
		bool seen = false;
		for (uint32_t k = 0; k < i && !seen; k++)
			seen = strcmp(list.entries[k].job, list.entries[i].job) == 0;
		if (seen || gp_snapshot_latest(
				    r->dir, list.entries[i].job, NULL, NULL, &snap, &why) != 0)
			continue;
		hold_set(r, list.entries[i].job, gp_snapshot_meta(snap)->step,
			gp_snapshot_seal(snap)->digest);
		gp_snapshot_close(snap);
	}
	gp_snapshot_list_free(&list);
	return 0;
}

static int opts_take(struct gp_replica_receiver *r, const struct gp_replica_receiver_opts *opts,
	struct gp_snapshot_error *err)
{
	if (strlen(opts->dir) >= sizeof(r->dir) || strlen(opts->product) >= sizeof(r->product))
		return replica_fail(err, -EINVAL, "replica: directory or product is too long");
	strcpy(r->dir, opts->dir);
	strcpy(r->product, opts->product);
	r->keep = opts->keep ? opts->keep : KEEP_DEFAULT;
	r->size_max = opts->size_max ? opts->size_max : SIZE_MAX_DEFAULT;
	r->idle_ms_max = opts->idle_ms_max ? opts->idle_ms_max : IDLE_MS_DEFAULT;
	r->on_snapshot = opts->on_snapshot;
	r->arg = opts->arg;
	return 0;
}

int gp_replica_receiver_create(struct event_base *base, const struct gp_replica_receiver_opts *opts,
	struct gp_replica_receiver **out, struct gp_snapshot_error *err)
{
	struct address a;
	int rc = address_parse(opts->listen, false, &a, err);
	if (rc != 0)
		return rc;
	struct gp_replica_receiver *r = calloc(1, sizeof(*r));
	if (!r)
		return replica_fail(err, -ENOMEM, "out of memory for the replica receiver");
	r->base = base;
	rc = opts_take(r, opts, err);
	if (rc == 0)
		rc = gp_snapshot_dir_prepare(r->dir, NULL, err);
	if (rc == 0)
		rc = holds_load(r, err);
	if (rc == 0)
		rc = link_tls_create(opts->tls, GP_TLS_SERVER, &r->tls, err);
	if (rc == 0)
		rc = receiver_listen(r, &a, err);
	if (rc != 0) {
		gp_tls_destroy(r->tls);
		free(r);
		return rc;
	}
	*out = r;
	return 0;
}

void gp_replica_receiver_destroy(struct gp_replica_receiver *r)
{
	if (!r)
		return;
	for (uint32_t i = 0; i < GP_REPLICA_PEERS_MAX; i++)
		if (r->peers[i].state != PEER_FREE)
			peer_close(&r->peers[i]);
	evconnlistener_free(r->listener);
	gp_tls_destroy(r->tls);
	free(r);
}

uint16_t gp_replica_receiver_port(const struct gp_replica_receiver *r)
{
	struct sockaddr_storage addr = {0};
	socklen_t len = sizeof(addr);
	if (getsockname(evconnlistener_get_fd(r->listener), (struct sockaddr *)(void *)&addr,
		    &len) != 0)
		return 0;
	if (addr.ss_family == AF_INET6)
		return ntohs(((const struct sockaddr_in6 *)(const void *)&addr)->sin6_port);
	return ntohs(((const struct sockaddr_in *)(const void *)&addr)->sin_port);
}

void gp_replica_receiver_status(
	const struct gp_replica_receiver *r, struct gp_replica_receiver_status *out)
{
	*out = r->status;
}
