// SPDX-License-Identifier: BSD-3-Clause
//
// Finding a server: at the first join, and again when the one that was joined is gone. What is
// joined again is a new incarnation of the rank. The core brings along what was in hand; but not to
// a server whose job has another form: rows of tables were dealt to the cores that there were.
#include "client_priv.h"

#include <stdio.h>
#include <string.h>

#define ATTEMPT_MS 1000 // for one of several addresses that has answered
#define ANSWER_MS  150	// for its first answer, at first; longer in each round
#define PAUSE_NS   (50 * NS_PER_MS)

static void server_choose(struct gp_client *c, uint32_t i)
{
	c->server_at = i % c->servers_count;
	c->server = c->servers[c->server_at];
	gp_addr_format(&c->server, c->server_text);
}

// Another server, or the same one a little later, may take what this one did not.
static bool is_passing(int rc)
{
	return rc == -ETIMEDOUT || rc == -ECONNRESET || rc == -ESHUTDOWN || rc == -EHOSTUNREACH ||
	       rc == -ENETUNREACH || rc == -ECONNREFUSED || rc == -EEXIST;
}

static uint32_t ms_left(uint64_t end)
{
	uint64_t now = client_now();
	return end > now ? (uint32_t)((end - now) / NS_PER_MS) : 0;
}

int client_find(struct gp_client *c, uint32_t timeout_ms, struct gp_client_error *err)
{
	uint64_t end = client_now() + timeout_ms * NS_PER_MS;
	bool one = c->servers_count == 1 && !c->again;
	uint32_t answer_ms = ANSWER_MS;
	for (uint32_t tries = 1;; tries++) {
		uint32_t left = one && tries == 1 ? timeout_ms : ms_left(end);
		server_choose(c, c->server_at);
		int rc = one ? client_connect(c, left, left, err)
			     : client_connect(
				       c, GP_MIN(left, answer_ms), GP_MIN(left, ATTEMPT_MS), err);
		if (rc == 0)
			c->epoch = gp_ccore_epoch(c->core);
		bool later = one && rc == -ECONNREFUSED; // the carrier finds nobody there
		if (rc == 0 || (one && !later) || !is_passing(rc) || ms_left(end) == 0)
			return rc;
		if (tries % c->servers_count == 0) // perhaps it is a long way to all of them
			answer_ms = GP_MIN(2 * answer_ms, ATTEMPT_MS);
		server_choose(c, c->server_at + 1);
		client_pause(GP_MIN(PAUSE_NS, ms_left(end) * NS_PER_MS));
	}
}

// Another core begins with what the first one was told; one that joins again knows its tensors.
static int registered_again(struct gp_client *c, uint64_t end, struct gp_client_error *err)
{
	if (gp_ccore_fate(c->core) == GP_CCORE_FIRST) {
		int rc = gp_ccore_register(c->core, c->tensors, c->tensors_count);
		if (rc)
			return client_result(c, rc, err);
	}
	return client_await(c, gp_ccore_ready, ms_left(end), err);
}

// One of the servers, and what it has of the job. The place of the next attempt is chosen.
static int attempt(struct gp_client *c, uint64_t end, struct gp_client_error *err)
{
	int rc = client_find(c, ms_left(end), err);
	if (rc == 0)
		rc = registered_again(c, end, err);
	if (rc == -ESTALE) { // the job has another form there: only a core that knows none joins it
		c->opts.previous_incarnation = c->incarnation;
		client_disconnect(c);
		return -ECONNRESET;
	}
	if (rc != 0)
		server_choose(c, c->server_at + 1);
	return rc;
}

// Nobody was found, or nobody who led the job: what the last one said is the reason.
static int again_in_vain(struct gp_client *c, struct gp_client_error *err)
{
	char last[GP_ERROR_TEXT_SIZE] = "";
	if (err)
		memcpy(last, err->text, sizeof(last));
	return client_error(err, -ETIMEDOUT,
		"the server of job '%s' went away, and in %u ms none was found: %.150s", c->job,
		c->opts.reconnect_ms, last);
}

static int again_tell(struct gp_client *c, bool kept_back, struct gp_client_error *err)
{
	c->before.reconnects++;
	if (gp_ccore_fate(c->core) == GP_CCORE_WENT_ON) {
		c->before.takeovers++;
		return 0;
	}
	c->before.residuals_lost += kept_back;
	return client_error(err, -ESTALE,
		"the server of job '%s' went away; this rank has joined again at %s: read the "
		"parameters and go on with step %u",
		c->job, c->server_text, gp_ccore_step(c->core));
}

// After the end of a session that may be had again.
static int client_again(struct gp_client *c, int why, struct gp_client_error *err)
{
	uint64_t begin = client_now();
	uint64_t end = begin + c->opts.reconnect_ms * NS_PER_MS;
	bool kept_back = gp_ccore_has_residuals(c->core);
	int rc;
	c->again = true;
	c->opts.previous_incarnation = c->incarnation;
	if (why != -ECONNRESET) // whose server is still there
		server_choose(c, c->server_at + 1);
	do
		rc = attempt(c, end, err);
	while (is_passing(rc) && ms_left(end) > 0);
	c->again = false;
	c->waited_ns += client_now() - begin;
	if (rc == 0)
		return again_tell(c, kept_back, err);
	c->lost = true;
	return is_passing(rc) ? again_in_vain(c, err) : rc;
}

int client_ended(struct gp_client *c, struct gp_client_error *err)
{
	if (c->lost)
		return client_error(err, -ENOTCONN, "the session of job '%s' has ended", c->job);
	const struct gp_client_error *why = gp_ccore_error(c->core);
	if (c->again && !why && client_refusals(c) > 0)
		return client_error(err, -ECONNREFUSED, "nobody listens at %s", c->server_text);
	if (c->again && c->opts.stop_wanted && c->opts.stop_wanted(c->opts.stop_arg))
		return client_error(
			err, -EINTR, "stopped while it looked for the server of '%s'", c->job);
	if (!why)
		return 0;
	if (c->opts.reconnect_ms == 0 || c->again || c->tensors_count == 0 ||
		!is_passing(why->code))
		return client_result(c, why->code, err);
	return client_again(c, why->code, err);
}
