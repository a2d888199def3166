// SPDX-License-Identifier: BSD-3-Clause
//
// Over the loopback interface, against a plain socket of the test.
#include <criterion/criterion.h>

#include <gp_xport_udp.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
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
		.server = p.addr, .ip_mtu = MTU_SMALL, .socket_buf_size = 8192, .no_join = true});
	const struct gp_xport_udp_stats *s = gp_xport_udp_stats(u);
	frames_send(u, FEW, SMALL_V4);
	uint32_t left = gp_xport_udp_flush(u);
	cr_assert_gt(left, FEW / 2);
	cr_assert_eq(gp_xport_udp_flush(u), left);
	cr_assert_eq(s->tx_blocked, 2);
	cr_assert_eq(s->tx_datagrams, FEW - left);

	uint8_t buf[2048];
	struct sockaddr_storage from;
	cr_assert_eq(system("tc qdisc del dev lo root"), 0); // what the limiter held is gone
	while (recv(p.fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		continue; // let through before that, at first or as time passed
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

// ---- joined messages

#define SEGMENT	 1000
#define SEGMENTS 40
#define LAST	 300
#define SOME	 100 // more than one message holds, and fit the peer's receive buffer

// Payload that tells its number and place.
static void pattern_fill(uint8_t *data, uint32_t number, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		data[i] = (uint8_t)(number * 7 + i * 13 + (i >> 8));
}

static bool pattern_is(const uint8_t *data, uint32_t number, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		if (data[i] != (uint8_t)(number * 7 + i * 13 + (i >> 8)))
			return false;
	return true;
}

static void pattern_send(struct gp_xport_udp *u, uint32_t number, uint32_t len)
{
	struct gp_xport *x = gp_xport_udp_base(u);
	struct gp_frame *f = x->ops->alloc(x);
	cr_assert_not_null(f);
	pattern_fill(f->data, number, len);
	f->len = len;
	x->ops->send(x, f);
}

static const uint32_t mixed[] = {SEGMENT, SEGMENT, SEGMENT, LAST, LAST, 0, SEGMENT, 1472, 1472,
	1473, 1473, SEGMENT, SEGMENT, 64, 65, 65, 1, 2, 2};

static void mixed_send(struct gp_xport_udp *u)
{
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(mixed); i++)
		pattern_send(u, i, mixed[i]);
	cr_assert_eq(gp_xport_udp_flush(u), 0);
}

static void mixed_expect(struct peer *p)
{
	uint8_t buf[4096];
	struct sockaddr_storage from;
	for (uint32_t i = 0; i < GP_ARRAY_SIZE(mixed); i++) {
		cr_assert_eq(peer_receive(p, buf, sizeof(buf), &from), mixed[i], "%u", i);
		cr_assert(pattern_is(buf, i, mixed[i]));
	}
}

static void mixed_exchange(bool v4)
{
	struct peer p = peer_open(v4);
	struct gp_xport_udp *u = gp_xport_udp_create(&(struct gp_xport_udp_opts){.server = p.addr});
	const struct gp_xport_udp_stats *s = gp_xport_udp_stats(u);
	mixed_send(u);
	mixed_expect(&p);
	cr_assert_gt(s->tx_joined, 0);
	cr_assert_lt(s->tx_joined, s->tx_datagrams);
	cr_assert_eq(s->tx_datagrams, GP_ARRAY_SIZE(mixed));
	cr_assert_eq(s->tx_join_refused, 0);
	gp_xport_udp_destroy(u);
	close(p.fd);
}

Test(udp_join, joined_datagrams_arrive_as_they_were)
{
	mixed_exchange(true);
	mixed_exchange(false);
}

Test(udp_join, more_than_one_message_holds_keep_their_order)
{
	struct peer p = peer_open(true);
	struct gp_xport_udp *u = gp_xport_udp_create(&(struct gp_xport_udp_opts){.server = p.addr});
	struct gp_xport *x = gp_xport_udp_base(u);
	static uint8_t tail[60];
	uint8_t buf[2048];
	struct sockaddr_storage from;
	struct gp_hold hold = {0};
	pattern_fill(tail, 9, sizeof(tail));
	for (uint32_t i = 0; i < SOME; i++) {
		struct gp_frame *f = x->ops->alloc(x);
		gp_store32(f->data, i);
		f->len = 4;
		f->tail = tail;
		f->tail_len = sizeof(tail);
		f->tail_hold = &hold;
		hold.count++;
		x->ops->send(x, f);
	}
	cr_assert_eq(gp_xport_udp_flush(u), 0);
	cr_assert_eq(hold.count, 0);
	cr_assert_eq(gp_xport_udp_stats(u)->tx_joined, SOME);
	for (uint32_t i = 0; i < SOME; i++) {
		cr_assert_eq(peer_receive(&p, buf, sizeof(buf), &from), 4 + sizeof(tail));
		cr_assert_eq(gp_load32(buf), i);
		cr_assert(pattern_is(buf + 4, 9, sizeof(tail)));
	}
	cr_assert_eq(gp_xport_udp_frames_free(u), 2048);
	gp_xport_udp_destroy(u);
	close(p.fd);
}

// Without checksums the kernel does not join (udp_send_skb).
Test(udp_join, refused_messages_go_one_by_one)
{
	struct peer p = peer_open(true);
	struct gp_xport_udp *u = gp_xport_udp_create(&(struct gp_xport_udp_opts){.server = p.addr});
	const struct gp_xport_udp_stats *s = gp_xport_udp_stats(u);
	int on = 1;
	cr_assert_eq(setsockopt(gp_xport_udp_fd(u), SOL_SOCKET, SO_NO_CHECK, &on, sizeof(on)), 0);
	for (uint32_t i = 0; i < 3; i++) {
		mixed_send(u);
		mixed_expect(&p);
	}
	cr_assert_eq(s->tx_join_refused, 4, "then it is left");
	cr_assert_eq(s->tx_joined, 0);
	cr_assert_eq(s->tx_datagrams, 3 * GP_ARRAY_SIZE(mixed));
	gp_xport_udp_destroy(u);
	close(p.fd);
}

Test(udp_join, can_be_left_out)
{
	struct peer p = peer_open(true);
	struct gp_xport_udp *u =
		gp_xport_udp_create(&(struct gp_xport_udp_opts){.server = p.addr, .no_join = true});
	mixed_send(u);
	mixed_expect(&p);
	cr_assert_eq(gp_xport_udp_stats(u)->tx_joined, 0);
	gp_xport_udp_destroy(u);
	close(p.fd);
}

// The peer sends `len` bytes that the kernel cuts into datagrams of `segment`.
static void peer_send_joined(
	struct peer *p, struct sockaddr_storage *to, uint8_t *data, size_t len, uint16_t segment)
{
	union {
		struct cmsghdr c;
		uint8_t bytes[CMSG_SPACE(sizeof(uint16_t))];
	} control = {0};
	struct iovec iov = {data, len};
	struct msghdr h = {.msg_name = to,
		.msg_namelen = sizeof(struct sockaddr_in),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	control.c = (struct cmsghdr){.cmsg_level = IPPROTO_UDP,
		.cmsg_type = UDP_SEGMENT,
		.cmsg_len = CMSG_LEN(sizeof(segment))};
	memcpy(CMSG_DATA(&control.c), &segment, sizeof(segment));
	cr_assert_eq(sendmsg(p->fd, &h, 0), (ssize_t)len);
}

// Where the transport's socket is, for the peer.
static struct sockaddr_storage sender_find(struct peer *p, struct gp_xport_udp *u)
{
	uint8_t buf[64];
	struct sockaddr_storage from;
	frames_send(u, 1, 16);
	cr_assert_eq(gp_xport_udp_flush(u), 0);
	cr_assert_eq(peer_receive(p, buf, sizeof(buf), &from), 16);
	return from;
}

static uint32_t poll_some(struct gp_xport_udp *u, struct gp_frame **in, uint32_t max)
{
	if (!gp_xport_udp_pending(u))
		readable_wait(gp_xport_udp_fd(u));
	return gp_xport_udp_poll(u, in, max);
}

Test(udp_join, what_arrives_joined_is_cut_where_it_lies)
{
	struct peer p = peer_open(true);
	struct gp_xport_udp *u = gp_xport_udp_create(
		&(struct gp_xport_udp_opts){.server = p.addr, .ip_mtu = MTU_SMALL});
	struct gp_xport *x = gp_xport_udp_base(u);
	struct sockaddr_storage to = sender_find(&p, u);
	static uint8_t data[SEGMENTS * SEGMENT + LAST];
	struct gp_frame *in[SEGMENTS + 1];
	for (uint32_t i = 0; i <= SEGMENTS; i++)
		pattern_fill(data + i * SEGMENT, i, i < SEGMENTS ? SEGMENT : LAST);
	peer_send_joined(&p, &to, data, sizeof(data), SEGMENT);
	uint32_t got = 0;
	while (got <= SEGMENTS)
		got += poll_some(u, in + got, GP_MIN(7u, SEGMENTS + 1 - got));
	cr_assert_not(gp_xport_udp_pending(u));
	for (uint32_t i = 0; i <= SEGMENTS; i++) {
		uint32_t len = i < SEGMENTS ? SEGMENT : LAST;
		cr_assert_eq(in[i]->len, len);
		cr_assert(pattern_is(in[i]->data, i, len));
		cr_assert(gp_addr_equal(&in[i]->peer, &p.addr));
		if (i > 0)
			cr_assert_eq(in[i]->data, in[i - 1]->data + SEGMENT, "no copy");
		cr_assert_eq(in[i]->room, len, "the next one begins behind it");
	}
	cr_assert_eq(gp_xport_udp_stats(u)->rx_joined, SEGMENTS + 1);
	for (uint32_t i = 0; i <= SEGMENTS; i++)
		x->ops->release(x, in[i]);
	cr_assert_eq(gp_xport_udp_frames_free(u), 2048);
	gp_xport_udp_destroy(u);
	close(p.fd);
}

// A holder keeps one frame of each message: it costs a frame, not a message's buffer.
Test(udp_join, kept_frames_do_not_end_reception)
{
	struct peer p = peer_open(true);
	struct gp_xport_udp *u = gp_xport_udp_create(
		&(struct gp_xport_udp_opts){.server = p.addr, .ip_mtu = MTU_SMALL});
	struct gp_xport *x = gp_xport_udp_base(u);
	struct sockaddr_storage to = sender_find(&p, u);
	static struct gp_frame *kept[MANY];
	for (uint32_t round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < MANY; i++) {
			uint8_t data[4 * 100];
			struct gp_frame *in[4];
			for (uint32_t k = 0; k < 4; k++)
				pattern_fill(data + k * 100, i + k, 100);
			peer_send_joined(&p, &to, data, sizeof(data), 100);
			for (uint32_t got = 0; got < 4;)
				got += poll_some(u, in + got, 4 - got);
			for (uint32_t k = 0; k < 4; k++)
				cr_assert(pattern_is(in[k]->data, i + k, 100));
			for (uint32_t k = 1; k < 4; k++)
				x->ops->release(x, in[k]);
			kept[i] = in[0];
		}
		cr_assert_eq(gp_xport_udp_frames_free(u), 2048 - MANY);
		for (uint32_t i = 0; i < MANY; i++) {
			cr_assert(pattern_is(kept[i]->data, i, 100));
			x->ops->release(x, kept[i]);
		}
	}
	cr_assert_eq(gp_xport_udp_frames_free(u), 2048);
	cr_assert_eq(gp_xport_udp_stats(u)->rx_datagrams, 2 * 4 * MANY);
	gp_xport_udp_destroy(u);
	close(p.fd);
}

Test(udp_join, a_full_pool_loses_nothing_that_was_received)
{
	struct peer p = peer_open(true);
	struct gp_xport_udp *u = gp_xport_udp_create(&(struct gp_xport_udp_opts){
		.server = p.addr, .ip_mtu = MTU_SMALL, .frames_count = 3});
	struct gp_xport *x = gp_xport_udp_base(u);
	struct sockaddr_storage to = sender_find(&p, u);
	uint8_t data[8 * 100];
	struct gp_frame *in[8];
	for (uint32_t k = 0; k < 8; k++)
		pattern_fill(data + k * 100, k, 100);
	peer_send_joined(&p, &to, data, sizeof(data), 100);
	for (uint32_t got = 0; got < 8;) {
		uint32_t n = poll_some(u, in, 8);
		cr_assert_geq(n, 1);
		cr_assert_leq(n, 3);
		for (uint32_t k = 0; k < n; k++, got++) {
			cr_assert(pattern_is(in[k]->data, got, 100));
			x->ops->release(x, in[k]);
		}
	}
	cr_assert_gt(gp_xport_udp_stats(u)->no_frame, 0);
	gp_xport_udp_destroy(u);
	close(p.fd);
}
