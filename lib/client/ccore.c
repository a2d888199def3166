// SPDX-License-Identifier: BSD-3-Clause
//
// The core as a whole: its life, the dispatch of arrivals, the tick.
#include "ccore_rows.h"

#include <stdarg.h>
#include <stdio.h>

#define SILENCE_MIN (2000 * MS)
// An owner that was away that long has not listened: silence is counted anew.
#define AWAY_MIN (200 * MS)
// A word that nobody listens, sooner after the last sign of life, may be an old one.
#define UNREACHABLE_MIN (20 * MS)

static void error_set(struct gp_client_error *e, int code, const char *fmt, va_list args)
{
	e->code = code;
	(void)vsnprintf(e->text, sizeof(e->text), fmt, args);
}

void cc_fail(struct gp_ccore *c, int code, const char *fmt, ...)
{
	GP_ASSERT(code < 0);
	if (c->error.code)
		return;
	va_list args;
	va_start(args, fmt);
	error_set(&c->error, code, fmt, args);
	va_end(args);
}

int cc_refuse_call(struct gp_ccore *c, int code, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	error_set(&c->last, code, fmt, args);
	va_end(args);
	return code;
}

void cc_retry_start(struct cc_retry *r, uint64_t interval, uint64_t max)
{
	*r = (struct cc_retry){.at = 0, .interval = interval, .max = max};
}

bool cc_retry_due(struct gp_ccore *c, struct cc_retry *r)
{
	if (c->now < r->at)
		return false;
	r->at = c->now + r->interval;
	r->interval = GP_MIN(r->interval * 2, r->max);
	return true;
}

int gp_ccore_create(
	struct gp_ccore **out, const struct gp_ccore_config *cfg, struct gp_xport *core0)
{
	GP_ASSERT(cfg->incarnation != 0 && cfg->take && cfg->give);
	struct gp_ccore *c = cfg->take(cfg->mem_arg, sizeof(*c));
	*out = c;
	if (!c)
		return -ENOMEM;
	c->cfg = *cfg;
	c->lanes_count = 1;
	c->missing_rank = GP_WIRE_RANK_NONE;
	c->lowest = GP_WIRE_RANK_NONE;
	cc_lane_start(c, &c->lanes[0], core0);
	return 0;
}

void gp_ccore_destroy(struct gp_ccore *c)
{
	if (!c)
		return;
	const struct gp_ccore_config cfg = c->cfg;
	cc_rows_give(c);
	void *const parts[] = {c->feedback, c->tensors, c->blocks, c->units, c->kept};
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(parts); i++)
		if (parts[i])
			cfg.give(cfg.mem_arg, parts[i]);
	for (uint32_t i = 0; i < GP_CCORE_LANES_MAX; i++)
		if (c->lanes[i].ring)
			cfg.give(cfg.mem_arg, c->lanes[i].ring);
	cfg.give(cfg.mem_arg, c);
}

// ---- arrivals

// Whether a datagram of a type that exists only inside a session belongs to ours.
static bool is_ours(const struct gp_ccore *c, const struct cc_lane *l, const struct gp_header *h)
{
	if (!c->joined || l->phase != CC_LANE_UP || h->session != c->w.session)
		return false;
	return h->job == c->w.job && h->epoch == c->epoch;
}

