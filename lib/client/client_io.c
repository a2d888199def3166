// SPDX-License-Identifier: BSD-3-Clause
#include "client_priv.h"

#include <time.h>

#define FRAMES_COUNT 1024
#define BURST	     32
#define BURSTS_MAX   16 // of one socket before the others get their turn
#define SLEEP_MAX    (100 * NS_PER_MS)

uint64_t client_now(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

int client_lane_open(struct gp_client *c, uint32_t lane, uint16_t port)
{
	GP_ASSERT(lane == c->lanes_count && lane < GP_CCORE_LANES_MAX);
	struct gp_xport_udp_opts opts = {
		.server = c->server, .ip_mtu = c->path_mtu, .frames_count = FRAMES_COUNT};
	opts.server.port = port;
	struct gp_xport_udp *x = gp_xport_udp_create(&opts);
	if (!x)
		return -errno;
	c->lanes[c->lanes_count++] = x;
	return 0;
}

void client_lanes_close(struct gp_client *c)
{
	for (uint32_t i = 0; i < c->lanes_count; i++)
		gp_xport_udp_destroy(c->lanes[i]);
	c->lanes_count = 0;
}

// Credit that came back is used while the next burst is read.
static void lane_turn(struct gp_client *c, uint32_t lane)
{
	struct gp_frame *frames[BURST];
	uint32_t n = BURST;
	for (uint32_t i = 0; i < BURSTS_MAX && n == BURST; i++) {
		n = gp_xport_udp_poll(c->lanes[lane], frames, BURST);
		if (n == 0)
			break;
		uint64_t now = client_now();
		gp_ccore_rx(c->core, lane, frames, n, now);
		gp_ccore_send(c->core, lane, now);
		(void)gp_xport_udp_flush(c->lanes[lane]);
	}
}

// The tick comes last: what waits unread must not count as silence.
uint64_t client_turn(struct gp_client *c)
{
	for (uint32_t i = 0; i < c->lanes_count; i++)
		lane_turn(c, i);
	uint64_t next = gp_ccore_tick(c->core, client_now());
	for (uint32_t i = 0; i < c->lanes_count; i++)
		(void)gp_xport_udp_flush(c->lanes[i]);
	return next;
}

uint32_t client_fds(struct gp_client *c, struct pollfd *fds, uint64_t *until)
{
	for (uint32_t i = 0; i < c->lanes_count; i++) {
		if (gp_xport_udp_pending(c->lanes[i]))
			*until = 0;
		bool full = gp_xport_udp_flush(c->lanes[i]) > 0;
		fds[i] = (struct pollfd){.fd = gp_xport_udp_fd(c->lanes[i]),
			.events = (short)(POLLIN | (full ? POLLOUT : 0))};
	}
	return c->lanes_count;
}

void client_sleep(struct gp_client *c, uint64_t until)
{
	struct pollfd fds[GP_CCORE_LANES_MAX];
	uint32_t count = client_fds(c, fds, &until);
	uint64_t now = client_now();
	uint64_t left = until > now ? GP_MIN(until - now, SLEEP_MAX) : 0;
	const struct timespec t = {
		.tv_sec = (time_t)(left / 1000000000), .tv_nsec = (long)(left % 1000000000)};
	(void)ppoll(fds, count, &t, NULL);
}

void client_pause(uint64_t ns)
{
	const struct timespec t = {
		.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
	(void)nanosleep(&t, NULL);
}

bool client_was_refused(const struct gp_client *c)
{
	for (uint32_t i = 0; i < c->lanes_count; i++)
		if (gp_xport_udp_stats(c->lanes[i])->refused > 0)
			return true;
	return false;
}
