// SPDX-License-Identifier: BSD-3-Clause
#include "fixture.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define REQUEST(cmd, args) "{\"v\":1,\"cmd\":\"" cmd "\",\"args\":{" args "}}\n"

Test(server, replies_in_order_and_survives_bad_lines)
{
	struct fixture f;
	char line[1024];
	int fd;

	fixture_init(&f, NULL);
	fd = fixture_connect(&f);
	fixture_send(fd, REQUEST("echo", "\"n\":1") "garbage\n" REQUEST("nothing", "") REQUEST(
				 "refuse", "") REQUEST("fail", "") REQUEST("echo", "\"n\":2"));
	cr_assert(fixture_line(&f, fd, line, sizeof(line)));
	cr_assert_str_eq(line, "{\"ok\":true,\"result\":{\"n\":1}}");
	cr_assert(fixture_line(&f, fd, line, sizeof(line)));
	cr_assert(strstr(line, "\"code\":\"bad_request\""), "%s", line);
	cr_assert(fixture_line(&f, fd, line, sizeof(line)));
	cr_assert_str_eq(line,
		"{\"ok\":false,\"code\":\"unknown_command\",\"error\":\"no command nothing; this "
		"server has: echo, later, refuse, fail, big\"}");
	cr_assert(fixture_line(&f, fd, line, sizeof(line)));
	cr_assert_str_eq(line, "{\"ok\":false,\"code\":\"not_found\",\"error\":\"no job ?x\"}");
	cr_assert(fixture_line(&f, fd, line, sizeof(line)));
	cr_assert(strstr(line, "No space left on device"), "%s", line);
	cr_assert(fixture_line(&f, fd, line, sizeof(line)));
	cr_assert_str_eq(line, "{\"ok\":true,\"result\":{\"n\":2}}");
	close(fd);
	fixture_fini(&f);
}

Test(server, line_in_pieces_and_half_close)
{
	struct fixture f;
	char line[1024];
	int fd;

	fixture_init(&f, NULL);
	fd = fixture_connect(&f);
	fixture_send(fd, "{\"v\":1,\"cmd\":");
	for (int i = 0; i < 10; i++)
		fixture_turn(&f, time(NULL) + DEADLINE_S);
	fixture_send(fd, "\"echo\"}\n" REQUEST("echo", "\"n\":2") "{\"v\":1,\"unfinished");
	shutdown(fd, SHUT_WR);
	cr_assert(fixture_line(&f, fd, line, sizeof(line)));
	cr_assert_str_eq(line, "{\"ok\":true,\"result\":{}}");
	cr_assert(fixture_line(&f, fd, line, sizeof(line)));
	cr_assert_str_eq(line, "{\"ok\":true,\"result\":{\"n\":2}}");
	cr_assert_not(fixture_line(&f, fd, line, sizeof(line)));
	close(fd);
	fixture_fini(&f);
}

static void keep_wait(struct fixture *f, size_t count)
{
	time_t end = time(NULL) + DEADLINE_S;

	while (f->kept_count < count)
		fixture_turn(f, end);
}

Test(server, deferred_reply)
{
	struct fixture f;
	char line[1024];
	int fd, other;

	fixture_init(&f, NULL);
	fd = fixture_connect(&f);
	other = fixture_connect(&f);
	fixture_send(fd, REQUEST("later", "") REQUEST("echo", "\"n\":1")
				 REQUEST("later", "\"at_once\":true"));
	keep_wait(&f, 1);
	// Another client is served meanwhile; the next request of this one waits its turn.
	fixture_send(other, REQUEST("echo", "\"n\":9"));
	cr_assert(fixture_line(&f, other, line, sizeof(line)));
	cr_assert_lt(recv(fd, line, 1, MSG_DONTWAIT), 0);
	gp_ctl_reply_ok(f.kept[0], json_pack("{s:i}", "step", 7));
	cr_assert(fixture_line(&f, fd, line, sizeof(line)));
	cr_assert_str_eq(line, "{\"ok\":true,\"result\":{\"step\":7}}");
	cr_assert(fixture_line(&f, fd, line, sizeof(line)));
	cr_assert_str_eq(line, "{\"ok\":true,\"result\":{\"n\":1}}");
	cr_assert(fixture_line(&f, fd, line, sizeof(line)));
	cr_assert_str_eq(line, "{\"ok\":true,\"result\":{}}");
	close(fd);
	close(other);
	fixture_fini(&f);
}

