// SPDX-License-Identifier: BSD-3-Clause
//
// The calls of a joined client. Those that need the session begin with client_ended, since the
// client's thread may have seen it end between two calls.
#include "client_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int client_error(struct gp_client_error *err, int code, const char *fmt, ...)
{
	if (!err)
		return code;
	va_list args;
	va_start(args, fmt);
	err->code = code;
	(void)vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	return code;
}

int client_result(struct gp_client *c, int rc, struct gp_client_error *err)
{
	if (rc == 0 || !err)
		return rc;
	const struct gp_client_error *why = gp_ccore_error(c->core);
	if (!why || why->code != rc)
		why = gp_ccore_last(c->core);
	*err = *why;
	err->code = rc;
	return rc;
}

int client_timed_out(struct gp_client *c, uint32_t timeout_ms, struct gp_client_error *err)
{
	char what[128];
	gp_ccore_waiting(c->core, what, sizeof(what));
	return client_error(err, -ETIMEDOUT, "waited %u ms for %s on server %s", timeout_ms, what,
		c->server_text);
}

int client_await(struct gp_client *c, bool (*done)(const struct gp_ccore *core),
	uint32_t timeout_ms, struct gp_client_error *err)
{
	uint64_t end = client_now() + timeout_ms * NS_PER_MS;
	for (;;) {
		uint64_t next = client_turn(c), waited = c->waited_ns;
		int rc = client_ended(c, err);
		if (rc)
			return rc;
		end += c->waited_ns - waited; // which has a bound of its own
		if (done(c->core))
			return 0;
		if (client_now() >= end)
			break;
		client_sleep(c, GP_MIN(next, end));
	}
	return client_timed_out(c, timeout_ms, err);
}

int gp_client_register(struct gp_client *c, const struct gp_client_tensor *tensors, uint32_t count,
	uint32_t timeout_ms, struct gp_client_error *err)
{
	struct client_background *held CLIENT_LEAVES = client_enter(c);
	int rc = client_ended(c, err);
	if (rc)
		return rc;
	rc = gp_ccore_register(c->core, tensors, count);
	if (rc)
		return client_result(c, rc, err);
	rc = client_await(c, gp_ccore_ready, timeout_ms, err);
	if (rc || c->opts.reconnect_ms == 0)
		return rc;
	c->tensors = malloc(sizeof(*tensors) * count);
	if (!c->tensors)
		return client_error(err, -ENOMEM, "no memory for the list of tensors");
	memcpy(c->tensors, tensors, sizeof(*tensors) * count);
	c->tensors_count = count;
	return 0;
}

int gp_client_init_params(
	struct gp_client *c, float *const *params, uint32_t timeout_ms, struct gp_client_error *err)
{
	struct client_background *held CLIENT_LEAVES = client_enter(c);
	int rc = client_ended(c, err);
	if (rc)
		return rc;
	rc = gp_ccore_init(c->core, params);
	if (rc)
		return client_result(c, rc, err);
	rc = client_await(c, gp_ccore_done, timeout_ms, err);
	if (c->core)
		(void)gp_ccore_pull_end(c->core);
	return rc;
}

uint32_t gp_client_step(const struct gp_client *c)
{
	struct client_background *held CLIENT_LEAVES = client_enter(c);
	return c->core ? gp_ccore_step(c->core) : 0;
}

// Of each core's blocks, so that they fill datagrams. What has just been encoded is sent from the
// cache, and the server has work from the beginning.
#define PIECE_BLOCKS 64

static int push_call(struct gp_client *c, uint32_t tensor, const float *grad, float weight,
	float *out, struct gp_client_error *err)
{
	struct client_background *held CLIENT_LEAVES = client_enter(c);
	int rc = client_ended(c, err);
	if (rc)
		return rc;
	rc = gp_ccore_push_begin(c->core, tensor, grad, weight, out);
	if (rc)
		return client_result(c, rc, err);
	uint32_t left, piece = PIECE_BLOCKS * GP_MAX(c->lanes_count, 1);
	do {
		left = gp_ccore_push_more(c->core, tensor, piece);
		(void)client_turn(c);
	} while (left > 0);
	return client_ended(c, err);
}

int gp_client_push_pull(struct gp_client *c, uint32_t tensor, const float *grad, float weight,
	float *out, struct gp_client_error *err)
{
	if (!out)
		return client_error(
			err, -EINVAL, "tensor %u: out is NULL; see gp_client_push", tensor);
	return push_call(c, tensor, grad, weight, out, err);
}

int gp_client_push(struct gp_client *c, uint32_t tensor, const float *grad, float weight,
	struct gp_client_error *err)
{
	return push_call(c, tensor, grad, weight, NULL, err);
}

