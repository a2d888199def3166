// SPDX-License-Identifier: BSD-3-Clause
#include "gradplaned.h"

#include <errno.h>

int ctl_stop(
	struct gp_ctl_request *req, const json_t *args, json_t **result, struct gp_ctl_error *err)
{
	struct node *n = gp_ctl_request_arg(req);
	(void)args, (void)result;
	if (n->stop.phase > STOP_STEP || n->stop.reqs_count == GP_ARRAY_SIZE(n->stop.reqs)) {
		gp_ctl_error_set(err, "stopping", "the server is ending already");
		return -EALREADY;
	}
	n->stop.reqs[n->stop.reqs_count++] = req; // answered when the step in hand is finished
	stop_begin(n, "asked over the control socket");
	return GP_CTL_LATER;
}
