// SPDX-License-Identifier: BSD-3-Clause
#include "snapshot_priv.h"

#include <gp_log.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define STAGE_TRIES_MAX 8

struct gp_snapshot_stage {
	int fd; // locked: whoever can lock it too knows that we are dead
	char dir[PATH_MAX];
	char path[PATH_MAX];
};

int snapshot_remove(const char *path, struct gp_snapshot_error *err)
{
	DIR *d = opendir(path);
	if (!d)
		return errno == ENOENT
			       ? 0
			       : snapshot_fail_sys(err, errno, path, NULL, "cannot be opened");
	int rc = 0;
	for (struct dirent *e; rc == 0 && (e = readdir(d));) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (unlinkat(dirfd(d), e->d_name, 0) != 0 && errno != ENOENT)
			rc = snapshot_fail_sys(err, errno, path, e->d_name, "cannot be removed");
	}
	closedir(d);
	if (rc == 0 && rmdir(path) != 0 && errno != ENOENT)
		rc = snapshot_fail_sys(err, errno, path, NULL, "cannot be removed");
	return rc;
}

// Between mkdtemp and flock another program may take the stage for a dead one's and remove it.
static bool stage_lock(struct gp_snapshot_stage *stage)
{
	struct stat by_fd, by_path;
	stage->fd = open(stage->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (stage->fd < 0)
		return false;
	if (flock(stage->fd, LOCK_EX | LOCK_NB) == 0 && fstat(stage->fd, &by_fd) == 0 &&
		stat(stage->path, &by_path) == 0 && by_fd.st_ino == by_path.st_ino)
		return true;
	close(stage->fd);
	stage->fd = -1;
	return false;
}

static int stage_make(struct gp_snapshot_stage *stage, struct gp_snapshot_error *err)
{
	for (int i = 0; i < STAGE_TRIES_MAX; i++) {
		int rc = snapshot_path_join(
			stage->path, stage->dir, SNAPSHOT_STAGE_PREFIX "XXXXXX", err);
		if (rc != 0)
			return rc;
		if (!mkdtemp(stage->path))
			return snapshot_fail_sys(err, errno, stage->dir, NULL,
				"a temporary directory cannot be made in it");
		if (stage_lock(stage))
			return chmod(stage->path, 0755) == 0
				       ? 0
				       : snapshot_fail_sys(err, errno, stage->path, NULL, "chmod");
	}
	return snapshot_fail_sys(
		err, EBUSY, stage->dir, NULL, "a temporary directory cannot be locked in it");
}

int gp_snapshot_stage_create(
	const char *dir, struct gp_snapshot_stage **out, struct gp_snapshot_error *err)
{
	struct gp_snapshot_stage *stage = calloc(1, sizeof(*stage));
	if (!stage)
		return snapshot_fail(err, -ENOMEM, "out of memory");
	stage->fd = -1;
	int rc = 0;
	if (strlen(dir) >= sizeof(stage->dir))
		rc = snapshot_fail_sys(err, ENAMETOOLONG, dir, NULL, "cannot be used");
	if (rc == 0) {
		strcpy(stage->dir, dir);
		rc = stage_make(stage, err);
	}
	if (rc != 0) {
		free(stage);
		return rc;
	}
	*out = stage;
	return 0;
}

int gp_snapshot_stage_fd(const struct gp_snapshot_stage *stage)
{
	return stage->fd;
}

const char *gp_snapshot_stage_path(const struct gp_snapshot_stage *stage)
{
	return stage->path;
}

void gp_snapshot_stage_drop(struct gp_snapshot_stage *stage)
{
	struct gp_snapshot_error err;
	if (!stage)
		return;
	// What cannot be removed now is removed at the next start.
	if (snapshot_remove(stage->path, &err) != 0)
		gp_warn("%s", err.text);
	close(stage->fd);
	free(stage);
}

int snapshot_dir_sync(const char *dir, struct gp_snapshot_error *err)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return snapshot_fail_sys(err, errno, dir, NULL, "cannot be opened");
	int rc = fsync(fd) == 0 ? 0 : snapshot_fail_sys(err, errno, dir, NULL, "fsync");
	close(fd);
	return rc;
}

// For file systems that cannot exchange two names: for a moment there is no snapshot of this name.
static int stage_displace(
	struct gp_snapshot_stage *stage, const char *path, struct gp_snapshot_error *err)
{
	char name[32], old[PATH_MAX];
	snprintf(name, sizeof(name), "%s%d-old", SNAPSHOT_STAGE_PREFIX, (int)getpid());
	int rc = snapshot_path_join(old, stage->dir, name, err);
	if (rc != 0)
		return rc;
	if (rename(path, old) != 0 || rename(stage->path, path) != 0)
		return snapshot_fail_sys(err, errno, path, NULL, "cannot be replaced");
	strcpy(stage->path, old);
	return 0;
}

// Afterwards stage->path holds the snapshot that was replaced, if there was one.
static int stage_rename(struct gp_snapshot_stage *stage, const char *path, bool *replaced,
	struct gp_snapshot_error *err)
{
	*replaced = false;
	if (rename(stage->path, path) == 0)
		return 0;
	if (errno != ENOTEMPTY && errno != EEXIST)
		return snapshot_fail_sys(err, errno, path, NULL, "cannot be given its name");
	*replaced = true;
	if (renameat2(AT_FDCWD, stage->path, AT_FDCWD, path, RENAME_EXCHANGE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS && errno != EXDEV)
		return snapshot_fail_sys(err, errno, path, NULL, "cannot be replaced");
	return stage_displace(stage, path, err);
}

int gp_snapshot_stage_publish(struct gp_snapshot_stage *stage, const char *name, char *path_out,
	struct gp_snapshot_error *err)
{
	char path[PATH_MAX];
	bool replaced = false;
	int rc = snapshot_path_join(path, stage->dir, name, err);
	if (rc == 0 && fsync(stage->fd) != 0)
		rc = snapshot_fail_sys(err, errno, stage->path, NULL, "fsync");
	if (rc == 0)
		rc = stage_rename(stage, path, &replaced, err);
	if (rc != 0) {
		gp_snapshot_stage_drop(stage);
		return rc;
	}
	rc = snapshot_dir_sync(stage->dir, err);
	// Not known to be on the disk: the name goes back, so that an error leaves nothing.
	struct gp_snapshot_error undo;
	if (rc != 0 && (replaced ? renameat2(AT_FDCWD, stage->path, AT_FDCWD, path, RENAME_EXCHANGE)
				 : rename(path, stage->path)) != 0)
		gp_warn("%s: stays, though its directory could not be synced", path);
	if ((rc != 0 || replaced) && snapshot_remove(stage->path, &undo) != 0)
		gp_warn("%s", undo.text);
	if (rc == 0 && path_out)
		strcpy(path_out, path);
	close(stage->fd);
	free(stage);
	return rc;
}