Test(server, reply_after_client_or_server_left)
{
	struct gp_ctl_error err = {.code = "stopped", .text = "the server stops"};
	struct fixture f;
	char line[1024];
	int fd;

	fixture_init(&f, NULL);
	fd = fixture_connect(&f);
	fixture_send(fd, REQUEST("later", ""));
	keep_wait(&f, 1);
	close(fd);
	gp_ctl_reply_ok(f.kept[0], NULL);
	fd = fixture_connect(&f);
	fixture_send(fd, REQUEST("later", ""));
	keep_wait(&f, 2);
	gp_ctl_server_destroy(f.server);
	f.server = NULL;
	gp_ctl_reply_error(f.kept[1], &err);
	cr_assert_not(fixture_line(&f, fd, line, sizeof(line)));
	close(fd);
	fixture_fini(&f);
}

Test(server, reply_before_destroy_arrives)
{
	struct fixture f;
	char line[1024];
	int fd;

	fixture_init(&f, NULL);
	fd = fixture_connect(&f);
	fixture_send(fd, REQUEST("later", ""));
	keep_wait(&f, 1);
	gp_ctl_reply_ok(f.kept[0], json_pack("{s:i}", "step", 3));
	gp_ctl_server_destroy(f.server);
	f.server = NULL;
	cr_assert(fixture_line(&f, fd, line, sizeof(line)));
	cr_assert_str_eq(line, "{\"ok\":true,\"result\":{\"step\":3}}");
	close(fd);
	fixture_fini(&f);
}

// Clients that leave while their request is in hand keep their place until it is finished, so they
// cannot pile up requests without end.
Test(server, unfinished_requests_are_bounded)
{
	struct fixture f;
	char line[1024];
	int fd;

	fixture_init(&f, NULL);
	for (size_t i = 0; i < GP_CTL_DEFERRED_MAX; i++) {
		fd = fixture_connect(&f);
		fixture_send(fd, REQUEST("later", ""));
		keep_wait(&f, i + 1);
		close(fd);
	}
	fd = fixture_connect(&f);
	cr_assert(fixture_line(&f, fd, line, sizeof(line)));
	cr_assert(strstr(line, "\"code\":\"busy\""), "%s", line);
	close(fd);
	for (size_t i = 0; i < GP_CTL_DEFERRED_MAX; i++)
		gp_ctl_reply_ok(f.kept[i], NULL);
	for (size_t i = 0; i < GP_CTL_DEFERRED_MAX; i++)
		fixture_turn(&f, time(NULL) + DEADLINE_S);
	fd = fixture_connect(&f);
	fixture_send(fd, REQUEST("echo", ""));
	cr_assert(fixture_line(&f, fd, line, sizeof(line)));
	cr_assert(strstr(line, "\"ok\":true"), "%s", line);
	close(fd);
	fixture_fini(&f);
}

Test(server, clients_are_bounded)
{
	struct fixture f;
	char line[1024];
	int fds[GP_CTL_CLIENTS_MAX];
	int extra;

	fixture_init(&f, NULL);
	for (size_t i = 0; i < GP_CTL_CLIENTS_MAX; i++) {
		fds[i] = fixture_connect(&f);
		fixture_send(fds[i], REQUEST("echo", ""));
		cr_assert(fixture_line(&f, fds[i], line, sizeof(line)));
	}
	extra = fixture_connect(&f);
	cr_assert(fixture_line(&f, extra, line, sizeof(line)));
	cr_assert(strstr(line, "\"code\":\"busy\""), "%s", line);
	cr_assert_not(fixture_line(&f, extra, line, sizeof(line)));
	close(extra);
	// A place that is free again is used again.
	close(fds[3]);
	for (bool served = false; !served;) {
		fds[3] = fixture_connect(&f);
		send(fds[3], REQUEST("echo", ""), strlen(REQUEST("echo", "")), MSG_NOSIGNAL);
		cr_assert(fixture_line(&f, fds[3], line, sizeof(line)));
		served = strstr(line, "true") != NULL;
		if (!served)
			close(fds[3]);
	}
	for (size_t i = 0; i < GP_CTL_CLIENTS_MAX; i++)
		close(fds[i]);
	fixture_fini(&f);
}

Test(server, endless_line_is_cut_off)
{
	struct fixture f;
	char line[1024];
	char block[4096];
	time_t end = time(NULL) + DEADLINE_S;
	size_t sent = 0;
	int fd;

	fixture_init(&f, NULL);
	fd = fixture_connect(&f);
	memset(block, 'x', sizeof(block));
	while (sent <= 2 * (size_t)GP_CTL_LINE_MAX) {
		ssize_t n = send(fd, block, sizeof(block), MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN)
			break;
		sent += n > 0 ? (size_t)n : 0;
		fixture_turn(&f, end);
	}
	cr_assert(fixture_line(&f, fd, line, sizeof(line)));
	cr_assert(strstr(line, "\"code\":\"too_long\""), "%s", line);
	cr_assert_not(fixture_line(&f, fd, line, sizeof(line)));
	close(fd);
	fixture_fini(&f);
}

