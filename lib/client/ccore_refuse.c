// SPDX-License-Identifier: BSD-3-Clause
//
// Refusals: which end the session, and with what text. A few are part of ordinary work.
#include "ccore_priv.h"

#include <stdio.h>

#define TAKEN_RETRY (100 * MS)
#define TAKEN_MAX   (2000 * MS)
#define WHERE_SIZE  (GP_ADDR_TEXT_SIZE + 8)

static void where_format(const struct gp_refuse *r, char text[WHERE_SIZE])
{
	struct gp_addr a = {.port = r->where_port};
	memcpy(a.ip, r->where_ip, sizeof(a.ip));
	if (a.port == 0)
		(void)snprintf(text, WHERE_SIZE, "(unknown)");
	else
		gp_addr_format(&a, text);
}

// The rank's holder may be about to be declared dead: ask again for a while.
static void rank_taken(struct gp_ccore *c, struct cc_lane *l, const struct gp_refuse *r)
{
	char where[WHERE_SIZE];
	if (c->taken_since == 0)
		c->taken_since = c->now;
	where_format(r, where);
	(void)cc_refuse_call(c, -EEXIST,
		"rank %u of job '%s' is held by %s, last heard %.1f s ago; stop that worker, or "
		"join with the flag REPLACE",
		c->cfg.rank, c->cfg.job, where, r->age_ms * 1e-3);
	if (c->now - c->taken_since >= TAKEN_MAX)
		cc_fail(c, -EEXIST, "%s", c->last.text);
	l->join_tries = 0;
	l->retry.at = c->now + TAKEN_RETRY;
	l->retry.interval = TAKEN_RETRY;
}

static const char *tensor_name(const struct gp_ccore *c, uint32_t idx)
{
	return idx < c->tensors_count ? c->tensors[idx].d.name : "?";
}

// About the opening of the session.
static bool refuse_join(struct gp_ccore *c, const struct gp_refuse *r)
{
	unsigned long long expected = r->expected, seen = r->seen;
	switch (r->reason) {
	case GP_REFUSAL_VERSION:
		cc_fail(c, -EPROTO, "server %s does not speak protocol version %u", c->cfg.server,
			GP_WIRE_VERSION);
		return true;
	case GP_REFUSAL_UNKNOWN_JOB:
		cc_fail(c, -ENOENT, "server %s has no job '%s'; see jobs in its configuration",
			c->cfg.server, c->cfg.job);
		return true;
	case GP_REFUSAL_WORLD_SIZE:
		cc_fail(c, -EINVAL,
			"job '%s' has %llu workers on server %s, this worker was started for %llu",
			c->cfg.job, expected, c->cfg.server, seen);
		return true;
	case GP_REFUSAL_RANK_RANGE:
		cc_fail(c, -EINVAL, "rank %u is outside 0..%llu of job '%s'", c->cfg.rank,
			(expected > 0 ? expected : c->cfg.world) - 1, c->cfg.job);
		return true;
	case GP_REFUSAL_MTU:
		cc_fail(c, -EMSGSIZE,
			"the path to %s carries an IP MTU of %llu bytes, job '%s' needs %llu; "
			"raise the path's MTU or lower that of the job",
			c->cfg.server, seen, c->cfg.job, expected);
		return true;
	default:
		return false;
	}
}

// About tensors.
static bool refuse_register(struct gp_ccore *c, const struct gp_refuse *r)
{
	unsigned long long expected = r->expected, seen = r->seen;
	const char *more = r->text_len > 0 ? ": " : "";
	switch (r->reason) {
	case GP_REFUSAL_SHAPE_MISMATCH:
		cc_fail(c, -EINVAL,
			"tensor '%s' has another shape in job '%s' (expected %llu, seen %llu)%s%s",
			tensor_name(c, r->what), c->cfg.job, expected, seen, more, r->text);
		return true;
	case GP_REFUSAL_TENSOR_COUNT:
		cc_fail(c, -EINVAL, "job '%s' has %llu tensors, this worker registers %llu%s%s",
			c->cfg.job, expected, seen, more, r->text);
		return true;
	case GP_REFUSAL_UNKNOWN_TENSOR:
		cc_fail(c, -EINVAL, "tensor '%s' is unknown in job '%s'%s%s",
			tensor_name(c, r->what), c->cfg.job, more, r->text);
		return true;
	case GP_REFUSAL_OVER_QUOTA:
		cc_fail(c, -ENOMEM,
			"job '%s' on server %s is over its quota (limit %llu, needed %llu); raise "
			"it in the server's configuration%s%s",
			c->cfg.job, c->cfg.server, expected, seen, more, r->text);
		return true;
	default:
		return false;
	}
}

