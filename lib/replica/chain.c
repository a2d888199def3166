// SPDX-License-Identifier: BSD-3-Clause
//
// Incremental snapshots are shipped after what they build on, one directory at a time.
#include "replica_priv.h"

#include <errno.h>
#include <stdio.h>

static bool is_held(const struct hold *held, const struct gp_snapshot_info *info)
{
	return held && held->step == info->step && held->digest == info->digest;
}

static int base_path(const char *path, const char *base, char *out, struct gp_snapshot_error *err)
{
	const char *slash = strrchr(path, '/');
	int dir_len = slash ? (int)(slash - path) : 1;
	int len = snprintf(out, PATH_MAX, "%.*s/%s", dir_len, slash ? path : ".", base);
	if (len < 0 || len >= PATH_MAX)
		return replica_fail(err, -ENAMETOOLONG, "%.64s...: path is too long", path);
	return 0;
}

int chain_next(const char *path, const struct hold *held, char *out, struct gp_snapshot_error *err)
{
	struct gp_snapshot_info info, base;
	char below[PATH_MAX];
	snprintf(out, PATH_MAX, "%s", path);
	int rc = gp_snapshot_peek(path, &info, err);
	for (uint32_t i = 0; rc == 0 && info.form.depth > 0 && i < GP_SNAPSHOT_CHAIN_MAX; i++) {
		rc = base_path(out, info.form.base, below, err);
		if (rc == 0)
			rc = gp_snapshot_peek(below, &base, err);
		if (rc == 0 && base.form.checksum != info.form.base_checksum)
			rc = replica_fail(
				err, -EBADMSG, "%.256s: broken chain at %s", out, info.form.base);
		if (rc != 0 || is_held(held, &base))
			break;
		snprintf(out, PATH_MAX, "%s", below);
		info = base;
	}
	return rc;
}
