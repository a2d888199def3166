// SPDX-License-Identifier: BSD-3-Clause
#include "rig.h"

#include <gp_lead_witness.h>

#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TURN_MS	  5
#define PAIRS_MAX 256

// Criterion forgets a few bytes when long and short tests end out of turn; LeakSanitizer asks this.
const char *__lsan_default_suppressions(void);

const char *__lsan_default_suppressions(void)
{
	return "leak:libcriterion";
}

uint64_t rig_now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void rig_run(const char *fmt, ...)
{
	char command[512];
	va_list args;
	va_start(args, fmt);
	vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	cr_assert_eq(system(command), 0, "%s", command);
}

static void turn_over(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
}

static void turn(struct rig *r, uint32_t us)
{
	const struct timeval tv = {.tv_usec = us};
	cr_assert_eq(event_base_once(r->base, -1, EV_TIMEOUT, turn_over, NULL, &tv), 0);
	cr_assert_eq(event_base_loop(r->base, EVLOOP_ONCE), 0);
}

void rig_turn(struct rig *r)
{
	turn(r, TURN_MS * 1000);
}

void rig_turn_short(struct rig *r)
{
	turn(r, 200);
}

// ---- the server, a process of its own that dies with the test

static void etcd_exec(const struct rig *r)
{
	char data[96], client[96], peer[96], cert[96], key[96], ca[96];
	const char *scheme = r->tls ? "https" : "http";
	snprintf(data, sizeof(data), "%s/etcd", r->dir);
	snprintf(client, sizeof(client), "%s://%s:%u", scheme, r->host, r->port);
	snprintf(peer, sizeof(peer), "http://%s:%u", r->host, r->port + 1);
	snprintf(cert, sizeof(cert), "--cert-file=%s/tls/server.pem", r->dir);
	snprintf(key, sizeof(key), "--key-file=%s/tls/server.key", r->dir);
	snprintf(ca, sizeof(ca), "--trusted-ca-file=%s/tls/ca.pem", r->dir);
	int log = open("/dev/null", O_WRONLY);
	dup2(log, 1);
	dup2(log, 2);
	const char *args[] = {"etcd", "--data-dir", data, "--listen-client-urls", client,
		"--advertise-client-urls", client, "--listen-peer-urls", peer, NULL, NULL, NULL,
		NULL, NULL};
	const char *const secure[] = {"--client-cert-auth", ca, cert, key};
	for (uint32_t i = 0; r->tls && i < 4; i++)
		args[9 + i] = secure[i];
	execvp("etcd", (char *const *)args);
	_exit(127);
}

static void witness_main(const struct rig *r)
{
	char listen[64], dir[96], cert[96], key[96], ca[96];
	struct event_base *base = event_base_new();
	struct gp_lead_witness *w;
	struct gp_lead_error err;
	const struct gp_lead_tls tls = {.cert = cert, .key = key, .ca = ca, .peer_name = "node"};
	signal(SIGPIPE, SIG_IGN);
	snprintf(listen, sizeof(listen), "%s:%u", r->host, r->port);
	snprintf(dir, sizeof(dir), "%s/witness", r->dir);
	snprintf(cert, sizeof(cert), "%s/tls/server.pem", r->dir);
	snprintf(key, sizeof(key), "%s/tls/server.key", r->dir);
	snprintf(ca, sizeof(ca), "%s/tls/ca.pem", r->dir);
	const struct gp_lead_witness_opts opts = {
		.listen = listen, .directory = dir, .tls = r->tls ? &tls : NULL};
	if (gp_lead_witness_create(base, &opts, &w, &err) != 0) {
		fprintf(stderr, "witness: %s\n", err.text);
		_exit(1);
	}
	event_base_dispatch(base);
	_exit(0);
}

