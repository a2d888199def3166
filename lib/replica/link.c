// SPDX-License-Identifier: BSD-3-Clause
#include "link_priv.h"

#include <gp_log.h>

#include <errno.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define SILENT_MS_DEFAULT  1000
#define BACKOFF_MS_DEFAULT 20
#define BACKOFF_MS_MAX	   1000
#define FUTILE_FACTOR	   4 // of backoff_ms_max
#define OUT_MAX_DEFAULT	   (4u << 20)
#define GREETING_MS_MIN	   500
#define NS_PER_MS	   UINT64_C(1000000)

struct gp_link {
	struct event_base *base;
	struct gp_link_opts opts; // strings are not kept
	char product[GP_STREAM_PRODUCT_SIZE];
	struct address addr;
	struct gp_tls *tls;
	struct evconnlistener *listener; // NULL: it connects
	struct event *connect, *heartbeat, *silence, *reaper;
	struct conn conns[LINK_CONNS_MAX];
	struct conn *active; // NULL: none has greeted
	uint32_t backoff_ms;
	struct gp_feeder *feeder;
	struct gp_follower *follower;
	bool has_record, holding;
	struct gp_lead_record record;
	bool ready_told;
	bool heard, silent; // told last
	uint64_t heard_at;  // or when it began
	uint64_t beat_at;   // the last heartbeat of ours
	bool peer_known;
	struct gp_stream_hello peer;
	struct gp_link_status status;
};

static uint64_t now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

static void timer_set(struct gp_link *l, struct event *timer, uint64_t ns)
{
	// Rounded up: a timer that comes early would be set again for nothing.
	uint64_t us = gp_div_up(ns, 1000);
	const struct timeval tv = {
		.tv_sec = (time_t)(us / 1000000), .tv_usec = (suseconds_t)(us % 1000000)};
	if (evtimer_add(timer, &tv) != 0)
		gp_error("replication link %s: no timer", l->addr.text);
}

static void tell(struct gp_link *l, enum gp_lead_event_kind kind, const struct gp_lead_record *r)
{
	struct gp_lead_event ev = {.kind = kind};
	if (r)
		ev.held = (struct gp_lead_held){.exists = true, .record = *r};
	if (l->opts.event)
		l->opts.event(l->opts.arg, &ev);
}

// ---- what connections tell

struct gp_stream_hello link_hello(const struct gp_link *l)
{
	struct gp_stream_hello h = {.node = l->opts.node,
		.life = l->opts.life,
		.holding = l->holding,
		.has_record = l->has_record,
		.record = l->record,
		.beat_to = l->opts.beat_to,
		.beat_cookie = l->opts.beat_cookie};
	memcpy(h.product, l->product, sizeof(h.product));
	return h;
}

size_t link_out_max(const struct gp_link *l)
{
	return l->opts.out_max;
}

bool link_goes_on(const struct conn *c)
{
	const struct gp_link *l = c->link;
	bool feeds = c == l->active && l->feeder && gp_feeder_goes_on(l->feeder);
	return feeds || gp_stream_pauses(c->stream);
}

static void heard(struct gp_link *l)
{
	l->heard_at = now_ns();
	if (l->heard && !l->silent)
		return;
	l->heard = true;
	l->silent = false;
	timer_set(l, l->silence, l->opts.silent_ms * NS_PER_MS);
	tell(l, GP_LEAD_EV_PEER_HEARD, NULL);
}

void link_bytes_came(struct conn *c)
{
	if (c == c->link->active)
		heard(c->link);
}

// It has lost what it held, as far as we knew.
static bool is_restarted(const struct gp_link *l, const struct gp_stream_hello *peer)
{
	if (l->peer_known && l->peer.life != peer->life)
		return true;
	return !peer->holding && (!l->peer_known || l->peer.holding);
}

// The reason why connections failed is no more.
static void trouble_over(struct gp_link *l)
{
	l->status.futile = 0;
	l->backoff_ms = l->opts.backoff_ms_min;
	l->status.last_error[0] = '\0';
	gp_info("replication link: node %u at %s is connected, version %s", l->peer.node,
		l->active->addr, l->peer.product);
}

