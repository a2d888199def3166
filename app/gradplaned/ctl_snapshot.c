// SPDX-License-Identifier: BSD-3-Clause
#include "gradplaned.h"

#include <errno.h>

#define LOST_NS UINT64_C(1000000000) // without the link for so long it may be away for long

// Without its replica nothing is decided to the end, a cut neither.
static bool waits_refuse(const struct node *n, struct gp_ctl_error *err)
{
	const char *what;
	uint64_t since;
	if (n->pair.connected || !pair_waits(n, &what, &since) || clock_now() - since < LOST_NS)
		return false;
	gp_ctl_error_set(err, "waiting",
		"no snapshot can be cut: what is decided waits for %s since %lu s; gradctl why "
		"says more",
		what, (clock_now() - since) / 1000000000);
	return true;
}

int ctl_snapshot_now(
	struct gp_ctl_request *req, const json_t *args, json_t **result, struct gp_ctl_error *err)
{
	struct node *n = gp_ctl_request_arg(req);
	(void)result;
	if (n->cfg.node.role != GP_ROLE_PRIMARY) {
		gp_ctl_error_set(err, "not_primary",
			n->pair.used ? "a backup writes no snapshots, it holds every commit: ask "
				       "the node that leads"
				     : "a replica makes no snapshots: ask the primary, it ships "
				       "them here");
		return -ENOTSUP;
	}
	if (waits_refuse(n, err))
		return -EAGAIN;
	int rc = snapshots_request(n, req, json_string_value(json_object_get(args, "job")), err);
	return rc == 0 ? GP_CTL_LATER : rc;
}

// Only a job that does not run can start from another snapshot.
int ctl_snapshot_restore(
	struct gp_ctl_request *req, const json_t *args, json_t **result, struct gp_ctl_error *err)
{
	const struct node *n = gp_ctl_request_arg(req);
	(void)args, (void)result;
	gp_ctl_error_set(err, "running",
		"this server runs: gradctl stop, then gradctl --dir %.300s snapshot restore NAME, "
		"then start it again",
		n->cfg.snapshot.directory);
	return -EBUSY;
}
