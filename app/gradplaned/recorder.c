// SPDX-License-Identifier: BSD-3-Clause
//
// The flight recorder on disk: dumped by the control thread while the cores run, and by a thread
// whose assertion has failed, which may not do more than system calls.
#include "gradplaned.h"

#include <gp_flight_dump.h>
#include <gp_log.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int fd_write(void *arg, const void *bytes, size_t len)
{
	const char *from = bytes;
	while (len > 0) {
		ssize_t n = write(*(const int *)arg, from, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		from += n;
		len -= (size_t)n;
	}
	return 0;
}

static uint64_t wall_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec;
}

// An existing file is never written over.
static int file_open(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? -errno : fd;
}

static int dump(const struct node *n, const char *path, uint32_t cause, const char *text)
{
	int fd = file_open(path);
	if (fd < 0)
		return fd;
	const struct gp_flight_sink sink = {.write = fd_write, .arg = &fd};
	const struct gp_flight_reason why = {.cause = cause,
		.now = clock_now(),
		.wall = wall_now(),
		.version = GRADPLANED_VERSION,
		.text = text,
		.config = n->recorder.config};
	int rc = gp_engine_flight_dump(n->engine, &sink, &why);
	if (close(fd) != 0 && rc == 0)
		rc = -errno;
	if (rc != 0)
		unlink(path);
	return rc;
}

// From the thread that failed, whatever it was doing: system calls only.
static void on_assert(void *arg)
{
	struct node *n = arg;
	(void)mkdir(n->cfg.recorder.directory, 0755);
	(void)unlink(n->recorder.assert_path); // of an earlier process with this number
	if (!n->engine ||
		dump(n, n->recorder.assert_path, GP_FLIGHT_BY_ASSERT, "a failed assertion") != 0)
		return;
	(void)fd_write(
		&(int){STDERR_FILENO}, n->recorder.assert_path, strlen(n->recorder.assert_path));
	(void)fd_write(&(int){STDERR_FILENO}, ": the flight recorder\n", 22);
}

int recorder_start(struct node *n)
{
	const struct gp_config_recorder *c = &n->cfg.recorder;
	size_t len;
	if (c->mode == GP_RECORDER_OFF)
		return 0;
	FILE *f = open_memstream(&n->recorder.config, &len);
	if (!f)
		return -ENOMEM;
	gp_config_print(f, &n->cfg);
	if (fclose(f) != 0)
		return -ENOMEM;
	int size = snprintf(n->recorder.assert_path, sizeof(n->recorder.assert_path),
		"%s/%s-%d-assert.flight", c->directory, n->cfg.node.name, (int)getpid());
	GP_ASSERT(size > 0 && (size_t)size < sizeof(n->recorder.assert_path));
	gp_assert_set_hook(on_assert, n);
	return 0;
}

void recorder_stop(struct node *n)
{
	gp_assert_set_hook(NULL, NULL);
	free(n->recorder.config);
	n->recorder.config = NULL;
}

int recorder_dump(struct node *n, const char *path, uint32_t cause, char *path_out)
{
	const struct gp_config_recorder *c = &n->cfg.recorder;
	if (c->mode == GP_RECORDER_OFF)
		return -ENOTSUP;
	if (path) {
		snprintf(path_out, PATH_MAX, "%s", path);
		return dump(n, path_out, cause, "");
	}
	machine_directory_make(c->directory); // what it is in
	if (mkdir(c->directory, 0755) != 0 && errno != EEXIST)
		return -errno;
	int rc = -EEXIST;
	for (uint32_t i = 0; rc == -EEXIST && i < 1000; i++) {
		snprintf(path_out, PATH_MAX, "%s/%s-%lu-%03u.flight", c->directory,
			n->cfg.node.name, wall_now(), i);
		rc = dump(n, path_out, cause, "");
	}
	return rc;
}
