// SPDX-License-Identifier: BSD-3-Clause
//
// Over the loopback interface, against a plain socket of the test.
#include <criterion/criterion.h>

#include <gp_xport_udp.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define WAIT_MS	    5000
#define MANY	    200
#define FEW	    50 // fit the peer's receive buffer
#define MTU_SMALL   1500
#define SMALL_V4    (MTU_SMALL - 28)
#define SMALL_V6    (MTU_SMALL - 48)
#define POOL_FRAMES 16

struct peer {
	int fd;
	struct gp_addr addr;
};

static struct peer peer_open(bool v4)
{
	struct peer p = {.fd = socket(v4 ? AF_INET : AF_INET6, SOCK_DGRAM, 0)};
	struct sockaddr_storage ss = {.ss_family = v4 ? AF_INET : AF_INET6};
	cr_assert_geq(p.fd, 0);
	cr_assert_eq(gp_addr_parse(v4 ? "127.0.0.1:0" : "[::1]:0", &p.addr), 0);
	if (v4)
		((struct sockaddr_in *)&ss)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		((struct sockaddr_in6 *)&ss)->sin6_addr = in6addr_loopback;
	socklen_t len = v4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
	cr_assert_eq(bind(p.fd, (struct sockaddr *)&ss, len), 0);
	cr_assert_eq(getsockname(p.fd, (struct sockaddr *)&ss, &len), 0);
	p.addr.port = ntohs(v4 ? ((struct sockaddr_in *)&ss)->sin_port
			       : ((struct sockaddr_in6 *)&ss)->sin6_port);
	return p;
}

static void readable_wait(int fd)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	cr_assert_eq(poll(&pfd, 1, WAIT_MS), 1, "nothing arrived in time");
}

static ssize_t peer_receive(
	struct peer *p, uint8_t *buf, size_t size, struct sockaddr_storage *from)
{
	socklen_t len = sizeof(*from);
	readable_wait(p->fd);
	return recvfrom(p->fd, buf, size, 0, (struct sockaddr *)from, &len);
}

static void exchange(bool v4)
{
	struct peer p = peer_open(v4);
	struct gp_xport_udp *u = gp_xport_udp_create(
		&(struct gp_xport_udp_opts){.server = p.addr, .ip_mtu = MTU_SMALL});
	cr_assert_not_null(u);
	struct gp_xport *x = gp_xport_udp_base(u);
	cr_assert_eq(x->mtu, v4 ? SMALL_V4 : SMALL_V6);

	// Out: data and tail are one datagram, and the tail comes back when it has left.
	uint8_t tail[500], buf[2048];
	struct sockaddr_storage from;
	struct gp_hold hold = {.count = 1};
	struct gp_frame *f = x->ops->alloc(x);
	cr_assert_eq((uintptr_t)f->data % GP_CACHE_LINE, 0);
	cr_assert_geq(f->room, x->mtu);
	memset(tail, 0x5a, sizeof(tail));
	memcpy(f->data, "head", 4);
	f->len = 4;
	f->tail = tail;
	f->tail_len = sizeof(tail);
	f->tail_hold = &hold;
	x->ops->send(x, f);
	cr_assert_eq(hold.count, 1);
	cr_assert_eq(gp_xport_udp_flush(u), 0);
	cr_assert_eq(hold.count, 0);
	cr_assert_eq(peer_receive(&p, buf, sizeof(buf), &from), 504);
	cr_assert_eq(memcmp(buf, "head", 4), 0);
	cr_assert_eq(memcmp(buf + 4, tail, sizeof(tail)), 0);

	// In.
	socklen_t from_len = v4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
	cr_assert_eq(sendto(p.fd, "answer", 6, 0, (struct sockaddr *)&from, from_len), 6);
	readable_wait(gp_xport_udp_fd(u));
	struct gp_frame *in[4];
	cr_assert_eq(gp_xport_udp_poll(u, in, 4), 1);
	cr_assert_eq(in[0]->len, 6);
	cr_assert(gp_addr_equal(&in[0]->peer, &p.addr));
	x->ops->release(x, in[0]);
	cr_assert_eq(gp_xport_udp_poll(u, in, 4), 0);
	cr_assert_eq(gp_xport_udp_frames_free(u), 2048);
	gp_xport_udp_destroy(u);
	close(p.fd);
}

Test(udp, exchange_over_ipv4)
{
	exchange(true);
}

Test(udp, exchange_over_ipv6)
{
	exchange(false);
}

static void frames_send(struct gp_xport_udp *u, uint32_t count, uint32_t len)
{
	struct gp_xport *x = gp_xport_udp_base(u);
	for (uint32_t i = 0; i < count; i++) {
		struct gp_frame *f = x->ops->alloc(x);
		cr_assert_not_null(f);
		memset(f->data, 0, len);
		f->len = len;
		gp_store32(f->data, i);
		x->ops->send(x, f);
	}
}

