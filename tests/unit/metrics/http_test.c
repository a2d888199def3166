// SPDX-License-Identifier: BSD-3-Clause
//
// Client and server share this thread: a plain non-blocking socket on the server's own event loop.
#include <gp_metrics_http.h>

#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#define DEADLINE_S 10

struct site {
	struct event_base *base;
	struct gp_metrics_http *http;
	const char *sick; // NULL: healthy
	bool flood;
};

static const struct gp_metrics_family up = {
	"gp_test_up", GP_METRICS_GAUGE, NULL, "One while it runs."};

static void site_render(struct gp_metrics_writer *w, void *arg)
{
	const struct site *s = arg;

	gp_metrics_family(w, &up);
	gp_metrics_u64(w, NULL, 1);
	for (uint32_t i = 0; s->flood && !w->error; i++)
		gp_metrics_u64(w, GP_METRICS_LABELS({"n", "00000000000000000000000000000000"}), i);
}

static bool site_healthy(char *text, size_t text_size, void *arg)
{
	const struct site *s = arg;

	if (s->sick)
		snprintf(text, text_size, "%s", s->sick);
	return !s->sick;
}

static int site_listen(struct site *s, const char *listen, struct gp_metrics_http **out, char *err)
{
	struct gp_metrics_http_config config = {
		.base = s->base,
		.listen = listen,
		.render = site_render,
		.healthy = site_healthy,
		.arg = s,
	};

	return gp_metrics_http_create(out, &config, err, 256);
}

static void site_init(struct site *s)
{
	char err[256] = "";

	*s = (struct site){.base = event_base_new()};
	cr_assert_not_null(s->base);
	cr_assert_eq(site_listen(s, "127.0.0.1:0", &s->http, err), 0, "%s", err);
}

static void site_fini(struct site *s)
{
	gp_metrics_http_destroy(s->http);
	event_base_free(s->base);
}