static void refuse_session(struct gp_ccore *c, const struct gp_refuse *r)
{
	switch (r->reason) {
	case GP_REFUSAL_FENCED:
		cc_fail(c, -ECONNRESET,
			"server %s no longer has this session of rank %u: it was silent too long, "
			"another process took the rank, or the server was restarted; join again",
			c->cfg.server, c->cfg.rank);
		return;
	case GP_REFUSAL_STALE:
		cc_fail(c, -ECONNRESET, "server %s ended this session (step %u is too old)%s%s",
			c->cfg.server, r->step, r->text_len > 0 ? ": " : "", r->text);
		return;
	case GP_REFUSAL_STOPPING:
		cc_fail(c, -ESHUTDOWN, "server %s is shutting down: step %u does not begin",
			c->cfg.server, r->step);
		return;
	case GP_REFUSAL_BAD_PAYLOAD:
		cc_fail(c, -EBADMSG,
			"server %s refused the contribution to block %u of step %u: "
			"its payload is malformed",
			c->cfg.server, r->what, r->step);
		return;
	case GP_REFUSAL_NONFINITE:
		cc_fail(c, -EDOM, "server %s refused the gradient of %s", c->cfg.server, r->text);
		return;
	case GP_REFUSAL_NOT_LEADER:
	case GP_REFUSAL_WRONG_PARTITION: {
		char where[WHERE_SIZE];
		where_format(r, where);
		cc_fail(c, -EHOSTUNREACH, "server %s does not serve this (%s); ask %s",
			c->cfg.server, gp_wire_refusal_name(r->reason), where);
		return;
	}
	default:
		cc_fail(c, -EPROTO, "server %s refused %s: %s%s%s", c->cfg.server,
			gp_wire_type_name(r->about), gp_wire_refusal_name(r->reason),
			r->text_len > 0 ? ": " : "", r->text);
		return;
	}
}

// What mends itself: another view, a step that is not open yet, a layout that is to come.
static bool is_passing(uint16_t reason)
{
	return reason == GP_REFUSAL_OTHER_VIEW || reason == GP_REFUSAL_NOT_READY ||
	       reason == GP_REFUSAL_TOO_EARLY;
}

void cc_refuse(struct gp_ccore *c, struct cc_lane *l, const struct gp_msg *m)
{
	struct gp_refuse r;
	gp_wire_get_refuse(m, &r);
	bool of_join =
		r.about == GP_WIRE_JOIN && l->phase == CC_LANE_JOIN && r.nonce == c->cfg.nonce;
	bool of_session = c->joined && m->h.session == c->w.session && r.about != GP_WIRE_JOIN;
	if (!of_join && !of_session) {
		c->stats.rx_rejected++;
		return;
	}
	c->heard = c->now;
	if (c->leaving && of_session) {
		c->left = true;
		return;
	}
	if (is_passing(r.reason))
		return;
	if (of_session && r.reason == GP_REFUSAL_TOO_STALE) {
		c->stats.too_stale++;
		return;
	}
	if (of_join && r.reason == GP_REFUSAL_RANK_TAKEN)
		rank_taken(c, l, &r);
	else if (of_session && r.reason == GP_REFUSAL_GONE)
		cc_pull_gone(c, &r);
	else if (!refuse_join(c, &r) && !refuse_register(c, &r))
		refuse_session(c, &r);
}