// The connection does what it is for: all that there is has come to the other end.
static bool is_of_use(const struct gp_link *l)
{
	if (l->feeder)
		return gp_feeder_ready(l->feeder);
	return l->follower && gp_follower_is_whole(l->follower); // neither is set yet: not known
}

static void use_note(struct gp_link *l)
{
	l->active->served |= is_of_use(l);
	if (l->active->served && l->status.futile > 0)
		trouble_over(l);
}

static void active_drop(struct gp_link *l)
{
	if (!l->active)
		return;
	gp_stream_set_feeder(l->active->stream, NULL);
	gp_stream_set_follower(l->active->stream, NULL);
	l->active = NULL;
}

void link_greeted(struct conn *c, const struct gp_stream_hello *peer)
{
	struct gp_link *l = c->link;
	struct conn *before = l->active;
	if (peer->node == l->opts.node) {
		conn_fail(
			c, -EPROTO, "the peer says that it is node %u, as this one is", peer->node);
		return;
	}
	active_drop(l);
	if (before)
		conn_fail(before, -ECONNRESET, "a newer connection took its place");
	bool restarted = is_restarted(l, peer);
	l->active = c;
	l->peer_known = true;
	l->peer = *peer;
	l->ready_told = false;
	l->status.connections++;
	if (l->status.futile == 0)
		trouble_over(l);
	gp_stream_set_feeder(c->stream, l->feeder);
	gp_stream_set_follower(c->stream, l->follower);
	heard(l);
	if (restarted)
		tell(l, GP_LEAD_EV_PEER_RESTARTED, NULL);
	if (peer->has_record)
		tell(l, GP_LEAD_EV_PEER_RECORD, &peer->record);
}

void link_moved(struct conn *c)
{
	struct gp_link *l = c->link;
	if (c != l->active || c->failed)
		return;
	bool ready = l->feeder && gp_feeder_ready(l->feeder);
	bool news = ready && !l->ready_told;
	l->ready_told = ready;
	if (ready)
		use_note(l);
	if (news)
		tell(l, GP_LEAD_EV_PEER_READY, NULL);
	if (l->opts.moved)
		l->opts.moved(l->opts.arg);
}

void link_record(struct conn *c, const struct gp_lead_record *record)
{
	if (c == c->link->active)
		tell(c->link, GP_LEAD_EV_PEER_RECORD, record);
}

void link_offered(struct conn *c, const struct gp_lead_record *to)
{
	if (c == c->link->active && c->link->opts.offered)
		c->link->opts.offered(c->link->opts.arg, to);
}

void link_whole(struct conn *c, uint64_t nonce)
{
	const struct gp_lead_record r = {.nonce = nonce};
	if (c == c->link->active)
		tell(c->link, GP_LEAD_EV_PEER_WHOLE, &r);
}

void link_pong(struct conn *c, uint64_t stamp)
{
	if (c == c->link->active)
		c->link->status.round_trip_ns = now_ns() - stamp;
}

static void note(struct gp_link *l, const char *addr, const char *text)
{
	l->status.failures++;
	// A peer that is away says the same all the time.
	if (strcmp(l->status.last_error, text) != 0)
		gp_warn("replication link %s: %s", addr, text);
	snprintf(l->status.last_error, sizeof(l->status.last_error), "%s", text);
}

// Once it had greeted. What one end refuses will not be taken the next time either: whoever refuses
// knows that, and who sends sees that it never came to its end.
static void futile_note(struct gp_link *l, struct conn *c)
{
	bool fed = c->served || !l->feeder;
	if (fed && !c->refused)
		return;
	l->status.futile++;
	if (!fed && c->why.code == -ECONNRESET)
		snprintf(c->why.text, sizeof(c->why.text),
			"the peer closed the connection before it held all jobs: see its log");
}

void link_conn_failed(struct conn *c)
{
	struct gp_link *l = c->link;
	if (c == l->active) {
		futile_note(l, c);
		active_drop(l);
	}
	note(l, c->addr, c->why.text);
	event_active(l->reaper, EV_TIMEOUT, 0);
}

// ---- the loop

static void conn_bury(struct gp_link *l, struct conn *c)
{
	struct gp_stream_view v;
	gp_stream_view(c->stream, &v);
	l->status.bytes_in += v.bytes_in;
	l->status.bytes_out += v.bytes_out;
	l->status.frames_in += v.frames_in;
	l->status.frames_out += v.frames_out;
	conn_close(c);
}

