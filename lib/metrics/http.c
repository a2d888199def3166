// SPDX-License-Identifier: BSD-3-Clause
#include <gp_metrics_http.h>

#include <errno.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>

#define HTTP_TIMEOUT_S	     10
#define HTTP_HEADER_SIZE_MAX 8192
#define HTTP_BODY_SIZE_MAX   1 // nobody sends us a body; 0 would mean no limit
#define HTTP_BACKLOG	     16
#define HTTP_REASON_SIZE     512

#define CONTENT_OPENMETRICS "application/openmetrics-text; version=1.0.0; charset=utf-8"
#define CONTENT_PROMETHEUS  "text/plain; version=0.0.4; charset=utf-8"
#define CONTENT_PLAIN	    "text/plain; charset=utf-8"

struct gp_metrics_http {
	struct gp_metrics_http_config config;
	struct evhttp *server;
	uint16_t port;
};

// The status line's text is left to libevent.
static void request_answer(
	struct evhttp_request *req, int status, const char *type, const char *body, size_t len)
{
	struct evbuffer *out = evhttp_request_get_output_buffer(req);
	struct evkeyvalq *headers = evhttp_request_get_output_headers(req);

	if (evhttp_add_header(headers, "Content-Type", type) != 0 ||
		evhttp_add_header(headers, "Cache-Control", "no-store") != 0 ||
		evbuffer_add(out, body, len) != 0) {
		evhttp_send_error(req, HTTP_SERVUNAVAIL, NULL);
		return;
	}
	evhttp_send_reply(req, status, NULL, NULL);
}

static void request_answer_text(struct evhttp_request *req, int status, const char *text)
{
	request_answer(req, status, CONTENT_PLAIN, text, strlen(text));
}

// OpenMetrics unless the scraper names formats and plain text is all that we have of them.
static enum gp_metrics_format request_format(struct evhttp_request *req)
{
	const char *accept = evhttp_find_header(evhttp_request_get_input_headers(req), "Accept");

	if (accept && strstr(accept, "text/plain") &&
		!strstr(accept, "application/openmetrics-text"))
		return GP_METRICS_PROMETHEUS;
	return GP_METRICS_OPENMETRICS;
}

static void handle_metrics(struct evhttp_request *req, void *arg)
{
	const struct gp_metrics_http *h = arg;
	enum gp_metrics_format format = request_format(req);
	struct gp_metrics_writer w;
	int rc;

	gp_metrics_writer_init(&w, format);
	h->config.render(&w, h->config.arg);
	rc = gp_metrics_end(&w);
	if (rc == 0)
		request_answer(req, HTTP_OK,
			format == GP_METRICS_OPENMETRICS ? CONTENT_OPENMETRICS : CONTENT_PROMETHEUS,
			w.text, w.len);
	else
		request_answer_text(req, HTTP_INTERNAL,
			rc == -EFBIG ? "the metrics page is over its limit\n" : "out of memory\n");
	gp_metrics_writer_fini(&w);
}

static void handle_healthz(struct evhttp_request *req, void *arg)
{
	const struct gp_metrics_http *h = arg;
	char text[HTTP_REASON_SIZE] = "";
	char body[HTTP_REASON_SIZE + 2];
	bool healthy = h->config.healthy(text, sizeof(text), h->config.arg);

	text[sizeof(text) - 1] = '\0';
	if (!*text)
		snprintf(text, sizeof(text), healthy ? "ok" : "not healthy");
	snprintf(body, sizeof(body), "%s\n", text);
	request_answer_text(req, healthy ? HTTP_OK : HTTP_SERVUNAVAIL, body);
}

static void handle_other(struct evhttp_request *req, void *arg)
{
	(void)arg;
	request_answer_text(req, HTTP_NOTFOUND, "not found; try /metrics or /healthz\n");
}

// "HOST:PORT" or "[HOST6]:PORT", both numeric: a name could mean several addresses.
static bool address_split(const char *text, char *host, size_t host_size, const char **port)
{
	const char *start = text[0] == '[' ? text + 1 : text;
	const char *end = strchr(start, text[0] == '[' ? ']' : ':');
	const char *colon = end && text[0] == '[' ? end + 1 : end;

	if (!colon || *colon != ':' || end == start || (size_t)(end - start) >= host_size)
		return false;
	memcpy(host, start, (size_t)(end - start));
	host[end - start] = '\0';
	*port = colon + 1;
	return **port && strspn(*port, "0123456789") == strlen(*port) && strlen(*port) <= 5 &&
	       strtoul(*port, NULL, 10) <= UINT16_MAX;
}

