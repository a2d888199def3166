// SPDX-License-Identifier: BSD-3-Clause
#include "lead_priv.h"

#include <gp_lead_witness.h>
#include <gp_log.h>

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define IDLE_S 5

struct peer {
	struct gp_lead_witness *w;
	struct bufferevent *bev; // NULL: free
};

struct gp_lead_witness {
	struct event_base *base;
	struct evconnlistener *listener;
	struct gp_tls *tls;
	struct lead_records *records;
	struct peer peers[GP_LEAD_WITNESS_PEERS_MAX];
};

// ---- connections

static void peer_close(struct peer *p)
{
	bufferevent_free(p->bev);
	p->bev = NULL;
}

static void peer_read(struct bufferevent *bev, void *arg)
{
	struct peer *p = arg;
	struct evbuffer *in = bufferevent_get_input(bev);
	size_t len;
	char *line, reply[WITNESS_LINE_MAX];
	while ((line = evbuffer_readln(in, &len, EVBUFFER_EOL_LF)) != NULL) {
		lead_records_answer(p->w->records, line, len, reply);
		(void)evbuffer_add(bufferevent_get_output(bev), reply, strlen(reply));
		free(line);
	}
	if (evbuffer_get_length(in) > WITNESS_LINE_MAX)
		peer_close(p);
}

static void peer_event(struct bufferevent *bev, short what, void *arg)
{
	char why[GP_TLS_TEXT_SIZE];
	if (what & BEV_EVENT_CONNECTED)
		return;
	if (gp_tls_reason(bev, why))
		gp_warn("witness: a connection: %s", why);
	peer_close(arg);
}

static void witness_accept(struct evconnlistener *listener, evutil_socket_t fd,
	struct sockaddr *addr, int addr_len, void *arg)
{
	struct gp_lead_witness *w = arg;
	const struct timeval idle = {.tv_sec = IDLE_S};
	struct peer *p = NULL;
	(void)listener, (void)addr, (void)addr_len;
	for (uint32_t i = 0; !p && i < GP_LEAD_WITNESS_PEERS_MAX; i++)
		if (!w->peers[i].bev)
			p = &w->peers[i];
	struct bufferevent *bev = p ? lead_link_open(w->base, w->tls, fd, NULL) : NULL;
	if (!bev) {
		gp_warn("witness: a connection too many was closed");
		close(fd);
		return;
	}
	*p = (struct peer){.w = w, .bev = bev};
	bufferevent_setcb(bev, peer_read, NULL, peer_event, p);
	bufferevent_setwatermark(bev, EV_READ, 0, 4 * WITNESS_LINE_MAX);
	bufferevent_set_timeouts(bev, &idle, &idle);
	if (bufferevent_enable(bev, EV_READ | EV_WRITE) != 0)
		peer_close(p);
}

// ---- start and end

static int witness_listen(
	struct gp_lead_witness *w, const struct lead_address *a, struct gp_lead_error *err)
{
	w->listener = evconnlistener_new_bind(w->base, witness_accept, w,
		LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE | LEV_OPT_CLOSE_ON_EXEC, 16,
		(const struct sockaddr *)(const void *)&a->addr, a->len);
	int e = errno;
	if (w->listener)
		return 0;
	return lead_fail(
		err, e > 0 ? -e : -EIO, "%s: cannot be listened on: %s", a->text, strerror(e));
}

int gp_lead_witness_create(struct event_base *base, const struct gp_lead_witness_opts *opts,
	struct gp_lead_witness **out, struct gp_lead_error *err)
{
	struct lead_address a;
	int rc = lead_address_parse(opts->listen, false, &a, err);
	if (rc != 0)
		return rc;
	struct gp_lead_witness *w = calloc(1, sizeof(*w));
	if (!w)
		return lead_fail(err, -ENOMEM, "out of memory for the witness");
	w->base = base;
	rc = lead_records_open(opts->directory, &w->records, err);
	if (rc == 0)
		rc = lead_tls_create(opts->tls, GP_TLS_SERVER, &w->tls, err);
	if (rc == 0)
		rc = witness_listen(w, &a, err);
	if (rc != 0) {
		gp_tls_destroy(w->tls);
		lead_records_close(w->records);
		free(w);
		return rc;
	}
	*out = w;
	return 0;
}

void gp_lead_witness_destroy(struct gp_lead_witness *w)
{
	if (!w)
		return;
	for (uint32_t i = 0; i < GP_LEAD_WITNESS_PEERS_MAX; i++)
		if (w->peers[i].bev)
			peer_close(&w->peers[i]);
	evconnlistener_free(w->listener);
	gp_tls_destroy(w->tls);
	lead_records_close(w->records);
	free(w);
}

uint16_t gp_lead_witness_port(const struct gp_lead_witness *w)
{
	struct sockaddr_storage addr = {0};
	socklen_t len = sizeof(addr);
	if (getsockname(evconnlistener_get_fd(w->listener), (struct sockaddr *)(void *)&addr,
		    &len) != 0)
		return 0;
	if (addr.ss_family == AF_INET6)
		return ntohs(((const struct sockaddr_in6 *)(const void *)&addr)->sin6_port);
	return ntohs(((const struct sockaddr_in *)(const void *)&addr)->sin_port);
}

uint32_t gp_lead_witness_records(const struct gp_lead_witness *w)
{
	return lead_records_count(w->records);
}