// A peer that lives greets often enough not to look silent, whatever either end counts as futile.
static uint32_t pause_most(const struct gp_link_opts *o)
{
	return GP_MAX(o->silent_ms / 2, (uint32_t)1);
}

static void backoff(struct gp_link *l)
{
	uint32_t factor = l->status.futile > 0 ? FUTILE_FACTOR : 1;
	uint32_t most = GP_MIN(l->opts.backoff_ms_max * factor, pause_most(&l->opts));
	timer_set(l, l->connect, l->backoff_ms * NS_PER_MS);
	l->backoff_ms = GP_MIN(2 * l->backoff_ms, most);
}

static void on_reap(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	struct gp_link *l = arg;
	for (uint32_t i = 0; i < LINK_CONNS_MAX; i++) {
		if (!l->conns[i].link || !l->conns[i].failed)
			continue;
		conn_bury(l, &l->conns[i]);
		if (!l->listener)
			backoff(l);
	}
}

static uint32_t greeting_ms(const struct gp_link *l)
{
	return GP_MAX(l->opts.silent_ms, (uint32_t)GREETING_MS_MIN);
}

static void on_connect(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	struct gp_link *l = arg;
	const struct conn_opts o = {.base = l->base,
		.tls = l->tls,
		.fd = -1,
		.peer = &l->addr,
		.out_max = l->opts.out_max,
		.greeting_ms = greeting_ms(l),
		.addr = l->addr.text};
	GP_ASSERT(!l->conns[0].link);
	int rc = conn_open(&l->conns[0], l, &o);
	if (rc == 0)
		return;
	note(l, l->addr.text, strerrordesc_np(-rc));
	backoff(l);
}

static void addr_text(const struct sockaddr *addr, char *out, size_t size)
{
	char host[64] = "?";
	uint16_t port = 0;
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)addr;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)addr;
	bool is_v6 = addr->sa_family == AF_INET6;
	if (is_v6)
		evutil_inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
	else
		evutil_inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
	port = ntohs(is_v6 ? v6->sin6_port : v4->sin_port);
	snprintf(out, size, is_v6 ? "[%s]:%u" : "%s:%u", host, port);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *addr,
	int addr_len, void *arg)
{
	(void)listener;
	(void)addr_len;
	struct gp_link *l = arg;
	struct conn *c = NULL;
	char text[96];
	for (uint32_t i = 0; !c && i < LINK_CONNS_MAX; i++)
		if (!l->conns[i].link)
			c = &l->conns[i];
	addr_text(addr, text, sizeof(text));
	if (!c) {
		close(fd);
		note(l, text, "a connection too many was closed");
		return;
	}
	const struct conn_opts o = {.base = l->base,
		.tls = l->tls,
		.fd = fd,
		.out_max = l->opts.out_max,
		.greeting_ms = greeting_ms(l),
		.addr = text};
	int rc = conn_open(c, l, &o);
	if (rc != 0)
		note(l, text, strerrordesc_np(-rc));
}

static void on_heartbeat(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	struct gp_link *l = arg;
	struct gp_stream_error err;
	l->beat_at = now_ns();
	timer_set(l, l->heartbeat, l->opts.heartbeat_ms * NS_PER_MS);
	struct conn *c = l->active;
	if (c)
		use_note(l);
	// What waits to be sent is life enough.
	if (!c || conn_unsent(c) >= GP_STREAM_FRAME_MAX)
		return;
	conn_check(c, gp_stream_ping(c->stream, l->beat_at, &err), &err);
	conn_turn(c);
}

