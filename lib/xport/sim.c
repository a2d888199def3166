// SPDX-License-Identifier: BSD-3-Clause
#include <gp_xport_sim.h>

#include "sim_heap.h"

#include <errno.h>
#include <stdlib.h>

#define ENDPOINTS_COUNT	 64
#define FRAMES_COUNT	 8192
#define MTU		 1472
#define INDEX_NONE	 UINT32_MAX
#define FLIPPED_BITS_MAX 8

struct sim_frame {
	struct gp_frame frame;
	uint8_t *buf;
	uint32_t refs;
};

struct sim_endpoint {
	struct gp_xport base;
	struct gp_sim_net *net;
	uint32_t idx;
	bool connected;
	struct gp_addr addr;
	struct gp_addr server; // connected: where everything goes
};

struct gp_sim_net {
	uint64_t now;
	uint64_t seq;
	uint64_t random[4];
	uint32_t mtu;

	struct sim_endpoint *endpoints;
	uint32_t endpoints_max;
	uint32_t endpoints_count;
	uint32_t *lookup; // open addressing, lookup_mask + 1 slots of endpoint indices
	uint32_t lookup_mask;
	struct gp_sim_link *links; // [from * endpoints_max + to]

	struct sim_frame *frames;
	struct sim_frame **free;
	uint8_t *bufs;
	uint32_t frames_count;
	uint32_t free_count;
	struct sim_heap heap;
	struct gp_sim_stats stats;
};

