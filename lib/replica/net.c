// SPDX-License-Identifier: BSD-3-Clause
#include "replica_priv.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/bufferevent.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
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

// `host` is the text before the last colon.
static bool host_parse(char *host, uint16_t port, struct address *out)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&out->addr;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&out->addr;
	size_t len = strlen(host);
	if (len > 2 && host[0] == '[' && host[len - 1] == ']') {
		host[len - 1] = 0;
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		out->len = sizeof(*v6);
		return inet_pton(AF_INET6, host + 1, &v6->sin6_addr) == 1;
	}
	v4->sin_family = AF_INET;
	v4->sin_port = htons(port);
	out->len = sizeof(*v4);
	return inet_pton(AF_INET, host, &v4->sin_addr) == 1;
}

int address_parse(
	const char *text, bool port_needed, struct address *out, struct gp_snapshot_error *err)
{
	char host[sizeof(out->text)];
	uint16_t port;
	memset(out, 0, sizeof(*out));
	const char *colon = strrchr(text, ':');
	if (!colon || strlen(text) >= sizeof(out->text) || !port_parse(colon + 1, &port) ||
		(port_needed && port == 0))
		goto bad;
	memcpy(host, text, (size_t)(colon - text));
	host[colon - text] = 0;
	if (!host_parse(host, port, out))
		goto bad;
	strcpy(out->text, text);
	return 0;
bad:
	return replica_fail(err, -EINVAL,
		"%.90s: not a numeric address and port, as in 10.0.0.2:9750 or [fd00::2]:9750",
		text);
}

// Best effort: without any of these it still works, only slower.
void socket_tune(int fd)
{
	const struct {
		int level, name, value;
	} options[] = {
		{SOL_SOCKET, SO_KEEPALIVE, 1},
		{IPPROTO_TCP, TCP_KEEPIDLE, 10},
		{IPPROTO_TCP, TCP_KEEPINTVL, 3},
		{IPPROTO_TCP, TCP_KEEPCNT, 3},
		{IPPROTO_TCP, TCP_USER_TIMEOUT, 20000},
		{IPPROTO_TCP, TCP_NODELAY, 1},
	};
	for (size_t i = 0; i < GP_ARRAY_SIZE(options); i++)
		(void)setsockopt(fd, options[i].level, options[i].name, &options[i].value,
			sizeof(options[i].value));
}

int link_tls_create(const struct gp_replica_tls *files, enum gp_tls_side side, struct gp_tls **out,
	struct gp_snapshot_error *err)
{
	struct gp_tls_error why;
	if (!files) {
		*out = NULL;
		return 0;
	}
	const struct gp_tls_opts opts = {.side = side,
		.cert = files->cert,
		.key = files->key,
		.ca = files->ca,
		.peer_name = files->peer_name};
	int rc = gp_tls_create(&opts, out, &why);
	if (rc != 0)
		return replica_fail(err, rc, "%s", why.text);
	return 0;
}

struct bufferevent *link_open(struct event_base *base, struct gp_tls *tls, int fd)
{
	struct bufferevent *bev = NULL;
	if (!tls)
		return bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
	return gp_tls_connection(tls, base, fd, NULL, &bev) == 0 ? bev : NULL;
}

void link_error(
	struct bufferevent *bev, int errno_code, const char *during, struct gp_snapshot_error *err)
{
	char why[GP_TLS_TEXT_SIZE];
	if (gp_tls_reason(bev, why))
		replica_fail(err, -EPROTO, "%s: %s", during, why);
	else
		replica_fail_sys(err, errno_code, during);
}