static void on_silence(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	struct gp_link *l = arg;
	uint64_t now = now_ns(), limit = l->opts.silent_ms * NS_PER_MS;
	uint64_t silent = now - l->heard_at;
	uint64_t elsewhere = l->opts.heard_ns ? l->opts.heard_ns(l->opts.arg) : UINT64_MAX;
	// Who did not run himself cannot blame the peer before he has looked.
	bool paused = now - l->beat_at > limit / 2 + l->opts.heartbeat_ms * NS_PER_MS;
	paused |= l->active && gp_stream_pauses(l->active->stream);
	if (silent < limit || paused) {
		timer_set(l, l->silence,
			silent < limit ? limit - silent : l->opts.heartbeat_ms * NS_PER_MS);
		return;
	}
	if (l->active)
		conn_fail(l->active, -ETIMEDOUT, "nothing was heard for %u ms", l->opts.silent_ms);
	if (elsewhere < limit) {
		timer_set(l, l->silence, limit - elsewhere);
		return;
	}
	l->silent = true;
	tell(l, GP_LEAD_EV_PEER_SILENT, NULL);
}

// ---- life

static int link_fail(struct gp_stream_error *err, int code, const char *fmt, ...) GP_PRINTF(3, 4);
static int link_fail(struct gp_stream_error *err, int code, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	err->code = code;
	vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	return code;
}

static void opts_take(struct gp_link *l, const struct gp_link_opts *o)
{
	struct gp_link_opts *x = &l->opts;
	*x = *o;
	x->silent_ms = o->silent_ms ? o->silent_ms : SILENT_MS_DEFAULT;
	x->heartbeat_ms = o->heartbeat_ms ? o->heartbeat_ms : GP_MAX(x->silent_ms / 5, (uint32_t)1);
	x->backoff_ms_min = o->backoff_ms_min ? o->backoff_ms_min : BACKOFF_MS_DEFAULT;
	x->backoff_ms_max =
		GP_MAX(o->backoff_ms_max ? o->backoff_ms_max : BACKOFF_MS_MAX, x->backoff_ms_min);
	x->out_max = o->out_max ? o->out_max : OUT_MAX_DEFAULT;
	x->listen = x->peer = x->product = NULL;
	x->tls = NULL;
	x->backoff_ms_min = GP_MIN(x->backoff_ms_min, pause_most(x));
	l->backoff_ms = x->backoff_ms_min;
	strcpy(l->product, o->product);
	for (uint32_t i = 0; i < LINK_CONNS_MAX; i++)
		l->conns[i].fd = -1;
}

static int listen_start(struct gp_link *l, struct gp_stream_error *err)
{
	l->listener = evconnlistener_new_bind(l->base, on_accept, l,
		LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE | LEV_OPT_CLOSE_ON_EXEC, 8,
		(const struct sockaddr *)(const void *)&l->addr.addr, l->addr.len);
	int e = errno;
	if (l->listener)
		return 0;
	if (e == EADDRINUSE)
		return link_fail(err, -e,
			"%s: the port is in use; stop the program that listens on it (ss -ltnp) or "
			"name another port",
			l->addr.text);
	return link_fail(err, -(e ? e : EIO), "%s: cannot be listened on: %s", l->addr.text,
		strerrordesc_np(e));
}

static int events_start(struct gp_link *l, struct gp_stream_error *err)
{
	l->connect = evtimer_new(l->base, on_connect, l);
	l->heartbeat = evtimer_new(l->base, on_heartbeat, l);
	l->silence = evtimer_new(l->base, on_silence, l);
	l->reaper = event_new(l->base, -1, 0, on_reap, l);
	if (!l->connect || !l->heartbeat || !l->silence || !l->reaper)
		return link_fail(err, -ENOMEM, "out of memory for the replication link");
	l->heard_at = l->beat_at = now_ns();
	timer_set(l, l->heartbeat, l->opts.heartbeat_ms * NS_PER_MS);
	timer_set(l, l->silence, l->opts.silent_ms * NS_PER_MS);
	if (!l->listener)
		timer_set(l, l->connect, 0);
	return 0;
}

