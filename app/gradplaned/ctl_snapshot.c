// SPDX-License-Identifier: BSD-3-Clause
#include "gradplaned.h"

#include <errno.h>

int ctl_snapshot_now(
	struct gp_ctl_request *req, const json_t *args, json_t **result, struct gp_ctl_error *err)
{
	struct node *n = gp_ctl_request_arg(req);
	(void)result;
	if (n->cfg.node.role != GP_ROLE_PRIMARY) {
		gp_ctl_error_set(err, "not_primary",
			"a replica makes no snapshots: ask the primary, it ships them here");
		return -ENOTSUP;
	}
	int rc = snapshots_request(n, req, json_string_value(json_object_get(args, "name")), err);
	return rc == 0 ? GP_CTL_LATER : rc;
}
