// SPDX-License-Identifier: BSD-3-Clause
#include "ctlproto_priv.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>

#include <gp_log.h>

// A client with this much unread is not read from; one reply may go over it.
#define CLIENT_OUTPUT_MAX 65536
#define ACCEPT_PAUSE_MS	  100

#define REPLY_INTERNAL                                                                             \
	"{\"ok\":false,\"code\":\"internal\",\"error\":\"memory is short or the reply is over "    \
	"its "                                                                                     \
	"limit\"}"
#define REPLY_BUSY                                                                                 \
	"{\"ok\":false,\"code\":\"busy\",\"error\":\"too many clients of the control socket: try " \
	"again when one has left\"}\n"

struct ctl_client {
	struct gp_ctl_server *server;
	struct bufferevent *io; // NULL: the slot is free
	struct gp_ctl_request *pending;
	bool closing; // it sends no more, or too much: closed when the output is gone
	bool pumping;
};

struct gp_ctl_request {
	struct gp_ctl_server *server; // NULL when gone, as the next
	struct ctl_client *client;
	void *arg;
};

struct gp_ctl_server {
	struct gp_ctl_server_config config;
	struct ctl_listen listen;
	struct evconnlistener *listener;
	struct event *accept_again;
	struct ctl_client clients[GP_CTL_CLIENTS_MAX];
	struct gp_ctl_request *requests[GP_CTL_DEFERRED_MAX];
	bool in_handler;
};

static void client_close(struct ctl_client *c)
{
	if (c->pending)
		c->pending->client = NULL;
	bufferevent_free(c->io);
	*c = (struct ctl_client){.server = c->server};
}

static void client_send(struct ctl_client *c, const char *line, size_t len)
{
	if (!line) {
		line = REPLY_INTERNAL;
		len = strlen(line);
	}
	// Only memory can be short here; then the client is better cut off than left without an
	// answer.
	if (bufferevent_write(c->io, line, len) != 0 || bufferevent_write(c->io, "\n", 1) != 0)
		c->closing = true;
}

static void client_send_error(struct ctl_client *c, const struct gp_ctl_error *err)
{
	size_t len = 0;
	char *line = ctl_reply_error_encode(err, &len);

	client_send(c, line, len);
	free(line);
}

static struct gp_ctl_request *request_create(struct ctl_client *c)
{
	struct gp_ctl_server *s = c->server;
	struct gp_ctl_request *req;

	for (size_t i = 0; i < GP_CTL_DEFERRED_MAX; i++) {
		if (s->requests[i])
			continue;
		req = calloc(1, sizeof(*req));
		if (!req)
			return NULL;
		*req = (struct gp_ctl_request){.server = s, .client = c, .arg = s->config.arg};
		s->requests[i] = req;
		c->pending = req;
		return req;
	}
	return NULL;
}

static void client_pump(struct ctl_client *c);

static void request_finish(struct gp_ctl_request *req, const char *line, size_t len)
{
	struct gp_ctl_server *s = req->server;
	struct ctl_client *c = req->client;

	for (size_t i = 0; s && i < GP_CTL_DEFERRED_MAX; i++) {
		if (s->requests[i] == req)
			s->requests[i] = NULL;
	}
	free(req);
	if (!c)
		return;
	c->pending = NULL;
	client_send(c, line, len);
	if (!c->pumping)
		client_pump(c);
}

void gp_ctl_reply_ok(struct gp_ctl_request *req, json_t *result)
{
	json_t *object = result ? result : json_object();
	size_t len = 0;
	char *line = object ? ctl_reply_ok_encode(object, &len) : NULL;

	json_decref(object);
	request_finish(req, line, len);
	free(line);
}

void gp_ctl_reply_error(struct gp_ctl_request *req, const struct gp_ctl_error *err)
{
	size_t len = 0;
	char *line = ctl_reply_error_encode(err, &len);

	request_finish(req, line, len);
	free(line);
}

void *gp_ctl_request_arg(const struct gp_ctl_request *req)
{
	return req->arg;
}

// Names the commands that exist, as many as the text holds.
static void unknown_explain(
	const struct gp_ctl_command *commands, const char *cmd, struct gp_ctl_error *err)
{
	size_t len;

	gp_ctl_error_set(err, "unknown_command", "no command %s; this server has:", cmd);
	for (const struct gp_ctl_command *k = commands; k->name; k++) {
		len = strlen(err->text);
		snprintf(err->text + len, sizeof(err->text) - len, "%s %s",
			k == commands ? "" : ",", k->name);
	}
}

