// SPDX-License-Identifier: BSD-3-Clause
//
// The carrier of the kernel's sockets, one for each lane. All lanes are one thread's: they share
// the state of blocks and steps, so threads would meet at every datagram; several server cores are
// served by joined messages instead.
#include "gp_carrier.h"

#include <errno.h>
#include <gp_xport_udp.h>
#include <stdio.h>
#include <stdlib.h>

#define FRAMES_COUNT  1024
#define LANES_MAX     32
#define BUSY_POLL_MAX 1000000

struct carrier_udp {
	struct gp_carrier base;
	struct gp_xport_udp_opts opts;
	uint32_t lanes_count;
	struct gp_xport_udp *lanes[LANES_MAX];
};

static struct carrier_udp *udp_of(struct gp_carrier *c)
{
	return (struct carrier_udp *)c;
}

static bool args_parse(struct gp_xport_udp_opts *o, const char *args, char *error)
{
	char buf[64], *key, *value;
	uint64_t n = 0;
	for (const char *at = args; gp_carrier_arg(&at, buf, sizeof(buf), &key, &value);) {
		bool yes = value && strcmp(value, "yes") == 0;
		if (strcmp(key, "join") == 0 && value && (yes || strcmp(value, "no") == 0)) {
			o->no_join = !yes;
		} else if (strcmp(key, "busy_poll") == 0 &&
			   gp_carrier_number(value, BUSY_POLL_MAX, &n)) {
			o->busy_poll_us = (uint32_t)n;
		} else {
			(void)snprintf(error, GP_CARRIER_TEXT_SIZE,
				"transport udp: '%.60s' is not one of join=yes|no, "
				"busy_poll=0..%u (microseconds)",
				key, BUSY_POLL_MAX);
			return false;
		}
	}
	return true;
}

static int udp_open(struct gp_carrier **out, const struct gp_carrier_opts *opts,
	char text[GP_CARRIER_TEXT_SIZE])
{
	struct carrier_udp *c = calloc(1, sizeof(*c));
	if (!c) {
		(void)snprintf(text, GP_CARRIER_TEXT_SIZE, "no memory");
		return -ENOMEM;
	}
	c->base.ops = &gp_carrier_udp;
	c->opts =
		(struct gp_xport_udp_opts){.ip_mtu = opts->path_mtu, .frames_count = FRAMES_COUNT};
	if (!args_parse(&c->opts, opts->args, text)) {
		free(c);
		return -EINVAL;
	}
	*out = &c->base;
	return 0;
}

static void udp_close(struct gp_carrier *base)
{
	struct carrier_udp *c = udp_of(base);
	GP_ASSERT(c->lanes_count == 0);
	free(c);
}

static struct gp_xport *udp_lane_open(struct gp_carrier *base, uint32_t lane,
	const struct gp_addr *server, char text[GP_CARRIER_TEXT_SIZE])
{
	struct carrier_udp *c = udp_of(base);
	GP_ASSERT(lane == c->lanes_count && lane < LANES_MAX);
	c->opts.server = *server;
	struct gp_xport_udp *x = gp_xport_udp_create(&c->opts);
	if (!x) {
		(void)snprintf(text, GP_CARRIER_TEXT_SIZE, "%s", strerror(errno));
		return NULL;
	}
	c->lanes[c->lanes_count++] = x;
	return gp_xport_udp_base(x);
}

static void udp_lanes_close(struct gp_carrier *base)
{
	struct carrier_udp *c = udp_of(base);
	while (c->lanes_count > 0)
		gp_xport_udp_destroy(c->lanes[--c->lanes_count]);
}

static uint32_t udp_poll(
	struct gp_carrier *base, uint32_t lane, struct gp_frame **frames, uint32_t max)
{
	return gp_xport_udp_poll(udp_of(base)->lanes[lane], frames, max);
}

static uint32_t udp_flush(struct gp_carrier *base, uint32_t lane)
{
	return gp_xport_udp_flush(udp_of(base)->lanes[lane]);
}

static uint32_t udp_fds(struct gp_carrier *base, struct pollfd *fds, uint64_t *ns)
{
	struct carrier_udp *c = udp_of(base);
	for (uint32_t i = 0; i < c->lanes_count; i++) {
		if (gp_xport_udp_pending(c->lanes[i]))
			*ns = 0;
		bool full = gp_xport_udp_flush(c->lanes[i]) > 0;
		fds[i] = (struct pollfd){.fd = gp_xport_udp_fd(c->lanes[i]),
			.events = (short)(POLLIN | (full ? POLLOUT : 0))};
	}
	return c->lanes_count;
}

static bool udp_trouble(const struct gp_carrier *base, char text[GP_CARRIER_TEXT_SIZE])
{
	const struct carrier_udp *c = (const struct carrier_udp *)base;
	for (uint32_t i = 0; i < c->lanes_count; i++) {
		if (gp_xport_udp_stats(c->lanes[i])->refused == 0)
			continue;
		(void)snprintf(text, GP_CARRIER_TEXT_SIZE,
			"the host answers that nobody listens on this port; is gradplaned "
			"running there?");
		return true;
	}
	return false;
}

static uint64_t udp_refused(const struct gp_carrier *base)
{
	const struct carrier_udp *c = (const struct carrier_udp *)base;
	uint64_t n = 0;
	for (uint32_t i = 0; i < c->lanes_count; i++)
		n += gp_xport_udp_stats(c->lanes[i])->refused;
	return n;
}

const struct gp_carrier_ops gp_carrier_udp = {
	.open = udp_open,
	.close = udp_close,
	.lane_open = udp_lane_open,
	.lanes_close = udp_lanes_close,
	.poll = udp_poll,
	.flush = udp_flush,
	.fds = udp_fds,
	.trouble = udp_trouble,
	.refused = udp_refused,
};
