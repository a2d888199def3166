// SPDX-License-Identifier: BSD-3-Clause
#include "server.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PORT_MIN   20000
#define PORTS	   40000
#define TRIES	   100
#define BURST	   32
#define NS_PER_SEC UINT64_C(1000000000)

static uint64_t clock_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec;
}

// ---- transport

static struct server_lane *lane_of(struct gp_xport *x)
{
	return (struct server_lane *)x;
}

static struct gp_frame *lane_alloc(struct gp_xport *x)
{
	struct server_lane *l = lane_of(x);
	for (uint32_t i = 0; i < SERVER_FRAMES; i++) {
		struct server_frame *f = &l->frames[i];
		if (f->refs > 0)
			continue;
		f->refs = 1;
		f->frame = (struct gp_frame){.data = f->buf, .room = SERVER_ROOM};
		return &f->frame;
	}
	return NULL;
}

static void lane_hold(struct gp_xport *x, struct gp_frame *f)
{
	(void)x;
	((struct server_frame *)f)->refs++;
}

static void lane_release(struct gp_xport *x, struct gp_frame *f)
{
	(void)x;
	((struct server_frame *)f)->refs--;
}

static void peer_put(const struct server_lane *l, const struct gp_addr *a, void *to, socklen_t *len)
{
	if (l->v6) {
		struct sockaddr_in6 *s = to;
		*s = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(a->port)};
		memcpy(&s->sin6_addr, a->ip, 16);
		*len = sizeof(*s);
		return;
	}
	struct sockaddr_in *s = to;
	*s = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(a->port)};
	memcpy(&s->sin_addr, a->ip + 12, 4);
	*len = sizeof(*s);
}

static void peer_get(const struct server_lane *l, const void *from, struct gp_addr *a)
{
	*a = (struct gp_addr){0};
	if (l->v6) {
		const struct sockaddr_in6 *s = from;
		a->port = ntohs(s->sin6_port);
		memcpy(a->ip, &s->sin6_addr, 16);
		return;
	}
	const struct sockaddr_in *s = from;
	a->port = ntohs(s->sin_port);
	a->ip[10] = a->ip[11] = 0xff;
	memcpy(a->ip + 12, &s->sin_addr, 4);
}

static void lane_send(struct gp_xport *x, struct gp_frame *f)
{
	struct server_lane *l = lane_of(x);
	struct sockaddr_storage to;
	socklen_t len;
	peer_put(l, &f->peer, &to, &len);
	const struct iovec parts[] = {{f->data, f->len}, {(void *)(uintptr_t)f->tail, f->tail_len}};
	const struct msghdr m = {.msg_name = &to,
		.msg_namelen = len,
		.msg_iov = (struct iovec *)(uintptr_t)parts,
		.msg_iovlen = f->tail_len > 0 ? 2 : 1};
	(void)sendmsg(l->fd, &m, MSG_DONTWAIT); // what is lost is asked for again
	if (f->tail_len > 0)
		f->tail_hold->count--;
	lane_release(x, f);
}

static const struct gp_xport_ops lane_ops = {
	.alloc = lane_alloc, .hold = lane_hold, .release = lane_release, .send = lane_send};

static uint32_t lane_poll(struct server_lane *l, struct gp_frame **frames)
{
	uint32_t n = 0;
	while (n < BURST) {
		struct gp_frame *f = lane_alloc(&l->base);
		struct sockaddr_storage from;
		socklen_t len = sizeof(from);
		if (!f)
			break;
		ssize_t got = recvfrom(l->fd, f->data, f->room, MSG_DONTWAIT, (void *)&from, &len);
		if (got < 0) {
			lane_release(&l->base, f);
			break;
		}
		f->len = (uint32_t)got;
		peer_get(l, &from, &f->peer);
		frames[n++] = f;
	}
	return n;
}

// ---- the thread

static uint32_t lane_turn(struct server *s, uint32_t i, uint64_t now)
{
	struct server_lane *l = &s->lanes[i];
	struct gp_frame *frames[BURST];
	uint32_t n = lane_poll(l, frames);
	if (s->deaf)
		for (uint32_t k = 0; k < n; k++)
			lane_release(&l->base, frames[k]);
	else if (n > 0)
		gp_core_rx(gp_engine_core(s->engine, i), frames, n, now);
	return n + gp_core_tick(gp_engine_core(s->engine, i), now);
}

static void *server_run(void *arg)
{
	struct server *s = arg;
	gp_rcu_register_thread();
	while (s->run) {
		uint64_t now = clock_ns();
		uint32_t work = 0;
		for (uint32_t i = 0; i < s->cfg.cores_count; i++)
			work += lane_turn(s, i, now);
		if (s->stopping)
			gp_registrar_stop(gp_engine_registrar(s->engine));
		work += gp_registrar_poll(gp_engine_registrar(s->engine), now);
		gp_rcu_quiescent();
		gp_rcu_grace_turn(gp_engine_grace(s->engine));
		struct pollfd fds[SERVER_CORES_MAX];
		for (uint32_t i = 0; i < s->cfg.cores_count; i++)
			fds[i] = (struct pollfd){.fd = s->lanes[i].fd, .events = POLLIN};
		if (work == 0)
			(void)poll(fds, s->cfg.cores_count, 1);
	}
	gp_rcu_unregister_thread();
	return NULL;
}