Test(udp, many_keep_their_order)
{
	struct peer p = peer_open(true);
	struct gp_xport_udp *u = gp_xport_udp_create(&(struct gp_xport_udp_opts){.server = p.addr});
	cr_assert_not_null(u);
	frames_send(u, MANY, 64);
	cr_assert_eq(gp_xport_udp_flush(u), 0);
	uint8_t buf[64];
	struct sockaddr_storage from;
	for (uint32_t i = 0; i < MANY; i++) {
		cr_assert_eq(peer_receive(&p, buf, sizeof(buf), &from), 64);
		cr_assert_eq(gp_load32(buf), i);
	}
	for (uint32_t i = 0; i < MANY; i++)
		cr_assert_eq(sendto(p.fd, &i, 4, 0, (struct sockaddr *)&from,
				     sizeof(struct sockaddr_in)),
			4);
	struct gp_frame *in[MANY];
	uint32_t got = 0;
	while (got < MANY) {
		readable_wait(gp_xport_udp_fd(u));
		got += gp_xport_udp_poll(u, in + got, MANY - got);
	}
	for (uint32_t i = 0; i < MANY; i++)
		cr_assert_eq(gp_load32(in[i]->data), i);
	gp_xport_udp_destroy(u);
}

Test(udp, full_queue_and_empty_pool_are_counted)
{
	struct peer p = peer_open(true);
	struct gp_xport_udp *u = gp_xport_udp_create(&(struct gp_xport_udp_opts){
		.server = p.addr, .frames_count = POOL_FRAMES, .queue_count = 5});
	cr_assert_not_null(u);
	struct gp_xport *x = gp_xport_udp_base(u);
	const struct gp_xport_udp_stats *s = gp_xport_udp_stats(u);
	struct gp_hold hold = {.count = 1};
	frames_send(u, 5, 16);
	struct gp_frame *f = x->ops->alloc(x);
	f->tail_hold = &hold;
	x->ops->send(x, f);
	cr_assert_eq(s->tx_queue_full, 1);
	cr_assert_eq(hold.count, 0, "a dropped datagram gives its tail back");
	cr_assert_eq(gp_xport_udp_frames_free(u), POOL_FRAMES - 5);

	for (uint32_t i = 0; i < POOL_FRAMES - 5; i++)
		cr_assert_not_null(x->ops->alloc(x));
	cr_assert_null(x->ops->alloc(x));
	cr_assert_eq(s->no_frame, 1);
	cr_assert_eq(gp_xport_udp_flush(u), 0);
	cr_assert_eq(gp_xport_udp_frames_free(u), 5);
	gp_xport_udp_destroy(u);
	close(p.fd);
}

Test(udp, held_frame_survives_its_send)
{
	struct peer p = peer_open(true);
	struct gp_xport_udp *u = gp_xport_udp_create(
		&(struct gp_xport_udp_opts){.server = p.addr, .frames_count = 1});
	struct gp_xport *x = gp_xport_udp_base(u);
	struct gp_frame *f = x->ops->alloc(x);
	f->len = 8;
	for (int i = 0; i < 3; i++) {
		x->ops->hold(x, f);
		x->ops->send(x, f);
		cr_assert_eq(gp_xport_udp_flush(u), 0);
		cr_assert_eq(gp_xport_udp_frames_free(u), 0);
	}
	x->ops->release(x, f);
	cr_assert_eq(gp_xport_udp_frames_free(u), 1);
	cr_assert_eq(gp_xport_udp_stats(u)->tx_datagrams, 3);
	gp_xport_udp_destroy(u);
	close(p.fd);
}

Test(udp, too_long_is_dropped_and_the_rest_goes_on)
{
	struct peer p = peer_open(true);
	struct gp_xport_udp *u = gp_xport_udp_create(&(struct gp_xport_udp_opts){.server = p.addr});
	struct gp_xport *x = gp_xport_udp_base(u);
	static uint8_t tail[65536];
	struct gp_hold hold = {.count = 1};
	cr_assert_eq(x->mtu, GP_XPORT_UDP_IP_MTU_MAX - 28, "loopback offers more than we take");
	frames_send(u, 2, 10);
	struct gp_frame *f = x->ops->alloc(x);
	f->len = 100;
	f->tail = tail;
	f->tail_len = sizeof(tail); // longer than any datagram: the kernel says EMSGSIZE
	f->tail_hold = &hold;
	x->ops->send(x, f);
	frames_send(u, 2, 10);
	cr_assert_eq(gp_xport_udp_flush(u), 0);
	cr_assert_eq(gp_xport_udp_stats(u)->tx_too_long, 1);
	cr_assert_eq(gp_xport_udp_stats(u)->tx_datagrams, 4);
	cr_assert_eq(hold.count, 0);
	gp_xport_udp_destroy(u);
	close(p.fd);
}

