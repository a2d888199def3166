// SPDX-License-Identifier: BSD-3-Clause
//
// The HTTP side of metrics: GET /metrics and GET /healthz on one listening socket, everything else
// is 404 (another path) or 501 (another method).
//
// It lives on the caller's event loop; callbacks run on that thread, inside the loop, and must not
// block. There is no authentication: listen on loopback or on a management network. Requests are
// limited to 8 KiB of headers and no body; a connection that rests for 10 s is closed.
//
// SIGPIPE: creating a server sets it to be ignored when the program has left it at its default.
#ifndef GP_METRICS_HTTP_H
#define GP_METRICS_HTTP_H

#include <gp_metrics.h>

struct event_base;
struct gp_metrics_http;

struct gp_metrics_http_config {
	struct event_base *base;
	const char *listen; // numeric: "127.0.0.1:9790" or "[::1]:9790"; port 0 takes a free one
	// Writes the families; the caller ends the page. A text for a scraper that accepts no
	// OpenMetrics is chosen by the request's Accept.
	void (*render)(struct gp_metrics_writer *w, void *arg);
	// True: 200, false: 503. `text`, at first empty, is the answer's body: say what is wrong.
	bool (*healthy)(char *text, size_t text_size, void *arg);
	void *arg;
};

// 0, or -errno with a text that says what to do: -EINVAL (address), -EADDRINUSE, -EADDRNOTAVAIL,
// -EACCES, -ENOMEM.
int gp_metrics_http_create(struct gp_metrics_http **out,
	const struct gp_metrics_http_config *config, char *err, size_t err_size) GP_MUST_CHECK;
// The port in use.
uint16_t gp_metrics_http_port(const struct gp_metrics_http *h);
// Before the event loop's base is freed. Takes NULL.
void gp_metrics_http_destroy(struct gp_metrics_http *h);

#endif