// ---- life

static void *mem_take(void *arg, size_t size)
{
	(void)arg;
	size = gp_align_up(size, GP_CACHE_LINE);
	void *mem = aligned_alloc(GP_CACHE_LINE, size);
	return mem ? memset(mem, 0, size) : NULL;
}

static void mem_give(void *arg, void *mem)
{
	(void)arg;
	free(mem);
}

struct server *server_new(void)
{
	struct server *s = calloc(1, sizeof(*s));
	cr_assert(s);
	s->job = (struct gp_job_config){
		.name = "job",
		.id = 1,
		.kind = GP_KIND_TRAIN,
		.atomicity = GP_ATOM_TENSOR,
		.consistency = GP_CONSIST_BSP,
		.workers = 1,
		.workers_min = 1,
		.slots = 16,
		.window = 16,
		.tensors_max = 8,
		.payload_max = 1232,
		.memory_max = 1 << 20,
		.timeout_ns = NS_PER_SEC,
		.optim = {.kind = GP_OPTIM_SGD, .lr = 1.0f},
	};
	s->cfg = (struct gp_engine_config){
		.cores_count = 1,
		.epoch = 3,
		.sessions_max = 8,
		.ring_size = 64,
		.payload_max = SERVER_ROOM - 20,
		.hello_rate = 1000,
		.seed = 1,
		.jobs_count = 1,
		.take = mem_take,
		.give = mem_give,
	};
	return s;
}

struct server *server_successor(
	const struct server *old, uint32_t elems, uint32_t generation, float value)
{
	static uint64_t dims[1];
	static struct gp_restore_tensor t;
	static struct gp_restore x;
	struct server *s = server_new();
	s->values = calloc(elems, sizeof(float));
	cr_assert(s->values);
	for (uint32_t i = 0; i < elems; i++)
		s->values[i] = value;
	dims[0] = elems;
	t = (struct gp_restore_tensor){
		.name = "w", .dims_count = 1, .dims = dims, .values = s->values};
	x = (struct gp_restore){
		.step = generation, .decision = 30, .tensors_count = 1, .tensors = &t};
	s->cfg.epoch = old->cfg.epoch + 1;
	s->restore = &x;
	return s;
}

static bool lane_open(struct server *s, uint32_t i)
{
	struct server_lane *l = &s->lanes[i];
	struct gp_addr a = {.port = (uint16_t)(s->port + i)};
	struct sockaddr_storage at;
	socklen_t len;
	if (s->v6)
		a.ip[15] = 1;
	else
		memcpy(a.ip, (uint8_t[16]){[10] = 0xff, 0xff, 127, 0, 0, 1}, 16);
	*l = (struct server_lane){.base = {.ops = &lane_ops, .mtu = SERVER_ROOM},
		.fd = socket(s->v6 ? AF_INET6 : AF_INET, SOCK_DGRAM, 0),
		.v6 = s->v6};
	peer_put(l, &a, &at, &len);
	gp_addr_format(&a, i == 0 ? s->address : (char[GP_ADDR_TEXT_SIZE]){0});
	return l->fd >= 0 && bind(l->fd, (const struct sockaddr *)&at, len) == 0;
}

static bool lanes_open(struct server *s)
{
	bool ok = true;
	for (uint32_t i = 0; i < s->cfg.cores_count; i++)
		ok = lane_open(s, i) && ok;
	for (uint32_t i = 0; !ok && i < s->cfg.cores_count; i++)
		close(s->lanes[i].fd);
	return ok;
}

void server_start(struct server *s)
{
	struct gp_xport *xports[SERVER_CORES_MAX];
	bool open = false;
	for (uint32_t i = 0; i < TRIES && !open; i++) {
		s->port = (uint16_t)(PORT_MIN + (clock_ns() / 1000 + i * 977) % PORTS);
		open = lanes_open(s);
	}
	cr_assert(open, "no free port: %s", strerror(errno));
	for (uint32_t i = 0; i < s->cfg.cores_count; i++) {
		s->lanes[i].frames = calloc(SERVER_FRAMES, sizeof(struct server_frame));
		cr_assert(s->lanes[i].frames);
		xports[i] = &s->lanes[i].base;
	}
	s->cfg.jobs = &s->job;
	s->cfg.base_port = s->port;
	cr_assert_eq(gp_engine_create(&s->engine, &s->cfg, xports), 0);
	if (s->restore)
		cr_assert_eq(
			gp_registrar_restore(gp_engine_registrar(s->engine), 1, s->restore), 0);
	s->run = true;
	cr_assert_eq(pthread_create(&s->thread, NULL, server_run, s), 0);
}

void server_stop(struct server *s)
{
	if (!s->run)
		return;
	s->run = false;
	pthread_join(s->thread, NULL);
}

void server_free(struct server *s)
{
	server_stop(s);
	gp_engine_destroy(s->engine);
	for (uint32_t i = 0; i < s->cfg.cores_count; i++) {
		close(s->lanes[i].fd);
		free(s->lanes[i].frames);
	}
	free(s->values);
	free(s);
}
