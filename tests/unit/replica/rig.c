// SPDX-License-Identifier: BSD-3-Clause
#include "rig.h"

#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define TURN_MS		5
#define RELAY_PAIRS_MAX 64

uint64_t rig_now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void turn_over(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

void rig_turn(struct rig *r)
{
	const struct timeval tv = {.tv_usec = TURN_MS * 1000};
	cr_assert_eq(event_base_once(r->base, -1, EV_TIMEOUT, turn_over, NULL, &tv), 0);
	cr_assert_eq(event_base_loop(r->base, EVLOOP_ONCE), 0);
}

void rig_init(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	r->base = event_base_new();
	cr_assert_not_null(r->base);
	sample_dir(r->from);
	sample_dir(r->to);
}

void rig_fini(struct rig *r)
{
	gp_replica_sender_destroy(r->sender);
	gp_replica_receiver_destroy(r->receiver);
	event_base_free(r->base);
	sample_dir_remove(r->from);
	sample_dir_remove(r->to);
}

static void rig_snapshot(
	void *arg, const char *path, const char *job, uint32_t step, uint64_t digest)
{
	struct rig *r = arg;
	struct gp_snapshot *snap;
	struct gp_snapshot_error err;
	cr_assert_eq(gp_snapshot_open(path, &snap, &err), 0, "%s", err.text);
	cr_assert_eq(gp_snapshot_seal(snap)->digest, digest);
	gp_snapshot_close(snap);
	r->snapshots++;
	r->last_step = step;
	strcpy(r->last_job, job);
}

static void receiver_make(struct rig *r, uint16_t port, const struct gp_replica_tls *tls)
{
	struct gp_snapshot_error err;
	char listen[32];
	snprintf(listen, sizeof(listen), "127.0.0.1:%u", port);
	const struct gp_replica_receiver_opts opts = {.listen = listen,
		.dir = r->to,
		.product = "0.1.0",
		.idle_ms_max = r->idle_ms,
		.size_max = 64 << 20,
		.tls = tls,
		.on_snapshot = rig_snapshot,
		.arg = r};
	cr_assert_eq(
		gp_replica_receiver_create(r->base, &opts, &r->receiver, &err), 0, "%s", err.text);
	r->port = gp_replica_receiver_port(r->receiver);
	cr_assert_neq(r->port, 0);
}

void rig_receiver_start(struct rig *r, uint16_t port)
{
	receiver_make(r, port, NULL);
}

void rig_receiver_tls(struct rig *r, const struct gp_replica_tls *tls)
{
	receiver_make(r, 0, tls);
}

static void sender_make(struct rig *r, uint16_t port, const struct gp_replica_tls *tls)
{
	struct gp_snapshot_error err;
	char peer[32];
	snprintf(peer, sizeof(peer), "127.0.0.1:%u", port);
	const struct gp_replica_sender_opts opts = {.peer = peer,
		.product = "0.1.0",
		.backoff_ms_min = 1,
		.backoff_ms_max = 20,
		.answer_ms_max = 60000,
		.tls = tls};
	cr_assert_eq(gp_replica_sender_create(r->base, &opts, &r->sender, &err), 0, "%s", err.text);
}

void rig_sender_start(struct rig *r, uint16_t port)
{
	sender_make(r, port, NULL);
}

void rig_sender_tls(struct rig *r, const struct gp_replica_tls *tls)
{
	sender_make(r, r->port, tls);
}

void rig_write(struct rig *r, const char *job, uint32_t step, uint64_t rows, char *path)
{
	struct sample s;
	struct gp_snapshot_error err;
	sample_init(&s, job, step, rows);
	cr_assert_eq(sample_write(r->from, &s, path, &err), 0, "%s", err.text);
}

void rig_ship(struct rig *r, const char *job, uint32_t step, uint64_t rows)
{
	char path[PATH_MAX];
	rig_write(r, job, step, rows, path);
	cr_assert_eq(gp_replica_send(r->sender, path, step), 0);
}

struct gp_replica_status rig_status(const struct rig *r, const char *job)
{
	struct gp_replica_status status;
	gp_replica_sender_status(r->sender, job, &status);
	return status;
}

void rig_expect_replica(const struct rig *r, const char *job, uint32_t step, uint64_t rows)
{
	struct sample s;
	struct gp_snapshot *snap;
	struct gp_snapshot_error err;
	sample_init(&s, job, step, rows);
	cr_assert_eq(gp_snapshot_latest(r->to, job, NULL, NULL, &snap, &err), 0, "%s", err.text);
	cr_assert(sample_same(snap, &s));
	gp_snapshot_close(snap);
	cr_assert_eq(sample_stages(r->to), 0u);
}

uint32_t rig_replica_count(const struct rig *r)
{
	struct gp_snapshot_list list;
	struct gp_snapshot_error err;
	cr_assert_eq(gp_snapshot_list(r->to, NULL, &list, &err), 0);
	uint32_t count = list.count;
	gp_snapshot_list_free(&list);
	return count;
}

struct pair {
	struct relay *relay;
	struct bufferevent *in, *out; // of the sender, to the receiver
	bool damage;
	uint64_t passed;
};

struct relay {
	struct rig *rig;
	struct evconnlistener *listener;
	uint64_t at;
	uint8_t flip;
	bool hit;
	uint32_t pairs_count;
	struct pair pairs[RELAY_PAIRS_MAX];
};

static void pair_close(struct pair *p)
{
	if (!p->in)
		return;
	bufferevent_free(p->in);
	bufferevent_free(p->out);
	p->in = NULL;
}

static void pair_event(struct bufferevent *bev, short what, void *arg)
{
	(void)bev;
	if (!(what & BEV_EVENT_CONNECTED))
		pair_close(arg);
}

static void pair_back(struct bufferevent *bev, void *arg)
{
	struct pair *p = arg;
	cr_assert_eq(bufferevent_write_buffer(p->in, bufferevent_get_input(bev)), 0);
}

static void pair_forth(struct bufferevent *bev, void *arg)
{
	struct pair *p = arg;
	struct relay *relay = p->relay;
	struct evbuffer *input = bufferevent_get_input(bev);
	uint64_t len = evbuffer_get_length(input);
	bool here = p->damage && relay->at >= p->passed && relay->at < p->passed + len;
	if (here) {
		relay->hit = true;
		uint64_t idx = relay->at - p->passed;
		if (relay->flip == 0) {
			pair_close(p);
			return;
		}
		evbuffer_pullup(input, -1)[idx] ^= relay->flip;
	}
	p->passed += len;
	cr_assert_eq(bufferevent_write_buffer(p->out, input), 0);
}

static void relay_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *from,
	int from_len, void *arg)
{
	struct relay *relay = arg;
	(void)listener;
	(void)from;
	(void)from_len;
	cr_assert_lt(relay->pairs_count, RELAY_PAIRS_MAX);
	struct pair *p = &relay->pairs[relay->pairs_count++];
	struct sockaddr_in to = {.sin_family = AF_INET,
		.sin_port = htons(relay->rig->port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	*p = (struct pair){.relay = relay,
		.damage = relay->pairs_count == 1,
		.in = bufferevent_socket_new(relay->rig->base, fd, BEV_OPT_CLOSE_ON_FREE),
		.out = bufferevent_socket_new(relay->rig->base, -1, BEV_OPT_CLOSE_ON_FREE)};
	bufferevent_setcb(p->in, pair_forth, NULL, pair_event, p);
	bufferevent_setcb(p->out, pair_back, NULL, pair_event, p);
	cr_assert_eq(bufferevent_socket_connect(p->out, (struct sockaddr *)&to, sizeof(to)), 0);
	bufferevent_enable(p->in, EV_READ | EV_WRITE);
	bufferevent_enable(p->out, EV_READ | EV_WRITE);
}

struct relay *relay_start(struct rig *r, uint64_t at, uint8_t flip, uint16_t *port)
{
	struct relay *relay = calloc(1, sizeof(*relay));
	struct sockaddr_in addr = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(addr);
	relay->rig = r;
	relay->at = at;
	relay->flip = flip;
	relay->listener = evconnlistener_new_bind(r->base, relay_accept, relay,
		LEV_OPT_CLOSE_ON_FREE, 8, (struct sockaddr *)&addr, sizeof(addr));
	cr_assert_not_null(relay->listener);
	cr_assert_eq(
		getsockname(evconnlistener_get_fd(relay->listener), (struct sockaddr *)&addr, &len),
		0);
	*port = ntohs(addr.sin_port);
	return relay;
}

void relay_stop(struct relay *relay)
{
	for (uint32_t i = 0; i < relay->pairs_count; i++)
		pair_close(&relay->pairs[i]);
	evconnlistener_free(relay->listener);
	free(relay);
}

bool relay_hit(const struct relay *relay)
{
	return relay->hit;
}
