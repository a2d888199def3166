// SPDX-License-Identifier: BSD-3-Clause
//
// The register in etcd, through the JSON gateway that every etcd since 3.4 serves under /v3. A
// connection a question: changes of leadership are rare, and a kept connection that died meanwhile
// would put a swap in doubt.
#include "lead_priv.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <stdio.h>
#include <stdlib.h>

#define REPLY_SIZE_MAX (64 << 10)

struct etcd {
	struct evhttp_connection *connection; // NULL: none
	struct lead_question question;
};

static int etcd_create(
	struct gp_lead *l, const struct gp_lead_opts *opts, struct gp_lead_error *err)
{
	(void)opts;
	struct etcd *e = calloc(1, sizeof(*e));
	if (!e)
		return lead_fail(err, -ENOMEM, "out of memory for the register");
	lead_state_set(l, e);
	return 0;
}

static void etcd_drop(struct gp_lead *l)
{
	struct etcd *e = lead_state(l);
	struct evhttp_connection *connection = e->connection;
	e->connection = NULL;
	if (connection)
		evhttp_connection_free(connection);
}

static void etcd_destroy(struct gp_lead *l)
{
	free(lead_state(l));
}

static void reply_take(struct gp_lead *l, const char *body, size_t len)
{
	const struct etcd *e = lead_state(l);
	const struct lead_question *q = &e->question;
	char why[GP_LEAD_TEXT_SIZE];
	struct gp_lead_held held;
	bool succeeded = false;
	bool ok = q->swap ? etcd_txn_parse(body, len, &q->to, &succeeded, &held, why)
			  : etcd_range_parse(body, len, &held, why);
	if (!ok)
		lead_answer(l, LEAD_FAILED, NULL, why);
	else if (!q->swap)
		lead_answer(l, LEAD_IS, &held, NULL);
	else
		lead_answer(l, succeeded ? LEAD_DONE : LEAD_NOT, &held, NULL);
}

static void on_reply(struct evhttp_request *req, void *arg)
{
	struct gp_lead *l = arg;
	const struct etcd *e = lead_state(l);
	char why[GP_LEAD_TEXT_SIZE];
	int socket_errno = EVUTIL_SOCKET_ERROR();
	if (!e->connection) // being dropped
		return;
	int code = req ? evhttp_request_get_response_code(req) : 0;
	if (code == 0) {
		lead_link_why(evhttp_connection_get_bufferevent(e->connection),
			socket_errno == ENOTCONN ? 0 : socket_errno, why);
		lead_answer(l, LEAD_FAILED, NULL, why);
		return;
	}
	struct evbuffer *in = evhttp_request_get_input_buffer(req);
	size_t len = evbuffer_get_length(in);
	const char *body = (const char *)evbuffer_pullup(in, -1);
	if (code == HTTP_OK && body) {
		reply_take(l, body, len);
		return;
	}
	snprintf(why, sizeof(why), "HTTP status %d: %.*s", code, (int)GP_MIN(len, (size_t)200),
		body ? body : "");
	lead_answer(l, LEAD_FAILED, NULL, why);
}

static int request_send(struct gp_lead *l, const struct lead_address *to, const char *body)
{
	const struct etcd *e = lead_state(l);
	struct evhttp_request *req = evhttp_request_new(on_reply, l);
	if (!req)
		return -ENOMEM;
	struct evkeyvalq *headers = evhttp_request_get_output_headers(req);
	if (evbuffer_add(evhttp_request_get_output_buffer(req), body, strlen(body)) != 0 ||
		evhttp_add_header(headers, "Host", to->text) != 0 ||
		evhttp_add_header(headers, "Content-Type", "application/json") != 0 ||
		evhttp_add_header(headers, "Connection", "close") != 0) {
		evhttp_request_free(req);
		return -ENOMEM;
	}
	// The request belongs to the connection from here on, also when it fails.
	return evhttp_make_request(e->connection, req, EVHTTP_REQ_POST,
		       e->question.swap ? "/v3/kv/txn" : "/v3/kv/range") == 0
		       ? 0
		       : -EIO;
}

static int connection_open(struct gp_lead *l, const struct lead_address *to)
{
	struct etcd *e = lead_state(l);
	struct bufferevent *bev = lead_link_open(lead_base(l), lead_tls(l), -1, to->host);
	if (!bev)
		return -ENOMEM;
	e->connection =
		evhttp_connection_base_bufferevent_new(lead_base(l), NULL, bev, to->host, to->port);
	if (!e->connection) {
		bufferevent_free(bev);
		return -ENOMEM;
	}
	evhttp_connection_set_max_body_size(e->connection, REPLY_SIZE_MAX);
	evhttp_connection_set_max_headers_size(e->connection, REPLY_SIZE_MAX);
	return 0;
}

static void etcd_ask(struct gp_lead *l, const struct lead_question *q)
{
	struct etcd *e = lead_state(l);
	const struct lead_address *to = lead_endpoint(l, q->endpoint);
	GP_ASSERT(!e->connection);
	e->question = *q;
	char *body = q->swap ? etcd_txn_body(lead_key(l), q) : etcd_range_body(lead_key(l));
	int rc = body ? connection_open(l, to) : -ENOMEM;
	if (rc == 0)
		rc = request_send(l, to, body);
	if (rc != 0)
		lead_answer(l, LEAD_FAILED, NULL, strerror(-rc));
	free(body);
}

const struct lead_kind lead_kind_etcd = {
	.name = "etcd",
	.endpoints = true,
	.create = etcd_create,
	.destroy = etcd_destroy,
	.ask = etcd_ask,
	.drop = etcd_drop,
};
