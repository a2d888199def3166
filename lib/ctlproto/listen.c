// SPDX-License-Identifier: BSD-3-Clause
//
// Taking the socket's path. Two servers that start at once must not remove each other's file, so
// the look and the bind happen under a lock on the directory, which leaves nothing behind.
#include "ctlproto_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LISTEN_BACKLOG	     16
#define LISTEN_LOCK_TRIES    100
#define LISTEN_LOCK_PAUSE_MS 20

int ctl_addr_init(struct sockaddr_un *addr, const char *path, struct gp_ctl_error *err)
{
	*addr = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (!path || !*path) {
		gp_ctl_error_set(err, "bad_path", "the control socket's path is empty");
		return -EINVAL;
	}
	if (strlen(path) >= sizeof(addr->sun_path)) {
		gp_ctl_error_set(err, "bad_path",
			"control socket %.200s: the path has %zu bytes, the system's limit is %zu: "
			"choose a shorter one",
			path, strlen(path), sizeof(addr->sun_path) - 1);
		return -ENAMETOOLONG;
	}
	memcpy(addr->sun_path, path, strlen(path) + 1);
	return 0;
}

static int listen_explain(const char *path, int error, struct gp_ctl_error *err)
{
	const char *advice = "check the path";

	if (error == ENOENT)
		advice = "the directory is missing: make it or choose another path";
	else if (error == EACCES || error == EPERM || error == EROFS)
		advice = "this user may not write in the directory: choose another path or user";
	else if (error == EBUSY)
		advice = "another program keeps a lock on the directory";
	gp_ctl_error_set(err, "listen", "control socket %s: %s: %s", path, strerror(error), advice);
	return -error;
}

// A locked descriptor of the socket's directory, or -errno.
static int directory_lock(const char *path)
{
	const struct timespec pause = {.tv_nsec = LISTEN_LOCK_PAUSE_MS * 1000000L};
	char copy[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	int fd;

	snprintf(copy, sizeof(copy), "%s", path);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	for (int i = 0; i < LISTEN_LOCK_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return fd;
		nanosleep(&pause, NULL);
	}
	close(fd);
	return -EBUSY;
}

static int refuse_live(const char *path, int fd, struct gp_ctl_error *err)
{
	struct ucred peer = {0};
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
		peer.pid = 0;
	gp_ctl_error_set(err, "listen",
		"control socket %s: a server with pid %d answers there: stop it (gradctl --socket "
		"%s "
		"stop) or give this one another path",
		path, (int)peer.pid, path);
	return -EADDRINUSE;
}

// Removes the file that a dead server left; anything else in the way is refused.
static int stale_remove(const struct sockaddr_un *addr, struct gp_ctl_error *err)
{
	const char *path = addr->sun_path;
	struct stat st;
	int fd, rc;

	if (lstat(path, &st) != 0)
		return errno == ENOENT ? 0 : listen_explain(path, errno, err);
	if (!S_ISSOCK(st.st_mode)) {
		gp_ctl_error_set(err, "listen",
			"control socket %s: something that is no socket is in the way: move it or "
			"choose another path",
			path);
		return -EEXIST;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return listen_explain(path, errno, err);
	// EAGAIN: a listener whose queue is full, so alive.
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 || errno == EAGAIN)
		rc = refuse_live(path, fd, err);
	else if (errno != ECONNREFUSED)
		rc = listen_explain(path, errno, err);
	else
		rc = unlink(path) == 0 ? 0 : listen_explain(path, errno, err);
	close(fd);
	return rc;
}

// The mode of the socket before bind is the mode of the file: there is no moment of a wider one.
static int socket_bind(struct ctl_listen *l)
{
	const char *path = l->addr.sun_path;
	struct stat st;

	if (fchmod(l->fd, S_IRUSR | S_IWUSR) != 0 ||
		bind(l->fd, (const struct sockaddr *)&l->addr, sizeof(l->addr)) != 0)
		return -errno;
	if (lstat(path, &st) != 0 || listen(l->fd, LISTEN_BACKLOG) != 0) {
		int rc = -errno;

		unlink(path);
		return rc;
	}
	l->dev = st.st_dev;
	l->ino = st.st_ino;
	return 0;
}

int ctl_listen_open(struct ctl_listen *l, const char *path, struct gp_ctl_error *err)
{
	int lock, rc;

	*l = (struct ctl_listen){.fd = -1};
	rc = ctl_addr_init(&l->addr, path, err);
	if (rc)
		return rc;
	lock = directory_lock(path);
	if (lock < 0)
		return listen_explain(path, -lock, err);
	rc = stale_remove(&l->addr, err);
	if (rc)
		goto unlock;
	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	rc = l->fd < 0 ? -errno : socket_bind(l);
	if (rc) {
		listen_explain(path, -rc, err);
		if (l->fd >= 0)
			close(l->fd);
	}
unlock:
	close(lock);
	return rc;
}

void ctl_listen_unlink(const struct ctl_listen *l)
{
	struct stat st;

	if (lstat(l->addr.sun_path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino)
		unlink(l->addr.sun_path);
}
