// SPDX-License-Identifier: BSD-3-Clause
//
// Signs of life of the two nodes of a pair over their data ports (gp_beat.h). Where to and with
// which cookie each end tells in its hello on the replication link.
#include "gradplaned.h"

#include <gp_beat.h>

#define BEATS_PER_TIMEOUT 5

// A backup takes over when nothing at all is heard of the primary. A primary needs the link itself.
static uint64_t on_heard_ns(void *arg)
{
	const struct node *n = arg;
	uint64_t at = gp_beat_heard(n->engine);
	return n->pair.leading || at == 0 ? UINT64_MAX : clock_now() - at;
}

// Our own address, not the service's: that one moves. None on a memif, where no node is.
void pair_beat_opts(struct node *n, struct gp_link_opts *o)
{
	const struct gp_config *c = &n->cfg;
	if (c->port.driver == GP_PORT_MEMIF)
		return;
	uint8_t *ip = o->beat_to.ip;
	if (c->address.ipv4.present) {
		address_map_v4(ip, &c->address.ipv4);
	} else if (c->address.ipv6_count > 0) {
		memcpy(ip, c->address.ipv6[0].addr, 16);
	} else {
		return;
	}
	o->beat_to.port = (uint16_t)c->cores.udp_port;
	memcpy(o->beat_to.mac, n->port_info.mac, 6);
	gp_secure_random(&o->beat_cookie, sizeof(o->beat_cookie));
	gp_beat_expect(n->engine, o->beat_cookie);
	o->heard_ns = on_heard_ns;
}

// They go on when the link is lost.
void pair_beat_watch(struct node *n, const struct gp_link_status *st)
{
	struct pair *p = &n->pair;
	const struct gp_stream_hello *h = &st->peer;
	if (!st->connected || p->beat_life == h->life || h->beat_cookie == 0)
		return;
	uint64_t every = (uint64_t)n->cfg.replica.timeout_us * 1000 / BEATS_PER_TIMEOUT;
	if (gp_beat_send(n->engine, &h->beat_to, h->beat_cookie, every))
		p->beat_life = h->life;
}