int gp_client_pull_all(struct gp_client *c, float *const *out, uint32_t *generation,
	uint32_t timeout_ms, struct gp_client_error *err)
{
	struct client_background *held CLIENT_LEAVES = client_enter(c);
	int rc = client_ended(c, err);
	if (rc)
		return rc;
	rc = gp_ccore_pull(c->core, out);
	if (rc)
		return client_result(c, rc, err);
	rc = client_await(c, gp_ccore_done, timeout_ms, err);
	uint32_t got = c->core ? gp_ccore_pull_end(c->core) : 0;
	if (!rc && generation)
		*generation = got;
	return rc;
}

int gp_client_codec(const struct gp_client *c, uint32_t tensor, struct gp_client_codec_state *state)
{
	struct client_background *held CLIENT_LEAVES = client_enter(c);
	return c->core ? gp_ccore_codec(c->core, tensor, state) : -EINVAL;
}

int gp_client_residual_get(
	struct gp_client *c, uint32_t tensor, float *values, struct gp_client_error *err)
{
	struct client_background *held CLIENT_LEAVES = client_enter(c);
	int rc = client_ended(c, err);
	return rc ? rc : client_result(c, gp_ccore_residual_get(c->core, tensor, values), err);
}

int gp_client_residual_put(
	struct gp_client *c, uint32_t tensor, const float *values, struct gp_client_error *err)
{
	struct client_background *held CLIENT_LEAVES = client_enter(c);
	int rc = client_ended(c, err);
	return rc ? rc : client_result(c, gp_ccore_residual_put(c->core, tensor, values), err);
}

int gp_client_wait(struct gp_client *c, uint32_t timeout_ms, struct gp_client_error *err)
{
	struct client_background *held CLIENT_LEAVES = client_enter(c);
	int rc = client_ended(c, err);
	if (rc)
		return rc;
	gp_ccore_rows_seal(c->core);
	rc = gp_ccore_step_whole(c->core);
	if (rc)
		return client_result(c, rc, err);
	rc = client_await(c, gp_ccore_done, timeout_ms, err);
	if (rc)
		return rc;
	return client_result(c, gp_ccore_step_end(c->core), err);
}

int gp_client_wait_tensor(
	struct gp_client *c, uint32_t tensor, uint32_t timeout_ms, struct gp_client_error *err)
{
	struct client_background *held CLIENT_LEAVES = client_enter(c);
	int rc = client_ended(c, err);
	if (rc)
		return rc;
	uint64_t end = client_now() + timeout_ms * NS_PER_MS;
	rc = gp_ccore_tensor_pushed(c->core, tensor);
	if (rc)
		return client_result(c, rc, err);
	for (;;) {
		uint64_t next = client_turn(c), waited = c->waited_ns;
		rc = client_ended(c, err);
		if (rc)
			return rc;
		end += c->waited_ns - waited;
		if (gp_ccore_tensor_take(c->core, tensor))
			return 0;
		if (client_now() >= end)
			return client_timed_out(c, timeout_ms, err);
		client_sleep(c, GP_MIN(next, end));
	}
}

int gp_client_poll(struct gp_client *c, struct gp_client_error *err)
{
	struct client_background *held CLIENT_LEAVES = client_enter(c);
	if (!c->lost)
		(void)client_turn(c);
	return client_ended(c, err);
}

int gp_client_barrier(
	struct gp_client *c, uint32_t name, uint32_t timeout_ms, struct gp_client_error *err)
{
	struct client_background *held CLIENT_LEAVES = client_enter(c);
	int rc = client_ended(c, err);
	if (rc)
		return rc;
	rc = gp_ccore_barrier(c->core, name);
	if (rc)
		return client_result(c, rc, err);
	return client_await(c, gp_ccore_barrier_done, timeout_ms, err);
}

void client_stats(const struct gp_client *c, struct gp_client_stats *stats)
{
	const struct gp_client_stats *b = &c->before;
	*stats = (struct gp_client_stats){0};
	if (c->core)
		gp_ccore_stats(c->core, stats);
	stats->tx_datagrams += b->tx_datagrams;
	stats->tx_bytes += b->tx_bytes;
	stats->rx_datagrams += b->rx_datagrams;
	stats->rx_bytes += b->rx_bytes;
	stats->pushed_bytes += b->pushed_bytes;
	stats->retransmits += b->retransmits;
	stats->rx_rejected += b->rx_rejected;
	stats->duplicates += b->duplicates;
	stats->aborts += b->aborts;
	stats->too_stale += b->too_stale;
	stats->reconnects = b->reconnects;
	stats->residuals_lost = b->residuals_lost;
	stats->takeovers = b->takeovers;
}

void gp_client_stats(const struct gp_client *c, struct gp_client_stats *stats)
{
	struct client_background *held CLIENT_LEAVES = client_enter(c);
	client_stats(c, stats);
}