// splitmix64 fills the state of xoshiro256** (Blackman and Vigna, "Scrambled linear pseudorandom
// number generators", 2021; public domain algorithms).
static uint64_t splitmix64(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static uint64_t rotate(uint64_t x, int k)
{
	return (x << k) | (x >> (64 - k));
}

static uint64_t random_next(struct gp_sim_net *net)
{
	uint64_t *s = net->random;
	uint64_t result = rotate(s[1] * 5, 7) * 9;
	uint64_t t = s[1] << 17;
	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotate(s[3], 45);
	return result;
}

// Uniform in [0, bound), bound >= 1, without division (bias below 2^-32 for bounds that occur).
static uint64_t random_below(struct gp_sim_net *net, uint64_t bound)
{
	return (uint64_t)(((unsigned __int128)random_next(net) * bound) >> 64);
}

// Draws only for what can happen, so that links without faults cost nothing.
static bool random_hit(struct gp_sim_net *net, uint32_t ppm)
{
	return ppm > 0 && random_below(net, GP_SIM_PPM) < ppm;
}

static struct sim_endpoint *endpoint_of(struct gp_xport *x)
{
	return (struct sim_endpoint *)x;
}

static struct sim_frame *frame_take(struct gp_sim_net *net)
{
	if (net->free_count == 0) {
		net->stats.no_frame++;
		return NULL;
	}
	struct sim_frame *f = net->free[--net->free_count];
	f->refs = 1;
	f->frame = (struct gp_frame){.data = f->buf, .room = net->mtu};
	return f;
}

static void frame_put(struct gp_sim_net *net, struct sim_frame *f)
{
	GP_ASSERT(f->refs > 0);
	if (--f->refs == 0) {
		GP_ASSERT(net->free_count < net->frames_count);
		net->free[net->free_count++] = f;
	}
}

static struct gp_frame *sim_alloc(struct gp_xport *base)
{
	struct sim_frame *f = frame_take(endpoint_of(base)->net);
	return f ? &f->frame : NULL;
}

static void sim_hold(struct gp_xport *base, struct gp_frame *frame)
{
	(void)base;
	struct sim_frame *f = (struct sim_frame *)frame;
	GP_ASSERT(f->refs > 0);
	f->refs++;
}

static void sim_release(struct gp_xport *base, struct gp_frame *frame)
{
	frame_put(endpoint_of(base)->net, (struct sim_frame *)frame);
}

static uint32_t addr_hash(const struct gp_addr *a)
{
	uint64_t key = gp_load64(a->ip) ^ rotate(gp_load64(a->ip + 8), 29) ^ a->port;
	return (uint32_t)(splitmix64(&key) >> 32);
}

// The slot of that address, or the free one where it belongs. VLANs do not exist here.
static uint32_t *lookup_slot(struct gp_sim_net *net, const struct gp_addr *a)
{
	uint32_t i = addr_hash(a) & net->lookup_mask;
	for (;; i = (i + 1) & net->lookup_mask) { // ends: at most half of the slots are taken
		uint32_t idx = net->lookup[i];
		if (idx == INDEX_NONE)
			return &net->lookup[i];
		const struct gp_addr *have = &net->endpoints[idx].addr;
		if (have->port == a->port && memcmp(have->ip, a->ip, 16) == 0)
			return &net->lookup[i];
	}
}

// Somebody else's reference means that the bytes may be used again: the network takes a copy.
static struct sim_frame *frame_copy(struct gp_sim_net *net, const struct gp_frame *from)
{
	struct sim_frame *f = frame_take(net);
	if (!f)
		return NULL;
	memcpy(f->frame.data, from->data, from->len);
	f->frame.len = from->len;
	return f;
}

static void frame_corrupt(struct gp_sim_net *net, struct sim_frame *f)
{
	uint32_t bits = 1 + (uint32_t)random_below(net, FLIPPED_BITS_MAX);
	for (uint32_t i = 0; i < bits && f->frame.len > 0; i++) {
		uint64_t bit = random_below(net, (uint64_t)f->frame.len * 8);
		f->frame.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
	}
	net->stats.corrupted++;
}

// Puts one copy on its way; takes over the frame.
static void frame_depart(
	struct gp_sim_net *net, const struct gp_sim_link *link, uint32_t to, struct sim_frame *f)
{
	if (net->heap.count == net->heap.max) {
		net->stats.heap_full++;
		frame_put(net, f);
		return;
	}
	uint64_t spread = link->delay_ns_max - link->delay_ns_min;
	uint64_t delay = link->delay_ns_min + (spread ? random_below(net, spread + 1) : 0);
	if (random_hit(net, link->reorder_ppm)) {
		delay += random_below(net, link->reorder_ns + 1);
		net->stats.reordered++;
	}
	if (random_hit(net, link->corrupt_ppm))
		frame_corrupt(net, f);
	struct sim_event e = {
		.time = net->now + delay, .seq = net->seq++, .frame = f, .endpoint = to};
	sim_heap_push(&net->heap, &e);
}

static void frame_route(struct sim_endpoint *from, uint32_t to, struct sim_frame *f)
{
	struct gp_sim_net *net = from->net;
	const struct gp_sim_link *link = &net->links[from->idx * net->endpoints_max + to];
	if (random_hit(net, link->loss_ppm)) {
		net->stats.lost++;
		frame_put(net, f);
		return;
	}
	f->frame.peer = from->addr;
	if (random_hit(net, link->duplicate_ppm)) {
		struct sim_frame *twin = frame_copy(net, &f->frame);
		if (twin) {
			twin->frame.peer = from->addr;
			net->stats.duplicated++;
			frame_depart(net, link, to, twin);
		}
	}
	frame_depart(net, link, to, f);
}

// The tail moves behind the data and its owner gets it back at once. Returns a frame that nobody
// else refers to, or NULL (dropped and counted); the caller's reference is taken either way.
static struct sim_frame *frame_linearise(struct gp_sim_net *net, struct sim_frame *f)
{
	struct gp_frame whole = f->frame;
	struct sim_frame *out = f;
	bool fits = (uint64_t)whole.len + whole.tail_len <= net->mtu;
	if (!fits) {
		net->stats.too_long++;
		out = NULL;
	} else if (f->refs > 1) {
		out = frame_copy(net, &whole);
	}
	if (out && whole.tail_len) {
		GP_ASSERT(out->frame.len + whole.tail_len <= out->frame.room);
		memcpy(out->frame.data + out->frame.len, whole.tail, whole.tail_len);
		out->frame.len += whole.tail_len;
	}
	if (whole.tail_hold) {
		GP_ASSERT(whole.tail_hold->count > 0);
		whole.tail_hold->count--;
	}
	if (out != f)
		frame_put(net, f);
	return out;
}

static void sim_send(struct gp_xport *base, struct gp_frame *frame)
{
	struct sim_endpoint *from = endpoint_of(base);
	struct gp_sim_net *net = from->net;
	struct gp_addr dst = from->connected ? from->server : frame->peer;
	GP_ASSERT(frame->len <= frame->room);
	net->stats.sent++;
	struct sim_frame *f = frame_linearise(net, (struct sim_frame *)frame);
	if (!f)
		return;
	f->frame.tail = NULL;
	f->frame.tail_hold = NULL;
	f->frame.tail_len = 0;
	uint32_t to = *lookup_slot(net, &dst);
	if (to == INDEX_NONE) {
		net->stats.no_endpoint++;
		frame_put(net, f);
		return;
	}
	frame_route(from, to, f);
}

static const struct gp_xport_ops sim_ops = {
	.alloc = sim_alloc,
	.hold = sim_hold,
	.release = sim_release,
	.send = sim_send,
};

static bool link_is_valid(const struct gp_sim_link *l)
{
	return l->loss_ppm <= GP_SIM_PPM && l->duplicate_ppm <= GP_SIM_PPM &&
	       l->reorder_ppm <= GP_SIM_PPM && l->corrupt_ppm <= GP_SIM_PPM &&
	       l->delay_ns_min <= l->delay_ns_max && l->delay_ns_max < UINT64_MAX / 4 &&
	       l->reorder_ns < UINT64_MAX / 4;
}

static int memory_take(struct gp_sim_net *net, uint32_t events_max)
{
	uint32_t slots = (uint32_t)gp_pow2_up(2 * (uint64_t)net->endpoints_max);
	size_t stride = gp_align_up(net->mtu, GP_CACHE_LINE);
	net->endpoints = calloc(net->endpoints_max, sizeof(*net->endpoints));
	net->lookup = calloc(slots, sizeof(*net->lookup));
	net->links = calloc((size_t)net->endpoints_max * net->endpoints_max, sizeof(*net->links));
	net->frames = calloc(net->frames_count, sizeof(*net->frames));
	net->free = calloc(net->frames_count, sizeof(struct sim_frame *));
	net->bufs = aligned_alloc(GP_CACHE_LINE, stride * net->frames_count);
	net->heap.events = calloc(events_max, sizeof(*net->heap.events));
	if (!net->endpoints || !net->lookup || !net->links || !net->frames || !net->free ||
		!net->bufs || !net->heap.events)
		return -ENOMEM;
	net->lookup_mask = slots - 1;
	memset(net->lookup, 0xff, slots * sizeof(*net->lookup));
	net->heap.max = events_max;
	net->free_count = net->frames_count;
	for (uint32_t i = 0; i < net->frames_count; i++) {
		net->frames[i].buf = net->bufs + stride * i;
		net->free[net->frames_count - 1 - i] = &net->frames[i];
	}
	return 0;
}

static int net_init(struct gp_sim_net *net, const struct gp_sim_opts *opts)
{
	net->endpoints_max = opts->endpoints_max ? opts->endpoints_max : ENDPOINTS_COUNT;
	net->frames_count = opts->frames_count ? opts->frames_count : FRAMES_COUNT;
	net->mtu = opts->mtu ? opts->mtu : MTU;
	uint32_t events_max = opts->events_max ? opts->events_max : net->frames_count;
	if (net->endpoints_max > GP_SIM_ENDPOINTS_MAX || net->frames_count > GP_SIM_EVENTS_MAX ||
		events_max > GP_SIM_EVENTS_MAX || net->mtu > GP_SIM_DATAGRAM_MAX ||
		!link_is_valid(&opts->link))
		return -EINVAL;
	int rc = memory_take(net, events_max);
	if (rc)
		return rc;
	uint64_t seed = opts->seed;
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(net->random); i++)
		net->random[i] = splitmix64(&seed);
	gp_sim_net_set_links(net, &opts->link);
	return 0;
}

