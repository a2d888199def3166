// SPDX-License-Identifier: BSD-3-Clause
//
// The control protocol's request line: any bytes give a request or a named error, never both, and
// what was accepted is within its limits.
#include <gp_ctlproto.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gp_ctl_error err = {0};
	struct gp_ctl_message m;
	int rc = gp_ctl_message_parse((const char *)data, size, &m, &err);

	if (rc == 0) {
		GP_ASSERT(m.cmd[0] && memchr(m.cmd, '\0', sizeof(m.cmd)));
		GP_ASSERT(json_is_object(m.args) && !err.code[0]);
	} else {
		GP_ASSERT(!m.args && err.code[0] && err.text[0]);
	}
	json_decref(m.args);
	return 0;
}
