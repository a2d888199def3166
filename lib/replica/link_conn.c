// SPDX-License-Identifier: BSD-3-Clause
//
// One connection of a link: bytes between its socket and its stream.
#include "link_priv.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define URGENT_MAX	(1u << 20) // beyond out_max, for what is small
#define READS_PER_EVENT 4	   // so that one connection does not keep the loop
#define WRITE_MIN	PIECE_SIZE
#define TLS_WRITE_MAX	(1u << 20)

void conn_fail(struct conn *c, int code, const char *fmt, ...)
{
	va_list args;
	if (c->failed)
		return;
	va_start(args, fmt);
	c->failed = true;
	c->why.code = code;
	vsnprintf(c->why.text, sizeof(c->why.text), fmt, args);
	va_end(args);
	link_conn_failed(c);
}

void conn_check(struct conn *c, int rc, const struct gp_stream_error *err)
{
	if (rc == 0 || rc == -ENOTCONN)
		return;
	c->refused |= !c->failed;
	conn_fail(c, rc, "%s", err->text);
}

static void socket_fail(struct conn *c, const char *what, int error)
{
	if (error == ECONNRESET || error == EPIPE) // which of both is chance
		conn_fail(c, -ECONNRESET, "the peer closed the connection");
	else
		conn_fail(c, -error, "%s: %s", what, strerrordesc_np(error));
}

size_t conn_unsent(const struct conn *c)
{
	return c->bev ? evbuffer_get_length(c->out) : c->queue.len;
}

// ---- out

static uint8_t *sink_reserve(void *arg, size_t len, bool urgent)
{
	struct conn *c = arg;
	struct evbuffer_iovec v;
	size_t limit = link_out_max(c->link);
	// One turn writes no more than that either: there is more to do than to write.
	if (urgent ? conn_unsent(c) >= limit + URGENT_MAX
		   : conn_unsent(c) >= limit || c->turn_bytes >= limit)
		return NULL;
	if (!c->bev)
		return queue_reserve(&c->queue, len);
	c->reserved = NULL;
	if (evbuffer_reserve_space(c->out, (ev_ssize_t)len, &v, 1) == 1)
		c->reserved = v.iov_base;
	return c->reserved;
}

static void plain_write(struct conn *c)
{
	if (c->open && c->write_error == 0)
		c->write_error = queue_write(&c->queue, c->fd);
}

static void sink_commit(void *arg, size_t len)
{
	struct conn *c = arg;
	c->turn_bytes += len;
	if (c->bev) {
		struct evbuffer_iovec v = {.iov_base = c->reserved, .iov_len = len};
		int rc = evbuffer_commit_space(c->out, &v, 1);
		GP_ASSERT(rc == 0); // nothing touched the buffer since
		return;
	}
	queue_commit(&c->queue, len);
	// While it is still in the cache.
	if (c->queue.len >= WRITE_MIN)
		plain_write(c);
}

// ---- what came

static void input_take(struct conn *c)
{
	struct gp_stream_error err;
	size_t used;
	int rc = gp_stream_input(c->stream, c->in, c->in_len, &used, &err);
	conn_check(c, rc, &err);
	if (rc != 0)
		return;
	c->in_len -= used;
	if (used > 0 && c->in_len > 0)
		memmove(c->in, c->in + used, c->in_len);
}

// After a pause of the stream: what came since, of which nothing was taken.
static void input_resume(struct conn *c)
{
	link_bytes_came(c); // they did, and were not looked at
	input_take(c);
	if (c->bev && !c->failed)
		bufferevent_trigger(
			c->bev, EV_READ, BEV_OPT_DEFER_CALLBACKS | BEV_TRIG_IGNORE_WATERMARKS);
}

// ---- turns

// There is more to do than a turn may: after what else the loop has.
static void turn_again(struct conn *c)
{
	const struct timeval now = {0};
	if (event_add(c->bev ? c->again : c->writable, c->bev ? &now : NULL) != 0)
		conn_fail(c, -ENOMEM, "no memory for an event");
}

