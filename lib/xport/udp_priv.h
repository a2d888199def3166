// SPDX-License-Identifier: BSD-3-Clause
//
// Socket calls of the udp transport that run once (udp_socket.c), apart from its packet path
// (udp.c).
#ifndef GP_UDP_PRIV_H
#define GP_UDP_PRIV_H

#include <gp_xport_udp.h>

#include <netinet/in.h>

union udp_sockaddr {
	struct sockaddr sa;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

// A connected, non-blocking socket that never fragments, or -errno.
int udp_socket_open(const struct gp_xport_udp_opts *opts, uint32_t buf_size) GP_MUST_CHECK;
// IP MTU of the connected path as the kernel knows it, or -errno.
int udp_socket_mtu(int fd, bool v4) GP_MUST_CHECK;
void udp_socket_local(int fd, struct gp_addr *local);

#endif
