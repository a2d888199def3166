// SPDX-License-Identifier: BSD-3-Clause
//
// The handshake of one lane: HELLO padded to the size that is being proved, then JOIN. Lane 0 opens
// the session; the others attach to it with the size that lane 0 settled.
#include "ccore_priv.h"

#define HANDSHAKE_MIN (50 * MS)
#define HANDSHAKE_MAX (400 * MS)
#define ATTACH_MIN    (20 * MS) // the server is known to be there
#define ATTACH_MAX    (100 * MS)
#define JOIN_TRIES    12	// then a new cookie
#define PROBE_EVERY   (75 * MS) // while a smaller size is left to try
#define PROBE_TRIES   4
#define AGAIN_EVERY   (25 * MS) // a smaller one was answered: only loss may still hide a larger one
#define AGAIN_TRIES   12
#define IP_MTU_COMMON 1500
#define IP_MTU_LEAST  1280

// ---- sizes to probe

static void probe_add(struct cc_lane *l, uint32_t size)
{
	if (l->probe_count > 0 && size >= l->probe_sizes[l->probe_count - 1])
		return;
	l->probe_sizes[l->probe_count++] = size;
}

static void handshake_pace(struct cc_lane *l)
{
	if (l->idx == 0)
		cc_retry_start(&l->retry, HANDSHAKE_MIN, HANDSHAKE_MAX);
	else
		cc_retry_start(&l->retry, ATTACH_MIN, ATTACH_MAX);
}

static void probe_pace(struct cc_lane *l)
{
	bool last = l->probe_idx + 1 >= l->probe_count;
	uint64_t every = l->probe_again ? PROBE_EVERY : AGAIN_EVERY;
	l->probe_tries = 0;
	if (last)
		handshake_pace(l);
	else
		cc_retry_start(&l->retry, every, every);
}

static void probe_restart(struct cc_lane *l)
{
	l->probe_idx = 0;
	probe_pace(l);
}

void cc_lane_start(struct gp_ccore *c, struct cc_lane *l, struct gp_xport *x)
{
	uint32_t overhead = c->cfg.v4 ? 28 : 48;
	l->idx = (uint32_t)(l - c->lanes);
	l->x = x;
	l->phase = CC_LANE_HELLO;
	l->probe_best = PROBES_MAX;
	l->probe_again = true;
	cc_rtt_bound(&l->rtt, 0, 0);
	// A session had again: what one path carried is tried first on the next.
	uint32_t most = c->payload_own ? c->payload_own : GP_WIRE_DATAGRAM_MAX;
	probe_add(l, GP_MIN(x->mtu, most));
	if (l->idx == 0) {
		probe_add(l, IP_MTU_COMMON - overhead);
		probe_add(l, IP_MTU_LEAST - overhead);
	} else {
		l->probe_sizes[0] = c->payload_own;
	}
	probe_restart(l);
}

static void join_begin(struct gp_ccore *c, struct cc_lane *l, uint32_t size)
{
	if (l->idx == 0)
		c->payload_own = size;
	l->phase = CC_LANE_JOIN;
	l->join_tries = 0;
	handshake_pace(l);
}

// The cookie may have become too old: prove the address again, with the size that is settled.
static void join_again(struct gp_ccore *c, struct cc_lane *l)
{
	l->phase = CC_LANE_HELLO;
	l->probe_sizes[0] = c->payload_own;
	l->probe_count = 1;
	probe_restart(l);
}

// Too many tries without an answer: the next size, or the best one answered before.
static void probe_step(struct gp_ccore *c, struct cc_lane *l)
{
	bool last = l->probe_idx + 1 >= l->probe_count;
	uint32_t tries = l->probe_again ? PROBE_TRIES : AGAIN_TRIES;
	if (last || l->probe_tries < tries || c->now < l->retry.at)
		return;
	l->probe_idx++;
	if (l->probe_idx == l->probe_best)
		join_begin(c, l, l->probe_sizes[l->probe_idx]);
	else
		probe_pace(l);
}

// ---- sending