static void command_run(
	struct ctl_client *c, const struct gp_ctl_command *command, const json_t *args)
{
	struct gp_ctl_error err = {0};
	struct gp_ctl_request *req = request_create(c);
	json_t *result = NULL;
	int rc;

	if (!req) {
		gp_ctl_error_set(&err, "busy", "too many requests are still in hand: try again");
		client_send_error(c, &err);
		return;
	}
	c->server->in_handler = true;
	rc = command->handler(req, args, &result, &err);
	c->server->in_handler = false;
	if (rc == GP_CTL_LATER)
		return;
	GP_ASSERT(rc <= 0 && c->pending == req);
	if (rc == 0) {
		gp_ctl_reply_ok(req, result);
		return;
	}
	json_decref(result);
	if (!err.text[0])
		gp_ctl_error_set(&err, "internal", "%s", strerror(-rc));
	gp_ctl_reply_error(req, &err);
}

static void client_handle_line(struct ctl_client *c, const char *line, size_t len)
{
	const struct gp_ctl_command *command = c->server->config.commands;
	struct gp_ctl_message message;
	struct gp_ctl_error err = {0};

	if (gp_ctl_message_parse(line, len, &message, &err) != 0) {
		client_send_error(c, &err);
		return;
	}
	while (command->name && strcmp(command->name, message.cmd) != 0)
		command++;
	if (command->name) {
		command_run(c, command, message.args);
	} else {
		unknown_explain(c->server->config.commands, message.cmd, &err);
		client_send_error(c, &err);
	}
	json_decref(message.args);
}

static size_t client_output_len(const struct ctl_client *c)
{
	return evbuffer_get_length(bufferevent_get_output(c->io));
}

static bool client_may_read(const struct ctl_client *c)
{
	return !c->pending && !c->closing && client_output_len(c) < CLIENT_OUTPUT_MAX;
}

// Handles the lines that are there, until one is left unfinished or the client has to read first.
static void client_handle_lines(struct ctl_client *c)
{
	struct evbuffer *in = bufferevent_get_input(c->io);
	struct gp_ctl_error err;

	while (client_may_read(c)) {
		size_t len;
		char *line = evbuffer_readln(in, &len, EVBUFFER_EOL_LF);

		if (line) {
			client_handle_line(c, line, len);
			free(line);
			continue;
		}
		if (evbuffer_get_length(in) > GP_CTL_LINE_MAX) {
			gp_ctl_error_set(
				&err, "too_long", "a request is at most %u bytes", GP_CTL_LINE_MAX);
			client_send_error(c, &err);
			c->closing = true;
		}
		return;
	}
}

// Everything that can go on for a client does; the client may be gone afterwards.
static void client_pump(struct ctl_client *c)
{
	c->pumping = true;
	client_handle_lines(c);
	c->pumping = false;
	if (c->closing && !c->pending && client_output_len(c) == 0)
		client_close(c);
	else if (client_may_read(c))
		bufferevent_enable(c->io, EV_READ);
	else
		bufferevent_disable(c->io, EV_READ);
}

static void client_on_io(struct bufferevent *io, void *arg)
{
	(void)io;
	client_pump(arg);
}

static void client_on_event(struct bufferevent *io, short what, void *arg)
{
	struct ctl_client *c = arg;

	(void)io;
	if (what & BEV_EVENT_EOF) {
		// Reading rests while a whole line waits, so none can be left at the end.
		c->closing = true;
		client_pump(c);
	} else {
		client_close(c); // an error, or silent for too long
	}
}

static int client_open(struct ctl_client *c, int fd)
{
	uint32_t ms = c->server->config.idle_ms;
	const struct timeval idle = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000L};

	c->io = bufferevent_socket_new(c->server->config.base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (!c->io)
		return -ENOMEM;
	bufferevent_setcb(c->io, client_on_io, client_on_io, client_on_event, c);
	bufferevent_setwatermark(c->io, EV_READ, 0, GP_CTL_LINE_MAX + 1);
	bufferevent_set_timeouts(c->io, &idle, &idle);
	bufferevent_enable(c->io, EV_READ | EV_WRITE);
	return 0;
}

static void server_on_accept(struct evconnlistener *listener, evutil_socket_t fd,
	struct sockaddr *addr, int len, void *arg)
{
	struct gp_ctl_server *s = arg;
	ssize_t sent;