void conn_turn(struct conn *c)
{
	struct gp_stream_error err;
	if (!c->open || c->failed || c->turning)
		return;
	// Callbacks may ask for a turn: it is this one.
	c->turning = true;
	c->turn_bytes = 0;
	bool paused = gp_stream_pauses(c->stream);
	conn_check(c, gp_stream_turn(c->stream, &err), &err);
	bool more = link_goes_on(c);
	if (paused && !c->failed && !gp_stream_pauses(c->stream)) {
		input_resume(c);
		more = true;
	}
	if (!c->bev && !c->failed) {
		plain_write(c);
		if (c->write_error != 0)
			socket_fail(c, "sending", -c->write_error);
		more |= c->queue.len > 0 || c->turn_bytes >= link_out_max(c->link);
	}
	if (!c->failed && more)
		turn_again(c);
	c->turning = false;
}

// ---- in

static void plain_read(struct conn *c)
{
	for (uint32_t i = 0; i < READS_PER_EVENT && !c->failed; i++) {
		if (c->in_len == CONN_IN_SIZE) // the stream pauses, or did
			input_take(c);
		size_t room = CONN_IN_SIZE - c->in_len;
		if (room == 0 || c->failed)
			break;
		ssize_t n = recv(c->fd, c->in + c->in_len, room, 0);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n < 0)
			socket_fail(c, "receiving", errno);
		if (n == 0)
			socket_fail(c, "receiving", ECONNRESET);
		if (n <= 0)
			return;
		link_bytes_came(c);
		c->in_len += (size_t)n;
		input_take(c);
		if ((size_t)n < room)
			break;
	}
	conn_turn(c);
	link_moved(c);
}

static void conn_start(struct conn *c)
{
	struct gp_stream_error err;
	const struct gp_stream_hello hello = link_hello(c->link);
	c->open = true;
	conn_check(c, gp_stream_open(c->stream, &hello, &err), &err);
	conn_turn(c);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	struct conn *c = arg;
	if (c->open && !c->failed)
		plain_read(c);
}

static void on_connected(struct conn *c)
{
	int error = 0;
	socklen_t len = sizeof(error);
	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
		error = errno;
	if (error != 0) {
		conn_fail(c, -error, "connecting: %s", strerrordesc_np(error));
		return;
	}
	conn_start(c);
	if (event_add(c->readable, NULL) != 0)
		conn_fail(c, -ENOMEM, "no memory for an event");
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	struct conn *c = arg;
	if (c->failed)
		return;
	if (!c->open) {
		on_connected(c);
		return;
	}
	conn_turn(c);
	link_moved(c);
}

// ---- TLS

static void on_tls_read(struct bufferevent *bev, void *arg)
{
	struct conn *c = arg;
	struct evbuffer *from = bufferevent_get_input(bev);
	if (!c->open || c->failed)
		return;
	if (evbuffer_get_length(from) > 0)
		link_bytes_came(c);
	if (c->in_len == CONN_IN_SIZE) // the stream pauses, or did
		input_take(c);
	while (!c->failed && evbuffer_get_length(from) > 0 && c->in_len < CONN_IN_SIZE) {
		int n = evbuffer_remove(from, c->in + c->in_len, CONN_IN_SIZE - c->in_len);
		GP_ASSERT(n > 0);
		c->in_len += (size_t)n;
		input_take(c);
	}
	conn_turn(c);
	link_moved(c);
}

static void on_tls_written(struct bufferevent *bev, void *arg)
{
	struct conn *c = arg;
	(void)bev;
	conn_turn(c);
	link_moved(c);
}

static void on_tls_again(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	on_tls_written(NULL, arg);
}

static void on_tls_event(struct bufferevent *bev, short what, void *arg)
{
	struct conn *c = arg;
	struct gp_snapshot_error why;
	int e = EVUTIL_SOCKET_ERROR();
	if (c->failed)
		return;
	if (what & BEV_EVENT_CONNECTED) {
		socket_tune(bufferevent_getfd(bev));
		conn_start(c);
	} else if (what & BEV_EVENT_EOF) {
		conn_fail(c, -ECONNRESET,
			c->open ? "the peer closed the connection"
				: "nobody listens there, or the peer closed the connection");
	} else {
		link_error(bev, e, c->open ? "the connection" : "connecting", &why);
		conn_fail(c, why.code, "%.380s", why.text);
	}
}

// ---- what the stream tells

static void on_hello(void *arg, const struct gp_stream_hello *peer)
{
	struct conn *c = arg;
	event_del(c->deadline);
	link_greeted(c, peer);
}

