// SPDX-License-Identifier: BSD-3-Clause
#include "lead_priv.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/bufferevent.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

static bool port_parse(const char *text, uint16_t *port)
{
	size_t len = strlen(text);
	if (len < 1 || len > 5 || strspn(text, "0123456789") != len)
		return false;
	unsigned long value = strtoul(text, NULL, 10);
	*port = (uint16_t)value;
	return value <= UINT16_MAX;
}

static bool host_take(struct lead_address *a)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&a->addr;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&a->addr;
	if (strchr(a->host, ':')) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(a->port);
		a->len = sizeof(*v6);
		return inet_pton(AF_INET6, a->host, &v6->sin6_addr) == 1;
	}
	v4->sin_family = AF_INET;
	v4->sin_port = htons(a->port);
	a->len = sizeof(*v4);
	return inet_pton(AF_INET, a->host, &v4->sin_addr) == 1;
}

int lead_address_parse(
	const char *text, bool port_needed, struct lead_address *out, struct gp_lead_error *err)
{
	const char *colon = strrchr(text, ':');
	bool brackets = text[0] == '[';
	memset(out, 0, sizeof(*out));
	if (colon && strlen(text) < sizeof(out->text) && port_parse(colon + 1, &out->port) &&
		(out->port || !port_needed) && (!brackets || (colon > text && colon[-1] == ']'))) {
		size_t len = (size_t)(colon - text) - 2 * brackets;
		snprintf(out->host, sizeof(out->host), "%.*s", (int)len, text + brackets);
		strcpy(out->text, text);
		if (len < sizeof(out->host) && brackets == (strchr(out->host, ':') != NULL) &&
			host_take(out))
			return 0;
	}
	return lead_fail(err, -EINVAL,
		"%.80s: not a numeric address and port, as in 10.0.0.3:2379 or [fd00::3]:2379",
		text);
}

int lead_tls_create(const struct gp_lead_tls *files, enum gp_tls_side side, struct gp_tls **out,
	struct gp_lead_error *err)
{
	struct gp_tls_error why;
	*out = NULL;
	if (!files)
		return 0;
	const struct gp_tls_opts opts = {.side = side,
		.cert = files->cert,
		.key = files->key,
		.ca = files->ca,
		.peer_name = files->peer_name};
	int rc = gp_tls_create(&opts, out, &why);
	if (rc != 0)
		return lead_fail(err, rc, "%.500s", why.text);
	return 0;
}

struct bufferevent *lead_link_open(
	struct event_base *base, struct gp_tls *tls, int fd, const char *peer)
{
	struct bufferevent *bev = NULL;
	if (!tls)
		return bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
	return gp_tls_connection(tls, base, fd, peer, &bev) == 0 ? bev : NULL;
}

void lead_link_why(struct bufferevent *bev, int errno_code, char text[GP_LEAD_TEXT_SIZE])
{
	char why[GP_TLS_TEXT_SIZE];
	if (gp_tls_reason(bev, why))
		snprintf(text, GP_LEAD_TEXT_SIZE, "%.500s", why);
	else
		snprintf(text, GP_LEAD_TEXT_SIZE, "%s",
			errno_code ? strerror(errno_code) : "the connection was closed");
}
