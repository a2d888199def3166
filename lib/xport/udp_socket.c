// SPDX-License-Identifier: BSD-3-Clause
#include "udp_priv.h"

#include <errno.h>
#include <netinet/udp.h>
#include <unistd.h>

static socklen_t sockaddr_fill(union udp_sockaddr *to, const struct gp_addr *a, bool v4)
{
	memset(to, 0, sizeof(*to));
	if (v4) {
		to->v4.sin_family = AF_INET;
		to->v4.sin_port = htons(a->port);
		memcpy(&to->v4.sin_addr, a->ip + 12, 4);
		return sizeof(to->v4);
	}
	to->v6.sin6_family = AF_INET6;
	to->v6.sin6_port = htons(a->port);
	memcpy(&to->v6.sin6_addr, a->ip, 16);
	return sizeof(to->v6);
}

// As large as the kernel allows: past the limit of the system only with CAP_NET_ADMIN. A smaller
// buffer is not an error, the queues above bound what is in flight.
static void buffer_grow(int fd, int force, int plain, uint32_t size)
{
	int value = (int)GP_MIN(size, (uint32_t)INT32_MAX / 2);
	if (setsockopt(fd, SOL_SOCKET, force, &value, sizeof(value)))
		(void)setsockopt(fd, SOL_SOCKET, plain, &value, sizeof(value));
}

static int mtu_discover_set(int fd, bool v4)
{
	int v4_do = IP_PMTUDISC_DO, v6_do = IPV6_PMTUDISC_DO;
	return v4 ? setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &v4_do, sizeof(v4_do))
		  : setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &v6_do, sizeof(v6_do));
}

static int socket_setup(int fd, const struct gp_xport_udp_opts *opts, bool v4, uint32_t buf_size)
{
	static const struct gp_addr unset;
	union udp_sockaddr sa;
	buffer_grow(fd, SO_RCVBUFFORCE, SO_RCVBUF, buf_size);
	buffer_grow(fd, SO_SNDBUFFORCE, SO_SNDBUF, buf_size);
	if (mtu_discover_set(fd, v4))
		return -errno;
	bool any_ip = memcmp(opts->local.ip, unset.ip, 16) == 0;
	if (!any_ip || opts->local.port) {
		socklen_t len = sockaddr_fill(&sa, &opts->local, v4);
		if (bind(fd, &sa.sa, len))
			return -errno;
	}
	socklen_t len = sockaddr_fill(&sa, &opts->server, v4);
	return connect(fd, &sa.sa, len) ? -errno : 0;
}

int udp_socket_open(const struct gp_xport_udp_opts *opts, uint32_t buf_size)
{
	bool v4 = gp_addr_is_v4(&opts->server);
	int fd = socket(v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	int rc = socket_setup(fd, opts, v4, buf_size);
	if (rc) {
		close(fd);
		return rc;
	}
	return fd;
}

bool udp_socket_gso(int fd)
{
	int none = 0; // each message says for itself
	return setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &none, sizeof(none)) == 0;
}

bool udp_socket_gro(int fd)
{
	int on = 1;
	return setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof(on)) == 0;
}

bool udp_socket_busy_poll(int fd, uint32_t us)
{
	int value = (int)GP_MIN(us, (uint32_t)INT32_MAX);
	return setsockopt(fd, SOL_SOCKET, SO_BUSY_POLL, &value, sizeof(value)) == 0;
}

int udp_socket_mtu(int fd, bool v4)
{
	int mtu = 0;
	socklen_t len = sizeof(mtu);
	int rc = v4 ? getsockopt(fd, IPPROTO_IP, IP_MTU, &mtu, &len)
		    : getsockopt(fd, IPPROTO_IPV6, IPV6_MTU, &mtu, &len);
	return rc ? -errno : mtu;
}

void udp_socket_local(int fd, struct gp_addr *local)
{
	union udp_sockaddr sa = {0};
	socklen_t len = sizeof(sa);
	*local = (struct gp_addr){0};
	if (getsockname(fd, &sa.sa, &len))
		return;
	if (sa.sa.sa_family == AF_INET) {
		memset(local->ip + 10, 0xff, 2);
		memcpy(local->ip + 12, &sa.v4.sin_addr, 4);
		local->port = ntohs(sa.v4.sin_port);
	} else {
		memcpy(local->ip, &sa.v6.sin6_addr, 16);
		local->port = ntohs(sa.v6.sin6_port);
	}
}
