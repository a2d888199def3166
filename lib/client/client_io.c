// SPDX-License-Identifier: BSD-3-Clause
#include "client_priv.h"

#include <time.h>

#define BURST	   32
#define BURSTS_MAX 16 // of one socket before the others get their turn
#define SLEEP_MAX  (100 * NS_PER_MS)

uint64_t client_now(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

int client_lane_open(
	struct gp_client *c, uint32_t lane, uint16_t port, char text[GP_CARRIER_TEXT_SIZE])
{
	GP_ASSERT(lane == c->lanes_count && lane < GP_CCORE_LANES_MAX);
	struct gp_addr server = c->server;
	server.port = port;
	struct gp_xport *x = c->carrier->ops->lane_open(c->carrier, lane, &server, text);
	if (!x)
		return -errno;
	c->lanes[c->lanes_count++] = x;
	return 0;
}

void client_lanes_close(struct gp_client *c)
{
	if (c->carrier)
		c->carrier->ops->lanes_close(c->carrier);
	c->lanes_count = 0;
	c->refusals = 0;
}

// Credit that came back is used while the next burst is read.
static void lane_turn(struct gp_client *c, uint32_t lane)
{
	const struct gp_carrier_ops *ops = c->carrier->ops;
	struct gp_frame *frames[BURST];
	uint32_t n = BURST;
	for (uint32_t i = 0; i < BURSTS_MAX && n == BURST; i++) {
		n = ops->poll(c->carrier, lane, frames, BURST);
		if (n == 0)
			break;
		uint64_t now = client_now();
		gp_ccore_rx(c->core, lane, frames, n, now);
		gp_ccore_send(c->core, lane, now);
		(void)ops->flush(c->carrier, lane);
	}
}

// The tick comes last: what waits unread must not count as silence.
uint64_t client_turn(struct gp_client *c)
{
	for (uint32_t i = 0; i < c->lanes_count; i++)
		lane_turn(c, i);
	uint64_t next = gp_ccore_tick(c->core, client_now());
	uint64_t refusals = client_refusals(c);
	if (c->opts.reconnect_ms > 0 && refusals != c->refusals)
		gp_ccore_unreachable(c->core);
	c->refusals = refusals;
	for (uint32_t i = 0; i < c->lanes_count; i++)
		(void)c->carrier->ops->flush(c->carrier, i);
	return next;
}

uint32_t client_fds(struct gp_client *c, struct pollfd *fds, uint64_t *until)
{
	uint64_t now = client_now();
	uint64_t ns = *until > now ? GP_MIN(*until - now, SLEEP_MAX) : 0;
	uint32_t count = c->carrier->ops->fds(c->carrier, fds, &ns);
	*until = ns > 0 ? now + ns : 0;
	return count;
}

void client_sleep(struct gp_client *c, uint64_t until)
{
	struct pollfd fds[GP_CCORE_LANES_MAX];
	uint32_t count = client_fds(c, fds, &until);
	uint64_t now = client_now();
	if (until <= now)
		return;
	const struct timespec t = {.tv_nsec = (long)GP_MIN(until - now, SLEEP_MAX)};
	(void)ppoll(fds, count, &t, NULL);
}

void client_pause(uint64_t ns)
{
	const struct timespec t = {
		.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
	(void)nanosleep(&t, NULL);
}

uint64_t client_refusals(const struct gp_client *c)
{
	const struct gp_carrier_ops *ops = c->carrier->ops;
	return ops->refused ? ops->refused(c->carrier) : 0;
}
