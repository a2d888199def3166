// SPDX-License-Identifier: BSD-3-Clause
//
// The register at a witness; gp_lead_witness.h has the messages.
#include "lead_priv.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

struct witness {
	struct bufferevent *bev; // NULL: none
	struct lead_question question;
};

static int witness_create(
	struct gp_lead *l, const struct gp_lead_opts *opts, struct gp_lead_error *err)
{
	(void)opts;
	struct witness *w = calloc(1, sizeof(*w));
	if (!w)
		return lead_fail(err, -ENOMEM, "out of memory for the register");
	lead_state_set(l, w);
	return 0;
}

static void witness_drop(struct gp_lead *l)
{
	struct witness *w = lead_state(l);
	if (w->bev)
		bufferevent_free(w->bev);
	w->bev = NULL;
}

static void witness_destroy(struct gp_lead *l)
{
	free(lead_state(l));
}

static bool held_take(json_t *reply, struct gp_lead_held *out)
{
	json_t *version = json_object_get(reply, "version");
	json_t *record = json_object_get(reply, "record");
	*out = (struct gp_lead_held){0};
	if (json_is_null(record))
		return json_is_integer(version) && json_integer_value(version) == 0;
	if (!json_is_integer(version) || json_integer_value(version) < 1 ||
		!lead_record_take(record, &out->record))
		return false;
	out->exists = true;
	out->version = (uint64_t)json_integer_value(version);
	return true;
}

static enum lead_outcome reply_take(
	json_t *reply, bool swap, struct gp_lead_held *held, char why[GP_LEAD_TEXT_SIZE])
{
	const json_t *committed = json_object_get(reply, "committed");
	const char *error = json_string_value(json_object_get(reply, "error"));
	bool ok = json_is_true(json_object_get(reply, "ok"));
	if (!ok || !held_take(reply, held) || json_is_boolean(committed) != swap) {
		(void)snprintf(why, GP_LEAD_TEXT_SIZE, "%s",
			!ok && error ? error : "not a reply of a witness");
		return LEAD_FAILED;
	}
	if (!swap)
		return LEAD_IS;
	return json_is_true(committed) ? LEAD_DONE : LEAD_NOT;
}

enum lead_outcome lead_witness_reply(const char *line, size_t len, bool swap,
	struct gp_lead_held *held, char why[GP_LEAD_TEXT_SIZE])
{
	json_t *reply = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	enum lead_outcome outcome = reply_take(reply, swap, held, why);
	json_decref(reply);
	return outcome;
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct gp_lead *l = arg;
	struct evbuffer *in = bufferevent_get_input(bev);
	size_t len;
	char *line = evbuffer_readln(in, &len, EVBUFFER_EOL_LF);
	if (!line) {
		if (evbuffer_get_length(in) > WITNESS_LINE_MAX)
			lead_answer(l, LEAD_FAILED, NULL, "not a reply of a witness");
		return;
	}
	const struct witness *w = lead_state(l);
	struct gp_lead_held held;
	char why[GP_LEAD_TEXT_SIZE];
	enum lead_outcome outcome = lead_witness_reply(line, len, w->question.swap, &held, why);
	bool known = outcome != LEAD_FAILED;
	lead_answer(l, outcome, known ? &held : NULL, known ? NULL : why);
	free(line);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	char why[GP_LEAD_TEXT_SIZE];
	int e = EVUTIL_SOCKET_ERROR();
	if (what & BEV_EVENT_CONNECTED)
		return;
	lead_link_why(bev, what & BEV_EVENT_EOF ? 0 : e, why);
	lead_answer(arg, LEAD_FAILED, NULL, why);
}

void lead_witness_question(
	const char *key, const struct lead_question *q, char line[WITNESS_LINE_MAX])
{
	char record[GP_LEAD_RECORD_SIZE];
	if (!q->swap) {
		(void)snprintf(
			line, WITNESS_LINE_MAX, "{\"v\":1,\"op\":\"get\",\"key\":\"%s\"}\n", key);
		return;
	}
	gp_lead_record_format(&q->to, record);
	(void)snprintf(line, WITNESS_LINE_MAX,
		"{\"v\":1,\"op\":\"swap\",\"key\":\"%s\",\"version\":%llu,\"record\":%s}\n", key,
		q->from.exists ? (unsigned long long)q->from.version : 0, record);
}

static void witness_ask(struct gp_lead *l, const struct lead_question *q)
{
	struct witness *w = lead_state(l);
	const struct lead_address *to = lead_endpoint(l, q->endpoint);
	char line[WITNESS_LINE_MAX];
	GP_ASSERT(!w->bev);
	w->question = *q;
	w->bev = lead_link_open(lead_base(l), lead_tls(l), -1, to->host);
	if (!w->bev) {
		lead_answer(l, LEAD_FAILED, NULL, "out of memory for a connection");
		return;
	}
	bufferevent_setcb(w->bev, on_read, NULL, on_event, l);
	lead_witness_question(lead_key(l), q, line);
	if (evbuffer_add(bufferevent_get_output(w->bev), line, strlen(line)) != 0 ||
		bufferevent_enable(w->bev, EV_READ | EV_WRITE) != 0 ||
		bufferevent_socket_connect(
			w->bev, (const struct sockaddr *)(const void *)&to->addr, to->len) != 0)
		lead_answer(l, LEAD_FAILED, NULL, strerror(EVUTIL_SOCKET_ERROR()));
}

const struct lead_kind lead_kind_witness = {
	.name = "witness",
	.endpoints = true,
	.create = witness_create,
	.destroy = witness_destroy,
	.ask = witness_ask,
	.drop = witness_drop,
};
