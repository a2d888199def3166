// SPDX-License-Identifier: BSD-3-Clause
//
// The asking side: one connection, one request, one reply, all before one deadline.
#include "ctlproto_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CALL_TIMEOUT_MS 5000
#define CALL_FIRST_SIZE 65536

struct ctl_reply_text {
	char *text;
	size_t len;
	size_t size;
};

static int64_t clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// 0 when `fd` is ready, -ETIMEDOUT or -errno.
static int socket_wait(int fd, short events, int64_t deadline)
{
	for (;;) {
		struct pollfd p = {.fd = fd, .events = events};
		int64_t left = deadline - clock_ms();
		int n;

		if (left <= 0)
			return -ETIMEDOUT;
		n = poll(&p, 1, (int)GP_MIN(left, 60000));
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

// A server that refuses the connection answers and closes before it has read: a failed send is no
// error as long as an answer can be read.
static int request_send(int fd, const char *line, size_t len, int64_t deadline)
{
	size_t sent = 0;

	while (sent < len) {
		ssize_t n = send(fd, line + sent, len - sent, MSG_NOSIGNAL);

		if (n > 0) {
			sent += (size_t)n;
		} else if (errno == EAGAIN) {
			int rc = socket_wait(fd, POLLOUT, deadline);

			if (rc)
				return rc;
		} else if (errno == EPIPE || errno == ECONNRESET) {
			return 0;
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}

static int reply_reserve(struct ctl_reply_text *r)
{
	size_t size = r->size ? r->size * 2 : CALL_FIRST_SIZE;
	char *text;

	if (r->len < r->size)
		return 0;
	if (r->len > GP_CTL_REPLY_MAX)
		return -EMSGSIZE;
	text = realloc(r->text, size);
	if (!text)
		return -ENOMEM;
	r->text = text;
	r->size = size;
	return 0;
}

// Up to the newline, which is not counted.
static int reply_receive(int fd, struct ctl_reply_text *r, int64_t deadline)
{
	for (;;) {
		int rc = reply_reserve(r);
		char *end;
		ssize_t n;

		if (rc)
			return rc;
		n = recv(fd, r->text + r->len, r->size - r->len, 0);
		if (n == 0)
			return -ECONNRESET;
		if (n < 0 && errno == EAGAIN) {
			rc = socket_wait(fd, POLLIN, deadline);
			if (rc)
				return rc;
			continue;
		}
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n < 0)
			continue;
		end = memchr(r->text + r->len, '\n', (size_t)n);
		r->len += (size_t)n;
		if (end) {
			r->len = (size_t)(end - r->text);
			return 0;
		}
	}
}

static int call_explain(const struct gp_ctl_call *call, int rc, struct gp_ctl_error *err)
{
	const char *advice = "is gradplaned running, is --socket right?";

	if (rc == -EACCES || rc == -EPERM)
		advice = "the socket belongs to another user: run as that user or as root";
	else if (rc == -ETIMEDOUT)
		advice = "the server did not answer in time: the job may wait (see gradctl why), "
			 "it may take longer (a longer --timeout-ms helps), or be stuck (see the "
			 "server's log)";
	else if (rc == -ECONNRESET)
		advice = "the server closed the connection without an answer: see its log";
	else if (rc == -EMSGSIZE)
		advice = "the request or the reply is over the protocol's limit";
	gp_ctl_error_set(
		err, "no_server", "no answer at %s: %s: %s", call->path, strerror(-rc), advice);
	return rc;
}

// The request with its newline, heap.
static char *request_encode(const struct gp_ctl_call *call, size_t *len)
{
	json_t *root = json_pack(
		"{s:i,s:s,s:O*}", "v", GP_CTL_VERSION, "cmd", call->cmd, "args", call->args);
	char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;

	json_decref(root);
	if (!text)
		return NULL;
	*len = strlen(text);
	text[*len] = '\n'; // in the place of the zero
	*len += 1;
	return text;
}

// A connected non-blocking socket or -errno. connect waits only for room in the server's queue.
static int socket_connect(const struct sockaddr_un *addr, int64_t deadline)
{
	int64_t left = GP_MAX(deadline - clock_ms(), 1);
	const struct timeval wait = {.tv_sec = left / 1000, .tv_usec = left % 1000 * 1000};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int rc;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) == 0 &&
		connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 &&
		fcntl(fd, F_SETFL, O_NONBLOCK) == 0)
		return fd;
	rc = errno == EAGAIN ? -ETIMEDOUT : -errno;
	close(fd);
	return rc;
}

static int call_exchange(const struct gp_ctl_call *call, const struct sockaddr_un *addr,
	struct ctl_reply_text *reply)
{
	int64_t deadline = clock_ms() + (call->timeout_ms ? call->timeout_ms : CALL_TIMEOUT_MS);
	size_t len = 0;
	char *line = request_encode(call, &len);
	int fd, rc;

	if (!line)
		return -ENOMEM;
	fd = len > GP_CTL_LINE_MAX + 1 ? -EMSGSIZE : socket_connect(addr, deadline);
	if (fd < 0) {
		free(line);
		return fd;
	}
	rc = request_send(fd, line, len, deadline);
	if (rc == 0)
		rc = reply_receive(fd, reply, deadline);
	close(fd);
	free(line);
	return rc;
}

int gp_ctl_call(const struct gp_ctl_call *call, json_t **result, struct gp_ctl_error *err)
{
	struct ctl_reply_text reply = {0};
	struct sockaddr_un addr;
	int rc;

	GP_ASSERT(call->cmd);
	*result = NULL;
	rc = ctl_addr_init(&addr, call->path, err);
	if (rc)
		return rc;
	rc = call_exchange(call, &addr, &reply);
	if (rc)
		call_explain(call, rc, err);
	else
		rc = ctl_reply_parse(reply.text, reply.len, result, err);
	free(reply.text);
	return rc;
}