int gp_link_create(struct event_base *base, const struct gp_link_opts *opts, struct gp_link **out,
	struct gp_stream_error *err)
{
	struct gp_snapshot_error why;
	const char *addr = opts->listen ? opts->listen : opts->peer;
	if (!opts->listen == !opts->peer)
		return link_fail(err, -EINVAL, "the replication link listens or connects");
	if (strlen(opts->product) >= GP_STREAM_PRODUCT_SIZE || opts->node > 1)
		return link_fail(err, -EINVAL, "the replication link: product or node");
	struct gp_link *l = calloc(1, sizeof(*l));
	if (!l)
		return link_fail(err, -ENOMEM, "out of memory for the replication link");
	l->base = base;
	opts_take(l, opts);
	int rc = address_parse(addr, opts->peer != NULL, &l->addr, &why);
	if (rc == 0)
		rc = link_tls_create(
			opts->tls, opts->listen ? GP_TLS_SERVER : GP_TLS_CLIENT, &l->tls, &why);
	if (rc != 0)
		link_fail(err, rc, "%.380s", why.text);
	if (rc == 0 && opts->listen)
		rc = listen_start(l, err);
	if (rc == 0)
		rc = events_start(l, err);
	if (rc != 0)
		gp_link_destroy(l);
	else
		*out = l;
	return rc;
}

void gp_link_destroy(struct gp_link *l)
{
	if (!l)
		return;
	struct event *events[] = {l->connect, l->heartbeat, l->silence, l->reaper};
	active_drop(l);
	for (uint32_t i = 0; i < LINK_CONNS_MAX; i++)
		if (l->conns[i].link)
			conn_close(&l->conns[i]);
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(events); i++)
		if (events[i])
			event_free(events[i]);
	if (l->listener)
		evconnlistener_free(l->listener);
	gp_tls_destroy(l->tls);
	free(l);
}

uint16_t gp_link_port(const struct gp_link *l)
{
	struct sockaddr_storage addr = {0};
	socklen_t len = sizeof(addr);
	if (!l->listener || getsockname(evconnlistener_get_fd(l->listener),
				    (struct sockaddr *)(void *)&addr, &len) != 0)
		return 0;
	if (addr.ss_family == AF_INET6)
		return ntohs(((const struct sockaddr_in6 *)(const void *)&addr)->sin6_port);
	return ntohs(((const struct sockaddr_in *)(const void *)&addr)->sin_port);
}

void gp_link_self(struct gp_link *l, const struct gp_lead_record *record, bool holding)
{
	struct gp_stream_error err;
	bool news = record && (!l->has_record || !gp_lead_record_equal(record, &l->record));
	l->holding = holding;
	l->has_record = record != NULL;
	if (record)
		l->record = *record;
	if (!news || !l->active)
		return;
	conn_check(l->active, gp_stream_record(l->active->stream, record, &err), &err);
	gp_link_turn(l);
}

void gp_link_set_feeder(struct gp_link *l, struct gp_feeder *f)
{
	l->feeder = f;
	l->ready_told = false;
	if (l->active)
		gp_stream_set_feeder(l->active->stream, f);
	gp_link_turn(l);
}

void gp_link_set_follower(struct gp_link *l, struct gp_follower *f)
{
	l->follower = f;
	if (l->active)
		gp_stream_set_follower(l->active->stream, f);
	gp_link_turn(l);
}

void gp_link_turn(struct gp_link *l)
{
	if (l->active)
		conn_turn(l->active);
}

int gp_link_offer(struct gp_link *l, const struct gp_lead_record *to)
{
	struct gp_stream_error err;
	if (!l->active)
		return -ENOTCONN;
	int rc = gp_stream_offer(l->active->stream, to, &err);
	conn_check(l->active, rc, &err);
	gp_link_turn(l);
	return rc;
}

int gp_link_whole(struct gp_link *l, uint64_t nonce)
{
	struct gp_stream_error err;
	if (!l->active)
		return -ENOTCONN;
	int rc = gp_stream_whole(l->active->stream, nonce, &err);
	conn_check(l->active, rc, &err);
	gp_link_turn(l);
	return rc;
}

void gp_link_status(const struct gp_link *l, struct gp_link_status *out)
{
	*out = l->status;
	out->connected = l->active != NULL;
	out->silent = l->silent;
	out->heard_ns = l->heard ? now_ns() - l->heard_at : UINT64_MAX;
	if (!l->active)
		return;
	struct gp_stream_view v;
	gp_stream_view(l->active->stream, &v);
	out->peer = l->peer;
	memcpy(out->peer_addr, l->active->addr, sizeof(out->peer_addr));
	out->bytes_in += v.bytes_in;
	out->bytes_out += v.bytes_out;
	out->frames_in += v.frames_in;
	out->frames_out += v.frames_out;
	out->unsent = conn_unsent(l->active);
}
