// SPDX-License-Identifier: BSD-3-Clause
#include "wire.h"

#include <stdlib.h>
#include <xxhash.h>

#define POOL_BYTES    (96u << 20)
#define FRAMES_MAX    65536
#define EVENTS_MAX    65536
#define OLD_COPIES    4096
#define QUEUE_SERVER  1024
#define QUEUE_CLIENT  256
#define HOST_NONE     UINT16_MAX
#define CLIENT_PORT   20000
#define CALM_NS	      UINT64_C(50000000) // within which old copies come
#define CALM_DELAY_NS UINT64_C(10000)

struct wire_frame {
	struct gp_frame frame;
	uint8_t *buf;
	uint32_t refs;
	uint16_t host; // whose pool it counts in
	uint64_t tail_hash;
	struct wire_frame *next;
};

static void broken(struct wire *w, const char *fmt, uint64_t a, uint64_t b)
{
	if (!w->why[0])
		(void)snprintf(
			w->why, sizeof(w->why), fmt, (unsigned long long)a, (unsigned long long)b);
}

// ---- frames

static struct wire_frame *frame_take(struct wire *w)
{
	struct wire_frame *f = w->free;
	if (!f)
		return NULL;
	w->free = f->next;
	w->free_count--;
	f->refs = 1;
	f->host = HOST_NONE;
	f->frame = (struct gp_frame){.data = f->buf, .room = w->mtu};
	return f;
}

static void host_give(struct wire *w, struct wire_frame *f, uint16_t host)
{
	if (f->host != HOST_NONE)
		w->hosts[f->host].frames_used--;
	f->host = host;
	if (host != HOST_NONE)
		w->hosts[host].frames_used++;
}

static void frame_put(struct wire *w, struct wire_frame *f)
{
	GP_ASSERT(f->refs > 0);
	if (--f->refs > 0)
		return;
	host_give(w, f, HOST_NONE);
	f->next = w->free;
	w->free = f;
	w->free_count++;
}

static struct wire_endpoint *endpoint_of(struct gp_xport *x)
{
	return (struct wire_endpoint *)x;
}

static void moment(struct wire_endpoint *e)
{
	if (e->wire->moment && e->host == WIRE_HOST_SERVER)
		e->wire->moment(e->wire->moment_arg, e->lane);
}

static bool host_has_room(const struct wire_host *h)
{
	return !h->starved && h->frames_used < h->frames_max;
}

static struct gp_frame *op_alloc(struct gp_xport *x)
{
	struct wire_endpoint *e = endpoint_of(x);
	moment(e);
	struct wire_frame *f = host_has_room(&e->wire->hosts[e->host]) ? frame_take(e->wire) : NULL;
	if (!f) {
		e->wire->stats.no_frame++;
		return NULL;
	}
	host_give(e->wire, f, e->host);
	return &f->frame;
}

static void op_hold(struct gp_xport *x, struct gp_frame *frame)
{
	(void)x;
	struct wire_frame *f = (struct wire_frame *)frame;
	GP_ASSERT(f->refs > 0);
	f->refs++;
}

static void op_release(struct gp_xport *x, struct gp_frame *frame)
{
	moment(endpoint_of(x));
	frame_put(endpoint_of(x)->wire, (struct wire_frame *)frame);
}

static struct wire_frame *frame_copy(struct wire *w, const struct gp_frame *from)
{
	struct wire_frame *f = frame_take(w);
	if (!f)
		return NULL;
	memcpy(f->frame.data, from->data, from->len);
	f->frame.len = from->len;
	f->frame.peer = from->peer;
	return f;
}

// ---- queues

static bool queue_push(struct wire_queue *q, struct wire_frame *f)
{
	if (q->tail - q->head > q->mask)
		return false;
	q->at[q->tail++ & q->mask] = f;
	return true;
}

static struct wire_frame *queue_pop(struct wire_queue *q)
{
	return q->head == q->tail ? NULL : q->at[q->head++ & q->mask];
}

// ---- what is on its way

static bool event_before(const struct wire_event *a, const struct wire_event *b)
{
	return a->time != b->time ? a->time < b->time : a->seq < b->seq;
}