static void session_rx(struct gp_ccore *c, struct cc_lane *l, const struct gp_msg *m)
{
	c->heard = c->now;
	if (l == cc_home(c))
		c->home_heard = c->now;
	if (m->h.packet != 0) { // what the server's control side sends knows neither
		l->credit = GP_MIN(m->h.credit, (l->ring_mask + 1) / RING_CREDITS);
		cc_decision_seen(c, m->h.decision);
		cc_pull_heard(l, m->h.packet);
	}
	if (m->ack) {
		struct gp_ack a;
		gp_wire_get_ack(m, &a);
		cc_ack(c, l, &a);
	}
	switch (m->h.type) {
	case GP_WIRE_LAYOUT:
		cc_layout(c, m);
		return;
	case GP_WIRE_RESULT:
		cc_result(c, l, m);
		return;
	case GP_WIRE_COMMIT:
		cc_commit(c, m);
		return;
	case GP_WIRE_HEARTBEAT_REPLY:
		cc_heartbeat_reply(c, m);
		return;
	case GP_WIRE_BARRIER_REPLY:
		cc_barrier_reply(c, m);
		return;
	case GP_WIRE_LEAVE_REPLY:
		cc_leave_reply(c, m);
		return;
	case GP_WIRE_NACK:
		cc_nack(c, l, m);
		return;
	case GP_WIRE_BUSY:
		cc_busy(c, l, m);
		return;
	case GP_WIRE_ROWS:
		cc_rows_answer(c, l, m);
		return;
	case GP_WIRE_READ_REPLY:
		cc_read_reply(c, m);
		return;
	default:
		return;
	}
}

static bool is_server_type(uint8_t type)
{
	return type == GP_WIRE_LAYOUT || type == GP_WIRE_RESULT || type == GP_WIRE_COMMIT ||
	       type == GP_WIRE_ACK || type == GP_WIRE_HEARTBEAT_REPLY ||
	       type == GP_WIRE_BARRIER_REPLY || type == GP_WIRE_LEAVE_REPLY ||
	       type == GP_WIRE_NACK || type == GP_WIRE_BUSY || type == GP_WIRE_READ_REPLY ||
	       type == GP_WIRE_ROWS;
}

static void frame_rx(struct gp_ccore *c, struct cc_lane *l, const struct gp_frame *f)
{
	struct gp_msg m;
	c->stats.rx_datagrams++;
	c->stats.rx_bytes += f->len;
	if (gp_wire_parse(f->data, f->len, &m) != GP_VERDICT_OK) {
		c->stats.rx_rejected++;
		return;
	}
	if (m.h.type == GP_WIRE_HELLO_REPLY)
		cc_hello_reply(c, l, &m, f->len);
	else if (m.h.type == GP_WIRE_WELCOME)
		cc_welcome(c, l, &m);
	else if (m.h.type == GP_WIRE_REFUSE)
		cc_refuse(c, l, &m);
	else if (is_server_type(m.h.type) && is_ours(c, l, &m.h))
		session_rx(c, l, &m);
	else
		c->stats.rx_rejected++;
}

void gp_ccore_rx(
	struct gp_ccore *c, uint32_t lane, struct gp_frame **frames, uint32_t n, uint64_t now)
{
	GP_ASSERT(lane < c->lanes_count && c->lanes[lane].x);
	struct cc_lane *l = &c->lanes[lane];
	c->now = now;
	for (uint32_t i = 0; i < n; i++) {
		if (!c->error.code && !c->left)
			frame_rx(c, l, frames[i]);
		l->x->ops->release(l->x, frames[i]);
	}
}

// ---- time

static bool is_up(const struct gp_ccore *c)
{
	for (uint32_t i = 0; i < c->lanes_count; i++)
		if (c->lanes[i].phase != CC_LANE_UP)
			return false;
	return c->joined;
}

static void silence_check(struct gp_ccore *c)
{
	char what[128];
	if (c->heard == 0 || c->now - c->last_tick > AWAY_MIN)
		c->heard = c->now;
	uint64_t most = c->cfg.silence_ns ? c->cfg.silence_ns : SILENCE_MIN;
	uint64_t times = c->cfg.silence_ns ? 1 : 4;
	uint64_t limit = GP_MAX(most, (uint64_t)c->w.timeout_us * times * US);
	if (c->now - c->heard <= limit)
		return;
	gp_ccore_waiting(c, what, sizeof(what));
	cc_fail(c, -ETIMEDOUT,
		"server %s has not answered for %.1f s while waiting for %s; is it up and the "
		"network path whole?",
		c->cfg.server, (double)(c->now - c->heard) * 1e-9, what);
}

