// SPDX-License-Identifier: BSD-3-Clause
//
// Finding a server: at the first join, and again when the one that was joined is gone. What is
// joined again is a new incarnation of the rank: nothing of the one before meets it.
#include "client_priv.h"

#include <stdio.h>
#include <string.h>

#define ATTEMPT_MS 1000 // for one of several addresses
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

// A server of an older leadership than the rank has seen is no longer one.
static int epoch_check(struct gp_client *c, struct gp_client_error *err)
{
	uint32_t epoch = gp_ccore_epoch(c->core);
	if (c->epoch != 0 && gp_before(epoch, c->epoch)) {
		client_disconnect(c);
		return client_error(err, -EHOSTUNREACH,
			"server %s leads epoch %u, this rank has seen epoch %u: it is an old "
			"leader",
			c->server_text, epoch, c->epoch);
	}
	c->epoch = epoch;
	return 0;
}

int client_find(struct gp_client *c, uint32_t timeout_ms, struct gp_client_error *err)
{
	uint64_t end = client_now() + timeout_ms * NS_PER_MS;
	bool one = c->servers_count == 1 && !c->again;
	for (;;) {
		server_choose(c, c->server_at);
		uint32_t ms = one ? timeout_ms : GP_MIN(ms_left(end), ATTEMPT_MS);
		int rc = client_connect(c, ms, err);
		if (rc == 0)
			rc = epoch_check(c, err);
		bool later = one && rc == -ECONNREFUSED; // the carrier finds nobody there
		if (rc == 0 || (one && !later) || !is_passing(rc) || ms_left(end) == 0)
			return rc;
		server_choose(c, c->server_at + 1);
		client_pause(GP_MIN(PAUSE_NS, ms_left(end) * NS_PER_MS));
	}
}

static int registered_again(struct gp_client *c, uint64_t end, struct gp_client_error *err)
{
	if (c->tensors_count == 0)
		return 0;
	int rc = gp_ccore_register(c->core, c->tensors, c->tensors_count);
	if (rc)
		return client_result(c, rc, err);
	return client_await(c, gp_ccore_ready, ms_left(end), err);
}

static void stats_keep(struct gp_client *c)
{
	struct gp_client_stats now;
	client_stats(c, &now);
	c->before = now;
}

// After the end of a session that may be had again.
static int client_again(struct gp_client *c, struct gp_client_error *err)
{
	uint64_t end = client_now() + c->opts.reconnect_ms * NS_PER_MS;
	int rc;
	bool kept_back = c->core && gp_ccore_has_residuals(c->core);
	c->again = true;
	stats_keep(c);
	c->opts.previous_incarnation = c->incarnation;
	do {
		client_disconnect(c);
		rc = client_find(c, ms_left(end), err);
		if (rc == 0)
			rc = registered_again(c, end, err);
		if (rc != 0 && c->servers_count > 1)
			server_choose(c, c->server_at + 1);
	} while (is_passing(rc) && ms_left(end) > 0);
	c->again = false;
	if (rc != 0) {
		c->lost = true;
		return rc;
	}
	c->before.reconnects++;
	c->before.residuals_lost += kept_back;
	return client_error(err, -ESTALE,
		"the server of job '%s' went away; this rank has joined again at %s: read the "
		"parameters and go on with step %u",
		c->job, c->server_text, gp_ccore_step(c->core));
}

int client_ended(struct gp_client *c, struct gp_client_error *err)
{
	if (c->lost)
		return client_error(err, -ENOTCONN, "the session of job '%s' has ended", c->job);
	const struct gp_client_error *why = gp_ccore_error(c->core);
	if (!why)
		return 0;
	if (c->opts.reconnect_ms == 0 || c->again || c->tensors_count == 0 ||
		!is_passing(why->code))
		return client_result(c, why->code, err);
	return client_again(c, err);
}