Test(udp, longer_than_room_is_counted_not_delivered)
{
	struct peer p = peer_open(true);
	struct gp_xport_udp *u = gp_xport_udp_create(
		&(struct gp_xport_udp_opts){.server = p.addr, .ip_mtu = GP_XPORT_UDP_IP_MTU_MIN});
	static uint8_t big[2000];
	uint8_t buf[64];
	struct sockaddr_storage from;
	struct gp_frame *in[4];
	frames_send(u, 1, 16);
	cr_assert_eq(gp_xport_udp_flush(u), 0);
	cr_assert_eq(peer_receive(&p, buf, sizeof(buf), &from), 16);
	cr_assert_eq(sendto(p.fd, big, sizeof(big), 0, (struct sockaddr *)&from,
			     sizeof(struct sockaddr_in)),
		sizeof(big));
	readable_wait(gp_xport_udp_fd(u));
	cr_assert_eq(gp_xport_udp_poll(u, in, 4), 0);
	cr_assert_eq(gp_xport_udp_stats(u)->rx_truncated, 1);
	gp_xport_udp_destroy(u);
	close(p.fd);
}

Test(udp, refused_port_is_counted_and_service_goes_on)
{
	struct peer p = peer_open(true);
	struct gp_xport_udp *u = gp_xport_udp_create(&(struct gp_xport_udp_opts){.server = p.addr});
	struct gp_frame *in[4];
	close(p.fd);
	frames_send(u, 1, 16);
	cr_assert_eq(gp_xport_udp_flush(u), 0);
	readable_wait(gp_xport_udp_fd(u));
	frames_send(u, 3, 16);
	cr_assert_eq(gp_xport_udp_flush(u), 0);
	cr_assert_eq(gp_xport_udp_poll(u, in, 4), 0);
	cr_assert_geq(gp_xport_udp_stats(u)->refused, 1);
	cr_assert_eq(gp_xport_udp_stats(u)->tx_datagrams, 4);
	gp_xport_udp_destroy(u);
}

// A namespace whose loopback passes 8 kbit/s: the kernel's buffer fills, the queue waits, nothing
// that it still holds is lost when the way is free again.
Test(udp, full_kernel_buffer_keeps_the_queue)
{
	if (geteuid() != 0 || unshare(CLONE_NEWNET) ||
		system("ip link set lo up && tc qdisc add dev lo root tbf rate 8kbit burst 3000 "
		       "limit 9000000"))
		cr_skip_test("needs root, ip and tc with tbf");
	struct peer p = peer_open(true);
	struct gp_xport_udp *u = gp_xport_udp_create(&(struct gp_xport_udp_opts){
		.server = p.addr, .ip_mtu = MTU_SMALL, .socket_buf_size = 8192});
	const struct gp_xport_udp_stats *s = gp_xport_udp_stats(u);
	frames_send(u, FEW, SMALL_V4);
	uint32_t left = gp_xport_udp_flush(u);
	cr_assert_gt(left, FEW / 2);
	cr_assert_eq(gp_xport_udp_flush(u), left);
	cr_assert_eq(s->tx_blocked, 2);
	cr_assert_eq(s->tx_datagrams, FEW - left);

	uint8_t buf[2048];
	struct sockaddr_storage from;
	while (recv(p.fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		continue; // let through before the limit took hold
	cr_assert_eq(system("tc qdisc del dev lo root"), 0); // and what the limiter held is gone
	uint32_t next = FEW - left;
	for (; next < FEW; next++) {
		gp_xport_udp_flush(u);
		cr_assert_eq(peer_receive(&p, buf, sizeof(buf), &from), SMALL_V4);
		cr_assert_eq(gp_load32(buf), next);
	}
	cr_assert_eq(s->tx_datagrams, FEW);
	cr_assert_eq(gp_xport_udp_frames_free(u), 2048);
	gp_xport_udp_destroy(u);
	close(p.fd);
}

Test(udp, mtu_of_the_path_and_local_address)
{
	struct peer p = peer_open(true);
	struct gp_addr local;
	struct gp_xport_udp *u = gp_xport_udp_create(&(struct gp_xport_udp_opts){.server = p.addr});
	cr_assert_geq(gp_xport_udp_path_mtu(u), MTU_SMALL);
	gp_xport_udp_local(u, &local);
	cr_assert(gp_addr_is_v4(&local));
	cr_assert_neq(local.port, 0);
	cr_assert_eq(local.ip[12], 127);
	gp_xport_udp_destroy(u);
	close(p.fd);
}

Test(udp, options_that_cannot_work_are_refused)
{
	struct gp_xport_udp_opts opts = {0};
	cr_assert_eq(gp_addr_parse("127.0.0.1:0", &opts.server), 0);
	cr_assert_null(gp_xport_udp_create(&opts));
	cr_assert_eq(errno, EINVAL);
	opts.server.port = 9;
	opts.ip_mtu = 100;
	cr_assert_null(gp_xport_udp_create(&opts));
	cr_assert_eq(errno, EINVAL);
	opts.ip_mtu = 0;
	cr_assert_eq(gp_addr_parse("192.0.2.77:4000", &opts.local), 0); // not ours
	cr_assert_null(gp_xport_udp_create(&opts));
	cr_assert_eq(errno, EADDRNOTAVAIL);
	gp_xport_udp_destroy(NULL);
}