static int site_connect(const struct site *s)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_port = htons(gp_metrics_http_port(s->http)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	cr_assert_geq(fd, 0);
	cr_assert_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

// Sends `request`, turns the loop until the server has closed, returns the answer's length.
static size_t site_ask(const struct site *s, const char *request, char *answer, size_t size)
{
	int fd = site_connect(s);
	time_t end = time(NULL) + DEADLINE_S;
	size_t len = 0;
	ssize_t n = -1;

	cr_assert_eq(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
	while (n != 0) {
		cr_assert_lt(time(NULL), end, "no answer to %s", request);
		event_base_loop(s->base, EVLOOP_NONBLOCK);
		n = recv(fd, answer + len, size - 1 - len, MSG_DONTWAIT);
		if (n > 0)
			len += (size_t)n;
		else if (n < 0)
			cr_assert(errno == EAGAIN || errno == ECONNRESET);
		if (n < 0 && errno == ECONNRESET)
			break;
	}
	answer[len] = '\0';
	close(fd);
	return len;
}

#define GET(path, headers)                                                                         \
	"GET " path " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" headers "\r\n"

Test(http, metrics)
{
	struct site s;
	char answer[4096];

	site_init(&s);
	site_ask(&s, GET("/metrics", ""), answer, sizeof(answer));
	cr_assert_eq(strncmp(answer, "HTTP/1.1 200 ", 13), 0, "%s", answer);
	cr_assert(strstr(answer,
		"Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"));
	cr_assert_str_eq(strstr(answer, "\r\n\r\n") + 4,
		"# TYPE gp_test_up gauge\n# HELP gp_test_up One "
		"while it runs.\ngp_test_up 1\n# EOF\n");
	site_ask(&s, GET("/metrics", "Accept: text/plain;version=0.0.4;q=1,*/*;q=0.1\r\n"), answer,
		sizeof(answer));
	cr_assert(strstr(answer, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
	cr_assert_null(strstr(answer, "# EOF"));
	site_ask(&s,
		GET("/metrics",
			"Accept: application/openmetrics-text;version=1.0.0,text/plain\r\n"),
		answer, sizeof(answer));
	cr_assert(strstr(answer, "# EOF\n"));
	site_fini(&s);
}

Test(http, healthz)
{
	struct site s;
	char answer[4096];

	site_init(&s);
	site_ask(&s, GET("/healthz", ""), answer, sizeof(answer));
	cr_assert_eq(strncmp(answer, "HTTP/1.1 200 ", 13), 0, "%s", answer);
	cr_assert_str_eq(strstr(answer, "\r\n\r\n") + 4, "ok\n");
	s.sick = "core 1 has not polled for 3 s";
	site_ask(&s, GET("/healthz", ""), answer, sizeof(answer));
	cr_assert_eq(strncmp(answer, "HTTP/1.1 503 ", 13), 0, "%s", answer);
	cr_assert_str_eq(strstr(answer, "\r\n\r\n") + 4, "core 1 has not polled for 3 s\n");
	site_fini(&s);
}

Test(http, others_are_refused)
{
	struct site s;
	char answer[4096];
	char big[16384] = "GET /metrics HTTP/1.1\r\nX: ";

	site_init(&s);
	site_ask(&s, GET("/", ""), answer, sizeof(answer));
	cr_assert_eq(strncmp(answer, "HTTP/1.1 404 ", 13), 0, "%s", answer);
	site_ask(&s, GET("/metrics/../etc", ""), answer, sizeof(answer));
	cr_assert_eq(strncmp(answer, "HTTP/1.1 404 ", 13), 0, "%s", answer);
	site_ask(&s, "DELETE /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", answer,
		sizeof(answer));
	cr_assert_eq(strncmp(answer, "HTTP/1.1 501 ", 13), 0, "%s", answer);
	site_ask(&s, "\x01\x02garbage\r\n\r\n", answer, sizeof(answer));
	cr_assert_null(strstr(answer, " 200 "), "%s", answer);
	memset(big + strlen(big), 'a', sizeof(big) - strlen(big) - 1);
	site_ask(&s, big, answer, sizeof(answer));
	cr_assert_null(strstr(answer, " 200 "), "%s", answer);
	site_ask(&s, GET("/healthz", ""), answer, sizeof(answer));
	cr_assert_eq(strncmp(answer, "HTTP/1.1 200 ", 13), 0, "%s", answer);
	site_fini(&s);
}

Test(http, page_over_limit)
{
	struct site s;
	char answer[4096];

	site_init(&s);
	s.flood = true;
	site_ask(&s, GET("/metrics", ""), answer, sizeof(answer));
	cr_assert_eq(strncmp(answer, "HTTP/1.1 500 ", 13), 0, "%s", answer);
	site_fini(&s);
}

Test(http, address_in_use_names_it)
{
	struct site s;
	struct gp_metrics_http *second;
	char listen[64];
	char err[256] = "";

	site_init(&s);
	snprintf(listen, sizeof(listen), "127.0.0.1:%u", gp_metrics_http_port(s.http));
	cr_assert_eq(site_listen(&s, listen, &second, err), -EADDRINUSE);
	cr_assert_null(second);
	cr_assert(strstr(err, listen) && strstr(err, "choose another port"), "%s", err);
	cr_assert_eq(site_listen(&s, "192.0.2.77:9790", &second, err), -EADDRNOTAVAIL);
	cr_assert(strstr(err, "ip addr"), "%s", err);
	site_fini(&s);
}

Test(http, bad_addresses)
{
	static const char *const bad[] = {"", "9790", "127.0.0.1", "127.0.0.1:", "localhost:9790",
		"127.0.0.1:70000", "[::1]", "::1:9790", "[::1:9790", "127.0.0.1:-1", ":9790",
		"[]:9790", NULL};
	struct site s = {.base = event_base_new()};
	struct gp_metrics_http *http;
	char err[256];

	for (size_t i = 0; i < GP_ARRAY_SIZE(bad); i++) {
		err[0] = '\0';
		cr_assert_eq(site_listen(&s, bad[i], &http, err), -EINVAL, "%s", bad[i]);
		cr_assert(strstr(err, "127.0.0.1:9790"), "%s", err);
	}
	site_fini(&s);
}