static uint64_t session_tick(struct gp_ccore *c)
{
	uint64_t at = cc_home_tick(c);
	if (c->tensors_count > 0 && !c->laid_out)
		at = cc_earlier(at, cc_register_tick(c));
	if (!c->laid_out)
		return at;
	at = cc_earlier(at, cc_read_tick(c));
	for (uint32_t i = 0; i < c->lanes_count; i++) {
		struct cc_lane *l = &c->lanes[i];
		at = cc_earlier(at, cc_ack_tick(c, l));
		at = cc_earlier(at, cc_push_tick(c, l));
		at = cc_earlier(at, cc_pull_tick(c, l));
	}
	return at;
}

void gp_ccore_send(struct gp_ccore *c, uint32_t lane, uint64_t now)
{
	GP_ASSERT(lane < c->lanes_count);
	c->now = now;
	if (!c->error.code && !c->left && c->laid_out && is_up(c))
		(void)cc_push_tick(c, &c->lanes[lane]);
}

uint64_t gp_ccore_tick(struct gp_ccore *c, uint64_t now)
{
	uint64_t at = GP_CCORE_NEVER;
	c->now = now;
	if (c->error.code || c->left)
		return at;
	if (c->joined)
		silence_check(c);
	if (is_up(c)) {
		at = session_tick(c);
	} else {
		if (c->joined && cc_home(c)->phase == CC_LANE_UP)
			at = cc_home_tick(c);
		for (uint32_t i = 0; i < c->lanes_count; i++)
			at = cc_earlier(at, cc_handshake_tick(c, &c->lanes[i]));
	}
	c->last_tick = now;
	return at;
}

void gp_ccore_unreachable(struct gp_ccore *c)
{
	if (c->joined && !c->left && c->heard != 0 && c->now - c->heard > UNREACHABLE_MIN)
		cc_fail(c, -ECONNREFUSED, "nobody listens at server %s any more", c->cfg.server);
}

// ---- what the owner sees

enum gp_ccore_phase gp_ccore_phase(const struct gp_ccore *c)
{
	if (c->error.code)
		return GP_CCORE_FAILED;
	if (c->left)
		return GP_CCORE_LEFT;
	if (!c->joined)
		return c->lanes[0].phase == CC_LANE_HELLO ? GP_CCORE_HELLO : GP_CCORE_JOIN;
	for (uint32_t i = 0; i < c->lanes_count; i++)
		if (!c->lanes[i].x)
			return GP_CCORE_PORTS;
	return is_up(c) ? GP_CCORE_JOINED : GP_CCORE_ATTACH;
}

uint32_t gp_ccore_epoch(const struct gp_ccore *c)
{
	return c->epoch;
}

uint32_t gp_ccore_lanes(const struct gp_ccore *c)
{
	return c->lanes_count;
}

uint16_t gp_ccore_port(const struct gp_ccore *c, uint32_t lane)
{
	GP_ASSERT(c->joined && lane < c->lanes_count);
	return (uint16_t)(c->w.base_port + lane);
}

void gp_ccore_attach(struct gp_ccore *c, uint32_t lane, struct gp_xport *x)
{
	GP_ASSERT(lane > 0 && lane < c->lanes_count && !c->lanes[lane].x);
	cc_lane_start(c, &c->lanes[lane], x);
}

const struct gp_client_error *gp_ccore_error(const struct gp_ccore *c)
{
	return c->error.code ? &c->error : NULL;
}

const struct gp_client_error *gp_ccore_last(const struct gp_ccore *c)
{
	return &c->last;
}

void gp_ccore_stats(const struct gp_ccore *c, struct gp_client_stats *stats)
{
	*stats = c->stats;
	if (c->joined)
		stats->srtt_us = (uint32_t)(c->lanes[c->w.home].rtt.srtt / US);
}