// Reads until the server closes, returns how many lines came.
static size_t lines_count(struct fixture *f, int fd)
{
	time_t end = time(NULL) + DEADLINE_S;
	size_t lines = 0;
	char block[65536];
	ssize_t n;

	while ((n = recv(fd, block, sizeof(block), MSG_DONTWAIT)) != 0) {
		if (n < 0) {
			cr_assert_eq(errno, EAGAIN);
			fixture_turn(f, end);
		}
		for (ssize_t i = 0; i < n; i++)
			lines += block[i] == '\n';
	}
	return lines;
}

// A client that sends and never reads fills its own queue and stops there; nothing of it is lost.
Test(server, client_that_does_not_read_is_not_read)
{
	const char *request = REQUEST("big", "\"size\":60000");
	struct fixture f;
	size_t sent = 0, quiet = 0;
	int fd;

	fixture_init(&f, NULL);
	fd = fixture_connect(&f);
	while (quiet < 100) {
		ssize_t n = send(fd, request, strlen(request), MSG_DONTWAIT | MSG_NOSIGNAL);

		quiet = n < 0 ? quiet + 1 : 0;
		sent += n > 0 ? (size_t)n : 0;
		cr_assert_lt(sent, 8u << 20, "the server reads on for a client that does not");
		fixture_turn(&f, time(NULL) + DEADLINE_S);
	}
	shutdown(fd, SHUT_WR);
	cr_assert_eq(lines_count(&f, fd), sent / strlen(request));
	close(fd);
	fixture_fini(&f);
}

Test(server, reply_over_limit_is_an_error)
{
	struct fixture f;
	char line[1024];
	int fd;

	fixture_init(&f, NULL);
	fd = fixture_connect(&f);
	fixture_send(fd, REQUEST("big", "\"size\":33554432"));
	cr_assert(fixture_line(&f, fd, line, sizeof(line)));
	cr_assert(strstr(line, "\"code\":\"internal\""), "%s", line);
	close(fd);
	fixture_fini(&f);
}

Test(server, idle_client_is_closed)
{
	const struct gp_ctl_command none[] = {{0}};
	struct gp_ctl_server_config config = {.commands = none, .idle_ms = 50};
	struct gp_ctl_error err = {0};
	struct fixture f;
	char line[64];
	int fd;

	fixture_init(&f, NULL);
	gp_ctl_server_destroy(f.server);
	config.base = f.base;
	config.path = f.path;
	cr_assert_eq(gp_ctl_server_create(&f.server, &config, &err), 0, "%s", err.text);
	fd = fixture_connect(&f);
	cr_assert_not(fixture_line(&f, fd, line, sizeof(line)));
	close(fd);
	fixture_fini(&f);
}

Test(path, mode_and_removal)
{
	struct fixture f;
	struct stat st;

	umask(0);
	fixture_init(&f, NULL);
	cr_assert_eq(lstat(f.path, &st), 0);
	cr_assert_eq(st.st_mode, (mode_t)(S_IFSOCK | 0600));
	gp_ctl_server_destroy(f.server);
	f.server = NULL;
	cr_assert_eq(lstat(f.path, &st), -1);
	fixture_fini(&f);
}

Test(path, live_server_is_refused_and_kept)
{
	struct gp_ctl_error err = {0};
	struct gp_ctl_server *second;
	struct fixture f;
	char line[64], pid[32];
	int fd;

	fixture_init(&f, NULL);
	cr_assert_eq(fixture_listen(&f, &second, &err), -EADDRINUSE);
	cr_assert_null(second);
	snprintf(pid, sizeof(pid), "pid %d ", (int)getpid());
	cr_assert(strstr(err.text, f.path) && strstr(err.text, pid), "%s", err.text);
	fd = fixture_connect(&f);
	fixture_send(fd, REQUEST("echo", ""));
	cr_assert(fixture_line(&f, fd, line, sizeof(line)));
	close(fd);
	fixture_fini(&f);
}