static struct gp_frame *frame_begin(struct cc_lane *l, uint8_t type, uint32_t *at)
{
	struct gp_frame *f = l->x->ops->alloc(l->x);
	if (!f)
		return NULL;
	const struct gp_header h = {
		.version = GP_WIRE_VERSION, .type = type, .rank = GP_WIRE_RANK_NONE};
	*at = gp_wire_begin(f->data, f->room, &h);
	return f;
}

static void frame_send(struct gp_ccore *c, struct cc_lane *l, struct gp_frame *f, uint32_t len)
{
	GP_ASSERT(len <= f->room);
	f->len = len;
	c->stats.tx_datagrams++;
	c->stats.tx_bytes += len;
	l->x->ops->send(l->x, f);
}

static void hello_send(struct gp_ccore *c, struct cc_lane *l)
{
	uint32_t at, size = l->probe_sizes[l->probe_idx];
	struct gp_frame *f = frame_begin(l, GP_WIRE_HELLO, &at);
	if (!f)
		return;
	const struct gp_hello hello = {.versions_count = 1,
		.versions = {GP_WIRE_VERSION},
		.size = size,
		.nonce = c->cfg.nonce};
	uint32_t end = at + gp_wire_put_hello(f->data + at, &hello);
	GP_ASSERT(end <= size && size <= f->room);
	memset(f->data + end, 0, size - end);
	frame_send(c, l, f, size);
}

static void join_send(struct gp_ccore *c, struct cc_lane *l)
{
	uint32_t at;
	struct gp_frame *f = frame_begin(l, GP_WIRE_JOIN, &at);
	if (!f)
		return;
	bool reader = cc_is_reader(c), attach = l->idx > 0;
	struct gp_join j = {
		.nonce = c->cfg.nonce,
		.incarnation = c->cfg.incarnation,
		.previous = c->cfg.previous,
		.flags = (reader ? GP_JOIN_READER : 0) | (attach ? GP_JOIN_ATTACH : 0) |
			 (c->cfg.flags & GP_CLIENT_REPLACE ? GP_JOIN_REPLACE : 0) |
			 (c->cfg.flags & GP_CLIENT_CHANGED ? GP_JOIN_CHANGED : 0) |
			 (c->fate == GP_CCORE_AGAIN ? GP_JOIN_GOES_ON : 0) |
			 (uint32_t)c->cfg.results << GP_JOIN_RESULTS_SHIFT,
		.rank = reader ? GP_WIRE_RANK_NONE : c->cfg.rank,
		.world = reader ? 0 : c->cfg.world,
		.payload_max = c->payload_own - (c->cfg.v4 ? V4_SPARE : 0),
		.session = attach ? c->w.session : 0,
	};
	memcpy(j.cookie, l->cookie, sizeof(j.cookie));
	memcpy(j.job, c->cfg.job, sizeof(j.job));
	frame_send(c, l, f, at + gp_wire_put_join(f->data + at, &j));
}

uint64_t cc_handshake_tick(struct gp_ccore *c, struct cc_lane *l)
{
	if (l->phase == CC_LANE_HELLO)
		probe_step(c, l);
	if (l->phase != CC_LANE_HELLO && l->phase != CC_LANE_JOIN)
		return GP_CCORE_NEVER;
	if (!cc_retry_due(c, &l->retry))
		return l->retry.at;
	if (l->phase == CC_LANE_HELLO) {
		l->probe_tries++;
		hello_send(c, l);
	} else if (l->join_tries++ < JOIN_TRIES) {
		join_send(c, l);
	} else {
		join_again(c, l);
	}
	return l->retry.at;
}

// ---- answers

static void version_fail(struct gp_ccore *c, const struct gp_hello *h)
{
	cc_fail(c, -EPROTO,
		"server %s speaks protocol version %u%s, this library version %u; upgrade the "
		"older of the two",
		c->cfg.server, h->versions[0], h->versions_count > 1 ? " (and others)" : "",
		GP_WIRE_VERSION);
}