struct gp_sim_net *gp_sim_net_create(const struct gp_sim_opts *opts)
{
	struct gp_sim_net *net = calloc(1, sizeof(*net));
	if (!net)
		return NULL;
	int rc = net_init(net, opts);
	if (rc) {
		gp_sim_net_destroy(net);
		errno = -rc;
		return NULL;
	}
	return net;
}

void gp_sim_net_destroy(struct gp_sim_net *net)
{
	if (!net)
		return;
	free(net->heap.events);
	free(net->bufs);
	free(net->free);
	free(net->frames);
	free(net->links);
	free(net->lookup);
	free(net->endpoints);
	free(net);
}

struct gp_xport *gp_sim_net_add(struct gp_sim_net *net, const struct gp_addr *addr)
{
	uint32_t *slot = lookup_slot(net, addr);
	if (*slot != INDEX_NONE || net->endpoints_count == net->endpoints_max) {
		errno = *slot != INDEX_NONE ? EEXIST : ENOSPC;
		return NULL;
	}
	uint32_t idx = net->endpoints_count++;
	struct sim_endpoint *e = &net->endpoints[idx];
	*e = (struct sim_endpoint){
		.base = {.ops = &sim_ops, .mtu = net->mtu}, .net = net, .idx = idx, .addr = *addr};
	*slot = idx;
	return &e->base;
}