Test(path, dead_servers_file_is_replaced)
{
	struct gp_ctl_error err = {0};
	struct fixture f;
	char aside[128], line[64];
	int fd;

	fixture_init(&f, NULL);
	// What a killed server leaves: its file, and nobody who listens.
	snprintf(aside, sizeof(aside), "%s.aside", f.path);
	cr_assert_eq(rename(f.path, aside), 0);
	gp_ctl_server_destroy(f.server);
	cr_assert_eq(rename(aside, f.path), 0);
	cr_assert_eq(fixture_listen(&f, &f.server, &err), 0, "%s", err.text);
	fd = fixture_connect(&f);
	fixture_send(fd, REQUEST("echo", ""));
	cr_assert(fixture_line(&f, fd, line, sizeof(line)));
	close(fd);
	fixture_fini(&f);
}

Test(path, another_servers_file_is_not_removed)
{
	struct gp_ctl_error err = {0};
	struct gp_ctl_server *second;
	struct stat st;
	struct fixture f;

	fixture_init(&f, NULL);
	cr_assert_eq(unlink(f.path), 0);
	cr_assert_eq(fixture_listen(&f, &second, &err), 0, "%s", err.text);
	gp_ctl_server_destroy(f.server);
	f.server = NULL;
	cr_assert_eq(lstat(f.path, &st), 0);
	gp_ctl_server_destroy(second);
	cr_assert_eq(lstat(f.path, &st), -1);
	fixture_fini(&f);
}

Test(path, what_cannot_be_a_socket)
{
	struct gp_ctl_error err = {0};
	struct gp_ctl_server *server;
	struct fixture f;
	char path[200];
	int fd;

	fixture_init(&f, NULL);
	gp_ctl_server_destroy(f.server);
	f.server = NULL;
	fd = open(f.path, O_CREAT | O_WRONLY, 0600);
	cr_assert_geq(fd, 0);
	close(fd);
	cr_assert_eq(fixture_listen(&f, &server, &err), -EEXIST);
	cr_assert(strstr(err.text, f.path) && strstr(err.text, "no socket"), "%s", err.text);
	cr_assert_eq(access(f.path, F_OK), 0);
	snprintf(f.path, sizeof(f.path), "%s/none/c.sock", f.dir);
	cr_assert_eq(fixture_listen(&f, &server, &err), -ENOENT);
	cr_assert(strstr(err.text, "directory is missing"), "%s", err.text);
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	cr_assert_eq(gp_ctl_server_create(&server,
			     &(struct gp_ctl_server_config){.base = f.base,
				     .path = path,
				     .commands = (const struct gp_ctl_command[]){{0}}},
			     &err),
		-ENAMETOOLONG);
	snprintf(f.path, sizeof(f.path), "%s/control.sock", f.dir);
	fixture_fini(&f);
}

static int call(const struct fixture *f, const char *cmd, json_t *args, uint32_t timeout_ms,
	json_t **result, struct gp_ctl_error *err)
{
	const struct gp_ctl_call c = {
		.path = f->path, .cmd = cmd, .args = args, .timeout_ms = timeout_ms};

	*err = (struct gp_ctl_error){0};
	return gp_ctl_call(&c, result, err);
}

Test(call, answers_refusals_and_time_out)
{
	json_t *args = json_pack("{s:i}", "size", 8 << 20);
	json_t *result;
	struct gp_ctl_error err;
	struct fixture f;
	int pid;

	fixture_init(&f, NULL);
	pid = fixture_serve(&f);
	cr_assert_eq(call(&f, "echo", NULL, 0, &result, &err), 0, "%s", err.text);
	cr_assert_eq(json_object_size(result), 0);
	json_decref(result);
	cr_assert_eq(call(&f, "big", args, 0, &result, &err), 0, "%s", err.text);
	cr_assert_eq(json_string_length(json_object_get(result, "text")), 8 << 20);
	json_decref(result);
	json_decref(args);
	cr_assert_eq(call(&f, "refuse", NULL, 0, &result, &err), -EREMOTEIO);
	cr_assert_str_eq(err.code, "not_found");
	cr_assert_str_eq(err.text, "no job ?x");
	cr_assert_null(result);
	cr_assert_eq(call(&f, "later", NULL, 50, &result, &err), -ETIMEDOUT);
	cr_assert(strstr(err.text, "did not answer in time"), "%s", err.text);
	fixture_serve_end(pid);
	fixture_fini(&f);
}

Test(call, no_server)
{
	json_t *result;
	struct gp_ctl_error err;
	struct fixture f;

	fixture_init(&f, NULL);
	gp_ctl_server_destroy(f.server);
	f.server = NULL;
	cr_assert_eq(call(&f, "echo", NULL, 0, &result, &err), -ENOENT);
	cr_assert(strstr(err.text, f.path), "%s", err.text);
	cr_assert(strstr(err.text, "is gradplaned running, is --socket right?"), "%s", err.text);
	cr_assert_str_eq(err.code, "no_server");
	fixture_fini(&f);
}