static void event_add(struct wire *w, uint64_t time, struct wire_frame *f, struct wire_endpoint *to)
{
	if (w->heap_count == EVENTS_MAX) {
		w->stats.queue_full++;
		frame_put(w, f);
		return;
	}
	const struct wire_event e = {.time = time, .seq = w->seq++, .frame = f, .to = to};
	uint32_t i = w->heap_count++;
	for (; i > 0 && event_before(&e, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
		w->heap[i] = w->heap[(i - 1) / 2];
	w->heap[i] = e;
}

static struct wire_event event_pop(struct wire *w)
{
	struct wire_event first = w->heap[0], last = w->heap[--w->heap_count];
	uint32_t i = 0;
	for (uint32_t k = 1; k < w->heap_count; k = 2 * i + 1) {
		if (k + 1 < w->heap_count && event_before(&w->heap[k + 1], &w->heap[k]))
			k++;
		if (!event_before(&w->heap[k], &last))
			break;
		w->heap[i] = w->heap[k];
		i = k;
	}
	w->heap[i] = last;
	return first;
}

static void old_add(struct wire *w, struct wire_frame *f, struct wire_endpoint *to)
{
	uint64_t later = rng_spread(rng_next(&w->rng), 1, w->o->old_max);
	const struct wire_old e = {.release = w->stats.sent + later, .frame = f, .to = to};
	uint32_t i = w->old_count++;
	for (; i > 0 && e.release < w->old[(i - 1) / 2].release; i = (i - 1) / 2)
		w->old[i] = w->old[(i - 1) / 2];
	w->old[i] = e;
}

static struct wire_old old_pop(struct wire *w)
{
	struct wire_old first = w->old[0], last = w->old[--w->old_count];
	uint32_t i = 0;
	for (uint32_t k = 1; k < w->old_count; k = 2 * i + 1) {
		if (k + 1 < w->old_count && w->old[k + 1].release < w->old[k].release)
			k++;
		if (w->old[k].release >= last.release)
			break;
		w->old[i] = w->old[k];
		i = k;
	}
	w->old[i] = last;
	return first;
}

// ---- fate

static uint64_t delay_draw(struct wire *w)
{
	const struct sim_opts *o = w->o;
	if (!w->faulty)
		return CALM_DELAY_NS + rng_below(&w->rng, CALM_DELAY_NS);
	uint64_t d = o->delay_min_ns;
	d += rng_below(&w->rng, o->delay_max_ns - o->delay_min_ns + 1);
	if (rng_hit(&w->rng, o->reorder_ppm)) {
		d += rng_below(&w->rng, o->reorder_ns + 1);
		w->stats.reordered++;
	}
	return d;
}

// A copy of the datagram, altered by the way; the original is as it was. False: the checksum of the
// receiver has found it, so it is as if lost.
static bool arrives_whole(struct wire *w, struct wire_frame *f)
{
	if (!rng_hit(&w->rng, w->o->corrupt_ppm))
		return true;
	w->stats.corrupted++;
	wire_corrupt(w, &f->frame);
	wire_validate(f->frame.data, f->frame.len);
	if (!rng_hit(&w->rng, w->o->undetected_ppm))
		return false;
	w->stats.undetected++;
	return true;
}

static void depart(struct wire *w, struct wire_frame *f, struct wire_endpoint *to, uint64_t more)
{
	if (w->faulty && !arrives_whole(w, f)) {
		frame_put(w, f);
		return;
	}
	event_add(w, w->now + delay_draw(w) + more, f, to);
}

static void copies_make(struct wire *w, struct wire_frame *f, struct wire_endpoint *to, bool up)
{
	struct wire_frame *copy;
	if (rng_hit(&w->rng, w->o->dup_ppm) && (copy = frame_copy(w, &f->frame)) != NULL) {
		w->stats.duplicated++;
		depart(w, copy, to, rng_below(&w->rng, w->o->dup_ns));
	}
	if (rng_hit(&w->rng, w->o->old_ppm) && w->old_count < OLD_COPIES &&
		(copy = frame_copy(w, &f->frame)) != NULL) {
		w->stats.old++;
		old_add(w, copy, to);
	}
	if (up && rng_hit(&w->rng, w->o->stranger_ppm) &&
		(copy = frame_copy(w, &f->frame)) != NULL) {
		w->stats.strange++;
		copy->frame.peer = w->endpoints[WIRE_HOST_STRANGER][to->lane].addr;
		depart(w, copy, to, 0);
	}
	if (up && rng_hit(&w->rng, w->o->malformed_ppm)) {
		uint32_t block_elems = (w->o->payload_max - GP_WIRE_OVERHEAD_MAX) / 64 * 16;
		w->stats.malformed += wire_malform(&f->frame, block_elems);
	}
}

static bool is_lost(struct wire *w, uint32_t host, enum wire_dir dir)
{
	struct wire_host *h = &w->hosts[host];
	if (h->cut[dir]) {
		w->stats.cut++;
		return true;
	}
	if (h->burst_left[dir] > 0)
		h->burst_left[dir]--;
	else if (rng_hit(&w->rng, w->o->burst_ppm))
		h->burst_left[dir] = (uint32_t)rng_below(&w->rng, 64);
	else if (!rng_hit(&w->rng, w->o->loss_ppm))
		return false;
	w->stats.lost++;
	return true;
}

static void route(struct wire *w, struct wire_frame *f, struct wire_endpoint *to, bool up)
{
	uint32_t host = 0;
	host_give(w, f, HOST_NONE);
	w->stats.sent++;
	while (w->old_count > 0 && w->old[0].release <= w->stats.sent) {
		struct wire_old old = old_pop(w);
		event_add(w, w->now + 1000, old.frame, old.to);
	}
	if (w->faulty) {
		host = up ? f->frame.peer.ip[15] : to->host;
		if (is_lost(w, host, up ? WIRE_UP : WIRE_DOWN)) {
			if (w->log)
				wire_log(w, "lost", &f->frame, host, up);
			frame_put(w, f);
			return;
		}
		copies_make(w, f, to, up);
	}
	depart(w, f, to, 0);
}

// ---- sending

static uint64_t tail_hash(const struct gp_frame *f)
{
	return f->tail_len ? XXH3_64bits(f->tail, f->tail_len) : 0;
}

// The address decides, as it does in a network: who has moved to another port is not there.
static struct wire_endpoint *lookup(struct wire *w, const struct gp_addr *a, uint16_t lane)
{
	uint32_t host = a->ip[15];
	struct wire_endpoint *e = host < WIRE_HOSTS ? &w->endpoints[host][lane] : NULL;
	return e && gp_addr_equal(&e->addr, a) ? e : NULL;
}

// No address that has not proved itself gets more than three times what came from it.
static void amplification_check(
	struct wire *w, struct wire_endpoint *to, const struct gp_frame *f, uint32_t len)
{
	if (to->proved)
		return;
	if (f->data[1] == GP_WIRE_WELCOME && to->host == WIRE_HOST_STRANGER)
		broken(w, "a session for an address with the cookie of another (%llu, %llu)", len,
			0);
	if (f->data[1] == GP_WIRE_WELCOME) {
		to->proved = true;
		return;
	}
	to->bytes_to += len;
	if (to->bytes_to > 3 * to->bytes_from)
		broken(w, "%llu bytes sent to an unproved address that sent %llu", to->bytes_to,
			to->bytes_from);
}

static void late_end(struct wire_endpoint *e)
{
	const struct wire_late *l = &e->late[e->late_first];
	if (XXH3_64bits(l->tail, l->len) != l->hash)
		broken(e->wire,
			"a result changed before its card was done with it (%llu bytes, %llu)",
			l->len, 0);
	GP_ASSERT(l->hold->count > 0);
	l->hold->count--;
	e->late_first = (e->late_first + 1) % WIRE_LATE_MAX;
	e->late_count--;
}

static void late_add(struct wire_endpoint *e, const struct gp_frame *f, uint64_t hash)
{
	if (e->wire->late_max == 0) {
		GP_ASSERT(f->tail_hold->count > 0);
		f->tail_hold->count--;
		return;
	}
	if (e->late_count == e->wire->late_max)
		late_end(e);
	e->late[(e->late_first + e->late_count++) % WIRE_LATE_MAX] = (struct wire_late){
		.tail = f->tail, .len = f->tail_len, .hash = hash, .hold = f->tail_hold};
}

// Puts the tail behind the data, in a copy if somebody else still refers to the frame.
static struct wire_frame *linearise(struct wire_endpoint *e, struct wire_frame *f)
{
	struct wire *w = e->wire;
	uint64_t hash = f->tail_hash;
	struct gp_frame whole = f->frame;
	struct wire_frame *out = f;
	if (whole.len + whole.tail_len > w->mtu)
		broken(w, "a datagram of %llu bytes, the port's MTU carries %llu",
			whole.len + whole.tail_len, w->mtu);
	if (tail_hash(&whole) != f->tail_hash)
		broken(w, "a result changed while it was being sent (%llu bytes, frame %llu)",
			whole.tail_len, 0);
	if (f->refs > 1) {
		out = frame_copy(w, &whole);
		frame_put(w, f);
	}
	if (out && whole.tail_len) {
		memcpy(out->frame.data + out->frame.len, whole.tail, whole.tail_len);
		out->frame.len += whole.tail_len;
	}
	if (whole.tail_hold)
		late_add(e, &whole, hash);
	if (!out)
		return NULL;
	out->frame.tail = NULL;
	out->frame.tail_hold = NULL;
	out->frame.tail_len = 0;
	return out;
}

static void server_leave(struct wire_endpoint *e, struct wire_frame *f)
{
	struct wire *w = e->wire;
	f = linearise(e, f);
	if (!f)
		return;
	struct wire_endpoint *to = lookup(w, &f->frame.peer, e->lane);
	if (!to) {
		w->stats.nobody++;
		frame_put(w, f);
		return;
	}
	amplification_check(w, to, &f->frame, f->frame.len);
	f->frame.peer = e->addr;
	route(w, f, to, false);
}

static void op_send(struct gp_xport *x, struct gp_frame *frame)
{
	struct wire_endpoint *e = endpoint_of(x);
	struct wire *w = e->wire;
	struct wire_frame *f = (struct wire_frame *)frame;
	f->tail_hash = tail_hash(frame);
	moment(e);
	if (e->host == WIRE_HOST_SERVER) {
		if (!queue_push(&e->tx, f)) {
			wire_flush(e);
			(void)queue_push(&e->tx, f);
		}
		return;
	}
	GP_ASSERT(f->refs == 1 && frame->tail_len == 0);
	GP_ASSERT(frame->len <= frame->room);
	frame->peer = e->addr;
	route(w, f, &w->endpoints[WIRE_HOST_SERVER][e->lane], true);
}

void wire_flush(struct wire_endpoint *e)
{
	for (struct wire_frame *f; (f = queue_pop(&e->tx)) != NULL;)
		server_leave(e, f);
}

// ---- arrival

uint64_t wire_next(const struct wire *w)
{
	return w->heap_count ? w->heap[0].time : WIRE_NEVER;
}

bool wire_deliver(struct wire *w, uint64_t now, struct wire_endpoint **to)
{
	if (w->heap_count == 0 || w->heap[0].time > now)
		return false;
	struct wire_event e = event_pop(w);
	struct wire_host *h = &w->hosts[e.to->host];
	*to = e.to;
	w->hash = XXH3_64bits_withSeed(
		e.frame->frame.data, e.frame->frame.len, w->hash ^ e.time ^ e.to->host);
	if (e.to->host == WIRE_HOST_SERVER) {
		struct wire_endpoint *from = lookup(w, &e.frame->frame.peer, e.to->lane);
		if (from)
			from->bytes_from += e.frame->frame.len;
	}
	bool room = e.to->host == WIRE_HOST_STRANGER ? false : host_has_room(h);
	if (!room || !queue_push(&e.to->rx, e.frame)) {
		w->stats.queue_full += e.to->host != WIRE_HOST_STRANGER;
		frame_put(w, e.frame);
		return true;
	}
	host_give(w, e.frame, e.to->host);
	w->stats.delivered++;
	if (w->log)
		wire_log(w, "got", &e.frame->frame, e.to->host, e.to->host == WIRE_HOST_SERVER);
	return true;
}

uint32_t wire_take(struct wire_endpoint *e, struct gp_frame **frames, uint32_t max)
{
	uint32_t n = 0;
	for (struct wire_frame *f; n < max && (f = queue_pop(&e->rx)) != NULL;)
		frames[n++] = &f->frame;
	return n;
}

void wire_drop(struct wire_endpoint *e)
{
	for (struct wire_frame *f; (f = queue_pop(&e->rx)) != NULL;)
		frame_put(e->wire, f);
}

void wire_calm(struct wire *w)
{
	w->faulty = false;
	for (uint32_t i = 0; i < WIRE_HOSTS; i++) {
		w->hosts[i].cut[WIRE_UP] = w->hosts[i].cut[WIRE_DOWN] = false;
		w->hosts[i].starved = false;
	}
	while (w->old_count > 0) {
		struct wire_old old = old_pop(w);
		event_add(w, w->now + rng_below(&w->rng, CALM_NS), old.frame, old.to);
	}
	w->late_max = 0;
	for (uint32_t k = 0; k < SIM_CORES_MAX; k++)
		while (w->endpoints[WIRE_HOST_SERVER][k].late_count > 0)
			late_end(&w->endpoints[WIRE_HOST_SERVER][k]);
}

uint32_t wire_frames_missing(const struct wire *w)
{
	return w->frames_count - w->free_count - w->heap_count - w->old_count;
}

// ---- set-up

static struct wire_queue queue_make(uint32_t size)
{
	return (struct wire_queue){
		.at = calloc(size, sizeof(struct wire_frame *)), .mask = size - 1};
}

static const struct gp_xport_ops wire_ops = {
	.alloc = op_alloc,
	.hold = op_hold,
	.release = op_release,
	.send = op_send,
};

// The memory of all histories of this process.
static void memory_take(struct wire *w)
{
	static uint8_t *pool;
	static struct wire_frame *frames;
	static struct wire_event *heap;
	static struct wire_old *old;
	static struct wire_queue queues[WIRE_HOSTS][SIM_CORES_MAX][2];
	if (!pool) {
		pool = aligned_alloc(GP_CACHE_LINE, POOL_BYTES);
		frames = calloc(FRAMES_MAX, sizeof(*frames));
		heap = calloc(EVENTS_MAX, sizeof(*heap));
		old = calloc(OLD_COPIES, sizeof(*old));
		GP_ASSERT(pool && frames && heap && old);
		for (uint32_t h = 0; h < WIRE_HOSTS; h++)
			for (uint32_t k = 0; k < SIM_CORES_MAX; k++) {
				queues[h][k][0] = queue_make(h ? QUEUE_CLIENT : QUEUE_SERVER);
				if (h == WIRE_HOST_SERVER)
					queues[h][k][1] = queue_make(QUEUE_SERVER);
			}
	}
	size_t stride = gp_align_up(w->mtu, GP_CACHE_LINE);
	w->frames_count = (uint32_t)GP_MIN(POOL_BYTES / stride, FRAMES_MAX);
	w->frames = frames;
	w->heap = heap;
	w->old = old;
	for (uint32_t i = w->frames_count; i-- > 0;) {
		frames[i] = (struct wire_frame){.buf = pool + stride * i, .next = w->free};
		w->free = &frames[i];
	}
	w->free_count = w->frames_count;
	for (uint32_t h = 0; h < WIRE_HOSTS; h++)
		for (uint32_t k = 0; k < SIM_CORES_MAX; k++) {
			w->endpoints[h][k].rx = queues[h][k][0];
			w->endpoints[h][k].tx = queues[h][k][1];
		}
}

static struct gp_addr address(uint32_t host, uint32_t port)
{
	return (struct gp_addr){.ip = {[10] = 0xff, [11] = 0xff, [12] = 10, [15] = (uint8_t)host},
		.port = (uint16_t)port};
}

void wire_start(struct wire *w, const struct sim_opts *o)
{
	*w = (struct wire){.o = o, .faulty = true};
	w->mtu = GP_MAX(o->payload_max + 20, 1252u);
	rng_start(&w->rng, o->seed ^ 0x77697265);
	if (sim_has(o, FAULT_CARD))
		w->late_max = 1 + (uint32_t)rng_below(&w->rng, WIRE_LATE_MAX);
	memory_take(w);
	for (uint32_t h = 0; h < WIRE_HOSTS; h++) {
		w->hosts[h].frames_max = h == WIRE_HOST_SERVER ? o->frames : o->client_frames;
		for (uint32_t k = 0; k < SIM_CORES_MAX; k++) {
			struct wire_endpoint *e = &w->endpoints[h][k];
			e->base = (struct gp_xport){.ops = &wire_ops, .mtu = w->mtu};
			e->wire = w;
			e->host = (uint16_t)h;
			e->lane = (uint16_t)k;
			e->addr = address(h, (h ? CLIENT_PORT : WIRE_BASE_PORT) + k);
		}
	}
}

void wire_host_start(struct wire *w, uint32_t host, bool new_port)
{
	for (uint32_t k = 0; k < SIM_CORES_MAX; k++) {
		struct wire_endpoint *e = &w->endpoints[host][k];
		wire_drop(e);
		if (!new_port)
			continue;
		e->addr.port = (uint16_t)(CLIENT_PORT + (e->addr.port + SIM_CORES_MAX) % 40000);
		e->proved = false;
		e->bytes_from = 0;
		e->bytes_to = 0;
	}
}

struct gp_xport *wire_xport(struct wire *w, uint32_t host, uint32_t lane)
{
	return &w->endpoints[host][lane].base;
}