static void on_record(void *arg, const struct gp_lead_record *record)
{
	link_record(arg, record);
}

static void on_offered(void *arg, const struct gp_lead_record *to)
{
	link_offered(arg, to);
}

static void on_whole(void *arg, uint64_t nonce)
{
	link_whole(arg, nonce);
}

static void on_pong(void *arg, uint64_t stamp)
{
	link_pong(arg, stamp);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	conn_fail(arg, -ETIMEDOUT, "the peer does not greet");
}

// ---- life

static int tls_open(struct conn *c, const struct conn_opts *o)
{
	c->bev = link_open(o->base, o->tls, o->fd);
	if (!c->bev) {
		c->fd = o->fd;
		return -ENOMEM;
	}
	c->again = evtimer_new(o->base, on_tls_again, c);
	if (!c->again)
		return -ENOMEM;
	c->out = bufferevent_get_output(c->bev);
	bufferevent_setcb(c->bev, on_tls_read, on_tls_written, on_tls_event, c);
	bufferevent_setwatermark(c->bev, EV_READ, 0, CONN_IN_SIZE);
	bufferevent_setwatermark(c->bev, EV_WRITE, o->out_max / 2, 0);
	bufferevent_set_max_single_write(c->bev, TLS_WRITE_MAX);
	bufferevent_set_max_single_read(c->bev, CONN_IN_SIZE);
	if (o->fd < 0 &&
		bufferevent_socket_connect(c->bev,
			(const struct sockaddr *)(const void *)&o->peer->addr, o->peer->len) != 0)
		return -EIO;
	return bufferevent_enable(c->bev, EV_READ | EV_WRITE) == 0 ? 0 : -ENOMEM;
}

static int plain_open(struct conn *c, const struct conn_opts *o)
{
	const struct sockaddr *to =
		o->peer ? (const struct sockaddr *)(const void *)&o->peer->addr : NULL;
	c->fd = o->fd;
	if (c->fd < 0)
		c->fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return -errno;
	socket_tune(c->fd);
	c->readable = event_new(o->base, c->fd, EV_READ | EV_PERSIST, on_readable, c);
	c->writable = event_new(o->base, c->fd, EV_WRITE, on_writable, c);
	if (!c->readable || !c->writable)
		return -ENOMEM;
	if (o->fd < 0 && connect(c->fd, to, (socklen_t)o->peer->len) != 0 && errno != EINPROGRESS)
		return -errno;
	return event_add(c->writable, NULL) == 0 ? 0 : -ENOMEM;
}

void conn_close(struct conn *c)
{
	gp_stream_destroy(c->stream);
	if (c->bev)
		bufferevent_free(c->bev);
	queue_fini(&c->queue);
	if (c->readable)
		event_free(c->readable);
	if (c->writable)
		event_free(c->writable);
	if (c->again)
		event_free(c->again);
	if (c->deadline)
		event_free(c->deadline);
	if (c->fd >= 0)
		close(c->fd);
	free(c->in);
	*c = (struct conn){.fd = -1};
}

int conn_open(struct conn *c, struct gp_link *l, const struct conn_opts *o)
{
	const struct gp_stream_events events = {.arg = c,
		.hello = on_hello,
		.record = on_record,
		.offered = on_offered,
		.whole = on_whole,
		.pong = on_pong};
	const struct gp_stream_sink sink = {
		.arg = c, .reserve = sink_reserve, .commit = sink_commit};
	const struct timeval greeting = {
		.tv_sec = o->greeting_ms / 1000, .tv_usec = (o->greeting_ms % 1000) * 1000};
	*c = (struct conn){.link = l, .fd = -1, .in = malloc(CONN_IN_SIZE)};
	snprintf(c->addr, sizeof(c->addr), "%s", o->addr);
	int rc = gp_stream_create(&c->stream, &sink, &events);
	c->deadline = evtimer_new(o->base, on_deadline, c);
	if (rc == 0 && (!c->in || !c->deadline || evtimer_add(c->deadline, &greeting) != 0))
		rc = -ENOMEM;
	if (rc == 0)
		rc = o->tls ? tls_open(c, o) : plain_open(c, o);
	else
		c->fd = o->fd;
	if (rc != 0)
		conn_close(c);
	return rc;
}