void cc_hello_reply(struct gp_ccore *c, struct cc_lane *l, const struct gp_msg *m, uint32_t len)
{
	struct gp_hello h;
	gp_wire_get_hello(m, &h);
	if (l->phase != CC_LANE_HELLO || h.nonce != c->cfg.nonce || h.size != len) {
		c->stats.rx_rejected++;
		return;
	}
	if (h.chosen != GP_WIRE_VERSION) {
		version_fail(c, &h);
		return;
	}
	uint32_t idx = 0;
	while (idx < l->probe_count && l->probe_sizes[idx] != len)
		idx++;
	if (idx == l->probe_count) {
		c->stats.rx_rejected++;
		return;
	}
	memcpy(l->cookie, h.cookie, sizeof(l->cookie));
	if (idx == 0 || (!l->probe_again && idx < l->probe_best)) {
		join_begin(c, l, len);
	} else if (l->probe_again) {
		l->probe_best = idx;
		l->probe_again = false;
		probe_restart(l);
	}
}

static bool welcome_legal(struct gp_ccore *c, const struct gp_welcome *w)
{
	if (w->cores <= GP_CCORE_LANES_MAX && w->slots > 0 && w->window > 0 &&
		w->heartbeat_us > 0 && w->payload_max > GP_WIRE_OVERHEAD_MAX)
		return true;
	cc_fail(c, -EPROTO,
		"server %s: its WELCOME is outside this library's limits (cores %u of at most %u, "
		"slots %u, window %u, payload %u of more than %u)",
		c->cfg.server, w->cores, GP_CCORE_LANES_MAX, w->slots, w->window, w->payload_max,
		GP_WIRE_OVERHEAD_MAX);
	return false;
}

// A server of an older leadership than the rank has seen is no longer one.
static bool epoch_legal(struct gp_ccore *c, uint32_t epoch)
{
	if (c->cfg.epoch_min == 0 || !gp_before(epoch, c->cfg.epoch_min))
		return true;
	cc_fail(c, -EHOSTUNREACH,
		"server %s leads epoch %u, this rank has seen epoch %u: it is an old leader",
		c->cfg.server, epoch, c->cfg.epoch_min);
	return false;
}

static void session_open(struct gp_ccore *c, const struct gp_welcome *w, const struct gp_header *h)
{
	c->w = *w;
	c->epoch = h->epoch;
	c->known = w->decision;
	c->seen = w->decision;
	c->confirmed = w->decision;
	if (c->fate != GP_CCORE_AGAIN) {
		c->step = w->next_step;
		cc_history_take(c);
	}
	c->lanes_count = w->cores;
	uint64_t peer = (uint64_t)w->payload_max + (c->cfg.v4 ? V4_SPARE : 0);
	c->limit = (uint32_t)GP_MIN(c->payload_own, peer);
	cc_retry_start(&c->view_retry, 20 * MS, 200 * MS);
	c->joined = true;
}

static int lane_open(struct gp_ccore *c, struct cc_lane *l)
{
	l->credit = GP_MIN(c->w.window, CREDIT_MAX);
	cc_window_start(&l->window, l->credit);
	cc_rtt_bound(&l->rtt, c->w.rto_min_us, c->w.rto_max_us);
	uint32_t size = (uint32_t)gp_pow2_up(GP_MAX(l->credit * RING_CREDITS, 64));
	l->ring = c->cfg.take(c->cfg.mem_arg, sizeof(*l->ring) * size);
	if (!l->ring)
		return -ENOMEM;
	l->ring_mask = size - 1;
	l->ring_low = 1;
	l->phase = CC_LANE_UP;
	return 0;
}

void cc_welcome(struct gp_ccore *c, struct cc_lane *l, const struct gp_msg *m)
{
	struct gp_welcome w;
	gp_wire_get_welcome(m, &w);
	if (l->phase != CC_LANE_JOIN || w.nonce != c->cfg.nonce ||
		w.incarnation != c->cfg.incarnation || (l->idx > 0 && w.session != c->w.session)) {
		c->stats.rx_rejected++;
		return;
	}
	if (l->idx == 0) {
		if (!welcome_legal(c, &w) || !epoch_legal(c, m->h.epoch) ||
			!cc_again_welcome(c, &w))
			return;
		session_open(c, &w, &m->h);
	}
	c->heard = c->now;
	if (lane_open(c, l))
		cc_fail(c, -ENOMEM, "no memory for %u packets in flight", c->w.window);
}