static int address_parse(const char *text, struct sockaddr_storage *addr, socklen_t *addr_len,
	char *err, size_t err_size)
{
	struct addrinfo hints = {
		.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
	struct addrinfo *info;
	char host[INET6_ADDRSTRLEN + IF_NAMESIZE];
	const char *port;

	hints.ai_family = text && text[0] == '[' ? AF_INET6 : AF_INET;
	if (!text || !address_split(text, host, sizeof(host), &port) ||
		getaddrinfo(host, port, &hints, &info) != 0) {
		snprintf(err, err_size,
			"metrics address %s: expected a numeric address and a port, such as "
			"127.0.0.1:9790 or [::1]:9790",
			text && *text ? text : "(empty)");
		return -EINVAL;
	}
	GP_ASSERT(info->ai_addrlen <= sizeof(*addr));
	memcpy(addr, info->ai_addr, info->ai_addrlen);
	*addr_len = info->ai_addrlen;
	freeaddrinfo(info);
	return 0;
}

static int listen_explain(const char *listen, int error, char *err, size_t err_size)
{
	const char *advice = "check the address";

	if (error == EADDRINUSE)
		advice = "another program listens there (ss -ltnp shows which); stop it or choose "
			 "another port";
	else if (error == EADDRNOTAVAIL)
		advice = "no interface has this address (ip addr shows those that exist)";
	else if (error == EACCES)
		advice = "ports below 1024 need CAP_NET_BIND_SERVICE; choose a higher one";
	snprintf(err, err_size, "metrics address %s: %s: %s", listen, strerror(error), advice);
	return -error;
}

// A listening socket or -errno.
static int listen_open(const struct sockaddr_storage *addr, socklen_t addr_len)
{
	int fd = socket(addr->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1;
	int rc;

	if (fd < 0)
		return -errno;
	// A restart must not wait for the old connections' TIME_WAIT.
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
		bind(fd, (const struct sockaddr *)addr, addr_len) == 0 &&
		listen(fd, HTTP_BACKLOG) == 0)
		return fd;
	rc = -errno;
	close(fd);
	return rc;
}

static uint16_t socket_port(int fd)
{
	struct sockaddr_storage addr = {0};
	socklen_t len = sizeof(addr);

	if (getsockname(fd, (struct sockaddr *)&addr, &len) != 0)
		return 0;
	if (addr.ss_family == AF_INET6)
		return ntohs(((struct sockaddr_in6 *)&addr)->sin6_port);
	return ntohs(((struct sockaddr_in *)&addr)->sin_port);
}

// libevent writes without MSG_NOSIGNAL: a scraper that leaves early must not end the process.
static void sigpipe_ignore(void)
{
	struct sigaction old;

	if (sigaction(SIGPIPE, NULL, &old) == 0 && old.sa_handler == SIG_DFL)
		signal(SIGPIPE, SIG_IGN);
}

// Takes the socket over, whatever the outcome.
static int server_start(struct gp_metrics_http *h, int fd)
{
	struct evconnlistener *listener = evconnlistener_new(
		h->config.base, NULL, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);

	if (!listener) {
		close(fd);
		return -ENOMEM;
	}
	h->server = evhttp_new(h->config.base);
	if (!h->server)
		goto free_listener;
	evhttp_set_timeout(h->server, HTTP_TIMEOUT_S);
	evhttp_set_max_headers_size(h->server, HTTP_HEADER_SIZE_MAX);
	evhttp_set_max_body_size(h->server, HTTP_BODY_SIZE_MAX);
	evhttp_set_allowed_methods(h->server, EVHTTP_REQ_GET);
	evhttp_set_gencb(h->server, handle_other, h);
	if (evhttp_set_cb(h->server, "/metrics", handle_metrics, h) != 0 ||
		evhttp_set_cb(h->server, "/healthz", handle_healthz, h) != 0 ||
		!evhttp_bind_listener(h->server, listener))
		goto free_server;
	return 0;

free_server:
	evhttp_free(h->server);
free_listener:
	evconnlistener_free(listener);
	return -ENOMEM;
}

int gp_metrics_http_create(struct gp_metrics_http **out,
	const struct gp_metrics_http_config *config, char *err, size_t err_size)
{
	struct sockaddr_storage addr = {0};
	struct gp_metrics_http *h;
	socklen_t addr_len;
	int fd, rc;

	GP_ASSERT(config->base && config->render && config->healthy);
	*out = NULL;
	rc = address_parse(config->listen, &addr, &addr_len, err, err_size);
	if (rc)
		return rc;
	fd = listen_open(&addr, addr_len);
	if (fd < 0)
		return listen_explain(config->listen, -fd, err, err_size);
	h = calloc(1, sizeof(*h));
	if (!h) {
		close(fd);
		rc = -ENOMEM;
		goto explain;
	}
	h->config = *config;
	h->config.listen = NULL;
	h->port = socket_port(fd);
	rc = server_start(h, fd);
	if (rc)
		goto free_http;
	sigpipe_ignore();
	*out = h;
	return 0;

free_http:
	free(h);
explain:
	snprintf(err, err_size, "metrics server: %s", strerror(-rc));
	return rc;
}

uint16_t gp_metrics_http_port(const struct gp_metrics_http *h)
{
	return h->port;
}

void gp_metrics_http_destroy(struct gp_metrics_http *h)
{
	if (!h)
		return;
	evhttp_free(h->server);
	free(h);
}