void rig_server_start(struct rig *r)
{
	pid_t parent = getpid();
	r->server = fork();
	cr_assert_geq(r->server, 0);
	if (r->server > 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	close_range(3, ~0U, 0); // what the test runner holds is not ours
	if (r->kind == RIG_ETCD)
		etcd_exec(r);
	witness_main(r);
}

void rig_server_kill(struct rig *r)
{
	if (r->server <= 0)
		return;
	kill(r->server, SIGKILL);
	waitpid(r->server, NULL, 0);
	r->server = 0;
}

void rig_init(struct rig *r, enum rig_kind kind, bool tls)
{
	if (kind == RIG_ETCD && access("/usr/bin/etcd", X_OK) != 0)
		cr_skip_test("no etcd here (apt-get install etcd-server)");
	signal(SIGPIPE, SIG_IGN);
	*r = (struct rig){.kind = kind, .tls = tls, .dir = "/tmp/gp-lead-XXXXXX"};
	cr_assert_not_null(mkdtemp(r->dir));
	uint32_t pid = (uint32_t)getpid();
	snprintf(r->host, sizeof(r->host), "127.%u.%u.1", 1 + pid / 256 % 250, pid % 256);
	if (tls)
		rig_run("%s %s/tls server=%s node && %s %s/other node", GP_TEST_CA, r->dir, r->host,
			GP_TEST_CA, r->dir);
	r->base = event_base_new();
	r->port = 2379;
	rig_server_start(r);
}

void rig_fini(struct rig *r)
{
	gp_lead_destroy(r->lead);
	rig_server_kill(r);
	if (r->base)
		event_base_free(r->base);
	if (r->dir[0])
		rig_run("rm -rf %s", r->dir);
}

// ---- the client

void rig_client(struct rig *r, uint16_t port, uint16_t second, uint32_t timeout_ms, const char *tls)
{
	char first[64], other[64], cert[96], key[96], ca[96];
	struct gp_lead_error err;
	snprintf(first, sizeof(first), "%s:%u", r->host, port);
	snprintf(other, sizeof(other), "%s:%u", r->host, second);
	snprintf(cert, sizeof(cert), "%s/%s.pem", r->dir, tls ? tls : "");
	snprintf(key, sizeof(key), "%s/%s.key", r->dir, tls ? tls : "");
	snprintf(ca, sizeof(ca), "%s/tls/ca.pem", r->dir);
	const struct gp_lead_tls files = {.cert = cert, .key = key, .ca = ca};
	const struct gp_lead_opts opts = {
		.kind = r->kind == RIG_ETCD ? "etcd" : "witness",
		.key = "pair",
		.endpoints_count = second ? 2 : 1,
		.endpoints = {first, other},
		.tls = tls ? &files : NULL,
		.timeout_ms = timeout_ms,
	};
	gp_lead_destroy(r->lead);
	cr_assert_eq(gp_lead_create(r->base, &opts, &r->lead, &err), 0, "%s", err.text);
}

static void on_answer(void *arg, enum gp_lead_answer answer, const struct gp_lead_held *held)
{
	struct rig *r = arg;
	cr_assert_not(r->answered);
	r->answered = true;
	r->answer = answer;
	if (held)
		r->held = *held;
}

void rig_until_answered(struct rig *r)
{
	uint64_t end = rig_now_ms() + RIG_WAIT_MS;
	while (!r->answered) {
		cr_assert_lt(rig_now_ms(), end, "no answer");
		rig_turn(r);
	}
}

enum gp_lead_answer rig_get(struct rig *r)
{
	r->answered = false;
	cr_assert_eq(gp_lead_get(r->lead, on_answer, r), 0);
	rig_until_answered(r);
	return r->answer;
}

void rig_swap_begin(struct rig *r, const struct gp_lead_held *from, const struct gp_lead_record *to)
{
	r->answered = false;
	cr_assert_eq(gp_lead_swap(r->lead, from, to, on_answer, r), 0);
}

enum gp_lead_answer rig_swap(
	struct rig *r, const struct gp_lead_held *from, const struct gp_lead_record *to)
{
	struct gp_lead_held copy = *from;
	rig_swap_begin(r, &copy, to);
	rig_until_answered(r);
	return r->answer;
}

struct gp_lead_record rig_next(const struct gp_lead_held *held, uint64_t nonce)
{
	uint32_t epoch = held->exists ? held->record.epoch + 1 : 1;
	return (struct gp_lead_record){.epoch = epoch,
		.primary = epoch % 2,
		.backup = epoch % 3 ? GP_LEAD_NODE_NONE : 1 - epoch % 2,
		.nonce = nonce};
}

// ---- the relay

struct pair {
	struct relay *relay;
	struct bufferevent *in, *out; // of the client, to the server
	bool lose, mute;
};

struct relay {
	struct rig *rig;
	struct evconnlistener *listener;
	uint32_t lost, mute;
	uint32_t pairs_count;
	struct pair pairs[PAIRS_MAX];
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
	struct pair *p = arg;
	if (what & BEV_EVENT_CONNECTED)
		return;
	if (bev == p->out && (what & BEV_EVENT_EOF) &&
		!p->lose) // what is on its way goes out first
		evbuffer_add_buffer(bufferevent_get_output(p->in), bufferevent_get_input(p->out));
	if (evbuffer_get_length(bufferevent_get_output(p->in)) == 0 || bev == p->in)
		pair_close(p);
}

static void pair_back(struct bufferevent *bev, void *arg)
{
	struct pair *p = arg;
	if (p->lose)
		pair_close(p);
	else
		bufferevent_write_buffer(p->in, bufferevent_get_input(bev));
}

static void pair_forth(struct bufferevent *bev, void *arg)
{
	struct pair *p = arg;
	struct evbuffer *input = bufferevent_get_input(bev);
	if (p->mute)
		evbuffer_drain(input, evbuffer_get_length(input));
	else
		bufferevent_write_buffer(p->out, input);
}

static bool take(uint32_t *count)
{
	bool any = *count > 0;
	*count -= any;
	return any;
}

static void relay_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *from,
	int from_len, void *arg)
{
	struct relay *relay = arg;
	(void)listener, (void)from, (void)from_len;
	cr_assert_lt(relay->pairs_count, PAIRS_MAX);
	struct pair *p = &relay->pairs[relay->pairs_count++];
	struct sockaddr_in to = {.sin_family = AF_INET,
		.sin_port = htons(relay->rig->port),
		.sin_addr.s_addr = inet_addr(relay->rig->host)};
	*p = (struct pair){.relay = relay,
		.lose = take(&relay->lost),
		.in = bufferevent_socket_new(relay->rig->base, fd, BEV_OPT_CLOSE_ON_FREE),
		.out = bufferevent_socket_new(relay->rig->base, -1, BEV_OPT_CLOSE_ON_FREE)};
	p->mute = !p->lose && take(&relay->mute);
	bufferevent_setcb(p->in, pair_forth, NULL, pair_event, p);
	bufferevent_setcb(p->out, pair_back, NULL, pair_event, p);
	cr_assert_eq(bufferevent_socket_connect(p->out, (struct sockaddr *)&to, sizeof(to)), 0);
	bufferevent_enable(p->in, EV_READ | EV_WRITE);
	bufferevent_enable(p->out, EV_READ | EV_WRITE);
}

struct relay *relay_start(struct rig *r, uint16_t *port)
{
	struct relay *relay = calloc(1, sizeof(*relay));
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr(r->host)};
	socklen_t len = sizeof(addr);
	relay->rig = r;
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

void relay_lose(struct relay *relay, uint32_t lost, uint32_t mute)
{
	relay->lost = lost;
	relay->mute = mute;
}
