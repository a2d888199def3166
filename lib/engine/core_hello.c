// SPDX-License-Identifier: BSD-3-Clause
//
// Hello (stateless: a cookie proves the address, the size proves the path MTU both ways) and join.
// A join that opens a session goes to the control thread; one that attaches is answered here.
#include "engine_priv.h"
#include "whole.h"

#define SECOND_NS UINT64_C(1000000000)

// So many in a row must be lost before a live worker is taken for dead: at 30 % loss once in 10^8.
#define HEARTBEATS_PER_TIMEOUT 16

static bool hello_allowed(struct gp_core *c)
{
	uint64_t rate = c->engine->cfg.hello_rate;
	uint64_t idle = GP_MIN(c->now - c->hello_tokens_at, SECOND_NS);
	uint64_t fresh = idle * rate / SECOND_NS;
	if (fresh > 0) {
		c->hello_tokens = GP_MIN(c->hello_tokens + fresh, rate);
		c->hello_tokens_at = c->now;
	}
	if (c->hello_tokens == 0)
		return false;
	c->hello_tokens--;
	return true;
}

enum gp_verdict handle_hello(struct gp_core *c, struct gp_frame *f, const struct gp_msg *m)
{
	struct gp_hello hello;
	gp_wire_get_hello(m, &hello);
	if (f->len < GP_WIRE_HELLO_SIZE_MIN || hello.size != f->len)
		return GP_VERDICT_HELLO_SHORT;
	if (!hello_allowed(c))
		return GP_VERDICT_HELLO_LIMIT;

	struct gp_frame *out = c->xport->ops->alloc(c->xport);
	if (!out || out->room < f->len) {
		if (out)
			c->xport->ops->release(c->xport, out);
		gp_counter_add(&c->stats.tx_no_frame, 1);
		return GP_VERDICT_HELLO;
	}
	struct gp_hello reply = {.versions_count = 1,
		.versions = {GP_WIRE_VERSION},
		.size = f->len,
		.nonce = hello.nonce};
	for (uint32_t i = 0; i < hello.versions_count; i++)
		if (hello.versions[i] == GP_WIRE_VERSION)
			reply.chosen = GP_WIRE_VERSION;
	gp_cookie_make(&c->engine->cfg.cookie_key, f->peer.ip, f->peer.port, c->now / 1000000,
		reply.cookie);
	const struct gp_header h = {
		.version = GP_WIRE_VERSION, .type = GP_WIRE_HELLO_REPLY, .rank = GP_WIRE_RANK_NONE};
	uint32_t at = gp_wire_begin(out->data, out->room, &h);
	uint32_t end = at + gp_wire_put_hello(out->data + at, &reply);
	memset(out->data + end, 0, f->len - end);
	out->len = f->len;
	out->peer = f->peer;
	gp_counter_add(&c->stats.tx_datagrams, 1);
	c->xport->ops->send(c->xport, out);
	return GP_VERDICT_HELLO;
}

void welcome_fill(const struct gp_engine *e, const struct gp_session *s, uint64_t nonce,
	struct gp_welcome *w, struct gp_header *h)
{
	uint32_t idx = e->job_idx[s->job];
	const struct gp_job_config *cfg = &e->jobs_cfg[idx];
	const struct job_status *st = &e->status[idx];
	*w = (struct gp_welcome){
		.nonce = nonce,
		.session = s->id,
		.job = s->job,
		.cores = (uint16_t)e->cfg.cores_count,
		.base_port = e->cfg.base_port,
		.home = (uint16_t)job_home(e, s->job),
		.kind = cfg->kind,
		.atomicity = cfg->atomicity,
		.consistency = cfg->consistency,
		.flags = (uint8_t)((cfg->mean ? GP_WELCOME_MEAN : 0) |
				   (cfg->deterministic ? GP_WELCOME_DETERMINISTIC : 0) |
				   (engine_is_standby(e) ? GP_WELCOME_STANDBY : 0) |
				   (cfg->stale == GP_STALE_REFUSE ? GP_WELCOME_STALE_REFUSED : 0) |
				   (cfg_results_later(cfg) ? GP_WELCOME_WHOLE : 0)),
		.next_step = atomic_load_explicit(&st->generation, memory_order_relaxed) + 1,
		.heartbeat_us = (uint32_t)(cfg->timeout_ns / (1000 * HEARTBEATS_PER_TIMEOUT)),
		.timeout_us = (uint32_t)(cfg->timeout_ns / 1000),
		.slots = cfg->slots,
		.window = cfg->window,
		.decision = atomic_load_explicit(&st->decision, memory_order_relaxed),
		.payload_max = e->cfg.payload_max,
		.world = (uint16_t)cfg->workers,
		.rank = s->rank,
		.incarnation = s->incarnation,
		.rto_min_us = (uint32_t)(cfg->rto_min_ns / 1000),
		.rto_max_us = (uint32_t)(cfg->rto_max_ns / 1000),
	};
	*h = (struct gp_header){
		.version = GP_WIRE_VERSION,
		.type = GP_WIRE_WELCOME,
		.job = s->job,
		.rank = s->rank,
		.session = s->id,
		.epoch = engine_epoch(e),
		.view = atomic_load_explicit(&st->view, memory_order_relaxed),
		.decision = w->decision,
		.credit = (uint16_t)cfg->window,
	};
}

static enum gp_verdict handle_attach(
	struct gp_core *c, struct gp_frame *f, const struct gp_join *join)
{
	uint32_t idx = session_idx(join->session);
	if (idx >= c->engine->cfg.sessions_max)
		return GP_VERDICT_BAD_SESSION;
	const struct gp_session *s = gp_rcu_dereference(&c->engine->sessions[idx]);
	if (!s || s->id != join->session || s->incarnation != join->incarnation)
		return GP_VERDICT_BAD_SESSION;
	session_bind(c, s->id, s->payload_max, &f->peer);

	struct gp_welcome w;
	struct gp_header h;
	struct gp_frame *out = c->xport->ops->alloc(c->xport);
	if (!out) {
		gp_counter_add(&c->stats.tx_no_frame, 1);
		return GP_VERDICT_JOIN;
	}
	welcome_fill(c->engine, s, join->nonce, &w, &h);
	uint32_t at = gp_wire_begin(out->data, out->room, &h);
	out->len = at + gp_wire_put_welcome(out->data + at, &w);
	out->peer = f->peer;
	gp_counter_add(&c->stats.tx_datagrams, 1);
	c->xport->ops->send(c->xport, out);
	return GP_VERDICT_JOIN;
}

enum gp_verdict handle_join(struct gp_core *c, struct gp_frame *f, const struct gp_msg *m)
{
	struct gp_join join;
	gp_wire_get_join(m, &join);
	if (!gp_cookie_check(&c->engine->cfg.cookie_key, f->peer.ip, f->peer.port, join.cookie,
		    c->now / 1000000))
		return GP_VERDICT_BAD_COOKIE;
	if (join.flags & GP_JOIN_ATTACH)
		return handle_attach(c, f, &join);
	if (c->idx != 0)
		return GP_VERDICT_WRONG_CORE;
	const struct cmd cmd = {.type = CMD_JOIN, .ptr = f};
	if (!core_tell_control(c, &cmd))
		return GP_VERDICT_CONTROL_FULL;
	c->xport->ops->hold(c->xport, f);
	return GP_VERDICT_JOIN;
}
