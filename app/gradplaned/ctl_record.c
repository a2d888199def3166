// SPDX-License-Identifier: BSD-3-Clause
#include "gradplaned.h"

#include <gp_flight_dump.h>

#include <errno.h>
#include <sys/stat.h>

int ctl_record_dump(
	struct gp_ctl_request *req, const json_t *args, json_t **result, struct gp_ctl_error *err)
{
	struct node *n = gp_ctl_request_arg(req);
	const char *output = json_string_value(json_object_get(args, "output"));
	char path[PATH_MAX];
	struct stat st;
	if (output && (output[0] != '/' || strlen(output) >= sizeof(path))) {
		gp_ctl_error_set(err, "bad_request", "args.output is no absolute path");
		return -EINVAL;
	}
	int rc = recorder_dump(n, output, GP_FLIGHT_BY_COMMAND, path);
	if (rc == -ENOTSUP)
		gp_ctl_error_set(err, "off", "the flight recorder is off (recorder.mode)");
	else if (rc != 0)
		gp_ctl_error_set(err, "cannot_write", "%s: %s",
			output ? output : n->cfg.recorder.directory, strerror(-rc));
	if (rc != 0)
		return rc;
	*result = json_pack("{s:s,s:I}", "path", path, "bytes",
		stat(path, &st) == 0 ? (json_int_t)st.st_size : 0);
	return 0;
}
