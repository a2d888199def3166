// SPDX-License-Identifier: BSD-3-Clause
#include "snapshot_priv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

int snapshot_fail(struct gp_snapshot_error *err, int code, const char *fmt, ...)
{
	GP_ASSERT(code < 0);
	va_list args;
	va_start(args, fmt);
	err->code = code;
	vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	return code;
}

static const char *advice(int errno_code)
{
	switch (errno_code) {
	case ENOSPC:
	case EDQUOT:
		return "; free space there or name another directory";
	case EACCES:
	case EPERM:
		return "; check owner and mode of the directory and the user of this program";
	case EROFS:
		return "; name a directory on a file system that can be written";
	case ENOENT:
		return "; check the path, or create the directory";
	case EIO:
		return "; the disk reports an error, see the kernel log";
	case EMFILE:
	case ENFILE:
		return "; raise the limit of open files";
	default:
		return "";
	}
}

bool snapshot_is_system(int rc)
{
	return rc == -EIO || rc == -ENOMEM || rc == -EMFILE || rc == -ENFILE;
}

int snapshot_fail_sys(struct gp_snapshot_error *err, int errno_code, const char *dir,
	const char *name, const char *what)
{
	GP_ASSERT(errno_code > 0);
	const char *reason = strerrordesc_np(errno_code);
	return snapshot_fail(err, -errno_code, "%s%s%s: %s: %s%s", dir, name ? "/" : "",
		name ? name : "", what, reason ? reason : "unknown error", advice(errno_code));
}

int snapshot_path_join(char *out, const char *dir, const char *name, struct gp_snapshot_error *err)
{
	int len = snprintf(out, PATH_MAX, "%s/%s", dir, name);
	if (len < 0 || len >= PATH_MAX)
		return snapshot_fail(err, -ENAMETOOLONG, "%.64s...: path is longer than %d bytes",
			dir, PATH_MAX - 1);
	return 0;
}
