// SPDX-License-Identifier: BSD-3-Clause
//
// Shared by the files of lib/ctlproto.
#ifndef GP_CTLPROTO_PRIV_H
#define GP_CTLPROTO_PRIV_H

#include <gp_ctlproto.h>

#include <sys/types.h>
#include <sys/un.h>

// The socket file and which one it is, so that only our own is removed.
struct ctl_listen {
	int fd;
	dev_t dev;
	ino_t ino;
	struct sockaddr_un addr;
};

// As gp_ctl_server_create.
int ctl_listen_open(struct ctl_listen *l, const char *path, struct gp_ctl_error *err) GP_MUST_CHECK;
// Removes the file if it is ours; the descriptor stays the caller's.
void ctl_listen_unlink(const struct ctl_listen *l);
int ctl_addr_init(
	struct sockaddr_un *addr, const char *path, struct gp_ctl_error *err) GP_MUST_CHECK;

// Reply lines without the newline, heap, to be freed; NULL when memory is short or the reply is
// over GP_CTL_REPLY_MAX. `result` stays the caller's.
char *ctl_reply_ok_encode(const json_t *result, size_t *len);
char *ctl_reply_error_encode(const struct gp_ctl_error *err, size_t *len);
// The client's view of a reply line. As gp_ctl_call.
int ctl_reply_parse(
	const char *line, size_t len, json_t **result, struct gp_ctl_error *err) GP_MUST_CHECK;

#endif
