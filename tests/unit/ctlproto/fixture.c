// SPDX-License-Identifier: BSD-3-Clause
#include "fixture.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int echo(
	struct gp_ctl_request *req, const json_t *args, json_t **result, struct gp_ctl_error *err)
{
	(void)req, (void)err;
	*result = json_deep_copy(args);
	return 0;
}

static int later(
	struct gp_ctl_request *req, const json_t *args, json_t **result, struct gp_ctl_error *err)
{
	struct fixture *f = gp_ctl_request_arg(req);

	(void)result, (void)err;
	if (json_is_true(json_object_get(args, "at_once"))) {
		gp_ctl_reply_ok(req, NULL);
		return GP_CTL_LATER;
	}
	cr_assert_lt(f->kept_count, GP_CTL_DEFERRED_MAX);
	f->kept[f->kept_count++] = req;
	return GP_CTL_LATER;
}

static int refuse(
	struct gp_ctl_request *req, const json_t *args, json_t **result, struct gp_ctl_error *err)
{
	(void)req, (void)args;
	*result = json_object();
	gp_ctl_error_set(err, "not_found", "no job \xff%s", "x");
	return -ENOENT;
}

static int fail(
	struct gp_ctl_request *req, const json_t *args, json_t **result, struct gp_ctl_error *err)
{
	(void)req, (void)args, (void)result, (void)err;
	return -ENOSPC;
}

static int big(
	struct gp_ctl_request *req, const json_t *args, json_t **result, struct gp_ctl_error *err)
{
	size_t size = (size_t)json_integer_value(json_object_get(args, "size"));
	char *text = malloc(size);

	(void)req, (void)err;
	cr_assert_not_null(text);
	memset(text, 'x', size);
	*result = json_pack("{s:s#}", "text", text, size);
	free(text);
	return 0;
}

static const struct gp_ctl_command default_commands[] = {
	{"echo", echo}, {"later", later}, {"refuse", refuse}, {"fail", fail}, {"big", big}, {0}};

static const struct gp_ctl_command *used_commands;

int fixture_listen(struct fixture *f, struct gp_ctl_server **out, struct gp_ctl_error *err)
{
	struct gp_ctl_server_config config = {
		.base = f->base, .path = f->path, .commands = used_commands, .arg = f};

	return gp_ctl_server_create(out, &config, err);
}

void fixture_init(struct fixture *f, const struct gp_ctl_command *commands)
{
	struct gp_ctl_error err = {0};

	*f = (struct fixture){.dir = "/tmp/gp-ctl-XXXXXX"};
	used_commands = commands ? commands : default_commands;
	cr_assert_not_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/control.sock", f->dir);
	f->base = event_base_new();
	cr_assert_not_null(f->base);
	cr_assert_eq(fixture_listen(f, &f->server, &err), 0, "%s", err.text);
}

void fixture_fini(struct fixture *f)
{
	gp_ctl_server_destroy(f->server);
	event_base_free(f->base);
	unlink(f->path);
	cr_assert_eq(rmdir(f->dir), 0);
}

void fixture_turn(struct fixture *f, time_t end)
{
	cr_assert_lt(time(NULL), end, "nothing happened in time");
	event_base_loop(f->base, EVLOOP_NONBLOCK);
}

int fixture_connect(const struct fixture *f)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_geq(fd, 0);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", f->path);
	cr_assert_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

void fixture_send(int fd, const char *text)
{
	cr_assert_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

// One byte a call: what follows the line stays in the socket.
bool fixture_line(struct fixture *f, int fd, char *line, size_t size)
{
	time_t end = time(NULL) + DEADLINE_S;
	size_t len = 0;

	for (;;) {
		ssize_t n = recv(fd, line + len, 1, MSG_DONTWAIT);

		if (n == 0 || (n < 0 && errno == ECONNRESET))
			return false;
		if (n < 0) {
			cr_assert_eq(errno, EAGAIN);
			fixture_turn(f, end);
			continue;
		}
		if (line[len] == '\n')
			break;
		len++;
		cr_assert_lt(len, size);
	}
	line[len] = '\0';
	return true;
}

int fixture_serve(struct fixture *f)
{
	int pid;

	fflush(NULL);
	pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		event_reinit(f->base);
		event_base_loop(f->base, EVLOOP_NO_EXIT_ON_EMPTY);
		_exit(0);
	}
	return pid;
}

void fixture_serve_end(int pid)
{
	kill(pid, SIGKILL);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
}