void gp_sim_connect(struct gp_xport *endpoint, const struct gp_addr *server)
{
	struct sim_endpoint *e = endpoint_of(endpoint);
	e->connected = true;
	e->server = *server;
}

const struct gp_addr *gp_sim_addr(const struct gp_xport *endpoint)
{
	return &((const struct sim_endpoint *)endpoint)->addr;
}

void gp_sim_net_set_link(struct gp_sim_net *net, const struct gp_xport *from,
	const struct gp_xport *to, const struct gp_sim_link *link)
{
	const struct sim_endpoint *f = (const struct sim_endpoint *)from;
	const struct sim_endpoint *t = (const struct sim_endpoint *)to;
	GP_ASSERT(f->net == net && t->net == net);
	GP_ASSERT(link_is_valid(link));
	net->links[f->idx * net->endpoints_max + t->idx] = *link;
}

void gp_sim_net_set_links(struct gp_sim_net *net, const struct gp_sim_link *link)
{
	GP_ASSERT(link_is_valid(link));
	for (uint32_t i = 0; i < net->endpoints_max * net->endpoints_max; i++)
		net->links[i] = *link;
}

uint64_t gp_sim_net_next_time(const struct gp_sim_net *net)
{
	return net->heap.count ? GP_MAX(net->heap.events[0].time, net->now) : UINT64_MAX;
}

void gp_sim_net_set_now(struct gp_sim_net *net, uint64_t now)
{
	GP_ASSERT(now >= net->now);
	net->now = now;
}

uint32_t gp_sim_net_deliver(struct gp_sim_net *net, uint64_t now, struct gp_xport **endpoint,
	struct gp_frame **frames, uint32_t max)
{
	gp_sim_net_set_now(net, now);
	uint32_t to = net->heap.count ? net->heap.events[0].endpoint : 0;
	uint32_t count = 0;
	while (count < max && net->heap.count && net->heap.events[0].time <= now &&
		net->heap.events[0].endpoint == to)
		frames[count++] = &sim_heap_pop(&net->heap).frame->frame;
	if (count)
		*endpoint = &net->endpoints[to].base;
	net->stats.delivered += count;
	return count;
}

const struct gp_sim_stats *gp_sim_net_stats(const struct gp_sim_net *net)
{
	return &net->stats;
}

uint32_t gp_sim_net_frames_free(const struct gp_sim_net *net)
{
	return net->free_count;
}

uint32_t gp_sim_net_in_flight(const struct gp_sim_net *net)
{
	return net->heap.count;
}