	(void)listener, (void)addr, (void)len;
	for (size_t i = 0; i < GP_CTL_CLIENTS_MAX; i++) {
		if (!s->clients[i].io && client_open(&s->clients[i], fd) == 0)
			return;
	}
	// A new socket has room for this; if not, the client sees the end of the connection.
	sent = send(fd, REPLY_BUSY, strlen(REPLY_BUSY), MSG_DONTWAIT | MSG_NOSIGNAL);
	(void)sent;
	close(fd);
}

// Out of descriptors or memory: the loop would spin on the same connection, so wait a little.
static void server_on_accept_error(struct evconnlistener *listener, void *arg)
{
	const struct timeval pause = {.tv_usec = ACCEPT_PAUSE_MS * 1000L};
	struct gp_ctl_server *s = arg;

	gp_warn("control socket %s: accept: %s", s->listen.addr.sun_path, strerror(errno));
	if (event_add(s->accept_again, &pause) == 0)
		evconnlistener_disable(listener);
}

static void server_on_accept_again(evutil_socket_t fd, short what, void *arg)
{
	struct gp_ctl_server *s = arg;

	(void)fd, (void)what;
	evconnlistener_enable(s->listener);
}

// libevent writes without MSG_NOSIGNAL: a client that leaves early must not end the process.
static void sigpipe_ignore(void)
{
	struct sigaction old;

	if (sigaction(SIGPIPE, NULL, &old) == 0 && old.sa_handler == SIG_DFL)
		signal(SIGPIPE, SIG_IGN);
}

static int server_start(struct gp_ctl_server *s)
{
	s->accept_again = evtimer_new(s->config.base, server_on_accept_again, s);
	if (!s->accept_again)
		return -ENOMEM;
	s->listener = evconnlistener_new(
		s->config.base, server_on_accept, s, LEV_OPT_CLOSE_ON_EXEC, 0, s->listen.fd);
	if (!s->listener) {
		event_free(s->accept_again);
		return -ENOMEM;
	}
	evconnlistener_set_error_cb(s->listener, server_on_accept_error);
	return 0;
}

int gp_ctl_server_create(struct gp_ctl_server **out, const struct gp_ctl_server_config *config,
	struct gp_ctl_error *err)
{
	struct gp_ctl_server *s;
	int rc;

	GP_ASSERT(config->base && config->commands);
	*out = NULL;
	s = calloc(1, sizeof(*s));
	if (!s) {
		gp_ctl_error_set(err, "internal", "out of memory");
		return -ENOMEM;
	}
	s->config = *config;
	s->config.path = NULL;
	if (!s->config.idle_ms)
		s->config.idle_ms = GP_CTL_IDLE_MS;
	for (size_t i = 0; i < GP_CTL_CLIENTS_MAX; i++)
		s->clients[i].server = s;
	rc = ctl_listen_open(&s->listen, config->path, err);
	if (rc)
		goto free_server;
	rc = server_start(s);
	if (rc)
		goto close_listen;
	sigpipe_ignore();
	*out = s;
	return 0;

close_listen:
	gp_ctl_error_set(err, "internal", "out of memory");
	ctl_listen_unlink(&s->listen);
	close(s->listen.fd);
free_server:
	free(s);
	return rc;
}

// The answer to `stop` should still arrive: what the socket takes now is sent.
static void client_flush_and_close(struct ctl_client *c)
{
	struct evbuffer *out = bufferevent_get_output(c->io);

	bufferevent_disable(c->io, EV_READ | EV_WRITE);
	evbuffer_unfreeze(out, 1);
	evbuffer_write(out, bufferevent_getfd(c->io));
	client_close(c);
}

void gp_ctl_server_destroy(struct gp_ctl_server *s)
{
	if (!s)
		return;
	GP_ASSERT(!s->in_handler);
	for (size_t i = 0; i < GP_CTL_CLIENTS_MAX; i++) {
		if (s->clients[i].io)
			client_flush_and_close(&s->clients[i]);
	}
	for (size_t i = 0; i < GP_CTL_DEFERRED_MAX; i++) {
		if (s->requests[i])
			s->requests[i]->server = NULL;
	}
	event_free(s->accept_again);
	evconnlistener_free(s->listener);
	ctl_listen_unlink(&s->listen);
	close(s->listen.fd);
	free(s);
}
